/* sched/scheduler.c: the scheduler service, on SQLite files.
 *
 * The engine connection is opened with the first statement, so that an idle session costs no file descriptors.
 *
 * How a query goes through its stages:
 *
 *     NEW ──reads──────────────────────────────► RUNNING ──► ENDED
 *      └──writes──► QUEUED ──has the slot──► RUNNING │
 *                                               ▲    │ a lock of another process, no row sent yet
 *                                               └── RETRYING (after a pause)
 *
 * A commit gives the slot up before it is on disk. Where the log ends then goes into context->rests_on, and so does where
 * it ended when a snapshot was taken, which may hold commits of others that are not on disk yet: the front end keeps
 * answers back until rests_on is durable. Several commits, of many sessions, then share one sync.
 *
 * Native sessions. Their statements are SQLite's: a failed or finished one is left as SQLite leaves it, and one that met a
 * lock goes on where it was. Their private databases have no log, and slots that nobody else asks for.
 *
 * Invariants: (1) the connection writes only while the slots of its database and of all it has attached are held; (2) they
 * are given back as soon as the connection holds no write lock, after every call that could have ended a transaction, and
 * after rests_on was raised, but never within a step or between begin and end (`busy_depth`), where queries of the client's
 * functions may come and go; (3) a query that has ended has been reset, unless it is native: no statement is left in the middle
 * by DONE or FAILED. */
#include "sched/scheduler.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "engine/database.h"
#include "engine/statement.h"
#include "metrics/metrics.h"
#include "sched/connection_pool.h"
#include "sched/scheduler_internal.h"
#include "sched/write_set.h"

enum {
    SCHED_RETRY_US_MIN = 1000,
    SCHED_RETRY_US_MAX = 25 * 1000,
    /* Another process that never gives its lock back must not hang a session without lock_timeout for ever. */
    SCHED_FOREIGN_LOCK_US_MAX = 60 * SQ_US_PER_S,
    SCHED_SNAPSHOT_RETRIES_MAX = 100,
    SCHED_SLICE_US = 5000, /* rows flow for so long before others get a turn */
    SCHED_SLICE_ROWS = 32, /* the clock is read every so many rows */
    SCHED_VALUES_INLINE = 32,
};

struct sched_statement {
    struct service_statement base;
    struct engine_statement *engine;
    bool is_native;  /* SQLite's own: engine_statement_prepare_native() */
    bool may_detach; /* SQL of a native session may take an attached database away */
};

struct sched_service {
    struct service base;
    struct sched *sched;
    struct sched_database *database;
    struct write_set write_set;
    bool has_ticket;     /* asked for or held; only this thread's view, so that readers never touch the slot's mutex */
    unsigned busy_depth; /* steps that SQLite is in, and work that has begun, one within the other */
    /* The connection reads a snapshot whose position is in rests_on. Presumed of a statement that runs alone: see
     * has_snapshot() for when that is not enough. */
    bool has_snapshot;
    bool may_have_detached;               /* SQL may have detached a database: its slot is given up when none is held */
    struct engine_connection *connection; /* NULL until the first statement, and again while the session rests */
    struct engine_carried carried;        /* while it rests: what the last connection has left */
    uint64_t generation;                  /* above all generations of former connections */
    struct sq_value *values;              /* the current row */
    size_t value_capacity;
};

static struct sched_service *service_of(struct service *service)
{
    return SQ_CONTAINER_OF(service, struct sched_service, base);
}

static struct sched_statement *statement_of(struct service_statement *statement)
{
    return SQ_CONTAINER_OF(statement, struct sched_statement, base);
}

/* Whether it runs a statement of native mode. A session in native mode may have others, too: of the PostgreSQL protocol. */
static bool runs_native(const struct query *query)
{
    return query->statement != NULL && statement_of(query->statement)->is_native;
}

