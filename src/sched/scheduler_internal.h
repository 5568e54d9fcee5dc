/* sched/scheduler_internal.h: what the files of the scheduler know of it and of its databases. */
#ifndef SQ_SCHED_SCHEDULER_INTERNAL_H
#define SQ_SCHED_SCHEDULER_INTERNAL_H

#include <pthread.h>

#include "base/map.h"
#include "engine/database.h"
#include "sched/checkpointer.h"
#include "sched/scheduler.h"
#include "sched/service.h"
#include "sched/slot.h"

struct connection_pool;

struct sched {
    struct service_factory factory;
    pthread_mutex_t mutex;
    struct sq_map databases; /* name -> struct sched_database */
    struct sched_checkpointer *checkpointer;
    struct connection_pool *connection_pool;
};

/* One database's part of the scheduler, shared by its services. It lives as long as somebody holds a reference, and that
 * somebody holds one of `engine` too, for longer. */
struct sched_database {
    struct engine_database *engine;
    struct sched_slot slot;
    struct sched_checkpoint checkpoint;
    size_t ref_count; /* guarded by the scheduler's mutex */
    char name[ENGINE_DATABASE_NAME_MAX + 1];
};

/* The one of `engine`, made if there is none, with a reference for the caller; NULL without memory. */
struct sched_database *sched_find_database(struct sched *sched, struct engine_database *engine);
void sched_database_ref(struct sched *sched, struct sched_database *database);
void sched_database_unref(struct sched *sched, struct sched_database *database);

#endif
