/* engine/database.c: data directory, database files, and who uses them.
 *
 *     DIR/sqld.lock       flock()ed by the server that owns the directory
 *     DIR/NAME.db         a database; NAME.db-wal and NAME.db-shm beside it are SQLite's
 *     DIR/NAME.db-ltx/    files of the one who follows it (follower.h), which are removed and renamed with it
 *     DIR/NAME.origin     for whom it was made, in hexadecimal digits; most databases have none
 *
 * The directory itself is the list of databases: there is no second list that could disagree with it. The mutex guards
 * the map of open databases and is held across create, drop and rename, which are rare, so that none of them can race
 * with an open.
 *
 *     (a file) ──open──► IN USE ──last reference gone──► WARM ──idle for a while, drop, rename, shutdown──► (a file)
 *                          ▲                              │
 *                          └─────────────open─────────────┘
 *
 * A warm database keeps its durability point, so that clients that come and go do not fold the WAL in and make it anew
 * each time. One that no connection has been opened to is not worth keeping.
 *
 * Invariants: (1) a database is in `open` if it has references or a durability point; (2) files are only removed or
 * renamed under the mutex and while the name is not in `open`. */
#include "engine/database.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/map.h"
#include "engine/database_internal.h"
#include "engine/durability.h"
#include "engine/error.h"
#include "engine/follower.h"
#include "engine/memory.h"
#include "engine/vfs.h"

enum { ENGINE_PATH_MAX = 4096 };

static const char database_suffix[] = ".db";
static const char log_suffix[] = "-ltx";

struct engine_registry {
    char data_dir[ENGINE_PATH_MAX];
    char default_name[ENGINE_DATABASE_NAME_MAX + 1];
    int lock_fd;
    int dir_fd;
    struct engine_registry_watch *watch; /* or NULL */
    struct engine_follower_factory *follower_factory;
    pthread_mutex_t mutex;
    struct sq_map open;   /* name -> struct engine_database */
    struct sq_map shared; /* share -> struct engine_database: private ones */
};

struct engine_database {
    struct engine_registry *registry;
    /* Relaxed: the schema itself comes through SQLite's own locks; a session sees the number no later than the commit's
     * answer, and what is missed by a moment is caught when the statement runs. */
    _Atomic uint64_t generation;
    bool is_private; /* in memory, and not in `open` */
    char share[ENGINE_SHARE_MAX + 1];
    size_t ref_count;      /* guarded by the registry's mutex */
    int64_t idle_since_us; /* likewise: when the last reference was given back */
    pthread_mutex_t start_mutex;
    /* NULL before the first connection. Release and acquire: whoever sees it sees it whole. */
    struct engine_durability *_Atomic durability;
    char name[ENGINE_DATABASE_NAME_MAX + 1];
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 8];
};

static int64_t engine_map_bytes;
static void (*engine_log_cb)(int code, const char *message);

static void sqlite_log(void *context, int code, const char *message)
{
    (void)context;
    if (engine_log_cb != NULL)
        engine_log_cb(code, message);
}

sq_status engine_init(void (*log_cb)(int code, const char *message), struct sq_error *err)
{
    engine_log_cb = log_cb;
    /* One thread at a time uses a connection (sqlite.org/threadsafe.html, "multi-thread"), so SQLite need not lock it;
     * memory statistics would put one mutex around every malloc of every thread. */
    SQ_TRY(engine_memory_install(err));
    int result = sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
    if (result == SQLITE_OK)
        result = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (result == SQLITE_OK)
        result = sqlite3_config(SQLITE_CONFIG_LOG, sqlite_log, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_initialize();
    if (result != SQLITE_OK)
        return engine_fail(err, NULL, result, NULL);
    if (sqlite3_libversion_number() < 3040000) {
        sq_status status = sq_fail(err, SQ_INVALID, "the installed SQLite library is %s, sqld needs 3.40.0 or later",
                                   sqlite3_libversion());
        sq_error_set_hint(err, "Install a newer libsqlite3.");
        return status;
    }
    return SQ_OK;
}

sq_status engine_set_mmap(int64_t bytes, struct sq_error *err)
{
    engine_map_bytes = bytes;
    int result = sqlite3_config(SQLITE_CONFIG_MMAP_SIZE, (sqlite3_int64)bytes, (sqlite3_int64)bytes);
    return result == SQLITE_OK ? SQ_OK : engine_fail(err, NULL, result, NULL);
}

/* Relaxed: a number for connections that are opened from now on. */
static _Atomic(size_t) cache_bytes;

void engine_set_cache(size_t bytes)
{
    atomic_store_explicit(&cache_bytes, bytes, memory_order_relaxed);
}

size_t engine_cache_bytes(void)
{
    return atomic_load_explicit(&cache_bytes, memory_order_relaxed);
}

bool engine_database_name_is_valid(const char *name)
{
    size_t length = strnlen(name, ENGINE_DATABASE_NAME_MAX + 1);
    if (length == 0 || length > ENGINE_DATABASE_NAME_MAX || name[0] == '.' || name[0] == '-')
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        bool is_fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                       c == '-' || c == '.';
        if (!is_fine)
            return false;
    }
    return true;
}

