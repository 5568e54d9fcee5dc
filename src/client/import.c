/* client/import.c: see import.h. The file NAME.sqld-import is import_state.c's.
 *
 * The lock. SQLite's exclusive locking mode (https://sqlite.org/pragma.html#pragma_locking_mode) with one empty exclusive
 * transaction: from then on nobody else reads or writes the file until our connection is closed, which comes after the stub
 * has taken the file's place. Other connections that had it open, and were idle, find it moved (SQLITE_READONLY_DBMOVED).
 *
 * The copy. SQLite's own backup, into a file that nobody sees. If the server's pages are of another size, VACUUM INTO, which
 * keeps rowids.
 *
 * The comparison leaves out what SQLite changes in the header of page 1 (https://sqlite.org/fileformat2.html): the file
 * format's version (18, 19), the change counter (24 to 27), the schema's number (40 to 43), and by which release of SQLite
 * which change was made (92 to 99). */
#include "client/import.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/attach.h"
#include "client/auto_extension.h"
#include "client/connect.h"
#include "client/image.h"
#include "client/import_state.h"
#include "client/remote.h"
#include "client/remote_api.h"
#include "client/stub.h"

enum {
    BUSY_TIMEOUT_MS = 10000,
    OPTIONS_BYTES_MAX = 64,
    SQL_BYTES_MAX = 256,
    COMPARE_BYTES = 64 * 1024,
    ASIDE_MAX = 1000, /* NAME-imported-1000 */
};

struct import {
    const struct client_naming *naming;
    const struct client_name *name;
    char *path; /* of the file itself: no symbolic link */
    struct client_import_state state;
    sqlite3 *local;
    struct client_remote *remote;
    struct client_temporary copy;
    uint64_t copy_bytes;
    char content[CLIENT_IMPORT_CONTENT_BYTES]; /* of the copy */
    bool is_filled;                            /* the server's database holds what import.state says */
};

static void import_done(struct import *import)
{
    client_temporary_done(&import->copy);
    client_remote_free(import->remote);
    (void)client_real.sqlite3_close(import->local);
    client_import_state_done(&import->state);
    free(import->path);
}

/* --- The file --- */

static sq_status fail_local(const struct import *import, sqlite3 *db, const char *what, struct sq_error *err)
{
    int code = client_real.sqlite3_extended_errcode(db);
    sq_status status = SQ_INVALID;
    if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED)
        status = SQ_BUSY;
    else if ((code & 0xff) == SQLITE_NOMEM)
        status = SQ_NOMEM;
    return sq_fail(err, status, "'%s' cannot be imported: %s: %s", import->path, what, client_real.sqlite3_errmsg(db));
}

static sq_status local_exec(const struct import *import, sqlite3 *db, const char *sql, const char *what,
                            struct sq_error *err)
{
    return client_real.sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? SQ_OK : fail_local(import, db, what, err);
}

/* Opens the file, for nobody else. */
static sq_status file_lock(struct import *import, struct sq_error *err)
{
    bool begun = client_attach_open_begin();
    int code = client_inner_open(import->path, &import->local, SQLITE_OPEN_READWRITE);
    client_attach_open_end(begun);
    if (code != SQLITE_OK)
        return fail_local(import, import->local, "it cannot be opened", err);
    (void)client_real.sqlite3_busy_timeout(import->local, BUSY_TIMEOUT_MS);
    SQ_TRY(local_exec(import, import->local, "PRAGMA locking_mode=EXCLUSIVE", "it cannot be locked", err));
    SQ_TRY(local_exec(import, import->local, "BEGIN EXCLUSIVE", "somebody else may have it open", err));
    SQ_TRY(local_exec(import, import->local, "COMMIT", "it cannot be locked", err));
    /* Without a log nothing happens. */
    return local_exec(import, import->local, "PRAGMA wal_checkpoint(TRUNCATE)", "its log cannot be ended", err);
}

/* What `sql` says in its first row and column. NULL: an error, or nothing. To be sqlite3_free()d. */
static char *local_ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    char *text = NULL;
    if (client_real.sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        client_real.sqlite3_step(stmt) == SQLITE_ROW)
        text = client_real.sqlite3_mprintf("%s", client_real.sqlite3_column_text(stmt, 0));
    (void)client_real.sqlite3_finalize(stmt);
    return text;
}

