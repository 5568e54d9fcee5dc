/* engine/vfs.c: read locks counted in the process, read marks raised now and then, one map for each database file.
 * Everything else is the VFS's below.
 *
 * Read locks. A reader holds one of five shared locks of the wal-index (sqlite.org/walformat.html, "WAL Locks"; lock 3 + i
 * is WAL_READ_LOCK(i)) while it reads, and checkpoints and writers that begin the log anew take them exclusively. Here a
 * handle of our own, the *holder*, has the lock of the VFS below, and readers are counted:
 *
 *     users   -1  the holder does not have the lock: the next reader makes it take it, under the mutex
 *              0  it has it, nobody reads
 *              n  it has it for n readers
 *
 *     reader:      n ──► n + 1 … n ──► n − 1        an atomic instruction each
 *     exclusive:   0 ──► −1, the holder gives the lock back; the lock is then taken below, as if this layer were not there
 *
 * All other locks go straight down. Within the process nothing is granted that the VFS below would not grant; the only
 * difference is that a shared lock may stay with the process for a while after its last reader.
 *
 * Read marks. To each slot from 1 on belongs a mark in the wal-index: checkpoints copy nothing beyond the marks of slots that
 * are in use. A reader needs a slot whose mark is not later than its own snapshot; how much earlier does not matter to what
 * it reads. SQLite would like it to be the same, and after each commit the next reader asks for one slot after the other
 * exclusively, to raise its mark: four fcntl() calls. Here it is told that they are all in use, and does with what it finds,
 * if some slot's mark was raised a moment ago. Checkpoints, which raise marks too, are never told so. Marks are late by that
 * moment and no more: when writers pause, as they do when the log is to begin anew, readers do not stay behind.
 *
 * The map. The file is mapped once, for as long as any connection has it open, at a length of `map_bytes`, however long the
 * file is: pages beyond its end must not be touched. How long the file is, each handle asks when it first needs it and
 * again after SQLite has said that the database has changed (xUnfetch with NULL), as SQLite's own VFS maps anew then.
 *
 * Closing a descriptor drops all the process's locks on its file (fcntl(2)): the descriptor of the map is closed only after
 * the last connection has closed its own.
 *
 * Invariants: (1) a `struct shared` exists while a handle of its path is open; (2) the holder is open only while some handle
 * has the wal-index mapped: the last one to unmap it must be the last for the VFS below too; (3) the holder has the lock of
 * slot i below if and only if users[i] >= 0. */
#include "engine/vfs.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"

enum {
    READ_LOCK_FIRST = 3, /* WAL_READ_LOCK(0) */
    READ_LOCK_COUNT = 5,
    NOBODY = -1,
    CHECKPOINT_LOCK = 1,
    MARK_PAUSE_US = SQ_US_PER_MS,
    PAGE_BYTES_MIN = 512, /* sqlite.org/fileformat.html, "Page Size" */
    /* Byte offsets in the wal-index (sqlite.org/walformat.html, "The WAL-Index File Format"). */
    INDEX_FRAME_COUNT = 16,
    INDEX_MARKS = 100,
};

/* What the handles of one database file have in common. */
struct shared {
    struct sq_list links; /* guarded by the list's mutex, as is ref_count */
    size_t ref_count;
    sqlite3_vfs *below;
    const char *path; /* made by sqlite3_create_filename() */
    dev_t device;     /* which file it was: another one may take its place under the path; 0 if there is none */
    ino_t inode;

    int map_fd;
    unsigned char *map; /* NULL: none; only read from */

    pthread_mutex_t mutex; /* guards what follows; held across calls to the VFS below */
    size_t index_user_count;
    sqlite3_file *holder; /* NULL: not open */
    bool is_map_resting;  /* its pages have been given back, and nobody has read since */
    /* Sequentially consistent: a lock orders what its holders read and write. */
    atomic_int users[READ_LOCK_COUNT];
    /* Release and acquire: whoever finds it finds it whole. */
    _Atomic(struct engine_vfs_guard *) guard;
    _Atomic(int64_t) marked_us; /* when a reader has last raised a mark. Relaxed: a number to go by */
};

