/* What an application sees of the drop-in library with local databases: linked with the system's libsqlite3 and run with
 * LD_LIBRARY_PATH leading to the one or the other. All cases but those marked DROP_IN hold for both: they say nothing
 * about sqld that SQLite itself would not say.
 *
 *     local_test REAL EXTENSION    REAL: path of the real library; EXTENSION: of the compiled extension.c */
#define _GNU_SOURCE
#define SQLITE_ENABLE_SESSION 1
#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <math.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uchar.h>
#include <unistd.h>

static char why[1000];
static const char *real_path, *extension_path;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            snprintf(why, sizeof(why), "line %d: %s", __LINE__, #condition);                                           \
            return false;                                                                                              \
        }                                                                                                              \
    } while (0)

static char logged[300];

static void keep_log(void *context, int code, const char *message)
{
    (void)context;
    snprintf(logged, sizeof(logged), "%d %s", code, message);
}

/* --- the two libraries in one process --- */

struct real {
    uintptr_t base;
    const ElfW(Phdr) * headers;
    size_t header_count;
};

static int find_real(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    char wanted[4096], found[4096];
    if (realpath(real_path, wanted) == NULL || realpath(info->dlpi_name, found) == NULL || strcmp(wanted, found) != 0)
        return 0;
    *(struct real *)argument = (struct real){info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum};
    return 1;
}

static bool is_within(const struct real *real, uintptr_t address)
{
    for (size_t i = 0; i < real->header_count; i++) {
        const ElfW(Phdr) *header = &real->headers[i];
        if (header->p_type == PT_LOAD && address >= real->base + header->p_vaddr &&
            address < real->base + header->p_vaddr + header->p_memsz)
            return true;
    }
    return false;
}

/* Goes through the real library's relocations: those to its own symbols lead into itself, but for the two variables. */
static bool case_real_library_refers_to_itself(void)
{
    struct real real;
    CHECK(dl_iterate_phdr(find_real, &real) == 1);
    const ElfW(Dyn) *dynamic = NULL;
    for (size_t i = 0; i < real.header_count; i++) {
        if (real.headers[i].p_type == PT_DYNAMIC)
            dynamic = (const ElfW(Dyn) *)(real.base + real.headers[i].p_vaddr);
    }
    CHECK(dynamic != NULL);
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    const ElfW(Rela) * tables[2] = {NULL, NULL};
    size_t sizes[2] = {0, 0};
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        switch (dynamic->d_tag) {
        case DT_SYMTAB:
            symbols = (const ElfW(Sym) *)dynamic->d_un.d_ptr;
            break;
        case DT_STRTAB:
            strings = (const char *)dynamic->d_un.d_ptr;
            break;
        case DT_RELA:
            tables[0] = (const ElfW(Rela) *)dynamic->d_un.d_ptr;
            break;
        case DT_JMPREL:
            tables[1] = (const ElfW(Rela) *)dynamic->d_un.d_ptr;
            break;
        case DT_RELASZ:
            sizes[0] = dynamic->d_un.d_val;
            break;
        case DT_PLTRELSZ:
            sizes[1] = dynamic->d_un.d_val;
            break;
        default:
            break;
        }
    }
    size_t inside = 0, variables = 0;
    for (size_t t = 0; t < 2; t++) {
        for (size_t i = 0; i < sizes[t] / sizeof(ElfW(Rela)); i++) {
            size_t index = ELF64_R_SYM(tables[t][i].r_info);
            if (index == 0 || symbols[index].st_shndx == SHN_UNDEF)
                continue;
            const char *name = strings + symbols[index].st_name;
            uintptr_t value = *(const uintptr_t *)(real.base + tables[t][i].r_offset);
            if (strcmp(name, "sqlite3_temp_directory") == 0 || strcmp(name, "sqlite3_data_directory") == 0) {
                void *ours = name[8] == 't' ? (void *)&sqlite3_temp_directory : (void *)&sqlite3_data_directory;
                snprintf(why, sizeof(why), "%s is not the application's", name);
                if (value != (uintptr_t)ours)
                    return false;
                variables++;
            } else {
                snprintf(why, sizeof(why), "%s leads out of the real library", name);
                if (!is_within(&real, value))
                    return false;
                inside++;
            }
        }
    }
    CHECK(inside > 1000 && variables >= 2);
    return true;
}

static bool case_there_is_one_library_of_that_name(void)
{
    void *library = dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_NOLOAD);
    CHECK(library != NULL);
    CHECK(dlsym(library, "sqlite3_errstr") != NULL);
    CHECK(dlsym(library, "sqlite3_errstr") == dlsym(RTLD_DEFAULT, "sqlite3_errstr"));
    dlclose(library);
    return true;
}

