/* session/consistency.c: what a session's reads wait for. See consistency.h. */
#include "session/consistency.h"

#include <inttypes.h>

#include "base/clock.h"
#include "engine/database.h"
#include "session/session_internal.h"

enum { GATE_LOOK_US = 250 * SQ_US_PER_MS /* the longest without looking at the age, the connection and the brake */ };

void consistency_init(struct session *session)
{
    session->consistency = (struct consistency){.rule = {.mode = POSITION_SESSION}};
    repl_wait_init(&session->consistency.wait, session->waker);
}

void consistency_done(struct session *session)
{
    if (session->host->node != NULL)
        repl_wait_withdraw(session->host->node, &session->consistency.wait);
}

void consistency_apply(struct session *session)
{
    struct consistency *consistency = &session->consistency;
    bool is_known =
        position_rule_parse(settings_text(&session->settings, SETTING_SQLD_CONSISTENCY), &consistency->rule);
    sq_assert(is_known); /* the setting has been checked */
    consistency->has_min =
        position_parse(settings_text(&session->settings, SETTING_SQLD_MIN_POSITION), &consistency->min);
}

static bool is_replica(const struct session *session)
{
    return session->host->node != NULL && repl_node_role(session->host->node) == REPL_REPLICA;
}

bool consistency_is_concerned(const struct session *session)
{
    const struct consistency *consistency = &session->consistency;
    if (session->host->node == NULL || consistency->rule.mode == POSITION_LOCAL)
        return false;
    return consistency->has_min || is_replica(session);
}

void consistency_saw(struct session *session, const struct wal_position *position)
{
    struct consistency *consistency = &session->consistency;
    /* The primary tells them in order; another primary's timeline is a later one. */
    consistency->has_seen = true;
    consistency->seen = *position;
}

/* --- The gate ------------------------------------------------------------------------------------------------------ */

static sq_status fail_never(struct sq_error *err, const struct wal_position *position)
{
    char text[POSITION_TEXT_BYTES];
    position_format(position, text);
    sq_status status =
        sq_fail_sql(err, SQ_SQL, "55000", "this server's data is not a continuation of position %s", text);
    sq_error_set_hint(err, "The transaction may have been lost when another server became the primary. SET "
                           "sqld.consistency = local reads what there is.");
    return status;
}

/* Whether `position` can be read here. */
static enum consistency_gate has(struct session *session, const struct wal_position *position, struct sq_error *err)
{
    switch (repl_node_has(session->host->node, session->context.database, position, &session->consistency.wait)) {
    case REPL_KNOWN:
        return GATE_OPEN;
    case REPL_KNOWN_LATER:
        return GATE_WAIT;
    case REPL_KNOWN_NEVER:
        break;
    }
    return fail_never(err, position) == SQ_OK ? GATE_OPEN : GATE_CLOSED;
}

/* What the primary has to say first. */
static enum consistency_gate ask(struct session *session, struct sq_error *err)
{
    struct consistency *consistency = &session->consistency;
    bool wants_strong = consistency->rule.mode == POSITION_STRONG && is_replica(session);
    enum repl_known known = remote_position(session);
    if (known == REPL_KNOWN_LATER)
        return GATE_WAIT;
    /* NEVER: what was written there was not told of before the connection broke: the position now covers it. */
    if ((wants_strong || known == REPL_KNOWN_NEVER) && !consistency->has_strong) {
        sq_status status = remote_ask_position(session, &consistency->is_asked, &consistency->strong, err);
        if (status == SQ_BUSY)
            return GATE_WAIT;
        if (status != SQ_OK)
            return GATE_CLOSED;
        consistency->has_strong = true;
        consistency_saw(session, &consistency->strong);
    }
    return GATE_OPEN;
}

static enum consistency_gate look(struct session *session, struct sq_error *err)
{
    struct consistency *consistency = &session->consistency;
    enum consistency_gate gate = ask(session, err);
    if (gate == GATE_OPEN && consistency->has_seen)
        gate = has(session, &consistency->seen, err);
    if (gate == GATE_OPEN && consistency->has_min)
        gate = has(session, &consistency->min, err);
    if (gate == GATE_OPEN && consistency->rule.mode == POSITION_BOUNDED &&
        repl_node_staleness_us(session->host->node, session->context.database) > consistency->rule.age_us_max)
        gate = GATE_WAIT;
    return gate;
}

/* It has waited for long enough. */
static enum consistency_gate give_up(struct session *session, struct sq_error *err)
{
    if (settings_int64(&session->settings, SETTING_SQLD_REPLICA_WAIT_ACTION) == SETTING_WAIT_DELEGATE &&
        is_replica(session))
        return GATE_PRIMARY;
    sq_status status =
        sq_fail_sql(err, SQ_SQL, "55000", "this replica is behind: what the session may read has not arrived in time");
    sq_assert(status != SQ_OK);
    sq_error_set_hint(err, "sqld.replica_wait_timeout says how long to wait, sqld.replica_wait_action whether the "
                           "primary is asked instead, sqld.consistency what a read must see.");
    return GATE_CLOSED;
}

