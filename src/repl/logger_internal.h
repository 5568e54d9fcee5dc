/* repl/logger_internal.h: a logger as its own files see it.
 *
 *   logger.c        life, what the follower is told and asked, positions, who waits for them
 *   logger_run.c    its thread
 *   logger_start.c  how a log goes on: where in the WAL its end is
 *   logger_scan.c   when that cannot be known: the whole database is compared
 *   logger_take.c   frames into files
 *   loggers.c       what all have in common; upkeep
 *
 * Invariants
 *  1. The log's end is what the WAL has up to `place`, or the file if there is no WAL: that and the checksums of `sums` belong to one transaction.
 *  2. No frame is taken that is not durable here.
 *  3. `covered` only rises. It is told only when the files that it means have their names.
 *  4. Going from one generation of the WAL to the next, no commit was left out: the wal-index's change count has risen by as many as were
 *     taken. Otherwise the database is scanned. */
#ifndef SQ_REPL_LOGGER_INTERNAL_H
#define SQ_REPL_LOGGER_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "engine/follower.h"
#include "repl/feed.h"
#include "repl/logger.h"
#include "repl/logger_record.h"

enum {
    LOGGER_PAUSE_US = 2000,        /* between two files while commits go on */
    LOGGER_PAUSE_URGENT_US = 500,  /* the same when somebody waits for a position */
    LOGGER_RETRY_US = 1000 * 1000, /* after a failure */
    LOGGER_TELL_US = 60 * 1000 * 1000,
    LOGGER_BATCH_FRAMES = 8192, /* of a file, or one transaction */
    LOGGER_KEPT_FRAMES = 1024,  /* whose content is kept between the two looks at them */
    LOGGER_CONFIRMABLE_MAX = 256,
    LOGGER_FIRST_TXID = 2, /* in LTX a file that leads to transaction 1 is a snapshot, and never one of differences */
};
#define LOGGER_SAVE_BYTES (128 * 1024 * 1024) /* so much is read again after a crash, at most */

/* What a file's transactions mean to those who wait for replicas. */
struct logger_confirmable {
    ltx_txid txid;
    engine_position position;
};

/* One who wants a snapshot: on the stack of an exchange's thread. */
struct logger_request {
    struct sq_list links;
    struct repl_snapshot *snapshot; /* connection and file are there; the rest is filled */
    sq_status status;
    struct sq_error err;
    bool is_done;
};

/* A frame that is to go into a file. */
struct logger_frame {
    uint32_t page_number;
    uint32_t index;
};

struct repl_logger {
    struct repl_feed_host host; /* its mutex guards what is said to be guarded */
    struct engine_follower follower;
    struct repl_loggers *loggers;
    struct sq_list links; /* of loggers; guarded by their mutex */
    struct engine_durability *durability;
    uint64_t timeline;
    char name[64];       /* for the server's log */
    char path[PATH_MAX]; /* of the database file */
    char dir[PATH_MAX];  /* of the log */
    /* As it was opened: nobody had written, nobody has made a checkpoint since the mark was read. */
    struct engine_wal_state opened;
    struct engine_file_mark opened_mark;

    /* Guarded. */
    pthread_cond_t work_cond;     /* the thread waits */
    pthread_cond_t progress_cond; /* for the thread */
    pthread_t thread;
    bool has_thread;
    bool is_stopping;
    bool is_waiting;    /* the thread is, for something to log */
    bool is_mistrusted; /* the database is to be scanned */
    bool is_restarting; /* the log cannot be gone on with */
    bool needs_sync;    /* by the upkeep: the first file of a generation */
    bool needs_save;    /* of the checksums, so that old files can go */
    enum repl_logger_state state;
    engine_position told;    /* durable */
    engine_position covered; /* in the log */
    struct wal_position end; /* of the log */
    unsigned presser_count;  /* who wait in cover_cb */
    uint64_t attempt_count;  /* that have failed */
    bool is_failing;
    struct sq_error failure;
    int64_t retry_us;
    int64_t last_us;         /* when the last file was made */
    struct sq_list waits;    /* struct repl_wait */
    struct sq_list requests; /* struct logger_request */
    ltx_txid confirmed_txid;
    struct logger_confirmable confirmable[LOGGER_CONFIRMABLE_MAX]; /* ascending */
    size_t confirmable_count;
    uint64_t scan_count;
    ltx_txid
        saved_txid; /* the checksums' file says so, or more: what is after that is read again when the log is opened */
    bool has_log;   /* it has been READY */
    bool was_ready; /* when it was closed */

