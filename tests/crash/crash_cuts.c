/* tests/crash/crash_cuts.c: the power is cut, thousands of times, at moments counted in operations of the disk.
 *
 *     age ──► life ──► life ──► life …        an age: one database, from a seed of its own
 *              │ cut, cut, cut                a life: one run of a server (world.h); its end is one of its cuts,
 *              ▼                              a kill of the process, or an orderly stop and then a cut
 *        image, image, image                  of each cut several images of the disk: what was not synced is lost, whole
 *              ▼                              or torn, in one of the ways of disk.h
 *        a new server on it: history_check()
 *
 * A cut changes nothing for the server that runs: it is a copy of the disk, together with how many events the history had.
 * The next life begins with one of the images, so there are cuts in recoveries, and cuts of what an earlier cut left.
 *
 *     unit_crash_cuts                      the short run, and the tests of this test
 *     unit_crash_cuts --seconds S          as many ages as S seconds allow
 *     unit_crash_cuts --seed N             the ages that follow from N
 *     unit_crash_cuts --age N              one age again: what a loss has printed
 *
 * A loss leaves its image in a directory, whose name it prints. */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../lib/scratch.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "engine/database.h"
#include "world.h"

enum {
    LIVES_PER_AGE = 6,
    STEPS_PER_LIFE_MAX = 2000,
    QUEUE_MAX = 16,
    CUT_GAP_OPS = 300,
    IMAGES_PER_CUT = 3,
    IMAGES_SHORT = 3000,
    IMAGES_SANITIZED = 250, /* everything is slower, and what is looked for is something else */
    IMAGES_FOR_A_LOSS_MAX = 3000,
};

struct tally {
    uint64_t age_count;
    uint64_t life_count;
    uint64_t cut_count;
    uint64_t image_count;
    uint64_t acked_count; /* commits that were acknowledged */
    uint64_t shown_count; /* readers' answers */
    uint64_t acked_checks;
    uint64_t op_count;
    uint64_t sync_count;
    uint64_t loss_count;
};

struct queued_cut {
    struct disk_cut *cut;
    size_t event_count;
};

/* A cut that has been looked at, and from which the next life may begin. */
struct beginning {
    struct disk_cut *cut;
    enum disk_loss loss;
    struct dice dice;
    struct truth truth;
    uint32_t last[HISTORY_CLIENTS_MAX];
};

struct age {
    uint64_t seed;
    struct dice dice;
    struct tally *tally;
    struct world_options options;
    bool is_ignoring_syncs;
    bool is_loss_expected;
    struct history history;
    size_t life;
    struct disk *disk;
    struct beginning beginning;
    size_t beginning_count; /* how many there were to choose from */
    bool has_lost;

    pthread_mutex_t mutex; /* guards what follows */
    struct dice cut_dice;
    uint64_t next_cut_op;
    struct queued_cut queue[QUEUE_MAX];
    size_t queue_length;
};

/* --- Cuts --------------------------------------------------------------------------------------------------------- */

static void on_operation(void *context, struct disk *disk)
{
    struct age *age = context;
    pthread_mutex_lock(&age->mutex);
    if (disk_op_count(disk) >= age->next_cut_op && age->queue_length < QUEUE_MAX) {
        struct queued_cut *queued = &age->queue[age->queue_length++];
        /* The events first: what is said after this belongs to after the cut. */
        queued->event_count = history_event_count(&age->history);
        queued->cut = disk_cut_new(disk);
        age->next_cut_op = disk_op_count(disk) + 1 + dice_below(&age->cut_dice, CUT_GAP_OPS);
    }
    pthread_mutex_unlock(&age->mutex);
}

static bool take_cut(struct age *age, struct queued_cut *ret_queued)
{
    pthread_mutex_lock(&age->mutex);
    bool is_there = age->queue_length > 0;
    if (is_there) {
        *ret_queued = age->queue[0];
        age->queue_length--;
        for (size_t i = 0; i < age->queue_length; i++)
            age->queue[i] = age->queue[i + 1];
    }
    pthread_mutex_unlock(&age->mutex);
    return is_there;
}

