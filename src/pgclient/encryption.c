/* pgclient/encryption.c: SSLRequest, and which files and demands sslmode means (PostgreSQL manual, "SSL Support" of libpq).
 *
 *   sslmode        encrypted                    certificate
 *   disable        no
 *   allow          if the server insists        as prefer
 *   prefer         if the server offers it      checked only if there are roots
 *   require        yes                          checked only if there are roots
 *   verify-ca      yes                          signed by one of the roots
 *   verify-full    yes                          and made for this host
 *
 * Roots are sslrootcert, else ~/.postgresql/root.crt if that exists; our own certificate and key sslcert and sslkey, else
 * ~/.postgresql/postgresql.crt and .key if those exist. A file that was named and is not there is an error, where libpq
 * goes on without.
 *
 * Nothing is encrypted on Unix sockets, whatever sslmode says (as by libpq): nobody listens there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/tls.h"
#include "pgclient/client_internal.h"
#include "pgwire/frontend.h"

enum { KEY_MODE_OURS = 0077, KEY_MODE_ROOTS = 0027 }; /* bits that must not be there */

enum { FILE_MAX = 4096 };

/* The files of one connection; "" where there is none. */
struct files {
    char root[FILE_MAX];
    char certificate[FILE_MAX];
    char key[FILE_MAX];
};

static sq_status fail_file(const char *file, int failure, struct sq_error *err)
{
    (void)sq_fail_errno(err, failure, "cannot use the file '%.400s'", file);
    err->status = SQ_INVALID;
    return SQ_INVALID;
}

/* A file that was named, and has to be there. */
static sq_status take_named(const char *named, struct sq_error *err, char to[FILE_MAX])
{
    struct stat info;
    if (strlen(named) >= FILE_MAX)
        return sq_fail(err, SQ_INVALID, "a certificate's path is longer than %d bytes", FILE_MAX - 1);
    if (stat(named, &info) != 0)
        return fail_file(named, errno, err);
    (void)snprintf(to, FILE_MAX, "%s", named);
    return SQ_OK;
}

/* The option's file, else the one of that name in ~/.postgresql, if it exists. */
static sq_status find_file(const struct pgclient_target *target, enum pgclient_option option, const char *preset,
                           struct sq_error *err, char to[FILE_MAX])
{
    to[0] = '\0';
    const char *named = target->values[option];
    if (named != NULL && (option != PGCLIENT_SSLROOTCERT || strcmp(named, NET_TLS_SYSTEM_ROOTS) != 0))
        return take_named(named, err, to);
    if (named != NULL) {
        (void)snprintf(to, FILE_MAX, "%s", named);
        return SQ_OK;
    }
    char *home = NULL;
    SQ_TRY(pgclient_home(err, &home));
    if (home == NULL)
        return SQ_OK;
    struct stat info;
    int length = snprintf(to, FILE_MAX, "%s/.postgresql/%s", home, preset);
    free(home);
    bool is_missing =
        length < 0 || length >= FILE_MAX || (stat(to, &info) != 0 && (errno == ENOENT || errno == ENOTDIR));
    if (is_missing)
        to[0] = '\0';
    return SQ_OK;
}

/* Others must not be able to read it; a key that belongs to root may be read by a group of ours. */
static sq_status check_key(const char *key, struct sq_error *err)
{
    struct stat info;
    if (stat(key, &info) != 0)
        return fail_file(key, errno, err);
    if (!S_ISREG(info.st_mode))
        return sq_fail(err, SQ_INVALID, "the key '%.400s' is not a plain file", key);
    mode_t excess = info.st_mode & (info.st_uid == 0 && geteuid() != 0 ? KEY_MODE_ROOTS : KEY_MODE_OURS);
    if (excess == 0)
        return SQ_OK;
    sq_status status = sq_fail(err, SQ_INVALID, "the key '%.400s' can be read by others", key);
    sq_error_set_hint(err, "chmod 0600 it; a key of root's may be 0640.");
    return status;
}

