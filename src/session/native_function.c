/* session/native_function.c: SQL functions and collations that live in the client (docs/protocol.md, FUNCTION, COLLATION).
 *
 * SQLite gets functions of ours under the client's names, each with a number that the client knows. Everything goes through
 * UTF-8; by the text representation that was asked for, SQLite only chooses between functions of one name.
 *
 * Aggregates. The client keeps what its aggregates add up, by a number that is given with a group's first STEP and kept in
 * SQLite's aggregate context; 0 means that there was none (sqlite.org/c3ref/aggregate_context.html). SQLite ends each
 * group with xFinal, also those of a statement that is given up, but not always when the client can be called:
 * AGGREGATE_FREE then.
 *
 * Auxiliary data (sqlite.org/c3ref/get_auxdata.html) stays with the client, too: SQLite keeps tokens, and what it drops is
 * said with the next message.
 *
 * Errors. A function may fail with any code. Those by which the server itself goes (a lock that is in the way, a log that
 * could not be synced) stand for nothing of the kind when they come from the client: native_client_code(). */
#include <stdlib.h>
#include <string.h>

#include "engine/native.h"
#include "engine/sql_lexer.h"
#include "session/native_call.h"

enum {
    FUNCTION_ARGUMENTS_MAX = 127, /* sqlite.org/limits.html: SQLITE_MAX_FUNCTION_ARG as Debian has it */
    FUNCTION_REPRESENTATION = 7,  /* sqlite.org/c3ref/c_any.html */
    FUNCTION_FLAGS =
        FUNCTION_REPRESENTATION | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY | SQLITE_SUBTYPE | SQLITE_INNOCUOUS,
};

struct native_function {
    struct sq_list links;
    struct native_calls *calls; /* NULL: nobody is to be called any more */
    uint32_t number;
    uint16_t auxiliary_end; /* behind the last argument that auxiliary data was ever set for */
    size_t name_bytes;
    char name[];
};

struct native_collation {
    struct sq_list links;
    struct native_calls *calls;
    uint32_t number;
    size_t name_bytes;
    char name[];
};

/* Auxiliary data that SQLite holds. */
struct native_token {
    struct sq_list links;
    struct native_calls *calls;
    uint64_t number;
};

/* --- Auxiliary data ------------------------------------------------------------------------------------------------ */

static void free_token(void *context)
{
    struct native_token *token = context;
    sq_list_remove(&token->links);
    if (token->calls != NULL)
        native_call_say(token->calls, NATIVE_CALL_AUXDATA_FREE, token->number);
    free(token);
}

static void put_auxiliary(const struct native_function *function, sqlite3_context *context, int count)
{
    struct sq_buf *out = function->calls->native->session->out;
    size_t offset = sq_buf_length(out);
    uint16_t set_count = 0;
    int end = count > function->auxiliary_end ? count : function->auxiliary_end;
    sq_buf_put_u16(out, 0);
    for (int i = 0; i < end; i++) {
        const struct native_token *token = sqlite3_get_auxdata(context, i);
        if (token == NULL)
            continue;
        sq_buf_put_u16(out, (uint16_t)i);
        sq_buf_put_u64(out, token->number);
        set_count++;
    }
    if (set_count == 0 || out->is_failed)
        return;
    uint8_t *bytes = sq_buf_bytes(out) + offset;
    bytes[0] = (uint8_t)(set_count >> 8);
    bytes[1] = (uint8_t)set_count;
}

static void set_auxiliary(struct native_function *function, sqlite3_context *context, struct pgwire_cursor *list)
{
    struct native_calls *calls = function->calls;
    uint16_t count = pgwire_get_u16(list);
    for (uint16_t i = 0; i < count; i++) {
        uint16_t argument = pgwire_get_u16(list);
        uint64_t number = pgwire_get_u64(list);
        struct native_token *token = calloc(1, sizeof(*token));
        if (token == NULL) {
            native_call_say(calls, NATIVE_CALL_AUXDATA_FREE, number); /* as SQLite does without memory */
            continue;
        }
        token->calls = calls;
        token->number = number;
        sq_list_init(&token->links);
        sq_list_push_back(&calls->tokens, &token->links);
        if (argument >= function->auxiliary_end && argument < UINT16_MAX)
            function->auxiliary_end = (uint16_t)(argument + 1);
        sqlite3_set_auxdata(context, argument, token, free_token);
    }
}

