/* pgwire/frame.c: finds the borders of messages; the layouts are in frame.h.
 *
 * Invariants: (1) no byte behind `length` is looked at; (2) what can be refused by the header is refused by the header,
 * so that a peer cannot make us collect a message that would be refused anyway; (3) NEED_MORE always asks for more
 * than there is, so that a caller who reads that much gets on. */
#include "pgwire/frame.h"

#include "pgwire/cursor.h"

_Static_assert(PGWIRE_HEADER_BYTES == 1 + PGWIRE_LENGTH_BYTES_MIN, "a header is a type byte and a length word");

/* PostgreSQL manual, "Message Formats". */
static const char *const frontend_names[UINT8_MAX + 1] = {
    [PGWIRE_BIND] = "Bind",
    [PGWIRE_CLOSE] = "Close",
    [PGWIRE_COPY_DATA] = "CopyData",
    [PGWIRE_COPY_DONE] = "CopyDone",
    [PGWIRE_COPY_FAIL] = "CopyFail",
    [PGWIRE_DESCRIBE] = "Describe",
    [PGWIRE_EXECUTE] = "Execute",
    [PGWIRE_FLUSH] = "Flush",
    [PGWIRE_FUNCTION_CALL] = "FunctionCall",
    [PGWIRE_PARSE] = "Parse",
    [PGWIRE_PASSWORD] = "Password",
    [PGWIRE_QUERY] = "Query",
    [PGWIRE_SYNC] = "Sync",
    [PGWIRE_TERMINATE] = "Terminate",
    [PGWIRE_NATIVE] = "NativeRequest",
    [PGWIRE_NATIVE_CALL] = "NativeCallAnswer",
};

static const char *const backend_names[UINT8_MAX + 1] = {
    [PGWIRE_AUTHENTICATION] = "Authentication",
    [PGWIRE_BACKEND_KEY_DATA] = "BackendKeyData",
    [PGWIRE_BIND_COMPLETE] = "BindComplete",
    [PGWIRE_CLOSE_COMPLETE] = "CloseComplete",
    [PGWIRE_COMMAND_COMPLETE] = "CommandComplete",
    [PGWIRE_COPY_BOTH_RESPONSE] = "CopyBothResponse",
    [PGWIRE_COPY_DATA] = "CopyData",
    [PGWIRE_COPY_DONE] = "CopyDone",
    [PGWIRE_COPY_IN_RESPONSE] = "CopyInResponse",
    [PGWIRE_COPY_OUT_RESPONSE] = "CopyOutResponse",
    [PGWIRE_DATA_ROW] = "DataRow",
    [PGWIRE_EMPTY_QUERY_RESPONSE] = "EmptyQueryResponse",
    [PGWIRE_ERROR_RESPONSE] = "ErrorResponse",
    [PGWIRE_FUNCTION_CALL_RESPONSE] = "FunctionCallResponse",
    [PGWIRE_NEGOTIATE_PROTOCOL_VERSION] = "NegotiateProtocolVersion",
    [PGWIRE_NO_DATA] = "NoData",
    [PGWIRE_NOTICE_RESPONSE] = "NoticeResponse",
    [PGWIRE_NOTIFICATION_RESPONSE] = "NotificationResponse",
    [PGWIRE_PARAMETER_DESCRIPTION] = "ParameterDescription",
    [PGWIRE_PARAMETER_STATUS] = "ParameterStatus",
    [PGWIRE_PARSE_COMPLETE] = "ParseComplete",
    [PGWIRE_PORTAL_SUSPENDED] = "PortalSuspended",
    [PGWIRE_READY_FOR_QUERY] = "ReadyForQuery",
    [PGWIRE_ROW_DESCRIPTION] = "RowDescription",
    [PGWIRE_NATIVE] = "NativeAnswer",
    [PGWIRE_NATIVE_CALL] = "NativeCall",
};

const char *pgwire_frontend_name(uint8_t type)
{
    return frontend_names[type] != NULL ? frontend_names[type] : "unknown";
}

const char *pgwire_backend_name(uint8_t type)
{
    return backend_names[type] != NULL ? backend_names[type] : "unknown";
}

