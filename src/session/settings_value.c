/* session/settings_value.c: reading what stands behind SET name TO, as PostgreSQL reads it (manual, "Setting
 * Parameters", section "Parameter Names and Values"), and writing it as SHOW gives it. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "session/settings_internal.h"

enum { APPLICATION_NAME_BYTES_MAX = 63, TIME_ZONE_BYTES_MAX = 255 };

static sq_status fail_value(const struct setting_info *info, const char *value, struct sq_error *err)
{
    return sq_fail_sql(err, SQ_SQL, "22023", "invalid value for parameter \"%s\": \"%s\"", info->name, value);
}

static void put_text(char *out, const char *text)
{
    size_t length = strlen(text);
    sq_assert(length <= SETTINGS_VALUE_BYTES_MAX);
    memcpy(out, text, length + 1);
}

/* A beginning of true, false, yes, no, on, off that fits only one of them; 1, 0. */
static bool read_bool(const char *value, bool *ret_is_on)
{
    static const struct {
        const char *word;
        size_t letters_min;
        bool is_on;
    } words[] = {{"true", 1, true}, {"false", 1, false}, {"yes", 1, true}, {"no", 1, false},
                 {"on", 2, true},   {"off", 2, false},   {"1", 1, true},   {"0", 1, false}};
    size_t length = strlen(value);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (length >= words[i].letters_min && length <= strlen(words[i].word) &&
            strncasecmp(value, words[i].word, length) == 0) {
            *ret_is_on = words[i].is_on;
            return true;
        }
    }
    return false;
}

static sq_status fail_range(const struct setting_info *info, int64_t number, const char *unit, struct sq_error *err)
{
    return sq_fail_sql(err, SQ_SQL, "22023",
                       "%" PRId64 "%s is outside the valid range for parameter \"%s\" (%" PRId64 "%s .. %" PRId64 "%s)",
                       number, unit, info->name, info->min, unit, info->max, unit);
}

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\n\r\f\v")] == '\0';
}

static sq_status parse_int(const struct setting_info *info, const char *value, char *out, int64_t *ret_number,
                           struct sq_error *err)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(value, &end, 0);
    if (end == value || !is_blank(end))
        return fail_value(info, value, err);
    if (errno == ERANGE || number < info->min || number > info->max)
        return fail_range(info, number, "", err);
    (void)snprintf(out, SETTINGS_VALUE_BYTES_MAX + 1, "%lld", number);
    *ret_number = number;
    return SQ_OK;
}

struct duration_unit {
    const char *name;
    double ms;
};

/* Largest first, as SHOW looks for the largest that divides the value. */
static const struct duration_unit duration_units[] = {{"d", 86400e3}, {"h", 3600e3}, {"min", 60e3},
                                                      {"s", 1e3},     {"ms", 1},     {"us", 1e-3}};
enum { DURATION_UNIT_COUNT = sizeof(duration_units) / sizeof(duration_units[0]) };

static void put_duration(char *out, int64_t ms)
{
    for (size_t i = 0; ms > 0 && i < DURATION_UNIT_COUNT - 1; i++) {
        int64_t unit_ms = (int64_t)duration_units[i].ms;
        if (ms % unit_ms == 0) {
            (void)snprintf(out, SETTINGS_VALUE_BYTES_MAX + 1, "%" PRId64 "%s", ms / unit_ms, duration_units[i].name);
            return;
        }
    }
    (void)snprintf(out, SETTINGS_VALUE_BYTES_MAX + 1, "%" PRId64, ms);
}

/* A number, with a fraction perhaps, and a unit; without one, milliseconds. */
static sq_status parse_duration(const struct setting_info *info, const char *value, char *out, int64_t *ret_number,
                                struct sq_error *err)
{
    char *end = NULL;
    double number = strtod(value, &end);
    if (end == value || !isfinite(number))
        return fail_value(info, value, err);
    end += strspn(end, " ");
    double unit_ms = 1;
    size_t unit_length = strcspn(end, " ");
    if (unit_length > 0) {
        size_t i = 0;
        while (i < DURATION_UNIT_COUNT &&
               (strlen(duration_units[i].name) != unit_length || memcmp(duration_units[i].name, end, unit_length) != 0))
            i++;
        if (i == DURATION_UNIT_COUNT || !is_blank(end + unit_length)) {
            sq_status status = fail_value(info, value, err);
            if (err != NULL)
                sq_error_set_hint(err, "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and "
                                       "\"d\".");
            return status;
        }
        unit_ms = duration_units[i].ms;
    }
    double ms = rint(number * unit_ms);
    if (!(ms >= (double)info->min && ms <= (double)info->max)) {
        double shown = ms < -9e15 ? -9e15 : ms > 9e15 ? 9e15 : ms;
        return fail_range(info, (int64_t)shown, " ms", err);
    }
    *ret_number = (int64_t)ms;
    put_duration(out, *ret_number);
    return SQ_OK;
}

