/* pgwire/copyformat_decode.c: COPY's lines, read; the interface is copyformat.h.
 *
 * Two steps, as in PostgreSQL (src/backend/commands/copyfromparse.c), because they agree only so on odd input: first
 * the end of the row is found, in pieces as they come, then its fields, within `line`, where they are unescaped in
 * place (they only get shorter).
 *
 * The first step is a small machine. It starts in LINE at the beginning of each row:
 *
 *     LINE --- \ (text: anywhere; CSV: first of the line) --> BACKSLASH --- . (first of the line) --> MARK --- newline
 *       |  <-------------- anything else ------------------------'                                      |      --> end
 *       |  <-------------- CSV: anything else ----------------------------------------------------------'
 *       '-- carriage return, if lines may end with CR LF --> CR --- newline --> row; anything else --> row, or error
 *
 * CSV quotes are two flags beside it: newlines and carriage returns within quotes are data.
 *
 * Invariants: (1) `line` holds the bytes of one row without its newline; (2) the first newline decides what all
 * newlines are (`newline`); others are errors, which catches files whose newlines were mangled. */
#include <stdlib.h>

#include "base/utf8.h"
#include "pgwire/copyformat.h"
#include "pgwire/pgtype_internal.h"

enum copy_state { STATE_LINE, STATE_BACKSLASH, STATE_MARK, STATE_CR };

sq_status copy_decoder_init(struct copy_decoder *decoder, const struct copy_spec *spec, const char *const *column_names,
                            size_t column_count, size_t row_bytes_max, struct sq_error *err)
{
    sq_assert(column_count >= 1 && column_count <= COPY_COLUMNS_MAX);
    sq_assert(row_bytes_max > 0);
    *decoder = (struct copy_decoder){
        .spec = *spec,
        .column_names = column_names,
        .column_count = column_count,
        .state = STATE_LINE,
        .is_header_next = spec->header != COPY_HEADER_NONE,
    };
    sq_buf_init(&decoder->line, row_bytes_max);
    decoder->fields = calloc(column_count, sizeof(decoder->fields[0]));
    /* A first byte of room: `line` has an address from now on, even for an empty row. */
    if (decoder->fields == NULL || !sq_buf_reserve(&decoder->line, 1)) {
        copy_decoder_done(decoder);
        return sq_fail(err, SQ_NOMEM, "out of memory for COPY of %zu columns", column_count);
    }
    return SQ_OK;
}

void copy_decoder_done(struct copy_decoder *decoder)
{
    sq_buf_done(&decoder->line);
    free(decoder->fields);
    decoder->fields = NULL;
}

/* Adds the place to an error that has just been filled. */
static sq_status at_line(uint64_t line_number, struct sq_error *err, sq_status status)
{
    sq_error_set_detail(err, "COPY input, line %llu", (unsigned long long)line_number);
    return status;
}

static bool is_csv(const struct copy_decoder *decoder)
{
    return decoder->spec.format == COPY_FORMAT_CSV;
}

/* --- bytes --------------------------------------------------------------------------------------------------------- */

#define EACH_BYTE UINT64_C(0x0101010101010101)

/* How many bytes at the front, in eights, are surely none of `stops`. A byte of a word is 0 where the word and eight
 * times the stop are the same; subtracting 1 from each byte then sets a high bit that was not set. */
static inline size_t skip_eights(const char *data, size_t length, const char *stops, size_t stop_count)
{
    size_t at = 0;
    for (; length - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word;
        uint64_t found = 0;
        memcpy(&word, data + at, sizeof(word));
        for (size_t i = 0; i < stop_count; i++) {
            uint64_t differences = word ^ EACH_BYTE * (unsigned char)stops[i];
            found |= (differences - EACH_BYTE) & ~differences;
        }
        if ((found & EACH_BYTE << 7) != 0)
            break;
    }
    return at;
}

/* --- fields ------------------------------------------------------------------------------------------------------- */

static bool columns_have(const struct copy_columns *columns, size_t index)
{
    return columns->is_given && (columns->is_all || columns->is_set[index]);
}

static bool is_null_text(const struct copy_spec *spec, const char *data, size_t length)
{
    return length == spec->null_length && (length == 0 || memcmp(data, spec->null_text, length) == 0);
}

static sq_status check_encoding(const struct copy_decoder *decoder, const char *data, size_t length,
                                struct sq_error *err)
{
    size_t valid = sq_utf8_valid_prefix(data, length);
    const char *nul = valid > 0 ? memchr(data, '\0', valid) : NULL;
    if (nul == NULL && valid == length)
        return SQ_OK;
    unsigned byte = nul != NULL ? 0 : (unsigned char)data[valid];
    return at_line(decoder->line_number, err,
                   sq_fail_sql(err, SQ_SQL, "22021", "invalid byte sequence for encoding \"UTF8\": 0x%02x", byte));
}

