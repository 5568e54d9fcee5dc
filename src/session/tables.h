/* session/tables.h: the tables that SHOW gives to operators. A table is made as one JSON array of arrays of text, which
 * the SQL function sqld_table() returns. */
#ifndef SQ_SESSION_TABLES_H
#define SQ_SESSION_TABLES_H

#include <stddef.h>

#include "base/status.h"

struct session;
struct sq_buf;

enum { SESSION_TABLE_COLUMNS_MAX = 15 };

struct session_table {
    const char *name;                                   /* SHOW name */
    const char *columns[SESSION_TABLE_COLUMNS_MAX + 1]; /* NULL behind the last */
    /* Appends the rows, separated by commas. */
    sq_status (*rows_cb)(struct session *session, struct sq_buf *out, struct sq_error *err);
};

/* The table of that name (any case), or NULL. */
const struct session_table *session_table_find(const char *name);
/* Appends the table's JSON. */
SQ_MUST_USE sq_status session_table_put(struct session *session, const struct session_table *table, struct sq_buf *out,
                                        struct sq_error *err);

#endif
