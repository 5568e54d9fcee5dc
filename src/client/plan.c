/* client/plan.c: xBestIndex of an application's virtual table. See table.h and https://sqlite.org/vtab.html#xbestindex
 *
 * The application gets a sqlite3_index_info of ours, filled with what the server has said, and may hand it to
 * sqlite3_vtab_collation() and the functions beside it. Those find it in a list of the plans that are being made in this
 * thread: SQLite allows them nowhere else.
 *
 * idxStr is a pointer that SQLite only hands on to xFilter. If SQLite was to free it, its bytes go to the server and come
 * back from there, since nobody will tell us when they are not needed any more. Otherwise it is kept in the table, and its
 * number goes. */
#include <stdlib.h>
#include <string.h>

#include "client/table.h"

struct client_plan {
    struct client_plan *outer;
    struct client_frame *frame;
    struct sqlite3_index_info info;
    struct native_constraint *constraints;
    struct native_value *values; /* theirs */
    bool *lists;                 /* sqlite3_vtab_in() with 1 */
    int distinct;
    bool wants_text;
    char *collations; /* a C string for each that has one, behind one another */
};

static _Thread_local struct client_plan *innermost;

static struct client_plan *find(const sqlite3_index_info *info)
{
    struct client_plan *plan = innermost;
    while (plan != NULL && &plan->info != info)
        plan = plan->outer;
    return plan;
}

/* --- What the application may ask --- */

const char *sqlite3_vtab_collation(sqlite3_index_info *info, int index)
{
    const struct client_plan *plan = find(info);
    if (plan == NULL)
        return client_real.sqlite3_vtab_collation(info, index);
    return index >= 0 && index < info->nConstraint ? (const char *)plan->constraints[index].collation.data : NULL;
}

int sqlite3_vtab_distinct(sqlite3_index_info *info)
{
    const struct client_plan *plan = find(info);
    return plan != NULL ? plan->distinct : client_real.sqlite3_vtab_distinct(info);
}

int sqlite3_vtab_in(sqlite3_index_info *info, int index, int handle)
{
    const struct client_plan *plan = find(info);
    if (plan == NULL)
        return client_real.sqlite3_vtab_in(info, index, handle);
    if (index < 0 || index >= info->nConstraint || !plan->constraints[index].may_be_list)
        return 0;
    if (handle >= 0)
        plan->lists[index] = handle > 0;
    return 1;
}

/* The values are good until xBestIndex returns: they are columns of one row. */
int sqlite3_vtab_rhs_value(sqlite3_index_info *info, int index, sqlite3_value **ret_value)
{
    const struct client_plan *plan = find(info);
    if (plan == NULL)
        return client_real.sqlite3_vtab_rhs_value(info, index, ret_value);
    *ret_value = NULL;
    if (index < 0 || index >= info->nConstraint)
        return SQLITE_MISUSE;
    if (!plan->constraints[index].has_value)
        return SQLITE_NOTFOUND;
    struct client_row *row = &plan->frame->old_row;
    int code = SQLITE_ROW;
    if (row->values == NULL)
        code = client_row_open(plan->frame, row, plan->values, (size_t)info->nConstraint);
    if (code != SQLITE_ROW)
        return code;
    *ret_value = client_real.sqlite3_column_value(row->stmt, index);
    return SQLITE_OK;
}

/* --- Reading --- */

static void plan_done(struct client_plan *plan)
{
    free(plan->info.aConstraint);
    free(plan->info.aOrderBy);
    free(plan->info.aConstraintUsage);
    free(plan->constraints);
    free(plan->values);
    free(plan->lists);
    free(plan->collations);
}

/* An array of so many; NULL: there is no memory, or the message cannot hold so many. */
static void *array_of(struct pgwire_cursor *cursor, uint32_t count, size_t each, size_t bytes_at_least)
{
    if (count > cursor->left / bytes_at_least) {
        pgwire_cursor_fail(cursor);
        return NULL;
    }
    return calloc((size_t)count + 1, each);
}

/* The collations' names as C strings. */
static bool copy_collations(struct client_plan *plan)
{
    size_t bytes = 1;
    for (int i = 0; i < plan->info.nConstraint; i++)
        bytes += plan->constraints[i].collation.length + 1;
    char *to = plan->collations = malloc(bytes);
    if (to == NULL)
        return false;
    for (int i = 0; i < plan->info.nConstraint; i++) {
        struct pgwire_bytes *name = &plan->constraints[i].collation;
        if (name->data == NULL)
            continue;
        memcpy(to, name->data, name->length);
        to[name->length] = '\0';
        name->data = (const uint8_t *)to;
        to += name->length + 1;
    }
    return true;
}

