/* tests/sim/file.c: pages, the files that lead from one state of them to another, and logs of such files. */
#include <string.h>

#include "sim.h"

/* --- Pages --- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value;
    hash *= UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 32;
    hash *= UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ (hash >> 29);
}

uint64_t pages_sum(uint32_t page_number, uint64_t content)
{
    return mix(mix(77, page_number), content) | WAL_CHECKSUM_FLAG;
}

uint64_t pages_checksum(const struct pages *pages)
{
    uint64_t checksum = WAL_CHECKSUM_FLAG;
    for (uint32_t i = 0; i < pages->count; i++)
        checksum = wal_checksum_exchange(checksum, 0, pages_sum(i + 1, pages->content[i]));
    return checksum;
}

/* --- Files --- */

struct file file_between(const struct pages *before, const struct pages *after)
{
    struct file file = {.pre_checksum = pages_checksum(before),
                        .post_checksum = pages_checksum(after),
                        .page_bytes = after->page_bytes,
                        .page_count = after->count};
    for (uint32_t i = 0; i < after->count; i++) {
        if (i < before->count && before->content[i] == after->content[i] && before->page_bytes == after->page_bytes)
            continue;
        file.page_numbers[file.changed_count] = i + 1;
        file.contents[file.changed_count++] = after->content[i];
    }
    return file;
}

enum { HEAD_WORDS = 10 };

size_t file_bytes(const struct file *file)
{
    return (HEAD_WORDS + 2 * (size_t)file->changed_count + 1) * sizeof(uint64_t) + (size_t)file->padding;
}

static size_t words(const struct file *file, uint64_t *to)
{
    const uint64_t head[HEAD_WORDS] = {file->min_txid,      file->max_txid, file->timeline,   file->pre_checksum,
                                       file->post_checksum, file->is_heal,  file->page_bytes, file->page_count,
                                       file->changed_count, file->padding};
    memcpy(to, head, sizeof(head));
    memcpy(to + HEAD_WORDS, file->page_numbers, (size_t)file->changed_count * sizeof(uint64_t));
    memcpy(to + HEAD_WORDS + file->changed_count, file->contents, (size_t)file->changed_count * sizeof(uint64_t));
    return HEAD_WORDS + 2 * (size_t)file->changed_count;
}

static uint64_t digest(const uint64_t *from, size_t count)
{
    uint64_t hash = 1;
    for (size_t i = 0; i < count; i++)
        hash = mix(hash, from[i]);
    return hash;
}

void file_encode(const struct file *file, uint8_t *bytes)
{
    uint64_t buffer[HEAD_WORDS + 2 * PAGES_MAX + 1];
    size_t count = words(file, buffer);
    buffer[count] = digest(buffer, count);
    memcpy(bytes, buffer, (count + 1) * sizeof(uint64_t));
    memset(bytes + (count + 1) * sizeof(uint64_t), 0xaa, (size_t)file->padding);
}

bool file_decode(const uint8_t *bytes, size_t length, struct file *ret_file)
{
    uint64_t buffer[HEAD_WORDS + 2 * PAGES_MAX + 1];
    size_t most = length < sizeof(buffer) ? length / sizeof(uint64_t) : sizeof(buffer) / sizeof(uint64_t);
    memcpy(buffer, bytes, most * sizeof(uint64_t));
    if (most < HEAD_WORDS + 1 || buffer[8] > PAGES_MAX || HEAD_WORDS + 2 * buffer[8] + 1 > most)
        return false;
    size_t count = HEAD_WORDS + 2 * (size_t)buffer[8];
    *ret_file = (struct file){.min_txid = buffer[0],
                              .max_txid = buffer[1],
                              .timeline = buffer[2],
                              .pre_checksum = buffer[3],
                              .post_checksum = buffer[4],
                              .is_heal = buffer[5],
                              .page_bytes = buffer[6],
                              .page_count = buffer[7],
                              .changed_count = buffer[8],
                              .padding = buffer[9]};
    memcpy(ret_file->page_numbers, buffer + HEAD_WORDS, (size_t)buffer[8] * sizeof(uint64_t));
    memcpy(ret_file->contents, buffer + HEAD_WORDS + buffer[8], (size_t)buffer[8] * sizeof(uint64_t));
    return buffer[count] == digest(buffer, count) && ret_file->page_count <= PAGES_MAX &&
           length == file_bytes(ret_file);
}

