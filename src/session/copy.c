/* session/copy.c: COPY (PostgreSQL manual, "COPY Operations" and page "COPY").
 *
 * COPY FROM STDIN is one statement: all rows or none. Each row is an INSERT, run like any other query, so it waits for
 * the write slot, is cancelled and times out as they do. Outside a transaction the whole COPY is one; within one it is a
 * savepoint.
 *
 *   CopyInResponse ──► CopyData… ──► rows ──► INSERT ──► … CopyDone ──► commit ──► CommandComplete "COPY n"
 *                          └── CopyFail, error: everything is undone, what still comes is dropped
 *
 * Field to value: a field is text; the column's affinity turns it into a number (sqlite.org/datatype3.html). What SQLite's
 * affinities do not know is done here: \x… for a BLOB column, t and f for a BOOLEAN one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "pgwire/copyformat.h"
#include "pgwire/pgtype.h"
#include "session/session_internal.h"

enum { COPY_SQL_MAX = 16 << 20, COPY_PENDING_MAX = 1 << 30 };

struct copy_table {
    struct sq_arena arena;
    char *name; /* quoted, with schema */
    const char **columns;
    uint32_t *oids;
    size_t column_count;
};

struct copy_in {
    struct copy_table table;
    struct copy_decoder decoder;
    struct service_statement *statement;
    struct sq_value *values;
    struct sq_arena row_arena;
    struct query query;
    bool is_row_pending; /* `values` wait to be inserted */
    bool is_done;        /* CopyDone came */
    bool is_finished;    /* and the decoder has been emptied */
    bool is_own_txn;     /* COPY has begun the transaction and commits it */
    bool is_savepoint;
    struct sq_buf pending; /* CopyData that has not been decoded */
    uint64_t row_count;
    int64_t deadline_us;   /* statement_timeout: of the whole COPY, not of a row; 0: none */
    struct portal *portal; /* the COPY itself */
};

struct copy_out {
    struct copy_spec spec;
    struct copy_field *fields;
    size_t *offsets;
    struct sq_arena arena;
    bool has_sent_header;
};

/* --- The table ------------------------------------------------------------------------------------------------------ */

static void put_name(struct sq_buf *out, const char *name)
{
    sq_buf_put_u8(out, '"');
    for (const char *at = name; *at != '\0'; at++) {
        if (*at == '"')
            sq_buf_put_u8(out, '"');
        sq_buf_put_u8(out, (uint8_t)*at);
    }
    sq_buf_put_u8(out, '"');
}

static sq_status take_sql(struct sq_buf *sql, struct sq_arena *arena, struct sq_error *err, char **ret_text)
{
    sq_status status = sq_buf_check(sql, err);
    if (status == SQ_OK) {
        *ret_text = sq_arena_copy(arena, sq_buf_bytes(sql), sq_buf_length(sql));
        if (*ret_text == NULL)
            status = sq_fail(err, SQ_NOMEM, "out of memory for COPY");
    }
    sq_buf_done(sql);
    return status;
}

static sq_status prepare_text(struct session *session, const char *sql, struct sq_error *err,
                              struct service_statement **ret_statement)
{
    size_t consumed = 0;
    sq_status status = service_prepare(session->service, sql, strlen(sql), err, ret_statement, &consumed);
    if (status != SQ_OK)
        err->position = 0; /* it would point into our own text */
    return status;
}

/* Collects the names that `PRAGMA table_info` gives: a table's columns without the generated ones, which cannot be
 * written. */
struct name_sink {
    struct sink base;
    struct copy_table *table;
    size_t capacity;
};

