/* client/frame.c: one call that is being served: its message, its arguments, its context. See calls_internal.h.
 *
 * Frames are kept for the next call of the same depth, with the statements that they have prepared. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/auto_extension.h"
#include "client/calls_internal.h"

/* Known to versions of SQLite from 3.45 on, which want to be told who makes subtypes; others ignore it. */
#ifndef SQLITE_RESULT_SUBTYPE
#define SQLITE_RESULT_SUBTYPE 0x001000000
#endif

/* --- Life --- */

static struct client_frame *frame_new(struct client_calls *calls)
{
    struct client_frame *frame = calloc(1, sizeof(*frame));
    if (frame == NULL)
        return NULL;
    frame->calls = calls;
    frame->remote = calls->remote;
    frame->old_row.frame = frame->new_row.frame = frame;
    for (size_t i = 0; i <= CLIENT_ROWS_CACHED_MAX; i++)
        frame->call_rows[i].frame = frame;
    if (client_handle_new(CLIENT_HANDLE_CONTEXT, &frame->context, &frame->context.handle) != SQ_OK) {
        free(frame);
        return NULL;
    }
    return frame;
}

void client_frame_free(struct client_frame *frame)
{
    if (frame == NULL)
        return;
    (void)client_real.sqlite3_finalize(frame->old_row.stmt);
    (void)client_real.sqlite3_finalize(frame->new_row.stmt);
    for (size_t i = 0; i <= CLIENT_ROWS_CACHED_MAX; i++)
        (void)client_real.sqlite3_finalize(frame->call_rows[i].stmt);
    client_handle_free(frame->context.handle);
    free(frame->context.auxiliaries);
    free(frame->values);
    free(frame->body);
    free(frame);
}

static bool copy_body(struct client_frame *frame, const uint8_t *body, size_t length)
{
    if (length > frame->body_cap) {
        uint8_t *grown = malloc(length);
        if (grown == NULL)
            return false;
        free(frame->body);
        frame->body = grown;
        frame->body_cap = length;
    }
    if (length > 0)
        memcpy(frame->body, body, length);
    return true;
}

struct client_frame *client_frame_enter(struct client_calls *calls, const uint8_t *body, size_t length)
{
    if (calls->depth >= NATIVE_CALL_DEPTH_MAX)
        return NULL;
    struct client_frame **frame = &calls->frames[calls->depth];
    if (*frame == NULL)
        *frame = frame_new(calls);
    if (*frame == NULL || !copy_body(*frame, body, length))
        return NULL;
    calls->depth++;
    return *frame;
}

void client_frame_leave(struct client_frame *frame)
{
    enum { KEPT_BYTES_MAX = 64 * 1024 };
    struct client_calls *calls = frame->calls;
    sq_assert(calls->depth > 0 && calls->frames[calls->depth - 1] == frame);
    if (frame->body_cap > KEPT_BYTES_MAX) {
        free(frame->body);
        frame->body = NULL;
        frame->body_cap = 0;
    }
    calls->depth--;
}

/* --- Reading the message --- */

bool client_frame_read_values(struct client_frame *frame, struct pgwire_cursor *cursor, size_t offset, size_t count)
{
    /* A value has a byte at least. */
    if (cursor->is_failed || count > cursor->left) {
        pgwire_cursor_fail(cursor);
        return false;
    }
    if (offset + count > frame->value_cap) {
        struct native_value *grown = reallocarray(frame->values, offset + count, sizeof(*grown));
        if (grown == NULL)
            return false;
        frame->values = grown;
        frame->value_cap = offset + count;
    }
    for (size_t i = 0; i < count; i++)
        native_get_argument(cursor, &frame->values[offset + i]);
    return !cursor->is_failed;
}

const char *client_frame_read_text(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    struct pgwire_bytes text = native_get_bytes(cursor);
    if (text.data == NULL)
        return NULL;
    /* It moves over the last byte of its length, which has been read: so there is room for a NUL, and what follows
     * stays. */
    sq_assert(text.data > frame->body && (size_t)(text.data - frame->body) + text.length <= frame->body_cap);
    char *to = (char *)frame->body + (text.data - frame->body) - 1;
    memmove(to, to + 1, text.length);
    to[text.length] = '\0';
    return to;
}

/* --- Values --- */

static void result_pointer(struct client_calls *calls, sqlite3_context *context, uint64_t number)
{
    const struct client_pointer *pointer = client_pointer_find(calls->remote, number);
    if (pointer != NULL)
        client_real.sqlite3_result_pointer(context, pointer->pointer, pointer->type, NULL);
    else
        client_real.sqlite3_result_null(context);
}

static void result_plain(sqlite3_context *context, const struct sq_value *value)
{
    const char *data = value->kind >= SQ_VALUE_TEXT && value->bytes.data != NULL ? value->bytes.data : "";
    switch (value->kind) {
    case SQ_VALUE_NULL:
        client_real.sqlite3_result_null(context);
        break;
    case SQ_VALUE_INTEGER:
        client_real.sqlite3_result_int64(context, value->integer);
        break;
    case SQ_VALUE_REAL:
        client_real.sqlite3_result_double(context, value->real);
        break;
    case SQ_VALUE_TEXT:
        client_real.sqlite3_result_text64(context, data, value->bytes.length, SQLITE_STATIC, SQLITE_UTF8);
        break;
    case SQ_VALUE_BLOB:
        client_real.sqlite3_result_blob64(context, data, value->bytes.length, SQLITE_STATIC);
        break;
    }
}

