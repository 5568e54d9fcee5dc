/* client/unopened.c: a connection that could not be opened. See unopened.h. */
#include "client/unopened.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uchar.h>

#include "client/handle.h"
#include "client/utf16.h"

struct unopened {
    int code;
    int system_errno;
    char *message;       /* UTF-8 */
    uint16_t *message16; /* the same, native UTF-16 */
};

static void unopened_free(struct unopened *unopened)
{
    if (unopened == NULL)
        return;
    free(unopened->message);
    free(unopened->message16);
    free(unopened);
}
SQ_DEFINE_FREEP(struct unopened, unopened_free)

static struct unopened *unopened_of(sqlite3 *db)
{
    return client_handle_object(db, CLIENT_HANDLE_UNOPENED);
}

sq_status client_unopened_new(int code, int system_errno, const char *message, sqlite3 **ret_db)
{
    SQ_CLEANUP(unopened_freep) struct unopened *unopened = calloc(1, sizeof(*unopened));
    if (unopened == NULL)
        return SQ_NOMEM;
    unopened->code = code;
    unopened->system_errno = system_errno;
    unopened->message = strdup(message);
    unopened->message16 = client_utf16_from_utf8(message);
    if (unopened->message == NULL || unopened->message16 == NULL)
        return SQ_NOMEM;
    struct client_handle *handle;
    if (client_handle_new(CLIENT_HANDLE_UNOPENED, unopened, &handle) != SQ_OK)
        return SQ_NOMEM;
    (void)SQ_STEAL(unopened);
    *ret_db = (sqlite3 *)(void *)handle;
    return SQ_OK;
}

int client_unopened_close(sqlite3 *db)
{
    struct unopened *unopened = unopened_of(db);
    if (unopened == NULL)
        return SQLITE_MISUSE;
    client_handle_free((struct client_handle *)(void *)db);
    unopened_free(unopened);
    return SQLITE_OK;
}

int client_unopened_errcode(sqlite3 *db)
{
    const struct unopened *unopened = unopened_of(db);
    return unopened != NULL ? unopened->code : SQLITE_MISUSE;
}

int client_unopened_system_errno(sqlite3 *db)
{
    const struct unopened *unopened = unopened_of(db);
    return unopened != NULL ? unopened->system_errno : 0;
}

const char *client_unopened_errmsg(sqlite3 *db)
{
    const struct unopened *unopened = unopened_of(db);
    return unopened != NULL ? unopened->message : client_real.sqlite3_errstr(SQLITE_MISUSE);
}

const void *client_unopened_errmsg16(sqlite3 *db)
{
    /* "bad parameter or other API misuse", SQLite's own words for SQLITE_MISUSE. */
    static const char16_t misuse[] = u"bad parameter or other API misuse";
    const struct unopened *unopened = unopened_of(db);
    return unopened != NULL ? (const void *)unopened->message16 : (const void *)misuse;
}
