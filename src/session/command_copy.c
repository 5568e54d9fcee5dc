/* session/command_copy.c: COPY (PostgreSQL manual, page "COPY"), with the options of today in parentheses and the older
 * two syntaxes, which psql's users and many scripts still write. Which options go together is not judged here but by
 * copy_options_check(). Files and programs of the server's machine are out of reach on purpose. */
#include <string.h>
#include <strings.h>

#include "session/command_internal.h"

enum copy_option {
    COPY_OPTION_FORMAT,
    COPY_OPTION_FREEZE,
    COPY_OPTION_DELIMITER,
    COPY_OPTION_NULL,
    COPY_OPTION_HEADER,
    COPY_OPTION_QUOTE,
    COPY_OPTION_ESCAPE,
    COPY_OPTION_FORCE_QUOTE,
    COPY_OPTION_FORCE_NOT_NULL,
    COPY_OPTION_FORCE_NULL,
    COPY_OPTION_ENCODING,
    COPY_OPTION_OIDS,
    COPY_OPTION_DEFAULT,
    COPY_OPTION_ON_ERROR,
    COPY_OPTION_LOG_VERBOSITY,
    COPY_OPTION_REJECT_LIMIT,
    COPY_OPTION_COUNT,
};

struct copy_reader {
    struct command_parser *parser;
    struct command_copy copy;
    unsigned seen; /* bit per option */
};

static const char *const option_names[COPY_OPTION_COUNT] = {
    [COPY_OPTION_FORMAT] = "format",
    [COPY_OPTION_FREEZE] = "freeze",
    [COPY_OPTION_DELIMITER] = "delimiter",
    [COPY_OPTION_NULL] = "null",
    [COPY_OPTION_HEADER] = "header",
    [COPY_OPTION_QUOTE] = "quote",
    [COPY_OPTION_ESCAPE] = "escape",
    [COPY_OPTION_FORCE_QUOTE] = "force_quote",
    [COPY_OPTION_FORCE_NOT_NULL] = "force_not_null",
    [COPY_OPTION_FORCE_NULL] = "force_null",
    [COPY_OPTION_ENCODING] = "encoding",
    [COPY_OPTION_OIDS] = "oids",
    [COPY_OPTION_DEFAULT] = "default",
    [COPY_OPTION_ON_ERROR] = "on_error",
    [COPY_OPTION_LOG_VERBOSITY] = "log_verbosity",
    [COPY_OPTION_REJECT_LIMIT] = "reject_limit",
};

/* Each option once. */
static sq_status mark_seen(struct copy_reader *reader, enum copy_option option)
{
    struct command_parser *parser = reader->parser;
    if ((reader->seen & (1u << option)) != 0)
        return parser_place(parser, &parser->token,
                            sq_fail_sql(parser->err, SQ_SQL, "42601", "conflicting or redundant options"));
    reader->seen |= 1u << option;
    return SQ_OK;
}

static sq_status fail_binary(struct command_parser *parser)
{
    sq_status status = sq_fail_sql(parser->err, SQ_SQL, "0A000", "COPY BINARY is not supported");
    if (parser->err != NULL)
        sq_error_set_hint(parser->err, "Use FORMAT text or csv.");
    return parser_place(parser, &parser->token, status);
}

static sq_status set_format(struct copy_reader *reader, const char *name)
{
    struct command_parser *parser = reader->parser;
    if (strcmp(name, "text") == 0)
        reader->copy.options.format = COPY_FORMAT_TEXT;
    else if (strcmp(name, "csv") == 0)
        reader->copy.options.format = COPY_FORMAT_CSV;
    else if (strcmp(name, "binary") == 0)
        return fail_binary(parser);
    else
        return parser_place(parser, &parser->token,
                            sq_fail_sql(parser->err, SQ_SQL, "22023", "COPY format \"%s\" not recognized", name));
    return SQ_OK;
}

/* A boolean as option values have them; none at all is true (manual, page "COPY", "boolean"). */
static bool read_boolean(const char *text, bool *ret_value)
{
    static const char *const yes[] = {"true", "on", "1"}, *const no[] = {"false", "off", "0"};
    for (size_t i = 0; i < 3; i++) {
        bool is_yes = strcasecmp(text, yes[i]) == 0;
        if (is_yes || strcasecmp(text, no[i]) == 0) {
            *ret_value = is_yes;
            return true;
        }
    }
    return false;
}

static bool is_option_end(const struct command_parser *parser)
{
    return parser->token.kind == SQL_TOKEN_COMMA || parser->token.kind == SQL_TOKEN_RIGHT;
}

