/* session/translate.h: session commands that SQL can say. SHOW becomes a SELECT from a function, BEGIN becomes SQLite's
 * BEGIN, and so on: rows, portals, limits, formats and descriptions then work for them as for every other statement. */
#ifndef SQ_SESSION_TRANSLATE_H
#define SQ_SESSION_TRANSLATE_H

#include "base/arena.h"
#include "base/status.h"

struct command;
struct session;

/* *ret_sql is the SQL to run for `command`, in the arena or constant, or NULL: the command is not for the services. */
SQ_MUST_USE sq_status translate_command(struct session *session, const struct command *command, struct sq_arena *arena,
                                        struct sq_error *err, const char **ret_sql);

#endif
