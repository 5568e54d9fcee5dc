/* repl/source.h: what a sender reads from: a server's databases, their logs, and snapshots for replicas that heal.
 *
 *     sender ──► source ─┬─ databases, by number: made and dropped while one looks
 *                        ├─ feed: one database's log, as one sender reads it ─── file after file
 *                        └─ exchange: a snapshot, compared with the page checksums of a replica ─── one file
 *
 * On a primary the source is the node with its loggers; on a replica the node with its replicas, whose logs feed others. In the simulator
 * it is memory. A table of functions each, the first member of whatever implements it.
 *
 * Rules
 *  1. No call waits for a disk sync, a lock that is held across I/O, or the network. What takes long is begun, and a waker is called when there is news.
 *     Reading up to 64 kB of a file is fine.
 *  2. A feed's end is durable here: on a primary what the log has (the logger is behind the durable position), on a replica what is durable
 *     of it. Files beyond it are not shown.
 *  3. A number means one database for as long as the source lives. One that is dropped and made anew, or replaced, has another one. So it is with
 *     *incarnations*, for ever and on all servers: random, kept beside the log, the same in all replicas; positions of two incarnations have nothing
 *     to do with each other, although the name is the same.
 *  4. A waker is not called any more when the call that takes it back has returned. It may be called under the source's locks.
 *
 * Threads: the calls of one sender come from one thread at a time; senders run on several. */
#ifndef SQ_REPL_SOURCE_H
#define SQ_REPL_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/waker.h"
#include "wal/log.h"

struct repl_source;
struct repl_feed;
struct repl_exchange;

enum {
    REPL_NAME_MAX = 63,           /* bytes of a database's name */
    REPL_CHUNK_BYTES_MAX = 65536, /* of a file, in one read and in one message */
    REPL_SUMS_COUNT_MAX = 4096,   /* page checksums in one message */
};

/* What a server says of itself. */
struct repl_identity {
    uint64_t system_id; /* of the group; 0, with timeline 0: belongs to none yet */
    uint64_t timeline;  /* the newest that it has seen */
    /* Accepts writes: nobody can be ahead of it but who has diverged. A replica can be behind those that it feeds. */
    bool is_primary;
    /* Was a primary and has seen a newer timeline: it feeds nobody. */
    bool is_fenced;
    /* next_database_cb gives all databases of the group: on a replica, once its own primary has told all of them. */
    bool is_list_known;
    /* How old what is here may be: 0 on a primary, else for how long it has not been sure to have everything. INT64_MAX: never was. */
    int64_t age_us;
};

struct repl_database_entry {
    uint32_t number; /* from 1 */
    char name[REPL_NAME_MAX + 1];
};

/* --- Feeds --- */

enum repl_feed_state {
    REPL_FEED_PENDING, /* the log is being made (a scan), or opened; a replica's database that heals */
    REPL_FEED_READY,
    REPL_FEED_GONE,   /* dropped */
    REPL_FEED_FAILED, /* no log can be kept now; may become PENDING again */
};

/* A look at the log: the members fit together. */
struct repl_feed_view {
    enum repl_feed_state state; /* the rest is there if READY */
    uint64_t incarnation;       /* 0 only for a replica's database that has no transaction yet */
    uint32_t page_bytes;        /* 0: a database without pages, whose page size is not settled */
    struct wal_position begin;  /* a replica at or after it can be served from files, if it is in the history */
    struct wal_position end;    /* durable */
    int64_t age_us;             /* as that of the identity, of `end` */
};

/* One file of the log. `post_checksum` is of its trailer. */
struct repl_feed_file {
    ltx_txid min_txid;
    ltx_txid max_txid;
    uint64_t timeline; /* node_id of its header: all its transactions are of it */
    uint64_t pre_checksum;
    uint64_t post_checksum;
    uint64_t bytes;
};