/* What the session has seen now is what its answers rest on. */
static void raise_rests_on(struct sched_service *service)
{
    struct service_context *context = service->base.context;
    struct engine_durability *durability = engine_database_durability(context->database);
    if (context->is_lazy || durability == NULL)
        return;
    engine_position position = engine_durability_published(durability);
    if (position > context->rests_on)
        context->rests_on = position;
}

/* Whether a snapshot that was taken before still counts. One statement alone may have taken none (SELECT 1), and so leave
 * the first to what comes while it is in the middle of its rows. */
static bool has_snapshot(struct sched_service *service)
{
    if (service->has_snapshot && SQ_UNLIKELY(engine_connection_started_count(service->connection) > 0))
        service->has_snapshot = engine_connection_has_snapshot(service->connection);
    return service->has_snapshot;
}

/* After a step: a snapshot that has just been taken. Outside a transaction it ends with the statement, so that SQLite need
 * not be asked whether there is one; but native mode reads with blobs and images, too. */
static void note_snapshot(struct sched_service *service)
{
    if (service->has_snapshot)
        return;
    raise_rests_on(service);
    const struct service_context *context = service->base.context;
    struct engine_connection *connection = service->connection;
    bool is_alone = !context->is_native && engine_connection_started_count(connection) == 1 &&
                    !engine_connection_is_in_transaction(connection);
    service->has_snapshot = !context->is_lazy && (is_alone || engine_connection_has_snapshot(connection));
}

/* After a commit, or what may have been one. */
static void note_commit(struct sched_service *service)
{
    if (engine_database_is_private(service->base.context->database))
        return;
    raise_rests_on(service);
    if (service->base.context->is_lazy)
        engine_durability_request(engine_database_durability(service->base.context->database));
    sched_checkpointer_note(service->sched->checkpointer, service->database);
}

/* What DETACH has taken away, in SQL, is given back. */
static void forget_detached(struct sched_service *service)
{
    const char *alias;
    if (SQ_LIKELY(!service->may_have_detached) || service->has_ticket || service->connection == NULL)
        return;
    service->may_have_detached = false;
    while ((alias = engine_connection_find_detached(service->connection)) != NULL) {
        write_set_remove(&service->write_set, service->sched, NULL, alias);
        engine_connection_forget_attached(service->connection, alias);
    }
}

/* Invariant 2; after every call that could have ended a transaction. */
static void settle_slot(struct sched_service *service)
{
    if (service->has_snapshot && (service->connection == NULL || !engine_connection_has_snapshot(service->connection)))
        service->has_snapshot = false;
    if (!service->has_ticket)
        return;
    if (service->connection != NULL && engine_connection_txn(service->connection) == ENGINE_TXN_WRITE)
        return;
    if (service->connection != NULL)
        note_commit(service);
    if (service->busy_depth > 0)
        return;
    write_set_release(&service->write_set);
    service->has_ticket = false;
    forget_detached(service);
}

static sq_status open_connection(struct sched_service *service, struct sq_error *err)
{
    if (SQ_LIKELY(service->connection != NULL))
        return SQ_OK;
    struct service_context *context = service->base.context;
    struct engine_connection_options options = {
        .is_native = context->is_native,
        .is_readonly = context->is_opened_readonly,
        .has_foreign_keys = context->has_foreign_keys,
        .stop = &context->stop,
        .functions = context->functions,
        .function_count = context->function_count,
        .function_context = context->function_context,
    };
    struct engine_connection *connection = NULL;
    if (context->is_native)
        return engine_connection_open(context->database, &options, err, &service->connection);
    SQ_TRY(connection_pool_take(service->sched->connection_pool, context->database, &options, err, &connection));
    engine_connection_take_over(connection, &service->carried);
    service->connection = connection;
    return SQ_OK;
}

/* The connection goes; what was learnt about statements with it holds no longer. */
static void give_connection(struct sched_service *service)
{
    if (service->connection == NULL)
        return;
    service->generation += engine_connection_generation(service->connection) + 1;
    if (service->base.context->is_native)
        engine_connection_free(service->connection);
    else
        connection_pool_give(service->sched->connection_pool, service->base.context->database, service->connection);
    service->connection = NULL;
}

