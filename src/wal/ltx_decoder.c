/* wal/ltx_decoder.c: an LTX file, as its bytes come, into pages.
 *
 *     HEADER ─► FRAME ─► SIZE ─► PAYLOAD ─┐          INDEX ─► INDEX_SIZE ─► TRAILER ─► ENDED
 *                 ▲ │                     │            ▲
 *                 └─┼─────────────────────┘            │
 *                   └── six zero bytes ────────────────┘
 *
 * Each state needs a number of bytes in one piece. If the caller's bytes have them, they are used where they are; else they are
 * gathered. The index follows from the frames, and is compared without being stored: its length and its CRC are computed
 * along with the frames.
 *
 * Invariants: (1) `crc` is that of all bytes taken, with the pages' contents in place of their compressed forms;
 * (2) nothing is allocated by what a file says but the buffers of one page, when its size has been found to be one. */
#include "wal/ltx_internal.h"

#include <inttypes.h>
#include <lz4.h>
#include <stdlib.h>

enum decoder_state { AT_HEADER, AT_FRAME, AT_SIZE, AT_PAYLOAD, AT_INDEX, AT_INDEX_SIZE, AT_TRAILER, ENDED };

enum { INDEX_BATCH_BYTES = 4096 };

struct ltx_decoder {
    enum decoder_state state;
    bool is_broken;
    size_t needed; /* bytes of this state, in one piece */
    size_t gathered;
    uint8_t *gather; /* room for the longest piece */
    uint64_t offset; /* of the next byte that is not gathered */
    uint64_t crc;
    struct ltx_header header;
    struct ltx_trailer trailer;
    uint32_t page_number; /* the last one; 0: none yet */
    uint64_t database;    /* a snapshot's pages so far */
    uint8_t *page;
    const uint8_t *payload; /* of the last page: the caller's bytes or `gather` */
    uint32_t payload_bytes;
    uint64_t index_crc; /* as the frames want it */
    uint64_t index_bytes;
    uint64_t index_left;
    uint64_t index_crc_read;
};

static void ltx_decoder_freep(struct ltx_decoder **decoder)
{
    ltx_decoder_free(*decoder);
}

void ltx_decoder_free(struct ltx_decoder *decoder)
{
    if (decoder == NULL)
        return;
    free(decoder->gather);
    free(decoder->page);
    free(decoder);
}

sq_status ltx_decoder_new(struct sq_error *err, struct ltx_decoder **ret_decoder)
{
    SQ_CLEANUP(ltx_decoder_freep) struct ltx_decoder *decoder = calloc(1, sizeof(*decoder));
    if (decoder == NULL || (decoder->gather = malloc(LTX_HEADER_BYTES)) == NULL)
        return sq_fail(err, SQ_NOMEM, "LTX decoder");
    decoder->state = AT_HEADER;
    decoder->needed = LTX_HEADER_BYTES;
    decoder->database = WAL_CHECKSUM_FLAG;
    *ret_decoder = SQ_STEAL(decoder);
    return SQ_OK;
}

const struct ltx_header *ltx_decoder_header(const struct ltx_decoder *decoder)
{
    sq_assert(decoder->state != AT_HEADER);
    return &decoder->header;
}

const struct ltx_trailer *ltx_decoder_trailer(const struct ltx_decoder *decoder)
{
    sq_assert(decoder->state == ENDED);
    return &decoder->trailer;
}

const void *ltx_decoder_payload(const struct ltx_decoder *decoder, uint32_t *ret_bytes)
{
    sq_assert(decoder->payload != NULL);
    *ret_bytes = decoder->payload_bytes;
    return decoder->payload;
}

/* Of what was just taken: where it began. */
static uint64_t piece_offset(const struct ltx_decoder *decoder)
{
    return decoder->offset - decoder->needed;
}

static void go(struct ltx_decoder *decoder, enum decoder_state state, size_t needed)
{
    decoder->state = state;
    decoder->needed = needed;
}

