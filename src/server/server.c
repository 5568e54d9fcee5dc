/* server/server.c: wiring.
 *
 *   main thread      accepts, start-up packets, cancel requests, signals     accept_loop
 *   worker threads   a loop for each core: sessions and their statements     net_pool
 *                    more of them while statements run long (net/pool.h)
 *
 * Stopping: SIGTERM closes the listeners and asks every session to end when it is between transactions (DRAINING). After
 * shutdown-timeout, or a second signal, running statements are stopped too (TERMINATING). When the last connection has
 * gone, the loops stop. */
#include "server/server.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "config/config.h"
#include "engine/database.h"
#include "metrics/metrics.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/pool.h"
#include "repl/node.h"
#include "sched/scheduler.h"
#include "server/connection.h"
#include "server/stack.h"
#include "session/notify.h"
#include "session/outcomes.h"
#include "session/registry.h"

enum {
    SERVER_ACCEPTS_PER_TURN = 64,
    SERVER_CACHE_BYTES_MIN = 64 * 1024,          /* for each connection */
    SERVER_CACHE_BYTES_MAX = 2000 * 1024,        /* SQLite's own default */
    SERVER_ACCEPT_PAUSE_US = 100 * SQ_US_PER_MS, /* when descriptors have run out */
    SERVER_STARTING_MAX = 1000,                  /* sockets beyond max-connections that may be in start-up */
    SERVER_OTHER_FILES = 100,
    SERVER_STOP_POLL_US = 10 * SQ_US_PER_MS,
    SERVER_TERMINATE_US = 30 * SQ_US_PER_S, /* for stopped statements to notice */
    SERVER_WORKERS_MAX = 1024,
    SERVER_LONG_STATEMENTS_MAX = 1000, /* statements that may run long, or block, at a time: each has a thread */
};

enum server_state { SERVER_SERVING, SERVER_DRAINING, SERVER_TERMINATING };

struct server_listener {
    struct server *server;
    struct net_watch watch;
    struct net_task task;   /* goes on accepting */
    struct net_timer timer; /* after a pause */
    uint64_t failure_count; /* since a connection was last accepted: only the first one is logged */
    char unix_path[CONFIG_UNIX_PATH_MAX + 1];
};

struct server {
    struct session_host host;
    struct server_pool pool;
    struct server_stack stack;
    struct repl_host repl_host;
    struct repl_node *node;
    struct sched *sched;
    struct net_loop *accept_loop;
    struct net_pool *net_pool;
    struct server_listener listeners[CONFIG_ADDRESSES_MAX];
    size_t listener_count;
    struct net_watch signal_watch;
    struct net_timer stop_timer;
    enum server_state state;
    int64_t state_deadline_us; /* when the next, harder state begins */
    size_t connection_max;     /* of the current configuration; main thread only */
    bool is_abandoned;         /* connections were left that would not end */
    pthread_t promotion;       /* the thread of the last SIGUSR1 */
    bool has_promotion;
    pthread_mutex_t config_mutex;
    struct config *config; /* guarded by config_mutex */
};

static struct config *current_config(struct session_host *host)
{
    struct server *server = SQ_CONTAINER_OF(host, struct server, host);
    pthread_mutex_lock(&server->config_mutex);
    struct config *config = config_ref(server->config);
    pthread_mutex_unlock(&server->config_mutex);
    return config;
}

/* --- Listeners ---------------------------------------------------------------------------------------------------- */

static void accept_some(struct server_listener *listener)
{
    struct server *server = listener->server;
    struct sq_error err;
    for (int i = 0; i < SERVER_ACCEPTS_PER_TURN; i++) {
        int fd = -1;
        sq_status status = net_accept(listener->watch.fd, &err, &fd);
        if (status == SQ_OK && fd < 0)
            return;
        if (status == SQ_OK) {
            size_t most = server->connection_max + SERVER_STARTING_MAX;
            if (atomic_load_explicit(&server->pool.connection_count, memory_order_relaxed) >= most) {
                metrics_counter_add(METRICS_CONNECTIONS_REFUSED, 1);
                close(fd);
                continue;
            }
            status = server_connection_start(&server->pool, server->accept_loop, fd, &err);
        }
        if (status != SQ_OK) {
            if (listener->failure_count++ == 0)
                sq_log_error(SQ_LOG_ERROR, "server", "no connection can be accepted", &err);
            metrics_counter_add(METRICS_CONNECTIONS_REFUSED, 1);
            /* Trying again at once would only burn the processor: connections that end make room. */
            if (net_timer_set(server->accept_loop, &listener->timer, sq_clock_now_us() + SERVER_ACCEPT_PAUSE_US,
                              &err) != SQ_OK)
                net_loop_post(server->accept_loop, &listener->task);
            return;
        }
        if (listener->failure_count > 0) {
            sq_log(SQ_LOG_INFO, "server", "connections are accepted again", "failures=%llu",
                   (unsigned long long)listener->failure_count);
            listener->failure_count = 0;
        }
    }
    net_loop_post(server->accept_loop, &listener->task);
}

