/* wal/wal_index.c: the wal-index, SQLite's shared memory beside a WAL (sqlite.org/walformat.html, "The WAL-Index File
 * Format"): how far the WAL reaches, and in which frame a page is.
 *
 * Regions of 32,768 bytes, integers in native byte order:
 *
 *     offset  bytes   first region                              others
 *     0       48      header, first copy                        page numbers of 4,096 frames (16,384 bytes)
 *     48      48      header, second copy
 *     96      4       nBackfill: frames copied to the file
 *     100     5 × 4   read marks
 *     120     8       the bytes that locks are taken on
 *     128     4       nBackfillAttempted
 *     132     4       –
 *     136     16,248  page numbers of 4,062 frames
 *     16384   16,384  hash table: 8,192 slots of 2 bytes        hash table
 *
 *     header  0   4   version, 3007000                          24  8   aFrameCksum, checksum of the last frame
 *             4   4   –                                         32  8   aSalt, as they stand in the WAL
 *             8   4   iChange, one more with each commit        40  8   aCksum, checksum of bytes 0 … 39
 *             12  1   isInit, 1
 *             13  1   bigEndCksum: checksums of the WAL's frames are over big-endian words
 *             14  2   szPage, 1: 65536
 *             16  4   mxFrame, frames that are committed
 *             20  4   nPage, pages of the database
 *
 * A slot holds the number, from 1, of an entry of the page numbers before it; 0: free. A page is looked for from slot
 * (page × 383) mod 8192 on to the first free one; of the entries that are found the last that is not beyond the reader's snapshot
 * counts. Entries are only added, behind all others, by who has the write lock; readers of older snapshots pass over them.
 *
 * A writer that did not commit leaves entries beyond mxFrame: forgotten by itself, or, if it has died, by the next one
 * that finds the place of its entry taken. A table that begins beyond mxFrame is cleared with its first entry.
 *
 * A writer writes the second copy of the header, then the first; readers read the other way round: two equal copies with a
 * right checksum are what one writer meant. Anything else that stays is repaired by SQLite's recovery.
 *
 * Other processes write here too. Nothing that is read is trusted to be within bounds. */
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "wal/wal_internal.h"

enum {
    REGION_BYTES = 32 * 1024,
    TABLE_ENTRIES = 4096,
    FIRST_TABLE_ENTRIES = 4062,
    TABLE_SLOTS = 2 * TABLE_ENTRIES,
    HASH_FACTOR = 383,
    HEADER_WORDS = sizeof(struct wal_index_header) / sizeof(uint32_t),
    /* Words of the first region. */
    WORD_BACKFILL = 24,
    WORD_MARKS = 25,
    WORD_BACKFILL_ATTEMPTED = 32,
    WORD_ENTRIES = 34,
    READ_TRIES_MAX = 1000,
    RECOVER_TRIES_MAX = 10,
};
#define MARK_NOT_USED UINT32_MAX
_Static_assert(WORD_ENTRIES + FIRST_TABLE_ENTRIES == TABLE_ENTRIES, "the first region's header and page numbers");
_Static_assert(TABLE_ENTRIES * 4 + TABLE_SLOTS * 2 == REGION_BYTES, "a region");

void wal_sum_add(bool is_big_endian, const void *bytes, size_t length, uint32_t sum[2])
{
    sq_assert(length % (2 * sizeof(uint32_t)) == 0);
    const uint8_t *at = bytes;
    uint32_t first = sum[0];
    uint32_t second = sum[1];
    for (const uint8_t *end = at + length; at < end; at += 2 * sizeof(uint32_t)) {
        uint32_t words[2];
        memcpy(words, at, sizeof(words));
        first += (is_big_endian ? __builtin_bswap32(words[0]) : words[0]) + second;
        second += (is_big_endian ? __builtin_bswap32(words[1]) : words[1]) + first;
    }
    sum[0] = first;
    sum[1] = second;
}

