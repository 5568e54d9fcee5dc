/* session/settings_walk.c: settings for those who want all of them: SHOW ALL, a client that is told of changes, another
 * server whose session follows this one's. Values and layers are settings.c's. */
#include <string.h>
#include <strings.h>

#include "session/settings_internal.h"

static void fill_row(const struct settings *settings, size_t row, const struct settings_entry *entry,
                     struct settings_row *ret_row)
{
    int64_t number;
    ret_row->value = settings_effective(settings, row, entry, &number);
    ret_row->name = row != SETTINGS_ROW_CUSTOM ? setting_infos[row].name : entry->name;
    ret_row->description = row != SETTINGS_ROW_CUSTOM ? setting_infos[row].description : "";
    ret_row->is_reported = row != SETTINGS_ROW_CUSTOM && (setting_infos[row].flags & SETTING_REPORTED) != 0;
    ret_row->is_own = row == SETTINGS_ROW_CUSTOM;
    ret_row->has_value = false;
    for (size_t layer = 0; entry != NULL && layer < SETTINGS_LAYER_COUNT; layer++)
        ret_row->has_value = ret_row->has_value || entry->layers[layer] != NULL;
    ret_row->is_local = entry != NULL && entry->layers[SETTINGS_LAYER_LOCAL] != NULL;
}

/* The row whose name comes next behind that of `previous` (setting_count: the first); setting_count: none. */
static size_t next_by_name(size_t previous)
{
    size_t best = setting_count;
    for (size_t row = 0; row < setting_count; row++) {
        if (previous < setting_count && strcasecmp(setting_infos[row].name, setting_infos[previous].name) <= 0)
            continue;
        if (best == setting_count || strcasecmp(setting_infos[row].name, setting_infos[best].name) < 0)
            best = row;
    }
    return best;
}

/* The cursor: 0 at the start; 1 + row behind a row; 1 + setting_count + index of the next entry among the customs. */
bool settings_next(const struct settings *settings, size_t *cursor, struct settings_row *ret_row)
{
    size_t entry_index = 0;
    if (*cursor <= setting_count) {
        size_t row = next_by_name(*cursor == 0 ? setting_count : *cursor - 1);
        if (row < setting_count) {
            fill_row(settings, row, settings_find_entry(settings, row), ret_row);
            *cursor = 1 + row;
            return true;
        }
    } else {
        entry_index = *cursor - 1 - setting_count;
    }
    for (; entry_index < settings->entry_count; entry_index++) {
        if (settings->entries[entry_index].row == SETTINGS_ROW_CUSTOM) {
            fill_row(settings, SETTINGS_ROW_CUSTOM, &settings->entries[entry_index], ret_row);
            *cursor = 1 + setting_count + entry_index + 1;
            return true;
        }
    }
    *cursor = 1 + setting_count + entry_index;
    return false;
}

/* The next row whose bit is set, which is taken away. */
static bool take_row(struct settings *settings, uint64_t bits[SETTINGS_WORDS], struct settings_row *ret_row)
{
    for (size_t word = 0; word < SETTINGS_WORDS; word++) {
        if (bits[word] == 0)
            continue;
        size_t row = 64 * word + (size_t)__builtin_ctzll(bits[word]);
        settings_mark_row(bits, row, false);
        fill_row(settings, row, settings_find_entry(settings, row), ret_row);
        return true;
    }
    return false;
}

bool settings_next_changed(struct settings *settings, struct settings_row *ret_row)
{
    if (take_row(settings, settings->changed, ret_row))
        return true;
    for (size_t i = 0; settings->has_changed_own && i < settings->entry_count; i++) {
        struct settings_entry *entry = &settings->entries[i];
        if (!entry->is_changed)
            continue;
        entry->is_changed = false;
        fill_row(settings, SETTINGS_ROW_CUSTOM, entry, ret_row);
        return true;
    }
    settings->has_changed_own = false;
    return false;
}

/* --- two servers --- */

void settings_report_all(struct settings *settings)
{
    settings->reports_all = true;
}

bool settings_next_startup(const struct settings *settings, size_t *cursor, struct settings_row *ret_row)
{
    while (*cursor < settings->entry_count) {
        const struct settings_entry *entry = &settings->entries[(*cursor)++];
        const struct setting_value *value = entry->layers[SETTINGS_LAYER_STARTUP];
        if (value == NULL || !settings_is_followed(entry->row))
            continue;
        fill_row(settings, entry->row, entry, ret_row);
        ret_row->value = value->text;
        return true;
    }
    return false;
}

void settings_track_unsent(struct settings *settings, bool is_on)
{
    settings->tracks_unsent = is_on;
    memset(settings->unsent, 0, sizeof(settings->unsent));
    for (size_t i = 0; i < settings->entry_count; i++) {
        struct settings_entry *entry = &settings->entries[i];
        bool is_unsent = is_on && settings_is_followed(entry->row) &&
                         (entry->layers[SETTINGS_LAYER_SESSION] != NULL || entry->layers[SETTINGS_LAYER_LOCAL] != NULL);
        if (entry->row == SETTINGS_ROW_CUSTOM)
            entry->is_unsent = is_unsent;
        else if (is_unsent)
            settings_mark_row(settings->unsent, entry->row, true);
    }
}

void settings_expect(struct settings *settings, const char *name, const char *value)
{
    size_t row;
    int64_t number;
    if (settings_find_row(name, &row, NULL) != SQ_OK || row == SETTINGS_ROW_CUSTOM || !settings->tracks_unsent)
        return;
    if (value == NULL ||
        strcmp(settings_effective(settings, row, settings_find_entry(settings, row), &number), value) != 0)
        settings_mark_row(settings->unsent, row, true);
}

bool settings_next_unsent(struct settings *settings, struct settings_row *ret_row)
{
    if (!settings->tracks_unsent)
        return false;
    if (take_row(settings, settings->unsent, ret_row))
        return true;
    for (size_t i = 0; i < settings->entry_count; i++) {
        struct settings_entry *entry = &settings->entries[i];
        if (!entry->is_unsent)
            continue;
        entry->is_unsent = false;
        fill_row(settings, SETTINGS_ROW_CUSTOM, entry, ret_row);
        return true;
    }
    return false;
}

sq_status settings_mirror(struct settings *settings, const char *name, const char *value, struct sq_error *err)
{
    size_t row;
    if (settings_find_row(name, &row, NULL) != SQ_OK || !settings_is_followed(row))
        return SQ_OK;
    bool is_own = row == SETTINGS_ROW_CUSTOM;
    if (is_own && value[0] != '=' && value[0] != '\0')
        return SQ_OK;
    const char *mirrored = !is_own ? value : value[0] == '=' ? value + 1 : NULL;
    sq_status status = settings_set(settings, name, mirrored, SETTINGS_SESSION, err);
    if (status == SQ_NOMEM || status == SQ_LIMIT)
        return status;
    struct settings_entry *entry = row == SETTINGS_ROW_CUSTOM ? settings_find_custom(settings, name) : NULL;
    if (entry != NULL)
        entry->is_unsent = false;
    else if (row != SETTINGS_ROW_CUSTOM)
        settings_mark_row(settings->unsent, row, false);
    return SQ_OK;
}

const char *settings_next_savepoint(const struct settings *settings, size_t *cursor)
{
    while (*cursor < settings->undo_count) {
        const struct settings_undo *undo = &settings->undo[(*cursor)++];
        if (undo->kind == SETTINGS_UNDO_SAVEPOINT)
            return undo->savepoint;
    }
    return NULL;
}
