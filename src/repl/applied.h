/* repl/applied.h: which transaction the end of a replica's WAL stands for: NAME.db-ltx/applied.
 *
 * Before a transaction is committed to the WAL, a record says where the WAL will end with it, and which position that is. Whatever a crash leaves, the
 * end that SQLite's recovery finds is looked up. A ring: as many records as there may be commits that no sync has covered.
 *
 *     offset    bytes
 *          0     8192  wal/slots.h, magic "SQLDAPPL": how the database file looked when it was closed, and at which position
 *                          0   8  device          32   8  timeline
 *                          8   8  inode           40   8  transaction
 *                         16   8  bytes           48   8  checksum
 *                         24   8  time of modification, nanoseconds since 1970
 *       8192  n × 64   records, number i at (i − 1) mod n
 *                          0   8  number, from 1
 *                          8   4  salt 1          32   8  timeline
 *                         12   4  salt 2          40   8  transaction
 *                         16   4  frames          48   8  checksum of the database
 *                         20   4  0               56   8  CRC-64 of the bytes before it
 *                         24   8  sum of the last frame (struct wal_state)
 *
 * Integers are big-endian. A record lies in one sector.
 *
 * Threads: one at a time, but for applied_sync(). */
#ifndef SQ_REPL_APPLIED_H
#define SQ_REPL_APPLIED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "engine/follower.h"
#include "wal/log.h"
#include "wal/wal_file.h"

struct applied;

enum { APPLIED_RECORDS = 1024 };

/* `dir` is the log's. Records that are damaged do not count. */
SQ_MUST_USE sq_status applied_open(const char *dir, struct sq_error *err, struct applied **ret_applied);
void applied_close(struct applied *applied); /* NULL is allowed */

/* A WAL that ends at `place` with the sum `sum` is at `position`. Not synced. When it fails, what was there before may be gone. */
SQ_MUST_USE sq_status applied_put(struct applied *applied, const struct wal_place *place, uint64_t sum,
                                  const struct wal_position *position, struct sq_error *err);
/* What was put is on disk when it returns. Any thread, as long as it is open. */
SQ_MUST_USE sq_status applied_sync(struct applied *applied, struct sq_error *err);
/* A database without a WAL whose file looks like `mark` is at `position`. On disk when it returns. */
SQ_MUST_USE sq_status applied_put_mark(struct applied *applied, const struct engine_file_mark *mark,
                                       const struct wal_position *position, struct sq_error *err);

/* The newest record that fits. False: there is none. */
bool applied_find(const struct applied *applied, const struct wal_place *place, uint64_t sum,
                  struct wal_position *ret_position);
bool applied_find_mark(const struct applied *applied, const struct engine_file_mark *mark,
                       struct wal_position *ret_position);
/* Of a database whose pages were read: the newest position with this checksum. */
bool applied_find_checksum(const struct applied *applied, uint64_t checksum, struct wal_position *ret_position);

#endif
