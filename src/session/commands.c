/* session/commands.c: session commands (SET, LISTEN, CREATE DATABASE, …): what each one does. Cursors and prepared
 * statements are in cursors.c, COPY in copy.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/database.h"
#include "sched/scheduler.h"
#include "session/session_internal.h"

enum {
    DROP_DATABASE_WAIT_US = 5 * SQ_US_PER_S, /* for its last sessions to go, as PostgreSQL does */
    DROP_DATABASE_RETRY_US = 10 * SQ_US_PER_MS,
    POSITION_LOOK_US = 250 * SQ_US_PER_MS, /* it is told when a position is known; this is for what could be missed */
};

/* --- Settings ------------------------------------------------------------------------------------------------------ */

static bool is_in_block(const struct session *session)
{
    return session->txn == SESSION_TXN_EXPLICIT || session->txn == SESSION_TXN_FAILED;
}

static sq_status execute_set(struct session *session, const struct command_set *set, struct sq_error *err)
{
    bool is_local = set->scope == COMMAND_SCOPE_LOCAL;
    SQ_TRY(settings_set(&session->settings, set->name, set->value, is_local ? SETTINGS_LOCAL : SETTINGS_SESSION, err));
    if (is_local && session->txn == SESSION_TXN_NONE)
        session_notice(session, "WARNING", "25P01", "SET LOCAL can only be used in transaction blocks");
    return SQ_OK;
}

static sq_status execute_set_transaction(struct session *session, const struct command_set_transaction *set,
                                         struct sq_error *err)
{
    static const char *const isolations[] = {NULL, "read uncommitted", "read committed", "repeatable read",
                                             "serializable"};
    enum settings_scope scope = set->is_session ? SETTINGS_SESSION : SETTINGS_LOCAL;
    if (!set->is_session && !is_in_block(session))
        session_notice(session, "WARNING", "25P01", "SET TRANSACTION can only be used in transaction blocks");
    if (set->modes.isolation != COMMAND_ISOLATION_UNSET)
        SQ_TRY(settings_set(&session->settings,
                            set->is_session ? "default_transaction_isolation" : "transaction_isolation",
                            isolations[set->modes.isolation], scope, err));
    if (set->modes.access != COMMAND_ACCESS_UNSET)
        SQ_TRY(settings_set(&session->settings,
                            set->is_session ? "default_transaction_read_only" : "transaction_read_only",
                            set->modes.access == COMMAND_ACCESS_READ_ONLY ? "on" : "off", scope, err));
    if (set->modes.deferrable != COMMAND_DEFERRABLE_UNSET)
        SQ_TRY(settings_set(&session->settings,
                            set->is_session ? "default_transaction_deferrable" : "transaction_deferrable",
                            set->modes.deferrable == COMMAND_DEFERRABLE_ON ? "on" : "off", scope, err));
    return SQ_OK;
}

/* There are no roles but the one that has connected. */
static sq_status execute_set_role(struct session *session, const char *name, struct sq_error *err)
{
    if (name == NULL || strcmp(name, session->user) == 0)
        return SQ_OK;
    return sq_fail_sql(err, SQ_NOT_FOUND, "22023", "role \"%.63s\" does not exist", name);
}

/* SET CONSTRAINTS ALL is SQLite's defer_foreign_keys, which holds until the next COMMIT. */
static sq_status execute_set_constraints(struct session *session, const struct command_set_constraints *set,
                                         struct sq_error *err)
{
    if (set->names.count > 0) {
        sq_status status = sq_fail_sql(err, SQ_SQL, "0A000", "SET CONSTRAINTS of single constraints is not supported");
        sq_error_set_hint(err, "Use SET CONSTRAINTS ALL DEFERRED.");
        return status;
    }
    return service_exec(session->service,
                        set->is_deferred ? "PRAGMA defer_foreign_keys=ON" : "PRAGMA defer_foreign_keys=OFF", err);
}

/* --- DISCARD ------------------------------------------------------------------------------------------------------- */

