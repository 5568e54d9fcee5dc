/* pgclient/target.c: URLs of servers, as libpq reads them (PostgreSQL manual, "Connection URIs", "Parameter Key Words",
 * "Environment Variables").
 *
 *   URL ──► values ◄── environment ◄── defaults          a text for each option
 *              │
 *              └──► hosts, numbers, modes                 checked, here and nowhere else
 *
 * A value that is empty counts as not given. Hosts and ports are lists with ',' between, whether they come from the
 * URL's authority or from its parameters.
 *
 * Where this departs from libpq: without a host it is localhost, where sqld listens, not a socket's directory;
 * connect_timeout is 30 seconds unless given; an unknown parameter's error lists those that there are.
 *
 * Invariants: (1) no error text holds a password: URLs are never quoted whole; (2) every text is its own allocation and
 * wiped when it is freed. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "pgclient/target_internal.h"

enum { TARGET_URL_MAX = 64 * 1024, TARGET_PASSWD_BYTES_MAX = 64 * 1024, TARGET_SECONDS_MAX = 1000000000 };

struct option_info {
    const char *name;
    const char *variable; /* of the environment, or NULL */
    const char *preset;   /* or NULL */
};

static const struct option_info options[PGCLIENT_OPTION_COUNT] = {
    [PGCLIENT_HOST] = {"host", "PGHOST", NULL},
    [PGCLIENT_HOSTADDR] = {"hostaddr", "PGHOSTADDR", NULL},
    [PGCLIENT_PORT] = {"port", "PGPORT", "5432"},
    [PGCLIENT_USER] = {"user", "PGUSER", NULL},
    [PGCLIENT_PASSWORD] = {"password", "PGPASSWORD", NULL},
    [PGCLIENT_DATABASE] = {"dbname", NULL, NULL},
    [PGCLIENT_PASSFILE] = {"passfile", "PGPASSFILE", NULL},
    [PGCLIENT_CONNECT_TIMEOUT] = {"connect_timeout", "PGCONNECT_TIMEOUT", "30"},
    [PGCLIENT_READ_TIMEOUT] = {"read_timeout", NULL, "0"},
    [PGCLIENT_SSLMODE] = {"sslmode", "PGSSLMODE", "prefer"},
    [PGCLIENT_SSLROOTCERT] = {"sslrootcert", "PGSSLROOTCERT", NULL},
    [PGCLIENT_SSLCERT] = {"sslcert", "PGSSLCERT", NULL},
    [PGCLIENT_SSLKEY] = {"sslkey", "PGSSLKEY", NULL},
    [PGCLIENT_APPLICATION_NAME] = {"application_name", "PGAPPNAME", NULL},
    [PGCLIENT_SESSION_ATTRS] = {"target_session_attrs", "PGTARGETSESSIONATTRS", "any"},
    [PGCLIENT_KEEPALIVES] = {"keepalives", NULL, "1"},
    [PGCLIENT_KEEPALIVES_IDLE] = {"keepalives_idle", NULL, "0"},
    [PGCLIENT_KEEPALIVES_INTERVAL] = {"keepalives_interval", NULL, "0"},
    [PGCLIENT_KEEPALIVES_COUNT] = {"keepalives_count", NULL, "0"},
    [PGCLIENT_TCP_USER_TIMEOUT] = {"tcp_user_timeout", NULL, "0"},
    [PGCLIENT_CLIENT_ENCODING] = {"client_encoding", NULL, "UTF8"},
    [PGCLIENT_OPTIONS] = {"options", "PGOPTIONS", NULL},
};

/* Other ways to say it. */
static const struct alias {
    const char *name;
    const char *value;
    enum pgclient_option option;
    const char *meaning;
} aliases[] = {
    {"ssl", "true", PGCLIENT_SSLMODE, "require"}, /* JDBC's, which libpq knows too */
    {"target", "replica", PGCLIENT_SESSION_ATTRS, "prefer-standby"},
    {"target", "primary", PGCLIENT_SESSION_ATTRS, "primary"},
};