/* Indexes with collations of the application's cannot be compared with their tables here. */
static sq_status check_sound(const struct import *import, sqlite3 *db, struct sq_error *err)
{
    char *said = local_ask(db, "PRAGMA integrity_check(1)");
    if (said == NULL)
        said = local_ask(db, "PRAGMA quick_check(1)");
    if (said == NULL)
        return fail_local(import, db, "it cannot be checked", err);
    bool is_sound = strcmp(said, "ok") == 0;
    if (!is_sound)
        (void)sq_fail(err, SQ_INVALID, "'%s' cannot be imported, it is damaged: %s", import->path, said);
    client_real.sqlite3_free(said);
    return is_sound ? SQ_OK : SQ_INVALID;
}

/* --- The copy --- */

static sq_status fail_copy(const struct import *import, int code, struct sq_error *err)
{
    return sq_fail(err, code == SQLITE_NOMEM ? SQ_NOMEM : SQ_IO, "'%s' cannot be imported: it cannot be copied: %s",
                   import->path, client_real.sqlite3_errstr(code));
}

static int copy_pages(struct import *import)
{
    sqlite3_backup *backup = client_real.sqlite3_backup_init(import->copy.db, "main", import->local, "main");
    if (backup == NULL)
        return client_real.sqlite3_extended_errcode(import->copy.db);
    int code = client_real.sqlite3_backup_step(backup, -1);
    int end_code = client_real.sqlite3_backup_finish(backup);
    return code == SQLITE_DONE ? end_code : code;
}

static int copy_anew(struct import *import, int64_t page_bytes)
{
    char *sql =
        client_real.sqlite3_mprintf("PRAGMA page_size=%lld; VACUUM INTO %Q", (long long)page_bytes, import->copy.path);
    if (sql == NULL)
        return SQLITE_NOMEM;
    bool begun = client_attach_open_begin();
    int code = client_real.sqlite3_exec(import->local, sql, NULL, NULL, NULL);
    client_attach_open_end(begun);
    client_real.sqlite3_free(sql);
    return code;
}

static int64_t page_bytes_of(sqlite3 *db)
{
    char *text = local_ask(db, "PRAGMA page_size");
    int64_t bytes = text != NULL ? strtoll(text, NULL, 10) : 0;
    client_real.sqlite3_free(text);
    return bytes;
}

static sq_status copy_make(struct import *import, int64_t page_bytes, struct sq_error *err)
{
    int code = client_temporary_make(&import->copy);
    bool is_same = page_bytes_of(import->local) == page_bytes;
    if (code == SQLITE_OK && !is_same && copy_anew(import, page_bytes) != SQLITE_OK)
        return fail_local(import, import->local, "it cannot be copied", err);
    if (code == SQLITE_OK)
        code = client_temporary_open(&import->copy);
    if (code == SQLITE_OK && is_same)
        code = copy_pages(import);
    if (code != SQLITE_OK)
        return fail_copy(import, code, err);
    struct stat file;
    if (fstat(import->copy.fd, &file) != 0)
        return fail_copy(import, SQLITE_IOERR_FSTAT, err);
    import->copy_bytes = (uint64_t)file.st_size;
    /* Pages that are the same have been checked. */
    return is_same ? SQ_OK : check_sound(import, import->copy.db, err);
}

/* --- Contents --- */

/* Sets to 0 what the comparison leaves out, of `length` bytes that begin at `offset` of an image. */
static void leave_out(uint8_t *bytes, size_t length, uint64_t offset)
{
    static const struct {
        uint8_t first, last;
    } ranges[] = {{18, 19}, {24, 27}, {40, 43}, {92, 99}};
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        for (uint64_t at = ranges[i].first; at <= ranges[i].last; at++) {
            if (at >= offset && at - offset < length)
                bytes[at - offset] = 0;
        }
    }
}

struct reading {
    struct client_import_hash hash;
    struct import *import; /* to be compared with its copy; NULL: not to be */
    uint64_t bytes;
    bool is_different;
};

/* Pieces of an image, in order. */
static int reading_put(void *context, const uint8_t *bytes, size_t length, uint64_t offset)
{
    struct reading *reading = context;
    uint8_t here[COMPARE_BYTES], there[COMPARE_BYTES];
    for (size_t done = 0; done < length;) {
        size_t count = length - done < sizeof(here) ? length - done : sizeof(here);
        uint64_t at = offset + done;
        memcpy(here, bytes + done, count);
        leave_out(here, count, at);
        client_import_hash_add(&reading->hash, here, count);
        bool is_within = reading->import != NULL && at + count <= reading->import->copy_bytes;
        if (is_within) {
            int code = client_temporary_get(&reading->import->copy, there, count, at);
            if (code != SQLITE_OK)
                return code;
            leave_out(there, count, at);
        }
        reading->is_different |= !is_within || memcmp(here, there, count) != 0;
        done += count;
    }
    reading->bytes += length;
    return SQLITE_OK;
}

