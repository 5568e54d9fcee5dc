/* session/settings_internal.h: what settings.c (values and their layers), settings_walk.c (who is told of them),
 * settings_value.c (reading a value) and settings_table.c (which settings there are) share. */
#ifndef SQ_SESSION_SETTINGS_INTERNAL_H
#define SQ_SESSION_SETTINGS_INTERNAL_H

#include "session/settings.h"

enum setting_kind {
    SETTING_KIND_TEXT = 0,
    SETTING_KIND_BOOL,
    SETTING_KIND_INT,
    SETTING_KIND_DURATION, /* milliseconds */
    SETTING_KIND_ENUM,
};

enum setting_flag {
    SETTING_REPORTED = 1,    /* ParameterStatus (manual, "Asynchronous Operations") */
    SETTING_READ_ONLY = 2,   /* not the client's to change */
    SETTING_TRANSACTION = 4, /* a transaction_…: always local, falls back to `fallback` */
};

/* A word of an enum; the words of one number after the first are other spellings of it. */
struct setting_word {
    const char *word; /* NULL: the end of the list */
    int64_t number;
    bool is_hidden;      /* not among "Available values" */
    bool is_unsupported; /* PostgreSQL has it, this server has not: 0A000 */
};

struct setting_info;

/* Writes a value's canonical text into `out`, of SETTINGS_VALUE_BYTES_MAX + 1 bytes; `current` is the value in force.
 * */
typedef sq_status (*setting_canon_fn)(const struct setting_info *info, const char *value, const char *current,
                                      char *out, struct sq_error *err);

struct setting_info {
    const char *name; /* as PostgreSQL spells it */
    const char *default_text;
    const char *description;
    int64_t default_number; /* of default_text, for all kinds but text; a test compares them */
    int64_t min, max;       /* INT, DURATION */
    const struct setting_word *words;
    setting_canon_fn canon; /* TEXT: NULL takes any text */
    enum setting_kind kind;
    unsigned flags;
    enum setting_id fallback;
};

enum { SETTING_ROWS_MAX = 64 * SETTINGS_WORDS };

/* The row of every enum setting_id comes first. */
extern const struct setting_info setting_infos[];
extern const size_t setting_count;

/* Reads `value` as the setting's kind has it: canonical text into `out` (SETTINGS_VALUE_BYTES_MAX + 1 bytes), its
 * number into *ret_number (0 for text). */
SQ_MUST_USE sq_status setting_value_parse(const struct setting_info *info, const char *value, const char *current,
                                          char *out, int64_t *ret_number, struct sq_error *err);

/* Canonicalisers of the settings that are more than a text. */
sq_status setting_canon_application_name(const struct setting_info *info, const char *value, const char *current,
                                         char *out, struct sq_error *err);
sq_status setting_canon_client_encoding(const struct setting_info *info, const char *value, const char *current,
                                        char *out, struct sq_error *err);
sq_status setting_canon_date_style(const struct setting_info *info, const char *value, const char *current, char *out,
                                   struct sq_error *err);
sq_status setting_canon_consistency(const struct setting_info *info, const char *value, const char *current, char *out,
                                    struct sq_error *err);
sq_status setting_canon_position(const struct setting_info *info, const char *value, const char *current, char *out,
                                 struct sq_error *err);
sq_status setting_canon_time_zone(const struct setting_info *info, const char *value, const char *current, char *out,
                                  struct sq_error *err);

/* --- Values in their layers: settings.c changes them, settings_walk.c reads them ---------------------------------- */

enum settings_layer { SETTINGS_LAYER_STARTUP = 0, SETTINGS_LAYER_SESSION, SETTINGS_LAYER_LOCAL, SETTINGS_LAYER_COUNT };
enum { SETTINGS_ROW_CUSTOM = 0xffff /* an entry's row, for a name with a dot */ };

struct setting_value {
    int64_t number;
    char text[]; /* canonical, NUL-terminated */
};

struct settings_entry {
    struct setting_value *layers[SETTINGS_LAYER_COUNT];
    char *name;                 /* SETTINGS_ROW_CUSTOM: as first spelled; else NULL */
    uint16_t row;               /* index in setting_infos, or SETTINGS_ROW_CUSTOM */
    bool is_changed, is_unsent; /* of SETTINGS_ROW_CUSTOM: as the bits in settings.changed and .unsent */
};

enum settings_undo_kind { SETTINGS_UNDO_CHANGE = 0, SETTINGS_UNDO_SAVEPOINT };

struct settings_undo {
    enum settings_undo_kind kind;
    uint16_t entry_index;
    uint8_t layer;
    struct setting_value *former; /* may be NULL */
    char *savepoint;
};

void settings_mark_row(uint64_t bits[SETTINGS_WORDS], size_t row, bool is_set);
/* NULL: nothing but the built-in value. */
struct settings_entry *settings_find_entry(const struct settings *settings, size_t row);
struct settings_entry *settings_find_custom(const struct settings *settings, const char *name);
/* The value in force: the text, and the number. For a name with a dot that has no value any more, "". */
const char *settings_effective(const struct settings *settings, size_t row, const struct settings_entry *entry,
                               int64_t *ret_number);
/* The setting's row, or SETTINGS_ROW_CUSTOM for a good name with a dot. */
SQ_MUST_USE sq_status settings_find_row(const char *name, size_t *ret_row, struct sq_error *err);
/* Whether another server's session follows the setting: not what is the server's own, or ends with a transaction. */
bool settings_is_followed(size_t row);

#endif