static bool is_snapshot(const struct ltx_decoder *decoder)
{
    return decoder->header.min_txid == 1;
}

static sq_status take_header(struct ltx_decoder *decoder, const uint8_t *bytes, struct sq_error *err)
{
    SQ_TRY(ltx_header_decode(bytes, err, &decoder->header));
    decoder->crc = wal_crc64(0, bytes, LTX_HEADER_BYTES);
    uint32_t page_bytes = decoder->header.page_bytes;
    size_t gather_bytes = ltx_payload_bytes_max(page_bytes);
    if (gather_bytes < INDEX_BATCH_BYTES)
        gather_bytes = INDEX_BATCH_BYTES;
    uint8_t *gather = realloc(decoder->gather, gather_bytes);
    if (gather == NULL)
        return sq_fail(err, SQ_NOMEM, "LTX decoder");
    decoder->gather = gather;
    decoder->page = malloc(page_bytes);
    if (decoder->page == NULL)
        return sq_fail(err, SQ_NOMEM, "LTX decoder");
    go(decoder, AT_FRAME, LTX_FRAME_HEADER_BYTES);
    return SQ_OK;
}

static void want_index(struct ltx_decoder *decoder)
{
    go(decoder, AT_INDEX, decoder->index_left < INDEX_BATCH_BYTES ? (size_t)decoder->index_left : INDEX_BATCH_BYTES);
}

static sq_status take_end_of_frames(struct ltx_decoder *decoder, struct sq_error *err)
{
    const struct ltx_header *header = &decoder->header;
    if (is_snapshot(decoder) && decoder->page_number != ltx_snapshot_last(header->page_count, header->page_bytes))
        return sq_fail(err, SQ_CORRUPT,
                       "LTX, offset %" PRIu64 ": a snapshot of %" PRIu32 " pages ends with page %" PRIu32,
                       piece_offset(decoder), header->page_count, decoder->page_number);
    static const uint8_t end[1];
    decoder->index_crc = wal_crc64(decoder->index_crc, end, sizeof(end));
    decoder->index_bytes += sizeof(end);
    decoder->index_left = decoder->index_bytes;
    want_index(decoder);
    return SQ_OK;
}

static sq_status take_frame(struct ltx_decoder *decoder, const uint8_t *bytes, struct sq_error *err)
{
    const struct ltx_header *header = &decoder->header;
    uint32_t page_number = wal_get_u32(bytes);
    uint16_t flags = wal_get_u16(bytes + 4);
    decoder->crc = wal_crc64(decoder->crc, bytes, LTX_FRAME_HEADER_BYTES);
    if (page_number == 0 && flags == 0)
        return take_end_of_frames(decoder, err);
    if (page_number <= decoder->page_number || page_number > header->page_count)
        return sq_fail(err, SQ_CORRUPT, "LTX, offset %" PRIu64 ": page %" PRIu32 " after %" PRIu32 " of %" PRIu32,
                       piece_offset(decoder), page_number, decoder->page_number, header->page_count);
    if (page_number == wal_lock_page(header->page_bytes))
        return sq_fail(err, SQ_CORRUPT, "LTX, offset %" PRIu64 ": page %" PRIu32 " is the lock page",
                       piece_offset(decoder), page_number);
    if (is_snapshot(decoder) && page_number != ltx_snapshot_next(decoder->page_number, header->page_bytes))
        return sq_fail(err, SQ_CORRUPT, "LTX, offset %" PRIu64 ": page %" PRIu32 " after %" PRIu32 " in a snapshot",
                       piece_offset(decoder), page_number, decoder->page_number);
    if (flags != LTX_FRAME_HAS_SIZE)
        return sq_fail(err, SQ_CORRUPT, "LTX, offset %" PRIu64 ": page %" PRIu32 " has flags %04" PRIx16,
                       piece_offset(decoder), page_number, flags);
    decoder->page_number = page_number;
    go(decoder, AT_SIZE, LTX_FRAME_SIZE_BYTES);
    return SQ_OK;
}

