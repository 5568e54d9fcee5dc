/* Each layer by itself around a service that does what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../../lib/scratch.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "engine/database.h"
#include "metrics/metrics.h"
#include "session/layers.h"

/* --- The service inside ------------------------------------------------------------------------------------------------ */

struct scripted {
    struct service base;
    enum query_progress progress; /* what run answers */
    sq_status finish_status;
    const char *sqlstate;
    int run_count, finish_count, free_count, other_count;
    int64_t deadline_seen_us;
};

static struct scripted inner;
static struct service_context context;
static struct layer_shared shared;
static struct service_statement reading = {.is_readonly = true}, writing = {.is_readonly = false};
static struct sq_error err;

static enum query_progress scripted_run(struct service *service, struct query *query, struct sink *sink,
                                        struct sq_error *error)
{
    (void)sink;
    struct scripted *scripted = SQ_CONTAINER_OF(service, struct scripted, base);
    scripted->run_count++;
    scripted->deadline_seen_us = service->context->stop.deadline_us;
    if (scripted->progress == QUERY_FAILED)
        (void)sq_fail_sql(error, SQ_CANCELED, scripted->sqlstate, "as the script says");
    query->stage = query_progress_is_end(scripted->progress) && scripted->progress != QUERY_SUSPENDED ? QUERY_ENDED
                                                                                                      : QUERY_RUNNING;
    return scripted->progress;
}

static sq_status scripted_finish(struct service *service, struct query *query, struct sq_error *error)
{
    struct scripted *scripted = SQ_CONTAINER_OF(service, struct scripted, base);
    scripted->finish_count++;
    query->stage = QUERY_ENDED;
    return scripted->finish_status == SQ_OK ? SQ_OK : sq_fail(error, scripted->finish_status, "as the script says");
}

static sq_status scripted_exec(struct service *service, const char *sql, struct sq_error *error)
{
    (void)error;
    assert_string_equal(sql, "COMMIT");
    SQ_CONTAINER_OF(service, struct scripted, base)->other_count++;
    return SQ_OK;
}

static bool scripted_is_in_transaction(struct service *service)
{
    SQ_CONTAINER_OF(service, struct scripted, base)->other_count++;
    return true;
}

static bool scripted_is_wanted(struct service *service)
{
    SQ_CONTAINER_OF(service, struct scripted, base)->other_count++;
    return true;
}

static void scripted_reset(struct service *service)
{
    SQ_CONTAINER_OF(service, struct scripted, base)->other_count++;
}

static void scripted_free(struct service *service)
{
    SQ_CONTAINER_OF(service, struct scripted, base)->free_count++;
}

static const struct service_ops scripted_ops = {
    .run = scripted_run,
    .finish = scripted_finish,
    .exec = scripted_exec,
    .is_in_transaction = scripted_is_in_transaction,
    .is_wanted = scripted_is_wanted,
    .reset = scripted_reset,
    .free = scripted_free,
};

static int set_up(void **state)
{
    (void)state;
    memset(&context, 0, sizeof(context));
    context.connection_max = 2;
    context.slow_log_us = -1;
    inner = (struct scripted){.base = {.ops = &scripted_ops, .context = &context}, .sqlstate = "57014"};
    layer_shared_done(&shared); /* of the test before; all zero is done, too */
    layer_shared_init(&shared);
    return 0;
}

static struct service *wrap(const struct service_layer *layer)
{
    struct service *service = NULL;
    assert_int_equal(layer->wrap_cb(&inner.base, &shared, &err, &service), SQ_OK);
    assert_ptr_equal(service->inner, &inner.base);
    assert_ptr_equal(service->context, &context);
    return service;
}

static enum query_progress run(struct service *service, struct query *query, enum query_progress progress)
{
    struct sink sink = {0};
    inner.progress = progress;
    return service_run(service, query, &sink, &err);
}

static struct query query_of(struct service_statement *statement)
{
    return (struct query){.statement = statement, .verb = "INSERT", .text = "INSERT INTO t"};
}

