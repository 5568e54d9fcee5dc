/* session/remote_lost.c: the connection to the primary broke. What a client is told, by what it was doing:
 *
 *     nothing there, or nothing that would be missed     nothing; another connection is made when there is need of one
 *     a transaction, but no command                      its next statement fails: 08006, the transaction was rolled back
 *     a command that cannot have committed               08006: nothing of it has happened
 *     a command that may have                            what the primary says has become of it (delegated.h):
 *           done                                             the rest of its answer, as if nothing had happened
 *           done, and its answer was too long to keep        40003: it is committed, and its rows are lost
 *           not done                                         08006
 *           done in part, not known, cannot be asked         08007
 *     LISTEN, temporary tables, …                        the session ends (FATAL): it would not be what the client thinks
 *
 * So no statement is ever sent twice, and none is said to have failed that has not. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "pgclient/pgclient.h"
#include "session/remote_internal.h"

enum {
    LOST_REACH_US = 5 * SQ_US_PER_S,   /* a primary that cannot be reached is tried again for so long */
    LOST_SETTLE_US = 30 * SQ_US_PER_S, /* a session that was told to end may take so long */
    LOST_PAUSE_US = 20 * SQ_US_PER_MS,
    LOST_ANSWER_US = 5 * SQ_US_PER_S, /* for the primary's answer to the question */
    LOST_SQL_BYTES = 128,
};

sq_status remote_fail_unreachable(struct sq_error *err, const char *cause)
{
    sq_status status = sq_fail_sql(err, SQ_CLOSED, "08006", "the primary cannot be reached: %.800s", cause);
    sq_error_set_hint(err, "Nothing was sent. What only reads can be done on this replica.");
    return status;
}

/* --- Asking -------------------------------------------------------------------------------------------------------- */

enum lost_state { LOST_UNKNOWN, LOST_DONE, LOST_NOT_DONE, LOST_PARTLY, LOST_LIVE };

/* What became of a command. */
struct lost_outcome {
    enum lost_state state;
    uint8_t *answer; /* DONE; NULL: it was not kept */
    size_t answer_bytes;
    char why[REMOTE_TEXT_MAX]; /* UNKNOWN */
};

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "done", and perhaps the answer in hexadecimal digits. */
static bool read_answer(const char *text, size_t length, struct lost_outcome *outcome)
{
    if (length == 0)
        return true;
    if (text[0] != ' ' || length % 2 != 1)
        return false;
    size_t bytes = length / 2;
    uint8_t *answer = malloc(bytes + 1);
    if (answer == NULL)
        return true; /* as if it had not been kept */
    for (size_t i = 0; i < bytes; i++) {
        int high = digit_of(text[1 + 2 * i]);
        int low = digit_of(text[2 + 2 * i]);
        if (high < 0 || low < 0) {
            free(answer);
            return false;
        }
        answer[i] = (uint8_t)(high << 4 | low);
    }
    outcome->answer = answer;
    outcome->answer_bytes = bytes;
    return true;
}

static bool read_outcome(const char *text, size_t length, struct lost_outcome *outcome)
{
    static const struct {
        const char *word;
        enum lost_state state;
    } words[] = {
        {"unknown", LOST_UNKNOWN}, {"not done", LOST_NOT_DONE}, {"partly done", LOST_PARTLY}, {"live", LOST_LIVE}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i].word) == length && memcmp(text, words[i].word, length) == 0) {
            outcome->state = words[i].state;
            return true;
        }
    }
    static const char done[] = "done";
    if (length < strlen(done) || memcmp(text, done, strlen(done)) != 0 ||
        !read_answer(text + strlen(done), length - strlen(done), outcome))
        return false;
    outcome->state = LOST_DONE;
    return true;
}

