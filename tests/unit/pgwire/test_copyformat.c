/* COPY's text and CSV: rows that PostgreSQL 15 reads and writes, every piece size, both newlines' worth of errors, and
 * random rows out and in again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgwire/copyformat.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { OUT_BYTES_MAX = 1 << 20, ROW_BYTES_MAX = 1 << 16 };

static const char *const names[] = {"a", "b", "c", "d"};

/* Fields are shown as <field>, NULL as <>N; rows end with a newline. */
static void show_row(struct sq_buf *out, const struct copy_row *row)
{
    for (size_t i = 0; i < row->count; i++) {
        sq_buf_put_u8(out, '<');
        if (!row->fields[i].is_null)
            sq_buf_put(out, row->fields[i].data, row->fields[i].length);
        sq_buf_put_text(out, row->fields[i].is_null ? ">N" : ">");
    }
    sq_buf_put_u8(out, '\n');
}

struct decoded {
    struct sq_buf rows;
    sq_status status;
    struct sq_error err;
    uint64_t line_number;
};

/* Decodes `data` in pieces of `piece` bytes, each from memory of exactly its size. */
static void decode(const struct copy_options *options, size_t column_count, const char *data, size_t length,
                   size_t piece, size_t row_bytes_max, struct decoded *ret)
{
    struct copy_spec spec;
    struct copy_decoder decoder;
    const struct copy_row *row = NULL;
    sq_error_clear(&ret->err);
    sq_buf_init(&ret->rows, OUT_BYTES_MAX);
    assert_int_equal(copy_options_check(options, COPY_FROM, &ret->err, &spec), SQ_OK);
    assert_int_equal(copy_decoder_init(&decoder, &spec, names, column_count, row_bytes_max, &ret->err), SQ_OK);
    ret->status = SQ_OK;
    for (size_t at = 0; at < length && ret->status == SQ_OK; at += piece) {
        size_t count = length - at < piece ? length - at : piece;
        uint8_t *copy = malloc(count);
        assert_non_null(copy);
        memcpy(copy, data + at, count);
        size_t used = 0;
        for (size_t from = 0; from < count && ret->status == SQ_OK; from += used) {
            row = NULL;
            ret->status = copy_decoder_push(&decoder, copy + from, count - from, &ret->err, &used, &row);
            if (ret->status == SQ_OK && row != NULL)
                show_row(&ret->rows, row);
            /* Without a row, everything is taken. */
            assert_true(ret->status != SQ_OK || row != NULL || used == count - from);
        }
        free(copy);
    }
    if (ret->status == SQ_OK) {
        ret->status = copy_decoder_finish(&decoder, &ret->err, &row);
        if (ret->status == SQ_OK && row != NULL)
            show_row(&ret->rows, row);
    }
    ret->line_number = decoder.line_number;
    copy_decoder_done(&decoder);
}

/* `expected`: the rows, or "SQLSTATE text" for an error after any rows. */
static void assert_decodes(const struct copy_options *options, size_t column_count, const char *data,
                           const char *expected)
{
    static const size_t pieces[] = {1, 2, 3, 5, 1000};
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        struct decoded decoded;
        decode(options, column_count, data, strlen(data), pieces[i], ROW_BYTES_MAX, &decoded);
        if (decoded.status != SQ_OK) {
            sq_buf_put_text(&decoded.rows, decoded.err.sqlstate);
            sq_buf_printf(&decoded.rows, " %s", decoded.err.text);
            assert_memory_equal(decoded.err.detail, "COPY input, line ", 17);
        }
        sq_buf_put_u8(&decoded.rows, 0);
        if (strcmp((const char *)sq_buf_bytes(&decoded.rows), expected) != 0)
            fail_msg("'%s' in pieces of %zu:\n%s\ninstead of\n%s", data, pieces[i],
                     (const char *)sq_buf_bytes(&decoded.rows), expected);
        sq_buf_done(&decoded.rows);
    }
}

static const struct copy_options text_options = {.format = COPY_FORMAT_TEXT};
static const struct copy_options csv_options = {.format = COPY_FORMAT_CSV};

