/* session/remote_query.c: the statements of a Query that belong at the primary; a transaction that moves there; what is asked
 * there for the session's own sake.
 *
 * A Query's statements are sent one by one, because each commits by itself, and if the connection breaks it must be said of
 * each what has become of it. Those of one transaction are sent together: together they commit, or not.
 *
 *     SELECT 1;  │ INSERT …;  │ BEGIN; UPDATE …; UPDATE …; COMMIT;  │ SELECT 2;
 *     here       │ sent       │ sent                                │ here
 */
#include <string.h>

#include "engine/sql_lexer.h"
#include "pgclient/pgclient.h"
#include "session/remote_internal.h"

enum { MOVE_SQL_BYTES_MAX = 1 << 20 };

/* --- What goes together --------------------------------------------------------------------------------------------- */

/* The next statement of the Query. False: there is none, or none that is understood; then it is done here, and fails. */
static bool read_statement(struct session *session, size_t at, struct sq_arena *arena, struct command *ret_command,
                           size_t *ret_length)
{
    const char *text = session->query_text + at;
    size_t length = session->query_length - at;
    struct sq_error ignored;
    size_t consumed = 0;
    if (length == 0 || command_parse(text, length, arena, ret_command, &consumed, &ignored) != SQ_OK)
        return false;
    if (ret_command->kind == COMMAND_SQL)
        consumed = sql_statement_end(text, length, NULL);
    *ret_length = consumed;
    return ret_command->kind != COMMAND_EMPTY && consumed > 0;
}

/* What of the Query is sent at once, and what that may do. */
struct chunk {
    size_t length;
    bool may_commit;
    bool ends_transaction;
};

static struct chunk read_chunk(struct session *session, const struct command *first, size_t first_length)
{
    struct sq_arena arena;
    struct command command = *first;
    bool is_open = session->remote->status != PGWIRE_TRANSACTION_IDLE;
    struct chunk chunk = {0};
    size_t length = first_length;
    sq_arena_init(&arena);
    for (;;) {
        chunk.length += length;
        bool is_end = command.kind == COMMAND_COMMIT || command.kind == COMMAND_ROLLBACK;
        chunk.ends_transaction = is_end && !command.is_chain;
        is_open = is_open || command.kind == COMMAND_BEGIN || command.kind == COMMAND_SAVEPOINT;
        chunk.may_commit = is_end || command.kind == COMMAND_RELEASE || !is_open;
        if (chunk.may_commit)
            break;
        sq_arena_reset(&arena);
        if (!read_statement(session, session->query_at + chunk.length, &arena, &command, &length) ||
            !remote_may_follow(session, &command))
            break;
    }
    sq_arena_done(&arena);
    return chunk;
}

/* --- Sending -------------------------------------------------------------------------------------------------------- */

static sq_status put_sync(struct remote *remote, struct sq_error *err)
{
    struct sq_buf *out = pgclient_out(remote->client);
    size_t mark = sq_buf_length(out);
    pgwire_put_sync(out);
    sq_status status = sq_buf_check(out, err);
    if (status != SQ_OK) {
        sq_buf_truncate(out, mark);
        return status;
    }
    (void)remote_expect(remote, REMOTE_SYNC, REMOTE_QUIET);
    remote->command_count++;
    remote->is_piping = false;
    return SQ_BUSY;
}

/* What has to be there before the Query. SQ_BUSY: it has been sent. */
static sq_status make_ready(struct session *session, const struct command *command, struct sq_error *err)
{
    SQ_TRY(remote_engage(session, err));
    struct remote *remote = session->remote;
    if (remote->is_piping)
        return put_sync(remote, err); /* a pipeline that the client has left without one */
    if (remote->quiet.status != SQ_OK) {
        *err = remote->quiet;
        sq_error_clear(&remote->quiet);
        return err->status;
    }
    if (command->kind == COMMAND_PREPARE &&
        sq_map_get(&session->statements, command->prepare.name, strlen(command->prepare.name)) == NULL)
        remote_close_name(remote, command->prepare.name);
    if (command->kind != COMMAND_EXECUTE)
        return SQ_OK;
    const char *name = command->execute.name;
    struct prepared *prepared = sq_map_get(&session->statements, name, strlen(name));
    if (prepared == NULL || remote_has(remote, name, prepared))
        return SQ_OK; /* the primary says that there is none */
    SQ_TRY(remote_ensure(remote, name, prepared, REMOTE_QUIET, err));
    return put_sync(remote, err);
}

