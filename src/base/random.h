/* base/random.h: unpredictable bytes from the kernel. Any thread. */
#ifndef SQ_BASE_RANDOM_H
#define SQ_BASE_RANDOM_H

#include <stddef.h>

/* Fills `out`. Never fails on a kernel that sqld supports; a kernel that cannot give random bytes ends the process,
 * because secrets must never be guessable. */
void sq_random_fill(void *out, size_t length);

#endif
