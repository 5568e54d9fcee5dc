/* base/declared_type.c: two steps. The declared type is brought into a plain form (capitals, one space between words,
 * no parentheses) and looked up in a table of names that clients of SQLite and of PostgreSQL use. What is not there
 * gets the class of its affinity, by SQLite's own rules for parts of names, in SQLite's order: CHARINT is INTEGER,
 * "FLOATING POINT" too, because it holds INT.
 *
 * The table says more than affinities do: SQLite gives BOOLEAN, DATE and UUID NUMERIC affinity, yet clients want to
 * know. It also holds names whose affinity would mislead: INTERVAL contains INT, STRING has NUMERIC affinity. */
#include "base/declared_type.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* Bytes of a plain form, with NUL. Longer names are not in the table; for affinity the start of the name decides. */
enum { DECLARED_BYTES_MAX = 256 };

struct declared_name {
    const char *name;
    enum sq_type type;
};

/* Sorted by name, for bsearch(). */
static const struct declared_name declared_names[] = {
    {"ANY", SQ_TYPE_ANY}, /* a STRICT table's (sqlite.org/stricttables.html) */
    {"BIGINT", SQ_TYPE_INTEGER},
    {"BIGSERIAL", SQ_TYPE_INTEGER},
    {"BINARY", SQ_TYPE_BLOB},
    {"BINARY VARYING", SQ_TYPE_BLOB},
    {"BLOB", SQ_TYPE_BLOB},
    {"BOOL", SQ_TYPE_BOOLEAN},
    {"BOOLEAN", SQ_TYPE_BOOLEAN},
    {"BPCHAR", SQ_TYPE_TEXT},
    {"BYTEA", SQ_TYPE_BLOB},
    {"CHAR", SQ_TYPE_TEXT},
    {"CHARACTER", SQ_TYPE_TEXT},
    {"CHARACTER VARYING", SQ_TYPE_TEXT},
    {"CIDR", SQ_TYPE_TEXT},
    {"CITEXT", SQ_TYPE_TEXT},
    {"CLOB", SQ_TYPE_TEXT},
    {"DATE", SQ_TYPE_DATE},
    {"DATETIME", SQ_TYPE_TIMESTAMP},
    {"DEC", SQ_TYPE_NUMERIC},
    {"DECIMAL", SQ_TYPE_NUMERIC},
    {"DOUBLE", SQ_TYPE_REAL},
    {"DOUBLE PRECISION", SQ_TYPE_REAL},
    {"ENUM", SQ_TYPE_TEXT},
    {"FLOAT", SQ_TYPE_REAL},
    {"FLOAT4", SQ_TYPE_REAL},
    {"FLOAT8", SQ_TYPE_REAL},
    {"GUID", SQ_TYPE_UUID},
    {"INET", SQ_TYPE_TEXT},
    {"INT", SQ_TYPE_INTEGER},
    {"INT2", SQ_TYPE_INTEGER},
    {"INT4", SQ_TYPE_INTEGER},
    {"INT8", SQ_TYPE_INTEGER},
    {"INTEGER", SQ_TYPE_INTEGER},
    {"INTERVAL", SQ_TYPE_TEXT},
    {"JSON", SQ_TYPE_JSON},
    {"JSONB", SQ_TYPE_JSON},
    {"MACADDR", SQ_TYPE_TEXT},
    {"MEDIUMINT", SQ_TYPE_INTEGER},
    {"MONEY", SQ_TYPE_NUMERIC},
    {"NAME", SQ_TYPE_TEXT},
    {"NCHAR", SQ_TYPE_TEXT},
    {"NUMBER", SQ_TYPE_NUMERIC},
    {"NUMERIC", SQ_TYPE_NUMERIC},
    {"NVARCHAR", SQ_TYPE_TEXT},
    {"OID", SQ_TYPE_INTEGER},
    {"REAL", SQ_TYPE_REAL},
    {"SERIAL", SQ_TYPE_INTEGER},
    {"SMALLINT", SQ_TYPE_INTEGER},
    {"SMALLSERIAL", SQ_TYPE_INTEGER},
    {"STRING", SQ_TYPE_TEXT},
    {"TEXT", SQ_TYPE_TEXT},
    {"TIME", SQ_TYPE_TIME},
    {"TIME WITH TIME ZONE", SQ_TYPE_TIME},
    {"TIME WITHOUT TIME ZONE", SQ_TYPE_TIME},
    {"TIMESTAMP", SQ_TYPE_TIMESTAMP},
    {"TIMESTAMP WITH TIME ZONE", SQ_TYPE_TIMESTAMP},
    {"TIMESTAMP WITHOUT TIME ZONE", SQ_TYPE_TIMESTAMP},
    {"TIMESTAMPTZ", SQ_TYPE_TIMESTAMP},
    {"TIMETZ", SQ_TYPE_TIME},
    {"TINYINT", SQ_TYPE_INTEGER},
    {"UNSIGNED BIG INT", SQ_TYPE_INTEGER},
    {"UUID", SQ_TYPE_UUID},
    {"VARBINARY", SQ_TYPE_BLOB},
    {"VARCHAR", SQ_TYPE_TEXT},
    {"XML", SQ_TYPE_TEXT},
};

/* Not isspace(), toupper(): the locale has no say in SQL. */
static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static char to_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* The plain form: "timestamp (3)  with time zone" becomes "TIMESTAMP WITH TIME ZONE". */
static size_t declared_plain(const char *declared, char out[DECLARED_BYTES_MAX])
{
    size_t used = 0;
    size_t depth = 0;
    for (const char *at = declared; *at != '\0' && used < DECLARED_BYTES_MAX - 1; at++) {
        if (*at == '(')
            depth++;
        bool is_gap = is_space(*at) || depth > 0;
        if (*at == ')' && depth > 0)
            depth--;
        if (!is_gap)
            out[used++] = to_upper(*at);
        else if (used > 0 && out[used - 1] != ' ')
            out[used++] = ' ';
    }
    if (used > 0 && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
    return used;
}

static int name_compare(const void *key, const void *element)
{
    const struct declared_name *name = element;
    return strcmp(key, name->name);
}

/* sqlite.org/datatype3.html, section 3.1, "Determination Of Column Affinity": the first rule that matches. */
static enum sq_type type_of_affinity(const char *plain)
{
    static const struct declared_name rules[] = {
        {"INT", SQ_TYPE_INTEGER}, {"CHAR", SQ_TYPE_TEXT}, {"CLOB", SQ_TYPE_TEXT}, {"TEXT", SQ_TYPE_TEXT},
        {"BLOB", SQ_TYPE_BLOB},   {"REAL", SQ_TYPE_REAL}, {"FLOA", SQ_TYPE_REAL}, {"DOUB", SQ_TYPE_REAL},
    };
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (strstr(plain, rules[i].name) != NULL)
            return rules[i].type;
    }
    /* NUMERIC affinity, for SQLite. But a name that nobody knows (GEOMETRY) promises no numbers: the values decide. */
    return SQ_TYPE_ANY;
}

enum sq_type sq_type_of_declared(const char *declared)
{
    char plain[DECLARED_BYTES_MAX];
    if (declared == NULL || declared_plain(declared, plain) == 0)
        return SQ_TYPE_ANY;
    const struct declared_name *found =
        bsearch(plain, declared_names, sizeof(declared_names) / sizeof(declared_names[0]), sizeof(declared_names[0]),
                name_compare);
    return found != NULL ? found->type : type_of_affinity(plain);
}
