/* config/file.c: the config file.
 *
 *     # a comment
 *     data-dir = ./data            # another
 *     listen   = '127.0.0.1:5432, [::1]:5432'
 *
 * One `name = value` a line, as in postgresql.conf, but the = is needed. A value in single quotes may hold anything but
 * a line's end, with '' for a quote; without quotes it goes to the end of the line or to a #, and blanks around it do
 * not count. An option may be set once: the second line of two that disagree would win silently otherwise. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "config/config_internal.h"

/* The file being read. Invariant: at <= end, and `line` counts the line that `at` is in, from 1. */
struct file_reader {
    const char *path;
    const char *at;
    const char *end; /* of the current line */
    int line;
    struct sq_arena *arena;
    struct sq_error *err;
    struct config_setting *settings;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct file_reader *reader)
{
    while (reader->at < reader->end && is_blank(*reader->at))
        reader->at++;
}

static bool is_at_end(const struct file_reader *reader)
{
    return reader->at == reader->end || *reader->at == '#';
}

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static sq_status syntax_fail(const struct file_reader *reader, const char *reason)
{
    sq_status status = sq_fail(reader->err, SQ_INVALID, "%s:%d: %s", reader->path, reader->line, reason);
    sq_error_set_hint(reader->err, "A line is: name = value, or: name = 'value', with # before a comment.");
    return status;
}

/* Reads the name; its option goes to *ret_id. */
static sq_status name_read(struct file_reader *reader, enum config_option_id *ret_id)
{
    const char *start = reader->at;
    while (reader->at < reader->end && is_name_character(*reader->at))
        reader->at++;
    if (reader->at == start)
        return syntax_fail(reader, "there is no option's name");
    const char *name = sq_arena_copy(reader->arena, start, (size_t)(reader->at - start));
    if (name == NULL)
        return sq_fail(reader->err, SQ_NOMEM, "configuration");
    enum config_option_id id = config_option_find(name);
    if (id == CONFIG_OPTION_COUNT) {
        sq_status status =
            sq_fail(reader->err, SQ_INVALID, "%s:%d: no option is named '%s'", reader->path, reader->line, name);
        const char *nearest = config_option_nearest(name);
        if (nearest != NULL)
            sq_error_set_hint(reader->err, "Did you mean %s?", nearest);
        else
            sq_error_set_hint(reader->err, "sqld --help lists the options.");
        return status;
    }
    if ((config_options[id].flags & CONFIG_NOT_IN_FILE) != 0) {
        sq_status status = sq_fail(reader->err, SQ_INVALID, "%s:%d: '%s' cannot be set in a config file", reader->path,
                                   reader->line, config_options[id].name);
        sq_error_set_hint(reader->err, "Set it on the command line or in the environment.");
        return status;
    }
    *ret_id = id;
    return SQ_OK;
}

/* Reads a value in quotes, of which the first is at `at`. */
static sq_status quoted_read(struct file_reader *reader, const char **ret_text)
{
    char *text = sq_arena_alloc(reader->arena, (size_t)(reader->end - reader->at));
    if (text == NULL)
        return sq_fail(reader->err, SQ_NOMEM, "configuration");
    size_t length = 0;
    for (reader->at++; reader->at < reader->end; reader->at++) {
        if (*reader->at == '\'') {
            reader->at++;
            if (reader->at == reader->end || *reader->at != '\'') {
                text[length] = '\0';
                *ret_text = text;
                return SQ_OK;
            }
        }
        text[length++] = *reader->at;
    }
    return syntax_fail(reader, "the quote is not closed");
}

static sq_status unquoted_read(struct file_reader *reader, const char **ret_text)
{
    const char *start = reader->at;
    while (!is_at_end(reader))
        reader->at++;
    const char *stop = reader->at;
    while (stop > start && is_blank(stop[-1]))
        stop--;
    if (stop == start)
        return syntax_fail(reader, "there is no value ('' is the empty one)");
    const char *text = sq_arena_copy(reader->arena, start, (size_t)(stop - start));
    if (text == NULL)
        return sq_fail(reader->err, SQ_NOMEM, "configuration");
    *ret_text = text;
    return SQ_OK;
}

