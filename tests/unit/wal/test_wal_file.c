/* Reading a WAL and appending to it beside SQLite: what each does to the others. A close() of one of
 * the files would drop this process's locks on it: who looks at them from outside does so in another process. */
#include <sys/wait.h>

#include "../../lib/wal_fixture.h"

enum { FIRST_TABLE = 4062, TABLE = 4096 };

static struct {
    char dir[PATH_MAX];
    sqlite3 *source;      /* SQLite writes here */
    sqlite3 *source_file; /* connection of `from` */
    sqlite3 *target;      /* a reader and writer of SQLite's */
    sqlite3 *target_file; /* connection of `to`, which appends */
    struct wal_file *from;
    struct wal_file *to;
    struct wal_place copied; /* of the source */
} t;

static void open_files(void)
{
    t.target = wal_connect(t.dir, "target", NULL);
    t.source_file = wal_connect(t.dir, "source", NULL);
    t.target_file = wal_connect(t.dir, "target", NULL);
    WAL_OK(wal_file_new(t.source_file, &wal_err, &t.from));
    WAL_OK(wal_file_new(t.target_file, &wal_err, &t.to));
    t.copied = wal_end_of(t.from);
}

/* A database in the file `source`, and a copy of it, `target`. */
static void open_twins(uint32_t page_bytes)
{
    t.source = wal_create(t.dir, "source", page_bytes, NULL);
    wal_exec(t.source, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); PRAGMA wal_checkpoint(TRUNCATE)");
    sqlite3_close(t.source);
    wal_copy_file(t.dir, "source", t.dir, "target");
    t.source = wal_connect(t.dir, "source", NULL);
    open_files();
}

static void close_all(void)
{
    wal_file_free(t.from);
    wal_file_free(t.to);
    t.from = t.to = NULL;
    sqlite3 **all[] = {&t.source, &t.source_file, &t.target, &t.target_file};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_int_equal(sqlite3_close(*all[i]), SQLITE_OK);
        *all[i] = NULL;
    }
}

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    scratch_make_directory(t.dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_all();
    scratch_remove_directory(t.dir);
    return 0;
}

/* What was committed to the source is appended to the target; all see it. */
static struct wal_place copy(void)
{
    struct wal_place end = wal_copy(t.from, &t.copied, t.to);
    wal_assert_same(t.source, t.target);
    wal_assert_same(t.source, t.target_file);
    return end;
}

static void spill(void);
static void append_and_die(void);
static void copy_and_recover(void);

/* What other processes do. They end without closing anything. */
static const struct task {
    const char *name;
    void (*work_cb)(void);
} tasks[] = {{"spill", spill}, {"append_and_die", append_and_die}, {"copy_and_recover", copy_and_recover}};

/* SQLite writes to both, the same. */
static void write_both(const char *sql)
{
    struct wal_place before = wal_end_of(t.to);
    wal_exec(t.target, sql);
    struct wal_place after = wal_end_of(t.to);
    assert_memory_not_equal(&before, &after, sizeof(before));
    wal_exec(t.source, sql);
    t.copied = wal_end_of(t.from);
    wal_assert_same(t.source, t.target);
}

