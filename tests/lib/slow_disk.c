/* tests/lib/slow_disk.c: preloaded into a server whose disk a test wants to hold up or break. In the directory that
 * SQLD_TEST_DISK names, the file `hold` makes syncs wait until it is gone, and `fail` makes them fail with EIO. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int fsync(int fd);
int fdatasync(int fd);

static int is_there(const char *name)
{
    char path[PATH_MAX];
    const char *dir = getenv("SQLD_TEST_DISK");
    snprintf(path, sizeof(path), "%s/%s", dir != NULL ? dir : "", name);
    return access(path, F_OK) == 0;
}

static int sync_descriptor(int fd, long call)
{
    struct timespec pause = {.tv_nsec = 1000 * 1000};
    while (is_there("hold"))
        nanosleep(&pause, NULL); /* banned-ok: the test removes a file when it is time */
    if (is_there("fail")) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fsync(int fd)
{
    return sync_descriptor(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_descriptor(fd, SYS_fdatasync);
}
