/* repl/ltx_pages.c: a decoder, fed from a file in large reads. */
#include "repl/ltx_pages.h"

#include <stdlib.h>

#include "wal/slots.h"

enum { PIECE_BYTES = 256 * 1024 };

struct ltx_pages {
    struct wal_log_reader *reader; /* NULL: fd */
    int fd;
    struct ltx_decoder *decoder;
    uint64_t offset; /* of what is read next */
    const uint8_t *bytes;
    size_t length;
    uint8_t piece[PIECE_BYTES];
};

static sq_status read_piece(struct ltx_pages *pages, struct sq_error *err)
{
    size_t length = 0;
    if (pages->reader != NULL)
        SQ_TRY(wal_log_reader_read(pages->reader, pages->offset, pages->piece, PIECE_BYTES, err, &length));
    else
        SQ_TRY(wal_read_at(pages->fd, pages->offset, pages->piece, PIECE_BYTES, err, &length));
    if (length == 0)
        return sq_fail(err, SQ_CORRUPT, "an LTX file ends after %llu bytes", (unsigned long long)pages->offset);
    pages->bytes = pages->piece;
    pages->length = length;
    pages->offset += length;
    return SQ_OK;
}

static sq_status next_event(struct ltx_pages *pages, struct sq_error *err, enum ltx_event *ret_event,
                            uint32_t *ret_page_number, const void **ret_page)
{
    do {
        if (pages->length == 0)
            SQ_TRY(read_piece(pages, err));
        SQ_TRY(
            ltx_decoder_feed(pages->decoder, &pages->bytes, &pages->length, err, ret_event, ret_page_number, ret_page));
    } while (*ret_event == LTX_MORE);
    return SQ_OK;
}

sq_status ltx_pages_rewind(struct ltx_pages *pages, struct sq_error *err)
{
    enum ltx_event event = LTX_MORE;
    uint32_t page_number;
    const void *page;
    ltx_decoder_free(pages->decoder);
    pages->decoder = NULL;
    pages->offset = pages->length = 0;
    SQ_TRY(ltx_decoder_new(err, &pages->decoder));
    SQ_TRY(next_event(pages, err, &event, &page_number, &page));
    sq_assert(event == LTX_HEADER);
    return SQ_OK;
}

SQ_DEFINE_FREEP(struct ltx_pages, ltx_pages_close)

static sq_status open_pages(struct wal_log_reader *reader, int fd, struct sq_error *err, struct ltx_pages **ret_pages)
{
    SQ_CLEANUP(ltx_pages_closep) struct ltx_pages *pages = malloc(sizeof(*pages));
    if (pages == NULL) {
        wal_log_reader_close(reader);
        return sq_fail(err, SQ_NOMEM, "out of memory to read an LTX file");
    }
    pages->reader = reader;
    pages->fd = fd;
    pages->decoder = NULL;
    SQ_TRY(ltx_pages_rewind(pages, err));
    *ret_pages = SQ_STEAL(pages);
    return SQ_OK;
}

sq_status ltx_pages_of_log(struct wal_log_reader *reader, struct sq_error *err, struct ltx_pages **ret_pages)
{
    sq_assert(reader != NULL);
    return open_pages(reader, -1, err, ret_pages);
}

sq_status ltx_pages_of_file(int fd, struct sq_error *err, struct ltx_pages **ret_pages)
{
    return open_pages(NULL, fd, err, ret_pages);
}

void ltx_pages_close(struct ltx_pages *pages)
{
    if (pages == NULL)
        return;
    ltx_decoder_free(pages->decoder);
    wal_log_reader_close(pages->reader);
    free(pages);
}

const struct ltx_header *ltx_pages_header(const struct ltx_pages *pages)
{
    return ltx_decoder_header(pages->decoder);
}

sq_status ltx_pages_next(struct ltx_pages *pages, struct sq_error *err, uint32_t *ret_page_number,
                         const void **ret_page)
{
    enum ltx_event event = LTX_MORE;
    SQ_TRY(next_event(pages, err, &event, ret_page_number, ret_page));
    if (event != LTX_DONE)
        return SQ_OK;
    if (pages->length > 0)
        return sq_fail(err, SQ_CORRUPT, "an LTX file goes on after its end");
    *ret_page_number = 0;
    return SQ_OK;
}

const struct ltx_trailer *ltx_pages_trailer(const struct ltx_pages *pages)
{
    return ltx_decoder_trailer(pages->decoder);
}
