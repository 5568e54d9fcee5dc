/* repl/incarnation.c: a file of one number. */
#include "repl/incarnation.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/random.h"
#include "pgwire/cursor.h"
#include "wal/checksum.h"

enum { INCARNATION_BYTES = 24, INCARNATION_CRC_OFFSET = 16 };

static const char magic[8] = {'S', 'Q', 'L', 'D', 'I', 'N', 'C', 'A'};

static sq_status make_path(const char *dir, const char *ending, struct sq_error *err, char path[PATH_MAX])
{
    int length = snprintf(path, PATH_MAX, "%s/incarnation%s", dir, ending);
    return length > 0 && length < PATH_MAX ? SQ_OK : sq_fail(err, SQ_INVALID, "the name '%s' is too long", dir);
}

sq_status repl_incarnation_read(const char *dir, struct sq_error *err, uint64_t *ret_incarnation)
{
    char path[PATH_MAX];
    uint8_t bytes[INCARNATION_BYTES + 1];
    SQ_TRY(make_path(dir, "", err, path));
    *ret_incarnation = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? SQ_OK : sq_fail_errno(err, errno, "cannot read '%s'", path);
    ssize_t length = read(fd, bytes, sizeof(bytes));
    int failure = errno;
    close(fd);
    if (length < 0)
        return sq_fail_errno(err, failure, "cannot read '%s'", path);
    if (length != INCARNATION_BYTES || memcmp(bytes, magic, sizeof(magic)) != 0)
        return SQ_OK;
    struct pgwire_cursor cursor = pgwire_cursor_make(bytes + sizeof(magic), INCARNATION_BYTES - sizeof(magic));
    uint64_t incarnation = pgwire_get_u64(&cursor);
    if (pgwire_get_u64(&cursor) == wal_crc64(0, bytes, INCARNATION_CRC_OFFSET))
        *ret_incarnation = incarnation;
    return SQ_OK;
}

static sq_status write_synced(const char *path, const struct sq_buf *buf, struct sq_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot write '%s'", path);
    ssize_t written = write(fd, sq_buf_bytes(buf), sq_buf_length(buf));
    int failure = written == (ssize_t)sq_buf_length(buf) ? 0 : written < 0 ? errno : ENOSPC;
    if (failure == 0 && fsync(fd) != 0)
        failure = errno;
    close(fd);
    return failure == 0 ? SQ_OK : sq_fail_errno(err, failure, "cannot write '%s'", path);
}

static sq_status sync_directory(const char *dir, struct sq_error *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failure = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return failure == 0 ? SQ_OK : sq_fail_errno(err, failure, "cannot sync '%s'", dir);
}

sq_status repl_incarnation_write(const char *dir, uint64_t incarnation, struct sq_error *err)
{
    char path[PATH_MAX];
    char new_path[PATH_MAX];
    sq_assert(incarnation != 0);
    SQ_TRY(make_path(dir, "", err, path));
    SQ_TRY(make_path(dir, ".new", err, new_path));
    SQ_CLEANUP(sq_buf_done) struct sq_buf buf;
    sq_buf_init(&buf, INCARNATION_BYTES);
    sq_buf_put(&buf, magic, sizeof(magic));
    sq_buf_put_u64(&buf, incarnation);
    SQ_TRY(sq_buf_check(&buf, err));
    sq_buf_put_u64(&buf, wal_crc64(0, sq_buf_bytes(&buf), INCARNATION_CRC_OFFSET));
    SQ_TRY(sq_buf_check(&buf, err));
    SQ_TRY(write_synced(new_path, &buf, err));
    if (rename(new_path, path) != 0)
        return sq_fail_errno(err, errno, "cannot rename '%s'", new_path);
    return sync_directory(dir, err);
}

sq_status repl_incarnation_need(const char *dir, struct sq_error *err, uint64_t *ret_incarnation)
{
    uint64_t incarnation = 0;
    SQ_TRY(repl_incarnation_read(dir, err, &incarnation));
    if (incarnation == 0) {
        while (incarnation == 0)
            sq_random_fill(&incarnation, sizeof(incarnation));
        SQ_TRY(repl_incarnation_write(dir, incarnation, err));
    }
    *ret_incarnation = incarnation;
    return SQ_OK;
}
