/* tests/crash/crash_log.c: the power is cut, and the disk fails, below a log (wal/log.h) and the checksums of pages beside it
 * (wal/page_sums.h).
 *
 * A *life* appends, syncs, tidies, compacts, saves, begins timelines, begins anew and opens again, by a seed, on a disk of disk.h. It
 * notes the *states* that the database went through, and what it was told: how far the log is synced, what was saved. A cut is
 * taken at any operation of the disk; whatever it leaves is opened as a log, and
 *
 *   1. its end is a state that there was, or was being made, and not before the last that was synced; after a kill without
 *      a cut it is not before the last that was appended;
 *   2. it begins where it did, or where it was being tidied to;
 *   3. its files make the database of its end from that of its beginning, page for page;
 *   4. the checksums of pages, if they are as of a transaction of the log, are with the log's later files those of its end, and
 *      they are so if they were ever saved since the log was begun;
 *   5. it can be appended to, synced, and opened again.
 *
 * Faults: each operation of the disk fails in turn, and does or does not go on failing. What fails has done nothing, or
 * everything. The life goes on, with cuts.
 *
 *     unit_crash_log [SECONDS [SEED]]      more lives, for as long */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "../lib/log_fixture.h"
#include "../lib/scratch.h"
#include "base/clock.h"
#include "base/log.h"
#include "disk.h"
#include "wal/page_sums.h"

enum {
    STATES_MAX = 512,
    PHANTOMS_MAX = 4,
    CUTS_MAX = 96,
    IMAGES_PER_CUT = 3,
    LIFE_STEPS = 90,
    LIVES = 40,
    FAULT_STEPS = 30,
    FAULT_OPERATIONS_MAX = 3000,
};

/* What must be true, as far as somebody was told. Indices into a life's states; those before `first` are of before the last restart. */
struct truth {
    size_t first;     /* where the log was begun, the last time */
    size_t synced;    /* on disk for certain */
    size_t appended;  /* said to be in the log */
    size_t attempted; /* may be in the log */
    size_t kept;      /* the log begins here or before */
    size_t saved;     /* checksums of pages were saved as of this one; SIZE_MAX: not since the log was begun */
    size_t phantom_count;
};

struct cut {
    struct disk_cut *disk;
    struct truth truth;
    struct fixture_database phantoms[PHANTOMS_MAX];
};

struct life {
    char dir[PATH_MAX];
    char sums_path[PATH_MAX + 8];
    struct disk *disk;
    struct wal_log *log;
    struct page_sums *sums;
    struct dice dice;
    uint64_t seed; /* of contents */
    struct truth truth;
    struct fixture_database states[STATES_MAX];
    size_t state_count;
    /* Ends that the log may have after a crash, since something failed without a word on how far it had come: until the next sync. */
    struct fixture_database phantoms[PHANTOMS_MAX];
    unsigned cut_percent;
    struct cut cuts[CUTS_MAX];
    size_t cut_count;
    struct sq_error err;
};

static unsigned long long lives, images, cuts, faults, compactions, removals;
/* For the test of the test: what is missing is counted, and nothing more is looked at. */
static bool is_losing;
static unsigned long long losses;

/* --- lives ---------------------------------------------------------------------------------------------------------- */

static struct fixture_database *present(struct life *life)
{
    return &life->states[life->truth.appended];
}

static void take_cut(void *context, struct disk *disk)
{
    struct life *life = context;
    if (life->cut_count == CUTS_MAX || !dice_chance(&life->dice, life->cut_percent))
        return;
    struct cut *cut = &life->cuts[life->cut_count++];
    cut->disk = disk_cut_new(disk);
    cut->truth = life->truth;
    memcpy(cut->phantoms, life->phantoms, sizeof(cut->phantoms));
}

