/* config/value.c: an option's value from text and back.
 *
 * Numbers are whole and decimal. Sizes take the units B, kB, MB, GB, TB (of 1024) and durations us, ms, s, min, h, d, as
 * in PostgreSQL's manual, section "Parameter Names and Values"; without a unit a size is in bytes and a duration in
 * milliseconds. What config_value_format() writes, config_value_parse() reads back to the same value. */
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "config/config_internal.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first: formatting takes the first that leaves no rest. */
static const struct unit size_units[] = {
    {"TB", INT64_C(1) << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}, {NULL, 0},
};
static const struct unit duration_units[] = {
    {"d", INT64_C(86400000000)},
    {"h", INT64_C(3600000000)},
    {"min", 60000000},
    {"s", 1000000},
    {"ms", 1000},
    {"us", 1},
    {NULL, 0},
};

static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *skip_space(const char *at)
{
    while (is_space(*at))
        at++;
    return at;
}

/* Whether `text` is `word`, which has `length` bytes, with whitespace around at most. */
static bool text_is_word(const char *text, const char *word, size_t length)
{
    text = skip_space(text);
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\0' || fold(text[i]) != fold(word[i]))
            return false;
    }
    return *skip_space(text + length) == '\0';
}

bool config_text_is_same(const char *a, const char *b)
{
    return text_is_word(a, b, strlen(b));
}

bool config_bool_parse(const char *text, bool *ret_value)
{
    static const char *const words[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (config_text_is_same(text, words[i])) {
            *ret_value = i % 2 == 1;
            return true;
        }
    }
    return false;
}

enum number_result { NUMBER_OK, NUMBER_MALFORMED, NUMBER_BAD_UNIT, NUMBER_TOO_LARGE };

/* Reads `text`, a whole number and perhaps one of `units` (NULL: none are allowed), in the smallest unit. Without a
 * unit it counts in `plain_factor`. Numbers that int64_t cannot hold are too large, on both sides of 0. */
static enum number_result number_parse(const char *text, const struct unit *units, int64_t plain_factor,
                                       int64_t *ret_value)
{
    const char *at = skip_space(text);
    bool is_negative = *at == '-';
    at += is_negative;
    if (*at < '0' || *at > '9')
        return NUMBER_MALFORMED;
    int64_t value = 0;
    bool is_too_large = false;
    for (; *at >= '0' && *at <= '9'; at++) {
        is_too_large |= __builtin_mul_overflow(value, 10, &value);
        is_too_large |= __builtin_add_overflow(value, *at - '0', &value);
    }
    at = skip_space(at);
    int64_t factor = plain_factor;
    if (*at != '\0') {
        while (units != NULL && units->name != NULL && !config_text_is_same(at, units->name))
            units++;
        if (units == NULL)
            return NUMBER_MALFORMED;
        if (units->name == NULL)
            return NUMBER_BAD_UNIT;
        factor = units->factor;
    }
    is_too_large |= __builtin_mul_overflow(value, factor, &value);
    if (is_too_large)
        return NUMBER_TOO_LARGE;
    *ret_value = is_negative ? -value : value;
    return NUMBER_OK;
}

static void number_format(int64_t value, const struct unit *units, struct sq_buf *out)
{
    const struct unit *unit = units;
    while (unit->factor > 1 && (value < unit->factor || value % unit->factor != 0))
        unit++;
    if (value == 0)
        sq_buf_printf(out, "0");
    else
        sq_buf_printf(out, "%" PRId64 "%s", value / unit->factor, unit->name);
}

/* In the option's own way of writing: -1 is "off" where it is allowed. */
static void option_number_format(const struct config_option *option, int64_t value, struct sq_buf *out)
{
    if (option->type == CONFIG_TYPE_SIZE)
        number_format(value, size_units, out);
    else if (option->type == CONFIG_TYPE_DURATION && value >= 0)
        number_format(value, duration_units, out);
    else
        sq_buf_printf(out, "%" PRId64, value);
}

void config_value_format_range(const struct config_option *option, struct sq_buf *out)
{
    bool has_off = option->type == CONFIG_TYPE_DURATION && option->min == -1;
    sq_buf_put_text(out, "from ");
    option_number_format(option, has_off ? 0 : option->min, out);
    sq_buf_put_text(out, " to ");
    option_number_format(option, option->max, out);
    if (has_off)
        sq_buf_put_text(out, ", or -1 for off");
    else if (option->type == CONFIG_TYPE_DURATION && option->min == 0)
        sq_buf_put_text(out, ", 0 for off");
}

/* Adds "Give a size from 8kB to 1GB." to a failure. */
static void number_hint(const struct config_option *option, struct sq_error *err)
{
    struct sq_buf range;
    sq_buf_init(&range, SQ_ERROR_EXTRA_MAX);
    config_value_format_range(option, &range);
    sq_buf_put_u8(&range, '\0');
    const char *text = range.is_failed ? "" : (const char *)sq_buf_bytes(&range);
    if (option->type == CONFIG_TYPE_SIZE)
        sq_error_set_hint(err, "Give a whole number and one of the units B, kB, MB, GB, TB: %s.", text);
    else if (option->type == CONFIG_TYPE_DURATION)
        sq_error_set_hint(err, "Give a whole number and one of the units us, ms, s, min, h, d: %s.", text);
    else
        sq_error_set_hint(err, "Give a whole number %s.", text);
    sq_buf_done(&range);
}

