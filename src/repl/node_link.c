/* repl/node_link.c: finding and following a primary; node_link.h has the drawing.
 *
 * The thread owns the connection and the receiver, and waits in poll(2) for the socket, its eventfd and the receiver's deadline. What others look at is
 * guarded by `mutex`; they look at the receiver under it, and the thread takes it away before it frees it.
 *
 * Who stops the link does not wait for a host that does not answer: while the thread connects it does not use the node, and it ends by itself when it
 * notices that nobody wants the connection any more. The last of the two frees the link.
 *
 * A probe is a connection on which IDENTIFY_SYSTEM was answered. The one that is chosen goes on with START_REPLICATION. A server with an
 * older timeline than ours is asked for it, too: it refuses, and is fenced by having heard of ours. */
#include "repl/node_link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "metrics/metrics.h"
#include "pgclient/pgclient.h"
#include "pgwire/backend.h"
#include "pgwire/frontend.h"
#include "pgwire/replication.h"
#include "repl/node_internal.h"
#include "repl/node_url.h"
#include "repl/receiver.h"

enum {
    LINK_BACKOFF_US_MIN = 100 * 1000,
    LINK_BACKOFF_US_MAX = 5 * SQ_US_PER_S,
    LINK_REPEAT_US = 30 * SQ_US_PER_S, /* a failure that goes on is told so often */
    LINK_FRAMES_MAX = 64,              /* messages that are taken before something is said */
    LINK_TEXT_MAX = 256,
};

struct node_link {
    struct repl_node *node;
    char *url;
    size_t host_count;
    struct repl_receiver_config config;
    char name[REPLICATION_NAME_MAX + 1]; /* of this replica */
    char databases[REPLICATION_LIST_MAX + 1];
    struct repl_wanted wanted;          /* the same list */
    struct replication_command command; /* what is asked for this time */
    atomic_int ref_count;               /* the node and the thread. Acquire and release: the last one frees */
    int wake_fd;
    struct sq_waker waker; /* of the receiver: wakes the thread */

    /* Of the thread. */
    int64_t backoff_us;
    int64_t told_us;          /* when a failure was last logged */
    struct pgwire_frame held; /* a message that the receiver had no room for; type 0: none */

    pthread_mutex_t mutex;
    pthread_cond_t left;
    bool is_stopping;
    bool is_inside;                 /* the thread uses the node */
    struct repl_receiver *receiver; /* NULL: not connected */
    bool was_list_known;
    int64_t sure_us; /* monotonic: when everything had been received last, of a connection that has ended; 0: never */
    size_t host;     /* that is followed, or was last */
    char label[LINK_TEXT_MAX];
    char failure[LINK_TEXT_MAX];
};

/* --- Waking -------------------------------------------------------------------------------------------------------- */

static void wake(struct node_link *link)
{
    uint64_t one = 1;
    ssize_t written = write(link->wake_fd, &one, sizeof(one));
    sq_assert(written == (ssize_t)sizeof(one) || errno == EAGAIN); /* full: readable anyway */
}

static void on_wake(struct sq_waker *waker)
{
    wake(SQ_CONTAINER_OF(waker, struct node_link, waker));
}

static bool is_stopping(struct node_link *link)
{
    pthread_mutex_lock(&link->mutex);
    bool is_stopping = link->is_stopping;
    pthread_mutex_unlock(&link->mutex);
    return is_stopping;
}

/* From here to leave() the node is there. False: the link is to stop. */
static bool enter(struct node_link *link)
{
    pthread_mutex_lock(&link->mutex);
    link->is_inside = !link->is_stopping;
    bool is_inside = link->is_inside;
    pthread_mutex_unlock(&link->mutex);
    return is_inside;
}

static void leave(struct node_link *link)
{
    pthread_mutex_lock(&link->mutex);
    link->is_inside = false;
    pthread_cond_broadcast(&link->left);
    pthread_mutex_unlock(&link->mutex);
}

