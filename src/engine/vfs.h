/* engine/vfs.h: a thin layer of ours over SQLite's VFS (sqlite.org/vfs.html), for database files in WAL mode that many
 * connections of one process use. It changes nothing that another process could see, but who asks the kernel:
 *
 *   - read locks of the wal-index are counted in the process: taking and giving one back is an atomic instruction instead
 *     of two fcntl() calls. The kernel's lock, one for all, stays until somebody wants it exclusively.
 *   - read marks of the wal-index, which say how far checkpoints may go, are raised every millisecond at most, and not by
 *     the first reader after each commit.
 *   - a database file is mapped once for all its connections. SQLite by itself maps it for each, and drops the map
 *     whenever another connection has committed.
 *
 * Threads: any. */
#ifndef SQ_ENGINE_VFS_H
#define SQ_ENGINE_VFS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* The name to open connections with. */
#define ENGINE_VFS_NAME "sqld"

/* Makes the VFS known to SQLite, over whatever its default is when a file is opened. The first `map_bytes` of a database
 * file are mapped; 0: none. Once. */
SQ_MUST_USE sq_status engine_vfs_register(int64_t map_bytes, struct sq_error *err);

/* Somebody who is asked before a checkpoint of a database file is made by any connection of this process. */
struct sqlite3_file;
struct engine_vfs_guard {
    /* The lock of checkpoints has been taken through `file`. False: it is given back, and the checkpoint ends with SQLITE_BUSY. */
    bool (*begin_cb)(struct engine_vfs_guard *guard, const struct sqlite3_file *file);
    /* Before the lock is given back. */
    void (*end_cb)(struct engine_vfs_guard *guard, const struct sqlite3_file *file);
};
/* The guard of the database file that `file` is open on, NULL: none. It outlives all who have the file open, or is taken back when no
 * checkpoint is made. */
void engine_vfs_set_guard(struct sqlite3_file *file, struct engine_vfs_guard *guard);

/* Gives the kernel's read locks back that nobody in this process uses, so that other processes can begin a log anew; and
 * the mapped pages of a file that nobody has read since the last time. For a look every now and then. */
void engine_vfs_release_idle(void);

/* For tests: the least time between two times that readers raise a mark, in microseconds. Any thread, any time. */
void engine_vfs_set_mark_pause(int64_t pause_us);

#endif
