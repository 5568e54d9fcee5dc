/* A log's small files: the history of timelines, and records in two slots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/scratch.h"
#include "wal/history.h"
#include "wal/slots.h"

static char dir[PATH_MAX];
static int dir_fd;
static struct sq_error err;

static int set_up(void **state)
{
    (void)state;
    scratch_make_directory(dir);
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    sq_error_clear(&err);
    return dir_fd >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    close(dir_fd);
    scratch_remove_directory(dir);
    return 0;
}

static struct wal_history sample(void)
{
    struct wal_history history = {.generation = 77, .base_txid = 10, .base_checksum = 0x8000000000000123};
    assert_int_equal(wal_history_add(&history, 2, 10, &err), SQ_OK);
    assert_int_equal(wal_history_add(&history, 5, 30, &err), SQ_OK);
    assert_int_equal(wal_history_add(&history, 6, 30, &err), SQ_OK);
    return history;
}

static void timelines_have_beginnings_and_ends(void **state)
{
    (void)state;
    struct wal_history history = sample(), empty = {0};
    ltx_txid end;
    assert_int_equal(wal_history_timeline(&history, 10), 2); /* the base is of the first one that is known */
    assert_int_equal(wal_history_timeline(&history, 11), 2);
    assert_int_equal(wal_history_timeline(&history, 30), 2);
    assert_int_equal(wal_history_timeline(&history, 31), 6);
    assert_int_equal(wal_history_timeline_after(&history, 29), 2);
    assert_int_equal(wal_history_timeline_after(&history, 30), 6);
    assert_int_equal(wal_history_timeline(&empty, 5), 0);
    assert_true(wal_history_end(&history, 2, &end));
    assert_int_equal(end, 30);
    assert_true(wal_history_end(&history, 5, &end));
    assert_int_equal(end, 30);
    assert_true(wal_history_end(&history, 6, &end));
    assert_int_equal(end, UINT64_MAX);
    assert_false(wal_history_end(&history, 3, &end));
    assert_false(wal_history_cut(&history, 30));
    assert_true(wal_history_cut(&history, 29));
    assert_int_equal(history.count, 1);
    wal_history_done(&history);
}

static void timelines_ascend(void **state)
{
    (void)state;
    struct wal_history history = sample();
    assert_int_equal(wal_history_add(&history, 6, 40, &err), SQ_INVALID);
    assert_int_equal(wal_history_add(&history, 5, 40, &err), SQ_INVALID);
    assert_int_equal(wal_history_add(&history, 7, 29, &err), SQ_INVALID);
    assert_int_equal(wal_history_add(&history, 7, UINT64_MAX, &err), SQ_INVALID);
    wal_history_done(&history);
    assert_int_equal(wal_history_add(&history, 0, 1, &err), SQ_INVALID);
    wal_history_done(&history);
}

static void what_was_saved_is_loaded(void **state)
{
    (void)state;
    struct wal_history history = sample(), loaded;
    assert_int_equal(wal_history_load(dir_fd, &err, &loaded), SQ_NOT_FOUND);
    for (int clearing = 0; clearing < 2; clearing++) {
        history.is_clearing = clearing == 1;
        assert_int_equal(wal_history_save(dir_fd, &history, &err), SQ_OK);
        assert_int_equal(wal_history_load(dir_fd, &err, &loaded), SQ_OK);
        assert_int_equal(loaded.generation, 77);
        assert_int_equal(loaded.base_txid, 10);
        assert_int_equal(loaded.base_checksum, 0x8000000000000123);
        assert_int_equal(loaded.is_clearing, clearing);
        assert_int_equal(loaded.count, 3);
        assert_memory_equal(loaded.timelines, history.timelines, 3 * sizeof(*history.timelines));
        wal_history_done(&loaded);
    }
    wal_history_done(&history);
}

static void as_many_timelines_as_may_be(void **state)
{
    (void)state;
    struct wal_history history = {.base_txid = 1}, loaded;
    for (uint64_t i = 1; i <= WAL_HISTORY_TIMELINES_MAX; i++)
        assert_int_equal(wal_history_add(&history, i, i, &err), SQ_OK);
    assert_int_equal(wal_history_add(&history, 99999, 99999, &err), SQ_LIMIT);
    assert_int_equal(wal_history_save(dir_fd, &history, &err), SQ_OK);
    assert_int_equal(wal_history_load(dir_fd, &err, &loaded), SQ_OK);
    assert_int_equal(loaded.count, WAL_HISTORY_TIMELINES_MAX);
    wal_history_done(&loaded);
    wal_history_done(&history);
}