static const char *const schemes[] = {"postgresql://", "postgres://", "sqld://"};
static const char *const sslmodes[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};
static const char *const session_attrs[] = {"any", "read-write", "read-only", "primary", "standby", "prefer-standby"};
enum { SCHEME_COUNT = 3, SSLMODE_COUNT = 6, SESSION_ATTRS_COUNT = 6 };

static sq_status fail_memory(struct sq_error *err)
{
    return sq_fail(err, SQ_NOMEM, "out of memory for a server's URL");
}

void pgclient_secret_free(char *secret)
{
    if (secret == NULL)
        return;
    explicit_bzero(secret, strlen(secret));
    free(secret);
}

/* --- Texts of the URL ---------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Appends `length` bytes of the URL, percent-decoded. `what` names them in errors: they may be a password. */
static sq_status decode(const char *from, size_t length, const char *what, struct sq_error *err, struct sq_buf *out)
{
    for (size_t i = 0; i < length; i++) {
        if (from[i] != '%') {
            sq_buf_put_u8(out, (uint8_t)from[i]);
            continue;
        }
        int high = length - i > 2 ? hex_digit(from[i + 1]) : -1;
        int low = length - i > 2 ? hex_digit(from[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0) {
            sq_status status = sq_fail(err, SQ_INVALID,
                                       "the server's URL: in %s, '%%' is not followed by the two "
                                       "hexadecimal digits of a character",
                                       what);
            sq_error_set_hint(err, "Write %%25 for a percent sign.");
            return status;
        }
        sq_buf_put_u8(out, (uint8_t)(high * 16 + low));
        i += 2;
    }
    return SQ_OK;
}

static void buf_wipe(struct sq_buf *buf)
{
    if (buf->data != NULL)
        explicit_bzero(buf->data, buf->cap);
    sq_buf_done(buf);
}

/* strndup() for bytes behind which nothing is: strict checkers want a NUL for that. */
static char *text_copy(const struct sq_buf *text)
{
    size_t length = sq_buf_length(text);
    char *copy = malloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, sq_buf_bytes(text), length);
        copy[length] = '\0';
    }
    return copy;
}

/* Takes what `text` holds as the option's value; an empty one is none. */
static sq_status value_take(struct pgclient_target *target, enum pgclient_option option, const struct sq_buf *text,
                            struct sq_error *err)
{
    if (text->is_failed)
        return fail_memory(err);
    size_t length = sq_buf_length(text);
    char *value = NULL;
    if (length > 0 && (value = text_copy(text)) == NULL)
        return fail_memory(err);
    pgclient_secret_free(target->values[option]);
    target->values[option] = value;
    return SQ_OK;
}

static sq_status value_decode(struct pgclient_target *target, enum pgclient_option option, const char *from,
                              size_t length, struct sq_error *err)
{
    struct sq_buf text;
    sq_buf_init(&text, TARGET_URL_MAX);
    /* So that the buffer never moves, and leaves no copy of a password behind. */
    sq_status status = sq_buf_reserve(&text, length + 1) ? SQ_OK : fail_memory(err);
    char what[64];
    (void)snprintf(what, sizeof(what), "the value of '%s'", options[option].name);
    if (status == SQ_OK)
        status = decode(from, length, what, err, &text);
    if (status == SQ_OK)
        status = value_take(target, option, &text, err);
    buf_wipe(&text);
    return status;
}

/* Up to the first of `ends`, or the end of the URL. */
static size_t span(const char *at, const char *ends)
{
    return strcspn(at, ends);
}

/* [user[:password]@] */
static sq_status parse_login(struct pgclient_target *target, const char **at, struct sq_error *err)
{
    size_t length = span(*at, "@/?");
    if ((*at)[length] != '@')
        return SQ_OK;
    size_t user_length = span(*at, ":@");
    SQ_TRY(value_decode(target, PGCLIENT_USER, *at, user_length, err));
    if (user_length < length)
        SQ_TRY(value_decode(target, PGCLIENT_PASSWORD, *at + user_length + 1, length - user_length - 1, err));
    *at += length + 1;
    return SQ_OK;
}

