/* config/config.h: the server's options. options.inc lists them; this header turns the list into a struct with one typed
 * field for each, and offers what is done with all of them: load, reload, show, document.
 *
 *     sqld --data-dir ./data            strongest
 *     SQLD_DATA_DIR=./data              below flags
 *     data-dir = './data'               a line of the config file, below the environment
 *     the default                       in options.inc
 *
 * In names `-` and `_` are the same and case does not matter, so that postgresql.conf habits work.
 *
 * A loaded config never changes; reloading makes a new one. It is counted: whoever keeps it across a reload holds a
 * reference. Threads: any may read, ref and free; load and reload belong to the main thread. */
#ifndef SQ_CONFIG_CONFIG_H
#define SQ_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/status.h"

struct sq_buf;

enum {
    CONFIG_PORT_DEFAULT = 5432,
    CONFIG_ADDRESSES_MAX = 32,  /* addresses in `listen` */
    CONFIG_UNIX_PATH_MAX = 107, /* bytes of a unix socket's path: sun_path without its NUL, unix(7) */
    CONFIG_FILE_BYTES_MAX = 1 << 20,
    CONFIG_VALUE_BYTES_MAX = 16384, /* of one option's value */
};
#define CONFIG_DURATION_MAX_US INT64_C(31536000000000) /* 365 days */

/* One entry of an address list. */
struct config_address {
    bool is_unix;
    const char *host; /* TCP: a name, a numeric address without brackets, or "*" for all addresses; unix: "" */
    uint16_t port;    /* TCP: 0 is any free one */
    const char *path; /* unix: the socket's path, with .s.PGSQL.PORT already appended for a directory; TCP: "" */
};
struct config_addresses {
    size_t count; /* at least 1 */
    const struct config_address *items;
};

/* Whether only this machine can reach it: unix sockets, 127.0.0.0/8, ::1 and the name localhost. */
bool config_address_is_local(const struct config_address *address);

/* When a log for replicas is kept: option replication-log. */
enum config_replication_log { CONFIG_LOG_AUTO, CONFIG_LOG_ON, CONFIG_LOG_OFF };

/* What the command line asks for. */
enum config_action {
    CONFIG_RUN,             /* be a server */
    CONFIG_PRINT_HELP,      /* --help */
    CONFIG_PRINT_VERSION,   /* --version */
    CONFIG_PRINT_MAN,       /* --print-man: sqld(1) in man(7) format */
    CONFIG_PRINT_REFERENCE, /* --print-config-reference: docs/configuration.md */
};

enum config_option_id {
#define OPTION_TEXT(field, ...) CONFIG_OPTION_##field,
#define OPTION_INTEGER(field, ...) CONFIG_OPTION_##field,
#define OPTION_SIZE(field, ...) CONFIG_OPTION_##field,
#define OPTION_DURATION(field, ...) CONFIG_OPTION_##field,
#define OPTION_BOOL(field, ...) CONFIG_OPTION_##field,
#define OPTION_ENUM(field, ...) CONFIG_OPTION_##field,
#define OPTION_ADDRESSES(field, ...) CONFIG_OPTION_##field,
#include "config/options.inc"
    CONFIG_OPTION_COUNT
};

struct config_private;

/* The fields are those of options.inc, where each is explained. All text and addresses live as long as the config. */
struct config {
    enum config_action action; /* when not CONFIG_RUN nothing else is filled in: see config_print() */
#define OPTION_TEXT(field, ...) const char *field;
#define OPTION_INTEGER(field, ...) int64_t field;
#define OPTION_SIZE(field, ...) size_t field;
#define OPTION_DURATION(field, ...) int64_t field;
#define OPTION_BOOL(field, ...) bool field;
#define OPTION_ENUM(field, name, section, flags, initial, type, ...) type field;
#define OPTION_ADDRESSES(field, ...) struct config_addresses field;
#include "config/options.inc"
    struct config_private *private;
};

/* Reads flags, environment and config file. `argv` (with the program's name) and `environment` (like environ(7), or
 * NULL) must stay as they are while this config and its reloads live; main()'s do.
 * Failure: SQ_INVALID for what the user should change, with *err's text saying what and where ("file:line:") and its
 * hint saying what to do; the program then ends with exit code 2. SQ_IO or SQ_NOMEM otherwise. */
SQ_MUST_USE sq_status config_load(int argc, char *const argv[], char *const environment[], struct sq_error *err,
                                  struct config **ret_config);

/* What a reload found different. Names are static. */
struct config_changes {
    size_t changed_count; /* options that now have a new value */
    const char *changed[CONFIG_OPTION_COUNT];
    size_t restart_count; /* options whose new value needs a restart; they keep the old one */
    const char *restart[CONFIG_OPTION_COUNT];
};

/* Reads everything again, for SIGHUP. *ret_config has new values for the options marked CONFIG_RELOAD and `old`'s values
 * for the others. Failure: as config_load(); the server then goes on with `old`. */
SQ_MUST_USE sq_status config_reload(const struct config *old, struct sq_error *err, struct config_changes *ret_changes,
                                    struct config **ret_config);

struct config *config_ref(struct config *config);
/* Gives a reference back; the last one frees. NULL is allowed. */
void config_free(struct config *config);
SQ_DEFINE_FREEP(struct config, config_free)

/* Does what an action other than CONFIG_RUN asks for: appends the text to `out`. */
void config_print(enum config_action action, struct sq_buf *out);

/* For SHOW: an option's name, its help, its value as one would write it, and where the value is from ("default",
 * "environment", "command line", or "file:line"). */
const char *config_option_name(enum config_option_id id);
const char *config_option_help(enum config_option_id id);
void config_option_format(const struct config *config, enum config_option_id id, struct sq_buf *out);
const char *config_option_source(const struct config *config, enum config_option_id id);
/* The option of that name, or CONFIG_OPTION_COUNT. */
enum config_option_id config_option_find(const char *name);

/* Parses a duration the way options do ("5s", "1min", "250" for milliseconds, "0"), for SET statement_timeout.
 * Whitespace around is allowed. Failure: SQ_INVALID. */
SQ_MUST_USE sq_status config_duration_parse(const char *text, struct sq_error *err, int64_t *ret_us);

#endif
