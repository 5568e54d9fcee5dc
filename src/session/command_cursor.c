/* session/command_cursor.c: cursors and prepared statements as SQL statements (PostgreSQL manual, pages "DECLARE",
 * "FETCH", "MOVE", "CLOSE", "PREPARE", "EXECUTE", "DEALLOCATE"). The SQL inside stays a span of the text: SQLite reads
 * it. */
#include <string.h>

#include "base/arena.h"
#include "session/command_internal.h"

/* DECLARE name [BINARY] [ASENSITIVE | INSENSITIVE] [[NO] SCROLL] CURSOR [{WITH | WITHOUT} HOLD] FOR query */
sq_status command_parse_declare(struct command_parser *parser)
{
    struct command_declare declare = {0};
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &declare.name));
    while (!parser_accept(parser, "CURSOR")) {
        if (parser_accept(parser, "BINARY")) {
            declare.is_binary = true;
        } else if (parser_accept(parser, "INSENSITIVE")) {
            declare.is_insensitive = true;
        } else if (parser_accept(parser, "SCROLL")) {
            declare.scroll = COMMAND_SCROLL_YES;
        } else if (parser_accept(parser, "NO")) {
            SQ_TRY(parser_expect(parser, "SCROLL"));
            declare.scroll = COMMAND_SCROLL_NO;
        } else {
            SQ_TRY(parser_expect(parser, "ASENSITIVE"));
        }
    }
    declare.is_hold = parser_accept(parser, "WITH");
    if (declare.is_hold || parser_accept(parser, "WITHOUT"))
        SQ_TRY(parser_expect(parser, "HOLD"));
    SQ_TRY(parser_expect(parser, "FOR"));
    SQ_TRY(parser_span_rest(parser, &declare.query));
    parser->command->kind = COMMAND_DECLARE;
    parser->command->declare = declare;
    return SQ_OK;
}

static bool is_count(const struct command_parser *parser)
{
    return parser->token.kind == SQL_TOKEN_NUMBER || parser_is(parser, "-") || parser_is(parser, "+");
}

/* [count | ALL], behind nothing, FORWARD or BACKWARD; without either, 1. */
static sq_status parse_fetch_count(struct command_parser *parser, struct command_fetch *fetch)
{
    struct sql_token next = parser_peek(parser);
    fetch->count = 1;
    if (parser_is(parser, "ALL") && !token_is_end(&next)) {
        parser_advance(parser);
        fetch->count = COMMAND_FETCH_ALL;
    } else if (is_count(parser)) {
        SQ_TRY(parser_integer(parser, &fetch->count));
        if (fetch->count < 0) {
            fetch->direction = fetch->direction == COMMAND_FORWARD ? COMMAND_BACKWARD : COMMAND_FORWARD;
            fetch->count = -fetch->count;
        }
    }
    return SQ_OK;
}

struct fetch_word {
    const char *word;
    enum command_direction direction;
    int64_t count;
    bool takes_count;
};

/* A direction's word is the cursor's name when nothing follows it: FETCH next. */
static sq_status parse_direction(struct command_parser *parser, struct command_fetch *fetch)
{
    static const struct fetch_word words[] = {
        {"NEXT", COMMAND_FORWARD, 1, false},     {"PRIOR", COMMAND_BACKWARD, 1, false},
        {"FIRST", COMMAND_ABSOLUTE, 1, false},   {"LAST", COMMAND_ABSOLUTE, -1, false},
        {"ABSOLUTE", COMMAND_ABSOLUTE, 0, true}, {"RELATIVE", COMMAND_RELATIVE, 0, true},
        {"FORWARD", COMMAND_FORWARD, 0, true},   {"BACKWARD", COMMAND_BACKWARD, 0, true},
    };
    struct sql_token next = parser_peek(parser);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (token_is_end(&next) || !parser_accept(parser, words[i].word))
            continue;
        fetch->direction = words[i].direction;
        fetch->count = words[i].count;
        if (!words[i].takes_count)
            return SQ_OK;
        bool is_place = fetch->direction == COMMAND_ABSOLUTE || fetch->direction == COMMAND_RELATIVE;
        return is_place ? parser_integer(parser, &fetch->count) : parse_fetch_count(parser, fetch);
    }
    return parse_fetch_count(parser, fetch);
}

static sq_status parse_fetch(struct command_parser *parser, enum command_kind kind)
{
    struct command_fetch fetch = {0};
    SQ_TRY(parse_direction(parser, &fetch));
    if (!parser_accept(parser, "FROM"))
        (void)parser_accept(parser, "IN");
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &fetch.name));
    parser->command->kind = kind;
    parser->command->fetch = fetch;
    return SQ_OK;
}

sq_status command_parse_fetch(struct command_parser *parser)
{
    return parse_fetch(parser, COMMAND_FETCH);
}

