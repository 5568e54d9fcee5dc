/* session/layer_timeout.c: statement_timeout. The deadline of a query holds for a run and its continuations, also while
 * it waits for a lock or for a client that reads slowly; a suspended portal's clock stands still. */
#include "base/clock.h"
#include "metrics/metrics.h"
#include "session/layers.h"

static enum query_progress timeout_run(struct service *service, struct query *query, struct sink *sink,
                                       struct sq_error *err)
{
    struct service_context *context = service->context;
    if (context->statement_timeout_us == 0 && query->deadline_us == 0)
        return service_run(service->inner, query, sink, err);
    if (query->deadline_us == 0)
        query->deadline_us = sq_clock_now_us() + context->statement_timeout_us;
    context->stop.deadline_us = query->deadline_us;
    enum query_progress progress = service_run(service->inner, query, sink, err);
    if (!query_progress_is_end(progress))
        return progress; /* the deadline stays set, for whoever waits on the query's behalf */
    if (progress == QUERY_FAILED && err->status == SQ_CANCELED &&
        engine_stop_check(&context->stop) == ENGINE_STOP_TIMEOUT)
        metrics_counter_add(METRICS_STATEMENT_TIMEOUTS, 1);
    query->deadline_us = 0;
    context->stop.deadline_us = 0;
    return progress;
}

static sq_status timeout_begin(struct service *service, struct query *query, struct sq_error *err,
                               struct engine_connection **ret_connection)
{
    struct service_context *context = service->context;
    SQ_TRY(service_begin(service->inner, query, err, ret_connection));
    if (context->statement_timeout_us != 0)
        context->stop.deadline_us = query->deadline_us = sq_clock_now_us() + context->statement_timeout_us;
    return SQ_OK;
}

static sq_status timeout_end(struct service *service, struct query *query, struct sq_error *err)
{
    if (query->deadline_us != 0)
        query->deadline_us = service->context->stop.deadline_us = 0;
    return service_end(service->inner, query, err);
}

static const struct service_ops timeout_ops = {
    SERVICE_OPS_FORWARD_ALL_BUT_RUN_AND_WORK, .run = timeout_run, .begin = timeout_begin,
    .claim = service_forward_claim,           .end = timeout_end,
};

static sq_status timeout_wrap(struct service *inner, struct layer_shared *shared, struct sq_error *err,
                              struct service **ret_service)
{
    (void)shared;
    return service_wrap(inner, &timeout_ops, err, ret_service);
}

const struct service_layer layer_timeout = {"timeout", timeout_wrap};
