/* config/config_internal.h: what the files of the config room share. Not for other rooms (the tests and the fuzzer of
 * this room include it too). */
#ifndef SQ_CONFIG_CONFIG_INTERNAL_H
#define SQ_CONFIG_CONFIG_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "config/config.h"

enum config_type {
    CONFIG_TYPE_TEXT,
    CONFIG_TYPE_INTEGER,
    CONFIG_TYPE_SIZE,
    CONFIG_TYPE_DURATION,
    CONFIG_TYPE_BOOL,
    CONFIG_TYPE_ENUM,
    CONFIG_TYPE_ADDRESSES,
};

enum config_section {
    CONFIG_SECTION_FILES,
    CONFIG_SECTION_NETWORK,
    CONFIG_SECTION_LIMITS,
    CONFIG_SECTION_TIMEOUTS,
    CONFIG_SECTION_SQL,
    CONFIG_SECTION_REPLICATION,
    CONFIG_SECTION_LOGGING,
    CONFIG_SECTION_COUNT
};

enum {
    CONFIG_RELOAD = 1,      /* SIGHUP gives it a new value */
    CONFIG_NOT_IN_FILE = 2, /* makes no sense as a line of the config file */
    CONFIG_URL = 4,         /* is shown without the password in it */
};

/* One line of options.inc. */
struct config_option {
    const char *name;
    enum config_type type;
    enum config_section section;
    unsigned flags;
    const char *initial; /* the default, as text */
    size_t field_offset; /* in struct config */
    int64_t min;         /* of the number in its stored unit; the shortest length of a text */
    int64_t max;
    const char *words; /* ENUM: the words, separated by a space; TEXT: what --help calls the value */
    const char *help;
};

extern const struct config_option config_options[CONFIG_OPTION_COUNT];
extern const char *const config_section_titles[CONFIG_SECTION_COUNT];

/* Where a value is from, weakest first. */
enum config_source {
    CONFIG_SOURCE_DEFAULT,
    CONFIG_SOURCE_FILE,
    CONFIG_SOURCE_ENVIRONMENT,
    CONFIG_SOURCE_FLAG,
    CONFIG_SOURCE_COUNT
};

/* What one source says about one option; text is NULL if nothing. */
struct config_setting {
    const char *text;
    int line;           /* of a config file, else 0 */
    const char *origin; /* for people: "sqld.conf:12", "environment", … */
};

struct config_private {
    struct sq_arena arena; /* of all text and addresses, this struct included */
    int reference_count;
    int argc;
    char *const *argv;
    char *const *environment;
    struct config_setting settings[CONFIG_SOURCE_COUNT][CONFIG_OPTION_COUNT];
};

/* options.c */

/* The known name most like `name`, or NULL if none is near. */
const char *config_option_nearest(const char *name);
/* The name of the option's environment variable, SQLD_DATA_DIR. */
enum { CONFIG_VARIABLE_MAX = 64 };
void config_option_variable(const struct config_option *option, char out[CONFIG_VARIABLE_MAX]);
/* What --help shows behind the name: DIR, NUMBER, SIZE, … */
const char *config_option_placeholder(const struct config_option *option);

/* value.c */

/* Parses `text` into the field of `config` that belongs to `option`. `where` begins the error's text. What the value
 * needs is allocated from `arena`. */
SQ_MUST_USE sq_status config_value_parse(const struct config_option *option, const char *text, const char *where,
                                         struct sq_arena *arena, struct sq_error *err, struct config *config);
void config_value_format(const struct config_option *option, const struct config *config, struct sq_buf *out);
/* "from 1 to 1000", "from 8kB to 1GB"; for numbers, sizes and durations. */
void config_value_format_range(const struct config_option *option, struct sq_buf *out);
bool config_text_is_same(const char *a, const char *b); /* ASCII letters' case does not matter */
bool config_bool_parse(const char *text, bool *ret_value);

/* address.c */

SQ_MUST_USE sq_status config_addresses_parse(const char *text, const char *where, struct sq_arena *arena,
                                             struct sq_error *err, struct config_addresses *ret_addresses);
void config_addresses_format(const struct config_addresses *addresses, struct sq_buf *out);
void config_address_format(const struct config_address *address, struct sq_buf *out);

/* file.c */

/* Parses a config file's bytes into `settings[CONFIG_OPTION_COUNT]`, the texts from `arena`. `path` is for messages. */
SQ_MUST_USE sq_status config_file_parse(const char *bytes, size_t length, const char *path, struct sq_arena *arena,
                                        struct sq_error *err, struct config_setting *settings);
/* The same for the file at `path`. */
SQ_MUST_USE sq_status config_file_read(const char *path, struct sq_arena *arena, struct sq_error *err,
                                       struct config_setting *settings);

#endif
