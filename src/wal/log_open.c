/* wal/log_open.c: which files of a directory are the log.
 *
 * What can be there after a crash: files being written (*.tmp); tails with the newest files (log_tail.c), as far as they have
 * reached the disk; files that a compaction has replaced, beside the one that has taken their place; old files of which some are
 * removed already and others not; at the end, files that were never synced and may be missing, empty, torn or garbage; all
 * files of before a restart.
 *
 *     begin                                   synced
 *       │ [ 1-8 ] [ 9-16 ]  [ 17-20 ] [21-21]   │ [22-22] [23-23]   ?
 *       │  [1-1][2-2]…                          │
 *
 * From `begin` on (file `marks`), the widest whole file that goes on from where the last one ended is taken, until there is
 * none. Files after `synced`, and the last one, are decoded to their end before they are believed; of the others, header and
 * trailer are looked at. What is left over is removed; then the log is synced, which makes files of what was in tails, and
 * these are removed as well. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/random.h"
#include "wal/checksum.h"
#include "wal/log_internal.h"
#include "wal/slots.h"

enum { READ_BYTES = 16 * 1024 };

struct candidate {
    ltx_txid min_txid;
    ltx_txid max_txid;
    uint64_t tail; /* the tail that it is in, or 0 */
    uint64_t tail_offset;
    uint64_t bytes; /* in the tail */
};

struct candidates {
    struct candidate *items;
    size_t count;
    size_t cap;
    uint64_t *tails; /* all that there are */
    size_t tail_count;
};

static void candidates_done(struct candidates *candidates)
{
    free(candidates->items);
    free(candidates->tails);
}

static bool parse_txid(const char *text, ltx_txid *ret_txid)
{
    ltx_txid txid = 0;
    for (size_t i = 0; i < 16; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9')
            txid = txid << 4 | (ltx_txid)(c - '0');
        else if (c >= 'a' && c <= 'f')
            txid = txid << 4 | (ltx_txid)(c - 'a' + 10);
        else
            return false;
    }
    *ret_txid = txid;
    return true;
}

/* Exactly what log_file_name() makes. */
static bool parse_name(const char *name, struct candidate *ret_candidate)
{
    struct candidate found = {0};
    if (strlen(name) != 37 || name[16] != '-' || strcmp(name + 33, ".ltx") != 0 || !parse_txid(name, &found.min_txid) ||
        !parse_txid(name + 17, &found.max_txid))
        return false;
    *ret_candidate = found;
    return true;
}

/* What log_tail_name() makes. */
static bool parse_tail(const char *name, uint64_t *ret_tail)
{
    size_t digits = strspn(name, "0123456789");
    if (digits == 0 || digits > 18 || name[0] == '0' || strcmp(name + digits, ".tail") != 0)
        return false;
    *ret_tail = strtoull(name, NULL, 10);
    return true;
}

static sq_status add_candidate(struct candidates *candidates, const struct candidate *candidate, struct sq_error *err)
{
    if (candidates->count == candidates->cap) {
        size_t cap = 2 * candidates->cap + 64;
        struct candidate *items = realloc(candidates->items, cap * sizeof(*items));
        if (items == NULL)
            return sq_fail(err, SQ_NOMEM, "list of a log's files");
        candidates->items = items;
        candidates->cap = cap;
    }
    candidates->items[candidates->count++] = *candidate;
    return SQ_OK;
}

static sq_status add_tail(struct candidates *candidates, uint64_t tail, struct sq_error *err)
{
    uint64_t *tails = realloc(candidates->tails, (candidates->tail_count + 1) * sizeof(*tails));
    if (tails == NULL)
        return sq_fail(err, SQ_NOMEM, "list of a log's files");
    tails[candidates->tail_count++] = tail;
    candidates->tails = tails;
    return SQ_OK;
}

/* A file that was being written is removed at once. */
static sq_status take_name(const struct wal_log *log, const char *name, struct sq_error *err,
                           struct candidates *candidates)
{
    struct candidate candidate;
    uint64_t tail;
    if (parse_name(name, &candidate))
        return add_candidate(candidates, &candidate, err);
    if (parse_tail(name, &tail))
        return add_tail(candidates, tail, err);
    if (log_name_has_ending(name, ".tmp") && unlinkat(log->dir_fd, name, 0) != 0)
        return sq_fail_errno(err, errno, "cannot remove '%s/%s'", log->path, name);
    return SQ_OK;
}

