/* client/column.c: the values of a row and the names of columns (https://sqlite.org/c3ref/column_blob.html).
 *
 * A row is decoded when it is stepped to: its texts and blobs are bytes of the batch. What an application asks for in the
 * form in which it came is given from there; everything else (a text of a number, a number of a text, UTF-16) is asked of
 * a real sqlite3_value with the same contents, which lives until the next step, so that it is SQLite that converts.
 *
 * A text needs a NUL behind it. The byte behind it in the batch is the tag of the next value, which has been read already,
 * so that the NUL can stand there; the first byte of the next row, which has not, is kept in `next_byte`. */
#include <stdlib.h>
#include <string.h>

#include "client/convert.h"
#include "client/remote_api.h"
#include "client/statement.h"
#include "client/utf16.h"

bool client_statement_read_row(struct client_statement *statement)
{
    sq_assert(statement->rows_left > 0 && !statement->has_row);
    statement->batch[statement->rows.next - statement->batch] = statement->next_byte;
    native_get_values(&statement->rows, statement->row, statement->column_count);
    if (statement->rows.is_failed)
        return false;
    statement->next_byte = *statement->rows.next; /* there is one byte behind the last row */
    statement->rows_left--;
    statement->has_row = true;
    return true;
}

void client_statement_drop_row(struct client_statement *statement)
{
    statement->has_row = false;
    for (size_t i = 0; statement->value_count > 0; i++) {
        sq_assert(i < statement->column_count);
        if (statement->values[i] == NULL)
            continue;
        client_real.sqlite3_value_free(statement->values[i]);
        statement->values[i] = NULL;
        statement->value_count--;
    }
}

/* --- Values --- */

/* The value of a column that is there and may be read without the mutex; NULL: enter it and look. */
static inline const struct sq_value *value_peek(const sqlite3_stmt *pointer, int column)
{
    const struct client_statement *statement = client_statement_peek(pointer);
    bool is_there = statement != NULL && statement->has_row && (unsigned)column < statement->column_count;
    return is_there ? &statement->row[column] : NULL;
}

/* The value of a column, with the mutex entered, or NULL: there is none (and SQLITE_RANGE is recorded), and the mutex is
 * left. */
static const struct sq_value *value_enter(sqlite3_stmt *pointer, int column, struct client_statement **ret_statement)
{
    struct client_statement *statement = client_statement_enter(pointer);
    *ret_statement = statement;
    if (statement == NULL)
        return NULL;
    if (statement->has_row && column >= 0 && (size_t)column < statement->column_count)
        return &statement->row[column];
    (void)client_remote_leave(statement->remote, client_error_set(statement->remote, SQLITE_RANGE, NULL));
    return NULL;
}

static void value_leave(struct client_statement *statement)
{
    client_remote_leave_quietly(statement->remote);
}

/* The same as a value of the real library's; NULL: no memory, which is recorded. */
static sqlite3_value *real_value(struct client_statement *statement, const struct sq_value *value)
{
    size_t column = (size_t)(value - statement->row);
    sq_assert(column < statement->column_count);
    if (statement->values[column] == NULL) {
        statement->values[column] = client_value_new(statement->remote, value);
        if (statement->values[column] == NULL)
            (void)client_error_set(statement->remote, SQLITE_NOMEM, NULL);
        else
            statement->value_count++;
    }
    return statement->values[column];
}

/* Whether the bytes can be given as they are. */
static bool has_bytes(const struct sq_value *value)
{
    return value->kind == SQ_VALUE_TEXT || value->kind == SQ_VALUE_BLOB;
}

static const char *text_of(struct client_statement *statement, const struct sq_value *value)
{
    if (value->kind == SQ_VALUE_NULL)
        return NULL;
    if (value->kind == SQ_VALUE_TEXT || (value->kind == SQ_VALUE_BLOB && value->bytes.length > 0)) {
        statement->batch[(const uint8_t *)value->bytes.data + value->bytes.length - statement->batch] = 0;
        return value->bytes.data;
    }
    sqlite3_value *real = real_value(statement, value);
    return real != NULL ? (const char *)client_real.sqlite3_value_text(real) : NULL;
}

