/* engine/vfs_internal.h: what vfs.c and vfs_wal.c share. */
#ifndef SQ_ENGINE_VFS_INTERNAL_H
#define SQ_ENGINE_VFS_INTERNAL_H

#include <sqlite3.h>

/* Opens a WAL on the VFS below, behind a handle of ours (vfs_wal.c): `base` has room for vfs_wal_handle_bytes(). */
int vfs_wal_open(sqlite3_vfs *below, const char *name, sqlite3_file *base, int flags, int *ret_flags);
int vfs_wal_handle_bytes(void);

#endif
