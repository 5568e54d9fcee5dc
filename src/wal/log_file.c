/* wal/log_file.c: appending a file to a log.
 *
 * Bytes are gathered in memory. A small file is then one write, to the end of a tail (log_tail.c); a large one is written
 * in pieces to a file of its own, which gets its name at the end. Nothing is synced. The last bytes, as many as a trailer
 * has, always stay in the buffer, and the first ones are remembered: at the end both are compared with what the caller says
 * that the file is, since recovery believes it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "wal/log_internal.h"
#include "wal/ltx_internal.h"
#include "wal/slots.h"

struct wal_log_file {
    struct ltx_output output;
    struct wal_log *log;
    int fd; /* -1: no file is there yet */
    char name[LOG_NAME_BYTES];
    uint64_t written; /* bytes that have left the buffer */
    size_t used;
    size_t cap;
    uint8_t *buffer;
    uint8_t head[LTX_HEADER_BYTES];
};

static void wal_log_file_abortp(struct wal_log_file **file)
{
    wal_log_file_abort(*file);
}

/* One buffer of the usual size is kept for the next file. */
static void give_buffer(struct wal_log_file *file)
{
    struct wal_log *log = file->log;
    uint8_t *buffer = file->buffer;
    (void)pthread_mutex_lock(&log->lock);
    if (file->cap == LOG_BUFFER_BYTES && log->spare_buffer == NULL)
        log->spare_buffer = SQ_STEAL(buffer);
    (void)pthread_mutex_unlock(&log->lock);
    free(buffer);
}

static sq_status take_buffer(struct wal_log_file *file, struct sq_error *err)
{
    struct wal_log *log = file->log;
    (void)pthread_mutex_lock(&log->lock);
    file->buffer = SQ_STEAL(log->spare_buffer);
    (void)pthread_mutex_unlock(&log->lock);
    file->cap = LOG_BUFFER_BYTES;
    if (file->buffer == NULL)
        file->buffer = malloc(LOG_BUFFER_BYTES);
    return file->buffer != NULL ? SQ_OK : sq_fail(err, SQ_NOMEM, "file of a log");
}

void wal_log_file_abort(struct wal_log_file *file)
{
    if (file == NULL)
        return;
    if (file->fd >= 0) {
        (void)close(file->fd);
        /* One that stays is removed when the log is opened the next time. */
        (void)unlinkat(file->log->dir_fd, file->name, 0);
    }
    give_buffer(file);
    free(file);
}

