/* pgwire/backend.h: the messages of a server: writers (for the server) and decoders (for clients, replicas, tests).
 *
 * Writers append a whole message to a `struct sq_buf`, or its beginning (…_begin, then the parts, then pgwire_end());
 * they follow the rules of encode.h: trouble shows in the buffer's sticky failure. The ones that a query sends per row
 * or per statement are inline.
 * Decoders follow the rules of frontend.h: they check all of the body, allocate nothing and point into the frame;
 * OK: *ret_… is set and walking its lists cannot fail; failure: *ret_… untouched, *err is SQ_PROTOCOL, 08P01.
 *
 * CopyData and CopyDone are in copy.h. Pure functions, any thread. */
#ifndef SQ_PGWIRE_BACKEND_H
#define SQ_PGWIRE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "pgwire/copy.h"
#include "pgwire/cursor.h"
#include "pgwire/encode.h"
#include "pgwire/frame.h"
#include "pgwire/lists.h"
#include "pgwire/protocol.h"

/* --- Start of a connection --------------------------------------------------------------------------------------- */

struct pgwire_authentication {
    uint32_t code;                  /* enum pgwire_authentication_code; others are let through */
    struct pgwire_texts mechanisms; /* AUTHENTICATION_SASL: at least one */
    struct pgwire_bytes data;       /* SASL_CONTINUE, SASL_FINAL, GSS_CONTINUE, MD5's salt (4 bytes), unknown codes */
};

struct pgwire_parameter_status {
    struct pgwire_text name;
    struct pgwire_text value;
};

struct pgwire_backend_key_data {
    uint32_t pid;
    struct pgwire_bytes secret; /* PGWIRE_SECRET_BYTES_MIN to _MAX bytes */
};

struct pgwire_negotiate {
    uint32_t version;            /* newest that the server speaks, PGWIRE_VERSION(3, minor) */
    struct pgwire_texts options; /* the "_pq_." parameters that it does not know */
};

struct pgwire_ready {
    uint8_t status; /* enum pgwire_transaction_status */
};

void pgwire_put_authentication_ok(struct sq_buf *buf);
void pgwire_put_authentication_cleartext_password(struct sq_buf *buf);
/* `mechanisms`: names in the server's order of preference; empty names are left out. */
void pgwire_put_authentication_sasl(struct sq_buf *buf, const char *const *mechanisms, size_t mechanism_count);
void pgwire_put_authentication_sasl_continue(struct sq_buf *buf, const void *data, size_t length);
void pgwire_put_authentication_sasl_final(struct sq_buf *buf, const void *data, size_t length);
void pgwire_put_parameter_status(struct sq_buf *buf, const char *name, const char *value);
/* The secret has exactly 4 bytes when the client speaks 3.0. */
void pgwire_put_backend_key_data(struct sq_buf *buf, uint32_t pid, const void *secret, size_t secret_length);
/* `version`: the newest version spoken, whole (PGWIRE_VERSION_3_0): the manual says "minor", PostgreSQL sends and
 * libpq expects both halves. Then pgwire_put_negotiate_option() for each unknown one, then pgwire_end(). */
size_t pgwire_put_negotiate_begin(struct sq_buf *buf, uint32_t version, size_t option_count);
void pgwire_put_negotiate_option(struct sq_buf *buf, const char *name, size_t name_length);

static inline void pgwire_put_ready_for_query(struct sq_buf *buf, char status)
{
    const uint8_t message[6] = {PGWIRE_READY_FOR_QUERY, 0, 0, 0, 5, (uint8_t)status};
    sq_buf_put(buf, message, sizeof(message));
}

SQ_MUST_USE sq_status pgwire_authentication_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                   struct pgwire_authentication *ret_authentication);
SQ_MUST_USE sq_status pgwire_parameter_status_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                     struct pgwire_parameter_status *ret_parameter);
SQ_MUST_USE sq_status pgwire_backend_key_data_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                     struct pgwire_backend_key_data *ret_key);
SQ_MUST_USE sq_status pgwire_negotiate_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                              struct pgwire_negotiate *ret_negotiate);
SQ_MUST_USE sq_status pgwire_ready_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                          struct pgwire_ready *ret_ready);

