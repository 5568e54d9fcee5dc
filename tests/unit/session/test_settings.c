/* Settings: the table, reading values, layers, transactions, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "session/settings.h"
#include "session/settings_internal.h"

static struct settings settings;
static struct sq_error err;

static int set_up(void **state)
{
    (void)state;
    settings_init(&settings);
    sq_error_clear(&err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    settings_done(&settings);
    return 0;
}

static void assert_shown(const char *name, const char *expected)
{
    const char *value = NULL;
    assert_int_equal(settings_show(&settings, name, NULL, &value, &err), SQ_OK);
    assert_string_equal(value, expected);
}

static void assert_unknown(const char *name)
{
    const char *value = NULL;
    assert_int_equal(settings_show(&settings, name, NULL, &value, &err), SQ_SQL);
    assert_string_equal(err.sqlstate, "42704");
}

static void set(const char *name, const char *value)
{
    assert_int_equal(settings_set(&settings, name, value, SETTINGS_SESSION, &err), SQ_OK);
}

static void set_local(const char *name, const char *value)
{
    assert_int_equal(settings_set(&settings, name, value, SETTINGS_LOCAL, &err), SQ_OK);
}

static void assert_refused(const char *name, const char *value, const char *sqlstate)
{
    sq_error_clear(&err);
    assert_int_not_equal(settings_set(&settings, name, value, SETTINGS_SESSION, &err), SQ_OK);
    assert_string_equal(err.sqlstate, sqlstate);
}

static void defaults_are_well_formed(void **state)
{
    (void)state;
    assert_true(setting_count >= SETTING_NAMED_COUNT && setting_count <= SETTING_ROWS_MAX);
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting_info *info = &setting_infos[i];
        char out[SETTINGS_VALUE_BYTES_MAX + 1];
        int64_t number = -1;
        assert_non_null(info->name);
        assert_true(strlen(info->name) <= SETTINGS_NAME_BYTES_MAX);
        assert_true(strlen(info->description) > 0);
        assert_int_equal(setting_value_parse(info, info->default_text, info->default_text, out, &number, &err), SQ_OK);
        assert_string_equal(out, info->default_text);
        assert_int_equal(number, info->default_number);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(strcasecmp(info->name, setting_infos[j].name), 0);
        if ((info->flags & SETTING_TRANSACTION) != 0) {
            assert_int_equal(setting_infos[info->fallback].kind, info->kind);
            assert_string_equal(setting_infos[info->fallback].default_text, info->default_text);
        }
    }
}

static void defaults_are_shown(void **state)
{
    (void)state;
    assert_shown("server_version", "15.0 (sqld " SQLD_VERSION ")");
    assert_shown("CLIENT_ENCODING", "UTF8");
    assert_shown("datestyle", "ISO, MDY");
    assert_shown("timezone", "UTC");
    assert_shown("standard_conforming_strings", "on");
    assert_shown("search_path", "\"$user\", public");
    assert_shown("transaction_isolation", "serializable");
    assert_shown("statement_timeout", "0");
    assert_unknown("nonsense");
    assert_unknown("my.own");
    assert_int_equal(settings_int64(&settings, SETTING_STATEMENT_TIMEOUT), 0);
    assert_true(settings_bool(&settings, SETTING_INTEGER_DATETIMES));
    assert_false(settings_bool(&settings, SETTING_TRANSACTION_READ_ONLY));
    assert_int_equal(settings_int64(&settings, SETTING_CLIENT_MIN_MESSAGES), SETTING_MESSAGES_NOTICE);
    assert_string_equal(settings_text(&settings, SETTING_TIME_ZONE), "UTC");
    assert_null(settings.entries);
}

struct value_case {
    const char *name, *value, *shown;
};

static void values_are_read_and_shown_as_postgresql_does(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        {"statement_timeout", "5s", "5s"},
        {"statement_timeout", "5000", "5s"},
        {"statement_timeout", "100ms", "100ms"},
        {"statement_timeout", "1min", "1min"},
        {"statement_timeout", "90 s", "90s"},
        {"statement_timeout", "60s", "1min"},
        {"statement_timeout", "1.5s", "1500ms"},
        {"statement_timeout", " 2 h ", "2h"},
        {"statement_timeout", "24h", "1d"},
        {"statement_timeout", "1500us", "2ms"},
        {"statement_timeout", "0", "0"},
        {"statement_timeout", "2147483647", "2147483647ms"},
        {"jit", "true", "on"},
        {"jit", "F", "off"},
        {"jit", "YES", "on"},
        {"jit", "n", "off"},
        {"jit", "of", "off"},
        {"jit", "1", "on"},
        {"jit", "0", "off"},
        {"extra_float_digits", "3", "3"},
        {"extra_float_digits", " -15 ", "-15"},
        {"client_min_messages", "WARNING", "warning"},
        {"client_min_messages", "debug", "debug2"},
        {"default_transaction_isolation", "Read Committed", "read committed"},
        {"client_encoding", "utf-8", "UTF8"},
        {"client_encoding", "'UNICODE'", "UTF8"},
        {"client_encoding", "sql_ascii", "SQL_ASCII"},
        {"DateStyle", "ISO", "ISO, MDY"},
        {"DateStyle", "iso, dmy", "ISO, DMY"},
        {"DateStyle", "ISO", "ISO, DMY"},
        {"DateStyle", "YMD,ISO", "ISO, YMD"},
        {"DateStyle", "European", "ISO, DMY"},
        {"DateStyle", "us", "ISO, MDY"},
        {"IntervalStyle", "ISO_8601", "iso_8601"},
        {"bytea_output", "HEX", "hex"},
        {"standard_conforming_strings", "true", "on"},
        {"TimeZone", "Europe/Rome", "Europe/Rome"},
        {"TimeZone", "-07:30", "-07:30"},
        {"TimeZone", "<-07>+07", "<-07>+07"},
        {"application_name", "caf\xc3\xa9\n1", "caf???1"},
        {"application_name", "", ""},
        {"application_name", "0123456789012345678901234567890123456789012345678901234567890123456789",
         "012345678901234567890123456789012345678901234567890123456789012"},
        {"search_path", "a, \"B\"", "a, \"B\""},
        {"work_mem", "64MB", "64MB"},
        {"MyApp.User", "bob", "bob"},
        {"a.b.c$1", "", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set(cases[i].name, cases[i].value);
        assert_shown(cases[i].name, cases[i].shown);
    }
    assert_shown("myapp.user", "bob");
}

static void bad_values_are_refused_and_change_nothing(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        {"statement_timeout", "", "22023"},
        {"statement_timeout", "soon", "22023"},
        {"statement_timeout", "-1", "22023"},
        {"statement_timeout", "2147483648", "22023"},
        {"statement_timeout", "1 fortnight", "22023"},
        {"statement_timeout", "1 s s", "22023"},
        {"statement_timeout", "nan", "22023"},
        {"statement_timeout", "inf", "22023"},
        {"statement_timeout", "1e300d", "22023"},
        {"statement_timeout", "-1e300", "22023"},
        {"jit", "maybe", "22023"},
        {"jit", "o", "22023"},
        {"jit", "", "22023"},
        {"jit", "truest", "22023"},
        {"extra_float_digits", "4", "22023"},
        {"extra_float_digits", "x", "22023"},
        {"extra_float_digits", "1x", "22023"},
        {"extra_float_digits", "99999999999999999999", "22023"},
        {"client_min_messages", "loud", "22023"},
        {"default_transaction_isolation", "snapshot", "22023"},
        {"client_encoding", "LATIN1", "22023"},
        {"client_encoding", "", "22023"},
        {"DateStyle", "SQL, DMY", "0A000"},
        {"DateStyle", "German", "0A000"},
        {"DateStyle", "ISO, MDY, DMY", "22023"},
        {"DateStyle", "x", "22023"},
        {"DateStyle", "", "22023"},
        {"bytea_output", "escape", "0A000"},
        {"standard_conforming_strings", "off", "0A000"},
        {"default_with_oids", "on", "0A000"},
        {"TimeZone", "", "22023"},
        {"TimeZone", "a;b", "22023"},
        {"application_name", "\xff", "22021"},
        {"server_version", "1", "55P02"},
        {"is_superuser", "on", "55P02"},
        {"session_authorization", "x", "55P02"},
        {"lc_collate", "x", "55P02"},
        {"nonsense", "1", "42704"},
        {"", "1", "42704"},
        {"a..b", "1", "42602"},
        {".a", "1", "42602"},
        {"a.", "1", "42602"},
        {"a.1", "1", "42602"},
        {"a.b-c", "1", "42602"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_refused(cases[i].name, cases[i].value, cases[i].shown);
    assert_refused("client_min_messages", "loud", "22023");
    assert_non_null(strstr(err.hint, "debug5, debug4"));
    assert_null(strstr(err.hint, "panic"));
    assert_null(settings.entries);
}

static void sizes_are_limited(void **state)
{
    (void)state;
    char value[SETTINGS_VALUE_BYTES_MAX + 2], name[SETTINGS_NAME_BYTES_MAX + 2];
    memset(value, 'x', sizeof(value));
    value[SETTINGS_VALUE_BYTES_MAX] = '\0';
    set("my.own", value);
    assert_shown("my.own", value);
    value[SETTINGS_VALUE_BYTES_MAX] = 'x';
    value[SETTINGS_VALUE_BYTES_MAX + 1] = '\0';
    assert_refused("my.own", value, "54000");

    memset(name, 'n', sizeof(name));
    name[1] = '.';
    name[SETTINGS_NAME_BYTES_MAX] = '\0';
    set(name, "1");
    name[SETTINGS_NAME_BYTES_MAX] = 'n';
    name[SETTINGS_NAME_BYTES_MAX + 1] = '\0';
    assert_refused(name, "1", "54000");
}

static void own_settings_are_limited_in_number(void **state)
{
    (void)state;
    char name[32];
    for (int i = 0; i < SETTINGS_CUSTOM_MAX; i++) {
        (void)snprintf(name, sizeof(name), "my.n%d", i);
        set(name, "x");
    }
    assert_refused("my.more", "x", "54000");
    set("my.n0", "y");
    set("jit", "on");
    assert_int_equal(settings_reset(&settings, "my.n1", &err), SQ_OK);
    assert_unknown("my.n1");
    set("my.more", "x");
    assert_int_equal(settings_reset_all(&settings, &err), SQ_OK);
    assert_null(settings.entries);
}

static void reset_goes_back_to_the_startup_value(void **state)
{
    (void)state;
    assert_int_equal(settings_set_startup(&settings, "Application_Name", "tool", &err), SQ_OK);
    assert_int_equal(settings_set_startup(&settings, "my.own", "start", &err), SQ_OK);
    assert_int_equal(settings_set_startup(&settings, "nonsense", "x", &err), SQ_SQL);
    assert_string_equal(err.sqlstate, "42704");
    assert_int_equal(settings_set_startup(&settings, "server_version", "x", &err), SQ_SQL);
    assert_string_equal(err.sqlstate, "55P02");
    assert_int_equal(settings_set_startup(&settings, "statement_timeout", "x", &err), SQ_SQL);
    assert_string_equal(err.sqlstate, "22023");
    set("application_name", "other");
    set("my.own", "other");
    assert_shown("application_name", "other");
    set("application_name", NULL);
    assert_shown("application_name", "tool");
    set("application_name", "other");
    assert_int_equal(settings_reset_all(&settings, &err), SQ_OK);
    assert_shown("application_name", "tool");
    assert_shown("my.own", "start");
    assert_int_equal(settings_reset(&settings, "nonsense", &err), SQ_SQL);
    assert_int_equal(settings_reset(&settings, "server_version", &err), SQ_SQL);
}

static void the_server_assigns_what_clients_cannot(void **state)
{
    (void)state;
    assert_int_equal(settings_assign(&settings, SETTING_SESSION_AUTHORIZATION, "bob", &err), SQ_OK);
    assert_int_equal(settings_assign(&settings, SETTING_IN_HOT_STANDBY, "on", &err), SQ_OK);
    assert_shown("session_authorization", "bob");
    assert_true(settings_bool(&settings, SETTING_IN_HOT_STANDBY));
    assert_int_equal(settings_assign(&settings, SETTING_IN_HOT_STANDBY, "x", &err), SQ_SQL);
    settings_begin(&settings);
    assert_int_equal(settings_assign(&settings, SETTING_IS_SUPERUSER, "on", &err), SQ_OK);
    settings_rollback(&settings);
    assert_true(settings_bool(&settings, SETTING_IS_SUPERUSER));
}

static void only_differences_are_stored(void **state)
{
    (void)state;
    assert_true(sizeof(struct settings) <= 96);
    set("extra_float_digits", "3");
    assert_int_equal(settings.entry_count, 1);
    set("extra_float_digits", "1");
    assert_null(settings.entries);
    set("client_encoding", "utf8");
    assert_null(settings.entries);
    settings_begin(&settings);
    set("jit", "on");
    set_local("my.own", "x");
    settings_rollback(&settings);
    assert_null(settings.entries);
    assert_null(settings.undo);
}

static void rollback_takes_set_back_and_commit_keeps_it(void **state)
{
    (void)state;
    set("my.own", "before");
    settings_begin(&settings);
    set("my.own", "inside");
    set("my.own", "inside again");
    set("statement_timeout", "1s");
    set("my.other", "x");
    settings_begin(&settings);
    assert_shown("my.own", "inside again");
    settings_rollback(&settings);
    assert_shown("my.own", "before");
    assert_shown("statement_timeout", "0");
    assert_unknown("my.other");

    settings_begin(&settings);
    set("my.own", "kept");
    assert_int_equal(settings_reset(&settings, "statement_timeout", &err), SQ_OK);
    settings_commit(&settings);
    settings_rollback(&settings);
    assert_shown("my.own", "kept");

    settings_begin(&settings);
    assert_int_equal(settings_reset_all(&settings, &err), SQ_OK);
    assert_shown("my.own", "");
    settings_rollback(&settings);
    assert_shown("my.own", "kept");
}

static void local_values_end_with_the_transaction(void **state)
{
    (void)state;
    set_local("lock_timeout", "1s");
    assert_shown("lock_timeout", "0");
    assert_int_equal(settings_set(&settings, "lock_timeout", "x", SETTINGS_LOCAL, &err), SQ_SQL);
    set("lock_timeout", "5s");

    settings_begin(&settings);
    set_local("lock_timeout", "1s");
    assert_int_equal(settings_int64(&settings, SETTING_LOCK_TIMEOUT), 1000);
    settings_commit(&settings);
    assert_int_equal(settings_int64(&settings, SETTING_LOCK_TIMEOUT), 5000);

    settings_begin(&settings);
    set_local("lock_timeout", "1s");
    set("lock_timeout", "2s");
    assert_shown("lock_timeout", "2s");
    set_local("lock_timeout", "3s");
    assert_shown("lock_timeout", "3s");
    settings_commit(&settings);
    assert_shown("lock_timeout", "2s");

    settings_begin(&settings);
    set_local("lock_timeout", NULL);
    assert_shown("lock_timeout", "0");
    set_local("my.own", "x");
    set_local("my.own", NULL);
    assert_shown("my.own", "");
    settings_rollback(&settings);
    assert_shown("lock_timeout", "2s");
    assert_unknown("my.own");
}

static void transaction_settings_follow_their_defaults(void **state)
{
    (void)state;
    set("transaction_read_only", "on");
    assert_false(settings_bool(&settings, SETTING_TRANSACTION_READ_ONLY));
    set("default_transaction_read_only", "on");
    assert_true(settings_bool(&settings, SETTING_TRANSACTION_READ_ONLY));
    settings_begin(&settings);
    set("transaction_read_only", "off");
    set("transaction_isolation", "repeatable read");
    assert_false(settings_bool(&settings, SETTING_TRANSACTION_READ_ONLY));
    assert_int_equal(settings_int64(&settings, SETTING_TRANSACTION_ISOLATION), SETTING_ISOLATION_REPEATABLE_READ);
    assert_int_equal(settings_reset_all(&settings, &err), SQ_OK);
    assert_false(settings_bool(&settings, SETTING_TRANSACTION_READ_ONLY));
    set("transaction_isolation", NULL);
    assert_shown("transaction_isolation", "serializable");
    settings_rollback(&settings);
    assert_true(settings_bool(&settings, SETTING_TRANSACTION_READ_ONLY));
    assert_shown("transaction_isolation", "serializable");
}

static void savepoint(const char *name)
{
    assert_int_equal(settings_savepoint(&settings, name, &err), SQ_OK);
}

static void savepoints_take_back_what_came_after_them(void **state)
{
    (void)state;
    savepoint("outside");
    assert_int_equal(settings.undo_count, 0);
    settings_begin(&settings);
    set("my.own", "1");
    savepoint("a");
    set("my.own", "2");
    set_local("lock_timeout", "1s");
    savepoint("b");
    set("my.own", "3");
    settings_rollback_to(&settings, "A");
    assert_shown("my.own", "1");
    assert_shown("lock_timeout", "0");
    settings_rollback_to(&settings, "b");
    set("my.own", "4");
    settings_rollback_to(&settings, "a");
    assert_shown("my.own", "1");
    settings_rollback_to(&settings, "unknown");
    settings_release(&settings, "unknown");
    savepoint("a");
    set("my.own", "5");
    settings_release(&settings, "a");
    assert_shown("my.own", "5");
    settings_rollback_to(&settings, "a");
    assert_shown("my.own", "1");
    set("my.own", "6");
    settings_release(&settings, "a");
    assert_int_equal(settings.savepoint_count, 0);
    settings_commit(&settings);
    assert_shown("my.own", "6");
}

static void released_savepoints_leave_no_records_behind(void **state)
{
    (void)state;
    settings_begin(&settings);
    for (int i = 0; i < 1000; i++) {
        char value[16];
        (void)snprintf(value, sizeof(value), "%d", i);
        savepoint("a");
        savepoint("b");
        set("my.own", value);
        set_local("my.own", value);
        settings_release(&settings, "a");
        assert_true(settings.undo_count <= 2);
        assert_int_equal(settings.savepoint_count, 0);
    }
    assert_shown("my.own", "999");
    settings_rollback(&settings);
    assert_unknown("my.own");
}

static void savepoints_are_limited_in_number(void **state)
{
    (void)state;
    settings_begin(&settings);
    for (int i = 0; i < SETTINGS_SAVEPOINT_MAX; i++)
        savepoint("a");
    assert_int_equal(settings_savepoint(&settings, "a", &err), SQ_LIMIT);
    assert_string_equal(err.sqlstate, "54000");
    set("my.own", "x");
    settings_release(&settings, "a");
    savepoint("b");
    settings_rollback(&settings);
    assert_int_equal(settings.savepoint_count, 0);
    assert_unknown("my.own");
}

/* The names of what the client has yet to be told. */
static void assert_changed(const char *expected)
{
    char out[1024] = "";
    size_t used = 0;
    struct settings_row row;
    while (settings_next_changed(&settings, &row)) {
        assert_true(row.is_reported);
        int written = snprintf(out + used, sizeof(out) - used, "%s%s=%s", used > 0 ? " " : "", row.name, row.value);
        assert_true(written > 0 && (size_t)written < sizeof(out) - used);
        used += (size_t)written;
    }
    assert_string_equal(out, expected);
    assert_false(settings_has_changed(&settings));
}