static sq_status copy_describe(struct import *import, struct sq_error *err)
{
    struct reading reading = {.hash = client_import_hash_begin()};
    uint8_t piece[COMPARE_BYTES];
    for (uint64_t at = 0; at < import->copy_bytes; at += sizeof(piece)) {
        size_t length = import->copy_bytes - at < sizeof(piece) ? (size_t)(import->copy_bytes - at) : sizeof(piece);
        int code = client_temporary_get(&import->copy, piece, length, at);
        if (code == SQLITE_OK)
            code = reading_put(&reading, piece, length, at);
        if (code != SQLITE_OK)
            return fail_copy(import, code, err);
    }
    client_import_hash_end(&reading.hash, import->content);
    return SQ_OK;
}

/* --- The server --- */

static sq_status fail_remote(const struct import *import, struct sq_error *err)
{
    return sq_fail(err, SQ_IO, "'%s' cannot be imported into database '%s' of the server: %s", import->path,
                   import->remote->database, client_remote_sqlite3_errmsg(import->remote->handle));
}

static sq_status server_connect(struct import *import, const char *database, const char *options, struct sq_error *err)
{
    const struct client_connect what = {
        .url = import->naming->url,
        .database = database,
        .filename = import->path,
        .flags = SQLITE_OPEN_READWRITE,
        .options = options,
    };
    SQ_TRY(client_remote_new(&what, err, &import->remote));
    if (options[0] != '\0' || strcmp(import->remote->database, database) == 0)
        return SQ_OK;
    /* The server's default one, in place of one that is not there. */
    client_remote_free(import->remote);
    import->remote = NULL;
    return sq_fail(err, SQ_NOT_FOUND, "there is no database '%s'", database);
}

/* Connects to the database that is to be filled. */
static sq_status server_open(struct import *import, struct sq_error *err)
{
    char options[OPTIONS_BYTES_MAX], origin[CLIENT_ORIGIN_BYTES];
    struct client_import_state *state = &import->state;
    sq_status status = SQ_NOT_FOUND;
    if (state->database != NULL)
        status = server_connect(import, state->database, "", err);
    else if (!import->naming->has_fresh)
        status = server_connect(import, import->name->database, "", err);
    if (status == SQ_NOT_FOUND) {
        client_stub_origin(import->name->path, origin);
        (void)snprintf(options, sizeof(options), import->naming->has_fresh ? "fresh" : "create origin=%s", origin);
        status = server_connect(import, import->name->database, options, err);
    }
    return status;
}

/* Notes which database is ours: only then may it be said, for another may be wanted the next time. */
static sq_status server_note(struct import *import, struct sq_error *err)
{
    struct client_import_state *state = &import->state;
    if (state->database != NULL && strcmp(state->database, import->remote->database) == 0)
        return SQ_OK;
    return client_import_state_set_database(state, import->remote->database, err);
}

/* What the server's database holds. */
struct inside {
    bool has_claim; /* … and nothing else */
    bool is_ours;   /* the claim */
    bool is_other;  /* something else */
    int64_t page_bytes;
    const char *origin;
};

static int on_schema(void *context, int count, char **values, char **names)
{
    struct inside *inside = context;
    (void)names;
    sq_assert(count == 1);
    if (values[0] != NULL && strcmp(values[0], "sqld_import") == 0)
        inside->has_claim = true;
    else
        inside->is_other = true;
    return 0;
}

static int on_claim(void *context, int count, char **values, char **names)
{
    struct inside *inside = context;
    (void)names;
    sq_assert(count == 1);
    inside->is_ours = values[0] != NULL && strcmp(values[0], inside->origin) == 0;
    return 0;
}

static int on_page_size(void *context, int count, char **values, char **names)
{
    struct inside *inside = context;
    (void)names;
    sq_assert(count == 1);
    inside->page_bytes = values[0] != NULL ? strtoll(values[0], NULL, 10) : 0;
    return 0;
}