static void text_rows_are_read(void **state)
{
    (void)state;
    assert_decodes(&text_options, 2, "", "");
    assert_decodes(&text_options, 2, "1\tone\n2\ttwo\n", "<1><one>\n<2><two>\n");
    assert_decodes(&text_options, 2, "1\tone", "<1><one>\n");
    assert_decodes(&text_options, 2, "\\N\t\n", "<>N<>\n");
    assert_decodes(&text_options, 1, "\n\n", "<>\n<>\n");
    assert_decodes(&text_options, 2, "\\N x\t\\\\N\n", "<N x><\\N>\n");
    assert_decodes(&text_options, 1, "\xC3\xA4\n", "<\xC3\xA4>\n");
}

/* Manual, "Text Format": the table of backslash sequences. */
static void text_escapes_are_undone(void **state)
{
    (void)state;
    assert_decodes(&text_options, 1, "\\b\\f\\n\\r\\t\\v\\\\\n", "<\b\f\n\r\t\v\\>\n");
    assert_decodes(&text_options, 1, "\\101\\60\\7x\\x41\\x4a!\\x4\n",
                   "<A0\ax"
                   "AJ!\x04>\n");
    assert_decodes(&text_options, 1, "\\1018\\x414\n",
                   "<A8"
                   "A4>\n");
    assert_decodes(&text_options, 1, "\\xg\\q\\'\n", "<xgq'>\n");
    assert_decodes(&text_options, 2, "a\\\tb\tc\n", "<a\tb><c>\n");
    assert_decodes(&text_options, 1, "a\\\nb\n", "<a\nb>\n");
    assert_decodes(&text_options, 1, "\\303\\244\n", "<\xC3\xA4>\n");
    assert_decodes(&text_options, 1, "a\\", "<a>\n");
}

static void text_takes_other_delimiters_and_nulls(void **state)
{
    (void)state;
    struct copy_options options = {.format = COPY_FORMAT_TEXT, .delimiter = "|", .null_text = "nil"};
    assert_decodes(&options, 3, "a|nil|\n", "<a><>N<>\n");
    assert_decodes(&options, 2, "a\\|b|\\N\n", "<a|b><N>\n");
    assert_decodes(&options, 2, "\\nil|nilx\n", "<\nil><nilx>\n");
    options.null_text = "";
    assert_decodes(&options, 2, "|x\n", "<>N<x>\n");
}

static void too_few_and_too_many_fields_are_errors(void **state)
{
    (void)state;
    assert_decodes(&text_options, 3, "1\t2\n", "22P04 missing data for column \"c\"");
    assert_decodes(&text_options, 2, "1\t2\t3\n", "22P04 extra data after last expected column");
    assert_decodes(&text_options, 2, "1\t2\n\n", "<1><2>\n22P04 missing data for column \"b\"");
    assert_decodes(&csv_options, 3, "1,2\n", "22P04 missing data for column \"c\"");
    assert_decodes(&csv_options, 1, "1,2\n", "22P04 extra data after last expected column");
}

/* The first newline decides for all. */
static void newlines_must_be_the_same(void **state)
{
    (void)state;
    assert_decodes(&text_options, 1, "a\r\nb\r\n", "<a>\n<b>\n");
    assert_decodes(&text_options, 1, "a\rb\r", "<a>\n<b>\n");
    assert_decodes(&text_options, 1, "a\rb\r\r", "<a>\n<b>\n<>\n");
    assert_decodes(&text_options, 1, "a\r\nb\r\n\r\n", "<a>\n<b>\n<>\n");
    assert_decodes(&text_options, 1, "a\nb\r\n", "<a>\n22P04 literal carriage return found in data");
    assert_decodes(&text_options, 1, "a\r\nb\n", "<a>\n22P04 literal newline found in data");
    assert_decodes(&text_options, 1, "a\r\nb\rc", "<a>\n22P04 literal carriage return found in data");
    assert_decodes(&text_options, 1, "a\rb\n", "<a>\n22P04 literal newline found in data");
    assert_decodes(&csv_options, 1, "a\nb\r\n", "<a>\n22P04 unquoted carriage return found in data");
    assert_decodes(&csv_options, 1, "a\rb\n", "<a>\n22P04 unquoted newline found in data");
    assert_decodes(&csv_options, 1, "a\r\n\"b\nc\"\r\n\"d\re\"\r\n", "<a>\n<b\nc>\n<d\re>\n");
    assert_decodes(&text_options, 1, "a\r", "<a>\n");
    struct decoded decoded;
    decode(&text_options, 1, "a\nb\r\n", 5, 1, ROW_BYTES_MAX, &decoded);
    assert_string_equal(decoded.err.hint, "Use \"\\r\" to represent carriage return.");
    sq_buf_done(&decoded.rows);
}