/* Up to `digits_max` digits below `base` behind *at; -1: there is none. */
static int read_code(const char *data, size_t length, size_t *at, int base, int digits_max)
{
    int code = 0;
    int count = 0;
    for (; count < digits_max && *at < length; count++) {
        char c = data[*at];
        int digit = pgtype_hex_digit(c);
        if (digit < 0 || digit >= base)
            break;
        code = code * base + digit;
        (*at)++;
    }
    return count > 0 ? code & 0xFF : -1;
}

/* Text format's backslash sequences (manual, "Text Format"): \b \f \n \r \t \v \ooo \xhh; before any other character a
 * backslash just goes. Returns the new length. */
static size_t text_unescape(char *data, size_t length)
{
    static const char letters[] = "bfnrtv";
    static const char bytes[] = "\b\f\n\r\t\v";
    size_t used = 0;
    for (size_t at = 0; at < length;) {
        char c = data[at++];
        if (c != '\\') {
            data[used++] = c;
            continue;
        }
        /* Only the end of the data can cut a sequence off; PostgreSQL drops the backslash, too. */
        if (at == length)
            break;
        int code = read_code(data, length, &at, 8, 3);
        if (code < 0) {
            c = data[at++];
            const char *letter = c != '\0' ? strchr(letters, c) : NULL;
            if (c == 'x')
                code = read_code(data, length, &at, 16, 2);
            if (code < 0)
                code = (unsigned char)(letter != NULL ? bytes[letter - letters] : c);
        }
        data[used++] = (char)code;
    }
    return used;
}

/* Takes `line` apart; fields beyond the last column are counted but not kept. */
static sq_status parse_text(struct copy_decoder *decoder, char *line, size_t length, struct sq_error *err,
                            size_t *ret_count)
{
    size_t count = 0;
    for (size_t at = 0;; at++, count++) {
        size_t start = at;
        bool has_backslash = false;
        at += skip_eights(line + at, length - at, (const char[]){decoder->spec.delimiter, '\\'}, 2);
        while (at < length && line[at] != decoder->spec.delimiter) {
            if (line[at] == '\\') {
                has_backslash = true;
                at++; /* whatever follows is no delimiter */
            }
            at++;
        }
        if (at > length)
            at = length;
        struct copy_field field = {line + start, at - start, is_null_text(&decoder->spec, line + start, at - start)};
        if (has_backslash && !field.is_null) {
            field.length = text_unescape(line + start, field.length);
            SQ_TRY(check_encoding(decoder, field.data, field.length, err));
        }
        if (count < decoder->column_count)
            decoder->fields[count] = field;
        if (at == length)
            break;
    }
    *ret_count = count + 1;
    return SQ_OK;
}

/* One CSV field from *at on, unescaped in place; *at is then its delimiter or the end. False: no closing quote. */
static bool parse_csv_field(const struct copy_spec *spec, char *line, size_t length, size_t *at, struct copy_field *ret,
                            bool *ret_is_quoted)
{
    size_t start = *at;
    size_t used = start;
    bool is_within = false;
    *ret_is_quoted = false;
    size_t i = start;
    for (; i < length; i++) {
        char c = line[i];
        if (!is_within && c == spec->delimiter)
            break;
        if (!is_within && c == spec->quote) {
            is_within = true;
            *ret_is_quoted = true;
        } else if (is_within && c == spec->escape && i + 1 < length &&
                   (line[i + 1] == spec->escape || line[i + 1] == spec->quote)) {
            line[used++] = line[++i];
        } else if (is_within && c == spec->quote) {
            is_within = false;
        } else {
            line[used++] = c;
        }
    }
    *at = i;
    *ret = (struct copy_field){line + start, used - start, false};
    return !is_within;
}

static sq_status parse_csv(struct copy_decoder *decoder, char *line, size_t length, struct sq_error *err,
                           size_t *ret_count)
{
    const struct copy_spec *spec = &decoder->spec;
    size_t count = 0;
    for (size_t at = 0;; at++, count++) {
        struct copy_field field;
        bool is_quoted;
        if (!parse_csv_field(spec, line, length, &at, &field, &is_quoted))
            return at_line(decoder->line_number, err,
                           sq_fail_sql(err, SQ_SQL, "22P04", "unterminated CSV quoted field"));
        if (count < decoder->column_count) {
            bool is_null = is_null_text(spec, field.data, field.length);
            field.is_null = is_quoted ? is_null && columns_have(&spec->force_null, count) : is_null;
            if (columns_have(&spec->force_not_null, count) && !is_quoted)
                field.is_null = false;
            decoder->fields[count] = field;
        }
        if (at == length)
            break;
    }
    *ret_count = count + 1;
    return SQ_OK;
}

