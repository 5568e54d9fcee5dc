/* engine/durability.h: when a commit of a database is on disk.
 *
 * Sessions run SQLite with synchronous=NORMAL: a COMMIT writes its frames to the WAL and does not wait for the disk. The
 * durability point is here instead. A *position* says how far the WAL reaches; what a session has written or read is safe
 * once the durable position has come up to the position it saw, and only then may its answer leave. One fdatasync of the
 * WAL covers everybody who waits: whoever comes first syncs for all.
 *
 *     commits        ──A──B──C─────────D──E──F──►   published: visible to readers
 *     durable            ──────── A B C ─────────── D E F ──►
 *     fdatasync           [───────────] [───────────]
 *
 * With synchronous replicas that is not enough: a position is then covered when it is on disk here *and* has been confirmed
 * by those who have it too (engine_durability_confirm).
 *
 * A failed sync is final: what the kernel held may be lost although a second sync says all is well, so nothing is
 * answered from this database any more until the server is started again.
 *
 * Lifetime: belongs to its engine_database; open as long as that is. Threads: any, for everything but _open and _close. */
#ifndef SQ_ENGINE_DURABILITY_H
#define SQ_ENGINE_DURABILITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"
#include "base/waker.h"

struct engine_durability;

/* A place in the WAL: its generation (how often it has been begun anew) and frame. Positions of one database compare as
 * numbers; 0 is before everything. */
typedef uint64_t engine_position;

/* Opens the durability point of the database file at `path`: all that is in its WAL is on disk when this returns. */
SQ_MUST_USE sq_status engine_durability_open(const char *path, struct sq_error *err,
                                             struct engine_durability **ret_durability);
/* Nobody may be waiting, and no other connection be open. Folds the WAL into the database file, unless a sync has
 * failed. NULL is allowed. */
void engine_durability_close(struct engine_durability *durability);

/* Where the WAL ends now: at or after everything that has been committed, or could have been read, before the call. */
engine_position engine_durability_published(struct engine_durability *durability);

/* The end of the WAL as its index tells it, all at one moment. */
struct engine_wal_state {
    engine_position position;
    uint32_t salt1; /* of the generation, as in the WAL's header; both 0 before there is one */
    uint32_t salt2;
    uint32_t frame_count;
    uint32_t page_count; /* of the database */
    /* One more with each commit of any process, also when the WAL is begun anew, modulo 2^32. Begins somewhere when the database is
     * opened; goes back to 0 after a recovery, which another process that has died may bring about. */
    uint32_t change_count;
};
struct engine_wal_state engine_durability_state(struct engine_durability *durability);

/* Whether `position` is on disk, and confirmed if that is required. Never waits. */
bool engine_durability_covers(struct engine_durability *durability, engine_position position);

/* One who waits; embedded in its owner. */
struct engine_durability_ticket {
    struct sq_list links; /* guarded by the durability's mutex */
    engine_position position;
    struct sq_waker *waker;
};
void engine_durability_ticket_init(struct engine_durability_ticket *ticket, struct sq_waker *waker);

enum engine_durable { ENGINE_DURABLE, ENGINE_DURABLE_LATER, ENGINE_DURABLE_NEVER };
/* Asks for `position`. LATER: a sync is on its way and `waker` will be called once; ask again then (asking again before
 * moves the ticket to the new position). NEVER: a sync has failed. */
enum engine_durable engine_durability_wait(struct engine_durability *durability, engine_position position,
                                           struct engine_durability_ticket *ticket);
/* No longer waits; the waker is not called any more. Does nothing for a ticket that does not wait. */
void engine_durability_withdraw(struct engine_durability *durability, struct engine_durability_ticket *ticket);

/* Has everything synced within ENGINE_LAZY_SYNC_US, for commits that nobody waits for (synchronous_commit=off). */
enum { ENGINE_LAZY_SYNC_US = 200 * 1000 };
void engine_durability_request(struct engine_durability *durability);

/* Syncs at once, on the calling thread, which may take as long as the disk does, and as confirmations do if they are required. */
SQ_MUST_USE sq_status engine_durability_sync(struct engine_durability *durability, engine_position position,
                                             struct sq_error *err);

/* Whether a sync has failed, and the error that then answers everything: 58030, fatal for the connection. */
bool engine_durability_is_failed(struct engine_durability *durability);
SQ_MUST_USE sq_status engine_durability_check(struct engine_durability *durability, struct sq_error *err);
/* Says that a sync has failed elsewhere: in a commit, which syncs a new WAL's header, or in a checkpoint. */
void engine_durability_fail(struct engine_durability *durability);

/* Whether what is on disk here has to be confirmed as well before an answer may rest on it. What was covered stays so. Turned off, all
 * who wait for no more than that are woken. */
void engine_durability_require_confirmation(struct engine_durability *durability, bool is_required);
/* Everything up to `position` is on disk elsewhere too, where it is required. Any order: the furthest one counts. */
void engine_durability_confirm(struct engine_durability *durability, engine_position position);

/* How much the WAL holds, and how much of that a checkpoint has copied into the database file; in frames. */
struct engine_wal_fill {
    uint32_t frame_count;
    uint32_t backfilled_count;
};
struct engine_wal_fill engine_durability_fill(struct engine_durability *durability);

/* Copies what it can of the WAL into the database file and syncs that; readers and writers go on meanwhile. With
 * `is_restart` it copies everything, so that the next commit begins the WAL anew: no writer may be at work, and readers of
 * older snapshots are waited for, `wait_us` at most: SQ_BUSY if that was not enough. One thread at a time. Who follows the WAL is
 * asked before (engine/follower.h), and may refuse.
 * *ret_fill (also on SQ_BUSY) is what the WAL holds then. */
SQ_MUST_USE sq_status engine_durability_checkpoint(struct engine_durability *durability, bool is_restart,
                                                   int64_t wait_us, struct sq_error *err,
                                                   struct engine_wal_fill *ret_fill);

#endif
