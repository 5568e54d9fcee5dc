/* LTX files: every field and limit of the format, files in every way of being cut and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/log_fixture.h"
#include "../../lib/ltx_memory.h"

static struct sq_error err;

static const struct ltx_header sensible = {
    .page_bytes = 512,
    .page_count = 9,
    .min_txid = 0x1112131415161718,
    .max_txid = 0x2122232425262728,
    .timestamp_ms = 0x3132333435363738,
    .pre_checksum = 0xc142434445464748,
    .wal_offset = 0x5152535455565758,
    .wal_bytes = 0x0162636465666768,
    .wal_salt1 = 0x71727374,
    .wal_salt2 = 0x81828384,
    .node_id = 0x9192939495969798,
};

static struct ltx_encoder *encoder_new(struct memory_output *output, const struct ltx_header *header)
{
    struct ltx_encoder *encoder = NULL;
    memory_output_init(output);
    assert_int_equal(ltx_encoder_new(&output->output, header, &err, &encoder), SQ_OK);
    return encoder;
}

static void assert_same_header(const struct ltx_header *header, const struct ltx_header *expected)
{
    assert_int_equal(header->flags, expected->flags);
    assert_int_equal(header->page_bytes, expected->page_bytes);
    assert_int_equal(header->page_count, expected->page_count);
    assert_int_equal(header->min_txid, expected->min_txid);
    assert_int_equal(header->max_txid, expected->max_txid);
    assert_int_equal(header->timestamp_ms, expected->timestamp_ms);
    assert_int_equal(header->pre_checksum, expected->pre_checksum);
    assert_int_equal(header->wal_offset, expected->wal_offset);
    assert_int_equal(header->wal_bytes, expected->wal_bytes);
    assert_int_equal(header->wal_salt1, expected->wal_salt1);
    assert_int_equal(header->wal_salt2, expected->wal_salt2);
    assert_int_equal(header->node_id, expected->node_id);
}

/* --- header --------------------------------------------------------------------------------------------------------- */

static void each_field_has_its_place(void **state)
{
    (void)state;
    static const uint8_t expected[LTX_HEADER_BYTES] = {
        'L',  'T',  'X',  '1',  0,    0,    0,    0,    0,    0,    2,    0,    0,    0,    0,    9,
        0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
        0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0xc1, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
        0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x01, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
        0x71, 0x72, 0x73, 0x74, 0x81, 0x82, 0x83, 0x84, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
    };
    struct memory_output output;
    struct ltx_encoder *encoder = encoder_new(&output, &sensible);
    assert_int_equal(sq_buf_length(&output.bytes), LTX_HEADER_BYTES);
    assert_memory_equal(sq_buf_bytes(&output.bytes), expected, LTX_HEADER_BYTES);
    struct ltx_header header;
    assert_int_equal(ltx_header_decode(expected, &err, &header), SQ_OK);
    assert_same_header(&header, &sensible);
    ltx_encoder_free(encoder);
    sq_buf_done(&output.bytes);
}

/* Whether the encoder takes the header; the decoder has to agree. */
static bool is_taken(const struct ltx_header *header)
{
    struct memory_output output;
    struct ltx_encoder *encoder = NULL;
    memory_output_init(&output);
    sq_status status = ltx_encoder_new(&output.output, header, &err, &encoder);
    assert_true(status == SQ_OK || status == SQ_INVALID);
    assert_int_equal(sq_buf_length(&output.bytes), status == SQ_OK ? LTX_HEADER_BYTES : 0);
    ltx_encoder_free(encoder);
    sq_buf_done(&output.bytes);
    uint8_t bytes[LTX_HEADER_BYTES] = "LTX1";
    const uint64_t fields[][2] = {
        {8, header->min_txid},      {16, header->max_txid},   {24, (uint64_t)header->timestamp_ms},
        {32, header->pre_checksum}, {40, header->wal_offset}, {48, header->wal_bytes},
        {64, header->node_id}};
    const uint32_t words[][2] = {{0, header->flags},
                                 {4, header->page_bytes},
                                 {8, header->page_count},
                                 {60, header->wal_salt1},
                                 {64, header->wal_salt2}};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        for (int k = 0; k < 8; k++)
            bytes[8 + fields[i][0] + (size_t)k] = (uint8_t)(fields[i][1] >> (56 - 8 * k));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        for (int k = 0; k < 4; k++)
            bytes[4 + words[i][0] + (size_t)k] = (uint8_t)(words[i][1] >> (24 - 8 * k));
    struct ltx_header decoded;
    assert_int_equal(ltx_header_decode(bytes, &err, &decoded), status == SQ_OK ? SQ_OK : SQ_CORRUPT);
    if (status == SQ_OK)
        assert_same_header(&decoded, header);
    return status == SQ_OK;
}

