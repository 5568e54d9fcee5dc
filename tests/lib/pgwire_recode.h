/* tests/lib/pgwire_recode.h: decodes a message, walks all of it, and writes what was decoded. Unit tests and the codec
 * fuzzer hold the result against the bytes that went in; every pointer that a decoder hands out is checked to lie
 * within the frame. Works for any bytes: a decoder's refusal is passed on. */
#ifndef SQ_TESTS_PGWIRE_RECODE_H
#define SQ_TESTS_PGWIRE_RECODE_H

#include "pgwire/backend.h"
#include "pgwire/frontend.h"

/* What a frame of type 'p' holds is not written in it. */
enum recode_password {
    RECODE_PASSWORD,
    RECODE_SASL_INITIAL,
    RECODE_SASL_RESPONSE,
    RECODE_PASSWORD_KINDS,
};

static inline void recode_check_bytes(const uint8_t *body, size_t body_length, const void *data, size_t length)
{
    uintptr_t first = (uintptr_t)body;
    uintptr_t at = (uintptr_t)data;
    sq_assert(at >= first && at - first <= body_length && length <= body_length - (at - first));
}

static inline const char *recode_text(const struct pgwire_frame *frame, const struct pgwire_text *text)
{
    recode_check_bytes(frame->body, frame->body_length, text->data, text->length + 1);
    sq_assert(strlen(text->data) == text->length);
    return text->data;
}

static inline void recode_values(const struct pgwire_frame *frame, const struct pgwire_values *values,
                                 struct sq_buf *out)
{
    struct pgwire_values rest = *values;
    size_t count = 0;
    for (struct pgwire_value value; pgwire_values_next(&rest, &value); count++) {
        if (value.is_null) {
            sq_assert(value.data == NULL && value.length == 0);
            pgwire_put_null(out);
        } else if (count % 2 == 0) {
            recode_check_bytes(frame->body, frame->body_length, value.data, value.length);
            pgwire_put_value(out, value.data, value.length);
        } else {
            size_t offset = pgwire_value_begin(out);
            sq_buf_put(out, value.data, value.length);
            pgwire_value_end(out, offset);
        }
    }
    sq_assert(count == values->count);
}

/* The codes as the writers want them; valid until the next call with the same `slot`. */
static inline const uint16_t *recode_formats(const struct pgwire_formats *formats, int slot)
{
    static uint16_t codes[2][PGWIRE_LIST_COUNT_MAX];
    for (size_t i = 0; i < formats->count; i++) {
        codes[slot][i] = pgwire_formats_get(formats, i);
        sq_assert(codes[slot][i] <= PGWIRE_FORMAT_BINARY);
    }
    return codes[slot];
}

static inline void recode_oids(const struct pgwire_oids *oids, struct sq_buf *out)
{
    for (size_t i = 0; i < oids->count; i++)
        pgwire_put_oid(out, pgwire_oids_get(oids, i));
}

static inline sq_status recode_startup(const struct pgwire_startup_frame *frame, struct sq_error *err,
                                       struct sq_buf *out)
{
    if (frame->kind == PGWIRE_STARTUP_SSL_REQUEST) {
        pgwire_put_ssl_request(out);
    } else if (frame->kind == PGWIRE_STARTUP_GSSENC_REQUEST) {
        pgwire_put_gssenc_request(out);
    } else if (frame->kind == PGWIRE_STARTUP_CANCEL_REQUEST) {
        struct pgwire_cancel cancel;
        SQ_TRY(pgwire_cancel_decode(frame, err, &cancel));
        recode_check_bytes(frame->body, frame->body_length, cancel.secret.data, cancel.secret.length);
        pgwire_put_cancel_request(out, cancel.pid, cancel.secret.data, cancel.secret.length);
    } else {
        struct pgwire_startup startup;
        SQ_TRY(pgwire_startup_decode(frame, err, &startup));
        size_t offset = pgwire_put_startup_begin(out, startup.version);
        struct pgwire_parameters rest = startup.parameters;
        size_t option_count = 0;
        for (struct pgwire_text name, value; pgwire_parameters_next(&rest, &name, &value);) {
            recode_check_bytes(frame->body, frame->body_length, name.data, name.length + 1);
            recode_check_bytes(frame->body, frame->body_length, value.data, value.length + 1);
            option_count += pgwire_parameter_is_option(&name) ? 1 : 0;
            struct pgwire_text found;
            sq_assert(pgwire_parameters_find(&startup.parameters, name.data, &found) && found.data >= value.data);
            pgwire_put_startup_parameter(out, name.data, value.data);
        }
        sq_assert(option_count == startup.option_count);
        pgwire_put_startup_end(out, offset);
    }
    return SQ_OK;
}

