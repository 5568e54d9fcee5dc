/* config/load.c: gathers what flags, environment and config file say, and makes a config of it.
 *
 * Each source fills its own row of `settings`: gathering knows names, not values. Then the rows are parsed from the
 * weakest source to the strongest into the same fields, so that the strongest wins and a bad value is reported even
 * where a stronger source hides it.
 *
 *     defaults ─► file ─► environment ─► flags ─► fields ─► rules between options
 *
 * Reloading does the same anew and then puts the old settings back for options that a running server cannot change. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/url.h"
#include "config/config_internal.h"

enum { WHERE_MAX = 512 };

/* --- memory --- */

static sq_status config_new(int argc, char *const argv[], char *const environment[], struct sq_error *err,
                            struct config **ret_config)
{
    struct config *config = calloc(1, sizeof(*config));
    struct config_private *private = calloc(1, sizeof(*private));
    if (config == NULL || private == NULL) {
        free(config);
        free(private);
        return sq_fail(err, SQ_NOMEM, "configuration");
    }
    sq_arena_init(&private->arena);
    private->reference_count = 1;
    private->argc = argc;
    private->argv = argv;
    private->environment = environment;
    config->private = private;
    *ret_config = config;
    return SQ_OK;
}

struct config *config_ref(struct config *config)
{
    /* Relaxed: whoever refs already holds a reference, so the config cannot go away meanwhile. */
    int before = __atomic_fetch_add(&config->private->reference_count, 1, __ATOMIC_RELAXED);
    sq_assert(before > 0);
    return config;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    /* Release: this thread's reads are done before another one frees. Acquire: the one that frees sees that. */
    int before = __atomic_fetch_sub(&config->private->reference_count, 1, __ATOMIC_ACQ_REL);
    sq_assert(before > 0);
    if (before > 1)
        return;
    sq_arena_done(&config->private->arena);
    free(config->private);
    free(config);
}

/* --- flags --- */

struct flag_reader {
    struct config *config;
    struct sq_error *err;
    int next; /* argument to be read */
};

static bool action_find(const char *argument, enum config_action *ret_action)
{
    static const struct {
        const char *flag;
        enum config_action action;
    } actions[] = {
        {"--help", CONFIG_PRINT_HELP},
        {"-h", CONFIG_PRINT_HELP},
        {"-?", CONFIG_PRINT_HELP},
        {"--version", CONFIG_PRINT_VERSION},
        {"-V", CONFIG_PRINT_VERSION},
        {"--print-man", CONFIG_PRINT_MAN},
        {"--print-config-reference", CONFIG_PRINT_REFERENCE},
    };
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(argument, actions[i].flag) == 0) {
            *ret_action = actions[i].action;
            return true;
        }
    }
    return false;
}

static sq_status flag_unknown(const struct flag_reader *reader, const char *argument, const char *name)
{
    if (argument[0] != '-') {
        sq_status status = sq_fail(reader->err, SQ_INVALID, "unexpected argument '%s'", argument);
        sq_error_set_hint(reader->err, "Options begin with --; sqld --help lists them.");
        return status;
    }
    sq_status status = sq_fail(reader->err, SQ_INVALID, "unknown option '%s'", argument);
    const char *nearest = name != NULL ? config_option_nearest(name) : NULL;
    if (nearest != NULL)
        sq_error_set_hint(reader->err, "Did you mean --%s?", nearest);
    else
        sq_error_set_hint(reader->err, "sqld --help lists the options.");
    return status;
}

/* The text of the option's value: behind the =, or the next argument, or "on" for a switch alone. */
static sq_status flag_value(struct flag_reader *reader, const struct config_option *option, const char *equals,
                            const char **ret_text)
{
    const struct config_private *private = reader->config->private;
    const char *next = reader->next < private->argc ? private->argv[reader->next] : NULL;
    bool is_on = false;
    if (equals != NULL) {
        *ret_text = equals + 1;
    } else if (option->type == CONFIG_TYPE_BOOL && (next == NULL || !config_bool_parse(next, &is_on))) {
        *ret_text = "on";
    } else if (next == NULL || strncmp(next, "--", 2) == 0) {
        sq_status status = sq_fail(reader->err, SQ_INVALID, "--%s needs a value", option->name);
        sq_error_set_hint(reader->err, "Write --%s=%s.", option->name, config_option_placeholder(option));
        return status;
    } else {
        *ret_text = next;
        reader->next++;
    }
    return SQ_OK;
}

