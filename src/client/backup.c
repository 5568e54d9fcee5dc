/* client/backup.c: backups from and to remote databases: https://sqlite.org/c3ref/backup_finish.html
 *
 * The pages are copied by a real sqlite3_backup between two local databases; what is remote has a temporary file in
 * its place:
 *
 *     source                                                             destination
 *     remote: server ──IMAGE_READ──► file ──┐                    ┌──► file ──IMAGE_DATA──► server
 *                                           ├── sqlite3_backup ──┤
 *     local:  the database ─────────────────┘                    └──► the database
 *
 * The image of a remote source is fetched by the first step: it is that moment's state of the source. A step that
 * sees the source changed since then begins anew with another image, as SQLite begins anew when another connection
 * has changed it. What other sessions have changed is seen when the source's connection has read after them. A
 * remote destination gets its image in the step that copies the last page, which says DONE only when the server has
 * it; until then the destination is as it was.
 *
 * Steps, numbers of pages and errors are the real backup's. Errors go to the destination, as with SQLite; a local
 * destination's connection cannot be told a remote source's error, but sqlite3_backup_step() returns it.
 *
 * Invariant: the mutexes of two connections are never held together. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/image.h"
#include "client/remote.h"
#include "client/remote_api.h"

struct side {
    struct client_remote *remote; /* NULL: local */
    char *name;                   /* of the database in its connection */
    sqlite3 *db;                  /* what the real backup sees */
    struct client_temporary file; /* remote: behind `db` */
};

struct client_backup {
    struct client_handle *handle;
    struct side source, destination;
    sqlite3_backup *real; /* NULL: the image of the source has not been fetched */
    uint32_t version;     /* DATA_VERSION of a remote source before its image was fetched */
    bool is_copied;       /* the real backup is done */
    int code;             /* of the last step */
};

/* --- Errors --- */

/* Records an error of the destination, if that is remote, and returns `code`. */
static int fail(struct client_backup *backup, int code, const char *message)
{
    struct client_remote *remote = backup->destination.remote;
    if (remote != NULL) {
        client_real.sqlite3_mutex_enter(remote->mutex);
        if (message != NULL)
            (void)client_error_set(remote, code, "%s", message);
        else
            (void)client_error_set(remote, code, NULL);
        client_real.sqlite3_mutex_leave(remote->mutex);
    }
    return code;
}

/* The source has recorded an error: it belongs to the destination. */
static int fail_as_source(struct client_backup *backup, int code)
{
    struct client_remote *remote = backup->source.remote;
    client_real.sqlite3_mutex_enter(remote->mutex);
    char *message = client_real.sqlite3_mprintf("%s", client_remote_sqlite3_errmsg(remote->handle));
    client_real.sqlite3_mutex_leave(remote->mutex);
    (void)fail(backup, code, message);
    client_real.sqlite3_free(message);
    return code;
}

/* --- Beginning --- */

static void side_done(struct side *side)
{
    struct client_remote *remote = side->remote;
    client_temporary_done(&side->file);
    free(side->name);
    if (remote == NULL)
        return;
    client_real.sqlite3_mutex_enter(remote->mutex);
    sq_assert(remote->guest_count > 0);
    remote->guest_count--;
    client_real.sqlite3_mutex_leave(remote->mutex);
    (void)client_remote_reap(remote);
}

static bool side_init(struct side *side, sqlite3 *db, const char *name)
{
    *side = (struct side){.db = db, .file = {.fd = -1}, .name = strdup(name != NULL ? name : "main")};
    if (!client_handle_is_ours(db))
        return side->name != NULL;
    side->db = NULL;
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return false;
    remote->guest_count++;
    side->remote = remote;
    client_remote_leave_quietly(remote);
    return side->name != NULL;
}

/* sqlite3_txn_state() of a remote side's database; -1: there is no such database. Anything else is an error:
 * *ret_code. */
static int side_txn_state(struct side *side, int *ret_code)
{
    struct client_remote *remote = side->remote;
    client_real.sqlite3_mutex_enter(remote->mutex);
    native_put_text(client_request_begin(remote, NATIVE_TXN_STATE), side->name);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body), state = -1;
    if (code == SQLITE_OK) {
        state = (int32_t)pgwire_get_u32(&body);
        code = client_body_check(remote, &body);
    }
    client_real.sqlite3_mutex_leave(remote->mutex);
    *ret_code = code;
    return state;
}

/* What sqlite3_backup_init() checks: both databases are there, and nobody reads the destination. */
static bool check_source(struct client_backup *backup)
{
    if (backup->source.remote == NULL)
        return true; /* the real backup checks it */
    int code;
    int state = side_txn_state(&backup->source, &code);
    if (code != SQLITE_OK) {
        (void)fail_as_source(backup, code);
        return false;
    }
    if (backup->destination.remote == NULL) {
        /* The real library says what is wrong with either, in the destination. */
        struct client_remote *remote = backup->source.remote;
        client_real.sqlite3_mutex_enter(remote->mutex);
        sqlite3_backup *trial =
            client_real.sqlite3_backup_init(backup->destination.db, backup->destination.name, remote->shadow,
                                            state >= 0 ? "main" : backup->source.name);
        bool is_good = trial != NULL;
        (void)client_real.sqlite3_backup_finish(trial);
        client_real.sqlite3_mutex_leave(remote->mutex);
        return is_good;
    }
    if (state >= 0)
        return true;
    char *message = client_real.sqlite3_mprintf("unknown database %s", backup->source.name);
    (void)fail(backup, SQLITE_ERROR, message);
    client_real.sqlite3_free(message);
    return false;
}

