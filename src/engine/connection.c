/* engine/connection.c: opening a SQLite connection for a session, and the brake.
 *
 * Settings at open, and why:
 *   WAL, synchronous=NORMAL     a commit is durable when durability.h says so, which syncs once for many
 *                               (sqlite.org/pragma.html#pragma_synchronous)
 *   no checkpoints of its own   they are the checkpointer's; a WAL that has grown large is cut back when it begins anew
 *   no waiting while stepping   waiting for a lock is the scheduler's business; SQLite would sleep on the loop's thread.
 *                               Opening, attaching and compiling do wait a moment: the connection that closes a
 *                               database last holds it for as long as it takes to fold the WAL in
 *   defensive, trusted_schema=0 SQL comes from the network (sqlite.org/security.html)
 *   no fts3_tokenizer, no load_extension
 * The progress handler looks at the brake every ENGINE_PROGRESS_OPS virtual-machine instructions: tens of microseconds,
 * so that "at once" holds for a cancel request, and too rarely to be measured. There a long step also gives the processor
 * to whoever waits for it (docs/adr/0008-long-statements-yield.md). */
#include "engine/connection.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "engine/connection_internal.h"
#include "engine/database.h"
#include "engine/durability.h"
#include "engine/error.h"
#include "engine/infer.h"
#include "engine/vfs.h"
#include "metrics/metrics.h"

#define ENGINE_WAL_KEEP_BYTES "67108864" /* of the WAL's file, for reuse: syncs of a growing file cost more */

enum {
    ENGINE_PROGRESS_OPS = 2000,
    ENGINE_STEP_BUDGET_US = 1000, /* a step that takes longer begins to yield */
    ENGINE_YIELD_EVERY_US = 200,
    ENGINE_BUSY_TRIES_MAX = 5000, /* a millisecond each */
    ENGINE_FUNCTION_ARGS_MAX = 127,
    ENGINE_ATTACHED_CHECKPOINT_FRAMES = 1000,
    ENGINE_PARAMETERS_MAX = 65535, /* what Bind's 16-bit count can carry */
};

enum engine_stop_reason engine_stop_check(struct engine_stop *stop)
{
    int reason = atomic_load_explicit(&stop->reason, memory_order_relaxed);
    if (reason != ENGINE_STOP_NONE)
        return (enum engine_stop_reason)reason;
    if (stop->deadline_us != 0 && sq_clock_now_us() >= stop->deadline_us)
        return ENGINE_STOP_TIMEOUT;
    return ENGINE_STOP_NONE;
}

sq_status engine_stop_fail(struct sq_error *err, enum engine_stop_reason reason)
{
    switch (reason) {
    case ENGINE_STOP_TIMEOUT:
        return sq_fail_sql(err, SQ_CANCELED, "57014", "canceling statement due to statement timeout");
    case ENGINE_STOP_SHUTDOWN: {
        sq_status status =
            sq_fail_sql(err, SQ_CANCELED, "57P01", "terminating connection due to administrator command");
        if (err != NULL)
            err->is_fatal = true;
        return status;
    }
    case ENGINE_STOP_NONE:
    case ENGINE_STOP_CANCEL:
        break;
    }
    return sq_fail_sql(err, SQ_CANCELED, "57014", "canceling statement due to user request");
}

/* A step that is over its budget lets waiting threads run: event loops above all, for whom the kernel would stop a busy
 * thread only at its next tick, milliseconds later. Who writes does not yield: others wait for what it holds. */
static void yield_if_long(struct engine_connection *connection)
{
    int64_t now_us = sq_clock_now_us();
    if (connection->yield_us == 0) {
        connection->yield_us = now_us + ENGINE_STEP_BUDGET_US;
        return;
    }
    if (now_us < connection->yield_us)
        return;
    if (sqlite3_txn_state(connection->db, NULL) != SQLITE_TXN_WRITE) {
        sched_yield();
        metrics_counter_add(METRICS_STATEMENT_YIELDS, 1);
    }
    connection->yield_us = sq_clock_now_us() + ENGINE_YIELD_EVERY_US;
}

