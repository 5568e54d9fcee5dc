/* tests/client/parity_data.c: blobs, backups, images. */
#include "parity.h"

static sqlite3 *db;

/* --- Blobs --- */

static void read_blob(sqlite3_blob *blob, int bytes, int offset)
{
    char read[64] = "";
    int code = sqlite3_blob_read(blob, read, bytes, offset);
    say("read %d at %d: %d '%.*s', %d/%d %s", bytes, offset, code, code == SQLITE_OK ? bytes : 0, read,
        sqlite3_errcode(db), sqlite3_extended_errcode(db), sqlite3_errmsg(db));
}

static void open_errors(void)
{
    sqlite3_blob *blob;
    result(db, "no table", sqlite3_blob_open(db, "main", "none", "b", 1, 0, &blob));
    say("blob %s", blob == NULL ? "null" : "set");
    result(db, "no column", sqlite3_blob_open(db, "main", "t", "none", 1, 0, &blob));
    result(db, "no row", sqlite3_blob_open(db, "main", "t", "b", 99, 0, &blob));
    result(db, "no database", sqlite3_blob_open(db, "none", "t", "b", 1, 0, &blob));
    result(db, "integer", sqlite3_blob_open(db, "main", "t", "c", 1, 0, &blob));
    result(db, "null", sqlite3_blob_open(db, "main", "t", "b", 3, 0, &blob));
    result(db, "key", sqlite3_blob_open(db, "main", "t", "a", 1, 1, &blob));
    result(db, "view", sqlite3_blob_open(db, "main", "v", "b", 1, 0, &blob));
    result(db, "without rowid", sqlite3_blob_open(db, "main", "w", "k", 1, 0, &blob));
    result(db, "indexed", sqlite3_blob_open(db, "main", "i", "b", 1, 1, &blob));
    result(db, "indexed, to read", sqlite3_blob_open(db, "main", "i", "b", 1, 0, &blob));
    result(db, "close", sqlite3_blob_close(blob));
    result(db, "null", sqlite3_blob_close(NULL));
}

static void large(void)
{
    enum { BYTES = 3 * 1024 * 1024 + 17 };
    unsigned char *bytes = malloc(BYTES), *back = malloc(BYTES);
    for (int i = 0; i < BYTES; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    sqlite3_blob *blob;
    run(db, "INSERT INTO t VALUES (50, zeroblob(3 * 1024 * 1024 + 17), 0)");
    result(db, "open", sqlite3_blob_open(db, "main", "t", "b", 50, 1, &blob));
    say("bytes %d", sqlite3_blob_bytes(blob));
    result(db, "write", sqlite3_blob_write(blob, bytes, BYTES, 0));
    result(db, "read", sqlite3_blob_read(blob, back, BYTES, 0));
    say("%s", memcmp(bytes, back, BYTES) == 0 ? "the same" : "different");
    result(db, "read", sqlite3_blob_read(blob, back, BYTES - 5, 5));
    say("%s", memcmp(bytes + 5, back, BYTES - 5) == 0 ? "the same" : "different");
    result(db, "close", sqlite3_blob_close(blob));
    free(bytes);
    free(back);
}

void part_blob(void)
{
    db = open_database(first_name);
    run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b, c); CREATE VIEW v AS SELECT * FROM t");
    run(db, "CREATE TABLE w(k PRIMARY KEY) WITHOUT ROWID; CREATE TABLE i(b); CREATE INDEX j ON i(b)");
    run(db, "INSERT INTO t VALUES (1, x'6162636465666768', 5), (2, 'text of a row', 1.5), (3, NULL, NULL), (4, '', 0)");
    run(db, "INSERT INTO i VALUES ('indexed')");
    open_errors();
    sqlite3_blob *blob;
    result(db, "open", sqlite3_blob_open(db, "main", "t", "b", 1, 1, &blob));
    say("bytes %d", sqlite3_blob_bytes(blob));
    read_blob(blob, 8, 0);
    read_blob(blob, 3, 2);
    read_blob(blob, 0, 8);
    read_blob(blob, 1, 8);
    read_blob(blob, -1, 0);
    read_blob(blob, 1, -1);
    read_blob(blob, 2000000000, 2000000000);
    result(db, "write", sqlite3_blob_write(blob, "XY", 2, 6));
    result(db, "write", sqlite3_blob_write(blob, "XYZ", 3, 6));
    result(db, "write", sqlite3_blob_write(blob, "", 0, 0));
    result(db, "reopen", sqlite3_blob_reopen(blob, 2));
    say("bytes %d", sqlite3_blob_bytes(blob));
    read_blob(blob, 13, 0);
    result(db, "write", sqlite3_blob_write(blob, "TEXT", 4, 0));
    result(db, "close", sqlite3_blob_close(blob));
    run(db, "SELECT a, b FROM t WHERE a < 3");

    result(db, "read-only", sqlite3_blob_open(db, "main", "t", "b", 2, 0, &blob));
    result(db, "write", sqlite3_blob_write(blob, "no", 2, 0));
    result(db, "reopen in vain", sqlite3_blob_reopen(blob, 77));
    say("bytes %d", sqlite3_blob_bytes(blob));
    read_blob(blob, 1, 0);
    result(db, "reopen", sqlite3_blob_reopen(blob, 1));
    result(db, "close", sqlite3_blob_close(blob));

    result(db, "empty", sqlite3_blob_open(db, "main", "t", "b", 4, 0, &blob));
    read_blob(blob, 0, 0);
    result(db, "close", sqlite3_blob_close(blob));

    result(db, "expires", sqlite3_blob_open(db, "main", "t", "b", 1, 1, &blob));
    run(db, "UPDATE t SET c = 9 WHERE a = 1");
    read_blob(blob, 1, 0);
    result(db, "write", sqlite3_blob_write(blob, "x", 1, 0));
    say("bytes %d", sqlite3_blob_bytes(blob));
    result(db, "reopen", sqlite3_blob_reopen(blob, 2));
    result(db, "close", sqlite3_blob_close(blob));

    run(db, "BEGIN");
    result(db, "in a transaction", sqlite3_blob_open(db, "main", "t", "b", 2, 1, &blob));
    result(db, "write", sqlite3_blob_write(blob, "roll", 4, 0));
    result(db, "close", sqlite3_blob_close(blob));
    run(db, "ROLLBACK; SELECT b FROM t WHERE a = 2");
    large();

    result(db, "left open", sqlite3_blob_open(db, "main", "t", "b", 2, 0, &blob));
    result(db, "close", sqlite3_close(db));
    result(db, "close", sqlite3_blob_close(blob));
    close_database(db);
}

