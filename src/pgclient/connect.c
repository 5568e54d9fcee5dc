/* pgclient/connect.c: finds a server that answers: hosts in order, each one's addresses in order.
 *
 *   each host ──► each address ──► socket ──► start-up ──► session attributes ──► done
 *                     ▲  cannot connect, closed, silent │        │ not what is wanted
 *                     └─────────────────────────────────┴────────┘ next
 *
 * A server that answers with an error ends the search: another host would say the same (libpq does so too). Only one that
 * is starting up or shutting down (57P03) is passed over.
 *
 * Names are resolved by getaddrinfo(), which has time limits of its own (resolv.conf(5)); connect_timeout is for one
 * address, from the socket to ReadyForQuery. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "pgclient/client_internal.h"

struct address {
    struct sockaddr_storage place;
    socklen_t bytes;
};

/* --- One socket ---------------------------------------------------------------------------------------------------- */

/* Options that matter only for comfort: a kernel that refuses one has no better. */
static void set_comfort(int fd, const struct pgclient_target *target)
{
    if (!target->has_keepalives)
        return;
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (target->keepalives_idle_s > 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &target->keepalives_idle_s, sizeof(int));
    if (target->keepalives_interval_s > 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &target->keepalives_interval_s, sizeof(int));
    if (target->keepalives_count > 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &target->keepalives_count, sizeof(int));
}

static sq_status set_options(int fd, int family, const struct pgclient_target *target, struct sq_error *err)
{
    if (family == AF_UNIX)
        return SQ_OK;
    int on = 1;
    /* Requests are small, and each is waited for. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return sq_fail_errno(err, errno, "cannot set TCP_NODELAY");
    if (target->tcp_user_timeout_ms > 0 && setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &target->tcp_user_timeout_ms,
                                                      sizeof(target->tcp_user_timeout_ms)) != 0)
        return sq_fail_errno(err, errno, "cannot set tcp_user_timeout");
    set_comfort(fd, target);
    return SQ_OK;
}

static sq_status connect_wait(int fd, const struct address *address, int64_t deadline_us, struct sq_error *err)
{
    int failure = 0;
    if (connect(fd, (const struct sockaddr *)&address->place, address->bytes) != 0)
        failure = errno;
    if (failure == EINPROGRESS || failure == EINTR) {
        SQ_TRY(pgclient_poll(fd, POLLOUT, deadline_us, err));
        socklen_t failure_bytes = sizeof(failure);
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &failure_bytes) != 0)
            failure = errno;
    }
    if (failure == 0)
        return SQ_OK;
    /* A Unix socket's answer to a full queue. */
    if (failure == EAGAIN)
        return sq_fail(err, SQ_CLOSED, "the server accepts no more connections now");
    const char *text = strerrordesc_np(failure);
    sq_status status = sq_fail(err, SQ_CLOSED, "%s", text != NULL ? text : "unknown error");
    sq_error_set_hint(err, "Is a server running there, and is it reachable?");
    return status;
}

/* From here on each call says whether it may wait (stream.c). */
static sq_status set_blocking(int fd, struct sq_error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
        return sq_fail_errno(err, errno, "cannot set a socket's mode");
    return SQ_OK;
}

static sq_status open_socket(const struct address *address, const struct pgclient_attempt *attempt,
                             struct sq_error *err, int *ret_fd)
{
    int family = address->place.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot make a socket");
    sq_status status = set_options(fd, family, attempt->target, err);
    if (status == SQ_OK)
        status = connect_wait(fd, address, attempt->deadline_us, err);
    if (status == SQ_OK)
        status = set_blocking(fd, err);
    if (status != SQ_OK) {
        close(fd);
        return status;
    }
    *ret_fd = fd;
    return SQ_OK;
}

SQ_DEFINE_FREEP(struct pgclient, pgclient_free)

/* One socket, from connect() to ReadyForQuery. */
static sq_status try_socket(const struct address *address, struct pgclient_attempt *attempt, struct sq_error *err,
                            struct pgclient **ret_client)
{
    int64_t timeout_us = attempt->target->connect_timeout_us;
    attempt->deadline_us = timeout_us > 0 ? sq_clock_now_us() + timeout_us : 0;
    attempt->is_final = attempt->is_refused = false;
    attempt->is_offered = attempt->is_established = false;
    int fd = -1;
    SQ_TRY(open_socket(address, attempt, err, &fd));
    SQ_CLEANUP(pgclient_freep) struct pgclient *client = NULL;
    SQ_TRY(pgclient_new(fd, err, &client));
    client->peer = address->place;
    client->peer_bytes = address->bytes;
    client->send_timeout_us = attempt->target->read_timeout_us;
    sq_status status = attempt->has_tls ? pgclient_encrypt(client, attempt, err) : SQ_OK;
    if (status == SQ_OK)
        status = pgclient_start(client, attempt, err);
    if (status != SQ_OK)
        return pgclient_fail(client, status, err);
    *ret_client = SQ_STEAL(client);
    return SQ_OK;
}

