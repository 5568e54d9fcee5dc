/* session/remote.c: a session's connection to the primary, and what is sent in one command. See remote.h and
 * remote_internal.h. */
#include "session/remote_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "pgclient/pgclient.h"

enum {
    REMOTE_URL_BYTES_MAX = 8192,
    REMOTE_SQL_BYTES_MAX = 1 << 20,
    REMOTE_CANCEL_US = SQ_US_PER_S / 2, /* for the primary to stop what nobody waits for any more */
    REMOTE_PATIENCE_US = SQ_US_PER_S,   /* the primary's own time limit comes first; this one is for when it is gone */
};

SQ_DEFINE_FREEP(struct pgclient_target, pgclient_target_free)

sq_status remote_get(struct session *session, struct sq_error *err, struct remote **ret_remote)
{
    if (session->remote == NULL) {
        struct remote *remote = calloc(1, sizeof(*remote));
        if (remote == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for a connection to the primary");
        remote->session = session;
        remote->status = PGWIRE_TRANSACTION_IDLE;
        session->remote = remote;
    }
    *ret_remote = session->remote;
    return SQ_OK;
}

static bool would_lose_nothing(const struct remote *remote)
{
    return remote->entry_count == 0 && remote->status == PGWIRE_TRANSACTION_IDLE && !remote->is_piping &&
           remote->state == 0 && !remote->is_listening && remote->told_number >= remote->wanted_number;
}

void remote_free(struct remote *remote)
{
    if (remote == NULL)
        return;
    remote_abandon(remote);
    remote_skip_all(remote);
    free(remote);
}

void remote_abandon(struct remote *remote)
{
    if (remote->client == NULL)
        return;
    bool is_working = !remote_is_idle(remote) || remote->session->txn != SESSION_TXN_NONE;
    /* A statement that waits for a lock there does not look whether anybody is left. */
    if (!remote_is_idle(remote) || remote->command_count > remote->ready_count) {
        bool is_sent = pgclient_cancel(remote->client, REMOTE_CANCEL_US);
        (void)is_sent; /* a primary that is gone has nothing to stop */
    }
    remote_disconnect(remote, is_working || !would_lose_nothing(remote));
}

void remote_rest(struct remote *remote)
{
    if (remote != NULL && remote->client != NULL && would_lose_nothing(remote))
        remote_disconnect(remote, false);
}

bool remote_is_concerned(const struct session *session)
{
    if (session->host->node == NULL || session->native != NULL)
        return false;
    return repl_node_role(session->host->node) == REPL_REPLICA ||
           (session->remote != NULL && session->remote->client != NULL);
}

bool remote_is_engaged(const struct session *session)
{
    const struct remote *remote = session->remote;
    return remote != NULL && remote->client != NULL && remote->move == MOVE_NONE &&
           (remote->status != PGWIRE_TRANSACTION_IDLE || remote->is_piping || remote->state != 0);
}

bool remote_is_busy(const struct session *session)
{
    return session->remote != NULL && !remote_is_idle(session->remote);
}

bool remote_is_copying(const struct session *session)
{
    return session->remote != NULL && session->remote->is_copying;
}

bool remote_takes_input(const struct session *session)
{
    const struct remote *remote = session->remote;
    if (sq_buf_length(pgclient_out(remote->client)) >= session->output_high_water)
        return false;
    if (remote->is_copying)
        return true;
    return remote->is_piping && !remote->holds_input &&
           remote->entry_count + REMOTE_ENTRIES_OF_MESSAGE < REMOTE_ENTRIES_MAX;
}

int session_watched_descriptor(const struct session *session, uint64_t *ret_generation)
{
    const struct remote *remote = session->remote;
    *ret_generation = remote != NULL ? remote->generation : 0;
    return remote != NULL && remote->client != NULL ? pgclient_descriptor(remote->client) : -1;
}

/* --- Connecting ---------------------------------------------------------------------------------------------------- */

sq_status remote_block(struct session *session, struct sq_error *err)
{
    if (session->wire == NULL)
        return SQ_OK;
    sq_status status = session->wire->enter_cb(session->wire, err);
    if (status == SQ_BUSY)
        return sq_fail_sql(err, SQ_LIMIT, "53300", "too many sessions are connecting to the primary");
    return status;
}

void remote_unblock(struct session *session)
{
    if (session->wire != NULL)
        session->wire->leave_cb(session->wire);
}

/* The primary's URL; what it does not say itself is shorter than usual: a client waits. */
static sq_status make_target(struct session *session, struct sq_error *err, struct pgclient_target **ret_target)
{
    static const char *const defaults[] = {"connect_timeout=5", "keepalives_idle=10", "keepalives_interval=3",
                                           "keepalives_count=3", "tcp_user_timeout=15000"};
    char *url = repl_node_upstream(session->host->node);
    if (url == NULL)
        return remote_fail_unreachable(err, "this server follows none");
    SQ_CLEANUP(sq_buf_done) struct sq_buf text;
    sq_buf_init(&text, REMOTE_URL_BYTES_MAX);
    sq_buf_put_text(&text, url);
    bool has_query = strchr(url, '?') != NULL;
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%.*s", (int)(strchr(defaults[i], '=') + 1 - defaults[i]), defaults[i]);
        if (strstr(url, name) != NULL)
            continue;
        sq_buf_printf(&text, "%c%s", has_query ? '&' : '?', defaults[i]);
        has_query = true;
    }
    free(url);
    sq_buf_put_u8(&text, '\0');
    SQ_TRY(sq_buf_check(&text, err));
    return pgclient_target_parse((const char *)sq_buf_bytes(&text), err, ret_target);
}

