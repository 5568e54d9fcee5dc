/* repl/bootstrap.c: see the header. Pages that follow each other are written together, and given to the disk as they come, so that the sync at
 * the end finds little to do. */
#include "repl/bootstrap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/inject.h"
#include "wal/checksum.h"
#include "wal/page_sums.h"
#include "wal/slots.h"

enum {
    RUN_BYTES = 256 * 1024,
    FLUSH_BYTES = 8 * 1024 * 1024, /* what is written is given to the disk in pieces of this */
    AT_PAGE_BYTES = 16,            /* in page 1: sqlite.org/fileformat2.html, "The Database Header" */
    AT_WRITE_VERSION = 18,
    AT_READ_VERSION = 19,
    WAL_FORMAT = 2,
};

struct bootstrap {
    int fd;
    uint32_t page_bytes;
    struct page_sums *sums;
    uint64_t there_bytes; /* when it was opened */
    uint32_t next_scan;
    uint32_t run_first; /* page number of the first page in `run`; 0: it is empty */
    uint32_t run_count;
    uint64_t flushed_bytes; /* up to here the disk has been given all */
    uint8_t first_page[32]; /* the beginning of page 1 */
    char path[PATH_MAX];
    uint8_t run[RUN_BYTES];
};
_Static_assert((int)RUN_BYTES >= (int)LTX_PAGE_BYTES_MAX, "one page at least");

static sq_status make_path(const char *dir, struct sq_error *err, char path[PATH_MAX])
{
    int length = snprintf(path, PATH_MAX, "%s/bootstrap", dir);
    return length > 0 && length < PATH_MAX ? SQ_OK : sq_fail(err, SQ_INVALID, "the name of '%s' is too long", dir);
}

bool bootstrap_is_there(const char *dir)
{
    char path[PATH_MAX];
    return make_path(dir, NULL, path) == SQ_OK && access(path, F_OK) == 0;
}

sq_status bootstrap_remove(const char *dir, struct sq_error *err)
{
    char path[PATH_MAX];
    SQ_TRY(make_path(dir, err, path));
    return unlink(path) == 0 || errno == ENOENT ? SQ_OK : sq_fail_errno(err, errno, "cannot remove '%s'", path);
}

/* --- Opening ------------------------------------------------------------------------------------------------------ */

SQ_DEFINE_FREEP(struct bootstrap, bootstrap_close)

