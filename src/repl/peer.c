/* repl/peer.c: senders at work, and commits that wait for what they hear.
 *
 * A commit is confirmed (engine/durability.h) when synchronous-replicas of the connected replicas have it on their disks: of each database the node
 * keeps how far that is, and tells the logger whenever it moves.
 *
 *     status of a replica ──► sender ──► durable_cb ──► peer's entry ──► the Nth furthest of all peers ──► confirm
 *
 * Invariants: (1) a peer is in the node's list from its begin to its end; (2) its entries are guarded by the node's mutex. */
#include "repl/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "metrics/metrics.h"
#include "repl/peer_internal.h"

/* --- What replicas have on their disks ------------------------------------------------------------------------------- */

static struct peer_durable *find_durable(struct repl_peer *peer, uint32_t number)
{
    for (size_t i = 0; i < peer->durable_count; i++) {
        if (peer->durables[i].number == number)
            return &peer->durables[i];
    }
    return NULL;
}

/* Under the node's mutex. NULL without memory. */
static struct peer_durable *need_durable(struct repl_peer *peer, uint32_t number)
{
    struct peer_durable *found = find_durable(peer, number);
    if (found != NULL)
        return found;
    struct peer_durable *more = realloc(peer->durables, (peer->durable_count + 1) * sizeof(*more));
    if (more == NULL)
        return NULL;
    peer->durables = more;
    peer->durables[peer->durable_count] = (struct peer_durable){.number = number};
    return &peer->durables[peer->durable_count++];
}

static int compare_descending(const void *a, const void *b)
{
    ltx_txid first = *(const ltx_txid *)a;
    ltx_txid second = *(const ltx_txid *)b;
    return first < second ? 1 : first > second ? -1 : 0;
}

ltx_txid node_peers_durable(struct repl_node *node, uint32_t number, size_t count)
{
    ltx_txid txids[REPL_PEERS_MAX];
    size_t found = 0;
    sq_assert(count > 0);
    SQ_LIST_FOREACH (i, &node->peers) {
        struct repl_peer *peer = SQ_CONTAINER_OF(i, struct repl_peer, links);
        const struct peer_durable *durable = find_durable(peer, number);
        if (durable != NULL && durable->txid > 0)
            txids[found++] = durable->txid;
    }
    if (found < count)
        return 0;
    qsort(txids, found, sizeof(txids[0]), compare_descending);
    return txids[count - 1];
}

static void on_durable(struct repl_sender_owner *owner, uint32_t number, const struct wal_position *durable)
{
    struct repl_peer *peer = SQ_CONTAINER_OF(owner, struct repl_peer, owner);
    struct repl_node *node = peer->node;
    pthread_mutex_lock(&node->mutex);
    struct peer_durable *entry = need_durable(peer, number);
    /* Without memory the commits wait for the next status. */
    if (entry != NULL)
        entry->txid = durable->txid;
    bool is_needed = node->synchronous_count > 0;
    pthread_mutex_unlock(&node->mutex);
    if (is_needed)
        node_databases_confirm(node, number);
}

static void on_newer_timeline(struct repl_sender_owner *owner, uint64_t timeline)
{
    node_see_timeline(SQ_CONTAINER_OF(owner, struct repl_peer, owner)->node, timeline);
}

static const struct repl_sender_owner_ops owner_ops = {
    .newer_timeline_cb = on_newer_timeline,
    .durable_cb = on_durable,
};

/* --- Life ---------------------------------------------------------------------------------------------------------- */

void repl_node_put_identity(struct repl_node *node, struct sq_buf *out)
{
    struct repl_identity identity;
    node->source.ops->identity_cb(&node->source, &identity);
    replication_put_identity(out, identity.system_id, identity.timeline, "0/0", NULL);
}

