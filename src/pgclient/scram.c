/* pgclient/scram.c: SCRAM-SHA-256. Grammar: RFC 5802, section 7; the computation: section 3.
 *
 *   client-first   gs2-header "n=" user ",r=" nonce                    the part behind the header is "bare"
 *   server-first   "r=" nonce more ",s=" base64(salt) ",i=" iterations
 *   client-final   "c=" base64(gs2-header binding) ",r=" nonce more ",p=" base64(proof)
 *   server-final   "v=" base64(signature)  or  "e=" error
 *
 *   SaltedPassword  = PBKDF2(password, salt, iterations)       AuthMessage = bare "," server-first "," client-final
 *   ClientKey       = HMAC(SaltedPassword, "Client Key")                     without ",p=…"
 *   proof           = ClientKey XOR HMAC(SHA256(ClientKey), AuthMessage)
 *   signature       = HMAC(HMAC(SaltedPassword, "Server Key"), AuthMessage)
 *
 * Invariants: (1) a server that does not repeat our nonce is refused; (2) signatures are compared in constant time;
 * (3) everything derived from the password is wiped. */
#include "pgclient/scram.h"

#include <limits.h>
#include <string.h>

#include "base/random.h"
#include "net/tls_openssl.h"

enum { SALT_BYTES_MAX = 1024 };

/* --- Base64 (RFC 4648, section 4) ---------------------------------------------------------------------------------- */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64_put(struct sq_buf *out, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i += 3) {
        size_t have = length - i < 3 ? length - i : 3;
        uint32_t group = (uint32_t)bytes[i] << 16;
        if (have > 1)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (have > 2)
            group |= bytes[i + 2];
        char digits[4] = {'=', '=', '=', '='};
        for (size_t digit = 0; digit < have + 1; digit++)
            digits[digit] = base64_digits[group >> (18 - 6 * digit) & 63];
        sq_buf_put(out, digits, sizeof(digits));
    }
}

/* The number of bytes, or -1: it is not base64, or too long. */
static int base64_get(const char *text, size_t length, uint8_t *to, size_t to_bytes)
{
    if (length % 4 != 0 || length / 4 * 3 > to_bytes + 2)
        return -1;
    size_t count = 0;
    for (size_t i = 0; i < length; i += 4) {
        size_t padding = 0;
        uint32_t group = 0;
        for (size_t digit = 0; digit < 4; digit++) {
            char c = text[i + digit];
            const char *found = c != '\0' && c != '=' ? strchr(base64_digits, c) : NULL;
            if (found == NULL && (c != '=' || digit < 2 || i + 4 != length))
                return -1;
            if (found != NULL && padding > 0)
                return -1;
            padding += found == NULL;
            group = group << 6 | (found != NULL ? (uint32_t)(found - base64_digits) : 0);
        }
        for (size_t byte = 0; byte < 3 - padding; byte++) {
            if (count == to_bytes)
                return -1;
            to[count++] = (uint8_t)(group >> (16 - 8 * byte));
        }
    }
    return (int)count;
}

/* --- Attributes ---------------------------------------------------------------------------------------------------- */

/* A message of the server, being read. */
struct reader {
    const char *at;
    size_t left;
};

/* The value of the next attribute, which has to be `name`. False: it is another one. */
static bool attribute_take(struct reader *reader, char name, const char **ret_value, size_t *ret_length)
{
    if (reader->left < 2 || reader->at[0] != name || reader->at[1] != '=')
        return false;
    const char *value = reader->at + 2;
    size_t length = reader->left - 2;
    const char *comma = memchr(value, ',', length);
    size_t value_length = comma != NULL ? (size_t)(comma - value) : length;
    size_t used = 2 + value_length + (comma != NULL ? 1 : 0);
    reader->at += used;
    reader->left -= used;
    *ret_value = value;
    *ret_length = value_length;
    return true;
}

static bool iterations_parse(const char *text, size_t length, int *ret_iterations)
{
    int number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || number > INT_MAX / 10 - 1)
            return false;
        number = number * 10 + (text[i] - '0');
    }
    *ret_iterations = number;
    return number >= 1;
}

/* --- First message ------------------------------------------------------------------------------------------------- */

static const char *gs2_header(enum pgclient_scram_binding binding)
{
    switch (binding) {
    case PGCLIENT_SCRAM_UNABLE:
        return "n,,";
    case PGCLIENT_SCRAM_ABLE:
        return "y,,";
    case PGCLIENT_SCRAM_BOUND:
        return "p=tls-server-end-point,,";
    }
    sq_assert(false);
}

sq_status pgclient_scram_begin(struct pgclient_scram *scram, const char *user, const char *password, const char *nonce,
                               enum pgclient_scram_binding binding, const struct net_tls_end_point *end_point,
                               struct sq_error *err)
{
    sq_assert(user != NULL && password != NULL);
    sq_assert((binding == PGCLIENT_SCRAM_BOUND) == (end_point != NULL));

