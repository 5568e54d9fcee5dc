/* session/layer_authorization.c: what the transaction allows, and what this server may do at all: a replica, or a server that
 * another one has taken the place of, writes nothing. A session's statements that write are sent to the primary long before
 * (remote.h); this is for whatever would not be. Its own private databases, and temporary tables, are nobody else's. */
#include "engine/database.h"
#include "repl/node.h"
#include "session/layers.h"

static sq_status check_server(const struct service_context *context, struct sq_error *err)
{
    if (context->node == NULL || (context->database != NULL && engine_database_is_private(context->database)))
        return SQ_OK;
    return repl_node_check_writable(context->node, err);
}

static enum query_progress authorization_run(struct service *service, struct query *query, struct sink *sink,
                                             struct sq_error *err)
{
    if (query->stage == QUERY_NEW && service->context->is_read_only && !query->statement->is_readonly) {
        query->stage = QUERY_ENDED;
        (void)sq_fail_sql(err, SQ_SQL, "25006", "cannot execute %s in a read-only transaction",
                          query->verb != NULL ? query->verb : "a statement that writes");
        return QUERY_FAILED;
    }
    if (query->stage == QUERY_NEW && !query->statement->is_readonly && check_server(service->context, err) != SQ_OK) {
        query->stage = QUERY_ENDED;
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
    if (check_server(service->context, err) != SQ_OK)
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
