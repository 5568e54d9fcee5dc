/* session/command_set.c: SET, SHOW, RESET (PostgreSQL manual, pages "SET", "SET TRANSACTION", "SHOW", "RESET"). */
#include <string.h>

#include "base/arena.h"
#include "session/command_internal.h"

/* Copies the text without its NUL; returns the end of what was written. */
static char *append(char *out, const char *text)
{
    while (*text != '\0')
        *out++ = *text++;
    return out;
}

/* name[.name …], in lower case, as one text. */
static sq_status parse_setting_name(struct command_parser *parser, const char **ret_name)
{
    const char *name;
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &name));
    if (parser->token.kind != SQL_TOKEN_DOT) {
        *ret_name = name;
        return SQ_OK;
    }
    struct command_list parts = {0};
    size_t length = strlen(name);
    SQ_TRY(parser_list_add_name(parser, &parts, name));
    while (parser_accept_kind(parser, SQL_TOKEN_DOT)) {
        SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &name));
        SQ_TRY(parser_list_add_name(parser, &parts, name));
        length += 1 + strlen(name);
    }
    char *joined = sq_arena_alloc(parser->arena, length + 1), *out = joined;
    if (joined == NULL)
        return parser_nomem(parser);
    struct command_names names = command_list_names(&parts);
    for (size_t i = 0; i < names.count; i++) {
        if (i > 0)
            *out++ = '.';
        out = append(out, names.items[i]);
    }
    *out = '\0';
    sq_assert((size_t)(out - joined) == length);
    *ret_name = joined;
    return SQ_OK;
}

static bool is_plain_name(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789");
    return length > 0 && text[length] == '\0' && !(text[0] >= '0' && text[0] <= '9');
}

static size_t count_marks(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == '"';
    return count;
}

/* "name", with quotes inside doubled; returns the end of what was written. */
static char *put_quoted(char *out, const char *text)
{
    *out++ = '"';
    for (; *text != '\0'; text++) {
        if (*text == '"')
            *out++ = '"';
        *out++ = *text;
    }
    *out++ = '"';
    return out;
}

/* The members joined with ", ". search_path is a list of names, not one text: there, a member that is no plain name is
 * quoted again, so that SHOW gives what SET understands ("$user", public). */
static sq_status join_values(struct command_parser *parser, const struct command_names *values, bool is_name_list,
                             const char **ret_value)
{
    size_t length = 0;
    for (size_t i = 0; i < values->count; i++)
        length += strlen(values->items[i]) + count_marks(values->items[i]) + 4;
    char *joined = sq_arena_alloc(parser->arena, length + 1), *out = joined;
    if (joined == NULL)
        return parser_nomem(parser);
    for (size_t i = 0; i < values->count; i++) {
        if (i > 0)
            out = append(out, ", ");
        if (is_name_list && !is_plain_name(values->items[i]))
            out = put_quoted(out, values->items[i]);
        else
            out = append(out, values->items[i]);
    }
    *out = '\0';
    sq_assert((size_t)(out - joined) <= length);
    *ret_value = joined;
    return SQ_OK;
}

/* The rest of word(number), as one text. */
static sq_status parse_bound(struct command_parser *parser, const char *word, const char **ret_value)
{
    const char *number;
    SQ_TRY(parser_value(parser, &number));
    SQ_TRY(parser_expect_kind(parser, SQL_TOKEN_RIGHT));
    char *joined = sq_arena_alloc(parser->arena, strlen(word) + strlen(number) + 3), *out = joined;
    if (joined == NULL)
        return parser_nomem(parser);
    out = append(append(append(append(out, word), "("), number), ")");
    *out = '\0';
    *ret_value = joined;
    return SQ_OK;
}

/* value [, …] | DEFAULT; of sqld.consistency also bounded(milliseconds) */
static sq_status parse_values(struct command_parser *parser, struct command_set *set)
{
    if (parser_accept(parser, "DEFAULT"))
        return SQ_OK;
    struct command_list list = {0};
    do {
        const char *value;
        SQ_TRY(parser_value(parser, &value));
        if (strcmp(set->name, "sqld.consistency") == 0 && parser_accept_kind(parser, SQL_TOKEN_LEFT))
            SQ_TRY(parse_bound(parser, value, &value));
        SQ_TRY(parser_list_add_name(parser, &list, value));
    } while (parser_accept_kind(parser, SQL_TOKEN_COMMA));
    struct command_names values = command_list_names(&list);
    bool is_name_list = strcmp(set->name, "search_path") == 0;
    if (values.count == 1 && !is_name_list) {
        set->value = values.items[0];
        return SQ_OK;
    }
    return join_values(parser, &values, is_name_list, &set->value);
}