static sq_status line_read(struct file_reader *reader)
{
    skip_blanks(reader);
    if (is_at_end(reader))
        return SQ_OK;
    enum config_option_id id = CONFIG_OPTION_COUNT;
    SQ_TRY(name_read(reader, &id));
    skip_blanks(reader);
    if (is_at_end(reader) || *reader->at != '=')
        return syntax_fail(reader, "there is no = behind the name");
    reader->at++;
    skip_blanks(reader);
    const char *text = NULL;
    if (!is_at_end(reader) && *reader->at == '\'')
        SQ_TRY(quoted_read(reader, &text));
    else
        SQ_TRY(unquoted_read(reader, &text));
    skip_blanks(reader);
    if (!is_at_end(reader))
        return syntax_fail(reader, "there is something behind the value");

    struct config_setting *setting = &reader->settings[id];
    if (setting->text != NULL) {
        sq_status status = sq_fail(reader->err, SQ_INVALID, "%s:%d: '%s' was already set in line %d", reader->path,
                                   reader->line, config_options[id].name, setting->line);
        sq_error_set_hint(reader->err, "Keep one of the two lines.");
        return status;
    }
    size_t origin_bytes = strlen(reader->path) + sizeof(":2147483647");
    char *origin = sq_arena_alloc(reader->arena, origin_bytes);
    if (origin == NULL)
        return sq_fail(reader->err, SQ_NOMEM, "configuration");
    snprintf(origin, origin_bytes, "%s:%d", reader->path, reader->line);
    *setting = (struct config_setting){.text = text, .line = reader->line, .origin = origin};
    return SQ_OK;
}

sq_status config_file_parse(const char *bytes, size_t length, const char *path, struct sq_arena *arena,
                            struct sq_error *err, struct config_setting *settings)
{
    sq_assert(length <= CONFIG_FILE_BYTES_MAX);
    struct file_reader reader = {.path = path, .arena = arena, .err = err, .settings = settings};
    const char *next = bytes;
    const char *const end = bytes + length;
    while (next < end) {
        const char *newline = memchr(next, '\n', (size_t)(end - next));
        reader.at = next;
        reader.end = newline != NULL ? newline : end;
        reader.line++;
        if (memchr(reader.at, '\0', (size_t)(reader.end - reader.at)) != NULL)
            return syntax_fail(&reader, "there is a zero byte: this is not a text file");
        SQ_TRY(line_read(&reader));
        next = newline != NULL ? newline + 1 : end;
    }
    return SQ_OK;
}

/* Appends the whole file to `bytes`, whose limit is one byte above the largest file. */
static sq_status bytes_read(int fd, const char *path, struct sq_error *err, struct sq_buf *bytes)
{
    for (;;) {
        enum { PIECE_BYTES = 16384 };
        size_t room = bytes->max - sq_buf_length(bytes);
        if (room == 0) {
            sq_status status = sq_fail(err, SQ_INVALID, "config file '%s' is too large", path);
            sq_error_set_hint(err, "At most %d bytes are allowed.", CONFIG_FILE_BYTES_MAX);
            return status;
        }
        if (room > PIECE_BYTES)
            room = PIECE_BYTES;
        if (!sq_buf_reserve(bytes, room))
            return sq_buf_check(bytes, err);
        ssize_t count = read(fd, sq_buf_tail(bytes), room);
        if (count == 0)
            return SQ_OK;
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return sq_fail_errno(err, errno, "reading config file '%s'", path);
        sq_buf_produce(bytes, (size_t)count);
    }
}

sq_status config_file_read(const char *path, struct sq_arena *arena, struct sq_error *err,
                           struct config_setting *settings)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        sq_status status = sq_fail_errno(err, errno, "config file '%s'", path);
        sq_error_set_hint(err, "Make the file readable, or name another one with --config.");
        return status;
    }
    SQ_CLEANUP(sq_buf_done) struct sq_buf bytes;
    sq_buf_init(&bytes, CONFIG_FILE_BYTES_MAX + 1);
    sq_status status = bytes_read(fd, path, err, &bytes);
    close(fd);
    if (status != SQ_OK || sq_buf_length(&bytes) == 0)
        return status;
    return config_file_parse((const char *)sq_buf_bytes(&bytes), sq_buf_length(&bytes), path, arena, err, settings);
}
