/* session/transaction.c: what transaction the client is in; the drawing is in session_internal.h.
 *
 * SQLite's semantics hold: a failed statement is undone by itself and leaves its transaction open, so the status stays
 * 'T' and the client may go on or roll back. 'E' is said only where SQLite has rolled the whole transaction back (disk
 * full, ON CONFLICT ROLLBACK): the client's picture is then wrong until it has said COMMIT or ROLLBACK.
 *
 * A pipeline of the extended protocol is one transaction up to its Sync, as in PostgreSQL (manual, "Pipelining"). A lone
 * statement before a Sync needs no BEGIN and COMMIT around it: SQLite's autocommit is the same and cheaper. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "session/session_internal.h"

char transaction_status(const struct session *session)
{
    switch (session->txn) {
    case SESSION_TXN_EXPLICIT:
        return PGWIRE_TRANSACTION_OPEN;
    case SESSION_TXN_FAILED:
        return PGWIRE_TRANSACTION_FAILED;
    case SESSION_TXN_NONE:
    case SESSION_TXN_IMPLICIT:
        break;
    }
    return PGWIRE_TRANSACTION_IDLE;
}

sq_status transaction_check(struct session *session, const struct prepared *prepared, struct sq_error *err)
{
    if (session->txn != SESSION_TXN_FAILED)
        return SQ_OK;
    enum command_kind kind = prepared->command.kind;
    if (kind == COMMAND_COMMIT || kind == COMMAND_ROLLBACK || kind == COMMAND_EMPTY)
        return SQ_OK;
    sq_status status = sq_fail_sql(err, SQ_SQL, "25P02",
                                   "current transaction is aborted, commands ignored until end of transaction block");
    sq_error_set_detail(err, "SQLite has rolled the transaction back.");
    return status;
}

/* Statements that SQLite refuses within a transaction, or that have nothing to do with one. */
static bool wants_transaction(const struct prepared *prepared)
{
    switch (prepared->shape.verb) {
    case SQL_VERB_VACUUM:
    case SQL_VERB_PRAGMA:
    case SQL_VERB_ATTACH:
    case SQL_VERB_DETACH:
    case SQL_VERB_BEGIN:
    case SQL_VERB_COMMIT:
    case SQL_VERB_ROLLBACK:
    case SQL_VERB_SAVEPOINT:
    case SQL_VERB_RELEASE:
        return false;
    default:
        return true;
    }
}

sq_status transaction_before_statement(struct session *session, const struct prepared *prepared,
                                       bool is_last_of_pipeline, struct sq_error *err)
{
    if (session->txn != SESSION_TXN_NONE || prepared->is_readonly || is_last_of_pipeline ||
        !wants_transaction(prepared))
        return SQ_OK;
    SQ_TRY(service_exec(session->service, "BEGIN", err));
    session->txn = SESSION_TXN_IMPLICIT;
    settings_begin(&session->settings);
    return SQ_OK;
}

/* The transaction is over: settings, cursors and notifications follow it. The first failure is *err's. */
static sq_status transaction_ended(struct session *session, bool is_committed, struct sq_error *err)
{
    session->txn = SESSION_TXN_NONE;
    session->has_committed = session->has_committed || is_committed;
    remote_note_end(session);
    if (is_committed)
        settings_commit(&session->settings);
    else
        settings_rollback(&session->settings);
    sq_status status = session_close_portals(session, false, err);
    if (!is_committed)
        pending_drop(session);
    else if (status == SQ_OK)
        status = pending_apply(session, err);
    return status;
}

sq_status transaction_began(struct session *session, const struct command_begin *begin, struct sq_error *err)
{
    static const char *const isolations[] = {NULL, "read uncommitted", "read committed", "repeatable read",
                                             "serializable"};
    if (!session->settings.is_in_transaction)
        settings_begin(&session->settings);
    session->txn = SESSION_TXN_EXPLICIT;
    /* Constant values of known settings: only memory can be missing. */
    if (begin->modes.access != COMMAND_ACCESS_UNSET)
        SQ_TRY(settings_set(&session->settings, "transaction_read_only",
                            begin->modes.access == COMMAND_ACCESS_READ_ONLY ? "on" : "off", SETTINGS_LOCAL, err));
    if (begin->modes.isolation != COMMAND_ISOLATION_UNSET)
        SQ_TRY(settings_set(&session->settings, "transaction_isolation", isolations[begin->modes.isolation],
                            SETTINGS_LOCAL, err));
    if (begin->modes.deferrable != COMMAND_DEFERRABLE_UNSET)
        SQ_TRY(settings_set(&session->settings, "transaction_deferrable",
                            begin->modes.deferrable == COMMAND_DEFERRABLE_ON ? "on" : "off", SETTINGS_LOCAL, err));
    return SQ_OK;
}