#define TAKEN(field, value)                                                                                            \
    __extension__({                                                                                                    \
        struct ltx_header changed_ = sensible;                                                                         \
        changed_.field = (value);                                                                                      \
        is_taken(&changed_);                                                                                           \
    })

static void limits_of_the_header(void **state)
{
    (void)state;
    assert_true(is_taken(&sensible));
    assert_false(TAKEN(flags, 1));
    assert_false(TAKEN(flags, 2)); /* without checksums of the database */
    assert_non_null(strstr(err.text, "no checksums"));
    assert_false(TAKEN(flags, 0x80000000));
    for (uint32_t bytes = 1; bytes != 0; bytes *= 2) {
        assert_int_equal(TAKEN(page_bytes, bytes), bytes >= 512 && bytes <= 65536);
        assert_false(TAKEN(page_bytes, bytes * 3));
    }
    assert_false(TAKEN(page_bytes, 0));
    assert_true(TAKEN(page_count, 0));
    assert_true(TAKEN(page_count, UINT32_MAX));
    assert_false(TAKEN(min_txid, 0));
    assert_true(TAKEN(min_txid, 2));
    assert_true(TAKEN(min_txid, sensible.max_txid));
    assert_false(TAKEN(min_txid, sensible.max_txid + 1));
    assert_false(TAKEN(max_txid, 0));
    assert_true(TAKEN(max_txid, LTX_TXID_MAX));
    assert_false(TAKEN(max_txid, UINT64_MAX));
    assert_true(TAKEN(timestamp_ms, -1));
    assert_false(TAKEN(pre_checksum, 0));
    assert_false(TAKEN(pre_checksum, UINT64_C(0x7fffffffffffffff)));
    assert_true(TAKEN(pre_checksum, WAL_CHECKSUM_FLAG));
    assert_false(TAKEN(min_txid, 1)); /* a snapshot has no checksum of before */
    struct ltx_header snapshot = sensible;
    snapshot.min_txid = 1;
    snapshot.pre_checksum = 0;
    assert_true(is_taken(&snapshot));
}

static void limits_of_the_place_in_the_wal(void **state)
{
    (void)state;
    assert_true(TAKEN(wal_bytes, 0));
    assert_false(TAKEN(wal_offset, 0));
    assert_false(TAKEN(wal_offset, UINT64_C(1) << 63));
    assert_false(TAKEN(wal_bytes, UINT64_C(1) << 63));
    assert_true(TAKEN(wal_bytes, INT64_MAX - sensible.wal_offset));
    assert_false(TAKEN(wal_bytes, INT64_MAX - sensible.wal_offset + 1));
    struct ltx_header none = sensible;
    none.wal_offset = none.wal_bytes = none.wal_salt1 = none.wal_salt2 = 0;
    assert_true(is_taken(&none));
    none.wal_bytes = 1;
    assert_false(is_taken(&none));
    none.wal_bytes = 0;
    none.wal_salt2 = 1;
    assert_false(is_taken(&none));
    none.wal_salt2 = 0;
    none.wal_salt1 = 1;
    assert_false(is_taken(&none));
}

static void other_beginnings_are_not_ltx(void **state)
{
    (void)state;
    struct memory_output output;
    struct ltx_encoder *encoder = encoder_new(&output, &sensible);
    struct ltx_header header;
    for (int i = 0; i < 4; i++) {
        uint8_t *bytes = sq_buf_bytes(&output.bytes);
        bytes[i] ^= 1;
        assert_int_equal(ltx_header_decode(bytes, &err, &header), SQ_CORRUPT);
        bytes[i] ^= 1;
    }
    ltx_encoder_free(encoder);
    sq_buf_done(&output.bytes);
}

static void a_trailer_has_two_checksums(void **state)
{
    (void)state;
    uint8_t bytes[LTX_TRAILER_BYTES] = {0x80, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 2};
    struct ltx_trailer trailer;
    assert_int_equal(ltx_trailer_decode(bytes, &err, &trailer), SQ_OK);
    assert_int_equal(trailer.post_checksum, UINT64_C(0x8000000000000001));
    assert_int_equal(trailer.file_checksum, UINT64_C(0xff00000000000002));
    bytes[0] = 0x7f;
    assert_int_equal(ltx_trailer_decode(bytes, &err, &trailer), SQ_CORRUPT);
    bytes[0] = 0x80;
    bytes[8] = 0x7f;
    assert_int_equal(ltx_trailer_decode(bytes, &err, &trailer), SQ_CORRUPT);
}

