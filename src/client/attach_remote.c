/* client/attach_remote.c: ATTACH in a remote connection (https://sqlite.org/lang_attach.html).
 *
 * The file's name means what it means to sqlite3_open(): a database of the same server. So the statement is not run: its
 * expressions are evaluated here, by the shadow connection with the statement's parameters, the file is looked up, and the
 * server is told which of its databases to attach (NATIVE_ATTACH). In memory and temporary ones ("" and ":memory:") it
 * attaches by SQL that says so. */
#include <stdlib.h>
#include <string.h>

#include "client/attach.h"
#include "client/connect.h"
#include "client/databases.h"
#include "client/evaluate.h"
#include "client/open.h"
#include "client/statement.h"

/* ATTACH [DATABASE] file AS schema [KEY …]: the two expressions. False: something else. */
static bool split(const char *sql, struct client_piece *ret_file, struct client_piece *ret_schema)
{
    const char *at = sql;
    struct client_piece word = client_token(&at);
    while (client_piece_is(word, ";"))
        word = client_token(&at);
    if (!client_piece_is(word, "ATTACH"))
        return false;
    const char *start = at;
    if (client_piece_is(client_token(&at), "DATABASE"))
        start = at;
    at = start;
    const char *as = NULL, *end = NULL;
    int depth = 0;
    while ((word = client_token(&at)).length > 0 && end == NULL) {
        depth += client_piece_is(word, "(") - client_piece_is(word, ")");
        if (depth == 0 && as == NULL && client_piece_is(word, "AS"))
            as = word.start;
        else if (depth == 0 && (client_piece_is(word, "KEY") || client_piece_is(word, ";")))
            end = word.start;
    }
    if (as == NULL)
        return false;
    *ret_file = (struct client_piece){start, (size_t)(as - start)};
    *ret_schema = (struct client_piece){as + 2, (size_t)((end != NULL ? end : as + strlen(as)) - as - 2)};
    return true;
}

/* A name that stands alone is a text here, as in SQLite: the expression with quotes around it. */
static char *as_expression(struct client_piece piece)
{
    char *copy = strndup(piece.start, piece.length);
    const char *at = copy;
    struct client_piece first = {NULL, 0}, second = {NULL, 0};
    if (copy != NULL) {
        first = client_token(&at);
        second = client_token(&at);
    }
    bool is_name = first.length > 0 && second.length == 0 &&
                   (client_is_word(first.start[0]) || strchr("\"`[", first.start[0]) != NULL) &&
                   first.start[0] != '$' && !(first.start[0] >= '0' && first.start[0] <= '9') &&
                   !client_piece_is(first, "NULL");
    char *made = NULL;
    if (copy != NULL && is_name && client_is_word(first.start[0]))
        made = client_real.sqlite3_mprintf("'%.*s'", (int)first.length, first.start);
    else if (copy != NULL && is_name)
        made = client_real.sqlite3_mprintf("'%.*q'", (int)first.length - 2, first.start + 1);
    else if (copy != NULL)
        made = client_real.sqlite3_mprintf("%s", copy);
    free(copy);
    return made;
}

/* The two texts. SQLITE_OK: the caller frees both. */
static int evaluate(struct client_statement *statement, char **ret_file, char **ret_schema)
{
    struct client_remote *remote = statement->remote;
    struct client_piece file, schema;
    if (!split(statement->sql, &file, &schema))
        return client_error_set(remote, SQLITE_ERROR, "this form of ATTACH is not understood");
    char *left = as_expression(file), *right = as_expression(schema);
    char *both = left != NULL && right != NULL ? client_real.sqlite3_mprintf("%s\n,%s", left, right) : NULL;
    sqlite3_stmt *row = NULL;
    int code = both != NULL ? client_evaluate(statement, both, &row) : client_error_set(remote, SQLITE_NOMEM, NULL);
    if (code == SQLITE_OK) {
        const char *texts[2];
        for (int i = 0; i < 2; i++)
            texts[i] = (const char *)client_real.sqlite3_column_text(row, i);
        *ret_file = strdup(texts[0] != NULL ? texts[0] : "");
        *ret_schema = strdup(texts[1] != NULL ? texts[1] : "");
    }
    (void)client_real.sqlite3_finalize(row);
    client_real.sqlite3_free(both);
    client_real.sqlite3_free(left);
    client_real.sqlite3_free(right);
    return code;
}

