/* session/native_settings.c: what a client asks about its connection, and sets in it: operations 0x10 to 0x1C of
 * docs/protocol.md. What SQLite keeps for a connection alone is SQLite's; what would touch the server or others is answered
 * as it is in force. */
#include <string.h>

#include "engine/database.h"
#include "session/native_internal.h"

enum { NATIVE_NAME_MAX = 1000 }; /* bytes of a schema's, table's or column's name */

/* A text of the request as a C string in `place`; NULL for NULL. Longer names than SQLite could be asked for fail the
 * request. */
static const char *get_name(struct pgwire_cursor *request, char place[NATIVE_NAME_MAX + 1])
{
    struct pgwire_bytes bytes = native_get_bytes(request);
    if (bytes.data == NULL)
        return NULL;
    if (bytes.length > NATIVE_NAME_MAX || memchr(bytes.data, 0, bytes.length) != NULL) {
        pgwire_cursor_fail(request);
        return NULL;
    }
    memcpy(place, bytes.data, bytes.length);
    place[bytes.length] = '\0';
    return place;
}

/* Whether the request has been read to its end, and makes sense. */
static bool is_whole(struct native *native, const struct pgwire_cursor *request)
{
    if (pgwire_cursor_is_done(request))
        return true;
    native_malformed(native);
    return false;
}

/* An answer with one number. */
static void answer_i32(struct native *native, int result, int value)
{
    size_t answer = native_answer_begin(native, result);
    sq_buf_put_u32(native->session->out, (uint32_t)value);
    native_answer_end(native, answer);
}

/* --- Of the schema ------------------------------------------------------------------------------------------------- */

/* Begins what reads the database without a statement. False: it has been answered. */
static bool begin_reading(struct native *native, struct query *query)
{
    struct sq_error err;
    struct engine_connection *connection = NULL;
    *query = (struct query){.stage = QUERY_NEW};
    if (service_begin(native->session->service, query, &err, &connection) == SQ_OK)
        return true;
    if (!native_is_fatal(native, &err))
        native_answer(native, native_result_of(native, &err));
    return false;
}

/* False: it has been answered. */
static bool end_reading(struct native *native, struct query *query)
{
    struct sq_error err;
    if (service_end(native->session->service, query, &err) == SQ_OK)
        return true;
    if (!native_is_fatal(native, &err))
        native_answer(native, native_result_of(native, &err));
    return false;
}

void native_op_column_metadata(struct native *native, struct pgwire_cursor *request)
{
    char names[3][NATIVE_NAME_MAX + 1];
    const char *database = get_name(request, names[0]);
    const char *table = get_name(request, names[1]);
    const char *column = get_name(request, names[2]);
    if (!is_whole(native, request))
        return;
    struct query query;
    if (table == NULL) {
        native_answer_misuse(native);
        return;
    }
    if (!begin_reading(native, &query))
        return;
    const char *type = NULL;
    const char *collation = NULL;
    int is_not_null = 0;
    int is_primary_key = 0;
    int is_autoincrement = 0;
    int result = sqlite3_table_column_metadata(native->db, database, table, column, &type, &collation, &is_not_null,
                                               &is_primary_key, &is_autoincrement);
    if (!end_reading(native, &query))
        return;
    struct sq_buf *out = native->session->out;
    size_t answer = native_answer_begin(native, result);
    if (result == SQLITE_OK) {
        native_put_text(out, type);
        native_put_text(out, collation);
        sq_buf_put_u8(out, is_not_null != 0);
        sq_buf_put_u8(out, is_primary_key != 0);
        sq_buf_put_u8(out, is_autoincrement != 0);
    }
    native_answer_end(native, answer);
}

void native_op_data_version(struct native *native, struct pgwire_cursor *request)
{
    char name[NATIVE_NAME_MAX + 1];
    const char *database = get_name(request, name);
    if (!is_whole(native, request))
        return;
    unsigned version = 0;
    int result = sqlite3_file_control(native->db, database, SQLITE_FCNTL_DATA_VERSION, &version);
    if (result == SQLITE_OK)
        answer_i32(native, result, (int)version);
    else
        native_answer_error(native, result, sqlite3_errstr(result));
}

/* --- Of the connection --------------------------------------------------------------------------------------------- */