const char *client_statement_column_text(struct client_statement *statement, size_t column)
{
    sq_assert(statement->has_row && column < statement->column_count);
    return text_of(statement, &statement->row[column]);
}

int client_remote_sqlite3_column_type(sqlite3_stmt *pointer, int column)
{
    static const int types[] = {
        [SQ_VALUE_NULL] = SQLITE_NULL, [SQ_VALUE_INTEGER] = SQLITE_INTEGER, [SQ_VALUE_REAL] = SQLITE_FLOAT,
        [SQ_VALUE_TEXT] = SQLITE_TEXT, [SQ_VALUE_BLOB] = SQLITE_BLOB,
    };
    const struct sq_value *quick = value_peek(pointer, column);
    if (quick != NULL)
        return types[quick->kind];
    struct client_statement *statement;
    const struct sq_value *value = value_enter(pointer, column, &statement);
    if (value == NULL)
        return SQLITE_NULL;
    int type = types[value->kind];
    value_leave(statement);
    return type;
}

sqlite3_int64 client_remote_sqlite3_column_int64(sqlite3_stmt *pointer, int column)
{
    const struct sq_value *quick = value_peek(pointer, column);
    if (quick != NULL && quick->kind == SQ_VALUE_INTEGER)
        return quick->integer;
    struct client_statement *statement;
    const struct sq_value *value = value_enter(pointer, column, &statement);
    if (value == NULL)
        return 0;
    sqlite3_int64 integer = 0;
    if (value->kind == SQ_VALUE_INTEGER) {
        integer = value->integer;
    } else if (value->kind != SQ_VALUE_NULL) {
        sqlite3_value *real = real_value(statement, value);
        integer = real != NULL ? client_real.sqlite3_value_int64(real) : 0;
    }
    value_leave(statement);
    return integer;
}

/* The lower half, as SQLite's. */
int client_remote_sqlite3_column_int(sqlite3_stmt *pointer, int column)
{
    return (int)client_remote_sqlite3_column_int64(pointer, column);
}

double client_remote_sqlite3_column_double(sqlite3_stmt *pointer, int column)
{
    const struct sq_value *quick = value_peek(pointer, column);
    if (quick != NULL && quick->kind == SQ_VALUE_REAL)
        return quick->real;
    struct client_statement *statement;
    const struct sq_value *value = value_enter(pointer, column, &statement);
    if (value == NULL)
        return 0;
    double real = 0;
    if (value->kind == SQ_VALUE_REAL) {
        real = value->real;
    } else if (value->kind == SQ_VALUE_INTEGER) {
        real = (double)value->integer;
    } else if (value->kind != SQ_VALUE_NULL) {
        sqlite3_value *converted = real_value(statement, value);
        real = converted != NULL ? client_real.sqlite3_value_double(converted) : 0;
    }
    value_leave(statement);
    return real;
}

const unsigned char *client_remote_sqlite3_column_text(sqlite3_stmt *pointer, int column)
{
    struct client_statement *statement = client_statement_peek(pointer);
    const struct sq_value *quick = value_peek(pointer, column);
    if (quick != NULL && quick->kind == SQ_VALUE_TEXT)
        return (const unsigned char *)text_of(statement, quick);
    const struct sq_value *value = value_enter(pointer, column, &statement);
    if (value == NULL)
        return NULL;
    const char *text = text_of(statement, value);
    value_leave(statement);
    return (const unsigned char *)text;
}

const void *client_remote_sqlite3_column_blob(sqlite3_stmt *pointer, int column)
{
    struct client_statement *statement = client_statement_peek(pointer);
    const struct sq_value *quick = value_peek(pointer, column);
    if (quick != NULL && has_bytes(quick) && quick->bytes.length > 0)
        return text_of(statement, quick);
    const struct sq_value *value = value_enter(pointer, column, &statement);
    if (value == NULL)
        return NULL;
    const void *blob = NULL;
    if (!has_bytes(value))
        blob = text_of(statement, value);
    else if (value->bytes.length > 0)
        blob = text_of(statement, value); /* with its NUL, which costs nothing */
    value_leave(statement);
    return blob;
}

