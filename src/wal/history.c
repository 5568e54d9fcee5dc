/* wal/history.c: the file `history`.
 *
 *      0   8   "SQLDHIST"
 *      8   4   version: 1
 *     12   4   how many timelines: n
 *     16   8   generation
 *     24   8   base: transaction
 *     32   8   base: checksum of the database
 *     40   4   1: files that are there are older than the base, and are to be removed; else 0
 *     44   4   0
 *     48  16n  timeline (8), the transaction after which it began (8)
 *          8   CRC-64 of all before it
 *
 * Numbers are big-endian. */
#include "wal/history.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "wal/bytes.h"
#include "wal/checksum.h"
#include "wal/slots.h"

static const char history_name[] = "history";
static const char history_new_name[] = "history.tmp";
static const char history_magic[8] = {'S', 'Q', 'L', 'D', 'H', 'I', 'S', 'T'};

enum {
    HISTORY_VERSION = 1,
    AT_VERSION = 8,
    AT_COUNT = 12,
    AT_GENERATION = 16,
    AT_BASE_TXID = 24,
    AT_BASE_CHECKSUM = 32,
    AT_CLEARING = 40,
    AT_RESERVED = 44,
    AT_TIMELINES = 48,
    TIMELINE_BYTES = 16,
    CRC_BYTES = 8,
    HISTORY_BYTES_MAX = AT_TIMELINES + WAL_HISTORY_TIMELINES_MAX * TIMELINE_BYTES + CRC_BYTES,
};

static void free_bytes(uint8_t **bytes)
{
    free(*bytes);
}

void wal_history_done(struct wal_history *history)
{
    free(history->timelines);
    *history = (struct wal_history){0};
}

sq_status wal_history_copy(const struct wal_history *history, struct sq_error *err, struct wal_history *ret_copy)
{
    struct wal_history copy = *history;
    copy.timelines = calloc(history->count + 1, sizeof(*copy.timelines));
    if (copy.timelines == NULL)
        return sq_fail(err, SQ_NOMEM, "history of a log");
    if (history->count > 0)
        memcpy(copy.timelines, history->timelines, history->count * sizeof(*copy.timelines));
    *ret_copy = copy;
    return SQ_OK;
}

/* All but the timelines' order. */
static bool is_whole(const uint8_t *bytes, size_t length)
{
    if (length < AT_TIMELINES + CRC_BYTES || memcmp(bytes, history_magic, sizeof(history_magic)) != 0)
        return false;
    size_t count = wal_get_u32(bytes + AT_COUNT);
    return wal_get_u32(bytes + AT_VERSION) == HISTORY_VERSION && count <= WAL_HISTORY_TIMELINES_MAX &&
           length == AT_TIMELINES + count * TIMELINE_BYTES + CRC_BYTES && wal_get_u32(bytes + AT_CLEARING) <= 1 &&
           wal_get_u64(bytes + length - CRC_BYTES) == wal_crc64(0, bytes, length - CRC_BYTES);
}

static sq_status decode(const uint8_t *bytes, size_t length, struct sq_error *err, struct wal_history *ret_history)
{
    if (!is_whole(bytes, length))
        return sq_fail(err, SQ_CORRUPT, "the history of a log is damaged");
    struct wal_history history = {
        .generation = wal_get_u64(bytes + AT_GENERATION),
        .base_txid = wal_get_u64(bytes + AT_BASE_TXID),
        .base_checksum = wal_get_u64(bytes + AT_BASE_CHECKSUM),
        .is_clearing = wal_get_u32(bytes + AT_CLEARING) == 1,
    };
    size_t count = wal_get_u32(bytes + AT_COUNT);
    history.timelines = calloc(count + 1, sizeof(*history.timelines));
    if (history.timelines == NULL)
        return sq_fail(err, SQ_NOMEM, "history of a log");
    sq_status status = SQ_OK;
    for (size_t i = 0; i < count && status == SQ_OK; i++) {
        const uint8_t *at = bytes + AT_TIMELINES + i * TIMELINE_BYTES;
        status = wal_history_add(&history, wal_get_u64(at), wal_get_u64(at + 8), err);
    }
    if (status == SQ_OK &&
        (history.base_txid > LTX_TXID_MAX || (count > 0 && history.timelines[0].after_txid > history.base_txid)))
        status = sq_fail(err, SQ_CORRUPT, "the history of a log contradicts itself");
    if (status != SQ_OK) {
        wal_history_done(&history);
        return status == SQ_INVALID ? sq_fail(err, SQ_CORRUPT, "the history of a log contradicts itself") : status;
    }
    *ret_history = history;
    return SQ_OK;
}

