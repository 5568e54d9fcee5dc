/* client/auto_extension.c: see auto_extension.h.
 *
 * Invariants: (1) `list` is guarded by `mutex`, which is not held while an entry point runs: it may change the list;
 * (2) `routines`, once made, does not change. */
#include "client/auto_extension.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Only for the structure: no names are to be replaced by members of it. */
#define SQLITE_CORE 1
#include <sqlite3ext.h>

typedef int entry_point(sqlite3 *db, char **ret_message, const struct sqlite3_api_routines *routines);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    void (**entries)(void);
    size_t count;
} list;
static _Thread_local bool is_inner; /* the connection being opened is none of the application's */

/* --- The table of functions ------------------------------------------------------------------------------------------ */

static struct sqlite3_api_routines our_routines;
static const struct sqlite3_api_routines *routines; /* NULL until the real library has shown its own */

typedef void (*function)(void);

/* Where the real library's function is in client_real, and ours. */
static const struct {
    size_t offset;
    function ours;
} functions[] = {
#define FUNCTION(name) {offsetof(struct client_api, name), (function)name},
#define CLIENT_DATA(name, class_, definition)
#define CLIENT_CONNECTION(name, class_, unopened, result, ...) FUNCTION(name)
#define CLIENT_PASS(name, object, class_, result, ...) FUNCTION(name)
#define CLIENT_PASS0(name, object, class_, result) FUNCTION(name)
#define CLIENT_VARIADIC(name, object, class_, result, ...) FUNCTION(name)
#define CLIENT_OWN(name, object, class_, result, ...) FUNCTION(name)
#include "client/api.inc"
};

static function ours_for(function real)
{
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        function known;
        memcpy(&known, (const char *)&client_real + functions[i].offset, sizeof(known));
        if (known == real)
            return functions[i].ours;
    }
    return real;
}

/* Whether the real library's table is the one that we know: releases with another second number have a longer one. */
static bool is_table_known(void)
{
    return client_real.sqlite3_libversion_number() / 1000 == SQLITE_VERSION_NUMBER / 1000;
}

/* Makes our table of the real library's. Under the mutex. */
static void routines_make(const struct sqlite3_api_routines *real)
{
    enum { COUNT = sizeof(our_routines) / sizeof(function) };
    _Static_assert(sizeof(our_routines) == COUNT * sizeof(function), "it is pointers only");
    if (routines != NULL || !is_table_known())
        return;
    for (size_t i = 0; i < COUNT; i++) {
        function member;
        memcpy(&member, (const char *)real + i * sizeof(member), sizeof(member));
        if (member != NULL)
            member = ours_for(member);
        memcpy((char *)&our_routines + i * sizeof(member), &member, sizeof(member));
    }
    routines = &our_routines;
}

/* --- Running --- */

/* The entry point at `index`; NULL: there is none. */
static entry_point *entry_at(size_t index)
{
    (void)pthread_mutex_lock(&mutex);
    entry_point *entry = index < list.count ? (entry_point *)list.entries[index] : NULL;
    (void)pthread_mutex_unlock(&mutex);
    return entry;
}

static int run(sqlite3 *db, char **ret_message, const struct sqlite3_api_routines *table)
{
    int code = SQLITE_OK;
    entry_point *entry;
    for (size_t i = 0; code == SQLITE_OK && (entry = entry_at(i)) != NULL; i++) {
        char *message = NULL;
        code = entry(db, &message, table);
        if (code != SQLITE_OK)
            *ret_message = message;
        else
            client_real.sqlite3_free(message);
    }
    return code;
}

/* The real library's only entry. */
static int run_local(sqlite3 *db, char **ret_message, const struct sqlite3_api_routines *real)
{
    (void)pthread_mutex_lock(&mutex);
    routines_make(real);
    const struct sqlite3_api_routines *table = routines != NULL ? routines : real;
    (void)pthread_mutex_unlock(&mutex);
    return is_inner ? SQLITE_OK : run(db, ret_message, table);
}

int client_inner_open(const char *filename, sqlite3 **ret_db, int flags)
{
    bool was_inner = is_inner;
    is_inner = true;
    int code = client_real.sqlite3_open_v2(filename, ret_db, flags, NULL);
    is_inner = was_inner;
    return code;
}

int client_auto_extension_run(sqlite3 *db, char **ret_message)
{
    *ret_message = NULL;
    if (entry_at(0) == NULL)
        return SQLITE_OK;
    (void)pthread_mutex_lock(&mutex);
    const struct sqlite3_api_routines *table = routines; /* its shadow has been opened */
    (void)pthread_mutex_unlock(&mutex);
    if (table != NULL)
        return run(db, ret_message, table);
    client_real.sqlite3_log(SQLITE_WARNING, "automatic extensions do not see remote databases: SQLite %s is not %s",
                            client_real.sqlite3_libversion(), SQLITE_VERSION);
    return SQLITE_OK;
}

/* --- The interface --- */

/* Under the mutex; list.count: it is not there. */
static size_t find(void (*entry)(void))
{
    size_t i = 0;
    while (i < list.count && list.entries[i] != entry)
        i++;
    return i;
}

int sqlite3_auto_extension(void (*entry)(void))
{
    int code = client_real.sqlite3_auto_extension((function)run_local); /* it is there once */
    if (code != SQLITE_OK || entry == NULL)
        return code;
    (void)pthread_mutex_lock(&mutex);
    if (find(entry) == list.count) {
        void (**entries)(void) = realloc(list.entries, (list.count + 1) * sizeof(*entries));
        if (entries != NULL) {
            list.entries = entries;
            entries[list.count++] = entry;
        } else {
            code = SQLITE_NOMEM;
        }
    }
    (void)pthread_mutex_unlock(&mutex);
    return code;
}

int sqlite3_cancel_auto_extension(void (*entry)(void))
{
    (void)pthread_mutex_lock(&mutex);
    size_t at = find(entry);
    int count = at < list.count;
    if (count > 0)
        list.entries[at] = list.entries[--list.count]; /* as SQLite does */
    (void)pthread_mutex_unlock(&mutex);
    return count;
}

static void forget(void)
{
    (void)pthread_mutex_lock(&mutex);
    free(list.entries);
    list.entries = NULL;
    list.count = 0;
    (void)pthread_mutex_unlock(&mutex);
}

void sqlite3_reset_auto_extension(void)
{
    client_real.sqlite3_reset_auto_extension();
    forget();
}

/* It forgets them, too. */
int sqlite3_shutdown(void)
{
    int code = client_real.sqlite3_shutdown();
    if (code == SQLITE_OK)
        forget();
    return code;
}
