/* tests/crash/disk_calls.c: the system calls of src/wal/, handed to disk.c, which knows paths and not directories. */
#define DISK_CALLS_ARE_HERE
#include "disk_calls.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "disk_internal.h"

static void resolve(int dir_fd, const char *name, char ret_path[PATH_MAX])
{
    if (dir_fd == AT_FDCWD || name[0] == '/') {
        snprintf(ret_path, PATH_MAX, "%s", name);
        return;
    }
    char link[64], dir[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", dir_fd);
    ssize_t length = readlink(link, dir, sizeof(dir) - 1);
    sq_assert(length > 0);
    dir[length] = '\0';
    int total = snprintf(ret_path, PATH_MAX, "%s/%s", dir, name);
    sq_assert(total < PATH_MAX);
}

/* Directories are opened to be listed or synced. To the disk, an existing file that is opened with O_TRUNC is cut. */
static int open_path(const char *path, int flags, int mode)
{
    if ((flags & O_DIRECTORY) != 0)
        return open(path, flags, mode);
    int fd = disk_open(path, flags & ~O_TRUNC, mode);
    struct stat facts;
    if (fd < 0 || (flags & O_TRUNC) == 0 || fstat(fd, &facts) != 0 || facts.st_size == 0)
        return fd;
    if (disk_truncate(fd, 0) == 0)
        return fd;
    (void)disk_close(fd);
    return -1;
}

int disk_call_open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    int mode = (flags & O_CREAT) != 0 ? va_arg(rest, int) : 0;
    va_end(rest);
    return open_path(path, flags, mode);
}

int disk_call_openat(int dir_fd, const char *name, int flags, ...)
{
    char path[PATH_MAX];
    va_list rest;
    va_start(rest, flags);
    int mode = (flags & O_CREAT) != 0 ? va_arg(rest, int) : 0;
    va_end(rest);
    resolve(dir_fd, name, path);
    return open_path(path, flags, mode);
}

int disk_call_close(int fd)
{
    return disk_close(fd);
}

ssize_t disk_call_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    return disk_pwrite(fd, bytes, length, offset);
}

ssize_t disk_call_pread(int fd, void *bytes, size_t length, off_t offset)
{
    return disk_pread(fd, bytes, length, offset);
}

int disk_call_ftruncate(int fd, off_t length)
{
    return disk_truncate(fd, length);
}

int disk_call_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    char from_path[PATH_MAX], to_path[PATH_MAX];
    resolve(from_fd, from, from_path);
    resolve(to_fd, to, to_path);
    return rename(from_path, to_path);
}

int disk_call_unlinkat(int dir_fd, const char *name, int flags)
{
    char path[PATH_MAX];
    sq_assert(flags == 0);
    resolve(dir_fd, name, path);
    return unlink(path);
}
