/* tests/sim/sim.h: a world of servers that replicate, in memory and in one thread, whose clock stands still but for events. README.md tells what is simulated
 * and what is checked.
 *
 *     world.c    the clock, events, dice; transactions: what each left, and whether it is durable and acknowledged
 *     file.c     pages and files: a database is a few numbers
 *     source.c   struct repl_source of a node: logs, feeds, exchanges
 *     store.c    struct repl_store of a node: copies, applying, durability
 *     node.c     roles, commits, acknowledgements, crashes, promotion
 *     network.c  connections with their sender and receiver: delay, windows, partitions, losses
 *     sim_replication.c   schedules, the operator, the last judgement */
#ifndef SQ_TESTS_SIM_H
#define SQ_TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/status.h"
#include "base/waker.h"
#include "repl/receiver.h"
#include "repl/sender.h"
#include "repl/source.h"
#include "repl/store.h"
#include "wal/checksum.h"

enum {
    NODES_MAX = 5,
    PAGES_MAX = 24,
    NAMES_MAX = 5,
    MS = 1000,
    SECOND = 1000 * 1000,
};

struct database;
struct node;
struct link;

/* --- world.c --- */

/* What a transaction left. Page 1 of a database holds the number of its last one. */
struct txn {
    uint64_t parent;
    uint64_t incarnation; /* which database of that name */
    uint64_t timeline;
    ltx_txid txid;
    uint64_t checksum;
    int node;
    bool is_durable; /* on the disk of the primary that made it */
    bool is_acked;
    int64_t acked_us;
};

/* What a schedule may do. */
struct options {
    uint64_t seed;
    unsigned sync_count; /* acknowledgements wait for so many replicas */
    bool has_corruption; /* pages change under a replica, files of logs rot */
    bool has_collisions; /* promotions that nobody has coordinated: two primaries of one timeline */
    bool has_promotions;
    bool is_wild;         /* crashes, partitions, pauses, full disks */
    bool ships_undurable; /* a broken primary, which the checks must find out: */
    bool promotes_anybody;
    bool acks_early;
    bool is_verbose;
};

struct world {
    struct options options;
    uint64_t dice;
    int64_t now_us;
    struct txn *txns; /* from 1 */
    size_t txn_count;
    size_t txn_room;
    uint64_t incarnation_count;
    struct node *nodes[NODES_MAX];
    int node_count;
    bool is_partitioned[NODES_MAX][NODES_MAX]; /* from, to */
    size_t window_bytes;
    int64_t delay_us;
    bool is_calm; /* the end: no faults any more */
    int promotion_count;
    int64_t promoted_us[64]; /* of timeline i: when it began */
    uint64_t timeline_max;
    const char *violation; /* the first one */
    char violation_text[512];
    struct sq_list blocks;
    struct {
        uint64_t event_count, commit_count, ack_count, applied_count, heal_count, promotion_count, crash_count,
            connection_count, fence_count, mismatch_count, freshness_count, overlap_count, timeline_count, drop_count;
    } tally;
};
extern struct world *world;

void world_new(const struct options *options);
void world_free(void);
/* Zeroed memory that lives as long as the world. */
void *world_alloc(size_t bytes);
uint64_t dice_next(void);
uint64_t dice_below(uint64_t limit);
bool dice_chance(unsigned percent);
int64_t dice_time(int64_t max_us); /* from 1 */

/* `fn` is called after `delay_us`, with `a` and `b`. */
typedef void (*event_fn)(void *a, uint64_t b);
void event_after(int64_t delay_us, event_fn fn, void *a, uint64_t b);
bool event_next(int64_t until_us); /* false: nothing to do until then, when it now is */

/* Notes a broken promise; the schedule ends. */
void violate(const char *what, const char *format, ...) SQ_PRINTF(2, 3);
void tell(const char *format, ...) SQ_PRINTF(1, 2); /* with is_verbose */

uint64_t txn_new(uint64_t parent, uint64_t incarnation, uint64_t timeline, ltx_txid txid, int node);
bool txn_is_ancestor(uint64_t ancestor, uint64_t of); /* or the same */

/* --- file.c --- */

struct pages {
    uint32_t page_bytes; /* 0: none yet */
    uint32_t count;
    uint64_t content[PAGES_MAX];
};
uint64_t pages_sum(uint32_t page_number, uint64_t content);
uint64_t pages_checksum(const struct pages *pages);

struct file {
    ltx_txid min_txid;
    ltx_txid max_txid;
    uint64_t timeline;
    uint64_t pre_checksum;
    uint64_t post_checksum;
    uint64_t is_heal;
    uint64_t page_bytes;
    uint64_t page_count;
    uint64_t changed_count;
    uint64_t padding;
    uint64_t page_numbers[PAGES_MAX];
    uint64_t contents[PAGES_MAX];
};
/* What leads from `before` to `after`. */
struct file file_between(const struct pages *before, const struct pages *after);
size_t file_bytes(const struct file *file);
void file_encode(const struct file *file, uint8_t *bytes); /* file_bytes() of them */
bool file_decode(const uint8_t *bytes, size_t length, struct file *ret_file);
/* Pages after it; false: the checksum is not what it should be. */
bool file_apply(const struct file *file, const struct pages *before, struct pages *ret_after);

/* --- Logs and databases --- */

enum { LOG_FILES_MAX = 96, HISTORY_MAX = 32, RECORDS_MAX = 96, ENDS_MAX = 1024 };

