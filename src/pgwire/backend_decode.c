/* pgwire/backend_decode.c: bytes of a server -> typed messages. Layouts: PostgreSQL manual, "Message Formats"; in the
 * tables below str is a text with its NUL, [n] a list with its int16 count, and the frame's header is left out.
 *
 *   Authentication…           int32 code; SASL: str mechanism…, 0; SASLContinue, SASLFinal: bytes; MD5: byte4 salt
 *   ParameterStatus           str name, str value
 *   BackendKeyData            int32 pid, bytes secret
 *   NegotiateProtocolVersion  int32 version, int32 n, n str option
 *   ReadyForQuery             byte status
 *   RowDescription            [n] (str name, int32 table, int16 column, int32 type, int16 size, int32 modifier,
 *                             int16 format)
 *   ParameterDescription      [n] int32 type
 *   DataRow                   [n] (int32 length or -1, bytes)
 *   CommandComplete           str tag
 *   FunctionCallResponse      int32 length or -1, bytes
 *   Copy{In,Out,Both}Response byte format, [n] int16 format
 *   NotificationResponse      int32 pid, str channel, str payload
 *   ErrorResponse, NoticeResponse: report.c
 *   BindComplete, CloseComplete, CopyDone, EmptyQueryResponse, NoData, ParseComplete, PortalSuspended: nothing
 *
 * Pattern of a decoder: read everything, ask the cursor once, then judge the values, then hand the result over. */
#include "pgwire/backend.h"
#include "pgwire/decode_internal.h"

enum { MD5_SALT_BYTES = 4 };

/* Whether the code is one whose message ends with it. */
static bool authentication_is_bare(uint32_t code)
{
    return code == PGWIRE_AUTHENTICATION_OK || code == PGWIRE_AUTHENTICATION_KERBEROS_V5 ||
           code == PGWIRE_AUTHENTICATION_CLEARTEXT_PASSWORD || code == PGWIRE_AUTHENTICATION_GSS ||
           code == PGWIRE_AUTHENTICATION_SSPI;
}

sq_status pgwire_authentication_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                       struct pgwire_authentication *ret_authentication)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_AUTHENTICATION);
    struct pgwire_authentication authentication = {.code = pgwire_get_u32(&cursor)};
    if (authentication.code == PGWIRE_AUTHENTICATION_SASL)
        authentication.mechanisms = pgwire_get_texts_ended(&cursor);
    else if (authentication.code == PGWIRE_AUTHENTICATION_MD5_PASSWORD)
        authentication.data = (struct pgwire_bytes){pgwire_get_bytes(&cursor, MD5_SALT_BYTES), MD5_SALT_BYTES};
    else if (!authentication_is_bare(authentication.code))
        authentication.data = pgwire_get_rest(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, "Authentication", err));
    if (authentication.code == PGWIRE_AUTHENTICATION_SASL && authentication.mechanisms.count == 0)
        return sq_fail(err, SQ_PROTOCOL, "invalid AuthenticationSASL message: no mechanism");
    *ret_authentication = authentication;
    return SQ_OK;
}

sq_status pgwire_parameter_status_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                         struct pgwire_parameter_status *ret_parameter)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_PARAMETER_STATUS);
    struct pgwire_parameter_status parameter;
    parameter.name = pgwire_get_cstr(&cursor);
    parameter.value = pgwire_get_cstr(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, "ParameterStatus", err));
    *ret_parameter = parameter;
    return SQ_OK;
}

sq_status pgwire_backend_key_data_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                         struct pgwire_backend_key_data *ret_key)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_BACKEND_KEY_DATA);
    struct pgwire_backend_key_data key;
    key.pid = pgwire_get_u32(&cursor);
    key.secret = pgwire_get_rest(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, "BackendKeyData", err));
    if (key.secret.length < PGWIRE_SECRET_BYTES_MIN || key.secret.length > PGWIRE_SECRET_BYTES_MAX)
        return sq_fail(err, SQ_PROTOCOL, "invalid BackendKeyData message: a secret of %zu bytes", key.secret.length);
    *ret_key = key;
    return SQ_OK;
}

sq_status pgwire_negotiate_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                  struct pgwire_negotiate *ret_negotiate)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_NEGOTIATE_PROTOCOL_VERSION);
    struct pgwire_negotiate negotiate;
    negotiate.version = pgwire_get_u32(&cursor);
    uint32_t option_count = pgwire_get_u32(&cursor);
    negotiate.options = pgwire_get_texts_counted(&cursor, option_count);
    SQ_TRY(pgwire_decode_end(&cursor, "NegotiateProtocolVersion", err));
    *ret_negotiate = negotiate;
    return SQ_OK;
}

sq_status pgwire_ready_decode(const struct pgwire_frame *frame, struct sq_error *err, struct pgwire_ready *ret_ready)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_READY_FOR_QUERY);
    struct pgwire_ready ready = {.status = pgwire_get_u8(&cursor)};
    SQ_TRY(pgwire_decode_end(&cursor, "ReadyForQuery", err));
    if (ready.status != PGWIRE_TRANSACTION_IDLE && ready.status != PGWIRE_TRANSACTION_OPEN &&
        ready.status != PGWIRE_TRANSACTION_FAILED)
        return sq_fail(err, SQ_PROTOCOL, "invalid ReadyForQuery message: unknown transaction status 0x%02x",
                       ready.status);
    *ret_ready = ready;
    return SQ_OK;
}

