/* client/api.c: the exported functions that need no thought, made from api.inc.
 *
 * Each is a jump to the real library's function of the same name; one whose first parameter is an object that may be one of
 * ours first looks whether it is (handle.h), and jumps to client_remote_NAME() then (remote_api.h). The compiler turns the calls into jumps: nothing is copied, and a debugger's
 * stack shows the application's call and the real library's function, nothing between.
 *
 * The declarations of <sqlite3.h> are in force here: a line of the table with other types does not compile. */
#include "client/api.h"

#include "client/handle.h"
#include "client/parameters.h"
#include "client/remote.h"
#include "client/remote_api.h"
#include "client/unopened.h"

/* clang-format off */
#define CLIENT_OURS(name, ...)                                                                                         \
    if (client_handle_is_ours(a1))                                                                                     \
        return client_remote_##name(CLIENT_ARGUMENTS(__VA_ARGS__));
#define CLIENT_OURS_STATEMENT(name, ...) CLIENT_OURS(name, __VA_ARGS__)
#define CLIENT_OURS_CONTEXT(name, ...) CLIENT_OURS(name, __VA_ARGS__)
#define CLIENT_OURS_BLOB(name, ...) CLIENT_OURS(name, __VA_ARGS__)
#define CLIENT_OURS_BACKUP(name, ...) CLIENT_OURS(name, __VA_ARGS__)
#define CLIENT_OURS_VALUE(name, ...)
#define CLIENT_OURS_NONE(name, ...)
#define CLIENT_PASS(name, object, class_, result, ...)                                                                 \
    _Static_assert(!__builtin_types_compatible_p(CLIENT_FIRST(__VA_ARGS__, ), sqlite3 *), #name ": CONNECTION"); \
    result name(CLIENT_PARAMETERS(__VA_ARGS__))                                                                        \
    {                                                                                                                  \
        CLIENT_OURS_##object(name, __VA_ARGS__)                                                                        \
        return client_real.name(CLIENT_ARGUMENTS(__VA_ARGS__));                                                        \
    }
#define CLIENT_PASS0(name, object, class_, result)                                                                     \
    result name(void)                                                                                                  \
    {                                                                                                                  \
        return client_real.name();                                                                                     \
    }
#define CLIENT_CONNECTION(name, class_, unopened, result, ...)                                                         \
    result name(CLIENT_PARAMETERS(__VA_ARGS__))                                                                        \
    {                                                                                                                  \
        if (client_handle_is_ours(a1)) {                                                                               \
            if (client_remote_of(a1) != NULL)                                                                          \
                return client_remote_##name(CLIENT_ARGUMENTS(__VA_ARGS__));                                            \
            return unopened;                                                                                           \
        }                                                                                                              \
        return client_real.name(CLIENT_ARGUMENTS(__VA_ARGS__));                                                        \
    }
/* clang-format on */
#define CLIENT_DATA(name, class_, definition)
#define CLIENT_VARIADIC(name, object, class_, result, ...)
#define CLIENT_OWN(name, object, class_, result, ...)
#include "client/api.inc"
