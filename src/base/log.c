/* base/log.c: formats a line on the stack and writes it with one write(2). */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

enum { LOG_LINE_MAX = 4096, LOG_PATH_MAX = 4096 };

static const char *const level_names[SQ_LOG_LEVEL_COUNT] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

/* Relaxed is enough: a line more or less around a change of level harms nobody. */
static atomic_int log_level = SQ_LOG_INFO;

/* Guards the two below: a line must not go to a descriptor that was just closed. */
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = STDERR_FILENO;
static char log_path[LOG_PATH_MAX];

void sq_log_set_level(enum sq_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

bool sq_log_is_on(enum sq_log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

sq_status sq_log_open(const char *path, struct sq_error *err)
{
    if (strlen(path) >= sizeof(log_path))
        return sq_fail(err, SQ_INVALID, "log file name is longer than %d bytes", LOG_PATH_MAX - 1);
    bool is_stderr = path[0] == '\0' || strcmp(path, "stderr") == 0;
    int fd = STDERR_FILENO;
    if (!is_stderr) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (fd < 0)
            return sq_fail_errno(err, errno, "cannot open log file '%s'", path);
    }
    pthread_mutex_lock(&log_mutex);
    if (log_fd != STDERR_FILENO)
        close(log_fd);
    log_fd = fd;
    snprintf(log_path, sizeof(log_path), "%s", is_stderr ? "" : path);
    pthread_mutex_unlock(&log_mutex);
    return SQ_OK;
}

sq_status sq_log_reopen(struct sq_error *err)
{
    char path[LOG_PATH_MAX];
    pthread_mutex_lock(&log_mutex);
    memcpy(path, log_path, sizeof(path));
    pthread_mutex_unlock(&log_mutex);
    return path[0] != '\0' ? sq_log_open(path, err) : SQ_OK;
}

static size_t put_time(char *out, size_t out_bytes)
{
    int64_t wall_us = sq_clock_wall_us();
    time_t seconds = (time_t)(wall_us / SQ_US_PER_S);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) == NULL)
        memset(&utc, 0, sizeof(utc));
    size_t used = strftime(out, out_bytes, "%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(out + used, out_bytes - used, ".%06dZ", (int)(wall_us % SQ_US_PER_S));
    return used + (size_t)more;
}

void sq_log(enum sq_log_level level, const char *target, const char *message, const char *pairs_format, ...)
{
    if (!sq_log_is_on(level))
        return;
    char line[LOG_LINE_MAX];
    size_t used = put_time(line, sizeof(line));
    used += (size_t)snprintf(line + used, sizeof(line) - used, " %s %s msg=\"%.256s\" ", level_names[level], target,
                             message);
    va_list arguments;
    va_start(arguments, pairs_format);
    int more = vsnprintf(line + used, sizeof(line) - used, pairs_format, arguments);
    va_end(arguments);
    if (more > 0)
        used += (size_t)more;
    if (used > sizeof(line) - 1)
        used = sq_utf8_cut(line, sizeof(line) - 1);
    while (used > 0 && line[used - 1] == ' ')
        used--;
    line[used++] = '\n';

    pthread_mutex_lock(&log_mutex);
    /* A log that cannot be written must not stop the server: there is nobody left to tell. */
    ssize_t written = write(log_fd, line, used);
    (void)written;
    pthread_mutex_unlock(&log_mutex);
}

const char *sq_log_quote(char out[SQ_LOG_QUOTED_MAX], const char *text)
{
    size_t used = 0;
    out[used++] = '"';
    size_t at = 0;
    for (; text[at] != '\0' && used < SQ_LOG_QUOTED_MAX - 6; at++) {
        unsigned char c = (unsigned char)text[at];
        if (c == '"' || c == '\\') {
            out[used++] = '\\';
            out[used++] = (char)c;
        } else if (c == '\n') {
            out[used++] = '\\';
            out[used++] = 'n';
        } else if (c < 0x20 || c == 0x7f) {
            used += (size_t)snprintf(out + used, SQ_LOG_QUOTED_MAX - used, "\\x%02x", c);
        } else {
            out[used++] = (char)c;
        }
    }
    if (text[at] != '\0')
        used = 1 + sq_utf8_cut(out + 1, used - 1);
    out[used++] = '"';
    out[used] = '\0';
    return out;
}

void sq_log_error(enum sq_log_level level, const char *target, const char *message, const struct sq_error *err)
{
    char quoted[SQ_LOG_QUOTED_MAX];
    sq_log(level, target, message, "sqlstate=%s error=%s at=%s:%d", err->sqlstate, sq_log_quote(quoted, err->text),
           err->file != NULL ? err->file : "?", err->line);
}
