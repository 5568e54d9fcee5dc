/* session/command.c: which words are ours, and the commands that need but a few lines. See command.h.
 *
 *   command.c              the table of first words; LISTEN, NOTIFY, DISCARD, ATTACH, TRUNCATE; tags
 *   command_parser.c       tokens, names, values, lists, spans
 *   command_set.c          SET, SHOW, RESET
 *   command_transaction.c  BEGIN, COMMIT, ROLLBACK, savepoints
 *   command_cursor.c       DECLARE, FETCH, MOVE, CLOSE, PREPARE, EXECUTE, DEALLOCATE
 *   command_copy.c         COPY
 *   command_object.c       CREATE, DROP, ALTER */
#include "session/command.h"

#include <string.h>

#include "base/arena.h"
#include "base/utf8.h"
#include "session/command_internal.h"

struct command_word {
    const char *word;                                  /* in capitals */
    sq_status (*parse)(struct command_parser *parser); /* NULL: not supported */
    const char *unsupported;                           /* then the command's name */
    unsigned flags;                                    /* enum sql_lexer_flag: by whose rules the rest is cut */
};

/* LISTEN's and NOTIFY's channel. */
static sq_status parse_channel(struct command_parser *parser, const char **ret_channel)
{
    struct sql_token place = parser->token;
    const char *channel;
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &channel));
    if (strlen(channel) > COMMAND_CHANNEL_BYTES_MAX)
        return parser_place(parser, &place, sq_fail_sql(parser->err, SQ_SQL, "22023", "channel name too long"));
    *ret_channel = channel;
    return SQ_OK;
}

static sq_status parse_listen(struct command_parser *parser)
{
    parser->command->kind = COMMAND_LISTEN;
    return parse_channel(parser, &parser->command->name);
}

static sq_status parse_unlisten(struct command_parser *parser)
{
    parser->command->kind = COMMAND_UNLISTEN;
    parser->command->name = NULL;
    return parser_accept(parser, "*") ? SQ_OK : parse_channel(parser, &parser->command->name);
}

static sq_status parse_notify(struct command_parser *parser)
{
    struct command_notify notify = {.payload = ""};
    SQ_TRY(parse_channel(parser, &notify.channel));
    if (parser_accept_kind(parser, SQL_TOKEN_COMMA)) {
        struct sql_token place = parser->token;
        SQ_TRY(parser_string(parser, &notify.payload));
        if (strlen(notify.payload) > COMMAND_PAYLOAD_BYTES_MAX)
            return parser_place(parser, &place, sq_fail_sql(parser->err, SQ_SQL, "22023", "payload string too long"));
    }
    parser->command->kind = COMMAND_NOTIFY;
    parser->command->notify = notify;
    return SQ_OK;
}

static sq_status parse_discard(struct command_parser *parser)
{
    parser->command->kind = COMMAND_DISCARD;
    if (parser_accept(parser, "ALL"))
        parser->command->discard = COMMAND_DISCARD_ALL;
    else if (parser_accept(parser, "PLANS"))
        parser->command->discard = COMMAND_DISCARD_PLANS;
    else if (parser_accept(parser, "SEQUENCES"))
        parser->command->discard = COMMAND_DISCARD_SEQUENCES;
    else if (parser_accept(parser, "TEMP") || parser_accept(parser, "TEMPORARY"))
        parser->command->discard = COMMAND_DISCARD_TEMP;
    else
        return parser_fail_syntax(parser);
    return SQ_OK;
}

/* ATTACH [DATABASE] name AS alias (sqlite.org/lang_attach.html). SQLite takes any expression for the name; the server
 * must know the name before, so here it is a literal. */
static sq_status parse_attach(struct command_parser *parser)
{
    struct command_attach attach = {0};
    (void)parser_accept(parser, "DATABASE");
    struct sql_token place = parser->token;
    enum sql_token_kind kind = place.kind;
    bool is_name = kind == SQL_TOKEN_STRING || kind == SQL_TOKEN_WORD || kind == SQL_TOKEN_QUOTED;
    if (is_name)
        SQ_TRY(parser_name_or_string(parser, COMMAND_FOLD_NONE, &attach.database));
    if (!parser_is_end(parser) && (!is_name || !parser_is(parser, "AS")))
        return parser_place(parser, &place,
                            sq_fail_sql(parser->err, SQ_SQL, "0A000",
                                        "ATTACH takes the name of a database of this server, not an expression"));
    SQ_TRY(parser_expect(parser, "AS"));
    SQ_TRY(parser_name_or_string(parser, COMMAND_FOLD_NONE, &attach.alias));
    parser->command->kind = COMMAND_ATTACH;
    parser->command->attach = attach;
    return SQ_OK;
}