/* Whether sslmode lets a failed attempt be made once more the other way, with or without encryption: a handshake that
 * failed, or a server that does not let this user in this way (28000: "no pg_hba.conf entry for …"). A wrong password is
 * wrong both ways. */
static bool may_retry(const struct pgclient_attempt *attempt, const struct sq_error *failure)
{
    bool is_refused = attempt->is_refused && strcmp(failure->sqlstate, "28000") == 0;
    if (attempt->target->sslmode == PGCLIENT_SSL_ALLOW)
        return is_refused;
    if (attempt->target->sslmode != PGCLIENT_SSL_PREFER || !attempt->is_offered)
        return false;
    return is_refused || (!attempt->is_established && !attempt->is_final);
}

static sq_status try_address(const struct address *address, struct pgclient_attempt *attempt, struct sq_error *err,
                             struct pgclient **ret_client)
{
    attempt->has_tls = !attempt->is_unix && attempt->target->sslmode >= PGCLIENT_SSL_PREFER;
    sq_status status = try_socket(address, attempt, err, ret_client);
    if (status == SQ_OK || attempt->is_unix || !may_retry(attempt, err))
        return status;
    char first[SQ_ERROR_EXTRA_MAX];
    (void)snprintf(first, sizeof(first), "%s encryption: %.200s", attempt->has_tls ? "With" : "Without", err->text);
    attempt->has_tls = !attempt->has_tls;
    status = try_socket(address, attempt, err, ret_client);
    if (status != SQ_OK && err->detail[0] == '\0')
        sq_error_set_detail(err, "%s", first);
    return status;
}

/* --- Addresses of one host ----------------------------------------------------------------------------------------- */

/* The socket that servers make in a directory: .s.PGSQL.PORT. */
static sq_status unix_address(const struct pgclient_host *host, struct sq_error *err, struct address *ret_address)
{
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    int length = snprintf(place.sun_path, sizeof(place.sun_path), "%s/.s.PGSQL.%u", host->name, (unsigned)host->port);
    if (length < 0 || (size_t)length >= sizeof(place.sun_path))
        return sq_fail(err, SQ_INVALID, "the socket's path is longer than %zu bytes", sizeof(place.sun_path) - 1);
    *ret_address = (struct address){.bytes = sizeof(place)};
    memcpy(&ret_address->place, &place, sizeof(place));
    return SQ_OK;
}

static sq_status resolve(const struct pgclient_host *host, struct sq_error *err, struct addrinfo **ret_list)
{
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", (unsigned)host->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    if (host->address != NULL)
        hints.ai_flags = AI_NUMERICHOST;
    int result = getaddrinfo(host->address != NULL ? host->address : host->name, service, &hints, ret_list);
    if (result == 0)
        return SQ_OK;
    if (result == EAI_MEMORY)
        return sq_fail(err, SQ_NOMEM, "out of memory for a host's addresses");
    return sq_fail(err, SQ_IO, "%s%s", host->address != NULL ? "'hostaddr': " : "",
                   result == EAI_SYSTEM ? strerrordesc_np(errno) : gai_strerror(result));
}

