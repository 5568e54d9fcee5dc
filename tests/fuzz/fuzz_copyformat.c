/* Fuzzes COPY's formats. The input's first bytes choose the options and the sizes of the pieces; the rest is the data.
 * However the data is cut into pieces, the same rows and the same error must come out; rows that were read are written
 * and read again and must be the same. */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "pgwire/copyformat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_BYTES_MAX = 1 << 24, ROW_BYTES_MAX = 300, COLUMNS_MAX = 4, CHOICE_BYTES = 6 };

static const char *const names[COLUMNS_MAX] = {"a", "b", "c", "d"};
static const bool first_only[COLUMNS_MAX] = {true};

struct choice {
    struct copy_options options;
    size_t column_count;
    size_t piece;
};

static void choose(const uint8_t choice[CHOICE_BYTES], struct choice *ret)
{
    static const char *const delimiters[] = {NULL, "|", ";", "\v", "x", "\\"};
    static const char *const nulls[] = {NULL, "N", "\\N", "", "nil"};
    static const char *const quotes[] = {NULL, "'", "\\", "q"};
    struct copy_columns columns = {.is_given = true, .is_set = first_only};
    *ret = (struct choice){.column_count = 1 + choice[0] % COLUMNS_MAX, .piece = 1 + choice[1] % 16u};
    ret->options.format = choice[2] % 2 == 0 ? COPY_FORMAT_TEXT : COPY_FORMAT_CSV;
    ret->options.header = (enum copy_header)(choice[2] / 2 % 3);
    ret->options.delimiter = delimiters[choice[3] % 6];
    ret->options.null_text = nulls[choice[3] / 6 % 5];
    if (ret->options.format == COPY_FORMAT_CSV) {
        ret->options.quote = quotes[choice[4] % 4];
        ret->options.escape = quotes[choice[4] / 4 % 4];
        if (choice[5] % 2 == 1)
            ret->options.force_null = columns;
        if (choice[5] / 2 % 2 == 1)
            ret->options.force_not_null = columns;
    }
}

/* Rows as columns of the plainest text format, which keeps them apart for sure. */
static void keep_row(struct sq_buf *out, const struct copy_row *row)
{
    static const struct copy_options plain = {.format = COPY_FORMAT_TEXT};
    struct copy_spec spec;
    struct sq_error err;
    sq_assert(copy_options_check(&plain, COPY_TO, &err, &spec) == SQ_OK);
    copy_put_row(out, &spec, row->fields, row->count);
    sq_assert(!out->is_failed);
}

static sq_status decode(const struct copy_spec *spec, size_t column_count, const uint8_t *data, size_t size,
                        size_t piece, struct sq_buf *rows, struct sq_error *err)
{
    struct copy_decoder decoder;
    const struct copy_row *row = NULL;
    sq_status status = copy_decoder_init(&decoder, spec, names, column_count, ROW_BYTES_MAX, err);
    sq_assert(status == SQ_OK);
    for (size_t at = 0; at < size && status == SQ_OK; at += piece) {
        size_t end = size - at < piece ? size : at + piece;
        size_t used = 0;
        for (size_t from = at; from < end && status == SQ_OK; from += used) {
            status = copy_decoder_push(&decoder, data + from, end - from, err, &used, &row);
            sq_assert(status != SQ_OK || used <= end - from);
            sq_assert(status != SQ_OK || row != NULL || used == end - from);
            if (status == SQ_OK && row != NULL)
                keep_row(rows, row);
        }
    }
    if (status == SQ_OK)
        status = copy_decoder_finish(&decoder, err, &row);
    if (status == SQ_OK && row != NULL)
        keep_row(rows, row);
    copy_decoder_done(&decoder);
    return status;
}

static void assert_equal(const struct sq_buf *one, const struct sq_buf *other)
{
    size_t length = sq_buf_length(one);
    sq_assert(length == sq_buf_length(other));
    sq_assert(length == 0 || memcmp(sq_buf_bytes(one), sq_buf_bytes(other), length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct copy_options plain = {.format = COPY_FORMAT_TEXT};
    struct choice choice;
    struct copy_spec spec;
    struct sq_error err;
    struct sq_error err_again;
    struct sq_buf rows;
    struct sq_buf rows_again;
    if (size < CHOICE_BYTES)
        return 0;
    choose(data, &choice);
    data += CHOICE_BYTES;
    size -= CHOICE_BYTES;
    sq_error_clear(&err);
    sq_error_clear(&err_again);
    if (copy_options_check(&choice.options, COPY_FROM, &err, &spec) != SQ_OK)
        return 0;
    sq_buf_init(&rows, OUT_BYTES_MAX);
    sq_buf_init(&rows_again, OUT_BYTES_MAX);
    sq_status status = decode(&spec, choice.column_count, data, size, size + 1, &rows, &err);
    sq_status status_again = decode(&spec, choice.column_count, data, size, choice.piece, &rows_again, &err_again);
    sq_assert(status == status_again);
    sq_assert(strcmp(err.sqlstate, err_again.sqlstate) == 0 && strcmp(err.text, err_again.text) == 0);
    sq_assert(strcmp(err.detail, err_again.detail) == 0);
    assert_equal(&rows, &rows_again);

    /* The plain text rows are COPY data themselves; escaping can make a row longer than the limit. */
    sq_buf_truncate(&rows_again, 0);
    sq_assert(copy_options_check(&plain, COPY_FROM, &err, &spec) == SQ_OK);
    status =
        decode(&spec, choice.column_count, sq_buf_bytes(&rows), sq_buf_length(&rows), choice.piece, &rows_again, &err);
    sq_assert(status == SQ_OK || status == SQ_LIMIT);
    if (status == SQ_OK)
        assert_equal(&rows, &rows_again);
    sq_buf_done(&rows);
    sq_buf_done(&rows_again);
    return 0;
}
