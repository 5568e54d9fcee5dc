/* pgclient/auth_internal.h: the login of one connection: what the server asks for, what we know.
 *
 *   ASKED ──password──► ANSWERED ──────────────────────────────► DONE      AuthenticationOk
 *     │ └──────────────────────────────────────────────────────────▲ trust, certificate
 *     └─SASL──► SASL_BEGUN ──continue──► SASL_PROVED ──final──► SASL_VERIFIED ──┘
 *
 * Invariant: once SASL has begun there is no DONE without SASL_VERIFIED: a server that does not know the password cannot
 * skip its own proof. */
#ifndef SQ_PGCLIENT_AUTH_INTERNAL_H
#define SQ_PGCLIENT_AUTH_INTERNAL_H

#include "pgclient/client_internal.h"
#include "pgclient/scram.h"

enum pgclient_auth_state {
    PGCLIENT_AUTH_ASKED, /* at first */
    PGCLIENT_AUTH_ANSWERED,
    PGCLIENT_AUTH_SASL_BEGUN,
    PGCLIENT_AUTH_SASL_PROVED,
    PGCLIENT_AUTH_SASL_VERIFIED,
    PGCLIENT_AUTH_DONE,
};

struct pgclient_auth {
    enum pgclient_auth_state state;
    char *password;            /* NULL: not looked for yet, or there is none */
    char *passfile;            /* that the password is from, or that was not used; NULL: none */
    const char *passfile_flaw; /* why it was not used, or NULL */
    struct pgclient_scram scram;
};

/* Deals with one Authentication message. */
SQ_MUST_USE sq_status pgclient_auth_step(struct pgclient *client, struct pgclient_attempt *attempt,
                                         struct pgclient_auth *auth, const struct pgwire_frame *frame,
                                         struct sq_error *err);
/* Says in *err's hint what may help after the server has refused. */
void pgclient_auth_explain(const struct pgclient_auth *auth, struct sq_error *err);
/* Wipes and frees. */
void pgclient_auth_done(struct pgclient_auth *auth);

/* passfile.c: looks for the password of a login in PGPASSFILE, sets auth->password and ->passfile…. No file, or no entry,
 * is no failure. */
SQ_MUST_USE sq_status pgclient_passfile_find(const struct pgclient_attempt *attempt, struct pgclient_auth *auth,
                                             struct sq_error *err);

#endif
