/* The log: files in a row, positions, readers, watches, what opening finds, restarts, timelines, syncs, tidying. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "../../lib/log_fixture.h"
#include "../../lib/scratch.h"
#include "base/clock.h"
#include "base/log.h"

struct fixture {
    char dir[PATH_MAX];
    char path[PATH_MAX + 8];
    struct wal_log *log;
    uint64_t seed;
    struct sq_error err;
    struct fixture_database database;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    sq_log_set_level(SQ_LOG_ERROR);
    scratch_make_directory(f->dir);
    (void)snprintf(f->path, sizeof(f->path), "%s/x", f->dir);
    f->seed = 1;
    sq_error_clear(&f->err);
    f->database.timeline = 1;
    assert_int_equal(wal_log_open(f->path, &f->err, &f->log), SQ_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    wal_log_close(f->log);
    scratch_remove_directory(f->path);
    scratch_remove_directory(f->dir);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    wal_log_close(f->log);
    f->log = NULL;
    assert_int_equal(wal_log_open(f->path, &f->err, &f->log), SQ_OK);
}

static void append(struct fixture *f, unsigned transactions)
{
    assert_int_equal(fixture_append(f->log, &f->database, &f->seed, transactions, &f->err), SQ_OK);
}

/* A log on timeline 1 that begins with a snapshot. */
static void begin(struct fixture *f)
{
    assert_int_equal(wal_log_begin_timeline(f->log, 1, &f->err), SQ_OK);
    append(f, 1);
}

/* The same, into a file of its own. */
static void append_synced(struct fixture *f, unsigned transactions)
{
    append(f, transactions);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
}

static void begin_synced(struct fixture *f)
{
    begin(f);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
}

static void assert_position(struct wal_position position, struct wal_position expected)
{
    assert_int_equal(position.timeline, expected.timeline);
    assert_int_equal(position.txid, expected.txid);
    assert_int_equal(position.checksum, expected.checksum);
}

static void assert_at_end(struct fixture *f)
{
    assert_position(wal_log_end(f->log), fixture_position(&f->database));
}

/* A follower that begins at `from` comes to the end, and has the same pages. */
static void assert_followed_from(struct fixture *f, const struct fixture_database *from)
{
    struct fixture_database follower = *from;
    sq_status status;
    while ((status = fixture_follow(f->log, &follower, &f->err)) == SQ_OK)
        ;
    assert_int_equal(status, SQ_NOT_FOUND);
    assert_position(fixture_position(&follower), fixture_position(&f->database));
    assert_memory_equal(follower.pages, f->database.pages, sizeof(follower.pages));
}

static void assert_followed(struct fixture *f)
{
    struct fixture_database empty = {.timeline = 1};
    assert_followed_from(f, &empty);
}

static void file_path(const struct fixture *f, ltx_txid min_txid, ltx_txid max_txid, char ret_path[PATH_MAX + 64])
{
    (void)snprintf(ret_path, PATH_MAX + 64, "%s/%016llx-%016llx.ltx", f->path, (unsigned long long)min_txid,
                   (unsigned long long)max_txid);
}

static unsigned count_files(const struct fixture *f, const char *ending)
{
    DIR *dir = opendir(f->path);
    assert_non_null(dir);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length > strlen(ending) && strcmp(entry->d_name + length - strlen(ending), ending) == 0)
            count++;
    }
    closedir(dir);
    return count;
}

/* --- appending and reading ------------------------------------------------------------------------------------------ */

static void a_new_log_is_empty(void **state)
{
    struct fixture *f = *state;
    assert_position(wal_log_end(f->log), (struct wal_position){0});
    assert_position(wal_log_begin(f->log), (struct wal_position){0});
    assert_int_equal(wal_log_synced(f->log), 0);
    struct ltx_header header;
    assert_false(wal_log_last_header(f->log, &header));
    struct wal_log_reader *reader;
    assert_int_equal(wal_log_reader_open(f->log, 0, &f->err, &reader), SQ_NOT_FOUND);
    assert_int_equal(wal_log_facts(f->log).file_count, 0);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    assert_string_equal(wal_log_path(f->log), f->path);
}

static void files_are_read_as_they_were_appended(void **state)
{
    struct fixture *f = *state;
    begin(f);
    for (unsigned i = 0; i < 20; i++) {
        append(f, 1 + i % 3);
        assert_at_end(f);
        struct ltx_header header;
        assert_true(wal_log_last_header(f->log, &header));
        assert_int_equal(header.max_txid, f->database.txid);
    }
    assert_int_equal(wal_log_facts(f->log).file_count, 21);
    assert_int_equal(wal_log_facts(f->log).oldest_ms, 1700000000000);
    assert_followed(f);
    assert_int_equal(count_files(f, ".tmp"), 0);
    assert_int_equal(count_files(f, ".ltx"), 0);
    assert_int_equal(count_files(f, ".tail"), 1);
    /* Opening makes a file of all that was in the tail. */
    reopen(f);
    assert_at_end(f);
    assert_int_equal(wal_log_synced(f->log), f->database.txid);
    assert_int_equal(wal_log_facts(f->log).file_count, 1);
    assert_int_equal(count_files(f, ".ltx"), 1);
    assert_int_equal(count_files(f, ".tail"), 0);
    assert_followed(f);
}