static sq_status on_column_name(struct sink *base, const struct sq_value *values, size_t count, struct sq_error *err)
{
    struct name_sink *sink = SQ_CONTAINER_OF(base, struct name_sink, base);
    struct copy_table *table = sink->table;
    sq_assert(count == 1);
    if (table->column_count == sink->capacity)
        return sq_fail(err, SQ_LIMIT, "too many columns for COPY");
    const char *name = values[0].kind == SQ_VALUE_TEXT
                           ? sq_arena_copy(&table->arena, values[0].bytes.data, values[0].bytes.length)
                           : NULL;
    if (name == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for COPY");
    table->columns[table->column_count++] = name;
    return SQ_OK;
}

static sq_status read_columns(struct session *session, const struct command_copy *copy, struct copy_table *table,
                              struct sq_error *err)
{
    table->columns = sq_arena_calloc(&table->arena, COPY_COLUMNS_MAX, sizeof(char *));
    if (table->columns == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for COPY");
    struct service_statement *statement = NULL;
    SQ_TRY(prepare_text(session, "SELECT name FROM pragma_table_info(?1, ?2)", err, &statement));
    struct sq_value parameters[2] = {{.kind = SQ_VALUE_TEXT, .bytes = {copy->table, strlen(copy->table)}}};
    if (copy->schema != NULL)
        parameters[1] = (struct sq_value){.kind = SQ_VALUE_TEXT, .bytes = {copy->schema, strlen(copy->schema)}};
    struct name_sink sink = {.base = {.row_cb = on_column_name}, .table = table, .capacity = COPY_COLUMNS_MAX};
    struct query query = {.statement = statement, .parameters = parameters};
    enum query_progress progress;
    do {
        progress = service_run(session->service, &query, &sink.base, err);
    } while (progress == QUERY_YIELDED);
    /* Waiting can only mean another process's lock; *err has it. */
    bool has_failed = progress == QUERY_FAILED || progress == QUERY_WAITING;
    sq_status status = service_finish(session->service, &query, has_failed ? NULL : err);
    service_release(session->service, statement);
    return has_failed ? err->status : status;
}

/* `qualifier` keeps SQLite from taking the name of a column that does not exist for a string (sqlite.org/quirks.html,
 * section 8). */
static void put_columns(struct sq_buf *sql, const struct copy_table *table, const char *qualifier)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (i > 0)
            sq_buf_put_text(sql, ", ");
        sq_buf_put_text(sql, qualifier);
        put_name(sql, table->columns[i]);
    }
}

