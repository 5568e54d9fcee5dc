/* engine/infer_schema.c: from root pages to columns.
 *
 * Bytecode names tables and indexes by database number and root page (OpenRead's P3 and P2). Which is which stands in
 * sqlite_schema; but to read that table, or to run a PRAGMA, begins a read transaction, and inside BEGIN that would fix
 * the snapshot of the user's transaction early: a later write could then fail with SQLITE_BUSY_SNAPSHOT although the
 * user's own statements did nothing to deserve it. So nothing is ever run here. What SQLite has in memory is taken from
 * EXPLAIN listings, which need no transaction:
 *
 *     names     EXPLAIN PRAGMA "db".table_list           a pragma that tells of the schema is compiled to a program that
 *     columns   EXPLAIN PRAGMA "db".table_xinfo("t")     loads each of its values as a constant and then does ResultRow:
 *     indexes   EXPLAIN PRAGMA "db".index_list("t")      its rows can be read off the listing
 *     keys      EXPLAIN PRAGMA "db".index_xinfo("i")
 *     roots     EXPLAIN SELECT 1 FROM "db"."t" NOT INDEXED    the first OpenRead, if the table has a rowid
 *               EXPLAIN REINDEX "db"."t"                      an OpenWrite for each index, in index_list's order; the
 *                                                             key of a WITHOUT ROWID table is one of them
 *
 * Objects are looked for when a program first mentions them: first in tables whose names stand in the statement, then,
 * if it matters, in all others (those behind views and foreign keys). That last step is the only one that can read: to
 * list names, SQLite connects virtual tables that the connection has not used yet, and some modules then read a page.
 *
 * Each listing has a Transaction instruction whose P3 and P4 are the schema cookie and generation in memory. Invariant 1:
 * everything known of a database was listed with one and the same pair. */
#include <stdlib.h>
#include <string.h>

#include "base/declared_type.h"
#include "engine/infer_internal.h"

enum {
    PRAGMA_REGISTERS = 16,     /* of the widest pragma row, and to spare */
    SEARCHED_BYTES_MAX = 8192, /* of a statement, for table names */
    NAME_BYTES_MAX = 256,
    TEMP_DATABASE = 1,
    HIDDEN_VIRTUAL = 2, /* table_xinfo's "hidden" of a VIRTUAL generated column, which is not stored */
    COLUMN_ROWID = -1,  /* index_xinfo's "cid" of the rowid; -2 is an expression */
};

struct table {
    char *name;
    bool is_rooted; /* the root was looked for */
    bool is_loaded; /* columns and indexes were looked for */
    uint32_t root;  /* 0: not to be known */
};

struct infer_schema {
    bool is_known; /* cookie, generation, name and file are set; cleared when the schema turns out to have changed */
    bool has_names;
    int cookie;
    int generation;
    char *name;
    char *file;
    struct sq_arena arena; /* of all below */
    struct table *tables;
    size_t table_count;
    size_t table_capacity;
    struct infer_object **objects; /* sorted by root */
    size_t object_count;
    size_t object_capacity;
};

/* One instruction of a listing. */
struct listed {
    const char *opcode;
    int p1, p2, p3;
    const char *p4; /* "" if there is none */
};

/* One value of a pragma's row, as its program would give it. */
struct pragma_value {
    int integer;
    const char *text; /* NULL if it is a number or NULL */
};

/* A look at the schema: what the readers of listings share. */
struct look {
    sqlite3 *db;
    int database;
    struct infer_schema *schema;
    struct sq_arena *arena; /* for this look only */
    bool is_out_of_memory;

    void (*row_cb)(struct look *look, const struct pragma_value *row, int count);
    struct pragma_value row[PRAGMA_REGISTERS];

    struct table *table;
    uint8_t *column_types; /* by column number, INFER_COLUMNS_MAX of them; so are the next two */
    uint8_t *column_kinds; /* "hidden" */
    uint8_t *key_types;
    int *key_columns;
    size_t column_count;
    size_t key_count;
    const char *index_names[INFER_INDEXES_MAX];
    uint32_t index_roots[INFER_INDEXES_MAX];
    size_t index_count;
    size_t index_root_count;
    size_t named_count; /* tables that were known before all were listed */
    bool is_too_much;
};

