/* repl/node_store.c: copies by name, and who waits for what is applied to them.
 *
 * A copy is counted: the list has one reference as long as the database is not dropped, everybody who looks at it another one. Its replica is freed
 * with the last one, when nobody follows the database for it any more: after a drop, or after node_store_forget().
 *
 * Locks: copies_mutex (the list, counts) and each copy's wait_mutex are leaves, but for the wakers that are called under the second; replicas call `moved`
 * under their own. */
#include "repl/node_store.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/database.h"
#include "repl/node_databases.h"

struct node_copy {
    struct sq_list links; /* guarded by copies_mutex, as are the next two */
    size_t ref_count;
    bool is_dropped;
    struct repl_node *node;
    struct repl_replica *replica;
    struct sq_waker moved;
    pthread_mutex_t wait_mutex;
    struct sq_list waits; /* struct repl_wait */
    char name[REPL_NAME_MAX + 1];
};

static struct repl_node *node_of(struct repl_store *store)
{
    return SQ_CONTAINER_OF(store, struct repl_node, store);
}

/* --- Copies -------------------------------------------------------------------------------------------------------- */

/* Under the replica's mutex. */
static void on_moved(struct sq_waker *waker)
{
    struct node_copy *copy = SQ_CONTAINER_OF(waker, struct node_copy, moved);
    pthread_mutex_lock(&copy->wait_mutex);
    SQ_LIST_FOREACH (i, &copy->waits)
        sq_waker_wake(SQ_CONTAINER_OF(i, struct repl_wait, links)->waker);
    pthread_mutex_unlock(&copy->wait_mutex);
}

static void copy_free(struct node_copy *copy)
{
    sq_assert(sq_list_is_empty(&copy->waits));
    repl_replica_free(copy->replica);
    pthread_mutex_destroy(&copy->wait_mutex);
    free(copy);
}

static void copy_unref(struct node_copy *copy)
{
    struct repl_node *node = copy->node;
    pthread_mutex_lock(&node->copies_mutex);
    sq_assert(copy->ref_count > 0);
    bool is_last = --copy->ref_count == 0;
    pthread_mutex_unlock(&node->copies_mutex);
    if (is_last)
        copy_free(copy);
}

/* Under copies_mutex; with a reference. */
static struct node_copy *find_copy(struct repl_node *node, const char *name)
{
    SQ_LIST_FOREACH (i, &node->copies) {
        struct node_copy *copy = SQ_CONTAINER_OF(i, struct node_copy, links);
        if (strcmp(copy->name, name) != 0)
            continue;
        copy->ref_count++;
        return copy;
    }
    return NULL;
}

static sq_status new_copy(struct repl_node *node, const char *name, struct sq_error *err, struct node_copy **ret_copy)
{
    struct node_copy *copy = calloc(1, sizeof(*copy));
    if (copy == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for database \"%s\"", name);
    copy->node = node;
    copy->ref_count = 2; /* the list's and the caller's */
    copy->moved.wake_cb = on_moved;
    sq_list_init(&copy->links);
    sq_list_init(&copy->waits);
    memcpy(copy->name, name, strlen(name) + 1);
    pthread_mutex_init(&copy->wait_mutex, NULL);
    sq_status status = repl_replica_new(node->replicas, name, &copy->moved, err, &copy->replica);
    if (status != SQ_OK) {
        copy_free(copy);
        return status;
    }
    *ret_copy = copy;
    return SQ_OK;
}

/* A dropped one that is gone leaves the list. *ret_copy: the one of that name, with a reference; NULL: there is none. */
static void look_up(struct repl_node *node, const char *name, struct node_copy **ret_copy)
{
    pthread_mutex_lock(&node->copies_mutex);
    struct node_copy *copy = find_copy(node, name);
    bool is_over = copy != NULL && copy->is_dropped && repl_replica_is_gone(copy->replica);
    if (is_over) {
        sq_list_remove(&copy->links);
        copy->ref_count--; /* the list's: the caller's is left */
    }
    pthread_mutex_unlock(&node->copies_mutex);
    if (is_over)
        copy_unref(copy);
    *ret_copy = is_over ? NULL : copy;
}

/* The copy of that name, made if there is none, with a reference. SQ_BUSY: one is still being dropped. */
static sq_status need_copy(struct repl_node *node, const char *name, struct sq_error *err, struct node_copy **ret_copy)
{
    struct node_copy *copy = NULL;
    struct node_copy *made = NULL;
    if (!engine_database_name_is_valid(name))
        return sq_fail(err, SQ_INVALID, "\"%s\" is no name for a database here", name);
    look_up(node, name, &copy);
    if (copy == NULL)
        SQ_TRY(new_copy(node, name, err, &made));
    pthread_mutex_lock(&node->copies_mutex);
    if (made != NULL) {
        copy = find_copy(node, name); /* somebody else's, made meanwhile */
        if (copy == NULL) {
            sq_list_push_back(&node->copies, &made->links);
            copy = SQ_STEAL(made);
        }
    }
    bool is_dropped = copy->is_dropped;
    pthread_mutex_unlock(&node->copies_mutex);
    if (made != NULL)
        copy_free(made);
    if (is_dropped) {
        copy_unref(copy);
        return sq_fail(err, SQ_BUSY, "database \"%s\" is being dropped", name);
    }
    *ret_copy = copy;
    return SQ_OK;
}

