/* session/remote_internal.h: a session's work at the primary as the files remote*.c share it.
 *
 * What was sent and is not answered is a queue of entries, one for each message that has an answer:
 *
 *     sent      P B D E S                          entries      PARSE BIND DESCRIBE EXECUTE SYNC
 *     answers   1 2 T D D C Z      each takes the first entry away, or is a part of its answer
 *               1 2 E     Z        an error takes away all up to SYNC: the primary has skipped them
 *
 * A *command* ends with ReadyForQuery: a Query, or a pipeline up to its Sync. One is under way at a time, so that what became
 * of it can be asked for if the connection breaks. What a message changes here (a statement is added, a portal closed) is
 * done when it is sent, because the next one counts on it; its entry remembers how to take that back.
 *
 * Invariants: (1) entries are in the order in which the primary got the messages; (2) an entry is RELAYED, then what the
 * client has had of its answer is what the primary has said of it; (3) no SYNC or QUERY has anything behind it but LAZY
 * ones; (4) a session that is a transaction's at the primary (is_txn_remote) has none here. */
#ifndef SQ_SESSION_REMOTE_INTERNAL_H
#define SQ_SESSION_REMOTE_INTERNAL_H

#include "pgclient/pgclient.h"
#include "session/remote.h"
#include "session/session_internal.h"

enum {
    REMOTE_ENTRIES_MAX = 64,
    REMOTE_ENTRIES_OF_MESSAGE = 7, /* that one message of the client's can make */
    REMOTE_TEXT_MAX = 256,
};

enum remote_kind {
    REMOTE_PARSE,
    REMOTE_BIND,
    REMOTE_DESCRIBE_STATEMENT,
    REMOTE_DESCRIBE_PORTAL,
    REMOTE_EXECUTE,
    REMOTE_CLOSE,
    REMOTE_SYNC,
    REMOTE_QUERY,
    REMOTE_FAIL, /* a message that can only fail: takes a pipeline back */
};

enum remote_audience {
    REMOTE_RELAYED, /* the answer is the client's */
    REMOTE_QUIET,   /* it is ours, and waited for */
    REMOTE_LAZY,    /* it is ours, and comes when it comes */
};

struct remote_entry {
    enum remote_kind kind;
    enum remote_audience audience;
    char *name;                /* of the statement or portal; NULL: the unnamed one, or none */
    struct prepared *prepared; /* a reference. PARSE: the new one. EXECUTE, DESCRIBE: whose it is. CLOSE: what was removed */
    struct prepared *former;   /* a reference. PARSE of the unnamed one, BIND: what the name meant before */
    struct portal *portal;     /* CLOSE: what was removed; owned */
    bool has_added;            /* PARSE, BIND: there is something to be taken back */
};

/* State of the session at the primary that would be missed by what is done here. */
enum remote_state {
    REMOTE_HAS_TEMPORARY = 1, /* tables, views, triggers */
    REMOTE_HAS_PRAGMA = 2,    /* set in the connection */
    REMOTE_HAS_ATTACHED = 4,  /* databases */
    REMOTE_HAS_CURSOR = 8,    /* WITH HOLD */
};

struct remote {
    struct session *session;

    /* The connection. */
    struct pgclient *client;        /* NULL: there is none */
    uint64_t generation;            /* another number for each */
    uint8_t key[OUTCOME_KEY_BYTES]; /* outcomes.h */
    uint64_t command_count;         /* Query and Sync that were sent on it … */
    uint64_t ready_count;           /* … and ReadyForQuery that came */
    size_t answer_bytes;            /* that came since the last ReadyForQuery */
    char status;                    /* of the last one: PGWIRE_TRANSACTION_… */
    unsigned state;                 /* of enum remote_state */
    bool is_listening;              /* to any channel */
    struct prepared *unnamed;       /* a reference: the primary's unnamed statement; NULL: it has none that is known */

