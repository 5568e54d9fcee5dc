/* session/native_cursor.c: cursors of a client's virtual table. See native_table.h.
 *
 * A row is one round trip. SQLite asks xEof after each xFilter and xNext, so the answer to these says that, too; and it
 * brings along the columns that SQLite is going to ask for. Which those are is not known, but SQLite's program does the same
 * with each row as long as nothing in the row makes it jump: so what is wished for is the *beginning that all rows of this
 * cursor had in common*, of the calls that SQLite made, in their order. The first row is asked for column by column.
 *
 *     row 1   asked for: 0, 1, 2               wished for next: 0, 1, 2
 *     row 2   asked for: 0, 1, 2  all there                     0, 1, 2
 *     row 3   asked for: 0        WHERE says no                 0             xColumn was called for 1 and 2 in vain
 *     row 4   asked for: 0        there
 *             asked for: 1, 2     one by one
 *
 * The wishes only become fewer, so a cursor calls xColumn in vain at most once for each. What came along is
 * used only if the client has done nothing since (`turn`), and only in its order: then the client's methods are called as
 * often, in the order and in the state in which SQLite would have called them itself.
 *
 * Rows are not read ahead: xNext before SQLite wants the row would show in what the table's other methods, functions and
 * the application see. */
#include "session/native_table.h"

#include <stdlib.h>

struct native_cursor {
    sqlite3_vtab_cursor base;
    uint64_t number;
    bool is_eof;
    bool has_row;                                /* it is on a row */
    bool has_habit;                              /* one row at least has gone by */
    struct native_wish asked[NATIVE_WISHES_MAX]; /* of this row, so far */
    size_t asked_count;
    struct native_wish wishes[NATIVE_WISHES_MAX]; /* what all rows before began with */
    size_t wish_count;
    struct sq_buf ahead; /* what came with the row: a struct native_given each, for the first wishes */
    size_t ahead_offset; /* of what has not been used */
    size_t ahead_left;   /* how many there are of that */
    uint64_t turn;       /* of the calls, when that came */
};

static struct native_cursor *cursor_of(sqlite3_vtab_cursor *base)
{
    return (struct native_cursor *)(void *)base;
}

static struct native_calls *calls_of(const struct native_cursor *cursor)
{
    return native_table_of(cursor->base.pVtab)->module->calls;
}

/* --- Opening and closing -------------------------------------------------------------------------------------------- */

int native_cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **ret_cursor)
{
    struct native_table *table = native_table_of(base);
    struct native_calls *calls = table->module->calls;
    struct native_method_call call;
    struct native_cursor *cursor = calloc(1, sizeof(*cursor));
    if (cursor == NULL)
        return SQLITE_NOMEM;
    int result = native_method_begin(&call, table, NATIVE_METHOD_OPEN);
    if (result == SQLITE_OK) {
        cursor->number = ++calls->table_number;
        sq_buf_put_u64(call.out, cursor->number);
        result = native_method_exchange(&call);
    }
    result = native_method_end(&call, &base->zErrMsg, result);
    if (result != SQLITE_OK) {
        free(cursor);
        return result;
    }
    sq_buf_init(&cursor->ahead, INT32_MAX);
    *ret_cursor = &cursor->base;
    return SQLITE_OK;
}

/* SQLite has done with it, whatever this returns. */
int native_cursor_close(sqlite3_vtab_cursor *base)
{
    struct native_cursor *cursor = cursor_of(base);
    struct native_calls *calls = calls_of(cursor);
    int result = SQLITE_OK;
    if (calls != NULL && calls->native->may_call && calls->native->depth < NATIVE_CALL_DEPTH_MAX) {
        struct native_method_call call;
        result = native_method_begin(&call, native_table_of(base->pVtab), NATIVE_METHOD_CLOSE);
        if (result == SQLITE_OK) {
            sq_buf_put_u64(call.out, cursor->number);
            result = native_method_exchange(&call);
        }
        result = native_method_end(&call, &base->pVtab->zErrMsg, result);
    } else if (calls != NULL) {
        native_call_say(calls, NATIVE_CALL_CURSOR_FREE, cursor->number);
    }
    sq_buf_done(&cursor->ahead);
    free(cursor);
    return result;
}

/* --- Wishes --------------------------------------------------------------------------------------------------------- */