static bool read_constraints(struct client_plan *plan, struct pgwire_cursor *cursor)
{
    enum { CONSTRAINT_BYTES_MIN = 14 };
    struct sqlite3_index_info *info = &plan->info;
    uint32_t count = pgwire_get_u32(cursor);
    plan->constraints = array_of(cursor, count, sizeof(*plan->constraints), CONSTRAINT_BYTES_MIN);
    plan->values = array_of(cursor, count, sizeof(*plan->values), CONSTRAINT_BYTES_MIN);
    plan->lists = array_of(cursor, count, sizeof(*plan->lists), CONSTRAINT_BYTES_MIN);
    info->aConstraint = array_of(cursor, count, sizeof(*info->aConstraint), CONSTRAINT_BYTES_MIN);
    info->aConstraintUsage = array_of(cursor, count, sizeof(*info->aConstraintUsage), CONSTRAINT_BYTES_MIN);
    if (plan->constraints == NULL || plan->values == NULL || plan->lists == NULL || info->aConstraint == NULL ||
        info->aConstraintUsage == NULL)
        return false;
    info->nConstraint = (int)count;
    for (uint32_t i = 0; i < count; i++) {
        struct native_constraint *constraint = &plan->constraints[i];
        native_get_constraint(cursor, constraint);
        plan->values[i] = constraint->value;
        info->aConstraint[i].iColumn = constraint->column;
        info->aConstraint[i].op = constraint->op;
        info->aConstraint[i].usable = constraint->is_usable;
        info->aConstraint[i].iTermOffset = constraint->term_offset;
    }
    return !cursor->is_failed && copy_collations(plan);
}

static bool read_orders(struct client_plan *plan, struct pgwire_cursor *cursor)
{
    enum { ORDER_BYTES = 5 };
    struct sqlite3_index_info *info = &plan->info;
    uint32_t count = pgwire_get_u32(cursor);
    info->aOrderBy = array_of(cursor, count, sizeof(*info->aOrderBy), ORDER_BYTES);
    if (info->aOrderBy == NULL)
        return false;
    info->nOrderBy = (int)count;
    for (uint32_t i = 0; i < count; i++) {
        struct native_order order;
        native_get_order(cursor, &order);
        info->aOrderBy[i].iColumn = order.column;
        info->aOrderBy[i].desc = order.is_descending;
    }
    return !cursor->is_failed;
}

static bool read_plan(struct client_plan *plan, struct pgwire_cursor *cursor)
{
    struct native_plan said;
    native_get_plan(cursor, &said);
    plan->info.colUsed = said.columns_used;
    plan->info.estimatedCost = said.cost;
    plan->info.estimatedRows = said.rows;
    plan->distinct = said.distinct;
    plan->wants_text = said.wants_text;
    return read_constraints(plan, cursor) && read_orders(plan, cursor) && pgwire_cursor_is_done(cursor);
}

/* --- Answering --- */

/* The number under which the table keeps a pointer; 0: no memory. */
static uint64_t keep_text(struct client_table *table, char *text)
{
    for (size_t i = 0; i < table->index_count; i++) {
        if (table->index_texts[i] == text)
            return i + 1;
    }
    char **grown = reallocarray(table->index_texts, table->index_count + 1, sizeof(char *));
    if (grown == NULL)
        return 0;
    table->index_texts = grown;
    table->index_texts[table->index_count++] = text;
    return table->index_count;
}

/* What xBestIndex has put into idxStr. False: no memory. */
static bool index_of(struct client_table *table, const struct sqlite3_index_info *info, struct native_index *ret_index)
{
    *ret_index = (struct native_index){.number = info->idxNum};
    if (info->idxStr == NULL)
        return true;
    if (info->needToFreeIdxStr) {
        ret_index->kind = NATIVE_INDEX_BYTES;
        ret_index->bytes.data = (const uint8_t *)info->idxStr;
        ret_index->bytes.length = (size_t)client_real.sqlite3_msize(info->idxStr);
        return true;
    }
    ret_index->kind = NATIVE_INDEX_NUMBER;
    ret_index->pointer = keep_text(table, info->idxStr);
    return ret_index->pointer != 0;
}

static void put_choice(struct sq_buf *out, const struct client_plan *plan, const struct native_index *index)
{
    const struct sqlite3_index_info *info = &plan->info;
    for (int i = 0; i < info->nConstraint; i++) {
        const struct native_usage usage = {.argument = info->aConstraintUsage[i].argvIndex,
                                           .is_omitted = info->aConstraintUsage[i].omit != 0,
                                           .is_list = plan->lists[i]};
        native_put_usage(out, &usage);
    }
    struct native_choice choice = {.index = *index,
                                   .is_ordered = info->orderByConsumed != 0,
                                   .cost = info->estimatedCost,
                                   .rows = info->estimatedRows,
                                   .flags = info->idxFlags};
    if (plan->wants_text && info->idxStr != NULL)
        choice.text = (struct pgwire_bytes){(const uint8_t *)info->idxStr, strlen(info->idxStr)};
    native_put_choice(out, &choice);
}

void client_method_best_index(struct client_frame *frame, struct pgwire_cursor *cursor, struct client_table *table)
{
    struct client_plan plan = {.frame = frame};
    if (!read_plan(&plan, cursor)) {
        client_calls_malformed(frame);
        plan_done(&plan);
        return;
    }
    sqlite3_vtab *vtab = table->vtab;
    plan.outer = innermost;
    innermost = &plan;
    int result = vtab->pModule->xBestIndex != NULL ? vtab->pModule->xBestIndex(vtab, &plan.info) : SQLITE_ERROR;
    innermost = plan.outer;
    client_row_close(&frame->old_row);
    struct native_index index;
    if (result == SQLITE_OK && !index_of(table, &plan.info, &index))
        result = SQLITE_NOMEM;
    struct sq_buf *out = client_table_answer(frame, table, result);
    if (result == SQLITE_OK)
        put_choice(out, &plan, &index);
    client_call_answer_end(frame->remote);
    if (plan.info.needToFreeIdxStr)
        client_real.sqlite3_free(plan.info.idxStr);
    plan_done(&plan);
}
