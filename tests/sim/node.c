/* tests/sim/node.c: servers: who writes, what is acknowledged when, crashes, promotion, fencing. What node.h and logger.h do in the server is done here in
 * the simplest way that keeps the same promises. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

struct node *node_new(int id)
{
    struct node *node = world_alloc(sizeof(*node));
    node->source.ops = &source_ops;
    node->store.ops = &store_ops;
    node->id = id;
    node->is_up = true;
    node->role = REPLICA;
    node->upstream = -1;
    node->wall_offset_us = (int64_t)dice_below(1000) * SECOND;
    sq_list_init(&node->databases);
    sq_list_init(&node->watchers);
    sq_list_init(&node->links);
    return node;
}

bool node_is_awake(const struct node *node)
{
    return node->is_up && node->paused_until_us <= world->now_us;
}

bool node_can(struct node *node, uint64_t epoch, event_fn fn, void *a)
{
    if (!node->is_up || node->epoch != epoch)
        return false;
    if (node->paused_until_us <= world->now_us)
        return true;
    event_after(node->paused_until_us - world->now_us, fn, a, epoch);
    return false;
}

struct database *node_database(const struct node *node, const char *name)
{
    SQ_LIST_FOREACH (links, &node->databases) {
        struct database *database = SQ_CONTAINER_OF(links, struct database, links);
        if (strcmp(database->name, name) == 0)
            return database;
    }
    return NULL;
}

struct database *database_new(struct node *node, const char *name)
{
    struct database *database = world_alloc(sizeof(*database));
    database->node = node;
    database->number = ++node->number_count;
    snprintf(database->name, sizeof(database->name), "%s", name);
    database->applied.checksum = database->durable.checksum = WAL_CHECKSUM_FLAG;
    sq_list_init(&database->feeds);
    sq_list_init(&database->links);
    sq_list_push_back(&node->databases, &database->links);
    return database;
}

void database_gone(struct database *database)
{
    database->is_gone = true;
    sq_list_remove(&database->links);
    feeds_wake(database);
    node_watchers_wake(database->node);
}

/* --- A primary's work --- */

static struct database *any_database(struct node *node)
{
    size_t count = 0;
    SQ_LIST_FOREACH (links, &node->databases)
        count++;
    if (count == 0)
        return NULL;
    size_t chosen = (size_t)dice_below(count);
    SQ_LIST_FOREACH (links, &node->databases) {
        if (chosen-- == 0)
            return SQ_CONTAINER_OF(links, struct database, links);
    }
    return NULL;
}

static void change(struct database *database, ltx_txid txid)
{
    struct pages *pages = &database->now;
    uint64_t parent = pages->count > 0 ? pages->content[0] : 0;
    uint64_t number = txn_new(parent, database->incarnation, database->node->timeline, txid, database->node->id);
    if (pages->page_bytes == 0)
        pages->page_bytes = dice_chance(50) ? 4096 : 512;
    if (dice_chance(30))
        pages->count = 1 + (uint32_t)dice_below(PAGES_MAX);
    if (pages->count == 0)
        pages->count = 1;
    for (uint32_t i = 1; i < pages->count; i++) {
        if (pages->content[i] == 0 || dice_chance(15))
            pages->content[i] = dice_next() | 1;
    }
    for (uint32_t i = pages->count; i < PAGES_MAX; i++)
        pages->content[i] = 0;
    pages->content[0] = number;
    database->applied =
        (struct wal_position){.timeline = database->node->timeline, .txid = txid, .checksum = pages_checksum(pages)};
    world->txns[number].checksum = database->applied.checksum;
}

void mark_durable(const struct pages *pages)
{
    for (uint64_t txn = pages->count > 0 ? pages->content[0] : 0; txn != 0 && !world->txns[txn].is_durable;
         txn = world->txns[txn].parent)
        world->txns[txn].is_durable = true;
}

static void fsync_event(void *a, uint64_t epoch)
{
    struct database *database = a;
    if (!node_can(database->node, epoch, fsync_event, a))
        return;
    database->is_syncing = false;
    if (database->is_gone || database->node->role == REPLICA)
        return;
    database->disk = database->now;
    database->durable = database->applied;
    mark_durable(&database->disk);
    logger_later(database);
    node_acknowledge(database->node);
}

