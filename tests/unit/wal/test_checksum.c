/* CRC-64/ISO: the published check value, a bit-by-bit model, pieces, and what pages and databases make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "wal/checksum.h"

/* The definition: one bit at a time. */
static uint64_t model(uint64_t crc, const uint8_t *bytes, size_t length)
{
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ UINT64_C(0xd800000000000000) : crc >> 1;
    }
    return ~crc;
}

static void fill(uint8_t *bytes, size_t length, uint64_t seed)
{
    for (size_t i = 0; i < length; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        bytes[i] = (uint8_t)(seed >> 56);
    }
}

static void known_values(void **state)
{
    (void)state;
    assert_int_equal(wal_crc64(0, "", 0), 0);
    assert_int_equal(wal_crc64(0, "123456789", 9), UINT64_C(0xb90956c775a41001));
}

static void every_length_at_every_alignment_is_as_the_definition_says(void **state)
{
    (void)state;
    uint8_t bytes[512];
    fill(bytes, sizeof(bytes), 1);
    for (size_t begin = 0; begin < 9; begin++)
        for (size_t length = 0; length < 300; length++) {
            uint64_t crc = length * UINT64_C(0x123456789abcdef1);
            assert_int_equal(wal_crc64(crc, bytes + begin, length), model(crc, bytes + begin, length));
        }
}

static void pieces_make_the_whole(void **state)
{
    (void)state;
    uint8_t bytes[400];
    fill(bytes, sizeof(bytes), 2);
    uint64_t whole = wal_crc64(0, bytes, sizeof(bytes));
    for (size_t cut = 0; cut <= sizeof(bytes); cut++)
        assert_int_equal(wal_crc64(wal_crc64(0, bytes, cut), bytes + cut, sizeof(bytes) - cut), whole);
}

static void long_input_is_as_the_definition_says(void **state)
{
    (void)state;
    static uint8_t bytes[65536];
    fill(bytes, sizeof(bytes), 3);
    for (size_t length = sizeof(bytes) - 40; length <= sizeof(bytes); length++)
        assert_int_equal(wal_crc64(7, bytes, length), model(7, bytes, length));
}

static void a_page_is_its_number_and_its_content(void **state)
{
    (void)state;
    uint8_t bytes[4 + 4096] = {0x01, 0x02, 0x03, 0x04};
    fill(bytes + 4, 4096, 4);
    uint64_t sum = wal_page_checksum(0x01020304, bytes + 4, 4096);
    assert_int_equal(sum, WAL_CHECKSUM_FLAG | model(0, bytes, sizeof(bytes)));
    assert_int_not_equal(sum, wal_page_checksum(0x01020305, bytes + 4, 4096));
    bytes[100] ^= 1;
    assert_int_not_equal(sum, wal_page_checksum(0x01020304, bytes + 4, 4096));
}

static void a_database_is_the_sum_of_its_pages_in_any_order(void **state)
{
    (void)state;
    uint64_t one = WAL_CHECKSUM_FLAG | 5, two = WAL_CHECKSUM_FLAG | 9, three = WAL_CHECKSUM_FLAG | 77;
    uint64_t database = wal_checksum_exchange(WAL_CHECKSUM_FLAG, 0, one);
    assert_int_equal(database, one);
    uint64_t both = wal_checksum_exchange(database, 0, two);
    assert_int_equal(both, wal_checksum_exchange(wal_checksum_exchange(WAL_CHECKSUM_FLAG, 0, two), 0, one));
    assert_int_equal(wal_checksum_exchange(both, two, three), wal_checksum_exchange(database, 0, three));
    assert_int_equal(wal_checksum_exchange(both, two, 0), database);
    assert_int_equal(wal_checksum_exchange(database, one, 0), WAL_CHECKSUM_FLAG);
}

static void the_lock_page_is_at_one_gigabyte(void **state)
{
    (void)state;
    assert_int_equal(wal_lock_page(512), 2097153);
    assert_int_equal(wal_lock_page(4096), 262145);
    assert_int_equal(wal_lock_page(65536), 16385);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(every_length_at_every_alignment_is_as_the_definition_says),
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(long_input_is_as_the_definition_says),
        cmocka_unit_test(a_page_is_its_number_and_its_content),
        cmocka_unit_test(a_database_is_the_sum_of_its_pages_in_any_order),
        cmocka_unit_test(the_lock_page_is_at_one_gigabyte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