static inline sq_status recode_sasl(const struct pgwire_frame *frame, enum recode_password kind, struct sq_error *err,
                                    struct sq_buf *out)
{
    if (kind == RECODE_PASSWORD) {
        struct pgwire_password password;
        SQ_TRY(pgwire_password_decode(frame, err, &password));
        pgwire_put_password(out, recode_text(frame, &password.password));
    } else if (kind == RECODE_SASL_INITIAL) {
        struct pgwire_sasl_initial initial;
        SQ_TRY(pgwire_sasl_initial_decode(frame, err, &initial));
        if (initial.has_response)
            recode_check_bytes(frame->body, frame->body_length, initial.response.data, initial.response.length);
        pgwire_put_sasl_initial(out, recode_text(frame, &initial.mechanism), initial.response.data,
                                initial.response.length);
    } else {
        struct pgwire_bytes response = pgwire_sasl_response_decode(frame);
        recode_check_bytes(frame->body, frame->body_length, response.data, response.length);
        pgwire_put_sasl_response(out, response.data, response.length);
    }
    return SQ_OK;
}

static inline sq_status recode_parse(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_parse parse;
    SQ_TRY(pgwire_parse_decode(frame, err, &parse));
    size_t offset = pgwire_put_parse_begin(out, recode_text(frame, &parse.name), recode_text(frame, &parse.query),
                                           parse.query.length, parse.types.count);
    recode_oids(&parse.types, out);
    pgwire_end(out, offset);
    return SQ_OK;
}

static inline sq_status recode_bind(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_bind bind;
    SQ_TRY(pgwire_bind_decode(frame, err, &bind));
    size_t offset = pgwire_put_bind_begin(out, recode_text(frame, &bind.portal), recode_text(frame, &bind.statement),
                                          recode_formats(&bind.parameter_formats, 0), bind.parameter_formats.count,
                                          bind.parameters.count);
    recode_values(frame, &bind.parameters, out);
    pgwire_put_bind_end(out, offset, recode_formats(&bind.result_formats, 1), bind.result_formats.count);
    return SQ_OK;
}

static inline sq_status recode_function_call(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_function_call call;
    SQ_TRY(pgwire_function_call_decode(frame, err, &call));
    size_t offset = pgwire_put_function_call_begin(out, call.function_oid, recode_formats(&call.argument_formats, 0),
                                                   call.argument_formats.count, call.arguments.count);
    recode_values(frame, &call.arguments, out);
    pgwire_put_function_call_end(out, offset, call.result_format);
    return SQ_OK;
}

static inline sq_status recode_query(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_query query;
    SQ_TRY(pgwire_query_decode(frame, err, &query));
    pgwire_put_query(out, recode_text(frame, &query.text), query.text.length);
    return SQ_OK;
}

static inline sq_status recode_target(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_describe describe;
    struct pgwire_close close;
    if (frame->type == PGWIRE_DESCRIBE) {
        SQ_TRY(pgwire_describe_decode(frame, err, &describe));
        pgwire_put_describe(out, (enum pgwire_target)describe.kind, recode_text(frame, &describe.name));
    } else {
        SQ_TRY(pgwire_close_decode(frame, err, &close));
        pgwire_put_close(out, (enum pgwire_target)close.kind, recode_text(frame, &close.name));
    }
    return SQ_OK;
}

static inline sq_status recode_execute(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_execute execute;
    SQ_TRY(pgwire_execute_decode(frame, err, &execute));
    pgwire_put_execute(out, recode_text(frame, &execute.portal), execute.row_limit);
    return SQ_OK;
}