/* Flags given twice: the last one counts, as everywhere; lists add up. */
static sq_status flag_set(struct flag_reader *reader, enum config_option_id id, const char *text)
{
    struct config_private *private = reader->config->private;
    struct config_setting *setting = &private->settings[CONFIG_SOURCE_FLAG][id];
    const char *before = setting->text;
    bool is_joined = before != NULL && config_options[id].type == CONFIG_TYPE_ADDRESSES;
    size_t bytes = strlen(text) + 1 + (is_joined ? strlen(before) + 1 : 0);
    char *copy = sq_arena_alloc(&private->arena, bytes);
    if (copy == NULL)
        return sq_fail(reader->err, SQ_NOMEM, "configuration");
    snprintf(copy, bytes, "%s%s%s", is_joined ? before : "", is_joined ? "," : "", text);
    *setting = (struct config_setting){.text = copy, .origin = "command line"};
    return SQ_OK;
}

static sq_status flags_gather(struct config *config, struct sq_error *err)
{
    struct flag_reader reader = {.config = config, .err = err, .next = 1};
    const struct config_private *private = config->private;
    while (reader.next < private->argc) {
        const char *argument = private->argv[reader.next++];
        if (action_find(argument, &config->action))
            return SQ_OK;
        if (strncmp(argument, "--", 2) != 0)
            return flag_unknown(&reader, argument, NULL);

        char name[CONFIG_VARIABLE_MAX];
        const char *equals = strchr(argument, '=');
        size_t length = equals != NULL ? (size_t)(equals - argument) - 2 : strlen(argument) - 2;
        if (length >= sizeof(name))
            return flag_unknown(&reader, argument, NULL);
        memcpy(name, argument + 2, length);
        name[length] = '\0';
        enum config_option_id id = config_option_find(name);
        if (id == CONFIG_OPTION_COUNT)
            return flag_unknown(&reader, argument, name);
        const char *text = NULL;
        SQ_TRY(flag_value(&reader, &config_options[id], equals, &text));
        SQ_TRY(flag_set(&reader, id, text));
    }
    return SQ_OK;
}

/* --- environment --- */

/* Names in SQLD_ that are no options: the test suite's, and those that Kubernetes puts into every container when a
 * service is named sqld (kubernetes.io/docs/concepts/services-networking/service, "Environment variables"). */
