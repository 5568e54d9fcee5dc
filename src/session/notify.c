/* session/notify.c: one mutex for the hub; NOTIFY is rare compared with queries. A session that listens to nothing never
 * takes it. */
#include "session/notify.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct notify_hub {
    pthread_mutex_t mutex;
    struct sq_list listeners;
};

sq_status notify_hub_new(struct sq_error *err, struct notify_hub **ret_hub)
{
    struct notify_hub *hub = calloc(1, sizeof(*hub));
    if (hub == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for the notification hub");
    pthread_mutex_init(&hub->mutex, NULL);
    sq_list_init(&hub->listeners);
    *ret_hub = hub;
    return SQ_OK;
}

void notify_hub_free(struct notify_hub *hub)
{
    if (hub == NULL)
        return;
    sq_assert(sq_list_is_empty(&hub->listeners));
    pthread_mutex_destroy(&hub->mutex);
    free(hub);
}

void notify_listener_init(struct notify_listener *listener, struct sq_waker *waker)
{
    sq_list_init(&listener->links);
    sq_map_init(&listener->channels);
    sq_list_init(&listener->queue);
    listener->queue_length = 0;
    listener->has_overflowed = false;
    listener->database = NULL;
    listener->waker = waker;
    listener->is_listening = false;
}

void notify_listener_set_database(struct notify_listener *listener, const void *database)
{
    sq_assert(!listener->is_listening);
    listener->database = database;
}

sq_status notify_listen(struct notify_hub *hub, struct notify_listener *listener, const char *channel,
                        struct sq_error *err)
{
    pthread_mutex_lock(&hub->mutex);
    sq_status status = SQ_OK;
    if (listener->channels.count >= NOTIFY_CHANNELS_MAX)
        status = sq_fail(err, SQ_LIMIT, "a session can listen to %d channels at most", NOTIFY_CHANNELS_MAX);
    else if (sq_map_put(&listener->channels, channel, strlen(channel), listener, NULL) != SQ_OK)
        status = sq_fail(err, SQ_NOMEM, "out of memory to listen");
    else if (!sq_list_is_linked(&listener->links))
        sq_list_push_back(&hub->listeners, &listener->links);
    pthread_mutex_unlock(&hub->mutex);
    listener->is_listening = listener->is_listening || status == SQ_OK;
    return status;
}

size_t notify_channel_count(const struct notify_listener *listener)
{
    return listener->channels.count; /* which only the session's own thread changes */
}

void notify_unlisten(struct notify_hub *hub, struct notify_listener *listener, const char *channel)
{
    if (!listener->is_listening)
        return;
    pthread_mutex_lock(&hub->mutex);
    if (channel != NULL)
        sq_map_remove(&listener->channels, channel, strlen(channel));
    else
        sq_map_done(&listener->channels);
    if (listener->channels.count == 0) {
        sq_list_remove(&listener->links);
        listener->is_listening = false;
    }
    pthread_mutex_unlock(&hub->mutex);
}

void notify_listener_done(struct notify_hub *hub, struct notify_listener *listener)
{
    notify_unlisten(hub, listener, NULL);
    sq_map_done(&listener->channels);
    struct sq_list *links;
    while ((links = sq_list_pop_front(&listener->queue)) != NULL)
        free(SQ_CONTAINER_OF(links, struct notify_message, links));
    listener->queue_length = 0;
}

static struct notify_message *make_message(uint32_t sender_pid, const char *channel, const char *payload)
{
    size_t channel_bytes = strlen(channel) + 1;
    size_t payload_bytes = strlen(payload) + 1;
    struct notify_message *message = malloc(sizeof(*message) + channel_bytes + payload_bytes);
    if (message == NULL)
        return NULL;
    sq_list_init(&message->links);
    message->sender_pid = sender_pid;
    memcpy(message->text, channel, channel_bytes);
    memcpy(message->text + channel_bytes, payload, payload_bytes);
    message->channel = message->text;
    message->payload = message->text + channel_bytes;
    return message;
}

sq_status notify_publish(struct notify_hub *hub, const void *database, uint32_t sender_pid, const char *channel,
                         const char *payload, struct sq_error *err)
{
    sq_status status = SQ_OK;
    pthread_mutex_lock(&hub->mutex);
    SQ_LIST_FOREACH (links, &hub->listeners) {
        struct notify_listener *listener = SQ_CONTAINER_OF(links, struct notify_listener, links);
        if (listener->database != database || sq_map_get(&listener->channels, channel, strlen(channel)) == NULL)
            continue;
        if (listener->queue_length >= NOTIFY_QUEUE_MAX) {
            listener->has_overflowed = true;
            continue;
        }
        struct notify_message *message = make_message(sender_pid, channel, payload);
        if (message == NULL) {
            status = sq_fail(err, SQ_NOMEM, "out of memory for a notification");
            break;
        }
        sq_list_push_back(&listener->queue, &message->links);
        listener->queue_length++;
        sq_waker_wake(listener->waker);
    }
    pthread_mutex_unlock(&hub->mutex);
    return status;
}

struct notify_message *notify_take(struct notify_hub *hub, struct notify_listener *listener, bool *ret_has_overflowed)
{
    *ret_has_overflowed = false;
    /* What was sent before an UNLISTEN is delivered. Who does not listen has the queue for itself. */
    if (!listener->is_listening && sq_list_is_empty(&listener->queue))
        return NULL;
    pthread_mutex_lock(&hub->mutex);
    struct sq_list *links = sq_list_pop_front(&listener->queue);
    if (links != NULL) {
        listener->queue_length--;
    } else {
        *ret_has_overflowed = listener->has_overflowed;
        listener->has_overflowed = false;
    }
    pthread_mutex_unlock(&hub->mutex);
    return links != NULL ? SQ_CONTAINER_OF(links, struct notify_message, links) : NULL;
}