static bool is_at(struct wal_position position, const struct fixture_database *database)
{
    struct wal_position expected = fixture_position(database);
    /* Before the first transaction there is nothing to have a checksum. */
    return position.timeline == expected.timeline && position.txid == expected.txid &&
           (position.checksum == expected.checksum || position.txid == 0);
}

static void add_phantom(struct life *life, const struct fixture_database *database)
{
    assert_true(life->truth.phantom_count < PHANTOMS_MAX);
    life->phantoms[life->truth.phantom_count++] = *database;
}

/* A new state is being made: room for it. */
static struct fixture_database *attempt(struct life *life)
{
    assert_true(life->truth.appended + 1 < STATES_MAX);
    life->states[life->truth.appended + 1] = *present(life);
    life->truth.attempted = life->truth.appended + 1;
    return &life->states[life->truth.attempted];
}

static void succeed(struct life *life)
{
    life->truth.appended = life->truth.attempted;
}

static void synced(struct life *life)
{
    life->truth.synced = life->truth.appended;
    life->truth.phantom_count = 0;
}

static void anew(struct life *life)
{
    succeed(life);
    life->truth.first = life->truth.kept = life->truth.appended;
    life->truth.saved = SIZE_MAX;
    synced(life);
}

/* All pages, as somebody who has scanned the database. */
static sq_status scan(struct life *life, const struct fixture_database *database)
{
    SQ_TRY(page_sums_resize(life->sums, database->page_count, &life->err));
    for (uint32_t page = 1; page <= database->page_count; page++) {
        uint64_t sum = wal_page_checksum(page, database->pages[page - 1], FIXTURE_PAGE_BYTES);
        if (page_sums_get(life->sums, page) != sum)
            SQ_TRY(page_sums_set(life->sums, page, sum, &life->err));
    }
    return SQ_OK;
}

static sq_status do_append(struct life *life)
{
    struct fixture_database *next = attempt(life);
    sq_status status =
        fixture_append(life->log, next, &life->seed, 1 + (unsigned)dice_below(&life->dice, 3), &life->err);
    if (status != SQ_OK) {
        life->truth.attempted = life->truth.appended;
        return status;
    }
    succeed(life);
    assert_int_equal(scan(life, next), SQ_OK);
    return SQ_OK;
}

static sq_status do_give_up(struct life *life)
{
    struct wal_log_file *file;
    SQ_TRY(wal_log_file_new(life->log, &life->err, &file));
    uint8_t bytes[8192] = {0};
    struct ltx_output *output = wal_log_file_output(file);
    sq_status status = SQ_OK;
    for (int i = 0; i < 10 && status == SQ_OK; i++)
        status = output->write_cb(output, bytes, sizeof(bytes), &life->err);
    wal_log_file_abort(file);
    return status;
}

static sq_status do_sync(struct life *life)
{
    SQ_TRY(wal_log_sync(life->log, &life->err));
    assert_int_equal(wal_log_synced(life->log), present(life)->txid);
    synced(life);
    return SQ_OK;
}

static sq_status do_tidy(struct life *life)
{
    /* Never what the saved checksums need. */
    size_t keep = life->truth.saved == SIZE_MAX ? life->truth.first : life->truth.saved;
    if (life->states[keep].txid > life->states[life->truth.kept].txid)
        life->truth.kept = keep;
    uint64_t bytes_max = dice_chance(&life->dice, 50) ? 0 : dice_below(&life->dice, 30000);
    struct wal_log_facts before = wal_log_facts(life->log);
    ltx_txid begin = wal_log_begin(life->log).txid;
    sq_status status = wal_log_tidy(life->log, bytes_max, 0, life->states[keep].txid, &life->err);
    bool is_removed = wal_log_begin(life->log).txid != begin;
    removals += is_removed;
    compactions += !is_removed && wal_log_facts(life->log).file_count < before.file_count;
    return status;
}

