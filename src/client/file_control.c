/* client/file_control.c: sqlite3_file_control() (https://sqlite.org/c3ref/c_fcntl_begin_atomic_write.html).
 *
 * A remote database has no file here, so what asks for one is refused. What is advice to the file, or a setting of it, is
 * taken as SQLite's own "unix" VFS takes it, and has no effect: how files are kept is the server's affair. Applications go
 * by the name of the VFS to see what system they are on, so it is the real default's. */
#include <string.h>

#include "client/databases.h"
#include "client/remote_api.h"

/* A number of the kind that sqlite3_file_control() gives through its pointer. */
static int data_version(struct client_remote *remote, const char *schema, unsigned *ret_version)
{
    native_put_text(client_request_begin(remote, NATIVE_DATA_VERSION), client_databases_schema(remote, schema));
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    if (code == SQLITE_OK)
        *ret_version = pgwire_get_u32(&body);
    return code;
}

/* *value negative: ask; else set. */
static void switch_set(bool *setting, int *value)
{
    if (*value < 0)
        *value = *setting;
    else
        *setting = *value != 0;
}

/* What the "unix" VFS would do; SQLITE_NOTFOUND: it does not know the operation. The error state stays. */
static int control(struct client_remote *remote, int operation, void *argument)
{
    const sqlite3_vfs *vfs;
    switch (operation) {
    case SQLITE_FCNTL_VFSNAME:
        vfs = client_real.sqlite3_vfs_find(NULL);
        *(char **)argument = client_real.sqlite3_mprintf("%s", vfs != NULL ? vfs->zName : "");
        return SQLITE_OK;
    case SQLITE_FCNTL_PERSIST_WAL:
        switch_set(&remote->has_persistent_wal, argument);
        return SQLITE_OK;
    case SQLITE_FCNTL_POWERSAFE_OVERWRITE:
        switch_set(&remote->has_powersafe_overwrite, argument);
        return SQLITE_OK;
    case SQLITE_FCNTL_LAST_ERRNO:
    case SQLITE_FCNTL_HAS_MOVED:
    case SQLITE_FCNTL_EXTERNAL_READER:
    case SQLITE_FCNTL_RESERVE_BYTES:
        *(int *)argument = 0;
        return SQLITE_OK;
    case SQLITE_FCNTL_MMAP_SIZE:
        *(sqlite3_int64 *)argument = 0; /* nothing is mapped in this process */
        return SQLITE_OK;
    case SQLITE_FCNTL_CHUNK_SIZE:
    case SQLITE_FCNTL_SIZE_HINT:
    case SQLITE_FCNTL_RESET_CACHE:
        return SQLITE_OK;
    case SQLITE_FCNTL_TEMPFILENAME:
        *(char **)argument = NULL;
        return SQLITE_NOTFOUND;
    default:
        return SQLITE_NOTFOUND;
    }
}

int client_remote_sqlite3_file_control(sqlite3 *db, const char *schema, int operation, void *argument)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    int code;
    switch (operation) {
    case SQLITE_FCNTL_DATA_VERSION:
        return client_remote_leave(remote, data_version(remote, schema, argument));
    case SQLITE_FCNTL_FILE_POINTER:
    case SQLITE_FCNTL_VFS_POINTER:
    case SQLITE_FCNTL_JOURNAL_POINTER:
        code = client_error_set(remote, SQLITE_ERROR, "a remote database has no file and no VFS in this process");
        return client_remote_leave(remote, code);
    default:
        code = client_databases_has(remote, schema) ? control(remote, operation, argument) : SQLITE_ERROR;
        client_remote_leave_quietly(remote);
        return code;
    }
}
