/* session/startup.c: from the first byte to the first ReadyForQuery (PostgreSQL manual, "Start-up", "SSL Session
 * Encryption", "Canceling Requests in Progress").
 *
 *   SSLRequest, GSSENCRequest   answered 'N', once each; then the client goes on in clear text
 *   CancelRequest               looked up, never answered; the connection is closed when it has had its effect
 *   StartupMessage              parameters are kept; the database is opened by startup_finish(), on the thread that
 *                               will own the session
 *
 * Native mode (docs/protocol.md, "Asking for it"): the parameter _pq_.sqld has options that say which database is opened,
 * and whether it is made; `:memory:` is one of the session's own.
 *
 * Which database: the one that is named; if none is named clients send the user's name, and if no database of that name
 * exists, that means the default one. So do `postgres` and `template1`, where PostgreSQL's own tools go when they only
 * want to talk to the server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "engine/database.h"
#include "metrics/metrics.h"
#include "repl/node.h"
#include "session/native_internal.h"
#include "session/session_internal.h"
#include "session/walsender.h"

enum {
    CANCEL_WAIT_US = 10 * SQ_US_PER_S, /* the longest that a cancel request waits for its session to look */
    NATIVE_WORD_MAX = 80,              /* bytes of a word of _pq_.sqld */
};

static sq_status fail_fatal(sq_status status, struct sq_error *err)
{
    err->is_fatal = true;
    return status;
}

/* Tells the client what we do not speak: NegotiateProtocolVersion. */
static void negotiate(struct session *session, const struct pgwire_startup *startup)
{
    size_t known_count = (size_t)session->native_asked.is_asked + (size_t)session->delegated_asked.is_asked;
    size_t option_count = startup->option_count - known_count;
    if (startup->version == PGWIRE_VERSION_3_0 && option_count == 0)
        return;
    size_t offset = pgwire_put_negotiate_begin(session->out, PGWIRE_VERSION_3_0, option_count);
    struct pgwire_parameters parameters = startup->parameters;
    struct pgwire_text name;
    struct pgwire_text value;
    while (pgwire_parameters_next(&parameters, &name, &value)) {
        if (pgwire_parameter_is_option(&name) && strcmp(name.data, NATIVE_OPTION) != 0 &&
            strcmp(name.data, DELEGATED_OPTION) != 0)
            pgwire_put_negotiate_option(session->out, name.data, name.length);
    }
    pgwire_end(session->out, offset);
}

/* The options parameter: `-c name=value` and `--name=value` as on PostgreSQL's command line, `\ ` for a blank. */
static sq_status take_options(struct session *session, const char *options, struct sq_error *err)
{
    char word[SETTINGS_NAME_BYTES_MAX + SETTINGS_VALUE_BYTES_MAX + 2] = "";
    const char *at = options;
    bool is_after_c = false;
    for (;;) {
        at += strspn(at, " \t\r\n");
        if (*at == '\0')
            break;
        size_t used = 0;
        for (; *at != '\0' && strchr(" \t\r\n", *at) == NULL; at++) {
            if (*at == '\\' && at[1] != '\0')
                at++;
            if (used + 1 >= sizeof(word))
                return sq_fail_sql(err, SQ_INVALID, "22023", "a start-up option is too long");
            word[used++] = *at;
        }
        word[used] = '\0';
        char *setting = word;
        if (!is_after_c && strcmp(word, "-c") == 0) {
            is_after_c = true;
            continue;
        }
        if (!is_after_c) {
            if (strncmp(word, "--", 2) != 0 && strncmp(word, "-c", 2) != 0)
                return sq_fail_sql(err, SQ_INVALID, "42601", "invalid start-up option \"%.100s\"", word);
            setting = word + 2;
        }
        is_after_c = false;
        char *equals = strchr(setting, '=');
        if (equals == NULL)
            return sq_fail_sql(err, SQ_INVALID, "42601", "start-up option \"%.100s\" has no value", setting);
        *equals = '\0';
        for (char *c = setting; c < equals; c++)
            *c = *c == '-' ? '_' : *c;
        SQ_TRY(settings_set_startup(&session->settings, setting, equals + 1, err));
    }
    return is_after_c ? sq_fail_sql(err, SQ_INVALID, "42601", "start-up option -c has no argument") : SQ_OK;
}

