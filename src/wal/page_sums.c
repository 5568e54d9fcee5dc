/* wal/page_sums.c: eight bytes for each page.
 *
 *      0  8192   header, in two slots (slots.h), magic "SQLDSUMS", record:
 *                    0   4   version: 1
 *                    4   4   page size
 *                    8   4   pages of the database
 *                   12   4   0
 *                   16   8   as of which transaction
 *                   24   8   on which timeline
 *   8192  8n     checksum of page 1 … n; 0: the lock page, or one that was never set
 *
 * Numbers are big-endian.
 *
 * In memory the checksums are in chunks, which a copy shares until one side changes them. A part of a chunk, as large as
 * a page of the disk's cache, is what is written when something in it has changed. Parts are marked as changed until they
 * are synced: a save that fails is done again by the next one. */
#include "wal/page_sums.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wal/bytes.h"
#include "wal/checksum.h"
#include "wal/slots.h"

enum {
    SUM_BYTES = 8,
    CHUNK_SUMS = 4096,
    PART_SUMS = 512,
    CHUNK_PARTS = CHUNK_SUMS / PART_SUMS,
    SUMS_VERSION = 1,
    RECORD_BYTES = 32,
};

static const char sums_magic[8] = {'S', 'Q', 'L', 'D', 'S', 'U', 'M', 'S'};

struct chunk {
    /* Owners. The last one frees it: it has to see what the others have read, so they count down with release and it
     * with acquire. Counting up needs no order, since who does it has the chunk already. */
    _Atomic uint32_t owner_count;
    uint64_t sums[CHUNK_SUMS];
};

struct page_sums {
    uint32_t page_bytes;
    uint32_t page_count;
    uint64_t database;
    uint64_t sequence;  /* of the header that the file has; 0: it has none of ours */
    size_t chunk_count; /* as many as page_count needs */
    size_t chunk_cap;
    struct chunk **chunks;
    uint8_t *changed; /* of each chunk, a bit for each part that is to be written */
};

static size_t chunks_of(uint32_t page_count)
{
    return ((size_t)page_count + CHUNK_SUMS - 1) / CHUNK_SUMS;
}

static void chunk_free(struct chunk *chunk)
{
    if (atomic_fetch_sub_explicit(&chunk->owner_count, 1, memory_order_acq_rel) == 1)
        free(chunk);
}

static void page_sums_freep(struct page_sums **sums)
{
    page_sums_free(*sums);
}

void page_sums_free(struct page_sums *sums)
{
    if (sums == NULL)
        return;
    for (size_t i = 0; i < sums->chunk_count; i++)
        chunk_free(sums->chunks[i]);
    free(sums->chunks);
    free(sums->changed);
    free(sums);
}

sq_status page_sums_new(uint32_t page_bytes, struct sq_error *err, struct page_sums **ret_sums)
{
    if (page_bytes < LTX_PAGE_BYTES_MIN || page_bytes > LTX_PAGE_BYTES_MAX || (page_bytes & (page_bytes - 1)) != 0)
        return sq_fail(err, SQ_INVALID, "checksums of pages of %" PRIu32 " bytes", page_bytes);
    struct page_sums *sums = calloc(1, sizeof(*sums));
    if (sums == NULL)
        return sq_fail(err, SQ_NOMEM, "checksums of pages");
    sums->page_bytes = page_bytes;
    sums->database = WAL_CHECKSUM_FLAG;
    *ret_sums = sums;
    return SQ_OK;
}

uint32_t page_sums_page_bytes(const struct page_sums *sums)
{
    return sums->page_bytes;
}

uint32_t page_sums_page_count(const struct page_sums *sums)
{
    return sums->page_count;
}

uint64_t page_sums_database(const struct page_sums *sums)
{
    return sums->database;
}

