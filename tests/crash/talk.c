/* tests/crash/talk.c: see the header. */
#include "talk.h"

#include <errno.h>
#include <time.h>

enum { TALK_PATIENCE_S = 120, TALK_ROW_BYTES_MAX = 1 << 16 };

static void on_wake(struct sq_waker *waker)
{
    sem_post(&SQ_CONTAINER_OF(SQ_CONTAINER_OF(waker, struct fixture_client, waker), struct talk, client)->woken);
}

/* Until the session is woken, or wants to look again by itself. */
static void wait_for_wake(struct talk *talk)
{
    struct timespec until;
    int64_t deadline_us = session_deadline_us(talk->client.session);
    int64_t wait_us = deadline_us != 0 ? deadline_us - sq_clock_now_us() : (int64_t)TALK_PATIENCE_S * SQ_US_PER_S;
    if (wait_us <= 0)
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t until_ns = until.tv_nsec + wait_us % SQ_US_PER_S * 1000;
    until.tv_sec += wait_us / SQ_US_PER_S + until_ns / 1000000000;
    until.tv_nsec = until_ns % 1000000000;
    int result;
    do {
        result = sem_timedwait(&talk->woken, &until);
    } while (result != 0 && errno == EINTR);
    sq_assert(result == 0 || deadline_us != 0); /* nobody wakes a session that waits */
}

size_t talk_row(const struct pgwire_frame *frame, char *buffer, size_t buffer_bytes,
                const char *values[TALK_COLUMNS_MAX])
{
    struct sq_error err;
    struct pgwire_data_row row;
    struct pgwire_value value;
    size_t count = 0;
    size_t used = 0;
    sq_status status = pgwire_data_row_decode(frame, &err, &row);
    sq_assert(status == SQ_OK);
    while (pgwire_values_next(&row.columns, &value)) {
        sq_assert(count < TALK_COLUMNS_MAX && used + value.length + 1 <= buffer_bytes);
        values[count++] = buffer + used;
        if (value.length > 0)
            memcpy(buffer + used, value.data, value.length);
        used += value.length;
        buffer[used++] = '\0';
    }
    return count;
}

static void note(void *context, const struct pgwire_frame *frame)
{
    static _Thread_local char buffer[TALK_ROW_BYTES_MAX];
    struct talk *talk = context;
    const char *values[TALK_COLUMNS_MAX];
    if (frame->type != PGWIRE_DATA_ROW || talk->row_cb == NULL)
        return;
    size_t count = talk_row(frame, buffer, sizeof(buffer), values);
    talk->row_cb(talk->context, values, count);
}

/* Lets out what may leave. False: it must wait. */
static bool release(struct talk *talk)
{
    struct fixture_client *client = &talk->client;
    if (sq_buf_length(&client->out) == 0)
        return true;
    switch (session_release(client->session)) {
    case SESSION_HELD_BACK:
        return false;
    case SESSION_LOST:
        sq_buf_truncate(&client->out, 0);
        session_put_loss(client->session, &client->out);
        talk->is_over = true;
        break;
    case SESSION_RELEASED:
        break;
    }
    answers_take(&client->answers, &client->out, talk, note);
    return true;
}

/* Goes on until the server has answered everything. */
static void play(struct talk *talk)
{
    struct fixture_client *client = &talk->client;
    while (!talk->is_over) {
        client->want = session_run(client->session, &client->in, &client->out);
        while (!release(talk))
            wait_for_wake(talk);
        if (client->want == SESSION_CLOSE)
            talk->is_over = true;
        if (client->want == SESSION_NEED_INPUT)
            return;
        if (client->want == SESSION_WAITING)
            wait_for_wake(talk);
    }
}

void talk_put_startup(struct sq_buf *out)
{
    size_t offset = pgwire_put_startup_begin(out, PGWIRE_VERSION_3_0);
    pgwire_put_startup_parameter(out, "user", "crash");
    pgwire_put_startup_parameter(out, "database", "main");
    pgwire_put_startup_end(out, offset);
}

bool talk_open(struct talk *talk, struct session_fixture *server)
{
    memset(talk, 0, sizeof(*talk));
    sem_init(&talk->woken, 0, 0);
    fixture_client_open(&talk->client, server);
    talk->client.waker.wake_cb = on_wake;
    talk_put_startup(&talk->client.in);
    play(talk);
    return !talk->is_over && talk->client.answers.ready_count == 1 && talk->client.answers.error_count == 0;
}

bool talk_query(struct talk *talk, const char *sql, void *context,
                void (*row_cb)(void *context, const char *const *values, size_t count))
{
    struct answers *answers = &talk->client.answers;
    if (talk->is_over)
        return false;
    size_t error_count = answers->error_count;
    size_t ready_count = answers->ready_count;
    talk->context = context;
    talk->row_cb = row_cb;
    pgwire_put_query(&talk->client.in, sql, strlen(sql));
    play(talk);
    sq_assert(talk->is_over || answers->ready_count == ready_count + 1);
    return !talk->is_over && answers->error_count == error_count;
}

const char *talk_sqlstate(const struct talk *talk)
{
    return talk->client.answers.sqlstate;
}

void talk_close(struct talk *talk)
{
    if (talk->client.session != NULL)
        fixture_client_close(&talk->client);
    sem_destroy(&talk->woken);
}
