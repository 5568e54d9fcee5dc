/* repl/store.h: what a receiver writes to: the local databases, each with its log and its applier.
 *
 *     receiver ──► store ─┬─ local databases, by name
 *                         └─ copy: one of them, as the receiver feeds it
 *                              files of the log ──► [ written ]──► thread of the store: apply ──► [ durable ]
 *                              a healing file   ──►  the same, instead of what was there
 *                              checksums of the pages that are there ──► the primary
 *
 * In the server it is replica.h; in the simulator it is memory. A table of functions each, the first member of whatever implements it.
 *
 * Rules
 *  1. No call waits for a disk sync, an application, or a lock that is held across I/O: a file that is committed is applied by a thread of the
 *     store, in order, and a waker is called when there is news. Writing up to 64 kB into a file is fine.
 *  2. Files are verified by the store: LTX checksum, header against what was announced, the database's checksum after applying against
 *     post_checksum before anybody can see the result. What does not fit is not applied, and the copy's state becomes HEAL.
 *  3. `durable` is true after a crash. Neither `applied` nor `durable` goes back, but for a heal: both are zeros
 *     from begin_cb to when the healing file is applied, or given up (then what was there is there still). What `applied` says can be read.
 *  4. A waker is not called any more when the call that takes it back has returned. It may be called under the store's locks.
 *
 * Threads: the calls come from one thread at a time. */
#ifndef SQ_REPL_STORE_H
#define SQ_REPL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/waker.h"
#include "repl/source.h"
#include "wal/log.h"

struct repl_store;
struct repl_copy;

enum repl_copy_state {
    REPL_COPY_PENDING, /* being opened or recovered, or the end of what was given up is waited for */
    REPL_COPY_READY,   /* the position is known; files after `written` can be given */
    REPL_COPY_HEAL, /* its position is not known, or not true (rule 2): only a healing file can be given. Sums can be read */
    REPL_COPY_PAUSED, /* a trouble that may pass (disk full, another process writes): what was not yet applied is forgotten; resume_cb() tries again */
    REPL_COPY_FAILED, /* a trouble that will not: nothing more can be done with it until it is opened anew */
};

struct repl_copy_view {
    enum repl_copy_state state;
    uint64_t incarnation; /* of what is written; 0: a new, empty database */
    uint32_t page_bytes;  /* 0: no pages yet */
    /* Where the copy is once all that was committed is applied: the receiver goes on after it. READY only; also right after a healing file was committed. A new, empty
     * database: timeline 0, txid 0, WAL_CHECKSUM_FLAG. */
    struct wal_position written;
    /* Zeros as long as nothing is known, and while it heals (rule 3). Checksum: of the database at that point. */
    struct wal_position applied;
    struct wal_position durable;
};

/* What is known of a file before its bytes come. */
struct repl_file_intent {
    bool is_heal; /* takes the place of what is there: READY and HEAL; else READY only */
    ltx_txid
        min_txid; /* of a log's file: at most written + 1; it may begin before (the primary's log was compacted), and then also has everything since */
    ltx_txid max_txid; /* of a log's file: above written */
    uint64_t timeline;
    uint64_t checksum;    /* of the database after it */
    uint64_t incarnation; /* becomes the copy's with a healing file, or after txid 0; else it is the same */
    uint64_t bytes;       /* 0: not known before the end */
};

struct repl_copy_ops {
    void (*look_cb)(struct repl_copy *copy, struct repl_copy_view *ret_view);
    /* HEAL, PAUSED and FAILED: why. */
    void (*reason_cb)(struct repl_copy *copy, struct sq_error *ret_reason);
    /* One file at a time: begin, its bytes, commit. Any failure: the file is as if it was never begun, and the state says what to do (or is PAUSED soon: the waker
     * is called). SQ_BUSY from begin only: too much is waiting to be applied; the waker will be called. */
    sq_status (*begin_cb)(struct repl_copy *copy, const struct repl_file_intent *intent, struct sq_error *err);
    sq_status (*append_cb)(struct repl_copy *copy, const void *bytes, size_t length, struct sq_error *err);
    /* All bytes are there: the file will be applied. SQ_CORRUPT: it is not what it should be. */
    sq_status (*commit_cb)(struct repl_copy *copy, struct sq_error *err);
    /* A file that was begun will not be completed, or none will come for checksums that were read: the connection is gone, or the primary begins another way. What has come of a healing file for a database
     * that has no pages yet may be kept, as pages that are there. No file begun: nothing. */
    void (*abort_cb)(struct repl_copy *copy);
    /* After all that is written, timeline `timeline` begins; its first transaction is written's and 1. Durable soon: `durable` says so. */
    sq_status (*begin_timeline_cb)(struct repl_copy *copy, uint64_t timeline, struct sq_error *err);
    /* PAUSED: try again. Becomes PENDING, then READY, HEAL or PAUSED. */
    void (*resume_cb)(struct repl_copy *copy);
    /* READY, HEAL: checksums of pages from `first_page` on (after 1 consecutively; 0 for the lock page, or if a page is not known), of pages of `page_bytes`
     * each: another size: there are none. READY with a primary that does not know our position: the same, once all that is written is applied. Nothing
     * is applied from the first call on until a healing file is committed, abort_cb, or the end of the copy. *ret_count 0 and *ret_is_end false: not
     * now, the waker will be called. */
    sq_status (*sums_cb)(struct repl_copy *copy, uint32_t page_bytes, uint32_t first_page, uint64_t *sums,
                         size_t count_max, struct sq_error *err, size_t *ret_count, bool *ret_is_end);
    /* No more calls. What was committed is still applied. */
    void (*close_cb)(struct repl_copy *copy);
};
struct repl_copy {
    const struct repl_copy_ops *ops;
};

struct repl_store_ops {
    void (*identity_cb)(struct repl_store *store,
                        struct repl_identity *ret_identity); /* system_id 0: belongs to no group yet */
    /* The primary's group and timeline (never an older one) become ours. Durable when it returns: a few bytes, once in a blue moon. */
    sq_status (*adopt_cb)(struct repl_store *store, uint64_t system_id, uint64_t timeline, struct sq_error *err);
    /* The local database whose name is the next one after `after` ("": the first) in byte order. False: there is none. */
    bool (*next_database_cb)(struct repl_store *store, const char *after, char ret_name[REPL_NAME_MAX + 1]);
    /* Opens the database, or begins to make it; `waker` is called when what look_cb says has changed or something can go on, until close_cb. One
     * copy of a name at a time. SQ_INVALID: not a name for a database here. */
    sq_status (*open_cb)(struct repl_store *store, const char *name, struct sq_waker *waker, struct sq_error *err,
                         struct repl_copy **ret_copy);
    /* The primary has no such database any more. Its copy has been closed. What is not on any primary (a former primary's surplus) is
     * set aside, not lost. Done in its own time; a database of the name that is opened afterwards is a new one. */
    sq_status (*drop_cb)(struct repl_store *store, const char *name, struct sq_error *err);
};
struct repl_store {
    const struct repl_store_ops *ops;
};

#endif
