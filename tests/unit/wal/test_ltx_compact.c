/* Compaction: whatever the files and however they are grouped, the result does what they do one after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/log_fixture.h"
#include "../../lib/ltx_memory.h"

enum { FILES_MAX = 12 };

static struct sq_error err;

struct files {
    size_t count;
    struct {
        struct memory_output output;
        struct ltx_header header;
        struct ltx_trailer trailer;
    } items[FILES_MAX];
};

static void files_done(struct files *files)
{
    for (size_t i = 0; i < files->count; i++)
        sq_buf_done(&files->items[i].output.bytes);
}

/* Consecutive files from a database on, which is then as the last one leaves it. */
static void make_files(struct files *files, size_t count, struct fixture_database *database, uint64_t *seed)
{
    files->count = count;
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes;
        memory_output_init(&files->items[i].output);
        assert_int_equal(fixture_encode(database, seed, 1 + (unsigned)(fixture_random(seed) % 3),
                                        &files->items[i].output.output, &err, &files->items[i].header,
                                        &files->items[i].trailer, &bytes),
                         SQ_OK);
    }
}

static sq_status compact(const struct files *files, size_t first, size_t count, size_t piece_max,
                         struct memory_output *output, struct ltx_header *ret_header, struct ltx_trailer *ret_trailer)
{
    struct memory_input inputs[FILES_MAX];
    struct ltx_input *pointers[FILES_MAX];
    for (size_t i = 0; i < count; i++) {
        const struct sq_buf *bytes = &files->items[first + i].output.bytes;
        memory_input_init(&inputs[i], sq_buf_bytes(bytes), sq_buf_length(bytes));
        inputs[i].piece_max = piece_max;
        pointers[i] = &inputs[i].input;
    }
    memory_output_init(output);
    return ltx_compact(pointers, count, &output->output, &err, ret_header, ret_trailer);
}

static void apply(struct fixture_database *database, const struct sq_buf *bytes)
{
    assert_int_equal(fixture_apply(database, sq_buf_bytes(bytes), sq_buf_length(bytes), &err), SQ_OK);
}

static void assert_same(const struct fixture_database *database, const struct fixture_database *expected)
{
    assert_int_equal(database->page_count, expected->page_count);
    assert_int_equal(database->txid, expected->txid);
    assert_int_equal(database->timeline, expected->timeline);
    assert_memory_equal(database->pages, expected->pages, sizeof(database->pages));
}

static void any_grouping_does_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t dice = seed;
        struct fixture_database start = {.timeline = 1}, end;
        struct files files;
        /* Half of them begin with a snapshot. */
        if (seed % 2 == 0) {
            make_files(&files, 1, &start, &dice);
            files_done(&files);
        }
        end = start;
        make_files(&files, 1 + fixture_random(&dice) % FILES_MAX, &end, &dice);
        struct fixture_database database = start;
        for (size_t first = 0; first < files.count;) {
            size_t count = 1 + fixture_random(&dice) % (files.count - first);
            struct memory_output output;
            struct ltx_header header;
            struct ltx_trailer trailer;
            assert_int_equal(
                compact(&files, first, count, fixture_random(&dice) % 2 ? 0 : 13, &output, &header, &trailer), SQ_OK);
            assert_int_equal(header.pre_checksum, files.items[first].header.pre_checksum);
            assert_int_equal(header.min_txid, files.items[first].header.min_txid);
            assert_int_equal(header.timestamp_ms, files.items[first + count - 1].header.timestamp_ms);
            assert_int_equal(trailer.post_checksum, files.items[first + count - 1].trailer.post_checksum);
            assert_int_equal(header.wal_offset, files.items[first].header.wal_offset);
            assert_int_equal(header.wal_offset + header.wal_bytes, 32 + header.max_txid * 1000);
            apply(&database, &output.bytes);
            sq_buf_done(&output.bytes);
            first += count;
        }
        assert_same(&database, &end);
        files_done(&files);
    }
}

static void compaction_of_compactions_is_the_same_file(void **state)
{
    (void)state;
    struct fixture_database database = {.timeline = 1};
    uint64_t seed = 77;
    struct files files, halves = {.count = 2};
    make_files(&files, 9, &database, &seed);
    struct memory_output whole, again;
    struct ltx_header header;
    struct ltx_trailer trailer, trailer_again;
    assert_int_equal(compact(&files, 0, 9, 0, &whole, &header, &trailer), SQ_OK);
    assert_int_equal(compact(&files, 0, 4, 0, &halves.items[0].output, &header, &trailer_again), SQ_OK);
    assert_int_equal(compact(&files, 4, 5, 0, &halves.items[1].output, &header, &trailer_again), SQ_OK);
    assert_int_equal(compact(&halves, 0, 2, 0, &again, &header, &trailer_again), SQ_OK);
    assert_int_equal(sq_buf_length(&whole.bytes), sq_buf_length(&again.bytes));
    assert_memory_equal(sq_buf_bytes(&whole.bytes), sq_buf_bytes(&again.bytes), sq_buf_length(&whole.bytes));
    assert_int_equal(trailer.file_checksum, trailer_again.file_checksum);
    sq_buf_done(&whole.bytes);
    sq_buf_done(&again.bytes);
    files_done(&files);
    files_done(&halves);
}

