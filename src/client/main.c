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
    "(`make "
    "docs`), from which the library itself is made too.\n"
    "\n"
    "**Today** every function works on local databases: it goes to the real SQLite library. **No function works on "
    "remote "
    "databases yet:** to open one (a `postgresql://`, `postgres://` or `sqld://` URL, a stub file, a name that "
    "`SQLD_URL` "
    "maps) fails with `SQLITE_CANTOPEN` and a message that says so. The column *remote* is the plan:\n"
    "\n"
    "- **works**: the same result codes, values and side effects as SQLite's. What has no object of a database as its "
    "first "
    "parameter (memory, strings, mutexes, VFS, changesets) knows no difference.\n"
    "- **reverse call**: the server calls back; the callback runs in the client's process, in the thread that called.\n"
    "- **refused**: an SQLite error code and a message that says what is refused. File controls of a particular VFS "
    "are "
    "refused, too, though `sqlite3_file_control()` works.\n"
    "\n"
    "*Object* is what the first parameter is. In a local connection, `ATTACH` and `VACUUM INTO` of a name that means a "
    "remote "
    "database fail with `SQLITE_CANTOPEN`.\n";

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
    printf("%s\n%d symbols: %d work, %d by reverse calls, %d are refused.\n\n", introduction, ENTRY_COUNT,
           counts[WORKS], counts[REVERSE], counts[REFUSED]);
    printf("| symbol | type | object | local | remote (planned) |\n|---|---|---|---|---|\n");
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
