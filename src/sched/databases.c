/* sched/databases.c: what the scheduler keeps of each database while somebody uses it: its write slot, and what the
 * checkpointer knows of it. Counted, under the scheduler's mutex. A private database has no name that anybody could look for:
 * it is its one connection's. And what the server sets and asks for all of them together. */
#include <stdlib.h>
#include <string.h>

#include "sched/connection_pool.h"
#include "sched/scheduler_internal.h"

/* A new one, without references; NULL without memory. */
static struct sched_database *new_database(struct engine_database *engine)
{
    struct sched_database *database = calloc(1, sizeof(*database));
    if (database == NULL)
        return NULL;
    const char *name = engine_database_name(engine);
    database->engine = engine;
    sched_slot_init(&database->slot);
    sched_checkpoint_init(&database->checkpoint);
    memcpy(database->name, name, strlen(name) + 1);
    return database;
}

struct sched_database *sched_find_database(struct sched *sched, struct engine_database *engine)
{
    const char *name = engine_database_name(engine);
    bool is_private = engine_database_is_private(engine); /* it has no name: nobody else can look for it */
    pthread_mutex_lock(&sched->mutex);
    struct sched_database *database = is_private ? NULL : sq_map_get(&sched->databases, name, strlen(name));
    if (database == NULL) {
        database = new_database(engine);
        if (database != NULL && !is_private &&
            sq_map_put(&sched->databases, name, strlen(name), database, NULL) != SQ_OK) {
            sched_slot_done(&database->slot);
            free(database);
            database = NULL;
        }
    }
    if (database != NULL)
        database->ref_count++;
    pthread_mutex_unlock(&sched->mutex);
    return database;
}

void sched_database_ref(struct sched *sched, struct sched_database *database)
{
    pthread_mutex_lock(&sched->mutex);
    sq_assert(database->ref_count > 0);
    database->ref_count++;
    pthread_mutex_unlock(&sched->mutex);
}

void sched_database_unref(struct sched *sched, struct sched_database *database)
{
    pthread_mutex_lock(&sched->mutex);
    bool is_last = --database->ref_count == 0;
    if (is_last && !engine_database_is_private(database->engine))
        sq_map_remove(&sched->databases, database->name, strlen(database->name));
    pthread_mutex_unlock(&sched->mutex);
    if (is_last) {
        sched_slot_done(&database->slot);
        free(database);
    }
}

size_t sched_queue_length(struct sched *sched, const char *name)
{
    pthread_mutex_lock(&sched->mutex);
    struct sched_database *database = sq_map_get(&sched->databases, name, strlen(name));
    size_t length = database != NULL ? sched_slot_queue_length(&database->slot) : 0;
    pthread_mutex_unlock(&sched->mutex);
    return length;
}

/* --- For all databases together --- */

void sched_set_idle_connections(struct sched *sched, size_t idle_max, int64_t idle_us)
{
    connection_pool_configure(sched->connection_pool, idle_max, idle_us);
}

void sched_set_checkpoint_frames(struct sched *sched, uint32_t slice, uint32_t restart)
{
    sched_checkpointer_set_frames(sched->checkpointer, slice, restart);
}

bool sched_has_many_connections(const struct sched *sched)
{
    return connection_pool_is_crowded(sched->connection_pool);
}

void sched_forget_database(struct sched *sched, const char *name)
{
    connection_pool_forget(sched->connection_pool, name);
}
