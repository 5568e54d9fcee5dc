/* repl/node_wait.c: positions, and who waits for them.
 *
 * On a primary the logger of the database knows, and keeps those who wait. On a replica they wait in the database's list, whose wakers are called when
 * something was applied.
 *
 * What is later than what? On a replica a position of a timeline is there when the log's history has that timeline, and what is applied is at or after it:
 * on the same timeline, or on one that continues it after the position. */
#include <stdlib.h>

#include "engine/durability.h"
#include "repl/node_databases.h"
#include "repl/node_link.h"
#include "repl/node_store.h"

void repl_wait_init(struct repl_wait *wait, struct sq_waker *waker)
{
    *wait = (struct repl_wait){.waker = waker};
    sq_list_init(&wait->links);
}

void repl_wait_withdraw(struct repl_node *node, struct repl_wait *wait)
{
    if (wait->logger != NULL) {
        repl_logger_withdraw(wait->logger, wait);
        repl_logger_unref(SQ_STEAL(wait->logger));
    }
    node_store_withdraw(node, wait);
}

/* --- Primary ------------------------------------------------------------------------------------------------------- */

static enum repl_known position_of_logger(struct engine_database *database, uint64_t rests_on, struct repl_wait *wait,
                                          struct wal_position *ret_position)
{
    struct engine_durability *durability = engine_database_durability(database);
    struct repl_logger *logger = durability != NULL ? repl_logger_of(engine_durability_follower(durability)) : NULL;
    if (wait->logger != NULL && wait->logger != logger) {
        repl_logger_withdraw(wait->logger, wait);
        repl_logger_unref(SQ_STEAL(wait->logger));
    }
    if (logger == NULL)
        return REPL_KNOWN_NEVER;
    repl_logger_start(logger);
    enum repl_known known = repl_logger_position(logger, rests_on, wait, ret_position);
    if (known == REPL_KNOWN_LATER && wait->logger == NULL) {
        repl_logger_ref(logger);
        wait->logger = logger;
    } else if (known != REPL_KNOWN_LATER && wait->logger != NULL) {
        repl_logger_unref(SQ_STEAL(wait->logger));
    }
    return known;
}

/* --- Both ---------------------------------------------------------------------------------------------------------- */

enum repl_known repl_node_position(struct repl_node *node, struct engine_database *database, uint64_t rests_on,
                                   struct repl_wait *wait, struct wal_position *ret_position)
{
    if (repl_node_role(node) != REPL_REPLICA)
        return position_of_logger(database, rests_on, wait, ret_position);
    return node_store_position(node, engine_database_name(database), ret_position);
}

enum repl_known repl_node_has(struct repl_node *node, struct engine_database *database,
                              const struct wal_position *position, struct repl_wait *wait)
{
    if (repl_node_role(node) != REPL_REPLICA)
        return REPL_KNOWN;
    return node_store_has(node, engine_database_name(database), position, wait);
}

int64_t repl_node_staleness_us(struct repl_node *node, struct engine_database *database)
{
    if (repl_node_role(node) == REPL_PRIMARY)
        return 0;
    pthread_mutex_lock(&node->link_mutex);
    int64_t age_us = node->link != NULL ? node_link_age_us(node->link, engine_database_name(database)) : INT64_MAX;
    pthread_mutex_unlock(&node->link_mutex);
    return age_us;
}
