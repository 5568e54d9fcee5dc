/* session/layers.h: the layers that a listener can put around the scheduler. Each one does one thing; which of them are
 * used, and in which order, is one list in server/stack.c.
 *
 * A layer wraps the service of one connection: on success the wrapper owns `inner`; on failure `inner` is untouched. */
#ifndef SQ_SESSION_LAYERS_H
#define SQ_SESSION_LAYERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "base/status.h"
#include "sched/service.h"

/* What the layers of all connections of a listener share. */
struct layer_shared {
    /* Of layer_admission. */
    atomic_size_t connection_count;
    pthread_mutex_t mutex;
    struct sq_map roles;     /* name -> how many connections; guarded by the mutex */
    struct sq_map databases; /* likewise */
};

void layer_shared_init(struct layer_shared *shared);
/* No service is left. */
void layer_shared_done(struct layer_shared *shared);

struct service_layer {
    const char *name;
    sq_status (*wrap_cb)(struct service *inner, struct layer_shared *shared, struct sq_error *err,
                         struct service **ret_service);
};

/* Admits a connection only while there are fewer than the context's limits allow, in all, of its role and to its database,
 * and a connection and its statements only while memory is not short: 53300, 53200. */
extern const struct service_layer layer_admission;
/* Refuses statements that write in a read-only transaction: 25006. Roles will be checked here. */
extern const struct service_layer layer_authorization;
/* Stops statements that run longer than context->statement_timeout_us: 57014. */
extern const struct service_layer layer_timeout;
/* Counts statements and rows, measures and, if they are slow, logs them. */
extern const struct service_layer layer_metrics;

#endif