/* host or [IPv6], then [:port] */
static sq_status parse_host(const char **at, struct sq_buf *hosts, struct sq_buf *ports, struct sq_error *err)
{
    size_t length;
    if (**at == '[') {
        (*at)++;
        length = span(*at, "]/?,");
        if ((*at)[length] != ']')
            return sq_fail(err, SQ_INVALID, "the server's URL: an IPv6 address has no ']' behind it");
        if (length == 0)
            return sq_fail(err, SQ_INVALID, "the server's URL: there is no address in '[]'");
        SQ_TRY(decode(*at, length, "the host", err, hosts));
        *at += length + 1;
        if (**at != '\0' && strchr(":/?,", **at) == NULL)
            return sq_fail(err, SQ_INVALID, "the server's URL: '%c' behind an address in brackets", **at);
    } else {
        length = span(*at, ":/?,");
        SQ_TRY(decode(*at, length, "the host", err, hosts));
        *at += length;
    }
    if (**at != ':')
        return SQ_OK;
    (*at)++;
    length = span(*at, "/?,");
    SQ_TRY(decode(*at, length, "the port", err, ports));
    *at += length;
    return SQ_OK;
}

/* [host[:port][,…]] */
static sq_status parse_hosts(struct pgclient_target *target, const char **at, struct sq_error *err)
{
    SQ_CLEANUP(sq_buf_done) struct sq_buf hosts;
    SQ_CLEANUP(sq_buf_done) struct sq_buf ports;
    sq_buf_init(&hosts, TARGET_URL_MAX);
    sq_buf_init(&ports, TARGET_URL_MAX);
    for (;;) {
        SQ_TRY(parse_host(at, &hosts, &ports, err));
        if (**at != ',')
            break;
        sq_buf_put_u8(&hosts, ',');
        sq_buf_put_u8(&ports, ',');
        (*at)++;
    }
    SQ_TRY(value_take(target, PGCLIENT_HOST, &hosts, err));
    return value_take(target, PGCLIENT_PORT, &ports, err);
}

static sq_status fail_unknown(const char *name, struct sq_error *err)
{
    SQ_CLEANUP(sq_buf_done) struct sq_buf names;
    sq_buf_init(&names, TARGET_URL_MAX);
    for (size_t i = 0; i < PGCLIENT_OPTION_COUNT; i++)
        sq_buf_printf(&names, "%s%s", i > 0 ? ", " : "", options[i].name);
    sq_buf_put_u8(&names, 0);
    if (names.is_failed)
        return fail_memory(err);
    return sq_fail(err, SQ_INVALID, "the server's URL has an unknown parameter '%.64s'; there are: %s", name,
                   (const char *)sq_buf_bytes(&names));
}

/* One name=value of the query. */
static sq_status parse_parameter(struct pgclient_target *target, const char *from, size_t length, struct sq_error *err)
{
    const char *equals = memchr(from, '=', length);
    if (equals == NULL)
        return sq_fail(err, SQ_INVALID, "the server's URL: behind '?', write name=value, with '&' between two");
    SQ_CLEANUP(sq_buf_done) struct sq_buf name;
    sq_buf_init(&name, TARGET_URL_MAX);
    SQ_TRY(decode(from, (size_t)(equals - from), "a parameter's name", err, &name));
    sq_buf_put_u8(&name, 0);
    if (name.is_failed)
        return fail_memory(err);
    const char *text = (const char *)sq_buf_bytes(&name);
    const char *value = equals + 1;
    size_t value_length = length - (size_t)(value - from);
    for (size_t i = 0; i < PGCLIENT_OPTION_COUNT; i++) {
        if (strcmp(text, options[i].name) == 0)
            return value_decode(target, (enum pgclient_option)i, value, value_length, err);
    }
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        const struct alias *alias = &aliases[i];
        if (strcmp(text, alias->name) == 0 && value_length == strlen(alias->value) &&
            memcmp(value, alias->value, value_length) == 0)
            return value_decode(target, alias->option, alias->meaning, strlen(alias->meaning), err);
    }
    return fail_unknown(text, err);
}

