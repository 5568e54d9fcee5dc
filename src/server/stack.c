/* server/stack.c: the one place that says which layers there are. */
#include "server/stack.h"

#include "base/list.h"

/* A query passes them from top to bottom and then reaches the scheduler. */
static const struct service_layer *const layers[] = {
    &layer_admission,
    &layer_authorization,
    &layer_timeout,
    &layer_metrics,
};

static sq_status make_service(struct service_factory *factory, struct service_context *context, struct sq_error *err,
                              struct service **ret_service)
{
    struct server_stack *stack = SQ_CONTAINER_OF(factory, struct server_stack, factory);
    struct service *service = NULL;
    SQ_TRY(stack->innermost->make_cb(stack->innermost, context, err, &service));
    for (size_t i = sizeof(layers) / sizeof(layers[0]); i-- > 0;) {
        struct service *wrapped = NULL;
        sq_status status = layers[i]->wrap_cb(service, &stack->shared, err, &wrapped);
        if (status != SQ_OK) {
            service_free(service);
            return status;
        }
        service = wrapped;
    }
    *ret_service = service;
    return SQ_OK;
}

void server_stack_init(struct server_stack *stack, struct service_factory *innermost)
{
    stack->factory.make_cb = make_service;
    stack->innermost = innermost;
    layer_shared_init(&stack->shared);
}

void server_stack_done(struct server_stack *stack)
{
    layer_shared_done(&stack->shared);
}
