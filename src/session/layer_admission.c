/* session/layer_admission.c: a limit on connections. It counts sessions that have come through the start-up; those that
 * have not are bounded in time instead (authentication-timeout). */
#include <stdlib.h>

#include "base/list.h"
#include "metrics/metrics.h"
#include "session/layers.h"

struct admission {
    struct service base;
    struct layer_shared *shared;
};

static void admission_free(struct service *service)
{
    struct layer_shared *shared = SQ_CONTAINER_OF(service, struct admission, base)->shared;
    service_forward_free(service);
    atomic_fetch_sub_explicit(&shared->connection_count, 1, memory_order_relaxed);
}

static const struct service_ops admission_ops = {
    SERVICE_OPS_FORWARD_ALL_BUT_FREE,
    .free = admission_free,
};

static sq_status admission_wrap(struct service *inner, struct layer_shared *shared, struct sq_error *err,
                                struct service **ret_service)
{
    size_t connection_max = inner->context->connection_max;
    struct admission *admission = calloc(1, sizeof(*admission));
    if (admission == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a session");
    /* Relaxed: the number is all there is to agree about. */
    if (atomic_fetch_add_explicit(&shared->connection_count, 1, memory_order_relaxed) >= connection_max) {
        atomic_fetch_sub_explicit(&shared->connection_count, 1, memory_order_relaxed);
        free(admission);
        metrics_counter_add(METRICS_CONNECTIONS_REFUSED, 1);
        sq_status status = sq_fail_sql(err, SQ_LIMIT, "53300", "sorry, too many clients already");
        sq_error_set_detail(err, "max-connections is %zu.", connection_max);
        return status;
    }
    admission->base = (struct service){.ops = &admission_ops, .inner = inner, .context = inner->context};
    admission->shared = shared;
    *ret_service = &admission->base;
    return SQ_OK;
}

const struct service_layer layer_admission = {"admission", admission_wrap};
