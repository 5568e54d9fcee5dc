/* session/remote_route.c: where a statement of a session on a replica belongs. See remote.h.
 *
 * It is told by the statement's first words: what writes need not be compiled here first, and often could not be, because
 * the table that it names is still on its way. Whatever slips through is refused below (layer_authorization.c). */
#include <string.h>
#include <strings.h>

#include "engine/pragma.h"
#include "engine/sql_lexer.h"
#include "session/remote_internal.h"

/* --- SQL ----------------------------------------------------------------------------------------------------------- */

/* Whether a word stands somewhere in the statement. */
static bool has_word(const char *text, size_t length, const char *word)
{
    struct sql_lexer lexer;
    struct sql_token token;
    sql_lexer_init(&lexer, text, length, SQL_LEXER_SQLITE);
    for (sql_lexer_next(&lexer, &token); token.kind != SQL_TOKEN_END && token.kind != SQL_TOKEN_SEMICOLON;
         sql_lexer_next(&lexer, &token)) {
        if (sql_token_is(&token, word))
            return true;
    }
    return false;
}

enum pragma_kind { PRAGMA_READS, PRAGMA_WRITES, PRAGMA_SETS };

/* PRAGMA [schema.]name [= value | (value)]: whether it changes the database, or the connection. */
static enum pragma_kind inspect_pragma(const char *text, size_t length, bool *ret_is_deferral)
{
    static const char *const stored[] = {"application_id", "user_version", "encoding", "auto_vacuum"};
    static const char *const writing[] = {"optimize", "incremental_vacuum"};
    struct sql_lexer lexer;
    struct sql_token token;
    char name[32] = "";
    sql_lexer_init(&lexer, text, length, SQL_LEXER_SQLITE);
    do {
        sql_lexer_next(&lexer, &token);
    } while (token.kind != SQL_TOKEN_END && !sql_token_is(&token, "PRAGMA"));
    do {
        sql_lexer_next(&lexer, &token); /* a schema, the name */
        size_t taken = token.length < sizeof(name) - 1 ? token.length : sizeof(name) - 1;
        memcpy(name, token.text, taken);
        name[taken] = '\0';
        sql_lexer_next(&lexer, &token);
    } while (token.kind == SQL_TOKEN_DOT);
    bool has_value = token.kind == SQL_TOKEN_LEFT || sql_token_is(&token, "=");
    *ret_is_deferral = strcasecmp(name, "defer_foreign_keys") == 0;
    for (size_t i = 0; i < sizeof(writing) / sizeof(writing[0]); i++) {
        if (strcasecmp(name, writing[i]) == 0)
            return PRAGMA_WRITES;
    }
    if (!has_value || !engine_pragma_is_set(name))
        return PRAGMA_READS;
    for (size_t i = 0; i < sizeof(stored) / sizeof(stored[0]); i++) {
        if (strcasecmp(name, stored[i]) == 0)
            return PRAGMA_WRITES;
    }
    return PRAGMA_SETS;
}

static bool is_sql_writing(const char *text, size_t length)
{
    struct sql_statement_shape shape = sql_statement_inspect(text, length);
    bool is_deferral = false;
    if (shape.is_explain)
        return false;
    switch (shape.verb) {
    case SQL_VERB_INSERT:
    case SQL_VERB_REPLACE:
    case SQL_VERB_UPDATE:
    case SQL_VERB_DELETE:
    case SQL_VERB_CREATE:
    case SQL_VERB_DROP:
    case SQL_VERB_ALTER:
    case SQL_VERB_VACUUM:
    case SQL_VERB_ANALYZE:
    case SQL_VERB_REINDEX:
    case SQL_VERB_ATTACH:
    case SQL_VERB_DETACH:
        return true;
    case SQL_VERB_PRAGMA:
        return inspect_pragma(text, shape.end, &is_deferral) != PRAGMA_READS;
    case SQL_VERB_SELECT:
    case SQL_VERB_VALUES:
        return shape.has_catalog_names && has_word(text, shape.end, "pg_notify");
    default:
        return false;
    }
}

/* CREATE TEMP …, CREATE … temp.name: anything that may be temporary. */
static bool may_be_temporary(const char *text, const struct sql_statement_shape *shape)
{
    return shape->verb == SQL_VERB_CREATE && !shape->is_explain &&
           (shape->is_temp || has_word(text, shape->end, "temp"));
}

/* --- Commands ------------------------------------------------------------------------------------------------------ */

