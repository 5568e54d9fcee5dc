/* session/native_statement.c: PREPARE, STEP and what else is done with a statement (docs/protocol.md, "Requests").
 *
 * A statement is SQLite's own, under the client's number. Its parameters stay bound from one run to the next, so their
 * bytes have a place here: the request's are copied as they came, in one piece, and read there.
 *
 * One STEP is one run: rows are packed into a buffer, and when it is known how the run has ended, head, facts and rows make
 * one answer. The outermost run uses the session's buffer; one within a call of the client's functions has its own.
 *
 * Invariants: (1) what is bound to a parameter lies in `parameters`, which does not change but when all are bound anew;
 * (2) a statement that is being run (is_running) is neither stepped, reset nor freed: FINALIZE then waits for the run. */
#include <stdlib.h>
#include <string.h>

#include "engine/sql_lexer.h"
#include "engine/statement.h"
#include "session/native_internal.h"

struct native_statement {
    struct native *native;
    uint32_t number;
    struct service_statement *service;
    sqlite3_stmt *stmt;
    struct native_work work;
    struct sink sink;
    bool is_running;
    bool is_doomed;      /* invariant 2 */
    bool has_news;       /* PREPARE_STEP: the facts have not been told */
    bool may_call;       /* functions of the client's: one of the facts */
    bool has_planned;    /* tables of the client's were asked for plans when it was compiled */
    uint64_t plan_count; /* native_plan_count() when the run began */
    int compile_count;   /* how often SQLite had compiled it anew when its facts were told */
    uint32_t consumed;   /* bytes of SQL */
    struct sq_buf *rows; /* of the run */
    struct sq_buf inner_rows;
    uint32_t row_count;
    uint32_t bytes_max;
    int64_t run_until_us; /* sq_clock_coarse_us(); 0: as long as it takes */
    struct sq_buf parameters;
};

struct native_statement *native_find_statement(struct native *native, uint32_t number)
{
    return sq_map_get(&native->statements, &number, sizeof(number));
}

uint32_t native_statement_number(struct native *native, const sqlite3_stmt *stmt)
{
    struct sq_map_cursor at = {0};
    struct native_statement *statement;
    while ((statement = sq_map_next(&native->statements, &at)) != NULL) {
        if (statement->stmt == stmt)
            return statement->number;
    }
    return 0;
}

/* Whatever it was doing is given up. */
static void free_statement(struct native_statement *statement)
{
    struct native *native = statement->native;
    struct sq_error ignored;
    sq_assert(!statement->is_running);
    sq_map_remove(&native->statements, &statement->number, sizeof(statement->number));
    /* sqlite3_finalize() repeats what the last step has said. */
    sq_status status = service_finish(native->session->service, &statement->work.query, &ignored);
    (void)status;
    service_release(native->session->service, statement->service);
    sq_buf_done(&statement->parameters);
    sq_buf_done(&statement->inner_rows);
    free(statement);
}

/* Ends the run, if there is one. It may commit, and call functions of the client's: invariant 2. *ret_is_gone:
 * one of them has finalized it. */
static sq_status finish_statement(struct native_statement *statement, struct sq_error *err, bool *ret_is_gone)
{
    statement->is_running = true;
    sq_status status = service_finish(statement->native->session->service, &statement->work.query, err);
    statement->is_running = false;
    *ret_is_gone = statement->is_doomed;
    if (statement->is_doomed)
        free_statement(statement);
    return status;
}

void native_free_statements(struct native *native)
{
    struct sq_map_cursor at = {0};
    struct native_statement *statement;
    while ((statement = sq_map_next(&native->statements, &at)) != NULL) {
        statement->is_running = false;
        free_statement(statement);
    }
}

/* --- Facts -------------------------------------------------------------------------------------------------------- */

static void put_columns(struct sq_buf *out, sqlite3_stmt *stmt)
{
    int count = sqlite3_column_count(stmt);
    sq_buf_put_u16(out, (uint16_t)count);
    for (int i = 0; i < count; i++) {
        native_put_text(out, sqlite3_column_name(stmt, i));
        native_put_text(out, sqlite3_column_decltype(stmt, i));
        native_put_text(out, sqlite3_column_database_name(stmt, i));
        native_put_text(out, sqlite3_column_table_name(stmt, i));
        native_put_text(out, sqlite3_column_origin_name(stmt, i));
    }
}

