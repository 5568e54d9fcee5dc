/* repl/replica_internal.h: a replica as its own files see it.
 *
 *   replica.c         life: followed, kept open, released, dropped; which work is next
 *   replica_copy.c    the receiver's calls
 *   replica_open.c    where it is: after a start, a crash, somebody else's writes
 *   replica_apply.c   files of the log into the WAL
 *   replica_heal.c    healing files, into the WAL or the place of the database; what is set aside
 *   replica_feed.c    syncs, upkeep of the log, and what others are fed from
 *
 * Locks: `database_mutex` (who uses the database beside the work job, which takes it to let go of the database; held across syncs) > `commit_mutex` (between a commit and its being told of; who wants a snapshot that belongs to a position takes it) > host.mutex (a few instructions; wakers
 * are called under it) > the log's.
 *
 * Invariants
 *  1. There is one work job: what is said to be its own is touched by nobody else while it can run.
 *  2. `applied` is what the WAL, or the file without a WAL, holds: its end is `last`, its pages have the checksums of `sums`; as long as is_known.
 *  3. The log's end is `written`, but while a timeline or a healing file is on its way. What is between `applied` and `written` is in the log.
 *  4. While sums are being read, or a healing file comes, nothing is applied. */
#ifndef SQ_REPL_REPLICA_INTERNAL_H
#define SQ_REPL_REPLICA_INTERNAL_H

#include <limits.h>
#include <pthread.h>

#include "base/list.h"
#include "engine/database.h"
#include "engine/durability.h"
#include "repl/applied.h"
#include "repl/bootstrap.h"
#include "repl/replica.h"
#include "repl/workers.h"
#include "sched/writer.h"
#include "wal/log.h"
#include "wal/ltx.h"
#include "wal/page_sums.h"
#include "wal/wal_file.h"

enum {
    REPLICA_THREADS = 4,
    REPLICA_BATCH_FILES = 64,
    REPLICA_BATCH_BYTES = 16 * 1024 * 1024, /* of files of the log that are applied at once; a larger one is alone */
    REPLICA_WAITING_BYTES_MAX = 64 * 1024 * 1024, /* that are not applied yet */
    REPLICA_WAITING_FILES_MAX = 4096,
    REPLICA_SCAN_PAGES = 2048,         /* in one go */
    REPLICA_LOOK_US = 2 * 1000 * 1000, /* so often is looked whether somebody else has written */
    REPLICA_BUSY_RETRY_US = 10 * 1000, /* another process writes, or it is in use */
    REPLICA_BUSY_RETRIES = 200,
    REPLICA_DROP_RETRY_US = 50 * 1000,
    REPLICA_SYNC_RETRY_US = 1000 * 1000,
    REPLICA_TIDY_US = 1000 * 1000,
    REPLICA_SAVE_BYTES = 64 * 1024 * 1024, /* of files applied: so much is read again after a crash, at most */
};

struct repl_replicas {
    struct repl_replicas_config config;
    struct repl_workers *workers;
    pthread_mutex_t mutex;
    struct sq_list all; /* struct repl_replica; guarded by it */
};

enum replica_state {
    REPLICA_CLOSED, /* nobody wants it open */
    REPLICA_OPENING,
    REPLICA_SCANNING,
    REPLICA_READY,
    REPLICA_HEAL,
    REPLICA_PAUSED,
    REPLICA_FAILED,
};

enum replica_healing {
    REPLICA_NOT_HEALING,
    REPLICA_HEALING_COMES, /* a healing file is being received */
    REPLICA_HEALING_WAITS, /* it is there, and is to be applied */
};

enum incoming_kind {
    INCOMING_NONE,
    INCOMING_LOG,       /* as it comes, into the log */
    INCOMING_RECODED,   /* it begins before the log's end: without the transactions that are there already */
    INCOMING_HEAL,      /* into a file of its own */
    INCOMING_BOOTSTRAP, /* into the file that will be the database */
};

/* A file that is being received: the receiver's thread's. */
struct replica_incoming {
    enum incoming_kind kind;
    struct repl_file_intent intent;
    struct wal_position start; /* what it continues */
    struct ltx_decoder *decoder;
    bool has_header;
    bool is_whole;
    struct wal_log_file *file;
    struct ltx_encoder *encoder;
    struct ltx_header header; /* of the file in the log */
    int fd;
    uint64_t bytes;
};

