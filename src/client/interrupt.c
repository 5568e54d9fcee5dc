/* client/interrupt.c: see interrupt.h. Atomics are sequentially consistent: `is_interrupted` and `is_waiting` are set by
 * one side and read by the other, each in the other order, so that at least one of them sees the other's. */
#include "client/interrupt.h"

#include <errno.h>

#include "base/clock.h"
#include "client/remote_api.h"

enum { CANCEL_TIMEOUT_US = 10 * SQ_US_PER_S };

void client_interrupt_statement_begins(struct client_remote *remote)
{
    if (__atomic_fetch_add(&remote->running_count, 1, __ATOMIC_SEQ_CST) == 0)
        __atomic_store_n(&remote->is_interrupted, false, __ATOMIC_SEQ_CST);
}

void client_interrupt_statement_ends(struct client_remote *remote)
{
    int before = __atomic_fetch_sub(&remote->running_count, 1, __ATOMIC_SEQ_CST);
    sq_assert(before > 0);
}

bool client_interrupt_is_raised(const struct client_remote *remote)
{
    return __atomic_load_n(&remote->is_interrupted, __ATOMIC_RELAXED);
}

static void cancel(struct client_remote *remote)
{
    __atomic_fetch_add(&remote->interrupters_entered, 1, __ATOMIC_SEQ_CST);
    const struct pgclient *client = __atomic_load_n(&remote->client, __ATOMIC_SEQ_CST);
    __atomic_store_n(&remote->is_cancel_sent, true, __ATOMIC_SEQ_CST);
    /* One that cannot be sent is as one that comes too late, which SQLite allows. */
    if (client != NULL)
        (void)pgclient_cancel(client, CANCEL_TIMEOUT_US);
    (void)sem_post(&remote->interrupter_leaves);
}

void client_interrupt_pass_on(struct client_remote *remote)
{
    if (__atomic_load_n(&remote->is_interrupted, __ATOMIC_SEQ_CST) &&
        !__atomic_load_n(&remote->is_cancel_sent, __ATOMIC_SEQ_CST) &&
        __atomic_load_n(&remote->running_count, __ATOMIC_SEQ_CST) > 0)
        cancel(remote);
}

void client_interrupt_stop(struct client_remote *remote)
{
    if (!__atomic_load_n(&remote->is_cancel_sent, __ATOMIC_SEQ_CST))
        cancel(remote);
}

/* Returns when those who are within cancel() now have left. They are other threads, never a signal handler of this one: that
 * has returned. sem_post() is the last thing that they do with the connection, and may be done in a signal handler. */
static void wait_for_interrupters(struct client_remote *remote)
{
    uint32_t entered = __atomic_load_n(&remote->interrupters_entered, __ATOMIC_SEQ_CST);
    while (remote->interrupters_left != entered) {
        if (sem_wait(&remote->interrupter_leaves) == 0)
            remote->interrupters_left++;
        else
            sq_assert(errno == EINTR);
    }
}

bool client_interrupt_settle(struct client_remote *remote)
{
    if (remote->call_depth > 0 || !__atomic_load_n(&remote->is_cancel_sent, __ATOMIC_SEQ_CST))
        return true;
    /* In this order: one that comes in between is settled the next time. */
    __atomic_store_n(&remote->is_cancel_sent, false, __ATOMIC_SEQ_CST);
    wait_for_interrupters(remote);
    enum client_risk risk = remote->risk;
    remote->risk = CLIENT_RISK_NONE;
    (void)client_request_begin(remote, NATIVE_INTERRUPT_CLEAR);
    int code = client_request_end(remote, NULL, NULL);
    remote->risk = risk;
    return code == SQLITE_OK;
}

struct pgclient *client_interrupt_take_client(struct client_remote *remote)
{
    struct pgclient *client = __atomic_exchange_n(&remote->client, NULL, __ATOMIC_SEQ_CST);
    wait_for_interrupters(remote);
    __atomic_store_n(&remote->is_cancel_sent, false, __ATOMIC_SEQ_CST);
    return client;
}

/* Async-signal-safe. */
void client_remote_sqlite3_interrupt(sqlite3 *db)
{
    struct client_remote *remote = client_remote_of(db);
    if (remote == NULL || !client_remote_is_of_this_process(remote))
        return;
    __atomic_store_n(&remote->is_interrupted, true, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&remote->is_waiting, __ATOMIC_SEQ_CST))
        cancel(remote);
}