/* Tails are left for new ones, and removed when nothing needs them. */
static void a_tail_does_not_grow_without_end(void **state)
{
    struct fixture *f = *state;
    enum { PAGES = 8, BYTES = 32768, FILES = 60 };
    assert_int_equal(wal_log_begin_timeline(f->log, 1, &f->err), SQ_OK);
    struct wal_position position = {.timeline = 1, .txid = 1, .checksum = WAL_CHECKSUM_FLAG};
    assert_int_equal(wal_log_restart(f->log, &position, &f->err), SQ_OK);
    uint64_t page[BYTES / 8];
    for (ltx_txid txid = 2; txid < 2 + FILES; txid++) {
        struct ltx_header header = {.page_bytes = BYTES,
                                    .page_count = PAGES,
                                    .min_txid = txid,
                                    .max_txid = txid,
                                    .pre_checksum = WAL_CHECKSUM_FLAG,
                                    .node_id = 1};
        struct ltx_trailer trailer;
        struct wal_log_file *file;
        struct ltx_encoder *encoder;
        uint64_t bytes;
        assert_int_equal(wal_log_file_new(f->log, &f->err, &file), SQ_OK);
        assert_int_equal(ltx_encoder_new(wal_log_file_output(file), &header, &f->err, &encoder), SQ_OK);
        for (uint32_t number = 1; number <= PAGES; number++) {
            for (size_t i = 0; i < BYTES / 8; i++)
                page[i] = fixture_random(&f->seed);
            assert_int_equal(ltx_encoder_page(encoder, number, page, &f->err), SQ_OK);
        }
        assert_int_equal(ltx_encoder_finish(encoder, WAL_CHECKSUM_FLAG, &f->err, &trailer, &bytes), SQ_OK);
        ltx_encoder_free(encoder);
        assert_int_equal(wal_log_file_commit(file, &header, &trailer, &f->err), SQ_OK);
    }
    assert_int_equal(count_files(f, ".tail"), 4); /* 60 of 256 kB, 4 MiB each */
    assert_int_equal(wal_log_facts(f->log).file_count, FILES);
    reopen(f);
    assert_int_equal(wal_log_end(f->log).txid, FILES + 1);
    assert_int_equal(count_files(f, ".tail"), 0);
    assert_int_equal(count_files(f, ".ltx"), 2); /* of 8 MiB each */
}

static void a_large_file_is_read_in_pieces(void **state)
{
    struct fixture *f = *state;
    enum { PAGES = 40, BYTES = 65536 };
    assert_int_equal(wal_log_begin_timeline(f->log, 1, &f->err), SQ_OK);
    struct ltx_header header = {.page_bytes = BYTES, .page_count = PAGES, .min_txid = 1, .max_txid = 1, .node_id = 1};
    struct ltx_trailer trailer;
    struct wal_log_file *file;
    struct ltx_encoder *encoder;
    uint64_t bytes = 0, database = WAL_CHECKSUM_FLAG;
    assert_int_equal(wal_log_file_new(f->log, &f->err, &file), SQ_OK);
    assert_int_equal(ltx_encoder_new(wal_log_file_output(file), &header, &f->err, &encoder), SQ_OK);
    uint64_t *page = malloc(BYTES);
    assert_non_null(page);
    for (uint32_t number = 1; number <= PAGES; number++) {
        for (size_t i = 0; i < BYTES / sizeof(*page); i++)
            page[i] = fixture_random(&f->seed);
        database = wal_checksum_exchange(database, 0, wal_page_checksum(number, page, BYTES));
        assert_int_equal(ltx_encoder_page(encoder, number, page, &f->err), SQ_OK);
    }
    free(page);
    assert_int_equal(ltx_encoder_finish(encoder, database, &f->err, &trailer, &bytes), SQ_OK);
    ltx_encoder_free(encoder);
    assert_true(bytes > PAGES * BYTES);
    assert_int_equal(wal_log_file_commit(file, &header, &trailer, &f->err), SQ_OK);
    reopen(f); /* which decodes it */
    assert_int_equal(wal_log_end(f->log).checksum, database);
    struct wal_log_reader *reader;
    assert_int_equal(wal_log_reader_open(f->log, 0, &f->err, &reader), SQ_OK);
    assert_int_equal(wal_log_reader_bytes(reader), bytes);
    assert_int_equal(wal_log_reader_header(reader)->page_count, PAGES);
    uint8_t piece[64];
    size_t length = 1;
    assert_int_equal(wal_log_reader_read(reader, bytes - 10, piece, sizeof(piece), &f->err, &length), SQ_OK);
    assert_int_equal(length, 10);
    assert_int_equal(wal_log_reader_read(reader, bytes, piece, sizeof(piece), &f->err, &length), SQ_OK);
    assert_int_equal(length, 0);
    assert_int_equal(wal_log_reader_read(reader, UINT64_MAX, piece, sizeof(piece), &f->err, &length), SQ_OK);
    assert_int_equal(length, 0);
    wal_log_reader_close(reader);
}