    /* The thread's alone; of whoever closes, after it has ended. */
    struct sqlite3 *connection;
    struct wal_file *file;
    struct page_sums *sums; /* NULL: not known */
    struct wal_place place; /* see invariant 1; valid in READY */
    uint32_t page_bytes;
    uint32_t change_count; /* of the wal-index, at `place` */
    bool is_placed;
    uint64_t unsaved_bytes; /* of files since the checksums were saved */
    int64_t told_failure_us;
    struct logger_frame *frames;
    size_t frame_cap;
    uint8_t *pages;     /* LOGGER_KEPT_FRAMES of them */
    uint64_t *new_sums; /* as many as frames */
};

/* --- logger_run.c --- */

sq_status logger_start_thread(struct repl_logger *logger, struct sq_error *err); /* under the mutex */
void logger_stop_thread(struct repl_logger *logger);
bool logger_is_stopping(struct repl_logger *logger);

/* --- logger.c --- */

/* After files were made, or a new generation was entered: `position` is covered. Tells all who wait. */
void logger_advance(struct repl_logger *logger, engine_position position);
/* A sync or a compaction has ended with `status`: a log that is damaged begins anew. */
void logger_note_sync_failure(struct repl_logger *logger, sq_status status);
/* Confirms what replicas have said they have. Without the mutex. */
void logger_confirm(struct repl_logger *logger);
/* Under the mutex: those who wait for positions look again. */
void logger_wake_waits(struct repl_logger *logger, bool is_all);

/* --- logger_start.c --- */

/* Opens what is not open yet and finds the place, or scans. */
SQ_MUST_USE sq_status logger_begin(struct repl_logger *logger, struct sq_error *err);
/* The place is here, in the WAL as it is now, or just before it. *ret_is_there false: the WAL has gone on further than can be known. */
SQ_MUST_USE sq_status logger_adopt(struct repl_logger *logger, const struct wal_place *place,
                                   const struct engine_wal_state *seen, struct sq_error *err, bool *ret_is_there);
/* How many transactions frames `from` … `to` - 1 of the generation of `place` commit. SQ_NOT_FOUND: it is not there any more. */
SQ_MUST_USE sq_status logger_count_commits(struct repl_logger *logger, const struct wal_place *place, uint32_t from,
                                           uint32_t to, struct sq_error *err, uint32_t *ret_count);
/* Writes down where the log's end is. */
SQ_MUST_USE sq_status logger_note_place(struct repl_logger *logger, struct sq_error *err);
SQ_MUST_USE sq_status logger_save_sums(struct repl_logger *logger, struct sq_error *err);

/* --- logger_scan.c --- */

/* Compares the database with the checksums, logs what differs, and finds the place. */
SQ_MUST_USE sq_status logger_scan(struct repl_logger *logger, struct sq_error *err);

/* --- logger_take.c --- */

/* Takes what is durable, up to `told`. SQ_NOT_FOUND: something was left out: scan. */
SQ_MUST_USE sq_status logger_take(struct repl_logger *logger, engine_position told, struct sq_error *err);
/* Takes exactly what a snapshot of the file has, and completes it. */
SQ_MUST_USE sq_status logger_snapshot(struct repl_logger *logger, struct repl_snapshot *snapshot, struct sq_error *err);
/* The position of `place`, which is in the generation of `state`. */
static inline engine_position logger_position_at(const struct engine_wal_state *state, uint32_t frame_count)
{
    return state->position - state->frame_count + frame_count;
}
static inline bool logger_is_generation(const struct engine_wal_state *state, const struct wal_place *place)
{
    return state->salt1 == place->salt1 && state->salt2 == place->salt2;
}

/* --- loggers.c --- */

void loggers_add(struct repl_loggers *loggers, struct repl_logger *logger);
void loggers_remove(struct repl_loggers *loggers, struct repl_logger *logger);
/* Something is to be looked at before the second is over. Any lock may be held. */
void loggers_hurry(struct repl_loggers *loggers);
int64_t loggers_pause_us(struct repl_loggers *loggers);

#endif
