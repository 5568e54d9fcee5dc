/* client/prepare.c: sqlite3_prepare*() (https://sqlite.org/c3ref/prepare.html), and what a statement knows of itself.
 *
 * A text may hold thousands of statements, of which a call makes the first. So that not all of it goes over the wire each
 * time, the first is found here, with sqlite3_complete()'s idea of where it ends; if the server then misses something
 * ("incomplete input"), it gets the whole text. What is only blanks and comments does not go there at all. */
#include <stdlib.h>
#include <string.h>

#include "client/calls.h"
#include "client/convert.h"
#include "client/interrupt.h"
#include "client/outcome.h"
#include "client/remote_api.h"
#include "client/statement.h"

/* --- Where a statement ends --- */

/* Behind the quoted text, comment or single character that begins at `at`. *ret_is_blank: it means nothing. */
static size_t token_end(const char *sql, size_t length, size_t at, bool *ret_is_blank)
{
    char first = sql[at];
    const char *end = NULL;
    *ret_is_blank = false;
    if (first == '\'' || first == '"' || first == '`' || first == '[') {
        end = memchr(sql + at + 1, first == '[' ? ']' : first, length - at - 1);
        return end != NULL ? (size_t)(end - sql) + 1 : length;
    }
    if (first == '-' && at + 1 < length && sql[at + 1] == '-') {
        *ret_is_blank = true;
        end = memchr(sql + at, '\n', length - at);
        return end != NULL ? (size_t)(end - sql) + 1 : length;
    }
    if (first == '/' && at + 1 < length && sql[at + 1] == '*') {
        *ret_is_blank = true;
        end = at + 2 < length ? memmem(sql + at + 2, length - at - 2, "*/", 2) : NULL;
        return end != NULL ? (size_t)(end - sql) + 2 : length;
    }
    *ret_is_blank = first == ' ' || (first >= '\t' && first <= '\r' && first != '\v');
    return at + 1;
}

static bool is_complete(const char *sql, size_t length)
{
    char *copy = strndup(sql, length);
    bool complete = copy == NULL || client_real.sqlite3_complete(copy) != 0;
    free(copy);
    return complete;
}

/* How many bytes the first statement has, with its ';' and what is in front of it. *ret_is_empty: there is none. */
static size_t first_statement(const char *sql, size_t length, bool *ret_is_empty)
{
    *ret_is_empty = true;
    for (size_t at = 0; at < length;) {
        bool is_blank;
        size_t next = token_end(sql, length, at, &is_blank);
        if (sql[at] != ';')
            *ret_is_empty &= is_blank;
        else if (!*ret_is_empty && (next == length || is_complete(sql, next)))
            return next;
        at = next;
    }
    return length;
}

/* --- Preparing --- */

/* The answer was lost, but it is known that all was well, and that there were no rows. */
static bool take_settled(struct client_statement *statement, size_t length, int code)
{
    statement->facts = (struct native_facts){.consumed = (uint32_t)length, .has_statement = true};
    statement->is_begun = true;
    return client_statement_take_no_rows(statement, code);
}

/* Asks the server. SQLITE_OK: statement->facts are set. With `will_step`, the first batch is there, or its error. */
static int ask_once(struct client_statement *statement, const char *sql, size_t length, bool will_step)
{
    struct client_remote *remote = statement->remote;
    struct sq_buf *out = client_request_begin(remote, will_step ? NATIVE_PREPARE_STEP : NATIVE_PREPARE);
    sq_buf_put_u32(out, statement->number);
    sq_buf_put_u32(out, statement->prepare_flags);
    native_put_bytes(out, sql, length);
    if (will_step) {
        /* The facts are not known yet. How many rows to ask for goes by the best case, what a lost answer may mean by the
         * worst. */
        statement->facts = (struct native_facts){.is_readonly = true, .may_call = client_calls_have_functions(remote)};
        client_statement_put_step(statement, out, NATIVE_STEP_ANEW);
        statement->facts = (struct native_facts){.is_readonly = false};
        sq_buf_put_u32(out, 0);
        remote->risk = client_statement_risk(statement);
    }
    struct native_answer answer;
    struct pgwire_cursor body;
    int code = client_request_end(remote, &answer, &body);
    if (client_code_is_error(code) && !(will_step && answer.has_facts))
        return code;
    if (remote->is_settled)
        return take_settled(statement, length, code) ? SQLITE_OK : client_error_set(remote, SQLITE_NOMEM, NULL);
    bool is_understood = client_statement_take_facts(statement, &body);
    if (is_understood && will_step && statement->facts.has_statement)
        is_understood = client_statement_take_batch(statement, code, &body);
    else if (is_understood && !will_step)
        is_understood = pgwire_cursor_is_done(&body);
    if (!is_understood)
        return client_remote_lose(remote, "the server's answer makes no sense, or there is no memory");
    statement->is_begun = will_step && statement->facts.has_statement;
    return SQLITE_OK;
}

