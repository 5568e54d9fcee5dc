/* TEMP */
#include "repl/node_databases.h"
#include "repl/node_internal.h"
#include <string.h>
static struct repl_node *node_of(struct repl_store *store)
{
    return SQ_CONTAINER_OF(store, struct repl_node, store);
}
static void store_identity(struct repl_store *store, struct repl_identity *ret_identity)
{
    struct repl_node *node = node_of(store);
    pthread_mutex_lock(&node->mutex);
    *ret_identity = (struct repl_identity){.system_id = node->state.system_id, .timeline = node->state.seen_timeline};
    pthread_mutex_unlock(&node->mutex);
}
static sq_status store_adopt(struct repl_store *store, uint64_t system_id, uint64_t timeline, struct sq_error *err)
{
    return node_adopt(node_of(store), system_id, timeline, err);
}
static bool store_next_database(struct repl_store *store, const char *after, char ret_name[REPL_NAME_MAX + 1])
{
    (void)store; (void)after; (void)ret_name;
    return false;
}
static sq_status store_open(struct repl_store *store, const char *name, struct sq_waker *waker, struct sq_error *err,
                            struct repl_copy **ret_copy)
{
    (void)store; (void)name; (void)waker; (void)ret_copy;
    return sq_fail(err, SQ_INVALID, "TEMP");
}
static sq_status store_drop(struct repl_store *store, const char *name, struct sq_error *err)
{
    (void)store; (void)name;
    return sq_fail(err, SQ_INVALID, "TEMP");
}
static const struct repl_store_ops ops = {store_identity, store_adopt, store_next_database, store_open, store_drop};
void node_store_init(struct repl_node *node)
{
    node->store.ops = &ops;
}
enum repl_known node_replica_position(struct repl_node *node, const char *name, struct wal_position *ret_position)
{
    (void)node; (void)name; (void)ret_position;
    return REPL_KNOWN_NEVER;
}
enum repl_known node_replica_has(struct repl_node *node, const char *name, const struct wal_position *position, struct repl_wait *wait)
{
    (void)node; (void)name; (void)position; (void)wait;
    return REPL_KNOWN_NEVER;
}
