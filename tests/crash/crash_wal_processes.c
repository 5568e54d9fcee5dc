/* tests/crash/crash_wal_processes.c: a WAL that several processes use, and that is appended to (wal/wal_file.h).
 *
 *   - Who appends is killed at each call to the files or the wal-index: those who have the database open go on, and see all of the
 *     transaction or nothing; so does who opens it afterwards.
 *   - Two databases are written in turns by SQLite; what it has written to one is appended to the other. Other processes read both and
 *     make checkpoints of all modes meanwhile; what they see is checked in each of their transactions.
 *
 * The other processes are this program anew: `unit_crash_wal_processes TASK DIR NUMBER`. */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../lib/wal_fixture.h"
#include "engine/vfs.h"

enum {
    STEPS_MAX = 3000,
    ACCOUNTS = 100,
    TOTAL = 100000,
    COMMITS = 300,
    HELPERS = 5,
};

/* In a file that all processes map. */
struct blackboard {
    _Atomic int64_t published; /* the last transaction that everybody must see, in both databases */
    atomic_bool is_over;
    _Atomic int64_t looks; /* transactions of readers */
    _Atomic int64_t checkpoints;
};

static char dir[PATH_MAX];
static struct blackboard *blackboard;

static void open_blackboard(void)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/blackboard", dir);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, sizeof(*blackboard)), 0);
    blackboard = mmap(NULL, sizeof(*blackboard), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(blackboard != MAP_FAILED);
    close(fd);
}

static int set_up(void **state)
{
    (void)state;
    scratch_make_directory(dir);
    open_blackboard();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    munmap(blackboard, sizeof(*blackboard));
    scratch_remove_directory(dir);
    return 0;
}

static pid_t start(const char *task, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    char *arguments[] = {strdup("test"), strdup(task), strdup(dir), strdup(text), NULL};
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        execv("/proc/self/exe", arguments);
        _exit(1);
    }
    for (size_t i = 0; i < 4; i++)
        free(arguments[i]);
    return child;
}

/* How it ended: 0, or the signal that has killed it. Anything else fails the test. */
static int wait_for(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return SIGKILL;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return 0;
}

/* --- Killed at each step ------------------------------------------------------------------------------------------ */

static uint64_t steps_left;
static const sqlite3_io_methods *database_methods;
static const sqlite3_io_methods *wal_methods;

static void step(void)
{
    if (--steps_left == 0)
        raise(SIGKILL);
}

static int step_write(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 offset)
{
    step();
    return wal_methods->xWrite(file, bytes, length, offset);
}

static int step_sync(sqlite3_file *file, int flags)
{
    step();
    return wal_methods->xSync(file, flags);
}

static int step_shm_map(sqlite3_file *file, int region, int bytes, int is_growing, void volatile **ret_mapped)
{
    step();
    return database_methods->xShmMap(file, region, bytes, is_growing, ret_mapped);
}

static int step_shm_lock(sqlite3_file *file, int lock, int count, int flags)
{
    step();
    return database_methods->xShmLock(file, lock, count, flags);
}

/* Before it, so that the kill comes between the two copies of the header. */
static void step_shm_barrier(sqlite3_file *file)
{
    step();
    database_methods->xShmBarrier(file);
}

static void count_steps(sqlite3 *db, uint64_t steps)
{
    static sqlite3_io_methods database_steps;
    static sqlite3_io_methods wal_steps;
    sqlite3_file *database = NULL;
    sqlite3_file *wal = NULL;
    sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &database);
    sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    database_methods = database->pMethods;
    database_steps = *database_methods;
    database_steps.xShmMap = step_shm_map;
    database_steps.xShmLock = step_shm_lock;
    database_steps.xShmBarrier = step_shm_barrier;
    database->pMethods = &database_steps;
    wal_methods = wal->pMethods;
    wal_steps = *wal_methods;
    wal_steps.xWrite = step_write;
    wal_steps.xSync = step_sync;
    wal->pMethods = &wal_steps;
    steps_left = steps;
}