/* Encodes without appending: what is changed is a copy. */
static sq_status commit_other(struct fixture *f, struct fixture_database database, const struct ltx_header *changed)
{
    struct wal_log_file *file;
    struct ltx_header header;
    struct ltx_trailer trailer;
    uint64_t bytes, seed = 99;
    assert_int_equal(wal_log_file_new(f->log, &f->err, &file), SQ_OK);
    assert_int_equal(fixture_encode(&database, &seed, 1, wal_log_file_output(file), &f->err, &header, &trailer, &bytes),
                     SQ_OK);
    return wal_log_file_commit(file, changed != NULL ? changed : &header, &trailer, &f->err);
}

static void what_does_not_follow_is_refused(void **state)
{
    struct fixture *f = *state;
    begin_synced(f);
    append_synced(f, 1);
    struct wal_position end = wal_log_end(f->log);
    struct fixture_database other = f->database;
    other.txid++; /* a gap */
    assert_int_equal(commit_other(f, other, NULL), SQ_INVALID);
    other.txid -= 2; /* again */
    assert_int_equal(commit_other(f, other, NULL), SQ_INVALID);
    other = f->database;
    other.pages[0][0] ^= 1; /* from another content */
    assert_int_equal(commit_other(f, other, NULL), SQ_INVALID);
    other = f->database;
    other.timeline = 2;
    assert_int_equal(commit_other(f, other, NULL), SQ_INVALID);
    struct ltx_header header;
    assert_true(wal_log_last_header(f->log, &header)); /* not that of the file */
    assert_int_equal(commit_other(f, f->database, &header), SQ_INVALID);
    struct wal_log_file *file;
    assert_int_equal(wal_log_file_new(f->log, &f->err, &file), SQ_OK);
    struct ltx_trailer trailer = {.post_checksum = WAL_CHECKSUM_FLAG, .file_checksum = WAL_CHECKSUM_FLAG};
    header.min_txid = header.max_txid = 3;
    assert_int_equal(wal_log_file_commit(file, &header, &trailer, &f->err), SQ_INVALID); /* no bytes */
    assert_position(wal_log_end(f->log), end);
    assert_int_equal(count_files(f, ".ltx"), 2);
    assert_int_equal(count_files(f, ".tmp"), 0);
    append(f, 1);
    assert_followed(f);
}

static void a_file_that_is_given_up_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct wal_log_file *file;
    assert_int_equal(wal_log_file_new(f->log, &f->err, &file), SQ_OK);
    uint8_t *bytes = calloc(1, 2000000);
    assert_non_null(bytes);
    struct ltx_output *output = wal_log_file_output(file);
    assert_int_equal(output->write_cb(output, bytes, 2000000, &f->err), SQ_OK);
    free(bytes);
    assert_int_equal(count_files(f, ".tmp"), 1);
    wal_log_file_abort(file);
    wal_log_file_abort(NULL);
    assert_int_equal(count_files(f, ".tmp"), 0);
    assert_at_end(f);
}

struct counter {
    struct sq_waker waker;
    int count;
};
static void count_wake(struct sq_waker *waker)
{
    SQ_CONTAINER_OF(waker, struct counter, waker)->count++;
}

static void watches_are_told_of_appends_and_restarts(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct counter counter = {.waker.wake_cb = count_wake};
    struct wal_log_watch watch;
    wal_log_watch_add(f->log, &watch, &counter.waker);
    append(f, 1);
    assert_int_equal(counter.count, 1);
    append(f, 2);
    assert_int_equal(counter.count, 2);
    f->database.txid += 100;
    struct wal_position position = fixture_position(&f->database);
    assert_int_equal(wal_log_restart(f->log, &position, &f->err), SQ_OK);
    assert_int_equal(counter.count, 3);
    assert_int_equal(wal_log_begin_timeline(f->log, 2, &f->err), SQ_OK);
    assert_int_equal(counter.count, 4);
    wal_log_watch_remove(f->log, &watch);
    f->database.timeline = 2;
    append(f, 1);
    assert_int_equal(counter.count, 4);
}

/* --- opening -------------------------------------------------------------------------------------------------------- */

static void flip_byte(const char *path, off_t offset)
{
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void forget_marks(const struct fixture *f)
{
    char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof(path), "%s/marks", f->path);
    assert_int_equal(truncate(path, 0), 0);
}

