/* client/rebind.h: binds a loaded library's references to its own symbols to itself.
 *
 * The real libsqlite3 calls its own functions through its procedure linkage table, and the dynamic linker fills that with
 * the first definition in the process: ours, when the application was linked with us. Then sqlite3_exec() of the real
 * library would call our sqlite3_prepare_v2() and so on: slower, and wrong as soon as ours do something of their own.
 * This goes through the library's relocations once more and binds them to the library.
 *
 * The variables of the interface are the other way round: there has to be one of each in the process, and it has to be
 * the one that the application sees.
 *
 * Why not RTLD_DEEPBIND, dlmopen() or a patched copy: docs/adr/0009-real-library.md. */
#ifndef SQ_CLIENT_REBIND_H
#define SQ_CLIENT_REBIND_H

#include <stddef.h>

#include "base/status.h"

struct client_rebind_shared {
    const char *name; /* of a variable that the library defines */
    void *address;    /* what the library shall use instead */
};

/* `library` is a handle of dlopen(), loaded with RTLD_NOW, which nobody else uses yet.
 * OK: all references from the library to symbols that it defines go to itself, those to the `shared` variables to the
 * addresses given. SQ_INVALID: the library does not refer to one of the variables through a relocation (it was linked
 * with -Bsymbolic), so that it cannot be shared, or has relocations of an unknown kind; it may be half bound then and
 * must not be used. SQ_IO: mprotect(). */
SQ_MUST_USE sq_status client_rebind(void *library, const struct client_rebind_shared *shared, size_t shared_count,
                                    struct sq_error *err);

#endif
