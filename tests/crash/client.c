/* tests/crash/client.c: plans, statements, answers. */
#include "client.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "pgwire/backend.h"
#include "pgwire/frontend.h"
#include "talk.h"

enum {
    SQL_BYTES_MAX = 1024,
    STATEMENTS_MAX = 16,
    ROW_BYTES_MAX = 1 << 16,
    ROLLED_BACK_NUMBER = 900000, /* of transactions that must never be there */
};

struct statements {
    char text[STATEMENTS_MAX][SQL_BYTES_MAX];
    size_t count;
};

static void add(struct statements *statements, const char *format, ...) SQ_PRINTF(2, 3);

static void add(struct statements *statements, const char *format, ...)
{
    va_list arguments;
    sq_assert(statements->count < STATEMENTS_MAX);
    va_start(arguments, format);
    int length = vsnprintf(statements->text[statements->count++], SQL_BYTES_MAX, format, arguments);
    va_end(arguments);
    sq_assert(length > 0 && length < SQL_BYTES_MAX);
}

/* --- Statements of a transaction ---------------------------------------------------------------------------------- */

static void add_puts(struct statements *statements, const struct tx_spec *spec, uint32_t first_key, uint32_t count)
{
    add(statements,
        "WITH RECURSIVE k(key) AS (SELECT %u UNION ALL SELECT key + 1 FROM k LIMIT %u)"
        " INSERT OR REPLACE INTO item SELECT %u, key, %u, printf('%%0%ud', %u * 1000003 + %u * 101 + key) FROM k",
        first_key, count, spec->client, spec->number, spec->fill_length, spec->number, spec->client);
}

/* The client's table as its transactions up to `last` have left it: who made it, or 0. */
static uint32_t side_after(const struct client *client, uint32_t last)
{
    uint32_t side = 0;
    for (uint32_t number = 1; number <= last; number++) {
        struct tx_spec spec;
        tx_spec_make(client->history->seed, client->index, number, &spec);
        if (spec.toggles_side)
            side = side == 0 ? number : 0;
    }
    return side;
}

static void add_log(struct statements *statements, const struct tx_spec *spec)
{
    add(statements, "INSERT INTO log(client, tx) VALUES (%u, %u) RETURNING 'R', n", spec->client, spec->number);
}

/* In the order in which history.c applies them. */
static void add_transaction(struct client *client, const struct tx_spec *spec, struct statements *statements)
{
    bool is_log_first = dice_chance(client->dice, 60);
    if (is_log_first)
        add_log(statements, spec);
    for (size_t i = 0; i < spec->put_count; i++)
        add_puts(statements, spec, spec->puts[i], 1);
    if (spec->range_count > 0)
        add_puts(statements, spec, HISTORY_RANGE_KEY, spec->range_count);
    if (spec->has_range_delete)
        add(statements, "DELETE FROM item WHERE client = %u AND key >= %u", spec->client,
            HISTORY_RANGE_KEY + spec->range_count);
    for (size_t i = 0; i < spec->delete_count; i++)
        add(statements, "DELETE FROM item WHERE client = %u AND key = %u", spec->client, spec->deletes[i]);
    if (spec->toggles_side && side_after(client, spec->number - 1) == 0)
        add(statements, "CREATE TABLE side_%u(a_%u_%u)", spec->client, spec->client, spec->number);
    else if (spec->toggles_side)
        add(statements, "DROP TABLE side_%u", spec->client);
    if (!is_log_first)
        add_log(statements, spec);
}

/* --- Batches ------------------------------------------------------------------------------------------------------ */

static struct sq_buf *new_batch(struct client *client)
{
    sq_assert(client->batch_count < CLIENT_BATCHES_MAX);
    return &client->batches[client->batch_count++];
}

static void add_query(struct client *client, const char *sql)
{
    pgwire_put_query(new_batch(client), sql, strlen(sql));
}

static void put_parse(struct sq_buf *out, const char *sql)
{
    size_t offset = pgwire_put_parse_begin(out, "", sql, strlen(sql), 0);
    pgwire_end(out, offset);
}

