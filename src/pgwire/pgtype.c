/* pgwire/pgtype.c: the table of types. Sizes and names are those of pg_type (src/include/catalog/pg_type.dat) and of
 * format_type(). See pgtype.h for what the codecs do with them. */
#include "pgwire/pgtype.h"

struct pgtype_info {
    uint32_t oid;
    int16_t length;
    bool has_binary;
    const char *name;
};

/* Sorted by OID. */
static const struct pgtype_info pgtype_infos[] = {
    {PGTYPE_BOOL, 1, true, "boolean"},
    {PGTYPE_BYTEA, -1, true, "bytea"},
    {PGTYPE_CHAR, 1, true, "\"char\""},
    {PGTYPE_NAME, 64, true, "name"},
    {PGTYPE_INT8, 8, true, "bigint"},
    {PGTYPE_INT2, 2, true, "smallint"},
    {PGTYPE_INT4, 4, true, "integer"},
    {PGTYPE_REGPROC, 4, true, "regproc"},
    {PGTYPE_TEXT, -1, true, "text"},
    {PGTYPE_OID, 4, true, "oid"},
    {PGTYPE_JSON, -1, true, "json"},
    {PGTYPE_FLOAT4, 4, true, "real"},
    {PGTYPE_FLOAT8, 8, true, "double precision"},
    {PGTYPE_UNKNOWN, -2, true, "unknown"},
    {PGTYPE_BPCHAR, -1, true, "character"},
    {PGTYPE_VARCHAR, -1, true, "character varying"},
    {PGTYPE_DATE, 4, true, "date"},
    {PGTYPE_TIME, 8, true, "time without time zone"},
    {PGTYPE_TIMESTAMP, 8, true, "timestamp without time zone"},
    {PGTYPE_TIMESTAMPTZ, 8, true, "timestamp with time zone"},
    {PGTYPE_INTERVAL, 16, false, "interval"},
    {PGTYPE_TIMETZ, 12, true, "time with time zone"},
    {PGTYPE_NUMERIC, -1, true, "numeric"},
    {PGTYPE_REGCLASS, 4, true, "regclass"},
    {PGTYPE_REGTYPE, 4, true, "regtype"},
    {PGTYPE_VOID, 4, false, "void"},
    {PGTYPE_UUID, 16, true, "uuid"},
    {PGTYPE_JSONB, -1, true, "jsonb"},
};

static const struct pgtype_info *info_find(uint32_t oid)
{
    for (size_t i = 0; i < sizeof(pgtype_infos) / sizeof(pgtype_infos[0]); i++) {
        if (pgtype_infos[i].oid == oid)
            return &pgtype_infos[i];
    }
    return NULL;
}

int16_t pgtype_length(uint32_t oid)
{
    const struct pgtype_info *info = info_find(oid);
    return info != NULL ? info->length : -1;
}

const char *pgtype_name(uint32_t oid)
{
    const struct pgtype_info *info = info_find(oid);
    return info != NULL ? info->name : NULL;
}

bool pgtype_has_binary(uint32_t oid)
{
    const struct pgtype_info *info = info_find(oid);
    return info != NULL && info->has_binary;
}

uint32_t pgtype_oid_of(enum sq_type type)
{
    switch (type) {
    case SQ_TYPE_INTEGER:
        return PGTYPE_INT8;
    case SQ_TYPE_BOOLEAN:
        return PGTYPE_BOOL;
    case SQ_TYPE_REAL:
        return PGTYPE_FLOAT8;
    case SQ_TYPE_NUMERIC:
        return PGTYPE_NUMERIC;
    case SQ_TYPE_BLOB:
        return PGTYPE_BYTEA;
    case SQ_TYPE_DATE:
        return PGTYPE_DATE;
    case SQ_TYPE_TIME:
        return PGTYPE_TIME;
    case SQ_TYPE_TIMESTAMP:
        return PGTYPE_TIMESTAMP;
    case SQ_TYPE_UUID:
        return PGTYPE_UUID;
    case SQ_TYPE_JSON:
        return PGTYPE_JSON;
    case SQ_TYPE_ANY:
    case SQ_TYPE_TEXT:
        break;
    }
    return PGTYPE_TEXT;
}

uint32_t pgtype_oid_of_kind(enum sq_value_kind kind)
{
    switch (kind) {
    case SQ_VALUE_INTEGER:
        return PGTYPE_INT8;
    case SQ_VALUE_REAL:
        return PGTYPE_FLOAT8;
    case SQ_VALUE_BLOB:
        return PGTYPE_BYTEA;
    case SQ_VALUE_NULL:
    case SQ_VALUE_TEXT:
        break;
    }
    return PGTYPE_TEXT;
}
