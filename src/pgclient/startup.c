/* pgclient/startup.c: from the start-up packet to the first ReadyForQuery (PostgreSQL manual, "Start-up"). */
#include <string.h>

#include "pgclient/auth_internal.h"
#include "pgwire/backend.h"
#include "pgwire/frontend.h"

/* Classes and codes: PostgreSQL manual, appendix "PostgreSQL Error Codes". */
static sq_status status_of(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        sq_status status;
    } known[] = {
        {"08", SQ_CLOSED}, {"28", SQ_INVALID},   {"3D000", SQ_NOT_FOUND}, {"53", SQ_LIMIT},
        {"54", SQ_LIMIT},  {"57P03", SQ_CLOSED}, {"57", SQ_CANCELED},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strncmp(sqlstate, known[i].prefix, strlen(known[i].prefix)) == 0)
            return known[i].status;
    }
    return SQ_SQL;
}

sq_status pgclient_fail_report(const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_report report;
    SQ_TRY(pgwire_report_decode(frame, err, &report));
    const char *sqlstate =
        report.sqlstate != NULL && strlen(report.sqlstate) == SQ_SQLSTATE_LEN ? report.sqlstate : "XX000";
    sq_status status = sq_fail_sql(err, status_of(sqlstate), sqlstate, "%s",
                                   report.message != NULL ? report.message : "the server refused without a reason");
    if (report.detail != NULL)
        sq_error_set_detail(err, "%s", report.detail);
    if (report.hint != NULL)
        sq_error_set_hint(err, "%s", report.hint);
    return status;
}

static sq_status put_startup(struct pgclient *client, const struct pgclient_attempt *attempt, struct sq_error *err)
{
    const struct pgclient_target *target = attempt->target;
    struct sq_buf *out = &client->out;
    size_t offset = pgwire_put_startup_begin(out, PGWIRE_VERSION_3_0);
    pgwire_put_startup_parameter(out, "user", target->values[PGCLIENT_USER]);
    if (attempt->database != NULL)
        pgwire_put_startup_parameter(out, "database", attempt->database);
    for (size_t i = 0; i < attempt->parameter_count; i++)
        pgwire_put_startup_parameter(out, attempt->parameters[i].name, attempt->parameters[i].value);
    /* Behind the caller's: of a name that is there twice, the last counts, and the user's word is stronger. */
    if (target->values[PGCLIENT_APPLICATION_NAME] != NULL)
        pgwire_put_startup_parameter(out, "application_name", target->values[PGCLIENT_APPLICATION_NAME]);
    if (target->values[PGCLIENT_OPTIONS] != NULL)
        pgwire_put_startup_parameter(out, "options", target->values[PGCLIENT_OPTIONS]);
    pgwire_put_startup_parameter(out, "client_encoding", "UTF8");
    pgwire_put_startup_end(out, offset);
    SQ_TRY(sq_buf_check(out, err));
    return pgclient_stream_flush(client, attempt->deadline_us, err);
}

static sq_status note_key(struct pgclient *client, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_backend_key_data key;
    SQ_TRY(pgwire_backend_key_data_decode(frame, err, &key));
    SQ_CLEANUP(sq_buf_done) struct sq_buf packet;
    sq_buf_init(&packet, sizeof(client->cancel_packet));
    pgwire_put_cancel_request(&packet, key.pid, key.secret.data, key.secret.length);
    SQ_TRY(sq_buf_check(&packet, err));
    client->cancel_bytes = sq_buf_length(&packet);
    memcpy(client->cancel_packet, sq_buf_bytes(&packet), client->cancel_bytes);
    return SQ_OK;
}

static sq_status note_negotiated(struct pgclient *client, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_negotiate negotiate;
    SQ_TRY(pgwire_negotiate_decode(frame, err, &negotiate));
    /* Once: a list without end would take memory without end. */
    if (client->is_negotiated)
        return sq_fail(err, SQ_PROTOCOL, "the server sent NegotiateProtocolVersion twice");
    client->is_negotiated = true;
    struct pgwire_texts rest = negotiate.options;
    for (struct pgwire_text option; pgwire_texts_next(&rest, &option);)
        SQ_TRY(pgclient_note_refused(client, option.data, err));
    return SQ_OK;
}

/* An error of the server is the answer, and no other host would give a better one; but for "the database system is starting
 * up" and its like (57P03). */
static sq_status take_refusal(struct pgclient_attempt *attempt, const struct pgclient_auth *auth,
                              const struct pgwire_frame *frame, struct sq_error *err)
{
    sq_status status = pgclient_fail_report(frame, err);
    attempt->is_refused = status != SQ_PROTOCOL;
    attempt->is_final = attempt->is_refused && strcmp(err->sqlstate, "57P03") != 0;
    pgclient_auth_explain(auth, err);
    return status;
}

/* Up to ReadyForQuery. */
static sq_status converse(struct pgclient *client, struct pgclient_attempt *attempt, struct pgclient_auth *auth,
                          struct sq_error *err)
{
    for (;;) {
        struct pgwire_frame frame;
        SQ_TRY(pgclient_next_frame(client, attempt->deadline_us, err, &frame));
        bool is_done = auth->state == PGCLIENT_AUTH_DONE;
        if (frame.type == PGWIRE_ERROR_RESPONSE)
            return take_refusal(attempt, auth, &frame, err);
        if (frame.type == PGWIRE_NEGOTIATE_PROTOCOL_VERSION) {
            SQ_TRY(note_negotiated(client, &frame, err));
        } else if (frame.type == PGWIRE_AUTHENTICATION) {
            SQ_TRY(pgclient_auth_step(client, attempt, auth, &frame, err));
        } else if (frame.type == PGWIRE_BACKEND_KEY_DATA && is_done) {
            SQ_TRY(note_key(client, &frame, err));
        } else if (frame.type == PGWIRE_READY_FOR_QUERY && is_done) {
            return SQ_OK;
        } else {
            return sq_fail(err, SQ_PROTOCOL, "the server sent %s while the connection was being made",
                           pgwire_backend_name(frame.type));
        }
    }
}

sq_status pgclient_start(struct pgclient *client, struct pgclient_attempt *attempt, struct sq_error *err)
{
    SQ_TRY(put_startup(client, attempt, err));
    struct pgclient_auth auth = {.state = PGCLIENT_AUTH_ASKED};
    sq_status status = converse(client, attempt, &auth, err);
    pgclient_auth_done(&auth);
    client->message_bytes_max = PGCLIENT_MESSAGE_BYTES_MAX;
    return status;
}
