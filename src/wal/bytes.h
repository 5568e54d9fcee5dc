/* wal/bytes.h: big-endian numbers at any address, as the log's files have them. */
#ifndef SQ_WAL_BYTES_H
#define SQ_WAL_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t wal_get_u16(const uint8_t *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof(value));
    return be16toh(value);
}
static inline uint32_t wal_get_u32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return be32toh(value);
}
static inline uint64_t wal_get_u64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return be64toh(value);
}
static inline void wal_put_u16(uint8_t *bytes, uint16_t value)
{
    value = htobe16(value);
    memcpy(bytes, &value, sizeof(value));
}
static inline void wal_put_u32(uint8_t *bytes, uint32_t value)
{
    value = htobe32(value);
    memcpy(bytes, &value, sizeof(value));
}
static inline void wal_put_u64(uint8_t *bytes, uint64_t value)
{
    value = htobe64(value);
    memcpy(bytes, &value, sizeof(value));
}

#endif