static sq_status enlist(struct repl_node *node, struct repl_peer *peer, struct sq_error *err)
{
    pthread_mutex_lock(&node->peer_mutex);
    pthread_mutex_lock(&node->mutex);
    bool has_room = node->peer_count < REPL_PEERS_MAX;
    if (has_room) {
        sq_list_push_back(&node->peers, &peer->links);
        node->peer_count++;
    }
    pthread_mutex_unlock(&node->mutex);
    pthread_mutex_unlock(&node->peer_mutex);
    return has_room ? SQ_OK
                    : sq_fail_sql(err, SQ_LIMIT, "53300", "there are %d replicas connected already", REPL_PEERS_MAX);
}

SQ_DEFINE_FREEP(struct repl_peer, repl_peer_free)

sq_status repl_peer_new(struct repl_node *node, const struct replication_command *command, struct sq_waker *waker,
                        const char *address, struct sq_error *err, struct repl_peer **ret_peer)
{
    struct repl_sender_config config = repl_sender_defaults;
    SQ_CLEANUP(repl_peer_freep) struct repl_peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a replica");
    peer->node = node;
    peer->owner.ops = &owner_ops;
    peer->since_us = sq_clock_wall_us();
    sq_list_init(&peer->links);
    (void)snprintf(peer->address, sizeof(peer->address), "%s", address);
    if (command->timeline > 0)
        node_see_timeline(node, command->timeline);
    pthread_mutex_lock(&node->mutex);
    config.timeout_us = node->timeout_us;
    config.keepalive_us = node->timeout_us / 10;
    peer->log_mode = node->log_mode;
    pthread_mutex_unlock(&node->mutex);
    if (peer->log_mode == REPL_LOG_OFF)
        return sq_fail_sql(err, SQ_INVALID, "55000", "this server keeps no log for replicas: replication-log is off");
    SQ_TRY(
        repl_sender_new(&node->source, command, &config, &peer->owner, waker, sq_clock_now_us(), err, &peer->sender));
    SQ_TRY(enlist(node, peer, err));
    char name[SQ_LOG_QUOTED_MAX];
    sq_log(SQ_LOG_INFO, "repl", "replica connected", "name=%s address=%s timeline=%llu",
           sq_log_quote(name, repl_sender_name(peer->sender)), peer->address, (unsigned long long)command->timeline);
    metrics_gauge_add(METRICS_REPLICAS, 1);
    *ret_peer = SQ_STEAL(peer);
    return SQ_OK;
}

void repl_peer_free(struct repl_peer *peer)
{
    if (peer == NULL)
        return;
    struct repl_node *node = peer->node;
    pthread_mutex_lock(&node->peer_mutex);
    pthread_mutex_lock(&node->mutex);
    bool was_listed = sq_list_is_linked(&peer->links);
    if (was_listed) {
        sq_list_remove(&peer->links);
        node->peer_count--;
    }
    pthread_mutex_unlock(&node->mutex);
    pthread_mutex_unlock(&node->peer_mutex);
    if (was_listed) {
        char name[SQ_LOG_QUOTED_MAX];
        sq_log(SQ_LOG_INFO, "repl", "replica disconnected", "name=%s address=%s",
               sq_log_quote(name, repl_sender_name(peer->sender)), peer->address);
        metrics_gauge_add(METRICS_REPLICAS, -1);
    }
    repl_sender_free(peer->sender);
    free(peer->durables);
    free(peer);
}

/* --- Work ---------------------------------------------------------------------------------------------------------- */

sq_status repl_peer_take(struct repl_peer *peer, const uint8_t *bytes, size_t length, struct sq_error *err)
{
    return repl_sender_take(peer->sender, sq_clock_now_us(), bytes, length, err);
}

sq_status repl_peer_give(struct repl_peer *peer, struct sq_buf *out, struct sq_error *err)
{
    return repl_sender_produce(peer->sender, sq_clock_now_us(), sq_clock_wall_us(), out, err, &peer->deadline_us);
}

int64_t repl_peer_deadline_us(const struct repl_peer *peer)
{
    return peer->deadline_us;
}