static void put_execute(struct sq_buf *out, const char *sql)
{
    put_parse(out, sql);
    size_t offset = pgwire_put_bind_begin(out, "", "", NULL, 0, 0);
    pgwire_put_bind_end(out, offset, NULL, 0);
    pgwire_put_execute(out, "", 0);
}

static void join(char *sql, size_t sql_bytes, const char *before, const struct statements *statements,
                 const char *after)
{
    size_t length = (size_t)snprintf(sql, sql_bytes, "%s", before);
    for (size_t i = 0; i < statements->count; i++)
        length += (size_t)snprintf(sql + length, sql_bytes - length, "%s;", statements->text[i]);
    length += (size_t)snprintf(sql + length, sql_bytes - length, "%s", after);
    sq_assert(length < sql_bytes);
}

/* One Query with all of them. */
static void add_joined(struct client *client, const char *before, const struct statements *statements,
                       const char *after)
{
    char sql[CLIENT_SCRIPT_BYTES_MAX];
    join(sql, sizeof(sql), before, statements, after);
    add_query(client, sql);
}

void client_script(struct client *client, char *sql, size_t sql_bytes)
{
    struct statements statements = {.count = 0};
    struct tx_spec spec;
    client->number = client->last + 1;
    tx_spec_make(client->history->seed, client->index, client->number, &spec);
    add_transaction(client, &spec, &statements);
    join(sql, sql_bytes, "BEGIN IMMEDIATE;", &statements, "COMMIT");
}

static void add_separate(struct client *client, const char *before, const struct statements *statements,
                         const char *after)
{
    add_query(client, before);
    for (size_t i = 0; i < statements->count; i++)
        add_query(client, statements->text[i]);
    add_query(client, after);
}

static void add_extended(struct client *client, const struct statements *statements)
{
    struct sq_buf *batch = new_batch(client);
    for (size_t i = 0; i < statements->count; i++)
        put_execute(batch, statements->text[i]);
    pgwire_put_sync(batch);
}

/* --- Plans -------------------------------------------------------------------------------------------------------- */

static void plan_log_in(struct client *client)
{
    talk_put_startup(new_batch(client));
    add_query(client, "LISTEN news");
    if (client->is_lazy)
        add_query(client, "SET synchronous_commit = off");
}

static void plan_catch_up(struct client *client)
{
    char sql[SQL_BYTES_MAX];
    snprintf(sql, sizeof(sql), "SELECT 'T', %u, coalesce(max(tx), 0) FROM log WHERE client = %u", client->index,
             client->index);
    add_query(client, sql);
}

static void plan_transaction(struct client *client)
{
    struct statements statements = {.count = 0};
    struct tx_spec spec;
    client->number = client->last + 1;
    tx_spec_make(client->history->seed, client->index, client->number, &spec);
    add_transaction(client, &spec, &statements);
    bool is_plain = tx_spec_is_plain(&spec);
    uint64_t form = dice_below(client->dice, is_plain ? 3 : 6);
    /* Only where an error ends all: a NOTIFY by itself would be delivered though the writes before it failed. */
    if (!is_plain && (form == 2 || form == 4) && dice_chance(client->dice, 20))
        add(&statements, "NOTIFY news, '%u %u'", spec.client, spec.number);
    switch (form) {
    case 0:
    case 1:
        /* Without BEGIN each statement of a Query would commit by itself. */
        add_joined(client, is_plain ? "" : "BEGIN;", &statements, is_plain ? "" : "COMMIT");
        break;
    case 2:
        add_extended(client, &statements);
        break;
    case 3:
        add_separate(client, "BEGIN", &statements, "COMMIT");
        break;
    case 4:
        add_joined(client, "BEGIN IMMEDIATE;", &statements, "COMMIT");
        break;
    default: /* a snapshot that may have become old when it writes */
        add_separate(client, "BEGIN; SELECT 'T', client, max(tx) FROM log GROUP BY client", &statements, "COMMIT");
        break;
    }
}

