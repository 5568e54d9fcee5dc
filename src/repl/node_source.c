/* repl/node_source.c: the node as a source (source.h): what it is, which databases there are, and who wants to know. Feeds are made by
 * node_databases.c. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "repl/node_databases.h"
#include "repl/node_internal.h"
#include "repl/node_link.h"

/* A sender that wants to know of databases and roles. */
struct node_watch {
    struct sq_list links; /* guarded by the node's mutex */
    const void *watcher;
    struct sq_waker *waker;
};

void node_notify_locked(struct repl_node *node)
{
    SQ_LIST_FOREACH (i, &node->watches)
        sq_waker_wake(SQ_CONTAINER_OF(i, struct node_watch, links)->waker);
}

void node_notify(struct repl_node *node)
{
    pthread_mutex_lock(&node->mutex);
    node_notify_locked(node);
    pthread_mutex_unlock(&node->mutex);
}

static struct repl_node *node_of(struct repl_source *source)
{
    return SQ_CONTAINER_OF(source, struct repl_node, source);
}

static void source_identity(struct repl_source *source, struct repl_identity *ret_identity)
{
    struct repl_node *node = node_of(source);
    bool is_list_known = true;
    int64_t age_us = 0;
    if (repl_node_role(node) != REPL_PRIMARY) {
        pthread_mutex_lock(&node->link_mutex);
        is_list_known = node->link != NULL && node_link_is_list_known(node->link);
        age_us = node->link != NULL ? node_link_age_us(node->link, NULL) : INT64_MAX;
        pthread_mutex_unlock(&node->link_mutex);
    }
    pthread_mutex_lock(&node->mutex);
    *ret_identity = (struct repl_identity){
        .system_id = node->state.system_id,
        .timeline = node->state.seen_timeline,
        .is_primary = node->state.role == REPL_PRIMARY,
        .is_fenced = node->state.role == REPL_FENCED,
        .is_list_known = is_list_known,
        .age_us = age_us,
    };
    pthread_mutex_unlock(&node->mutex);
}

static bool source_next_database(struct repl_source *source, uint32_t after, struct repl_database_entry *ret_entry)
{
    struct repl_node *node = node_of(source);
    pthread_mutex_lock(&node->mutex);
    struct repl_database *found = NULL;
    SQ_LIST_FOREACH (i, &node->databases) { /* in the order of numbers */
        struct repl_database *database = SQ_CONTAINER_OF(i, struct repl_database, links);
        if (found == NULL && !database->is_dropped && database->number > after)
            found = database;
    }
    if (found != NULL) {
        ret_entry->number = found->number;
        memcpy(ret_entry->name, found->name, sizeof(ret_entry->name));
    }
    pthread_mutex_unlock(&node->mutex);
    return found != NULL;
}

/* Under the node's mutex. */
static struct node_watch *find_watch(struct repl_node *node, const void *watcher)
{
    SQ_LIST_FOREACH (i, &node->watches) {
        struct node_watch *watch = SQ_CONTAINER_OF(i, struct node_watch, links);
        if (watch->watcher == watcher)
            return watch;
    }
    return NULL;
}

static sq_status source_watch(struct repl_source *source, const void *watcher, struct sq_waker *waker,
                              struct sq_error *err)
{
    struct repl_node *node = node_of(source);
    struct node_watch *spare = waker != NULL ? calloc(1, sizeof(*spare)) : NULL;
    if (waker != NULL && spare == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a replica");
    pthread_mutex_lock(&node->mutex);
    struct node_watch *watch = find_watch(node, watcher);
    if (watch != NULL && waker == NULL) {
        sq_list_remove(&watch->links);
    } else if (watch != NULL) {
        watch->waker = waker;
        watch = NULL;
    } else if (spare != NULL) {
        *spare = (struct node_watch){.watcher = watcher, .waker = waker};
        sq_list_init(&spare->links);
        sq_list_push_back(&node->watches, &spare->links);
        spare = NULL;
    }
    pthread_mutex_unlock(&node->mutex);
    free(watch);
    free(spare);
    return SQ_OK;
}

static sq_status source_open_feed(struct repl_source *source, uint32_t number, struct sq_waker *waker,
                                  struct sq_error *err, struct repl_feed **ret_feed)
{
    return node_databases_open_feed(node_of(source), number, waker, err, ret_feed);
}

static const struct repl_source_ops source_ops = {
    .identity_cb = source_identity,
    .next_database_cb = source_next_database,
    .watch_cb = source_watch,
    .open_feed_cb = source_open_feed,
};

void node_source_init(struct repl_node *node)
{
    node->source.ops = &source_ops;
}
