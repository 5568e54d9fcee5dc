/* repl/node_url.h: the hosts of a primary's URL (sqld://user@one:1,two:2/?…), one at a time. Only those before the first '/' or '?' are told apart: a list
 * in a parameter counts as one. Any thread. */
#ifndef SQ_REPL_NODE_URL_H
#define SQ_REPL_NODE_URL_H

#include <stdbool.h>
#include <stddef.h>

/* At least 1. */
size_t node_url_host_count(const char *url);
/* The URL with host `index` in the first place, alone or before the others; to be freed with free(). NULL without memory. */
char *node_url_choose(const char *url, size_t index, bool is_alone);

#endif
