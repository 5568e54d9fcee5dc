/* tests/fuzz/fuzz_connection.c: up to three whole connections at once, from the client's bytes to SQLite and back, with
 * everything real but the sockets: session, layers, scheduler, engine, a database in a scratch directory. Beside the
 * sanitizers and assertions, these must hold for any input:
 *   1. every answer obeys the rules of tests/lib/session_fixture.h;
 *   2. there are no more ReadyForQuery than start-up, Query, Sync and FunctionCall messages;
 *   3. a session never asks to be run at a time that has passed; while it asks for more input it holds no more than one
 *      message; its output stays within its limits;
 *   4. a session that waits is woken or has a deadline, unless another session is what it waits for; being told to end,
 *      it ends.
 *
 *     offset  bytes
 *     0       16     schedule: a byte for each step, again from the start when used up
 *     16      n      what the first client sends
 *             8      SEPARATOR, then what the second one sends; the same for a third
 *
 *     schedule byte: bits 0-3 how many bytes to feed (see feed_sizes), bits 4-7 what else happens (see act())
 *
 * The same input does the same each time, on any machine under any load: time is what has been done (see "Time"), and
 * SQLite's random numbers begin anew with each input. No input may hang: statement_timeout and lock_timeout are short,
 * SQLite's limits are small, and all sessions of an input that does too much are told to end, as by a shutdown. For what
 * costs more than it counts there is a watchdog, by real time, with much patience. Nothing here survives a power cut, so
 * fsync() is left out. Seeds: tests/fuzz/corpus/connection/, recorded by tests/lib/record_clients.py. */
#include <dlfcn.h>
#include <pthread.h>
#include <sqlite3.h>
#include <time.h>

#include "../lib/session_fixture.h"
#include "base/random.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size, const uint8_t *second, size_t second_size,
                                 uint8_t *out, size_t out_size_max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);
int fsync(int fd);
int fdatasync(int fd);
int nanosleep(const struct timespec *pause, struct timespec *rest); /* banned-ok: in its place */
/* By the linker (--wrap): from anywhere in this program. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run_cb)(void *), void *context);
int __real_pthread_join(pthread_t thread, void **ret_result);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run_cb)(void *), void *context);
int __wrap_pthread_join(pthread_t thread, void **ret_result);

enum {
    SCHEDULE_BYTES = 16,
    SEPARATOR_BYTES = 8,
    CLIENTS_MAX = 3,
    INPUT_BYTES_MAX = 1 << 16,
    STEPS_MAX = 100 * 1000,
    ACTS_MAX = 50, /* of one client: every act wakes it, and a wake is a reason for another step */
    BUDGET_US = 300 * 1000,
    PROGRESS_US = 50, /* what a call of SQLite's progress handler counts for */
    WATCHDOG_S = 10,  /* of real time */
    PIECES_MAX = 512,
    FEED_CALL_BYTES = 20,
    SQLITE_VALUE_BYTES_MAX = 1 << 17,
    OUTPUT_HIGH_WATER = 8192,
    ROW_BYTES_MAX = 65536,
    /* Beyond the high-water mark: a row, and what ends a statement and comes before ReadyForQuery. */
    OUTPUT_BYTES_MAX = OUTPUT_HIGH_WATER + ROW_BYTES_MAX + (1 << 20),
};

static const uint8_t separator[SEPARATOR_BYTES] = {0xff, 'N', 'E', 'X', 'T', 0xff, 0xff, 0xff};

int fsync(int fd)
{
    (void)fd;
    return 0;
}

int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

/* --- The server --------------------------------------------------------------------------------------------------- */

static struct session_fixture server;
static uint8_t *pristine; /* the database file as it is before each input */
static size_t pristine_bytes;

static int limit_connection(sqlite3 *db, const char **message, const struct sqlite3_api_routines *api)
{
    (void)message;
    (void)api;
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, SQLITE_VALUE_BYTES_MAX);
    sqlite3_limit(db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100);
    sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, 100);
    sqlite3_limit(db, SQLITE_LIMIT_TRIGGER_DEPTH, 50);
    return SQLITE_OK;
}

static void main_path(char path[PATH_MAX + 16])
{
    snprintf(path, PATH_MAX + 16, "%s/main.db", server.dir);
}

