/* client/outcome.c: see outcome.h. */
#include "client/outcome.h"

#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "client/connect.h"
#include "client/interrupt.h"

enum {
    REACH_US =
        5 * SQ_US_PER_S, /* a server that refuses connections is tried again for so long; less with connect_timeout */
    SETTLE_US = 30 * SQ_US_PER_S, /* a session that was told to end may take so long */
    PAUSE_US_MIN = 1 * SQ_US_PER_MS,
    PAUSE_US_MAX = 100 * SQ_US_PER_MS,
};

enum outcome { OUTCOME_UNKNOWN = 0, OUTCOME_DONE = 1, OUTCOME_NOT_DONE = 2, OUTCOME_LIVE = 3 };

struct outcome_told {
    enum outcome outcome;
    int32_t result;
    int64_t changes;
    int64_t total_changes;
    int64_t last_insert_rowid;
    uint32_t row_count;
    bool has_changed;            /* rows */
    char why[SQ_ERROR_TEXT_MAX]; /* UNKNOWN */
};

/* Waits, longer each time. False: it is `until_us`. */
static bool pause_until(int64_t until_us, int64_t *pause_us)
{
    if (sq_clock_now_us() + *pause_us >= until_us)
        return false;
    /* Nothing tells when a server is there again, or a session has gone. A signal only makes it shorter. */
    (void)poll(NULL, 0, (int)(*pause_us / SQ_US_PER_MS));
    *pause_us = *pause_us * 2 < PAUSE_US_MAX ? *pause_us * 2 : PAUSE_US_MAX;
    return true;
}

static void say_why(struct outcome_told *told, const char *why)
{
    client_real.sqlite3_snprintf((int)sizeof(told->why), told->why, "the server cannot be asked: %s", why);
}

/* Connects, unless there is a connection. False: the server cannot be reached; told->why says it. */
static bool reach(struct client_remote *remote, struct outcome_told *told)
{
    int64_t limit_us = pgclient_target_connect_timeout_us(remote->target);
    int64_t until_us = sq_clock_now_us() + (limit_us > 0 && limit_us < REACH_US ? limit_us : REACH_US);
    int64_t pause_us = PAUSE_US_MIN;
    struct sq_error err;
    sq_status status = SQ_OK;
    do {
        sq_error_clear(&err);
        status = remote->client == NULL ? client_connect_again(remote, &err) : SQ_OK;
    } while (status != SQ_OK && status != SQ_INVALID && status != SQ_NOT_FOUND && pause_until(until_us, &pause_us));
    if (status != SQ_OK)
        say_why(told, err.text);
    return status == SQ_OK;
}

/* Asks once. False: the answer was lost, too. */
static bool ask_once(struct client_remote *remote, const struct client_sent *sent, struct outcome_told *told)
{
    struct sq_buf *out = client_request_begin(remote, NATIVE_OUTCOME);
    sq_buf_put(out, sent->key, sizeof(sent->key));
    sq_buf_put_u64(out, sent->number);
    struct pgwire_cursor body;
    if (client_request_end(remote, NULL, &body) != SQLITE_OK)
        return false;
    uint8_t state = pgwire_get_u8(&body);
    if (state == OUTCOME_DONE) {
        told->result = (int32_t)pgwire_get_u32(&body);
        told->changes = (int64_t)pgwire_get_u64(&body);
        told->total_changes = (int64_t)pgwire_get_u64(&body);
        told->last_insert_rowid = (int64_t)pgwire_get_u64(&body);
        told->row_count = pgwire_get_u32(&body);
    }
    if (state > OUTCOME_LIVE)
        pgwire_cursor_fail(&body);
    if (client_body_check(remote, &body) != SQLITE_OK)
        return false;
    told->outcome = (enum outcome)state;
    return true;
}

/* Asks until there is an answer that stays true, or it has taken too long. */
static void ask(struct client_remote *remote, const struct client_sent *sent, struct outcome_told *told)
{
    int64_t until_us = sq_clock_now_us() + SETTLE_US;
    int64_t pause_us = PAUSE_US_MIN;
    bool is_told = false;
    const struct client_state state = remote->state;
    *told = (struct outcome_told){.outcome = OUTCOME_UNKNOWN};
    sq_assert(sent->number > 0 && remote->call_depth == 0 && !remote->is_connecting);
    remote->is_connecting = true;
    while (reach(remote, told)) {
        is_told = ask_once(remote, sent, told);
        bool is_settled = is_told && told->outcome != OUTCOME_LIVE;
        /* What was not just cut would not be otherwise the next time. */
        bool is_useless = !is_told && remote->loss.kind != CLIENT_LOSS_BROKEN;
        if (is_settled || is_useless || !pause_until(until_us, &pause_us))
            break;
    }
    remote->is_connecting = false;
    remote->state = state; /* what the application knows; not what the new connection thinks */
    if (is_told && told->outcome != OUTCOME_LIVE)
        return;
    if (is_told)
        say_why(told, "its session does not end");
    else if (remote->client == NULL && told->why[0] == '\0')
        say_why(told, remote->loss.why);
    told->outcome = OUTCOME_UNKNOWN;
}

/* Records the loss of a connection, and what it means. */
static int fail(struct client_remote *remote, int code, const struct client_loss *loss, const char *what)
{
    client_real.sqlite3_snprintf((int)sizeof(remote->lost_message), remote->lost_message,
                                 "the connection to %s was lost: %s; %s", pgclient_target_label(remote->target),
                                 loss->why, what);
    return client_error_set(remote, code, "%s", remote->lost_message);
}