static void on_listener_event(struct net_watch *watch, unsigned events)
{
    (void)events;
    accept_some(SQ_CONTAINER_OF(watch, struct server_listener, watch));
}

static void on_listener_task(struct net_task *task)
{
    accept_some(SQ_CONTAINER_OF(task, struct server_listener, task));
}

static void on_listener_timer(struct net_timer *timer)
{
    accept_some(SQ_CONTAINER_OF(timer, struct server_listener, timer));
}

static void close_listeners(struct server *server)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        struct server_listener *listener = &server->listeners[i];
        net_loop_cancel(server->accept_loop, &listener->task);
        net_timer_clear(server->accept_loop, &listener->timer);
        net_loop_unwatch(server->accept_loop, &listener->watch);
        close(listener->watch.fd);
        if (listener->unix_path[0] != '\0')
            unlink(listener->unix_path);
    }
    server->listener_count = 0;
}

/* Nobody is asked who they are: without the explicit word, only this machine may connect. */
static sq_status check_address(const struct config *config, const struct config_address *address, struct sq_error *err)
{
    if (address->is_unix)
        return SQ_OK;
    bool is_local = config_address_is_local(address);
    if (is_local)
        SQ_TRY(net_host_is_loopback(address->host, err, &is_local));
    if (is_local)
        return SQ_OK;
    if (config->insecure) {
        sq_log(SQ_LOG_WARNING, "server",
               "listening without authentication: everybody who reaches this address may read "
               "and change everything",
               "host=%s", address->host);
        return SQ_OK;
    }
    sq_status status = sq_fail(err, SQ_INVALID,
                               "refusing to listen on %s:%u: sqld does not authenticate clients yet, "
                               "and other machines can reach this address",
                               address->host, (unsigned)address->port);
    sq_error_set_hint(err, "Listen on 127.0.0.1, or, if the network is trusted, say --insecure.");
    return status;
}

static sq_status open_listener(struct server *server, const struct config_address *address, struct sq_error *err)
{
    struct server_listener *listener = &server->listeners[server->listener_count];
    listener->server = server;
    int fd = -1;
    if (address->is_unix)
        SQ_TRY(net_listen_unix(address->path, err, &fd));
    else
        SQ_TRY(net_listen_tcp(strcmp(address->host, "*") == 0 ? "*" : address->host, address->port, err, &fd));
    listener->watch = (struct net_watch){.fd = fd, .event_cb = on_listener_event};
    net_task_init(&listener->task, on_listener_task);
    net_timer_init(&listener->timer, on_listener_timer);
    snprintf(listener->unix_path, sizeof(listener->unix_path), "%s", address->path);
    sq_status status = net_loop_watch(server->accept_loop, &listener->watch, err);
    if (status != SQ_OK) {
        close(fd);
        return status;
    }
    server->listener_count++;
    char text[NET_ADDRESS_TEXT_MAX];
    net_address_text(fd, false, text);
    sq_log(SQ_LOG_INFO, "server", "listening", "address=%s%s%s", text, address->is_unix ? ":" : "", address->path);
    return SQ_OK;
}

/* --- Signals ------------------------------------------------------------------------------------------------------ */

static void log_names(const char *message, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sq_log(SQ_LOG_INFO, "server", message, "option=%s", names[i]);
}

/* --- Replication -------------------------------------------------------------------------------------------------- */

static struct repl_options replication_options(const struct config *config)
{
    static const enum repl_log_mode modes[] = {REPL_LOG_AUTO, REPL_LOG_ON, REPL_LOG_OFF};
    return (struct repl_options){
        .replica_of = config->replica_of,
        .replica_name = config->replica_name,
        .replica_databases = config->replica_databases,
        .log_mode = modes[config->replication_log],
        .keep_bytes = config->replication_keep_bytes,
        .keep_us = config->replication_keep_us,
        .timeout_us = config->replication_timeout_us,
        .synchronous_count = (size_t)config->synchronous_replicas,
    };
}

