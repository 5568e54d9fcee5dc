/* tests/crash/disk.c: system calls on their way to the kernel. One mutex for all disks: it is held across the real write,
 * so that changes are listed in the order in which they happened. */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_internal.h"

enum { DISKS_MAX = 16, DESCRIPTORS_MAX = 4096 };

struct disk {
    char dir[PATH_MAX];
    dev_t dev;
    ino_t ino;
    struct disk_state state;
    struct dice dice;
    _Atomic uint64_t op_count; /* read by anybody, for people */
    _Atomic uint64_t sync_count;
    bool is_ignoring_syncs;
    void *observer;
    void (*observe_cb)(void *context, struct disk *disk);
    void *delayer;
    void (*delay_cb)(void *context);
    struct disk_fault fault;
    uint64_t fault_op_count; /* operations that could have failed */
    uint64_t fault_count;
};

struct disk_cut {
    struct disk_state state;
    uint64_t op;
};

/* An open file of a disk. */
struct descriptor {
    struct disk *disk;
    bool is_index; /* -shm: no contents are kept */
    size_t file_index;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct disk *disks[DISKS_MAX];                  /* guarded by it, as all that follows */
static struct descriptor descriptors[DESCRIPTORS_MAX]; /* by file descriptor */

/* --- Finding ------------------------------------------------------------------------------------------------------ */

static bool has_suffix(const char *text, const char *suffix)
{
    size_t length = strlen(text);
    return length >= strlen(suffix) && strcmp(text + length - strlen(suffix), suffix) == 0;
}

/* The disk that `path` lies on, and its name there; NULL: none of ours, or a file that is not kept. */
static struct disk *find_disk(const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || strcmp(slash + 1, "sqld.lock") == 0)
        return NULL;
    size_t length = (size_t)(slash - path);
    for (size_t i = 0; i < DISKS_MAX; i++) {
        if (disks[i] != NULL && strlen(disks[i]->dir) == length && memcmp(disks[i]->dir, path, length) == 0) {
            *ret_name = slash + 1;
            return disks[i];
        }
    }
    return NULL;
}

static struct disk *find_directory(int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISDIR(info.st_mode))
        return NULL;
    for (size_t i = 0; i < DISKS_MAX; i++) {
        if (disks[i] != NULL && disks[i]->dev == info.st_dev && disks[i]->ino == info.st_ino)
            return disks[i];
    }
    return NULL;
}

static struct descriptor *find_descriptor(int fd)
{
    if (fd < 0 || fd >= DESCRIPTORS_MAX || descriptors[fd].disk == NULL)
        return NULL;
    return &descriptors[fd];
}

/* --- Under the mutex ---------------------------------------------------------------------------------------------- */

static void observe(struct disk *disk)
{
    atomic_fetch_add(&disk->op_count, 1);
    if (disk->observe_cb != NULL)
        disk->observe_cb(disk->observer, disk);
}

static bool meets_fault(struct disk *disk, enum disk_op op)
{
    const struct disk_fault *fault = &disk->fault;
    if ((fault->ops & op) == 0)
        return false;
    disk->fault_op_count++;
    if (disk->fault_op_count != fault->at && !(fault->is_lasting && disk->fault_op_count > fault->at))
        return false;
    disk->fault_count++;
    return true;
}

/* Gives the mutex up and fails. */
static int refuse(int error)
{
    pthread_mutex_unlock(&mutex);
    errno = error;
    return -1;
}

/* --- SQLite's calls ----------------------------------------------------------------------------------------------- */