sq_status database_check_name(const char *name, struct sq_error *err)
{
    if (engine_database_name_is_valid(name))
        return SQ_OK;
    sq_status status = sq_fail_sql(err, SQ_INVALID, "42602", "invalid database name \"%s\"", name);
    sq_error_set_hint(err, "Use 1 to %d letters, digits, '_', '-' and '.', not starting with '-' or '.'.",
                      ENGINE_DATABASE_NAME_MAX);
    return status;
}

static void make_path(const struct engine_registry *registry, const char *name, const char *suffix, char *out,
                      size_t out_bytes)
{
    int length = snprintf(out, out_bytes, "%s/%s%s%s", registry->data_dir, name, database_suffix, suffix);
    sq_assert(length > 0 && (size_t)length < out_bytes);
}

static void make_origin_path(const struct engine_registry *registry, const char *name, char *out, size_t out_bytes)
{
    int length = snprintf(out, out_bytes, "%s/%s.origin", registry->data_dir, name);
    sq_assert(length > 0 && (size_t)length < out_bytes);
}

static sq_status sync_directory(struct engine_registry *registry, struct sq_error *err)
{
    if (fsync(registry->dir_fd) != 0)
        return sq_fail_errno(err, errno, "cannot sync data directory '%s'", registry->data_dir);
    return SQ_OK;
}

