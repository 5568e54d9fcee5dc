/* repl/node.c: a node's life and its roles.
 *
 *                   sqld.replication says
 *   replica-of      nothing              primary                       replica            fenced
 *   ──────────      ───────              ───────                       ───────            ──────
 *   (empty)         primary, new group   primary                       replica of nobody  fenced
 *   a URL           replica (1)          replica; primary, if the      replica            replica
 *                                        URL is what it left (2)
 *
 *   (1) Of a directory without databases: one with databases would lose them to the primary's.
 *   (2) sqld_promote() made it a primary although the option still says whom it followed.
 *
 * A change of the role is first on disk, then in memory, then told. Fencing is the exception: in memory first, for from that moment on nothing
 * is to be written.
 *
 * Invariants: (1) timeline <= seen_timeline; of a primary both are the same; (2) the role changes under `change` only, but for PRIMARY to
 * FENCED, for which `mutex` is enough. */
#include "repl/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/inject.h"
#include "base/log.h"
#include "base/random.h"
#include "base/url.h"
#include "engine/database.h"
#include "repl/node_internal.h"
#include "repl/node_link.h"

enum { NODE_NAME_BYTES = 64 };

enum repl_role repl_node_role(struct repl_node *node)
{
    return (enum repl_role)atomic_load_explicit(&node->role, memory_order_relaxed);
}

/* A URL as it may be logged. */
static const char *shown_url(const char *url, char out[SQ_LOG_QUOTED_MAX])
{
    SQ_CLEANUP(sq_buf_done) struct sq_buf buf;
    sq_buf_init(&buf, (size_t)NODE_URL_BYTES_MAX * 2);
    sq_url_put_masked(&buf, url != NULL ? url : "");
    sq_buf_put_u8(&buf, '\0');
    return sq_log_quote(out, buf.is_failed ? "" : (const char *)sq_buf_bytes(&buf));
}

/* What is followed, or NULL; under `mutex`, or `change` when no link is at work. */
static const char *upstream(const struct repl_node *node)
{
    if (node->state.followed_url != NULL)
        return node->state.followed_url;
    return node->replica_of;
}

/* --- The role, on disk and in memory ------------------------------------------------------------------------------- */

/* Under `mutex`. */
static void show_role(struct repl_node *node)
{
    atomic_store_explicit(&node->role, (int)node->state.role, memory_order_relaxed);
}

/* Begins a change of the state: *ret_next is a copy of it. state_commit() or state_abort() ends it. */
static sq_status state_begin(struct repl_node *node, struct sq_error *err, struct node_state *ret_next)
{
    pthread_mutex_lock(&node->file);
    pthread_mutex_lock(&node->mutex);
    struct node_state next = node->state;
    next.followed_url = next.left_url = NULL;
    sq_status status = node_state_set_url(&next.followed_url, node->state.followed_url, err);
    if (status == SQ_OK)
        status = node_state_set_url(&next.left_url, node->state.left_url, err);
    pthread_mutex_unlock(&node->mutex);
    if (status == SQ_OK) {
        *ret_next = next;
        return SQ_OK;
    }
    node_state_done(&next);
    pthread_mutex_unlock(&node->file);
    return status;
}

static void state_abort(struct repl_node *node, struct node_state *next)
{
    node_state_done(next);
    pthread_mutex_unlock(&node->file);
}

/* Writes *next down and makes it the state. */
static sq_status state_commit(struct repl_node *node, struct node_state *next, struct sq_error *err)
{
    sq_status status = node_state_write(node->host->data_dir, next, err);
    if (status != SQ_OK) {
        state_abort(node, next);
        return status;
    }
    pthread_mutex_lock(&node->mutex);
    struct node_state old = node->state;
    /* Seen while it was being written. */
    if (next->seen_timeline < old.seen_timeline)
        next->seen_timeline = old.seen_timeline;
    if (next->role == REPL_PRIMARY && next->timeline < next->seen_timeline)
        next->role = REPL_FENCED;
    node->state = *next;
    show_role(node);
    pthread_mutex_unlock(&node->mutex);
    pthread_mutex_unlock(&node->file);
    node_state_done(&old);
    node_notify(node);
    return SQ_OK;
}