static sq_status do_save(struct life *life)
{
    SQ_TRY(do_sync(life));
    const struct fixture_database *database = present(life);
    SQ_TRY(page_sums_save(life->sums, life->sums_path, database->txid, database->timeline, &life->err));
    life->truth.saved = life->truth.appended;
    return SQ_OK;
}

static sq_status do_begin_timeline(struct life *life)
{
    struct fixture_database *next = attempt(life);
    next->timeline += 1 + dice_below(&life->dice, 2);
    struct fixture_database tried = *next;
    sq_status status = wal_log_begin_timeline(life->log, next->timeline, &life->err);
    if (status == SQ_OK) {
        succeed(life);
        synced(life);
        return SQ_OK;
    }
    life->truth.attempted = life->truth.appended;
    add_phantom(life, &tried);
    return status;
}

/* Somebody else has written to the database, or it was healed from another server: any transaction, any content. */
static sq_status do_restart(struct life *life)
{
    struct fixture_database *next = attempt(life);
    next->pages[0][dice_below(&life->dice, FIXTURE_PAGE_BYTES)] ^= 1;
    next->txid = dice_chance(&life->dice, 50) ? next->txid + 1 : 1 + dice_below(&life->dice, next->txid + 5);
    if (dice_chance(&life->dice, 30))
        next->timeline = 1 + dice_below(&life->dice, next->timeline + 2);
    struct wal_position position = fixture_position(next);
    struct fixture_database tried = *next;
    sq_status status = wal_log_restart(life->log, &position, &life->err);
    if (status == SQ_OK || is_at(wal_log_end(life->log), next)) {
        anew(life);
        assert_int_equal(scan(life, next), SQ_OK);
        return status;
    }
    life->truth.attempted = life->truth.appended;
    add_phantom(life, &tried);
    return status;
}

/* The process ends and begins again. It finds what it saw, or what something that failed has left. */
static sq_status do_reopen(struct life *life)
{
    wal_log_close(life->log);
    life->log = NULL;
    sq_status status = wal_log_open(life->dir, &life->err, &life->log);
    if (status != SQ_OK)
        return status;
    struct wal_position end = wal_log_end(life->log);
    if (is_at(end, present(life)))
        return SQ_OK;
    for (size_t i = 0; i < life->truth.phantom_count; i++) {
        if (!is_at(end, &life->phantoms[i]))
            continue;
        *attempt(life) = life->phantoms[i];
        bool is_timeline = life->phantoms[i].timeline != present(life)->timeline &&
                           life->phantoms[i].txid <= present(life)->txid && wal_log_begin(life->log).txid < end.txid;
        if (!is_timeline) {
            anew(life);
        } else {
            /* What followed on the timeline before has gone, with the word of the failure that it might. */
            succeed(life);
        }
        assert_int_equal(scan(life, present(life)), SQ_OK);
        return SQ_OK;
    }
    fail_msg("opened again, the log ends at %" PRIu64 "/%" PRIu64 "/%016" PRIx64, end.timeline, end.txid, end.checksum);
    return SQ_OK;
}

/* Many small synced files that are no longer in use: what is compacted. */
static sq_status do_compact(struct life *life)
{
    for (int i = 0; i < 9; i++) {
        SQ_TRY(do_append(life));
        SQ_TRY(do_sync(life));
    }
    SQ_TRY(do_reopen(life));
    return do_tidy(life);
}

static sq_status step(struct life *life)
{
    uint64_t roll = dice_below(&life->dice, 100);
    if (life->log == NULL)
        return do_reopen(life);
    if (roll < 58)
        return do_append(life);
    if (roll < 60)
        return do_compact(life);
    if (roll < 72)
        return do_sync(life);
    if (roll < 84)
        return do_save(life);
    if (roll < 91)
        return do_tidy(life);
    if (roll < 93)
        return do_give_up(life);
    if (roll < 96)
        return do_reopen(life);
    return roll < 98 ? do_begin_timeline(life) : do_restart(life);
}

