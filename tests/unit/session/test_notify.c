/* The notification hub: who hears what, in which order, and what happens to those who do not listen up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/notify.h"

enum { LISTENERS = 3 };

struct ear {
    struct sq_waker waker;
    int wake_count;
    struct notify_listener listener;
};

static struct notify_hub *hub;
static struct ear ears[LISTENERS];
static const char database[] = "one", other_database[] = "other";
static struct sq_error err;

static void count_wake(struct sq_waker *waker)
{
    SQ_CONTAINER_OF(waker, struct ear, waker)->wake_count++;
}

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(notify_hub_new(&err, &hub), SQ_OK);
    for (size_t i = 0; i < LISTENERS; i++) {
        ears[i] = (struct ear){.waker = {.wake_cb = count_wake}};
        notify_listener_init(&ears[i].listener, &ears[i].waker);
        notify_listener_set_database(&ears[i].listener, database);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < LISTENERS; i++)
        notify_listener_done(hub, &ears[i].listener);
    notify_hub_free(hub);
    return 0;
}

static void hear(size_t i, const char *channel)
{
    assert_int_equal(notify_listen(hub, &ears[i].listener, channel, &err), SQ_OK);
}

static void say(const char *channel, const char *payload)
{
    assert_int_equal(notify_publish(hub, database, 7, channel, payload, &err), SQ_OK);
}

/* The next message as "pid channel payload", or "". */
static const char *next(size_t i)
{
    static char text[256];
    bool has_overflowed = true;
    struct notify_message *message = notify_take(hub, &ears[i].listener, &has_overflowed);
    assert_false(has_overflowed);
    text[0] = '\0';
    if (message != NULL)
        snprintf(text, sizeof(text), "%u %s %s", message->sender_pid, message->channel, message->payload);
    free(message);
    return text;
}

static void those_who_listen_hear_and_are_woken(void **state)
{
    (void)state;
    hear(0, "a");
    hear(1, "a");
    hear(2, "b");
    say("a", "hello");
    assert_string_equal(next(0), "7 a hello");
    assert_string_equal(next(0), "");
    assert_string_equal(next(1), "7 a hello");
    assert_string_equal(next(2), "");
    assert_int_equal(ears[0].wake_count, 1);
    assert_int_equal(ears[2].wake_count, 0);
}

static void messages_keep_their_order_and_their_payload(void **state)
{
    (void)state;
    hear(0, "a");
    hear(0, "b");
    say("a", "1");
    say("b", "");
    say("a", "3");
    assert_string_equal(next(0), "7 a 1");
    assert_string_equal(next(0), "7 b ");
    assert_string_equal(next(0), "7 a 3");
    assert_string_equal(next(0), "");
}

static void listening_twice_is_hearing_once(void **state)
{
    (void)state;
    hear(0, "a");
    hear(0, "a");
    say("a", "x");
    assert_string_equal(next(0), "7 a x");
    assert_string_equal(next(0), "");
    notify_unlisten(hub, &ears[0].listener, "a");
    assert_false(ears[0].listener.is_listening);
}

static void channels_are_told_apart_by_every_byte(void **state)
{
    (void)state;
    hear(0, "abc");
    say("ab", "x");
    say("abcd", "x");
    say("ABC", "x");
    say("", "x");
    assert_string_equal(next(0), "");
    say("abc", "x");
    assert_string_equal(next(0), "7 abc x");
}

static void other_databases_are_not_heard(void **state)
{
    (void)state;
    hear(0, "a");
    notify_listener_set_database(&ears[1].listener, other_database);
    hear(1, "a");
    say("a", "x");
    assert_string_equal(next(1), "");
    assert_int_equal(ears[1].wake_count, 0);
    assert_string_equal(next(0), "7 a x");
}

static void who_unlistens_hears_no_more_on_that_channel(void **state)
{
    (void)state;
    hear(0, "a");
    hear(0, "b");
    notify_unlisten(hub, &ears[0].listener, "a");
    notify_unlisten(hub, &ears[0].listener, "never heard");
    say("a", "x");
    say("b", "y");
    assert_string_equal(next(0), "7 b y");
    assert_string_equal(next(0), "");
    notify_unlisten(hub, &ears[0].listener, NULL);
    say("b", "z");
    assert_int_equal(ears[0].wake_count, 1);
    hear(0, "b");
    assert_string_equal(next(0), "");
}

static void a_listener_that_is_done_is_not_woken(void **state)
{
    (void)state;
    hear(0, "a");
    say("a", "never read");
    notify_listener_done(hub, &ears[0].listener);
    say("a", "x");
    assert_int_equal(ears[0].wake_count, 1);
}

static void a_queue_that_nobody_empties_is_cut_and_says_so_once(void **state)
{
    (void)state;
    char payload[16];
    bool has_overflowed = false;
    struct notify_message *message;
    size_t count = 0;
    hear(0, "a");
    hear(1, "a");
    for (int i = 0; i < NOTIFY_QUEUE_MAX; i++) {
        snprintf(payload, sizeof(payload), "%d", i);
        say("a", payload);
        free(notify_take(hub, &ears[1].listener, &has_overflowed));
    }
    assert_int_equal(ears[0].listener.queue_length, NOTIFY_QUEUE_MAX);
    assert_false(ears[0].listener.has_overflowed);
    say("a", "one too many");
    say("a", "two too many");
    /* The one who keeps up misses nothing. */
    assert_string_equal(next(1), "7 a one too many");
    assert_string_equal(next(1), "7 a two too many");
    while ((message = notify_take(hub, &ears[0].listener, &has_overflowed)) != NULL) {
        assert_false(has_overflowed);
        snprintf(payload, sizeof(payload), "%zu", count++);
        assert_string_equal(message->payload, payload);
        free(message);
    }
    assert_int_equal(count, NOTIFY_QUEUE_MAX);
    assert_true(has_overflowed);
    assert_string_equal(next(0), "");
    say("a", "again");
    assert_string_equal(next(0), "7 a again");
}

static void channels_have_a_limit(void **state)
{
    (void)state;
    char channel[16];
    for (int i = 0; i < NOTIFY_CHANNELS_MAX; i++) {
        snprintf(channel, sizeof(channel), "c%d", i);
        hear(0, channel);
    }
    assert_int_equal(notify_listen(hub, &ears[0].listener, "one more", &err), SQ_LIMIT);
    say("c9999", "x");
    assert_string_equal(next(0), "7 c9999 x");
    notify_unlisten(hub, &ears[0].listener, "c0");
    hear(0, "one more");
}

#define NOTIFY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NOTIFY_TEST(those_who_listen_hear_and_are_woken),
        NOTIFY_TEST(messages_keep_their_order_and_their_payload),
        NOTIFY_TEST(listening_twice_is_hearing_once),
        NOTIFY_TEST(channels_are_told_apart_by_every_byte),
        NOTIFY_TEST(other_databases_are_not_heard),
        NOTIFY_TEST(who_unlistens_hears_no_more_on_that_channel),
        NOTIFY_TEST(a_listener_that_is_done_is_not_woken),
        NOTIFY_TEST(a_queue_that_nobody_empties_is_cut_and_says_so_once),
        NOTIFY_TEST(channels_have_a_limit),
    };
    return cmocka_run_group_tests_name("session/notify", tests, NULL, NULL);
}
