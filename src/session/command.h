/* session/command.h: the statements that PostgreSQL's clients send and SQLite does not have (SET, SHOW, DECLARE, COPY
 * …), and the transaction statements, which the session must understand although SQLite has them too.
 *
 * command_parse() looks at the first word of a statement. Most words are SQLite's: then the answer is COMMAND_SQL at
 * once and the text goes to SQLite as it is. The others are parsed here completely, by the grammar of the PostgreSQL
 * manual (part "Reference", "SQL Commands"), widened where SQLite's own form of the statement differs.
 *
 * Names: an unquoted name of PostgreSQL's world (setting, channel, cursor, prepared statement, database, role) is
 * folded to lower case; names of SQLite's world (tables, columns, savepoints, schemas) keep their spelling: SQLite
 * compares them without case. Strings live in the arena given to command_parse() and end in NUL; they hold no NUL
 * inside.
 *
 * Pure but for the arena. Any thread. */
#ifndef SQ_SESSION_COMMAND_H
#define SQ_SESSION_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "pgwire/copyformat.h"

struct sq_arena;

enum command_kind {
    COMMAND_SQL = 0, /* not ours: SQLite gets it, and says where it ends */
    COMMAND_EMPTY,   /* nothing but spaces, comments and `;` up to the end of the text */
    COMMAND_UNSUPPORTED,
    COMMAND_SET,
    COMMAND_SET_TRANSACTION,
    COMMAND_SET_CONSTRAINTS,
    COMMAND_SET_ROLE,
    COMMAND_SET_SESSION_AUTHORIZATION,
    COMMAND_SHOW,
    COMMAND_RESET,
    COMMAND_DISCARD,
    COMMAND_DEALLOCATE,
    COMMAND_BEGIN,
    COMMAND_COMMIT,
    COMMAND_ROLLBACK,
    COMMAND_SAVEPOINT,
    COMMAND_RELEASE,
    COMMAND_ROLLBACK_TO,
    COMMAND_LISTEN,
    COMMAND_UNLISTEN,
    COMMAND_NOTIFY,
    COMMAND_CREATE_DATABASE,
    COMMAND_DROP_DATABASE,
    COMMAND_RENAME_DATABASE,
    COMMAND_DECLARE,
    COMMAND_FETCH,
    COMMAND_MOVE,
    COMMAND_CLOSE,
    COMMAND_PREPARE,
    COMMAND_EXECUTE,
    COMMAND_COPY,
    COMMAND_ATTACH,
    COMMAND_DETACH,
    COMMAND_TRUNCATE,
    COMMAND_KIND_COUNT,
};

enum {
    COMMAND_LIST_MAX = 32767,       /* values, columns, types, arguments, tables in one list; more: 54000 */
    COMMAND_CHANNEL_BYTES_MAX = 63, /* LISTEN, NOTIFY: PostgreSQL's limit, NAMEDATALEN - 1 */
    COMMAND_PAYLOAD_BYTES_MAX = 7999,
};

/* A piece of the text given to command_parse(). */
struct command_span {
    size_t start; /* byte offset */
    size_t length;
};

struct command_names {
    const char *const *items; /* NULL if count is 0 */
    size_t count;
};

enum command_scope { COMMAND_SCOPE_SESSION = 0, COMMAND_SCOPE_LOCAL };

/* SET name. `value` is what settings_set() takes: list members joined with ", ", quotes taken off. */
struct command_set {
    enum command_scope scope;
    const char *name;  /* as SHOW takes it: SET TIME ZONE gives "timezone", SET NAMES "client_encoding" */
    const char *value; /* NULL: DEFAULT */
};

enum command_isolation {
    COMMAND_ISOLATION_UNSET = 0,
    COMMAND_ISOLATION_READ_UNCOMMITTED,
    COMMAND_ISOLATION_READ_COMMITTED,
    COMMAND_ISOLATION_REPEATABLE_READ,
    COMMAND_ISOLATION_SERIALIZABLE,
};
enum command_access { COMMAND_ACCESS_UNSET = 0, COMMAND_ACCESS_READ_ONLY, COMMAND_ACCESS_READ_WRITE };
enum command_deferrable { COMMAND_DEFERRABLE_UNSET = 0, COMMAND_DEFERRABLE_ON, COMMAND_DEFERRABLE_OFF };

struct command_transaction_modes {
    enum command_isolation isolation;
    enum command_access access;
    enum command_deferrable deferrable;
};

/* sqlite.org/lang_transaction.html: BEGIN's own word. */
enum command_begin_lock {
    COMMAND_BEGIN_UNSET = 0,
    COMMAND_BEGIN_DEFERRED,
    COMMAND_BEGIN_IMMEDIATE,
    COMMAND_BEGIN_EXCLUSIVE,
};

struct command_begin {
    enum command_begin_lock lock;
    struct command_transaction_modes modes;
    bool is_start; /* START TRANSACTION: has a tag of its own */
};

struct command_set_transaction {
    bool is_session; /* SET SESSION CHARACTERISTICS AS TRANSACTION: the defaults */
    struct command_transaction_modes modes;
};

struct command_set_constraints {
    bool is_deferred;
    struct command_names names; /* none: ALL */
};

