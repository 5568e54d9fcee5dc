/* session/prepared.c: making prepared statements, and what they announce of parameters and columns. */
#include "session/prepared.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/statement.h"
#include "metrics/metrics.h"
#include "pgwire/backend.h"
#include "pgwire/pgtype.h"
#include "session/rewrite.h"
#include "session/session_internal.h"
#include "session/translate.h"

SQ_DEFINE_FREEP(struct prepared, prepared_unref)

static sq_status fail_nomem(struct sq_error *err)
{
    return sq_fail(err, SQ_NOMEM, "out of memory for a prepared statement");
}

/* A column's name as it is announced: its length, and *ret_column with the rest. */
static size_t read_column(const struct prepared *prepared, struct service_statement *statement, size_t index,
                          struct service_column *ret_column)
{
    service_column(prepared->service, statement, index, ret_column);
    /* SQLite names a bare expression by its text: SELECT current_user is still called that. */
    const char *name = ret_column->name;
    size_t length = strlen(name);
    if (prepared->shape.has_session_names && length > 2 && strcmp(name + length - 2, "()") == 0 &&
        strcspn(name, "()") == length - 2)
        length -= 2;
    return length;
}

static uint32_t declared_oid(const struct service_column *column)
{
    return column->type != SQ_TYPE_ANY ? pgtype_oid_of(column->type) : 0;
}

/* Column types as they are before anything has been resolved. */
static void reset_columns(struct prepared *prepared)
{
    prepared->description = NULL;
    prepared->is_frozen = prepared->column_count > 0;
    for (size_t i = 0; i < prepared->column_count; i++) {
        prepared->column_oids[i] = prepared->declared_oids[i];
        prepared->is_frozen = prepared->is_frozen && prepared->column_oids[i] != 0;
    }
}

static sq_status fill_columns(struct prepared *prepared, struct service_statement *statement, struct sq_error *err)
{
    size_t count = statement->column_count;
    const char **names = sq_arena_calloc(&prepared->arena, count + 1, sizeof(char *));
    uint32_t *oids = sq_arena_calloc(&prepared->arena, count + 1, sizeof(uint32_t));
    uint32_t *declared = sq_arena_calloc(&prepared->arena, count + 1, sizeof(uint32_t));
    if (names == NULL || oids == NULL || declared == NULL)
        return fail_nomem(err);
    for (size_t i = 0; i < count; i++) {
        struct service_column column;
        size_t length = read_column(prepared, statement, i, &column);
        names[i] = sq_arena_copy(&prepared->arena, column.name, length);
        if (names[i] == NULL)
            return fail_nomem(err);
        declared[i] = declared_oid(&column);
    }
    prepared->column_count = count;
    prepared->column_names = names;
    prepared->column_oids = oids;
    prepared->declared_oids = declared;
    prepared->has_inferred = false;
    reset_columns(prepared);
    return SQ_OK;
}

/* Everything that is known once the services have compiled `sql`. */
static sq_status fill_from_statement(struct prepared *prepared, struct sq_error *err)
{
    struct service_statement *statement = prepared->statement;
    prepared->is_readonly = statement->is_readonly;
    prepared->parameter_count = prepared->statement_parameter_count = statement->parameter_count;
    if (statement->column_count == 0)
        return SQ_OK;
    return fill_columns(prepared, statement, err);
}

static bool has_same_columns(const struct prepared *prepared, struct service_statement *statement)
{
    if (statement->column_count != prepared->column_count)
        return false;
    for (size_t i = 0; i < prepared->column_count; i++) {
        struct service_column column;
        size_t length = read_column(prepared, statement, i, &column);
        if (strlen(prepared->column_names[i]) != length ||
            memcmp(prepared->column_names[i], column.name, length) != 0 ||
            prepared->declared_oids[i] != declared_oid(&column))
            return false;
    }
    return true;
}

sq_status prepared_refresh(struct prepared *prepared, struct service_statement *statement, struct sq_error *err)
{
    statement->has_changed = false;
    if (prepared->is_announced)
        return SQ_OK;
    prepared->cache = NULL; /* the next one begins anew; what is stale in this arena goes with it */
    prepared->has_inferred = false;
    return has_same_columns(prepared, statement) ? SQ_OK : fill_columns(prepared, statement, err);
}

