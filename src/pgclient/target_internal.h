/* pgclient/target_internal.h: what a URL and the environment say, as the rest of the room reads it. Never changes once it
 * is parsed, so that any thread may read it. */
#ifndef SQ_PGCLIENT_TARGET_INTERNAL_H
#define SQ_PGCLIENT_TARGET_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pgclient/pgclient.h"

/* Hosts in one URL. */
enum { PGCLIENT_HOSTS_MAX = 64 };

/* A value of a target. Their names, variables and defaults are a table in target.c. */
enum pgclient_option {
    PGCLIENT_HOST,
    PGCLIENT_HOSTADDR,
    PGCLIENT_PORT,
    PGCLIENT_USER,
    PGCLIENT_PASSWORD,
    PGCLIENT_DATABASE,
    PGCLIENT_PASSFILE,
    PGCLIENT_CONNECT_TIMEOUT,
    PGCLIENT_READ_TIMEOUT,
    PGCLIENT_SSLROOTCERT,
    PGCLIENT_SSLMODE, /* behind sslrootcert, of which its default depends */
    PGCLIENT_SSLCERT,
    PGCLIENT_SSLKEY,
    PGCLIENT_APPLICATION_NAME,
    PGCLIENT_SESSION_ATTRS,
    PGCLIENT_KEEPALIVES,
    PGCLIENT_KEEPALIVES_IDLE,
    PGCLIENT_KEEPALIVES_INTERVAL,
    PGCLIENT_KEEPALIVES_COUNT,
    PGCLIENT_TCP_USER_TIMEOUT,
    PGCLIENT_CLIENT_ENCODING,
    PGCLIENT_OPTIONS,
    PGCLIENT_OPTION_COUNT,
};

/* In the order of what they demand. */
enum pgclient_sslmode {
    PGCLIENT_SSL_DISABLE,
    PGCLIENT_SSL_ALLOW,
    PGCLIENT_SSL_PREFER,
    PGCLIENT_SSL_REQUIRE,
    PGCLIENT_SSL_VERIFY_CA,
    PGCLIENT_SSL_VERIFY_FULL,
};

enum pgclient_session_attrs {
    PGCLIENT_ANY,
    PGCLIENT_READ_WRITE,
    PGCLIENT_READ_ONLY,
    PGCLIENT_PRIMARY,
    PGCLIENT_STANDBY,
    PGCLIENT_PREFER_STANDBY,
};

struct pgclient_host {
    char *name;    /* a name, an address or a directory; what certificates and the password file are asked for */
    char *address; /* NULL, or where to connect to instead */
    uint16_t port;
};

struct pgclient_target {
    char *values[PGCLIENT_OPTION_COUNT]; /* NULL: neither given nor defaulted; never "" */
    struct pgclient_host *hosts;
    size_t host_count;
    char *label;
    enum pgclient_sslmode sslmode;
    enum pgclient_session_attrs session_attrs;
    int64_t connect_timeout_us; /* 0: none, as below */
    int64_t read_timeout_us;
    bool has_keepalives;
    int keepalives_idle_s; /* 0: the system's */
    int keepalives_interval_s;
    int keepalives_count;
    unsigned tcp_user_timeout_ms;
};

static inline bool pgclient_host_is_unix(const struct pgclient_host *host)
{
    return host->address == NULL && host->name[0] == '/';
}

/* The home directory of whoever runs this, as libpq finds it: HOME, then the system's list of users. OK: *ret_home is to be
 * freed with free(); NULL: there is none. SQ_NOMEM. */
SQ_MUST_USE sq_status pgclient_home(struct sq_error *err, char **ret_home);

/* Frees a text that may hold a secret. NULL is allowed. */
void pgclient_secret_free(char *secret);

#endif
