/* session/layer_metrics.c: counts and measures statements; logs slow ones. */
#include "base/clock.h"
#include "base/log.h"
#include "engine/database.h"
#include "metrics/metrics.h"
#include "session/layers.h"

/* The statement is over, however it ended. */
static void account(struct service_context *context, struct query *query, const struct sq_error *failure)
{
    int64_t duration_us = sq_clock_now_us() - query->started_us;
    query->started_us = 0;
    metrics_gauge_add(METRICS_QUERIES_RUNNING, -1);
    metrics_counter_add(query->statement->is_readonly ? METRICS_QUERIES_READ : METRICS_QUERIES_WRITE, 1);
    metrics_counter_add(METRICS_ROWS_SENT, query->row_count);
    metrics_histogram_add(METRICS_QUERY_DURATION, duration_us);
    if (failure != NULL)
        metrics_counter_add(METRICS_QUERIES_FAILED, 1);
    if (context->slow_log_us < 0 || duration_us < context->slow_log_us)
        return;
    char text[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_INFO, "session", "statement", "conn=%llu db=%s duration_ms=%.3f rows=%llu sqlstate=%s sql=%s",
           (unsigned long long)context->connection_id, engine_database_name(context->database),
           (double)duration_us / SQ_US_PER_MS, (unsigned long long)query->row_count,
           failure != NULL ? failure->sqlstate : "00000", sq_log_quote(text, query->text != NULL ? query->text : ""));
}

static enum query_progress metrics_run(struct service *service, struct query *query, struct sink *sink,
                                       struct sq_error *err)
{
    if (query->started_us == 0) {
        query->started_us = sq_clock_now_us();
        metrics_gauge_add(METRICS_QUERIES_RUNNING, 1);
    }
    enum query_progress progress = service_run(service->inner, query, sink, err);
    if (progress == QUERY_DONE || progress == QUERY_FAILED)
        account(service->context, query, progress == QUERY_FAILED ? err : NULL);
    return progress;
}

static sq_status metrics_finish(struct service *service, struct query *query, struct sq_error *err)
{
    struct sq_error local;
    sq_status status = service_finish(service->inner, query, err != NULL ? err : &local);
    if (query->started_us != 0)
        account(service->context, query, status != SQ_OK ? (err != NULL ? err : &local) : NULL);
    return status;
}

static const struct service_ops metrics_ops = {
    SERVICE_OPS_FORWARD_ALL_BUT_RUN_AND_FINISH,
    .run = metrics_run,
    .finish = metrics_finish,
};

static sq_status metrics_wrap(struct service *inner, struct layer_shared *shared, struct sq_error *err,
                              struct service **ret_service)
{
    (void)shared;
    return service_wrap(inner, &metrics_ops, err, ret_service);
}

const struct service_layer layer_metrics = {"metrics", metrics_wrap};