void native_op_txn_state(struct native *native, struct pgwire_cursor *request)
{
    char name[NATIVE_NAME_MAX + 1];
    const char *database = get_name(request, name);
    if (is_whole(native, request))
        answer_i32(native, SQLITE_OK, sqlite3_txn_state(native->db, database));
}

void native_op_set_rowid(struct native *native, struct pgwire_cursor *request)
{
    int64_t rowid = (int64_t)pgwire_get_u64(request);
    if (!is_whole(native, request))
        return;
    sqlite3_set_last_insert_rowid(native->db, rowid);
    native_answer(native, SQLITE_OK);
}

void native_op_limit(struct native *native, struct pgwire_cursor *request)
{
    int limit = (int)pgwire_get_u32(request);
    int value = (int)pgwire_get_u32(request);
    if (!is_whole(native, request))
        return;
    if (limit == SQLITE_LIMIT_WORKER_THREADS && value > 0)
        value = 0; /* threads are the server's to count */
    /* SQLite's own upper bounds hold. */
    answer_i32(native, SQLITE_OK, sqlite3_limit(native->db, limit, value));
}

/* Whether the client may set this of sqlite3_db_config(). */
static bool may_configure(const struct native *native, int operation)
{
    switch (operation) {
    case SQLITE_DBCONFIG_ENABLE_FKEY:
    case SQLITE_DBCONFIG_ENABLE_TRIGGER:
    case SQLITE_DBCONFIG_ENABLE_VIEW:
    case SQLITE_DBCONFIG_ENABLE_QPSG:
    case SQLITE_DBCONFIG_TRIGGER_EQP:
    case SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE:
    case SQLITE_DBCONFIG_RESET_DATABASE:
    case SQLITE_DBCONFIG_LEGACY_ALTER_TABLE:
    case SQLITE_DBCONFIG_DQS_DML:
    case SQLITE_DBCONFIG_DQS_DDL:
    case SQLITE_DBCONFIG_LEGACY_FILE_FORMAT:
    case SQLITE_DBCONFIG_TRUSTED_SCHEMA:
        return true;
    case SQLITE_DBCONFIG_DEFENSIVE:
    case SQLITE_DBCONFIG_WRITABLE_SCHEMA:
        return native->is_private; /* nobody else is harmed */
    default:
        return false;
    }
}

void native_op_db_config(struct native *native, struct pgwire_cursor *request)
{
    int operation = (int)pgwire_get_u32(request);
    int value = (int)pgwire_get_u32(request);
    if (!is_whole(native, request))
        return;
    bool is_boolean = operation >= SQLITE_DBCONFIG_ENABLE_FKEY && operation <= SQLITE_DBCONFIG_TRUSTED_SCHEMA;
    if (!is_boolean) {
        native_answer_error(native, SQLITE_ERROR, "the server does not know this setting");
        return;
    }
    int now = 0;
    int result = sqlite3_db_config(native->db, operation, -1, &now);
    if (result == SQLITE_OK && value >= 0 && (value != 0) != (now != 0)) {
        if (!may_configure(native, operation)) {
            native_answer_error(native, SQLITE_AUTH, "this setting is the server's");
            return;
        }
        result = sqlite3_db_config(native->db, operation, value != 0, &now);
    }
    if (result == SQLITE_OK)
        answer_i32(native, result, now);
    else
        native_answer_error(native, result, sqlite3_errstr(result));
}

void native_op_db_status(struct native *native, struct pgwire_cursor *request)
{
    int operation = (int)pgwire_get_u32(request);
    bool is_reset = pgwire_get_u8(request) != 0;
    if (!is_whole(native, request))
        return;
    int current = 0;
    int highest = 0;
    int result = sqlite3_db_status(native->db, operation, &current, &highest, is_reset);
    if (result != SQLITE_OK) {
        native_answer_error(native, result, sqlite3_errstr(result));
        return;
    }
    size_t answer = native_answer_begin(native, result);
    sq_buf_put_u32(native->session->out, (uint32_t)current);
    sq_buf_put_u32(native->session->out, (uint32_t)highest);
    native_answer_end(native, answer);
}

void native_op_busy_timeout(struct native *native, struct pgwire_cursor *request)
{
    int milliseconds = (int)pgwire_get_u32(request);
    if (!is_whole(native, request))
        return;
    engine_connection_native(native->connection)->busy_timeout_ms = milliseconds > 0 ? milliseconds : 0;
    native_apply_settings(native);
    native_answer(native, SQLITE_OK);
}

