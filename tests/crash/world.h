/* tests/crash/world.h: a server at work: its sessions, clients that do the transactions of history.h and read what others
 * have done, and a sqlite3 shell that makes checkpoints beside it.
 *
 * Everything above the disk is real: sessions, layers, scheduler, checkpointer, the thread that syncs. The clients are
 * buffers, and one thread, the caller's, lets them take turns in a seeded order. A sync that another thread makes lasts
 * for a seeded number of turns (or until nobody can go on without it), so that others commit and read meanwhile. How the
 * server's own threads interleave is the machine's: a seed leads to the same conversations, not to the same instant.
 *
 * What clients do: transactions as single statements, in one Query, in several, pipelined in the extended protocol, after
 * a read; large ones that spill; tables that come and go; NOTIFY; what is rolled back, or fails; readers by row, by
 * aggregate, by COPY, in a snapshot, by error message, by column name without running anything; clients that hang up. */
#ifndef SQ_TESTS_CRASH_WORLD_H
#define SQ_TESTS_CRASH_WORLD_H

#include "disk.h"
#include "history.h"

struct world;

struct world_options {
    size_t session_count; /* the shell, if there is one, is one client more in the history */
    bool has_shell;
    bool has_lazy_client; /* client 0 runs with synchronous_commit=off: nothing it hears counts */
    bool is_hasty;        /* for tests of the tests: answers leave without waiting */
    bool has_slow_syncs;
};

/* Starts the server on `disk`'s directory `dir`. `last` (by client) is what is in the database. */
struct world *world_open(const char *dir, struct disk *disk, struct history *history, struct dice *dice,
                         const struct world_options *options, const uint32_t last[HISTORY_CLIENTS_MAX]);
/* One turn of somebody. */
void world_step(struct world *world);
/* Hangs all clients up and stops the server. */
void world_close(struct world *world);

/* Makes `dir`/main.db with the tables of the history. */
void world_make_database(const char *dir, unsigned page_bytes);

#endif