static void open_life(struct life *life, uint64_t seed)
{
    memset(life, 0, sizeof(*life));
    life->dice.state = seed;
    life->seed = seed;
    sq_error_clear(&life->err);
    scratch_make_directory(life->dir);
    (void)snprintf(life->sums_path, sizeof(life->sums_path), "%s/sums", life->dir);
    life->truth.saved = SIZE_MAX;
    assert_int_equal(page_sums_new(FIXTURE_PAGE_BYTES, &life->err, &life->sums), SQ_OK);
    life->disk = disk_new(life->dir, seed);
    disk_set_observer(life->disk, life, take_cut);
}

static void close_life(struct life *life)
{
    disk_set_observer(life->disk, NULL, NULL);
    wal_log_close(life->log);
    page_sums_free(life->sums);
    disk_free(life->disk);
    scratch_remove_directory(life->dir);
    lives++;
}

/* --- what a cut has left -------------------------------------------------------------------------------------------- */

struct image {
    const struct life *life;
    const struct cut *cut;
    char dir[PATH_MAX];
    char sums_path[PATH_MAX + 8];
    struct wal_log *log;
    struct sq_error err;
};

static void assert_as(const struct fixture_database *database, const struct fixture_database *expected)
{
    assert_int_equal(database->txid, expected->txid);
    assert_int_equal(database->page_count, expected->page_count);
    assert_memory_equal(database->pages, expected->pages, sizeof(database->pages));
}

/* The state that the image's log ends with. */
static const struct fixture_database *find_end(const struct image *image, enum disk_loss loss)
{
    const struct truth *truth = &image->cut->truth;
    struct wal_position end = wal_log_end(image->log);
    size_t least = loss == DISK_LOSE_NONE ? truth->appended : truth->synced;
    for (size_t i = least; i <= truth->attempted; i++)
        if (is_at(end, &image->life->states[i]))
            return &image->life->states[i];
    for (size_t i = 0; i < truth->phantom_count; i++)
        if (is_at(end, &image->cut->phantoms[i]))
            return &image->cut->phantoms[i];
    if (is_losing) {
        losses++;
        return NULL;
    }
    for (size_t i = truth->synced; i <= truth->attempted; i++)
        print_message("it may end at %" PRIu64 "/%" PRIu64 "/%016" PRIx64 "\n", image->life->states[i].timeline,
                      image->life->states[i].txid, fixture_checksum(&image->life->states[i]));
    fail_msg("the log ends at %" PRIu64 "/%" PRIu64 "/%016" PRIx64 ", losing %s", end.timeline, end.txid, end.checksum,
             disk_loss_names[loss]);
    return NULL;
}

/* By number and content. Two states may be alike but for the timeline. */
static const struct fixture_database *find_state(const struct image *image, ltx_txid txid, uint64_t checksum)
{
    const struct truth *truth = &image->cut->truth;
    for (size_t i = truth->first; i <= truth->attempted; i++)
        if (image->life->states[i].txid == txid && fixture_checksum(&image->life->states[i]) == checksum)
            return &image->life->states[i];
    return NULL;
}

static void check_files(struct image *image, const struct fixture_database *end)
{
    struct wal_position begin = wal_log_begin(image->log);
    if (begin.txid == end->txid)
        return; /* no files; the end has been found */
    const struct fixture_database *from =
        begin.txid == 0 ? &(struct fixture_database){0} : find_state(image, begin.txid, begin.checksum);
    assert_non_null(from);
    assert_true(begin.txid <= image->life->states[image->cut->truth.kept].txid);
    static struct fixture_database database;
    database = *from;
    sq_status status;
    while ((status = fixture_follow(image->log, &database, &image->err)) == SQ_OK)
        assert_non_null(find_state(image, database.txid, fixture_checksum(&database)));
    assert_int_equal(status, SQ_NOT_FOUND);
    assert_as(&database, end);
}

