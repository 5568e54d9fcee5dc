/* pgwire/frame.h: where one message ends and the next begins. Looks at the unread bytes of a connection and says
 * whether a whole message is there; what it means is frontend.h's and backend.h's business.
 *
 *   ordinary message                          first packet of a connection (no type byte)
 *   offset  bytes                             offset  bytes
 *   0       1      type                       0       4      length of all, itself included
 *   1       4      length, itself included    4       4      protocol version or request code
 *   5       n      body                       8       n      body
 *
 * Rules: a type or length is refused as soon as its bytes are there, not after the body has been collected; a message
 * longer than the caller's limit is never waited for. After BAD the stream is out of step and the connection must be
 * closed. Nothing is copied: a frame points into the caller's bytes and lives as long as those. */
#ifndef SQ_PGWIRE_FRAME_H
#define SQ_PGWIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "pgwire/protocol.h"

enum pgwire_frame_result {
    PGWIRE_FRAME_NEED_MORE, /* *ret_bytes_needed is set */
    PGWIRE_FRAME_READY,     /* *ret_frame is set */
    PGWIRE_FRAME_BAD,       /* *err is set: answer with it (FATAL) and close */
};

struct pgwire_frame {
    uint8_t type;        /* enum pgwire_frontend_type, _copy_type or _backend_type */
    const uint8_t *body; /* behind the header; never NULL */
    size_t body_length;
    size_t total_bytes; /* header and body: consume so many when done with the frame */
};

/* The next message that a client has sent, out of the `length` unread bytes of its connection.
 * READY: *ret_frame. NEED_MORE: *ret_bytes_needed is how many bytes are needed in all, counted from `bytes` (so more
 * than `length`; never more than `message_bytes_max` or the header). The other results stay untouched.
 * BAD: unknown type, length below 4 or above int32: SQ_PROTOCOL, 08P01; total above `message_bytes_max`: SQ_LIMIT,
 * 54000. */
SQ_MUST_USE enum pgwire_frame_result pgwire_frame_next(const uint8_t *bytes, size_t length, size_t message_bytes_max,
                                                       struct sq_error *err, struct pgwire_frame *ret_frame,
                                                       size_t *ret_bytes_needed);

/* The same for what a server has sent. */
SQ_MUST_USE enum pgwire_frame_result pgwire_backend_frame_next(const uint8_t *bytes, size_t length,
                                                               size_t message_bytes_max, struct sq_error *err,
                                                               struct pgwire_frame *ret_frame,
                                                               size_t *ret_bytes_needed);

enum pgwire_startup_kind {
    PGWIRE_STARTUP_MESSAGE,        /* version 3.x: pgwire_startup_decode() */
    PGWIRE_STARTUP_SSL_REQUEST,    /* answer 'S' or 'N' */
    PGWIRE_STARTUP_GSSENC_REQUEST, /* answer 'G' or 'N' */
    PGWIRE_STARTUP_CANCEL_REQUEST, /* pgwire_cancel_decode() */
};

struct pgwire_startup_frame {
    enum pgwire_startup_kind kind;
    uint32_t code;       /* protocol version or request code */
    const uint8_t *body; /* behind the code; never NULL */
    size_t body_length;
    size_t total_bytes;
};

/* The first packet of a connection, and the one after an SSLRequest or GSSENCRequest.
 * BAD: length below 8 or above PGWIRE_STARTUP_BYTES_MAX, unknown request code, SSLRequest or GSSENCRequest with a
 * body: SQ_PROTOCOL, 08P01; a TLS ClientHello or an HTTP request is named as such. Major version other than 3:
 * SQ_PROTOCOL, 0A000. */
SQ_MUST_USE enum pgwire_frame_result pgwire_startup_next(const uint8_t *bytes, size_t length, struct sq_error *err,
                                                         struct pgwire_startup_frame *ret_frame,
                                                         size_t *ret_bytes_needed);

/* The manual's name of a message ("Bind"), for logs and error texts; "unknown" for a type that does not exist. */
const char *pgwire_frontend_name(uint8_t type);
const char *pgwire_backend_name(uint8_t type);

#endif
