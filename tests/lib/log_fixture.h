/* tests/lib/log_fixture.h: for tests of a log: a database of a few pages in memory, whose transactions are made into
 * files. */
#ifndef SQ_TESTS_WAL_LOG_FIXTURE_H
#define SQ_TESTS_WAL_LOG_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wal/checksum.h"
#include "wal/log.h"
#include "wal/ltx.h"

enum { FIXTURE_PAGE_BYTES = 512, FIXTURE_PAGES_MAX = 64 };

/* A database's content at some transaction. */
struct fixture_database {
    uint32_t page_count;
    uint64_t timeline;
    ltx_txid txid;
    uint8_t pages[FIXTURE_PAGES_MAX][FIXTURE_PAGE_BYTES]; /* from page 1 on, at 0 */
};

static inline uint64_t fixture_checksum(const struct fixture_database *database)
{
    uint64_t sum = WAL_CHECKSUM_FLAG;
    for (uint32_t i = 0; i < database->page_count; i++)
        sum = wal_checksum_exchange(sum, 0, wal_page_checksum(i + 1, database->pages[i], FIXTURE_PAGE_BYTES));
    return sum;
}

static inline struct wal_position fixture_position(const struct fixture_database *database)
{
    return (struct wal_position){
        .timeline = database->timeline, .txid = database->txid, .checksum = fixture_checksum(database)};
}

static inline uint64_t fixture_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* The next `count` transactions, by the seed: pages change, the database grows and shrinks. *ret_changed: one bit for each page. */
static inline void fixture_change(struct fixture_database *database, uint64_t *seed, unsigned count,
                                  uint64_t *ret_changed)
{
    uint64_t changed = 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t page_count = database->page_count;
        if (page_count == 0 || fixture_random(seed) % 4 == 0)
            page_count = 1 + (uint32_t)(fixture_random(seed) % (FIXTURE_PAGES_MAX - 1));
        for (uint32_t page = 0; page < page_count; page++) {
            if (page < database->page_count && page > 0 && fixture_random(seed) % 8 != 0)
                continue;
            changed |= UINT64_C(1) << page;
            uint8_t *bytes = database->pages[page];
            memset(bytes, (int)(fixture_random(seed) & 0xff), FIXTURE_PAGE_BYTES);
            uint64_t word = fixture_random(seed);
            memcpy(bytes + fixture_random(seed) % (FIXTURE_PAGE_BYTES - 8), &word, sizeof(word));
        }
        for (uint32_t page = page_count; page < FIXTURE_PAGES_MAX; page++) {
            memset(database->pages[page], 0, FIXTURE_PAGE_BYTES);
            changed &= ~(UINT64_C(1) << page);
        }
        database->page_count = page_count;
        database->txid++;
    }
    *ret_changed = changed;
}

/* Makes the next `count` transactions and puts them into `output` as one file. */
static inline sq_status fixture_encode(struct fixture_database *database, uint64_t *seed, unsigned count,
                                       struct ltx_output *output, struct sq_error *err, struct ltx_header *ret_header,
                                       struct ltx_trailer *ret_trailer, uint64_t *ret_bytes)
{
    struct ltx_header header = {
        .page_bytes = FIXTURE_PAGE_BYTES,
        .min_txid = database->txid + 1,
        .max_txid = database->txid + count,
        .timestamp_ms = 1700000000000 + (int64_t)database->txid,
        .pre_checksum = database->txid == 0 ? 0 : fixture_checksum(database),
        .wal_offset = 32 + database->txid * 1000,
        .wal_bytes = 1000 * count,
        .wal_salt1 = 1,
        .wal_salt2 = 2,
        .node_id = database->timeline,
    };
    uint64_t changed;
    bool is_snapshot = database->txid == 0;
    fixture_change(database, seed, count, &changed);
    header.page_count = database->page_count;
    struct ltx_encoder *encoder = NULL;
    sq_status status = ltx_encoder_new(output, &header, err, &encoder);
    for (uint32_t page = 0; page < database->page_count && status == SQ_OK; page++)
        if (is_snapshot || (changed >> page & 1) != 0)
            status = ltx_encoder_page(encoder, page + 1, database->pages[page], err);
    if (status == SQ_OK)
        status = ltx_encoder_finish(encoder, fixture_checksum(database), err, ret_trailer, ret_bytes);
    ltx_encoder_free(encoder);
    *ret_header = header;
    return status;
}

