/* net/tls.c: TLS by OpenSSL.
 *
 * OpenSSL's own socket BIO uses write(2), which raises SIGPIPE in a process that may not be ours to set signals in. So
 * there is a BIO of ours, which sends with MSG_NOSIGNAL, and remembers why a call failed: OpenSSL's error queue does not
 * tell whether the other side has gone.
 *
 * Invariants: (1) OpenSSL's error queue is empty before each of its calls whose failure is looked at; it is the thread's,
 * and the application's too. (2) After a fatal failure SSL_shutdown() is not called. */
#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/tls_openssl.h"

enum { REASON_MAX = 200, HOST_MAX = 256 };

struct net_tls_context {
    const struct net_openssl *openssl;
    SSL_CTX *ssl_context;
    enum net_tls_check check;
};

struct net_tls {
    const struct net_openssl *openssl;
    SSL *ssl;
    enum net_tls_check check;
    int fd;
    int socket_errno; /* of the last failed recv() or send() */
    bool is_eof;      /* the other side has closed the socket */
    bool is_broken;
    bool is_established; /* the handshake is over */
    char host[HOST_MAX];
};

/* --- The BIO ------------------------------------------------------------------------------------------------------- */

/* Made once, kept for ever. NULL: no memory. */
static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;
/* The table, for BIO callbacks, which are handed nothing else. */
static const struct net_openssl *bio_openssl;

static struct net_tls *bio_owner(BIO *bio)
{
    return bio_openssl->BIO_get_data(bio);
}

/* What a socket call has done, as a BIO says it. */
static int bio_result(BIO *bio, ssize_t count, int retry_flag)
{
    struct net_tls *tls = bio_owner(bio);
    bio_openssl->BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    if (count >= 0)
        return (int)count;
    tls->socket_errno = errno;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        bio_openssl->BIO_set_flags(bio, retry_flag | BIO_FLAGS_SHOULD_RETRY);
    return -1;
}

static int bio_read(BIO *bio, char *to, int bytes)
{
    struct net_tls *tls = bio_owner(bio);
    if (bytes <= 0)
        return 0;
    ssize_t count = recv(tls->fd, to, (size_t)bytes, MSG_DONTWAIT);
    if (count == 0)
        tls->is_eof = true;
    return bio_result(bio, count, BIO_FLAGS_READ);
}

static int bio_write(BIO *bio, const char *from, int bytes)
{
    struct net_tls *tls = bio_owner(bio);
    if (bytes <= 0)
        return 0;
    return bio_result(bio, send(tls->fd, from, (size_t)bytes, MSG_NOSIGNAL | MSG_DONTWAIT), BIO_FLAGS_WRITE);
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0; /* nothing is kept back here; nothing else is offered */
}

