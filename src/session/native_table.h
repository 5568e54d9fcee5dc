/* session/native_table.h: virtual tables that live in the client (docs/protocol.md, "Virtual tables"), for the files that
 * make them: native_module.c, native_method.c, native_plan.c, native_cursor.c.
 *
 * SQLite gets a module, tables and cursors of ours in the place of the client's, which it knows by numbers. Each method is
 *
 *     struct native_method_call call;
 *     int result = native_method_begin(&call, table, NATIVE_METHOD_…);
 *     if (result == SQLITE_OK) {
 *         sq_buf_put_…(call.out, …);
 *         result = native_method_exchange(&call);
 *     }
 *     if (result == SQLITE_OK) … pgwire_get_…(&call.answer) …
 *     return native_method_end(&call, &table->base.zErrMsg, result);
 *
 * Lifetimes: a module lives as long as SQLite has it or a table of it, a table as long as a cursor or statement of SQLite's
 * uses it; they free themselves when SQLite says so; a table whose method is being called then goes to calls->gone, until
 * nothing is being worked off any more. When the session is over (native_module_forget()), a module's `calls`
 * is NULL and nobody is called any more. */
#ifndef SQ_SESSION_NATIVE_TABLE_H
#define SQ_SESSION_NATIVE_TABLE_H

#include "pgwire/native_table.h"
#include "session/native_call.h"

struct native_module {
    struct sq_list links;
    struct native_calls *calls; /* NULL: nobody is to be called any more */
    unsigned ref_count; /* SQLite's, and one for each table: it looks at `methods` after it has let go of the module */
    sqlite3_module methods;
    uint32_t number;
    uint32_t bits; /* enum native_module_bit */
    size_t name_bytes;
    char name[];
};

struct native_table {
    sqlite3_vtab base;
    struct native_module *module;
    uint64_t number;
    unsigned busy_count;                /* calls of its methods that wait for their answers */
    struct sq_list links;               /* in calls->gone: SQLite may still look at it */
    struct native_function **functions; /* what xFindFunction has given */
    size_t function_count;
};

static inline struct native_table *native_table_of(sqlite3_vtab *base)
{
    return (struct native_table *)(void *)base;
}

/* Frees it, and its functions. */
void native_table_free(struct native_table *table);

/* --- One call --- */

struct native_method_call {
    struct native_calls *calls;
    struct native_table *table; /* NULL: none yet */
    struct sq_buf *out;
    size_t offset;
    struct pgwire_cursor answer; /* behind the head, once exchanged */
    struct native_head head;
    bool is_answered;
};

/* SQLITE_OK: what the method says goes to call->out; of a table's, its number is there already. */
int native_method_begin(struct native_method_call *call, struct native_table *table, enum native_method method);
/* The same for a method that has no table. */
int native_method_begin_without(struct native_method_call *call, struct native_calls *calls, enum native_method method);
/* SQLITE_OK: the head has been read (its result may be an error: then nothing follows, but in COLUMN), the rest is in
 * call->answer. */
int native_method_exchange(struct native_method_call *call);
/* The answer has been read. `result` is what begin or exchange have said. Returns the method's result, and puts its message
 * to *message (which was NULL, or of sqlite3_malloc()). */
int native_method_end(struct native_method_call *call, char **message, int result);
/* A result of the client's as SQLite may see it. */
int native_method_result(struct native_calls *calls, int result);
/* Puts a copy in the place of *message. */
void native_method_set_message(char **message, const struct pgwire_bytes *text);

/* --- The methods --- */

int native_table_begin(sqlite3_vtab *base), native_table_sync(sqlite3_vtab *base),
    native_table_commit(sqlite3_vtab *base), native_table_rollback(sqlite3_vtab *base);
int native_table_savepoint(sqlite3_vtab *base, int number), native_table_release(sqlite3_vtab *base, int number),
    native_table_rollback_to(sqlite3_vtab *base, int number);
int native_table_rename(sqlite3_vtab *base, const char *name);
int native_table_find_function(sqlite3_vtab *base, int count, const char *name,
                               void (**ret_function)(sqlite3_context *, int, sqlite3_value **), void **ret_data);
int native_table_update(sqlite3_vtab *base, int count, sqlite3_value **values, sqlite3_int64 *ret_rowid);
int native_table_best_index(sqlite3_vtab *base, sqlite3_index_info *info);

int native_cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **ret_cursor);
int native_cursor_close(sqlite3_vtab_cursor *base);
int native_cursor_filter(sqlite3_vtab_cursor *base, int number, const char *text, int count, sqlite3_value **values);
int native_cursor_next(sqlite3_vtab_cursor *base);
int native_cursor_eof(sqlite3_vtab_cursor *base);
int native_cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column);
int native_cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *ret_rowid);

/* What native_table_best_index() has put into idxStr. False: there is nothing. */
bool native_plan_unpack(const char *text, int number, struct native_index *ret_index);

#endif