/* [?name=value[&…]] */
static sq_status parse_query(struct pgclient_target *target, const char *at, struct sq_error *err)
{
    while (*at != '\0') {
        size_t length = span(at, "&");
        SQ_TRY(parse_parameter(target, at, length, err));
        at += length;
        if (*at == '&')
            at++;
    }
    return SQ_OK;
}

static sq_status parse_url(struct pgclient_target *target, const char *url, struct sq_error *err)
{
    if (strlen(url) >= TARGET_URL_MAX)
        return sq_fail(err, SQ_INVALID, "the server's URL is longer than %d bytes", TARGET_URL_MAX - 1);
    const char *at = NULL;
    for (size_t i = 0; i < SCHEME_COUNT && at == NULL; i++) {
        if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0)
            at = url + strlen(schemes[i]);
    }
    if (at == NULL) {
        sq_status status = sq_fail(err, SQ_INVALID,
                                   "the server's URL does not begin with postgresql://, postgres:// or "
                                   "sqld://");
        sq_error_set_hint(err, "Write postgresql://user@host:5432/database.");
        return status;
    }
    SQ_TRY(parse_login(target, &at, err));
    SQ_TRY(parse_hosts(target, &at, err));
    if (*at == '/') {
        at++;
        size_t length = span(at, "?");
        SQ_TRY(value_decode(target, PGCLIENT_DATABASE, at, length, err));
        at += length;
    }
    sq_assert(*at == '?' || *at == '\0');
    return *at == '?' ? parse_query(target, at + 1, err) : SQ_OK;
}

/* --- Environment and defaults -------------------------------------------------------------------------------------- */

/* This user's name or home directory from the system's list; *ret_value is to be freed, NULL: it is not there. */
static sq_status ask_system(bool is_home, struct sq_error *err, char **ret_value)
{
    char *text = malloc(TARGET_PASSWD_BYTES_MAX);
    if (text == NULL)
        return fail_memory(err);
    struct passwd entry;
    struct passwd *found = NULL;
    int result = getpwuid_r(geteuid(), &entry, text, TARGET_PASSWD_BYTES_MAX, &found);
    const char *value = "";
    if (result == 0 && found != NULL)
        value = is_home ? found->pw_dir : found->pw_name;
    char *copy = value[0] != '\0' ? strdup(value) : NULL;
    bool has_memory = result != ENOMEM && (copy != NULL || value[0] == '\0');
    free(text);
    if (!has_memory)
        return fail_memory(err);
    *ret_value = copy;
    return SQ_OK;
}

sq_status pgclient_home(struct sq_error *err, char **ret_home)
{
    const char *home = secure_getenv("HOME");
    if (home == NULL || home[0] == '\0')
        return ask_system(true, err, ret_home);
    char *copy = strdup(home);
    if (copy == NULL)
        return fail_memory(err);
    *ret_home = copy;
    return SQ_OK;
}

static sq_status preset_user(struct pgclient_target *target, struct sq_error *err)
{
    SQ_TRY(ask_system(false, err, &target->values[PGCLIENT_USER]));
    if (target->values[PGCLIENT_USER] != NULL)
        return SQ_OK;
    sq_status status = sq_fail(err, SQ_INVALID, "who connects to the server? The system knows no name for user %lu",
                               (unsigned long)geteuid());
    sq_error_set_hint(err, "Name the user in the URL: postgresql://user@host/database, or in PGUSER.");
    return status;
}

static bool has_system_roots(const struct pgclient_target *target)
{
    const char *roots = target->values[PGCLIENT_SSLROOTCERT];
    return roots != NULL && strcmp(roots, "system") == 0;
}

/* NULL: the option has no default. */
static const char *preset_of(const struct pgclient_target *target, enum pgclient_option option)
{
    if (option == PGCLIENT_SSLMODE && has_system_roots(target))
        return "verify-full";
    return options[option].preset;
}

