/* config/options.c: options.inc as a table of descriptors, and looking options up by name. */
#include <string.h>

#include "config/config_internal.h"

#define OPTION(kind, field, name, section, flags, initial, min, max, words, help)                                      \
    [CONFIG_OPTION_##field] = {(name),                                                                                 \
                               CONFIG_TYPE_##kind,                                                                     \
                               CONFIG_SECTION_##section,                                                               \
                               (flags),                                                                                \
                               (initial),                                                                              \
                               offsetof(struct config, field),                                                         \
                               (min),                                                                                  \
                               (max),                                                                                  \
                               (words),                                                                                \
                               (help)},
#define OPTION_TEXT(field, name, section, flags, initial, length_min, what, help)                                      \
    OPTION(TEXT, field, name, section, flags, initial, length_min, CONFIG_VALUE_BYTES_MAX, what, help)
#define OPTION_INTEGER(field, name, section, flags, initial, min, max, help)                                           \
    OPTION(INTEGER, field, name, section, flags, initial, min, max, NULL, help)
#define OPTION_SIZE(field, name, section, flags, initial, min, max, help)                                              \
    OPTION(SIZE, field, name, section, flags, initial, min, max, NULL, help)
#define OPTION_DURATION(field, name, section, flags, initial, min, max, help)                                          \
    OPTION(DURATION, field, name, section, flags, initial, min, max, NULL, help)
#define OPTION_BOOL(field, name, section, flags, initial, help)                                                        \
    OPTION(BOOL, field, name, section, flags, initial, 0, 1, NULL, help)
#define OPTION_ENUM(field, name, section, flags, initial, type, words, help)                                           \
    OPTION(ENUM, field, name, section, flags, initial, 0, 0, words, help)
#define OPTION_ADDRESSES(field, name, section, flags, initial, help)                                                   \
    OPTION(ADDRESSES, field, name, section, flags, initial, 0, 0, NULL, help)

const struct config_option config_options[CONFIG_OPTION_COUNT] = {
#include "config/options.inc"
};

/* Enum fields are stored as an int (value.c). */
#define OPTION_TEXT(...)
#define OPTION_INTEGER(...)
#define OPTION_SIZE(...)
#define OPTION_DURATION(...)
#define OPTION_BOOL(...)
#define OPTION_ENUM(field, name, section, flags, initial, type, words, help)                                           \
    _Static_assert(sizeof(type) == sizeof(int), "enum option");
#define OPTION_ADDRESSES(...)
#include "config/options.inc"

const char *const config_section_titles[CONFIG_SECTION_COUNT] = {
    [CONFIG_SECTION_FILES] = "Files and databases",
    [CONFIG_SECTION_NETWORK] = "Connections",
    [CONFIG_SECTION_LIMITS] = "Limits",
    [CONFIG_SECTION_TIMEOUTS] = "Time limits",
    [CONFIG_SECTION_SQL] = "SQL",
    [CONFIG_SECTION_REPLICATION] = "Replicas",
    [CONFIG_SECTION_LOGGING] = "Log",
};

static char name_fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '_' ? '-' : c;
}

static bool name_is_same(const char *a, const char *b)
{
    while (*a != '\0' && name_fold(*a) == name_fold(*b)) {
        a++;
        b++;
    }
    return *a == '\0' && *b == '\0';
}

enum config_option_id config_option_find(const char *name)
{
    sq_assert(name != NULL);
    for (unsigned id = 0; id < CONFIG_OPTION_COUNT; id++) {
        if (name_is_same(config_options[id].name, name))
            return (enum config_option_id)id;
    }
    return CONFIG_OPTION_COUNT;
}

enum { NEAREST_NAME_MAX = 63 };

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein distance of two names of at most NEAREST_NAME_MAX bytes: the fewest insertions, deletions and
 * replacements that make one of the other. One row of the usual table at a time. */
static size_t name_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t row[NEAREST_NAME_MAX + 1];
    sq_assert(a_length <= NEAREST_NAME_MAX && b_length <= NEAREST_NAME_MAX);
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t replaced = diagonal + (name_fold(a[i - 1]) != name_fold(b[j - 1]));
            diagonal = row[j];
            row[j] = min_of(replaced, min_of(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_length];
}

const char *config_option_nearest(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length > NEAREST_NAME_MAX)
        return NULL;
    const char *nearest = NULL;
    size_t nearest_distance = length / 3 + 2; /* further away it is another word, not a slip */
    for (size_t id = 0; id < CONFIG_OPTION_COUNT; id++) {
        const char *candidate = config_options[id].name;
        size_t distance = name_distance(name, length, candidate, strlen(candidate));
        if (distance < nearest_distance) {
            nearest = candidate;
            nearest_distance = distance;
        }
    }
    return nearest;
}

void config_option_variable(const struct config_option *option, char out[CONFIG_VARIABLE_MAX])
{
    static const char prefix[] = "SQLD_";
    size_t length = sizeof(prefix) - 1;
    memcpy(out, prefix, length);
    for (const char *c = option->name; *c != '\0'; c++) {
        sq_assert(length + 1 < CONFIG_VARIABLE_MAX);
        bool is_letter = *c >= 'a' && *c <= 'z';
        out[length++] = is_letter ? (char)(*c - 'a' + 'A') : (*c == '-' ? '_' : *c);
    }
    out[length] = '\0';
}

const char *config_option_placeholder(const struct config_option *option)
{
    switch (option->type) {
    case CONFIG_TYPE_TEXT:
        return option->words;
    case CONFIG_TYPE_INTEGER:
        return "NUMBER";
    case CONFIG_TYPE_SIZE:
        return "SIZE";
    case CONFIG_TYPE_DURATION:
        return "TIME";
    case CONFIG_TYPE_BOOL:
        return "on|off";
    case CONFIG_TYPE_ENUM:
        return "WORD";
    case CONFIG_TYPE_ADDRESSES:
        return "ADDRESS,...";
    }
    sq_assert(false);
    return "";
}

const char *config_option_name(enum config_option_id id)
{
    sq_assert(id < CONFIG_OPTION_COUNT);
    return config_options[id].name;
}