static sq_status take_size(struct ltx_decoder *decoder, const uint8_t *bytes, struct sq_error *err)
{
    uint32_t payload_bytes = wal_get_u32(bytes);
    if (payload_bytes == 0 || payload_bytes > ltx_payload_bytes_max(decoder->header.page_bytes))
        return sq_fail(err, SQ_CORRUPT, "LTX, offset %" PRIu64 ": page %" PRIu32 " in %" PRIu32 " bytes",
                       piece_offset(decoder), decoder->page_number, payload_bytes);
    decoder->crc = wal_crc64(decoder->crc, bytes, LTX_FRAME_SIZE_BYTES);
    go(decoder, AT_PAYLOAD, payload_bytes);
    return SQ_OK;
}

static sq_status take_payload(struct ltx_decoder *decoder, const uint8_t *bytes, struct sq_error *err)
{
    uint32_t page_bytes = decoder->header.page_bytes;
    int length = LZ4_decompress_safe((const char *)bytes, (char *)decoder->page, (int)decoder->needed, (int)page_bytes);
    if (length < 0 || (uint32_t)length != page_bytes)
        return sq_fail(err, SQ_CORRUPT, "LTX, offset %" PRIu64 ": page %" PRIu32 " cannot be decompressed",
                       piece_offset(decoder), decoder->page_number);
    decoder->crc = wal_crc64(decoder->crc, decoder->page, page_bytes);
    if (is_snapshot(decoder))
        decoder->database = wal_checksum_exchange(decoder->database, 0,
                                                  wal_page_checksum(decoder->page_number, decoder->page, page_bytes));
    decoder->payload = bytes;
    decoder->payload_bytes = (uint32_t)decoder->needed;
    uint64_t frame_bytes = LTX_FRAME_PREFIX_BYTES + decoder->needed;
    uint8_t entry[LTX_INDEX_ENTRY_BYTES_MAX];
    size_t entry_bytes = ltx_put_index_entry(entry, decoder->page_number, decoder->offset - frame_bytes, frame_bytes);
    decoder->index_crc = wal_crc64(decoder->index_crc, entry, entry_bytes);
    decoder->index_bytes += entry_bytes;
    go(decoder, AT_FRAME, LTX_FRAME_HEADER_BYTES);
    return SQ_OK;
}

static sq_status take_index(struct ltx_decoder *decoder, const uint8_t *bytes, struct sq_error *err)
{
    decoder->crc = wal_crc64(decoder->crc, bytes, decoder->needed);
    decoder->index_crc_read = wal_crc64(decoder->index_crc_read, bytes, decoder->needed);
    decoder->index_left -= decoder->needed;
    if (decoder->index_left > 0) {
        want_index(decoder);
        return SQ_OK;
    }
    if (decoder->index_crc_read != decoder->index_crc)
        return sq_fail(err, SQ_CORRUPT,
                       "LTX, offset %" PRIu64 ": the index does not fit the %" PRIu64 " bytes before it",
                       decoder->offset - decoder->index_bytes, decoder->offset - decoder->index_bytes);
    go(decoder, AT_INDEX_SIZE, LTX_INDEX_SIZE_BYTES);
    return SQ_OK;
}

static sq_status take_index_size(struct ltx_decoder *decoder, const uint8_t *bytes, struct sq_error *err)
{
    if (wal_get_u64(bytes) != decoder->index_bytes)
        return sq_fail(err, SQ_CORRUPT, "LTX, offset %" PRIu64 ": an index of %" PRIu64 " bytes has %" PRIu64,
                       piece_offset(decoder), wal_get_u64(bytes), decoder->index_bytes);
    decoder->crc = wal_crc64(decoder->crc, bytes, LTX_INDEX_SIZE_BYTES);
    go(decoder, AT_TRAILER, LTX_TRAILER_BYTES);
    return SQ_OK;
}