/* A file of the log that is not applied yet. */
struct replica_waiting {
    struct sq_list links;
    ltx_txid max_txid;
    uint64_t bytes;
};

struct repl_replica {
    struct repl_feed_host host;
    struct repl_copy copy;
    struct engine_follower follower;
    struct repl_replicas *replicas;
    struct sq_list links; /* guarded by the replicas' mutex */
    char name[ENGINE_DATABASE_NAME_MAX + 1];
    char dir[PATH_MAX]; /* of the log */
    struct repl_job work;
    struct repl_job sync;
    struct sq_waker slot_waker;
    pthread_mutex_t database_mutex;
    pthread_mutex_t commit_mutex;
    struct replica_incoming incoming;

    /* Guarded by the host's mutex. */
    pthread_cond_t changed;
    struct sq_waker *moved; /* the node's */
    struct sq_waker *waker; /* the receiver's; NULL: there is no copy */
    enum replica_state state;
    struct sq_error reason; /* HEAL, PAUSED, FAILED */
    struct wal_position written;
    struct wal_position applied;
    struct wal_position durable;
    engine_position applied_at; /* in the WAL */
    uint32_t page_bytes;        /* 0: no database */
    enum replica_healing healing;
    struct repl_file_intent healing_intent;
    uint32_t healing_page_count;
    bool is_heal_bootstrap;     /* the healing file is a whole database */
    bool is_frozen;             /* sums are being read */
    uint32_t wanted_sums;       /* sums of what there is of a new database, for pages of this size */
    bool are_sums_there;        /* and they are */
    bool is_scanning_bootstrap; /* the work job is at it */
    uint64_t next_timeline;     /* 0: none */
    struct sq_list waiting;     /* struct replica_waiting */
    uint64_t waiting_bytes;
    size_t waiting_count;
    bool is_starved; /* the receiver has been told that there is no room */
    bool is_release_wanted;
    bool is_drop_wanted;
    bool is_gone;
    bool is_followed;
    bool is_mistrusted;         /* a page is not what its checksum says */
    bool is_log_damaged;        /* it is to begin anew */
    ltx_txid saved_txid;        /* the file of sums says so, or more */
    uint64_t saved_incarnation; /* on disk; host.incarnation is that of what is written */
    struct repl_replica_facts facts;

    /* The work job's; those of the database from repl_replica_follow() on. */
    struct engine_database *database; /* a reference; NULL: not open; changed under database_mutex */
    struct engine_durability *durability;
    struct sched_writer *writer;
    struct sqlite3 *connection;
    struct wal_file *file;
    struct applied *records;
    struct wal_state last;         /* the database's end, as we know it */
    bool is_known;                 /* `last` is at `applied` */
    bool is_received;              /* and the primary's: nothing of it is lost when it heals */
    bool is_losing;                /* the former database was not, and is to be set aside */
    struct wal_position known;     /* the position, if is_known */
    struct page_sums *sums;        /* replaced under the host's mutex */
    struct page_sums *stable_sums; /* while a transaction is being made: what they were; under the host's mutex */
    struct wal_snapshot *scan;
    uint32_t scan_next;
    struct bootstrap *bootstrap; /* the receiver's while a file comes */
    bool is_waiting_for_slot; /* it will be woken */
    unsigned busy_count;
    unsigned unsynced_records; /* written by it, read by the sync job; under the host's mutex */
    uint64_t unsaved_bytes;
    uint32_t schema_cookie;
    int64_t tidy_us; /* the sync job's */
};

static inline struct repl_replica *replica_of_host(struct repl_feed_host *host)
{
    return SQ_CONTAINER_OF(host, struct repl_replica, host);
}
static inline void replica_lock(struct repl_replica *replica)
{
    pthread_mutex_lock(&replica->host.mutex);
}
static inline void replica_unlock(struct repl_replica *replica)
{
    pthread_mutex_unlock(&replica->host.mutex);
}

/* --- replica.c --- */

/* Something has changed: wakes all who wait. Under the mutex. */
void replica_notify(struct repl_replica *replica);
void replica_set_state(struct repl_replica *replica, enum replica_state state);
/* HEAL, PAUSED or FAILED, because of `reason`, which is logged. */
void replica_set_trouble(struct repl_replica *replica, enum replica_state state, const struct sq_error *reason);
/* What a failure of the work means: the disk is full, somebody else writes, memory is short: PAUSED; the database is out of service: FAILED; what
 * was read contradicts itself: HEAL. */
