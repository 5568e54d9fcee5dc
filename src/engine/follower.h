/* engine/follower.h: what follows a database's WAL: a log that others read (src/repl), told by the durability point.
 *
 * A registry has at most one *follower factory*; when a database is opened, its start_cb may give a follower. Everything that is durable is told
 * to it, and this process overwrites no frame of the WAL, and folds none into the database file at closing, before the follower has taken it:
 *
 *     commit ─► WAL ─► fdatasync ─► durable_cb ─► the follower reads frames, in its own time
 *     checkpoint, of whoever in this process ─► cover_cb(position, is_synced=false): frames up to there may be copied into the database file
 *     all of the WAL was copied, it may be begun anew, or the database closed ─► cover_cb(position, is_synced=true) ─► …
 *
 * Copying alone needs the gate too: SQLite begins the WAL anew by itself when all of it has been copied. While a checkpoint copies, a
 * read transaction keeps it at what is covered, and keeps the WAL from being begun anew until it is known whether the follower has to sync.
 *
 *                                             ┌─ not all was copied ──────────────────────────────────────► end of the read transaction
 *     checkpoint lock ─► read transaction ─► cover ─► copy ─► all was copied ─► cover, synced ─┬─ done ───►
 *                                             └─ failed: SQLITE_BUSY                           └─ failed: it stays, until the next checkpoint
 *
 * Other processes (a sqlite3 shell) are not held back: they may copy, begin anew and write. The follower notices by salts and change
 * counts (engine_durability_state), and when the file is opened, by its mark. */
#ifndef SQ_ENGINE_FOLLOWER_H
#define SQ_ENGINE_FOLLOWER_H

#include <stdbool.h>

#include "base/status.h"
#include "engine/durability.h"

struct engine_database;
struct engine_follower;
struct sqlite3;

/* What a database file looked like when its WAL had been folded in and nobody else had it open. Its time of modification was set then, to
 * a moment of which the kernel's own clock is not capable: whoever writes to the file afterwards leaves another one. */
struct engine_file_mark {
    uint64_t device;
    uint64_t inode;
    int64_t bytes;
    int64_t modified_ns; /* since 1970 */
};
/* As the file at `path` looks now. */
SQ_MUST_USE sq_status engine_file_mark_read(const char *path, struct sq_error *err, struct engine_file_mark *ret_mark);

struct engine_follower_ops {
    /* Everything up to `position` is on disk. Any thread, under the durability point's mutex: a few instructions. */
    void (*durable_cb)(struct engine_follower *follower, engine_position position);
    /* Returns when all up to `position` (which is durable) has been taken; with `is_synced` when it is on disk in the follower's own
     * files. Called by the checkpointer's thread, by a session that makes a checkpoint, or by who closes; one at a time. A failure: the
     * checkpoint is not made; SQ_BUSY: it will not be long. */
    sq_status (*cover_cb)(struct engine_follower *follower, engine_position position, bool is_synced,
                          struct sq_error *err);
    /* The database is closed, or the follower replaced: before, gives back its connections (everything is covered, unless that has failed);
     * and after. `mark`: the WAL was folded into the file, which looks so now; NULL: it was not. After the second call the
     * follower is freed by its owner. */
    void (*closing_cb)(struct engine_follower *follower);
    void (*closed_cb)(struct engine_follower *follower, const struct engine_file_mark *mark);
};
struct engine_follower {
    const struct engine_follower_ops *ops;
};

struct engine_follower_factory {
    /* Under the database's start mutex, its durability point is open, and nobody in this process has written since. *ret_follower NULL:
     * nobody follows this one. A failure: the database cannot be opened. */
    sq_status (*start_cb)(struct engine_follower_factory *factory, struct engine_database *database,
                          struct engine_durability *durability, struct sq_error *err,
                          struct engine_follower **ret_follower);
};

/* The follower from now on, NULL: none. It is told at once what is durable. One that was there is done with as if the database were closed
 * without a mark. Waits while the old one is asked. Not while the database is opened or closed; one thread at a time. */
SQ_MUST_USE sq_status engine_durability_set_follower(struct engine_durability *durability,
                                                     struct engine_follower *follower, struct sq_error *err);
/* NULL: none. It is there as long as the caller has a reference to the database, unless somebody replaces it. */
struct engine_follower *engine_durability_follower(struct engine_durability *durability);
/* Has the follower take, and sync, what is published now: beforehand, so that it has little to do when writers are held up. */
SQ_MUST_USE sq_status engine_durability_cover(struct engine_durability *durability, struct sq_error *err);

/* Syncs the WAL up to `position` here, without waiting for confirmations. */
SQ_MUST_USE sq_status engine_follower_sync(struct engine_durability *durability, engine_position position,
                                           struct sq_error *err);
/* A connection for wal/wal_file.h: in WAL mode, has read, makes no checkpoint, not even when it is closed. Closed by the end of closing_cb. */
SQ_MUST_USE sq_status engine_follower_connect(struct engine_durability *durability, struct sq_error *err,
                                              struct sqlite3 **ret_connection);
void engine_follower_disconnect(struct sqlite3 *connection); /* NULL is allowed */

#endif
