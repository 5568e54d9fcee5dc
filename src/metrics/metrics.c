/* metrics/metrics.c: the shards, and reading them.
 *
 * Every thread adds to one of SHARD_COUNT shards, which share no cache line; threads beyond that many share shards, which
 * is why the additions are atomic all the same. Relaxed order everywhere: no other memory is published through a
 * metric. A thread finds its shard once, by taking a number.
 *
 * Histogram buckets. A duration of d microseconds falls into bucket d while d < 4, and above that into one of 4 buckets
 * for each power of two, chosen by the two bits behind the leading one:
 *
 *     d               4 5 6 7 | 8-9 10-11 12-13 14-15 | 16-19 20-23 24-27 28-31 | …
 *     bucket index    4 5 6 7 |  8    9    10    11   |  12    13    14    15   | …
 *
 * so a bucket's upper end is at most a quarter above its lower one. The last bucket takes everything from 2^40 us
 * (12 days) on.
 *
 * Invariants: (1) bucket_of(d) rises with d, and bucket_end_us(bucket_of(d)) >= d below the last bucket; (2) a
 * histogram's count is the sum of its buckets: it is not stored. */
#include "metrics/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/status.h"

enum {
    SHARD_COUNT = 16,
    CACHE_LINE_BYTES = 64,
    OCTAVE_LAST = 40,       /* 2^40 us begins the last bucket */
    BUCKETS_PER_OCTAVE = 4, /* a power of two */
    BUCKET_COUNT = (OCTAVE_LAST - 1) * BUCKETS_PER_OCTAVE + 1,
    EXPOSED_OCTAVE_FIRST = 4, /* 16 us: what Prometheus sees begins here … */
    EXPOSED_OCTAVE_LAST = 27, /* … and ends here, 134 s, but for +Inf */
};

struct histogram_shard {
    uint64_t sum_us;
    uint64_t buckets[BUCKET_COUNT];
};

struct shard {
    uint64_t counters[METRICS_COUNTER_COUNT];
    int64_t gauges[METRICS_GAUGE_COUNT];
    struct histogram_shard histograms[METRICS_HISTOGRAM_COUNT];
} __attribute__((aligned(CACHE_LINE_BYTES)));

static struct shard shards[SHARD_COUNT];

struct metric_info {
    const char *name;
    const char *labels;
    const char *help; /* "" in all but the first of a name */
};

#define METRIC_INFO(id, name, labels, help) [id] = {name, labels, help},
static const struct metric_info counter_infos[] = {METRICS_COUNTERS(METRIC_INFO)};
static const struct metric_info gauge_infos[] = {METRICS_GAUGES(METRIC_INFO)};
static const struct metric_info histogram_infos[] = {METRICS_HISTOGRAMS(METRIC_INFO)};
#undef METRIC_INFO

static struct shard *shard_mine(void)
{
    static unsigned next_number;
    static _Thread_local struct shard *mine;
    if (SQ_UNLIKELY(mine == NULL))
        mine = &shards[__atomic_fetch_add(&next_number, 1, __ATOMIC_RELAXED) % SHARD_COUNT];
    return mine;
}

/* --- counters and gauges --- */

void metrics_counter_add(enum metrics_counter counter, uint64_t amount)
{
    sq_assert(counter < METRICS_COUNTER_COUNT);
    __atomic_fetch_add(&shard_mine()->counters[counter], amount, __ATOMIC_RELAXED);
}

uint64_t metrics_counter_value(enum metrics_counter counter)
{
    sq_assert(counter < METRICS_COUNTER_COUNT);
    uint64_t value = 0;
    for (size_t i = 0; i < SHARD_COUNT; i++)
        value += __atomic_load_n(&shards[i].counters[counter], __ATOMIC_RELAXED);
    return value;
}

void metrics_gauge_add(enum metrics_gauge gauge, int64_t amount)
{
    sq_assert(gauge < METRICS_GAUGE_COUNT);
    __atomic_fetch_add(&shard_mine()->gauges[gauge], amount, __ATOMIC_RELAXED);
}

int64_t metrics_gauge_value(enum metrics_gauge gauge)
{
    sq_assert(gauge < METRICS_GAUGE_COUNT);
    int64_t value = 0;
    for (size_t i = 0; i < SHARD_COUNT; i++)
        value += __atomic_load_n(&shards[i].gauges[gauge], __ATOMIC_RELAXED);
    return value;
}

/* --- histograms --- */

