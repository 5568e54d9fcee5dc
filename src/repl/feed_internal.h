/* repl/feed_internal.h: what feed.c and exchange.c share. */
#ifndef SQ_REPL_FEED_INTERNAL_H
#define SQ_REPL_FEED_INTERNAL_H

#include "repl/feed.h"

struct exchange;

struct log_feed {
    struct repl_feed base;
    struct repl_feed_host *host;
    struct sq_waker *waker;
    struct wal_log_reader *reader; /* the sender's thread only, as the next two */
    uint64_t reader_bytes;
    struct exchange *exchange;
    struct sq_list links;   /* guarded by the host's mutex, as the next two */
    ltx_txid held_txid;     /* UINT64_MAX: nothing */
    ltx_txid exchange_txid; /* likewise, for its exchange */
};

/* Counts one who uses the log or the database; false: the host is closed. */
bool feed_host_enter(struct repl_feed_host *host);
void feed_host_leave(struct repl_feed_host *host);

SQ_MUST_USE sq_status exchange_new(struct log_feed *feed, struct sq_waker *waker, struct sq_error *err,
                                   struct repl_exchange **ret_exchange);
/* The host is being closed; under its mutex. */
void exchange_cancel(struct exchange *exchange);

#endif