static sq_status execute_discard(struct session *session, enum command_discard what, struct sq_error *err)
{
    if (session->txn != SESSION_TXN_NONE && what != COMMAND_DISCARD_PLANS && what != COMMAND_DISCARD_SEQUENCES)
        return sq_fail_sql(err, SQ_SQL, "25001", "DISCARD %s cannot run inside a transaction block",
                           what == COMMAND_DISCARD_ALL ? "ALL" : "TEMP");
    switch (what) {
    case COMMAND_DISCARD_SEQUENCES:
        return SQ_OK;
    case COMMAND_DISCARD_PLANS:
        rest_release_compiled(session);
        return SQ_OK;
    case COMMAND_DISCARD_TEMP:
    case COMMAND_DISCARD_ALL:
        break;
    }
    /* Its connection holds what the client has by numbers: statements, functions, blobs. */
    if (session->native != NULL)
        return sq_fail_sql(err, SQ_SQL, "0A000", "a session in native mode keeps its SQLite connection");
    SQ_TRY(session_close_portals(session, true, err));
    remote_discard(session);
    if (what == COMMAND_DISCARD_ALL) {
        session_close_statements(session);
        SQ_TRY(settings_reset_all(&session->settings, err));
        notify_unlisten(session->host->notify_hub, &session->listener, NULL);
    }
    /* Temporary tables, attached databases and pragmas belong to the SQLite connection: a new one has none of them. */
    rest_release_compiled(session);
    service_reset(session->service);
    return SQ_OK;
}

static sq_status execute_deallocate(struct session *session, const char *name, struct sq_error *err)
{
    if (name == NULL) {
        struct prepared *unnamed = SQ_STEAL(session->unnamed_statement);
        session_close_statements(session);
        session->unnamed_statement = unnamed;
        remote_forget(session, NULL, NULL);
        return SQ_OK;
    }
    struct prepared *prepared = sq_map_remove(&session->statements, name, strlen(name));
    if (prepared == NULL)
        return sq_fail_sql(err, SQ_SQL, "26000", "prepared statement \"%.100s\" does not exist", name);
    remote_forget(session, name, prepared);
    prepared_unref(prepared);
    return SQ_OK;
}

static sq_status execute_close(struct session *session, const char *name, struct sq_error *err)
{
    if (name == NULL)
        return session_close_portals(session, true, err);
    struct portal *portal = NULL;
    if (session_find_portal(session, name, err, &portal) != SQ_OK || portal == session->executing)
        return sq_fail_sql(err, SQ_SQL, "34000", "cursor \"%.63s\" does not exist", name);
    return session_close_portal(session, portal, err);
}

/* --- Transactions -------------------------------------------------------------------------------------------------- */

static sq_status begin_chained(struct session *session, struct sq_error *err)
{
    SQ_TRY(service_exec(session->service, "BEGIN", err));
    return transaction_began(session, &(struct command_begin){0}, err);
}

static sq_status execute_commit(struct session *session, bool is_chain, struct sq_error *err, const char **ret_tag)
{
    if (is_chain && !is_in_block(session))
        return sq_fail_sql(err, SQ_SQL, "25P01", "COMMIT AND CHAIN can only be used in transaction blocks");
    if (!is_in_block(session))
        session_notice(session, "WARNING", "25P01", "there is no transaction in progress");
    *ret_tag = session->txn == SESSION_TXN_FAILED ? "ROLLBACK" : "COMMIT";
    SQ_TRY(transaction_commit(session, err));
    return is_chain ? begin_chained(session, err) : SQ_OK;
}

static sq_status execute_rollback(struct session *session, bool is_chain, struct sq_error *err)
{
    if (is_chain && !is_in_block(session))
        return sq_fail_sql(err, SQ_SQL, "25P01", "ROLLBACK AND CHAIN can only be used in transaction blocks");
    if (!is_in_block(session))
        session_notice(session, "WARNING", "25P01", "there is no transaction in progress");
    SQ_TRY(transaction_rollback(session, err));
    return is_chain ? begin_chained(session, err) : SQ_OK;
}

sq_status commands_before(struct session *session, struct portal *portal, struct sq_error *err, bool *ret_skip)
{
    const struct command *command = &portal->prepared->command;
    *ret_skip = false;
    if (command->kind != COMMAND_BEGIN)
        return SQ_OK;
    if (session->txn == SESSION_TXN_EXPLICIT) {
        session_notice(session, "WARNING", "25001", "there is already a transaction in progress");
        *ret_skip = true;
    } else if (session->txn == SESSION_TXN_IMPLICIT) {
        /* The pipeline's own transaction becomes the client's (manual, "Pipelining"). */
        SQ_TRY(transaction_began(session, &command->begin, err));
        *ret_skip = true;
    } else {
        /* A cursor that was left open outside a transaction would hold an old snapshot within it. */
        SQ_TRY(session_close_portals(session, false, err));
    }
    return SQ_OK;
}