/* --- encoder -------------------------------------------------------------------------------------------------------- */

static sq_status put_page(struct ltx_encoder *encoder, uint32_t number)
{
    uint8_t page[65536];
    memset(page, (int)number, sizeof(page));
    return ltx_encoder_page(encoder, number, page, &err);
}

static void pages_ascend(void **state)
{
    (void)state;
    struct memory_output output;
    struct ltx_encoder *encoder = encoder_new(&output, &sensible);
    assert_int_equal(put_page(encoder, 0), SQ_INVALID);
    assert_int_equal(put_page(encoder, 10), SQ_INVALID); /* of 9 */
    assert_int_equal(put_page(encoder, 3), SQ_OK);
    assert_int_equal(put_page(encoder, 3), SQ_INVALID);
    assert_int_equal(put_page(encoder, 2), SQ_INVALID);
    assert_int_equal(put_page(encoder, 9), SQ_OK);
    struct ltx_trailer trailer;
    uint64_t bytes;
    assert_int_equal(ltx_encoder_finish(encoder, 5, &err, &trailer, &bytes), SQ_INVALID);
    assert_int_equal(ltx_encoder_finish(encoder, WAL_CHECKSUM_FLAG, &err, &trailer, &bytes), SQ_OK);
    assert_int_equal(bytes, sq_buf_length(&output.bytes));
    ltx_encoder_free(encoder);
    ltx_encoder_free(NULL);
    sq_buf_done(&output.bytes);
}

static void a_snapshot_has_all_pages(void **state)
{
    (void)state;
    struct ltx_header header = {.page_bytes = 1024, .page_count = 3, .min_txid = 1, .max_txid = 7};
    struct memory_output output;
    struct ltx_encoder *encoder = encoder_new(&output, &header);
    struct ltx_trailer trailer;
    uint64_t bytes;
    assert_int_equal(ltx_encoder_finish(encoder, WAL_CHECKSUM_FLAG | 1, &err, &trailer, &bytes), SQ_INVALID);
    assert_int_equal(put_page(encoder, 2), SQ_INVALID);
    assert_int_equal(put_page(encoder, 1), SQ_OK);
    assert_int_equal(put_page(encoder, 3), SQ_INVALID);
    assert_int_equal(put_page(encoder, 2), SQ_OK);
    assert_int_equal(ltx_encoder_finish(encoder, WAL_CHECKSUM_FLAG | 1, &err, &trailer, &bytes), SQ_INVALID);
    assert_int_equal(put_page(encoder, 3), SQ_OK);
    assert_int_equal(ltx_encoder_finish(encoder, WAL_CHECKSUM_FLAG | 1, &err, &trailer, &bytes), SQ_OK);
    ltx_encoder_free(encoder);
    sq_buf_done(&output.bytes);
}

static void an_empty_database_has_the_empty_checksum(void **state)
{
    (void)state;
    struct ltx_header header = sensible;
    header.page_count = 0;
    struct memory_output output;
    struct ltx_encoder *encoder = encoder_new(&output, &header);
    struct ltx_trailer trailer;
    uint64_t bytes;
    assert_int_equal(put_page(encoder, 1), SQ_INVALID);
    assert_int_equal(ltx_encoder_finish(encoder, WAL_CHECKSUM_FLAG | 1, &err, &trailer, &bytes), SQ_INVALID);
    assert_int_equal(ltx_encoder_finish(encoder, WAL_CHECKSUM_FLAG, &err, &trailer, &bytes), SQ_OK);
    /* header, end of frames, index of nothing, its size, trailer */
    assert_int_equal(bytes, 100 + 6 + 1 + 8 + 16);
    ltx_encoder_free(encoder);
    sq_buf_done(&output.bytes);
}

static void an_output_that_fails_is_told_of(void **state)
{
    (void)state;
    struct fixture_database start = {.timeline = 1}, database = start;
    struct memory_output output;
    struct ltx_header header;
    struct ltx_trailer trailer;
    uint64_t bytes = 0, seed = 3;
    memory_output_init(&output);
    assert_int_equal(fixture_encode(&database, &seed, 1, &output.output, &err, &header, &trailer, &bytes), SQ_OK);
    for (size_t limit = 0; limit < bytes; limit++) {
        sq_buf_done(&output.bytes);
        output.fail_after = limit;
        database = start;
        seed = 3;
        uint64_t ignored;
        assert_int_equal(fixture_encode(&database, &seed, 1, &output.output, &err, &header, &trailer, &ignored), SQ_IO);
    }
    sq_buf_done(&output.bytes);
}