static void hint_words(const struct setting_info *info, struct sq_error *err)
{
    char words[SQ_ERROR_EXTRA_MAX] = "";
    size_t used = 0;
    for (const struct setting_word *word = info->words; word->word != NULL; word++) {
        if (word->is_hidden || word->is_unsupported || used >= sizeof(words) - 1)
            continue;
        int written = snprintf(words + used, sizeof(words) - used, "%s%s", used > 0 ? ", " : "", word->word);
        used += written > 0 ? (size_t)written : 0;
    }
    if (err != NULL)
        sq_error_set_hint(err, "Available values: %s.", words);
}

static sq_status parse_enum(const struct setting_info *info, const char *value, char *out, int64_t *ret_number,
                            struct sq_error *err)
{
    const struct setting_word *found = info->words;
    while (found->word != NULL && strcasecmp(found->word, value) != 0)
        found++;
    if (found->word == NULL || found->is_unsupported) {
        sq_status status = found->word == NULL
                               ? fail_value(info, value, err)
                               : sq_fail_sql(err, SQ_SQL, "0A000", "value \"%s\" of parameter \"%s\" is not supported",
                                             value, info->name);
        hint_words(info, err);
        return status;
    }
    /* Shown is the first spelling of the number. */
    const struct setting_word *first = info->words;
    while (first->number != found->number)
        first++;
    put_text(out, first->word);
    *ret_number = found->number;
    return SQ_OK;
}

sq_status setting_value_parse(const struct setting_info *info, const char *value, const char *current, char *out,
                              int64_t *ret_number, struct sq_error *err)
{
    bool is_on = false;
    if (strlen(value) > SETTINGS_VALUE_BYTES_MAX)
        return sq_fail(err, SQ_LIMIT, "value of parameter \"%s\" is longer than %d bytes", info->name,
                       SETTINGS_VALUE_BYTES_MAX);
    if (!sq_utf8_is_valid(value, strlen(value)))
        return sq_fail_sql(err, SQ_SQL, "22021", "invalid byte sequence for encoding \"UTF8\"");
    switch (info->kind) {
    case SETTING_KIND_BOOL:
        if (!read_bool(value, &is_on))
            return sq_fail_sql(err, SQ_SQL, "22023", "parameter \"%s\" requires a Boolean value", info->name);
        if (info->words != NULL)
            return parse_enum(info, is_on ? "on" : "off", out, ret_number, err);
        put_text(out, is_on ? "on" : "off");
        *ret_number = is_on;
        return SQ_OK;
    case SETTING_KIND_INT:
        return parse_int(info, value, out, ret_number, err);
    case SETTING_KIND_DURATION:
        return parse_duration(info, value, out, ret_number, err);
    case SETTING_KIND_ENUM:
        return parse_enum(info, value, out, ret_number, err);
    case SETTING_KIND_TEXT:
        break;
    }
    *ret_number = 0;
    if (info->canon != NULL)
        return info->canon(info, value, current, out, err);
    put_text(out, value);
    return SQ_OK;
}

/* PostgreSQL shows any byte outside printable ASCII as `?` and cuts the name to its identifier length. */
sq_status setting_canon_application_name(const struct setting_info *info, const char *value, const char *current,
                                         char *out, struct sq_error *err)
{
    (void)info;
    (void)current;
    (void)err;
    size_t length = strnlen(value, APPLICATION_NAME_BYTES_MAX);
    for (size_t i = 0; i < length; i++)
        out[i] = value[i] < ' ' || value[i] > '~' ? '?' : value[i];
    out[length] = '\0';
    return SQ_OK;
}

/* Names of encodings are compared by their letters and digits alone: UTF-8 is utf8 (manual, "Character Set Support").
 * */