/* Parameters: those of the statement, and those that Parse has declared. */
static sq_status fill_parameters(struct prepared *prepared, const uint32_t *types, size_t type_count,
                                 struct sq_error *err)
{
    /* A client may declare parameters that the statement does not use; it then has to give them in Bind. */
    if (type_count > prepared->parameter_count)
        prepared->parameter_count = type_count;
    size_t count = prepared->parameter_count;
    if (count == 0)
        return SQ_OK;
    prepared->parameter_oids = sq_arena_calloc(&prepared->arena, count, sizeof(uint32_t));
    prepared->is_parameter_declared = sq_arena_calloc(&prepared->arena, count, sizeof(bool));
    if (prepared->parameter_oids == NULL || prepared->is_parameter_declared == NULL)
        return fail_nomem(err);
    for (size_t i = 0; i < type_count && i < count; i++) {
        prepared->parameter_oids[i] = types[i] == PGTYPE_UNKNOWN ? 0 : types[i];
        prepared->is_parameter_declared[i] = prepared->parameter_oids[i] != 0;
    }
    return SQ_OK;
}

/* Compiles the statement that SQLite shall run: the client's own text, or with words of PostgreSQL replaced. */
static sq_status compile_text(struct prepared *prepared, const char *text, size_t length, struct sq_error *err,
                              size_t *ret_consumed)
{
    if (!prepared->shape.has_session_names && !prepared->shape.has_catalog_names) {
        SQ_TRY(service_prepare(prepared->service, text, length, err, &prepared->statement, ret_consumed));
        prepared->sql = sq_arena_copy(&prepared->arena, text, *ret_consumed);
        prepared->sql_length = *ret_consumed;
        return prepared->sql != NULL ? SQ_OK : fail_nomem(err);
    }
    SQ_TRY(rewrite_sql(text, prepared->shape.end, &prepared->arena, err, &prepared->sql, &prepared->sql_length));
    size_t consumed = 0;
    sq_status status =
        service_prepare(prepared->service, prepared->sql, prepared->sql_length, err, &prepared->statement, &consumed);
    if (status != SQ_OK && err->position > 0)
        err->position = rewrite_original_position(text, prepared->shape.end, err->position);
    *ret_consumed = prepared->shape.end;
    return status;
}

static bool is_definition(const struct sql_statement_shape *shape)
{
    return !shape->is_explain &&
           (shape->verb == SQL_VERB_CREATE || shape->verb == SQL_VERB_DROP || shape->verb == SQL_VERB_ALTER);
}

static sq_status compile_sql(struct prepared *prepared, const char *text, size_t length, bool may_defer,
                             struct sq_error *err, size_t *ret_consumed)
{
    prepared->shape = sql_statement_inspect(text, length);
    sq_status status = compile_text(prepared, text, length, err, ret_consumed);
    if (status == SQ_SQL && may_defer && is_definition(&prepared->shape) && strcmp(err->sqlstate, "42601") != 0) {
        *ret_consumed = prepared->sql_length = prepared->shape.end;
        prepared->sql = sq_arena_copy(&prepared->arena, text, prepared->sql_length);
        return prepared->sql != NULL ? SQ_OK : fail_nomem(err);
    }
    if (status == SQ_OK && prepared->statement == NULL)
        prepared->sql = NULL; /* nothing but white space */
    return status;
}

/* A command that SQL can say: SHOW, BEGIN, TRUNCATE, …. */
static sq_status compile_command(struct session *session, struct prepared *prepared, struct sq_error *err)
{
    SQ_TRY(translate_command(session, &prepared->command, &prepared->arena, err, &prepared->sql));
    prepared->tag = command_tag(&prepared->command);
    if (prepared->sql == NULL)
        return SQ_OK;
    prepared->sql_length = strlen(prepared->sql);
    prepared->shape = sql_statement_inspect(prepared->sql, prepared->sql_length);
    size_t consumed = 0;
    sq_status status =
        service_prepare(prepared->service, prepared->sql, prepared->sql_length, err, &prepared->statement, &consumed);
    if (status != SQ_OK)
        err->position = 0; /* it would point into our text */
    return status;
}

