/* client/ahead.c: see ahead.h. */
#include "client/ahead.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/interrupt.h"

enum {
    BATCHES_MIN = 2,                     /* that must have been read before */
    QUICK_US = 20 * SQ_US_PER_MS,        /* a batch that takes longer is followed by none that nobody has asked for */
    GIVE_UP_AFTER_US = 2 * SQ_US_PER_MS, /* the server is told to stop: that costs a connection to it */
};

/* --- Asking --- */

static bool is_worth_it(const struct client_statement *statement, int64_t waited_us)
{
    const struct client_remote *remote = statement->remote;
    bool is_free = remote->ahead_count == 0 || remote->ahead == statement;
    return is_free && statement->batch_code == SQLITE_ROW && statement->batch_count >= BATCHES_MIN &&
           waited_us <= QUICK_US && statement->facts.is_readonly && !statement->is_interleaved &&
           statement->kept_count == 0 && remote->call_depth == 0 && !remote->is_connecting &&
           statement->connection_number == remote->connection_number && !client_interrupt_is_raised(remote) &&
           !client_statement_is_single(statement);
}

void client_ahead_begin(struct client_statement *statement, int64_t waited_us)
{
    struct client_remote *remote = statement->remote;
    if (statement->batch_code != SQLITE_ROW && remote->ahead == statement)
        remote->ahead = NULL;
    statement->request_count = remote->request_count;
    /* An interrupt that was sent is settled by a request of its own, before any other. */
    if (!is_worth_it(statement, waited_us) || __atomic_load_n(&remote->is_cancel_sent, __ATOMIC_SEQ_CST))
        return;
    while (remote->ahead_count < CLIENT_AHEAD_MAX) {
        struct sq_buf *out = client_request_begin_ahead(remote, NATIVE_STEP);
        sq_buf_put_u32(out, statement->number);
        client_statement_put_step(statement, out, NATIVE_STEP_ON);
        sq_buf_put_u32(out, NATIVE_PARAMETERS_KEPT);
        if (!client_request_end_ahead(remote))
            return;
        statement->request_count = remote->request_count;
        remote->ahead = statement;
        remote->ahead_count++;
    }
}

/* --- Answers --- */

static void error_free(struct client_error *error)
{
    client_real.sqlite3_free(error->message);
    free(error->message16);
    *error = (struct client_error){.offset = -1};
}

/* The next answer; the connection may be lost. */
static int await(struct client_remote *remote, int64_t grace_us, struct native_answer *ret_answer,
                 struct pgwire_cursor *ret_body)
{
    sq_assert(remote->ahead_count > 0);
    if (--remote->ahead_count == 0)
        remote->ahead = NULL;
    return client_answer_await(remote, grace_us, ret_answer, ret_body);
}

/* The same, while the application's error stays as it is. *ret_error is the answer's, if it is one. */
static int await_aside(struct client_remote *remote, int64_t grace_us, struct native_answer *ret_answer,
                       struct pgwire_cursor *ret_body, struct client_error *ret_error)
{
    struct client_error before = client_error_take(remote);
    int code = await(remote, grace_us, ret_answer, ret_body);
    *ret_error = client_error_take(remote);
    client_error_put_back(remote, before);
    return code;
}

/* After a wait aside. If something of the application's was lost with the connection, it must hear of that, though it has
 * made no request: the error is recorded. */
static bool check_loss(struct client_remote *remote, uint32_t connection_number, struct client_error *error)
{
    const struct client_loss *loss = &remote->loss;
    bool is_lost = remote->connection_number != connection_number;
    if (is_lost && (remote->is_dead || loss->is_in_transaction || loss->is_temporary)) {
        client_error_put_back(remote, *error);
        return false;
    }
    error_free(error);
    return true;
}

int client_ahead_end(struct client_statement *statement, struct native_answer *ret_answer,
                     struct pgwire_cursor *ret_body)
{
    struct client_remote *remote = statement->remote;
    if (statement->kept_count == 0)
        return await(remote, 0, ret_answer, ret_body);
    struct client_ahead_kept first = statement->kept[0];
    statement->kept_count--;
    memmove(statement->kept, statement->kept + 1, statement->kept_count * sizeof(first));
    free(statement->taken);
    statement->taken = first.body;
    *ret_answer = first.answer;
    *ret_body = pgwire_cursor_make(first.body, first.length);
    if (client_code_is_error(first.answer.result))
        client_error_put_back(remote, first.error);
    return first.answer.result;
}

/* Keeps the answer; takes over the error. False: no memory. */
static bool keep(struct client_statement *statement, const struct native_answer *answer, struct pgwire_cursor *body,
                 struct client_error *error)
{
    sq_assert(statement->kept_count < CLIENT_AHEAD_MAX);
    struct pgwire_bytes bytes = pgwire_get_rest(body);
    uint8_t *copy = malloc(bytes.length + 1);
    if (copy == NULL)
        return false;
    sq_assert(bytes.data != NULL || bytes.length == 0);
    if (bytes.length > 0)
        memcpy(copy, bytes.data, bytes.length);
    struct client_ahead_kept *kept = &statement->kept[statement->kept_count++];
    *kept = (struct client_ahead_kept){.answer = *answer, .body = copy, .length = bytes.length, .error = *error};
    kept->answer.message = (struct pgwire_bytes){NULL, 0}; /* it is in the error */
    *error = (struct client_error){.offset = -1};
    return true;
}

/* Whether the next answer that is kept will be of use: no batch that is not the last has come behind. */
static bool wants_more(const struct client_statement *statement)
{
    return statement->batch_code == SQLITE_ROW &&
           (statement->kept_count == 0 || statement->kept[statement->kept_count - 1].answer.result == SQLITE_ROW);
}

bool client_ahead_make_way(struct client_remote *remote)
{
    struct client_statement *statement = remote->ahead;
    uint32_t number = remote->connection_number;
    if (statement != NULL)
        statement->is_interleaved = true;
    while (remote->ahead_count > 0) {
        struct native_answer answer;
        struct pgwire_cursor body;
        struct client_error error;
        (void)await_aside(remote, 0, &answer, &body, &error);
        /* A rollback may have ended the statement meanwhile. */
        bool is_wanted = remote->connection_number == number && statement != NULL && wants_more(statement);
        if (is_wanted && !keep(statement, &answer, &body, &error)) {
            error_free(&error);
            (void)client_remote_lose(remote, "there is no memory");
            return false;
        }
        if (!check_loss(remote, number, &error))
            return false;
    }
    return true;
}

int client_ahead_stop(struct client_statement *statement, bool *ret_is_open)
{
    struct client_remote *remote = statement->remote;
    uint32_t number = remote->connection_number;
    int last =
        statement->kept_count > 0 ? statement->kept[statement->kept_count - 1].answer.result : statement->batch_code;
    client_ahead_forget(statement);
    while (remote->ahead == statement && remote->ahead_count > 0) {
        struct native_answer answer;
        struct pgwire_cursor body;
        struct client_error error;
        int code = await_aside(remote, GIVE_UP_AFTER_US, &answer, &body, &error);
        if (last == SQLITE_ROW)
            last = code;
        if (!check_loss(remote, number, &error))
            return remote->error.code;
    }
    *ret_is_open = last != SQLITE_DONE && last != SQLITE_OK;
    return SQLITE_OK;
}

void client_ahead_forget(struct client_statement *statement)
{
    for (unsigned i = 0; i < statement->kept_count; i++) {
        error_free(&statement->kept[i].error);
        free(statement->kept[i].body);
    }
    statement->kept_count = 0;
    free(statement->taken);
    statement->taken = NULL;
}