static void make_schema(void)
{
    static const char schema[] =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT NOT NULL, score REAL, data BLOB, flag BOOLEAN, born DATE);"
        "CREATE TABLE u(a, b NUMERIC, c UUID, d TIMESTAMP, UNIQUE(a, b));"
        "CREATE TABLE child(id INTEGER PRIMARY KEY, t_id INTEGER REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TABLE log(n INTEGER CHECK (n > 0), CONSTRAINT small CHECK (n < 1000));"
        "CREATE INDEX t_name ON t(name);"
        "CREATE VIEW v AS SELECT id, name || '!' AS loud FROM t;"
        "CREATE TRIGGER t_log AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.id); END;"
        "CREATE TABLE pgbench_accounts(aid INTEGER PRIMARY KEY, bid INT, abalance INT, filler CHAR(84));"
        "CREATE TABLE pgbench_branches(bid INTEGER PRIMARY KEY, bbalance INT, filler CHAR(88));"
        "CREATE TABLE pgbench_tellers(tid INTEGER PRIMARY KEY, bid INT, tbalance INT, filler CHAR(84));"
        "CREATE TABLE pgbench_history(tid INT, bid INT, aid INT, delta INT, mtime TIMESTAMP, filler CHAR(22));"
        "INSERT INTO t VALUES (1, 'one', 1.5, x'00ff', 1, '2024-02-29'), (2, 'two', -0.0, NULL, 0, NULL),"
        " (3, 'ünï', 1e300, x'', NULL, 'no date');"
        "INSERT INTO u VALUES (1, 2.50, NULL, '2024-01-02 03:04:05'), ('x', 'y', 'z', 9223372036854775807);"
        "INSERT INTO pgbench_branches VALUES (1, 0, ''); INSERT INTO pgbench_tellers VALUES (1, 1, 0, '');"
        "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)"
        " INSERT INTO pgbench_accounts SELECT i, 1, 0, '' FROM n;";
    char path[PATH_MAX + 16];
    sqlite3 *db = NULL;
    main_path(path);
    int result = sqlite3_open(path, &db);
    if (result == SQLITE_OK)
        result = sqlite3_exec(db, schema, NULL, NULL, NULL);
    sq_assert(result == SQLITE_OK);
    sqlite3_close(db);
}

static void read_pristine(void)
{
    char path[PATH_MAX + 16];
    struct stat info;
    main_path(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    sq_assert(fd >= 0 && fstat(fd, &info) == 0);
    pristine_bytes = (size_t)info.st_size;
    pristine = malloc(pristine_bytes);
    ssize_t got = read(fd, pristine, pristine_bytes);
    sq_assert(got == (ssize_t)pristine_bytes);
    close(fd);
}

static void reset_databases(void)
{
    char path[PATH_MAX + 16];
    main_path(path);
    /* Nobody uses them, but databases stay open for a while: their files are about to be replaced. */
    sched_forget_database(server.sched, "main");
    engine_registry_close_idle(server.host.databases, 0);
    scratch_empty_directory(server.dir, "sqld.lock");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    sq_assert(fd >= 0);
    ssize_t written = write(fd, pristine, pristine_bytes);
    sq_assert(written == (ssize_t)pristine_bytes);
    close(fd);
}

/* --- Time ---------------------------------------------------------------------------------------------------------- */

/* For the thread that plays the inputs a microsecond passes with each look at the clock, PROGRESS_US with each call of
 * SQLite's progress handler, and what it wants to sleep passes at once. The server's own threads, which do in the
 * background what nobody waits for, are not started; libFuzzer's and the watchdog have real time. */
static _Thread_local bool is_player;
static bool is_playing;         /* the player is in the server's code */
static int64_t played_us;       /* the player's clock: monotonic, and never behind the real one at the start */
static int64_t played_begun_us; /* when the input began */
static int interrupt_within;    /* enum session_interrupt + 1, for the next call of the progress handler; 0: none */
static atomic_bool is_out_of_time;
static int (*progress_cb)(void *context);

static int64_t real_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * SQ_US_PER_S + now.tv_nsec / 1000;
}