/* It still has what has been synced a moment ago. */
static void forget_tail(const struct fixture *f)
{
    char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof(path), "%s/1.tail", f->path);
    assert_int_equal(unlink(path), 0);
}

/* Five files, the fourth of which is treated by `damage`: the log ends with the third. Nothing is known to be synced. */
static void damaged_file_ends_the_log(struct fixture *f, void (*damage_cb)(const char *path))
{
    begin_synced(f);
    append_synced(f, 2);
    append_synced(f, 1);
    struct fixture_database before = f->database;
    append_synced(f, 1);
    append_synced(f, 1);
    char path[PATH_MAX + 64];
    file_path(f, before.txid + 1, before.txid + 1, path);
    damage_cb(path);
    forget_marks(f);
    forget_tail(f);
    reopen(f);
    f->database = before;
    assert_at_end(f);
    assert_int_equal(count_files(f, ".ltx"), 1); /* synced, and so made one */
    append(f, 3);
    assert_followed(f);
}

static void damage_remove(const char *path)
{
    assert_int_equal(unlink(path), 0);
}
static void damage_empty(const char *path)
{
    assert_int_equal(truncate(path, 0), 0);
}
static void damage_cut(const char *path)
{
    assert_int_equal(truncate(path, 130), 0);
}
static void damage_zeros(const char *path)
{
    struct stat facts;
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(truncate(path, facts.st_size), 0);
}
static void damage_page(const char *path)
{
    flip_byte(path, 112);
}
static void damage_more(const char *path)
{
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    /* With a trailer at its end that could be one. */
    static const uint8_t trailer[16] = {0x80, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0};
    assert_int_equal(fwrite(trailer, 1, sizeof(trailer), file), sizeof(trailer));
    assert_int_equal(fclose(file), 0);
}
static void a_missing_file_ends_the_log(void **state)
{
    damaged_file_ends_the_log(*state, damage_remove);
}
static void an_empty_file_ends_the_log(void **state)
{
    damaged_file_ends_the_log(*state, damage_empty);
}
static void a_cut_file_ends_the_log(void **state)
{
    damaged_file_ends_the_log(*state, damage_cut);
}
static void a_file_of_zeros_ends_the_log(void **state)
{
    damaged_file_ends_the_log(*state, damage_zeros);
}
static void a_changed_page_ends_the_log(void **state)
{
    damaged_file_ends_the_log(*state, damage_page);
}
static void a_file_with_more_behind_it_ends_the_log(void **state)
{
    damaged_file_ends_the_log(*state, damage_more);
}

/* However much of a tail there is: what is whole of it is the log. */
static void a_tail_is_read_as_far_as_it_is_whole(void **state)
{
    struct fixture *f = *state;
    struct fixture_database states[4];
    uint64_t ends[4] = {0};
    char path[PATH_MAX + 64], kept[PATH_MAX + 64];
    assert_int_equal(wal_log_begin_timeline(f->log, 1, &f->err), SQ_OK);
    states[0] = f->database;
    for (int i = 1; i < 4; i++) {
        append(f, 1);
        states[i] = f->database;
        ends[i] = wal_log_facts(f->log).bytes;
    }
    (void)snprintf(path, sizeof(path), "%s/1.tail", f->path);
    (void)snprintf(kept, sizeof(kept), "%s/kept", f->path);
    assert_int_equal(rename(path, kept), 0);
    FILE *file = fopen(kept, "r");
    assert_non_null(file);
    uint8_t *bytes = malloc(ends[3]);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, ends[3], file), ends[3]);
    assert_int_equal(fclose(file), 0);
    for (uint64_t length = 0; length <= ends[3]; length += length % 7 == 0 && length < ends[3] - 7 ? 7 : 1) {
        /* Cut there, or changed there. */
        for (int is_changed = 0; is_changed < 2 && (is_changed == 0 || length < ends[3]); is_changed++) {
            wal_log_close(f->log);
            struct wal_position position = fixture_position(&states[0]);
            assert_int_equal(wal_log_open(f->path, &f->err, &f->log), SQ_OK);
            assert_int_equal(wal_log_restart(f->log, &position, &f->err), SQ_OK);
            file = fopen(path, "w");
            assert_non_null(file);
            bytes[length < ends[3] ? length : 0] ^= is_changed != 0 ? 0x80 : 0;
            uint64_t written = is_changed != 0 ? ends[3] : length;
            assert_int_equal(fwrite(bytes, 1, written, file), written);
            assert_int_equal(fclose(file), 0);
            reopen(f);
            bytes[length < ends[3] ? length : 0] ^= is_changed != 0 ? 0x80 : 0;
            int whole = 0;
            while (whole < 3 && ends[whole + 1] <= length)
                whole++;
            /* A changed byte of a compressed page may mean the same page. */
            ltx_txid end = wal_log_end(f->log).txid;
            assert_true(end == states[whole].txid || (is_changed != 0 && end == states[3].txid));
            if (end > 0)
                assert_int_equal(wal_log_end(f->log).checksum, fixture_checksum(&states[end]));
        }
    }
    free(bytes);
}

