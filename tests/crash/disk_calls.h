/* tests/crash/disk_calls.h: read by the compiler before each source of src/wal/ in the crash tests (CMakeLists.txt): the
 * room's own files lie on a disk that forgets, as SQLite's do. The files of a log are of a disk that was made for its
 * directory. */
#ifndef SQ_TESTS_CRASH_DISK_CALLS_H
#define SQ_TESTS_CRASH_DISK_CALLS_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

int disk_call_open(const char *path, int flags, ...);
int disk_call_openat(int dir_fd, const char *name, int flags, ...);
int disk_call_close(int fd);
ssize_t disk_call_pwrite(int fd, const void *bytes, size_t length, off_t offset);
ssize_t disk_call_pread(int fd, void *bytes, size_t length, off_t offset);
int disk_call_ftruncate(int fd, off_t length);
int disk_call_renameat(int from_fd, const char *from, int to_fd, const char *to);
int disk_call_unlinkat(int dir_fd, const char *name, int flags);

/* fsync(), fdatasync(), unlink() and rename() are disk.c's for the whole program. */
#ifndef DISK_CALLS_ARE_HERE
#define open disk_call_open
#define openat disk_call_openat
#define close disk_call_close
#define pwrite disk_call_pwrite
#define pread disk_call_pread
#define ftruncate disk_call_ftruncate
#define renameat disk_call_renameat
#define unlinkat disk_call_unlinkat
#endif

#endif