/* A row goes by. */
static void learn(struct native_cursor *cursor)
{
    if (!cursor->has_row)
        return;
    size_t common = 0;
    if (!cursor->has_habit) {
        memcpy(cursor->wishes, cursor->asked, sizeof(cursor->wishes));
        common = cursor->asked_count;
    }
    while (cursor->has_habit && common < cursor->wish_count && common < cursor->asked_count &&
           cursor->wishes[common].column == cursor->asked[common].column &&
           cursor->wishes[common].is_for_update == cursor->asked[common].is_for_update)
        common++;
    cursor->wish_count = common;
    cursor->has_habit = true;
    cursor->has_row = false;
}

/* Whether that can be an answer to this. */
static bool is_sound(const struct native_wish *wish, const struct native_given *given)
{
    bool is_integer = given->kind == NATIVE_GIVEN_VALUE && given->value.kind == NATIVE_VALUE_PLAIN &&
                      given->value.value.kind == SQ_VALUE_INTEGER;
    return wish->column != NATIVE_ROWID || given->head.result != SQLITE_OK || is_integer;
}

/* What came with the row. False: it makes no sense. */
static bool take_ahead(struct native_cursor *cursor, struct pgwire_cursor *answer)
{
    size_t count = pgwire_get_u16(answer);
    struct pgwire_bytes bytes = {answer->next, answer->left};
    bool has_failed = count > cursor->wish_count;
    for (size_t i = 0; i < count && !has_failed && !answer->is_failed; i++) {
        struct native_given given;
        native_get_given(answer, &given);
        has_failed = !is_sound(&cursor->wishes[i], &given) || (native_given_is_failure(&given) && i + 1 < count);
    }
    if (has_failed || !pgwire_cursor_is_done(answer))
        return false;
    sq_buf_put(&cursor->ahead, bytes.data, bytes.length);
    cursor->ahead_left = cursor->ahead.is_failed ? 0 : count;
    return true;
}

/* The end of FILTER and NEXT. */
static int end_row(struct native_cursor *cursor, struct native_method_call *call, int result)
{
    const struct native_calls *calls = call->calls;
    enum { KEEP_BYTES = 64 << 10 };
    sq_buf_truncate(&cursor->ahead, 0);
    sq_buf_shrink(&cursor->ahead, KEEP_BYTES);
    cursor->ahead_left = cursor->ahead_offset = cursor->asked_count = 0;
    cursor->is_eof = true;
    if (result == SQLITE_OK && call->head.result == SQLITE_OK) {
        uint8_t is_eof = pgwire_get_u8(&call->answer);
        if (is_eof > 1 || (is_eof == 0 && !take_ahead(cursor, &call->answer)))
            pgwire_cursor_fail(&call->answer);
        cursor->is_eof = is_eof != 0;
    }
    result = native_method_end(call, &cursor->base.pVtab->zErrMsg, result);
    if (result != SQLITE_OK)
        cursor->is_eof = true;
    cursor->has_row = !cursor->is_eof;
    cursor->turn = calls != NULL ? calls->turn : 0;
    return result;
}

/* --- Rows ----------------------------------------------------------------------------------------------------------- */

/* An argument that stands for a list (sqlite.org/c3ref/vtab_in.html); false: it is none. */
static bool put_list(struct sq_buf *out, sqlite3_value *argument)
{
    sqlite3_value *value = NULL;
    uint32_t count = 0;
    if (sqlite3_value_type(argument) != SQLITE_NULL)
        return false;
    int result = sqlite3_vtab_in_first(argument, &value);
    if (result != SQLITE_OK && result != SQLITE_DONE && result != SQLITE_NOMEM)
        return false;
    size_t offset = native_list_begin(out);
    while (result == SQLITE_OK && value != NULL) {
        native_call_put_value(out, value);
        count++;
        result = sqlite3_vtab_in_next(argument, &value);
    }
    native_list_end(out, offset, count);
    if (result != SQLITE_OK && result != SQLITE_DONE)
        out->is_failed = true;
    return true;
}

int native_cursor_filter(sqlite3_vtab_cursor *base, int number, const char *text, int count, sqlite3_value **values)
{
    struct native_cursor *cursor = cursor_of(base);
    struct native_method_call call;
    struct native_index index;
    learn(cursor);
    (void)native_plan_unpack(text, number, &index);
    int result = native_method_begin(&call, native_table_of(base->pVtab), NATIVE_METHOD_FILTER);
    if (result == SQLITE_OK) {
        sq_buf_put_u64(call.out, cursor->number);
        native_put_index(call.out, &index);
        sq_buf_put_u16(call.out, (uint16_t)count);
        for (int i = 0; i < count; i++) {
            if (!put_list(call.out, values[i]))
                native_call_put_argument(call.out, values[i]);
        }
        native_put_wishes(call.out, cursor->wishes, cursor->wish_count);
        result = native_method_exchange(&call);
    }
    return end_row(cursor, &call, result);
}