/* The same, into the log. When it fails the database is as it was. */
static inline sq_status fixture_append(struct wal_log *log, struct fixture_database *database, uint64_t *seed,
                                       unsigned count, struct sq_error *err)
{
    struct fixture_database *before = malloc(sizeof(*before));
    if (before == NULL)
        return sq_fail(err, SQ_NOMEM, "fixture");
    *before = *database;
    struct wal_log_file *file = NULL;
    struct ltx_header header;
    struct ltx_trailer trailer;
    uint64_t bytes = 0;
    sq_status status = wal_log_file_new(log, err, &file);
    if (status == SQ_OK)
        status = fixture_encode(database, seed, count, wal_log_file_output(file), err, &header, &trailer, &bytes);
    if (status == SQ_OK)
        status = wal_log_file_commit(file, &header, &trailer, err);
    else
        wal_log_file_abort(file);
    if (status != SQ_OK)
        *database = *before;
    free(before);
    return status;
}

/* What a file does to a database. SQ_INVALID: it does not go on from it. */
static inline sq_status fixture_apply(struct fixture_database *database, const uint8_t *bytes, size_t length,
                                      struct sq_error *err)
{
    struct ltx_decoder *decoder = NULL;
    sq_status status = ltx_decoder_new(err, &decoder);
    enum ltx_event event = LTX_MORE;
    while (status == SQ_OK && event != LTX_DONE) {
        uint32_t page_number = 0;
        const void *page = NULL;
        status = ltx_decoder_feed(decoder, &bytes, &length, err, &event, &page_number, &page);
        if (status == SQ_OK && event == LTX_PAGE) {
            sq_assert(page_number <= FIXTURE_PAGES_MAX);
            memcpy(database->pages[page_number - 1], page, FIXTURE_PAGE_BYTES);
        } else if (status == SQ_OK && event == LTX_MORE) {
            status = sq_fail(err, SQ_CORRUPT, "the file ends too early");
        }
    }
    if (status == SQ_OK) {
        const struct ltx_header *header = ltx_decoder_header(decoder);
        for (uint32_t page = header->page_count; page < FIXTURE_PAGES_MAX; page++)
            memset(database->pages[page], 0, FIXTURE_PAGE_BYTES);
        database->page_count = header->page_count;
        database->txid = header->max_txid;
        database->timeline = header->node_id;
        if (ltx_decoder_trailer(decoder)->post_checksum != fixture_checksum(database))
            status = sq_fail(err, SQ_CORRUPT, "the database has another checksum");
    }
    ltx_decoder_free(decoder);
    return status;
}

/* Reads the file after the database's transaction and applies it. SQ_NOT_FOUND: there is none. */
static inline sq_status fixture_follow(struct wal_log *log, struct fixture_database *database, struct sq_error *err)
{
    struct wal_log_reader *reader = NULL;
    sq_status status = wal_log_reader_open(log, database->txid, err, &reader);
    if (status != SQ_OK)
        return status;
    size_t length = (size_t)wal_log_reader_bytes(reader), used = 0, part = 1;
    uint8_t *bytes = malloc(length);
    if (bytes == NULL)
        status = sq_fail(err, SQ_NOMEM, "fixture");
    while (status == SQ_OK && used < length && part > 0) {
        status = wal_log_reader_read(reader, used, bytes + used, length - used, err, &part);
        used += status == SQ_OK ? part : 0;
    }
    if (status == SQ_OK)
        status = fixture_apply(database, bytes, used, err);
    free(bytes);
    wal_log_reader_close(reader);
    return status;
}

#endif
