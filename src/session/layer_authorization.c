/* session/layer_authorization.c: what the transaction allows, and what this server is: a replica writes nothing. */
#include "repl/node.h"
#include "session/layers.h"

static sq_status check_write(const struct service *service, const struct query *query, struct sq_error *err)
{
    if (service->context->is_read_only)
        return sq_fail_sql(err, SQ_SQL, "25006", "cannot execute %s in a read-only transaction",
                           query->verb != NULL ? query->verb : "a statement that writes");
    return service->context->node != NULL ? repl_node_check_writable(service->context->node, err) : SQ_OK;
}

static enum query_progress authorization_run(struct service *service, struct query *query, struct sink *sink,
                                             struct sq_error *err)
{
    if (query->stage == QUERY_NEW && !query->statement->is_readonly && check_write(service, query, err) != SQ_OK) {
        query->stage = QUERY_ENDED;
        return QUERY_FAILED;
    }
    return service_run(service->inner, query, sink, err);
}

static enum query_progress authorization_claim(struct service *service, struct query *query, struct sq_error *err)
{
    if (check_write(service, query, err) != SQ_OK)
        return QUERY_FAILED;
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