/* The target becomes what the source is: the pages that differ, in one transaction. Dies at the step `steps`. */
static void be_appender(uint64_t steps)
{
    unsigned char one[512];
    unsigned char other[512];
    struct wal_file *from = NULL;
    struct wal_file *old = NULL;
    struct wal_file *to = NULL;
    struct wal_snapshot *new_pages = NULL;
    struct wal_snapshot *old_pages = NULL;
    struct wal_append *append = NULL;
    struct wal_place end;
    sqlite3 *db = wal_connect(dir, "target", NULL);
    WAL_OK(wal_file_new(wal_connect(dir, "source", NULL), &wal_err, &from));
    WAL_OK(wal_file_new(wal_connect(dir, "target", NULL), &wal_err, &old));
    WAL_OK(wal_file_new(db, &wal_err, &to));
    WAL_OK(wal_snapshot_begin(from, &wal_err, &new_pages));
    WAL_OK(wal_snapshot_begin(old, &wal_err, &old_pages));
    uint32_t page_count = wal_snapshot_page_count(new_pages);
    count_steps(db, steps);
    WAL_OK(wal_append_begin(to, &wal_err, &append));
    for (uint32_t number = 1; number <= page_count; number++) {
        WAL_OK(wal_snapshot_page(new_pages, number, one, &wal_err));
        bool is_there = number <= wal_snapshot_page_count(old_pages);
        if (is_there)
            WAL_OK(wal_snapshot_page(old_pages, number, other, &wal_err));
        if (!is_there || memcmp(one, other, sizeof(one)) != 0)
            WAL_OK(wal_append_page(append, number, one, &wal_err));
    }
    WAL_OK(wal_append_commit(append, page_count, &wal_err, &end));
}

enum beginning { LONG_WAL, COPIED_WAL, EMPTY_WAL, BEGINNINGS };

/* The source is one transaction ahead of the target, whose WAL is as `beginning` says. */
static void prepare(enum beginning beginning, sqlite3 **ret_source, sqlite3 **ret_target)
{
    sqlite3 *source = wal_create(dir, "source", 512, NULL);
    wal_exec(source,
             "CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t SELECT NULL, randomblob(400) FROM " WAL_SERIES(
                 900) "; PRAGMA wal_checkpoint(TRUNCATE)");
    assert_int_equal(sqlite3_close(source), SQLITE_OK);
    wal_copy_file(dir, "source", dir, "target");
    source = wal_connect(dir, "source", NULL);
    sqlite3 *target = wal_connect(dir, "target", NULL);
    for (int i = 0; i < 4 && beginning != EMPTY_WAL;
         i++) { /* the end is near that of the first region of the wal-index */
        char sql[64];
        snprintf(sql, sizeof(sql), "UPDATE t SET b = zeroblob(400 - %d)", i);
        wal_exec(source, sql);
        wal_exec(target, sql);
    }
    if (beginning == COPIED_WAL)
        wal_exec(target, "PRAGMA wal_checkpoint");
    wal_assert_same(source, target);
    wal_exec(source, "UPDATE t SET b = randomblob(400); INSERT INTO t VALUES (NULL, 'new')");
    *ret_source = source;
    *ret_target = target;
}

