/* wal/history.h: where a log begins, and which timeline began after which transaction; the file `history` of its
 * directory (docs/ltx.md), replaced as a whole.
 *
 * Invariants: (1) timelines ascend, and so do the transactions after which they began; (2) the first one began at or before the
 * base.
 *
 * Threads: one at a time. */
#ifndef SQ_WAL_HISTORY_H
#define SQ_WAL_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "wal/ltx.h"

/* Far more promotions than a log will see. */
enum { WAL_HISTORY_TIMELINES_MAX = 4096 };

struct wal_history_timeline {
    uint64_t timeline;
    ltx_txid after_txid;
};

struct wal_history {
    uint64_t generation; /* counts the restarts */
    ltx_txid base_txid;  /* the first file that there was or will be comes after it */
    uint64_t base_checksum;
    bool is_clearing; /* files that are there are older than the base */
    size_t count;
    struct wal_history_timeline *timelines;
};

void wal_history_done(struct wal_history *history);
SQ_MUST_USE sq_status wal_history_copy(const struct wal_history *history, struct sq_error *err,
                                       struct wal_history *ret_copy);

/* SQ_NOT_FOUND: there is none. SQ_CORRUPT. */
SQ_MUST_USE sq_status wal_history_load(int dir_fd, struct sq_error *err, struct wal_history *ret_history);
/* Durable when it returns. When it fails, either this history or the one before may be there. */
SQ_MUST_USE sq_status wal_history_save(int dir_fd, const struct wal_history *history, struct sq_error *err);

/* A newer timeline begins after `txid`. SQ_INVALID: it is not newer. */
SQ_MUST_USE sq_status wal_history_add(struct wal_history *history, uint64_t timeline, ltx_txid txid,
                                      struct sq_error *err);
/* Forgets timelines that begin after `txid`. False: there was none. */
bool wal_history_cut(struct wal_history *history, ltx_txid txid);

/* The timeline that `txid` was made on; 0: none is known. */
uint64_t wal_history_timeline(const struct wal_history *history, ltx_txid txid);
/* The timeline that the transaction after `txid` is made on. */
static inline uint64_t wal_history_timeline_after(const struct wal_history *history, ltx_txid txid)
{
    return wal_history_timeline(history, txid + 1);
}
/* The transaction after which `timeline` ended; UINT64_MAX: it has not. False: it is not known. */
bool wal_history_end(const struct wal_history *history, uint64_t timeline, ltx_txid *ret_txid);

#endif
