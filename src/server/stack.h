/* server/stack.h: the service stack of a listener: which layers a query passes, top to bottom. The list is in stack.c. */
#ifndef SQ_SERVER_STACK_H
#define SQ_SERVER_STACK_H

#include "base/status.h"
#include "sched/service.h"
#include "session/layers.h"

struct server_stack {
    struct service_factory factory; /* makes the outermost service */
    struct service_factory *innermost;
    struct layer_shared shared;
};

/* `innermost` (the scheduler's factory) outlives the stack, which outlives the services it makes. */
void server_stack_init(struct server_stack *stack, struct service_factory *innermost);
/* All services have been freed. */
void server_stack_done(struct server_stack *stack);

#endif
