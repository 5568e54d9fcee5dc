/* repl/peer_internal.h: a peer as peer.c and report.c see it. */
#ifndef SQ_REPL_PEER_INTERNAL_H
#define SQ_REPL_PEER_INTERNAL_H

#include "repl/node_internal.h"
#include "repl/peer.h"
#include "repl/sender.h"

enum { PEER_ADDRESS_BYTES = 128 };

/* How far a database is on the replica's disk. */
struct peer_durable {
    uint32_t number;
    ltx_txid txid;
};

struct repl_peer {
    struct sq_list links;
    struct repl_node *node;
    struct repl_sender_owner owner;
    struct repl_sender *sender;
    enum repl_log_mode log_mode;
    int64_t deadline_us;
    int64_t since_us;              /* wall clock */
    struct peer_durable *durables; /* guarded by the node's mutex */
    size_t durable_count;
    char address[PEER_ADDRESS_BYTES];
};

#endif
