/* config/print.c: the option table for people: --help, the man page and docs/configuration.md. Only what cannot be read
 * from the table is written here. */
#include <string.h>

#include "base/buf.h"
#include "config/config_internal.h"

enum { HELP_COLUMN = 6, HELP_WIDTH = 79 };

/* Bytes of the help's first sentence, its full stop included. */
static size_t summary_length(const struct config_option *option)
{
    const char *end = strstr(option->help, ". ");
    return end != NULL ? (size_t)(end - option->help) + 1 : strlen(option->help);
}

/* The default as a person reads it. */
static const char *default_shown(const struct config_option *option)
{
    return option->initial[0] != '\0' ? option->initial : "none";
}

/* --- --help --- */

/* Appends `length` bytes of `text` in lines of HELP_WIDTH, each behind `indent` spaces. */
static void text_wrap(struct sq_buf *out, const char *text, size_t length, int indent)
{
    size_t at = 0;
    while (at < length) {
        size_t room = (size_t)(HELP_WIDTH - indent);
        size_t line = length - at;
        if (line > room) {
            line = room;
            while (line > 0 && text[at + line] != ' ')
                line--;
            if (line == 0)
                line = room; /* a word longer than the line */
        }
        sq_buf_printf(out, "%*s%.*s\n", indent, "", (int)line, text + at);
        at += line;
        while (at < length && text[at] == ' ')
            at++;
    }
}

static void help_option(struct sq_buf *out, const struct config_option *option)
{
    sq_buf_printf(out, "  --%s %s  [%s]\n", option->name, config_option_placeholder(option), default_shown(option));
    text_wrap(out, option->help, summary_length(option), HELP_COLUMN);
}

static void print_help(struct sq_buf *out)
{
    sq_buf_put_text(out, "Usage: sqld [OPTION]...\n"
                         "Serves the SQLite databases of a directory over the PostgreSQL wire protocol.\n");
    for (unsigned section = 0; section < CONFIG_SECTION_COUNT; section++) {
        sq_buf_printf(out, "\n%s:\n", config_section_titles[section]);
        for (size_t id = 0; id < CONFIG_OPTION_COUNT; id++) {
            if (config_options[id].section == section)
                help_option(out, &config_options[id]);
        }
    }
    sq_buf_put_text(out, "\nOther:\n"
                         "  -h, --help                  show this\n"
                         "  -V, --version               show the version\n"
                         "  --print-man                 write the man page, sqld(1)\n"
                         "  --print-config-reference    write the reference of all options as Markdown\n"
                         "\n"
                         "Each option is also an environment variable (--data-dir: SQLD_DATA_DIR) and a\n"
                         "line of the config file (data-dir = ./data). The command line is stronger than\n"
                         "the environment, and the environment than the file. Defaults are in brackets.\n"
                         "Sizes take the units kB, MB, GB, and times us, ms, s, min, h, d.\n");
}

/* --- what a value may be --- */

/* "a whole number from 1 to 1000", "one of debug, info" … */
static void kind_describe(struct sq_buf *out, const struct config_option *option)
{
    switch (option->type) {
    case CONFIG_TYPE_TEXT:
        sq_buf_put_text(out, "text");
        return;
    case CONFIG_TYPE_INTEGER:
        sq_buf_put_text(out, "number ");
        config_value_format_range(option, out);
        return;
    case CONFIG_TYPE_SIZE:
        sq_buf_put_text(out, "size ");
        config_value_format_range(option, out);
        return;
    case CONFIG_TYPE_DURATION:
        sq_buf_put_text(out, "time ");
        config_value_format_range(option, out);
        return;
    case CONFIG_TYPE_BOOL:
        sq_buf_put_text(out, "on or off");
        return;
    case CONFIG_TYPE_ADDRESSES:
        sq_buf_printf(out, "list of 1 to %d addresses", CONFIG_ADDRESSES_MAX);
        return;
    case CONFIG_TYPE_ENUM:
        sq_buf_put_text(out, "one of ");
        for (const char *word = option->words; *word != '\0'; word++) {
            if (*word == ' ')
                sq_buf_put_text(out, ", ");
            else
                sq_buf_put_u8(out, (uint8_t)*word);
        }
        return;
    }
    sq_assert(false);
}

/* --- man page: man(7) --- */