static sq_status send_statements(struct session *session, const struct command *command, size_t length,
                                 struct sq_error *err)
{
    SQ_TRY(make_ready(session, command, err));
    struct remote *remote = session->remote;
    struct chunk chunk = read_chunk(session, command, length);
    SQ_TRY(remote_put_query(remote, session->query_text + session->query_at, chunk.length, REMOTE_RELAYED, err));
    remote->query_begin = remote->query_walked = session->query_at;
    remote->may_commit = chunk.may_commit;
    remote->ends_transaction = chunk.ends_transaction;
    session->query_at += chunk.length;
    session->query_has_statement = true;
    consistency_end(session);
    return SQ_OK;
}

/* --- One statement --------------------------------------------------------------------------------------------------- */

/* A statement that reads here. EXECUTE's may have been prepared at the primary. */
static enum remote_way read_here(struct session *session, const struct command *command, struct sq_error *err,
                                 sq_status *ret_status)
{
    enum consistency_gate gate = consistency_pass(session, err);
    if (gate == GATE_WAIT)
        return REMOTE_LATER;
    if (gate == GATE_PRIMARY)
        return REMOTE_TAKEN;
    if (gate == GATE_CLOSED) {
        *ret_status = err->status;
        return REMOTE_TAKEN;
    }
    remote_note_base(session);
    if (command->kind != COMMAND_EXECUTE)
        return REMOTE_HERE;
    const char *name = command->execute.name;
    struct prepared *prepared = sq_map_get(&session->statements, name, strlen(name));
    if (prepared == NULL || !prepared->is_remote)
        return REMOTE_HERE;
    *ret_status = remote_localize(session, name, &prepared, err);
    return *ret_status == SQ_OK ? REMOTE_HERE : REMOTE_TAKEN;
}

static enum remote_way handle(struct session *session, const struct command *command, size_t length,
                              struct sq_error *err, sq_status *ret_status)
{
    struct remote_statement statement = {
        .command = command, .text = session->query_text + session->query_at, .length = length};
    *ret_status = remote_check_lost(session, command->kind, err);
    if (*ret_status != SQ_OK)
        return REMOTE_TAKEN;
    enum remote_route route = remote_route(session, &statement);
    if (route == ROUTE_HERE)
        return REMOTE_HERE;
    if (route == ROUTE_READ) {
        enum remote_way way = read_here(session, command, err, ret_status);
        if (way != REMOTE_TAKEN || *ret_status != SQ_OK)
            return way;
    }
    if (route == ROUTE_MOVE)
        *ret_status = remote_move(session, err);
    if (*ret_status == SQ_OK)
        *ret_status = send_statements(session, command, length, err);
    if (*ret_status != SQ_BUSY)
        return REMOTE_TAKEN;
    *ret_status = SQ_OK;
    return REMOTE_LATER;
}

enum remote_way remote_query(struct session *session, enum session_want *ret_want)
{
    struct sq_error err;
    *ret_want = SESSION_WAITING;
    if (!remote_is_concerned(session) && !consistency_is_concerned(session))
        return REMOTE_HERE;
    if (remote_is_engaged(session) && remote_is_idle(session->remote))
        remote_pump(session); /* it may have broken meanwhile */
    if (session->state != SESSION_STATE_SIMPLE)
        return REMOTE_TAKEN;
    struct sq_arena arena;
    struct command command;
    size_t length = 0;
    sq_arena_init(&arena);
    sq_status status = SQ_OK;
    enum remote_way way = REMOTE_HERE;
    if (read_statement(session, session->query_at, &arena, &command, &length))
        way = handle(session, &command, length, &err, &status);
    sq_arena_done(&arena);
    if (status != SQ_OK)
        session_fail(session, &err);
    if (way == REMOTE_LATER)
        *ret_want = remote_later(session);
    return way;
}

