/* client/table.h: virtual tables of the application, as the files that serve the server's calls of them see them.
 *
 *   module.c      sqlite3_create_module() and what else is said to the server; how tables end
 *   table.c       METHOD calls: dispatch, and the methods of tables
 *   cursor.c      the methods of cursors
 *   plan.c        xBestIndex, and what it may ask
 *   arguments.c   what a method or function may ask of its arguments
 *
 * The server's SQLite has tables and cursors of its own, which it names by numbers; here are the application's. What SQLite
 * does to an application's sqlite3_vtab and sqlite3_vtab_cursor (https://sqlite.org/vtab.html) is done here: it sets pModule, pVtab and
 * nRef, and takes zErrMsg, which goes with each answer.
 *
 * Invariants
 * 1. A module lives as long as the shadow has it or there is a table of it; then its destructor is called.
 * 2. Nothing is let go while one of its methods runs, nor a table with cursors: a server that says so breaks the protocol.
 *    What xDisconnect and xDestroy leave of a table goes when they have returned (is_gone). */
#ifndef SQ_CLIENT_TABLE_H
#define SQ_CLIENT_TABLE_H

#include "client/calls_internal.h"
#include "pgwire/native_table.h"

struct client_module {
    struct client_calls *calls; /* NULL: gone */
    uint32_t number;
    unsigned ref_count; /* the shadow's, and one for each table */
    const sqlite3_module *methods;
    void *data;
    void (*destroy_cb)(void *);
};

struct client_table {
    struct sq_list links; /* in calls->table_list, newest first */
    struct client_calls *calls;
    uint64_t number;
    struct client_module *module;
    sqlite3_vtab *vtab;
    unsigned busy_count; /* invariant 2 */
    unsigned cursor_count;
    bool is_gone;
    bool is_in_transaction; /* xBegin, and neither xCommit nor xRollback since */
    char **index_texts;     /* pointers that were idxStr and not to be freed, by their numbers - 1 */
    size_t index_count;
    struct client_function **functions; /* what xFindFunction has given */
    size_t function_count;
};

struct client_cursor {
    struct sq_list links; /* in calls->cursor_list */
    uint64_t number;
    struct client_table *table;
    sqlite3_vtab_cursor *cursor;
    bool is_busy;     /* a method of it runs */
    char *index_text; /* idxStr of the last xFilter, if it was to be freed */
};

/* --- module.c --- */

void client_module_ref(struct client_module *module);
void client_module_unref(struct client_module *module);
/* Takes the table out, and frees it as soon as its methods have returned. The application's is not called. */
void client_table_drop(struct client_table *table);
/* Calls xClose, and frees it. Returns what that says. */
int client_cursor_close(struct client_cursor *cursor);

/* --- table.c --- */

/* Begins the answer to a method of `table`, whose message goes with it. */
struct sq_buf *client_table_answer(struct client_frame *frame, struct client_table *table, int result);

/* A method: reads the message behind the table's number, and answers. */
typedef void client_method(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table);
client_method client_method_best_index, client_method_open, client_method_close, client_method_filter,
    client_method_next, client_method_column;

/* --- arguments.c --- */

/* Real values of frame->values[0…count) for a method; the functions that ask about arguments know them until
 * client_arguments_close(). SQLITE_OK, or an error code. */
struct client_arguments {
    struct client_arguments *outer;
    struct client_frame *frame;
    sqlite3_value **values;
    size_t count;
    struct client_list *lists; /* those of the arguments that are lists; NULL: none is */
};
int client_arguments_open(struct client_arguments *arguments, struct client_frame *frame, size_t count);
void client_arguments_close(struct client_arguments *arguments);
/* The same for values that are there already. */
void client_arguments_enter(struct client_arguments *arguments, struct client_frame *frame, sqlite3_value **values,
                            size_t count);
void client_arguments_leave(struct client_arguments *arguments);

#endif
