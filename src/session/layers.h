/* session/layers.h: the layers that a listener can put around the scheduler. Each one does one thing; which of them are
 * used, and in which order, is one list in server/stack.c.
 *
 * A layer wraps the service of one connection: on success the wrapper owns `inner`; on failure `inner` is untouched. */
#ifndef SQ_SESSION_LAYERS_H
#define SQ_SESSION_LAYERS_H

#include <stdatomic.h>

#include "base/status.h"
#include "sched/service.h"

/* What the layers of all connections of a listener share. */
struct layer_shared {
    atomic_size_t connection_count; /* of layer_admission */
};

struct service_layer {
    const char *name;
    sq_status (*wrap_cb)(struct service *inner, struct layer_shared *shared, struct sq_error *err,
                         struct service **ret_service);
};

/* Admits a connection only while there are fewer than context->connection_max: 53300. */
extern const struct service_layer layer_admission;
/* Refuses statements that write in a read-only transaction: 25006. Roles will be checked here. */
extern const struct service_layer layer_authorization;
/* Stops statements that run longer than context->statement_timeout_us: 57014. */
extern const struct service_layer layer_timeout;
/* Counts statements and rows, measures and, if they are slow, logs them. */
extern const struct service_layer layer_metrics;

#endif