/* Sessions of a database, or all of them, end: what they have not committed never will be. */
static void end_sessions(struct repl_host *host, const char *database)
{
    struct server *server = SQ_CONTAINER_OF(host, struct server, repl_host);
    if (database == NULL) {
        session_registry_interrupt(server->host.sessions, 0, NULL, SESSION_INTERRUPT_TERMINATE);
        return;
    }
    session_registry_interrupt_database(server->host.sessions, database, NULL, SESSION_INTERRUPT_TERMINATE);
    sched_forget_database(server->sched, database);
}

static sq_status open_node(struct server *server, struct sq_error *err)
{
    struct repl_options options = replication_options(server->config);
    server->repl_host = (struct repl_host){
        .data_dir = engine_registry_data_dir(server->host.databases),
        .databases = server->host.databases,
        .sched = server->sched,
        .end_sessions_cb = end_sessions,
    };
    SQ_TRY(repl_node_new(&server->repl_host, &options, err, &server->node));
    server->host.node = server->node;
    return SQ_OK;
}

/* SIGUSR1. A promotion waits for disks: not on this thread. */
static void *promote(void *context)
{
    struct sq_error err;
    if (repl_node_promote(context, &err) != SQ_OK)
        sq_log_error(SQ_LOG_ERROR, "server", "not promoted", &err);
    return NULL;
}

static void start_promotion(struct server *server)
{
    if (server->has_promotion)
        pthread_join(server->promotion, NULL); /* of a second signal: it waits for the first one's end */
    int failure = pthread_create(&server->promotion, NULL, promote, server->node);
    server->has_promotion = failure == 0;
    if (failure != 0)
        sq_log(SQ_LOG_ERROR, "server", "not promoted: no thread can be started", "errno=%d", failure);
}

/* The ceiling, and what each connection may have of it for its page cache: half of it is enough for all of them. */
static void share_memory(const struct config *config)
{
    size_t limit = config->memory_limit_bytes;
    if (limit == 0)
        limit = sq_memory_available() / 4 * 3;
    size_t cache = limit / 2 / (size_t)config->max_connections;
    if (cache > SERVER_CACHE_BYTES_MAX)
        cache = SERVER_CACHE_BYTES_MAX;
    if (cache < SERVER_CACHE_BYTES_MIN)
        cache = SERVER_CACHE_BYTES_MIN;
    sq_memory_set_limit(limit);
    engine_set_cache(cache);
    sq_log(SQ_LOG_INFO, "server", "memory", "limit=%zu cache_of_a_connection=%zu", limit, cache);
}

static void reload(struct server *server)
{
    struct sq_error err;
    struct config_changes changes;
    struct config *config = NULL;
    if (config_reload(server->config, &err, &changes, &config) != SQ_OK) {
        sq_log_error(SQ_LOG_ERROR, "server", "configuration not reloaded, the old one stays", &err);
        return;
    }
    sq_log_set_level(config->log_level);
    if (sq_log_open(config->log_file, &err) != SQ_OK)
        sq_log_error(SQ_LOG_ERROR, "server", "log file not reopened", &err);
    pthread_mutex_lock(&server->config_mutex);
    struct config *old = server->config;
    server->config = config;
    pthread_mutex_unlock(&server->config_mutex);
    server->connection_max = (size_t)config->max_connections;
    share_memory(config);
    sched_set_idle_connections(server->sched, (size_t)config->idle_connections, config->idle_connection_timeout_us);
    struct repl_options options = replication_options(config);
    repl_node_configure(server->node, &options);
    config_free(old);
    sq_log(SQ_LOG_INFO, "server", "configuration reloaded", "changed=%zu", changes.changed_count);
    log_names("option changed, for new sessions", changes.changed, changes.changed_count);
    log_names("option needs a restart", changes.restart, changes.restart_count);
}

static void set_state(struct server *server, enum server_state state, int64_t limit_us)
{
    server->state = state;
    server->state_deadline_us = limit_us != 0 ? sq_clock_now_us() + limit_us : 0;
    session_registry_interrupt(server->host.sessions, 0, NULL,
                               state == SERVER_TERMINATING ? SESSION_INTERRUPT_TERMINATE : SESSION_INTERRUPT_DRAIN);
}

