/* repl/feed.h: feeds and exchanges (source.h) of a log that this server keeps: a logger's on a primary, a replica's for those
 * that it feeds in its turn. Whoever keeps the log embeds a *host*.
 *
 *     host ─┬─ log ◄── feeds: look at it, read its files, hold what they still need
 *           └─ snapshot_cb ◄── exchanges: a thread for each compares, reads pages, makes the file
 *
 *     exchange     sender's calls                       its thread
 *                  sums_cb, finish_cb ──bits──►         snapshot ─► pages that differ ─► encoder ─► ring ──► read_cb
 *
 * An exchange takes a bit for each page, the ring, and what the database changes meanwhile (page_sums_copy). Every page that it
 * reads is compared with its checksum: a log that has missed a change of the database is found out there, at the latest.
 *
 * Lifetime: counted references; feeds and exchanges have one each, so a host outlives them. It stops being of use to them with
 * repl_feed_host_close(), before the log and the database's connections are closed.
 *
 * Locks: the host's mutex is held for a few instructions, the owner may guard its own with it. Wakers are called under it. Order: durability (engine)
 * > host > log (wal). */
#ifndef SQ_REPL_FEED_H
#define SQ_REPL_FEED_H

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/waker.h"
#include "repl/source.h"
#include "wal/page_sums.h"
#include "wal/wal_file.h"

struct engine_durability;
struct repl_feed_host;

/* A database as of a position of its log. */
struct repl_snapshot {
    struct sqlite3 *connection;
    struct wal_file *file;
    struct wal_snapshot *pages;
    struct page_sums *sums; /* a copy as of then */
    struct wal_position position;
};
/* Gives back what is there; zeros are fine. */
void repl_snapshot_done(struct repl_snapshot *snapshot);

struct repl_feed_host_ops {
    /* READY needs a log. *ret_reason if FAILED, and may be touched otherwise. Under the mutex. */
    enum repl_feed_state (*state_cb)(struct repl_feed_host *host, struct sq_error *ret_reason);
    /* The end that others may see; NULL: the log's. READY, under the mutex. */
    struct wal_position (*end_cb)(struct repl_feed_host *host);
    /* Fills `snapshot` (zeros), of the log's end or before. On the exchange's thread: may wait, for repl_feed_host_close() too, which
     * it must then notice. What is there after a failure is given back by the caller. */
    sq_status (*snapshot_cb)(struct repl_feed_host *host, struct sq_error *err, struct repl_snapshot *snapshot);
    /* A page is not what its checksum says: something has changed the database that the log does not have. Any thread. */
    void (*mistrust_cb)(struct repl_feed_host *host);
    /* The last reference is gone. */
    void (*free_cb)(struct repl_feed_host *host);
};

struct repl_feed_host {
    const struct repl_feed_host_ops *ops;
    pthread_mutex_t mutex;
    pthread_cond_t idle_cond; /* one who used the log or the database has ended */
    size_t ref_count;
    size_t user_count;    /* calls that read the log, and exchanges at work */
    struct wal_log *log;  /* NULL: not open */
    uint32_t page_bytes;  /* of the database, once the log is open */
    uint64_t incarnation; /* likewise */
    bool is_closed;
    struct sq_list feeds;
};

/* One reference; the log, once it is open, is put into `log` under the mutex. */
void repl_feed_host_init(struct repl_feed_host *host, const struct repl_feed_host_ops *ops);
void repl_feed_host_done(struct repl_feed_host *host); /* from free_cb */
void repl_feed_host_ref(struct repl_feed_host *host);
void repl_feed_host_unref(struct repl_feed_host *host);
/* Something that look_cb or an exchange says has changed. Under the mutex. */
void repl_feed_host_notify(struct repl_feed_host *host);
/* The log, for calls that read files of it outside of the mutex; NULL: it is not open. It stays open until _leave_log(). */
struct wal_log *repl_feed_host_enter_log(struct repl_feed_host *host);
void repl_feed_host_leave_log(struct repl_feed_host *host);
/* Takes the log away; it is the caller's, NULL: there was none. Exchanges end, and there will be no other. Waits until nobody uses the log or
 * the database, which is not long. The state is to be another one than READY before. */
struct wal_log *repl_feed_host_close(struct repl_feed_host *host);
/* The least txid that a feed or an exchange holds; UINT64_MAX: none does. */
ltx_txid repl_feed_host_held(struct repl_feed_host *host, bool is_exchange_only);

/* Whether the log was closed: nothing comes from this feed any more; close it, and open another one. */
bool repl_feed_is_over(struct repl_feed *feed);
/* See repl_source_ops.open_feed_cb; the host is one whose log is being made or open. */
SQ_MUST_USE sq_status repl_feed_open(struct repl_feed_host *host, struct sq_waker *waker, struct sq_error *err,
                                     struct repl_feed **ret_feed);

#endif
