/* client/stub.c: see stub.h. */
#include "client/stub.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STUB_BYTES_MAX = 511, FILE_MODE = 0644, TRIES_MAX = 100 };

static const char first_line[] = "sqld-stub 1\n";
static const char database_word[] = "database ";

static void freep(char **text)
{
    free(*text);
}

void client_stub_done(struct client_stub *stub)
{
    if (stub->fd >= 0 && stub->database == NULL && stub->path != NULL)
        (void)unlink(stub->path); /* locked, so it is still ours */
    if (stub->fd >= 0)
        (void)close(stub->fd);
    free(stub->path);
    free(stub->url);
    free(stub->database);
    *stub = (struct client_stub){.fd = -1};
}

char *client_stub_url(const char *url)
{
    char *copy = strdup(url);
    char *host = copy != NULL ? strstr(copy, "://") : NULL;
    if (host == NULL)
        return copy;
    host += 3;
    char *end = host + strcspn(host, "/?#");
    char *at = memrchr(host, '@', (size_t)(end - host));
    char *colon = at != NULL ? memchr(host, ':', (size_t)(at - host)) : NULL;
    if (colon != NULL)
        memmove(colon, at, strlen(at) + 1);
    /* A password may also be a parameter. */
    char *parameter = strchr(copy, '?');
    while (parameter != NULL && *parameter != '\0') {
        if (strncmp(parameter + 1, "password=", strlen("password=")) != 0) {
            parameter = strchr(parameter + 1, '&');
            continue;
        }
        char *next = parameter + 1 + strcspn(parameter + 1, "&");
        if (*next == '\0')
            *parameter = '\0';
        else
            memmove(parameter + 1, next + 1, strlen(next + 1) + 1);
    }
    return copy;
}

void client_stub_hash(const char *const *texts, size_t count, char to[CLIENT_STUB_HASH_BYTES])
{
    /* FNV-1a of 128 bits. */
    const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;
    unsigned __int128 hash = (unsigned __int128)0x6c62272e07bb0142 << 64 | 0x62b821756295c58d;
    for (size_t i = 0; i < count; i++) {
        for (const char *at = texts[i];; at++) {
            hash = (hash ^ (unsigned char)*at) * prime;
            if (*at == '\0')
                break;
        }
    }
    (void)snprintf(to, CLIENT_STUB_HASH_BYTES, "%016llx%016llx", (unsigned long long)(hash >> 64),
                   (unsigned long long)hash);
}

void client_stub_origin(const char *path, char to[CLIENT_ORIGIN_BYTES])
{
    char machine[64] = "", host[HOST_NAME_MAX + 1] = "";
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) { /* a machine without one has its name */
        if (read(fd, machine, sizeof(machine) - 1) < 0)
            machine[0] = '\0';
        (void)close(fd);
    }
    (void)gethostname(host, sizeof(host) - 1);
    /* A collision would be with a path of one's own. */
    const char *const parts[] = {machine, host, path};
    client_stub_hash(parts, sizeof(parts) / sizeof(parts[0]), to);
}

/* --- Reading --- */

/* The line that begins at *at, which goes behind it. NULL: there is none. */
static char *take_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    if (end == NULL)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return line;
}

/* Fills url and database of *stub from its file. */
static sq_status stub_read(int fd, struct client_stub *stub, struct sq_error *err)
{
    char text[STUB_BYTES_MAX + 1];
    ssize_t length = pread(fd, text, STUB_BYTES_MAX, 0);
    if (length < 0)
        return sq_fail_errno(err, errno, "'%s'", stub->path);
    text[length] = '\0';
    if (strncmp(text, first_line, strlen(first_line)) != 0)
        return sq_fail(err, SQ_INVALID, "'%s' is the stub of another version of sqld", stub->path);
    char *at = text + strlen(first_line);
    const char *url = take_line(&at), *line = take_line(&at);
    if (url == NULL || (line != NULL && strncmp(line, database_word, strlen(database_word)) != 0))
        return sq_fail(err, SQ_INVALID, "'%s' is a stub file, but damaged", stub->path);
    free(stub->url);
    free(stub->database);
    stub->url = strdup(url);
    stub->database = line != NULL ? strdup(line + strlen(database_word)) : NULL;
    if (stub->url == NULL || (line != NULL && stub->database == NULL))
        return sq_fail(err, SQ_NOMEM, "a stub file");
    return SQ_OK;
}

