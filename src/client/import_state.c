/* client/import_state.c: see import_state.h; the lines of the file are in import.h.
 *
 * Lines are only added, each with one write(2) and a sync. What a crash has cut off has no end of line, and does not count. A
 * state of another file (somebody has put a new one in its place) is begun anew. */
#include "client/import_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "client/naming.h"

enum {
    STATE_BYTES_MAX = 16 * 1024,
    FILE_MODE = 0600,
};

static const char first_line[] = "sqld-import 1\n", file_word[] = "file ", database_word[] = "database ",
                  content_word[] = "content ";

/* --- Numbers of contents --- */

struct client_import_hash client_import_hash_begin(void)
{
    return (struct client_import_hash){UINT64_C(0x6c62272e07bb0142), UINT64_C(0x62b821756295c58d)};
}

void client_import_hash_add(struct client_import_hash *hash, const uint8_t *bytes, size_t length)
{
    const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;
    unsigned __int128 value = (unsigned __int128)hash->high << 64 | hash->low;
    for (size_t i = 0; i < length; i++)
        value = (value ^ bytes[i]) * prime;
    hash->high = (uint64_t)(value >> 64);
    hash->low = (uint64_t)value;
}

void client_import_hash_end(const struct client_import_hash *hash, char to[CLIENT_IMPORT_CONTENT_BYTES])
{
    (void)snprintf(to, CLIENT_IMPORT_CONTENT_BYTES, "%016" PRIx64 "%016" PRIx64, hash->high, hash->low);
}

/* --- The file --- */

static sq_status fail(const struct client_import_state *state, struct sq_error *err, int errno_value)
{
    return sq_fail_errno(err, errno_value, "'%s'", state->path);
}

/* Opens and locks it. SQ_BUSY: somebody has removed it meanwhile. */
static sq_status lock(struct client_import_state *state, struct sq_error *err)
{
    state->fd = open(state->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, FILE_MODE);
    if (state->fd < 0)
        return fail(state, err, errno);
    int locked;
    while ((locked = flock(state->fd, LOCK_EX)) < 0 && errno == EINTR)
        continue;
    struct stat here, there;
    if (locked < 0 || fstat(state->fd, &here) < 0)
        return fail(state, err, errno);
    if (stat(state->path, &there) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino)
        return SQ_OK;
    (void)close(state->fd);
    state->fd = -1;
    return SQ_BUSY;
}

static sq_status add_line(const struct client_import_state *state, const char *word, const char *value,
                          struct sq_error *err)
{
    char *line = NULL;
    int length = asprintf(&line, "%s%s\n", word, value);
    if (length < 0)
        return sq_fail(err, SQ_NOMEM, "the state of an import");
    ssize_t written = lseek(state->fd, 0, SEEK_END) < 0 ? -1 : write(state->fd, line, (size_t)length);
    int failure = errno;
    free(line);
    if (written < 0)
        return fail(state, err, failure);
    if (written < length)
        return sq_fail(err, SQ_IO, "'%s': it was not written as a whole", state->path);
    return fdatasync(state->fd) == 0 ? SQ_OK : fail(state, err, errno);
}

static sq_status begin_anew(struct client_import_state *state, struct sq_error *err)
{
    char numbers[2 * 20 + 2];
    (void)snprintf(numbers, sizeof(numbers), "%ju %ju", (uintmax_t)state->device, (uintmax_t)state->inode);
    free(state->database);
    state->database = NULL;
    state->content[0] = '\0';
    if (ftruncate(state->fd, 0) < 0)
        return fail(state, err, errno);
    SQ_TRY(add_line(state, "", "sqld-import 1", err));
    return add_line(state, file_word, numbers, err);
}

static bool take_file(const struct client_import_state *state, const char *text)
{
    char *end = NULL;
    uintmax_t device = strtoumax(text, &end, 10);
    uintmax_t inode = strtoumax(end, &end, 10);
    return *end == '\0' && device == (uintmax_t)state->device && inode == (uintmax_t)state->inode;
}