static bool case_versions_agree(void)
{
    CHECK(strcmp(sqlite3_version, sqlite3_libversion()) == 0);
    CHECK(sqlite3_libversion_number() == SQLITE_VERSION_NUMBER);
    CHECK(strcmp(sqlite3_sourceid(), SQLITE_SOURCE_ID) == 0);
    return true;
}

/* PRAGMA temp_store_directory reads and writes the variable that the library uses. */
static bool case_directory_variables_are_shared(void)
{
    sqlite3 *db;
    char **table;
    int rows, columns;
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    sqlite3_temp_directory = sqlite3_mprintf("%s", "/tmp");
    CHECK(sqlite3_get_table(db, "PRAGMA temp_store_directory", &table, &rows, &columns, NULL) == SQLITE_OK);
    CHECK(rows == 1 && strcmp(table[1], "/tmp") == 0);
    sqlite3_free_table(table);
    CHECK(sqlite3_exec(db, "PRAGMA temp_store_directory='/var/tmp'", NULL, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_temp_directory != NULL && strcmp(sqlite3_temp_directory, "/var/tmp") == 0);
    sqlite3_free(sqlite3_temp_directory);
    sqlite3_temp_directory = NULL;
    CHECK(sqlite3_data_directory == NULL);
    return sqlite3_close(db) == SQLITE_OK;
}

/* --- variable arguments --- */

static bool case_printf_functions_take_everything(void)
{
    char *text = sqlite3_mprintf("%d %lld %s %Q %q %.3f %g %c %x %s %d %.2f %s", -1, INT64_C(1) << 40, "s", "it's",
                                 "it's", 1.5, 1e100, 'c', 255, "9th", 10, 2.25, "last");
    CHECK(strcmp(text, "-1 1099511627776 s 'it''s' it''s 1.500 1e+100 c ff 9th 10 2.25 last") == 0);
    sqlite3_free(text);
    char buffer[16];
    CHECK(sqlite3_snprintf((int)sizeof(buffer), buffer, "%s-%d-%.1f-%s", "abc", 42, 0.5, "cut off here") == buffer);
    CHECK(strcmp(buffer, "abc-42-0.5-cut ") == 0);
    sqlite3_str *str = sqlite3_str_new(NULL);
    sqlite3_str_appendf(str, "%d %d %d %d %d %d %.1f %s", 1, 2, 3, 4, 5, 6, 7.5, "eight");
    text = sqlite3_str_finish(str);
    CHECK(strcmp(text, "1 2 3 4 5 6 7.5 eight") == 0);
    sqlite3_free(text);
    return true;
}

static bool case_log_messages_arrive(void)
{
    sqlite3_log(SQLITE_NOTICE, "%s %d %.2f %lld", "message", 7, 1.25, INT64_C(5000000000));
    CHECK(strcmp(logged, "27 message 7 1.25 5000000000") == 0);
    /* SQLite cuts at 210 bytes with the NUL. */
    char text[300];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    sqlite3_log(1, "%d%s", 5, text);
    CHECK(strlen(logged) == strlen("1 ") + 209 && strncmp(logged, "1 5xxx", 6) == 0);
    sqlite3_log(1, "<%0300d>", 1); /* which SQLite gives up */
    CHECK(strcmp(logged, "1 <") == 0);
    return true;
}

static bool case_config_takes_its_arguments(void)
{
    /* main() has set the log callback: integers and pointers arrive. Sizes are 64 bits wide. */
    sqlite3_shutdown();
    CHECK(sqlite3_config(SQLITE_CONFIG_MMAP_SIZE, INT64_C(1) << 33, INT64_C(1) << 34) == SQLITE_OK);
    CHECK(sqlite3_config(SQLITE_CONFIG_MMAP_SIZE, INT64_C(0), INT64_C(1) << 30) == SQLITE_OK);
    sqlite3_mem_methods methods;
    memset(&methods, 0, sizeof(methods));
    CHECK(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &methods) == SQLITE_OK && methods.xMalloc != NULL);
    int header_bytes = 0;
    CHECK(sqlite3_config(SQLITE_CONFIG_PCACHE_HDRSZ, &header_bytes) == SQLITE_OK && header_bytes > 0);
    CHECK(sqlite3_config(999999) == SQLITE_ERROR);
    CHECK(sqlite3_initialize() == SQLITE_OK);
    CHECK(sqlite3_config(SQLITE_CONFIG_URI, 1) == SQLITE_MISUSE);
    return true;
}