void node_commit(struct node *node)
{
    struct database *database = node->role == PRIMARY ? any_database(node) : NULL;
    if (database != NULL)
        node_commit_to(database);
}

void node_commit_to(struct database *database)
{
    struct node *node = database->node;
    if (database->record_count == RECORDS_MAX || node->pending_count == PENDING_MAX)
        return; /* the checkpointer, or clients, have to wait */
    change(database, database->applied.txid + 1);
    world->tally.commit_count++;
    if (database->log.exists) {
        struct record *record = &database->records[database->record_count++];
        *record = (struct record){.txid = database->applied.txid, .after = database->now};
        if (world->options.ships_undurable)
            logger_later(database);
    }
    node->pending[node->pending_count++] =
        (struct pending){.database = database, .txid = database->applied.txid, .txn = database->now.content[0]};
    if (!database->is_syncing) {
        database->is_syncing = true;
        event_after(dice_time(4 * MS), fsync_event, database, node->epoch);
    }
}

/* Another program writes to the file: the log begins anew. */
void node_outside_write(struct node *node)
{
    struct database *database = node->role == PRIMARY ? any_database(node) : NULL;
    if (database == NULL || !database->log.exists)
        return;
    change(database, database->applied.txid + 1);
    database->disk = database->now;
    database->durable = database->applied;
    mark_durable(&database->disk);
    log_restart(&database->log, &database->durable);
    database->record_count = 0;
    database->synced_txid = database->durable.txid;
    database->synced_pages = database->disk;
    tell("node %d, %s: somebody else writes txid %llu", node->id, database->name,
         (unsigned long long)database->applied.txid);
    logger_note_end(database);
    feeds_wake(database);
    node_acknowledge(node);
}

void node_create(struct node *node)
{
    char name[8];
    snprintf(name, sizeof(name), "%c%d", "ab"[dice_below(2)], (int)dice_below(NAMES_MAX));
    if (node->role != PRIMARY || node_database(node, name) != NULL)
        return;
    struct database *database = database_new(node, name);
    database->incarnation = ++world->incarnation_count;
    database->applied.timeline = database->durable.timeline = node->timeline;
    tell("node %d makes %s, incarnation %llu", node->id, name, (unsigned long long)database->incarnation);
    node_watchers_wake(node);
}

static void forget_pending(struct node *node, const struct database *database)
{
    size_t kept = 0;
    for (size_t i = 0; i < node->pending_count; i++) {
        if (database != NULL && node->pending[i].database != database)
            node->pending[kept++] = node->pending[i];
    }
    node->pending_count = kept;
}

void node_drop(struct node *node)
{
    struct database *database = node->role == PRIMARY ? any_database(node) : NULL;
    if (database == NULL)
        return;
    tell("node %d drops %s, incarnation %llu", node->id, database->name, (unsigned long long)database->incarnation);
    for (size_t i = 1; i <= world->txn_count; i++) {
        if (world->txns[i].incarnation == database->incarnation)
            world->txns[i].is_acked = false; /* nobody asks for them any more */
    }
    forget_pending(node, database);
    database_gone(database);
}

/* --- Acknowledgements --- */

void node_acknowledge(struct node *node)
{
    size_t kept = 0;
    if (node->role != PRIMARY)
        return;
    for (size_t i = 0; i < node->pending_count; i++) {
        struct pending *pending = &node->pending[i];
        unsigned count = 0;
        for (int j = 0; j < world->node_count; j++)
            count += pending->database->replica_durable[j] >= pending->txid;
        if (pending->database->durable.txid < pending->txid ||
            (count < world->options.sync_count && !world->options.acks_early)) {
            node->pending[kept++] = *pending;
            continue;
        }
        world->txns[pending->txn].is_acked = true;
        world->txns[pending->txn].acked_us = world->now_us;
        world->tally.ack_count++;
    }
    node->pending_count = kept;
}

