/* session/functions.c: SQL functions that speak of the session and the server, as PostgreSQL names them (manual, "System
 * Information Functions", "System Administration Functions", "Date/Time Functions").
 *
 * Results borrow from the session: a static text, a setting, or `session->scratch`, which the next call overwrites;
 * the engine copies a result at once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/random.h"
#include "repl/node.h"
#include "session/session_internal.h"
#include "session/tables.h"

static void give_text(struct sq_value *ret_value, const char *text)
{
    ret_value->kind = SQ_VALUE_TEXT;
    ret_value->bytes.data = text;
    ret_value->bytes.length = strlen(text);
}

static void give_integer(struct sq_value *ret_value, int64_t integer)
{
    ret_value->kind = SQ_VALUE_INTEGER;
    ret_value->integer = integer;
}

/* What has been put into scratch since `begin`. */
static sq_status give_scratch(struct session *session, struct sq_value *ret_value, struct sq_error *err)
{
    SQ_TRY(sq_buf_check(&session->scratch, err));
    ret_value->kind = SQ_VALUE_TEXT;
    ret_value->bytes.data = (const char *)sq_buf_bytes(&session->scratch);
    ret_value->bytes.length = sq_buf_length(&session->scratch);
    return SQ_OK;
}

/* An argument as a NUL-terminated text in scratch; NULL stays NULL. */
static sq_status text_argument(struct session *session, const struct sq_value *value, const char *function,
                               struct sq_error *err, const char **ret_text)
{
    sq_buf_truncate(&session->scratch, 0);
    if (value->kind != SQ_VALUE_TEXT)
        return sq_fail_sql(err, SQ_INVALID, "22023", "%s() wants a text", function);
    if (value->bytes.length > 0 && memchr(value->bytes.data, '\0', value->bytes.length) != NULL)
        return sq_fail_sql(err, SQ_INVALID, "22021", "%s(): NUL in text", function);
    sq_buf_put(&session->scratch, value->bytes.data, value->bytes.length);
    sq_buf_put_u8(&session->scratch, '\0');
    SQ_TRY(sq_buf_check(&session->scratch, err));
    *ret_text = (const char *)sq_buf_bytes(&session->scratch);
    return SQ_OK;
}

#define FUNCTION(name)                                                                                                 \
    static sq_status name(void *context, const struct sq_value *args, size_t arg_count, struct sq_value *ret_value,    \
                          struct sq_error *err)
#define UNUSED_ARGUMENTS() ((void)args, (void)arg_count, (void)err, (void)context)

FUNCTION(fn_version)
{
    UNUSED_ARGUMENTS();
    give_text(ret_value, "PostgreSQL 15.0 (sqld " SQLD_VERSION ", SQLite dialect)");
    return SQ_OK;
}

FUNCTION(fn_sqld_version)
{
    UNUSED_ARGUMENTS();
    give_text(ret_value, SQLD_VERSION);
    return SQ_OK;
}

FUNCTION(fn_current_database)
{
    UNUSED_ARGUMENTS();
    give_text(ret_value, ((struct session *)context)->database_name);
    return SQ_OK;
}

FUNCTION(fn_current_schema)
{
    UNUSED_ARGUMENTS();
    give_text(ret_value, "main");
    return SQ_OK;
}

FUNCTION(fn_current_user)
{
    UNUSED_ARGUMENTS();
    give_text(ret_value, ((struct session *)context)->user);
    return SQ_OK;
}

FUNCTION(fn_backend_pid)
{
    UNUSED_ARGUMENTS();
    give_integer(ret_value, session_pid(context));
    return SQ_OK;
}

FUNCTION(fn_client_encoding)
{
    UNUSED_ARGUMENTS();
    give_text(ret_value, settings_text(&((struct session *)context)->settings, SETTING_CLIENT_ENCODING));
    return SQ_OK;
}

FUNCTION(fn_current_setting)
{
    struct session *session = context;
    const char *name = NULL;
    SQ_TRY(text_argument(session, &args[0], "current_setting", err, &name));
    bool may_be_missing = arg_count > 1 && args[1].kind == SQ_VALUE_INTEGER && args[1].integer != 0;
    const char *value = NULL;
    sq_status status = settings_show(&session->settings, name, NULL, &value, err);
    if (status != SQ_OK && may_be_missing)
        return SQ_OK;
    SQ_TRY(status);
    give_text(ret_value, value);
    return SQ_OK;
}