static sq_status open_directory(struct engine_registry *registry, const char *data_dir, struct sq_error *err)
{
    if (mkdir(data_dir, 0700) != 0 && errno != EEXIST) {
        sq_status status = sq_fail_errno(err, errno, "cannot create data directory '%s'", data_dir);
        sq_error_set_hint(err, "Create its parent directory, or name another one with --data-dir.");
        return status;
    }
    char *resolved = realpath(data_dir, NULL);
    if (resolved == NULL)
        return sq_fail_errno(err, errno, "cannot use data directory '%s'", data_dir);
    bool fits = strlen(resolved) < sizeof(registry->data_dir);
    if (fits)
        snprintf(registry->data_dir, sizeof(registry->data_dir), "%s", resolved);
    free(resolved);
    if (!fits)
        return sq_fail(err, SQ_INVALID, "the name of data directory '%s' is too long", data_dir);
    registry->dir_fd = open(registry->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (registry->dir_fd < 0)
        return sq_fail_errno(err, errno, "cannot use data directory '%s'", data_dir);
    return SQ_OK;
}

static sq_status lock_directory(struct engine_registry *registry, struct sq_error *err)
{
    registry->lock_fd = openat(registry->dir_fd, "sqld.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (registry->lock_fd < 0) {
        sq_status status = sq_fail_errno(err, errno, "cannot write in data directory '%s'", registry->data_dir);
        sq_error_set_hint(err, "Give this user write access to it, or name another one with --data-dir.");
        return status;
    }
    if (flock(registry->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        char owner[32] = "";
        ssize_t got = pread(registry->lock_fd, owner, sizeof(owner) - 1, 0);
        owner[got > 0 ? got : 0] = '\0';
        sq_status status = sq_fail(err, SQ_BUSY, "data directory '%s' is in use by another sqld%s%s",
                                   registry->data_dir, owner[0] != '\0' ? ", process " : "", owner);
        sq_error_set_hint(err, "Stop that server, or name another directory with --data-dir.");
        return status;
    }
    /* The process id is a courtesy for people; the lock is what counts. */
    char pid[32];
    int length = snprintf(pid, sizeof(pid), "%d", (int)getpid());
    if (ftruncate(registry->lock_fd, 0) != 0 || pwrite(registry->lock_fd, pid, (size_t)length, 0) != length)
        return sq_fail_errno(err, errno, "cannot write in data directory '%s'", registry->data_dir);
    return SQ_OK;
}

static void database_free(struct engine_database *database)
{
    engine_durability_close(atomic_load_explicit(&database->durability, memory_order_acquire));
    pthread_mutex_destroy(&database->start_mutex);
    free(database);
}

/* Closes a database without references; under the mutex. */
static void close_locked(struct engine_registry *registry, struct engine_database *database)
{
    sq_assert(database->ref_count == 0);
    sq_map_remove(&registry->open, database->name, strlen(database->name));
    database_free(database);
}

/* One that has had no reference since `before_us`, or NULL; under the mutex. */
static struct engine_database *find_idle(struct engine_registry *registry, int64_t before_us)
{
    struct sq_map_cursor at = {0};
    struct engine_database *database;
    while ((database = sq_map_next(&registry->open, &at)) != NULL) {
        if (database->ref_count == 0 && database->idle_since_us <= before_us)
            return database;
    }
    return NULL;
}

void engine_registry_close_idle(struct engine_registry *registry, int64_t idle_us)
{
    int64_t before_us = sq_clock_now_us() - idle_us;
    struct engine_database *database;
    pthread_mutex_lock(&registry->mutex);
    while ((database = find_idle(registry, before_us)) != NULL) {
        database->ref_count++;
        pthread_mutex_unlock(&registry->mutex);
        /* What takes long is done without the mutex. If it fails, closing tries it again, and what is in the log stays
         * there. */
        struct sq_error err;
        struct engine_wal_fill fill;
        sq_status status = engine_durability_checkpoint(engine_database_durability(database), false, 0, &err, &fill);
        (void)status;
        pthread_mutex_lock(&registry->mutex);
        if (--database->ref_count == 0)
            close_locked(registry, database);
    }
    pthread_mutex_unlock(&registry->mutex);
}

void engine_registry_set_follower_factory(struct engine_registry *registry, struct engine_follower_factory *factory)
{
    registry->follower_factory = factory;
}

SQ_DEFINE_FREEP(struct engine_registry, engine_registry_free)

sq_status engine_registry_open_as_is(const char *data_dir, const char *default_name, struct sq_error *err,
                                     struct engine_registry **ret_registry)
{
    SQ_TRY(database_check_name(default_name, err));
    SQ_TRY(engine_vfs_register(engine_map_bytes, err));
    SQ_CLEANUP(engine_registry_freep) struct engine_registry *registry = calloc(1, sizeof(*registry));
    if (registry == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for the data directory");
    registry->lock_fd = -1;
    registry->dir_fd = -1;
    pthread_mutex_init(&registry->mutex, NULL);
    sq_map_init(&registry->open);
    sq_map_init(&registry->shared);
    snprintf(registry->default_name, sizeof(registry->default_name), "%s", default_name);
    SQ_TRY(open_directory(registry, data_dir, err));
    SQ_TRY(lock_directory(registry, err));
    *ret_registry = SQ_STEAL(registry);
    return SQ_OK;
}

sq_status engine_registry_open(const char *data_dir, const char *default_name, struct sq_error *err,
                               struct engine_registry **ret_registry)
{
    SQ_CLEANUP(engine_registry_freep) struct engine_registry *registry = NULL;
    SQ_TRY(engine_registry_open_as_is(data_dir, default_name, err, &registry));
    if (!engine_database_exists(registry, default_name))
        SQ_TRY(engine_database_create(registry, default_name, err));
    *ret_registry = SQ_STEAL(registry);
    return SQ_OK;
}

void engine_registry_set_watch(struct engine_registry *registry, struct engine_registry_watch *watch)
{
    registry->watch = watch;
}

/* Under the mutex. */
static void tell_watch(struct engine_registry *registry, const char *name, enum engine_registry_change change)
{
    if (registry->watch != NULL)
        registry->watch->changed_cb(registry->watch, name, change);
}

void engine_registry_free(struct engine_registry *registry)
{
    if (registry == NULL)
        return;
    struct engine_database *database;
    while ((database = find_idle(registry, INT64_MAX)) != NULL)
        close_locked(registry, database);
    sq_assert(registry->open.count == 0 && registry->shared.count == 0);
    sq_map_done(&registry->open);
    sq_map_done(&registry->shared);
    pthread_mutex_destroy(&registry->mutex);
    if (registry->lock_fd >= 0)
        close(registry->lock_fd);
    if (registry->dir_fd >= 0)
        close(registry->dir_fd);
    free(registry);
}

pthread_mutex_t *database_registry_mutex(struct engine_registry *registry)
{
    return &registry->mutex;
}

const char *engine_registry_default_name(const struct engine_registry *registry)
{
    return registry->default_name;
}

const char *engine_registry_data_dir(const struct engine_registry *registry)
{
    return registry->data_dir;
}

bool engine_database_exists(struct engine_registry *registry, const char *name)
{
    if (!engine_database_name_is_valid(name))
        return false;
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 8];
    make_path(registry, name, "", path, sizeof(path));
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static sq_status fail_not_found(const char *name, struct sq_error *err)
{
    sq_status status = sq_fail_sql(err, SQ_NOT_FOUND, "3D000", "database \"%s\" does not exist", name);
    sq_error_set_hint(err, "Make it with CREATE DATABASE or createdb.");
    return status;
}

/* The rest of engine_database_open(), under the mutex. */
static sq_status open_locked(struct engine_registry *registry, const char *name, struct sq_error *err,
                             struct engine_database **ret_database)
{
    struct engine_database *database = sq_map_get(&registry->open, name, strlen(name));
    if (database == NULL) {
        if (!engine_database_exists(registry, name))
            return fail_not_found(name, err);
        database = calloc(1, sizeof(*database));
        if (database == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for database \"%s\"", name);
        database->registry = registry;
        pthread_mutex_init(&database->start_mutex, NULL);
        snprintf(database->name, sizeof(database->name), "%s", name);
        make_path(registry, name, "", database->path, sizeof(database->path));
        if (sq_map_put(&registry->open, name, strlen(name), database, NULL) != SQ_OK) {
            database_free(database);
            return sq_fail(err, SQ_NOMEM, "out of memory for database \"%s\"", name);
        }
    }
    database->ref_count++;
    *ret_database = database;
    return SQ_OK;
}

sq_status engine_database_open(struct engine_registry *registry, const char *name, struct sq_error *err,
                               struct engine_database **ret_database)
{
    pthread_mutex_lock(&registry->mutex);
    sq_status status = open_locked(registry, name, err, ret_database);
    pthread_mutex_unlock(&registry->mutex);
    return status;
}

/* Under the mutex. */
static sq_status open_private_locked(struct engine_registry *registry, const char *share, struct sq_error *err,
                                     struct engine_database **ret_database)
{
    bool is_shared = share[0] != '\0';
    struct engine_database *database = is_shared ? sq_map_get(&registry->shared, share, strlen(share)) : NULL;
    if (database != NULL) {
        database->ref_count++;
        *ret_database = database;
        return SQ_OK;
    }
    database = calloc(1, sizeof(*database));
    if (database == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a database in memory");
    database->registry = registry;
    database->is_private = true;
    database->ref_count = 1;
    pthread_mutex_init(&database->start_mutex, NULL);
    snprintf(database->name, sizeof(database->name), "%s", ENGINE_PRIVATE_NAME);
    snprintf(database->share, sizeof(database->share), "%s", share);
    /* https://sqlite.org/sharedcache.html, "Shared Cache And In-Memory Databases" */
    snprintf(database->path, sizeof(database->path), is_shared ? "file:sqld-%s?mode=memory&cache=shared" : "%s",
             is_shared ? share : ENGINE_PRIVATE_NAME);
    if (is_shared && sq_map_put(&registry->shared, database->share, strlen(share), database, NULL) != SQ_OK) {
        database_free(database);
        return sq_fail(err, SQ_NOMEM, "out of memory for a database in memory");
    }
    *ret_database = database;
    return SQ_OK;
}

sq_status engine_database_open_private(struct engine_registry *registry, const char *share, struct sq_error *err,
                                       struct engine_database **ret_database)
{
    sq_assert(strlen(share) <= ENGINE_SHARE_MAX);
    pthread_mutex_lock(&registry->mutex);
    sq_status status = open_private_locked(registry, share, err, ret_database);
    pthread_mutex_unlock(&registry->mutex);
    return status;
}

bool engine_database_is_shared(const struct engine_database *database)
{
    return database->share[0] != '\0';
}

bool engine_database_is_private(const struct engine_database *database)
{
    return database->is_private;
}

void engine_database_ref(struct engine_database *database)
{
    pthread_mutex_lock(&database->registry->mutex);
    sq_assert(database->ref_count > 0);
    database->ref_count++;
    pthread_mutex_unlock(&database->registry->mutex);
}

void engine_database_unref(struct engine_database *database)
{
    if (database == NULL)
        return;
    struct engine_registry *registry = database->registry;
    pthread_mutex_lock(&registry->mutex);
    sq_assert(database->ref_count > 0);
    if (--database->ref_count == 0) {
        database->idle_since_us = sq_clock_now_us();
        if (database->is_private) {
            if (engine_database_is_shared(database))
                sq_map_remove(&registry->shared, database->share, strlen(database->share));
            database_free(database);
        } else if (engine_database_durability(database) == NULL) {
            close_locked(registry, database);
        }
    }
    pthread_mutex_unlock(&registry->mutex);
}

SQ_DEFINE_FREEP(struct engine_durability, engine_durability_close)

/* Under the start mutex. */
static sq_status start(struct engine_database *database, struct sq_error *err)
{
    struct engine_follower_factory *factory = database->registry->follower_factory;
    struct engine_follower *follower = NULL;
    SQ_CLEANUP(engine_durability_closep) struct engine_durability *durability = NULL;
    SQ_TRY(engine_durability_open(database->path, err, &durability));
    if (factory != NULL)
        SQ_TRY(factory->start_cb(factory, database, durability, err, &follower));
    sq_status status = follower != NULL ? engine_durability_set_follower(durability, follower, err) : SQ_OK;
    if (status != SQ_OK) {
        follower->ops->closing_cb(follower);
        follower->ops->closed_cb(follower, NULL);
        return status;
    }
    atomic_store_explicit(&database->durability, SQ_STEAL(durability), memory_order_release);
    return SQ_OK;
}

sq_status engine_database_start(struct engine_database *database, struct sq_error *err)
{
    if (SQ_LIKELY(engine_database_durability(database) != NULL) || database->is_private)
        return SQ_OK;
    sq_status status = SQ_OK;
    pthread_mutex_lock(&database->start_mutex);
    if (engine_database_durability(database) == NULL)
        status = start(database, err);
    pthread_mutex_unlock(&database->start_mutex);
    return status;
}

struct engine_durability *engine_database_durability(const struct engine_database *database)
{
    return atomic_load_explicit(&database->durability, memory_order_acquire);
}

uint64_t engine_database_generation(const struct engine_database *database)
{
    return atomic_load_explicit(&database->generation, memory_order_relaxed);
}

void engine_database_note_schema(struct engine_database *database)
{
    atomic_fetch_add_explicit(&database->generation, 1, memory_order_relaxed);
}

const char *engine_database_name(const struct engine_database *database)
{
    return database->name;
}

const char *engine_database_path(const struct engine_database *database)
{
    return database->path;
}

/* Removes a directory of files; one that is not there is fine. */
static sq_status remove_directory(const char *path, struct sq_error *err)
{
    int failure = 0;
    DIR *directory = opendir(path);
    if (directory == NULL)
        return errno == ENOENT ? SQ_OK : sq_fail_errno(err, errno, "cannot remove '%s'", path);
    for (const struct dirent *entry; failure == 0 && (entry = readdir(directory)) != NULL;) {
        bool is_file = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
        if (is_file && unlinkat(dirfd(directory), entry->d_name, 0) != 0 && errno != ENOENT)
            failure = errno;
    }
    closedir(directory);
    if (failure == 0 && rmdir(path) != 0 && errno != ENOENT)
        failure = errno;
    return failure == 0 ? SQ_OK : sq_fail_errno(err, failure, "cannot remove '%s'", path);
}

/* Removes the files that may lie beside a database file. A WAL left over from a dropped database must never be replayed into
 * a new one of the same name. */
static sq_status remove_files(struct engine_registry *registry, const char *name, struct sq_error *err)
{
    static const char *const suffixes[] = {"-wal", "-shm", "-journal"};
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 16];
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        make_path(registry, name, suffixes[i], path, sizeof(path));
        if (unlink(path) != 0 && errno != ENOENT)
            return sq_fail_errno(err, errno, "cannot remove '%s'", path);
    }
    make_origin_path(registry, name, path, sizeof(path));
    if (unlink(path) != 0 && errno != ENOENT)
        return sq_fail_errno(err, errno, "cannot remove '%s'", path);
    return SQ_OK;
}

/* The same, and its log. */
static sq_status remove_companions(struct engine_registry *registry, const char *name, struct sq_error *err)
{
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 16];
    SQ_TRY(remove_files(registry, name, err));
    make_path(registry, name, log_suffix, path, sizeof(path));
    return remove_directory(path, err);
}

/* Makes the file with a real header in WAL mode, so that the database exists as soon as it has a name. */
static sq_status initialise_file(const char *path, struct sq_error *err)
{
    sqlite3 *db = NULL;
    int result = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_exec(db, "PRAGMA synchronous=FULL; PRAGMA journal_mode=WAL; PRAGMA user_version=0;", NULL,
                              NULL, NULL);
    sq_status status = result == SQLITE_OK ? SQ_OK : engine_fail(err, db, result, NULL);
    sqlite3_close(db);
    return status;
}

/* Writes down for whom the database is made that is about to be: before it is there, so that it is never without. */
static sq_status write_origin(struct engine_registry *registry, const char *name, const char *origin,
                              struct sq_error *err)
{
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 16];
    make_origin_path(registry, name, path, sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot write '%s'", path);
    size_t length = strlen(origin);
    bool is_written = write(fd, origin, length) == (ssize_t)length && fsync(fd) == 0;
    int reason = errno;
    close(fd);
    return is_written ? SQ_OK : sq_fail_errno(err, reason, "cannot write '%s'", path);
}

/* "" if there is none, or none that could be read. */
void database_read_origin(struct engine_registry *registry, const char *name, char origin[ENGINE_ORIGIN_MAX + 1])
{
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 16];
    make_origin_path(registry, name, path, sizeof(path));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, origin, ENGINE_ORIGIN_MAX) : 0;
    origin[got > 0 ? got : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

sq_status database_create_locked(struct engine_registry *registry, const char *name, const char *origin,
                                 struct sq_error *err)
{
    if (engine_database_exists(registry, name))
        return sq_fail_sql(err, SQ_EXISTS, "42P04", "database \"%s\" already exists", name);
    SQ_TRY(remove_companions(registry, name, err));
    if (origin[0] != '\0')
        SQ_TRY(write_origin(registry, name, origin, err));
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 8];
    make_path(registry, name, "", path, sizeof(path));
    sq_status status = initialise_file(path, err);
    if (status == SQ_OK)
        status = sync_directory(registry, err);
    if (status != SQ_OK) {
        unlink(path);
        return status;
    }
    tell_watch(registry, name, ENGINE_DATABASE_MADE);
    return SQ_OK;
}