struct command_set_role {
    enum command_scope scope;
    const char *name; /* NULL: NONE (role), DEFAULT (session authorization) */
    bool is_reset;    /* it was written RESET …, with name NULL */
};

enum command_discard {
    COMMAND_DISCARD_ALL = 0,
    COMMAND_DISCARD_PLANS,
    COMMAND_DISCARD_TEMP,
    COMMAND_DISCARD_SEQUENCES
};

struct command_notify {
    const char *channel;
    const char *payload; /* "" if none was given */
};

struct command_create_database {
    const char *name;
    bool if_not_exists;
    const char *owner, *template_name, *encoding; /* NULL: not given; other options are read and dropped */
};

struct command_drop_database {
    const char *name;
    bool if_exists;
    bool is_force;
};

struct command_rename_database {
    const char *name;
    const char *new_name;
};

enum command_scroll { COMMAND_SCROLL_UNSET = 0, COMMAND_SCROLL_YES, COMMAND_SCROLL_NO };

struct command_declare {
    const char *name;
    bool is_binary;
    bool is_insensitive;
    bool is_hold;
    enum command_scroll scroll;
    struct command_span query;
};

/* Every direction of PostgreSQL's FETCH as one of four: NEXT is FORWARD 1, PRIOR is BACKWARD 1, FIRST is ABSOLUTE 1,
 * LAST is ABSOLUTE -1, n is FORWARD n, ALL is FORWARD COMMAND_FETCH_ALL. FORWARD and BACKWARD count from 0 up (FORWARD
 * -3 is BACKWARD 3; 0 gives the current row again); ABSOLUTE and RELATIVE may be negative. Else within 32 bits. */
enum command_direction { COMMAND_FORWARD = 0, COMMAND_BACKWARD, COMMAND_ABSOLUTE, COMMAND_RELATIVE };
#define COMMAND_FETCH_ALL INT64_MAX

struct command_fetch {
    const char *name;
    enum command_direction direction;
    int64_t count;
};

struct command_prepare {
    const char *name;
    struct command_names types; /* in lower case, spaces made one: "integer", "character varying(10)", "int[]" */
    struct command_span statement;
};

struct command_execute {
    const char *name;
    const struct command_span *arguments; /* each an SQL expression; NULL if count is 0 */
    size_t argument_count;
};

/* The force_… sets of `options` are left empty but for `*` (is_given and is_all): the columns are named below, and
 * their places are known only when the table is. The options are as written: copy_options_check() is the session's to
 * call. */
struct command_copy {
    enum copy_direction direction; /* FROM STDIN, TO STDOUT */
    const char *schema;            /* NULL: none given */
    const char *table;             /* NULL: COPY (query) */
    struct command_names columns;  /* none: all */
    struct command_span query;     /* without its parentheses; for table NULL only */
    struct copy_options options;
    struct command_names force_quote, force_not_null, force_null;
    bool is_freeze;
};

struct command_attach {
    const char *database;
    const char *alias;
};

struct command_table {
    const char *schema; /* NULL: none given */
    const char *name;
};

struct command_truncate {
    const struct command_table *tables;
    size_t table_count;
    bool is_restart_identity;
    bool is_cascade;
};

struct command {
    enum command_kind kind;
    union {
        const char *unsupported; /* UNSUPPORTED: the command's name, "CREATE ROLE", for "… is not supported" (0A000) */
        struct command_set set;
        struct command_set_transaction set_transaction;
        struct command_set_constraints set_constraints;
        struct command_set_role set_role; /* SET_ROLE, SET_SESSION_AUTHORIZATION */
        const char *name;                 /* SHOW, RESET, DEALLOCATE, UNLISTEN, CLOSE: NULL is ALL (or *);
                             SAVEPOINT, RELEASE, ROLLBACK_TO, LISTEN, DETACH: never NULL */
        enum command_discard discard;
        struct command_begin begin;
        bool is_chain; /* COMMIT, ROLLBACK: AND CHAIN */
        struct command_notify notify;
        struct command_create_database create_database;
        struct command_drop_database drop_database;
        struct command_rename_database rename_database;
        struct command_declare declare;
        struct command_fetch fetch; /* FETCH, MOVE */
        struct command_prepare prepare;
        struct command_execute execute;
        struct command_copy copy;
        struct command_attach attach;
        struct command_truncate truncate;
    };
};

/* Looks at the first statement of `text`.
 * OK: *ret is filled; for every kind but COMMAND_SQL *ret_consumed is the byte offset behind the statement and its `;`
 * (for COMMAND_SQL it is 0: SQLite finds the end while it compiles).
 * SQ_SQL: 42601 with err->position (1-based characters of `text`) where it is no longer right, 0A000 for an option that
 * this server has not, 42501 for COPY to and from files, 22023 for a value; SQ_LIMIT: a list is too long. */
SQ_MUST_USE sq_status command_parse(const char *text, size_t length, struct sq_arena *arena, struct command *ret,
                                    size_t *ret_consumed, struct sq_error *err);

/* The command tag of a command that gives no count ("SET", "DECLARE CURSOR"; manual, "Message Formats",
 * CommandComplete). FETCH, MOVE and COPY come without their count ("FETCH"); SQL, EMPTY, EXECUTE (whose tag is its
 * statement's) and UNSUPPORTED give "". */
const char *command_tag(const struct command *command);

#endif
