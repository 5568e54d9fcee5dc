/* Checksums of pages: against a plain array; the file; what a save that was cut off leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../lib/log_fixture.h"
#include "../../lib/scratch.h"
#include "wal/page_sums.h"

enum { MODEL_PAGES_MAX = 20000 };

struct fixture {
    char dir[PATH_MAX];
    char path[PATH_MAX + 8];
    struct page_sums *sums;
    uint64_t seed;
    struct sq_error err;
    uint32_t page_count;
    uint64_t model[MODEL_PAGES_MAX];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    scratch_make_directory(f->dir);
    (void)snprintf(f->path, sizeof(f->path), "%s/sums", f->dir);
    f->seed = 5;
    sq_error_clear(&f->err);
    assert_int_equal(page_sums_new(4096, &f->err, &f->sums), SQ_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    page_sums_free(f->sums);
    scratch_remove_directory(f->dir);
    free(f);
    return 0;
}

static void set(struct fixture *f, uint32_t page, uint64_t sum)
{
    assert_int_equal(page_sums_set(f->sums, page, sum, &f->err), SQ_OK);
    f->model[page - 1] = sum;
    if (page > f->page_count)
        f->page_count = page;
}

static void resize(struct fixture *f, uint32_t page_count)
{
    assert_int_equal(page_sums_resize(f->sums, page_count, &f->err), SQ_OK);
    for (uint32_t i = page_count; i < f->page_count; i++)
        f->model[i] = 0;
    f->page_count = page_count;
}

static void assert_as_model(const struct fixture *f, const struct page_sums *sums, const uint64_t *model,
                            uint32_t page_count)
{
    uint64_t database = WAL_CHECKSUM_FLAG;
    (void)f;
    assert_int_equal(page_sums_page_count(sums), page_count);
    for (uint32_t i = 0; i < page_count; i++) {
        if (page_sums_get(sums, i + 1) != model[i])
            fail_msg("page %u", i + 1);
        database = wal_checksum_exchange(database, 0, model[i]);
    }
    assert_int_equal(page_sums_database(sums), database);
    assert_int_equal(page_sums_get(sums, page_count + 1), 0);
    assert_int_equal(page_sums_get(sums, 0), 0);
}

static void change(struct fixture *f)
{
    uint64_t what = fixture_random(&f->seed) % 40;
    if (what == 0)
        resize(f, (uint32_t)(fixture_random(&f->seed) % MODEL_PAGES_MAX));
    else if (what == 1)
        resize(f, f->page_count - (f->page_count < 100 ? 0 : (uint32_t)(fixture_random(&f->seed) % 100)));
    else
        set(f, 1 + (uint32_t)(fixture_random(&f->seed) % MODEL_PAGES_MAX),
            fixture_random(&f->seed) | WAL_CHECKSUM_FLAG);
}

static void nothing_is_an_empty_database(void **state)
{
    struct fixture *f = *state;
    assert_as_model(f, f->sums, f->model, 0);
    assert_int_equal(page_sums_page_bytes(f->sums), 4096);
    struct page_sums *sums;
    assert_int_equal(page_sums_new(1000, &f->err, &sums), SQ_INVALID);
    assert_int_equal(page_sums_new(256, &f->err, &sums), SQ_INVALID);
    assert_int_equal(page_sums_new(131072, &f->err, &sums), SQ_INVALID);
}

static void sums_are_as_a_plain_array(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 2000; i++) {
        change(f);
        if (i % 50 == 0)
            assert_as_model(f, f->sums, f->model, f->page_count);
    }
    assert_as_model(f, f->sums, f->model, f->page_count);
    set(f, 3, 0);
    assert_as_model(f, f->sums, f->model, f->page_count);
}

static void copies_stay_as_they_were(void **state)
{
    struct fixture *f = *state;
    enum { COPIES = 20 };
    struct page_sums *copies[COPIES];
    uint64_t *models[COPIES];
    uint32_t counts[COPIES];
    for (int i = 0; i < COPIES; i++) {
        for (int k = 0; k < 100; k++)
            change(f);
        assert_int_equal(page_sums_copy(f->sums, &f->err, &copies[i]), SQ_OK);
        models[i] = malloc(sizeof(f->model));
        assert_non_null(models[i]);
        memcpy(models[i], f->model, sizeof(f->model));
        counts[i] = f->page_count;
    }
    for (int i = 0; i < COPIES; i++) {
        assert_as_model(f, copies[i], models[i], counts[i]);
        if (i % 2 == 0)
            page_sums_free(copies[i]);
    }
    /* A copy may be changed too. */
    for (int i = 1; i < COPIES; i += 2) {
        assert_int_equal(page_sums_resize(copies[i], counts[i] / 2, &f->err), SQ_OK);
        assert_as_model(f, copies[i], models[i], counts[i] / 2);
        page_sums_free(copies[i]);
    }
    for (int i = 0; i < COPIES; i++)
        free(models[i]);
    assert_as_model(f, f->sums, f->model, f->page_count);
}

