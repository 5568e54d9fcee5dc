/* base/status.c: filling `struct sq_error`. See status.h for the rules. */
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

struct status_info {
    const char *name;
    const char *sqlstate;
};

/* SQLSTATEs: PostgreSQL documentation, appendix "PostgreSQL Error Codes". */
static const struct status_info status_infos[] = {
    [SQ_OK] = {"SQ_OK", "00000"},
    [SQ_NOMEM] = {"SQ_NOMEM", "53200"},
    [SQ_INVALID] = {"SQ_INVALID", "22023"},
    [SQ_SQL] = {"SQ_SQL", "XX000"},
    [SQ_PROTOCOL] = {"SQ_PROTOCOL", "08P01"},
    [SQ_LIMIT] = {"SQ_LIMIT", "54000"},
    [SQ_NOT_FOUND] = {"SQ_NOT_FOUND", "42704"},
    [SQ_EXISTS] = {"SQ_EXISTS", "42710"},
    [SQ_BUSY] = {"SQ_BUSY", "55P03"},
    [SQ_CANCELED] = {"SQ_CANCELED", "57014"},
    [SQ_IO] = {"SQ_IO", "58030"},
    [SQ_CORRUPT] = {"SQ_CORRUPT", "XX001"},
    [SQ_CLOSED] = {"SQ_CLOSED", "08006"},
};

const char *sq_status_name(sq_status status)
{
    size_t index = (size_t)status;
    if (index >= sizeof(status_infos) / sizeof(status_infos[0]))
        return "SQ_UNKNOWN";
    return status_infos[index].name;
}

void sq_error_clear(struct sq_error *err)
{
    /* Texts need only their first byte cleared: an error lives on the stack of every statement. */
    err->status = SQ_OK;
    err->sqlstate[0] = '\0';
    err->is_fatal = false;
    err->position = 0;
    err->engine_code = 0;
    err->routine = NULL;
    err->file = NULL;
    err->line = 0;
    err->text[0] = '\0';
    err->detail[0] = '\0';
    err->hint[0] = '\0';
    err->context[0] = '\0';
    err->table[0] = '\0';
    err->column[0] = '\0';
    err->constraint[0] = '\0';
}

/* vsnprintf() into `out`, cut at a whole UTF-8 character. */
static void format_cut(char *out, size_t out_bytes, const char *format, va_list arguments)
{
    int length = vsnprintf(out, out_bytes, format, arguments);
    if (length < 0)
        out[0] = '\0';
    else if ((size_t)length >= out_bytes)
        out[sq_utf8_cut(out, out_bytes - 1)] = '\0';
}

static void error_begin(struct sq_error *err, sq_status status, const char *sqlstate, const char *file, int line)
{
    sq_assert(status != SQ_OK);
    sq_error_clear(err);
    err->status = status;
    snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", sqlstate != NULL ? sqlstate : status_infos[status].sqlstate);
    err->file = file;
    err->line = line;
}

sq_status sq_fail_at(struct sq_error *err, sq_status status, const char *sqlstate, const char *file, int line,
                     const char *format, ...)
{
    if (err == NULL)
        return status;
    error_begin(err, status, sqlstate, file, line);
    va_list arguments;
    va_start(arguments, format);
    format_cut(err->text, sizeof(err->text), format, arguments);
    va_end(arguments);
    return status;
}

sq_status sq_fail_errno_at(struct sq_error *err, int errno_value, const char *file, int line, const char *format, ...)
{
    if (err == NULL)
        return SQ_IO;
    error_begin(err, SQ_IO, NULL, file, line);
    err->system_errno = errno_value;
    va_list arguments;
    va_start(arguments, format);
    format_cut(err->text, sizeof(err->text), format, arguments);
    va_end(arguments);
    size_t used = strlen(err->text);
    char reason[128];
    /* strerrordesc_np() is constant text: safe in every thread. */
    const char *description = strerrordesc_np(errno_value);
    snprintf(reason, sizeof(reason), ": %s", description != NULL ? description : "unknown error");
    snprintf(err->text + used, sizeof(err->text) - used, "%s", reason);
    return SQ_IO;
}

void sq_error_set_hint(struct sq_error *err, const char *format, ...)
{
    if (err == NULL)
        return;
    va_list arguments;
    va_start(arguments, format);
    format_cut(err->hint, sizeof(err->hint), format, arguments);
    va_end(arguments);
}

void sq_error_set_detail(struct sq_error *err, const char *format, ...)
{
    if (err == NULL)
        return;
    va_list arguments;
    va_start(arguments, format);
    format_cut(err->detail, sizeof(err->detail), format, arguments);
    va_end(arguments);
}

void sq_error_set_context(struct sq_error *err, const char *format, ...)
{
    if (err == NULL)
        return;
    va_list arguments;
    va_start(arguments, format);
    format_cut(err->context, sizeof(err->context), format, arguments);
    va_end(arguments);
}

void sq_assert_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "sqld: internal error: assertion '%s' failed in %s() at %s:%d\n", condition, function, file, line);
    abort();
}
