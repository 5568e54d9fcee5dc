/* session/registry.h: the sessions of a server: who they are, and how one reaches another (cancel requests,
 * pg_terminate_backend, shutdown, SHOW connections).
 *
 * Threads: any. What is shown of a session is kept in a `struct session_entry`, guarded by the registry's mutex or
 * atomic, because other threads read it while the session works. */
#ifndef SQ_SESSION_REGISTRY_H
#define SQ_SESSION_REGISTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"
#include "base/waker.h"
#include "session/session.h"

struct session_registry;

enum { SESSION_SECRET_BYTES = 4, SESSION_LABEL_MAX = 64 };

enum session_activity { SESSION_STARTING, SESSION_IDLE, SESSION_IDLE_IN_TRANSACTION, SESSION_ACTIVE };

/* A cancel request that has come before its statement: while nothing runs there is nothing to cancel, but the statement,
 * which came on another socket, may have been overtaken. It is pending until the session has looked: either the next
 * statement is there and is cancelled, or there is none and the request is settled, meaning nothing. The connection that
 * brought it stays open until then: whatever its client sends after the server has closed it, is not cancelled by it. */
struct session_cancel {
    struct sq_list links; /* in the entry's `cancels`; guarded by the registry's mutex, as all of it */
    struct session_entry *target;
    uint64_t number;
    struct sq_waker *waker; /* called when it is settled */
};

struct session_entry {
    struct sq_list links;
    struct session *session;
    /* Requests that are pending, by their numbers; guarded by the registry's mutex. */
    struct sq_list cancels;
    uint64_t cancel_number; /* of the last one */
    /* How many there are, for a look without the mutex. Sequentially consistent with session->is_active: either the
     * session that becomes active sees the request, or the request sees that it is active. */
    atomic_uint cancel_count;
    uint32_t pid;
    uint8_t secret[SESSION_SECRET_BYTES];
    int64_t connected_us;             /* wall clock */
    char peer[SESSION_LABEL_MAX * 2]; /* constant once added */
    /* Guarded by the registry's mutex: session_registry_label(). */
    char user[SESSION_LABEL_MAX];
    char database[SESSION_LABEL_MAX];
    char application_name[SESSION_LABEL_MAX];
    /* Relaxed: for people to look at. */
    atomic_int activity;          /* enum session_activity */
    _Atomic(int64_t) activity_us; /* wall clock; since when */
    _Atomic(const char *) verb;   /* of the statement that runs or ran last; constant text */
};

SQ_MUST_USE sq_status session_registry_new(struct sq_error *err, struct session_registry **ret_registry);
void session_registry_free(struct session_registry *registry);

/* Gives the entry a process id and a secret and makes it findable. */
void session_registry_add(struct session_registry *registry, struct session_entry *entry);
/* No other thread touches the session after this call. Requests to cancel it are settled. */
void session_registry_remove(struct session_registry *registry, struct session_entry *entry);
/* Calls `call_cb` under the mutex: nobody interrupts a session meanwhile. */
void session_registry_hold(struct session_registry *registry, void *context, void (*call_cb)(void *context));
/* Names the session. NULL leaves a name as it is. */
void session_registry_label(struct session_registry *registry, struct session_entry *entry, const char *user,
                            const char *database, const char *application_name);
size_t session_registry_count(struct session_registry *registry);
/* Sessions of one database. */
size_t session_registry_count_database(struct session_registry *registry, const char *database);

/* Interrupts the session of that id (0: every one), if `secret` is NULL or right. Returns how many were reached. */
size_t session_registry_interrupt(struct session_registry *registry, uint32_t pid, const uint8_t *secret,
                                  enum session_interrupt interrupt);
/* Cancels what the session of that id does, if the secret is right. True: it is idle, and `cancel` is pending until
 * session_cancel_is_pending() says otherwise, after a wake, or session_registry_withdraw(). */
bool session_registry_cancel(struct session_registry *registry, uint32_t pid, const uint8_t *secret,
                             struct session_cancel *cancel);
bool session_cancel_is_pending(struct session_registry *registry, const struct session_cancel *cancel);
/* It means nothing any more, and its waker is not called after this. */
void session_registry_withdraw(struct session_registry *registry, struct session_cancel *cancel);
/* The number of the last request that has come; 0: none is pending. Only the session itself. */
uint64_t session_registry_cancel_mark(struct session_registry *registry, struct session_entry *entry);
/* Settles the requests up to that number. How many there were. Only the session itself. */
size_t session_registry_settle(struct session_registry *registry, struct session_entry *entry, uint64_t number);

/* The same as session_registry_interrupt() for every session of a database but `except`. */
size_t session_registry_interrupt_database(struct session_registry *registry, const char *database,
                                           const struct session_entry *except, enum session_interrupt interrupt);

/* Calls `each_cb` for every session, under the mutex: it must be quick and call nothing here. */
void session_registry_each(struct session_registry *registry, void *context,
                           void (*each_cb)(void *context, const struct session_entry *entry));

#endif