static void clients_are_told_of_reported_changes(void **state)
{
    (void)state;
    assert_true(settings_has_changed(&settings));
    assert_changed("application_name= client_encoding=UTF8 DateStyle=ISO, MDY default_transaction_read_only=off "
                   "in_hot_standby=off integer_datetimes=on IntervalStyle=postgres is_superuser=off "
                   "server_encoding=UTF8 server_version=15.0 (sqld " SQLD_VERSION
                   ") session_authorization= standard_conforming_strings=on TimeZone=UTC");
    set("statement_timeout", "1s");
    set("my.own", "x");
    set("client_encoding", "UTF8");
    assert_changed("");
    set("TimeZone", "Europe/Rome");
    set("application_name", "x");
    assert_changed("application_name=x TimeZone=Europe/Rome");
    settings_begin(&settings);
    set("TimeZone", "Asia/Tokyo");
    assert_changed("TimeZone=Asia/Tokyo");
    settings_rollback(&settings);
    assert_changed("TimeZone=Europe/Rome");
    settings_begin(&settings);
    set_local("TimeZone", "Asia/Tokyo");
    savepoint("a");
    set("application_name", "y");
    settings_rollback_to(&settings, "a");
    assert_changed("application_name=x TimeZone=Asia/Tokyo");
    settings_commit(&settings);
    assert_changed("TimeZone=Europe/Rome");
    assert_int_equal(settings_reset_all(&settings, &err), SQ_OK);
    assert_changed("application_name= TimeZone=UTC");
}