/* Text for troff: - is a minus sign that can be copied, and a line must not begin with a control character. */
static void roff_put(struct sq_buf *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        bool is_line_start = c == text || c[-1] == '\n';
        if (is_line_start && (*c == '.' || *c == '\''))
            sq_buf_put_text(out, "\\&");
        if (*c == '-')
            sq_buf_put_text(out, "\\-");
        else if (*c == '\\')
            sq_buf_put_text(out, "\\e");
        else
            sq_buf_put_u8(out, (uint8_t)*c);
    }
}

static void man_option(struct sq_buf *out, const struct config_option *option)
{
    sq_buf_put_text(out, ".TP\n.BI \\-\\-");
    roff_put(out, option->name);
    sq_buf_put_text(out, "\\~ ");
    roff_put(out, config_option_placeholder(option));
    sq_buf_put_text(out, "\n");
    roff_put(out, option->help);
    sq_buf_put_text(out, "\nThe value is: ");
    SQ_CLEANUP(sq_buf_done) struct sq_buf kind;
    sq_buf_init(&kind, CONFIG_VALUE_BYTES_MAX);
    kind_describe(&kind, option);
    sq_buf_put_u8(&kind, '\0');
    if (!kind.is_failed)
        roff_put(out, (const char *)sq_buf_bytes(&kind));
    sq_buf_put_text(out, "; default: ");
    roff_put(out, default_shown(option));
    sq_buf_put_text(out, (option->flags & CONFIG_RELOAD) != 0 ? ".\nSIGHUP reloads it.\n" : ".\n");
}

static const char man_head[] =
    ".\\\" Made by `sqld --print-man` from src/config/options.inc: `make docs`.\n"
    ".TH SQLD 1 \"\" \"sqld " SQLD_VERSION "\"\n"
    ".SH NAME\n"
    "sqld \\- serve SQLite databases over the PostgreSQL wire protocol\n"
    ".SH SYNOPSIS\n"
    ".B sqld\n"
    ".RI [ OPTION ]...\n"
    ".SH DESCRIPTION\n"
    "sqld serves the SQLite databases of a directory to many clients at a time.\n"
    "Clients speak SQLite's SQL over version 3 of the PostgreSQL protocol, so that PostgreSQL's drivers and\n"
    ".BR psql (1)\n"
    "work.\n"
    ".SH OPTIONS\n"
    "Each option may be given as a flag\n"
    ".RB ( \"\\-\\-data\\-dir ./data\" \" or \" \\-\\-data\\-dir=./data ),\n"
    "in the environment\n"
    ".RB ( SQLD_DATA_DIR=./data )\n"
    "or as a line of the config file\n"
    ".RB ( \"data\\-dir = ./data\" ).\n"
    "A flag is stronger than the environment, and the environment than the file.\n"
    "In names \\- and _ are the same.\n"
    "Sizes take the units B, kB, MB, GB and TB (of 1024), times us, ms, s, min, h and d.\n"
    "Without a unit a size is in bytes and a time in milliseconds.\n"
    "An on|off option without a value is switched on.\n";

static const char man_tail[] =
    ".SS \"Other\"\n"
    ".TP\n.BR \\-h \", \" \\-\\-help\nShow a summary of the options.\n"
    ".TP\n.BR \\-V \", \" \\-\\-version\nShow the version.\n"
    ".TP\n.B \\-\\-print\\-man\nWrite this page.\n"
    ".TP\n.B \\-\\-print\\-config\\-reference\nWrite the reference of all options as Markdown.\n"
    ".SH CONFIG FILE\n"
    "A line is\n"
    ".IR name \" = \" value ;\n"
    "# begins a comment.\n"
    "A value in single quotes may hold # and blanks at its ends, with '' for a quote.\n"
    "An option may stand in the file once.\n"
    ".SH SIGNALS\n"
    ".TP\n.BR SIGTERM \", \" SIGINT\n"
    "Accept no more connections, let running statements finish for\n"
    ".B shutdown\\-timeout\n"
    "and stop.\n"
    ".TP\n.B SIGHUP\n"
    "Read the config file again and open the log file anew.\n"
    "Options that need a restart keep their values, and the log names them.\n"
    ".SH EXIT STATUS\n"
    ".TP\n.B 0\nStopped as asked.\n"
    ".TP\n.B 1\nThe server could not start or go on.\n"
    ".TP\n.B 2\nAn option is unknown or its value makes no sense.\n"
    ".SH EXAMPLES\n"
    "Serve the databases of ./data on the usual port and in a unix socket:\n"
    ".PP\n"
    ".in +4n\n.nf\n"
    "sqld \\-\\-data\\-dir ./data \\-\\-listen 127.0.0.1:5432,unix:/run/sqld\n"
    "psql \\-h 127.0.0.1 main\n"
    ".fi\n.in\n"
    ".SH SEE ALSO\n"
    ".BR sqlite3 (1),\n"
    ".BR psql (1)\n";

