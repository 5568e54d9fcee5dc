/* wal/ltx_encoder.c: pages into an LTX file.
 *
 * The index at the file's end has number, offset and length of each frame. Frames lie one behind the other and their pages
 * ascend, so that the distance to the page before and the length of the frame say it all: that is what is remembered,
 * about three bytes a page, and unfolded at the end.
 *
 * Invariant: `crc` is that of all bytes written so far, with the pages' contents in place of their compressed forms. */
#include "wal/ltx_internal.h"

#include <inttypes.h>
#include <lz4.h>
#include <stdlib.h>

#include "base/buf.h"

struct ltx_encoder {
    struct ltx_output *output;
    struct ltx_header header;
    uint64_t offset; /* bytes written */
    uint64_t crc;
    uint32_t page_number; /* the last one written; 0: none yet */
    bool is_broken;       /* the output has failed: what was written there ends in the middle */
    bool is_finished;
    struct sq_buf lengths; /* of each frame: varints of its page's distance to the page before, and of its bytes */
    uint8_t *frame;        /* prefix and payload of one */
    void *lz4_state;
};

static void ltx_encoder_freep(struct ltx_encoder **encoder)
{
    ltx_encoder_free(*encoder);
}

void ltx_encoder_free(struct ltx_encoder *encoder)
{
    if (encoder == NULL)
        return;
    sq_buf_done(&encoder->lengths);
    free(encoder->frame);
    free(encoder->lz4_state);
    free(encoder);
}

static sq_status put(struct ltx_encoder *encoder, const void *bytes, size_t length, struct sq_error *err)
{
    sq_status status = encoder->output->write_cb(encoder->output, bytes, length, err);
    encoder->is_broken = status != SQ_OK;
    encoder->offset += length;
    return status;
}

static sq_status put_checked(struct ltx_encoder *encoder, const void *bytes, size_t length, struct sq_error *err)
{
    encoder->crc = wal_crc64(encoder->crc, bytes, length);
    return put(encoder, bytes, length, err);
}

sq_status ltx_encoder_new(struct ltx_output *output, const struct ltx_header *header, struct sq_error *err,
                          struct ltx_encoder **ret_encoder)
{
    sq_assert(output != NULL && header != NULL);
    SQ_TRY(ltx_header_check(header, err));
    SQ_CLEANUP(ltx_encoder_freep) struct ltx_encoder *encoder = calloc(1, sizeof(*encoder));
    if (encoder == NULL)
        return sq_fail(err, SQ_NOMEM, "LTX encoder");
    encoder->output = output;
    encoder->header = *header;
    sq_buf_init(&encoder->lengths, SIZE_MAX / 2);
    encoder->frame = malloc(LTX_FRAME_PREFIX_BYTES + ltx_payload_bytes_max(header->page_bytes));
    encoder->lz4_state = malloc((size_t)LZ4_sizeofState());
    if (encoder->frame == NULL || encoder->lz4_state == NULL)
        return sq_fail(err, SQ_NOMEM, "LTX encoder");
    uint8_t bytes[LTX_HEADER_BYTES];
    ltx_header_encode(header, bytes);
    SQ_TRY(put_checked(encoder, bytes, sizeof(bytes), err));
    *ret_encoder = SQ_STEAL(encoder);
    return SQ_OK;
}

static sq_status check_page(const struct ltx_encoder *encoder, uint32_t page_number, struct sq_error *err)
{
    const struct ltx_header *header = &encoder->header;
    if (page_number <= encoder->page_number || page_number > header->page_count)
        return sq_fail(err, SQ_INVALID, "LTX: page %" PRIu32 " after %" PRIu32 " of %" PRIu32, page_number,
                       encoder->page_number, header->page_count);
    if (page_number == wal_lock_page(header->page_bytes))
        return sq_fail(err, SQ_INVALID, "LTX: page %" PRIu32 " is the lock page", page_number);
    if (header->min_txid == 1 && page_number != ltx_snapshot_next(encoder->page_number, header->page_bytes))
        return sq_fail(err, SQ_INVALID, "LTX: page %" PRIu32 " after %" PRIu32 " in a snapshot, which has all",
                       page_number, encoder->page_number);
    return SQ_OK;
}

/* The frame is in encoder->frame, but for its prefix. */
static sq_status put_frame(struct ltx_encoder *encoder, uint32_t page_number, const void *page, uint32_t payload_bytes,
                           struct sq_error *err)
{
    uint8_t *frame = encoder->frame;
    size_t frame_bytes = LTX_FRAME_PREFIX_BYTES + payload_bytes;
    uint8_t entry[2 * LTX_VARINT_BYTES_MAX];
    size_t entry_bytes = ltx_put_varint(entry, page_number - encoder->page_number);
    entry_bytes += ltx_put_varint(entry + entry_bytes, frame_bytes);
    sq_buf_put(&encoder->lengths, entry, entry_bytes);
    SQ_TRY(sq_buf_check(&encoder->lengths, err));

