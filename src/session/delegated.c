/* session/delegated.c: a session that stands for one on a replica. See delegated.h.
 *
 * Commands are counted by their ReadyForQuery; the one of the start is number 0. All that is said between two of them is the
 * answer of the second one's command, whatever it is: the replica counts the bytes that it has had, and if the rest is
 * lost, it asks for the answer and goes on where the connection broke. So not a byte may be said that is not noted.
 *
 *     Z(0) ─── S S C ─── Z(1) ─── S ··· T D D C ─── Z(2)
 *          └─ answer 1 ─────┘└─── answer 2 ───────────┘
 *
 * Positions. After a command outside a transaction its position is reported: before ReadyForQuery, if the log has come so
 * far, else as soon as it has and the session is idle or answers something else. A report covers all commands up to its
 * number. */
#include "session/delegated.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/durability.h"
#include "session/consistency.h"
#include "session/session_internal.h"

struct delegated {
    bool is_started;      /* the start has been answered */
    uint64_t ready_count; /* ReadyForQuery after that of the start */
    struct sq_buf answer; /* what has been said since the last one, as far as it fits */
    bool is_too_long;
    bool is_ready;      /* ReadyForQuery has been put, and not been noted yet */
    struct sq_buf last; /* the answer up to the last one */
    bool has_last;
    bool is_last_idle; /* no transaction was open then */
    bool is_goodbye;
    struct repl_wait wait;
    uint64_t report_number; /* of the command whose position is to be reported; 0: none */
    engine_position report_rests_on;
};

