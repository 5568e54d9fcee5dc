/* session/remote_extended.c: the messages of the extended protocol on a replica (PostgreSQL manual, "Extended Query"; which
 * are sent on, and when the answers of both sides have to wait for each other: remote.h).
 *
 * A pipeline is the primary's from the first message on that belongs there, up to its Sync. What is done here in the midst
 * of it (DEALLOCATE, a portal that was bound before) waits until all that was sent has been answered. Names of statements
 * and portals are in the session's tables, wherever what they name is: so a name means one thing. */
#include <stdlib.h>
#include <string.h>

#include "pgclient/pgclient.h"
#include "session/remote_internal.h"

/* Names that no client gives. */
static const char fail_portal[] = "sqld: none";

/* What one message comes to. */
struct turn {
    struct session *session;
    const struct pgwire_frame *frame;
    enum remote_way way;
    struct sq_error err; /* with `way` TAKEN and a status: the answer */
    sq_status status;
};

/* --- Here, behind what was sent -------------------------------------------------------------------------------------- */

/* The answers to what was sent come first. */
static void drain(struct turn *turn)
{
    struct remote *remote = turn->session->remote;
    sq_assert(remote != NULL); /* it is busy */
    turn->way = REMOTE_LATER;
    if (remote->client == NULL || remote->has_flushed || !remote->is_piping)
        return;
    pgwire_put_flush(pgclient_out(remote->client)); /* what does not fit is missing for nothing but speed */
    remote->has_flushed = true;
}

static void do_here(struct turn *turn)
{
    if (remote_is_busy(turn->session))
        drain(turn);
    else
        turn->way = REMOTE_HERE;
}

static void fail_here(struct turn *turn, sq_status status)
{
    sq_assert(status != SQ_OK);
    if (status == SQ_BUSY) {
        turn->way = REMOTE_LATER;
        return;
    }
    turn->way = REMOTE_HERE;
    if (!turn->err.is_fatal)
        do_here(turn);
    if (turn->way != REMOTE_HERE)
        return;
    turn->way = REMOTE_TAKEN;
    turn->status = status;
}

/* Reads here. False: it is the primary's to do. */
static bool read_here(struct turn *turn)
{
    struct sq_error err;
    if (remote_is_busy(turn->session)) {
        drain(turn);
        return true;
    }
    switch (consistency_pass(turn->session, &err)) {
    case GATE_OPEN:
        turn->way = REMOTE_HERE;
        return true;
    case GATE_WAIT:
        turn->way = REMOTE_LATER;
        return true;
    case GATE_PRIMARY:
        return false;
    case GATE_CLOSED:
        break;
    }
    turn->err = err;
    fail_here(turn, err.status);
    return true;
}

/* --- There ----------------------------------------------------------------------------------------------------------- */

/* The session is connected, and the transaction is there if it has to be. */
static sq_status engage(struct turn *turn, enum remote_route route)
{
    struct session *session = turn->session;
    if (route == ROUTE_MOVE)
        SQ_TRY(remote_move(session, &turn->err));
    SQ_TRY(remote_engage(session, &turn->err));
    consistency_end(session);
    return SQ_OK;
}

/* Puts the client's message, and what is expected of it. */
static sq_status put(struct turn *turn, enum remote_kind kind, const char *name, struct remote_entry **ret_entry)
{
    struct remote *remote = turn->session->remote;
    char *copy = name[0] != '\0' ? strdup(name) : NULL;
    if (copy == NULL && name[0] != '\0')
        return sq_fail(&turn->err, SQ_NOMEM, "out of memory for a name");
    sq_status status = remote_put(remote, turn->frame, &turn->err);
    if (status != SQ_OK) {
        free(copy);
        return status;
    }
    struct remote_entry *entry = remote_expect(remote, kind, REMOTE_RELAYED);
    entry->name = copy;
    remote->is_piping = true;
    turn->way = REMOTE_TAKEN;
    if (ret_entry != NULL)
        *ret_entry = entry;
    return SQ_OK;
}

/* --- Parse ----------------------------------------------------------------------------------------------------------- */

