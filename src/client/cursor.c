/* client/cursor.c: cursors of an application's virtual tables. See table.h and https://sqlite.org/vtab.html
 *
 * With a row come the columns that the server wishes for, in its order: xColumn and xRowid are called for them as SQLite
 * would, one after the other. The first that fails is the last. */
#include <stdlib.h>
#include <string.h>

#include "client/table.h"

/* The cursor whose number is next in the message; NULL: there is none, it is another table's, or a method of it runs. */
static struct client_cursor *read_cursor(struct client_frame *frame, struct pgwire_cursor *cursor,
                                         const struct client_table *table)
{
    uint64_t number = pgwire_get_u64(cursor);
    struct client_cursor *found = sq_map_get(&frame->calls->cursors, &number, sizeof(number));
    return found != NULL && found->table == table && !found->is_busy ? found : NULL;
}

/* --- Opening and closing --- */

/* NULL: no memory. */
static struct client_cursor *cursor_new(struct client_table *table, uint64_t number, sqlite3_vtab_cursor *theirs)
{
    struct client_cursor *cursor = malloc(sizeof(*cursor));
    if (cursor == NULL)
        return NULL;
    *cursor = (struct client_cursor){.number = number, .table = table, .cursor = theirs};
    if (sq_map_put(&table->calls->cursors, &number, sizeof(number), cursor, NULL) != SQ_OK) {
        free(cursor);
        return NULL;
    }
    sq_list_init(&cursor->links);
    sq_list_push_front(&table->calls->cursor_list, &cursor->links);
    return cursor;
}

void client_method_open(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    uint64_t number = pgwire_get_u64(cursor);
    sqlite3_vtab_cursor *theirs = NULL;
    if (!pgwire_cursor_is_done(cursor) || sq_map_get(&frame->calls->cursors, &number, sizeof(number)) != NULL) {
        client_calls_malformed(frame);
        return;
    }
    sqlite3_vtab *vtab = table->vtab;
    int result = vtab->pModule->xOpen != NULL ? vtab->pModule->xOpen(vtab, &theirs) : SQLITE_ERROR;
    if (result == SQLITE_OK && theirs == NULL)
        result = SQLITE_ERROR;
    if (result == SQLITE_OK) {
        theirs->pVtab = vtab;
        if (cursor_new(table, number, theirs) != NULL) {
            vtab->nRef++;
            table->cursor_count++;
        } else {
            (void)vtab->pModule->xClose(theirs);
            result = SQLITE_NOMEM;
        }
    }
    (void)client_table_answer(frame, table, result);
    client_call_answer_end(frame->remote);
}

void client_method_close(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    struct client_cursor *found = read_cursor(frame, cursor, table);
    if (!pgwire_cursor_is_done(cursor) || found == NULL) {
        client_calls_malformed(frame);
        return;
    }
    int result = client_cursor_close(found);
    (void)client_table_answer(frame, table, result);
    client_call_answer_end(frame->remote);
}

void client_call_cursor_free(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    uint64_t number = pgwire_get_u64(cursor);
    struct client_cursor *found = sq_map_get(&frame->calls->cursors, &number, sizeof(number));
    if (pgwire_cursor_is_done(cursor) && found != NULL && !found->is_busy)
        (void)client_cursor_close(found);
    else
        client_calls_malformed(frame);
}

/* --- Columns --- */

/* "sqld call" */
static void run_column(struct client_context *context, int count, sqlite3_value **values)
{
    sqlite3_vtab_cursor *theirs = context->cursor->cursor;
    (void)count;
    (void)values;
    context->column_result =
        theirs->pVtab->pModule->xColumn(theirs, (sqlite3_context *)(void *)context->handle, context->column);
}