/* --- Descriptions ------------------------------------------------------------------------------------------------ */

struct pgwire_field {
    const char *name; /* reading: NUL-terminated */
    size_t name_length;
    uint32_t table_oid;    /* 0: not a table's column */
    int16_t column_attnum; /* 0: not a table's column */
    uint32_t type_oid;
    int16_t type_size;     /* negative: variable */
    int32_t type_modifier; /* -1: none */
    uint16_t format;       /* PGWIRE_FORMAT_TEXT also when it is not known yet (Describe of a statement) */
};

/* The columns; walk a copy with pgwire_fields_next(). */
struct pgwire_fields {
    size_t count; /* columns that are still to come */
    struct pgwire_cursor cursor;
};

struct pgwire_row_description {
    struct pgwire_fields fields;
};

struct pgwire_parameter_description {
    struct pgwire_oids types;
};

/* Then pgwire_put_field() for each column, then pgwire_end(). */
size_t pgwire_put_row_description_begin(struct sq_buf *buf, size_t column_count);
void pgwire_put_field(struct sq_buf *buf, const struct pgwire_field *field);
/* Then pgwire_put_oid() for each parameter, then pgwire_end(). */
size_t pgwire_put_parameter_description_begin(struct sq_buf *buf, size_t parameter_count);

bool pgwire_fields_next(struct pgwire_fields *fields, struct pgwire_field *ret_field);
SQ_MUST_USE sq_status pgwire_row_description_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                    struct pgwire_row_description *ret_description);
SQ_MUST_USE sq_status pgwire_parameter_description_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                          struct pgwire_parameter_description *ret_description);

/* --- Rows and completions ---------------------------------------------------------------------------------------- */

struct pgwire_data_row {
    struct pgwire_values columns; /* walk a copy with pgwire_values_next() */
};

struct pgwire_command_complete {
    struct pgwire_text tag;
};

struct pgwire_function_call_response {
    struct pgwire_value result;
};

/* Then, for each column, one of pgwire_put_value(), pgwire_put_null(), pgwire_value_begin() … pgwire_value_end();
 * then pgwire_end(). */
static inline size_t pgwire_put_data_row_begin(struct sq_buf *buf, size_t column_count)
{
    size_t offset = sq_buf_length(buf);
    if (SQ_UNLIKELY(column_count > PGWIRE_LIST_COUNT_MAX)) {
        pgwire_fail_too_long(buf);
        return offset;
    }
    const uint8_t header[7] = {PGWIRE_DATA_ROW, 0, 0, 0, 0, (uint8_t)(column_count >> 8), (uint8_t)column_count};
    sq_buf_put(buf, header, sizeof(header));
    return offset;
}

/* `tag`: "CREATE TABLE", "INSERT 0 1". */
static inline void pgwire_put_command_complete(struct sq_buf *buf, const char *tag)
{
    size_t offset = pgwire_begin(buf, PGWIRE_COMMAND_COMPLETE);
    sq_buf_put_cstr(buf, tag);
    pgwire_end(buf, offset);
}
/* The same for "SELECT 1" and its kin: `verb` ("SELECT", "INSERT 0", "UPDATE"), a space, the number. */
void pgwire_put_command_complete_count(struct sq_buf *buf, const char *verb, uint64_t count);

static inline void pgwire_put_parse_complete(struct sq_buf *buf)
{
    pgwire_put_empty(buf, PGWIRE_PARSE_COMPLETE);
}
static inline void pgwire_put_bind_complete(struct sq_buf *buf)
{
    pgwire_put_empty(buf, PGWIRE_BIND_COMPLETE);
}
static inline void pgwire_put_close_complete(struct sq_buf *buf)
{
    pgwire_put_empty(buf, PGWIRE_CLOSE_COMPLETE);
}
static inline void pgwire_put_no_data(struct sq_buf *buf)
{
    pgwire_put_empty(buf, PGWIRE_NO_DATA);
}
static inline void pgwire_put_portal_suspended(struct sq_buf *buf)
{
    pgwire_put_empty(buf, PGWIRE_PORTAL_SUSPENDED);
}
static inline void pgwire_put_empty_query_response(struct sq_buf *buf)
{
    pgwire_put_empty(buf, PGWIRE_EMPTY_QUERY_RESPONSE);
}
/* Then one value, then pgwire_end(). */
static inline size_t pgwire_put_function_call_response_begin(struct sq_buf *buf)
{
    return pgwire_begin(buf, PGWIRE_FUNCTION_CALL_RESPONSE);
}