sq_status node_adopt(struct repl_node *node, uint64_t system_id, uint64_t timeline, struct sq_error *err)
{
    sq_assert(system_id != 0);
    struct node_state next = {0};
    SQ_TRY(state_begin(node, err, &next));
    if (system_id == next.system_id && timeline <= next.timeline) {
        state_abort(node, &next);
        return SQ_OK;
    }
    next.system_id = system_id;
    if (next.timeline < timeline)
        next.timeline = timeline;
    if (next.seen_timeline < timeline)
        next.seen_timeline = timeline;
    return state_commit(node, &next, err);
}

/* Under `mutex`. Whether this was a primary. */
static bool fence(struct repl_node *node, uint64_t timeline)
{
    node->state.seen_timeline = timeline;
    if (node->state.role != REPL_PRIMARY)
        return false;
    node->state.role = REPL_FENCED;
    show_role(node);
    return true;
}

static sq_status save(struct repl_node *node, struct sq_error *err)
{
    struct node_state same = {0};
    SQ_TRY(state_begin(node, err, &same));
    return state_commit(node, &same, err);
}

void node_see_timeline(struct repl_node *node, uint64_t timeline)
{
    pthread_mutex_lock(&node->mutex);
    bool is_news = timeline > node->state.seen_timeline && timeline > node->state.timeline;
    uint64_t own = node->state.timeline;
    bool is_fenced = is_news && fence(node, timeline);
    pthread_mutex_unlock(&node->mutex);
    if (is_fenced) {
        sq_log(SQ_LOG_WARNING, "repl", "fenced: a newer timeline exists, nothing is written here any more",
               "timeline=%llu seen=%llu hint=\"start this server with --replica-of, or SELECT sqld_follow('URL')\"",
               (unsigned long long)own, (unsigned long long)timeline);
        node->host->end_sessions_cb(node->host, NULL);
    }
    struct sq_error err;
    /* What is in memory holds; a server that forgets it in a crash hears it again from the next who knows. */
    if (is_news && save(node, &err) != SQ_OK)
        sq_log_error(SQ_LOG_ERROR, "repl", "what was seen of a newer timeline could not be written down", &err);
}

sq_status repl_node_check_writable(struct repl_node *node, struct sq_error *err)
{
    enum repl_role role = repl_node_role(node);
    if (SQ_LIKELY(role == REPL_PRIMARY))
        return SQ_OK;
    pthread_mutex_lock(&node->mutex);
    uint64_t seen = node->state.seen_timeline;
    uint64_t timeline = node->state.timeline;
    char url[SQ_LOG_QUOTED_MAX];
    const char *shown = upstream(node) != NULL ? shown_url(upstream(node), url) : NULL;
    sq_status status;
    if (role == REPL_FENCED) {
        status = sq_fail_sql(err, SQ_SQL, "25006",
                             "this server was a primary and has seen a newer timeline: it accepts no writes");
        sq_error_set_detail(err, "Its timeline is %llu, timeline %llu has begun elsewhere.",
                            (unsigned long long)timeline, (unsigned long long)seen);
        sq_error_set_hint(err, "Connect to the new primary. SELECT sqld_follow('URL') makes this server its replica.");
    } else {
        status = sq_fail_sql(err, SQ_SQL, "25006", "cannot write on a replica");
        if (shown != NULL)
            sq_error_set_hint(err, "Its primary is %s.", shown);
        else
            sq_error_set_hint(err, "It follows nobody: SELECT sqld_promote() makes it a primary.");
    }
    pthread_mutex_unlock(&node->mutex);
    return status;
}

char *repl_node_upstream(struct repl_node *node)
{
    pthread_mutex_lock(&node->mutex);
    const char *url = node->state.role == REPL_REPLICA ? upstream(node) : NULL;
    char *copy = url != NULL ? strdup(url) : NULL;
    pthread_mutex_unlock(&node->mutex);
    pthread_mutex_lock(&node->link_mutex);
    char *sorted = copy != NULL && node->link != NULL ? node_link_url(node->link, copy) : NULL;
    pthread_mutex_unlock(&node->link_mutex);
    if (sorted == NULL)
        return copy;
    free(copy);
    return sorted;
}

bool repl_node_is_connected(struct repl_node *node)
{
    if (repl_node_role(node) == REPL_PRIMARY)
        return true;
    pthread_mutex_lock(&node->link_mutex);
    bool is_connected = node->link != NULL && node_link_is_connected(node->link);
    pthread_mutex_unlock(&node->link_mutex);
    return is_connected;
}

