/* repl/node_databases.c: the list of databases, who follows each one's WAL, and the helper; node_databases.h has the drawing.
 *
 * The registry of the engine says what is made and dropped (engine_registry_watch), under its own mutex: here it is only noted. The follower
 * factory decides by the node's role: a logger on a primary (and on a fenced one, whose last commits are still to be logged), on a replica what its
 * store keeps.
 *
 * Locks: the registry's mutex > the node's. The helper opens and closes databases without any.
 *
 * Invariants: (1) `engine` is the helper's, who alone sets it; (2) numbers ascend in the list and are never used again. */
#include "repl/node_databases.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/durability.h"
#include "repl/node_feed.h"
#include "repl/node_store.h"
#include "repl/peer.h"

enum {
    HELPER_RETRY_US = SQ_US_PER_S,
    HELPER_GIVE_WAY_US = SQ_US_PER_S, /* longer than the tries of DROP DATABASE are apart */
    HELPER_IDLE_US = 60 * SQ_US_PER_S,
};

/* --- The list ------------------------------------------------------------------------------------------------------ */

struct repl_database *node_find_database(struct repl_node *node, const char *name)
{
    SQ_LIST_FOREACH (i, &node->databases) {
        struct repl_database *database = SQ_CONTAINER_OF(i, struct repl_database, links);
        if (strcmp(database->name, name) == 0)
            return database;
    }
    return NULL;
}

struct repl_database *node_find_number(struct repl_node *node, uint32_t number)
{
    SQ_LIST_FOREACH (i, &node->databases) {
        struct repl_database *database = SQ_CONTAINER_OF(i, struct repl_database, links);
        if (database->number == number)
            return database;
    }
    return NULL;
}

void node_database_unref_locked(struct repl_database *database)
{
    sq_assert(database->ref_count > 0);
    if (--database->ref_count > 0)
        return;
    sq_assert(database->is_dropped && sq_list_is_empty(&database->feeds) && database->engine == NULL);
    free(database);
}

/* Under the mutex. */
static void add_database(struct repl_node *node, const char *name)
{
    if (node_find_database(node, name) != NULL)
        return;
    struct repl_database *database = calloc(1, sizeof(*database));
    if (database == NULL) {
        sq_log(SQ_LOG_ERROR, "repl", "no memory: replicas do not get this database before the next start", "db=%s",
               name);
        return;
    }
    database->node = node;
    database->number = ++node->last_number;
    database->ref_count = 1;
    memcpy(database->name, name, strlen(name) + 1);
    sq_list_init(&database->links);
    sq_list_init(&database->feeds);
    sq_list_push_back(&node->databases, &database->links);
}

/* Under the mutex. */
static void remove_database(struct repl_node *node, const char *name)
{
    struct repl_database *database = node_find_database(node, name);
    if (database == NULL)
        return;
    database->is_dropped = true;
    sq_list_remove(&database->links);
    SQ_LIST_FOREACH (i, &database->feeds)
        node_feed_wake(node_feed_of_links(i));
    sq_assert(database->engine == NULL); /* the engine drops nothing that is in use */
    node_database_unref_locked(database);
}

/* Under the registry's mutex. */
static void on_changed(struct engine_registry_watch *watch, const char *name, enum engine_registry_change change)
{
    struct repl_node *node = SQ_CONTAINER_OF(watch, struct repl_node, registry_watch);
    pthread_mutex_lock(&node->mutex);
    struct repl_database *database = node_find_database(node, name);
    switch (change) {
    case ENGINE_DATABASE_MADE:
        add_database(node, name);
        node_notify_locked(node);
        break;
    case ENGINE_DATABASE_GONE:
        remove_database(node, name);
        node_notify_locked(node);
        break;
    case ENGINE_DATABASE_WANTED_UNUSED:
        if (database != NULL)
            database->give_way_until_us = sq_clock_now_us() + HELPER_GIVE_WAY_US;
        break;
    }
    node->is_helper_due = true;
    pthread_cond_signal(&node->helper_cond);
    pthread_mutex_unlock(&node->mutex);
}

static void note_database(void *context, const char *name, int64_t bytes)
{
    struct repl_node *node = context;
    (void)bytes;
    pthread_mutex_lock(&node->mutex);
    add_database(node, name);
    pthread_mutex_unlock(&node->mutex);
}

