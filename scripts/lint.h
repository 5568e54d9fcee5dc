/* scripts/lint.h: read by clang-tidy before every file (scripts/lint.py), never by a compiler. It tells the static
 * analyser what it cannot see from one file: that sq_fail() gives back the status it was handed, so that what follows an
 * SQ_TRY() is reached only when the callee has set its results. */
#ifndef SQ_SCRIPTS_LINT_H
#define SQ_SCRIPTS_LINT_H

#include "base/status.h"

static inline sq_status lint_status(sq_status known, sq_status made)
{
    (void)made;
    return known;
}

#undef sq_fail
#define sq_fail(err, status, ...)                                                                                      \
    lint_status((status), sq_fail_at((err), (status), NULL, __FILE__, __LINE__, __VA_ARGS__))
#undef sq_fail_sql
#define sq_fail_sql(err, status, sqlstate, ...)                                                                        \
    lint_status((status), sq_fail_at((err), (status), (sqlstate), __FILE__, __LINE__, __VA_ARGS__))
#undef sq_fail_errno
#define sq_fail_errno(err, errno_value, ...)                                                                           \
    lint_status(SQ_IO, sq_fail_errno_at((err), (errno_value), __FILE__, __LINE__, __VA_ARGS__))

#endif