/* What an owner does who opens a database: checksums as they were saved, and the log's files from there on. */
static sq_status replay(struct image *image, struct page_sums *sums, ltx_txid txid)
{
    struct wal_log_reader *reader = NULL;
    sq_status status;
    while ((status = wal_log_reader_open(image->log, txid, &image->err, &reader)) == SQ_OK) {
        struct ltx_header header = *wal_log_reader_header(reader);
        size_t length = (size_t)wal_log_reader_bytes(reader), got = 0;
        uint8_t *bytes = malloc(length);
        assert_non_null(bytes);
        assert_int_equal(wal_log_reader_read(reader, 0, bytes, length, &image->err, &got), SQ_OK);
        wal_log_reader_close(reader);
        struct ltx_decoder *decoder;
        assert_int_equal(ltx_decoder_new(&image->err, &decoder), SQ_OK);
        const uint8_t *at = bytes;
        enum ltx_event event = LTX_MORE;
        while (event != LTX_DONE) {
            uint32_t number;
            const void *page;
            assert_int_equal(ltx_decoder_feed(decoder, &at, &got, &image->err, &event, &number, &page), SQ_OK);
            if (event == LTX_PAGE)
                assert_int_equal(
                    page_sums_set(sums, number, wal_page_checksum(number, page, FIXTURE_PAGE_BYTES), &image->err),
                    SQ_OK);
        }
        ltx_decoder_free(decoder);
        free(bytes);
        assert_int_equal(page_sums_resize(sums, header.page_count, &image->err), SQ_OK);
        txid = header.max_txid;
    }
    return status;
}

static void check_sums(struct image *image, const struct fixture_database *end)
{
    const struct truth *truth = &image->cut->truth;
    struct page_sums *sums;
    ltx_txid txid;
    uint64_t timeline;
    bool is_saved = truth->saved != SIZE_MAX && fixture_position(end).txid >= image->life->states[truth->saved].txid &&
                    wal_log_begin(image->log).txid <= image->life->states[truth->saved].txid;
    sq_status status = page_sums_open(image->sums_path, &image->err, &sums, &txid, &timeline);
    assert_true(status == SQ_OK || (status == SQ_NOT_FOUND && truth->saved == SIZE_MAX));
    if (status != SQ_OK)
        return;
    /* A phantom has begun the log anew: nothing was saved since. */
    for (size_t i = 0; i < truth->phantom_count; i++)
        is_saved = is_saved && !is_at(fixture_position(end), &image->cut->phantoms[i]);
    if (is_at(fixture_position(end), &image->life->states[truth->attempted]) && truth->attempted > truth->appended)
        is_saved = is_saved && wal_log_begin(image->log).txid < end->txid;
    bool is_of_log = txid >= wal_log_begin(image->log).txid && txid <= end->txid;
    assert_true(is_of_log || !is_saved);
    if (is_saved)
        assert_true(txid >= image->life->states[truth->saved].txid);
    if (is_of_log && replay(image, sums, txid) == SQ_NOT_FOUND &&
        (is_saved || page_sums_database(sums) == fixture_checksum(end))) {
        assert_int_equal(page_sums_database(sums), fixture_checksum(end));
        assert_int_equal(page_sums_page_count(sums), end->page_count);
        for (uint32_t page = 1; page <= end->page_count; page++)
            assert_int_equal(page_sums_get(sums, page),
                             wal_page_checksum(page, end->pages[page - 1], FIXTURE_PAGE_BYTES));
    }
    page_sums_free(sums);
}

static void go_on(struct image *image, const struct fixture_database *end)
{
    static struct fixture_database database;
    uint64_t seed = 8;
    database = *end;
    for (int i = 0; i < 3; i++)
        assert_int_equal(fixture_append(image->log, &database, &seed, 2, &image->err), SQ_OK);
    assert_int_equal(wal_log_sync(image->log, &image->err), SQ_OK);
    wal_log_close(image->log);
    image->log = NULL;
    assert_int_equal(wal_log_open(image->dir, &image->err, &image->log), SQ_OK);
    assert_true(is_at(wal_log_end(image->log), &database));
    assert_int_equal(wal_log_synced(image->log), database.txid);
}

