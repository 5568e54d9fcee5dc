/* repl/wanted.c: a list of patterns, and whether a name matches. */
#include "repl/wanted.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* engine_database_name_is_valid() has the same letters. */
static bool is_pattern_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.' || c == '*' || c == '?';
}

static sq_status check_pattern(const char *pattern, size_t length, struct sq_error *err)
{
    size_t at = length > 0 && pattern[0] == '!' ? 1 : 0;
    if (at == length)
        return sq_fail(err, SQ_INVALID, "list of databases: an empty name");
    for (; at < length; at++) {
        if (!is_pattern_character(pattern[at]))
            return sq_fail(err, SQ_INVALID, "list of databases: '%.*s' is not a name or a pattern", (int)length,
                           pattern);
    }
    return SQ_OK;
}

sq_status repl_wanted_parse(const char *text, struct sq_error *err, struct repl_wanted *ret_wanted)
{
    struct repl_wanted wanted = {.has_positive = false};
    size_t used = 0;
    if (strlen(text) >= REPL_WANTED_BYTES_MAX)
        return sq_fail(err, SQ_INVALID, "list of databases: longer than %d bytes", REPL_WANTED_BYTES_MAX - 1);
    while (is_blank(*text))
        text++;
    while (*text != '\0') {
        size_t field = strcspn(text, ",");
        size_t length = field;
        while (length > 0 && is_blank(text[length - 1]))
            length--;
        SQ_TRY(check_pattern(text, length, err));
        wanted.has_positive = wanted.has_positive || text[0] != '!';
        memcpy(wanted.text + used, text, length);
        used += length + 1;
        sq_assert(used < sizeof(wanted.text));
        text += field;
        if (*text == '\0')
            break;
        text++;
        while (is_blank(*text))
            text++;
        if (*text == '\0')
            return check_pattern(text, 0, err);
    }
    *ret_wanted = wanted;
    return SQ_OK;
}

/* Goes back to the last '*' only: the time is at most the product of both lengths. */
static bool matches(const char *pattern, const char *name)
{
    const char *star = NULL;
    const char *from = name;
    while (*name != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            from = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star != NULL) {
            pattern = star + 1;
            name = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool repl_wanted_has(const struct repl_wanted *wanted, const char *name)
{
    bool is_wanted = !wanted->has_positive;
    for (const char *pattern = wanted->text; *pattern != '\0'; pattern += strlen(pattern) + 1) {
        if (pattern[0] == '!') {
            if (matches(pattern + 1, name))
                return false;
        } else if (!is_wanted) {
            is_wanted = matches(pattern, name);
        }
    }
    return is_wanted;
}
