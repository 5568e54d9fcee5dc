/* tests/client/parity.h: what the parts of parity share. */
#ifndef PARITY_H
#define PARITY_H

#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line of the log. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Where the log stands: lines behind are indented. */
extern int depth;

/* The databases' names; the last one's is in memory. */
extern const char *first_name, *second_name, *memory_name;

sqlite3 *open_database(const char *name);
void close_database(sqlite3 *db);

/* Runs all statements of `sql` and logs their rows and results. */
void run(sqlite3 *db, const char *sql);
/* Logs a result code of a call, and the connection's error if it is one. */
void result(sqlite3 *db, const char *what, int code);
/* Logs a value as it is, without converting it. */
void say_value(const char *what, sqlite3_value *value);
/* A destructor that logs; its argument is a name. */
void destroyed(void *name);

void part_prepare(void);
void part_prepare16(void);
void part_columns(void);
void part_bind(void);
void part_step(void);
void part_schema_change(void);
void part_exec(void);
void part_connection_errors(void);
void part_transactions(void);
void part_names(void);
void part_settings(void);
void part_interrupt(void);
void part_threads(void);
void part_fork(void);
void part_close(void);
void part_scalar(void);
void part_results(void);
void part_errors(void);
void part_auxiliary(void);
void part_aggregate(void);
void part_window(void);
void part_registration(void);
void part_nesting(void);
void part_collation(void);
void part_collation_needed(void);
void part_update_hooks(void);
void part_preupdate(void);
void part_authorizer(void);
void part_progress(void);
void part_busy(void);
void part_wal(void);
void part_trace(void);
void part_blob(void);
void part_backup(void);
void part_serialize(void);
void part_explain(void);
void part_rollback(void);
void part_counters(void);
void part_database_list(void);
void part_attach_nothing(void);
void part_vacuum_into(void);
void part_file_control(void);
void part_metadata(void);
void part_parameters_table(void);
void part_auto_extension(void);
void part_table_reading(void);
void part_table_statements(void);
void part_table_writing(void);
void part_table_transactions(void);
void part_table_errors(void);
void part_table_kinds(void);
void part_table_nesting(void);

#endif
