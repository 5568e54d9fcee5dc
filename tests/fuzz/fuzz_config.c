/* Fuzzes the config file's grammar and, with the same bytes as one value, every option's parser. What is accepted must be
 * written and read back the same. */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "config/config_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FORMATTED_BYTES_MAX = 2 * CONFIG_VALUE_BYTES_MAX };

static void value_try(const struct config_option *option, const char *text)
{
    struct sq_arena arena;
    struct sq_error err;
    struct config config = {0};
    sq_arena_init(&arena);
    sq_error_clear(&err);
    struct sq_buf first;
    struct sq_buf second;
    sq_buf_init(&first, FORMATTED_BYTES_MAX);
    sq_buf_init(&second, FORMATTED_BYTES_MAX);
    if (config_value_parse(option, text, "value", &arena, &err, &config) == SQ_OK) {
        config_value_format(option, &config, &first);
        sq_assert(!first.is_failed);
        sq_buf_put_u8(&first, 0);
        const char *written = (const char *)sq_buf_bytes(&first);
        if (strlen(written) <= CONFIG_VALUE_BYTES_MAX) {
            sq_assert(config_value_parse(option, written, "value", &arena, &err, &config) == SQ_OK);
            config_value_format(option, &config, &second);
            sq_buf_put_u8(&second, 0);
            sq_assert(strcmp(written, (const char *)sq_buf_bytes(&second)) == 0);
        }
    } else {
        sq_assert(err.text[0] != '\0');
    }
    sq_buf_done(&first);
    sq_buf_done(&second);
    sq_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > CONFIG_FILE_BYTES_MAX)
        return 0;
    struct sq_arena arena;
    struct sq_error err;
    struct config_setting settings[CONFIG_OPTION_COUNT] = {{0}};
    sq_arena_init(&arena);
    sq_error_clear(&err);
    if (config_file_parse((const char *)data, size, "fuzz", &arena, &err, settings) == SQ_OK) {
        for (size_t id = 0; id < CONFIG_OPTION_COUNT; id++) {
            if (settings[id].text != NULL)
                value_try(&config_options[id], settings[id].text);
        }
    }
    char *text = sq_arena_copy(&arena, data, size);
    sq_assert(text != NULL);
    for (size_t id = 0; id < CONFIG_OPTION_COUNT; id++)
        value_try(&config_options[id], text);
    sq_arena_done(&arena);
    return 0;
}