/* Until `fd` (-1: none) has `events`, somebody wakes, or it is `until_us`. */
static void link_wait(struct node_link *link, int fd, short events, int64_t until_us)
{
    int64_t left_us = until_us != 0 ? until_us - sq_clock_now_us() : INT64_MAX;
    if (left_us < 0)
        left_us = 0;
    int patience_ms = left_us > INT32_MAX ? -1 : (int)((left_us + SQ_US_PER_MS - 1) / SQ_US_PER_MS);
    struct pollfd fds[] = {{.fd = link->wake_fd, .events = POLLIN}, {.fd = fd, .events = events}};
    if (poll(fds, sizeof(fds) / sizeof(fds[0]), patience_ms) > 0 && (fds[0].revents & POLLIN) != 0) {
        uint64_t count;
        ssize_t got = read(link->wake_fd, &count, sizeof(count));
        (void)got; /* what was written is gone, or somebody else's: either way it is looked at now */
    }
}

/* --- Looking ------------------------------------------------------------------------------------------------------- */

char *node_link_url(struct node_link *link, const char *url)
{
    pthread_mutex_lock(&link->mutex);
    size_t host = link->host;
    pthread_mutex_unlock(&link->mutex);
    return node_url_choose(url, host < node_url_host_count(url) ? host : 0, false);
}

bool node_link_is_connected(struct node_link *link)
{
    pthread_mutex_lock(&link->mutex);
    bool is_connected = link->receiver != NULL;
    pthread_mutex_unlock(&link->mutex);
    return is_connected;
}

bool node_link_is_list_known(struct node_link *link)
{
    pthread_mutex_lock(&link->mutex);
    bool is_known = link->was_list_known || (link->receiver != NULL && repl_receiver_is_list_known(link->receiver));
    pthread_mutex_unlock(&link->mutex);
    return is_known;
}

int64_t node_link_age_us(struct node_link *link, const char *name)
{
    int64_t now_us = sq_clock_now_us();
    pthread_mutex_lock(&link->mutex);
    int64_t age_us = link->sure_us != 0 ? now_us - link->sure_us : INT64_MAX;
    if (link->receiver != NULL) {
        int64_t now_age_us = repl_receiver_age_us(link->receiver, name, now_us);
        age_us = now_age_us < age_us ? now_age_us : age_us;
    }
    pthread_mutex_unlock(&link->mutex);
    return age_us;
}

void node_link_look(struct node_link *link, void *context,
                    void (*look_cb)(void *context, struct repl_receiver *receiver, const char *host, const char *state,
                                    const char *failure))
{
    pthread_mutex_lock(&link->mutex);
    look_cb(context, link->receiver, link->label, link->receiver != NULL ? "streaming" : "connecting", link->failure);
    pthread_mutex_unlock(&link->mutex);
}

/* --- Probing ------------------------------------------------------------------------------------------------------- */

/* A host that has answered. */
struct probe {
    struct pgclient *client;
    size_t host;
    uint64_t system_id;
    uint64_t timeline;
    bool is_primary;
    char label[LINK_TEXT_MAX];
};

