/* pgwire/replication_command.c: the two commands of a replication connection, and the answer to IDENTIFY_SYSTEM.
 *
 *   IDENTIFY_SYSTEM [;]
 *   START_REPLICATION LTX [ ( option [, option]… ) ] [;]
 *   option:  VERSION n │ SYSTEM n │ TIMELINE n │ NAME text │ DATABASES text      n and text in single quotes, '' is one quote
 *
 * Words are letters and '_' in either case (PostgreSQL manual, "Streaming Replication Protocol"). Comments are not taken. */
#include <stdio.h>

#include "pgwire/backend.h"
#include "pgwire/replication.h"

struct parser {
    const char *text;
    size_t length;
    size_t at;
    struct sq_error *err;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void skip_blanks(struct parser *parser)
{
    while (parser->at < parser->length && is_blank(parser->text[parser->at]))
        parser->at++;
}

static sq_status fail_here(struct parser *parser, const char *wanted)
{
    sq_status status =
        parser->at < parser->length
            ? sq_fail_sql(parser->err, SQ_INVALID, "42601", "syntax error at character %zu: %s expected",
                          parser->at + 1, wanted)
            : sq_fail_sql(parser->err, SQ_INVALID, "42601", "syntax error at end of input: %s expected", wanted);
    if (parser->err != NULL)
        parser->err->position = (int)(parser->at < INT32_MAX ? parser->at + 1 : 0);
    return status;
}

/* Takes `word` if it is next, and not only the beginning of a longer one. */
static bool take_word(struct parser *parser, const char *word)
{
    skip_blanks(parser);
    size_t at = parser->at;
    for (; *word != '\0'; word++, at++) {
        if (at == parser->length)
            return false;
        char c = parser->text[at];
        if ((c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c) != *word)
            return false;
    }
    if (at < parser->length && (is_letter(parser->text[at]) || (parser->text[at] >= '0' && parser->text[at] <= '9')))
        return false;
    parser->at = at;
    return true;
}

static bool take_character(struct parser *parser, char c)
{
    skip_blanks(parser);
    if (parser->at == parser->length || parser->text[parser->at] != c)
        return false;
    parser->at++;
    return true;
}

/* A text in quotes into `out`, which holds `max` bytes and a NUL. */
static sq_status take_text(struct parser *parser, size_t max, char *out)
{
    if (!take_character(parser, '\''))
        return fail_here(parser, "a value in single quotes");
    size_t begin = parser->at;
    size_t length = 0;
    for (; parser->at < parser->length; parser->at++) {
        char c = parser->text[parser->at];
        if (c == '\'') {
            if (parser->at + 1 == parser->length || parser->text[parser->at + 1] != '\'') {
                parser->at++;
                out[length] = '\0';
                return SQ_OK;
            }
            parser->at++;
        }
        if (length == max || c == '\0') {
            parser->at = begin;
            return fail_here(parser, "a shorter value");
        }
        out[length++] = c;
    }
    return fail_here(parser, "a single quote");
}

static bool read_number(const char *digits, size_t length, uint64_t max, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (length == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (number > (max - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return true;
}

static sq_status take_number(struct parser *parser, uint64_t max, uint64_t *ret_number)
{
    char digits[21];
    skip_blanks(parser);
    size_t begin = parser->at;
    SQ_TRY(take_text(parser, sizeof(digits) - 1, digits));
    if (read_number(digits, strlen(digits), max, ret_number))
        return SQ_OK;
    parser->at = begin;
    return fail_here(parser, "a number within its limit");
}

enum option {
    OPTION_VERSION,
    OPTION_SYSTEM,
    OPTION_TIMELINE,
    OPTION_NAME,
    OPTION_DATABASES,
    OPTION_COUNT,
};
static const char *const option_words[OPTION_COUNT] = {"VERSION", "SYSTEM", "TIMELINE", "NAME", "DATABASES"};

static sq_status take_option(struct parser *parser, bool has[OPTION_COUNT], struct replication_command *command)
{
    int option = 0;
    uint64_t number = 0;
    skip_blanks(parser);
    size_t begin = parser->at;
    while (option < OPTION_COUNT && !take_word(parser, option_words[option]))
        option++;
    if (option == OPTION_COUNT)
        return fail_here(parser, "VERSION, SYSTEM, TIMELINE, NAME or DATABASES");
    if (has[option]) {
        parser->at = begin;
        return fail_here(parser, "each option once");
    }
    has[option] = true;
    switch ((enum option)option) {
    case OPTION_VERSION:
        SQ_TRY(take_number(parser, UINT16_MAX, &number));
        command->version = (uint32_t)number;
        return SQ_OK;
    case OPTION_SYSTEM:
        return take_number(parser, UINT64_MAX, &command->system_id);
    case OPTION_TIMELINE:
        return take_number(parser, REPLICATION_TIMELINE_MAX, &command->timeline);
    case OPTION_NAME:
        return take_text(parser, REPLICATION_NAME_MAX, command->name);
    case OPTION_DATABASES:
    case OPTION_COUNT:
        break;
    }
    return take_text(parser, REPLICATION_LIST_MAX, command->databases);
}

static sq_status take_options(struct parser *parser, struct replication_command *command)
{
    bool has[OPTION_COUNT] = {false};
    if (!take_character(parser, '(') || take_character(parser, ')'))
        return SQ_OK;
    do {
        SQ_TRY(take_option(parser, has, command));
    } while (take_character(parser, ','));
    if (!take_character(parser, ')'))
        return fail_here(parser, "',' or ')'");
    return SQ_OK;
}

sq_status replication_command_parse(const char *text, size_t length, struct sq_error *err,
                                    struct replication_command *ret_command)
{
    sq_assert(text != NULL || length == 0);
    struct parser parser = {.text = text, .length = length, .err = err};
    struct replication_command command = {.version = REPLICATION_VERSION};
    if (take_word(&parser, "IDENTIFY_SYSTEM")) {
        command.kind = REPLICATION_IDENTIFY_SYSTEM;
    } else if (take_word(&parser, "START_REPLICATION")) {
        command.kind = REPLICATION_START;
        if (!take_word(&parser, "LTX"))
            return fail_here(&parser, "LTX");
        SQ_TRY(take_options(&parser, &command));
    } else {
        *ret_command = command;
        return SQ_OK;
    }
    take_character(&parser, ';');
    skip_blanks(&parser);
    if (parser.at < parser.length)
        return fail_here(&parser, "the end");
    *ret_command = command;
    return SQ_OK;
}

static void put_quoted(struct sq_buf *buf, const char *word, const char *text)
{
    sq_buf_printf(buf, ", %s '", word);
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            sq_buf_put_u8(buf, '\'');
        sq_buf_put_u8(buf, (uint8_t)*text);
    }
    sq_buf_put_u8(buf, '\'');
}

void replication_put_command(struct sq_buf *buf, const struct replication_command *command)
{
    sq_assert(command->kind != REPLICATION_OTHER);
    if (command->kind == REPLICATION_IDENTIFY_SYSTEM) {
        sq_buf_put_text(buf, "IDENTIFY_SYSTEM");
        return;
    }
    sq_buf_printf(buf, "START_REPLICATION LTX (VERSION '%u', SYSTEM '%llu', TIMELINE '%llu'", command->version,
                  (unsigned long long)command->system_id, (unsigned long long)command->timeline);
    if (command->name[0] != '\0')
        put_quoted(buf, "NAME", command->name);
    if (command->databases[0] != '\0')
        put_quoted(buf, "DATABASES", command->databases);
    sq_buf_put_u8(buf, ')');
}

/* --- IDENTIFY_SYSTEM's answer --- */

enum { OID_INT8 = 20, OID_TEXT = 25 };

static void put_column(struct sq_buf *buf, const char *name, uint32_t oid)
{
    const struct pgwire_field field = {.name = name,
                                       .name_length = strlen(name),
                                       .type_oid = oid,
                                       .type_size = oid == OID_INT8 ? 8 : -1,
                                       .type_modifier = -1,
                                       .format = PGWIRE_FORMAT_TEXT};
    pgwire_put_field(buf, &field);
}

static void put_number(struct sq_buf *buf, uint64_t number)
{
    size_t value = pgwire_value_begin(buf);
    sq_buf_printf(buf, "%llu", (unsigned long long)number);
    pgwire_value_end(buf, value);
}

void replication_put_identity(struct sq_buf *buf, uint64_t system_id, uint64_t timeline, const char *position,
                              const char *database)
{
    size_t description = pgwire_put_row_description_begin(buf, 4);
    put_column(buf, "systemid", OID_TEXT);
    put_column(buf, "timeline", OID_INT8);
    put_column(buf, "xlogpos", OID_TEXT);
    put_column(buf, "dbname", OID_TEXT);
    pgwire_end(buf, description);
    size_t row = pgwire_put_data_row_begin(buf, 4);
    put_number(buf, system_id);
    put_number(buf, timeline);
    pgwire_put_value(buf, position, strlen(position));
    if (database != NULL)
        pgwire_put_value(buf, database, strlen(database));
    else
        pgwire_put_null(buf);
    pgwire_end(buf, row);
    pgwire_put_command_complete(buf, "IDENTIFY_SYSTEM");
}

sq_status replication_identity_decode(const struct pgwire_frame *frame, struct sq_error *err, uint64_t *ret_system_id,
                                      uint64_t *ret_timeline)
{
    struct pgwire_data_row row;
    struct pgwire_value system_value;
    struct pgwire_value timeline_value;
    uint64_t system_id = 0;
    uint64_t timeline = 0;
    SQ_TRY(pgwire_data_row_decode(frame, err, &row));
    if (!pgwire_values_next(&row.columns, &system_value) || !pgwire_values_next(&row.columns, &timeline_value) ||
        !read_number((const char *)system_value.data, system_value.length, UINT64_MAX, &system_id) ||
        !read_number((const char *)timeline_value.data, timeline_value.length, REPLICATION_TIMELINE_MAX, &timeline) ||
        system_id == 0)
        return sq_fail(err, SQ_PROTOCOL, "the answer to IDENTIFY_SYSTEM makes no sense");
    *ret_system_id = system_id;
    *ret_timeline = timeline;
    return SQ_OK;
}
