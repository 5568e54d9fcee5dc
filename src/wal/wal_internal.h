/* wal/wal_internal.h: what wal_file.c, wal_append.c and wal_index.c share: an open WAL and its wal-index.
 * Threads: one at a time. */
#ifndef SQ_WAL_WAL_INTERNAL_H
#define SQ_WAL_WAL_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "wal/bytes.h"
#include "wal/wal_file.h"

enum {
    WAL_HEADER_BYTES = 32,
    WAL_FRAME_HEADER_BYTES = 24,
    WAL_VERSION = 3007000, /* of the WAL and of the wal-index */
    WAL_PAGE_BYTES_MIN = 512,
    WAL_PAGE_BYTES_MAX = 65536,
    WAL_FRAMES_MAX = 0x7fffffff, /* far more than a disk has room for */
    DATABASE_PAGE_BYTES =
        16, /* byte offsets in the database header (sqlite.org/fileformat2.html, "The Database Header") */
    DATABASE_WRITE_VERSION = 18, /* 2: WAL; the byte behind it is the read version */
    DATABASE_HEADER_BYTES = 100,
};

/* Locks of the wal-index (sqlite.org/walformat.html, "WAL Locks"). */
enum {
    WAL_LOCK_WRITE = 0,
    WAL_LOCK_CHECKPOINT = 1,
    WAL_LOCK_READ = 3, /* the first of WAL_READER_COUNT */
    WAL_READER_COUNT = 5,
};

/* One of the two copies of the wal-index's header, in native byte order, but for the salts, which are the WAL's bytes. */
struct wal_index_header {
    uint32_t version;
    uint32_t unused;
    uint32_t change_count; /* of transactions: tells readers that something has changed */
    uint8_t is_initialised;
    uint8_t is_big_endian;    /* the WAL's checksums */
    uint16_t page_bytes_code; /* 1: 65536; 0: no frame was ever written */
    uint32_t frame_count;
    uint32_t page_count;
    uint32_t frame_sum[2];
    uint32_t salts[2];
    uint32_t sum[2]; /* of all the above */
};
_Static_assert(sizeof(struct wal_index_header) == 48, "the wal-index's header");

struct wal_file {
    sqlite3 *connection;
    sqlite3_file *database;
    sqlite3_file *wal;
    sqlite3_stmt *look; /* reads something: as long as it is not reset, the connection has a read transaction */
    volatile _Atomic uint32_t **regions; /* NULL: not mapped yet */
    size_t region_count;
    bool is_appending;
    bool has_snapshot;
};

/* --- Bytes -------------------------------------------------------------------------------------------------------- */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the byte order of the machines that sqld runs on");

/* Goes on with `sum`: the checksum of WAL headers, frames and wal-index headers; `length` is a multiple of 8. */
void wal_sum_add(bool is_big_endian, const void *bytes, size_t length, uint32_t sum[2]);

/* 0: none that makes sense. */
uint32_t wal_page_bytes_of(uint16_t code);

static inline struct wal_place wal_place_of(const struct wal_index_header *header)
{
    return (struct wal_place){__builtin_bswap32(header->salts[0]), __builtin_bswap32(header->salts[1]),
                              header->frame_count};
}

/* See struct wal_state. */
static inline uint64_t wal_sum_of(const struct wal_index_header *header)
{
    return header->frame_count == 0 ? 0 : (uint64_t)header->frame_sum[0] << 32 | header->frame_sum[1];
}

static inline int64_t wal_frame_offset(uint32_t frame_index, uint32_t page_bytes)
{
    return WAL_HEADER_BYTES + (int64_t)frame_index * ((int64_t)page_bytes + WAL_FRAME_HEADER_BYTES);
}

/* The page size and the number of pages as of `header`, which may have changed meanwhile. */
SQ_MUST_USE sq_status wal_measure(struct wal_file *file, const struct wal_index_header *header, struct sq_error *err,
                                  uint32_t *ret_page_bytes, uint32_t *ret_page_count);

/* What a call of SQLite's, or of its file methods, has failed with; `what` completes "cannot …". */
sq_status wal_fail(struct sq_error *err, int result, const char *what);

/* --- The wal-index ------------------------------------------------------------------------------------------------ */

/* A whole and valid header. SQ_BUSY: there is none, even after some looks; a transaction of SQLite's on any connection makes
 * one, waiting for who writes it now, or recovering it from the WAL. */
SQ_MUST_USE sq_status wal_index_read(struct wal_file *file, struct sq_error *err, struct wal_index_header *ret_header);
/* The same, with such a transaction if it is needed and there is no snapshot. Not while appending. */
SQ_MUST_USE sq_status wal_index_read_or_recover(struct wal_file *file, struct sq_error *err,
                                                struct wal_index_header *ret_header);
/* Whether the WAL is still the generation of `place`. True: what was read of its committed frames before the call is whole. Needs no
 * valid header: who begins the WAL anew publishes new salts, in the second copy first, before it writes over anything. */
bool wal_index_is_generation(struct wal_file *file, const struct wal_place *place);
/* Makes `header` (its checksum is set here) visible to all. Under the write lock. */
void wal_index_publish(struct wal_file *file, struct wal_index_header *header);

/* The last frame (from 1) of page `page_number` among the first `frame_limit`; 0: none. */
SQ_MUST_USE sq_status wal_index_find(struct wal_file *file, uint32_t page_number, uint32_t frame_limit,
                                     struct sq_error *err, uint32_t *ret_frame);
/* Frame `frame` (from 1, one more than the last) is of page `page_number`. Nobody sees it before the header says so. Under the
 * write lock. */
SQ_MUST_USE sq_status wal_index_put(struct wal_file *file, uint32_t frame, uint32_t page_number, struct sq_error *err);
/* Takes back what was put beyond `frame_count`. Under the write lock. */
void wal_index_forget(struct wal_file *file, uint32_t frame_count);

/* How many frames have been copied into the database file. */
uint32_t wal_index_backfilled(struct wal_file *file);
/* After the header was published that begins the WAL anew; under the write lock, those of all readers but 0, and that of checkpoints. */
void wal_index_reset_marks(struct wal_file *file);

int wal_lock(struct wal_file *file, int lock, int count);
void wal_unlock(struct wal_file *file, int lock, int count);

#endif
