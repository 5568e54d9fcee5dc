/* sched/write_set.c: slots in order. Invariants: (1) `others` is sorted; (2) a database that is attached twice, or is the
 * connection's own, has several places, of which one takes the slot. */
#include "sched/write_set.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void write_set_init(struct write_set *set, struct sched_database *own, struct sq_waker *waker)
{
    *set = (struct write_set){.own = own};
    slot_ticket_init(&set->ticket, waker);
}

static bool is_before(const struct sched_database *first, const struct sched_database *second)
{
    return (uintptr_t)first < (uintptr_t)second;
}

/* Places have moved: an idle ticket is in no list, but its links point to itself. */
static void settle_places(struct write_set *set)
{
    for (size_t i = 0; i < set->other_count; i++)
        slot_ticket_init(&set->others[i].ticket, set->ticket.waker);
}

sq_status write_set_add(struct write_set *set, struct sched *sched, struct engine_database *engine, const char *alias,
                        struct sq_error *err)
{
    struct write_place *others = realloc(set->others, (set->other_count + 1) * sizeof(*others));
    if (others != NULL)
        set->others = others;
    settle_places(set);
    char *copy = strdup(alias);
    struct sched_database *database = sched_find_database(sched, engine);
    if (others == NULL || copy == NULL || database == NULL) {
        free(copy);
        if (database != NULL)
            sched_database_unref(sched, database);
        return sq_fail(err, SQ_NOMEM, "out of memory to attach a database");
    }
    engine_database_ref(engine);
    size_t index = set->other_count++;
    for (; index > 0 && is_before(database, others[index - 1].database); index--)
        others[index] = others[index - 1];
    others[index] = (struct write_place){.database = database, .alias = copy};
    settle_places(set);
    return SQ_OK;
}

static void give_back(struct sched *sched, struct write_place *place)
{
    struct engine_database *engine = place->database->engine;
    sched_database_unref(sched, place->database);
    engine_database_unref(engine);
    free(place->alias);
}

void write_set_remove(struct write_set *set, struct sched *sched, const struct engine_database *engine,
                      const char *alias)
{
    for (size_t i = 0; i < set->other_count; i++) {
        struct write_place *place = &set->others[i];
        if (strcasecmp(place->alias, alias) != 0 || (engine != NULL && place->database->engine != engine))
            continue;
        give_back(sched, place);
        set->other_count--;
        memmove(place, place + 1, (set->other_count - i) * sizeof(*set->others));
        settle_places(set);
        return;
    }
}

void write_set_clear(struct write_set *set, struct sched *sched)
{
    for (size_t i = 0; i < set->other_count; i++)
        give_back(sched, &set->others[i]);
    free(set->others);
    set->others = NULL;
    set->other_count = 0;
}

/* Invariant 2. */
static bool is_repeated(const struct write_set *set, size_t index)
{
    const struct sched_database *database = set->others[index].database;
    return database == set->own || (index > 0 && database == set->others[index - 1].database);
}

static bool take_place(struct write_set *set, size_t index)
{
    struct write_place *place = &set->others[index];
    return is_repeated(set, index) || sched_slot_take(&place->database->slot, &place->ticket);
}

bool write_set_take(struct write_set *set)
{
    size_t i = 0;
    for (; i < set->other_count && is_before(set->others[i].database, set->own); i++) {
        if (!take_place(set, i))
            return false;
    }
    if (!sched_slot_take(&set->own->slot, &set->ticket))
        return false;
    for (; i < set->other_count; i++) {
        if (!take_place(set, i))
            return false;
    }
    return true;
}

void write_set_release(struct write_set *set)
{
    sched_slot_release(&set->own->slot, &set->ticket);
    for (size_t i = 0; i < set->other_count; i++)
        sched_slot_release(&set->others[i].database->slot, &set->others[i].ticket);
}

bool write_set_watch(struct write_set *set)
{
    bool is_wanted = sched_slot_watch(&set->own->slot, &set->ticket);
    for (size_t i = 0; i < set->other_count; i++)
        is_wanted = sched_slot_watch(&set->others[i].database->slot, &set->others[i].ticket) || is_wanted;
    return is_wanted;
}

bool write_set_is_servers(struct write_set *set)
{
    bool is_servers = sched_slot_is_servers(&set->own->slot);
    for (size_t i = 0; i < set->other_count && !is_servers; i++)
        is_servers = sched_slot_is_servers(&set->others[i].database->slot);
    return is_servers;
}