/* ---- Schemas ---- */

struct infer_schema *infer_schemas_new(void)
{
    return calloc(INFER_SCHEMAS_MAX, sizeof(struct infer_schema));
}

static void schema_clear(struct infer_schema *schema)
{
    sq_arena_done(&schema->arena);
    memset(schema, 0, sizeof(*schema));
    sq_arena_init(&schema->arena);
}

void infer_schemas_clear(struct infer_schema *schemas)
{
    for (size_t i = 0; i < INFER_SCHEMAS_MAX; i++)
        schema_clear(&schemas[i]);
}

void infer_schemas_free(struct infer_schema *schemas)
{
    if (schemas != NULL)
        infer_schemas_clear(schemas);
    free(schemas);
}

static const char *file_of(sqlite3 *db, const char *name)
{
    const char *file = sqlite3_db_filename(db, name);
    return file != NULL ? file : "";
}

/* A database in memory that was detached and another one that was attached cannot be told apart. */
static bool is_lasting(int database, const char *file)
{
    return database <= TEMP_DATABASE || file[0] != '\0';
}

void infer_schema_refresh(struct infer_cache *cache, sqlite3 *db, const struct infer_program *program)
{
    for (int i = 0; i < INFER_SCHEMAS_MAX; i++) {
        struct infer_schema *schema = &cache->schemas[i];
        const char *name = schema->is_known ? sqlite3_db_name(db, i) : NULL;
        if (name == NULL || strcmp(name, schema->name) != 0 || strcmp(file_of(db, name), schema->file) != 0 ||
            !is_lasting(i, schema->file))
            schema_clear(schema);
    }
    for (size_t i = 0; i < program->op_count; i++) {
        const struct infer_op *op = &program->ops[i];
        if (op->kind->effect != INFER_TRANSACTION || op->p1 < 0 || op->p1 >= INFER_SCHEMAS_MAX)
            continue;
        struct infer_schema *schema = &cache->schemas[op->p1];
        if (schema->is_known && (schema->cookie != op->p3 || schema->generation != op->p4_number))
            schema_clear(schema);
        const char *name = sqlite3_db_name(db, op->p1);
        if (schema->is_known || name == NULL)
            continue;
        schema->name = sq_arena_copy(&schema->arena, name, strlen(name));
        const char *file = file_of(db, name);
        schema->file = sq_arena_copy(&schema->arena, file, strlen(file));
        schema->cookie = op->p3;
        schema->generation = op->p4_number;
        schema->is_known = schema->name != NULL && schema->file != NULL;
    }
}

/* ---- Listings ---- */

static bool is_opcode(const struct listed *op, const char *name)
{
    return strcmp(op->opcode, name) == 0;
}

/* Takes over `sql` from sqlite3_mprintf() and hands each instruction of its listing to `op_cb`. False if there is no such
 * listing, or if it is of another schema than the cached one. */