static sq_status make_prepared(struct turn *turn, const struct pgwire_parse *parse, struct prepared **ret_prepared)
{
    struct session *session = turn->session;
    sq_arena_reset(&session->message_arena);
    uint32_t *types = sq_arena_calloc(&session->message_arena, parse->types.count + 1, sizeof(*types));
    if (types == NULL)
        return sq_fail(&turn->err, SQ_NOMEM, "out of memory for a prepared statement");
    for (size_t i = 0; i < parse->types.count; i++)
        types[i] = pgwire_oids_get(&parse->types, i);
    return prepared_new_remote(session, parse->query.data, parse->query.length, types, parse->types.count, &turn->err,
                               ret_prepared);
}

/* Sends Parse, and gives the statement its name here. */
static sq_status send_parse(struct turn *turn, const struct pgwire_parse *parse, enum remote_route route)
{
    struct session *session = turn->session;
    struct prepared *prepared = NULL;
    SQ_TRY(engage(turn, route));
    struct remote *remote = session->remote;
    SQ_TRY(make_prepared(turn, parse, &prepared));
    bool is_named = parse->name.length > 0;
    struct prepared *former = is_named ? NULL : SQ_STEAL(session->unnamed_statement);
    sq_status status = session_add_statement(session, parse->name.data, prepared, &turn->err);
    if (status != SQ_OK) {
        prepared_unref(prepared);
        prepared_unref(former);
        return status;
    }
    if (is_named) {
        pgwire_put_close(pgclient_out(remote->client), PGWIRE_TARGET_STATEMENT, parse->name.data);
        (void)remote_expect(remote, REMOTE_CLOSE, REMOTE_QUIET);
    }
    struct remote_entry *entry = NULL;
    status = put(turn, REMOTE_PARSE, parse->name.data, &entry);
    if (status != SQ_OK) {
        /* The buffer has failed as a whole, or there is no memory: nothing can be sent any more. */
        prepared_unref(former);
        turn->err.is_fatal = true;
        return status;
    }
    entry->prepared = prepared_ref(prepared);
    entry->former = former;
    entry->has_added = true;
    prepared->remote_generation = remote->generation;
    if (!is_named) {
        prepared_unref(remote->unnamed);
        remote->unnamed = prepared_ref(prepared);
    }
    return SQ_OK;
}

/* COMMAND_EMPTY: it is not understood. */
static enum remote_route route_text(struct session *session, const struct pgwire_parse *parse,
                                    enum command_kind *ret_kind)
{
    struct sq_arena arena;
    struct command command;
    struct sq_error ignored;
    size_t consumed = 0;
    enum remote_route route = ROUTE_HERE;
    sq_arena_init(&arena);
    *ret_kind = COMMAND_EMPTY;
    if (command_parse(parse->query.data, parse->query.length, &arena, &command, &consumed, &ignored) == SQ_OK) {
        *ret_kind = command.kind;
        struct remote_statement statement = {
            .command = &command, .text = parse->query.data, .length = parse->query.length};
        route = remote_route(session, &statement);
        /* What is only named so far is a statement's beginning only when it runs: nothing is gained by sending it now. */
        bool is_sql = command.kind == COMMAND_SQL || command.kind == COMMAND_TRUNCATE;
        if ((route == ROUTE_PRIMARY || route == ROUTE_MOVE) && !is_sql && !remote_is_engaged(session))
            route = ROUTE_HERE;
        if (route == ROUTE_MOVE)
            route = ROUTE_READ;
    }
    sq_arena_done(&arena);
    return route;
}

static void take_parse(struct turn *turn)
{
    struct session *session = turn->session;
    struct pgwire_parse parse;
    enum command_kind kind = COMMAND_EMPTY;
    struct sq_error ignored;
    if (pgwire_parse_decode(turn->frame, &ignored, &parse) != SQ_OK ||
        (parse.name.length > 0 && sq_map_get(&session->statements, parse.name.data, parse.name.length) != NULL)) {
        do_here(turn); /* says what is wrong */
        return;
    }
    enum remote_route route = route_text(session, &parse, &kind);
    sq_status status = SQ_OK;
    if (kind != COMMAND_COMMIT && kind != COMMAND_ROLLBACK)
        status = remote_check_lost(session, kind, &turn->err);
    if (status == SQ_OK && (route == ROUTE_HERE || kind == COMMAND_EMPTY)) {
        do_here(turn);
        return;
    }
    if (status == SQ_OK && route == ROUTE_READ && read_here(turn))
        return;
    if (status == SQ_OK)
        status = send_parse(turn, &parse, route);
    if (status != SQ_OK)
        fail_here(turn, status);
}