uint32_t wal_page_bytes_of(uint16_t code)
{
    uint32_t bytes = code == 1 ? WAL_PAGE_BYTES_MAX : code;
    return bytes >= WAL_PAGE_BYTES_MIN && (bytes & (bytes - 1)) == 0 ? bytes : 0;
}

/* --- Regions and locks -------------------------------------------------------------------------------------------- */

int wal_lock(struct wal_file *file, int lock, int count)
{
    return file->database->pMethods->xShmLock(file->database, lock, count, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
}

void wal_unlock(struct wal_file *file, int lock, int count)
{
    int result =
        file->database->pMethods->xShmLock(file->database, lock, count, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
    sq_assert(result == SQLITE_OK);
}

static sq_status make_room(struct wal_file *file, size_t region, struct sq_error *err)
{
    if (region < file->region_count)
        return SQ_OK;
    size_t count = region + 1 > 2 * file->region_count ? region + 1 : 2 * file->region_count;
    void *regions = reallocarray(file->regions, count, sizeof(file->regions[0]));
    if (regions == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a wal-index");
    file->regions = regions;
    while (file->region_count < count)
        file->regions[file->region_count++] = NULL;
    return SQ_OK;
}

static sq_status map_region(struct wal_file *file, size_t region, bool is_growing, struct sq_error *err)
{
    if (SQ_LIKELY(region < file->region_count && file->regions[region] != NULL))
        return SQ_OK;
    SQ_TRY(make_room(file, region, err));
    void volatile *mapped = NULL;
    int result = file->database->pMethods->xShmMap(file->database, (int)region, REGION_BYTES, is_growing, &mapped);
    if (result != SQLITE_OK)
        return wal_fail(err, result, "map the index of the write-ahead log");
    if (mapped == NULL)
        return sq_fail(err, SQ_CORRUPT, "the index of the write-ahead log is too short");
    file->regions[region] = mapped;
    return SQ_OK;
}

/* --- The header --------------------------------------------------------------------------------------------------- */

static void read_copy(struct wal_file *file, size_t copy, struct wal_index_header *header)
{
    uint32_t words[HEADER_WORDS];
    for (size_t i = 0; i < HEADER_WORDS; i++)
        words[i] = atomic_load_explicit(&file->regions[0][copy * HEADER_WORDS + i], memory_order_acquire);
    memcpy(header, words, sizeof(words));
}

static void write_copy(struct wal_file *file, size_t copy, const struct wal_index_header *header)
{
    uint32_t words[HEADER_WORDS];
    memcpy(words, header, sizeof(words));
    for (size_t i = 0; i < HEADER_WORDS; i++)
        atomic_store_explicit(&file->regions[0][copy * HEADER_WORDS + i], words[i], memory_order_release);
}

static void sum_header(const struct wal_index_header *header, uint32_t sum[2])
{
    sum[0] = sum[1] = 0;
    wal_sum_add(false, header, offsetof(struct wal_index_header, sum), sum);
}

static bool try_read(struct wal_file *file, struct wal_index_header *ret_header)
{
    struct wal_index_header first;
    struct wal_index_header second;
    uint32_t sum[2];
    read_copy(file, 0, &first);
    file->database->pMethods->xShmBarrier(file->database);
    read_copy(file, 1, &second);
    if (memcmp(&first, &second, sizeof(first)) != 0 || first.is_initialised == 0)
        return false;
    sum_header(&first, sum);
    if (sum[0] != first.sum[0] || sum[1] != first.sum[1])
        return false;
    *ret_header = first;
    return true;
}

sq_status wal_index_read(struct wal_file *file, struct sq_error *err, struct wal_index_header *ret_header)
{
    SQ_TRY(map_region(file, 0, false, err));
    struct wal_index_header header;
    int try_count = 0;
    while (SQ_UNLIKELY(!try_read(file, &header))) {
        if (++try_count == READ_TRIES_MAX)
            return sq_fail(err, SQ_BUSY, "the index of the write-ahead log is being written");
        if (try_count > READ_TRIES_MAX / 2)
            sched_yield();
    }
    if (header.version != WAL_VERSION)
        return sq_fail(err, SQ_INVALID, "the write-ahead log has an index of an unknown version, %u", header.version);
    if (header.frame_count > WAL_FRAMES_MAX ||
        (header.frame_count > 0 && (wal_page_bytes_of(header.page_bytes_code) == 0 || header.page_count == 0)))
        return sq_fail(err, SQ_CORRUPT, "the index of the write-ahead log contradicts itself");
    *ret_header = header;
    return SQ_OK;
}

sq_status wal_index_read_or_recover(struct wal_file *file, struct sq_error *err, struct wal_index_header *ret_header)
{
    sq_assert(!file->is_appending);
    for (int try_count = 0;; try_count++) {
        sq_status status = wal_index_read(file, err, ret_header);
        if (status != SQ_BUSY || try_count == RECOVER_TRIES_MAX || file->has_snapshot)
            return status;
        int result = sqlite3_step(file->look);
        sqlite3_reset(file->look);
        if (result != SQLITE_ROW)
            return wal_fail(err, result, "recover the index of the write-ahead log");
    }
}

bool wal_index_is_generation(struct wal_file *file, const struct wal_place *place)
{
    struct wal_index_header header;
    file->database->pMethods->xShmBarrier(file->database);
    read_copy(file, 1, &header);
    struct wal_place now = wal_place_of(&header);
    return now.salt1 == place->salt1 && now.salt2 == place->salt2;
}

void wal_index_publish(struct wal_file *file, struct wal_index_header *header)
{
    header->version = WAL_VERSION;
    header->is_initialised = 1;
    sum_header(header, header->sum);
    write_copy(file, 1, header);
    file->database->pMethods->xShmBarrier(file->database);
    write_copy(file, 0, header);
}

uint32_t wal_index_backfilled(struct wal_file *file)
{
    return atomic_load_explicit(&file->regions[0][WORD_BACKFILL], memory_order_acquire);
}

void wal_index_reset_marks(struct wal_file *file)
{
    volatile _Atomic uint32_t *words = file->regions[0];
    atomic_store_explicit(&words[WORD_BACKFILL], 0, memory_order_release);
    atomic_store_explicit(&words[WORD_BACKFILL_ATTEMPTED], 0, memory_order_release);
    atomic_store_explicit(&words[WORD_MARKS + 1], 0, memory_order_release);
    for (size_t i = 2; i < WAL_READER_COUNT; i++)
        atomic_store_explicit(&words[WORD_MARKS + i], MARK_NOT_USED, memory_order_release);
}

/* --- Hash tables -------------------------------------------------------------------------------------------------- */

struct table {
    volatile _Atomic uint32_t *entries;
    volatile _Atomic uint16_t *slots;
    uint32_t entry_count; /* that there is room for */
    uint32_t frames_before;
};

/* Which region frame `frame` (from 1) is in. */
static size_t region_of(uint32_t frame)
{
    sq_assert(frame > 0);
    return frame <= FIRST_TABLE_ENTRIES ? 0 : 1 + (frame - 1 - FIRST_TABLE_ENTRIES) / TABLE_ENTRIES;
}

static sq_status open_table(struct wal_file *file, size_t region, bool is_growing, struct sq_error *err,
                            struct table *ret_table)
{
    SQ_TRY(map_region(file, region, is_growing, err));
    volatile _Atomic uint32_t *words = file->regions[region];
    ret_table->slots = (volatile _Atomic uint16_t *)&words[TABLE_ENTRIES];
    ret_table->entries = region == 0 ? &words[WORD_ENTRIES] : words;
    ret_table->entry_count = region == 0 ? FIRST_TABLE_ENTRIES : TABLE_ENTRIES;
    ret_table->frames_before = region == 0 ? 0 : FIRST_TABLE_ENTRIES + (uint32_t)(region - 1) * TABLE_ENTRIES;
    return SQ_OK;
}

static uint32_t first_slot(uint32_t page_number)
{
    return page_number * HASH_FACTOR % TABLE_SLOTS;
}

/* Entries from `from` (from 0) on are as if they had never been. Those before it stay where a look finds them: they were there when the
 * later ones were put behind them. */
static void cut_table(const struct table *table, uint32_t from)
{
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        if (atomic_load_explicit(&table->slots[i], memory_order_relaxed) > from)
            atomic_store_explicit(&table->slots[i], 0, memory_order_relaxed);
    }
    for (uint32_t i = from; i < table->entry_count; i++)
        atomic_store_explicit(&table->entries[i], 0, memory_order_relaxed);
}

static sq_status find_in_table(const struct table *table, uint32_t page_number, uint32_t frame_limit,
                               struct sq_error *err, uint32_t *ret_frame)
{
    uint32_t found = 0;
    uint32_t slot = first_slot(page_number);
    for (uint32_t look_count = 0;; look_count++, slot = (slot + 1) % TABLE_SLOTS) {
        uint32_t entry = atomic_load_explicit(&table->slots[slot], memory_order_acquire);
        if (entry == 0)
            break;
        if (look_count == TABLE_SLOTS || entry > table->entry_count)
            return sq_fail(err, SQ_CORRUPT, "the index of the write-ahead log contradicts itself");
        uint32_t frame = table->frames_before + entry;
        if (frame <= frame_limit && frame > found &&
            atomic_load_explicit(&table->entries[entry - 1], memory_order_relaxed) == page_number)
            found = frame;
    }
    *ret_frame = found;
    return SQ_OK;
}

sq_status wal_index_find(struct wal_file *file, uint32_t page_number, uint32_t frame_limit, struct sq_error *err,
                         uint32_t *ret_frame)
{
    uint32_t found = 0;
    size_t region = frame_limit > 0 ? region_of(frame_limit) + 1 : 0;
    while (found == 0 && region > 0) {
        struct table table;
        SQ_TRY(open_table(file, --region, false, err, &table));
        SQ_TRY(find_in_table(&table, page_number, frame_limit, err, &found));
    }
    *ret_frame = found;
    return SQ_OK;
}

sq_status wal_index_put(struct wal_file *file, uint32_t frame, uint32_t page_number, struct sq_error *err)
{
    sq_assert(frame > 0 && page_number > 0);
    if (frame > WAL_FRAMES_MAX)
        return sq_fail(err, SQ_LIMIT, "the write-ahead log has %u frames", frame - 1);
    struct table table;
    SQ_TRY(open_table(file, region_of(frame), true, err, &table));
    uint32_t entry = frame - table.frames_before;
    if (entry == 1 || atomic_load_explicit(&table.entries[entry - 1], memory_order_relaxed) != 0)
        cut_table(&table, entry - 1);
    uint32_t slot = first_slot(page_number);
    for (uint32_t look_count = 0; atomic_load_explicit(&table.slots[slot], memory_order_relaxed) != 0; look_count++) {
        if (look_count == table.entry_count)
            return sq_fail(err, SQ_CORRUPT, "the index of the write-ahead log contradicts itself");
        slot = (slot + 1) % TABLE_SLOTS;
    }
    atomic_store_explicit(&table.entries[entry - 1], page_number, memory_order_relaxed);
    atomic_store_explicit(&table.slots[slot], (uint16_t)entry, memory_order_release);
    return SQ_OK;
}

void wal_index_forget(struct wal_file *file, uint32_t frame_count)
{
    if (frame_count == 0)
        return; /* the first entry clears the table */
    size_t region = region_of(frame_count);
    struct table table;
    if (region < file->region_count && file->regions[region] != NULL &&
        open_table(file, region, false, NULL, &table) == SQ_OK)
        cut_table(&table, frame_count - table.frames_before);
}
