/* For test_local.py: one sqlite3_exec(), which steps three statements inside the library, and no sqlite3_step(). */
#include <sqlite3.h>
#include <stddef.h>

int main(void)
{
    sqlite3 *db;
    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        return 1;
    int code = sqlite3_exec(db, "CREATE TABLE t(a); INSERT INTO t VALUES(1); SELECT a FROM t", NULL, NULL, NULL);
    return sqlite3_close(db) == SQLITE_OK && code == SQLITE_OK ? 0 : 1;
}
