/* wal/log.h: the log of one database: a directory of consecutive LTX files beside it (NAME.db-ltx/).
 *
 *     NAME.db-ltx/MINTXID-MAXTXID.ltx    16 hexadecimal digits each; docs/ltx.md
 *                 NUMBER.tail            small files that are not synced yet, one behind the other; made files at a sync, and at open
 *                 *.tmp                  being written; removed at open
 *                 sums                   page_sums.h
 *                 history                where it begins; which timeline began after which transaction
 *                 marks                  what has been removed at the front, what is synced
 *                 …                      the owner's own small files (names without ".ltx", ".tail" and ".tmp")
 *
 *     appended ──► [l][l][l] [l][l][l] [ compacted ][ compacted ]     oldest files go by age and size
 *                  unsynced    synced by wal_log_sync()
 *
 * A *position* says what a database's content is: (timeline, transaction number, checksum of all pages). Files are consecutive: each one's
 * min_txid is the one before's max_txid + 1, its pre_checksum the one before's post_checksum. The log need not begin with a snapshot.
 *
 * Invariants: (1) a file is in the log only when it is complete; (2) after a crash the log is the longest run of whole consecutive files
 * from its first one, never less than what was synced: the rest is removed and told of; (3) readers that have a file open can read it to its
 * end although it has been compacted or removed.
 *
 * Threads: any; one appends at a time: wal_log_file_commit(), wal_log_restart(), wal_log_begin_timeline(). Syncing and tidying
 * may go on beside that, and wait for each other. */
#ifndef SQ_WAL_LOG_H
#define SQ_WAL_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"
#include "base/waker.h"
#include "wal/ltx.h"

struct wal_log;

struct wal_position {
    uint64_t timeline;
    ltx_txid txid;     /* 0: before the first transaction that the log knows */
    uint64_t checksum; /* of the database at that point */
};

/* Opens or makes the directory at `path` (its parent exists). Files that are damaged, and those after them, are removed and logged; what
 * is left is on disk when this returns. SQ_IO: also if the disk has no room for that.
 * *ret_log is to be closed with wal_log_close(), when nothing watches it and no file is being written. */
SQ_MUST_USE sq_status wal_log_open(const char *path, struct sq_error *err, struct wal_log **ret_log);
void wal_log_close(struct wal_log *log); /* NULL is allowed */
const char *wal_log_path(const struct wal_log *log);

/* The end: what the last file leaves. An empty log: txid 0 unless wal_log_restart() has said where it begins. */
struct wal_position wal_log_end(struct wal_log *log);
/* Before the oldest file that is kept: a follower at or after this txid can be served from files. */
struct wal_position wal_log_begin(struct wal_log *log);
/* Header of the last file: where in the WAL it ended. False: there is none. */
bool wal_log_last_header(struct wal_log *log, struct ltx_header *ret_header);
/* Up to where files are certainly on disk. */
ltx_txid wal_log_synced(struct wal_log *log);

/* Forgets all files and goes on after `position`: a new snapshot of the database begins here, or a new timeline after a gap. Durable when
 * it returns; a crash before leaves the log as it was or as it will be. What the history says of timelines is kept if the
 * position is on the log's timeline. SQ_INVALID: the file after transaction 0 is a snapshot in LTX, whatever was before: position->txid is 1
 * or more, or the checksum that of an empty database. On failure ask wal_log_end() which of both it is. */
SQ_MUST_USE sq_status wal_log_restart(struct wal_log *log, const struct wal_position *position, struct sq_error *err);
/* A new timeline, of a higher number, begins after the present end: durable when it returns, and so is all before it. */
SQ_MUST_USE sq_status wal_log_begin_timeline(struct wal_log *log, uint64_t timeline, struct sq_error *err);
/* Of the timelines in the log's history, the txid after which `timeline` ended (UINT64_MAX: it has not). False: not in the history. */
bool wal_log_timeline_end(struct wal_log *log, uint64_t timeline, ltx_txid *ret_txid);

/* A file being written: an ltx_output for an encoder, or for bytes as they were received. A small one (half a megabyte) is in memory until it
 * is committed, and then costs one write. */
struct wal_log_file;
SQ_MUST_USE sq_status wal_log_file_new(struct wal_log *log, struct sq_error *err, struct wal_log_file **ret_file);
struct ltx_output *wal_log_file_output(struct wal_log_file *file);
/* It is complete: gets its name, and is the log's end. SQ_INVALID: it does not follow the present end, or its node_id is not the log's
 * timeline, or the bytes are not those of such a header and trailer. Wakes those who watch. The file is freed, also on failure,
 * when the log is as before. Not synced. */
SQ_MUST_USE sq_status wal_log_file_commit(struct wal_log_file *file, const struct ltx_header *header,
                                          const struct ltx_trailer *trailer, struct sq_error *err);
void wal_log_file_abort(struct wal_log_file *file); /* NULL is allowed */
/* Everything up to the end at the call is on disk when it returns. Many small files are compacted into one, which is then synced instead;
 * those that need the next small one find it for some seconds more. On failure nothing is lost, and a later sync does what this one did
 * not; SQ_CORRUPT: a file has been damaged (by a disk that had said it was written): the log is to be begun anew. */
SQ_MUST_USE sq_status wal_log_sync(struct wal_log *log, struct sq_error *err);

/* Reading: the file that has the transaction after `txid`; it may begin earlier. SQ_NOT_FOUND: none yet (txid is the end) or no longer (before
 * the begin): compare with wal_log_begin(). A reader needs the log no more. */
struct wal_log_reader;
SQ_MUST_USE sq_status wal_log_reader_open(struct wal_log *log, ltx_txid txid, struct sq_error *err,
                                          struct wal_log_reader **ret_reader);
const struct ltx_header *wal_log_reader_header(const struct wal_log_reader *reader);
uint64_t wal_log_reader_bytes(const struct wal_log_reader *reader); /* of the whole file */
/* At most `length` bytes from `offset`. */
SQ_MUST_USE sq_status wal_log_reader_read(struct wal_log_reader *reader, uint64_t offset, void *bytes, size_t length,
                                          struct sq_error *err, size_t *ret_length);
void wal_log_reader_close(struct wal_log_reader *reader); /* NULL is allowed */

/* One who wants to know of new ends; embedded in its owner. The waker is called, under the log's lock, after each append and restart, until
 * the watch is removed. */
struct wal_log_watch {
    struct sq_list links;
    struct sq_waker *waker;
};
void wal_log_watch_add(struct wal_log *log, struct wal_log_watch *watch, struct sq_waker *waker);
void wal_log_watch_remove(struct wal_log *log, struct wal_log_watch *watch);

/* Compacts runs of small, old-enough files, level by level, and removes the oldest while the log has more than `bytes_max` bytes or files older than `age_ms_max`
 * (0: no limit): but never what is after `keep_txid`, nor what is not synced, nor the last file that is. For a look every second. SQ_CORRUPT: as of
 * wal_log_sync(). */
SQ_MUST_USE sq_status wal_log_tidy(struct wal_log *log, uint64_t bytes_max, int64_t age_ms_max, ltx_txid keep_txid,
                                   struct sq_error *err);
struct wal_log_facts {
    uint64_t file_count;
    uint64_t bytes;
    int64_t oldest_ms; /* Unix time of the oldest file's last transaction */
};
struct wal_log_facts wal_log_facts(struct wal_log *log);
/* Of the files that have transactions after `txid`. */
uint64_t wal_log_bytes_after(struct wal_log *log, ltx_txid txid);

#endif
