/* tests/lib/session_fixture.h: a server without sockets: data directory, scheduler, service stack, and clients that are
 * only buffers. Fuzzers, fault tests and unit tests drive the real session with it, bytes in, bytes out.
 *
 * Every byte that a session answers goes through answers_take(), which holds it to the protocol:
 *   1. between two runs the output ends at the end of a message;
 *   2. every message decodes, and what was decoded writes the same bytes again;
 *   3. ReadyForQuery says I, T or E; before AuthenticationOk only a refusal of encryption, a negotiation or an error
 *      comes;
 *   4. nothing comes after the answer to a client that is told to go (FATAL).
 * Whoever breaks one of these ends the process: sq_assert(). */
#ifndef SQ_TESTS_SESSION_FIXTURE_H
#define SQ_TESTS_SESSION_FIXTURE_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/pgwire_recode.h"
#include "../lib/scratch.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "config/config.h"
#include "engine/database.h"
#include "pgwire/native.h"
#include "sched/scheduler.h"
#include "server/stack.h"
#include "session/notify.h"
#include "session/outcomes.h"
#include "session/registry.h"
#include "session/session.h"

enum { FIXTURE_BUFFER_BYTES_MAX = 1 << 28, FIXTURE_OPTIONS_MAX = 32 };

/* --- The server --------------------------------------------------------------------------------------------------- */

struct session_fixture {
    struct session_host host; /* first: the config callback finds the rest by it */
    struct config *config;
    struct sched *sched;
    struct server_stack stack;
    char dir[PATH_MAX];
    char data_dir_option[PATH_MAX + 16];
    char *argv[FIXTURE_OPTIONS_MAX];
};

static inline struct config *fixture_config(struct session_host *host)
{
    return config_ref(SQ_CONTAINER_OF(host, struct session_fixture, host)->config);
}

/* Starts in the directory `dir`, which stays when fixture_stop() has been called (in any case, also after a failure).
 * `options` are flags as on the command line, NULL-terminated, constant. */
static inline sq_status fixture_try_start(struct session_fixture *fixture, const char *dir, const char *const *options,
                                          struct sq_error *err)
{
    static char program[] = "sqld";
    int count = 0;
    memset(fixture, 0, sizeof(*fixture));
    int length = snprintf(fixture->dir, sizeof(fixture->dir), "%s", dir);
    sq_assert(length > 0 && (size_t)length < sizeof(fixture->dir));
    snprintf(fixture->data_dir_option, sizeof(fixture->data_dir_option), "--data-dir=%s", fixture->dir);
    fixture->argv[count++] = program;
    fixture->argv[count++] = fixture->data_dir_option;
    for (; options != NULL && *options != NULL; options++) {
        sq_assert(count + 1 < FIXTURE_OPTIONS_MAX);
        fixture->argv[count++] = strdup(*options);
    }
    SQ_TRY(config_load(count, fixture->argv, NULL, err, &fixture->config));
    SQ_TRY(engine_registry_open(fixture->dir, fixture->config->default_database, err, &fixture->host.databases));
    SQ_TRY(sched_new(fixture->host.databases, err, &fixture->sched));
    sched_set_idle_connections(fixture->sched, (size_t)fixture->config->idle_connections,
                               fixture->config->idle_connection_timeout_us);
    server_stack_init(&fixture->stack, sched_factory(fixture->sched));
    SQ_TRY(session_registry_new(err, &fixture->host.sessions));
    SQ_TRY(notify_hub_new(err, &fixture->host.notify_hub));
    SQ_TRY(outcomes_new(err, &fixture->host.outcomes));
    fixture->host.config_cb = fixture_config;
    fixture->host.factory = &fixture->stack.factory;
    fixture->host.sched = fixture->sched;
    fixture->host.started_us = sq_clock_wall_us();
    return SQ_OK;
}

static inline void fixture_open(struct session_fixture *fixture, const char *const *options)
{
    char dir[PATH_MAX];
    struct sq_error err;
    scratch_make_directory(dir);
    sq_status status = fixture_try_start(fixture, dir, options, &err);
    if (status != SQ_OK)
        fprintf(stderr, "fixture: %s\n", err.text);
    sq_assert(status == SQ_OK);
}

static inline void fixture_stop(struct session_fixture *fixture)
{
    outcomes_free(fixture->host.outcomes);
    notify_hub_free(fixture->host.notify_hub);
    session_registry_free(fixture->host.sessions);
    server_stack_done(&fixture->stack);
    sched_free(fixture->sched);
    engine_registry_free(fixture->host.databases);
    config_free(fixture->config);
    for (int i = 2; i < FIXTURE_OPTIONS_MAX; i++)
        free(fixture->argv[i]);
}

