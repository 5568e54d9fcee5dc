/* client/collation.c: collations of the application: registration, and their calls.
 *
 * https://sqlite.org/c3ref/create_collation.html, https://sqlite.org/c3ref/collation_needed.html
 *
 * SQLite keeps up to three functions for a collation, one for each encoding, and takes the one of the database's. To
 * the server a collation is one function, which is given UTF-8: the one for UTF-8 if there is one, else one of the
 * others, for which the texts are converted here. */
#include <stdlib.h>
#include <string.h>

#include "client/calls_internal.h"
#include "client/remote_api.h"
#include "client/statement.h"
#include "client/utf16.h"

/* --- Registration --- */

/* The shadow's destructor. */
static void collation_destroy(void *object)
{
    struct client_collation collation = *(struct client_collation *)object;
    if (collation.calls != NULL)
        (void)sq_map_remove(&collation.calls->collations, &collation.number, sizeof(collation.number));
    free(object);
    free(collation.name);
    if (collation.destroy_cb != NULL)
        collation.destroy_cb(collation.user_data);
}

static int shadow_compare(void *object, int a_bytes, const void *a, int b_bytes, const void *b)
{
    (void)object;
    size_t bytes = (size_t)(a_bytes < b_bytes ? a_bytes : b_bytes);
    int order = bytes > 0 ? memcmp(a, b, bytes) : 0;
    return order != 0 ? order : a_bytes - b_bytes;
}

/* The function that the server shall call for `name`, besides `new` and instead of what that replaces. */
static const struct client_collation *find_best(struct client_calls *calls, const char *name,
                                                const struct client_collation *new)
{
    const struct client_collation *best = new->compare_cb != NULL ? new : NULL;
    struct sq_map_cursor at = {0};
    const struct client_collation *other;
    while ((other = sq_map_next(&calls->collations, &at)) != NULL) {
        if (other != new && other->compare_cb != NULL &&
            other->representation != new->representation &&client_real.sqlite3_stricmp(other->name, name) == 0 &&
            (best == NULL || other->representation < best->representation))
            best = other;
    }
    return best;
}

static int tell_server(struct client_remote *remote, const char *name, uint32_t number)
{
    struct sq_buf *out = client_request_begin(remote, NATIVE_COLLATION);
    native_put_text(out, name);
    sq_buf_put_u32(out, number);
    return client_request_end(remote, NULL, NULL);
}

/* Takes over `collation`, unless it fails: SQLite, too, calls the destructor then never. */
static int register_collation(struct client_remote *remote, struct client_collation *collation)
{
    struct client_calls *calls = remote->calls;
    sq_assert(collation->calls == calls && collation->number != 0);
    const struct client_collation *best = find_best(calls, collation->name, collation);
    const struct client_registration registration = {.kind = CLIENT_COLLATION,
                                                     .number = best != NULL ? best->number : 0};
    int code = SQLITE_OK;
    if (sq_map_put(&calls->collations, &collation->number, sizeof(collation->number), collation, NULL) != SQ_OK)
        code = SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = tell_server(remote, collation->name, registration.number);
    client_statement_cache_clear(remote);
    if (code == SQLITE_OK && !client_calls_register(calls, collation->name, &registration))
        code = SQLITE_NOMEM;
    /* A deletion leaves nothing behind, unless it came with a destructor. */
    bool is_kept = collation->compare_cb != NULL || collation->destroy_cb != NULL;
    if (code == SQLITE_OK)
        code = client_real.sqlite3_create_collation_v2(
            remote->shadow, collation->name, collation->representation, is_kept ? collation : NULL,
            collation->compare_cb != NULL ? shadow_compare : NULL, is_kept ? collation_destroy : NULL);
    if (code == SQLITE_OK && is_kept)
        return SQLITE_OK;
    collation->destroy_cb = NULL;
    collation_destroy(collation);
    return code;
}

static struct client_collation *collation_new(struct client_calls *calls, const char *name)
{
    struct client_collation *collation = malloc(sizeof(*collation));
    char *copy = strdup(name);
    if (collation == NULL || copy == NULL) {
        free(collation);
        free(copy);
        return NULL;
    }
    *collation = (struct client_collation){.calls = calls, .name = copy, .number = ++calls->function_number};
    return collation;
}

int client_remote_sqlite3_create_collation_v2(sqlite3 *db, const char *name, int representation, void *user_data,
                                              int (*compare_cb)(void *, int, const void *, int, const void *),
                                              void (*destroy_cb)(void *))
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    int code = SQLITE_MISUSE;
    int encoding =
        representation == SQLITE_UTF16 || representation == SQLITE_UTF16_ALIGNED ? SQLITE_UTF16LE : representation;
    if (name != NULL && encoding >= SQLITE_UTF8 && encoding <= SQLITE_UTF16BE) {
        struct client_collation *collation = collation_new(remote->calls, name);
        code = SQLITE_NOMEM;
        if (collation != NULL) {
            collation->representation = encoding;
            collation->user_data = user_data;
            collation->compare_cb = compare_cb;
            collation->destroy_cb = destroy_cb;
            code = register_collation(remote, collation);
        }
    }
    if (code != SQLITE_MISUSE)
        return client_remote_leave(remote, code);
    client_remote_leave_quietly(remote); /* as SQLite, which keeps the error that was before */
    return SQLITE_MISUSE;
}