static void the_marker_ends_the_copy(void **state)
{
    (void)state;
    assert_decodes(&text_options, 1, "a\n\\.\nb\tc\td\xFF\n", "<a>\n");
    assert_decodes(&text_options, 1, "a\r\n\\.\r\nb\n", "<a>\n");
    assert_decodes(&text_options, 1, "\\.\n", "");
    assert_decodes(&csv_options, 1, "a\n\\.\nb,c\n", "<a>\n");
    assert_decodes(&text_options, 1, "a\n\\.x\n", "<a>\n22P04 end-of-copy marker corrupt");
    assert_decodes(&text_options, 1, "a\n\\.", "<a>\n22P04 end-of-copy marker corrupt");
    assert_decodes(&text_options, 1, "a\\.\n", "22P04 end-of-copy marker is not alone on its line");
    assert_decodes(&text_options, 1, "a\n\\.\r\n",
                   "<a>\n22P04 end-of-copy marker does not match previous newline style");
    assert_decodes(&text_options, 1, "a\r\n\\.\n",
                   "<a>\n22P04 end-of-copy marker does not match previous newline style");
    /* In CSV it is the end only where nothing else is on the line. */
    assert_decodes(&csv_options, 1, "\\.x\na\\.\n\"\\.\"\n\\", "<\\.x>\n<a\\.>\n<\\.>\n<\\>\n");
    assert_decodes(&csv_options, 1, "\\.", "<\\.>\n");
    assert_decodes(&csv_options, 1, "\"a\n\\.\n\"\n", "<a\n\\.\n>\n");
    assert_decodes(&csv_options, 1, "\\.\"x\ny\"\n", "<\\.x\ny>\n");
}

static void csv_rows_are_read(void **state)
{
    (void)state;
    assert_decodes(&csv_options, 2, "", "");
    assert_decodes(&csv_options, 2, "1,one\n2,\"two\"\n", "<1><one>\n<2><two>\n");
    assert_decodes(&csv_options, 3, ",\"\",x\n", "<>N<><x>\n");
    assert_decodes(&csv_options, 2, "\"a,b\",\"c\"\"d\"\n", "<a,b><c\"d>\n");
    assert_decodes(&csv_options, 1, "\"a\nb\n\"\n", "<a\nb\n>\n");
    assert_decodes(&csv_options, 1, "ab\"c,d\"ef\n", "<abc,def>\n");
    assert_decodes(&csv_options, 1, " \"x\" \n", "< x >\n");
    assert_decodes(&csv_options, 2, "\\N,\\t\n", "<\\N><\\t>\n");
    assert_decodes(&csv_options, 1, "a\n\"b\n", "<a>\n22P04 unterminated CSV quoted field");
    assert_decodes(&csv_options, 1, "\"", "22P04 unterminated CSV quoted field");
}

static void csv_takes_other_quotes_escapes_and_nulls(void **state)
{
    (void)state;
    struct copy_options options = {
        .format = COPY_FORMAT_CSV, .delimiter = ";", .quote = "'", .escape = "\\", .null_text = "NULL"};
    assert_decodes(&options, 2, "'a;b';NULL\n", "<a;b><>N\n");
    assert_decodes(&options, 2, "'it\\'s';'NULL'\n", "<it's><NULL>\n");
    assert_decodes(&options, 2, "'a\\\\';'\\b'\n", "<a\\><\\b>\n");
    assert_decodes(&options, 2, "'a\\'\n';x\n", "<a'\n><x>\n");
    assert_decodes(&options, 2, "\\';\n", "22P04 unterminated CSV quoted field");
    assert_decodes(&options, 2, ";''\n", "<><>\n");
}