/* --- Backups --- */

static void fill(sqlite3 *to, const char *table, int rows)
{
    char sql[300];
    snprintf(
        sql, sizeof(sql),
        "CREATE TABLE %s(a INTEGER PRIMARY KEY, b); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c "
        "WHERE n < %d) INSERT INTO %s SELECT n, printf('%%0500d', n) FROM c",
        table, rows, table);
    result(to, "fill", sqlite3_exec(to, sql, NULL, NULL, NULL));
}

static void copy(const char *what, sqlite3 *to, sqlite3 *from, int pages)
{
    say("%s", what);
    depth++;
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    if (backup == NULL) {
        result(to, "init", sqlite3_errcode(to));
        depth--;
        return;
    }
    say("pages %d, remaining %d", sqlite3_backup_pagecount(backup), sqlite3_backup_remaining(backup));
    int code, steps = 0;
    do {
        code = sqlite3_backup_step(backup, pages);
        if (steps++ < 3)
            say("step %d: pages %s, remaining %s", code, sqlite3_backup_pagecount(backup) > 0 ? "some" : "none",
                sqlite3_backup_remaining(backup) > 0 ? "some" : "none");
    } while (code == SQLITE_OK);
    say("the last step: %d, remaining %d, %s", code, sqlite3_backup_remaining(backup), steps > 3 ? "many" : "few");
    say("once more: %d", sqlite3_backup_step(backup, 1));
    result(to, "finish", sqlite3_backup_finish(backup));
    run(to, "SELECT count(*), max(a), length(max(b)) FROM t; PRAGMA integrity_check");
    depth--;
}