    wal_put_u32(frame, page_number);
    wal_put_u16(frame + 4, LTX_FRAME_HAS_SIZE);
    wal_put_u32(frame + LTX_FRAME_HEADER_BYTES, payload_bytes);
    encoder->crc = wal_crc64(encoder->crc, frame, LTX_FRAME_PREFIX_BYTES);
    encoder->crc = wal_crc64(encoder->crc, page, encoder->header.page_bytes);
    encoder->page_number = page_number;
    return put(encoder, frame, frame_bytes, err);
}

sq_status ltx_encoder_page(struct ltx_encoder *encoder, uint32_t page_number, const void *page, struct sq_error *err)
{
    sq_assert(!encoder->is_broken && !encoder->is_finished);
    SQ_TRY(check_page(encoder, page_number, err));
    uint32_t page_bytes = encoder->header.page_bytes;
    int payload_bytes =
        LZ4_compress_fast_extState(encoder->lz4_state, page, (char *)encoder->frame + LTX_FRAME_PREFIX_BYTES,
                                   (int)page_bytes, (int)ltx_payload_bytes_max(page_bytes), 1);
    sq_assert(payload_bytes > 0);
    return put_frame(encoder, page_number, page, (uint32_t)payload_bytes, err);
}

sq_status ltx_encoder_frame(struct ltx_encoder *encoder, uint32_t page_number, const void *page, const void *payload,
                            uint32_t payload_bytes, struct sq_error *err)
{
    sq_assert(!encoder->is_broken && !encoder->is_finished);
    sq_assert(payload_bytes <= ltx_payload_bytes_max(encoder->header.page_bytes));
    SQ_TRY(check_page(encoder, page_number, err));
    memcpy(encoder->frame + LTX_FRAME_PREFIX_BYTES, payload, payload_bytes);
    return put_frame(encoder, page_number, page, payload_bytes, err);
}

/* From what put_frame() has put there. */
static uint64_t take_varint(struct sq_buf *buf)
{
    const uint8_t *bytes = sq_buf_bytes(buf);
    uint64_t value = 0;
    size_t length = 0;
    do {
        sq_assert(length < LTX_VARINT_BYTES_MAX && length < sq_buf_length(buf));
        value |= (uint64_t)(bytes[length] & 0x7f) << (7 * length);
    } while ((bytes[length++] & 0x80) != 0);
    sq_buf_consume(buf, length);
    return value;
}

static sq_status put_index(struct ltx_encoder *encoder, struct sq_error *err)
{
    enum { BATCH_BYTES = 4096 };
    uint8_t bytes[BATCH_BYTES];
    size_t used = 0;
    uint64_t begin = encoder->offset, frame_offset = LTX_HEADER_BYTES;
    uint32_t page_number = 0;
    while (sq_buf_length(&encoder->lengths) > 0) {
        page_number += (uint32_t)take_varint(&encoder->lengths);
        uint64_t frame_bytes = take_varint(&encoder->lengths);
        used += ltx_put_index_entry(bytes + used, page_number, frame_offset, frame_bytes);
        frame_offset += frame_bytes;
        if (used > BATCH_BYTES - LTX_INDEX_ENTRY_BYTES_MAX) {
            SQ_TRY(put_checked(encoder, bytes, used, err));
            used = 0;
        }
    }
    sq_assert(page_number == encoder->page_number && frame_offset + LTX_FRAME_HEADER_BYTES == begin);
    used += ltx_put_varint(bytes + used, 0);
    wal_put_u64(bytes + used, encoder->offset + used - begin);
    return put_checked(encoder, bytes, used + LTX_INDEX_SIZE_BYTES, err);
}

sq_status ltx_encoder_finish(struct ltx_encoder *encoder, uint64_t post_checksum, struct sq_error *err,
                             struct ltx_trailer *ret_trailer, uint64_t *ret_bytes)
{
    sq_assert(!encoder->is_broken && !encoder->is_finished);
    const struct ltx_header *header = &encoder->header;
    if ((post_checksum & WAL_CHECKSUM_FLAG) == 0 || (header->page_count == 0 && post_checksum != WAL_CHECKSUM_FLAG))
        return sq_fail(err, SQ_INVALID, "LTX: %016" PRIx64 " as checksum of a database of %" PRIu32 " pages",
                       post_checksum, header->page_count);
    if (header->min_txid == 1 && encoder->page_number != ltx_snapshot_last(header->page_count, header->page_bytes))
        return sq_fail(err, SQ_INVALID, "LTX: a snapshot of %" PRIu32 " pages ends with page %" PRIu32,
                       header->page_count, encoder->page_number);
    static const uint8_t end[LTX_FRAME_HEADER_BYTES];
    SQ_TRY(put_checked(encoder, end, sizeof(end), err));
    SQ_TRY(put_index(encoder, err));
    struct ltx_trailer trailer = {.post_checksum = post_checksum};
    uint8_t bytes[LTX_TRAILER_BYTES];
    ltx_trailer_encode(&trailer, bytes);
    trailer.file_checksum = WAL_CHECKSUM_FLAG | wal_crc64(encoder->crc, bytes, sizeof(trailer.post_checksum));
    ltx_trailer_encode(&trailer, bytes);
    SQ_TRY(put(encoder, bytes, sizeof(bytes), err));
    encoder->is_finished = true;
    *ret_trailer = trailer;
    *ret_bytes = encoder->offset;
    return SQ_OK;
}