/* This program anew, for one task. */
static void in_child(const char *task)
{
    char *arguments[] = {strdup("test"), strdup(task), strdup(t.dir), NULL};
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execv("/proc/self/exe", arguments);
        _exit(1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    for (size_t i = 0; i < 3; i++)
        free(arguments[i]);
}

static int be_child(const char *task, const char *dir)
{
    snprintf(t.dir, sizeof(t.dir), "%s", dir);
    for (size_t i = 0; i < sizeof(tasks) / sizeof(tasks[0]); i++) {
        if (strcmp(tasks[i].name, task) == 0) {
            tasks[i].work_cb();
            _exit(0);
        }
    }
    return 1;
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static void a_database_that_is_not_in_wal_mode_is_refused(void **state)
{
    (void)state;
    open_twins(4096);
    sqlite3 *other = wal_connect(t.dir, "other", NULL);
    struct wal_file *file = NULL;
    wal_exec(other, "CREATE TABLE t(a)");
    assert_int_equal(wal_file_new(other, &wal_err, &file), SQ_INVALID);
    assert_null(file);
    sqlite3_close(other);
}

static void a_new_database_has_an_end_without_frames(void **state)
{
    (void)state;
    for (uint32_t page_bytes = 512; page_bytes <= 65536; page_bytes *= 2) {
        struct wal_place end;
        uint32_t got_bytes;
        uint32_t page_count;
        open_twins(page_bytes);
        WAL_OK(wal_file_end(t.to, &wal_err, &end, &got_bytes, &page_count));
        assert_int_equal(end.salt1, 0);
        assert_int_equal(end.salt2, 0);
        assert_int_equal(end.frame_count, 0);
        assert_int_equal(got_bytes, page_bytes);
        assert_int_equal(page_count, 2);
        wal_assert_snapshot(t.to, t.target);
        close_all();
        scratch_empty_directory(t.dir, NULL);
    }
    open_twins(4096);
}

static void frames_are_read_as_sqlite_wrote_them(void **state)
{
    (void)state;
    unsigned char page[4096];
    uint32_t number;
    uint32_t commit;
    open_twins(4096);
    wal_exec(t.source, "BEGIN; INSERT INTO t VALUES (1, zeroblob(6000)); COMMIT; UPDATE t SET b = 'short'");
    struct wal_place end = wal_end_of(t.from);
    assert_true(end.frame_count > 3);
    uint32_t commit_count = 0;
    for (uint32_t i = 0; i < end.frame_count; i++) {
        WAL_OK(wal_file_frame(t.from, &end, i, &wal_err, &number, &commit, page));
        assert_in_range(number, 1, 4);
        commit_count += commit != 0;
        uint32_t number_alone = 0;
        WAL_OK(wal_file_frame(t.from, &end, i, &wal_err, &number_alone, &commit, NULL));
        assert_int_equal(number_alone, number);
    }
    assert_int_equal(commit_count, 2);
    assert_int_equal(commit, wal_number(t.source, "PRAGMA page_count"));
    /* Page 2 is the table's root: its last frame is what SQLite reads. */
    int64_t bytes;
    unsigned char *image = wal_image(t.source, &bytes);
    assert_memory_equal(page, image + (size_t)(number - 1) * 4096, 4096);
    sqlite3_free(image);
    assert_int_equal(wal_file_frame(t.from, &end, end.frame_count, &wal_err, &number, &commit, page), SQ_NOT_FOUND);
}

static void frames_of_an_older_generation_are_not_found(void **state)
{
    (void)state;
    unsigned char page[4096];
    uint32_t number;
    uint32_t commit;
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t VALUES (1, 1); INSERT INTO t VALUES (2, 1)");
    struct wal_place old = wal_end_of(t.from);
    wal_exec(t.source, "PRAGMA wal_checkpoint(RESTART)");
    WAL_OK(wal_file_frame(t.from, &old, 0, &wal_err, &number, &commit, page)); /* nobody has written yet */
    wal_exec(t.source, "INSERT INTO t VALUES (3, 1)");
    struct wal_place new = wal_end_of(t.from);
    assert_int_equal(new.salt1, old.salt1 + 1);
    assert_true(new.frame_count < old.frame_count);
    for (uint32_t i = 0; i < old.frame_count; i++)
        assert_int_equal(wal_file_frame(t.from, &old, i, &wal_err, &number, &commit, page), SQ_NOT_FOUND);
    WAL_OK(wal_file_frame(t.from, &new, 0, &wal_err, &number, &commit, page));
    wal_exec(t.source, "PRAGMA wal_checkpoint(TRUNCATE)");
    assert_int_equal(wal_file_frame(t.from, &new, 0, &wal_err, &number, &commit, page), SQ_NOT_FOUND);
}

/* Compares each page of the snapshot with what SQLite saw when it began. */
static void assert_unchanged(struct wal_snapshot *snapshot, const unsigned char *image, int64_t bytes,
                             uint32_t page_bytes)
{
    unsigned char page[65536];
    assert_int_equal(bytes, (int64_t)wal_snapshot_page_count(snapshot) * page_bytes);
    for (uint32_t number = 1; number <= wal_snapshot_page_count(snapshot); number++) {
        WAL_OK(wal_snapshot_page(snapshot, number, page, &wal_err));
        assert_memory_equal(page, image + (size_t)(number - 1) * page_bytes, page_bytes);
    }
}

static void a_snapshot_stays_while_others_write_and_copy(void **state)
{
    (void)state;
    struct wal_snapshot *snapshot = NULL;
    int64_t bytes;
    open_twins(1024);
    wal_exec(t.source, "INSERT INTO t SELECT value, randomblob(200) FROM " WAL_SERIES(300));
    wal_exec(t.source, "PRAGMA wal_checkpoint; UPDATE t SET b = randomblob(200) WHERE a % 2");
    unsigned char *image = wal_image(t.source, &bytes);
    WAL_OK(wal_snapshot_begin(t.from, &wal_err, &snapshot));
    assert_unchanged(snapshot, image, bytes, 1024);
    for (int i = 0; i < 5; i++) {
        wal_exec(t.source, "UPDATE t SET b = randomblob(200); DELETE FROM t WHERE a > 250; PRAGMA wal_checkpoint");
        assert_unchanged(snapshot, image, bytes, 1024);
    }
    wal_exec(t.source, "VACUUM");
    assert_unchanged(snapshot, image, bytes, 1024);
    wal_snapshot_end(snapshot);
    sqlite3_free(image);
    wal_assert_snapshot(t.from, t.source);
}

/* The snapshot is of the file alone: the WAL is begun anew under it. */
static void a_snapshot_stays_when_the_wal_is_begun_anew(void **state)
{
    (void)state;
    struct wal_snapshot *snapshot = NULL;
    int64_t bytes;
    open_twins(1024);
    wal_exec(t.source, "INSERT INTO t SELECT value, randomblob(200) FROM " WAL_SERIES(300));
    wal_exec(t.source, "PRAGMA wal_checkpoint(RESTART)");
    unsigned char *image = wal_image(t.source, &bytes);
    WAL_OK(wal_snapshot_begin(t.from, &wal_err, &snapshot));
    struct wal_place place = wal_snapshot_place(snapshot);
    assert_unchanged(snapshot, image, bytes, 1024);
    for (int i = 0; i < 3; i++) {
        wal_exec(t.source, "UPDATE t SET b = randomblob(200); PRAGMA wal_checkpoint");
        assert_int_not_equal(wal_end_of(t.from).salt1, place.salt1);
        assert_unchanged(snapshot, image, bytes, 1024);
    }
    wal_snapshot_end(snapshot);
    sqlite3_free(image);
}

/* --- Appending ---------------------------------------------------------------------------------------------------- */

static void what_is_appended_is_what_all_see(void **state)
{
    (void)state;
    for (uint32_t page_bytes = 512; page_bytes <= 65536; page_bytes *= 2) {
        open_twins(page_bytes);
        for (int i = 0; i < 4; i++) {
            wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(value * 7) FROM " WAL_SERIES(40));
            copy();
            wal_exec(t.source, "DELETE FROM t WHERE a % 3 = 0; UPDATE t SET b = randomblob(30) WHERE a % 7 = 0");
            copy();
            wal_exec(t.source, "VACUUM");
            copy();
            wal_check(t.target);
            wal_assert_snapshot(t.to, t.target);
        }
        close_all(); /* copied into the file by the last one who closes */
        t.source = wal_connect(t.dir, "source", NULL);
        open_files();
        wal_assert_same(t.source, t.target);
        close_all();
        scratch_empty_directory(t.dir, NULL);
    }
    open_twins(4096);
}

/* The wal-index grows, and its tables are written up to their ends and just beyond. */
static void transactions_of_any_length_are_found(void **state)
{
    (void)state;
    static const uint32_t ends[] = {FIRST_TABLE - 1,         FIRST_TABLE,
                                    FIRST_TABLE + 1,         FIRST_TABLE + TABLE - 1,
                                    FIRST_TABLE + TABLE,     FIRST_TABLE + TABLE + 1,
                                    FIRST_TABLE + 2 * TABLE, FIRST_TABLE + 3 * TABLE + 7};
    unsigned char page[512];
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct wal_append *append = NULL;
        struct wal_snapshot *snapshot = NULL;
        struct wal_place end;
        open_twins(512);
        wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(300) FROM " WAL_SERIES(1000));
        copy();
        WAL_OK(wal_snapshot_begin(t.from, &wal_err, &snapshot));
        uint32_t page_count = wal_snapshot_page_count(snapshot);
        WAL_OK(wal_append_begin(t.to, &wal_err, &append));
        do { /* pages as they are: nothing changes but the WAL */
            uint32_t number = 1 + wal_random_below(&seed, page_count);
            WAL_OK(wal_snapshot_page(snapshot, number, page, &wal_err));
            WAL_OK(wal_append_page(append, number, page, &wal_err));
        } while (wal_append_end(append).frame_count < ends[i]);
        WAL_OK(wal_append_commit(append, page_count, &wal_err, &end));
        wal_snapshot_end(snapshot);
        assert_int_equal(end.frame_count, ends[i]);
        wal_assert_same(t.source, t.target);
        wal_assert_snapshot(t.to, t.target);
        for (int times = 0; times < 3; times++) {
            write_both("UPDATE t SET b = zeroblob(length(b) + 1) WHERE a = 1");
            wal_assert_snapshot(t.to, t.target);
            wal_exec(t.source, "UPDATE t SET b = randomblob(300) WHERE a % 300 = 7");
            copy();
        }
        close_all();
        scratch_empty_directory(t.dir, NULL);
    }
    open_twins(4096);
}

static void of_a_page_that_is_appended_twice_the_last_one_counts(void **state)
{
    (void)state;
    struct wal_append *append = NULL;
    struct wal_place end;
    unsigned char page[4096];
    unsigned char wrong[4096];
    uint32_t number;
    uint32_t commit = 0;
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t VALUES (1, 'x')");
    struct wal_place from = wal_end_of(t.from);
    memset(wrong, 0xaa, sizeof(wrong));
    WAL_OK(wal_append_begin(t.to, &wal_err, &append));
    for (uint32_t i = 0; i < from.frame_count; i++) {
        WAL_OK(wal_file_frame(t.from, &from, i, &wal_err, &number, &commit, page));
        for (int times = 0; times < 100 && number > 1; times++)
            WAL_OK(wal_append_page(append, number, wrong, &wal_err));
        WAL_OK(wal_append_page(append, number, page, &wal_err));
    }
    WAL_OK(wal_append_commit(append, commit, &wal_err, &end));
    wal_assert_same(t.source, t.target);
    wal_exec(t.target, "PRAGMA wal_checkpoint(TRUNCATE)");
    wal_assert_same(t.source, t.target);
}

static void readers_see_nothing_before_the_commit(void **state)
{
    (void)state;
    struct wal_append *append = NULL;
    struct wal_place end;
    unsigned char page[4096];
    uint32_t number;
    uint32_t commit = 0;
    open_twins(4096);
    sqlite3 *before = wal_connect(t.dir, "target", NULL);
    wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(1000) FROM " WAL_SERIES(1000));
    wal_exec(before, "BEGIN; SELECT * FROM t");
    struct wal_place from = wal_end_of(t.from);
    WAL_OK(wal_append_begin(t.to, &wal_err, &append));
    for (uint32_t i = 0; i < from.frame_count; i++) {
        WAL_OK(wal_file_frame(t.from, &from, i, &wal_err, &number, &commit, page));
        WAL_OK(wal_append_page(append, number, page, &wal_err));
        if (i % 50 == 0)
            assert_int_equal(wal_number(t.target, "SELECT count(*) FROM t"), 0);
    }
    /* Meanwhile nobody else writes. */
    sqlite3_busy_timeout(t.target, 0);
    assert_int_equal(sqlite3_exec(t.target, "INSERT INTO t VALUES (1, 1)", NULL, NULL, NULL), SQLITE_BUSY);
    WAL_OK(wal_append_commit(append, commit, &wal_err, &end));
    assert_int_equal(wal_number(before, "SELECT count(*) FROM t"), 0);
    assert_int_equal(wal_number(t.target, "SELECT count(*) FROM t"), 1000);
    wal_exec(before, "COMMIT");
    assert_int_equal(wal_number(before, "SELECT count(*) FROM t"), 1000);
    sqlite3_close(before);
}

/* Of the connection that appends: what it has read stays in its cache, and must not be believed afterwards. */
static void the_connection_that_appends_drops_its_cache(void **state)
{
    (void)state;
    open_twins(4096);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(wal_number(t.target_file, "SELECT count(*) FROM t"), i);
        wal_exec(t.source, "INSERT INTO t VALUES (NULL, randomblob(900))");
        wal_copy(t.from, &t.copied, t.to);
        assert_int_equal(wal_number(t.target_file, "SELECT count(*) FROM t"), i + 1);
        wal_check(t.target_file);
    }
    /* It may write itself, too. */
    wal_exec(t.target_file, "INSERT INTO t VALUES (NULL, 1)");
    assert_int_equal(wal_number(t.target, "SELECT count(*) FROM t"), 51);
    wal_check(t.target);
}

