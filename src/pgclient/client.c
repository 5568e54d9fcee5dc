/* pgclient/client.c: messages of one connection.
 *
 * Invariants
 *   1. A message that was given to the caller stays at the front of `in` until the next call that reads or sends.
 *   2. A failed connection is never read or written again.
 *   3. Memory grows with bytes that have come, not with lengths that were announced, and ends at a limit. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/tls.h"
#include "pgclient/client_internal.h"
#include "pgwire/backend.h"
#include "pgwire/frontend.h"

enum { CLIENT_GOODBYE_US = 500 * 1000 }; /* the longest that closing waits for the server */

sq_status pgclient_new(int fd, struct sq_error *err, struct pgclient **ret_client)
{
    sq_assert(fd >= 0 && ret_client != NULL);
    struct pgclient *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        close(fd);
        return sq_fail(err, SQ_NOMEM, "out of memory for a connection");
    }
    client->fd = fd;
    client->message_bytes_max = PGCLIENT_STARTUP_MESSAGE_BYTES_MAX;
    sq_buf_init(&client->in, PGCLIENT_MESSAGE_BYTES_MAX + PGCLIENT_READ_BYTES);
    sq_buf_init(&client->out, PGCLIENT_MESSAGE_BYTES_MAX);
    *ret_client = client;
    return SQ_OK;
}

static void notes_free(struct pgclient_note *note)
{
    while (note != NULL) {
        struct pgclient_note *next = note->next;
        free(note->name);
        free(note->value);
        free(note);
        note = next;
    }
}

void pgclient_abandon(struct pgclient *client)
{
    if (client == NULL)
        return;
    net_tls_free(client->tls);
    close(client->fd);
    sq_buf_done(&client->in);
    sq_buf_done(&client->out);
    notes_free(client->statuses);
    notes_free(client->refused);
    explicit_bzero(client->cancel_packet, sizeof(client->cancel_packet));
    free(client);
}

/* Until the server has closed its side: then the session is over, and what it held is free for who comes next. */
static void wait_for_end(int fd)
{
    int64_t until_us = sq_clock_now_us() + CLIENT_GOODBYE_US;
    (void)shutdown(fd, SHUT_WR); /* a broken connection has ended */
    for (;;) {
        char rest[4096];
        ssize_t got = recv(fd, rest, sizeof(rest), MSG_DONTWAIT);
        int64_t left_us = until_us - sq_clock_now_us();
        bool is_waiting = got < 0 && (errno == EAGAIN || errno == EINTR);
        if (got == 0 || (got < 0 && !is_waiting) || left_us <= 0)
            return;
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        if (is_waiting)
            (void)poll(&pollfd, 1, (int)(left_us / SQ_US_PER_MS) + 1); /* recv() looks what it was */
    }
}

void pgclient_free(struct pgclient *client)
{
    /* Behind half a message nobody would understand it. */
    if (client != NULL && !client->is_failed && sq_buf_length(&client->out) == 0) {
        pgwire_put_terminate(&client->out);
        pgclient_stream_flush_now(client);
        if (client->tls != NULL)
            net_tls_close(client->tls);
        wait_for_end(client->fd);
    }
    pgclient_abandon(client);
}

sq_status pgclient_fail(struct pgclient *client, sq_status status, const struct sq_error *err)
{
    sq_assert(status != SQ_OK);
    if (!client->is_failed)
        (void)snprintf(client->failure, sizeof(client->failure), "%.*s", PGCLIENT_FAILURE_TEXT_MAX - 1,
                       err != NULL ? err->text : "the connection to the server broke");
    client->is_failed = true;
    return status;
}

static sq_status check_alive(const struct pgclient *client, struct sq_error *err)
{
    if (SQ_LIKELY(!client->is_failed))
        return SQ_OK;
    return sq_fail(err, SQ_CLOSED, "the connection to the server is lost: %s", client->failure);
}

/* --- What the server says of itself -------------------------------------------------------------------------------- */

static struct pgclient_note *note_find(struct pgclient_note *note, const char *name)
{
    while (note != NULL && strcmp(note->name, name) != 0)
        note = note->next;
    return note;
}

static sq_status note_add(struct pgclient_note **list, const char *name, const char *value, struct sq_error *err)
{
    struct pgclient_note *note = calloc(1, sizeof(*note));
    if (note != NULL) {
        note->name = strdup(name);
        note->value = strdup(value);
    }
    if (note == NULL || note->name == NULL || note->value == NULL) {
        notes_free(note);
        return sq_fail(err, SQ_NOMEM, "out of memory for the server's parameters");
    }
    note->next = *list;
    *list = note;
    return SQ_OK;
}

sq_status pgclient_note_refused(struct pgclient *client, const char *name, struct sq_error *err)
{
    return note_find(client->refused, name) != NULL ? SQ_OK : note_add(&client->refused, name, "", err);
}