static void make_bio_method(void)
{
    if (net_openssl_load(NULL, &bio_openssl) != SQ_OK)
        return;
    const struct net_openssl *openssl = bio_openssl;
    BIO_METHOD *method = openssl->BIO_meth_new(openssl->BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sqld socket");
    if (method == NULL)
        return;
    if (openssl->BIO_meth_set_read(method, bio_read) == 1 && openssl->BIO_meth_set_write(method, bio_write) == 1 &&
        openssl->BIO_meth_set_ctrl(method, bio_ctrl) == 1)
        bio_method = method;
    else
        openssl->BIO_meth_free(method);
}

/* --- Errors -------------------------------------------------------------------------------------------------------- */

/* Why OpenSSL failed, in its words, and its error queue emptied. */
static const char *reason_take(const struct net_openssl *openssl, char reason[REASON_MAX])
{
    unsigned long code = openssl->ERR_peek_last_error();
    const char *text = code != 0 ? openssl->ERR_reason_error_string(code) : "no reason given";
    if (text != NULL)
        (void)snprintf(reason, REASON_MAX, "%s", text);
    else
        openssl->ERR_error_string_n(code, reason, REASON_MAX);
    openssl->ERR_clear_error();
    return reason;
}

static sq_status fail_memory(struct sq_error *err)
{
    return sq_fail(err, SQ_NOMEM, "out of memory for TLS");
}

/* The server's certificate is not what was demanded. */
static sq_status fail_certificate(const struct net_tls *tls, long verdict, struct sq_error *err)
{
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
        return sq_fail_sql(err, SQ_INVALID, "08001", "the server's certificate is not for host '%s'", tls->host);
    return sq_fail_sql(err, SQ_INVALID, "08001", "the server's certificate is not to be trusted: %s",
                       tls->openssl->X509_verify_cert_error_string(verdict));
}

/* Sorts what a call on the connection has come to; `result` is its return value, not above 0. */
static sq_status fail_call(struct net_tls *tls, int result, const char *what, struct sq_error *err, short *ret_events)
{
    const struct net_openssl *openssl = tls->openssl;
    switch (openssl->SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        *ret_events = POLLIN;
        return SQ_BUSY;
    case SSL_ERROR_WANT_WRITE:
        *ret_events = POLLOUT;
        return SQ_BUSY;
    case SSL_ERROR_ZERO_RETURN:
        return sq_fail(err, SQ_CLOSED, "the server closed the connection");
    case SSL_ERROR_SYSCALL:
    case SSL_ERROR_SSL:
    default:
        tls->is_broken = true;
        break;
    }
    char reason[REASON_MAX];
    reason_take(openssl, reason);
    long verdict = openssl->SSL_get_verify_result(tls->ssl);
    if (!tls->is_established && tls->check != NET_TLS_CHECK_NOTHING && verdict != X509_V_OK)
        return fail_certificate(tls, verdict, err);
    if (tls->is_eof)
        return sq_fail(err, SQ_CLOSED, "the server closed the connection");
    if (tls->socket_errno == ECONNRESET || tls->socket_errno == EPIPE || tls->socket_errno == ETIMEDOUT) {
        (void)sq_fail_errno(err, tls->socket_errno, "the connection to the server broke");
        if (err != NULL)
            err->status = SQ_CLOSED;
        return SQ_CLOSED;
    }
    return sq_fail(err, SQ_PROTOCOL, "TLS %s failed: %s", what, reason);
}

/* --- Contexts ------------------------------------------------------------------------------------------------------ */

SQ_DEFINE_FREEP(struct net_tls_context, net_tls_context_free)

/* An encrypted key would make OpenSSL ask for its password on the terminal of a program that knows nothing of us. */
static int refuse_password(char *to, int bytes, int is_writing, void *pointer)
{
    (void)to;
    (void)bytes;
    (void)is_writing;
    (void)pointer;
    return -1;
}

static sq_status fail_file(const struct net_openssl *openssl, const char *what, const char *file, struct sq_error *err)
{
    char reason[REASON_MAX];
    return sq_fail(err, SQ_INVALID, "cannot use %s '%.200s': %s", what, file, reason_take(openssl, reason));
}

static sq_status load_roots(struct net_tls_context *context, const char *root_file, struct sq_error *err)
{
    const struct net_openssl *openssl = context->openssl;
    if (root_file == NULL)
        return SQ_OK;
    openssl->ERR_clear_error();
    bool is_system = strcmp(root_file, NET_TLS_SYSTEM_ROOTS) == 0;
    int result = is_system ? openssl->SSL_CTX_set_default_verify_paths(context->ssl_context)
                           : openssl->SSL_CTX_load_verify_file(context->ssl_context, root_file);
    return result == 1 ? SQ_OK : fail_file(openssl, "the root certificates", root_file, err);
}

static sq_status load_certificate(struct net_tls_context *context, const struct net_tls_client_config *config,
                                  struct sq_error *err)
{
    const struct net_openssl *openssl = context->openssl;
    if (config->certificate_file == NULL)
        return SQ_OK;
    sq_assert(config->key_file != NULL);
    openssl->ERR_clear_error();
    if (openssl->SSL_CTX_use_certificate_chain_file(context->ssl_context, config->certificate_file) != 1)
        return fail_file(openssl, "the certificate", config->certificate_file, err);
    openssl->SSL_CTX_set_default_passwd_cb(context->ssl_context, refuse_password);
    if (openssl->SSL_CTX_use_PrivateKey_file(context->ssl_context, config->key_file, SSL_FILETYPE_PEM) != 1) {
        sq_status status = fail_file(openssl, "the key", config->key_file, err);
        sq_error_set_hint(err, "It has to be in PEM, and not encrypted, and the certificate's.");
        return status;
    }
    return openssl->SSL_CTX_check_private_key(context->ssl_context) == 1
               ? SQ_OK
               : fail_file(openssl, "the key", config->key_file, err);
}

sq_status net_tls_context_new_client(const struct net_tls_client_config *config, struct sq_error *err,
                                     struct net_tls_context **ret_context)
{
    sq_assert(config != NULL && ret_context != NULL);
    sq_assert(config->root_file != NULL || config->check == NET_TLS_CHECK_NOTHING);

    const struct net_openssl *openssl = NULL;
    SQ_TRY(net_openssl_load(err, &openssl));
    SQ_CLEANUP(net_tls_context_freep) struct net_tls_context *context = calloc(1, sizeof(*context));
    if (context == NULL)
        return fail_memory(err);
    context->openssl = openssl;
    context->check = config->check;
    context->ssl_context = openssl->SSL_CTX_new(openssl->TLS_client_method());
    if (context->ssl_context == NULL)
        return fail_memory(err);
    /* SSL_CTX_set_min_proto_version() and SSL_CTX_set_mode(), which are macros. */
    long mode = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS;
    if (openssl->SSL_CTX_ctrl(context->ssl_context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL) != 1)
        return sq_fail(err, SQ_INVALID, "this OpenSSL does not know TLS 1.2");
    openssl->SSL_CTX_ctrl(context->ssl_context, SSL_CTRL_MODE, mode, NULL);
    openssl->SSL_CTX_set_options(context->ssl_context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    int verify = config->check == NET_TLS_CHECK_NOTHING ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    openssl->SSL_CTX_set_verify(context->ssl_context, verify, NULL);
    SQ_TRY(load_roots(context, config->root_file, err));
    SQ_TRY(load_certificate(context, config, err));
    *ret_context = SQ_STEAL(context);
    return SQ_OK;
}

void net_tls_context_free(struct net_tls_context *context)
{
    if (context == NULL)
        return;
    context->openssl->SSL_CTX_free(context->ssl_context);
    free(context);
}

/* --- Connections --------------------------------------------------------------------------------------------------- */

SQ_DEFINE_FREEP(struct net_tls, net_tls_free)

static bool is_numeric(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    return inet_pton(AF_INET, host, &v4) == 1 || inet_pton(AF_INET6, host, &v6) == 1;
}

/* Tells OpenSSL whom we mean, and what to look for in the certificate. False: no memory. */
static bool set_host(struct net_tls *tls)
{
    const struct net_openssl *openssl = tls->openssl;
    bool is_address = is_numeric(tls->host);
    /* SSL_set_tlsext_host_name(), a macro. RFC 6066, section 3: addresses are not sent. Its parameter is not const. */
    char name[HOST_MAX];
    memcpy(name, tls->host, sizeof(name));
    if (!is_address && openssl->SSL_ctrl(tls->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name) != 1)
        return false;
    if (tls->check != NET_TLS_CHECK_HOST)
        return true;
    X509_VERIFY_PARAM *param = openssl->SSL_get0_param(tls->ssl);
    openssl->X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return is_address ? openssl->X509_VERIFY_PARAM_set1_ip_asc(param, tls->host) == 1
                      : openssl->X509_VERIFY_PARAM_set1_host(param, tls->host, 0) == 1;
}

static bool set_bio(struct net_tls *tls)
{
    int result = pthread_once(&bio_once, make_bio_method);
    sq_assert(result == 0);
    BIO *bio = bio_method != NULL ? tls->openssl->BIO_new(bio_method) : NULL;
    if (bio == NULL)
        return false;
    tls->openssl->BIO_set_data(bio, tls);
    tls->openssl->BIO_set_init(bio, 1);
    tls->openssl->SSL_set_bio(tls->ssl, bio, bio);
    return true;
}

sq_status net_tls_new_client(struct net_tls_context *context, int fd, const char *host, struct sq_error *err,
                             struct net_tls **ret_tls)
{
    sq_assert(context != NULL && fd >= 0 && host != NULL && ret_tls != NULL);

    if (strlen(host) >= HOST_MAX)
        return sq_fail(err, SQ_INVALID, "the host's name is longer than %d bytes", HOST_MAX - 1);
    SQ_CLEANUP(net_tls_freep) struct net_tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return fail_memory(err);
    tls->openssl = context->openssl;
    tls->fd = fd;
    tls->check = context->check;
    memcpy(tls->host, host, strlen(host));
    tls->ssl = tls->openssl->SSL_new(context->ssl_context);
    if (tls->ssl == NULL || !set_bio(tls) || !set_host(tls)) {
        tls->openssl->ERR_clear_error();
        return fail_memory(err);
    }
    *ret_tls = SQ_STEAL(tls);
    return SQ_OK;
}

void net_tls_free(struct net_tls *tls)
{
    if (tls == NULL)
        return;
    tls->openssl->SSL_free(tls->ssl);
    free(tls);
}

sq_status net_tls_handshake(struct net_tls *tls, struct sq_error *err, short *ret_events)
{
    tls->openssl->ERR_clear_error();
    int result = tls->openssl->SSL_connect(tls->ssl);
    tls->is_established = result == 1;
    return result == 1 ? SQ_OK : fail_call(tls, result, "handshake", err, ret_events);
}

sq_status net_tls_read(struct net_tls *tls, void *to, size_t bytes, struct sq_error *err, size_t *ret_bytes,
                       short *ret_events)
{
    sq_assert(bytes > 0);
    tls->openssl->ERR_clear_error();
    int result = tls->openssl->SSL_read_ex(tls->ssl, to, bytes, ret_bytes);
    return result == 1 ? SQ_OK : fail_call(tls, result, "reading", err, ret_events);
}

sq_status net_tls_write(struct net_tls *tls, const void *from, size_t bytes, struct sq_error *err, size_t *ret_bytes,
                        short *ret_events)
{
    sq_assert(bytes > 0);
    tls->openssl->ERR_clear_error();
    int result = tls->openssl->SSL_write_ex(tls->ssl, from, bytes, ret_bytes);
    return result == 1 ? SQ_OK : fail_call(tls, result, "writing", err, ret_events);
}

void net_tls_close(struct net_tls *tls)
{
    if (tls->is_broken)
        return;
    tls->openssl->ERR_clear_error();
    (void)tls->openssl->SSL_shutdown(tls->ssl);
    tls->openssl->ERR_clear_error();
}

bool net_tls_end_point(struct net_tls *tls, struct net_tls_end_point *ret_end_point)
{
    const struct net_openssl *openssl = tls->openssl;
    X509 *certificate = openssl->SSL_get1_peer_certificate(tls->ssl);
    if (certificate == NULL)
        return false;
    int hash_nid = NID_undef;
    struct net_tls_end_point point = {.length = 0};
    if (openssl->X509_get_signature_info(certificate, &hash_nid, NULL, NULL, NULL) == 1 && hash_nid != NID_undef) {
        /* Of the weak ones SHA-256 takes the place. */
        bool is_weak = hash_nid == NID_md5 || hash_nid == NID_sha1;
        const EVP_MD *hash =
            is_weak ? openssl->EVP_sha256() : openssl->EVP_get_digestbyname(openssl->OBJ_nid2sn(hash_nid));
        unsigned length = 0;
        if (hash != NULL && openssl->X509_digest(certificate, hash, point.hash, &length) == 1)
            point.length = length;
    }
    openssl->X509_free(certificate);
    openssl->ERR_clear_error();
    if (point.length == 0)
        return false;
    sq_assert(point.length <= NET_TLS_END_POINT_BYTES_MAX);
    *ret_end_point = point;
    return true;
}