static sq_status list_directory(const struct wal_log *log, struct sq_error *err, struct candidates *candidates)
{
    int fd = openat(log->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int failure = errno;
        if (fd >= 0)
            (void)close(fd);
        return sq_fail_errno(err, failure, "cannot list the directory '%s'", log->path);
    }
    sq_status status = SQ_OK;
    const struct dirent *entry;
    while (status == SQ_OK && (errno = 0, entry = readdir(dir)) != NULL)
        status = take_name(log, entry->d_name, err, candidates);
    if (status == SQ_OK && errno != 0)
        status = sq_fail_errno(err, errno, "cannot list the directory '%s'", log->path);
    (void)closedir(dir);
    return status;
}

/* By where they begin, the widest first; of two alike the one that has a file of its own. */
static int compare(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->min_txid != b->min_txid)
        return a->min_txid < b->min_txid ? -1 : 1;
    if (a->max_txid != b->max_txid)
        return a->max_txid > b->max_txid ? -1 : 1;
    return a->tail == b->tail ? 0 : a->tail < b->tail ? -1 : 1;
}

/* --- decoding ------------------------------------------------------------------------------------------------------- */

/* One file, from `begin` on; *ret_end: behind it. */
static sq_status decode_from(int fd, uint64_t begin, struct ltx_decoder *decoder, struct sq_error *err,
                             uint64_t *ret_end)
{
    uint8_t buffer[READ_BYTES];
    enum ltx_event event = LTX_MORE;
    while (event != LTX_DONE) {
        size_t length = 0;
        SQ_TRY(wal_read_at(fd, begin, buffer, sizeof(buffer), err, &length));
        if (length == 0)
            return sq_fail(err, SQ_CORRUPT, "it ends at %" PRIu64, begin);
        const uint8_t *at = buffer;
        begin += length;
        do {
            uint32_t page_number = 0;
            const void *page = NULL;
            SQ_TRY(ltx_decoder_feed(decoder, &at, &length, err, &event, &page_number, &page));
        } while (event != LTX_DONE && (length > 0 || event != LTX_MORE));
        begin -= length;
    }
    *ret_end = begin;
    return SQ_OK;
}

static sq_status decode_one(int fd, uint64_t begin, struct sq_error *err, struct ltx_header *ret_header,
                            uint64_t *ret_end)
{
    struct ltx_decoder *decoder = NULL;
    SQ_TRY(ltx_decoder_new(err, &decoder));
    sq_status status = decode_from(fd, begin, decoder, err, ret_end);
    if (status == SQ_OK)
        *ret_header = *ltx_decoder_header(decoder);
    ltx_decoder_free(decoder);
    return status;
}

static sq_status decode_whole(int fd, uint64_t file_bytes, struct sq_error *err)
{
    struct ltx_header header;
    uint64_t end = 0;
    SQ_TRY(decode_one(fd, 0, err, &header, &end));
    if (end != file_bytes)
        return sq_fail(err, SQ_CORRUPT, "there is more behind its end at %" PRIu64, end);
    return SQ_OK;
}

/* The files of a tail, as far as they are whole. */
static sq_status scan_tail(const struct wal_log *log, uint64_t tail, struct sq_error *err,
                           struct candidates *candidates)
{
    char name[LOG_NAME_BYTES];
    log_tail_name(tail, name);
    int fd = openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot open '%s/%s'", log->path, name);
    uint64_t begin = 0, end = 0;
    struct ltx_header header;
    sq_status status;
    while ((status = decode_one(fd, begin, err, &header, &end)) == SQ_OK) {
        struct candidate candidate = {.min_txid = header.min_txid,
                                      .max_txid = header.max_txid,
                                      .tail = tail,
                                      .tail_offset = begin,
                                      .bytes = end - begin};
        status = add_candidate(candidates, &candidate, err);
        if (status != SQ_OK)
            break;
        begin = end;
    }
    (void)close(fd);
    return status == SQ_CORRUPT ? SQ_OK : status;
}