/* DECLARE's query: it is prepared with the DECLARE, because the parameters of the one are those of the other. */
static sq_status prepare_inner(struct session *session, struct prepared *prepared, const uint32_t *types,
                               size_t type_count, struct sq_error *err)
{
    const struct command_span *query = &prepared->command.declare.query;
    const char *text = sq_arena_copy(&prepared->arena, prepared->source + query->start, query->length);
    if (text == NULL)
        return fail_nomem(err);
    size_t consumed = 0;
    sq_status status =
        prepared_new(session, text, query->length, types, type_count, false, err, &prepared->inner, &consumed);
    if (status != SQ_OK) {
        if (err->position > 0)
            err->position += (int)sq_utf8_count(prepared->source, query->start);
        return status;
    }
    if (prepared->inner->sql == NULL || !prepared->inner->is_readonly || prepared->inner->column_count == 0)
        return sq_fail_sql(err, SQ_SQL, "42601", "DECLARE CURSOR wants a query that gives rows and changes nothing");
    prepared->parameter_count = prepared->inner->parameter_count;
    return SQ_OK;
}

static sq_status check_text(const char *text, size_t length, struct sq_error *err)
{
    size_t valid = sq_utf8_valid_prefix(text, length);
    if (valid == length)
        return SQ_OK;
    return sq_fail_sql(err, SQ_SQL, "22021", "invalid byte sequence for encoding \"UTF8\": 0x%02x",
                       (unsigned)(unsigned char)text[valid]);
}

/* Keeps the client's own text: mostly what SQLite gets is that. */
static sq_status set_source(struct prepared *prepared, const char *text, size_t length, struct sq_error *err)
{
    bool is_same = prepared->sql != NULL && prepared->sql_length == length && memcmp(prepared->sql, text, length) == 0;
    prepared->source = is_same ? prepared->sql : sq_arena_copy(&prepared->arena, text, length);
    prepared->source_length = length;
    return prepared->source != NULL ? SQ_OK : fail_nomem(err);
}

static struct prepared *make(struct session *session)
{
    struct prepared *prepared = calloc(1, sizeof(*prepared));
    if (prepared == NULL)
        return NULL;
    prepared->ref_count = 1;
    prepared->service = session->service;
    sq_list_init(&prepared->cache_links);
    sq_arena_init(&prepared->arena);
    return prepared;
}

sq_status prepared_new(struct session *session, const char *text, size_t length, const uint32_t *types,
                       size_t type_count, bool may_defer, struct sq_error *err, struct prepared **ret_prepared,
                       size_t *ret_consumed)
{
    SQ_TRY(check_text(text, length, err));
    SQ_CLEANUP(prepared_unrefp) struct prepared *prepared = make(session);
    if (prepared == NULL)
        return fail_nomem(err);
    size_t consumed = 0;
    SQ_TRY(command_parse(text, length, &prepared->arena, &prepared->command, &consumed, err));
    if (prepared->command.kind == COMMAND_SQL) {
        SQ_TRY(compile_sql(prepared, text, length, may_defer, err, &consumed));
        SQ_TRY(set_source(prepared, text, consumed, err));
        if (prepared->sql == NULL)
            prepared->command.kind = COMMAND_EMPTY;
    } else if (prepared->command.kind != COMMAND_EMPTY) {
        SQ_TRY(set_source(prepared, text, consumed, err));
        SQ_TRY(compile_command(session, prepared, err));
        if (prepared->command.kind == COMMAND_DECLARE)
            SQ_TRY(prepare_inner(session, prepared, types, type_count, err));
    }
    prepared->is_readonly = prepared->sql == NULL;
    if (prepared->statement != NULL)
        SQ_TRY(fill_from_statement(prepared, err));
    SQ_TRY(fill_parameters(prepared, types, type_count, err));
    *ret_consumed = consumed;
    *ret_prepared = SQ_STEAL(prepared);
    return SQ_OK;
}

