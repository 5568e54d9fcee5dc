/* session/rest.c: what an idle session gives back.
 *
 *     BUSY ──ReadyForQuery, nothing comes for a while──► RESTING ──a message──► BUSY
 *
 * A resting session keeps its settings, the texts of its prepared statements and what was announced of them. Compiled
 * statements, the cache of them, spare memory and, if nothing of the session's is in it, the SQLite connection are given
 * back, and come again when they are needed. The owner of the buffers asks session_is_resting().
 *
 * While there are more SQLite connections open than should be, an idle session does not wait long. */
#include "base/clock.h"
#include "metrics/metrics.h"
#include "sched/scheduler.h"
#include "session/session_internal.h"

enum { REST_CROWDED_US = 100 * SQ_US_PER_MS };

void rest_release_compiled(struct session *session)
{
    statement_cache_clear(&session->statement_cache);
    struct sq_map_cursor at = {0};
    struct prepared *prepared;
    while ((prepared = sq_map_next(&session->statements, &at)) != NULL)
        prepared_release_compiled(prepared);
    if (session->unnamed_statement != NULL)
        prepared_release_compiled(session->unnamed_statement);
}

int64_t rest_deadline_us(const struct session *session)
{
    int64_t timeout_us = session->config->idle_connection_timeout_us;
    if (session->is_resting || timeout_us == 0 || session->state != SESSION_STATE_READY || session->running != NULL ||
        session->retrying != NULL || session->idle_since_us == 0 || session->txn != SESSION_TXN_NONE ||
        session->copy_in != NULL)
        return 0;
    if (timeout_us > REST_CROWDED_US && sched_has_many_connections(session->host->sched))
        timeout_us = REST_CROWDED_US;
    return session->idle_since_us + timeout_us;
}

static bool uses_statement(const struct portal *portal)
{
    return portal->query.statement != NULL || (portal->child != NULL && portal->child->query.statement != NULL);
}

/* Whether a cursor is in the middle of its rows. */
static bool has_open_portal(const struct session *session)
{
    if (session->unnamed_portal != NULL && uses_statement(session->unnamed_portal))
        return true;
    struct sq_map_cursor at = {0};
    const struct portal *portal;
    while ((portal = sq_map_next(&session->portals, &at)) != NULL) {
        if (uses_statement(portal))
            return true;
    }
    return false;
}

void rest_check(struct session *session)
{
    if (sq_buf_length(session->in) > 0)
        return;
    int64_t deadline_us = rest_deadline_us(session);
    if (deadline_us == 0 || sq_clock_now_us() < deadline_us)
        return;
    session->is_resting = true;
    metrics_counter_add(METRICS_SESSIONS_RESTED, 1);
    sq_arena_done(&session->message_arena);
    sq_buf_truncate(&session->scratch, 0);
    sq_buf_shrink(&session->scratch, 0);
    portal_free_spare(session);
    remote_rest(session->remote);
    if (session->service == NULL || has_open_portal(session) || !service_may_rest(session->service))
        return;
    rest_release_compiled(session);
    service_rest(session->service);
}