static inline sq_status recode_copy_fail(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_copy_fail fail;
    SQ_TRY(pgwire_copy_fail_decode(frame, err, &fail));
    pgwire_put_copy_fail(out, recode_text(frame, &fail.reason));
    return SQ_OK;
}

static inline void recode_copy_data(const struct pgwire_frame *frame, struct sq_buf *out)
{
    struct pgwire_bytes data = pgwire_copy_data_decode(frame);
    recode_check_bytes(frame->body, frame->body_length, data.data, data.length);
    pgwire_put_copy_data(out, data.data, data.length);
}

/* Messages of native mode are not of the PostgreSQL protocol: as they stand. */
static inline void recode_native(const struct pgwire_frame *frame, struct sq_buf *out)
{
    size_t offset = pgwire_begin(out, frame->type);
    sq_buf_put(out, frame->body, frame->body_length);
    pgwire_end(out, offset);
}

/* A client's message. */
static inline sq_status recode_frontend(const struct pgwire_frame *frame, enum recode_password kind,
                                        struct sq_error *err, struct sq_buf *out)
{
    switch (frame->type) {
    case PGWIRE_PASSWORD:
        return recode_sasl(frame, kind, err, out);
    case PGWIRE_QUERY:
        return recode_query(frame, err, out);
    case PGWIRE_PARSE:
        return recode_parse(frame, err, out);
    case PGWIRE_BIND:
        return recode_bind(frame, err, out);
    case PGWIRE_DESCRIBE:
    case PGWIRE_CLOSE:
        return recode_target(frame, err, out);
    case PGWIRE_EXECUTE:
        return recode_execute(frame, err, out);
    case PGWIRE_COPY_FAIL:
        return recode_copy_fail(frame, err, out);
    case PGWIRE_FUNCTION_CALL:
        return recode_function_call(frame, err, out);
    case PGWIRE_COPY_DATA:
        recode_copy_data(frame, out);
        return SQ_OK;
    case PGWIRE_NATIVE:
    case PGWIRE_NATIVE_CALL:
        recode_native(frame, out);
        return SQ_OK;
    default:
        SQ_TRY(pgwire_empty_decode(frame, err));
        if (frame->type == PGWIRE_FLUSH)
            pgwire_put_flush(out);
        else if (frame->type == PGWIRE_SYNC)
            pgwire_put_sync(out);
        else if (frame->type == PGWIRE_TERMINATE)
            pgwire_put_terminate(out);
        else
            pgwire_put_copy_done(out);
        return SQ_OK;
    }
}

enum { RECODE_MECHANISMS_MAX = 64 };

static inline sq_status recode_authentication(const struct pgwire_frame *frame, struct sq_error *err,
                                              struct sq_buf *out)
{
    struct pgwire_authentication authentication;
    SQ_TRY(pgwire_authentication_decode(frame, err, &authentication));
    const struct pgwire_bytes *data = &authentication.data;
    if (data->length > 0)
        recode_check_bytes(frame->body, frame->body_length, data->data, data->length);
    const char *mechanisms[RECODE_MECHANISMS_MAX];
    size_t count = 0;
    struct pgwire_texts rest = authentication.mechanisms;
    for (struct pgwire_text name; count < RECODE_MECHANISMS_MAX && pgwire_texts_next(&rest, &name);)
        mechanisms[count++] = recode_text(frame, &name);

    if (authentication.code == PGWIRE_AUTHENTICATION_OK) {
        pgwire_put_authentication_ok(out);
    } else if (authentication.code == PGWIRE_AUTHENTICATION_CLEARTEXT_PASSWORD) {
        pgwire_put_authentication_cleartext_password(out);
    } else if (authentication.code == PGWIRE_AUTHENTICATION_SASL && rest.count == 0) {
        pgwire_put_authentication_sasl(out, mechanisms, count);
    } else if (authentication.code == PGWIRE_AUTHENTICATION_SASL_CONTINUE) {
        pgwire_put_authentication_sasl_continue(out, data->data, data->length);
    } else if (authentication.code == PGWIRE_AUTHENTICATION_SASL_FINAL) {
        pgwire_put_authentication_sasl_final(out, data->data, data->length);
    } else { /* a method that the server never asks for has no writer; neither has a very long list of mechanisms */
        size_t offset = pgwire_begin(out, PGWIRE_AUTHENTICATION);
        sq_buf_put(out, frame->body, frame->body_length);
        pgwire_end(out, offset);
    }
    return SQ_OK;
}