/* --- Statements -------------------------------------------------------------------------------------------------------- */

static struct prepared *find_prepared(struct session *session, const char *name)
{
    return name[0] == '\0' ? session->unnamed_statement : sq_map_get(&session->statements, name, strlen(name));
}

/* EXECUTE of a statement that was prepared at the primary is about to be run here, or the other way round. */
static struct prepared *find_executed(struct session *session, const struct prepared *prepared, const char **ret_name)
{
    if (prepared->command.kind != COMMAND_EXECUTE)
        return NULL;
    *ret_name = prepared->command.execute.name;
    return find_prepared(session, *ret_name);
}

/* A statement is about to be used here: it is compiled, and so is what it executes. */
static sq_status localize(struct turn *turn, const char *name, struct prepared *prepared)
{
    struct session *session = turn->session;
    if (turn->way != REMOTE_HERE)
        return SQ_OK;
    if (prepared->is_remote)
        SQ_TRY(remote_localize(session, name, &prepared, &turn->err));
    const char *executed_name = NULL;
    struct prepared *executed = find_executed(session, prepared, &executed_name);
    if (executed != NULL && executed->is_remote)
        SQ_TRY(remote_localize(session, executed_name, &executed, &turn->err));
    return SQ_OK;
}

/* Uses the statement here. False: it is the primary's. */
static bool use_here(struct turn *turn, const char *name, struct prepared *prepared, enum remote_route route)
{
    if (route == ROUTE_HERE)
        do_here(turn);
    else if (route != ROUTE_READ || !read_here(turn))
        return false;
    sq_status status = localize(turn, name, prepared);
    if (status != SQ_OK)
        fail_here(turn, status);
    return true;
}

/* The primary has the statement, and what it executes. */
static sq_status ensure(struct turn *turn, const char *name, struct prepared *prepared)
{
    struct remote *remote = turn->session->remote;
    const char *executed_name = NULL;
    struct prepared *executed = find_executed(turn->session, prepared, &executed_name);
    remote->is_piping = true;
    if (executed != NULL)
        SQ_TRY(remote_ensure(remote, executed_name, executed, REMOTE_QUIET, &turn->err));
    return remote_ensure(remote, name, prepared, REMOTE_QUIET, &turn->err);
}

/* --- Bind -------------------------------------------------------------------------------------------------------------- */

/* The portal's name, which means the primary's portal from now on. Whether it may be given again, the primary says: only there
 * is known when a portal has ended with its transaction. */
static sq_status add_portal(struct turn *turn, const char *name, struct prepared *prepared,
                            struct prepared **ret_former)
{
    struct session *session = turn->session;
    struct portal *portal = NULL;
    struct sq_error ignored;
    bool is_known = session_find_portal(session, name, &ignored, &portal) == SQ_OK;
    if (is_known && !portal->is_remote && remote_is_busy(session)) {
        drain(turn); /* one of this server's may be about to end */
        return SQ_BUSY;
    }
    if (is_known && portal->is_remote) {
        *ret_former = portal->prepared;
        portal->prepared = prepared_ref(prepared);
        portal->is_bound = false;
        return SQ_OK;
    }
    if (name[0] == '\0' && session->unnamed_portal != NULL)
        SQ_TRY(session_close_portal(session, session->unnamed_portal, &turn->err));
    SQ_TRY(portal_new(session, prepared, &turn->err, &portal));
    portal->is_remote = true;
    sq_status status = session_add_portal(session, portal, name, &turn->err);
    if (status != SQ_OK)
        portal_free(portal);
    return status;
}

