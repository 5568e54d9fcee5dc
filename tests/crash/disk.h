/* tests/crash/disk.h: a disk that forgets. It lies below SQLite's own unix VFS and below sqld's own file calls, and keeps
 * two views of a directory's files: what the running programs see (real files), and what a power cut would leave.
 *
 *     write, truncate ──► what programs see ──────────────────────────────► the real file
 *                    └──► pending, in order ──sync of this file──► durable
 *     create, unlink, rename ──► pending, in order ──sync of the directory──► durable
 *
 * SQLite's calls come through its xSetSystemCall() (sqlite.org/c3ref/vfs.html); fsync(), fdatasync(), unlink() and
 * rename() are this file's for the whole program, so that what sqld does to its data directory is seen too. Only files
 * of directories that a `struct disk` was made for are kept; all others are left alone, and never really synced.
 *
 * What a cut may leave, as page caches do it: a sector (512 bytes) that was changed since the last sync of its file holds
 * what it held then, or after any one of the changes; each sector by itself, a file's size by itself, each file by
 * itself. A sector is never half old and half new, and a sync covers exactly what was written before it began. A file
 * that was made or renamed has its new name for certain only after a sync of the directory. `-shm` files are memory:
 * nothing of them is left.
 *
 * A sync that fails leaves the changes that it was to write on disk or lost, each sector by itself, and forgets that they
 * are to be written: no later sync brings them (that is how Linux does it), though programs still read them.
 *
 * A *cut* is a copy: it changes nothing for those who run. Threads: any, for everything but disk_init(). */
#ifndef SQ_TESTS_CRASH_DISK_H
#define SQ_TESTS_CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct disk;
struct disk_cut;

enum { DISK_SECTOR_BYTES = 512 };

/* Once, after SQLite is initialized. */
void disk_init(void);

/* Seeded pseudo-random numbers. */
struct dice {
    uint64_t state;
};
uint64_t dice_next(struct dice *dice);
/* 0 … limit - 1 */
uint64_t dice_below(struct dice *dice, uint64_t limit);
/* True `percent` times of 100. */
bool dice_chance(struct dice *dice, unsigned percent);

/* --- A disk ------------------------------------------------------------------------------------------------------- */

/* What the disk does, for cuts and faults to be counted by. */
enum disk_op {
    DISK_CREATE = 1,
    DISK_WRITE = 2,
    DISK_TRUNCATE = 4,
    DISK_SYNC = 8,
    DISK_SYNC_DIRECTORY = 16,
    DISK_UNLINK = 32,
    DISK_RENAME = 64,
    DISK_READ = 128,
    DISK_GROW_INDEX = 256, /* a -shm file is made, or written to */
};

/* Takes charge of a directory. All files that it has are durable, but for "sqld.lock" and -shm, which are not kept. */
struct disk *disk_new(const char *dir, uint64_t seed);
/* After a crash of the process alone: the files as programs saw them at the cut are written to `dir` (empty), and what
 * was pending is still pending. */
struct disk *disk_new_after_kill(const char *dir, uint64_t seed, const struct disk_cut *cut);
/* No file of it may be open. */
void disk_free(struct disk *disk);

/* Called before each operation that changes the disk, before a sync ends, and nowhere else; under the disks' mutex: it
 * may take a cut and nothing else. */
void disk_set_observer(struct disk *disk, void *context, void (*observe_cb)(void *context, struct disk *disk));
/* Called between the beginning and the end of a sync, on the thread that syncs, without a lock: may wait. */
void disk_set_sync_delay(struct disk *disk, void *context, void (*delay_cb)(void *context));
/* For tests of the tests: syncs say that all is well, and do nothing. */
void disk_ignore_syncs(struct disk *disk);

uint64_t disk_op_count(const struct disk *disk);
/* Syncs of files that had something to write. */
uint64_t disk_sync_count(const struct disk *disk);

/* --- Faults ------------------------------------------------------------------------------------------------------- */

struct disk_fault {
    unsigned ops;    /* bits of enum disk_op: those that are counted and may fail */
    uint64_t at;     /* the number of the one that fails, from 1 */
    bool is_lasting; /* and all that follow */
    bool is_partial; /* a write that fails has written half */
    int error;       /* errno */
};
/* NULL: none. Counting begins anew. */
void disk_set_fault(struct disk *disk, const struct disk_fault *fault);
/* How often the fault has been met. */
uint64_t disk_fault_count(const struct disk *disk);

/* --- Cuts --------------------------------------------------------------------------------------------------------- */

/* What becomes of changes that no sync has covered. */
enum disk_loss {
    DISK_LOSE_ALL,
    DISK_LOSE_NONE,       /* the process is killed, the machine goes on */
    DISK_LOSE_LATER,      /* everything up to some moment is there, what came at that moment is torn */
    DISK_LOSE_CHANGES,    /* each change is lost, whole or torn */
    DISK_LOSE_SECTORS,    /* each sector by itself */
    DISK_LOSE_FEW,        /* nearly everything is there */
    DISK_LOSE_MOST,       /* nearly nothing is there */
    DISK_LOSE_SOME_FILES, /* of each file all or nothing */
    DISK_LOSSES,
};
extern const char *const disk_loss_names[DISK_LOSSES];

/* From within an observer. */
struct disk_cut *disk_cut_new(const struct disk *disk);
/* From anywhere else. */
struct disk_cut *disk_cut_now(struct disk *disk);
void disk_cut_free(struct disk_cut *cut);
uint64_t disk_cut_op(const struct disk_cut *cut);
/* Writes what is left to `dir` (empty). The same cut, loss and dice write the same. */
void disk_cut_write(const struct disk_cut *cut, enum disk_loss loss, struct dice *dice, const char *dir);

#endif
