/* client/exec.c: sqlite3_exec() and sqlite3_get_table(), which are made of prepare, step and finalize: each statement is one
 * round trip if its rows fit into one batch. Like SQLite's (https://sqlite.org/c3ref/exec.html): the callback may ask to
 * stop, the message is the caller's to free. */
#include <stdlib.h>
#include <string.h>

#include "client/remote_api.h"
#include "client/statement.h"

typedef int row_callback(void *, int, char **, char **);

/* Texts of one row, as the callback gets them: names, then values, then NULL. */
static bool row_collect(struct client_statement *statement, bool has_row, char **texts)
{
    size_t count = statement->column_count;
    for (size_t i = 0; i < count; i++) {
        const char *text = has_row ? client_statement_column_text(statement, i) : NULL;
        if (has_row && text == NULL && statement->row[i].kind != SQ_VALUE_NULL)
            return false;
        texts[i] = client_unconst(statement->columns[i].text[CLIENT_COLUMN_NAME]);
        texts[count + i] = client_unconst(text);
    }
    texts[2 * count] = NULL;
    return true;
}

/* Runs a statement to its end. SQLITE_DONE, or an error, which is recorded. */
static int run(struct client_statement *statement, row_callback *callback, void *argument)
{
    struct client_remote *remote = statement->remote;
    char **texts = NULL;
    int code;
    while ((code = client_statement_step(statement)) == SQLITE_ROW) {
        if (callback == NULL)
            continue;
        if (texts == NULL) /* the count is final with the first row */
            texts = calloc(2 * statement->column_count + 1, sizeof(*texts));
        if (texts == NULL || !row_collect(statement, true, texts)) {
            code = client_error_set(remote, SQLITE_NOMEM, NULL);
            break;
        }
        if (callback(argument, (int)statement->column_count, texts + statement->column_count, texts) != 0) {
            code = SQLITE_ABORT;
            break;
        }
    }
    free(texts);
    return code;
}

/* The first statement of `sql`; *ret_used: its bytes. */
static int exec_one(struct client_remote *remote, const char *sql, size_t length, row_callback *callback,
                    void *argument, size_t *ret_used)
{
    struct client_statement *statement;
    int code = client_statement_prepare(remote, sql, length, 0, true, &statement, ret_used);
    if (statement == NULL)
        return code;
    code = run(statement, callback, argument);
    int end = client_statement_finalize(statement);
    if (code == SQLITE_ABORT)
        return client_error_set(remote, SQLITE_ABORT, NULL);
    return code == SQLITE_NOMEM ? client_error_set(remote, SQLITE_NOMEM, NULL) : end;
}

int client_remote_exec(struct client_remote *remote, const char *sql, row_callback *callback, void *argument)
{
    size_t length = strlen(sql);
    int code = SQLITE_OK;
    while (code == SQLITE_OK && length > 0) {
        size_t used;
        code = exec_one(remote, sql, length, callback, argument, &used);
        sq_assert(used <= length);
        sql += used;
        length -= used;
    }
    return code;
}

int client_remote_sqlite3_exec(sqlite3 *db, const char *sql, row_callback *callback, void *argument, char **ret_message)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    int code = client_remote_exec(remote, sql != NULL ? sql : "", callback, argument);
    if (ret_message != NULL) {
        const char *message = remote->error.message != NULL ? remote->error.message : client_real.sqlite3_errstr(code);
        *ret_message = code != SQLITE_OK ? client_real.sqlite3_mprintf("%s", message) : NULL;
        if (code != SQLITE_OK && *ret_message == NULL)
            code = client_error_set(remote, SQLITE_NOMEM, NULL);
    }
    return client_remote_leave(remote, code);
}

/* --- sqlite3_get_table(), https://sqlite.org/c3ref/free_table.html --- */

/* The result as the caller gets it: one array of texts. In front of it stands how many there are, which
 * sqlite3_free_table() of the real library goes by. */
struct table {
    char **cells;
    uint32_t cell_count;
    uint32_t cell_room;
    int row_count;
    int column_count;
    int code;
    char *message;
};

static bool table_add(struct table *table, const char *text)
{
    if (table->cell_count == table->cell_room) {
        uint32_t room = table->cell_room * 2 + 20;
        char **cells = client_real.sqlite3_realloc64(table->cells, room * sizeof(*cells));
        if (cells == NULL)
            return false;
        table->cells = cells;
        table->cell_room = room;
    }
    char *copy = text != NULL ? client_real.sqlite3_mprintf("%s", text) : NULL;
    if (text != NULL && copy == NULL)
        return false;
    table->cells[table->cell_count++] = copy;
    return true;
}

static int table_row(void *argument, int count, char **values, char **names)
{
    struct table *table = argument;
    table->code = SQLITE_NOMEM;
    if (table->row_count == 0) {
        table->column_count = count;
        for (int i = 0; i < count; i++) {
            if (!table_add(table, names[i]))
                return 1;
        }
    } else if (table->column_count != count) {
        table->code = SQLITE_ERROR;
        table->message =
            client_real.sqlite3_mprintf("sqlite3_get_table() called with two or more incompatible queries");
        return 1;
    }
    for (int i = 0; i < count; i++) {
        if (!table_add(table, values[i]))
            return 1;
    }
    table->row_count++;
    table->code = SQLITE_OK;
    return 0;
}

static void table_free(struct table *table)
{
    for (uint32_t i = 1; i < table->cell_count; i++)
        client_real.sqlite3_free(table->cells[i]);
    client_real.sqlite3_free(table->cells);
}

int client_remote_sqlite3_get_table(sqlite3 *db, const char *sql, char ***ret_cells, int *ret_rows, int *ret_columns,
                                    char **ret_message)
{
    if (ret_cells == NULL)
        return SQLITE_MISUSE;
    *ret_cells = NULL;
    if (ret_rows != NULL)
        *ret_rows = 0;
    if (ret_columns != NULL)
        *ret_columns = 0;
    if (ret_message != NULL)
        *ret_message = NULL;
    struct table table = {.code = SQLITE_OK};
    if (!table_add(&table, NULL))
        return SQLITE_NOMEM;
    int code = client_remote_sqlite3_exec(db, sql, table_row, &table, ret_message);
    if ((code & 0xff) == SQLITE_ABORT && table.code != SQLITE_OK) {
        if (ret_message != NULL && table.message != NULL) {
            client_real.sqlite3_free(*ret_message);
            *ret_message = SQ_STEAL(table.message);
        }
        code = table.code;
    }
    client_real.sqlite3_free(table.message);
    if (code != SQLITE_OK) {
        table_free(&table);
        return code;
    }
    const uintptr_t count = table.cell_count;
    memcpy(&table.cells[0], &count, sizeof(count));
    *ret_cells = table.cells + 1;
    if (ret_rows != NULL)
        *ret_rows = table.row_count;
    if (ret_columns != NULL)
        *ret_columns = table.column_count;
    return SQLITE_OK;
}
