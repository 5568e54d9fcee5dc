/* session/position.c: positions and consistency rules as texts. See position.h. */
#include "session/position.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "session/settings_internal.h"

enum { BOUND_MS_MAX = 24 * 3600 * 1000 };

void position_format(const struct wal_position *position, char out[POSITION_TEXT_BYTES])
{
    (void)snprintf(out, POSITION_TEXT_BYTES, "%" PRIu64 "/%016" PRIx64 "/%016" PRIx64, position->timeline,
                   position->txid, position->checksum);
}

/* Digits of a number up to `end`, which is passed over if it is no NUL. False: something else is there. */
static bool take_number(const char **text, int base, char end, uint64_t *ret_number)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    size_t length = strspn(*text, base == 16 ? digits : "0123456789");
    if (length == 0 || (*text)[length] != end)
        return false;
    errno = 0;
    *ret_number = strtoull(*text, NULL, base);
    *text += length + (end != '\0');
    return errno == 0;
}

bool position_parse(const char *text, struct wal_position *ret_position)
{
    struct wal_position position;
    uint64_t txid = 0;
    if (!take_number(&text, 10, '/', &position.timeline) || !take_number(&text, 16, '/', &txid) ||
        !take_number(&text, 16, '\0', &position.checksum))
        return false;
    position.txid = txid;
    *ret_position = position;
    return true;
}

bool position_equals(const struct wal_position *a, const struct wal_position *b)
{
    return a->timeline == b->timeline && a->txid == b->txid && a->checksum == b->checksum;
}

bool position_rule_parse(const char *text, struct position_rule *ret_rule)
{
    static const struct {
        const char *word;
        enum position_mode mode;
    } words[] = {{"local", POSITION_LOCAL}, {"session", POSITION_SESSION}, {"strong", POSITION_STRONG}};
    static const char bounded[] = "bounded(";
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(text, words[i].word) == 0) {
            *ret_rule = (struct position_rule){.mode = words[i].mode};
            return true;
        }
    }
    if (strncasecmp(text, bounded, strlen(bounded)) != 0)
        return false;
    const char *at = text + strlen(bounded);
    uint64_t ms = 0;
    if (!take_number(&at, 10, ')', &ms) || *at != '\0' || ms > BOUND_MS_MAX)
        return false;
    *ret_rule = (struct position_rule){.mode = POSITION_BOUNDED, .age_us_max = (int64_t)ms * SQ_US_PER_MS};
    return true;
}

/* --- As settings -------------------------------------------------------------------------------------------------- */

static sq_status fail_value(const struct setting_info *info, const char *value, struct sq_error *err)
{
    return sq_fail_sql(err, SQ_SQL, "22023", "invalid value for parameter \"%s\": \"%.200s\"", info->name, value);
}

sq_status setting_canon_consistency(const struct setting_info *info, const char *value, const char *current, char *out,
                                    struct sq_error *err)
{
    struct position_rule rule;
    (void)current;
    if (!position_rule_parse(value, &rule)) {
        sq_status status = fail_value(info, value, err);
        if (err != NULL)
            sq_error_set_hint(err, "Available values: local, session, bounded(milliseconds), strong.");
        return status;
    }
    size_t length = strlen(value);
    for (size_t i = 0; i <= length; i++)
        out[i] = value[i] >= 'A' && value[i] <= 'Z' ? (char)(value[i] | 0x20) : value[i];
    return SQ_OK;
}

sq_status setting_canon_position(const struct setting_info *info, const char *value, const char *current, char *out,
                                 struct sq_error *err)
{
    struct wal_position position;
    (void)current;
    out[0] = '\0';
    if (value[0] == '\0')
        return SQ_OK;
    if (!position_parse(value, &position)) {
        sq_status status = fail_value(info, value, err);
        if (err != NULL)
            sq_error_set_hint(err, "A position is what SHOW sqld.position gives.");
        return status;
    }
    position_format(&position, out);
    return SQ_OK;
}
