/* tests/crash/history.c: see the header. */
#include "history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "talk.h"

const char history_schema[] =
    "CREATE TABLE log(n INTEGER PRIMARY KEY, client INTEGER NOT NULL, tx INTEGER NOT NULL, UNIQUE(client, tx));"
    "CREATE TABLE item(client INTEGER, key INTEGER, tx INTEGER, filler TEXT, PRIMARY KEY(client, key)) WITHOUT ROWID;"
    "CREATE INDEX item_tx ON item(tx, key);"
    "CREATE TRIGGER log_item AFTER INSERT ON log BEGIN"
    " INSERT OR REPLACE INTO item VALUES(new.client, 0, new.tx,"
    " printf('%012d', new.tx * 1000003 + new.client * 101)); END;";

enum { TRIGGER_FILL = 12 };

/* --- Transactions ------------------------------------------------------------------------------------------------- */

void tx_spec_make(uint64_t seed, uint32_t client, uint32_t number, struct tx_spec *ret_spec)
{
    struct dice dice = {.state = seed ^ ((uint64_t)client << 40) ^ ((uint64_t)number << 8)};
    struct tx_spec spec = {.client = client, .number = number};
    spec.fill_length = 12 + (uint32_t)dice_below(&dice, 300);
    if (dice_chance(&dice, 35)) {
        *ret_spec = spec;
        return;
    }
    spec.put_count = dice_below(&dice, 4);
    for (size_t i = 0; i < spec.put_count; i++)
        spec.puts[i] = 1 + (uint32_t)dice_below(&dice, HISTORY_KEYS_SMALL);
    spec.delete_count = dice_below(&dice, 3);
    for (size_t i = 0; i < spec.delete_count; i++)
        spec.deletes[i] = 1 + (uint32_t)dice_below(&dice, HISTORY_KEYS_SMALL);
    if (dice_chance(&dice, 6)) {
        bool is_huge = dice_chance(&dice, 15);
        spec.range_count = (uint32_t)(is_huge ? HISTORY_RANGE_MAX : dice_below(&dice, 300));
        spec.has_range_delete = dice_chance(&dice, 60);
    }
    spec.toggles_side = dice_chance(&dice, 10);
    *ret_spec = spec;
}

bool tx_spec_is_plain(const struct tx_spec *spec)
{
    return spec->put_count == 0 && spec->delete_count == 0 && spec->range_count == 0 && !spec->has_range_delete &&
           !spec->toggles_side;
}

/* --- Events ------------------------------------------------------------------------------------------------------- */

void history_init(struct history *history, uint64_t seed, size_t client_count)
{
    memset(history, 0, sizeof(*history));
    sq_assert(client_count <= HISTORY_CLIENTS_MAX);
    history->seed = seed;
    history->client_count = client_count;
    for (size_t n = 0; n <= HISTORY_LOG_MAX; n++)
        history->base.log[n].client = HISTORY_CLIENTS_MAX;
    history->events = calloc(HISTORY_EVENTS_MAX, sizeof(*history->events));
    sq_assert(history->events != NULL);
}

void history_done(struct history *history)
{
    free(history->events);
}

void history_restart(struct history *history, const struct truth *base)
{
    history->base = *base;
    atomic_store(&history->event_count, 0);
}

static void add(struct history *history, struct history_event event)
{
    size_t count = atomic_load_explicit(&history->event_count, memory_order_relaxed);
    sq_assert(count < HISTORY_EVENTS_MAX && event.client < HISTORY_CLIENTS_MAX && event.n <= HISTORY_LOG_MAX);
    history->events[count] = event;
    atomic_store_explicit(&history->event_count, count + 1, memory_order_release);
}

void history_sent(struct history *history, uint32_t client, uint32_t number)
{
    add(history, (struct history_event){HISTORY_SENT, client, number, 0, client, "sent"});
}

void history_acked(struct history *history, uint32_t client, uint32_t number)
{
    add(history, (struct history_event){HISTORY_ACKED, client, number, 0, client, "acknowledgement"});
}

void history_shown_tx(struct history *history, uint32_t client, uint32_t number, uint32_t listener, const char *how)
{
    add(history, (struct history_event){HISTORY_SHOWN_TX, client, number, 0, listener, how});
}

void history_shown_log(struct history *history, uint32_t n, uint32_t client, uint32_t number, uint32_t listener)
{
    add(history, (struct history_event){HISTORY_SHOWN_LOG, client, number, n, listener, "row of the log"});
}

void history_shown_length(struct history *history, uint32_t n, uint32_t listener, const char *how)
{
    add(history, (struct history_event){HISTORY_SHOWN_LENGTH, 0, 0, n, listener, how});
}

size_t history_event_count(const struct history *history)
{
    return atomic_load_explicit(&history->event_count, memory_order_acquire);
}

static void raise_acked(struct truth *truth, const struct history_event *event)
{
    if (truth->acked[event->client] >= event->number)
        return;
    truth->acked[event->client] = event->number;
    truth->acked_by[event->client] = event;
}