/* TIME ZONE {value | INTERVAL '…' [HOUR [TO MINUTE]] | LOCAL | DEFAULT} */
static sq_status parse_time_zone(struct command_parser *parser, struct command_set *set)
{
    set->name = "timezone";
    if (parser_accept(parser, "LOCAL") || parser_accept(parser, "DEFAULT"))
        return SQ_OK;
    if (parser_is(parser, "INTERVAL") && parser_peek(parser).kind == SQL_TOKEN_STRING) {
        parser_advance(parser);
        SQ_TRY(parser_string(parser, &set->value));
        if (parser_accept(parser, "HOUR") && parser_accept(parser, "TO"))
            return parser_expect(parser, "MINUTE");
        return SQ_OK;
    }
    return parser_value(parser, &set->value);
}

/* SET CONSTRAINTS {ALL | name [, …]} {DEFERRED | IMMEDIATE}; a name may have its schema in front, which is dropped. */
static sq_status parse_constraints(struct command_parser *parser)
{
    struct command_set_constraints constraints = {0};
    if (!parser_accept(parser, "ALL")) {
        struct command_list list = {0};
        do {
            struct command_table name;
            SQ_TRY(parser_table(parser, &name));
            SQ_TRY(parser_list_add_name(parser, &list, name.name));
        } while (parser_accept_kind(parser, SQL_TOKEN_COMMA));
        constraints.names = command_list_names(&list);
    }
    constraints.is_deferred = parser_accept(parser, "DEFERRED");
    if (!constraints.is_deferred)
        SQ_TRY(parser_expect(parser, "IMMEDIATE"));
    parser->command->kind = COMMAND_SET_CONSTRAINTS;
    parser->command->set_constraints = constraints;
    return SQ_OK;
}

static sq_status parse_transaction(struct command_parser *parser, bool is_session)
{
    struct command_set_transaction transaction = {.is_session = is_session};
    if (!is_session && parser_is(parser, "SNAPSHOT"))
        return command_set_unsupported(parser, "SET TRANSACTION", "SNAPSHOT");
    if (parser_is_end(parser))
        return parser_fail_syntax(parser);
    SQ_TRY(command_parse_modes(parser, &transaction.modes));
    parser->command->kind = COMMAND_SET_TRANSACTION;
    parser->command->set_transaction = transaction;
    return SQ_OK;
}

static sq_status parse_role(struct command_parser *parser, enum command_scope scope, enum command_kind kind,
                            const char *word_for_none)
{
    struct command_set_role role = {.scope = scope};
    if (!parser_accept(parser, word_for_none))
        SQ_TRY(parser_name_or_string(parser, COMMAND_FOLD_LOWER, &role.name));
    parser->command->kind = kind;
    parser->command->set_role = role;
    return SQ_OK;
}

static sq_status parse_set_generic(struct command_parser *parser, struct command_set *set)
{
    SQ_TRY(parse_setting_name(parser, &set->name));
    if (!parser_accept(parser, "="))
        SQ_TRY(parser_expect(parser, "TO"));
    return parse_values(parser, set);
}

/* SET forms with words of their own; each of the words may also be a setting's name before TO or =. */
static sq_status parse_set_special(struct command_parser *parser, struct command_set *set, bool *ret_is_special)
{
    struct sql_token next = parser_peek(parser);
    *ret_is_special = true;
    if (!sql_token_is(&next, "TO") && !sql_token_is(&next, "=") && next.kind != SQL_TOKEN_DOT) {
        if (parser_is(parser, "TIME") && sql_token_is(&next, "ZONE")) {
            parser_advance(parser);
            parser_advance(parser);
            return parse_time_zone(parser, set);
        }
        if (parser_accept(parser, "NAMES")) {
            set->name = "client_encoding";
            if (parser_is_end(parser) || parser_accept(parser, "DEFAULT"))
                return SQ_OK;
            return parser_string(parser, &set->value);
        }
        if (parser_accept(parser, "SCHEMA")) {
            set->name = "search_path";
            const char *schema;
            SQ_TRY(parser_string(parser, &schema));
            struct command_names one = {.items = &schema, .count = 1};
            return join_values(parser, &one, true, &set->value);
        }
        if (parser_is(parser, "XML") && sql_token_is(&next, "OPTION")) {
            parser_advance(parser);
            parser_advance(parser);
            set->name = "xmloption";
            return parser_name(parser, COMMAND_FOLD_LOWER, &set->value);
        }
    }
    *ret_is_special = false;
    return SQ_OK;
}