bool remote_is_local_portal(struct session *session, const char *name)
{
    struct sq_error ignored;
    struct portal *portal = NULL;
    return name != NULL && session_find_portal(session, name, &ignored, &portal) == SQ_OK && !portal->is_remote;
}

static struct prepared *find_statement(struct session *session, const char *name)
{
    return sq_map_get(&session->statements, name, strlen(name));
}

/* While the session is engaged: what is all the same done here. */
static enum remote_route route_engaged(struct session *session, const struct command *command)
{
    switch (command->kind) {
    case COMMAND_DEALLOCATE:
    case COMMAND_DISCARD:
        return ROUTE_HERE;
    case COMMAND_EXECUTE: /* a name that is no more here may be there */
        return find_statement(session, command->execute.name) == NULL ? ROUTE_HERE : ROUTE_PRIMARY;
    case COMMAND_PREPARE: /* a name that is taken is an error */
        return find_statement(session, command->prepare.name) != NULL ? ROUTE_HERE : ROUTE_PRIMARY;
    case COMMAND_SHOW:
        return command->name != NULL && strcmp(command->name, "sqld.position") == 0 ? ROUTE_HERE : ROUTE_PRIMARY;
    case COMMAND_FETCH:
    case COMMAND_MOVE:
        return remote_is_local_portal(session, command->fetch.name) ? ROUTE_HERE : ROUTE_PRIMARY;
    case COMMAND_CLOSE:
        return remote_is_local_portal(session, command->name) ? ROUTE_HERE : ROUTE_PRIMARY;
    default:
        return ROUTE_PRIMARY;
    }
}

/* EXECUTE goes where its statement belongs. */
static enum remote_route route_execute(struct session *session, const struct command *command)
{
    const struct prepared *prepared = find_statement(session, command->execute.name);
    return prepared == NULL ? ROUTE_HERE : remote_route_prepared(session, prepared);
}

static enum remote_route route_prepare(struct session *session, const struct remote_statement *statement)
{
    const struct command_span *span = &statement->command->prepare.statement;
    bool is_writing =
        span->start + span->length <= statement->length && is_sql_writing(statement->text + span->start, span->length);
    bool is_read_only = settings_bool(&session->settings, SETTING_TRANSACTION_READ_ONLY);
    bool is_taken = find_statement(session, statement->command->prepare.name) != NULL;
    return is_writing && !is_read_only && !is_taken ? ROUTE_PRIMARY : ROUTE_READ;
}

static enum remote_route route_copy(const struct remote_statement *statement)
{
    const struct command_copy *copy = &statement->command->copy;
    if (copy->direction == COPY_FROM)
        return ROUTE_PRIMARY;
    bool is_writing = copy->table == NULL && copy->query.start + copy->query.length <= statement->length &&
                      is_sql_writing(statement->text + copy->query.start, copy->query.length);
    return is_writing ? ROUTE_PRIMARY : ROUTE_READ;
}

static enum remote_route route_begin(struct session *session, const struct command_begin *begin)
{
    bool is_read_only = begin->modes.access == COMMAND_ACCESS_READ_ONLY ||
                        (begin->modes.access == COMMAND_ACCESS_UNSET &&
                         settings_bool(&session->settings, SETTING_TRANSACTION_READ_ONLY));
    bool is_eager = begin->lock == COMMAND_BEGIN_IMMEDIATE || begin->lock == COMMAND_BEGIN_EXCLUSIVE;
    bool moves = settings_int64(&session->settings, SETTING_SQLD_REPLICA_TRANSACTIONS) == SETTING_TRANSACTIONS_MOVE;
    return is_read_only || (moves && !is_eager) ? ROUTE_HERE : ROUTE_PRIMARY;
}

/* What is not engaged, by what the statement is alone. */
static enum remote_route route_free(struct session *session, const struct remote_statement *statement)
{
    static const struct command_begin plain = {0};
    const struct command *command = statement->command;
    switch (command->kind) {
    case COMMAND_SQL:
        return statement->is_writing || is_sql_writing(statement->text, statement->length) ? ROUTE_PRIMARY : ROUTE_READ;
    case COMMAND_BEGIN:
        return route_begin(session, &command->begin);
    case COMMAND_SAVEPOINT:
        return session->txn != SESSION_TXN_NONE ? ROUTE_HERE : route_begin(session, &plain);
    case COMMAND_LISTEN:
    case COMMAND_NOTIFY:
    case COMMAND_CREATE_DATABASE:
    case COMMAND_DROP_DATABASE:
    case COMMAND_RENAME_DATABASE:
    case COMMAND_ATTACH:
    case COMMAND_DETACH:
    case COMMAND_TRUNCATE:
        return ROUTE_PRIMARY;
    case COMMAND_UNLISTEN:
        return session->remote != NULL && session->remote->is_listening ? ROUTE_PRIMARY : ROUTE_HERE;
    case COMMAND_COPY:
        return route_copy(statement);
    case COMMAND_PREPARE:
        return route_prepare(session, statement);
    case COMMAND_EXECUTE:
        return route_execute(session, command);
    case COMMAND_DECLARE:
    case COMMAND_FETCH:
    case COMMAND_MOVE:
        return ROUTE_READ;
    default:
        return ROUTE_HERE;
    }
}

