/* session/settings.c: a session's settings: layers, transactions. See settings.h for what a setting is,
 * settings_table.c for which there are, settings_value.c for how a value is read.
 *
 *   entries   one for each setting that has any layer, and for each name with a dot. While a transaction runs, entries
 *             are only added, so that the undo records can name them by index; outside, empty ones are dropped at once.
 *   undo      the former value of each layer that changed, and the savepoints, in order:
 *
 *                 change  change  SAVEPOINT a  change  SAVEPOINT b  change
 *
 *             A layer is recorded once between two savepoints: the first former value is the one to go back to. So the
 *             records are bounded by settings × savepoints, however many SETs there are.
 *
 * Invariants:
 *   1. Outside a transaction there are no undo records and no LOCAL layers.
 *   2. Undoing allocates nothing and cannot fail: records own the former values.
 *   3. A value is owned by exactly one entry or undo record. */
#include "session/settings.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "session/settings_internal.h"

enum {
    ENTRIES_MAX = SETTING_ROWS_MAX + SETTINGS_CUSTOM_MAX,
    UNDO_MAX =
        SETTINGS_SAVEPOINT_MAX + SETTINGS_LAYER_COUNT * ENTRIES_MAX * 16, /* of the growing array; see undo_reserve() */
};

/* --- rows and entries --- */

void settings_mark_row(uint64_t bits[SETTINGS_WORDS], size_t row, bool is_set)
{
    sq_assert(row < SETTING_ROWS_MAX);
    uint64_t bit = UINT64_C(1) << (row % 64);
    bits[row / 64] = is_set ? bits[row / 64] | bit : bits[row / 64] & ~bit;
}

static bool has_row(const uint64_t bits[SETTINGS_WORDS], size_t row)
{
    return (bits[row / 64] >> (row % 64) & 1) != 0;
}

void settings_init(struct settings *settings)
{
    *settings = (struct settings){0};
    for (size_t row = 0; row < setting_count; row++) {
        if ((setting_infos[row].flags & SETTING_REPORTED) != 0)
            settings_mark_row(settings->changed, row, true);
    }
}

static void entry_done(struct settings_entry *entry)
{
    for (size_t layer = 0; layer < SETTINGS_LAYER_COUNT; layer++)
        free(entry->layers[layer]);
    free(entry->name);
}

static void undo_done(struct settings_undo *undo)
{
    free(undo->former);
    free(undo->savepoint);
}

void settings_done(struct settings *settings)
{
    for (size_t i = 0; i < settings->undo_count; i++)
        undo_done(&settings->undo[i]);
    for (size_t i = 0; i < settings->entry_count; i++)
        entry_done(&settings->entries[i]);
    free(settings->undo);
    free(settings->entries);
    settings_init(settings);
}

/* NULL: nothing but the built-in value. */
struct settings_entry *settings_find_entry(const struct settings *settings, size_t row)
{
    if (!has_row(settings->present, row))
        return NULL;
    size_t i = 0;
    while (i < settings->entry_count && settings->entries[i].row != row)
        i++;
    sq_assert(i < settings->entry_count);
    return &settings->entries[i];
}

