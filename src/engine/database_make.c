/* engine/database_make.c: databases for clients that stand for a program with files of its own: which one is meant, or made. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "engine/database_internal.h"

/* `name` with `suffix` and a number behind it that no database has, counted from `first`. */
static void find_free_name(struct engine_registry *registry, const char *name, const char *suffix, unsigned first,
                           char free_name[ENGINE_DATABASE_NAME_MAX + 1])
{
    unsigned number = first;
    do {
        char end[ENGINE_DATABASE_NAME_MAX / 2];
        int end_length = snprintf(end, sizeof(end), "%s%u", suffix, number++);
        sq_assert(end_length > 0 && (size_t)end_length < sizeof(end));
        snprintf(free_name, ENGINE_DATABASE_NAME_MAX + 1, "%.*s%s", ENGINE_DATABASE_NAME_MAX - end_length, name, end);
    } while (engine_database_exists(registry, free_name));
}

static sq_status make_fresh(struct engine_registry *registry, const char *name, const char *origin,
                            struct sq_error *err, char ret_name[ENGINE_DATABASE_NAME_MAX + 1])
{
    char made[ENGINE_DATABASE_NAME_MAX + 1];
    snprintf(made, sizeof(made), "%s", name);
    if (engine_database_exists(registry, name))
        find_free_name(registry, name, "_", 2, made);
    SQ_TRY(database_create_locked(registry, made, origin, err));
    memcpy(ret_name, made, sizeof(made));
    return SQ_OK;
}

static sq_status make_locked(struct engine_registry *registry, const char *name, bool is_fresh, const char *origin,
                             struct sq_error *err, char ret_name[ENGINE_DATABASE_NAME_MAX + 1])
{
    if (is_fresh || !engine_database_exists(registry, name))
        return make_fresh(registry, name, origin, err, ret_name);
    char former[ENGINE_ORIGIN_MAX + 1];
    database_read_origin(registry, name, former);
    if (origin[0] == '\0' || strcasecmp(origin, former) != 0) {
        snprintf(ret_name, ENGINE_DATABASE_NAME_MAX + 1, "%s", name);
        return SQ_OK;
    }
    char kept[ENGINE_DATABASE_NAME_MAX + 1];
    find_free_name(registry, name, "_deleted_", 1, kept);
    sq_status status = strcmp(name, engine_registry_default_name(registry)) == 0
                           ? SQ_BUSY
                           : database_rename_locked(registry, name, kept, err);
    if (status != SQ_OK && status != SQ_BUSY)
        return status;
    return make_fresh(registry, name, origin, err, ret_name);
}

sq_status engine_database_make(struct engine_registry *registry, const char *name, bool is_fresh, const char *origin,
                               struct sq_error *err, char ret_name[ENGINE_DATABASE_NAME_MAX + 1])
{
    sq_assert(strlen(origin) <= ENGINE_ORIGIN_MAX);
    SQ_TRY(database_check_name(name, err));
    pthread_mutex_lock(database_registry_mutex(registry));
    sq_status status = make_locked(registry, name, is_fresh, origin, err, ret_name);
    pthread_mutex_unlock(database_registry_mutex(registry));
    return status;
}