static size_t bucket_of(uint64_t duration_us)
{
    if (duration_us < BUCKETS_PER_OCTAVE)
        return (size_t)duration_us;
    unsigned octave = 63 - (unsigned)__builtin_clzll(duration_us); /* 2^octave <= duration < 2^(octave+1) */
    if (octave >= OCTAVE_LAST)
        return BUCKET_COUNT - 1;
    size_t quarter = (size_t)(duration_us >> (octave - 2)) % BUCKETS_PER_OCTAVE;
    return (size_t)(octave - 1) * BUCKETS_PER_OCTAVE + quarter;
}

/* The longest duration of a bucket; of the last one, where it begins. */
static int64_t bucket_end_us(size_t bucket)
{
    if (bucket < BUCKETS_PER_OCTAVE)
        return (int64_t)bucket;
    size_t octave = bucket / BUCKETS_PER_OCTAVE + 1;
    int64_t quarter = (int64_t)(bucket % BUCKETS_PER_OCTAVE);
    if (bucket == BUCKET_COUNT - 1)
        return INT64_C(1) << OCTAVE_LAST;
    return ((BUCKETS_PER_OCTAVE + quarter + 1) << (octave - 2)) - 1;
}

void metrics_histogram_add(enum metrics_histogram histogram, int64_t duration_us)
{
    sq_assert(histogram < METRICS_HISTOGRAM_COUNT);
    uint64_t duration = duration_us > 0 ? (uint64_t)duration_us : 0;
    struct histogram_shard *shard = &shard_mine()->histograms[histogram];
    __atomic_fetch_add(&shard->buckets[bucket_of(duration)], 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&shard->sum_us, duration, __ATOMIC_RELAXED);
}

/* All shards of a histogram added up, once, so that what is shown of it fits together. */
struct histogram_total {
    uint64_t count;
    uint64_t sum_us;
    uint64_t buckets[BUCKET_COUNT];
};

static void histogram_total_read(enum metrics_histogram histogram, struct histogram_total *total)
{
    sq_assert(histogram < METRICS_HISTOGRAM_COUNT);
    memset(total, 0, sizeof(*total));
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        const struct histogram_shard *shard = &shards[i].histograms[histogram];
        total->sum_us += __atomic_load_n(&shard->sum_us, __ATOMIC_RELAXED);
        for (size_t bucket = 0; bucket < BUCKET_COUNT; bucket++) {
            uint64_t count = __atomic_load_n(&shard->buckets[bucket], __ATOMIC_RELAXED);
            total->buckets[bucket] += count;
            total->count += count;
        }
    }
}

static int64_t total_quantile_us(const struct histogram_total *total, double quantile)
{
    sq_assert(quantile > 0 && quantile <= 1);
    if (total->count == 0)
        return 0;
    double rank = quantile * (double)total->count;
    uint64_t seen = 0;
    size_t bucket = 0;
    for (; bucket < BUCKET_COUNT - 1; bucket++) {
        seen += total->buckets[bucket];
        if (seen > 0 && (double)seen >= rank)
            break;
    }
    return bucket_end_us(bucket);
}

uint64_t metrics_histogram_count(enum metrics_histogram histogram)
{
    struct histogram_total total;
    histogram_total_read(histogram, &total);
    return total.count;
}

int64_t metrics_histogram_quantile_us(enum metrics_histogram histogram, double quantile)
{
    struct histogram_total total;
    histogram_total_read(histogram, &total);
    return total_quantile_us(&total, quantile);
}

/* --- SHOW metrics --- */

enum { HISTOGRAM_SAMPLE_COUNT = 5 };

static void sample_name(struct metrics_sample *sample, const struct metric_info *info, const char *suffix,
                        const char *label)
{
    const char *comma = info->labels[0] != '\0' && label[0] != '\0' ? "," : "";
    bool has_labels = info->labels[0] != '\0' || label[0] != '\0';
    int length = snprintf(sample->name, sizeof(sample->name), "%s%s%s%s%s%s%s", info->name, suffix,
                          has_labels ? "{" : "", info->labels, comma, label, has_labels ? "}" : "");
    sq_assert(length > 0 && (size_t)length < sizeof(sample->name));
}

/* The help of a metric is that of the first line with its name. */
static const char *info_help(const struct metric_info *infos, size_t index)
{
    while (infos[index].help[0] == '\0') {
        sq_assert(index > 0 && strcmp(infos[index].name, infos[index - 1].name) == 0);
        index--;
    }
    return infos[index].help;
}