/* --- What all have in common --------------------------------------------------------------------------------------------- */

static void a_layer_passes_on_what_is_not_its_business(void **state)
{
    (void)state;
    static const struct service_layer *const layers[] = {&layer_admission, &layer_authorization, &layer_timeout,
                                                         &layer_metrics};
    for (size_t i = 0; i < sizeof(layers) / sizeof(layers[0]); i++) {
        set_up(NULL);
        struct service *service = wrap(layers[i]);
        struct query query = query_of(&writing);
        assert_int_equal(run(service, &query, QUERY_YIELDED), QUERY_YIELDED);
        assert_int_equal(run(service, &query, QUERY_DONE), QUERY_DONE);
        assert_int_equal(service_exec(service, "COMMIT", &err), SQ_OK);
        assert_true(service_is_in_transaction(service));
        assert_true(service_is_wanted(service));
        service_reset(service);
        assert_int_equal(service_finish(service, &query, &err), SQ_OK);
        inner.finish_status = SQ_IO;
        assert_int_equal(service_finish(service, &query, &err), SQ_IO);
        assert_int_equal(inner.run_count, 2);
        assert_int_equal(inner.other_count, 4);
        assert_int_equal(inner.finish_count, 2);
        service_free(service);
        assert_int_equal(inner.free_count, 1);
    }
}

/* --- Admission -------------------------------------------------------------------------------------------------------------- */

static void admission_lets_in_as_many_as_allowed_and_no_more(void **state)
{
    (void)state;
    struct service *refused = NULL;
    struct service *first = wrap(&layer_admission);
    struct service *second = wrap(&layer_admission);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(layer_admission.wrap_cb(&inner.base, &shared, &err, &refused), SQ_LIMIT);
        assert_string_equal(err.sqlstate, "53300");
        assert_null(refused);
        assert_int_equal(inner.free_count, 0);
    }
    service_free(first);
    struct service *third = wrap(&layer_admission);
    assert_int_equal(layer_admission.wrap_cb(&inner.base, &shared, &err, &refused), SQ_LIMIT);
    service_free(second);
    service_free(third);
    assert_int_equal(atomic_load(&shared.connection_count), 0);
}

static void refuse(const char *text)
{
    struct service *refused = NULL;
    inner.base.context = &context;
    assert_int_not_equal(layer_admission.wrap_cb(&inner.base, &shared, &err, &refused), SQ_OK);
    assert_string_equal(err.sqlstate, "53300");
    assert_non_null(strstr(err.text, text));
    assert_null(refused);
}

static void admission_counts_each_role_for_itself(void **state)
{
    (void)state;
    context.connection_max = 100;
    context.role_connection_max = 2;
    context.role = "alice";
    struct service *first = wrap(&layer_admission);
    struct service *second = wrap(&layer_admission);
    refuse("too many connections for role \"alice\"");
    context.role = "bob";
    struct service *other = wrap(&layer_admission);
    service_free(first);
    context.role = "alice";
    struct service *third = wrap(&layer_admission);
    refuse("too many connections for role \"alice\"");
    context.role_connection_max = 3;
    struct service *fourth = wrap(&layer_admission);
    refuse("too many connections for role \"alice\"");
    context.role_connection_max = 0;
    struct service *fifth = wrap(&layer_admission);
    service_free(second);
    service_free(other);
    service_free(third);
    service_free(fourth);
    service_free(fifth);
    assert_int_equal(atomic_load(&shared.connection_count), 0);
}

static void admission_counts_the_connections_to_a_database(void **state)
{
    (void)state;
    context.connection_max = 100;
    context.database_connection_max = 1;
    context.role = "alice";
    struct service *only = wrap(&layer_admission);
    context.role = "bob";
    refuse("too many connections for database");
    service_free(only);
    only = wrap(&layer_admission);
    service_free(only);
}

