/* A loadable extension, for local_test.c: all its calls go through the table that SQLite hands it. */
#include <stddef.h>

#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1

static void from_extension(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    char *text = sqlite3_mprintf("%s, %d and %.1f", sqlite3_value_text(values[0]), 7, 0.5);
    sqlite3_result_text(context, text, -1, sqlite3_free);
}

int extension_init(sqlite3 *db, char **ret_error, const sqlite3_api_routines *api);

int extension_init(sqlite3 *db, char **ret_error, const sqlite3_api_routines *api)
{
    (void)ret_error;
    SQLITE_EXTENSION_INIT2(api);
    return sqlite3_create_function(db, "from_extension", 1, SQLITE_UTF8, NULL, from_extension, NULL, NULL);
}
