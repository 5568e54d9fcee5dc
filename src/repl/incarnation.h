/* repl/incarnation.h: which database a log is of (source.h, rule 3): NAME.db-ltx/incarnation, which goes and moves with the log.
 *
 *     offset  bytes
 *          0      8  "SQLDINCA"
 *          8      8  the number, random, not 0
 *         16      8  CRC-64 (wal/checksum.h) of the bytes before
 *
 * Integers are big-endian. The file is replaced as a whole. Threads: one at a time. */
#ifndef SQ_REPL_INCARNATION_H
#define SQ_REPL_INCARNATION_H

#include <stdint.h>

#include "base/status.h"

/* 0: there is none, or it is damaged: positions of this log are nobody's any more. */
SQ_MUST_USE sq_status repl_incarnation_read(const char *dir, struct sq_error *err, uint64_t *ret_incarnation);
/* On disk when it returns. */
SQ_MUST_USE sq_status repl_incarnation_write(const char *dir, uint64_t incarnation, struct sq_error *err);
/* The one that there is, or a new one, which is written. */
SQ_MUST_USE sq_status repl_incarnation_need(const char *dir, struct sq_error *err, uint64_t *ret_incarnation);

#endif
