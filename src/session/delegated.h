/* session/delegated.h: a session that stands for one on a replica (docs/protocol.md, "Delegated sessions"). It is an
 * ordinary session of the PostgreSQL protocol that does three things more:
 *
 *   - it reports every change of a setting, so that the replica's session knows of it;
 *   - it reports the log's position once that covers what a command has seen or committed;
 *   - what its last command answered can be asked for by its key after it has ended, as for native sessions (outcomes.h).
 *
 * Threads: the session's. */
#ifndef SQ_SESSION_DELEGATED_H
#define SQ_SESSION_DELEGATED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "session/outcomes.h"

struct engine_durability;
struct session;
struct settings_row;

/* The start-up parameter, whose value is "1 key=HEX", and the ParameterStatus that tells positions. */
#define DELEGATED_OPTION "_pq_.sqld_replica"
#define DELEGATED_STATUS_POSITION "sqld.position"

/* Of an answer that is kept; docs/protocol.md says so. */
enum { DELEGATED_ANSWER_BYTES_MAX = 8192 };

/* What the start-up parameter asks for. */
struct delegated_asked {
    bool is_asked;
    uint8_t key[OUTCOME_KEY_BYTES];
};
/* False: it makes no sense. */
bool delegated_parse(const char *value, struct delegated_asked *ret_asked);

/* At the start, before it is answered. SQ_EXISTS: the key has been used before. */
SQ_MUST_USE sq_status delegated_start(struct session *session, struct sq_error *err);
/* Around ReadyForQuery. */
void delegated_before_ready(struct session *session);
void delegated_after_ready(struct session *session);
/* The output has grown since session->output_mark. */
void delegated_note_output(struct session *session);
/* One of the user's own settings has another value, or none any more. */
void delegated_put_own_setting(struct session *session, const struct settings_row *row);
/* While nothing is done: reports a position that was not known yet. */
void delegated_report(struct session *session);
/* The client has said goodbye: it has had all its answers. */
void delegated_note_goodbye(struct session *session);
/* The session has ended: everything is rolled back. Waits for the disk. */
void delegated_end(struct session *session, struct engine_durability *durability);

/* What became of command `number` of the session with that key, as text in session->scratch: "unknown", "not done", "partly
 * done", "live", "done", or "done " and the answer in hexadecimal digits. */
SQ_MUST_USE sq_status delegated_put_outcome(struct session *session, const uint8_t key[OUTCOME_KEY_BYTES],
                                            uint64_t number, struct sq_error *err);

#endif
