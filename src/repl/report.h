/* repl/report.h: what operators are shown of replication (SHOW replication, SHOW node). Threads: any. */
#ifndef SQ_REPL_REPORT_H
#define SQ_REPL_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "repl/node.h"

/* One database on one connection: to a replica that this server feeds, or to the primary that it follows. Text lives during the call only. */
struct repl_report_row {
    bool is_upstream; /* the primary's end of it; else a replica's */
    const char *name; /* of the replica; "" for the primary */
    const char *address;
    const char *database; /* "": none is known yet */
    const char *state;
    uint64_t timeline;
    uint64_t end_txid; /* the primary's */
    uint64_t sent_txid;
    uint64_t written_txid;
    uint64_t durable_txid;
    uint64_t applied_txid;
    uint64_t lag_transactions;
    uint64_t lag_bytes;
    int64_t lag_us; /* -1: not known */
    const char *reason;
};
/* `row_cb` is called under locks: it must be quick and call nothing here. */
void repl_node_report(struct repl_node *node, void *context,
                      void (*row_cb)(void *context, const struct repl_report_row *row));

/* The node itself. Text lives during the call only. */
struct repl_report_node {
    const char *role; /* "primary", "replica", "fenced" */
    uint64_t timeline;
    uint64_t seen_timeline;
    uint64_t system_id;
    const char *primary; /* the URL that is followed, without passwords; "" */
    const char *host;    /* of it that is connected; "" */
    const char *state;   /* of that connection; "" */
    const char *failure;
    uint64_t replica_count;
};
void repl_node_report_self(struct repl_node *node, void *context,
                           void (*self_cb)(void *context, const struct repl_report_node *self));

#endif