static sq_status fill_missing(struct pgclient_target *target, struct sq_error *err)
{
    for (size_t i = 0; i < PGCLIENT_OPTION_COUNT; i++) {
        if (target->values[i] != NULL)
            continue;
        /* A set-uid program must not be led by its user's environment. */
        const char *value = options[i].variable != NULL ? secure_getenv(options[i].variable) : NULL;
        if (value == NULL || value[0] == '\0')
            value = preset_of(target, (enum pgclient_option)i);
        if (value != NULL && (target->values[i] = strdup(value)) == NULL)
            return fail_memory(err);
    }
    return target->values[PGCLIENT_USER] != NULL ? SQ_OK : preset_user(target, err);
}

/* --- From texts to hosts, numbers and modes ------------------------------------------------------------------------ */

/* Where a value came from is not known any more: the error names both places. */
static sq_status fail_value(const struct pgclient_target *target, enum pgclient_option option, const char *expected,
                            struct sq_error *err)
{
    const char *variable = options[option].variable;
    return sq_fail(err, SQ_INVALID, "the server's URL: %s '%.100s' is not %s%s%s%s", options[option].name,
                   target->values[option], expected, variable != NULL ? " (or " : "", variable != NULL ? variable : "",
                   variable != NULL ? " is not)" : "");
}

static bool number_parse(const char *text, size_t length, long max, long *ret_number)
{
    long number = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (text[i] - '0');
        if (number > max)
            return false;
    }
    *ret_number = number;
    return length > 0;
}

/* Seconds, or whatever the option is in. A negative one is taken for 0, as by libpq. */
static sq_status interpret_number(const struct pgclient_target *target, enum pgclient_option option, long max,
                                  struct sq_error *err, long *ret_number)
{
    const char *text = target->values[option];
    size_t sign_length = text[0] == '-' ? 1 : 0;
    long number;
    if (!number_parse(text + sign_length, strlen(text + sign_length), max, &number))
        return fail_value(target, option, "a whole number", err);
    *ret_number = sign_length > 0 ? 0 : number;
    return SQ_OK;
}

static sq_status interpret_name(const struct pgclient_target *target, enum pgclient_option option,
                                const char *const *names, size_t name_count, struct sq_error *err, size_t *ret_index)
{
    for (size_t i = 0; i < name_count; i++) {
        if (strcmp(target->values[option], names[i]) == 0) {
            *ret_index = i;
            return SQ_OK;
        }
    }
    char expected[128] = "one of";
    for (size_t i = 0; i < name_count; i++) {
        size_t used = strlen(expected);
        (void)snprintf(expected + used, sizeof(expected) - used, "%s%s", i > 0 ? ", " : " ", names[i]);
    }
    return fail_value(target, option, expected, err);
}

static sq_status interpret_numbers(struct pgclient_target *target, struct sq_error *err)
{
    long connect_s, read_s, keepalives, idle_s, interval_s, count, user_timeout_ms;
    SQ_TRY(interpret_number(target, PGCLIENT_CONNECT_TIMEOUT, TARGET_SECONDS_MAX, err, &connect_s));
    SQ_TRY(interpret_number(target, PGCLIENT_READ_TIMEOUT, TARGET_SECONDS_MAX, err, &read_s));
    SQ_TRY(interpret_number(target, PGCLIENT_KEEPALIVES, 1, err, &keepalives));
    SQ_TRY(interpret_number(target, PGCLIENT_KEEPALIVES_IDLE, INT16_MAX, err, &idle_s));
    SQ_TRY(interpret_number(target, PGCLIENT_KEEPALIVES_INTERVAL, INT16_MAX, err, &interval_s));
    SQ_TRY(interpret_number(target, PGCLIENT_KEEPALIVES_COUNT, INT8_MAX, err, &count));
    SQ_TRY(interpret_number(target, PGCLIENT_TCP_USER_TIMEOUT, INT32_MAX, err, &user_timeout_ms));
    target->connect_timeout_us = connect_s * SQ_US_PER_S;
    target->read_timeout_us = read_s * SQ_US_PER_S;
    target->has_keepalives = keepalives == 1;
    target->keepalives_idle_s = (int)idle_s;
    target->keepalives_interval_s = (int)interval_s;
    target->keepalives_count = (int)count;
    target->tcp_user_timeout_ms = (unsigned)user_timeout_ms;
    return SQ_OK;
}

