/* pgwire/copyformat.c: COPY's options, and rows as lines of text or CSV (manual, page "COPY", "File Formats"). Reading
 * lines is copyformat_decode.c.
 *
 * Text: fields between delimiters, \N for NULL; backslash, newline, carriage return and the delimiter are written with
 * a backslash. CSV: a field is quoted where it would otherwise be read as something else. */
#include "pgwire/copyformat.h"

#include <strings.h>

/* --- options ------------------------------------------------------------------------------------------------------ */

/* One byte of ASCII, which is what a one-byte character is in UTF-8. */
static bool is_one_byte(const char *text)
{
    return text[0] > 0 && text[1] == '\0';
}

static sq_status check_delimiter(const struct copy_options *options, struct sq_error *err, struct copy_spec *spec)
{
    bool is_csv = options->format == COPY_FORMAT_CSV;
    const char *delimiter = options->delimiter != NULL ? options->delimiter : is_csv ? "," : "\t";
    if (!is_one_byte(delimiter))
        return sq_fail_sql(err, SQ_INVALID, "0A000", "COPY delimiter must be a single one-byte character");
    if (delimiter[0] == '\n' || delimiter[0] == '\r')
        return sq_fail_sql(err, SQ_INVALID, "22023", "COPY delimiter cannot be newline or carriage return");
    /* What may stand behind a backslash in text format. */
    if (!is_csv && strchr("\\.abcdefghijklmnopqrstuvwxyz0123456789", delimiter[0]) != NULL)
        return sq_fail_sql(err, SQ_INVALID, "22023", "COPY delimiter cannot be \"%s\"", delimiter);
    spec->delimiter = delimiter[0];
    return SQ_OK;
}

static sq_status check_null(const struct copy_options *options, struct sq_error *err, struct copy_spec *spec)
{
    bool is_csv = options->format == COPY_FORMAT_CSV;
    const char *null_text = options->null_text != NULL ? options->null_text : is_csv ? "" : "\\N";
    size_t length = strlen(null_text);
    if (length > COPY_NULL_BYTES_MAX)
        return sq_fail_sql(err, SQ_INVALID, "22023", "COPY null representation is longer than %d bytes",
                           (int)COPY_NULL_BYTES_MAX);
    if (strpbrk(null_text, "\r\n") != NULL)
        return sq_fail_sql(err, SQ_INVALID, "22023", "COPY null representation cannot use newline or carriage return");
    memcpy(spec->null_text, null_text, length + 1);
    spec->null_length = length;
    return SQ_OK;
}

static sq_status check_quote(const struct copy_options *options, struct sq_error *err, struct copy_spec *spec)
{
    bool is_csv = options->format == COPY_FORMAT_CSV;
    const char *quote = options->quote != NULL ? options->quote : "\"";
    const char *escape = options->escape != NULL ? options->escape : quote;
    if (!is_csv && options->quote != NULL)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "COPY quote available only in CSV mode");
    if (!is_csv && options->escape != NULL)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "COPY escape available only in CSV mode");
    if (!is_csv)
        return SQ_OK;
    if (!is_one_byte(quote))
        return sq_fail_sql(err, SQ_INVALID, "0A000", "COPY quote must be a single one-byte character");
    if (quote[0] == spec->delimiter)
        return sq_fail_sql(err, SQ_INVALID, "22023", "COPY delimiter and quote must be different");
    if (!is_one_byte(escape))
        return sq_fail_sql(err, SQ_INVALID, "0A000", "COPY escape must be a single one-byte character");
    /* PostgreSQL takes these and then cannot read its own output. */
    if (strchr("\r\n", quote[0]) != NULL || strchr("\r\n", escape[0]) != NULL)
        return sq_fail_sql(err, SQ_INVALID, "22023", "COPY quote and escape cannot be newline or carriage return");
    spec->quote = quote[0];
    spec->escape = escape[0];
    return SQ_OK;
}

static sq_status check_columns(const struct copy_columns *columns, const char *name, bool is_csv,
                               enum copy_direction direction, enum copy_direction needed, struct sq_error *err)
{
    if (!columns->is_given)
        return SQ_OK;
    if (!is_csv)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "COPY %s available only in CSV mode", name);
    if (direction != needed)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "COPY %s only available using COPY %s", name,
                           needed == COPY_TO ? "TO" : "FROM");
    return SQ_OK;
}