bool file_apply(const struct file *file, const struct pages *before, struct pages *ret_after)
{
    struct pages after = {.page_bytes = (uint32_t)file->page_bytes, .count = (uint32_t)file->page_count};
    if (before->page_bytes == after.page_bytes)
        memcpy(after.content, before->content, sizeof(after.content));
    for (size_t i = 0; i < file->changed_count; i++) {
        if (file->page_numbers[i] == 0 || file->page_numbers[i] > PAGES_MAX)
            return false;
        after.content[file->page_numbers[i] - 1] = file->contents[i];
    }
    if (pages_checksum(&after) != file->post_checksum)
        return false;
    *ret_after = after;
    return true;
}

/* --- Logs --- */

struct wal_position log_end(const struct log *log)
{
    struct wal_position end = log->begin;
    if (log->file_count > 0)
        end = (struct wal_position){.txid = log->files[log->file_count - 1].max_txid,
                                    .checksum = log->files[log->file_count - 1].post_checksum};
    if (log->history_count > 0)
        end.timeline = log->history[log->history_count - 1];
    return end;
}

void log_restart(struct log *log, const struct wal_position *position)
{
    log->exists = true;
    log->begin = *position;
    log->file_count = 0;
    log->history_count = 0;
    if (position->timeline > 0)
        log->history[log->history_count++] = position->timeline;
}

void log_begin_timeline(struct log *log, uint64_t timeline)
{
    if (log->history_count > 0)
        log->history_end[log->history_count - 1] = log_end(log).txid;
    if (log->history_count == HISTORY_MAX) { /* the oldest is forgotten */
        memmove(log->history, log->history + 1, (HISTORY_MAX - 1) * sizeof(log->history[0]));
        memmove(log->history_end, log->history_end + 1, (HISTORY_MAX - 1) * sizeof(log->history_end[0]));
        log->history_count--;
    }
    log->history[log->history_count++] = timeline;
}

void log_trim(struct log *log, size_t count)
{
    sq_assert(count <= log->file_count);
    if (count == 0)
        return;
    const struct file *last = &log->files[count - 1];
    log->begin =
        (struct wal_position){.timeline = last->timeline, .txid = last->max_txid, .checksum = last->post_checksum};
    log->file_count -= count;
    memmove(log->files, log->files + count, log->file_count * sizeof(log->files[0]));
    memmove(log->is_rotten, log->is_rotten + count, log->file_count * sizeof(log->is_rotten[0]));
}

void log_append(struct log *log, const struct file *file)
{
    if (log->file_count == LOG_FILES_MAX)
        log_trim(log, LOG_FILES_MAX / 2);
    sq_assert(file->min_txid == log_end(log).txid + 1);
    log->is_rotten[log->file_count] = false;
    log->files[log->file_count++] = *file;
}

void log_truncate(struct log *log, ltx_txid txid)
{
    while (log->file_count > 0 && log->files[log->file_count - 1].max_txid > txid)
        log->file_count--;
}

/* Two neighbours of one timeline become one. */
void log_compact(struct log *log, ltx_txid txid_max)
{
    if (log->file_count < 2)
        return;
    size_t at = (size_t)dice_below(log->file_count - 1);
    struct file *a = &log->files[at];
    const struct file *b = &log->files[at + 1];
    if (b->max_txid > txid_max || a->timeline != b->timeline || a->page_bytes != b->page_bytes || log->is_rotten[at] ||
        log->is_rotten[at + 1])
        return;
    struct pages merged = {.page_bytes = (uint32_t)b->page_bytes};
    bool has[PAGES_MAX] = {false};
    const struct file *both[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < both[i]->changed_count; j++) {
            merged.content[both[i]->page_numbers[j] - 1] = both[i]->contents[j];
            has[both[i]->page_numbers[j] - 1] = true;
        }
    }
    struct file file = *b;
    file.min_txid = a->min_txid;
    file.pre_checksum = a->pre_checksum;
    file.changed_count = 0;
    for (size_t i = 0; i < b->page_count; i++) {
        if (!has[i])
            continue;
        file.page_numbers[file.changed_count] = i + 1;
        file.contents[file.changed_count++] = merged.content[i];
    }
    *a = file;
    log->file_count--;
    memmove(log->files + at + 1, log->files + at + 2, (log->file_count - at - 1) * sizeof(log->files[0]));
    memmove(log->is_rotten + at + 1, log->is_rotten + at + 2, (log->file_count - at - 1) * sizeof(log->is_rotten[0]));
}
