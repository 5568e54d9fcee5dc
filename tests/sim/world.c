/* tests/sim/world.c: the clock, events, dice, transactions. Everything follows from the seed: no address, no hash and no clock of the machine decides anything. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

struct world *world;

struct event {
    int64_t at_us;
    uint64_t order; /* of those at the same time, first come, first served */
    event_fn fn;
    void *a;
    uint64_t b;
};
static struct event *events; /* a heap */
static size_t event_count;
static size_t event_room;
static uint64_t event_order;

struct block {
    struct sq_list links;
};

static void *checked(void *memory)
{
    sq_assert(memory != NULL);
    return memory;
}

void world_new(const struct options *options)
{
    world = checked(calloc(1, sizeof(*world)));
    world->options = *options;
    world->dice = options->seed;
    world->now_us = SECOND;
    sq_list_init(&world->blocks);
    event_count = 0;
    event_order = 0;
}

void world_free(void)
{
    for (struct sq_list *links = sq_list_pop_front(&world->blocks); links != NULL;
         links = sq_list_pop_front(&world->blocks))
        free(SQ_CONTAINER_OF(links, struct block, links));
    free(world->txns);
    free(world);
    free(events);
    events = NULL;
    event_room = 0;
    world = NULL;
}

void *world_alloc(size_t bytes)
{
    size_t head = (sizeof(struct block) + 15) / 16 * 16;
    struct block *block = checked(calloc(1, head + bytes));
    sq_list_init(&block->links);
    sq_list_push_back(&world->blocks, &block->links);
    return (char *)block + head;
}

/* --- Dice: splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators") --- */

uint64_t dice_next(void)
{
    uint64_t z = (world->dice += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t dice_below(uint64_t limit)
{
    sq_assert(limit > 0);
    return dice_next() % limit;
}

bool dice_chance(unsigned percent)
{
    return dice_below(100) < percent;
}

int64_t dice_time(int64_t max_us)
{
    return 1 + (int64_t)dice_below((uint64_t)max_us);
}

/* --- Events --- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void swap(size_t i, size_t j)
{
    struct event event = events[i];
    events[i] = events[j];
    events[j] = event;
}

void event_after(int64_t delay_us, event_fn fn, void *a, uint64_t b)
{
    sq_assert(delay_us >= 0);
    if (event_count == event_room) {
        event_room = event_room == 0 ? 256 : 2 * event_room;
        events = checked(realloc(events, event_room * sizeof(events[0])));
    }
    size_t at = event_count++;
    events[at] = (struct event){.at_us = world->now_us + delay_us, .order = event_order++, .fn = fn, .a = a, .b = b};
    for (; at > 0 && is_before(&events[at], &events[(at - 1) / 2]); at = (at - 1) / 2)
        swap(at, (at - 1) / 2);
}

bool event_next(int64_t until_us)
{
    if (event_count == 0 || events[0].at_us > until_us) {
        if (until_us > world->now_us)
            world->now_us = until_us;
        return false;
    }
    struct event event = events[0];
    events[0] = events[--event_count];
    for (size_t at = 0; 2 * at + 1 < event_count;) {
        size_t child = 2 * at + 1;
        if (child + 1 < event_count && is_before(&events[child + 1], &events[child]))
            child++;
        if (!is_before(&events[child], &events[at]))
            break;
        swap(at, child);
        at = child;
    }
    world->now_us = event.at_us;
    world->tally.event_count++;
    event.fn(event.a, event.b);
    return true;
}

/* --- Judgement --- */

void violate(const char *what, const char *format, ...)
{
    if (world->violation != NULL)
        return;
    va_list list;
    va_start(list, format);
    vsnprintf(world->violation_text, sizeof(world->violation_text), format, list);
    va_end(list);
    world->violation = what;
    tell("VIOLATION %s: %s", what, world->violation_text);
}

void tell(const char *format, ...)
{
    if (!world->options.is_verbose)
        return;
    va_list list;
    va_start(list, format);
    printf("%10.3f ms  ", (double)world->now_us / 1000);
    vprintf(format, list);
    putchar('\n');
    va_end(list);
}

/* --- Transactions --- */

uint64_t txn_new(uint64_t parent, uint64_t incarnation, uint64_t timeline, ltx_txid txid, int node)
{
    if (world->txn_count + 1 >= world->txn_room) {
        world->txn_room = world->txn_room == 0 ? 256 : 2 * world->txn_room;
        world->txns = checked(realloc(world->txns, world->txn_room * sizeof(world->txns[0])));
    }
    uint64_t number = ++world->txn_count;
    world->txns[number] =
        (struct txn){.parent = parent, .incarnation = incarnation, .timeline = timeline, .txid = txid, .node = node};
    return number;
}

bool txn_is_ancestor(uint64_t ancestor, uint64_t of)
{
    while (of > ancestor) /* numbers grow along a history */
        of = world->txns[of].parent;
    return of == ancestor;
}