/* --- Answers ------------------------------------------------------------------------------------------------------- */

struct function_answer {
    bool is_error;
    struct native_value value;
    int code;
    struct pgwire_bytes message;
    struct pgwire_cursor auxiliary; /* a list that has been walked once */
};

static bool read_answer(struct pgwire_cursor *cursor, struct function_answer *ret_answer)
{
    *ret_answer = (struct function_answer){.is_error = false};
    uint8_t kind = pgwire_get_u8(cursor);
    if (kind == 0) {
        native_get_any(cursor, &ret_answer->value);
    } else if (kind == 1) {
        ret_answer->is_error = true;
        ret_answer->code = (int)pgwire_get_u32(cursor);
        ret_answer->message = native_get_bytes(cursor);
    } else {
        pgwire_cursor_fail(cursor);
    }
    ret_answer->auxiliary = *cursor;
    uint16_t count = pgwire_get_u16(cursor);
    pgwire_get_bytes(cursor, (size_t)count * (sizeof(uint16_t) + sizeof(uint64_t)));
    return pgwire_cursor_is_done(cursor);
}

int native_client_code(struct native_calls *calls, int code)
{
    int result = code;
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        result = SQLITE_ERROR;
        break;
    case SQLITE_IOERR:
        if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
            result = SQLITE_IOERR;
        break;
    default:
        break;
    }
    engine_native_note_error(calls->native->connection, result);
    return result;
}

void native_call_give_error(struct native_calls *calls, sqlite3_context *context, int code,
                            const struct pgwire_bytes *message)
{
    int result = native_client_code(calls, code);
    static const char no_memory[] = "out of memory"; /* any other text was given with the code */
    bool is_plain = message->data == NULL || (message->length == sizeof(no_memory) - 1 &&
                                              memcmp(message->data, no_memory, sizeof(no_memory) - 1) == 0);
    if (result == SQLITE_NOMEM && is_plain) {
        sqlite3_result_error_nomem(context);
    } else if (result == SQLITE_TOOBIG && message->data == NULL) {
        sqlite3_result_error_toobig(context);
    } else {
        if (message->data != NULL)
            sqlite3_result_error(context, (const char *)message->data, (int)message->length);
        if (message->data == NULL || result != SQLITE_ERROR)
            sqlite3_result_error_code(context, result);
    }
}