/* PREPARE is about to give a name that is free here, and may be not there. What is under way may be another PREPARE. */
static sq_status close_prepared_name(struct turn *turn, const char *name)
{
    if (remote_is_busy(turn->session)) {
        drain(turn);
        return SQ_BUSY;
    }
    if (find_prepared(turn->session, name) == NULL)
        remote_close_name(turn->session->remote, name);
    return SQ_OK;
}

static sq_status send_bind(struct turn *turn, const struct pgwire_bind *bind, struct prepared *prepared,
                           enum remote_route route)
{
    struct remote_entry *entry = NULL;
    struct prepared *former = NULL;
    SQ_TRY(engage(turn, route));
    if (prepared->command.kind == COMMAND_PREPARE)
        SQ_TRY(close_prepared_name(turn, prepared->command.prepare.name));
    SQ_TRY(add_portal(turn, bind->portal.data, prepared, &former));
    sq_status status = ensure(turn, bind->statement.data, prepared);
    if (status == SQ_OK)
        status = put(turn, REMOTE_BIND, bind->portal.data, &entry);
    if (status != SQ_OK) {
        prepared_unref(former);
        turn->err.is_fatal = true; /* no memory to send anything with */
        return status;
    }
    entry->has_added = true;
    entry->former = former;
    return SQ_OK;
}

static void take_bind(struct turn *turn)
{
    struct session *session = turn->session;
    struct pgwire_bind bind;
    struct sq_error ignored;
    struct prepared *prepared = NULL;
    if (pgwire_bind_decode(turn->frame, &ignored, &bind) == SQ_OK)
        prepared = find_prepared(session, bind.statement.data);
    if (prepared == NULL) {
        do_here(turn);
        return;
    }
    turn->status = remote_check_lost(session, prepared->command.kind, &turn->err);
    if (turn->status != SQ_OK) {
        fail_here(turn, turn->status);
        return;
    }
    enum remote_route route = remote_route_prepared(session, prepared);
    if (use_here(turn, bind.statement.data, prepared, route))
        return;
    sq_status status = send_bind(turn, &bind, prepared, route);
    if (status != SQ_OK)
        fail_here(turn, status);
}

/* --- Describe, Execute, Close -------------------------------------------------------------------------------------------- */

static void describe_statement(struct turn *turn, const char *name)
{
    struct session *session = turn->session;
    struct prepared *prepared = find_prepared(session, name);
    if (prepared == NULL) {
        do_here(turn);
        return;
    }
    enum remote_route route = remote_route_prepared(session, prepared);
    /* One that was compiled here, or needs no compiling, is known here. */
    bool is_own = !prepared->is_remote && prepared->command.kind != COMMAND_EXECUTE;
    if (is_own && !remote_is_engaged(session))
        route = ROUTE_READ;
    else if (is_own && session->txn == SESSION_TXN_FAILED)
        route = ROUTE_HERE; /* nothing can be prepared there before the transaction's end */
    if (use_here(turn, name, prepared, route))
        return;
    sq_status status = engage(turn, route);
    if (status == SQ_OK)
        status = ensure(turn, name, prepared);
    struct remote_entry *entry = NULL;
    if (status == SQ_OK)
        status = put(turn, REMOTE_DESCRIBE_STATEMENT, name, &entry);
    if (status != SQ_OK)
        fail_here(turn, status);
    else
        entry->prepared = prepared_ref(prepared);
}

/* A portal of this server's is used here; others, and cursors that the primary may have, there. *ret_portal NULL: it is not
 * known here. True: it is done here. */
static bool use_portal_here(struct turn *turn, const char *name, struct portal **ret_portal)
{
    struct session *session = turn->session;
    struct sq_error ignored;
    struct portal *portal = NULL;
    if (session_find_portal(session, name, &ignored, &portal) != SQ_OK)
        portal = NULL;
    *ret_portal = portal;
    if (portal == NULL ? remote_is_engaged(session) : portal->is_remote)
        return false;
    bool reads = portal != NULL && portal->state == PORTAL_READY && !session->is_txn_remote &&
                 remote_route_prepared(session, portal->prepared) == ROUTE_READ;
    if (!reads) {
        do_here(turn);
        return true;
    }
    /* Its Bind was answered here: too late for the primary. */
    if (!read_here(turn)) {
        fail_here(turn, sq_fail_sql(&turn->err, SQ_SQL, "55000", "this replica is behind"));
        return true;
    }
    if (turn->way == REMOTE_HERE)
        remote_note_base(session);
    return true;
}

