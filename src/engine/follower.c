/* engine/follower.c: the gate between a database's WAL and its checkpoints, as long as somebody follows the WAL.
 *
 * Checkpoints are made on any connection of this process: the copier's, or a session's whose client asks for one. All take
 * the wal-index's checkpoint lock through our VFS, which asks the guard (vfs.h) that is installed here. Only when the WAL
 * is to be begun anew, which the copier alone does and the holder's read transaction would prevent, the gate is passed
 * before the lock is taken, while no writer of this process is at work.
 *
 * Folding, at the end. To know that a database file was left as the follower knows it, the keeper, by then the only
 * connection of this process, takes SQLite's exclusive lock on the file: nobody else has it open. If the WAL ends where
 * the follower left it, it is copied, and the file gets its mark before anybody else can come.
 *
 *     sqlite3_close() does the same (sqlite.org/wal.html, "The WAL File"), but does not say whether it has.
 *
 * Invariants: (1) the follower is asked by one at a time; (2) `is_held` only with a holder. */
#include "engine/follower.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "engine/durability_internal.h"
#include "engine/error.h"

/* --- The holder ---------------------------------------------------------------------------------------------------- */

static sq_status open_holder(struct engine_durability *durability, struct sq_error *err)
{
    if (durability->holder != NULL)
        return SQ_OK;
    return engine_follower_connect(durability, err, &durability->holder);
}

