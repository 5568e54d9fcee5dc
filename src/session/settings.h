/* session/settings.h: a session's settings: what SET, SHOW and RESET speak of (PostgreSQL manual, "Server
 * Configuration"). One table in settings_table.c says for each its name, kind, default, and whether clients are told
 * of changes (ParameterStatus).
 *
 * A setting's value has layers, and the topmost that exists counts:
 *
 *     local      SET LOCAL; ends with the transaction
 *     session    SET; taken back if its transaction, or the savepoint it came after, is rolled back
 *     startup    start-up packet, or settings_assign(); what RESET goes back to
 *     built-in   the table's default
 *
 * Only values that differ from the built-in are stored, so that an idle session's settings are one empty struct and
 * perhaps a handful of entries.
 *
 * Names are compared without case. A name with a dot (`myapp.user`) is the user's own: text, made by setting it.
 * Strings returned are valid until the next change of the settings. Threads: one at a time. */
#ifndef SQ_SESSION_SETTINGS_H
#define SQ_SESSION_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Those that the server itself reads; the rest of the table only answers SHOW. */
enum setting_id {
    SETTING_APPLICATION_NAME = 0,
    SETTING_BYTEA_OUTPUT,
    SETTING_CLIENT_ENCODING,
    SETTING_CLIENT_MIN_MESSAGES,
    SETTING_DATE_STYLE,
    SETTING_DEFAULT_TRANSACTION_DEFERRABLE,
    SETTING_DEFAULT_TRANSACTION_ISOLATION,
    SETTING_DEFAULT_TRANSACTION_READ_ONLY,
    SETTING_EXTRA_FLOAT_DIGITS,
    SETTING_IDLE_IN_TRANSACTION_SESSION_TIMEOUT, /* milliseconds, as all durations; 0: none */
    SETTING_IDLE_SESSION_TIMEOUT,
    SETTING_IN_HOT_STANDBY,
    SETTING_INTEGER_DATETIMES,
    SETTING_INTERVAL_STYLE,
    SETTING_IS_SUPERUSER,
    SETTING_LOCK_TIMEOUT,
    SETTING_ROLE,
    SETTING_SEARCH_PATH,
    SETTING_SERVER_ENCODING,
    SETTING_SERVER_VERSION,
    SETTING_SESSION_AUTHORIZATION,
    SETTING_SQLD_CONSISTENCY, /* position.h */
    SETTING_SQLD_MIN_POSITION,
    SETTING_SQLD_REPLICA_TRANSACTIONS,
    SETTING_SQLD_REPLICA_WAIT_ACTION,
    SETTING_SQLD_REPLICA_WAIT_TIMEOUT,
    SETTING_STANDARD_CONFORMING_STRINGS,
    SETTING_STATEMENT_TIMEOUT,
    SETTING_SYNCHRONOUS_COMMIT,
    SETTING_TIME_ZONE,
    SETTING_TRANSACTION_DEFERRABLE, /* these three, without a value of their own, are the default_transaction_… */
    SETTING_TRANSACTION_ISOLATION,
    SETTING_TRANSACTION_READ_ONLY,
    SETTING_TRANSACTION_TIMEOUT,
    SETTING_NAMED_COUNT, /* settings without an id of their own follow internally */
};

/* The numbers of enum settings, as settings_int64() gives them. */
enum setting_isolation {
    SETTING_ISOLATION_READ_UNCOMMITTED = 0,
    SETTING_ISOLATION_READ_COMMITTED,
    SETTING_ISOLATION_REPEATABLE_READ,
    SETTING_ISOLATION_SERIALIZABLE,
};
enum setting_min_messages {
    SETTING_MESSAGES_DEBUG5 = 0,
    SETTING_MESSAGES_DEBUG4,
    SETTING_MESSAGES_DEBUG3,
    SETTING_MESSAGES_DEBUG2,
    SETTING_MESSAGES_DEBUG1,
    SETTING_MESSAGES_LOG,
    SETTING_MESSAGES_NOTICE,
    SETTING_MESSAGES_WARNING,
    SETTING_MESSAGES_ERROR,
};

