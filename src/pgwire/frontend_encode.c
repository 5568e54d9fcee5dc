/* pgwire/frontend_encode.c: typed messages of a client -> bytes; the layouts are in frontend_decode.c. */
#include "pgwire/frontend.h"

/* An untyped packet begins with its length; returns the offset that packet_end() wants. */
static size_t packet_begin(struct sq_buf *buf, uint32_t code)
{
    size_t offset = sq_buf_length(buf);
    sq_buf_put_u32(buf, 0);
    sq_buf_put_u32(buf, code);
    return offset;
}

static void packet_end(struct sq_buf *buf, size_t offset)
{
    if (buf->is_failed)
        return;
    size_t length = sq_buf_length(buf) - offset;
    sq_assert(length >= PGWIRE_STARTUP_BYTES_MIN);
    if (length > PGWIRE_STARTUP_BYTES_MAX)
        pgwire_fail_too_long(buf);
    else
        sq_buf_set_u32(buf, offset, (uint32_t)length);
}

size_t pgwire_put_startup_begin(struct sq_buf *buf, uint32_t version)
{
    return packet_begin(buf, version);
}

void pgwire_put_startup_parameter(struct sq_buf *buf, const char *name, const char *value)
{
    if (name[0] == '\0')
        return;
    sq_buf_put_cstr(buf, name);
    sq_buf_put_cstr(buf, value);
}

void pgwire_put_startup_end(struct sq_buf *buf, size_t offset)
{
    sq_buf_put_u8(buf, 0);
    packet_end(buf, offset);
}

void pgwire_put_ssl_request(struct sq_buf *buf)
{
    packet_end(buf, packet_begin(buf, PGWIRE_SSL_REQUEST_CODE));
}

void pgwire_put_gssenc_request(struct sq_buf *buf)
{
    packet_end(buf, packet_begin(buf, PGWIRE_GSSENC_REQUEST_CODE));
}

void pgwire_put_cancel_request(struct sq_buf *buf, uint32_t pid, const void *secret, size_t secret_length)
{
    sq_assert(secret_length >= PGWIRE_SECRET_BYTES_MIN && secret_length <= PGWIRE_SECRET_BYTES_MAX);
    size_t offset = packet_begin(buf, PGWIRE_CANCEL_REQUEST_CODE);
    sq_buf_put_u32(buf, pid);
    sq_buf_put(buf, secret, secret_length);
    packet_end(buf, offset);
}

/* A message that is one text. */
static void put_text_message(struct sq_buf *buf, uint8_t type, const char *text, size_t length)
{
    size_t offset = pgwire_begin(buf, type);
    pgwire_put_text(buf, text, length);
    pgwire_end(buf, offset);
}

void pgwire_put_password(struct sq_buf *buf, const char *password)
{
    put_text_message(buf, PGWIRE_PASSWORD, password, strlen(password));
}

void pgwire_put_sasl_initial(struct sq_buf *buf, const char *mechanism, const void *response, size_t response_length)
{
    size_t offset = pgwire_begin(buf, PGWIRE_PASSWORD);
    sq_buf_put_cstr(buf, mechanism);
    if (response == NULL)
        pgwire_put_null(buf);
    else
        pgwire_put_value(buf, response, response_length);
    pgwire_end(buf, offset);
}

void pgwire_put_sasl_response(struct sq_buf *buf, const void *response, size_t response_length)
{
    size_t offset = pgwire_begin(buf, PGWIRE_PASSWORD);
    sq_buf_put(buf, response, response_length);
    pgwire_end(buf, offset);
}

void pgwire_put_query(struct sq_buf *buf, const char *query, size_t query_length)
{
    put_text_message(buf, PGWIRE_QUERY, query, query_length);
}

size_t pgwire_put_parse_begin(struct sq_buf *buf, const char *name, const char *query, size_t query_length,
                              size_t type_count)
{
    size_t offset = pgwire_begin(buf, PGWIRE_PARSE);
    sq_buf_put_cstr(buf, name);
    pgwire_put_text(buf, query, query_length);
    pgwire_put_count(buf, type_count);
    return offset;
}

static void put_formats(struct sq_buf *buf, const uint16_t *formats, size_t count)
{
    pgwire_put_count(buf, count);
    for (size_t i = 0; i < count && !buf->is_failed; i++)
        sq_buf_put_u16(buf, formats[i]);
}

size_t pgwire_put_bind_begin(struct sq_buf *buf, const char *portal, const char *statement, const uint16_t *formats,
                             size_t format_count, size_t parameter_count)
{
    sq_assert(format_count <= 1 || format_count == parameter_count);
    size_t offset = pgwire_begin(buf, PGWIRE_BIND);
    sq_buf_put_cstr(buf, portal);
    sq_buf_put_cstr(buf, statement);
    put_formats(buf, formats, format_count);
    pgwire_put_count(buf, parameter_count);
    return offset;
}

void pgwire_put_bind_end(struct sq_buf *buf, size_t offset, const uint16_t *result_formats, size_t format_count)
{
    put_formats(buf, result_formats, format_count);
    pgwire_end(buf, offset);
}

static void put_target(struct sq_buf *buf, uint8_t type, enum pgwire_target kind, const char *name)
{
    sq_assert(kind == PGWIRE_TARGET_STATEMENT || kind == PGWIRE_TARGET_PORTAL);
    size_t offset = pgwire_begin(buf, type);
    sq_buf_put_u8(buf, (uint8_t)kind);
    sq_buf_put_cstr(buf, name);
    pgwire_end(buf, offset);
}

void pgwire_put_describe(struct sq_buf *buf, enum pgwire_target kind, const char *name)
{
    put_target(buf, PGWIRE_DESCRIBE, kind, name);
}

void pgwire_put_close(struct sq_buf *buf, enum pgwire_target kind, const char *name)
{
    put_target(buf, PGWIRE_CLOSE, kind, name);
}

void pgwire_put_execute(struct sq_buf *buf, const char *portal, uint32_t row_limit)
{
    sq_assert(row_limit <= INT32_MAX);
    size_t offset = pgwire_begin(buf, PGWIRE_EXECUTE);
    sq_buf_put_cstr(buf, portal);
    sq_buf_put_u32(buf, row_limit);
    pgwire_end(buf, offset);
}

void pgwire_put_copy_fail(struct sq_buf *buf, const char *reason)
{
    put_text_message(buf, PGWIRE_COPY_FAIL, reason, strlen(reason));
}

size_t pgwire_put_function_call_begin(struct sq_buf *buf, uint32_t function_oid, const uint16_t *formats,
                                      size_t format_count, size_t argument_count)
{
    sq_assert(format_count <= 1 || format_count == argument_count);
    size_t offset = pgwire_begin(buf, PGWIRE_FUNCTION_CALL);
    sq_buf_put_u32(buf, function_oid);
    put_formats(buf, formats, format_count);
    pgwire_put_count(buf, argument_count);
    return offset;
}

void pgwire_put_function_call_end(struct sq_buf *buf, size_t offset, uint16_t result_format)
{
    sq_buf_put_u16(buf, result_format);
    pgwire_end(buf, offset);
}