static void all_settings_are_walked_in_order(void **state)
{
    (void)state;
    char previous[SETTINGS_NAME_BYTES_MAX + 1] = "";
    struct settings_row row;
    size_t cursor = 0, count = 0;
    set("zz.last", "1");
    set("jit", "on");
    set("aa.first", "2");
    while (settings_next(&settings, &cursor, &row)) {
        if (count < setting_count)
            assert_true(strcasecmp(previous, row.name) < 0);
        if (strcmp(row.name, "jit") == 0)
            assert_string_equal(row.value, "on");
        (void)snprintf(previous, sizeof(previous), "%s", row.name);
        count++;
    }
    assert_int_equal(count, setting_count + 2);
    assert_string_equal(previous, "aa.first");
    assert_false(settings_next(&settings, &cursor, &row));
}

static void names_come_as_postgresql_spells_them(void **state)
{
    (void)state;
    const char *name, *value;
    set("My.Own", "x");
    assert_int_equal(settings_show(&settings, "timezone", &name, &value, &err), SQ_OK);
    assert_string_equal(name, "TimeZone");
    assert_int_equal(settings_show(&settings, "MY.OWN", &name, &value, &err), SQ_OK);
    assert_string_equal(name, "My.Own");
}

/* Random SETs and transactions against a model that copies everything. */
enum { MODEL_NAMES = 4, MODEL_DEPTH_MAX = 6 };