static void put_parameters(struct sq_buf *out, sqlite3_stmt *stmt)
{
    int count = sqlite3_bind_parameter_count(stmt);
    sq_buf_put_u32(out, (uint32_t)count);
    for (int i = 1; i <= count; i++)
        native_put_text(out, sqlite3_bind_parameter_name(stmt, i));
}

static void put_facts(struct native_statement *statement)
{
    struct sq_buf *out = statement->native->session->out;
    sqlite3_stmt *stmt = statement->stmt;
    struct engine_native_traits traits = engine_statement_traits(statement->service->engine);
    struct native_facts facts = {
        .consumed = statement->consumed,
        .has_statement = true,
        .is_readonly = sqlite3_stmt_readonly(stmt) != 0,
        .explain = (uint8_t)sqlite3_stmt_isexplain(stmt),
        .may_call = statement->may_call,
        .is_attach = traits.is_attach,
        .is_volatile = traits.is_volatile,
    };
    native_put_facts(out, &facts);
    put_columns(out, stmt);
    put_parameters(out, stmt);
    statement->compile_count = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_REPREPARE, 0);
    statement->has_news = false;
}

/* Whether SQLite has compiled the statement anew since its facts were told. */
static bool has_news(const struct native_statement *statement)
{
    return statement->has_news ||
           sqlite3_stmt_status(statement->stmt, SQLITE_STMTSTATUS_REPREPARE, 0) != statement->compile_count;
}

/* --- PREPARE ------------------------------------------------------------------------------------------------------ */

struct prepare_request {
    uint32_t number;
    unsigned flags;
    struct pgwire_bytes sql;
};

static struct prepare_request get_prepare(struct pgwire_cursor *request)
{
    struct prepare_request prepare = {.number = pgwire_get_u32(request)};
    prepare.flags =
        pgwire_get_u32(request) & (SQLITE_PREPARE_PERSISTENT | SQLITE_PREPARE_NORMALIZE | SQLITE_PREPARE_NO_VTAB);
    prepare.sql = native_get_bytes(request);
    if (prepare.sql.data == NULL)
        pgwire_cursor_fail(request);
    return prepare;
}

static struct native_statement *add_statement(struct native *native, const struct prepare_request *prepare,
                                              struct service_statement *service, size_t consumed)
{
    struct native_statement *statement = calloc(1, sizeof(*statement));
    if (statement == NULL)
        return NULL;
    *statement = (struct native_statement){
        .native = native,
        .number = prepare->number,
        .service = service,
        .stmt = engine_statement_handle(service->engine),
        .consumed = (uint32_t)consumed,
        .has_news = true,
    };
    statement->work.query.statement = service;
    sq_buf_init(&statement->parameters, native->session->message_bytes_max);
    sq_buf_init(&statement->inner_rows, native->rows.max);
    if (sq_map_put(&native->statements, &statement->number, sizeof(statement->number), statement, NULL) != SQ_OK) {
        free(statement);
        return NULL;
    }
    return statement;
}

static bool is_explain(const struct pgwire_bytes *sql)
{
    return sql_statement_inspect((const char *)sql->data, sql->length).is_explain;
}

/* Compiles; while the client's authorizer or collation hook is asked, statement_timeout holds, as for a statement that runs. */
static sq_status compile(struct native *native, const struct prepare_request *prepare, struct sq_error *err,
                         struct service_statement **ret_service, size_t *ret_consumed)
{
    struct service_context *context = &native->session->context;
    int64_t before_us = context->stop.deadline_us; /* of a statement that has led here */
    if (before_us == 0 && context->statement_timeout_us != 0)
        context->stop.deadline_us = sq_clock_now_us() + context->statement_timeout_us;
    sq_status status = service_prepare_native(native->session->service, (const char *)prepare->sql.data,
                                              prepare->sql.length, prepare->flags, err, ret_service, ret_consumed);
    context->stop.deadline_us = before_us;
    return status;
}