bool remote_may_follow(struct session *session, const struct command *command)
{
    /* EXECUTE may need its statement to be sent first, PREPARE a name to be closed. */
    return command->kind != COMMAND_EXECUTE && command->kind != COMMAND_PREPARE && command->kind != COMMAND_EMPTY &&
           route_engaged(session, command) == ROUTE_PRIMARY;
}

/* Whether the transaction's being READ ONLY has the say: SQLite's and our own words for that are said here. */
static bool heeds_read_only(enum command_kind kind)
{
    return kind == COMMAND_SQL || kind == COMMAND_TRUNCATE || kind == COMMAND_COPY || kind == COMMAND_EXECUTE;
}

enum remote_route remote_route(struct session *session, const struct remote_statement *statement)
{
    enum command_kind kind = statement->command->kind;
    bool is_replica = repl_node_role(session->host->node) == REPL_REPLICA;
    if (remote_is_engaged(session))
        return route_engaged(session, statement->command);
    if (session->txn == SESSION_TXN_FAILED)
        return ROUTE_HERE;
    enum remote_route route = route_free(session, statement);
    if (route != ROUTE_PRIMARY)
        return route;
    if (!is_replica || (heeds_read_only(kind) && settings_bool(&session->settings, SETTING_TRANSACTION_READ_ONLY)))
        return ROUTE_READ;
    /* A transaction that has begun here, and may write. */
    if (session->txn != SESSION_TXN_NONE)
        return heeds_read_only(kind) || kind == COMMAND_PREPARE || kind == COMMAND_NOTIFY || kind == COMMAND_LISTEN ||
                       kind == COMMAND_UNLISTEN
                   ? ROUTE_MOVE
                   : ROUTE_HERE;
    return ROUTE_PRIMARY;
}

enum remote_route remote_route_prepared(struct session *session, const struct prepared *prepared)
{
    struct remote_statement statement = {
        .command = &prepared->command,
        .text = prepared->source,
        .length = prepared->source_length,
        .is_writing = !prepared->is_remote && prepared->command.kind == COMMAND_SQL && prepared->sql != NULL &&
                      prepared->statement != NULL && !prepared->is_readonly,
    };
    if (prepared->command.kind == COMMAND_EXECUTE &&
        find_statement(session, prepared->command.execute.name) == prepared)
        return ROUTE_HERE; /* it names itself: an error */
    return remote_route(session, &statement);
}

/* --- What is left there -------------------------------------------------------------------------------------------- */

static void note_sql(struct remote *remote, const char *text, size_t length)
{
    struct sql_statement_shape shape = sql_statement_inspect(text, length);
    bool is_deferral = false;
    if (may_be_temporary(text, &shape))
        remote->state |= REMOTE_HAS_TEMPORARY;
    if (shape.verb != SQL_VERB_PRAGMA || shape.is_explain ||
        inspect_pragma(text, shape.end, &is_deferral) != PRAGMA_SETS)
        return;
    /* defer_foreign_keys ends with the transaction. */
    if (!is_deferral || remote->status == PGWIRE_TRANSACTION_IDLE)
        remote->state |= REMOTE_HAS_PRAGMA;
}

/* A statement that PREPARE has given a name at the primary has it here, too. */
static void note_prepared(struct remote *remote, const struct command_prepare *prepare, const char *text)
{
    struct session *session = remote->session;
    struct prepared *prepared = NULL;
    struct sq_error err;
    uint32_t *types = NULL;
    size_t length = prepare->statement.length;
    char *copy = sq_arena_copy(&session->message_arena, text + prepare->statement.start, length);
    sq_status status = copy != NULL ? cursors_parameter_types(prepare, &session->message_arena, &err, &types)
                                    : sq_fail(&err, SQ_NOMEM, "out of memory for a prepared statement");
    if (status == SQ_OK)
        status = prepared_new_remote(session, copy, length, types, prepare->types.count, &err, &prepared);
    if (status == SQ_OK)
        status = session_add_statement(session, prepare->name, prepared, &err);
    if (status == SQ_OK) {
        prepared->remote_generation = remote->is_replaying ? 0 : remote->generation;
        return;
    }
    prepared_unref(prepared);
    /* The client thinks that it has it. */
    err.is_fatal = true;
    session_fail(session, &err);
}