/* Takes one column's description off the cursor; what it gives after a failure means nothing. */
static struct pgwire_field get_field(struct pgwire_cursor *cursor)
{
    struct pgwire_text name = pgwire_get_cstr(cursor);
    struct pgwire_field field = {.name = name.data, .name_length = name.length};
    field.table_oid = pgwire_get_u32(cursor);
    field.column_attnum = (int16_t)pgwire_get_u16(cursor);
    field.type_oid = pgwire_get_u32(cursor);
    field.type_size = (int16_t)pgwire_get_u16(cursor);
    field.type_modifier = (int32_t)pgwire_get_u32(cursor);
    field.format = pgwire_get_u16(cursor);
    return field;
}

bool pgwire_fields_next(struct pgwire_fields *fields, struct pgwire_field *ret_field)
{
    if (fields->count == 0)
        return false;
    fields->count--;
    *ret_field = get_field(&fields->cursor);
    sq_assert(!fields->cursor.is_failed);
    return true;
}

sq_status pgwire_row_description_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                        struct pgwire_row_description *ret_description)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_ROW_DESCRIPTION);
    size_t count = pgwire_get_u16(&cursor);
    struct pgwire_row_description description = {.fields = {.count = count, .cursor = cursor}};
    bool is_known = true;
    for (size_t i = 0; i < count && !cursor.is_failed; i++)
        is_known = pgwire_format_is_known(get_field(&cursor).format) && is_known;
    SQ_TRY(pgwire_decode_end(&cursor, "RowDescription", err));
    if (!is_known)
        return sq_fail(err, SQ_PROTOCOL, "invalid RowDescription message: unknown format code");
    *ret_description = description;
    return SQ_OK;
}

sq_status pgwire_parameter_description_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                              struct pgwire_parameter_description *ret_description)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_PARAMETER_DESCRIPTION);
    struct pgwire_parameter_description description = {.types = pgwire_get_oids(&cursor)};
    SQ_TRY(pgwire_decode_end(&cursor, "ParameterDescription", err));
    *ret_description = description;
    return SQ_OK;
}

sq_status pgwire_data_row_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                 struct pgwire_data_row *ret_row)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_DATA_ROW);
    struct pgwire_data_row row = {.columns = pgwire_get_values(&cursor)};
    SQ_TRY(pgwire_decode_end(&cursor, "DataRow", err));
    *ret_row = row;
    return SQ_OK;
}

sq_status pgwire_command_complete_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                         struct pgwire_command_complete *ret_complete)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_COMMAND_COMPLETE);
    struct pgwire_command_complete complete = {.tag = pgwire_get_cstr(&cursor)};
    SQ_TRY(pgwire_decode_end(&cursor, "CommandComplete", err));
    *ret_complete = complete;
    return SQ_OK;
}

sq_status pgwire_function_call_response_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                               struct pgwire_function_call_response *ret_response)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_FUNCTION_CALL_RESPONSE);
    struct pgwire_values values = pgwire_get_values_counted(&cursor, 1);
    SQ_TRY(pgwire_decode_end(&cursor, "FunctionCallResponse", err));
    bool has_value = pgwire_values_next(&values, &ret_response->result);
    sq_assert(has_value);
    return SQ_OK;
}

sq_status pgwire_backend_empty_decode(const struct pgwire_frame *frame, struct sq_error *err)
{
    sq_assert(frame->type == PGWIRE_PARSE_COMPLETE || frame->type == PGWIRE_BIND_COMPLETE ||
              frame->type == PGWIRE_CLOSE_COMPLETE || frame->type == PGWIRE_NO_DATA ||
              frame->type == PGWIRE_PORTAL_SUSPENDED || frame->type == PGWIRE_EMPTY_QUERY_RESPONSE ||
              frame->type == PGWIRE_COPY_DONE);
    struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, frame->body_length);
    return pgwire_decode_end(&cursor, pgwire_backend_name(frame->type), err);
}

sq_status pgwire_copy_response_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                      struct pgwire_copy_response *ret_response)
{
    sq_assert(frame->type == PGWIRE_COPY_IN_RESPONSE || frame->type == PGWIRE_COPY_OUT_RESPONSE ||
              frame->type == PGWIRE_COPY_BOTH_RESPONSE);
    const char *name = pgwire_backend_name(frame->type);
    struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, frame->body_length);
    struct pgwire_copy_response response;
    response.format = pgwire_get_u8(&cursor);
    response.columns = pgwire_get_formats(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, name, err));
    if (!pgwire_format_is_known(response.format) || !pgwire_formats_are_known(&response.columns))
        return sq_fail(err, SQ_PROTOCOL, "invalid %s message: unknown format code", name);
    /* A text stream has text columns only (manual, CopyInResponse). */
    for (size_t i = 0; i < response.columns.count && response.format == PGWIRE_FORMAT_TEXT; i++)
        if (pgwire_formats_get(&response.columns, i) != PGWIRE_FORMAT_TEXT)
            return sq_fail(err, SQ_PROTOCOL, "invalid %s message: a binary column in a text stream", name);
    *ret_response = response;
    return SQ_OK;
}

sq_status pgwire_notification_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                     struct pgwire_notification *ret_notification)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_NOTIFICATION_RESPONSE);
    struct pgwire_notification notification;
    notification.pid = pgwire_get_u32(&cursor);
    notification.channel = pgwire_get_cstr(&cursor);
    notification.payload = pgwire_get_cstr(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, "NotificationResponse", err));
    *ret_notification = notification;
    return SQ_OK;
}