/* [boolean]; `match` too for HEADER. */
static sq_status parse_switch(struct copy_reader *reader, enum copy_option option)
{
    struct command_parser *parser = reader->parser;
    struct sql_token place = parser->token;
    const char *text = "true";
    if (!is_option_end(parser))
        SQ_TRY(parser_value(parser, &text));
    bool is_on = false;
    bool is_match = option == COPY_OPTION_HEADER && strcasecmp(text, "match") == 0;
    if (!is_match && !read_boolean(text, &is_on))
        return parser_place(parser, &place,
                            sq_fail_sql(parser->err, SQ_SQL, "42601", "%s requires a Boolean value%s",
                                        option_names[option], option == COPY_OPTION_HEADER ? " or \"match\"" : ""));
    if (option == COPY_OPTION_FREEZE)
        reader->copy.is_freeze = is_on;
    else
        reader->copy.options.header = is_match ? COPY_HEADER_MATCH : is_on ? COPY_HEADER_LINE : COPY_HEADER_NONE;
    return SQ_OK;
}

static const char **text_of(struct copy_options *options, enum copy_option option)
{
    switch (option) {
    case COPY_OPTION_DELIMITER:
        return &options->delimiter;
    case COPY_OPTION_NULL:
        return &options->null_text;
    case COPY_OPTION_QUOTE:
        return &options->quote;
    case COPY_OPTION_ESCAPE:
        return &options->escape;
    case COPY_OPTION_ENCODING:
        return &options->encoding;
    default:
        return NULL;
    }
}

/* `*` or names; `is_wrapped`: the names stand in parentheses. */
static sq_status parse_columns(struct copy_reader *reader, enum copy_option option, bool is_wrapped)
{
    struct command_copy *copy = &reader->copy;
    struct command_names *names = option == COPY_OPTION_FORCE_QUOTE      ? &copy->force_quote
                                  : option == COPY_OPTION_FORCE_NOT_NULL ? &copy->force_not_null
                                                                         : &copy->force_null;
    struct copy_columns *columns = option == COPY_OPTION_FORCE_QUOTE      ? &copy->options.force_quote
                                   : option == COPY_OPTION_FORCE_NOT_NULL ? &copy->options.force_not_null
                                                                          : &copy->options.force_null;
    if (parser_accept(reader->parser, "*")) {
        columns->is_given = true;
        columns->is_all = true;
        return SQ_OK;
    }
    if (is_wrapped)
        return parser_names_in_parentheses(reader->parser, COMMAND_FOLD_NONE, names);
    return parser_names(reader->parser, COMMAND_FOLD_NONE, names);
}

/* name [value], inside the parentheses. */
static sq_status parse_new_option(struct copy_reader *reader)
{
    struct command_parser *parser = reader->parser;
    struct sql_token place = parser->token;
    const char *name, *value;
    int option = 0;
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &name));
    while (option < COPY_OPTION_COUNT && strcmp(name, option_names[option]) != 0)
        option++;
    if (option == COPY_OPTION_COUNT)
        return parser_place(parser, &place,
                            sq_fail_sql(parser->err, SQ_SQL, "42601", "option \"%s\" not recognized", name));
    SQ_TRY(mark_seen(reader, (enum copy_option)option));
    switch ((enum copy_option)option) {
    case COPY_OPTION_FORMAT:
        SQ_TRY(parser_value(parser, &value));
        return set_format(reader, value);
    case COPY_OPTION_FREEZE:
    case COPY_OPTION_HEADER:
        return parse_switch(reader, (enum copy_option)option);
    case COPY_OPTION_FORCE_QUOTE:
    case COPY_OPTION_FORCE_NOT_NULL:
    case COPY_OPTION_FORCE_NULL:
        return parse_columns(reader, (enum copy_option)option, true);
    case COPY_OPTION_DELIMITER:
    case COPY_OPTION_NULL:
    case COPY_OPTION_QUOTE:
    case COPY_OPTION_ESCAPE:
    case COPY_OPTION_ENCODING:
        return parser_value(parser, text_of(&reader->copy.options, (enum copy_option)option));
    default:
        return parser_place(parser, &place,
                            sq_fail_sql(parser->err, SQ_SQL, "0A000", "COPY option \"%s\" is not supported", name));
    }
}

static sq_status parse_new_options(struct copy_reader *reader)
{
    do {
        SQ_TRY(parse_new_option(reader));
    } while (parser_accept_kind(reader->parser, SQL_TOKEN_COMMA));
    return parser_expect_kind(reader->parser, SQL_TOKEN_RIGHT);
}

/* FORCE {QUOTE {* | columns} | NOT NULL columns | NULL columns} */
static sq_status parse_old_force(struct copy_reader *reader)
{
    struct command_parser *parser = reader->parser;
    enum copy_option option = COPY_OPTION_FORCE_NULL;
    if (parser_accept(parser, "QUOTE")) {
        option = COPY_OPTION_FORCE_QUOTE;
    } else {
        if (parser_accept(parser, "NOT"))
            option = COPY_OPTION_FORCE_NOT_NULL;
        SQ_TRY(parser_expect(parser, "NULL"));
    }
    SQ_TRY(mark_seen(reader, option));
    return parse_columns(reader, option, false);
}

