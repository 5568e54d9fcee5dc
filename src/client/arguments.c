/* client/arguments.c: what an application's function or method may ask of its arguments that a value alone does not know:
 * whether it was a parameter of the statement, a column that an UPDATE leaves as it is, the values of a list. See table.h.
 *
 * https://sqlite.org/c3ref/value_blob.html, https://sqlite.org/c3ref/vtab_in_first.html
 *
 * Values are the real library's, which cannot be told that. So the calls that are being served in this thread are kept in a
 * list, and a value of theirs is known by its address. */
#include <stdlib.h>

#include "client/table.h"

enum { FIRST_ROW_VALUES_MAX = 1500 }; /* a statement has 2000 columns at most, an xUpdate two arguments more */

/* Where a list is being read. */
struct client_list {
    struct client_row row;
    struct pgwire_cursor rest;
    uint64_t left;
    struct native_value value;
};

static _Thread_local struct client_arguments *innermost;

/* --- Making arguments --- */

void client_arguments_enter(struct client_arguments *arguments, struct client_frame *frame, sqlite3_value **values,
                            size_t count)
{
    *arguments = (struct client_arguments){.outer = innermost, .frame = frame, .values = values, .count = count};
    innermost = arguments;
}

void client_arguments_leave(struct client_arguments *arguments)
{
    sq_assert(innermost == arguments);
    innermost = arguments->outer;
}

static int open_values(struct client_frame *frame, size_t count, sqlite3_value **values)
{
    size_t first = count < FIRST_ROW_VALUES_MAX ? count : FIRST_ROW_VALUES_MAX;
    int code = client_row_open(frame, &frame->old_row, frame->values, first);
    if (code == SQLITE_ROW && count > first)
        code = client_row_open(frame, &frame->new_row, frame->values + first, count - first);
    for (size_t i = 0; code == SQLITE_ROW && i < count; i++) {
        sqlite3_stmt *stmt = i < first ? frame->old_row.stmt : frame->new_row.stmt;
        values[i] = client_real.sqlite3_column_value(stmt, (int)(i < first ? i : i - first));
    }
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

int client_arguments_open(struct client_arguments *arguments, struct client_frame *frame, size_t count)
{
    sqlite3_value **values = calloc(count + 1, sizeof(*values));
    struct client_list *lists = NULL;
    bool has_lists = false;
    for (size_t i = 0; i < count; i++)
        has_lists |= frame->values[i].kind == NATIVE_VALUE_LIST;
    if (has_lists)
        lists = calloc(count, sizeof(*lists));
    client_arguments_enter(arguments, frame, values, count);
    arguments->lists = lists;
    if (values == NULL || (has_lists && lists == NULL))
        return SQLITE_NOMEM;
    return count > 0 ? open_values(frame, count, values) : SQLITE_OK;
}

void client_arguments_close(struct client_arguments *arguments)
{
    client_arguments_leave(arguments);
    client_row_close(&arguments->frame->old_row);
    client_row_close(&arguments->frame->new_row);
    for (size_t i = 0; arguments->lists != NULL && i < arguments->count; i++)
        (void)client_real.sqlite3_finalize(arguments->lists[i].row.stmt);
    free(arguments->lists);
    free(arguments->values);
}

/* --- Asking --- */

/* The arguments that `value` is one of, and its place in them; NULL: it is none of ours. */
static struct client_arguments *find(const sqlite3_value *value, size_t *ret_index)
{
    for (struct client_arguments *arguments = innermost; arguments != NULL; arguments = arguments->outer) {
        for (size_t i = 0; i < arguments->count && arguments->values != NULL; i++) {
            if (arguments->values[i] == value) {
                *ret_index = i;
                return arguments;
            }
        }
    }
    return NULL;
}

int sqlite3_value_frombind(sqlite3_value *value)
{
    size_t index;
    const struct client_arguments *arguments = find(value, &index);
    return arguments != NULL ? arguments->frame->values[index].is_bound : client_real.sqlite3_value_frombind(value);
}

int sqlite3_value_nochange(sqlite3_value *value)
{
    size_t index;
    const struct client_arguments *arguments = find(value, &index);
    return arguments != NULL ? arguments->frame->values[index].kind == NATIVE_VALUE_UNCHANGED
                             : client_real.sqlite3_value_nochange(value);
}

/* The next value of a list. */
static int list_next(struct client_arguments *arguments, size_t index, sqlite3_value **ret_value)
{
    struct client_list *list = &arguments->lists[index];
    if (list->left == 0)
        return SQLITE_DONE;
    list->left--;
    native_get_argument(&list->rest, &list->value);
    if (list->rest.is_failed)
        return SQLITE_ERROR;
    list->row.frame = arguments->frame;
    client_row_close(&list->row);
    int code = client_row_open(arguments->frame, &list->row, &list->value, 1);
    if (code != SQLITE_ROW)
        return code;
    *ret_value = client_real.sqlite3_column_value(list->row.stmt, 0);
    return SQLITE_OK;
}

int sqlite3_vtab_in_first(sqlite3_value *value, sqlite3_value **ret_value)
{
    size_t index;
    struct client_arguments *arguments = find(value, &index);
    if (arguments == NULL)
        return client_real.sqlite3_vtab_in_first(value, ret_value);
    *ret_value = NULL;
    const struct native_value *given = &arguments->frame->values[index];
    if (arguments->lists == NULL || given->kind != NATIVE_VALUE_LIST)
        return SQLITE_ERROR;
    struct client_list *list = &arguments->lists[index];
    list->rest = pgwire_cursor_make((const uint8_t *)given->value.bytes.data, given->value.bytes.length);
    list->left = given->number;
    return list_next(arguments, index, ret_value);
}

int sqlite3_vtab_in_next(sqlite3_value *value, sqlite3_value **ret_value)
{
    size_t index;
    struct client_arguments *arguments = find(value, &index);
    if (arguments == NULL)
        return client_real.sqlite3_vtab_in_next(value, ret_value);
    *ret_value = NULL;
    bool is_list = arguments->lists != NULL && arguments->frame->values[index].kind == NATIVE_VALUE_LIST;
    return is_list ? list_next(arguments, index, ret_value) : SQLITE_ERROR;
}