static void save(struct fixture *f, ltx_txid txid)
{
    assert_int_equal(page_sums_save(f->sums, f->path, txid, 3, &f->err), SQ_OK);
}

static void reopen(struct fixture *f, ltx_txid expected)
{
    ltx_txid txid = 0;
    uint64_t timeline = 0;
    page_sums_free(f->sums);
    f->sums = NULL;
    assert_int_equal(page_sums_open(f->path, &f->err, &f->sums, &txid, &timeline), SQ_OK);
    assert_int_equal(txid, expected);
    assert_int_equal(timeline, 3);
}

static void what_was_saved_is_read(void **state)
{
    struct fixture *f = *state;
    ltx_txid txid;
    uint64_t timeline;
    struct page_sums *sums;
    assert_int_equal(page_sums_open(f->path, &f->err, &sums, &txid, &timeline), SQ_NOT_FOUND);
    save(f, 1);
    reopen(f, 1);
    assert_as_model(f, f->sums, f->model, 0);
    for (ltx_txid i = 2; i < 60; i++) {
        for (uint64_t k = fixture_random(&f->seed) % 20; k > 0; k--)
            change(f);
        save(f, i);
        if (i % 3 == 0)
            reopen(f, i);
        assert_as_model(f, f->sums, f->model, f->page_count);
    }
}

static void what_was_not_saved_is_not_there(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++)
        change(f);
    save(f, 7);
    uint64_t database = page_sums_database(f->sums);
    for (int i = 0; i < 100; i++)
        change(f);
    reopen(f, 7);
    assert_int_equal(page_sums_database(f->sums), database);
}

static void pages_that_come_back_have_no_old_checksum(void **state)
{
    struct fixture *f = *state;
    for (uint32_t page = 1; page <= 10000; page++)
        set(f, page, page | WAL_CHECKSUM_FLAG);
    save(f, 1);
    resize(f, 5);
    save(f, 2);
    reopen(f, 2);
    resize(f, 10000);
    save(f, 3);
    reopen(f, 3);
    assert_as_model(f, f->sums, f->model, 10000);
}

static void a_file_that_has_gone_is_made_anew(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++)
        change(f);
    save(f, 1);
    assert_int_equal(unlink(f->path), 0);
    change(f);
    save(f, 2);
    reopen(f, 2);
    assert_as_model(f, f->sums, f->model, f->page_count);
}