sq_status wal_history_load(int dir_fd, struct sq_error *err, struct wal_history *ret_history)
{
    SQ_CLEANUP(free_bytes) uint8_t *bytes = malloc(HISTORY_BYTES_MAX + 1);
    if (bytes == NULL)
        return sq_fail(err, SQ_NOMEM, "history of a log");
    int fd = openat(dir_fd, history_name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return sq_fail(err, SQ_NOT_FOUND, "a log has no history");
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot open the history of a log");
    size_t length = 0;
    sq_status status = wal_read_at(fd, 0, bytes, HISTORY_BYTES_MAX + 1, err, &length);
    (void)close(fd);
    SQ_TRY(status);
    return decode(bytes, length, err, ret_history);
}

static size_t encode(const struct wal_history *history, uint8_t *bytes)
{
    memcpy(bytes, history_magic, sizeof(history_magic));
    wal_put_u32(bytes + AT_VERSION, HISTORY_VERSION);
    wal_put_u32(bytes + AT_COUNT, (uint32_t)history->count);
    wal_put_u64(bytes + AT_GENERATION, history->generation);
    wal_put_u64(bytes + AT_BASE_TXID, history->base_txid);
    wal_put_u64(bytes + AT_BASE_CHECKSUM, history->base_checksum);
    wal_put_u32(bytes + AT_CLEARING, history->is_clearing ? 1 : 0);
    wal_put_u32(bytes + AT_RESERVED, 0);
    size_t length = AT_TIMELINES;
    for (size_t i = 0; i < history->count; i++, length += TIMELINE_BYTES) {
        wal_put_u64(bytes + length, history->timelines[i].timeline);
        wal_put_u64(bytes + length + 8, history->timelines[i].after_txid);
    }
    wal_put_u64(bytes + length, wal_crc64(0, bytes, length));
    return length + CRC_BYTES;
}

static sq_status write_new(int dir_fd, const uint8_t *bytes, size_t length, struct sq_error *err)
{
    int fd = openat(dir_fd, history_new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot write the history of a log");
    sq_status status = wal_write_at(fd, 0, bytes, length, err);
    if (status == SQ_OK && fdatasync(fd) != 0)
        status = sq_fail_errno(err, errno, "cannot sync the history of a log");
    (void)close(fd);
    return status;
}

sq_status wal_history_save(int dir_fd, const struct wal_history *history, struct sq_error *err)
{
    sq_assert(history->count <= WAL_HISTORY_TIMELINES_MAX);
    SQ_CLEANUP(free_bytes) uint8_t *bytes = malloc(HISTORY_BYTES_MAX);
    if (bytes == NULL)
        return sq_fail(err, SQ_NOMEM, "history of a log");
    SQ_TRY(write_new(dir_fd, bytes, encode(history, bytes), err));
    if (renameat(dir_fd, history_new_name, dir_fd, history_name) != 0)
        return sq_fail_errno(err, errno, "cannot replace the history of a log");
    if (fsync(dir_fd) != 0)
        return sq_fail_errno(err, errno, "cannot sync the directory of a log");
    return SQ_OK;
}

sq_status wal_history_add(struct wal_history *history, uint64_t timeline, ltx_txid txid, struct sq_error *err)
{
    if (history->count == WAL_HISTORY_TIMELINES_MAX)
        return sq_fail(err, SQ_LIMIT, "a log has more than %d timelines", WAL_HISTORY_TIMELINES_MAX);
    const struct wal_history_timeline *last = history->count > 0 ? &history->timelines[history->count - 1] : NULL;
    if (timeline == 0 || txid > LTX_TXID_MAX ||
        (last != NULL && (timeline <= last->timeline || txid < last->after_txid)))
        return sq_fail(err, SQ_INVALID, "timeline %" PRIu64 " after transaction %" PRIu64 " of timeline %" PRIu64,
                       timeline, txid, last != NULL ? last->timeline : 0);
    struct wal_history_timeline *timelines =
        realloc(history->timelines, (history->count + 1) * sizeof(*history->timelines));
    if (timelines == NULL)
        return sq_fail(err, SQ_NOMEM, "history of a log");
    timelines[history->count++] = (struct wal_history_timeline){.timeline = timeline, .after_txid = txid};
    history->timelines = timelines;
    return SQ_OK;
}

bool wal_history_cut(struct wal_history *history, ltx_txid txid)
{
    size_t count = history->count;
    while (history->count > 0 && history->timelines[history->count - 1].after_txid > txid)
        history->count--;
    return history->count < count;
}

uint64_t wal_history_timeline(const struct wal_history *history, ltx_txid txid)
{
    for (size_t i = history->count; i-- > 0;)
        if (history->timelines[i].after_txid < txid)
            return history->timelines[i].timeline;
    return history->count > 0 ? history->timelines[0].timeline : 0;
}

bool wal_history_end(const struct wal_history *history, uint64_t timeline, ltx_txid *ret_txid)
{
    for (size_t i = 0; i < history->count; i++) {
        if (history->timelines[i].timeline != timeline)
            continue;
        *ret_txid = i + 1 < history->count ? history->timelines[i + 1].after_txid : UINT64_MAX;
        return true;
    }
    return false;
}