/* HEADER MATCH: the names must be the columns', in their order. */
static sq_status check_header(const struct copy_decoder *decoder, size_t count, struct sq_error *err)
{
    if (count != decoder->column_count)
        return at_line(decoder->line_number, err,
                       sq_fail_sql(err, SQ_SQL, "22P04", "wrong number of fields in header line: got %zu, expected %zu",
                                   count, decoder->column_count));
    for (size_t i = 0; i < count; i++) {
        const struct copy_field *field = &decoder->fields[i];
        const char *name = decoder->column_names[i];
        if (field->is_null || field->length != strlen(name) || memcmp(field->data, name, field->length) != 0)
            return at_line(decoder->line_number, err,
                           sq_fail_sql(err, SQ_SQL, "22P04",
                                       "column name mismatch in header line field %zu: got \"%.*s\", expected \"%s\"",
                                       i + 1, (int)(field->length < 64 ? field->length : 64), field->data, name));
    }
    return SQ_OK;
}

/* The row that is whole in `line`; *ret_row stays NULL for a header. */
static sq_status finish_line(struct copy_decoder *decoder, struct sq_error *err, const struct copy_row **ret_row)
{
    bool is_header = decoder->is_header_next;
    char *line = (char *)sq_buf_bytes(&decoder->line);
    size_t length = sq_buf_length(&decoder->line);
    size_t count = 0;
    decoder->line_number++;
    decoder->is_header_next = false;
    decoder->is_line_done = true;
    decoder->state = STATE_LINE;
    if (is_header && decoder->spec.header == COPY_HEADER_LINE)
        return SQ_OK;
    SQ_TRY(check_encoding(decoder, line, length, err));
    if (is_csv(decoder))
        SQ_TRY(parse_csv(decoder, line, length, err, &count));
    else
        SQ_TRY(parse_text(decoder, line, length, err, &count));
    if (is_header)
        return check_header(decoder, count, err);
    if (count > decoder->column_count)
        return at_line(decoder->line_number, err,
                       sq_fail_sql(err, SQ_SQL, "22P04", "extra data after last expected column"));
    if (count < decoder->column_count)
        return at_line(
            decoder->line_number, err,
            sq_fail_sql(err, SQ_SQL, "22P04", "missing data for column \"%s\"", decoder->column_names[count]));
    decoder->row = (struct copy_row){decoder->fields, count};
    *ret_row = &decoder->row;
    return SQ_OK;
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

static sq_status fail_newline(const struct copy_decoder *decoder, bool is_cr, struct sq_error *err)
{
    const char *what = is_cr ? "carriage return" : "newline";
    sq_status status = sq_fail_sql(err, SQ_SQL, "22P04",
                                   is_csv(decoder) ? "unquoted %s found in data" : "literal %s found in data", what);
    if (is_csv(decoder))
        sq_error_set_hint(err, "Use quoted CSV field to represent %s.", what);
    else
        sq_error_set_hint(err, "Use \"%s\" to represent %s.", is_cr ? "\\r" : "\\n", what);
    return at_line(decoder->line_number + 1, err, status);
}

static sq_status fail_mark(const struct copy_decoder *decoder, struct sq_error *err)
{
    return at_line(decoder->line_number + 1, err, sq_fail_sql(err, SQ_SQL, "22P04", "end-of-copy marker corrupt"));
}

/* What a byte does to the row that is being read. */
enum copy_step {
    STEP_TAKE,      /* it belongs to the row */
    STEP_SKIP,      /* it belongs to the newline, which is not whole */
    STEP_ROW,       /* it was the last of the newline */
    STEP_ROW_AGAIN, /* the row was whole before it: it belongs to the next */
    STEP_END,       /* the end-of-copy marker is whole */
};

static sq_status step_newline(struct copy_decoder *decoder, char c, struct sq_error *err, enum copy_step *ret_step)
{
    bool is_cr = c == '\r';
    enum copy_newline newline = decoder->newline;
    if (is_cr && (newline == COPY_NEWLINE_UNKNOWN || newline == COPY_NEWLINE_CRLF)) {
        decoder->state = STATE_CR;
        *ret_step = STEP_SKIP;
        return SQ_OK;
    }
    if (is_cr ? newline != COPY_NEWLINE_CR : newline == COPY_NEWLINE_CR || newline == COPY_NEWLINE_CRLF)
        return fail_newline(decoder, is_cr, err);
    if (!is_cr)
        decoder->newline = COPY_NEWLINE_LF;
    *ret_step = STEP_ROW;
    return SQ_OK;
}

/* Behind a carriage return that ends a row; any byte but a newline (or none at all) is not part of it. */
static sq_status step_cr(struct copy_decoder *decoder, bool is_newline, struct sq_error *err, enum copy_step *ret_step)
{
    if (!is_newline && decoder->newline == COPY_NEWLINE_CRLF)
        return fail_newline(decoder, true, err);
    decoder->newline = is_newline ? COPY_NEWLINE_CRLF : COPY_NEWLINE_CR;
    *ret_step = is_newline ? STEP_ROW : STEP_ROW_AGAIN;
    return SQ_OK;
}

/* A newline behind \. that is alone on its line. */
static sq_status step_end(struct copy_decoder *decoder, char c, struct sq_error *err, enum copy_step *ret_step)
{
    char expected = decoder->newline == COPY_NEWLINE_LF ? '\n' : '\r';
    if (decoder->newline != COPY_NEWLINE_UNKNOWN && c != expected)
        return at_line(decoder->line_number + 1, err,
                       sq_fail_sql(err, SQ_SQL, "22P04", "end-of-copy marker does not match previous newline style"));
    *ret_step = STEP_END;
    return SQ_OK;
}

/* Follows CSV's quotes. An escape character that is not the quote itself counts within quotes only. */
static void track_quotes(struct copy_decoder *decoder, char c)
{
    const struct copy_spec *spec = &decoder->spec;
    bool is_escape = decoder->is_quoted && !decoder->is_escaped && spec->escape != spec->quote && c == spec->escape;
    if (c == spec->quote && !decoder->is_escaped)
        decoder->is_quoted = !decoder->is_quoted;
    decoder->is_escaped = is_escape;
}

/* A byte in STATE_LINE; `index`: its place in the row. */
static sq_status step_line(struct copy_decoder *decoder, char c, size_t index, struct sq_error *err,
                           enum copy_step *ret_step)
{
    bool may_be_mark = c == '\\';
    *ret_step = STEP_TAKE;
    if (is_csv(decoder)) {
        bool was_quoted = decoder->is_quoted;
        track_quotes(decoder, c);
        if (was_quoted) {
            decoder->line_number += c == '\n' || (c == '\r' && decoder->newline == COPY_NEWLINE_CR);
            return SQ_OK;
        }
        may_be_mark = c == '\\' && index == 0 && !decoder->is_quoted;
    }
    if (may_be_mark)
        decoder->state = STATE_BACKSLASH;
    else if (c == '\n' || c == '\r')
        return step_newline(decoder, c, err, ret_step);
    return SQ_OK;
}

static sq_status step_byte(struct copy_decoder *decoder, char c, size_t index, struct sq_error *err,
                           enum copy_step *ret_step)
{
    switch ((enum copy_state)decoder->state) {
    case STATE_CR:
        return step_cr(decoder, c == '\n', err, ret_step);
    case STATE_MARK:
        if (c == '\n' || c == '\r')
            return step_end(decoder, c, err, ret_step);
        if (!is_csv(decoder))
            return fail_mark(decoder, err);
        break;
    case STATE_BACKSLASH:
        *ret_step = STEP_TAKE;
        if (c == '.' && index == 1) {
            decoder->state = STATE_MARK;
            return SQ_OK;
        }
        if (is_csv(decoder))
            break;
        if (c == '.')
            return at_line(decoder->line_number + 1, err,
                           sq_fail_sql(err, SQ_SQL, "22P04", "end-of-copy marker is not alone on its line"));
        /* Whatever stands behind a backslash is data, a newline, too. */
        decoder->state = STATE_LINE;
        return SQ_OK;
    case STATE_LINE:
        break;
    }
    decoder->state = STATE_LINE;
    return step_line(decoder, c, index, err, ret_step);
}

/* Bytes at the front that are data for sure, in STATE_LINE. */
static size_t plain_bytes(const struct copy_decoder *decoder, const uint8_t *data, size_t length)
{
    char quote = is_csv(decoder) ? decoder->spec.quote : '\\';
    char escape = is_csv(decoder) ? decoder->spec.escape : '\\';
    size_t count = 0;
    if (decoder->is_escaped)
        return 0;
    if (is_csv(decoder))
        count = skip_eights((const char *)data, length, (const char[]){'\n', '\r', '\\', quote, escape}, 5);
    else
        count = skip_eights((const char *)data, length, (const char[]){'\n', '\r', '\\'}, 3);
    for (; count < length; count++) {
        char c = (char)data[count];
        if (c == '\n' || c == '\r' || c == '\\' || c == quote || c == escape)
            break;
    }
    return count;
}

/* Adds the bytes that belong to the row to `line`. */
static sq_status keep_bytes(struct copy_decoder *decoder, const uint8_t *data, size_t length, struct sq_error *err)
{
    sq_buf_put(&decoder->line, data, length);
    if (SQ_LIKELY(!decoder->line.is_failed))
        return SQ_OK;
    sq_status status = decoder->line.is_over_max
                           ? sq_fail(err, SQ_LIMIT, "a row of COPY is longer than %zu bytes", decoder->line.max)
                           : sq_fail(err, SQ_NOMEM, "out of memory for a row of COPY");
    return at_line(decoder->line_number + 1, err, status);
}

/* Takes bytes up to the end of the row, or all; *ret_is_whole: the row is in `line`. */
static sq_status read_line(struct copy_decoder *decoder, const uint8_t *data, size_t length, struct sq_error *err,
                           size_t *ret_taken, bool *ret_is_whole)
{
    size_t base = sq_buf_length(&decoder->line);
    size_t room = decoder->line.max - base;
    size_t at = 0;
    enum copy_step step = STEP_TAKE;
    /* The first byte too many is looked at (it may be the newline), and none behind it: however the data is cut into
     * pieces, the same error comes first. */
    if (length > room)
        length = room + 1;
    while (at < length) {
        if (decoder->state == STATE_LINE)
            at += plain_bytes(decoder, data + at, length - at);
        if (at == length)
            break;
        SQ_TRY(step_byte(decoder, (char)data[at], base + at, err, &step));
        if (step != STEP_TAKE)
            break;
        at++;
    }
    SQ_TRY(keep_bytes(decoder, data, at, err));
    decoder->is_ended = step == STEP_END;
    *ret_taken = at + (step == STEP_SKIP || step == STEP_ROW || step == STEP_END);
    *ret_is_whole = step == STEP_ROW || step == STEP_ROW_AGAIN;
    return SQ_OK;
}

/* The row that was handed out makes room for the next. */
static void begin_line(struct copy_decoder *decoder)
{
    if (!decoder->is_line_done)
        return;
    sq_buf_truncate(&decoder->line, 0);
    decoder->is_line_done = false;
    decoder->is_quoted = false;
    decoder->is_escaped = false;
}

sq_status copy_decoder_push(struct copy_decoder *decoder, const uint8_t *data, size_t length, struct sq_error *err,
                            size_t *ret_used, const struct copy_row **ret_row)
{
    const struct copy_row *row = NULL;
    size_t used = 0;
    sq_assert(decoder->fields != NULL);
    while (used < length && row == NULL && !decoder->is_ended) {
        size_t taken;
        bool is_whole;
        begin_line(decoder);
        SQ_TRY(read_line(decoder, data + used, length - used, err, &taken, &is_whole));
        used += taken;
        if (is_whole)
            SQ_TRY(finish_line(decoder, err, &row));
    }
    *ret_used = decoder->is_ended ? length : used;
    *ret_row = row;
    return SQ_OK;
}

sq_status copy_decoder_finish(struct copy_decoder *decoder, struct sq_error *err, const struct copy_row **ret_row)
{
    const struct copy_row *row = NULL;
    sq_assert(decoder->fields != NULL);
    begin_line(decoder);
    bool is_whole = sq_buf_length(&decoder->line) > 0 && !decoder->is_ended;
    /* The marker needs its newline; without, it is data for CSV, as in PostgreSQL. */
    if (decoder->state == STATE_MARK && !decoder->is_ended && !is_csv(decoder))
        return fail_mark(decoder, err);
    if (decoder->state == STATE_CR) {
        enum copy_step step;
        SQ_TRY(step_cr(decoder, false, err, &step));
        is_whole = true;
    }
    /* A header that must match must be there: none is an empty one. */
    if (decoder->is_header_next && decoder->spec.header == COPY_HEADER_MATCH && !is_whole) {
        sq_buf_truncate(&decoder->line, 0);
        is_whole = true;
    }
    if (is_whole)
        SQ_TRY(finish_line(decoder, err, &row));
    *ret_row = row;
    return SQ_OK;
}