/* Whether the client's progress handler is due, and wants the statement to end. */
static bool is_client_stopping(struct engine_native_settings *native)
{
    if (native->progress_left > ENGINE_PROGRESS_OPS) {
        native->progress_left -= ENGINE_PROGRESS_OPS;
        return false;
    }
    native->progress_left = native->progress_ops;
    return native->progress_cb(native->progress_context) != 0;
}

static int on_progress(void *context)
{
    struct engine_connection *connection = context;
    if (connection->native.progress_cb != NULL && is_client_stopping(&connection->native))
        return 1;
    yield_if_long(connection);
    /* Inferring is short, and stopping it in the middle of a write's listing would roll the transaction back. */
    return !connection->is_inferring && engine_stop_check(connection->stop) != ENGINE_STOP_NONE;
}

/* Somebody holds a lock that opening or compiling needs: wait a little, unless the statement is to stop. */
static int on_busy(void *context, int try_count)
{
    struct engine_connection *connection = context;
    if (connection->is_stepping || try_count >= ENGINE_BUSY_TRIES_MAX ||
        engine_stop_check(connection->stop) != ENGINE_STOP_NONE)
        return 0;
    struct timespec pause = {.tv_nsec = 1000 * 1000};
    nanosleep(&pause, NULL); /* banned-ok: a lock of another process has nobody to wake us */
    return 1;
}

/* What sqlite3_create_function_v2() keeps for each function. */
struct bound_function {
    const struct engine_function *function;
    struct engine_connection *connection;
};

static struct sq_value value_of(sqlite3_value *from)
{
    struct sq_value value = {.kind = SQ_VALUE_NULL};
    switch (sqlite3_value_type(from)) {
    case SQLITE_INTEGER:
        value.kind = SQ_VALUE_INTEGER;
        value.integer = sqlite3_value_int64(from);
        break;
    case SQLITE_FLOAT:
        value.kind = SQ_VALUE_REAL;
        value.real = sqlite3_value_double(from);
        break;
    case SQLITE_TEXT:
        value.kind = SQ_VALUE_TEXT;
        value.bytes.data = (const char *)sqlite3_value_text(from);
        value.bytes.length = (size_t)sqlite3_value_bytes(from);
        break;
    case SQLITE_BLOB:
        value.kind = SQ_VALUE_BLOB;
        value.bytes.data = sqlite3_value_blob(from);
        value.bytes.length = (size_t)sqlite3_value_bytes(from);
        break;
    default:
        break;
    }
    return value;
}

static void give_result(sqlite3_context *context, const struct sq_value *value)
{
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
    case SQ_VALUE_TEXT:
        /* A NULL pointer would mean SQL NULL; so would it for a blob. */
        sqlite3_result_text64(context, value->bytes.length > 0 ? value->bytes.data : "", value->bytes.length,
                              SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
    case SQ_VALUE_BLOB:
        if (value->bytes.length > 0)
            sqlite3_result_blob64(context, value->bytes.data, value->bytes.length, SQLITE_TRANSIENT);
        else
            sqlite3_result_zeroblob(context, 0);
        break;
    }
}

static void call_function(sqlite3_context *context, int arg_count, sqlite3_value **args)
{
    const struct bound_function *bound = sqlite3_user_data(context);
    struct sq_value values[ENGINE_FUNCTION_ARGS_MAX];
    sq_assert(arg_count >= 0 && arg_count <= ENGINE_FUNCTION_ARGS_MAX);
    for (int i = 0; i < arg_count; i++)
        values[i] = value_of(args[i]);
    struct sq_value result = {.kind = SQ_VALUE_NULL};
    struct sq_error *err = &bound->connection->function_error;
    sq_status status =
        bound->function->call_cb(bound->connection->function_context, values, (size_t)arg_count, &result, err);
    bound->connection->has_function_error = status != SQ_OK;
    if (status == SQ_NOMEM)
        sqlite3_result_error_nomem(context);
    else if (status == SQ_CANCELED)
        sqlite3_result_error_code(context, SQLITE_INTERRUPT);
    else if (status != SQ_OK)
        sqlite3_result_error(context, err->text, -1);
    else
        give_result(context, &result);
}