/* A file that cannot be opened, which is not there for SQLite either. */
static sq_status fail_open(struct sq_error *err, int errno_value, const char *path)
{
    sq_status status = sq_fail(err, SQ_NOT_FOUND, "'%s': %s", path, strerrordesc_np(errno_value));
    err->system_errno = errno_value;
    return status;
}

/* --- Making --- */

static sq_status write_all(int fd, const char *text, const char *path, struct sq_error *err)
{
    size_t length = strlen(text);
    ssize_t written = write(fd, text, length);
    if (written < 0)
        return sq_fail_errno(err, errno, "'%s'", path);
    return (size_t)written == length ? SQ_OK : sq_fail(err, SQ_IO, "'%s': it was not written as a whole", path);
}

/* Puts the stub without a database under its name: nobody sees half of it. What is there already stays, unless it is
 * empty. */
static sq_status stub_put(const struct client_stub *stub, const char *url, const struct stat *empty,
                          struct sq_error *err)
{
    SQ_CLEANUP(freep) char *name = NULL;
    SQ_CLEANUP(freep) char *plain = client_stub_url(url);
    SQ_CLEANUP(freep) char *text = NULL;
    if (plain == NULL || asprintf(&name, "%s.sqld-XXXXXX", stub->path) < 0 ||
        asprintf(&text, "%s%s\n", first_line, plain) < 0)
        return sq_fail(err, SQ_NOMEM, "a stub file");
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return fail_open(err, errno, stub->path);
    mode_t mask = umask(0);
    (void)umask(mask);
    sq_status status = write_all(fd, text, name, err);
    if (status == SQ_OK && fchmod(fd, empty != NULL ? empty->st_mode & 0777 : FILE_MODE & ~mask) < 0)
        status = sq_fail_errno(err, errno, "'%s'", name);
    (void)close(fd);
    if (status == SQ_OK && empty != NULL && rename(name, stub->path) < 0)
        status = sq_fail_errno(err, errno, "'%s'", stub->path);
    if (status == SQ_OK && empty == NULL && link(name, stub->path) < 0 && errno != EEXIST)
        status = sq_fail_errno(err, errno, "'%s'", stub->path);
    (void)unlink(name);
    return status;
}

/* The names in the directory of `path` are on disk; where that cannot be had, they are when the system writes them. */
static void sync_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash != NULL ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd = directory != NULL ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
    free(directory);
}