/* --- Who follows --------------------------------------------------------------------------------------------------- */

/* Under the database's start mutex. */
static sq_status on_start(struct engine_follower_factory *factory, struct engine_database *database,
                          struct engine_durability *durability, struct sq_error *err,
                          struct engine_follower **ret_follower)
{
    struct repl_node *node = SQ_CONTAINER_OF(factory, struct repl_node, factory);
    pthread_mutex_lock(&node->mutex);
    enum repl_role role = node->state.role;
    uint64_t timeline = node->state.timeline;
    enum repl_log_mode mode = node->log_mode;
    bool is_confirmed = role == REPL_PRIMARY && node->synchronous_count > 0;
    pthread_mutex_unlock(&node->mutex);
    if (role == REPL_REPLICA)
        return node_store_follow(node, database, durability, err, ret_follower);
    if (mode == REPL_LOG_OFF) {
        *ret_follower = NULL;
        return SQ_OK;
    }
    struct repl_logger *logger = NULL;
    SQ_TRY(repl_logger_new(node->loggers, database, durability, timeline, mode == REPL_LOG_ON || is_confirmed, err,
                           &logger));
    if (is_confirmed)
        engine_durability_require_confirmation(durability, true);
    *ret_follower = repl_logger_follower(logger);
    repl_logger_unref(logger);
    return SQ_OK;
}

/* The logger of an open database, with a reference; NULL: none. */
static struct repl_logger *logger_of_engine(struct engine_database *engine)
{
    struct engine_durability *durability = engine_database_durability(engine);
    if (durability == NULL)
        return NULL;
    struct repl_logger *logger = repl_logger_of(engine_durability_follower(durability));
    if (logger != NULL)
        repl_logger_ref(logger);
    return logger;
}

/* --- The helper ---------------------------------------------------------------------------------------------------- */

/* Under the mutex. */
static bool is_to_be_open(const struct repl_database *database, int64_t now_us)
{
    return !database->is_dropped && !database->node->is_released && !sq_list_is_empty(&database->feeds) &&
           now_us >= database->give_way_until_us && now_us >= database->not_before_us;
}

static bool has_wanting(const struct repl_database *database)
{
    SQ_LIST_FOREACH (i, &database->feeds) {
        if (node_feed_is_wanting(node_feed_of_links(i)))
            return true;
    }
    return false;
}

static sq_status open_engine(struct repl_database *database, struct sq_error *err, struct engine_database **ret_engine)
{
    struct engine_database *engine = NULL;
    SQ_TRY(engine_database_open(database->node->host->databases, database->name, err, &engine));
    sq_status status = engine_database_start(engine, err);
    if (status != SQ_OK) {
        engine_database_unref(engine);
        return status;
    }
    *ret_engine = engine;
    return SQ_OK;
}

static sq_status open_inner(struct repl_database *database, struct repl_logger *logger, struct sq_waker *waker,
                            struct sq_error *err, struct repl_feed **ret_feed)
{
    if (logger != NULL)
        return repl_logger_open_feed(logger, waker, err, ret_feed);
    return node_store_open_feed(database->node, database->name, waker, err, ret_feed);
}

/* A feed of the log for each of the node's feeds that wants one. */
static sq_status feed_all(struct repl_database *database, struct engine_database *engine, struct sq_error *err)
{
    struct repl_node *node = database->node;
    struct repl_logger *logger = logger_of_engine(engine);
    sq_status status = SQ_OK;
    pthread_mutex_lock(&node->mutex);
    for (bool is_done = false; !is_done && status == SQ_OK;) {
        is_done = true;
        SQ_LIST_FOREACH (i, &database->feeds) {
            struct node_feed *feed = node_feed_of_links(i);
            struct repl_feed *inner = NULL;
            if (!node_feed_is_wanting(feed))
                continue;
            status = open_inner(database, logger, node_feed_waker(feed), err, &inner);
            if (status == SQ_OK)
                node_feed_offer(feed, inner);
            is_done = false;
            break;
        }
    }
    pthread_mutex_unlock(&node->mutex);
    repl_logger_unref(logger);
    return status;
}

