/* pgwire/frontend.h: the messages of a client: decoders (for the server) and writers (for clients, replicas, tests).
 *
 * A decoder takes a frame of its type (asserted: the caller has switched on it), checks all of the body, and fills a
 * struct that points into the frame: nothing is allocated, nothing may be used after the frame's bytes have gone.
 *   OK: *ret_… is set; every count and inner length has been checked, so that walking its lists cannot fail.
 *   Failure: *ret_… is untouched, *err holds the cause: SQ_PROTOCOL, 08P01 "invalid Bind message: …", unless said
 *   otherwise. The stream itself is still in step: a server may close, or answer and go on after the next Sync.
 * Writers append a whole message (or its beginning, then pgwire_end()) and follow the rules of encode.h.
 *
 * CopyData and CopyDone are in copy.h. Pure functions, any thread. */
#ifndef SQ_PGWIRE_FRONTEND_H
#define SQ_PGWIRE_FRONTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "pgwire/copy.h"
#include "pgwire/cursor.h"
#include "pgwire/encode.h"
#include "pgwire/frame.h"
#include "pgwire/lists.h"
#include "pgwire/protocol.h"

/* --- The first packet -------------------------------------------------------------------------------------------- */

/* Name and value pairs; walk a copy with pgwire_parameters_next(). */
struct pgwire_parameters {
    size_t count; /* pairs that are still to come */
    struct pgwire_cursor cursor;
};

struct pgwire_startup {
    uint32_t version; /* PGWIRE_VERSION(3, minor) */
    struct pgwire_parameters parameters;
    size_t option_count; /* how many of the parameters are protocol options ("_pq_.…") */
};

struct pgwire_cancel {
    uint32_t pid;
    struct pgwire_bytes secret; /* PGWIRE_SECRET_BYTES_MIN to _MAX bytes */
};

SQ_MUST_USE sq_status pgwire_startup_decode(const struct pgwire_startup_frame *frame, struct sq_error *err,
                                            struct pgwire_startup *ret_startup);
SQ_MUST_USE sq_status pgwire_cancel_decode(const struct pgwire_startup_frame *frame, struct sq_error *err,
                                           struct pgwire_cancel *ret_cancel);

/* The next pair, in the client's order; false at the end. */
bool pgwire_parameters_next(struct pgwire_parameters *parameters, struct pgwire_text *ret_name,
                            struct pgwire_text *ret_value);
/* The value of `name`; of several the last, as in PostgreSQL. False, and *ret_value untouched, if there is none. */
bool pgwire_parameters_find(const struct pgwire_parameters *parameters, const char *name,
                            struct pgwire_text *ret_value);
/* Whether a parameter's name asks for a protocol option. */
bool pgwire_parameter_is_option(const struct pgwire_text *name);

/* size_t startup = pgwire_put_startup_begin(buf, PGWIRE_VERSION_3_0); pgwire_put_startup_parameter(…)…;
 * pgwire_put_startup_end(buf, startup). A parameter with an empty name would end the list: it is left out. */
size_t pgwire_put_startup_begin(struct sq_buf *buf, uint32_t version);
void pgwire_put_startup_parameter(struct sq_buf *buf, const char *name, const char *value);
void pgwire_put_startup_end(struct sq_buf *buf, size_t offset);
void pgwire_put_ssl_request(struct sq_buf *buf);
void pgwire_put_gssenc_request(struct sq_buf *buf);
void pgwire_put_cancel_request(struct sq_buf *buf, uint32_t pid, const void *secret, size_t secret_length);

/* --- Authentication ---------------------------------------------------------------------------------------------- */

/* Type 'p' is four messages; only the state of the connection tells which. A SASLResponse (and a GSSResponse) is all
 * of the frame's body: any body is a good one. */
struct pgwire_password {
    struct pgwire_text password;
};

struct pgwire_sasl_initial {
    struct pgwire_text mechanism;
    bool has_response;
    struct pgwire_bytes response; /* may hold any byte; empty if !has_response */
};

SQ_MUST_USE sq_status pgwire_password_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                             struct pgwire_password *ret_password);
SQ_MUST_USE sq_status pgwire_sasl_initial_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                 struct pgwire_sasl_initial *ret_initial);
struct pgwire_bytes pgwire_sasl_response_decode(const struct pgwire_frame *frame);

void pgwire_put_password(struct sq_buf *buf, const char *password);
/* `response` NULL: none is sent, which is not the same as an empty one. */
void pgwire_put_sasl_initial(struct sq_buf *buf, const char *mechanism, const void *response, size_t response_length);
void pgwire_put_sasl_response(struct sq_buf *buf, const void *response, size_t response_length);

/* --- Queries ----------------------------------------------------------------------------------------------------- */

struct pgwire_query {
    struct pgwire_text text;
};

