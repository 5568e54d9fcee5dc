/* engine/database.h: the databases of a data directory.
 *
 * A data directory holds one plain SQLite file NAME.db for each database, and `sqld.lock`, which keeps a second server
 * out. NAME.origin beside it says for whom it was made, if somebody has said so; the files in NAME.db-ltx/ are its log, if one is kept.
 * They go and move with it. The registry knows which databases exist; a `struct engine_database` is one of them while somebody uses it.
 *
 * Lifetime: the registry outlives every database; a database is counted with _ref/_unref, and one that is in use cannot
 * be dropped. Threads: all functions may be called from any thread. */
#ifndef SQ_ENGINE_DATABASE_H
#define SQ_ENGINE_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

struct engine_durability;
struct engine_follower_factory;
struct engine_registry;
struct engine_database;

#define ENGINE_PRIVATE_NAME ":memory:" /* no name that a file could have */

enum {
    ENGINE_DATABASE_NAME_MAX = 63, /* bytes, as PostgreSQL's NAMEDATALEN - 1 */
    ENGINE_ORIGIN_MAX = 32,        /* characters of an origin */
    ENGINE_SHARE_MAX = 64,         /* of what a shared database in memory is known by */
};

/* Process-wide settings of SQLite; once, before anything else. `log_cb` (may be NULL) gets what SQLite logs about
 * itself: recovery, corruption, failed system calls. It is called from any thread. */
SQ_MUST_USE sq_status engine_init(void (*log_cb)(int code, const char *message), struct sq_error *err);

/* How many bytes of a database file are mapped instead of read (see vfs.h); before engine_init(). 0, if this is not called.
 * (sqlite.org/mmap.html: the map is only read from; a disk that fails under it ends the process.) */
SQ_MUST_USE sq_status engine_set_mmap(int64_t bytes, struct sq_error *err);
/* How much each connection that is opened from now on may keep of its database in its own cache; 0: SQLite's default.
 * What a statement has changed may need more while it runs, up to where SQLite writes it to the log early. Any thread. */
void engine_set_cache(size_t bytes);
size_t engine_cache_bytes(void);

/* Opens (or makes) the data directory, locks it, and makes `default_name` if it does not exist. */
SQ_MUST_USE sq_status engine_registry_open(const char *data_dir, const char *default_name, struct sq_error *err,
                                           struct engine_registry **ret_registry);
/* The same without making any database. */
SQ_MUST_USE sq_status engine_registry_open_as_is(const char *data_dir, const char *default_name, struct sq_error *err,
                                                 struct engine_registry **ret_registry);
/* One who wants to know which databases are made and dropped; a renamed one is both. Called under the registry's mutex, which
 * it must not want: it takes a note. */
enum engine_registry_change {
    ENGINE_DATABASE_MADE,
    ENGINE_DATABASE_GONE,
    ENGINE_DATABASE_WANTED_UNUSED, /* it was to be dropped or renamed, but is in use: perhaps only by the one who watches */
};
struct engine_registry_watch {
    void (*changed_cb)(struct engine_registry_watch *watch, const char *name, enum engine_registry_change change);
};
/* NULL: nobody. Before other threads use the registry, or after. */
void engine_registry_set_watch(struct engine_registry *registry, struct engine_registry_watch *watch);
/* Who follows the databases that are opened from now on (engine/follower.h); NULL: nobody. It outlives the registry. Before other threads
 * use the registry. */
void engine_registry_set_follower_factory(struct engine_registry *registry, struct engine_follower_factory *factory);
/* All databases must have been given back. NULL is allowed. */
void engine_registry_free(struct engine_registry *registry);

const char *engine_registry_default_name(const struct engine_registry *registry);
const char *engine_registry_data_dir(const struct engine_registry *registry); /* an absolute path */

/* Whether a name can be a database's: 1..63 letters, digits, '_', '-', '.', not starting with '.' or '-'. The rule keeps names
 * inside the data directory and readable in a shell. */
bool engine_database_name_is_valid(const char *name);

