/* CRC-64/ISO (ISO 3309; the polynomial x^64 + x^4 + x^3 + x + 1, bits reflected, complemented before and after).
 *
 * There are no tables. The polynomial has five terms, so that "times x^64, modulo the polynomial" is three shifts: x^64 is
 * the same as g = x^4 + x^3 + x + 1. Squaring a polynomial over GF(2) only doubles its exponents; x^256 is therefore
 * g^4 = x^16 + x^12 + x^4 + 1, as cheap as g itself. Long input is taken in four lanes, each of every fourth word, whose
 * steps do not wait for each other; at the end the lanes are four words in a row like any others.
 *
 * Reflected: the highest bit of a word is the coefficient of x^0, so multiplying by x shifts to the right, and what
 * falls out on the right has become a multiple of x^64. */
#include "wal/checksum.h"

#include <endian.h>
#include <string.h>

enum { LANES = 4, BLOCK_BYTES = LANES * 8 };

static inline uint64_t load_word(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return le64toh(word);
}

/* What is left of a multiple of x^64 whose factor has no term above x^59. */
static inline uint64_t fold_carry(uint64_t carry)
{
    return carry ^ carry >> 1 ^ carry >> 3 ^ carry >> 4;
}

/* times x^64 */
static inline uint64_t shift_word(uint64_t value)
{
    return value ^ value >> 1 ^ value >> 3 ^ value >> 4 ^ fold_carry(value << 63 ^ value << 61 ^ value << 60);
}

/* times x^256 */
static inline uint64_t shift_block(uint64_t value)
{
    return value ^ value >> 4 ^ value >> 12 ^ value >> 16 ^ fold_carry(value << 60 ^ value << 52 ^ value << 48);
}

/* times x^8, and `byte` more */
static inline uint64_t take_byte(uint64_t crc, uint8_t byte)
{
    return crc >> 8 ^ fold_carry((crc ^ byte) << 56);
}

uint64_t wal_crc64(uint64_t crc, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    crc = ~crc;
    if (length >= (size_t)2 * BLOCK_BYTES) {
        uint64_t lanes[LANES];
        for (size_t i = 0; i < LANES; i++)
            lanes[i] = load_word(at + i * 8);
        lanes[0] ^= crc;
        for (at += BLOCK_BYTES, length -= BLOCK_BYTES; length >= BLOCK_BYTES; at += BLOCK_BYTES, length -= BLOCK_BYTES)
            for (size_t i = 0; i < LANES; i++)
                lanes[i] = shift_block(lanes[i]) ^ load_word(at + i * 8);
        crc = 0;
        for (size_t i = 0; i < LANES; i++)
            crc = shift_word(crc ^ lanes[i]);
    }
    for (; length >= 8; at += 8, length -= 8)
        crc = shift_word(crc ^ load_word(at));
    for (; length > 0; at++, length--)
        crc = take_byte(crc, *at);
    return ~crc;
}

uint64_t wal_page_checksum(uint32_t page_number, const void *page, size_t page_bytes)
{
    uint32_t number = htobe32(page_number);
    return WAL_CHECKSUM_FLAG | wal_crc64(wal_crc64(0, &number, sizeof(number)), page, page_bytes);
}