/* The rest of preparing: `engine` was compiled with `status`; it may be NULL. */
static sq_status wrap_statement(struct sched_service *service, struct engine_statement *engine, sq_status status,
                                struct sq_error *err, struct service_statement **ret_statement)
{
    if (!has_snapshot(service))
        raise_rests_on(service); /* the schema, or the error, is what somebody has committed */
    struct sq_error lost;
    if (engine_connection_settle_attached(service->connection, &lost) != SQ_OK) {
        engine_statement_free(engine);
        *err = lost;
        return lost.status;
    }
    SQ_TRY(status);
    if (engine == NULL) {
        *ret_statement = NULL;
        return SQ_OK;
    }
    struct sched_statement *statement = calloc(1, sizeof(*statement));
    if (statement == NULL) {
        engine_statement_free(engine);
        return sq_fail(err, SQ_NOMEM, "out of memory for a statement");
    }
    statement->engine = engine;
    statement->base.is_readonly = engine_statement_is_readonly(engine);
    statement->base.is_explain = engine_statement_is_explain(engine);
    statement->base.column_count = engine_statement_column_count(engine);
    statement->base.parameter_count = engine_statement_parameter_count(engine);
    *ret_statement = &statement->base;
    return SQ_OK;
}

static sq_status sched_prepare(struct service *base, const char *sql, size_t length, struct sq_error *err,
                               struct service_statement **ret_statement, size_t *ret_consumed)
{
    struct sched_service *service = service_of(base);
    SQ_TRY(open_connection(service, err));
    struct engine_statement *engine = NULL;
    sq_status status = engine_statement_prepare(service->connection, sql, length, err, &engine, ret_consumed);
    return wrap_statement(service, engine, status, err, ret_statement);
}

static sq_status sched_prepare_native(struct service *base, const char *sql, size_t length, unsigned flags,
                                      struct sq_error *err, struct service_statement **ret_statement,
                                      size_t *ret_consumed)
{
    struct sched_service *service = service_of(base);
    sq_assert(base->context->is_native);
    SQ_TRY(open_connection(service, err));
    struct engine_statement *engine = NULL;
    sq_status status =
        engine_statement_prepare_native(service->connection, sql, length, flags, err, &engine, ret_consumed);
    struct service_statement *statement = NULL;
    SQ_TRY(wrap_statement(service, engine, status, err, &statement));
    if (statement != NULL) {
        statement->engine = engine;
        struct engine_native_traits traits = engine_statement_traits(engine);
        statement->is_readonly = !traits.needs_slot;
        statement_of(statement)->is_native = true;
        statement_of(statement)->may_detach = traits.may_detach;
    }
    *ret_statement = statement;
    return SQ_OK;
}

static void sched_column(struct service *base, struct service_statement *statement, size_t column_index,
                         struct service_column *ret_column)
{
    (void)base;
    struct engine_statement *engine = statement_of(statement)->engine;
    ret_column->name = engine_statement_column_name(engine, column_index);
    ret_column->type = engine_statement_column_type(engine, column_index);
}

static sq_status sched_infer(struct service *base, struct service_statement *statement, struct sq_error *err,
                             enum sq_type *ret_columns, enum sq_type *ret_parameters)
{
    (void)base;
    return engine_statement_infer_types(statement_of(statement)->engine, err, ret_columns, ret_parameters);
}

static void sched_release(struct service *base, struct service_statement *statement)
{
    struct sched_service *service = service_of(base);
    engine_statement_free(statement_of(statement)->engine);
    free(statement_of(statement));
    settle_slot(service);
}