static sq_status note_status(struct pgclient *client, const struct pgwire_frame *frame, struct sq_error *err)
{
    struct pgwire_parameter_status parameter;
    SQ_TRY(pgwire_parameter_status_decode(frame, err, &parameter));
    if (parameter.name.length + parameter.value.length > PGCLIENT_STATUS_BYTES_MAX)
        return sq_fail(err, SQ_PROTOCOL, "the server reports a parameter of %zu bytes",
                       parameter.name.length + parameter.value.length);
    struct pgclient_note *note = note_find(client->statuses, parameter.name.data);
    if (note != NULL) {
        char *value = strdup(parameter.value.data);
        if (value == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for the server's parameters");
        free(note->value);
        note->value = value;
        return SQ_OK;
    }
    if (client->status_count == PGCLIENT_STATUS_COUNT_MAX)
        return sq_fail(err, SQ_PROTOCOL, "the server reports more than %d parameters", PGCLIENT_STATUS_COUNT_MAX);
    SQ_TRY(note_add(&client->statuses, parameter.name.data, parameter.value.data, err));
    client->status_count++;
    return SQ_OK;
}

const char *pgclient_status(const struct pgclient *client, const char *name)
{
    const struct pgclient_note *note = note_find(client->statuses, name);
    return note != NULL ? note->value : NULL;
}

bool pgclient_next_status(const struct pgclient *client, size_t *cursor, const char **ret_name, const char **ret_value)
{
    const struct pgclient_note *note = client->statuses;
    for (size_t i = 0; note != NULL && i < *cursor; i++)
        note = note->next;
    if (note == NULL)
        return false;
    (*cursor)++;
    *ret_name = note->name;
    *ret_value = note->value;
    return true;
}

bool pgclient_has_refused(const struct pgclient *client, const char *option)
{
    return note_find(client->refused, option) != NULL;
}

/* --- Messages ------------------------------------------------------------------------------------------------------ */

static bool is_asynchronous(uint8_t type)
{
    return type == PGWIRE_PARAMETER_STATUS || type == PGWIRE_NOTICE_RESPONSE || type == PGWIRE_NOTIFICATION_RESPONSE;
}

static void frame_done(struct pgclient *client)
{
    if (client->frame_bytes > 0) {
        sq_buf_consume(&client->in, client->frame_bytes);
        client->frame_bytes = 0;
        sq_buf_shrink(&client->in, PGCLIENT_KEEP_BYTES);
    }
}

/* A message above the limit, too, leaves the stream out of step. */
static sq_status fail_frame(struct sq_error *err)
{
    if (err != NULL) {
        err->status = SQ_PROTOCOL;
        (void)snprintf(err->sqlstate, sizeof(err->sqlstate), "08P01");
    }
    return SQ_PROTOCOL;
}

/* The next message of those that have come, of any kind. SQ_BUSY: none is whole. */
static sq_status frame_take_any(struct pgclient *client, struct sq_error *err, struct pgwire_frame *ret_frame)
{
    size_t needed;
    sq_assert(client->frame_bytes == 0);
    switch (pgwire_backend_frame_next(sq_buf_bytes(&client->in), sq_buf_length(&client->in), client->message_bytes_max,
                                      err, ret_frame, &needed)) {
    case PGWIRE_FRAME_NEED_MORE:
        return SQ_BUSY;
    case PGWIRE_FRAME_BAD:
        return fail_frame(err);
    case PGWIRE_FRAME_READY:
        break;
    }
    client->frame_bytes = ret_frame->total_bytes;
    return SQ_OK;
}

/* The next one that is not dealt with on the way. */
static sq_status frame_take(struct pgclient *client, struct sq_error *err, struct pgwire_frame *ret_frame)
{
    for (;;) {
        struct pgwire_frame frame;
        sq_status status = frame_take_any(client, err, &frame);
        if (status != SQ_OK)
            return status;
        if (!is_asynchronous(frame.type)) {
            *ret_frame = frame;
            return SQ_OK;
        }
        if (frame.type == PGWIRE_PARAMETER_STATUS)
            SQ_TRY(note_status(client, &frame, err));
        frame_done(client);
    }
}

sq_status pgclient_next_frame(struct pgclient *client, int64_t deadline_us, struct sq_error *err,
                              struct pgwire_frame *ret_frame)
{
    frame_done(client);
    for (;;) {
        sq_status status = frame_take(client, err, ret_frame);
        if (status != SQ_BUSY)
            return status;
        SQ_TRY(pgclient_stream_read(client, deadline_us, err));
    }
}

struct sq_buf *pgclient_out(struct pgclient *client)
{
    return &client->out;
}

/* A server that ends a connection says why before it closes: what it has said is worth more than "Broken pipe". */
static sq_status fail_with_last_words(struct pgclient *client, sq_status status, struct sq_error *err)
{
    struct sq_error said;
    sq_error_clear(&said);
    struct pgwire_frame frame;
    sq_status found;
    do {
        frame_done(client);
        short events;
        found = frame_take(client, &said, &frame);
        if (found == SQ_BUSY)
            found = pgclient_stream_read_now(client, &said, &events) == SQ_OK ? frame_take(client, &said, &frame)
                                                                              : SQ_CLOSED;
    } while (found == SQ_OK && frame.type != PGWIRE_ERROR_RESPONSE);
    bool is_said = found == SQ_OK && pgclient_fail_report(&frame, &said) != SQ_OK && said.status != SQ_PROTOCOL;
    pgclient_fail(client, status, is_said ? &said : err);
    return check_alive(client, err);
}

sq_status pgclient_send(struct pgclient *client, struct sq_error *err)
{
    SQ_TRY(check_alive(client, err));
    frame_done(client);
    SQ_TRY(sq_buf_check(&client->out, err));
    sq_status status = pgclient_stream_flush(client, 0, err);
    if (status == SQ_OK) {
        sq_buf_shrink(&client->out, PGCLIENT_KEEP_BYTES);
        return SQ_OK;
    }
    /* Whatever the reason: half a message may have gone. */
    return fail_with_last_words(client, status, err);
}

sq_status pgclient_receive(struct pgclient *client, int64_t timeout_us, struct sq_error *err,
                           struct pgwire_frame *ret_frame)
{
    SQ_TRY(check_alive(client, err));
    frame_done(client);
    for (;;) {
        sq_status status = frame_take(client, err, ret_frame);
        if (status == SQ_OK)
            return SQ_OK;
        if (status != SQ_BUSY)
            return pgclient_fail(client, status, err);
        /* Each byte that comes breaks the silence. */
        status = pgclient_stream_read(client, timeout_us > 0 ? sq_clock_now_us() + timeout_us : 0, err);
        if (status == SQ_BUSY)
            return SQ_BUSY;
        if (status != SQ_OK)
            return pgclient_fail(client, status, err);
    }
}

bool pgclient_is_failed(const struct pgclient *client)
{
    return client->is_failed;
}

/* --- Without waiting ------------------------------------------------------------------------------------------------ */

int pgclient_descriptor(const struct pgclient *client)
{
    return client->fd;
}

sq_status pgclient_send_some(struct pgclient *client, struct sq_error *err)
{
    SQ_TRY(check_alive(client, err));
    SQ_TRY(sq_buf_check(&client->out, err));
    sq_status status = pgclient_stream_flush_some(client, err);
    if (status == SQ_OK)
        sq_buf_shrink(&client->out, PGCLIENT_KEEP_BYTES);
    if (status == SQ_OK || status == SQ_BUSY)
        return status;
    frame_done(client);
    return fail_with_last_words(client, status, err);
}

sq_status pgclient_take(struct pgclient *client, struct sq_error *err, struct pgwire_frame *ret_frame)
{
    SQ_TRY(check_alive(client, err));
    frame_done(client);
    for (;;) {
        short events;
        sq_status status = frame_take_any(client, err, ret_frame);
        if (status == SQ_BUSY)
            status = pgclient_stream_read_now(client, err, &events);
        else
            return status == SQ_OK ? SQ_OK : pgclient_fail(client, status, err);
        if (status == SQ_BUSY)
            return SQ_BUSY;
        if (status != SQ_OK)
            return pgclient_fail(client, status, err);
    }
}

uint32_t pgclient_pid(const struct pgclient *client)
{
    enum { PID_OFFSET = 8 }; /* of a CancelRequest: behind its length and code */
    if (client->cancel_bytes < PID_OFFSET + sizeof(uint32_t))
        return 0;
    const uint8_t *pid = client->cancel_packet + PID_OFFSET;
    return (uint32_t)pid[0] << 24 | (uint32_t)pid[1] << 16 | (uint32_t)pid[2] << 8 | pid[3];
}

void pgclient_break(struct pgclient *client)
{
    if (client == NULL)
        return;
    /* A reset, and not an end that a server may only notice when it next looks for a message. */
    struct linger linger = {.l_onoff = 1};
    (void)setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)); /* of a Unix socket: of no effect */
    pgclient_abandon(client);
}

bool pgclient_is_stale(struct pgclient *client)
{
    if (client->is_failed)
        return true;
    frame_done(client);
    struct sq_error err;
    sq_error_clear(&err);
    short events;
    sq_status status = pgclient_stream_read_now(client, &err, &events);
    struct pgwire_frame frame;
    if (status == SQ_OK || status == SQ_BUSY)
        status = frame_take(client, &err, &frame);
    if (status == SQ_OK) {
        client->frame_bytes = 0; /* it stays, for pgclient_receive() */
        return true;
    }
    if (status != SQ_BUSY)
        pgclient_fail(client, status, &err);
    return status != SQ_BUSY || sq_buf_length(&client->in) > 0;
}