uint64_t page_sums_get(const struct page_sums *sums, uint32_t page_number)
{
    if (page_number == 0 || page_number > sums->page_count)
        return 0;
    return sums->chunks[(page_number - 1) / CHUNK_SUMS]->sums[(page_number - 1) % CHUNK_SUMS];
}

/* --- changing ------------------------------------------------------------------------------------------------------- */

/* Makes the chunk this object's own. */
static sq_status own_chunk(struct page_sums *sums, size_t index, struct sq_error *err)
{
    struct chunk *chunk = sums->chunks[index];
    /* Acquire: what the other owners have read must have been read before it is changed here. */
    if (atomic_load_explicit(&chunk->owner_count, memory_order_acquire) == 1)
        return SQ_OK;
    struct chunk *own = malloc(sizeof(*own));
    if (own == NULL)
        return sq_fail(err, SQ_NOMEM, "checksums of pages");
    memcpy(own->sums, chunk->sums, sizeof(own->sums));
    atomic_init(&own->owner_count, 1);
    chunk_free(chunk);
    sums->chunks[index] = own;
    return SQ_OK;
}

static sq_status reserve_chunks(struct page_sums *sums, size_t count, struct sq_error *err)
{
    if (count <= sums->chunk_cap)
        return SQ_OK;
    size_t cap = sums->chunk_cap * 2 > count ? sums->chunk_cap * 2 : count;
    struct chunk **chunks = realloc(sums->chunks, cap * sizeof(struct chunk *));
    if (chunks == NULL)
        return sq_fail(err, SQ_NOMEM, "checksums of pages");
    sums->chunks = chunks;
    uint8_t *changed = realloc(sums->changed, cap);
    if (changed == NULL)
        return sq_fail(err, SQ_NOMEM, "checksums of pages");
    sums->changed = changed;
    sums->chunk_cap = cap;
    return SQ_OK;
}

/* New chunks, of zeros. Those that were made stay when it fails. */
static sq_status add_chunks(struct page_sums *sums, size_t count, struct sq_error *err)
{
    SQ_TRY(reserve_chunks(sums, count, err));
    while (sums->chunk_count < count) {
        struct chunk *chunk = calloc(1, sizeof(*chunk));
        if (chunk == NULL)
            return sq_fail(err, SQ_NOMEM, "checksums of pages");
        atomic_init(&chunk->owner_count, 1);
        sums->chunks[sums->chunk_count] = chunk;
        sums->changed[sums->chunk_count++] = 0;
    }
    return SQ_OK;
}

static void drop_chunks(struct page_sums *sums, size_t count)
{
    while (sums->chunk_count > count)
        chunk_free(sums->chunks[--sums->chunk_count]);
}

static void mark_changed(struct page_sums *sums, uint32_t index)
{
    sums->changed[index / CHUNK_SUMS] |= (uint8_t)(1u << (index % CHUNK_SUMS / PART_SUMS));
}

/* The file may have anything behind its present end: what is new is written, though it is 0. */
static void mark_range(struct page_sums *sums, uint32_t begin, uint32_t end)
{
    for (uint64_t index = begin; index < end; index += PART_SUMS - index % PART_SUMS)
        mark_changed(sums, (uint32_t)index);
}

static sq_status grow(struct page_sums *sums, uint32_t page_count, struct sq_error *err)
{
    sq_status status = add_chunks(sums, chunks_of(page_count), err);
    if (status != SQ_OK) {
        drop_chunks(sums, chunks_of(sums->page_count));
        return status;
    }
    mark_range(sums, sums->page_count, page_count);
    sums->page_count = page_count;
    return SQ_OK;
}

