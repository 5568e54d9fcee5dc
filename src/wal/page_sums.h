/* wal/page_sums.h: the checksum of every page of one database, eight bytes each, in memory, and beside the log in a file that
 * a crash cannot make wrong unnoticed: the database's checksum can be kept up to date without reading the database.
 *
 *   sums_open: reads the file, if it is whole, as of the transaction that it says ── then the log's newer files are replayed
 *   into it (page_sums_set) ── the caller compares page_sums_database() with the last file's post_checksum.
 *   sums_save: changed entries are written and synced, then the header says "as of N", N being a transaction whose log files are
 *   synced: until then it says the one before, and the entries that may be either are those of pages in log files after that.
 *
 * Threads: one at a time; the owner locks. */
#ifndef SQ_WAL_PAGE_SUMS_H
#define SQ_WAL_PAGE_SUMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "wal/ltx.h"

struct page_sums;

/* Empty: no page. */
SQ_MUST_USE sq_status page_sums_new(uint32_t page_bytes, struct sq_error *err, struct page_sums **ret_sums);
/* From the file at `path`. SQ_NOT_FOUND: there is none. SQ_CORRUPT: it is damaged: make a new one from the database.
 * *ret_txid, *ret_timeline: as of when; replay every log file after it. */
SQ_MUST_USE sq_status page_sums_open(const char *path, struct sq_error *err, struct page_sums **ret_sums,
                                     ltx_txid *ret_txid, uint64_t *ret_timeline);
void page_sums_free(struct page_sums *sums); /* NULL is allowed */

uint32_t page_sums_page_bytes(const struct page_sums *sums);
uint32_t page_sums_page_count(const struct page_sums *sums);
uint64_t page_sums_get(const struct page_sums *sums, uint32_t page_number); /* 0: no such page, or the lock page */
/* Grows as needed. SQ_NOMEM: nothing has changed. */
SQ_MUST_USE sq_status page_sums_set(struct page_sums *sums, uint32_t page_number, uint64_t checksum,
                                    struct sq_error *err);
/* Pages beyond are gone; new ones in between (as after a write beyond the end) have no checksum until they are set. */
SQ_MUST_USE sq_status page_sums_resize(struct page_sums *sums, uint32_t page_count, struct sq_error *err);
/* Of the whole database, with the flag. O(1). */
uint64_t page_sums_database(const struct page_sums *sums);
/* Writes and syncs what has changed since the last time; the file (the one that was opened, or else a new one that takes its place) is
 * made if there is none. Everything up to `txid` is in synced log files. On failure the file is as of the last time, if the
 * log's files after that are kept, and the next save does what this one did not. */
SQ_MUST_USE sq_status page_sums_save(struct page_sums *sums, const char *path, ltx_txid txid, uint64_t timeline,
                                     struct sq_error *err);
/* A copy as of now, for who compares or sends them while others go on; it takes little memory but for what is changed on one side: page_sums_free().
 * Two that share memory may be used by two threads. */
SQ_MUST_USE sq_status page_sums_copy(const struct page_sums *sums, struct sq_error *err, struct page_sums **ret_copy);

#endif