static void admission_begins_nothing_while_memory_is_short(void **state)
{
    (void)state;
    struct service *service = wrap(&layer_admission);
    struct query begun = query_of(&reading), later = query_of(&reading), show = query_of(&reading);
    assert_int_equal(run(service, &begun, QUERY_YIELDED), QUERY_YIELDED);
    begun.stage = QUERY_RUNNING;
    void *ballast = sq_memory_alloc(1 << 20);
    assert_non_null(ballast);
    sq_memory_set_limit(sq_memory_used());
    assert_int_equal(run(service, &later, QUERY_DONE), QUERY_FAILED);
    assert_string_equal(err.sqlstate, "53200");
    assert_int_equal(later.stage, QUERY_ENDED);
    refuse("memory");
    /* What runs goes on, and operators may look. */
    assert_int_equal(run(service, &begun, QUERY_DONE), QUERY_DONE);
    show.verb = "SHOW";
    assert_int_equal(run(service, &show, QUERY_DONE), QUERY_DONE);
    sq_memory_free(ballast);
    later = query_of(&reading);
    assert_int_equal(run(service, &later, QUERY_DONE), QUERY_DONE);
    sq_memory_set_limit(0);
    service_free(service);
}

/* --- Authorization ------------------------------------------------------------------------------------------------------------ */

static void a_read_only_transaction_reads_and_does_not_write(void **state)
{
    (void)state;
    struct service *service = wrap(&layer_authorization);
    struct query read = query_of(&reading), write = query_of(&writing);
    context.is_read_only = true;
    assert_int_equal(run(service, &read, QUERY_DONE), QUERY_DONE);
    assert_int_equal(run(service, &write, QUERY_DONE), QUERY_FAILED);
    assert_string_equal(err.sqlstate, "25006");
    assert_non_null(strstr(err.text, "INSERT"));
    assert_int_equal(write.stage, QUERY_ENDED);
    assert_int_equal(inner.run_count, 1);
    context.is_read_only = false;
    write = query_of(&writing);
    assert_int_equal(run(service, &write, QUERY_DONE), QUERY_DONE);
    service_free(service);
}

static void a_write_that_has_begun_is_not_stopped_half_way(void **state)
{
    (void)state;
    struct service *service = wrap(&layer_authorization);
    struct query write = query_of(&writing);
    assert_int_equal(run(service, &write, QUERY_SINK_FULL), QUERY_SINK_FULL);
    context.is_read_only = true;
    assert_int_equal(run(service, &write, QUERY_DONE), QUERY_DONE);
    service_free(service);
}

/* --- Timeout -------------------------------------------------------------------------------------------------------------------- */

static void without_a_limit_there_is_no_deadline(void **state)
{
    (void)state;
    struct service *service = wrap(&layer_timeout);
    struct query query = query_of(&reading);
    assert_int_equal(run(service, &query, QUERY_DONE), QUERY_DONE);
    assert_int_equal(inner.deadline_seen_us, 0);
    assert_int_equal(query.deadline_us, 0);
    service_free(service);
}

static void a_deadline_holds_for_a_run_and_all_its_continuations(void **state)
{
    (void)state;
    static const enum query_progress pauses[] = {QUERY_WAITING, QUERY_SINK_FULL, QUERY_YIELDED};
    struct service *service = wrap(&layer_timeout);
    struct query query = query_of(&reading);
    context.statement_timeout_us = INT64_C(1000) * SQ_US_PER_S;
    int64_t before_us = sq_clock_now_us();
    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        assert_int_equal(run(service, &query, pauses[i]), pauses[i]);
        assert_true(query.deadline_us >= before_us + context.statement_timeout_us);
        assert_true(inner.deadline_seen_us == query.deadline_us);
        /* It stays on the brake: whoever waits on the query's behalf has to look at it. */
        assert_true(context.stop.deadline_us == query.deadline_us);
        before_us = query.deadline_us - context.statement_timeout_us;
    }
    int64_t deadline_us = query.deadline_us;
    assert_int_equal(run(service, &query, QUERY_DONE), QUERY_DONE);
    assert_true(inner.deadline_seen_us == deadline_us);
    assert_int_equal(query.deadline_us, 0);
    assert_int_equal(context.stop.deadline_us, 0);
    service_free(service);
}