static sq_status open_new(struct wal_log_file *file, struct sq_error *err)
{
    struct wal_log *log = file->log;
    (void)pthread_mutex_lock(&log->lock);
    uint64_t number = ++log->new_count;
    (void)pthread_mutex_unlock(&log->lock);
    (void)snprintf(file->name, sizeof(file->name), "%" PRIu64 ".tmp", number);
    int fd = openat(log->dir_fd, file->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot make '%s/%s'", log->path, file->name);
    file->fd = fd;
    return SQ_OK;
}

/* Writes all of the buffer but its last `kept` bytes. */
static sq_status flush(struct wal_log_file *file, size_t kept, struct sq_error *err)
{
    if (file->fd < 0)
        SQ_TRY(open_new(file, err));
    sq_assert(file->used >= kept);
    size_t length = file->used - kept;
    SQ_TRY(wal_write_at(file->fd, file->written, file->buffer, length, err));
    file->written += length;
    memmove(file->buffer, file->buffer + length, kept);
    file->used = kept;
    return SQ_OK;
}

/* The buffer is full: it grows, or what it has is written. */
static sq_status make_room(struct wal_log_file *file, struct sq_error *err)
{
    if (file->fd >= 0 || file->cap >= LOG_SMALL_BYTES_MAX)
        return flush(file, LTX_TRAILER_BYTES, err);
    uint8_t *buffer = realloc(file->buffer, 2 * file->cap);
    if (buffer == NULL)
        return sq_fail(err, SQ_NOMEM, "file of a log");
    file->buffer = buffer;
    file->cap *= 2;
    return SQ_OK;
}

static sq_status write_bytes(struct ltx_output *output, const void *bytes, size_t length, struct sq_error *err)
{
    struct wal_log_file *file = SQ_CONTAINER_OF(output, struct wal_log_file, output);
    const uint8_t *at = bytes;
    while (length > 0) {
        if (file->used == file->cap)
            SQ_TRY(make_room(file, err));
        size_t part = file->cap - file->used;
        if (part > length)
            part = length;
        memcpy(file->buffer + file->used, at, part);
        file->used += part;
        at += part;
        length -= part;
        if (file->written == 0 && file->used - part < sizeof(file->head))
            memcpy(file->head, file->buffer, file->used < sizeof(file->head) ? file->used : sizeof(file->head));
    }
    return SQ_OK;
}

sq_status wal_log_file_new(struct wal_log *log, struct sq_error *err, struct wal_log_file **ret_file)
{
    SQ_CLEANUP(wal_log_file_abortp) struct wal_log_file *file = calloc(1, sizeof(*file));
    if (file == NULL)
        return sq_fail(err, SQ_NOMEM, "file of a log");
    file->output.write_cb = write_bytes;
    file->log = log;
    file->fd = -1;
    SQ_TRY(take_buffer(file, err));
    *ret_file = SQ_STEAL(file);
    return SQ_OK;
}

struct ltx_output *wal_log_file_output(struct wal_log_file *file)
{
    return &file->output;
}

/* The bytes are those of a file with this header and this trailer. */
static sq_status check_ends(const struct wal_log_file *file, const struct ltx_header *header,
                            const struct ltx_trailer *trailer, struct sq_error *err)
{
    SQ_TRY(ltx_header_check(header, err));
    uint64_t bytes = file->written + file->used;
    if (bytes < LTX_HEADER_BYTES + LTX_TRAILER_BYTES)
        return sq_fail(err, SQ_INVALID, "a file of %" PRIu64 " bytes for a log", bytes);
    struct sq_error why;
    sq_error_clear(&why);
    struct ltx_header written;
    uint8_t again[LTX_HEADER_BYTES], expected[LTX_HEADER_BYTES], tail[LTX_TRAILER_BYTES];
    ltx_trailer_encode(trailer, tail);
    if (ltx_header_decode(file->head, &why, &written) != SQ_OK)
        return sq_fail(err, SQ_INVALID, "a file for a log: %s", why.text);
    ltx_header_encode(&written, again);
    ltx_header_encode(header, expected);
    if (memcmp(again, expected, sizeof(again)) != 0 ||
        memcmp(file->buffer + file->used - LTX_TRAILER_BYTES, tail, LTX_TRAILER_BYTES) != 0)
        return sq_fail(err, SQ_INVALID, "a file for a log has another header or trailer than it is said to have");
    return SQ_OK;
}

static struct log_entry make_entry(const struct wal_log_file *file, const struct ltx_header *header,
                                   const struct ltx_trailer *trailer)
{
    return (struct log_entry){
        .min_txid = header->min_txid,
        .max_txid = header->max_txid,
        .pre_checksum = header->pre_checksum,
        .post_checksum = trailer->post_checksum,
        .bytes = file->written + file->used,
        .timeline = header->node_id,
        .timestamp_ms = header->timestamp_ms,
        .since_us = sq_clock_now_us(),
    };
}

static sq_status give_name(struct wal_log_file *file, const struct ltx_header *header, struct sq_error *err)
{
    char name[LOG_NAME_BYTES];
    log_file_name(header->min_txid, header->max_txid, name);
    int fd = file->fd;
    file->fd = -1;
    if (close(fd) != 0 || renameat(file->log->dir_fd, file->name, file->log->dir_fd, name) != 0) {
        sq_status status = sq_fail_errno(err, errno, "cannot make '%s/%s'", file->log->path, name);
        (void)unlinkat(file->log->dir_fd, file->name, 0);
        return status;
    }
    return SQ_OK;
}

sq_status log_file_replace(struct wal_log_file *given, const struct ltx_header *header,
                           const struct ltx_trailer *trailer, struct sq_error *err, struct log_entry *ret_entry)
{
    SQ_CLEANUP(wal_log_file_abortp) struct wal_log_file *file = given;
    SQ_TRY(check_ends(file, header, trailer, err));
    SQ_TRY(flush(file, 0, err));
    if (fdatasync(file->fd) != 0)
        return sq_fail_errno(err, errno, "cannot sync '%s/%s'", file->log->path, file->name);
    SQ_TRY(give_name(file, header, err));
    *ret_entry = make_entry(file, header, trailer);
    ret_entry->is_written = true;
    return SQ_OK;
}

/* Under the lock: the file is the next one. Makes room for it in the list. */
static sq_status check_follows(struct wal_log *log, const struct ltx_header *header, struct sq_error *err)
{
    struct wal_position end = log_end(log);
    if (header->min_txid != end.txid + 1 || (header->min_txid != 1 && header->pre_checksum != end.checksum))
        return sq_fail(err, SQ_INVALID,
                       "'%s' ends at %" PRIu64 "/%016" PRIx64 ", a file for it begins at %" PRIu64 "/%016" PRIx64,
                       log->path, end.txid, end.checksum, header->min_txid - 1, header->pre_checksum);
    if (header->node_id != end.timeline)
        return sq_fail(err, SQ_INVALID, "'%s' is on timeline %" PRIu64 ", a file for it on %" PRIu64, log->path,
                       end.timeline, header->node_id);
    return log_list_reserve(&log->files, 1, err);
}

static void end_commit(struct wal_log *log, const struct log_entry *entry, const struct ltx_header *header)
{
    (void)pthread_mutex_lock(&log->lock);
    log->is_appending = false;
    if (entry != NULL) {
        log_list_push(&log->files, entry);
        log->last_header = *header;
        log->bytes += entry->bytes;
        log_wake(log);
    }
    (void)pthread_mutex_unlock(&log->lock);
}

static sq_status begin_commit(struct wal_log *log, const struct ltx_header *header, struct sq_error *err)
{
    (void)pthread_mutex_lock(&log->lock);
    sq_assert(!log->is_appending);
    sq_status status = check_follows(log, header, err);
    bool is_clearing = log->history.is_clearing;
    log->is_appending = status == SQ_OK;
    (void)pthread_mutex_unlock(&log->lock);
    if (status != SQ_OK || !is_clearing)
        return status;
    /* A restart could not remove the old files. */
    log_upkeep_begin(log);
    if (log->history.is_clearing)
        status = log_finish_clearing(log, err);
    log_upkeep_end(log);
    if (status != SQ_OK)
        end_commit(log, NULL, NULL);
    return status;
}

sq_status wal_log_file_commit(struct wal_log_file *given, const struct ltx_header *header,
                              const struct ltx_trailer *trailer, struct sq_error *err)
{
    SQ_CLEANUP(wal_log_file_abortp) struct wal_log_file *file = given;
    struct wal_log *log = file->log;
    SQ_TRY(check_ends(file, header, trailer, err));
    bool is_small = file->fd < 0;
    if (!is_small)
        SQ_TRY(flush(file, 0, err));
    SQ_TRY(begin_commit(log, header, err));
    struct log_entry entry = make_entry(file, header, trailer);
    sq_status status =
        is_small ? log_tail_append(log, file->buffer, file->used, err, &entry) : give_name(file, header, err);
    end_commit(log, status == SQ_OK ? &entry : NULL, header);
    return status;
}
