/* pgwire/decode.c: reading of the lists within messages; see decode_internal.h. The element counts come from the peer:
 * each loop ends when the cursor has failed, so that a count costs no more time than there are bytes. */
#include "pgwire/decode_internal.h"

/* A packed list of integers: an unsigned 16-bit count, then `count` of `element_bytes` each. */
static struct pgwire_bytes get_packed(struct pgwire_cursor *cursor, size_t element_bytes, size_t *ret_count)
{
    size_t count = pgwire_get_u16(cursor);
    struct pgwire_bytes list = {.length = count * element_bytes};
    list.data = pgwire_get_bytes(cursor, list.length);
    if (cursor->is_failed) {
        list.length = 0;
        count = 0;
    }
    *ret_count = count;
    return list;
}

struct pgwire_formats pgwire_get_formats(struct pgwire_cursor *cursor)
{
    struct pgwire_formats formats;
    formats.codes = get_packed(cursor, sizeof(uint16_t), &formats.count);
    return formats;
}

struct pgwire_oids pgwire_get_oids(struct pgwire_cursor *cursor)
{
    struct pgwire_oids oids;
    oids.oids = get_packed(cursor, sizeof(uint32_t), &oids.count);
    return oids;
}

struct pgwire_values pgwire_get_values(struct pgwire_cursor *cursor)
{
    size_t count = pgwire_get_u16(cursor);
    return pgwire_get_values_counted(cursor, count);
}

struct pgwire_values pgwire_get_values_counted(struct pgwire_cursor *cursor, size_t count)
{
    struct pgwire_values values = {.count = count, .cursor = *cursor};
    for (size_t i = 0; i < count && !cursor->is_failed; i++) {
        uint32_t length = pgwire_get_u32(cursor);
        /* -1: NULL, and no bytes follow. Any other negative length is, unsigned, more than a message can hold. */
        if (length != UINT32_MAX)
            pgwire_get_bytes(cursor, length);
    }
    return values;
}

struct pgwire_texts pgwire_get_texts_counted(struct pgwire_cursor *cursor, size_t count)
{
    struct pgwire_texts texts = {.count = count, .cursor = *cursor};
    for (size_t i = 0; i < count && !cursor->is_failed; i++)
        pgwire_get_cstr(cursor);
    return texts;
}

struct pgwire_texts pgwire_get_texts_ended(struct pgwire_cursor *cursor)
{
    struct pgwire_texts texts = {.count = 0, .cursor = *cursor};
    while (pgwire_get_cstr(cursor).length > 0)
        texts.count++;
    return texts;
}

bool pgwire_formats_are_known(const struct pgwire_formats *formats)
{
    for (size_t i = 0; i < formats->count; i++)
        if (!pgwire_format_is_known(pgwire_bytes_u16(&formats->codes, i)))
            return false;
    return true;
}

sq_status pgwire_decode_end(const struct pgwire_cursor *cursor, const char *name, struct sq_error *err)
{
    if (cursor->is_failed)
        return sq_fail(err, SQ_PROTOCOL, "invalid %s message: a text, count or length in it reaches behind its end",
                       name);
    if (cursor->left > 0)
        return sq_fail(err, SQ_PROTOCOL, "invalid %s message: %zu bytes too long", name, cursor->left);
    return SQ_OK;
}