static void the_clock_of_a_suspended_portal_stands_still(void **state)
{
    (void)state;
    struct service *service = wrap(&layer_timeout);
    struct query query = query_of(&reading);
    context.statement_timeout_us = SQ_US_PER_S;
    assert_int_equal(run(service, &query, QUERY_SUSPENDED), QUERY_SUSPENDED);
    assert_int_equal(context.stop.deadline_us, 0);
    assert_int_equal(query.deadline_us, 0);
    int64_t before_us = sq_clock_now_us();
    assert_int_equal(run(service, &query, QUERY_YIELDED), QUERY_YIELDED);
    assert_true(query.deadline_us >= before_us + context.statement_timeout_us);
    service_free(service);
}

/* --- Metrics ---------------------------------------------------------------------------------------------------------------------- */

static void every_statement_is_counted_once_however_it_ends(void **state)
{
    (void)state;
    struct service *service = wrap(&layer_metrics);
    uint64_t reads = metrics_counter_value(METRICS_QUERIES_READ);
    uint64_t writes = metrics_counter_value(METRICS_QUERIES_WRITE);
    uint64_t failures = metrics_counter_value(METRICS_QUERIES_FAILED);
    uint64_t rows = metrics_counter_value(METRICS_ROWS_SENT);
    uint64_t durations = metrics_histogram_count(METRICS_QUERY_DURATION);
    int64_t running = metrics_gauge_value(METRICS_QUERIES_RUNNING);

    struct query done = query_of(&reading);
    assert_int_equal(run(service, &done, QUERY_YIELDED), QUERY_YIELDED);
    assert_int_equal(metrics_gauge_value(METRICS_QUERIES_RUNNING), running + 1);
    assert_int_equal(run(service, &done, QUERY_SUSPENDED), QUERY_SUSPENDED);
    assert_int_equal(metrics_counter_value(METRICS_QUERIES_READ), reads);
    done.row_count = 5;
    assert_int_equal(run(service, &done, QUERY_DONE), QUERY_DONE);
    assert_int_equal(service_finish(service, &done, &err), SQ_OK);

    struct query failed = query_of(&writing);
    assert_int_equal(run(service, &failed, QUERY_FAILED), QUERY_FAILED);
    assert_int_equal(service_finish(service, &failed, NULL), SQ_OK);

    struct query given_up = query_of(&writing);
    assert_int_equal(run(service, &given_up, QUERY_SUSPENDED), QUERY_SUSPENDED);
    assert_int_equal(service_finish(service, &given_up, NULL), SQ_OK);

    struct query never_begun = query_of(&writing);
    assert_int_equal(service_finish(service, &never_begun, NULL), SQ_OK);

    assert_int_equal(metrics_counter_value(METRICS_QUERIES_READ), reads + 1);
    assert_int_equal(metrics_counter_value(METRICS_QUERIES_WRITE), writes + 2);
    assert_int_equal(metrics_counter_value(METRICS_QUERIES_FAILED), failures + 1);
    assert_int_equal(metrics_counter_value(METRICS_ROWS_SENT), rows + 5);
    assert_int_equal(metrics_histogram_count(METRICS_QUERY_DURATION), durations + 3);
    assert_int_equal(metrics_gauge_value(METRICS_QUERIES_RUNNING), running);
    service_free(service);
}

static void a_finish_that_fails_counts_as_a_failure(void **state)
{
    (void)state;
    struct service *service = wrap(&layer_metrics);
    uint64_t failures = metrics_counter_value(METRICS_QUERIES_FAILED);
    struct query query = query_of(&writing);
    assert_int_equal(run(service, &query, QUERY_SUSPENDED), QUERY_SUSPENDED);
    inner.finish_status = SQ_IO;
    assert_int_equal(service_finish(service, &query, NULL), SQ_IO);
    assert_int_equal(metrics_counter_value(METRICS_QUERIES_FAILED), failures + 1);
    service_free(service);
}