int64_t sq_clock_now_us(void)
{
    return is_player ? ++played_us : real_us(CLOCK_MONOTONIC);
}

int64_t sq_clock_coarse_us(void)
{
    return is_player ? played_us : real_us(CLOCK_MONOTONIC_COARSE);
}

/* Every input is played on the 2nd of January 2024. */
int64_t sq_clock_wall_us(void)
{
    return is_player ? INT64_C(1704164645) * SQ_US_PER_S + played_us - played_begun_us : real_us(CLOCK_REALTIME);
}

static int current_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *ret_julian_ms)
{
    (void)vfs;
    *ret_julian_ms = INT64_C(210866760000000) + sq_clock_wall_us() / 1000;
    return SQLITE_OK;
}

int nanosleep(const struct timespec *pause, struct timespec *rest) /* banned-ok: in its place */
{
    if (!is_player)
        return clock_nanosleep(CLOCK_REALTIME, 0, pause, rest) == 0 ? 0 : -1;
    played_us += (int64_t)pause->tv_sec * SQ_US_PER_S + pause->tv_nsec / 1000;
    return 0;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run_cb)(void *), void *context)
{
    if (!is_player || !is_playing)
        return __real_pthread_create(thread, attributes, run_cb, context);
    *thread = pthread_self();
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret_result)
{
    return is_player && is_playing ? 0 : __real_pthread_join(thread, ret_result);
}

/* Secrets of sessions, the same for each input. */
void sq_random_fill(void *out, size_t length)
{
    memset(out, 's', length);
}

static void interrupt_all(enum session_interrupt interrupt)
{
    session_registry_interrupt(server.host.sessions, 0, NULL, interrupt);
}

/* Tells all to end when the input has used its time up. */
static bool check_time(void)
{
    if (played_us - played_begun_us > BUDGET_US && !atomic_exchange(&is_out_of_time, true))
        interrupt_all(SESSION_INTERRUPT_TERMINATE);
    return atomic_load(&is_out_of_time);
}

static int on_progress(void *context)
{
    played_us += PROGRESS_US;
    if (interrupt_within != 0)
        interrupt_all((enum session_interrupt)(interrupt_within - 1));
    interrupt_within = 0;
    check_time();
    return progress_cb(context);
}

/* In the place of SQLite's, for the engine. */
void sqlite3_progress_handler(sqlite3 *db, int op_count, int (*call_cb)(void *context), void *context)
{
    static void (*real)(sqlite3 *, int, int (*)(void *), void *);
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "sqlite3_progress_handler");
    sq_assert(real != NULL && (progress_cb == NULL || call_cb == NULL || progress_cb == call_cb));
    if (call_cb != NULL)
        progress_cb = call_cb;
    real(db, op_count, call_cb != NULL ? on_progress : NULL, context);
}

static pthread_mutex_t watch_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t watch_cond;
static bool is_watching;

__attribute__((no_sanitize("coverage"))) static void *watch(void *context)
{
    (void)context;
    pthread_mutex_lock(&watch_mutex);
    for (;;) {
        while (!is_watching)
            pthread_cond_wait(&watch_cond, &watch_mutex);
        struct timespec end;
        clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_sec += WATCHDOG_S;
        int result = 0;
        while (is_watching && result == 0)
            result = pthread_cond_timedwait(&watch_cond, &watch_mutex, &end);
        if (is_watching && !atomic_exchange(&is_out_of_time, true))
            interrupt_all(SESSION_INTERRUPT_TERMINATE);
        is_watching = false;
    }
    return NULL;
}

static void set_watch(bool is_on)
{
    pthread_mutex_lock(&watch_mutex);
    is_watching = is_on;
    atomic_store(&is_out_of_time, false);
    pthread_cond_signal(&watch_cond);
    pthread_mutex_unlock(&watch_mutex);
}

static void begin_time(void)
{
    played_begun_us = played_us;
    interrupt_within = 0;
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 1, NULL);
    set_watch(true);
}

