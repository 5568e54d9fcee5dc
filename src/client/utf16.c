/* client/utf16.c: UTF-8 to UTF-16 and back (RFC 3629, RFC 2781). See utf16.h. */
#include "client/utf16.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { REPLACEMENT = 0xfffd, UNIT_BYTES_MAX = 3 /* of UTF-8 for one unit of UTF-16 */ };

/* The character at `text`, of which at least one byte is left; *ret_bytes: how many it takes. */
static uint32_t utf8_get(const char *text, size_t length, size_t *ret_bytes)
{
    unsigned char first = (unsigned char)text[0];
    size_t bytes = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    *ret_bytes = 1;
    if (bytes > length || !sq_utf8_is_valid(text, bytes))
        return REPLACEMENT;
    *ret_bytes = bytes;
    if (bytes == 1)
        return first;
    uint32_t character = first & (0x7fU >> bytes);
    for (size_t i = 1; i < bytes; i++)
        character = character << 6 | ((unsigned char)text[i] & 0x3fU);
    return character;
}

uint16_t *client_utf16_from_utf8(const char *text)
{
    size_t length = strlen(text), count = 0;
    /* Never more units than bytes. */
    uint16_t *units = calloc(length + 1, sizeof(*units));
    if (units == NULL)
        return NULL;
    for (size_t at = 0, bytes; at < length; at += bytes) {
        uint32_t character = utf8_get(text + at, length - at, &bytes);
        if (character >= 0x10000) {
            character -= 0x10000;
            units[count++] = (uint16_t)(0xd800 + (character >> 10));
            units[count++] = (uint16_t)(0xdc00 + (character & 0x3ff));
        } else {
            units[count++] = (uint16_t)character;
        }
    }
    return units;
}

static size_t utf8_put(char *to, uint32_t character)
{
    if (character < 0x80) {
        to[0] = (char)character;
        return 1;
    }
    size_t bytes = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    for (size_t i = bytes - 1; i > 0; i--, character >>= 6)
        to[i] = (char)(0x80 | (character & 0x3f));
    to[0] = (char)((0xf00U >> bytes) | character);
    return bytes;
}

/* A caller's UTF-16 need not be aligned. */
static uint16_t unit_get(const char *text, size_t index)
{
    uint16_t unit;
    memcpy(&unit, text + index * sizeof(unit), sizeof(unit));
    return unit;
}

char *client_utf16_to_utf8(const void *text)
{
    size_t length = 0, count = 0;
    while (unit_get(text, length) != 0)
        length++;
    char *bytes = malloc(length * UNIT_BYTES_MAX + 1);
    if (bytes == NULL)
        return NULL;
    for (size_t at = 0; at < length; at++) {
        uint32_t character = unit_get(text, at);
        uint32_t low = unit_get(text, at + 1); /* the NUL at the end, at the latest */
        if (character >= 0xd800 && character < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
            character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
            at++;
        } else if (character >= 0xd800 && character < 0xe000) {
            character = REPLACEMENT;
        }
        count += utf8_put(bytes + count, character);
    }
    bytes[count] = '\0';
    return bytes;
}
