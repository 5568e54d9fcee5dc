/* Links: order, taking out from anywhere, removing while walking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

enum { THINGS = 5 };

struct thing {
    int id;
    struct sq_list links;
};

struct fixture {
    struct sq_list head;
    struct thing things[THINGS];
};

static void fixture_init(struct fixture *fixture)
{
    sq_list_init(&fixture->head);
    for (int i = 0; i < THINGS; i++) {
        fixture->things[i].id = i;
        sq_list_init(&fixture->things[i].links);
    }
}

/* The ids in order as decimal digits, forwards; the links backwards must say the same. */
static int digits_of(struct sq_list *head)
{
    int forwards = 0;
    int backwards = 0;
    int place = 1;
    SQ_LIST_FOREACH (i, head)
        forwards = forwards * 10 + SQ_CONTAINER_OF(i, struct thing, links)->id;
    for (struct sq_list *i = head->previous; i != head; i = i->previous, place *= 10)
        backwards += SQ_CONTAINER_OF(i, struct thing, links)->id * place;
    assert_int_equal(forwards, backwards);
    return forwards;
}

static void elements_keep_their_order(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    assert_true(sq_list_is_empty(&fixture.head));
    sq_list_push_back(&fixture.head, &fixture.things[2].links);
    sq_list_push_back(&fixture.head, &fixture.things[3].links);
    sq_list_push_front(&fixture.head, &fixture.things[1].links);
    assert_false(sq_list_is_empty(&fixture.head));
    assert_int_equal(digits_of(&fixture.head), 123);
}

static void an_element_leaves_from_anywhere(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    for (int i = 1; i < THINGS; i++)
        sq_list_push_back(&fixture.head, &fixture.things[i].links);
    assert_true(sq_list_is_linked(&fixture.things[2].links));
    sq_list_remove(&fixture.things[2].links);
    assert_false(sq_list_is_linked(&fixture.things[2].links));
    assert_int_equal(digits_of(&fixture.head), 134);
    sq_list_remove(&fixture.things[2].links);
    assert_int_equal(digits_of(&fixture.head), 134);
    sq_list_remove(&fixture.things[1].links);
    sq_list_remove(&fixture.things[4].links);
    assert_int_equal(digits_of(&fixture.head), 3);
    sq_list_push_back(&fixture.head, &fixture.things[2].links);
    assert_int_equal(digits_of(&fixture.head), 32);
}

static void popping_empties_the_list_in_order(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    for (int i = 0; i < THINGS; i++)
        sq_list_push_back(&fixture.head, &fixture.things[i].links);
    for (int i = 0; i < THINGS; i++) {
        struct sq_list *first = sq_list_pop_front(&fixture.head);
        assert_ptr_equal(first, &fixture.things[i].links);
        assert_false(sq_list_is_linked(first));
    }
    assert_null(sq_list_pop_front(&fixture.head));
    assert_true(sq_list_is_empty(&fixture.head));
}

static void a_walk_may_remove_what_it_stands_on(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    int met = 0;
    for (int i = 1; i < THINGS; i++)
        sq_list_push_back(&fixture.head, &fixture.things[i].links);
    SQ_LIST_FOREACH (i, &fixture.head) {
        struct thing *thing = SQ_CONTAINER_OF(i, struct thing, links);
        met = met * 10 + thing->id;
        if (thing->id % 2 == 0)
            sq_list_remove(i);
    }
    assert_int_equal(met, 1234);
    assert_int_equal(digits_of(&fixture.head), 13);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_keep_their_order),
        cmocka_unit_test(an_element_leaves_from_anywhere),
        cmocka_unit_test(popping_empties_the_list_in_order),
        cmocka_unit_test(a_walk_may_remove_what_it_stands_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