static void remove_scratch(void)
{
    scratch_empty_directory(server.dir, NULL);
    rmdir(server.dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const options[] = {
        "--statement-timeout=40ms", "--lock-timeout=20ms",         "--output-buffer-size=8kB", "--max-row-size=64kB",
        "--max-message-size=64kB",  "--max-prepared-statements=6", "--max-portals=4",          NULL};
    (void)argc;
    (void)argv;
    struct sq_error err;
    played_us = real_us(CLOCK_MONOTONIC);
    is_player = true;
    sq_status status = engine_init(NULL, &err);
    sq_assert(status == SQ_OK);
    sqlite3_vfs_find(NULL)->xCurrentTimeInt64 = current_time_ms;
    int result = sqlite3_auto_extension((void (*)(void))limit_connection);
    sq_assert(result == SQLITE_OK);
    status = sq_log_open("/dev/null", &err);
    sq_assert(status == SQ_OK);
    is_playing = true;
    fixture_open(&server, options);
    is_playing = false;
    make_schema();
    read_pristine();
    atexit(remove_scratch);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watch_cond, &attributes);
    pthread_t thread;
    result = pthread_create(&thread, NULL, watch, NULL);
    sq_assert(result == 0 && pthread_detach(thread) == 0);
    return 0;
}

/* --- The clients -------------------------------------------------------------------------------------------------- */

struct stream {
    struct fixture_client client;
    const uint8_t *bytes;
    size_t length;
    size_t fed;
    size_t ready_count_max;
    size_t act_count;
    unsigned wakes_seen;
    bool has_ended;
    bool is_told_to_end;
};

/* Rule 2's bound: the client's messages as the server will frame them. */
static size_t count_ready(const uint8_t *bytes, size_t length)
{
    size_t count = 1;
    struct sq_error err;
    size_t needed = 0;
    struct pgwire_startup_frame startup = {.kind = PGWIRE_STARTUP_SSL_REQUEST};
    while (startup.kind != PGWIRE_STARTUP_MESSAGE) {
        if (pgwire_startup_next(bytes, length, &err, &startup, &needed) != PGWIRE_FRAME_READY)
            return 0;
        bytes += startup.total_bytes;
        length -= startup.total_bytes;
    }
    struct pgwire_frame frame;
    while (pgwire_frame_next(bytes, length, ROW_BYTES_MAX, &err, &frame, &needed) == PGWIRE_FRAME_READY) {
        count += frame.type == PGWIRE_QUERY || frame.type == PGWIRE_SYNC || frame.type == PGWIRE_FUNCTION_CALL;
        bytes += frame.total_bytes;
        length -= frame.total_bytes;
    }
    return count;
}

/* What a client answers to a call, or asks within it, comes a little at a time. */
static bool feed_call(struct fixture_client *client)
{
    struct stream *stream = SQ_CONTAINER_OF(client, struct stream, client);
    size_t left = stream->length - stream->fed;
    size_t size = left < FEED_CALL_BYTES ? left : FEED_CALL_BYTES;
    sq_buf_put(&client->in, stream->bytes + stream->fed, size);
    stream->fed += size;
    return size > 0;
}

static size_t open_streams(struct stream streams[CLIENTS_MAX], const uint8_t *data, size_t size)
{
    size_t count = 0;
    while (count < CLIENTS_MAX) {
        struct stream *stream = &streams[count++];
        const uint8_t *end = count < CLIENTS_MAX ? memmem(data, size, separator, SEPARATOR_BYTES) : NULL;
        memset(stream, 0, sizeof(*stream));
        stream->bytes = data;
        stream->length = end != NULL ? (size_t)(end - data) : size;
        stream->ready_count_max = count_ready(stream->bytes, stream->length);
        fixture_client_open(&stream->client, &server);
        stream->client.feed_cb = feed_call;
        if (end == NULL)
            break;
        size -= (size_t)(end - data) + SEPARATOR_BYTES;
        data = end + SEPARATOR_BYTES;
    }
    return count;
}

static void end_stream(struct stream *stream)
{
    fixture_client_close(&stream->client);
    stream->has_ended = true;
}

/* SSLRequest or GSSENCRequest. */
static bool is_encryption_request(const uint8_t *bytes)
{
    static const uint8_t request[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16};
    return memcmp(bytes, request, sizeof(request)) == 0 && (bytes[7] == 0x2f || bytes[7] == 0x30);
}

