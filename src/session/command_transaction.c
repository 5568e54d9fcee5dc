/* session/command_transaction.c: BEGIN, COMMIT, ROLLBACK and savepoints, in PostgreSQL's form (manual, pages "BEGIN",
 * "COMMIT", "ROLLBACK", "SAVEPOINT") and in SQLite's (sqlite.org/lang_transaction.html, lang_savepoint.html), which has
 * words of its own behind BEGIN and allows a name behind TRANSACTION that it ignores. */
#include "session/command_internal.h"

static sq_status parse_isolation(struct command_parser *parser, enum command_isolation *ret_isolation)
{
    SQ_TRY(parser_expect(parser, "LEVEL"));
    if (parser_accept(parser, "SERIALIZABLE")) {
        *ret_isolation = COMMAND_ISOLATION_SERIALIZABLE;
    } else if (parser_accept(parser, "REPEATABLE")) {
        SQ_TRY(parser_expect(parser, "READ"));
        *ret_isolation = COMMAND_ISOLATION_REPEATABLE_READ;
    } else {
        SQ_TRY(parser_expect(parser, "READ"));
        bool is_committed = parser_accept(parser, "COMMITTED");
        if (!is_committed)
            SQ_TRY(parser_expect(parser, "UNCOMMITTED"));
        *ret_isolation = is_committed ? COMMAND_ISOLATION_READ_COMMITTED : COMMAND_ISOLATION_READ_UNCOMMITTED;
    }
    return SQ_OK;
}

/* Modes up to the end; commas between them are optional. A mode given twice: the last counts. */
sq_status command_parse_modes(struct command_parser *parser, struct command_transaction_modes *ret_modes)
{
    while (!parser_is_end(parser)) {
        if (parser_accept(parser, "ISOLATION")) {
            SQ_TRY(parse_isolation(parser, &ret_modes->isolation));
        } else if (parser_accept(parser, "READ")) {
            bool is_only = parser_accept(parser, "ONLY");
            if (!is_only)
                SQ_TRY(parser_expect(parser, "WRITE"));
            ret_modes->access = is_only ? COMMAND_ACCESS_READ_ONLY : COMMAND_ACCESS_READ_WRITE;
        } else {
            bool is_not = parser_accept(parser, "NOT");
            SQ_TRY(parser_expect(parser, "DEFERRABLE"));
            ret_modes->deferrable = is_not ? COMMAND_DEFERRABLE_OFF : COMMAND_DEFERRABLE_ON;
        }
        if (parser_accept_kind(parser, SQL_TOKEN_COMMA) && parser_is_end(parser))
            return parser_fail_syntax(parser);
    }
    return SQ_OK;
}

static bool is_transaction_clause(const struct command_parser *parser)
{
    return parser_is(parser, "ISOLATION") || parser_is(parser, "READ") || parser_is(parser, "NOT") ||
           parser_is(parser, "DEFERRABLE") || parser_is(parser, "AND") || parser_is(parser, "TO");
}

/* [WORK | TRANSACTION [name]] */
static sq_status skip_transaction_word(struct command_parser *parser)
{
    const char *ignored;
    if (parser_accept(parser, "WORK") || !parser_accept(parser, "TRANSACTION"))
        return SQ_OK;
    enum sql_token_kind kind = parser->token.kind;
    bool is_name = kind == SQL_TOKEN_WORD || kind == SQL_TOKEN_QUOTED || kind == SQL_TOKEN_STRING;
    if (!is_name || is_transaction_clause(parser))
        return SQ_OK;
    return parser_name_or_string(parser, COMMAND_FOLD_NONE, &ignored);
}

sq_status command_parse_begin(struct command_parser *parser)
{
    struct command_begin begin = {0};
    if (parser_accept(parser, "DEFERRED"))
        begin.lock = COMMAND_BEGIN_DEFERRED;
    else if (parser_accept(parser, "IMMEDIATE"))
        begin.lock = COMMAND_BEGIN_IMMEDIATE;
    else if (parser_accept(parser, "EXCLUSIVE"))
        begin.lock = COMMAND_BEGIN_EXCLUSIVE;
    SQ_TRY(skip_transaction_word(parser));
    SQ_TRY(command_parse_modes(parser, &begin.modes));
    parser->command->kind = COMMAND_BEGIN;
    parser->command->begin = begin;
    return SQ_OK;
}

sq_status command_parse_start(struct command_parser *parser)
{
    struct command_begin begin = {.is_start = true};
    SQ_TRY(parser_expect(parser, "TRANSACTION"));
    SQ_TRY(command_parse_modes(parser, &begin.modes));
    parser->command->kind = COMMAND_BEGIN;
    parser->command->begin = begin;
    return SQ_OK;
}

/* [AND [NO] CHAIN] */
static sq_status parse_chain(struct command_parser *parser)
{
    parser->command->is_chain = false;
    if (!parser_accept(parser, "AND"))
        return SQ_OK;
    parser->command->is_chain = !parser_accept(parser, "NO");
    return parser_expect(parser, "CHAIN");
}

sq_status command_parse_commit(struct command_parser *parser)
{
    if (parser_is(parser, "PREPARED"))
        return command_set_unsupported(parser, "COMMIT", "PREPARED");
    SQ_TRY(skip_transaction_word(parser));
    parser->command->kind = COMMAND_COMMIT;
    return parse_chain(parser);
}

sq_status command_parse_abort(struct command_parser *parser)
{
    SQ_TRY(skip_transaction_word(parser));
    parser->command->kind = COMMAND_ROLLBACK;
    return parse_chain(parser);
}

sq_status command_parse_rollback(struct command_parser *parser)
{
    if (parser_is(parser, "PREPARED"))
        return command_set_unsupported(parser, "ROLLBACK", "PREPARED");
    SQ_TRY(skip_transaction_word(parser));
    if (!parser_accept(parser, "TO")) {
        parser->command->kind = COMMAND_ROLLBACK;
        return parse_chain(parser);
    }
    parser->command->kind = COMMAND_ROLLBACK_TO;
    struct sql_token next = parser_peek(parser);
    if (!token_is_end(&next))
        SQ_TRY(parser_expect(parser, "SAVEPOINT"));
    return parser_name_or_string(parser, COMMAND_FOLD_NONE, &parser->command->name);
}

sq_status command_parse_savepoint(struct command_parser *parser)
{
    parser->command->kind = COMMAND_SAVEPOINT;
    return parser_name_or_string(parser, COMMAND_FOLD_NONE, &parser->command->name);
}

sq_status command_parse_release(struct command_parser *parser)
{
    parser->command->kind = COMMAND_RELEASE;
    struct sql_token next = parser_peek(parser);
    if (!token_is_end(&next))
        SQ_TRY(parser_expect(parser, "SAVEPOINT"));
    return parser_name_or_string(parser, COMMAND_FOLD_NONE, &parser->command->name);
}
