/* repl/standin.c: a node for tests of sessions, until the real one is there: the role comes from the environment, and a
 * test says by a file what is applied. It goes when node.c comes.
 *
 *     STANDIN_UPSTREAM    a URL: this server is a replica of that one
 *     STANDIN_FILE        looked at every few milliseconds: "applied=TXID[/TIMELINE]" or "applied=all", "connected=0|1",
 *                              "age=MICROSECONDS", "role=primary|replica|fenced" */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/database.h"
#include "engine/durability.h"
#include "repl/node.h"
#include "repl/standin.h"

struct repl_node {
    pthread_mutex_t mutex;
    pthread_t thread;
    bool is_stopping;
    const char *upstream;
    const char *path;
    enum repl_role role;
    bool is_connected;
    uint64_t applied;
    uint64_t timeline;
    unsigned long long version;
    int64_t age_us;
    struct sq_list waits;
};

static void look(struct repl_node *node)
{
    FILE *file = node->path != NULL ? fopen(node->path, "r") : NULL;
    char line[512];
    unsigned long long version = 0;
    if (file == NULL)
        return;
    pthread_mutex_lock(&node->mutex);
    while (fgets(line, sizeof(line), file) != NULL) {
        unsigned long long number = 0, timeline = 1;
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "applied=all") == 0)
            node->applied = UINT64_MAX;
        else if (sscanf(line, "applied=%llu/%llu", &number, &timeline) >= 1)
            node->applied = number, node->timeline = timeline;
        else if (sscanf(line, "connected=%llu", &number) == 1)
            node->is_connected = number != 0;
        else if (sscanf(line, "age=%llu", &number) == 1)
            node->age_us = (int64_t)number;
        else if (sscanf(line, "version=%llu", &number) == 1)
            version = number;
        else if (strcmp(line, "role=primary") == 0)
            node->role = REPL_PRIMARY;
        else if (strcmp(line, "role=replica") == 0)
            node->role = REPL_REPLICA;
        else if (strcmp(line, "role=fenced") == 0)
            node->role = REPL_FENCED;
    }
    SQ_LIST_FOREACH (links, &node->waits)
        sq_waker_wake(SQ_CONTAINER_OF(links, struct repl_wait, links)->waker);
    pthread_mutex_unlock(&node->mutex);
    fclose(file);
    (void)snprintf(line, sizeof(line), "%s.seen", node->path);
    if (version != node->version && (file = fopen(line, "w")) != NULL) {
        fprintf(file, "%llu", version);
        fclose(file);
        node->version = version;
    }
}

static void *watch(void *context)
{
    struct repl_node *node = context;
    for (;;) {
        struct timespec pause = {.tv_nsec = 3000000};
        nanosleep(&pause, NULL); /* banned-ok: goes with this file */
        pthread_mutex_lock(&node->mutex);
        bool is_stopping = node->is_stopping;
        if (node->path == NULL) {
            SQ_LIST_FOREACH (links, &node->waits)
                sq_waker_wake(SQ_CONTAINER_OF(links, struct repl_wait, links)->waker);
        }
        pthread_mutex_unlock(&node->mutex);
        if (is_stopping)
            return NULL;
        look(node);
    }
}

struct repl_node *repl_standin_new(void)
{
    struct repl_node *node = calloc(1, sizeof(*node));
    sq_assert(node != NULL);
    pthread_mutex_init(&node->mutex, NULL);
    sq_list_init(&node->waits);
    node->upstream = getenv("STANDIN_UPSTREAM");
    node->path = getenv("STANDIN_FILE");
    node->role = node->upstream != NULL ? REPL_REPLICA : REPL_PRIMARY;
    node->is_connected = true;
    node->applied = UINT64_MAX;
    node->timeline = 1;
    look(node);
    int result = pthread_create(&node->thread, NULL, watch, node);
    sq_assert(result == 0);
    return node;
}

