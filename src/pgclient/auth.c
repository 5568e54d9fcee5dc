/* pgclient/auth.c: answers the server's questions of who we are (PostgreSQL manual, "Start-up", "SASL Authentication").
 *
 * A password in clear text is sent only where nobody can listen: over TLS, to this machine, or when sslmode=disable or
 * allow says that TLS is not wanted. libpq sends it always; with sslmode=prefer somebody on the way could ask for it.
 * MD5 is answered, as old servers' users have no other password. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls.h"
#include "net/tls_openssl.h"
#include "pgclient/auth_internal.h"
#include "pgwire/backend.h"
#include "pgwire/frontend.h"

enum { MD5_BYTES = 16, MD5_HEX_BYTES = 2 * MD5_BYTES, MD5_ANSWER_BYTES = 3 + MD5_HEX_BYTES + 1 };

/* --- The password -------------------------------------------------------------------------------------------------- */

static sq_status fail_without_password(const struct pgclient_auth *auth, struct sq_error *err)
{
    sq_status status = sq_fail_sql(err, SQ_INVALID, "28000", "the server asks for a password, and there is none");
    if (auth->passfile != NULL)
        sq_error_set_hint(err, "Put it into PGPASSWORD or into the password file; '%.150s' %s.", auth->passfile,
                          auth->passfile_flaw);
    else
        sq_error_set_hint(err, "Put it into PGPASSWORD or into a password file (PGPASSFILE).");
    return status;
}

static sq_status need_password(const struct pgclient_attempt *attempt, struct pgclient_auth *auth, struct sq_error *err)
{
    if (auth->password != NULL)
        return SQ_OK;
    const char *given = attempt->target->values[PGCLIENT_PASSWORD];
    if (given != NULL) {
        auth->password = strdup(given);
        return auth->password != NULL ? SQ_OK : sq_fail(err, SQ_NOMEM, "out of memory for a password");
    }
    SQ_TRY(pgclient_passfile_find(attempt, auth, err));
    return auth->password != NULL ? SQ_OK : fail_without_password(auth, err);
}

void pgclient_auth_explain(const struct pgclient_auth *auth, struct sq_error *err)
{
    if (auth->password != NULL && auth->passfile != NULL && err->hint[0] == '\0' &&
        strncmp(err->sqlstate, "28", 2) == 0)
        sq_error_set_hint(err, "The password is from the file '%.200s'.", auth->passfile);
}

void pgclient_auth_done(struct pgclient_auth *auth)
{
    pgclient_secret_free(auth->password);
    free(auth->passfile);
    pgclient_scram_done(&auth->scram);
}

/* Sends what is in client->out and leaves none of it in memory. */
static sq_status flush_and_wipe(struct pgclient *client, const struct pgclient_attempt *attempt, struct sq_error *err)
{
    sq_status status = sq_buf_check(&client->out, err);
    if (status == SQ_OK)
        status = pgclient_stream_flush(client, attempt->deadline_us, err);
    if (client->out.data != NULL)
        explicit_bzero(client->out.data, client->out.cap);
    return status;
}

static sq_status answer_cleartext(struct pgclient *client, const struct pgclient_attempt *attempt,
                                  struct pgclient_auth *auth, struct sq_error *err)
{
    bool is_private = client->tls != NULL || attempt->is_unix || attempt->is_loopback;
    if (!is_private && attempt->target->sslmode >= PGCLIENT_SSL_PREFER) {
        sq_status status = sq_fail_sql(err, SQ_INVALID, "28000",
                                       "the server asks for the password in clear text, over a "
                                       "connection that is not encrypted");
        sq_error_set_hint(err, "Let the server offer TLS or SCRAM-SHA-256, or allow this with sslmode=disable.");
        return status;
    }
    SQ_TRY(need_password(attempt, auth, err));
    pgwire_put_password(&client->out, auth->password);
    auth->state = PGCLIENT_AUTH_ANSWERED;
    return flush_and_wipe(client, attempt, err);
}

/* --- MD5 ----------------------------------------------------------------------------------------------------------- */