struct repl_feed_ops {
    void (*look_cb)(struct repl_feed *feed, struct repl_feed_view *ret_view);
    /* FAILED: why. */
    void (*reason_cb)(struct repl_feed *feed, struct sq_error *ret_reason);
    /* Of the log's history, the transaction after which `timeline` ended (UINT64_MAX: it has not). False: not in the history. */
    bool (*timeline_end_cb)(struct repl_feed *feed, uint64_t timeline, ltx_txid *ret_txid);
    /* Opens the file that has the transaction after `txid`; one that is open is closed. After compaction it may begin before. SQ_NOT_FOUND: none yet, or no
     * longer: look again. Other failures: the file cannot be read; the replica will be made to heal. */
    sq_status (*open_file_cb)(struct repl_feed *feed, ltx_txid txid, struct sq_error *err,
                              struct repl_feed_file *ret_file);
    /* Of the open file: at most `length` (REPL_CHUNK_BYTES_MAX) bytes from `offset`; it can be read to its end whatever becomes of the log. */
    sq_status (*read_file_cb)(struct repl_feed *feed, uint64_t offset, void *bytes, size_t length, struct sq_error *err,
                              size_t *ret_length);
    /* Bytes of the log's files after `txid`: how far behind a replica is. Any thread, while the feed is open. */
    uint64_t (*bytes_after_cb)(struct repl_feed *feed, ltx_txid txid);
    /* What is after `txid` is still needed, as long as the feed is open: retention should spare it if it can. */
    void (*hold_cb)(struct repl_feed *feed, ltx_txid txid);
    /* A snapshot of the database for a replica that heals; `waker` as in open_feed_cb. At most one per feed. */
    sq_status (*exchange_cb)(struct repl_feed *feed, struct sq_waker *waker, struct sq_error *err,
                             struct repl_exchange **ret_exchange);
    void (*close_cb)(struct repl_feed *feed); /* its exchange has been closed */
};
struct repl_feed {
    const struct repl_feed_ops *ops;
};

/* --- Exchanges --- */

/*     PREPARING ─► SUMS ─(finish)─► DATA ─► END
 *         └─────────┴────────────────┴─► FAILED                */
enum repl_exchange_state {
    REPL_EXCHANGE_PREPARING, /* the snapshot is being made */
    REPL_EXCHANGE_SUMS,      /* position and page size are known; checksums of the replica's pages are taken */
    REPL_EXCHANGE_DATA,      /* bytes are read, as they are made */
    REPL_EXCHANGE_END,       /* all were read */
    REPL_EXCHANGE_FAILED,    /* try again with a new one, later */
};

struct repl_exchange_ops {
    enum repl_exchange_state (*state_cb)(struct repl_exchange *exchange, struct sq_error *ret_reason);
    /* From SUMS on. What the file leads to, which is in the log (as its begin, if nothing else) as long as the exchange is open. */
    void (*position_cb)(struct repl_exchange *exchange, struct wal_position *ret_position, uint32_t *ret_page_bytes,
                        uint32_t *ret_page_count);
    /* Checksums of the replica's pages `first_page` and following, ascending without gaps from 1 (the lock page's is 0). Compared at once with the
     * snapshot's: one bit is kept of each page. Pages beyond the snapshot's only count for the pre_checksum. */
    sq_status (*sums_cb)(struct repl_exchange *exchange, uint32_t first_page, const uint64_t *sums, size_t count,
                         struct sq_error *err);
    /* All of them were given: the file is now made. It is a whole LTX file with the pages that differ: pre_checksum is the exclusive or
     * of what was given (0 and min_txid 1 if there was none: a snapshot), min_txid = max_txid = the position's txid else. */
    sq_status (*finish_cb)(struct repl_exchange *exchange, struct sq_error *err);
    /* The next bytes, in order. *ret_length 0: none now, the waker will be called; or all were read: the state is END (it may be with the last bytes). */
    sq_status (*read_cb)(struct repl_exchange *exchange, void *bytes, size_t length, struct sq_error *err,
                         size_t *ret_length);
    void (*close_cb)(struct repl_exchange *exchange); /* in any state */
};
struct repl_exchange {
    const struct repl_exchange_ops *ops;
};

/* --- The source --- */

struct repl_source_ops {
    void (*identity_cb)(struct repl_source *source, struct repl_identity *ret_identity);
    /* The database with the smallest number above `after`. False: there is none. */
    bool (*next_database_cb)(struct repl_source *source, uint32_t after, struct repl_database_entry *ret_entry);
    /* `waker` is called when a database is made or dropped, or the identity changes. NULL: no more. One for each sender: `watcher` tells them apart. */
    sq_status (*watch_cb)(struct repl_source *source, const void *watcher, struct sq_waker *waker,
                          struct sq_error *err);
    /* Begins to keep a log of the database, if there is none yet, and to read it. `waker` is called when what look_cb says has changed, and for the exchange
     * when there is something to do with it; until close_cb. SQ_NOT_FOUND: dropped. */
    sq_status (*open_feed_cb)(struct repl_source *source, uint32_t number, struct sq_waker *waker, struct sq_error *err,
                              struct repl_feed **ret_feed);
};
struct repl_source {
    const struct repl_source_ops *ops;
};

#endif