int disk_open(const char *path, int flags, int mode)
{
    const char *name = NULL;
    pthread_mutex_lock(&mutex);
    struct disk *disk = find_disk(path, &name);
    bool is_index = disk != NULL && has_suffix(name, "-shm");
    bool is_new = disk != NULL && (flags & O_CREAT) != 0 && access(path, F_OK) != 0;
    sq_assert(disk == NULL || (flags & O_TRUNC) == 0);
    if (is_new && !is_index)
        observe(disk);
    if (is_new && meets_fault(disk, is_index ? DISK_GROW_INDEX : DISK_CREATE))
        return refuse(disk->fault.error);
    int fd = open(path, flags, (mode_t)mode);
    int error = errno;
    if (fd >= 0 && disk != NULL) {
        sq_assert(fd < DESCRIPTORS_MAX && descriptors[fd].disk == NULL);
        descriptors[fd] = (struct descriptor){.disk = disk, .is_index = is_index};
        if (!is_index) {
            const struct name *known = disk_state_find(&disk->state, name);
            sq_assert((known != NULL) == !is_new);
            descriptors[fd].file_index = known != NULL ? known->file_index : disk_state_create(&disk->state, name);
        }
    }
    pthread_mutex_unlock(&mutex);
    errno = error;
    return fd;
}

int disk_close(int fd)
{
    pthread_mutex_lock(&mutex);
    struct descriptor *descriptor = find_descriptor(fd);
    if (descriptor != NULL)
        *descriptor = (struct descriptor){0};
    int result = close(fd);
    pthread_mutex_unlock(&mutex);
    return result;
}

static ssize_t write_kept(struct descriptor *descriptor, int fd, const void *data, size_t length, off64_t offset)
{
    ssize_t written = pwrite(fd, data, length, offset);
    if (written > 0 && !descriptor->is_index)
        disk_state_change(&descriptor->disk->state, descriptor->file_index, false, (size_t)offset, data,
                          (size_t)written);
    return written;
}

ssize_t disk_pwrite(int fd, const void *data, size_t length, off64_t offset)
{
    pthread_mutex_lock(&mutex);
    struct descriptor *descriptor = find_descriptor(fd);
    if (descriptor == NULL) {
        pthread_mutex_unlock(&mutex);
        return pwrite(fd, data, length, offset);
    }
    struct disk *disk = descriptor->disk;
    if (!descriptor->is_index)
        observe(disk);
    if (meets_fault(disk, descriptor->is_index ? DISK_GROW_INDEX : DISK_WRITE)) {
        if (disk->fault.is_partial && length > 1) {
            ssize_t written = write_kept(descriptor, fd, data, length / 2, offset);
            /* A full disk says how much it has taken; a broken one says nothing. */
            if (disk->fault.error == ENOSPC) {
                pthread_mutex_unlock(&mutex);
                return written;
            }
        }
        return refuse(disk->fault.error);
    }
    ssize_t written = write_kept(descriptor, fd, data, length, offset);
    pthread_mutex_unlock(&mutex);
    return written;
}

static ssize_t disk_write(int fd, const void *data, size_t length)
{
    return disk_pwrite(fd, data, length, lseek(fd, 0, SEEK_CUR));
}

ssize_t disk_pread(int fd, void *data, size_t length, off64_t offset)
{
    pthread_mutex_lock(&mutex);
    struct descriptor *descriptor = find_descriptor(fd);
    if (descriptor != NULL && !descriptor->is_index && meets_fault(descriptor->disk, DISK_READ))
        return refuse(descriptor->disk->fault.error);
    pthread_mutex_unlock(&mutex);
    return pread(fd, data, length, offset);
}

int disk_truncate(int fd, off64_t size)
{
    pthread_mutex_lock(&mutex);
    struct descriptor *descriptor = find_descriptor(fd);
    bool is_kept = descriptor != NULL && !descriptor->is_index;
    if (is_kept) {
        observe(descriptor->disk);
        if (meets_fault(descriptor->disk, DISK_TRUNCATE))
            return refuse(descriptor->disk->fault.error);
    }
    int result = ftruncate(fd, size);
    if (result == 0 && is_kept)
        disk_state_change(&descriptor->disk->state, descriptor->file_index, true, (size_t)size, NULL, 0);
    pthread_mutex_unlock(&mutex);
    return result;
}

/* SQLite would use it only for databases with a chunk size, which nobody sets. */
static int disk_allocate(int fd, off64_t offset, off64_t length)
{
    (void)offset;
    (void)length;
    pthread_mutex_lock(&mutex);
    sq_assert(find_descriptor(fd) == NULL);
    pthread_mutex_unlock(&mutex);
    return 0;
}