/* Takes the server's database for this file, if it is empty, in one transaction: of several that import into it from several
 * places, one finds it empty. */
static int claim(struct client_remote *remote, struct inside *inside)
{
    char sql[SQL_BYTES_MAX];
    int code = client_remote_exec(remote, "BEGIN IMMEDIATE", NULL, NULL);
    if (code == SQLITE_OK)
        code = client_remote_exec(remote, "SELECT name FROM sqlite_schema", on_schema, inside);
    if (code == SQLITE_OK && inside->has_claim && !inside->is_other)
        code = client_remote_exec(remote, "SELECT origin FROM sqld_import", on_claim, inside);
    if (code == SQLITE_OK && !inside->has_claim && !inside->is_other) {
        (void)snprintf(sql, sizeof(sql), "CREATE TABLE sqld_import(origin); INSERT INTO sqld_import VALUES ('%s')",
                       inside->origin);
        code = client_remote_exec(remote, sql, NULL, NULL);
        inside->has_claim = inside->is_ours = true;
    }
    if (code == SQLITE_OK)
        code = client_remote_exec(remote, "COMMIT", NULL, NULL);
    if (code == SQLITE_OK)
        code = client_remote_exec(remote, "PRAGMA page_size", on_page_size, inside);
    return code;
}

/* What of the server's database is compared with the copy, and what it is known by. */
static sq_status server_read(struct import *import, bool with_copy, char content[CLIENT_IMPORT_CONTENT_BYTES],
                             bool *ret_is_same, struct sq_error *err)
{
    struct reading reading = {.hash = client_import_hash_begin(), .import = with_copy ? import : NULL};
    if (client_image_fetch(import->remote, "main", NULL, reading_put, &reading) != SQLITE_OK)
        return fail_remote(import, err);
    client_import_hash_end(&reading.hash, content);
    *ret_is_same = with_copy && !reading.is_different && reading.bytes == import->copy_bytes;
    return SQ_OK;
}

/* Makes sure that nothing of anybody else's is overwritten. */
static sq_status server_claim(struct import *import, struct sq_error *err, int64_t *ret_page_bytes)
{
    char origin[CLIENT_ORIGIN_BYTES], content[CLIENT_IMPORT_CONTENT_BYTES];
    bool is_same;
    client_stub_origin(import->path, origin);
    struct inside inside = {.origin = origin};
    if (claim(import->remote, &inside) != SQLITE_OK)
        return fail_remote(import, err);
    *ret_page_bytes = inside.page_bytes;
    const char *database = import->remote->database;
    if (inside.has_claim && !inside.is_other && inside.is_ours)
        return SQ_OK;
    if (inside.has_claim && !inside.is_other)
        return sq_fail(err, SQ_EXISTS,
                       "'%s' cannot be imported: another file is being imported into database '%s' of the server",
                       import->path, database);
    if (import->state.content[0] == '\0')
        return sq_fail(err, SQ_EXISTS, "'%s' cannot be imported: database '%s' of the server has contents of its own",
                       import->path, database);
    SQ_TRY(server_read(import, false, content, &is_same, err));
    import->is_filled = strcmp(content, import->state.content) == 0;
    if (import->is_filled)
        return SQ_OK; /* what an earlier try has brought there */
    return sq_fail(
        err, SQ_EXISTS,
        "'%s' cannot be imported: database '%s' of the server, into which that was begun, has been changed since",
        import->path, database);
}

static sq_status server_fill(struct import *import, struct sq_error *err)
{
    char content[CLIENT_IMPORT_CONTENT_BYTES];
    bool is_same = false;
    SQ_TRY(copy_describe(import, err));
    /* What is there already is not sent again: somebody may have begun to use it. */
    bool is_there = import->is_filled && strcmp(import->content, import->state.content) == 0;
    if (!is_there)
        SQ_TRY(client_import_state_set_content(&import->state, import->content, err));
    if (!is_there && client_image_store(import->remote, "main", NATIVE_IMAGE_REPLACE, 0, import->copy_bytes,
                                        client_temporary_get, &import->copy) != SQLITE_OK)
        return fail_remote(import, err);
    SQ_TRY(server_read(import, true, content, &is_same, err));
    if (is_same)
        return SQ_OK;
    return sq_fail(err, SQ_CORRUPT, "'%s' cannot be imported: database '%s' of the server does not hold what was sent",
                   import->path, import->remote->database);
}

/* --- The end --- */

