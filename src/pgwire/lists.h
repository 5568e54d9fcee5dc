/* pgwire/lists.h: the lists within messages, as a reader sees them. A decoder has validated every count and length
 * of a list, so that walking it cannot fail. A list is its own iterator; walk a copy:
 *
 *     struct pgwire_values rest = bind.parameters;
 *     for (struct pgwire_value value; pgwire_values_next(&rest, &value);)
 *         …
 *
 * Everything points into the frame's bytes and lives as long as those. */
#ifndef SQ_PGWIRE_LISTS_H
#define SQ_PGWIRE_LISTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pgwire/cursor.h"
#include "pgwire/protocol.h"

/* One value of a Bind, DataRow, FunctionCall or FunctionCallResponse. */
struct pgwire_value {
    bool is_null;
    const uint8_t *data; /* never NULL unless is_null */
    size_t length;
};

struct pgwire_values {
    size_t count; /* values that are still to come */
    struct pgwire_cursor cursor;
};

/* The next value; false at the end. */
static inline bool pgwire_values_next(struct pgwire_values *values, struct pgwire_value *ret_value)
{
    if (values->count == 0)
        return false;
    values->count--;
    uint32_t length = pgwire_get_u32(&values->cursor);
    if (length == UINT32_MAX) {
        *ret_value = (struct pgwire_value){.is_null = true};
    } else {
        const uint8_t *data = pgwire_get_bytes(&values->cursor, length);
        sq_assert(data != NULL);
        *ret_value = (struct pgwire_value){.data = data, .length = length};
    }
    return true;
}

/* Format codes as Bind and FunctionCall give them: none (all text), one for all, or one each. */
struct pgwire_formats {
    size_t count;
    struct pgwire_bytes codes;
};

/* The format of parameter or column `index`. Text for an index that the list does not reach. */
static inline uint16_t pgwire_formats_get(const struct pgwire_formats *formats, size_t index)
{
    if (formats->count == 1)
        index = 0;
    return index < formats->count ? pgwire_bytes_u16(&formats->codes, index) : PGWIRE_FORMAT_TEXT;
}

/* Whether the list may stand for `count` parameters or columns. */
static inline bool pgwire_formats_fit(const struct pgwire_formats *formats, size_t count)
{
    return formats->count <= 1 || formats->count == count;
}

/* Type OIDs, in Parse and ParameterDescription. */
struct pgwire_oids {
    size_t count;
    struct pgwire_bytes oids;
};

static inline uint32_t pgwire_oids_get(const struct pgwire_oids *oids, size_t index)
{
    return pgwire_bytes_u32(&oids->oids, index);
}

/* NUL-terminated texts, one behind the other: SASL mechanisms, unknown protocol options. */
struct pgwire_texts {
    size_t count; /* texts that are still to come */
    struct pgwire_cursor cursor;
};

static inline bool pgwire_texts_next(struct pgwire_texts *texts, struct pgwire_text *ret_text)
{
    if (texts->count == 0)
        return false;
    texts->count--;
    *ret_text = pgwire_get_cstr(&texts->cursor);
    sq_assert(!texts->cursor.is_failed);
    return true;
}

#endif
