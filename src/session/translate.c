/* session/translate.c: the SQL of session commands. Names are quoted, never pasted in. */
#include "session/translate.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "session/command.h"
#include "session/session_internal.h"
#include "session/tables.h"

enum { TRANSLATE_SQL_MAX = 1 << 20 };

/* Appends `text` in quotes, doubling those inside. */
static void put_quoted(struct sq_buf *out, const char *text, char quote)
{
    sq_buf_put_u8(out, (uint8_t)quote);
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == quote)
            sq_buf_put_u8(out, (uint8_t)quote);
        sq_buf_put_u8(out, (uint8_t)*at);
    }
    sq_buf_put_u8(out, (uint8_t)quote);
}

static void put_name(struct sq_buf *out, const char *name)
{
    put_quoted(out, name, '"');
}

/* SHOW of a table for operators: the function gives it as one JSON array of rows, SQLite unpacks it. */
static void put_table(struct sq_buf *out, const struct session_table *table)
{
    sq_buf_put_text(out, "SELECT ");
    for (size_t i = 0; table->columns[i] != NULL; i++) {
        sq_buf_printf(out, "%svalue->>%zu AS ", i > 0 ? ", " : "", i);
        put_name(out, table->columns[i]);
    }
    sq_buf_printf(out, " FROM json_each(sqld_table('%s'))", table->name);
}

static sq_status put_show(struct session *session, const char *name, struct sq_buf *out, struct sq_error *err)
{
    const struct session_table *table = session_table_find(name != NULL ? name : "all");
    if (table != NULL) {
        put_table(out, table);
        return SQ_OK;
    }
    if (name != NULL && strcmp(name, "sqld.position") == 0) {
        sq_buf_put_text(out, "SELECT sqld_position() AS \"sqld.position\"");
        return SQ_OK;
    }
    const char *spelled = NULL;
    const char *value = NULL;
    SQ_TRY(settings_show(&session->settings, name, &spelled, &value, err));
    sq_buf_put_text(out, "SELECT current_setting(");
    put_quoted(out, spelled, '\'');
    sq_buf_put_text(out, ") AS ");
    put_name(out, spelled);
    return SQ_OK;
}

static sq_status put_truncate(const struct command_truncate *truncate, struct sq_buf *out, struct sq_error *err)
{
    if (truncate->table_count != 1 || truncate->is_restart_identity || truncate->is_cascade) {
        sq_status status = sq_fail_sql(err, SQ_SQL, "0A000",
                                       "TRUNCATE of several tables, RESTART IDENTITY and CASCADE are not supported");
        sq_error_set_hint(err, "Use one DELETE FROM for each table.");
        return status;
    }
    sq_buf_put_text(out, "DELETE FROM ");
    if (truncate->tables[0].schema != NULL) {
        put_name(out, truncate->tables[0].schema);
        sq_buf_put_u8(out, '.');
    }
    put_name(out, truncate->tables[0].name);
    return SQ_OK;
}

static void put_begin(const struct command_begin *begin, struct sq_buf *out)
{
    static const char *const words[] = {"BEGIN", "BEGIN DEFERRED", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"};
    sq_buf_put_text(out, words[begin->lock]);
}

static sq_status put_command(struct session *session, const struct command *command, struct sq_buf *out,
                             struct sq_error *err)
{
    switch (command->kind) {
    case COMMAND_SHOW:
        return put_show(session, command->name, out, err);
    case COMMAND_BEGIN:
        put_begin(&command->begin, out);
        return SQ_OK;
    case COMMAND_SAVEPOINT:
        sq_buf_put_text(out, "SAVEPOINT ");
        put_name(out, command->name);
        return SQ_OK;
    case COMMAND_RELEASE:
        sq_buf_put_text(out, "RELEASE ");
        put_name(out, command->name);
        return SQ_OK;
    case COMMAND_ROLLBACK_TO:
        sq_buf_put_text(out, "ROLLBACK TO ");
        put_name(out, command->name);
        return SQ_OK;
    case COMMAND_TRUNCATE:
        return put_truncate(&command->truncate, out, err);
    case COMMAND_ATTACH:
        /* SQLite's own temporary databases; other names are databases of this server. */
        if (command->attach.database[0] != '\0' && strcmp(command->attach.database, ":memory:") != 0)
            return SQ_OK;
        sq_buf_put_text(out, "ATTACH ");
        put_quoted(out, command->attach.database, '\'');
        sq_buf_put_text(out, " AS ");
        put_name(out, command->attach.alias);
        return SQ_OK;
    default:
        return SQ_OK;
    }
}

sq_status translate_command(struct session *session, const struct command *command, struct sq_arena *arena,
                            struct sq_error *err, const char **ret_sql)
{
    struct sq_buf sql;
    sq_buf_init(&sql, TRANSLATE_SQL_MAX);
    sq_status status = put_command(session, command, &sql, err);
    if (status == SQ_OK)
        status = sq_buf_check(&sql, err);
    *ret_sql = NULL;
    if (status == SQ_OK && sq_buf_length(&sql) > 0) {
        *ret_sql = sq_arena_copy(arena, sq_buf_bytes(&sql), sq_buf_length(&sql));
        if (*ret_sql == NULL)
            status = sq_fail(err, SQ_NOMEM, "out of memory for a command");
    }
    sq_buf_done(&sql);
    return status;
}