/* --- decoder -------------------------------------------------------------------------------------------------------- */

/* Feeds in pieces of at most `piece` bytes. What comes out goes into *ret_pages, one behind the other with their numbers. */
static sq_status decode(const uint8_t *bytes, size_t length, size_t piece, struct sq_buf *ret_pages,
                        struct ltx_header *ret_header, struct ltx_trailer *ret_trailer, size_t *ret_used)
{
    struct ltx_decoder *decoder;
    assert_int_equal(ltx_decoder_new(&err, &decoder), SQ_OK);
    size_t used = 0, header_bytes = 0;
    enum ltx_event event = LTX_MORE;
    sq_status status = SQ_OK;
    while (status == SQ_OK && event != LTX_DONE && used < length) {
        size_t part = length - used < piece ? length - used : piece, left = part;
        const uint8_t *at = bytes + used;
        uint32_t page_number = 0;
        const void *page = NULL;
        status = ltx_decoder_feed(decoder, &at, &left, &err, &event, &page_number, &page);
        assert_ptr_equal(at, bytes + used + part - left);
        used += part - left;
        if (status != SQ_OK)
            break;
        assert_true(event != LTX_MORE || left == 0);
        if (event == LTX_HEADER) {
            assert_int_equal(used, LTX_HEADER_BYTES);
            header_bytes = used;
            *ret_header = *ltx_decoder_header(decoder);
        } else if (event == LTX_PAGE) {
            sq_buf_put(ret_pages, &page_number, sizeof(page_number));
            sq_buf_put(ret_pages, page, ltx_decoder_header(decoder)->page_bytes);
        }
    }
    if (status == SQ_OK && event == LTX_DONE)
        *ret_trailer = *ltx_decoder_trailer(decoder);
    if (status == SQ_OK && event != LTX_DONE)
        status = SQ_CLOSED; /* it wants more */
    assert_true(status != SQ_OK || header_bytes > 0);
    ltx_decoder_free(decoder);
    ltx_decoder_free(NULL);
    *ret_used = used;
    return status;
}

struct sample {
    struct memory_output output;
    struct ltx_header header;
    struct ltx_trailer trailer;
    uint64_t bytes;
    struct sq_buf pages;
};

/* A file of the fixture's; the `ordinal`th of its database. */
static void sample_init(struct sample *sample, unsigned ordinal)
{
    struct fixture_database database = {.timeline = 1};
    uint64_t seed = 11;
    memory_output_init(&sample->output);
    for (unsigned i = 0; i <= ordinal; i++) {
        sq_buf_done(&sample->output.bytes);
        assert_int_equal(fixture_encode(&database, &seed, 1, &sample->output.output, &err, &sample->header,
                                        &sample->trailer, &sample->bytes),
                         SQ_OK);
    }
    assert_int_equal(sq_buf_length(&sample->output.bytes), sample->bytes);
    sq_buf_init(&sample->pages, SIZE_MAX / 2);
    struct ltx_header header;
    struct ltx_trailer trailer;
    size_t used;
    assert_int_equal(
        decode(sq_buf_bytes(&sample->output.bytes), sample->bytes, SIZE_MAX, &sample->pages, &header, &trailer, &used),
        SQ_OK);
    assert_same_header(&header, &sample->header);
    assert_memory_equal(&trailer, &sample->trailer, sizeof(trailer));
    assert_int_equal(used, sample->bytes);
}

static void sample_done(struct sample *sample)
{
    sq_buf_done(&sample->output.bytes);
    sq_buf_done(&sample->pages);
}

static void assert_same_pages(const struct sample *sample, const struct sq_buf *pages)
{
    assert_int_equal(sq_buf_length(pages), sq_buf_length(&sample->pages));
    if (sq_buf_length(pages) > 0)
        assert_memory_equal(sq_buf_bytes(pages), sq_buf_bytes(&sample->pages), sq_buf_length(pages));
}

