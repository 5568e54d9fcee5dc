/* base/log.h: the server's log. One line an event, key=value, written whole with one write(2), so that lines of
 * several threads never mix.
 *
 *     2026-11-22T14:05:31.123456Z INFO  server msg="listening" address=127.0.0.1:5432
 *
 * The owner of a thing logs (session, repl, server); lower rooms return errors. Secrets are never passed here.
 * Threads: any; the configuration is set before threads start, and levels may be changed at any time. */
#ifndef SQ_BASE_LOG_H
#define SQ_BASE_LOG_H

#include <stdbool.h>

#include "base/status.h"

enum sq_log_level { SQ_LOG_DEBUG, SQ_LOG_INFO, SQ_LOG_WARNING, SQ_LOG_ERROR, SQ_LOG_LEVEL_COUNT };

/* Lines below `level` are dropped. */
void sq_log_set_level(enum sq_log_level level);
bool sq_log_is_on(enum sq_log_level level);

/* Where lines go: standard error (the default), or a file that is appended to and reopened by sq_log_reopen().
 * `path` "" or "stderr": standard error. */
SQ_MUST_USE sq_status sq_log_open(const char *path, struct sq_error *err);
/* Opens the file anew, for log rotation; on failure the old file stays. */
SQ_MUST_USE sq_status sq_log_reopen(struct sq_error *err);

/* A line: `target` is the room that speaks, `message` the event in a few words, then printf'd key=value pairs (may be
 * ""). Text that comes from outside goes through SQ_LOG_QUOTE-d arguments: see sq_log_quote(). */
void sq_log(enum sq_log_level level, const char *target, const char *message, const char *pairs_format, ...)
    SQ_PRINTF(4, 5);

enum { SQ_LOG_QUOTED_MAX = 512 };
/* `text` in double quotes, with quotes, backslashes and control characters escaped, cut to fit; returns `out`. */
const char *sq_log_quote(char out[SQ_LOG_QUOTED_MAX], const char *text);

/* Logs `err` once: its text, SQLSTATE and place. */
void sq_log_error(enum sq_log_level level, const char *target, const char *message, const struct sq_error *err);

#endif
