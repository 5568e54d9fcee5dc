/* client/naming.h: which database a name means, given to sqlite3_open*(): the real library's, or one of a server.
 *
 * In this order:
 *   1. A URL (postgresql://, postgres://, sqld://), also behind "file:", is remote.
 *   2. A name with a VFS of its own (argument or ?vfs=) is local.
 *   3. An in-memory database is local; remote with SQLD_MAP_MEMORY=1 and SQLD_URL. If its cache is to be shared, it is one
 *      for all connections of this process that give it the same name. A temporary one ("") is local.
 *   4. A stub file is remote: a file of less than 512 bytes that begins with "sqld-stub ".
 *   5. Without SQLD_URL everything else is local.
 *   6. A name below a directory of SQLD_LOCAL, and what exists and is not a regular file, is local.
 *   7. With SQLD_MAP: a name that no pattern matches is local. The database has the name that the pattern gives it.
 *      Without: the database has the file's name, without directory and extension. Bytes that a server does not take in
 *      a name (all but letters, digits, '_', '-', '.'; the last two in front) become '_', with a number behind the name.
 *   8. A file that exists and is not empty is local, with a warning; remote with SQLD_IMPORT=1.
 *   9. Everything else is remote.
 *
 * SQLD_MAP is a list PATTERN[=DATABASE][:…]; '*' in a pattern stands for any characters but '/', and '*' in DATABASE for
 * what the first '*' of the pattern has matched. A pattern with a '/' is compared with the absolute path, another one
 * with the file's name. SQLD_LOCAL is a list of directories, with ':' between them; default CLIENT_NAMING_LOCAL_DEFAULT.
 *
 * Invariant: a file that may be an SQLite database is never opened here. To close it would release all locks of this
 * process on it (fcntl(2), "POSIX record locks"), under the feet of other connections. An SQLite file is empty or has at
 * least 512 bytes; only what is between the two is opened. */
#ifndef SQ_CLIENT_NAMING_H
#define SQ_CLIENT_NAMING_H

#include <stdbool.h>

#include "base/status.h"

enum {
    CLIENT_DATABASE_NAME_MAX = 63, /* bytes, as PostgreSQL's NAMEDATALEN - 1 */
    /* of a database file that is not empty: the smallest page, https://sqlite.org/fileformat.html */
    CLIENT_DATABASE_FILE_BYTES_MIN = 512,
};

/* Directories with databases that belong to programs and libraries, not to the application's data. */
#define CLIENT_NAMING_LOCAL_DEFAULT "/usr:/proc:/sys:/dev"

/* The environment's part; NULL: not set. */
struct client_naming {
    const char *url;   /* SQLD_URL */
    const char *map;   /* SQLD_MAP */
    const char *local; /* SQLD_LOCAL */
    bool has_map_memory;
    bool has_import;
    bool has_fresh; /* SQLD_FRESH: a file that is missing stands for a new database, whatever is on the server */
};

enum client_place {
    CLIENT_LOCAL,
    CLIENT_LOCAL_THOUGH_MAPPED, /* rule 8: worth a warning */
    CLIENT_REMOTE_URL,          /* rule 1 */
    CLIENT_REMOTE_STUB,         /* rule 4 */
    CLIENT_REMOTE_MAPPED,       /* rules 3, 7 to 9 */
};

struct client_name {
    enum client_place place;
    char *database; /* what it is called on the server; of a stub, if that does not say it; NULL: local, or a URL */
    char *path;     /* CLIENT_REMOTE_STUB and _MAPPED: the file, from the root; NULL: in memory */
    char *url;      /* CLIENT_REMOTE_URL: it, without "file:" */
    char *share;    /* in memory, and shared: what it is known by to the server; NULL: not shared */
    int mode;       /* SQLITE_OPEN_READONLY, … that ?mode= of a URI says; 0: nothing */
    bool has_file;  /* there is a file of that name; for _MAPPED, what is in it was not looked at */
    bool is_empty;  /* and it is empty */
};

/* Reads the environment. The texts belong to it. A set-uid program has none. */
void client_naming_read(struct client_naming *ret_naming);

/* Decides. `filename`, `flags` and `vfs` are sqlite3_open_v2()'s; the first and the last may be NULL.
 * OK: *ret_name is set; free it with client_name_done(). SQ_NOMEM. SQ_NOT_FOUND: its directory does not exist. SQ_INVALID:
 * SQLD_MAP or SQLD_LOCAL makes no sense. SQ_IO: its directory cannot be looked at. */
SQ_MUST_USE sq_status client_naming_decide(const struct client_naming *naming, const char *filename, int flags,
                                           const char *vfs, struct sq_error *err, struct client_name *ret_name);
void client_name_done(struct client_name *name);

/* Writes `url` for people: without its password and its query, cut to `size` bytes with the NUL. Returns `to`. */
const char *client_url_show(const char *url, char *to, size_t size);

#endif