/* --- Following and promotion --------------------------------------------------------------------------------------- */

/* Under `change`. */
static void link_stop(struct repl_node *node)
{
    pthread_mutex_lock(&node->link_mutex);
    struct node_link *link = SQ_STEAL(node->link);
    pthread_mutex_unlock(&node->link_mutex);
    node_link_free(link);
}

/* Under `change`, when nobody is followed. */
static sq_status link_start(struct repl_node *node, struct sq_error *err)
{
    sq_assert(node->link == NULL);
    const char *url = upstream(node);
    if (node->state.role != REPL_REPLICA)
        return SQ_OK;
    if (url == NULL) {
        sq_log(SQ_LOG_WARNING, "repl", "a replica that follows nobody",
               "hint=\"set replica-of, or SELECT sqld_promote()\"");
        return SQ_OK;
    }
    struct node_link *link = NULL;
    SQ_TRY(node_link_new(node, url, err, &link));
    pthread_mutex_lock(&node->link_mutex);
    node->link = link;
    pthread_mutex_unlock(&node->link_mutex);
    return SQ_OK;
}

/* On disk and in memory. */
static sq_status promote_state(struct repl_node *node, struct sq_error *err)
{
    struct node_state next = {0};
    SQ_TRY(state_begin(node, err, &next));
    uint64_t newest = next.seen_timeline > next.timeline ? next.seen_timeline : next.timeline;
    next.role = REPL_PRIMARY;
    next.timeline = next.seen_timeline = newest + 1;
    sq_status status = node_state_set_url(&next.left_url, node->replica_of, err);
    if (status == SQ_OK)
        status = node_state_set_url(&next.followed_url, NULL, err);
    if (status != SQ_OK) {
        state_abort(node, &next);
        return status;
    }
    sq_inject("repl.promote.before_state");
    SQ_TRY(state_commit(node, &next, err));
    sq_inject("repl.promote.after_state");
    return SQ_OK;
}

static sq_status promote_locked(struct repl_node *node, struct sq_error *err)
{
    if (node->state.role == REPL_PRIMARY)
        return sq_fail_sql(err, SQ_INVALID, "55000", "this server is a primary");
    if (node->state.system_id == 0)
        return sq_fail_sql(err, SQ_INVALID, "55000",
                           "this replica has never reached a primary: there is nothing to promote");
    link_stop(node);
    node_databases_release(node);
    sq_status status = promote_state(node, err);
    if (status != SQ_OK) {
        struct sq_error second;
        if (link_start(node, &second) != SQ_OK)
            sq_log_error(SQ_LOG_ERROR, "repl", "the primary is not followed any more", &second);
        return status;
    }
    sq_log(SQ_LOG_INFO, "repl", "promoted: this server is the primary now", "timeline=%llu",
           (unsigned long long)node->state.timeline);
    return node_databases_resume(node, true, err);
}

sq_status repl_node_promote(struct repl_node *node, struct sq_error *err)
{
    pthread_mutex_lock(&node->change);
    sq_status status = promote_locked(node, err);
    pthread_mutex_unlock(&node->change);
    return status;
}

/* *ret_was_replica: only another primary is followed now. */
static sq_status follow_state(struct repl_node *node, const char *url, struct sq_error *err, bool *ret_was_replica)
{
    struct node_state next = {0};
    SQ_TRY(state_begin(node, err, &next));
    *ret_was_replica = next.role == REPL_REPLICA;
    next.role = REPL_REPLICA;
    sq_status status = node_state_set_url(&next.followed_url, url, err);
    if (status == SQ_OK)
        status = node_state_set_url(&next.left_url, NULL, err);
    if (status != SQ_OK) {
        state_abort(node, &next);
        return status;
    }
    return state_commit(node, &next, err);
}

/* `url` NULL: what the option says. */
static sq_status follow_locked(struct repl_node *node, const char *url, struct sq_error *err)
{
    if ((url == NULL || url[0] == '\0') && node->replica_of == NULL)
        return sq_fail_sql(err, SQ_INVALID, "22023", "there is no primary to follow: replica-of is not set");
    if (url != NULL && url[0] != '\0')
        SQ_TRY(node_link_check_url(url, err));
    bool was_replica = false;
    link_stop(node);
    SQ_TRY(follow_state(node, url, err, &was_replica));
    char shown[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_INFO, "repl", was_replica ? "another primary is followed" : "this server is a replica now",
           "primary=%s", shown_url(upstream(node), shown));
    if (!was_replica) {
        node->host->end_sessions_cb(node->host, NULL);
        node_databases_release(node);
        SQ_TRY(node_databases_resume(node, true, err));
    }
    return link_start(node, err);
}