FUNCTION(fn_set_config)
{
    (void)arg_count;
    struct session *session = context;
    char name[SETTINGS_NAME_BYTES_MAX + 1];
    const char *text = NULL;
    SQ_TRY(text_argument(session, &args[0], "set_config", err, &text));
    if (strlen(text) >= sizeof(name))
        return sq_fail_sql(err, SQ_INVALID, "42704", "unrecognized configuration parameter \"%.100s\"", text);
    memcpy(name, text, strlen(text) + 1);
    const char *value = NULL;
    if (args[1].kind != SQ_VALUE_NULL)
        SQ_TRY(text_argument(session, &args[1], "set_config", err, &value));
    bool is_local = args[2].kind == SQ_VALUE_INTEGER && args[2].integer != 0;
    SQ_TRY(settings_set(&session->settings, name, value, is_local ? SETTINGS_LOCAL : SETTINGS_SESSION, err));
    SQ_TRY(settings_show(&session->settings, name, NULL, &value, err));
    give_text(ret_value, value);
    return SQ_OK;
}

static sq_status interrupt_backend(struct session *session, const struct sq_value *value,
                                   enum session_interrupt interrupt, struct sq_value *ret_value, struct sq_error *err)
{
    int64_t pid = value->integer;
    if (value->kind == SQ_VALUE_NULL)
        return SQ_OK;
    if (value->kind != SQ_VALUE_INTEGER) {
        /* A client that knows no type for the parameter sends text. */
        const char *text = NULL;
        char *end = NULL;
        SQ_TRY(text_argument(session, value, "a function of a process id", err, &text));
        errno = 0;
        pid = strtoll(text, &end, 10);
        if (errno != 0 || end == text || *end != '\0')
            return sq_fail_sql(err, SQ_SQL, "22P02", "invalid input syntax for type integer: \"%.100s\"", text);
    }
    size_t reached = 0;
    if (pid > 0 && pid <= INT32_MAX)
        reached = session_registry_interrupt(session->host->sessions, (uint32_t)pid, NULL, interrupt);
    /* Oneself: at once, and without an answer. */
    enum engine_stop_reason reason = engine_stop_check(&session->context.stop);
    if (reason != ENGINE_STOP_NONE)
        return engine_stop_fail(err, reason);
    give_integer(ret_value, reached > 0);
    return SQ_OK;
}

FUNCTION(fn_cancel_backend)
{
    (void)arg_count;
    return interrupt_backend(context, &args[0], SESSION_INTERRUPT_CANCEL, ret_value, err);
}

FUNCTION(fn_terminate_backend)
{
    (void)arg_count;
    return interrupt_backend(context, &args[0], SESSION_INTERRUPT_TERMINATE, ret_value, err);
}

static sq_status give_time(struct session *session, int64_t wall_us, const char *zone, struct sq_value *ret_value,
                           struct sq_error *err)
{
    time_t seconds = (time_t)(wall_us / SQ_US_PER_S);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL)
        memset(&utc, 0, sizeof(utc));
    char text[40];
    size_t used = strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &utc);
    sq_buf_truncate(&session->scratch, 0);
    sq_buf_put(&session->scratch, text, used);
    sq_buf_printf(&session->scratch, ".%06d%s", (int)(wall_us % SQ_US_PER_S), zone);
    return give_scratch(session, ret_value, err);
}

FUNCTION(fn_now)
{
    (void)args;
    (void)arg_count;
    return give_time(context, sq_clock_wall_us(), "+00:00", ret_value, err);
}

FUNCTION(fn_localtimestamp)
{
    (void)args;
    (void)arg_count;
    return give_time(context, sq_clock_wall_us(), "", ret_value, err);
}

FUNCTION(fn_start_time)
{
    (void)args;
    (void)arg_count;
    return give_time(context, ((struct session *)context)->host->started_us, "+00:00", ret_value, err);
}

