/* pgwire/pgtype_time.c: dates and times between SQLite's text and PostgreSQL's binary forms.
 *
 * SQLite has no type for them: it keeps text that its date functions understand (sqlite.org/lang_datefunc.html, "Time
 * Values", forms 1 to 10, each with an optional zone "Z", "+HH:MM", "-HH:MM"). Two spellings that PostgreSQL writes are
 * read, too, because applications store what a server once gave them: a zone of hours only ("+02"), and infinity.
 *
 * Binary forms (src/include/datatype/timestamp.h, datetime_send functions in src/backend/utils/adt), network order:
 *
 *   | type        | bytes | fields                                                                                |
 *   |-------------|-------|---------------------------------------------------------------------------------------|
 *   | date        | 4     | days since 2000-01-01; the largest and the smallest: infinity, -infinity              |
 *   | time        | 8     | microseconds since midnight, 0 to 86 400 000 000 (24:00:00)                           |
 *   | timetz      | 12    | the same; then 4 bytes: seconds that the zone is west of Greenwich                    |
 *   | timestamp   | 8     | microseconds since 2000-01-01 00:00:00; largest and smallest as with date             |
 *   | timestamptz | 8     | the same, in UTC                                                                      |
 *   | interval    | 16    | microseconds (8), days (4), months (4)                                                |
 *
 * SQLite's text always has UTC in mind: a value without zone is UTC, one with a zone is brought to UTC. The calendar is
 * the Gregorian one at all times, in SQLite and in PostgreSQL. SQLite knows the years 0000 to 9999. */
#include <stdio.h>

#include "pgwire/pgtype.h"
#include "pgwire/pgtype_internal.h"

enum {
    YEAR_MAX = 9999,
    DAY_EPOCH = 730425, /* 2000-01-01, counted from 0000-03-01 */
    DAYS_OF_400_YEARS = 146097,
    SECONDS_PER_MINUTE = 60,
    SECONDS_PER_HOUR = 3600,
    ZONE_HOURS_MAX = 15, /* src/include/utils/datetime.h, MAX_TZDISP_HOUR */
    FRACTION_DIGITS = 6,
};

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_DAY (INT64_C(86400) * US_PER_SECOND)

/* A calendar date; and a text taken apart. */
struct date {
    int year;
    int month;
    int day;
};

struct time_text {
    bool has_date;
    bool has_time;
    bool has_zone;
    struct date date;
    int64_t time_us;      /* since midnight, as written; up to and including a whole day */
    int32_t zone_seconds; /* east of Greenwich */
};

/* --- calendar ----------------------------------------------------------------------------------------------------- */

/* Days from 2000-01-01 to the date, counted by years that begin in March: the leap day is then the last day. */
static int64_t days_of_date(const struct date *date)
{
    int64_t year = date->month > 2 ? date->year : date->year - 1;
    int64_t month = date->month > 2 ? date->month - 3 : date->month + 9;
    /* Years before 0000-03-01: move by a whole cycle. */
    year += 400;
    int64_t days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + date->day - 1;
    return days - DAYS_OF_400_YEARS - DAY_EPOCH;
}

/* The date of a day; false: not within the years 0000 to 9999. */
static bool date_of_days(int64_t days, struct date *ret)
{
    static const struct date first = {0, 1, 1};
    static const struct date last = {YEAR_MAX, 12, 31};
    if (days < days_of_date(&first) || days > days_of_date(&last))
        return false;
    int64_t day = days + DAY_EPOCH + DAYS_OF_400_YEARS;
    int64_t cycle = day / DAYS_OF_400_YEARS;
    day %= DAYS_OF_400_YEARS;
    /* Take the leap days out that come before the day, so that every year has 365. */
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= year * 365 + year / 4 - year / 100;
    int64_t month = (day * 5 + 2) / 153;
    ret->day = (int)(day - (month * 153 + 2) / 5) + 1;
    ret->month = (int)(month < 10 ? month + 3 : month - 9);
    ret->year = (int)(year + cycle * 400 - 400 + (ret->month <= 2));
    return true;
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && is_leap ? 29 : days[month - 1];
}

/* --- text to values ----------------------------------------------------------------------------------------------- */

/* Text being read. */
struct scan {
    const char *at;
    const char *end;
};

