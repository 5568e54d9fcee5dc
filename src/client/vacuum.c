/* client/vacuum.c: VACUUM INTO in a remote connection (https://sqlite.org/lang_vacuum.html#vacuuminto).
 *
 * The file's name means what it means to sqlite3_open(): a local file, or a database of a server. So it is done here: the
 * database's image is fetched into a file that nobody sees, and that is vacuumed by the real library, into the local file
 * or before it is given to the other database's server. What SQLite refuses is refused with its words. */
#include "client/vacuum.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/attach.h"
#include "client/connect.h"
#include "client/evaluate.h"
#include "client/image.h"
#include "client/naming.h"
#include "client/open.h"

/* VACUUM [schema] INTO expression, as pieces of its text; an empty schema is "main". */
struct vacuum {
    struct client_piece schema;
    struct client_piece file;
};

static bool parse(const char *sql, struct vacuum *ret_vacuum)
{
    const char *at = sql;
    struct client_piece word = client_token(&at);
    while (client_piece_is(word, ";"))
        word = client_token(&at);
    if (!client_piece_is(word, "VACUUM"))
        return false;
    struct vacuum vacuum = {.schema = {at, 0}};
    word = client_token(&at);
    if (!client_piece_is(word, "INTO")) {
        vacuum.schema = word;
        word = client_token(&at);
    }
    if (!client_piece_is(word, "INTO"))
        return false;
    vacuum.file.start = at;
    const char *end = at;
    while ((word = client_token(&at)).length > 0 && !client_piece_is(word, ";"))
        end = word.start + word.length;
    vacuum.file.length = (size_t)(end - vacuum.file.start);
    *ret_vacuum = vacuum;
    return true;
}

/* The schema's name without quotes; NULL: no memory. */
static char *schema_name(struct client_piece piece)
{
    if (piece.length == 0)
        return strdup("main");
    bool is_quoted = piece.length >= 2 && strchr("'\"`[", piece.start[0]) != NULL;
    char *name = is_quoted ? strndup(piece.start + 1, piece.length - 2) : strndup(piece.start, piece.length);
    char quote = piece.start[0];
    if (name == NULL || !is_quoted || quote == '[')
        return name;
    char *to = name;
    for (const char *from = name; *from != '\0'; from++) {
        *to++ = *from;
        from += from[0] == quote && from[1] == quote;
    }
    *to = '\0';
    return name;
}

bool client_vacuum_is_into(const struct client_statement *statement)
{
    struct vacuum vacuum;
    if (statement->kind != CLIENT_SQL_VACUUM || !parse(statement->sql, &vacuum))
        return false;
    char *schema = schema_name(vacuum.schema);
    bool is_temp = schema != NULL && client_real.sqlite3_stricmp(schema, "temp") == 0;
    free(schema);
    return !is_temp; /* that does nothing, on the server as well */
}

/* --- Where to --- */