static sq_status find_files(const struct pgclient_target *target, struct sq_error *err, struct files *files)
{
    SQ_TRY(find_file(target, PGCLIENT_SSLROOTCERT, "root.crt", err, files->root));
    SQ_TRY(find_file(target, PGCLIENT_SSLCERT, "postgresql.crt", err, files->certificate));
    SQ_TRY(find_file(target, PGCLIENT_SSLKEY, "postgresql.key", err, files->key));
    if (files->root[0] == '\0' && target->sslmode >= PGCLIENT_SSL_VERIFY_CA) {
        sq_status status = sq_fail(err, SQ_INVALID, "sslmode=%s needs root certificates, and there are none",
                                   target->values[PGCLIENT_SSLMODE]);
        sq_error_set_hint(err, "Name a file in sslrootcert, or 'system' for those of the system; or put them into "
                               "~/.postgresql/root.crt.");
        return status;
    }
    if (files->certificate[0] == '\0')
        return SQ_OK;
    if (files->key[0] == '\0')
        return sq_fail(err, SQ_INVALID, "there is no key (sslkey) for the certificate '%.400s'", files->certificate);
    return check_key(files->key, err);
}

static sq_status make_context(const struct pgclient_target *target, struct sq_error *err,
                              struct net_tls_context **ret_context)
{
    struct files files;
    SQ_TRY(find_files(target, err, &files));
    bool has_roots = files.root[0] != '\0';
    bool has_certificate = files.certificate[0] != '\0';
    struct net_tls_client_config config = {
        .check = has_roots ? NET_TLS_CHECK_ROOT : NET_TLS_CHECK_NOTHING,
        .root_file = has_roots ? files.root : NULL,
        .certificate_file = has_certificate ? files.certificate : NULL,
        .key_file = has_certificate ? files.key : NULL,
    };
    if (target->sslmode == PGCLIENT_SSL_VERIFY_FULL)
        config.check = NET_TLS_CHECK_HOST;
    sq_assert(target->sslmode < PGCLIENT_SSL_VERIFY_CA || config.check != NET_TLS_CHECK_NOTHING);
    return net_tls_context_new_client(&config, err, ret_context);
}

static sq_status shake_hands(struct pgclient *client, const struct pgclient_attempt *attempt, struct sq_error *err)
{
    for (;;) {
        short events;
        sq_status status = net_tls_handshake(client->tls, err, &events);
        if (status != SQ_BUSY)
            return status;
        SQ_TRY(pgclient_poll(client->fd, events, attempt->deadline_us, err));
    }
}

/* The server's answer to SSLRequest is one byte. Nothing behind it may be read as if it had been encrypted: bytes that
 * somebody has slipped in go to the handshake, which they break. */
static sq_status ask(struct pgclient *client, struct pgclient_attempt *attempt, struct sq_error *err)
{
    pgwire_put_ssl_request(&client->out);
    SQ_TRY(sq_buf_check(&client->out, err));
    SQ_TRY(pgclient_stream_flush(client, attempt->deadline_us, err));
    if (sq_buf_length(&client->in) > 0)
        return sq_fail(err, SQ_PROTOCOL, "the server spoke before it was asked");
    uint8_t answer;
    SQ_TRY(pgclient_stream_read_byte(client, attempt->deadline_us, err, &answer));
    if (answer == 'S') {
        attempt->is_offered = true;
        return SQ_OK;
    }
    if (answer == 'N' && attempt->target->sslmode < PGCLIENT_SSL_REQUIRE)
        return SQ_OK;
    if (answer == 'N')
        return sq_fail_sql(err, SQ_CLOSED, "08001", "the server does not offer TLS, and sslmode=%s demands it",
                           attempt->target->values[PGCLIENT_SSLMODE]);
    /* 'E' begins an error, which anybody on the way may have written: it is not shown. */
    return sq_fail(err, SQ_PROTOCOL, "the server answered the request for TLS with byte 0x%02x", answer);
}

sq_status pgclient_encrypt(struct pgclient *client, struct pgclient_attempt *attempt, struct sq_error *err)
{
    sq_assert(!attempt->is_unix && client->tls == NULL);
    SQ_TRY(ask(client, attempt, err));
    if (!attempt->is_offered)
        return SQ_OK;
    struct net_tls_context *context = NULL;
    sq_status status = make_context(attempt->target, err, &context);
    if (status == SQ_OK)
        status = net_tls_new_client(context, client->fd, attempt->host->name, err, &client->tls);
    net_tls_context_free(context);
    if (status != SQ_OK) {
        /* Files that cannot be used will not become better with another host; without OpenSSL there is plain text left. */
        attempt->is_final = status != SQ_NOT_FOUND || attempt->target->sslmode >= PGCLIENT_SSL_REQUIRE;
        return status;
    }
    SQ_TRY(shake_hands(client, attempt, err));
    attempt->is_established = true;
    return SQ_OK;
}