sq_status commands_after(struct session *session, const struct prepared *prepared, struct sq_error *err)
{
    const struct command *command = &prepared->command;
    switch (command->kind) {
    case COMMAND_BEGIN:
        return transaction_began(session, &command->begin, err);
    case COMMAND_SAVEPOINT:
        if (!session->settings.is_in_transaction)
            settings_begin(&session->settings);
        return settings_savepoint(&session->settings, command->name, err);
    case COMMAND_RELEASE:
        settings_release(&session->settings, command->name);
        pending_released(session);
        return SQ_OK;
    case COMMAND_ROLLBACK_TO:
        settings_rollback_to(&session->settings, command->name);
        pending_rolled_back_to(session);
        return SQ_OK;
    default:
        return SQ_OK;
    }
}

/* --- Databases ----------------------------------------------------------------------------------------------------- */

static sq_status check_no_block(struct session *session, const char *command, struct sq_error *err)
{
    if (session->txn == SESSION_TXN_NONE)
        return session->host->node != NULL ? repl_node_check_writable(session->host->node, err) : SQ_OK;
    return sq_fail_sql(err, SQ_SQL, "25001", "%s cannot run inside a transaction block", command);
}

static void log_ddl(struct session *session, const char *what, const char *name)
{
    char user[SQ_LOG_QUOTED_MAX];
    session->has_committed = true;
    sq_log(SQ_LOG_INFO, "session", what, "conn=%u role=%s name=%s", session->entry.pid,
           sq_log_quote(user, session->user), name);
}

static sq_status execute_create_database(struct session *session, const struct command_create_database *create,
                                         struct sq_error *err)
{
    SQ_TRY(check_no_block(session, "CREATE DATABASE", err));
    if (create->encoding != NULL && strcasecmp(create->encoding, "utf8") != 0 &&
        strcasecmp(create->encoding, "utf-8") != 0 && strcasecmp(create->encoding, "unicode") != 0)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "encoding \"%.63s\" is not supported: databases are UTF8",
                           create->encoding);
    const char *template_name = create->template_name;
    if (template_name != NULL && strcmp(template_name, "template0") != 0 && strcmp(template_name, "template1") != 0)
        return sq_fail_sql(err, SQ_INVALID, "0A000", "template database \"%.63s\" is not supported", template_name);
    if (create->if_not_exists && engine_database_exists(session->host->databases, create->name)) {
        session_notice(session, "NOTICE", "42P04", "database already exists, skipping");
        return SQ_OK;
    }
    SQ_TRY(engine_database_create(session->host->databases, create->name, err));
    log_ddl(session, "database created", create->name);
    return SQ_OK;
}

/* *ret_must_wait: sessions still use it; try again. */
static sq_status try_drop_database(struct session *session, const struct command_drop_database *drop,
                                   struct sq_error *err, bool *ret_must_wait)
{
    *ret_must_wait = false;
    if (drop->if_exists && !engine_database_exists(session->host->databases, drop->name)) {
        session_notice(session, "NOTICE", "00000", "database does not exist, skipping");
        return SQ_OK;
    }
    if (strcmp(drop->name, session->database_name) == 0)
        return sq_fail_sql(err, SQ_SQL, "55006", "cannot drop the currently open database");
    sched_forget_database(session->host->sched, drop->name);
    sq_status status = engine_database_drop(session->host->databases, drop->name, err);
    if (status == SQ_BUSY && drop->is_force)
        session_registry_interrupt_database(session->host->sessions, drop->name, &session->entry,
                                            SESSION_INTERRUPT_TERMINATE);
    if (status == SQ_BUSY)
        *ret_must_wait = true;
    if (status == SQ_OK)
        log_ddl(session, "database dropped", drop->name);
    return status;
}