/* Tells the server to attach `database`. */
static int attach(struct client_remote *remote, const char *database, const char *schema, const char *filename,
                  uint8_t flags)
{
    struct sq_buf *out = client_request_begin(remote, NATIVE_ATTACH);
    native_put_text(out, database);
    native_put_text(out, schema);
    sq_buf_put_u8(out, flags);
    int code = client_request_end(remote, NULL, NULL);
    if (code == SQLITE_OK && !client_databases_attach(remote, schema, database, filename, flags))
        return client_error_set(remote, SQLITE_NOMEM, NULL);
    return code;
}

/* A database without a file, which is SQLite's affair on the server. */
static int attach_fileless(struct client_remote *remote, const char *file, const char *schema)
{
    char *sql = client_real.sqlite3_mprintf("ATTACH %Q AS %Q", file, schema);
    int code = sql != NULL ? client_remote_exec(remote, sql, NULL, NULL) : client_error_set(remote, SQLITE_NOMEM, NULL);
    client_real.sqlite3_free(sql);
    return code;
}

/* Attaches what `name` means. Opening it makes file and database, where there are none, and says what the server calls
 * it. */
static int attach_name(struct client_remote *remote, const struct client_naming *naming, const struct client_name *name,
                       const char *file, const char *schema)
{
    struct sq_error err;
    struct client_remote *other;
    sq_error_clear(&err);
    int flags = (remote->open_flags & SQLITE_OPEN_CREATE) != 0 || !remote->is_readonly
                    ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                    : SQLITE_OPEN_READONLY;
    sq_status status = client_open_name(naming, name, flags, &err, &other);
    if (status == SQ_NOT_FOUND)
        return client_error_set(remote, SQLITE_CANTOPEN, "unable to open database: %s", file);
    if (status != SQ_OK)
        return client_error_set(remote, SQLITE_CANTOPEN, "unable to open database: %s: %s", file, err.text);
    int code;
    if (!pgclient_target_is_same_server(remote->target, other->target))
        code = client_error_set(remote, SQLITE_ERROR, "unable to attach '%s': it is a database of another server, %s",
                                file, pgclient_target_label(other->target));
    else
        code =
            attach(remote, other->database, schema, other->filename, other->is_readonly ? NATIVE_ATTACH_READONLY : 0);
    client_remote_free(other);
    return code;
}

static int attach_file(struct client_statement *statement, const char *file, const char *schema)
{
    struct client_remote *remote = statement->remote;
    struct client_naming naming;
    struct client_name name;
    struct sq_error err;
    client_naming_read(&naming);
    sq_error_clear(&err);
    if (client_naming_decide(&naming, file, 0, NULL, &err, &name) != SQ_OK)
        return client_error_set(remote, SQLITE_CANTOPEN, "unable to open database: %s: %s", file, err.text);
    int code;
    if (client_databases_has(remote, schema)) /* before a file is made */
        code = client_error_set(remote, SQLITE_ERROR, "database %s is already in use", schema);
    else if (name.share != NULL)
        code = client_error_set(
            remote, SQLITE_ERROR,
            "unable to attach '%s': a database that is shared in the server's memory cannot be attached", file);
    else if (file[0] == '\0' || (name.database != NULL && strcmp(name.database, NATIVE_MEMORY_DATABASE) == 0) ||
             strcmp(file, NATIVE_MEMORY_DATABASE) == 0)
        code = attach_fileless(remote, file[0] == '\0' ? file : NATIVE_MEMORY_DATABASE, schema);
    else if (name.place == CLIENT_LOCAL || name.place == CLIENT_LOCAL_THOUGH_MAPPED)
        code = client_error_set(remote, SQLITE_ERROR,
                                "unable to attach '%s': it is a local file, this is a remote database", file);
    else
        code = attach_name(remote, &naming, &name, file, schema);
    client_name_done(&name);
    return code;
}

int client_attach_step(struct client_statement *statement)
{
    sq_assert(statement->facts.is_attach);
    char *file = NULL, *schema = NULL;
    int code = evaluate(statement, &file, &schema);
    if (code == SQLITE_OK && file != NULL && schema != NULL)
        code = attach_file(statement, file, schema);
    else if (code == SQLITE_OK)
        code = client_error_set(statement->remote, SQLITE_NOMEM, NULL);
    free(file);
    free(schema);
    return code;
}