/* Under the mutex. */
static void note_result(struct repl_database *database, sq_status status, const struct sq_error *err)
{
    database->is_failing = status != SQ_OK;
    if (status == SQ_OK)
        return;
    database->reason = *err;
    database->not_before_us = sq_clock_now_us() + HELPER_RETRY_US;
    SQ_LIST_FOREACH (i, &database->feeds)
        node_feed_wake(node_feed_of_links(i));
}

/* One database, to which the caller has a reference; the mutex is held, but not throughout. */
static void help(struct repl_database *database)
{
    struct repl_node *node = database->node;
    struct engine_database *engine = database->engine;
    bool is_wanted = is_to_be_open(database, sq_clock_now_us());
    if (is_wanted && (engine == NULL || has_wanting(database))) {
        struct sq_error err;
        pthread_mutex_unlock(&node->mutex);
        sq_status status = engine != NULL ? SQ_OK : open_engine(database, &err, &engine);
        if (status == SQ_OK)
            status = feed_all(database, engine, &err);
        pthread_mutex_lock(&node->mutex);
        database->engine = engine;
        if (status != SQ_OK && !database->is_failing && !database->is_dropped)
            sq_log_error(SQ_LOG_ERROR, "repl", "a database cannot be fed to replicas", &err);
        note_result(database, status, &err);
    } else if (!is_wanted && engine != NULL) {
        database->engine = NULL;
        pthread_mutex_unlock(&node->mutex);
        engine_database_unref(engine);
        pthread_mutex_lock(&node->mutex);
    }
}

/* When to look again although nobody wakes; under the mutex. */
static int64_t next_look_us(const struct repl_node *node)
{
    int64_t now_us = sq_clock_now_us();
    int64_t next_us = now_us + HELPER_IDLE_US;
    SQ_LIST_FOREACH (i, &node->databases) {
        const struct repl_database *database = SQ_CONTAINER_OF(i, struct repl_database, links);
        int64_t due_us = database->give_way_until_us > database->not_before_us ? database->give_way_until_us
                                                                               : database->not_before_us;
        if (!sq_list_is_empty(&database->feeds) && due_us > now_us && due_us < next_us)
            next_us = due_us;
    }
    return next_us;
}

/* Works through the databases, by number: the list may change meanwhile. Under the mutex, but not throughout. */
static void help_all(struct repl_node *node)
{
    uint32_t number = 0;
    for (;;) {
        struct repl_database *next = NULL;
        SQ_LIST_FOREACH (i, &node->databases) {
            struct repl_database *database = SQ_CONTAINER_OF(i, struct repl_database, links);
            if (next == NULL && database->number > number)
                next = database;
        }
        if (next == NULL)
            return;
        number = next->number;
        next->ref_count++;
        help(next);
        node_database_unref_locked(next);
    }
}

static bool is_any_open(const struct repl_node *node)
{
    SQ_LIST_FOREACH (i, &node->databases) {
        if (SQ_CONTAINER_OF(i, struct repl_database, links)->engine != NULL)
            return true;
    }
    return false;
}

static void *run_helper(void *context)
{
    struct repl_node *node = context;
    pthread_mutex_lock(&node->mutex);
    while (!node->is_helper_stopping) {
        node->is_helper_due = false;
        help_all(node);
        if (node->is_released && !is_any_open(node))
            pthread_cond_broadcast(&node->released_cond);
        int64_t next_us = next_look_us(node);
        const struct timespec until = {.tv_sec = next_us / SQ_US_PER_S, .tv_nsec = next_us % SQ_US_PER_S * 1000};
        while (!node->is_helper_due && !node->is_helper_stopping && sq_clock_now_us() < next_us)
            pthread_cond_timedwait(&node->helper_cond, &node->mutex, &until);
    }
    pthread_mutex_unlock(&node->mutex);
    return NULL;
}

void node_helper_wake(struct repl_node *node)
{
    pthread_mutex_lock(&node->mutex);
    node->is_helper_due = true;
    pthread_cond_signal(&node->helper_cond);
    pthread_mutex_unlock(&node->mutex);
}

/* --- Feeds --------------------------------------------------------------------------------------------------------- */