enum setting_synchronous {
    SETTING_SYNCHRONOUS_OFF = 0,
    SETTING_SYNCHRONOUS_LOCAL,
    SETTING_SYNCHRONOUS_ON,
    SETTING_SYNCHRONOUS_REMOTE_WRITE,
    SETTING_SYNCHRONOUS_REMOTE_APPLY,
};

/* Of sqld.replica_transactions and sqld.replica_wait_action. */
enum setting_replica_transactions { SETTING_TRANSACTIONS_DELEGATE = 0, SETTING_TRANSACTIONS_MOVE };
enum setting_wait_action { SETTING_WAIT_ERROR = 0, SETTING_WAIT_DELEGATE };

enum settings_scope { SETTINGS_SESSION = 0, SETTINGS_LOCAL };

enum {
    SETTINGS_NAME_BYTES_MAX = 63,
    SETTINGS_VALUE_BYTES_MAX = 4096,
    SETTINGS_CUSTOM_MAX = 64,       /* names with a dot in one session */
    SETTINGS_SAVEPOINT_MAX = 10000, /* savepoints inside each other that settings remember */
    SETTINGS_WORDS = 3,             /* of 64 bits: rows of the table */
};

struct settings_entry;
struct settings_undo;

struct settings {
    struct settings_entry *entries; /* unordered, entry_count of them */
    struct settings_undo *undo;     /* oldest first; only in a transaction */
    size_t undo_count, undo_capacity;
    uint32_t savepoint_count; /* savepoints among the undo records */
    uint16_t entry_count, entry_capacity;
    bool is_in_transaction;
    bool reports_all;                 /* settings_report_all() */
    bool has_changed_own;             /* one of the user's own is to be reported */
    bool tracks_unsent;               /* settings_track_unsent() */
    uint32_t revision;                /* other than before whenever a value in force may be another */
    uint64_t present[SETTINGS_WORDS]; /* bit per table row: has an entry */
    uint64_t changed[SETTINGS_WORDS]; /* bit per table row: reported setting whose client does not know the value */
    uint64_t unsent[SETTINGS_WORDS];  /* bit per table row: the other server does not know the value */
};

void settings_init(struct settings *settings);
/* Frees everything; the settings are then as after settings_init(). */
void settings_done(struct settings *settings);

/* SET name TO value; value NULL: DEFAULT, as RESET. LOCAL outside a transaction is checked and has no effect: the
 * session warns (25P01). The three transaction_… are always LOCAL.
 * SQ_SQL: 42704 no such setting; 22023 bad value; 55P02 not the client's to change; 0A000 a value that this server has
 * not; 42602 bad name. SQ_LIMIT: too many, or too long. Nothing is changed on failure. */
SQ_MUST_USE sq_status settings_set(struct settings *settings, const char *name, const char *value,
                                   enum settings_scope scope, struct sq_error *err);

/* A parameter of the start-up packet, or a role's or database's default: checked like SET, stored in the startup layer,
 * not undone by ROLLBACK. */
SQ_MUST_USE sq_status settings_set_startup(struct settings *settings, const char *name, const char *value,
                                           struct sq_error *err);

/* The server's own word, also for settings that clients cannot change (session_authorization, is_superuser, …): startup
 * layer, not checked, not undone. */
SQ_MUST_USE sq_status settings_assign(struct settings *settings, enum setting_id id, const char *value,
                                      struct sq_error *err);

/* RESET name, RESET ALL (DISCARD ALL). */
SQ_MUST_USE sq_status settings_reset(struct settings *settings, const char *name, struct sq_error *err);
SQ_MUST_USE sq_status settings_reset_all(struct settings *settings, struct sq_error *err);

