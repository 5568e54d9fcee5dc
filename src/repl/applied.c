/* repl/applied.c: the ring of a replica's positions, in memory as on disk: see applied.h for the bytes. */
#include "repl/applied.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/inject.h"
#include "wal/bytes.h"
#include "wal/checksum.h"
#include "wal/slots.h"

enum { RECORD_BYTES = 64, AT_CRC = 56, MARK_BYTES = 56, READ_RECORDS = 64 };
_Static_assert(APPLIED_RECORDS % READ_RECORDS == 0, "the ring is read in pieces");

static const char magic[8] = {'S', 'Q', 'L', 'D', 'A', 'P', 'P', 'L'};

struct record {
    uint64_t number; /* 0: none */
    struct wal_place place;
    uint64_t sum;
    struct wal_position position;
};

struct applied {
    int fd;
    uint64_t last_number;
    uint64_t mark_sequence;
    bool has_mark;
    struct engine_file_mark mark;
    struct wal_position mark_position;
    struct record records[APPLIED_RECORDS];
};

static void put_position(uint8_t *bytes, const struct wal_position *position)
{
    wal_put_u64(bytes, position->timeline);
    wal_put_u64(bytes + 8, position->txid);
    wal_put_u64(bytes + 16, position->checksum);
}

static struct wal_position get_position(const uint8_t *bytes)
{
    return (struct wal_position){wal_get_u64(bytes), wal_get_u64(bytes + 8), wal_get_u64(bytes + 16)};
}

/* --- Reading ------------------------------------------------------------------------------------------------------ */

static bool decode(const uint8_t bytes[RECORD_BYTES], struct record *record)
{
    *record = (struct record){.number = wal_get_u64(bytes),
                              .place = {wal_get_u32(bytes + 8), wal_get_u32(bytes + 12), wal_get_u32(bytes + 16)},
                              .sum = wal_get_u64(bytes + 24),
                              .position = get_position(bytes + 32)};
    return record->number > 0 && wal_get_u64(bytes + AT_CRC) == wal_crc64(0, bytes, AT_CRC);
}

static size_t slot_of(uint64_t number)
{
    return (size_t)((number - 1) % APPLIED_RECORDS);
}

static sq_status read_records(struct applied *applied, struct sq_error *err)
{
    uint8_t bytes[READ_RECORDS * RECORD_BYTES];
    for (size_t first = 0; first < APPLIED_RECORDS; first += READ_RECORDS) {
        size_t length = 0;
        SQ_TRY(wal_read_at(applied->fd, WAL_SLOTS_BYTES + first * RECORD_BYTES, bytes, sizeof(bytes), err, &length));
        for (size_t i = 0; i < length / RECORD_BYTES; i++) {
            struct record record;
            if (!decode(bytes + i * RECORD_BYTES, &record) || slot_of(record.number) != first + i)
                continue;
            applied->records[first + i] = record;
            if (record.number > applied->last_number)
                applied->last_number = record.number;
        }
    }
    return SQ_OK;
}

static sq_status read_mark(struct applied *applied, struct sq_error *err)
{
    uint8_t bytes[MARK_BYTES];
    sq_status status = wal_slots_read(applied->fd, magic, sizeof(bytes), err, bytes, &applied->mark_sequence);
    if (status == SQ_NOT_FOUND)
        return SQ_OK;
    SQ_TRY(status);
    applied->has_mark = true;
    applied->mark = (struct engine_file_mark){wal_get_u64(bytes), wal_get_u64(bytes + 8),
                                              (int64_t)wal_get_u64(bytes + 16), (int64_t)wal_get_u64(bytes + 24)};
    applied->mark_position = get_position(bytes + 32);
    return SQ_OK;
}

static sq_status sync_name(const char *dir, struct sq_error *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failure = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return failure == 0 ? SQ_OK : sq_fail_errno(err, failure, "cannot sync '%s'", dir);
}

SQ_DEFINE_FREEP(struct applied, applied_close)

sq_status applied_open(const char *dir, struct sq_error *err, struct applied **ret_applied)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/applied", dir);
    if (length < 0 || (size_t)length >= sizeof(path))
        return sq_fail(err, SQ_INVALID, "the name of '%s' is too long", dir);
    SQ_CLEANUP(applied_closep) struct applied *applied = calloc(1, sizeof(*applied));
    if (applied == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a replica");
    applied->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (applied->fd < 0)
        return sq_fail_errno(err, errno, "cannot open '%s'", path);
    SQ_TRY(sync_name(dir, err));
    SQ_TRY(read_mark(applied, err));
    SQ_TRY(read_records(applied, err));
    *ret_applied = SQ_STEAL(applied);
    return SQ_OK;
}