static bool is_same_file(const struct stat *one, const struct stat *two)
{
    return one->st_dev == two->st_dev && one->st_ino == two->st_ino;
}

/* Gives the file a second name. */
static sq_status put_aside(const struct import *import, const struct stat *file, struct sq_error *err)
{
    for (int i = 1; i <= ASIDE_MAX; i++) {
        char suffix[32] = "", *aside = NULL;
        if (i > 1)
            (void)snprintf(suffix, sizeof(suffix), "-%d", i);
        if (asprintf(&aside, "%s-imported%s", import->path, suffix) < 0)
            return sq_fail(err, SQ_NOMEM, "a file's name");
        struct stat there;
        int failure = link(import->path, aside) == 0 ? 0 : errno;
        if (failure == EEXIST && lstat(aside, &there) == 0 && is_same_file(file, &there))
            failure = 0; /* an earlier try */
        free(aside);
        if (failure == 0)
            return SQ_OK;
        if (failure != EEXIST)
            return sq_fail_errno(err, failure, "'%s' cannot be given another name", import->path);
    }
    return sq_fail(err, SQ_EXISTS, "'%s' cannot be imported: '%s-imported' exists", import->path, import->path);
}

/* What SQLite would have removed with the file's last connection, if it still had its name: the log, which is empty, and the
 * memory of those that shared it. */
static void remove_log(const struct import *import)
{
    char *log = NULL, *memory = NULL;
    struct stat file;
    bool is_stub = stat(import->path, &file) == 0 && file.st_size > 0 && file.st_size < CLIENT_DATABASE_FILE_BYTES_MIN;
    if (!is_stub || asprintf(&log, "%s-wal", import->path) < 0)
        return;
    bool is_over = stat(log, &file) != 0 || file.st_size == 0;
    if (is_over && asprintf(&memory, "%s-shm", import->path) >= 0) {
        (void)unlink(log);
        (void)unlink(memory);
        free(memory);
    }
    free(log);
}

static sq_status make_stub(struct import *import, struct sq_error *err)
{
    struct stat file;
    if (lstat(import->path, &file) != 0)
        return sq_fail_errno(err, errno, "'%s'", import->path);
    if (!client_import_state_is_about(&import->state, &file))
        return sq_fail(err, SQ_BUSY, "'%s' cannot be imported: it was replaced meanwhile", import->path);
    SQ_TRY(put_aside(import, &file, err));
    return client_stub_replace(import->path, import->naming->url, import->remote->database, file.st_mode & 0777, err);
}

/* --- All of it --- */

/* With the lock. */
static sq_status import_file(struct import *import, struct sq_error *err)
{
    int64_t page_bytes = 0;
    SQ_TRY(file_lock(import, err));
    SQ_TRY(check_sound(import, import->local, err));
    SQ_TRY(server_open(import, err));
    SQ_TRY(server_claim(import, err, &page_bytes));
    SQ_TRY(server_note(import, err));
    SQ_TRY(copy_make(import, page_bytes, err));
    SQ_TRY(server_fill(import, err));
    SQ_TRY(make_stub(import, err));
    client_real.sqlite3_log(SQLITE_NOTICE, "'%s' is database '%s' of the server now; the file is kept beside it",
                            import->path, import->remote->database);
    return SQ_OK;
}

bool client_import_was_begun(const struct client_name *name)
{
    struct stat file;
    char *path = realpath(name->path, NULL), *state = NULL;
    if (path == NULL || asprintf(&state, "%s" CLIENT_IMPORT_SUFFIX, path) < 0)
        state = NULL;
    bool was_begun = state != NULL && stat(state, &file) == 0;
    free(path);
    free(state);
    return was_begun;
}

sq_status client_import(const struct client_naming *naming, const struct client_name *name, struct sq_error *err)
{
    SQ_CLEANUP(import_done)
    struct import import = {
        .naming = naming, .name = name, .copy.fd = -1, .state.fd = -1, .path = realpath(name->path, NULL)};
    if (import.path == NULL)
        return errno == ENOMEM ? sq_fail(err, SQ_NOMEM, "a file's name")
                               : sq_fail_errno(err, errno, "'%s'", name->path);
    bool is_needed = false;
    SQ_TRY(client_import_state_open(&import.state, import.path, err, &is_needed));
    if (is_needed)
        SQ_TRY(import_file(&import, err));
    remove_log(&import);
    client_import_state_end(&import.state);
    return SQ_OK;
}