/* SQLite's result. SQLITE_OK and *ret_statement NULL: there is none in the text, of which *ret_consumed bytes were used. A
 * fatal failure has been said: -1. */
static int prepare_statement(struct native *native, const struct prepare_request *prepare,
                             struct native_statement **ret_statement, size_t *ret_consumed)
{
    struct session *session = native->session;
    struct service_statement *service = NULL;
    struct sq_error err;
    *ret_statement = NULL;
    if (prepare->number == 0 || native_find_statement(native, prepare->number) != NULL) {
        native_set_error(native, sqlite3_errstr(SQLITE_MISUSE));
        return SQLITE_MISUSE;
    }
    if (native->statements.count >= (size_t)session->config->max_prepared_statements) {
        native_set_error(native, "too many prepared statements");
        return SQLITE_ERROR;
    }
    uint64_t plan_count = native_plan_count(native);
    bool was_explaining = native->is_explaining;
    native->is_explaining = native_module_is_any(native) && is_explain(&prepare->sql);
    sq_status status = compile(native, prepare, &err, &service, ret_consumed);
    native->is_explaining = was_explaining;
    native_apply_settings(native); /* some pragmas have their effect while they are compiled */
    if (status != SQ_OK)
        return native_is_fatal(native, &err) ? -1 : native_result_of(native, &err);
    if (service == NULL)
        return SQLITE_OK;
    /* The client's authorizer may have used the number meanwhile. */
    bool is_taken = native_find_statement(native, prepare->number) != NULL;
    *ret_statement = is_taken ? NULL : add_statement(native, prepare, service, *ret_consumed);
    if (*ret_statement != NULL) {
        (*ret_statement)->has_planned = native_plan_count(native) != plan_count;
        (*ret_statement)->may_call = native_may_call(native, (*ret_statement)->stmt, (*ret_statement)->has_planned);
        return SQLITE_OK;
    }
    service_release(session->service, service);
    int result = is_taken ? SQLITE_MISUSE : SQLITE_NOMEM;
    native_set_error(native, sqlite3_errstr(result));
    return result;
}

/* The answer to a text without a statement. */
static void answer_nothing(struct native *native, int result, size_t consumed, bool has_rows)
{
    struct sq_buf *out = native->session->out;
    struct native_facts facts = {.consumed = (uint32_t)consumed};
    size_t answer = native_answer_begin_facts(native, result, true);
    native_put_facts(out, &facts);
    if (has_rows)
        sq_buf_put_u32(out, 0);
    native_answer_end(native, answer);
}

void native_op_prepare(struct native *native, struct pgwire_cursor *request)
{
    struct prepare_request prepare = get_prepare(request);
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    struct native_statement *statement;
    size_t consumed = 0;
    int result = prepare_statement(native, &prepare, &statement, &consumed);
    if (result < 0)
        return;
    if (result != SQLITE_OK) {
        native_answer(native, result);
    } else if (statement == NULL) {
        answer_nothing(native, SQLITE_OK, consumed, false);
    } else {
        size_t answer = native_answer_begin_facts(native, SQLITE_OK, true);
        put_facts(statement);
        native_answer_end(native, answer);
    }
}

/* --- Parameters ---------------------------------------------------------------------------------------------------- */

