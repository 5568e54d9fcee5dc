/* session/release.c: answers that wait for the disk: what is said leaves when what it rests on is there (engine/durability.h); and
 * what is said when that will never be, or when there is no memory to go on. */
#include "base/memory.h"
#include "engine/durability.h"
#include "session/session_internal.h"

enum session_release session_release(struct session *session)
{
    engine_position position = session->context.rests_on;
    if (SQ_LIKELY(position == 0))
        return SESSION_RELEASED;
    struct engine_durability *durability = session_durability(session);
    enum engine_durable durable = engine_durability_covers(durability, position)
                                      ? ENGINE_DURABLE
                                      : engine_durability_wait(durability, position, &session->durability_ticket);
    if (durable == ENGINE_DURABLE) {
        session->context.rests_on = 0;
        return SESSION_RELEASED;
    }
    return durable == ENGINE_DURABLE_LATER ? SESSION_HELD_BACK : SESSION_LOST;
}

sq_status session_sync(struct session *session, struct sq_error *err)
{
    SQ_TRY(service_note(session->service, err));
    engine_position position = session->context.rests_on;
    if (position == 0)
        return SQ_OK;
    SQ_TRY(engine_durability_sync(session_durability(session), position, err));
    session->context.rests_on = 0;
    return SQ_OK;
}

void session_put_loss(struct session *session, struct sq_buf *out)
{
    struct sq_error err;
    struct pgwire_report report;
    sq_status status = engine_durability_check(session_durability(session), &err);
    sq_assert(status != SQ_OK);
    session_log_failure(session, &err);
    pgwire_report_from_error(&err, &report);
    pgwire_put_error_response(out, &report);
    session->state = SESSION_STATE_CLOSING;
}

void session_put_no_memory(struct session *session, struct sq_buf *out)
{
    struct sq_error err;
    struct pgwire_report report;
    sq_status status = session->state == SESSION_STATE_STARTUP
                           ? sq_fail_sql(&err, SQ_NOMEM, "53300", "the server has no memory for further connections")
                           : sq_fail(&err, SQ_NOMEM, "out of memory for a message");
    sq_assert(status != SQ_OK);
    err.is_fatal = true;
    sq_memory_set_hint(&err);
    pgwire_report_from_error(&err, &report);
    pgwire_put_error_response(out, &report);
    session->state = SESSION_STATE_CLOSING;
}
