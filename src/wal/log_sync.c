/* wal/log_sync.c: the newest files get onto the disk, out of the tails into files of their own.
 *
 * A sync of each of hundreds of small files would take hundreds of turns of the disk. They are compacted, which reads what the
 * page cache still has, into files that are synced instead. A file for which a sync has failed is written again: what the
 * kernel held may be lost, and no later sync would say so. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "wal/log_internal.h"
#include "wal/slots.h"

enum {
    GROUP_FILES_MAX = 256,
    GROUP_BYTES_MAX = 8 * 1024 * 1024,
    FILE_BYTES_MAX = 1024 * 1024, /* a larger file is synced as it is */
    SPARES_MAX = 16 * 1024,
    SPARE_US = 10 * SQ_US_PER_S,
};

/* --- compacting ----------------------------------------------------------------------------------------------------- */

struct log_input {
    struct ltx_input input;
    int fd;
    bool is_shared; /* the input before this one has the descriptor */
    uint64_t offset;
    uint64_t end;
};

struct log_inputs {
    size_t count;
    struct log_input *items;
    struct ltx_input **pointers;
};

static void log_inputs_done(struct log_inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++)
        if (!inputs->items[i].is_shared)
            (void)close(inputs->items[i].fd);
    free(inputs->items);
    free(inputs->pointers);
}

static sq_status read_input(struct ltx_input *input, void *bytes, size_t length, struct sq_error *err,
                            size_t *ret_length)
{
    struct log_input *self = SQ_CONTAINER_OF(input, struct log_input, input);
    if (length > self->end - self->offset)
        length = (size_t)(self->end - self->offset);
    SQ_TRY(wal_read_at(self->fd, self->offset, bytes, length, err, ret_length));
    self->offset += *ret_length;
    return SQ_OK;
}

static sq_status open_inputs(const struct wal_log *log, const struct log_entry *entries, size_t count,
                             struct log_inputs *inputs, struct sq_error *err)
{
    inputs->items = calloc(count, sizeof(*inputs->items));
    inputs->pointers = calloc(count, sizeof(struct ltx_input *));
    if (inputs->items == NULL || inputs->pointers == NULL)
        return sq_fail(err, SQ_NOMEM, "compaction of '%s'", log->path);
    for (size_t i = 0; i < count; i++) {
        char name[LOG_NAME_BYTES];
        log_entry_name(&entries[i], name);
        bool is_shared = i > 0 && entries[i].tail != 0 && entries[i].tail == entries[i - 1].tail;
        int fd = is_shared ? inputs->items[i - 1].fd : openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return sq_fail_errno(err, errno, "cannot open '%s/%s'", log->path, name);
        uint64_t begin = entries[i].tail_offset;
        inputs->items[i] = (struct log_input){.input.read_cb = read_input,
                                              .fd = fd,
                                              .is_shared = is_shared,
                                              .offset = begin,
                                              .end = begin + entries[i].bytes};
        inputs->pointers[i] = &inputs->items[i].input;
        inputs->count = i + 1;
    }
    return SQ_OK;
}

sq_status log_compact(struct wal_log *log, const struct log_entry *entries, size_t count, struct sq_error *err,
                      struct log_entry *ret_entry, struct ltx_header *ret_header)
{
    SQ_CLEANUP(log_inputs_done) struct log_inputs inputs = {0};
    SQ_TRY(open_inputs(log, entries, count, &inputs, err));
    struct wal_log_file *file;
    SQ_TRY(wal_log_file_new(log, err, &file));
    struct ltx_trailer trailer;
    sq_status status = ltx_compact(inputs.pointers, count, wal_log_file_output(file), err, ret_header, &trailer);
    if (status != SQ_OK) {
        wal_log_file_abort(file);
        return status;
    }
    return log_file_replace(file, ret_header, &trailer, err, ret_entry);
}

/* --- syncing -------------------------------------------------------------------------------------------------------- */

static bool belongs(const struct log_entry *group, size_t count, uint64_t bytes, const struct log_entry *next)
{
    return count < GROUP_FILES_MAX && !next->is_written && group[0].bytes <= FILE_BYTES_MAX &&
           next->bytes <= FILE_BYTES_MAX && bytes + next->bytes <= GROUP_BYTES_MAX &&
           next->timeline == group[0].timeline;
}

/* The next files up to `txid` whose content is not on disk, as many as are made one. Returns how many. */
static size_t next_group(struct wal_log *log, ltx_txid txid, struct log_entry group[GROUP_FILES_MAX])
{
    (void)pthread_mutex_lock(&log->lock);
    size_t index = log_list_find(&log->files, log->synced_txid + 1), count = 0;
    while (index < log->files.count && log_list_at(&log->files, index)->is_written)
        index++;
    uint64_t bytes = 0;
    for (; index < log->files.count; index++) {
        const struct log_entry *entry = log_list_at(&log->files, index);
        if (entry->max_txid > txid || (count > 0 && !belongs(group, count, bytes, entry)))
            break;
        bytes += entry->bytes;
        group[count++] = *entry;
    }
    (void)pthread_mutex_unlock(&log->lock);
    return count;
}

static void mark_file(struct wal_log *log, const struct log_entry *which, bool is_written)
{
    (void)pthread_mutex_lock(&log->lock);
    struct log_entry *entry = log_list_at(&log->files, log_list_find(&log->files, which->max_txid));
    sq_assert(entry->min_txid == which->min_txid);
    entry->is_written = is_written;
    entry->is_in_doubt = !is_written;
    (void)pthread_mutex_unlock(&log->lock);
}