static void forced_columns_change_what_null_is(void **state)
{
    (void)state;
    static const bool second[] = {false, true, false};
    struct copy_options options = {.format = COPY_FORMAT_CSV, .force_not_null = {.is_given = true, .is_set = second}};
    assert_decodes(&options, 3, ",,\n", "<>N<><>N\n");
    options = (struct copy_options){.format = COPY_FORMAT_CSV, .force_null = {.is_given = true, .is_set = second}};
    assert_decodes(&options, 3, "\"\",\"\",\"\"\n", "<><>N<>\n");
    options.force_not_null = options.force_null;
    assert_decodes(&options, 3, ",,\"\"\n", "<>N<><>\n");
    options = (struct copy_options){.format = COPY_FORMAT_CSV, .force_null = {.is_given = true, .is_all = true}};
    assert_decodes(&options, 2, "\"\",\"x\"\n", "<>N<x>\n");
}

static void headers_are_skipped_or_compared(void **state)
{
    (void)state;
    struct copy_options options = {.format = COPY_FORMAT_CSV, .header = COPY_HEADER_LINE};
    assert_decodes(&options, 2, "x,\"y\nz\",w\n1,2\n", "<1><2>\n");
    assert_decodes(&options, 2, "", "");
    options.header = COPY_HEADER_MATCH;
    assert_decodes(&options, 2, "a,\"b\"\n1,2\n", "<1><2>\n");
    assert_decodes(&options, 2, "a,c\n1,2\n",
                   "22P04 column name mismatch in header line field 2: got \"c\", expected \"b\"");
    assert_decodes(&options, 2, "a,\n", "22P04 column name mismatch in header line field 2: got \"\", expected \"b\"");
    assert_decodes(&options, 2, "a,b,c\n", "22P04 wrong number of fields in header line: got 3, expected 2");
    assert_decodes(&options, 2, "", "22P04 wrong number of fields in header line: got 1, expected 2");
    options.format = COPY_FORMAT_TEXT;
    assert_decodes(&options, 2, "a\tb\n1\t2\n", "<1><2>\n");
}

static void bad_characters_are_refused(void **state)
{
    (void)state;
    assert_decodes(&text_options, 1, "a\nb\xFF\n", "<a>\n22021 invalid byte sequence for encoding \"UTF8\": 0xff");
    assert_decodes(&text_options, 1, "\\377\n", "22021 invalid byte sequence for encoding \"UTF8\": 0xff");
    assert_decodes(&text_options, 1, "\\000\n", "22021 invalid byte sequence for encoding \"UTF8\": 0x00");
    assert_decodes(&csv_options, 1, "\"\xC3\"\n", "22021 invalid byte sequence for encoding \"UTF8\": 0xc3");
    struct decoded decoded;
    decode(&csv_options, 1, "a\0b\n", 4, 4, ROW_BYTES_MAX, &decoded);
    assert_string_equal(decoded.err.sqlstate, "22021");
    sq_buf_done(&decoded.rows);
}

