/* engine/durability_internal.h: what durability.c (positions, syncs), checkpoint.c and follower.c share.
 *
 * Threads: see engine/durability.h. */
#ifndef SQ_ENGINE_DURABILITY_INTERNAL_H
#define SQ_ENGINE_DURABILITY_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "engine/durability.h"
#include "engine/vfs.h"

struct engine_file_mark;
struct engine_follower;

enum {
    WAL_INDEX_CHECKPOINT_LOCK = 1,
    WAL_INDEX_BACKFILL = 96, /* byte offset in the wal-index: see durability.c */
    KEEPER_BUSY_MS = 5000,
};

struct engine_durability {
    sqlite3 *keeper;
    sqlite3_file *wal; /* the keeper's handle */
    sqlite3 *copier;
    sqlite3_file *database;           /* the copier's */
    volatile _Atomic uint32_t *index; /* the first region of the wal-index, shared with all who use the database */

    /* The salt last seen and the generation it stands for, in one word: (salt << 32) | generation. Written under the
     * mutex; acquire and release, so that a generation is never seen without its salt. */
    _Atomic uint64_t generation;
    /* Answers may rest on what is up to here. Release after the sync, acquire before an answer leaves. */
    _Atomic engine_position durable;
    atomic_bool is_failed; /* acquire and release likewise */
    atomic_bool requires_confirmation;

    pthread_mutex_t sync_mutex; /* held across a sync of the WAL */
    pthread_mutex_t mutex;      /* never held across a sync; guards what follows */
    pthread_cond_t cond;
    pthread_cond_t confirmation_cond; /* `durable` was raised, or never will be */
    struct sq_list tickets;
    engine_position synced;    /* on disk here */
    engine_position confirmed; /* on disk where that is required */
    engine_position wanted;    /* somebody waits for `synced` to be as far */
    int64_t lazy_sync_us;      /* when to sync for those who do not wait; 0: never */
    pthread_t thread;
    bool has_thread;
    bool is_closing;

    /* The gate before checkpoints (follower.c). */
    pthread_mutex_t gate_mutex;       /* held while the follower is asked, which does I/O; guards what follows */
    struct engine_follower *follower; /* is changed under `mutex` too: either is enough to read it */
    engine_position covered; /* the follower has everything up to here, on disk; UINT64_MAX: has not been asked */
    sqlite3 *holder;         /* open while there is a follower */
    bool is_held;            /* the holder has a read transaction */
    struct engine_vfs_guard guard;
    /* Only the thread that uses the copier. */
    bool is_beginning_anew;  /* the copier's checkpoint has been let through already */
    struct sq_error refusal; /* why its last checkpoint was not */
};

/* A connection that leaves checkpoints alone unless it is told to make one, also when it is closed. The caller closes it,
 * on failure too. */
SQ_MUST_USE sq_status durability_connect(const char *path, struct sq_error *err, sqlite3 **ret_connection);
/* Syncs the WAL up to `position` or further, without waiting for confirmations. */
SQ_MUST_USE sq_status durability_sync_here(struct engine_durability *durability, engine_position position,
                                           struct sq_error *err);

/* Before the WAL is begun anew: the follower, if there is one, has everything that is published, on disk. */
SQ_MUST_USE sq_status follower_cover(struct engine_durability *durability, struct sq_error *err);
/* Whether the follower has everything. It has given back what it had of the database, and is told no more. */
bool follower_leave(struct engine_durability *durability);
/* The keeper is the last connection, and the follower has left with everything: folds the WAL into the database file. False: another
 * process has it open, or has written: the WAL is to be kept. */
bool follower_fold(struct engine_durability *durability, struct engine_file_mark *ret_mark);

#endif