/* What is behind the end is 0 in memory, always. */
static sq_status shrink(struct page_sums *sums, uint32_t page_count, struct sq_error *err)
{
    size_t chunk_count = chunks_of(page_count);
    uint32_t kept = page_count % CHUNK_SUMS;
    if (kept != 0)
        SQ_TRY(own_chunk(sums, chunk_count - 1, err));
    for (uint32_t index = page_count; index < sums->page_count; index++)
        sums->database ^= sums->chunks[index / CHUNK_SUMS]->sums[index % CHUNK_SUMS];
    sums->database |= WAL_CHECKSUM_FLAG;
    drop_chunks(sums, chunk_count);
    if (kept != 0)
        memset(sums->chunks[chunk_count - 1]->sums + kept, 0, (CHUNK_SUMS - kept) * sizeof(uint64_t));
    sums->page_count = page_count;
    return SQ_OK;
}

sq_status page_sums_resize(struct page_sums *sums, uint32_t page_count, struct sq_error *err)
{
    if (page_count == sums->page_count)
        return SQ_OK;
    return page_count > sums->page_count ? grow(sums, page_count, err) : shrink(sums, page_count, err);
}

sq_status page_sums_set(struct page_sums *sums, uint32_t page_number, uint64_t checksum, struct sq_error *err)
{
    sq_assert(page_number > 0);
    sq_assert(checksum == 0 || (checksum & WAL_CHECKSUM_FLAG) != 0);
    sq_assert(checksum == 0 || page_number != wal_lock_page(sums->page_bytes));
    uint32_t before = sums->page_count, index = page_number - 1;
    if (page_number > before)
        SQ_TRY(grow(sums, page_number, err));
    sq_status status = own_chunk(sums, index / CHUNK_SUMS, err);
    if (status != SQ_OK) {
        /* Only a chunk that was there before can be shared: nothing has grown but by pages of it, which are 0. */
        sums->page_count = before;
        return status;
    }
    uint64_t *sum = &sums->chunks[index / CHUNK_SUMS]->sums[index % CHUNK_SUMS];
    sums->database = wal_checksum_exchange(sums->database, *sum, checksum);
    *sum = checksum;
    mark_changed(sums, index);
    return SQ_OK;
}

sq_status page_sums_copy(const struct page_sums *sums, struct sq_error *err, struct page_sums **ret_copy)
{
    SQ_CLEANUP(page_sums_freep) struct page_sums *copy = NULL;
    SQ_TRY(page_sums_new(sums->page_bytes, err, &copy));
    SQ_TRY(reserve_chunks(copy, sums->chunk_count, err));
    for (size_t i = 0; i < sums->chunk_count; i++) {
        atomic_fetch_add_explicit(&sums->chunks[i]->owner_count, 1, memory_order_relaxed);
        copy->chunks[i] = sums->chunks[i];
        copy->changed[i] = UINT8_MAX;
    }
    copy->chunk_count = sums->chunk_count;
    copy->page_count = sums->page_count;
    copy->database = sums->database;
    *ret_copy = SQ_STEAL(copy);
    return SQ_OK;
}

/* --- the file ------------------------------------------------------------------------------------------------------- */

static uint64_t part_offset(size_t chunk, unsigned part)
{
    return WAL_SLOTS_BYTES + (chunk * CHUNK_SUMS + (size_t)part * PART_SUMS) * SUM_BYTES;
}

/* Without what is behind the last page. */
static size_t part_length(const struct page_sums *sums, size_t chunk, unsigned part)
{
    size_t begin = chunk * CHUNK_SUMS + (size_t)part * PART_SUMS;
    if (begin >= sums->page_count)
        return 0;
    return sums->page_count - begin < PART_SUMS ? sums->page_count - begin : PART_SUMS;
}