static bool check_destination(struct client_backup *backup)
{
    if (backup->destination.remote == NULL)
        return true;
    int code;
    int state = side_txn_state(&backup->destination, &code);
    if (code != SQLITE_OK)
        return false; /* the destination has recorded it */
    if (state == SQLITE_TXN_NONE)
        return true;
    char *message = state < 0 ? client_real.sqlite3_mprintf("unknown database %s", backup->destination.name) : NULL;
    (void)fail(backup, SQLITE_ERROR, message != NULL ? message : "destination database is in use");
    client_real.sqlite3_free(message);
    return false;
}

/* Begins the real backup: both databases are there. */
static int start_real(struct client_backup *backup)
{
    struct side *destination = &backup->destination;
    sq_assert(backup->real == NULL && backup->source.db != NULL);
    int code = SQLITE_OK;
    if (destination->remote != NULL) {
        code = client_temporary_make(&destination->file);
        if (code == SQLITE_OK)
            code = client_temporary_open(&destination->file);
        if (code != SQLITE_OK)
            return fail(backup, code, NULL);
        destination->db = destination->file.db;
    }
    backup->real = client_real.sqlite3_backup_init(
        destination->db, destination->remote != NULL ? "main" : destination->name, backup->source.db,
        backup->source.remote != NULL ? "main" : backup->source.name);
    if (backup->real != NULL)
        return SQLITE_OK;
    return fail(backup, client_real.sqlite3_extended_errcode(destination->db),
                client_real.sqlite3_errmsg(destination->db));
}

static void backup_free(struct client_backup *backup)
{
    if (backup == NULL)
        return;
    (void)client_real.sqlite3_backup_finish(backup->real);
    if (backup->handle != NULL)
        client_handle_free(backup->handle);
    side_done(&backup->source);
    side_done(&backup->destination);
    free(backup);
}
SQ_DEFINE_FREEP(struct client_backup, backup_free)

static sqlite3_backup *backup_init(sqlite3 *destination, const char *destination_name, sqlite3 *source,
                                   const char *source_name)
{
    SQ_CLEANUP(backup_freep) struct client_backup *backup = calloc(1, sizeof(*backup));
    if (backup == NULL)
        return NULL;
    backup->source.file.fd = backup->destination.file.fd = -1;
    if (!side_init(&backup->destination, destination, destination_name) ||
        !side_init(&backup->source, source, source_name))
        return NULL;
    if (source == destination) {
        (void)fail(backup, SQLITE_ERROR, "source and destination must be distinct");
        return NULL;
    }
    if (!check_source(backup) || !check_destination(backup))
        return NULL;
    if (backup->source.remote == NULL && start_real(backup) != SQLITE_OK)
        return NULL;
    if (client_handle_new(CLIENT_HANDLE_BACKUP, backup, &backup->handle) != SQ_OK) {
        (void)fail(backup, SQLITE_NOMEM, NULL);
        return NULL;
    }
    return (sqlite3_backup *)(void *)SQ_STEAL(backup)->handle;
}

sqlite3_backup *sqlite3_backup_init(sqlite3 *destination, const char *destination_name, sqlite3 *source,
                                    const char *source_name)
{
    if (!client_handle_is_ours(destination) && !client_handle_is_ours(source))
        return client_real.sqlite3_backup_init(destination, destination_name, source, source_name);
    bool is_unopened = (client_handle_is_ours(destination) && client_remote_of(destination) == NULL) ||
                       (client_handle_is_ours(source) && client_remote_of(source) == NULL);
    if (!is_unopened)
        return backup_init(destination, destination_name, source, source_name);
    /* A connection that could not be opened. The real library says so of a local destination, in its way. */
    if (!client_handle_is_ours(destination))
        return client_real.sqlite3_backup_init(destination, destination_name, destination, source_name);
    return NULL;
}

/* --- Steps --- */

static struct client_backup *backup_of(sqlite3_backup *handle)
{
    return client_handle_object(handle, CLIENT_HANDLE_BACKUP);
}

