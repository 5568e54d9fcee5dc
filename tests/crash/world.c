/* tests/crash/world.c: sessions and turns; see the header.
 *
 * A session is treated as src/server/connection.c treats it: run, ask whether the output may leave, let it out or keep it
 * until the waker is called, and let it go on meanwhile as far as it has input. */
#include "world.h"

#include <pthread.h>
#include <sqlite3.h>
#include <time.h>

#include "client.h"
#include "talk.h"

enum {
    PATIENCE_S = 120,
    SYNC_TURNS_MAX = 40,
    HANG_UP_PER_MILLE = 4,
    SHELL_PER_MILLE = 15,
    CHECKPOINT_FRAMES_MAX = 256,
};

struct seat {
    struct world *world;
    struct client client;
    struct fixture_client wired; /* its connection */
    unsigned wakes_seen;
    bool is_held_back;
};

struct world {
    struct session_fixture server;
    struct disk *disk;
    struct history *history;
    struct dice *dice;
    struct world_options options;
    char path[PATH_MAX + 16];
    struct seat seats[HISTORY_CLIENTS_MAX];
    sqlite3 *shell;
    struct client shell_client;
    pthread_t thread; /* whose turns these are */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t cond;
    struct dice sync_dice;
    uint64_t turn_count;
    uint64_t wake_count;
    bool is_stuck; /* nobody can go on: syncs may end */
    bool is_closing;
};

/* --- Time --------------------------------------------------------------------------------------------------------- */

static void on_wake(struct sq_waker *waker)
{
    struct seat *seat = SQ_CONTAINER_OF(SQ_CONTAINER_OF(waker, struct fixture_client, waker), struct seat, wired);
    struct world *world = seat->world;
    atomic_fetch_add(&seat->wired.wake_count, 1);
    pthread_mutex_lock(&world->mutex);
    world->wake_count++;
    pthread_cond_broadcast(&world->cond);
    pthread_mutex_unlock(&world->mutex);
}

/* disk_set_sync_delay(): a sync that another thread makes takes some turns. */
static void on_sync(void *context)
{
    struct world *world = context;
    if (pthread_equal(pthread_self(), world->thread))
        return;
    pthread_mutex_lock(&world->mutex);
    uint64_t until = world->turn_count + dice_below(&world->sync_dice, SYNC_TURNS_MAX);
    while (world->turn_count < until && !world->is_stuck && !world->is_closing)
        pthread_cond_wait(&world->cond, &world->mutex);
    pthread_mutex_unlock(&world->mutex);
}

static void count_turn(struct world *world)
{
    pthread_mutex_lock(&world->mutex);
    world->turn_count++;
    pthread_cond_broadcast(&world->cond);
    pthread_mutex_unlock(&world->mutex);
}

/* --- Sessions ----------------------------------------------------------------------------------------------------- */

static void connect(struct seat *seat)
{
    fixture_client_open(&seat->wired, &seat->world->server);
    seat->wired.waker.wake_cb = on_wake;
    seat->wakes_seen = 0;
    seat->is_held_back = false;
}

static void hang_up(struct seat *seat)
{
    fixture_client_close(&seat->wired);
    client_reconnect(&seat->client);
    connect(seat);
}

static bool is_woken(const struct seat *seat)
{
    int64_t deadline_us = session_deadline_us(seat->wired.session);
    return seat->wakes_seen != atomic_load(&seat->wired.wake_count) ||
           (deadline_us != 0 && sq_clock_now_us() >= deadline_us);
}

static bool has_input(const struct seat *seat)
{
    const struct client *client = &seat->client;
    if (sq_buf_length(&client->wire) > 0)
        return true;
    return client->answered_count == client->batch_count ||
           (client->sent_count < client->batch_count && client->sent_count == client->answered_count);
}

static bool can_go_on(const struct seat *seat)
{
    if (is_woken(seat))
        return true;
    switch (seat->wired.want) {
    case SESSION_NEED_INPUT:
        return has_input(seat);
    case SESSION_OUTPUT_FULL:
        return !seat->is_held_back;
    case SESSION_YIELDED:
    case SESSION_STARTED:
        return true;
    case SESSION_WAITING:
    case SESSION_CLOSE:
        break;
    }
    return false;
}

