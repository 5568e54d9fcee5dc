/* tests/sim/network.c: connections from replicas to those whom they follow. Bytes are delayed, in order, in pieces; a window bounds what is on its way; a partition holds
 * bytes of one direction back, as TCP does, until it is over or somebody has had enough; a loss cuts a stream at any byte, and the other side may never hear of
 * it. Each end runs when bytes have come, there is room, its waker was called, or its deadline is there. */
#include <string.h>

#include "sim.h"

enum { PIECES_MAX = 256, TO_PRIMARY = 0, TO_REPLICA = 1 };

/* One direction. Pieces are the lengths of what is on its way. */
struct stream {
    struct sq_buf flight;
    size_t pieces[PIECES_MAX];
    size_t piece_count;
    bool is_scheduled;
    bool has_end; /* after what is on its way the other side sees the end */
};

struct end {
    struct link *link;
    struct node *node;
    uint64_t epoch;
    struct sq_waker waker;
    struct sq_buf in;
    struct sq_buf out;
    bool is_open;
    bool is_run_due;
    int64_t deadline_us;
    int64_t alarm_us;  /* the earliest one that an event is on its way for */
    bool has_seen_end; /* no more bytes will come */
};

struct link {
    struct sq_list primary_links; /* in the primary's node->links */
    struct end replica;
    struct end primary;
    struct stream streams[2];
    struct repl_receiver *receiver;
    struct repl_sender *sender;
    struct repl_sender_owner owner;
    struct sq_list all;
};
static struct sq_list all_links = {&all_links, &all_links};

static struct end *end_at(struct link *link, int direction)
{
    return direction == TO_PRIMARY ? &link->primary : &link->replica;
}

static void run_event(void *a, uint64_t epoch);

static void run_soon(struct end *end)
{
    if (end->is_run_due || !end->is_open)
        return;
    end->is_run_due = true;
    event_after(dice_time(200), run_event, end, end->epoch);
}

static void wake(struct sq_waker *waker)
{
    run_soon(SQ_CONTAINER_OF(waker, struct end, waker));
}

/* --- Streams --- */

static void piece_event(void *a, uint64_t direction);

static void schedule(struct link *link, int direction)
{
    struct stream *stream = &link->streams[direction];
    if (stream->is_scheduled || (stream->piece_count == 0 && !stream->has_end))
        return;
    stream->is_scheduled = true;
    event_after(world->delay_us / 2 + dice_time(world->delay_us), piece_event, link, (uint64_t)direction);
}

/* What one end has to say goes on its way, as far as the window allows. */
static void pump(struct link *link, int direction)
{
    struct stream *stream = &link->streams[direction];
    struct end *from = end_at(link, 1 - direction);
    while (sq_buf_length(&from->out) > 0 && stream->piece_count < PIECES_MAX &&
           sq_buf_length(&stream->flight) < world->window_bytes) {
        size_t length = 1 + (size_t)dice_below(world->window_bytes);
        if (length > sq_buf_length(&from->out))
            length = sq_buf_length(&from->out);
        sq_buf_put(&stream->flight, sq_buf_bytes(&from->out), length);
        sq_buf_consume(&from->out, length);
        stream->pieces[stream->piece_count++] = length;
    }
    schedule(link, direction);
}

static void piece_event(void *a, uint64_t b)
{
    struct link *link = a;
    int direction = (int)b;
    struct stream *stream = &link->streams[direction];
    struct end *to = end_at(link, direction);
    struct end *from = end_at(link, 1 - direction);
    stream->is_scheduled = false;
    if (!to->is_open)
        return;
    if (world->is_partitioned[from->node->id][to->node->id]) {
        stream->is_scheduled = true;
        event_after(20 * MS, piece_event, a, b);
        return;
    }
    if (stream->piece_count > 0) {
        size_t length = stream->pieces[0];
        if (sq_buf_length(&to->in) > 2 * world->window_bytes + REPLICATION_MESSAGE_BYTES_MAX) {
            stream->is_scheduled = true; /* it does not read */
            event_after(5 * MS, piece_event, a, b);
            return;
        }
        sq_buf_put(&to->in, sq_buf_bytes(&stream->flight), length);
        sq_buf_consume(&stream->flight, length);
        memmove(stream->pieces, stream->pieces + 1, --stream->piece_count * sizeof(stream->pieces[0]));
        if (from->is_open) {
            pump(link, direction);
            run_soon(from); /* there is room */
        }
    } else if (stream->has_end) {
        to->has_seen_end = true;
    }
    schedule(link, direction);
    run_soon(to);
}

