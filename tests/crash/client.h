/* tests/crash/client.h: what one client of world.h says, and what it makes of the answers. It knows no server: bytes to
 * be sent are taken from `wire`, messages that were let out are given to client_hear(). One thread. */
#ifndef SQ_TESTS_CRASH_CLIENT_H
#define SQ_TESTS_CRASH_CLIENT_H

#include "base/buf.h"
#include "history.h"
#include "pgwire/frame.h"

enum { CLIENT_BATCHES_MAX = 16, CLIENT_SCRIPT_BYTES_MAX = 1 << 14 };

enum client_plan {
    CLIENT_LOG_IN,
    CLIENT_CATCH_UP, /* what was its last transaction? */
    CLIENT_TRANSACTION,
    CLIENT_ROLLBACK,
    CLIENT_READ,
    CLIENT_PROBE, /* whether the log is so long, to be seen from an error */
};

struct client {
    struct history *history;
    struct dice *dice;
    uint32_t index;
    bool is_lazy;        /* it says synchronous_commit=off, and believes nothing */
    uint32_t last;       /* its last transaction, as far as it knows */
    uint32_t log_length; /* as far as it knows */
    bool has_doubts;     /* whether `last` is right */

    struct sq_buf wire; /* sent, not yet received by the server */
    enum client_plan plan;
    struct sq_buf batches[CLIENT_BATCHES_MAX]; /* each ends with what is answered by ReadyForQuery */
    size_t batch_count;
    size_t sent_count;
    size_t answered_count;
    bool is_pipelined;   /* sends all batches at once */
    bool expects_errors; /* part of the plan */
    size_t error_count;  /* since the plan began */
    bool was_rolled_back;
    uint32_t number; /* of TRANSACTION */
    uint32_t probe;  /* of PROBE */
};

void client_init(struct client *client, struct history *history, struct dice *dice, uint32_t index, uint32_t last);
void client_done(struct client *client);
/* A new connection: what was on its way is in doubt. */
void client_reconnect(struct client *client);
/* Its next transaction as one script, for a client that is not connected to the server. */
void client_script(struct client *client, char *sql, size_t sql_bytes);
/* Puts something into `wire` if it is the client's turn to speak. */
void client_speak(struct client *client);
/* A message from the server, to be called as struct answers' note_cb. */
void client_hear(void *context, const struct pgwire_frame *frame);

#endif