/* The value of a hexadecimal digit; negative: it is none. */
static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool delegated_parse(const char *value, struct delegated_asked *ret_asked)
{
    static const char prefix[] = "1 key=";
    struct delegated_asked asked = {.is_asked = true};
    if (strncmp(value, prefix, strlen(prefix)) != 0 || strlen(value) != strlen(prefix) + 2 * OUTCOME_KEY_BYTES)
        return false;
    const char *digits = value + strlen(prefix);
    for (size_t i = 0; i < OUTCOME_KEY_BYTES; i++) {
        int high = digit_of(digits[2 * i]);
        int low = digit_of(digits[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        asked.key[i] = (uint8_t)(high << 4 | low);
    }
    *ret_asked = asked;
    return true;
}

sq_status delegated_start(struct session *session, struct sq_error *err)
{
    sq_assert(session->delegated == NULL && session->delegated_asked.is_asked);
    struct delegated *delegated = calloc(1, sizeof(*delegated));
    if (delegated == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a session");
    sq_status status = outcomes_begin(session->host->outcomes, session->delegated_asked.key, session->entry.pid, err);
    if (status != SQ_OK) {
        free(delegated);
        return status;
    }
    sq_buf_init(&delegated->answer, DELEGATED_ANSWER_BYTES_MAX);
    sq_buf_init(&delegated->last, DELEGATED_ANSWER_BYTES_MAX);
    repl_wait_init(&delegated->wait, session->waker);
    session->delegated = delegated;
    return SQ_OK;
}

/* --- Answers ------------------------------------------------------------------------------------------------------- */

void delegated_note_output(struct session *session)
{
    struct delegated *delegated = session->delegated;
    size_t length = sq_buf_length(session->out) - session->output_mark;
    if (length > 0 && !delegated->is_too_long) {
        sq_buf_put(&delegated->answer, sq_buf_bytes(session->out) + session->output_mark, length);
        delegated->is_too_long = delegated->answer.is_failed; /* or there is no memory: it cannot be had again */
    }
    if (!delegated->is_ready)
        return;
    struct sq_buf spare = delegated->last;
    delegated->last = delegated->answer;
    delegated->has_last = !delegated->is_too_long;
    sq_buf_truncate(&spare, 0);
    delegated->answer = spare;
    delegated->is_too_long = delegated->is_ready = false;
    if (delegated->ready_count == 0)
        delegated->has_last = false; /* the start's */
}

void delegated_after_ready(struct session *session)
{
    struct delegated *delegated = session->delegated;
    sq_assert(!delegated->is_ready);
    delegated->is_ready = true;
    if (delegated->is_started)
        delegated->ready_count++;
    else
        settings_report_all(&session->settings);
    delegated->is_started = true;
    delegated->is_last_idle = session->txn == SESSION_TXN_NONE;
    session->has_committed = false;
}

void delegated_put_own_setting(struct session *session, const struct settings_row *row)
{
    size_t message = pgwire_begin(session->out, PGWIRE_PARAMETER_STATUS);
    sq_buf_put_cstr(session->out, row->name);
    if (row->has_value)
        sq_buf_put_u8(session->out, '=');
    sq_buf_put_cstr(session->out, row->value);
    pgwire_end(session->out, message);
}

/* --- Positions ----------------------------------------------------------------------------------------------------- */

void delegated_report(struct session *session)
{
    struct delegated *delegated = session->delegated;
    struct wal_position position;
    char text[POSITION_TEXT_BYTES] = "-";
    char value[POSITION_TEXT_BYTES + 32];
    if (delegated->report_number == 0)
        return;
    switch (consistency_position(session, delegated->report_rests_on, &delegated->wait, &position)) {
    case REPL_KNOWN_LATER:
        return;
    case REPL_KNOWN:
        position_format(&position, text);
        break;
    case REPL_KNOWN_NEVER:
        break;
    }
    (void)snprintf(value, sizeof(value), "%" PRIu64 " %s", delegated->report_number, text);
    pgwire_put_parameter_status(session->out, DELEGATED_STATUS_POSITION, value);
    delegated->report_number = 0;
}

void delegated_before_ready(struct session *session)
{
    struct delegated *delegated = session->delegated;
    if (!delegated->is_started || session->txn != SESSION_TXN_NONE)
        return;
    struct engine_durability *durability = engine_database_durability(session->context.database);
    delegated->report_number = delegated->ready_count + 1;
    delegated->report_rests_on = durability != NULL ? engine_durability_published(durability) : 0;
    delegated_report(session);
}

/* --- The end ------------------------------------------------------------------------------------------------------- */

void delegated_note_goodbye(struct session *session)
{
    session->delegated->is_goodbye = true;
}

void delegated_end(struct session *session, struct engine_durability *durability)
{
    struct delegated *delegated = session->delegated;
    const uint8_t *key = session->delegated_asked.key;
    struct sq_error err;
    if (delegated == NULL)
        return;
    bool is_known = !delegated->is_goodbye;
    if (is_known && durability != NULL && session->context.rests_on > 0)
        is_known = engine_durability_sync(durability, session->context.rests_on, &err) == SQ_OK;
    /* What the disk has not taken may be there all the same when the server is started again. */
    if (durability != NULL && engine_durability_is_failed(durability))
        is_known = false;
    struct outcome outcome = {
        .is_committed = delegated->is_last_idle,
        .is_next_partly = session->has_committed,
        .answer = delegated->has_last ? sq_buf_bytes(&delegated->last) : NULL,
        .answer_bytes = delegated->has_last ? sq_buf_length(&delegated->last) : 0,
    };
    if (is_known)
        outcomes_end(session->host->outcomes, key, delegated->ready_count, &outcome);
    else
        outcomes_forget(session->host->outcomes, key);
    if (session->host->node != NULL)
        repl_wait_withdraw(session->host->node, &delegated->wait);
    sq_buf_done(&delegated->answer);
    sq_buf_done(&delegated->last);
    free(delegated);
    session->delegated = NULL;
}

sq_status delegated_put_outcome(struct session *session, const uint8_t key[OUTCOME_KEY_BYTES], uint64_t number,
                                struct sq_error *err)
{
    static const char *const states[] = {[OUTCOME_UNKNOWN] = "unknown",
                                         [OUTCOME_DONE] = "done",
                                         [OUTCOME_NOT_DONE] = "not done",
                                         [OUTCOME_LIVE] = "live",
                                         [OUTCOME_PARTLY] = "partly done"};
    struct session_host *host = session->host;
    struct outcome outcome = {0};
    uint32_t pid = 0;
    enum outcome_state state = outcomes_find(host->outcomes, key, number, &outcome, &pid);
    /* Its client is here and not there, though its connection may look well. */
    if (state == OUTCOME_LIVE)
        session_registry_interrupt(host->sessions, pid, NULL, SESSION_INTERRUPT_TERMINATE);
    sq_buf_truncate(&session->scratch, 0);
    sq_buf_put_text(&session->scratch, states[state]);
    if (state == OUTCOME_DONE && outcome.answer != NULL) {
        sq_buf_put_u8(&session->scratch, ' ');
        for (size_t i = 0; i < outcome.answer_bytes; i++)
            sq_buf_printf(&session->scratch, "%02x", outcome.answer[i]);
        free(outcome.answer);
    }
    return sq_buf_check(&session->scratch, err);
}
