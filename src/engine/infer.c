/* engine/infer.c: finds the types of a statement's columns and parameters from its bytecode.
 *
 *     infer_program.c   EXPLAIN's listing -> instructions          infer_opcode.c    what each instruction does
 *     infer_schema.c    root pages -> declared column types        infer_function.c  what functions give
 *     infer_blocks.c    jumps, subroutines, coroutines             infer_value.c     the lattice of what is known
 *     infer_records.c   rows in sorters and ephemeral tables
 *     infer_flow.c      forward: what each register may hold -> columns
 *     infer_demand.c    backward: what each register is wanted as -> parameters
 *
 * Bytecode is SQLite's private matter and changes with its versions. Why it is used all the same: it has everything
 * resolved (names, views, triggers, affinities, compounds, common table expressions), where the text of a statement would
 * need a second SQL compiler. What keeps it safe:
 *
 * Invariant 1: an instruction that is not in the table makes the answer SQ_TYPE_ANY throughout.
 * Invariant 2: so do a register or cursor out of range, an unknown jump, a result row of another width, and every limit.
 * Invariant 3: nothing is executed and no transaction begins: only EXPLAIN listings are stepped through, and only of
 * statements that cannot have effects when they are compiled (a PRAGMA can: sqlite.org/pragma.html). */
#include "engine/infer.h"

#include <stdlib.h>
#include <string.h>

#include "engine/infer_internal.h"

struct infer_cache *infer_cache_new(void)
{
    struct infer_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return NULL;
    sq_arena_init(&cache->scratch);
    sq_arena_init(&cache->lookup);
    cache->schemas = infer_schemas_new();
    if (cache->schemas == NULL) {
        infer_cache_free(cache);
        return NULL;
    }
    return cache;
}

void infer_cache_free(struct infer_cache *cache)
{
    if (cache == NULL)
        return;
    infer_schemas_free(cache->schemas);
    for (size_t i = 0; i < cache->function_count; i++)
        free(cache->functions[i].name);
    free(cache->functions);
    sq_arena_done(&cache->scratch);
    sq_arena_done(&cache->lookup);
    free(cache);
}

void infer_cache_clear(struct infer_cache *cache)
{
    if (cache != NULL)
        infer_schemas_clear(cache->schemas);
}

/* Behind white space and comments (sqlite.org/lang_comment.html). */
static const char *skip_space(const char *at)
{
    for (;;) {
        if (*at == ' ' || (*at >= '\t' && *at <= '\r')) {
            at++;
        } else if (at[0] == '-' && at[1] == '-') {
            at += strcspn(at, "\n");
        } else if (at[0] == '/' && at[1] == '*') {
            const char *end = strstr(at + 2, "*/");
            at = end != NULL ? end + 2 : at + strlen(at);
        } else {
            return at;
        }
    }
}

/* Whether compiling the statement has no effects, and its program is of the kinds that infer knows. */
static bool is_explainable(const char *sql)
{
    static const char *const words[] = {"SELECT", "VALUES", "WITH", "INSERT", "REPLACE", "UPDATE", "DELETE"};
    const char *begin = skip_space(sql);
    int length = 0;
    while ((begin[length] >= 'a' && begin[length] <= 'z') || (begin[length] >= 'A' && begin[length] <= 'Z'))
        length++;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (length == (int)strlen(words[i]) && sqlite3_strnicmp(begin, words[i], length) == 0)
            return true;
    }
    return false;
}

static void forget(enum sq_type *types, size_t count)
{
    for (size_t i = 0; i < count; i++)
        types[i] = SQ_TYPE_ANY;
}

/* False if nothing can be said, or if there is no memory. */
static bool infer(struct infer_flow *flow, sqlite3 *db, const char *sql, enum sq_type *ret_columns,
                  enum sq_type *ret_parameters, size_t parameter_count)
{
    infer_schema_refresh(flow->cache, db, flow->program);
    if (!infer_blocks_make(flow) || !infer_records_make(flow, db, sql) || !infer_flow_run(flow))
        return false;
    for (size_t i = 0; i < flow->result_count; i++)
        ret_columns[i] = infer_value_type(flow->results[i]);
    return parameter_count == 0 || infer_demand_run(flow, ret_parameters, parameter_count);
}

static sq_status infer_text(sqlite3 *db, struct infer_cache *cache, const char *sql, enum sq_type *ret_columns,
                            size_t column_count, enum sq_type *ret_parameters, size_t parameter_count)
{
    struct infer_program program;
    bool is_known = false;
    SQ_TRY(infer_program_read(db, sql, &cache->scratch, &program, &is_known));
    if (!is_known)
        return SQ_OK;
    struct infer_flow flow = {
        .cache = cache, .program = &program, .arena = &cache->scratch, .result_count = column_count};
    if (!infer(&flow, db, sql, ret_columns, ret_parameters, parameter_count)) {
        forget(ret_columns, column_count);
        forget(ret_parameters, parameter_count);
    }
    return flow.is_out_of_memory ? SQ_NOMEM : SQ_OK;
}

sq_status infer_statement_types(sqlite3 *db, struct infer_cache **cache, sqlite3_stmt *stmt, enum sq_type *ret_columns,
                                enum sq_type *ret_parameters, struct sq_error *err)
{
    sq_assert(db != NULL && cache != NULL && stmt != NULL);
    size_t column_count = (size_t)sqlite3_column_count(stmt);
    size_t parameter_count = (size_t)sqlite3_bind_parameter_count(stmt);
    forget(ret_columns, column_count);
    forget(ret_parameters, parameter_count);
    const char *sql = sqlite3_sql(stmt);
    if (column_count + parameter_count == 0 || sql == NULL ||
        strnlen(sql, INFER_SQL_BYTES_MAX) == INFER_SQL_BYTES_MAX || !is_explainable(sql))
        return SQ_OK;
    if (*cache == NULL && (*cache = infer_cache_new()) == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to infer types");
    sq_status status = infer_text(db, *cache, sql, ret_columns, column_count, ret_parameters, parameter_count);
    sq_arena_reset(&(*cache)->scratch);
    if (status != SQ_OK)
        return sq_fail(err, SQ_NOMEM, "out of memory to infer types");
    return SQ_OK;
}
