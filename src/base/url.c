/* base/url.c: what is between ':' and the last '@' of the part before the first '/', '?' or '#' is a password (RFC 3986, 3.2.1), and so
 * is the value of the parameter that libpq names so. */
#include "base/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"

static const char mask[] = "***";

/* The last `wanted` of the first `length` bytes, or NULL. */
static const char *find_last(const char *text, size_t length, char wanted)
{
    while (length > 0 && text[length - 1] != wanted)
        length--;
    return length > 0 ? text + length - 1 : NULL;
}

/* user:password@hosts, up to `length`. */
static void put_authority(struct sq_buf *out, const char *text, size_t length)
{
    const char *at_sign = find_last(text, length, '@');
    const char *colon = at_sign != NULL ? memchr(text, ':', (size_t)(at_sign - text)) : NULL;
    if (colon != NULL) {
        sq_buf_put(out, text, (size_t)(colon + 1 - text));
        sq_buf_put_text(out, mask);
        length -= (size_t)(at_sign - text);
        text = at_sign;
    }
    sq_buf_put(out, text, length);
}

void sq_url_put_masked(struct sq_buf *out, const char *url)
{
    static const char password[] = "password=";
    const char *scheme = strstr(url, "://");
    const char *at = scheme != NULL ? scheme + strlen("://") : url;
    sq_buf_put(out, url, (size_t)(at - url));
    /* A password may hold '/' unescaped by mistake: up to the '?' or the last '@' before it, all is masked. */
    size_t to_query = strcspn(at, "?");
    const char *at_sign = find_last(at, to_query, '@');
    size_t length = at_sign != NULL ? (size_t)(at_sign - at) + strcspn(at_sign, "/?") : strcspn(at, "/?");
    put_authority(out, at, length);
    at += length;
    while (*at != '\0') {
        bool is_name = *at == '?' || *at == '&';
        sq_buf_put_u8(out, (uint8_t)*at++);
        if (is_name && strncasecmp(at, password, strlen(password)) == 0) {
            sq_buf_put(out, at, strlen(password));
            sq_buf_put_text(out, mask);
            at += strcspn(at, "&");
        }
    }
}
