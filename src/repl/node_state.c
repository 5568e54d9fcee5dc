/* repl/node_state.c: the file sqld.replication; node_state.h has its form. */
#include "repl/node_state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/inject.h"
#include "pgwire/cursor.h"
#include "wal/checksum.h"

enum {
    STATE_VERSION = 1,
    STATE_FIXED_BYTES = 48,
    STATE_CRC_BYTES = 8,
    STATE_BYTES_MAX = STATE_FIXED_BYTES + 2 * NODE_URL_BYTES_MAX + STATE_CRC_BYTES,
};

static const char state_magic[8] = {'S', 'Q', 'L', 'D', 'R', 'E', 'P', 'L'};
static const char state_name[] = "sqld.replication";

void node_state_done(struct node_state *state)
{
    free(state->followed_url);
    free(state->left_url);
    state->followed_url = state->left_url = NULL;
}

sq_status node_state_set_url(char **old_url, const char *url, struct sq_error *err)
{
    char *copy = NULL;
    if (url != NULL && url[0] != '\0') {
        if (strlen(url) > NODE_URL_BYTES_MAX)
            return sq_fail(err, SQ_INVALID, "the URL is longer than %d bytes", NODE_URL_BYTES_MAX);
        copy = strdup(url);
        if (copy == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for a URL");
    }
    free(*old_url);
    *old_url = copy;
    return SQ_OK;
}

static sq_status make_path(const char *data_dir, const char *suffix, char path[PATH_MAX], struct sq_error *err)
{
    int length = snprintf(path, PATH_MAX, "%s/%s%s", data_dir, state_name, suffix);
    return length > 0 && length < PATH_MAX ? SQ_OK : sq_fail(err, SQ_INVALID, "the name '%s' is too long", data_dir);
}

/* --- Reading ------------------------------------------------------------------------------------------------------- */

static sq_status decode_role(uint32_t number, struct sq_error *err, enum repl_role *ret_role)
{
    static const enum repl_role roles[] = {REPL_PRIMARY, REPL_REPLICA, REPL_FENCED};
    if (number < 1 || number > sizeof(roles) / sizeof(roles[0]))
        return sq_fail(err, SQ_CORRUPT, "%s: role %u is unknown", state_name, number);
    *ret_role = roles[number - 1];
    return SQ_OK;
}

/* NULL for one of no bytes. */
static sq_status decode_url(struct pgwire_cursor *cursor, uint32_t length, struct sq_error *err, char **ret_url)
{
    const uint8_t *bytes = pgwire_get_bytes(cursor, length);
    if (bytes == NULL || (length > 0 && memchr(bytes, '\0', length) != NULL))
        return sq_fail(err, SQ_CORRUPT, "%s: a URL is damaged", state_name);
    if (length == 0)
        return SQ_OK;
    *ret_url = strndup((const char *)bytes, length);
    return *ret_url != NULL ? SQ_OK : sq_fail(err, SQ_NOMEM, "out of memory for a URL");
}

static sq_status decode(const uint8_t *bytes, size_t length, struct sq_error *err, struct node_state *state)
{
    if (length < STATE_FIXED_BYTES + STATE_CRC_BYTES || memcmp(bytes, state_magic, sizeof(state_magic)) != 0)
        return sq_fail(err, SQ_CORRUPT, "%s is not what it should be", state_name);
    struct pgwire_cursor end = pgwire_cursor_make(bytes + length - STATE_CRC_BYTES, STATE_CRC_BYTES);
    if (wal_crc64(0, bytes, length - STATE_CRC_BYTES) != pgwire_get_u64(&end))
        return sq_fail(err, SQ_CORRUPT, "%s is damaged: its checksum is wrong", state_name);
    struct pgwire_cursor cursor = pgwire_cursor_make(bytes, length - STATE_CRC_BYTES);
    (void)pgwire_get_bytes(&cursor, sizeof(state_magic));
    uint32_t version = pgwire_get_u32(&cursor);
    if (version != STATE_VERSION)
        return sq_fail(err, SQ_CORRUPT, "%s has version %u; this sqld knows %d", state_name, version, STATE_VERSION);
    SQ_TRY(decode_role(pgwire_get_u32(&cursor), err, &state->role));
    state->system_id = pgwire_get_u64(&cursor);
    state->timeline = pgwire_get_u64(&cursor);
    state->seen_timeline = pgwire_get_u64(&cursor);
    uint32_t followed_bytes = pgwire_get_u32(&cursor);
    uint32_t left_bytes = pgwire_get_u32(&cursor);
    SQ_TRY(decode_url(&cursor, followed_bytes, err, &state->followed_url));
    SQ_TRY(decode_url(&cursor, left_bytes, err, &state->left_url));
    if (!pgwire_cursor_is_done(&cursor))
        return sq_fail(err, SQ_CORRUPT, "%s has bytes that do not belong to it", state_name);
    return SQ_OK;
}

sq_status node_state_read(const char *data_dir, struct sq_error *err, struct node_state *ret_state)
{
    char path[PATH_MAX];
    uint8_t bytes[STATE_BYTES_MAX + 1];
    SQ_TRY(make_path(data_dir, "", path, err));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return sq_fail(err, SQ_NOT_FOUND, "there is no '%s'", path);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot read '%s'", path);
    ssize_t length = read(fd, bytes, sizeof(bytes));
    int reason = errno;
    close(fd);
    if (length < 0)
        return sq_fail_errno(err, reason, "cannot read '%s'", path);
    struct node_state state = {0};
    sq_status status = decode(bytes, (size_t)length, err, &state);
    if (status != SQ_OK) {
        node_state_done(&state);
        return status;
    }
    *ret_state = state;
    return SQ_OK;
}

/* --- Writing ------------------------------------------------------------------------------------------------------- */

static uint32_t url_bytes(const char *url)
{
    return url != NULL ? (uint32_t)strlen(url) : 0;
}

static void encode(const struct node_state *state, struct sq_buf *buf)
{
    sq_buf_put(buf, state_magic, sizeof(state_magic));
    sq_buf_put_u32(buf, STATE_VERSION);
    sq_buf_put_u32(buf, state->role == REPL_PRIMARY ? 1 : state->role == REPL_REPLICA ? 2 : 3);
    sq_buf_put_u64(buf, state->system_id);
    sq_buf_put_u64(buf, state->timeline);
    sq_buf_put_u64(buf, state->seen_timeline);
    sq_buf_put_u32(buf, url_bytes(state->followed_url));
    sq_buf_put_u32(buf, url_bytes(state->left_url));
    sq_buf_put(buf, state->followed_url, url_bytes(state->followed_url));
    sq_buf_put(buf, state->left_url, url_bytes(state->left_url));
    sq_buf_put_u64(buf, wal_crc64(0, sq_buf_bytes(buf), sq_buf_length(buf)));
}

static sq_status write_file(const char *path, const struct sq_buf *buf, struct sq_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot write '%s'", path);
    ssize_t written = write(fd, sq_buf_bytes(buf), sq_buf_length(buf));
    int reason = written < 0 ? errno : ENOSPC;
    bool is_whole = written == (ssize_t)sq_buf_length(buf);
    if (is_whole && fsync(fd) != 0) {
        is_whole = false;
        reason = errno;
    }
    close(fd);
    return is_whole ? SQ_OK : sq_fail_errno(err, reason, "cannot write '%s'", path);
}

static sq_status sync_directory(const char *data_dir, struct sq_error *err)
{
    int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sq_fail_errno(err, errno, "cannot use data directory '%s'", data_dir);
    bool is_synced = fsync(fd) == 0;
    int reason = errno;
    close(fd);
    return is_synced ? SQ_OK : sq_fail_errno(err, reason, "cannot sync data directory '%s'", data_dir);
}

sq_status node_state_write(const char *data_dir, const struct node_state *state, struct sq_error *err)
{
    char path[PATH_MAX];
    char new_path[PATH_MAX];
    SQ_TRY(make_path(data_dir, "", path, err));
    SQ_TRY(make_path(data_dir, ".tmp", new_path, err));
    SQ_CLEANUP(sq_buf_done) struct sq_buf buf;
    sq_buf_init(&buf, STATE_BYTES_MAX);
    encode(state, &buf);
    SQ_TRY(sq_buf_check(&buf, err));
    sq_inject("repl.state.before_write");
    SQ_TRY(sq_inject_status("repl.state.write", err));
    SQ_TRY(write_file(new_path, &buf, err));
    if (rename(new_path, path) != 0)
        return sq_fail_errno(err, errno, "cannot rename '%s'", new_path);
    SQ_TRY(sync_directory(data_dir, err));
    sq_inject("repl.state.after_write");
    return SQ_OK;
}