static void feed(struct stream *stream, uint8_t code)
{
    static const uint16_t feed_sizes[16] = {65535, 1, 2, 3, 4, 5, 7, 8, 16, 32, 64, 100, 250, 600, 1500, 65535};
    size_t size = feed_sizes[code % 16];
    if (size > stream->length - stream->fed)
        size = stream->length - stream->fed;
    /* Recorded clients wait for the answer to a request for encryption; one that does not is sent away. */
    size_t first = stream->fed / 8 * 8;
    bool is_asking = first <= 8 && stream->length - first > 8 && is_encryption_request(stream->bytes + first) &&
                     (first == 0 || is_encryption_request(stream->bytes));
    if (code % 16 != 15 && is_asking && size > first + 8 - stream->fed)
        size = first + 8 - stream->fed;
    sq_buf_put(&stream->client.in, stream->bytes + stream->fed, size);
    stream->fed += size;
}

static void run(struct stream *stream)
{
    struct fixture_client *client = &stream->client;
    stream->wakes_seen = atomic_load(&client->wake_count);
    size_t before = sq_buf_length(&client->out);
    int64_t run_us = sq_clock_now_us();
    client->want = session_run(client->session, &client->in, &client->out);
    sq_assert(!client->out.is_failed && sq_buf_length(&client->out) <= OUTPUT_BYTES_MAX);
    sq_assert(client->want != SESSION_OUTPUT_FULL || before > 0 || sq_buf_length(&client->out) > 0);
    /* A deadline that has passed before a run and is still there after it would be an endless loop of its owner. */
    int64_t deadline_us = client->want != SESSION_CLOSE ? session_deadline_us(client->session) : 0;
    sq_assert(deadline_us == 0 || deadline_us > run_us || client->want == SESSION_STARTED);
    if (client->want == SESSION_NEED_INPUT) {
        sq_assert(sq_buf_length(&client->in) <= ROW_BYTES_MAX);
        sq_assert(session_input_hint(client->session) <= ROW_BYTES_MAX);
        sq_assert(!stream->is_told_to_end);
    }
}

/* What else happens at a step. */
static void act(struct stream *stream, uint8_t code)
{
    struct session *session = stream->client.session;
    switch (code) {
    case 7:
        interrupt_within = (int)SESSION_INTERRUPT_CANCEL + 1;
        break;
    case 8:
        interrupt_within = (int)SESSION_INTERRUPT_TERMINATE + 1;
        break;
    case 10:
    case 11:
        session_interrupt(session, SESSION_INTERRUPT_CANCEL);
        break;
    case 12:
        session_interrupt(session, SESSION_INTERRUPT_DRAIN);
        break;
    case 13:
        session_interrupt(session, SESSION_INTERRUPT_TERMINATE);
        break;
    case 14:
        session_peer_gone(session);
        break;
    case 15:
        /* A CancelRequest with the right secret finds its session. */
        if (stream->client.answers.pid != 0) {
            size_t found = session_registry_interrupt(server.host.sessions, session_pid(session),
                                                      stream->client.answers.secret, SESSION_INTERRUPT_CANCEL);
            sq_assert(found == 1);
        }
        break;
    default:
        break;
    }
}

/* Whether a wake or the deadline has come for a session that waits. */
static bool is_due(const struct stream *stream)
{
    int64_t deadline_us = session_deadline_us(stream->client.session);
    return stream->wakes_seen != atomic_load(&stream->client.wake_count) ||
           (deadline_us != 0 && sq_clock_now_us() >= deadline_us);
}

/* One step of one client; false if there was nothing to do. */
static bool step(struct stream *stream, uint8_t schedule)
{
    struct fixture_client *client = &stream->client;
    bool is_at_end = stream->fed == stream->length;
    if (stream->has_ended)
        return false;
    if (client->want == SESSION_WAITING && !is_due(stream))
        return false;
    if (client->want == SESSION_NEED_INPUT && is_at_end && !is_due(stream))
        return false;
    if (client->want == SESSION_NEED_INPUT) {
        uint64_t mark = session_cancel_mark(client->session);
        feed(stream, schedule);
        if (is_at_end)
            session_cancel_settle(client->session, mark);
    }
    run(stream);
    bool may_act = stream->act_count++ < ACTS_MAX;
    if (may_act)
        act(stream, schedule >> 4);
    /* A client that reads slowly leaves whole messages behind. */
    bool is_slow = may_act && (schedule >> 4) == 9 && client->want != SESSION_CLOSE;
    if (!is_slow)
        answers_take(&client->answers, &client->out, NULL, NULL);
    sq_assert(client->answers.ready_count <= stream->ready_count_max);
    if (client->want == SESSION_CLOSE)
        end_stream(stream);
    return true;
}