/* The real library writes the file. */
static int into_file(struct client_remote *remote, const struct client_temporary *copy, const char *file)
{
    char *sql = client_real.sqlite3_mprintf("VACUUM INTO %Q", file);
    bool begun = client_attach_open_begin(); /* that it is local has been decided */
    int code = sql != NULL ? client_real.sqlite3_exec(copy->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    client_attach_open_end(begun);
    client_real.sqlite3_free(sql);
    if (code != SQLITE_OK && copy->db != NULL)
        return client_error_set(remote, client_real.sqlite3_extended_errcode(copy->db), "%s",
                                client_real.sqlite3_errmsg(copy->db));
    return code == SQLITE_OK ? SQLITE_OK : client_error_set(remote, code, NULL);
}

static int note_row(void *context, int count, char **values, char **names)
{
    (void)count;
    (void)values;
    (void)names;
    *(bool *)context = true;
    return 0;
}

/* The other connection's error is this one's. */
static int fail_as(struct client_remote *remote, const struct client_remote *other, int code)
{
    return client_error_set(remote, code, "%s",
                            other->error.message != NULL ? other->error.message : client_real.sqlite3_errstr(code));
}

/* `other` has been opened for this, and nobody else has it. */
static int into_database(struct client_remote *remote, const struct client_temporary *copy, struct client_remote *other)
{
    /* The first page may be there: it says that there is a write-ahead log. */
    static const char look[] =
        "SELECT 1 FROM pragma_page_count WHERE page_count > 1 OR (SELECT count(*) FROM sqlite_schema)";
    bool is_written = false;
    int code = client_remote_exec(other, look, note_row, &is_written);
    if (code != SQLITE_OK)
        return fail_as(remote, other, code);
    if (is_written)
        return client_error_set(remote, SQLITE_ERROR, "output file already exists");
    code = client_real.sqlite3_exec(copy->db, "VACUUM", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return client_error_set(remote, code, "%s", client_real.sqlite3_errmsg(copy->db));
    struct stat info;
    if (fstat(copy->fd, &info) != 0)
        return client_error_set(remote, SQLITE_IOERR_FSTAT, NULL);
    code = client_image_store(other, "main", NATIVE_IMAGE_REPLACE, 0, (uint64_t)info.st_size, client_temporary_get,
                              client_unconst(copy));
    return code == SQLITE_OK ? SQLITE_OK : fail_as(remote, other, code);
}

static int into_name(struct client_remote *remote, const struct client_temporary *copy, const char *file)
{
    struct client_naming naming;
    struct client_name name;
    struct client_remote *other = NULL;
    struct sq_error err;
    client_naming_read(&naming);
    sq_error_clear(&err);
    if (client_naming_decide(&naming, file, 0, NULL, &err, &name) != SQ_OK)
        return client_error_set(remote, SQLITE_CANTOPEN, "unable to open database: %s: %s", file, err.text);
    int code;
    if (name.place == CLIENT_LOCAL || name.place == CLIENT_LOCAL_THOUGH_MAPPED)
        code = into_file(remote, copy, file);
    else if (client_open_name(&naming, &name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &err, &other) == SQ_OK)
        code = into_database(remote, copy, other);
    else
        code = client_error_set(remote, SQLITE_CANTOPEN, "unable to open database: %s: %s", file, err.text);
    client_remote_free(other);
    client_name_done(&name);
    return code;
}

/* --- From where --- */

/* Whether another statement is in its middle: it would see the database as it was. */
static bool is_reading(const struct client_statement *statement)
{
    SQ_LIST_FOREACH (i, &statement->remote->statements) {
        const struct client_statement *other = SQ_CONTAINER_OF(i, struct client_statement, links);
        if (other != statement && other->state == CLIENT_STATEMENT_ROWS)
            return true;
    }
    return false;
}

static int copy_into(struct client_remote *remote, const char *schema, const char *file)
{
    struct client_temporary copy;
    int code = client_temporary_make(&copy);
    if (code != SQLITE_OK)
        (void)client_error_set(remote, code, NULL);
    else
        code = client_image_fetch(remote, schema, NULL, client_temporary_put, &copy);
    if (code == SQLITE_OK && (code = client_temporary_open(&copy)) != SQLITE_OK)
        (void)client_error_set(remote, code, NULL);
    if (code == SQLITE_OK)
        code = into_name(remote, &copy, file);
    client_temporary_done(&copy);
    return code;
}

int client_vacuum_step(struct client_statement *statement)
{
    struct client_remote *remote = statement->remote;
    struct vacuum vacuum;
    bool is_into = parse(statement->sql, &vacuum);
    sq_assert(is_into);
    if (!remote->state.is_autocommit)
        return client_error_set(remote, SQLITE_ERROR, "cannot VACUUM from within a transaction");
    if (is_reading(statement))
        return client_error_set(remote, SQLITE_ERROR, "cannot VACUUM - SQL statements in progress");
    char *schema = schema_name(vacuum.schema), *file = NULL;
    char *expression = strndup(vacuum.file.start, vacuum.file.length);
    sqlite3_stmt *row = NULL;
    int code = SQLITE_NOMEM;
    if (schema == NULL || expression == NULL)
        (void)client_error_set(remote, code, NULL);
    else
        code = client_evaluate(statement, expression, &row);
    if (code == SQLITE_OK && client_real.sqlite3_column_type(row, 0) != SQLITE_TEXT)
        code = client_error_set(remote, SQLITE_ERROR, "non-text filename");
    else if (code == SQLITE_OK && (file = strdup((const char *)client_real.sqlite3_column_text(row, 0))) == NULL)
        code = client_error_set(remote, SQLITE_NOMEM, NULL);
    (void)client_real.sqlite3_finalize(row);
    if (code == SQLITE_OK)
        code = copy_into(remote, schema, file);
    free(expression);
    free(schema);
    free(file);
    return code;
}