sq_status engine_database_create(struct engine_registry *registry, const char *name, struct sq_error *err)
{
    SQ_TRY(database_check_name(name, err));
    pthread_mutex_lock(&registry->mutex);
    sq_status status = database_create_locked(registry, name, "", err);
    pthread_mutex_unlock(&registry->mutex);
    return status;
}

/* That nobody uses `name`, under the mutex; closes it if it is warm. */
static sq_status check_unused(struct engine_registry *registry, const char *name, struct sq_error *err)
{
    if (!engine_database_exists(registry, name))
        return fail_not_found(name, err);
    struct engine_database *database = sq_map_get(&registry->open, name, strlen(name));
    if (database == NULL)
        return SQ_OK;
    if (database->ref_count == 0) { /* warm */
        close_locked(registry, database);
        return SQ_OK;
    }
    tell_watch(registry, name, ENGINE_DATABASE_WANTED_UNUSED);
    sq_status status = sq_fail_sql(err, SQ_BUSY, "55006", "database \"%s\" is being accessed by other users", name);
    sq_error_set_detail(err, "There are %zu other sessions using the database.", database->ref_count);
    return status;
}

static sq_status drop_locked(struct engine_registry *registry, const char *name, struct sq_error *err)
{
    SQ_TRY(check_unused(registry, name, err));
    if (strcmp(name, registry->default_name) == 0)
        return sq_fail_sql(err, SQ_INVALID, "42501", "cannot drop the default database \"%s\"", name);
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 8];
    make_path(registry, name, "", path, sizeof(path));
    /* The database file first: what is left after a crash is then a leftover that create removes, never a database
     * that has lost its WAL and with it acknowledged commits. */
    if (unlink(path) != 0)
        return sq_fail_errno(err, errno, "cannot remove '%s'", path);
    tell_watch(registry, name, ENGINE_DATABASE_GONE);
    SQ_TRY(sync_directory(registry, err));
    SQ_TRY(remove_companions(registry, name, err));
    return SQ_OK;
}

