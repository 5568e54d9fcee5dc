/* tests/client/parity.c: does what an application can do with functions, hooks, blobs and backups of its own, and
 * prints all that it sees. Run with local databases and with remote ones, it must print the same: test_parity.py
 * compares.
 *
 *     parity PART FIRST SECOND MEMORY     PART: a line of the table below; FIRST, SECOND: names of empty databases;
 *                                         MEMORY: of one in memory
 *     parity --list */
#include "parity.h"

#include <stdarg.h>

const char *first_name, *second_name, *memory_name;
int depth;

void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%*s", depth * 4, "");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

sqlite3 *open_database(const char *name)
{
    sqlite3 *db;
    int code = sqlite3_open(name, &db);
    if (code != SQLITE_OK) {
        fprintf(stderr, "open '%s': %d %s\n", name, code, sqlite3_errmsg(db));
        exit(1);
    }
    sqlite3_exec(db, "PRAGMA journal_mode=wal; PRAGMA foreign_keys=off", NULL, NULL, NULL);
    return db;
}

void close_database(sqlite3 *db)
{
    say("close %d", sqlite3_close(db));
}

static void say_bytes(const char *what, const char *type, const unsigned char *bytes, int length)
{
    char shown[200];
    int count = 0;
    for (int i = 0; i < length && i < 30; i++) {
        if (bytes[i] >= 32 && bytes[i] < 127)
            count += snprintf(shown + count, sizeof(shown) - (size_t)count, "%c", bytes[i]);
        else
            count += snprintf(shown + count, sizeof(shown) - (size_t)count, "\\%02x", bytes[i]);
    }
    shown[count] = '\0';
    say("%s: %s(%d) %s", what, type, length, shown);
}

void say_value(const char *what, sqlite3_value *value)
{
    const unsigned char *bytes;
    switch (sqlite3_value_type(value)) {
    case SQLITE_INTEGER:
        say("%s: integer %lld", what, sqlite3_value_int64(value));
        break;
    case SQLITE_FLOAT:
        say("%s: real %.17g", what, sqlite3_value_double(value));
        break;
    case SQLITE_TEXT:
        bytes = sqlite3_value_text(value);
        say_bytes(what, "text", bytes, sqlite3_value_bytes(value));
        break;
    case SQLITE_BLOB:
        bytes = sqlite3_value_blob(value);
        say_bytes(what, "blob", bytes, sqlite3_value_bytes(value));
        break;
    default:
        say("%s: null", what);
        break;
    }
}

void destroyed(void *name)
{
    say("destroyed: %s", (const char *)name);
}

void result(sqlite3 *db, const char *what, int code)
{
    if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE)
        say("%s: %d", what, code);
    else
        say("%s: %d, %d/%d %s", what, code, sqlite3_errcode(db), sqlite3_extended_errcode(db), sqlite3_errmsg(db));
}

void run(sqlite3 *db, const char *sql)
{
    while (*sql != '\0') {
        sqlite3_stmt *stmt = NULL;
        const char *tail;
        int code = sqlite3_prepare_v2(db, sql, -1, &stmt, &tail);
        say("> %.*s", (int)(tail - sql), sql);
        if (code != SQLITE_OK)
            result(db, "prepare", code);
        if (stmt == NULL)
            return;
        depth++;
        while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
            for (int i = 0; i < sqlite3_column_count(stmt); i++)
                say_value(sqlite3_column_name(stmt, i), sqlite3_column_value(stmt, i));
        }
        result(db, "step", code);
        code = sqlite3_finalize(stmt);
        if (code != SQLITE_OK)
            result(db, "finalize", code);
        depth--;
        sql = tail;
    }
}

static const struct part {
    const char *name;
    void (*run)(void);
} parts[] = {
    {"prepare", part_prepare},
    {"prepare16", part_prepare16},
    {"columns", part_columns},
    {"bind", part_bind},
    {"step", part_step},
    {"schema_change", part_schema_change},
    {"exec", part_exec},
    {"connection_errors", part_connection_errors},
    {"transactions", part_transactions},
    {"names", part_names},
    {"settings", part_settings},
    {"interrupt", part_interrupt},
    {"threads", part_threads},
    {"fork", part_fork},
    {"close", part_close},
    {"scalar", part_scalar},
    {"results", part_results},
    {"errors", part_errors},
    {"auxiliary", part_auxiliary},
    {"aggregate", part_aggregate},
    {"window", part_window},
    {"registration", part_registration},
    {"nesting", part_nesting},
    {"collation", part_collation},
    {"collation_needed", part_collation_needed},
    {"update_hooks", part_update_hooks},
    {"preupdate", part_preupdate},
    {"authorizer", part_authorizer},
    {"progress", part_progress},
    {"busy", part_busy},
    {"wal", part_wal},
    {"trace", part_trace},
    {"blob", part_blob},
    {"backup", part_backup},
    {"serialize", part_serialize},
    {"explain", part_explain},
    {"rollback", part_rollback},
    {"counters", part_counters},
    {"database_list", part_database_list},
    {"attach_nothing", part_attach_nothing},
    {"vacuum_into", part_vacuum_into},
    {"file_control", part_file_control},
    {"metadata", part_metadata},
    {"parameters_table", part_parameters_table},
    {"auto_extension", part_auto_extension},
    {"table_reading", part_table_reading},
    {"table_statements", part_table_statements},
    {"table_writing", part_table_writing},
    {"table_transactions", part_table_transactions},
    {"table_errors", part_table_errors},
    {"table_kinds", part_table_kinds},
    {"table_nesting", part_table_nesting},
};

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    bool is_list = argc == 2 && strcmp(argv[1], "--list") == 0;
    if (!is_list && argc != 5) {
        fprintf(stderr, "usage: parity PART FIRST SECOND MEMORY | --list\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (is_list) {
            printf("%s\n", parts[i].name);
        } else if (strcmp(argv[1], parts[i].name) == 0) {
            first_name = argv[2];
            second_name = argv[3];
            memory_name = argv[4];
            parts[i].run();
            say("end");
            return 0;
        }
    }
    return is_list ? 0 : 2;
}