sq_status node_databases_open_feed(struct repl_node *node, uint32_t number, struct sq_waker *waker,
                                   struct sq_error *err, struct repl_feed **ret_feed)
{
    pthread_mutex_lock(&node->mutex);
    struct repl_database *database = node_find_number(node, number);
    struct node_feed *feed = database != NULL ? node_feed_new(database, waker) : NULL;
    node->is_helper_due = true;
    pthread_cond_signal(&node->helper_cond);
    pthread_mutex_unlock(&node->mutex);
    if (database == NULL)
        return sq_fail(err, SQ_NOT_FOUND, "the database was dropped");
    if (feed == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a replica");
    *ret_feed = node_feed_base(feed);
    return SQ_OK;
}

/* --- Commits that wait for replicas ---------------------------------------------------------------------------------- */

/* The durability point of a database that is open, with a reference to it; NULL: it is not open. */
static struct engine_database *open_one(struct repl_node *node, const char *name)
{
    struct engine_database *engine = NULL;
    struct sq_error ignored; /* dropped meanwhile, or without memory: it is not open then */
    if (engine_database_open(node->host->databases, name, &ignored, &engine) != SQ_OK)
        return NULL;
    if (engine_database_durability(engine) != NULL)
        return engine;
    engine_database_unref(engine);
    return NULL;
}

static bool take_name(struct repl_node *node, uint32_t number, char ret_name[ENGINE_DATABASE_NAME_MAX + 1])
{
    pthread_mutex_lock(&node->mutex);
    const struct repl_database *database = node_find_number(node, number);
    if (database != NULL)
        memcpy(ret_name, database->name, sizeof(database->name));
    pthread_mutex_unlock(&node->mutex);
    return database != NULL;
}

static void confirm(struct repl_node *node, struct engine_database *engine, uint32_t number)
{
    pthread_mutex_lock(&node->mutex);
    size_t count = node->synchronous_count;
    ltx_txid txid = count > 0 ? node_peers_durable(node, number, count) : 0;
    pthread_mutex_unlock(&node->mutex);
    struct repl_logger *logger = txid > 0 ? logger_of_engine(engine) : NULL;
    if (logger != NULL)
        repl_logger_confirm(logger, txid);
    repl_logger_unref(logger);
}

void node_databases_confirm(struct repl_node *node, uint32_t number)
{
    char name[ENGINE_DATABASE_NAME_MAX + 1];
    struct engine_database *engine = take_name(node, number, name) ? open_one(node, name) : NULL;
    if (engine == NULL)
        return;
    confirm(node, engine, number);
    engine_database_unref(engine);
}

/* Calls `each_cb` for every database that is open. */
static void each_open(struct repl_node *node,
                      void (*each_cb)(struct repl_node *node, struct engine_database *engine, uint32_t number))
{
    char name[ENGINE_DATABASE_NAME_MAX + 1];
    struct repl_database_entry entry = {.number = 0};
    while (node->source.ops->next_database_cb(&node->source, entry.number, &entry)) {
        struct engine_database *engine = take_name(node, entry.number, name) ? open_one(node, name) : NULL;
        if (engine == NULL)
            continue;
        each_cb(node, engine, entry.number);
        engine_database_unref(engine);
    }
}

static void require(struct repl_node *node, struct engine_database *engine, uint32_t number)
{
    pthread_mutex_lock(&node->mutex);
    bool is_required = node->state.role == REPL_PRIMARY && node->synchronous_count > 0;
    pthread_mutex_unlock(&node->mutex);
    struct repl_logger *logger = logger_of_engine(engine);
    if (is_required && logger != NULL)
        repl_logger_start(logger);
    repl_logger_unref(logger);
    engine_durability_require_confirmation(engine_database_durability(engine), is_required);
    if (is_required)
        confirm(node, engine, number);
}

static void synchronous_changed(struct repl_node *node)
{
    each_open(node, require);
}

/* --- Roles --------------------------------------------------------------------------------------------------------- */

void node_databases_release(struct repl_node *node)
{
    pthread_mutex_lock(&node->mutex);
    node->is_released = true;
    node->is_helper_due = true;
    pthread_cond_signal(&node->helper_cond);
    while (node->has_helper && is_any_open(node))
        pthread_cond_wait(&node->released_cond, &node->mutex);
    pthread_mutex_unlock(&node->mutex);
    node_store_release(node);
}

/* The follower of the former role goes. */
static void unfollow(struct repl_node *node, struct engine_database *engine, uint32_t number)
{
    (void)node;
    (void)number;
    struct sq_error err;
    if (engine_durability_set_follower(engine_database_durability(engine), NULL, &err) != SQ_OK)
        sq_log_error(SQ_LOG_ERROR, "repl", "the former role's log is not closed well", &err);
}

/* The follower that fits the role takes the place of the one that is there. */
static void refollow(struct repl_node *node, struct engine_database *engine, uint32_t number)
{
    struct engine_durability *durability = engine_database_durability(engine);
    struct engine_follower *follower = NULL;
    struct sq_error err;
    sq_status status = on_start(&node->factory, engine, durability, &err, &follower);
    if (status == SQ_OK)
        status = engine_durability_set_follower(durability, follower, &err);
    if (status != SQ_OK) {
        if (follower != NULL) {
            follower->ops->closing_cb(follower);
            follower->ops->closed_cb(follower, NULL);
        }
        sq_log_error(SQ_LOG_ERROR, "repl", "no log is kept of a database until it is opened anew", &err);
    }
    require(node, engine, number);
}

sq_status node_databases_resume(struct repl_node *node, bool is_change, struct sq_error *err)
{
    const char *default_name = engine_registry_default_name(node->host->databases);
    if (is_change) {
        each_open(node, unfollow);
        node_store_forget(node);
        each_open(node, refollow);
    }
    pthread_mutex_lock(&node->mutex);
    node->is_released = false;
    node->is_helper_due = true;
    pthread_cond_signal(&node->helper_cond);
    pthread_mutex_unlock(&node->mutex);
    if (repl_node_role(node) == REPL_PRIMARY && !engine_database_exists(node->host->databases, default_name))
        return engine_database_create(node->host->databases, default_name, err);
    return SQ_OK;
}

/* --- Life ---------------------------------------------------------------------------------------------------------- */

static struct repl_logger_settings logger_settings(const struct repl_node *node)
{
    return (struct repl_logger_settings){
        .keep_bytes = node->keep_bytes,
        .keep_age_ms = node->keep_us / SQ_US_PER_MS,
        .hold_bytes = node->keep_bytes,
    };
}

sq_status node_databases_begin(struct repl_node *node, struct sq_error *err)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&node->helper_cond, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_cond_init(&node->released_cond, NULL);
    struct repl_logger_settings settings = logger_settings(node);
    SQ_TRY(repl_loggers_new(&settings, err, &node->loggers));
    SQ_TRY(node_store_begin(node, err));
    SQ_TRY(engine_registry_list(node->host->databases, err, node, note_database));
    node->factory.start_cb = on_start;
    node->registry_watch.changed_cb = on_changed;
    engine_registry_set_follower_factory(node->host->databases, &node->factory);
    engine_registry_set_watch(node->host->databases, &node->registry_watch);
    return SQ_OK;
}