static int bind_value(sqlite3_stmt *stmt, int index, const struct native_value *value)
{
    if (value->kind == NATIVE_VALUE_ZEROBLOB)
        return sqlite3_bind_zeroblob64(stmt, index, value->number);
    sq_assert(value->kind == NATIVE_VALUE_PLAIN || value->kind == NATIVE_VALUE_POINTER); /* native_get_any() */
    if (value->kind == NATIVE_VALUE_POINTER)
        return sqlite3_bind_pointer(stmt, index, native_pointer_of(value->number), NATIVE_POINTER_TYPE, NULL);
    const struct sq_value *plain = &value->value;
    switch (plain->kind) {
    case SQ_VALUE_NULL:
        return sqlite3_bind_null(stmt, index);
    case SQ_VALUE_INTEGER:
        return sqlite3_bind_int64(stmt, index, plain->integer);
    case SQ_VALUE_REAL:
        return sqlite3_bind_double(stmt, index, plain->real);
    case SQ_VALUE_TEXT:
        /* A NULL pointer would mean SQL NULL. */
        return sqlite3_bind_text64(stmt, index, plain->bytes.length > 0 ? plain->bytes.data : "", plain->bytes.length,
                                   SQLITE_STATIC, SQLITE_UTF8);
    case SQ_VALUE_BLOB:
        return sqlite3_bind_blob64(stmt, index, plain->bytes.length > 0 ? plain->bytes.data : "", plain->bytes.length,
                                   SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

/* Invariant 1. SQLite's result; *ret_is_sound is false if the bytes make no sense. The statement has been reset. */
static int bind_parameters(struct native_statement *statement, struct pgwire_cursor *request, uint32_t count,
                           bool *ret_is_sound)
{
    sqlite3_stmt *stmt = statement->stmt;
    struct sq_buf *place = &statement->parameters;
    int bound_count = sqlite3_bind_parameter_count(stmt);
    int result = SQLITE_OK;
    struct pgwire_bytes bytes = pgwire_get_rest(request);
    sq_buf_truncate(place, 0);
    sq_buf_shrink(place, bytes.length > NATIVE_BUFFER_KEEP_BYTES ? bytes.length : NATIVE_BUFFER_KEEP_BYTES);
    sq_buf_put(place, bytes.data, bytes.length);
    if (place->is_failed) {
        sqlite3_clear_bindings(stmt);
        native_set_error(statement->native, sqlite3_errstr(SQLITE_NOMEM));
        *ret_is_sound = true;
        return SQLITE_NOMEM;
    }
    struct pgwire_cursor cursor = pgwire_cursor_make(sq_buf_bytes(place), bytes.length);
    for (uint32_t i = 0; i < count && !cursor.is_failed; i++) {
        struct native_value value;
        native_get_any(&cursor, &value);
        if (result == SQLITE_OK && !cursor.is_failed)
            result = i < (uint32_t)bound_count ? bind_value(stmt, (int)i + 1, &value) : SQLITE_RANGE;
    }
    for (int i = (int)count; i < bound_count && result == SQLITE_OK; i++)
        result = sqlite3_bind_null(stmt, i + 1);
    if (result != SQLITE_OK)
        sqlite3_clear_bindings(stmt); /* what is not bound anew is bound to what was there before */
    if (result == SQLITE_RANGE)
        native_set_error(statement->native, sqlite3_errstr(SQLITE_RANGE));
    *ret_is_sound = pgwire_cursor_is_done(&cursor);
    return result;
}

/* Whether parameters that nobody wants make sense. */
static bool skip_parameters(struct pgwire_cursor *request, uint32_t count)
{
    for (uint32_t i = 0; count != NATIVE_PARAMETERS_KEPT && i < count && !request->is_failed; i++) {
        struct native_value value;
        native_get_any(request, &value);
    }
    return pgwire_cursor_is_done(request);
}

/* --- STEP --------------------------------------------------------------------------------------------------------- */

struct step_request {
    uint8_t flags;
    uint32_t rows_max;
    uint32_t bytes_max;
    uint32_t parameter_count;
};

static struct step_request get_step(struct pgwire_cursor *request)
{
    struct step_request step = {.flags = pgwire_get_u8(request)};
    step.rows_max = pgwire_get_u32(request);
    step.bytes_max = pgwire_get_u32(request);
    step.parameter_count = pgwire_get_u32(request);
    bool is_anew = (step.flags & NATIVE_STEP_ANEW) != 0;
    bool is_known = step.flags == 0 || step.flags == NATIVE_STEP_ANEW || step.flags == NATIVE_STEP_ON;
    if (!is_known || (!is_anew && step.parameter_count != NATIVE_PARAMETERS_KEPT))
        pgwire_cursor_fail(request);
    return step;
}

static sq_status on_row(struct sink *sink, const struct sq_value *values, size_t column_count, struct sq_error *err)
{
    struct native_statement *statement = SQ_CONTAINER_OF(sink, struct native_statement, sink);
    struct sq_buf *rows = statement->rows;
    size_t mark = sq_buf_length(rows);
    for (size_t i = 0; i < column_count; i++)
        native_put_value(rows, &values[i]);
    if (SQ_UNLIKELY(rows->is_failed)) {
        bool is_over_max = rows->is_over_max;
        sq_buf_truncate(rows, mark);
        if (!is_over_max)
            return sq_fail(err, SQ_NOMEM, "out of memory");
        return sq_fail(err, SQ_LIMIT, "a row of the result is larger than max-row-size");
    }
    statement->row_count++;
    sink->has_enough = sq_buf_length(rows) > statement->bytes_max ||
                       (statement->run_until_us != 0 && sq_clock_coarse_us() > statement->run_until_us);
    return SQ_OK;
}

/* Head, error, facts, rows. */
static void answer_step(struct native_statement *statement, int result)
{
    struct native *native = statement->native;
    struct sq_buf *out = native->session->out;
    struct sq_buf *rows = statement->rows;
    bool is_new = has_news(statement);
    if (SQ_UNLIKELY(is_new && !statement->has_news)) { /* compiled anew. An error's text must stay: then it may call */
        statement->has_planned |= native_plan_count(native) != statement->plan_count;
        statement->may_call = (result != SQLITE_ROW && result != SQLITE_DONE) ||
                              native_may_call(native, statement->stmt, statement->has_planned);
    }
    size_t answer = native_answer_begin_facts(native, result, is_new);
    if (is_new)
        put_facts(statement);
    sq_buf_put_u32(out, rows != NULL ? statement->row_count : 0);
    native_outcome_note_rows(native, rows != NULL ? statement->row_count : 0);
    if (rows != NULL)
        sq_buf_put(out, sq_buf_bytes(rows), sq_buf_length(rows));
    native_answer_end(native, answer);
}

static void on_stepped(struct native *native, struct native_work *work, int result)
{
    struct native_statement *statement = SQ_CONTAINER_OF(work, struct native_statement, work);
    answer_step(statement, result);
    struct sq_buf *rows = statement->rows;
    sq_buf_truncate(rows, 0);
    size_t keep_bytes = result == SQLITE_ROW ? NATIVE_BATCH_KEEP_BYTES : NATIVE_BUFFER_KEEP_BYTES;
    sq_buf_shrink(rows, rows == &native->rows ? keep_bytes : 0);
    statement->rows = NULL;
    statement->is_running = false;
    if (statement->is_doomed)
        free_statement(statement);
}

/* Whether it has ended, or has not begun. */
static bool is_at_rest(const struct native_statement *statement)
{
    enum query_stage stage = statement->work.query.stage;
    return stage == QUERY_ENDED || stage == QUERY_NEW;
}

/* Runs the statement on, or anew. */
static void run_statement(struct native_statement *statement, const struct step_request *step)
{
    struct native *native = statement->native;
    struct query *query = &statement->work.query;
    /* One that has ended begins anew by itself, with what is bound to it. */
    if (is_at_rest(statement))
        *query = (struct query){.statement = statement->service, .text = sqlite3_sql(statement->stmt)};
    query->row_limit = step->rows_max;
    statement->work.answer_cb = on_stepped;
    statement->work.busy_count = 0;
    statement->sink = (struct sink){.row_cb = on_row};
    statement->rows = native->work == NULL ? &native->rows : &statement->inner_rows;
    statement->row_count = 0;
    statement->bytes_max = step->bytes_max < NATIVE_BATCH_BYTES_MAX ? step->bytes_max : NATIVE_BATCH_BYTES_MAX;
    statement->plan_count = native_plan_count(native);
    /* One that writes is not held open for the sake of its first rows. */
    statement->run_until_us = sqlite3_stmt_readonly(statement->stmt) != 0 ? sq_clock_coarse_us() + NATIVE_BATCH_US : 0;
    statement->is_running = true;
    bool was_explaining = native->is_explaining;
    native->is_explaining = sqlite3_stmt_isexplain(statement->stmt) != 0; /* it may be compiled anew */
    native_work_run(native, &statement->work, &statement->sink);
    native->is_explaining = was_explaining;
}

/* What STEP says when it comes to nothing. */
static void answer_not_stepped(struct native *native, int result)
{
    size_t answer = native_answer_begin(native, result);
    sq_buf_put_u32(native->session->out, 0);
    native_answer_end(native, answer);
}

/* Whether it takes away what SQLite still looks at while it compiles: a database (DETACH; VACUUM detaches what it has
 * attached), or all that is known of a schema (ALTER TABLE). */
static bool takes_away(const struct native_statement *statement)
{
    const char *sql = sqlite3_sql(statement->stmt);
    enum sql_verb verb = sql_statement_inspect(sql, strlen(sql)).verb;
    return engine_statement_traits(statement->service->engine).may_detach || verb == SQL_VERB_VACUUM ||
           verb == SQL_VERB_ALTER;
}

static void step_statement(struct native_statement *statement, const struct step_request *step,
                           struct pgwire_cursor *request)
{
    struct native *native = statement->native;
    int result = SQLITE_OK;
    bool is_sound = true;
    if ((step->flags & NATIVE_STEP_ANEW) != 0) {
        struct sq_error err;
        bool is_gone;
        /* What it said before, if it was a failure, has been said. */
        sq_status status = finish_statement(statement, &err, &is_gone);
        if (status != SQ_OK && native_is_fatal(native, &err))
            return;
        if (is_gone) {
            native_set_error(native, sqlite3_errstr(SQLITE_MISUSE));
            answer_not_stepped(native, SQLITE_MISUSE);
            return;
        }
    }
    if (step->parameter_count != NATIVE_PARAMETERS_KEPT)
        result = bind_parameters(statement, request, step->parameter_count, &is_sound);
    if (!is_sound || request->left > 0) {
        native_malformed(native);
    } else if (result != SQLITE_OK) {
        answer_step(statement, result);
    } else if (engine_statement_traits(statement->service->engine).is_attach) {
        native_set_error(native, "not authorized");
        answer_step(statement, SQLITE_AUTH);
    } else if (native->compile_count > 0 && takes_away(statement)) {
        native_set_error(native, "not while a statement is being compiled");
        answer_step(statement, SQLITE_LOCKED);
    } else {
        run_statement(statement, step);
    }
}

void native_op_step(struct native *native, struct pgwire_cursor *request)
{
    uint32_t number = pgwire_get_u32(request);
    struct step_request step = get_step(request);
    struct native_statement *statement = native_find_statement(native, number);
    if (request->is_failed) {
        native_malformed(native);
    } else if ((step.flags & NATIVE_STEP_ON) != 0 && statement != NULL && is_at_rest(statement)) {
        answer_not_stepped(native, SQLITE_DONE);
    } else if (statement != NULL && !statement->is_running) {
        step_statement(statement, &step, request);
    } else if (skip_parameters(request, step.parameter_count)) {
        native_set_error(native, sqlite3_errstr(SQLITE_MISUSE));
        answer_not_stepped(native, SQLITE_MISUSE);
    } else {
        native_malformed(native);
    }
}

void native_op_prepare_step(struct native *native, struct pgwire_cursor *request)
{
    struct prepare_request prepare = get_prepare(request);
    struct step_request step = get_step(request);
    struct pgwire_cursor parameters = *request;
    if (request->is_failed || !skip_parameters(&parameters, step.parameter_count)) {
        native_malformed(native);
        return;
    }
    struct native_statement *statement;
    size_t consumed = 0;
    int result = prepare_statement(native, &prepare, &statement, &consumed);
    if (result < 0)
        return;
    if (result != SQLITE_OK)
        answer_not_stepped(native, result);
    else if (statement == NULL)
        answer_nothing(native, SQLITE_DONE, consumed, true);
    else
        step_statement(statement, &step, request);
}

/* --- The rest ----------------------------------------------------------------------------------------------------- */

void native_op_reset(struct native *native, struct pgwire_cursor *request)
{
    struct native_statement *statement = native_find_statement(native, pgwire_get_u32(request));
    struct sq_error err;
    bool is_gone;
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
    } else if (statement == NULL || statement->is_running) {
        native_answer_misuse(native);
    } else if (finish_statement(statement, &err, &is_gone) == SQ_OK) {
        native_answer(native, SQLITE_OK);
    } else if (!native_is_fatal(native, &err)) {
        native_answer(native, native_result_of(native, &err));
    }
}

void native_op_reset_async(struct native *native, struct pgwire_cursor *request)
{
    struct native_statement *statement = native_find_statement(native, pgwire_get_u32(request));
    struct sq_error err;
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
    } else if (statement != NULL && !statement->is_running) {
        sq_status status = service_finish(native->session->service, &statement->work.query, &err);
        if (status != SQ_OK && native_is_fatal(native, &err))
            return; /* said; anything else has been said by the statement's last step */
    }
}

/* It goes now, or with the end of its run. */
static void doom_statement(struct native_statement *statement)
{
    if (statement != NULL && statement->is_running)
        statement->is_doomed = true;
    else if (statement != NULL)
        free_statement(statement);
}

void native_op_finalize(struct native *native, struct pgwire_cursor *request)
{
    struct native_statement *statement = native_find_statement(native, pgwire_get_u32(request));
    if (!pgwire_cursor_is_done(request))
        native_malformed(native);
    else
        doom_statement(statement);
}

void native_op_close(struct native *native, struct pgwire_cursor *request)
{
    struct native_statement *statement = native_find_statement(native, pgwire_get_u32(request));
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    doom_statement(statement);
    native_answer(native, SQLITE_OK);
}

void native_op_expand(struct native *native, struct pgwire_cursor *request)
{
    uint32_t number = pgwire_get_u32(request);
    uint32_t count = pgwire_get_u32(request);
    struct native_statement *statement = native_find_statement(native, number);
    struct pgwire_cursor parameters = *request;
    if (request->is_failed || !skip_parameters(&parameters, count)) {
        native_malformed(native);
        return;
    }
    if (statement == NULL) {
        native_answer_misuse(native);
        return;
    }
    int result = SQLITE_OK;
    bool is_sound = true;
    /* A statement in the middle keeps what it was bound to: so does sqlite3_bind_…(). One that is being run may be asked, too,
     * by a trace callback. */
    if (count != NATIVE_PARAMETERS_KEPT && !statement->is_running && !sqlite3_stmt_busy(statement->stmt)) {
        (void)sqlite3_reset(statement->stmt); /* it has ended: it repeats what has been said */
        result = bind_parameters(statement, request, count, &is_sound);
    }
    sq_assert(is_sound);
    char *text = result == SQLITE_OK ? sqlite3_expanded_sql(statement->stmt) : NULL;
    size_t answer = native_answer_begin(native, result);
    if (result == SQLITE_OK)
        native_put_text(native->session->out, text);
    native_answer_end(native, answer);
    sqlite3_free(text);
}

/* SQLite takes any number for a place in its table. */
static bool is_stmt_status(int operation)
{
    return (operation >= SQLITE_STMTSTATUS_FULLSCAN_STEP && operation <= SQLITE_STMTSTATUS_FILTER_HIT) ||
           operation == SQLITE_STMTSTATUS_MEMUSED;
}

void native_op_stmt_status(struct native *native, struct pgwire_cursor *request)
{
    struct native_statement *statement = native_find_statement(native, pgwire_get_u32(request));
    int operation = (int)pgwire_get_u32(request);
    bool is_reset = pgwire_get_u8(request) != 0;
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    if (statement == NULL || !is_stmt_status(operation)) {
        native_answer_misuse(native);
        return;
    }
    bool is_news = has_news(statement);
    int value = sqlite3_stmt_status(statement->stmt, operation, is_reset);
    if (operation == SQLITE_STMTSTATUS_REPREPARE && is_reset) {
        statement->compile_count = 0;
        statement->has_news = is_news;
    }
    size_t answer = native_answer_begin(native, SQLITE_OK);
    sq_buf_put_u32(native->session->out, (uint32_t)value);
    native_answer_end(native, answer);
}
