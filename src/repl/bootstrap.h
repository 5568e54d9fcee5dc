/* repl/bootstrap.h: the file that a new database of a replica grows in, outside of SQLite: NAME.db-ltx/bootstrap.
 *
 * Pages stand where they will stand in the database file. Nothing else is written down of how far it is: what has come is known by the checksums
 * of the pages that are there, and a page of zeros counts as one that is not, so an interrupted bootstrap goes on with what any crash
 * has left.
 *
 * Threads: one at a time. */
#ifndef SQ_REPL_BOOTSTRAP_H
#define SQ_REPL_BOOTSTRAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "engine/follower.h"

struct bootstrap;
struct page_sums;

/* Whether there is one from before. `dir` is the log's. */
bool bootstrap_is_there(const char *dir);
/* Nothing to do if there is none. */
SQ_MUST_USE sq_status bootstrap_remove(const char *dir, struct sq_error *err);

/* Opens or makes it, for pages of `page_bytes`. */
SQ_MUST_USE sq_status bootstrap_open(const char *dir, uint32_t page_bytes, struct sq_error *err,
                                     struct bootstrap **ret_bootstrap);
void bootstrap_close(struct bootstrap *bootstrap); /* NULL is allowed; the file stays */
uint32_t bootstrap_page_bytes(const struct bootstrap *bootstrap);
const char *bootstrap_path(const struct bootstrap *bootstrap);

/* Reads at most `page_count_max` more pages of what is there, before anything is written. */
SQ_MUST_USE sq_status bootstrap_scan(struct bootstrap *bootstrap, uint32_t page_count_max, struct sq_error *err,
                                     bool *ret_is_end);
/* The checksums of the pages that were scanned or written; the bootstrap's. */
struct page_sums *bootstrap_sums(const struct bootstrap *bootstrap);

/* Best in ascending order. */
SQ_MUST_USE sq_status bootstrap_page(struct bootstrap *bootstrap, uint32_t page_number, const void *page,
                                     struct sq_error *err);
/* All pages of a database of `page_count` are there, and it has the checksum `checksum`: on disk when it returns, and not written to
 * any more: *ret_mark. SQ_CORRUPT: it is not what it should be. */
SQ_MUST_USE sq_status bootstrap_finish(struct bootstrap *bootstrap, uint32_t page_count, uint64_t checksum,
                                       struct sq_error *err, struct engine_file_mark *ret_mark);
#endif