static bool variable_is_foreign(const char *name)
{
    static const char *const prefixes[] = {"SQLD_BIN=", "SQLD_TEST_", "SQLD_SERVICE_", "SQLD_PORT=", "SQLD_PORT_"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return false;
}

static sq_status variable_unknown(const char *name, struct sq_error *err)
{
    sq_status status = sq_fail(err, SQ_INVALID, "unknown environment variable SQLD_%s", name);
    const char *nearest = config_option_nearest(name);
    char variable[CONFIG_VARIABLE_MAX] = "";
    enum config_option_id id = nearest != NULL ? config_option_find(nearest) : CONFIG_OPTION_COUNT;
    if (id != CONFIG_OPTION_COUNT) {
        config_option_variable(&config_options[id], variable);
        sq_error_set_hint(err, "Did you mean %s?", variable);
    } else {
        sq_error_set_hint(err, "Unset it; sqld --help lists the options.");
    }
    return status;
}

static sq_status environment_gather(struct config *config, struct sq_error *err)
{
    static const char prefix[] = "SQLD_";
    struct config_private *private = config->private;
    for (char *const *entry = private->environment; entry != NULL && *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        if (equals == NULL || strncmp(*entry, prefix, sizeof(prefix) - 1) != 0 || variable_is_foreign(*entry))
            continue;
        const char *start = *entry + sizeof(prefix) - 1;
        const char *name = sq_arena_copy(&private->arena, start, (size_t)(equals - start));
        const char *text = sq_arena_copy(&private->arena, equals + 1, strlen(equals + 1));
        if (name == NULL || text == NULL)
            return sq_fail(err, SQ_NOMEM, "configuration");
        enum config_option_id id = config_option_find(name);
        if (id == CONFIG_OPTION_COUNT)
            return variable_unknown(name, err);
        private->settings[CONFIG_SOURCE_ENVIRONMENT][id] =
            (struct config_setting){.text = text, .origin = "environment"};
    }
    return SQ_OK;
}

/* --- file and defaults --- */

static const struct config_setting *setting_strongest(const struct config *config, enum config_option_id id,
                                                      enum config_source *ret_source)
{
    for (int source = CONFIG_SOURCE_COUNT - 1; source >= 0; source--) {
        const struct config_setting *setting = &config->private->settings[source][id];
        if (setting->text != NULL) {
            if (ret_source != NULL)
                *ret_source = (enum config_source)source;
            return setting;
        }
    }
    sq_assert(false); /* every option has a default */
    return NULL;
}

static sq_status file_gather(struct config *config, struct sq_error *err)
{
    struct config_private *private = config->private;
    const char *path = setting_strongest(config, CONFIG_OPTION_config_file, NULL)->text;
    if (path[0] == '\0')
        return SQ_OK;
    return config_file_read(path, &private->arena, err, private->settings[CONFIG_SOURCE_FILE]);
}

static void defaults_gather(struct config *config)
{
    for (size_t id = 0; id < CONFIG_OPTION_COUNT; id++) {
        config->private->settings[CONFIG_SOURCE_DEFAULT][id] =
            (struct config_setting){.text = config_options[id].initial, .origin = "default"};
    }
}

/* --- settings to fields --- */

/* How a setting is named in a message: "--workers", "SQLD_WORKERS", "sqld.conf:3: workers". */
static void setting_where(const struct config_option *option, enum config_source source,
                          const struct config_setting *setting, char out[WHERE_MAX])
{
    char variable[CONFIG_VARIABLE_MAX];
    config_option_variable(option, variable);
    switch (source) {
    case CONFIG_SOURCE_FLAG:
        snprintf(out, WHERE_MAX, "--%s", option->name);
        return;
    case CONFIG_SOURCE_ENVIRONMENT:
        snprintf(out, WHERE_MAX, "%s", variable);
        return;
    case CONFIG_SOURCE_FILE:
        snprintf(out, WHERE_MAX, "%s: %s", setting->origin, option->name);
        return;
    case CONFIG_SOURCE_DEFAULT:
    case CONFIG_SOURCE_COUNT:
        snprintf(out, WHERE_MAX, "default of %s", option->name);
        return;
    }
}

static sq_status setting_parse(struct config *config, enum config_option_id id, enum config_source source,
                               struct sq_error *err)
{
    const struct config_setting *setting = &config->private->settings[source][id];
    char where[WHERE_MAX];
    setting_where(&config_options[id], source, setting, where);
    sq_status status =
        config_value_parse(&config_options[id], setting->text, where, &config->private->arena, err, config);
    /* A default that cannot be parsed is a bug in options.inc. */
    sq_assert(source != CONFIG_SOURCE_DEFAULT || status == SQ_OK || status == SQ_NOMEM);
    return status;
}

static sq_status settings_parse(struct config *config, struct sq_error *err)
{
    for (unsigned source = 0; source < CONFIG_SOURCE_COUNT; source++) {
        for (unsigned id = 0; id < CONFIG_OPTION_COUNT; id++) {
            if (config->private->settings[source][id].text != NULL)
                SQ_TRY(setting_parse(config, (enum config_option_id)id, (enum config_source)source, err));
        }
    }
    return SQ_OK;
}

/* Rules that one option alone cannot know. */
static sq_status rules_check(const struct config *config, struct sq_error *err)
{
    for (size_t i = 0; i < config->listen.count && !config->insecure; i++) {
        const struct config_address *address = &config->listen.items[i];
        if (config_address_is_local(address))
            continue;
        enum config_source source = CONFIG_SOURCE_DEFAULT;
        const struct config_setting *setting = setting_strongest(config, CONFIG_OPTION_listen, &source);
        char where[WHERE_MAX];
        setting_where(&config_options[CONFIG_OPTION_listen], source, setting, where);
        sq_status status = sq_fail(err, SQ_INVALID, "%s: other machines can reach '%s'", where, address->host);
        sq_error_set_hint(err, "This version does not check who connects. Listen on 127.0.0.1, [::1] or a unix socket, "
                               "or set --insecure if everybody who can reach the port may read and change all data.");
        return status;
    }
    return SQ_OK;
}

sq_status config_load(int argc, char *const argv[], char *const environment[], struct sq_error *err,
                      struct config **ret_config)
{
    sq_assert(argc >= 0 && ret_config != NULL);
    SQ_CLEANUP(config_freep) struct config *config = NULL;
    SQ_TRY(config_new(argc, argv, environment, err, &config));
    SQ_TRY(flags_gather(config, err));
    if (config->action == CONFIG_RUN) {
        defaults_gather(config);
        SQ_TRY(environment_gather(config, err));
        SQ_TRY(file_gather(config, err));
        SQ_TRY(settings_parse(config, err));
        SQ_TRY(rules_check(config, err));
    }
    *ret_config = SQ_STEAL(config);
    return SQ_OK;
}

/* --- reload --- */

static sq_status value_is_same(const struct config *a, const struct config *b, enum config_option_id id,
                               struct sq_error *err, bool *ret_is_same)
{
    /* Formatted lists are a little longer than what was given: "host" becomes "host:5432, ". */
    enum { FORMATTED_BYTES_MAX = 2 * CONFIG_VALUE_BYTES_MAX };
    SQ_CLEANUP(sq_buf_done) struct sq_buf text_a;
    SQ_CLEANUP(sq_buf_done) struct sq_buf text_b;
    sq_buf_init(&text_a, FORMATTED_BYTES_MAX);
    sq_buf_init(&text_b, FORMATTED_BYTES_MAX);
    config_value_format(&config_options[id], a, &text_a);
    config_value_format(&config_options[id], b, &text_b);
    SQ_TRY(sq_buf_check(&text_a, err));
    SQ_TRY(sq_buf_check(&text_b, err));
    size_t length = sq_buf_length(&text_a);
    *ret_is_same = length == sq_buf_length(&text_b) &&
                   (length == 0 || memcmp(sq_buf_bytes(&text_a), sq_buf_bytes(&text_b), length) == 0);
    return SQ_OK;
}

/* Gives `config` what `old` has for option `id`. */
static sq_status setting_restore(const struct config *old, enum config_option_id id, struct sq_error *err,
                                 struct config *config)
{
    enum config_source strongest = CONFIG_SOURCE_DEFAULT;
    (void)setting_strongest(old, id, &strongest);
    for (unsigned source = 0; source < CONFIG_SOURCE_COUNT; source++) {
        struct config_setting setting = old->private->settings[source][id];
        if (setting.text != NULL) {
            struct sq_arena *arena = &config->private->arena;
            setting.text = sq_arena_copy(arena, setting.text, strlen(setting.text));
            setting.origin = sq_arena_copy(arena, setting.origin, strlen(setting.origin));
            if (setting.text == NULL || setting.origin == NULL)
                return sq_fail(err, SQ_NOMEM, "configuration");
        }
        config->private->settings[source][id] = setting;
    }
    return setting_parse(config, id, strongest, err);
}

sq_status config_reload(const struct config *old, struct sq_error *err, struct config_changes *ret_changes,
                        struct config **ret_config)
{
    sq_assert(old != NULL && old->action == CONFIG_RUN);
    const struct config_private *before = old->private;
    SQ_CLEANUP(config_freep) struct config *config = NULL;
    SQ_TRY(config_load(before->argc, before->argv, before->environment, err, &config));

    struct config_changes changes = {0};
    for (unsigned i = 0; i < CONFIG_OPTION_COUNT; i++) {
        enum config_option_id id = (enum config_option_id)i;
        bool is_same = false;
        SQ_TRY(value_is_same(old, config, id, err, &is_same));
        if (is_same)
            continue;
        if ((config_options[id].flags & CONFIG_RELOAD) != 0) {
            changes.changed[changes.changed_count++] = config_options[id].name;
        } else {
            changes.restart[changes.restart_count++] = config_options[id].name;
            SQ_TRY(setting_restore(old, id, err, config));
        }
    }
    *ret_changes = changes;
    *ret_config = SQ_STEAL(config);
    return SQ_OK;
}

/* --- showing --- */

void config_option_format(const struct config *config, enum config_option_id id, struct sq_buf *out)
{
    sq_assert(id < CONFIG_OPTION_COUNT && config->action == CONFIG_RUN);
    const struct config_option *option = &config_options[id];
    if ((option->flags & CONFIG_URL) != 0)
        sq_url_put_masked(out, *(const char *const *)(const void *)((const char *)config + option->field_offset));
    else
        config_value_format(option, config, out);
}

const char *config_option_source(const struct config *config, enum config_option_id id)
{
    sq_assert(id < CONFIG_OPTION_COUNT && config->action == CONFIG_RUN);
    return setting_strongest(config, id, NULL)->origin;
}
