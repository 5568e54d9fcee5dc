/* session/pending.c: LISTEN, UNLISTEN and NOTIFY of the open transaction. They take effect when it commits, and not at all
 * when it is rolled back; what came after a savepoint goes with the savepoint (PostgreSQL manual, pages "LISTEN" and
 * "NOTIFY"). Outside a transaction each is one of its own.
 *
 * `depth` is how many savepoints an action lies within, counted by the settings, which remember them by name. RELEASE
 * makes what lay within the savepoint part of what is around it.
 *
 * Nothing here is left to fail at COMMIT but for want of memory. */
#include <stdlib.h>
#include <string.h>

#include "session/session_internal.h"

enum pending_kind { PENDING_LISTEN, PENDING_UNLISTEN, PENDING_UNLISTEN_ALL, PENDING_NOTIFY };

struct pending_action {
    struct sq_list links;
    enum pending_kind kind;
    uint32_t depth;
    const char *payload; /* within text */
    char text[];         /* channel */
};

static struct pending_action *action_of(struct sq_list *links)
{
    return SQ_CONTAINER_OF(links, struct pending_action, links);
}

static sq_status add(struct session *session, enum pending_kind kind, const char *channel, const char *payload,
                     struct sq_error *err)
{
    if (session->pending_count >= SESSION_PENDING_MAX)
        return sq_fail(err, SQ_LIMIT, "too many notifications in one transaction (%d)", SESSION_PENDING_MAX);
    /* Where the primary hears of it, and nobody here. */
    if (kind != PENDING_UNLISTEN && kind != PENDING_UNLISTEN_ALL && session->host->node != NULL)
        SQ_TRY(repl_node_check_writable(session->host->node, err));
    session->has_committed = true; /* when it is done: at the latest with this command */
    size_t channel_bytes = strlen(channel) + 1;
    size_t payload_bytes = strlen(payload) + 1;
    struct pending_action *action = malloc(sizeof(*action) + channel_bytes + payload_bytes);
    if (action == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a notification");
    sq_list_init(&action->links);
    action->kind = kind;
    action->depth = session->settings.savepoint_count;
    memcpy(action->text, channel, channel_bytes);
    memcpy(action->text + channel_bytes, payload, payload_bytes);
    action->payload = action->text + channel_bytes;
    sq_list_push_back(&session->pending, &action->links);
    session->pending_count++;
    return SQ_OK;
}

sq_status pending_notify(struct session *session, const char *channel, const char *payload, struct sq_error *err)
{
    /* The same notification twice in a transaction is delivered once (manual, page "NOTIFY"). */
    SQ_LIST_FOREACH (links, &session->pending) {
        struct pending_action *action = action_of(links);
        if (action->kind == PENDING_NOTIFY && strcmp(action->text, channel) == 0 &&
            strcmp(action->payload, payload) == 0)
            return SQ_OK;
    }
    return add(session, PENDING_NOTIFY, channel, payload, err);
}

sq_status pending_listen(struct session *session, const char *channel, struct sq_error *err)
{
    /* Each action may be a LISTEN. */
    if (notify_channel_count(&session->listener) + session->pending_count >= NOTIFY_CHANNELS_MAX)
        return sq_fail(err, SQ_LIMIT, "a session can listen to %d channels at most", NOTIFY_CHANNELS_MAX);
    return add(session, PENDING_LISTEN, channel, "", err);
}

sq_status pending_unlisten(struct session *session, const char *channel, struct sq_error *err)
{
    if (channel == NULL)
        return add(session, PENDING_UNLISTEN_ALL, "", "", err);
    return add(session, PENDING_UNLISTEN, channel, "", err);
}

static void drop(struct session *session, struct pending_action *action)
{
    sq_list_remove(&action->links);
    session->pending_count--;
    free(action);
}

void pending_drop(struct session *session)
{
    while (!sq_list_is_empty(&session->pending))
        drop(session, action_of(session->pending.next));
}

void pending_rolled_back_to(struct session *session)
{
    uint32_t depth = session->settings.savepoint_count;
    while (!sq_list_is_empty(&session->pending) && action_of(session->pending.previous)->depth >= depth)
        drop(session, action_of(session->pending.previous));
}

void pending_released(struct session *session)
{
    uint32_t depth = session->settings.savepoint_count;
    SQ_LIST_FOREACH (links, &session->pending) {
        if (action_of(links)->depth > depth)
            action_of(links)->depth = depth;
    }
}

static sq_status apply(struct session *session, const struct pending_action *action, struct sq_error *err)
{
    struct notify_hub *hub = session->host->notify_hub;
    switch (action->kind) {
    case PENDING_LISTEN:
        return notify_listen(hub, &session->listener, action->text, err);
    case PENDING_UNLISTEN:
        notify_unlisten(hub, &session->listener, action->text);
        return SQ_OK;
    case PENDING_UNLISTEN_ALL:
        notify_unlisten(hub, &session->listener, NULL);
        return SQ_OK;
    case PENDING_NOTIFY:
        return notify_publish(hub, session->context.database, session->entry.pid, action->text, action->payload, err);
    }
    return SQ_OK;
}

sq_status pending_apply(struct session *session, struct sq_error *err)
{
    sq_status status = SQ_OK;
    /* First what this session hears: the transaction's own notifications, too. */
    for (int is_notify = 0; is_notify < 2; is_notify++) {
        SQ_LIST_FOREACH (links, &session->pending) {
            if (status == SQ_OK && (action_of(links)->kind == PENDING_NOTIFY) == (is_notify != 0))
                status = apply(session, action_of(links), err);
        }
    }
    pending_drop(session);
    return status;
}
