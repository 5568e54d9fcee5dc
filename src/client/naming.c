/* client/naming.c: which database a name means. See naming.h, whose rule numbers are cited here. */
#include "client/naming.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "base/utf8.h"
#include "client/api.h"
#include "client/stub.h"
#include "pgwire/native.h"

static const char stub_start[] = "sqld-stub ";

static void freep(char **text)
{
    free(*text);
}

void client_name_done(struct client_name *name)
{
    free(name->database);
    free(name->path);
    free(name->url);
    free(name->share);
    *name = (struct client_name){.place = CLIENT_LOCAL};
}

static bool is_on(const char *name)
{
    const char *value = secure_getenv(name);
    return value != NULL && value[0] != '\0' && strcmp(value, "0") != 0;
}

static const char *text_of(const char *name)
{
    const char *value = secure_getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

void client_naming_read(struct client_naming *ret_naming)
{
    *ret_naming = (struct client_naming){
        .url = text_of("SQLD_URL"),
        .map = text_of("SQLD_MAP"),
        .local = secure_getenv("SQLD_LOCAL"), /* empty: no directory at all */
        .has_map_memory = is_on("SQLD_MAP_MEMORY"),
        .has_import = is_on("SQLD_IMPORT"),
        .has_fresh = is_on("SQLD_FRESH"),
    };
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool is_url(const char *name)
{
    static const char *const schemes[] = {"postgresql://", "postgres://", "sqld://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strncasecmp(name, schemes[i], strlen(schemes[i])) == 0)
            return true;
    }
    return false;
}

const char *client_url_show(const char *url, char *to, size_t size)
{
    sq_assert(size > 0);
    size_t length = strcspn(url, "?#");
    const char *host = strstr(url, "://");
    host = host != NULL && host < url + length ? host + 3 : url;
    /* A password may hold anything, an '@' too: the last one before the host's end counts. */
    const char *at = memrchr(host, '@', length - (size_t)(host - url));
    size_t login_length = at != NULL ? (size_t)(at - host) : length - (size_t)(host - url);
    const char *colon = memchr(host, ':', login_length);
    if (colon != NULL && at == NULL && strchr(url + length, '@') != NULL) /* a '?' in a password, not a port */
        (void)snprintf(to, size, "%.*s:***", (int)(colon - url), url);
    else if (colon != NULL && at != NULL)
        (void)snprintf(to, size, "%.*s:***%.*s", (int)(colon - url), url, (int)(length - (size_t)(at - url)), at);
    else
        (void)snprintf(to, size, "%.*s", (int)length, url);
    to[sq_utf8_cut(to, strlen(to))] = '\0';
    return to;
}

/* --- file: URIs, https://sqlite.org/uri.html --- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes %HH in `length` bytes; %00 ends the text, as it does for SQLite. NULL: no memory. */
static char *percent_decode(const char *text, size_t length)
{
    char *decoded = malloc(length + 1), *to = decoded;
    if (decoded == NULL)
        return NULL;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '%' && i + 2 < length && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
            *to++ = (char)(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
            i += 2;
        } else {
            *to++ = text[i];
        }
    }
    *to = '\0';
    return decoded;
}

/* What of a name matters here. */
struct parsed {
    char *path;
    bool is_memory;
    bool has_vfs;
    bool has_shared_cache;
    int mode;
};

static void parsed_done(struct parsed *parsed)
{
    free(parsed->path);
}

static sq_status query_read(const char *query, struct parsed *parsed, struct sq_error *err)
{
    while (*query != '\0' && *query != '#') {
        size_t length = strcspn(query, "&#");
        SQ_CLEANUP(freep) char *parameter = percent_decode(query, length);
        if (parameter == NULL)
            return sq_fail(err, SQ_NOMEM, "a database's name");
        parsed->is_memory |= strcmp(parameter, "mode=memory") == 0;
        parsed->has_vfs |= starts_with(parameter, "vfs=");
        parsed->has_shared_cache |= strcmp(parameter, "cache=shared") == 0;
        if (strcmp(parameter, "mode=ro") == 0)
            parsed->mode = SQLITE_OPEN_READONLY;
        else if (strcmp(parameter, "mode=rw") == 0)
            parsed->mode = SQLITE_OPEN_READWRITE;
        else if (strcmp(parameter, "mode=rwc") == 0)
            parsed->mode = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
        query += length;
        query += *query == '&';
    }
    return SQ_OK;
}

static sq_status name_parse(const char *filename, int flags, const char *vfs, struct sq_error *err,
                            struct parsed *parsed)
{
    *parsed = (struct parsed){
        .has_vfs = vfs != NULL,
        .is_memory = (flags & SQLITE_OPEN_MEMORY) != 0,
        /* Other names of databases in memory are never shared: https://sqlite.org/inmemorydb.html */
        .has_shared_cache = (flags & SQLITE_OPEN_SHAREDCACHE) != 0 && (flags & SQLITE_OPEN_URI) != 0,
    };
    if (starts_with(filename, "file:")) {
        const char *path = filename + strlen("file:");
        if (starts_with(path, "//"))
            path += 2 + strcspn(path + 2, "/");
        const char *end = path + strcspn(path, "?#");
        if (*end == '?')
            SQ_TRY(query_read(end + 1, parsed, err));
        parsed->path = percent_decode(path, (size_t)(end - path));
    } else {
        parsed->path = strdup(filename);
    }
    if (parsed->path == NULL)
        return sq_fail(err, SQ_NOMEM, "a database's name");
    parsed->is_memory |= strcmp(parsed->path, ":memory:") == 0;
    return SQ_OK;
}

/* --- Memory --- */

enum { KEY_DIGITS = 32 };

/* A number that no other process has; a forked child is another process. */
static void process_key(char to[KEY_DIGITS + 1])
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static uint8_t key[KEY_DIGITS / 2];
    static pid_t key_pid; /* whose key it is; 0: nobody's */
    pthread_mutex_lock(&mutex);
    if (key_pid != getpid()) {
        sq_random_fill(key, sizeof(key));
        key_pid = getpid();
    }
    for (size_t i = 0; i < sizeof(key); i++)
        (void)snprintf(to + 2 * i, 3, "%02x", key[i]);
    pthread_mutex_unlock(&mutex);
}