static bool case_db_config_takes_its_arguments(void)
{
    sqlite3 *db;
    int is_on = -1;
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    CHECK(sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, &is_on) == SQLITE_OK && is_on == 1);
    CHECK(sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 0, &is_on) == SQLITE_OK && is_on == 0);
    CHECK(sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, -1, NULL) == SQLITE_OK);
    CHECK(sqlite3_db_config(db, SQLITE_DBCONFIG_LOOKASIDE, NULL, 512, 10) == SQLITE_OK);
    CHECK(sqlite3_db_config(db, SQLITE_DBCONFIG_MAINDBNAME, "other") == SQLITE_OK);
    CHECK(strcmp(sqlite3_db_name(db, 0), "other") == 0);
    CHECK(sqlite3_db_config(db, 999999, 1, &is_on) == SQLITE_ERROR);
    return sqlite3_close(db) == SQLITE_OK;
}

static bool case_test_control_takes_its_arguments(void)
{
    sqlite3 *db;
    int logarithm = 0, back = 0;
    sqlite3_uint64 integer = 0;
    sqlite3_test_control(SQLITE_TESTCTRL_LOGEST, 1024.0, &logarithm, &integer, &back);
    CHECK(logarithm == 100 && integer == 1024 && back == 100);
    CHECK(sqlite3_test_control(SQLITE_TESTCTRL_BYTEORDER) == 123410 ||
          sqlite3_test_control(SQLITE_TESTCTRL_BYTEORDER) == 432101);
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "CREATE TABLE t(a)", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_uint64 seeks = 1;
    sqlite3_test_control(SQLITE_TESTCTRL_SEEK_COUNT, db, &seeks);
    /* Four arguments: an imposter table over the b-tree of t. */
    CHECK(sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, db, "main", 1, 2) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "CREATE TABLE i(a)", NULL, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "SELECT a FROM i", NULL, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_test_control(SQLITE_TESTCTRL_IMPOSTER, db, "main", 0, 2) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "SELECT a FROM i", NULL, NULL, NULL) == SQLITE_ERROR);
    return sqlite3_close(db) == SQLITE_OK;
}

/* A table-valued module with one column; xConnect says what sqlite3_vtab_config() answered. */
static int vtab_results[3];

static int vtab_connect(sqlite3 *db, void *context, int argc, const char *const *argv, sqlite3_vtab **ret_vtab,
                        char **ret_error)
{
    (void)context, (void)argc, (void)argv, (void)ret_error;
    vtab_results[0] = sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
    vtab_results[1] = sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
    vtab_results[2] = sqlite3_vtab_config(db, 999999);
    *ret_vtab = sqlite3_malloc(sizeof(**ret_vtab));
    memset(*ret_vtab, 0, sizeof(**ret_vtab));
    return sqlite3_declare_vtab(db, "CREATE TABLE x(a)");
}

static int vtab_disconnect(sqlite3_vtab *vtab)
{
    sqlite3_free(vtab);
    return SQLITE_OK;
}

static bool case_vtab_config_takes_its_arguments(void)
{
    static const sqlite3_module module = {
        .xCreate = vtab_connect, .xConnect = vtab_connect, .xDisconnect = vtab_disconnect, .xDestroy = vtab_disconnect};
    sqlite3 *db;
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    CHECK(sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS) == SQLITE_MISUSE);
    CHECK(sqlite3_create_module(db, "m", &module, NULL) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "CREATE VIRTUAL TABLE v USING m", NULL, NULL, NULL) == SQLITE_OK);
    CHECK(vtab_results[0] == SQLITE_OK && vtab_results[1] == SQLITE_OK && vtab_results[2] == SQLITE_MISUSE);
    return sqlite3_close(db) == SQLITE_OK;
}

/* --- callbacks, memory, extensions, sessions --- */

static void twice(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3 *db = sqlite3_context_db_handle(context);
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(db, "SELECT 2 * ?", -1, &stmt, NULL) != SQLITE_OK)
        sqlite3_result_error(context, sqlite3_errmsg(db), -1);
    sqlite3_bind_value(stmt, 1, values[0]);
    sqlite3_step(stmt);
    sqlite3_result_value(context, sqlite3_column_value(stmt, 0));
    sqlite3_finalize(stmt);
}