void repl_standin_free(struct repl_node *node)
{
    if (node == NULL)
        return;
    pthread_mutex_lock(&node->mutex);
    node->is_stopping = true;
    pthread_mutex_unlock(&node->mutex);
    pthread_join(node->thread, NULL);
    pthread_mutex_destroy(&node->mutex);
    free(node);
}

enum repl_role repl_node_role(struct repl_node *node)
{
    pthread_mutex_lock(&node->mutex);
    enum repl_role role = node->role;
    pthread_mutex_unlock(&node->mutex);
    return role;
}

sq_status repl_node_check_writable(struct repl_node *node, struct sq_error *err)
{
    switch (repl_node_role(node)) {
    case REPL_PRIMARY:
        break;
    case REPL_REPLICA:
        return sq_fail_sql(err, SQ_SQL, "25006", "this server is a replica of %s", node->upstream);
    case REPL_FENCED:
        return sq_fail_sql(err, SQ_SQL, "25006", "this server is fenced");
    }
    return SQ_OK;
}

char *repl_node_upstream(struct repl_node *node)
{
    return repl_node_role(node) == REPL_REPLICA ? strdup(node->upstream) : NULL;
}

bool repl_node_is_connected(struct repl_node *node)
{
    pthread_mutex_lock(&node->mutex);
    bool is_connected = node->is_connected;
    pthread_mutex_unlock(&node->mutex);
    return is_connected;
}

void repl_wait_init(struct repl_wait *wait, struct sq_waker *waker)
{
    *wait = (struct repl_wait){.waker = waker};
    sq_list_init(&wait->links);
}

static void wait_for(struct repl_node *node, struct repl_wait *wait)
{
    if (!sq_list_is_linked(&wait->links))
        sq_list_push_back(&node->waits, &wait->links);
}

enum repl_known repl_node_position(struct repl_node *node, struct engine_database *database, uint64_t rests_on,
                                   struct repl_wait *wait, struct wal_position *ret_position)
{
    struct engine_durability *durability = engine_database_durability(database);
    if (durability == NULL)
        return REPL_KNOWN_NEVER;
    pthread_mutex_lock(&node->mutex);
    enum repl_known known = REPL_KNOWN;
    if (node->role == REPL_REPLICA) {
        *ret_position = (struct wal_position){node->timeline, node->applied, node->applied * 31};
    } else {
        uint64_t txid = engine_durability_published(durability);
        if (engine_durability_covers(durability, txid > rests_on ? txid : rests_on)) {
            *ret_position = (struct wal_position){node->timeline, txid, txid * 31};
        } else {
            engine_durability_request(durability);
            wait_for(node, wait);
            known = REPL_KNOWN_LATER;
        }
    }
    pthread_mutex_unlock(&node->mutex);
    return known;
}

enum repl_known repl_node_has(struct repl_node *node, struct engine_database *database,
                              const struct wal_position *position, struct repl_wait *wait)
{
    pthread_mutex_lock(&node->mutex);
    enum repl_known known = REPL_KNOWN;
    if (position->timeline != node->timeline) {
        known = REPL_KNOWN_NEVER;
    } else if (node->role == REPL_REPLICA && position->txid > node->applied) {
        wait_for(node, wait);
        known = REPL_KNOWN_LATER;
    } else if (node->role == REPL_PRIMARY &&
               position->txid > engine_durability_published(engine_database_durability(database))) {
        known = REPL_KNOWN_NEVER;
    }
    pthread_mutex_unlock(&node->mutex);
    return known;
}

void repl_wait_withdraw(struct repl_node *node, struct repl_wait *wait)
{
    pthread_mutex_lock(&node->mutex);
    sq_list_remove(&wait->links);
    pthread_mutex_unlock(&node->mutex);
}

int64_t repl_node_staleness_us(struct repl_node *node, struct engine_database *database)
{
    (void)database;
    pthread_mutex_lock(&node->mutex);
    int64_t age_us = node->role == REPL_REPLICA ? node->age_us : 0;
    pthread_mutex_unlock(&node->mutex);
    return age_us;
}
