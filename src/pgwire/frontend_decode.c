/* pgwire/frontend_decode.c: bytes of a client -> typed messages. Layouts: PostgreSQL manual, "Message Formats"; in the
 * tables below str is a text with its NUL, [n] a list with its int16 count, and the frame's header is left out.
 *
 *   StartupMessage        (str name, str value)…, 0
 *   CancelRequest         int32 pid, bytes secret
 *   PasswordMessage       str password
 *   SASLInitialResponse   str mechanism, int32 length or -1, bytes
 *   SASLResponse          bytes
 *   Query                 str query
 *   Parse                 str statement, str query, [n] int32 type
 *   Bind                  str portal, str statement, [n] int16 format, [n] (int32 length or -1, bytes),
 *                         [n] int16 result format
 *   Describe, Close       byte 'S' or 'P', str name
 *   Execute               str portal, int32 rows
 *   CopyFail              str reason
 *   FunctionCall          int32 function, [n] int16 format, [n] (int32 length or -1, bytes), int16 format
 *   Flush, Sync, Terminate, CopyDone: nothing
 *
 * Pattern of a decoder: read everything, ask the cursor once, then judge the values, then hand the result over. */
#include "pgwire/decode_internal.h"
#include "pgwire/frontend.h"

sq_status pgwire_startup_decode(const struct pgwire_startup_frame *frame, struct sq_error *err,
                                struct pgwire_startup *ret_startup)
{
    sq_assert(frame->kind == PGWIRE_STARTUP_MESSAGE);
    struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, frame->body_length);
    struct pgwire_startup startup = {.version = frame->code, .parameters = {.count = 0, .cursor = cursor}};
    for (;;) {
        struct pgwire_text name = pgwire_get_cstr(&cursor);
        if (name.length == 0)
            break;
        pgwire_get_cstr(&cursor);
        startup.parameters.count++;
        if (pgwire_parameter_is_option(&name))
            startup.option_count++;
    }
    SQ_TRY(pgwire_decode_end(&cursor, "Startup", err));
    *ret_startup = startup;
    return SQ_OK;
}

bool pgwire_parameters_next(struct pgwire_parameters *parameters, struct pgwire_text *ret_name,
                            struct pgwire_text *ret_value)
{
    if (parameters->count == 0)
        return false;
    parameters->count--;
    *ret_name = pgwire_get_cstr(&parameters->cursor);
    *ret_value = pgwire_get_cstr(&parameters->cursor);
    sq_assert(!parameters->cursor.is_failed);
    return true;
}

bool pgwire_parameters_find(const struct pgwire_parameters *parameters, const char *name, struct pgwire_text *ret_value)
{
    struct pgwire_parameters rest = *parameters;
    struct pgwire_text found_name;
    struct pgwire_text found_value;
    bool is_found = false;
    while (pgwire_parameters_next(&rest, &found_name, &found_value)) {
        sq_assert(found_name.data != NULL);
        if (strcmp(found_name.data, name) == 0) {
            *ret_value = found_value;
            is_found = true;
        }
    }
    return is_found;
}

bool pgwire_parameter_is_option(const struct pgwire_text *name)
{
    sq_assert(name->data != NULL);
    return strncmp(name->data, PGWIRE_OPTION_PREFIX, sizeof(PGWIRE_OPTION_PREFIX) - 1) == 0;
}

sq_status pgwire_cancel_decode(const struct pgwire_startup_frame *frame, struct sq_error *err,
                               struct pgwire_cancel *ret_cancel)
{
    sq_assert(frame->kind == PGWIRE_STARTUP_CANCEL_REQUEST);
    struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, frame->body_length);
    struct pgwire_cancel cancel;
    cancel.pid = pgwire_get_u32(&cursor);
    cancel.secret = pgwire_get_rest(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, "CancelRequest", err));
    if (cancel.secret.length < PGWIRE_SECRET_BYTES_MIN || cancel.secret.length > PGWIRE_SECRET_BYTES_MAX)
        return sq_fail(err, SQ_PROTOCOL, "invalid CancelRequest message: a secret of %zu bytes", cancel.secret.length);
    *ret_cancel = cancel;
    return SQ_OK;
}

sq_status pgwire_password_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                 struct pgwire_password *ret_password)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_PASSWORD);
    struct pgwire_password password = {.password = pgwire_get_cstr(&cursor)};
    SQ_TRY(pgwire_decode_end(&cursor, "Password", err));
    *ret_password = password;
    return SQ_OK;
}

sq_status pgwire_sasl_initial_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                     struct pgwire_sasl_initial *ret_initial)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_PASSWORD);
    struct pgwire_sasl_initial initial = {.mechanism = pgwire_get_cstr(&cursor)};
    uint32_t length = pgwire_get_u32(&cursor);
    initial.has_response = length != UINT32_MAX;
    if (initial.has_response) {
        initial.response.data = pgwire_get_bytes(&cursor, length);
        initial.response.length = length;
    }
    SQ_TRY(pgwire_decode_end(&cursor, "SASLInitialResponse", err));
    *ret_initial = initial;
    return SQ_OK;
}

struct pgwire_bytes pgwire_sasl_response_decode(const struct pgwire_frame *frame)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_PASSWORD);
    return pgwire_get_rest(&cursor);
}

sq_status pgwire_query_decode(const struct pgwire_frame *frame, struct sq_error *err, struct pgwire_query *ret_query)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_QUERY);
    struct pgwire_query query = {.text = pgwire_get_cstr(&cursor)};
    SQ_TRY(pgwire_decode_end(&cursor, "Query", err));
    *ret_query = query;
    return SQ_OK;
}