    /* The command that is under way. */
    struct remote_entry entries[REMOTE_ENTRIES_MAX];
    size_t entry_first, entry_count;
    size_t lazy_count;     /* of them */
    bool is_piping;        /* messages were sent since the last Sync */
    bool is_copying;       /* the client copies in */
    bool holds_input;      /* what the client sends next depends on an answer: it may be a COPY */
    bool must_fail;        /* it has failed here: so must the pipeline there */
    bool has_failed;       /* the Query has had its ErrorResponse */
    bool may_commit;       /* something of it may have committed by now */
    bool ends_transaction; /* it has a COMMIT or ROLLBACK */
    bool has_flushed;      /* Flush is the last that was sent */
    bool is_cancelled;     /* a cancel request has been sent */
    bool is_replaying;     /* the answer comes from what the primary has kept */
    int64_t give_up_us;    /* after that: when it will not be waited for any longer */
    size_t query_begin;    /* what was sent of session->query_text begins here … */
    size_t query_walked;   /* … and so far its statements are done */
    struct sq_error quiet; /* what a QUIET one has failed of; status SQ_OK: it has not */
    bool has_quiet_row;
    char quiet_row[REMOTE_TEXT_MAX]; /* the first value that it gave */

    /* Positions. */
    uint64_t wanted_number; /* of the last command outside a transaction; 0: none on this connection */
    uint64_t told_number;   /* a report covers all commands up to this one */
    bool lacks_position;    /* a connection broke before it was told */

    /* Moving a transaction: remote_query.c. */
    enum remote_move { MOVE_NONE, MOVE_BEGUN, MOVE_TELLING, MOVE_GIVEN_UP } move;
    bool has_base;
    struct wal_position base; /* of what it reads here */
    bool has_left_open;       /* it has moved, and its cursors are still read here */

    /* A transaction that was lost with its connection while the client was idle: the next statement is told. */
    char lost_text[REMOTE_TEXT_MAX];
};

/* --- remote.c --- */

/* The session's, made when it is first needed. */
SQ_MUST_USE sq_status remote_get(struct session *session, struct sq_error *err, struct remote **ret_remote);
/* There is a connection. The thread may be lost for others meanwhile. */
SQ_MUST_USE sq_status remote_reach(struct session *session, struct sq_error *err);
/* There is a connection, and it knows the settings. SQ_BUSY: it is being told. */
SQ_MUST_USE sq_status remote_engage(struct session *session, struct sq_error *err);
/* Tells it, if there is something to tell. SQ_BUSY: it has been sent. */
SQ_MUST_USE sq_status remote_tell_settings(struct remote *remote, struct sq_error *err);
/* A connection to the primary. 08006: it cannot be reached; others: it refused. */
SQ_MUST_USE sq_status remote_connect(struct session *session, const char *database,
                                     const struct pgclient_parameter *parameters, size_t parameter_count,
                                     struct sq_error *err, struct pgclient **ret_client);
/* Opens a connection for a session of the PostgreSQL protocol, which is none of the session's yet. *ret_key: what it can be asked for by. */
SQ_MUST_USE sq_status remote_open(struct session *session, struct sq_error *err, struct pgclient **ret_client,
                                  uint8_t ret_key[OUTCOME_KEY_BYTES]);
/* Makes it the session's, after `command_count` commands. */
void remote_install(struct remote *remote, struct pgclient *client, const uint8_t key[OUTCOME_KEY_BYTES],
                    uint64_t command_count);
/* The connection goes; what it knew of the session with it. Entries stay. `is_broken`: without goodbye. */
void remote_disconnect(struct remote *remote, bool is_broken);
/* The same when the session ends: what is being done there is stopped. */
void remote_abandon(struct remote *remote);
/* Between them the thread may wait for the network. SQ_LIMIT: too many threads do. */
SQ_MUST_USE sq_status remote_block(struct session *session, struct sq_error *err);
void remote_unblock(struct session *session);

bool remote_is_engaged(const struct session *session);
static inline bool remote_is_idle(const struct remote *remote)
{
    return remote->entry_count == remote->lazy_count;
}