static void a_damaged_last_file_is_found_although_it_was_synced(void **state)
{
    struct fixture *f = *state;
    begin_synced(f);
    append_synced(f, 1);
    struct fixture_database before = f->database;
    append_synced(f, 2);
    char path[PATH_MAX + 64];
    struct stat facts;
    file_path(f, 3, 4, path);
    forget_tail(f);
    assert_int_equal(stat(path, &facts), 0);
    flip_byte(path, facts.st_size - 16); /* the database's checksum */
    reopen(f);
    f->database = before;
    assert_at_end(f);
    struct ltx_header header;
    assert_true(wal_log_last_header(f->log, &header));
    assert_int_equal(header.max_txid, 2);
    append(f, 1);
    assert_followed(f);
}

static void a_damaged_file_may_be_found_again_in_a_tail(void **state)
{
    struct fixture *f = *state;
    begin_synced(f);
    append_synced(f, 1);
    append_synced(f, 1);
    char path[PATH_MAX + 64];
    file_path(f, 2, 2, path);
    assert_int_equal(truncate(path, 0), 0);
    reopen(f);
    assert_at_end(f);
    assert_followed(f);
    assert_int_equal(wal_log_synced(f->log), 3);
    reopen(f);
    assert_followed(f);
}

static void opening_removes_what_was_being_written_and_leaves_what_is_others(void **state)
{
    struct fixture *f = *state;
    begin_synced(f);
    char path[PATH_MAX + 64];
    static const char *const names[] = {
        "7.tmp", "history.tmp", "applied", "x.ltx", "000000000000000G-0000000000000001.ltx", "01.tail", "x.tail"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", f->path, names[i]);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        (void)fclose(file);
    }
    reopen(f);
    assert_int_equal(count_files(f, ".tmp"), 0);
    assert_int_equal(count_files(f, "applied") + count_files(f, ".ltx"), 3);
    assert_at_end(f);
}

static void a_renamed_file_is_not_believed(void **state)
{
    struct fixture *f = *state;
    begin_synced(f);
    append_synced(f, 1);
    struct fixture_database before = f->database;
    append_synced(f, 1);
    char from[PATH_MAX + 64], to[PATH_MAX + 64];
    file_path(f, 3, 3, from);
    file_path(f, 3, 9, to);
    assert_int_equal(rename(from, to), 0);
    forget_tail(f);
    reopen(f);
    f->database = before;
    assert_at_end(f);
}

/* --- syncs ---------------------------------------------------------------------------------------------------------- */

static void a_sync_makes_one_file_of_many(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct fixture_database start = f->database;
    for (int i = 0; i < 300; i++)
        append(f, 1);
    uint64_t bytes = wal_log_facts(f->log).bytes;
    assert_int_equal(wal_log_synced(f->log), 0);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    assert_int_equal(wal_log_synced(f->log), 301);
    assert_int_equal(wal_log_facts(f->log).file_count, 2);
    assert_true(wal_log_facts(f->log).bytes < bytes);
    assert_at_end(f);
    struct ltx_header header;
    assert_true(wal_log_last_header(f->log, &header));
    assert_int_equal(header.wal_offset + header.wal_bytes, 32 + 301 * 1000);
    assert_int_equal(header.wal_salt2, 2);
    assert_followed(f);
    assert_followed_from(f, &start);
    /* Who is right behind is still given a small file. */
    struct wal_log_reader *reader;
    assert_int_equal(wal_log_reader_open(f->log, 300, &f->err, &reader), SQ_OK);
    assert_int_equal(wal_log_reader_header(reader)->min_txid, 301);
    wal_log_reader_close(reader);
    reopen(f);
    assert_int_equal(wal_log_synced(f->log), 301);
    assert_int_equal(wal_log_facts(f->log).file_count, 2);
    assert_int_equal(count_files(f, ".ltx"), 2); /* and the small ones are gone */
    assert_followed(f);
    assert_followed_from(f, &start);
    append(f, 1);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 3);
    assert_followed(f);
}

static void a_large_file_is_synced_as_it_is(void **state)
{
    struct fixture *f = *state;
    begin(f);
    append(f, 1);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 1);
    append(f, 1);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 2);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    assert_int_equal(wal_log_synced(f->log), 3);
}

static void a_narrow_file_serves_if_the_wide_one_is_damaged(void **state)
{
    struct fixture *f = *state;
    begin_synced(f);
    for (int i = 0; i < 3; i++)
        append_synced(f, 1);
    /* As a crash amid a compaction could leave it, if the disk then damaged what it had written. */
    char narrow[PATH_MAX + 64], wide[PATH_MAX + 64];
    file_path(f, 1, 1, narrow);
    file_path(f, 1, 4, wide);
    assert_int_equal(link(narrow, wide), 0);
    reopen(f);
    assert_int_equal(wal_log_facts(f->log).file_count, 4);
    assert_int_equal(count_files(f, ".ltx"), 4);
    assert_followed(f);
}