/* The same; what was lost without a trace is asked for again, once. */
static int ask(struct client_statement *statement, const char *sql, size_t length, bool will_step)
{
    struct client_remote *remote = statement->remote;
    int code = ask_once(statement, sql, length, will_step);
    if (!client_outcome_may_repeat(remote, code))
        return code;
    return client_outcome_of_both(remote, code, ask_once(statement, sql, length, will_step));
}

static bool is_incomplete(const struct client_remote *remote)
{
    return remote->error.code == SQLITE_ERROR && remote->error.message != NULL &&
           strcmp(remote->error.message, "incomplete input") == 0;
}

/* What may run in the same round trip: nothing that the client has to do, or to see row by row. */
static bool can_step_at_once(const struct client_statement *statement)
{
    return statement->kind != CLIENT_SQL_ATTACH && statement->kind != CLIENT_SQL_VACUUM &&
           !client_calls_want_single_rows(statement->remote, false);
}

/* A new statement of sql[length], of which `first` bytes may do. */
static int prepare_new(struct client_remote *remote, const char *sql, size_t length, size_t first,
                       unsigned prepare_flags, bool will_step, struct client_statement **ret_statement)
{
    struct client_statement *statement = client_statement_new(remote, sql, first, prepare_flags);
    if (statement == NULL)
        return client_error_set(remote, SQLITE_NOMEM, NULL);
    bool steps = will_step && can_step_at_once(statement);
    if (steps)
        client_interrupt_statement_begins(remote);
    int code = ask(statement, sql, first, steps);
    if (first < length && code != SQLITE_OK && is_incomplete(remote)) {
        statement->number = ++remote->statement_number;
        code = ask(statement, sql, length, steps);
    }
    if (steps && !statement->is_begun)
        client_interrupt_statement_ends(remote);
    *ret_statement = statement;
    return code;
}

/* The text of a statement is what of it the server has used. */
static bool text_cut(struct client_statement *statement, const char *sql, size_t used)
{
    if (used == statement->sql_length)
        return true;
    char *text = strndup(sql, used);
    if (text == NULL)
        return false;
    free(statement->sql);
    statement->sql = text;
    statement->sql_length = used;
    return true;
}

int client_statement_prepare(struct client_remote *remote, const char *sql, size_t length, unsigned prepare_flags,
                             bool will_step, struct client_statement **ret_statement, size_t *ret_used)
{
    bool is_empty;
    size_t first = first_statement(sql, length, &is_empty);
    *ret_statement = NULL;
    *ret_used = first;
    if (is_empty)
        return SQLITE_OK;
    struct client_statement *statement = client_statement_recall(remote, sql, first, prepare_flags);
    int code = SQLITE_OK;
    if (statement == NULL)
        code = prepare_new(remote, sql, length, first, prepare_flags, will_step, &statement);
    if (statement == NULL)
        return code;
    if (code == SQLITE_OK && statement->facts.has_statement) {
        size_t used = statement->facts.consumed < length ? statement->facts.consumed : length;
        *ret_used = used;
        if (!text_cut(statement, sql, used))
            code = client_error_set(remote, SQLITE_NOMEM, NULL);
        if (code == SQLITE_OK)
            code = client_statement_publish(statement);
        if (code == SQLITE_OK) {
            *ret_statement = statement;
            return SQLITE_OK;
        }
        (void)client_statement_reset(statement);
    }
    if (code == SQLITE_OK)
        *ret_used = statement->facts.consumed < length ? statement->facts.consumed : length;
    statement->code = SQLITE_ERROR; /* not for the cache */
    client_statement_discard(statement);
    return code;
}

/* --- The interface --- */

enum { PREPARE_LEGACY = 1 << 30 };