/* Whether a remote source can be copied now, and what its version is. */
static int source_look(struct client_backup *backup, uint32_t *ret_version)
{
    struct side *source = &backup->source;
    struct client_remote *remote = source->remote;
    int code = SQLITE_OK;
    client_real.sqlite3_mutex_enter(remote->mutex);
    bool is_writing = remote->state.txn_state == SQLITE_TXN_WRITE;
    client_real.sqlite3_mutex_leave(remote->mutex);
    /* As SQLite: what the source has not committed is not copied. */
    if (is_writing && side_txn_state(source, &code) == SQLITE_TXN_WRITE)
        return SQLITE_BUSY;
    if (code != SQLITE_OK)
        return fail_as_source(backup, code);
    /* The temporary database, which may not have been made yet, has no version to be asked for. */
    *ret_version = 0;
    if (client_real.sqlite3_stricmp(source->name, "temp") == 0)
        return SQLITE_OK;
    client_real.sqlite3_mutex_enter(remote->mutex);
    native_put_text(client_request_begin(remote, NATIVE_DATA_VERSION), source->name);
    struct pgwire_cursor body;
    code = client_request_end(remote, NULL, &body);
    if (code == SQLITE_OK) {
        *ret_version = pgwire_get_u32(&body);
        code = client_body_check(remote, &body);
    }
    client_real.sqlite3_mutex_leave(remote->mutex);
    return code == SQLITE_OK ? SQLITE_OK : fail_as_source(backup, code);
}

/* Fetches the source's image and begins to copy it, for the first time or anew. */
static int start_from_remote(struct client_backup *backup)
{
    struct side *source = &backup->source;
    (void)client_real.sqlite3_backup_finish(SQ_STEAL(backup->real));
    client_temporary_done(&source->file);
    client_temporary_done(&backup->destination.file);
    int code = client_temporary_make(&source->file);
    if (code != SQLITE_OK)
        return fail(backup, code, NULL);
    client_real.sqlite3_mutex_enter(source->remote->mutex);
    code = client_image_fetch(source->remote, source->name, NULL, client_temporary_put, &source->file);
    client_real.sqlite3_mutex_leave(source->remote->mutex);
    if (code != SQLITE_OK)
        return fail_as_source(backup, code);
    code = client_temporary_open(&source->file);
    if (code != SQLITE_OK)
        return fail(backup, code, client_real.sqlite3_errmsg(source->file.db));
    source->db = source->file.db;
    return start_real(backup);
}

/* Begins what has not begun yet, or must begin anew. */
static int step_prepare(struct client_backup *backup)
{
    uint32_t version = 0;
    if (backup->source.remote == NULL || backup->is_copied)
        return SQLITE_OK;
    int code = source_look(backup, &version);
    if (code != SQLITE_OK || (backup->real != NULL && version == backup->version))
        return code;
    backup->version = version;
    return start_from_remote(backup);
}

/* Gives the copy to the server. */
static int store(struct client_backup *backup)
{
    struct side *destination = &backup->destination;
    sq_assert(backup->is_copied && destination->remote != NULL && destination->file.fd >= 0);
    struct stat file;
    if (fstat(destination->file.fd, &file) != 0)
        return fail(backup, SQLITE_IOERR_FSTAT, NULL);
    client_real.sqlite3_mutex_enter(destination->remote->mutex);
    int code = client_image_store(destination->remote, destination->name, NATIVE_IMAGE_REPLACE, 0,
                                  (uint64_t)file.st_size, client_temporary_get, &destination->file);
    client_real.sqlite3_mutex_leave(destination->remote->mutex);
    return code == SQLITE_OK ? SQLITE_DONE : code;
}

/* Whether a step that came to `code` may be tried again. */
static bool is_passing(int code)
{
    return code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED;
}

static int step(struct client_backup *backup, int pages)
{
    int code = step_prepare(backup);
    if (code == SQLITE_OK && !backup->is_copied) {
        code = client_real.sqlite3_backup_step(backup->real, pages);
        backup->is_copied = code == SQLITE_DONE;
    }
    if (backup->is_copied && backup->destination.remote != NULL)
        code = store(backup);
    return code;
}

int client_remote_sqlite3_backup_step(sqlite3_backup *handle, int pages)
{
    struct client_backup *backup = backup_of(handle);
    if (backup == NULL)
        return SQLITE_MISUSE;
    if (is_passing(backup->code))
        backup->code = step(backup, pages);
    return backup->code;
}

int client_remote_sqlite3_backup_remaining(sqlite3_backup *handle)
{
    const struct client_backup *backup = backup_of(handle);
    return backup != NULL && backup->real != NULL ? client_real.sqlite3_backup_remaining(backup->real) : 0;
}

int client_remote_sqlite3_backup_pagecount(sqlite3_backup *handle)
{
    const struct client_backup *backup = backup_of(handle);
    return backup != NULL && backup->real != NULL ? client_real.sqlite3_backup_pagecount(backup->real) : 0;
}

int client_remote_sqlite3_backup_finish(sqlite3_backup *handle)
{
    struct client_backup *backup = backup_of(handle);
    if (backup == NULL)
        return SQLITE_MISUSE;
    int code = backup->code == SQLITE_DONE ? SQLITE_OK : backup->code;
    struct client_remote *destination = backup->destination.remote;
    if (destination != NULL) {
        client_real.sqlite3_mutex_enter(destination->mutex);
        (void)client_remote_leave(destination, code);
    }
    backup_free(backup);
    return code;
}
