/* repl/report.c: walks over peers and the link, each under its own lock. */
#include "repl/report.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/url.h"
#include "repl/node_link.h"
#include "repl/peer_internal.h"
#include "repl/receiver.h"

enum { REPORT_TEXT_BYTES = 256 };

struct walk {
    void *context;
    void (*row_cb)(void *context, const struct repl_report_row *row);
    const struct repl_peer *peer;
    const char *host;
    int64_t now_us;
    size_t count;
};

/* --- Replicas ------------------------------------------------------------------------------------------------------ */

static void peer_figures(void *context, const struct repl_sender_figures *figures)
{
    struct walk *walk = context;
    const struct repl_report_row row = {
        .name = repl_sender_name(walk->peer->sender),
        .address = walk->peer->address,
        .database = figures->name,
        .state = figures->state,
        .timeline = figures->end.timeline,
        .end_txid = figures->end.txid,
        .sent_txid = figures->sent.txid,
        .written_txid = figures->written.txid,
        .durable_txid = figures->durable.txid,
        .applied_txid = figures->applied.txid,
        .lag_transactions = figures->lag_transactions,
        .lag_bytes = figures->lag_bytes,
        .lag_us = figures->lag_us,
        .reason = "",
    };
    walk->count++;
    walk->row_cb(walk->context, &row);
}

static void peer_report(struct walk *walk, struct repl_peer *peer)
{
    walk->peer = peer;
    walk->count = 0;
    repl_sender_each(peer->sender, walk->now_us, walk, peer_figures);
    if (walk->count > 0)
        return;
    const struct repl_report_row row = {.name = repl_sender_name(peer->sender),
                                        .address = peer->address,
                                        .database = "",
                                        .state = "connected",
                                        .lag_us = -1,
                                        .reason = ""};
    walk->row_cb(walk->context, &row);
}

/* --- The primary --------------------------------------------------------------------------------------------------- */

static void upstream_figures(void *context, const struct repl_receiver_figures *figures)
{
    struct walk *walk = context;
    uint64_t end = figures->end.txid;
    uint64_t applied = figures->applied.txid;
    const struct repl_report_row row = {
        .is_upstream = true,
        .name = "",
        .address = walk->host,
        .database = figures->name,
        .state = figures->state,
        .timeline = figures->applied.timeline,
        .end_txid = end,
        .sent_txid = end,
        .written_txid = figures->written.txid,
        .durable_txid = figures->durable.txid,
        .applied_txid = applied,
        .lag_transactions = end > applied ? end - applied : 0,
        .lag_bytes = figures->expected_bytes - figures->received_bytes,
        .lag_us = figures->as_of_us != 0 ? walk->now_us - figures->as_of_us : -1,
        .reason = figures->reason,
    };
    walk->row_cb(walk->context, &row);
}

static void link_report(void *context, struct repl_receiver *receiver, const char *host, const char *state,
                        const char *failure)
{
    struct walk *walk = context;
    walk->host = host;
    if (receiver != NULL) {
        repl_receiver_each(receiver, walk, upstream_figures);
        return;
    }
    const struct repl_report_row row = {.is_upstream = true,
                                        .name = "",
                                        .address = host,
                                        .database = "",
                                        .state = state,
                                        .lag_us = -1,
                                        .reason = failure};
    walk->row_cb(walk->context, &row);
}

void repl_node_report(struct repl_node *node, void *context,
                      void (*row_cb)(void *context, const struct repl_report_row *row))
{
    struct walk walk = {.context = context, .row_cb = row_cb, .now_us = sq_clock_now_us()};
    pthread_mutex_lock(&node->link_mutex);
    if (node->link != NULL)
        node_link_look(node->link, &walk, link_report);
    pthread_mutex_unlock(&node->link_mutex);
    pthread_mutex_lock(&node->peer_mutex);
    SQ_LIST_FOREACH (i, &node->peers)
        peer_report(&walk, SQ_CONTAINER_OF(i, struct repl_peer, links));
    pthread_mutex_unlock(&node->peer_mutex);
}

/* --- The node ------------------------------------------------------------------------------------------------------ */

/* What is said of the link, copied under its lock. */
struct link_texts {
    char host[REPORT_TEXT_BYTES];
    char state[REPORT_TEXT_BYTES];
    char failure[REPORT_TEXT_BYTES];
};

static void self_link(void *context, struct repl_receiver *receiver, const char *host, const char *state,
                      const char *failure)
{
    struct link_texts *texts = context;
    (void)receiver;
    (void)snprintf(texts->host, sizeof(texts->host), "%s", host);
    (void)snprintf(texts->state, sizeof(texts->state), "%s", state);
    (void)snprintf(texts->failure, sizeof(texts->failure), "%s", failure);
}

void repl_node_report_self(struct repl_node *node, void *context,
                           void (*self_cb)(void *context, const struct repl_report_node *self))
{
    static const char *const roles[] = {"primary", "replica", "fenced"};
    struct link_texts texts = {.host = ""};
    SQ_CLEANUP(sq_buf_done) struct sq_buf url;
    sq_buf_init(&url, (size_t)NODE_URL_BYTES_MAX * 2);
    pthread_mutex_lock(&node->link_mutex);
    if (node->link != NULL)
        node_link_look(node->link, &texts, self_link);
    pthread_mutex_unlock(&node->link_mutex);
    pthread_mutex_lock(&node->mutex);
    struct repl_report_node self = {
        .role = roles[node->state.role],
        .timeline = node->state.timeline,
        .seen_timeline = node->state.seen_timeline,
        .system_id = node->state.system_id,
        .primary = "",
        .host = texts.host,
        .state = texts.state,
        .failure = texts.failure,
        .replica_count = node->peer_count,
    };
    const char *upstream = node->state.followed_url != NULL ? node->state.followed_url : node->replica_of;
    if (node->state.role == REPL_REPLICA && upstream != NULL) {
        sq_url_put_masked(&url, upstream);
        sq_buf_put_u8(&url, '\0');
        self.primary = url.is_failed ? "" : (const char *)sq_buf_bytes(&url);
    }
    pthread_mutex_unlock(&node->mutex);
    self_cb(context, &self);
}
