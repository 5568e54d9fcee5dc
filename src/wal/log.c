/* wal/log.c: the list of files of one log, its positions, its timelines, and who watches it. */
#include "wal/log_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wal/bytes.h"
#include "wal/checksum.h"
#include "wal/slots.h"

static const char marks_magic[8] = {'S', 'Q', 'L', 'D', 'M', 'A', 'R', 'K'};
enum { MARKS_BYTES = 24 }; /* generation, begin, synced */

/* --- lists -------------------------------------------------------------------------------------------------------- */

sq_status log_list_reserve(struct log_list *list, size_t count, struct sq_error *err)
{
    if (list->first + list->count + count <= list->cap)
        return SQ_OK;
    /* What has gone at the front is used again when it is at least half of the room: then the move costs nothing over time. */
    if (list->first >= list->cap / 2 && list->count + count <= list->cap) {
        memmove(list->entries, list->entries + list->first, list->count * sizeof(*list->entries));
        list->first = 0;
        return SQ_OK;
    }
    size_t cap = 2 * (list->count + count) + 16;
    struct log_entry *entries = calloc(cap, sizeof(*entries));
    if (entries == NULL)
        return sq_fail(err, SQ_NOMEM, "list of a log's files");
    if (list->count > 0)
        memcpy(entries, list->entries + list->first, list->count * sizeof(*entries));
    free(list->entries);
    *list = (struct log_list){.entries = entries, .count = list->count, .cap = cap};
    return SQ_OK;
}

void log_list_push(struct log_list *list, const struct log_entry *entry)
{
    sq_assert(list->first + list->count < list->cap);
    list->entries[list->first + list->count++] = *entry;
}

void log_list_drop_front(struct log_list *list, size_t count)
{
    sq_assert(count <= list->count);
    list->first += count;
    list->count -= count;
}

void log_list_replace(struct log_list *list, size_t index, size_t count, const struct log_entry *entry)
{
    sq_assert(count > 0 && index + count <= list->count);
    struct log_entry *at = log_list_at(list, index);
    *at = *entry;
    memmove(at + 1, at + count, (list->count - index - count) * sizeof(*at));
    list->count -= count - 1;
}

size_t log_list_find(const struct log_list *list, ltx_txid txid)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (log_list_at(list, middle)->max_txid < txid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* --- files of the directory ----------------------------------------------------------------------------------------- */

void log_file_name(ltx_txid min_txid, ltx_txid max_txid, char ret_name[LOG_NAME_BYTES])
{
    (void)snprintf(ret_name, LOG_NAME_BYTES, "%016" PRIx64 "-%016" PRIx64 ".ltx", min_txid, max_txid);
}

void log_entry_name(const struct log_entry *entry, char ret_name[LOG_NAME_BYTES])
{
    if (entry->tail != 0)
        log_tail_name(entry->tail, ret_name);
    else
        log_file_name(entry->min_txid, entry->max_txid, ret_name);
}

sq_status log_sync_directory(struct wal_log *log, struct sq_error *err)
{
    if (fsync(log->dir_fd) != 0)
        return sq_fail_errno(err, errno, "cannot sync the directory '%s'", log->path);
    return SQ_OK;
}

sq_status log_write_marks(struct wal_log *log, ltx_txid begin_txid, ltx_txid synced_txid, struct sq_error *err)
{
    uint8_t record[MARKS_BYTES];
    wal_put_u64(record, log->history.generation);
    wal_put_u64(record + 8, begin_txid);
    wal_put_u64(record + 16, synced_txid);
    SQ_TRY(wal_slots_write(log->marks_fd, marks_magic, log->marks_sequence + 1, record, sizeof(record), err));
    log->marks_sequence++;
    return SQ_OK;
}

/* Marks of another generation say nothing: the log then begins at its base, and nothing is known to be synced. */
static sq_status read_marks(struct wal_log *log, struct sq_error *err)
{
    uint8_t record[MARKS_BYTES];
    log->begin_txid = log->history.base_txid;
    sq_status status = wal_slots_read(log->marks_fd, marks_magic, sizeof(record), err, record, &log->marks_sequence);
    if (status == SQ_NOT_FOUND)
        return SQ_OK;
    SQ_TRY(status);
    if (wal_get_u64(record) != log->history.generation || wal_get_u64(record + 8) < log->history.base_txid)
        return SQ_OK;
    log->begin_txid = wal_get_u64(record + 8);
    log->synced_txid = wal_get_u64(record + 16);
    return SQ_OK;
}

bool log_name_has_ending(const char *name, const char *ending)
{
    size_t length = strlen(name), ending_length = strlen(ending);
    return length > ending_length && strcmp(name + length - ending_length, ending) == 0;
}

sq_status log_remove_all(int dir_fd, struct sq_error *err)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int failure = errno;
        if (fd >= 0)
            (void)close(fd);
        return sq_fail_errno(err, failure, "cannot list the directory of a log");
    }
    sq_status status = SQ_OK;
    const struct dirent *entry;
    while ((errno = 0, entry = readdir(dir)) != NULL)
        if ((log_name_has_ending(entry->d_name, ".ltx") || log_name_has_ending(entry->d_name, ".tail")) &&
            unlinkat(dir_fd, entry->d_name, 0) != 0)
            status = sq_fail_errno(err, errno, "cannot remove '%s' of a log", entry->d_name);
    if (status == SQ_OK && errno != 0)
        status = sq_fail_errno(err, errno, "cannot list the directory of a log");
    (void)closedir(dir);
    return status;
}

