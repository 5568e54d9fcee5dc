/* session/layer_admission.c: limits on connections, in all, of a role and to a database; and on memory. It counts sessions
 * that have come through the start-up; those that have not are bounded in time instead (authentication-timeout). */
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/memory.h"
#include "engine/database.h"
#include "metrics/metrics.h"
#include "session/layers.h"

/* How many connections there are of a role, or to a database. */
struct admission_count {
    size_t connection_count;
    char name[];
};

struct admission {
    struct service base;
    struct layer_shared *shared;
    struct admission_count *role;
    struct admission_count *database;
};

void layer_shared_init(struct layer_shared *shared)
{
    atomic_init(&shared->connection_count, 0);
    pthread_mutex_init(&shared->mutex, NULL);
    sq_map_init(&shared->roles);
    sq_map_init(&shared->databases);
}

void layer_shared_done(struct layer_shared *shared)
{
    sq_assert(shared->roles.count == 0 && shared->databases.count == 0);
    sq_map_done(&shared->roles);
    sq_map_done(&shared->databases);
    pthread_mutex_destroy(&shared->mutex);
}

/* --- Counting, under the mutex ------------------------------------------------------------------------------------- */

static void count_out(struct sq_map *map, struct admission_count *count)
{
    if (count == NULL || --count->connection_count > 0)
        return;
    sq_map_remove(map, count->name, strlen(count->name));
    free(count);
}

/* *ret_is_full: there are `most` (0: no limit) already. NULL then, and without memory. */
static struct admission_count *count_in(struct sq_map *map, const char *name, size_t most, bool *ret_is_full)
{
    size_t length = strlen(name);
    struct admission_count *count = sq_map_get(map, name, length);
    *ret_is_full = count != NULL && most != 0 && count->connection_count >= most;
    if (*ret_is_full)
        return NULL;
    if (count == NULL) {
        count = calloc(1, sizeof(*count) + length + 1);
        if (count == NULL)
            return NULL;
        memcpy(count->name, name, length + 1);
        if (sq_map_put(map, count->name, length, count, NULL) != SQ_OK) {
            free(count);
            return NULL;
        }
    }
    count->connection_count++;
    return count;
}

/* --- Connections --------------------------------------------------------------------------------------------------- */

static sq_status fail_memory(struct sq_error *err, const char *sqlstate, const char *text)
{
    sq_status status = sq_fail_sql(err, SQ_NOMEM, sqlstate, "%s", text);
    sq_memory_set_hint(err);
    return status;
}

static sq_status admit(struct admission *admission, const struct service_context *context, struct sq_error *err)
{
    struct layer_shared *shared = admission->shared;
    const char *role = context->role != NULL ? context->role : "";
    const char *database = context->database != NULL ? engine_database_name(context->database) : "";
    bool is_role_full = false;
    bool is_database_full = false;
    pthread_mutex_lock(&shared->mutex);
    admission->role = count_in(&shared->roles, role, context->role_connection_max, &is_role_full);
    if (admission->role != NULL)
        admission->database =
            count_in(&shared->databases, database, context->database_connection_max, &is_database_full);
    bool is_in = admission->database != NULL;
    if (!is_in)
        count_out(&shared->roles, admission->role);
    pthread_mutex_unlock(&shared->mutex);
    if (is_in)
        return SQ_OK;
    if (is_role_full)
        return sq_fail_sql(err, SQ_LIMIT, "53300", "too many connections for role \"%s\"", role);
    if (is_database_full)
        return sq_fail_sql(err, SQ_LIMIT, "53300", "too many connections for database \"%s\"", database);
    return sq_fail(err, SQ_NOMEM, "out of memory for a session");
}

static sq_status admit_one_more(struct admission *admission, const struct service_context *context,
                                struct sq_error *err)
{
    struct layer_shared *shared = admission->shared;
    if (sq_memory_is_short())
        return fail_memory(err, "53300", "the server has no memory for further connections");
    /* Relaxed: the number is all there is to agree about. */
    sq_status status = SQ_OK;
    if (atomic_fetch_add_explicit(&shared->connection_count, 1, memory_order_relaxed) >= context->connection_max) {
        status = sq_fail_sql(err, SQ_LIMIT, "53300", "sorry, too many clients already");
        sq_error_set_detail(err, "max-connections is %zu.", context->connection_max);
    } else {
        status = admit(admission, context, err);
    }
    if (status != SQ_OK)
        atomic_fetch_sub_explicit(&shared->connection_count, 1, memory_order_relaxed);
    return status;
}

static void admission_free(struct service *service)
{
    struct admission *admission = SQ_CONTAINER_OF(service, struct admission, base);
    struct layer_shared *shared = admission->shared;
    struct admission_count *role = admission->role;
    struct admission_count *database = admission->database;
    service_forward_free(service);
    pthread_mutex_lock(&shared->mutex);
    count_out(&shared->roles, role);
    count_out(&shared->databases, database);
    pthread_mutex_unlock(&shared->mutex);
    atomic_fetch_sub_explicit(&shared->connection_count, 1, memory_order_relaxed);
}

/* --- Statements ---------------------------------------------------------------------------------------------------- */

/* What ends transactions does not come here, and operators may always look. */
static enum query_progress admission_run(struct service *service, struct query *query, struct sink *sink,
                                         struct sq_error *err)
{
    if (SQ_UNLIKELY(query->stage == QUERY_NEW && sq_memory_is_short()) &&
        (query->verb == NULL || strcmp(query->verb, "SHOW") != 0)) {
        query->stage = QUERY_ENDED;
        (void)fail_memory(err, "53200", "out of memory");
        return QUERY_FAILED;
    }
    return service_run(service->inner, query, sink, err);
}

static const struct service_ops admission_ops = {
    SERVICE_OPS_FORWARD_REST,
    .run = admission_run,
    .finish = service_forward_finish,
    .free = admission_free,
};

static sq_status admission_wrap(struct service *inner, struct layer_shared *shared, struct sq_error *err,
                                struct service **ret_service)
{
    struct admission *admission = calloc(1, sizeof(*admission));
    if (admission == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a session");
    admission->base = (struct service){.ops = &admission_ops, .inner = inner, .context = inner->context};
    admission->shared = shared;
    sq_status status = admit_one_more(admission, inner->context, err);
    if (status != SQ_OK) {
        free(admission);
        metrics_counter_add(METRICS_CONNECTIONS_REFUSED, 1);
        return status;
    }
    *ret_service = &admission->base;
    return SQ_OK;
}

const struct service_layer layer_admission = {"admission", admission_wrap};