sq_status engine_database_drop(struct engine_registry *registry, const char *name, struct sq_error *err)
{
    pthread_mutex_lock(&registry->mutex);
    sq_status status = drop_locked(registry, name, err);
    pthread_mutex_unlock(&registry->mutex);
    return status;
}

/* Moves the content of the WAL into the database file, so that the file alone is the database. */
static sq_status fold_wal(const char *path, struct sq_error *err)
{
    sqlite3 *db = NULL;
    /* A log that was left behind by a failed sync is written anew before it is copied. */
    struct engine_durability *durability = NULL;
    SQ_TRY(engine_durability_open(path, err, &durability));
    engine_durability_close(durability);
    int result = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_exec(db, "PRAGMA synchronous=FULL; PRAGMA journal_mode=DELETE;", NULL, NULL, NULL);
    sq_status status = result == SQLITE_OK ? SQ_OK : engine_fail(err, db, result, NULL);
    sqlite3_close(db);
    return status;
}

sq_status database_rename_locked(struct engine_registry *registry, const char *name, const char *new_name,
                                 struct sq_error *err)
{
    SQ_TRY(check_unused(registry, name, err));
    if (strcmp(name, registry->default_name) == 0)
        return sq_fail_sql(err, SQ_INVALID, "42501", "cannot rename the default database \"%s\"", name);
    if (engine_database_exists(registry, new_name))
        return sq_fail_sql(err, SQ_EXISTS, "42P04", "database \"%s\" already exists", new_name);
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 8];
    char new_path[sizeof(path)];
    make_path(registry, name, "", path, sizeof(path));
    make_path(registry, new_name, "", new_path, sizeof(new_path));
    SQ_TRY(fold_wal(path, err));
    SQ_TRY(remove_companions(registry, new_name, err));
    if (rename(path, new_path) != 0)
        return sq_fail_errno(err, errno, "cannot rename '%s' to '%s'", path, new_path);
    tell_watch(registry, name, ENGINE_DATABASE_GONE);
    tell_watch(registry, new_name, ENGINE_DATABASE_MADE);
    make_path(registry, name, log_suffix, path, sizeof(path));
    make_path(registry, new_name, log_suffix, new_path, sizeof(new_path));
    if (rename(path, new_path) != 0 && errno != ENOENT)
        return sq_fail_errno(err, errno, "cannot rename '%s' to '%s'", path, new_path);
    make_origin_path(registry, name, path, sizeof(path));
    make_origin_path(registry, new_name, new_path, sizeof(new_path));
    if (rename(path, new_path) != 0 && errno != ENOENT)
        return sq_fail_errno(err, errno, "cannot rename '%s' to '%s'", path, new_path);
    return sync_directory(registry, err);
}

