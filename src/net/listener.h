/* net/listener.h: sockets that clients connect to.
 *
 * Threads: opening by anybody; the descriptor then belongs to whoever accepts. */
#ifndef SQ_NET_LISTENER_H
#define SQ_NET_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { NET_ADDRESS_TEXT_MAX = 160 };

/* Listens on `host` (a name, an address, or "*" for all interfaces) and `port`; the first address that works counts.
 * *ret_fd is non-blocking, the caller closes it. */
SQ_MUST_USE sq_status net_listen_tcp(const char *host, uint16_t port, struct sq_error *err, int *ret_fd);
/* Listens on a Unix socket; a stale socket file that nobody serves is replaced. */
SQ_MUST_USE sq_status net_listen_unix(const char *path, struct sq_error *err, int *ret_fd);

/* Whether every address that `host` stands for is a loopback address. */
SQ_MUST_USE sq_status net_host_is_loopback(const char *host, struct sq_error *err, bool *ret_is_loopback);

/* Accepts one connection: non-blocking, TCP_NODELAY and keep-alive set. *ret_fd is -1 when there is none right now.
 * SQ_LIMIT: no descriptors or memory left; try again later. */
SQ_MUST_USE sq_status net_accept(int listen_fd, struct sq_error *err, int *ret_fd);

/* "127.0.0.1:5432", "[::1]:5432", "unix" of the peer (is_peer) or of this side. */
void net_address_text(int fd, bool is_peer, char out[NET_ADDRESS_TEXT_MAX]);

#endif