/* One line. False: it makes no sense, or speaks of another file. */
static bool take_line(struct client_import_state *state, const char *line)
{
    if (strncmp(line, file_word, strlen(file_word)) == 0)
        return take_file(state, line + strlen(file_word));
    if (strncmp(line, database_word, strlen(database_word)) == 0) {
        free(state->database);
        state->database = strdup(line + strlen(database_word));
        return state->database != NULL;
    }
    const char *content = line + strlen(content_word);
    if (strncmp(line, content_word, strlen(content_word)) != 0 || strlen(content) != CLIENT_IMPORT_CONTENT_BYTES - 1)
        return false;
    memcpy(state->content, content, CLIENT_IMPORT_CONTENT_BYTES);
    return true;
}

static sq_status read_lines(struct client_import_state *state, struct sq_error *err)
{
    char text[STATE_BYTES_MAX + 1];
    ssize_t length = pread(state->fd, text, STATE_BYTES_MAX, 0);
    if (length < 0)
        return fail(state, err, errno);
    text[length] = '\0';
    bool is_good = strncmp(text, first_line, strlen(first_line)) == 0;
    char *line = text + strlen(first_line);
    int count = 0;
    for (char *end = NULL; is_good && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        is_good = take_line(state, line) && (count > 0 || strncmp(line, file_word, strlen(file_word)) == 0);
        count++;
    }
    if (is_good && count > 0 && *line != '\0') /* cut off */
        return ftruncate(state->fd, line - text) == 0 ? SQ_OK : fail(state, err, errno);
    return is_good && count > 0 ? SQ_OK : begin_anew(state, err);
}

sq_status client_import_state_open(struct client_import_state *state, const char *path, struct sq_error *err,
                                   bool *ret_is_needed)
{
    *state = (struct client_import_state){.fd = -1};
    if (asprintf(&state->path, "%s" CLIENT_IMPORT_SUFFIX, path) < 0) {
        state->path = NULL;
        return sq_fail(err, SQ_NOMEM, "the state of an import");
    }
    sq_status status;
    while ((status = lock(state, err)) == SQ_BUSY)
        continue;
    SQ_TRY(status);
    struct stat file;
    *ret_is_needed = lstat(path, &file) == 0 && S_ISREG(file.st_mode) && file.st_size >= CLIENT_DATABASE_FILE_BYTES_MIN;
    if (!*ret_is_needed)
        return SQ_OK;
    state->device = file.st_dev;
    state->inode = file.st_ino;
    return read_lines(state, err);
}

bool client_import_state_is_about(const struct client_import_state *state, const struct stat *file)
{
    return state->device == file->st_dev && state->inode == file->st_ino;
}

sq_status client_import_state_set_database(struct client_import_state *state, const char *database,
                                           struct sq_error *err)
{
    sq_assert(state->fd >= 0 && strchr(database, '\n') == NULL);
    SQ_TRY(add_line(state, database_word, database, err));
    free(state->database);
    state->database = strdup(database);
    return state->database != NULL ? SQ_OK : sq_fail(err, SQ_NOMEM, "the state of an import");
}

sq_status client_import_state_set_content(struct client_import_state *state,
                                          const char content[CLIENT_IMPORT_CONTENT_BYTES], struct sq_error *err)
{
    sq_assert(state->fd >= 0 && state->database != NULL);
    SQ_TRY(add_line(state, content_word, content, err));
    memcpy(state->content, content, CLIENT_IMPORT_CONTENT_BYTES);
    return SQ_OK;
}

void client_import_state_end(struct client_import_state *state)
{
    sq_assert(state->fd >= 0);
    (void)unlink(state->path); /* one that stays is of a file that has another name now */
    (void)close(state->fd);
    state->fd = -1;
}

void client_import_state_done(struct client_import_state *state)
{
    if (state->fd >= 0 && state->database == NULL)
        client_import_state_end(state);
    if (state->fd >= 0)
        (void)close(state->fd);
    free(state->path);
    free(state->database);
    *state = (struct client_import_state){.fd = -1};
}
