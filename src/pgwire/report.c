/* pgwire/report.c: ErrorResponse and NoticeResponse, both directions. One table says which letter is which member of
 * `struct pgwire_report`; writer and decoder both walk it, so that they cannot disagree.
 *
 *   (byte letter, str text)…, 0        letters: PostgreSQL manual, "Error and Notice Message Fields" */
#include "pgwire/backend.h"
#include "pgwire/decode_internal.h"

struct report_text_field {
    char letter;
    size_t offset; /* of a `const char *` */
};
struct report_number_field {
    char letter;
    size_t offset; /* of a `uint32_t` */
};

/* In the order in which PostgreSQL sends them. */
static const struct report_text_field text_fields[] = {
    {'S', offsetof(struct pgwire_report, severity)},       {'V', offsetof(struct pgwire_report, severity_fixed)},
    {'C', offsetof(struct pgwire_report, sqlstate)},       {'M', offsetof(struct pgwire_report, message)},
    {'D', offsetof(struct pgwire_report, detail)},         {'H', offsetof(struct pgwire_report, hint)},
    {'q', offsetof(struct pgwire_report, internal_query)}, {'W', offsetof(struct pgwire_report, where)},
    {'s', offsetof(struct pgwire_report, schema)},         {'t', offsetof(struct pgwire_report, table)},
    {'c', offsetof(struct pgwire_report, column)},         {'d', offsetof(struct pgwire_report, datatype)},
    {'n', offsetof(struct pgwire_report, constraint)},     {'F', offsetof(struct pgwire_report, file)},
    {'R', offsetof(struct pgwire_report, routine)},
};
static const struct report_number_field number_fields[] = {
    {'P', offsetof(struct pgwire_report, position)},
    {'p', offsetof(struct pgwire_report, internal_position)},
    {'L', offsetof(struct pgwire_report, line)},
};

enum {
    TEXT_FIELD_COUNT = sizeof(text_fields) / sizeof(text_fields[0]),
    NUMBER_FIELD_COUNT = sizeof(number_fields) / sizeof(number_fields[0]),
};

static void put_report(struct sq_buf *buf, uint8_t type, const struct pgwire_report *report)
{
    size_t offset = pgwire_begin(buf, type);
    for (size_t i = 0; i < TEXT_FIELD_COUNT; i++) {
        const char *text;
        memcpy(&text, (const char *)report + text_fields[i].offset, sizeof(text));
        if (text == NULL)
            continue;
        sq_buf_put_u8(buf, (uint8_t)text_fields[i].letter);
        sq_buf_put_cstr(buf, text);
    }
    for (size_t i = 0; i < NUMBER_FIELD_COUNT; i++) {
        uint32_t number;
        memcpy(&number, (const char *)report + number_fields[i].offset, sizeof(number));
        if (number == 0)
            continue;
        sq_buf_printf(buf, "%c%lu", number_fields[i].letter, (unsigned long)number);
        sq_buf_put_u8(buf, 0);
    }
    sq_buf_put_u8(buf, 0);
    pgwire_end(buf, offset);
}

/* The report with the fields that must not be missing. */
static struct pgwire_report report_completed(const struct pgwire_report *report, const char *severity,
                                             const char *sqlstate)
{
    struct pgwire_report full = *report;
    if (full.severity == NULL)
        full.severity = full.severity_fixed != NULL ? full.severity_fixed : severity;
    if (full.severity_fixed == NULL)
        full.severity_fixed = full.severity;
    if (full.sqlstate == NULL)
        full.sqlstate = sqlstate;
    if (full.message == NULL)
        full.message = "";
    return full;
}

void pgwire_put_error_response(struct sq_buf *buf, const struct pgwire_report *report)
{
    struct pgwire_report full = report_completed(report, "ERROR", "XX000");
    put_report(buf, PGWIRE_ERROR_RESPONSE, &full);
}

void pgwire_put_notice_response(struct sq_buf *buf, const struct pgwire_report *report)
{
    struct pgwire_report full = report_completed(report, "NOTICE", "00000");
    put_report(buf, PGWIRE_NOTICE_RESPONSE, &full);
}

static const char *text_or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

/* A file's name without its directories: those are the build machine's affair. */
static const char *file_name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

void pgwire_report_from_error(const struct sq_error *err, struct pgwire_report *ret_report)
{
    const char *severity = err->is_fatal ? "FATAL" : "ERROR";
    *ret_report = (struct pgwire_report){
        .severity = severity,
        .severity_fixed = severity,
        .sqlstate = text_or_null(err->sqlstate),
        .message = err->text,
        .detail = text_or_null(err->detail),
        .hint = text_or_null(err->hint),
        .where = text_or_null(err->context),
        .routine = err->routine,
        .position = err->position > 0 ? (uint32_t)err->position : 0,
        .table = text_or_null(err->table),
        .column = text_or_null(err->column),
        .constraint = text_or_null(err->constraint),
        .file = err->file == NULL ? NULL : file_name_of(err->file),
        .line = err->file == NULL || err->line < 0 ? 0 : (uint32_t)err->line,
    };
}

/* A decimal number; 0 for anything else. */
static uint32_t number_of(const struct pgwire_text *text)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text->length; i++) {
        char digit = text->data[i];
        if (digit < '0' || digit > '9')
            return 0;
        number = number * 10 + (uint64_t)(digit - '0');
        if (number > UINT32_MAX)
            return 0;
    }
    return (uint32_t)number;
}

static void report_set(struct pgwire_report *report, uint8_t letter, const struct pgwire_text *text)
{
    for (size_t i = 0; i < TEXT_FIELD_COUNT; i++)
        if (letter == (uint8_t)text_fields[i].letter)
            memcpy((char *)report + text_fields[i].offset, &text->data, sizeof(text->data));
    for (size_t i = 0; i < NUMBER_FIELD_COUNT; i++) {
        if (letter == (uint8_t)number_fields[i].letter) {
            uint32_t number = number_of(text);
            memcpy((char *)report + number_fields[i].offset, &number, sizeof(number));
        }
    }
}

sq_status pgwire_report_decode(const struct pgwire_frame *frame, struct sq_error *err, struct pgwire_report *ret_report)
{
    sq_assert(frame->type == PGWIRE_ERROR_RESPONSE || frame->type == PGWIRE_NOTICE_RESPONSE);
    struct pgwire_cursor cursor = pgwire_cursor_make(frame->body, frame->body_length);
    struct pgwire_report report = {.severity = NULL};
    for (;;) {
        uint8_t letter = pgwire_get_u8(&cursor);
        if (letter == 0)
            break;
        struct pgwire_text text = pgwire_get_cstr(&cursor);
        report_set(&report, letter, &text);
    }
    SQ_TRY(pgwire_decode_end(&cursor, pgwire_backend_name(frame->type), err));
    *ret_report = report;
    return SQ_OK;
}