sq_status bootstrap_open(const char *dir, uint32_t page_bytes, struct sq_error *err, struct bootstrap **ret_bootstrap)
{
    struct stat info;
    SQ_CLEANUP(bootstrap_closep) struct bootstrap *bootstrap = calloc(1, sizeof(*bootstrap));
    if (bootstrap == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a new database");
    bootstrap->fd = -1;
    bootstrap->page_bytes = page_bytes;
    bootstrap->next_scan = 1;
    SQ_TRY(make_path(dir, err, bootstrap->path));
    SQ_TRY(page_sums_new(page_bytes, err, &bootstrap->sums));
    bootstrap->fd = open(bootstrap->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (bootstrap->fd < 0 || fstat(bootstrap->fd, &info) != 0)
        return sq_fail_errno(err, errno, "cannot open '%s'", bootstrap->path);
    bootstrap->there_bytes = (uint64_t)info.st_size;
    *ret_bootstrap = SQ_STEAL(bootstrap);
    return SQ_OK;
}

void bootstrap_close(struct bootstrap *bootstrap)
{
    if (bootstrap == NULL)
        return;
    if (bootstrap->fd >= 0)
        close(bootstrap->fd);
    page_sums_free(bootstrap->sums);
    free(bootstrap);
}

uint32_t bootstrap_page_bytes(const struct bootstrap *bootstrap)
{
    return bootstrap->page_bytes;
}

const char *bootstrap_path(const struct bootstrap *bootstrap)
{
    return bootstrap->path;
}

struct page_sums *bootstrap_sums(const struct bootstrap *bootstrap)
{
    return bootstrap->sums;
}

static bool is_zeros(const uint8_t *page, size_t length)
{
    return page[0] == 0 && memcmp(page, page + 1, length - 1) == 0;
}

static void note_page(struct bootstrap *bootstrap, uint32_t page_number, const uint8_t *page)
{
    if (page_number == 1)
        memcpy(bootstrap->first_page, page, sizeof(bootstrap->first_page));
}

sq_status bootstrap_scan(struct bootstrap *bootstrap, uint32_t page_count_max, struct sq_error *err, bool *ret_is_end)
{
    sq_assert(bootstrap->run_first == 0);
    uint32_t page_bytes = bootstrap->page_bytes;
    uint32_t per_read = RUN_BYTES / page_bytes;
    bool is_end = false;
    for (uint32_t done = 0; done < page_count_max && !is_end; done += per_read) {
        size_t length = 0;
        uint64_t offset = (uint64_t)(bootstrap->next_scan - 1) * page_bytes;
        SQ_TRY(wal_read_at(bootstrap->fd, offset, bootstrap->run, (size_t)per_read * page_bytes, err, &length));
        is_end = length < (size_t)per_read * page_bytes;
        for (size_t at = 0; at + page_bytes <= length; at += page_bytes, bootstrap->next_scan++) {
            const uint8_t *page = bootstrap->run + at;
            uint32_t number = bootstrap->next_scan;
            if (is_zeros(page, page_bytes) || number == wal_lock_page(page_bytes))
                continue;
            note_page(bootstrap, number, page);
            SQ_TRY(page_sums_set(bootstrap->sums, number, wal_page_checksum(number, page, page_bytes), err));
        }
    }
    *ret_is_end = is_end;
    return SQ_OK;
}

/* --- Writing ------------------------------------------------------------------------------------------------------ */

static sq_status write_run(struct bootstrap *bootstrap, struct sq_error *err)
{
    if (bootstrap->run_first == 0)
        return SQ_OK;
    uint64_t offset = (uint64_t)(bootstrap->run_first - 1) * bootstrap->page_bytes;
    size_t length = (size_t)bootstrap->run_count * bootstrap->page_bytes;
    SQ_TRY(sq_inject_status("repl.bootstrap.write", err));
    SQ_TRY(wal_write_at(bootstrap->fd, offset, bootstrap->run, length, err));
    uint64_t end = offset + length;
    if (end >= bootstrap->flushed_bytes + FLUSH_BYTES) {
        /* Only begins: whether all has come to the disk, the sync at the end says. */
        sync_file_range(bootstrap->fd, (off_t)bootstrap->flushed_bytes, (off_t)(end - bootstrap->flushed_bytes),
                        SYNC_FILE_RANGE_WRITE);
        bootstrap->flushed_bytes = end;
    }
    bootstrap->run_first = 0;
    return SQ_OK;
}

sq_status bootstrap_page(struct bootstrap *bootstrap, uint32_t page_number, const void *page, struct sq_error *err)
{
    uint32_t page_bytes = bootstrap->page_bytes;
    sq_assert(page_number > 0 && page_number != wal_lock_page(page_bytes));
    bool is_next = bootstrap->run_first != 0 && page_number == bootstrap->run_first + bootstrap->run_count &&
                   bootstrap->run_count < RUN_BYTES / page_bytes;
    if (!is_next) {
        SQ_TRY(write_run(bootstrap, err));
        bootstrap->run_first = page_number;
        bootstrap->run_count = 0;
    }
    SQ_TRY(page_sums_set(bootstrap->sums, page_number, wal_page_checksum(page_number, page, page_bytes), err));
    memcpy(bootstrap->run + (size_t)bootstrap->run_count * page_bytes, page, page_bytes);
    bootstrap->run_count++;
    note_page(bootstrap, page_number, page);
    return SQ_OK;
}

/* Of a database in WAL mode with pages of this size: anything else nobody could read beside its WAL. */
static bool is_database(const struct bootstrap *bootstrap)
{
    const uint8_t *page = bootstrap->first_page;
    uint32_t page_bytes = (uint32_t)page[AT_PAGE_BYTES] << 8 | page[AT_PAGE_BYTES + 1];
    return memcmp(page, "SQLite format 3", 16) == 0 &&
           (page_bytes == 1 ? LTX_PAGE_BYTES_MAX : page_bytes) == bootstrap->page_bytes &&
           page[AT_WRITE_VERSION] == WAL_FORMAT && page[AT_READ_VERSION] == WAL_FORMAT;
}

/* A time that the kernel's own clock, which ticks every few milliseconds, would not give to a write afterwards. */
static sq_status stamp(struct bootstrap *bootstrap, struct sq_error *err, struct engine_file_mark *ret_mark)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
    clock_gettime(CLOCK_REALTIME, &times[1]);
    if (futimens(bootstrap->fd, times) != 0)
        return sq_fail_errno(err, errno, "cannot stamp '%s'", bootstrap->path);
    return engine_file_mark_read(bootstrap->path, err, ret_mark);
}

sq_status bootstrap_finish(struct bootstrap *bootstrap, uint32_t page_count, uint64_t checksum, struct sq_error *err,
                           struct engine_file_mark *ret_mark)
{
    SQ_TRY(write_run(bootstrap, err));
    SQ_TRY(page_sums_resize(bootstrap->sums, page_count, err));
    if (page_sums_database(bootstrap->sums) != checksum)
        return sq_fail(err, SQ_CORRUPT, "the new database has checksum %016llx, not %016llx",
                       (unsigned long long)page_sums_database(bootstrap->sums), (unsigned long long)checksum);
    if (!is_database(bootstrap))
        return sq_fail(err, SQ_CORRUPT, "what was received is not a database in WAL mode with pages of %u bytes",
                       bootstrap->page_bytes);
    if (ftruncate(bootstrap->fd, (off_t)page_count * (off_t)bootstrap->page_bytes) != 0)
        return sq_fail_errno(err, errno, "cannot cut '%s'", bootstrap->path);
    SQ_TRY(stamp(bootstrap, err, ret_mark));
    SQ_TRY(sq_inject_status("repl.bootstrap.sync", err));
    return fsync(bootstrap->fd) == 0 ? SQ_OK : sq_fail_errno(err, errno, "cannot sync '%s'", bootstrap->path);
}
