/* session/native_outcome.c: what became of the last request of a session, for a client that has lost the answer: OUTCOME
 * (docs/protocol.md), and what a session keeps for it. The table of all sessions is outcomes.h.
 *
 * A request is worked off when its answer is written, whether or not the client ever gets it. It has committed if no
 * transaction and nothing that writes is open then; else the end of the session has rolled back what it did. When the end of
 * the session is told of, nothing of it is left to happen: it is rolled back, its locks are gone, and what it has committed is
 * on disk. */
#include <string.h>

#include "engine/durability.h"
#include "session/native_call.h"
#include "session/native_internal.h"

sq_status native_outcome_begin(struct session *session, struct sq_error *err)
{
    sq_assert(session->native != NULL && !session->progress.is_kept);
    if (!session->native_asked.has_key)
        return SQ_OK;
    SQ_TRY(outcomes_begin(session->host->outcomes, session->native_asked.key, session->entry.pid, err));
    session->progress.is_kept = true;
    return SQ_OK;
}

void native_outcome_count(struct native *native)
{
    if (native->depth == 0)
        native->session->progress.request_count++;
}

void native_outcome_note(struct native *native, const struct native_answer *answer)
{
    struct native_progress *progress = &native->session->progress;
    /* A client that is gone while it was called has made the request fail: nothing has happened. If it has not failed, the
     * call came after the commit. */
    if (native->depth > 0 || (answer->has_error && native_call_is_dead(native)))
        return;
    sq_assert(progress->done_number < progress->request_count);
    progress->done_number = progress->request_count;
    progress->outcome = (struct outcome){
        .result = answer->result,
        .changes = answer->changes,
        .total_changes = answer->total_changes,
        .last_insert_rowid = answer->last_insert_rowid,
        .is_committed = answer->is_autocommit && answer->txn_state != SQLITE_TXN_WRITE,
    };
}

void native_outcome_note_rows(struct native *native, uint32_t row_count)
{
    if (native->depth == 0)
        native->session->progress.outcome.row_count = row_count;
}

void native_outcome_end(struct session *session, struct engine_durability *durability)
{
    const struct native_progress *progress = &session->progress;
    struct outcomes *outcomes = session->host->outcomes;
    struct sq_error err;
    if (!progress->is_kept)
        return;
    bool is_known = true;
    if (progress->done_number > 0 && progress->outcome.is_committed && session->context.rests_on > 0)
        is_known = engine_durability_sync(durability, session->context.rests_on, &err) == SQ_OK;
    /* What the disk has not taken may be there all the same when the server is started again. */
    if (durability != NULL && engine_durability_is_failed(durability))
        is_known = false;
    if (is_known)
        outcomes_end(outcomes, session->native_asked.key, progress->done_number, &progress->outcome);
    else
        outcomes_forget(outcomes, session->native_asked.key);
}

void native_op_outcome(struct native *native, struct pgwire_cursor *request)
{
    struct session_host *host = native->session->host;
    const uint8_t *key = pgwire_get_bytes(request, OUTCOME_KEY_BYTES);
    uint64_t number = pgwire_get_u64(request);
    if (!pgwire_cursor_is_done(request)) {
        native_malformed(native);
        return;
    }
    struct outcome outcome;
    uint32_t pid = 0;
    enum outcome_state state = outcomes_find(host->outcomes, key, number, &outcome, &pid);
    /* Its client is here and not there, though its connection may look well. */
    if (state == OUTCOME_LIVE) {
        sq_assert(pid != 0);
        session_registry_interrupt(host->sessions, pid, NULL, SESSION_INTERRUPT_TERMINATE);
    }
    struct sq_buf *out = native->session->out;
    size_t answer = native_answer_begin(native, SQLITE_OK);
    sq_buf_put_u8(out, (uint8_t)state);
    if (state == OUTCOME_DONE) {
        sq_buf_put_u32(out, (uint32_t)outcome.result);
        sq_buf_put_u64(out, (uint64_t)outcome.changes);
        sq_buf_put_u64(out, (uint64_t)outcome.total_changes);
        sq_buf_put_u64(out, (uint64_t)outcome.last_insert_rowid);
        sq_buf_put_u32(out, outcome.row_count);
    }
    native_answer_end(native, answer);
}