sq_status command_parse_move(struct command_parser *parser)
{
    return parse_fetch(parser, COMMAND_MOVE);
}

/* {ALL | name} */
static sq_status parse_name_or_all(struct command_parser *parser, enum command_kind kind)
{
    parser->command->kind = kind;
    parser->command->name = NULL;
    if (parser_accept(parser, "ALL"))
        return SQ_OK;
    return parser_name(parser, COMMAND_FOLD_LOWER, &parser->command->name);
}

sq_status command_parse_close(struct command_parser *parser)
{
    return parse_name_or_all(parser, COMMAND_CLOSE);
}

sq_status command_parse_deallocate(struct command_parser *parser)
{
    struct sql_token next = parser_peek(parser);
    if (!token_is_end(&next))
        SQ_TRY(parser_expect(parser, "PREPARE"));
    return parse_name_or_all(parser, COMMAND_DEALLOCATE);
}

/* A type's name up to the `,` or `)` outside its own parentheses, as one text in lower case: a space stands between two
 * words and before a word behind `)`, as in `timestamp(3) with time zone`. */
static sq_status parse_type(struct command_parser *parser, const char **ret_type)
{
    size_t start = parser->token.start, depth = 0, used = 0;
    enum sql_token_kind previous = SQL_TOKEN_END;
    struct command_parser ahead = *parser;
    for (; !parser_is_end(&ahead); parser_advance(&ahead)) {
        enum sql_token_kind kind = ahead.token.kind;
        if (depth == 0 && (kind == SQL_TOKEN_COMMA || kind == SQL_TOKEN_RIGHT))
            break;
        depth += kind == SQL_TOKEN_LEFT;
        depth -= kind == SQL_TOKEN_RIGHT;
    }
    /* At most one space more for each token. */
    char *type = sq_arena_alloc(parser->arena, 2 * (ahead.token.start - start) + 1);
    if (type == NULL)
        return parser_nomem(parser);
    while (parser->token.start < ahead.token.start) {
        const struct sql_token *token = &parser->token;
        bool is_word = token->kind == SQL_TOKEN_WORD;
        if (token->kind == SQL_TOKEN_ILLEGAL || (used == 0 && !is_word && token->kind != SQL_TOKEN_QUOTED))
            return parser_fail_syntax(parser);
        if (is_word && (previous == SQL_TOKEN_WORD || previous == SQL_TOKEN_RIGHT))
            type[used++] = ' ';
        for (size_t i = 0; i < token->length; i++) {
            char c = token->text[i];
            type[used++] = is_word && c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        }
        previous = token->kind;
        parser_advance(parser);
    }
    if (used == 0)
        return parser_fail_syntax(parser);
    type[used] = '\0';
    *ret_type = type;
    return SQ_OK;
}

/* PREPARE name [(type [, …])] AS statement; PREPARE TRANSACTION 'id' is another command. */
sq_status command_parse_prepare(struct command_parser *parser)
{
    struct command_prepare prepare = {0};
    if (parser_is(parser, "TRANSACTION") && parser_peek(parser).kind == SQL_TOKEN_STRING)
        return command_set_unsupported(parser, "PREPARE", "TRANSACTION");
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &prepare.name));
    if (parser_accept_kind(parser, SQL_TOKEN_LEFT)) {
        struct command_list types = {0};
        do {
            const char *type = NULL;
            SQ_TRY(parse_type(parser, &type));
            SQ_TRY(parser_list_add_name(parser, &types, type));
        } while (parser_accept_kind(parser, SQL_TOKEN_COMMA));
        SQ_TRY(parser_expect_kind(parser, SQL_TOKEN_RIGHT));
        prepare.types = command_list_names(&types);
    }
    SQ_TRY(parser_expect(parser, "AS"));
    SQ_TRY(parser_span_rest(parser, &prepare.statement));
    parser->command->kind = COMMAND_PREPARE;
    parser->command->prepare = prepare;
    return SQ_OK;
}

/* EXECUTE name [(argument [, …])] */
sq_status command_parse_execute(struct command_parser *parser)
{
    struct command_execute execute = {0};
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &execute.name));
    if (parser->token.kind == SQL_TOKEN_LEFT) {
        struct command_list arguments = {0};
        do {
            struct command_span span;
            void *item;
            parser_advance(parser);
            SQ_TRY(parser_span_in_parentheses(parser, true, &span));
            SQ_TRY(parser_list_add(parser, &arguments, sizeof(span), &item));
            memcpy(item, &span, sizeof(span));
        } while (parser->token.kind == SQL_TOKEN_COMMA);
        SQ_TRY(parser_expect_kind(parser, SQL_TOKEN_RIGHT));
        execute.arguments = arguments.items;
        execute.argument_count = arguments.count;
    }
    parser->command->kind = COMMAND_EXECUTE;
    parser->command->execute = execute;
    return SQ_OK;
}