static sq_status write_changed(const struct page_sums *sums, int fd, struct sq_error *err)
{
    for (size_t i = 0; i < sums->chunk_count; i++) {
        for (unsigned part = 0; part < CHUNK_PARTS; part++) {
            size_t length = part_length(sums, i, part);
            if ((sums->changed[i] >> part & 1) == 0 || length == 0)
                continue;
            uint8_t bytes[PART_SUMS * SUM_BYTES];
            const uint64_t *from = sums->chunks[i]->sums + (size_t)part * PART_SUMS;
            for (size_t k = 0; k < length; k++)
                wal_put_u64(bytes + k * SUM_BYTES, from[k]);
            SQ_TRY(wal_write_at(fd, part_offset(i, part), bytes, length * SUM_BYTES, err));
        }
    }
    if (fdatasync(fd) != 0)
        return sq_fail_errno(err, errno, "cannot sync the checksums of pages");
    return SQ_OK;
}

static sq_status write_header(struct page_sums *sums, int fd, ltx_txid txid, uint64_t timeline, struct sq_error *err)
{
    uint8_t record[RECORD_BYTES] = {0};
    wal_put_u32(record, SUMS_VERSION);
    wal_put_u32(record + 4, sums->page_bytes);
    wal_put_u32(record + 8, sums->page_count);
    wal_put_u64(record + 16, txid);
    wal_put_u64(record + 24, timeline);
    SQ_TRY(wal_slots_write(fd, sums_magic, sums->sequence + 1, record, sizeof(record), err));
    if (fdatasync(fd) != 0)
        return sq_fail_errno(err, errno, "cannot sync the checksums of pages");
    sums->sequence++;
    return SQ_OK;
}

/* Into a file that is already this object's. */
static sq_status save_in_place(struct page_sums *sums, int fd, ltx_txid txid, uint64_t timeline, struct sq_error *err)
{
    SQ_TRY(write_changed(sums, fd, err));
    if (sums->chunk_count > 0)
        memset(sums->changed, 0, sums->chunk_count);
    return write_header(sums, fd, txid, timeline, err);
}

/* The directory that the file is in, so that its name is there after a crash. */
static sq_status sync_parent(const char *path, struct sq_error *err)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (parent == NULL)
        return sq_fail(err, SQ_NOMEM, "path of '%s'", path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sq_status status = SQ_OK;
    if (fd < 0 || fsync(fd) != 0)
        status = sq_fail_errno(err, errno, "cannot sync the directory '%s'", parent);
    if (fd >= 0)
        (void)close(fd);
    free(parent);
    return status;
}

static sq_status write_whole(struct page_sums *sums, const char *path, ltx_txid txid, uint64_t timeline,
                             struct sq_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot make '%s'", path);
    if (sums->chunk_count > 0)
        memset(sums->changed, UINT8_MAX, sums->chunk_count);
    sums->sequence = 0;
    sq_status status = save_in_place(sums, fd, txid, timeline, err);
    (void)close(fd);
    return status;
}

/* Under another name until it is whole: what a file of that name has now may be of another database altogether. */
static sq_status save_anew(struct page_sums *sums, const char *path, ltx_txid txid, uint64_t timeline,
                           struct sq_error *err)
{
    char new_path[PATH_MAX];
    int length = snprintf(new_path, sizeof(new_path), "%s.tmp", path);
    if (length < 0 || (size_t)length >= sizeof(new_path))
        return sq_fail(err, SQ_LIMIT, "the path '%s' is too long", path);
    sq_status status = write_whole(sums, new_path, txid, timeline, err);
    if (status == SQ_OK && rename(new_path, path) != 0)
        status = sq_fail_errno(err, errno, "cannot make '%s'", path);
    if (status == SQ_OK)
        status = sync_parent(path, err);
    /* Until all of it has succeeded the file is not this object's. */
    if (status != SQ_OK)
        sums->sequence = 0;
    return status;
}

sq_status page_sums_save(struct page_sums *sums, const char *path, ltx_txid txid, uint64_t timeline,
                         struct sq_error *err)
{
    int fd = sums->sequence > 0 ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0 && sums->sequence > 0 && errno != ENOENT)
        return sq_fail_errno(err, errno, "cannot open '%s'", path);
    if (fd < 0)
        return save_anew(sums, path, txid, timeline, err);
    sq_status status = save_in_place(sums, fd, txid, timeline, err);
    (void)close(fd);
    return status;
}