static void an_append_that_is_given_up_leaves_nothing(void **state)
{
    (void)state;
    struct wal_append *append = NULL;
    unsigned char page[4096];
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(1000) FROM " WAL_SERIES(300));
    copy();
    for (uint32_t length = 0; length < 6000; length = length * 3 + 1) {
        struct wal_place before = wal_end_of(t.to);
        WAL_OK(wal_append_begin(t.to, &wal_err, &append));
        memset(page, 0x55, sizeof(page));
        for (uint32_t i = 0; i < length; i++)
            WAL_OK(wal_append_page(append, 2 + i % 50, page, &wal_err));
        if (length % 2 == 1)
            wal_append_seal(append, 100);
        wal_append_abort(append);
        struct wal_place after = wal_end_of(t.to);
        assert_memory_equal(&before, &after, sizeof(before));
        wal_assert_same(t.source, t.target);
        wal_assert_snapshot(t.to, t.target);
        wal_exec(t.source, "UPDATE t SET b = randomblob(1000) WHERE a % 10 = 1");
        copy();
        /* Also for SQLite's own writers. */
        write_both("UPDATE t SET b = zeroblob(length(b) + 1) WHERE a = 1");
    }
}

static uint32_t index_word(size_t region, size_t word)
{
    sqlite3_file *database = NULL;
    void volatile *mapped = NULL;
    assert_int_equal(sqlite3_file_control(t.target_file, "main", SQLITE_FCNTL_FILE_POINTER, &database), SQLITE_OK);
    assert_int_equal(database->pMethods->xShmMap(database, (int)region, 32768, 0, &mapped), SQLITE_OK);
    assert_non_null(mapped);
    return ((const uint32_t volatile *)mapped)[word];
}