/* --- A transaction that moves ---------------------------------------------------------------------------------------- */

void remote_note_base(struct session *session)
{
    /* One that is READ ONLY may be told otherwise. */
    if (session->txn != SESSION_TXN_EXPLICIT || session->is_txn_remote)
        return;
    struct remote *remote = NULL;
    struct sq_error ignored;
    /* Without memory it cannot move: its base stays 0/0/0, which no database is at. */
    if (remote_get(session, &ignored, &remote) != SQ_OK || remote->has_base)
        return;
    remote->has_base = true;
    if (repl_node_position(session->host->node, session->context.database, 0, &session->consistency.wait,
                           &remote->base) != REPL_KNOWN)
        remote->base = (struct wal_position){0};
    repl_wait_withdraw(session->host->node, &session->consistency.wait);
}

void remote_note_end(struct session *session)
{
    session->consistency.is_txn_passed = false;
    if (session->remote != NULL)
        session->remote->has_base = false;
}

/* BEGIN with the lock, so that the position stays what it is; then the savepoints that there are. */
static sq_status send_begin(struct session *session, struct sq_error *err)
{
    struct remote *remote = session->remote;
    SQ_CLEANUP(sq_buf_done) struct sq_buf sql;
    sq_buf_init(&sql, MOVE_SQL_BYTES_MAX);
    sq_buf_put_text(&sql, "BEGIN IMMEDIATE");
    const char *name;
    for (size_t at = 0; (name = settings_next_savepoint(&session->settings, &at)) != NULL;) {
        sq_buf_put_text(&sql, "; SAVEPOINT \"");
        for (; *name != '\0'; name++) {
            if (*name == '"')
                sq_buf_put_u8(&sql, '"');
            sq_buf_put_u8(&sql, (uint8_t)*name);
        }
        sq_buf_put_u8(&sql, '"');
    }
    if (remote->has_base)
        sq_buf_put_text(&sql, "; SHOW sqld.position");
    SQ_TRY(sq_buf_check(&sql, err));
    SQ_TRY(remote_put_query(remote, (const char *)sq_buf_bytes(&sql), sq_buf_length(&sql), REMOTE_QUIET, err));
    remote->move = MOVE_BEGUN;
    return SQ_BUSY;
}

static sq_status fail_too_old(struct sq_error *err)
{
    sq_status status = sq_fail_sql(err, SQ_SQL, "40001", "could not serialize access due to concurrent update");
    sq_error_set_detail(err, "The transaction has read on a replica, and the primary's database has changed since.");
    sq_error_set_hint(err, "Try the transaction again, or SET sqld.replica_transactions = delegate.");
    return status;
}

/* Whether what the transaction has read here is what the primary has now. */
static bool is_current(const struct remote *remote)
{
    struct wal_position position;
    return !remote->has_base || (remote->has_quiet_row && position_parse(remote->quiet_row, &position) &&
                                 position_equals(&position, &remote->base));
}

static bool has_open_portal(const struct session *session)
{
    struct sq_map_cursor at = {0};
    const struct portal *portal;
    while ((portal = sq_map_next(&session->portals, &at)) != NULL) {
        if (portal->query.statement != NULL)
            return true;
    }
    return session->unnamed_portal != NULL && session->unnamed_portal->query.statement != NULL;
}

/* It is the primary's from now on. What is being read here goes on being read here: nothing that it could not see has been
 * written yet, and SQLite would not say what it sees of what comes. */
static sq_status take_over(struct session *session, struct sq_error *err)
{
    struct remote *remote = session->remote;
    remote->has_base = false;
    remote->has_left_open = has_open_portal(session);
    session->is_txn_remote = true;
    if (!remote->has_left_open && service_is_in_transaction(session->service))
        SQ_TRY(service_exec(session->service, "ROLLBACK", err));
    return SQ_OK;
}

