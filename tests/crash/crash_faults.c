/* tests/crash/crash_faults.c: every write, every sync and every read of a server's life fails in turn.
 *
 * The life: a database whose log has commits in it is opened, two clients do transactions and read, the log is copied and
 * begun anew between them, everything is closed. It is played with the first operation failing, then with the second, and
 * so on, until it ends without having met the fault. Whatever fails:
 *   1. the client hears of it with the right SQLSTATE (53100 disk full, 58030 the disk is broken) or does not notice;
 *   2. after a failed sync nothing is acknowledged or shown any more that was not on disk before: the images of
 *      disk.h that a power cut may leave hold all that clients have heard;
 *   3. a disk that is full for a while only is used again as soon as there is room, without a restart;
 *   4. a server that is started again on the healthy disk has everything, writes again, and what it then acknowledges
 *      survives the next cut, also what the kernel had forgotten to write (disk.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../lib/scratch.h"
#include "base/log.h"
#include "client.h"
#include "engine/database.h"
#include "engine/durability.h"
#include "talk.h"
#include "world.h"

enum {
    CLIENTS = 2,
    TURNS = 7,
    OPERATIONS_MAX = 5000,
};

struct kind {
    const char *name;
    struct disk_fault fault;  /* all but `at` */
    const char *sqlstates[3]; /* that may be heard */
    bool is_passing;          /* the disk gets well while the server runs, and is used again */
};

static const struct kind kinds[] = {
    {"a write finds the disk full",
     {.ops = DISK_WRITE | DISK_TRUNCATE | DISK_CREATE, .error = ENOSPC},
     {"53100"},
     true},
    {"writes find the disk full for a while",
     {.ops = DISK_WRITE | DISK_TRUNCATE | DISK_CREATE, .error = ENOSPC, .is_lasting = true},
     {"53100"},
     true},
    {"the disk becomes full in the middle of a write",
     {.ops = DISK_WRITE, .error = ENOSPC, .is_lasting = true, .is_partial = true},
     {"53100"},
     true},
    /* Of a wal-index that cannot be made SQLite only says that it is not there. */
    {"the wal-index finds the disk full", {.ops = DISK_GROW_INDEX, .error = ENOSPC}, {"53100", "58030"}, true},
    {"the wal-index finds the disk full for a while",
     {.ops = DISK_GROW_INDEX, .error = ENOSPC, .is_lasting = true},
     {"53100", "58030"},
     true},
    {"a write fails", {.ops = DISK_WRITE | DISK_TRUNCATE | DISK_CREATE, .error = EIO}, {"58030"}, true},
    {"a write fails in the middle",
     {.ops = DISK_WRITE, .error = EIO, .is_partial = true, .is_lasting = true},
     {"58030"},
     true},
    {"a sync fails", {.ops = DISK_SYNC | DISK_SYNC_DIRECTORY, .error = EIO}, {"58030"}, false},
    {"syncs fail from then on",
     {.ops = DISK_SYNC | DISK_SYNC_DIRECTORY, .error = EIO, .is_lasting = true},
     {"58030"},
     false},
    /* Where it moves a cursor SQLite takes an unreadable page for a broken tree. */
    {"a read fails", {.ops = DISK_READ, .error = EIO}, {"58030", "XX001"}, true},
    {"an unlink fails", {.ops = DISK_UNLINK, .error = EIO}, {"58030"}, true},
};

/* --- One life ------------------------------------------------------------------------------------------------------- */

struct scene {
    const struct kind *kind;
    uint64_t at;
    char dir[PATH_MAX];
    struct disk *disk;
    struct history history;
    struct dice dice;
    struct session_fixture server;
    bool has_server;
    struct client clients[CLIENTS]; /* what they would say */
    struct talk talks[CLIENTS];
    bool has_talk[CLIENTS];
    size_t error_count;
};

static const char *const flags[] = {"--log-level=error", NULL};

static void complain(const struct scene *scene, const char *what, const char *sqlstate)
{
    fail_msg("%s, operation %llu: %s (SQLSTATE %s)", scene->kind->name, (unsigned long long)scene->at, what, sqlstate);
}

/* Rule 1. */
static void check_sqlstate(struct scene *scene, const char *what, const char *sqlstate)
{
    scene->error_count++;
    for (size_t i = 0; i < sizeof(scene->kind->sqlstates) / sizeof(scene->kind->sqlstates[0]); i++) {
        if (scene->kind->sqlstates[i] != NULL && strcmp(sqlstate, scene->kind->sqlstates[i]) == 0)
            return;
    }
    complain(scene, what, sqlstate);
}

static bool connect(struct scene *scene, size_t index)
{
    if (scene->has_talk[index] && !scene->talks[index].is_over)
        return true;
    if (scene->has_talk[index])
        talk_close(&scene->talks[index]);
    scene->has_talk[index] = true;
    if (talk_open(&scene->talks[index], &scene->server))
        return true;
    check_sqlstate(scene, "no connection", talk_sqlstate(&scene->talks[index]));
    scene->talks[index].is_over = true;
    return false;
}

