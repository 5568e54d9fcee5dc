/* session/registry.c: a list and a map under one mutex. Process ids count up from 1 and never repeat within 2^31
 * connections, so that a late cancel request cannot hit a newer session with the same number. */
#include "session/registry.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"

enum { SESSION_PID_MAX = INT32_MAX };

struct session_registry {
    pthread_mutex_t mutex;
    struct sq_list entries;
    size_t count;
    uint32_t last_pid;
};

sq_status session_registry_new(struct sq_error *err, struct session_registry **ret_registry)
{
    struct session_registry *registry = calloc(1, sizeof(*registry));
    if (registry == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for the list of sessions");
    pthread_mutex_init(&registry->mutex, NULL);
    sq_list_init(&registry->entries);
    *ret_registry = registry;
    return SQ_OK;
}

void session_registry_free(struct session_registry *registry)
{
    if (registry == NULL)
        return;
    sq_assert(sq_list_is_empty(&registry->entries));
    pthread_mutex_destroy(&registry->mutex);
    free(registry);
}

void session_registry_add(struct session_registry *registry, struct session_entry *entry)
{
    sq_random_fill(entry->secret, sizeof(entry->secret));
    entry->connected_us = sq_clock_wall_us();
    atomic_store_explicit(&entry->activity_us, entry->connected_us, memory_order_relaxed);
    pthread_mutex_lock(&registry->mutex);
    registry->last_pid = registry->last_pid >= SESSION_PID_MAX ? 1 : registry->last_pid + 1;
    entry->pid = registry->last_pid;
    sq_list_init(&entry->links);
    sq_list_init(&entry->cancels);
    sq_list_push_back(&registry->entries, &entry->links);
    registry->count++;
    pthread_mutex_unlock(&registry->mutex);
}

/* Out of the list; its owner may free it as soon as the mutex is free. */
static void end_cancel(struct session_cancel *cancel)
{
    sq_list_remove(&cancel->links);
    atomic_fetch_sub(&cancel->target->cancel_count, 1);
    cancel->target = NULL;
}

static size_t settle_locked(struct session_entry *entry, uint64_t number)
{
    size_t count = 0;
    while (!sq_list_is_empty(&entry->cancels)) {
        struct session_cancel *cancel = SQ_CONTAINER_OF(entry->cancels.next, struct session_cancel, links);
        if (cancel->number > number)
            break;
        end_cancel(cancel);
        sq_waker_wake(cancel->waker);
        count++;
    }
    return count;
}

void session_registry_remove(struct session_registry *registry, struct session_entry *entry)
{
    pthread_mutex_lock(&registry->mutex);
    settle_locked(entry, UINT64_MAX);
    sq_list_remove(&entry->links);
    registry->count--;
    pthread_mutex_unlock(&registry->mutex);
}

void session_registry_hold(struct session_registry *registry, void *context, void (*call_cb)(void *context))
{
    pthread_mutex_lock(&registry->mutex);
    call_cb(context);
    pthread_mutex_unlock(&registry->mutex);
}

static void set_label(char out[SESSION_LABEL_MAX], const char *text)
{
    if (text != NULL)
        snprintf(out, SESSION_LABEL_MAX, "%s", text);
}

void session_registry_label(struct session_registry *registry, struct session_entry *entry, const char *user,
                            const char *database, const char *application_name)
{
    pthread_mutex_lock(&registry->mutex);
    set_label(entry->user, user);
    set_label(entry->database, database);
    set_label(entry->application_name, application_name);
    pthread_mutex_unlock(&registry->mutex);
}

size_t session_registry_count(struct session_registry *registry)
{
    pthread_mutex_lock(&registry->mutex);
    size_t count = registry->count;
    pthread_mutex_unlock(&registry->mutex);
    return count;
}

size_t session_registry_count_database(struct session_registry *registry, const char *database)
{
    size_t count = 0;
    pthread_mutex_lock(&registry->mutex);
    SQ_LIST_FOREACH (links, &registry->entries)
        count += strcmp(SQ_CONTAINER_OF(links, struct session_entry, links)->database, database) == 0;
    pthread_mutex_unlock(&registry->mutex);
    return count;
}

/* Compares without telling by its time how many bytes were right. */
static bool is_secret(const struct session_entry *entry, const uint8_t *secret)
{
    uint8_t difference = 0;
    for (size_t i = 0; i < SESSION_SECRET_BYTES; i++)
        difference |= (uint8_t)(entry->secret[i] ^ secret[i]);
    return difference == 0;
}

size_t session_registry_interrupt(struct session_registry *registry, uint32_t pid, const uint8_t *secret,
                                  enum session_interrupt interrupt)
{
    size_t count = 0;
    pthread_mutex_lock(&registry->mutex);
    SQ_LIST_FOREACH (links, &registry->entries) {
        struct session_entry *entry = SQ_CONTAINER_OF(links, struct session_entry, links);
        if ((pid != 0 && entry->pid != pid) || (secret != NULL && !is_secret(entry, secret)))
            continue;
        session_interrupt(entry->session, interrupt);
        count++;
    }
    pthread_mutex_unlock(&registry->mutex);
    return count;
}

static struct session_entry *find_locked(struct session_registry *registry, uint32_t pid, const uint8_t *secret)
{
    SQ_LIST_FOREACH (links, &registry->entries) {
        struct session_entry *entry = SQ_CONTAINER_OF(links, struct session_entry, links);
        if (entry->pid == pid && is_secret(entry, secret))
            return entry;
    }
    return NULL;
}

bool session_registry_cancel(struct session_registry *registry, uint32_t pid, const uint8_t *secret,
                             struct session_cancel *cancel)
{
    pthread_mutex_lock(&registry->mutex);
    struct session_entry *entry = find_locked(registry, pid, secret);
    bool is_pending = false;
    if (entry != NULL) {
        sq_list_init(&cancel->links);
        sq_list_push_back(&entry->cancels, &cancel->links);
        cancel->target = entry;
        cancel->number = ++entry->cancel_number;
        atomic_fetch_add(&entry->cancel_count, 1);
        /* It wakes the session in any case. */
        is_pending = !session_cancel(entry->session);
        if (!is_pending)
            end_cancel(cancel);
    }
    pthread_mutex_unlock(&registry->mutex);
    return is_pending;
}

bool session_cancel_is_pending(struct session_registry *registry, const struct session_cancel *cancel)
{
    pthread_mutex_lock(&registry->mutex);
    bool is_pending = cancel->target != NULL;
    pthread_mutex_unlock(&registry->mutex);
    return is_pending;
}

void session_registry_withdraw(struct session_registry *registry, struct session_cancel *cancel)
{
    pthread_mutex_lock(&registry->mutex);
    if (cancel->target != NULL)
        end_cancel(cancel);
    pthread_mutex_unlock(&registry->mutex);
}

uint64_t session_registry_cancel_mark(struct session_registry *registry, struct session_entry *entry)
{
    if (SQ_LIKELY(atomic_load(&entry->cancel_count) == 0))
        return 0;
    pthread_mutex_lock(&registry->mutex);
    uint64_t mark = entry->cancel_number;
    pthread_mutex_unlock(&registry->mutex);
    return mark;
}

size_t session_registry_settle(struct session_registry *registry, struct session_entry *entry, uint64_t number)
{
    if (SQ_LIKELY(atomic_load(&entry->cancel_count) == 0))
        return 0;
    pthread_mutex_lock(&registry->mutex);
    size_t count = settle_locked(entry, number);
    pthread_mutex_unlock(&registry->mutex);
    return count;
}

size_t session_registry_interrupt_database(struct session_registry *registry, const char *database,
                                           const struct session_entry *except, enum session_interrupt interrupt)
{
    size_t count = 0;
    pthread_mutex_lock(&registry->mutex);
    SQ_LIST_FOREACH (links, &registry->entries) {
        struct session_entry *entry = SQ_CONTAINER_OF(links, struct session_entry, links);
        if (entry == except || strcmp(entry->database, database) != 0)
            continue;
        session_interrupt(entry->session, interrupt);
        count++;
    }
    pthread_mutex_unlock(&registry->mutex);
    return count;
}

void session_registry_each(struct session_registry *registry, void *context,
                           void (*each_cb)(void *context, const struct session_entry *entry))
{
    pthread_mutex_lock(&registry->mutex);
    SQ_LIST_FOREACH (links, &registry->entries)
        each_cb(context, SQ_CONTAINER_OF(links, struct session_entry, links));
    pthread_mutex_unlock(&registry->mutex);
}