/* Lets the output leave, if it may. */
static void release(struct seat *seat)
{
    struct fixture_client *wired = &seat->wired;
    if (sq_buf_length(&wired->out) == 0)
        return;
    enum session_release release = session_release(wired->session);
    sq_assert(release != SESSION_LOST); /* no sync fails here */
    seat->is_held_back = release == SESSION_HELD_BACK;
    if (!seat->is_held_back || seat->world->options.is_hasty)
        answers_take(&wired->answers, &wired->out, &seat->client, client_hear);
}

static void take_turn(struct seat *seat)
{
    struct fixture_client *wired = &seat->wired;
    struct dice *dice = seat->world->dice;
    seat->wakes_seen = atomic_load(&wired->wake_count);
    if (wired->want == SESSION_NEED_INPUT) {
        client_speak(&seat->client);
        struct sq_buf *wire = &seat->client.wire;
        size_t length = sq_buf_length(wire);
        if (length > 0 && dice_chance(dice, 20))
            length = 1 + dice_below(dice, length);
        sq_buf_put(&wired->in, sq_buf_bytes(wire), length);
        sq_buf_consume(wire, length);
    }
    wired->want = session_run(wired->session, &wired->in, &wired->out);
    sq_assert(wired->want != SESSION_CLOSE);
    release(seat);
}

/* --- The shell ---------------------------------------------------------------------------------------------------- */

static void write_in_shell(struct world *world)
{
    struct client *client = &world->shell_client;
    char sql[CLIENT_SCRIPT_BYTES_MAX];
    client_script(client, sql, sizeof(sql));
    history_sent(world->history, client->index, client->number);
    int result = sqlite3_exec(world->shell, sql, NULL, NULL, NULL);
    if (result == SQLITE_OK) {
        client->last = client->number;
        history_acked(world->history, client->index, client->number);
        return;
    }
    sq_assert(result == SQLITE_BUSY);
    if (!sqlite3_get_autocommit(world->shell)) {
        result = sqlite3_exec(world->shell, "ROLLBACK", NULL, NULL, NULL);
        sq_assert(result == SQLITE_OK);
    }
}

/* Whoever sits at it uses SQLite with its defaults: synchronous=FULL, checkpoints of its own. */
static void use_shell(struct world *world)
{
    static const char *const checkpoints[] = {"PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(FULL)",
                                              "PRAGMA wal_checkpoint(RESTART)", "PRAGMA wal_checkpoint(TRUNCATE)"};
    int result = SQLITE_OK;
    if (world->shell == NULL) {
        result = sqlite3_open_v2(world->path, &world->shell, SQLITE_OPEN_READWRITE, NULL);
        sq_assert(result == SQLITE_OK);
        return;
    }
    uint64_t roll = dice_below(world->dice, 10);
    if (roll < 4) {
        result = sqlite3_exec(world->shell, checkpoints[roll], NULL, NULL, NULL);
        sq_assert(result == SQLITE_OK || result == SQLITE_BUSY);
    } else if (roll < 9) {
        write_in_shell(world);
    } else {
        result = sqlite3_close(world->shell);
        sq_assert(result == SQLITE_OK);
        world->shell = NULL;
    }
}

/* --- Turns -------------------------------------------------------------------------------------------------------- */

/* Until somebody is woken, or a time limit has come. */
static void wait_for_somebody(struct world *world, uint64_t wakes_seen)
{
    struct timespec until;
    int64_t deadline_us = 0;
    for (size_t i = 0; i < world->options.session_count; i++) {
        int64_t its_us = session_deadline_us(world->seats[i].wired.session);
        if (its_us != 0 && (deadline_us == 0 || its_us < deadline_us))
            deadline_us = its_us;
    }
    int64_t wait_us = deadline_us != 0 ? deadline_us - sq_clock_now_us() : (int64_t)PATIENCE_S * SQ_US_PER_S;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_us > 0 ? wait_us / SQ_US_PER_S : 0;
    until.tv_nsec += wait_us > 0 ? wait_us % SQ_US_PER_S * 1000 : 0;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&world->mutex);
    world->is_stuck = true;
    pthread_cond_broadcast(&world->cond);
    int result = 0;
    while (world->wake_count == wakes_seen && result == 0)
        result = pthread_cond_timedwait(&world->cond, &world->mutex, &until);
    world->is_stuck = false;
    pthread_mutex_unlock(&world->mutex);
    sq_assert(result == 0 || deadline_us != 0); /* nobody wakes anybody */
}