sq_status setting_canon_client_encoding(const struct setting_info *info, const char *value, const char *current,
                                        char *out, struct sq_error *err)
{
    static const struct {
        const char *letters, *name;
    } encodings[] = {{"utf8", "UTF8"}, {"unicode", "UTF8"}, {"sqlascii", "SQL_ASCII"}};
    char letters[16];
    size_t used = 0;
    (void)current;
    for (const char *c = value; *c != '\0' && used < sizeof(letters) - 1; c++) {
        if ((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9'))
            letters[used++] = *c;
        else if (*c >= 'A' && *c <= 'Z')
            letters[used++] = (char)(*c | 0x20);
    }
    letters[used] = '\0';
    for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
        if (strcmp(letters, encodings[i].letters) == 0) {
            put_text(out, encodings[i].name);
            return SQ_OK;
        }
    }
    sq_status status = fail_value(info, value, err);
    if (err != NULL)
        sq_error_set_hint(err, "This server speaks UTF8 only; convert on the client's side.");
    return status;
}

enum date_word_kind { DATE_WORD_STYLE, DATE_WORD_ORDER, DATE_WORD_UNSUPPORTED };

struct date_word {
    const char *word;
    enum date_word_kind kind;
    const char *canon;
};

static const struct date_word *find_date_word(const char *word, size_t length)
{
    static const struct date_word words[] = {
        {"ISO", DATE_WORD_STYLE, "ISO"},
        {"MDY", DATE_WORD_ORDER, "MDY"},
        {"US", DATE_WORD_ORDER, "MDY"},
        {"NONEUROPEAN", DATE_WORD_ORDER, "MDY"},
        {"NONEURO", DATE_WORD_ORDER, "MDY"},
        {"DMY", DATE_WORD_ORDER, "DMY"},
        {"EUROPEAN", DATE_WORD_ORDER, "DMY"},
        {"EURO", DATE_WORD_ORDER, "DMY"},
        {"YMD", DATE_WORD_ORDER, "YMD"},
        {"SQL", DATE_WORD_UNSUPPORTED, NULL},
        {"POSTGRES", DATE_WORD_UNSUPPORTED, NULL},
        {"GERMAN", DATE_WORD_UNSUPPORTED, NULL},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i].word) == length && strncasecmp(words[i].word, word, length) == 0)
            return &words[i];
    }
    return NULL;
}

/* `style, order` in any order and either alone (manual, "Date Order Conventions"). SQLite's dates are ISO texts, so
 * ISO is the only style; the order has no effect but is kept. */
sq_status setting_canon_date_style(const struct setting_info *info, const char *value, const char *current, char *out,
                                   struct sq_error *err)
{
    const char *order = "MDY", *style = NULL, *given_order = NULL;
    const char *comma = strchr(current, ',');
    const struct date_word *now = comma != NULL ? find_date_word(comma + 2, strlen(comma + 2)) : NULL;
    if (now != NULL && now->kind == DATE_WORD_ORDER)
        order = now->canon;
    for (const char *at = value + strspn(value, ", \t"); *at != '\0';) {
        size_t length = strcspn(at, ", \t");
        const struct date_word *word = find_date_word(at, length);
        if (word == NULL)
            return fail_value(info, value, err);
        if (word->kind == DATE_WORD_UNSUPPORTED) {
            sq_status status =
                sq_fail_sql(err, SQ_SQL, "0A000", "date style \"%.*s\" is not supported", (int)length, at);
            if (err != NULL)
                sq_error_set_hint(err, "Dates are ISO texts here: use \"ISO\".");
            return status;
        }
        const char **target = word->kind == DATE_WORD_STYLE ? &style : &given_order;
        if (*target != NULL && strcmp(*target, word->canon) != 0)
            return fail_value(info, value, err);
        *target = word->canon;
        at += length;
        at += strspn(at, ", \t");
    }
    if (style == NULL && given_order == NULL)
        return fail_value(info, value, err);
    (void)snprintf(out, SETTINGS_VALUE_BYTES_MAX + 1, "ISO, %s", given_order != NULL ? given_order : order);
    return SQ_OK;
}

/* Any text that could be a zone: SQLite has no zones of its own, and clients only want to see it again. */
sq_status setting_canon_time_zone(const struct setting_info *info, const char *value, const char *current, char *out,
                                  struct sq_error *err)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/:.,<> ";
    size_t length = strlen(value);
    (void)current;
    if (length == 0 || length > TIME_ZONE_BYTES_MAX || strspn(value, letters) != length)
        return fail_value(info, value, err);
    put_text(out, value);
    return SQ_OK;
}