static void raise_log_must(struct truth *truth, const struct history_event *event)
{
    if (truth->log_must >= event->n)
        return;
    truth->log_must = event->n;
    truth->log_must_by = event;
}

void history_truth(const struct history *history, size_t event_count, struct truth *ret_truth)
{
    *ret_truth = history->base;
    for (size_t i = 0; i < event_count; i++) {
        const struct history_event *event = &history->events[i];
        switch (event->kind) {
        case HISTORY_SENT:
            if (ret_truth->sent[event->client] < event->number)
                ret_truth->sent[event->client] = event->number;
            break;
        case HISTORY_ACKED:
            raise_acked(ret_truth, event);
            ret_truth->acked_count++;
            break;
        case HISTORY_SHOWN_LOG:
            ret_truth->log[event->n] = (struct log_entry){event->client, event->number};
            raise_log_must(ret_truth, event);
            raise_acked(ret_truth, event);
            ret_truth->shown_count++;
            break;
        case HISTORY_SHOWN_TX:
            raise_acked(ret_truth, event);
            ret_truth->shown_count++;
            break;
        case HISTORY_SHOWN_LENGTH:
            raise_log_must(ret_truth, event);
            ret_truth->shown_count++;
            break;
        }
    }
}

/* --- What a database should hold ---------------------------------------------------------------------------------- */

struct expected {
    uint32_t small[HISTORY_KEYS_SMALL + 1]; /* by key: the transaction that put it; 0: not there */
    uint32_t range[HISTORY_RANGE_MAX];
    uint32_t side; /* the transaction that made the table; 0: not there */
};

static void expect(struct expected *expected, const struct tx_spec *spec)
{
    expected->small[0] = spec->number;
    for (size_t i = 0; i < spec->put_count; i++)
        expected->small[spec->puts[i]] = spec->number;
    for (uint32_t i = 0; i < spec->range_count; i++)
        expected->range[i] = spec->number;
    for (uint32_t i = spec->range_count; spec->has_range_delete && i < HISTORY_RANGE_MAX; i++)
        expected->range[i] = 0;
    for (size_t i = 0; i < spec->delete_count; i++)
        expected->small[spec->deletes[i]] = 0;
    if (spec->toggles_side)
        expected->side = expected->side == 0 ? spec->number : 0;
}

/* --- Looking ------------------------------------------------------------------------------------------------------ */

struct look {
    const struct history *history;
    const struct truth *truth;
    struct found *found;
    struct expected *expected; /* for each client */
    size_t item_count;
    size_t item_count_expected;
    size_t side_count;
    size_t side_count_expected;
    char *reason;
};

static void complain(struct look *look, const char *format, ...) SQ_PRINTF(2, 3);

/* The first complaint counts. */
static void complain(struct look *look, const char *format, ...)
{
    va_list arguments;
    if (look->reason[0] != '\0')
        return;
    va_start(arguments, format);
    vsnprintf(look->reason, HISTORY_REASON_BYTES, format, arguments);
    va_end(arguments);
}

