/* sched/slot.c: the write slot. Invariants, under the mutex: (1) `holder` is NULL or a ticket in state HELD; (2) exactly
 * the tickets in `queue` are QUEUED; (3) the queue is empty when nobody holds the slot; (4) only the
 * holder's ticket is watching. */
#include "sched/slot.h"

void sched_slot_init(struct sched_slot *slot)
{
    pthread_mutex_init(&slot->mutex, NULL);
    slot->holder = NULL;
    sq_list_init(&slot->queue);
    slot->queue_length = 0;
}

void sched_slot_done(struct sched_slot *slot)
{
    sq_assert(slot->holder == NULL && sq_list_is_empty(&slot->queue));
    pthread_mutex_destroy(&slot->mutex);
}

void slot_ticket_init(struct slot_ticket *ticket, struct sq_waker *waker)
{
    sq_list_init(&ticket->links);
    ticket->state = SLOT_IDLE;
    ticket->is_watching = ticket->is_servers = false;
    ticket->waker = waker;
}

static bool take(struct sched_slot *slot, struct slot_ticket *ticket, bool is_next)
{
    pthread_mutex_lock(&slot->mutex);
    if (ticket->state == SLOT_IDLE) {
        ticket->is_servers = is_next;
        if (slot->holder == NULL) {
            slot->holder = ticket;
            ticket->state = SLOT_HELD;
        } else {
            if (is_next)
                sq_list_push_front(&slot->queue, &ticket->links);
            else
                sq_list_push_back(&slot->queue, &ticket->links);
            slot->queue_length++;
            ticket->state = SLOT_QUEUED;
            if (slot->holder->is_watching) {
                slot->holder->is_watching = false;
                sq_waker_wake(slot->holder->waker);
            }
        }
    }
    bool is_held = ticket->state == SLOT_HELD;
    pthread_mutex_unlock(&slot->mutex);
    return is_held;
}

bool sched_slot_take(struct sched_slot *slot, struct slot_ticket *ticket)
{
    return take(slot, ticket, false);
}

bool sched_slot_take_next(struct sched_slot *slot, struct slot_ticket *ticket)
{
    return take(slot, ticket, true);
}

void sched_slot_release(struct sched_slot *slot, struct slot_ticket *ticket)
{
    pthread_mutex_lock(&slot->mutex);
    if (ticket->state == SLOT_QUEUED) {
        sq_list_remove(&ticket->links);
        slot->queue_length--;
    } else if (ticket->state == SLOT_HELD) {
        sq_assert(slot->holder == ticket);
        slot->holder = NULL;
        struct sq_list *next = sq_list_pop_front(&slot->queue);
        if (next != NULL) {
            slot->queue_length--;
            slot->holder = SQ_CONTAINER_OF(next, struct slot_ticket, links);
            slot->holder->state = SLOT_HELD;
            sq_waker_hurry(slot->holder->waker);
        }
    }
    ticket->state = SLOT_IDLE;
    ticket->is_watching = false;
    pthread_mutex_unlock(&slot->mutex);
}

bool sched_slot_watch(struct sched_slot *slot, struct slot_ticket *ticket)
{
    pthread_mutex_lock(&slot->mutex);
    bool is_held = ticket->state == SLOT_HELD;
    bool is_wanted = is_held && slot->queue_length > 0;
    ticket->is_watching = is_held && !is_wanted;
    pthread_mutex_unlock(&slot->mutex);
    return is_wanted;
}

bool sched_slot_is_servers(struct sched_slot *slot)
{
    pthread_mutex_lock(&slot->mutex);
    bool is_servers = slot->holder != NULL && slot->holder->is_servers;
    pthread_mutex_unlock(&slot->mutex);
    return is_servers;
}

size_t sched_slot_queue_length(struct sched_slot *slot)
{
    pthread_mutex_lock(&slot->mutex);
    size_t length = slot->queue_length;
    pthread_mutex_unlock(&slot->mutex);
    return length;
}
