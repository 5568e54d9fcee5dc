/* client/statement.c: making, freeing and caching of statements. See statement.h.
 *
 * The cache. Preparing costs a round trip, and applications that do not keep statements prepare the same ones again and
 * again. A finalized statement stays alive on the server, CLIENT_CACHED_MAX of them in a connection, and is handed out
 * again for the same text and flags, if it is certain that preparing it would give the same: the schema is as it was (the
 * answers' `generation`), nothing was registered (client_statement_cache_clear()), and its kind is one that does nothing
 * while it is compiled: a PRAGMA does (https://sqlite.org/pragma.html). */
#include "client/statement.h"

#include <stdlib.h>
#include <string.h>

#include "client/ahead.h"
#include "client/calls.h"
#include "client/outcome.h"

enum { CACHED_MAX = 64, KEPT_BATCH_BYTES_MAX = 64 * 1024, CACHED_SQL_BYTES_MAX = 16 * 1024 };

struct client_statement *client_statement_enter(sqlite3_stmt *pointer)
{
    struct client_statement *statement = client_handle_object(pointer, CLIENT_HANDLE_STATEMENT);
    if (statement == NULL || !client_remote_is_of_this_process(statement->remote))
        return NULL;
    client_real.sqlite3_mutex_enter(statement->remote->mutex);
    return statement;
}

/* --- Memory --- */

static void bindings_free(struct client_statement *statement)
{
    for (size_t i = 0; i < statement->parameter_count && statement->bindings != NULL; i++)
        client_binding_clear(&statement->bindings[i]);
    free(statement->bindings);
    statement->bindings = NULL;
}

static void texts16_free(struct client_statement *statement)
{
    for (size_t i = 0; i < statement->column_count; i++) {
        for (size_t kind = 0; kind < CLIENT_COLUMN_TEXT_COUNT; kind++)
            free(statement->columns[i].text16[kind]);
    }
}

/* Frees its memory; the server is told by others. */
static void statement_free(struct client_statement *statement)
{
    sq_assert(statement->handle == NULL);
    sq_list_remove(&statement->links);
    client_statement_drop_row(statement);
    bindings_free(statement);
    texts16_free(statement);
    free(statement->columns);
    free(statement->parameters);
    free(statement->texts);
    free(statement->row);
    free(statement->values);
    free(statement->batch);
    client_ahead_forget(statement);
    client_real.sqlite3_free(statement->message);
    client_real.sqlite3_free(statement->pending.message);
    free(statement->sql);
    free(statement);
}

/* --- Kinds --- */

/* Skips blanks and comments (https://sqlite.org/lang_comment.html). */
static const char *skip_blanks(const char *sql, const char *end)
{
    /* A byte order mark is blank, too. */
    if (end - sql >= 3 && memcmp(sql, "\xef\xbb\xbf", 3) == 0)
        sql += 3;
    for (;;) {
        while (sql < end && (*sql == ' ' || (*sql >= '\t' && *sql <= '\r') || *sql == ';'))
            sql++;
        if (end - sql >= 2 && sql[0] == '-' && sql[1] == '-') {
            const char *line = memchr(sql, '\n', (size_t)(end - sql));
            sql = line != NULL ? line : end;
        } else if (end - sql >= 2 && sql[0] == '/' && sql[1] == '*') {
            const char *close = memmem(sql + 2, (size_t)(end - sql) - 2, "*/", 2);
            sql = close != NULL ? close + 2 : end;
        } else {
            return sql;
        }
    }
}

/* Whether the word at *sql is `word`; then goes behind it. */
static bool take_word(const char **sql, const char *end, const char *word)
{
    const char *at = skip_blanks(*sql, end);
    size_t length = strlen(word);
    if ((size_t)(end - at) < length || client_real.sqlite3_strnicmp(at, word, (int)length) != 0)
        return false;
    char next = at + length < end ? at[length] : ' ';
    if (next == '_' || ((next | 0x20) >= 'a' && (next | 0x20) <= 'z'))
        return false;
    *sql = at + length;
    return true;
}

