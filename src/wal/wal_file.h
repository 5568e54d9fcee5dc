/* wal/wal_file.h: a database file and its WAL as SQLite keeps them (sqlite.org/fileformat2.html, "The Write-Ahead Log";
 * sqlite.org/walformat.html): reading committed frames, reading a snapshot's pages, and appending transactions.
 *
 * The files are reached through handles of a SQLite connection (SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER): a descriptor
 * of our own could not be closed without dropping the process's locks on the file (POSIX). The connection is the caller's,
 * stays open and in WAL mode, and has read something, so that both handles are there.
 *
 * Threads: one at a time. */
#ifndef SQ_WAL_WAL_FILE_H
#define SQ_WAL_WAL_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct sqlite3;
struct wal_file;

/* `connection` outlives the file. SQ_INVALID: it is not in WAL mode. */
SQ_MUST_USE sq_status wal_file_new(struct sqlite3 *connection, struct sq_error *err, struct wal_file **ret_file);
void wal_file_free(struct wal_file *file); /* NULL is allowed */

/* A place in the WAL: a generation, told by its salts, and how many frames of it. */
struct wal_place {
    uint32_t salt1;
    uint32_t salt2;
    uint32_t frame_count;
};
/* All that the wal-index says, at one moment. */
struct wal_state {
    struct wal_place place;
    /* The checksum of its last frame, which is of all frames before it too; 0: there is none. After a crash other frames may come to stand in the same
     * places, of the same generation: a place and its sum tell them apart. */
    uint64_t sum;
    uint32_t page_bytes;
    uint32_t page_count;
    uint32_t change_count; /* one more with each commit; goes on when the WAL is begun anew; 0 after a recovery */
};
SQ_MUST_USE sq_status wal_file_state(struct wal_file *file, struct sq_error *err, struct wal_state *ret_state);

/* What the wal-index says is committed now. A WAL without frames: salts of 0 if there is no header yet. */
SQ_MUST_USE sq_status wal_file_end(struct wal_file *file, struct sq_error *err, struct wal_place *ret_end,
                                   uint32_t *ret_page_bytes, uint32_t *ret_page_count);

/* Frame `index` (from 0) of the generation `salt1`, `salt2`: its page number, and the size of the database in pages if it commits a
 * transaction, else 0. `page` (page_bytes, may be NULL) is the content. SQ_NOT_FOUND: the frame has other salts: the WAL was
 * begun anew. Checksums of frames up to wal_file_end() were made by a live writer or verified by SQLite's recovery, and are
 * not computed again. */
SQ_MUST_USE sq_status wal_file_frame(struct wal_file *file, const struct wal_place *place, uint32_t index,
                                     struct sq_error *err, uint32_t *ret_page_number, uint32_t *ret_commit_page_count,
                                     void *page);

/* For who knows where he was before a crash: whether the WAL goes on from `place`, of an older generation, without anything in between. True if what is
 * left of that generation shows that it ended there, and the present one is the next. False: it does not, or cannot be told any more. */
SQ_MUST_USE sq_status wal_file_follows(struct wal_file *file, const struct wal_place *place, struct sq_error *err,
                                       bool *ret_follows);

/* A snapshot: while it lives, its pages can be read whatever is written and checkpointed meanwhile. It holds a read transaction of the
 * connection. */
struct wal_snapshot;
SQ_MUST_USE sq_status wal_snapshot_begin(struct wal_file *file, struct sq_error *err,
                                         struct wal_snapshot **ret_snapshot);
struct wal_place wal_snapshot_place(const struct wal_snapshot *snapshot);
uint32_t wal_snapshot_page_count(const struct wal_snapshot *snapshot);
/* Page `page_number` (from 1; not the lock page), page_bytes bytes. */
SQ_MUST_USE sq_status wal_snapshot_page(struct wal_snapshot *snapshot, uint32_t page_number, void *page,
                                        struct sq_error *err);
void wal_snapshot_end(struct wal_snapshot *snapshot); /* NULL is allowed */

/* Appending a transaction of pages, verbatim. Between begin and commit the connection has SQLite's write lock (and the caller the
 * database's write slot, if there is one); readers see nothing before commit, then everything; a crash leaves all or
 * nothing of it. Pages in any order, the last of a number wins; constant memory but for 4 bytes a page.
 * SQ_BUSY: another process writes; try again. */
struct wal_append;
/* Begins the WAL anew, if that can be: wal_append_end() says then where it begins. */
SQ_MUST_USE sq_status wal_append_begin(struct wal_file *file, struct sq_error *err, struct wal_append **ret_append);
/* The database as it was found, under the lock, before the WAL was begun anew: for who wants to know whether somebody else has written. */
const struct wal_state *wal_append_found(const struct wal_append *append);
SQ_MUST_USE sq_status wal_append_page(struct wal_append *append, uint32_t page_number, const void *page,
                                      struct sq_error *err);
/* Where the WAL will end when the transaction is committed with the pages that it has now. */
struct wal_place wal_append_end(const struct wal_append *append);
/* No more pages: what there was to write is written, but for the last pages, the commit among them. Returns the sum (struct wal_state) that the WAL will
 * end with. */
uint64_t wal_append_seal(struct wal_append *append, uint32_t page_count);
/* `page_count`: the size of the database afterwards. Not synced: durability is the caller's (engine/durability.h). At least one
 * page has been appended. After wal_append_seal() the same number as there. The append is freed, also on failure, when nothing has happened. */
SQ_MUST_USE sq_status wal_append_commit(struct wal_append *append, uint32_t page_count, struct sq_error *err,
                                        struct wal_place *ret_end);
void wal_append_abort(struct wal_append *append); /* NULL is allowed */

#endif
