/* tests/crash/history.h: what must be in a database, because somebody was told so, and what may be.
 *
 * Each client does numbered transactions, 1, 2, 3 …, one after the other. What transaction number `n` of client `c` does
 * follows from a seed (struct tx_spec), so that the number of its last transaction says all that a client has ever
 * written. Each transaction also puts a row into `log`, whose key counts up: the order of all commits.
 *
 *     log(n INTEGER PRIMARY KEY, client, tx)           one row for each transaction, without holes
 *     item(client, key, tx, filler)                    puts and deletes; key 0 by a trigger of `log`
 *     side_CLIENT(a_CLIENT_TX)                         a table that comes and goes; its column says who made it
 *
 * While a server runs, what is sent to it and what it lets out are noted as *events*. From them follows, for any moment,
 * the *truth*: each client's last transaction that was acknowledged (or seen by anybody), the last one that has been sent,
 * and how long the log must be. history_check() holds a database to it:
 *
 *   1. integrity_check says ok;
 *   2. the log has no holes, is at least as long as anybody has seen it, and says what anybody has seen in it;
 *   3. each client's transactions are in it in order, none that was acknowledged is missing, none that was not sent is
 *      there;
 *   4. items and tables are exactly what those transactions made: nothing is half applied, nothing that was rolled back
 *      is there.
 *
 * Threads: one writes events; any may ask for their number. */
#ifndef SQ_TESTS_CRASH_HISTORY_H
#define SQ_TESTS_CRASH_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"

enum {
    HISTORY_CLIENTS_MAX = 10,
    HISTORY_LOG_MAX = 1 << 14,
    HISTORY_EVENTS_MAX = 1 << 17,
    HISTORY_KEYS_SMALL = 40,  /* keys 1 … 40 */
    HISTORY_RANGE_KEY = 1000, /* keys 1000 … of large transactions */
    HISTORY_RANGE_MAX = 3000, /* more than SQLite's cache holds of small pages */
    HISTORY_REASON_BYTES = 256,
};

struct tx_spec {
    uint32_t client;
    uint32_t number;
    uint32_t puts[3];
    size_t put_count;
    uint32_t deletes[2];
    size_t delete_count;
    uint32_t range_count;  /* keys that are put from HISTORY_RANGE_KEY on */
    bool has_range_delete; /* and all behind them are deleted */
    bool toggles_side;
    uint32_t fill_length;
};
void tx_spec_make(uint64_t seed, uint32_t client, uint32_t number, struct tx_spec *ret_spec);
/* Whether it does nothing but put its row into the log. */
bool tx_spec_is_plain(const struct tx_spec *spec);

struct log_entry {
    uint32_t client; /* HISTORY_CLIENTS_MAX: not known */
    uint32_t number;
};

struct truth {
    uint32_t acked[HISTORY_CLIENTS_MAX];
    uint32_t sent[HISTORY_CLIENTS_MAX];
    uint32_t log_must;                         /* the log is at least so long */
    struct log_entry log[HISTORY_LOG_MAX + 1]; /* by n, as far as known */
    /* The event that `acked` comes from, for people. NULL: it was so at the beginning. */
    const struct history_event *acked_by[HISTORY_CLIENTS_MAX];
    const struct history_event *log_must_by;
    uint64_t acked_count; /* how many acknowledgements and readers' answers stand behind it */
    uint64_t shown_count;
};

enum history_event_kind { HISTORY_SENT, HISTORY_ACKED, HISTORY_SHOWN_TX, HISTORY_SHOWN_LOG, HISTORY_SHOWN_LENGTH };

struct history_event {
    enum history_event_kind kind;
    uint32_t client;
    uint32_t number;
    uint32_t n;
    uint32_t listener; /* who was told */
    const char *how;   /* constant: for people */
};

struct history {
    uint64_t seed;
    size_t client_count;
    struct truth base; /* before the first event */
    struct history_event *events;
    _Atomic size_t event_count; /* release: what it counts is written */
};

void history_init(struct history *history, uint64_t seed, size_t client_count);
void history_done(struct history *history);
/* Begins anew with what is known. */
void history_restart(struct history *history, const struct truth *base);

void history_sent(struct history *history, uint32_t client, uint32_t number);
void history_acked(struct history *history, uint32_t client, uint32_t number);
/* `listener` has been told, `how` (constant) says by what. */
void history_shown_tx(struct history *history, uint32_t client, uint32_t number, uint32_t listener, const char *how);
void history_shown_log(struct history *history, uint32_t n, uint32_t client, uint32_t number, uint32_t listener);
void history_shown_length(struct history *history, uint32_t n, uint32_t listener, const char *how);
size_t history_event_count(const struct history *history);

/* What follows from the first `event_count` events. */
void history_truth(const struct history *history, size_t event_count, struct truth *ret_truth);

/* What a database holds. */
struct found {
    uint32_t committed[HISTORY_CLIENTS_MAX];
    uint32_t log_count;
    struct log_entry log[HISTORY_LOG_MAX + 1];
};

/* Starts a server on `dir` and looks. False: `reason` says what is wrong. */
bool history_check(const struct history *history, const struct truth *truth, const char *dir, struct found *ret_found,
                   char reason[HISTORY_REASON_BYTES]);
/* Statements that make the tables. */
extern const char history_schema[];

#endif