/* --- Ends --- */

/* The end is gone; `is_told`: the other side sees it after what was said before. */
static void end_close(struct link *link, struct end *end, bool is_told)
{
    int direction = end == &link->primary ? TO_REPLICA : TO_PRIMARY;
    if (!end->is_open)
        return;
    if (end == &link->primary) {
        repl_sender_free(link->sender);
        link->sender = NULL;
        sq_list_remove(&link->primary_links);
    } else {
        repl_receiver_free(link->receiver);
        link->receiver = NULL;
        end->node->link = NULL;
    }
    if (is_told) {
        pump(link, direction);
        link->streams[direction].has_end = true;
        schedule(link, direction);
    }
    end->is_open = false;
    sq_buf_done(&end->in);
    sq_buf_done(&end->out);
    if (end == &link->replica) {
        node_watchers_wake(end->node); /* it may not know the list any more */
        link_connect(end->node);
    }
}

static void alarm_event(void *a, uint64_t epoch);

static void check_sizes(const struct link *link, const struct end *end)
{
    /* Back-pressure: no more than the mark, a message, and the positions of those that were woken together. */
    size_t most = 256 * 1024 + REPLICATION_MESSAGE_BYTES_MAX + 16 * 1024;
    if (sq_buf_length(&end->out) > most)
        violate("back-pressure", "%zu bytes wait from node %d", sq_buf_length(&end->out), end->node->id);
    (void)link;
}

static void run_event(void *a, uint64_t epoch)
{
    struct end *end = a;
    struct link *link = end->link;
    struct sq_error err;
    sq_status status = SQ_OK;
    if (!end->is_open || !node_can(end->node, epoch, run_event, a))
        return;
    end->is_run_due = false;
    sq_error_clear(&err);
    int direction = end == &link->primary ? TO_REPLICA : TO_PRIMARY;
    if (end == &link->primary)
        status = repl_sender_run(link->sender, world->now_us, world->now_us + end->node->wall_offset_us, &end->in,
                                 &end->out, &err, &end->deadline_us);
    else
        status = repl_receiver_run(link->receiver, world->now_us, &end->in, &end->out, &err, &end->deadline_us);
    check_sizes(link, end);
    if (status == SQ_PROTOCOL || status == SQ_LIMIT || status == SQ_NOMEM)
        violate("both speak the protocol", "node %d: %s", end->node->id, err.text);
    if (status != SQ_OK) {
        tell("node %d: %s", end->node->id, err.text);
        end_close(link, end, true);
        return;
    }
    pump(link, direction);
    if (end->has_seen_end) {
        end_close(link, end, true);
        return;
    }
    if (end->deadline_us <= world->now_us)
        violate("deadlines are in the future", "node %d", end->node->id);
    if (end->alarm_us <= world->now_us || end->deadline_us < end->alarm_us) {
        end->alarm_us = end->deadline_us;
        event_after(end->deadline_us - world->now_us, alarm_event, end, end->epoch);
    }
}

/* A deadline, if it was not overtaken by an earlier one. */
static void alarm_event(void *a, uint64_t epoch)
{
    struct end *end = a;
    if (end->is_open && end->alarm_us == world->now_us)
        run_event(a, epoch);
}