/* RFC 9562, section 5.4: version 4, random. */
FUNCTION(fn_random_uuid)
{
    (void)args;
    (void)arg_count;
    struct session *session = context;
    uint8_t bytes[16];
    sq_random_fill(bytes, sizeof(bytes));
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    sq_buf_truncate(&session->scratch, 0);
    for (size_t i = 0; i < sizeof(bytes); i++)
        sq_buf_printf(&session->scratch, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
    return give_scratch(session, ret_value, err);
}

FUNCTION(fn_notify)
{
    (void)arg_count;
    struct session *session = context;
    char channel[COMMAND_CHANNEL_BYTES_MAX + 1];
    const char *text = NULL;
    SQ_TRY(text_argument(session, &args[0], "pg_notify", err, &text));
    if (text[0] == '\0' || strlen(text) >= sizeof(channel))
        return sq_fail_sql(err, SQ_INVALID, "22023", "channel name must have 1 to %d bytes", COMMAND_CHANNEL_BYTES_MAX);
    memcpy(channel, text, strlen(text) + 1);
    const char *payload = "";
    if (args[1].kind != SQ_VALUE_NULL)
        SQ_TRY(text_argument(session, &args[1], "pg_notify", err, &payload));
    if (strlen(payload) > COMMAND_PAYLOAD_BYTES_MAX)
        return sq_fail_sql(err, SQ_INVALID, "22023", "payload string too long");
    SQ_TRY(pending_notify(session, channel, payload, err));
    give_text(ret_value, "");
    return SQ_OK;
}

/* Waits, and notices the brake. It is a running statement like any other: it keeps its thread. */
FUNCTION(fn_sleep)
{
    (void)arg_count;
    enum { SLEEP_SLICE_US = 5000 };
    struct session *session = context;
    double seconds = args[0].kind == SQ_VALUE_INTEGER ? (double)args[0].integer
                     : args[0].kind == SQ_VALUE_REAL  ? args[0].real
                                                      : 0;
    if (!(seconds > 0))
        seconds = 0;
    if (seconds > 86400.0 * 365)
        seconds = 86400.0 * 365;
    int64_t end_us = sq_clock_now_us() + (int64_t)(seconds * SQ_US_PER_S);
    for (int64_t now_us = sq_clock_now_us(); now_us < end_us; now_us = sq_clock_now_us()) {
        enum engine_stop_reason reason = engine_stop_check(&session->context.stop);
        if (reason != ENGINE_STOP_NONE)
            return engine_stop_fail(err, reason);
        int64_t left_us = end_us - now_us;
        struct timespec pause = {.tv_nsec = (left_us < SLEEP_SLICE_US ? left_us : SLEEP_SLICE_US) * 1000};
        nanosleep(&pause, NULL); /* banned-ok: pg_sleep() is to keep its thread */
    }
    give_text(ret_value, "");
    return SQ_OK;
}

FUNCTION(fn_null)
{
    UNUSED_ARGUMENTS();
    ret_value->kind = SQ_VALUE_NULL;
    return SQ_OK;
}

/* --- Replication: docs/replication.md ------------------------------------------------------------------------------- */

static sq_status need_node(const struct session *session, struct sq_error *err, struct repl_node **ret_node)
{
    *ret_node = session->host->node;
    return *ret_node != NULL ? SQ_OK : sq_fail_sql(err, SQ_INVALID, "0A000", "this server knows no replication");
}

FUNCTION(fn_in_recovery)
{
    UNUSED_ARGUMENTS();
    struct repl_node *node = ((struct session *)context)->host->node;
    give_integer(ret_value, node != NULL && repl_node_role(node) != REPL_PRIMARY);
    return SQ_OK;
}

FUNCTION(fn_promote)
{
    (void)args;
    (void)arg_count;
    struct repl_node *node = NULL;
    SQ_TRY(need_node(context, err, &node));
    SQ_TRY(repl_node_promote(node, err));
    give_integer(ret_value, 1);
    return SQ_OK;
}

/* Without an argument: what the option replica-of says. */
FUNCTION(fn_follow)
{
    struct repl_node *node = NULL;
    const char *url = NULL;
    SQ_TRY(need_node(context, err, &node));
    if (arg_count > 0)
        SQ_TRY(text_argument(context, &args[0], "sqld_follow", err, &url));
    SQ_TRY(repl_node_follow(node, url, err));
    give_integer(ret_value, 1);
    return SQ_OK;
}

FUNCTION(fn_table)
{
    (void)arg_count;
    struct session *session = context;
    const char *name = NULL;
    SQ_TRY(text_argument(session, &args[0], "sqld_table", err, &name));
    const struct session_table *table = session_table_find(name);
    if (table == NULL)
        return sq_fail_sql(err, SQ_NOT_FOUND, "42704", "there is no table \"%.100s\" for SHOW", name);
    sq_buf_truncate(&session->scratch, 0);
    SQ_TRY(session_table_put(session, table, &session->scratch, err));
    return give_scratch(session, ret_value, err);
}

/* Of SHOW sqld.position, which has waited for it. */
FUNCTION(fn_position)
{
    UNUSED_ARGUMENTS();
    const struct session *session = context;
    if (session->consistency.text[0] == '\0')
        ret_value->kind = SQ_VALUE_NULL;
    else
        give_text(ret_value, session->consistency.text);
    return SQ_OK;
}

FUNCTION(fn_outcome)
{
    (void)arg_count;
    struct session *session = context;
    struct delegated_asked asked;
    char option[64];
    const char *key = NULL;
    SQ_TRY(text_argument(session, &args[0], "sqld_outcome", err, &key));
    (void)snprintf(option, sizeof(option), "1 key=%s", key);
    if (!delegated_parse(option, &asked) || args[1].kind != SQ_VALUE_INTEGER || args[1].integer < 1)
        return sq_fail_sql(err, SQ_INVALID, "22023", "sqld_outcome() wants a session's key and a command's number");
    SQ_TRY(delegated_put_outcome(session, asked.key, (uint64_t)args[1].integer, err));
    return give_scratch(session, ret_value, err);
}

const struct engine_function session_functions[] = {
    {"version", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_version},
    {"sqld_version", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_sqld_version},
    {"current_database", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_current_database},
    {"current_catalog", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_current_database},
    {"current_schema", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_current_schema},
    {"current_user", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_current_user},
    {"current_role", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_current_user},
    {"session_user", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_current_user},
    {"pg_backend_pid", 0, SQ_TYPE_INTEGER, SQ_TYPE_ANY, fn_backend_pid},
    {"pg_is_in_recovery", 0, SQ_TYPE_BOOLEAN, SQ_TYPE_ANY, fn_in_recovery},
    {"pg_promote", 0, SQ_TYPE_BOOLEAN, SQ_TYPE_ANY, fn_promote},
    {"sqld_promote", 0, SQ_TYPE_BOOLEAN, SQ_TYPE_ANY, fn_promote},
    {"sqld_follow", 0, SQ_TYPE_BOOLEAN, SQ_TYPE_ANY, fn_follow},
    {"sqld_follow", 1, SQ_TYPE_BOOLEAN, SQ_TYPE_TEXT, fn_follow},
    {"pg_client_encoding", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_client_encoding},
    {"current_setting", 1, SQ_TYPE_TEXT, SQ_TYPE_TEXT, fn_current_setting},
    {"current_setting", 2, SQ_TYPE_TEXT, SQ_TYPE_TEXT, fn_current_setting},
    {"set_config", 3, SQ_TYPE_TEXT, SQ_TYPE_TEXT, fn_set_config},
    {"pg_cancel_backend", 1, SQ_TYPE_BOOLEAN, SQ_TYPE_INTEGER, fn_cancel_backend},
    {"pg_terminate_backend", 1, SQ_TYPE_BOOLEAN, SQ_TYPE_INTEGER, fn_terminate_backend},
    {"now", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_now},
    {"clock_timestamp", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_now},
    {"localtimestamp", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_localtimestamp},
    {"pg_postmaster_start_time", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_start_time},
    {"gen_random_uuid", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_random_uuid},
    {"pg_sleep", 1, SQ_TYPE_TEXT, SQ_TYPE_REAL, fn_sleep},
    {"pg_notify", 2, SQ_TYPE_TEXT, SQ_TYPE_TEXT, fn_notify},
    /* There are no advisory locks, so there is none to give back: connection pools ask for it when they clean up. */
    {"pg_advisory_unlock_all", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_null},
    {"sqld_table", 1, SQ_TYPE_TEXT, SQ_TYPE_TEXT, fn_table},
    {"sqld_position", 0, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_position},
    {"sqld_outcome", 2, SQ_TYPE_TEXT, SQ_TYPE_ANY, fn_outcome},
};
const size_t session_function_count = sizeof(session_functions) / sizeof(session_functions[0]);
