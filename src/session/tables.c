/* session/tables.c: SHOW ALL, SHOW connections, databases, memory, metrics, config, replication, node. */
#include "session/tables.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/database.h"
#include "metrics/metrics.h"
#include "repl/report.h"
#include "sched/scheduler.h"
#include "session/session_internal.h"

/* --- JSON --------------------------------------------------------------------------------------------------------- */

/* A row's first value opens it, later ones follow a comma. */
static void put_text(struct sq_buf *out, bool is_first, const char *text)
{
    sq_buf_put_text(out, is_first ? "[\"" : ",\"");
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            sq_buf_put_u8(out, '\\');
            sq_buf_put_u8(out, *at);
        } else if (*at < 0x20) {
            sq_buf_printf(out, "\\u%04x", *at);
        } else {
            sq_buf_put_u8(out, *at);
        }
    }
    sq_buf_put_u8(out, '"');
}

static void put_integer(struct sq_buf *out, int64_t value)
{
    sq_buf_printf(out, ",%lld", (long long)value);
}

static void put_time(struct sq_buf *out, int64_t wall_us)
{
    char text[40];
    time_t seconds = (time_t)(wall_us / SQ_US_PER_S);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL)
        memset(&utc, 0, sizeof(utc));
    size_t used = strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &utc);
    snprintf(text + used, sizeof(text) - used, ".%06d+00", (int)(wall_us % SQ_US_PER_S));
    put_text(out, false, text);
}

static void end_row(struct sq_buf *out)
{
    sq_buf_put_text(out, "],");
}

/* --- Tables ------------------------------------------------------------------------------------------------------- */

static sq_status put_settings(struct session *session, struct sq_buf *out, struct sq_error *err)
{
    (void)err;
    size_t at = 0;
    struct settings_row row;
    while (settings_next(&session->settings, &at, &row)) {
        put_text(out, true, row.name);
        put_text(out, false, row.value);
        put_text(out, false, row.description);
        end_row(out);
    }
    return SQ_OK;
}

static void put_connection(void *context, const struct session_entry *entry)
{
    static const char *const activities[] = {"starting", "idle", "idle in transaction", "active"};
    struct sq_buf *out = context;
    const char *verb = atomic_load_explicit(&entry->verb, memory_order_relaxed);
    char pid[16];
    snprintf(pid, sizeof(pid), "%u", entry->pid);
    put_text(out, true, pid);
    put_text(out, false, entry->database);
    put_text(out, false, entry->user);
    put_text(out, false, entry->application_name);
    put_text(out, false, entry->peer);
    put_time(out, entry->connected_us);
    put_text(out, false, activities[atomic_load_explicit(&entry->activity, memory_order_relaxed)]);
    put_time(out, atomic_load_explicit(&entry->activity_us, memory_order_relaxed));
    put_text(out, false, verb != NULL ? verb : "");
    end_row(out);
}

static sq_status put_connections(struct session *session, struct sq_buf *out, struct sq_error *err)
{
    (void)err;
    session_registry_each(session->host->sessions, out, put_connection);
    return SQ_OK;
}

struct database_rows {
    struct session *session;
    struct sq_buf *out;
};

static void put_database(void *context, const char *name, int64_t bytes)
{
    struct database_rows *rows = context;
    put_text(rows->out, true, name);
    put_integer(rows->out, bytes);
    put_integer(rows->out, (int64_t)session_registry_count_database(rows->session->host->sessions, name));
    put_integer(rows->out, (int64_t)sched_queue_length(rows->session->host->sched, name));
    end_row(rows->out);
}

static sq_status put_databases(struct session *session, struct sq_buf *out, struct sq_error *err)
{
    struct database_rows rows = {session, out};
    return engine_registry_list(session->host->databases, err, &rows, put_database);
}

static sq_status put_metrics(struct session *session, struct sq_buf *out, struct sq_error *err)
{
    (void)session;
    (void)err;
    struct metrics_sample sample;
    for (size_t i = 0; metrics_sample_read(i, &sample); i++) {
        put_text(out, true, sample.name);
        if (sample.is_integer)
            sq_buf_printf(out, ",%.0f", sample.value);
        else
            sq_buf_printf(out, ",%.9g", sample.value);
        put_text(out, false, sample.help);
        end_row(out);
    }
    return SQ_OK;
}

static void put_memory_row(struct sq_buf *out, const char *name, size_t bytes)
{
    put_text(out, true, name);
    put_integer(out, (int64_t)bytes);
    end_row(out);
}

static sq_status put_memory(struct session *session, struct sq_buf *out, struct sq_error *err)
{
    (void)session;
    (void)err;
    put_memory_row(out, "used", sq_memory_used());
    put_memory_row(out, "limit", sq_memory_limit());
    put_memory_row(out, "page cache of a connection", engine_cache_bytes());
    return SQ_OK;
}

