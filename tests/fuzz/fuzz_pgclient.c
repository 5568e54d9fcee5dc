/* Fuzzes what a server may say to a client: the input is all that comes, from the answer to the start-up packet on. And, with
 * the same bytes as a text, the URL of a server. */
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "pgclient/client_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_BYTES_MAX = 64 * 1024, TEXT_BYTES_MAX = 4096 };

static void try_url(const uint8_t *data, size_t size)
{
    char text[TEXT_BYTES_MAX] = "sqld://";
    size_t length = size < sizeof(text) - 8 ? size : sizeof(text) - 8;
    memcpy(text + 7, data, length);
    text[7 + length] = '\0';
    struct sq_error err;
    sq_error_clear(&err);
    struct pgclient_target *target = NULL;
    sq_status status = pgclient_target_parse(text, &err, &target);
    sq_assert(status == SQ_OK || err.text[0] != '\0');
    if (status == SQ_OK)
        sq_assert(target->host_count > 0 && pgclient_target_is_same_server(target, target));
    pgclient_target_free(target);
}

/* Messages until there are no more of them: a server that closes is the end of every conversation. */
static void converse(struct pgclient *client, struct pgclient_attempt *attempt, struct sq_error *err)
{
    if (pgclient_start(client, attempt, err) != SQ_OK)
        return;
    struct pgwire_frame frame;
    sq_status status;
    do
        status = pgclient_receive(client, 0, err, &frame);
    while (status == SQ_OK);
    sq_assert(pgclient_is_failed(client) && err->text[0] != '\0');
}

static void try_server(const uint8_t *data, size_t size)
{
    static struct pgclient_target *target;
    struct sq_error err;
    sq_error_clear(&err);
    if (target == NULL)
        sq_assert(pgclient_target_parse("sqld://me:secret@localhost/main?sslmode=disable", &err, &target) == SQ_OK);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return;
    /* So that it fits into the kernel's buffer: nobody reads while this is written. */
    ssize_t written = send(ends[1], data, size < INPUT_BYTES_MAX ? size : INPUT_BYTES_MAX, MSG_DONTWAIT | MSG_NOSIGNAL);
    sq_assert(written >= 0 || size == 0);
    sq_assert(shutdown(ends[1], SHUT_WR) == 0);
    struct pgclient *client = NULL;
    sq_assert(pgclient_new(ends[0], &err, &client) == SQ_OK);
    struct pgclient_attempt attempt = {.target = target, .host = &target->hosts[0], .is_unix = true};
    converse(client, &attempt, &err);
    pgclient_free(client);
    close(ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_server(data, size);
    try_url(data, size);
    return 0;
}
