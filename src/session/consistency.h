/* session/consistency.h: what a session's reads wait for, and which position says what it has seen.
 *
 * Before a command reads here, it passes a gate:
 *
 *     what the session has seen or written at the primary  ┐
 *     sqld.min_position                                    ├─ can this server show that? ──yes──► go on
 *     the primary's position now (strong)                  │        │ not yet: wait, sqld.replica_wait_timeout at most
 *     its age (bounded)                                    ┘        ▼
 *                                              sqld.replica_wait_action: error, or the primary does it
 *
 * What can be read here never goes back, and what was seen at the primary counts from then on: so reads of a session are
 * monotonic, wherever they are done. Nothing waits on a thread: the session is woken.
 *
 * Threads: the session's. */
#ifndef SQ_SESSION_CONSISTENCY_H
#define SQ_SESSION_CONSISTENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "engine/durability.h"
#include "session/position.h"

struct session;

struct consistency {
    struct repl_wait wait;
    struct position_rule rule;
    bool has_min;
    struct wal_position min; /* sqld.min_position */
    bool has_seen;
    struct wal_position seen; /* at the primary */
    bool is_passed;           /* the command that is being worked off has been through the gate */
    bool is_txn_passed;       /* so has the transaction: its snapshot will not get any newer */
    bool is_asked;            /* it has asked the primary for its position … */
    bool has_strong;          /* … and this is it */
    struct wal_position strong;
    int64_t since_us;               /* since when it waits; 0: it does not */
    engine_position shown;          /* what SHOW sqld.position is to cover … */
    char text[POSITION_TEXT_BYTES]; /* … and its answer */
};

void consistency_init(struct session *session);
/* Waits for nothing any more. */
void consistency_done(struct session *session);
/* Takes the settings over. */
void consistency_apply(struct session *session);

/* What was done at the primary up to now is covered by `position`. */
void consistency_saw(struct session *session, const struct wal_position *position);

/* Whether a command that reads here has to pass the gate at all. */
bool consistency_is_concerned(const struct session *session);
enum consistency_gate {
    GATE_OPEN,
    GATE_WAIT,    /* the session will be woken, or it is session->pause_deadline_us */
    GATE_PRIMARY, /* this server is too old: the primary is to do it */
    GATE_CLOSED,  /* *err says why */
};
enum consistency_gate consistency_pass(struct session *session, struct sq_error *err);
/* The command has ended, or is done elsewhere: the next one comes to the gate anew. */
void consistency_end(struct session *session);
/* Whether a command stands before the gate. */
static inline bool consistency_is_waiting(const struct consistency *consistency)
{
    return consistency->since_us != 0;
}

/* A position that covers what this session has committed and seen, and all that was published up to `rests_on`. LATER: the
 * session is woken when `wait` is over (or, on a replica, when the primary tells); ask again. */
enum repl_known consistency_position(struct session *session, engine_position rests_on, struct repl_wait *wait,
                                     struct wal_position *ret_position);

/* SHOW sqld.position: begins, and goes on until it is not LATER. KNOWN: consistency->text has it. */
enum repl_known consistency_show(struct session *session, bool is_new);

#endif