/* One page after the other, by hand: `pages` ends with 0; each page is filled with `fill`. */
static void make_file(struct files *files, uint32_t page_bytes, ltx_txid txid, uint32_t page_count,
                      const uint32_t *pages, int fill, uint64_t pre_checksum, uint64_t post_checksum)
{
    size_t index = files->count++;
    struct ltx_header *header = &files->items[index].header;
    *header = (struct ltx_header){.page_bytes = page_bytes,
                                  .page_count = page_count,
                                  .min_txid = txid,
                                  .max_txid = txid,
                                  .pre_checksum = pre_checksum};
    struct ltx_encoder *encoder;
    uint8_t page[65536];
    memset(page, fill, sizeof(page));
    memory_output_init(&files->items[index].output);
    assert_int_equal(ltx_encoder_new(&files->items[index].output.output, header, &err, &encoder), SQ_OK);
    for (; *pages != 0; pages++)
        assert_int_equal(ltx_encoder_page(encoder, *pages, page, &err), SQ_OK);
    uint64_t bytes;
    assert_int_equal(ltx_encoder_finish(encoder, post_checksum, &err, &files->items[index].trailer, &bytes), SQ_OK);
    ltx_encoder_free(encoder);
}

#define PAGES(...) ((const uint32_t[]){__VA_ARGS__, 0})

enum { A = 1, B = 2, C = 3, D = 4 };
static uint64_t sum(int which)
{
    return WAL_CHECKSUM_FLAG | (uint64_t)which;
}

/* Pages 8 and 9 are cut off, and the database grows again without writing 8. */
static void a_page_that_was_cut_off_does_not_come_back(void **state)
{
    (void)state;
    struct files files = {0};
    make_file(&files, 512, 5, 9, PAGES(2, 8, 9), 'a', sum(A), sum(B));
    make_file(&files, 512, 6, 4, PAGES(1), 'b', sum(B), sum(C));
    make_file(&files, 512, 7, 10, PAGES(9, 10), 'c', sum(C), sum(D));
    struct memory_output output;
    struct ltx_header header;
    struct ltx_trailer trailer;
    assert_int_equal(compact(&files, 0, 3, 0, &output, &header, &trailer), SQ_OK);
    assert_int_equal(header.page_count, 10);
    struct ltx_decoder *decoder;
    assert_int_equal(ltx_decoder_new(&err, &decoder), SQ_OK);
    const uint8_t *at = sq_buf_bytes(&output.bytes);
    size_t length = sq_buf_length(&output.bytes);
    static const struct {
        uint32_t number;
        char fill;
    } expected[] = {{1, 'b'}, {2, 'a'}, {9, 'c'}, {10, 'c'}};
    size_t count = 0;
    enum ltx_event event = LTX_MORE;
    while (event != LTX_DONE) {
        uint32_t number;
        const void *page;
        assert_int_equal(ltx_decoder_feed(decoder, &at, &length, &err, &event, &number, &page), SQ_OK);
        if (event != LTX_PAGE)
            continue;
        assert_true(count < 4);
        assert_int_equal(number, expected[count].number);
        assert_int_equal(((const char *)page)[100], expected[count].fill);
        count++;
    }
    assert_int_equal(count, 4);
    ltx_decoder_free(decoder);
    sq_buf_done(&output.bytes);
    files_done(&files);
}

static sq_status compact_all(struct files *files)
{
    struct memory_output output;
    struct ltx_header header;
    struct ltx_trailer trailer;
    sq_status status = compact(files, 0, files->count, 0, &output, &header, &trailer);
    sq_buf_done(&output.bytes);
    files_done(files);
    files->count = 0;
    return status;
}

