/* tests/crash/crash_wal.c: the power is cut, and the disk fails, while transactions are appended to a WAL (wal/wal_file.h) and checkpoints of
 * SQLite's run.
 *
 * A *course* is a database as it was after each of its transactions, made once by SQLite in a directory of its own. A *life* appends
 * them one after the other to a copy that lies on a disk of disk.h, syncs the WAL now and then, makes checkpoints, gives some appends up.
 * Whatever a cut leaves is the database as it was after one of its transactions, and not before the last that was synced.
 *
 * Faults: each write, sync, read, truncation, and each growth of the wal-index fails in turn. The append that fails has done
 * nothing; once the disk is well again the life goes on to its end. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "../lib/wal_fixture.h"
#include "disk.h"

enum {
    TRANSACTIONS = 16,
    PAGE_BYTES = 1024,
    LIVES = 30,
    CUT_GAP_OPS = 12,
    IMAGES_PER_CUT = 3,
    CUTS_MAX = 64,
    OPERATIONS_MAX = 5000,
    DISK_PAGES_MAX = 400,
};

/* One transaction: pages, in the order of their frames, and what the database is then. */
struct transaction {
    uint32_t numbers[DISK_PAGES_MAX];
    unsigned char *pages;
    uint32_t page_frames;
    uint32_t page_count;
    unsigned char *image;
    int64_t image_bytes;
};

static struct {
    char dir[PATH_MAX];
    struct transaction transactions[TRANSACTIONS + 1]; /* [0]: as it was before */
} course;

static void keep_frames(struct wal_file *file, struct wal_place *since, struct transaction *transaction)
{
    struct wal_place end = wal_end_of(file);
    if (since->salt1 != end.salt1)
        since->frame_count = 0;
    transaction->pages = malloc((size_t)(end.frame_count - since->frame_count) * PAGE_BYTES);
    for (uint32_t i = since->frame_count; i < end.frame_count; i++) {
        uint32_t at = transaction->page_frames++;
        uint32_t commit;
        assert_true(at < DISK_PAGES_MAX);
        WAL_OK(wal_file_frame(file, &end, i, &wal_err, &transaction->numbers[at], &commit,
                              transaction->pages + (size_t)at * PAGE_BYTES));
    }
    *since = end;
}

static int make_course(void **state)
{
    (void)state;
    disk_init();
    scratch_make_directory(course.dir);
    sqlite3 *db = wal_create(course.dir, "source", PAGE_BYTES, NULL);
    wal_exec(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); PRAGMA wal_checkpoint(TRUNCATE)");
    wal_copy_file(course.dir, "source", course.dir, "beginning");
    sqlite3 *reader = wal_connect(course.dir, "source", NULL);
    struct wal_file *file = NULL;
    WAL_OK(wal_file_new(reader, &wal_err, &file));
    struct wal_place since = wal_end_of(file);
    uint64_t seed = 42;
    for (uint32_t i = 0; i <= TRANSACTIONS; i++) {
        struct transaction *transaction = &course.transactions[i];
        char sql[512];
        snprintf(sql, sizeof(sql),
                 "BEGIN; INSERT INTO t SELECT NULL, randomblob(value * %u) FROM " WAL_SERIES(
                     20) "; "
                         "UPDATE t SET b = randomblob(100) WHERE a %% 7 = %u; DELETE FROM t WHERE a %% 13 = %u; COMMIT",
                 10 + wal_random_below(&seed, 30), wal_random_below(&seed, 7), wal_random_below(&seed, 13));
        if (i > 0) {
            wal_exec(db, i % 9 == 5 ? "VACUUM" : sql);
            keep_frames(file, &since, transaction);
        }
        transaction->image = wal_image(db, &transaction->image_bytes);
        transaction->page_count = (uint32_t)(transaction->image_bytes / PAGE_BYTES);
    }
    wal_file_free(file);
    sqlite3_close(reader);
    sqlite3_close(db);
    return 0;
}

static int free_course(void **state)
{
    (void)state;
    for (size_t i = 0; i <= TRANSACTIONS; i++) {
        free(course.transactions[i].pages);
        sqlite3_free(course.transactions[i].image);
    }
    scratch_remove_directory(course.dir);
    return 0;
}

/* --- A life ------------------------------------------------------------------------------------------------------- */

struct cut {
    struct disk_cut *cut;
    uint32_t synced; /* at least that is there */
    uint32_t begun;  /* and at most that */
};

struct life {
    char dir[PATH_MAX];
    struct disk *disk;
    struct dice dice;
    uint32_t appended;
    uint32_t begun;
    uint32_t synced;
    sqlite3 *connection;
    sqlite3 *checkpointer;
    struct wal_file *file;
    sqlite3_file *wal;
    uint64_t next_cut_op;
    size_t cut_count;
    struct cut cuts[CUTS_MAX];
};

static void on_operation(void *context, struct disk *disk)
{
    struct life *life = context;
    if (disk_op_count(disk) < life->next_cut_op || life->cut_count == CUTS_MAX)
        return;
    life->cuts[life->cut_count++] = (struct cut){disk_cut_new(disk), life->synced, life->begun};
    life->next_cut_op = disk_op_count(disk) + 1 + dice_below(&life->dice, CUT_GAP_OPS);
}