static void errors_name_the_line(void **state)
{
    (void)state;
    static const struct {
        bool is_csv;
        const char *data;
        const char *detail;
    } rows[] = {
        {false, "1\t2\n3\n", "COPY input, line 2"},
        {false, "1\t2\n3\t4\n5\t6\r\n", "COPY input, line 3"},
        {false, "1\t2\n\\.x", "COPY input, line 2"},
        {true, "1,\"2\n\n\"\n3\n", "COPY input, line 4"}, /* lines of the file, not rows */
        {true, "1,2\r\n1,\"\r\n", "COPY input, line 3"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct decoded decoded;
        decode(rows[i].is_csv ? &csv_options : &text_options, 2, rows[i].data, strlen(rows[i].data), 3, ROW_BYTES_MAX,
               &decoded);
        assert_int_not_equal(decoded.status, SQ_OK);
        assert_string_equal(decoded.err.detail, rows[i].detail);
        sq_buf_done(&decoded.rows);
    }
    struct decoded decoded;
    decode(&csv_options, 1, "a\n\"b\nc\"\nd", 9, 2, ROW_BYTES_MAX, &decoded);
    assert_int_equal(decoded.status, SQ_OK);
    assert_int_equal(decoded.line_number, 4);
    sq_buf_done(&decoded.rows);
}

/* Rows one byte below, at, and one above the limit, with and without newlines within. */
static void rows_have_a_limit(void **state)
{
    (void)state;
    enum { MAX = 1000 };
    char data[MAX + 10];
    for (size_t length = MAX - 1; length <= MAX + 1; length++) {
        static const size_t pieces[] = {1, 7, 5000};
        for (size_t i = 0; i < COUNT_OF(pieces); i++) {
            struct decoded decoded;
            memset(data, 'x', length);
            data[length] = '\n';
            decode(&text_options, 1, data, length + 1, pieces[i], MAX, &decoded);
            assert_int_equal(decoded.status, length <= MAX ? SQ_OK : SQ_LIMIT);
            if (length > MAX)
                assert_string_equal(decoded.err.sqlstate, "54000");
            sq_buf_done(&decoded.rows);
            /* A quote that never ends must not be kept without end. */
            memset(data, '\n', length);
            data[0] = '"';
            decode(&csv_options, 1, data, length, pieces[i], MAX, &decoded);
            assert_int_equal(decoded.status, length <= MAX ? SQ_SQL : SQ_LIMIT);
            sq_buf_done(&decoded.rows);
        }
    }
}

static void many_columns_are_read(void **state)
{
    (void)state;
    struct copy_spec spec;
    struct copy_decoder decoder;
    struct sq_error err;
    const struct copy_row *row;
    size_t used;
    const char **many = calloc(COPY_COLUMNS_MAX, sizeof(*many));
    uint8_t *data = calloc(1, COPY_COLUMNS_MAX);
    assert_true(many != NULL && data != NULL);
    for (size_t i = 0; i < COPY_COLUMNS_MAX; i++)
        many[i] = "x";
    memset(data, ',', COPY_COLUMNS_MAX - 1);
    data[COPY_COLUMNS_MAX - 1] = '\n';
    assert_int_equal(copy_options_check(&csv_options, COPY_FROM, &err, &spec), SQ_OK);
    assert_int_equal(copy_decoder_init(&decoder, &spec, many, COPY_COLUMNS_MAX, ROW_BYTES_MAX, &err), SQ_OK);
    assert_int_equal(copy_decoder_push(&decoder, data, COPY_COLUMNS_MAX, &err, &used, &row), SQ_OK);
    assert_non_null(row);
    assert_int_equal(row->count, COPY_COLUMNS_MAX);
    assert_true(row->fields[COPY_COLUMNS_MAX - 1].is_null);
    copy_decoder_done(&decoder);
    copy_decoder_done(&decoder);
    free(data);
    free(many);
}

/* --- options --------------------------------------------------------------------------------------------------------- */

static void assert_options_fail(struct copy_options options, enum copy_direction direction, const char *sqlstate)
{
    struct copy_spec spec = {.delimiter = '!'};
    struct sq_error err;
    sq_error_clear(&err);
    assert_int_equal(copy_options_check(&options, direction, &err, &spec), SQ_INVALID);
    assert_string_equal(err.sqlstate, sqlstate);
    assert_int_equal(spec.delimiter, '!');
}

/* SQLSTATEs as PostgreSQL 15's for the same options. */
static void options_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const bool none[] = {false};
    const struct copy_columns given = {.is_given = true, .is_set = none};
    const enum copy_format csv = COPY_FORMAT_CSV;
    static const char *const delimiters[] = {"", "ab", "\xC3\xA4", "\x80"};
    for (size_t i = 0; i < COUNT_OF(delimiters); i++) {
        assert_options_fail((struct copy_options){.delimiter = delimiters[i]}, COPY_TO, "0A000");
        assert_options_fail((struct copy_options){.format = csv, .quote = delimiters[i]}, COPY_TO, "0A000");
        assert_options_fail((struct copy_options){.format = csv, .escape = delimiters[i]}, COPY_TO, "0A000");
    }
    for (const char *c = "\n\r\\.az09"; *c != '\0'; c++) {
        char delimiter[2] = {*c, '\0'};
        assert_options_fail((struct copy_options){.delimiter = delimiter}, COPY_FROM, "22023");
    }
    assert_options_fail((struct copy_options){.format = csv, .delimiter = "\n"}, COPY_FROM, "22023");
    assert_options_fail((struct copy_options){.null_text = "a\nb"}, COPY_TO, "22023");
    assert_options_fail((struct copy_options){.null_text = "\r"}, COPY_TO, "22023");
    assert_options_fail((struct copy_options){.null_text = "a\tb"}, COPY_TO, "0A000");
    assert_options_fail((struct copy_options){.quote = "'"}, COPY_TO, "0A000");
    assert_options_fail((struct copy_options){.escape = "'"}, COPY_TO, "0A000");
    assert_options_fail((struct copy_options){.format = csv, .quote = ","}, COPY_TO, "22023");
    assert_options_fail((struct copy_options){.format = csv, .quote = "\n"}, COPY_TO, "22023");
    assert_options_fail((struct copy_options){.format = csv, .null_text = "a\"b"}, COPY_TO, "0A000");
    assert_options_fail((struct copy_options){.force_quote = given}, COPY_TO, "0A000");
    assert_options_fail((struct copy_options){.format = csv, .force_quote = given}, COPY_FROM, "0A000");
    assert_options_fail((struct copy_options){.force_not_null = given}, COPY_FROM, "0A000");
    assert_options_fail((struct copy_options){.format = csv, .force_not_null = given}, COPY_TO, "0A000");
    assert_options_fail((struct copy_options){.force_null = given}, COPY_FROM, "0A000");
    assert_options_fail((struct copy_options){.format = csv, .force_null = given}, COPY_TO, "0A000");
    assert_options_fail((struct copy_options){.header = COPY_HEADER_MATCH}, COPY_TO, "0A000");
    assert_options_fail((struct copy_options){.encoding = "LATIN1"}, COPY_TO, "0A000");
    char null_text[COPY_NULL_BYTES_MAX + 2];
    memset(null_text, 'n', sizeof(null_text));
    null_text[COPY_NULL_BYTES_MAX + 1] = '\0';
    assert_options_fail((struct copy_options){.null_text = null_text}, COPY_TO, "22023");
}