static enum pgwire_frame_result frame_fail_type(uint8_t type, struct sq_error *err)
{
    if (type > ' ' && type < 0x7f)
        sq_fail(err, SQ_PROTOCOL, "unknown message type '%c'", type);
    else
        sq_fail(err, SQ_PROTOCOL, "unknown message type 0x%02x", type);
    return PGWIRE_FRAME_BAD;
}

static enum pgwire_frame_result frame_next(const char *const *names, const uint8_t *bytes, size_t length,
                                           size_t message_bytes_max, struct sq_error *err,
                                           struct pgwire_frame *ret_frame, size_t *ret_bytes_needed)
{
    sq_assert(message_bytes_max >= PGWIRE_HEADER_BYTES);
    sq_assert(bytes != NULL || length == 0);

    struct pgwire_cursor cursor = pgwire_cursor_make(bytes, length);
    uint8_t type = pgwire_get_u8(&cursor);
    if (length > 0 && names[type] == NULL)
        return frame_fail_type(type, err);
    uint32_t body_and_length = pgwire_get_u32(&cursor);
    if (cursor.is_failed) {
        *ret_bytes_needed = PGWIRE_HEADER_BYTES;
        return PGWIRE_FRAME_NEED_MORE;
    }
    if (body_and_length < PGWIRE_LENGTH_BYTES_MIN || body_and_length > INT32_MAX) {
        sq_fail(err, SQ_PROTOCOL, "invalid length %ld of a %s message", (long)(int32_t)body_and_length, names[type]);
        return PGWIRE_FRAME_BAD;
    }
    size_t total_bytes = 1 + (size_t)body_and_length;
    if (total_bytes > message_bytes_max) {
        sq_fail(err, SQ_LIMIT, "a %s message of %zu bytes is above the limit of %zu bytes", names[type], total_bytes,
                message_bytes_max);
        return PGWIRE_FRAME_BAD;
    }
    if (length < total_bytes) {
        *ret_bytes_needed = total_bytes;
        return PGWIRE_FRAME_NEED_MORE;
    }
    size_t body_length = total_bytes - PGWIRE_HEADER_BYTES;
    *ret_frame = (struct pgwire_frame){.type = type,
                                       .body = pgwire_get_bytes(&cursor, body_length),
                                       .body_length = body_length,
                                       .total_bytes = total_bytes};
    sq_assert(!cursor.is_failed);
    return PGWIRE_FRAME_READY;
}

enum pgwire_frame_result pgwire_frame_next(const uint8_t *bytes, size_t length, size_t message_bytes_max,
                                           struct sq_error *err, struct pgwire_frame *ret_frame,
                                           size_t *ret_bytes_needed)
{
    return frame_next(frontend_names, bytes, length, message_bytes_max, err, ret_frame, ret_bytes_needed);
}

enum pgwire_frame_result pgwire_backend_frame_next(const uint8_t *bytes, size_t length, size_t message_bytes_max,
                                                   struct sq_error *err, struct pgwire_frame *ret_frame,
                                                   size_t *ret_bytes_needed)
{
    return frame_next(backend_names, bytes, length, message_bytes_max, err, ret_frame, ret_bytes_needed);
}

/* Other protocols that people point at this port by mistake. Their first four bytes, read as a length, are far above
 * the limit, so that no good packet is taken for one of them. NULL: none that we know. */
static const char *startup_foreign_name(const uint8_t *first)
{
    static const char http_methods[][4] = {
        {'G', 'E', 'T', ' '}, {'H', 'E', 'A', 'D'}, {'P', 'O', 'S', 'T'}, {'P', 'U', 'T', ' '}, {'D', 'E', 'L', 'E'},
        {'O', 'P', 'T', 'I'}, {'P', 'A', 'T', 'C'}, {'C', 'O', 'N', 'N'}, {'T', 'R', 'A', 'C'}, {'P', 'R', 'I', ' '},
    };
    /* RFC 8446, section 5.1: content type 22 (handshake), then the legacy version, 3.x. */
    if (first[0] == 22 && first[1] == 3)
        return "a TLS ClientHello without an SSLRequest before it";
    for (size_t i = 0; i < sizeof(http_methods) / sizeof(http_methods[0]); i++)
        if (memcmp(first, http_methods[i], sizeof(http_methods[i])) == 0)
            return "an HTTP request";
    return NULL;
}