/* Calls xColumn, and puts what it gives. True: it has failed. */
static bool put_column(struct client_frame *frame, struct client_cursor *cursor, const struct native_wish *wish,
                       struct sq_buf *to)
{
    struct client_context *context = &frame->context;
    sqlite3_vtab *vtab = cursor->table->vtab;
    struct native_given given = {.kind = NATIVE_GIVEN_NOTHING};
    struct client_row *row;
    context->run_cb = run_column;
    context->function = NULL;
    context->cursor = cursor;
    context->column = wish->column;
    context->is_for_update = wish->is_for_update;
    context->has_result = false;
    context->pointer = NULL;
    context->auxiliary_count = 0;
    context->column_result = SQLITE_OK;
    int code = client_row_call(frame, 0, &row);
    context->run_cb = NULL;
    context->cursor = NULL;
    given.head.result = context->column_result;
    if (vtab->zErrMsg != NULL)
        given.head.message = (struct pgwire_bytes){(const uint8_t *)vtab->zErrMsg, strlen(vtab->zErrMsg)};
    if (code != SQLITE_ROW) {
        const char *message = client_real.sqlite3_errmsg(frame->calls->values_db);
        given.kind = NATIVE_GIVEN_ERROR;
        given.code = code;
        given.message = (struct pgwire_bytes){(const uint8_t *)message, strlen(message)};
    } else if (context->has_result) {
        given.kind = NATIVE_GIVEN_VALUE;
        client_call_value_of(frame, 0, client_real.sqlite3_column_value(row->stmt, 0), &given.value);
    }
    native_put_given(to, &given);
    client_row_close(row);
    client_calls_drop_result(frame->calls, SQ_STEAL(context->pointer));
    client_real.sqlite3_free(vtab->zErrMsg);
    vtab->zErrMsg = NULL;
    return native_given_is_failure(&given);
}

static bool put_rowid(struct client_cursor *cursor, struct sq_buf *to)
{
    sqlite3_vtab_cursor *theirs = cursor->cursor;
    sqlite3_vtab *vtab = theirs->pVtab;
    sqlite3_int64 rowid = 0;
    struct native_given given = {.kind = NATIVE_GIVEN_VALUE};
    given.head.result = vtab->pModule->xRowid != NULL ? vtab->pModule->xRowid(theirs, &rowid) : SQLITE_ERROR;
    if (vtab->zErrMsg != NULL)
        given.head.message = (struct pgwire_bytes){(const uint8_t *)vtab->zErrMsg, strlen(vtab->zErrMsg)};
    given.value.value.kind = SQ_VALUE_INTEGER;
    given.value.value.integer = rowid;
    native_put_given(to, &given);
    client_real.sqlite3_free(vtab->zErrMsg);
    vtab->zErrMsg = NULL;
    return given.head.result != SQLITE_OK;
}

static bool put_wish(struct client_frame *frame, struct client_cursor *cursor, const struct native_wish *wish,
                     struct sq_buf *to)
{
    return wish->column == NATIVE_ROWID ? put_rowid(cursor, to) : put_column(frame, cursor, wish, to);
}

void client_method_column(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    struct client_cursor *found = read_cursor(frame, cursor, table);
    struct native_wish wish = {.column = (int32_t)pgwire_get_u32(cursor)};
    wish.is_for_update = pgwire_get_u8(cursor) != 0;
    if (!pgwire_cursor_is_done(cursor) || found == NULL || table->vtab->pModule->xColumn == NULL) {
        client_calls_malformed(frame);
        return;
    }
    struct sq_buf given; /* the application may make requests, which are written where the answer goes */
    sq_buf_init(&given, INT32_MAX);
    found->is_busy = true;
    (void)put_wish(frame, found, &wish, &given);
    found->is_busy = false;
    struct sq_buf *out = client_call_answer_begin(frame->remote);
    out->is_failed |= given.is_failed;
    sq_buf_put(out, sq_buf_bytes(&given), sq_buf_length(&given));
    client_call_answer_end(frame->remote);
    sq_buf_done(&given);
}

/* --- Rows --- */