static void bytes_may_come_in_any_pieces(void **state)
{
    (void)state;
    for (unsigned ordinal = 0; ordinal < 4; ordinal++) {
        struct sample sample;
        sample_init(&sample, ordinal);
        for (size_t piece = 1; piece < 700; piece += piece < 20 ? 1 : 97) {
            struct sq_buf pages;
            struct ltx_header header;
            struct ltx_trailer trailer;
            size_t used;
            sq_buf_init(&pages, SIZE_MAX / 2);
            assert_int_equal(
                decode(sq_buf_bytes(&sample.output.bytes), sample.bytes, piece, &pages, &header, &trailer, &used),
                SQ_OK);
            assert_same_header(&header, &sample.header);
            assert_memory_equal(&trailer, &sample.trailer, sizeof(trailer));
            assert_same_pages(&sample, &pages);
            sq_buf_done(&pages);
        }
        sample_done(&sample);
    }
}

static void bytes_behind_the_end_are_not_taken(void **state)
{
    (void)state;
    struct sample sample;
    sample_init(&sample, 1);
    sq_buf_put_text(&sample.output.bytes, "LTX1 and so on");
    struct sq_buf pages;
    struct ltx_header header;
    struct ltx_trailer trailer;
    size_t used;
    sq_buf_init(&pages, SIZE_MAX / 2);
    assert_int_equal(decode(sq_buf_bytes(&sample.output.bytes), sq_buf_length(&sample.output.bytes), SIZE_MAX, &pages,
                            &header, &trailer, &used),
                     SQ_OK);
    assert_int_equal(used, sample.bytes);
    sq_buf_done(&pages);
    sample_done(&sample);
}

static void no_beginning_of_a_file_is_a_file(void **state)
{
    (void)state;
    for (unsigned ordinal = 0; ordinal < 2; ordinal++) {
        struct sample sample;
        sample_init(&sample, ordinal);
        for (size_t length = 0; length < sample.bytes; length++) {
            struct sq_buf pages;
            struct ltx_header header;
            struct ltx_trailer trailer;
            size_t used;
            sq_buf_init(&pages, SIZE_MAX / 2);
            assert_int_equal(
                decode(sq_buf_bytes(&sample.output.bytes), length, SIZE_MAX, &pages, &header, &trailer, &used),
                SQ_CLOSED);
            assert_int_equal(used, length);
            sq_buf_done(&pages);
        }
        sample_done(&sample);
    }
}

/* Two compressed forms may mean the same page. Nothing else may differ unnoticed. */
static void every_changed_bit_is_found(void **state)
{
    (void)state;
    for (unsigned ordinal = 0; ordinal < 2; ordinal++) {
        struct sample sample;
        sample_init(&sample, ordinal);
        size_t unnoticed = 0;
        for (size_t bit = 0; bit < sample.bytes * 8; bit++) {
            uint8_t *bytes = sq_buf_bytes(&sample.output.bytes);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            struct sq_buf pages;
            struct ltx_header header;
            struct ltx_trailer trailer;
            size_t used;
            sq_buf_init(&pages, SIZE_MAX / 2);
            sq_status status = decode(bytes, sample.bytes, SIZE_MAX, &pages, &header, &trailer, &used);
            assert_true(status == SQ_OK || status == SQ_CORRUPT || status == SQ_CLOSED);
            if (status == SQ_OK) {
                unnoticed++;
                assert_same_pages(&sample, &pages);
                assert_same_header(&header, &sample.header);
                assert_memory_equal(&trailer, &sample.trailer, sizeof(trailer));
            }
            sq_buf_done(&pages);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_true(unnoticed < sample.bytes * 8 / 10);
        sample_done(&sample);
    }
}

/* --- what a wrong encoder would write ----------------------------------------------------------------------------------- */

/* A file put together by hand, with a right checksum whatever it says. */
struct forger {
    struct sq_buf bytes;
    uint64_t crc;
};

static void forge(struct forger *forger, const void *bytes, size_t length)
{
    sq_buf_put(&forger->bytes, bytes, length);
    forger->crc = wal_crc64(forger->crc, bytes, length);
}

static void forge_header(struct forger *forger, uint32_t page_count, ltx_txid min_txid)
{
    struct ltx_header header = {.page_bytes = 512,
                                .page_count = page_count,
                                .min_txid = min_txid,
                                .max_txid = min_txid,
                                .pre_checksum = min_txid == 1 ? 0 : WAL_CHECKSUM_FLAG};
    struct memory_output output;
    ltx_encoder_free(encoder_new(&output, &header));
    sq_buf_init(&forger->bytes, SIZE_MAX / 2);
    forger->crc = 0;
    forge(forger, sq_buf_bytes(&output.bytes), LTX_HEADER_BYTES);
    sq_buf_done(&output.bytes);
}

/* A page of zeros in the compressed form that LZ4 has for it: one literal, a match of 506 at distance 1, five literals. */
static void forge_page(struct forger *forger, uint32_t number, uint16_t flags, uint32_t size)
{
    static const uint8_t payload[] = {0x1f, 0, 1, 0, 255, 232, 0x50, 0, 0, 0, 0, 0};
    static const uint8_t page[512];
    uint8_t prefix[10] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16),
                          (uint8_t)(number >> 8),  (uint8_t)number,
                          (uint8_t)(flags >> 8),   (uint8_t)flags,
                          (uint8_t)(size >> 24),   (uint8_t)(size >> 16),
                          (uint8_t)(size >> 8),    (uint8_t)size};
    forge(forger, prefix, sizeof(prefix));
    sq_buf_put(&forger->bytes, payload, sizeof(payload));
    forger->crc = wal_crc64(forger->crc, page, sizeof(page));
}