static void options_have_postgresql_defaults(void **state)
{
    (void)state;
    struct copy_spec spec;
    struct sq_error err;
    assert_int_equal(copy_options_check(&text_options, COPY_TO, &err, &spec), SQ_OK);
    assert_int_equal(spec.delimiter, '\t');
    assert_string_equal(spec.null_text, "\\N");
    assert_int_equal(copy_options_check(&csv_options, COPY_TO, &err, &spec), SQ_OK);
    assert_int_equal(spec.delimiter, ',');
    assert_string_equal(spec.null_text, "");
    assert_int_equal(spec.quote, '"');
    assert_int_equal(spec.escape, '"');
    struct copy_options options = {.format = COPY_FORMAT_CSV, .quote = "'", .encoding = "utf-8", .delimiter = "a"};
    char null_text[COPY_NULL_BYTES_MAX + 1];
    memset(null_text, 'n', sizeof(null_text));
    null_text[COPY_NULL_BYTES_MAX] = '\0';
    options.null_text = null_text;
    assert_int_equal(copy_options_check(&options, COPY_TO, &err, &spec), SQ_OK);
    assert_int_equal(spec.escape, '\'');
    assert_int_equal(spec.delimiter, 'a');
    assert_int_equal(spec.null_length, COPY_NULL_BYTES_MAX);
}

/* --- writing --------------------------------------------------------------------------------------------------------- */

static void assert_encodes(const struct copy_options *options, const char *const *texts, size_t count,
                           const char *expected)
{
    struct copy_spec spec;
    struct sq_error err;
    struct sq_buf out;
    struct copy_field fields[4];
    assert_true(count <= COUNT_OF(fields));
    for (size_t i = 0; i < count; i++)
        fields[i] = (struct copy_field){texts[i], texts[i] != NULL ? strlen(texts[i]) : 0, texts[i] == NULL};
    assert_int_equal(copy_options_check(options, COPY_TO, &err, &spec), SQ_OK);
    sq_buf_init(&out, OUT_BYTES_MAX);
    copy_put_row(&out, &spec, fields, count);
    sq_buf_put_u8(&out, 0);
    assert_string_equal((const char *)sq_buf_bytes(&out), expected);
    sq_buf_done(&out);
}

#define ENCODES(options, expected, ...)                                                                                \
    do {                                                                                                               \
        static const char *const texts_[] = {__VA_ARGS__};                                                             \
        assert_encodes((options), texts_, COUNT_OF(texts_), (expected));                                               \
    } while (0)

