/* repl/logger_record.c: the file `place` of a log. */
#include "repl/logger_record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "wal/bytes.h"
#include "wal/slots.h"

enum {
    AT_KIND = 0,
    AT_PAGE_BYTES = 4,
    AT_TXID = 8,
    AT_CHECKSUM = 16,
    AT_SALT1 = 24,
    AT_SALT2 = 28,
    AT_FRAMES = 32,
    AT_DEVICE = 40,
    AT_INODE = 48,
    AT_BYTES = 56,
    AT_MODIFIED = 64,
    RECORD_BYTES = 72,
};
_Static_assert((int)RECORD_BYTES <= (int)WAL_SLOT_RECORD_BYTES_MAX, "a record fits into a slot");

static const char magic[8] = {'S', 'Q', 'L', 'D', 'P', 'L', 'C', 'E'};

static void encode(const struct logger_record *record, uint8_t bytes[RECORD_BYTES])
{
    memset(bytes, 0, RECORD_BYTES);
    wal_put_u32(bytes + AT_KIND, (uint32_t)record->kind);
    wal_put_u32(bytes + AT_PAGE_BYTES, record->page_bytes);
    wal_put_u64(bytes + AT_TXID, record->txid);
    wal_put_u64(bytes + AT_CHECKSUM, record->checksum);
    wal_put_u32(bytes + AT_SALT1, record->place.salt1);
    wal_put_u32(bytes + AT_SALT2, record->place.salt2);
    wal_put_u32(bytes + AT_FRAMES, record->place.frame_count);
    wal_put_u64(bytes + AT_DEVICE, record->mark.device);
    wal_put_u64(bytes + AT_INODE, record->mark.inode);
    wal_put_u64(bytes + AT_BYTES, (uint64_t)record->mark.bytes);
    wal_put_u64(bytes + AT_MODIFIED, (uint64_t)record->mark.modified_ns);
}

static void decode(const uint8_t bytes[RECORD_BYTES], struct logger_record *record)
{
    *record = (struct logger_record){
        .kind = wal_get_u32(bytes + AT_KIND) == LOGGER_IN_FILE ? LOGGER_IN_FILE : LOGGER_IN_WAL,
        .page_bytes = wal_get_u32(bytes + AT_PAGE_BYTES),
        .txid = wal_get_u64(bytes + AT_TXID),
        .checksum = wal_get_u64(bytes + AT_CHECKSUM),
        .place = {wal_get_u32(bytes + AT_SALT1), wal_get_u32(bytes + AT_SALT2), wal_get_u32(bytes + AT_FRAMES)},
        .mark = {wal_get_u64(bytes + AT_DEVICE), wal_get_u64(bytes + AT_INODE), (int64_t)wal_get_u64(bytes + AT_BYTES),
                 (int64_t)wal_get_u64(bytes + AT_MODIFIED)},
    };
}

static sq_status open_file(const char *dir, int flags, struct sq_error *err, int *ret_fd)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/place", dir);
    if (length < 0 || (size_t)length >= sizeof(path))
        return sq_fail(err, SQ_INVALID, "the name of '%s' is too long", dir);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT)
        return sq_fail(err, SQ_NOT_FOUND, "there is no '%s'", path);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot open '%s'", path);
    *ret_fd = fd;
    return SQ_OK;
}

static sq_status sync_directory(const char *dir, struct sq_error *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failure = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return failure == 0 ? SQ_OK : sq_fail_errno(err, failure, "cannot sync '%s'", dir);
}

sq_status logger_record_write(const char *dir, const struct logger_record *record, struct sq_error *err)
{
    uint8_t bytes[RECORD_BYTES];
    uint8_t former[RECORD_BYTES];
    uint64_t sequence = 0;
    int fd = -1;
    encode(record, bytes);
    SQ_TRY(open_file(dir, O_RDWR | O_CREAT, err, &fd));
    sq_status status = wal_slots_read(fd, magic, RECORD_BYTES, err, former, &sequence);
    bool is_new = status == SQ_NOT_FOUND;
    if (status == SQ_OK || is_new)
        status = wal_slots_write(fd, magic, is_new ? 1 : sequence + 1, bytes, RECORD_BYTES, err);
    if (status == SQ_OK && fdatasync(fd) != 0)
        status = sq_fail_errno(err, errno, "cannot sync '%s/place'", dir);
    close(fd);
    if (status == SQ_OK && is_new)
        status = sync_directory(dir, err);
    return status;
}

sq_status logger_record_read(const char *dir, struct sq_error *err, struct logger_record *ret_record)
{
    uint8_t bytes[RECORD_BYTES];
    uint64_t sequence = 0;
    int fd = -1;
    SQ_TRY(open_file(dir, O_RDONLY, err, &fd));
    sq_status status = wal_slots_read(fd, magic, RECORD_BYTES, err, bytes, &sequence);
    close(fd);
    SQ_TRY(status);
    uint32_t kind = wal_get_u32(bytes + AT_KIND);
    if (kind != LOGGER_IN_WAL && kind != LOGGER_IN_FILE)
        return sq_fail(err, SQ_NOT_FOUND, "'%s/place' has a record of another kind, %u", dir, kind);
    decode(bytes, ret_record);
    return SQ_OK;
}
