/* repl/node_state.h: what a node knows beyond its own life: DATA_DIR/sqld.replication.
 *
 *     offset  bytes
 *          0      8  "SQLDREPL"
 *          8      4  version: 1
 *         12      4  role: 1 primary, 2 replica, 3 fenced
 *         16      8  system identifier of the group; 0: belongs to none yet
 *         24      8  timeline: the newest that this server's own data is of
 *         32      8  the newest timeline that was seen anywhere
 *         40      4  a: bytes of the followed URL; 0: what the option says
 *         44      4  b: bytes of the URL that was left with the promotion; 0: none
 *         48    a+b  the URLs
 *     48+a+b      8  CRC-64 (wal/checksum.h) of everything before
 *
 * Integers are big-endian. The file is written anew beside the old one, synced, renamed, and the directory synced: after a crash
 * it is the old or the new one. Only its owner may read it, for there may be a password in a URL.
 *
 * Threads: one at a time. */
#ifndef SQ_REPL_NODE_STATE_H
#define SQ_REPL_NODE_STATE_H

#include <stdint.h>

#include "base/status.h"
#include "repl/node.h"

enum { NODE_URL_BYTES_MAX = 8192 };

struct node_state {
    enum repl_role role;
    uint64_t system_id;
    uint64_t timeline;
    uint64_t seen_timeline;
    char *followed_url; /* NULL: what the option says */
    char *left_url;     /* NULL: none */
};

/* SQ_NOT_FOUND: there is none. SQ_CORRUPT: it is damaged. OK: node_state_done() frees what *ret_state has. */
SQ_MUST_USE sq_status node_state_read(const char *data_dir, struct sq_error *err, struct node_state *ret_state);
/* On disk when it returns. On failure the file is the old or the new one. */
SQ_MUST_USE sq_status node_state_write(const char *data_dir, const struct node_state *state, struct sq_error *err);
void node_state_done(struct node_state *state);
/* Puts a copy of `url` (NULL or "": none) in the place of *old_url. */
SQ_MUST_USE sq_status node_state_set_url(char **old_url, const char *url, struct sq_error *err);

#endif
