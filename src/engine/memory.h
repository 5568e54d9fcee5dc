/* engine/memory.h: SQLite's memory counts towards the server's ceiling (base/memory.h). */
#ifndef SQ_ENGINE_MEMORY_H
#define SQ_ENGINE_MEMORY_H

#include "base/status.h"

/* Once, before sqlite3_initialize(). */
SQ_MUST_USE sq_status engine_memory_install(struct sq_error *err);

#endif