enum { FORGED_PAYLOAD = 12, FORGED_FRAME = 22 };

static sq_status forge_end(struct forger *forger, const void *index, size_t index_bytes, uint64_t index_says,
                           uint64_t post_checksum)
{
    static const uint8_t end[6];
    forge(forger, end, sizeof(end));
    forge(forger, index, index_bytes);
    uint8_t number[8];
    for (int i = 0; i < 8; i++)
        number[i] = (uint8_t)(index_says >> (56 - 8 * i));
    forge(forger, number, 8);
    for (int i = 0; i < 8; i++)
        number[i] = (uint8_t)(post_checksum >> (56 - 8 * i));
    forge(forger, number, 8);
    sq_buf_put_u64(&forger->bytes, forger->crc | WAL_CHECKSUM_FLAG);
    struct sq_buf pages;
    struct ltx_header header;
    struct ltx_trailer trailer;
    size_t used;
    sq_buf_init(&pages, SIZE_MAX / 2);
    sq_status status =
        decode(sq_buf_bytes(&forger->bytes), sq_buf_length(&forger->bytes), 7, &pages, &header, &trailer, &used);
    sq_buf_done(&pages);
    sq_buf_done(&forger->bytes);
    return status;
}

static const uint8_t index_of_5[] = {5, 100, FORGED_FRAME, 0};

static void a_right_file_by_hand_is_taken(void **state)
{
    (void)state;
    struct forger forger;
    forge_header(&forger, 9, 2);
    forge_page(&forger, 5, 1, FORGED_PAYLOAD);
    assert_int_equal(forge_end(&forger, index_of_5, 4, 4, WAL_CHECKSUM_FLAG | 3), SQ_OK);
}

static void wrong_frames_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t first;
        uint32_t second;
        uint16_t flags;
        uint32_t size;
    } wrong[] = {
        {5, 5, 1, FORGED_PAYLOAD},
        {5, 4, 1, FORGED_PAYLOAD},
        {5, 10, 1, FORGED_PAYLOAD},
        {5, UINT32_MAX, 1, FORGED_PAYLOAD},
        {5, 0, 1, FORGED_PAYLOAD},
        {5, 6, 0, FORGED_PAYLOAD},
        {5, 6, 2, FORGED_PAYLOAD},
        {5, 6, 3, FORGED_PAYLOAD},
        {5, 6, 0x101, FORGED_PAYLOAD},
        {5, 6, 1, 0},
        {5, 6, 1, 1},
        {5, 6, 1, FORGED_PAYLOAD - 1},
        {5, 6, 1, 531},
        {5, 6, 1, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct forger forger;
        forge_header(&forger, 9, 2);
        forge_page(&forger, wrong[i].first, 1, FORGED_PAYLOAD);
        forge_page(&forger, wrong[i].second, wrong[i].flags, wrong[i].size);
        const uint8_t index[] = {5, 100, FORGED_FRAME, (uint8_t)wrong[i].second, 122, FORGED_FRAME, 0};
        assert_int_equal(forge_end(&forger, index, 7, 7, WAL_CHECKSUM_FLAG), SQ_CORRUPT);
    }
}

static void the_lock_page_is_refused(void **state)
{
    (void)state;
    struct forger forger;
    forge_header(&forger, 2097200, 2);
    forge_page(&forger, 2097153, 1, FORGED_PAYLOAD);
    static const uint8_t index[] = {0x81, 0x80, 0x80, 1, 100, FORGED_FRAME, 0};
    assert_int_equal(forge_end(&forger, index, sizeof(index), sizeof(index), WAL_CHECKSUM_FLAG), SQ_CORRUPT);
    assert_non_null(strstr(err.text, "lock page"));
}