/* Whether what is created, behind CREATE, is temporary: said so, or by its name's schema. */
static bool is_temporary(const char *sql, const char *end)
{
    static const char *const words[] = {"VIRTUAL", "TABLE", "VIEW", "TRIGGER", "IF", "NOT", "EXISTS"};
    if (take_word(&sql, end, "TEMP") || take_word(&sql, end, "TEMPORARY"))
        return true;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        (void)take_word(&sql, end, words[i]);
    sql = skip_blanks(sql, end);
    bool is_quoted = sql < end && strchr("\"[`'", *sql) != NULL;
    sql += is_quoted;
    if (!take_word(&sql, end, "temp"))
        return false;
    sql += is_quoted && sql < end;
    sql = skip_blanks(sql, end);
    return sql < end && *sql == '.';
}

static enum client_sql_kind kind_of(const char *sql, size_t length)
{
    static const struct {
        const char *word;
        enum client_sql_kind kind;
    } words[] = {
        {"SELECT", CLIENT_SQL_SELECT},   {"INSERT", CLIENT_SQL_DATA},   {"UPDATE", CLIENT_SQL_DATA},
        {"DELETE", CLIENT_SQL_DATA},     {"REPLACE", CLIENT_SQL_DATA},  {"WITH", CLIENT_SQL_DATA},
        {"VALUES", CLIENT_SQL_SELECT},   {"BEGIN", CLIENT_SQL_BEGIN},   {"ROLLBACK", CLIENT_SQL_BEGIN},
        {"SAVEPOINT", CLIENT_SQL_BEGIN}, {"COMMIT", CLIENT_SQL_COMMIT}, {"END", CLIENT_SQL_COMMIT},
        {"RELEASE", CLIENT_SQL_COMMIT},  {"PRAGMA", CLIENT_SQL_PRAGMA}, {"ATTACH", CLIENT_SQL_ATTACH},
        {"DETACH", CLIENT_SQL_DETACH},   {"VACUUM", CLIENT_SQL_VACUUM},
    };
    const char *end = sql + length;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (take_word(&sql, end, words[i].word))
            return words[i].kind;
    }
    return take_word(&sql, end, "CREATE") && is_temporary(sql, end) ? CLIENT_SQL_TEMPORARY : CLIENT_SQL_OTHER;
}

/* --- Making and taking back --- */

struct client_statement *client_statement_new(struct client_remote *remote, const char *sql, size_t length,
                                              unsigned prepare_flags)
{
    struct client_statement *statement = calloc(1, sizeof(*statement));
    if (statement == NULL)
        return NULL;
    sq_list_init(&statement->links);
    statement->remote = remote;
    statement->sql = strndup(sql, length);
    if (statement->sql == NULL) {
        free(statement);
        return NULL;
    }
    statement->sql_length = length;
    statement->prepare_flags = prepare_flags;
    statement->kind = kind_of(sql, length);
    statement->must_bind = true;
    statement->pending.offset = -1;
    statement->number = ++remote->statement_number;
    return statement;
}

int client_statement_publish(struct client_statement *statement)
{
    sq_assert(statement->handle == NULL && statement->state != CLIENT_STATEMENT_ENDED);
    struct client_handle *handle;
    if (client_handle_new(CLIENT_HANDLE_STATEMENT, statement, &handle) != SQ_OK)
        return client_error_set(statement->remote, SQLITE_NOMEM, NULL);
    statement->handle = (sqlite3_stmt *)(void *)handle;
    sq_list_remove(&statement->links);
    sq_list_push_front(&statement->remote->statements, &statement->links);
    return SQLITE_OK;
}

/* The server forgets it, together with the next request; a lost connection has forgotten it. */
static void tell_server(struct client_statement *statement)
{
    if (statement->connection_number == statement->remote->connection_number)
        client_request_tell(statement->remote, NATIVE_FINALIZE, statement->number, true);
}

