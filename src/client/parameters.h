/* client/parameters.h: parameter lists made from the types in api.inc, which have no names there.
 *
 *     CLIENT_PARAMETERS(int, void (*)(void *))    int a1, void (*a2)(void *)
 *     CLIENT_ARGUMENTS(int, void (*)(void *))     a1, a2
 *     CLIENT_ZEROS(int, void (*)(void *))         (int)0, (void (*)(void *))0        (for tests)
 *     CLIENT_FIRST(int, void (*)(void *), )       __typeof__(int)
 *
 * One to ten parameters. */
#ifndef SQ_CLIENT_PARAMETERS_H
#define SQ_CLIENT_PARAMETERS_H

#define CLIENT_PARAMETERS(...) CLIENT_JOIN(CLIENT_PARAMETERS_, CLIENT_COUNT(__VA_ARGS__))(__VA_ARGS__)
#define CLIENT_ARGUMENTS(...) CLIENT_JOIN(CLIENT_ARGUMENTS_, CLIENT_COUNT(__VA_ARGS__))
#define CLIENT_ZEROS(...) CLIENT_JOIN(CLIENT_ZEROS_, CLIENT_COUNT(__VA_ARGS__))(__VA_ARGS__)

#define CLIENT_FIRST(type, ...) __typeof__(type)

#define CLIENT_JOIN(a, b) CLIENT_JOIN_(a, b)
#define CLIENT_JOIN_(a, b) a##b
#define CLIENT_COUNT(...) CLIENT_COUNT_(__VA_ARGS__, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define CLIENT_COUNT_(a, b, c, d, e, f, g, h, i, j, count, ...) count
#define CLIENT_ZERO(type) (__typeof__(type))0

#define CLIENT_PARAMETERS_1(a) __typeof__(a) a1
#define CLIENT_PARAMETERS_2(a, b) CLIENT_PARAMETERS_1(a), __typeof__(b) a2
#define CLIENT_PARAMETERS_3(a, b, c) CLIENT_PARAMETERS_2(a, b), __typeof__(c) a3
#define CLIENT_PARAMETERS_4(a, b, c, d) CLIENT_PARAMETERS_3(a, b, c), __typeof__(d) a4
#define CLIENT_PARAMETERS_5(a, b, c, d, e) CLIENT_PARAMETERS_4(a, b, c, d), __typeof__(e) a5
#define CLIENT_PARAMETERS_6(a, b, c, d, e, f) CLIENT_PARAMETERS_5(a, b, c, d, e), __typeof__(f) a6
#define CLIENT_PARAMETERS_7(a, b, c, d, e, f, g) CLIENT_PARAMETERS_6(a, b, c, d, e, f), __typeof__(g) a7
#define CLIENT_PARAMETERS_8(a, b, c, d, e, f, g, h) CLIENT_PARAMETERS_7(a, b, c, d, e, f, g), __typeof__(h) a8
#define CLIENT_PARAMETERS_9(a, b, c, d, e, f, g, h, i) CLIENT_PARAMETERS_8(a, b, c, d, e, f, g, h), __typeof__(i) a9
#define CLIENT_PARAMETERS_10(a, b, c, d, e, f, g, h, i, j)                                                             \
    CLIENT_PARAMETERS_9(a, b, c, d, e, f, g, h, i), __typeof__(j) a10

#define CLIENT_ARGUMENTS_1 a1
#define CLIENT_ARGUMENTS_2 CLIENT_ARGUMENTS_1, a2
#define CLIENT_ARGUMENTS_3 CLIENT_ARGUMENTS_2, a3
#define CLIENT_ARGUMENTS_4 CLIENT_ARGUMENTS_3, a4
#define CLIENT_ARGUMENTS_5 CLIENT_ARGUMENTS_4, a5
#define CLIENT_ARGUMENTS_6 CLIENT_ARGUMENTS_5, a6
#define CLIENT_ARGUMENTS_7 CLIENT_ARGUMENTS_6, a7
#define CLIENT_ARGUMENTS_8 CLIENT_ARGUMENTS_7, a8
#define CLIENT_ARGUMENTS_9 CLIENT_ARGUMENTS_8, a9
#define CLIENT_ARGUMENTS_10 CLIENT_ARGUMENTS_9, a10

#define CLIENT_ZEROS_1(a) CLIENT_ZERO(a)
#define CLIENT_ZEROS_2(a, b) CLIENT_ZEROS_1(a), CLIENT_ZERO(b)
#define CLIENT_ZEROS_3(a, b, c) CLIENT_ZEROS_2(a, b), CLIENT_ZERO(c)
#define CLIENT_ZEROS_4(a, b, c, d) CLIENT_ZEROS_3(a, b, c), CLIENT_ZERO(d)
#define CLIENT_ZEROS_5(a, b, c, d, e) CLIENT_ZEROS_4(a, b, c, d), CLIENT_ZERO(e)
#define CLIENT_ZEROS_6(a, b, c, d, e, f) CLIENT_ZEROS_5(a, b, c, d, e), CLIENT_ZERO(f)
#define CLIENT_ZEROS_7(a, b, c, d, e, f, g) CLIENT_ZEROS_6(a, b, c, d, e, f), CLIENT_ZERO(g)
#define CLIENT_ZEROS_8(a, b, c, d, e, f, g, h) CLIENT_ZEROS_7(a, b, c, d, e, f, g), CLIENT_ZERO(h)
#define CLIENT_ZEROS_9(a, b, c, d, e, f, g, h, i) CLIENT_ZEROS_8(a, b, c, d, e, f, g, h), CLIENT_ZERO(i)
#define CLIENT_ZEROS_10(a, b, c, d, e, f, g, h, i, j) CLIENT_ZEROS_9(a, b, c, d, e, f, g, h, i), CLIENT_ZERO(j)

#endif