static sq_status copy_name(const struct pgwire_text *text, const char *what, struct sq_error *err, char **ret_copy)
{
    if (text->length > SESSION_NAME_MAX)
        return sq_fail_sql(err, SQ_INVALID, "42622", "the %s name is longer than %d bytes", what, SESSION_NAME_MAX);
    if (!sq_utf8_is_valid(text->data, text->length))
        return sq_fail_sql(err, SQ_INVALID, "22021", "the %s name is not UTF-8", what);
    char *copy = strdup(text->data);
    if (copy == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory at start-up");
    free(*ret_copy);
    *ret_copy = copy;
    return SQ_OK;
}

/* Takes hexadecimal digits. False: they are none, too many, or were there before. */
static bool take_digits(char *to, size_t size, const char *text)
{
    size_t length = strlen(text);
    if (to[0] != '\0' || length == 0 || length >= size || strspn(text, "0123456789abcdefABCDEF") != length)
        return false;
    memcpy(to, text, length + 1);
    return true;
}

/* False: it is set already. */
static bool set_flag(bool *flag)
{
    bool is_new = !*flag;
    *flag = true;
    return is_new;
}

/* The key of 32 hexadecimal digits. */
static bool take_key(struct native_asked *asked, const char *digits)
{
    static const char hexadecimal[] = "0123456789abcdef";
    bool is_good = !asked->has_key && strlen(digits) == 2 * OUTCOME_KEY_BYTES;
    for (size_t i = 0; is_good && i < 2 * OUTCOME_KEY_BYTES; i++) {
        const char *digit = strchr(hexadecimal, digits[i] | 0x20);
        is_good = digit != NULL && *digit != '\0';
        if (is_good)
            asked->key[i / 2] = (uint8_t)(asked->key[i / 2] << 4 | (digit - hexadecimal));
    }
    asked->has_key = is_good;
    return is_good;
}

/* One option of native mode; false: there is no such thing, or it is said twice. */
static bool take_native_option(struct native_asked *asked, const char *option)
{
    static const char origin[] = "origin=";
    static const char share[] = "share=";
    static const char key[] = "key=";
    if (strcmp(option, "create") == 0)
        return set_flag(&asked->is_create);
    if (strcmp(option, "fresh") == 0)
        return set_flag(&asked->is_fresh);
    if (strcmp(option, "readonly") == 0)
        return set_flag(&asked->is_readonly);
    if (strncmp(option, key, strlen(key)) == 0)
        return take_key(asked, option + strlen(key));
    if (strncmp(option, share, strlen(share)) == 0)
        return take_digits(asked->share, sizeof(asked->share), option + strlen(share));
    return strncmp(option, origin, strlen(origin)) == 0 &&
           take_digits(asked->origin, sizeof(asked->origin), option + strlen(origin));
}

/* The version, and options behind it. */
static sq_status take_native(struct session *session, const struct pgwire_text *value, struct sq_error *err)
{
    struct native_asked asked = {.is_asked = true};
    const char *at = value->data;
    bool is_good = !session->native_asked.is_asked;
    for (size_t count = 0; is_good && (count == 0 || at[0] != '\0'); count++) {
        char word[NATIVE_WORD_MAX + 1];
        size_t length = strcspn(at, " ");
        is_good = length <= NATIVE_WORD_MAX;
        if (!is_good)
            break;
        memcpy(word, at, length);
        word[length] = '\0';
        is_good = count == 0 ? strcmp(word, "1") == 0 : take_native_option(&asked, word);
        at += length;
        at += strspn(at, " ");
    }
    if (!is_good || (asked.origin[0] != '\0' && !asked.is_create) || (asked.is_create && asked.is_fresh))
        return sq_fail(err, SQ_PROTOCOL, "invalid value for start-up parameter \"" NATIVE_OPTION "\"");
    session->native_asked = asked;
    return SQ_OK;
}

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    size_t at = 0;
    while (at < count && strcasecmp(text, words[at]) != 0)
        at++;
    return at < count;
}

/* Manual, "Streaming Replication Protocol": a boolean, or `database` for logical replication. */
static sq_status take_replication(struct session *session, const char *value, struct sq_error *err)
{
    if (strcasecmp(value, "database") == 0)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "logical replication is not supported");
    static const char *const yes[] = {"true", "yes", "on", "1", "t", "y"};
    static const char *const no[] = {"false", "no", "off", "0", "f", "n"};
    bool is_on = is_one_of(value, yes, sizeof(yes) / sizeof(yes[0]));
    if (!is_on && !is_one_of(value, no, sizeof(no) / sizeof(no[0])))
        return sq_fail_sql(err, SQ_INVALID, "22023", "invalid value for start-up parameter \"replication\": \"%.63s\"",
                           value);
    session->is_replication = is_on;
    return SQ_OK;
}

