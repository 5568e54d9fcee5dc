/* tests/lib/scratch.h: a directory of a test's own. */
#ifndef SQ_TESTS_SCRATCH_H
#define SQ_TESTS_SCRATCH_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

/* Makes an empty directory below $TMPDIR. */
static inline void scratch_make_directory(char path[PATH_MAX])
{
    const char *parent = getenv("TMPDIR");
    snprintf(path, PATH_MAX, "%s/sqld-test-XXXXXX", parent != NULL && parent[0] != '\0' ? parent : "/tmp");
    char *made = mkdtemp(path);
    sq_assert(made != NULL);
}

/* Removes the files of a directory that has no directories in it; those named `but` stay. */
static inline void scratch_empty_directory(const char *path, const char *but)
{
    DIR *directory = opendir(path);
    sq_assert(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            (but != NULL && strcmp(entry->d_name, but) == 0))
            continue;
        int removed = unlinkat(dirfd(directory), entry->d_name, 0);
        sq_assert(removed == 0);
    }
    closedir(directory);
}

static inline void scratch_remove_directory(const char *path)
{
    scratch_empty_directory(path, NULL);
    int removed = rmdir(path);
    sq_assert(removed == 0);
}

#endif