int client_remote_sqlite3_column_bytes(sqlite3_stmt *pointer, int column)
{
    const struct sq_value *quick = value_peek(pointer, column);
    if (quick != NULL && has_bytes(quick))
        return (int)quick->bytes.length;
    struct client_statement *statement;
    const struct sq_value *value = value_enter(pointer, column, &statement);
    if (value == NULL)
        return 0;
    int bytes = 0;
    if (has_bytes(value)) {
        bytes = (int)value->bytes.length;
    } else if (value->kind != SQ_VALUE_NULL) {
        sqlite3_value *real = real_value(statement, value);
        bytes = real != NULL ? client_real.sqlite3_value_bytes(real) : 0;
    }
    value_leave(statement);
    return bytes;
}

const void *client_remote_sqlite3_column_text16(sqlite3_stmt *pointer, int column)
{
    struct client_statement *statement;
    const struct sq_value *value = value_enter(pointer, column, &statement);
    if (value == NULL)
        return NULL;
    sqlite3_value *real = value->kind != SQ_VALUE_NULL ? real_value(statement, value) : NULL;
    const void *text = real != NULL ? client_real.sqlite3_value_text16(real) : NULL;
    value_leave(statement);
    return text;
}

int client_remote_sqlite3_column_bytes16(sqlite3_stmt *pointer, int column)
{
    struct client_statement *statement;
    const struct sq_value *value = value_enter(pointer, column, &statement);
    if (value == NULL)
        return 0;
    sqlite3_value *real = value->kind != SQ_VALUE_NULL ? real_value(statement, value) : NULL;
    int bytes = real != NULL ? client_real.sqlite3_value_bytes16(real) : 0;
    value_leave(statement);
    return bytes;
}

sqlite3_value *client_remote_sqlite3_column_value(sqlite3_stmt *pointer, int column)
{
    struct client_statement *statement;
    const struct sq_value *value = value_enter(pointer, column, &statement);
    if (value == NULL)
        return statement != NULL ? statement->remote->null_value : NULL;
    sqlite3_value *real = real_value(statement, value);
    value_leave(statement);
    return real;
}

/* --- Names --- */

int client_remote_sqlite3_column_count(sqlite3_stmt *pointer)
{
    const struct client_statement *statement = client_handle_object(pointer, CLIENT_HANDLE_STATEMENT);
    return statement != NULL ? (int)statement->column_count : 0;
}

static const char *name_get(sqlite3_stmt *pointer, int column, enum client_column_text kind)
{
    const struct client_statement *statement = client_handle_object(pointer, CLIENT_HANDLE_STATEMENT);
    if (statement == NULL || column < 0 || (size_t)column >= statement->column_count)
        return NULL;
    return statement->columns[column].text[kind];
}

static const void *name_get16(sqlite3_stmt *pointer, int column, enum client_column_text kind)
{
    struct client_statement *statement = client_statement_enter(pointer);
    if (statement == NULL)
        return NULL;
    const uint16_t *text = NULL;
    if (column >= 0 && (size_t)column < statement->column_count) {
        struct client_column *names = &statement->columns[column];
        if (names->text16[kind] == NULL && names->text[kind] != NULL)
            names->text16[kind] = client_utf16_from_utf8(names->text[kind]);
        text = names->text16[kind];
    }
    client_remote_leave_quietly(statement->remote);
    return text;
}

#define NAMES(function, kind)                                                                                          \
    const char *client_remote_sqlite3_column_##function(sqlite3_stmt *pointer, int column)                             \
    {                                                                                                                  \
        return name_get(pointer, column, kind);                                                                        \
    }                                                                                                                  \
    const void *client_remote_sqlite3_column_##function##16(sqlite3_stmt * pointer, int column)                        \
    {                                                                                                                  \
        return name_get16(pointer, column, kind);                                                                      \
    }
NAMES(name, CLIENT_COLUMN_NAME)
NAMES(decltype, CLIENT_COLUMN_DECLTYPE)
NAMES(database_name, CLIENT_COLUMN_DATABASE)
NAMES(table_name, CLIENT_COLUMN_TABLE)
NAMES(origin_name, CLIENT_COLUMN_ORIGIN)