static void check_image(const struct life *life, const struct cut *cut, enum disk_loss loss, struct dice *dice)
{
    struct image image = {.life = life, .cut = cut};
    sq_error_clear(&image.err);
    scratch_make_directory(image.dir);
    (void)snprintf(image.sums_path, sizeof(image.sums_path), "%s/sums", image.dir);
    disk_cut_write(cut->disk, loss, dice, image.dir);
    sq_status status = wal_log_open(image.dir, &image.err, &image.log);
    if (status != SQ_OK)
        fail_msg("the log cannot be opened: %s", image.err.text);
    const struct fixture_database *end = find_end(&image, loss);
    if (!is_losing) {
        assert_true(wal_log_synced(image.log) <= end->txid);
        check_files(&image, end);
        check_sums(&image, end);
        go_on(&image, end);
    }
    wal_log_close(image.log);
    scratch_remove_directory(image.dir);
    images++;
}

static void check_cuts(struct life *life)
{
    struct dice dice = {.state = life->seed};
    for (size_t i = 0; i < life->cut_count; i++) {
        for (int k = 0; k < IMAGES_PER_CUT; k++)
            check_image(life, &life->cuts[i], (enum disk_loss)dice_below(&dice, DISK_LOSSES), &dice);
        disk_cut_free(life->cuts[i].disk);
        cuts++;
    }
    life->cut_count = 0;
}

/* --- tests ---------------------------------------------------------------------------------------------------------- */

static struct life life;

/* A new log on timeline 1, begun in one of two ways. */
static void begin_life(uint64_t seed)
{
    open_life(&life, seed);
    assert_int_equal(wal_log_open(life.dir, &life.err, &life.log), SQ_OK);
    attempt(&life)->timeline = 1;
    assert_int_equal(wal_log_begin_timeline(life.log, 1, &life.err), SQ_OK);
    anew(&life);
    if (seed % 2 == 0)
        assert_int_equal(do_append(&life), SQ_OK);
    else
        while (life.truth.appended < 2)
            assert_int_equal(do_restart(&life), SQ_OK);
}

static void end_life(void)
{
    life.cuts[life.cut_count] = (struct cut){.disk = disk_cut_now(life.disk), .truth = life.truth};
    memcpy(life.cuts[life.cut_count++].phantoms, life.phantoms, sizeof(life.phantoms));
    check_cuts(&life);
    close_life(&life);
}

static void live(uint64_t seed)
{
    begin_life(seed);
    life.cut_percent = 20;
    for (int i = 0; i < LIFE_STEPS; i++) {
        sq_status status = step(&life);
        if (status != SQ_OK)
            fail_msg("seed %" PRIu64 ", step %d: %s", seed, i, life.err.text);
        check_cuts(&life);
    }
    end_life();
}

static void after_a_cut_the_log_is_whole_and_has_what_was_synced(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= LIVES; seed++)
        live(seed);
    print_message("%llu images; files removed %llu times, compacted %llu times\n", images, removals, compactions);
    assert_true(removals > 0 && compactions > 0);
}

static void a_disk_that_only_says_it_has_synced_is_found_out(void **state)
{
    (void)state;
    is_losing = true;
    losses = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        begin_life(seed);
        disk_ignore_syncs(life.disk);
        life.cut_percent = 20;
        for (int i = 0; i < LIFE_STEPS; i++) {
            assert_int_equal(step(&life), SQ_OK);
            check_cuts(&life);
        }
        end_life();
    }
    is_losing = false;
    print_message("%llu losses\n", losses);
    assert_true(losses > 100);
}