static sq_status take_trailer(struct ltx_decoder *decoder, const uint8_t *bytes, struct sq_error *err)
{
    SQ_TRY(ltx_trailer_decode(bytes, err, &decoder->trailer));
    uint64_t crc = WAL_CHECKSUM_FLAG | wal_crc64(decoder->crc, bytes, sizeof(decoder->trailer.post_checksum));
    if (crc != decoder->trailer.file_checksum)
        return sq_fail(err, SQ_CORRUPT, "LTX: the file's checksum is %016" PRIx64 ", its content's %016" PRIx64,
                       decoder->trailer.file_checksum, crc);
    /* An empty database is a snapshot without pages as well. */
    bool is_known = is_snapshot(decoder) || decoder->header.page_count == 0;
    if (is_known && decoder->database != decoder->trailer.post_checksum)
        return sq_fail(err, SQ_CORRUPT, "LTX: the database's checksum is %016" PRIx64 ", its pages' %016" PRIx64,
                       decoder->trailer.post_checksum, decoder->database);
    go(decoder, ENDED, 0);
    return SQ_OK;
}

static sq_status take(struct ltx_decoder *decoder, const uint8_t *bytes, struct sq_error *err,
                      enum ltx_event *ret_event)
{
    *ret_event = LTX_MORE;
    switch (decoder->state) {
    case AT_HEADER:
        *ret_event = LTX_HEADER;
        return take_header(decoder, bytes, err);
    case AT_FRAME:
        return take_frame(decoder, bytes, err);
    case AT_SIZE:
        return take_size(decoder, bytes, err);
    case AT_PAYLOAD:
        *ret_event = LTX_PAGE;
        return take_payload(decoder, bytes, err);
    case AT_INDEX:
        return take_index(decoder, bytes, err);
    case AT_INDEX_SIZE:
        return take_index_size(decoder, bytes, err);
    case AT_TRAILER:
        *ret_event = LTX_DONE;
        return take_trailer(decoder, bytes, err);
    case ENDED:
        break;
    }
    sq_assert(false);
    return SQ_CORRUPT;
}

/* `needed` bytes in one piece; NULL: there are not yet as many. */
static const uint8_t *next_piece(struct ltx_decoder *decoder, const uint8_t **bytes, size_t *length)
{
    size_t missing = decoder->needed - decoder->gathered;
    size_t taken = *length < missing ? *length : missing;
    const uint8_t *piece = *bytes;
    if (decoder->gathered > 0 || taken < missing) {
        if (taken > 0)
            memcpy(decoder->gather + decoder->gathered, *bytes, taken);
        decoder->gathered += taken;
        piece = decoder->gather;
    }
    *length -= taken;
    if (taken > 0)
        *bytes += taken;
    decoder->offset += taken;
    if (taken < missing)
        return NULL;
    decoder->gathered = 0;
    return piece;
}

sq_status ltx_decoder_feed(struct ltx_decoder *decoder, const uint8_t **bytes, size_t *length, struct sq_error *err,
                           enum ltx_event *ret_event, uint32_t *ret_page_number, const void **ret_page)
{
    sq_assert(decoder->state != ENDED && !decoder->is_broken);
    enum ltx_event event = LTX_MORE;
    const uint8_t *piece;
    decoder->payload = NULL;
    while (event == LTX_MORE && (piece = next_piece(decoder, bytes, length)) != NULL) {
        sq_status status = take(decoder, piece, err, &event);
        decoder->is_broken = status != SQ_OK;
        SQ_TRY(status);
    }
    *ret_event = event;
    if (event == LTX_PAGE) {
        *ret_page_number = decoder->page_number;
        *ret_page = decoder->page;
    }
    return SQ_OK;
}