static void files_that_do_not_follow_each_other_are_refused(void **state)
{
    (void)state;
    struct files files = {0};
    make_file(&files, 512, 5, 9, PAGES(2), 'a', sum(A), sum(B));
    make_file(&files, 512, 6, 9, PAGES(2), 'b', sum(B), sum(C));
    assert_int_equal(compact_all(&files), SQ_OK);
    make_file(&files, 512, 5, 9, PAGES(2), 'a', sum(A), sum(B));
    make_file(&files, 512, 7, 9, PAGES(2), 'b', sum(B), sum(C)); /* a gap */
    assert_int_equal(compact_all(&files), SQ_INVALID);
    make_file(&files, 512, 5, 9, PAGES(2), 'a', sum(A), sum(B));
    make_file(&files, 512, 5, 9, PAGES(2), 'b', sum(B), sum(C)); /* again */
    assert_int_equal(compact_all(&files), SQ_INVALID);
    make_file(&files, 512, 5, 9, PAGES(2), 'a', sum(A), sum(B));
    make_file(&files, 512, 6, 9, PAGES(2), 'b', sum(D), sum(C)); /* from another content */
    assert_int_equal(compact_all(&files), SQ_INVALID);
    make_file(&files, 512, 5, 9, PAGES(2), 'a', sum(A), sum(B));
    make_file(&files, 1024, 6, 9, PAGES(2), 'b', sum(B), sum(C)); /* of another page size */
    assert_int_equal(compact_all(&files), SQ_INVALID);
}

static void the_place_in_the_wal_is_the_last_unbroken_part(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset[3];
        uint64_t bytes[3];
        uint32_t salt[3];
        uint64_t expected_offset;
        uint64_t expected_bytes;
    } cases[] = {
        {{32, 132, 332}, {100, 200, 300}, {1, 1, 1}, 32, 600},  {{32, 132, 332}, {100, 200, 300}, {1, 2, 2}, 132, 500},
        {{32, 132, 432}, {100, 200, 300}, {1, 1, 1}, 432, 300}, {{32, 132, 0}, {100, 200, 0}, {1, 1, 0}, 0, 0},
        {{32, 0, 132}, {100, 0, 200}, {1, 0, 1}, 132, 200},     {{32, 132, 332}, {100, 200, 300}, {1, 1, 2}, 332, 300},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct files files = {.count = 3};
        for (size_t k = 0; k < 3; k++) {
            struct ltx_header header = {.page_bytes = 512,
                                        .page_count = 1,
                                        .min_txid = 5 + k,
                                        .max_txid = 5 + k,
                                        .pre_checksum = sum((int)k),
                                        .wal_offset = cases[i].offset[k],
                                        .wal_bytes = cases[i].bytes[k],
                                        .wal_salt1 = cases[i].salt[k]};
            struct ltx_encoder *encoder;
            struct ltx_trailer trailer;
            uint64_t bytes;
            memory_output_init(&files.items[k].output);
            assert_int_equal(ltx_encoder_new(&files.items[k].output.output, &header, &err, &encoder), SQ_OK);
            assert_int_equal(ltx_encoder_finish(encoder, sum((int)k + 1), &err, &trailer, &bytes), SQ_OK);
            ltx_encoder_free(encoder);
        }
        struct memory_output output;
        struct ltx_header header;
        struct ltx_trailer trailer;
        assert_int_equal(compact(&files, 0, 3, 0, &output, &header, &trailer), SQ_OK);
        assert_int_equal(header.wal_offset, cases[i].expected_offset);
        assert_int_equal(header.wal_bytes, cases[i].expected_bytes);
        assert_int_equal(header.wal_salt1, cases[i].salt[2]);
        sq_buf_done(&output.bytes);
        files_done(&files);
    }
}

static void damaged_inputs_are_found(void **state)
{
    (void)state;
    struct fixture_database database = {.timeline = 1};
    uint64_t seed = 4;
    struct files files;
    make_files(&files, 3, &database, &seed);
    struct memory_output output;
    struct ltx_header header;
    struct ltx_trailer trailer;
    struct sq_buf *bytes = &files.items[1].output.bytes;
    size_t length = sq_buf_length(bytes);
    for (size_t cut = 0; cut < length; cut += 7) {
        bytes->end = bytes->start + cut;
        assert_int_equal(compact(&files, 0, 3, 0, &output, &header, &trailer), SQ_CORRUPT);
        sq_buf_done(&output.bytes);
    }
    bytes->end = bytes->start + length;
    sq_buf_bytes(bytes)[length - 1] ^= 1; /* its checksum */
    assert_int_equal(compact(&files, 0, 3, 0, &output, &header, &trailer), SQ_CORRUPT);
    sq_buf_done(&output.bytes);
    sq_buf_bytes(bytes)[length - 1] ^= 1;
    sq_buf_put_u8(bytes, 0); /* more behind it */
    for (size_t piece = 0; piece < 2; piece++) {
        assert_int_equal(compact(&files, 0, 3, piece, &output, &header, &trailer), SQ_CORRUPT);
        sq_buf_done(&output.bytes);
    }
    files_done(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_grouping_does_the_same),
        cmocka_unit_test(compaction_of_compactions_is_the_same_file),
        cmocka_unit_test(a_page_that_was_cut_off_does_not_come_back),
        cmocka_unit_test(files_that_do_not_follow_each_other_are_refused),
        cmocka_unit_test(the_place_in_the_wal_is_the_last_unbroken_part),
        cmocka_unit_test(damaged_inputs_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