int native_cursor_next(sqlite3_vtab_cursor *base)
{
    struct native_cursor *cursor = cursor_of(base);
    struct native_method_call call;
    learn(cursor);
    int result = native_method_begin(&call, native_table_of(base->pVtab), NATIVE_METHOD_NEXT);
    if (result == SQLITE_OK) {
        sq_buf_put_u64(call.out, cursor->number);
        native_put_wishes(call.out, cursor->wishes, cursor->wish_count);
        result = native_method_exchange(&call);
    }
    return end_row(cursor, &call, result);
}

int native_cursor_eof(sqlite3_vtab_cursor *base)
{
    return cursor_of(base)->is_eof;
}

/* --- Columns -------------------------------------------------------------------------------------------------------- */

/* SQLite asks for something. Whether it has come along: *ret_given, whose bytes are the cursor's. */
static bool find_ahead(struct native_cursor *cursor, const struct native_wish *wish, struct native_given *ret_given)
{
    size_t index = cursor->asked_count;
    if (index == NATIVE_WISHES_MAX) {
        cursor->ahead_left = 0;
        return false;
    }
    cursor->asked[cursor->asked_count++] = *wish;
    const struct native_wish *expected = &cursor->wishes[index];
    const struct native_calls *calls = calls_of(cursor);
    if (cursor->ahead_left == 0)
        return false;
    if (calls == NULL || calls->turn != cursor->turn || expected->column != wish->column ||
        expected->is_for_update != wish->is_for_update) {
        cursor->ahead_left = 0; /* what is behind it is out of turn, too */
        return false;
    }
    size_t length = sq_buf_length(&cursor->ahead) - cursor->ahead_offset;
    struct pgwire_cursor at = pgwire_cursor_make(sq_buf_bytes(&cursor->ahead) + cursor->ahead_offset, length);
    native_get_given(&at, ret_given);
    sq_assert(!at.is_failed); /* take_ahead() */
    cursor->ahead_offset += length - at.left;
    cursor->ahead_left--;
    return true;
}

/* Gives to SQLite what the client has given, but for its result. `context` NULL: xRowid. */
static void give(struct native_calls *calls, const struct native_given *given, sqlite3_context *context)
{
    if (context != NULL && given->kind == NATIVE_GIVEN_VALUE)
        native_call_give_value(context, &given->value);
    else if (context != NULL && given->kind == NATIVE_GIVEN_ERROR)
        native_call_give_error(calls, context, given->code, &given->message);
}

/* xColumn, with a `ret_rowid` of NULL; or xRowid, with a `context` of NULL. */
static int get(struct native_cursor *cursor, const struct native_wish *wish, sqlite3_context *context,
               sqlite3_int64 *ret_rowid)
{
    struct native_method_call call;
    struct native_given given;
    char **message = &cursor->base.pVtab->zErrMsg;
    if (find_ahead(cursor, wish, &given)) {
        if (given.head.message.data != NULL)
            native_method_set_message(message, &given.head.message);
        give(calls_of(cursor), &given, context);
        if (ret_rowid != NULL && given.head.result == SQLITE_OK)
            *ret_rowid = given.value.value.integer;
        return native_method_result(calls_of(cursor), given.head.result);
    }
    int result = native_method_begin(&call, native_table_of(cursor->base.pVtab), NATIVE_METHOD_COLUMN);
    if (result == SQLITE_OK) {
        sq_buf_put_u64(call.out, cursor->number);
        sq_buf_put_u32(call.out, (uint32_t)wish->column);
        sq_buf_put_u8(call.out, wish->is_for_update);
        result = native_method_exchange(&call);
    }
    if (result == SQLITE_OK) {
        given = (struct native_given){.head = call.head};
        native_get_gift(&call.answer, &given);
        if (!is_sound(wish, &given))
            pgwire_cursor_fail(&call.answer);
        if (pgwire_cursor_is_done(&call.answer))
            give(call.calls, &given, context);
        if (ret_rowid != NULL && given.kind == NATIVE_GIVEN_VALUE)
            *ret_rowid = given.value.value.integer;
    }
    return native_method_end(&call, message, result);
}

int native_cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    const struct native_wish wish = {column, sqlite3_vtab_nochange(context) != 0};
    return get(cursor_of(base), &wish, context, NULL);
}

int native_cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret_rowid)
{
    const struct native_wish wish = {NATIVE_ROWID, false};
    return get(cursor_of(base), &wish, NULL, ret_rowid);
}