/* The hash of `first` and `second`, in hexadecimal. */
static sq_status md5_hex(const struct net_openssl *openssl, const char *first, const void *second, size_t second_bytes,
                         struct sq_error *err, char to[MD5_HEX_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    struct sq_buf both;
    sq_buf_init(&both, SIZE_MAX / 2);
    /* In one piece, so that no copy is left behind when the buffer grows. */
    if (!sq_buf_reserve(&both, strlen(first) + second_bytes))
        return sq_buf_check(&both, err);
    sq_buf_put_text(&both, first);
    sq_buf_put(&both, second, second_bytes);
    uint8_t hash[MD5_BYTES];
    int result = openssl->EVP_Digest(sq_buf_bytes(&both), sq_buf_length(&both), hash, NULL, openssl->EVP_md5(), NULL);
    explicit_bzero(both.data, both.cap);
    sq_buf_done(&both);
    openssl->ERR_clear_error();
    if (result != 1)
        return sq_fail_sql(err, SQ_INVALID, "28000",
                           "the server asks for an MD5 password, which OpenSSL refuses to compute");
    for (size_t i = 0; i < MD5_BYTES; i++) {
        to[2 * i] = digits[hash[i] >> 4];
        to[2 * i + 1] = digits[hash[i] & 15];
    }
    to[MD5_HEX_BYTES] = '\0';
    return SQ_OK;
}

/* "md5" and md5(md5(password user) salt). */
static sq_status answer_md5(struct pgclient *client, const struct pgclient_attempt *attempt, struct pgclient_auth *auth,
                            const struct pgwire_bytes *salt, struct sq_error *err)
{
    const struct net_openssl *openssl = NULL;
    SQ_TRY(need_password(attempt, auth, err));
    SQ_TRY(net_openssl_load(err, &openssl));
    const char *user = attempt->target->values[PGCLIENT_USER];
    char inner[MD5_HEX_BYTES + 1];
    char outer[MD5_HEX_BYTES + 1];
    SQ_TRY(md5_hex(openssl, auth->password, user, strlen(user), err, inner));
    sq_status status = md5_hex(openssl, inner, salt->data, salt->length, err, outer);
    /* Who has it can log in. */
    explicit_bzero(inner, sizeof(inner));
    if (status != SQ_OK)
        return status;
    char answer[MD5_ANSWER_BYTES];
    (void)snprintf(answer, sizeof(answer), "md5%s", outer);
    pgwire_put_password(&client->out, answer);
    auth->state = PGCLIENT_AUTH_ANSWERED;
    return flush_and_wipe(client, attempt, err);
}

/* --- SASL ---------------------------------------------------------------------------------------------------------- */

static bool has_mechanism(const struct pgwire_authentication *request, const char *name)
{
    struct pgwire_texts rest = request->mechanisms;
    for (struct pgwire_text text; pgwire_texts_next(&rest, &text);) {
        if (strcmp(text.data, name) == 0)
            return true;
    }
    return false;
}

static sq_status begin_sasl(struct pgclient *client, const struct pgclient_attempt *attempt, struct pgclient_auth *auth,
                            const struct pgwire_authentication *request, struct sq_error *err)
{
    bool has_plus = has_mechanism(request, PGCLIENT_SCRAM_PLUS_NAME);
    if (has_plus && client->tls == NULL)
        return sq_fail(err, SQ_PROTOCOL, "the server offers channel binding over a connection that is not encrypted");
    if (!has_plus && !has_mechanism(request, PGCLIENT_SCRAM_NAME))
        return sq_fail_sql(err, SQ_INVALID, "28000",
                           "the server offers no kind of SASL login that is known here, which is "
                           "SCRAM-SHA-256");
    SQ_TRY(need_password(attempt, auth, err));

    struct net_tls_end_point end_point;
    enum pgclient_scram_binding binding = PGCLIENT_SCRAM_UNABLE;
    if (client->tls != NULL && net_tls_end_point(client->tls, &end_point))
        binding = has_plus ? PGCLIENT_SCRAM_BOUND : PGCLIENT_SCRAM_ABLE;
    SQ_TRY(pgclient_scram_begin(&auth->scram, "", auth->password, NULL, binding,
                                binding == PGCLIENT_SCRAM_BOUND ? &end_point : NULL, err));
    const char *name = binding == PGCLIENT_SCRAM_BOUND ? PGCLIENT_SCRAM_PLUS_NAME : PGCLIENT_SCRAM_NAME;
    pgwire_put_sasl_initial(&client->out, name, sq_buf_bytes(&auth->scram.message),
                            sq_buf_length(&auth->scram.message));
    auth->state = PGCLIENT_AUTH_SASL_BEGUN;
    return flush_and_wipe(client, attempt, err);
}

static sq_status prove(struct pgclient *client, const struct pgclient_attempt *attempt, struct pgclient_auth *auth,
                       const struct pgwire_bytes *server_first, struct sq_error *err)
{
    SQ_TRY(pgclient_scram_continue(&auth->scram, server_first->data, server_first->length, err));
    pgwire_put_sasl_response(&client->out, sq_buf_bytes(&auth->scram.message), sq_buf_length(&auth->scram.message));
    auth->state = PGCLIENT_AUTH_SASL_PROVED;
    return flush_and_wipe(client, attempt, err);
}

/* --- One message --------------------------------------------------------------------------------------------------- */

static sq_status fail_order(uint32_t code, struct sq_error *err)
{
    return sq_fail(err, SQ_PROTOCOL, "the server sent Authentication message %lu out of turn", (unsigned long)code);
}

static sq_status fail_unknown(uint32_t code, struct sq_error *err)
{
    static const struct {
        uint32_t code;
        const char *name;
    } known[] = {{PGWIRE_AUTHENTICATION_KERBEROS_V5, "Kerberos V5"},
                 {PGWIRE_AUTHENTICATION_GSS, "GSSAPI"},
                 {PGWIRE_AUTHENTICATION_SSPI, "SSPI"}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].code == code)
            return sq_fail_sql(err, SQ_INVALID, "28000", "the server asks for a login by %s, which is not known here",
                               known[i].name);
    }
    return sq_fail_sql(err, SQ_INVALID, "28000", "the server asks for a login of kind %lu, which is not known here",
                       (unsigned long)code);
}

