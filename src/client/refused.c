/* client/refused.c: what a remote connection refuses: code and data that would have to live in the server's process, or
 * in two processes at once. Each says so in the connection's error; destructors are called as SQLite calls them when it
 * fails. docs/client-compatibility.md lists them. */
#include "client/remote.h"
#include "client/remote_api.h"

/* Records the error, and returns it as the application wants to see it. */
static int refuse(sqlite3 *db, const char *what)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    return client_remote_leave(remote,
                               client_error_set(remote, SQLITE_ERROR, "%s not possible on remote databases", what));
}

static int refuse_and_destroy(sqlite3 *db, const char *what, void *data, void (*destroy_cb)(void *))
{
    int code = refuse(db, what);
    if (destroy_cb != NULL)
        destroy_cb(data);
    return code;
}

/* --- Extensions --- */

/* To switch it off is no harm. */
int client_remote_sqlite3_enable_load_extension(sqlite3 *db, int on)
{
    return on != 0 ? refuse(db, "loading extensions is") : SQLITE_OK;
}

int client_remote_sqlite3_load_extension(sqlite3 *db, const char *file, const char *entry, char **ret_message)
{
    (void)file;
    (void)entry;
    int code = refuse(db, "loading extensions is");
    if (ret_message != NULL)
        *ret_message = client_real.sqlite3_mprintf("%s", client_remote_sqlite3_errmsg(db));
    return code;
}

/* --- R*Tree --- */

int client_remote_sqlite3_rtree_geometry_callback(sqlite3 *db, const char *name,
                                                  int (*callback)(sqlite3_rtree_geometry *, int, sqlite3_rtree_dbl *,
                                                                  int *),
                                                  void *data)
{
    (void)name;
    (void)callback;
    (void)data;
    return refuse(db, "callbacks of R*Tree queries are");
}

int client_remote_sqlite3_rtree_query_callback(sqlite3 *db, const char *name,
                                               int (*callback)(sqlite3_rtree_query_info *), void *data,
                                               void (*destroy_cb)(void *))
{
    (void)name;
    (void)callback;
    return refuse_and_destroy(db, "callbacks of R*Tree queries are", data, destroy_cb);
}

/* --- Vacuuming --- */

/* To have no callback is what it is. */
int client_remote_sqlite3_autovacuum_pages(sqlite3 *db,
                                           unsigned int (*callback)(void *, const char *, unsigned int, unsigned int,
                                                                    unsigned int),
                                           void *data, void (*destroy_cb)(void *))
{
    if (callback == NULL) {
        if (destroy_cb != NULL)
            destroy_cb(data);
        return SQLITE_OK;
    }
    return refuse_and_destroy(db, "a callback for auto-vacuum is", data, destroy_cb);
}

/* --- The session extension --- */

static const char changesets[] = "applying changesets is";

int client_remote_sqlite3session_create(sqlite3 *db, const char *schema, sqlite3_session **ret_session)
{
    (void)schema;
    *ret_session = NULL;
    return refuse(db, "recording changes in sessions is");
}

int client_remote_sqlite3changeset_apply(sqlite3 *db, int bytes, void *changeset,
                                         int (*filter_cb)(void *, const char *),
                                         int (*conflict_cb)(void *, int, sqlite3_changeset_iter *), void *data)
{
    (void)bytes;
    (void)changeset;
    (void)filter_cb;
    (void)conflict_cb;
    (void)data;
    return refuse(db, changesets);
}

int client_remote_sqlite3changeset_apply_strm(sqlite3 *db, int (*input_cb)(void *, void *, int *), void *input,
                                              int (*filter_cb)(void *, const char *),
                                              int (*conflict_cb)(void *, int, sqlite3_changeset_iter *), void *data)
{
    (void)input_cb;
    (void)input;
    (void)filter_cb;
    (void)conflict_cb;
    (void)data;
    return refuse(db, changesets);
}

/* The two that give a rebase buffer back, which is empty then. */
static int refuse_apply_v2(sqlite3 *db, void **ret_rebase, int *ret_rebase_bytes)
{
    if (ret_rebase != NULL)
        *ret_rebase = NULL;
    if (ret_rebase_bytes != NULL)
        *ret_rebase_bytes = 0;
    return refuse(db, changesets);
}

int client_remote_sqlite3changeset_apply_v2(sqlite3 *db, int bytes, void *changeset,
                                            int (*filter_cb)(void *, const char *),
                                            int (*conflict_cb)(void *, int, sqlite3_changeset_iter *), void *data,
                                            void **ret_rebase, int *ret_rebase_bytes, int flags)
{
    (void)bytes;
    (void)changeset;
    (void)filter_cb;
    (void)conflict_cb;
    (void)data;
    (void)flags;
    return refuse_apply_v2(db, ret_rebase, ret_rebase_bytes);
}

int client_remote_sqlite3changeset_apply_v2_strm(sqlite3 *db, int (*input_cb)(void *, void *, int *), void *input,
                                                 int (*filter_cb)(void *, const char *),
                                                 int (*conflict_cb)(void *, int, sqlite3_changeset_iter *), void *data,
                                                 void **ret_rebase, int *ret_rebase_bytes, int flags)
{
    (void)input_cb;
    (void)input;
    (void)filter_cb;
    (void)conflict_cb;
    (void)data;
    (void)flags;
    return refuse_apply_v2(db, ret_rebase, ret_rebase_bytes);
}
