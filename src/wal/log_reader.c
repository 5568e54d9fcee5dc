/* wal/log_reader.c: reading a file of a log. A reader has the file open and does not need the log any more. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "wal/log_internal.h"
#include "wal/slots.h"

struct wal_log_reader {
    int fd;
    uint64_t begin; /* in what it has open */
    uint64_t bytes;
    struct ltx_header header;
};

static void wal_log_reader_closep(struct wal_log_reader **reader)
{
    wal_log_reader_close(*reader);
}

void wal_log_reader_close(struct wal_log_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->fd >= 0)
        (void)close(reader->fd);
    free(reader);
}

/* The smallest file that begins with the transaction after `txid`, else the one that has it. False: there is none. */
static bool find(struct wal_log *log, ltx_txid txid, struct log_entry *ret_entry)
{
    bool is_found = false;
    (void)pthread_mutex_lock(&log->lock);
    size_t index = txid == UINT64_MAX ? log->files.count : log_list_find(&log->files, txid + 1);
    if (index < log->files.count && log_list_at(&log->files, index)->min_txid <= txid + 1) {
        is_found = true;
        *ret_entry = *log_list_at(&log->files, index);
        index = log_list_find(&log->spares, txid + 1);
        if (index < log->spares.count && log_list_at(&log->spares, index)->min_txid == txid + 1)
            *ret_entry = *log_list_at(&log->spares, index);
    }
    (void)pthread_mutex_unlock(&log->lock);
    return is_found;
}

static sq_status read_header(struct wal_log_reader *reader, const struct log_entry *entry, struct sq_error *err)
{
    uint8_t bytes[LTX_HEADER_BYTES];
    size_t length = 0;
    SQ_TRY(wal_read_at(reader->fd, reader->begin, bytes, sizeof(bytes), err, &length));
    if (length < sizeof(bytes))
        return sq_fail(err, SQ_CORRUPT, "a file of a log has become shorter");
    SQ_TRY(ltx_header_decode(bytes, err, &reader->header));
    if (reader->header.min_txid != entry->min_txid || reader->header.max_txid != entry->max_txid)
        return sq_fail(err, SQ_CORRUPT, "a file of a log has become another one");
    return SQ_OK;
}

sq_status wal_log_reader_open(struct wal_log *log, ltx_txid txid, struct sq_error *err,
                              struct wal_log_reader **ret_reader)
{
    SQ_CLEANUP(wal_log_reader_closep) struct wal_log_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return sq_fail(err, SQ_NOMEM, "reader of '%s'", log->path);
    reader->fd = -1;
    struct log_entry before = {0};
    while (reader->fd < 0) {
        struct log_entry entry;
        if (!find(log, txid, &entry))
            return sq_fail(err, SQ_NOT_FOUND, "'%s' has no transaction after %" PRIu64, log->path, txid);
        char name[LOG_NAME_BYTES];
        log_entry_name(&entry, name);
        reader->fd = openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC);
        reader->begin = entry.tail_offset;
        reader->bytes = entry.bytes;
        if (reader->fd >= 0) {
            SQ_TRY(read_header(reader, &entry, err));
            break;
        }
        /* It may have been compacted or removed meanwhile: then the list says something else now. */
        if (errno != ENOENT ||
            (before.max_txid == entry.max_txid && before.min_txid == entry.min_txid && before.tail == entry.tail))
            return sq_fail_errno(err, errno, "cannot open '%s/%s'", log->path, name);
        before = entry;
    }
    *ret_reader = SQ_STEAL(reader);
    return SQ_OK;
}

const struct ltx_header *wal_log_reader_header(const struct wal_log_reader *reader)
{
    return &reader->header;
}

uint64_t wal_log_reader_bytes(const struct wal_log_reader *reader)
{
    return reader->bytes;
}

sq_status wal_log_reader_read(struct wal_log_reader *reader, uint64_t offset, void *bytes, size_t length,
                              struct sq_error *err, size_t *ret_length)
{
    uint64_t left = offset < reader->bytes ? reader->bytes - offset : 0;
    return wal_read_at(reader->fd, reader->begin + offset, bytes, length < left ? length : (size_t)left, err,
                       ret_length);
}