static sq_status interpret_modes(struct pgclient_target *target, struct sq_error *err)
{
    size_t sslmode = 0;
    size_t attrs = 0;
    SQ_TRY(interpret_name(target, PGCLIENT_SSLMODE, sslmodes, SSLMODE_COUNT, err, &sslmode));
    SQ_TRY(interpret_name(target, PGCLIENT_SESSION_ATTRS, session_attrs, SESSION_ATTRS_COUNT, err, &attrs));
    target->sslmode = (enum pgclient_sslmode)sslmode;
    /* Anybody can have a certificate that one of the system's roots has signed, for a host of their own. */
    if (has_system_roots(target) && target->sslmode != PGCLIENT_SSL_VERIFY_FULL)
        return fail_value(target, PGCLIENT_SSLMODE, "verify-full, which sslrootcert=system demands", err);
    target->session_attrs = (enum pgclient_session_attrs)attrs;
    const char *encoding = target->values[PGCLIENT_CLIENT_ENCODING];
    if (strcasecmp(encoding, "UTF8") != 0 && strcasecmp(encoding, "UTF-8") != 0)
        return fail_value(target, PGCLIENT_CLIENT_ENCODING, "UTF8, the only encoding there is here", err);
    return SQ_OK;
}

static size_t list_count(const char *list)
{
    size_t count = 1;
    for (; *list != '\0'; list++)
        count += *list == ',';
    return count;
}

/* Element `index` of a list; the only one of a list of one. May be empty. */
static const char *list_item(const char *list, size_t index, size_t *ret_length)
{
    for (size_t i = list_count(list) > 1 ? index : 0; i > 0; i--)
        list += strcspn(list, ",") + 1;
    *ret_length = strcspn(list, ",");
    return list;
}

/* NULL: no memory. */
static char *list_copy(const char *list, size_t index, const char *preset)
{
    size_t length;
    const char *item = list_item(list, index, &length);
    return length > 0 ? strndup(item, length) : strdup(preset);
}

static sq_status interpret_host(struct pgclient_target *target, size_t index, struct sq_error *err)
{
    struct pgclient_host *host = &target->hosts[index];
    const char *names = target->values[PGCLIENT_HOST];
    const char *addresses = target->values[PGCLIENT_HOSTADDR];
    size_t length;
    const char *address = list_item(addresses != NULL ? addresses : "", index, &length);
    if (length > 0) {
        host->address = strndup(address, length);
        if (host->address == NULL)
            return fail_memory(err);
    }
    host->name = list_copy(names != NULL ? names : "", index, host->address != NULL ? host->address : "localhost");
    if (host->name == NULL)
        return fail_memory(err);
    const char *port = list_item(target->values[PGCLIENT_PORT], index, &length);
    long number = 5432;
    if (length > 0 && (!number_parse(port, length, UINT16_MAX, &number) || number == 0))
        return fail_value(target, PGCLIENT_PORT, "a number from 1 to 65535", err);
    host->port = (uint16_t)number;
    return SQ_OK;
}

static sq_status interpret_hosts(struct pgclient_target *target, struct sq_error *err)
{
    const char *names = target->values[PGCLIENT_HOST];
    const char *addresses = target->values[PGCLIENT_HOSTADDR];
    size_t port_count = list_count(target->values[PGCLIENT_PORT]);
    size_t count = addresses != NULL ? list_count(addresses) : list_count(names != NULL ? names : "");
    if (names != NULL && list_count(names) != count)
        return sq_fail(err, SQ_INVALID, "the server's URL has %zu hosts, but %zu addresses (hostaddr)",
                       list_count(names), count);
    if (port_count != 1 && port_count != count)
        return sq_fail(err, SQ_INVALID, "the server's URL has %zu ports for %zu hosts: give one for all, or one each",
                       port_count, count);
    if (count > PGCLIENT_HOSTS_MAX)
        return sq_fail(err, SQ_INVALID, "the server's URL has %zu hosts; at most %d are allowed", count,
                       PGCLIENT_HOSTS_MAX);
    target->hosts = calloc(count, sizeof(target->hosts[0]));
    if (target->hosts == NULL)
        return fail_memory(err);
    target->host_count = count;
    for (size_t i = 0; i < count; i++)
        SQ_TRY(interpret_host(target, i, err));
    return SQ_OK;
}