sq_status copy_options_check(const struct copy_options *options, enum copy_direction direction, struct sq_error *err,
                             struct copy_spec *ret_spec)
{
    bool is_csv = options->format == COPY_FORMAT_CSV;
    struct copy_spec spec = {
        .format = options->format,
        .header = options->header,
        .force_quote = options->force_quote,
        .force_not_null = options->force_not_null,
        .force_null = options->force_null,
    };
    if (options->encoding != NULL && strcasecmp(options->encoding, "utf8") != 0 &&
        strcasecmp(options->encoding, "utf-8") != 0 && strcasecmp(options->encoding, "unicode") != 0)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "COPY encoding must be UTF8, not \"%.64s\"", options->encoding);
    if (options->header == COPY_HEADER_MATCH && direction == COPY_TO)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "cannot use \"match\" with HEADER in COPY TO");
    SQ_TRY(check_delimiter(options, err, &spec));
    SQ_TRY(check_null(options, err, &spec));
    SQ_TRY(check_quote(options, err, &spec));
    SQ_TRY(check_columns(&options->force_quote, "force quote", is_csv, direction, COPY_TO, err));
    SQ_TRY(check_columns(&options->force_not_null, "force not null", is_csv, direction, COPY_FROM, err));
    SQ_TRY(check_columns(&options->force_null, "force null", is_csv, direction, COPY_FROM, err));
    if (strchr(spec.null_text, spec.delimiter) != NULL)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "COPY delimiter must not appear in the NULL specification");
    if (is_csv && strchr(spec.null_text, spec.quote) != NULL)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "CSV quote character must not appear in the NULL specification");
    *ret_spec = spec;
    return SQ_OK;
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

/* The letter that stands behind a backslash for a byte, 0 if the byte is written as it is. */
static char text_escape(const struct copy_spec *spec, char c)
{
    switch (c) {
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\v':
        return 'v';
    case '\\':
        return '\\';
    default:
        return c == spec->delimiter ? c : '\0';
    }
}

static void put_text_field(struct sq_buf *out, const struct copy_spec *spec, const char *data, size_t length)
{
    size_t start = 0; /* of what is not yet written */
    for (size_t i = 0; i < length; i++) {
        /* Only control characters, backslash and delimiter are special: skip the many others quickly. */
        if ((unsigned char)data[i] > '\r' && data[i] != '\\' && data[i] != spec->delimiter)
            continue;
        char escape = text_escape(spec, data[i]);
        if (escape == '\0')
            continue;
        sq_buf_put(out, data + start, i - start);
        sq_buf_put_u8(out, '\\');
        sq_buf_put_u8(out, (uint8_t)escape);
        start = i + 1;
    }
    sq_buf_put(out, data + start, length - start);
}

static bool is_null_text(const struct copy_spec *spec, const char *data, size_t length)
{
    return length == spec->null_length && (length == 0 || memcmp(data, spec->null_text, length) == 0);
}

static bool csv_needs_quotes(const struct copy_spec *spec, const char *data, size_t length, bool is_only)
{
    if (is_null_text(spec, data, length))
        return true;
    /* Alone on a line, this would end the copy. */
    if (is_only && length == 2 && data[0] == '\\' && data[1] == '.')
        return true;
    for (size_t i = 0; i < length; i++) {
        if (data[i] == spec->delimiter || data[i] == spec->quote || data[i] == '\n' || data[i] == '\r')
            return true;
    }
    return false;
}

static void put_csv_field(struct sq_buf *out, const struct copy_spec *spec, const char *data, size_t length,
                          bool is_forced, bool is_only)
{
    if (!is_forced && !csv_needs_quotes(spec, data, length, is_only)) {
        sq_buf_put(out, data, length);
        return;
    }
    sq_buf_put_u8(out, (uint8_t)spec->quote);
    size_t start = 0;
    for (size_t i = 0; i < length; i++) {
        if (data[i] != spec->quote && data[i] != spec->escape)
            continue;
        sq_buf_put(out, data + start, i - start);
        sq_buf_put_u8(out, (uint8_t)spec->escape);
        start = i;
    }
    sq_buf_put(out, data + start, length - start);
    sq_buf_put_u8(out, (uint8_t)spec->quote);
}

static bool columns_have(const struct copy_columns *columns, size_t index)
{
    return columns->is_given && (columns->is_all || columns->is_set[index]);
}

static void put_field(struct sq_buf *out, const struct copy_spec *spec, const char *data, size_t length, size_t index,
                      bool is_forced, bool is_only)
{
    if (index > 0)
        sq_buf_put_u8(out, (uint8_t)spec->delimiter);
    if (spec->format == COPY_FORMAT_CSV)
        put_csv_field(out, spec, data, length, is_forced, is_only);
    else
        put_text_field(out, spec, data, length);
}

void copy_put_header(struct sq_buf *out, const struct copy_spec *spec, const char *const *column_names,
                     size_t column_count)
{
    if (spec->header == COPY_HEADER_NONE)
        return;
    for (size_t i = 0; i < column_count; i++)
        put_field(out, spec, column_names[i], strlen(column_names[i]), i, false, column_count == 1);
    sq_buf_put_u8(out, '\n');
}

void copy_put_row(struct sq_buf *out, const struct copy_spec *spec, const struct copy_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!fields[i].is_null) {
            put_field(out, spec, fields[i].data, fields[i].length, i, columns_have(&spec->force_quote, i), count == 1);
            continue;
        }
        if (i > 0)
            sq_buf_put_u8(out, (uint8_t)spec->delimiter);
        sq_buf_put(out, spec->null_text, spec->null_length);
    }
    sq_buf_put_u8(out, '\n');
}
