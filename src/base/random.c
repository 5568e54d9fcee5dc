/* base/random.c: getrandom(2), whole. */
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/status.h"

void sq_random_fill(void *out, size_t length)
{
    unsigned char *at = out;
    while (length > 0) {
        ssize_t got = getrandom(at, length, 0);
        if (got < 0 && errno == EINTR)
            continue;
        sq_assert(got > 0);
        at += got;
        length -= (size_t)got;
    }
}
