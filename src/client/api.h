/* client/api.h: the real library's functions, and the types of the table api.inc.
 *
 * `client_real` has one member for each function of the table: the address of the real library's function of that name.
 * client_real_load() fills it before anything else in the process can call us; it does not change afterwards, so any
 * thread reads it without a lock. */
#ifndef SQ_CLIENT_API_H
#define SQ_CLIENT_API_H

/* Declarations that <sqlite3.h> makes only for those who ask; Debian's library has the functions. */
#ifndef SQLITE_ENABLE_PREUPDATE_HOOK
#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#endif
#ifndef SQLITE_ENABLE_SESSION
#define SQLITE_ENABLE_SESSION 1
#endif
/* The room is compiled with hidden symbols; what <sqlite3.h> declares is what we export. */
#define SQLITE_API __attribute__((visibility("default")))
#include <sqlite3.h>
#include <stdarg.h>

struct client_api {
#define CLIENT_DATA(name, class_, definition)
#define CLIENT_CONNECTION(name, class_, unopened, result, ...) result (*name)(__VA_ARGS__);
#define CLIENT_PASS(name, object, class_, result, ...) result (*name)(__VA_ARGS__);
#define CLIENT_PASS0(name, object, class_, result) result (*name)(void);
#define CLIENT_VARIADIC(name, object, class_, result, ...) result (*name)(__VA_ARGS__, ...);
#define CLIENT_OWN(name, object, class_, result, ...) result (*name)(__VA_ARGS__);
#include "client/api.inc"
#undef CLIENT_DATA
#undef CLIENT_CONNECTION
#undef CLIENT_PASS
#undef CLIENT_PASS0
#undef CLIENT_VARIADIC
#undef CLIENT_OWN
};

__attribute__((visibility("hidden"))) extern struct client_api client_real;

#endif