void replica_fail(struct repl_replica *replica, sq_status status, struct sq_error *err);
/* Everything up to `position` is applied; what waited for that is counted no more. Under the mutex. */
void replica_set_applied(struct repl_replica *replica, const struct wal_position *position);
void replica_forget_waiting(struct repl_replica *replica);
/* Gives back what it has of the database, and the reference. */
void replica_close_database(struct repl_replica *replica);

/* What is written is of another incarnation than before: it is written down when that is so on disk. The work job. */
SQ_MUST_USE sq_status replica_save_incarnation(struct repl_replica *replica, struct sq_error *err);

/* --- replica_copy.c --- */

extern const struct repl_copy_ops replica_copy_ops;
/* What has come of a file is given up. The receiver's thread, or there is none. */
void replica_abort_incoming(struct repl_replica *replica);

/* --- replica_open.c --- */

/* The follower of the database's begins: its connection, and what is known of where it is. */
SQ_MUST_USE sq_status replica_find_place(struct repl_replica *replica, const char *path, struct sq_error *err);
SQ_MUST_USE sq_status replica_open(struct repl_replica *replica, struct sq_error *err);
SQ_MUST_USE sq_status replica_scan(struct repl_replica *replica, struct sq_error *err);
SQ_MUST_USE sq_status replica_scan_bootstrap(struct repl_replica *replica, struct sq_error *err);
/* Whether the database is as it was left. */
bool replica_is_unchanged(const struct repl_replica *replica, const struct wal_state *state);
/* It is not: everything that is known of it is forgotten. */
void replica_mistrust(struct repl_replica *replica, const char *why);
/* A look without a lock. */
void replica_look_for_others(struct repl_replica *replica);

/* --- replica_apply.c --- */

SQ_MUST_USE sq_status replica_apply(struct repl_replica *replica, struct sq_error *err);

/* A transaction that is being made. */
struct replica_batch {
    struct wal_append *append;
    bool has_slot;
    struct page_sums *before; /* what sums were */
    struct wal_position position;
    uint32_t page_count;
    uint32_t schema_cookie;
    bool has_cookie;
    uint32_t appended_count;
    size_t file_count; /* of the log; 0: it heals */
};
/* Slot and lock. SQ_BUSY: another process writes, or a waker will be called; not now. SQ_NOT_FOUND: somebody else has written. */
SQ_MUST_USE sq_status replica_batch_begin(struct repl_replica *replica, struct replica_batch *batch,
                                          struct sq_error *err);
SQ_MUST_USE sq_status replica_batch_page(struct repl_replica *replica, struct replica_batch *batch,
                                         uint32_t page_number, const void *page, struct sq_error *err);
/* SQ_CORRUPT: the database would not have the checksum of batch->position. Success or not, the batch is over. */
SQ_MUST_USE sq_status replica_batch_commit(struct repl_replica *replica, struct replica_batch *batch,
                                           struct sq_error *err);
void replica_batch_abort(struct repl_replica *replica, struct replica_batch *batch);

/* --- replica_heal.c --- */

SQ_MUST_USE sq_status replica_heal(struct repl_replica *replica, struct sq_error *err);
/* The log's first file is a whole database, and there is none. */
SQ_MUST_USE sq_status replica_begin_from_log(struct repl_replica *replica, struct sq_error *err);
SQ_MUST_USE sq_status replica_heal_path(const struct repl_replica *replica, struct sq_error *err, char path[PATH_MAX]);
/* A name below DATA_DIR/set-aside, which is made; the directory is synced by replica_sync_aside(). */
SQ_MUST_USE sq_status replica_aside_path(const struct repl_replica *replica, const char *ending, struct sq_error *err,
                                         char path[PATH_MAX]);
SQ_MUST_USE sq_status replica_sync_aside(const struct repl_replica *replica, struct sq_error *err);

/* --- replica_feed.c --- */

extern const struct repl_feed_host_ops replica_feed_ops;
void replica_run_sync(struct repl_job *job);
/* On the calling thread: all that is applied is durable. */
SQ_MUST_USE sq_status replica_sync_all(struct repl_replica *replica, struct sq_error *err);
SQ_MUST_USE sq_status replica_save_sums(struct repl_replica *replica, struct sq_error *err);

#endif