void native_call_give_value(sqlite3_context *context, const struct native_value *given)
{
    const struct sq_value *value = &given->value;
    switch (given->kind) {
    case NATIVE_VALUE_ZEROBLOB:
        if (sqlite3_result_zeroblob64(context, given->number) != SQLITE_OK)
            sqlite3_result_error_toobig(context);
        return;
    case NATIVE_VALUE_POINTER:
        sqlite3_result_pointer(context, native_pointer_of(given->number), NATIVE_POINTER_TYPE, NULL);
        return;
    case NATIVE_VALUE_UNCHANGED: /* these two are no results: native_get_any() */
    case NATIVE_VALUE_LIST:
    case NATIVE_VALUE_PLAIN:
        break;
    }
    switch (value->kind) {
    case SQ_VALUE_NULL:
        sqlite3_result_null(context);
        break;
    case SQ_VALUE_INTEGER:
        sqlite3_result_int64(context, value->integer);
        break;
    case SQ_VALUE_REAL:
        sqlite3_result_double(context, value->real);
        break;
    case SQ_VALUE_TEXT: /* a NULL pointer would mean NULL; so would it for a blob */
        sqlite3_result_text64(context, value->bytes.length > 0 ? value->bytes.data : "", value->bytes.length,
                              SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
    case SQ_VALUE_BLOB:
        sqlite3_result_blob64(context, value->bytes.length > 0 ? value->bytes.data : "", value->bytes.length,
                              SQLITE_TRANSIENT);
        break;
    }
    if (given->has_subtype)
        sqlite3_result_subtype(context, given->subtype);
}

/* --- Calls --------------------------------------------------------------------------------------------------------- */

/* What could not be called. SQLite would say it with the statement; `refusal` is more than its code says. */
static void give_refusal(const struct native_calls *calls, sqlite3_context *context, int code)
{
    sqlite3_result_error(context, calls->refusal, -1);
    if (code != SQLITE_ERROR)
        sqlite3_result_error_code(context, code);
}

static void call_function(sqlite3_context *context, enum native_function_part part, uint64_t aggregate, int count,
                          sqlite3_value **arguments)
{
    struct native_function *function = sqlite3_user_data(context);
    struct native_calls *calls = function->calls;
    struct pgwire_cursor cursor;
    struct function_answer answer;
    size_t offset = 0;
    if (calls == NULL) {
        sqlite3_result_error_code(context, SQLITE_ABORT);
        return;
    }
    int result = native_call_begin(calls, NATIVE_CALL_FUNCTION, &offset);
    if (result == SQLITE_OK) {
        struct sq_buf *out = calls->native->session->out;
        bool has_auxiliary = part == NATIVE_PART_SCALAR;
        sq_buf_put_u32(out, function->number);
        sq_buf_put_u8(out, (uint8_t)part);
        sq_buf_put_u64(out, aggregate);
        sq_buf_put_u16(out, (uint16_t)count);
        for (int i = 0; i < count; i++)
            native_call_put_argument(out, arguments[i]);
        if (has_auxiliary)
            put_auxiliary(function, context, count);
        else
            sq_buf_put_u16(out, 0);
        result = native_call_exchange(calls, offset, &cursor);
    }
    if (result != SQLITE_OK) {
        give_refusal(calls, context, result);
        return;
    }
    if (read_answer(&cursor, &answer)) {
        if (answer.is_error)
            native_call_give_error(calls, context, answer.code, &answer.message);
        else if (part != NATIVE_PART_STEP && part != NATIVE_PART_INVERSE)
            native_call_give_value(context, &answer.value);
        if (part == NATIVE_PART_SCALAR)
            set_auxiliary(function, context, &answer.auxiliary);
    }
    if (!native_call_end(calls, &cursor))
        sqlite3_result_error_code(context, SQLITE_INTERRUPT);
}

void native_function_scalar(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    call_function(context, NATIVE_PART_SCALAR, 0, count, arguments);
}

/* The group's number, given with its first part; 0 without memory. */
static uint64_t aggregate_of(sqlite3_context *context)
{
    struct native_function *function = sqlite3_user_data(context);
    uint64_t *number = sqlite3_aggregate_context(context, sizeof(*number));
    if (number == NULL) {
        sqlite3_result_error_nomem(context);
        return 0;
    }
    if (*number == 0 && function->calls != NULL)
        *number = ++function->calls->aggregate_number;
    return *number;
}

static void on_step(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    uint64_t aggregate = aggregate_of(context);
    if (aggregate != 0)
        call_function(context, NATIVE_PART_STEP, aggregate, count, arguments);
}

static void on_inverse(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    uint64_t aggregate = aggregate_of(context);
    if (aggregate != 0)
        call_function(context, NATIVE_PART_INVERSE, aggregate, count, arguments);
}

static void on_value(sqlite3_context *context)
{
    const uint64_t *number = sqlite3_aggregate_context(context, 0);
    call_function(context, NATIVE_PART_VALUE, number != NULL ? *number : 0, 0, NULL);
}

static void on_final(sqlite3_context *context)
{
    struct native_function *function = sqlite3_user_data(context);
    const uint64_t *number = sqlite3_aggregate_context(context, 0);
    uint64_t aggregate = number != NULL ? *number : 0;
    if (function->calls == NULL || !function->calls->native->may_call) {
        if (function->calls != NULL && aggregate != 0)
            native_call_say(function->calls, NATIVE_CALL_AGGREGATE_FREE, aggregate);
        return;
    }
    call_function(context, NATIVE_PART_FINAL, aggregate, 0, NULL);
}

/* --- FUNCTION ------------------------------------------------------------------------------------------------------ */

static void free_function(void *context)
{
    struct native_function *function = context;
    sq_list_remove(&function->links);
    free(function);
}

struct native_function *native_function_new(struct native_calls *calls, const char *name, uint32_t number)
{
    size_t name_bytes = strlen(name);
    struct native_function *function = calloc(1, sizeof(*function) + name_bytes);
    if (function == NULL)
        return NULL;
    function->name_bytes = name_bytes;
    memcpy(function->name, name, name_bytes);
    function->calls = calls;
    function->number = number;
    sq_list_init(&function->links);
    sq_list_push_back(&calls->functions, &function->links);
    return function;
}

uint32_t native_function_number(const struct native_function *function)
{
    return function->number;
}

void native_function_free(struct native_function *function)
{
    free_function(function);
}

static int create_function(struct native *native, const char *name, int count, int flags, uint32_t number,
                           enum native_function_kind kind)
{
    struct native_calls *calls = native_calls_of(native);
    struct native_function *function = calls != NULL ? native_function_new(calls, name, number) : NULL;
    if (function == NULL)
        return SQLITE_NOMEM;
    /* SQLite frees `function`, also when it fails. */
    switch (kind) {
    case NATIVE_SCALAR:
        return sqlite3_create_function_v2(native->db, name, count, flags, function, native_function_scalar, NULL, NULL,
                                          free_function);
    case NATIVE_AGGREGATE:
        return sqlite3_create_function_v2(native->db, name, count, flags, function, NULL, on_step, on_final,
                                          free_function);
    case NATIVE_WINDOW:
        break;
    }
    return sqlite3_create_window_function(native->db, name, count, flags, function, on_step, on_final, on_value,
                                          on_inverse, free_function);
}

void native_op_function(struct native *native, struct pgwire_cursor *request)
{
    struct pgwire_bytes name = native_get_bytes(request);
    int count = (int)pgwire_get_u32(request);
    int flags = (int)pgwire_get_u32(request) & FUNCTION_FLAGS;
    uint32_t number = pgwire_get_u32(request);
    uint8_t kind = pgwire_get_u8(request);
    if (!pgwire_cursor_is_done(request) || kind > NATIVE_WINDOW) {
        native_malformed(native);
        return;
    }
    char *copy = native_text_copy(&name);
    if (copy == NULL || count < -1 || count > FUNCTION_ARGUMENTS_MAX) {
        native_answer_error(native, name.data != NULL && copy == NULL ? SQLITE_NOMEM : SQLITE_MISUSE, NULL);
        free(copy);
        return;
    }
    int result = number != 0 ? create_function(native, copy, count, flags, number, (enum native_function_kind)kind)
                             : sqlite3_create_function_v2(native->db, copy, count, flags, NULL, NULL, NULL, NULL, NULL);
    free(copy);
    native_answer(native, result);
}

void native_op_overload(struct native *native, struct pgwire_cursor *request)
{
    struct pgwire_bytes name = native_get_bytes(request);
    int count = (int)pgwire_get_u32(request);
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    char *copy = native_text_copy(&name);
    if (copy == NULL || count < -2) {
        native_answer_error(native, name.data != NULL && copy == NULL ? SQLITE_NOMEM : SQLITE_MISUSE, NULL);
        free(copy);
        return;
    }
    int result = sqlite3_overload_function(native->db, copy, count);
    free(copy);
    native_answer(native, result);
}

/* --- COLLATION ----------------------------------------------------------------------------------------------------- */

static int on_compare(void *context, int first_bytes, const void *first, int second_bytes, const void *second)
{
    struct native_collation *collation = context;
    struct native_calls *calls = collation->calls;
    size_t offset = 0;
    int32_t order = 0;
    if (calls == NULL)
        return 0;
    if (native_call_begin(calls, NATIVE_CALL_COLLATION, &offset) == SQLITE_OK) {
        struct sq_buf *out = calls->native->session->out;
        sq_buf_put_u32(out, collation->number);
        native_put_bytes(out, first_bytes > 0 ? first : "", (size_t)first_bytes);
        native_put_bytes(out, second_bytes > 0 ? second : "", (size_t)second_bytes);
        if (native_call_number(calls, offset, &order))
            return order;
    }
    /* A collation cannot fail; its statement must not go on with what it never said. */
    native_call_break(calls);
    return 0;
}

static void free_collation(void *context)
{
    struct native_collation *collation = context;
    sq_list_remove(&collation->links);
    free(collation);
}

static int create_collation(struct native *native, const char *name, uint32_t number)
{
    struct native_calls *calls = native_calls_of(native);
    size_t name_bytes = strlen(name);
    struct native_collation *collation = calls != NULL ? calloc(1, sizeof(*collation) + name_bytes) : NULL;
    if (collation == NULL)
        return SQLITE_NOMEM;
    collation->name_bytes = name_bytes;
    memcpy(collation->name, name, name_bytes);
    collation->calls = calls;
    collation->number = number;
    sq_list_init(&collation->links);
    sq_list_push_back(&calls->collations, &collation->links);
    int result = sqlite3_create_collation_v2(native->db, name, SQLITE_UTF8, collation, on_compare, free_collation);
    /* Unlike a function's, it is still ours when this fails (sqlite.org/c3ref/create_collation.html). */
    if (result != SQLITE_OK)
        free_collation(collation);
    return result;
}

void native_op_collation(struct native *native, struct pgwire_cursor *request)
{
    struct pgwire_bytes name = native_get_bytes(request);
    uint32_t number = pgwire_get_u32(request);
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    char *copy = native_text_copy(&name);
    if (copy == NULL) {
        native_answer_error(native, name.data != NULL ? SQLITE_NOMEM : SQLITE_MISUSE, NULL);
        return;
    }
    int result = number != 0 ? create_collation(native, copy, number)
                             : sqlite3_create_collation_v2(native->db, copy, SQLITE_UTF8, NULL, NULL, NULL);
    free(copy);
    native_answer(native, result);
}

/* --- Who calls ------------------------------------------------------------------------------------------------------ */

static bool is_same_text(const char *a, const char *b, size_t length)
{
    return sqlite3_strnicmp(a, b, (int)length) == 0;
}

static bool has_text(const char *text, const char *part, size_t part_bytes)
{
    for (size_t left = strlen(text); left >= part_bytes; left--, text++) {
        if (is_same_text(text, part, part_bytes))
            return true;
    }
    return false;
}

/* Whether an instruction's operand names a function or a collation of the client's. A text in the SQL that looks like one
 * makes a statement slower, nothing else. */
static bool is_ours(void *context, const char *operand)
{
    const struct native_calls *calls = context;
    enum { SHOWN_BYTES_MAX = 18 }; /* of a collation's name: what EXPLAIN may cut it to */
    SQ_LIST_FOREACH (links, &calls->functions) {
        const struct native_function *function = SQ_CONTAINER_OF(links, struct native_function, links);
        if (is_same_text(operand, function->name, function->name_bytes) && operand[function->name_bytes] == '(')
            return true;
    }
    SQ_LIST_FOREACH (links, &calls->collations) {
        const struct native_collation *collation = SQ_CONTAINER_OF(links, struct native_collation, links);
        size_t bytes = collation->name_bytes < SHOWN_BYTES_MAX ? collation->name_bytes : SHOWN_BYTES_MAX;
        bool is_binary = collation->name_bytes == strlen("BINARY") && is_same_text(collation->name, "BINARY", bytes);
        if (is_binary || has_text(operand, collation->name, bytes)) /* BINARY need not be shown */
            return true;
    }
    return false;
}

bool native_function_is_used(struct native_calls *calls, sqlite3_stmt *stmt)
{
    struct sql_statement_shape shape = sql_statement_inspect(sqlite3_sql(stmt), strlen(sqlite3_sql(stmt)));
    if (shape.is_explain)
        return false; /* it runs nothing */
    bool is_query = shape.verb == SQL_VERB_SELECT || shape.verb == SQL_VERB_VALUES;
    return !is_query || engine_native_has_operand(calls->native->connection, stmt, is_ours, calls);
}

/* --- The end ------------------------------------------------------------------------------------------------------- */

void native_function_forget(struct native_calls *calls)
{
    SQ_LIST_FOREACH (links, &calls->functions) {
        SQ_CONTAINER_OF(links, struct native_function, links)->calls = NULL;
        sq_list_remove(links);
    }
    SQ_LIST_FOREACH (links, &calls->collations) {
        SQ_CONTAINER_OF(links, struct native_collation, links)->calls = NULL;
        sq_list_remove(links);
    }
    SQ_LIST_FOREACH (links, &calls->tokens) {
        SQ_CONTAINER_OF(links, struct native_token, links)->calls = NULL;
        sq_list_remove(links);
    }
}