static sq_status add_functions(struct engine_connection *connection, const struct engine_connection_options *options,
                               struct sq_error *err)
{
    for (size_t i = 0; i < options->function_count; i++) {
        struct bound_function *bound = malloc(sizeof(*bound));
        if (bound == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for an SQL function");
        *bound = (struct bound_function){&options->functions[i], connection};
        /* SQLite frees `bound` with the destructor, also when this call fails. */
        int result = sqlite3_create_function_v2(connection->db, bound->function->name, bound->function->arg_count,
                                                SQLITE_UTF8 | SQLITE_INNOCUOUS, bound, call_function, NULL, NULL, free);
        if (result != SQLITE_OK)
            return engine_fail(err, connection->db, result, NULL);
    }
    return SQ_OK;
}

/* Runs `sql`, whose first row's first column must be `expected` (NULL: no matter). */
static sq_status exec_expecting(struct engine_connection *connection, const char *sql, const char *expected,
                                struct sq_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int result = sqlite3_prepare_v2(connection->db, sql, -1, &stmt, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(stmt);
    sq_status status = SQ_OK;
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        status = engine_fail(err, connection->db, result, sql);
    } else if (expected != NULL) {
        const char *got = result == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
        if (got == NULL || strcmp(got, expected) != 0)
            status =
                sq_fail(err, SQ_IO, "'%s' gave '%s' instead of '%s'", sql, got != NULL ? got : "nothing", expected);
    }
    sqlite3_finalize(stmt);
    return status;
}

/* What is said of the file's log. */
static sq_status configure_log(struct engine_connection *connection, struct sq_error *err)
{
    SQ_TRY(exec_expecting(connection, "PRAGMA journal_mode=WAL", "wal", err));
    SQ_TRY(exec_expecting(connection, "PRAGMA synchronous=NORMAL", NULL, err));
    SQ_TRY(exec_expecting(connection, "PRAGMA journal_size_limit=" ENGINE_WAL_KEEP_BYTES, NULL, err));
    sqlite3_wal_autocheckpoint(connection->db, 0);
    return SQ_OK;
}

static sq_status configure(struct engine_connection *connection, const struct engine_connection_options *options,
                           struct sq_error *err)
{
    const struct {
        int option;
        int value;
    } switches[] = {
        {SQLITE_DBCONFIG_ENABLE_FKEY, options->has_foreign_keys},
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0},
        {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
    };
    sqlite3 *db = connection->db;
    for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
        int result = sqlite3_db_config(db, switches[i].option, switches[i].value, NULL);
        if (result != SQLITE_OK)
            return engine_fail(err, db, result, NULL);
    }
    sqlite3_extended_result_codes(db, 1);
    sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, 0);
    sqlite3_busy_handler(db, on_busy, connection);
    if (!engine_database_is_private(connection->state.database))
        SQ_TRY(configure_log(connection, err));
    /* No statement can be compiled while the schema of a shared database is locked: sqlite.org/sharedcache.html. */
    if (engine_cache_bytes() > 0 && !engine_database_is_shared(connection->state.database)) {
        char cache[64];
        snprintf(cache, sizeof(cache), "PRAGMA cache_size=-%zu", engine_cache_bytes() / 1024); /* in KiB */
        SQ_TRY(exec_expecting(connection, cache, NULL, err));
    }
    if (!connection->is_native) {
        sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, ENGINE_PARAMETERS_MAX);
        SQ_TRY(add_functions(connection, options, err));
        SQ_TRY(engine_connection_add_counters(connection, err));
    } else {
        /* What this lets into views and triggers are functions of the client's own: with SQLite it is so, too. */
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 1, NULL);
    }
    sqlite3_progress_handler(db, ENGINE_PROGRESS_OPS, on_progress, connection);
    sqlite3_set_authorizer(db, engine_authorize, connection);
    return SQ_OK;
}