static sq_status option_number_parse(const struct config_option *option, const char *text, const char *where,
                                     struct sq_error *err, int64_t *ret_value)
{
    static const char *const reasons[] = {
        [NUMBER_MALFORMED] = "is not a whole number",
        [NUMBER_BAD_UNIT] = "has an unknown unit",
        [NUMBER_TOO_LARGE] = "is out of range",
    };
    const struct unit *units = NULL;
    if (option->type == CONFIG_TYPE_SIZE)
        units = size_units;
    else if (option->type == CONFIG_TYPE_DURATION)
        units = duration_units;
    int64_t plain_factor = option->type == CONFIG_TYPE_DURATION ? 1000 : 1;

    int64_t value = 0;
    enum number_result result = number_parse(text, units, plain_factor, &value);
    bool is_off = option->type == CONFIG_TYPE_DURATION && option->min == -1 && config_text_is_same(text, "-1");
    if (is_off)
        value = -1;
    else if (result == NUMBER_OK && (value < option->min || value > option->max || (value < 0 && option->min == -1)))
        result = NUMBER_TOO_LARGE;
    if (result != NUMBER_OK) {
        sq_status status = sq_fail(err, SQ_INVALID, "%s: '%s' %s", where, text, reasons[result]);
        number_hint(option, err);
        return status;
    }
    *ret_value = value;
    return SQ_OK;
}

sq_status config_duration_parse(const char *text, struct sq_error *err, int64_t *ret_us)
{
    static const struct config_option any_duration = {
        .type = CONFIG_TYPE_DURATION,
        .min = 0,
        .max = CONFIG_DURATION_MAX_US,
    };
    return option_number_parse(&any_duration, text, "duration", err, ret_us);
}

static sq_status enum_parse(const struct config_option *option, const char *text, const char *where,
                            struct sq_error *err, int *ret_value)
{
    int value = 0;
    for (const char *word = option->words; *word != '\0'; value++) {
        size_t length = strcspn(word, " ");
        if (text_is_word(text, word, length)) {
            *ret_value = value;
            return SQ_OK;
        }
        word += length;
        word += *word == ' ';
    }
    sq_status status = sq_fail(err, SQ_INVALID, "%s: '%s' is none of its words", where, text);
    sq_error_set_hint(err, "Give one of: %s.", option->words);
    return status;
}

static sq_status text_parse(const struct config_option *option, const char *text, const char *where,
                            struct sq_arena *arena, struct sq_error *err, const char **ret_value)
{
    size_t length = strlen(text);
    if ((int64_t)length < option->min) {
        sq_status status = sq_fail(err, SQ_INVALID, "%s: the value is empty", where);
        sq_error_set_hint(err, "Give a %s.", option->words);
        return status;
    }
    const char *copy = sq_arena_copy(arena, text, length);
    if (copy == NULL)
        return sq_fail(err, SQ_NOMEM, "configuration");
    *ret_value = copy;
    return SQ_OK;
}

sq_status config_value_parse(const struct config_option *option, const char *text, const char *where,
                             struct sq_arena *arena, struct sq_error *err, struct config *config)
{
    sq_assert(option >= config_options && option < config_options + CONFIG_OPTION_COUNT);
    if (strlen(text) > CONFIG_VALUE_BYTES_MAX) {
        sq_status status = sq_fail(err, SQ_INVALID, "%s: the value is too long", where);
        sq_error_set_hint(err, "At most %d bytes are allowed.", CONFIG_VALUE_BYTES_MAX);
        return status;
    }
    /* The field has the type that config.h makes of the option's type, at the offset that options.c takes there. */
    void *field = (char *)config + option->field_offset;
    int64_t number = 0;
    switch (option->type) {
    case CONFIG_TYPE_TEXT:
        return text_parse(option, text, where, arena, err, (const char **)field);
    case CONFIG_TYPE_INTEGER:
    case CONFIG_TYPE_DURATION:
        return option_number_parse(option, text, where, err, (int64_t *)field);
    case CONFIG_TYPE_SIZE:
        SQ_TRY(option_number_parse(option, text, where, err, &number));
        *(size_t *)field = (size_t)number;
        return SQ_OK;
    case CONFIG_TYPE_BOOL:
        if (!config_bool_parse(text, (bool *)field)) {
            sq_status status = sq_fail(err, SQ_INVALID, "%s: '%s' is neither on nor off", where, text);
            sq_error_set_hint(err, "Give on or off (or true, false, yes, no, 1, 0).");
            return status;
        }
        return SQ_OK;
    case CONFIG_TYPE_ENUM:
        return enum_parse(option, text, where, err, (int *)field);
    case CONFIG_TYPE_ADDRESSES:
        return config_addresses_parse(text, where, arena, err, (struct config_addresses *)field);
    }
    sq_assert(false);
    return SQ_INVALID;
}

static void enum_format(const struct config_option *option, int value, struct sq_buf *out)
{
    const char *word = option->words;
    for (int i = 0; i < value; i++) {
        word += strcspn(word, " ");
        sq_assert(*word == ' ');
        word++;
    }
    sq_buf_put(out, word, strcspn(word, " "));
}

void config_value_format(const struct config_option *option, const struct config *config, struct sq_buf *out)
{
    const void *field = (const char *)config + option->field_offset;
    switch (option->type) {
    case CONFIG_TYPE_TEXT:
        sq_buf_put_text(out, *(const char *const *)field);
        return;
    case CONFIG_TYPE_INTEGER:
    case CONFIG_TYPE_DURATION:
        option_number_format(option, *(const int64_t *)field, out);
        return;
    case CONFIG_TYPE_SIZE:
        option_number_format(option, (int64_t) * (const size_t *)field, out);
        return;
    case CONFIG_TYPE_BOOL:
        sq_buf_put_text(out, *(const bool *)field ? "on" : "off");
        return;
    case CONFIG_TYPE_ENUM:
        enum_format(option, *(const int *)field, out);
        return;
    case CONFIG_TYPE_ADDRESSES:
        config_addresses_format(field, out);
        return;
    }
    sq_assert(false);
}
