/* client/pointers.c: see pointers.h. There are few at a time, so a list will do. */
#include "client/pointers.h"

#include <stdlib.h>

struct client_pointer *client_pointer_new(struct client_remote *remote, void *pointer, const char *type,
                                          void (*destroy)(void *))
{
    struct client_pointer *made = malloc(sizeof(*made));
    if (made == NULL) {
        if (destroy != NULL)
            destroy(pointer);
        return NULL;
    }
    *made = (struct client_pointer){
        .number = ++remote->pointer_number,
        .pointer = pointer,
        .type = type != NULL ? type : "",
        .destroy = destroy,
    };
    sq_list_init(&made->links);
    sq_list_push_front(&remote->pointers, &made->links);
    return made;
}

void client_pointer_free(struct client_pointer *pointer)
{
    if (pointer == NULL)
        return;
    sq_list_remove(&pointer->links);
    if (pointer->destroy != NULL)
        pointer->destroy(pointer->pointer);
    free(pointer);
}

struct client_pointer *client_pointer_find(struct client_remote *remote, uint64_t number)
{
    SQ_LIST_FOREACH (i, &remote->pointers) {
        struct client_pointer *pointer = SQ_CONTAINER_OF(i, struct client_pointer, links);
        if (pointer->number == number)
            return pointer;
    }
    return NULL;
}