/* "sqld value"(i) */
static void value_function(sqlite3_context *context, int argument_count, sqlite3_value **arguments)
{
    struct client_calls *calls = client_real.sqlite3_user_data(context);
    sqlite3_int64 index = argument_count == 1 ? client_real.sqlite3_value_int64(arguments[0]) : -1;
    if (calls->row == NULL || index < 0 || (size_t)index >= calls->row->count) {
        client_real.sqlite3_result_error(context, "no call is being served", -1);
        return;
    }
    const struct native_value *value = &calls->row->values[index];
    if (value->kind == NATIVE_VALUE_PLAIN)
        result_plain(context, &value->value);
    else if (value->kind == NATIVE_VALUE_POINTER)
        result_pointer(calls, context, value->number);
    else if (value->kind == NATIVE_VALUE_ZEROBLOB)
        (void)client_real.sqlite3_result_zeroblob64(context, value->number);
    else /* arguments.c knows what stands for NULL */
        client_real.sqlite3_result_null(context);
    if (value->has_subtype)
        client_real.sqlite3_result_subtype(context, value->subtype);
}

/* "sqld call"(…) */
static void call_function(sqlite3_context *real, int argument_count, sqlite3_value **arguments)
{
    struct client_calls *calls = client_real.sqlite3_user_data(real);
    if (calls->row == NULL || calls->row->frame->context.run_cb == NULL) {
        client_real.sqlite3_result_error(real, "no call is being served", -1);
        return;
    }
    struct client_context *context = &calls->row->frame->context;
    sq_assert(context->real == NULL);
    context->real = real;
    context->run_cb(context, argument_count, arguments);
    context->real = NULL;
}

/* Opens calls->values_db, which is used under the mutex of the remote connection and needs none of its own. */
static int values_open(struct client_calls *calls)
{
    const int flags = SQLITE_UTF8 | SQLITE_SUBTYPE | SQLITE_RESULT_SUBTYPE;
    sqlite3 *db;
    int code = client_inner_open(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX);
    if (code == SQLITE_OK)
        code =
            client_real.sqlite3_create_function_v2(db, "sqld value", 1, flags, calls, value_function, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code =
            client_real.sqlite3_create_function_v2(db, "sqld call", -1, flags, calls, call_function, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        calls->values_db = db;
    else
        (void)client_real.sqlite3_close(db);
    return code;
}

/* --- Rows --- */

static int prepare(struct client_row *row, size_t count, bool is_call)
{
    sq_assert(row->frame != NULL && row->values == NULL);
    if (row->stmt != NULL && row->count == count)
        return SQLITE_OK;
    (void)client_real.sqlite3_finalize(row->stmt);
    row->stmt = NULL;
    struct client_calls *calls = row->frame->calls;
    int code = calls->values_db != NULL ? SQLITE_OK : values_open(calls);
    if (code != SQLITE_OK)
        return code;
    sqlite3_str *sql = client_real.sqlite3_str_new(NULL);
    client_real.sqlite3_str_appendall(sql, is_call ? "SELECT \"sqld call\"(" : "SELECT ");
    for (size_t i = 0; i < count; i++) {
        char item[40];
        (void)snprintf(item, sizeof(item), "%s\"sqld value\"(%zu)", i > 0 ? "," : "", i);
        client_real.sqlite3_str_appendall(sql, item);
    }
    client_real.sqlite3_str_appendall(sql, is_call ? ")" : count == 0 ? "NULL" : "");
    char *text = client_real.sqlite3_str_finish(sql);
    if (text == NULL)
        return SQLITE_NOMEM;
    code = client_real.sqlite3_prepare_v3(calls->values_db, text, -1, SQLITE_PREPARE_PERSISTENT, &row->stmt, NULL);
    client_real.sqlite3_free(text);
    row->count = count;
    return code;
}

static int step(struct client_row *row, const struct native_value *values)
{
    struct client_calls *calls = row->frame->calls;
    struct client_row *outer = calls->row;
    sq_assert(row->stmt != NULL && (values != NULL || row->count == 0));
    row->values = values;
    calls->row = row;
    int code = client_real.sqlite3_step(row->stmt);
    sq_assert(calls->row == row);
    calls->row = outer;
    return code == SQLITE_ROW ? SQLITE_ROW : client_real.sqlite3_extended_errcode(calls->values_db);
}

int client_row_open(struct client_frame *frame, struct client_row *row, const struct native_value *values, size_t count)
{
    sq_assert(row->frame == frame);
    int code = prepare(row, count, false);
    return code == SQLITE_OK ? step(row, values) : code;
}

int client_row_call(struct client_frame *frame, size_t count, struct client_row **ret_row)
{
    sq_assert(frame->context.run_cb != NULL);
    struct client_row *row = &frame->call_rows[count < CLIENT_ROWS_CACHED_MAX ? count : CLIENT_ROWS_CACHED_MAX];
    *ret_row = row;
    int code = prepare(row, count, true);
    return code == SQLITE_OK ? step(row, frame->values) : code;
}

void client_row_close(struct client_row *row)
{
    (void)client_real.sqlite3_reset(row->stmt); /* an error was told by the step */
    row->values = NULL;
}