static sq_status parse_detach(struct command_parser *parser)
{
    struct sql_token next = parser_peek(parser);
    if (!token_is_end(&next))
        SQ_TRY(parser_expect(parser, "DATABASE"));
    parser->command->kind = COMMAND_DETACH;
    return parser_name_or_string(parser, COMMAND_FOLD_NONE, &parser->command->name);
}

/* TRUNCATE [TABLE] [ONLY] name [*] [, …] [RESTART IDENTITY | CONTINUE IDENTITY] [CASCADE | RESTRICT] */
static sq_status parse_truncate(struct command_parser *parser)
{
    struct command_truncate truncate = {0};
    struct command_list tables = {0};
    (void)parser_accept(parser, "TABLE");
    do {
        struct command_table table;
        void *item;
        (void)parser_accept(parser, "ONLY");
        SQ_TRY(parser_table(parser, &table));
        (void)parser_accept(parser, "*");
        SQ_TRY(parser_list_add(parser, &tables, sizeof(table), &item));
        memcpy(item, &table, sizeof(table));
    } while (parser_accept_kind(parser, SQL_TOKEN_COMMA));
    truncate.is_restart_identity = parser_accept(parser, "RESTART");
    if (truncate.is_restart_identity || parser_accept(parser, "CONTINUE"))
        SQ_TRY(parser_expect(parser, "IDENTITY"));
    truncate.is_cascade = parser_accept(parser, "CASCADE");
    if (!truncate.is_cascade)
        (void)parser_accept(parser, "RESTRICT");
    truncate.tables = tables.items;
    truncate.table_count = tables.count;
    parser->command->kind = COMMAND_TRUNCATE;
    parser->command->truncate = truncate;
    return SQ_OK;
}

#define POSTGRES SQL_LEXER_POSTGRES
#define SQLITE SQL_LEXER_SQLITE

static const struct command_word command_words[] = {
    {"ABORT", command_parse_abort, NULL, SQLITE},
    {"ALTER", command_parse_alter, NULL, POSTGRES},
    {"ATTACH", parse_attach, NULL, SQLITE},
    {"BEGIN", command_parse_begin, NULL, SQLITE},
    {"CALL", NULL, "CALL", POSTGRES},
    {"CHECKPOINT", NULL, "CHECKPOINT", POSTGRES},
    {"CLOSE", command_parse_close, NULL, POSTGRES},
    {"CLUSTER", NULL, "CLUSTER", POSTGRES},
    {"COMMENT", NULL, "COMMENT", POSTGRES},
    {"COMMIT", command_parse_commit, NULL, SQLITE},
    {"COPY", command_parse_copy, NULL, SQLITE},
    {"CREATE", command_parse_create, NULL, POSTGRES},
    {"DEALLOCATE", command_parse_deallocate, NULL, POSTGRES},
    {"DECLARE", command_parse_declare, NULL, POSTGRES},
    {"DETACH", parse_detach, NULL, SQLITE},
    {"DISCARD", parse_discard, NULL, POSTGRES},
    {"DO", NULL, "DO", POSTGRES},
    {"DROP", command_parse_drop, NULL, POSTGRES},
    {"END", command_parse_commit, NULL, SQLITE},
    {"EXECUTE", command_parse_execute, NULL, POSTGRES},
    {"FETCH", command_parse_fetch, NULL, POSTGRES},
    {"GRANT", NULL, "GRANT", POSTGRES},
    {"IMPORT", NULL, "IMPORT FOREIGN SCHEMA", POSTGRES},
    {"LISTEN", parse_listen, NULL, POSTGRES},
    {"LOAD", NULL, "LOAD", POSTGRES},
    {"LOCK", NULL, "LOCK TABLE", POSTGRES},
    {"MERGE", NULL, "MERGE", POSTGRES},
    {"MOVE", command_parse_move, NULL, POSTGRES},
    {"NOTIFY", parse_notify, NULL, POSTGRES},
    {"PREPARE", command_parse_prepare, NULL, POSTGRES},
    {"REASSIGN", NULL, "REASSIGN OWNED", POSTGRES},
    {"REFRESH", NULL, "REFRESH MATERIALIZED VIEW", POSTGRES},
    {"RELEASE", command_parse_release, NULL, SQLITE},
    {"RESET", command_parse_reset, NULL, POSTGRES},
    {"REVOKE", NULL, "REVOKE", POSTGRES},
    {"ROLLBACK", command_parse_rollback, NULL, SQLITE},
    {"SAVEPOINT", command_parse_savepoint, NULL, SQLITE},
    {"SECURITY", NULL, "SECURITY LABEL", POSTGRES},
    {"SET", command_parse_set, NULL, POSTGRES},
    {"SHOW", command_parse_show, NULL, POSTGRES},
    {"START", command_parse_start, NULL, POSTGRES},
    {"TRUNCATE", parse_truncate, NULL, SQLITE},
    {"UNLISTEN", parse_unlisten, NULL, POSTGRES},
};