/* Judges the length word, the packet's first four bytes. */
static bool startup_length_is_good(const uint8_t *first, uint32_t total_bytes, struct sq_error *err)
{
    if (total_bytes >= PGWIRE_STARTUP_BYTES_MIN && total_bytes <= PGWIRE_STARTUP_BYTES_MAX)
        return true;
    const char *foreign = startup_foreign_name(first);
    if (foreign != NULL)
        sq_fail(err, SQ_PROTOCOL, "expected a PostgreSQL startup packet, received %s", foreign);
    else
        sq_fail(err, SQ_PROTOCOL, "invalid length %lu of a startup packet", (unsigned long)total_bytes);
    return false;
}

/* Sorts a packet by its code; PostgreSQL manual, "Message Formats": StartupMessage, CancelRequest, SSLRequest,
 * GSSENCRequest. */
static bool startup_kind_of(uint32_t code, uint32_t total_bytes, struct sq_error *err,
                            enum pgwire_startup_kind *ret_kind)
{
    unsigned major = PGWIRE_VERSION_MAJOR(code);
    unsigned minor = PGWIRE_VERSION_MINOR(code);
    bool is_request = code == PGWIRE_SSL_REQUEST_CODE || code == PGWIRE_GSSENC_REQUEST_CODE;
    if (is_request && total_bytes != PGWIRE_STARTUP_BYTES_MIN) {
        sq_fail(err, SQ_PROTOCOL, "invalid length %lu of an encryption request", (unsigned long)total_bytes);
        return false;
    }
    if (major == PGWIRE_VERSION_MAJOR(PGWIRE_VERSION_3_0)) {
        *ret_kind = PGWIRE_STARTUP_MESSAGE;
    } else if (is_request) {
        *ret_kind = code == PGWIRE_SSL_REQUEST_CODE ? PGWIRE_STARTUP_SSL_REQUEST : PGWIRE_STARTUP_GSSENC_REQUEST;
    } else if (code == PGWIRE_CANCEL_REQUEST_CODE) {
        *ret_kind = PGWIRE_STARTUP_CANCEL_REQUEST;
    } else if (major == PGWIRE_VERSION_MAJOR(PGWIRE_CANCEL_REQUEST_CODE)) {
        sq_fail(err, SQ_PROTOCOL, "unknown request code %u.%u", major, minor);
        return false;
    } else {
        sq_fail_sql(err, SQ_PROTOCOL, "0A000", "unsupported frontend protocol %u.%u: this server speaks 3.0", major,
                    minor);
        return false;
    }
    return true;
}

enum pgwire_frame_result pgwire_startup_next(const uint8_t *bytes, size_t length, struct sq_error *err,
                                             struct pgwire_startup_frame *ret_frame, size_t *ret_bytes_needed)
{
    sq_assert(bytes != NULL || length == 0);

    struct pgwire_cursor cursor = pgwire_cursor_make(bytes, length);
    uint32_t total_bytes = pgwire_get_u32(&cursor);
    if (!cursor.is_failed && !startup_length_is_good(bytes, total_bytes, err))
        return PGWIRE_FRAME_BAD;
    uint32_t code = pgwire_get_u32(&cursor);
    if (cursor.is_failed) {
        *ret_bytes_needed = PGWIRE_STARTUP_BYTES_MIN;
        return PGWIRE_FRAME_NEED_MORE;
    }
    enum pgwire_startup_kind kind;
    if (!startup_kind_of(code, total_bytes, err, &kind))
        return PGWIRE_FRAME_BAD;
    if (length < total_bytes) {
        *ret_bytes_needed = total_bytes;
        return PGWIRE_FRAME_NEED_MORE;
    }
    size_t body_length = total_bytes - PGWIRE_STARTUP_BYTES_MIN;
    *ret_frame = (struct pgwire_startup_frame){.kind = kind,
                                               .code = code,
                                               .body = pgwire_get_bytes(&cursor, body_length),
                                               .body_length = body_length,
                                               .total_bytes = total_bytes};
    sq_assert(!cursor.is_failed);
    return PGWIRE_FRAME_READY;
}