static uint32_t used_slots(size_t region)
{
    uint32_t count = 0;
    for (size_t word = TABLE; word < 2 * TABLE; word++)
        for (int half = 0; half < 2; half++)
            count += (index_word(region, word) >> (16 * half) & 0xffff) != 0 ? 1 : 0;
    return count;
}

/* What has happened since the last look is told by the sum and the count of changes, whoever did it. */
static void other_writers_are_noticed(void **state)
{
    (void)state;
    struct wal_append *append = NULL;
    struct wal_state first;
    struct wal_state second;
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t VALUES (1, randomblob(100))");
    copy();
    WAL_OK(wal_file_state(t.to, &wal_err, &first));
    WAL_OK(wal_append_begin(t.to, &wal_err, &append));
    assert_memory_equal(wal_append_found(append), &first, sizeof(first));
    wal_append_abort(append);
    wal_exec(t.target, "INSERT INTO t VALUES (2, randomblob(100))");
    WAL_OK(wal_append_begin(t.to, &wal_err, &append));
    second = *wal_append_found(append);
    wal_append_abort(append);
    assert_int_equal(second.change_count, first.change_count + 1);
    assert_true(second.sum != first.sum);
    /* Copied and begun anew, without a change: the count stays. */
    wal_exec(t.target, "PRAGMA wal_checkpoint(TRUNCATE)");
    WAL_OK(wal_file_state(t.to, &wal_err, &first));
    assert_int_equal(first.change_count, second.change_count);
    assert_true(first.sum == 0 && first.place.frame_count == 0);
    wal_exec(t.target, "INSERT INTO t VALUES (3, randomblob(100))");
    WAL_OK(wal_file_state(t.to, &wal_err, &second));
    assert_int_equal(second.change_count, first.change_count + 1);
}