    *scram = (struct pgclient_scram){.password = password, .binding = binding};
    if (end_point != NULL)
        scram->end_point = *end_point;
    sq_buf_init(&scram->first_bare, PGCLIENT_SCRAM_MESSAGE_MAX);
    sq_buf_init(&scram->message, 2 * PGCLIENT_SCRAM_MESSAGE_MAX);
    sq_buf_printf(&scram->first_bare, "n=%s,r=", user);
    scram->nonce_offset = sq_buf_length(&scram->first_bare);
    if (nonce != NULL) {
        sq_buf_put_text(&scram->first_bare, nonce);
    } else {
        uint8_t random[PGCLIENT_SCRAM_NONCE_BYTES];
        sq_random_fill(random, sizeof(random));
        base64_put(&scram->first_bare, random, sizeof(random));
    }
    SQ_TRY(sq_buf_check(&scram->first_bare, err));
    sq_buf_put_text(&scram->message, gs2_header(binding));
    sq_buf_put(&scram->message, sq_buf_bytes(&scram->first_bare), sq_buf_length(&scram->first_bare));
    return sq_buf_check(&scram->message, err);
}

/* --- Final message ------------------------------------------------------------------------------------------------- */

/* What the server's first message says. */
struct server_first {
    const char *nonce; /* ours and the server's */
    size_t nonce_length;
    uint8_t salt[SALT_BYTES_MAX];
    int salt_bytes;
    int iterations;
};

static sq_status server_first_parse(const struct pgclient_scram *scram, const uint8_t *bytes, size_t length,
                                    struct sq_error *err, struct server_first *first)
{
    struct reader reader = {(const char *)bytes, length};
    const char *salt, *iterations;
    size_t salt_length, iterations_length;
    if (!attribute_take(&reader, 'r', &first->nonce, &first->nonce_length) ||
        !attribute_take(&reader, 's', &salt, &salt_length) ||
        !attribute_take(&reader, 'i', &iterations, &iterations_length))
        return sq_fail(err, SQ_PROTOCOL, "SCRAM: the server's first message makes no sense");
    size_t ours_length = sq_buf_length(&scram->first_bare) - scram->nonce_offset;
    const uint8_t *ours = sq_buf_bytes(&scram->first_bare) + scram->nonce_offset;
    if (first->nonce_length <= ours_length || memcmp(first->nonce, ours, ours_length) != 0)
        return sq_fail(err, SQ_PROTOCOL, "SCRAM: the server's nonce does not go on from ours");
    first->salt_bytes = base64_get(salt, salt_length, first->salt, sizeof(first->salt));
    if (first->salt_bytes <= 0)
        return sq_fail(err, SQ_PROTOCOL, "SCRAM: the server's salt makes no sense");
    if (!iterations_parse(iterations, iterations_length, &first->iterations))
        return sq_fail(err, SQ_PROTOCOL, "SCRAM: the server's iteration count makes no sense");
    if (first->iterations > PGCLIENT_SCRAM_ITERATIONS_MAX)
        return sq_fail(err, SQ_LIMIT, "SCRAM: the server wants %d iterations; at most %d are done", first->iterations,
                       PGCLIENT_SCRAM_ITERATIONS_MAX);
    return SQ_OK;
}

/* The first part of client-final, into scram->message. */
static void put_without_proof(struct pgclient_scram *scram, const struct server_first *first)
{
    struct sq_buf *message = &scram->message;
    struct sq_buf binding;
    sq_buf_init(&binding, PGCLIENT_SCRAM_MESSAGE_MAX);
    sq_buf_put_text(&binding, gs2_header(scram->binding));
    sq_buf_put(&binding, scram->end_point.hash, scram->end_point.length);
    sq_buf_put_text(message, "c=");
    base64_put(message, sq_buf_bytes(&binding), sq_buf_length(&binding));
    message->is_failed = message->is_failed || binding.is_failed;
    sq_buf_done(&binding);
    sq_buf_put_text(message, ",r=");
    sq_buf_put(message, first->nonce, first->nonce_length);
}

struct keys {
    uint8_t salted[PGCLIENT_SCRAM_HASH_BYTES];
    uint8_t client[PGCLIENT_SCRAM_HASH_BYTES];
    uint8_t stored[PGCLIENT_SCRAM_HASH_BYTES];
    uint8_t server[PGCLIENT_SCRAM_HASH_BYTES];
    uint8_t client_signature[PGCLIENT_SCRAM_HASH_BYTES];
};

static bool hmac(const struct net_openssl *openssl, const uint8_t key[PGCLIENT_SCRAM_HASH_BYTES], const void *data,
                 size_t length, uint8_t to[PGCLIENT_SCRAM_HASH_BYTES])
{
    unsigned to_bytes = 0;
    return openssl->HMAC(openssl->EVP_sha256(), key, PGCLIENT_SCRAM_HASH_BYTES, data, length, to, &to_bytes) != NULL &&
           to_bytes == PGCLIENT_SCRAM_HASH_BYTES;
}