void disk_init(void)
{
    /* Files that forget need no real disk. */
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    struct {
        const char *name;
        void (*call)(void);
    } calls[] = {
        {"open", (void (*)(void))disk_open},          {"close", (void (*)(void))disk_close},
        {"pwrite", (void (*)(void))disk_pwrite},      {"pwrite64", (void (*)(void))disk_pwrite},
        {"write", (void (*)(void))disk_write},        {"pread", (void (*)(void))disk_pread},
        {"pread64", (void (*)(void))disk_pread},      {"ftruncate", (void (*)(void))disk_truncate},
        {"fallocate", (void (*)(void))disk_allocate},
    };
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    sq_assert(vfs != NULL && vfs->iVersion >= 3);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        int result = vfs->xSetSystemCall(vfs, calls[i].name, calls[i].call);
        sq_assert(result == SQLITE_OK);
    }
}

/* --- The whole program's calls ------------------------------------------------------------------------------------ */

static int sync_file(struct disk *disk, size_t file_index)
{
    observe(disk);
    if (meets_fault(disk, DISK_SYNC)) {
        disk_state_forget(&disk->state, file_index, &disk->dice);
        return refuse(disk->fault.error);
    }
    uint64_t number = disk->state.number;
    if (disk->delay_cb != NULL) {
        pthread_mutex_unlock(&mutex);
        disk->delay_cb(disk->delayer);
        pthread_mutex_lock(&mutex);
    }
    observe(disk);
    if (!disk->is_ignoring_syncs && disk_state_sync(&disk->state, file_index, number))
        atomic_fetch_add(&disk->sync_count, 1);
    pthread_mutex_unlock(&mutex);
    return 0;
}

static int sync_directory(struct disk *disk)
{
    observe(disk);
    if (meets_fault(disk, DISK_SYNC_DIRECTORY))
        return refuse(disk->fault.error);
    if (!disk->is_ignoring_syncs)
        disk_state_sync_names(&disk->state, disk->state.number);
    pthread_mutex_unlock(&mutex);
    return 0;
}

int fdatasync(int fd)
{
    pthread_mutex_lock(&mutex);
    struct descriptor *descriptor = find_descriptor(fd);
    if (descriptor != NULL && !descriptor->is_index)
        return sync_file(descriptor->disk, descriptor->file_index);
    struct disk *disk = descriptor == NULL ? find_directory(fd) : NULL;
    if (disk != NULL)
        return sync_directory(disk);
    pthread_mutex_unlock(&mutex);
    return 0;
}

int fsync(int fd)
{
    return fdatasync(fd);
}

int unlink(const char *path)
{
    const char *name = NULL;
    pthread_mutex_lock(&mutex);
    struct disk *disk = find_disk(path, &name);
    bool is_kept = disk != NULL && disk_state_find(&disk->state, name) != NULL;
    if (is_kept) {
        observe(disk);
        if (meets_fault(disk, DISK_UNLINK))
            return refuse(disk->fault.error);
    }
    int result = unlinkat(AT_FDCWD, path, 0);
    if (is_kept) {
        sq_assert(result == 0);
        disk_state_remove(&disk->state, name);
    }
    int error = errno;
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}