/* One question. */
static sq_status ask_once(struct pgclient *client, const uint8_t key[OUTCOME_KEY_BYTES], uint64_t number,
                          struct lost_outcome *outcome, struct sq_error *err)
{
    char sql[LOST_SQL_BYTES] = "SELECT sqld_outcome('";
    size_t used = strlen(sql);
    for (size_t i = 0; i < OUTCOME_KEY_BYTES; i++, used += 2)
        (void)snprintf(sql + used, sizeof(sql) - used, "%02x", key[i]);
    (void)snprintf(sql + used, sizeof(sql) - used, "', %" PRIu64 ")", number);
    pgwire_put_query(pgclient_out(client), sql, strlen(sql));
    SQ_TRY(pgclient_send(client, err));
    bool is_told = false;
    for (;;) {
        struct pgwire_frame frame;
        SQ_TRY(pgclient_receive(client, LOST_ANSWER_US, err, &frame));
        if (frame.type == PGWIRE_READY_FOR_QUERY)
            return is_told ? SQ_OK : sq_fail(err, SQ_PROTOCOL, "the primary does not tell outcomes");
        struct pgwire_data_row row;
        struct pgwire_value value;
        if (frame.type != PGWIRE_DATA_ROW)
            continue;
        SQ_TRY(pgwire_data_row_decode(&frame, err, &row));
        is_told = pgwire_values_next(&row.columns, &value) && !value.is_null &&
                  read_outcome((const char *)value.data, value.length, outcome);
    }
}

/* False: the session is to stop. */
static bool pause_a_moment(struct session *session)
{
    struct sq_error ignored;
    int64_t until_us = sq_clock_now_us() + LOST_PAUSE_US;
    return session->wire == NULL || session->wire->wait_cb(session->wire, SESSION_WAIT_WAKE, &session->context.stop,
                                                           until_us, &ignored) == SQ_OK;
}

/* Connects, for a while. */
static struct pgclient *reach(struct session *session, uint8_t ret_key[OUTCOME_KEY_BYTES], struct sq_error *err)
{
    int64_t until_us = sq_clock_now_us() + LOST_REACH_US;
    struct pgclient *client = NULL;
    while (remote_open(session, err, &client, ret_key) != SQ_OK) {
        if (err->status == SQ_INVALID || sq_clock_now_us() >= until_us || !pause_a_moment(session))
            return NULL;
    }
    return client;
}

/* Asks on new connections until there is an answer that stays true. The connection is the session's from then on. */
static void ask(struct remote *remote, const uint8_t key[OUTCOME_KEY_BYTES], uint64_t number,
                struct lost_outcome *outcome)
{
    struct session *session = remote->session;
    int64_t until_us = sq_clock_now_us() + LOST_SETTLE_US;
    struct sq_error err;
    struct pgclient *client = NULL;
    uint8_t new_key[OUTCOME_KEY_BYTES];
    uint64_t asked_count = 0;
    for (;;) {
        if (client == NULL && (client = reach(session, new_key, &err)) == NULL)
            break;
        sq_status status = ask_once(client, key, number, outcome, &err);
        asked_count++;
        if (status == SQ_OK && outcome->state != LOST_LIVE) {
            remote_install(remote, client, new_key, asked_count);
            return;
        }
        if (status != SQ_OK) {
            pgclient_break(client);
            client = NULL;
            asked_count = 0;
        } else {
            (void)sq_fail(&err, SQ_BUSY, "the session there does not end");
        }
        if (sq_clock_now_us() >= until_us || !pause_a_moment(session))
            break;
    }
    pgclient_break(client);
    outcome->state = LOST_UNKNOWN;
    (void)snprintf(outcome->why, sizeof(outcome->why), "%.200s", err.text);
}

/* --- What is told -------------------------------------------------------------------------------------------------- */

static void log_loss(const struct session *session, const struct sq_error *cause, const char *outcome)
{
    char quoted[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_WARNING, "session", "connection to the primary lost", "conn=%u db=%s outcome=%s error=%s",
           session->entry.pid, session->database_name, outcome, sq_log_quote(quoted, cause->text));
}

