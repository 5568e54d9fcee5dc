/* tests/crash/talk.h: a client that asks one question after the other and waits for each answer, through the real session.
 * An answer counts only when the session lets it leave. One thread. */
#ifndef SQ_TESTS_CRASH_TALK_H
#define SQ_TESTS_CRASH_TALK_H

#include <semaphore.h>

#include "../lib/session_fixture.h"

enum { TALK_COLUMNS_MAX = 8 };

struct talk {
    struct fixture_client client;
    sem_t woken;
    bool is_over; /* the server has ended the conversation */
    void *context;
    void (*row_cb)(void *context, const char *const *values, size_t count);
};

/* False: refused; client.answers has the SQLSTATE. talk_close() is due in any case. */
bool talk_open(struct talk *talk, struct session_fixture *server);
/* One Query message. Rows go to `row_cb` (may be NULL) as text; NULL becomes "". False: an error came, or the end. */
bool talk_query(struct talk *talk, const char *sql, void *context,
                void (*row_cb)(void *context, const char *const *values, size_t count));
const char *talk_sqlstate(const struct talk *talk);
void talk_close(struct talk *talk);

/* The first message of a client. */
void talk_put_startup(struct sq_buf *out);
/* A data row's values as texts in `buffer`; how many there are. */
size_t talk_row(const struct pgwire_frame *frame, char *buffer, size_t buffer_bytes,
                const char *values[TALK_COLUMNS_MAX]);

#endif
