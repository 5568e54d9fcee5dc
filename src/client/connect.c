/* client/connect.c: see connect.h. */
#include "client/connect.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "client/auto_extension.h"
#include "client/calls.h"
#include "client/convert.h"
#include "client/databases.h"
#include "client/interrupt.h"
#include "client/outcome.h"
#include "client/statement.h"

enum { OPTIONS_BYTES_MAX = 256, NOWHERE_BYTES_MAX = INT32_MAX };

/* --- Forked children --- */

uint32_t client_fork_number;

static void count_fork(void)
{
    client_fork_number++;
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, count_fork);
}

/* --- The server --- */

/* Connects to `database` (NULL: the target's own) with the options of native mode. */
static sq_status server_connect(struct client_remote *remote, const char *database, const char *options,
                                struct sq_error *err)
{
    uint8_t key[CLIENT_KEY_BYTES];
    char digits[2 * CLIENT_KEY_BYTES + 1];
    char value[OPTIONS_BYTES_MAX];
    sq_random_fill(key, sizeof(key));
    for (size_t i = 0; i < sizeof(key); i++)
        client_real.sqlite3_snprintf(3, digits + 2 * i, "%02x", key[i]);
    client_real.sqlite3_snprintf((int)sizeof(value), value, "%d%s%s%s key=%s", NATIVE_VERSION,
                                 options[0] != '\0' ? " " : "", options, remote->is_readonly ? " readonly" : "",
                                 digits);
    const struct pgclient_parameter parameter = {NATIVE_OPTION, value};
    struct pgclient *client;
    SQ_TRY(pgclient_connect(remote->target, database, &parameter, 1, err, &client));
    const char *name = pgclient_status(client, NATIVE_STATUS_DATABASE);
    const char *version = pgclient_status(client, NATIVE_STATUS_VERSION);
    if (pgclient_has_refused(client, NATIVE_OPTION) || version == NULL || strcmp(version, "1") != 0 || name == NULL) {
        pgclient_free(client);
        return sq_fail(err, SQ_INVALID, "%s is no sqld, or one that does not know version %d of native mode",
                       pgclient_target_label(remote->target), NATIVE_VERSION);
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        pgclient_free(client);
        return sq_fail(err, SQ_NOMEM, "a database's name");
    }
    free(remote->database);
    remote->database = copy;
    remote->is_memory = strcmp(copy, NATIVE_MEMORY_DATABASE) == 0;
    remote->connection_number++;
    memcpy(remote->key, key, sizeof(key));
    remote->request_count = 0;
    remote->last_answer_us = sq_clock_now_us();
    remote->state.is_autocommit = true;
    remote->state.txn_state = SQLITE_TXN_NONE;
    remote->total_changes_base = remote->state.total_changes;
    __atomic_store_n(&remote->client, client, __ATOMIC_SEQ_CST);
    return SQ_OK;
}

void client_disconnect(struct client_remote *remote)
{
    pgclient_free(client_interrupt_take_client(remote));
    remote->connection_number++;
    remote->ahead = NULL;
    remote->ahead_count = 0;
}

/* Each answer says what the new connection thinks; `before` is what the application knows. */
static int settings_make_again(struct client_remote *remote, const struct client_state *before)
{
    int code = SQLITE_OK;
    if (remote->busy_timeout_ms > 0) {
        sq_buf_put_u32(client_request_begin(remote, NATIVE_BUSY_TIMEOUT), (uint32_t)remote->busy_timeout_ms);
        code = client_request_end(remote, NULL, NULL);
    }
    if (code == SQLITE_OK && before->last_insert_rowid != 0) {
        sq_buf_put_u64(client_request_begin(remote, NATIVE_SET_ROWID), (uint64_t)before->last_insert_rowid);
        code = client_request_end(remote, NULL, NULL);
    }
    if (code == SQLITE_OK)
        code = client_databases_replay(remote);
    return code == SQLITE_OK ? client_calls_replay(remote) : code;
}

sq_status client_connect_again(struct client_remote *remote, struct sq_error *err)
{
    sq_assert(remote->client == NULL);
    return server_connect(remote, remote->database, "", err);
}

int client_reconnect(struct client_remote *remote)
{
    struct sq_error err;
    sq_error_clear(&err);
    if (client_connect_again(remote, &err) != SQ_OK)
        return client_error_set(remote, SQLITE_IOERR_SQLD_LOST, "unable to connect again: %s", err.text);
    client_outcome_end_former(remote);
    return client_make_again(remote);
}

