/* pgwire/copy.h: the two messages that client and server both send while a COPY runs (PostgreSQL manual, "Message
 * Formats": CopyData, CopyDone).
 *
 *   CopyData  'd'  int32 length  bytes        CopyDone  'c'  int32 4
 *
 * A CopyData is a piece of the stream: its borders mean nothing, a row may begin in one and end in the next. */
#ifndef SQ_PGWIRE_COPY_H
#define SQ_PGWIRE_COPY_H

#include "pgwire/cursor.h"
#include "pgwire/encode.h"
#include "pgwire/frame.h"

/* The bytes of a CopyData frame. Every body is a good one. */
static inline struct pgwire_bytes pgwire_copy_data_decode(const struct pgwire_frame *frame)
{
    sq_assert(frame->type == PGWIRE_COPY_DATA);
    return (struct pgwire_bytes){.data = frame->body, .length = frame->body_length};
}

/* A whole CopyData. To render rows straight into one: pgwire_begin(buf, PGWIRE_COPY_DATA) … pgwire_end(). */
static inline void pgwire_put_copy_data(struct sq_buf *buf, const void *bytes, size_t length)
{
    if (SQ_UNLIKELY(length > INT32_MAX - PGWIRE_LENGTH_BYTES_MIN)) {
        pgwire_fail_too_long(buf);
        return;
    }
    size_t offset = pgwire_begin(buf, PGWIRE_COPY_DATA);
    sq_buf_put(buf, bytes, length);
    pgwire_end(buf, offset);
}

static inline void pgwire_put_copy_done(struct sq_buf *buf)
{
    pgwire_put_empty(buf, PGWIRE_COPY_DONE);
}

#endif