/* All but the last chunk's end must be there. */
static sq_status read_chunk(struct page_sums *sums, int fd, size_t chunk, struct sq_error *err)
{
    for (unsigned part = 0; part < CHUNK_PARTS; part++) {
        size_t count = part_length(sums, chunk, part), length = 0;
        uint8_t bytes[PART_SUMS * SUM_BYTES];
        SQ_TRY(wal_read_at(fd, part_offset(chunk, part), bytes, count * SUM_BYTES, err, &length));
        if (length < count * SUM_BYTES)
            return sq_fail(err, SQ_CORRUPT, "the checksums of pages have become fewer");
        for (size_t i = 0; i < count; i++) {
            uint64_t sum = wal_get_u64(bytes + i * SUM_BYTES);
            size_t index = chunk * CHUNK_SUMS + (size_t)part * PART_SUMS + i;
            if (sum != 0 && ((sum & WAL_CHECKSUM_FLAG) == 0 || index + 1 == wal_lock_page(sums->page_bytes)))
                return sq_fail(err, SQ_CORRUPT, "page %zu has the checksum %016" PRIx64, index + 1, sum);
            sums->chunks[chunk]->sums[index % CHUNK_SUMS] = sum;
            sums->database = wal_checksum_exchange(sums->database, 0, sum);
        }
    }
    return SQ_OK;
}

static sq_status load(int fd, struct sq_error *err, struct page_sums **ret_sums, ltx_txid *ret_txid,
                      uint64_t *ret_timeline)
{
    uint8_t record[RECORD_BYTES];
    uint64_t sequence = 0;
    sq_status status = wal_slots_read(fd, sums_magic, sizeof(record), err, record, &sequence);
    if (status != SQ_OK)
        return status == SQ_NOT_FOUND ? sq_fail(err, SQ_CORRUPT, "the checksums of pages have no header") : status;
    uint32_t page_count = wal_get_u32(record + 8);
    struct stat facts;
    if (fstat(fd, &facts) != 0)
        return sq_fail_errno(err, errno, "cannot look at the checksums of pages");
    /* An empty database's file ends with a slot. */
    uint64_t needed = page_count > 0 ? WAL_SLOTS_BYTES + (uint64_t)page_count * SUM_BYTES : 0;
    if (wal_get_u32(record) != SUMS_VERSION || (uint64_t)facts.st_size < needed)
        return sq_fail(err, SQ_CORRUPT, "checksums of %" PRIu32 " pages, version %" PRIu32 ", in %lld bytes",
                       page_count, wal_get_u32(record), (long long)facts.st_size);
    SQ_CLEANUP(page_sums_freep) struct page_sums *sums = NULL;
    status = page_sums_new(wal_get_u32(record + 4), err, &sums);
    if (status != SQ_OK)
        return status == SQ_INVALID ? sq_fail(err, SQ_CORRUPT, "checksums of pages of no size") : status;
    SQ_TRY(add_chunks(sums, chunks_of(page_count), err));
    sums->page_count = page_count;
    sums->sequence = sequence;
    for (size_t i = 0; i < sums->chunk_count; i++)
        SQ_TRY(read_chunk(sums, fd, i, err));
    *ret_txid = wal_get_u64(record + 16);
    *ret_timeline = wal_get_u64(record + 24);
    *ret_sums = SQ_STEAL(sums);
    return SQ_OK;
}

sq_status page_sums_open(const char *path, struct sq_error *err, struct page_sums **ret_sums, ltx_txid *ret_txid,
                         uint64_t *ret_timeline)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return sq_fail(err, SQ_NOT_FOUND, "there is no '%s'", path);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot open '%s'", path);
    sq_status status = load(fd, err, ret_sums, ret_txid, ret_timeline);
    (void)close(fd);
    return status;
}