/* An entry for a message that is put into pgclient_out(); there is room for it. */
struct remote_entry *remote_expect(struct remote *remote, enum remote_kind kind, enum remote_audience audience);
/* The message as the client has sent it. SQ_NOMEM, SQ_LIMIT: nothing was put. */
SQ_MUST_USE sq_status remote_put(struct remote *remote, const struct pgwire_frame *frame, struct sq_error *err);
/* A Query of one or more statements. */
SQ_MUST_USE sq_status remote_put_query(struct remote *remote, const char *text, size_t length,
                                       enum remote_audience audience, struct sq_error *err);
/* Parse for a statement that the primary does not have yet; `name` "": the unnamed one. Within a pipeline. */
SQ_MUST_USE sq_status remote_ensure(struct remote *remote, const char *name, struct prepared *prepared,
                                    enum remote_audience audience, struct sq_error *err);
/* One that has no such name here may still have it there. Nobody waits for it. */
void remote_close_name(struct remote *remote, const char *name);
bool remote_has(const struct remote *remote, const char *name, const struct prepared *prepared);
/* The first entry has been answered. */
void remote_pop(struct remote *remote);
/* Takes entries away up to a SYNC, and back what they did. True: there is a SYNC, or a QUERY, which stays. */
bool remote_skip(struct remote *remote);
/* Takes all away. */
void remote_skip_all(struct remote *remote);

/* --- remote_route.c --- */

enum remote_route {
    ROUTE_HERE,    /* done here, and reads nothing */
    ROUTE_READ,    /* done here, behind the gate */
    ROUTE_PRIMARY, /* done at the primary */
    ROUTE_MOVE,    /* the transaction goes to the primary first */
};
/* A statement as far as it is understood. */
struct remote_statement {
    const struct command *command;
    const char *text;
    size_t length;
    bool is_writing; /* it is compiled, and SQLite says so */
};
enum remote_route remote_route(struct session *session, const struct remote_statement *statement);
enum remote_route remote_route_prepared(struct session *session, const struct prepared *prepared);
/* What a statement leaves at the primary once it is done there. `executing`: the portal that has run it, or NULL. */
void remote_note_done(struct remote *remote, const struct command *command, const char *text, size_t length,
                      const struct portal *executing);
/* The same for what follows in a Query that is at the primary already. */
bool remote_may_follow(struct session *session, const struct command *command);
/* A name of a portal or cursor of this server. */
bool remote_is_local_portal(struct session *session, const char *name);
/* A statement that was prepared at the primary is to be run here: compiles it. *prepared is replaced, under its name. */
SQ_MUST_USE sq_status remote_localize(struct session *session, const char *name, struct prepared **prepared,
                                      struct sq_error *err);

/* --- remote_query.c --- */

/* A transaction that has begun here goes to the primary. SQ_BUSY: it is on its way; 40001: it has become too old. */
SQ_MUST_USE sq_status remote_move(struct session *session, struct sq_error *err);
/* Before a statement of such a transaction reads here. */
void remote_note_base(struct session *session);
/* What it has left here ends with it. */
void remote_end_local(struct session *session);

/* --- remote_relay.c --- */

/* Sends and receives what can be without waiting. */
void remote_pump(struct session *session);
/* Something waits: sends what there is to send, and says how to wait. */
enum session_want remote_later(struct session *session);
/* A position that was told before the connection was the session's. */
void remote_take_position(struct remote *remote, const char *value);
/* What the primary has said; also for what it has kept. */
void remote_take(struct session *session, const struct pgwire_frame *frame);

/* --- remote_lost.c --- */

/* The connection is of no more use: finds out what became of the command, and answers. */
void remote_lost(struct session *session, const struct sq_error *cause);
/* The error of a statement that cannot be sent: 08006. */
sq_status remote_fail_unreachable(struct sq_error *err, const char *cause);
/* A transaction was lost while the client was idle: fails the first statement after that. */
SQ_MUST_USE sq_status remote_check_lost(struct session *session, enum command_kind kind, struct sq_error *err);

#endif
