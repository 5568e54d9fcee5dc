/* pgclient/scram.h: the client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) without and with channel binding.
 *
 *   begin ──► client-first ──► continue(server-first) ──► client-final ──► finish(server-final)
 *
 * The server, too, has to prove that it knows the password: only finish() says that it has.
 *
 * Passwords are used as they are. RFC 5802 wants them normalised by SASLprep (RFC 4013), which changes nothing in ASCII.
 * In other text it folds compatibility forms and drops or maps a few characters; a password with such characters, which
 * PostgreSQL has normalised when it was set, does not match here.
 *
 * Threads: one at a time. */
#ifndef SQ_PGCLIENT_SCRAM_H
#define SQ_PGCLIENT_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "net/tls.h"

#define PGCLIENT_SCRAM_NAME "SCRAM-SHA-256"
#define PGCLIENT_SCRAM_PLUS_NAME "SCRAM-SHA-256-PLUS"

enum {
    PGCLIENT_SCRAM_HASH_BYTES = 32,
    PGCLIENT_SCRAM_NONCE_BYTES = 24, /* of random, before base64 */
    PGCLIENT_SCRAM_MESSAGE_MAX = 4096,
    PGCLIENT_SCRAM_ITERATIONS_MAX = 10000000, /* some seconds of work; PostgreSQL's default is 4096 */
};

/* Channel binding, as the first message says it (RFC 5802, section 7: gs2-cbind-flag). */
enum pgclient_scram_binding {
    PGCLIENT_SCRAM_UNABLE, /* "n" */
    PGCLIENT_SCRAM_ABLE,   /* "y": we could, and believe that the server could not */
    PGCLIENT_SCRAM_BOUND,  /* "p=tls-server-end-point" */
};

struct pgclient_scram {
    const char *password; /* the caller's */
    enum pgclient_scram_binding binding;
    struct net_tls_end_point end_point;                  /* PGCLIENT_SCRAM_BOUND */
    struct sq_buf first_bare;                            /* client-first-message-bare */
    size_t nonce_offset;                                 /* in it */
    struct sq_buf message;                               /* what to send next */
    uint8_t server_signature[PGCLIENT_SCRAM_HASH_BYTES]; /* what the server has to send */
    bool is_ready;                                       /* server_signature is set */
};

/* Makes the first message. `nonce` is printable ASCII without ','; NULL: random. `user` is "" for PostgreSQL, which takes
 * the start-up packet's. `end_point` with PGCLIENT_SCRAM_BOUND only. Free with pgclient_scram_done() in any case. */
SQ_MUST_USE sq_status pgclient_scram_begin(struct pgclient_scram *scram, const char *user, const char *password,
                                           const char *nonce, enum pgclient_scram_binding binding,
                                           const struct net_tls_end_point *end_point, struct sq_error *err);
/* Makes the final message from the server's first one. SQ_PROTOCOL: that one makes no sense. */
SQ_MUST_USE sq_status pgclient_scram_continue(struct pgclient_scram *scram, const uint8_t *server_first, size_t length,
                                              struct sq_error *err);
/* OK: the server knows the password. SQ_INVALID: it does not, or says that ours is wrong. */
SQ_MUST_USE sq_status pgclient_scram_finish(struct pgclient_scram *scram, const uint8_t *server_final, size_t length,
                                            struct sq_error *err);
/* Wipes and frees; also a zeroed one. */
void pgclient_scram_done(struct pgclient_scram *scram);

#endif