static void wrong_indexes_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[12];
        size_t length;
        uint64_t says;
    } wrong[] = {
        {{6, 100, FORGED_FRAME, 0}, 4, 4},
        {{5, 101, FORGED_FRAME, 0}, 4, 4},
        {{5, 100, FORGED_FRAME + 1, 0}, 4, 4},
        {{5, 100, FORGED_FRAME, 1}, 4, 4},
        {{0}, 1, 1},
        {{5, 100, FORGED_FRAME, 0}, 4, 5},
        {{5, 100, FORGED_FRAME, 0}, 4, 3},
        {{5, 100, FORGED_FRAME, 0, 0}, 5, 5},
        {{0x85, 0, 100, FORGED_FRAME, 0}, 5, 5}, /* a number in more bytes than it needs */
        {{5, 100, FORGED_FRAME, 5, 100, FORGED_FRAME, 0}, 7, 7},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct forger forger;
        forge_header(&forger, 9, 2);
        forge_page(&forger, 5, 1, FORGED_PAYLOAD);
        sq_status status = forge_end(&forger, wrong[i].bytes, wrong[i].length, wrong[i].says, WAL_CHECKSUM_FLAG);
        assert_true(status == SQ_CORRUPT);
    }
}

static void wrong_snapshots_are_refused(void **state)
{
    (void)state;
    static const uint8_t page[512];
    uint64_t one = wal_page_checksum(1, page, 512);
    static const uint8_t index_of_1[] = {1, 100, FORGED_FRAME, 0}, index_of_2[] = {2, 100, FORGED_FRAME, 0};
    struct forger forger;
    forge_header(&forger, 1, 1);
    forge_page(&forger, 1, 1, FORGED_PAYLOAD);
    assert_int_equal(forge_end(&forger, index_of_1, 4, 4, one), SQ_OK);
    forge_header(&forger, 1, 1);
    forge_page(&forger, 1, 1, FORGED_PAYLOAD);
    assert_int_equal(forge_end(&forger, index_of_1, 4, 4, one ^ 1), SQ_CORRUPT); /* not the pages' checksum */
    forge_header(&forger, 2, 1);
    forge_page(&forger, 1, 1, FORGED_PAYLOAD);
    assert_int_equal(forge_end(&forger, index_of_1, 4, 4, one), SQ_CORRUPT); /* a page is missing at the end */
    forge_header(&forger, 2, 1);
    forge_page(&forger, 2, 1, FORGED_PAYLOAD);
    assert_int_equal(forge_end(&forger, index_of_2, 4, 4, one), SQ_CORRUPT); /* at the beginning */
    /* An empty database's checksum is known, too. */
    static const uint8_t nothing[] = {0};
    forge_header(&forger, 0, 2);
    assert_int_equal(forge_end(&forger, nothing, 1, 1, WAL_CHECKSUM_FLAG), SQ_OK);
    forge_header(&forger, 0, 2);
    assert_int_equal(forge_end(&forger, nothing, 1, 1, WAL_CHECKSUM_FLAG | 1), SQ_CORRUPT);
}

static void reserved_bytes_are_part_of_the_checksum_and_nothing_else(void **state)
{
    (void)state;
    struct forger forger;
    forge_header(&forger, 9, 2);
    sq_buf_bytes(&forger.bytes)[90] = 7;
    forger.crc = wal_crc64(0, sq_buf_bytes(&forger.bytes), LTX_HEADER_BYTES);
    forge_page(&forger, 5, 1, FORGED_PAYLOAD);
    assert_int_equal(forge_end(&forger, index_of_5, 4, 4, WAL_CHECKSUM_FLAG), SQ_OK);
}

/* --- pages of all sizes ----------------------------------------------------------------------------------------------- */

