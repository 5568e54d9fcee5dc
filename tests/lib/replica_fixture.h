/* tests/lib/replica_fixture.h: a database whose transactions become LTX files, made here and independently of the logger; and a replica's side:
 * registry, scheduler, replicas, one database, which the test feeds as a receiver does. */
#ifndef SQ_TESTS_REPLICA_FIXTURE_H
#define SQ_TESTS_REPLICA_FIXTURE_H

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#include "wal_fixture.h"

#include "engine/database.h"
#include "engine/durability.h"
#include "repl/replica.h"
#include "sched/scheduler.h"
#include "sched/writer.h"
#include "wal/log.h"
#include "wal/ltx.h"
#include "wal/page_sums.h"

enum { ORIGIN_PAGES_MAX = 20000, REPLICA_WAIT_S = 60 };

/* --- Files ---------------------------------------------------------------------------------------------------------- */

struct blob {
    struct ltx_output output;
    uint8_t *bytes;
    size_t length;
    size_t cap;
    struct ltx_header header;
    struct ltx_trailer trailer;
};

static inline sq_status blob_write(struct ltx_output *output, const void *bytes, size_t length, struct sq_error *err)
{
    struct blob *blob = SQ_CONTAINER_OF(output, struct blob, output);
    (void)err;
    if (blob->length + length > blob->cap) {
        blob->cap = 2 * (blob->length + length);
        blob->bytes = realloc(blob->bytes, blob->cap);
        sq_assert(blob->bytes != NULL);
    }
    memcpy(blob->bytes + blob->length, bytes, length);
    blob->length += length;
    return SQ_OK;
}

static inline void blob_free(struct blob *blob)
{
    free(blob->bytes);
    *blob = (struct blob){0};
}

/* --- The origin ------------------------------------------------------------------------------------------------------- */

/* A moment of it. */
struct origin_mark {
    struct wal_place place;
    struct wal_position position;
};

struct origin {
    char dir[PATH_MAX];
    sqlite3 *db; /* writes */
    sqlite3 *reader;
    sqlite3 *connection;
    struct wal_file *file;
    uint32_t page_bytes;
    uint32_t page_count;
    struct page_sums *sums;
    struct origin_mark now;
};

/* The checksums as of now; frames since the last time are counted as transactions. */
static inline void origin_follow(struct origin *origin)
{
    struct wal_place end = wal_end_of(origin->file);
    static unsigned char page[65536];
    uint32_t number;
    uint32_t commit;
    if (end.salt1 != origin->now.place.salt1)
        origin->now.place = (struct wal_place){end.salt1, end.salt2, 0};
    for (uint32_t i = origin->now.place.frame_count; i < end.frame_count; i++) {
        WAL_OK(wal_file_frame(origin->file, &end, i, &wal_err, &number, &commit, page));
        WAL_OK(page_sums_set(origin->sums, number, wal_page_checksum(number, page, origin->page_bytes), &wal_err));
        if (commit == 0)
            continue;
        WAL_OK(page_sums_resize(origin->sums, commit, &wal_err));
        origin->page_count = commit;
        origin->now.position.txid++;
    }
    origin->now.place = end;
    origin->now.position.checksum = page_sums_database(origin->sums);
}