sq_status repl_node_follow(struct repl_node *node, const char *url, struct sq_error *err)
{
    pthread_mutex_lock(&node->change);
    sq_status status = follow_locked(node, url, err);
    pthread_mutex_unlock(&node->change);
    return status;
}

/* --- Options ------------------------------------------------------------------------------------------------------- */

/* "" becomes NULL. */
static sq_status set_text(char **field, const char *text, struct sq_error *err)
{
    char *copy = NULL;
    if (text[0] != '\0') {
        copy = strdup(text);
        if (copy == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for an option");
    }
    free(*field);
    *field = copy;
    return SQ_OK;
}

static sq_status set_name(struct repl_node *node, const char *name, struct sq_error *err)
{
    char made[NODE_NAME_BYTES];
    if (name[0] == '\0') {
        char host[NODE_NAME_BYTES / 2] = "";
        (void)gethostname(host, sizeof(host) - 1); /* without one it is called by its directory alone */
        const char *slash = strrchr(node->host->data_dir, '/');
        (void)snprintf(made, sizeof(made), "%s:%.28s", host, slash != NULL ? slash + 1 : node->host->data_dir);
        name = made;
    }
    return set_text(&node->replica_name, name, err);
}

/* Under `change` and `mutex`. */
static sq_status take_options(struct repl_node *node, const struct repl_options *options, struct sq_error *err)
{
    SQ_TRY(set_name(node, options->replica_name, err));
    SQ_TRY(set_text(&node->replica_databases, options->replica_databases, err));
    SQ_TRY(set_text(&node->replica_of, options->replica_of, err));
    node->log_mode = options->log_mode;
    node->keep_bytes = options->keep_bytes;
    node->keep_us = options->keep_us;
    node->timeout_us = options->timeout_us;
    node->synchronous_count = options->synchronous_count;
    return SQ_OK;
}

static bool is_same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

/* Under `change`. */
static sq_status reconfigure_locked(struct repl_node *node, const struct repl_options *options, struct sq_error *err)
{
    if (options->replica_of[0] != '\0')
        SQ_TRY(node_link_check_url(options->replica_of, err));
    bool is_moved = !is_same_text(node->replica_of, options->replica_of);
    bool is_other = is_moved || !is_same_text(node->replica_databases, options->replica_databases) ||
                    node->timeout_us != options->timeout_us;
    pthread_mutex_lock(&node->mutex);
    sq_status status = take_options(node, options, err);
    pthread_mutex_unlock(&node->mutex);
    SQ_TRY(status);
    node_databases_reconfigure(node);
    if (is_moved && node->replica_of != NULL)
        return follow_locked(node, NULL, err);
    if (!is_other)
        return SQ_OK;
    link_stop(node);
    return link_start(node, err);
}

void repl_node_configure(struct repl_node *node, const struct repl_options *options)
{
    struct sq_error err;
    pthread_mutex_lock(&node->change);
    if (reconfigure_locked(node, options, &err) != SQ_OK)
        sq_log_error(SQ_LOG_ERROR, "repl", "options of replication could not be taken over", &err);
    pthread_mutex_unlock(&node->change);
}

/* --- Life ---------------------------------------------------------------------------------------------------------- */

static void note_database(void *context, const char *name, int64_t bytes)
{
    (void)name;
    (void)bytes;
    *(size_t *)context += 1;
}

/* A directory that no node has used yet: *next is what it becomes. */
static sq_status begin_fresh(const struct repl_node *node, struct sq_error *err, struct node_state *next)
{
    if (node->replica_of == NULL) {
        next->role = REPL_PRIMARY;
        next->timeline = next->seen_timeline = 1;
        sq_random_fill(&next->system_id, sizeof(next->system_id));
        next->system_id = (next->system_id & (uint64_t)INT64_MAX) | 1; /* PostgreSQL's tools read a number of 63 bits */
        return SQ_OK;
    }
    size_t count = 0;
    SQ_TRY(engine_registry_list(node->host->databases, err, &count, note_database));
    if (count > 0) {
        sq_status status =
            sq_fail(err, SQ_INVALID, "data directory '%s' has databases of its own: it cannot become a replica's",
                    node->host->data_dir);
        sq_error_set_hint(err, "Name an empty directory with --data-dir: the primary's databases are copied into it.");
        return status;
    }
    next->role = REPL_REPLICA;
    return SQ_OK;
}

/* What a node that was here before becomes; the table above. */
static sq_status begin_again(const struct repl_node *node, struct sq_error *err, struct node_state *next)
{
    if (node->replica_of == NULL || next->role == REPL_REPLICA)
        return SQ_OK;
    if (next->role == REPL_PRIMARY && is_same_text(next->left_url, node->replica_of)) {
        sq_log(SQ_LOG_WARNING, "repl", "promoted before: replica-of is not followed", "timeline=%llu",
               (unsigned long long)next->timeline);
        return SQ_OK;
    }
    next->role = REPL_REPLICA;
    SQ_TRY(node_state_set_url(&next->left_url, NULL, err));
    return node_state_set_url(&next->followed_url, NULL, err);
}

static sq_status begin(struct repl_node *node, struct sq_error *err)
{
    if (node->replica_of != NULL)
        SQ_TRY(node_link_check_url(node->replica_of, err));
    sq_status found = node_state_read(node->host->data_dir, err, &node->state);
    if (found != SQ_OK && found != SQ_NOT_FOUND)
        return found;
    struct node_state next = {0};
    SQ_TRY(state_begin(node, err, &next));
    sq_status status = found == SQ_OK ? begin_again(node, err, &next) : begin_fresh(node, err, &next);
    if (status != SQ_OK) {
        state_abort(node, &next);
        return status;
    }
    return state_commit(node, &next, err);
}

SQ_DEFINE_FREEP(struct repl_node, repl_node_free)

sq_status repl_node_new(struct repl_host *host, const struct repl_options *options, struct sq_error *err,
                        struct repl_node **ret_node)
{
    SQ_CLEANUP(repl_node_freep) struct repl_node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for replication");
    node->host = host;
    pthread_mutex_init(&node->change, NULL);
    pthread_mutex_init(&node->file, NULL);
    pthread_mutex_init(&node->mutex, NULL);
    pthread_mutex_init(&node->link_mutex, NULL);
    pthread_mutex_init(&node->peer_mutex, NULL);
    sq_list_init(&node->watches);
    sq_list_init(&node->databases);
    sq_list_init(&node->peers);
    node_source_init(node);
    node_store_init(node);
    SQ_TRY(take_options(node, options, err));
    SQ_TRY(begin(node, err));
    SQ_TRY(node_databases_begin(node, err));
    *ret_node = SQ_STEAL(node);
    return SQ_OK;
}

sq_status repl_node_start(struct repl_node *node, struct sq_error *err)
{
    static const char *const roles[] = {"primary", "replica", "fenced"};
    pthread_mutex_lock(&node->change);
    char shown[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_INFO, "repl", "node", "role=%s timeline=%llu system=%llu%s%s", roles[node->state.role],
           (unsigned long long)node->state.timeline, (unsigned long long)node->state.system_id,
           node->state.role == REPL_REPLICA ? " primary=" : "",
           node->state.role == REPL_REPLICA ? shown_url(upstream(node), shown) : "");
    sq_status status = node_databases_start(node, err);
    if (status == SQ_OK)
        status = link_start(node, err);
    pthread_mutex_unlock(&node->change);
    return status;
}

void repl_node_stop(struct repl_node *node)
{
    pthread_mutex_lock(&node->change);
    link_stop(node);
    node_databases_stop(node);
    pthread_mutex_unlock(&node->change);
}

void repl_node_free(struct repl_node *node)
{
    if (node == NULL)
        return;
    sq_assert(node->link == NULL && sq_list_is_empty(&node->peers));
    node_databases_end(node);
    node_state_done(&node->state);
    free(node->replica_of);
    free(node->replica_name);
    free(node->replica_databases);
    pthread_mutex_destroy(&node->peer_mutex);
    pthread_mutex_destroy(&node->link_mutex);
    pthread_mutex_destroy(&node->mutex);
    pthread_mutex_destroy(&node->file);
    pthread_mutex_destroy(&node->change);
    free(node);
}
