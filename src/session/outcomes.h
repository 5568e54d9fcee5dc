/* session/outcomes.h: what became of the last request of sessions that have ended, for clients that lost the answer.
 *
 * A client in native mode names its session by a key of its own making, and counts its requests (docs/protocol.md). When
 * the connection breaks while it waits for an answer, it comes back on another one and asks: was my request number N done?
 * The table knows for every session that lives that it does, and for the last OUTCOMES_MAX that have ended the number of the
 * last request that was worked off, and its result. It lives in memory: after a restart of the server all are unknown,
 * which is what the client is told.
 *
 * Whoever ends a session has what it committed on disk before it says so here: an outcome that was told is never taken back.
 *
 * Threads: any. */
#ifndef SQ_SESSION_OUTCOMES_H
#define SQ_SESSION_OUTCOMES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { OUTCOMES_MAX = 10000, OUTCOME_KEY_BYTES = 16 };

struct outcomes;

/* A request that was worked off: what its answer said. */
struct outcome {
    int32_t result; /* SQLite's extended result code */
    int64_t changes;
    int64_t total_changes;
    int64_t last_insert_rowid;
    uint32_t row_count; /* the answer had so many */
    bool is_committed;  /* else it was part of what was rolled back when the session ended */
    bool
        is_next_partly; /* of the request behind it, which was not worked off, something has been committed all the same */
    /* Of sessions in the PostgreSQL protocol: the answer itself, all its messages; NULL if it was too long, or for want of
     * memory. */
    uint8_t *answer;
    size_t answer_bytes;
};

enum outcome_state {
    OUTCOME_UNKNOWN,  /* no such session, or it has ended too long ago */
    OUTCOME_DONE,     /* worked off, with that result */
    OUTCOME_NOT_DONE, /* nothing of it has happened, or it was rolled back */
    OUTCOME_LIVE,     /* the session has not ended: end it and ask again */
    OUTCOME_PARTLY,   /* some of its statements are committed, and others not */
};

SQ_MUST_USE sq_status outcomes_new(struct sq_error *err, struct outcomes **ret_outcomes);
/* All sessions have ended. NULL is allowed. */
void outcomes_free(struct outcomes *outcomes);

/* A session of that key begins; `pid` is its number in the registry. SQ_EXISTS: the key has been used before. */
SQ_MUST_USE sq_status outcomes_begin(struct outcomes *outcomes, const uint8_t key[OUTCOME_KEY_BYTES], uint32_t pid,
                                     struct sq_error *err);
/* It has ended, having worked off `number` requests, the last one as *outcome says (NULL: nothing). The answer stays the
 * caller's. */
void outcomes_end(struct outcomes *outcomes, const uint8_t key[OUTCOME_KEY_BYTES], uint64_t number,
                  const struct outcome *outcome);
/* It has ended, and what became of its last request nobody can say. */
void outcomes_forget(struct outcomes *outcomes, const uint8_t key[OUTCOME_KEY_BYTES]);

/* What became of request `number`. DONE: *ret_outcome is set, its answer is the caller's to free(). LIVE: *ret_pid is. */
enum outcome_state outcomes_find(struct outcomes *outcomes, const uint8_t key[OUTCOME_KEY_BYTES], uint64_t number,
                                 struct outcome *ret_outcome, uint32_t *ret_pid);

#endif
