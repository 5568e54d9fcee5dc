/* tests/crash/disk_internal.h: what disk_state.c (contents and cuts) and disk.c (system calls) share. */
#ifndef SQ_TESTS_CRASH_DISK_INTERNAL_H
#define SQ_TESTS_CRASH_DISK_INTERNAL_H

#include <limits.h>
#include <sys/types.h>

#include "disk.h"

struct bytes {
    uint8_t *data;
    size_t length;
    size_t cap;
};

/* A write or a truncate that has been seen and is not durable, or no longer pending beside ones that were forgotten. */
struct change {
    struct change *next;
    uint64_t number; /* among all that happens on the disk */
    bool is_truncate;
    bool is_settled; /* whatever it has brought to the disk is in `durable`: no sync writes it */
    size_t offset;   /* of a truncate: the new size */
    size_t length;
    uint8_t data[];
};

/* What programs see is `durable` with all `changes` in order. */
struct file {
    struct bytes durable;
    struct change *changes;
    struct change **changes_end;
    bool has_forgotten; /* a sync has failed: settled changes stay in the list, since what is seen needs them */
};

struct name {
    char text[NAME_MAX + 1];
    size_t file_index;
};

struct names {
    struct name *items;
    size_t count;
};

enum name_change_kind { NAME_CREATED, NAME_REMOVED, NAME_MOVED };

struct name_change {
    struct name_change *next;
    uint64_t number;
    enum name_change_kind kind;
    struct name name; /* of CREATED and REMOVED; the new one of MOVED */
    char from[NAME_MAX + 1];
};

/* A directory: what is durable, what is seen, and what lies between. */
struct disk_state {
    uint64_t number; /* of the last change */
    struct file **files;
    size_t file_count;
    struct names durable;
    struct names seen;
    struct name_change *name_changes;
    struct name_change **name_changes_end;
};

void disk_state_init(struct disk_state *state);
void disk_state_done(struct disk_state *state);
void disk_state_copy(const struct disk_state *from, struct disk_state *to);
/* Durable files from `dir`. */
void disk_state_load(struct disk_state *state, const char *dir);
/* Writes all that programs see. */
void disk_state_write_seen(const struct disk_state *state, const char *dir);

const struct name *disk_state_find(const struct disk_state *state, const char *name);
/* The index of a new file. */
size_t disk_state_create(struct disk_state *state, const char *name);
void disk_state_remove(struct disk_state *state, const char *name);
void disk_state_move(struct disk_state *state, const char *from, const char *to);
void disk_state_change(struct disk_state *state, size_t file_index, bool is_truncate, size_t offset, const void *data,
                       size_t length);
/* Makes durable what came up to change `number`. True if there was anything. */
bool disk_state_sync(struct disk_state *state, size_t file_index, uint64_t number);
/* A sync that failed. */
void disk_state_forget(struct disk_state *state, size_t file_index, struct dice *dice);
void disk_state_sync_names(struct disk_state *state, uint64_t number);
void disk_state_write(const struct disk_state *state, enum disk_loss loss, struct dice *dice, const char *dir);

/* System calls for the files of disks; all others get the real ones. */
int disk_open(const char *path, int flags, int mode);
int disk_close(int fd);
ssize_t disk_pwrite(int fd, const void *data, size_t length, off64_t offset);
ssize_t disk_pread(int fd, void *data, size_t length, off64_t offset);
int disk_truncate(int fd, off64_t size);

#endif
