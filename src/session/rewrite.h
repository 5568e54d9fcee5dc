/* session/rewrite.h: small differences in how functions are called, mended token by token, never in a string, comment,
 * or quoted name:
 *
 *   current_user          ->  current_user()     words that PostgreSQL knows without parentheses are functions here
 *   pg_catalog.version()  ->  version()          PostgreSQL's tools name the schema of its functions
 *
 * Everything else stays as it is. Pure; any thread. */
#ifndef SQ_SESSION_REWRITE_H
#define SQ_SESSION_REWRITE_H

#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"

/* The rewritten text, NUL-terminated, in the arena. */
SQ_MUST_USE sq_status rewrite_sql(const char *text, size_t length, struct sq_arena *arena, struct sq_error *err,
                                  const char **ret_sql, size_t *ret_length);
/* The 1-based character of `text` for one of the rewritten text. */
int rewrite_original_position(const char *text, size_t length, int position);

#endif