static void take_describe(struct turn *turn)
{
    struct pgwire_describe describe;
    struct sq_error ignored;
    struct portal *portal = NULL;
    if (pgwire_describe_decode(turn->frame, &ignored, &describe) != SQ_OK) {
        do_here(turn);
        return;
    }
    if (describe.kind == PGWIRE_TARGET_STATEMENT) {
        describe_statement(turn, describe.name.data);
        return;
    }
    if (use_portal_here(turn, describe.name.data, &portal))
        return;
    struct remote_entry *entry = NULL;
    sq_status status = put(turn, REMOTE_DESCRIBE_PORTAL, describe.name.data, &entry);
    if (status != SQ_OK)
        fail_here(turn, status);
    else if (portal != NULL)
        entry->prepared = prepared_ref(portal->prepared);
}

/* What running it may mean. */
static void note_execute(struct remote *remote, const struct prepared *prepared)
{
    enum command_kind kind = prepared != NULL ? prepared->command.kind : COMMAND_SQL;
    bool is_end = kind == COMMAND_COMMIT || kind == COMMAND_ROLLBACK;
    bool is_open = remote->status != PGWIRE_TRANSACTION_IDLE;
    remote->may_commit = remote->may_commit || !is_open || is_end || kind == COMMAND_RELEASE;
    remote->ends_transaction = remote->ends_transaction || (is_open && is_end && !prepared->command.is_chain);
    if (kind == COMMAND_COPY && prepared->command.copy.direction == COPY_FROM)
        remote->holds_input = true;
}

static void take_execute(struct turn *turn)
{
    struct pgwire_execute execute;
    struct sq_error ignored;
    struct portal *portal = NULL;
    struct remote_entry *entry = NULL;
    if (pgwire_execute_decode(turn->frame, &ignored, &execute) != SQ_OK) {
        do_here(turn);
        return;
    }
    if (use_portal_here(turn, execute.portal.data, &portal))
        return;
    sq_status status = put(turn, REMOTE_EXECUTE, execute.portal.data, &entry);
    if (status != SQ_OK) {
        fail_here(turn, status);
        return;
    }
    if (portal != NULL)
        entry->prepared = prepared_ref(portal->prepared);
    note_execute(turn->session->remote, entry->prepared);
}

static void close_statement(struct turn *turn, const char *name)
{
    struct session *session = turn->session;
    struct prepared *prepared = find_prepared(session, name);
    struct remote_entry *entry = NULL;
    if (!remote_is_engaged(session)) {
        do_here(turn);
        if (turn->way == REMOTE_HERE && prepared != NULL)
            remote_forget(session, name, prepared);
        return;
    }
    sq_status status = put(turn, REMOTE_CLOSE, name, &entry);
    if (status != SQ_OK) {
        fail_here(turn, status);
        return;
    }
    entry->prepared = name[0] == '\0' ? SQ_STEAL(session->unnamed_statement)
                                      : sq_map_remove(&session->statements, name, strlen(name));
}

static void close_portal(struct turn *turn, const char *name)
{
    struct session *session = turn->session;
    struct portal *portal = NULL;
    struct remote_entry *entry = NULL;
    if (use_portal_here(turn, name, &portal))
        return;
    sq_status status = put(turn, REMOTE_CLOSE, name, &entry);
    if (status != SQ_OK) {
        fail_here(turn, status);
        return;
    }
    if (portal == NULL)
        return;
    if (name[0] == '\0')
        session->unnamed_portal = NULL;
    else
        (void)sq_map_remove(&session->portals, name, strlen(name));
    portal->name_length = 0;
    entry->portal = portal;
}

