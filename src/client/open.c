/* client/open.c: sqlite3_open(), sqlite3_open_v2(), sqlite3_open16() and sqlite3_backup_init(): where local and remote
 * part.
 *
 * This build has no remote databases yet: a name that means one (naming.h) fails with SQLITE_CANTOPEN and a message that
 * says so. It is never opened as a local file instead. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/api.h"
#include "client/attach.h"
#include "client/handle.h"
#include "client/naming.h"
#include "client/unopened.h"
#include "client/utf16.h"

enum { MESSAGE_BYTES_MAX = 2048, URL_BYTES_MAX = 512 };

/* The answer of a failed open: a connection that knows why. */
static int open_failed(int code, const char *message, sqlite3 **ret_db)
{
    client_real.sqlite3_log(code, "%s", message);
    if (client_unopened_new(code, message, ret_db) == SQ_OK)
        return code;
    *ret_db = NULL;
    return SQLITE_NOMEM;
}

static int open_remote(const struct client_naming *naming, const char *filename, const struct client_name *name,
                       sqlite3 **ret_db)
{
    char url[URL_BYTES_MAX], message[MESSAGE_BYTES_MAX];
    static const char why[] = "this build of sqld's libsqlite3 cannot connect to servers yet";
    if (name->place == CLIENT_REMOTE_URL)
        (void)snprintf(message, sizeof(message), "unable to open %s: %s", client_url_show(filename, url, sizeof(url)),
                       why);
    else if (name->place == CLIENT_REMOTE_STUB)
        (void)snprintf(message, sizeof(message), "unable to open '%s', which is the stub of a remote database: %s",
                       filename, why);
    else
        (void)snprintf(message, sizeof(message), "unable to open '%s', which is database '%s' of %s (SQLD_URL): %s",
                       filename, name->database, client_url_show(naming->url, url, sizeof(url)), why);
    return open_failed(SQLITE_CANTOPEN, message, ret_db);
}

/* Says once in a process that a file stays local, on stderr: hardly an application sets a log callback. */
static void warn_local(const char *filename, const struct client_name *name)
{
    static bool is_said; /* two threads may say it twice */
    client_real.sqlite3_log(SQLITE_WARNING, "'%s' has contents, so it stays local and is not database '%s' of SQLD_URL",
                            filename, name->database);
    if (!__atomic_exchange_n(&is_said, true, __ATOMIC_RELAXED))
        (void)fprintf(stderr,
                      "sqld: '%s' has contents, so it stays local and is not database '%s' of SQLD_URL; SQLD_IMPORT=1 "
                      "imports such files (not reported again by this process)\n",
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
        *ret_code = open_failed(SQLITE_CANTOPEN, message, ret_db);
        return false;
    }
    bool local = name.place == CLIENT_LOCAL || name.place == CLIENT_LOCAL_THOUGH_MAPPED;
    if (name.place == CLIENT_LOCAL_THOUGH_MAPPED)
        warn_local(filename, &name);
    if (!local)
        *ret_code = open_remote(&naming, filename, &name, ret_db);
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
