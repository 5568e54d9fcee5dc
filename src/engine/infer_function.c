/* engine/infer_function.c: result types of SQLite's built-in functions (sqlite.org/lang_corefunc.html,
 * lang_datefunc.html, lang_mathfunc.html, lang_aggfunc.html, windowfunctions.html, json1.html).
 *
 * A type stands here only if the function can give nothing else but NULL. coalesce, ifnull, iif and likely have no entry:
 * they are compiled to jumps and copies. The functions of a connection (infer_cache_add_function()) go first; a function
 * of somebody else's that replaces a built-in one must keep its type. */
#include <stdlib.h>
#include <string.h>

#include "engine/infer_internal.h"

enum { UNIXEPOCH_SUBSEC_VERSION = 3042000, NAME_MAX_BYTES = 256 /* SQLite allows 255 */ };

/* Sorted by name, for bsearch(). */
static const struct infer_function functions[] = {
    {"->", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"abs", INFER_RULE_NUMBER, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"acos", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"acosh", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"asin", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"asinh", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"atan", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"atan2", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"atanh", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"avg", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"ceil", INFER_RULE_NUMBER, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"ceiling", INFER_RULE_NUMBER, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"changes", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"char", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"concat", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"concat_ws", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"cos", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"cosh", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"count", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"cume_dist", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"current_date", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"current_time", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"current_timestamp", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"date", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"datetime", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"degrees", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"dense_rank", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"exp", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"first_value", INFER_RULE_NOTHING, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"floor", INFER_RULE_NUMBER, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"format", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"glob", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_TEXT},
    {"group_concat", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"hex", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"instr", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_TEXT},
    {"json", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_array", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_array_length", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"json_error_position", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"json_group_array", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_group_object", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_insert", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_object", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_patch", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_pretty", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"json_quote", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_remove", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_replace", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_set", INFER_RULE_FIXED, SQ_TYPE_JSON, SQ_TYPE_ANY},
    {"json_type", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"json_valid", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"jsonb", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"jsonb_array", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"jsonb_group_array", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"jsonb_group_object", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"jsonb_insert", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"jsonb_object", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"jsonb_patch", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"jsonb_remove", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"jsonb_replace", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"jsonb_set", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"julianday", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"lag", INFER_RULE_NOTHING, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"last_insert_rowid", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"last_value", INFER_RULE_SAME, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"lead", INFER_RULE_NOTHING, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"length", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"like", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_TEXT},
    {"ln", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"log", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"log10", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"log2", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"lower", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_TEXT},
    {"ltrim", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_TEXT},
    {"max", INFER_RULE_UNION, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"min", INFER_RULE_UNION, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"mod", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"nth_value", INFER_RULE_NOTHING, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"ntile", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"nullif", INFER_RULE_SAME, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"octet_length", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"percent_rank", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"pi", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"pow", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"power", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"printf", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"quote", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"radians", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"random", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"randomblob", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"rank", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"replace", INFER_RULE_TEXT, SQ_TYPE_ANY, SQ_TYPE_TEXT},
    {"round", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"row_number", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"rtrim", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_TEXT},
    {"sign", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"sin", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"sinh", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"soundex", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"sqlite_compileoption_get", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"sqlite_compileoption_used", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"sqlite_offset", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"sqlite_source_id", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"sqlite_version", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"sqrt", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"strftime", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"string_agg", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"substr", INFER_RULE_SUBSTRING, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"substring", INFER_RULE_SUBSTRING, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"sum", INFER_RULE_NUMBER, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"tan", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"tanh", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"time", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"timediff", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"total", INFER_RULE_FIXED, SQ_TYPE_REAL, SQ_TYPE_ANY},
    {"total_changes", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"trim", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_TEXT},
    {"trunc", INFER_RULE_NUMBER, SQ_TYPE_ANY, SQ_TYPE_ANY},
    {"typeof", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_ANY},
    {"unhex", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
    {"unicode", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"unixepoch", INFER_RULE_FIXED, SQ_TYPE_INTEGER, SQ_TYPE_ANY},
    {"upper", INFER_RULE_FIXED, SQ_TYPE_TEXT, SQ_TYPE_TEXT},
    {"zeroblob", INFER_RULE_FIXED, SQ_TYPE_BLOB, SQ_TYPE_ANY},
};

static int compare_name(const void *name, const void *function)
{
    return strcmp(name, ((const struct infer_function *)function)->name);
}

bool infer_function_find(const struct infer_cache *cache, const char *name, size_t name_length, bool is_aggregate,
                         struct infer_function *ret_function)
{
    char lowered[NAME_MAX_BYTES];
    if (name_length == 0 || name_length >= sizeof(lowered))
        return false;
    for (size_t i = 0; i < name_length; i++)
        lowered[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + ('a' - 'A')) : name[i];
    lowered[name_length] = '\0';

    for (size_t i = 0; i < cache->function_count; i++) {
        if (strcmp(cache->functions[i].name, lowered) == 0) {
            *ret_function = (struct infer_function){.name = cache->functions[i].name,
                                                    .rule = INFER_RULE_FIXED,
                                                    .type = (uint8_t)cache->functions[i].type,
                                                    .wants = (uint8_t)cache->functions[i].argument_type};
            return true;
        }
    }
    const struct infer_function *found =
        bsearch(lowered, functions, sizeof(functions) / sizeof(functions[0]), sizeof(functions[0]), compare_name);
    if (found == NULL)
        return false;
    /* From 3.42 on, the modifier 'subsec' makes it a REAL. */
    if (strcmp(lowered, "unixepoch") == 0 && sqlite3_libversion_number() >= UNIXEPOCH_SUBSEC_VERSION)
        return false;
    *ret_function = *found;
    /* min(x) and max(x) as aggregates give one of the values of their one argument. */
    if (is_aggregate && found->rule == INFER_RULE_UNION)
        ret_function->rule = INFER_RULE_SAME;
    return true;
}

sq_status infer_cache_add_function(struct infer_cache *cache, const char *name, enum sq_type type,
                                   enum sq_type argument_type, struct sq_error *err)
{
    size_t length = strlen(name);
    sq_assert(length > 0 && length < NAME_MAX_BYTES);
    if (cache->function_count >= INFER_FUNCTIONS_MAX)
        return sq_fail(err, SQ_LIMIT, "too many SQL functions with a type (%zu)", cache->function_count);
    struct infer_function_type *grown =
        realloc(cache->functions, (cache->function_count + 1) * sizeof(*cache->functions));
    if (grown == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for the type of %s()", name);
    cache->functions = grown;
    char *copy = malloc(length + 1);
    if (copy == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for the type of %s()", name);
    for (size_t i = 0; i <= length; i++)
        copy[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + ('a' - 'A')) : name[i];
    cache->functions[cache->function_count++] = (struct infer_function_type){copy, type, argument_type};
    return SQ_OK;
}
