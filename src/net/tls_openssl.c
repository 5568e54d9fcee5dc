/* net/tls_openssl.c: loads libssl, which brings libcrypto along.
 *
 * RTLD_LOCAL: a program with another OpenSSL of its own is not to find this one. Nothing is ever unloaded: OpenSSL has
 * handlers that run when threads and the process end. A failure is final, too: who asks again gets the same answer. */
#include "net/tls_openssl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* The ABI that the headers above belong to: "libssl.so.3". */
#define TEXT_OF(number) #number
#define TEXT_OF_VALUE(macro) TEXT_OF(macro)
#define LIBRARY_NAME "libssl.so." TEXT_OF_VALUE(OPENSSL_SHLIB_VERSION)

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define FUNCTION(name) {#name, offsetof(struct net_openssl, name)},
    NET_OPENSSL_FUNCTIONS(FUNCTION)
#undef FUNCTION
};
enum { FUNCTION_COUNT = sizeof(functions) / sizeof(functions[0]), FAILURE_MAX = 256 };
_Static_assert(sizeof(struct net_openssl) == FUNCTION_COUNT * sizeof(void *), "struct net_openssl is pointers only");

/* Written once, under `once`. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct net_openssl table;
static bool is_loaded;
static char failure[FAILURE_MAX];

static void load(void)
{
    void *library = dlopen(LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL) {
        (void)snprintf(failure, sizeof(failure), "%s", dlerror());
        return;
    }
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        void *address = dlsym(library, functions[i].name);
        if (address == NULL) {
            (void)snprintf(failure, sizeof(failure), "%s has no %s()", LIBRARY_NAME, functions[i].name);
            return;
        }
        memcpy((char *)&table + functions[i].offset, (const void *)&address, sizeof(address));
    }
    is_loaded = true;
}

sq_status net_openssl_load(struct sq_error *err, const struct net_openssl **ret_openssl)
{
    int result = pthread_once(&once, load);
    sq_assert(result == 0);
    if (!is_loaded) {
        sq_status status = sq_fail(err, SQ_NOT_FOUND, "OpenSSL cannot be loaded: %s", failure);
        sq_error_set_hint(err, "Install OpenSSL %d (Debian: libssl%d).", OPENSSL_VERSION_MAJOR, OPENSSL_SHLIB_VERSION);
        return status;
    }
    *ret_openssl = &table;
    return SQ_OK;
}