/* Nobody can go on: clients that have said everything hang up, as a lock they hold may be what the others wait for. If
 * there is none, time has to pass. False: all have ended. */
static bool unblock(struct stream *streams, size_t count)
{
    bool has_waiting = false;
    bool has_left = false;
    for (size_t i = 0; i < count; i++)
        has_waiting = has_waiting || (!streams[i].has_ended && streams[i].client.want == SESSION_WAITING);
    for (size_t i = 0; i < count && !has_left; i++) {
        if (streams[i].has_ended || streams[i].client.want != SESSION_NEED_INPUT)
            continue;
        answers_take(&streams[i].client.answers, &streams[i].client.out, NULL, NULL);
        end_stream(&streams[i]);
        has_left = true;
    }
    if (has_left || !has_waiting)
        return has_left;
    int64_t next_us = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t deadline_us = streams[i].has_ended ? 0 : session_deadline_us(streams[i].client.session);
        if (deadline_us != 0 && (next_us == 0 || deadline_us < next_us))
            next_us = deadline_us;
    }
    sq_assert(next_us != 0 || count > 1);
    /* Without a deadline they wait for each other: until the end. */
    if (next_us == 0 || next_us > played_begun_us + BUDGET_US)
        next_us = played_begun_us + BUDGET_US + 1;
    if (next_us > played_us)
        played_us = next_us;
    return true;
}