/* In the wal-index too: its tables would be full in the end. */
static void an_append_that_is_given_up_leaves_the_index_as_it_was(void **state)
{
    (void)state;
    struct wal_append *append = NULL;
    unsigned char page[4096] = {0};
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(1000) FROM " WAL_SERIES(30));
    uint32_t frame_count = copy().frame_count;
    uint32_t change_count = index_word(0, 2);
    assert_int_equal(used_slots(0), frame_count);
    for (uint32_t times = 0; times < 5; times++) {
        WAL_OK(wal_append_begin(t.to, &wal_err, &append));
        for (uint32_t i = 0; i < 6000; i++)
            WAL_OK(wal_append_page(append, 2 + i + 7000 * times, page, &wal_err));
        wal_append_abort(append);
        assert_int_equal(used_slots(0), frame_count);
        for (size_t word = 34 + frame_count; word < TABLE; word++)
            assert_int_equal(index_word(0, word), 0);
    }
    wal_exec(t.source, "UPDATE t SET b = randomblob(1000)");
    assert_int_equal(used_slots(0), copy().frame_count);
    assert_int_equal(index_word(0, 2), change_count + 1);
}

static void pages_that_would_ruin_the_database_are_refused(void **state)
{
    (void)state;
    struct wal_append *append = NULL;
    unsigned char page[4096] = {0};
    unsigned char first[4096];
    uint32_t number;
    uint32_t commit;
    open_twins(4096);
    wal_exec(t.source, "CREATE TABLE u(a)");
    struct wal_place from = wal_end_of(t.from);
    for (uint32_t i = 0; i < from.frame_count; i++) {
        WAL_OK(wal_file_frame(t.from, &from, i, &wal_err, &number, &commit, page));
        if (number == 1)
            memcpy(first, page, sizeof(first));
    }
    WAL_OK(wal_append_begin(t.to, &wal_err, &append));
    assert_int_equal(wal_append_page(append, 0, page, &wal_err), SQ_INVALID);
    assert_int_equal(wal_append_page(append, wal_lock_page(4096), page, &wal_err), SQ_INVALID);
    assert_int_equal(wal_append_page(append, UINT32_MAX, page, &wal_err), SQ_INVALID);
    static const size_t places[] = {16, 17, 18, 19};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        memcpy(page, first, sizeof(page));
        page[places[i]] ^= 3;
        assert_int_equal(wal_append_page(append, 1, page, &wal_err), SQ_INVALID);
    }
    WAL_OK(wal_append_page(append, 1, first, &wal_err));
    wal_append_abort(append);
}

static void who_finds_another_writer_is_told_so(void **state)
{
    (void)state;
    struct wal_append *append = NULL;
    open_twins(4096);
    wal_exec(t.target, "BEGIN IMMEDIATE");
    assert_int_equal(wal_append_begin(t.to, &wal_err, &append), SQ_BUSY);
    assert_null(append);
    wal_exec(t.target, "COMMIT");
    WAL_OK(wal_append_begin(t.to, &wal_err, &append));
    wal_append_abort(append);
}

/* --- Beginning the WAL anew --------------------------------------------------------------------------------------- */

static void a_wal_that_is_copied_is_begun_anew(void **state)
{
    (void)state;
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(1000) FROM " WAL_SERIES(100));
    struct wal_place last = copy();
    for (int i = 0; i < 5; i++) {
        wal_exec(t.target, "PRAGMA wal_checkpoint");
        wal_exec(t.source, "UPDATE t SET b = randomblob(1000) WHERE a = 7");
        struct wal_place end = copy();
        assert_int_equal(end.salt1, last.salt1 + 1);
        assert_int_not_equal(end.salt2, last.salt2);
        assert_true(end.frame_count < 5);
        last = end;
    }
    wal_check(t.target);
}

static void a_wal_that_readers_need_goes_on(void **state)
{
    (void)state;
    open_twins(4096);
    sqlite3 *reader = wal_connect(t.dir, "target", NULL);
    wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(1000) FROM " WAL_SERIES(100));
    struct wal_place last = copy();
    wal_exec(reader, "BEGIN; SELECT count(*) FROM t"); /* with a read mark */
    wal_exec(t.target, "PRAGMA wal_checkpoint");
    wal_exec(t.source, "UPDATE t SET b = randomblob(1000) WHERE a = 7");
    struct wal_place end = copy();
    assert_int_equal(end.salt1, last.salt1);
    assert_true(end.frame_count > last.frame_count);
    wal_exec(reader, "COMMIT");
    wal_exec(t.target, "PRAGMA wal_checkpoint");
    wal_exec(reader, "BEGIN; SELECT count(*) FROM t"); /* of the file alone */
    int64_t sum = wal_number(reader, "SELECT sum(length(hex(b)) + a) FROM t");
    last = end;
    wal_exec(t.source, "DELETE FROM t");
    end = copy();
    assert_int_equal(end.salt1, last.salt1 + 1);
    assert_int_equal(wal_number(reader, "SELECT sum(length(hex(b)) + a) FROM t"), sum);
    wal_check(reader);
    sqlite3_close(reader);
}

/* The reader's mark is not the first one. */
static void a_wal_that_a_reader_of_any_mark_needs_goes_on(void **state)
{
    (void)state;
    sqlite3 *readers[3];
    open_twins(4096);
    for (int i = 0; i < 3; i++) {
        wal_exec(t.source, "INSERT INTO t VALUES (NULL, randomblob(1000))");
        copy();
        readers[i] = wal_connect(t.dir, "target", NULL);
        wal_exec(readers[i], "BEGIN; SELECT count(*) FROM t");
    }
    wal_exec(readers[0], "COMMIT");
    wal_exec(readers[1], "COMMIT");
    struct wal_place last = wal_end_of(t.to);
    wal_exec(t.target, "PRAGMA wal_checkpoint");
    assert_int_equal(index_word(0, 24), last.frame_count); /* all is copied */
    wal_exec(t.source, "INSERT INTO t VALUES (NULL, randomblob(1000))");
    assert_int_equal(copy().salt1, last.salt1);
    assert_int_equal(wal_number(readers[2], "SELECT count(*) FROM t"), 3);
    wal_check(readers[2]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sqlite3_close(readers[i]), SQLITE_OK);
}