static void fill_error(struct sq_error *err, const struct sq_error *cause, const struct lost_outcome *outcome,
                       bool was_in_transaction)
{
    switch (outcome->state) {
    case LOST_DONE:
        (void)sq_fail_sql(err, SQ_CLOSED, "40003", "the connection to the primary was lost: %.300s", cause->text);
        sq_error_set_detail(err, "The statement has been carried out and committed; what it answered is lost.");
        return;
    case LOST_NOT_DONE:
        (void)sq_fail_sql(err, SQ_CLOSED, "08006", "the connection to the primary was lost: %.300s", cause->text);
        sq_error_set_detail(err, was_in_transaction ? "The transaction was rolled back."
                                                    : "Nothing of the statement has been carried out.");
        return;
    case LOST_PARTLY:
        (void)sq_fail_sql(err, SQ_CLOSED, "08007", "the connection to the primary was lost: %.300s", cause->text);
        sq_error_set_detail(err, "Some of what was sent together has been committed, and some perhaps not.");
        return;
    case LOST_UNKNOWN:
    case LOST_LIVE:
        break;
    }
    (void)sq_fail_sql(err, SQ_CLOSED, "08007", "the connection to the primary was lost: %.300s", cause->text);
    sq_error_set_detail(err, "Whether the statement took effect is unknown%s%s.", outcome->why[0] != '\0' ? ": " : "",
                        outcome->why);
}

/* What the primary has kept goes on where the connection broke. False: it makes no sense. */
static bool replay(struct session *session, const struct lost_outcome *outcome, size_t had_bytes)
{
    struct remote *remote = session->remote;
    uint64_t ready_count = remote->ready_count;
    size_t at = had_bytes;
    if (outcome->answer == NULL || had_bytes > outcome->answer_bytes)
        return false;
    remote->is_replaying = true;
    while (at < outcome->answer_bytes && remote->is_replaying) {
        struct pgwire_frame frame;
        struct sq_error err;
        size_t needed;
        if (pgwire_backend_frame_next(outcome->answer + at, outcome->answer_bytes - at, outcome->answer_bytes, &err,
                                      &frame, &needed) != PGWIRE_FRAME_READY)
            break;
        at += frame.total_bytes;
        remote_take(session, &frame);
    }
    /* It was a command of the connection before. */
    bool is_whole = remote->is_replaying && at == outcome->answer_bytes && remote->ready_count == ready_count + 1;
    remote->is_replaying = false;
    remote->ready_count = remote->command_count;
    remote->answer_bytes = 0;
    return is_whole;
}

/* Answers a command with the error. `has_end`: its Sync has been sent, so nothing follows that would answer it. */
static void fail_command(struct session *session, struct sq_error *err, bool has_end, bool is_over)
{
    /* A transaction whose end was asked for has ended, one way or the other. */
    if (session->is_txn_remote) {
        remote_end_local(session);
        session->txn = is_over ? SESSION_TXN_NONE : SESSION_TXN_FAILED;
    }
    if (session->txn == SESSION_TXN_NONE)
        settings_rollback(&session->settings);
    session->is_txn_remote = false;
    session_fail(session, err);
    if (!has_end || session->state != SESSION_STATE_READY)
        return;
    session->is_skipping = false;
    session_ready(session);
}

/* Nothing was under way, or only what is ours. */
static void end_idle(struct session *session, const struct sq_error *cause, bool must_end)
{
    struct remote *remote = session->remote;
    struct sq_error err;
    bool was_in_transaction = session->is_txn_remote;
    remote_skip_all(remote);
    if (must_end) {
        log_loss(session, cause, "none");
        (void)sq_fail_sql(&err, SQ_CLOSED, "08006", "the connection to the primary was lost: %.300s", cause->text);
        sq_error_set_detail(&err, "What the session had there (LISTEN, temporary tables, settings of its connection, "
                                  "cursors) is gone with it.");
        err.is_fatal = true;
        session->is_txn_remote = false;
        session_fail(session, &err);
    } else if (was_in_transaction) {
        log_loss(session, cause, "\"not done\"");
        remote_end_local(session);
        session->is_txn_remote = false;
        session->txn = SESSION_TXN_FAILED;
        (void)snprintf(remote->lost_text, sizeof(remote->lost_text), "%.200s", cause->text);
    }
}