static uint32_t number_of(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

static void look_at_integrity(void *context, const char *const *values, size_t count)
{
    sq_assert(count == 1);
    if (strcmp(values[0], "ok") != 0)
        complain(context, "integrity_check: %s", values[0]);
}

static void look_at_log(void *context, const char *const *values, size_t count)
{
    struct look *look = context;
    struct found *found = look->found;
    sq_assert(count == 3);
    uint32_t n = number_of(values[0]);
    uint32_t client = number_of(values[1]);
    uint32_t number = number_of(values[2]);
    if (n != found->log_count + 1 || n > HISTORY_LOG_MAX) {
        complain(look, "the log has %u behind %u", n, found->log_count);
        return;
    }
    if (client >= look->history->client_count || number != found->committed[client] + 1) {
        complain(look, "log %u: transaction %u of client %u, whose last one is %u", n, number, client,
                 client < look->history->client_count ? found->committed[client] : 0);
        return;
    }
    const struct log_entry *known = &look->truth->log[n];
    if (known->client != HISTORY_CLIENTS_MAX && (known->client != client || known->number != number))
        complain(look, "log %u: is %u of client %u, was shown as %u of client %u", n, number, client, known->number,
                 known->client);
    found->log_count = n;
    found->log[n] = (struct log_entry){client, number};
    found->committed[client] = number;
}

static void look_at_item(void *context, const char *const *values, size_t count)
{
    struct look *look = context;
    char filler[512];
    sq_assert(count == 4);
    uint32_t client = number_of(values[0]);
    uint32_t key = number_of(values[1]);
    uint32_t number = number_of(values[2]);
    uint32_t expected = 0;
    if (client < look->history->client_count && key <= HISTORY_KEYS_SMALL)
        expected = look->expected[client].small[key];
    else if (client < look->history->client_count && key >= HISTORY_RANGE_KEY &&
             key < HISTORY_RANGE_KEY + HISTORY_RANGE_MAX)
        expected = look->expected[client].range[key - HISTORY_RANGE_KEY];
    look->item_count++;
    if (expected != number || number == 0) {
        complain(look, "item %u of client %u is of transaction %s, not %u", key, client, values[2], expected);
        return;
    }
    struct tx_spec spec;
    tx_spec_make(look->history->seed, client, number, &spec);
    snprintf(filler, sizeof(filler), "%0*" PRIu64, key == 0 ? TRIGGER_FILL : (int)spec.fill_length,
             (uint64_t)number * 1000003 + client * 101 + key);
    if (strcmp(filler, values[3]) != 0)
        complain(look, "item %u of client %u has a wrong filler", key, client);
}

static void look_at_side(void *context, const char *const *values, size_t count)
{
    struct look *look = context;
    char text[96];
    sq_assert(count == 2);
    look->side_count++;
    for (uint32_t client = 0; client < look->history->client_count; client++) {
        uint32_t number = look->expected[client].side;
        snprintf(text, sizeof(text), "CREATE TABLE side_%u(a_%u_%u)", client, client, number);
        if (number != 0 && strcmp(text, values[1]) == 0)
            return;
    }
    complain(look, "there is a table that should not be: %s", values[1]);
}

static const char *name_of(const struct history_event *event, char text[64])
{
    if (event == NULL)
        return "when the server started";
    snprintf(text, 64, "%s, to client %u", event->how, event->listener);
    return text;
}

/* The second half of rule 3; then what follows for items and tables. */
static void compare_clients(struct look *look)
{
    const struct history *history = look->history;
    const struct truth *truth = look->truth;
    const struct found *found = look->found;
    char by[64];
    if (found->log_count < truth->log_must)
        complain(look, "the log ends at %u, %u has been shown: %s", found->log_count, truth->log_must,
                 name_of(truth->log_must_by, by));
    for (uint32_t client = 0; client < history->client_count; client++) {
        uint32_t committed = found->committed[client];
        if (committed < truth->acked[client])
            complain(look, "client %u: %u is the last, %u was told: %s", client, committed, truth->acked[client],
                     name_of(truth->acked_by[client], by));
        if (committed > truth->sent[client])
            complain(look, "client %u: %u is there, %u is the last that was sent", client, committed,
                     truth->sent[client]);
        for (uint32_t number = 1; number <= committed; number++) {
            struct tx_spec spec;
            tx_spec_make(history->seed, client, number, &spec);
            expect(&look->expected[client], &spec);
        }
        look->side_count_expected += look->expected[client].side != 0;
        for (size_t key = 0; key <= HISTORY_KEYS_SMALL; key++)
            look->item_count_expected += look->expected[client].small[key] != 0;
        for (size_t key = 0; key < HISTORY_RANGE_MAX; key++)
            look->item_count_expected += look->expected[client].range[key] != 0;
    }
}

static void ask(struct look *look, struct talk *talk, const char *sql,
                void (*row_cb)(void *context, const char *const *values, size_t count))
{
    if (look->reason[0] == '\0' && !talk_query(talk, sql, look, row_cb))
        complain(look, "%s: SQLSTATE %s", sql, talk_sqlstate(talk));
}

static void look_at_all(struct look *look, struct session_fixture *server)
{
    struct talk talk;
    if (!talk_open(&talk, server))
        complain(look, "no connection: SQLSTATE %s", talk_sqlstate(&talk));
    ask(look, &talk, "PRAGMA integrity_check", look_at_integrity);
    ask(look, &talk, "SELECT n, client, tx FROM log ORDER BY n", look_at_log);
    compare_clients(look);
    ask(look, &talk, "SELECT client, key, tx, filler FROM item ORDER BY client, key", look_at_item);
    ask(look, &talk, "SELECT name, sql FROM sqlite_schema WHERE name LIKE 'side%'", look_at_side);
    if (look->item_count != look->item_count_expected)
        complain(look, "there are %zu items, not %zu", look->item_count, look->item_count_expected);
    if (look->side_count != look->side_count_expected)
        complain(look, "there are %zu side tables, not %zu", look->side_count, look->side_count_expected);
    talk_close(&talk);
}

bool history_check(const struct history *history, const struct truth *truth, const char *dir, struct found *ret_found,
                   char reason[HISTORY_REASON_BYTES])
{
    static const char *const options[] = {"--log-level=error", NULL};
    struct session_fixture server;
    struct sq_error err;
    struct expected *expected = calloc(history->client_count, sizeof(*expected));
    sq_assert(expected != NULL);
    memset(ret_found, 0, sizeof(*ret_found));
    reason[0] = '\0';
    struct look look = {.history = history, .truth = truth, .found = ret_found, .expected = expected, .reason = reason};
    if (fixture_try_start(&server, dir, options, &err) == SQ_OK)
        look_at_all(&look, &server);
    else
        complain(&look, "the server does not start: %s", err.text);
    fixture_stop(&server);
    free(expected);
    return reason[0] == '\0';
}
