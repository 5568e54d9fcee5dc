/* pgclient/passfile.c: the password file (PostgreSQL manual, "The Password File"): lines of host:port:database:user:password,
 * of which the first that fits counts. '*' fits everything; '\' before ':' and '\' makes them ordinary. Lines that begin
 * with '#' are comments. The file must be readable by its owner alone, or it is not used, and errors say so. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgclient/auth_internal.h"

enum { PASSFILE_FIELD_COUNT = 4, PASSFILE_MODE_EXCESS = 0077 };

static sq_status fail_memory(struct sq_error *err)
{
    return sq_fail(err, SQ_NOMEM, "out of memory for the password file");
}

/* passfile, PGPASSFILE, ~/.pgpass; NULL in *ret_path: there is no home. */
static sq_status find_path(const struct pgclient_target *target, struct sq_error *err, char **ret_path)
{
    static const char name[] = "/.pgpass";
    const char *named = target->values[PGCLIENT_PASSFILE];
    char *home = NULL;
    if (named == NULL)
        SQ_TRY(pgclient_home(err, &home));
    if (named == NULL && home == NULL)
        return SQ_OK;
    const char *directory = named != NULL ? named : home;
    size_t bytes = strlen(directory) + sizeof(name);
    char *path = malloc(bytes);
    if (path != NULL)
        (void)snprintf(path, bytes, "%s%s", directory, named != NULL ? "" : name);
    free(home);
    if (path == NULL)
        return fail_memory(err);
    *ret_path = path;
    return SQ_OK;
}

/* Whether the field at *at fits `value`; *at is then behind its ':'. */
static bool field_fits(const char **at, const char *value)
{
    const char *from = *at;
    if (from[0] == '*' && from[1] == ':') {
        *at += 2;
        return true;
    }
    while (*from != '\0' && *from != ':') {
        if (*from == '\\' && from[1] != '\0')
            from++;
        if (*from != *value)
            return false;
        from++;
        value++;
    }
    *at = from + 1;
    return *from == ':' && *value == '\0';
}

/* The password of a line that fits, with its '\' resolved, in place; NULL: the line does not. */
static char *line_match(char *line, const char *const fields[PASSFILE_FIELD_COUNT])
{
    const char *at = line;
    for (size_t i = 0; i < PASSFILE_FIELD_COUNT; i++) {
        if (!field_fits(&at, fields[i]))
            return NULL;
    }
    char *password = line + (at - line);
    char *to = password;
    for (const char *from = password; *from != '\0'; from++) {
        if (*from == '\\' && from[1] != '\0')
            from++;
        *to++ = *from;
    }
    *to = '\0';
    return password;
}

static void line_wipe(char *line, size_t bytes)
{
    if (line != NULL)
        explicit_bzero(line, bytes);
    free(line);
}

static sq_status search(FILE *file, const char *const fields[PASSFILE_FIELD_COUNT], struct pgclient_auth *auth,
                        struct sq_error *err)
{
    char *line = NULL;
    size_t line_bytes = 0;
    ssize_t length;
    sq_status status = SQ_OK;
    errno = 0;
    while ((length = getline(&line, &line_bytes, file)) >= 0) {
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
            line[--length] = '\0';
        const char *password = line[0] != '#' ? line_match(line, fields) : NULL;
        if (password == NULL || password[0] == '\0')
            continue;
        auth->password = strdup(password);
        if (auth->password == NULL)
            status = fail_memory(err);
        break;
    }
    if (length < 0 && errno == ENOMEM)
        status = fail_memory(err);
    line_wipe(line, line_bytes);
    return status;
}

/* What speaks against using the file; NULL: nothing. */
static const char *find_flaw(int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return "cannot be looked at";
    if (!S_ISREG(info.st_mode))
        return "is not a plain file";
    return (info.st_mode & PASSFILE_MODE_EXCESS) != 0 ? "can be read by others (chmod 0600 it)" : NULL;
}

sq_status pgclient_passfile_find(const struct pgclient_attempt *attempt, struct pgclient_auth *auth,
                                 struct sq_error *err)
{
    sq_assert(auth->password == NULL && auth->passfile == NULL);
    const struct pgclient_target *target = attempt->target;
    SQ_TRY(find_path(target, err, &auth->passfile));
    if (auth->passfile == NULL)
        return SQ_OK;
    /* O_NONBLOCK: it might be a named pipe. */
    int fd = open(auth->passfile, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        auth->passfile_flaw = errno == ENOENT || errno == ENOTDIR ? "is not there" : "cannot be opened";
        return SQ_OK;
    }
    auth->passfile_flaw = find_flaw(fd);
    FILE *file = auth->passfile_flaw == NULL ? fdopen(fd, "r") : NULL;
    if (file == NULL) {
        close(fd);
        return auth->passfile_flaw == NULL ? fail_memory(err) : SQ_OK;
    }
    char port[8];
    (void)snprintf(port, sizeof(port), "%u", (unsigned)attempt->host->port);
    const char *user = target->values[PGCLIENT_USER];
    /* A server takes the user's name where no database is named. */
    const char *const fields[PASSFILE_FIELD_COUNT] = {attempt->host->name, port,
                                                      attempt->database != NULL ? attempt->database : user, user};
    char buffer[BUFSIZ];
    (void)setvbuf(file, buffer, _IOFBF, sizeof(buffer));
    sq_status status = search(file, fields, auth, err);
    (void)fclose(file);
    explicit_bzero(buffer, sizeof(buffer));
    if (status == SQ_OK && auth->password == NULL)
        auth->passfile_flaw = "has no line for this login";
    return status;
}
