/* client/api.c: the exported functions that need no thought, made from api.inc.
 *
 * Each is a jump to the real library's function of the same name; one whose first parameter is a connection first looks
 * whether that is one of ours (handle.h). The compiler turns the calls into jumps: nothing is copied, and a debugger's
 * stack shows the application's call and the real library's function, nothing between.
 *
 * The declarations of <sqlite3.h> are in force here: a line of the table with other types does not compile. */
#include "client/api.h"

#include "client/handle.h"
#include "client/unopened.h"

/* A parameter list from types alone: int, void (*)(void *) -> int a1, void (*a2)(void *). */
#define TYPE(type) __typeof__(type)
#define PARAMETERS_1(a) TYPE(a) a1
#define PARAMETERS_2(a, b) PARAMETERS_1(a), TYPE(b) a2
#define PARAMETERS_3(a, b, c) PARAMETERS_2(a, b), TYPE(c) a3
#define PARAMETERS_4(a, b, c, d) PARAMETERS_3(a, b, c), TYPE(d) a4
#define PARAMETERS_5(a, b, c, d, e) PARAMETERS_4(a, b, c, d), TYPE(e) a5
#define PARAMETERS_6(a, b, c, d, e, f) PARAMETERS_5(a, b, c, d, e), TYPE(f) a6
#define PARAMETERS_7(a, b, c, d, e, f, g) PARAMETERS_6(a, b, c, d, e, f), TYPE(g) a7
#define PARAMETERS_8(a, b, c, d, e, f, g, h) PARAMETERS_7(a, b, c, d, e, f, g), TYPE(h) a8
#define PARAMETERS_9(a, b, c, d, e, f, g, h, i) PARAMETERS_8(a, b, c, d, e, f, g, h), TYPE(i) a9
#define PARAMETERS_10(a, b, c, d, e, f, g, h, i, j) PARAMETERS_9(a, b, c, d, e, f, g, h, i), TYPE(j) a10
#define ARGUMENTS_1 a1
#define ARGUMENTS_2 ARGUMENTS_1, a2
#define ARGUMENTS_3 ARGUMENTS_2, a3
#define ARGUMENTS_4 ARGUMENTS_3, a4
#define ARGUMENTS_5 ARGUMENTS_4, a5
#define ARGUMENTS_6 ARGUMENTS_5, a6
#define ARGUMENTS_7 ARGUMENTS_6, a7
#define ARGUMENTS_8 ARGUMENTS_7, a8
#define ARGUMENTS_9 ARGUMENTS_8, a9
#define ARGUMENTS_10 ARGUMENTS_9, a10
#define COUNT(...) COUNT_(__VA_ARGS__, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define COUNT_(a, b, c, d, e, f, g, h, i, j, count, ...) count
#define JOIN(a, b) JOIN_(a, b)
#define JOIN_(a, b) a##b
#define PARAMETERS(...) JOIN(PARAMETERS_, COUNT(__VA_ARGS__))(__VA_ARGS__)
#define ARGUMENTS(...) JOIN(ARGUMENTS_, COUNT(__VA_ARGS__))

/* clang-format off */
#define CLIENT_PASS(name, object, class_, result, ...)                                                                 \
    result name(PARAMETERS(__VA_ARGS__))                                                                               \
    {                                                                                                                  \
        return client_real.name(ARGUMENTS(__VA_ARGS__));                                                               \
    }
#define CLIENT_PASS0(name, object, class_, result)                                                                     \
    result name(void)                                                                                                  \
    {                                                                                                                  \
        return client_real.name();                                                                                     \
    }
#define CLIENT_CONNECTION(name, class_, unopened, result, ...)                                                         \
    result name(PARAMETERS(__VA_ARGS__))                                                                               \
    {                                                                                                                  \
        if (client_handle_is_ours(a1))                                                                                 \
            return unopened;                                                                                           \
        return client_real.name(ARGUMENTS(__VA_ARGS__));                                                               \
    }
/* clang-format on */
#define CLIENT_DATA(name, class_, definition)
#define CLIENT_VARIADIC(name, object, class_, result, ...)
#define CLIENT_OWN(name, object, class_, result, ...)
#include "client/api.inc"
