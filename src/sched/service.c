/* sched/service.c: the calls that layers pass on. */
#include "sched/service.h"

#include <stdlib.h>

sq_status service_forward_prepare(struct service *service, const char *sql, size_t length, struct sq_error *err,
                                  struct service_statement **ret_statement, size_t *ret_consumed)
{
    return service_prepare(service->inner, sql, length, err, ret_statement, ret_consumed);
}

sq_status service_forward_prepare_native(struct service *service, const char *sql, size_t length, unsigned flags,
                                         struct sq_error *err, struct service_statement **ret_statement,
                                         size_t *ret_consumed)
{
    return service_prepare_native(service->inner, sql, length, flags, err, ret_statement, ret_consumed);
}

void service_forward_column(struct service *service, struct service_statement *statement, size_t column_index,
                            struct service_column *ret_column)
{
    service_column(service->inner, statement, column_index, ret_column);
}

sq_status service_forward_infer(struct service *service, struct service_statement *statement, struct sq_error *err,
                                enum sq_type *ret_columns, enum sq_type *ret_parameters)
{
    return service_infer(service->inner, statement, err, ret_columns, ret_parameters);
}

void service_forward_release(struct service *service, struct service_statement *statement)
{
    service_release(service->inner, statement);
}

enum query_progress service_forward_run(struct service *service, struct query *query, struct sink *sink,
                                        struct sq_error *err)
{
    return service_run(service->inner, query, sink, err);
}

sq_status service_forward_finish(struct service *service, struct query *query, struct sq_error *err)
{
    return service_finish(service->inner, query, err);
}

sq_status service_forward_exec(struct service *service, const char *sql, struct sq_error *err)
{
    return service_exec(service->inner, sql, err);
}

bool service_forward_is_in_transaction(struct service *service)
{
    return service_is_in_transaction(service->inner);
}

bool service_forward_is_wanted(struct service *service)
{
    return service_is_wanted(service->inner);
}

sq_status service_forward_attach(struct service *service, const char *database, const char *alias, bool is_readonly,
                                 struct sq_error *err)
{
    return service_attach(service->inner, database, alias, is_readonly, err);
}

sq_status service_forward_detach(struct service *service, const char *alias, struct sq_error *err)
{
    return service_detach(service->inner, alias, err);
}

void service_forward_reset(struct service *service)
{
    service_reset(service->inner);
}

uint64_t service_forward_generation(struct service *service)
{
    return service_generation(service->inner);
}

size_t service_forward_statement_bytes(struct service *service, struct service_statement *statement)
{
    return service_statement_bytes(service->inner, statement);
}

bool service_forward_may_rest(struct service *service)
{
    return service_may_rest(service->inner);
}

void service_forward_rest(struct service *service)
{
    service_rest(service->inner);
}

sq_status service_forward_begin(struct service *service, struct query *query, struct sq_error *err,
                                struct engine_connection **ret_connection)
{
    return service_begin(service->inner, query, err, ret_connection);
}

enum query_progress service_forward_claim(struct service *service, struct query *query, struct sq_error *err)
{
    return service_claim(service->inner, query, err);
}

sq_status service_forward_end(struct service *service, struct query *query, struct sq_error *err)
{
    return service_end(service->inner, query, err);
}

sq_status service_forward_note(struct service *service, struct sq_error *err)
{
    return service_note(service->inner, err);
}

sq_status service_wrap(struct service *inner, const struct service_ops *ops, struct sq_error *err,
                       struct service **ret_service)
{
    struct service *service = calloc(1, sizeof(*service));
    if (service == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a session");
    *service = (struct service){.ops = ops, .inner = inner, .context = inner->context};
    *ret_service = service;
    return SQ_OK;
}

void service_forward_free(struct service *service)
{
    service_free(service->inner);
    free(service);
}