/* `auth` is AuthMessage. Sets keys->client_signature, keys->client and scram->server_signature. */
static bool compute(struct pgclient_scram *scram, const struct net_openssl *openssl, const struct server_first *first,
                    const struct sq_buf *auth, struct keys *keys)
{
    size_t password_length = strlen(scram->password);
    const uint8_t *message = sq_buf_bytes(auth);
    size_t length = sq_buf_length(auth);
    return password_length <= INT_MAX &&
           openssl->PKCS5_PBKDF2_HMAC(scram->password, (int)password_length, first->salt, first->salt_bytes,
                                      first->iterations, openssl->EVP_sha256(), sizeof(keys->salted),
                                      keys->salted) == 1 &&
           hmac(openssl, keys->salted, "Client Key", strlen("Client Key"), keys->client) &&
           openssl->EVP_Digest(keys->client, sizeof(keys->client), keys->stored, NULL, openssl->EVP_sha256(), NULL) ==
               1 &&
           hmac(openssl, keys->stored, message, length, keys->client_signature) &&
           hmac(openssl, keys->salted, "Server Key", strlen("Server Key"), keys->server) &&
           hmac(openssl, keys->server, message, length, scram->server_signature);
}

static sq_status put_proof(struct pgclient_scram *scram, const struct server_first *first, const struct sq_buf *auth,
                           struct sq_error *err)
{
    const struct net_openssl *openssl = NULL;
    SQ_TRY(net_openssl_load(err, &openssl));
    struct keys keys;
    bool is_computed = compute(scram, openssl, first, auth, &keys);
    if (is_computed) {
        for (size_t i = 0; i < sizeof(keys.client); i++)
            keys.client[i] ^= keys.client_signature[i];
        sq_buf_put_text(&scram->message, ",p=");
        base64_put(&scram->message, keys.client, sizeof(keys.client));
    }
    explicit_bzero(&keys, sizeof(keys));
    openssl->ERR_clear_error();
    if (!is_computed)
        return sq_fail(err, SQ_INVALID, "SCRAM: OpenSSL refuses to compute SHA-256");
    scram->is_ready = true;
    return SQ_OK;
}

sq_status pgclient_scram_continue(struct pgclient_scram *scram, const uint8_t *server_first, size_t length,
                                  struct sq_error *err)
{
    sq_assert(!scram->is_ready);
    if (length > PGCLIENT_SCRAM_MESSAGE_MAX)
        return sq_fail(err, SQ_PROTOCOL, "SCRAM: the server's first message has %zu bytes", length);
    struct server_first first;
    SQ_TRY(server_first_parse(scram, server_first, length, err, &first));
    sq_buf_truncate(&scram->message, 0);
    put_without_proof(scram, &first);

    SQ_CLEANUP(sq_buf_done) struct sq_buf auth;
    sq_buf_init(&auth, 4 * PGCLIENT_SCRAM_MESSAGE_MAX);
    sq_buf_put(&auth, sq_buf_bytes(&scram->first_bare), sq_buf_length(&scram->first_bare));
    sq_buf_put_u8(&auth, ',');
    sq_buf_put(&auth, server_first, length);
    sq_buf_put_u8(&auth, ',');
    sq_buf_put(&auth, sq_buf_bytes(&scram->message), sq_buf_length(&scram->message));
    SQ_TRY(sq_buf_check(&auth, err));
    SQ_TRY(sq_buf_check(&scram->message, err));
    SQ_TRY(put_proof(scram, &first, &auth, err));
    return sq_buf_check(&scram->message, err);
}

/* --- The server's proof -------------------------------------------------------------------------------------------- */

static bool is_same_secret(const uint8_t *a, const uint8_t *b, size_t length)
{
    uint8_t difference = 0;
    for (size_t i = 0; i < length; i++)
        difference |= (uint8_t)(a[i] ^ b[i]);
    return difference == 0;
}

sq_status pgclient_scram_finish(struct pgclient_scram *scram, const uint8_t *server_final, size_t length,
                                struct sq_error *err)
{
    if (!scram->is_ready)
        return sq_fail(err, SQ_PROTOCOL, "SCRAM: the server's final message came too early");
    struct reader reader = {(const char *)server_final, length};
    const char *value;
    size_t value_length;
    if (attribute_take(&reader, 'e', &value, &value_length))
        return sq_fail_sql(err, SQ_INVALID, "28P01", "SCRAM: the server says '%.*s'",
                           (int)(value_length < 100 ? value_length : 100), value);
    /* One byte more than it may have, so that a longer one is seen. */
    uint8_t signature[PGCLIENT_SCRAM_HASH_BYTES + 1];
    if (!attribute_take(&reader, 'v', &value, &value_length) ||
        base64_get(value, value_length, signature, sizeof(signature)) != PGCLIENT_SCRAM_HASH_BYTES)
        return sq_fail(err, SQ_PROTOCOL, "SCRAM: the server's final message makes no sense");
    if (!is_same_secret(signature, scram->server_signature, PGCLIENT_SCRAM_HASH_BYTES))
        return sq_fail_sql(err, SQ_INVALID, "28000",
                           "SCRAM: the server does not know the password: it is not who it "
                           "claims to be");
    return SQ_OK;
}

void pgclient_scram_done(struct pgclient_scram *scram)
{
    sq_buf_done(&scram->first_bare);
    sq_buf_done(&scram->message);
    explicit_bzero(scram, sizeof(*scram));
}