sq_status node_databases_start(struct repl_node *node, struct sq_error *err)
{
    int failure = pthread_create(&node->helper, NULL, run_helper, node);
    if (failure != 0)
        return sq_fail_errno(err, failure, "cannot start a thread");
    node->has_helper = true;
    return node_databases_resume(node, false, err);
}

void node_databases_reconfigure(struct repl_node *node)
{
    struct repl_logger_settings settings = logger_settings(node);
    repl_loggers_configure(node->loggers, &settings);
    synchronous_changed(node);
}

void node_databases_stop(struct repl_node *node)
{
    if (!node->has_helper)
        return;
    node_databases_release(node);
    pthread_mutex_lock(&node->mutex);
    node->is_helper_stopping = true;
    pthread_cond_signal(&node->helper_cond);
    pthread_mutex_unlock(&node->mutex);
    pthread_join(node->helper, NULL);
    node->has_helper = false;
}

void node_databases_end(struct repl_node *node)
{
    node_store_end(node);
    repl_loggers_free(node->loggers);
    for (struct sq_list *links; (links = sq_list_pop_front(&node->databases)) != NULL;) {
        struct repl_database *database = SQ_CONTAINER_OF(links, struct repl_database, links);
        database->is_dropped = true;
        node_database_unref_locked(database);
    }
    pthread_cond_destroy(&node->helper_cond);
    pthread_cond_destroy(&node->released_cond);
}
