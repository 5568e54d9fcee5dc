/* Fuzzes the codec of replication. The first byte chooses: a message of the primary's, one of the replica's, or a command. What is
 * accepted is said again: a message byte for byte, a command with the same meaning. */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "pgwire/replication.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OUT_BYTES_MAX = 1 << 20 };

static void message(bool is_primary, const uint8_t *data, size_t size)
{
    struct replication_message message;
    struct sq_error err;
    sq_status status = is_primary ? replication_primary_decode(data, size, &err, &message)
                                  : replication_replica_decode(data, size, &err, &message);
    if (status != SQ_OK) {
        sq_assert(status == SQ_PROTOCOL && err.text[0] != '\0');
        return;
    }
    struct sq_buf buf;
    sq_buf_init(&buf, OUT_BYTES_MAX);
    replication_put(&buf, &message);
    sq_assert(!buf.is_failed && sq_buf_length(&buf) == PGWIRE_HEADER_BYTES + size);
    sq_assert(memcmp(sq_buf_bytes(&buf) + PGWIRE_HEADER_BYTES, data, size) == 0);
    sq_assert(strcmp(replication_name(message.type), "unknown") != 0);
    for (size_t i = 0; message.type == REPLICATION_SUMS && i < message.sums.count; i++)
        (void)replication_sums_get(&message.sums, i);
    sq_buf_done(&buf);
}

static void command(const char *text, size_t length)
{
    struct replication_command command;
    struct replication_command back;
    struct sq_error err;
    sq_status status = replication_command_parse(text, length, &err, &command);
    if (status != SQ_OK) {
        sq_assert(status == SQ_INVALID && strcmp(err.sqlstate, "42601") == 0);
        sq_assert(err.position > 0 && (size_t)err.position <= length + 1);
        return;
    }
    if (command.kind == REPLICATION_OTHER)
        return;
    struct sq_buf buf;
    sq_buf_init(&buf, OUT_BYTES_MAX);
    replication_put_command(&buf, &command);
    status = replication_command_parse((const char *)sq_buf_bytes(&buf), sq_buf_length(&buf), &err, &back);
    sq_assert(status == SQ_OK && back.kind == command.kind && back.system_id == command.system_id);
    sq_assert(back.timeline == command.timeline && back.version == command.version);
    sq_assert(strcmp(back.name, command.name) == 0 && strcmp(back.databases, command.databases) == 0);
    sq_buf_done(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 3 == 2)
        command((const char *)data + 1, size - 1);
    else
        message(data[0] % 3 == 0, data + 1, size - 1);
    return 0;
}
