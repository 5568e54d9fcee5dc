/* wal/log_internal.h: what the files of wal/log.h share.
 *
 *     log.c         the list of files, positions, timelines, watches
 *     log_open.c    which files of a directory are the log, after whatever happened
 *     log_file.c    writing a file
 *     log_tail.c    where small files are until they are synced
 *     log_reader.c  reading
 *     log_sync.c    getting the newest files onto the disk, compacting many small ones
 *     log_tidy.c    compacting and removing old ones
 *     log_begin.c   beginning anew, beginning a timeline
 *
 *     entries   ──► [ oldest ] … [ newest ]      the log
 *     spares    ──►        [l][l][l]             files that wal_log_sync() has compacted, kept a few seconds: a follower that
 *                                                is right behind is given the next small one, not the large one again
 *
 * Locking: `lock` is held for a few instructions, never across I/O; wakers are called under it. Who syncs, tidies or restarts does
 * I/O outside of it, and keeps others from doing the same with the upkeep mark. Appending needs neither: only one does it at
 * a time, and it touches nothing but the list's end.
 *
 * Invariants: (1) entries are consecutive; (2) everything up to synced_txid is on disk with its name; (3) the file `marks`
 * never says more than that; (4) a file is removed only when what takes its place is on disk, or when `marks`, on disk, says
 * that the log begins after it. */
#ifndef SQ_WAL_LOG_INTERNAL_H
#define SQ_WAL_LOG_INTERNAL_H

#include <pthread.h>

#include "base/list.h"
#include "wal/history.h"
#include "wal/log.h"

enum {
    LOG_NAME_BYTES = 40,              /* 16 + 1 + 16 + ".ltx" and a NUL, and some more */
    LOG_SMALL_BYTES_MAX = 512 * 1024, /* a larger file has one of its own at once */
    LOG_BUFFER_BYTES = 64 * 1024,
};

struct log_entry {
    ltx_txid min_txid;
    ltx_txid max_txid;
    uint64_t pre_checksum;
    uint64_t post_checksum;
    uint64_t bytes;
    uint64_t tail; /* the tail that it is in, from tail_offset on; 0: it has a file of its own */
    uint64_t tail_offset;
    uint64_t timeline;
    int64_t timestamp_ms;
    int64_t since_us; /* monotonic clock: when it came, or became a spare; 0: before the log was opened */
    bool is_written;  /* its content is on disk, if perhaps not its name */
    bool is_in_doubt; /* a sync has failed: no later one says anything about it; it is to be written again */
};

/* Entries, oldest first; the front moves on when old ones go. */
struct log_list {
    struct log_entry *entries;
    size_t first;
    size_t count;
    size_t cap;
};

struct wal_log {
    char *path;
    int dir_fd;
    int marks_fd;
    uint64_t marks_sequence; /* who has the upkeep mark */

    pthread_mutex_t lock;
    pthread_cond_t is_kept_cond;
    bool is_kept; /* the upkeep mark */
    struct log_list files;
    struct log_list spares;
    struct ltx_header last_header; /* if there are files */
    struct wal_history history;
    bool is_history_unsure; /* the file may have the one before: nothing is synced until it has been written again */
    ltx_txid begin_txid;
    ltx_txid synced_txid;
    uint64_t bytes; /* of files */
    struct sq_list watches;
    uint64_t new_count;   /* names of files that are being written */
    uint64_t tail;        /* the newest one; 0: there was none */
    uint64_t oldest_tail; /* those before it have been removed */
    bool is_appending;
    uint8_t *spare_buffer; /* of LOG_BUFFER_BYTES, for the next file; may be NULL */

    /* Who appends. */
    int tail_fd; /* of the newest; -1: the next small file begins a new one */
    uint64_t tail_end;
};

/* --- log.c --- */

