/* client/open.c: sqlite3_open(), sqlite3_open_v2(), sqlite3_open16() and sqlite3_close(): where local and remote part.
 *
 * A name that means a remote database (naming.h) is never opened as a local file instead: what goes wrong is
 * SQLITE_CANTOPEN, and a message that says why. */
#include "client/open.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/attach.h"
#include "client/auto_extension.h"
#include "client/calls.h"
#include "client/connect.h"
#include "client/import.h"
#include "client/remote_api.h"
#include "client/stub.h"
#include "client/unopened.h"
#include "client/utf16.h"

enum { MESSAGE_BYTES_MAX = 2048, URL_BYTES_MAX = 512, OPTIONS_BYTES_MAX = 96 };

static const char cannot_open[] = "unable to open database file"; /* SQLite's own words */

/* The answer of a failed open: a connection that knows why. */
static int open_failed(int code, int system_errno, const char *message, sqlite3 **ret_db)
{
    client_real.sqlite3_log(code, "%s", message);
    if (client_unopened_new(code, system_errno, message, ret_db) == SQ_OK)
        return code;
    *ret_db = NULL;
    return SQLITE_NOMEM;
}

/* --- Files that stand for databases --- */

/* The URL to use for a stub's: SQLD_URL where it is the same but for a password. */
static const char *stub_login(const struct client_naming *naming, const char *url)
{
    char *plain = naming->url != NULL ? client_stub_url(naming->url) : NULL;
    bool is_same = plain != NULL && strcmp(plain, url) == 0;
    free(plain);
    return is_same ? naming->url : url;
}

/* Opens what a stub stands for, and makes stub and database where they are to be made. */
static sq_status open_file(const struct client_naming *naming, const struct client_name *name, int flags,
                           struct sq_error *err, struct client_remote **ret_remote)
{
    bool is_mapped = name->has_file && !name->is_empty && name->place == CLIENT_REMOTE_MAPPED;
    if (is_mapped || (naming->has_import && client_import_was_begun(name)))
        SQ_TRY(client_import(naming, name, err));
    /* SQLite makes a database of an empty file even without SQLITE_OPEN_CREATE. */
    bool may_make = (flags & SQLITE_OPEN_CREATE) != 0 || name->is_empty;
    struct client_stub stub;
    SQ_TRY(client_stub_open(name->path, may_make ? naming->url : NULL, err, &stub));
    char options[OPTIONS_BYTES_MAX], origin[CLIENT_ORIGIN_BYTES];
    client_stub_origin(name->path, origin);
    (void)snprintf(options, sizeof(options), naming->has_fresh ? "fresh" : "create origin=%s", origin);
    const struct client_connect what = {
        .url = stub_login(naming, stub.url),
        .database = stub.database != NULL ? stub.database : name->database,
        .filename = name->path,
        .flags = flags,
        .options = stub.database != NULL ? "" : options,
    };
    struct client_remote *remote = NULL;
    sq_status status = client_remote_new(&what, err, &remote);
    if (status == SQ_OK && stub.database == NULL)
        status = client_stub_finish(&stub, remote->database, err);
    client_stub_done(&stub);
    if (status != SQ_OK) {
        client_remote_free(remote);
        return status;
    }
    *ret_remote = remote;
    return SQ_OK;
}

