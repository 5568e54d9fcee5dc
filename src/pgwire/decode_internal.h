/* pgwire/decode_internal.h: what the decoders of both directions share: readers of the lists in lists.h, which do all
 * of the checking that walking those lists later relies on, and the verdict at a message's end. */
#ifndef SQ_PGWIRE_DECODE_INTERNAL_H
#define SQ_PGWIRE_DECODE_INTERNAL_H

#include "base/status.h"
#include "pgwire/cursor.h"
#include "pgwire/frame.h"
#include "pgwire/lists.h"

/* The body of a frame that the caller has found to be of `type`. */
static inline struct pgwire_cursor pgwire_body_cursor(const struct pgwire_frame *frame, uint8_t type)
{
    sq_assert(frame->type == type);
    return pgwire_cursor_make(frame->body, frame->body_length);
}

/* Each takes its list off the cursor, count first, or fails the cursor. */
struct pgwire_formats pgwire_get_formats(struct pgwire_cursor *cursor);
struct pgwire_oids pgwire_get_oids(struct pgwire_cursor *cursor);
struct pgwire_values pgwire_get_values(struct pgwire_cursor *cursor);
/* `count` values, for messages that have no count of their own. */
struct pgwire_values pgwire_get_values_counted(struct pgwire_cursor *cursor, size_t count);
/* `count` texts. */
struct pgwire_texts pgwire_get_texts_counted(struct pgwire_cursor *cursor, size_t count);
/* Texts up to an empty one, which is taken too. */
struct pgwire_texts pgwire_get_texts_ended(struct pgwire_cursor *cursor);

/* Whether all codes are ones that the manual knows ("Formats and Format Codes"). */
bool pgwire_formats_are_known(const struct pgwire_formats *formats);
static inline bool pgwire_format_is_known(uint16_t format)
{
    return format == PGWIRE_FORMAT_TEXT || format == PGWIRE_FORMAT_BINARY;
}

/* OK if the message called `name` was read to its end and nothing was missing; else the reason. */
SQ_MUST_USE sq_status pgwire_decode_end(const struct pgwire_cursor *cursor, const char *name, struct sq_error *err);

#endif
