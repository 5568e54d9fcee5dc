/* threads.c: one connection used by many threads, many connections used by one each, interrupts from other threads and from
 * signal handlers; on a server's database. Also what the sanitizers see of the drop-in: test_threads.py.
 *
 *     threads URL PART    "shared", "many", "calls", "tables" count what they were told was inserted, and print it; "interrupt" and
 *                         "signal" print nothing. What must not happen is said on standard error, with exit code 1. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOST = SQLITE_IOERR | 200 << 8, THREADS = 8, INSERTS = 40, INTERRUPTS = 20 };

static const char *url;
static atomic_int inserted;

static void die(sqlite3 *db, const char *what, int code)
{
    fprintf(stderr, "%s: %d %s\n", what, code, db != NULL ? sqlite3_errmsg(db) : "");
    exit(1);
}

static void check(sqlite3 *db, const char *what, int code, int wanted)
{
    if (code != wanted)
        die(db, what, code);
}

static sqlite3 *connect_to(void)
{
    sqlite3 *db = NULL;
    check(db, "open",
          sqlite3_open_v2(url, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_EXRESCODE, NULL),
          SQLITE_OK);
    sqlite3_busy_timeout(db, 60000);
    return db;
}

static void run_threads(void *(*body)(void *), void *argument)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, body, argument) != 0)
            die(NULL, "pthread_create", i);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* Done or lost; nothing else. */
static void note(sqlite3 *db, const char *what, int code)
{
    if (code == SQLITE_DONE || code == SQLITE_OK)
        atomic_fetch_add(&inserted, 1);
    else if (code != LOST)
        die(db, what, code);
}

/* --- One connection --- */

static void *use_shared(void *argument)
{
    sqlite3 *db = argument;
    sqlite3_stmt *insert = NULL, *select = NULL;
    for (int i = 0; i < INSERTS; i++) {
        if (insert == NULL && sqlite3_prepare_v2(db, "INSERT INTO counted VALUES (?)", -1, &insert, NULL) != SQLITE_OK)
            continue;
        sqlite3_bind_int(insert, 1, i);
        note(db, "insert", sqlite3_step(insert));
        sqlite3_reset(insert);
        /* Their rows come in several batches, between those of others. */
        if (select == NULL)
            sqlite3_prepare_v2(db,
                               "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100) "
                               "SELECT i FROM n",
                               -1, &select, NULL);
        int count = 0, code = select != NULL ? SQLITE_ROW : LOST;
        while (select != NULL && (code = sqlite3_step(select)) == SQLITE_ROW) {
            if (sqlite3_column_int(select, 0) != ++count)
                die(db, "rows of another statement", count);
        }
        if (code != LOST && (code != SQLITE_DONE || count != 100))
            die(db, "select", code);
        sqlite3_reset(select);
        if (strlen(sqlite3_errmsg(db)) == 0)
            die(db, "no message", 0);
    }
    sqlite3_finalize(insert);
    sqlite3_finalize(select);
    return NULL;
}

static void part_shared(void)
{
    sqlite3 *db = connect_to();
    run_threads(use_shared, db);
    check(db, "close", sqlite3_close(db), SQLITE_OK);
    printf("%d\n", atomic_load(&inserted));
}

/* --- Many connections --- */

static void *use_own(void *argument)
{
    (void)argument;
    sqlite3 *db = connect_to();
    for (int i = 0; i < INSERTS; i++) {
        int code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        if (code == SQLITE_OK)
            code = sqlite3_exec(db, "INSERT INTO counted VALUES (1)", NULL, NULL, NULL);
        if (code == SQLITE_OK)
            code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
        note(db, "transaction", code);
        if (!sqlite3_get_autocommit(db))
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    check(db, "close", sqlite3_close(db), SQLITE_OK);
    return NULL;
}

static void part_many(void)
{
    run_threads(use_own, NULL);
    printf("%d\n", atomic_load(&inserted));
}

/* --- Functions are called in the thread that asked --- */

static __thread int calls_here;

static void count_call(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    calls_here++;
    sqlite3_result_value(context, values[0]);
}

static void *use_calls(void *argument)
{
    sqlite3 *db = argument;
    for (int i = 0; i < INSERTS; i++) {
        int before = calls_here;
        int code = sqlite3_exec(db, "INSERT INTO counted VALUES (called(1))", NULL, NULL, NULL);
        note(db, "insert", code);
        if (code == SQLITE_OK && calls_here != before + 1)
            die(db, "called in another thread", calls_here - before);
    }
    return NULL;
}

static void part_calls(void)
{
    sqlite3 *db = connect_to();
    check(db, "function", sqlite3_create_function(db, "called", 1, SQLITE_UTF8, NULL, count_call, NULL, NULL),
          SQLITE_OK);
    run_threads(use_calls, db);
    check(db, "close", sqlite3_close(db), SQLITE_OK);
    printf("%d\n", atomic_load(&inserted));
}

/* --- So are the methods of virtual tables, and what they open is closed --- */

static atomic_int connected, opened;

struct one_cursor {
    sqlite3_vtab_cursor base;
    bool is_behind;
};

static int one_connect(sqlite3 *db, void *data, int count, const char *const *texts, sqlite3_vtab **ret_table,
                       char **ret_message)
{
    (void)data;
    (void)count;
    (void)texts;
    (void)ret_message;
    int code = sqlite3_declare_vtab(db, "CREATE TABLE x(a, b)");
    if (code != SQLITE_OK)
        return code;
    *ret_table = calloc(1, sizeof(**ret_table));
    atomic_fetch_add(&connected, 1);
    return SQLITE_OK;
}

static int one_disconnect(sqlite3_vtab *table)
{
    atomic_fetch_sub(&connected, 1);
    free(table);
    return SQLITE_OK;
}

static int one_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    (void)info;
    return SQLITE_OK;
}