static bool case_callbacks_may_use_the_connection(void)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    CHECK(sqlite3_create_function(db, "twice", 1, SQLITE_UTF8, NULL, twice, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(db, "SELECT twice(21), ?", -1, &stmt, NULL) == SQLITE_OK);
    /* sqlite3_free as a destructor: our address of it, called by the real library. */
    CHECK(sqlite3_bind_text(stmt, 1, sqlite3_mprintf("text"), -1, sqlite3_free) == SQLITE_OK);
    CHECK(sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int(stmt, 0) == 42);
    CHECK(strcmp((const char *)sqlite3_column_text(stmt, 1), "text") == 0);
    CHECK(sqlite3_db_handle(stmt) == db);
    CHECK(sqlite3_finalize(stmt) == SQLITE_OK);
    return sqlite3_close(db) == SQLITE_OK;
}

static int count_row(void *context, int count, char **values, char **names)
{
    (void)count, (void)values, (void)names;
    ++*(int *)context;
    return 0;
}

static bool case_extensions_are_loaded(void)
{
    sqlite3 *db;
    char *error = NULL;
    int rows = 0;
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    CHECK(sqlite3_enable_load_extension(db, 1) == SQLITE_OK);
    int code = sqlite3_load_extension(db, extension_path, "extension_init", &error);
    snprintf(why, sizeof(why), "load_extension: %s", error);
    if (code != SQLITE_OK)
        return false;
    CHECK(sqlite3_exec(db, "SELECT 1 WHERE from_extension('a') = 'a, 7 and 0.5'", count_row, &rows, NULL) == SQLITE_OK);
    CHECK(rows == 1);
    return sqlite3_close(db) == SQLITE_OK;
}

static bool case_sessions_work(void)
{
    sqlite3 *db;
    sqlite3_session *session;
    int size = 0;
    void *changes = NULL;
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "CREATE TABLE t(a PRIMARY KEY, b)", NULL, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3session_create(db, "main", &session) == SQLITE_OK);
    CHECK(sqlite3session_attach(session, NULL) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "INSERT INTO t VALUES(1, 2)", NULL, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3session_changeset(session, &size, &changes) == SQLITE_OK && size > 0);
    sqlite3session_delete(session);
    sqlite3_free(changes);
    return sqlite3_close(db) == SQLITE_OK;
}

/* --- names that are no local files --- */

/* Nobody listens there. */
static const char url[] = "postgresql://app:secret@127.0.0.1:1/shop";
static const char refusal[] = "unable to open 'postgresql://app:***@127.0.0.1:1/shop': ";

/* A failed connection knows its error, can be closed, and does nothing else. */
static bool is_unopened(sqlite3 *db)
{
    sqlite3_stmt *stmt = (sqlite3_stmt *)&stmt;
    sqlite3 *local;
    CHECK(db != NULL);
    CHECK(sqlite3_errcode(db) == SQLITE_CANTOPEN && sqlite3_extended_errcode(db) == SQLITE_CANTOPEN);
    const char *message = sqlite3_errmsg(db);
    CHECK(strncmp(message, refusal, strlen(refusal)) == 0 && strstr(message, "secret") == NULL);
    const char16_t *wide = sqlite3_errmsg16(db);
    for (size_t i = 0; i <= strlen(message); i++)
        CHECK(wide[i] == (char16_t)message[i]);
    CHECK(sqlite3_error_offset(db) == -1);
    CHECK(sqlite3_exec(db, "CREATE TABLE t(a)", NULL, NULL, NULL) == SQLITE_MISUSE);
    CHECK(sqlite3_prepare_v2(db, "SELECT 1", -1, &stmt, NULL) == SQLITE_MISUSE);
    CHECK(sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL) == SQLITE_MISUSE);
    CHECK(sqlite3_next_stmt(db, NULL) == NULL && sqlite3_db_filename(db, "main") == NULL);
    CHECK(sqlite3_last_insert_rowid(db) == 0 && sqlite3_changes(db) == 0);
    sqlite3_interrupt(db);
    CHECK(sqlite3_open(":memory:", &local) == SQLITE_OK);
    CHECK(sqlite3_backup_init(local, "main", db, "main") == NULL && sqlite3_errcode(local) == SQLITE_ERROR);
    CHECK(sqlite3_backup_init(db, "main", local, "main") == NULL);
    CHECK(sqlite3_close(local) == SQLITE_OK);
    CHECK(sqlite3_close_v2(db) == SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_MISUSE && sqlite3_errcode(db) == SQLITE_MISUSE); /* closed already */
    return true;
}