void remote_end_local(struct session *session)
{
    struct remote *remote = session->remote;
    struct sq_error err;
    remote->has_base = false;
    if (!remote->has_left_open)
        return;
    remote->has_left_open = false;
    sq_status closed = session_close_portals(session, false, &err);
    (void)closed; /* they have only read */
    if (service_is_in_transaction(session->service) && service_exec(session->service, "ROLLBACK", &err) != SQ_OK)
        session->state = SESSION_STATE_CLOSING;
}

sq_status remote_move(struct session *session, struct sq_error *err)
{
    struct remote *remote = NULL;
    SQ_TRY(remote_get(session, err, &remote));
    sq_assert(!session->is_txn_remote);
    if (remote->client == NULL || remote->move == MOVE_NONE) {
        remote->move = MOVE_NONE;
        sq_error_clear(&remote->quiet);
        SQ_TRY(remote_reach(session, err));
        return send_begin(session, err);
    }
    if (!remote_is_idle(remote))
        return SQ_BUSY;
    enum remote_move move = remote->move;
    struct sq_error quiet = remote->quiet;
    sq_error_clear(&remote->quiet);
    remote->move = MOVE_NONE;
    if (move == MOVE_GIVEN_UP)
        return fail_too_old(err);
    bool is_begun = remote->status == PGWIRE_TRANSACTION_OPEN;
    if (quiet.status == SQ_OK && is_begun && (move == MOVE_TELLING || is_current(remote))) {
        sq_status status = remote_tell_settings(remote, err);
        if (status == SQ_OK)
            return take_over(session, err);
        remote->move = MOVE_TELLING;
        return status;
    }
    if (is_begun && quiet.status == SQ_OK) {
        remote->move = MOVE_GIVEN_UP;
        SQ_TRY(remote_put_query(remote, "ROLLBACK", strlen("ROLLBACK"), REMOTE_QUIET, err));
        return SQ_BUSY;
    }
    if (is_begun)
        remote_disconnect(remote, true); /* half of it was begun: it ends with its connection */
    if (quiet.status == SQ_OK)
        return sq_fail_sql(err, SQ_CLOSED, "08006", "the primary did not begin the transaction");
    *err = quiet;
    return err->status;
}

/* --- Positions ------------------------------------------------------------------------------------------------------- */

enum repl_known remote_position(struct session *session)
{
    struct remote *remote = session->remote;
    if (remote == NULL)
        return REPL_KNOWN;
    if (!remote->lacks_position && remote->client != NULL && remote->told_number < remote->wanted_number)
        remote_pump(session);
    if (remote->lacks_position)
        return REPL_KNOWN_NEVER;
    return remote->client == NULL || remote->told_number >= remote->wanted_number ? REPL_KNOWN : REPL_KNOWN_LATER;
}

sq_status remote_ask_position(struct session *session, bool *is_asked, struct wal_position *ret_position,
                              struct sq_error *err)
{
    static const char sql[] = "SHOW sqld.position";
    struct remote *remote = session->remote;
    /* A connection that broke over it is made again. */
    if (*is_asked && remote->client != NULL && !remote_is_idle(remote)) {
        remote_pump(session);
        if (remote->client != NULL && !remote_is_idle(remote))
            return SQ_BUSY;
    }
    *is_asked = *is_asked && remote->client != NULL;
    SQ_TRY(remote_engage(session, err));
    remote = session->remote;
    if (!*is_asked) {
        SQ_TRY(remote_put_query(remote, sql, strlen(sql), REMOTE_QUIET, err));
        *is_asked = true;
        return SQ_BUSY;
    }
    if (!remote->has_quiet_row || !position_parse(remote->quiet_row, ret_position))
        return sq_fail_sql(err, SQ_CLOSED, "08006", "the primary does not tell its position");
    remote->lacks_position = false;
    return SQ_OK;
}