/* A replica says what is durable: it must be, and be ours. */
static void check_durable(const struct database *ours, struct node *replica, const struct wal_position *durable)
{
    const struct database *theirs = node_database(replica, ours->name);
    if (theirs == NULL || !theirs->is_disk_known || theirs->is_corrupt || theirs->disk.count == 0 ||
        ours->now.count == 0 || replica->role == PRIMARY)
        return; /* dropped, damaged or promoted since it was said */
    uint64_t txn = ours->now.content[0];
    while (txn != 0 && world->txns[txn].txid > durable->txid)
        txn = world->txns[txn].parent;
    if (theirs->durable.timeline == durable->timeline &&
        world->txns[theirs->disk.content[0]].incarnation == ours->incarnation &&
        !txn_is_ancestor(txn, theirs->disk.content[0]))
        violate("durable at the replica", "node %d, %s: txid %llu is not on the disk of node %d, which is at %llu",
                ours->node->id, ours->name, (unsigned long long)durable->txid, replica->id,
                (unsigned long long)theirs->durable.txid);
}

void node_durable(struct node *node, uint32_t number, int replica, const struct wal_position *durable)
{
    SQ_LIST_FOREACH (links, &node->databases) {
        struct database *database = SQ_CONTAINER_OF(links, struct database, links);
        if (database->number != number)
            continue;
        if (node->role == PRIMARY)
            check_durable(database, world->nodes[replica], durable);
        if (durable->txid > database->replica_durable[replica])
            database->replica_durable[replica] = durable->txid;
    }
    node_acknowledge(node);
}

/* --- Crashes --- */

void node_crash(struct node *node)
{
    bool is_power_cut = dice_chance(50);
    if (!node->is_up)
        return;
    tell("node %d %s", node->id, is_power_cut ? "loses its power" : "is killed");
    world->tally.crash_count++;
    node->is_up = false;
    node->epoch++;
    network_node_died(node);
    node->pending_count = 0;
    node->is_connecting = false;
    SQ_LIST_FOREACH (links, &node->databases) {
        struct database *database = SQ_CONTAINER_OF(links, struct database, links);
        database->is_logger_due = database->is_syncing = database->is_opening = false;
        if (node->role == REPLICA) {
            store_crash(database);
            continue;
        }
        if (is_power_cut) {
            database->now = database->disk;
            database->applied = database->durable;
            if (database->log.exists && dice_chance(50))
                log_truncate(&database->log, database->synced_txid);
            log_truncate(&database->log, database->durable.txid);
            while (database->record_count > 0 &&
                   database->records[database->record_count - 1].txid > database->durable.txid)
                database->record_count--;
        } else {
            database->disk = database->now; /* the kernel has it still */
            database->durable = database->applied;
            mark_durable(&database->disk);
        }
    }
}

void node_restart(struct node *node)
{
    if (node->is_up)
        return;
    tell("node %d starts", node->id);
    node->is_up = true;
    node->paused_until_us = 0;
    SQ_LIST_FOREACH (links, &node->databases) {
        struct database *database = SQ_CONTAINER_OF(links, struct database, links);
        if (node->role != REPLICA)
            logger_later(database);
    }
    link_connect(node);
}

/* --- Roles --- */

void node_saw_timeline(struct node *node, uint64_t timeline)
{
    if (timeline <= node->timeline)
        return;
    tell("node %d sees timeline %llu", node->id, (unsigned long long)timeline);
    node->timeline = timeline;
    if (node->role == PRIMARY) {
        node->role = FENCED;
        node->pending_count = 0;
        world->tally.fence_count++;
    }
    node_watchers_wake(node);
    links_poke(node);
}