sq_status client_open_name(const struct client_naming *naming, const struct client_name *name, int flags,
                           struct sq_error *err, struct client_remote **ret_remote)
{
    if (name->mode != 0)
        flags = (flags & ~(SQLITE_OPEN_READONLY | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | name->mode;
    if (name->place != CLIENT_REMOTE_URL && name->path != NULL)
        return open_file(naming, name, flags, err, ret_remote);
    bool is_url = name->place == CLIENT_REMOTE_URL;
    char *plain = is_url ? client_stub_url(name->url) : NULL;
    if (is_url && plain == NULL)
        return sq_fail(err, SQ_NOMEM, "a URL");
    char options[OPTIONS_BYTES_MAX] = "";
    if (name->share != NULL)
        (void)snprintf(options, sizeof(options), "share=%s", name->share);
    else if (is_url && (flags & SQLITE_OPEN_CREATE) != 0)
        (void)snprintf(options, sizeof(options), "create");
    const struct client_connect what = {
        .url = is_url ? name->url : naming->url,
        .database = name->database,
        .filename = is_url ? plain : "",
        /* mode=memory takes the place of the other modes: https://sqlite.org/uri.html */
        .flags = name->share != NULL ? flags & ~SQLITE_OPEN_READONLY : flags,
        .options = options,
    };
    sq_status status = client_remote_new(&what, err, ret_remote);
    free(plain);
    return status;
}

/* The connection has been opened: what sqlite3_auto_extension() knows is run on it. */
static int extensions_run(struct client_remote *remote, sqlite3 **ret_db)
{
    char *why = NULL;
    int code = client_auto_extension_run(remote->handle, &why);
    if (code == SQLITE_OK) {
        *ret_db = remote->handle;
        return SQLITE_OK;
    }
    char *message = client_real.sqlite3_mprintf("automatic extension loading failed: %s", why);
    (void)client_remote_sqlite3_close_v2(remote->handle);
    if (message != NULL)
        code = open_failed(code, 0, message, ret_db);
    else
        code = SQLITE_NOMEM;
    client_real.sqlite3_free(message);
    client_real.sqlite3_free(why);
    return code;
}

static int open_remote(const struct client_naming *naming, const char *filename, const struct client_name *name,
                       int flags, sqlite3 **ret_db)
{
    struct sq_error err;
    struct client_remote *remote;
    *ret_db = NULL;
    /* "exactly one of": https://sqlite.org/c3ref/open.html */
    if (((1 << (flags & 7)) & 0x46) == 0)
        return SQLITE_MISUSE;
    sq_error_clear(&err);
    sq_status status = client_open_name(naming, name, flags, &err, &remote);
    if (status == SQ_OK)
        return extensions_run(remote, ret_db);
    if (status == SQ_NOMEM)
        return SQLITE_NOMEM;
    if (status == SQ_NOT_FOUND && name->path != NULL && err.engine_code == 0 && !name->has_file) {
        client_real.sqlite3_log(SQLITE_CANTOPEN, "%s", err.text);
        return open_failed(SQLITE_CANTOPEN, err.system_errno, cannot_open, ret_db);
    }
    char url[URL_BYTES_MAX], message[MESSAGE_BYTES_MAX];
    const char *shown = name->place == CLIENT_REMOTE_URL ? client_url_show(name->url, url, sizeof(url)) : filename;
    (void)snprintf(message, sizeof(message), "unable to open '%s': %s", shown, err.text);
    return open_failed(SQLITE_CANTOPEN, err.system_errno, message, ret_db);
}

/* --- Opening --- */

/* Says once in a process that a file stays local, on stderr: hardly an application sets a log callback. */
static void warn_local(const char *filename, const struct client_name *name)
{
    static bool is_said; /* two threads may say it twice */
    client_real.sqlite3_log(SQLITE_WARNING, "'%s' has contents, so it stays local and is not database '%s' of SQLD_URL",
                            filename, name->database);
    if (!__atomic_exchange_n(&is_said, true, __ATOMIC_RELAXED))
        (void)fprintf(stderr,
                      "sqld: '%s' has contents, so it stays local and is not database '%s' of SQLD_URL "
                      "(not reported again by this process)\n",
                      filename, name->database);
}

/* Decides where `filename` is. True: it is local, go on. False: *ret_code and *ret_db are what open returns. */
static bool is_local(const char *filename, int flags, const char *vfs, sqlite3 **ret_db, int *ret_code)
{
    struct client_naming naming;
    struct client_name name;
    struct sq_error err;
    client_naming_read(&naming);
    if (naming.url != NULL)
        client_attach_guard();
    sq_error_clear(&err);
    sq_status status = client_naming_decide(&naming, filename, flags, vfs, &err, &name);
    if (status == SQ_NOMEM) {
        *ret_db = NULL;
        *ret_code = SQLITE_NOMEM;
        return false;
    }
    if (status != SQ_OK) {
        char message[MESSAGE_BYTES_MAX];
        (void)snprintf(message, sizeof(message), "unable to open '%s': %s", filename, err.text);
        *ret_code =
            open_failed(SQLITE_CANTOPEN, err.system_errno, status == SQ_NOT_FOUND ? cannot_open : message, ret_db);
        return false;
    }
    bool local = name.place == CLIENT_LOCAL || name.place == CLIENT_LOCAL_THOUGH_MAPPED;
    if (name.place == CLIENT_LOCAL_THOUGH_MAPPED)
        warn_local(filename, &name);
    if (!local)
        *ret_code = open_remote(&naming, filename, &name, flags, ret_db);
    client_name_done(&name);
    return local;
}

int sqlite3_open_v2(const char *filename, sqlite3 **ret_db, int flags, const char *vfs)
{
    int code;
    if (ret_db != NULL && !is_local(filename, flags, vfs, ret_db, &code))
        return code;
    bool begun = client_attach_open_begin();
    code = client_real.sqlite3_open_v2(filename, ret_db, flags, vfs);
    client_attach_open_end(begun);
    return code;
}

int sqlite3_open(const char *filename, sqlite3 **ret_db)
{
    int code;
    if (ret_db != NULL && !is_local(filename, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL, ret_db, &code))
        return code;
    bool begun = client_attach_open_begin();
    code = client_real.sqlite3_open(filename, ret_db);
    client_attach_open_end(begun);
    return code;
}

int sqlite3_open16(const void *filename, sqlite3 **ret_db)
{
    int code;
    char *name = filename != NULL ? client_utf16_to_utf8(filename) : NULL;
    if (filename != NULL && name == NULL) {
        if (ret_db != NULL)
            *ret_db = NULL;
        return SQLITE_NOMEM;
    }
    bool local = ret_db == NULL || is_local(name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL, ret_db, &code);
    free(name);
    if (!local)
        return code;
    bool begun = client_attach_open_begin();
    code = client_real.sqlite3_open16(filename, ret_db);
    client_attach_open_end(begun);
    return code;
}

/* --- Closing --- */

static bool is_in_use(const struct client_remote *remote)
{
    return !sq_list_is_empty(&remote->statements) || remote->guest_count > 0;
}

bool client_remote_reap(struct client_remote *remote)
{
    client_real.sqlite3_mutex_enter(remote->mutex);
    bool is_over = remote->is_closed && !is_in_use(remote) && remote->call_depth == 0;
    client_real.sqlite3_mutex_leave(remote->mutex);
    if (is_over)
        client_remote_free(remote);
    return is_over;
}

/* A forked child gives back what it has of its parent's connection, which goes on there. */
static int close_in_child(sqlite3 *db)
{
    struct client_remote *remote = client_remote_of(db);
    if (remote == NULL || !sq_list_is_empty(&remote->statements))
        return SQLITE_MISUSE;
    client_remote_free(remote);
    return SQLITE_OK;
}

int client_remote_sqlite3_close(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return close_in_child(db);
    client_calls_trace_close(remote);
    client_tables_disconnect(remote);
    if (is_in_use(remote) || remote->call_depth > 0)
        return client_remote_leave(
            remote, client_error_set(remote, SQLITE_BUSY,
                                     "unable to close due to unfinalized statements or unfinished backups"));
    client_remote_leave_quietly(remote);
    client_remote_free(remote);
    return SQLITE_OK;
}

int client_remote_sqlite3_close_v2(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return close_in_child(db);
    client_calls_trace_close(remote);
    client_tables_disconnect(remote);
    remote->is_closed = true;
    client_remote_leave_quietly(remote);
    (void)client_remote_reap(remote);
    return SQLITE_OK;
}