static bool scan_char(struct scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

/* Exactly `count` digits, of a value from min to max. */
static bool scan_number(struct scan *scan, int count, int min, int max, int *ret)
{
    if (scan->end - scan->at < count)
        return false;
    int value = 0;
    for (int i = 0; i < count; i++) {
        if (!pgtype_is_digit(scan->at[i]))
            return false;
        value = value * 10 + (scan->at[i] - '0');
    }
    if (value < min || value > max)
        return false;
    scan->at += count;
    *ret = value;
    return true;
}

static bool scan_date(struct scan *scan, struct date *ret)
{
    if (!scan_number(scan, 4, 0, YEAR_MAX, &ret->year) || !scan_char(scan, '-') ||
        !scan_number(scan, 2, 1, 12, &ret->month) || !scan_char(scan, '-') || !scan_number(scan, 2, 1, 31, &ret->day))
        return false;
    return ret->day <= days_of_month(ret->year, ret->month);
}

/* The digits behind a second's point, one or more, rounded to microseconds as PostgreSQL does. */
static bool scan_fraction(struct scan *scan, int64_t *ret_us)
{
    int64_t us = 0;
    int count = 0;
    bool is_up = false;
    for (; scan->at < scan->end && pgtype_is_digit(*scan->at); scan->at++, count++) {
        if (count < FRACTION_DIGITS)
            us = us * 10 + (*scan->at - '0');
        else if (count == FRACTION_DIGITS)
            is_up = *scan->at >= '5';
    }
    for (int i = count; i < FRACTION_DIGITS; i++)
        us *= 10;
    *ret_us = us + is_up;
    return count > 0;
}

static bool scan_time(struct scan *scan, int64_t *ret_us)
{
    int hour;
    int minute;
    int second = 0;
    int64_t fraction_us = 0;
    if (!scan_number(scan, 2, 0, 24, &hour) || !scan_char(scan, ':') || !scan_number(scan, 2, 0, 59, &minute))
        return false;
    if (scan_char(scan, ':')) {
        if (!scan_number(scan, 2, 0, 59, &second))
            return false;
        if (scan_char(scan, '.') && !scan_fraction(scan, &fraction_us))
            return false;
    }
    int64_t us =
        ((int64_t)hour * SECONDS_PER_HOUR + minute * SECONDS_PER_MINUTE + second) * US_PER_SECOND + fraction_us;
    if (us > US_PER_DAY)
        return false;
    *ret_us = us;
    return true;
}

/* [spaces] Z | +HH[:MM] | -HH[:MM] | nothing. */
static bool scan_zone(struct scan *scan, struct time_text *ret)
{
    while (scan_char(scan, ' '))
        ;
    if (scan->at == scan->end)
        return true;
    ret->has_zone = true;
    if (scan_char(scan, 'Z') || scan_char(scan, 'z'))
        return true;
    bool is_west = scan_char(scan, '-');
    int hours;
    int minutes = 0;
    if (!is_west && !scan_char(scan, '+'))
        return false;
    if (!scan_number(scan, 2, 0, ZONE_HOURS_MAX, &hours))
        return false;
    if (scan_char(scan, ':') && !scan_number(scan, 2, 0, 59, &minutes))
        return false;
    ret->zone_seconds = (hours * SECONDS_PER_HOUR + minutes * SECONDS_PER_MINUTE) * (is_west ? -1 : 1);
    return true;
}

/* SQLite's forms 1 to 10. */
static bool time_text_parse(const char *text, size_t length, struct time_text *ret)
{
    struct scan scan = {text, text + length};
    *ret = (struct time_text){0};
    ret->has_date = length >= 5 && text[4] == '-';
    if (ret->has_date) {
        if (!scan_date(&scan, &ret->date))
            return false;
        if (scan.at == scan.end)
            return true;
        if (!scan_char(&scan, 'T') && !scan_char(&scan, ' '))
            return false;
        while (scan_char(&scan, ' '))
            ;
    }
    ret->has_time = true;
    return scan_time(&scan, &ret->time_us) && scan_zone(&scan, ret) && scan.at == scan.end;
}

static bool is_infinity(const char *text, size_t length, bool *ret_is_negative)
{
    *ret_is_negative = length > 0 && text[0] == '-';
    if (*ret_is_negative) {
        text++;
        length--;
    }
    return pgtype_is_word(text, length, "infinity");
}

static bool time_put_infinity(struct sq_buf *out, uint32_t oid, bool is_negative)
{
    if (oid == PGTYPE_DATE)
        sq_buf_put_u32(out, (uint32_t)(is_negative ? INT32_MIN : INT32_MAX));
    else if (oid == PGTYPE_TIMESTAMP || oid == PGTYPE_TIMESTAMPTZ)
        sq_buf_put_u64(out, (uint64_t)(is_negative ? INT64_MIN : INT64_MAX));
    else
        return false;
    return true;
}

bool pgtype_time_put(struct sq_buf *out, uint32_t oid, const char *text, size_t length)
{
    struct time_text time;
    bool is_negative;
    if (is_infinity(text, length, &is_negative))
        return time_put_infinity(out, oid, is_negative);
    if (!time_text_parse(text, length, &time))
        return false;
    switch (oid) {
    case PGTYPE_DATE:
        /* A midnight is no more than the date; any other time would be lost. */
        if (!time.has_date || time.time_us != 0 || time.zone_seconds != 0)
            return false;
        sq_buf_put_u32(out, (uint32_t)(int32_t)days_of_date(&time.date));
        return true;
    case PGTYPE_TIME:
        if (time.has_date || time.zone_seconds != 0)
            return false;
        sq_buf_put_u64(out, (uint64_t)time.time_us);
        return true;
    case PGTYPE_TIMETZ:
        if (time.has_date)
            return false;
        sq_buf_put_u64(out, (uint64_t)time.time_us);
        sq_buf_put_u32(out, (uint32_t)-time.zone_seconds);
        return true;
    case PGTYPE_TIMESTAMP:
    case PGTYPE_TIMESTAMPTZ:
        if (!time.has_date)
            return false;
        sq_buf_put_u64(
            out, (uint64_t)(days_of_date(&time.date) * US_PER_DAY + time.time_us - time.zone_seconds * US_PER_SECOND));
        return true;
    default:
        return false;
    }
}

/* --- binary to text ----------------------------------------------------------------------------------------------- */

/* Text being written; PGTYPE_TIME_BYTES_MAX is more than any of the forms needs. */
struct print {
    char *out;
    size_t used;
};

static void print_text(struct print *print, const char *text)
{
    size_t length = strlen(text);
    sq_assert(print->used + length <= PGTYPE_TIME_BYTES_MAX);
    memcpy(print->out + print->used, text, length);
    print->used += length;
}

/* `value` >= 0 with at least `width` digits. */
static void print_number(struct print *print, int64_t value, int width)
{
    char digits[PGTYPE_INT64_BYTES_MAX];
    size_t length = pgtype_int64_format(value, digits);
    for (int i = (int)length; i < width; i++)
        print_text(print, "0");
    sq_assert(print->used + length <= PGTYPE_TIME_BYTES_MAX);
    memcpy(print->out + print->used, digits, length);
    print->used += length;
}

static void print_date(struct print *print, const struct date *date)
{
    print_number(print, date->year, 4);
    print_text(print, "-");
    print_number(print, date->month, 2);
    print_text(print, "-");
    print_number(print, date->day, 2);
}

/* HH:MM:SS[.ffffff], the fraction without zeros at its end; hours may be many (interval). */
static void print_time(struct print *print, uint64_t time_us)
{
    uint64_t seconds = time_us / (uint64_t)US_PER_SECOND;
    uint64_t fraction_us = time_us % (uint64_t)US_PER_SECOND;
    print_number(print, (int64_t)(seconds / SECONDS_PER_HOUR), 2);
    print_text(print, ":");
    print_number(print, (int64_t)(seconds / SECONDS_PER_MINUTE % 60), 2);
    print_text(print, ":");
    print_number(print, (int64_t)(seconds % 60), 2);
    if (fraction_us == 0)
        return;
    int width = FRACTION_DIGITS;
    for (; fraction_us % 10 == 0; fraction_us /= 10)
        width--;
    print_text(print, ".");
    print_number(print, (int64_t)fraction_us, width);
}

/* Seconds west of Greenwich as +HH:MM east, with seconds only where there are some, which only ancient zones have. */
static void print_zone(struct print *print, int32_t west_seconds)
{
    int32_t east = -west_seconds;
    print_text(print, east < 0 ? "-" : "+");
    int32_t seconds = east < 0 ? -east : east;
    print_number(print, seconds / SECONDS_PER_HOUR, 2);
    print_text(print, ":");
    print_number(print, seconds / SECONDS_PER_MINUTE % 60, 2);
    if (seconds % SECONDS_PER_MINUTE != 0) {
        print_text(print, ":");
        print_number(print, seconds % SECONDS_PER_MINUTE, 2);
    }
}

/* Whether a field of an interval precedes, and its sign: as EncodeInterval() does for IntervalStyle "postgres", a
 * positive field behind a negative one gets a plus. */
struct interval_print {
    struct print *print;
    bool is_started;
    bool is_after_negative;
};

static void print_interval_field(struct interval_print *at, int64_t value, const char *unit)
{
    if (value == 0)
        return;
    if (at->is_started)
        print_text(at->print, " ");
    if (value < 0)
        print_text(at->print, "-");
    else if (at->is_after_negative)
        print_text(at->print, "+");
    print_number(at->print, value < 0 ? -value : value, 1);
    print_text(at->print, unit);
    if (value != 1)
        print_text(at->print, "s");
    at->is_started = true;
    at->is_after_negative = value < 0;
}

/* "1 year 2 mons 3 days 04:05:06.789" (manual, 8.5.5 "Interval Output"). */
static void print_interval(struct print *print, int64_t us, int32_t days, int32_t months)
{
    struct interval_print at = {.print = print};
    print_interval_field(&at, months / 12, " year");
    print_interval_field(&at, months % 12, " mon");
    print_interval_field(&at, days, " day");
    if (at.is_started && us == 0)
        return;
    if (at.is_started)
        print_text(print, " ");
    if (us < 0)
        print_text(print, "-");
    else if (at.is_after_negative)
        print_text(print, "+");
    print_time(print, us < 0 ? 0 - (uint64_t)us : (uint64_t)us);
}

static sq_status fail_range(struct sq_error *err, uint32_t oid)
{
    return sq_fail_sql(err, SQ_SQL, "22008", "%s out of range: SQLite knows the years 0000 to 9999", pgtype_name(oid));
}

static sq_status get_date(const uint8_t *data, struct print *print, struct sq_error *err)
{
    struct date date;
    int32_t days = (int32_t)pgtype_read_u32(data);
    if (days == INT32_MAX || days == INT32_MIN) {
        print_text(print, days < 0 ? "-infinity" : "infinity");
        return SQ_OK;
    }
    if (!date_of_days(days, &date))
        return fail_range(err, PGTYPE_DATE);
    print_date(print, &date);
    return SQ_OK;
}

static sq_status get_timestamp(uint32_t oid, const uint8_t *data, struct print *print, struct sq_error *err)
{
    struct date date;
    int64_t us = (int64_t)pgtype_read_u64(data);
    if (us == INT64_MAX || us == INT64_MIN) {
        print_text(print, us < 0 ? "-infinity" : "infinity");
        return SQ_OK;
    }
    int64_t days = us / US_PER_DAY;
    int64_t time_us = us % US_PER_DAY;
    if (time_us < 0) {
        time_us += US_PER_DAY;
        days--;
    }
    if (!date_of_days(days, &date))
        return fail_range(err, oid);
    print_date(print, &date);
    print_text(print, " ");
    print_time(print, (uint64_t)time_us);
    if (oid == PGTYPE_TIMESTAMPTZ)
        print_text(print, "+00:00");
    return SQ_OK;
}

static sq_status get_time(uint32_t oid, const uint8_t *data, struct print *print, struct sq_error *err)
{
    int64_t us = (int64_t)pgtype_read_u64(data);
    if (us < 0 || us > US_PER_DAY)
        return sq_fail_sql(err, SQ_SQL, "22008", "time out of range");
    print_time(print, (uint64_t)us);
    if (oid == PGTYPE_TIME)
        return SQ_OK;
    int32_t west_seconds = (int32_t)pgtype_read_u32(data + 8);
    if (west_seconds <= -(ZONE_HOURS_MAX + 1) * SECONDS_PER_HOUR ||
        west_seconds >= (ZONE_HOURS_MAX + 1) * SECONDS_PER_HOUR)
        return sq_fail_sql(err, SQ_SQL, "22009", "time zone displacement out of range");
    print_zone(print, west_seconds);
    return SQ_OK;
}

sq_status pgtype_time_get(uint32_t oid, const uint8_t *data, size_t length, char out[PGTYPE_TIME_BYTES_MAX],
                          size_t *ret_length, struct sq_error *err)
{
    struct print print = {.out = out};
    int16_t expected = pgtype_length(oid);
    sq_assert(expected > 0);
    if (length != (size_t)expected)
        return sq_fail_sql(err, SQ_SQL, "22P03", "incorrect binary data format: %zu bytes for type %s", length,
                           pgtype_name(oid));
    switch (oid) {
    case PGTYPE_DATE:
        SQ_TRY(get_date(data, &print, err));
        break;
    case PGTYPE_TIME:
    case PGTYPE_TIMETZ:
        SQ_TRY(get_time(oid, data, &print, err));
        break;
    case PGTYPE_TIMESTAMP:
    case PGTYPE_TIMESTAMPTZ:
        SQ_TRY(get_timestamp(oid, data, &print, err));
        break;
    default:
        sq_assert(oid == PGTYPE_INTERVAL);
        print_interval(&print, (int64_t)pgtype_read_u64(data), (int32_t)pgtype_read_u32(data + 8),
                       (int32_t)pgtype_read_u32(data + 12));
        break;
    }
    *ret_length = print.used;
    return SQ_OK;
}
