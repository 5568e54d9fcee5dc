/* base/utf8.c: UTF-8 validation after RFC 3629, section 4 (the ABNF of well-formed sequences). */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the well-formed character at `text`, 0 if there is none. */
static size_t character_bytes(const unsigned char *text, size_t length)
{
    unsigned char lead = text[0];
    if (lead < 0x80)
        return 1;

    size_t bytes;
    unsigned char second_min = 0x80;
    unsigned char second_max = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
        bytes = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        bytes = 3;
        if (lead == 0xE0)
            second_min = 0xA0; /* no overlong forms */
        if (lead == 0xED)
            second_max = 0x9F; /* no surrogates */
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        bytes = 4;
        if (lead == 0xF0)
            second_min = 0x90; /* no overlong forms */
        if (lead == 0xF4)
            second_max = 0x8F; /* nothing above U+10FFFF */
    } else {
        return 0;
    }
    if (length < bytes || text[1] < second_min || text[1] > second_max)
        return 0;
    for (size_t i = 2; i < bytes; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    }
    return bytes;
}

size_t sq_utf8_valid_prefix(const char *text, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t at = 0;
    while (at < length) {
        /* Most text is ASCII: eight bytes at a time. */
        while (length - at >= sizeof(uint64_t)) {
            uint64_t word;
            memcpy(&word, bytes + at, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) != 0)
                break;
            at += sizeof(word);
        }
        if (at == length)
            break;
        size_t step = character_bytes(bytes + at, length - at);
        if (step == 0)
            return at;
        at += step;
    }
    return length;
}

size_t sq_utf8_count(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

size_t sq_utf8_cut(const char *text, size_t length)
{
    /* The last lead byte says whether its character is whole. What lies behind `length` is not looked at: it may not be
     * there, or be the NUL that a cut text ends with. Three continuation bytes are the most a character has; more than
     * that is malformed and may be cut anywhere. */
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        unsigned char c = (unsigned char)text[length - back];
        if ((c & 0xC0) == 0x80)
            continue;
        size_t bytes = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
        return bytes > back ? length - back : length;
    }
    return length;
}