static void close_keeping_wal(sqlite3 *db)
{
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Whether the appender was killed before its end. */
static bool kill_at(enum beginning beginning, bool is_open, uint64_t steps, bool *ret_is_there)
{
    sqlite3 *source = NULL;
    sqlite3 *target = NULL;
    prepare(beginning, &source, &target);
    if (!is_open)
        close_keeping_wal(target);
    bool is_killed = wait_for(start("append", steps)) == SIGKILL;
    if (!is_open)
        target = wal_connect(dir, "target", NULL);
    wal_check(target);
    int64_t count = wal_number(target, "SELECT count(*) FROM t");
    *ret_is_there = count == 901;
    if (*ret_is_there)
        wal_assert_same(source, target);
    else
        assert_int_equal(count, 900);
    assert_true(is_killed || *ret_is_there);
    wal_exec(target,
             "INSERT INTO t VALUES (NULL, randomblob(3000)); PRAGMA wal_checkpoint; DELETE FROM t WHERE a % 3 = 0");
    wal_check(target);
    assert_int_equal(sqlite3_close(target), SQLITE_OK);
    assert_int_equal(sqlite3_close(source), SQLITE_OK);
    scratch_empty_directory(dir, "blackboard");
    return is_killed;
}

static void who_appends_is_killed_at_each_step(void **state)
{
    (void)state;
    for (enum beginning beginning = 0; beginning < BEGINNINGS; beginning++) {
        for (int is_open = 0; is_open < 2; is_open++) {
            uint64_t steps = 0;
            uint64_t first_there = 0;
            bool is_killed = true;
            while (is_killed && steps < STEPS_MAX) {
                bool is_there = false;
                is_killed = kill_at(beginning, is_open != 0, ++steps, &is_there);
                if (is_there && first_there == 0)
                    first_there = steps;
                assert_true(is_there || first_there == 0);
            }
            assert_in_range(steps, 12, STEPS_MAX - 1);
            assert_true(first_there < steps); /* killed behind the commit, too */
        }
    }
}

/* --- Many at once ------------------------------------------------------------------------------------------------- */

/* What must hold in each snapshot. Returns the number of the last transaction. */
static int64_t look(sqlite3 *db, bool is_thorough)
{
    int64_t last = wal_number(db, "SELECT max(n) FROM log");
    assert_int_equal(wal_number(db, "SELECT count(*) FROM log"), last);
    assert_int_equal(wal_number(db, "SELECT sum(v) FROM account"), TOTAL);
    assert_int_equal(wal_number(db, "SELECT n FROM state"), last);
    if (is_thorough)
        wal_check(db);
    return last;
}

static void be_reader(uint64_t seed)
{
    sqlite3 *db = wal_connect(dir, seed % 2 == 0 ? "source" : "target", NULL);
    int64_t before = 0;
    while (!atomic_load(&blackboard->is_over)) {
        int64_t published = atomic_load(&blackboard->published);
        wal_exec(db, "BEGIN");
        int64_t last = look(db, wal_random_below(&seed, 10) == 0);
        assert_true(last >= published && last >= before);
        before = last;
        if (wal_random_below(&seed, 4) == 0) { /* keeps its snapshot for some commits */
            while (atomic_load(&blackboard->published) < last + 10 && !atomic_load(&blackboard->is_over))
                assert_int_equal(look(db, false), last);
        }
        wal_exec(db, "COMMIT");
        atomic_fetch_add(&blackboard->looks, 1);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void be_checkpointer(uint64_t seed)
{
    sqlite3 *dbs[] = {wal_connect(dir, "source", NULL), wal_connect(dir, "target", NULL)};
    sqlite3_busy_timeout(dbs[0], 20);
    sqlite3_busy_timeout(dbs[1], 20);
    while (!atomic_load(&blackboard->is_over)) {
        int64_t published = atomic_load(&blackboard->published);
        int result = sqlite3_wal_checkpoint_v2(dbs[wal_random_below(&seed, 2)], "main", (int)wal_random_below(&seed, 4),
                                               NULL, NULL);
        assert_true(result == SQLITE_OK || result == SQLITE_BUSY);
        atomic_fetch_add(&blackboard->checkpoints, 1);
        while (atomic_load(&blackboard->published) == published && !atomic_load(&blackboard->is_over))
            poll(NULL, 0, 1);
    }
    assert_int_equal(sqlite3_close(dbs[0]), SQLITE_OK);
    assert_int_equal(sqlite3_close(dbs[1]), SQLITE_OK);
}

/* One of the two databases. */
struct twin {
    sqlite3 *writer;
    sqlite3 *reader;
    sqlite3 *holder; /* a snapshot of it keeps the frames that are to be copied */
    sqlite3 *connection;
    struct wal_file *file;
};

static void open_twin(struct twin *twin, const char *name, const char *vfs)
{
    twin->writer = wal_connect(dir, name, vfs);
    twin->reader = wal_connect(dir, name, vfs);
    twin->holder = wal_connect(dir, name, vfs);
    twin->connection = wal_connect(dir, name, vfs);
    WAL_OK(wal_file_new(twin->connection, &wal_err, &twin->file));
}

static void close_twin(struct twin *twin)
{
    wal_file_free(twin->file);
    sqlite3 *all[] = {twin->writer, twin->reader, twin->holder, twin->connection};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        assert_int_equal(sqlite3_close(all[i]), SQLITE_OK);
}

static void make_twins(uint32_t page_bytes)
{
    sqlite3 *db = wal_create(dir, "source", page_bytes, NULL);
    wal_exec(db, "CREATE TABLE log(n INTEGER PRIMARY KEY, b); CREATE TABLE state(n); INSERT INTO state VALUES (1);"
                 "CREATE TABLE account(a INTEGER PRIMARY KEY, v); INSERT INTO log VALUES (1, NULL);"
                 "CREATE INDEX by_value ON account(v)");
    char sql[256];
    snprintf(sql, sizeof(sql), "INSERT INTO account SELECT value, %d FROM " WAL_SERIES(100), TOTAL / ACCOUNTS);
    wal_exec(db, sql);
    wal_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    wal_copy_file(dir, "source", dir, "target");
    atomic_store(&blackboard->published, 1);
    atomic_store(&blackboard->is_over, false);
}

/* The same transaction in both: SQLite writes it to one, and it is appended to the other. */
static void transact(struct twin *written, struct twin *copied, int64_t n, uint64_t *seed)
{
    char sql[1024];
    wal_exec(written->holder, "BEGIN; SELECT n FROM state");
    struct wal_place since = wal_end_of(written->file);
    uint32_t size = wal_random_below(seed, 30) == 0 ? 200000 : wal_random_below(seed, 3000);
    snprintf(sql, sizeof(sql),
             "BEGIN IMMEDIATE; INSERT INTO log VALUES (%lld, randomblob(%u)); UPDATE state SET n = %lld;"
             "UPDATE log SET b = NULL WHERE n = %lld;"
             "UPDATE account SET v = v - 7 WHERE a = %u; UPDATE account SET v = v + 7 WHERE a = %u; COMMIT",
             (long long)n, size, (long long)n, (long long)n - 1 - (int)wal_random_below(seed, 20),
             1 + wal_random_below(seed, ACCOUNTS), 1 + wal_random_below(seed, ACCOUNTS));
    wal_exec(written->writer, sql);
    if (wal_random_below(seed, 50) == 0)
        wal_exec(written->writer, "VACUUM");
    wal_copy(written->file, &since, copied->file);
    wal_exec(written->holder, "COMMIT");
    atomic_store(&blackboard->published, n);
    wal_exec(copied->reader, "BEGIN");
    assert_int_equal(look(copied->reader, wal_random_below(seed, 20) == 0), n);
    wal_exec(copied->reader, "COMMIT");
    if (wal_random_below(seed, 10) == 0)
        wal_assert_same(written->reader, copied->reader);
}

static void run_many(uint64_t seed, const char *vfs)
{
    pid_t helpers[HELPERS];
    struct twin twins[2];
    make_twins(512u << wal_random_below(&seed, 8));
    open_twin(&twins[0], "source", vfs);
    open_twin(&twins[1], "target", vfs);
    for (uint64_t i = 0; i < HELPERS; i++)
        helpers[i] = start(i == 0 ? "checkpoint" : "read", seed + i);
    for (int64_t n = 2; n <= COMMITS; n++) {
        size_t which = wal_random_below(&seed, 3) == 0 ? 1 : 0;
        transact(&twins[which], &twins[1 - which], n, &seed);
        if (wal_random_below(&seed, 100) == 0)
            engine_vfs_release_idle();
    }
    /* Each helper has had its turn. */
    while (atomic_load(&blackboard->looks) < HELPERS || atomic_load(&blackboard->checkpoints) < 2)
        poll(NULL, 0, 1);
    atomic_store(&blackboard->is_over, true);
    for (size_t i = 0; i < HELPERS; i++)
        assert_int_equal(wait_for(helpers[i]), 0);
    wal_assert_same(twins[0].reader, twins[1].reader);
    wal_check(twins[0].reader);
    wal_check(twins[1].reader);
    print_message("%lld looks, %lld checkpoints of others\n", (long long)atomic_load(&blackboard->looks),
                  (long long)atomic_load(&blackboard->checkpoints));
    close_twin(&twins[0]);
    close_twin(&twins[1]);
    scratch_empty_directory(dir, "blackboard");
}

static void all_processes_see_whole_transactions(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++)
        run_many(seed, NULL);
}

static void so_they_do_with_read_locks_counted_in_the_process(void **state)
{
    (void)state;
    WAL_OK(engine_vfs_register(1 << 20, &wal_err));
    for (uint64_t seed = 101; seed <= 102; seed++)
        run_many(seed, ENGINE_VFS_NAME);
}

static const char *child_task;
static uint64_t child_number;

static void be_child(void **state)
{
    (void)state;
    open_blackboard();
    if (strcmp(child_task, "append") == 0)
        be_appender(child_number);
    else if (strcmp(child_task, "read") == 0)
        be_reader(child_number);
    else
        be_checkpointer(child_number);
}

int main(int argument_count, char **arguments)
{
    if (argument_count == 4) {
        const struct CMUnitTest task[] = {cmocka_unit_test(be_child)};
        snprintf(dir, sizeof(dir), "%s", arguments[2]);
        child_task = arguments[1];
        child_number = strtoull(arguments[3], NULL, 10);
        if (freopen("/dev/null", "w", stdout) == NULL)
            return 1;
        return cmocka_run_group_tests(task, NULL, NULL);
    }
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_appends_is_killed_at_each_step, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_processes_see_whole_transactions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(so_they_do_with_read_locks_counted_in_the_process, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
