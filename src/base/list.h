/* base/list.h: intrusive doubly linked list. The links live in the element, so nothing is allocated and taking an
 * element out needs no search. Threads: the owner's business. */
#ifndef SQ_BASE_LIST_H
#define SQ_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* Both the head and the links of an element. An element that is in no list points to itself. */
struct sq_list {
    struct sq_list *next;
    struct sq_list *previous;
};

static inline void sq_list_init(struct sq_list *list)
{
    list->next = list;
    list->previous = list;
}

static inline bool sq_list_is_empty(const struct sq_list *head)
{
    return head->next == head;
}

/* Whether the element is in some list. */
static inline bool sq_list_is_linked(const struct sq_list *links)
{
    return links->next != links;
}

static inline void sq_list_push_back(struct sq_list *head, struct sq_list *links)
{
    sq_assert(!sq_list_is_linked(links));
    links->previous = head->previous;
    links->next = head;
    head->previous->next = links;
    head->previous = links;
}

static inline void sq_list_push_front(struct sq_list *head, struct sq_list *links)
{
    sq_list_push_back(head->next, links);
}

/* Takes the element out; one that is in no list stays as it is. */
static inline void sq_list_remove(struct sq_list *links)
{
    links->previous->next = links->next;
    links->next->previous = links->previous;
    sq_list_init(links);
}

/* The first element's links, taken out; NULL if there is none. */
static inline struct sq_list *sq_list_pop_front(struct sq_list *head)
{
    if (sq_list_is_empty(head))
        return NULL;
    struct sq_list *first = head->next;
    sq_list_remove(first);
    return first;
}

#define SQ_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* for (struct sq_list *i = …): the body may remove `i`. */
#define SQ_LIST_FOREACH(i, head)                                                                                       \
    for (struct sq_list *i = (head)->next, *i##_next = i->next; i != (head); i = i##_next, i##_next = i->next)

#endif