static sq_status open_target(struct node_link *link, size_t host, struct sq_error *err,
                             struct pgclient_target **ret_target)
{
    char *url = node_url_choose(link->url, host, true);
    if (url == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a URL");
    sq_status status = pgclient_target_parse(url, err, ret_target);
    explicit_bzero(url, strlen(url));
    free(url);
    return status;
}

/* Asks, and takes what comes up to ReadyForQuery. */
static sq_status identify(struct node_link *link, struct probe *probe, struct sq_error *err)
{
    const struct replication_command command = {.kind = REPLICATION_IDENTIFY_SYSTEM};
    struct sq_buf text;
    sq_buf_init(&text, REPLICATION_MESSAGE_BYTES_MAX);
    replication_put_command(&text, &command);
    pgwire_put_query(pgclient_out(probe->client), (const char *)sq_buf_bytes(&text), sq_buf_length(&text));
    sq_buf_done(&text);
    SQ_TRY(pgclient_send(probe->client, err));
    for (;;) {
        struct pgwire_frame frame;
        SQ_TRY(pgclient_receive(probe->client, link->config.timeout_us, err, &frame));
        if (frame.type == PGWIRE_ERROR_RESPONSE)
            return pgclient_fail_report(&frame, err);
        if (frame.type == PGWIRE_DATA_ROW)
            SQ_TRY(replication_identity_decode(&frame, err, &probe->system_id, &probe->timeline));
        if (frame.type == PGWIRE_READY_FOR_QUERY)
            break;
    }
    if (probe->timeline == 0)
        return sq_fail(err, SQ_PROTOCOL, "the server has not said which timeline it is on");
    const char *standby = pgclient_status(probe->client, "in_hot_standby");
    probe->is_primary = standby == NULL || strcmp(standby, "on") != 0;
    return SQ_OK;
}

static sq_status probe_open(struct node_link *link, size_t host, struct sq_error *err, struct probe *ret_probe)
{
    const struct pgclient_parameter parameters[] = {{"replication", "true"}, {"application_name", link->name}};
    struct pgclient_target *target = NULL;
    struct probe probe = {.host = host};
    if (is_stopping(link))
        return sq_fail(err, SQ_CLOSED, "stopping");
    SQ_TRY(open_target(link, host, err, &target));
    (void)snprintf(probe.label, sizeof(probe.label), "%.*s", LINK_TEXT_MAX - 1, pgclient_target_label(target));
    sq_status status =
        pgclient_connect(target, NULL, parameters, sizeof(parameters) / sizeof(parameters[0]), err, &probe.client);
    pgclient_target_free(target);
    if (status == SQ_OK)
        status = identify(link, &probe, err);
    if (status != SQ_OK) {
        pgclient_free(probe.client);
        return status;
    }
    *ret_probe = probe;
    return SQ_OK;
}

/* Asks the server to be followed. */
static sq_status put_start(struct node_link *link, struct probe *probe, struct sq_error *err)
{
    struct sq_buf text;
    sq_buf_init(&text, REPLICATION_MESSAGE_BYTES_MAX);
    replication_put_command(&text, &link->command);
    pgwire_put_query(pgclient_out(probe->client), (const char *)sq_buf_bytes(&text), sq_buf_length(&text));
    sq_buf_done(&text);
    return pgclient_send(probe->client, err);
}

/* A server that is behind hears of our timeline by being asked; what it answers is of no interest. */
static void tell_behind(struct node_link *link, struct probe *probe)
{
    struct sq_error ignored;
    struct pgwire_frame frame;
    if (put_start(link, probe, &ignored) == SQ_OK) {
        sq_status heard = pgclient_receive(probe->client, link->config.timeout_us, &ignored, &frame);
        (void)heard;
    }
    char label[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_INFO, "repl", "a server with an older timeline was told of the newer one", "host=%s timeline=%llu",
           sq_log_quote(label, probe->label), (unsigned long long)probe->timeline);
}

static bool is_better(const struct probe *probe, const struct probe *best)
{
    if (best->client == NULL)
        return true;
    return probe->timeline != best->timeline ? probe->timeline > best->timeline
                                             : probe->is_primary && !best->is_primary;
}

/* The newest primary among several hosts. */
static sq_status search(struct node_link *link, struct sq_error *err, struct probe *ret_probe)
{
    const struct replication_command *own = &link->command;
    struct probe best = {0};
    sq_status status = SQ_OK;
    for (size_t i = 0; i < link->host_count; i++) {
        struct probe probe = {0};
        sq_status reached = probe_open(link, i, err, &probe);
        if (reached != SQ_OK) {
            status = reached;
            continue;
        }
        struct probe *loser = &probe;
        if (is_better(&probe, &best)) {
            struct probe former = best;
            best = probe;
            probe = former;
        }
        if (loser->client != NULL && loser->is_primary && own->system_id != 0 && loser->system_id == own->system_id &&
            loser->timeline < own->timeline)
            tell_behind(link, loser);
        pgclient_free(loser->client);
    }
    if (best.client == NULL)
        return status;
    if (link->host_count > 1 && !best.is_primary) {
        pgclient_free(best.client);
        return sq_fail(err, SQ_CLOSED, "none of the hosts that answer is a primary");
    }
    *ret_probe = best;
    return SQ_OK;
}

/* --- Streaming ----------------------------------------------------------------------------------------------------- */

/* One message; *ret_is_over: the server has ended the stream. */
static sq_status take_frame(struct node_link *link, const struct pgwire_frame *frame, struct sq_error *err,
                            bool *ret_is_over)
{
    switch (frame->type) {
    case PGWIRE_COPY_DATA: {
        struct pgwire_bytes data = pgwire_copy_data_decode(frame);
        return repl_receiver_take(link->receiver, sq_clock_now_us(), data.data, data.length, err);
    }
    case PGWIRE_ERROR_RESPONSE:
        return pgclient_fail_report(frame, err);
    case PGWIRE_COPY_DONE:
        *ret_is_over = true;
        return SQ_OK;
    case PGWIRE_NOTICE_RESPONSE:
    case PGWIRE_PARAMETER_STATUS:
        return SQ_OK;
    default:
        return sq_fail(err, SQ_PROTOCOL, "the server sent message type 0x%02x during replication", frame->type);
    }
}

/* What has come, LINK_FRAMES_MAX messages at most. *ret_is_done: there is no more, or the receiver wants no more, until something happens; *ret_events:
 * what to poll(2) for then. */
static sq_status take_some(struct node_link *link, struct pgclient *client, struct sq_error *err, bool *ret_is_done,
                           short *ret_events)
{
    for (int i = 0; i < LINK_FRAMES_MAX; i++) {
        bool is_over = false;
        if (link->held.type == 0) {
            sq_status status = pgclient_take(client, err, &link->held);
            if (status == SQ_BUSY) {
                link->held.type = 0;
                *ret_is_done = true;
                *ret_events = POLLIN;
                return SQ_OK;
            }
            SQ_TRY(status);
        }
        sq_status status = take_frame(link, &link->held, err, &is_over);
        if (status == SQ_BUSY) { /* its bytes stay where they are as long as nothing else is received */
            *ret_is_done = true;
            return SQ_OK;
        }
        SQ_TRY(status);
        link->held.type = 0;
        if (is_over)
            return sq_fail(err, SQ_CLOSED, "the server has ended the stream");
    }
    return SQ_OK;
}

static sq_status stream_on(struct node_link *link, struct pgclient *client, struct sq_error *err)
{
    while (!is_stopping(link)) {
        bool is_done = false;
        short events = 0;
        int64_t deadline_us = 0;
        SQ_TRY(take_some(link, client, err, &is_done, &events));
        SQ_TRY(repl_receiver_produce(link->receiver, sq_clock_now_us(), pgclient_out(client), err, &deadline_us));
        sq_status sent = pgclient_send_some(client, err);
        if (sent != SQ_OK && sent != SQ_BUSY)
            return sent;
        if (sent == SQ_BUSY)
            events = (short)(events | POLLOUT);
        if (is_done)
            link_wait(link, events != 0 ? pgclient_descriptor(client) : -1, events, deadline_us);
    }
    return SQ_OK;
}

/* START_REPLICATION, up to CopyBothResponse. */
static sq_status begin_stream(struct node_link *link, struct probe *probe, struct sq_error *err)
{
    struct pgwire_frame frame;
    SQ_TRY(put_start(link, probe, err));
    SQ_TRY(pgclient_receive(probe->client, link->config.timeout_us, err, &frame));
    if (frame.type == PGWIRE_ERROR_RESPONSE)
        return pgclient_fail_report(&frame, err);
    if (frame.type != PGWIRE_COPY_BOTH_RESPONSE)
        return sq_fail(err, SQ_PROTOCOL, "the server answered START_REPLICATION with message type 0x%02x", frame.type);
    return SQ_OK;
}

static void attach(struct node_link *link, const struct probe *probe, struct repl_receiver *receiver)
{
    pthread_mutex_lock(&link->mutex);
    link->receiver = receiver;
    link->host = probe->host;
    link->failure[0] = '\0';
    memcpy(link->label, probe->label, sizeof(link->label));
    pthread_mutex_unlock(&link->mutex);
    metrics_gauge_add(METRICS_PRIMARY_CONNECTED, 1);
    node_notify(link->node);
}

static void detach(struct node_link *link)
{
    int64_t now_us = sq_clock_now_us();
    pthread_mutex_lock(&link->mutex);
    struct repl_receiver *receiver = SQ_STEAL(link->receiver);
    int64_t age_us = repl_receiver_age_us(receiver, NULL, now_us);
    if (age_us != INT64_MAX && now_us - age_us > link->sure_us)
        link->sure_us = now_us - age_us;
    link->was_list_known = link->was_list_known || repl_receiver_is_list_known(receiver);
    pthread_mutex_unlock(&link->mutex);
    repl_receiver_free(receiver);
    metrics_gauge_add(METRICS_PRIMARY_CONNECTED, -1);
    node_notify(link->node);
}

static sq_status take_command(struct node_link *link, struct sq_error *err)
{
    if (!enter(link))
        return sq_fail(err, SQ_CLOSED, "stopping");
    repl_receiver_command(&link->node->store, &link->command);
    leave(link);
    memcpy(link->command.name, link->name, sizeof(link->command.name));
    memcpy(link->command.databases, link->databases, sizeof(link->command.databases));
    return SQ_OK;
}

/* Connects and follows, until that fails or the link is to stop. */
static sq_status follow(struct node_link *link, struct sq_error *err)
{
    struct probe probe = {0};
    struct repl_receiver *receiver = NULL;
    SQ_TRY(take_command(link, err));
    SQ_TRY(search(link, err, &probe));
    sq_status status = begin_stream(link, &probe, err);
    bool is_inside = status == SQ_OK && enter(link);
    if (is_inside)
        status = repl_receiver_new(&link->node->store, &link->wanted, &link->config, &link->waker, sq_clock_now_us(),
                                   err, &receiver);
    if (is_inside && status == SQ_OK) {
        char label[SQ_LOG_QUOTED_MAX];
        sq_log(SQ_LOG_INFO, "repl", "connected to the primary", "host=%s timeline=%llu role=%s",
               sq_log_quote(label, probe.label), (unsigned long long)probe.timeline,
               probe.is_primary ? "primary" : "replica");
        link->backoff_us = LINK_BACKOFF_US_MIN;
        link->told_us = 0;
        link->held.type = 0;
        attach(link, &probe, receiver);
        status = stream_on(link, probe.client, err);
        detach(link);
    }
    if (is_inside)
        leave(link);
    pgclient_free(probe.client);
    return status;
}

/* --- The thread ---------------------------------------------------------------------------------------------------- */

static void tell_failure(struct node_link *link, const struct sq_error *err)
{
    int64_t now_us = sq_clock_now_us();
    pthread_mutex_lock(&link->mutex);
    bool is_same = strncmp(link->failure, err->text, sizeof(link->failure) - 1) == 0;
    (void)snprintf(link->failure, sizeof(link->failure), "%.*s", LINK_TEXT_MAX - 1, err->text);
    pthread_mutex_unlock(&link->mutex);
    if (is_same && link->told_us != 0 && now_us - link->told_us < LINK_REPEAT_US)
        return;
    link->told_us = now_us;
    sq_log_error(SQ_LOG_WARNING, "repl", "the primary is not followed: trying again", err);
}

/* So that replicas that have lost their primary at the same moment do not come back at the same moment. */
static int64_t with_jitter(int64_t us)
{
    uint8_t byte;
    sq_random_fill(&byte, sizeof(byte));
    return us - us * byte / 1024;
}

static void unref(struct node_link *link)
{
    if (atomic_fetch_sub_explicit(&link->ref_count, 1, memory_order_acq_rel) > 1)
        return;
    sq_assert(link->receiver == NULL);
    if (link->wake_fd >= 0)
        close(link->wake_fd);
    if (link->url != NULL)
        explicit_bzero(link->url, strlen(link->url));
    free(link->url);
    pthread_cond_destroy(&link->left);
    pthread_mutex_destroy(&link->mutex);
    free(link);
}

static void *run(void *context)
{
    struct node_link *link = context;
    while (!is_stopping(link)) {
        struct sq_error err;
        if (follow(link, &err) != SQ_OK && !is_stopping(link))
            tell_failure(link, &err);
        int64_t until_us = sq_clock_now_us() + with_jitter(link->backoff_us);
        while (!is_stopping(link) && sq_clock_now_us() < until_us)
            link_wait(link, -1, 0, until_us);
        link->backoff_us = link->backoff_us * 2 < LINK_BACKOFF_US_MAX ? link->backoff_us * 2 : LINK_BACKOFF_US_MAX;
    }
    unref(link);
    return NULL;
}

sq_status node_link_check_url(const char *url, struct sq_error *err)
{
    struct pgclient_target *target = NULL;
    if (strlen(url) > NODE_URL_BYTES_MAX)
        return sq_fail(err, SQ_INVALID, "the primary's URL is longer than %d bytes", NODE_URL_BYTES_MAX);
    SQ_TRY(pgclient_target_parse(url, err, &target));
    pgclient_target_free(target);
    return SQ_OK;
}

SQ_DEFINE_FREEP(struct node_link, node_link_free)

/* What the options say; under the node's `change`. */
static sq_status take_options(struct node_link *link, struct sq_error *err)
{
    const struct repl_node *node = link->node;
    link->config = repl_receiver_defaults;
    link->config.timeout_us = node->timeout_us;
    link->config.keepalive_us = node->timeout_us / 10;
    const char *databases = node->replica_databases != NULL ? node->replica_databases : "";
    SQ_TRY(repl_wanted_parse(databases, err, &link->wanted));
    (void)snprintf(link->databases, sizeof(link->databases), "%s", databases);
    (void)snprintf(link->name, sizeof(link->name), "%.*s", REPLICATION_NAME_MAX,
                   node->replica_name != NULL ? node->replica_name : "");
    return SQ_OK;
}

sq_status node_link_new(struct repl_node *node, const char *url, struct sq_error *err, struct node_link **ret_link)
{
    SQ_TRY(node_link_check_url(url, err));
    SQ_CLEANUP(node_link_freep) struct node_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for following the primary");
    link->node = node;
    link->wake_fd = -1;
    link->backoff_us = LINK_BACKOFF_US_MIN;
    link->waker.wake_cb = on_wake;
    atomic_init(&link->ref_count, 1);
    pthread_mutex_init(&link->mutex, NULL);
    pthread_cond_init(&link->left, NULL);
    link->url = strdup(url);
    if (link->url == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for following the primary");
    link->host_count = node_url_host_count(url);
    SQ_TRY(take_options(link, err));
    link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (link->wake_fd < 0)
        return sq_fail_errno(err, errno, "cannot make what wakes a thread");
    pthread_t thread;
    atomic_fetch_add_explicit(&link->ref_count, 1,
                              memory_order_relaxed); /* the thread's; it sees what was before its start */
    int failure = pthread_create(&thread, NULL, run, link);
    if (failure != 0) {
        atomic_fetch_sub_explicit(&link->ref_count, 1, memory_order_relaxed);
        return sq_fail_errno(err, failure, "cannot start a thread");
    }
    pthread_detach(thread);
    *ret_link = SQ_STEAL(link);
    return SQ_OK;
}

void node_link_free(struct node_link *link)
{
    if (link == NULL)
        return;
    pthread_mutex_lock(&link->mutex);
    link->is_stopping = true;
    pthread_mutex_unlock(&link->mutex);
    wake(link);
    pthread_mutex_lock(&link->mutex);
    while (link->is_inside)
        pthread_cond_wait(&link->left, &link->mutex);
    pthread_mutex_unlock(&link->mutex);
    unref(link);
}
