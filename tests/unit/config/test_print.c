/* What is made from the table for people: every option is there, and nothing breaks the format around it. */
#include "config_test.h"

static char *print(enum config_action action)
{
    struct sq_buf out;
    sq_buf_init(&out, 1 << 20);
    config_print(action, &out);
    sq_buf_put_u8(&out, 0);
    assert_int_equal(sq_buf_check(&out, NULL), SQ_OK);
    char *text = strdup((const char *)sq_buf_bytes(&out));
    assert_non_null(text);
    sq_buf_done(&out);
    return text;
}

static void help_names_every_option_in_lines_of_a_terminal(void **state)
{
    (void)state;
    char *text = print(CONFIG_PRINT_HELP);
    char needle[128];
    for (unsigned i = 0; i < CONFIG_OPTION_COUNT; i++) {
        snprintf(needle, sizeof(needle), "\n  --%s ", config_option_name((enum config_option_id)i));
        assert_non_null(strstr(text, needle));
    }
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        assert_in_range(length, 0, 80);
        line += length + (line[length] == '\n');
    }
    free(text);
}

static void the_man_page_has_every_option_and_no_stray_requests(void **state)
{
    (void)state;
    char *text = print(CONFIG_PRINT_MAN);
    static const char *const requests[] = {".TH", ".SH", ".SS", ".TP", ".PP", ".B",  ".BR",  ".BI",
                                           ".RB", ".RI", ".IR", ".in", ".nf", ".fi", ".\\\""};
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (line[0] == '.' || line[0] == '\'') {
            size_t word = strcspn(line, " \n");
            bool is_known = false;
            for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
                is_known = is_known || (strlen(requests[i]) == word && strncmp(requests[i], line, word) == 0);
            assert_true(is_known);
        }
        line += length + (line[length] == '\n');
    }
    assert_non_null(strstr(text, "\n.BI \\-\\-idle\\-in\\-transaction\\-session\\-timeout"));
    assert_non_null(strstr(text, "\n.SH EXIT STATUS\n"));
    free(text);
}

static void the_reference_names_option_variable_and_default(void **state)
{
    (void)state;
    char *text = print(CONFIG_PRINT_REFERENCE);
    char needle[128];
    for (unsigned i = 0; i < CONFIG_OPTION_COUNT; i++) {
        snprintf(needle, sizeof(needle), "\n### `%s`\n", config_option_name((enum config_option_id)i));
        assert_non_null(strstr(text, needle));
        assert_non_null(strstr(text, config_option_help((enum config_option_id)i)));
    }
    assert_non_null(strstr(text, "number from 1 to 1000000 · default `1000` · `SQLD_MAX_CONNECTIONS` · *reloadable*"));
    assert_non_null(strstr(text, "one of debug, info, warning, error · default `info`"));
    free(text);
}

static void the_version_is_one_line(void **state)
{
    (void)state;
    char *text = print(CONFIG_PRINT_VERSION);
    assert_string_equal(text, "sqld " SQLD_VERSION "\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_names_every_option_in_lines_of_a_terminal),
        cmocka_unit_test(the_man_page_has_every_option_and_no_stray_requests),
        cmocka_unit_test(the_reference_names_option_variable_and_default),
        cmocka_unit_test(the_version_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
