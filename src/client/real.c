/* client/real.c: finds and loads the real SQLite library, before main() and before any constructor of a library that
 * needs us: then each exported function can jump through `client_real` without asking whether it is filled.
 *
 * It is loaded by its absolute path, RTLD_LOCAL: the application's references to sqlite3_… have been bound to us, and
 * who asks the dynamic linker for libsqlite3.so.0 from now on gets us as well, because we bear that name and were first.
 * What the real library calls of itself is bound to itself (rebind.h).
 *
 * A process whose real library cannot be loaded ends here, with a message and exit code 127, as the dynamic linker ends
 * those that lack a library or a symbol. To go on would mean to call through null pointers later.
 *
 * Invariants:
 *   1. client_real is complete once client_real_start() has returned, and never changes again.
 *   2. The real library is never this one, nor another copy of it: such a one exports `sqld_client_marker`. */
#include "client/real.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/rebind.h"

#ifndef CLIENT_REAL_PATH
#error "CLIENT_REAL_PATH: the absolute path of the system's libsqlite3, from CMake"
#endif

enum { EXIT_CODE_NO_LIBRARY = 127 };

struct client_api client_real;

/* The application's variables: it sees these, or its own copies of them, and so does the real library (rebind.h). */
char *sqlite3_data_directory;
char *sqlite3_temp_directory;
/* The application may hold a read-only copy of it, made before this library's first instruction: it can only be what
 * stood here when we were built. sqlite3_libversion() asks the real library. */
const char sqlite3_version[] = SQLITE_VERSION;

__attribute__((visibility("default"))) extern const char sqld_client_marker[];
const char sqld_client_marker[] = "sqld " SQLD_VERSION;

/* Name and place in struct client_api of each function. */
static const struct function {
    const char *name;
    size_t offset;
} functions[] = {
#define FUNCTION(name) {#name, offsetof(struct client_api, name)},
#define CLIENT_DATA(name, class_, definition)
#define CLIENT_CONNECTION(name, class_, unopened, result, ...) FUNCTION(name)
#define CLIENT_PASS(name, object, class_, result, ...) FUNCTION(name)
#define CLIENT_PASS0(name, object, class_, result) FUNCTION(name)
#define CLIENT_VARIADIC(name, object, class_, result, ...) FUNCTION(name)
#define CLIENT_OWN(name, object, class_, result, ...) FUNCTION(name)
#include "client/api.inc"
};
enum { FUNCTION_COUNT = sizeof(functions) / sizeof(functions[0]) };
_Static_assert(sizeof(struct client_api) == FUNCTION_COUNT * sizeof(void *), "struct client_api is pointers only");

const char *client_real_path(void)
{
    /* A set-uid program must not load what its user names. */
    const char *path = secure_getenv("SQLD_REAL_SQLITE");
    return path != NULL && path[0] != '\0' ? path : CLIENT_REAL_PATH;
}

static sq_status check_path(const char *path, struct sq_error *err)
{
    if (path[0] != '/')
        return sq_fail(err, SQ_INVALID, "'%s': not an absolute path", path);
    struct stat theirs, ours;
    Dl_info info;
    if (dladdr(sqld_client_marker, &info) != 0 && stat(info.dli_fname, &ours) == 0 && stat(path, &theirs) == 0 &&
        ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
        return sq_fail(err, SQ_INVALID, "'%s' is this drop-in library itself, not the real SQLite", path);
    return SQ_OK;
}

/* The functions of a library, into `api`. */
static sq_status functions_find(void *library, const char *path, struct sq_error *err, struct client_api *api)
{
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        void *address = dlsym(library, functions[i].name);
        if (address == NULL)
            return sq_fail(err, SQ_NOT_FOUND, "'%s' has no %s()", path, functions[i].name);
        memcpy((char *)api + functions[i].offset, (const void *)&address, sizeof(address));
    }
    return SQ_OK;
}

sq_status client_real_load(const char *path, struct sq_error *err, struct client_api *api)
{
    SQ_TRY(check_path(path, err));
    /* RTLD_NODELETE: the pointers stay good. */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL)
        return sq_fail(err, SQ_NOT_FOUND, "%s", dlerror());
    if (dlsym(library, "sqld_client_marker") != NULL)
        return sq_fail(err, SQ_INVALID, "'%s' is a drop-in library like this one, not the real SQLite", path);
    struct client_api found;
    SQ_TRY(functions_find(library, path, err, &found));
    const struct client_rebind_shared shared[] = {
        {"sqlite3_data_directory", (void *)&sqlite3_data_directory},
        {"sqlite3_temp_directory", (void *)&sqlite3_temp_directory},
    };
    SQ_TRY(client_rebind(library, shared, sizeof(shared) / sizeof(shared[0]), err));
    *api = found;
    return SQ_OK;
}

static __attribute__((constructor)) void client_real_start(void)
{
    struct sq_error err;
    sq_error_clear(&err);
    if (client_real_load(client_real_path(), &err, &client_real) == SQ_OK)
        return;
    (void)fprintf(stderr,
                  "sqld: libsqlite3.so.0 (drop-in): the real SQLite library cannot be used: %s\n"
                  "sqld: name it in the environment: SQLD_REAL_SQLITE=/path/to/libsqlite3.so.0\n",
                  err.text);
    _exit(EXIT_CODE_NO_LIBRARY);
}