static void open_life(struct life *life, uint64_t seed)
{
    memset(life, 0, sizeof(*life));
    life->dice.state = seed;
    scratch_make_directory(life->dir);
    wal_copy_file(course.dir, "beginning", life->dir, "target");
    life->disk = disk_new(life->dir, seed);
    life->connection = wal_connect(life->dir, "target", NULL);
    life->checkpointer = wal_connect(life->dir, "target", NULL);
    sqlite3_busy_timeout(life->checkpointer, 0);
    wal_number(life->checkpointer, "SELECT count(*) FROM t");
    WAL_OK(wal_file_new(life->connection, &wal_err, &life->file));
    assert_int_equal(sqlite3_file_control(life->connection, "main", SQLITE_FCNTL_JOURNAL_POINTER, &life->wal),
                     SQLITE_OK);
}

static void close_life(struct life *life)
{
    wal_file_free(life->file);
    assert_int_equal(sqlite3_close(life->connection), SQLITE_OK);
    assert_int_equal(sqlite3_close(life->checkpointer), SQLITE_OK);
    for (size_t i = 0; i < life->cut_count; i++)
        disk_cut_free(life->cuts[i].cut);
    disk_free(life->disk);
    scratch_remove_directory(life->dir);
}

/* The next transaction. */
static sq_status append_next(struct life *life, bool is_given_up)
{
    const struct transaction *next = &course.transactions[life->appended + 1];
    struct wal_append *append = NULL;
    struct wal_place end;
    sq_status status = wal_append_begin(life->file, &wal_err, &append);
    if (status == SQ_OK && !is_given_up)
        life->begun = life->appended + 1;
    uint32_t count = is_given_up ? next->page_frames / 2 : next->page_frames;
    for (uint32_t i = 0; status == SQ_OK && i < count; i++)
        status = wal_append_page(append, next->numbers[i], next->pages + (size_t)i * PAGE_BYTES, &wal_err);
    if (status != SQ_OK || is_given_up) {
        wal_append_abort(append);
        return status;
    }
    SQ_TRY(wal_append_commit(append, next->page_count, &wal_err, &end));
    life->appended++;
    return SQ_OK;
}