static void take_close(struct turn *turn)
{
    struct pgwire_close close;
    struct sq_error ignored;
    if (pgwire_close_decode(turn->frame, &ignored, &close) != SQ_OK)
        do_here(turn);
    else if (close.kind == PGWIRE_TARGET_STATEMENT)
        close_statement(turn, close.name.data);
    else
        close_portal(turn, close.name.data);
}

/* --- Sync, COPY ----------------------------------------------------------------------------------------------------------- */

static void take_sync(struct turn *turn)
{
    struct remote *remote = turn->session->remote;
    if (remote == NULL || !remote->is_piping) {
        do_here(turn);
        return;
    }
    /* What was sent is the beginning of a transaction whose rest has failed here. One that the client has begun stays open, as
     * after any failed statement. */
    if (remote->must_fail) {
        pgwire_put_execute(pgclient_out(remote->client), fail_portal, 0);
        (void)remote_expect(remote, REMOTE_FAIL, REMOTE_QUIET);
    }
    sq_status status = put(turn, REMOTE_SYNC, "", NULL);
    if (status != SQ_OK) {
        turn->err.is_fatal = true;
        fail_here(turn, status);
        return;
    }
    remote->command_count++;
    remote->is_piping = remote->must_fail = false;
}

static void take_flush(struct turn *turn)
{
    struct remote *remote = turn->session->remote;
    if (remote == NULL || !remote->is_piping) {
        do_here(turn);
        return;
    }
    sq_status status = remote_put(remote, turn->frame, &turn->err);
    remote->has_flushed = true;
    turn->way = REMOTE_TAKEN;
    if (status != SQ_OK)
        fail_here(turn, status);
}

/* While the client copies in, everything is the primary's to judge. Flush and Sync mean nothing then (manual, "COPY
 * Operations"). */
static void take_copy(struct turn *turn)
{
    struct remote *remote = turn->session->remote;
    turn->way = REMOTE_TAKEN;
    if (turn->frame->type == PGWIRE_FLUSH || turn->frame->type == PGWIRE_SYNC)
        return;
    turn->status = remote_put(remote, turn->frame, &turn->err);
    turn->err.is_fatal = turn->status != SQ_OK;
    if (turn->frame->type != PGWIRE_COPY_DATA)
        remote->is_copying = false;
}

/* --- All of it -------------------------------------------------------------------------------------------------------------- */

static void take_message(struct turn *turn)
{
    switch (turn->frame->type) {
    case PGWIRE_PARSE:
        take_parse(turn);
        break;
    case PGWIRE_BIND:
        take_bind(turn);
        break;
    case PGWIRE_DESCRIBE:
        take_describe(turn);
        break;
    case PGWIRE_EXECUTE:
        take_execute(turn);
        break;
    case PGWIRE_CLOSE:
        take_close(turn);
        break;
    case PGWIRE_SYNC:
        take_sync(turn);
        break;
    case PGWIRE_FLUSH:
        take_flush(turn);
        break;
    case PGWIRE_QUERY:
    case PGWIRE_FUNCTION_CALL:
        do_here(turn);
        break;
    default:
        turn->way = REMOTE_HERE; /* Terminate; and what makes no sense */
        break;
    }
}

enum remote_way remote_message(struct session *session, const struct pgwire_frame *frame, enum session_want *ret_want)
{
    struct turn turn = {.session = session, .frame = frame, .way = REMOTE_HERE, .status = SQ_OK};
    sq_error_clear(&turn.err);
    *ret_want = SESSION_WAITING;
    if (!remote_is_concerned(session) && !consistency_is_concerned(session))
        return REMOTE_HERE;
    if (remote_is_engaged(session) && remote_is_idle(session->remote))
        remote_pump(session); /* it may have broken meanwhile */
    if (session->state == SESSION_STATE_CLOSING || frame->type == PGWIRE_TERMINATE)
        return REMOTE_HERE;
    if (remote_is_copying(session))
        take_copy(&turn);
    else if (!session->is_skipping || frame->type == PGWIRE_SYNC)
        take_message(&turn);
    if (turn.status != SQ_OK)
        session_fail(session, &turn.err);
    if (turn.way == REMOTE_LATER)
        *ret_want = remote_later(session);
    return turn.way;
}