static int prepare(sqlite3 *db, const char *sql, int length, unsigned flags, sqlite3_stmt **ret_pointer,
                   size_t *ret_used)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL || sql == NULL) {
        if (remote != NULL)
            client_remote_leave_quietly(remote);
        return SQLITE_MISUSE;
    }
    size_t bytes = length < 0 ? strlen(sql) : strnlen(sql, (size_t)length);
    struct client_statement *statement;
    int code =
        client_statement_prepare(remote, sql, bytes, flags & ~(unsigned)PREPARE_LEGACY, false, &statement, ret_used);
    if (statement != NULL) {
        statement->is_legacy = (flags & PREPARE_LEGACY) != 0;
        *ret_pointer = statement->handle;
    }
    return client_remote_leave(remote, code);
}

static int prepare8(sqlite3 *db, const char *sql, int length, unsigned flags, sqlite3_stmt **ret_pointer,
                    const char **ret_tail)
{
    if (ret_pointer == NULL)
        return SQLITE_MISUSE;
    size_t used = 0;
    *ret_pointer = NULL;
    int code = prepare(db, sql, length, flags, ret_pointer, &used);
    if (ret_tail != NULL && sql != NULL)
        *ret_tail = sql + used;
    return code;
}

int client_remote_sqlite3_prepare(sqlite3 *db, const char *sql, int length, sqlite3_stmt **ret_pointer,
                                  const char **ret_tail)
{
    return prepare8(db, sql, length, PREPARE_LEGACY, ret_pointer, ret_tail);
}

int client_remote_sqlite3_prepare_v2(sqlite3 *db, const char *sql, int length, sqlite3_stmt **ret_pointer,
                                     const char **ret_tail)
{
    return prepare8(db, sql, length, 0, ret_pointer, ret_tail);
}

static const unsigned flags_mask = SQLITE_PREPARE_PERSISTENT | SQLITE_PREPARE_NORMALIZE | SQLITE_PREPARE_NO_VTAB;

int client_remote_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int length, unsigned int flags,
                                     sqlite3_stmt **ret_pointer, const char **ret_tail)
{
    return prepare8(db, sql, length, flags & flags_mask, ret_pointer, ret_tail);
}

/* --- UTF-16 --- */

/* Bytes of UTF-16 up to a NUL, `length` of them at most unless that is negative. */
static size_t length16(const void *text, int length)
{
    const char *bytes = text;
    size_t at = 0, max = length < 0 ? SIZE_MAX : (size_t)length; /* an odd one is rounded up, as SQLite does */
    while (at < max && (bytes[at] != 0 || bytes[at + 1] != 0))
        at += 2;
    return at;
}

/* How many bytes of UTF-16 the characters in `length` bytes of UTF-8 take. */
static size_t bytes16_of(const char *text, size_t length)
{
    size_t units = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        units += (byte & 0xc0) != 0x80;
        units += byte >= 0xf0;
    }
    return units * 2;
}

static int prepare16(sqlite3 *db, const void *sql, int length, unsigned flags, sqlite3_stmt **ret_pointer,
                     const void **ret_tail)
{
    if (ret_pointer == NULL)
        return SQLITE_MISUSE;
    *ret_pointer = NULL;
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL || sql == NULL) {
        if (remote != NULL)
            client_remote_leave_quietly(remote);
        return SQLITE_MISUSE;
    }
    char *text;
    size_t count, used = 0;
    int code = client_text_to_utf8(remote, sql, length16(sql, length), SQLITE_UTF16, &text, &count);
    if (code != SQLITE_OK)
        return client_remote_leave(remote, client_error_set(remote, code, NULL));
    code = prepare(db, text, (int)count, flags, ret_pointer, &used);
    if (ret_tail != NULL)
        *ret_tail = (const char *)sql + bytes16_of(text, used);
    free(text);
    client_remote_leave_quietly(remote);
    return code;
}

int client_remote_sqlite3_prepare16(sqlite3 *db, const void *sql, int length, sqlite3_stmt **ret_pointer,
                                    const void **ret_tail)
{
    return prepare16(db, sql, length, PREPARE_LEGACY, ret_pointer, ret_tail);
}

