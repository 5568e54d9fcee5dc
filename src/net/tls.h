/* net/tls.h: TLS over a connected socket (OpenSSL 3). What differs from non-blocking recv() and send() is only that each
 * call may have to wait for either direction. The socket's own mode does not matter: nothing here ever waits.
 *
 *   context ──► connection: handshake ──► read, write ──► close ──► free
 *
 * A context holds what all connections of one kind share: trusted roots, a certificate and its key. Versions below TLS 1.2
 * and renegotiation are never spoken. SIGPIPE is never raised. The descriptor stays the caller's.
 *
 * Calls that may have to wait: SQ_OK; SQ_BUSY: *ret_events is what to poll(2) for before the call is made again, with the
 * same bytes; SQ_CLOSED: the other side has ended the connection; others: *err says what is wrong, and the connection is
 * of no more use.
 *
 * Threads: a context any; a connection one at a time. */
#ifndef SQ_NET_TLS_H
#define SQ_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct net_tls_context;
struct net_tls;

/* What a client demands of the server's certificate. */
enum net_tls_check {
    NET_TLS_CHECK_NOTHING,
    NET_TLS_CHECK_ROOT, /* somebody we trust has signed it */
    NET_TLS_CHECK_HOST, /* and it is this host's */
};

/* `root_file` of the roots that the system trusts. */
#define NET_TLS_SYSTEM_ROOTS "system"

struct net_tls_client_config {
    enum net_tls_check check;
    const char *root_file; /* certificates in PEM, or NET_TLS_SYSTEM_ROOTS; NULL with NET_TLS_CHECK_NOTHING only */
    const char *certificate_file; /* our own, in PEM, with those that lead to its root behind it; NULL: none */
    const char *key_file;         /* its key, in PEM, not encrypted; NULL with it only */
};

/* OK: *ret_context, to be freed with net_tls_context_free(). SQ_INVALID: a file cannot be used; *err names it. SQ_NOT_FOUND:
 * there is no OpenSSL. */
SQ_MUST_USE sq_status net_tls_context_new_client(const struct net_tls_client_config *config, struct sq_error *err,
                                                 struct net_tls_context **ret_context);
/* NULL is allowed. Connections may outlive it. */
void net_tls_context_free(struct net_tls_context *context);

/* The client's side of a connection to `host`: a name or an address, which NET_TLS_CHECK_HOST looks for in the certificate;
 * a name is also sent to the server (SNI). OK: *ret_tls, to be freed with net_tls_free() before `fd` is closed. */
SQ_MUST_USE sq_status net_tls_new_client(struct net_tls_context *context, int fd, const char *host,
                                         struct sq_error *err, struct net_tls **ret_tls);
/* Sends nothing: also in a forked child. NULL is allowed. */
void net_tls_free(struct net_tls *tls);

/* SQ_INVALID: the other side's certificate is not acceptable. */
SQ_MUST_USE sq_status net_tls_handshake(struct net_tls *tls, struct sq_error *err, short *ret_events);
/* At least one byte, at most `bytes`. */
SQ_MUST_USE sq_status net_tls_read(struct net_tls *tls, void *to, size_t bytes, struct sq_error *err, size_t *ret_bytes,
                                   short *ret_events);
/* At least one byte, perhaps not all. */
SQ_MUST_USE sq_status net_tls_write(struct net_tls *tls, const void *from, size_t bytes, struct sq_error *err,
                                    size_t *ret_bytes, short *ret_events);
/* Tells the other side that nothing more comes (close_notify), if that goes at once. */
void net_tls_close(struct net_tls *tls);

/* Channel binding "tls-server-end-point" (RFC 5929, section 4.1): the hash of the server's certificate. */
enum { NET_TLS_END_POINT_BYTES_MAX = 64 };
struct net_tls_end_point {
    uint8_t hash[NET_TLS_END_POINT_BYTES_MAX];
    size_t length;
};
/* False: the certificate's kind of signature has no hash, for which RFC 5929 defines nothing. */
bool net_tls_end_point(struct net_tls *tls, struct net_tls_end_point *ret_end_point);

#endif