void links_poke(struct node *node)
{
    if (node->link != NULL)
        run_soon(&node->link->replica);
    SQ_LIST_FOREACH (links, &node->links)
        run_soon(&SQ_CONTAINER_OF(links, struct link, primary_links)->primary);
}

/* --- Connecting --- */

static struct link *link_of(struct repl_sender_owner *owner)
{
    return SQ_CONTAINER_OF(owner, struct link, owner);
}

static void newer_timeline(struct repl_sender_owner *owner, uint64_t timeline)
{
    node_saw_timeline(link_of(owner)->primary.node, timeline);
}

static void durable(struct repl_sender_owner *owner, uint32_t number, const struct wal_position *position)
{
    struct link *link = link_of(owner);
    node_durable(link->primary.node, number, link->replica.node->id, position);
}

static const struct repl_sender_owner_ops owner_ops = {.newer_timeline_cb = newer_timeline, .durable_cb = durable};

static void end_init(struct link *link, struct end *end, struct node *node)
{
    end->link = link;
    end->node = node;
    end->epoch = node->epoch;
    end->waker = (struct sq_waker){.wake_cb = wake};
    sq_buf_init(&end->in, 1 << 22);
    sq_buf_init(&end->out, 1 << 20);
    end->is_open = true;
}

static void connect_event(void *a, uint64_t epoch);

static void connect_later(struct node *replica)
{
    replica->is_connecting = true;
    event_after(5 * MS + dice_time(300 * MS), connect_event, replica, replica->epoch);
}

void link_connect(struct node *replica)
{
    if (replica->is_connecting || !replica->is_up || replica->role != REPLICA || replica->upstream < 0)
        return;
    connect_later(replica);
}

static void connect_event(void *a, uint64_t epoch)
{
    struct node *replica = a;
    struct replication_command command;
    struct repl_wanted wanted;
    struct sq_error err;
    if (!node_can(replica, epoch, connect_event, a))
        return;
    replica->is_connecting = false;
    if (replica->role != REPLICA || replica->upstream < 0 || replica->link != NULL)
        return;
    struct node *primary = world->nodes[replica->upstream];
    if (!node_is_awake(primary) || world->is_partitioned[replica->id][primary->id] ||
        world->is_partitioned[primary->id][replica->id]) {
        connect_later(replica);
        return;
    }
    struct link *link = world_alloc(sizeof(*link));
    link->owner.ops = &owner_ops;
    sq_list_init(&link->primary_links);
    sq_list_init(&link->all);
    for (int i = 0; i < 2; i++)
        sq_buf_init(&link->streams[i].flight, 1 << 22);
    sq_list_push_back(&all_links, &link->all);
    end_init(link, &link->primary, primary);
    end_init(link, &link->replica, replica);
    repl_receiver_command(&replica->store, &command);
    command.name[0] = (char)('0' + replica->id);
    memcpy(command.databases, replica->wanted, sizeof(replica->wanted));
    struct repl_sender_config sender_config = repl_sender_defaults;
    if (dice_chance(10))
        sender_config.push_interval_us = 10 * MS;
    sq_status status = repl_sender_new(&primary->source, &command, &sender_config, &link->owner, &link->primary.waker,
                                       world->now_us, &err, &link->sender);
    if (status != SQ_OK) {
        tell("node %d refuses node %d: %s", primary->id, replica->id, err.text);
        link->primary.is_open = link->replica.is_open = false;
        connect_later(replica);
        return;
    }
    sq_list_push_back(&primary->links, &link->primary_links);
    status = repl_wanted_parse(replica->wanted, &err, &wanted);
    sq_assert(status == SQ_OK);
    status = repl_receiver_new(&replica->store, &wanted, &repl_receiver_defaults, &link->replica.waker, world->now_us,
                               &err, &link->receiver);
    sq_assert(status == SQ_OK);
    replica->link = link;
    world->tally.connection_count++;
    tell("node %d follows node %d", replica->id, primary->id);
    run_soon(&link->primary);
    run_soon(&link->replica);
}