sq_status client_stub_replace(const char *path, const char *url, const char *database, mode_t mode,
                              struct sq_error *err)
{
    SQ_CLEANUP(freep) char *name = NULL;
    SQ_CLEANUP(freep) char *plain = client_stub_url(url);
    SQ_CLEANUP(freep) char *text = NULL;
    if (plain == NULL || asprintf(&name, "%s.sqld-XXXXXX", path) < 0 ||
        asprintf(&text, "%s%s\n%s%s\n", first_line, plain, database_word, database) < 0)
        return sq_fail(err, SQ_NOMEM, "a stub file");
    if (strlen(text) > STUB_BYTES_MAX)
        return sq_fail(err, SQ_LIMIT, "URL and database's name are too long for a stub file");
    int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return sq_fail_errno(err, errno, "'%s'", name);
    sq_status status = write_all(fd, text, name, err);
    if (status == SQ_OK && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
        status = sq_fail_errno(err, errno, "'%s'", name);
    (void)close(fd);
    sync_directory(path); /* what was done to the file before comes first */
    if (status == SQ_OK && rename(name, path) < 0)
        status = sq_fail_errno(err, errno, "'%s'", path);
    if (status == SQ_OK)
        sync_directory(path);
    else
        (void)unlink(name);
    return status;
}

/* Whether `fd` is still the file at `path`. */
static bool is_same_file(int fd, const char *path)
{
    struct stat here, there;
    return fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_dev == there.st_dev &&
           here.st_ino == there.st_ino;
}

/* Reads a stub that is there; one without a database is locked first. SQ_BUSY: it was replaced meanwhile, again. */
static sq_status stub_take(struct client_stub *stub, struct sq_error *err)
{
    int fd = open(stub->path, O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM))
        fd = open(stub->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT ? SQ_BUSY : fail_open(err, errno, stub->path);
    sq_status status = stub_read(fd, stub, err);
    if (status == SQ_OK && stub->database == NULL) {
        int locked;
        while ((locked = flock(fd, LOCK_EX)) < 0 && errno == EINTR)
            continue;
        if (locked < 0)
            status = sq_fail_errno(err, errno, "'%s'", stub->path);
        else if (!is_same_file(fd, stub->path))
            status = SQ_BUSY;
        else
            status = stub_read(fd, stub, err);
    }
    if (status == SQ_OK && stub->database == NULL)
        stub->fd = fd;
    else
        (void)close(fd);
    return status;
}

sq_status client_stub_open(const char *path, const char *url, struct sq_error *err, struct client_stub *ret_stub)
{
    struct client_stub stub = {.fd = -1, .path = strdup(path)};
    if (stub.path == NULL)
        return sq_fail(err, SQ_NOMEM, "a stub file");
    sq_status status = SQ_BUSY;
    for (int i = 0; i < TRIES_MAX && status == SQ_BUSY; i++) {
        struct stat info;
        bool exists = stat(path, &info) == 0;
        if (exists && (!S_ISREG(info.st_mode) || info.st_size > STUB_BYTES_MAX))
            status = sq_fail(err, SQ_INVALID, "'%s' has contents that are no stub file", path);
        else if (exists && info.st_size > 0)
            status = stub_take(&stub, err);
        else if (url == NULL)
            status = fail_open(err, ENOENT, path);
        else if ((status = stub_put(&stub, url, exists ? &info : NULL, err)) == SQ_OK)
            status = SQ_BUSY; /* now it is there */
    }
    if (status != SQ_OK) {
        client_stub_done(&stub);
        return status == SQ_BUSY ? sq_fail(err, SQ_BUSY, "'%s' is made and deleted all the time", path) : status;
    }
    *ret_stub = stub;
    return SQ_OK;
}

sq_status client_stub_finish(struct client_stub *stub, const char *database, struct sq_error *err)
{
    sq_assert(stub->fd >= 0 && stub->database == NULL);
    SQ_CLEANUP(freep) char *line = NULL;
    SQ_CLEANUP(freep) char *copy = strdup(database);
    if (copy == NULL || asprintf(&line, "%s%s\n", database_word, database) < 0)
        return sq_fail(err, SQ_NOMEM, "a stub file");
    struct stat info;
    if (fstat(stub->fd, &info) < 0)
        return sq_fail_errno(err, errno, "'%s'", stub->path);
    if ((size_t)info.st_size + strlen(line) > STUB_BYTES_MAX)
        return sq_fail(err, SQ_LIMIT, "URL and database's name are too long for a stub file");
    if (lseek(stub->fd, 0, SEEK_END) < 0)
        return sq_fail_errno(err, errno, "'%s'", stub->path);
    SQ_TRY(write_all(stub->fd, line, stub->path, err));
    stub->database = SQ_STEAL(copy);
    (void)close(stub->fd);
    stub->fd = -1;
    return SQ_OK;
}