sq_status prepared_new_remote(struct session *session, const char *text, size_t length, const uint32_t *types,
                              size_t type_count, struct sq_error *err, struct prepared **ret_prepared)
{
    SQ_TRY(check_text(text, length, err));
    SQ_CLEANUP(prepared_unrefp) struct prepared *prepared = make(session);
    if (prepared == NULL)
        return fail_nomem(err);
    size_t consumed = 0;
    SQ_TRY(command_parse(text, length, &prepared->arena, &prepared->command, &consumed, err));
    if (prepared->command.kind == COMMAND_SQL)
        consumed = sql_statement_end(text, length, NULL);
    SQ_TRY(set_source(prepared, text, consumed, err));
    prepared->shape = sql_statement_inspect(prepared->source, consumed);
    prepared->is_remote = true;
    SQ_TRY(fill_parameters(prepared, types, type_count, err));
    *ret_prepared = SQ_STEAL(prepared);
    return SQ_OK;
}

void prepared_note_told(struct prepared *prepared, const struct pgwire_row_description *description)
{
    struct pgwire_fields fields = description->fields;
    size_t count = fields.count;
    uint32_t *oids = sq_arena_calloc(&prepared->arena, count + 1, sizeof(*oids));
    struct pgwire_field field;
    if (oids == NULL || prepared->told_oids != NULL)
        return;
    for (size_t i = 0; pgwire_fields_next(&fields, &field); i++)
        oids[i] = field.type_oid;
    prepared->told_oids = oids;
    prepared->told_count = count;
}

sq_status prepared_take_told(struct prepared *prepared, const struct prepared *former, struct sq_error *err)
{
    if (former->told_oids == NULL)
        return SQ_OK;
    if (former->told_count != prepared->column_count)
        return engine_statement_fail_changed(err);
    for (size_t i = 0; i < prepared->column_count; i++)
        prepared->column_oids[i] = former->told_oids[i];
    prepared->is_frozen = prepared->is_announced = true;
    prepared->cache = NULL; /* what was told binds this client's statement only */
    return SQ_OK;
}

/* --- Found again ------------------------------------------------------------------------------------------------ */

/* Statements whose compilation depends on nothing but text and schema, does nothing by itself, and is worth keeping. */
static bool is_cacheable(const struct prepared *prepared, size_t length)
{
    if (length > STATEMENT_CACHE_TEXT_MAX)
        return false;
    switch (prepared->command.kind) {
    case COMMAND_SQL:
        break;
    case COMMAND_BEGIN:
        return prepared->statement != NULL;
    case COMMAND_COMMIT:
    case COMMAND_ROLLBACK:
        return true;
    default:
        return false;
    }
    if (prepared->statement == NULL || prepared->shape.is_explain)
        return false;
    switch (prepared->shape.verb) {
    case SQL_VERB_SELECT:
    case SQL_VERB_VALUES:
    case SQL_VERB_INSERT:
    case SQL_VERB_REPLACE:
    case SQL_VERB_UPDATE:
    case SQL_VERB_DELETE:
        return true;
    default:
        return false;
    }
}

/* Gives a new statement what it will be found by. */
static sq_status set_key(struct session *session, struct prepared *prepared, const struct statement_key *asked,
                         const char *text, size_t length, struct sq_error *err)
{
    struct statement_key key = *asked;
    if (length != key.length)
        key.hash = statement_cache_hash(text, length);
    key.length = length;
    if (prepared->command.kind != COMMAND_SQL)
        key.text = prepared->source;
    else if (prepared->sql_length == length && memcmp(prepared->sql, text, length) == 0)
        key.text = prepared->sql;
    else
        key.text = sq_arena_copy(&prepared->arena, text, length);
    key.types = (const uint32_t *)sq_arena_copy(&prepared->arena, asked->types, asked->type_count * sizeof(uint32_t));
    if (key.text == NULL || key.types == NULL)
        return fail_nomem(err);
    prepared->key = key;
    prepared->cache = &session->statement_cache;
    return SQ_OK;
}

/* What one client was told must not bind the next. */
static void renew(struct prepared *prepared)
{
    prepared->ref_count = 1;
    prepared->is_announced = false;
    prepared->remote_generation = 0; /* that was another name */
    reset_columns(prepared);
    for (size_t i = 0; i < prepared->parameter_count; i++) {
        if (!prepared->is_parameter_declared[i])
            prepared->parameter_oids[i] = 0;
    }
}