/* Work that must leave nothing behind. */
static void plan_rollback(struct client *client)
{
    struct statements statements = {.count = 0};
    struct tx_spec spec = {.client = client->index, .number = ROLLED_BACK_NUMBER, .fill_length = 100};
    add_log(&statements, &spec);
    if (dice_chance(client->dice, 20))
        add_puts(&statements, &spec, HISTORY_RANGE_KEY, HISTORY_RANGE_MAX);
    else
        add_puts(&statements, &spec, 1, HISTORY_KEYS_SMALL);
    if (dice_chance(client->dice, 30))
        add(&statements, "CREATE TABLE side_rolled_back_%u(a)", client->index);
    switch (dice_below(client->dice, 4)) {
    case 0:
        add_separate(client, "BEGIN", &statements, "ROLLBACK");
        return;
    case 1:
        add_joined(client, "BEGIN;", &statements, "ROLLBACK");
        return;
    case 2:
        add_joined(client, "BEGIN;", &statements, "INSERT INTO log(n, client, tx) VALUES ('none', 0, 0)");
        add_query(client, "ROLLBACK");
        break;
    default: /* a pipeline whose last statement fails takes all of it back */
        add(&statements, "INSERT INTO log(n, client, tx) VALUES ('none', 0, 0)");
        add_extended(client, &statements);
        break;
    }
    client->expects_errors = true;
}

static void plan_probe(struct client *client)
{
    char sql[SQL_BYTES_MAX];
    client->probe = client->log_length + 1 + (uint32_t)dice_below(client->dice, 4);
    snprintf(sql, sizeof(sql), "INSERT INTO log(n, client, tx) VALUES (%u, %u, %u)", client->probe, client->index,
             ROLLED_BACK_NUMBER);
    add_query(client, "BEGIN");
    add_query(client, sql);
    add_query(client, "ROLLBACK");
    client->expects_errors = true;
}

static const char latest[] = "SELECT 'L', n, client, tx FROM log ORDER BY n DESC LIMIT 3";
static const char each_client[] = "SELECT 'T', client, max(tx) FROM log GROUP BY client";

/* What another client's table is called in its column, with or without running anything. */
static void plan_side(struct client *client)
{
    char sql[SQL_BYTES_MAX];
    snprintf(sql, sizeof(sql), "SELECT * FROM side_%u",
             (unsigned)dice_below(client->dice, client->history->client_count));
    client->expects_errors = true;
    if (dice_chance(client->dice, 30)) {
        add_query(client, sql);
        return;
    }
    struct sq_buf *batch = new_batch(client);
    put_parse(batch, sql);
    pgwire_put_describe(batch, PGWIRE_TARGET_STATEMENT, "");
    pgwire_put_sync(batch);
}

static void plan_read(struct client *client)
{
    struct sq_buf *batch = NULL;
    switch (dice_below(client->dice, 8)) {
    case 0:
        add_query(client, latest);
        break;
    case 1:
        add_query(client, each_client);
        break;
    case 2: /* a snapshot, while others go on */
        add_query(client, "BEGIN");
        add_query(client, latest);
        add_query(client, each_client);
        add_query(client, "COMMIT");
        break;
    case 3:
        batch = new_batch(client);
        put_execute(batch, latest);
        pgwire_put_sync(batch);
        break;
    case 4:
        add_query(client, "COPY (SELECT 'L', n, client, tx FROM log ORDER BY n DESC LIMIT 200) TO STDOUT");
        break;
    case 5:
        add_query(client, "SELECT 'T', client, max(tx) FROM item GROUP BY client");
        break;
    default:
        plan_side(client);
        break;
    }
}

static enum client_plan choose_plan(struct client *client)
{
    if (client->has_doubts)
        return CLIENT_CATCH_UP;
    uint64_t roll = dice_below(client->dice, 100);
    if (roll < 62)
        return CLIENT_TRANSACTION;
    if (roll < 68)
        return CLIENT_ROLLBACK;
    return roll < 73 ? CLIENT_PROBE : CLIENT_READ;
}