struct repl_receiver *link_receiver(const struct link *link)
{
    return link->receiver;
}

int link_primary(const struct link *link)
{
    return link->primary.node->id;
}

/* --- Losses --- */

/* Of what is on its way, so much arrives. */
static void cut(struct stream *stream)
{
    size_t keep = (size_t)dice_below(sq_buf_length(&stream->flight) + 1);
    size_t kept = 0;
    for (size_t i = 0; i < stream->piece_count; i++) {
        if (kept + stream->pieces[i] > keep) {
            stream->pieces[i] = keep - kept;
            stream->piece_count = keep > kept ? i + 1 : i;
            break;
        }
        kept += stream->pieces[i];
    }
    sq_buf_truncate(&stream->flight, keep);
}

void link_lose(struct link *link)
{
    struct end *end = dice_chance(50) ? &link->replica : &link->primary;
    int direction = end == &link->primary ? TO_REPLICA : TO_PRIMARY;
    tell("the connection of nodes %d and %d is lost", link->replica.node->id, link->primary.node->id);
    sq_buf_truncate(&end->out, 0);
    cut(&link->streams[direction]);
    end_close(link, end, dice_chance(70));
}

static void end_died(struct link *link, struct end *end)
{
    int direction = end == &link->primary ? TO_REPLICA : TO_PRIMARY;
    sq_buf_truncate(&end->out, 0);
    cut(&link->streams[direction]);
    end_close(link, end, dice_chance(70)); /* a process that is killed sends its end, a machine does not */
}

void network_unfollow(struct node *node)
{
    if (node->link != NULL)
        end_died(node->link, &node->link->replica);
}

void network_node_died(struct node *node)
{
    network_unfollow(node);
    SQ_LIST_FOREACH (links, &node->links) {
        struct link *link = SQ_CONTAINER_OF(links, struct link, primary_links);
        end_died(link, &link->primary);
    }
}

static void tell_sent(void *context, const struct repl_sender_figures *figures)
{
    const struct link *link = context;
    tell("node %d to node %d, %s: %s, end %llu/%llu, sent %llu/%llu, durable %llu/%llu", link->primary.node->id,
         link->replica.node->id, figures->name, figures->state, (unsigned long long)figures->end.timeline,
         (unsigned long long)figures->end.txid, (unsigned long long)figures->sent.timeline,
         (unsigned long long)figures->sent.txid, (unsigned long long)figures->durable.timeline,
         (unsigned long long)figures->durable.txid);
}

static void tell_received(void *context, const struct repl_receiver_figures *figures)
{
    const struct link *link = context;
    tell("node %d, %s: %s, end %llu/%llu, written %llu/%llu, durable %llu/%llu, as of %lld %s", link->replica.node->id,
         figures->name, figures->state, (unsigned long long)figures->end.timeline,
         (unsigned long long)figures->end.txid, (unsigned long long)figures->written.timeline,
         (unsigned long long)figures->written.txid, (unsigned long long)figures->durable.timeline,
         (unsigned long long)figures->durable.txid, (long long)figures->as_of_us, figures->reason);
}

void network_tell(void)
{
    SQ_LIST_FOREACH (links, &all_links) {
        struct link *link = SQ_CONTAINER_OF(links, struct link, all);
        if (link->sender != NULL)
            repl_sender_each(link->sender, world->now_us, link, tell_sent);
        if (link->receiver != NULL)
            repl_receiver_each(link->receiver, link, tell_received);
    }
}

void network_free(void)
{
    for (struct sq_list *links = sq_list_pop_front(&all_links); links != NULL; links = sq_list_pop_front(&all_links)) {
        struct link *link = SQ_CONTAINER_OF(links, struct link, all);
        link->replica.node->upstream = -1; /* nobody connects again */
        end_close(link, &link->replica, false);
        end_close(link, &link->primary, false);
        for (int i = 0; i < 2; i++)
            sq_buf_done(&link->streams[i].flight);
    }
}
