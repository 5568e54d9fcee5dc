/* repl/logger_record.h: where in the WAL, or in a folded file, the end of a log is, when the log's last file does not say: NAME.db-ltx/place.
 * One record, replaced in place (wal/slots.h, magic "SQLDPLCE"). It says something only if its transaction and checksum are those of
 * the log's end.
 *
 *     offset  bytes
 *          0      4  1: a place in the WAL; 2: in the file, when the database was closed
 *          4      4  page size
 *          8      8  transaction number
 *         16      8  checksum of the database
 *         24      4  salt 1, of a place in the WAL; zeros in a file
 *         28      4  salt 2
 *         32      4  frames
 *         36      4  0
 *         40      8  device, of the database file when it was closed (engine/follower.h, "mark"); zeros for a place in the WAL
 *         48      8  inode
 *         56      8  bytes
 *         64      8  time of its modification, nanoseconds since 1970
 *
 * Integers are big-endian. Threads: one at a time. */
#ifndef SQ_REPL_LOGGER_RECORD_H
#define SQ_REPL_LOGGER_RECORD_H

#include <stdint.h>

#include "base/status.h"
#include "engine/follower.h"
#include "wal/log.h"
#include "wal/wal_file.h"

enum logger_record_kind { LOGGER_IN_WAL = 1, LOGGER_IN_FILE = 2 };

struct logger_record {
    enum logger_record_kind kind;
    uint32_t page_bytes;
    ltx_txid txid;
    uint64_t checksum;
    struct wal_place place;
    struct engine_file_mark mark;
};

/* `dir` is the log's. On disk when it returns. */
SQ_MUST_USE sq_status logger_record_write(const char *dir, const struct logger_record *record, struct sq_error *err);
/* SQ_NOT_FOUND: there is none, or none that is whole. */
SQ_MUST_USE sq_status logger_record_read(const char *dir, struct sq_error *err, struct logger_record *ret_record);

#endif