static void text_rows_are_written(void **state)
{
    (void)state;
    ENCODES(&text_options, "1\t\\N\t\n", "1", NULL, "");
    ENCODES(&text_options, "\\b\\f\\n\\r\\t\\v\\\\\x01\n", "\b\f\n\r\t\v\\\x01");
    ENCODES(&text_options, "\\\\N\t\\\\.\n", "\\N", "\\.");
    ENCODES(&text_options, "\xC3\xA4\"',\n", "\xC3\xA4\"',");
    struct copy_options options = {.delimiter = "|", .null_text = "nil"};
    ENCODES(&options, "a\\|b|nil|\\t\n", "a|b", NULL, "\t");
    options.delimiter = "\x0B";
    ENCODES(&options,
            "a\\vb\x0B"
            "c\n",
            "a\x0B"
            "b",
            "c");
}

static void csv_rows_are_written(void **state)
{
    (void)state;
    ENCODES(&csv_options, "1,,\"\"\n", "1", NULL, "");
    ENCODES(&csv_options, "\"a,b\",\"c\"\"d\",\"e\nf\",\"g\rh\"\n", "a,b", "c\"d", "e\nf", "g\rh");
    ENCODES(&csv_options, "\\N,\\.,a b,\t\n", "\\N", "\\.", "a b", "\t");
    ENCODES(&csv_options, "\"\\.\"\n", "\\.");
    static const bool second[] = {false, true, false};
    struct copy_options options = {.format = COPY_FORMAT_CSV, .force_quote = {.is_given = true, .is_set = second}};
    ENCODES(&options, "a,\"b\",c\n", "a", "b", "c");
    ENCODES(&options, "a,,c\n", "a", NULL, "c");
    options.force_quote = (struct copy_columns){.is_given = true, .is_all = true};
    ENCODES(&options, "\"a\",\"b\"\n", "a", "b");
    options = (struct copy_options){
        .format = COPY_FORMAT_CSV, .delimiter = ";", .quote = "'", .escape = "\\", .null_text = "NULL"};
    ENCODES(&options, "a,b;'it\\'s;';NULL;'NULL'\n", "a,b", "it's;", NULL, "NULL");
    ENCODES(&options, "back\\slash;'q\\'\\\\'\n", "back\\slash", "q'\\");
}

static void headers_are_written(void **state)
{
    (void)state;
    static const char *const columns[] = {"id", "a,b", "c\td"};
    struct copy_options options = {.format = COPY_FORMAT_CSV};
    struct copy_spec spec;
    struct sq_error err;
    struct sq_buf out;
    sq_buf_init(&out, OUT_BYTES_MAX);
    assert_int_equal(copy_options_check(&options, COPY_TO, &err, &spec), SQ_OK);
    copy_put_header(&out, &spec, columns, 3);
    assert_int_equal(sq_buf_length(&out), 0);
    options.header = COPY_HEADER_LINE;
    assert_int_equal(copy_options_check(&options, COPY_TO, &err, &spec), SQ_OK);
    copy_put_header(&out, &spec, columns, 3);
    options.format = COPY_FORMAT_TEXT;
    assert_int_equal(copy_options_check(&options, COPY_TO, &err, &spec), SQ_OK);
    copy_put_header(&out, &spec, columns, 3);
    sq_buf_put_u8(&out, 0);
    assert_string_equal((const char *)sq_buf_bytes(&out), "id,\"a,b\",c\td\nid\ta,b\tc\\td\n");
    sq_buf_done(&out);
}

static void a_full_buffer_is_reported(void **state)
{
    (void)state;
    struct copy_spec spec;
    struct sq_error err;
    struct sq_buf out;
    const struct copy_field field = {"0123456789", 10, false};
    assert_int_equal(copy_options_check(&csv_options, COPY_TO, &err, &spec), SQ_OK);
    sq_buf_init(&out, 10);
    copy_put_row(&out, &spec, &field, 1);
    assert_int_equal(sq_buf_check(&out, &err), SQ_LIMIT);
    sq_buf_done(&out);
}