int client_remote_sqlite3_create_collation(sqlite3 *db, const char *name, int representation, void *user_data,
                                           int (*compare_cb)(void *, int, const void *, int, const void *))
{
    return client_remote_sqlite3_create_collation_v2(db, name, representation, user_data, compare_cb, NULL);
}

int client_remote_sqlite3_create_collation16(sqlite3 *db, const void *name, int representation, void *user_data,
                                             int (*compare_cb)(void *, int, const void *, int, const void *))
{
    if (name == NULL)
        return SQLITE_MISUSE;
    char *name8 = client_utf16_to_utf8(name);
    if (name8 == NULL)
        return SQLITE_NOMEM;
    int code = client_remote_sqlite3_create_collation_v2(db, name8, representation, user_data, compare_cb, NULL);
    free(name8);
    return code;
}

static int set_needed(sqlite3 *db, void *user_data, void (*needed_cb)(void *, sqlite3 *, int, const char *),
                      void (*needed16_cb)(void *, sqlite3 *, int, const void *))
{
    struct client_remote *remote = client_remote_enter(db);
    if (remote == NULL)
        return SQLITE_MISUSE;
    struct client_hooks *hooks = &remote->calls->hooks;
    hooks->needed_cb = needed_cb;
    hooks->needed16_cb = needed16_cb;
    hooks->needed_data = user_data;
    int code = client_remote_shown(remote, client_hooks_send(remote));
    client_remote_leave_quietly(remote);
    return code;
}

int client_remote_sqlite3_collation_needed(sqlite3 *db, void *user_data,
                                           void (*needed_cb)(void *, sqlite3 *, int, const char *))
{
    return set_needed(db, user_data, needed_cb, NULL);
}

int client_remote_sqlite3_collation_needed16(sqlite3 *db, void *user_data,
                                             void (*needed_cb)(void *, sqlite3 *, int, const void *))
{
    return set_needed(db, user_data, NULL, needed_cb);
}

/* --- Calls --- */

/* Compares as UTF-16: with real values, which convert. What cannot be converted for want of memory is equal, as in
 * SQLite. */
static int compare16(struct client_frame *frame, const struct client_collation *collation)
{
    int order = 0;
    sq_assert(collation->representation != SQLITE_UTF8 && collation->compare_cb != NULL);
    if (client_row_open(frame, &frame->old_row, frame->values, 2) == SQLITE_ROW) {
        bool is_little = collation->representation == SQLITE_UTF16LE;
        const void *texts[2];
        int bytes[2];
        for (int i = 0; i < 2; i++) {
            sqlite3_value *value = client_real.sqlite3_column_value(frame->old_row.stmt, i);
            texts[i] =
                is_little ? client_real.sqlite3_value_text16le(value) : client_real.sqlite3_value_text16be(value);
            bytes[i] = client_real.sqlite3_value_bytes16(value);
        }
        if (texts[0] != NULL && texts[1] != NULL)
            order = collation->compare_cb(collation->user_data, bytes[0], texts[0], bytes[1], texts[1]);
    }
    client_row_close(&frame->old_row);
    return order;
}

static bool read_texts(struct client_frame *frame, struct pgwire_cursor *cursor, struct pgwire_bytes texts[2])
{
    if (frame->value_cap < 2) {
        free(frame->values);
        frame->values = calloc(2, sizeof(*frame->values));
        frame->value_cap = frame->values != NULL ? 2 : 0;
    }
    if (frame->values == NULL)
        return false;
    for (int i = 0; i < 2; i++) {
        texts[i] = native_get_bytes(cursor);
        frame->values[i] = (struct native_value){
            .value = {.kind = SQ_VALUE_TEXT, .bytes = {(const char *)texts[i].data, texts[i].length}}};
    }
    return pgwire_cursor_is_done(cursor);
}

void client_call_collation(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    uint32_t number = pgwire_get_u32(cursor);
    struct pgwire_bytes texts[2];
    const struct client_collation *found = sq_map_get(&frame->calls->collations, &number, sizeof(number));
    if (!read_texts(frame, cursor, texts) || found == NULL || found->compare_cb == NULL) {
        client_calls_malformed(frame);
        return;
    }
    const struct client_collation collation = *found; /* it may be replaced meanwhile */
    const void *a = texts[0].data != NULL ? (const void *)texts[0].data : "";
    const void *b = texts[1].data != NULL ? (const void *)texts[1].data : "";
    int order = collation.representation == SQLITE_UTF8
                    ? collation.compare_cb(collation.user_data, (int)texts[0].length, a, (int)texts[1].length, b)
                    : compare16(frame, &collation);
    client_calls_answer(frame, order);
}

void client_call_collation_needed(struct client_frame *frame, struct pgwire_cursor *cursor)
{
    const char *name = client_frame_read_text(frame, cursor);
    if (!pgwire_cursor_is_done(cursor) || name == NULL) {
        client_calls_malformed(frame);
        return;
    }
    const struct client_hooks *hooks = &frame->calls->hooks;
    if (hooks->needed_cb != NULL) {
        hooks->needed_cb(hooks->needed_data, frame->remote->handle, SQLITE_UTF8, name);
    } else if (hooks->needed16_cb != NULL) {
        uint16_t *name16 = client_utf16_from_utf8(name);
        if (name16 != NULL)
            hooks->needed16_cb(hooks->needed_data, frame->remote->handle, SQLITE_UTF8, name16);
        free(name16);
    }
    client_calls_answer(frame, 0);
}