static inline sq_status recode_negotiate(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_negotiate negotiate;
    SQ_TRY(pgwire_negotiate_decode(frame, err, &negotiate));
    size_t offset = pgwire_put_negotiate_begin(out, negotiate.version, negotiate.options.count);
    struct pgwire_texts rest = negotiate.options;
    for (struct pgwire_text name; pgwire_texts_next(&rest, &name);)
        pgwire_put_negotiate_option(out, recode_text(frame, &name), name.length);
    pgwire_end(out, offset);
    return SQ_OK;
}

/* ParameterStatus, BackendKeyData, ReadyForQuery, CommandComplete, NotificationResponse. */
static inline sq_status recode_plain(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_parameter_status parameter;
    struct pgwire_backend_key_data key;
    struct pgwire_ready ready;
    struct pgwire_command_complete complete;
    struct pgwire_notification notification;
    switch (frame->type) {
    case PGWIRE_PARAMETER_STATUS:
        SQ_TRY(pgwire_parameter_status_decode(frame, err, &parameter));
        pgwire_put_parameter_status(out, recode_text(frame, &parameter.name), recode_text(frame, &parameter.value));
        return SQ_OK;
    case PGWIRE_BACKEND_KEY_DATA:
        SQ_TRY(pgwire_backend_key_data_decode(frame, err, &key));
        recode_check_bytes(frame->body, frame->body_length, key.secret.data, key.secret.length);
        pgwire_put_backend_key_data(out, key.pid, key.secret.data, key.secret.length);
        return SQ_OK;
    case PGWIRE_READY_FOR_QUERY:
        SQ_TRY(pgwire_ready_decode(frame, err, &ready));
        pgwire_put_ready_for_query(out, (char)ready.status);
        return SQ_OK;
    case PGWIRE_COMMAND_COMPLETE:
        SQ_TRY(pgwire_command_complete_decode(frame, err, &complete));
        pgwire_put_command_complete(out, recode_text(frame, &complete.tag));
        return SQ_OK;
    default:
        SQ_TRY(pgwire_notification_decode(frame, err, &notification));
        pgwire_put_notification(out, notification.pid, recode_text(frame, &notification.channel),
                                recode_text(frame, &notification.payload));
        return SQ_OK;
    }
}

static inline sq_status recode_row_description(const struct pgwire_frame *frame, struct sq_error *err,
                                               struct sq_buf *out)
{
    struct pgwire_row_description description;
    SQ_TRY(pgwire_row_description_decode(frame, err, &description));
    size_t offset = pgwire_put_row_description_begin(out, description.fields.count);
    struct pgwire_fields rest = description.fields;
    size_t count = 0;
    for (struct pgwire_field field; pgwire_fields_next(&rest, &field); count++) {
        struct pgwire_text name = {.data = field.name, .length = field.name_length};
        recode_text(frame, &name);
        pgwire_put_field(out, &field);
    }
    sq_assert(count == description.fields.count);
    pgwire_end(out, offset);
    return SQ_OK;
}

static inline sq_status recode_rows(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_parameter_description description;
    struct pgwire_data_row row;
    struct pgwire_function_call_response response;
    size_t offset;
    if (frame->type == PGWIRE_PARAMETER_DESCRIPTION) {
        SQ_TRY(pgwire_parameter_description_decode(frame, err, &description));
        offset = pgwire_put_parameter_description_begin(out, description.types.count);
        recode_oids(&description.types, out);
    } else if (frame->type == PGWIRE_DATA_ROW) {
        SQ_TRY(pgwire_data_row_decode(frame, err, &row));
        offset = pgwire_put_data_row_begin(out, row.columns.count);
        recode_values(frame, &row.columns, out);
    } else {
        SQ_TRY(pgwire_function_call_response_decode(frame, err, &response));
        offset = pgwire_put_function_call_response_begin(out);
        if (response.result.is_null) {
            pgwire_put_null(out);
        } else {
            recode_check_bytes(frame->body, frame->body_length, response.result.data, response.result.length);
            pgwire_put_value(out, response.result.data, response.result.length);
        }
    }
    pgwire_end(out, offset);
    return SQ_OK;
}

