/* base/status.h: how sqld reports failure.
 *
 * A function that can fail returns an `sq_status` that the caller must look at, and describes the failure in the
 * `struct sq_error` it was handed. The description is made once, where the failure begins; everybody above only
 * passes it on. Results come back through `ret_` parameters, which stay untouched on failure.
 *
 * Three kinds of trouble are never mixed:
 *   - an operating error (disk full, unknown table): an `sq_status` other than SQ_OK;
 *   - a violation by the peer (a length that lies): SQ_PROTOCOL, after which that connection is closed;
 *   - a bug of ours: sq_assert(), which stays on in release builds.
 *
 * Threads: a `struct sq_error` belongs to whoever declared it; nothing here is shared.
 */
#ifndef SQ_BASE_STATUS_H
#define SQ_BASE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#define SQ_MUST_USE __attribute__((warn_unused_result))
#define SQ_PRINTF(format_index, first_index) __attribute__((format(printf, format_index, first_index)))
#define SQ_NORETURN __attribute__((noreturn))
#define SQ_LIKELY(x) __builtin_expect(!!(x), 1)
#define SQ_UNLIKELY(x) __builtin_expect(!!(x), 0)

typedef enum sq_status {
    SQ_OK = 0,
    SQ_NOMEM,     /* memory could not be had */
    SQ_INVALID,   /* the caller's (in the end: the user's) input makes no sense */
    SQ_SQL,       /* the SQL engine refused or failed a statement; sq_error.sqlstate says why */
    SQ_PROTOCOL,  /* the peer broke the protocol: close its connection */
    SQ_LIMIT,     /* a named limit was reached */
    SQ_NOT_FOUND, /* no such thing */
    SQ_EXISTS,    /* such a thing exists already */
    SQ_BUSY,      /* somebody else holds it: try again later */
    SQ_CANCELED,  /* stopped by a user, a time limit or a shutdown */
    SQ_IO,        /* the operating system failed a call */
    SQ_CORRUPT,   /* stored bytes contradict themselves */
    SQ_CLOSED,    /* the other side has gone */
} sq_status;

enum {
    SQ_ERROR_TEXT_MAX = 1024, /* bytes of the message, with its NUL; longer ones are cut at a character */
    SQ_ERROR_EXTRA_MAX = 256, /* bytes of detail and hint */
    SQ_ERROR_NAME_MAX = 128,  /* bytes of an object's name */
    SQ_SQLSTATE_LEN = 5,
};

/* What went wrong, for people and for programs. Cleared by sq_error_clear() or by the next sq_fail(). */
struct sq_error {
    sq_status status;
    char sqlstate[SQ_SQLSTATE_LEN + 1]; /* PostgreSQL's five-character code, always set by sq_fail() */
    bool is_fatal;                      /* the connection cannot go on after this */
    int position;                       /* 1-based character in the statement's text, 0: unknown */
    int engine_code;                    /* SQLite's extended result code, 0: not from SQLite */
    int system_errno;                   /* of sq_fail_errno(), 0: no system call has failed */
    const char *routine; /* constant text or NULL: PostgreSQL's name of the place, where clients go by it */
    const char *file;    /* where sq_fail() was called */
    int line;
    char text[SQ_ERROR_TEXT_MAX];
    char detail[SQ_ERROR_EXTRA_MAX]; /* "" when there is none; so are all below */
    char hint[SQ_ERROR_EXTRA_MAX];
    char context[SQ_ERROR_EXTRA_MAX]; /* where in a longer operation: "COPY t, line 3" */
    char table[SQ_ERROR_NAME_MAX];
    char column[SQ_ERROR_NAME_MAX];
    char constraint[SQ_ERROR_NAME_MAX];
};

void sq_error_clear(struct sq_error *err);

/* Fills `err` (which may be NULL when nobody wants to know) and returns `status`, so that a failure is one line:
 *     return sq_fail(err, SQ_LIMIT, "too many statements (%zu)", count);
 * The SQLSTATE is the status's usual one; sq_fail_sql() names another. */
#define sq_fail(err, status, ...) sq_fail_at((err), (status), NULL, __FILE__, __LINE__, __VA_ARGS__)
#define sq_fail_sql(err, status, sqlstate, ...) sq_fail_at((err), (status), (sqlstate), __FILE__, __LINE__, __VA_ARGS__)

sq_status sq_fail_at(struct sq_error *err, sq_status status, const char *sqlstate, const char *file, int line,
                     const char *format, ...) SQ_PRINTF(6, 7);

/* The same for a failed system call: appends the text of `errno_value`. */
#define sq_fail_errno(err, errno_value, ...) sq_fail_errno_at((err), (errno_value), __FILE__, __LINE__, __VA_ARGS__)
sq_status sq_fail_errno_at(struct sq_error *err, int errno_value, const char *file, int line, const char *format, ...)
    SQ_PRINTF(5, 6);

/* Adds a hint ("what to do about it") or a detail to an error that sq_fail() has filled. */
void sq_error_set_hint(struct sq_error *err, const char *format, ...) SQ_PRINTF(2, 3);
void sq_error_set_detail(struct sq_error *err, const char *format, ...) SQ_PRINTF(2, 3);
void sq_error_set_context(struct sq_error *err, const char *format, ...) SQ_PRINTF(2, 3);

/* The status's name ("SQ_NOMEM"), for logs and tests. */
const char *sq_status_name(sq_status status);

/* Passes a failure on to the caller. */
#define SQ_TRY(expression)                                                                                             \
    do {                                                                                                               \
        sq_status sq_try_status_ = (expression);                                                                       \
        if (SQ_UNLIKELY(sq_try_status_ != SQ_OK))                                                                      \
            return sq_try_status_;                                                                                     \
    } while (0)

/* Frees a local when it goes out of scope: SQ_CLEANUP(thing_freep) struct thing *t = …; with
 * `void thing_freep(struct thing **t)`. SQ_STEAL(t) hands it over instead. */
#define SQ_CLEANUP(function) __attribute__((cleanup(function)))
#define SQ_STEAL(pointer)                                                                                              \
    __extension__({                                                                                                    \
        __auto_type sq_stolen_ = (pointer);                                                                            \
        (pointer) = NULL;                                                                                              \
        sq_stolen_;                                                                                                    \
    })

/* Defines thing_freep() for SQ_CLEANUP from thing_free(). */
#define SQ_DEFINE_FREEP(type, function)                                                                                \
    static inline void function##p(type **pointer)                                                                     \
    {                                                                                                                  \
        function(*pointer);                                                                                            \
    }

/* A bug of ours: says where and ends the process, in release builds too. A server that goes on with a broken
 * invariant may write wrong pages; one that stops is restarted and recovers from the WAL. */
#define sq_assert(condition)                                                                                           \
    do {                                                                                                               \
        if (SQ_UNLIKELY(!(condition)))                                                                                 \
            sq_assert_failed(#condition, __FILE__, __LINE__, __func__);                                                \
    } while (0)
void sq_assert_failed(const char *condition, const char *file, int line, const char *function) SQ_NORETURN;

#endif
