/* engine/follower.h: what follows a database's WAL: a log that others read (src/repl), told by the durability point.
 *
 * A registry has at most one *follower factory*; when a database is opened, its start_cb may give a follower. Everything that is durable is told
 * to it, and no frame of the WAL is ever overwritten, or folded into the database file at closing, before the follower has taken it:
 *
 *     commit ─► WAL ─► fdatasync ─► durable_cb ─► the follower reads frames, in its own time
 *     checkpoint ─► cover_cb(position, is_synced=false): frames up to there may be copied into the database file
 *     WAL begun anew, or database closed ─► cover_cb(position, is_synced=true) ─► …
 *
 * Copying alone needs the gate too: SQLite begins the WAL anew by itself when all of it has been copied. */
#ifndef SQ_ENGINE_FOLLOWER_H
#define SQ_ENGINE_FOLLOWER_H

#include <stdbool.h>

#include "base/status.h"
#include "engine/durability.h"

struct engine_database;
struct engine_follower;

struct engine_follower_ops {
    /* Everything up to `position` is on disk. Any thread, under the durability point's mutex: a few instructions. */
    void (*durable_cb)(struct engine_follower *follower, engine_position position);
    /* Returns when all up to `position` (which is durable) has been taken; with `is_synced` when it is on disk in the follower's own
     * files. Called by the checkpointer's thread, or by who closes; with is_synced no writer is at work. A failure: the checkpoint is not made. */
    sq_status (*cover_cb)(struct engine_follower *follower, engine_position position, bool is_synced,
                          struct sq_error *err);
    /* The database is closed: before (its connections are still there; everything is covered) and after (`is_clean`: the WAL was folded into the file). After
     * the second the follower is freed by its owner. */
    void (*closing_cb)(struct engine_follower *follower);
    void (*closed_cb)(struct engine_follower *follower, bool is_clean);
};
struct engine_follower {
    const struct engine_follower_ops *ops;
};

struct engine_follower_factory {
    /* Under the database's start mutex, its durability point is open. *ret_follower NULL: nobody follows this one. A failure: the database
     * cannot be opened. */
    sq_status (*start_cb)(struct engine_follower_factory *factory, struct engine_database *database,
                          struct engine_durability *durability, struct sq_error *err,
                          struct engine_follower **ret_follower);
};

#endif