static uint64_t wakes_so_far(struct world *world)
{
    pthread_mutex_lock(&world->mutex);
    uint64_t count = world->wake_count;
    pthread_mutex_unlock(&world->mutex);
    return count;
}

void world_step(struct world *world)
{
    size_t count = world->options.session_count;
    count_turn(world);
    if (world->options.has_shell && dice_below(world->dice, 1000) < SHELL_PER_MILLE)
        use_shell(world);
    size_t first = dice_below(world->dice, count);
    if (dice_below(world->dice, 1000) < HANG_UP_PER_MILLE) {
        hang_up(&world->seats[first]);
        return;
    }
    uint64_t wakes_seen = wakes_so_far(world);
    for (size_t i = 0; i < count; i++) {
        struct seat *seat = &world->seats[(first + i) % count];
        if (can_go_on(seat)) {
            take_turn(seat);
            return;
        }
    }
    wait_for_somebody(world, wakes_seen);
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

struct world *world_open(const char *dir, struct disk *disk, struct history *history, struct dice *dice,
                         const struct world_options *options, const uint32_t last[HISTORY_CLIENTS_MAX])
{
    static const char *const flags[] = {"--log-level=error", NULL};
    struct world *world = calloc(1, sizeof(*world));
    struct sq_error err;
    sq_assert(world != NULL && options->session_count + options->has_shell == history->client_count);
    world->disk = disk;
    world->history = history;
    world->dice = dice;
    world->options = *options;
    world->thread = pthread_self();
    world->sync_dice.state = dice_next(dice);
    snprintf(world->path, sizeof(world->path), "%s/main.db", dir);
    pthread_mutex_init(&world->mutex, NULL);
    pthread_cond_init(&world->cond, NULL);
    if (options->has_slow_syncs)
        disk_set_sync_delay(disk, world, on_sync);
    sq_status status = fixture_try_start(&world->server, dir, flags, &err);
    if (status != SQ_OK)
        fprintf(stderr, "the server does not start: %s\n", err.text);
    sq_assert(status == SQ_OK);
    /* A life is short: the server's own checkpoints come as often in it as they would in hours. */
    uint32_t slice = 8 + (uint32_t)dice_below(dice, CHECKPOINT_FRAMES_MAX);
    sched_set_checkpoint_frames(world->server.sched, slice, slice + (uint32_t)dice_below(dice, CHECKPOINT_FRAMES_MAX));
    for (uint32_t i = 0; i < options->session_count; i++) {
        struct seat *seat = &world->seats[i];
        seat->world = world;
        client_init(&seat->client, history, dice, i, last[i]);
        if (i == 0 && options->has_lazy_client)
            seat->client.is_lazy = true;
        client_reconnect(&seat->client);
        connect(seat);
    }
    uint32_t shell_index = (uint32_t)options->session_count;
    if (options->has_shell)
        client_init(&world->shell_client, history, dice, shell_index, last[shell_index]);
    return world;
}

void world_close(struct world *world)
{
    pthread_mutex_lock(&world->mutex);
    world->is_closing = true;
    pthread_cond_broadcast(&world->cond);
    pthread_mutex_unlock(&world->mutex);
    for (size_t i = 0; i < world->options.session_count; i++) {
        fixture_client_close(&world->seats[i].wired);
        client_done(&world->seats[i].client);
    }
    if (world->options.has_shell) {
        int result = sqlite3_close(world->shell);
        sq_assert(result == SQLITE_OK);
        client_done(&world->shell_client);
    }
    fixture_stop(&world->server);
    disk_set_sync_delay(world->disk, NULL, NULL);
    pthread_cond_destroy(&world->cond);
    pthread_mutex_destroy(&world->mutex);
    free(world);
}

void world_make_database(const char *dir, unsigned page_bytes)
{
    char path[PATH_MAX + 16];
    char sql[64];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/main.db", dir);
    snprintf(sql, sizeof(sql), "PRAGMA page_size=%u; PRAGMA journal_mode=WAL", page_bytes);
    int result = sqlite3_open(path, &db);
    if (result == SQLITE_OK)
        result = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_exec(db, history_schema, NULL, NULL, NULL);
    sq_assert(result == SQLITE_OK);
    result = sqlite3_close(db);
    sq_assert(result == SQLITE_OK);
}