static inline sq_status recode_copy_response(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_copy_response response;
    SQ_TRY(pgwire_copy_response_decode(frame, err, &response));
    bool is_uniform = true;
    for (size_t i = 0; i < response.columns.count; i++)
        is_uniform = is_uniform && pgwire_formats_get(&response.columns, i) == response.format;
    size_t count = response.columns.count;
    if (!is_uniform) { /* the writers have one format for all columns */
        size_t offset = pgwire_begin(out, frame->type);
        sq_buf_put(out, frame->body, frame->body_length);
        pgwire_end(out, offset);
    } else if (frame->type == PGWIRE_COPY_IN_RESPONSE) {
        pgwire_put_copy_in_response(out, response.format, count);
    } else if (frame->type == PGWIRE_COPY_OUT_RESPONSE) {
        pgwire_put_copy_out_response(out, response.format, count);
    } else {
        pgwire_put_copy_both_response(out, response.format, count);
    }
    return SQ_OK;
}

static inline sq_status recode_report(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    struct pgwire_report report;
    SQ_TRY(pgwire_report_decode(frame, err, &report));
    const char *texts[] = {report.severity, report.severity_fixed, report.sqlstate,   report.message, report.detail,
                           report.hint,     report.internal_query, report.where,      report.schema,  report.table,
                           report.column,   report.datatype,       report.constraint, report.file,    report.routine};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i] != NULL)
            recode_check_bytes(frame->body, frame->body_length, texts[i], strlen(texts[i]) + 1);
    if (frame->type == PGWIRE_ERROR_RESPONSE)
        pgwire_put_error_response(out, &report);
    else
        pgwire_put_notice_response(out, &report);
    return SQ_OK;
}

/* A server's message. */
static inline sq_status recode_backend(const struct pgwire_frame *frame, struct sq_error *err, struct sq_buf *out)
{
    switch (frame->type) {
    case PGWIRE_AUTHENTICATION:
        return recode_authentication(frame, err, out);
    case PGWIRE_NEGOTIATE_PROTOCOL_VERSION:
        return recode_negotiate(frame, err, out);
    case PGWIRE_PARAMETER_STATUS:
    case PGWIRE_BACKEND_KEY_DATA:
    case PGWIRE_READY_FOR_QUERY:
    case PGWIRE_COMMAND_COMPLETE:
    case PGWIRE_NOTIFICATION_RESPONSE:
        return recode_plain(frame, err, out);
    case PGWIRE_ROW_DESCRIPTION:
        return recode_row_description(frame, err, out);
    case PGWIRE_PARAMETER_DESCRIPTION:
    case PGWIRE_DATA_ROW:
    case PGWIRE_FUNCTION_CALL_RESPONSE:
        return recode_rows(frame, err, out);
    case PGWIRE_COPY_IN_RESPONSE:
    case PGWIRE_COPY_OUT_RESPONSE:
    case PGWIRE_COPY_BOTH_RESPONSE:
        return recode_copy_response(frame, err, out);
    case PGWIRE_ERROR_RESPONSE:
    case PGWIRE_NOTICE_RESPONSE:
        return recode_report(frame, err, out);
    case PGWIRE_COPY_DATA:
        recode_copy_data(frame, out);
        return SQ_OK;
    case PGWIRE_NATIVE:
    case PGWIRE_NATIVE_CALL:
        recode_native(frame, out);
        return SQ_OK;
    default:
        SQ_TRY(pgwire_backend_empty_decode(frame, err));
        pgwire_put_empty(out, frame->type);
        return SQ_OK;
    }
}

#endif
