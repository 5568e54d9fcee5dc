/* config/address.c: addresses to listen on.
 *
 *     list     address ("," address)*
 *     address  HOST | HOST:PORT | [IPV6] | [IPV6]:PORT | *:PORT | unix:PATH | unix:DIRECTORY:PORT
 *
 * HOST is a name or an IPv4 address; nothing is resolved here. PostgreSQL's clients look for a unix socket of port P in
 * a directory as .s.PGSQL.P (PostgreSQL manual, "Connection Settings", unix_socket_directories), so a directory means
 * that file in it. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "config/config_internal.h"

enum { ADDRESS_HOST_MAX = 255 }; /* bytes of a host's name, RFC 1035 section 2.3.4 */

/* What all the functions below need; `text` is one address, `length` bytes, without whitespace around. */
struct address_reader {
    const char *text;
    size_t length;
    const char *where;
    struct sq_arena *arena;
    struct sq_error *err;
};

static sq_status address_fail(const struct address_reader *reader, const char *reason, const char *hint)
{
    sq_status status = sq_fail(reader->err, SQ_INVALID, "%s: address '%.*s' %s", reader->where, (int)reader->length,
                               reader->text, reason);
    sq_error_set_hint(reader->err, "%s", hint);
    return status;
}

static const char hint_forms[] = "Write HOST:PORT, [IPV6]:PORT, *:PORT or unix:PATH.";

/* `digits` has `length` bytes, at least one of which must be there; whether they are a port. */
static bool port_parse(const char *digits, size_t length, uint16_t *ret_port)
{
    unsigned port = 0;
    if (length == 0 || length > 5)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        port = port * 10 + (unsigned)(digits[i] - '0');
    }
    if (port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

/* Offset of the last ':' or `length`. */
static size_t last_colon(const char *text, size_t length)
{
    for (size_t i = length; i > 0; i--) {
        if (text[i - 1] == ':')
            return i - 1;
    }
    return length;
}

static bool path_is_directory(const char *path, size_t length)
{
    if (length > 0 && path[length - 1] == '/')
        return true;
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static sq_status unix_parse(const struct address_reader *reader, struct config_address *ret_address)
{
    static const size_t prefix_length = sizeof("unix:") - 1;
    const char *path = reader->text + prefix_length;
    size_t length = reader->length - prefix_length;
    uint16_t port = CONFIG_PORT_DEFAULT;
    size_t colon = last_colon(path, length);
    bool has_port = colon < length && port_parse(path + colon + 1, length - colon - 1, &port);
    if (has_port)
        length = colon;
    if (length == 0)
        return address_fail(reader, "has no path", "Write unix:PATH, for example unix:/run/sqld.");
    if (length > CONFIG_UNIX_PATH_MAX)
        return address_fail(reader, "has a path that is too long for a unix socket",
                            "The kernel allows 107 bytes, the file's name included.");

    char full[CONFIG_UNIX_PATH_MAX + sizeof("/.s.PGSQL.65535")];
    memcpy(full, path, length);
    full[length] = '\0';
    if (path_is_directory(full, length)) {
        const char *slash = full[length - 1] == '/' ? "" : "/";
        length += (size_t)snprintf(full + length, sizeof(full) - length, "%s.s.PGSQL.%u", slash, port);
    } else if (has_port) {
        return address_fail(reader, "has a port, but its path is not a directory",
                            "Make the directory first, write a / behind it, or leave the port out.");
    }
    if (length > CONFIG_UNIX_PATH_MAX)
        return address_fail(reader, "has a path that is too long for a unix socket",
                            "The kernel allows 107 bytes, the file's name included.");

    const char *copy = sq_arena_copy(reader->arena, full, length);
    if (copy == NULL)
        return sq_fail(reader->err, SQ_NOMEM, "configuration");
    *ret_address = (struct config_address){.is_unix = true, .host = "", .port = port, .path = copy};
    return SQ_OK;
}

/* Letters, digits and what names and numeric addresses have; a scope as in fe80::1%eth0 too. */
static bool host_is_wellformed(const char *host, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = host[i];
        bool is_alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_alphanumeric && (c == '\0' || strchr("-._:%", c) == NULL))
            return false;
    }
    return length > 0 && length <= ADDRESS_HOST_MAX;
}

