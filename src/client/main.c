/* client/main.c: a program of the build, not installed: prints what api.inc says.
 *
 *     client_table              docs/client-compatibility.md
 *     client_table --symbols    the exported names, one a line, in the order of strcmp() */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/api.h"

enum object { CONNECTION, STATEMENT, VALUE, CONTEXT, BLOB, BACKUP, NONE, OBJECT_COUNT };
enum class { WORKS, REVERSE, REFUSED, CLASS_COUNT };

struct entry {
    const char *name;
    const char *declaration; /* "result (parameters)" */
    enum object object;
    enum class class;
    bool is_variable;
};

#define ENTRY(name, object, class_, declaration) {#name, declaration, object, class_, false},
#define CLIENT_DATA(name, class_, definition) {#name, #definition, NONE, class_, true},
#define CLIENT_CONNECTION(name, class_, unopened, result, ...)                                                         \
    ENTRY(name, CONNECTION, class_, #result " (" #__VA_ARGS__ ")")
#define CLIENT_PASS(name, object, class_, result, ...) ENTRY(name, object, class_, #result " (" #__VA_ARGS__ ")")
#define CLIENT_PASS0(name, object, class_, result) ENTRY(name, object, class_, #result " (void)")
#define CLIENT_VARIADIC(name, object, class_, result, ...)                                                             \
    ENTRY(name, object, class_, #result " (" #__VA_ARGS__ ", ...)")
#define CLIENT_OWN(name, object, class_, result, ...) ENTRY(name, object, class_, #result " (" #__VA_ARGS__ ")")
static struct entry entries[] = {
#include "client/api.inc"
};
enum { ENTRY_COUNT = sizeof(entries) / sizeof(entries[0]) };

static const char *const object_names[OBJECT_COUNT] = {
    [CONNECTION] = "connection",
    [STATEMENT] = "statement",
    [VALUE] = "value",
    [CONTEXT] = "context",
    [BLOB] = "blob",
    [BACKUP] = "backup",
    [NONE] = "–",
};
static const char *const class_names[CLASS_COUNT] = {
    [WORKS] = "works",
    [REVERSE] = "reverse call",
    [REFUSED] = "refused",
};

static const char introduction[] =
    "# What the drop-in library does\n"
    "\n"
    "`build/lib/libsqlite3.so.0` takes the place of SQLite's library. This list is made from `src/client/api.inc` "
    "(`make docs`), from which the library itself is made too.\n"
    "\n"
    "Every function works on **local** databases: it goes to the real SQLite library. **Remote** databases are those "
    "of an sqld server: a `postgresql://`, `postgres://` or `sqld://` URL, a stub file, or with `SQLD_URL` any name "
    "that it maps. What a function does on them is the column *remote*:\n"
    "\n"
    "- **works**: the same result codes, values and side effects as SQLite's. What has no object of a database as its "
    "first parameter (memory, strings, mutexes, VFS, changesets) knows no difference.\n"
    "- **reverse call**: the server calls back; the callback runs in the client's process, in the thread that called.\n"
    "- **refused**: an SQLite error code and a message that says what is refused. File controls of a particular VFS "
    "are refused, too, though `sqlite3_file_control()` works.\n"
    "\n"
    "*Object* is what the first parameter is. The tests are `tests/client/parity*.c`, programs that must print the "
    "same with SQLite and a file as with this library and a server, and CPython's own.\n"
    "\n"
    "## Which names are remote\n"
    "\n"
    "| environment | |\n"
    "|---|---|\n"
    "| `SQLD_URL` | the server of names that are no URLs. Each name, `sub/shop.db` too, is the database of its base "
    "name: `shop` |\n"
    "| `SQLD_MAP` | only these: `PATTERN[=DATABASE]`, separated by `:`; `*` in both |\n"
    "| `SQLD_LOCAL` | directories whose files stay local; default `/usr:/proc:/sys:/dev` |\n"
    "| `SQLD_MAP_MEMORY=1` | `:memory:` too: a private database in the server's memory; "
    "`file:NAME?mode=memory&cache=shared` is shared within the process |\n"
    "| `SQLD_IMPORT=1` | files with contents go to the server (client.md) |\n"
    "| `SQLD_FRESH=1` | a file that is missing stands for a new database, even if the server has one of that name "
    "(test suites) |\n"
    "| `SQLD_REAL_SQLITE` | another real library |\n"
    "\n"
    "A name that is opened for the first time becomes a stub: a text file with the server's URL (without its password) "
    "and the database's name. Stubs work without `SQLD_URL`. A file that was deleted is a new, empty database when it "
    "is opened again on the same machine; the old one stays on the server under another name. A file with contents "
    "stays local, with a warning, or goes to the server with `SQLD_IMPORT=1` (client.md). `ATTACH` takes such names, "
    "too, if they are of the same server; in a local "
    "connection, `ATTACH` and `VACUUM INTO` of a remote name fail with `SQLITE_CANTOPEN`.\n"
    "\n"
    "## What is different on a remote database\n"
    "\n"
    "- The log is always the write-ahead log: a reader does not keep a writer from committing, as it does with a "
    "rollback journal.\n"
    "- Rows are fetched ahead, unless a hook or function could see it. A statement whose rows have all been fetched "
    "holds no lock, though `sqlite3_step()` has not said `SQLITE_DONE` yet. While the server looks for a row that is "
    "fetched ahead, the connection's other statements wait.\n"
    "- What names a VFS stays local. `file:NAME?mode=memory&cache=shared` is remote with `SQLD_MAP_MEMORY=1`, but "
    "cannot be "
    "attached; `sqlite3_unlock_notify()` calls back at once.\n"
    "- `VACUUM INTO` writes what its name means here: a local file, or a database of a server.\n"
    "- `PRAGMA database_list` gives names of files as `sqlite3_db_filename()` does; the column `file` of the table "
    "`pragma_database_list` is NULL.\n"
    "- `PRAGMA writable_schema` and its like are refused on a database that others use. SQLite's shell can make "
    "`temp.sqlite_parameters` all the same.\n"
    "- `sqlite3_auto_extension()` runs on remote connections, too, if the real library is of the release that this one "
    "was built with (3.40 and 3.40.1 are one); what it registers must be possible there.\n"
    "- `sqlite3_trace_v2()` does not see the statements that virtual tables run of their own; `sqlite3_trace()` does.\n"
    "- A rollback that undoes changes of the schema ends half-read statements with `SQLITE_ABORT_ROLLBACK`, as in "
    "SQLite, also those that read no table.\n"
    "- `xColumn` and `xRowid` of a virtual table may be called for what all rows before have been asked for, though "
    "this row turns out not to need it. A module with `xShadowName` has its shadow tables protected, since a server's "
    "database is defensive; 16 such modules are possible in a connection.\n"
    "- Within `xFindFunction` and `xShadowName` the connection cannot be used; within `xCreate`, `xConnect` and "
    "`xBestIndex` no module can be registered, no database attached, detached or vacuumed, no table altered.\n"
    "- `sqlite3_value_frombind()` and `sqlite3_value_nochange()` know arguments, not copies of them.\n"
    "- `sqlite3_stmt_status()` of a statement that was prepared before with the same text may count its former runs, "
    "too.\n"
    "- A lost connection is made again unnoticed when no transaction is open; functions, hooks, attached databases and "
    "settings come back. What cannot come back is said with `SQLITE_IOERR` (extended code 51210) and a message: an "
    "open transaction, a half-read statement, temporary tables, a database in memory. When the answer to a COMMIT was "
    "lost, the message says that its outcome is unknown.\n"
    "- A forked child gets `SQLITE_MISUSE` for its parent's connections, and does not disturb them.\n";

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* `text` without the line breaks that a macro's argument may hold, '|' escaped: a cell of a Markdown table. */
static void print_cell(const char *text)
{
    for (; *text != '\0'; text++)
        printf(*text == '|' ? "\\%c" : "%c", *text);
}

static void print_document(void)
{
    int counts[CLASS_COUNT] = {0};
    for (size_t i = 0; i < ENTRY_COUNT; i++)
        counts[entries[i].class]++;
    printf("%s\n## Functions\n\n%d symbols: %d work, %d by reverse calls, %d are refused.\n\n", introduction,
           ENTRY_COUNT, counts[WORKS], counts[REVERSE], counts[REFUSED]);
    printf("| symbol | type | object | local | remote |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        const struct entry *entry = &entries[i];
        printf("| `%s` | `", entry->name);
        print_cell(entry->declaration);
        printf("` | %s | works | %s |\n", entry->is_variable ? "variable" : object_names[entry->object],
               class_names[entry->class]);
    }
}

int main(int argc, char **argv)
{
    qsort(entries, ENTRY_COUNT, sizeof(entries[0]), compare);
    if (argc == 2 && strcmp(argv[1], "--symbols") == 0) {
        for (size_t i = 0; i < ENTRY_COUNT; i++)
            printf("%s\n", entries[i].name);
    } else if (argc == 1) {
        print_document();
    } else {
        (void)fprintf(stderr, "usage: client_table [--symbols]\n");
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