static const struct {
    const char *name;
    unsigned ops;
    int error;
    bool is_lasting;
    bool is_partial;
} kinds[] = {
    {"create", DISK_CREATE, ENOSPC, false, false},
    {"write", DISK_WRITE, EIO, false, false},
    {"write, full", DISK_WRITE, ENOSPC, true, true},
    {"sync", DISK_SYNC, EIO, false, false},
    {"sync, lasting", DISK_SYNC, EIO, true, false},
    {"sync of the directory", DISK_SYNC_DIRECTORY, EIO, false, false},
    {"unlink", DISK_UNLINK, EIO, false, false},
    {"rename", DISK_RENAME, EIO, false, false},
    {"read", DISK_READ, EIO, false, false},
    {"anything", DISK_CREATE | DISK_WRITE | DISK_SYNC | DISK_SYNC_DIRECTORY | DISK_UNLINK | DISK_RENAME, ENOSPC, true,
     true},
};

/* True: the fault has been met. */
static bool live_with_fault(size_t kind, uint64_t at, uint64_t seed)
{
    begin_life(seed);
    life.cut_percent = 3;
    struct disk_fault fault = {.ops = kinds[kind].ops,
                               .at = at,
                               .is_lasting = kinds[kind].is_lasting,
                               .is_partial = kinds[kind].is_partial,
                               .error = kinds[kind].error};
    disk_set_fault(life.disk, &fault);
    int failed_steps = 0;
    for (int i = 0; i < FAULT_STEPS; i++) {
        sq_status status = step(&life);
        if (status != SQ_OK)
            assert_true(disk_fault_count(life.disk) > 0);
        /* A disk that fails on does so for a while. */
        if (status != SQ_OK && ++failed_steps == 4)
            disk_set_fault(life.disk, NULL);
        if (life.log != NULL)
            assert_true(is_at(wal_log_end(life.log), present(&life)));
        check_cuts(&life);
    }
    bool is_met = failed_steps >= 4 || disk_fault_count(life.disk) > 0;
    disk_set_fault(life.disk, NULL);
    if (life.log == NULL)
        assert_int_equal(do_reopen(&life), SQ_OK);
    assert_int_equal(do_append(&life), SQ_OK);
    assert_int_equal(do_save(&life), SQ_OK);
    end_life();
    faults += is_met;
    return is_met;
}

static void what_fails_has_done_nothing_or_everything(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
        uint64_t at = 1;
        unsigned long long before = images;
        for (uint64_t seed = 1; seed <= 3; seed++)
            for (at = 1; live_with_fault(kind, at, seed) && at < FAULT_OPERATIONS_MAX;)
                at += (kinds[kind].ops & (DISK_WRITE | DISK_READ)) != 0 ? 3 : 1;
        print_message("%s: up to the %" PRIu64 "th, %llu images\n", kinds[kind].name, at, images - before);
        assert_in_range(at, 2, FAULT_OPERATIONS_MAX - 1);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_cut_the_log_is_whole_and_has_what_was_synced),
        cmocka_unit_test(a_disk_that_only_says_it_has_synced_is_found_out),
        cmocka_unit_test(what_fails_has_done_nothing_or_everything),
    };
    disk_init();
    sq_log_set_level(getenv("SQLD_TEST_LOG") != NULL ? SQ_LOG_WARNING : SQ_LOG_ERROR);
    if (argc > 1) {
        int64_t end_us = sq_clock_now_us() + strtoll(argv[1], NULL, 10) * SQ_US_PER_S;
        for (uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1; sq_clock_now_us() < end_us; seed++) {
            live(seed);
            print_message("seed %" PRIu64 ": %llu lives, %llu cuts, %llu images\n", seed, lives, cuts, images);
        }
        return 0;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    print_message("%llu lives, %llu cuts, %llu images, %llu faults\n", lives, cuts, images, faults);
    return failed;
}