static bool list(struct look *look, void (*op_cb)(struct look *look, const struct listed *op), char *sql)
{
    sqlite3_stmt *explain = NULL;
    int result = sql != NULL ? sqlite3_prepare_v3(look->db, sql, -1, 0, &explain, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    bool is_same_schema = true; /* an empty pragma has no Transaction */
    while (result == SQLITE_OK && (result = sqlite3_step(explain)) == SQLITE_ROW) {
        const char *p4 = (const char *)sqlite3_column_text(explain, 5);
        struct listed op = {.opcode = (const char *)sqlite3_column_text(explain, 1),
                            .p1 = sqlite3_column_int(explain, 2),
                            .p2 = sqlite3_column_int(explain, 3),
                            .p3 = sqlite3_column_int(explain, 4),
                            .p4 = p4 != NULL ? p4 : ""};
        result = op.opcode != NULL ? SQLITE_OK : SQLITE_NOMEM;
        if (result != SQLITE_OK)
            break;
        if (is_opcode(&op, "Transaction") && op.p1 == look->database)
            is_same_schema = op.p3 == look->schema->cookie && (int)strtol(op.p4, NULL, 10) == look->schema->generation;
        else
            op_cb(look, &op);
    }
    sqlite3_finalize(explain);
    if ((result & 0xff) == SQLITE_NOMEM)
        look->is_out_of_memory = true;
    if (result == SQLITE_DONE && !is_same_schema)
        look->schema->is_known = false;
    return result == SQLITE_DONE && is_same_schema && !look->is_out_of_memory;
}

static void on_pragma_op(struct look *look, const struct listed *op)
{
    struct pragma_value *value = op->p2 >= 0 && op->p2 < PRAGMA_REGISTERS ? &look->row[op->p2] : NULL;
    if (is_opcode(op, "ResultRow")) {
        if (op->p1 >= 0 && op->p2 > 0 && op->p1 < PRAGMA_REGISTERS && op->p2 <= PRAGMA_REGISTERS - op->p1)
            look->row_cb(look, &look->row[op->p1], op->p2);
    } else if (value == NULL) {
        return;
    } else if (is_opcode(op, "Integer")) {
        *value = (struct pragma_value){.integer = op->p1};
    } else if (is_opcode(op, "Null")) {
        *value = (struct pragma_value){0};
    } else if (is_opcode(op, "String8")) {
        value->text = sq_arena_copy(look->arena, op->p4, strlen(op->p4));
        look->is_out_of_memory = look->is_out_of_memory || value->text == NULL;
    }
}

/* Reads the rows of `pragma`, with or without an argument, off its listing. */
static bool list_pragma(struct look *look, void (*row_cb)(struct look *look, const struct pragma_value *row, int count),
                        const char *pragma, const char *argument)
{
    look->row_cb = row_cb;
    memset(look->row, 0, sizeof(look->row));
    const char *name = look->schema->name;
    return list(look, on_pragma_op,
                argument != NULL ? sqlite3_mprintf("EXPLAIN PRAGMA \"%w\".%s(\"%w\")", name, pragma, argument)
                                 : sqlite3_mprintf("EXPLAIN PRAGMA \"%w\".%s", name, pragma));
}

/* ---- Tables ---- */

static void table_add(struct look *look, const char *name)
{
    struct infer_schema *schema = look->schema;
    if (schema->table_count >= INFER_TABLES_MAX)
        return;
    if (schema->table_count == schema->table_capacity) {
        size_t capacity = schema->table_capacity > 0 ? schema->table_capacity * 2 : 16;
        struct table *tables = sq_arena_calloc(&schema->arena, capacity, sizeof(*tables));
        if (tables == NULL) {
            look->is_out_of_memory = true;
            return;
        }
        if (schema->table_count > 0)
            memcpy(tables, schema->tables, schema->table_count * sizeof(*tables));
        schema->tables = tables;
        schema->table_capacity = capacity;
    }
    char *copy = sq_arena_copy(&schema->arena, name, strlen(name));
    if (copy == NULL)
        look->is_out_of_memory = true;
    else
        schema->tables[schema->table_count++] = (struct table){.name = copy};
}

static bool is_added(const struct infer_schema *schema, const char *name, size_t table_count)
{
    for (size_t i = 0; i < table_count; i++) {
        if (sqlite3_stricmp(schema->tables[i].name, name) == 0)
            return true;
    }
    return false;
}

/* table_list: schema, name, type, ncol, wr, strict */
static void on_table(struct look *look, const struct pragma_value *row, int count)
{
    if (count >= 3 && row[1].text != NULL && row[2].text != NULL &&
        (strcmp(row[2].text, "table") == 0 || strcmp(row[2].text, "shadow") == 0) &&
        !is_added(look->schema, row[1].text, look->named_count))
        table_add(look, row[1].text);
}

static void on_root(struct look *look, const struct listed *op)
{
    if (look->table->root == 0 && is_opcode(op, "OpenRead") && op->p3 == look->database && op->p2 > 0)
        look->table->root = (uint32_t)op->p2;
}

/* A look that fails (no memory, or the authorizer refuses) is taken again next time. */
static void table_find_root(struct look *look, struct table *table)
{
    if (table->is_rooted)
        return;
    look->table = table;
    table->is_rooted =
        list(look, on_root,
             sqlite3_mprintf("EXPLAIN SELECT 1 FROM \"%w\".\"%w\" NOT INDEXED", look->schema->name, table->name));
    if (!table->is_rooted)
        table->root = 0;
}

/* table_xinfo: cid, name, type, notnull, dflt_value, pk, hidden */
static void on_column(struct look *look, const struct pragma_value *row, int count)
{
    if (count < 7 || look->column_count >= INFER_COLUMNS_MAX) {
        look->is_too_much = true;
        return;
    }
    look->column_types[look->column_count] = (uint8_t)(row[2].text != NULL ? sq_type_of_declared(row[2].text) : 0);
    look->column_kinds[look->column_count++] = (uint8_t)row[6].integer;
}

/* index_list: seq, name, unique, origin, partial */
static void on_index(struct look *look, const struct pragma_value *row, int count)
{
    if (count < 5 || row[1].text == NULL || look->index_count >= INFER_INDEXES_MAX)
        look->is_too_much = true;
    else
        look->index_names[look->index_count++] = row[1].text;
}

static void on_reindex(struct look *look, const struct listed *op)
{
    if (!is_opcode(op, "OpenWrite") || op->p3 != look->database || op->p2 <= 0)
        return;
    if (look->index_root_count < INFER_INDEXES_MAX)
        look->index_roots[look->index_root_count] = (uint32_t)op->p2;
    look->index_root_count++;
}

/* index_xinfo: seqno, cid, name, desc, coll, key */
static void on_key(struct look *look, const struct pragma_value *row, int count)
{
    if (count < 2 || look->key_count >= INFER_COLUMNS_MAX)
        look->is_too_much = true;
    else
        look->key_columns[look->key_count++] = row[1].integer;
}

/* The types of the key's columns. */
static void key_find_types(struct look *look)
{
    for (size_t i = 0; i < look->key_count; i++) {
        int column = look->key_columns[i];
        enum sq_type type = column == COLUMN_ROWID ? SQ_TYPE_INTEGER : SQ_TYPE_ANY;
        if (column >= 0 && (size_t)column < look->column_count)
            type = (enum sq_type)look->column_types[column];
        look->key_types[i] = (uint8_t)type;
    }
}

/* ---- Objects ---- */

/* The place of `root` among the objects, or where it would be. */
static size_t object_place(const struct infer_schema *schema, uint32_t root)
{
    size_t low = 0;
    size_t high = schema->object_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (schema->objects[middle]->root < root)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct infer_object *object_find(const struct infer_schema *schema, uint32_t root)
{
    size_t place = object_place(schema, root);
    return place < schema->object_count && schema->objects[place]->root == root ? schema->objects[place] : NULL;
}

static bool objects_grow(struct infer_schema *schema)
{
    if (schema->object_count < schema->object_capacity)
        return true;
    size_t capacity = schema->object_capacity > 0 ? schema->object_capacity * 2 : 32;
    struct infer_object **objects = sq_arena_calloc(&schema->arena, capacity, sizeof(struct infer_object *));
    if (objects == NULL)
        return false;
    if (schema->object_count > 0)
        memcpy(objects, schema->objects, schema->object_count * sizeof(struct infer_object *));
    schema->objects = objects;
    schema->object_capacity = capacity;
    return true;
}

static void object_add(struct look *look, uint32_t root, bool is_rowid_table, const uint8_t *types, size_t count)
{
    struct infer_schema *schema = look->schema;
    size_t place = object_place(schema, root);
    if (place < schema->object_count && schema->objects[place]->root == root)
        return;
    struct infer_object *object = sq_arena_calloc(&schema->arena, 1, sizeof(*object));
    uint8_t *copy = sq_arena_alloc(&schema->arena, count + 1);
    if (object == NULL || copy == NULL || !objects_grow(schema)) {
        look->is_out_of_memory = true;
        return;
    }
    memcpy(copy, types, count);
    *object = (struct infer_object){
        .root = root, .column_count = (uint32_t)count, .is_rowid_table = is_rowid_table, .types = copy};
    memmove(&schema->objects[place + 1], &schema->objects[place],
            (schema->object_count - place) * sizeof(struct infer_object *));
    schema->objects[place] = object;
    schema->object_count++;
}

static void load_indexes(struct look *look)
{
    const char *schema_name = look->schema->name;
    look->index_count = 0;
    look->index_root_count = 0;
    if (!list_pragma(look, on_index, "index_list", look->table->name) || look->is_too_much || look->index_count == 0)
        return;
    if (!list(look, on_reindex, sqlite3_mprintf("EXPLAIN REINDEX \"%w\".\"%w\"", schema_name, look->table->name)) ||
        look->index_root_count != look->index_count)
        return;
    for (size_t i = 0; i < look->index_count; i++) {
        look->key_count = 0;
        look->is_too_much = false;
        if (!list_pragma(look, on_key, "index_xinfo", look->index_names[i]) || look->is_too_much)
            continue;
        key_find_types(look);
        if (look->key_count > 0)
            object_add(look, look->index_roots[i], false, look->key_types, look->key_count);
    }
}

/* A row of a rowid table holds its columns in order, without the VIRTUAL ones (sqlite.org/gencol.html). */
static void load_rowid_table(struct look *look)
{
    size_t count = 0;
    for (size_t i = 0; i < look->column_count; i++) {
        if (look->column_kinds[i] != HIDDEN_VIRTUAL)
            look->key_types[count++] = look->column_types[i];
    }
    object_add(look, look->table->root, true, look->key_types, count);
}

static void table_load(struct look *look, struct table *table)
{
    table_find_root(look, table);
    if (table->is_loaded)
        return;
    look->table = table;
    look->key_count = 0;
    look->column_count = 0;
    look->is_too_much = false;
    /* Of a WITHOUT ROWID table's name, index_xinfo tells of its key; else it is empty, so that whether it was of the same
     * schema shows only in what is listed next. */
    table->is_loaded = table->is_rooted && list_pragma(look, on_key, "index_xinfo", table->name) &&
                       list_pragma(look, on_column, "table_xinfo", table->name);
    if (!table->is_loaded || table->root == 0 || look->is_too_much || look->column_count == 0)
        return;
    if (look->key_count == 0)
        load_rowid_table(look);
    load_indexes(look);
}

/* ---- Finding ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || c == '$' || (c & 0x80) != 0;
}

/* Whether the name's letters stand in `text` somewhere, upper or lower case. */
static bool is_mentioned(const char *text, size_t length, const char *name)
{
    size_t name_length = strlen(name);
    char first = lower(name[0]);
    for (size_t i = 0; i + name_length <= length; i++) {
        if (lower(text[i]) == first && sqlite3_strnicmp(text + i, name, (int)name_length) == 0)
            return true;
    }
    return false;
}

static bool look_is_over(const struct look *look, uint32_t root, const struct infer_object **found)
{
    *found = object_find(look->schema, root);
    return *found != NULL || look->is_out_of_memory || !look->schema->is_known;
}

/* The next word or quoted name in [*at, end) (sqlite.org/lang_keywords.html), unquoted; false if there is none. A word
 * may be a keyword as well. */
static bool next_name(const char **at, const char *end, char *out)
{
    static const char quotes[] = "\"`[";
    size_t length = 0;
    const char *p = *at;
    while (p < end && length == 0) {
        if (*p == '\'') {
            const char *close = memchr(p + 1, '\'', (size_t)(end - p - 1));
            p = close != NULL ? close + 1 : end;
        } else if (strchr(quotes, *p) != NULL) {
            char close = *p == '[' ? ']' : *p;
            for (p++; p < end && (*p != close || (close != ']' && p + 1 < end && p[1] == close)); p++) {
                p += *p == close; /* a doubled quote */
                if (length < NAME_BYTES_MAX - 1)
                    out[length++] = *p;
            }
            p += p < end;
        } else if (is_word(*p)) {
            for (; p < end && is_word(*p); p++) {
                if (length < NAME_BYTES_MAX - 1)
                    out[length++] = *p;
            }
        } else {
            p++;
        }
    }
    out[length] = '\0';
    *at = p;
    return length > 0;
}

/* Loads the tables that the statement names. */
static const struct infer_object *find_in_named(struct look *look, const char *sql, uint32_t root)
{
    struct infer_schema *schema = look->schema;
    const struct infer_object *found = NULL;
    const char *end = sql + strnlen(sql, SEARCHED_BYTES_MAX);
    char name[NAME_BYTES_MAX];
    for (const char *at = sql; !schema->has_names && next_name(&at, end, name);) {
        if (is_added(schema, name, schema->table_count) ||
            sqlite3_table_column_metadata(look->db, schema->name, name, NULL, NULL, NULL, NULL, NULL, NULL) !=
                SQLITE_OK)
            continue;
        table_add(look, name);
    }
    for (size_t i = 0; i < schema->table_count; i++) {
        if (schema->tables[i].is_loaded || !is_mentioned(sql, (size_t)(end - sql), schema->tables[i].name))
            continue;
        table_load(look, &schema->tables[i]);
        if (look_is_over(look, root, &found))
            return found;
    }
    return NULL;
}

static const struct infer_object *find_in_all(struct look *look, uint32_t root)
{
    struct infer_schema *schema = look->schema;
    const struct infer_object *found = NULL;
    if (!schema->has_names) {
        look->named_count = schema->table_count;
        schema->has_names = list_pragma(look, on_table, "table_list", NULL);
        if (!schema->has_names) {
            schema->table_count = look->named_count;
            return NULL;
        }
    }
    for (size_t i = 0; i < schema->table_count; i++) {
        table_find_root(look, &schema->tables[i]);
        if (schema->tables[i].root == root)
            table_load(look, &schema->tables[i]);
        if (look_is_over(look, root, &found))
            return found;
    }
    for (size_t i = 0; i < schema->table_count; i++) {
        table_load(look, &schema->tables[i]);
        if (look_is_over(look, root, &found))
            return found;
    }
    return NULL;
}

sq_status infer_schema_find(struct infer_cache *cache, sqlite3 *db, const char *sql, int database, uint32_t root,
                            bool is_thorough, const struct infer_object **ret_object)
{
    *ret_object = NULL;
    if (database < 0 || database >= INFER_SCHEMAS_MAX || !cache->schemas[database].is_known)
        return SQ_OK;
    struct infer_schema *schema = &cache->schemas[database];
    *ret_object = object_find(schema, root);
    if (*ret_object != NULL)
        return SQ_OK;

    sq_arena_reset(&cache->lookup);
    struct look *look = sq_arena_calloc(&cache->lookup, 1, sizeof(*look));
    uint8_t *types = sq_arena_alloc(&cache->lookup, 3 * (size_t)INFER_COLUMNS_MAX);
    int *columns = sq_arena_calloc(&cache->lookup, INFER_COLUMNS_MAX, sizeof(*columns));
    if (look == NULL || types == NULL || columns == NULL)
        return SQ_NOMEM;
    *look = (struct look){.db = db,
                          .database = database,
                          .schema = schema,
                          .arena = &cache->lookup,
                          .column_types = types,
                          .column_kinds = types + INFER_COLUMNS_MAX,
                          .key_types = types + 2 * (size_t)INFER_COLUMNS_MAX,
                          .key_columns = columns};
    const struct infer_object *found = find_in_named(look, sql, root);
    if (found == NULL && is_thorough && schema->is_known && !look->is_out_of_memory)
        found = find_in_all(look, root);
    if (look->is_out_of_memory) {
        schema->is_known = false; /* some tables may be half known: to be learnt anew */
        return SQ_NOMEM;
    }
    *ret_object = found;
    return SQ_OK;
}