static void each_damage_is_found(void **state)
{
    (void)state;
    struct wal_history history = sample(), loaded;
    assert_int_equal(wal_history_save(dir_fd, &history, &err), SQ_OK);
    wal_history_done(&history);
    int fd = openat(dir_fd, "history", O_RDWR);
    off_t length = lseek(fd, 0, SEEK_END);
    assert_int_equal(length, 48 + 3 * 16 + 8);
    for (off_t offset = 0; offset < length; offset++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t byte;
            assert_int_equal(pread(fd, &byte, 1, offset), 1);
            byte ^= (uint8_t)(1 << bit);
            assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
            assert_int_equal(wal_history_load(dir_fd, &err, &loaded), SQ_CORRUPT);
            byte ^= (uint8_t)(1 << bit);
            assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
        }
    }
    assert_int_equal(ftruncate(fd, length + 1), 0);
    assert_int_equal(wal_history_load(dir_fd, &err, &loaded), SQ_CORRUPT);
    while (length-- > 0) {
        assert_int_equal(ftruncate(fd, length), 0);
        assert_int_equal(wal_history_load(dir_fd, &err, &loaded), SQ_CORRUPT);
    }
    close(fd);
}

static void a_history_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    struct wal_history history = sample(), loaded;
    history.base_txid = 9; /* before its first timeline */
    assert_int_equal(wal_history_save(dir_fd, &history, &err), SQ_OK);
    assert_int_equal(wal_history_load(dir_fd, &err, &loaded), SQ_CORRUPT);
    history.base_txid = 10;
    history.timelines[1].timeline = 2;
    assert_int_equal(wal_history_save(dir_fd, &history, &err), SQ_OK);
    assert_int_equal(wal_history_load(dir_fd, &err, &loaded), SQ_CORRUPT);
    wal_history_done(&history);
}

static void the_newer_whole_slot_counts(void **state)
{
    (void)state;
    static const char magic[8] = "SQLDTEST", other[8] = "SQLDXXXX";
    int fd = openat(dir_fd, "slots", O_RDWR | O_CREAT, 0600);
    uint32_t record = 0;
    uint64_t sequence = 0;
    assert_int_equal(wal_slots_read(fd, magic, 4, &err, &record, &sequence), SQ_NOT_FOUND);
    for (uint32_t i = 1; i < 6; i++) {
        assert_int_equal(wal_slots_write(fd, magic, i, &(uint32_t){i * 100}, 4, &err), SQ_OK);
        assert_int_equal(wal_slots_read(fd, magic, 4, &err, &record, &sequence), SQ_OK);
        assert_int_equal(record, i * 100);
        assert_int_equal(sequence, i);
    }
    assert_int_equal(wal_slots_read(fd, other, 4, &err, &record, &sequence), SQ_NOT_FOUND);
    assert_int_equal(wal_slots_read(fd, magic, 8, &err, &(uint64_t){0}, &sequence), SQ_NOT_FOUND);
    /* 5 is at 4096; each changed bit of it leaves 4. */
    for (off_t offset = 4096; offset < 4096 + 28; offset++) {
        for (int bit = 0; bit < 8; bit++) {
            uint8_t byte;
            assert_int_equal(pread(fd, &byte, 1, offset), 1);
            byte ^= (uint8_t)(1 << bit);
            assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
            assert_int_equal(wal_slots_read(fd, magic, 4, &err, &record, &sequence), SQ_OK);
            assert_int_equal(record, 400);
            assert_int_equal(sequence, 4);
            byte ^= (uint8_t)(1 << bit);
            assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
        }
    }
    assert_int_equal(ftruncate(fd, 4096 + 27), 0);
    assert_int_equal(wal_slots_read(fd, magic, 4, &err, &record, &sequence), SQ_OK);
    assert_int_equal(sequence, 4);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(timelines_have_beginnings_and_ends),
        TEST(timelines_ascend),
        TEST(what_was_saved_is_loaded),
        TEST(as_many_timelines_as_may_be),
        TEST(each_damage_is_found),
        TEST(a_history_that_contradicts_itself_is_refused),
        TEST(the_newer_whole_slot_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