/* --- The store ----------------------------------------------------------------------------------------------------- */

static void store_identity(struct repl_store *store, struct repl_identity *ret_identity)
{
    struct repl_node *node = node_of(store);
    pthread_mutex_lock(&node->mutex);
    *ret_identity = (struct repl_identity){.system_id = node->state.system_id, .timeline = node->state.seen_timeline};
    pthread_mutex_unlock(&node->mutex);
}

static sq_status store_adopt(struct repl_store *store, uint64_t system_id, uint64_t timeline, struct sq_error *err)
{
    return node_adopt(node_of(store), system_id, timeline, err);
}

/* The name of the database that a directory entry belongs to: its file, or the log of one whose file is still to come. */
static bool entry_name(const char *entry, char ret_name[REPL_NAME_MAX + 1])
{
    static const char *const endings[] = {".db", ".db-ltx"};
    size_t length = strlen(entry);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t ending = strlen(endings[i]);
        if (length <= ending || length - ending > REPL_NAME_MAX || strcmp(entry + length - ending, endings[i]) != 0)
            continue;
        memcpy(ret_name, entry, length - ending);
        ret_name[length - ending] = '\0';
        return engine_database_name_is_valid(ret_name);
    }
    return false;
}

static bool is_next(const char *name, const char *after, const char *best, bool has_best)
{
    return strcmp(name, after) > 0 && (!has_best || strcmp(name, best) < 0);
}

static bool store_next_database(struct repl_store *store, const char *after, char ret_name[REPL_NAME_MAX + 1])
{
    struct repl_node *node = node_of(store);
    char best[REPL_NAME_MAX + 1] = "";
    bool has_best = false;
    DIR *directory = opendir(node->host->data_dir);
    if (directory == NULL) {
        sq_log(SQ_LOG_ERROR, "repl",
               "cannot read the data directory: nothing that the primary has dropped is dropped here", "path=%s",
               node->host->data_dir);
        return false;
    }
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char name[REPL_NAME_MAX + 1];
        if (entry_name(entry->d_name, name) && is_next(name, after, best, has_best)) {
            memcpy(best, name, sizeof(best));
            has_best = true;
        }
    }
    closedir(directory);
    if (has_best)
        memcpy(ret_name, best, sizeof(best));
    return has_best;
}

static sq_status store_open(struct repl_store *store, const char *name, struct sq_waker *waker, struct sq_error *err,
                            struct repl_copy **ret_copy)
{
    struct node_copy *copy = NULL;
    SQ_TRY(need_copy(node_of(store), name, err, &copy));
    sq_status status = repl_replica_open(copy->replica, waker, err, ret_copy);
    copy_unref(copy);
    return status;
}

static sq_status store_drop(struct repl_store *store, const char *name, struct sq_error *err)
{
    struct repl_node *node = node_of(store);
    struct node_copy *copy = NULL;
    sq_status status = need_copy(node, name, err, &copy);
    if (status == SQ_BUSY)
        return SQ_OK; /* it is being dropped */
    SQ_TRY(status);
    pthread_mutex_lock(&node->copies_mutex);
    bool is_first = !copy->is_dropped;
    copy->is_dropped = true;
    pthread_mutex_unlock(&node->copies_mutex);
    if (is_first) {
        sq_log(SQ_LOG_INFO, "repl", "the primary has no such database any more: it is dropped", "db=%s", name);
        repl_replica_drop(copy->replica);
    }
    copy_unref(copy);
    return SQ_OK;
}

static const struct repl_store_ops store_ops = {
    .identity_cb = store_identity,
    .adopt_cb = store_adopt,
    .next_database_cb = store_next_database,
    .open_cb = store_open,
    .drop_cb = store_drop,
};

/* --- For the rest of the node -------------------------------------------------------------------------------------- */

sq_status node_store_follow(struct repl_node *node, struct engine_database *database,
                            struct engine_durability *durability, struct sq_error *err,
                            struct engine_follower **ret_follower)
{
    struct node_copy *copy = NULL;
    SQ_TRY(need_copy(node, engine_database_name(database), err, &copy));
    sq_status status = repl_replica_follow(copy->replica, database, durability, err, ret_follower);
    copy_unref(copy);
    return status;
}

sq_status node_store_open_feed(struct repl_node *node, const char *name, struct sq_waker *waker, struct sq_error *err,
                               struct repl_feed **ret_feed)
{
    struct node_copy *copy = NULL;
    look_up(node, name, &copy);
    if (copy == NULL)
        return sq_fail(err, SQ_NOT_FOUND, "there is no copy of database \"%s\" yet", name);
    sq_status status = repl_feed_open(repl_replica_feed_host(copy->replica), waker, err, ret_feed);
    copy_unref(copy);
    return status;
}

