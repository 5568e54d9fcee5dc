/* pgwire/backend_encode.c: typed messages of a server -> bytes; the layouts are in backend_decode.c. The writers that a
 * query needs per row or per statement are inline in backend.h and encode.h. */
#include "pgwire/backend.h"

/* An Authentication message: its code, then bytes. */
static void put_authentication(struct sq_buf *buf, enum pgwire_authentication_code code, const void *data,
                               size_t length)
{
    size_t offset = pgwire_begin(buf, PGWIRE_AUTHENTICATION);
    sq_buf_put_u32(buf, (uint32_t)code);
    sq_buf_put(buf, data, length);
    pgwire_end(buf, offset);
}

void pgwire_put_authentication_ok(struct sq_buf *buf)
{
    put_authentication(buf, PGWIRE_AUTHENTICATION_OK, NULL, 0);
}

void pgwire_put_authentication_cleartext_password(struct sq_buf *buf)
{
    put_authentication(buf, PGWIRE_AUTHENTICATION_CLEARTEXT_PASSWORD, NULL, 0);
}

void pgwire_put_authentication_sasl(struct sq_buf *buf, const char *const *mechanisms, size_t mechanism_count)
{
    size_t offset = pgwire_begin(buf, PGWIRE_AUTHENTICATION);
    sq_buf_put_u32(buf, PGWIRE_AUTHENTICATION_SASL);
    for (size_t i = 0; i < mechanism_count; i++)
        if (mechanisms[i][0] != '\0')
            sq_buf_put_cstr(buf, mechanisms[i]);
    sq_buf_put_u8(buf, 0);
    pgwire_end(buf, offset);
}

void pgwire_put_authentication_sasl_continue(struct sq_buf *buf, const void *data, size_t length)
{
    put_authentication(buf, PGWIRE_AUTHENTICATION_SASL_CONTINUE, data, length);
}

void pgwire_put_authentication_sasl_final(struct sq_buf *buf, const void *data, size_t length)
{
    put_authentication(buf, PGWIRE_AUTHENTICATION_SASL_FINAL, data, length);
}

void pgwire_put_parameter_status(struct sq_buf *buf, const char *name, const char *value)
{
    size_t offset = pgwire_begin(buf, PGWIRE_PARAMETER_STATUS);
    sq_buf_put_cstr(buf, name);
    sq_buf_put_cstr(buf, value);
    pgwire_end(buf, offset);
}

void pgwire_put_backend_key_data(struct sq_buf *buf, uint32_t pid, const void *secret, size_t secret_length)
{
    sq_assert(secret_length >= PGWIRE_SECRET_BYTES_MIN && secret_length <= PGWIRE_SECRET_BYTES_MAX);
    size_t offset = pgwire_begin(buf, PGWIRE_BACKEND_KEY_DATA);
    sq_buf_put_u32(buf, pid);
    sq_buf_put(buf, secret, secret_length);
    pgwire_end(buf, offset);
}

size_t pgwire_put_negotiate_begin(struct sq_buf *buf, uint32_t version, size_t option_count)
{
    size_t offset = pgwire_begin(buf, PGWIRE_NEGOTIATE_PROTOCOL_VERSION);
    sq_buf_put_u32(buf, version);
    if (option_count > INT32_MAX)
        pgwire_fail_too_long(buf);
    else
        sq_buf_put_u32(buf, (uint32_t)option_count);
    return offset;
}

void pgwire_put_negotiate_option(struct sq_buf *buf, const char *name, size_t name_length)
{
    pgwire_put_text(buf, name, name_length);
}

size_t pgwire_put_row_description_begin(struct sq_buf *buf, size_t column_count)
{
    size_t offset = pgwire_begin(buf, PGWIRE_ROW_DESCRIPTION);
    pgwire_put_count(buf, column_count);
    return offset;
}

void pgwire_put_field(struct sq_buf *buf, const struct pgwire_field *field)
{
    pgwire_put_text(buf, field->name, field->name_length);
    sq_buf_put_u32(buf, field->table_oid);
    sq_buf_put_u16(buf, (uint16_t)field->column_attnum);
    sq_buf_put_u32(buf, field->type_oid);
    sq_buf_put_u16(buf, (uint16_t)field->type_size);
    sq_buf_put_u32(buf, (uint32_t)field->type_modifier);
    sq_buf_put_u16(buf, field->format);
}

size_t pgwire_put_parameter_description_begin(struct sq_buf *buf, size_t parameter_count)
{
    size_t offset = pgwire_begin(buf, PGWIRE_PARAMETER_DESCRIPTION);
    pgwire_put_count(buf, parameter_count);
    return offset;
}

void pgwire_put_command_complete_count(struct sq_buf *buf, const char *verb, uint64_t count)
{
    char text[22]; /* a space, 20 digits, NUL */
    size_t start = sizeof(text);
    text[--start] = '\0';
    do {
        text[--start] = (char)('0' + count % 10);
        count /= 10;
    } while (count > 0);
    text[--start] = ' ';

    size_t offset = pgwire_begin(buf, PGWIRE_COMMAND_COMPLETE);
    sq_buf_put_text(buf, verb);
    sq_buf_put(buf, text + start, sizeof(text) - start);
    pgwire_end(buf, offset);
}

static void put_copy_response(struct sq_buf *buf, enum pgwire_backend_type type, uint8_t format, size_t column_count)
{
    sq_assert(format == PGWIRE_FORMAT_TEXT || format == PGWIRE_FORMAT_BINARY);
    size_t offset = pgwire_begin(buf, (uint8_t)type);
    sq_buf_put_u8(buf, format);
    pgwire_put_count(buf, column_count);
    for (size_t i = 0; i < column_count && !buf->is_failed; i++)
        sq_buf_put_u16(buf, format);
    pgwire_end(buf, offset);
}

void pgwire_put_copy_in_response(struct sq_buf *buf, uint8_t format, size_t column_count)
{
    put_copy_response(buf, PGWIRE_COPY_IN_RESPONSE, format, column_count);
}

void pgwire_put_copy_out_response(struct sq_buf *buf, uint8_t format, size_t column_count)
{
    put_copy_response(buf, PGWIRE_COPY_OUT_RESPONSE, format, column_count);
}

void pgwire_put_copy_both_response(struct sq_buf *buf, uint8_t format, size_t column_count)
{
    put_copy_response(buf, PGWIRE_COPY_BOTH_RESPONSE, format, column_count);
}

void pgwire_put_notification(struct sq_buf *buf, uint32_t pid, const char *channel, const char *payload)
{
    size_t offset = pgwire_begin(buf, PGWIRE_NOTIFICATION_RESPONSE);
    sq_buf_put_u32(buf, pid);
    sq_buf_put_cstr(buf, channel);
    sq_buf_put_cstr(buf, payload);
    pgwire_end(buf, offset);
}