/* A replica opens the session for one of its own. */
static sq_status take_delegated(struct session *session, const struct pgwire_text *value, struct sq_error *err)
{
    if (session->delegated_asked.is_asked || !delegated_parse(value->data, &session->delegated_asked))
        return sq_fail(err, SQ_PROTOCOL, "invalid value for start-up parameter \"" DELEGATED_OPTION "\"");
    return SQ_OK;
}

static sq_status take_parameter(struct session *session, const struct pgwire_text *name,
                                const struct pgwire_text *value, struct sq_error *err)
{
    if (strcmp(name->data, NATIVE_OPTION) == 0)
        return take_native(session, value, err);
    if (strcmp(name->data, DELEGATED_OPTION) == 0)
        return take_delegated(session, value, err);
    if (pgwire_parameter_is_option(name))
        return SQ_OK;
    if (strcmp(name->data, "user") == 0)
        return copy_name(value, "user", err, &session->user);
    if (strcmp(name->data, "database") == 0)
        return copy_name(value, "database", err, &session->database_name);
    if (!sq_utf8_is_valid(value->data, value->length))
        return sq_fail_sql(err, SQ_INVALID, "22021", "the value of start-up parameter \"%.63s\" is not UTF-8",
                           name->data);
    if (strcmp(name->data, "options") == 0)
        return take_options(session, value->data, err);
    if (strcmp(name->data, "replication") == 0) {
        return take_replication(session, value->data, err);
    }
    return settings_set_startup(&session->settings, name->data, value->data, err);
}

/* The server's time limits are the session's defaults; SET changes them, RESET comes back to them. */
static sq_status take_server_defaults(struct session *session, struct sq_error *err)
{
    const struct config *config = session->config;
    const struct {
        const char *name;
        int64_t us;
    } limits[] = {
        {"statement_timeout", config->statement_timeout_us},
        {"lock_timeout", config->lock_timeout_us},
        {"idle_in_transaction_session_timeout", config->idle_in_transaction_session_timeout_us},
        {"idle_session_timeout", config->idle_session_timeout_us},
        {"sqld.replica_wait_timeout", config->replica_wait_timeout_us},
    };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        if (limits[i].us == 0)
            continue;
        char text[32];
        /* Less than a millisecond still is a limit. */
        snprintf(text, sizeof(text), "%lld", (long long)((limits[i].us + SQ_US_PER_MS - 1) / SQ_US_PER_MS));
        SQ_TRY(settings_set_startup(&session->settings, limits[i].name, text, err));
    }
    return SQ_OK;
}

