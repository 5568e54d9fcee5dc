/* session/notify.h: NOTIFY and LISTEN across the sessions of one database (PostgreSQL manual, page "NOTIFY").
 *
 * A hub holds who listens to what. Publishing puts a message into each listener's queue and wakes it; the listener takes
 * it out when it is idle. Queues are bounded: a session that never looks gets an error notice instead of the server
 * running out of memory.
 *
 * Threads: any. A listener must be removed before it is freed; no waker is called after that. */
#ifndef SQ_SESSION_NOTIFY_H
#define SQ_SESSION_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/status.h"
#include "base/waker.h"

struct notify_hub;

enum { NOTIFY_QUEUE_MAX = 10000, NOTIFY_CHANNELS_MAX = 10000 };

struct notify_message {
    struct sq_list links;
    uint32_t sender_pid;
    const char *channel; /* both point into the message itself */
    const char *payload;
    char text[];
};

/* A session's side; embedded in it. */
struct notify_listener {
    struct sq_list links;   /* in the hub, while it listens to anything; guarded by the hub, as all below */
    struct sq_map channels; /* name -> itself, only for being there */
    struct sq_list queue;   /* struct notify_message */
    size_t queue_length;
    bool has_overflowed;  /* messages were dropped since the last take */
    const void *database; /* identity of the database; constant while it listens */
    struct sq_waker *waker;
    bool is_listening; /* only the session's own thread looks at it: who never listens takes no lock */
};

SQ_MUST_USE sq_status notify_hub_new(struct sq_error *err, struct notify_hub **ret_hub);
void notify_hub_free(struct notify_hub *hub);

void notify_listener_init(struct notify_listener *listener, struct sq_waker *waker);
/* Sets whose notifications are heard; before the first listen. */
void notify_listener_set_database(struct notify_listener *listener, const void *database);
SQ_MUST_USE sq_status notify_listen(struct notify_hub *hub, struct notify_listener *listener, const char *channel,
                                    struct sq_error *err);
/* How many it listens to. Only the session's own thread. */
size_t notify_channel_count(const struct notify_listener *listener);
/* `channel` NULL: all. */
void notify_unlisten(struct notify_hub *hub, struct notify_listener *listener, const char *channel);
/* Stops listening and frees what is queued. */
void notify_listener_done(struct notify_hub *hub, struct notify_listener *listener);

/* Delivers to every listener of the database, the sender too. SQ_NOMEM: some did not get it. */
SQ_MUST_USE sq_status notify_publish(struct notify_hub *hub, const void *database, uint32_t sender_pid,
                                     const char *channel, const char *payload, struct sq_error *err);
/* The oldest message, to be free()d by the caller, or NULL. *ret_has_overflowed (with NULL): later ones were dropped. */
struct notify_message *notify_take(struct notify_hub *hub, struct notify_listener *listener, bool *ret_has_overflowed);

#endif