void native_op_release_memory(struct native *native, struct pgwire_cursor *request)
{
    bool is_flush = pgwire_get_u8(request) != 0;
    if (is_whole(native, request))
        native_answer(native, is_flush ? sqlite3_db_cacheflush(native->db) : sqlite3_db_release_memory(native->db));
}

void native_op_interrupt_clear(struct native *native, struct pgwire_cursor *request)
{
    struct session *session = native->session;
    if (!is_whole(native, request))
        return;
    /* Nothing runs: what has come until now means nothing. */
    if (native->depth == 0) {
        (void)session_registry_settle(session->host->sessions, &session->entry, UINT64_MAX);
        run_release_brake(session);
    }
    native_answer(native, SQLITE_OK);
}

/* --- Databases ----------------------------------------------------------------------------------------------------- */

void native_op_databases(struct native *native, struct pgwire_cursor *request)
{
    struct sq_buf *out = native->session->out;
    if (!is_whole(native, request))
        return;
    uint32_t count = 0;
    while (sqlite3_db_name(native->db, (int)count) != NULL)
        count++;
    size_t answer = native_answer_begin(native, SQLITE_OK);
    sq_buf_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        const char *schema = sqlite3_db_name(native->db, (int)i);
        native_put_text(out, schema);
        native_put_text(out, engine_connection_database_name(native->connection, schema));
        sq_buf_put_u8(out, sqlite3_db_readonly(native->db, schema) == 1);
    }
    native_answer_end(native, answer);
}

/* The database of that name, which is made if it may be. */
static sq_status make_database(struct session *session, const char *name, struct sq_error *err)
{
    struct engine_registry *registry = session->host->databases;
    if (engine_database_exists(registry, name))
        return SQ_OK;
    sq_status status = engine_database_create(registry, name, err);
    return status == SQ_EXISTS ? SQ_OK : status;
}

void native_op_attach(struct native *native, struct pgwire_cursor *request)
{
    char names[2][NATIVE_NAME_MAX + 1];
    const char *database = get_name(request, names[0]);
    const char *schema = get_name(request, names[1]);
    uint8_t flags = pgwire_get_u8(request);
    if (!is_whole(native, request) || native_refuse_compiling(native))
        return;
    if (database == NULL || schema == NULL || (flags & ~(NATIVE_ATTACH_CREATE | NATIVE_ATTACH_READONLY)) != 0) {
        native_answer_misuse(native);
        return;
    }
    struct session *session = native->session;
    struct sq_error err;
    sq_status status = SQ_OK;
    if ((flags & NATIVE_ATTACH_CREATE) != 0 && !native->is_readonly)
        status = make_database(session, database, &err);
    if (status == SQ_OK)
        status = service_attach(session->service, database, schema, (flags & NATIVE_ATTACH_READONLY) != 0, &err);
    if (status == SQ_OK)
        native_answer(native, SQLITE_OK);
    else if (status == SQ_LIMIT)
        native_answer_error(native, SQLITE_ERROR, err.text); /* too many: for SQLite an error like others */
    else if (!native_is_fatal(native, &err))
        native_answer(native, native_result_of(native, &err));
}

/* --- CHECKPOINT ---------------------------------------------------------------------------------------------------- */

void native_op_checkpoint(struct native *native, struct pgwire_cursor *request)
{
    char name[NATIVE_NAME_MAX + 1];
    const char *database = get_name(request, name);
    int mode = (int)pgwire_get_u32(request);
    if (!is_whole(native, request))
        return;
    if (mode < SQLITE_CHECKPOINT_PASSIVE || mode > SQLITE_CHECKPOINT_TRUNCATE) {
        native_answer_misuse(native);
        return;
    }
    struct query query;
    if (!begin_reading(native, &query))
        return;
    int frames = -1;
    int copied = -1;
    /* Whatever was asked for: when the log begins anew, and how long it stays, is the checkpointer's to say. */
    int result = sqlite3_wal_checkpoint_v2(native->db, database, SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
    if (!end_reading(native, &query))
        return;
    size_t answer = native_answer_begin(native, result);
    if (result == SQLITE_OK) {
        sq_buf_put_u32(native->session->out, (uint32_t)frames);
        sq_buf_put_u32(native->session->out, (uint32_t)copied);
    }
    native_answer_end(native, answer);
}
