/* session/command_parser.c: the shared part of the command parser: tokens, names, values, lists, spans of SQL. */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/utf8.h"
#include "session/command_internal.h"

enum { ERROR_TOKEN_BYTES_MAX = 200 /* of the token that a message shows */ };

void parser_advance(struct command_parser *parser)
{
    sql_lexer_next(&parser->lexer, &parser->token);
}

struct sql_token parser_peek(const struct command_parser *parser)
{
    struct sql_lexer lexer = parser->lexer;
    struct sql_token token;
    sql_lexer_next(&lexer, &token);
    return token;
}

void parser_set_flags(struct command_parser *parser, unsigned flags)
{
    parser->lexer.at = parser->token.start;
    parser->lexer.flags = flags;
    parser_advance(parser);
}

bool parser_is(const struct command_parser *parser, const char *word)
{
    return sql_token_is(&parser->token, word);
}

bool parser_accept(struct command_parser *parser, const char *word)
{
    if (!parser_is(parser, word))
        return false;
    parser_advance(parser);
    return true;
}

bool parser_accept_kind(struct command_parser *parser, enum sql_token_kind kind)
{
    sq_assert(kind != SQL_TOKEN_END);
    if (parser->token.kind != kind)
        return false;
    parser_advance(parser);
    return true;
}

sq_status parser_expect(struct command_parser *parser, const char *word)
{
    return parser_accept(parser, word) ? SQ_OK : parser_fail_syntax(parser);
}

sq_status parser_expect_kind(struct command_parser *parser, enum sql_token_kind kind)
{
    return parser_accept_kind(parser, kind) ? SQ_OK : parser_fail_syntax(parser);
}

bool token_is_end(const struct sql_token *token)
{
    return token->kind == SQL_TOKEN_END || token->kind == SQL_TOKEN_SEMICOLON;
}

bool parser_is_end(const struct command_parser *parser)
{
    return token_is_end(&parser->token);
}

sq_status parser_place(const struct command_parser *parser, const struct sql_token *token, sq_status status)
{
    sq_assert(status != SQ_OK && token->start <= parser->lexer.length);
    if (parser->err != NULL)
        parser->err->position = (int)sq_utf8_count(parser->lexer.text, token->start) + 1;
    return status;
}

sq_status parser_fail_syntax(struct command_parser *parser)
{
    const struct sql_token *token = &parser->token;
    size_t shown = token->length < ERROR_TOKEN_BYTES_MAX ? token->length : ERROR_TOKEN_BYTES_MAX;
    shown = sq_utf8_cut(token->text, shown);
    sq_status status;
    if (token->kind == SQL_TOKEN_END)
        status = sq_fail_sql(parser->err, SQ_SQL, "42601", "syntax error at end of input");
    else
        status = sq_fail_sql(parser->err, SQ_SQL, "42601", "syntax error at or near \"%.*s\"", (int)shown, token->text);
    return parser_place(parser, token, status);
}

sq_status parser_nomem(struct command_parser *parser)
{
    return sq_fail(parser->err, SQ_NOMEM, "out of memory while reading a command");
}

static char fold_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* The token's text without quotes, refused if it cannot be a C string of UTF-8 (E'\0', E'\xff'). */
static sq_status take_text(struct command_parser *parser, enum command_fold fold, const char **ret_text)
{
    size_t length = 0;
    char *text = sql_token_unquote(&parser->token, parser->arena, &length);
    if (text == NULL)
        return parser_nomem(parser);
    if (memchr(text, '\0', length) != NULL || !sq_utf8_is_valid(text, length))
        return parser_place(parser, &parser->token,
                            sq_fail_sql(parser->err, SQ_SQL, "22021", "invalid byte sequence for encoding \"UTF8\""));
    /* Only ASCII is folded, as PostgreSQL does in a database whose encoding is UTF-8. */
    for (size_t i = 0; fold == COMMAND_FOLD_LOWER && parser->token.kind == SQL_TOKEN_WORD && i < length; i++)
        text[i] = fold_lower(text[i]);
    *ret_text = text;
    parser_advance(parser);
    return SQ_OK;
}

sq_status parser_name(struct command_parser *parser, enum command_fold fold, const char **ret_name)
{
    enum sql_token_kind kind = parser->token.kind;
    if (kind != SQL_TOKEN_WORD && kind != SQL_TOKEN_QUOTED)
        return parser_fail_syntax(parser);
    if (kind == SQL_TOKEN_QUOTED && parser->token.length == 2)
        return parser_place(parser, &parser->token,
                            sq_fail_sql(parser->err, SQ_SQL, "42601", "zero-length delimited identifier"));
    return take_text(parser, fold, ret_name);
}

sq_status parser_string(struct command_parser *parser, const char **ret_text)
{
    if (parser->token.kind != SQL_TOKEN_STRING)
        return parser_fail_syntax(parser);
    return take_text(parser, COMMAND_FOLD_NONE, ret_text);
}

sq_status parser_name_or_string(struct command_parser *parser, enum command_fold fold, const char **ret_name)
{
    if (parser->token.kind == SQL_TOKEN_STRING)
        return parser_string(parser, ret_name);
    return parser_name(parser, fold, ret_name);
}