/* Looks whether all connections have gone, and becomes harder when time is up. */
static void on_stop_timer(struct net_timer *timer)
{
    struct server *server = SQ_CONTAINER_OF(timer, struct server, stop_timer);
    /* Acquire, with the release of connection_close(): what closed connections did is visible here. */
    size_t left = atomic_load_explicit(&server->pool.connection_count, memory_order_acquire);
    int64_t now_us = sq_clock_now_us();
    bool is_over = server->state_deadline_us != 0 && now_us >= server->state_deadline_us;
    if (left > 0 && is_over && server->state == SERVER_DRAINING) {
        sq_log(SQ_LOG_WARNING, "server", "shutdown-timeout has passed: stopping statements", "connections=%zu", left);
        set_state(server, SERVER_TERMINATING, SERVER_TERMINATE_US);
    } else if (left > 0 && is_over) {
        sq_log(SQ_LOG_ERROR, "server", "connections do not end, leaving them", "connections=%zu", left);
        server->is_abandoned = true;
        left = 0;
    }
    struct sq_error err;
    if (left == 0 || net_timer_set(server->accept_loop, timer, now_us + SERVER_STOP_POLL_US, &err) != SQ_OK)
        net_loop_stop(server->accept_loop);
}

static void stop(struct server *server)
{
    if (server->state == SERVER_SERVING) {
        struct config *config = current_config(&server->host);
        sq_log(SQ_LOG_INFO, "server", "stopping: waiting for transactions to end", "connections=%zu",
               atomic_load_explicit(&server->pool.connection_count, memory_order_relaxed));
        sd_notify(0, "STOPPING=1");
        close_listeners(server);
        set_state(server, SERVER_DRAINING, config->shutdown_timeout_us);
        config_free(config);
        on_stop_timer(&server->stop_timer);
    } else {
        set_state(server, SERVER_TERMINATING, SERVER_TERMINATE_US);
    }
}

static void on_signal(struct net_watch *watch, unsigned events)
{
    (void)events;
    struct server *server = SQ_CONTAINER_OF(watch, struct server, signal_watch);
    struct signalfd_siginfo info;
    while (read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            reload(server);
        else if (info.ssi_signo == SIGUSR1)
            start_promotion(server);
        else
            stop(server);
    }
}

static sq_status watch_signals(struct server *server, struct sq_error *err)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    /* Threads inherit the mask: only the signalfd gets them. */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    /* Both are errors of the call that caused them: a broken connection, a file size limit. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot receive signals");
    server->signal_watch = (struct net_watch){.fd = fd, .event_cb = on_signal};
    sq_status status = net_loop_watch(server->accept_loop, &server->signal_watch, err);
    if (status != SQ_OK) {
        close(fd);
        server->signal_watch.fd = -1;
    }
    return status;
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static void log_sqlite(int code, const char *message)
{
    /* What a statement reports to its client needs no second voice; SQLite logs those too. */
    int primary = code & 0xff;
    bool is_serious = primary == 10 /* IOERR */ || primary == 11 /* CORRUPT */ || primary == 13 /* FULL */ ||
                      primary == 14 /* CANTOPEN */ || primary == 26 /* NOTADB */ || primary == 7 /* NOMEM */;
    char quoted[SQ_LOG_QUOTED_MAX];
    sq_log(is_serious ? SQ_LOG_ERROR : SQ_LOG_DEBUG, "sqlite", "message from SQLite", "code=%d text=%s", code,
           sq_log_quote(quoted, message));
}

static sq_status start_workers(struct server *server, struct sq_error *err)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t wanted = server->config->workers > 0 ? server->config->workers : online > 0 ? online : 1;
    size_t count = (size_t)(wanted < SERVER_WORKERS_MAX ? wanted : SERVER_WORKERS_MAX);
    SQ_TRY(net_pool_new(count, count + SERVER_LONG_STATEMENTS_MAX, err, &server->net_pool));
    server->pool.workers = calloc(count, sizeof(struct server_worker));
    if (server->pool.workers == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for worker threads");
    for (size_t i = 0; i < count; i++)
        server->pool.workers[i].loop = net_pool_loop(server->net_pool, i);
    server->pool.worker_count = count;
    return SQ_OK;
}

/* As many descriptors as the system allows. A session needs one for its socket and, while it is not idle, two for its
 * database (the file and its log); SERVER_OTHER_FILES are the server's own. */