/* The same, and waits: virtual tables may end with it. */
static void tell_and_wait(struct client_statement *statement)
{
    struct client_remote *remote = statement->remote;
    if (statement->connection_number != remote->connection_number || remote->client == NULL)
        return;
    struct client_error error = client_error_take(remote);
    sq_buf_put_u32(client_request_begin_on(remote, NATIVE_CLOSE, statement->connection_number), statement->number);
    (void)client_request_end(remote, NULL, NULL);
    client_error_put_back(remote, error);
}

static void forget(struct client_statement *statement)
{
    if (statement->facts.may_call && client_calls_have_tables(statement->remote))
        tell_and_wait(statement);
    else
        tell_server(statement);
    statement_free(statement);
}

static bool is_worth_keeping(const struct client_statement *statement)
{
    const struct client_remote *remote = statement->remote;
    bool is_plain = statement->kind == CLIENT_SQL_SELECT || statement->kind == CLIENT_SQL_DATA ||
                    statement->kind == CLIENT_SQL_BEGIN || statement->kind == CLIENT_SQL_COMMIT;
    return is_plain && statement->connection_number == remote->connection_number && remote->client != NULL &&
           statement->generation == remote->state.generation && statement->sql_length <= CACHED_SQL_BYTES_MAX &&
           !client_code_is_error(statement->code) && !remote->is_closed && !client_calls_want_prepare(remote) &&
           /* it would keep its virtual tables connected */
           !(statement->facts.may_call && client_calls_have_modules(remote));
}

void client_statement_discard(struct client_statement *statement)
{
    struct client_remote *remote = statement->remote;
    sq_assert(statement->state == CLIENT_STATEMENT_READY);
    if (statement->handle != NULL)
        client_handle_free((struct client_handle *)(void *)statement->handle);
    statement->handle = NULL;
    sq_list_remove(&statement->links);
    for (size_t i = 0; i < statement->parameter_count && statement->bindings != NULL; i++)
        client_binding_clear(&statement->bindings[i]);
    statement->must_bind = true;
    if (!is_worth_keeping(statement)) {
        forget(statement);
        return;
    }
    if (statement->batch_room > KEPT_BATCH_BYTES_MAX) {
        free(statement->batch);
        statement->batch = NULL;
        statement->batch_room = 0;
    }
    statement->is_legacy = false;
    sq_list_push_front(&remote->cached, &statement->links);
    if (++remote->cached_count > CACHED_MAX) {
        remote->cached_count--;
        forget(SQ_CONTAINER_OF(remote->cached.previous, struct client_statement, links));
    }
}

struct client_statement *client_statement_recall(struct client_remote *remote, const char *sql, size_t length,
                                                 unsigned prepare_flags)
{
    SQ_LIST_FOREACH (i, &remote->cached) {
        struct client_statement *statement = SQ_CONTAINER_OF(i, struct client_statement, links);
        if (statement->sql_length != length || statement->prepare_flags != prepare_flags ||
            memcmp(statement->sql, sql, length) != 0)
            continue;
        sq_list_remove(&statement->links);
        remote->cached_count--;
        if (statement->connection_number == remote->connection_number &&
            statement->generation == remote->state.generation)
            return statement;
        forget(statement);
        return NULL;
    }
    return NULL;
}

void client_statement_cache_clear(struct client_remote *remote)
{
    SQ_LIST_FOREACH (i, &remote->cached)
        forget(SQ_CONTAINER_OF(i, struct client_statement, links));
    remote->cached_count = 0;
}

void client_statements_free(struct client_remote *remote)
{
    SQ_LIST_FOREACH (i, &remote->cached)
        statement_free(SQ_CONTAINER_OF(i, struct client_statement, links));
    sq_assert(sq_list_is_empty(&remote->statements));
}

/* One that the server still has open fails there by itself, but may have rows here. It is told to give it up with the next
 * request: what has led here is being answered. */