static void make_plan(struct client *client, enum client_plan plan)
{
    static void (*const plan_cbs[])(struct client * client) = {
        [CLIENT_LOG_IN] = plan_log_in,     [CLIENT_CATCH_UP] = plan_catch_up, [CLIENT_TRANSACTION] = plan_transaction,
        [CLIENT_ROLLBACK] = plan_rollback, [CLIENT_READ] = plan_read,         [CLIENT_PROBE] = plan_probe,
    };
    client->plan = plan;
    client->batch_count = client->sent_count = client->answered_count = 0;
    client->error_count = 0;
    client->was_rolled_back = false;
    client->expects_errors = false;
    client->is_pipelined = plan != CLIENT_LOG_IN && dice_chance(client->dice, 30);
    for (size_t i = 0; i < CLIENT_BATCHES_MAX; i++)
        sq_buf_truncate(&client->batches[i], 0);
    plan_cbs[plan](client);
}

void client_init(struct client *client, struct history *history, struct dice *dice, uint32_t index, uint32_t last)
{
    memset(client, 0, sizeof(*client));
    client->history = history;
    client->dice = dice;
    client->index = index;
    client->last = last;
    sq_buf_init(&client->wire, FIXTURE_BUFFER_BYTES_MAX);
    for (size_t i = 0; i < CLIENT_BATCHES_MAX; i++)
        sq_buf_init(&client->batches[i], FIXTURE_BUFFER_BYTES_MAX);
    make_plan(client, CLIENT_LOG_IN);
}

void client_done(struct client *client)
{
    sq_buf_done(&client->wire);
    for (size_t i = 0; i < CLIENT_BATCHES_MAX; i++)
        sq_buf_done(&client->batches[i]);
}

void client_reconnect(struct client *client)
{
    client->has_doubts = true;
    sq_buf_truncate(&client->wire, 0);
    make_plan(client, CLIENT_LOG_IN);
}

static void send_batch(struct client *client)
{
    struct sq_buf *batch = &client->batches[client->sent_count++];
    if (client->plan == CLIENT_TRANSACTION && client->sent_count == client->batch_count)
        history_sent(client->history, client->index, client->number);
    sq_buf_put(&client->wire, sq_buf_bytes(batch), sq_buf_length(batch));
}