static sq_status tcp_parse(const struct address_reader *reader, struct config_address *ret_address)
{
    const char *host = reader->text;
    size_t host_length;
    size_t rest; /* where ":PORT" begins */
    if (host[0] == '[') {
        const char *end = memchr(host, ']', reader->length);
        if (end == NULL)
            return address_fail(reader, "has no ]", hint_forms);
        host++;
        host_length = (size_t)(end - host);
        rest = host_length + 2;
        if (memchr(host, ':', host_length) == NULL)
            return address_fail(reader, "has brackets around what is no IPv6 address", hint_forms);
    } else {
        rest = last_colon(reader->text, reader->length);
        host_length = rest;
        if (memchr(host, ':', host_length) != NULL)
            return address_fail(reader, "is ambiguous", "Write an IPv6 address in brackets: [::1]:5432.");
    }
    uint16_t port = CONFIG_PORT_DEFAULT;
    bool has_port = rest < reader->length;
    if (has_port &&
        (reader->text[rest] != ':' || !port_parse(reader->text + rest + 1, reader->length - rest - 1, &port)))
        return address_fail(reader, "has no valid port", "A port is a number from 0 to 65535.");
    if (!has_port && strspn(host, "0123456789") >= host_length)
        return address_fail(reader, "has no host", "Write the host too, for example 127.0.0.1:5432.");
    bool is_any = host_length == 1 && host[0] == '*';
    if (!is_any && !host_is_wellformed(host, host_length))
        return address_fail(reader, "has no valid host", hint_forms);

    const char *copy = sq_arena_copy(reader->arena, host, host_length);
    if (copy == NULL)
        return sq_fail(reader->err, SQ_NOMEM, "configuration");
    *ret_address = (struct config_address){.is_unix = false, .host = copy, .port = port, .path = ""};
    return SQ_OK;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

sq_status config_addresses_parse(const char *text, const char *where, struct sq_arena *arena, struct sq_error *err,
                                 struct config_addresses *ret_addresses)
{
    struct config_address items[CONFIG_ADDRESSES_MAX];
    size_t count = 0;
    for (const char *at = text;; at++) {
        size_t piece_length = strcspn(at, ",");
        const char *next = at + piece_length;
        while (piece_length > 0 && is_blank(at[0])) {
            at++;
            piece_length--;
        }
        while (piece_length > 0 && is_blank(at[piece_length - 1]))
            piece_length--;
        struct address_reader reader = {at, piece_length, where, arena, err};
        if (piece_length == 0)
            return address_fail(&reader, "is empty", hint_forms);
        if (count == CONFIG_ADDRESSES_MAX)
            return address_fail(&reader, "is one too many", "At most 32 addresses are allowed.");
        if (strncmp(at, "unix:", 5) == 0 && piece_length >= 5)
            SQ_TRY(unix_parse(&reader, &items[count]));
        else
            SQ_TRY(tcp_parse(&reader, &items[count]));
        count++;
        at = next;
        if (*at == '\0')
            break;
    }
    struct config_address *copy = sq_arena_calloc(arena, count, sizeof(items[0]));
    if (copy == NULL)
        return sq_fail(err, SQ_NOMEM, "configuration");
    memcpy(copy, items, count * sizeof(items[0]));
    *ret_addresses = (struct config_addresses){.count = count, .items = copy};
    return SQ_OK;
}

void config_address_format(const struct config_address *address, struct sq_buf *out)
{
    if (address->is_unix)
        sq_buf_printf(out, "unix:%s", address->path);
    else if (strchr(address->host, ':') != NULL)
        sq_buf_printf(out, "[%s]:%u", address->host, address->port);
    else
        sq_buf_printf(out, "%s:%u", address->host, address->port);
}

void config_addresses_format(const struct config_addresses *addresses, struct sq_buf *out)
{
    for (size_t i = 0; i < addresses->count; i++) {
        if (i > 0)
            sq_buf_put_text(out, ", ");
        config_address_format(&addresses->items[i], out);
    }
}

bool config_address_is_local(const struct config_address *address)
{
    if (address->is_unix || config_text_is_same(address->host, "localhost"))
        return true;
    struct in_addr v4;
    if (inet_pton(AF_INET, address->host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    struct in6_addr v6;
    if (inet_pton(AF_INET6, address->host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    return false;
}