/* Looks for the whole text, then for its first statement, if more follows. */
static struct prepared *find(struct session *session, struct statement_key *key)
{
    struct statement_cache *cache = &session->statement_cache;
    if (cache->count == 0 || key->length == 0)
        return NULL;
    struct prepared *prepared = statement_cache_take(cache, key);
    if (prepared != NULL || memchr(key->text, ';', key->length - 1) == NULL)
        return prepared;
    bool is_complete = false;
    struct statement_key first = *key;
    first.length = sql_statement_end(key->text, key->length, &is_complete);
    /* What ends in a semicolon means the same whatever follows. */
    if (!is_complete || first.length == key->length || first.length == 0 || key->text[first.length - 1] != ';')
        return NULL;
    first.hash = statement_cache_hash(first.text, first.length);
    prepared = statement_cache_take(cache, &first);
    if (prepared != NULL)
        *key = first;
    return prepared;
}

sq_status prepared_get(struct session *session, const char *text, size_t length, const uint32_t *types,
                       size_t type_count, bool may_defer, struct sq_error *err, struct prepared **ret_prepared,
                       size_t *ret_consumed)
{
    if (session->statement_cache.count_max == 0)
        return prepared_new(session, text, length, types, type_count, may_defer, err, ret_prepared, ret_consumed);
    struct statement_key key = {
        .text = text,
        .length = length,
        .types = types,
        .type_count = type_count,
        .hash = statement_cache_hash(text, length),
        .generation = service_generation(session->service),
    };
    struct prepared *found = find(session, &key);
    if (found != NULL) {
        metrics_counter_add(METRICS_STATEMENT_CACHE_HITS, 1);
        renew(found);
        *ret_consumed = key.length;
        *ret_prepared = found;
        return SQ_OK;
    }
    SQ_CLEANUP(prepared_unrefp) struct prepared *prepared = NULL;
    size_t consumed = 0;
    SQ_TRY(prepared_new(session, text, length, types, type_count, may_defer, err, &prepared, &consumed));
    if (prepared->statement != NULL)
        metrics_counter_add(METRICS_STATEMENT_CACHE_MISSES, 1);
    if (is_cacheable(prepared, consumed))
        SQ_TRY(set_key(session, prepared, &key, text, consumed, err));
    *ret_consumed = consumed;
    *ret_prepared = SQ_STEAL(prepared);
    return SQ_OK;
}

size_t prepared_bytes(const struct prepared *prepared)
{
    size_t bytes = sizeof(*prepared) + sq_arena_bytes(&prepared->arena);
    return prepared->statement != NULL ? bytes + service_statement_bytes(prepared->service, prepared->statement)
                                       : bytes;
}

struct prepared *prepared_ref(struct prepared *prepared)
{
    prepared->ref_count++;
    return prepared;
}

void prepared_unref(struct prepared *prepared)
{
    if (prepared == NULL)
        return;
    sq_assert(prepared->ref_count > 0);
    if (--prepared->ref_count > 0)
        return;
    bool is_whole = prepared->statement != NULL || prepared->sql == NULL;
    if (prepared->cache == NULL || !is_whole || !statement_cache_give(prepared->cache, prepared))
        prepared_free(prepared);
}

void prepared_free(struct prepared *prepared)
{
    sq_assert(prepared->ref_count == 0);
    prepared_unref(prepared->inner);
    service_release(prepared->service, prepared->statement);
    sq_arena_done(&prepared->arena);
    free(prepared);
}

sq_status prepared_take_statement(struct prepared *prepared, struct sq_error *err,
                                  struct service_statement **ret_statement)
{
    sq_assert(prepared->sql != NULL);
    if (prepared->statement == NULL) {
        size_t consumed = 0;
        SQ_TRY(service_prepare(prepared->service, prepared->sql, prepared->sql_length, err, &prepared->statement,
                               &consumed));
        sq_assert(prepared->statement != NULL);
        SQ_TRY(prepared_refresh(prepared, prepared->statement, err));
    }
    if (prepared->statement->column_count != prepared->column_count ||
        prepared->statement->parameter_count != prepared->statement_parameter_count)
        return engine_statement_fail_changed(err);
    *ret_statement = SQ_STEAL(prepared->statement);
    return SQ_OK;
}