/* --- restarts and timelines ----------------------------------------------------------------------------------------- */

static void a_restart_forgets_all_files(void **state)
{
    struct fixture *f = *state;
    begin(f);
    append(f, 5);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    append(f, 1);
    f->database.txid = 100;
    f->database.pages[0][7] ^= 1;
    struct fixture_database start = f->database;
    struct wal_position position = fixture_position(&f->database);
    assert_int_equal(wal_log_restart(f->log, &position, &f->err), SQ_OK);
    for (int i = 0; i < 2; i++) {
        assert_position(wal_log_end(f->log), position);
        assert_position(wal_log_begin(f->log), position);
        assert_int_equal(wal_log_synced(f->log), 100);
        assert_int_equal(wal_log_facts(f->log).file_count, 0);
        assert_int_equal(wal_log_facts(f->log).bytes, 0);
        assert_int_equal(count_files(f, ".ltx"), 0);
        struct wal_log_reader *reader;
        assert_int_equal(wal_log_reader_open(f->log, 3, &f->err, &reader), SQ_NOT_FOUND);
        reopen(f);
    }
    append(f, 1);
    assert_followed_from(f, &start);
    assert_position(wal_log_begin(f->log), position);
    reopen(f);
    assert_followed_from(f, &start);
    assert_position(wal_log_begin(f->log), position);
}

static void a_restart_may_go_back(void **state)
{
    struct fixture *f = *state;
    begin(f);
    append(f, 1);
    struct fixture_database start = f->database;
    append(f, 1);
    append(f, 1);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    struct wal_position position = fixture_position(&start);
    assert_int_equal(wal_log_restart(f->log, &position, &f->err), SQ_OK);
    reopen(f);
    f->database = start;
    assert_at_end(f);
    append(f, 1);
    reopen(f);
    assert_followed_from(f, &start);
}

static void senseless_restarts_are_refused(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct wal_position end = wal_log_end(f->log);
    static const struct wal_position senseless[] = {
        {.timeline = 1, .txid = 0, .checksum = WAL_CHECKSUM_FLAG | 5},
        {.timeline = 1, .txid = 5, .checksum = 5},
        {.timeline = 1, .txid = UINT64_MAX, .checksum = WAL_CHECKSUM_FLAG},
        {.timeline = 1, .txid = LTX_TXID_MAX, .checksum = WAL_CHECKSUM_FLAG},
    };
    for (size_t i = 0; i < sizeof(senseless) / sizeof(senseless[0]); i++)
        assert_int_equal(wal_log_restart(f->log, &senseless[i], &f->err), SQ_INVALID);
    assert_position(wal_log_end(f->log), end);
}

static void timelines_end_where_the_next_begins(void **state)
{
    struct fixture *f = *state;
    begin(f);
    append(f, 4);
    ltx_txid end;
    assert_true(wal_log_timeline_end(f->log, 1, &end));
    assert_int_equal(end, UINT64_MAX);
    assert_int_equal(wal_log_begin_timeline(f->log, 1, &f->err), SQ_INVALID);
    assert_int_equal(wal_log_begin_timeline(f->log, 3, &f->err), SQ_OK);
    assert_int_equal(wal_log_end(f->log).timeline, 3);
    assert_int_equal(wal_log_synced(f->log), 5);
    assert_int_equal(wal_log_begin_timeline(f->log, 2, &f->err), SQ_INVALID);
    f->database.timeline = 3;
    append(f, 1);
    append(f, 1);
    assert_int_equal(wal_log_begin_timeline(f->log, 4, &f->err), SQ_OK);
    f->database.timeline = 4;
    for (int i = 0; i < 2; i++) {
        assert_true(wal_log_timeline_end(f->log, 1, &end));
        assert_int_equal(end, 5);
        assert_true(wal_log_timeline_end(f->log, 3, &end));
        assert_int_equal(end, 7);
        assert_true(wal_log_timeline_end(f->log, 4, &end));
        assert_int_equal(end, UINT64_MAX);
        assert_false(wal_log_timeline_end(f->log, 2, &end));
        assert_at_end(f);
        reopen(f);
    }
    append(f, 1);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 3); /* no file of two timelines */
    assert_followed(f);
}

static void a_restart_keeps_the_history_of_its_timeline_only(void **state)
{
    struct fixture *f = *state;
    begin(f);
    assert_int_equal(wal_log_begin_timeline(f->log, 2, &f->err), SQ_OK);
    f->database.timeline = 2;
    f->database.txid = 50;
    struct wal_position position = fixture_position(&f->database);
    ltx_txid end;
    assert_int_equal(wal_log_restart(f->log, &position, &f->err), SQ_OK);
    assert_true(wal_log_timeline_end(f->log, 1, &end));
    assert_int_equal(end, 1);
    position.timeline = 5;
    assert_int_equal(wal_log_restart(f->log, &position, &f->err), SQ_OK);
    assert_false(wal_log_timeline_end(f->log, 1, &end));
    assert_false(wal_log_timeline_end(f->log, 2, &end));
    assert_true(wal_log_timeline_end(f->log, 5, &end));
    assert_position(wal_log_end(f->log), position);
    reopen(f);
    assert_position(wal_log_end(f->log), position);
}

