/* session/outcomes.c: what became of the last request of sessions that have ended. See outcomes.h.
 *
 * Invariants: (1) every entry is in `entries`; one that has ended is in `ended`, too, the oldest first; (2) at most
 * OUTCOMES_MAX have ended; how many live is bounded by max-connections. */
#include "session/outcomes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"

struct outcome_entry {
    struct sq_list links; /* in `ended`; in no list while the session lives */
    uint8_t key[OUTCOME_KEY_BYTES];
    uint32_t pid;
    bool has_ended;
    uint64_t number;
    struct outcome outcome;
};

struct outcomes {
    pthread_mutex_t mutex;
    struct sq_map entries; /* key -> struct outcome_entry */
    struct sq_list ended;
    size_t ended_count;
};

sq_status outcomes_new(struct sq_error *err, struct outcomes **ret_outcomes)
{
    struct outcomes *outcomes = calloc(1, sizeof(*outcomes));
    if (outcomes == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for the outcomes of sessions");
    pthread_mutex_init(&outcomes->mutex, NULL);
    sq_map_init(&outcomes->entries);
    sq_list_init(&outcomes->ended);
    *ret_outcomes = outcomes;
    return SQ_OK;
}

static void entry_remove(struct outcomes *outcomes, struct outcome_entry *entry)
{
    sq_map_remove(&outcomes->entries, entry->key, sizeof(entry->key));
    if (sq_list_is_linked(&entry->links)) {
        sq_list_remove(&entry->links);
        outcomes->ended_count--;
    }
    free(entry->outcome.answer);
    free(entry);
}

/* For want of memory there is none. */
static void copy_answer(struct outcome *outcome, const uint8_t *answer)
{
    outcome->answer = answer != NULL && outcome->answer_bytes > 0 ? malloc(outcome->answer_bytes) : NULL;
    if (outcome->answer != NULL)
        memcpy(outcome->answer, answer, outcome->answer_bytes);
    else
        outcome->answer_bytes = 0;
}

void outcomes_free(struct outcomes *outcomes)
{
    if (outcomes == NULL)
        return;
    while (!sq_list_is_empty(&outcomes->ended))
        entry_remove(outcomes, SQ_CONTAINER_OF(outcomes->ended.next, struct outcome_entry, links));
    sq_assert(outcomes->entries.count == 0);
    sq_map_done(&outcomes->entries);
    pthread_mutex_destroy(&outcomes->mutex);
    free(outcomes);
}

sq_status outcomes_begin(struct outcomes *outcomes, const uint8_t key[OUTCOME_KEY_BYTES], uint32_t pid,
                         struct sq_error *err)
{
    struct outcome_entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a session");
    sq_list_init(&entry->links);
    memcpy(entry->key, key, sizeof(entry->key));
    entry->pid = pid;
    pthread_mutex_lock(&outcomes->mutex);
    bool is_known = sq_map_get(&outcomes->entries, key, OUTCOME_KEY_BYTES) != NULL;
    sq_status status =
        is_known ? SQ_EXISTS : sq_map_put(&outcomes->entries, entry->key, sizeof(entry->key), entry, NULL);
    pthread_mutex_unlock(&outcomes->mutex);
    if (status == SQ_OK)
        return SQ_OK;
    free(entry);
    if (is_known)
        return sq_fail_sql(err, SQ_EXISTS, "08P01", "another session has this session's key");
    return sq_fail(err, status, "out of memory for a session");
}

void outcomes_end(struct outcomes *outcomes, const uint8_t key[OUTCOME_KEY_BYTES], uint64_t number,
                  const struct outcome *outcome)
{
    pthread_mutex_lock(&outcomes->mutex);
    struct outcome_entry *entry = sq_map_get(&outcomes->entries, key, OUTCOME_KEY_BYTES);
    sq_assert(entry != NULL && !entry->has_ended);
    entry->has_ended = true;
    entry->number = number;
    if (outcome != NULL) {
        entry->outcome = *outcome;
        copy_answer(&entry->outcome, outcome->answer);
    }
    sq_list_push_back(&outcomes->ended, &entry->links);
    if (++outcomes->ended_count > OUTCOMES_MAX)
        entry_remove(outcomes, SQ_CONTAINER_OF(outcomes->ended.next, struct outcome_entry, links));
    sq_assert(outcomes->ended_count <= OUTCOMES_MAX);
    pthread_mutex_unlock(&outcomes->mutex);
}

void outcomes_forget(struct outcomes *outcomes, const uint8_t key[OUTCOME_KEY_BYTES])
{
    pthread_mutex_lock(&outcomes->mutex);
    struct outcome_entry *entry = sq_map_get(&outcomes->entries, key, OUTCOME_KEY_BYTES);
    sq_assert(entry != NULL && !entry->has_ended);
    entry_remove(outcomes, entry);
    pthread_mutex_unlock(&outcomes->mutex);
}

enum outcome_state outcomes_find(struct outcomes *outcomes, const uint8_t key[OUTCOME_KEY_BYTES], uint64_t number,
                                 struct outcome *ret_outcome, uint32_t *ret_pid)
{
    enum outcome_state state = OUTCOME_UNKNOWN;
    pthread_mutex_lock(&outcomes->mutex);
    const struct outcome_entry *entry = sq_map_get(&outcomes->entries, key, OUTCOME_KEY_BYTES);
    if (entry != NULL && !entry->has_ended) {
        state = OUTCOME_LIVE;
        *ret_pid = entry->pid;
    } else if (entry != NULL && number == entry->number && number > 0) {
        state = entry->outcome.is_committed ? OUTCOME_DONE : OUTCOME_NOT_DONE;
        *ret_outcome = entry->outcome;
        copy_answer(ret_outcome, state == OUTCOME_DONE ? entry->outcome.answer : NULL);
    } else if (entry != NULL && number == entry->number + 1 && entry->outcome.is_next_partly) {
        state = OUTCOME_PARTLY;
    } else if (entry != NULL && number > entry->number) {
        state = OUTCOME_NOT_DONE;
    }
    /* One before the last: its answer was received, or the client would not have sent the next. */
    pthread_mutex_unlock(&outcomes->mutex);
    return state;
}
