/* repl/wanted.h: which databases a replica follows: a list of names and patterns, separated by commas.
 *
 *     ""               all
 *     shop, log_*      those; '*' stands for any characters, '?' for one
 *     !scratch, !tmp*  all but those; "shop*, !shop_old" is both
 *
 * Threads: any; it never changes. */
#ifndef SQ_REPL_WANTED_H
#define SQ_REPL_WANTED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { REPL_WANTED_BYTES_MAX = 4095 };

struct repl_wanted {
    char text[REPL_WANTED_BYTES_MAX + 1]; /* patterns without blanks, each with a NUL, and another NUL at the end */
    bool has_positive;
};

/* SQ_INVALID: an empty pattern, a character that no name has, or too long. */
SQ_MUST_USE sq_status repl_wanted_parse(const char *text, struct sq_error *err, struct repl_wanted *ret_wanted);
bool repl_wanted_has(const struct repl_wanted *wanted, const char *name);

#endif