void transaction_after_statement(struct session *session, const struct prepared *prepared)
{
    if (session->is_txn_remote)
        return; /* nothing that is done here is a part of it */
    bool is_open = service_is_in_transaction(session->service);
    if (prepared != NULL && !prepared->is_readonly && !is_open)
        session->has_committed = true;
    struct sq_error err;
    sq_status status = SQ_OK;
    switch (session->txn) {
    case SESSION_TXN_NONE:
        if (is_open) { /* SAVEPOINT outside a transaction begins one */
            if (!session->settings.is_in_transaction)
                settings_begin(&session->settings);
            session->txn = SESSION_TXN_EXPLICIT;
        } else if (session->pending_count > 0) {
            status = pending_apply(session, &err);
        }
        break;
    case SESSION_TXN_EXPLICIT:
    case SESSION_TXN_IMPLICIT:
        if (!is_open) /* RELEASE of the outermost SAVEPOINT commits */
            status = transaction_ended(session, true, &err);
        break;
    case SESSION_TXN_FAILED:
        break;
    }
    if (status != SQ_OK)
        session_fail(session, &err);
}

void transaction_after_error(struct session *session)
{
    if (session->service == NULL || session->is_txn_remote)
        return;
    struct sq_error err;
    sq_status status = SQ_OK;
    bool is_open = service_is_in_transaction(session->service);
    if (session->txn == SESSION_TXN_IMPLICIT) {
        sq_status ended = transaction_ended(session, false, &err);
        (void)ended; /* what was half done is undone below; the client hears of the first error */
        if (is_open)
            status = service_exec(session->service, "ROLLBACK", &err);
    } else if (session->txn == SESSION_TXN_EXPLICIT && !is_open) {
        sq_status ended = transaction_ended(session, false, &err);
        (void)ended;
        session->txn = SESSION_TXN_FAILED;
    } else if (session->txn == SESSION_TXN_NONE) {
        pending_drop(session);
    }
    /* ROLLBACK cannot fail for want of disk; if it fails at all, the connection's state is unknown: start it anew. */
    if (status != SQ_OK) {
        sq_log_error(SQ_LOG_ERROR, "session", "rollback failed", &err);
        session->state = SESSION_STATE_CLOSING;
    }
}

sq_status transaction_commit(struct session *session, struct sq_error *err)
{
    if (session->txn == SESSION_TXN_FAILED)
        return transaction_rollback(session, err);
    if (session->txn == SESSION_TXN_NONE)
        return SQ_OK;
    /* Cursors that end with the transaction end before it: a write that was left half read is part of it. */
    sq_status status = session_close_portals(session, false, err);
    if (status == SQ_OK && service_is_in_transaction(session->service))
        status = service_exec(session->service, "COMMIT", err);
    if (status == SQ_OK)
        return transaction_ended(session, true, err);
    /* A COMMIT that fails ends the transaction, as PostgreSQL's does: clients count on it. */
    sq_status rolled_back = transaction_rollback(session, NULL);
    if (rolled_back != SQ_OK)
        err->is_fatal = true;
    return status;
}

sq_status transaction_rollback(struct session *session, struct sq_error *err)
{
    struct sq_error local;
    if (err == NULL)
        err = &local;
    if (session->txn == SESSION_TXN_NONE)
        return SQ_OK;
    /* Whatever closing a cursor would still write is rolled back with the rest. */
    sq_status closed = session_close_portals(session, false, err);
    (void)closed;
    if (service_is_in_transaction(session->service))
        SQ_TRY(service_exec(session->service, "ROLLBACK", err));
    return transaction_ended(session, false, err);
}
