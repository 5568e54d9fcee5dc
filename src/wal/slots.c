/* wal/slots.c: two copies of a record, one of which is always whole. */
#include "wal/slots.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "wal/bytes.h"
#include "wal/checksum.h"

enum {
    SLOT_STRIDE_BYTES = WAL_SLOTS_BYTES / 2,
    AT_SEQUENCE = 8,
    AT_RECORD = 16,
    CRC_BYTES = 8,
    SLOT_BYTES_MAX = AT_RECORD + WAL_SLOT_RECORD_BYTES_MAX + CRC_BYTES,
};
_Static_assert(SLOT_BYTES_MAX <= 512, "a slot lies in one sector");

sq_status wal_read_at(int fd, uint64_t offset, void *bytes, size_t length, struct sq_error *err, size_t *ret_length)
{
    uint8_t *at = bytes;
    size_t used = 0;
    while (used < length) {
        ssize_t part = pread(fd, at + used, length - used, (off_t)(offset + used));
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0)
            return sq_fail_errno(err, errno, "cannot read a file of the log");
        if (part == 0)
            break;
        used += (size_t)part;
    }
    *ret_length = used;
    return SQ_OK;
}

sq_status wal_write_at(int fd, uint64_t offset, const void *bytes, size_t length, struct sq_error *err)
{
    const uint8_t *at = bytes;
    while (length > 0) {
        ssize_t part = pwrite(fd, at, length, (off_t)offset);
        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0)
            return sq_fail_errno(err, errno, "cannot write a file of the log");
        at += part;
        offset += (uint64_t)part;
        length -= (size_t)part;
    }
    return SQ_OK;
}

sq_status wal_slots_read(int fd, const char magic[8], size_t record_bytes, struct sq_error *err, void *ret_record,
                         uint64_t *ret_sequence)
{
    sq_assert(record_bytes <= WAL_SLOT_RECORD_BYTES_MAX);
    uint64_t newest = 0;
    size_t crc_at = AT_RECORD + record_bytes;
    for (uint64_t slot = 0; slot < 2; slot++) {
        uint8_t bytes[SLOT_BYTES_MAX];
        size_t length = 0;
        SQ_TRY(wal_read_at(fd, slot * SLOT_STRIDE_BYTES, bytes, crc_at + CRC_BYTES, err, &length));
        if (length < crc_at + CRC_BYTES || memcmp(bytes, magic, AT_SEQUENCE) != 0 ||
            wal_get_u64(bytes + crc_at) != wal_crc64(0, bytes, crc_at))
            continue;
        uint64_t sequence = wal_get_u64(bytes + AT_SEQUENCE);
        if (sequence % 2 != slot || sequence <= newest)
            continue;
        newest = sequence;
        memcpy(ret_record, bytes + AT_RECORD, record_bytes);
    }
    if (newest == 0)
        return sq_fail(err, SQ_NOT_FOUND, "no whole record in a file of the log");
    *ret_sequence = newest;
    return SQ_OK;
}

sq_status wal_slots_write(int fd, const char magic[8], uint64_t sequence, const void *record, size_t record_bytes,
                          struct sq_error *err)
{
    sq_assert(record_bytes <= WAL_SLOT_RECORD_BYTES_MAX && sequence > 0);
    uint8_t bytes[SLOT_BYTES_MAX];
    size_t crc_at = AT_RECORD + record_bytes;
    memcpy(bytes, magic, AT_SEQUENCE);
    wal_put_u64(bytes + AT_SEQUENCE, sequence);
    memcpy(bytes + AT_RECORD, record, record_bytes);
    wal_put_u64(bytes + crc_at, wal_crc64(0, bytes, crc_at));
    return wal_write_at(fd, sequence % 2 * SLOT_STRIDE_BYTES, bytes, crc_at + CRC_BYTES, err);
}
