/* session/command_object.c: CREATE, DROP and ALTER as far as they are not SQLite's: databases, which are the server's
 * (PostgreSQL manual, pages "CREATE DATABASE", "DROP DATABASE", "ALTER DATABASE"), and the names of all the things that
 * this server has not. A noun that nobody knows is left to SQLite, whose error then says what it expected. */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "session/command_internal.h"

struct noun {
    const char *first;
    const char *second; /* NULL: the first word is enough */
};

/* PostgreSQL's nouns behind CREATE, DROP or ALTER (manual, "SQL Commands"); a longer one before its beginning. */
static const struct noun nouns[] = {
    {"ACCESS", "METHOD"},
    {"AGGREGATE", NULL},
    {"CAST", NULL},
    {"COLLATION", NULL},
    {"CONSTRAINT", NULL},
    {"CONVERSION", NULL},
    {"DATABASE", NULL},
    {"DEFAULT", "PRIVILEGES"},
    {"DOMAIN", NULL},
    {"EVENT", "TRIGGER"},
    {"EXTENSION", NULL},
    {"FOREIGN", "TABLE"},
    {"FOREIGN", "DATA"},
    {"FUNCTION", NULL},
    {"GLOBAL", NULL},
    {"GROUP", NULL},
    {"LANGUAGE", NULL},
    {"LARGE", "OBJECT"},
    {"LOCAL", NULL},
    {"MATERIALIZED", "VIEW"},
    {"OPERATOR", "CLASS"},
    {"OPERATOR", "FAMILY"},
    {"OPERATOR", NULL},
    {"OR", "REPLACE"},
    {"OWNED", NULL},
    {"POLICY", NULL},
    {"PROCEDURAL", "LANGUAGE"},
    {"PROCEDURE", NULL},
    {"PUBLICATION", NULL},
    {"RECURSIVE", "VIEW"},
    {"ROLE", NULL},
    {"ROUTINE", NULL},
    {"RULE", NULL},
    {"SCHEMA", NULL},
    {"SEQUENCE", NULL},
    {"SERVER", NULL},
    {"STATISTICS", NULL},
    {"SUBSCRIPTION", NULL},
    {"SYSTEM", NULL},
    {"TABLESPACE", NULL},
    {"TEXT", "SEARCH"},
    {"TRANSFORM", NULL},
    {"TRUSTED", "LANGUAGE"},
    {"TYPE", NULL},
    {"UNLOGGED", NULL},
    {"USER", "MAPPING"},
    {"USER", NULL},
};
/* What SQLite can create and drop, but not alter. */
static const struct noun alter_nouns[] = {{"INDEX", NULL}, {"VIEW", NULL}, {"TRIGGER", NULL}};

sq_status command_set_unsupported(struct command_parser *parser, const char *verb, const char *noun)
{
    const char *name = verb;
    if (noun != NULL) {
        size_t bytes = strlen(verb) + 1 + strlen(noun) + 1;
        char *joined = sq_arena_alloc(parser->arena, bytes);
        if (joined == NULL)
            return parser_nomem(parser);
        (void)snprintf(joined, bytes, "%s %s", verb, noun);
        name = joined;
    }
    /* A function's body may stand in $$ and hold semicolons. */
    parser_set_flags(parser, SQL_LEXER_POSTGRES);
    while (!parser_is_end(parser))
        parser_advance(parser);
    parser->command->kind = COMMAND_UNSUPPORTED;
    parser->command->unsupported = name;
    return SQ_OK;
}

static const struct noun *find_noun(const struct command_parser *parser, const struct noun *table, size_t count)
{
    struct sql_token next = parser_peek(parser);
    for (size_t i = 0; i < count; i++) {
        if (parser_is(parser, table[i].first) && (table[i].second == NULL || sql_token_is(&next, table[i].second)))
            return &table[i];
    }
    return NULL;
}

static sq_status set_unsupported_noun(struct command_parser *parser, const char *verb, const struct noun *noun)
{
    if (noun == NULL) {
        parser->command->kind = COMMAND_SQL;
        return SQ_OK;
    }
    SQ_TRY(command_set_unsupported(parser, verb, noun->first));
    if (noun->second != NULL)
        SQ_TRY(command_set_unsupported(parser, parser->command->unsupported, noun->second));
    return SQ_OK;
}