static inline struct log_entry *log_list_at(const struct log_list *list, size_t index)
{
    sq_assert(index < list->count);
    return &list->entries[list->first + index];
}
/* Room for one more. */
SQ_MUST_USE sq_status log_list_reserve(struct log_list *list, size_t count, struct sq_error *err);
/* There is room. */
void log_list_push(struct log_list *list, const struct log_entry *entry);
void log_list_drop_front(struct log_list *list, size_t count);
/* Replaces `count` entries from `index` on by one. */
void log_list_replace(struct log_list *list, size_t index, size_t count, const struct log_entry *entry);
/* The first entry whose max_txid is `txid` or more; list->count: there is none. */
size_t log_list_find(const struct log_list *list, ltx_txid txid);

/* Under the lock. */
struct wal_position log_end(const struct wal_log *log);
void log_wake(struct wal_log *log);

/* Waits until nobody else has the upkeep mark. */
void log_upkeep_begin(struct wal_log *log);
void log_upkeep_end(struct wal_log *log);

void log_file_name(ltx_txid min_txid, ltx_txid max_txid, char ret_name[LOG_NAME_BYTES]);
/* Where the entry's bytes are. */
void log_entry_name(const struct log_entry *entry, char ret_name[LOG_NAME_BYTES]);
SQ_MUST_USE sq_status log_sync_directory(struct wal_log *log, struct sq_error *err);
/* Who has the upkeep mark. Not synced. */
SQ_MUST_USE sq_status log_write_marks(struct wal_log *log, ltx_txid begin_txid, ltx_txid synced_txid,
                                      struct sq_error *err);
/* Removes every file of the log's directory that is or was part of it; SQ_IO: not all. */
SQ_MUST_USE sq_status log_remove_all(int dir_fd, struct sq_error *err);

bool log_name_has_ending(const char *name, const char *ending);

/* --- log_open.c --- */

/* The log is not yet shared. */
SQ_MUST_USE sq_status log_load_history(struct wal_log *log, struct sq_error *err);
/* Removes what a restart has left to be removed. Nothing has been appended since. Who has the upkeep mark. */
SQ_MUST_USE sq_status log_finish_clearing(struct wal_log *log, struct sq_error *err);
/* Fills the list from the directory. The log is not yet shared. */
SQ_MUST_USE sq_status log_recover(struct wal_log *log, struct sq_error *err);

/* --- log_file.c --- */

/* Like wal_log_file_commit(), but syncs the file, and leaves it to the caller where it belongs in the log. */
SQ_MUST_USE sq_status log_file_replace(struct wal_log_file *file, const struct ltx_header *header,
                                       const struct ltx_trailer *trailer, struct sq_error *err,
                                       struct log_entry *ret_entry);

/* --- log_tail.c --- */

void log_tail_name(uint64_t tail, char ret_name[LOG_NAME_BYTES]);
/* Who appends. Where the bytes are is put into the entry. */
SQ_MUST_USE sq_status log_tail_append(struct wal_log *log, const void *bytes, size_t length, struct sq_error *err,
                                      struct log_entry *entry);
/* The next small file begins a new tail. Who appends. */
void log_tail_end(struct wal_log *log);
/* Removes tails that nothing in the lists is in. Who has the upkeep mark. */
SQ_MUST_USE sq_status log_tail_remove_old(struct wal_log *log, struct sq_error *err);

/* --- log_sync.c --- */

/* wal_log_sync(), for who has the upkeep mark. */
SQ_MUST_USE sq_status log_sync(struct wal_log *log, struct sq_error *err);
/* One file takes the place of `count`, which become spares if they are to; there is room for those. */
void log_replace(struct wal_log *log, const struct log_entry *group, size_t count, struct log_entry *entry,
                 const struct ltx_header *header, bool is_spared);
/* Removes spares that have had their time. Who has the upkeep mark. */
SQ_MUST_USE sq_status log_drop_spares(struct wal_log *log, struct sq_error *err);
/* Makes one file, synced and with its name, of consecutive ones, which stay where they are. */
SQ_MUST_USE sq_status log_compact(struct wal_log *log, const struct log_entry *entries, size_t count,
                                  struct sq_error *err, struct log_entry *ret_entry, struct ltx_header *ret_header);

#endif