static sq_status decide_memory(const struct client_naming *naming, const struct parsed *parsed, struct sq_error *err,
                               struct client_name *name)
{
    if (naming->url == NULL || !naming->has_map_memory)
        return SQ_OK;
    name->place = CLIENT_REMOTE_MAPPED;
    name->database = strdup(NATIVE_MEMORY_DATABASE);
    if (parsed->has_shared_cache) {
        char key[KEY_DIGITS + 1], digits[CLIENT_STUB_HASH_BYTES];
        const char *const parts[] = {parsed->path};
        process_key(key);
        client_stub_hash(parts, 1, digits);
        if (asprintf(&name->share, "%s%s", key, digits) < 0)
            name->share = NULL;
    }
    if (name->database != NULL && (name->share != NULL || !parsed->has_shared_cache))
        return SQ_OK;
    client_name_done(name);
    return sq_fail(err, SQ_NOMEM, "a database's name");
}

/* --- files --- */

/* `path` from the root, its directory without symbolic links where it exists. */
static sq_status path_absolute(const char *path, struct sq_error *err, char **ret_path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    char directory[PATH_MAX], real[PATH_MAX];
    int length = snprintf(directory, sizeof(directory), "%.*s", slash != NULL ? (int)(base - path) : 1,
                          slash != NULL ? path : ".");
    if (length < 0 || (size_t)length >= sizeof(directory))
        return sq_fail(err, SQ_INVALID, "the name is longer than %d bytes", PATH_MAX - 1);
    const char *found = realpath(directory, real);
    if (found == NULL && path[0] != '/') {
        int failure = errno;
        if (failure != ENOENT)
            return sq_fail_errno(err, failure, "'%s'", directory);
        (void)sq_fail(err, SQ_NOT_FOUND, "'%s': there is no such directory", directory);
        err->system_errno = failure;
        return SQ_NOT_FOUND;
    }
    if (found == NULL)
        found = directory;
    if (asprintf(ret_path, "%s%s%s", found, found[strlen(found) - 1] == '/' ? "" : "/", base) < 0)
        return sq_fail(err, SQ_NOMEM, "a database's name");
    return SQ_OK;
}