/* What a crash may leave of the memory-mapped index: anything. */
static void write_garbage_index(const char *dir, struct dice *dice)
{
    char path[PATH_MAX + 16];
    uint8_t garbage[32 * 1024];
    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (uint8_t)dice_next(dice);
    snprintf(path, sizeof(path), "%s/main.db-shm", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ssize_t written = write(fd, garbage, sizeof(garbage));
    sq_assert(written == (ssize_t)sizeof(garbage));
    close(fd);
}

static void write_image(const struct disk_cut *cut, enum disk_loss loss, struct dice dice, const char *dir)
{
    disk_cut_write(cut, loss, &dice, dir);
    if (dice_chance(&dice, 10))
        write_garbage_index(dir, &dice);
}

static void report_loss(struct age *age, const struct disk_cut *cut, enum disk_loss loss, struct dice dice,
                        const char *reason)
{
    char dir[PATH_MAX];
    age->has_lost = true;
    age->tally->loss_count++;
    if (age->is_loss_expected)
        return;
    scratch_make_directory(dir);
    write_image(cut, loss, dice, dir);
    fprintf(stderr,
            "LOSS: %s\n  age %" PRIu64 ", life %zu, operation %" PRIu64 ", unsynced changes: %s\n"
            "  the disk as it was left: %s\n  again: unit_crash_cuts --age %" PRIu64 "\n",
            reason, age->seed, age->life, disk_cut_op(cut), disk_loss_names[loss], dir, age->seed);
}

/* One in so many is as likely as all the others. */
static bool choose_beginning(struct age *age, const struct disk_cut *cut)
{
    age->beginning_count++;
    if (dice_below(&age->dice, age->beginning_count) != 0)
        return false;
    if (age->beginning.cut != cut)
        disk_cut_free(age->beginning.cut);
    return true;
}

static void keep_beginning(struct age *age, struct disk_cut *cut, enum disk_loss loss, struct dice dice,
                           const struct truth *truth, const struct found *found)
{
    struct beginning *beginning = &age->beginning;
    beginning->cut = cut;
    beginning->loss = loss;
    beginning->dice = dice;
    beginning->truth = *truth;
    beginning->truth.acked_count = beginning->truth.shown_count = 0;
    memset(beginning->truth.acked_by, 0, sizeof(beginning->truth.acked_by));
    beginning->truth.log_must_by = NULL;
    /* `sent` stays: what was sent before the cut and was not found may still come back, whole. Its frames can lie behind
     * the torn end of the log, which goes on with the salts it has; when clients then do exactly the same again, their
     * frames close the gap, and the old ones behind them are valid. */
    for (size_t client = 0; client < HISTORY_CLIENTS_MAX; client++)
        sq_assert(beginning->truth.sent[client] >= found->committed[client]);
    memcpy(beginning->last, found->committed, sizeof(found->committed));
    for (uint32_t n = 1; n <= found->log_count; n++)
        beginning->truth.log[n] = found->log[n];
    for (uint32_t n = found->log_count + 1; n <= HISTORY_LOG_MAX; n++)
        beginning->truth.log[n].client = HISTORY_CLIENTS_MAX;
    /* After a cut all that is there is on disk. After a kill some of it may not be: it has to stay only when somebody has
     * been shown it. */
    if (loss == DISK_LOSE_NONE)
        return;
    memcpy(beginning->truth.acked, found->committed, sizeof(found->committed));
    beginning->truth.log_must = found->log_count;
}

/* Looks at one image. True: `cut` has become the next life's beginning. */
static bool check_image(struct age *age, struct disk_cut *cut, const struct truth *truth, enum disk_loss loss)
{
    static struct found found;
    char reason[HISTORY_REASON_BYTES];
    char dir[PATH_MAX];
    struct dice dice = {.state = dice_next(&age->dice)};
    scratch_make_directory(dir);
    write_image(cut, loss, dice, dir);
    bool is_fine = history_check(&age->history, truth, dir, &found, reason);
    scratch_remove_directory(dir);
    age->tally->image_count++;
    for (size_t client = 0; client < age->history.client_count; client++)
        age->tally->acked_checks += truth->acked[client];
    if (!is_fine) {
        report_loss(age, cut, loss, dice, reason);
        return false;
    }
    if (!choose_beginning(age, cut))
        return false;
    keep_beginning(age, cut, loss, dice, truth, &found);
    return true;
}

static void check_cut(struct age *age, struct queued_cut *queued)
{
    static struct truth truth;
    bool is_kept = false;
    history_truth(&age->history, queued->event_count, &truth);
    age->tally->cut_count++;
    for (size_t i = 0; i < IMAGES_PER_CUT && !age->has_lost; i++)
        is_kept = check_image(age, queued->cut, &truth, (enum disk_loss)dice_below(&age->dice, DISK_LOSSES)) || is_kept;
    if (!is_kept || age->beginning.cut != queued->cut)
        disk_cut_free(queued->cut);
}

static void check_queue(struct age *age)
{
    struct queued_cut queued;
    while (take_cut(age, &queued)) {
        if (age->has_lost)
            disk_cut_free(queued.cut);
        else
            check_cut(age, &queued);
    }
}

/* --- Lives -------------------------------------------------------------------------------------------------------- */

/* The disk of the next life, in an empty directory. */
static struct disk *begin_life(struct age *age, const char *dir)
{
    static const unsigned page_sizes[] = {512, 512, 1024, 4096};
    struct beginning *beginning = &age->beginning;
    struct disk *disk = NULL;
    uint64_t seed = dice_next(&age->dice);
    if (beginning->cut == NULL) {
        world_make_database(dir, page_sizes[dice_below(&age->dice, 4)]);
        disk = disk_new(dir, seed);
    } else if (beginning->loss == DISK_LOSE_NONE) {
        disk = disk_new_after_kill(dir, seed, beginning->cut);
    } else {
        write_image(beginning->cut, beginning->loss, beginning->dice, dir);
        disk = disk_new(dir, seed);
    }
    if (beginning->cut != NULL)
        history_restart(&age->history, &beginning->truth);
    disk_cut_free(beginning->cut);
    beginning->cut = NULL;
    age->beginning_count = 0;
    return disk;
}

static void live(struct age *age)
{
    uint32_t last[HISTORY_CLIENTS_MAX];
    char dir[PATH_MAX];
    scratch_make_directory(dir);
    memcpy(last, age->beginning.last, sizeof(last));
    age->disk = begin_life(age, dir);
    if (age->is_ignoring_syncs)
        disk_ignore_syncs(age->disk);
    age->next_cut_op = 1 + dice_below(&age->dice, CUT_GAP_OPS);
    age->cut_dice.state = dice_next(&age->dice);
    disk_set_observer(age->disk, age, on_operation);
    struct world *world = world_open(dir, age->disk, &age->history, &age->dice, &age->options, last);
    size_t step_count = 200 + dice_below(&age->dice, STEPS_PER_LIFE_MAX - 200);
    for (size_t i = 0; i < step_count && !age->has_lost; i++) {
        world_step(world);
        check_queue(age);
    }
    world_close(world);
    check_queue(age);
    disk_set_observer(age->disk, NULL, NULL);
    if (!age->has_lost)
        check_cut(age, &(struct queued_cut){disk_cut_now(age->disk), history_event_count(&age->history)});
    static struct truth truth;
    history_truth(&age->history, history_event_count(&age->history), &truth);
    age->tally->acked_count += truth.acked_count;
    age->tally->shown_count += truth.shown_count;
    age->tally->op_count += disk_op_count(age->disk);
    age->tally->sync_count += disk_sync_count(age->disk);
    age->tally->life_count++;
    disk_free(age->disk);
    scratch_remove_directory(dir);
}

/* One age, or less: until `image_count_max`. */
static bool play_age(struct tally *tally, uint64_t seed, uint64_t image_count_max, const struct age *how)
{
    struct age *age = calloc(1, sizeof(*age));
    sq_assert(age != NULL);
    *age = *how;
    age->seed = seed;
    age->dice.state = seed;
    age->tally = tally;
    pthread_mutex_init(&age->mutex, NULL);
    age->options.session_count = 2 + dice_below(&age->dice, HISTORY_CLIENTS_MAX - 2);
    age->options.has_shell = age->options.session_count < HISTORY_CLIENTS_MAX && dice_chance(&age->dice, 50);
    age->options.has_lazy_client = dice_chance(&age->dice, 30);
    age->options.has_slow_syncs = dice_chance(&age->dice, 85);
    history_init(&age->history, dice_next(&age->dice), age->options.session_count + age->options.has_shell);
    for (age->life = 0; age->life < LIVES_PER_AGE && !age->has_lost; age->life++) {
        if (tally->image_count >= image_count_max)
            break;
        live(age);
    }
    tally->age_count++;
    bool has_lost = age->has_lost;
    disk_cut_free(age->beginning.cut);
    history_done(&age->history);
    pthread_mutex_destroy(&age->mutex);
    free(age);
    return !has_lost;
}

static void print_tally(const struct tally *tally, uint64_t seed)
{
    print_message("seed %" PRIu64 ": %" PRIu64 " ages, %" PRIu64 " lives, %" PRIu64 " operations of the disk, %" PRIu64
                  " syncs; %" PRIu64 " cuts, %" PRIu64 " images; %" PRIu64 " commits acknowledged, %" PRIu64
                  " answers of readers, %" PRIu64 " times looked for; losses: %" PRIu64 "\n",
                  seed, tally->age_count, tally->life_count, tally->op_count, tally->sync_count, tally->cut_count,
                  tally->image_count, tally->acked_count, tally->shown_count, tally->acked_checks, tally->loss_count);
}

/* --- Tests -------------------------------------------------------------------------------------------------------- */

static uint64_t run_seed;

/* Ages until so many images, or a loss. */
static void play(struct tally *tally, uint64_t image_count, const struct age *how)
{
    struct dice dice = {.state = run_seed};
    while (tally->image_count < image_count && play_age(tally, dice_next(&dice), image_count, how))
        continue;
    print_tally(tally, run_seed);
}

static void nothing_acknowledged_or_shown_is_lost(void **state)
{
    struct tally tally = {0};
    const struct age how = {.seed = 0};
    const char *sanitizer = getenv("SQLD_TEST_SANITIZE");
    (void)state;
    play(&tally, sanitizer != NULL && sanitizer[0] != '\0' ? IMAGES_SANITIZED : IMAGES_SHORT, &how);
    assert_int_equal(tally.loss_count, 0);
    assert_true(tally.acked_count > 0 && tally.shown_count > 0);
}

static void a_disk_that_only_says_it_has_synced_is_found_out(void **state)
{
    struct tally tally = {0};
    const struct age how = {.is_ignoring_syncs = true, .is_loss_expected = true};
    (void)state;
    play(&tally, IMAGES_FOR_A_LOSS_MAX, &how);
    assert_true(tally.loss_count > 0);
}

static void answers_that_do_not_wait_for_the_disk_are_found_out(void **state)
{
    struct tally tally = {0};
    const struct age how = {.options.is_hasty = true, .is_loss_expected = true};
    (void)state;
    play(&tally, IMAGES_FOR_A_LOSS_MAX, &how);
    assert_true(tally.loss_count > 0);
}

static int soak(int seconds)
{
    struct tally tally = {0};
    const struct age how = {.seed = 0};
    struct dice dice = {.state = run_seed};
    int64_t until_us = sq_clock_now_us() + seconds * (int64_t)SQ_US_PER_S;
    bool is_fine = true;
    while (is_fine && sq_clock_now_us() < until_us)
        is_fine = play_age(&tally, dice_next(&dice), UINT64_MAX, &how);
    print_tally(&tally, run_seed);
    return is_fine ? 0 : 1;
}

static int play_again(uint64_t seed)
{
    struct tally tally = {0};
    const struct age how = {.seed = 0};
    bool is_fine = play_age(&tally, seed, UINT64_MAX, &how);
    print_tally(&tally, seed);
    return is_fine ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_or_shown_is_lost),
        cmocka_unit_test(a_disk_that_only_says_it_has_synced_is_found_out),
        cmocka_unit_test(answers_that_do_not_wait_for_the_disk_are_found_out),
    };
    struct sq_error err;
    int seconds = 0;
    sq_random_fill(&run_seed, sizeof(run_seed));
    run_seed >>= 1;
    if (engine_init(NULL, &err) != SQ_OK || sq_log_open("/dev/null", &err) != SQ_OK)
        return 1;
    disk_init();
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--age") == 0)
            return play_again(value);
        if (strcmp(argv[i], "--seed") == 0)
            run_seed = value;
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = (int)value;
    }
    return seconds > 0 ? soak(seconds) : cmocka_run_group_tests_name("crash/cuts", tests, NULL, NULL);
}
