/* repl/logger.h: a primary's log: from the WAL of one open database to its log, behind the durable position.
 *
 *     OFF ──start──► STARTING ──► READY ──► CLOSED
 *                     │    ▲        │
 *                     ▼    └────────┘ the database was changed behind the log's back: a scan finds what has changed
 *                   FAILED ──(again every second)
 *
 * A logger follows the database from when it is opened (engine/follower.h), and begins with a log when somebody wants one, or when
 * there is one. It has a thread then, which takes the frames that have become durable, at most every few milliseconds, into one LTX
 * file. The log goes on where it was after a crash or a clean close (logger_start.c); if that cannot be known, the whole database is
 * compared with the checksums of its pages, and what differs is one more transaction: replicas follow as ever. Only without these
 * checksums, or when the page size has changed, the log begins anew, and replicas heal.
 *
 * When the log cannot be written (disk full) the WAL is kept and grows, loudly; when it can be again, the log goes on.
 *
 * Lifetime: the logger is the database's; others keep it with _ref/_unref, and find it CLOSED when the database is closed or another
 * follower has taken its place. The registry of databases outlives loggers, `struct repl_loggers` the registry.
 *
 * Threads: any, unless said otherwise. */
#ifndef SQ_REPL_LOGGER_H
#define SQ_REPL_LOGGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "engine/durability.h"
#include "repl/node.h"
#include "repl/source.h"

struct engine_database;
struct engine_follower;
struct repl_logger;
struct repl_loggers;

/* --- What all loggers of a server have in common: settings, and a thread that syncs, compacts and removes files */

struct repl_logger_settings {
    uint64_t keep_bytes; /* of a log; 0: no limit */
    int64_t keep_age_ms; /* 0: no limit */
    uint64_t hold_bytes; /* a log becomes as long as this for replicas that are connected and behind; 0: no limit */
    int64_t pause_us;    /* between two files while commits come without a pause; 0: the usual */
};

SQ_MUST_USE sq_status repl_loggers_new(const struct repl_logger_settings *settings, struct sq_error *err,
                                       struct repl_loggers **ret_loggers);
/* All loggers are gone. NULL is allowed. */
void repl_loggers_free(struct repl_loggers *loggers);
void repl_loggers_configure(struct repl_loggers *loggers, const struct repl_logger_settings *settings);

/* --- One open database's */

/* From a follower factory's start_cb, or, with `is_open`, to take the place of another follower of an open database
 * (engine_durability_set_follower()). `timeline` is the server's: a log that is on an older one begins it. `is_wanted`: begins at once;
 * otherwise only if the database has a log. The caller has a reference, besides the one that closed_cb gives back. */
SQ_MUST_USE sq_status repl_logger_new(struct repl_loggers *loggers, struct engine_database *database,
                                      struct engine_durability *durability, uint64_t timeline, bool is_wanted,
                                      struct sq_error *err, struct repl_logger **ret_logger);
struct engine_follower *repl_logger_follower(struct repl_logger *logger);
/* Not followed after all: instead of closed_cb. */
void repl_logger_discard(struct repl_logger *logger);
/* The logger that the follower is; NULL: it is none (NULL is allowed). */
struct repl_logger *repl_logger_of(struct engine_follower *follower);
void repl_logger_ref(struct repl_logger *logger);
void repl_logger_unref(struct repl_logger *logger); /* NULL is allowed */

enum repl_logger_state {
    REPL_LOGGER_OFF,
    REPL_LOGGER_STARTING,
    REPL_LOGGER_READY,
    REPL_LOGGER_FAILED,
    REPL_LOGGER_CLOSED
};
/* Begins to keep a log, if there is none; returns at once. Nothing happens when it is closed. */
void repl_logger_start(struct repl_logger *logger);
enum repl_logger_state repl_logger_state(struct repl_logger *logger);

/* The position that has everything up to `rests_on` (engine_durability_published()), or more. LATER: the wait's waker will be called; ask again then. Who
 * asks hurries the logger. NEVER: no log is kept, or it cannot be written now. `wait`: database is the asker's own business. */
enum repl_known repl_logger_position(struct repl_logger *logger, engine_position rests_on, struct repl_wait *wait,
                                     struct wal_position *ret_position);
void repl_logger_withdraw(struct repl_logger *logger, struct repl_wait *wait);

/* Enough replicas have everything up to `txid` on their disks: what it covers is confirmed (engine_durability_confirm()), now and when it is
 * known what it covers. Only a larger number than before means something. */
void repl_logger_confirm(struct repl_logger *logger, ltx_txid txid);

/* See repl_source_ops.open_feed_cb: starts the logger if it is OFF. */
SQ_MUST_USE sq_status repl_logger_open_feed(struct repl_logger *logger, struct sq_waker *waker, struct sq_error *err,
                                            struct repl_feed **ret_feed);

struct repl_logger_facts {
    enum repl_logger_state state;
    struct wal_position begin;
    struct wal_position end;
    ltx_txid synced;
    uint64_t file_count; /* of the log */
    uint64_t bytes;
    int64_t oldest_ms;   /* Unix time; 0: no file */
    uint64_t scan_count; /* how often the database had to be read as a whole since it was opened */
    bool is_failing;     /* why: `failure` */
    struct sq_error failure;
};
void repl_logger_facts(struct repl_logger *logger, struct repl_logger_facts *ret_facts);

#endif