SQ_MUST_USE sq_status pgwire_data_row_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                             struct pgwire_data_row *ret_row);
SQ_MUST_USE sq_status pgwire_command_complete_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                     struct pgwire_command_complete *ret_complete);
SQ_MUST_USE sq_status pgwire_function_call_response_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                           struct pgwire_function_call_response *ret_response);
/* ParseComplete, BindComplete, CloseComplete, NoData, PortalSuspended, EmptyQueryResponse, CopyDone: OK if the body is
 * empty, as it has to be. */
SQ_MUST_USE sq_status pgwire_backend_empty_decode(const struct pgwire_frame *frame, struct sq_error *err);

/* --- COPY -------------------------------------------------------------------------------------------------------- */

/* CopyInResponse, CopyOutResponse, CopyBothResponse; the frame's type tells which. */
struct pgwire_copy_response {
    uint8_t format;                /* of the whole stream */
    struct pgwire_formats columns; /* one for each column; all text if `format` is text */
};

/* All `column_count` columns in `format`. */
void pgwire_put_copy_in_response(struct sq_buf *buf, uint8_t format, size_t column_count);
void pgwire_put_copy_out_response(struct sq_buf *buf, uint8_t format, size_t column_count);
void pgwire_put_copy_both_response(struct sq_buf *buf, uint8_t format, size_t column_count);

SQ_MUST_USE sq_status pgwire_copy_response_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                  struct pgwire_copy_response *ret_response);

/* --- Reports: errors, notices, notifications --------------------------------------------------------------------- */

/* ErrorResponse and NoticeResponse (PostgreSQL manual, "Error and Notice Message Fields"). NULL and 0: the field is
 * not there. The texts are NUL-terminated in both directions. */
struct pgwire_report {
    const char *severity;       /* S: "ERROR", "FATAL", "WARNING", …; may be translated */
    const char *severity_fixed; /* V: the same, never translated */
    const char *sqlstate;       /* C */
    const char *message;        /* M */
    const char *detail;         /* D */
    const char *hint;           /* H */
    uint32_t position;          /* P: 1-based character in the query */
    uint32_t internal_position; /* p */
    const char *internal_query; /* q */
    const char *where;          /* W */
    const char *schema;         /* s */
    const char *table;          /* t */
    const char *column;         /* c */
    const char *datatype;       /* d */
    const char *constraint;     /* n */
    const char *file;           /* F */
    uint32_t line;              /* L */
    const char *routine;        /* R */
};

struct pgwire_notification {
    uint32_t pid;
    struct pgwire_text channel;
    struct pgwire_text payload;
};

/* The report of an error as it is: severity ERROR, or FATAL if err->is_fatal. Points into *err. */
void pgwire_report_from_error(const struct sq_error *err, struct pgwire_report *ret_report);

/* Severity (both), SQLSTATE and message are always sent, as the manual demands: a NULL severity becomes ERROR (NOTICE
 * in a notice), a NULL severity_fixed the severity, a NULL sqlstate XX000 (00000), a NULL message "". */
void pgwire_put_error_response(struct sq_buf *buf, const struct pgwire_report *report);
void pgwire_put_notice_response(struct sq_buf *buf, const struct pgwire_report *report);
void pgwire_put_notification(struct sq_buf *buf, uint32_t pid, const char *channel, const char *payload);

/* ErrorResponse or NoticeResponse. Unknown fields are skipped, as the manual demands; of a repeated field the last
 * counts; a number that is none is left out: a flaw in a report must not hide the report. */
SQ_MUST_USE sq_status pgwire_report_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                           struct pgwire_report *ret_report);
SQ_MUST_USE sq_status pgwire_notification_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                 struct pgwire_notification *ret_notification);

#endif
