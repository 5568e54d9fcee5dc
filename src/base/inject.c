/* base/inject.c: the list that SQLD_INJECT gives, and what is done at a point of it. It is short and walked from its begin: who
 * injects something does not measure. */
#include "base/inject.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

enum { INJECT_ENTRIES_MAX = 32, INJECT_POINT_MAX = 63, INJECT_SLEEP_MS_MAX = 600 * 1000 };

enum inject_action { INJECT_KILL, INJECT_STOP, INJECT_SLEEP, INJECT_FAIL };

struct inject_entry {
    char point[INJECT_POINT_MAX + 1];
    enum inject_action action;
    long sleep_ms;
    uint64_t from; /* the count at which it begins to act */
    bool is_once;
    _Atomic uint64_t count; /* relaxed: only the number matters */
};

bool sq_inject_is_on;
static struct inject_entry entries[INJECT_ENTRIES_MAX];
static size_t entry_count;

static sq_status fail_entry(const char *text, size_t length, struct sq_error *err)
{
    return sq_fail(err, SQ_INVALID, "SQLD_INJECT: '%.*s' is not POINT:ACTION[@COUNT[!]]", (int)length, text);
}

/* A number of at least 1 that ends at `end`, or where `*at` is left. */
static bool take_number(const char **at, uint64_t max, uint64_t *ret_number)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(*at, &end, 10);
    if (**at < '0' || **at > '9' || errno != 0 || number == 0 || number > max)
        return false;
    *at = end;
    *ret_number = number;
    return true;
}

/* From behind the colon to `end`. */
static bool take_action(const char *at, const char *end, struct inject_entry *entry)
{
    static const struct {
        const char *word;
        enum inject_action action;
    } actions[] = {{"kill", INJECT_KILL}, {"stop", INJECT_STOP}, {"fail", INJECT_FAIL}, {"sleep-", INJECT_SLEEP}};
    size_t chosen = 0;
    while (chosen < 4 && strncmp(at, actions[chosen].word, strlen(actions[chosen].word)) != 0)
        chosen++;
    if (chosen == 4)
        return false;
    entry->action = actions[chosen].action;
    at += strlen(actions[chosen].word);
    if (entry->action == INJECT_SLEEP) {
        uint64_t sleep_ms = 0;
        if (!take_number(&at, INJECT_SLEEP_MS_MAX, &sleep_ms))
            return false;
        entry->sleep_ms = (long)sleep_ms;
    }
    entry->from = 1;
    if (*at == '@') {
        at++;
        if (!take_number(&at, UINT32_MAX, &entry->from))
            return false;
        entry->is_once = *at == '!';
        at += entry->is_once ? 1 : 0;
    }
    return at == end;
}

static sq_status take_entry(const char *text, size_t length, struct sq_error *err)
{
    if (entry_count == INJECT_ENTRIES_MAX)
        return sq_fail(err, SQ_LIMIT, "SQLD_INJECT has more than %d entries", INJECT_ENTRIES_MAX);
    struct inject_entry *entry = &entries[entry_count];
    memset(entry, 0, sizeof(*entry));
    const char *colon = memchr(text, ':', length);
    size_t point_length = colon != NULL ? (size_t)(colon - text) : 0;
    if (point_length == 0 || point_length > INJECT_POINT_MAX || !take_action(colon + 1, text + length, entry))
        return fail_entry(text, length, err);
    memcpy(entry->point, text, point_length);
    entry_count++;
    return SQ_OK;
}

sq_status sq_inject_start(const char *value, struct sq_error *err)
{
    entry_count = 0;
    sq_inject_is_on = false;
    if (value == NULL || value[0] == '\0')
        return SQ_OK;
    for (const char *at = value;;) {
        size_t length = strcspn(at, ",");
        SQ_TRY(take_entry(at, length, err));
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    sq_inject_is_on = true;
    return SQ_OK;
}

static void act(const struct inject_entry *entry)
{
    sq_log(SQ_LOG_WARNING, "inject", "point reached", "point=%s", entry->point);
    switch (entry->action) {
    case INJECT_KILL:
        kill(getpid(), SIGKILL);
        for (;;)
            pause(); /* the signal is on its way: nothing more is done */
    case INJECT_STOP:
        kill(getpid(), SIGSTOP);
        break;
    case INJECT_SLEEP: {
        struct timespec left = {.tv_sec = entry->sleep_ms / 1000, .tv_nsec = entry->sleep_ms % 1000 * 1000000};
        while (nanosleep(&left, &left) != 0 && errno == EINTR) /* banned-ok: that is what is asked for */
            continue;
        break;
    }
    case INJECT_FAIL:
        break;
    }
}

/* Acts, and says whether the point is to fail. */
static bool reach(const char *point)
{
    bool is_failing = false;
    for (size_t i = 0; i < entry_count; i++) {
        struct inject_entry *entry = &entries[i];
        if (strcmp(entry->point, point) != 0)
            continue;
        uint64_t count = atomic_fetch_add_explicit(&entry->count, 1, memory_order_relaxed) + 1;
        bool is_lasting = !entry->is_once && (entry->action == INJECT_SLEEP || entry->action == INJECT_FAIL);
        if (count == entry->from || (count > entry->from && is_lasting)) {
            act(entry);
            is_failing = is_failing || entry->action == INJECT_FAIL;
        }
    }
    return is_failing;
}

void sq_inject_reached(const char *point)
{
    (void)reach(point);
}

sq_status sq_inject_reached_status(const char *point, struct sq_error *err)
{
    return reach(point) ? sq_fail(err, SQ_IO, "injected failure at %s", point) : SQ_OK;
}
