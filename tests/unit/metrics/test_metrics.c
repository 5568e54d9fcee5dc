/* Counting from many threads, bucket bounds, and both ways of reading. The metrics are the process's, so every test looks
 * at differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "metrics/metrics.h"

enum { THREAD_COUNT = 20, ADDITION_COUNT = 5000 }; /* more threads than shards */

static void *add_many(void *unused)
{
    for (int i = 0; i < ADDITION_COUNT; i++) {
        metrics_counter_add(METRICS_ROWS_SENT, 3);
        metrics_gauge_add(METRICS_QUERIES_RUNNING, i % 2 == 0 ? 5 : -5);
        metrics_histogram_add(METRICS_LOCK_WAIT, i);
    }
    return unused;
}

static void no_addition_of_any_thread_is_lost(void **state)
{
    (void)state;
    uint64_t rows = metrics_counter_value(METRICS_ROWS_SENT);
    int64_t running = metrics_gauge_value(METRICS_QUERIES_RUNNING);
    uint64_t waits = metrics_histogram_count(METRICS_LOCK_WAIT);
    pthread_t threads[THREAD_COUNT];
    for (int i = 0; i < THREAD_COUNT; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    for (int i = 0; i < THREAD_COUNT; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(metrics_counter_value(METRICS_ROWS_SENT) - rows, 3 * THREAD_COUNT * ADDITION_COUNT);
    assert_int_equal(metrics_gauge_value(METRICS_QUERIES_RUNNING), running);
    assert_int_equal(metrics_histogram_count(METRICS_LOCK_WAIT) - waits, THREAD_COUNT * ADDITION_COUNT);
}

static void *close_one(void *unused)
{
    metrics_gauge_add(METRICS_CONNECTIONS_OPEN, -1);
    return unused;
}

static void another_thread_may_take_a_gauge_back(void **state)
{
    (void)state;
    int64_t open = metrics_gauge_value(METRICS_CONNECTIONS_OPEN);
    metrics_gauge_add(METRICS_CONNECTIONS_OPEN, 1);
    assert_int_equal(metrics_gauge_value(METRICS_CONNECTIONS_OPEN), open + 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, close_one, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(metrics_gauge_value(METRICS_CONNECTIONS_OPEN), open);
}

/* Runs first: it needs an empty histogram. */
static void quantiles_are_at_most_a_quarter_too_high(void **state)
{
    (void)state;
    assert_int_equal(metrics_histogram_quantile_us(METRICS_QUERY_DURATION, 0.5), 0);
    /* One value at a time, twice as many of each new one: the top quantile then is that value's bucket. */
    uint64_t count = 0;
    for (int64_t duration = 1; duration < INT64_C(1) << 40; duration = duration * 2 + duration / 3) {
        for (uint64_t i = 0; i < 3; i++)
            metrics_histogram_add(METRICS_QUERY_DURATION, duration);
        count += 3;
        int64_t top = metrics_histogram_quantile_us(METRICS_QUERY_DURATION, 1);
        assert_true(top >= duration);
        assert_true(top <= duration + duration / 4);
    }
    assert_int_equal(metrics_histogram_count(METRICS_QUERY_DURATION), count);
    assert_int_equal(metrics_histogram_quantile_us(METRICS_QUERY_DURATION, 0.001), 1);
    metrics_histogram_add(METRICS_QUERY_DURATION, INT64_MAX);
    assert_int_equal(metrics_histogram_quantile_us(METRICS_QUERY_DURATION, 1), INT64_C(1) << 40);
    metrics_histogram_add(METRICS_QUERY_DURATION, -5);
    assert_int_equal(metrics_histogram_quantile_us(METRICS_QUERY_DURATION, 0.001), 0);
}

static void samples_come_each_once_and_then_end(void **state)
{
    (void)state;
    struct metrics_sample sample;
    struct metrics_sample other;
    size_t count = 0;
    bool has_kind = false;
    bool has_quantile = false;
    for (; metrics_sample_read(count, &sample); count++) {
        assert_string_not_equal(sample.help, "");
        has_kind = has_kind || strcmp(sample.name, "sqld_queries_total{kind=\"write\"}") == 0;
        has_quantile = has_quantile || strcmp(sample.name, "sqld_query_duration_seconds{quantile=\"0.99\"}") == 0;
        for (size_t i = 0; i < count; i++) {
            assert_true(metrics_sample_read(i, &other));
            assert_string_not_equal(other.name, sample.name);
        }
    }
    assert_int_equal(count, METRICS_COUNTER_COUNT + METRICS_GAUGE_COUNT + 5 * METRICS_HISTOGRAM_COUNT);
    assert_true(has_kind && has_quantile);
    assert_false(metrics_sample_read(SIZE_MAX, &sample));
}

static void a_sample_shows_the_counters_value(void **state)
{
    (void)state;
    metrics_counter_add(METRICS_CANCELS, 41);
    metrics_counter_add(METRICS_CANCELS, 1);
    struct metrics_sample sample;
    for (size_t i = 0; metrics_sample_read(i, &sample); i++) {
        if (strcmp(sample.name, "sqld_cancel_requests_total") == 0) {
            assert_true(sample.is_integer);
            assert_int_equal((int)sample.value, 42);
            return;
        }
    }
    fail();
}

/* A line's value as text, or NULL. */
static const char *exposed(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = text; *line != '\0';) {
        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            return line + length + 1;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return NULL;
}

static void prometheus_text_is_wellformed(void **state)
{
    (void)state;
    struct sq_buf out;
    sq_buf_init(&out, 1 << 20);
    metrics_write_prometheus(&out);
    sq_buf_put_u8(&out, 0);
    assert_int_equal(sq_buf_check(&out, NULL), SQ_OK);
    const char *text = (const char *)sq_buf_bytes(&out);

    uint64_t before = 0;
    size_t bucket_count = 0;
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        assert_true(line[length] == '\n');
        if (strncmp(line, "# HELP ", 7) == 0) {
            const char *next = line + length + 1;
            assert_int_equal(strncmp(next, "# TYPE ", 7), 0);
            size_t name = strcspn(line + 7, " ");
            assert_int_equal(strncmp(line + 7, next + 7, name + 1), 0);
        } else if (strncmp(line, "sqld_query_duration_seconds_bucket", 34) == 0) {
            uint64_t value = strtoull(strchr(line, ' ') + 1, NULL, 10);
            assert_true(value >= before);
            before = value;
            bucket_count++;
        }
        line += length + 1;
    }
    assert_true(bucket_count > 10);
    const char *all = exposed(text, "sqld_query_duration_seconds_bucket{le=\"+Inf\"}");
    const char *count = exposed(text, "sqld_query_duration_seconds_count");
    assert_non_null(all);
    assert_non_null(count);
    assert_int_equal(strtoull(all, NULL, 10), metrics_histogram_count(METRICS_QUERY_DURATION));
    assert_int_equal(strtoull(count, NULL, 10), strtoull(all, NULL, 10));
    assert_non_null(exposed(text, "sqld_queries_total{kind=\"read\"}"));
    assert_non_null(exposed(text, "sqld_connections"));
    sq_buf_done(&out);
}

static void a_buckets_bound_is_part_of_it(void **state)
{
    (void)state;
    static const char name[] = "sqld_lock_wait_seconds_bucket{le=\"0.000031\"}";
    uint64_t values[3];
    for (int step = 0; step < 3; step++) {
        struct sq_buf out;
        sq_buf_init(&out, 1 << 20);
        metrics_write_prometheus(&out);
        sq_buf_put_u8(&out, 0);
        const char *value = exposed((const char *)sq_buf_bytes(&out), name);
        assert_non_null(value);
        values[step] = strtoull(value, NULL, 10);
        sq_buf_done(&out);
        metrics_histogram_add(METRICS_LOCK_WAIT, 31 + step);
    }
    assert_int_equal(values[1], values[0] + 1); /* 31 us counts … */
    assert_int_equal(values[2], values[1]);     /* … 32 us does not */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_at_most_a_quarter_too_high),
        cmocka_unit_test(no_addition_of_any_thread_is_lost),
        cmocka_unit_test(another_thread_may_take_a_gauge_back),
        cmocka_unit_test(samples_come_each_once_and_then_end),
        cmocka_unit_test(a_sample_shows_the_counters_value),
        cmocka_unit_test(prometheus_text_is_wellformed),
        cmocka_unit_test(a_buckets_bound_is_part_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