/* The invariant of naming.h: only a file that cannot be a database is opened. */
static bool is_stub(const char *path, const struct stat *info)
{
    if (!S_ISREG(info->st_mode) || info->st_size <= 0 || info->st_size >= CLIENT_DATABASE_FILE_BYTES_MIN)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return false;
    char start[sizeof(stub_start) - 1];
    ssize_t count = pread(fd, start, sizeof(start), 0);
    (void)close(fd);
    return count == (ssize_t)sizeof(start) && memcmp(start, stub_start, sizeof(start)) == 0;
}

/* --- SQLD_LOCAL and SQLD_MAP --- */

static bool is_below(const char *path, const char *directory, size_t length)
{
    while (length > 1 && directory[length - 1] == '/')
        length--;
    return length > 0 && strncmp(path, directory, length) == 0 &&
           (path[length] == '/' || path[length] == '\0' || directory[length - 1] == '/');
}

static bool is_kept_local(const struct client_naming *naming, const char *path)
{
    const char *list = naming->local != NULL ? naming->local : CLIENT_NAMING_LOCAL_DEFAULT;
    for (size_t length; *list != '\0'; list += length + (list[length] == ':')) {
        length = strcspn(list, ":");
        if (is_below(path, list, length))
            return true;
    }
    return false;
}

/* Does the pattern match all of `text`? *ret_star: what its first '*' stands for. */
static bool pattern_matches(const char *pattern, size_t length, const char *text, const char **ret_star,
                            size_t *ret_star_length)
{
    size_t at = 0;
    while (at < length && pattern[at] != '*') {
        if (pattern[at++] != *text++)
            return false;
    }
    if (at == length)
        return *text == '\0';
    size_t longest = strcspn(text, "/");
    for (size_t taken = longest + 1; taken-- > 0;) {
        const char *star;
        size_t star_length;
        if (pattern_matches(pattern + at + 1, length - at - 1, text + taken, &star, &star_length)) {
            *ret_star = text;
            *ret_star_length = taken;
            return true;
        }
    }
    return false;
}

/* The file's name without directory and extension; a leading '.' begins no extension. */
static char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    return strndup(base, dot != NULL && dot > base ? (size_t)(dot - base) : strlen(base));
}

/* `target` with the '*' filled in. */
static char *target_fill(const char *target, size_t length, const char *star, size_t star_length)
{
    const char *place = memchr(target, '*', length);
    if (place == NULL)
        return strndup(target, length);
    char *name;
    int made = asprintf(&name, "%.*s%.*s%.*s", (int)(place - target), target, (int)star_length, star,
                        (int)(length - (size_t)(place - target) - 1), place + 1);
    return made < 0 ? NULL : name;
}

/* `name`, which it frees, as a name that a server takes: other bytes become '_', and what had to be changed gets a number
 * behind it, so that it remains another name than others. */
static char *name_clean(char *name)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    size_t length = name != NULL ? strlen(name) : 0;
    if (name == NULL || (length > 0 && length <= CLIENT_DATABASE_NAME_MAX && strspn(name, fine) == length &&
                         name[0] != '.' && name[0] != '-'))
        return name;
    uint32_t hash = 0x811c9dc5; /* FNV-1a */
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char)name[i]) * 0x01000193;
        if (strchr(fine, name[i]) == NULL || (i == 0 && (name[i] == '.' || name[i] == '-')))
            name[i] = '_';
    }
    char *made;
    int count = asprintf(&made, "%.*s_%08x", CLIENT_DATABASE_NAME_MAX - 9, name, hash);
    free(name);
    return count < 0 ? NULL : made;
}

