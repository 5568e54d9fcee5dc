/* repl/sender_internal.h: what sender.c (the connection) and sender_database.c (one database of it) share. */
#ifndef SQ_REPL_SENDER_INTERNAL_H
#define SQ_REPL_SENDER_INTERNAL_H

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "repl/sender.h"
#include "repl/wakeups.h"
#include "repl/wanted.h"

enum {
    SENDER_LAG_SAMPLES_MAX = 16,
    SENDER_LOOK_US = 1000 * 1000, /* at one who is ahead */
    SENDER_RETRY_US = 100 * 1000, /* after a look at the log that did not fit together */
};

/* See sender_database.c. */
enum sender_phase {
    SENDER_NEW,
    SENDER_TOLD,
    SENDER_FOLLOW,
    SENDER_HEAL_WAITS,
    SENDER_HEAL_PREPARES,
    SENDER_HEAL_SUMS,
    SENDER_HEAL_DATA,
    SENDER_GIVES_UP,
    SENDER_GONE,
    SENDER_PHASE_COUNT,
};

/* When an end was told: how long the replica takes to apply it. */
struct sender_lag_sample {
    ltx_txid txid;
    int64_t at_us;
};

/* What others may see, under the sender's mutex; published by its own thread. */
struct sender_shown {
    struct repl_feed *feed;
    enum sender_phase phase;
    bool is_refused;
    struct wal_position sent;
    struct wal_position told;
    struct replication_status status;
    int64_t behind_since_us; /* 0: it is not */
};

struct sender_database {
    struct repl_sender *sender;
    struct sq_list links;      /* in sender->databases */
    struct sq_list work_links; /* in sender->work, _delayed or _heal_waiting */
    struct repl_wakeup wakeup;
    uint32_t number;
    char name[REPL_NAME_MAX + 1];
    bool is_listed; /* the scan that is on has seen it */
    enum sender_phase phase;
    uint32_t attempt;     /* of the last StartAt; 0: none */
    int64_t sent_us;      /* when the replica said, or was sent, `sent` */
    bool is_refused;      /* the replica does not follow it, now or at all */
    bool is_attempt_over; /* what still comes of it is not looked at */
    struct repl_feed *feed;
    struct repl_exchange *exchange;
    char *reason;              /* SENDER_GIVES_UP; may be NULL */
    uint64_t incarnation;      /* which database the replica has; 0: an empty one */
    uint64_t view_incarnation; /* which one we have, at the last look */
    bool is_known; /* `sent` is certain; else it is what the replica believes, and good to see who is ahead */
    struct wal_position sent; /* the replica is here once it has got all that was put into the output */
    ltx_txid proof_txid; /* from here on the replica's positions are certainly in our history; UINT64_MAX: not yet */
    bool has_told;
    struct wal_position told; /* the end that was told last */
    bool has_file;
    struct repl_feed_file file;
    uint64_t offset;    /* in the file, or in the exchange's */
    uint32_t next_page; /* whose checksum is expected */
    struct wal_position heal_position;
    int64_t retry_at_us; /* in sender->delayed */
    struct replication_status status;
    struct sender_lag_sample samples[SENDER_LAG_SAMPLES_MAX];
    size_t sample_count;
    struct sender_shown shown;
};

struct repl_sender {
    struct repl_source *source;
    struct repl_sender_owner *owner;
    struct repl_sender_config config;
    struct repl_wanted wanted;
    char name[REPLICATION_NAME_MAX + 1];
    struct repl_wakeups wakeups;
    struct repl_wakeup source_wakeup;
    pthread_mutex_t mutex; /* the list of databases, and what they show; above the log's locks */
    struct sq_list databases;
    struct sq_map by_number; /* both maps are looked up only: their order is nobody's */
    struct sq_map by_name;   /* those that the replica has been told of, and not yet that they are gone */
    struct sq_list work;
    struct sq_list delayed;
    struct sq_list heal_waiting;
    size_t exchange_count;
    size_t new_count; /* of databases that are SENDER_NEW */
    bool is_watching;
    bool is_scan_due;
    bool is_list_told;
    uint64_t timeline; /* welcomed with; 0: not yet */
    int64_t now_us;
    int64_t wall_us;
    int64_t age_us;
    int64_t heard_us;  /* when bytes of the replica's came */
    size_t left_bytes; /* of the input, by the last run */
    int64_t kept_us;   /* when the last keepalive was said */
    int64_t asked_us;  /* when it was asked for an answer; 0: not since it spoke */
    int64_t push_at_us;
    bool is_answer_due;
    int64_t echo_us;      /* the replica's clock, read last */
    int64_t safe_echo_us; /* the same, when all ends were told */
};

/* --- sender_database.c --- */

/* It is announced with its first step: sender_database_work(). */
SQ_MUST_USE sq_status sender_database_new(struct repl_sender *sender, const struct repl_database_entry *entry,
                                          struct sq_error *err);
/* Closes all that is open and frees it. */
void sender_database_free(struct sender_database *database);
/* The source has it no more: the replica will be told. */
void sender_database_gone(struct sender_database *database);
/* Tells the end of its log if it is another one than before; there is something to do. */
void sender_database_woken(struct sender_database *database, struct sq_buf *out);
/* One thing: a message or two. Whether there is more to do now. */
SQ_MUST_USE sq_status sender_database_step(struct sender_database *database, struct sq_buf *out, struct sq_error *err,
                                           bool *ret_is_more);
/* A message of the replica's about it. */
SQ_MUST_USE sq_status sender_database_take(struct sender_database *database, const struct replication_message *message,
                                           struct sq_error *err);
/* Puts it at the end of those that have something to do. */
void sender_database_work(struct sender_database *database);
void sender_database_figures(const struct sender_database *database, int64_t now_us,
                             struct repl_sender_figures *ret_figures);

/* --- sender.c --- */

/* The replica, or whoever, knows a newer timeline. */
SQ_MUST_USE sq_status sender_check_timeline(struct repl_sender *sender, uint64_t timeline, struct sq_error *err);

static inline struct replication_position sender_to_wire(const struct wal_position *position)
{
    return (struct replication_position){
        .timeline = position->timeline, .txid = position->txid, .checksum = position->checksum};
}
static inline struct wal_position sender_from_wire(const struct replication_position *position)
{
    return (struct wal_position){
        .timeline = position->timeline, .txid = position->txid, .checksum = position->checksum};
}

#endif