/* Someone who is in a checkpoint may have seen the old header and not yet the old count (the WAL-reset bug). */
static void a_wal_that_a_checkpoint_looks_at_goes_on(void **state)
{
    (void)state;
    sqlite3_file *database = NULL;
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t VALUES (1, 1)");
    struct wal_place last = copy();
    wal_exec(t.target, "PRAGMA wal_checkpoint");
    assert_int_equal(sqlite3_file_control(t.target, "main", SQLITE_FCNTL_FILE_POINTER, &database), SQLITE_OK);
    assert_int_equal(database->pMethods->xShmLock(database, 1, 1, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE), SQLITE_OK);
    wal_exec(t.source, "INSERT INTO t VALUES (2, 1)");
    struct wal_place end = copy();
    assert_int_equal(end.salt1, last.salt1);
    assert_int_equal(database->pMethods->xShmLock(database, 1, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE), SQLITE_OK);
    wal_exec(t.target, "PRAGMA wal_checkpoint");
    wal_exec(t.source, "INSERT INTO t VALUES (3, 1)");
    assert_int_equal(copy().salt1, last.salt1 + 1);
}

static void a_wal_that_was_cut_off_gets_new_salts(void **state)
{
    (void)state;
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t VALUES (1, 1)");
    struct wal_place last = copy();
    wal_exec(t.target, "PRAGMA wal_checkpoint(TRUNCATE)");
    struct wal_place cut = wal_end_of(t.to);
    assert_int_equal(cut.frame_count, 0);
    assert_int_not_equal(cut.salt2, last.salt2);
    wal_assert_snapshot(t.to, t.target);
    wal_exec(t.source, "INSERT INTO t VALUES (2, 1)");
    struct wal_place end = copy();
    assert_true(end.frame_count > 0);
    assert_int_not_equal(end.salt2, cut.salt2);
}

static void an_append_that_began_the_wal_anew_can_be_given_up(void **state)
{
    (void)state;
    struct wal_append *append = NULL;
    unsigned char page[4096] = {0};
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(1000) FROM " WAL_SERIES(100));
    copy();
    for (int i = 0; i < 3; i++) {
        wal_exec(t.target, "PRAGMA wal_checkpoint");
        WAL_OK(wal_append_begin(t.to, &wal_err, &append));
        for (uint32_t number = 2; number < 80; number++)
            WAL_OK(wal_append_page(append, number, page, &wal_err));
        wal_append_abort(append);
        assert_int_equal(wal_end_of(t.to).frame_count, 0);
        wal_assert_same(t.source, t.target);
        wal_assert_snapshot(t.to, t.target);
        if (i == 1) { /* SQLite is the next writer */
            write_both("UPDATE t SET b = zeroblob(length(b) + 1) WHERE a = 1");
            wal_exec(t.target, "PRAGMA wal_checkpoint(TRUNCATE)");
            wal_check(t.target);
        }
        wal_exec(t.source, "UPDATE t SET b = randomblob(900) WHERE a = 3");
        copy();
    }
}

/* --- Those who have died ------------------------------------------------------------------------------------------ */

/* Each of them leaves its entries in the wal-index, of other pages each time. */
static void many_dead_writers_do_not_fill_the_index(void **state)
{
    (void)state;
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(1000) FROM " WAL_SERIES(30));
    copy();
    for (int i = 0; i < 4; i++) {
        in_child("append_and_die");
        assert_true(used_slots(0) > TABLE - 100);
        wal_exec(t.source, "UPDATE t SET b = randomblob(999) WHERE a % 3 = 0");
        struct wal_place end = copy();
        assert_int_equal(used_slots(0), end.frame_count);
        wal_assert_snapshot(t.to, t.target);
    }
    wal_check(t.target);
}

/* A writer of SQLite's that has more pages than its cache holds, and never commits. */
static void spill(void)
{
    sqlite3 *db = wal_connect(t.dir, "target", NULL);
    wal_exec(db, "PRAGMA cache_size=10; BEGIN; INSERT INTO t SELECT NULL, randomblob(1000) FROM " WAL_SERIES(900));
    sqlite3_file *database = NULL;
    sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &database);
}

static void append_and_die(void)
{
    sqlite3 *db = wal_connect(t.dir, "target", NULL);
    struct wal_file *file = NULL;
    struct wal_append *append = NULL;
    unsigned char page[4096];
    WAL_OK(wal_file_new(db, &wal_err, &file));
    WAL_OK(wal_append_begin(file, &wal_err, &append));
    memset(page, 0x77, sizeof(page));
    for (uint32_t i = 0; i < 5000; i++)
        WAL_OK(wal_append_page(append, 2 + i % 900, page, &wal_err));
}