static sq_status finish(struct pgclient_auth *auth, struct sq_error *err)
{
    if (auth->state == PGCLIENT_AUTH_SASL_BEGUN || auth->state == PGCLIENT_AUTH_SASL_PROVED)
        return sq_fail(err, SQ_PROTOCOL, "the server ended the login before it has proved that it knows the password");
    auth->state = PGCLIENT_AUTH_DONE;
    return SQ_OK;
}

/* Whether the message may come in this state; what is not known is judged elsewhere. */
static bool is_in_turn(enum pgclient_auth_state state, uint32_t code)
{
    switch (code) {
    case PGWIRE_AUTHENTICATION_OK:
        return state != PGCLIENT_AUTH_DONE;
    case PGWIRE_AUTHENTICATION_SASL_CONTINUE:
        return state == PGCLIENT_AUTH_SASL_BEGUN;
    case PGWIRE_AUTHENTICATION_SASL_FINAL:
        return state == PGCLIENT_AUTH_SASL_PROVED;
    default:
        return state == PGCLIENT_AUTH_ASKED;
    }
}

static sq_status step(struct pgclient *client, const struct pgclient_attempt *attempt, struct pgclient_auth *auth,
                      const struct pgwire_authentication *request, struct sq_error *err)
{
    if (!is_in_turn(auth->state, request->code))
        return fail_order(request->code, err);
    switch (request->code) {
    case PGWIRE_AUTHENTICATION_OK:
        return finish(auth, err);
    case PGWIRE_AUTHENTICATION_CLEARTEXT_PASSWORD:
        return answer_cleartext(client, attempt, auth, err);
    case PGWIRE_AUTHENTICATION_MD5_PASSWORD:
        return answer_md5(client, attempt, auth, &request->data, err);
    case PGWIRE_AUTHENTICATION_SASL:
        return begin_sasl(client, attempt, auth, request, err);
    case PGWIRE_AUTHENTICATION_SASL_CONTINUE:
        return prove(client, attempt, auth, &request->data, err);
    case PGWIRE_AUTHENTICATION_SASL_FINAL:
        SQ_TRY(pgclient_scram_finish(&auth->scram, request->data.data, request->data.length, err));
        auth->state = PGCLIENT_AUTH_SASL_VERIFIED;
        return SQ_OK;
    default:
        return fail_unknown(request->code, err);
    }
}

sq_status pgclient_auth_step(struct pgclient *client, struct pgclient_attempt *attempt, struct pgclient_auth *auth,
                             const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_authentication request;
    SQ_TRY(pgwire_authentication_decode(frame, err, &request));
    sq_status status = step(client, attempt, auth, &request, err);
    /* Who cannot log in here has no better chance elsewhere, and the next host is not to be asked for its password. */
    attempt->is_final = status == SQ_INVALID || status == SQ_NOT_FOUND;
    return status;
}