/* Portals that end with the transaction; those of the primary that are not bound yet come after it. `executing`: the one whose
 * statement it is (NULL: there is none) stays. */
static void close_portals(struct session *session, const struct portal *executing)
{
    struct sq_error ignored;
    sq_status status = SQ_OK;
    struct sq_map_cursor at = {0};
    struct portal *portal;
    while ((portal = sq_map_next(&session->portals, &at)) != NULL) {
        if (portal != executing && (portal->is_remote ? portal->is_bound : !portal->is_hold))
            status = session_close_portal(session, portal, &ignored);
    }
    portal = session->unnamed_portal;
    if (portal != NULL && portal != executing && portal->is_remote && portal->is_bound)
        status = session_close_portal(session, portal, &ignored);
    (void)status; /* they have only read */
}

/* In the midst of a pipeline the transaction is followed by its statements; ReadyForQuery has the last word. */
static void follow(struct session *session, const struct command *command, const struct portal *executing)
{
    bool is_end = command->kind == COMMAND_COMMIT || command->kind == COMMAND_ROLLBACK;
    if (is_end || session->txn == SESSION_TXN_NONE)
        close_portals(session, executing);
    if (is_end && session->is_txn_remote)
        remote_end_local(session);
    bool is_open = !is_end || command->is_chain;
    session->txn = is_open ? SESSION_TXN_EXPLICIT : SESSION_TXN_NONE;
    session->is_txn_remote = is_open;
}

void remote_note_done(struct remote *remote, const struct command *command, const char *text, size_t length,
                      const struct portal *executing)
{
    switch (command->kind) {
    case COMMAND_SQL:
        note_sql(remote, text, length);
        break;
    case COMMAND_PREPARE:
        note_prepared(remote, &command->prepare, text);
        break;
    case COMMAND_COMMIT:
    case COMMAND_ROLLBACK:
    case COMMAND_BEGIN:
        follow(remote->session, command, executing);
        break;
    case COMMAND_LISTEN:
        remote->is_listening = true;
        break;
    case COMMAND_UNLISTEN:
        if (command->name == NULL)
            remote->is_listening = false;
        break;
    case COMMAND_ATTACH:
        remote->state |= REMOTE_HAS_ATTACHED;
        break;
    case COMMAND_DECLARE:
        if (command->declare.is_hold)
            remote->state |= REMOTE_HAS_CURSOR;
        break;
    case COMMAND_CLOSE:
        if (command->name == NULL)
            remote->state &= ~(unsigned)REMOTE_HAS_CURSOR;
        break;
    default:
        break;
    }
}

sq_status remote_localize(struct session *session, const char *name, struct prepared **prepared, struct sq_error *err)
{
    const struct prepared *old = *prepared;
    struct prepared *compiled = NULL;
    size_t consumed = 0;
    sq_assert(old->is_remote);
    size_t count = old->parameter_count;
    uint32_t *types = sq_arena_calloc(&session->message_arena, count + 1, sizeof(*types));
    char *text = sq_arena_copy(&session->message_arena, old->source, old->source_length);
    if (types == NULL || text == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a prepared statement");
    for (size_t i = 0; i < count; i++)
        types[i] = old->is_parameter_declared[i] ? old->parameter_oids[i] : 0;
    SQ_TRY(prepared_new(session, text, old->source_length, types, count, true, err, &compiled, &consumed));
    sq_status status = prepared_take_told(compiled, old, err);
    if (status != SQ_OK) {
        prepared_unref(compiled);
        return status;
    }
    compiled->remote_generation = old->remote_generation;
    if (name[0] == '\0') {
        prepared_unref(session->unnamed_statement);
        session->unnamed_statement = compiled;
    } else {
        void *former = NULL;
        if (sq_map_put(&session->statements, name, strlen(name), compiled, &former) != SQ_OK) {
            prepared_unref(compiled);
            return sq_fail(err, SQ_NOMEM, "out of memory for a prepared statement");
        }
        prepared_unref(former);
    }
    *prepared = compiled;
    return SQ_OK;
}