static void what_a_dead_writer_left_is_passed_over(void **state)
{
    (void)state;
    static const char *const deaths[] = {"spill", "append_and_die"};
    for (size_t i = 0; i < 4; i++) {
        open_twins(4096);
        wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(1000) FROM " WAL_SERIES(30));
        copy();
        in_child(deaths[i % 2]);
        wal_assert_same(t.source, t.target);
        if (i >= 2) { /* SQLite is the next writer, then ours */
            write_both("UPDATE t SET b = zeroblob(length(b) + 1) WHERE a = 1");
        }
        for (int times = 0; times < 3; times++) {
            wal_exec(t.source, "UPDATE t SET b = randomblob(999) WHERE a % 3 = 0");
            copy();
            wal_assert_snapshot(t.to, t.target);
        }
        wal_check(t.target);
        close_all();
        scratch_empty_directory(t.dir, NULL);
    }
    open_twins(4096);
}

/* A writer that has died between the two copies of the header. */
static void a_torn_header_of_the_index_is_recovered(void **state)
{
    (void)state;
    static const size_t places[] = {0, 12, 16, 32, 40, 48, 64, 88};
    open_twins(4096);
    wal_exec(t.source, "INSERT INTO t VALUES (1, randomblob(5000))");
    copy();
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        sqlite3_file *database = NULL;
        void volatile *region = NULL;
        struct wal_append *append = NULL;
        wal_exec(t.source, "UPDATE t SET b = randomblob(5000)");
        assert_int_equal(sqlite3_file_control(t.target_file, "main", SQLITE_FCNTL_FILE_POINTER, &database), SQLITE_OK);
        assert_int_equal(database->pMethods->xShmMap(database, 0, 32768, 0, &region), SQLITE_OK);
        ((unsigned char volatile *)region)[places[i]] ^= 0x40;
        if (i % 2 == 0) { /* while somebody else is writing it cannot be */
            sqlite3 *other = wal_connect(t.dir, "target", NULL);
            sqlite3_file *its = NULL;
            sqlite3_file_control(other, "main", SQLITE_FCNTL_FILE_POINTER, &its);
            assert_int_equal(its->pMethods->xShmMap(its, 0, 32768, 0, &region), SQLITE_OK);
            assert_int_equal(its->pMethods->xShmLock(its, 0, 1, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE), SQLITE_OK);
            sqlite3_busy_timeout(t.target_file, 0);
            assert_int_equal(wal_append_begin(t.to, &wal_err, &append), SQ_BUSY);
            assert_int_equal(its->pMethods->xShmLock(its, 0, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE), SQLITE_OK);
            its->pMethods->xShmUnmap(its, 0);
            sqlite3_close(other);
        }
        copy();
    }
    wal_check(t.target);
}

/* Memory that any process may have written to: what it says is not believed beyond its bounds. */
static void a_wal_index_that_contradicts_itself_is_said_so(void **state)
{
    (void)state;
    struct wal_snapshot *snapshot = NULL;
    sqlite3_file *database = NULL;
    void volatile *region = NULL;
    unsigned char page[512];
    open_twins(512);
    wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(300) FROM " WAL_SERIES(1000));
    copy();
    WAL_OK(wal_snapshot_begin(t.to, &wal_err, &snapshot));
    assert_int_equal(sqlite3_file_control(t.target_file, "main", SQLITE_FCNTL_FILE_POINTER, &database), SQLITE_OK);
    assert_int_equal(database->pMethods->xShmMap(database, 0, 32768, 0, &region), SQLITE_OK);
    uint16_t volatile *slots = (uint16_t volatile *)region + 2 * TABLE;
    for (uint32_t entry = FIRST_TABLE + 1; entry <= UINT16_MAX; entry += 1000) {
        uint16_t before = slots[5 * 383];
        slots[5 * 383] = (uint16_t)entry;
        assert_int_equal(wal_snapshot_page(snapshot, 5, page, &wal_err), SQ_CORRUPT);
        slots[5 * 383] = before;
        WAL_OK(wal_snapshot_page(snapshot, 5, page, &wal_err));
    }
    /* No slot is free: the look ends all the same. */
    uint16_t *kept = malloc(4 * TABLE);
    for (size_t i = 0; i < 2 * TABLE; i++) {
        kept[i] = slots[i];
        slots[i] = 1;
    }
    assert_int_equal(wal_snapshot_page(snapshot, 5, page, &wal_err), SQ_CORRUPT);
    for (size_t i = 0; i < 2 * TABLE; i++)
        slots[i] = kept[i];
    free(kept);
    wal_snapshot_end(snapshot);
    wal_assert_snapshot(t.to, t.target);
}

/* Another process finds no wal-index and recovers all from the WAL: it must be what readers saw. */
static void copy_and_recover(void)
{
    char dir[PATH_MAX];
    scratch_make_directory(dir);
    wal_copy_file(t.dir, "target", dir, "recovered");
    wal_copy_file(t.dir, "target-wal", dir, "recovered-wal");
    sqlite3 *recovered = wal_connect(dir, "recovered", NULL);
    sqlite3 *source = wal_connect(t.dir, "source", NULL);
    wal_assert_same(source, recovered);
    wal_check(recovered);
    sqlite3_close(recovered);
    scratch_remove_directory(dir);
}

static void what_was_appended_is_recovered_from_the_wal(void **state)
{
    (void)state;
    for (uint32_t page_bytes = 512; page_bytes <= 65536; page_bytes *= 2) {
        open_twins(page_bytes);
        for (int i = 0; i < 3; i++) {
            wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(value * 10) FROM " WAL_SERIES(100));
            copy();
            in_child("copy_and_recover");
            write_both("UPDATE t SET b = zeroblob(length(b) + 1) WHERE a = 1"); /* frames of SQLite's behind ours */
            in_child("copy_and_recover");
            wal_exec(t.source, "UPDATE t SET b = randomblob(10) WHERE a = 8");
            copy();
            in_child("copy_and_recover");
            wal_exec(t.target, "PRAGMA wal_checkpoint");
        }
        close_all();
        scratch_empty_directory(t.dir, NULL);
    }
    open_twins(4096);
}