int client_make_again(struct client_remote *remote)
{
    struct client_error error = client_error_take(remote);
    const struct client_state before = remote->state;
    remote->is_connecting = true;
    int code = settings_make_again(remote, &before);
    remote->is_connecting = false;
    remote->state.changes = before.changes;
    remote->state.total_changes = before.total_changes;
    remote->state.last_insert_rowid = before.last_insert_rowid;
    if (code == SQLITE_OK) {
        client_error_put_back(remote, error);
        return SQLITE_OK;
    }
    struct client_error why = client_error_take(remote);
    client_error_put_back(remote, error);
    client_disconnect(remote);
    client_error_put_back(remote, why);
    return code;
}

/* --- Making and freeing --- */

static sq_status shadow_open(struct client_remote *remote, struct sq_error *err)
{
    int threading = remote->open_flags & (SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_FULLMUTEX);
    int code = client_inner_open(":memory:", &remote->shadow, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | threading);
    if (code == SQLITE_OK)
        code = client_real.sqlite3_prepare_v3(remote->shadow, "SELECT ?1", -1, SQLITE_PREPARE_PERSISTENT,
                                              &remote->converter, NULL);
    if (code != SQLITE_OK)
        return sq_fail(err, SQ_NOMEM, "%s", client_real.sqlite3_errstr(code));
    remote->mutex = client_real.sqlite3_db_mutex(remote->shadow);
    const struct sq_value null = {.kind = SQ_VALUE_NULL};
    remote->null_value = client_value_new(remote, &null);
    return remote->null_value != NULL ? SQ_OK : sq_fail(err, SQ_NOMEM, "a connection");
}

SQ_DEFINE_FREEP(struct client_remote, client_remote_free)

sq_status client_remote_new(const struct client_connect *what, struct sq_error *err, struct client_remote **ret_remote)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch_forks);
    SQ_CLEANUP(client_remote_freep) struct client_remote *remote = calloc(1, sizeof(*remote));
    if (remote == NULL)
        return sq_fail(err, SQ_NOMEM, "a connection");
    remote->fork_number = client_fork_number;
    remote->open_flags = what->flags;
    remote->is_readonly = (what->flags & SQLITE_OPEN_READONLY) != 0;
    remote->is_extended = (what->flags & SQLITE_OPEN_EXRESCODE) != 0;
    remote->error.offset = -1;
    remote->has_powersafe_overwrite = true;            /* as the "unix" VFS */
    (void)sem_init(&remote->interrupter_leaves, 0, 0); /* fails for values that are too large only */
    sq_buf_init(&remote->nowhere, NOWHERE_BYTES_MAX);
    sq_list_init(&remote->statements);
    sq_list_init(&remote->cached);
    sq_list_init(&remote->attached);
    sq_list_init(&remote->pragmas);
    sq_list_init(&remote->pointers);
    sq_map_init(&remote->names);
    for (size_t i = 0; i < CLIENT_LIMIT_COUNT; i++)
        remote->limits[i] = -1;
    SQ_TRY(shadow_open(remote, err));
    remote->filename = client_real.sqlite3_create_filename(what->filename, "", "", 0, NULL);
    if (remote->filename == NULL || !client_calls_new(remote))
        return sq_fail(err, SQ_NOMEM, "a connection");
    SQ_TRY(pgclient_target_parse(what->url, err, &remote->target));
    SQ_TRY(server_connect(remote, what->database, what->options, err));
    struct client_handle *handle;
    if (client_handle_new(CLIENT_HANDLE_CONNECTION, remote, &handle) != SQ_OK)
        return sq_fail(err, SQ_NOMEM, "%d databases and statements are open", CLIENT_HANDLES_MAX);
    remote->handle = (sqlite3 *)(void *)handle;
    *ret_remote = SQ_STEAL(remote);
    return SQ_OK;
}

void client_remote_free(struct client_remote *remote)
{
    if (remote == NULL)
        return;
    if (remote->handle != NULL)
        client_handle_free((struct client_handle *)(void *)remote->handle);
    struct pgclient *client = client_interrupt_take_client(remote);
    if (client_remote_is_of_this_process(remote))
        pgclient_free(client);
    else
        pgclient_abandon(client);
    client_calls_free(remote);
    client_statements_free(remote);
    client_databases_free(remote);
    pgclient_target_free(remote->target);
    free(remote->database);
    client_real.sqlite3_free(remote->error.message);
    free(remote->error.message16);
    client_real.sqlite3_value_free(remote->null_value);
    client_real.sqlite3_finalize(remote->converter);
    (void)client_real.sqlite3_close(remote->shadow);
    if (remote->filename != NULL)
        client_real.sqlite3_free_filename(remote->filename);
    sq_buf_done(&remote->nowhere);
    (void)sem_destroy(&remote->interrupter_leaves);
    free(remote);
}