static sq_status read_ends(int fd, const struct candidate *candidate, struct sq_error *err,
                           struct ltx_header *ret_header, struct log_entry *ret_entry)
{
    struct stat facts;
    if (fstat(fd, &facts) != 0)
        return sq_fail_errno(err, errno, "cannot look at a file of a log");
    uint8_t head[LTX_HEADER_BYTES], tail[LTX_TRAILER_BYTES];
    size_t head_bytes = 0, tail_bytes = 0;
    uint64_t begin = candidate->tail_offset;
    uint64_t bytes = candidate->tail != 0 ? candidate->bytes : (uint64_t)facts.st_size;
    if (bytes < LTX_HEADER_BYTES + LTX_TRAILER_BYTES)
        return sq_fail(err, SQ_CORRUPT, "it has %" PRIu64 " bytes", bytes);
    SQ_TRY(wal_read_at(fd, begin, head, sizeof(head), err, &head_bytes));
    SQ_TRY(wal_read_at(fd, begin + bytes - sizeof(tail), tail, sizeof(tail), err, &tail_bytes));
    if (head_bytes < sizeof(head) || tail_bytes < sizeof(tail))
        return sq_fail(err, SQ_CORRUPT, "it has become shorter");
    struct ltx_header header;
    struct ltx_trailer trailer;
    SQ_TRY(ltx_header_decode(head, err, &header));
    SQ_TRY(ltx_trailer_decode(tail, err, &trailer));
    if (header.min_txid != candidate->min_txid || header.max_txid != candidate->max_txid)
        return sq_fail(err, SQ_CORRUPT, "its transactions are %" PRIu64 " to %" PRIu64, header.min_txid,
                       header.max_txid);
    *ret_header = header;
    *ret_entry = (struct log_entry){
        .min_txid = header.min_txid,
        .max_txid = header.max_txid,
        .pre_checksum = header.pre_checksum,
        .post_checksum = trailer.post_checksum,
        .bytes = bytes,
        .tail = candidate->tail,
        .tail_offset = candidate->tail_offset,
        .timeline = header.node_id,
        .timestamp_ms = header.timestamp_ms,
    };
    return SQ_OK;
}

/* Takes the file into the log, if it is whole and goes on from the end. SQ_CORRUPT: it is not, or does not. */
static sq_status take_file(struct wal_log *log, const struct candidate *candidate, bool is_first, struct sq_error *err)
{
    char name[LOG_NAME_BYTES];
    log_entry_name(
        &(struct log_entry){.min_txid = candidate->min_txid, .max_txid = candidate->max_txid, .tail = candidate->tail},
        name);
    SQ_TRY(log_list_reserve(&log->files, 1, err));
    int fd = openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot open '%s/%s'", log->path, name);
    struct ltx_header header;
    struct log_entry entry;
    bool is_synced = candidate->tail == 0 && candidate->max_txid <= log->synced_txid;
    sq_status status = read_ends(fd, candidate, err, &header, &entry);
    if (status == SQ_OK && !is_synced && candidate->tail == 0)
        status = decode_whole(fd, entry.bytes, err);
    (void)close(fd);
    SQ_TRY(status);
    entry.is_written = is_synced;
    /* What was before the first file of a log whose oldest ones are gone is known from that file alone. */
    bool is_begin_known = !is_first || log->begin_txid == log->history.base_txid;
    struct wal_position end = log_end(log);
    if (is_begin_known && entry.min_txid != 1 && entry.pre_checksum != end.checksum)
        return sq_fail(err, SQ_CORRUPT, "it goes on from checksum %016" PRIx64 ", not from %016" PRIx64,
                       entry.pre_checksum, end.checksum);
    if (entry.timeline != wal_history_timeline(&log->history, entry.min_txid))
        return sq_fail(err, SQ_CORRUPT, "it is of timeline %" PRIu64, entry.timeline);
    log_list_push(&log->files, &entry);
    log->last_header = header;
    log->bytes += entry.bytes;
    return SQ_OK;
}

static void tell_damaged(const struct wal_log *log, const struct candidate *candidate, const char *why)
{
    char path[SQ_LOG_QUOTED_MAX], reason[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_WARNING, "wal", "a file of a log is not whole and is removed",
           "log=%s file=%016" PRIx64 "-%016" PRIx64 ".ltx reason=%s", sq_log_quote(path, log->path),
           candidate->min_txid, candidate->max_txid, sq_log_quote(reason, why));
}