static void trip(struct client_statement *statement)
{
    struct client_remote *remote = statement->remote;
    bool is_open = statement->batch_code == SQLITE_ROW && statement->connection_number == remote->connection_number;
    if (is_open)
        client_request_tell(remote, NATIVE_RESET_ASYNC, statement->number, true);
    client_ahead_forget(statement);
    client_real.sqlite3_free(statement->pending.message);
    free(statement->pending.message16);
    statement->pending = (struct client_error){.code = SQLITE_ABORT_ROLLBACK, .offset = -1};
    statement->batch_code = SQLITE_ABORT_ROLLBACK;
    statement->rows_left = 0;
}

void client_statements_trip(struct client_remote *remote)
{
    SQ_LIST_FOREACH (i, &remote->statements) {
        struct client_statement *statement = SQ_CONTAINER_OF(i, struct client_statement, links);
        /* What a statement that writes has still to do, its own server says. */
        bool is_read = (statement->kind == CLIENT_SQL_SELECT || statement->kind == CLIENT_SQL_DATA) &&
                       statement->facts.is_readonly;
        if (is_read && statement->state == CLIENT_STATEMENT_ROWS && !statement->is_in_request)
            trip(statement);
    }
}

bool client_statements_are_half_read(const struct client_remote *remote)
{
    SQ_LIST_FOREACH (i, &remote->statements) {
        const struct client_statement *statement = SQ_CONTAINER_OF(i, struct client_statement, links);
        if (statement->state == CLIENT_STATEMENT_ROWS && statement->batch_code == SQLITE_ROW)
            return true;
    }
    return false;
}

sqlite3_stmt *client_statement_by_number(struct client_remote *remote, uint32_t number)
{
    SQ_LIST_FOREACH (i, &remote->statements) {
        struct client_statement *statement = SQ_CONTAINER_OF(i, struct client_statement, links);
        if (statement->number == number)
            return statement->handle;
    }
    return NULL;
}

/* --- Facts --- */

/* A copy of `text` at *to, which goes behind it. */
static const char *text_put(char **to, const struct pgwire_bytes *text)
{
    if (text->data == NULL)
        return NULL;
    char *start = *to;
    memcpy(start, text->data, text->length);
    start[text->length] = '\0';
    *to += text->length + 1;
    return start;
}

static void columns_read(struct pgwire_cursor *body, struct client_column *columns, size_t count, char **to)
{
    for (size_t i = 0; i < count; i++) {
        struct native_column column;
        native_get_column(body, &column);
        columns[i].text[CLIENT_COLUMN_NAME] = text_put(to, &column.name);
        columns[i].text[CLIENT_COLUMN_DECLTYPE] = text_put(to, &column.declared_type);
        columns[i].text[CLIENT_COLUMN_DATABASE] = text_put(to, &column.database);
        columns[i].text[CLIENT_COLUMN_TABLE] = text_put(to, &column.table);
        columns[i].text[CLIENT_COLUMN_ORIGIN] = text_put(to, &column.origin);
    }
}

/* Goes over columns and parameters: how many there are, and whether they make sense. */
static bool facts_measure(struct pgwire_cursor body, size_t *ret_columns, size_t *ret_parameters)
{
    *ret_columns = pgwire_get_u16(&body);
    for (size_t i = 0; i < *ret_columns && !body.is_failed; i++) {
        struct native_column column;
        native_get_column(&body, &column);
    }
    *ret_parameters = pgwire_get_u32(&body);
    for (size_t i = 0; i < *ret_parameters && !body.is_failed; i++)
        (void)native_get_bytes(&body);
    return !body.is_failed;
}

/* Everything about columns and parameters that is replaced at once. */
struct shape {
    struct client_column *columns;
    const char **parameters;
    char *texts;
    struct sq_value *row;
    sqlite3_value **values;
    struct client_binding *bindings;
};