struct log {
    bool exists; /* made on demand */
    struct wal_position begin;
    struct file files[LOG_FILES_MAX];
    bool is_rotten[LOG_FILES_MAX];
    size_t file_count;
    uint64_t history[HISTORY_MAX]; /* timelines, and after which transaction each ended, but the last */
    ltx_txid history_end[HISTORY_MAX];
    size_t history_count;
};
struct wal_position log_end(const struct log *log);
void log_restart(struct log *log, const struct wal_position *position);
void log_append(struct log *log, const struct file *file);
void log_begin_timeline(struct log *log, uint64_t timeline);
void log_truncate(struct log *log, ltx_txid txid); /* files that end after it go */
void log_trim(struct log *log, size_t count);      /* the oldest go */
void log_compact(struct log *log, ltx_txid txid_max);

/* A commit that is in the WAL and not in a synced file of the log. */
struct record {
    ltx_txid txid;
    struct pages after;
};

enum { QUEUE_MAX = 6 };
struct queued {
    bool is_timeline;
    uint64_t incarnation;
    uint64_t timeline;
    struct file file;
};

/* One database on one node. */
struct database {
    struct sq_list links;
    struct node *node;
    char name[REPL_NAME_MAX + 1];
    uint32_t number;
    uint64_t incarnation;      /* 0: of an empty copy */
    bool is_brought_along;     /* by a replica that was promoted */
    uint64_t disk_incarnation; /* what a crash leaves of it, on a replica */
    bool is_gone;
    struct pages now;  /* what readers see */
    struct pages disk; /* what a crash leaves */
    struct wal_position applied;
    struct wal_position durable;
    struct log log;
    /* primary */
    struct record records[RECORDS_MAX]; /* after the synced end of the log */
    size_t record_count;
    ltx_txid synced_txid; /* of the log */
    struct pages synced_pages;
    struct {
        int64_t at_us;
        ltx_txid txid;
    } ends[ENDS_MAX]; /* when the log got how far, for the freshness of replicas */
    size_t end_count;
    bool is_logger_due;
    ltx_txid replica_durable[NODES_MAX];
    /* replica */
    bool is_known; /* the position is */
    bool is_disk_known;
    bool must_heal; /* what came does not fit */
    bool is_corrupt;
    bool is_bootstrapping; /* pages of a healing file that was cut off are there */
    bool is_healing;
    bool is_summing;
    bool is_applying; /* an event is on its way */
    bool is_syncing;
    bool is_paused;
    bool is_opening;
    const char *trouble;
    struct queued queue[QUEUE_MAX];
    size_t queue_count;
    struct copy *copy;
    struct sq_list feeds;
};

/* --- node.c --- */

struct pending {
    struct database *database;
    ltx_txid txid;
    uint64_t txn;
};
enum { PENDING_MAX = 256, SENDERS_MAX = 16 };

struct node {
    struct repl_source source;
    struct repl_store store;
    int id;
    bool is_up;
    uint64_t epoch; /* of events: grows with each crash */
    int64_t paused_until_us;
    int64_t disk_full_until_us;
    int64_t log_broken_until_us;
    enum { PRIMARY, REPLICA, FENCED } role;
    uint64_t system_id;
    uint64_t timeline;
    struct sq_list databases;
    uint32_t number_count;
    struct pending pending[PENDING_MAX];
    size_t pending_count;
    char wanted[64];
    int upstream;      /* whom it follows; -1: nobody */
    struct link *link; /* to it */
    bool is_connecting;
    struct sq_list watchers; /* of its senders */
    struct sq_list links;
    int64_t wall_offset_us;
};

struct node *node_new(int id);
struct database *node_database(const struct node *node, const char *name); /* NULL: none */
struct database *database_new(struct node *node, const char *name);
void database_gone(struct database *database);
void node_watchers_wake(struct node *node);
void mark_durable(const struct pages *pages); /* all transactions that led to them */
void node_commit(struct node *node);          /* somebody writes something */
void node_commit_to(struct database *database);
void node_outside_write(struct node *node);
void node_create(struct node *node);
void node_drop(struct node *node);
void node_durable(struct node *node, uint32_t number, int replica, const struct wal_position *durable);
void node_acknowledge(struct node *node);
void node_saw_timeline(struct node *node, uint64_t timeline);
void node_crash(struct node *node);
void node_restart(struct node *node);
void node_promote(struct node *node, uint64_t timeline);
void node_follow(struct node *node, int upstream);
bool node_is_awake(const struct node *node);
/* Calls again later if the node sleeps; false: it does, or has crashed since. */
bool node_can(struct node *node, uint64_t epoch, event_fn fn, void *a);
bool node_dominates(const struct node *node); /* no replica has anything that it has not, durably */

/* --- source.c, store.c --- */

extern const struct repl_source_ops source_ops;
extern const struct repl_store_ops store_ops;
void feeds_wake(struct database *database);
void logger_later(struct database *database); /* there is something durable that is not in the log */
void logger_now(struct database *database);
void logger_note_end(struct database *database);
void store_crash(struct database *database);
void store_settle(struct database *database); /* all that is written is applied and durable: before a promotion */
void store_corrupt(struct database *database);
void store_wake(struct database *database);

/* --- network.c --- */

void link_connect(struct node *replica);     /* to its upstream, in its own time */
void link_lose(struct link *link);           /* somewhere in the middle */
void network_unfollow(struct node *replica); /* its connection goes, as if it had died */
void network_node_died(struct node *node);
struct repl_receiver *link_receiver(const struct link *link);
int link_primary(const struct link *link);
void links_poke(struct node *node); /* the node runs again */
void network_tell(void);            /* what everybody believes */
void network_free(void);

#endif