static void print_man(struct sq_buf *out)
{
    sq_buf_put_text(out, man_head);
    for (unsigned section = 0; section < CONFIG_SECTION_COUNT; section++) {
        sq_buf_printf(out, ".SS \"%s\"\n", config_section_titles[section]);
        for (size_t id = 0; id < CONFIG_OPTION_COUNT; id++) {
            if (config_options[id].section == section)
                man_option(out, &config_options[id]);
        }
    }
    sq_buf_put_text(out, man_tail);
}

/* --- docs/configuration.md --- */

static const char reference_head[] =
    "# Configuration\n"
    "\n"
    "<!-- Made by `sqld --print-config-reference` from src/config/options.inc: `make docs`. -->\n"
    "\n"
    "Each option may be given in three places. The first one of these that names it counts:\n"
    "\n"
    "1. the command line: `--data-dir ./data` or `--data-dir=./data`;\n"
    "2. the environment: `SQLD_DATA_DIR=./data`;\n"
    "3. the config file that `--config` or `SQLD_CONFIG` names: `data-dir = ./data`.\n"
    "\n"
    "An unknown option or a value that makes no sense stops sqld with exit code 2 and a message that says where.\n"
    "\n"
    "**Names**: `-` and `_` are the same, and case does not matter.\n"
    "**Sizes**: a whole number and `B`, `kB`, `MB`, `GB` or `TB` (of 1024); without a unit bytes.\n"
    "**Times**: a whole number and `us`, `ms`, `s`, `min`, `h` or `d`; without a unit milliseconds.\n"
    "**On or off**: also `true`, `false`, `yes`, `no`, `1`, `0`; the flag alone means on.\n"
    "\n"
    "In the config file `#` begins a comment. A value in single quotes may hold `#` and blanks at its ends, with `''`\n"
    "for a quote. An option may stand in the file once:\n"
    "\n"
    "```\n"
    "# sqld.conf\n"
    "data-dir = /var/lib/sqld\n"
    "listen   = '127.0.0.1:5432, unix:/run/sqld'\n"
    "```\n"
    "\n"
    "On SIGHUP sqld reads the config file again. Options marked *reloadable* change at once for what begins "
    "afterwards;\n"
    "the others keep their values until a restart, and the log names those that differ.\n";

static void reference_option(struct sq_buf *out, const struct config_option *option)
{
    char variable[CONFIG_VARIABLE_MAX];
    config_option_variable(option, variable);
    sq_buf_printf(out, "\n### `%s`\n\n", option->name);
    kind_describe(out, option);
    if (option->initial[0] == '\0')
        sq_buf_put_text(out, " · default: none");
    else
        sq_buf_printf(out, " · default `%s`", option->initial);
    sq_buf_printf(out, " · `%s`", variable);
    if ((option->flags & CONFIG_RELOAD) != 0)
        sq_buf_put_text(out, " · *reloadable*");
    if ((option->flags & CONFIG_NOT_IN_FILE) != 0)
        sq_buf_put_text(out, " · not in the file");
    sq_buf_printf(out, "\n\n%s\n", option->help);
}

static void print_reference(struct sq_buf *out)
{
    sq_buf_put_text(out, reference_head);
    for (unsigned section = 0; section < CONFIG_SECTION_COUNT; section++) {
        sq_buf_printf(out, "\n## %s\n", config_section_titles[section]);
        for (size_t id = 0; id < CONFIG_OPTION_COUNT; id++) {
            if (config_options[id].section == section)
                reference_option(out, &config_options[id]);
        }
    }
}

void config_print(enum config_action action, struct sq_buf *out)
{
    switch (action) {
    case CONFIG_PRINT_HELP:
        print_help(out);
        return;
    case CONFIG_PRINT_VERSION:
        sq_buf_put_text(out, "sqld " SQLD_VERSION "\n");
        return;
    case CONFIG_PRINT_MAN:
        print_man(out);
        return;
    case CONFIG_PRINT_REFERENCE:
        print_reference(out);
        return;
    case CONFIG_RUN:
        break;
    }
    sq_assert(false); /* there is nothing to print for a run */
}

const char *config_option_help(enum config_option_id id)
{
    sq_assert(id < CONFIG_OPTION_COUNT);
    return config_options[id].help;
}