sq_status engine_database_rename(struct engine_registry *registry, const char *name, const char *new_name,
                                 struct sq_error *err)
{
    SQ_TRY(database_check_name(new_name, err));
    pthread_mutex_lock(&registry->mutex);
    sq_status status = database_rename_locked(registry, name, new_name, err);
    pthread_mutex_unlock(&registry->mutex);
    return status;
}

/* --- Files that come and go as they are ------------------------------------------------------------------------------ */

/* Moves the file of an unused database to `aside`, with what is in its WAL, or removes it. */
static sq_status put_aside(struct engine_registry *registry, const char *name, const char *aside, struct sq_error *err)
{
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 8];
    SQ_TRY(check_unused(registry, name, err));
    make_path(registry, name, "", path, sizeof(path));
    if (aside != NULL)
        SQ_TRY(fold_wal(path, err));
    if ((aside != NULL ? rename(path, aside) : unlink(path)) != 0)
        return sq_fail_errno(err, errno, "cannot remove '%s'", path);
    tell_watch(registry, name, ENGINE_DATABASE_GONE);
    return sync_directory(registry, err);
}

sq_status engine_database_remove(struct engine_registry *registry, const char *name, const char *aside,
                                 struct sq_error *err)
{
    SQ_TRY(database_check_name(name, err));
    pthread_mutex_lock(&registry->mutex);
    sq_status status = engine_database_exists(registry, name) ? put_aside(registry, name, aside, err) : SQ_OK;
    if (status == SQ_OK)
        status = remove_companions(registry, name, err);
    pthread_mutex_unlock(&registry->mutex);
    return status;
}