void prepared_give_statement(struct prepared *prepared, struct service_statement *statement)
{
    if (prepared->statement == NULL)
        prepared->statement = statement;
    else
        service_release(prepared->service, statement);
}

void prepared_release_compiled(struct prepared *prepared)
{
    service_release(prepared->service, prepared->statement);
    prepared->statement = NULL;
    if (prepared->inner != NULL)
        prepared_release_compiled(prepared->inner);
}

/* --- Types ------------------------------------------------------------------------------------------------------- */

/* Asks the services once what they know without running. */
static sq_status infer(struct prepared *prepared, struct sq_error *err)
{
    if (prepared->has_inferred)
        return SQ_OK;
    struct service_statement *statement = NULL;
    if (prepared->sql != NULL)
        SQ_TRY(prepared_take_statement(prepared, err, &statement));
    prepared->inferred_columns = sq_arena_calloc(&prepared->arena, prepared->column_count + 1, sizeof(enum sq_type));
    prepared->parameter_types = sq_arena_calloc(&prepared->arena, prepared->parameter_count + 1, sizeof(enum sq_type));
    sq_status status = SQ_OK;
    if (prepared->inferred_columns == NULL || prepared->parameter_types == NULL)
        status = fail_nomem(err);
    else if (statement != NULL)
        status =
            service_infer(prepared->service, statement, err, prepared->inferred_columns, prepared->parameter_types);
    if (statement != NULL)
        prepared_give_statement(prepared, statement);
    prepared->has_inferred = status == SQ_OK;
    return status;
}

sq_status prepared_resolve_parameters(struct prepared *prepared, struct sq_error *err)
{
    if (prepared->inner != NULL) {
        SQ_TRY(prepared_resolve_parameters(prepared->inner, err));
        for (size_t i = 0; i < prepared->parameter_count; i++)
            prepared->parameter_oids[i] = prepared->inner->parameter_oids[i];
    }
    for (size_t i = 0; i < prepared->parameter_count; i++) {
        if (prepared->parameter_oids[i] != 0)
            continue;
        SQ_TRY(infer(prepared, err));
        prepared->parameter_oids[i] = pgtype_oid_of(prepared->parameter_types[i]);
    }
    return SQ_OK;
}

bool prepared_wants_first_row(const struct prepared *prepared)
{
    return !prepared->is_frozen && prepared->column_count > 0;
}

sq_status prepared_resolve_columns(struct prepared *prepared, const struct sq_value *first_row, struct sq_error *err)
{
    if (prepared->is_frozen || prepared->column_count == 0)
        return SQ_OK;
    for (size_t i = 0; i < prepared->column_count; i++) {
        if (prepared->column_oids[i] != 0)
            continue;
        if (first_row != NULL && first_row[i].kind != SQ_VALUE_NULL) {
            prepared->column_oids[i] = pgtype_oid_of_kind(first_row[i].kind);
            continue;
        }
        SQ_TRY(infer(prepared, err));
        prepared->column_oids[i] = pgtype_oid_of(prepared->inferred_columns[i]);
    }
    prepared->is_frozen = true;
    return SQ_OK;
}

sq_status prepared_parameter_oid(struct prepared *prepared, size_t index, int format, struct sq_error *err,
                                 uint32_t *ret_oid)
{
    sq_assert(index < prepared->parameter_count);
    if (prepared->inner != NULL)
        return prepared_parameter_oid(prepared->inner, index, format, err, ret_oid);
    uint32_t oid = prepared->parameter_oids[index];
    if (prepared->is_parameter_declared[index]) {
        *ret_oid = oid;
        return SQ_OK;
    }
    SQ_TRY(infer(prepared, err));
    enum sq_type type = prepared->parameter_types[index];
    if (format == PGWIRE_FORMAT_BINARY) {
        /* The client speaks the announced type; where none could be announced, bytes are bytes. */
        *ret_oid = oid != 0 ? oid : type == SQ_TYPE_ANY ? PGTYPE_BYTEA : pgtype_oid_of(type);
        return SQ_OK;
    }
    /* Untyped text: PostgreSQL would read it as the type of the place where it is used. SQLite's column affinity does that
     * for columns, but not for expressions; dates are text either way. */
    switch (type) {
    case SQ_TYPE_BOOLEAN:
    case SQ_TYPE_BLOB:
        *ret_oid = pgtype_oid_of(type);
        break;
    case SQ_TYPE_INTEGER:
    case SQ_TYPE_REAL:
    case SQ_TYPE_NUMERIC:
        *ret_oid = PGTYPE_NUMERIC;
        break;
    default:
        *ret_oid = PGTYPE_TEXT;
        break;
    }
    return SQ_OK;
}

