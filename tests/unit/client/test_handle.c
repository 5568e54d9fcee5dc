/* Handles: told from other pointers by their address alone, reused late, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "client/handle.h"

static struct client_handle *new_handle(void *object)
{
    struct client_handle *handle = NULL;
    assert_int_equal(client_handle_new(CLIENT_HANDLE_UNOPENED, object, &handle), SQ_OK);
    assert_non_null(handle);
    return handle;
}

static void only_pointers_into_the_array_are_ours(void **state)
{
    (void)state;
    int local;
    void *heap = malloc(100);
    assert_non_null(heap);
    const char *first = (const char *)client_handles, *end = first + sizeof(client_handles);
    assert_false(client_handle_is_ours(NULL));
    assert_false(client_handle_is_ours(&local));
    assert_false(client_handle_is_ours(heap));
    assert_false(client_handle_is_ours(first - 1));
    assert_true(client_handle_is_ours(first));
    assert_true(client_handle_is_ours(end - 1));
    assert_false(client_handle_is_ours(end));
    assert_false(client_handle_is_ours((const void *)UINTPTR_MAX));
    free(heap);
}

static void a_handle_leads_to_its_object_until_it_is_freed(void **state)
{
    (void)state;
    int object;
    struct client_handle *handle = new_handle(&object);
    assert_true(client_handle_is_ours(handle));
    assert_ptr_equal(client_handle_object(handle, CLIENT_HANDLE_UNOPENED), &object);
    assert_null(client_handle_object(handle, CLIENT_HANDLE_FREE));
    assert_null(client_handle_object((const char *)handle + 1, CLIENT_HANDLE_UNOPENED));
    client_handle_free(handle);
    assert_null(client_handle_object(handle, CLIENT_HANDLE_UNOPENED));
}

static void a_freed_handle_is_not_the_next_one(void **state)
{
    (void)state;
    int object;
    struct client_handle *first = new_handle(&object);
    client_handle_free(first);
    struct client_handle *second = new_handle(&object);
    assert_ptr_not_equal(first, second);
    client_handle_free(second);
}

static void there_are_exactly_as_many_as_the_limit_says(void **state)
{
    (void)state;
    int object;
    struct client_handle **handles = calloc(CLIENT_HANDLES_MAX, sizeof(*handles));
    assert_non_null(handles);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < CLIENT_HANDLES_MAX; i++)
            handles[i] = new_handle(&object);
        struct client_handle *none = NULL;
        assert_int_equal(client_handle_new(CLIENT_HANDLE_UNOPENED, &object, &none), SQ_LIMIT);
        assert_null(none);
        /* The oldest of the freed comes back first. */
        client_handle_free(handles[7]);
        client_handle_free(handles[3]);
        assert_ptr_equal(new_handle(&object), handles[7]);
        assert_ptr_equal(new_handle(&object), handles[3]);
        for (size_t i = 0; i < CLIENT_HANDLES_MAX; i++)
            client_handle_free(handles[i]);
    }
    free(handles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_pointers_into_the_array_are_ours),
        cmocka_unit_test(a_handle_leads_to_its_object_until_it_is_freed),
        cmocka_unit_test(a_freed_handle_is_not_the_next_one),
        cmocka_unit_test(there_are_exactly_as_many_as_the_limit_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