/* Who connects, the settings of the start, and the key. The caller frees the list. */
static sq_status make_parameters(struct session *session, const char *option, struct sq_error *err,
                                 struct pgclient_parameter **ret_parameters, size_t *ret_count)
{
    struct settings_row row;
    size_t count = 2;
    for (size_t at = 0; settings_next_startup(&session->settings, &at, &row);)
        count++;
    struct pgclient_parameter *parameters = calloc(count, sizeof(*parameters));
    if (parameters == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a connection to the primary");
    parameters[0] = (struct pgclient_parameter){"user", session->user};
    parameters[1] = (struct pgclient_parameter){DELEGATED_OPTION, option};
    count = 2;
    for (size_t at = 0; settings_next_startup(&session->settings, &at, &row);)
        parameters[count++] = (struct pgclient_parameter){row.name, row.value};
    *ret_parameters = parameters;
    *ret_count = count;
    return SQ_OK;
}

/* A server that refuses says why; one that is not there is 08006. */
static bool is_refusal(const struct sq_error *err)
{
    return strncmp(err->sqlstate, "08", 2) != 0 && strncmp(err->sqlstate, "57P03", 5) != 0;
}

sq_status remote_connect(struct session *session, const char *database, const struct pgclient_parameter *parameters,
                         size_t parameter_count, struct sq_error *err, struct pgclient **ret_client)
{
    SQ_CLEANUP(pgclient_target_freep) struct pgclient_target *target = NULL;
    SQ_TRY(make_target(session, err, &target));
    sq_status status = pgclient_connect(target, database, parameters, parameter_count, err, ret_client);
    if (status == SQ_OK || status == SQ_NOMEM || (status != SQ_BUSY && is_refusal(err)))
        return status;
    char cause[SQ_ERROR_TEXT_MAX];
    (void)snprintf(cause, sizeof(cause), "%s", err->text);
    return remote_fail_unreachable(err, cause);
}

sq_status remote_open(struct session *session, struct sq_error *err, struct pgclient **ret_client,
                      uint8_t ret_key[OUTCOME_KEY_BYTES])
{
    char option[8 + 2 * OUTCOME_KEY_BYTES + 1] = "1 key=";
    struct pgclient_parameter *parameters = NULL;
    size_t count = 0;
    sq_random_fill(ret_key, OUTCOME_KEY_BYTES);
    for (size_t i = 0; i < OUTCOME_KEY_BYTES; i++)
        (void)snprintf(option + strlen("1 key=") + 2 * i, 3, "%02x", ret_key[i]);
    SQ_TRY(make_parameters(session, option, err, &parameters, &count));
    sq_status status = remote_connect(session, session->database_name, parameters, count, err, ret_client);
    free(parameters);
    explicit_bzero(option, sizeof(option));
    if (status != SQ_OK || !pgclient_has_refused(*ret_client, DELEGATED_OPTION))
        return status;
    pgclient_abandon(*ret_client);
    return sq_fail_sql(err, SQ_INVALID, "0A000",
                       "the primary is not one that sessions of replicas can be delegated to");
}

void remote_install(struct remote *remote, struct pgclient *client, const uint8_t key[OUTCOME_KEY_BYTES],
                    uint64_t command_count)
{
    struct session *session = remote->session;
    sq_assert(remote->client == NULL && client != NULL);
    remote->client = client;
    remote->generation++;
    memcpy(remote->key, key, OUTCOME_KEY_BYTES);
    remote->command_count = remote->ready_count = command_count;
    remote->answer_bytes = 0;
    remote->status = PGWIRE_TRANSACTION_IDLE;
    remote->wanted_number = command_count;
    remote_take_position(remote, pgclient_status(client, DELEGATED_STATUS_POSITION));
    settings_track_unsent(&session->settings, true);
    /* Of a name that the URL has too, its value counts at first. */
    settings_expect(&session->settings, "application_name", pgclient_status(client, "application_name"));
}

void remote_disconnect(struct remote *remote, bool is_broken)
{
    if (remote->client == NULL)
        return;
    struct pgclient *client = SQ_STEAL(remote->client);
    if (is_broken) {
        pgclient_break(client);
    } else {
        struct sq_error ignored;
        pgwire_put_terminate(pgclient_out(client));
        sq_status status = pgclient_send_some(client, &ignored); /* who is gone needs no goodbye */
        (void)status;
        pgclient_abandon(client);
    }
    remote->generation++;
    prepared_unref(remote->unnamed);
    remote->unnamed = NULL;
    remote->lacks_position = remote->lacks_position || remote->told_number < remote->wanted_number;
    remote->wanted_number = remote->told_number = 0;
    remote->state = 0;
    remote->is_listening = false;
    remote->move = MOVE_NONE;
    remote->status = PGWIRE_TRANSACTION_IDLE;
    settings_track_unsent(&remote->session->settings, false);
}

/* --- Settings ------------------------------------------------------------------------------------------------------ */

static void put_literal(struct sq_buf *sql, const char *text)
{
    sq_buf_put_u8(sql, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            sq_buf_put_u8(sql, '\'');
        sq_buf_put_u8(sql, (uint8_t)*text);
    }
    sq_buf_put_u8(sql, '\'');
}

sq_status remote_tell_settings(struct remote *remote, struct sq_error *err)
{
    struct settings *settings = &remote->session->settings;
    struct settings_row row;
    SQ_CLEANUP(sq_buf_done) struct sq_buf sql;
    sq_buf_init(&sql, REMOTE_SQL_BYTES_MAX);
    for (size_t count = 0; settings_next_unsent(settings, &row); count++) {
        sq_buf_put_text(&sql, count == 0 ? "SELECT set_config(" : ", set_config(");
        put_literal(&sql, row.name);
        sq_buf_put_text(&sql, ", ");
        put_literal(&sql, row.value);
        sq_buf_put_text(&sql, row.is_local && remote->status == PGWIRE_TRANSACTION_OPEN ? ", true)" : ", false)");
    }
    if (sq_buf_length(&sql) == 0)
        return SQ_OK;
    sq_status status = sq_buf_check(&sql, err);
    if (status == SQ_OK)
        status = remote_put_query(remote, (const char *)sq_buf_bytes(&sql), sq_buf_length(&sql), REMOTE_QUIET, err);
    if (status != SQ_OK)
        settings_track_unsent(settings, true);
    return status == SQ_OK ? SQ_BUSY : status;
}

/* The primary does not take them: what comes would run with others than the client thinks. */
static sq_status take_quiet_failure(struct remote *remote, struct sq_error *err)
{
    *err = remote->quiet;
    sq_error_clear(&remote->quiet);
    settings_track_unsent(&remote->session->settings, true);
    return err->status;
}

sq_status remote_reach(struct session *session, struct sq_error *err)
{
    struct remote *remote = NULL;
    SQ_TRY(remote_get(session, err, &remote));
    if (remote->client != NULL && remote_is_idle(remote))
        remote_pump(session); /* it may have ended */
    if (session->state == SESSION_STATE_CLOSING)
        return sq_fail(err, SQ_CLOSED, "the session has ended");
    if (remote->client == NULL) {
        if (!repl_node_is_connected(session->host->node))
            return remote_fail_unreachable(err, "this replica has no connection to it");
        struct pgclient *client = NULL;
        uint8_t key[OUTCOME_KEY_BYTES];
        SQ_TRY(remote_block(session, err));
        sq_status status = remote_open(session, err, &client, key);
        remote_unblock(session);
        SQ_TRY(status);
        remote_install(remote, client, key, 0);
        sq_error_clear(&remote->quiet);
    }
    return SQ_OK;
}

sq_status remote_engage(struct session *session, struct sq_error *err)
{
    SQ_TRY(remote_reach(session, err));
    struct remote *remote = session->remote;
    if (remote->status != PGWIRE_TRANSACTION_IDLE || remote->is_piping)
        return SQ_OK;
    if (!remote_is_idle(remote))
        return SQ_BUSY;
    if (remote->quiet.status != SQ_OK)
        return take_quiet_failure(remote, err);
    return remote_tell_settings(remote, err);
}

/* Takes back what was put from `mark` on if there is no room for it. */
static sq_status check_put(struct remote *remote, size_t mark, struct sq_error *err)
{
    struct sq_buf *out = pgclient_out(remote->client);
    sq_status status = sq_buf_check(out, err);
    if (status != SQ_OK)
        sq_buf_truncate(out, mark);
    return status;
}

void remote_forget(struct session *session, const char *name, const struct prepared *prepared)
{
    struct remote *remote = session->remote;
    if (remote == NULL || remote->client == NULL)
        return;
    if (name == NULL) {
        remote_rest(remote);
        return;
    }
    if (prepared->remote_generation == remote->generation && name[0] != '\0')
        remote_close_name(remote, name);
}

void remote_close_name(struct remote *remote, const char *name)
{
    /* Where there is no room for it, the name is closed when it is next given. */
    if (remote->entry_count + REMOTE_ENTRIES_OF_MESSAGE >= REMOTE_ENTRIES_MAX)
        return;
    size_t mark = sq_buf_length(pgclient_out(remote->client));
    struct sq_error ignored;
    pgwire_put_close(pgclient_out(remote->client), PGWIRE_TARGET_STATEMENT, name);
    if (check_put(remote, mark, &ignored) == SQ_OK)
        (void)remote_expect(remote, REMOTE_CLOSE, REMOTE_LAZY);
}

void remote_note_failure(struct session *session)
{
    if (session->remote != NULL && session->remote->is_piping)
        session->remote->must_fail = true;
}

void remote_discard(struct session *session)
{
    struct remote *remote = session->remote;
    if (remote == NULL)
        return;
    sq_assert(remote->status == PGWIRE_TRANSACTION_IDLE && remote_is_idle(remote));
    remote_disconnect(remote, false);
    remote_skip_all(remote);
}

/* --- What is sent -------------------------------------------------------------------------------------------------- */

static void begin_work(struct session *session)
{
    struct remote *remote = session->remote;
    run_release_brake(session);
    session_apply_settings(session);
    run_activate(session);
    session_set_activity(session, SESSION_ACTIVE);
    session->pause_deadline_us = 0;
    remote->is_cancelled = false;
    remote->give_up_us = 0;
    if (session->context.statement_timeout_us != 0)
        session->context.stop.deadline_us =
            sq_clock_now_us() + session->context.statement_timeout_us + REMOTE_PATIENCE_US;
}

struct remote_entry *remote_expect(struct remote *remote, enum remote_kind kind, enum remote_audience audience)
{
    sq_assert(remote->entry_count < REMOTE_ENTRIES_MAX);
    if (audience != REMOTE_LAZY && remote_is_idle(remote))
        begin_work(remote->session);
    /* Settings that it changes are undone if it is lost. */
    if (audience == REMOTE_RELAYED && !remote->session->settings.is_in_transaction)
        settings_begin(&remote->session->settings);
    size_t index = (remote->entry_first + remote->entry_count++) % REMOTE_ENTRIES_MAX;
    struct remote_entry *entry = &remote->entries[index];
    *entry = (struct remote_entry){.kind = kind, .audience = audience};
    remote->lazy_count += audience == REMOTE_LAZY;
    return entry;
}

static void entry_done(struct remote_entry *entry)
{
    free(entry->name);
    prepared_unref(entry->prepared);
    prepared_unref(entry->former);
    portal_free(entry->portal);
}

static void take_first(struct remote *remote)
{
    struct remote_entry *entry = &remote->entries[remote->entry_first];
    sq_assert(remote->entry_count > 0);
    remote->lazy_count -= entry->audience == REMOTE_LAZY;
    entry_done(entry);
    remote->entry_first = (remote->entry_first + 1) % REMOTE_ENTRIES_MAX;
    remote->entry_count--;
}

void remote_pop(struct remote *remote)
{
    bool was_lazy = remote->entries[remote->entry_first].audience == REMOTE_LAZY;
    take_first(remote);
    if (was_lazy || !remote_is_idle(remote))
        return;
    run_deactivate(remote->session);
    remote->session->pause_deadline_us = 0;
    remote->holds_input = false;
}

/* What the message has changed here, the primary has not done. Without memory a name stays forgotten here, and is an error when
 * it is next used. */
static void take_back(struct remote *remote, struct remote_entry *entry)
{
    struct session *session = remote->session;
    struct sq_error ignored;
    sq_status status = SQ_OK;
    switch (entry->kind) {
    case REMOTE_PARSE:
        entry->prepared->remote_generation = 0;
        if (!entry->has_added)
            break;
        if (entry->name == NULL) {
            prepared_unref(session->unnamed_statement);
            session->unnamed_statement = SQ_STEAL(entry->former);
        } else if (sq_map_get(&session->statements, entry->name, strlen(entry->name)) == entry->prepared) {
            prepared_unref(sq_map_remove(&session->statements, entry->name, strlen(entry->name)));
        }
        break;
    case REMOTE_BIND: {
        struct portal *portal = NULL;
        if (!entry->has_added ||
            session_find_portal(session, entry->name != NULL ? entry->name : "", &ignored, &portal) != SQ_OK)
            break;
        if (entry->former == NULL) {
            status = session_close_portal(session, portal, &ignored);
        } else {
            prepared_unref(portal->prepared);
            portal->prepared = SQ_STEAL(entry->former);
            portal->is_bound = true;
        }
        break;
    }
    case REMOTE_CLOSE:
        if (entry->prepared != NULL && (entry->name != NULL || session->unnamed_statement == NULL) &&
            session_add_statement(session, entry->name != NULL ? entry->name : "", entry->prepared, &ignored) == SQ_OK)
            entry->prepared = NULL;
        if (entry->portal != NULL)
            entry->portal->is_bound = true; /* its Bind came before */
        if (entry->portal != NULL &&
            session_add_portal(session, entry->portal, entry->name != NULL ? entry->name : "", &ignored) == SQ_OK)
            entry->portal = NULL;
        break;
    default:
        break;
    }
    (void)status;
}

static struct remote_entry *entry_at(struct remote *remote, size_t index)
{
    return &remote->entries[(remote->entry_first + index) % REMOTE_ENTRIES_MAX];
}

/* The first `count` entries: what was done last is taken back first. */
static void skip(struct remote *remote, size_t count)
{
    for (size_t i = count; i-- > 0;)
        take_back(remote, entry_at(remote, i));
    for (; count > 0; count--)
        remote_pop(remote);
}

bool remote_skip(struct remote *remote)
{
    size_t count = 0;
    while (count < remote->entry_count && entry_at(remote, count)->kind != REMOTE_SYNC &&
           entry_at(remote, count)->kind != REMOTE_QUERY)
        count++;
    bool has_end = count < remote->entry_count;
    skip(remote, count);
    return has_end;
}

void remote_skip_all(struct remote *remote)
{
    skip(remote, remote->entry_count);
    remote->is_piping = remote->is_copying = remote->holds_input = remote->must_fail = false;
}

sq_status remote_put(struct remote *remote, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct sq_buf *out = pgclient_out(remote->client);
    size_t mark = sq_buf_length(out);
    size_t message = pgwire_begin(out, frame->type);
    sq_buf_put(out, frame->body, frame->body_length);
    pgwire_end(out, message);
    remote->has_flushed = false;
    return check_put(remote, mark, err);
}

sq_status remote_put_query(struct remote *remote, const char *text, size_t length, enum remote_audience audience,
                           struct sq_error *err)
{
    sq_assert(!remote->is_piping && remote_is_idle(remote));
    size_t mark = sq_buf_length(pgclient_out(remote->client));
    pgwire_put_query(pgclient_out(remote->client), text, length);
    SQ_TRY(check_put(remote, mark, err));
    (void)remote_expect(remote, REMOTE_QUERY, audience);
    remote->command_count++;
    remote->has_failed = remote->has_quiet_row = false;
    prepared_unref(remote->unnamed); /* a Query ends it */
    remote->unnamed = NULL;
    return SQ_OK;
}

bool remote_has(const struct remote *remote, const char *name, const struct prepared *prepared)
{
    return prepared->remote_generation == remote->generation && (name[0] != '\0' || remote->unnamed == prepared);
}

sq_status remote_ensure(struct remote *remote, const char *name, struct prepared *prepared,
                        enum remote_audience audience, struct sq_error *err)
{
    if (remote_has(remote, name, prepared))
        return SQ_OK;
    struct sq_buf *out = pgclient_out(remote->client);
    size_t mark = sq_buf_length(out);
    size_t type_count = prepared->parameter_count;
    while (type_count > 0 && !prepared->is_parameter_declared[type_count - 1])
        type_count--;
    /* One that was closed in a pipeline that failed may still be there. */
    if (name[0] != '\0')
        pgwire_put_close(out, PGWIRE_TARGET_STATEMENT, name);
    size_t message = pgwire_put_parse_begin(out, name, prepared->source, prepared->source_length, type_count);
    for (size_t i = 0; i < type_count; i++)
        pgwire_put_oid(out, prepared->is_parameter_declared[i] ? prepared->parameter_oids[i] : 0);
    pgwire_end(out, message);
    /* What the client was told of its columns here holds there, too. */
    bool is_described = prepared->is_announced && prepared->column_count > 0;
    if (is_described)
        pgwire_put_describe(out, PGWIRE_TARGET_STATEMENT, name);
    SQ_TRY(check_put(remote, mark, err));
    if (name[0] != '\0')
        (void)remote_expect(remote, REMOTE_CLOSE, audience);
    struct remote_entry *entry = remote_expect(remote, REMOTE_PARSE, audience);
    entry->prepared = prepared_ref(prepared);
    if (is_described)
        (void)remote_expect(remote, REMOTE_DESCRIBE_STATEMENT, audience);
    prepared->remote_generation = remote->generation;
    if (name[0] == '\0') {
        prepared_unref(remote->unnamed);
        remote->unnamed = prepared_ref(prepared);
    }
    return SQ_OK;
}
