/* client/variadic.c: the exported functions that end in "…".
 *
 * C has no way to pass a "…" on. Where the real library has the function with a va_list, that one is called. For the
 * others the operation code says what follows it (https://sqlite.org/c3ref/config.html and the pages beside it): almost
 * always up to four integers and pointers. Each of them fills one general register or one 8-byte slot of the stack in
 * the calling conventions of 64-bit Linux, whether it is an int or wider, and the callee reads as many bits as it wants;
 * so they are passed on as words, also for operations that are newer than this file. Reading an argument that the caller
 * has not passed gives some bits that the real library then does not look at. The one operation with a floating-point
 * argument has its own line.
 *
 * Invariant: a word is as wide as a register and as each of int, pointer and sqlite3_int64 in an argument slot. */
#include <string.h>

#include "client/api.h"
#include "client/handle.h"
#include "client/remote.h"
#include "client/remote_api.h"

typedef sqlite3_int64 word;

_Static_assert(sizeof(void *) == sizeof(word) && sizeof(long) == sizeof(word),
               "arguments are passed on as 64-bit words");
#if !defined(__x86_64__) && !defined(__aarch64__) && !(defined(__riscv) && __riscv_xlen == 64)
#error "look up how this machine passes variable arguments, and whether they can be passed on as words"
#endif

/* As the real library's own buffer (SQLITE_PRINT_BUF_SIZE * 3), so that a long message is cut at the same place. */
enum { LOG_BYTES = 210 };

char *sqlite3_mprintf(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = client_real.sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    return text;
}

char *sqlite3_snprintf(int size, char *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = client_real.sqlite3_vsnprintf(size, to, format, arguments);
    va_end(arguments);
    return text;
}

void sqlite3_str_appendf(sqlite3_str *str, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    client_real.sqlite3_str_vappendf(str, format, arguments);
    va_end(arguments);
}

/* There is no sqlite3_vlog(). Like the real one, this takes no memory: it may be called when there is none. */
void sqlite3_log(int code, const char *format, ...)
{
    char text[LOG_BYTES];
    va_list arguments;
    va_start(arguments, format);
    client_real.sqlite3_vsnprintf((int)sizeof(text), text, format, arguments);
    va_end(arguments);
    client_real.sqlite3_log(code, "%s", text);
}

struct words {
    word w[4];
};

static struct words words_get(va_list arguments)
{
    struct words words = {{0}};
    for (size_t i = 0; i < sizeof(words.w) / sizeof(words.w[0]); i++)
        words.w[i] = va_arg(arguments, word);
    return words;
}

int sqlite3_config(int operation, ...)
{
    va_list arguments;
    va_start(arguments, operation);
    struct words words = words_get(arguments);
    va_end(arguments);
    return client_real.sqlite3_config(operation, words.w[0], words.w[1], words.w[2], words.w[3]);
}

static void *pointer_of(word value)
{
    void *pointer;
    memcpy(&pointer, &value, sizeof(pointer));
    return pointer;
}

/* https://sqlite.org/c3ref/c_dbconfig_defensive.html: all operations but two are switches, "int, int *". */
static int remote_db_config(sqlite3 *db, int operation, const struct words *words)
{
    if (client_remote_of(db) == NULL)
        return SQLITE_MISUSE;
    switch (operation) {
    case SQLITE_DBCONFIG_MAINDBNAME:
        return client_remote_db_config_main_name(db, pointer_of(words->w[0]));
    case SQLITE_DBCONFIG_LOOKASIDE:
        return client_remote_db_config_lookaside(db);
    default:
        return client_remote_db_config_switch(db, operation, (int)words->w[0], pointer_of(words->w[1]));
    }
}

int sqlite3_db_config(sqlite3 *db, int operation, ...)
{
    va_list arguments;
    va_start(arguments, operation);
    struct words words = words_get(arguments);
    va_end(arguments);
    if (client_handle_is_ours(db))
        return remote_db_config(db, operation, &words);
    return client_real.sqlite3_db_config(db, operation, words.w[0], words.w[1], words.w[2], words.w[3]);
}

int sqlite3_vtab_config(sqlite3 *db, int operation, ...)
{
    va_list arguments;
    va_start(arguments, operation);
    struct words words = words_get(arguments);
    va_end(arguments);
    if (client_handle_is_ours(db)) /* the other operations have no argument */
        return client_remote_vtab_config(db, operation,
                                         operation == SQLITE_VTAB_CONSTRAINT_SUPPORT ? (int)words.w[0] : 0);
    return client_real.sqlite3_vtab_config(db, operation, words.w[0], words.w[1], words.w[2], words.w[3]);
}

int sqlite3_test_control(int operation, ...)
{
    va_list arguments;
    va_start(arguments, operation);
    int result;
    if (operation == SQLITE_TESTCTRL_LOGEST) {
        double value = va_arg(arguments, double);
        int *logarithm = va_arg(arguments, int *);
        sqlite3_uint64 *integer = va_arg(arguments, sqlite3_uint64 *);
        int *back = va_arg(arguments, int *);
        result = client_real.sqlite3_test_control(operation, value, logarithm, integer, back);
    } else {
        struct words words = words_get(arguments);
        result = client_real.sqlite3_test_control(operation, words.w[0], words.w[1], words.w[2], words.w[3]);
    }
    va_end(arguments);
    return result;
}