static void tell_cut(const struct wal_log *log, size_t file_count)
{
    char path[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_WARNING, "wal", "files after the end of a log are removed",
           "log=%s end=%" PRIu64 " synced=%" PRIu64 " files=%zu", sq_log_quote(path, log->path), log_end(log).txid,
           log->synced_txid, file_count);
}

/* Takes what is the log out of the candidates, and leaves what is to be removed. */
static sq_status choose(struct wal_log *log, struct candidates *candidates, struct sq_error *err)
{
    ltx_txid at = log->begin_txid;
    size_t left = 0, cut_count = 0;
    for (size_t i = 0; i < candidates->count; i++) {
        const struct candidate candidate = candidates->items[i];
        if (candidate.min_txid == at + 1 && candidate.max_txid >= candidate.min_txid) {
            sq_status status = take_file(log, &candidate, log->files.count == 0, err);
            if (status == SQ_OK) {
                at = candidate.max_txid;
                continue;
            }
            if (status != SQ_CORRUPT)
                return status;
            tell_damaged(log, &candidate, err->text);
        } else if (candidate.max_txid > at) {
            cut_count++;
        }
        candidates->items[left++] = candidate;
    }
    candidates->count = left;
    if (cut_count > 0)
        tell_cut(log, cut_count);
    return SQ_OK;
}

/* What the log ends with is what everybody goes by: a last file that was synced is not taken on trust. */
static sq_status check_last(struct wal_log *log, struct candidates *candidates, struct sq_error *err)
{
    while (log->files.count > 0 && log_list_at(&log->files, log->files.count - 1)->is_written) {
        const struct log_entry last = *log_list_at(&log->files, log->files.count - 1);
        const struct candidate candidate = {.min_txid = last.min_txid, .max_txid = last.max_txid};
        char name[LOG_NAME_BYTES];
        log_entry_name(&last, name);
        int fd = openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return sq_fail_errno(err, errno, "cannot open '%s/%s'", log->path, name);
        sq_status status = decode_whole(fd, last.bytes, err);
        (void)close(fd);
        if (status != SQ_CORRUPT)
            return status;
        tell_damaged(log, &candidate, err->text);
        SQ_TRY(add_candidate(candidates, &candidate, err));
        log->files.count--;
        log->bytes -= last.bytes;
    }
    return SQ_OK;
}

/* Of the file that has become the last one. */
static sq_status read_last_header(struct wal_log *log, struct sq_error *err)
{
    if (log->files.count == 0 || log->last_header.max_txid == log_end(log).txid)
        return SQ_OK;
    struct wal_log_reader *reader = NULL;
    SQ_TRY(wal_log_reader_open(log, log_list_at(&log->files, log->files.count - 1)->min_txid - 1, err, &reader));
    log->last_header = *wal_log_reader_header(reader);
    wal_log_reader_close(reader);
    return SQ_OK;
}

static sq_status remove_name(const struct wal_log *log, const char *name, struct sq_error *err)
{
    if (unlinkat(log->dir_fd, name, 0) != 0 && errno != ENOENT)
        return sq_fail_errno(err, errno, "cannot remove '%s/%s'", log->path, name);
    return SQ_OK;
}

/* The marks by which files are old were seen, which does not say that they are on disk: they are written again first. A removed
 * file must not come back, or it might go on from where a new one of another content ends. */
static sq_status remove_left(struct wal_log *log, const struct candidates *candidates, struct sq_error *err)
{
    if (candidates->count == 0)
        return SQ_OK;
    SQ_TRY(log_write_marks(log, log->begin_txid, log->synced_txid, err));
    if (fdatasync(log->marks_fd) != 0)
        return sq_fail_errno(err, errno, "cannot sync '%s/marks'", log->path);
    for (size_t i = 0; i < candidates->count; i++) {
        char name[LOG_NAME_BYTES];
        log_file_name(candidates->items[i].min_txid, candidates->items[i].max_txid, name);
        if (candidates->items[i].tail == 0)
            SQ_TRY(remove_name(log, name, err));
    }
    return log_sync_directory(log, err);
}