struct file {
    sqlite3_file base;
    struct shared *shared;
    sqlite3_file *below;
    sqlite3_int64 known_bytes; /* of the file that may be read through the map; 0: ask first */
    unsigned read_locks;       /* bit i: counted in users[i] */
    bool uses_index;
    bool is_checkpointing;            /* it has the lock of checkpoints, or of a recovery */
    volatile _Atomic uint32_t *index; /* the first region of the wal-index; NULL: not mapped */
};

static const sqlite3_io_methods file_methods;

static struct {
    sqlite3_vfs vfs;
    pthread_mutex_t mutex;
    struct sq_list shared_list;
    sqlite3_int64 map_bytes;
    _Atomic(int64_t) mark_pause_us; /* relaxed: a setting */
} layer = {.mutex = PTHREAD_MUTEX_INITIALIZER, .mark_pause_us = MARK_PAUSE_US};

static struct file *file_of(sqlite3_file *base)
{
    return SQ_CONTAINER_OF(base, struct file, base);
}

static sqlite3_vfs *find_below(void)
{
    sqlite3_vfs *below = sqlite3_vfs_find(NULL);
    sq_assert(below != NULL && below != &layer.vfs);
    return below;
}

/* Which file lies at the path; 0, 0 if the VFS below has files of another kind. */
static void identify(const char *path, dev_t *ret_device, ino_t *ret_inode)
{
    struct stat info;
    bool is_there = stat(path, &info) == 0;
    *ret_device = is_there ? info.st_dev : 0;
    *ret_inode = is_there ? info.st_ino : 0;
}

static bool is_file_of(const struct shared *shared, const char *path)
{
    dev_t device = 0;
    ino_t inode = 0;
    identify(path, &device, &inode);
    return strcmp(shared->path, path) == 0 && shared->device == device && shared->inode == inode;
}

/* --- Read locks ---------------------------------------------------------------------------------------------------- */

static int lock_below(sqlite3_file *file, int slot, int flags)
{
    return file->pMethods->xShmLock(file, READ_LOCK_FIRST + slot, 1, flags);
}

/* A second handle on the file, for locks of its own. Under the mutex. */
static int open_holder(struct shared *shared)
{
    if (SQ_LIKELY(shared->holder != NULL))
        return SQLITE_OK;
    sqlite3_file *holder = calloc(1, (size_t)shared->below->szOsFile);
    if (holder == NULL)
        return SQLITE_NOMEM;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_MAIN_DB;
    int result = shared->below->xOpen(shared->below, shared->path, holder, flags, &flags);
    void volatile *region = NULL;
    if (result == SQLITE_OK && !is_file_of(shared, shared->path))
        result = SQLITE_READONLY_DBMOVED;
    if (result == SQLITE_OK)
        result = holder->pMethods->xShmMap(holder, 0, 32 * 1024, 0, &region);
    if (result == SQLITE_OK) {
        shared->holder = holder;
        return SQLITE_OK;
    }
    if (holder->pMethods != NULL) {
        holder->pMethods->xShmUnmap(holder, 0);
        holder->pMethods->xClose(holder);
    }
    free(holder);
    return result;
}

/* Under the mutex; nobody reads. */
static void close_holder(struct shared *shared)
{
    for (int slot = 0; slot < READ_LOCK_COUNT; slot++) {
        int before = atomic_exchange(&shared->users[slot], NOBODY);
        sq_assert(before <= 0);
    }
    if (shared->holder == NULL)
        return;
    shared->holder->pMethods->xShmUnmap(shared->holder, 0); /* gives its locks back */
    shared->holder->pMethods->xClose(shared->holder);
    free(shared->holder);
    shared->holder = NULL;
}

/* Counts one more reader, if the holder has the lock. */
static bool count_reader(atomic_int *users)
{
    int count = atomic_load(users);
    while (count >= 0) {
        if (atomic_compare_exchange_weak(users, &count, count + 1))
            return true;
    }
    return false;
}