static const struct command_word *find_word(const struct sql_token *token)
{
    if (token->kind != SQL_TOKEN_WORD)
        return NULL;
    char first = (char)(token->text[0] & ~0x20);
    for (size_t i = 0; i < sizeof(command_words) / sizeof(command_words[0]); i++) {
        if (command_words[i].word[0] == first && sql_token_is(token, command_words[i].word))
            return &command_words[i];
    }
    return NULL;
}

/* The rest of a statement whose first word is in the table, and its end. */
static sq_status parse_command(struct command_parser *parser, const struct command_word *word, size_t *ret_consumed)
{
    parser->lexer.flags = word->flags;
    parser_advance(parser);
    if (word->parse != NULL)
        SQ_TRY(word->parse(parser));
    else
        SQ_TRY(command_set_unsupported(parser, word->unsupported, NULL));
    if (parser->command->kind == COMMAND_SQL)
        return SQ_OK;
    if (!parser_is_end(parser))
        return parser_fail_syntax(parser);
    *ret_consumed = parser->token.start + parser->token.length;
    return SQ_OK;
}

sq_status command_parse(const char *text, size_t length, struct sq_arena *arena, struct command *ret,
                        size_t *ret_consumed, struct sq_error *err)
{
    sq_assert(arena != NULL && ret != NULL && ret_consumed != NULL);
    struct command command = {.kind = COMMAND_SQL};
    struct command_parser parser = {.arena = arena, .err = err, .command = &command};
    size_t consumed = 0;

    sql_lexer_init(&parser.lexer, text, length, SQL_LEXER_SQLITE);
    do {
        parser_advance(&parser);
    } while (parser.token.kind == SQL_TOKEN_SEMICOLON);
    const struct command_word *word = find_word(&parser.token);
    if (word != NULL) {
        SQ_TRY(parse_command(&parser, word, &consumed));
    } else if (parser.token.kind == SQL_TOKEN_END) {
        command.kind = COMMAND_EMPTY;
        consumed = length;
    }
    sq_assert(consumed <= length && (command.kind != COMMAND_SQL || consumed == 0));
    *ret = command;
    *ret_consumed = consumed;
    return SQ_OK;
}

const char *command_tag(const struct command *command)
{
    static const char *const tags[COMMAND_KIND_COUNT] = {
        [COMMAND_SET] = "SET",
        [COMMAND_SET_TRANSACTION] = "SET",
        [COMMAND_SET_CONSTRAINTS] = "SET CONSTRAINTS",
        [COMMAND_SHOW] = "SHOW",
        [COMMAND_RESET] = "RESET",
        [COMMAND_COMMIT] = "COMMIT",
        [COMMAND_ROLLBACK] = "ROLLBACK",
        [COMMAND_SAVEPOINT] = "SAVEPOINT",
        [COMMAND_RELEASE] = "RELEASE",
        [COMMAND_ROLLBACK_TO] = "ROLLBACK",
        [COMMAND_LISTEN] = "LISTEN",
        [COMMAND_UNLISTEN] = "UNLISTEN",
        [COMMAND_NOTIFY] = "NOTIFY",
        [COMMAND_CREATE_DATABASE] = "CREATE DATABASE",
        [COMMAND_DROP_DATABASE] = "DROP DATABASE",
        [COMMAND_RENAME_DATABASE] = "ALTER DATABASE",
        [COMMAND_DECLARE] = "DECLARE CURSOR",
        [COMMAND_FETCH] = "FETCH",
        [COMMAND_MOVE] = "MOVE",
        [COMMAND_PREPARE] = "PREPARE",
        [COMMAND_COPY] = "COPY",
        [COMMAND_ATTACH] = "ATTACH",
        [COMMAND_DETACH] = "DETACH",
        [COMMAND_TRUNCATE] = "TRUNCATE TABLE",
    };
    static const char *const discards[] = {"DISCARD ALL", "DISCARD PLANS", "DISCARD TEMP", "DISCARD SEQUENCES"};

    sq_assert(command->kind < COMMAND_KIND_COUNT);
    switch (command->kind) {
    case COMMAND_SET_ROLE:
    case COMMAND_SET_SESSION_AUTHORIZATION:
        return command->set_role.is_reset ? "RESET" : "SET";
    case COMMAND_DISCARD:
        return discards[command->discard];
    case COMMAND_BEGIN:
        return command->begin.is_start ? "START TRANSACTION" : "BEGIN";
    case COMMAND_DEALLOCATE:
        return command->name == NULL ? "DEALLOCATE ALL" : "DEALLOCATE";
    case COMMAND_CLOSE:
        return command->name == NULL ? "CLOSE CURSOR ALL" : "CLOSE CURSOR";
    default:
        return tags[command->kind] != NULL ? tags[command->kind] : "";
    }
}