static sq_status hint_corrupt(const struct engine_database *database, sq_status status, struct sq_error *err)
{
    if (status == SQ_CORRUPT)
        sq_error_set_hint(err,
                          "The file %s is damaged or no SQLite database: restore it from a backup, or try "
                          "the .recover command of the sqlite3 shell on a copy.",
                          engine_database_path(database));
    return status;
}

static sq_status start_database(struct engine_database *database, struct sq_error *err)
{
    return hint_corrupt(database, engine_database_start(database, err), err);
}

SQ_DEFINE_FREEP(struct engine_connection, engine_connection_free)

sq_status engine_connection_open(struct engine_database *database, const struct engine_connection_options *options,
                                 struct sq_error *err, struct engine_connection **ret_connection)
{
    sq_assert(options->stop != NULL);
    SQ_TRY(start_database(database, err));
    SQ_CLEANUP(engine_connection_freep) struct engine_connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a database connection");
    engine_connection_adopt(connection, options);
    connection->state.database = database;
    connection->has_foreign_keys = options->has_foreign_keys;
    connection->is_native = options->is_native;
    connection->native = (struct engine_native_settings){.synchronous = 2, .wal_autocheckpoint = 1000};
    connection->durability = engine_database_durability(database);
    connection->functions = options->functions;
    connection->function_count = options->function_count;
    /* The path of a database that is attached to be read only is a URI. */
    int flags = (options->is_readonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX |
                (options->is_native ? SQLITE_OPEN_URI : 0);
    int result = sqlite3_open_v2(engine_database_path(database), &connection->db, flags, ENGINE_VFS_NAME);
    sq_status status =
        result == SQLITE_OK ? configure(connection, options, err) : engine_fail(err, connection->db, result, NULL);
    SQ_TRY(hint_corrupt(database, status, err));
    *ret_connection = SQ_STEAL(connection);
    return SQ_OK;
}

void engine_connection_free(struct engine_connection *connection)
{
    if (connection == NULL)
        return;
    sq_assert(connection->statement_count == 0);
    infer_cache_free(connection->infer_cache);
    engine_connection_state_done(connection);
    int result = sqlite3_close(connection->db);
    /* SQLITE_BUSY would mean a statement of ours is still open: a leak that keeps locks. */
    sq_assert(result == SQLITE_OK);
    for (size_t i = 0; i < connection->attached_count; i++) {
        engine_database_unref(connection->attached[i].database);
        free(connection->attached[i].alias);
    }
    free(connection);
}

enum engine_txn engine_connection_txn(const struct engine_connection *connection)
{
    switch (sqlite3_txn_state(connection->db, NULL)) {
    case SQLITE_TXN_WRITE:
        return ENGINE_TXN_WRITE;
    case SQLITE_TXN_READ:
        return ENGINE_TXN_READ;
    default:
        return ENGINE_TXN_NONE;
    }
}

bool engine_connection_has_snapshot(const struct engine_connection *connection)
{
    /* Native mode reads with more than statements: blobs, backups. */
    bool is_idle = !connection->is_native && connection->started_count == 0 && sqlite3_get_autocommit(connection->db);
    return !is_idle && sqlite3_txn_state(connection->db, "main") != SQLITE_TXN_NONE;
}

size_t engine_connection_started_count(const struct engine_connection *connection)
{
    return connection->started_count;
}

bool engine_connection_is_in_transaction(const struct engine_connection *connection)
{
    return !sqlite3_get_autocommit(connection->db);
}

int64_t engine_connection_changes(const struct engine_connection *connection)
{
    return sqlite3_changes64(connection->db);
}

sq_status engine_connection_exec(struct engine_connection *connection, const char *sql, struct sq_error *err)
{
    int result;
    connection->state.effects = 0;
    if (!engine_connection_exec_control(connection, sql, &result))
        result = sqlite3_exec(connection->db, sql, NULL, NULL, NULL);
    engine_connection_after(connection, connection->state.effects);
    if (result == SQLITE_OK)
        return SQ_OK;
    engine_connection_note_failure(connection, result);
    return engine_fail(err, connection->db, result, NULL);
}

void engine_connection_note_failure(struct engine_connection *connection, int result)
{
    if (result != SQLITE_IOERR_FSYNC && result != SQLITE_IOERR_DIR_FSYNC)
        return;
    /* Which of its databases, SQLite does not say. */
    if (connection->durability != NULL)
        engine_durability_fail(connection->durability);
    for (size_t i = 0; i < connection->attached_count; i++)
        engine_durability_fail(engine_database_durability(connection->attached[i].database));
}

sq_status engine_connection_sync_attached(struct engine_connection *connection, struct sq_error *err)
{
    for (size_t i = 0; i < connection->attached_count; i++) {
        struct engine_durability *durability = engine_database_durability(connection->attached[i].database);
        SQ_TRY(engine_durability_check(durability, err));
        SQ_TRY(engine_durability_sync(durability, engine_durability_published(durability), err));
    }
    return SQ_OK;
}

sq_status engine_connection_settle_attached(struct engine_connection *connection, struct sq_error *err)
{
    SQ_TRY(engine_connection_sync_attached(connection, err));
    for (size_t i = 0; i < connection->attached_count; i++) {
        struct engine_attached *attached = &connection->attached[i];
        struct engine_durability *durability = engine_database_durability(attached->database);
        /* The message of a failure that is still to be told must stay; there will be other times. */
        int last = sqlite3_errcode(connection->db);
        if (last != SQLITE_OK && last != SQLITE_ROW && last != SQLITE_DONE)
            continue;
        struct engine_wal_fill fill = engine_durability_fill(durability);
        if (fill.frame_count - fill.backfilled_count < ENGINE_ATTACHED_CHECKPOINT_FRAMES)
            continue;
        /* What has been committed stands, whatever becomes of the checkpoint: the next statement tries it again. */
        engine_connection_note_failure(connection, sqlite3_wal_checkpoint_v2(connection->db, attached->alias,
                                                                             SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
        SQ_TRY(engine_durability_check(durability, err));
    }
    return SQ_OK;
}

/* Attached databases are synced by SQLite itself, with each commit: a statement that writes several is rare. */
static sq_status attach(struct engine_connection *connection, const char *path, const char *alias, struct sq_error *err)
{
    char *sql = sqlite3_mprintf("ATTACH %Q AS %Q", path, alias);
    char *safe = sqlite3_mprintf("PRAGMA %Q.synchronous=FULL", alias);
    sq_status status = SQ_OK;
    if (sql == NULL || safe == NULL)
        status = sq_fail(err, SQ_NOMEM, "out of memory to attach a database");
    connection->is_attach_allowed = true;
    if (status == SQ_OK)
        status = engine_connection_exec(connection, sql, err);
    /* Within a transaction it cannot be said; FULL is what SQLite begins with. */
    if (status == SQ_OK && sqlite3_get_autocommit(connection->db))
        status = engine_connection_exec(connection, safe, err);
    connection->is_attach_allowed = false;
    sqlite3_free(sql);
    sqlite3_free(safe);
    return status;
}

/* The path as a URI that is opened to be read only (sqlite.org/uri.html); NULL without memory. */
static char *readonly_uri(const char *path)
{
    sqlite3_str *uri = sqlite3_str_new(NULL);
    sqlite3_str_appendall(uri, "file:");
    for (const char *at = path; *at != '\0'; at++) {
        if (*at == '?' || *at == '#' || *at == '%')
            sqlite3_str_appendf(uri, "%%%02x", (unsigned char)*at);
        else
            sqlite3_str_appendchar(uri, 1, *at);
    }
    sqlite3_str_appendall(uri, "?mode=ro");
    return sqlite3_str_finish(uri);
}

static sq_status attach_path(struct engine_connection *connection, const char *path, const char *alias,
                             bool is_readonly, struct sq_error *err)
{
    sq_assert(!is_readonly || connection->is_native);
    if (!is_readonly)
        return attach(connection, path, alias, err);
    char *uri = readonly_uri(path);
    sq_status status = uri != NULL ? attach(connection, uri, alias, err)
                                   : sq_fail(err, SQ_NOMEM, "out of memory to attach a database");
    sqlite3_free(uri);
    return status;
}

sq_status engine_connection_attach(struct engine_connection *connection, struct engine_database *database,
                                   const char *alias, bool is_readonly, struct sq_error *err)
{
    char *alias_copy = strdup(alias);
    sq_status status = SQ_OK;
    if (alias_copy == NULL)
        status = sq_fail(err, SQ_NOMEM, "out of memory to attach a database");
    else if (connection->attached_count >= ENGINE_ATTACHED_MAX)
        status = sq_fail(err, SQ_LIMIT, "too many attached databases - max %d", ENGINE_ATTACHED_MAX);
    if (status == SQ_OK)
        status = start_database(database, err);
    if (status == SQ_OK)
        status = attach_path(connection, engine_database_path(database), alias, is_readonly, err);
    if (status != SQ_OK) {
        free(alias_copy);
        engine_database_unref(database);
        return status;
    }
    connection->attached[connection->attached_count++] = (struct engine_attached){database, alias_copy};
    return SQ_OK;
}

sq_status engine_connection_detach(struct engine_connection *connection, const char *alias, struct sq_error *err)
{
    char *sql = sqlite3_mprintf("DETACH %Q", alias);
    if (sql == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to detach a database");
    sq_status status = engine_connection_exec(connection, sql, err);
    sqlite3_free(sql);
    SQ_TRY(status);
    engine_connection_forget_attached(connection, alias);
    return SQ_OK;
}

void engine_connection_forget_attached(struct engine_connection *connection, const char *alias)
{
    infer_cache_clear(connection->infer_cache);
    connection->state.generation++;
    for (size_t i = 0; i < connection->attached_count; i++) {
        struct engine_attached *attached = &connection->attached[i];
        if (sqlite3_stricmp(attached->alias, alias) != 0)
            continue;
        /* What the sum in engine_connection_generation() loses must not bring a former value back. */
        connection->state.generation += engine_database_generation(attached->database);
        engine_database_unref(attached->database);
        free(attached->alias);
        *attached = connection->attached[--connection->attached_count];
        break;
    }
}

const char *engine_connection_database_name(const struct engine_connection *connection, const char *schema)
{
    const struct engine_database *own = connection->state.database;
    if (sqlite3_stricmp(schema, "main") == 0)
        return engine_database_is_private(own) ? NULL : engine_database_name(own);
    for (size_t i = 0; i < connection->attached_count; i++) {
        if (sqlite3_stricmp(schema, connection->attached[i].alias) == 0)
            return engine_database_name(connection->attached[i].database);
    }
    return NULL;
}

const char *engine_connection_find_detached(const struct engine_connection *connection)
{
    for (size_t i = 0; i < connection->attached_count; i++) {
        if (sqlite3_db_filename(connection->db, connection->attached[i].alias) == NULL)
            return connection->attached[i].alias;
    }
    return NULL;
}

/* --- Native connections -------------------------------------------------------------------------------------------- */

struct engine_native_settings *engine_connection_native(struct engine_connection *connection)
{
    return connection->is_native ? &connection->native : NULL;
}

void engine_native_set_progress(struct engine_connection *connection, int ops, int (*progress_cb)(void *context),
                                void *context)
{
    sq_assert(connection->is_native);
    bool is_set = ops > 0 && progress_cb != NULL;
    connection->native.progress_cb = is_set ? progress_cb : NULL;
    connection->native.progress_context = context;
    connection->native.progress_ops = connection->native.progress_left = is_set ? ops : 0;
    /* The brake is looked at as often as ever. */
    sqlite3_progress_handler(connection->db, is_set && ops < ENGINE_PROGRESS_OPS ? ops : ENGINE_PROGRESS_OPS,
                             on_progress, connection);
}

sqlite3 *engine_connection_handle(struct engine_connection *connection)
{
    return connection->db;
}

sq_status engine_connection_fail_busy(struct sq_error *err)
{
    sq_status status = sq_fail_sql(err, SQ_BUSY, "55P03", "%s", sqlite3_errstr(SQLITE_BUSY));
    if (err != NULL)
        err->engine_code = SQLITE_BUSY;
    return status;
}