sq_status parser_table(struct command_parser *parser, struct command_table *ret_table)
{
    struct command_table table = {0};
    SQ_TRY(parser_name(parser, COMMAND_FOLD_NONE, &table.name));
    if (parser_accept_kind(parser, SQL_TOKEN_DOT)) {
        table.schema = table.name;
        SQ_TRY(parser_name(parser, COMMAND_FOLD_NONE, &table.name));
    }
    *ret_table = table;
    return SQ_OK;
}

sq_status parser_integer(struct command_parser *parser, int64_t *ret_number)
{
    bool is_negative = parser_accept(parser, "-");
    if (!is_negative)
        (void)parser_accept(parser, "+");
    if (parser->token.kind != SQL_TOKEN_NUMBER)
        return parser_fail_syntax(parser);
    int64_t number = 0;
    for (size_t i = 0; i < parser->token.length; i++) {
        char c = parser->token.text[i];
        if (c < '0' || c > '9')
            return parser_fail_syntax(parser);
        number = number * 10 + (c - '0');
        if (number > INT32_MAX)
            return parser_fail_syntax(parser);
    }
    parser_advance(parser);
    *ret_number = is_negative ? -number : number;
    return SQ_OK;
}

sq_status parser_value(struct command_parser *parser, const char **ret_value)
{
    bool is_negative = parser_accept(parser, "-");
    if (!is_negative && !parser_accept(parser, "+") && parser->token.kind != SQL_TOKEN_NUMBER)
        return parser_name_or_string(parser, COMMAND_FOLD_LOWER, ret_value);
    if (parser->token.kind != SQL_TOKEN_NUMBER)
        return parser_fail_syntax(parser);
    size_t length = parser->token.length;
    char *value = sq_arena_alloc(parser->arena, length + 2);
    if (value == NULL)
        return parser_nomem(parser);
    value[0] = '-';
    memcpy(value + 1, parser->token.text, length);
    value[length + 1] = '\0';
    parser_advance(parser);
    *ret_value = is_negative ? value : value + 1;
    return SQ_OK;
}

sq_status parser_list_add(struct command_parser *parser, struct command_list *list, size_t item_bytes, void **ret_item)
{
    if (list->count == COMMAND_LIST_MAX)
        return parser_place(parser, &parser->token,
                            sq_fail(parser->err, SQ_LIMIT, "a list may have at most %d members", COMMAND_LIST_MAX));
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 4;
        void *items = sq_arena_calloc(parser->arena, capacity, item_bytes);
        if (items == NULL)
            return parser_nomem(parser);
        if (list->count > 0)
            memcpy(items, list->items, list->count * item_bytes);
        list->items = items;
        list->capacity = capacity;
    }
    *ret_item = (char *)list->items + list->count++ * item_bytes;
    return SQ_OK;
}

sq_status parser_list_add_name(struct command_parser *parser, struct command_list *list, const char *name)
{
    void *item;
    SQ_TRY(parser_list_add(parser, list, sizeof(const char *), &item));
    *(const char **)item = name;
    return SQ_OK;
}

struct command_names command_list_names(const struct command_list *list)
{
    return (struct command_names){.items = list->items, .count = list->count};
}

sq_status parser_names(struct command_parser *parser, enum command_fold fold, struct command_names *ret_names)
{
    struct command_list list = {0};
    do {
        const char *name;
        SQ_TRY(parser_name(parser, fold, &name));
        SQ_TRY(parser_list_add_name(parser, &list, name));
    } while (parser_accept_kind(parser, SQL_TOKEN_COMMA));
    *ret_names = command_list_names(&list);
    return SQ_OK;
}

sq_status parser_names_in_parentheses(struct command_parser *parser, enum command_fold fold,
                                      struct command_names *ret_names)
{
    SQ_TRY(parser_expect_kind(parser, SQL_TOKEN_LEFT));
    SQ_TRY(parser_names(parser, fold, ret_names));
    return parser_expect_kind(parser, SQL_TOKEN_RIGHT);
}

sq_status parser_span_rest(struct command_parser *parser, struct command_span *ret_span)
{
    parser_set_flags(parser, SQL_LEXER_SQLITE);
    size_t start = parser->token.start, end = start;
    for (; !parser_is_end(parser); parser_advance(parser))
        end = parser->token.start + parser->token.length;
    if (end == start)
        return parser_fail_syntax(parser);
    *ret_span = (struct command_span){.start = start, .length = end - start};
    return SQ_OK;
}

sq_status parser_span_in_parentheses(struct command_parser *parser, bool ends_at_comma, struct command_span *ret_span)
{
    parser_set_flags(parser, SQL_LEXER_SQLITE);
    size_t start = parser->token.start, end = start, depth = 0;
    for (;; parser_advance(parser)) {
        enum sql_token_kind kind = parser->token.kind;
        if (parser_is_end(parser))
            return parser_fail_syntax(parser);
        if (depth == 0 && (kind == SQL_TOKEN_RIGHT || (ends_at_comma && kind == SQL_TOKEN_COMMA)))
            break;
        if (kind == SQL_TOKEN_LEFT)
            depth++;
        else if (kind == SQL_TOKEN_RIGHT)
            depth--;
        end = parser->token.start + parser->token.length;
    }
    if (end == start)
        return parser_fail_syntax(parser);
    *ret_span = (struct command_span){.start = start, .length = end - start};
    return SQ_OK;
}
