/* pgwire/copyformat.h: COPY's text and CSV formats, both ways (manual, page "COPY", "File Formats").
 *
 *   options (what the user wrote) -- copy_options_check() --> struct copy_spec (all defaults filled in)
 *   CopyData bytes -- copy_decoder_push(), _finish() --> rows of fields        COPY … FROM STDIN
 *   rows of fields -- copy_put_header(), copy_put_row() --> bytes              COPY … TO STDOUT
 *
 * The decoder takes CopyData in pieces of any size: message boundaries do not matter, and a row may span many. It keeps
 * one row, of at most `row_bytes_max` bytes. Everything is UTF-8; other bytes and NUL are refused (22021).
 *
 * Differences from PostgreSQL 15, both of them refusals: data before \. on its line is an error (as from PostgreSQL 18
 * on), not a last row; a newline is no quote and no escape character.
 *
 * Threads: one at a time for each decoder; the rest is pure. */
#ifndef SQ_PGWIRE_COPYFORMAT_H
#define SQ_PGWIRE_COPYFORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

enum copy_direction { COPY_FROM, COPY_TO };
enum copy_format { COPY_FORMAT_TEXT, COPY_FORMAT_CSV };
enum copy_header { COPY_HEADER_NONE, COPY_HEADER_LINE, COPY_HEADER_MATCH };

enum {
    COPY_COLUMNS_MAX = 32767,      /* SQLite's own most (sqlite.org/limits.html) */
    COPY_NULL_BYTES_MAX = 255,     /* of the NULL string */
    COPY_ROW_BYTES_MAX = 64 << 20, /* a sensible row_bytes_max */
};

/* Some of the columns that are copied, by their place in the copy's column list. */
struct copy_columns {
    bool is_given;
    bool is_all;        /* `*`, for FORCE_QUOTE */
    const bool *is_set; /* column_count of them; not looked at if is_all or not is_given */
};

/* What the user wrote; all zero: nothing. Texts are borrowed. NULL: not given. */
struct copy_options {
    enum copy_format format;
    enum copy_header header;
    const char *delimiter;
    const char *null_text;
    const char *quote;
    const char *escape;
    const char *encoding;
    struct copy_columns force_quote;
    struct copy_columns force_not_null;
    struct copy_columns force_null;
};

/* Checked, with defaults. Column sets borrow from the options. */
struct copy_spec {
    enum copy_format format;
    enum copy_header header;
    char delimiter;
    char quote;
    char escape;
    size_t null_length;
    char null_text[COPY_NULL_BYTES_MAX + 1];
    struct copy_columns force_quote;
    struct copy_columns force_not_null;
    struct copy_columns force_null;
};

/* SQ_INVALID with PostgreSQL's SQLSTATE (22023 or 0A000) if the options make no sense together. */
SQ_MUST_USE sq_status copy_options_check(const struct copy_options *options, enum copy_direction direction,
                                         struct sq_error *err, struct copy_spec *ret_spec);

struct copy_field {
    const char *data; /* not NUL-terminated */
    size_t length;
    bool is_null;
};

/* A row: `count` is always the decoder's column count. */
struct copy_row {
    const struct copy_field *fields;
    size_t count;
};

enum copy_newline { COPY_NEWLINE_UNKNOWN, COPY_NEWLINE_LF, COPY_NEWLINE_CR, COPY_NEWLINE_CRLF };

/* The fields are copyformat.c's own, but for `line_number` and `is_ended`. */
struct copy_decoder {
    uint64_t line_number; /* of the row last returned, from 1; a row of many lines: its last */
    bool is_ended;        /* \. came: whatever follows is ignored */

    struct copy_spec spec;
    const char *const *column_names;
    size_t column_count;
    struct copy_field *fields; /* column_count of them */
    struct copy_row row;
    struct sq_buf line; /* the bytes of the row so far */
    enum copy_newline newline;
    int state;
    bool is_quoted;      /* CSV: within quotes */
    bool is_escaped;     /* CSV: right behind an escape character within quotes */
    bool is_line_done;   /* `line` is a row that has been handed out */
    bool is_header_next; /* the next line is the header */
};

/* Starts a decoder. `column_names` (column_count >= 1 of them) must outlive it: errors name them, HEADER MATCH
 * compares them. `row_bytes_max` is the most bytes of one row, as they come. */
SQ_MUST_USE sq_status copy_decoder_init(struct copy_decoder *decoder, const struct copy_spec *spec,
                                        const char *const *column_names, size_t column_count, size_t row_bytes_max,
                                        struct sq_error *err);
/* Frees; a decoder that copy_decoder_init() failed to start, or all zero, is allowed. */
void copy_decoder_done(struct copy_decoder *decoder);

/* Takes bytes up to the end of the next row. *ret_used: how many it took. *ret_row: the row, valid until the next call;
 * or NULL: all `length` bytes were taken and the row is not complete. Call it again with the rest:
 *
 *     for (size_t at = 0; at < length; at += used) {
 *         SQ_TRY(copy_decoder_push(&decoder, data + at, length - at, err, &used, &row));
 *         if (row != NULL) … insert …
 *     }
 *
 * Fails with SQ_SQL: 22P04 (bad format), 22021 (bad character), SQ_LIMIT: 54000 (row too long), SQ_NOMEM; the line is
 * in the error's detail. After a failure the decoder takes no more: only copy_decoder_done(). */
SQ_MUST_USE sq_status copy_decoder_push(struct copy_decoder *decoder, const uint8_t *data, size_t length,
                                        struct sq_error *err, size_t *ret_used, const struct copy_row **ret_row);
/* CopyDone came: *ret_row is the last row if it lacked its newline, else NULL. Call it once. */
SQ_MUST_USE sq_status copy_decoder_finish(struct copy_decoder *decoder, struct sq_error *err,
                                          const struct copy_row **ret_row);

/* Append a line, with its newline. The fields' bytes are written as they are. Failure is the buffer's: sq_buf_check().
 * copy_put_header() writes nothing if the spec has no header. */
void copy_put_header(struct sq_buf *out, const struct copy_spec *spec, const char *const *column_names,
                     size_t column_count);
void copy_put_row(struct sq_buf *out, const struct copy_spec *spec, const struct copy_field *fields, size_t count);

#endif
