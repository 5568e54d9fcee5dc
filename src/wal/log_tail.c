/* wal/log_tail.c: where small files are until they are synced.
 *
 * A file system takes much longer to make a file, and to remove it, than to write a few kilobytes into one. New small files of
 * a log are therefore written one behind the other into a *tail*, NUMBER.tail; a sync makes one file with a name of its own
 * of them. A tail stays as long as files in it have not been synced, or are spares; then it is removed. It is
 * never synced itself: after a crash it is what the log's last files can be read from, as far as they are whole.
 *
 *     12.tail   │ LTX file │ LTX file │ LTX file │ …
 *
 * Tails belong to one life of the process: opening a log makes files of what the last one's have, and removes them. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "wal/log_internal.h"
#include "wal/slots.h"

enum {
    TAIL_BYTES_MAX = 4 * 1024 * 1024,
    TAIL_BYTES_MIN = 256 * 1024, /* one whose files are all synced is left for a new one from here on */
};

void log_tail_name(uint64_t tail, char ret_name[LOG_NAME_BYTES])
{
    (void)snprintf(ret_name, LOG_NAME_BYTES, "%" PRIu64 ".tail", tail);
}

void log_tail_end(struct wal_log *log)
{
    if (log->tail_fd >= 0)
        (void)close(log->tail_fd);
    log->tail_fd = -1;
}

static bool is_all_synced(struct wal_log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    bool is_synced = log_end(log).txid == log->synced_txid;
    (void)pthread_mutex_unlock(&log->lock);
    return is_synced;
}

static sq_status begin_tail(struct wal_log *log, struct sq_error *err)
{
    char name[LOG_NAME_BYTES];
    log_tail_name(log->tail + 1, name);
    int fd = openat(log->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot make '%s/%s'", log->path, name);
    log->tail_fd = fd;
    log->tail_end = 0;
    (void)pthread_mutex_lock(&log->lock);
    log->tail++;
    (void)pthread_mutex_unlock(&log->lock);
    return SQ_OK;
}

sq_status log_tail_append(struct wal_log *log, const void *bytes, size_t length, struct sq_error *err,
                          struct log_entry *entry)
{
    if (log->tail_end >= TAIL_BYTES_MAX || (log->tail_end >= TAIL_BYTES_MIN && is_all_synced(log)))
        log_tail_end(log);
    if (log->tail_fd < 0)
        SQ_TRY(begin_tail(log, err));
    sq_status status = wal_write_at(log->tail_fd, log->tail_end, bytes, length, err);
    if (status != SQ_OK) {
        /* What was written of it is no file, but must not be in the way of one that is: nothing is written behind it. */
        if (ftruncate(log->tail_fd, (off_t)log->tail_end) != 0)
            log_tail_end(log);
        return status;
    }
    entry->tail = log->tail;
    entry->tail_offset = log->tail_end;
    log->tail_end += length;
    return SQ_OK;
}

/* Under the lock: the oldest tail that something in the list is in. */
static uint64_t first_tail(const struct log_list *list, size_t index, uint64_t otherwise)
{
    for (; index < list->count; index++)
        if (log_list_at(list, index)->tail != 0)
            return log_list_at(list, index)->tail;
    return otherwise;
}

sq_status log_tail_remove_old(struct wal_log *log, struct sq_error *err)
{
    (void)pthread_mutex_lock(&log->lock);
    /* The newest one is perhaps about to be appended to; what is synced is in no tail. */
    uint64_t needed = first_tail(&log->files, log_list_find(&log->files, log->synced_txid + 1), log->tail);
    needed = first_tail(&log->spares, 0, needed);
    uint64_t oldest = log->oldest_tail;
    (void)pthread_mutex_unlock(&log->lock);
    for (; oldest < needed; oldest++) {
        char name[LOG_NAME_BYTES];
        log_tail_name(oldest, name);
        if (unlinkat(log->dir_fd, name, 0) != 0 && errno != ENOENT)
            return sq_fail_errno(err, errno, "cannot remove '%s/%s'", log->path, name);
        (void)pthread_mutex_lock(&log->lock);
        log->oldest_tail = oldest + 1;
        (void)pthread_mutex_unlock(&log->lock);
    }
    return SQ_OK;
}