/* The first copy after `after` by name, with a reference; NULL: there is none. */
static struct node_copy *next_copy(struct repl_node *node, const char *after)
{
    struct node_copy *best = NULL;
    pthread_mutex_lock(&node->copies_mutex);
    SQ_LIST_FOREACH (i, &node->copies) {
        struct node_copy *copy = SQ_CONTAINER_OF(i, struct node_copy, links);
        if (is_next(copy->name, after, best != NULL ? best->name : "", best != NULL))
            best = copy;
    }
    if (best != NULL)
        best->ref_count++;
    pthread_mutex_unlock(&node->copies_mutex);
    return best;
}

void node_store_release(struct repl_node *node)
{
    char after[REPL_NAME_MAX + 1] = "";
    for (struct node_copy *copy; (copy = next_copy(node, after)) != NULL;) {
        struct sq_error err;
        memcpy(after, copy->name, sizeof(after));
        if (!copy->is_dropped && repl_replica_settle(copy->replica, &err) != SQ_OK)
            sq_log_error(SQ_LOG_WARNING, "repl", "not everything that was received is applied", &err);
        if (!copy->is_dropped)
            repl_replica_release(copy->replica);
        copy_unref(copy);
    }
}

void node_store_forget(struct repl_node *node)
{
    for (;;) {
        pthread_mutex_lock(&node->copies_mutex);
        struct sq_list *links = sq_list_pop_front(&node->copies);
        pthread_mutex_unlock(&node->copies_mutex);
        if (links == NULL)
            return;
        copy_unref(SQ_CONTAINER_OF(links, struct node_copy, links));
    }
}

/* --- Positions ----------------------------------------------------------------------------------------------------- */

enum repl_known node_store_position(struct repl_node *node, const char *name, struct wal_position *ret_position)
{
    struct node_copy *copy = NULL;
    struct repl_copy_view view;
    look_up(node, name, &copy);
    if (copy == NULL)
        return REPL_KNOWN_NEVER;
    repl_replica_look(copy->replica, &view);
    copy_unref(copy);
    if (view.applied.timeline == 0)
        return REPL_KNOWN_NEVER;
    *ret_position = view.applied;
    return REPL_KNOWN;
}

/* The wait is in the copy's list when this returns. */
static void wait_for(struct node_copy *copy, struct repl_wait *wait)
{
    if (wait->copy == copy)
        return;
    node_store_withdraw(copy->node, wait);
    pthread_mutex_lock(&copy->node->copies_mutex);
    copy->ref_count++;
    pthread_mutex_unlock(&copy->node->copies_mutex);
    wait->copy = copy;
    pthread_mutex_lock(&copy->wait_mutex);
    sq_list_push_back(&copy->waits, &wait->links);
    pthread_mutex_unlock(&copy->wait_mutex);
}

enum repl_known node_store_has(struct repl_node *node, const char *name, const struct wal_position *position,
                               struct repl_wait *wait)
{
    struct node_copy *copy = NULL;
    bool is_never = false;
    look_up(node, name, &copy);
    if (copy == NULL)
        return REPL_KNOWN_NEVER;
    bool has = repl_replica_has(copy->replica, position, &is_never);
    if (!has && !is_never) {
        wait_for(copy, wait);
        /* It may have come before the wait was in the list. */
        has = repl_replica_has(copy->replica, position, &is_never);
    }
    copy_unref(copy);
    if (!has && !is_never)
        return REPL_KNOWN_LATER;
    node_store_withdraw(node, wait);
    return has ? REPL_KNOWN : REPL_KNOWN_NEVER;
}

void node_store_withdraw(struct repl_node *node, struct repl_wait *wait)
{
    (void)node;
    struct node_copy *copy = SQ_STEAL(wait->copy);
    if (copy == NULL)
        return;
    pthread_mutex_lock(&copy->wait_mutex);
    sq_list_remove(&wait->links);
    pthread_mutex_unlock(&copy->wait_mutex);
    copy_unref(copy);
}

/* --- Life ---------------------------------------------------------------------------------------------------------- */

static void on_end_sessions(void *context, const char *database)
{
    struct repl_node *node = context;
    node->host->end_sessions_cb(node->host, database);
}

void node_store_init(struct repl_node *node)
{
    node->store.ops = &store_ops;
    sq_list_init(&node->copies);
    pthread_mutex_init(&node->copies_mutex, NULL);
}

sq_status node_store_begin(struct repl_node *node, struct sq_error *err)
{
    const struct repl_replicas_config config = {
        .registry = node->host->databases,
        .sched = node->host->sched,
        .data_dir = node->host->data_dir,
        .keep_bytes = node->keep_bytes,
        .keep_age_ms = node->keep_us / 1000,
        .context = node,
        .end_sessions_cb = on_end_sessions,
    };
    return repl_replicas_new(&config, err, &node->replicas);
}

void node_store_end(struct repl_node *node)
{
    node_store_forget(node);
    repl_replicas_free(node->replicas);
    pthread_mutex_destroy(&node->copies_mutex);
}