static int sync_wal(struct life *life)
{
    uint32_t appended = life->appended;
    int result = life->wal->pMethods->xSync(life->wal, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
    if (result == SQLITE_OK)
        life->synced = appended;
    return result;
}

static int checkpoint(struct life *life)
{
    static const int modes[] = {SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_FULL,
                                SQLITE_CHECKPOINT_RESTART, SQLITE_CHECKPOINT_TRUNCATE};
    int mode = modes[dice_below(&life->dice, sizeof(modes) / sizeof(modes[0]))];
    return sqlite3_wal_checkpoint_v2(life->checkpointer, "main", mode, NULL, NULL);
}

/* Whether SQLite finds the database as it was after one of the transactions `first` … `last` in `dir`. Which one: *ret_found. */
static bool is_whole(const char *dir, uint32_t first, uint32_t last, uint32_t *ret_found)
{
    int64_t bytes;
    sqlite3 *db = wal_connect(dir, "target", NULL);
    wal_number(db, "SELECT count(*) FROM t");
    unsigned char *image = wal_image(db, &bytes);
    bool is_found = false;
    for (uint32_t i = first; i <= last && !is_found; i++) {
        const struct transaction *transaction = &course.transactions[i];
        is_found = bytes == transaction->image_bytes && memcmp(image, transaction->image, (size_t)bytes) == 0;
        *ret_found = i;
    }
    sqlite3_free(image);
    if (is_found)
        wal_check(db);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return is_found;
}

static void check_cuts(struct life *life, uint64_t seed)
{
    char dir[PATH_MAX];
    scratch_make_directory(dir);
    for (size_t i = 0; i < life->cut_count; i++) {
        for (int image = 0; image < IMAGES_PER_CUT; image++) {
            enum disk_loss loss = (enum disk_loss)dice_below(&life->dice, DISK_LOSSES);
            uint32_t found;
            disk_cut_write(life->cuts[i].cut, loss, &life->dice, dir);
            if (!is_whole(dir, life->cuts[i].synced, life->cuts[i].begun, &found))
                fail_msg("seed %" PRIu64 ", operation %" PRIu64 ", %s: not one of the transactions %u to %u (%s)", seed,
                         disk_cut_op(life->cuts[i].cut), disk_loss_names[loss], life->cuts[i].synced,
                         life->cuts[i].begun, dir);
            scratch_empty_directory(dir, NULL);
        }
    }
    scratch_remove_directory(dir);
}

static void after_a_power_cut_there_are_whole_transactions(void **state)
{
    (void)state;
    static struct life life;
    size_t cut_count = 0;
    for (uint64_t seed = 1; seed <= LIVES; seed++) {
        open_life(&life, seed);
        disk_set_observer(life.disk, &life, on_operation);
        while (life.appended < TRANSACTIONS) {
            uint64_t what = dice_below(&life.dice, 10);
            if (what < 5)
                WAL_OK(append_next(&life, dice_chance(&life.dice, 15)));
            else if (what < 7)
                assert_int_equal(sync_wal(&life), SQLITE_OK);
            else if (what < 8)
                assert_int_equal(checkpoint(&life), SQLITE_OK);
        }
        check_cuts(&life, seed);
        cut_count += life.cut_count;
        close_life(&life);
    }
    print_message("%zu cuts, %zu images\n", cut_count, cut_count * IMAGES_PER_CUT);
    assert_true(cut_count > LIVES);
}

/* --- Faults ------------------------------------------------------------------------------------------------------- */

struct kind {
    const char *name;
    struct disk_fault fault; /* all but `at` */
    bool is_sync;            /* after which nothing more is written */
};

static const struct kind kinds[] = {
    {"full disk", {.ops = DISK_WRITE | DISK_TRUNCATE, .error = ENOSPC}, false},
    {"full disk, half a write", {.ops = DISK_WRITE, .error = ENOSPC, .is_partial = true}, false},
    {"broken disk", {.ops = DISK_WRITE | DISK_TRUNCATE, .error = EIO}, false},
    {"broken disk, half a write", {.ops = DISK_WRITE, .error = EIO, .is_partial = true}, false},
    {"unreadable disk", {.ops = DISK_READ, .error = EIO}, false},
    {"full disk for the wal-index", {.ops = DISK_GROW_INDEX, .error = ENOSPC}, false},
    {"failed sync", {.ops = DISK_SYNC | DISK_SYNC_DIRECTORY, .error = EIO}, true},
};

/* Also a transaction that needs more of the wal-index than there is: its own pages, again and again. Nothing changes. */
static sq_status append_much(struct life *life)
{
    const struct transaction *now = &course.transactions[life->appended];
    struct wal_append *append = NULL;
    struct wal_place end;
    sq_status status = wal_append_begin(life->file, &wal_err, &append);
    for (uint32_t i = 0; status == SQ_OK && i < 5000; i++) {
        uint32_t number = 1 + i % now->page_count;
        status = wal_append_page(append, number, now->image + (size_t)(number - 1) * PAGE_BYTES, &wal_err);
    }
    if (status != SQ_OK) {
        wal_append_abort(append);
        return status;
    }
    return wal_append_commit(append, now->page_count, &wal_err, &end);
}

/* False: the disk has failed here, in an append; readers must see what was there before. */
static bool survive(struct life *life, sq_status status)
{
    if (status == SQ_OK)
        return true;
    assert_true(status == SQ_IO);
    assert_true(wal_err.engine_code != 0);
    sq_error_clear(&wal_err);
    int64_t bytes;
    unsigned char *image = wal_image(life->checkpointer, &bytes);
    assert_int_equal(bytes, course.transactions[life->appended].image_bytes);
    assert_memory_equal(image, course.transactions[life->appended].image, (size_t)bytes);
    sqlite3_free(image);
    return false;
}

/* Returns whether the fault was met. */
static bool live_with_fault(const struct kind *kind, uint64_t at)
{
    static struct life life;
    struct disk_fault fault = kind->fault;
    fault.at = at;
    open_life(&life, at);
    disk_set_fault(life.disk, &fault);
    bool is_over = false;
    for (int turn = 0; life.appended < 6 && !is_over; turn++) {
        bool is_fine = true;
        if (turn % 4 == 1)
            is_fine = checkpoint(&life) == SQLITE_OK;
        else if (turn % 4 == 2)
            is_fine = sync_wal(&life) == SQLITE_OK;
        else if (turn == 7)
            is_fine = survive(&life, append_much(&life));
        else
            is_fine = survive(&life, append_next(&life, false));
        is_over = !is_fine && kind->is_sync;
        assert_true(is_fine || disk_fault_count(life.disk) > 0);
    }
    bool is_met = disk_fault_count(life.disk) > 0;
    disk_set_fault(life.disk, NULL);
    life.cuts[life.cut_count++] = (struct cut){disk_cut_now(life.disk), life.synced, life.begun};
    check_cuts(&life, at);
    if (!is_over) {
        wal_check(life.checkpointer);
        assert_int_equal(checkpoint(&life), SQLITE_OK);
        assert_int_equal(sync_wal(&life), SQLITE_OK);
    } else {
        /* What the kernel has forgotten may not be copied from: sqld's durability point sees to that. */
        sqlite3_db_config(life.connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_db_config(life.checkpointer, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    close_life(&life);
    return is_met;
}

static void an_append_that_fails_has_done_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        uint64_t at = 1;
        while (live_with_fault(&kinds[i], at) && at < OPERATIONS_MAX)
            at++;
        print_message("%s: %" PRIu64 " times\n", kinds[i].name, at - 1);
        assert_in_range(at, 3, OPERATIONS_MAX - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_power_cut_there_are_whole_transactions),
        cmocka_unit_test(an_append_that_fails_has_done_nothing),
    };
    return cmocka_run_group_tests(tests, make_course, free_course);
}