static sq_status execute_drop_database(struct session *session, struct portal *portal, struct sq_error *err,
                                       const char **ret_tag)
{
    const struct command *command = &portal->prepared->command;
    SQ_TRY(check_no_block(session, "DROP DATABASE", err));
    bool must_wait = false;
    sq_status status = try_drop_database(session, &command->drop_database, err, &must_wait);
    if (!must_wait)
        return status;
    int64_t now_us = sq_clock_now_us();
    session->retrying = portal;
    session->retry_until_us = now_us + DROP_DATABASE_WAIT_US;
    session->pause_deadline_us = now_us + DROP_DATABASE_RETRY_US;
    run_activate(session);
    *ret_tag = NULL;
    return SQ_OK;
}

/* --- SHOW sqld.position --------------------------------------------------------------------------------------------- */

static bool is_position(const struct command *command)
{
    return command->kind == COMMAND_SHOW && command->name != NULL && strcmp(command->name, "sqld.position") == 0;
}

static sq_status fail_no_position(struct sq_error *err)
{
    return sq_fail_sql(err, SQ_SQL, "55000", "no log is kept of this database: it has no position");
}

sq_status commands_wait_position(struct session *session, struct portal *portal, enum run_purpose purpose,
                                 uint64_t row_limit, struct sq_error *err, bool *ret_is_waiting)
{
    *ret_is_waiting = false;
    if (!is_position(&portal->prepared->command))
        return SQ_OK;
    switch (consistency_show(session, true)) {
    case REPL_KNOWN:
        return SQ_OK;
    case REPL_KNOWN_NEVER:
        return fail_no_position(err);
    case REPL_KNOWN_LATER:
        break;
    }
    int64_t now_us = sq_clock_now_us();
    session->retrying = portal;
    session->retry_purpose = purpose;
    session->retry_row_limit = row_limit;
    session->pause_deadline_us = now_us + POSITION_LOOK_US;
    run_activate(session);
    if (session->context.statement_timeout_us != 0)
        session->context.stop.deadline_us = now_us + session->context.statement_timeout_us;
    *ret_is_waiting = true;
    return SQ_OK;
}

static enum session_want retry_position(struct session *session, struct portal *portal)
{
    struct sq_error err;
    enum engine_stop_reason reason = engine_stop_check(&session->context.stop);
    enum repl_known known = REPL_KNOWN_NEVER;
    sq_status status = SQ_OK;
    if (reason != ENGINE_STOP_NONE)
        status = engine_stop_fail(&err, reason);
    else
        known = consistency_show(session, false);
    session->pause_deadline_us = sq_clock_now_us() + POSITION_LOOK_US;
    if (known == REPL_KNOWN_LATER)
        return SESSION_WAITING;
    session->retrying = NULL;
    session->pause_deadline_us = 0;
    run_deactivate(session);
    if (status == SQ_OK && known == REPL_KNOWN_NEVER)
        status = fail_no_position(&err);
    if (status == SQ_OK)
        status = portal_start(portal, &err);
    if (status == SQ_OK) {
        run_begin(session, portal, session->retry_purpose, session->retry_row_limit);
    } else {
        portal->state = PORTAL_FAILED;
        session_fail(session, &err);
    }
    return SESSION_NEED_INPUT;
}

/* --- Trying again ---------------------------------------------------------------------------------------------------- */

enum session_want commands_retry(struct session *session)
{
    struct portal *portal = session->retrying;
    if (is_position(&portal->prepared->command))
        return retry_position(session, portal);
    int64_t now_us = sq_clock_now_us();
    struct sq_error err;
    bool must_wait = false;
    enum engine_stop_reason reason = engine_stop_check(&session->context.stop);
    sq_status status = reason != ENGINE_STOP_NONE
                           ? engine_stop_fail(&err, reason)
                           : try_drop_database(session, &portal->prepared->command.drop_database, &err, &must_wait);
    if (must_wait && now_us < session->retry_until_us) {
        session->pause_deadline_us = now_us + DROP_DATABASE_RETRY_US;
        return SESSION_WAITING;
    }
    session->retrying = NULL;
    session->pause_deadline_us = 0;
    run_deactivate(session);
    portal->state = status == SQ_OK ? PORTAL_DONE : PORTAL_FAILED;
    if (status != SQ_OK)
        session_fail(session, &err);
    else
        execute_complete(session, command_tag(&portal->prepared->command));
    return SESSION_NEED_INPUT;
}

