/* engine/database_internal.h: what database.c (the data directory) and database_make.c share. "locked": under the registry's mutex. */
#ifndef SQ_ENGINE_DATABASE_INTERNAL_H
#define SQ_ENGINE_DATABASE_INTERNAL_H

#include <pthread.h>

#include "engine/database.h"

pthread_mutex_t *database_registry_mutex(struct engine_registry *registry);
SQ_MUST_USE sq_status database_check_name(const char *name, struct sq_error *err);
SQ_MUST_USE sq_status database_create_locked(struct engine_registry *registry, const char *name, const char *origin,
                                             struct sq_error *err);
SQ_MUST_USE sq_status database_rename_locked(struct engine_registry *registry, const char *name, const char *new_name,
                                             struct sq_error *err);
/* "" if there is none, or none that could be read. */
void database_read_origin(struct engine_registry *registry, const char *name, char origin[ENGINE_ORIGIN_MAX + 1]);

#endif
