/* session/prepared.h: a prepared statement of a session: named, unnamed, or the statement of a simple query that is being
 * run.
 *
 * It is one of
 *   - a statement for the services (SQLite's SQL, or a command that can be said in SQL: SHOW, TRUNCATE, BEGIN …),
 *   - a session command (SET, LISTEN, FETCH …), which has no service statement,
 *   - empty.
 *
 * Types. A column announces a type as soon as a description is sent, and keeps it for the life of the prepared statement
 * ("frozen"), because clients remember it: from the declared type of the table column it shows; else, if a first row is
 * at hand, from that row's storage class; else from what can be inferred without running; else text.
 *
 * Counted: a portal keeps its statement alive when the name is closed or reused. Threads: the session's. */
#ifndef SQ_SESSION_PREPARED_H
#define SQ_SESSION_PREPARED_H

#include "base/arena.h"
#include "engine/sql_lexer.h"
#include "sched/service.h"
#include "session/command.h"
#include "session/statement_cache.h"

struct pgwire_row_description;
struct sq_buf;
struct session;

struct prepared {
    size_t ref_count;
    struct service *service;
    struct command command; /* kind COMMAND_SQL, COMMAND_EMPTY, or the session's */
    struct sq_arena arena;  /* what `command` points to, and the arrays below */
    struct sql_statement_shape shape;
    const char *source; /* the text that the client sent, of this statement; in the arena */
    size_t source_length;
    const char *sql; /* what the services get; NULL for a command; in the arena */
    size_t sql_length;
    const char *tag; /* fixed command tag, or NULL: from the shape and the row count */

    bool is_remote;             /* not compiled: the primary has it, and knows what it is */
    const uint32_t *told_oids;  /* of a remote one: what the client was told of its columns, told_count of them; or NULL */
    size_t told_count;
    uint64_t remote_generation; /* of the connection to the primary on which it was prepared; 0: it was not */

    struct prepared *inner;              /* DECLARE: its query */
    struct service_statement *statement; /* compiled and idle; NULL while a portal uses it */
    bool is_readonly;
    size_t parameter_count;           /* that Bind has to give */
    size_t statement_parameter_count; /* that the statement uses: the first ones */
    uint32_t *parameter_oids;         /* as announced; 0 until known */
    bool *is_parameter_declared;      /* by the client, in Parse */
    enum sq_type *parameter_types;    /* inferred */
    bool has_inferred;
    size_t column_count;
    const char **column_names;
    uint32_t *column_oids;   /* 0: not frozen yet */
    bool is_frozen;          /* all column_oids are set */
    bool is_announced;       /* a client may have been told of the columns: they must not change any more */
    uint32_t *declared_oids; /* column_oids as they are before anything is resolved */
    /* RowDescription for columns that are all text, kept from the second time on that it was sent; NULL: not yet. In the
     * arena, as long as column_oids stay as they are. */
    const char *description;
    size_t description_bytes;
    enum sq_type *inferred_columns;

    struct statement_cache *cache; /* where it goes when nobody refers to it any more; NULL: it is freed */
    struct statement_key key;
    struct sq_list cache_links;
    struct prepared *cache_next;
    size_t cache_bytes;
    bool is_cached; /* has been in the cache: cache_bytes is known */
};

/* Makes a prepared statement of the first statement in `text` (text[length] is NUL). `types`: declared parameter OIDs,
 * `type_count` of them. `may_defer`: a CREATE, DROP or ALTER that cannot be compiled yet is tried again when it is run, as
 * PostgreSQL does; a pipeline may prepare a DROP before its CREATE has run. *ret_consumed: bytes of `text` that belong to it. Errors carry a position in `text`. */
SQ_MUST_USE sq_status prepared_new(struct session *session, const char *text, size_t length, const uint32_t *types,
                                   size_t type_count, bool may_defer, struct sq_error *err,
                                   struct prepared **ret_prepared, size_t *ret_consumed);
/* The same, but looks first whether the session has such a statement that nobody uses. */
SQ_MUST_USE sq_status prepared_get(struct session *session, const char *text, size_t length, const uint32_t *types,
                                   size_t type_count, bool may_defer, struct sq_error *err,
                                   struct prepared **ret_prepared, size_t *ret_consumed);
/* A statement that is run at the primary: its text is understood, and nothing is compiled. */
SQ_MUST_USE sq_status prepared_new_remote(struct session *session, const char *text, size_t length,
                                          const uint32_t *types, size_t type_count, struct sq_error *err,
                                          struct prepared **ret_prepared);
/* What the primary has told the client of a remote one's columns. For want of memory it is not known. */
void prepared_note_told(struct prepared *prepared, const struct pgwire_row_description *description);
/* One that takes the place of a remote one: what was told holds. */
SQ_MUST_USE sq_status prepared_take_told(struct prepared *prepared, const struct prepared *former,
                                         struct sq_error *err);
struct prepared *prepared_ref(struct prepared *prepared);
/* NULL is allowed. */
void prepared_unref(struct prepared *prepared);
/* For the cache: frees what nobody refers to; the memory that it takes. */
void prepared_free(struct prepared *prepared);
size_t prepared_bytes(const struct prepared *prepared);

/* Takes the compiled statement for a portal; compiles another one if it is in use. */
SQ_MUST_USE sq_status prepared_take_statement(struct prepared *prepared, struct sq_error *err,
                                              struct service_statement **ret_statement);
/* Gives it back, reset. */
void prepared_give_statement(struct prepared *prepared, struct service_statement *statement);

/* After `statement` has been compiled anew, by SQLite or by us: takes names and types over from it, unless they have been
 * announced. */
SQ_MUST_USE sq_status prepared_refresh(struct prepared *prepared, struct service_statement *statement,
                                       struct sq_error *err);

/* Lets go of the compiled statement; it is compiled again when it is next used. */
void prepared_release_compiled(struct prepared *prepared);

/* Makes `parameter_oids` complete. */
SQ_MUST_USE sq_status prepared_resolve_parameters(struct prepared *prepared, struct sq_error *err);
/* Makes `column_oids` complete; `first_row` may be NULL. */
SQ_MUST_USE sq_status prepared_resolve_columns(struct prepared *prepared, const struct sq_value *first_row,
                                               struct sq_error *err);
/* Whether a first row would tell more about the columns than what is known. */
bool prepared_wants_first_row(const struct prepared *prepared);

/* The type to decode parameter `index` with when it comes in `format`; may infer. */
SQ_MUST_USE sq_status prepared_parameter_oid(struct prepared *prepared, size_t index, int format, struct sq_error *err,
                                             uint32_t *ret_oid);

/* What the statement does ("INSERT"), for errors and people; constant text, or NULL. */
const char *prepared_verb(const struct prepared *prepared);

/* Appends ParameterDescription; RowDescription or NoData. Columns must be resolved. `formats` NULL: text. */
void prepared_describe_parameters(const struct prepared *prepared, struct sq_buf *out);
void prepared_describe_columns(struct prepared *prepared, const uint8_t *formats, struct sq_buf *out);

#endif