/* Rule 7. OK with *ret_database NULL: no pattern matches. */
static sq_status map_name(const struct client_naming *naming, const char *path, struct sq_error *err,
                          char **ret_database)
{
    char *database = NULL;
    if (naming->map == NULL) {
        database = name_clean(base_name(path));
        if (database == NULL)
            return sq_fail(err, SQ_NOMEM, "a database's name");
    }
    const char *entry = naming->map != NULL ? naming->map : "";
    for (size_t length; *entry != '\0' && database == NULL; entry += length + (entry[length] == ':')) {
        length = strcspn(entry, ":");
        const char *equals = memchr(entry, '=', length);
        size_t pattern_length = equals != NULL ? (size_t)(equals - entry) : length;
        if (pattern_length == 0 || (equals != NULL && pattern_length + 1 == length))
            return sq_fail(err, SQ_INVALID, "SQLD_MAP: '%.*s' is not PATTERN or PATTERN=DATABASE", (int)length, entry);
        const char *slash = strrchr(path, '/');
        const char *text = memchr(entry, '/', pattern_length) != NULL || slash == NULL ? path : slash + 1;
        const char *star = "";
        size_t star_length = 0;
        if (!pattern_matches(entry, pattern_length, text, &star, &star_length))
            continue;
        database = name_clean(equals != NULL ? target_fill(equals + 1, length - pattern_length - 1, star, star_length)
                                             : base_name(path));
        if (database == NULL)
            return sq_fail(err, SQ_NOMEM, "a database's name");
    }
    *ret_database = database;
    return SQ_OK;
}

/* Rules 6 to 9. */
static sq_status decide_mapped(const struct client_naming *naming, const char *path, const struct stat *info,
                               struct sq_error *err, struct client_name *ret_name)
{
    SQ_CLEANUP(freep) char *absolute = NULL;
    SQ_TRY(path_absolute(path, err, &absolute));
    if (is_kept_local(naming, absolute) || (info != NULL && !S_ISREG(info->st_mode)))
        return SQ_OK;
    char *database;
    SQ_TRY(map_name(naming, absolute, err, &database));
    if (database == NULL)
        return SQ_OK;
    bool is_kept = info != NULL && info->st_size > 0 && !naming->has_import;
    ret_name->place = is_kept ? CLIENT_LOCAL_THOUGH_MAPPED : CLIENT_REMOTE_MAPPED;
    ret_name->database = database;
    ret_name->path = SQ_STEAL(absolute);
    ret_name->has_file = info != NULL;
    ret_name->is_empty = info != NULL && info->st_size == 0;
    return SQ_OK;
}

static sq_status decide_url(const char *url, struct sq_error *err, struct client_name *ret_name)
{
    *ret_name = (struct client_name){.place = CLIENT_REMOTE_URL, .url = strdup(url)};
    return ret_name->url != NULL ? SQ_OK : sq_fail(err, SQ_NOMEM, "a database's name");
}

sq_status client_naming_decide(const struct client_naming *naming, const char *filename, int flags, const char *vfs,
                               struct sq_error *err, struct client_name *ret_name)
{
    struct client_name name = {.place = CLIENT_LOCAL};
    if (filename == NULL) {
        *ret_name = name;
        return SQ_OK;
    }
    size_t scheme = starts_with(filename, "file:") ? strlen("file:") : 0;
    if (is_url(filename + scheme))
        return decide_url(filename + scheme, err, ret_name);
    SQ_CLEANUP(parsed_done) struct parsed parsed = {0};
    SQ_TRY(name_parse(filename, flags, vfs, err, &parsed));
    struct stat info;
    bool exists = false;
    name.mode = parsed.mode;
    if (is_url(parsed.path)) /* its characters were written as %HH */
        return decide_url(parsed.path, err, ret_name);
    if (parsed.has_vfs || parsed.path[0] == '\0') {
        name.place = CLIENT_LOCAL;
    } else if (parsed.is_memory) {
        SQ_TRY(decide_memory(naming, &parsed, err, &name));
    } else if ((exists = stat(parsed.path, &info) == 0) && is_stub(parsed.path, &info)) {
        name.place = CLIENT_REMOTE_STUB;
        name.has_file = true;
        name.database = name_clean(base_name(parsed.path));
        if (name.database == NULL)
            return sq_fail(err, SQ_NOMEM, "a database's name");
        sq_status status = path_absolute(parsed.path, err, &name.path);
        if (status != SQ_OK) {
            client_name_done(&name);
            return status;
        }
    } else if (naming->url != NULL) {
        SQ_TRY(decide_mapped(naming, parsed.path, exists ? &info : NULL, err, &name));
    }
    *ret_name = name;
    return SQ_OK;
}