/* A counted reference to the database `name`. No such database: SQ_NOT_FOUND, 3D000. */
SQ_MUST_USE sq_status engine_database_open(struct engine_registry *registry, const char *name, struct sq_error *err,
                                           struct engine_database **ret_database);
/* A reference to a database in memory, which no file and no name belongs to; it has no durability point. `share` "": a new,
 * empty one, which is where its one connection is. Else the one of all who say the same hexadecimal digits (ENGINE_SHARE_MAX
 * at most), which is there while somebody has a connection to it: those share SQLite's cache, and its locks on tables. */
SQ_MUST_USE sq_status engine_database_open_private(struct engine_registry *registry, const char *share,
                                                   struct sq_error *err, struct engine_database **ret_database);
bool engine_database_is_private(const struct engine_database *database);
bool engine_database_is_shared(const struct engine_database *database); /* a private one, with `share` */
void engine_database_ref(struct engine_database *database);
void engine_database_unref(struct engine_database *database);

/* Opens the database's durability point, if it is not open yet: with the first connection. */
SQ_MUST_USE sq_status engine_database_start(struct engine_database *database, struct sq_error *err);
/* NULL before engine_database_start() has succeeded, and for a private database; then it stays as long as the caller's
 * reference. */
struct engine_durability *engine_database_durability(const struct engine_database *database);
/* Closes databases that nobody has used for `idle_us` microseconds; until then the last user's files stay open. */
void engine_registry_close_idle(struct engine_registry *registry, int64_t idle_us);

/* How often this server has changed the database's schema since the database was opened. */
uint64_t engine_database_generation(const struct engine_database *database);
void engine_database_note_schema(struct engine_database *database);

const char *engine_database_name(const struct engine_database *database);
const char *engine_database_path(const struct engine_database *database);

bool engine_database_exists(struct engine_registry *registry, const char *name);

/* Makes a new empty database, durable when the call returns. Exists already: SQ_EXISTS, 42P04. */
SQ_MUST_USE sq_status engine_database_create(struct engine_registry *registry, const char *name, struct sq_error *err);
/* For clients that stand for a program with files of its own: makes sure that there is a database for `name`, and says which
 * it is. `origin` ("": none) is who asks: a place that has had a file of that name. It is kept beside the database.
 *   is_fresh      a new one, under another name if there is one: NAME_2, NAME_3, …
 *   no `origin`   the one of that name; a new one if there is none
 *   `origin`      the same, but one that was made for that origin is not opened again: its file must have been deleted, so
 *                 it is kept as NAME_deleted_1, …, and a new one is made. If somebody still uses it, a fresh one is made. */
SQ_MUST_USE sq_status engine_database_make(struct engine_registry *registry, const char *name, bool is_fresh,
                                           const char *origin, struct sq_error *err,
                                           char ret_name[ENGINE_DATABASE_NAME_MAX + 1]);
/* Removes a database and its files. In use: SQ_BUSY, 55006. Not there: SQ_NOT_FOUND, 3D000. */
SQ_MUST_USE sq_status engine_database_drop(struct engine_registry *registry, const char *name, struct sq_error *err);
SQ_MUST_USE sq_status engine_database_rename(struct engine_registry *registry, const char *name, const char *new_name,
                                             struct sq_error *err);

/* For replicas. Puts the database file `file`, in WAL mode and without a WAL, on the same file system and on disk, in the place of database `name`'s; its log
 * stays. The former file goes to `aside`, with all that was committed; NULL: is removed. In use: SQ_BUSY, 55006. Durable when it returns. */
SQ_MUST_USE sq_status engine_database_install(struct engine_registry *registry, const char *name, const char *file,
                                              const char *aside, struct sq_error *err);
/* Like drop, for any database, also one that has a log and no file; `aside` as above. */
SQ_MUST_USE sq_status engine_database_remove(struct engine_registry *registry, const char *name, const char *aside,
                                             struct sq_error *err);

/* Calls `each_cb` with every database's name and file size in bytes, by name. The registry is not locked meanwhile. */
SQ_MUST_USE sq_status engine_registry_list(struct engine_registry *registry, struct sq_error *err, void *context,
                                           void (*each_cb)(void *context, const char *name, int64_t bytes));

#endif