struct listener {
    struct scene *scene;
    struct client *client;
};

static uint32_t number_of(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

static void hear_log(void *context, const char *const *values, size_t count)
{
    struct listener *listener = context;
    assert_int_equal(count, 3);
    history_shown_log(&listener->scene->history, number_of(values[0]), number_of(values[1]), number_of(values[2]),
                      listener->client->index);
}

static void hear_last(void *context, const char *const *values, size_t count)
{
    struct listener *listener = context;
    assert_int_equal(count, 1);
    listener->client->last = number_of(values[0]);
    history_shown_tx(&listener->scene->history, listener->client->index, listener->client->last,
                     listener->client->index, "last transaction");
}

static bool ask(struct scene *scene, size_t index, const char *sql,
                void (*row_cb)(void *context, const char *const *values, size_t count))
{
    struct listener listener = {scene, &scene->clients[index]};
    if (!connect(scene, index))
        return false;
    if (talk_query(&scene->talks[index], sql, &listener, row_cb))
        return true;
    check_sqlstate(scene, sql, talk_sqlstate(&scene->talks[index]));
    return false;
}

static void leave_transaction(struct scene *scene, size_t index)
{
    if (!scene->talks[index].is_over && scene->talks[index].client.answers.ready_status != 'I')
        ask(scene, index, "ROLLBACK", NULL);
}

/* After an error: what was the last one? */
static void catch_up(struct scene *scene, size_t index)
{
    char sql[128];
    snprintf(sql, sizeof(sql), "SELECT coalesce(max(tx), 0) FROM log WHERE client = %zu", index);
    scene->clients[index].has_doubts = !ask(scene, index, sql, hear_last);
}

static bool write_something(struct scene *scene, size_t index)
{
    struct client *client = &scene->clients[index];
    char sql[CLIENT_SCRIPT_BYTES_MAX];
    if (client->has_doubts)
        catch_up(scene, index);
    if (client->has_doubts)
        return false;
    client_script(client, sql, sizeof(sql));
    if (!connect(scene, index))
        return false;
    history_sent(&scene->history, client->index, client->number);
    if (!ask(scene, index, sql, NULL)) {
        client->has_doubts = true;
        leave_transaction(scene, index); /* others wait for it */
        return false;
    }
    client->last = client->number;
    history_acked(&scene->history, client->index, client->number);
    return true;
}

/* What the checkpointer's thread would do some day. */
static void copy_log(struct scene *scene, bool is_restart)
{
    struct engine_database *database = NULL;
    struct engine_wal_fill fill;
    struct sq_error err;
    if (engine_database_open(scene->server.host.databases, "main", &err, &database) != SQ_OK) {
        check_sqlstate(scene, err.text, err.sqlstate);
        return;
    }
    struct engine_durability *durability = engine_database_durability(database);
    sq_status status = SQ_OK;
    if (durability != NULL)
        status = engine_durability_checkpoint(durability, is_restart, 0, &err, &fill);
    if (status != SQ_OK && status != SQ_BUSY)
        check_sqlstate(scene, err.text, err.sqlstate);
    engine_database_unref(database);
}

static bool start(struct scene *scene)
{
    struct sq_error err;
    sq_status status = fixture_try_start(&scene->server, scene->dir, flags, &err);
    scene->has_server = true;
    if (status != SQ_OK)
        check_sqlstate(scene, err.text, err.sqlstate);
    return status == SQ_OK;
}

static void stop(struct scene *scene)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        if (scene->has_talk[i])
            talk_close(&scene->talks[i]);
        scene->has_talk[i] = false;
    }
    if (scene->has_server)
        fixture_stop(&scene->server);
    scene->has_server = false;
}

/* False: the server did not start. */
static bool live(struct scene *scene)
{
    if (!start(scene))
        return false;
    for (size_t turn = 0; turn < TURNS; turn++) {
        write_something(scene, turn % CLIENTS);
        ask(scene, (turn + 1) % CLIENTS, "SELECT n, client, tx FROM log ORDER BY n DESC LIMIT 2", hear_log);
        if (turn == 2 || turn == 4)
            copy_log(scene, turn == 4);
    }
    return true;
}

/* --- Before and after ----------------------------------------------------------------------------------------------- */

static struct disk_cut *beginning; /* a database whose log has commits in it */
static struct truth beginning_truth;
static const uint64_t history_seed = 4; /* its first transactions are small, and make a table */

