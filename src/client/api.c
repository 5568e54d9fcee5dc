/* client/api.c: the exported functions that need no thought, made from api.inc.
 *
 * Each is a jump to the real library's function of the same name; one whose first parameter is a connection first looks
 * whether that is one of ours (handle.h). The compiler turns the calls into jumps: nothing is copied, and a debugger's
 * stack shows the application's call and the real library's function, nothing between.
 *
 * The declarations of <sqlite3.h> are in force here: a line of the table with other types does not compile. */
#include "client/api.h"

#include "client/handle.h"
#include "client/parameters.h"
#include "client/unopened.h"

/* clang-format off */
#define CLIENT_PASS(name, object, class_, result, ...)                                                                 \
    _Static_assert(!__builtin_types_compatible_p(CLIENT_FIRST(__VA_ARGS__, ), sqlite3 *), #name ": CONNECTION"); \
    result name(CLIENT_PARAMETERS(__VA_ARGS__))                                                                        \
    {                                                                                                                  \
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
        if (client_handle_is_ours(a1))                                                                                 \
            return unopened;                                                                                           \
        return client_real.name(CLIENT_ARGUMENTS(__VA_ARGS__));                                                        \
    }
/* clang-format on */
#define CLIENT_DATA(name, class_, definition)
#define CLIENT_VARIADIC(name, object, class_, result, ...)
#define CLIENT_OWN(name, object, class_, result, ...)
#include "client/api.inc"
