/* session/portal.h: a portal: a prepared statement with its parameters, ready to give rows. SQL calls a named one a
 * cursor; DECLARE makes the same thing as Bind, and both live in one name space.
 *
 *     READY ──run──► RUNNING ──row limit──► SUSPENDED ──run──► RUNNING
 *                       ├──end──► DONE
 *                       └──error──► FAILED
 *
 * Invariant: the service statement is taken from the prepared statement before the first run and given back, reset, at
 * the end or when the portal is closed. Threads: the session's. */
#ifndef SQ_SESSION_PORTAL_H
#define SQ_SESSION_PORTAL_H

#include "base/arena.h"
#include "base/buf.h"
#include "pgwire/frontend.h"
#include "sched/service.h"
#include "session/prepared.h"

enum portal_state { PORTAL_READY, PORTAL_RUNNING, PORTAL_SUSPENDED, PORTAL_DONE, PORTAL_FAILED };

struct portal {
    struct session *session;
    struct prepared *prepared;
    enum portal_state state;
    struct sq_arena arena; /* parameters and formats */
    struct sq_value *parameters;
    const uint8_t *formats; /* one for each column; NULL: all text */
    struct query query;
    struct sq_buf held_row; /* a first row that Describe has fetched: a whole DataRow message */
    bool has_held_row;
    bool is_cursor; /* made by DECLARE */
    bool is_hold;   /* survives its transaction */
    bool is_binary; /* DECLARE BINARY: all columns, whatever FETCH asks for */
    bool is_remote; /* it is the primary's: here is only its name */
    bool is_bound;  /* of such a one: the primary has said so */
    struct pgwire_formats
        raw_formats;      /* Bind's, kept for FETCH and EXECUTE, whose columns are not known before they run */
    struct portal *child; /* what an EXECUTE runs; owned */
    size_t name_length;
    char name[64]; /* "" for the unnamed portal; longer names are refused */
};

/* Makes a portal of `prepared` (takes a reference) without parameters. */
SQ_MUST_USE sq_status portal_new(struct session *session, struct prepared *prepared, struct sq_error *err,
                                 struct portal **ret_portal);
/* Decodes Bind's parameters and result formats into the portal. */
SQ_MUST_USE sq_status portal_bind(struct portal *portal, const struct pgwire_bind *bind, struct sq_error *err);
/* Gets the portal ready to run: takes the service statement. */
SQ_MUST_USE sq_status portal_start(struct portal *portal, struct sq_error *err);
/* Stops what it is doing and gives the service statement back. A write that was left half read commits here, which can
 * fail. */
SQ_MUST_USE sq_status portal_stop(struct portal *portal, struct sq_error *err);
/* portal_stop() must have been called if it ever started. NULL is allowed. */
void portal_free(struct portal *portal);
/* Frees the session's spare portal, if it has one. */
void portal_free_spare(struct session *session);

/* After the first step of a run: if the statement has turned out to be another one than was prepared, takes its columns
 * over, or fails if they were announced. */
SQ_MUST_USE sq_status portal_follow_change(struct portal *portal, struct sq_error *err);

/* Copies values in as the portal's parameters. */
SQ_MUST_USE sq_status portal_copy_parameters(struct portal *portal, const struct sq_value *values, size_t count,
                                             struct sq_error *err);
/* The result formats that FETCH or EXECUTE was bound with, for the `column_count` columns of what it names; all binary if
 * `is_binary`. *ret_formats lives as long as the portal; NULL: all text. */
SQ_MUST_USE sq_status portal_late_formats(struct portal *portal, size_t column_count, bool is_binary,
                                          struct sq_error *err, const uint8_t **ret_formats);
/* Forgets a first row that Describe has fetched: the portal begins anew. */
SQ_MUST_USE sq_status portal_rewind(struct portal *portal, struct sq_error *err);

#endif
