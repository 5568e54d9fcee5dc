/* repl/node_url.c: moves the pieces of a URL's list of hosts; pgclient/target.c says what a URL is. */
#include "repl/node_url.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "repl/node_state.h"

/* The list of hosts within the URL. */
struct hosts {
    const char *start;
    size_t length;
};

static struct hosts find_hosts(const char *url)
{
    const char *scheme = strstr(url, "://");
    const char *start = scheme != NULL ? scheme + strlen("://") : url;
    size_t length = strcspn(start, "/?");
    for (size_t i = length; i > 0; i--) {
        if (start[i - 1] == '@')
            return (struct hosts){start + i, length - i};
    }
    return (struct hosts){start, length};
}

/* Bytes of the host that begins at `from`. */
static size_t host_bytes(const struct hosts *hosts, size_t from)
{
    const char *comma = memchr(hosts->start + from, ',', hosts->length - from);
    return comma != NULL ? (size_t)(comma - hosts->start) - from : hosts->length - from;
}

size_t node_url_host_count(const char *url)
{
    struct hosts hosts = find_hosts(url);
    size_t count = 1;
    for (size_t i = 0; i < hosts.length; i++)
        count += hosts.start[i] == ',';
    return count;
}

/* Appends host `index`, or all others, each after a comma. */
static void put_hosts(struct sq_buf *buf, const struct hosts *hosts, size_t index, bool is_rest)
{
    size_t at = 0;
    for (size_t i = 0; at <= hosts->length; i++) {
        size_t length = host_bytes(hosts, at);
        if ((i == index) != is_rest) {
            sq_buf_put_text(buf, is_rest ? "," : "");
            sq_buf_put(buf, hosts->start + at, length);
        }
        at += length + 1;
    }
}

char *node_url_choose(const char *url, size_t index, bool is_alone)
{
    struct hosts hosts = find_hosts(url);
    SQ_CLEANUP(sq_buf_done) struct sq_buf buf;
    sq_buf_init(&buf, (size_t)NODE_URL_BYTES_MAX + 1);
    sq_buf_put(&buf, url, (size_t)(hosts.start - url));
    put_hosts(&buf, &hosts, index, false);
    if (!is_alone)
        put_hosts(&buf, &hosts, index, true);
    sq_buf_put_cstr(&buf, hosts.start + hosts.length);
    return buf.is_failed ? NULL : strdup((const char *)sq_buf_bytes(&buf));
}