/* --- opening and closing -------------------------------------------------------------------------------------------- */

static void wal_log_closep(struct wal_log **log)
{
    wal_log_close(*log);
}

void wal_log_close(struct wal_log *log)
{
    if (log == NULL)
        return;
    sq_assert(sq_list_is_empty(&log->watches) && !log->is_kept && !log->is_appending);
    log_tail_end(log);
    if (log->marks_fd >= 0)
        (void)close(log->marks_fd);
    if (log->dir_fd >= 0)
        (void)close(log->dir_fd);
    (void)pthread_cond_destroy(&log->is_kept_cond);
    (void)pthread_mutex_destroy(&log->lock);
    wal_history_done(&log->history);
    free(log->files.entries);
    free(log->spares.entries);
    free(log->spare_buffer);
    free(log->path);
    free(log);
}

/* A new directory is there for certain after a sync of the one that it is in. */
static sq_status make_directory(const char *path, struct sq_error *err)
{
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? SQ_OK : sq_fail_errno(err, errno, "cannot make the directory '%s'", path);
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *parent = length == 0 ? strdup(".") : strndup(path, length);
    if (parent == NULL)
        return sq_fail(err, SQ_NOMEM, "path of a log");
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sq_status status = SQ_OK;
    if (fd < 0 || fsync(fd) != 0)
        status = sq_fail_errno(err, errno, "cannot sync the directory '%s'", parent);
    if (fd >= 0)
        (void)close(fd);
    free(parent);
    return status;
}

