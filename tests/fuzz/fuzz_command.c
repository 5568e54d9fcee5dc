/* Any text through everything that looks at a statement before SQLite does: the lexer in both modes, statement ends and
 * shapes, the command parser, and settings fed with what SET was read as. Beside the sanitizers, these must hold:
 *   - tokens follow each other and lie in the text;
 *   - sql_statement_inspect() and sql_statement_end() agree, and taking statement by statement comes to the end;
 *   - what command_parse() returns lies in the text and in the arena (every byte is read once). */
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "engine/sql_lexer.h"
#include "session/command.h"
#include "session/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sink;

static void lex(const char *text, size_t length, unsigned flags, struct sq_arena *arena)
{
    struct sql_lexer lexer;
    struct sql_token token;
    size_t end = 0, unquoted;
    uint32_t number;
    sql_lexer_init(&lexer, text, length, flags);
    for (sql_lexer_next(&lexer, &token); token.kind != SQL_TOKEN_END; sql_lexer_next(&lexer, &token)) {
        sq_assert(token.start >= end && token.length > 0 && token.length <= length - token.start);
        end = token.start + token.length;
        const char *copy = sql_token_unquote(&token, arena, &unquoted);
        if (copy != NULL) {
            sq_assert(unquoted <= token.length && copy[unquoted] == '\0');
            sink += strlen(copy);
        }
        sink += sql_token_dollar_number(&token, &number);
    }
}

static void inspect(const char *text, size_t length)
{
    char tag[SQL_COMMAND_TAG_MAX];
    while (length > 0) {
        bool is_complete;
        struct sql_statement_shape shape = sql_statement_inspect(text, length);
        size_t end = sql_statement_end(text, length, &is_complete);
        sq_assert(end > 0 && end <= length && shape.end == end);
        sq_assert(shape.is_empty || shape.is_complete == is_complete);
        sink += sql_command_tag(&shape, UINT64_MAX, tag);
        text += end;
        length -= end;
    }
}

static void check_span(struct command_span span, size_t length)
{
    sq_assert(span.length > 0 && span.start <= length && span.length <= length - span.start);
}

static void read_text(const char *text)
{
    sink += text != NULL ? strlen(text) : 0;
}

static void read_names(const struct command_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        read_text(names->items[i]);
}

static void read_copy(const struct command_copy *copy, size_t length)
{
    read_text(copy->schema);
    read_text(copy->table);
    read_text(copy->options.delimiter);
    read_text(copy->options.null_text);
    read_text(copy->options.quote);
    read_text(copy->options.escape);
    read_text(copy->options.encoding);
    read_names(&copy->columns);
    read_names(&copy->force_quote);
    read_names(&copy->force_not_null);
    read_names(&copy->force_null);
    if (copy->table == NULL)
        check_span(copy->query, length);
}

static void use_command(const struct command *command, size_t length, struct settings *settings)
{
    struct sq_error err;
    sq_status status = SQ_OK;
    switch (command->kind) {
    case COMMAND_SET:
        status = settings_set(settings, command->set.name, command->set.value,
                              command->set.scope == COMMAND_SCOPE_LOCAL ? SETTINGS_LOCAL : SETTINGS_SESSION, &err);
        break;
    case COMMAND_RESET:
        status =
            command->name != NULL ? settings_reset(settings, command->name, &err) : settings_reset_all(settings, &err);
        break;
    case COMMAND_BEGIN:
        settings_begin(settings);
        break;
    case COMMAND_COMMIT:
        settings_commit(settings);
        break;
    case COMMAND_ROLLBACK:
        settings_rollback(settings);
        break;
    case COMMAND_SAVEPOINT:
        status = settings_savepoint(settings, command->name, &err);
        break;
    case COMMAND_RELEASE:
        settings_release(settings, command->name);
        break;
    case COMMAND_ROLLBACK_TO:
        settings_rollback_to(settings, command->name);
        break;
    case COMMAND_DECLARE:
        check_span(command->declare.query, length);
        break;
    case COMMAND_PREPARE:
        read_names(&command->prepare.types);
        check_span(command->prepare.statement, length);
        break;
    case COMMAND_EXECUTE:
        for (size_t i = 0; i < command->execute.argument_count; i++)
            check_span(command->execute.arguments[i], length);
        break;
    case COMMAND_COPY:
        read_copy(&command->copy, length);
        break;
    case COMMAND_TRUNCATE:
        for (size_t i = 0; i < command->truncate.table_count; i++)
            read_text(command->truncate.tables[i].name);
        break;
    case COMMAND_UNSUPPORTED:
        read_text(command->unsupported);
        break;
    default:
        break;
    }
    sink += (size_t)status + strlen(command_tag(command));
}

static void parse(const char *text, size_t length, struct sq_arena *arena, struct settings *settings)
{
    while (length > 0) {
        struct command command;
        struct sq_error err = {0};
        size_t consumed;
        sq_status status = command_parse(text, length, arena, &command, &consumed, &err);
        if (status != SQ_OK) {
            sq_assert(status == SQ_NOMEM || (err.position > 0 && (size_t)err.position <= length + 1));
            consumed = 0;
        } else {
            use_command(&command, length, settings);
        }
        if (consumed == 0)
            consumed = sql_statement_end(text, length, NULL);
        sq_assert(consumed > 0 && consumed <= length);
        text += consumed;
        length -= consumed;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct sq_arena arena;
    struct settings settings;
    struct settings_row row;
    size_t cursor = 0;
    sq_arena_init(&arena);
    settings_init(&settings);
    lex(text, size, SQL_LEXER_SQLITE, &arena);
    lex(text, size, SQL_LEXER_POSTGRES, &arena);
    inspect(text, size);
    parse(text, size, &arena, &settings);
    while (settings_next(&settings, &cursor, &row))
        sink += strlen(row.value);
    settings_done(&settings);
    sq_arena_done(&arena);
    return 0;
}