static int take_read_lock(struct shared *shared, int slot)
{
    atomic_int *users = &shared->users[slot];
    if (SQ_LIKELY(count_reader(users)))
        return SQLITE_OK;
    pthread_mutex_lock(&shared->mutex);
    int result = SQLITE_OK;
    if (!count_reader(users)) {
        result = open_holder(shared);
        if (result == SQLITE_OK)
            result = lock_below(shared->holder, slot, SQLITE_SHM_LOCK | SQLITE_SHM_SHARED);
        if (result == SQLITE_OK) {
            atomic_store(users, 1);
            shared->is_map_resting = false;
        }
    }
    pthread_mutex_unlock(&shared->mutex);
    return result;
}

static void give_read_lock(struct shared *shared, int slot)
{
    int before = atomic_fetch_sub(&shared->users[slot], 1);
    sq_assert(before > 0);
}

/* Makes the holder give slot's lock back; false: somebody reads. Under the mutex. */
static bool release_slot(struct shared *shared, int slot)
{
    int count = 0;
    if (!atomic_compare_exchange_strong(&shared->users[slot], &count, NOBODY))
        return count == NOBODY;
    int result = lock_below(shared->holder, slot, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
    sq_assert(result == SQLITE_OK);
    return true;
}

static uint32_t index_word(const struct file *file, size_t offset)
{
    return atomic_load_explicit(&file->index[offset / sizeof(uint32_t)], memory_order_acquire);
}

/* Whether a reader finds a slot without raising a mark, and need not raise one yet. If it finds none after all, because
 * the log has begun anew meanwhile, SQLite looks at the wal-index again. */
static bool has_late_mark(const struct file *file)
{
    const struct shared *shared = file->shared;
    if (file->index == NULL)
        return false;
    uint32_t frame_count = index_word(file, INDEX_FRAME_COUNT);
    bool is_found = false;
    for (int slot = 1; slot < READ_LOCK_COUNT && !is_found; slot++)
        is_found = atomic_load(&shared->users[slot]) != NOBODY &&
                   index_word(file, INDEX_MARKS + (size_t)slot * sizeof(uint32_t)) <= frame_count;
    return is_found && sq_clock_now_us() - atomic_load_explicit(&shared->marked_us, memory_order_relaxed) <
                           atomic_load_explicit(&layer.mark_pause_us, memory_order_relaxed);
}

static int take_exclusive(struct file *file, int offset, int count)
{
    struct shared *shared = file->shared;
    int result = SQLITE_OK;
    /* Besides readers only checkpoints and recoveries want a slot for themselves, and whoever begins the log anew, all. */
    bool is_marking = offset > READ_LOCK_FIRST && count == 1 && !file->is_checkpointing;
    if (is_marking && has_late_mark(file))
        return SQLITE_BUSY;
    pthread_mutex_lock(&shared->mutex);
    for (int lock = offset; lock < offset + count && result == SQLITE_OK; lock++) {
        if (lock >= READ_LOCK_FIRST && !release_slot(shared, lock - READ_LOCK_FIRST))
            result = SQLITE_BUSY;
    }
    if (result == SQLITE_OK)
        result = file->below->pMethods->xShmLock(file->below, offset, count, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
    pthread_mutex_unlock(&shared->mutex);
    if (is_marking && result == SQLITE_OK)
        atomic_store_explicit(&shared->marked_us, sq_clock_now_us(), memory_order_relaxed);
    return result;
}

/* The lock of checkpoints, alone: a recovery takes it with others. */
static int lock_checkpoint(struct file *file, int flags)
{
    struct engine_vfs_guard *guard = atomic_load_explicit(&file->shared->guard, memory_order_acquire);
    bool is_taking = (flags & SQLITE_SHM_LOCK) != 0;
    if (!is_taking && guard != NULL && file->is_checkpointing)
        guard->end_cb(guard, &file->base);
    int result = file->below->pMethods->xShmLock(file->below, CHECKPOINT_LOCK, 1, flags);
    if (result != SQLITE_OK)
        return result;
    file->is_checkpointing = is_taking;
    if (!is_taking || guard == NULL || guard->begin_cb(guard, &file->base))
        return SQLITE_OK;
    file->is_checkpointing = false;
    file->below->pMethods->xShmLock(file->below, CHECKPOINT_LOCK, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
    return SQLITE_BUSY;
}

void engine_vfs_set_guard(struct sqlite3_file *file, struct engine_vfs_guard *guard)
{
    sq_assert(file->pMethods == &file_methods);
    atomic_store_explicit(&file_of(file)->shared->guard, guard, memory_order_release);
}

static int file_shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
    struct file *file = file_of(base);
    if (offset == CHECKPOINT_LOCK && count == 1)
        return lock_checkpoint(file, flags);
    if (flags == (SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE) && offset + count > READ_LOCK_FIRST)
        return take_exclusive(file, offset, count);
    if ((flags & SQLITE_SHM_SHARED) == 0 || offset < READ_LOCK_FIRST) {
        int result = file->below->pMethods->xShmLock(file->below, offset, count, flags);
        if (offset == CHECKPOINT_LOCK && result == SQLITE_OK)
            file->is_checkpointing = (flags & SQLITE_SHM_LOCK) != 0;
        return result;
    }
    sq_assert(count == 1 && offset - READ_LOCK_FIRST < READ_LOCK_COUNT);
    int slot = offset - READ_LOCK_FIRST;
    unsigned bit = 1U << slot;
    bool is_held = (file->read_locks & bit) != 0;
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
        if (is_held)
            give_read_lock(file->shared, slot);
        file->read_locks &= ~bit;
        return SQLITE_OK;
    }
    if (is_held)
        return SQLITE_OK;
    int result = take_read_lock(file->shared, slot);
    if (result == SQLITE_OK)
        file->read_locks |= bit;
    return result;
}

static int file_shm_map(sqlite3_file *base, int region, int region_bytes, int is_extending, void volatile **ret_region)
{
    struct file *file = file_of(base);
    if (!file->uses_index) {
        pthread_mutex_lock(&file->shared->mutex);
        file->shared->index_user_count++;
        pthread_mutex_unlock(&file->shared->mutex);
        file->uses_index = true;
    }
    int result = file->below->pMethods->xShmMap(file->below, region, region_bytes, is_extending, ret_region);
    if (region == 0)
        file->index = result == SQLITE_OK ? *ret_region : NULL;
    return result;
}

/* SQLite's own VFS takes a mutex of the whole process besides, "for redundancy" (os_unix.c): readers would meet there. */
static void file_shm_barrier(sqlite3_file *base)
{
    (void)base;
    atomic_thread_fence(memory_order_seq_cst);
}

/* The last one unmaps below after the holder has gone: SQLite removes the wal-index with the last user. */
static int file_shm_unmap(sqlite3_file *base, int is_removing)
{
    struct file *file = file_of(base);
    struct shared *shared = file->shared;
    pthread_mutex_lock(&shared->mutex);
    for (int slot = 0; slot < READ_LOCK_COUNT; slot++) {
        if ((file->read_locks & (1U << slot)) != 0)
            give_read_lock(shared, slot);
    }
    file->read_locks = 0;
    if (file->uses_index && --shared->index_user_count == 0)
        close_holder(shared);
    file->uses_index = false;
    file->is_checkpointing = false;
    file->index = NULL;
    int result = file->below->pMethods->xShmUnmap(file->below, is_removing);
    pthread_mutex_unlock(&shared->mutex);
    return result;
}

/* Nobody has read since the kernel's locks were given back. Under the mutex. */
static bool is_unread(const struct shared *shared)
{
    for (int slot = 0; slot < READ_LOCK_COUNT; slot++) {
        if (atomic_load(&shared->users[slot]) != NOBODY)
            return false;
    }
    return true;
}

/* What a file's map has shown counts as the server's memory, although it is the kernel's cache. While nobody reads, the
 * server lets go of it; the next reader finds the pages where they are. Under the mutex. */
static void rest_map(struct shared *shared)
{
    if (shared->map == NULL || shared->is_map_resting)
        return;
    int result = madvise(shared->map, (size_t)layer.map_bytes, MADV_DONTNEED);
    (void)result; /* then they stay */
    shared->is_map_resting = true;
}

void engine_vfs_release_idle(void)
{
    pthread_mutex_lock(&layer.mutex);
    for (struct sq_list *links = layer.shared_list.next; links != NULL && links != &layer.shared_list;
         links = links->next) {
        struct shared *shared = SQ_CONTAINER_OF(links, struct shared, links);
        pthread_mutex_lock(&shared->mutex);
        if (is_unread(shared))
            rest_map(shared);
        for (int slot = 0; slot < READ_LOCK_COUNT; slot++) {
            bool is_free = release_slot(shared, slot);
            (void)is_free; /* who reads now keeps it */
        }
        pthread_mutex_unlock(&shared->mutex);
    }
    pthread_mutex_unlock(&layer.mutex);
}

void engine_vfs_set_mark_pause(int64_t pause_us)
{
    atomic_store_explicit(&layer.mark_pause_us, pause_us, memory_order_relaxed);
}

/* --- The map ------------------------------------------------------------------------------------------------------- */

/* Where the map shows these bytes; NULL: it does not, because they are beyond the end or beyond the map. */
static int find_in_map(struct file *file, sqlite3_int64 offset, int bytes, unsigned char **ret_bytes)
{
    *ret_bytes = NULL;
    if (file->shared->map == NULL)
        return SQLITE_OK;
    if (SQ_UNLIKELY(offset + bytes > file->known_bytes)) {
        sqlite3_int64 length = 0;
        int result = file->below->pMethods->xFileSize(file->below, &length);
        if (result != SQLITE_OK)
            return result;
        file->known_bytes = length < layer.map_bytes ? length : layer.map_bytes;
    }
    if (offset + bytes <= file->known_bytes)
        *ret_bytes = file->shared->map + offset;
    return SQLITE_OK;
}

static int file_fetch(sqlite3_file *base, sqlite3_int64 offset, int bytes, void **ret_page)
{
    unsigned char *page = NULL;
    int result = find_in_map(file_of(base), offset, bytes, &page);
    *ret_page = page;
    return result;
}

static int file_unfetch(sqlite3_file *base, sqlite3_int64 offset, void *page)
{
    (void)offset;
    if (page == NULL)
        file_of(base)->known_bytes = 0;
    return SQLITE_OK;
}

/* Only over SQLite's own VFS is there a file of the operating system at the path. */
static void map_file(struct shared *shared)
{
    if (layer.map_bytes == 0 || strncmp(shared->below->zName, "unix", 4) != 0)
        return;
    shared->map_fd = open(shared->path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (shared->map_fd < 0)
        return;
    if (fstat(shared->map_fd, &info) != 0 || info.st_dev != shared->device || info.st_ino != shared->inode)
        return; /* another file has taken its place: it is not mapped */
    void *map = mmap(NULL, (size_t)layer.map_bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, shared->map_fd, 0);
    if (map != MAP_FAILED)
        shared->map = map;
}

/* --- What handles have in common ------------------------------------------------------------------------------------ */

static void shared_free(struct shared *shared)
{
    sq_assert(shared->index_user_count == 0 && shared->holder == NULL);
    if (shared->map != NULL)
        munmap(shared->map, (size_t)layer.map_bytes);
    if (shared->map_fd >= 0)
        close(shared->map_fd);
    pthread_mutex_destroy(&shared->mutex);
    sqlite3_free_filename(shared->path);
    free(shared);
}

static struct shared *shared_new(sqlite3_vfs *below, const char *path)
{
    struct shared *shared = calloc(1, sizeof(*shared));
    const char *copy = sqlite3_create_filename(path, "", "", 0, NULL);
    if (shared == NULL || copy == NULL) {
        free(shared);
        sqlite3_free_filename(copy);
        return NULL;
    }
    shared->path = copy;
    shared->below = below;
    identify(path, &shared->device, &shared->inode);
    shared->map_fd = -1;
    pthread_mutex_init(&shared->mutex, NULL);
    for (int slot = 0; slot < READ_LOCK_COUNT; slot++)
        atomic_init(&shared->users[slot], NOBODY);
    sq_list_init(&shared->links);
    return shared;
}

static struct shared *shared_ref(sqlite3_vfs *below, const char *path)
{
    struct shared *found = NULL;
    pthread_mutex_lock(&layer.mutex);
    SQ_LIST_FOREACH (links, &layer.shared_list) {
        struct shared *shared = SQ_CONTAINER_OF(links, struct shared, links);
        if (shared->below == below && is_file_of(shared, path))
            found = shared;
    }
    if (found == NULL) {
        found = shared_new(below, path);
        if (found != NULL)
            sq_list_push_back(&layer.shared_list, &found->links);
    }
    if (found != NULL)
        found->ref_count++;
    pthread_mutex_unlock(&layer.mutex);
    return found;
}

/* The caller has closed its descriptors. */
static void shared_unref(struct shared *shared)
{
    pthread_mutex_lock(&layer.mutex);
    if (--shared->ref_count == 0) {
        sq_list_remove(&shared->links);
        shared_free(shared);
    }
    pthread_mutex_unlock(&layer.mutex);
}

/* --- Handles ------------------------------------------------------------------------------------------------------- */

static int file_close(sqlite3_file *base)
{
    struct file *file = file_of(base);
    if (file->uses_index)
        file_shm_unmap(base, 0);
    int result = file->below->pMethods->xClose(file->below);
    free(file->below);
    shared_unref(file->shared);
    base->pMethods = NULL;
    return result;
}

/* Writers and page 1 are given pages of their own, not the map's: copied from there, they cost no call of the kernel. Only
 * who has the wal-index asks for pages of a snapshot that it holds, which nobody cuts off. */
static int file_read(sqlite3_file *base, void *buffer, int bytes, sqlite3_int64 offset)
{
    struct file *file = file_of(base);
    unsigned char *mapped = NULL;
    if (file->index != NULL && file->read_locks != 0 && bytes >= PAGE_BYTES_MIN &&
        find_in_map(file, offset, bytes, &mapped) == SQLITE_OK && mapped != NULL) {
        memcpy(buffer, mapped, (size_t)bytes);
        return SQLITE_OK;
    }
    return file->below->pMethods->xRead(file->below, buffer, bytes, offset);
}

static int file_write(sqlite3_file *base, const void *buffer, int bytes, sqlite3_int64 offset)
{
    struct file *file = file_of(base);
    return file->below->pMethods->xWrite(file->below, buffer, bytes, offset);
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 bytes)
{
    struct file *file = file_of(base);
    file->known_bytes = 0;
    return file->below->pMethods->xTruncate(file->below, bytes);
}

static int file_sync(sqlite3_file *base, int flags)
{
    struct file *file = file_of(base);
    return file->below->pMethods->xSync(file->below, flags);
}

static int file_size(sqlite3_file *base, sqlite3_int64 *ret_bytes)
{
    struct file *file = file_of(base);
    return file->below->pMethods->xFileSize(file->below, ret_bytes);
}

static int file_lock(sqlite3_file *base, int level)
{
    struct file *file = file_of(base);
    return file->below->pMethods->xLock(file->below, level);
}

static int file_unlock(sqlite3_file *base, int level)
{
    struct file *file = file_of(base);
    return file->below->pMethods->xUnlock(file->below, level);
}

static int file_check_reserved(sqlite3_file *base, int *ret_is_reserved)
{
    struct file *file = file_of(base);
    return file->below->pMethods->xCheckReservedLock(file->below, ret_is_reserved);
}

static int file_control(sqlite3_file *base, int operation, void *argument)
{
    struct file *file = file_of(base);
    if (operation != SQLITE_FCNTL_MMAP_SIZE)
        return file->below->pMethods->xFileControl(file->below, operation, argument);
    /* The map is ours and has one size; the VFS below makes none. */
    *(sqlite3_int64 *)argument = file->shared->map != NULL ? layer.map_bytes : 0;
    return SQLITE_OK;
}

static int file_sector_size(sqlite3_file *base)
{
    struct file *file = file_of(base);
    return file->below->pMethods->xSectorSize(file->below);
}

static int file_characteristics(sqlite3_file *base)
{
    struct file *file = file_of(base);
    return file->below->pMethods->xDeviceCharacteristics(file->below);
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 3,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
    .xFetch = file_fetch,
    .xUnfetch = file_unfetch,
};

/* --- The VFS ------------------------------------------------------------------------------------------------------- */

/* A database file that is opened for writing; everything else (WAL, temporary files) needs nothing from this layer. */
static int open_database(sqlite3_vfs *below, const char *name, struct file *file, int flags, int *ret_flags)
{
    *file = (struct file){.below = calloc(1, (size_t)below->szOsFile)};
    if (file->below == NULL)
        return SQLITE_NOMEM;
    int result = below->xOpen(below, name, file->below, flags, ret_flags);
    if (result == SQLITE_OK && file->below->pMethods->iVersion < 2)
        result = SQLITE_CANTOPEN; /* no wal-index: engine_connection_open() could not use it either */
    if (result == SQLITE_OK) {
        file->shared = shared_ref(below, name);
        if (file->shared == NULL)
            result = SQLITE_NOMEM;
    }
    if (result != SQLITE_OK) {
        if (file->below->pMethods != NULL)
            file->below->pMethods->xClose(file->below);
        free(file->below);
        return result;
    }
    pthread_mutex_lock(&file->shared->mutex);
    if (file->shared->map_fd < 0)
        map_file(file->shared);
    pthread_mutex_unlock(&file->shared->mutex);
    sqlite3_int64 none = 0;
    file->below->pMethods->xFileControl(file->below, SQLITE_FCNTL_MMAP_SIZE, &none);
    file->base.pMethods = &file_methods;
    return SQLITE_OK;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *ret_flags)
{
    (void)vfs;
    sqlite3_vfs *below = find_below();
    base->pMethods = NULL;
    if ((flags & SQLITE_OPEN_MAIN_DB) != 0 && name != NULL)
        return open_database(below, name, file_of(base), flags, ret_flags);
    sq_assert(below->szOsFile <= layer.vfs.szOsFile);
    return below->xOpen(below, name, base, flags, ret_flags);
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int is_synced)
{
    (void)vfs;
    sqlite3_vfs *below = find_below();
    return below->xDelete(below, name, is_synced);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_result)
{
    (void)vfs;
    sqlite3_vfs *below = find_below();
    return below->xAccess(below, name, flags, ret_result);
}

static int vfs_full_pathname(sqlite3_vfs *vfs, const char *name, int out_bytes, char *out)
{
    (void)vfs;
    sqlite3_vfs *below = find_below();
    return below->xFullPathname(below, name, out_bytes, out);
}

static int vfs_randomness(sqlite3_vfs *vfs, int bytes, char *out)
{
    (void)vfs;
    sqlite3_vfs *below = find_below();
    return below->xRandomness(below, bytes, out);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    sqlite3_vfs *below = find_below();
    return below->xSleep(below, microseconds);
}

static int vfs_current_time(sqlite3_vfs *vfs, double *ret_day)
{
    (void)vfs;
    sqlite3_vfs *below = find_below();
    return below->xCurrentTime(below, ret_day);
}

static int vfs_current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms)
{
    (void)vfs;
    sqlite3_vfs *below = find_below();
    return below->xCurrentTimeInt64(below, ret_ms);
}

static int vfs_last_error(sqlite3_vfs *vfs, int out_bytes, char *out)
{
    (void)vfs;
    sqlite3_vfs *below = find_below();
    return below->xGetLastError(below, out_bytes, out);
}

sq_status engine_vfs_register(int64_t map_bytes, struct sq_error *err)
{
    if (layer.vfs.zName != NULL)
        return SQ_OK;
    const sqlite3_vfs *below = find_below();
    sq_list_init(&layer.shared_list);
    layer.map_bytes = map_bytes;
    layer.vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(struct file) > below->szOsFile ? (int)sizeof(struct file) : below->szOsFile,
        .mxPathname = below->mxPathname,
        .zName = ENGINE_VFS_NAME,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_pathname,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_current_time,
        .xCurrentTimeInt64 = vfs_current_time_int64,
        .xGetLastError = vfs_last_error,
    };
    int result = sqlite3_vfs_register(&layer.vfs, 0);
    return result == SQLITE_OK ? SQ_OK : sq_fail(err, SQ_NOMEM, "cannot register SQLite's VFS: %d", result);
}