static bool case_a_url_without_a_server_is_not_opened(void)
{
    sqlite3 *db = NULL;
    CHECK(sqlite3_open(url, &db) == SQLITE_CANTOPEN);
    if (!is_unopened(db))
        return false;
    CHECK(strstr(logged, refusal) != NULL);
    CHECK(sqlite3_open_v2(url, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_CANTOPEN);
    if (!is_unopened(db))
        return false;
    CHECK(sqlite3_open16(u"postgresql://app:secret@127.0.0.1:1/shop", &db) == SQLITE_CANTOPEN);
    return is_unopened(db);
}

static bool case_a_mapped_name_without_a_server_is_not_opened(void)
{
    sqlite3 *db = NULL;
    setenv("SQLD_URL", "postgresql://127.0.0.1:1", 1);
    int code = sqlite3_open("mapped.db", &db);
    CHECK(code == SQLITE_CANTOPEN && strstr(sqlite3_errmsg(db), "unable to open 'mapped.db': ") != NULL);
    CHECK(strstr(sqlite3_errmsg(db), "127.0.0.1") != NULL);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    CHECK(access("mapped.db", F_OK) != 0);
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK && sqlite3_close(db) == SQLITE_OK);
    setenv("SQLD_MAP", "=", 1);
    CHECK(sqlite3_open("mapped.db", &db) == SQLITE_CANTOPEN && strstr(sqlite3_errmsg(db), "SQLD_MAP") != NULL);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    unsetenv("SQLD_URL");
    unsetenv("SQLD_MAP");
    return true;
}

static bool case_no_file_is_named_like_a_url(void)
{
    sqlite3 *db;
    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "ATTACH 'sqld://h/x.db' AS x", NULL, NULL, NULL) == SQLITE_CANTOPEN);
    CHECK(sqlite3_exec(db, "VACUUM INTO 'sqld://h/x.db'", NULL, NULL, NULL) == SQLITE_CANTOPEN);
    CHECK(access("sqld:", F_OK) != 0);
    return sqlite3_close(db) == SQLITE_OK;
}

static bool case_misuse_is_sqlites_own(void)
{
    sqlite3 *db;
    CHECK(sqlite3_open("no/such/directory/x.db", &db) == SQLITE_CANTOPEN);
    CHECK(strcmp(sqlite3_errmsg(db), "unable to open database file") == 0);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    CHECK(sqlite3_open(NULL, &db) == SQLITE_OK && sqlite3_close(db) == SQLITE_OK);
    CHECK(sqlite3_open16(u"", &db) == SQLITE_OK && sqlite3_close(db) == SQLITE_OK);
    CHECK(sqlite3_close(NULL) == SQLITE_OK && sqlite3_finalize(NULL) == SQLITE_OK);
    CHECK(strcmp(sqlite3_errmsg(NULL), "out of memory") == 0);
    CHECK(sqlite3_exec(NULL, "SELECT 1", NULL, NULL, NULL) == SQLITE_MISUSE);
    return true;
}

/* clang-format off */
static const struct {
    const char *name;
    bool (*run)(void);
} cases[] = {
    {"there is one library of that name", case_there_is_one_library_of_that_name},
    {"versions agree", case_versions_agree},
    {"directory variables are shared", case_directory_variables_are_shared},
    {"printf functions take everything", case_printf_functions_take_everything},
    {"log messages arrive", case_log_messages_arrive},
    {"db_config takes its arguments", case_db_config_takes_its_arguments},
    {"test_control takes its arguments", case_test_control_takes_its_arguments},
    {"vtab_config takes its arguments", case_vtab_config_takes_its_arguments},
    {"callbacks may use the connection", case_callbacks_may_use_the_connection},
    {"extensions are loaded", case_extensions_are_loaded},
    {"sessions work", case_sessions_work},
    {"no file is named like a URL", case_no_file_is_named_like_a_url},
    {"misuse is SQLite's own", case_misuse_is_sqlites_own},
    {"config takes its arguments", case_config_takes_its_arguments},
    {"DROP_IN the real library refers to itself", case_real_library_refers_to_itself},
    {"DROP_IN a URL without a server is not opened", case_a_url_without_a_server_is_not_opened},
    {"DROP_IN a mapped name without a server is not opened", case_a_mapped_name_without_a_server_is_not_opened},
};
/* clang-format on */

int main(int argc, char **argv)
{
    int failed = 0;
    if (argc != 3)
        return 2;
    real_path = argv[1];
    extension_path = argv[2];
    sqlite3_config(SQLITE_CONFIG_LOG, keep_log, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        why[0] = '\0';
        bool is_ok = cases[i].run();
        failed += !is_ok;
        printf(is_ok ? "ok %s\n" : "not ok %s - %s\n", cases[i].name, why);
        fflush(stdout);
    }
    return failed == 0 ? 0 : 1;
}