/* A command was under way. */
static void end_command(struct session *session, const struct sq_error *cause, const struct lost_outcome *outcome,
                        size_t had_bytes, bool is_over, bool must_end)
{
    static const char *const names[] = {[LOST_UNKNOWN] = "unknown",
                                        [LOST_DONE] = "done",
                                        [LOST_NOT_DONE] = "\"not done\"",
                                        [LOST_PARTLY] = "\"partly done\"",
                                        [LOST_LIVE] = "unknown"};
    struct remote *remote = session->remote;
    bool was_in_transaction = session->is_txn_remote;
    log_loss(session, cause, names[outcome->state]);
    if (outcome->state == LOST_DONE && !must_end && replay(session, outcome, had_bytes)) {
        /* What the command has left was left on the connection that is no more. */
        if (remote->state != 0 || remote->is_listening)
            end_idle(session, cause, true);
        return;
    }
    bool has_end = remote_skip(remote) && remote->entries[remote->entry_first].kind == REMOTE_SYNC;
    remote_skip_all(remote);
    if (session->state == SESSION_STATE_CLOSING)
        return;
    struct sq_error err;
    fill_error(&err, cause, outcome, was_in_transaction);
    err.is_fatal = must_end;
    fail_command(session, &err, has_end, is_over);
}

void remote_lost(struct session *session, const struct sq_error *cause)
{
    struct remote *remote = session->remote;
    struct sq_error why = *cause; /* it may be one of what goes now */
    if (remote->is_replaying) {
        remote->is_replaying = false; /* what was kept makes no sense: replay() says so */
        return;
    }
    bool is_clients = false;
    for (size_t i = 0; i < remote->entry_count; i++)
        is_clients =
            is_clients || remote->entries[(remote->entry_first + i) % REMOTE_ENTRIES_MAX].audience == REMOTE_RELAYED;
    is_clients = is_clients || remote->is_piping;
    bool must_end = remote->state != 0 || remote->is_listening;
    bool may_commit = remote->may_commit;
    bool is_over = remote->ends_transaction;
    size_t had_bytes = remote->answer_bytes;
    uint64_t number = remote->ready_count + 1;
    uint8_t key[OUTCOME_KEY_BYTES];
    memcpy(key, remote->key, sizeof(key));
    remote_disconnect(remote, true);
    remote->may_commit = remote->ends_transaction = false;
    if (!is_clients) {
        /* What is ours, and waited for, is asked again. */
        remote->quiet = why;
        end_idle(session, &why, must_end);
        return;
    }
    struct lost_outcome outcome = {.state = LOST_NOT_DONE};
    struct sq_error err;
    if (may_commit) {
        outcome.state = LOST_UNKNOWN;
        (void)snprintf(outcome.why, sizeof(outcome.why), "too many sessions are connecting to the primary");
        if (remote_block(session, &err) == SQ_OK) {
            ask(remote, key, number, &outcome);
            remote_unblock(session);
        }
    }
    end_command(session, &why, &outcome, had_bytes, is_over, must_end);
    free(outcome.answer);
}

sq_status remote_check_lost(struct session *session, enum command_kind kind, struct sq_error *err)
{
    struct remote *remote = session->remote;
    if (remote == NULL || remote->lost_text[0] == '\0' || session->txn != SESSION_TXN_FAILED)
        return SQ_OK;
    struct sq_error cause;
    (void)sq_fail(&cause, SQ_CLOSED, "%s", remote->lost_text);
    remote->lost_text[0] = '\0';
    if (kind == COMMAND_ROLLBACK)
        return SQ_OK;
    /* COMMIT ends it, all the same. */
    if (kind == COMMAND_COMMIT) {
        sq_status ended = transaction_rollback(session, NULL);
        (void)ended; /* there is nothing here that could fail */
    }
    struct lost_outcome outcome = {.state = LOST_NOT_DONE};
    fill_error(err, &cause, &outcome, true);
    return err->status;
}
