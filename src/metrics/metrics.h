/* metrics/metrics.h: what the server counts. The tables below are the one list: a metric is added by adding a line and
 * calling its function where the thing happens.
 *
 * Counting is a relaxed atomic addition to a slot of the calling thread's shard, so that threads do not pull a cache line
 * to and fro; reading adds the shards up. A reader may see one counter a moment before another: the numbers are for
 * operators, not for decisions.
 *
 * Threads: any, for everything here. The metrics are the process's; there is nothing to construct. */
#ifndef SQ_METRICS_METRICS_H
#define SQ_METRICS_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sq_buf;

/* X(id, name, labels, help). Lines of one name stand together and share the first one's help. Only ever rise. */
#define METRICS_COUNTERS(X)                                                                                            \
    X(METRICS_CONNECTIONS, "sqld_connections_total", "", "Client connections accepted.")                               \
    X(METRICS_CONNECTIONS_REFUSED, "sqld_connections_refused_total", "",                                               \
      "Client connections turned away: too many, shutting down, or no start-up in time.")                              \
    X(METRICS_PROTOCOL_ERRORS, "sqld_protocol_errors_total", "",                                                       \
      "Connections ended because the client broke the protocol.")                                                      \
    X(METRICS_QUERIES_READ, "sqld_queries_total", "kind=\"read\"", "Statements finished, failed ones included.")       \
    X(METRICS_QUERIES_WRITE, "sqld_queries_total", "kind=\"write\"", "")                                               \
    X(METRICS_QUERIES_FAILED, "sqld_queries_failed_total", "", "Statements that ended with an error.")                 \
    X(METRICS_ROWS_SENT, "sqld_rows_sent_total", "", "Rows sent to clients.")                                          \
    X(METRICS_BYTES_RECEIVED, "sqld_received_bytes_total", "", "Bytes received from clients.")                         \
    X(METRICS_BYTES_SENT, "sqld_sent_bytes_total", "", "Bytes sent to clients.")                                       \
    X(METRICS_SENDS, "sqld_sends_total", "", "Calls to the system that have sent something to a client.")              \
    X(METRICS_STATEMENT_CACHE_HITS, "sqld_statement_cache_total", "result=\"hit\"",                                    \
      "Statements of clients that were found compiled, and that had to be compiled.")                                  \
    X(METRICS_STATEMENT_CACHE_MISSES, "sqld_statement_cache_total", "result=\"miss\"", "")                             \
    X(METRICS_DATABASE_CONNECTIONS_OPENED, "sqld_database_connections_total", "from=\"opened\"",                       \
      "SQLite connections that sessions have taken: opened for them, or given up by others.")                          \
    X(METRICS_DATABASE_CONNECTIONS_REUSED, "sqld_database_connections_total", "from=\"reused\"", "")                   \
    X(METRICS_SESSIONS_RESTED, "sqld_sessions_rested_total", "",                                                       \
      "How often an idle session has given its memory back, and its SQLite connection if it could.")                   \
    X(METRICS_CANCELS, "sqld_cancel_requests_total", "", "Cancel requests that found their statement's session.")      \
    X(METRICS_STATEMENT_TIMEOUTS, "sqld_statement_timeouts_total", "", "Statements stopped by statement_timeout.")     \
    X(METRICS_STATEMENT_YIELDS, "sqld_statement_yields_total", "",                                                     \
      "Times a long statement gave the processor to others.")                                                          \
    X(METRICS_LOCK_TIMEOUTS, "sqld_lock_timeouts_total", "", "Statements that gave up waiting for a write lock.")

/* X(id, name, labels, help). Rise and fall. */
#define METRICS_GAUGES(X)                                                                                              \
    X(METRICS_CONNECTIONS_OPEN, "sqld_connections", "", "Client connections open now.")                                \
    X(METRICS_QUERIES_RUNNING, "sqld_queries_running", "", "Statements running now.")                                  \
    X(METRICS_QUERIES_WAITING, "sqld_queries_waiting", "", "Statements waiting for a write lock now.")                 \
    X(METRICS_DATABASE_CONNECTIONS, "sqld_database_connections", "", "SQLite connections of sessions open now.")       \
    X(METRICS_REPLICAS, "sqld_replicas", "", "Replicas connected now.")                                                \
    X(METRICS_PRIMARY_CONNECTED, "sqld_primary_connected", "", "Of a replica: 1 while it is connected to its primary.")

/* X(id, name, labels, help). Durations; handed in as microseconds, shown in seconds. */
#define METRICS_HISTOGRAMS(X)                                                                                          \
    X(METRICS_QUERY_DURATION, "sqld_query_duration_seconds", "", "Time from a statement's start to its end.")          \
    X(METRICS_LOCK_WAIT, "sqld_lock_wait_seconds", "", "Time a statement waited for a write lock before it got it.")   \
    X(METRICS_SYNC_DURATION, "sqld_sync_seconds", "",                                                                  \
      "Time a sync of a write-ahead log took; one covers all commits before it.")                                      \
    X(METRICS_CHECKPOINT_DURATION, "sqld_checkpoint_seconds", "", "Time a checkpoint took.")

#define METRICS_ID(id, ...) id,
enum metrics_counter { METRICS_COUNTERS(METRICS_ID) METRICS_COUNTER_COUNT };
enum metrics_gauge { METRICS_GAUGES(METRICS_ID) METRICS_GAUGE_COUNT };
enum metrics_histogram { METRICS_HISTOGRAMS(METRICS_ID) METRICS_HISTOGRAM_COUNT };
#undef METRICS_ID

void metrics_counter_add(enum metrics_counter counter, uint64_t amount);
uint64_t metrics_counter_value(enum metrics_counter counter);

/* `amount` may be negative. A thread may take back what another has added. */
void metrics_gauge_add(enum metrics_gauge gauge, int64_t amount);
int64_t metrics_gauge_value(enum metrics_gauge gauge);

/* Durations below 0 count as 0. */
void metrics_histogram_add(enum metrics_histogram histogram, int64_t duration_us);
uint64_t metrics_histogram_count(enum metrics_histogram histogram);
/* The upper bound, in microseconds, of the bucket that holds the given quantile (0 < quantile <= 1): at most a quarter
 * above the true one. 0 if nothing was added. */
int64_t metrics_histogram_quantile_us(enum metrics_histogram histogram, double quantile);

/* One number for SHOW metrics. A histogram gives its count, its sum in seconds, and its 0.5, 0.95 and 0.99 quantiles. */
enum { METRICS_SAMPLE_NAME_MAX = 128 };
struct metrics_sample {
    char name[METRICS_SAMPLE_NAME_MAX]; /* with labels: sqld_queries_total{kind="read"} */
    const char *help;
    double value;
    bool is_integer; /* value has no fraction */
};
/* The sample at `index`, counted from 0; false when there is none, *ret_sample untouched. */
bool metrics_sample_read(size_t index, struct metrics_sample *ret_sample);

/* Appends all metrics in Prometheus' text format, version 0.0.4:
 * prometheus.io/docs/instrumenting/exposition_formats. The caller asks sq_buf_check(). */
void metrics_write_prometheus(struct sq_buf *out);

#endif