sq_status engine_database_install(struct engine_registry *registry, const char *name, const char *file,
                                  const char *aside, struct sq_error *err)
{
    char path[ENGINE_PATH_MAX + ENGINE_DATABASE_NAME_MAX + 8];
    SQ_TRY(database_check_name(name, err));
    make_path(registry, name, "", path, sizeof(path));
    pthread_mutex_lock(&registry->mutex);
    sq_status status = engine_database_exists(registry, name) ? put_aside(registry, name, aside, err) : SQ_OK;
    if (status == SQ_OK)
        status = remove_files(registry, name, err);
    if (status == SQ_OK && rename(file, path) != 0)
        status = sq_fail_errno(err, errno, "cannot rename '%s' to '%s'", file, path);
    if (status == SQ_OK)
        tell_watch(registry, name, ENGINE_DATABASE_MADE);
    if (status == SQ_OK)
        status = sync_directory(registry, err);
    pthread_mutex_unlock(&registry->mutex);
    return status;
}

/* The database's name if the directory entry is one. */
static bool name_of_entry(const struct dirent *entry, char name[ENGINE_DATABASE_NAME_MAX + 1])
{
    size_t length = strlen(entry->d_name);
    size_t suffix_length = strlen(database_suffix);
    if (length <= suffix_length || length - suffix_length > ENGINE_DATABASE_NAME_MAX ||
        strcmp(entry->d_name + length - suffix_length, database_suffix) != 0)
        return false;
    memcpy(name, entry->d_name, length - suffix_length);
    name[length - suffix_length] = '\0';
    return engine_database_name_is_valid(name);
}

sq_status engine_registry_list(struct engine_registry *registry, struct sq_error *err, void *context,
                               void (*each_cb)(void *context, const char *name, int64_t bytes))
{
    struct dirent **entries = NULL;
    int entry_count = scandir(registry->data_dir, &entries, NULL, alphasort);
    if (entry_count < 0)
        return sq_fail_errno(err, errno, "cannot read data directory '%s'", registry->data_dir);
    for (int i = 0; i < entry_count; i++) {
        char name[ENGINE_DATABASE_NAME_MAX + 1];
        struct stat info;
        if (name_of_entry(entries[i], name) && fstatat(registry->dir_fd, entries[i]->d_name, &info, 0) == 0 &&
            S_ISREG(info.st_mode))
            each_cb(context, name, (int64_t)info.st_size);
        free(entries[i]);
    }
    free(entries);
    return SQ_OK;
}