static sq_status execute_rename_database(struct session *session, const struct command_rename_database *rename,
                                         struct sq_error *err)
{
    SQ_TRY(check_no_block(session, "ALTER DATABASE", err));
    if (strcmp(rename->name, session->database_name) == 0)
        return sq_fail_sql(err, SQ_SQL, "0A000", "current database cannot be renamed");
    sched_forget_database(session->host->sched, rename->name);
    SQ_TRY(engine_database_rename(session->host->databases, rename->name, rename->new_name, err));
    log_ddl(session, "database renamed", rename->new_name);
    return SQ_OK;
}

/* --- Dispatch ------------------------------------------------------------------------------------------------------ */

/* Commands that speak of settings, statements and channels. */
static sq_status execute_plain(struct session *session, const struct command *command, struct sq_error *err)
{
    switch (command->kind) {
    case COMMAND_SET:
        return execute_set(session, &command->set, err);
    case COMMAND_SET_TRANSACTION:
        return execute_set_transaction(session, &command->set_transaction, err);
    case COMMAND_SET_CONSTRAINTS:
        return execute_set_constraints(session, &command->set_constraints, err);
    case COMMAND_SET_ROLE:
    case COMMAND_SET_SESSION_AUTHORIZATION:
        return execute_set_role(session, command->set_role.name, err);
    case COMMAND_RESET:
        return command->name != NULL ? settings_reset(&session->settings, command->name, err)
                                     : settings_reset_all(&session->settings, err);
    case COMMAND_DISCARD:
        return execute_discard(session, command->discard, err);
    case COMMAND_DEALLOCATE:
        return execute_deallocate(session, command->name, err);
    case COMMAND_CLOSE:
        return execute_close(session, command->name, err);
    case COMMAND_LISTEN:
        return pending_listen(session, command->name, err);
    case COMMAND_UNLISTEN:
        return pending_unlisten(session, command->name, err);
    case COMMAND_NOTIFY:
        return pending_notify(session, command->notify.channel, command->notify.payload, err);
    case COMMAND_CREATE_DATABASE:
        return execute_create_database(session, &command->create_database, err);
    case COMMAND_RENAME_DATABASE:
        return execute_rename_database(session, &command->rename_database, err);
    case COMMAND_ATTACH:
        return service_attach(session->service, command->attach.database, command->attach.alias, false, err);
    case COMMAND_DETACH:
        return service_detach(session->service, command->name, err);
    case COMMAND_UNSUPPORTED:
        return sq_fail_sql(err, SQ_SQL, "0A000", "%s is not supported", command->unsupported);
    default:
        return sq_fail_sql(err, SQ_SQL, "0A000", "this command is not supported");
    }
}

static sq_status execute_command(struct session *session, struct portal *portal, enum run_purpose purpose,
                                 uint64_t row_limit, struct sq_error *err, const char **ret_tag)
{
    const struct command *command = &portal->prepared->command;
    switch (command->kind) {
    case COMMAND_COMMIT:
        return execute_commit(session, command->is_chain, err, ret_tag);
    case COMMAND_ROLLBACK:
        return execute_rollback(session, command->is_chain, err);
    case COMMAND_DROP_DATABASE:
        return execute_drop_database(session, portal, err, ret_tag);
    case COMMAND_DECLARE:
        return cursors_declare(session, portal, err);
    case COMMAND_FETCH:
    case COMMAND_MOVE:
        return cursors_fetch(session, portal, err, ret_tag);
    case COMMAND_PREPARE:
        return cursors_prepare(session, portal, err);
    case COMMAND_EXECUTE:
        return cursors_execute(session, portal, purpose, row_limit, err, ret_tag);
    case COMMAND_COPY:
        return copy_start(session, portal, err, ret_tag);
    default:
        return execute_plain(session, command, err);
    }
}

sq_status commands_execute(struct session *session, struct portal *portal, enum run_purpose purpose, uint64_t row_limit,
                           struct sq_error *err, const char **ret_tag)
{
    *ret_tag = portal->prepared->tag;
    return execute_command(session, portal, purpose, row_limit, err, ret_tag);
}
