/* client/error.c: the error state of a remote connection, as SQLite keeps it (https://sqlite.org/c3ref/errcode.html). */
#include <stdarg.h>
#include <stdlib.h>

#include "client/remote.h"
#include "client/remote_api.h"
#include "client/utf16.h"

static void clear(struct client_remote *remote, int code)
{
    client_real.sqlite3_free(remote->error.message);
    free(remote->error.message16);
    remote->error = (struct client_error){.code = code, .offset = -1, .system_errno = remote->error.system_errno};
}

int client_error_set(struct client_remote *remote, int code, const char *format, ...)
{
    char *message = NULL;
    if (format != NULL) {
        /* Made first: an argument may be the old message. */
        va_list arguments;
        va_start(arguments, format);
        message = client_real.sqlite3_vmprintf(format, arguments);
        va_end(arguments);
    }
    clear(remote, code);
    remote->error.message = message;
    return code;
}

int client_error_of_status(struct client_remote *remote, const struct sq_error *err)
{
    switch (err->status) {
    case SQ_OK:
        return SQLITE_OK;
    case SQ_NOMEM:
        return client_error_set(remote, SQLITE_NOMEM, NULL);
    case SQ_LIMIT:
        return client_error_set(remote, SQLITE_TOOBIG, NULL);
    case SQ_CLOSED:
    case SQ_PROTOCOL:
    case SQ_IO:
        return client_error_set(remote, SQLITE_IOERR_SQLD_LOST, "%s", err->text);
    case SQ_CANCELED:
        return client_error_set(remote, SQLITE_INTERRUPT, NULL);
    case SQ_INVALID:
    case SQ_SQL:
    case SQ_NOT_FOUND:
    case SQ_EXISTS:
    case SQ_BUSY:
    case SQ_CORRUPT:
        break;
    }
    return client_error_set(remote, SQLITE_ERROR, "%s", err->text);
}

struct client_error client_error_take(struct client_remote *remote)
{
    struct client_error error = remote->error;
    remote->error = (struct client_error){.offset = -1};
    return error;
}

void client_error_put_back(struct client_remote *remote, struct client_error error)
{
    clear(remote, SQLITE_OK);
    remote->error = error;
}

/* --- Entering and leaving --- */

struct client_remote *client_remote_enter(sqlite3 *db)
{
    struct client_remote *remote = client_remote_of(db);
    if (remote == NULL || !client_remote_is_of_this_process(remote))
        return NULL;
    client_real.sqlite3_mutex_enter(remote->mutex);
    return remote;
}

void client_remote_note(struct client_remote *remote, int code)
{
    if (client_code_is_error(code) && code == remote->error.code)
        return;
    if (SQ_LIKELY(remote->error.message == NULL && remote->error.message16 == NULL)) {
        remote->error.code = code;
        remote->error.offset = -1;
    } else {
        clear(remote, code);
    }
}

int client_remote_leave(struct client_remote *remote, int code)
{
    client_remote_note(remote, code);
    int shown = client_remote_shown(remote, code);
    client_real.sqlite3_mutex_leave(remote->mutex);
    return shown;
}

void client_remote_leave_quietly(struct client_remote *remote)
{
    client_real.sqlite3_mutex_leave(remote->mutex);
}

/* --- The interface --- */

int client_remote_sqlite3_errcode(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    int code = client_remote_shown(remote, remote->error.code);
    client_remote_leave_quietly(remote);
    return code;
}

int client_remote_sqlite3_extended_errcode(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    int code = remote->error.code;
    client_remote_leave_quietly(remote);
    return code;
}

static const char *message_of(const struct client_remote *remote)
{
    return remote->error.message != NULL ? remote->error.message : client_real.sqlite3_errstr(remote->error.code);
}

const char *client_remote_sqlite3_errmsg(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return client_real.sqlite3_errstr(SQLITE_MISUSE);
    const char *message = message_of(remote);
    client_remote_leave_quietly(remote);
    return message;
}

const void *client_remote_sqlite3_errmsg16(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return u"bad parameter or other API misuse";
    if (remote->error.message16 == NULL)
        remote->error.message16 = client_utf16_from_utf8(message_of(remote));
    const void *message = remote->error.message16 != NULL ? (const void *)remote->error.message16 : u"out of memory";
    client_remote_leave_quietly(remote);
    return message;
}

int client_remote_sqlite3_error_offset(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return -1;
    int offset = client_code_is_error(remote->error.code) ? remote->error.offset : -1;
    client_remote_leave_quietly(remote);
    return offset;
}

int client_remote_sqlite3_system_errno(sqlite3 *db)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return 0;
    int number = remote->error.system_errno;
    client_remote_leave_quietly(remote);
    return number;
}

int client_remote_sqlite3_extended_result_codes(sqlite3 *db, int on)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    remote->is_extended = on != 0;
    client_remote_leave_quietly(remote);
    return SQLITE_OK;
}