/* What SET makes other commands of. */
static sq_status parse_set_other(struct command_parser *parser, enum command_scope scope, bool *ret_is_other)
{
    struct sql_token next = parser_peek(parser);
    *ret_is_other = true;
    if (!sql_token_is(&next, "TO") && !sql_token_is(&next, "=") && next.kind != SQL_TOKEN_DOT) {
        if (parser_accept(parser, "TRANSACTION"))
            return parse_transaction(parser, false);
        if (parser_accept(parser, "ROLE"))
            return parse_role(parser, scope, COMMAND_SET_ROLE, "NONE");
        if (parser_accept(parser, "CONSTRAINTS"))
            return parse_constraints(parser);
        if (parser_is(parser, "SESSION") && sql_token_is(&next, "AUTHORIZATION")) {
            parser_advance(parser);
            parser_advance(parser);
            return parse_role(parser, scope, COMMAND_SET_SESSION_AUTHORIZATION, "DEFAULT");
        }
        if (parser_is(parser, "SESSION") && sql_token_is(&next, "CHARACTERISTICS")) {
            parser_advance(parser);
            parser_advance(parser);
            SQ_TRY(parser_expect(parser, "AS"));
            SQ_TRY(parser_expect(parser, "TRANSACTION"));
            return parse_transaction(parser, true);
        }
    }
    *ret_is_other = false;
    return SQ_OK;
}

sq_status command_parse_set(struct command_parser *parser)
{
    struct command_set set = {0};
    bool is_done;
    SQ_TRY(parse_set_other(parser, COMMAND_SCOPE_SESSION, &is_done));
    if (is_done)
        return SQ_OK;
    struct sql_token next = parser_peek(parser);
    if (!sql_token_is(&next, "TO") && !sql_token_is(&next, "=") && next.kind != SQL_TOKEN_DOT) {
        if (parser_accept(parser, "LOCAL"))
            set.scope = COMMAND_SCOPE_LOCAL;
        else
            (void)parser_accept(parser, "SESSION");
    }
    SQ_TRY(parse_set_other(parser, set.scope, &is_done));
    if (is_done)
        return SQ_OK;
    SQ_TRY(parse_set_special(parser, &set, &is_done));
    if (!is_done)
        SQ_TRY(parse_set_generic(parser, &set));
    parser->command->kind = COMMAND_SET;
    parser->command->set = set;
    return SQ_OK;
}

/* The names that SHOW and RESET share; *ret_name NULL: ALL. */
static sq_status parse_shown_name(struct command_parser *parser, const char **ret_name)
{
    struct sql_token next = parser_peek(parser);
    if (parser_is(parser, "ALL") && token_is_end(&next)) {
        parser_advance(parser);
        *ret_name = NULL;
    } else if (parser_is(parser, "TIME") && sql_token_is(&next, "ZONE")) {
        parser_advance(parser);
        parser_advance(parser);
        *ret_name = "timezone";
    } else if (parser_is(parser, "TRANSACTION") && sql_token_is(&next, "ISOLATION")) {
        parser_advance(parser);
        parser_advance(parser);
        SQ_TRY(parser_expect(parser, "LEVEL"));
        *ret_name = "transaction_isolation";
    } else if (parser_is(parser, "SESSION") && sql_token_is(&next, "AUTHORIZATION")) {
        parser_advance(parser);
        parser_advance(parser);
        *ret_name = "session_authorization";
    } else {
        return parse_setting_name(parser, ret_name);
    }
    return SQ_OK;
}

sq_status command_parse_show(struct command_parser *parser)
{
    SQ_TRY(parse_shown_name(parser, &parser->command->name));
    parser->command->kind = COMMAND_SHOW;
    return SQ_OK;
}

sq_status command_parse_reset(struct command_parser *parser)
{
    const char *name = NULL;
    SQ_TRY(parse_shown_name(parser, &name));
    struct command *command = parser->command;
    bool is_role = name != NULL && strcmp(name, "role") == 0;
    bool is_user = name != NULL && strcmp(name, "session_authorization") == 0;
    if (is_role || is_user) {
        command->kind = is_role ? COMMAND_SET_ROLE : COMMAND_SET_SESSION_AUTHORIZATION;
        command->set_role = (struct command_set_role){.is_reset = true};
    } else {
        command->kind = COMMAND_RESET;
        command->name = name;
    }
    return SQ_OK;
}