static int one_open(sqlite3_vtab *table, sqlite3_vtab_cursor **ret_cursor)
{
    (void)table;
    *ret_cursor = calloc(1, sizeof(struct one_cursor));
    atomic_fetch_add(&opened, 1);
    return SQLITE_OK;
}

static int one_close(sqlite3_vtab_cursor *cursor)
{
    atomic_fetch_sub(&opened, 1);
    free(cursor);
    return SQLITE_OK;
}

static int one_filter(sqlite3_vtab_cursor *cursor, int number, const char *text, int count, sqlite3_value **values)
{
    (void)number;
    (void)text;
    (void)count;
    (void)values;
    ((struct one_cursor *)cursor)->is_behind = false;
    calls_here++;
    return SQLITE_OK;
}

static int one_next(sqlite3_vtab_cursor *cursor)
{
    ((struct one_cursor *)cursor)->is_behind = true;
    return SQLITE_OK;
}

static int one_eof(sqlite3_vtab_cursor *cursor)
{
    return ((struct one_cursor *)cursor)->is_behind;
}

static int one_column(sqlite3_vtab_cursor *cursor, sqlite3_context *context, int column)
{
    (void)cursor;
    sqlite3_result_int(context, column);
    return SQLITE_OK;
}

static int one_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *ret_rowid)
{
    (void)cursor;
    *ret_rowid = 1;
    return SQLITE_OK;
}

static void *use_tables(void *argument)
{
    sqlite3 *db = argument;
    for (int i = 0; i < INSERTS; i++) {
        int before = calls_here;
        int code = sqlite3_exec(db, "INSERT INTO counted SELECT a FROM one WHERE b = 1", NULL, NULL, NULL);
        note(db, "insert", code);
        if (code == SQLITE_OK && calls_here != before + 1)
            die(db, "called in another thread", calls_here - before);
    }
    return NULL;
}

static void part_tables(void)
{
    static const sqlite3_module module = {
        .xConnect = one_connect,
        .xBestIndex = one_best_index,
        .xDisconnect = one_disconnect,
        .xOpen = one_open,
        .xClose = one_close,
        .xFilter = one_filter,
        .xNext = one_next,
        .xEof = one_eof,
        .xColumn = one_column,
        .xRowid = one_rowid,
    };
    sqlite3 *db = connect_to();
    check(db, "module", sqlite3_create_module(db, "one", &module, NULL), SQLITE_OK);
    run_threads(use_tables, db);
    check(db, "close", sqlite3_close(db), SQLITE_OK);
    if (atomic_load(&connected) != 0 || atomic_load(&opened) != 0)
        die(NULL, "left open", atomic_load(&opened));
    printf("%d\n", atomic_load(&inserted));
}

/* --- Interrupts --- */

static sqlite3 *interrupted;
static sem_t running;
static atomic_bool is_posted;

static int tell_progress(void *argument)
{
    (void)argument;
    if (!atomic_exchange(&is_posted, true))
        sem_post(&running);
    return 0;
}

static void *interrupt_it(void *argument)
{
    (void)argument;
    for (int i = 0; i < INTERRUPTS; i++) {
        sem_wait(&running);
        sqlite3_interrupt(interrupted);
    }
    return NULL;
}

static const char endless[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

/* Each is running when it is interrupted, and the next statement is not. */
static void run_endless(sqlite3 *db)
{
    sqlite3_progress_handler(db, 1000, tell_progress, NULL);
    for (int i = 0; i < INTERRUPTS; i++) {
        atomic_store(&is_posted, false);
        check(db, "endless", sqlite3_exec(db, endless, NULL, NULL, NULL), SQLITE_INTERRUPT);
        atomic_store(&is_posted, true);
        check(db, "after it", sqlite3_exec(db, "SELECT count(*) FROM counted", NULL, NULL, NULL), SQLITE_OK);
    }
    sqlite3_progress_handler(db, 0, NULL, NULL);
}

static void part_interrupt(void)
{
    interrupted = connect_to();
    sem_init(&running, 0, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, interrupt_it, NULL);
    run_endless(interrupted);
    pthread_join(thread, NULL);
    check(interrupted, "close", sqlite3_close(interrupted), SQLITE_OK);
}

static void on_signal(int number)
{
    (void)number;
    sqlite3_interrupt(interrupted);
}

static pthread_t main_thread;

static void *signal_it(void *argument)
{
    (void)argument;
    for (int i = 0; i < INTERRUPTS; i++) {
        sem_wait(&running);
        pthread_kill(main_thread, SIGUSR1);
    }
    return NULL;
}

static void part_signal(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    interrupted = connect_to();
    main_thread = pthread_self();
    sem_init(&running, 0, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, signal_it, NULL);
    run_endless(interrupted);
    pthread_join(thread, NULL);
    check(interrupted, "close", sqlite3_close(interrupted), SQLITE_OK);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*part)(void);
    } parts[] = {
        {"shared", part_shared}, {"many", part_many},           {"calls", part_calls},
        {"tables", part_tables}, {"interrupt", part_interrupt}, {"signal", part_signal},
    };
    if (argc != 3)
        return 2;
    url = argv[1];
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strcmp(parts[i].name, argv[2]) == 0) {
            parts[i].part();
            return 0;
        }
    }
    return 2;
}