static void pages_of_every_size_and_kind_come_back(void **state)
{
    (void)state;
    uint64_t seed = 23;
    uint8_t *page = malloc(65536);
    assert_non_null(page);
    for (uint32_t page_bytes = 512; page_bytes <= 65536; page_bytes *= 2) {
        struct ltx_header header = sensible;
        header.page_bytes = page_bytes;
        struct memory_output output;
        struct ltx_encoder *encoder = encoder_new(&output, &header);
        struct sq_buf expected, pages;
        sq_buf_init(&expected, SIZE_MAX / 2);
        sq_buf_init(&pages, SIZE_MAX / 2);
        for (uint32_t number = 1; number <= 9; number++) {
            /* From all alike to nothing that repeats. */
            for (uint32_t i = 0; i < page_bytes; i++)
                page[i] = (uint8_t)(fixture_random(&seed) % (number == 9 ? 256 : number));
            sq_buf_put(&expected, &number, sizeof(number));
            sq_buf_put(&expected, page, page_bytes);
            assert_int_equal(ltx_encoder_page(encoder, number, page, &err), SQ_OK);
        }
        struct ltx_trailer trailer, read_trailer;
        uint64_t bytes;
        assert_int_equal(ltx_encoder_finish(encoder, WAL_CHECKSUM_FLAG, &err, &trailer, &bytes), SQ_OK);
        ltx_encoder_free(encoder);
        size_t used;
        assert_int_equal(decode(sq_buf_bytes(&output.bytes), bytes, 10000, &pages, &header, &read_trailer, &used),
                         SQ_OK);
        assert_int_equal(sq_buf_length(&pages), sq_buf_length(&expected));
        assert_memory_equal(sq_buf_bytes(&pages), sq_buf_bytes(&expected), sq_buf_length(&pages));
        sq_buf_done(&pages);
        sq_buf_done(&expected);
        sq_buf_done(&output.bytes);
    }
    free(page);
}

/* A snapshot of 1 GiB and two pages: page 16385 is left out. Its index needs several pieces. */
static void a_snapshot_leaves_the_lock_page_out(void **state)
{
    (void)state;
    enum { PAGES = 16386, BYTES = 65536 };
    struct ltx_header header = {.page_bytes = BYTES, .page_count = PAGES, .min_txid = 1, .max_txid = 1};
    struct memory_output output;
    struct ltx_encoder *encoder = encoder_new(&output, &header);
    uint8_t *page = calloc(1, BYTES);
    assert_non_null(page);
    uint64_t database = WAL_CHECKSUM_FLAG;
    for (uint32_t number = 1; number <= PAGES; number++) {
        if (number == 16385) {
            assert_int_equal(ltx_encoder_page(encoder, number, page, &err), SQ_INVALID);
            continue;
        }
        assert_int_equal(ltx_encoder_page(encoder, number, page, &err), SQ_OK);
        database = wal_checksum_exchange(database, 0, wal_page_checksum(number, page, BYTES));
    }
    free(page);
    struct ltx_trailer trailer;
    uint64_t bytes;
    assert_int_equal(ltx_encoder_finish(encoder, database, &err, &trailer, &bytes), SQ_OK);
    ltx_encoder_free(encoder);
    struct ltx_decoder *decoder;
    assert_int_equal(ltx_decoder_new(&err, &decoder), SQ_OK);
    const uint8_t *at = sq_buf_bytes(&output.bytes);
    size_t length = bytes;
    enum ltx_event event = LTX_MORE;
    uint32_t count = 0, number = 0;
    while (event != LTX_DONE) {
        const void *content;
        assert_int_equal(ltx_decoder_feed(decoder, &at, &length, &err, &event, &number, &content), SQ_OK);
        assert_int_not_equal(event, LTX_MORE);
        count += event == LTX_PAGE;
    }
    assert_int_equal(count, PAGES - 1);
    assert_int_equal(number, PAGES);
    ltx_decoder_free(decoder);
    sq_buf_done(&output.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_has_its_place),
        cmocka_unit_test(limits_of_the_header),
        cmocka_unit_test(limits_of_the_place_in_the_wal),
        cmocka_unit_test(other_beginnings_are_not_ltx),
        cmocka_unit_test(a_trailer_has_two_checksums),
        cmocka_unit_test(pages_ascend),
        cmocka_unit_test(a_snapshot_has_all_pages),
        cmocka_unit_test(an_empty_database_has_the_empty_checksum),
        cmocka_unit_test(an_output_that_fails_is_told_of),
        cmocka_unit_test(bytes_may_come_in_any_pieces),
        cmocka_unit_test(bytes_behind_the_end_are_not_taken),
        cmocka_unit_test(no_beginning_of_a_file_is_a_file),
        cmocka_unit_test(every_changed_bit_is_found),
        cmocka_unit_test(a_right_file_by_hand_is_taken),
        cmocka_unit_test(wrong_frames_are_refused),
        cmocka_unit_test(the_lock_page_is_refused),
        cmocka_unit_test(wrong_indexes_are_refused),
        cmocka_unit_test(wrong_snapshots_are_refused),
        cmocka_unit_test(reserved_bytes_are_part_of_the_checksum_and_nothing_else),
        cmocka_unit_test(pages_of_every_size_and_kind_come_back),
        cmocka_unit_test(a_snapshot_leaves_the_lock_page_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
