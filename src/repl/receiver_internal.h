/* repl/receiver_internal.h: what receiver.c (the connection) and receiver_copy.c (one database of it) share. */
#ifndef SQ_REPL_RECEIVER_INTERNAL_H
#define SQ_REPL_RECEIVER_INTERNAL_H

#include <pthread.h>

#include "base/list.h"
#include "base/map.h"
#include "repl/receiver.h"
#include "repl/wakeups.h"

enum { RECEIVER_MARKS_MAX = 8 };

/* See receiver_copy.c. */
enum receiver_phase {
    RECEIVER_OPENING,
    RECEIVER_FOLLOWING,
    RECEIVER_ASKS_TO_HEAL,
    RECEIVER_SUMS,
    RECEIVER_HEALING,
    RECEIVER_RESTS,
    RECEIVER_REFUSES,
    RECEIVER_PHASE_COUNT,
};

/* Whoever has `txid` has everything as of then. */
struct receiver_mark {
    int64_t as_of_us;
    uint64_t timeline;
    ltx_txid txid;
};

struct receiver_database {
    struct repl_receiver *receiver;
    struct sq_list links;      /* in receiver->databases */
    struct sq_list work_links; /* in receiver->work */
    struct sq_list rest_links; /* in receiver->resting: RECEIVER_RESTS, and only then */
    struct repl_wakeup wakeup;
    uint32_t number;
    char name[REPL_NAME_MAX + 1];
    enum receiver_phase phase;
    uint32_t attempt; /* 0: none yet */
    struct repl_copy *copy;
    bool has_file;
    bool
        has_sums; /* checksums have been read: the store applies nothing until the healing file is there, or it is told that none comes */
    struct repl_file_intent intent;
    uint64_t offset;     /* of the file's next byte */
    uint32_t page_bytes; /* RECEIVER_SUMS: of the primary's */
    uint32_t next_page;
    bool is_refusal_due;            /* NotWanted is to be said */
    bool is_start_due;              /* StartAt is to be said */
    struct replication_status said; /* the last Status of this attempt */
    int64_t retry_at_us;            /* RECEIVER_RESTS */
    int64_t retry_us;               /* what the last trouble led to; 0: the first for a while */
    int64_t trouble_us;             /* when that was; 0: never */
    char *reason;                   /* of the last trouble; may be NULL */
    bool has_end;
    struct wal_position end;
    struct receiver_mark marks[RECEIVER_MARKS_MAX]; /* ascending, of ends that are not durable yet */
    size_t mark_count;
    int64_t as_of_us; /* 0: not known */
    /* What others may see, under the receiver's mutex; published by its own thread. */
    struct repl_receiver_figures shown;
    enum receiver_phase shown_phase;
    bool is_shown_current; /* shown: all that was told is durable: as old as the last keepalive says */
};

struct repl_receiver {
    struct repl_store *store;
    struct repl_receiver_config config;
    struct repl_wanted wanted;
    struct repl_wakeups wakeups;
    struct repl_wakeup probe_wakeup;
    pthread_mutex_t mutex; /* the list of databases, and what they show */
    struct sq_list databases;
    struct sq_map by_number; /* both maps are looked up only: their order is nobody's */
    struct sq_map by_name;
    struct sq_list work;
    struct sq_list resting;
    uint32_t attempts; /* unique within the connection */
    uint64_t timeline; /* of the primary's welcome; 0: not yet */
    bool is_list_known;
    bool is_stalled; /* the store has no room: silence is ours */
    int64_t now_us;
    int64_t heard_us;  /* when bytes came */
    size_t left_bytes; /* of the input, by the last run */
    int64_t said_us;   /* our clock, last told */
    int64_t asked_us;  /* 0: not since the primary spoke */
    bool is_alive_due;
    bool is_probe_due;
    int64_t as_of_us; /* under the mutex: all ends that were told are everything as of then; 0: not known */
};

/* --- receiver_copy.c --- */

SQ_MUST_USE sq_status receiver_database_new(struct repl_receiver *receiver, uint32_t number, const char *name,
                                            struct sq_error *err);
void receiver_database_free(struct receiver_database *database);
void receiver_database_work(struct receiver_database *database);
/* Looks at the copy, says what there is to say. Whether there is more to do now. */
SQ_MUST_USE sq_status receiver_database_step(struct receiver_database *database, struct sq_buf *out,
                                             struct sq_error *err, bool *ret_is_more);
/* A message of the primary's about it. SQ_BUSY: again later. */
SQ_MUST_USE sq_status receiver_database_take(struct receiver_database *database,
                                             const struct replication_message *message, struct sq_error *err);
/* Its time in receiver->resting is over. */
void receiver_database_has_rested(struct receiver_database *database);

#endif