void node_promote(struct node *node, uint64_t timeline)
{
    sq_assert(node->role == REPLICA && node->is_up && timeline > node->timeline);
    node->upstream = -1;
    network_unfollow(node);
    world->promotion_count++;
    world->tally.promotion_count++;
    node->role = PRIMARY;
    node->timeline = timeline;
    if (timeline > world->timeline_max)
        world->timeline_max = timeline;
    if (timeline < 64)
        world->promoted_us[timeline] = world->now_us;
    tell("node %d becomes the primary of timeline %llu", node->id, (unsigned long long)timeline);
    SQ_LIST_FOREACH (links, &node->databases) {
        struct database *database = SQ_CONTAINER_OF(links, struct database, links);
        store_settle(database);
        if (!database->is_known || database->must_heal) {
            database_gone(database); /* half a database is none: set aside */
            continue;
        }
        if (database->log.exists)
            log_begin_timeline(&database->log, timeline);
        database->applied.timeline = database->durable.timeline = timeline;
        if (!database->log.exists)
            log_restart(&database->log, &database->durable);
        database->disk = database->now;
        database->is_corrupt = database->is_healing = database->is_paused = database->is_syncing = false;
        database->applied.checksum = database->durable.checksum;
        if (database->incarnation == 0)
            database->incarnation = ++world->incarnation_count;
        database->record_count = 0;
        database->synced_txid = database->durable.txid;
        database->synced_pages = database->disk;
        database->end_count = 0;
        database->is_brought_along = true;
        memset(database->replica_durable, 0, sizeof(database->replica_durable));
        feeds_wake(database);
    }
    node_watchers_wake(node);
}

/* A former primary's databases become copies, as a restart as a replica would make them. */
static void become_replica(struct node *node)
{
    SQ_LIST_FOREACH (links, &node->databases) {
        struct database *database = SQ_CONTAINER_OF(links, struct database, links);
        database->disk = database->now;
        database->durable = database->applied;
        mark_durable(&database->disk);
        if (database->log.exists) {
            uint64_t timeline = node->timeline; /* of its own last transactions, not of what it has seen since */
            node->timeline = log_end(&database->log).timeline;
            logger_now(database);
            node->timeline = timeline;
        } else {
            log_restart(&database->log, &database->durable);
        }
        database->is_known = database->is_disk_known = true;
        database->disk_incarnation = database->incarnation;
        database->is_syncing = false;
    }
    node->pending_count = 0;
    node->role = REPLICA;
}

void node_follow(struct node *node, int upstream)
{
    sq_assert(upstream != node->id && node->is_up);
    if (node->role == REPLICA && node->upstream == upstream && (node->link != NULL || node->is_connecting))
        return;
    tell("node %d is told to follow node %d", node->id, upstream);
    if (node->role != REPLICA)
        become_replica(node);
    node->upstream = -1;
    network_unfollow(node);
    node->upstream = upstream;
    node_watchers_wake(node);
    link_connect(node);
}

static bool is_ahead(const struct wal_position *a, const struct wal_position *b)
{
    return a->timeline != b->timeline ? a->timeline > b->timeline : a->txid > b->txid;
}

/* What a primary brought along into its timeline may be on no other replica yet: who succeeds it must have come that far. */
static bool has_come_along(const struct node *node, const struct node *primary)
{
    SQ_LIST_FOREACH (links, &primary->databases) {
        const struct database *theirs = SQ_CONTAINER_OF(links, struct database, links);
        const struct database *ours = node_database(node, theirs->name);
        if (theirs->is_brought_along && (ours == NULL || ours->durable.timeline != primary->timeline))
            return false;
    }
    return true;
}

bool node_dominates(const struct node *node)
{
    for (int i = 0; i < world->node_count; i++) {
        if (world->nodes[i]->role == PRIMARY && world->nodes[i]->timeline == node->timeline &&
            !has_come_along(node, world->nodes[i]))
            return false;
    }
    for (int i = 0; i < world->node_count; i++) {
        struct node *other = world->nodes[i];
        if (other == node || other->role != REPLICA)
            continue;
        SQ_LIST_FOREACH (links, &other->databases) {
            const struct database *theirs = SQ_CONTAINER_OF(links, struct database, links);
            const struct database *ours = node_database(node, theirs->name);
            if (!theirs->is_disk_known || theirs->durable.txid == 0)
                continue;
            if (ours == NULL || !ours->is_known || ours->must_heal || is_ahead(&theirs->durable, &ours->durable))
                return false;
        }
    }
    return true;
}