int client_remote_sqlite3_prepare16_v2(sqlite3 *db, const void *sql, int length, sqlite3_stmt **ret_pointer,
                                       const void **ret_tail)
{
    return prepare16(db, sql, length, 0, ret_pointer, ret_tail);
}

int client_remote_sqlite3_prepare16_v3(sqlite3 *db, const void *sql, int length, unsigned int flags,
                                       sqlite3_stmt **ret_pointer, const void **ret_tail)
{
    return prepare16(db, sql, length, flags & flags_mask, ret_pointer, ret_tail);
}

/* --- What a statement knows of itself --- */

static struct client_statement *statement_of(sqlite3_stmt *pointer)
{
    return client_handle_object(pointer, CLIENT_HANDLE_STATEMENT);
}

const char *client_remote_sqlite3_sql(sqlite3_stmt *pointer)
{
    const struct client_statement *statement = statement_of(pointer);
    return statement != NULL ? statement->sql : NULL;
}

sqlite3 *client_remote_sqlite3_db_handle(sqlite3_stmt *pointer)
{
    const struct client_statement *statement = statement_of(pointer);
    return statement != NULL ? statement->remote->handle : NULL;
}

int client_remote_sqlite3_stmt_readonly(sqlite3_stmt *pointer)
{
    const struct client_statement *statement = statement_of(pointer);
    return statement == NULL || statement->facts.is_readonly;
}

int client_remote_sqlite3_stmt_isexplain(sqlite3_stmt *pointer)
{
    const struct client_statement *statement = statement_of(pointer);
    return statement != NULL ? statement->facts.explain : 0;
}

int client_remote_sqlite3_expired(sqlite3_stmt *pointer)
{
    const struct client_statement *statement = statement_of(pointer);
    return statement == NULL || statement->generation != statement->remote->state.generation;
}

char *client_remote_sqlite3_expanded_sql(sqlite3_stmt *pointer)
{
    struct client_statement *statement = client_statement_enter(pointer);
    if (statement == NULL)
        return NULL;
    struct client_remote *remote = statement->remote;
    struct client_error error = client_error_take(remote);
    char *text = NULL;
    if (client_statement_make_ready(statement) == SQLITE_OK) {
        struct sq_buf *out = client_request_begin(remote, NATIVE_EXPAND);
        sq_buf_put_u32(out, statement->number);
        statement->must_bind = true; /* these are for this request alone */
        client_bindings_put(statement, out);
        struct pgwire_cursor body;
        if (client_request_end(remote, NULL, &body) == SQLITE_OK) {
            struct pgwire_bytes sql = native_get_bytes(&body);
            if (sql.data != NULL)
                text = client_real.sqlite3_mprintf("%.*s", (int)sql.length, (const char *)sql.data);
        }
    }
    client_error_put_back(remote, error);
    client_remote_leave_quietly(remote);
    return text;
}

int client_remote_sqlite3_stmt_status(sqlite3_stmt *pointer, int operation, int reset)
{
    struct client_statement *statement = client_statement_enter(pointer);
    if (statement == NULL)
        return 0;
    struct client_remote *remote = statement->remote;
    struct client_error error = client_error_take(remote);
    int value = 0;
    if (client_statement_make_ready(statement) == SQLITE_OK) {
        struct sq_buf *out = client_request_begin(remote, NATIVE_STMT_STATUS);
        sq_buf_put_u32(out, statement->number);
        sq_buf_put_u32(out, (uint32_t)operation);
        sq_buf_put_u8(out, reset != 0);
        struct pgwire_cursor body;
        if (client_request_end(remote, NULL, &body) == SQLITE_OK)
            value = (int)pgwire_get_u32(&body);
    }
    client_error_put_back(remote, error);
    client_remote_leave_quietly(remote);
    return value;
}

sqlite3_stmt *client_remote_sqlite3_next_stmt(sqlite3 *db, sqlite3_stmt *pointer)
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return NULL;
    const struct client_statement *before =
        pointer != NULL && client_handle_is_ours(pointer) ? statement_of(pointer) : NULL;
    const struct sq_list *next = before != NULL ? before->links.next : remote->statements.next;
    sqlite3_stmt *found = NULL;
    if (next != &remote->statements && (pointer == NULL || before != NULL))
        found = SQ_CONTAINER_OF((struct sq_list *)client_unconst(next), struct client_statement, links)->handle;
    client_remote_leave_quietly(remote);
    return found;
}