void client_speak(struct client *client)
{
    if (client->answered_count == client->batch_count)
        make_plan(client, choose_plan(client));
    while (client->sent_count < client->batch_count &&
           (client->is_pipelined || client->sent_count == client->answered_count))
        send_batch(client);
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static uint32_t number_of(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

static void hear_log(struct client *client, uint32_t n, uint32_t who, uint32_t number)
{
    if (client->log_length < n)
        client->log_length = n;
    if (!client->is_lazy)
        history_shown_log(client->history, n, who, number, client->index);
}

static void hear_tx(struct client *client, uint32_t who, uint32_t number, const char *how)
{
    if (client->plan == CLIENT_CATCH_UP && who == client->index)
        client->last = number;
    if (!client->is_lazy)
        history_shown_tx(client->history, who, number, client->index, how);
}

static void hear_row(struct client *client, const struct pgwire_frame *frame)
{
    static char buffer[ROW_BYTES_MAX];
    const char *values[TALK_COLUMNS_MAX];
    size_t count = talk_row(frame, buffer, sizeof(buffer), values);
    if (count == 4 && strcmp(values[0], "L") == 0)
        hear_log(client, number_of(values[1]), number_of(values[2]), number_of(values[3]));
    else if (count == 3 && strcmp(values[0], "T") == 0)
        hear_tx(client, number_of(values[1]), number_of(values[2]), "aggregate");
    else if (count == 2 && strcmp(values[0], "R") == 0 && !client->is_lazy)
        /* its own row is not yet committed */
        history_shown_length(client->history, number_of(values[1]) - 1, client->index, "RETURNING");
}

static void hear_columns(struct client *client, const struct pgwire_frame *frame)
{
    struct sq_error err;
    struct pgwire_row_description description;
    struct pgwire_field field;
    sq_status status = pgwire_row_description_decode(frame, &err, &description);
    sq_assert(status == SQ_OK);
    while (pgwire_fields_next(&description.fields, &field)) {
        unsigned who = 0;
        unsigned number = 0;
        if (sscanf(field.name, "a_%u_%u", &who, &number) == 2)
            hear_tx(client, who, number, "column name");
    }
}

static void hear_copy(struct client *client, const struct pgwire_frame *frame)
{
    char line[64];
    unsigned n = 0;
    unsigned who = 0;
    unsigned number = 0;
    snprintf(line, sizeof(line), "%.*s", (int)frame->body_length, (const char *)frame->body);
    int found = sscanf(line, "L\t%u\t%u\t%u", &n, &who, &number);
    sq_assert(found == 3);
    hear_log(client, n, who, number);
}

static void hear_notification(struct client *client, const struct pgwire_frame *frame)
{
    struct sq_error err;
    struct pgwire_notification notification;
    unsigned who = 0;
    unsigned number = 0;
    sq_status status = pgwire_notification_decode(frame, &err, &notification);
    sq_assert(status == SQ_OK);
    int found = sscanf(notification.payload.data, "%u %u", &who, &number);
    sq_assert(found == 2);
    if (!client->is_lazy)
        history_shown_tx(client->history, who, number, client->index, "notification");
}

static void hear_error(struct client *client, const struct pgwire_frame *frame)
{
    struct sq_error err;
    struct pgwire_report report;
    sq_status status = pgwire_report_decode(frame, &err, &report);
    sq_assert(status == SQ_OK);
    client->error_count++;
    bool is_taken = strcmp(report.sqlstate, "23505") == 0;
    if (client->plan == CLIENT_PROBE && is_taken && !client->is_lazy)
        history_shown_length(client->history, client->probe, client->index, "error");
    /* A snapshot was too old to write, and what follows from that. */
    bool is_stale = strcmp(report.sqlstate, "40001") == 0 || strcmp(report.sqlstate, "25P02") == 0;
    if (!client->expects_errors && !is_stale) {
        fprintf(stderr, "client %u: unexpected error %s: %s\n", client->index, report.sqlstate, report.message);
        sq_assert(client->expects_errors);
    }
}

static void hear_ready(struct client *client, const struct pgwire_frame *frame)
{
    struct sq_error err;
    struct pgwire_ready ready;
    sq_status status = pgwire_ready_decode(frame, &err, &ready);
    sq_assert(status == SQ_OK && client->answered_count < client->sent_count);
    client->answered_count++;
    if (client->answered_count < client->batch_count)
        return;
    sq_assert(ready.status == 'I');
    if (client->plan == CLIENT_CATCH_UP)
        client->has_doubts = false;
    if (client->plan != CLIENT_TRANSACTION)
        return;
    if (client->error_count > 0 || client->was_rolled_back) {
        client->has_doubts = true;
        return;
    }
    client->last = client->number;
    if (!client->is_lazy)
        history_acked(client->history, client->index, client->number);
}

void client_hear(void *context, const struct pgwire_frame *frame)
{
    struct client *client = context;
    struct sq_error err;
    struct pgwire_command_complete complete;
    switch (frame->type) {
    case PGWIRE_DATA_ROW:
        hear_row(client, frame);
        break;
    case PGWIRE_ROW_DESCRIPTION:
        hear_columns(client, frame);
        break;
    case PGWIRE_COPY_DATA:
        hear_copy(client, frame);
        break;
    case PGWIRE_NOTIFICATION_RESPONSE:
        hear_notification(client, frame);
        break;
    case PGWIRE_ERROR_RESPONSE:
        hear_error(client, frame);
        break;
    case PGWIRE_READY_FOR_QUERY:
        hear_ready(client, frame);
        break;
    case PGWIRE_COMMAND_COMPLETE:
        client->was_rolled_back =
            client->was_rolled_back || (pgwire_command_complete_decode(frame, &err, &complete) == SQ_OK &&
                                        strcmp(complete.tag.data, "ROLLBACK") == 0);
        break;
    default:
        break;
    }
}
