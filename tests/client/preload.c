/* Preloaded before the other libraries, for test_local.py: counts the application's calls of sqlite3_step() and passes
 * them on. What libsqlite3 calls of itself comes here, too, if it is not bound to itself. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

struct sqlite3_stmt;
int sqlite3_step(struct sqlite3_stmt *stmt);
static int calls;

int sqlite3_step(struct sqlite3_stmt *stmt)
{
    int (*next)(struct sqlite3_stmt *) = (int (*)(struct sqlite3_stmt *))dlsym(RTLD_NEXT, "sqlite3_step");
    calls++;
    return next(stmt);
}

static __attribute__((destructor)) void report(void)
{
    (void)fprintf(stderr, "sqlite3_step: %d\n", calls);
}