/* --- Machines of the other byte order ----------------------------------------------------------------------------- */

static void sum_big_endian(const unsigned char *bytes, size_t length, uint32_t sum[2])
{
    for (size_t i = 0; i < length; i += 8) {
        uint32_t words[2];
        memcpy(words, bytes + i, 8);
        sum[0] += __builtin_bswap32(words[0]) + sum[1];
        sum[1] += __builtin_bswap32(words[1]) + sum[0];
    }
}

static void put_sum(unsigned char *bytes, const uint32_t sum[2])
{
    uint32_t swapped[2] = {__builtin_bswap32(sum[0]), __builtin_bswap32(sum[1])};
    memcpy(bytes, swapped, 8);
}

/* The target's WAL as a big-endian machine would have left it. */
static void turn_wal_around(void)
{
    char path[PATH_MAX + 32];
    unsigned char header[32];
    unsigned char frame[24 + 1024];
    uint32_t sum[2] = {0, 0};
    snprintf(path, sizeof(path), "%s/target-wal", t.dir);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, header, sizeof(header), 0), sizeof(header));
    assert_int_equal(header[3], 0x82);
    header[3] = 0x83;
    sum_big_endian(header, 24, sum);
    put_sum(&header[24], sum);
    assert_int_equal(pwrite(fd, header, sizeof(header), 0), sizeof(header));
    for (off_t at = sizeof(header); pread(fd, frame, sizeof(frame), at) == sizeof(frame); at += (off_t)sizeof(frame)) {
        sum_big_endian(frame, 8, sum);
        sum_big_endian(&frame[24], 1024, sum);
        put_sum(&frame[16], sum);
        assert_int_equal(pwrite(fd, frame, sizeof(frame), at), sizeof(frame));
    }
    close(fd);
}

static void a_wal_of_the_other_byte_order_goes_on_in_it(void **state)
{
    (void)state;
    open_twins(1024);
    wal_exec(t.source, "INSERT INTO t SELECT NULL, randomblob(500) FROM " WAL_SERIES(30));
    copy();
    /* Everybody closes, and leaves the WAL as it is. */
    sqlite3 *all[] = {t.target, t.target_file};
    wal_file_free(t.to);
    for (size_t i = 0; i < 2; i++) {
        sqlite3_db_config(all[i], SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_close(all[i]);
    }
    turn_wal_around();
    t.target = wal_connect(t.dir, "target", NULL);
    t.target_file = wal_connect(t.dir, "target", NULL);
    wal_assert_same(t.source, t.target);
    WAL_OK(wal_file_new(t.target_file, &wal_err, &t.to));
    for (int i = 0; i < 3; i++) {
        wal_exec(t.source, "UPDATE t SET b = randomblob(500) WHERE a % 5 = 0");
        copy();
        in_child("copy_and_recover");
    }
    wal_exec(t.target, "PRAGMA wal_checkpoint");
    wal_exec(t.source, "UPDATE t SET b = randomblob(500) WHERE a % 5 = 0");
    copy();
    in_child("copy_and_recover");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argument_count, char **arguments)
{
    if (argument_count == 3)
        return be_child(arguments[1], arguments[2]);
    const struct CMUnitTest tests[] = {
        TEST(a_database_that_is_not_in_wal_mode_is_refused),
        TEST(a_new_database_has_an_end_without_frames),
        TEST(frames_are_read_as_sqlite_wrote_them),
        TEST(frames_of_an_older_generation_are_not_found),
        TEST(a_snapshot_stays_while_others_write_and_copy),
        TEST(a_snapshot_stays_when_the_wal_is_begun_anew),
        TEST(what_is_appended_is_what_all_see),
        TEST(transactions_of_any_length_are_found),
        TEST(of_a_page_that_is_appended_twice_the_last_one_counts),
        TEST(readers_see_nothing_before_the_commit),
        TEST(the_connection_that_appends_drops_its_cache),
        TEST(an_append_that_is_given_up_leaves_nothing),
        TEST(other_writers_are_noticed),
        TEST(an_append_that_is_given_up_leaves_the_index_as_it_was),
        TEST(pages_that_would_ruin_the_database_are_refused),
        TEST(who_finds_another_writer_is_told_so),
        TEST(a_wal_that_is_copied_is_begun_anew),
        TEST(a_wal_that_readers_need_goes_on),
        TEST(a_wal_that_a_reader_of_any_mark_needs_goes_on),
        TEST(a_wal_that_a_checkpoint_looks_at_goes_on),
        TEST(a_wal_that_was_cut_off_gets_new_salts),
        TEST(an_append_that_began_the_wal_anew_can_be_given_up),
        TEST(many_dead_writers_do_not_fill_the_index),
        TEST(what_a_dead_writer_left_is_passed_over),
        TEST(a_torn_header_of_the_index_is_recovered),
        TEST(a_wal_index_that_contradicts_itself_is_said_so),
        TEST(what_was_appended_is_recovered_from_the_wal),
        TEST(a_wal_of_the_other_byte_order_goes_on_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