static sq_status put_config(struct session *session, struct sq_buf *out, struct sq_error *err)
{
    struct sq_buf value;
    sq_buf_init(&value, CONFIG_VALUE_BYTES_MAX * 2);
    sq_status status = SQ_OK;
    for (int i = 0; i < (int)CONFIG_OPTION_COUNT && status == SQ_OK; i++) {
        enum config_option_id id = (enum config_option_id)i;
        sq_buf_truncate(&value, 0);
        config_option_format(session->config, id, &value);
        sq_buf_put_u8(&value, '\0');
        status = sq_buf_check(&value, err);
        if (status != SQ_OK)
            break;
        put_text(out, true, config_option_name(id));
        put_text(out, false, (const char *)sq_buf_bytes(&value));
        put_text(out, false, config_option_source(session->config, id));
        put_text(out, false, config_option_help(id));
        end_row(out);
    }
    sq_buf_done(&value);
    return status;
}

static void put_seconds(struct sq_buf *out, int64_t us)
{
    if (us < 0)
        sq_buf_put_text(out, ",null");
    else
        sq_buf_printf(out, ",%.6f", (double)us / SQ_US_PER_S);
}

static void put_replication_row(void *context, const struct repl_report_row *row)
{
    struct sq_buf *out = context;
    put_text(out, true, row->is_upstream ? "primary" : "replica");
    put_text(out, false, row->name);
    put_text(out, false, row->address);
    put_text(out, false, row->database);
    put_text(out, false, row->state);
    put_integer(out, (int64_t)row->timeline);
    put_integer(out, (int64_t)row->end_txid);
    put_integer(out, (int64_t)row->sent_txid);
    put_integer(out, (int64_t)row->written_txid);
    put_integer(out, (int64_t)row->durable_txid);
    put_integer(out, (int64_t)row->applied_txid);
    put_integer(out, (int64_t)row->lag_transactions);
    put_integer(out, (int64_t)row->lag_bytes);
    put_seconds(out, row->lag_us);
    put_text(out, false, row->reason);
    end_row(out);
}

static sq_status put_replication(struct session *session, struct sq_buf *out, struct sq_error *err)
{
    (void)err;
    if (session->host->node != NULL)
        repl_node_report(session->host->node, out, put_replication_row);
    return SQ_OK;
}

static void put_node_row(void *context, const struct repl_report_node *self)
{
    struct sq_buf *out = context;
    char system_id[24];
    snprintf(system_id, sizeof(system_id), "%llu", (unsigned long long)self->system_id);
    put_text(out, true, self->role);
    put_integer(out, (int64_t)self->timeline);
    put_integer(out, (int64_t)self->seen_timeline);
    put_text(out, false, system_id);
    put_text(out, false, self->primary);
    put_text(out, false, self->host);
    put_text(out, false, self->state);
    put_text(out, false, self->failure);
    put_integer(out, (int64_t)self->replica_count);
    end_row(out);
}

static sq_status put_node(struct session *session, struct sq_buf *out, struct sq_error *err)
{
    (void)err;
    if (session->host->node != NULL)
        repl_node_report_self(session->host->node, out, put_node_row);
    return SQ_OK;
}

static const struct session_table tables[] = {
    {"all", {"name", "setting", "description"}, put_settings},
    {"connections",
     {"pid", "database", "role", "application_name", "client", "connected_at", "state", "state_since", "command"},
     put_connections},
    {"databases", {"name", "bytes", "connections", "waiting_writers"}, put_databases},
    {"memory", {"name", "bytes"}, put_memory},
    {"metrics", {"name", "value", "description"}, put_metrics},
    {"replication",
     {"role", "name", "address", "database", "state", "timeline", "end_txid", "sent_txid", "written_txid",
      "durable_txid", "applied_txid", "lag_transactions", "lag_bytes", "lag_seconds", "reason"},
     put_replication},
    {"node",
     {"role", "timeline", "seen_timeline", "system_identifier", "primary", "host", "state", "failure", "replicas"},
     put_node},
    {"config", {"option", "value", "source", "description"}, put_config},
};

const struct session_table *session_table_find(const char *name)
{
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (strcasecmp(tables[i].name, name) == 0)
            return &tables[i];
    }
    return NULL;
}

sq_status session_table_put(struct session *session, const struct session_table *table, struct sq_buf *out,
                            struct sq_error *err)
{
    sq_buf_put_u8(out, '[');
    SQ_TRY(table->rows_cb(session, out, err));
    /* The last row's comma becomes the end. */
    SQ_TRY(sq_buf_check(out, err));
    if (sq_buf_bytes(out)[sq_buf_length(out) - 1] == ',')
        sq_buf_truncate(out, sq_buf_length(out) - 1);
    sq_buf_put_u8(out, ']');
    return sq_buf_check(out, err);
}
