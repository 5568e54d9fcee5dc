/* client/utf16.h: UTF-16 in native byte order, as the functions of SQLite's API whose names end in 16 take and give it. */
#ifndef SQ_CLIENT_UTF16_H
#define SQ_CLIENT_UTF16_H

#include <stdint.h>

/* `text`, which ends with a NUL, in the other encoding; what is malformed becomes U+FFFD. NULL: no memory. The caller
 * frees the result. */
uint16_t *client_utf16_from_utf8(const char *text);
char *client_utf16_to_utf8(const void *text);

#endif