static void play(struct stream *streams, size_t count, const uint8_t *schedule)
{
    bool is_told = false;
    for (size_t i = 0; i < STEPS_MAX; i++) {
        bool has_moved = false;
        for (size_t k = 0; k < count; k++)
            has_moved = step(&streams[k], schedule[(i + k * 5) % SCHEDULE_BYTES]) || has_moved;
        if (!has_moved && !unblock(streams, count))
            return;
        if (!is_told && check_time()) {
            is_told = true;
            schedule = (const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
            for (size_t k = 0; k < count; k++)
                streams[k].is_told_to_end = true;
        }
    }
    bool is_endless = true;
    sq_assert(!is_endless);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stream streams[CLIENTS_MAX];
    if (size < SCHEDULE_BYTES || size > INPUT_BYTES_MAX)
        return -1;
    is_playing = true;
    reset_databases();
    begin_time();
    size_t count = open_streams(streams, data + SCHEDULE_BYTES, size - SCHEDULE_BYTES);
    play(streams, count, data);
    set_watch(false);
    for (size_t i = 0; i < count; i++) {
        if (!streams[i].has_ended)
            end_stream(&streams[i]);
    }
    sq_assert(session_registry_count(server.host.sessions) == 0);
    is_playing = false;
    return 0;
}

/* --- Mutation: message by message --------------------------------------------------------------------------------- */

struct piece {
    size_t start;
    size_t length;
    size_t header_bytes; /* type and length word; 0: no message, just bytes */
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Cuts an input into its schedule, its messages, and what is neither. */
static size_t cut(const uint8_t *data, size_t size, struct piece pieces[PIECES_MAX])
{
    size_t count = 0;
    size_t at = size < SCHEDULE_BYTES ? size : SCHEDULE_BYTES;
    bool is_startup = true;
    pieces[count++] = (struct piece){0, at, 0};
    while (at < size && count < PIECES_MAX) {
        struct piece piece = {at, size - at, 0};
        size_t type_bytes = is_startup ? 0 : 1;
        if (size - at >= SEPARATOR_BYTES && memcmp(data + at, separator, SEPARATOR_BYTES) == 0) {
            piece.length = SEPARATOR_BYTES;
            is_startup = true;
        } else if (size - at >= type_bytes + 4) {
            const uint8_t *word = data + at + type_bytes;
            size_t length = (size_t)word[0] << 24 | (size_t)word[1] << 16 | (size_t)word[2] << 8 | word[3];
            if (length >= 4 && length <= size - at - type_bytes) {
                piece.length = type_bytes + length;
                piece.header_bytes = type_bytes + 4;
                /* A request for encryption is followed by another first packet. */
                is_startup = is_startup && length == 8;
            }
        }
        pieces[count++] = piece;
        at += piece.length;
    }
    return count;
}

static void set_length(uint8_t *message, const struct piece *piece, size_t length)
{
    if (piece->header_bytes == 0)
        return;
    uint8_t *word = message + piece->header_bytes - 4;
    size_t value = length - (piece->header_bytes - 4);
    for (size_t i = 0; i < 4; i++)
        word[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Puts `length` bytes in the place of a piece; the new size, or the old one if there is no room. */
static size_t put_piece(uint8_t *data, size_t size, size_t size_max, const struct piece *piece, const uint8_t *bytes,
                        size_t length)
{
    if (size - piece->length + length > size_max)
        return size;
    size_t tail = piece->start + piece->length;
    memmove(data + piece->start + length, data + tail, size - tail);
    memcpy(data + piece->start, bytes, length);
    return size - piece->length + length;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    static uint8_t bytes[2 * INPUT_BYTES_MAX];
    struct piece pieces[PIECES_MAX];
    uint32_t random = seed;
    if (size <= SCHEDULE_BYTES || size > INPUT_BYTES_MAX)
        return LLVMFuzzerMutate(data, size, size_max);
    size_t count = cut(data, size, pieces);
    const struct piece *piece = &pieces[count > 1 ? 1 + next_random(&random) % (count - 1) : 0];
    const struct piece *other = &pieces[count > 1 ? 1 + next_random(&random) % (count - 1) : 0];
    size_t length = piece->length;
    switch (next_random(&random) % 12) {
    case 0: /* the schedule */
        LLVMFuzzerMutate(data, SCHEDULE_BYTES, SCHEDULE_BYTES);
        return size;
    case 1: /* leave a message out */
        return put_piece(data, size, size_max, piece, bytes, 0);
    case 2: /* say something twice, or later again */
        memcpy(bytes, data + other->start, other->length);
        memcpy(bytes + other->length, data + piece->start, piece->length);
        return put_piece(data, size, size_max, piece, bytes, other->length + piece->length);
    case 3: /* instead of another */
        memcpy(bytes, data + other->start, other->length);
        return put_piece(data, size, size_max, piece, bytes, other->length);
    case 4: /* regardless of messages */
        return LLVMFuzzerMutate(data, size, size_max);
    case 5: /* another client's turn */
        memcpy(bytes, separator, SEPARATOR_BYTES);
        memcpy(bytes + SEPARATOR_BYTES, data + SCHEDULE_BYTES, size - SCHEDULE_BYTES);
        return put_piece(data, size, size_max, &(struct piece){size, 0, 0}, bytes,
                         SEPARATOR_BYTES + size - SCHEDULE_BYTES);
    default: /* a message's body */
        memcpy(bytes, data + piece->start, length);
        length = piece->header_bytes + LLVMFuzzerMutate(bytes + piece->header_bytes, length - piece->header_bytes,
                                                        length - piece->header_bytes + 64);
        set_length(bytes, piece, length);
        return put_piece(data, size, size_max, piece, bytes, length);
    }
}

/* The first messages of one input, then the last of another. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size, const uint8_t *second, size_t second_size,
                                 uint8_t *out, size_t out_size_max, unsigned seed)
{
    static struct piece pieces[PIECES_MAX];
    uint32_t random = seed;
    size_t count = cut(first, first_size, pieces);
    const struct piece *last = &pieces[next_random(&random) % count];
    size_t head = last->start + last->length;
    count = cut(second, second_size, pieces);
    size_t tail = pieces[next_random(&random) % count].start;
    if (head > out_size_max)
        return 0;
    memcpy(out, first, head);
    size_t rest = second_size - tail < out_size_max - head ? second_size - tail : out_size_max - head;
    memcpy(out + head, second + tail, rest);
    return head + rest;
}