static inline void origin_open(struct origin *origin, uint32_t page_bytes)
{
    struct wal_place end;
    memset(origin, 0, sizeof(*origin));
    scratch_make_directory(origin->dir);
    origin->db = wal_create(origin->dir, "origin", page_bytes, NULL);
    wal_exec(origin->db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    origin->reader = wal_connect(origin->dir, "origin", NULL);
    origin->connection = wal_connect(origin->dir, "origin", NULL);
    WAL_OK(wal_file_new(origin->connection, &wal_err, &origin->file));
    WAL_OK(wal_file_end(origin->file, &wal_err, &end, &origin->page_bytes, &origin->page_count));
    WAL_OK(page_sums_new(origin->page_bytes, &wal_err, &origin->sums));
    struct wal_snapshot *snapshot = NULL;
    static unsigned char page[65536];
    WAL_OK(wal_snapshot_begin(origin->file, &wal_err, &snapshot));
    for (uint32_t number = 1; number <= origin->page_count; number++) {
        WAL_OK(wal_snapshot_page(snapshot, number, page, &wal_err));
        WAL_OK(page_sums_set(origin->sums, number, wal_page_checksum(number, page, page_bytes), &wal_err));
    }
    wal_snapshot_end(snapshot);
    origin->now = (struct origin_mark){end, {1, 5, page_sums_database(origin->sums)}};
}

static inline void origin_close(struct origin *origin)
{
    wal_file_free(origin->file);
    page_sums_free(origin->sums);
    assert_int_equal(sqlite3_close(origin->connection), SQLITE_OK);
    assert_int_equal(sqlite3_close(origin->reader), SQLITE_OK);
    assert_int_equal(sqlite3_close(origin->db), SQLITE_OK);
    scratch_remove_directory(origin->dir);
}

/* One transaction, or several. */
static inline void origin_exec(struct origin *origin, const char *sql)
{
    wal_exec(origin->db, sql);
    origin_follow(origin);
}

static inline void origin_begin_file(struct origin *origin, struct blob *blob, const struct ltx_header *header,
                                     struct ltx_encoder **ret_encoder)
{
    *blob = (struct blob){.output = {.write_cb = blob_write}, .header = *header};
    blob->header.page_bytes = origin->page_bytes;
    blob->header.page_count = origin->page_count;
    blob->header.max_txid = origin->now.position.txid;
    blob->header.node_id = origin->now.position.timeline;
    WAL_OK(ltx_encoder_new(&blob->output, &blob->header, &wal_err, ret_encoder));
}

static inline void origin_end_file(struct origin *origin, struct blob *blob, struct ltx_encoder *encoder)
{
    uint64_t bytes;
    WAL_OK(ltx_encoder_finish(encoder, origin->now.position.checksum, &wal_err, &blob->trailer, &bytes));
    assert_int_equal(bytes, blob->length);
    ltx_encoder_free(encoder);
}

/* What has happened since `mark`, as one file. */
static inline void origin_file(struct origin *origin, const struct origin_mark *mark, struct blob *blob)
{
    static uint32_t frames[ORIGIN_PAGES_MAX]; /* the last one of each page, from 1 */
    static unsigned char page[65536];
    struct ltx_encoder *encoder = NULL;
    uint32_t number;
    uint32_t commit;
    assert_true(mark->place.salt1 == origin->now.place.salt1 && origin->page_count < ORIGIN_PAGES_MAX);
    memset(frames, 0, sizeof(frames));
    for (uint32_t i = mark->place.frame_count; i < origin->now.place.frame_count; i++) {
        WAL_OK(wal_file_frame(origin->file, &origin->now.place, i, &wal_err, &number, &commit, NULL));
        assert_true(number < ORIGIN_PAGES_MAX);
        frames[number] = i + 1;
    }
    struct ltx_header header = {.min_txid = mark->position.txid + 1, .pre_checksum = mark->position.checksum};
    origin_begin_file(origin, blob, &header, &encoder);
    for (uint32_t i = 1; i <= origin->page_count; i++) {
        if (frames[i] == 0)
            continue;
        WAL_OK(wal_file_frame(origin->file, &origin->now.place, frames[i] - 1, &wal_err, &number, &commit, page));
        WAL_OK(ltx_encoder_page(encoder, i, page, &wal_err));
    }
    origin_end_file(origin, blob, encoder);
}

/* For a replica that has said the checksums of `count` pages. */
static inline void origin_heal(struct origin *origin, const uint64_t *sums, size_t count, struct blob *blob)
{
    static unsigned char page[65536];
    struct ltx_encoder *encoder = NULL;
    struct wal_snapshot *snapshot = NULL;
    uint64_t given = 0;
    for (size_t i = 0; i < count; i++)
        given = wal_checksum_exchange(given, 0, sums[i]);
    struct ltx_header header = {.min_txid = count == 0 ? 1 : origin->now.position.txid, .pre_checksum = given};
    origin_begin_file(origin, blob, &header, &encoder);
    WAL_OK(wal_snapshot_begin(origin->file, &wal_err, &snapshot));
    for (uint32_t i = 1; i <= origin->page_count; i++) {
        if (i <= count && sums[i - 1] == page_sums_get(origin->sums, i))
            continue;
        WAL_OK(wal_snapshot_page(snapshot, i, page, &wal_err));
        WAL_OK(ltx_encoder_page(encoder, i, page, &wal_err));
    }
    wal_snapshot_end(snapshot);
    origin_end_file(origin, blob, encoder);
}

/* --- The replica's side ------------------------------------------------------------------------------------------------ */

struct bell {
    struct sq_waker waker;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    uint64_t count;
};

static inline void bell_ring(struct sq_waker *waker)
{
    struct bell *bell = SQ_CONTAINER_OF(waker, struct bell, waker);
    pthread_mutex_lock(&bell->mutex);
    bell->count++;
    pthread_cond_broadcast(&bell->cond);
    pthread_mutex_unlock(&bell->mutex);
}

static inline void bell_init(struct bell *bell)
{
    *bell = (struct bell){.waker = {.wake_cb = bell_ring}};
    pthread_mutex_init(&bell->mutex, NULL);
    pthread_cond_init(&bell->cond, NULL);
}

struct node {
    char dir[PATH_MAX];
    char name[64];
    struct engine_registry *registry;
    struct sched *sched;
    struct repl_replicas *replicas;
    struct repl_replica *replica;
    struct repl_copy *copy;
    struct engine_follower_factory factory;
    struct bell bell;
};

static inline sq_status node_follow(struct engine_follower_factory *factory, struct engine_database *database,
                                    struct engine_durability *durability, struct sq_error *err,
                                    struct engine_follower **ret_follower)
{
    struct node *node = SQ_CONTAINER_OF(factory, struct node, factory);
    *ret_follower = NULL;
    if (strcmp(engine_database_name(database), node->name) != 0)
        return SQ_OK;
    return repl_replica_follow(node->replica, database, durability, err, ret_follower);
}

static inline void node_start(struct node *node)
{
    WAL_OK(engine_registry_open(node->dir, "postgres", &wal_err, &node->registry));
    node->factory.start_cb = node_follow;
    engine_registry_set_follower_factory(node->registry, &node->factory);
    WAL_OK(sched_new(node->registry, &wal_err, &node->sched));
    struct repl_replicas_config config = {.registry = node->registry, .sched = node->sched, .data_dir = node->dir};
    WAL_OK(repl_replicas_new(&config, &wal_err, &node->replicas));
    bell_init(&node->bell);
    WAL_OK(repl_replica_new(node->replicas, node->name, &node->bell.waker, &wal_err, &node->replica));
}

static inline void node_open(struct node *node, const char *name)
{
    memset(node, 0, sizeof(*node));
    scratch_make_directory(node->dir);
    snprintf(node->name, sizeof(node->name), "%s", name);
    node_start(node);
}

static inline void node_open_copy(struct node *node)
{
    WAL_OK(repl_replica_open(node->replica, &node->bell.waker, &wal_err, &node->copy));
}

static inline void node_close_copy(struct node *node)
{
    if (node->copy != NULL)
        node->copy->ops->close_cb(node->copy);
    node->copy = NULL;
}

static inline void node_stop(struct node *node)
{
    node_close_copy(node);
    if (!repl_replica_is_gone(node->replica))
        repl_replica_release(node->replica);
    sched_free(node->sched);
    engine_registry_free(node->registry);
    repl_replica_free(node->replica);
    repl_replicas_free(node->replicas);
}

static inline void node_remove(struct node *node)
{
    char *arguments[] = {strdup("rm"), strdup("-rf"), strdup(node->dir), NULL};
    pid_t child = fork();
    if (child == 0) {
        execvp("rm", arguments);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    for (size_t i = 0; i < 3; i++)
        free(arguments[i]);
}

static inline struct repl_copy_view node_look(struct node *node)
{
    struct repl_copy_view view;
    repl_replica_look(node->replica, &view);
    return view;
}

static inline struct repl_replica_facts node_facts(struct node *node)
{
    struct repl_replica_facts facts;
    repl_replica_facts(node->replica, &facts);
    return facts;
}

/* Waits until `is_so_cb` says so; it is asked again whenever the replica rings. */
static inline void node_wait(struct node *node, bool (*is_so_cb)(const struct repl_copy_view *view, uint64_t number),
                             uint64_t number)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += REPLICA_WAIT_S;
    for (;;) {
        pthread_mutex_lock(&node->bell.mutex);
        uint64_t count = node->bell.count;
        pthread_mutex_unlock(&node->bell.mutex);
        struct repl_copy_view view = node_look(node);
        if (is_so_cb(&view, number))
            return;
        pthread_mutex_lock(&node->bell.mutex);
        int result = 0;
        while (node->bell.count == count && result == 0)
            result = pthread_cond_timedwait(&node->bell.cond, &node->bell.mutex, &until);
        pthread_mutex_unlock(&node->bell.mutex);
        if (result != 0) {
            struct sq_error reason = {0};
            if (node->copy != NULL)
                node->copy->ops->reason_cb(node->copy, &reason);
            fail_msg("waited in vain: state %d, written %llu, applied %llu, durable %llu: %s", (int)view.state,
                     (unsigned long long)view.written.txid, (unsigned long long)view.applied.txid,
                     (unsigned long long)view.durable.txid, reason.text);
        }
    }
}

static inline bool is_state(const struct repl_copy_view *view, uint64_t number)
{
    return (uint64_t)view->state == number;
}
static inline bool is_settled(const struct repl_copy_view *view, uint64_t number)
{
    (void)number;
    return view->state != REPL_COPY_PENDING;
}
static inline bool is_applied(const struct repl_copy_view *view, uint64_t number)
{
    return view->applied.txid >= number && view->state == REPL_COPY_READY;
}
static inline bool is_durable(const struct repl_copy_view *view, uint64_t number)
{
    return view->durable.txid >= number && view->state == REPL_COPY_READY;
}

/* As a receiver does, in pieces. Returns what begin_cb, append_cb or commit_cb say. */
static inline sq_status node_send(struct node *node, const struct blob *blob, bool is_heal)
{
    const struct repl_copy_ops *ops = node->copy->ops;
    struct repl_file_intent intent = {.is_heal = is_heal,
                                      .min_txid = blob->header.min_txid,
                                      .max_txid = blob->header.max_txid,
                                      .timeline = blob->header.node_id,
                                      .checksum = blob->trailer.post_checksum,
                                      .bytes = is_heal ? 0 : blob->length};
    sq_status status = SQ_BUSY;
    for (int i = 0; i < 100 * REPLICA_WAIT_S && status == SQ_BUSY; i++) {
        status = ops->begin_cb(node->copy, &intent, &wal_err);
        if (status == SQ_BUSY)
            poll(NULL, 0, 10);
    }
    SQ_TRY(status);
    for (size_t at = 0; at < blob->length; at += 10000) {
        size_t length = blob->length - at < 10000 ? blob->length - at : 10000;
        SQ_TRY(ops->append_cb(node->copy, blob->bytes + at, length, &wal_err));
    }
    return ops->commit_cb(node->copy, &wal_err);
}

/* What has happened since `mark`, which moves on. */
static inline void node_send_since(struct node *node, struct origin *origin, struct origin_mark *mark)
{
    struct blob blob;
    origin_file(origin, mark, &blob);
    WAL_OK(node_send(node, &blob, false));
    blob_free(&blob);
    *mark = origin->now;
}

/* All checksums that the copy says; *ret_sums is to be freed. */
static inline size_t node_sums(struct node *node, uint32_t page_bytes, uint64_t **ret_sums)
{
    uint64_t *sums = malloc(ORIGIN_PAGES_MAX * sizeof(sums[0]));
    size_t count = 0;
    bool is_end = false;
    for (int i = 0; i < 100 * REPLICA_WAIT_S && !is_end; i++) {
        size_t more = 0;
        WAL_OK(node->copy->ops->sums_cb(node->copy, page_bytes, (uint32_t)count + 1, sums + count, 100, &wal_err, &more,
                                        &is_end));
        count += more;
        if (more == 0 && !is_end)
            poll(NULL, 0, 10);
    }
    assert_true(is_end);
    *ret_sums = sums;
    return count;
}

static inline void node_heal(struct node *node, struct origin *origin)
{
    struct blob blob;
    uint64_t *sums = NULL;
    size_t count = node_sums(node, origin->page_bytes, &sums);
    origin_heal(origin, sums, count, &blob);
    WAL_OK(node_send(node, &blob, true));
    blob_free(&blob);
    free(sums);
    node_wait(node, is_applied, origin->now.position.txid);
}

static inline sqlite3 *node_connect(struct node *node)
{
    char file[80];
    snprintf(file, sizeof(file), "%s.db", node->name);
    return wal_connect(node->dir, file, NULL);
}

static inline void node_assert_same(struct node *node, struct origin *origin)
{
    sqlite3 *db = node_connect(node);
    wal_assert_same(origin->reader, db);
    wal_check(db);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    struct repl_copy_view view = node_look(node);
    assert_int_equal(view.applied.txid, origin->now.position.txid);
    assert_int_equal(view.applied.timeline, origin->now.position.timeline);
    assert_true(view.applied.checksum == origin->now.position.checksum);
}

#endif
