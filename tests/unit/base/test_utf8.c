/* Every length and every boundary of RFC 3629's table, and cutting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* A text in memory of exactly its size, so that a sanitizer sees any byte read behind it. */
static char *exact_copy(const char *text, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, text, length);
    return copy;
}

static size_t valid_prefix(const char *text, size_t length)
{
    char *copy = exact_copy(text, length);
    size_t prefix = sq_utf8_valid_prefix(copy, length);
    free(copy);
    return prefix;
}

/* The bytes of a code point by the definition, surrogates and numbers too large included. */
static size_t encode(uint32_t point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t bytes = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = bytes - 1; i > 0; i--, point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3F));
    out[0] = (char)(leads[bytes] | point);
    return bytes;
}

static void every_code_point_but_surrogates_is_valid(void **state)
{
    (void)state;
    char text[4];
    for (uint32_t point = 0; point < 0x120000; point++) {
        bool expected = point < 0xD800 || (point > 0xDFFF && point <= 0x10FFFF);
        size_t length = encode(point, text);
        assert_int_equal(sq_utf8_is_valid(text, length), expected);
    }
}

static void malformed_bytes_are_found_where_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t length;
        size_t valid;
    } rows[] = {
        {"", 0, 0},
        {"abc", 3, 3},
        {"a\0b", 3, 3},
        {"\x80", 1, 0},     /* a continuation byte alone */
        {"ab\xC3", 3, 2},   /* cut off */
        {"\xC0\xAF", 2, 0}, /* overlong */
        {"\xC1\xBF", 2, 0},
        {"\xE0\x80\xAF", 3, 0},
        {"\xE0\x9F\xBF", 3, 0},
        {"\xF0\x80\x80\xAF", 4, 0},
        {"\xF0\x8F\xBF\xBF", 4, 0},
        {"\xED\xA0\x80", 3, 0},     /* a surrogate */
        {"\xF4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xF5\x80\x80\x80", 4, 0},
        {"\xFF", 1, 0},
        {"\xE2\x82", 2, 0},
        {"\xE2\x82x", 3, 0},
        {"\xE2(\xA1", 3, 0},
        {"\xF0\x9F\x98", 3, 0},
        {"0123456789abcde\x80", 16, 15}, /* behind the bytes that are looked at eight at a time */
        {"0123456\x80", 8, 7},
        {"01234567\xC3\xA4", 10, 10},
        {"\xC3\xA4"
         "01234567\xC3",
         11, 10},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(valid_prefix(rows[i].text, rows[i].length), rows[i].valid);
}

static void characters_are_counted(void **state)
{
    (void)state;
    assert_int_equal(sq_utf8_count("", 0), 0);
    assert_int_equal(sq_utf8_count("abc", 3), 3);
    assert_int_equal(sq_utf8_count("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", 10), 4);
}

/* "aä€😀z" cut at every length; the NUL or garbage behind the cut must not matter. */
static void a_cut_never_splits_a_character(void **state)
{
    (void)state;
    static const char text[] = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z";
    static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    for (size_t length = 0; length < sizeof(cuts) / sizeof(cuts[0]); length++) {
        char *copy = exact_copy(text, length);
        assert_int_equal(sq_utf8_cut(copy, length), cuts[length]);
        free(copy);
        assert_int_equal(sq_utf8_cut(text, length), cuts[length]);
    }
}

static void a_cut_of_malformed_text_stays_near_its_length(void **state)
{
    (void)state;
    assert_int_equal(sq_utf8_cut("\x80\x80\x80\x80\x80", 5), 5);
    assert_int_equal(sq_utf8_cut("\xC3\xC3\xC3", 3), 2);
    assert_int_equal(sq_utf8_cut("\xA4", 1), 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_but_surrogates_is_valid),
        cmocka_unit_test(malformed_bytes_are_found_where_they_are),
        cmocka_unit_test(characters_are_counted),
        cmocka_unit_test(a_cut_never_splits_a_character),
        cmocka_unit_test(a_cut_of_malformed_text_stays_near_its_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