/* The end of xFilter and xNext: asks xEof, and for what is wished. */
static void answer_row(struct client_frame *frame, struct client_cursor *cursor, int result,
                       const struct native_wish *wishes, size_t wish_count)
{
    sqlite3_vtab_cursor *theirs = cursor->cursor;
    struct client_table *table = cursor->table;
    const sqlite3_module *methods = table->vtab->pModule;
    bool is_eof = result != SQLITE_OK || methods->xEof == NULL || methods->xEof(theirs) != 0;
    struct sq_buf given;
    size_t count = 0;
    sq_buf_init(&given, INT32_MAX);
    bool has_failed = is_eof || methods->xColumn == NULL;
    while (!has_failed && count < wish_count && !given.is_failed)
        has_failed = put_wish(frame, cursor, &wishes[count++], &given);
    struct sq_buf *out = client_table_answer(frame, table, result);
    if (result == SQLITE_OK)
        sq_buf_put_u8(out, is_eof);
    if (!is_eof) {
        sq_buf_put_u16(out, (uint16_t)count);
        sq_buf_put(out, sq_buf_bytes(&given), sq_buf_length(&given));
        out->is_failed |= given.is_failed;
    }
    client_call_answer_end(frame->remote);
    sq_buf_done(&given);
}

void client_method_next(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    struct client_cursor *found = read_cursor(frame, cursor, table);
    struct native_wish wishes[NATIVE_WISHES_MAX];
    size_t wish_count;
    native_get_wishes(cursor, wishes, &wish_count);
    if (!pgwire_cursor_is_done(cursor) || found == NULL || table->vtab->pModule->xNext == NULL) {
        client_calls_malformed(frame);
        return;
    }
    found->is_busy = true;
    int result = table->vtab->pModule->xNext(found->cursor);
    answer_row(frame, found, result, wishes, wish_count);
    found->is_busy = false;
}

/* idxStr: what xBestIndex has put there. False: no memory, or it is none of the table's. */
static bool find_index(struct client_cursor *cursor, const struct native_index *index, const char **ret_text)
{
    const struct client_table *table = cursor->table;
    client_real.sqlite3_free(cursor->index_text);
    cursor->index_text = NULL;
    *ret_text = NULL;
    switch (index->kind) {
    case NATIVE_INDEX_NULL:
        break;
    case NATIVE_INDEX_BYTES:
        cursor->index_text = client_real.sqlite3_malloc64(index->bytes.length + 1);
        if (cursor->index_text == NULL)
            return false;
        memcpy(cursor->index_text, index->bytes.data, index->bytes.length);
        cursor->index_text[index->bytes.length] = '\0';
        *ret_text = cursor->index_text;
        break;
    case NATIVE_INDEX_NUMBER:
        if (index->pointer == 0 || index->pointer > table->index_count)
            return false;
        *ret_text = table->index_texts[index->pointer - 1];
        break;
    }
    return true;
}

void client_method_filter(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    struct client_cursor *found = read_cursor(frame, cursor, table);
    struct native_index index;
    struct native_wish wishes[NATIVE_WISHES_MAX];
    size_t wish_count;
    const char *text = NULL;
    native_get_index(cursor, &index);
    size_t count = pgwire_get_u16(cursor);
    bool is_read = client_frame_read_values(frame, cursor, 0, count);
    native_get_wishes(cursor, wishes, &wish_count);
    if (!is_read || !pgwire_cursor_is_done(cursor) || found == NULL || table->vtab->pModule->xFilter == NULL ||
        !find_index(found, &index, &text)) {
        client_calls_malformed(frame);
        return;
    }
    struct client_arguments arguments;
    found->is_busy = true;
    int result = client_arguments_open(&arguments, frame, count);
    if (result == SQLITE_OK)
        result = table->vtab->pModule->xFilter(found->cursor, index.number, text, (int)count, arguments.values);
    client_arguments_close(&arguments);
    answer_row(frame, found, result, wishes, wish_count);
    found->is_busy = false;
}