/* Options of CREATE DATABASE that are read; those without a place are dropped, because SQLite has nothing like them. */
static sq_status parse_database_option(struct command_parser *parser, struct command_create_database *create)
{
    static const char *const ignored[] = {
        "strategy",  "locale",         "lc_collate",      "lc_ctype",          "icu_locale",
        "icu_rules", "builtin_locale", "tablespace",      "allow_connections", "is_template",
        "oid",       "connection",     "locale_provider", "collation_version",
    };
    struct sql_token place = parser->token;
    const char *name, *value = NULL;
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &name));
    const char **target = strcmp(name, "owner") == 0      ? &create->owner
                          : strcmp(name, "template") == 0 ? &create->template_name
                          : strcmp(name, "encoding") == 0 ? &create->encoding
                                                          : NULL;
    bool is_known = target != NULL;
    for (size_t i = 0; !is_known && i < sizeof(ignored) / sizeof(ignored[0]); i++)
        is_known = strcmp(name, ignored[i]) == 0;
    if (!is_known)
        return parser_place(parser, &place,
                            sq_fail_sql(parser->err, SQ_SQL, "42601", "option \"%s\" not recognized", name));
    if (strcmp(name, "connection") == 0)
        SQ_TRY(parser_expect(parser, "LIMIT"));
    (void)parser_accept(parser, "=");
    if (!parser_accept(parser, "DEFAULT"))
        SQ_TRY(parser_value(parser, &value));
    if (target != NULL)
        *target = value;
    return SQ_OK;
}

static sq_status parse_create_database(struct command_parser *parser)
{
    struct command_create_database create = {0};
    struct sql_token next = parser_peek(parser);
    if (parser_is(parser, "IF") && sql_token_is(&next, "NOT")) {
        parser_advance(parser);
        parser_advance(parser);
        SQ_TRY(parser_expect(parser, "EXISTS"));
        create.if_not_exists = true;
    }
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &create.name));
    (void)parser_accept(parser, "WITH");
    while (!parser_is_end(parser))
        SQ_TRY(parse_database_option(parser, &create));
    parser->command->kind = COMMAND_CREATE_DATABASE;
    parser->command->create_database = create;
    return SQ_OK;
}

/* DROP DATABASE [IF EXISTS] name [[WITH] (FORCE [, …])] */
static sq_status parse_drop_database(struct command_parser *parser)
{
    struct command_drop_database drop = {0};
    struct sql_token next = parser_peek(parser);
    if (parser_is(parser, "IF") && sql_token_is(&next, "EXISTS")) {
        parser_advance(parser);
        parser_advance(parser);
        drop.if_exists = true;
    }
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &drop.name));
    bool is_with = parser_accept(parser, "WITH");
    if (is_with || parser->token.kind == SQL_TOKEN_LEFT) {
        SQ_TRY(parser_expect_kind(parser, SQL_TOKEN_LEFT));
        do {
            SQ_TRY(parser_expect(parser, "FORCE"));
        } while (parser_accept_kind(parser, SQL_TOKEN_COMMA));
        SQ_TRY(parser_expect_kind(parser, SQL_TOKEN_RIGHT));
        drop.is_force = true;
    }
    parser->command->kind = COMMAND_DROP_DATABASE;
    parser->command->drop_database = drop;
    return SQ_OK;
}

static sq_status parse_alter_database(struct command_parser *parser)
{
    struct command_rename_database rename = {0};
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &rename.name));
    if (!parser_accept(parser, "RENAME"))
        return command_set_unsupported(parser, "ALTER", "DATABASE");
    SQ_TRY(parser_expect(parser, "TO"));
    SQ_TRY(parser_name(parser, COMMAND_FOLD_LOWER, &rename.new_name));
    parser->command->kind = COMMAND_RENAME_DATABASE;
    parser->command->rename_database = rename;
    return SQ_OK;
}

static const struct noun *find_known_noun(const struct command_parser *parser)
{
    return find_noun(parser, nouns, sizeof(nouns) / sizeof(nouns[0]));
}

sq_status command_parse_create(struct command_parser *parser)
{
    if (parser_accept(parser, "DATABASE"))
        return parse_create_database(parser);
    /* CREATE TEMP SEQUENCE */
    if (!parser_accept(parser, "TEMP"))
        (void)parser_accept(parser, "TEMPORARY");
    return set_unsupported_noun(parser, "CREATE", find_known_noun(parser));
}

sq_status command_parse_drop(struct command_parser *parser)
{
    if (parser_accept(parser, "DATABASE"))
        return parse_drop_database(parser);
    return set_unsupported_noun(parser, "DROP", find_known_noun(parser));
}

sq_status command_parse_alter(struct command_parser *parser)
{
    if (parser_accept(parser, "DATABASE"))
        return parse_alter_database(parser);
    const struct noun *noun = find_noun(parser, alter_nouns, sizeof(alter_nouns) / sizeof(alter_nouns[0]));
    return set_unsupported_noun(parser, "ALTER", noun != NULL ? noun : find_known_noun(parser));
}