void applied_close(struct applied *applied)
{
    if (applied == NULL)
        return;
    if (applied->fd >= 0)
        close(applied->fd);
    free(applied);
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

sq_status applied_put(struct applied *applied, const struct wal_place *place, uint64_t sum,
                      const struct wal_position *position, struct sq_error *err)
{
    uint8_t bytes[RECORD_BYTES] = {0};
    struct record record = {applied->last_number + 1, *place, sum, *position};
    size_t slot = slot_of(record.number);
    wal_put_u64(bytes, record.number);
    wal_put_u32(bytes + 8, place->salt1);
    wal_put_u32(bytes + 12, place->salt2);
    wal_put_u32(bytes + 16, place->frame_count);
    wal_put_u64(bytes + 24, sum);
    put_position(bytes + 32, position);
    wal_put_u64(bytes + AT_CRC, wal_crc64(0, bytes, AT_CRC));
    applied->records[slot].number = 0;
    SQ_TRY(wal_write_at(applied->fd, WAL_SLOTS_BYTES + slot * RECORD_BYTES, bytes, sizeof(bytes), err));
    applied->records[slot] = record;
    applied->last_number = record.number;
    return SQ_OK;
}

sq_status applied_sync(struct applied *applied, struct sq_error *err)
{
    SQ_TRY(sq_inject_status("repl.applied.sync", err));
    return fdatasync(applied->fd) == 0 ? SQ_OK : sq_fail_errno(err, errno, "cannot sync a replica's positions");
}

sq_status applied_put_mark(struct applied *applied, const struct engine_file_mark *mark,
                           const struct wal_position *position, struct sq_error *err)
{
    uint8_t bytes[MARK_BYTES];
    wal_put_u64(bytes, mark->device);
    wal_put_u64(bytes + 8, mark->inode);
    wal_put_u64(bytes + 16, (uint64_t)mark->bytes);
    wal_put_u64(bytes + 24, (uint64_t)mark->modified_ns);
    put_position(bytes + 32, position);
    SQ_TRY(wal_slots_write(applied->fd, magic, applied->mark_sequence + 1, bytes, sizeof(bytes), err));
    SQ_TRY(applied_sync(applied, err));
    applied->mark_sequence++;
    applied->has_mark = true;
    applied->mark = *mark;
    applied->mark_position = *position;
    return SQ_OK;
}

/* --- Looking up --------------------------------------------------------------------------------------------------- */

static const struct record *newer(const struct record *one, const struct record *other)
{
    return one == NULL || other->number > one->number ? other : one;
}

bool applied_find(const struct applied *applied, const struct wal_place *place, uint64_t sum,
                  struct wal_position *ret_position)
{
    const struct record *found = NULL;
    for (size_t i = 0; i < APPLIED_RECORDS; i++) {
        const struct record *record = &applied->records[i];
        if (record->number > 0 && record->sum == sum && record->place.salt1 == place->salt1 &&
            record->place.salt2 == place->salt2 && record->place.frame_count == place->frame_count)
            found = newer(found, record);
    }
    if (found != NULL)
        *ret_position = found->position;
    return found != NULL;
}

bool applied_find_mark(const struct applied *applied, const struct engine_file_mark *mark,
                       struct wal_position *ret_position)
{
    const struct engine_file_mark *ours = &applied->mark;
    if (!applied->has_mark || ours->device != mark->device || ours->inode != mark->inode ||
        ours->bytes != mark->bytes || ours->modified_ns != mark->modified_ns)
        return false;
    *ret_position = applied->mark_position;
    return true;
}

bool applied_find_checksum(const struct applied *applied, uint64_t checksum, struct wal_position *ret_position)
{
    const struct record *found = NULL;
    for (size_t i = 0; i < APPLIED_RECORDS; i++) {
        const struct record *record = &applied->records[i];
        if (record->number > 0 && record->position.checksum == checksum)
            found = newer(found, record);
    }
    if (found != NULL)
        *ret_position = found->position;
    else if (applied->has_mark && applied->mark_position.checksum == checksum)
        *ret_position = applied->mark_position;
    return found != NULL || (applied->has_mark && applied->mark_position.checksum == checksum);
}