static size_t read_log(const char *path, char *text, size_t text_bytes)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t got = read(fd, text, text_bytes - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return strlen(text);
}

static void slow_statements_are_logged_quoted_and_others_are_not(void **state)
{
    (void)state;
    char dir[PATH_MAX], path[PATH_MAX + 16], text[4096];
    struct engine_registry *registry = NULL;
    scratch_make_directory(dir);
    snprintf(path, sizeof(path), "%s/log", dir);
    assert_int_equal(engine_registry_open(dir, "main", &err, &registry), SQ_OK);
    assert_int_equal(engine_database_open(registry, "main", &err, &context.database), SQ_OK);
    assert_int_equal(sq_log_open(path, &err), SQ_OK);
    struct service *service = wrap(&layer_metrics);

    struct query query = query_of(&writing);
    query.text = "INSERT \"x\"\nVALUES";
    run(service, &query, QUERY_DONE);
    context.slow_log_us = INT64_MAX;
    query = query_of(&writing);
    run(service, &query, QUERY_DONE);
    assert_int_equal(read_log(path, text, sizeof(text)), 0);

    context.slow_log_us = 0;
    query = query_of(&writing);
    query.text = "INSERT \"x\"\nVALUES";
    run(service, &query, QUERY_FAILED);
    assert_true(read_log(path, text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "db=main"));
    assert_non_null(strstr(text, "sqlstate=57014"));
    assert_non_null(strstr(text, "sql=\"INSERT \\\"x\\\"\\nVALUES\""));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);

    service_free(service);
    assert_int_equal(sq_log_open("stderr", &err), SQ_OK);
    engine_database_unref(context.database);
    engine_registry_free(registry);
    scratch_remove_directory(dir);
}

static void a_statement_that_timed_out_is_counted(void **state)
{
    (void)state;
    struct service *service = wrap(&layer_timeout);
    uint64_t timeouts = metrics_counter_value(METRICS_STATEMENT_TIMEOUTS);
    struct query query = query_of(&reading);
    context.statement_timeout_us = INT64_C(1000) * SQ_US_PER_S;
    run(service, &query, QUERY_YIELDED);
    query.deadline_us = 1; /* long ago */
    assert_int_equal(run(service, &query, QUERY_FAILED), QUERY_FAILED);
    assert_int_equal(metrics_counter_value(METRICS_STATEMENT_TIMEOUTS), timeouts + 1);
    /* A cancel is none. */
    query = query_of(&reading);
    atomic_store(&context.stop.reason, ENGINE_STOP_CANCEL);
    assert_int_equal(run(service, &query, QUERY_FAILED), QUERY_FAILED);
    assert_int_equal(metrics_counter_value(METRICS_STATEMENT_TIMEOUTS), timeouts + 1);
    service_free(service);
}

#define LAYER_TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAYER_TEST(a_layer_passes_on_what_is_not_its_business),
        LAYER_TEST(admission_lets_in_as_many_as_allowed_and_no_more),
        LAYER_TEST(admission_counts_each_role_for_itself),
        LAYER_TEST(admission_counts_the_connections_to_a_database),
        LAYER_TEST(admission_begins_nothing_while_memory_is_short),
        LAYER_TEST(a_read_only_transaction_reads_and_does_not_write),
        LAYER_TEST(a_write_that_has_begun_is_not_stopped_half_way),
        LAYER_TEST(without_a_limit_there_is_no_deadline),
        LAYER_TEST(a_deadline_holds_for_a_run_and_all_its_continuations),
        LAYER_TEST(the_clock_of_a_suspended_portal_stands_still),
        LAYER_TEST(a_statement_that_timed_out_is_counted),
        LAYER_TEST(every_statement_is_counted_once_however_it_ends),
        LAYER_TEST(a_finish_that_fails_counts_as_a_failure),
        LAYER_TEST(slow_statements_are_logged_quoted_and_others_are_not),
    };
    return cmocka_run_group_tests_name("session/layers", tests, NULL, NULL);
}