static sq_status open_files(struct wal_log *log, struct sq_error *err)
{
    SQ_TRY(make_directory(log->path, err));
    log->dir_fd = open(log->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->dir_fd < 0)
        return sq_fail_errno(err, errno, "cannot open the directory '%s'", log->path);
    log->marks_fd = openat(log->dir_fd, "marks", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (log->marks_fd < 0)
        return sq_fail_errno(err, errno, "cannot open '%s/marks'", log->path);
    return SQ_OK;
}

sq_status wal_log_open(const char *path, struct sq_error *err, struct wal_log **ret_log)
{
    struct wal_log *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return sq_fail(err, SQ_NOMEM, "log '%s'", path);
    made->dir_fd = -1;
    made->marks_fd = -1;
    made->tail_fd = -1;
    made->oldest_tail = 1;
    sq_list_init(&made->watches);
    sq_assert(pthread_mutex_init(&made->lock, NULL) == 0);
    sq_assert(pthread_cond_init(&made->is_kept_cond, NULL) == 0);
    SQ_CLEANUP(wal_log_closep) struct wal_log *log = made;
    log->path = strdup(path);
    if (log->path == NULL)
        return sq_fail(err, SQ_NOMEM, "log '%s'", path);
    SQ_TRY(open_files(log, err));
    SQ_TRY(log_load_history(log, err));
    SQ_TRY(read_marks(log, err));
    /* What has been read shall not be another thing after a crash: who wrote it may not have come so far. */
    SQ_TRY(log_sync_directory(log, err));
    if (log->history.is_clearing)
        SQ_TRY(log_finish_clearing(log, err));
    SQ_TRY(log_recover(log, err));
    *ret_log = SQ_STEAL(log);
    return SQ_OK;
}

const char *wal_log_path(const struct wal_log *log)
{
    return log->path;
}

/* --- positions ------------------------------------------------------------------------------------------------------ */

struct wal_position log_end(const struct wal_log *log)
{
    struct wal_position end = {.txid = log->history.base_txid, .checksum = log->history.base_checksum};
    if (log->files.count > 0) {
        const struct log_entry *last = log_list_at(&log->files, log->files.count - 1);
        end.txid = last->max_txid;
        end.checksum = last->post_checksum;
    }
    end.timeline = wal_history_timeline_after(&log->history, end.txid);
    return end;
}

struct wal_position wal_log_end(struct wal_log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    struct wal_position end = log_end(log);
    (void)pthread_mutex_unlock(&log->lock);
    return end;
}

struct wal_position wal_log_begin(struct wal_log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    struct wal_position begin = log_end(log);
    if (log->files.count > 0) {
        const struct log_entry *first = log_list_at(&log->files, 0);
        begin.txid = first->min_txid - 1;
        begin.checksum = first->pre_checksum;
        begin.timeline = wal_history_timeline(&log->history, begin.txid);
    }
    (void)pthread_mutex_unlock(&log->lock);
    return begin;
}

bool wal_log_last_header(struct wal_log *log, struct ltx_header *ret_header)
{
    (void)pthread_mutex_lock(&log->lock);
    bool has_files = log->files.count > 0;
    if (has_files)
        *ret_header = log->last_header;
    (void)pthread_mutex_unlock(&log->lock);
    return has_files;
}

ltx_txid wal_log_synced(struct wal_log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    ltx_txid synced = log->synced_txid;
    (void)pthread_mutex_unlock(&log->lock);
    return synced;
}

bool wal_log_timeline_end(struct wal_log *log, uint64_t timeline, ltx_txid *ret_txid)
{
    (void)pthread_mutex_lock(&log->lock);
    bool is_known = wal_history_end(&log->history, timeline, ret_txid);
    (void)pthread_mutex_unlock(&log->lock);
    return is_known;
}

struct wal_log_facts wal_log_facts(struct wal_log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    struct wal_log_facts facts = {.file_count = log->files.count, .bytes = log->bytes};
    if (log->files.count > 0)
        facts.oldest_ms = log_list_at(&log->files, 0)->timestamp_ms;
    (void)pthread_mutex_unlock(&log->lock);
    return facts;
}

uint64_t wal_log_bytes_after(struct wal_log *log, ltx_txid txid)
{
    uint64_t bytes = 0;
    (void)pthread_mutex_lock(&log->lock);
    size_t index = txid == UINT64_MAX ? log->files.count : log_list_find(&log->files, txid + 1);
    for (; index < log->files.count; index++)
        bytes += log_list_at(&log->files, index)->bytes;
    (void)pthread_mutex_unlock(&log->lock);
    return bytes;
}

/* --- upkeep --------------------------------------------------------------------------------------------------------- */

void log_upkeep_begin(struct wal_log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    while (log->is_kept)
        (void)pthread_cond_wait(&log->is_kept_cond, &log->lock);
    log->is_kept = true;
    (void)pthread_mutex_unlock(&log->lock);
}

void log_upkeep_end(struct wal_log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    sq_assert(log->is_kept);
    log->is_kept = false;
    (void)pthread_cond_signal(&log->is_kept_cond);
    (void)pthread_mutex_unlock(&log->lock);
}

/* --- watches -------------------------------------------------------------------------------------------------------- */

void wal_log_watch_add(struct wal_log *log, struct wal_log_watch *watch, struct sq_waker *waker)
{
    sq_list_init(&watch->links);
    watch->waker = waker;
    (void)pthread_mutex_lock(&log->lock);
    sq_list_push_back(&log->watches, &watch->links);
    (void)pthread_mutex_unlock(&log->lock);
}

void wal_log_watch_remove(struct wal_log *log, struct wal_log_watch *watch)
{
    (void)pthread_mutex_lock(&log->lock);
    sq_list_remove(&watch->links);
    (void)pthread_mutex_unlock(&log->lock);
}

void log_wake(struct wal_log *log)
{
    SQ_LIST_FOREACH (links, &log->watches) {
        sq_waker_wake(SQ_CONTAINER_OF(links, struct wal_log_watch, links)->waker);
    }
}
