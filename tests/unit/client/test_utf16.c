/* UTF-16 and back: every boundary of the encodings, and what is malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <uchar.h>

#include "client/utf16.h"

static const struct {
    const char *utf8;
    const char16_t *utf16;
} pairs[] = {
    {"", u""},
    {"shop.db", u"shop.db"},
    {"\x7f\xc2\x80\xdf\xbf", u"\x7f\x80\x7ff"},
    {"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", u"\x800\xd7ff\xe000\xffff"},
    {"\xf0\x90\x80\x80z\xf4\x8f\xbf\xbf", u"\xd800\xdc00z\xdbff\xdfff"},
};

static size_t units(const char16_t *text)
{
    size_t count = 0;
    while (text[count] != 0)
        count++;
    return count;
}

static void both_ways_give_the_same_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        uint16_t *utf16 = client_utf16_from_utf8(pairs[i].utf8);
        assert_non_null(utf16);
        assert_memory_equal(utf16, pairs[i].utf16, (units(pairs[i].utf16) + 1) * sizeof(uint16_t));
        char *utf8 = client_utf16_to_utf8(utf16);
        assert_non_null(utf8);
        assert_string_equal(utf8, pairs[i].utf8);
        free(utf16);
        free(utf8);
    }
}

static void malformed_text_becomes_replacement_characters(void **state)
{
    (void)state;
    uint16_t *utf16 = client_utf16_from_utf8("a\xff\xc3z\xe2\x82");
    assert_non_null(utf16);
    assert_memory_equal(utf16, u"a\xfffd\xfffdz\xfffd\xfffd", 7 * sizeof(uint16_t));
    free(utf16);
    /* A high surrogate at the end, a low one alone, two in the wrong order. */
    static const uint16_t lone[] = {'a', 0xdc00, 'b', 0xd800, 'c', 0xdfff, 0xdbff, 0};
    char *utf8 = client_utf16_to_utf8(lone);
    assert_non_null(utf8);
    assert_string_equal(utf8, "a\xef\xbf\xbd"
                              "b\xef\xbf\xbd"
                              "c\xef\xbf\xbd\xef\xbf\xbd");
    free(utf8);
}

static void utf16_need_not_be_aligned(void **state)
{
    (void)state;
    char bytes[1 + sizeof(u"odd")];
    memcpy(bytes + 1, u"odd", sizeof(u"odd"));
    char *utf8 = client_utf16_to_utf8(bytes + 1);
    assert_non_null(utf8);
    assert_string_equal(utf8, "odd");
    free(utf8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_give_the_same_text),
        cmocka_unit_test(malformed_text_becomes_replacement_characters),
        cmocka_unit_test(utf16_need_not_be_aligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