const char *prepared_verb(const struct prepared *prepared)
{
    static const char *const verbs[SQL_VERB_COUNT] = {
        [SQL_VERB_SELECT] = "SELECT",       [SQL_VERB_VALUES] = "VALUES",   [SQL_VERB_INSERT] = "INSERT",
        [SQL_VERB_REPLACE] = "REPLACE",     [SQL_VERB_UPDATE] = "UPDATE",   [SQL_VERB_DELETE] = "DELETE",
        [SQL_VERB_CREATE] = "CREATE",       [SQL_VERB_DROP] = "DROP",       [SQL_VERB_ALTER] = "ALTER",
        [SQL_VERB_BEGIN] = "BEGIN",         [SQL_VERB_COMMIT] = "COMMIT",   [SQL_VERB_ROLLBACK] = "ROLLBACK",
        [SQL_VERB_SAVEPOINT] = "SAVEPOINT", [SQL_VERB_RELEASE] = "RELEASE", [SQL_VERB_EXPLAIN] = "EXPLAIN",
        [SQL_VERB_PRAGMA] = "PRAGMA",       [SQL_VERB_VACUUM] = "VACUUM",   [SQL_VERB_ANALYZE] = "ANALYZE",
        [SQL_VERB_REINDEX] = "REINDEX",     [SQL_VERB_ATTACH] = "ATTACH",   [SQL_VERB_DETACH] = "DETACH",
    };
    return prepared->tag != NULL ? prepared->tag : verbs[prepared->shape.verb];
}

void prepared_describe_parameters(const struct prepared *prepared, struct sq_buf *out)
{
    size_t offset = pgwire_put_parameter_description_begin(out, prepared->parameter_count);
    for (size_t i = 0; i < prepared->parameter_count; i++)
        pgwire_put_oid(out, prepared->parameter_oids[i]);
    pgwire_end(out, offset);
}

static bool are_text(const uint8_t *formats, size_t count)
{
    for (size_t i = 0; formats != NULL && i < count; i++) {
        if (formats[i] != PGWIRE_FORMAT_TEXT)
            return false;
    }
    return true;
}

/* Keeps the description that stands in `out` from `mark` on. Without memory it is made anew the next time. */
static void keep_description(struct prepared *prepared, const struct sq_buf *out, size_t mark)
{
    if (out->is_failed)
        return;
    size_t bytes = sq_buf_length(out) - mark;
    prepared->description = sq_arena_copy(&prepared->arena, (const char *)sq_buf_bytes(out) + mark, bytes);
    prepared->description_bytes = bytes;
}

void prepared_describe_columns(struct prepared *prepared, const uint8_t *formats, struct sq_buf *out)
{
    bool is_repeated = prepared->is_announced && are_text(formats, prepared->column_count);
    prepared->is_announced = true;
    if (prepared->column_count == 0) {
        pgwire_put_no_data(out);
        return;
    }
    sq_assert(prepared->is_frozen);
    if (is_repeated && prepared->description != NULL) {
        sq_buf_put(out, prepared->description, prepared->description_bytes);
        return;
    }
    size_t mark = sq_buf_length(out);
    size_t offset = pgwire_put_row_description_begin(out, prepared->column_count);
    for (size_t i = 0; i < prepared->column_count; i++) {
        struct pgwire_field field = {
            .name = prepared->column_names[i],
            .name_length = strlen(prepared->column_names[i]),
            .type_oid = prepared->column_oids[i],
            .type_size = pgtype_length(prepared->column_oids[i]),
            .type_modifier = -1,
            .format = formats != NULL ? formats[i] : PGWIRE_FORMAT_TEXT,
        };
        pgwire_put_field(out, &field);
    }
    pgwire_end(out, offset);
    if (is_repeated)
        keep_description(prepared, out, mark);
}