/* SHOW name: *ret_name (may be NULL) is the name as PostgreSQL spells it. 42704 if there is none. */
SQ_MUST_USE sq_status settings_show(const struct settings *settings, const char *name, const char **ret_name,
                                    const char **ret_value, struct sq_error *err);

/* Typed values. int64: whole numbers, durations in ms, enums by number, booleans as 0 and 1. */
const char *settings_text(const struct settings *settings, enum setting_id id);
int64_t settings_int64(const struct settings *settings, enum setting_id id);
static inline bool settings_bool(const struct settings *settings, enum setting_id id)
{
    return settings_int64(settings, id) != 0;
}

/* Transactions. begin: when the session leaves autocommit mode (again, inside, changes nothing); commit or rollback:
 * when it is back there; each of the two does nothing outside a transaction. Savepoints by name as SQLite has them
 * (without case, the newest of a name counts); a name that is not known is ignored: SQLite has the say. */
void settings_begin(struct settings *settings);
void settings_commit(struct settings *settings);
void settings_rollback(struct settings *settings);
SQ_MUST_USE sq_status settings_savepoint(struct settings *settings, const char *name, struct sq_error *err);
void settings_release(struct settings *settings, const char *name);
void settings_rollback_to(struct settings *settings, const char *name);

struct settings_row {
    const char *name; /* as PostgreSQL spells it */
    const char *value;
    const char *description; /* "" for the user's own */
    bool is_reported;        /* goes to the client as ParameterStatus */
    bool is_local;           /* the value ends with the transaction */
    bool is_own;             /* the user's */
    bool has_value;          /* else `value` is what there is without one */
};

/* SHOW ALL, in the order of names, the user's own last: `size_t at = 0; while (settings_next(s, &at, &row)) …`. */
bool settings_next(const struct settings *settings, size_t *cursor, struct settings_row *ret_row);

/* The next reported setting whose value the client has not been told; it counts as told from then on. After
 * settings_init() these are all reported ones: the ParameterStatus messages of the start. */
bool settings_next_changed(struct settings *settings, struct settings_row *ret_row);
static inline bool settings_has_changed(const struct settings *settings)
{
    return (settings->changed[0] | settings->changed[1] | settings->changed[2]) != 0 || settings->has_changed_own;
}

/* --- Two servers that keep a session's settings in step: a replica's session, and the one that it has at the primary --- */

/* At the primary: from here on every setting is reported, the user's own too, but for those that are the server's or end with
 * a transaction by nature (transaction_…). What is in force now is not reported again. The value of one of the user's own is
 * reported with '=' before it, or as "" if there is none any more. */
void settings_report_all(struct settings *settings);

/* At the replica: the start-up values, to open the session at the primary with: `size_t at = 0; while (settings_next_startup(…)) …`. */
bool settings_next_startup(const struct settings *settings, size_t *cursor, struct settings_row *ret_row);
/* From here on it is remembered which settings the primary does not know; at first all that have another value than the
 * start-up one. Without is_on: no longer. */
void settings_track_unsent(struct settings *settings, bool is_on);
/* The primary has this value (NULL: nobody knows): if another one is in force here, it is to be sent. */
void settings_expect(struct settings *settings, const char *name, const char *value);
/* The next one of them; it counts as sent from then on. */
bool settings_next_unsent(struct settings *settings, struct settings_row *ret_row);
/* The primary has reported a value (of the user's own: with '='): it is in force here, too, as if the client had SET it, and
 * counts as sent. Settings that
 * are not known here, or are this server's own, are passed over. SQ_NOMEM, SQ_LIMIT: it is not in force. */
SQ_MUST_USE sq_status settings_mirror(struct settings *settings, const char *name, const char *value,
                                      struct sq_error *err);
/* Names of the savepoints that are open, the outermost first: `size_t at = 0; while ((name = …) != NULL) …`. */
const char *settings_next_savepoint(const struct settings *settings, size_t *cursor);

#endif