static int fail_unknown(struct client_remote *remote, const struct client_sent *sent, const struct client_loss *loss,
                        const char *why)
{
    char what[SQ_ERROR_TEXT_MAX];
    client_real.sqlite3_snprintf((int)sizeof(what), what, "whether the %s is unknown: %s",
                                 sent->is_autocommit ? "statement took effect" : "transaction was committed", why);
    return fail(remote, SQLITE_IOERR_SQLD_UNKNOWN, loss, what);
}

static int fail_not_done(struct client_remote *remote, const struct client_sent *sent, const struct client_loss *loss,
                         bool may_repeat)
{
    remote->may_repeat = may_repeat && sent->is_autocommit;
    return fail(remote, SQLITE_IOERR_SQLD_LOST, loss,
                sent->is_autocommit ? "the statement was not carried out"
                                    : "the transaction was not committed, it was rolled back");
}

/* The request was done. */
static int take(struct client_remote *remote, const struct client_sent *sent, const struct client_loss *loss,
                const struct outcome_told *told, bool may_repeat, struct native_answer *ret_answer)
{
    if (client_code_is_error(told->result)) {
        /* What has failed without changing anything fails again in the same way, and says more. */
        remote->may_repeat = may_repeat && !told->has_changed;
        if (remote->may_repeat)
            return fail(remote, SQLITE_IOERR_SQLD_LOST, loss, "the statement failed");
        return client_error_set(remote, told->result, NULL);
    }
    if (loss->is_temporary)
        return fail(remote, SQLITE_IOERR_SQLD_COMMITTED, loss, "it was committed, but temporary tables are gone");
    if (sent->risk == CLIENT_RISK_PRAGMA) {
        remote->may_repeat = may_repeat;
        return fail(remote, SQLITE_IOERR_SQLD_COMMITTED, loss, "it was carried out, but settings are gone");
    }
    if (told->row_count > 0)
        return fail(remote, SQLITE_IOERR_SQLD_COMMITTED, loss, "it was committed, but the rows of its result are lost");
    remote->is_settled = true;
    *ret_answer = (struct native_answer){
        .result = told->result,
        .is_autocommit = true,
        .changes = told->changes,
        .total_changes = told->total_changes,
        .last_insert_rowid = told->last_insert_rowid,
        .generation = remote->state.generation,
        .error_offset = -1,
    };
    (void)client_error_set(remote, SQLITE_OK, NULL);
    return told->result;
}

/* The connection that was asked becomes the application's. */
static void make_again(struct client_remote *remote, int64_t total_changes_base, const struct outcome_told *told)
{
    if (told->outcome == OUTCOME_DONE) {
        remote->state.changes = told->changes;
        remote->state.total_changes = total_changes_base + told->total_changes;
        remote->state.last_insert_rowid = told->last_insert_rowid;
        remote->total_changes_base = remote->state.total_changes;
    }
    /* If that fails, the next request connects again, and says why it cannot. */
    if (remote->client != NULL)
        (void)client_make_again(remote);
}

int client_outcome_settle(struct client_remote *remote, const struct client_sent *sent,
                          struct native_answer *ret_answer)
{
    const struct client_loss loss = remote->loss;
    int64_t total_changes_base = remote->total_changes_base;
    bool may_repeat = loss.kind == CLIENT_LOSS_BROKEN && !loss.is_temporary && sent->is_autocommit &&
                      sent->call_count == remote->call_count && !client_interrupt_is_raised(remote);
    if (remote->is_dead || (!sent->is_autocommit && sent->risk != CLIENT_RISK_COMMIT))
        return remote->error.code;
    if (sent->risk == CLIENT_RISK_NONE) {
        remote->may_repeat = may_repeat && sent->number > 0;
        return remote->error.code;
    }
    if (sent->number == 0) /* what a function has done while it was called */
        return fail_unknown(remote, sent, &loss, "it was within a call");
    if (loss.kind == CLIENT_LOSS_SAID)
        return fail_not_done(remote, sent, &loss, false);
    struct outcome_told told;
    int64_t total_changes = remote->state.total_changes;
    ask(remote, sent, &told);
    told.has_changed = told.outcome == OUTCOME_DONE && total_changes_base + told.total_changes != total_changes;
    make_again(remote, total_changes_base, &told);
    switch (told.outcome) {
    case OUTCOME_DONE:
        return take(remote, sent, &loss, &told, may_repeat, ret_answer);
    case OUTCOME_NOT_DONE:
        return fail_not_done(remote, sent, &loss, may_repeat);
    case OUTCOME_UNKNOWN:
    case OUTCOME_LIVE:
        break;
    }
    return fail_unknown(remote, sent, &loss, told.why[0] != '\0' ? told.why : "the server does not remember");
}

void client_outcome_end_former(struct client_remote *remote)
{
    struct client_sent any = {.number = 1};
    struct outcome_told told;
    const struct client_loss loss = remote->loss;
    memcpy(any.key, loss.key, sizeof(any.key));
    if (loss.kind != CLIENT_LOSS_SAID)
        ask(remote, &any, &told);
    remote->loss = loss;
}

int client_outcome_of_both(struct client_remote *remote, int first, int again)
{
    if (first != SQLITE_IOERR_SQLD_COMMITTED || again != SQLITE_IOERR_SQLD_LOST)
        return again;
    return client_error_set(remote, SQLITE_IOERR_SQLD_COMMITTED, "%s", remote->lost_message);
}
