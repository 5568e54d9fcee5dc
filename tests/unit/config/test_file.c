/* The config file's grammar, and that every mistake is reported with its line. */
#include "config_test.h"

#include "config/config_internal.h"

static sq_status parse(const char *bytes, size_t length, struct sq_arena *arena, struct sq_error *err,
                       struct config_setting settings[CONFIG_OPTION_COUNT])
{
    memset(settings, 0, sizeof(struct config_setting) * CONFIG_OPTION_COUNT);
    sq_error_clear(err);
    return config_file_parse(bytes, length, "f", arena, err, settings);
}

static void lines_set_values(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *value;
    } cases[] = {
        {"data-dir = x", "x"},
        {"data-dir=x", "x"},
        {"  data-dir\t=\tx  ", "x"},
        {"data-dir = x\r\n", "x"},
        {"data-dir = x # comment", "x"},
        {"data-dir = x#comment", "x"},
        {"data-dir = x y", "x y"},
        {"data-dir = 'x # y'", "x # y"},
        {"data-dir = ' x '# comment", " x "},
        {"data-dir = 'it''s'", "it's"},
        {"data-dir = ''", ""},
        {"data-dir = ''''", "'"},
        {"data-dir = 'a\\b'", "a\\b"},
        {"DATA_DIR = x", "x"},
        {"data-dir = \xc3\xa9", "\xc3\xa9"},
        {"\n\n# c\n   \n  # d\ndata-dir = x", "x"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sq_arena arena;
        struct sq_error err;
        struct config_setting settings[CONFIG_OPTION_COUNT];
        sq_arena_init(&arena);
        assert_int_equal(parse(cases[i].line, strlen(cases[i].line), &arena, &err, settings), SQ_OK);
        assert_string_equal(settings[CONFIG_OPTION_data_dir].text, cases[i].value);
        assert_null(settings[CONFIG_OPTION_listen].text);
        sq_arena_done(&arena);
    }
}

static void mistakes_are_reported_with_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"data-dir", "f:1: there is no = behind the name"},
        {"data-dir x", "f:1: there is no = behind the name"},
        {"data-dir # = x", "f:1: there is no = behind the name"},
        {"\n= x", "f:2: there is no option's name"},
        {"[section]", "f:1: there is no option's name"},
        {"data-dir =", "f:1: there is no value ('' is the empty one)"},
        {"data-dir = # x", "f:1: there is no value ('' is the empty one)"},
        {"data-dir = 'x", "f:1: the quote is not closed"},
        {"data-dir = 'x\n'", "f:1: the quote is not closed"},
        {"data-dir = 'x''", "f:1: the quote is not closed"},
        {"data-dir = '", "f:1: the quote is not closed"},
        {"data-dir = 'x' y", "f:1: there is something behind the value"},
        {"\n\ndata-dri = x", "f:3: no option is named 'data-dri'"},
        {"zzzzzzzzzzzz = x", "f:1: no option is named 'zzzzzzzzzzzz'"},
        {"config = x", "f:1: 'config' cannot be set in a config file"},
        {"workers = 1\n\nWORKERS = 2", "f:3: 'workers' was already set in line 1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sq_arena arena;
        struct sq_error err;
        struct config_setting settings[CONFIG_OPTION_COUNT];
        sq_arena_init(&arena);
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), &arena, &err, settings), SQ_INVALID);
        assert_string_equal(err.text, cases[i].message);
        assert_string_not_equal(err.hint, "");
        sq_arena_done(&arena);
    }
}

static void a_misspelt_name_gets_a_suggestion(void **state)
{
    (void)state;
    struct sq_arena arena;
    struct sq_error err;
    struct config_setting settings[CONFIG_OPTION_COUNT];
    sq_arena_init(&arena);
    static const char text[] = "max_conections = 5";
    assert_int_equal(parse(text, strlen(text), &arena, &err, settings), SQ_INVALID);
    assert_string_equal(err.hint, "Did you mean max-connections?");
    sq_arena_done(&arena);
}

static void binary_bytes_are_refused(void **state)
{
    (void)state;
    struct sq_arena arena;
    struct sq_error err;
    struct config_setting settings[CONFIG_OPTION_COUNT];
    sq_arena_init(&arena);
    static const char text[] = "workers = 1\ndata-dir = 'a\0b'\n";
    assert_int_equal(parse(text, sizeof(text) - 1, &arena, &err, settings), SQ_INVALID);
    assert_string_equal(err.text, "f:2: there is a zero byte: this is not a text file");
    sq_arena_done(&arena);
}

static void a_file_has_a_largest_size(void **state)
{
    (void)state;
    char directory[64];
    test_directory_make(directory);
    char path[128];
    snprintf(path, sizeof(path), "%s/sqld.conf", directory);
    char *text = malloc(CONFIG_FILE_BYTES_MAX + 2);
    assert_non_null(text);
    memset(text, '#', CONFIG_FILE_BYTES_MAX + 1);
    for (size_t length = CONFIG_FILE_BYTES_MAX - 1; length <= CONFIG_FILE_BYTES_MAX + 1; length++) {
        text[length] = '\0';
        test_file_write(path, text);
        struct sq_error err;
        struct config *config = NULL;
        sq_status status = test_load(TEXTS("--config", path), NULL, &err, &config);
        assert_int_equal(status, length <= CONFIG_FILE_BYTES_MAX ? SQ_OK : SQ_INVALID);
        if (status == SQ_OK)
            config_free(config);
        text[length] = '#';
    }
    free(text);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    char directory[64];
    test_directory_make(directory);
    char path[128];
    snprintf(path, sizeof(path), "%s/none.conf", directory);
    struct sq_error err;
    struct config *config = NULL;
    assert_int_equal(test_load(TEXTS("--config", path), NULL, &err, &config), SQ_IO);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "No such file"));
    assert_non_null(strstr(err.hint, "--config"));
    assert_int_equal(test_load(TEXTS("--config", directory), NULL, &err, &config), SQ_IO);
    assert_non_null(strstr(err.text, directory));
    test_file_write(path, "");
    config = test_load_ok(NULL, TEXTS("SQLD_CONFIG=/dev/null"));
    config_free(config);
    config = test_load_ok(TEXTS("--config", path), NULL);
    assert_string_equal(config->data_dir, "./data");
    config_free(config);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void a_bad_value_is_reported_with_file_and_line(void **state)
{
    (void)state;
    char directory[64];
    test_directory_make(directory);
    char path[128];
    char message[256];
    snprintf(path, sizeof(path), "%s/sqld.conf", directory);
    test_file_write(path, "# first\nworkers = many\n");
    snprintf(message, sizeof(message), "%s:2: workers: 'many' is not a whole number", path);
    test_load_fails(TEXTS("--config", path), NULL, message, "from 0 to 1024");
    /* Even where a flag hides it: it would bite as soon as the flag goes. */
    test_load_fails(TEXTS("--config", path, "--workers=1"), NULL, message, "from 0 to 1024");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_set_values),
        cmocka_unit_test(mistakes_are_reported_with_their_line),
        cmocka_unit_test(a_misspelt_name_gets_a_suggestion),
        cmocka_unit_test(binary_bytes_are_refused),
        cmocka_unit_test(a_file_has_a_largest_size),
        cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
        cmocka_unit_test(a_bad_value_is_reported_with_file_and_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