/* Stops, and removes the directory. */
static inline void fixture_close(struct session_fixture *fixture)
{
    fixture_stop(fixture);
    scratch_remove_directory(fixture->dir);
}

/* --- What a client hears ------------------------------------------------------------------------------------------ */

struct answers {
    size_t refusal_count; /* 'N' to a request for encryption */
    size_t ready_count;
    size_t error_count;
    char ready_status; /* of the last ReadyForQuery; 0: none yet */
    bool is_authenticated;
    bool is_fatal;
    char sqlstate[SQ_SQLSTATE_LEN + 1]; /* of the last ErrorResponse */
    uint32_t pid;
    uint8_t secret[PGWIRE_SECRET_BYTES_MIN];
};

/* An answer of native mode: its head and facts make sense, and say one thing. */
static inline void answers_check_native(const struct pgwire_frame *frame)
{
    struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, frame->body_length);
    struct native_answer answer;
    struct native_facts facts = {0};
    struct native_column column;
    native_get_answer(&cursor, &answer);
    bool is_error = answer.result != 0 && answer.result != 100 && answer.result != 101;
    sq_assert(!cursor.is_failed && answer.has_error == is_error && answer.txn_state <= 2);
    sq_assert(!is_error || (answer.message.data != NULL && answer.error_offset >= -1));
    if (answer.has_facts)
        native_get_facts(&cursor, &facts);
    if (!facts.has_statement)
        return;
    for (size_t count = pgwire_get_u16(&cursor); count > 0; count--)
        native_get_column(&cursor, &column);
    for (uint32_t count = pgwire_get_u32(&cursor); count > 0 && !cursor.is_failed; count--)
        (void)native_get_bytes(&cursor);
    sq_assert(!cursor.is_failed && facts.explain <= 2);
}

static inline void answers_note(struct answers *answers, const struct pgwire_frame *frame)
{
    struct sq_error err;
    struct pgwire_ready ready;
    struct pgwire_report report;
    struct pgwire_backend_key_data key;
    sq_status status = SQ_OK;
    sq_assert(!answers->is_fatal);
    switch (frame->type) {
    case PGWIRE_AUTHENTICATION:
        sq_assert(!answers->is_authenticated);
        answers->is_authenticated = true;
        break;
    case PGWIRE_READY_FOR_QUERY:
        status = pgwire_ready_decode(frame, &err, &ready);
        sq_assert(status == SQ_OK && answers->is_authenticated);
        sq_assert(ready.status == 'I' || ready.status == 'T' || ready.status == 'E');
        answers->ready_status = (char)ready.status;
        answers->ready_count++;
        break;
    case PGWIRE_ERROR_RESPONSE:
        status = pgwire_report_decode(frame, &err, &report);
        sq_assert(status == SQ_OK && report.severity_fixed != NULL && report.sqlstate != NULL);
        sq_assert(strlen(report.sqlstate) == SQ_SQLSTATE_LEN && report.message != NULL && report.message[0] != '\0');
        memcpy(answers->sqlstate, report.sqlstate, SQ_SQLSTATE_LEN + 1);
        answers->error_count++;
        answers->is_fatal = strcmp(report.severity_fixed, "FATAL") == 0;
        break;
    case PGWIRE_NATIVE:
        sq_assert(answers->is_authenticated);
        answers_check_native(frame);
        break;
    case PGWIRE_NATIVE_CALL:
        sq_assert(answers->is_authenticated && frame->body_length > 0);
        sq_assert(frame->body[0] >= NATIVE_CALL_FUNCTION && frame->body[0] <= NATIVE_CALL_TABLE_ROLLBACK);
        break;
    case PGWIRE_BACKEND_KEY_DATA:
        status = pgwire_backend_key_data_decode(frame, &err, &key);
        sq_assert(status == SQ_OK && key.secret.length == sizeof(answers->secret));
        answers->pid = key.pid;
        memcpy(answers->secret, key.secret.data, sizeof(answers->secret));
        break;
    default:
        sq_assert(answers->is_authenticated || frame->type == PGWIRE_NEGOTIATE_PROTOCOL_VERSION);
        break;
    }
}