static sq_status hold(struct engine_durability *durability, struct sq_error *err)
{
    int result = sqlite3_exec(durability->holder, "BEGIN; SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
    if (result == SQLITE_OK) {
        durability->is_held = true;
        return SQ_OK;
    }
    sq_status status = engine_fail(err, durability->holder, result, NULL);
    if (sqlite3_get_autocommit(durability->holder) == 0)
        sqlite3_exec(durability->holder, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

static void let_go(struct engine_durability *durability)
{
    if (!durability->is_held)
        return;
    int result = sqlite3_exec(durability->holder, "ROLLBACK", NULL, NULL, NULL);
    sq_assert(result == SQLITE_OK); /* of a transaction that has only read */
    durability->is_held = false;
}

/* --- The gate ------------------------------------------------------------------------------------------------------ */

static bool is_all_copied(struct engine_durability *durability)
{
    struct engine_wal_fill fill = engine_durability_fill(durability);
    return fill.backfilled_count == fill.frame_count;
}

/* Under the gate's mutex, with a follower. */
static sq_status cover_all(struct engine_durability *durability, struct sq_error *err)
{
    engine_position position = engine_durability_published(durability);
    if (position != durability->covered) {
        SQ_TRY(durability_sync_here(durability, position, err));
        SQ_TRY(durability->follower->ops->cover_cb(durability->follower, position, true, err));
        durability->covered = position;
    }
    let_go(durability);
    return SQ_OK;
}

sq_status follower_cover(struct engine_durability *durability, struct sq_error *err)
{
    pthread_mutex_lock(&durability->gate_mutex);
    sq_status status = durability->follower != NULL ? cover_all(durability, err) : SQ_OK;
    pthread_mutex_unlock(&durability->gate_mutex);
    return status;
}

sq_status engine_durability_cover(struct engine_durability *durability, struct sq_error *err)
{
    return follower_cover(durability, err);
}

/* A checkpoint is about to copy what it can. */
static sq_status enter(struct engine_durability *durability, struct sq_error *err)
{
    if (durability->is_held) /* the last one has copied everything, and the follower could not sync */
        SQ_TRY(cover_all(durability, err));
    SQ_TRY(hold(durability, err));
    /* After the holder has its mark: what may be copied is up to here. */
    engine_position position = engine_durability_published(durability);
    sq_status status = durability_sync_here(durability, position, err);
    if (status == SQ_OK)
        status = durability->follower->ops->cover_cb(durability->follower, position, false, err);
    if (status != SQ_OK)
        let_go(durability);
    return status;
}

static bool on_checkpoint(struct engine_vfs_guard *guard, const struct sqlite3_file *file)
{
    struct engine_durability *durability = SQ_CONTAINER_OF(guard, struct engine_durability, guard);
    bool is_copier = file == durability->database;
    struct sq_error err;
    if (is_copier && durability->is_beginning_anew)
        return true;
    pthread_mutex_lock(&durability->gate_mutex);
    sq_status status = durability->follower != NULL ? enter(durability, &err) : SQ_OK;
    pthread_mutex_unlock(&durability->gate_mutex);
    if (status != SQ_OK && is_copier)
        durability->refusal = err;
    return status == SQ_OK;
}

static void on_checkpoint_end(struct engine_vfs_guard *guard, const struct sqlite3_file *file)
{
    struct engine_durability *durability = SQ_CONTAINER_OF(guard, struct engine_durability, guard);
    struct sq_error err;
    if (file == durability->database && durability->is_beginning_anew)
        return;
    pthread_mutex_lock(&durability->gate_mutex);
    sq_status status = SQ_OK;
    if (durability->follower != NULL && is_all_copied(durability))
        status = cover_all(durability, &err);
    if (status == SQ_OK) /* else the next checkpoint will tell */
        let_go(durability);
    pthread_mutex_unlock(&durability->gate_mutex);
}

/* --- Coming and going ---------------------------------------------------------------------------------------------- */

struct engine_follower *engine_durability_follower(struct engine_durability *durability)
{
    pthread_mutex_lock(&durability->mutex);
    struct engine_follower *follower = durability->follower;
    pthread_mutex_unlock(&durability->mutex);
    return follower;
}

/* Under the gate's mutex. */
static void exchange(struct engine_durability *durability, struct engine_follower *follower)
{
    pthread_mutex_lock(&durability->mutex);
    durability->follower = follower;
    if (follower != NULL)
        follower->ops->durable_cb(follower, durability->synced);
    pthread_mutex_unlock(&durability->mutex);
    durability->covered = UINT64_MAX;
}

sq_status engine_durability_set_follower(struct engine_durability *durability, struct engine_follower *follower,
                                         struct sq_error *err)
{
    pthread_mutex_lock(&durability->gate_mutex);
    struct engine_follower *former = durability->follower;
    sq_status status = follower != NULL ? open_holder(durability, err) : SQ_OK;
    if (status == SQ_OK) {
        exchange(durability, follower);
        let_go(durability);
        durability->guard = (struct engine_vfs_guard){on_checkpoint, on_checkpoint_end};
        engine_vfs_set_guard(durability->database, &durability->guard);
    }
    pthread_mutex_unlock(&durability->gate_mutex);
    if (status == SQ_OK && former != NULL) {
        former->ops->closing_cb(former);
        former->ops->closed_cb(former, NULL);
    }
    return status;
}

bool follower_leave(struct engine_durability *durability)
{
    struct sq_error err;
    struct engine_follower *follower = durability->follower;
    bool has_all = !engine_durability_is_failed(durability) && follower_cover(durability, &err) == SQ_OK;
    engine_position covered = durability->covered;
    pthread_mutex_lock(&durability->gate_mutex);
    let_go(durability);
    exchange(durability, NULL);
    durability->covered = covered;
    pthread_mutex_unlock(&durability->gate_mutex);
    engine_vfs_set_guard(durability->database, NULL);
    engine_follower_disconnect(durability->holder);
    durability->holder = NULL;
    follower->ops->closing_cb(follower);
    return has_all;
}

sq_status engine_follower_connect(struct engine_durability *durability, struct sq_error *err,
                                  struct sqlite3 **ret_connection)
{
    sqlite3 *connection = NULL;
    sq_status status = durability_connect(sqlite3_db_filename(durability->keeper, "main"), err, &connection);
    if (status == SQ_OK) {
        int result = sqlite3_exec(connection, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
        if (result != SQLITE_OK)
            status = engine_fail(err, connection, result, NULL);
    }
    if (status == SQ_OK)
        *ret_connection = connection;
    else
        engine_follower_disconnect(connection);
    return status;
}

void engine_follower_disconnect(struct sqlite3 *connection)
{
    int closed = sqlite3_close(connection);
    sq_assert(closed == SQLITE_OK);
}

sq_status engine_follower_sync(struct engine_durability *durability, engine_position position, struct sq_error *err)
{
    return durability_sync_here(durability, position, err);
}

/* --- The end ------------------------------------------------------------------------------------------------------- */

sq_status engine_file_mark_read(const char *path, struct sq_error *err, struct engine_file_mark *ret_mark)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return sq_fail_errno(err, errno, "cannot look at '%s'", path);
    *ret_mark = (struct engine_file_mark){.device = (uint64_t)info.st_dev,
                                          .inode = (uint64_t)info.st_ino,
                                          .bytes = (int64_t)info.st_size,
                                          .modified_ns =
                                              (int64_t)info.st_mtim.tv_sec * 1000 * SQ_US_PER_S + info.st_mtim.tv_nsec};
    return SQ_OK;
}

/* The kernel stamps files with a clock that ticks every few milliseconds: two writes may leave the same time. This one has
 * the nanoseconds of a finer clock. (utimensat(2) takes a path: no descriptor of ours is closed.) */
static bool stamp(const char *path, struct engine_file_mark *ret_mark)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
    struct sq_error err;
    clock_gettime(CLOCK_REALTIME, &times[1]);
    return utimensat(AT_FDCWD, path, times, 0) == 0 && engine_file_mark_read(path, &err, ret_mark) == SQ_OK;
}

bool follower_fold(struct engine_durability *durability, struct engine_file_mark *ret_mark)
{
    sqlite3_file *file = NULL;
    const char *path = sqlite3_db_filename(durability->keeper, "main");
    int has_moved = 1; /* another file has taken its place */
    if (engine_durability_is_failed(durability) ||
        sqlite3_file_control(durability->keeper, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
        file->pMethods->xLock(file, SQLITE_LOCK_EXCLUSIVE) != SQLITE_OK) {
        if (file != NULL) /* what it may have on the way to the exclusive one */
            file->pMethods->xUnlock(file, SQLITE_LOCK_SHARED);
        return false;
    }
    bool is_folded =
        engine_durability_published(durability) == durability->covered &&
        sqlite3_wal_checkpoint_v2(durability->keeper, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == SQLITE_OK &&
        is_all_copied(durability) && stamp(path, ret_mark) &&
        file->pMethods->xFileControl(file, SQLITE_FCNTL_HAS_MOVED, &has_moved) == SQLITE_OK && has_moved == 0;
    if (!is_folded)
        file->pMethods->xUnlock(file, SQLITE_LOCK_SHARED);
    return is_folded;
}