static void backup_errors(sqlite3 *other)
{
    say("same: %s", sqlite3_backup_init(db, "main", db, "main") == NULL ? "null" : "backup");
    result(db, "same", sqlite3_errcode(db));
    say("source: %s", sqlite3_backup_init(db, "main", other, "nowhere") == NULL ? "null" : "backup");
    result(db, "source", sqlite3_errcode(db));
    say("destination: %s", sqlite3_backup_init(db, "nowhere", other, "main") == NULL ? "null" : "backup");
    result(db, "destination", sqlite3_errcode(db));
    result(db, "begin", sqlite3_exec(db, "BEGIN; SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL));
    say("in use: %s", sqlite3_backup_init(db, "main", other, "main") == NULL ? "null" : "backup");
    result(db, "in use", sqlite3_errcode(db));
    result(db, "rollback", sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL));
    result(db, "null", sqlite3_backup_finish(NULL));
}

void part_backup(void)
{
    db = open_database(first_name);
    sqlite3 *second = open_database(second_name), *memory;
    sqlite3_open(":memory:", &memory);
    fill(db, "t", 300);
    backup_errors(second);
    copy("into memory, all at once", memory, db, -1);
    copy("the other, in steps", second, db, 5);
    run(second, "DELETE FROM t WHERE a > 10; CREATE TABLE u(x)");
    copy("back", db, second, 1000);
    run(db, "SELECT name FROM sqlite_schema ORDER BY name");
    run(memory, "INSERT INTO t VALUES (1000, 'from memory')");
    copy("from memory", db, memory, 7);
    sqlite3_stmt *stmt;
    result(db, "prepare", sqlite3_prepare_v2(db, "SELECT max(a) FROM t", -1, &stmt, NULL));
    copy("under a statement", db, second, -1);
    result(db, "step", sqlite3_step(stmt));
    say_value("max", sqlite3_column_value(stmt, 0));
    sqlite3_finalize(stmt);

    say("the source changes meanwhile");
    sqlite3_backup *backup = sqlite3_backup_init(second, "main", db, "main");
    say("step %d", sqlite3_backup_step(backup, 1));
    run(db, "INSERT INTO t VALUES (5000, 'in between')");
    say("step %d", sqlite3_backup_step(backup, 1));
    say("step %d", sqlite3_backup_step(backup, -1));
    result(second, "finish", sqlite3_backup_finish(backup));
    run(second, "SELECT max(a) FROM t; PRAGMA integrity_check");
    say("the temporary database");
    backup = sqlite3_backup_init(second, "main", db, "temp");
    say("step %d", sqlite3_backup_step(backup, -1));
    result(second, "finish", sqlite3_backup_finish(backup));
    run(second, "SELECT count(*) FROM sqlite_schema");
    copy("again", second, db, 3);

    say("given up");
    backup = sqlite3_backup_init(second, "main", memory, "main");
    say("step %d", sqlite3_backup_step(backup, 2));
    result(second, "finish", sqlite3_backup_finish(backup));
    run(second, "SELECT count(*) FROM t");

    backup = sqlite3_backup_init(second, "main", db, "main");
    say("with a backup: %d", sqlite3_close(db));
    result(second, "finish", sqlite3_backup_finish(backup));
    run(db, "BEGIN; DELETE FROM t");
    backup = sqlite3_backup_init(second, "main", db, "main");
    say("while the source writes: %d", sqlite3_backup_step(backup, 1));
    result(db, "rollback", sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL));
    say("and when it does not: %d", sqlite3_backup_step(backup, -1));
    result(second, "finish", sqlite3_backup_finish(backup));
    close_database(memory);
    close_database(second);
    close_database(db);
}

/* --- Images --- */

void part_serialize(void)
{
    db = open_database(first_name);
    fill(db, "t", 100);
    sqlite3_int64 bytes = -5;
    unsigned char *image = sqlite3_serialize(db, "main", &bytes, 0);
    say("image %s, %s, '%.15s'", image != NULL ? "there" : "null", bytes > 50000 && bytes % 512 == 0 ? "pages" : "none",
        image != NULL ? (const char *)image : "");
    sqlite3_int64 again = -5;
    const unsigned char *none = sqlite3_serialize(db, "main", &again, SQLITE_SERIALIZE_NOCOPY);
    say("no copy: %s, %s", none == NULL ? "null" : "there", again == bytes ? "the same size" : "another");
    again = -5;
    none = sqlite3_serialize(db, "nowhere", &again, 0);
    say("nowhere: %s, %lld", none == NULL ? "null" : "there", again);

    sqlite3 *second = open_database(memory_name);
    again = -5;
    none = sqlite3_serialize(second, "main", &again, 0);
    say("empty: %s, %lld", none == NULL ? "null" : "there", again);
    run(second, "CREATE TABLE gone(x)");
    unsigned char *copied = sqlite3_malloc64((sqlite3_uint64)bytes);
    memcpy(copied, image, (size_t)bytes);
    copied[18] = copied[19] = 1; /* not in WAL mode: a database in memory cannot be */
    result(second, "deserialize",
           sqlite3_deserialize(second, "main", copied, bytes, bytes,
                               SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE));
    run(second, "SELECT count(*), max(a) FROM t; SELECT name FROM sqlite_schema; INSERT INTO t VALUES (500, 'more')");
    run(second, "SELECT count(*) FROM t; PRAGMA integrity_check");
    close_database(second);

    second = open_database(memory_name);
    run(second, "SELECT name FROM sqlite_schema");
    copied = sqlite3_malloc64((sqlite3_uint64)bytes);
    memcpy(copied, image, (size_t)bytes);
    copied[18] = copied[19] = 1;
    result(second, "read-only",
           sqlite3_deserialize(second, "main", copied, bytes, bytes,
                               SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY));
    run(second, "SELECT count(*) FROM t; INSERT INTO t VALUES (500, 'more')");
    say("nowhere: %d",
        sqlite3_deserialize(second, "nowhere", sqlite3_malloc64(10), 10, 10, SQLITE_DESERIALIZE_FREEONCLOSE));
    close_database(second);
    sqlite3_free(image);
    close_database(db);
}