/* Takes whole messages out of `out`; `note_cb` (may be NULL) sees each one. */
static inline void answers_take(struct answers *answers, struct sq_buf *out, void *context,
                                void (*note_cb)(void *context, const struct pgwire_frame *frame))
{
    struct sq_buf again;
    sq_buf_init(&again, FIXTURE_BUFFER_BYTES_MAX);
    while (sq_buf_length(out) > 0) {
        struct pgwire_frame frame;
        struct sq_error err;
        size_t needed = 0;
        if (!answers->is_authenticated && answers->error_count == 0 && sq_buf_bytes(out)[0] == 'N') {
            answers->refusal_count++;
            sq_assert(answers->refusal_count <= 2);
            sq_buf_consume(out, 1);
            continue;
        }
        enum pgwire_frame_result result = pgwire_backend_frame_next(sq_buf_bytes(out), sq_buf_length(out),
                                                                    FIXTURE_BUFFER_BYTES_MAX, &err, &frame, &needed);
        sq_assert(result == PGWIRE_FRAME_READY);
        sq_status status = recode_backend(&frame, &err, &again);
        sq_assert(status == SQ_OK && !again.is_failed && sq_buf_length(&again) == frame.total_bytes);
        sq_assert(memcmp(sq_buf_bytes(&again), sq_buf_bytes(out), frame.total_bytes) == 0);
        sq_buf_truncate(&again, 0);
        answers_note(answers, &frame);
        if (note_cb != NULL)
            note_cb(context, &frame);
        sq_buf_consume(out, frame.total_bytes);
    }
    sq_buf_done(&again);
}

/* --- A client ----------------------------------------------------------------------------------------------------- */

struct fixture_client {
    struct session *session;
    struct sq_waker waker;
    struct session_wire wire;
    atomic_uint wake_count;
    struct sq_buf in;
    struct sq_buf out;
    struct answers answers;
    enum session_want want;
    bool is_called;                                 /* a function of the client's is wanted */
    bool (*feed_cb)(struct fixture_client *client); /* adds to `in`; false: there is nothing. NULL: nor is this */
};

static inline void fixture_on_wake(struct sq_waker *waker)
{
    atomic_fetch_add(&SQ_CONTAINER_OF(waker, struct fixture_client, waker)->wake_count, 1);
}

/* What a session says in the middle of a statement is held to the protocol, too. Its client answers with what is in `in`
 * already, or what feed_cb adds; else, and where another session would have to go on first, it is as good as gone. */
static inline sq_status fixture_wait(struct session_wire *wire, enum session_wait what, struct engine_stop *stop,
                                     int64_t until_us, struct sq_error *err)
{
    struct fixture_client *client = SQ_CONTAINER_OF(wire, struct fixture_client, wire);
    (void)until_us;
    sq_assert(client->is_called);
    enum engine_stop_reason reason = engine_stop_check(stop);
    if (reason != ENGINE_STOP_NONE)
        return engine_stop_fail(err, reason);
    SQ_TRY(session_sync(client->session, err));
    answers_take(&client->answers, &client->out, NULL, NULL);
    if (what == SESSION_WAIT_OUTPUT ||
        (what == SESSION_WAIT_INPUT && client->feed_cb != NULL && client->feed_cb(client)))
        return SQ_OK;
    return sq_fail(err, SQ_CLOSED, "the client is gone");
}

static inline sq_status fixture_enter(struct session_wire *wire, struct sq_error *err)
{
    struct fixture_client *client = SQ_CONTAINER_OF(wire, struct fixture_client, wire);
    (void)err;
    sq_assert(!client->is_called);
    client->is_called = true;
    return SQ_OK;
}

static inline void fixture_leave(struct session_wire *wire)
{
    struct fixture_client *client = SQ_CONTAINER_OF(wire, struct fixture_client, wire);
    sq_assert(client->is_called);
    client->is_called = false;
}

static inline sq_status fixture_client_try_open(struct fixture_client *client, struct session_fixture *fixture,
                                                struct sq_error *err)
{
    memset(client, 0, sizeof(*client));
    client->waker.wake_cb = fixture_on_wake;
    client->wire = (struct session_wire){.enter_cb = fixture_enter, .leave_cb = fixture_leave, .wait_cb = fixture_wait};
    client->want = SESSION_NEED_INPUT;
    sq_buf_init(&client->in, FIXTURE_BUFFER_BYTES_MAX);
    sq_buf_init(&client->out, FIXTURE_BUFFER_BYTES_MAX);
    return session_new(&fixture->host, &client->waker, &client->wire, "test", err, &client->session);
}

static inline void fixture_client_open(struct fixture_client *client, struct session_fixture *fixture)
{
    struct sq_error err;
    sq_status status = fixture_client_try_open(client, fixture, &err);
    sq_assert(status == SQ_OK);
}

static inline void fixture_client_close(struct fixture_client *client)
{
    session_free(client->session);
    client->session = NULL;
    sq_buf_done(&client->in);
    sq_buf_done(&client->out);
}

#endif
