/* wal/ltx_internal.h: what the encoder, the decoder and the compactor share. docs/ltx.md has the byte tables. */
#ifndef SQ_WAL_LTX_INTERNAL_H
#define SQ_WAL_LTX_INTERNAL_H

#include "wal/bytes.h"
#include "wal/checksum.h"
#include "wal/ltx.h"

enum {
    LTX_FRAME_HEADER_BYTES = 6, /* page number, flags; all zero: the frames have ended */
    LTX_FRAME_SIZE_BYTES = 4,   /* length of what follows */
    LTX_FRAME_PREFIX_BYTES = LTX_FRAME_HEADER_BYTES + LTX_FRAME_SIZE_BYTES,
    LTX_FRAME_HAS_SIZE = 1, /* the flag that every frame has */
    LTX_INDEX_SIZE_BYTES = 8,
    LTX_VARINT_BYTES_MAX = 10,
    LTX_INDEX_ENTRY_BYTES_MAX = 3 * LTX_VARINT_BYTES_MAX,
};

/* Seven bits a byte, lowest first, the highest bit set in all but the last. Returns how many were written. */
static inline size_t ltx_put_varint(uint8_t bytes[LTX_VARINT_BYTES_MAX], uint64_t value)
{
    size_t length = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[length++] = (uint8_t)(value | 0x80);
    bytes[length++] = (uint8_t)value;
    return length;
}
/* One page's entry in the index. */
static inline size_t ltx_put_index_entry(uint8_t bytes[LTX_INDEX_ENTRY_BYTES_MAX], uint32_t page_number,
                                         uint64_t offset, uint64_t frame_bytes)
{
    size_t length = ltx_put_varint(bytes, page_number);
    length += ltx_put_varint(bytes + length, offset);
    return length + ltx_put_varint(bytes + length, frame_bytes);
}

/* SQ_INVALID: the header makes no sense. */
SQ_MUST_USE sq_status ltx_header_check(const struct ltx_header *header, struct sq_error *err);
void ltx_header_encode(const struct ltx_header *header, uint8_t bytes[LTX_HEADER_BYTES]);
void ltx_trailer_encode(const struct ltx_trailer *trailer, uint8_t bytes[LTX_TRAILER_BYTES]);

/* The page that must come after `page_number` in a snapshot. */
static inline uint32_t ltx_snapshot_next(uint32_t page_number, uint32_t page_bytes)
{
    return page_number + 1 == wal_lock_page(page_bytes) ? page_number + 2 : page_number + 1;
}
/* The last page that a snapshot has; 0: none. */
static inline uint32_t ltx_snapshot_last(uint32_t page_count, uint32_t page_bytes)
{
    return page_count == wal_lock_page(page_bytes) ? page_count - 1 : page_count;
}

/* How many bytes a page may take in a file: what LZ4 makes of one that cannot be compressed. */
uint32_t ltx_payload_bytes_max(uint32_t page_bytes);
/* Like ltx_encoder_page(), for who has the compressed form already. */
SQ_MUST_USE sq_status ltx_encoder_frame(struct ltx_encoder *encoder, uint32_t page_number, const void *page,
                                        const void *payload, uint32_t payload_bytes, struct sq_error *err);
/* After LTX_PAGE, until the next call: the page as it stands in the file. */
const void *ltx_decoder_payload(const struct ltx_decoder *decoder, uint32_t *ret_bytes);

#endif