static void shape_done(struct shape *shape)
{
    free(shape->columns);
    free(shape->parameters);
    free(shape->texts);
    free(shape->row);
    free(shape->values);
    free(shape->bindings);
}

static bool shape_allocate(struct shape *shape, size_t columns, size_t parameters, size_t text_bytes)
{
    *shape = (struct shape){
        .columns = calloc(columns + 1, sizeof(*shape->columns)),
        .parameters = calloc(parameters + 1, sizeof(*shape->parameters)),
        .texts = malloc(text_bytes + 1),
        .row = calloc(columns + 1, sizeof(*shape->row)),
        .values = calloc(columns + 1, sizeof(*shape->values)),
        .bindings = calloc(parameters + 1, sizeof(*shape->bindings)),
    };
    return shape->columns != NULL && shape->parameters != NULL && shape->texts != NULL && shape->row != NULL &&
           shape->values != NULL && shape->bindings != NULL;
}

/* Bindings stay, where there are still such parameters. */
static void shape_install(struct client_statement *statement, struct shape *shape, size_t columns, size_t parameters)
{
    client_statement_drop_row(statement);
    for (size_t i = 0; i < statement->parameter_count; i++) {
        if (i < parameters)
            shape->bindings[i] = statement->bindings[i];
        else
            client_binding_clear(&statement->bindings[i]);
    }
    texts16_free(statement);
    struct shape old = {statement->columns, statement->parameters, statement->texts,
                        statement->row,     statement->values,     statement->bindings};
    statement->columns = shape->columns;
    statement->parameters = shape->parameters;
    statement->texts = shape->texts;
    statement->row = shape->row;
    statement->values = shape->values;
    statement->bindings = shape->bindings;
    statement->column_count = columns;
    statement->parameter_count = parameters;
    *shape = old;
}

bool client_statement_take_facts(struct client_statement *statement, struct pgwire_cursor *body)
{
    struct native_facts facts;
    native_get_facts(body, &facts);
    if (body->is_failed)
        return false;
    size_t columns = 0, parameters = 0;
    if (facts.has_statement && !facts_measure(*body, &columns, &parameters))
        return false;
    SQ_CLEANUP(shape_done) struct shape shape = {0};
    /* Each text has four bytes of length in the body, so that there is room for its NUL. */
    if (!shape_allocate(&shape, columns, parameters, body->left))
        return false;
    if (facts.has_statement) {
        char *to = shape.texts;
        (void)pgwire_get_u16(body);
        columns_read(body, shape.columns, columns, &to);
        (void)pgwire_get_u32(body);
        for (size_t i = 0; i < parameters; i++) {
            struct pgwire_bytes name = native_get_bytes(body);
            shape.parameters[i] = text_put(&to, &name);
        }
    }
    shape_install(statement, &shape, columns, parameters);
    statement->facts = facts;
    statement->connection_number = statement->remote->connection_number;
    statement->generation = statement->remote->state.generation;
    return true;
}

static int prepare_again(struct client_statement *statement)
{
    struct client_remote *remote = statement->remote;
    struct sq_buf *out = client_request_begin(remote, NATIVE_PREPARE);
    sq_buf_put_u32(out, statement->number);
    sq_buf_put_u32(out, statement->prepare_flags);
    native_put_bytes(out, statement->sql, statement->sql_length);
    struct pgwire_cursor body;
    int code = client_request_end(remote, NULL, &body);
    if (code != SQLITE_OK)
        return code;
    statement->must_bind = true;
    if (client_statement_take_facts(statement, &body))
        return client_body_check(remote, &body);
    return client_remote_lose(remote, "the server's answer makes no sense, or there is no memory");
}

int client_statement_make_ready(struct client_statement *statement)
{
    struct client_remote *remote = statement->remote;
    if (!client_remote_is_ready(remote))
        return remote->error.code;
    if (statement->connection_number == remote->connection_number)
        return SQLITE_OK;
    int code = prepare_again(statement);
    return client_outcome_may_repeat(remote, code) ? prepare_again(statement) : code;
}