/* The syntax from before 9.0: words one behind another, CSV, HEADER, DELIMITER [AS] ',' … */
static sq_status parse_old_option(struct copy_reader *reader)
{
    static const enum copy_option texts[] = {COPY_OPTION_DELIMITER, COPY_OPTION_NULL, COPY_OPTION_QUOTE,
                                             COPY_OPTION_ESCAPE, COPY_OPTION_ENCODING};
    struct command_parser *parser = reader->parser;
    if (parser_is(parser, "BINARY"))
        return fail_binary(parser);
    if (parser_accept(parser, "CSV")) {
        reader->copy.options.format = COPY_FORMAT_CSV;
        return mark_seen(reader, COPY_OPTION_FORMAT);
    }
    if (parser_accept(parser, "HEADER")) {
        reader->copy.options.header = COPY_HEADER_LINE;
        return mark_seen(reader, COPY_OPTION_HEADER);
    }
    if (parser_accept(parser, "FREEZE")) {
        reader->copy.is_freeze = true;
        return mark_seen(reader, COPY_OPTION_FREEZE);
    }
    if (parser_accept(parser, "FORCE"))
        return parse_old_force(reader);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!parser_accept(parser, option_names[texts[i]]))
            continue;
        SQ_TRY(mark_seen(reader, texts[i]));
        (void)parser_accept(parser, "AS");
        return parser_string(parser, text_of(&reader->copy.options, texts[i]));
    }
    return parser_fail_syntax(parser);
}

/* [[USING] DELIMITERS 'x'] [WITH] {(…) | …} */
static sq_status parse_options(struct copy_reader *reader)
{
    struct command_parser *parser = reader->parser;
    bool is_using = parser_accept(parser, "USING");
    if (is_using || parser_is(parser, "DELIMITERS")) {
        SQ_TRY(parser_expect(parser, "DELIMITERS"));
        SQ_TRY(mark_seen(reader, COPY_OPTION_DELIMITER));
        SQ_TRY(parser_string(parser, &reader->copy.options.delimiter));
    }
    (void)parser_accept(parser, "WITH");
    if (parser_accept_kind(parser, SQL_TOKEN_LEFT))
        SQ_TRY(parse_new_options(reader));
    else
        while (!parser_is_end(parser) && !parser_is(parser, "WHERE"))
            SQ_TRY(parse_old_option(reader));
    if (parser_is(parser, "WHERE") && reader->copy.direction == COPY_FROM)
        return parser_place(parser, &parser->token,
                            sq_fail_sql(parser->err, SQ_SQL, "0A000", "COPY FROM with WHERE is not supported"));
    return SQ_OK;
}

/* STDIN and STDOUT are one to PostgreSQL's parser, whatever the direction. */
static sq_status parse_end_point(struct command_parser *parser)
{
    if (parser_accept(parser, "STDIN") || parser_accept(parser, "STDOUT"))
        return SQ_OK;
    if (parser->token.kind != SQL_TOKEN_STRING && !parser_is(parser, "PROGRAM"))
        return parser_fail_syntax(parser);
    sq_status status = sq_fail_sql(parser->err, SQ_SQL, "42501",
                                   "COPY to or from a file or program of the server is "
                                   "not allowed");
    if (parser->err != NULL)
        sq_error_set_hint(parser->err, "Use COPY FROM STDIN or COPY TO STDOUT; psql's \\copy does so for you.");
    return parser_place(parser, &parser->token, status);
}

sq_status command_parse_copy(struct command_parser *parser)
{
    struct copy_reader reader = {.parser = parser};
    struct command_copy *copy = &reader.copy;
    struct sql_token next = parser_peek(parser);
    bool is_name_next = next.kind == SQL_TOKEN_WORD || next.kind == SQL_TOKEN_QUOTED;
    if (parser_is(parser, "BINARY") && is_name_next && !sql_token_is(&next, "FROM") && !sql_token_is(&next, "TO"))
        return fail_binary(parser);

    copy->direction = COPY_TO;
    if (parser_accept_kind(parser, SQL_TOKEN_LEFT)) {
        SQ_TRY(parser_span_in_parentheses(parser, false, &copy->query));
        SQ_TRY(parser_expect_kind(parser, SQL_TOKEN_RIGHT));
    } else {
        struct command_table table;
        SQ_TRY(parser_table(parser, &table));
        copy->schema = table.schema;
        copy->table = table.name;
        if (parser->token.kind == SQL_TOKEN_LEFT)
            SQ_TRY(parser_names_in_parentheses(parser, COMMAND_FOLD_NONE, &copy->columns));
        if (parser_is(parser, "FROM"))
            copy->direction = COPY_FROM;
    }
    SQ_TRY(parser_expect(parser, copy->direction == COPY_FROM ? "FROM" : "TO"));
    parser_set_flags(parser, SQL_LEXER_POSTGRES);
    SQ_TRY(parse_end_point(parser));
    SQ_TRY(parse_options(&reader));
    parser->command->kind = COMMAND_COPY;
    parser->command->copy = reader.copy;
    return SQ_OK;
}