static void another_ones_file_is_replaced(void **state)
{
    struct fixture *f = *state;
    for (uint32_t page = 1; page <= 3000; page++)
        set(f, page, page | WAL_CHECKSUM_FLAG);
    save(f, 9);
    page_sums_free(f->sums);
    assert_int_equal(page_sums_new(8192, &f->err, &f->sums), SQ_OK);
    memset(f->model, 0, sizeof(f->model));
    f->page_count = 0;
    set(f, 2000, WAL_CHECKSUM_FLAG | 1);
    save(f, 10);
    reopen(f, 10);
    assert_int_equal(page_sums_page_bytes(f->sums), 8192);
    assert_as_model(f, f->sums, f->model, 2000);
    struct page_sums *copy;
    assert_int_equal(page_sums_copy(f->sums, &f->err, &copy), SQ_OK);
    assert_int_equal(page_sums_save(copy, f->path, 11, 3, &f->err), SQ_OK);
    page_sums_free(copy);
    reopen(f, 11);
    assert_as_model(f, f->sums, f->model, 2000);
}

static void assert_corrupt(struct fixture *f)
{
    ltx_txid txid;
    uint64_t timeline;
    struct page_sums *sums;
    assert_int_equal(page_sums_open(f->path, &f->err, &sums, &txid, &timeline), SQ_CORRUPT);
}

static void poke(struct fixture *f, off_t offset, const void *bytes, size_t length)
{
    int fd = open(f->path, O_RDWR);
    assert_int_equal(pwrite(fd, bytes, length, offset), (ssize_t)length);
    close(fd);
}

static void one_damaged_header_is_survived_and_two_are_noticed(void **state)
{
    struct fixture *f = *state;
    set(f, 1, WAL_CHECKSUM_FLAG | 1);
    save(f, 1); /* sequence 1, at 4096 */
    save(f, 2); /* sequence 2, at 0 */
    poke(f, 20, "x", 1);
    reopen(f, 1);
    save(f, 3);
    reopen(f, 3);
    poke(f, 20, "x", 1);
    poke(f, 4096 + 40, "xxxx", 4);
    assert_corrupt(f);
    assert_int_equal(truncate(f->path, 0), 0);
    assert_corrupt(f);
}

static void impossible_files_are_refused(void **state)
{
    struct fixture *f = *state;
    for (uint32_t page = 1; page <= 100; page++)
        set(f, page, WAL_CHECKSUM_FLAG | page);
    save(f, 1);
    static const uint8_t no_flag[8] = {0x40, 1};
    uint8_t kept[8];
    int fd = open(f->path, O_RDONLY);
    assert_int_equal(pread(fd, kept, 8, 8192 + 8 * 50), 8);
    close(fd);
    poke(f, 8192 + 8 * 50, no_flag, 8);
    assert_corrupt(f);
    poke(f, 8192 + 8 * 50, kept, 8);
    reopen(f, 1);
    assert_int_equal(truncate(f->path, 8192 + 8 * 100 - 1), 0);
    assert_corrupt(f);
}

/* A database of 64 kB pages that reaches beyond 1 GiB: the lock page has no checksum. */
static void the_lock_page_has_no_checksum(void **state)
{
    struct fixture *f = *state;
    page_sums_free(f->sums);
    assert_int_equal(page_sums_new(65536, &f->err, &f->sums), SQ_OK);
    set(f, 16384, WAL_CHECKSUM_FLAG | 5);
    set(f, 16386, WAL_CHECKSUM_FLAG | 6);
    assert_int_equal(page_sums_get(f->sums, 16385), 0);
    save(f, 1);
    reopen(f, 1);
    assert_as_model(f, f->sums, f->model, 16386);
    static const uint8_t sum[8] = {0x80, 1};
    poke(f, 8192 + 8 * 16384, sum, 8);
    assert_corrupt(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_an_empty_database),
        TEST(sums_are_as_a_plain_array),
        TEST(copies_stay_as_they_were),
        TEST(what_was_saved_is_read),
        TEST(what_was_not_saved_is_not_there),
        TEST(pages_that_come_back_have_no_old_checksum),
        TEST(a_file_that_has_gone_is_made_anew),
        TEST(another_ones_file_is_replaced),
        TEST(one_damaged_header_is_survived_and_two_are_noticed),
        TEST(impossible_files_are_refused),
        TEST(the_lock_page_has_no_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