static bool is_loopback(const struct address *address)
{
    if (address->place.ss_family == AF_INET) {
        struct sockaddr_in inet;
        memcpy(&inet, &address->place, sizeof(inet));
        return (ntohl(inet.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
    }
    if (address->place.ss_family == AF_INET6) {
        struct sockaddr_in6 inet6;
        memcpy(&inet6, &address->place, sizeof(inet6));
        return IN6_IS_ADDR_LOOPBACK(&inet6.sin6_addr) != 0;
    }
    return false;
}

/* --- The search ---------------------------------------------------------------------------------------------------- */

enum outcome {
    OUTCOME_FOUND,
    OUTCOME_NEXT, /* the failure has been added to the list */
    OUTCOME_END,  /* the failure is in *search->err */
};

struct search {
    const struct pgclient_target *target;
    struct pgclient_attempt attempt; /* the same for all, but for the host's part */
    bool is_any_good;                /* prefer-standby's second round */
    struct sq_error *err;
    struct pgclient *client; /* what was found */
    size_t failure_count;
    sq_status status; /* of the last failure, as are these */
    char sqlstate[SQ_SQLSTATE_LEN + 1];
    char hint[SQ_ERROR_EXTRA_MAX];
    char reasons[SQ_ERROR_TEXT_MAX - 32]; /* of all; what does not fit is left out */
};

/* host:port, with the address behind it if that says something new. */
static void describe_place(const struct pgclient_host *host, const struct address *address, char *to, size_t to_bytes)
{
    char numeric[INET6_ADDRSTRLEN + 16] = "";
    if (address != NULL && address->place.ss_family != AF_UNIX)
        (void)getnameinfo((const struct sockaddr *)&address->place, address->bytes, numeric, sizeof(numeric), NULL, 0,
                          NI_NUMERICHOST);
    bool is_same = numeric[0] == '\0' || strcmp(numeric, host->name) == 0;
    bool has_brackets = host->name[0] != '/' && strchr(host->name, ':') != NULL;
    (void)snprintf(to, to_bytes, "%s%.200s%s:%u%s%s%s", has_brackets ? "[" : "", host->name, has_brackets ? "]" : "",
                   (unsigned)host->port, is_same ? "" : " (", is_same ? "" : numeric, is_same ? "" : ")");
}

static void note_failure(struct search *search, const struct address *address, const struct sq_error *failure)
{
    char place[320];
    describe_place(search->attempt.host, address, place, sizeof(place));
    size_t used = strlen(search->reasons);
    (void)snprintf(search->reasons + used, sizeof(search->reasons) - used, "%s%s: %s", used > 0 ? "; to " : "", place,
                   failure->text);
    search->failure_count++;
    search->status = failure->status;
    memcpy(search->sqlstate, failure->sqlstate, sizeof(search->sqlstate));
    memcpy(search->hint, failure->hint, sizeof(search->hint));
}

static enum outcome end_search(struct search *search, const struct sq_error *failure)
{
    if (search->err != NULL)
        *search->err = *failure;
    search->status = failure->status;
    return OUTCOME_END;
}

static enum outcome search_address(struct search *search, const struct address *address)
{
    struct sq_error failure;
    sq_error_clear(&failure);
    struct pgclient_attempt *attempt = &search->attempt;
    attempt->is_unix = address->place.ss_family == AF_UNIX;
    attempt->is_loopback = is_loopback(address);
    struct pgclient *client = NULL;
    sq_status status = try_address(address, attempt, &failure, &client);
    if (status == SQ_OK && !search->is_any_good) {
        status = pgclient_check_attrs(client, attempt, &failure);
        if (status != SQ_OK)
            pgclient_free(client);
    }
    if (status == SQ_OK) {
        search->client = client;
        return OUTCOME_FOUND;
    }
    if (attempt->is_final || status == SQ_NOMEM)
        return end_search(search, &failure);
    note_failure(search, address, &failure);
    return OUTCOME_NEXT;
}

static enum outcome search_host(struct search *search, const struct pgclient_host *host)
{
    search->attempt.host = host;
    struct sq_error failure;
    sq_error_clear(&failure);
    struct address address = {.bytes = 0};
    if (pgclient_host_is_unix(host)) {
        if (unix_address(host, &failure, &address) == SQ_OK)
            return search_address(search, &address);
        note_failure(search, NULL, &failure);
        return OUTCOME_NEXT;
    }
    struct addrinfo *list = NULL;
    if (resolve(host, &failure, &list) != SQ_OK) {
        note_failure(search, NULL, &failure);
        return OUTCOME_NEXT;
    }
    enum outcome outcome = OUTCOME_NEXT;
    for (const struct addrinfo *i = list; i != NULL && outcome == OUTCOME_NEXT; i = i->ai_next) {
        if (i->ai_addrlen > sizeof(address.place))
            continue;
        memcpy(&address.place, i->ai_addr, i->ai_addrlen);
        address.bytes = i->ai_addrlen;
        outcome = search_address(search, &address);
    }
    freeaddrinfo(list);
    return outcome;
}

static enum outcome search_hosts(struct search *search)
{
    enum outcome outcome = OUTCOME_NEXT;
    for (size_t i = 0; i < search->target->host_count && outcome == OUTCOME_NEXT; i++)
        outcome = search_host(search, &search->target->hosts[i]);
    return outcome;
}

static sq_status fail_search(const struct search *search, struct sq_error *err)
{
    sq_assert(search->failure_count > 0);
    /* Nobody was found: which of several reasons counts is not to be said with one status. */
    bool is_one = search->failure_count == 1 && search->status != SQ_BUSY;
    sq_status status = is_one ? search->status : SQ_CLOSED;
    sq_fail_sql(err, status, is_one && search->status != SQ_CLOSED ? search->sqlstate : "08001", "cannot connect to %s",
                search->reasons);
    sq_error_set_hint(err, "%s", search->hint);
    return status;
}

sq_status pgclient_connect(const struct pgclient_target *target, const char *database,
                           const struct pgclient_parameter *parameters, size_t parameter_count, struct sq_error *err,
                           struct pgclient **ret_client)
{
    sq_assert(target != NULL && ret_client != NULL);
    sq_assert(parameters != NULL || parameter_count == 0);

    struct search search = {
        .target = target,
        .attempt = {.target = target,
                    .database = database != NULL ? database : target->values[PGCLIENT_DATABASE],
                    .parameters = parameters,
                    .parameter_count = parameter_count},
        .is_any_good = target->session_attrs == PGCLIENT_ANY,
        .err = err,
    };
    enum outcome outcome = search_hosts(&search);
    if (outcome == OUTCOME_NEXT && target->session_attrs == PGCLIENT_PREFER_STANDBY) {
        search.reasons[0] = '\0';
        search.failure_count = 0;
        search.is_any_good = true;
        outcome = search_hosts(&search);
    }
    if (outcome == OUTCOME_NEXT)
        return fail_search(&search, err);
    if (outcome == OUTCOME_END)
        return search.status;
    *ret_client = search.client;
    return SQ_OK;
}