static void stand_before(struct session *session)
{
    struct consistency *consistency = &session->consistency;
    if (consistency->since_us != 0)
        return;
    consistency->since_us = sq_clock_now_us();
    run_release_brake(session);
    session_apply_settings(session);
    run_activate(session);
    session_set_activity(session, SESSION_ACTIVE);
    if (session->context.statement_timeout_us != 0)
        session->context.stop.deadline_us = consistency->since_us + session->context.statement_timeout_us;
}

/* When to look again, or give up. */
static bool has_time(struct session *session)
{
    const struct consistency *consistency = &session->consistency;
    int64_t now_us = sq_clock_now_us();
    int64_t limit_us = settings_int64(&session->settings, SETTING_SQLD_REPLICA_WAIT_TIMEOUT) * SQ_US_PER_MS;
    int64_t until_us = limit_us != 0 ? consistency->since_us + limit_us : 0;
    /* An age cannot be waited for: it says how far behind this server may be at any time. */
    if (consistency->rule.mode == POSITION_BOUNDED && limit_us == 0)
        until_us = now_us;
    session->pause_deadline_us = now_us + GATE_LOOK_US;
    if (until_us != 0 && until_us < session->pause_deadline_us)
        session->pause_deadline_us = until_us;
    return until_us == 0 || now_us < until_us;
}

enum consistency_gate consistency_pass(struct session *session, struct sq_error *err)
{
    struct consistency *consistency = &session->consistency;
    if (consistency->is_passed || consistency->is_txn_passed || !consistency_is_concerned(session))
        return GATE_OPEN;
    enum consistency_gate gate = GATE_CLOSED;
    enum engine_stop_reason reason =
        consistency->since_us != 0 ? engine_stop_check(&session->context.stop) : ENGINE_STOP_NONE;
    if (reason == ENGINE_STOP_NONE) {
        gate = look(session, err);
    } else {
        sq_status status = engine_stop_fail(err, reason);
        sq_assert(status != SQ_OK);
    }
    if (gate == GATE_WAIT) {
        stand_before(session);
        if (has_time(session))
            return GATE_WAIT;
        gate = give_up(session, err);
    }
    consistency_end(session);
    consistency->is_passed = gate == GATE_OPEN;
    consistency->is_txn_passed = gate == GATE_OPEN && session->txn != SESSION_TXN_NONE;
    return gate;
}

void consistency_end(struct session *session)
{
    struct consistency *consistency = &session->consistency;
    if (session->host->node == NULL)
        return;
    if (consistency->since_us != 0) {
        consistency->since_us = 0;
        session->pause_deadline_us = 0;
        run_deactivate(session);
        repl_wait_withdraw(session->host->node, &consistency->wait);
    }
    consistency->is_passed = consistency->is_asked = consistency->has_strong = false;
    if (session->txn == SESSION_TXN_NONE)
        consistency->is_txn_passed = false;
}

/* --- Positions ----------------------------------------------------------------------------------------------------- */

/* What was seen at the primary, or what is here if that is later. */
static enum repl_known later_of(struct session *session, struct repl_wait *wait, struct wal_position *position)
{
    const struct consistency *consistency = &session->consistency;
    struct repl_node *node = session->host->node;
    struct engine_database *database = session->context.database;
    bool is_here = !consistency->has_seen || repl_node_has(node, database, &consistency->seen, wait) == REPL_KNOWN;
    repl_wait_withdraw(node, wait);
    if (is_here)
        return repl_node_position(node, database, 0, wait, position);
    *position = consistency->seen;
    return REPL_KNOWN;
}

enum repl_known consistency_position(struct session *session, engine_position rests_on, struct repl_wait *wait,
                                     struct wal_position *ret_position)
{
    struct repl_node *node = session->host->node;
    if (node == NULL)
        return REPL_KNOWN_NEVER;
    if (!is_replica(session))
        return repl_node_position(node, session->context.database, rests_on, wait, ret_position);
    enum repl_known known = remote_position(session);
    return known == REPL_KNOWN ? later_of(session, wait, ret_position) : known;
}

enum repl_known consistency_show(struct session *session, bool is_new)
{
    struct consistency *consistency = &session->consistency;
    struct engine_durability *durability = engine_database_durability(session->context.database);
    struct wal_position position;
    /* What is committed meanwhile is not meant: there would be no end to it. */
    if (is_new)
        consistency->shown = durability != NULL ? engine_durability_published(durability) : 0;
    enum repl_known known = consistency_position(session, consistency->shown, &consistency->wait, &position);
    if (known == REPL_KNOWN)
        position_format(&position, consistency->text);
    return known;
}