static void raise_descriptor_limit(const struct config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        limit.rlim_cur = soft;
    if (limit.rlim_cur == RLIM_INFINITY)
        return;
    rlim_t others = SERVER_OTHER_FILES + 2 * (rlim_t)config->idle_connections;
    rlim_t left = limit.rlim_cur > others ? limit.rlim_cur - others : 0;
    rlim_t wanted = (rlim_t)config->max_connections;
    sq_log(left < wanted ? SQ_LOG_WARNING : SQ_LOG_INFO, "server",
           left < wanted ? "the limit of open files is too low for max-connections" : "open files",
           "limit=%llu allows_active=%llu allows_idle=%llu max_connections=%llu", (unsigned long long)limit.rlim_cur,
           (unsigned long long)(left / 3), (unsigned long long)left, (unsigned long long)wanted);
}

static sq_status server_open(struct server *server, struct sq_error *err)
{
    const struct config *config = server->config;
    for (size_t i = 0; i < config->listen.count; i++)
        SQ_TRY(check_address(config, &config->listen.items[i], err));
    /* Before anything that starts a thread. */
    SQ_TRY(net_loop_new(err, &server->accept_loop));
    SQ_TRY(watch_signals(server, err));
    share_memory(config);
    SQ_TRY(engine_set_mmap((int64_t)config->mmap_bytes, err));
    SQ_TRY(engine_init(log_sqlite, err));
    SQ_TRY(engine_registry_open_as_is(config->data_dir, config->default_database, err, &server->host.databases));
    SQ_TRY(sched_new(server->host.databases, err, &server->sched));
    SQ_TRY(open_node(server, err));
    sched_set_idle_connections(server->sched, (size_t)config->idle_connections, config->idle_connection_timeout_us);
    server_stack_init(&server->stack, sched_factory(server->sched));
    server->host.factory = &server->stack.factory;
    server->host.sched = server->sched;
    SQ_TRY(session_registry_new(err, &server->host.sessions));
    SQ_TRY(notify_hub_new(err, &server->host.notify_hub));
    SQ_TRY(outcomes_new(err, &server->host.outcomes));
    SQ_TRY(start_workers(server, err));
    SQ_TRY(repl_node_start(server->node, err));
    for (size_t i = 0; i < config->listen.count; i++)
        SQ_TRY(open_listener(server, &config->listen.items[i], err));
    return SQ_OK;
}

SQ_DEFINE_FREEP(struct server, server_free)

sq_status server_new(struct config *config, struct sq_error *err, struct server **ret_server)
{
    SQ_CLEANUP(server_freep) struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for the server");
    server->config = config_ref(config);
    server->connection_max = (size_t)config->max_connections;
    pthread_mutex_init(&server->config_mutex, NULL);
    server->host.config_cb = current_config;
    server->host.started_us = sq_clock_wall_us();
    server->pool.host = &server->host;
    server->signal_watch.fd = -1;
    net_timer_init(&server->stop_timer, on_stop_timer);
    raise_descriptor_limit(config);
    SQ_TRY(server_open(server, err));
    *ret_server = SQ_STEAL(server);
    return SQ_OK;
}

sq_status server_run(struct server *server, struct sq_error *err)
{
    sq_log(SQ_LOG_INFO, "server", "ready", "version=" SQLD_VERSION " workers=%zu pid=%d", server->pool.worker_count,
           (int)getpid());
    sd_notify(0, "READY=1");
    net_loop_run(server->accept_loop);
    if (server->is_abandoned)
        return sq_fail(err, SQ_BUSY, "some connections did not end; they were cut off");
    sq_log(SQ_LOG_INFO, "server", "stopped", "%s", "");
    return SQ_OK;
}

void server_free(struct server *server)
{
    if (server == NULL)
        return;
    if (server->is_abandoned)
        return; /* a thread still works with it: the process is about to end */
    if (server->accept_loop != NULL)
        close_listeners(server);
    net_pool_free(server->net_pool);
    free(server->pool.workers);
    if (server->signal_watch.fd >= 0) {
        net_loop_unwatch(server->accept_loop, &server->signal_watch);
        close(server->signal_watch.fd);
    }
    net_loop_free(server->accept_loop);
    if (server->has_promotion)
        pthread_join(server->promotion, NULL);
    if (server->node != NULL)
        repl_node_stop(server->node);
    outcomes_free(server->host.outcomes);
    notify_hub_free(server->host.notify_hub);
    session_registry_free(server->host.sessions);
    server_stack_done(&server->stack);
    sched_free(server->sched);
    engine_registry_free(server->host.databases);
    repl_node_free(server->node);
    pthread_mutex_destroy(&server->config_mutex);
    config_free(server->config);
    free(server);
}
