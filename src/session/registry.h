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
#include "session/session.h"

struct session_registry;

enum { SESSION_SECRET_BYTES = 4, SESSION_LABEL_MAX = 64 };

enum session_activity { SESSION_STARTING, SESSION_IDLE, SESSION_IDLE_IN_TRANSACTION, SESSION_ACTIVE };

struct session_entry {
    struct sq_list links;
    struct session *session;
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
/* No other thread touches the session after this call. */
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
/* The same for every session of a database but `except`. */
size_t session_registry_interrupt_database(struct session_registry *registry, const char *database,
                                           const struct session_entry *except, enum session_interrupt interrupt);

/* Calls `each_cb` for every session, under the mutex: it must be quick and call nothing here. */
void session_registry_each(struct session_registry *registry, void *context,
                           void (*each_cb)(void *context, const struct session_entry *entry));

#endif