static void scene_open(struct scene *scene, const struct kind *kind, uint64_t at)
{
    struct dice dice = {.state = 1};
    memset(scene, 0, sizeof(*scene));
    scene->kind = kind;
    scene->at = at;
    scene->dice.state = at;
    scratch_make_directory(scene->dir);
    if (beginning != NULL)
        disk_cut_write(beginning, DISK_LOSE_NONE, &dice, scene->dir);
    else
        world_make_database(scene->dir, 1024);
    scene->disk = disk_new(scene->dir, at);
    history_init(&scene->history, history_seed, CLIENTS);
    if (beginning != NULL)
        history_restart(&scene->history, &beginning_truth);
    for (uint32_t i = 0; i < CLIENTS; i++)
        client_init(&scene->clients[i], &scene->history, &scene->dice, i, scene->history.base.acked[i]);
}

static void scene_close(struct scene *scene)
{
    stop(scene);
    disk_free(scene->disk);
    for (size_t i = 0; i < CLIENTS; i++)
        client_done(&scene->clients[i]);
    history_done(&scene->history);
    scratch_remove_directory(scene->dir);
}

/* Rules 2 and 4: all that was said is in what a cut may leave. */
static void check_images(struct scene *scene, const char *when)
{
    static const enum disk_loss losses[] = {DISK_LOSE_ALL, DISK_LOSE_SECTORS, DISK_LOSE_NONE};
    static struct truth truth;
    static struct found found;
    struct disk_cut *cut = disk_cut_now(scene->disk);
    history_truth(&scene->history, history_event_count(&scene->history), &truth);
    for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
        char reason[HISTORY_REASON_BYTES];
        char dir[PATH_MAX];
        scratch_make_directory(dir);
        disk_cut_write(cut, losses[i], &scene->dice, dir);
        if (!history_check(&scene->history, &truth, dir, &found, reason))
            fail_msg("%s, operation %llu, %s, lost: %s: %s", scene->kind->name, (unsigned long long)scene->at, when,
                     disk_loss_names[losses[i]], reason);
        scratch_remove_directory(dir);
    }
    disk_cut_free(cut);
}

static void make_beginning(void)
{
    static const struct kind healthy = {.name = "a healthy disk"};
    static struct scene scene;
    scene_open(&scene, &healthy, 0);
    sq_assert(start(&scene));
    for (size_t turn = 0; turn < 6; turn++)
        sq_assert(write_something(&scene, turn % CLIENTS));
    struct disk_cut *cut = disk_cut_now(scene.disk);
    history_truth(&scene.history, history_event_count(&scene.history), &beginning_truth);
    scene_close(&scene);
    beginning = cut;
}

/* The disk is well again: both clients go on. */
static void go_on(struct scene *scene, const char *complaint)
{
    size_t error_count = scene->error_count;
    for (size_t i = 0; i < CLIENTS; i++) {
        scene->clients[i].has_doubts = true;
        if (!write_something(scene, i) || scene->error_count != error_count)
            complain(scene, complaint, talk_sqlstate(&scene->talks[i]));
    }
}

/* The life with one fault; false: it was not met. */
static bool play(const struct kind *kind, uint64_t at)
{
    static struct scene scene;
    struct disk_fault fault = kind->fault;
    fault.at = at;
    scene_open(&scene, kind, at);
    disk_set_fault(scene.disk, &fault);
    bool is_running = live(&scene);
    bool is_met = disk_fault_count(scene.disk) > 0;
    if (is_met && is_running && kind->is_passing) { /* rule 3 */
        disk_set_fault(scene.disk, NULL);
        go_on(&scene, "the disk is well again, the server is not");
    }
    stop(&scene);
    is_met = is_met || disk_fault_count(scene.disk) > 0;
    disk_set_fault(scene.disk, NULL);
    check_images(&scene, "stopped");
    if (is_met) { /* rule 4: the same disk, with what the kernel believes of it */
        if (!start(&scene))
            complain(&scene, "no new start", "");
        go_on(&scene, "the new server does not write");
        check_images(&scene, "started again");
    }
    scene_close(&scene);
    return is_met;
}

static void every_operation_fails_in_turn(void **state)
{
    const struct kind *kind = *state;
    uint64_t at = 1;
    while (at < OPERATIONS_MAX && play(kind, at))
        at++;
    print_message("%s: %llu operations\n", kind->name, (unsigned long long)(at - 1));
    assert_true(at > 1 && at < OPERATIONS_MAX);
}

int main(void)
{
    enum { KIND_COUNT = sizeof(kinds) / sizeof(kinds[0]) };
    struct CMUnitTest tests[KIND_COUNT];
    struct sq_error err;
    if (engine_init(NULL, &err) != SQ_OK || sq_log_open("/dev/null", &err) != SQ_OK)
        return 1;
    disk_init();
    make_beginning();
    for (size_t i = 0; i < KIND_COUNT; i++) {
        union {
            const struct kind *kind;
            void *state;
        } initial = {.kind = &kinds[i]};
        tests[i] = (struct CMUnitTest){
            .name = kinds[i].name, .test_func = every_operation_fails_in_turn, .initial_state = initial.state};
    }
    int failed = cmocka_run_group_tests_name("crash/faults", tests, NULL, NULL);
    disk_cut_free(beginning);
    return failed;
}