static void a_damaged_history_empties_the_log(void **state)
{
    struct fixture *f = *state;
    begin(f);
    append(f, 1);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    char path[PATH_MAX + 64];
    (void)snprintf(path, sizeof(path), "%s/history", f->path);
    flip_byte(path, 20);
    for (int i = 0; i < 2; i++) {
        reopen(f);
        assert_position(wal_log_end(f->log), (struct wal_position){0});
        assert_int_equal(count_files(f, ".ltx"), 0);
    }
}

static void damaged_marks_lose_nothing_of_a_log_that_has_its_first_file(void **state)
{
    struct fixture *f = *state;
    begin(f);
    append(f, 1);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    forget_marks(f);
    reopen(f);
    assert_at_end(f);
    assert_int_equal(wal_log_synced(f->log), 2);
    assert_followed(f);
}

/* --- tidying -------------------------------------------------------------------------------------------------------- */

static void old_files_are_removed_by_size(void **state)
{
    struct fixture *f = *state;
    begin(f);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    struct fixture_database middle = {0};
    for (int i = 0; i < 20; i++) {
        append(f, 1);
        assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
        if (i == 9)
            middle = f->database;
    }
    uint64_t bytes = wal_log_facts(f->log).bytes;
    assert_int_equal(wal_log_tidy(f->log, bytes, 0, UINT64_MAX, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).bytes, bytes);
    assert_int_equal(wal_log_tidy(f->log, 1, 0, middle.txid, &f->err), SQ_OK);
    assert_position(wal_log_begin(f->log), fixture_position(&middle));
    assert_true(wal_log_facts(f->log).bytes < bytes);
    assert_int_equal(count_files(f, ".ltx"), 10);
    struct wal_log_reader *reader;
    assert_int_equal(wal_log_reader_open(f->log, middle.txid - 1, &f->err, &reader), SQ_NOT_FOUND);
    assert_followed_from(f, &middle);
    reopen(f);
    assert_position(wal_log_begin(f->log), fixture_position(&middle));
    assert_followed_from(f, &middle);
    /* The last one stays. */
    assert_int_equal(wal_log_tidy(f->log, 1, 0, UINT64_MAX, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 1);
    assert_at_end(f);
    reopen(f);
    assert_at_end(f);
}

static void what_is_not_synced_is_not_removed(void **state)
{
    struct fixture *f = *state;
    begin(f);
    for (int i = 0; i < 5; i++)
        append(f, 1);
    assert_int_equal(wal_log_tidy(f->log, 1, 0, UINT64_MAX, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 6);
    assert_followed(f);
}

static void old_files_are_removed_by_age(void **state)
{
    struct fixture *f = *state;
    begin(f);
    for (int i = 0; i < 3; i++) {
        append(f, 1);
        assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    }
    /* They have just come, whatever their timestamps say. */
    assert_int_equal(wal_log_tidy(f->log, 0, INT64_C(3600000), UINT64_MAX, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 3);
    reopen(f);
    int64_t age_ms = sq_clock_wall_us() / SQ_US_PER_MS - INT64_C(1700000000000);
    assert_int_equal(wal_log_tidy(f->log, 0, age_ms + INT64_C(3600000), UINT64_MAX, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 3);
    assert_int_equal(wal_log_tidy(f->log, 0, age_ms - INT64_C(3600000), UINT64_MAX, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 1);
    assert_at_end(f);
}

static void small_files_of_before_are_compacted(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct fixture_database middle = {0};
    for (int i = 0; i < 80; i++) {
        append(f, 1);
        assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
        if (i == 20)
            middle = f->database;
    }
    /* Not yet: they are in use. */
    assert_int_equal(wal_log_tidy(f->log, 0, 0, 0, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 80);
    reopen(f);
    assert_int_equal(wal_log_tidy(f->log, 0, 0, 0, &f->err), SQ_OK);
    assert_int_equal(wal_log_facts(f->log).file_count, 1);
    assert_int_equal(count_files(f, ".ltx"), 1);
    assert_at_end(f);
    assert_followed(f);
    assert_followed_from(f, &middle);
    reopen(f);
    assert_int_equal(wal_log_synced(f->log), f->database.txid);
    assert_followed(f);
}

static void a_reader_outlives_its_file_and_the_log(void **state)
{
    struct fixture *f = *state;
    begin(f);
    append(f, 1);
    struct fixture_database follower = {.timeline = 1};
    struct wal_log_reader *reader;
    assert_int_equal(wal_log_reader_open(f->log, 0, &f->err, &reader), SQ_OK);
    struct wal_position position = fixture_position(&f->database);
    assert_int_equal(wal_log_restart(f->log, &position, &f->err), SQ_OK);
    assert_int_equal(count_files(f, ".ltx"), 0);
    reopen(f);
    uint8_t bytes[65536];
    size_t length = 0;
    assert_int_equal(wal_log_reader_read(reader, 0, bytes, sizeof(bytes), &f->err, &length), SQ_OK);
    assert_int_equal(length, wal_log_reader_bytes(reader));
    assert_int_equal(fixture_apply(&follower, bytes, length, &f->err), SQ_OK);
    wal_log_reader_close(reader);
    wal_log_reader_close(NULL);
}

/* --- threads -------------------------------------------------------------------------------------------------------- */

enum { THREAD_FILES = 400 };

struct threads {
    struct fixture *f;
    _Atomic bool is_over;
};

static void *keep(void *argument)
{
    struct threads *threads = argument;
    struct sq_error err;
    sq_error_clear(&err);
    while (!atomic_load(&threads->is_over)) {
        sq_assert(wal_log_sync(threads->f->log, &err) == SQ_OK);
        sq_assert(wal_log_tidy(threads->f->log, 0, 0, 0, &err) == SQ_OK);
    }
    return NULL;
}

static void *follow(void *argument)
{
    struct threads *threads = argument;
    struct sq_error err;
    sq_error_clear(&err);
    struct fixture_database *follower = calloc(1, sizeof(*follower));
    sq_assert(follower != NULL);
    while (follower->txid < THREAD_FILES + 1) {
        sq_status status = fixture_follow(threads->f->log, follower, &err);
        sq_assert(status == SQ_OK || status == SQ_NOT_FOUND);
        ltx_txid synced = wal_log_synced(threads->f->log);
        sq_assert(wal_log_end(threads->f->log).txid >= synced);
    }
    return follower;
}

static void appending_syncing_and_following_go_on_side_by_side(void **state)
{
    struct fixture *f = *state;
    begin(f);
    struct threads threads = {.f = f};
    pthread_t keepers[2], followers[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&keepers[i], NULL, keep, &threads), 0);
        assert_int_equal(pthread_create(&followers[i], NULL, follow, &threads), 0);
    }
    for (int i = 0; i < THREAD_FILES; i++)
        append(f, 1);
    for (int i = 0; i < 2; i++) {
        void *result;
        assert_int_equal(pthread_join(followers[i], &result), 0);
        const struct fixture_database *follower = result;
        assert_memory_equal(follower->pages, f->database.pages, sizeof(follower->pages));
        free(result);
    }
    atomic_store(&threads.is_over, true);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(keepers[i], NULL), 0);
    assert_int_equal(wal_log_sync(f->log, &f->err), SQ_OK);
    reopen(f);
    assert_at_end(f);
    assert_followed(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_log_is_empty),
        TEST(files_are_read_as_they_were_appended),
        TEST(a_tail_does_not_grow_without_end),
        TEST(a_large_file_is_read_in_pieces),
        TEST(what_does_not_follow_is_refused),
        TEST(a_file_that_is_given_up_leaves_nothing),
        TEST(watches_are_told_of_appends_and_restarts),
        TEST(a_missing_file_ends_the_log),
        TEST(an_empty_file_ends_the_log),
        TEST(a_cut_file_ends_the_log),
        TEST(a_file_of_zeros_ends_the_log),
        TEST(a_changed_page_ends_the_log),
        TEST(a_file_with_more_behind_it_ends_the_log),
        TEST(a_tail_is_read_as_far_as_it_is_whole),
        TEST(a_damaged_last_file_is_found_although_it_was_synced),
        TEST(a_damaged_file_may_be_found_again_in_a_tail),
        TEST(opening_removes_what_was_being_written_and_leaves_what_is_others),
        TEST(a_renamed_file_is_not_believed),
        TEST(a_sync_makes_one_file_of_many),
        TEST(a_large_file_is_synced_as_it_is),
        TEST(a_narrow_file_serves_if_the_wide_one_is_damaged),
        TEST(a_restart_forgets_all_files),
        TEST(a_restart_may_go_back),
        TEST(senseless_restarts_are_refused),
        TEST(timelines_end_where_the_next_begins),
        TEST(a_restart_keeps_the_history_of_its_timeline_only),
        TEST(a_damaged_history_empties_the_log),
        TEST(damaged_marks_lose_nothing_of_a_log_that_has_its_first_file),
        TEST(old_files_are_removed_by_size),
        TEST(what_is_not_synced_is_not_removed),
        TEST(old_files_are_removed_by_age),
        TEST(small_files_of_before_are_compacted),
        TEST(a_reader_outlives_its_file_and_the_log),
        TEST(appending_syncing_and_following_go_on_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