static void histogram_sample_read(size_t index, struct metrics_sample *sample)
{
    static const struct {
        const char *label;
        double quantile;
    } quantiles[] = {{"quantile=\"0.5\"", 0.5}, {"quantile=\"0.95\"", 0.95}, {"quantile=\"0.99\"", 0.99}};
    enum metrics_histogram histogram = (enum metrics_histogram)(index / HISTOGRAM_SAMPLE_COUNT);
    size_t part = index % HISTOGRAM_SAMPLE_COUNT;
    const struct metric_info *info = &histogram_infos[histogram];
    struct histogram_total total;
    histogram_total_read(histogram, &total);
    sample->help = info_help(histogram_infos, histogram);
    sample->is_integer = part == 0;
    if (part == 0) {
        sample_name(sample, info, "_count", "");
        sample->value = (double)total.count;
    } else if (part == 1) {
        sample_name(sample, info, "_sum", "");
        sample->value = (double)total.sum_us / 1e6;
    } else {
        sample_name(sample, info, "", quantiles[part - 2].label);
        sample->value = (double)total_quantile_us(&total, quantiles[part - 2].quantile) / 1e6;
    }
}

bool metrics_sample_read(size_t index, struct metrics_sample *ret_sample)
{
    if (index < METRICS_COUNTER_COUNT) {
        sample_name(ret_sample, &counter_infos[index], "", "");
        ret_sample->help = info_help(counter_infos, index);
        ret_sample->value = (double)metrics_counter_value((enum metrics_counter)index);
        ret_sample->is_integer = true;
        return true;
    }
    index -= METRICS_COUNTER_COUNT;
    if (index < METRICS_GAUGE_COUNT) {
        sample_name(ret_sample, &gauge_infos[index], "", "");
        ret_sample->help = info_help(gauge_infos, index);
        ret_sample->value = (double)metrics_gauge_value((enum metrics_gauge)index);
        ret_sample->is_integer = true;
        return true;
    }
    index -= METRICS_GAUGE_COUNT;
    if (index / HISTOGRAM_SAMPLE_COUNT >= METRICS_HISTOGRAM_COUNT)
        return false;
    histogram_sample_read(index, ret_sample);
    return true;
}

/* --- Prometheus --- */

/* The two comment lines before the first sample of a name. */
static void family_head(struct sq_buf *out, const struct metric_info *info, const char *type)
{
    if (info->help[0] == '\0')
        return;
    sq_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", info->name, info->help, info->name, type);
}

/* "name{labels} " or "name ". */
static void simple_name(struct sq_buf *out, const struct metric_info *info)
{
    if (info->labels[0] != '\0')
        sq_buf_printf(out, "%s{%s} ", info->name, info->labels);
    else
        sq_buf_printf(out, "%s ", info->name);
}

static void histogram_write(struct sq_buf *out, enum metrics_histogram histogram)
{
    const struct metric_info *info = &histogram_infos[histogram];
    const char *labels = info->labels;
    const char *comma = labels[0] != '\0' ? "," : "";
    struct histogram_total total;
    histogram_total_read(histogram, &total);
    family_head(out, info, "histogram");
    uint64_t seen = 0;
    size_t bucket = 0;
    for (unsigned octave = EXPOSED_OCTAVE_FIRST; octave <= EXPOSED_OCTAVE_LAST; octave++) {
        /* Durations are whole microseconds: all below 2^octave are at most 2^octave - 1, which is the bound shown. */
        int64_t bound_us = (INT64_C(1) << octave) - 1;
        while (bucket_end_us(bucket) <= bound_us)
            seen += total.buckets[bucket++];
        sq_buf_printf(out, "%s_bucket{%s%sle=\"%.6f\"} %" PRIu64 "\n", info->name, labels, comma,
                      (double)bound_us / 1e6, seen);
    }
    sq_buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", info->name, labels, comma, total.count);
    const char *open = labels[0] != '\0' ? "{" : "";
    const char *close = labels[0] != '\0' ? "}" : "";
    sq_buf_printf(out, "%s_sum%s%s%s %.6f\n", info->name, open, labels, close, (double)total.sum_us / 1e6);
    sq_buf_printf(out, "%s_count%s%s%s %" PRIu64 "\n", info->name, open, labels, close, total.count);
}

void metrics_write_prometheus(struct sq_buf *out)
{
    for (unsigned i = 0; i < METRICS_COUNTER_COUNT; i++) {
        family_head(out, &counter_infos[i], "counter");
        simple_name(out, &counter_infos[i]);
        sq_buf_printf(out, "%" PRIu64 "\n", metrics_counter_value((enum metrics_counter)i));
    }
    for (unsigned i = 0; i < METRICS_GAUGE_COUNT; i++) {
        family_head(out, &gauge_infos[i], "gauge");
        simple_name(out, &gauge_infos[i]);
        sq_buf_printf(out, "%" PRId64 "\n", metrics_gauge_value((enum metrics_gauge)i));
    }
    for (unsigned i = 0; i < METRICS_HISTOGRAM_COUNT; i++)
        histogram_write(out, (enum metrics_histogram)i);
}
