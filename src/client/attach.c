/* client/attach.c: the guard of ATTACH and VACUUM INTO. See attach.h.
 *
 * Other VFSes of the real library (unix-none, unix-dotfile, …) are used only by those who name them, and what names a VFS
 * is local (naming.h, rule 2). An application's own VFS decides for itself; most hand on to "unix". */
#include "client/attach.h"

#include <pthread.h>
#include <stddef.h>

#include "client/api.h"
#include "client/naming.h"

static int (*unix_open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);
static _Thread_local bool is_opening;

static bool is_remote(const char *filename, int flags)
{
    if (is_opening || (flags & SQLITE_OPEN_MAIN_DB) == 0 || filename == NULL ||
        client_real.sqlite3_uri_parameter(filename, "vfs") != NULL)
        return false;
    struct client_naming naming;
    struct client_name name;
    struct sq_error err;
    client_naming_read(&naming);
    sq_error_clear(&err);
    if (client_naming_decide(&naming, filename, flags, NULL, &err, &name) != SQ_OK) {
        client_real.sqlite3_log(SQLITE_CANTOPEN, "unable to open '%s': %s", filename, err.text);
        return true;
    }
    bool remote = name.place != CLIENT_LOCAL && name.place != CLIENT_LOCAL_THOUGH_MAPPED;
    if (remote)
        client_real.sqlite3_log(SQLITE_CANTOPEN, "'%s' is a remote database, which a local connection cannot attach",
                                filename);
    client_name_done(&name);
    return remote;
}

static int guarded_open(sqlite3_vfs *vfs, const char *filename, sqlite3_file *file, int flags, int *ret_flags)
{
    if (is_remote(filename, flags)) {
        file->pMethods = NULL; /* nothing to close */
        return SQLITE_CANTOPEN;
    }
    return unix_open(vfs, filename, file, flags, ret_flags);
}

static void install(void)
{
    sqlite3_vfs *vfs = client_real.sqlite3_vfs_find("unix");
    if (vfs == NULL) /* no memory, or a library built without files: then there are none to guard */
        return;
    unix_open = vfs->xOpen;
    /* Other threads may be about to call it: they find the one or the other, and unix_open set. */
    __atomic_store_n(&vfs->xOpen, guarded_open, __ATOMIC_RELEASE);
}

void client_attach_guard(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, install);
}

bool client_attach_open_begin(void)
{
    bool before = is_opening;
    is_opening = true;
    return before;
}

void client_attach_open_end(bool begun)
{
    is_opening = begun;
}
