/* wal/checksum.h: the checksums of the log (LTX, docs/ltx.md): CRC-64/ISO of bytes, of a page, and of a whole database.
 *
 * A page's checksum is the CRC of its number (big-endian, four bytes) and its content; a database's is the exclusive or of
 * all its pages', without the lock page: it can be kept up to date page by page. Both have the highest bit set, so that none is 0.
 *
 * Threads: any. */
#ifndef SQ_WAL_CHECKSUM_H
#define SQ_WAL_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#define WAL_CHECKSUM_FLAG (UINT64_C(1) << 63)

/* Goes on with `crc` (0 at the start). */
uint64_t wal_crc64(uint64_t crc, const void *bytes, size_t length);
/* Of one page, with the flag. */
uint64_t wal_page_checksum(uint32_t page_number, const void *page, size_t page_bytes);
/* The database's checksum after a page's part was `before` (0: the page was not there) and is now `after` (0: it is gone). */
static inline uint64_t wal_checksum_exchange(uint64_t database, uint64_t before, uint64_t after)
{
    return WAL_CHECKSUM_FLAG | (database ^ before ^ after);
}
/* The page that SQLite's locks are in (sqlite.org/fileformat2.html, "The Lock-Byte Page"): it is never written or shipped. */
static inline uint32_t wal_lock_page(uint32_t page_bytes)
{
    return (uint32_t)(0x40000000u / page_bytes) + 1;
}

#endif