sq_status pgwire_parse_decode(const struct pgwire_frame *frame, struct sq_error *err, struct pgwire_parse *ret_parse)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_PARSE);
    struct pgwire_parse parse;
    parse.name = pgwire_get_cstr(&cursor);
    parse.query = pgwire_get_cstr(&cursor);
    parse.types = pgwire_get_oids(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, "Parse", err));
    *ret_parse = parse;
    return SQ_OK;
}

sq_status pgwire_bind_decode(const struct pgwire_frame *frame, struct sq_error *err, struct pgwire_bind *ret_bind)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_BIND);
    struct pgwire_bind bind;
    bind.portal = pgwire_get_cstr(&cursor);
    bind.statement = pgwire_get_cstr(&cursor);
    bind.parameter_formats = pgwire_get_formats(&cursor);
    bind.parameters = pgwire_get_values(&cursor);
    bind.result_formats = pgwire_get_formats(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, "Bind", err));
    if (!pgwire_formats_fit(&bind.parameter_formats, bind.parameters.count))
        return sq_fail(err, SQ_PROTOCOL, "invalid Bind message: %zu parameter formats for %zu parameters",
                       bind.parameter_formats.count, bind.parameters.count);
    if (!pgwire_formats_are_known(&bind.parameter_formats) || !pgwire_formats_are_known(&bind.result_formats))
        return sq_fail(err, SQ_INVALID, "a format code in a Bind message is neither 0 (text) nor 1 (binary)");
    *ret_bind = bind;
    return SQ_OK;
}

sq_status pgwire_bind_check_results(const struct pgwire_bind *bind, size_t column_count, struct sq_error *err)
{
    if (!pgwire_formats_fit(&bind->result_formats, column_count))
        return sq_fail(err, SQ_PROTOCOL, "bind message has %zu result formats but query has %zu columns",
                       bind->result_formats.count, column_count);
    return SQ_OK;
}

/* Describe and Close look alike. */
static sq_status decode_target(const struct pgwire_frame *frame, const char *message_name, struct sq_error *err,
                               uint8_t *ret_kind, struct pgwire_text *ret_name)
{
    struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, frame->body_length);
    uint8_t kind = pgwire_get_u8(&cursor);
    struct pgwire_text name = pgwire_get_cstr(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, message_name, err));
    if (kind != PGWIRE_TARGET_STATEMENT && kind != PGWIRE_TARGET_PORTAL)
        return sq_fail(err, SQ_PROTOCOL, "invalid %s message: kind 0x%02x is neither a statement's nor a portal's",
                       message_name, kind);
    *ret_kind = kind;
    *ret_name = name;
    return SQ_OK;
}

sq_status pgwire_describe_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                 struct pgwire_describe *ret_describe)
{
    sq_assert(frame->type == PGWIRE_DESCRIBE);
    return decode_target(frame, "Describe", err, &ret_describe->kind, &ret_describe->name);
}

sq_status pgwire_close_decode(const struct pgwire_frame *frame, struct sq_error *err, struct pgwire_close *ret_close)
{
    sq_assert(frame->type == PGWIRE_CLOSE);
    return decode_target(frame, "Close", err, &ret_close->kind, &ret_close->name);
}

sq_status pgwire_execute_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                struct pgwire_execute *ret_execute)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_EXECUTE);
    struct pgwire_execute execute;
    execute.portal = pgwire_get_cstr(&cursor);
    execute.row_limit = pgwire_get_u32(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, "Execute", err));
    /* The manual says "zero denotes no limit"; PostgreSQL takes every number below one so. */
    if (execute.row_limit > INT32_MAX)
        execute.row_limit = 0;
    *ret_execute = execute;
    return SQ_OK;
}

sq_status pgwire_copy_fail_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                  struct pgwire_copy_fail *ret_fail)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_COPY_FAIL);
    struct pgwire_copy_fail fail = {.reason = pgwire_get_cstr(&cursor)};
    SQ_TRY(pgwire_decode_end(&cursor, "CopyFail", err));
    *ret_fail = fail;
    return SQ_OK;
}

sq_status pgwire_function_call_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                      struct pgwire_function_call *ret_call)
{
    struct pgwire_cursor cursor = pgwire_body_cursor(frame, PGWIRE_FUNCTION_CALL);
    struct pgwire_function_call call;
    call.function_oid = pgwire_get_u32(&cursor);
    call.argument_formats = pgwire_get_formats(&cursor);
    call.arguments = pgwire_get_values(&cursor);
    call.result_format = pgwire_get_u16(&cursor);
    SQ_TRY(pgwire_decode_end(&cursor, "FunctionCall", err));
    if (!pgwire_formats_fit(&call.argument_formats, call.arguments.count))
        return sq_fail(err, SQ_PROTOCOL, "invalid FunctionCall message: %zu argument formats for %zu arguments",
                       call.argument_formats.count, call.arguments.count);
    if (!pgwire_formats_are_known(&call.argument_formats) || !pgwire_format_is_known(call.result_format))
        return sq_fail(err, SQ_INVALID, "a format code in a FunctionCall message is neither 0 (text) nor 1 (binary)");
    *ret_call = call;
    return SQ_OK;
}

sq_status pgwire_empty_decode(const struct pgwire_frame *frame, struct sq_error *err)
{
    sq_assert(frame->type == PGWIRE_FLUSH || frame->type == PGWIRE_SYNC || frame->type == PGWIRE_TERMINATE ||
              frame->type == PGWIRE_COPY_DONE);
    struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, frame->body_length);
    return pgwire_decode_end(&cursor, pgwire_frontend_name(frame->type), err);
}
