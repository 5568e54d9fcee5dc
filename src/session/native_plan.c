/* session/native_plan.c: xBestIndex of a client's virtual table (sqlite.org/vtab.html, "The xBestIndex Method"). See
 * native_table.h.
 *
 * All that the client's xBestIndex may ask (sqlite3_vtab_collation() and the functions beside it) goes with the call.
 *
 * idxStr is a pointer of the client's that SQLite does not look at. What SQLite gets from us instead is
 *
 *     offset   bytes
 *     0        n       the text, as EXPLAIN shows it; empty unless this is one
 *     n        1       NUL
 *     n + 1    4       length of what follows
 *     n + 5            a struct native_index, as FILTER sends it back (native_put_index()) */
#include "session/native_table.h"

#include <stdlib.h>

enum { PLAN_CONSTRAINTS_MAX = 1 << 20 };

static struct pgwire_bytes bytes_of(const char *text)
{
    return (struct pgwire_bytes){(const uint8_t *)text, text != NULL ? strlen(text) : 0};
}

/* The bits of the constraint; its value follows in the message. */
static void put_constraint(struct sq_buf *out, sqlite3_index_info *info, int i)
{
    sqlite3_value *value = NULL;
    int result = sqlite3_vtab_rhs_value(info, i, &value);
    if (result == SQLITE_NOMEM)
        out->is_failed = true;
    struct native_constraint constraint = {
        .column = info->aConstraint[i].iColumn,
        .op = info->aConstraint[i].op,
        .is_usable = info->aConstraint[i].usable != 0,
        .may_be_list = sqlite3_vtab_in(info, i, -1) != 0,
        .term_offset = info->aConstraint[i].iTermOffset,
        .collation = bytes_of(sqlite3_vtab_collation(info, i)),
    };
    constraint.has_value = result == SQLITE_OK && value != NULL && native_call_value_of(value, &constraint.value);
    native_put_constraint(out, &constraint);
}

static void put_plan(const struct native_table *table, struct sq_buf *out, sqlite3_index_info *info)
{
    const struct native_plan plan = {
        .columns_used = info->colUsed,
        .distinct = (uint8_t)sqlite3_vtab_distinct(info),
        .wants_text = table->module->calls->native->is_explaining,
        .cost = info->estimatedCost,
        .rows = info->estimatedRows,
    };
    native_put_plan(out, &plan);
    sq_buf_put_u32(out, (uint32_t)info->nConstraint);
    for (int i = 0; i < info->nConstraint; i++)
        put_constraint(out, info, i);
    sq_buf_put_u32(out, (uint32_t)info->nOrderBy);
    for (int i = 0; i < info->nOrderBy; i++) {
        const struct native_order order = {info->aOrderBy[i].iColumn, info->aOrderBy[i].desc != 0};
        native_put_order(out, &order);
    }
}

/* SQLite itself says what is wrong with an argument that there cannot be. */
static int argument_of(const struct native_usage *usage, int constraint_count)
{
    int argument = usage->argument > 0 ? usage->argument : 0;
    return argument <= constraint_count ? argument : constraint_count + 1;
}

static bool read_usages(struct pgwire_cursor *answer, sqlite3_index_info *info)
{
    for (int i = 0; i < info->nConstraint; i++) {
        struct native_usage usage;
        native_get_usage(answer, &usage);
        info->aConstraintUsage[i].argvIndex = argument_of(&usage, info->nConstraint);
        info->aConstraintUsage[i].omit = usage.is_omitted;
        if (usage.is_list)
            (void)sqlite3_vtab_in(info, i, 1);
    }
    return !answer->is_failed;
}

/* The opening comment's bytes, of sqlite3_malloc(). NULL: no memory. */
static char *pack(const struct native_choice *choice)
{
    struct sq_buf buf;
    sq_buf_init(&buf, INT32_MAX);
    size_t text_bytes = choice->text.data != NULL ? strnlen((const char *)choice->text.data, choice->text.length) : 0;
    sq_buf_put(&buf, choice->text.data, text_bytes);
    sq_buf_put_u8(&buf, 0);
    size_t offset = sq_buf_length(&buf);
    sq_buf_put_u32(&buf, 0);
    native_put_index(&buf, &choice->index);
    char *packed = NULL;
    if (!buf.is_failed) {
        sq_buf_set_u32(&buf, offset, (uint32_t)(sq_buf_length(&buf) - offset - sizeof(uint32_t)));
        packed = sqlite3_malloc64(sq_buf_length(&buf));
    }
    if (packed != NULL)
        memcpy(packed, sq_buf_bytes(&buf), sq_buf_length(&buf));
    sq_buf_done(&buf);
    return packed;
}

bool native_plan_unpack(const char *text, int number, struct native_index *ret_index)
{
    *ret_index = (struct native_index){.number = number};
    if (text == NULL)
        return false;
    const uint8_t *packed = (const uint8_t *)text + strlen(text) + 1;
    struct pgwire_cursor head = pgwire_cursor_make(packed, sizeof(uint32_t));
    struct pgwire_cursor cursor = pgwire_cursor_make(packed + sizeof(uint32_t), pgwire_get_u32(&head));
    native_get_index(&cursor, ret_index);
    sq_assert(pgwire_cursor_is_done(&cursor));
    ret_index->number = number;
    return true;
}

static int take_choice(const struct native_choice *choice, sqlite3_index_info *info)
{
    info->idxNum = choice->index.number;
    info->orderByConsumed = choice->is_ordered;
    info->estimatedCost = choice->cost;
    info->estimatedRows = choice->rows;
    info->idxFlags = choice->flags;
    if (choice->index.kind == NATIVE_INDEX_NULL)
        return SQLITE_OK;
    info->idxStr = pack(choice);
    info->needToFreeIdxStr = info->idxStr != NULL;
    return info->idxStr != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

int native_table_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    struct native_table *table = native_table_of(base);
    struct native_calls *calls = table->module->calls;
    struct native_method_call call;
    if (info->nConstraint > PLAN_CONSTRAINTS_MAX)
        return SQLITE_TOOBIG;
    int result = native_method_begin(&call, table, NATIVE_METHOD_BEST_INDEX);
    if (result == SQLITE_OK) {
        put_plan(table, call.out, info);
        calls->plan_count++;
        calls->native->compile_count++;
        result = native_method_exchange(&call);
        calls->native->compile_count--;
    }
    if (result == SQLITE_OK && call.head.result == SQLITE_OK && read_usages(&call.answer, info)) {
        struct native_choice choice;
        native_get_choice(&call.answer, &choice);
        if (pgwire_cursor_is_done(&call.answer))
            result = take_choice(&choice, info);
    }
    /* There is no plan with these constraints: that is no failure. */
    bool is_none = result == SQLITE_OK && call.head.result == SQLITE_CONSTRAINT;
    if (is_none)
        call.head.result = SQLITE_OK;
    result = native_method_end(&call, &base->zErrMsg, result);
    return result == SQLITE_OK && is_none ? SQLITE_CONSTRAINT : result;
}