/* The primary gets the packet as it is. */
static sq_status keep_packet(struct session *session, const struct pgwire_startup_frame *frame, struct sq_error *err)
{
    uint8_t *body = malloc(frame->body_length + 1);
    if (body == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory at start-up");
    memcpy(body, frame->body, frame->body_length);
    session->startup_packet = *frame;
    session->startup_packet.body = session->startup_bytes = body;
    return SQ_OK;
}

void startup_forget(struct session *session)
{
    free(session->startup_bytes);
    session->startup_bytes = NULL;
}

static sq_status take_startup(struct session *session, const struct pgwire_startup_frame *frame, struct sq_error *err)
{
    struct pgwire_startup startup;
    SQ_TRY(pgwire_startup_decode(frame, err, &startup));
    SQ_TRY(take_server_defaults(session, err));
    struct pgwire_parameters parameters = startup.parameters;
    struct pgwire_text name;
    struct pgwire_text value;
    while (pgwire_parameters_next(&parameters, &name, &value))
        SQ_TRY(take_parameter(session, &name, &value, err));
    if (session->user == NULL || session->user[0] == '\0')
        return sq_fail_sql(err, SQ_INVALID, "28000", "no PostgreSQL user name specified in startup packet");
    if (session->delegated_asked.is_asked && session->native_asked.is_asked)
        return sq_fail(err, SQ_PROTOCOL, "a session in native mode cannot be delegated");
    negotiate(session, &startup);
    return remote_native_is_wanted(session) ? keep_packet(session, frame, err) : SQ_OK;
}

static void take_cancel(struct session *session, const struct pgwire_startup_frame *frame)
{
    struct pgwire_cancel cancel;
    struct sq_error err;
    /* Whether it was right or wrong, nothing is answered. */
    session->state = SESSION_STATE_CLOSING;
    if (pgwire_cancel_decode(frame, &err, &cancel) != SQ_OK || cancel.secret.length != SESSION_SECRET_BYTES)
        return;
    session->cancel.waker = session->waker;
    if (session_registry_cancel(session->host->sessions, cancel.pid, cancel.secret.data, &session->cancel)) {
        session->state = SESSION_STATE_CANCELING;
        session->cancel_deadline_us = sq_clock_now_us() + CANCEL_WAIT_US;
    }
}

enum session_want startup_cancel(struct session *session)
{
    struct session_registry *registry = session->host->sessions;
    if (session_cancel_is_pending(registry, &session->cancel) && sq_clock_now_us() < session->cancel_deadline_us)
        return SESSION_WAITING;
    /* A session that does not look for its input is busy with what the request did not mean. */
    session_registry_withdraw(registry, &session->cancel);
    session->state = SESSION_STATE_CLOSING;
    return SESSION_CLOSE;
}

static sq_status refuse_encryption(struct session *session, bool *has_asked, struct sq_error *err)
{
    if (*has_asked)
        return sq_fail(err, SQ_PROTOCOL, "encryption was asked for twice");
    *has_asked = true;
    sq_buf_put_u8(session->out, 'N');
    return SQ_OK;
}

static sq_status take_frame(struct session *session, const struct pgwire_startup_frame *frame, struct sq_error *err)
{
    switch (frame->kind) {
    case PGWIRE_STARTUP_SSL_REQUEST:
        return refuse_encryption(session, &session->has_asked_ssl, err);
    case PGWIRE_STARTUP_GSSENC_REQUEST:
        return refuse_encryption(session, &session->has_asked_gss, err);
    case PGWIRE_STARTUP_CANCEL_REQUEST:
        take_cancel(session, frame);
        return SQ_OK;
    case PGWIRE_STARTUP_MESSAGE:
        SQ_TRY(take_startup(session, frame, err));
        session->state = SESSION_STATE_STARTED;
        return SQ_OK;
    }
    return SQ_OK;
}

enum session_want startup_run(struct session *session)
{
    struct sq_error err;
    if (sq_clock_now_us() >= session->startup_deadline_us) {
        /* PostgreSQL closes without a word here: who sends nothing reads nothing. */
        metrics_counter_add(METRICS_CONNECTIONS_REFUSED, 1);
        session->state = SESSION_STATE_CLOSING;
        return SESSION_CLOSE;
    }
    while (session->state == SESSION_STATE_STARTUP) {
        struct pgwire_startup_frame frame;
        size_t needed = 0;
        switch (pgwire_startup_next(sq_buf_bytes(session->in), sq_buf_length(session->in), &err, &frame, &needed)) {
        case PGWIRE_FRAME_NEED_MORE:
            session->input_hint = needed - sq_buf_length(session->in);
            return SESSION_NEED_INPUT;
        case PGWIRE_FRAME_BAD:
            err.is_fatal = true;
            session_fail(session, &err);
            return SESSION_CLOSE;
        case PGWIRE_FRAME_READY:
            break;
        }
        sq_status status = take_frame(session, &frame, &err);
        /* Bytes behind an SSLRequest that came with it were not written by who will read our answer: a known attack
         * (CVE-2021-23214). */
        bool is_followed = sq_buf_length(session->in) > frame.total_bytes;
        if (status == SQ_OK && session->state == SESSION_STATE_STARTUP && is_followed)
            status = sq_fail(&err, SQ_PROTOCOL, "received unencrypted data after an encryption request");
        sq_buf_consume(session->in, frame.total_bytes);
        if (status != SQ_OK) {
            session_fail(session, ((void)fail_fatal(status, &err), &err));
            return SESSION_CLOSE;
        }
    }
    if (session->state == SESSION_STATE_CANCELING)
        return startup_cancel(session);
    return session->state == SESSION_STATE_STARTED ? SESSION_STARTED : SESSION_CLOSE;
}

/* --- On the session's own thread ---------------------------------------------------------------------------------- */

static sq_status set_database_name(struct session *session, const char *name, struct sq_error *err)
{
    char *copy = strdup(name);
    if (copy == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory at start-up");
    free(session->database_name);
    session->database_name = copy;
    return SQ_OK;
}

/* In native mode: what has to be made before it can be opened. *ret_is_open: it is open already. */
static sq_status make_native_database(struct session *session, struct sq_error *err, bool *ret_is_open)
{
    const struct native_asked *asked = &session->native_asked;
    struct engine_registry *registry = session->host->databases;
    const char *name = session->database_name;
    char made[ENGINE_DATABASE_NAME_MAX + 1];
    *ret_is_open = name != NULL && strcmp(name, NATIVE_MEMORY_DATABASE) == 0;
    if (*ret_is_open)
        return engine_database_open_private(registry, asked->share, err, &session->context.database);
    if (asked->share[0] != '\0')
        return fail_fatal(sq_fail(err, SQ_PROTOCOL, "\"share\" is for a database in memory"), err);
    if (name == NULL || (!asked->is_create && !asked->is_fresh))
        return SQ_OK;
    SQ_TRY(engine_database_make(registry, name, asked->is_fresh, asked->origin, err, made));
    return set_database_name(session, made, err);
}

static sq_status choose_database(struct session *session, struct sq_error *err)
{
    struct engine_registry *registry = session->host->databases;
    if (session->native_asked.is_asked) {
        bool is_open = false;
        SQ_TRY(make_native_database(session, err, &is_open));
        if (is_open)
            return SQ_OK;
    }
    const char *name = session->database_name != NULL ? session->database_name : session->user;
    bool may_be_default =
        strcmp(name, session->user) == 0 || strcmp(name, "postgres") == 0 || strcmp(name, "template1") == 0;
    if (may_be_default && !engine_database_exists(registry, name))
        name = engine_registry_default_name(registry);
    struct engine_database *database = NULL;
    SQ_TRY(engine_database_open(registry, name, err, &database));
    session->context.database = database;
    return set_database_name(session, name, err);
}

/* What a service has to know of native mode before it is made. */
static void prepare_native(struct session *session)
{
    struct service_context *context = &session->context;
    context->is_native = true;
    context->is_opened_readonly = session->native_asked.is_readonly;
    context->has_foreign_keys = false; /* as in SQLite: the client says so itself */
    context->functions = NULL;
    context->function_count = 0;
}

/* A replica's session has no database, and no service: nothing is admitted or counted. */
static sq_status open_replication(struct session *session, struct sq_error *err)
{
    if (session->native_asked.is_asked)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "native mode has no replication");
    SQ_TRY(set_database_name(session, "replication", err));
    SQ_TRY(walsender_new(session, err, &session->walsender));
    SQ_TRY(settings_assign(&session->settings, SETTING_SESSION_AUTHORIZATION, session->user, err));
    session_registry_label(session->host->sessions, &session->entry, session->user, session->database_name,
                           settings_text(&session->settings, SETTING_APPLICATION_NAME));
    return SQ_OK;
}

static sq_status open_session(struct session *session, struct sq_error *err)
{
    session->context.role = session->user;
    if (session->host->node != NULL && repl_node_role(session->host->node) != REPL_PRIMARY)
        SQ_TRY(settings_assign(&session->settings, SETTING_IN_HOT_STANDBY, "on", err));
    if (session->is_replication)
        return open_replication(session, err);
    SQ_TRY(choose_database(session, err));
    if (session->native_asked.is_asked)
        prepare_native(session);
    SQ_TRY(session->host->factory->make_cb(session->host->factory, &session->context, err, &session->service));
    if (session->native_asked.is_asked) {
        SQ_TRY(native_start(session, err));
        SQ_TRY(native_outcome_begin(session, err));
    }
    if (session->delegated_asked.is_asked)
        SQ_TRY(delegated_start(session, err));
    notify_listener_set_database(&session->listener, session->context.database);
    SQ_TRY(settings_assign(&session->settings, SETTING_SESSION_AUTHORIZATION, session->user, err));
    session_registry_label(session->host->sessions, &session->entry, session->user, session->database_name,
                           settings_text(&session->settings, SETTING_APPLICATION_NAME));
    return SQ_OK;
}

void startup_finish(struct session *session)
{
    struct sq_error err;
    bool is_relayed = session->startup_bytes != NULL;
    sq_status status = is_relayed ? remote_native_start(session, &err) : open_session(session, &err);
    startup_forget(session);
    if (status != SQ_OK) {
        (void)fail_fatal(status, &err);
        session_fail(session, &err);
        return;
    }
    if (is_relayed)
        return;
    pgwire_put_authentication_ok(session->out);
    struct settings_row row;
    while (settings_next_changed(&session->settings, &row))
        pgwire_put_parameter_status(session->out, row.name, row.value);
    if (session->native != NULL) {
        pgwire_put_parameter_status(session->out, NATIVE_STATUS_VERSION, "1");
        pgwire_put_parameter_status(session->out, NATIVE_STATUS_DATABASE, session->database_name);
    }
    pgwire_put_backend_key_data(session->out, session->entry.pid, session->entry.secret, SESSION_SECRET_BYTES);
    if (session->config->log_connections) {
        char user[SQ_LOG_QUOTED_MAX];
        sq_log(SQ_LOG_INFO, "session", "connection authorized", "conn=%u db=%s role=%s peer=%s", session->entry.pid,
               session->database_name, sq_log_quote(user, session->user), session->entry.peer);
    }
    session->state = SESSION_STATE_READY;
    session_ready(session);
}
