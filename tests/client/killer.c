/* tests/client/killer.c: preloaded into an application: kills it (SIGKILL) just before its KILL_AT-th call of a function that
 * leaves something behind: in files, in directories, with a server. Without KILL_AT it writes how many there were into the file
 * KILL_COUNT, when the process ends. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static long calls;

static void step(void)
{
    const char *at = getenv("KILL_AT");
    if (at != NULL && ++calls == strtol(at, NULL, 10))
        (void)kill(getpid(), SIGKILL);
    else if (at == NULL)
        calls++;
}

__attribute__((destructor)) static void report(void)
{
    const char *path = getenv("KILL_COUNT");
    long counted = calls;
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    if (file == NULL)
        return;
    (void)fprintf(file, "%ld\n", counted);
    (void)fclose(file);
}

#define REAL(name, result, parameters, arguments)                                                                      \
    result name parameters                                                                                             \
    {                                                                                                                  \
        result(*real) parameters;                                                                                      \
        *(void **)&real = dlsym(RTLD_NEXT, #name);                                                                     \
        step();                                                                                                        \
        return real arguments;                                                                                         \
    }

REAL(write, ssize_t, (int fd, const void *bytes, size_t length), (fd, bytes, length))
REAL(pwrite, ssize_t, (int fd, const void *bytes, size_t length, off_t at), (fd, bytes, length, at))
REAL(pwrite64, ssize_t, (int fd, const void *bytes, size_t length, off64_t at), (fd, bytes, length, at))
REAL(ftruncate, int, (int fd, off_t length), (fd, length))
REAL(ftruncate64, int, (int fd, off64_t length), (fd, length))
REAL(fsync, int, (int fd), (fd))
REAL(fdatasync, int, (int fd), (fd))
REAL(link, int, (const char *from, const char *to), (from, to))
REAL(rename, int, (const char *from, const char *to), (from, to))
REAL(unlink, int, (const char *path), (path))
REAL(mkostemp, int, (char *path, int flags), (path, flags))
REAL(send, ssize_t, (int fd, const void *bytes, size_t length, int flags), (fd, bytes, length, flags))
REAL(fchmod, int, (int fd, mode_t mode), (fd, mode))
REAL(flock, int, (int fd, int operation), (fd, operation))