static sq_status make_label(struct pgclient_target *target, struct sq_error *err)
{
    SQ_CLEANUP(sq_buf_done) struct sq_buf text;
    sq_buf_init(&text, 2 * TARGET_URL_MAX);
    for (size_t i = 0; i < target->host_count; i++) {
        const struct pgclient_host *host = &target->hosts[i];
        bool has_brackets = host->name[0] != '/' && strchr(host->name, ':') != NULL;
        sq_buf_printf(&text, "%s%s%s%s:%u", i > 0 ? "," : "", has_brackets ? "[" : "", host->name,
                      has_brackets ? "]" : "", (unsigned)host->port);
    }
    sq_buf_put_u8(&text, 0);
    if (text.is_failed || (target->label = strdup((const char *)sq_buf_bytes(&text))) == NULL)
        return fail_memory(err);
    return SQ_OK;
}

/* --- Public -------------------------------------------------------------------------------------------------------- */

SQ_DEFINE_FREEP(struct pgclient_target, pgclient_target_free)

sq_status pgclient_target_parse(const char *url, struct sq_error *err, struct pgclient_target **ret_target)
{
    sq_assert(url != NULL && ret_target != NULL);

    SQ_CLEANUP(pgclient_target_freep) struct pgclient_target *target = calloc(1, sizeof(*target));
    if (target == NULL)
        return fail_memory(err);
    SQ_TRY(parse_url(target, url, err));
    SQ_TRY(fill_missing(target, err));
    SQ_TRY(interpret_numbers(target, err));
    SQ_TRY(interpret_modes(target, err));
    SQ_TRY(interpret_hosts(target, err));
    SQ_TRY(make_label(target, err));
    sq_assert(target->host_count > 0 && target->values[PGCLIENT_USER] != NULL);
    *ret_target = SQ_STEAL(target);
    return SQ_OK;
}

void pgclient_target_free(struct pgclient_target *target)
{
    if (target == NULL)
        return;
    for (size_t i = 0; i < PGCLIENT_OPTION_COUNT; i++)
        pgclient_secret_free(target->values[i]);
    for (size_t i = 0; i < target->host_count; i++) {
        free(target->hosts[i].name);
        free(target->hosts[i].address);
    }
    free(target->hosts);
    free(target->label);
    free(target);
}

const char *pgclient_target_database(const struct pgclient_target *target)
{
    return target->values[PGCLIENT_DATABASE];
}

const char *pgclient_target_user(const struct pgclient_target *target)
{
    return target->values[PGCLIENT_USER];
}

const char *pgclient_target_label(const struct pgclient_target *target)
{
    return target->label;
}

int64_t pgclient_target_connect_timeout_us(const struct pgclient_target *target)
{
    return target->connect_timeout_us;
}

int64_t pgclient_target_read_timeout_us(const struct pgclient_target *target)
{
    return target->read_timeout_us;
}

bool pgclient_target_is_same_server(const struct pgclient_target *a, const struct pgclient_target *b)
{
    /* A connection that is encrypted less than the other one wants is not its connection. */
    if (a->host_count != b->host_count || a->session_attrs != b->session_attrs || a->sslmode != b->sslmode ||
        strcmp(a->values[PGCLIENT_USER], b->values[PGCLIENT_USER]) != 0)
        return false;
    for (size_t i = 0; i < a->host_count; i++) {
        const struct pgclient_host *one = &a->hosts[i];
        const struct pgclient_host *other = &b->hosts[i];
        const char *one_place = one->address != NULL ? one->address : one->name;
        const char *other_place = other->address != NULL ? other->address : other->name;
        if (one->port != other->port || strcmp(one_place, other_place) != 0)
            return false;
    }
    return true;
}