struct model_level {
    int session[MODEL_NAMES], local[MODEL_NAMES]; /* -1: none */
};

static uint32_t random_state = 7;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % bound;
}

static void assert_model(const struct model_level *now)
{
    for (int i = 0; i < MODEL_NAMES; i++) {
        int value = now->local[i] >= 0 ? now->local[i] : now->session[i];
        char name[16], text[16];
        const char *shown = "";
        (void)snprintf(name, sizeof(name), "my.n%d", i);
        (void)snprintf(text, sizeof(text), "%d", value);
        sq_status status = settings_show(&settings, name, NULL, &shown, &err);
        if (value >= 0)
            assert_string_equal(shown, text);
        else
            assert_true(status != SQ_OK || shown[0] == '\0');
    }
}

static void random_transactions_agree_with_a_model(void **state)
{
    (void)state;
    /* stack[0]: before the transaction; stack[n]: at the n-th savepoint, named by its depth. */
    struct model_level now, stack[MODEL_DEPTH_MAX + 1];
    int depth = -1;
    memset(&now, 0xff, sizeof(now));
    for (int step = 0; step < 50000; step++) {
        uint32_t choice = random_below(10), i = random_below(MODEL_NAMES);
        int value = (int)random_below(5);
        char name[16], text[16], point[16];
        (void)snprintf(name, sizeof(name), "my.n%u", i);
        (void)snprintf(text, sizeof(text), "%d", value);
        uint32_t target = depth > 0 ? 1 + random_below((uint32_t)depth) : 0;
        (void)snprintf(point, sizeof(point), "p%u", target);
        if (choice < 4) {
            bool is_local = choice == 3 && depth >= 0;
            assert_int_equal(settings_set(&settings, name, text, is_local ? SETTINGS_LOCAL : SETTINGS_SESSION, &err),
                             SQ_OK);
            now.local[i] = is_local ? value : -1;
            now.session[i] = is_local ? now.session[i] : value;
        } else if (choice == 4) {
            assert_int_equal(settings_reset(&settings, name, &err), SQ_OK);
            now.local[i] = now.session[i] = -1;
        } else if (choice == 5 && depth < 0) {
            settings_begin(&settings);
            stack[0] = now;
            depth = 0;
        } else if (choice == 6 && depth >= 0 && depth < MODEL_DEPTH_MAX) {
            stack[++depth] = now;
            (void)snprintf(point, sizeof(point), "p%d", depth);
            savepoint(point);
        } else if (choice == 7 && target > 0) {
            settings_rollback_to(&settings, point);
            now = stack[target];
            depth = (int)target;
        } else if (choice == 8 && target > 0) {
            settings_release(&settings, point);
            depth = (int)target - 1;
        } else if (choice == 9 && depth >= 0 && random_below(4) == 0) {
            bool is_commit = random_below(2) == 0;
            if (is_commit)
                settings_commit(&settings);
            else
                settings_rollback(&settings);
            now = is_commit ? now : stack[0];
            memset(now.local, 0xff, sizeof(now.local));
            depth = -1;
        }
        assert_model(&now);
        assert_int_equal(settings.savepoint_count, depth > 0 ? depth : 0);
    }
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_well_formed),
        TEST(defaults_are_shown),
        TEST(values_are_read_and_shown_as_postgresql_does),
        TEST(bad_values_are_refused_and_change_nothing),
        TEST(sizes_are_limited),
        TEST(own_settings_are_limited_in_number),
        TEST(reset_goes_back_to_the_startup_value),
        TEST(the_server_assigns_what_clients_cannot),
        TEST(only_differences_are_stored),
        TEST(rollback_takes_set_back_and_commit_keeps_it),
        TEST(local_values_end_with_the_transaction),
        TEST(transaction_settings_follow_their_defaults),
        TEST(savepoints_take_back_what_came_after_them),
        TEST(released_savepoints_leave_no_records_behind),
        TEST(savepoints_are_limited_in_number),
        TEST(clients_are_told_of_reported_changes),
        TEST(all_settings_are_walked_in_order),
        TEST(names_come_as_postgresql_spells_them),
        TEST(random_transactions_agree_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
