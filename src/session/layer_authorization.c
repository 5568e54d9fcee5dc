/* session/layer_authorization.c: what the transaction allows. */
#include "session/layers.h"

static enum query_progress authorization_run(struct service *service, struct query *query, struct sink *sink,
                                             struct sq_error *err)
{
    if (query->stage == QUERY_NEW && service->context->is_read_only && !query->statement->is_readonly) {
        query->stage = QUERY_ENDED;
        (void)sq_fail_sql(err, SQ_SQL, "25006", "cannot execute %s in a read-only transaction",
                          query->verb != NULL ? query->verb : "a statement that writes");
        return QUERY_FAILED;
    }
    return service_run(service->inner, query, sink, err);
}

static enum query_progress authorization_claim(struct service *service, struct query *query, struct sq_error *err)
{
    if (service->context->is_read_only) {
        (void)sq_fail_sql(err, SQ_SQL, "25006", "cannot execute %s in a read-only transaction",
                          query->verb != NULL ? query->verb : "what writes");
        return QUERY_FAILED;
    }
    return service_claim(service->inner, query, err);
}

static const struct service_ops authorization_ops = {
    SERVICE_OPS_FORWARD_ALL_BUT_RUN_AND_WORK,
    .run = authorization_run,
    .begin = service_forward_begin,
    .claim = authorization_claim,
    .end = service_forward_end,
};

static sq_status authorization_wrap(struct service *inner, struct layer_shared *shared, struct sq_error *err,
                                    struct service **ret_service)
{
    (void)shared;
    return service_wrap(inner, &authorization_ops, err, ret_service);
}

const struct service_layer layer_authorization = {"authorization", authorization_wrap};