/* Resolves name, columns and their types. A table or column that does not exist is SQLite's own error. */
static sq_status open_table(struct session *session, const struct command_copy *copy, struct copy_table *table,
                            struct sq_error *err, char **ret_select)
{
    sq_arena_init(&table->arena);
    struct sq_buf sql;
    sq_buf_init(&sql, COPY_SQL_MAX);
    if (copy->schema != NULL) {
        put_name(&sql, copy->schema);
        sq_buf_put_u8(&sql, '.');
    }
    put_name(&sql, copy->table);
    SQ_TRY(take_sql(&sql, &table->arena, err, &table->name));
    if (copy->columns.count > 0) {
        table->column_count = copy->columns.count;
        table->columns = sq_arena_calloc(&table->arena, table->column_count, sizeof(char *));
        if (table->columns == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for COPY");
        for (size_t i = 0; i < table->column_count; i++)
            table->columns[i] = copy->columns.items[i];
    } else {
        SQ_TRY(read_columns(session, copy, table, err));
    }
    sq_buf_init(&sql, COPY_SQL_MAX);
    sq_buf_put_text(&sql, "SELECT ");
    if (table->column_count > 0)
        put_columns(&sql, table, "copied.");
    else
        sq_buf_put_u8(&sql, '*');
    sq_buf_printf(&sql, " FROM %s AS copied", table->name);
    SQ_TRY(take_sql(&sql, &table->arena, err, ret_select));
    struct service_statement *statement = NULL;
    SQ_TRY(prepare_text(session, *ret_select, err, &statement));
    table->oids = sq_arena_calloc(&table->arena, table->column_count + 1, sizeof(uint32_t));
    for (size_t i = 0; table->oids != NULL && i < table->column_count && i < statement->column_count; i++) {
        struct service_column column;
        service_column(session->service, statement, i, &column);
        table->oids[i] = pgtype_oid_of(column.type);
    }
    service_release(session->service, statement);
    return table->oids != NULL ? SQ_OK : sq_fail(err, SQ_NOMEM, "out of memory for COPY");
}

/* --- Options --------------------------------------------------------------------------------------------------------- */

static sq_status mark_columns(const struct command_names *names, const char *const *columns, size_t column_count,
                              const char *option, struct sq_arena *arena, struct sq_error *err,
                              struct copy_columns *ret_columns)
{
    if (names->count == 0)
        return SQ_OK;
    bool *is_set = sq_arena_calloc(arena, column_count + 1, sizeof(bool));
    if (is_set == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for COPY");
    for (size_t i = 0; i < names->count; i++) {
        size_t at = 0;
        while (at < column_count && strcasecmp(columns[at], names->items[i]) != 0)
            at++;
        if (at == column_count)
            return sq_fail_sql(err, SQ_SQL, "42P10", "%s column \"%.100s\" not referenced by COPY", option,
                               names->items[i]);
        is_set[at] = true;
    }
    *ret_columns = (struct copy_columns){.is_given = true, .is_set = is_set};
    return SQ_OK;
}

static sq_status make_spec(const struct command_copy *copy, const char *const *columns, size_t column_count,
                           struct sq_arena *arena, struct sq_error *err, struct copy_spec *ret_spec)
{
    struct copy_options options = copy->options;
    SQ_TRY(mark_columns(&copy->force_quote, columns, column_count, "FORCE_QUOTE", arena, err, &options.force_quote));
    SQ_TRY(mark_columns(&copy->force_not_null, columns, column_count, "FORCE_NOT_NULL", arena, err,
                        &options.force_not_null));
    SQ_TRY(mark_columns(&copy->force_null, columns, column_count, "FORCE_NULL", arena, err, &options.force_null));
    return copy_options_check(&options, copy->direction, err, ret_spec);
}

/* --- COPY FROM STDIN -------------------------------------------------------------------------------------------------- */

static void free_copy_in(struct session *session)
{
    struct copy_in *copy = session->copy_in;
    session->copy_in = NULL;
    run_deactivate(session);
    /* Rows that have been inserted are part of the transaction; a pending one never began, or has failed. */
    sq_status status = service_finish(session->service, &copy->query, NULL);
    (void)status;
    service_release(session->service, copy->statement);
    copy_decoder_done(&copy->decoder);
    sq_arena_done(&copy->table.arena);
    sq_arena_done(&copy->row_arena);
    sq_buf_done(&copy->pending);
    free(copy);
}

/* Undoes what has been inserted, within an explicit transaction. An implicit one is rolled back as a whole by
 * transaction_after_error(). */
void copy_abort(struct session *session)
{
    if (session->copy_out != NULL) {
        sq_arena_done(&session->copy_out->arena);
        free(session->copy_out);
        session->copy_out = NULL;
    }
    if (session->copy_in == NULL)
        return;
    bool is_savepoint = session->copy_in->is_savepoint;
    free_copy_in(session);
    if (is_savepoint && service_is_in_transaction(session->service)) {
        struct sq_error err;
        if (service_exec(session->service, "ROLLBACK TO \"sqld copy\"; RELEASE \"sqld copy\"", &err) != SQ_OK)
            session->state = SESSION_STATE_CLOSING;
    }
}

static sq_status begin_copy_in(struct session *session, struct copy_in *copy, struct sq_error *err)
{
    if (session->txn == SESSION_TXN_EXPLICIT) {
        SQ_TRY(service_exec(session->service, "SAVEPOINT \"sqld copy\"", err));
        copy->is_savepoint = true;
    } else if (session->txn == SESSION_TXN_NONE) {
        SQ_TRY(service_exec(session->service, "BEGIN", err));
        session->txn = SESSION_TXN_IMPLICIT;
        settings_begin(&session->settings);
        /* In the extended protocol the transaction is the pipeline's, and ends with Sync. */
        copy->is_own_txn = session->state == SESSION_STATE_SIMPLE;
    }
    return SQ_OK;
}

static sq_status open_copy_in(struct session *session, const struct command_copy *command, struct copy_in *copy,
                              struct sq_error *err)
{
    char *select = NULL;
    SQ_TRY(open_table(session, command, &copy->table, err, &select));
    if (settings_bool(&session->settings, SETTING_TRANSACTION_READ_ONLY))
        return sq_fail_sql(err, SQ_SQL, "25006", "cannot execute COPY FROM in a read-only transaction");
    struct copy_table *table = &copy->table;
    struct copy_spec spec;
    SQ_TRY(make_spec(command, table->columns, table->column_count, &table->arena, err, &spec));
    struct sq_buf sql;
    sq_buf_init(&sql, COPY_SQL_MAX);
    sq_buf_printf(&sql, "INSERT INTO %s(", table->name);
    put_columns(&sql, table, "");
    sq_buf_put_text(&sql, ") VALUES (");
    for (size_t i = 0; i < table->column_count; i++)
        sq_buf_printf(&sql, "%s?%zu", i > 0 ? "," : "", i + 1);
    sq_buf_put_text(&sql, ")");
    char *insert = NULL;
    SQ_TRY(take_sql(&sql, &table->arena, err, &insert));
    SQ_TRY(prepare_text(session, insert, err, &copy->statement));
    copy->values = sq_arena_calloc(&table->arena, table->column_count, sizeof(struct sq_value));
    if (copy->values == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for COPY");
    copy->query.stage = QUERY_ENDED;
    SQ_TRY(
        copy_decoder_init(&copy->decoder, &spec, table->columns, table->column_count, session->message_bytes_max, err));
    return begin_copy_in(session, copy, err);
}

static sq_status start_copy_in(struct session *session, struct portal *portal, struct sq_error *err)
{
    struct copy_in *copy = calloc(1, sizeof(*copy));
    if (copy == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for COPY");
    copy->portal = portal;
    sq_arena_init(&copy->table.arena);
    sq_arena_init(&copy->row_arena);
    sq_buf_init(&copy->pending, COPY_PENDING_MAX);
    copy->query.stage = QUERY_ENDED;
    session->copy_in = copy;
    sq_status status = open_copy_in(session, &portal->prepared->command.copy, copy, err);
    if (status != SQ_OK) {
        free_copy_in(session);
        return status;
    }
    if (session->context.statement_timeout_us != 0)
        copy->deadline_us = sq_clock_now_us() + session->context.statement_timeout_us;
    run_activate(session);
    pgwire_put_copy_in_response(session->out, PGWIRE_FORMAT_TEXT, copy->table.column_count);
    return SQ_OK;
}

bool copy_in_has_work(const struct session *session)
{
    const struct copy_in *copy = session->copy_in;
    if (copy == NULL)
        return false;
    /* A COPY that is to stop does so at once, also while it waits for its client. */
    bool is_stopped = atomic_load_explicit(&session->context.stop.reason, memory_order_relaxed) != ENGINE_STOP_NONE;
    return copy->is_row_pending || sq_buf_length(&copy->pending) > 0 || copy->is_done || is_stopped;
}

void copy_in_message(struct session *session, const struct pgwire_frame *frame)
{
    struct copy_in *copy = session->copy_in;
    struct sq_error err;
    sq_status status = SQ_OK;
    switch (frame->type) {
    case PGWIRE_COPY_DATA: {
        struct pgwire_bytes data = pgwire_copy_data_decode(frame);
        sq_buf_put(&copy->pending, data.data, data.length);
        status = sq_buf_check(&copy->pending, &err);
        break;
    }
    case PGWIRE_COPY_DONE:
        status = pgwire_empty_decode(frame, &err);
        copy->is_done = true;
        break;
    case PGWIRE_COPY_FAIL: {
        struct pgwire_copy_fail fail;
        status = pgwire_copy_fail_decode(frame, &err, &fail);
        if (status == SQ_OK)
            status = sq_fail_sql(&err, SQ_CANCELED, "57014", "COPY from stdin failed: %.500s", fail.reason.data);
        break;
    }
    case PGWIRE_FLUSH:
    case PGWIRE_SYNC:
        /* Ignored, so that a client may send them blindly (manual, "COPY Operations"). */
        return;
    case PGWIRE_TERMINATE:
        session->state = SESSION_STATE_CLOSING;
        return;
    default:
        status =
            sq_fail_sql(&err, SQ_SQL, "08P01", "unexpected message type 0x%02x during COPY from stdin", frame->type);
        break;
    }
    if (status != SQ_OK)
        session_fail(session, &err);
}

/* A row's fields as values, valid until the next row. */
static sq_status take_row(struct copy_in *copy, const struct copy_row *row, struct sq_error *err)
{
    sq_arena_reset(&copy->row_arena);
    for (size_t i = 0; i < row->count; i++) {
        const struct copy_field *field = &row->fields[i];
        struct sq_value *value = &copy->values[i];
        if (field->is_null) {
            value->kind = SQ_VALUE_NULL;
            continue;
        }
        *value = (struct sq_value){.kind = SQ_VALUE_TEXT, .bytes = {field->data, field->length}};
        uint32_t oid = copy->table.oids[i];
        bool is_bytea = oid == PGTYPE_BYTEA && field->length >= 2 && memcmp(field->data, "\\x", 2) == 0;
        if (!is_bytea && oid != PGTYPE_BOOL)
            continue;
        sq_status status = pgtype_get(oid, PGWIRE_FORMAT_TEXT, (const uint8_t *)field->data, field->length,
                                      &copy->row_arena, value, err);
        /* A BOOLEAN column of SQLite holds other things too. */
        if (status == SQ_SQL && oid == PGTYPE_BOOL)
            *value = (struct sq_value){.kind = SQ_VALUE_TEXT, .bytes = {field->data, field->length}};
        else if (status != SQ_OK)
            return status;
    }
    copy->query = (struct query){
        .statement = copy->statement, .parameters = copy->values, .verb = "COPY", .deadline_us = copy->deadline_us};
    copy->is_row_pending = true;
    return SQ_OK;
}

static sq_status refuse_rows(struct sink *sink, const struct sq_value *values, size_t count, struct sq_error *err)
{
    (void)sink;
    (void)values;
    (void)count;
    return sq_fail(err, SQ_INVALID, "COPY's INSERT gave rows");
}

/* Decodes up to the next row; *ret_is_end: there is none (yet). */
static sq_status next_row(struct copy_in *copy, struct sq_error *err, bool *ret_is_end)
{
    const struct copy_row *row = NULL;
    while (row == NULL && sq_buf_length(&copy->pending) > 0) {
        size_t used = 0;
        SQ_TRY(copy_decoder_push(&copy->decoder, sq_buf_bytes(&copy->pending), sq_buf_length(&copy->pending), err,
                                 &used, &row));
        sq_buf_consume(&copy->pending, used);
    }
    if (row == NULL && copy->is_done && !copy->is_finished) {
        copy->is_finished = true;
        SQ_TRY(copy_decoder_finish(&copy->decoder, err, &row));
    }
    sq_buf_shrink(&copy->pending, 65536);
    *ret_is_end = row == NULL;
    return row != NULL ? take_row(copy, row, err) : SQ_OK;
}

static sq_status end_copy_in(struct session *session, struct sq_error *err)
{
    struct copy_in *copy = session->copy_in;
    uint64_t row_count = copy->row_count;
    bool is_own_txn = copy->is_own_txn;
    struct portal *portal = copy->portal;
    if (copy->is_savepoint)
        SQ_TRY(service_exec(session->service, "RELEASE \"sqld copy\"", err));
    free_copy_in(session);
    session->executing = portal;
    sq_status status = is_own_txn ? transaction_commit(session, err) : SQ_OK;
    session->executing = NULL;
    SQ_TRY(status);
    portal->state = PORTAL_DONE;
    pgwire_put_command_complete_count(session->out, "COPY", row_count);
    return SQ_OK;
}

/* Inserts the pending row. SESSION_NEED_INPUT: it is in, or *ret_status says why not. */
static enum session_want insert_row(struct session *session, struct sq_error *err, sq_status *ret_status)
{
    struct copy_in *copy = session->copy_in;
    struct sink sink = {.row_cb = refuse_rows};
    session->context.wake_at_us = 0;
    session->pause_deadline_us = 0;
    enum query_progress progress = service_run(session->service, &copy->query, &sink, err);
    if (progress == QUERY_WAITING) {
        session->pause_deadline_us = session->context.wake_at_us;
        return SESSION_WAITING;
    }
    if (progress == QUERY_YIELDED)
        return SESSION_YIELDED;
    copy->is_row_pending = false;
    if (progress == QUERY_DONE) {
        copy->row_count++;
        return SESSION_NEED_INPUT;
    }
    *ret_status = err->status;
    return SESSION_NEED_INPUT;
}

enum session_want copy_in_continue(struct session *session)
{
    enum { COPY_ROWS_PER_TURN = 512 };
    struct copy_in *copy = session->copy_in;
    struct sq_error err;
    sq_error_clear(&err);
    sq_status status = SQ_OK;
    bool is_end = false;
    enum engine_stop_reason reason = engine_stop_check(&session->context.stop);
    if (reason != ENGINE_STOP_NONE)
        status = engine_stop_fail(&err, reason);
    for (int i = 0; i < COPY_ROWS_PER_TURN && status == SQ_OK && !is_end; i++) {
        if (copy->is_row_pending) {
            enum session_want want = insert_row(session, &err, &status);
            if (want != SESSION_NEED_INPUT)
                return want;
        }
        if (status == SQ_OK)
            status = next_row(copy, &err, &is_end);
    }
    if (status == SQ_OK && !is_end)
        return SESSION_YIELDED;
    if (status != SQ_OK)
        sq_error_set_context(&err, "COPY %.100s, line %llu", copy->portal->prepared->command.copy.table,
                             (unsigned long long)copy->decoder.line_number);
    bool is_complete = status == SQ_OK && copy->is_done;
    if (is_complete)
        status = end_copy_in(session, &err);
    if (status != SQ_OK)
        session_fail(session, &err);
    return SESSION_NEED_INPUT;
}

/* --- COPY TO STDOUT ---------------------------------------------------------------------------------------------------- */

static sq_status open_copy_out(struct session *session, struct portal *portal, struct sq_error *err)
{
    const struct prepared *prepared = portal->prepared;
    const struct command_copy *command = &prepared->command.copy;
    struct copy_out *copy = session->copy_out;
    const char *text = NULL;
    size_t length = command->query.length;
    struct copy_table table = {0};
    if (command->table != NULL) {
        char *select = NULL;
        sq_status status = open_table(session, command, &table, err, &select);
        if (status == SQ_OK)
            text = sq_arena_copy(&portal->arena, select, strlen(select));
        sq_arena_done(&table.arena);
        SQ_TRY(status);
        length = text != NULL ? strlen(text) : 0;
    } else {
        text = sq_arena_copy(&portal->arena, prepared->source + command->query.start, length);
    }
    if (text == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for COPY");
    struct prepared *query = NULL;
    size_t consumed = 0;
    sq_status status = prepared_new(session, text, length, NULL, 0, false, err, &query, &consumed);
    if (status != SQ_OK) {
        err->position = 0;
        return status;
    }
    if (query->column_count == 0 || query->sql == NULL || query->parameter_count > 0)
        status = sq_fail_sql(err, SQ_SQL, "0A000", "COPY (query) wants a query that gives rows and has no parameters");
    if (status == SQ_OK)
        status = make_spec(command, query->column_names, query->column_count, &copy->arena, err, &copy->spec);
    if (status == SQ_OK)
        status = portal_new(session, query, err, &portal->child);
    prepared_unref(query);
    SQ_TRY(status);
    copy->fields = sq_arena_calloc(&copy->arena, query->column_count, sizeof(struct copy_field));
    copy->offsets = sq_arena_calloc(&copy->arena, query->column_count, sizeof(size_t));
    if (copy->fields == NULL || copy->offsets == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for COPY");
    return SQ_OK;
}

static void put_header(struct session *session, const struct prepared *query)
{
    struct copy_out *copy = session->copy_out;
    if (copy->has_sent_header)
        return;
    copy->has_sent_header = true;
    if (copy->spec.header == COPY_HEADER_NONE)
        return;
    size_t message = pgwire_begin(session->out, PGWIRE_COPY_DATA);
    copy_put_header(session->out, &copy->spec, query->column_names, query->column_count);
    pgwire_end(session->out, message);
}

static sq_status start_copy_out(struct session *session, struct portal *portal, struct sq_error *err)
{
    session->copy_out = calloc(1, sizeof(*session->copy_out));
    if (session->copy_out == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for COPY");
    sq_arena_init(&session->copy_out->arena);
    SQ_TRY(open_copy_out(session, portal, err));
    struct portal *child = portal->child;
    SQ_TRY(transaction_before_statement(session, child->prepared, false, err));
    child->prepared->is_announced = true;
    SQ_TRY(portal_start(child, err));
    pgwire_put_copy_out_response(session->out, PGWIRE_FORMAT_TEXT, child->prepared->column_count);
    put_header(session, child->prepared);
    run_begin(session, child, RUN_COPY_OUT, 0);
    return SQ_OK;
}

sq_status copy_out_row(struct session *session, const struct sq_value *values, size_t count, struct sq_error *err)
{
    struct copy_out *copy = session->copy_out;
    struct prepared *query = session->sink.portal->prepared;
    SQ_TRY(prepared_resolve_columns(query, values, err));
    /* First all texts into the scratch buffer, then their places: the buffer may move while it grows. */
    struct sq_buf *scratch = &session->scratch;
    sq_buf_truncate(scratch, 0);
    for (size_t i = 0; i < count; i++) {
        copy->offsets[i] = sq_buf_length(scratch);
        copy->fields[i].is_null = values[i].kind == SQ_VALUE_NULL;
        if (!copy->fields[i].is_null && pgtype_put_text(scratch, query->column_oids[i], &values[i]) != SQ_OK)
            break;
        copy->fields[i].length = sq_buf_length(scratch) - copy->offsets[i];
    }
    SQ_TRY(sq_buf_check(scratch, err));
    for (size_t i = 0; i < count; i++)
        copy->fields[i].data = (const char *)sq_buf_bytes(scratch) + copy->offsets[i];
    size_t mark = sq_buf_length(session->out);
    size_t message = pgwire_begin(session->out, PGWIRE_COPY_DATA);
    copy_put_row(session->out, &copy->spec, copy->fields, count);
    pgwire_end(session->out, message);
    return session_output_check(session, mark, err);
}

sq_status copy_out_end(struct session *session, struct sq_error *err)
{
    (void)err;
    pgwire_put_copy_done(session->out);
    sq_buf_truncate(&session->scratch, 0);
    sq_buf_shrink(&session->scratch, 4096);
    copy_abort(session);
    return SQ_OK;
}

sq_status copy_start(struct session *session, struct portal *portal, struct sq_error *err, const char **ret_tag)
{
    *ret_tag = NULL;
    if (portal->prepared->command.copy.direction == COPY_FROM)
        return start_copy_in(session, portal, err);
    sq_status status = start_copy_out(session, portal, err);
    if (status != SQ_OK)
        copy_abort(session);
    return status;
}
