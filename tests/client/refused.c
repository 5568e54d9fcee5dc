/* tests/client/refused.c: calls what remote connections refuse; for test_calls.py.
 *
 *     refused NAME     one line for each: function, result code, message, how often its destructor was called */
#define SQLITE_ENABLE_SESSION 1
#include <sqlite3.h>
#include <stdio.h>

static sqlite3 *db;
static int destroyed;

static void destroy(void *data)
{
    (void)data;
    destroyed++;
}

static void say(const char *name, int code)
{
    printf("%s|%d|%s|%d\n", name, code, sqlite3_errmsg(db), destroyed);
    destroyed = 0;
    sqlite3_exec(db, "SELECT 1", NULL, NULL, NULL); /* clears the error */
}

static unsigned int vacuum(void *data, const char *schema, unsigned int pages, unsigned int free_pages,
                           unsigned int page_bytes)
{
    (void)data;
    (void)schema;
    (void)pages;
    (void)page_bytes;
    return free_pages;
}
static int query(sqlite3_rtree_query_info *info)
{
    (void)info;
    return SQLITE_OK;
}
static int geometry(sqlite3_rtree_geometry *shape, int count, sqlite3_rtree_dbl *coordinates, int *ret_result)
{
    (void)shape;
    (void)count;
    (void)coordinates;
    *ret_result = 1;
    return SQLITE_OK;
}
static int conflict(void *data, int why, sqlite3_changeset_iter *iterator)
{
    (void)data;
    (void)why;
    (void)iterator;
    return SQLITE_CHANGESET_ABORT;
}
static int no_input(void *data, void *to, int *bytes)
{
    (void)data;
    (void)to;
    *bytes = 0;
    return SQLITE_OK;
}

int main(int argc, char **argv)
{
    sqlite3_session *session;
    char *message = NULL, data[1] = "";
    void *rebase = data;
    int bytes = 9;
    if (argc != 2 || sqlite3_open(argv[1], &db) != SQLITE_OK)
        return 1;
    say("load_extension", sqlite3_load_extension(db, "none", NULL, &message));
    printf("message|%s\n", message != NULL ? message : "null");
    sqlite3_free(message);
    say("enable_load_extension", sqlite3_enable_load_extension(db, 1));
    say("rtree_geometry_callback", sqlite3_rtree_geometry_callback(db, "g", geometry, NULL));
    say("rtree_query_callback", sqlite3_rtree_query_callback(db, "q", query, data, destroy));
    say("autovacuum_pages", sqlite3_autovacuum_pages(db, vacuum, data, destroy));
    say("session_create", sqlite3session_create(db, "main", &session));
    say("changeset_apply", sqlite3changeset_apply(db, 0, data, NULL, conflict, NULL));
    say("changeset_apply_strm", sqlite3changeset_apply_strm(db, no_input, NULL, NULL, conflict, NULL));
    say("changeset_apply_v2", sqlite3changeset_apply_v2(db, 0, data, NULL, conflict, NULL, &rebase, &bytes, 0));
    printf("rebase|%s|%d\n", rebase == NULL ? "null" : "set", bytes);
    say("changeset_apply_v2_strm",
        sqlite3changeset_apply_v2_strm(db, no_input, NULL, NULL, conflict, NULL, &rebase, &bytes, 0));
    printf("allowed|%d|%d|%d\n", sqlite3_enable_load_extension(db, 0), sqlite3_autovacuum_pages(db, NULL, NULL, NULL),
           session == NULL);
    printf("misuse|%d|%d\n", sqlite3_declare_vtab(db, "CREATE TABLE x(a)"), sqlite3_vtab_on_conflict(db));
    return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}