/* Random rows of awkward characters, in many formats: what is written reads back as it was. */
static void rows_stay_the_same(void **state)
{
    (void)state;
    static const char *const parts[] = {"a", ",",   "\"", "'",    "\\", "\n", "\r", "\t",       "\\.",
                                        "|", "\\N", "N",  "\r\n", "\v", "x4", "1",  "\xC3\xA4", "\x01"};
    static const struct copy_options formats[] = {
        {.format = COPY_FORMAT_TEXT},
        /* In text format a NULL string that a field can be makes that field NULL, in PostgreSQL, too: not "N" here. */
        {.format = COPY_FORMAT_TEXT, .delimiter = "|", .null_text = "nil"},
        {.format = COPY_FORMAT_TEXT, .delimiter = "\v"},
        {.format = COPY_FORMAT_CSV},
        {.format = COPY_FORMAT_CSV, .escape = "\\"},
        {.format = COPY_FORMAT_CSV, .quote = "'", .delimiter = "|", .null_text = "\\N"},
        {.format = COPY_FORMAT_CSV, .force_quote = {.is_given = true, .is_all = true}},
    };
    enum { ROUNDS = 2000, COLUMNS = 3, FIELD_BYTES = 32 };
    unsigned seed = 99;
    for (int round = 0; round < ROUNDS; round++) {
        struct copy_options options = formats[round % (int)COUNT_OF(formats)];
        char bytes[COLUMNS][FIELD_BYTES];
        struct copy_field fields[COLUMNS];
        struct copy_spec spec;
        struct sq_error err;
        struct sq_buf out;
        struct sq_buf expected;
        struct decoded decoded;
        size_t column_count = 1 + (size_t)rand_r(&seed) % COLUMNS;
        sq_buf_init(&out, OUT_BYTES_MAX);
        sq_buf_init(&expected, OUT_BYTES_MAX);
        assert_int_equal(copy_options_check(&options, COPY_TO, &err, &spec), SQ_OK);
        for (int line = rand_r(&seed) % 4; line >= 0; line--) {
            for (size_t i = 0; i < column_count; i++) {
                size_t used = 0;
                for (int part = rand_r(&seed) % 6; part > 0; part--) {
                    const char *text = parts[(size_t)rand_r(&seed) % COUNT_OF(parts)];
                    memcpy(bytes[i] + used, text, strlen(text));
                    used += strlen(text);
                }
                fields[i] = (struct copy_field){bytes[i], used, rand_r(&seed) % 5 == 0};
            }
            copy_put_row(&out, &spec, fields, column_count);
            show_row(&expected, &(struct copy_row){fields, column_count});
        }
        options.force_quote.is_given = false;
        decode(&options, column_count, (const char *)sq_buf_bytes(&out), sq_buf_length(&out),
               1 + (size_t)rand_r(&seed) % 20, ROW_BYTES_MAX, &decoded);
        if (decoded.status != SQ_OK)
            fail_msg("'%.*s': %s", (int)sq_buf_length(&out), (char *)sq_buf_bytes(&out), decoded.err.text);
        assert_int_equal(sq_buf_length(&decoded.rows), sq_buf_length(&expected));
        assert_memory_equal(sq_buf_bytes(&decoded.rows), sq_buf_bytes(&expected), sq_buf_length(&expected));
        sq_buf_done(&out);
        sq_buf_done(&expected);
        sq_buf_done(&decoded.rows);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_rows_are_read),
        cmocka_unit_test(text_escapes_are_undone),
        cmocka_unit_test(text_takes_other_delimiters_and_nulls),
        cmocka_unit_test(too_few_and_too_many_fields_are_errors),
        cmocka_unit_test(newlines_must_be_the_same),
        cmocka_unit_test(the_marker_ends_the_copy),
        cmocka_unit_test(csv_rows_are_read),
        cmocka_unit_test(csv_takes_other_quotes_escapes_and_nulls),
        cmocka_unit_test(forced_columns_change_what_null_is),
        cmocka_unit_test(headers_are_skipped_or_compared),
        cmocka_unit_test(bad_characters_are_refused),
        cmocka_unit_test(errors_name_the_line),
        cmocka_unit_test(rows_have_a_limit),
        cmocka_unit_test(many_columns_are_read),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
        cmocka_unit_test(options_have_postgresql_defaults),
        cmocka_unit_test(text_rows_are_written),
        cmocka_unit_test(csv_rows_are_written),
        cmocka_unit_test(headers_are_written),
        cmocka_unit_test(a_full_buffer_is_reported),
        cmocka_unit_test(rows_stay_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
