/* client/exec/main.c: sqld-exec, which runs a program with the drop-in library in place of libsqlite3.
 *
 *     sqld-exec [--url URL] [--] PROGRAM [ARGUMENT]...
 *
 * It puts the library's directory in front of LD_LIBRARY_PATH, sets SQLD_URL, and becomes the program: no process is
 * left between. The library is looked for beside this program's own directory: ../lib/sqld (installed), ../lib (built).
 *
 * Exit codes as of env(1): 125 if something here is wrong, 126 if the program cannot be run, 127 if it is not found; else
 * the program's. */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_OURS = 125, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

static const char usage[] = "usage: sqld-exec [--url URL] [--] PROGRAM [ARGUMENT]...\n"
                            "\n"
                            "Runs PROGRAM with sqld's libsqlite3.so.0 in place of SQLite's.\n"
                            "  --url URL   databases are those of the server at URL (SQLD_URL); without it, only names "
                            "that are URLs, and stubs\n";

/* The directory of the library, into `to`. */
static bool library_find(char *to, size_t size)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (length < 0)
        return false;
    program[length] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(program, '/');
        if (slash == NULL)
            return false;
        *slash = '\0';
    }
    static const char *const places[] = {"lib/sqld", "lib"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char file[PATH_MAX + sizeof("/libsqlite3.so.0")];
        int made = snprintf(to, size, "%s/%s", program, places[i]);
        if (made < 0 || (size_t)made >= size)
            return false;
        (void)snprintf(file, sizeof(file), "%s/libsqlite3.so.0", to);
        if (access(file, R_OK) == 0)
            return true;
    }
    return false;
}

/* Puts `directory` in front of LD_LIBRARY_PATH. */
static bool path_prepend(const char *directory)
{
    const char *old = getenv("LD_LIBRARY_PATH");
    if (old == NULL || old[0] == '\0')
        return setenv("LD_LIBRARY_PATH", directory, 1) == 0;
    char *path;
    if (asprintf(&path, "%s:%s", directory, old) < 0)
        return false;
    bool is_set = setenv("LD_LIBRARY_PATH", path, 1) == 0;
    free(path);
    return is_set;
}

int main(int argc, char **argv)
{
    int at = 1;
    const char *url = NULL;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        if (strcmp(argv[at], "--help") == 0)
            return fputs(usage, stdout) >= 0 && fflush(stdout) == 0 ? 0 : EXIT_OURS;
        if (strcmp(argv[at], "--url") == 0 && at + 1 < argc) {
            url = argv[++at];
        } else if (strncmp(argv[at], "--url=", strlen("--url=")) == 0) {
            url = argv[at] + strlen("--url=");
        } else {
            (void)fprintf(stderr, "sqld-exec: what is '%s'?\n%s", argv[at], usage);
            return EXIT_OURS;
        }
    }
    if (at >= argc) {
        (void)fprintf(stderr, "sqld-exec: no program is named\n%s", usage);
        return EXIT_OURS;
    }
    char library[PATH_MAX];
    if (!library_find(library, sizeof(library))) {
        (void)fprintf(stderr, "sqld-exec: libsqlite3.so.0 is neither in ../lib/sqld nor in ../lib\n");
        return EXIT_OURS;
    }
    if (!path_prepend(library) || (url != NULL && setenv("SQLD_URL", url, 1) != 0)) {
        (void)fprintf(stderr, "sqld-exec: the environment cannot be set: %s\n", strerrordesc_np(errno));
        return EXIT_OURS;
    }
    execvp(argv[at], argv + at); /* banned-ok: to become the program that the user named is what sqld-exec is for */
    int failed = errno;
    (void)fprintf(stderr, "sqld-exec: '%s': %s\n", argv[at], strerrordesc_np(failed));
    return failed == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}