/* Makes files of what is in tails. Nobody needs the spares yet. */
static sq_status settle_tails(struct wal_log *log, const struct candidates *candidates, struct sq_error *err)
{
    SQ_TRY(log_sync(log, err));
    char name[LOG_NAME_BYTES];
    for (size_t i = 0; i < log->spares.count; i++) {
        const struct log_entry *spare = log_list_at(&log->spares, i);
        log_entry_name(spare, name);
        if (spare->tail == 0)
            SQ_TRY(remove_name(log, name, err));
    }
    log_list_drop_front(&log->spares, log->spares.count);
    for (size_t i = 0; i < candidates->tail_count; i++) {
        log_tail_name(candidates->tails[i], name);
        SQ_TRY(remove_name(log, name, err));
    }
    return candidates->tail_count > 0 ? log_sync_directory(log, err) : SQ_OK;
}

/* Timelines that began after the end: the log has lost that end, which only a damaged disk can do. */
static sq_status cut_history(struct wal_log *log, struct sq_error *err)
{
    struct wal_position end = log_end(log);
    if (!wal_history_cut(&log->history, end.txid))
        return SQ_OK;
    char path[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_WARNING, "wal", "timelines after the end of a log are forgotten", "log=%s end=%" PRIu64,
           sq_log_quote(path, log->path), end.txid);
    return wal_history_save(log->dir_fd, &log->history, err);
}

/* Up to where files have been synced: a damaged one may have been found again in a tail. */
static ltx_txid count_synced(const struct wal_log *log)
{
    for (size_t i = 0; i < log->files.count; i++)
        if (!log_list_at(&log->files, i)->is_written)
            return log_list_at(&log->files, i)->min_txid - 1;
    return log_end(log).txid;
}

sq_status log_recover(struct wal_log *log, struct sq_error *err)
{
    SQ_CLEANUP(candidates_done) struct candidates candidates = {0};
    SQ_TRY(list_directory(log, err, &candidates));
    for (size_t i = 0; i < candidates.tail_count; i++)
        SQ_TRY(scan_tail(log, candidates.tails[i], err, &candidates));
    if (candidates.count > 0)
        qsort(candidates.items, candidates.count, sizeof(*candidates.items), compare);
    SQ_TRY(choose(log, &candidates, err));
    SQ_TRY(check_last(log, &candidates, err));
    SQ_TRY(read_last_header(log, err));
    if (log->files.count == 0)
        log->begin_txid = log_end(log).txid;
    log->synced_txid = count_synced(log);
    SQ_TRY(remove_left(log, &candidates, err));
    SQ_TRY(cut_history(log, err));
    return settle_tails(log, &candidates, err);
}

/* --- history -------------------------------------------------------------------------------------------------------- */

sq_status log_finish_clearing(struct wal_log *log, struct sq_error *err)
{
    sq_assert(log->history.is_clearing);
    SQ_TRY(log_remove_all(log->dir_fd, err));
    SQ_TRY(log_sync_directory(log, err));
    struct wal_history history = log->history;
    history.is_clearing = false;
    SQ_TRY(wal_history_save(log->dir_fd, &history, err));
    SQ_TRY(log_write_marks(log, history.base_txid, history.base_txid, err));
    (void)pthread_mutex_lock(&log->lock);
    log->history.is_clearing = false;
    log->is_history_unsure = false;
    (void)pthread_mutex_unlock(&log->lock);
    return SQ_OK;
}

sq_status log_load_history(struct wal_log *log, struct sq_error *err)
{
    sq_status status = wal_history_load(log->dir_fd, err, &log->history);
    if (status == SQ_NOT_FOUND)
        return SQ_OK;
    if (status != SQ_CORRUPT)
        return status;
    /* Nothing tells what the files go on from. The database is the truth: its owner begins the log anew. */
    char path[SQ_LOG_QUOTED_MAX], reason[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_WARNING, "wal", "a log is emptied", "log=%s reason=%s", sq_log_quote(path, log->path),
           sq_log_quote(reason, err->text));
    sq_random_fill(&log->history.generation, sizeof(log->history.generation));
    log->history.is_clearing = true;
    return wal_history_save(log->dir_fd, &log->history, err);
}