static sq_status sync_file(struct wal_log *log, const struct log_entry *entry, struct sq_error *err)
{
    char name[LOG_NAME_BYTES];
    log_file_name(entry->min_txid, entry->max_txid, name);
    int fd = openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot open '%s/%s'", log->path, name);
    int failure = fdatasync(fd) != 0 ? errno : 0;
    (void)close(fd);
    mark_file(log, entry, failure == 0);
    return failure == 0 ? SQ_OK : sq_fail_errno(err, failure, "cannot sync '%s/%s'", log->path, name);
}

static sq_status reserve_spares(struct wal_log *log, size_t count, struct sq_error *err)
{
    (void)pthread_mutex_lock(&log->lock);
    sq_status status = log_list_reserve(&log->spares, count, err);
    (void)pthread_mutex_unlock(&log->lock);
    return status;
}

void log_replace(struct wal_log *log, const struct log_entry *group, size_t count, struct log_entry *entry,
                 const struct ltx_header *header, bool is_spared)
{
    entry->since_us = group[count - 1].since_us;
    int64_t now_us = sq_clock_now_us();
    (void)pthread_mutex_lock(&log->lock);
    size_t index = log_list_find(&log->files, group[0].max_txid);
    sq_assert(log_list_at(&log->files, index)->min_txid == entry->min_txid);
    log_list_replace(&log->files, index, count, entry);
    if (index == log->files.count - 1)
        log->last_header = *header;
    log->bytes += entry->bytes;
    for (size_t i = 0; i < count; i++) {
        struct log_entry spare = group[i];
        log->bytes -= spare.bytes;
        spare.since_us = now_us;
        if (is_spared)
            log_list_push(&log->spares, &spare);
    }
    (void)pthread_mutex_unlock(&log->lock);
}

static sq_status compact_group(struct wal_log *log, const struct log_entry *group, size_t count, struct sq_error *err)
{
    struct log_entry entry;
    struct ltx_header header;
    SQ_TRY(reserve_spares(log, count, err));
    SQ_TRY(log_compact(log, group, count, err, &entry, &header));
    log_replace(log, group, count, &entry, &header, count > 1);
    return SQ_OK;
}

/* The oldest spare that has had its time; false: there is none. */
static bool take_old_spare(struct wal_log *log, int64_t before_us, struct log_entry *ret_spare)
{
    bool is_found = false;
    (void)pthread_mutex_lock(&log->lock);
    if (log->spares.count > 0) {
        *ret_spare = *log_list_at(&log->spares, 0);
        is_found = ret_spare->max_txid <= log->synced_txid &&
                   (ret_spare->since_us < before_us || log->spares.count > SPARES_MAX);
        if (is_found)
            log_list_drop_front(&log->spares, 1);
    }
    (void)pthread_mutex_unlock(&log->lock);
    return is_found;
}

sq_status log_drop_spares(struct wal_log *log, struct sq_error *err)
{
    int64_t before_us = sq_clock_now_us() - SPARE_US;
    struct log_entry spare;
    while (take_old_spare(log, before_us, &spare)) {
        if (spare.tail != 0)
            continue;
        char name[LOG_NAME_BYTES];
        log_file_name(spare.min_txid, spare.max_txid, name);
        if (unlinkat(log->dir_fd, name, 0) != 0 && errno != ENOENT)
            return sq_fail_errno(err, errno, "cannot remove '%s/%s'", log->path, name);
    }
    return log_tail_remove_old(log, err);
}

/* `txid` and everything before it is on disk now, names and all. */
static sq_status set_synced(struct wal_log *log, ltx_txid txid, struct sq_error *err)
{
    (void)pthread_mutex_lock(&log->lock);
    log->synced_txid = txid;
    ltx_txid begin = log->begin_txid;
    (void)pthread_mutex_unlock(&log->lock);
    return log_write_marks(log, begin, txid, err);
}

sq_status log_sync(struct wal_log *log, struct sq_error *err)
{
    if (log->history.is_clearing)
        SQ_TRY(log_finish_clearing(log, err));
    if (log->is_history_unsure) {
        SQ_TRY(wal_history_save(log->dir_fd, &log->history, err));
        log->is_history_unsure = false;
    }
    ltx_txid end = wal_log_end(log).txid;
    if (end == wal_log_synced(log))
        return SQ_OK;
    struct log_entry *group = calloc(GROUP_FILES_MAX, sizeof(*group));
    if (group == NULL)
        return sq_fail(err, SQ_NOMEM, "sync of '%s'", log->path);
    sq_status status = SQ_OK;
    size_t count;
    while (status == SQ_OK && (count = next_group(log, end, group)) > 0)
        status = count == 1 && group[0].tail == 0 && !group[0].is_in_doubt ? sync_file(log, &group[0], err)
                                                                           : compact_group(log, group, count, err);
    free(group);
    SQ_TRY(status);
    SQ_TRY(log_sync_directory(log, err));
    SQ_TRY(set_synced(log, end, err));
    return log_drop_spares(log, err);
}

sq_status wal_log_sync(struct wal_log *log, struct sq_error *err)
{
    log_upkeep_begin(log);
    sq_status status = log_sync(log, err);
    log_upkeep_end(log);
    return status;
}