static sq_status reserve_values(struct sched_service *service, size_t count, struct sq_error *err)
{
    if (SQ_LIKELY(count <= service->value_capacity))
        return SQ_OK;
    size_t capacity = count < SCHED_VALUES_INLINE ? SCHED_VALUES_INLINE : count;
    struct sq_value *values = calloc(capacity, sizeof(*values));
    if (values == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a row of %zu columns", count);
    free(service->values);
    service->values = values;
    service->value_capacity = capacity;
    return SQ_OK;
}

/* Ends a query whose last step said how; *err keeps what it has. */
static enum query_progress end_query(struct sched_service *service, struct query *query, enum query_progress progress)
{
    if (query->stage == QUERY_RUNNING && !runs_native(query)) {
        sq_status status = engine_statement_reset(statement_of(query->statement)->engine, NULL);
        /* After DONE the commit is over; after a failure reset repeats what is known. */
        (void)status;
    }
    if (query->stage == QUERY_QUEUED)
        metrics_gauge_add(METRICS_QUERIES_WAITING, -1);
    query->stage = QUERY_ENDED;
    settle_slot(service);
    if (query->statement != NULL && SQ_UNLIKELY(statement_of(query->statement)->may_detach)) {
        service->may_have_detached = true;
        forget_detached(service);
    }
    return progress;
}

static enum query_progress fail_query(struct sched_service *service, struct query *query)
{
    return end_query(service, query, QUERY_FAILED);
}

/* A statement that gave a row is not left there: nobody has it. */
static enum query_progress fail_row(struct sched_service *service, struct query *query)
{
    sq_status status = engine_statement_reset(statement_of(query->statement)->engine, NULL);
    (void)status; /* *err has what came first */
    return fail_query(service, query);
}

/* How long a lock is waited for; 0: for ever, or, in native sessions, not at all. */
static int64_t wait_limit_us(const struct service_context *context)
{
    return context->is_native ? context->busy_timeout_us : context->lock_timeout_us;
}

/* Whether the query has waited for locks longer than it may; fills *err. */
static bool has_waited_too_long(const struct service_context *context, struct query *query, int64_t most_us,
                                struct sq_error *err)
{
    int64_t limit_us = wait_limit_us(context) != 0 || context->is_native ? wait_limit_us(context) : most_us;
    if ((limit_us == 0 && !context->is_native) || sq_clock_now_us() - query->waiting_us < limit_us)
        return false;
    metrics_counter_add(METRICS_LOCK_TIMEOUTS, 1);
    if (context->is_native) {
        sq_status status = engine_connection_fail_busy(err);
        sq_assert(status != SQ_OK);
        return true;
    }
    (void)sq_fail_sql(err, SQ_BUSY, "55P03", "canceling statement due to lock timeout");
    return true;
}

/* A database whose log could not be synced answers nothing any more. */
static sq_status check_disk(struct sched_service *service, struct sq_error *err)
{
    struct engine_durability *durability = engine_database_durability(service->base.context->database);
    if (service->connection == NULL || durability == NULL)
        return SQ_OK;
    return engine_durability_check(durability, err);
}

/* Gets the write slot; false: the query stays QUEUED, or has failed with *ret_progress. */
static bool take_slot(struct sched_service *service, struct query *query, struct sq_error *err,
                      enum query_progress *ret_progress)
{
    struct service_context *context = service->base.context;
    service->has_ticket = true;
    if (write_set_take(&service->write_set)) {
        if (query->stage == QUERY_QUEUED) {
            metrics_histogram_add(METRICS_LOCK_WAIT, sq_clock_now_us() - query->waiting_us);
            metrics_gauge_add(METRICS_QUERIES_WAITING, -1);
            query->waiting_us = 0;
            query->stage = QUERY_NEW;
        }
        return true; /* one that comes back to try again has been waiting since it met the lock */
    }
    if (query->stage != QUERY_QUEUED) {
        query->waiting_us = sq_clock_now_us();
        query->stage = QUERY_QUEUED;
        metrics_gauge_add(METRICS_QUERIES_WAITING, 1);
    }
    *ret_progress = QUERY_WAITING;
    /* A native session that would not wait for another writer waits for the checkpointer, which SQLite does not know; if
     * writers come behind that, it looks again. */
    if (context->is_native && write_set_is_servers(&service->write_set)) {
        context->wake_at_us = sq_clock_now_us() + SCHED_RETRY_US_MIN;
        return false;
    }
    if (has_waited_too_long(context, query, 0, err)) {
        *ret_progress = fail_query(service, query);
        return false;
    }
    int64_t limit_us = wait_limit_us(context);
    context->wake_at_us = limit_us != 0 ? query->waiting_us + limit_us : 0;
    return false;
}

/* A lock of another process was in the way. */
static enum query_progress retry_later(struct sched_service *service, struct query *query, struct sq_error *err)
{
    struct service_context *context = service->base.context;
    if (query->row_count > 0)
        return fail_query(service, query);
    if (!runs_native(query)) {
        sq_status status = engine_statement_reset(statement_of(query->statement)->engine, NULL);
        (void)status; /* the step's error again */
    }
    if (!engine_connection_has_snapshot(service->connection))
        service->has_snapshot = false; /* the next try takes a later one */
    query->stage = QUERY_RETRYING;
    int64_t now_us = sq_clock_now_us();
    if (query->waiting_us == 0)
        query->waiting_us = now_us;
    if (context->is_native && now_us - query->waiting_us >= context->busy_timeout_us)
        return fail_query(service, query); /* with SQLite's own code and message */
    if (has_waited_too_long(context, query, SCHED_FOREIGN_LOCK_US_MAX, err)) {
        sq_error_set_hint(err, "Another process has locked a database file.");
        return fail_query(service, query);
    }
    int64_t pause_us = (int64_t)SCHED_RETRY_US_MIN << (query->retry_count < 5 ? query->retry_count : 5);
    query->retry_count++;
    context->wake_at_us = now_us + (pause_us < SCHED_RETRY_US_MAX ? pause_us : SCHED_RETRY_US_MAX);
    return QUERY_WAITING;
}

/* Another process has written between this statement's first read and its first write (or an open cursor of this session
 * still looks at an old snapshot). Nothing has been sent and nothing done, so a statement that is no part of a transaction
 * may begin again. */
static bool may_begin_again(const struct sched_service *service, const struct query *query)
{
    if (query->retry_count >= SCHED_SNAPSHOT_RETRIES_MAX || engine_connection_is_in_transaction(service->connection))
        return false;
    /* Other native statements may have a snapshot open, which stays as old as it is. */
    return !service->base.context->is_native || engine_connection_txn(service->connection) == ENGINE_TXN_NONE;
}

/* After the first step: whether the statement is still the one that was prepared. */
static sq_status follow_change(struct sched_service *service, struct query *query, struct sq_error *err)
{
    struct service_statement *statement = query->statement;
    struct engine_statement *engine = statement_of(statement)->engine;
    statement->has_changed = engine_statement_has_changed(engine);
    if (SQ_LIKELY(!statement->has_changed))
        return SQ_OK;
    statement->column_count = engine_statement_column_count(engine);
    return reserve_values(service, statement->column_count, err);
}

/* Steps until something stops it. */
static enum query_progress step_query(struct sched_service *service, struct query *query, struct sink *sink,
                                      struct sq_error *err)
{
    struct engine_statement *engine = statement_of(query->statement)->engine;
    uint64_t row_count_end = query->row_limit > 0 ? query->row_count + query->row_limit : UINT64_MAX;
    int64_t slice_end_us = 0;
    for (;;) {
        service->busy_depth++;
        enum engine_step step = engine_statement_step(engine, err);
        service->busy_depth--;
        note_snapshot(service);
        /* With the first step come the snapshots, also of attached databases: what they hold must be on disk before
         * anything is said of it, and if that is an error. */
        if (query->row_count == 0 && (follow_change(service, query, err) != SQ_OK ||
                                      engine_connection_settle_attached(service->connection, err) != SQ_OK))
            return fail_query(service, query);
        switch (step) {
        case ENGINE_STEP_DONE:
            query->changes = engine_connection_changes(service->connection);
            if (engine_connection_settle_attached(service->connection, err) != SQ_OK)
                return fail_query(service, query);
            return end_query(service, query, QUERY_DONE);
        case ENGINE_STEP_BUSY:
            return retry_later(service, query, err);
        case ENGINE_STEP_CONFLICT:
            return may_begin_again(service, query) ? retry_later(service, query, err) : fail_query(service, query);
        case ENGINE_STEP_FAILED:
            return fail_query(service, query);
        case ENGINE_STEP_ROW:
            break;
        }
        if (engine_statement_row(engine, service->values, err) != SQ_OK ||
            sink->row_cb(sink, service->values, query->statement->column_count, err) != SQ_OK)
            return fail_row(service, query);
        query->row_count++;
        if (query->row_count == row_count_end || sink->has_enough)
            return QUERY_SUSPENDED;
        if (sink->is_full)
            return QUERY_SINK_FULL;
        if (query->row_count % SCHED_SLICE_ROWS == 0) {
            int64_t now_us = sq_clock_now_us();
            if (slice_end_us == 0)
                slice_end_us = now_us + SCHED_SLICE_US;
            else if (now_us >= slice_end_us)
                return QUERY_YIELDED;
        }
    }
}

static enum query_progress sched_run(struct service *base, struct query *query, struct sink *sink, struct sq_error *err)
{
    struct sched_service *service = service_of(base);
    sq_assert(query->stage != QUERY_ENDED);
    if (check_disk(service, err) != SQ_OK)
        return fail_query(service, query);
    enum engine_stop_reason reason = engine_stop_check(&base->context->stop);
    if (SQ_UNLIKELY(reason != ENGINE_STOP_NONE)) {
        sq_status status = engine_stop_fail(err, reason);
        sq_assert(status != SQ_OK);
        return fail_query(service, query);
    }
    if (query->stage != QUERY_RUNNING) {
        enum query_progress progress = QUERY_FAILED;
        if (!query->statement->is_readonly && !take_slot(service, query, err, &progress))
            return progress;
        service->has_snapshot = has_snapshot(service);
        if (!runs_native(query))
            engine_statement_allow_change(statement_of(query->statement)->engine, query->may_change_columns);
        if (reserve_values(service, query->statement->column_count, err) != SQ_OK)
            return fail_query(service, query);
        if (!runs_native(query) && engine_statement_bind(statement_of(query->statement)->engine, query->parameters,
                                                         query->statement->parameter_count, err) != SQ_OK)
            return fail_query(service, query);
        query->stage = QUERY_RUNNING;
    }
    return step_query(service, query, sink, err);
}

static sq_status sched_finish(struct service *base, struct query *query, struct sq_error *err)
{
    struct sched_service *service = service_of(base);
    sq_status status = SQ_OK;
    if (query->stage == QUERY_RUNNING || runs_native(query))
        status = engine_statement_reset(statement_of(query->statement)->engine, err);
    if (query->stage == QUERY_QUEUED)
        metrics_gauge_add(METRICS_QUERIES_WAITING, -1);
    query->stage = QUERY_ENDED;
    settle_slot(service);
    return status;
}

static sq_status sched_exec(struct service *base, const char *sql, struct sq_error *err)
{
    struct sched_service *service = service_of(base);
    SQ_TRY(open_connection(service, err));
    SQ_TRY(check_disk(service, err));
    sq_status status = engine_connection_exec(service->connection, sql, err);
    if (status == SQ_OK)
        status = engine_connection_settle_attached(service->connection, err);
    settle_slot(service);
    return status;
}

static sq_status sched_note(struct service *base, struct sq_error *err)
{
    struct sched_service *service = service_of(base);
    if (service->connection == NULL)
        return SQ_OK;
    note_snapshot(service);
    return engine_connection_sync_attached(service->connection, err);
}

/* --- Work that is no statement -------------------------------------------------------------------------------------- */

static sq_status sched_begin(struct service *base, struct query *query, struct sq_error *err,
                             struct engine_connection **ret_connection)
{
    struct sched_service *service = service_of(base);
    sq_assert(query->stage == QUERY_NEW && query->statement == NULL);
    SQ_TRY(open_connection(service, err));
    SQ_TRY(check_disk(service, err));
    service->busy_depth++;
    *ret_connection = service->connection;
    return SQ_OK;
}

static enum query_progress sched_claim(struct service *base, struct query *query, struct sq_error *err)
{
    struct sched_service *service = service_of(base);
    sq_assert(service->busy_depth > 0 && query->statement == NULL);
    enum engine_stop_reason reason = engine_stop_check(&base->context->stop);
    enum query_progress progress = QUERY_DONE;
    if (SQ_UNLIKELY(reason != ENGINE_STOP_NONE)) {
        sq_status status = engine_stop_fail(err, reason);
        sq_assert(status != SQ_OK);
        return fail_query(service, query);
    }
    return take_slot(service, query, err, &progress) ? QUERY_DONE : progress;
}

static sq_status sched_end(struct service *base, struct query *query, struct sq_error *err)
{
    struct sched_service *service = service_of(base);
    sq_assert(service->busy_depth > 0 && query->statement == NULL);
    note_snapshot(service);
    sq_status status = engine_connection_settle_attached(service->connection, err);
    service->busy_depth--;
    (void)end_query(service, query, QUERY_DONE);
    return status;
}

static bool sched_is_in_transaction(struct service *base)
{
    struct sched_service *service = service_of(base);
    return service->connection != NULL && engine_connection_is_in_transaction(service->connection);
}

static bool sched_is_wanted(struct service *base)
{
    struct sched_service *service = service_of(base);
    return service->has_ticket && write_set_watch(&service->write_set);
}

/* What a transaction may write is settled when it first writes: the slots are taken then, in order. */
static sq_status check_no_slot(const struct sched_service *service, const char *verb, struct sq_error *err)
{
    if (!service->has_ticket)
        return SQ_OK;
    return sq_fail_sql(err, SQ_SQL, "25001", "%s cannot run inside a transaction that has written", verb);
}

static sq_status sched_attach(struct service *base, const char *name, const char *alias, bool is_readonly,
                              struct sq_error *err)
{
    struct sched_service *service = service_of(base);
    SQ_TRY(check_no_slot(service, "ATTACH", err));
    SQ_TRY(open_connection(service, err));
    struct engine_database *database = NULL;
    SQ_TRY(engine_database_open(base->context->registry, name, err, &database));
    sq_status status = write_set_add(&service->write_set, service->sched, database, alias, err);
    if (status != SQ_OK) {
        engine_database_unref(database);
        return status;
    }
    status = engine_connection_attach(service->connection, database, alias, is_readonly, err);
    if (status != SQ_OK)
        write_set_remove(&service->write_set, service->sched, database, alias);
    return status;
}

static sq_status sched_detach(struct service *base, const char *alias, struct sq_error *err)
{
    struct sched_service *service = service_of(base);
    SQ_TRY(check_no_slot(service, "DETACH", err));
    SQ_TRY(open_connection(service, err));
    SQ_TRY(engine_connection_detach(service->connection, alias, err));
    write_set_remove(&service->write_set, service->sched, NULL, alias);
    return SQ_OK;
}

static void sched_reset(struct service *base)
{
    struct sched_service *service = service_of(base);
    give_connection(service);
    service->carried = (struct engine_carried){0};
    settle_slot(service);
    write_set_clear(&service->write_set, service->sched);
}

static uint64_t sched_generation(struct service *base)
{
    struct sched_service *service = service_of(base);
    return service->generation + (service->connection != NULL ? engine_connection_generation(service->connection) : 0);
}

static size_t sched_statement_bytes(struct service *base, struct service_statement *statement)
{
    (void)base;
    return sizeof(struct sched_statement) + engine_statement_bytes(statement_of(statement)->engine);
}

static bool sched_may_rest(struct service *base)
{
    struct sched_service *service = service_of(base);
    return !service->has_ticket && !base->context->is_native &&
           (service->connection == NULL || engine_connection_is_stateless(service->connection));
}

static void sched_rest(struct service *base)
{
    struct sched_service *service = service_of(base);
    sq_assert(sched_may_rest(base));
    if (service->connection != NULL)
        service->carried = engine_connection_carry(service->connection);
    give_connection(service);
    free(service->values);
    service->values = NULL;
    service->value_capacity = 0;
}

static void sched_service_free(struct service *base)
{
    struct sched_service *service = service_of(base);
    sched_reset(base);
    sched_database_unref(service->sched, service->database);
    free(service->values);
    free(service);
}

static const struct service_ops sched_ops = {
    .prepare = sched_prepare,
    .prepare_native = sched_prepare_native,
    .column = sched_column,
    .infer = sched_infer,
    .release = sched_release,
    .run = sched_run,
    .finish = sched_finish,
    .exec = sched_exec,
    .is_in_transaction = sched_is_in_transaction,
    .is_wanted = sched_is_wanted,
    .attach = sched_attach,
    .detach = sched_detach,
    .reset = sched_reset,
    .generation = sched_generation,
    .statement_bytes = sched_statement_bytes,
    .may_rest = sched_may_rest,
    .rest = sched_rest,
    .begin = sched_begin,
    .claim = sched_claim,
    .end = sched_end,
    .note = sched_note,
    .free = sched_service_free,
};

static sq_status make_service(struct service_factory *factory, struct service_context *context, struct sq_error *err,
                              struct service **ret_service)
{
    struct sched *sched = SQ_CONTAINER_OF(factory, struct sched, factory);
    struct sched_service *service = calloc(1, sizeof(*service));
    struct sched_database *database = sched_find_database(sched, context->database);
    if (service == NULL || database == NULL) {
        if (database != NULL)
            sched_database_unref(sched, database);
        free(service);
        return sq_fail(err, SQ_NOMEM, "out of memory for a session");
    }
    service->base = (struct service){.ops = &sched_ops, .context = context};
    service->sched = sched;
    service->database = database;
    write_set_init(&service->write_set, database, context->waker);
    *ret_service = &service->base;
    return SQ_OK;
}

sq_status sched_new(struct engine_registry *registry, struct sq_error *err, struct sched **ret_sched)
{
    struct sched *sched = calloc(1, sizeof(*sched));
    if (sched == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for the scheduler");
    sched->factory.make_cb = make_service;
    sched->connection_pool = connection_pool_new();
    if (sched->connection_pool == NULL) {
        free(sched);
        return sq_fail(err, SQ_NOMEM, "out of memory for the scheduler");
    }
    pthread_mutex_init(&sched->mutex, NULL);
    sq_map_init(&sched->databases);
    sq_status status = sched_checkpointer_new(sched, registry, err, &sched->checkpointer);
    if (status != SQ_OK) {
        sched_free(sched);
        return status;
    }
    *ret_sched = sched;
    return SQ_OK;
}

void sched_free(struct sched *sched)
{
    if (sched == NULL)
        return;
    sched_checkpointer_free(sched->checkpointer);
    connection_pool_free(sched->connection_pool);
    sq_assert(sched->databases.count == 0);
    sq_map_done(&sched->databases);
    pthread_mutex_destroy(&sched->mutex);
    free(sched);
}

struct service_factory *sched_factory(struct sched *sched)
{
    return &sched->factory;
}