struct settings_entry *settings_find_custom(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->entry_count; i++) {
        struct settings_entry *entry = &settings->entries[i];
        if (entry->row == SETTINGS_ROW_CUSTOM && strcasecmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

static const struct setting_info *find_info(const char *name)
{
    for (size_t row = 0; row < setting_count; row++) {
        if (strcasecmp(setting_infos[row].name, name) == 0)
            return &setting_infos[row];
    }
    return NULL;
}

static size_t row_of(const struct setting_info *info)
{
    return (size_t)(info - setting_infos);
}

static const struct setting_value *top_value(const struct settings_entry *entry)
{
    for (size_t layer = SETTINGS_LAYER_COUNT; entry != NULL && layer-- > 0;) {
        if (entry->layers[layer] != NULL)
            return entry->layers[layer];
    }
    return NULL;
}

/* The value in force: the text, and the number. For a name with a dot that has no value any more, "". */
const char *settings_effective(const struct settings *settings, size_t row, const struct settings_entry *entry,
                               int64_t *ret_number)
{
    const struct setting_value *value = top_value(entry);
    if (value == NULL && row != SETTINGS_ROW_CUSTOM && (setting_infos[row].flags & SETTING_TRANSACTION) != 0) {
        row = setting_infos[row].fallback;
        value = top_value(settings_find_entry(settings, row));
    }
    *ret_number = value != NULL ? value->number : row != SETTINGS_ROW_CUSTOM ? setting_infos[row].default_number : 0;
    return value != NULL ? value->text : row != SETTINGS_ROW_CUSTOM ? setting_infos[row].default_text : "";
}

/* Nobody needs to know of it any more. */
static bool entry_is_empty(const struct settings_entry *entry)
{
    return top_value(entry) == NULL && !entry->is_changed && !entry->is_unsent;
}

/* A session value that says what lies below it anyway is not kept. */
static void drop_needless(struct settings_entry *entry)
{
    struct setting_value *session = entry->layers[SETTINGS_LAYER_SESSION],
                         *startup = entry->layers[SETTINGS_LAYER_STARTUP];
    if (session == NULL || entry->row == SETTINGS_ROW_CUSTOM)
        return;
    const char *below = startup != NULL ? startup->text : setting_infos[entry->row].default_text;
    if (strcmp(session->text, below) == 0) {
        free(session);
        entry->layers[SETTINGS_LAYER_SESSION] = NULL;
    }
}

/* Outside a transaction: drops what is not needed. */
static void compact(struct settings *settings)
{
    size_t kept = 0;
    sq_assert(settings->undo_count == 0);
    for (size_t i = 0; i < settings->entry_count; i++) {
        struct settings_entry *entry = &settings->entries[i];
        drop_needless(entry);
        if (!entry_is_empty(entry)) {
            settings->entries[kept++] = *entry;
            continue;
        }
        if (entry->row != SETTINGS_ROW_CUSTOM)
            settings_mark_row(settings->present, entry->row, false);
        entry_done(entry);
    }
    settings->entry_count = (uint16_t)kept;
    if (kept == 0) {
        free(settings->entries);
        settings->entries = NULL;
        settings->entry_capacity = 0;
    }
}

/* An entry more, without layers. `name`: NULL but for SETTINGS_ROW_CUSTOM. */
static sq_status add_entry(struct settings *settings, size_t row, const char *name, struct settings_entry **ret_entry,
                           struct sq_error *err)
{
    if (settings->entry_count == settings->entry_capacity) {
        uint16_t capacity = (uint16_t)(settings->entry_capacity > 0 ? 2 * settings->entry_capacity : 4);
        struct settings_entry *entries = realloc(settings->entries, capacity * sizeof(*entries));
        if (entries == NULL)
            return sq_fail(err, SQ_NOMEM, "out of memory for a setting");
        settings->entries = entries;
        settings->entry_capacity = capacity;
    }
    char *copy = name != NULL ? strdup(name) : NULL;
    if (name != NULL && copy == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a setting");
    sq_assert(settings->entry_count < ENTRIES_MAX);
    struct settings_entry *entry = &settings->entries[settings->entry_count++];
    *entry = (struct settings_entry){.name = copy, .row = (uint16_t)row};
    if (row != SETTINGS_ROW_CUSTOM)
        settings_mark_row(settings->present, row, true);
    *ret_entry = entry;
    return SQ_OK;
}

static size_t count_customs(const struct settings *settings)
{
    size_t count = 0;
    for (size_t i = 0; i < settings->entry_count; i++)
        count += settings->entries[i].row == SETTINGS_ROW_CUSTOM;
    return count;
}

/* --- changing a layer --- */

/* Room for `count` records more. */
static sq_status undo_reserve(struct settings *settings, size_t count, struct sq_error *err)
{
    size_t needed = settings->undo_count + count;
    if (needed <= settings->undo_capacity)
        return SQ_OK;
    if (needed > UNDO_MAX)
        return sq_fail(err, SQ_LIMIT, "too many settings changed between too many savepoints");
    size_t capacity = 2 * needed;
    struct settings_undo *undo = realloc(settings->undo, capacity * sizeof(*undo));
    if (undo == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a setting");
    settings->undo = undo;
    settings->undo_capacity = capacity;
    return SQ_OK;
}

/* Whether records from `from` on, up to `to`, hold this layer's former value. */
static bool undo_has(const struct settings *settings, size_t from, size_t to, size_t entry_index, size_t layer)
{
    for (size_t i = from; i < to; i++) {
        const struct settings_undo *undo = &settings->undo[i];
        if (undo->kind == SETTINGS_UNDO_CHANGE && undo->entry_index == entry_index && undo->layer == layer)
            return true;
    }
    return false;
}

/* The first record behind the newest savepoint before `end`. */
static size_t segment_start(const struct settings *settings, size_t end)
{
    while (end > 0 && settings->undo[end - 1].kind != SETTINGS_UNDO_SAVEPOINT)
        end--;
    return end;
}

/* Whether another server's session follows the setting: not what is the server's own, or ends with a transaction. */
bool settings_is_followed(size_t row)
{
    return row == SETTINGS_ROW_CUSTOM || (setting_infos[row].flags & (SETTING_READ_ONLY | SETTING_TRANSACTION)) == 0;
}

/* The value in force is another one: clients, and the other server, are to be told. */
static void note_change(struct settings *settings, struct settings_entry *entry)
{
    size_t row = entry->row;
    bool is_unsent = settings->tracks_unsent && settings_is_followed(row);
    if (row == SETTINGS_ROW_CUSTOM) {
        entry->is_changed = entry->is_changed || settings->reports_all;
        entry->is_unsent = entry->is_unsent || is_unsent;
        settings->has_changed_own = settings->has_changed_own || settings->reports_all;
        return;
    }
    if ((setting_infos[row].flags & SETTING_REPORTED) != 0 || (settings->reports_all && settings_is_followed(row)))
        settings_mark_row(settings->changed, row, true);
    if (is_unsent)
        settings_mark_row(settings->unsent, row, true);
}

/* Puts `value` (which may be NULL) into the layer and gives the former one back; notes who must be told. */
static struct setting_value *exchange(struct settings *settings, struct settings_entry *entry, size_t layer,
                                      struct setting_value *value)
{
    settings->revision++;
    int64_t number;
    const char *before = settings_effective(settings, entry->row, entry, &number);
    struct setting_value *former = entry->layers[layer];
    entry->layers[layer] = value;
    if (strcmp(before, settings_effective(settings, entry->row, entry, &number)) != 0)
        note_change(settings, entry);
    return former;
}

/* The same, for a change that ROLLBACK takes back; the room for its record was reserved. */
static void change_layer(struct settings *settings, struct settings_entry *entry, size_t layer,
                         struct setting_value *value)
{
    size_t entry_index = (size_t)(entry - settings->entries);
    if (entry->layers[layer] == NULL && value == NULL)
        return;
    struct setting_value *former = exchange(settings, entry, layer, value);
    size_t start = segment_start(settings, settings->undo_count);
    if (!settings->is_in_transaction || undo_has(settings, start, settings->undo_count, entry_index, layer)) {
        free(former);
        return;
    }
    sq_assert(settings->undo_count < settings->undo_capacity);
    settings->undo[settings->undo_count++] = (struct settings_undo){
        .kind = SETTINGS_UNDO_CHANGE, .entry_index = (uint16_t)entry_index, .layer = (uint8_t)layer, .former = former};
}

static struct setting_value *make_value(const char *text, int64_t number)
{
    size_t bytes = strlen(text) + 1;
    struct setting_value *value = malloc(sizeof(*value) + bytes);
    if (value != NULL) {
        value->number = number;
        memcpy(value->text, text, bytes);
    }
    return value;
}

/* Hands `value` (NULL: none) to a layer of the setting `row`, or of the user's own `name`; the value is freed if that
 * fails. A SESSION value takes the LOCAL one away: the newest SET counts. */
static sq_status store(struct settings *settings, size_t row, const char *name, size_t layer,
                       struct setting_value *value, struct sq_error *err)
{
    struct settings_entry *entry =
        row == SETTINGS_ROW_CUSTOM ? settings_find_custom(settings, name) : settings_find_entry(settings, row);
    if (entry == NULL && value == NULL)
        return SQ_OK;
    sq_status status = settings->is_in_transaction ? undo_reserve(settings, 2, err) : SQ_OK;
    if (status == SQ_OK && entry == NULL) {
        if (row == SETTINGS_ROW_CUSTOM && count_customs(settings) >= SETTINGS_CUSTOM_MAX)
            status = sq_fail(err, SQ_LIMIT, "a session may have at most %d settings of its own", SETTINGS_CUSTOM_MAX);
        else
            status = add_entry(settings, row, row == SETTINGS_ROW_CUSTOM ? name : NULL, &entry, err);
    }
    if (status != SQ_OK) {
        free(value);
        return status;
    }
    if (layer == SETTINGS_LAYER_STARTUP) {
        free(exchange(settings, entry, layer, value));
    } else {
        change_layer(settings, entry, layer, value);
        if (layer == SETTINGS_LAYER_SESSION)
            change_layer(settings, entry, SETTINGS_LAYER_LOCAL, NULL);
    }
    if (!settings->is_in_transaction)
        compact(settings);
    return SQ_OK;
}

/* --- SET, RESET, SHOW --- */

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

/* part.part[.part …], each like an identifier (manual, "Customized Options"). */
static bool is_custom_name(const char *name)
{
    size_t part_count = 0;
    for (;;) {
        if (!is_name_start(*name))
            return false;
        while (is_name_start(*name) || (*name >= '0' && *name <= '9') || *name == '$')
            name++;
        part_count++;
        if (*name == '\0')
            return part_count > 1;
        if (*name++ != '.')
            return false;
    }
}

static sq_status fail_unknown(const char *name, struct sq_error *err)
{
    return sq_fail_sql(err, SQ_SQL, "42704", "unrecognized configuration parameter \"%s\"", name);
}

/* The setting's row, or SETTINGS_ROW_CUSTOM for a good name with a dot. */
sq_status settings_find_row(const char *name, size_t *ret_row, struct sq_error *err)
{
    const struct setting_info *info = find_info(name);
    *ret_row = info != NULL ? row_of(info) : SETTINGS_ROW_CUSTOM;
    if (info != NULL)
        return SQ_OK;
    if (strchr(name, '.') == NULL)
        return fail_unknown(name, err);
    if (!is_custom_name(name))
        return sq_fail_sql(err, SQ_SQL, "42602", "invalid configuration parameter name \"%s\"", name);
    if (strlen(name) > SETTINGS_NAME_BYTES_MAX)
        return sq_fail(err, SQ_LIMIT, "configuration parameter name \"%s\" is longer than %d bytes", name,
                       SETTINGS_NAME_BYTES_MAX);
    return SQ_OK;
}

static const struct setting_info custom_info = {.name = "", .kind = SETTING_KIND_TEXT};

/* A checked value of its own; NULL and *ret_status if it is no good. */
static struct setting_value *read_value(const struct settings *settings, size_t row, const char *name, const char *text,
                                        sq_status *ret_status, struct sq_error *err)
{
    char canonical[SETTINGS_VALUE_BYTES_MAX + 1];
    int64_t number = 0, current_number;
    struct setting_info info = row == SETTINGS_ROW_CUSTOM ? custom_info : setting_infos[row];
    if (row == SETTINGS_ROW_CUSTOM)
        info.name = name;
    const struct settings_entry *entry = row == SETTINGS_ROW_CUSTOM ? NULL : settings_find_entry(settings, row);
    const char *current = settings_effective(settings, row, entry, &current_number);
    *ret_status = setting_value_parse(&info, text, current, canonical, &number, err);
    if (*ret_status != SQ_OK)
        return NULL;
    struct setting_value *value = make_value(canonical, number);
    if (value == NULL)
        *ret_status = sq_fail(err, SQ_NOMEM, "out of memory for a setting");
    return value;
}

/* What SET LOCAL … TO DEFAULT makes local: a copy of the value that RESET would uncover. */
static struct setting_value *copy_reset_value(const struct settings *settings, size_t row, const char *name,
                                              sq_status *ret_status, struct sq_error *err)
{
    const struct settings_entry *entry =
        row == SETTINGS_ROW_CUSTOM ? settings_find_custom(settings, name) : settings_find_entry(settings, row);
    const struct setting_value *startup = entry != NULL ? entry->layers[SETTINGS_LAYER_STARTUP] : NULL;
    struct setting_value *value;
    if (startup != NULL)
        value = make_value(startup->text, startup->number);
    else if (row == SETTINGS_ROW_CUSTOM)
        value = make_value("", 0);
    else
        value = make_value(setting_infos[row].default_text, setting_infos[row].default_number);
    if (value == NULL)
        *ret_status = sq_fail(err, SQ_NOMEM, "out of memory for a setting");
    return value;
}

sq_status settings_set(struct settings *settings, const char *name, const char *value, enum settings_scope scope,
                       struct sq_error *err)
{
    size_t row;
    sq_status status = SQ_OK;
    struct setting_value *stored = NULL;
    sq_assert(name != NULL);
    SQ_TRY(settings_find_row(name, &row, err));
    unsigned flags = row == SETTINGS_ROW_CUSTOM ? 0 : setting_infos[row].flags;
    if ((flags & SETTING_READ_ONLY) != 0)
        return sq_fail_sql(err, SQ_SQL, "55P02", "parameter \"%s\" cannot be changed", setting_infos[row].name);
    bool is_transaction = (flags & SETTING_TRANSACTION) != 0;
    bool is_local = is_transaction || scope == SETTINGS_LOCAL;
    if (value != NULL)
        stored = read_value(settings, row, name, value, &status, err);
    else if (is_local && !is_transaction)
        stored = copy_reset_value(settings, row, name, &status, err);
    if (status != SQ_OK)
        return status;
    if (is_local && !settings->is_in_transaction) {
        free(stored);
        return SQ_OK;
    }
    return store(settings, row, name, is_local ? SETTINGS_LAYER_LOCAL : SETTINGS_LAYER_SESSION, stored, err);
}

sq_status settings_set_startup(struct settings *settings, const char *name, const char *value, struct sq_error *err)
{
    size_t row;
    sq_status status;
    SQ_TRY(settings_find_row(name, &row, err));
    if (row != SETTINGS_ROW_CUSTOM && (setting_infos[row].flags & SETTING_READ_ONLY) != 0)
        return sq_fail_sql(err, SQ_SQL, "55P02", "parameter \"%s\" cannot be changed", setting_infos[row].name);
    struct setting_value *stored = read_value(settings, row, name, value, &status, err);
    if (stored == NULL)
        return status;
    return store(settings, row, name, SETTINGS_LAYER_STARTUP, stored, err);
}

sq_status settings_assign(struct settings *settings, enum setting_id id, const char *value, struct sq_error *err)
{
    sq_assert(id < SETTING_NAMED_COUNT && value != NULL);
    int64_t number = 0;
    const struct setting_info *info = &setting_infos[id];
    const char *text = value;
    char canonical[SETTINGS_VALUE_BYTES_MAX + 1];
    /* The server's own texts go in as they are; numbers must be ones. */
    if (info->kind != SETTING_KIND_TEXT) {
        SQ_TRY(setting_value_parse(info, value, info->default_text, canonical, &number, err));
        text = canonical;
    }
    struct setting_value *stored = make_value(text, number);
    if (stored == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a setting");
    return store(settings, id, NULL, SETTINGS_LAYER_STARTUP, stored, err);
}

sq_status settings_reset(struct settings *settings, const char *name, struct sq_error *err)
{
    return settings_set(settings, name, NULL, SETTINGS_SESSION, err);
}

sq_status settings_reset_all(struct settings *settings, struct sq_error *err)
{
    if (settings->is_in_transaction)
        SQ_TRY(undo_reserve(settings, (size_t)settings->entry_count * 2, err));
    for (size_t i = 0; i < settings->entry_count; i++) {
        struct settings_entry *entry = &settings->entries[i];
        if (entry->row != SETTINGS_ROW_CUSTOM && (setting_infos[entry->row].flags & SETTING_TRANSACTION) != 0)
            continue;
        change_layer(settings, entry, SETTINGS_LAYER_SESSION, NULL);
        change_layer(settings, entry, SETTINGS_LAYER_LOCAL, NULL);
    }
    if (!settings->is_in_transaction)
        compact(settings);
    return SQ_OK;
}

sq_status settings_show(const struct settings *settings, const char *name, const char **ret_name,
                        const char **ret_value, struct sq_error *err)
{
    const struct setting_info *info = find_info(name);
    size_t row = info != NULL ? row_of(info) : SETTINGS_ROW_CUSTOM;
    const struct settings_entry *entry =
        info != NULL ? settings_find_entry(settings, row) : settings_find_custom(settings, name);
    int64_t number;
    if (info == NULL && entry == NULL)
        return fail_unknown(name, err);
    *ret_value = settings_effective(settings, row, entry, &number);
    if (ret_name != NULL)
        *ret_name = info != NULL ? info->name : entry->name;
    return SQ_OK;
}

const char *settings_text(const struct settings *settings, enum setting_id id)
{
    int64_t number;
    sq_assert(id < SETTING_NAMED_COUNT);
    return settings_effective(settings, id, settings_find_entry(settings, id), &number);
}

int64_t settings_int64(const struct settings *settings, enum setting_id id)
{
    int64_t number;
    sq_assert(id < SETTING_NAMED_COUNT && setting_infos[id].kind != SETTING_KIND_TEXT);
    bool is_present = (settings->present[id / 64] >> id % 64 & 1) != 0;
    if (SQ_LIKELY(!is_present && (setting_infos[id].flags & SETTING_TRANSACTION) == 0))
        return setting_infos[id].default_number;
    (void)settings_effective(settings, id, settings_find_entry(settings, id), &number);
    return number;
}

/* --- transactions --- */

void settings_begin(struct settings *settings)
{
    sq_assert(settings->is_in_transaction || settings->undo_count == 0);
    settings->is_in_transaction = true;
}

/* The transaction is over: what was recorded goes, and so do LOCAL values. */
static void end_transaction(struct settings *settings)
{
    for (size_t i = 0; i < settings->undo_count; i++)
        undo_done(&settings->undo[i]);
    free(settings->undo);
    settings->undo = NULL;
    settings->undo_count = 0;
    settings->undo_capacity = 0;
    settings->savepoint_count = 0;
    settings->is_in_transaction = false;
    for (size_t i = 0; i < settings->entry_count; i++)
        free(exchange(settings, &settings->entries[i], SETTINGS_LAYER_LOCAL, NULL));
    compact(settings);
}

void settings_commit(struct settings *settings)
{
    if (settings->is_in_transaction)
        end_transaction(settings);
}

/* Takes back everything behind the first `kept_count` records. */
static void undo_back_to(struct settings *settings, size_t kept_count)
{
    while (settings->undo_count > kept_count) {
        struct settings_undo *undo = &settings->undo[--settings->undo_count];
        if (undo->kind == SETTINGS_UNDO_CHANGE) {
            sq_assert(undo->entry_index < settings->entry_count);
            free(exchange(settings, &settings->entries[undo->entry_index], undo->layer, undo->former));
        } else {
            free(undo->savepoint);
            settings->savepoint_count--;
        }
    }
}

void settings_rollback(struct settings *settings)
{
    if (!settings->is_in_transaction)
        return;
    undo_back_to(settings, 0);
    end_transaction(settings);
}

sq_status settings_savepoint(struct settings *settings, const char *name, struct sq_error *err)
{
    if (!settings->is_in_transaction)
        return SQ_OK;
    if (settings->savepoint_count == SETTINGS_SAVEPOINT_MAX)
        return sq_fail(err, SQ_LIMIT, "a transaction may have at most %d savepoints", SETTINGS_SAVEPOINT_MAX);
    SQ_TRY(undo_reserve(settings, 1, err));
    char *copy = strdup(name);
    if (copy == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a savepoint");
    settings->undo[settings->undo_count++] = (struct settings_undo){.kind = SETTINGS_UNDO_SAVEPOINT, .savepoint = copy};
    settings->savepoint_count++;
    return SQ_OK;
}

/* Index of the newest savepoint of this name; SIZE_MAX: none. */
static size_t find_savepoint(const struct settings *settings, const char *name)
{
    for (size_t i = settings->undo_count; i-- > 0;) {
        if (settings->undo[i].kind == SETTINGS_UNDO_SAVEPOINT && strcasecmp(settings->undo[i].savepoint, name) == 0)
            return i;
    }
    return SIZE_MAX;
}

/* The savepoint and those inside it go; their changes now belong to what is around them, where the former value that is
 * recorded first is the one that counts. */
void settings_release(struct settings *settings, const char *name)
{
    size_t index = find_savepoint(settings, name);
    if (index == SIZE_MAX)
        return;
    size_t start = segment_start(settings, index), kept = index;
    for (size_t i = index; i < settings->undo_count; i++) {
        struct settings_undo *undo = &settings->undo[i];
        bool is_savepoint = undo->kind == SETTINGS_UNDO_SAVEPOINT;
        if (is_savepoint || undo_has(settings, start, kept, undo->entry_index, undo->layer)) {
            settings->savepoint_count -= is_savepoint;
            undo_done(undo);
        } else {
            settings->undo[kept++] = *undo;
        }
    }
    settings->undo_count = kept;
}

void settings_rollback_to(struct settings *settings, const char *name)
{
    size_t index = find_savepoint(settings, name);
    if (index != SIZE_MAX)
        undo_back_to(settings, index + 1);
}