int rename(const char *from, const char *to)
{
    const char *from_name = NULL;
    const char *to_name = NULL;
    pthread_mutex_lock(&mutex);
    struct disk *disk = find_disk(from, &from_name);
    bool is_kept = disk != NULL && disk_state_find(&disk->state, from_name) != NULL;
    if (is_kept) {
        sq_assert(find_disk(to, &to_name) == disk);
        observe(disk);
        if (meets_fault(disk, DISK_RENAME))
            return refuse(disk->fault.error);
    }
    int result = renameat(AT_FDCWD, from, AT_FDCWD, to);
    if (is_kept) {
        sq_assert(result == 0);
        disk_state_move(&disk->state, from_name, to_name);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

/* --- Disks -------------------------------------------------------------------------------------------------------- */

static struct disk *add_disk(const char *dir, uint64_t seed)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    sq_assert(disk != NULL);
    char *resolved = realpath(dir, disk->dir);
    struct stat info;
    sq_assert(resolved != NULL && stat(dir, &info) == 0);
    disk->dev = info.st_dev;
    disk->ino = info.st_ino;
    disk->dice.state = seed;
    return disk;
}

static void publish(struct disk *disk)
{
    size_t i = 0;
    pthread_mutex_lock(&mutex);
    while (i < DISKS_MAX && disks[i] != NULL)
        i++;
    sq_assert(i < DISKS_MAX);
    disks[i] = disk;
    pthread_mutex_unlock(&mutex);
}

struct disk *disk_new(const char *dir, uint64_t seed)
{
    struct disk *disk = add_disk(dir, seed);
    disk_state_init(&disk->state);
    disk_state_load(&disk->state, dir);
    publish(disk);
    return disk;
}

struct disk *disk_new_after_kill(const char *dir, uint64_t seed, const struct disk_cut *cut)
{
    struct disk *disk = add_disk(dir, seed);
    disk_state_write_seen(&cut->state, dir);
    disk_state_copy(&cut->state, &disk->state);
    publish(disk);
    return disk;
}

void disk_free(struct disk *disk)
{
    if (disk == NULL)
        return;
    pthread_mutex_lock(&mutex);
    for (size_t fd = 0; fd < DESCRIPTORS_MAX; fd++)
        sq_assert(descriptors[fd].disk != disk);
    for (size_t i = 0; i < DISKS_MAX; i++)
        disks[i] = disks[i] == disk ? NULL : disks[i];
    pthread_mutex_unlock(&mutex);
    disk_state_done(&disk->state);
    free(disk);
}

void disk_set_observer(struct disk *disk, void *context, void (*observe_cb)(void *context, struct disk *disk))
{
    pthread_mutex_lock(&mutex);
    disk->observer = context;
    disk->observe_cb = observe_cb;
    pthread_mutex_unlock(&mutex);
}

void disk_set_sync_delay(struct disk *disk, void *context, void (*delay_cb)(void *context))
{
    pthread_mutex_lock(&mutex);
    disk->delayer = context;
    disk->delay_cb = delay_cb;
    pthread_mutex_unlock(&mutex);
}

void disk_ignore_syncs(struct disk *disk)
{
    pthread_mutex_lock(&mutex);
    disk->is_ignoring_syncs = true;
    pthread_mutex_unlock(&mutex);
}

uint64_t disk_op_count(const struct disk *disk)
{
    return atomic_load(&disk->op_count);
}

uint64_t disk_sync_count(const struct disk *disk)
{
    return atomic_load(&disk->sync_count);
}

void disk_set_fault(struct disk *disk, const struct disk_fault *fault)
{
    pthread_mutex_lock(&mutex);
    disk->fault = fault != NULL ? *fault : (struct disk_fault){0};
    disk->fault_op_count = 0;
    disk->fault_count = 0;
    pthread_mutex_unlock(&mutex);
}

uint64_t disk_fault_count(const struct disk *disk)
{
    pthread_mutex_lock(&mutex);
    uint64_t count = disk->fault_count;
    pthread_mutex_unlock(&mutex);
    return count;
}

/* --- Cuts --------------------------------------------------------------------------------------------------------- */

struct disk_cut *disk_cut_new(const struct disk *disk)
{
    struct disk_cut *cut = calloc(1, sizeof(*cut));
    sq_assert(cut != NULL);
    disk_state_copy(&disk->state, &cut->state);
    cut->op = atomic_load(&disk->op_count);
    return cut;
}

struct disk_cut *disk_cut_now(struct disk *disk)
{
    pthread_mutex_lock(&mutex);
    struct disk_cut *cut = disk_cut_new(disk);
    pthread_mutex_unlock(&mutex);
    return cut;
}

void disk_cut_free(struct disk_cut *cut)
{
    if (cut == NULL)
        return;
    disk_state_done(&cut->state);
    free(cut);
}

uint64_t disk_cut_op(const struct disk_cut *cut)
{
    return cut->op;
}

void disk_cut_write(const struct disk_cut *cut, enum disk_loss loss, struct dice *dice, const char *dir)
{
    disk_state_write(&cut->state, loss, dice, dir);
}