struct pgwire_parse {
    struct pgwire_text name; /* "": the unnamed statement */
    struct pgwire_text query;
    struct pgwire_oids types; /* declared parameter types; may be fewer than there are parameters */
};

struct pgwire_bind {
    struct pgwire_text portal; /* "": the unnamed portal */
    struct pgwire_text statement;
    struct pgwire_formats parameter_formats; /* pgwire_formats_get(&…, index); fits parameters.count */
    struct pgwire_values parameters;         /* walk a copy with pgwire_values_next() */
    struct pgwire_formats result_formats;    /* check with pgwire_bind_check_results() when the columns are known */
};

struct pgwire_describe {
    uint8_t kind; /* enum pgwire_target */
    struct pgwire_text name;
};

struct pgwire_close {
    uint8_t kind; /* enum pgwire_target */
    struct pgwire_text name;
};

struct pgwire_execute {
    struct pgwire_text portal;
    uint32_t row_limit; /* 0: none. A negative limit means none to PostgreSQL and arrives here as 0 */
};

struct pgwire_copy_fail {
    struct pgwire_text reason;
};

struct pgwire_function_call {
    uint32_t function_oid;
    struct pgwire_formats argument_formats;
    struct pgwire_values arguments;
    uint16_t result_format;
};

SQ_MUST_USE sq_status pgwire_query_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                          struct pgwire_query *ret_query);
SQ_MUST_USE sq_status pgwire_parse_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                          struct pgwire_parse *ret_parse);
/* A format code other than text and binary: SQ_INVALID, 22023. */
SQ_MUST_USE sq_status pgwire_bind_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                         struct pgwire_bind *ret_bind);
SQ_MUST_USE sq_status pgwire_describe_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                             struct pgwire_describe *ret_describe);
SQ_MUST_USE sq_status pgwire_close_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                          struct pgwire_close *ret_close);
SQ_MUST_USE sq_status pgwire_execute_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                            struct pgwire_execute *ret_execute);
SQ_MUST_USE sq_status pgwire_copy_fail_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                              struct pgwire_copy_fail *ret_fail);
/* A format code other than text and binary: SQ_INVALID, 22023. */
SQ_MUST_USE sq_status pgwire_function_call_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                  struct pgwire_function_call *ret_call);
/* Flush, Sync, Terminate and CopyDone have no body: OK if that is so. */
SQ_MUST_USE sq_status pgwire_empty_decode(const struct pgwire_frame *frame, struct sq_error *err);

/* Whether Bind's result formats may stand for a result of `column_count` columns; 08P01 if not. Must be asked before
 * an answer is made: pgwire_formats_get() takes a column that the list does not reach for text. */
SQ_MUST_USE sq_status pgwire_bind_check_results(const struct pgwire_bind *bind, size_t column_count,
                                                struct sq_error *err);

void pgwire_put_query(struct sq_buf *buf, const char *query, size_t query_length);
/* Then pgwire_put_oid() for each of the `type_count` declared types, then pgwire_end(). */
size_t pgwire_put_parse_begin(struct sq_buf *buf, const char *name, const char *query, size_t query_length,
                              size_t type_count);
/* Then pgwire_put_value(), pgwire_put_null() or pgwire_value_begin() for each parameter, then pgwire_put_bind_end(). */
size_t pgwire_put_bind_begin(struct sq_buf *buf, const char *portal, const char *statement, const uint16_t *formats,
                             size_t format_count, size_t parameter_count);
void pgwire_put_bind_end(struct sq_buf *buf, size_t offset, const uint16_t *result_formats, size_t format_count);
void pgwire_put_describe(struct sq_buf *buf, enum pgwire_target kind, const char *name);
void pgwire_put_close(struct sq_buf *buf, enum pgwire_target kind, const char *name);
void pgwire_put_execute(struct sq_buf *buf, const char *portal, uint32_t row_limit);
void pgwire_put_copy_fail(struct sq_buf *buf, const char *reason);
/* Then the arguments, as for Bind, then pgwire_put_function_call_end(). */
size_t pgwire_put_function_call_begin(struct sq_buf *buf, uint32_t function_oid, const uint16_t *formats,
                                      size_t format_count, size_t argument_count);
void pgwire_put_function_call_end(struct sq_buf *buf, size_t offset, uint16_t result_format);

static inline void pgwire_put_flush(struct sq_buf *buf)
{
    pgwire_put_empty(buf, PGWIRE_FLUSH);
}
static inline void pgwire_put_sync(struct sq_buf *buf)
{
    pgwire_put_empty(buf, PGWIRE_SYNC);
}
static inline void pgwire_put_terminate(struct sq_buf *buf)
{
    pgwire_put_empty(buf, PGWIRE_TERMINATE);
}

#endif
