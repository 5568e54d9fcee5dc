/* Helpers of the config tests: load from a command line written as one literal list. */
#ifndef SQ_TESTS_CONFIG_TEST_H
#define SQ_TESTS_CONFIG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "config/config.h"

enum { TEST_ARGUMENTS_MAX = 64 };

/* A NULL-terminated list of constant strings as the `char *const *` that main() has. */
struct test_list {
    char *items[TEST_ARGUMENTS_MAX];
    int count;
};

static inline void test_list_init(struct test_list *list, const char *const *texts)
{
    memset(list, 0, sizeof(*list));
    for (; texts != NULL && texts[list->count] != NULL; list->count++) {
        assert_true(list->count + 1 < TEST_ARGUMENTS_MAX);
        list->items[list->count] = strdup(texts[list->count]);
        assert_non_null(list->items[list->count]);
    }
}

static inline void test_list_done(struct test_list *list)
{
    for (int i = 0; i < list->count; i++)
        free(list->items[i]);
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Loads with these flags and variables (either may be NULL) and frees what was handed in. */
static inline sq_status test_load(const char *const *flags, const char *const *variables, struct sq_error *err,
                                  struct config **ret_config)
{
    const char *arguments[TEST_ARGUMENTS_MAX] = {"sqld"};
    for (size_t i = 0; flags != NULL && flags[i] != NULL; i++)
        arguments[i + 1] = flags[i];
    struct test_list argv;
    struct test_list environment;
    test_list_init(&argv, arguments);
    test_list_init(&environment, variables);
    sq_error_clear(err);
    sq_status status = config_load(argv.count, argv.items, environment.items, err, ret_config);
    test_list_done(&argv);
    test_list_done(&environment);
    return status;
}

static inline struct config *test_load_ok(const char *const *flags, const char *const *variables)
{
    struct sq_error err;
    struct config *config = NULL;
    sq_status status = test_load(flags, variables, &err, &config);
    if (status != SQ_OK)
        fail_msg("%s", err.text);
    return config;
}

/* Loading must fail as the user's mistake, with exactly this text, and a hint that contains `hint`. */
static inline void test_load_fails(const char *const *flags, const char *const *variables, const char *text,
                                   const char *hint)
{
    struct sq_error err;
    struct config *config = NULL;
    assert_int_equal(test_load(flags, variables, &err, &config), SQ_INVALID);
    assert_null(config);
    assert_string_equal(err.text, text);
    if (strstr(err.hint, hint) == NULL || err.hint[0] == '\0')
        fail_msg("hint '%s' lacks '%s'", err.hint, hint);
}

static inline void test_file_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* A new empty directory, to be removed by the test. */
static inline void test_directory_make(char out[64])
{
    snprintf(out, 64, "/tmp/sqld-config-XXXXXX");
    assert_non_null(mkdtemp(out));
}

#endif
