/* wal/slots.h: a small record that is replaced in place and that no crash can damage: two slots, far enough apart to
 * share no sector and no page of the cache, written in turns. The newer whole one counts.
 *
 *     offset of the slot: 0 or 4096, by the sequence number's lowest bit
 *          0   8   magic, the file's own
 *          8   8   sequence number, from 1, big-endian
 *         16   n   the record
 *     16 + n   8   CRC-64 of all before it, big-endian
 *
 * Threads: one at a time. */
#ifndef SQ_WAL_SLOTS_H
#define SQ_WAL_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    WAL_SLOTS_BYTES = 8192, /* of both: what follows them in the file begins here */
    WAL_SLOT_RECORD_BYTES_MAX = 128,
};

/* SQ_NOT_FOUND: neither slot is whole. */
SQ_MUST_USE sq_status wal_slots_read(int fd, const char magic[8], size_t record_bytes, struct sq_error *err,
                                     void *ret_record, uint64_t *ret_sequence);
/* Not synced. `sequence`: that of the record before and 1; when this fails, or its sync, the same number again. */
SQ_MUST_USE sq_status wal_slots_write(int fd, const char magic[8], uint64_t sequence, const void *record,
                                      size_t record_bytes, struct sq_error *err);

/* pread() and pwrite() that go on after a signal and after a part. *ret_length is less than `length` only at the file's end. */
SQ_MUST_USE sq_status wal_read_at(int fd, uint64_t offset, void *bytes, size_t length, struct sq_error *err,
                                  size_t *ret_length);
SQ_MUST_USE sq_status wal_write_at(int fd, uint64_t offset, const void *bytes, size_t length, struct sq_error *err);

#endif
