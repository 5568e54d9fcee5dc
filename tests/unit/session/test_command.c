/* The command parser. Each case is a statement and what it is, written out as one line; see describe(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "session/command.h"

enum { OUT_BYTES_MAX = 1 << 16 };

static const char *text_of(const char *text)
{
    return text != NULL ? text : "NULL";
}

static void put_names(struct sq_buf *out, const char *label, const struct command_names *names)
{
    if (names->count > 0)
        sq_buf_printf(out, " %s=", label);
    for (size_t i = 0; i < names->count; i++)
        sq_buf_printf(out, "%s<%s>", i > 0 ? "," : "", names->items[i]);
}

static void put_span(struct sq_buf *out, const char *label, const char *text, struct command_span span)
{
    sq_buf_printf(out, " %s=<%.*s>", label, (int)span.length, text + span.start);
}

static void put_modes(struct sq_buf *out, const struct command_transaction_modes *modes)
{
    static const char *const isolations[] = {"", " ru", " rc", " rr", " s"};
    static const char *const accesses[] = {"", " ro", " rw"};
    static const char *const deferrables[] = {"", " d", " nd"};
    sq_buf_put_text(out, isolations[modes->isolation]);
    sq_buf_put_text(out, accesses[modes->access]);
    sq_buf_put_text(out, deferrables[modes->deferrable]);
}

static void put_copy(struct sq_buf *out, const char *text, const struct command_copy *copy)
{
    static const char *const headers[] = {"", " header", " match"};
    const struct copy_options *options = &copy->options;
    sq_buf_put_text(out, copy->direction == COPY_FROM ? " from" : " to");
    if (copy->table != NULL)
        sq_buf_printf(out, " %s.%s", text_of(copy->schema), copy->table);
    else
        put_span(out, "query", text, copy->query);
    put_names(out, "cols", &copy->columns);
    sq_buf_put_text(out, options->format == COPY_FORMAT_CSV ? " csv" : "");
    sq_buf_put_text(out, headers[options->header]);
    if (options->delimiter != NULL)
        sq_buf_printf(out, " delimiter=<%s>", options->delimiter);
    if (options->null_text != NULL)
        sq_buf_printf(out, " null=<%s>", options->null_text);
    if (options->quote != NULL)
        sq_buf_printf(out, " quote=<%s>", options->quote);
    if (options->escape != NULL)
        sq_buf_printf(out, " escape=<%s>", options->escape);
    if (options->encoding != NULL)
        sq_buf_printf(out, " encoding=<%s>", options->encoding);
    sq_buf_put_text(out, options->force_quote.is_all ? " fq=*" : "");
    sq_buf_put_text(out, options->force_not_null.is_all ? " fnn=*" : "");
    put_names(out, "fq", &copy->force_quote);
    put_names(out, "fnn", &copy->force_not_null);
    put_names(out, "fn", &copy->force_null);
    sq_buf_put_text(out, copy->is_freeze ? " freeze" : "");
}

static void put_begin(struct sq_buf *out, const struct command_begin *begin)
{
    static const char *const locks[] = {"", " deferred", " immediate", " exclusive"};
    sq_buf_put_text(out, locks[begin->lock]);
    put_modes(out, &begin->modes);
}

static void put_declare(struct sq_buf *out, const char *text, const struct command_declare *declare)
{
    static const char *const scrolls[] = {"", " scroll", " noscroll"};
    sq_buf_printf(out, " %s%s%s%s%s", declare->name, declare->is_binary ? " binary" : "",
                  declare->is_insensitive ? " insensitive" : "", scrolls[declare->scroll],
                  declare->is_hold ? " hold" : "");
    put_span(out, "query", text, declare->query);
}

static void put_fetch(struct sq_buf *out, const struct command_fetch *fetch)
{
    static const char letters[] = "fbar";
    sq_buf_printf(out, " %s %c", fetch->name, letters[fetch->direction]);
    if (fetch->count == COMMAND_FETCH_ALL)
        sq_buf_put_text(out, "all");
    else
        sq_buf_printf(out, "%lld", (long long)fetch->count);
}

static void put_database(struct sq_buf *out, const struct command *command)
{
    const struct command_create_database *create = &command->create_database;
    if (command->kind == COMMAND_CREATE_DATABASE)
        sq_buf_printf(out, " %s%s owner=%s template=%s encoding=%s", create->name,
                      create->if_not_exists ? " ifnot" : "", text_of(create->owner), text_of(create->template_name),
                      text_of(create->encoding));
    else if (command->kind == COMMAND_DROP_DATABASE)
        sq_buf_printf(out, " %s%s%s", command->drop_database.name, command->drop_database.if_exists ? " if" : "",
                      command->drop_database.is_force ? " force" : "");
    else
        sq_buf_printf(out, " %s %s", command->rename_database.name, command->rename_database.new_name);
}

static void put_truncate(struct sq_buf *out, const struct command_truncate *truncate)
{
    for (size_t i = 0; i < truncate->table_count; i++)
        sq_buf_printf(out, " %s.%s", text_of(truncate->tables[i].schema), truncate->tables[i].name);
    sq_buf_put_text(out, truncate->is_restart_identity ? " restart" : "");
    sq_buf_put_text(out, truncate->is_cascade ? " cascade" : "");
}

/* What follows the kind's name. */
static void put_details(struct sq_buf *out, const char *text, const struct command *command)
{
    switch (command->kind) {
    case COMMAND_UNSUPPORTED:
        sq_buf_printf(out, " %s", command->unsupported);
        break;
    case COMMAND_SET:
        sq_buf_printf(out, "%s %s=%s", command->set.scope == COMMAND_SCOPE_LOCAL ? " local" : "", command->set.name,
                      text_of(command->set.value));
        break;
    case COMMAND_SET_TRANSACTION:
        sq_buf_put_text(out, command->set_transaction.is_session ? " session" : "");
        put_modes(out, &command->set_transaction.modes);
        break;
    case COMMAND_SET_CONSTRAINTS:
        sq_buf_put_text(out, command->set_constraints.is_deferred ? " deferred" : " immediate");
        put_names(out, "names", &command->set_constraints.names);
        break;
    case COMMAND_SET_ROLE:
    case COMMAND_SET_SESSION_AUTHORIZATION:
        sq_buf_printf(out, "%s %s", command->set_role.scope == COMMAND_SCOPE_LOCAL ? " local" : "",
                      text_of(command->set_role.name));
        break;
    case COMMAND_BEGIN:
        put_begin(out, &command->begin);
        break;
    case COMMAND_COMMIT:
    case COMMAND_ROLLBACK:
        sq_buf_put_text(out, command->is_chain ? " chain" : "");
        break;
    case COMMAND_NOTIFY:
        sq_buf_printf(out, " %s <%s>", command->notify.channel, command->notify.payload);
        break;
    case COMMAND_CREATE_DATABASE:
    case COMMAND_DROP_DATABASE:
    case COMMAND_RENAME_DATABASE:
        put_database(out, command);
        break;
    case COMMAND_DECLARE:
        put_declare(out, text, &command->declare);
        break;
    case COMMAND_FETCH:
    case COMMAND_MOVE:
        put_fetch(out, &command->fetch);
        break;
    case COMMAND_PREPARE:
        sq_buf_printf(out, " %s", command->prepare.name);
        put_names(out, "types", &command->prepare.types);
        put_span(out, "sql", text, command->prepare.statement);
        break;
    case COMMAND_EXECUTE:
        sq_buf_printf(out, " %s", command->execute.name);
        for (size_t i = 0; i < command->execute.argument_count; i++)
            put_span(out, "arg", text, command->execute.arguments[i]);
        break;
    case COMMAND_COPY:
        put_copy(out, text, &command->copy);
        break;
    case COMMAND_ATTACH:
        sq_buf_printf(out, " %s %s", command->attach.database, command->attach.alias);
        break;
    case COMMAND_TRUNCATE:
        put_truncate(out, &command->truncate);
        break;
    case COMMAND_SQL:
    case COMMAND_EMPTY:
    case COMMAND_DISCARD:
        break;
    default:
        sq_buf_printf(out, " %s", text_of(command->name));
        break;
    }
}

/* "TAG details", or "SQL", "EMPTY", "UNSUPPORTED …", "EXECUTE …", or "! SQLSTATE position message". */
static void describe(const char *text, size_t length, struct sq_buf *out, size_t *ret_consumed)
{
    struct sq_arena arena;
    struct command command;
    struct sq_error err;
    sq_arena_init(&arena);
    sq_error_clear(&err);
    *ret_consumed = SIZE_MAX;
    /* Exactly as long as it is, so that a sanitizer sees a read past the end. */
    char *exact = malloc(length > 0 ? length : 1);
    assert_non_null(exact);
    memcpy(exact, text, length);
    sq_status status = command_parse(exact, length, &arena, &command, ret_consumed, &err);
    if (status != SQ_OK) {
        assert_true(status == SQ_SQL || status == SQ_LIMIT);
        assert_true(err.position > 0);
        assert_true(*ret_consumed == SIZE_MAX);
        sq_buf_printf(out, "! %s %d %s", err.sqlstate, err.position, err.text);
    } else {
        assert_true(*ret_consumed <= length);
        const char *tag = command_tag(&command);
        sq_buf_put_text(out, tag[0] != '\0'                        ? tag
                             : command.kind == COMMAND_SQL         ? "SQL"
                             : command.kind == COMMAND_EMPTY       ? "EMPTY"
                             : command.kind == COMMAND_UNSUPPORTED ? "UNSUPPORTED"
                                                                   : "EXECUTE");
        put_details(out, exact, &command);
    }
    sq_buf_put_u8(out, 0);
    free(exact);
    sq_arena_done(&arena);
}

struct command_case {
    const char *text;
    const char *expected;
};

static void assert_commands(const struct command_case *cases, size_t count)
{
    struct sq_buf out;
    sq_buf_init(&out, OUT_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t consumed;
        sq_buf_truncate(&out, 0);
        describe(cases[i].text, strlen(cases[i].text), &out, &consumed);
        assert_string_equal((const char *)sq_buf_bytes(&out), cases[i].expected);
    }
    sq_buf_done(&out);
}

#define ASSERT_COMMANDS(cases) assert_commands(cases, sizeof(cases) / sizeof((cases)[0]))

static void statements_of_sqlite_are_left_alone(void **state)
{
    (void)state;
    static const struct command_case cases[] = {
        {"SELECT 1", "SQL"},
        {"/* x */ ;; select 1", "SQL"},
        {"INSERT INTO t VALUES(1)", "SQL"},
        {"WITH x AS (SELECT 1) SELECT * FROM x", "SQL"},
        {"CREATE TABLE t(a)", "SQL"},
        {"CREATE TEMP TABLE t(a)", "SQL"},
        {"CREATE TEMPORARY VIEW v AS SELECT 1", "SQL"},
        {"CREATE UNIQUE INDEX i ON t(a)", "SQL"},
        {"CREATE VIRTUAL TABLE t USING fts5(a)", "SQL"},
        {"CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END", "SQL"},
        {"CREATE NONSENSE x", "SQL"},
        {"CREATE", "SQL"},
        {"DROP TABLE t", "SQL"},
        {"DROP INDEX i", "SQL"},
        {"ALTER TABLE t ADD b", "SQL"},
        {"VACUUM", "SQL"},
        {"ANALYZE t", "SQL"},
        {"REINDEX", "SQL"},
        {"EXPLAIN SELECT 1", "SQL"},
        {"PRAGMA user_version", "SQL"},
        {"VALUES(1)", "SQL"},
        {"REPLACE INTO t VALUES(1)", "SQL"},
        {"nonsense", "SQL"},
        {"SETT a = 1", "SQL"},
        {"\"SET\" a = 1", "SQL"},
        {"(SELECT 1)", "SQL"},
        {"'x", "SQL"},
        {"", "EMPTY"},
        {" ; /* x */ ;; -- y", "EMPTY"},
    };
    ASSERT_COMMANDS(cases);
}

static void settings_are_parsed(void **state)
{
    (void)state;
    static const struct command_case cases[] = {
        {"SET a = 1", "SET a=1"},
        {"set A to B;", "SET a=b"},
        {"SET \"A\" TO \"B\"", "SET A=B"},
        {"SET SESSION a TO 'x''y'", "SET a=x'y"},
        {"SET LOCAL a.B.c = -1.5", "SET local a.b.c=-1.5"},
        {"SET a = +7", "SET a=7"},
        {"SET a = on", "SET a=on"},
        {"SET a TO DEFAULT", "SET a=NULL"},
        {"SET a = E'\\x41'", "SET a=A"},
        {"SET a = $$b'c$$", "SET a=b'c"},
        {"SET DateStyle = ISO, 'DMY', 3", "SET datestyle=iso, DMY, 3"},
        {"SET search_path TO \"$user\", public, 'a b', \"x\"\"y\"",
         "SET search_path=\"$user\", public, \"a b\", \"x\"\"y\""},
        {"SET search_path = ''", "SET search_path=\"\""},
        {"SET SCHEMA 'My'", "SET search_path=\"My\""},
        {"SET TIME ZONE 'Europe/Rome'", "SET timezone=Europe/Rome"},
        {"SET LOCAL TIME ZONE UTC", "SET local timezone=utc"},
        {"SET TIME ZONE -7", "SET timezone=-7"},
        {"SET TIME ZONE LOCAL", "SET timezone=NULL"},
        {"SET TIME ZONE DEFAULT", "SET timezone=NULL"},
        {"SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "SET timezone=-08:00"},
        {"SET TIMEZONE = 'UTC'", "SET timezone=UTC"},
        {"SET NAMES 'UTF8'", "SET client_encoding=UTF8"},
        {"SET NAMES DEFAULT", "SET client_encoding=NULL"},
        {"SET XML OPTION DOCUMENT", "SET xmloption=document"},
        {"SET names = 1", "SET names=1"},
        {"SET session.a = 1", "SET session.a=1"},
        {"SET local.a = 1", "SET local.a=1"},
        {"SET role.x TO 1", "SET role.x=1"},
        {"SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY", "SET rc ro"},
        {"SET LOCAL TRANSACTION READ WRITE", "SET rw"},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ NOT DEFERRABLE",
         "SET session rr nd"},
        {"SET TRANSACTION SNAPSHOT 'x'", "UNSUPPORTED SET TRANSACTION SNAPSHOT"},
        {"SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS deferred"},
        {"SET CONSTRAINTS a, s.b IMMEDIATE", "SET CONSTRAINTS immediate names=<a>,<b>"},
        {"SET ROLE Admin", "SET admin"},
        {"SET LOCAL ROLE 'Admin'", "SET local Admin"},
        {"SET SESSION ROLE NONE", "SET NULL"},
        {"SET SESSION AUTHORIZATION \"Bob\"", "SET Bob"},
        {"SET LOCAL SESSION AUTHORIZATION DEFAULT", "SET local NULL"},
        {"SET SESSION SESSION AUTHORIZATION x", "SET x"},
        {"SHOW a", "SHOW a"},
        {"SHOW \"TimeZone\"", "SHOW TimeZone"},
        {"SHOW a.B", "SHOW a.b"},
        {"SHOW ALL", "SHOW NULL"},
        {"SHOW TIME ZONE", "SHOW timezone"},
        {"SHOW TRANSACTION ISOLATION LEVEL", "SHOW transaction_isolation"},
        {"SHOW SESSION AUTHORIZATION", "SHOW session_authorization"},
        {"SHOW CONNECTIONS", "SHOW connections"},
        {"RESET a", "RESET a"},
        {"RESET ALL", "RESET NULL"},
        {"RESET TIME ZONE", "RESET timezone"},
        {"RESET ROLE", "RESET NULL"},
        {"RESET SESSION AUTHORIZATION", "RESET NULL"},
        {"SET", "! 42601 4 syntax error at end of input"},
        {"SET a", "! 42601 6 syntax error at end of input"},
        {"SET a 1", "! 42601 7 syntax error at or near \"1\""},
        {"SET a = ", "! 42601 9 syntax error at end of input"},
        {"SET a = 1,", "! 42601 11 syntax error at end of input"},
        {"SET a = 1 2", "! 42601 11 syntax error at or near \"2\""},
        {"SET a = - b", "! 42601 11 syntax error at or near \"b\""},
        {"SET a = (1)", "! 42601 9 syntax error at or near \"(\""},
        {"SET a. = 1", "! 42601 8 syntax error at or near \"=\""},
        {"SET 'a' = 1", "! 42601 5 syntax error at or near \"'a'\""},
        {"SET \"\" = 1", "! 42601 5 zero-length delimited identifier"},
        {"SET a = 'x", "! 42601 9 syntax error at or near \"'x\""},
        {"SET \xc3\xa9 = \xc3\xa8 \xc3\xa0", "! 42601 11 syntax error at or near \"\xc3\xa0\""},
        {"SET a = E'\\0'", "! 22021 9 invalid byte sequence for encoding \"UTF8\""},
        {"SET a = E'\\xff'", "! 22021 9 invalid byte sequence for encoding \"UTF8\""},
        {"SET TRANSACTION", "! 42601 16 syntax error at end of input"},
        {"SET TRANSACTION READ ONLY,", "! 42601 27 syntax error at end of input"},
        {"SET TRANSACTION ISOLATION LEVEL READ", "! 42601 37 syntax error at end of input"},
        {"SET TRANSACTION FAST", "! 42601 17 syntax error at or near \"FAST\""},
        {"SHOW", "! 42601 5 syntax error at end of input"},
        {"SHOW a b", "! 42601 8 syntax error at or near \"b\""},
        {"RESET 1", "! 42601 7 syntax error at or near \"1\""},
    };
    ASSERT_COMMANDS(cases);
}

static void transactions_are_parsed_in_both_dialects(void **state)
{
    (void)state;
    static const struct command_case cases[] = {
        {"BEGIN", "BEGIN"},
        {"begin work", "BEGIN"},
        {"BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE", "BEGIN s ro d"},
        {"BEGIN ISOLATION LEVEL READ UNCOMMITTED READ WRITE", "BEGIN ru rw"},
        {"BEGIN TRANSACTION READ ONLY", "BEGIN ro"},
        {"BEGIN NOT DEFERRABLE", "BEGIN nd"},
        {"BEGIN IMMEDIATE", "BEGIN immediate"},
        {"BEGIN DEFERRED TRANSACTION", "BEGIN deferred"},
        {"BEGIN EXCLUSIVE TRANSACTION name", "BEGIN exclusive"},
        {"BEGIN TRANSACTION 'name'", "BEGIN"},
        {"BEGIN IMMEDIATE ISOLATION LEVEL SERIALIZABLE", "BEGIN immediate s"},
        {"START TRANSACTION READ ONLY", "START TRANSACTION ro"},
        {"COMMIT", "COMMIT"},
        {"END TRANSACTION [a b]", "COMMIT"},
        {"COMMIT WORK AND CHAIN", "COMMIT chain"},
        {"COMMIT TRANSACTION AND NO CHAIN", "COMMIT"},
        {"ROLLBACK", "ROLLBACK"},
        {"ABORT TRANSACTION", "ROLLBACK"},
        {"ROLLBACK AND CHAIN", "ROLLBACK chain"},
        {"SAVEPOINT a", "SAVEPOINT a"},
        {"SAVEPOINT \"A b\"", "SAVEPOINT A b"},
        {"SAVEPOINT [x]]", "! 42601 14 syntax error at or near \"]\""},
        {"SAVEPOINT 'x'", "SAVEPOINT x"},
        {"SAVEPOINT Savepoint", "SAVEPOINT Savepoint"},
        {"RELEASE a", "RELEASE a"},
        {"RELEASE SAVEPOINT A", "RELEASE A"},
        {"RELEASE savepoint", "RELEASE savepoint"},
        {"ROLLBACK TO a", "ROLLBACK a"},
        {"ROLLBACK WORK TO SAVEPOINT a", "ROLLBACK a"},
        {"ROLLBACK TRANSACTION TO a", "ROLLBACK a"},
        {"ROLLBACK TRANSACTION x TO a", "ROLLBACK a"},
        {"COMMIT PREPARED 'x'", "UNSUPPORTED COMMIT PREPARED"},
        {"ROLLBACK PREPARED 'x'", "UNSUPPORTED ROLLBACK PREPARED"},
        {"PREPARE TRANSACTION 'x'", "UNSUPPORTED PREPARE TRANSACTION"},
        {"BEGIN FAST", "! 42601 7 syntax error at or near \"FAST\""},
        {"START", "! 42601 6 syntax error at end of input"},
        {"COMMIT AND", "! 42601 11 syntax error at end of input"},
        {"COMMIT AND NO", "! 42601 14 syntax error at end of input"},
        {"ABORT TO a", "! 42601 7 syntax error at or near \"TO\""},
        {"ROLLBACK TO", "! 42601 12 syntax error at end of input"},
        {"ROLLBACK TO a b", "! 42601 13 syntax error at or near \"a\""},
        {"SAVEPOINT", "! 42601 10 syntax error at end of input"},
        {"SAVEPOINT 1", "! 42601 11 syntax error at or near \"1\""},
        {"RELEASE", "! 42601 8 syntax error at end of input"},
    };
    ASSERT_COMMANDS(cases);
}

static void small_commands_are_parsed(void **state)
{
    (void)state;
    static const struct command_case cases[] = {
        {"DISCARD ALL", "DISCARD ALL"},
        {"DISCARD PLANS", "DISCARD PLANS"},
        {"DISCARD TEMP", "DISCARD TEMP"},
        {"DISCARD TEMPORARY", "DISCARD TEMP"},
        {"DISCARD SEQUENCES", "DISCARD SEQUENCES"},
        {"DISCARD", "! 42601 8 syntax error at end of input"},
        {"DEALLOCATE A", "DEALLOCATE a"},
        {"DEALLOCATE PREPARE \"A\"", "DEALLOCATE A"},
        {"DEALLOCATE prepare", "DEALLOCATE prepare"},
        {"DEALLOCATE ALL", "DEALLOCATE ALL NULL"},
        {"DEALLOCATE PREPARE ALL", "DEALLOCATE ALL NULL"},
        {"LISTEN Channel", "LISTEN channel"},
        {"LISTEN 'x'", "! 42601 8 syntax error at or near \"'x'\""},
        {"UNLISTEN *", "UNLISTEN NULL"},
        {"UNLISTEN a", "UNLISTEN a"},
        {"NOTIFY a", "NOTIFY a <>"},
        {"NOTIFY \"A\", 'pay''load'", "NOTIFY A <pay'load>"},
        {"NOTIFY a, b", "! 42601 11 syntax error at or near \"b\""},
        {"CREATE DATABASE Db", "CREATE DATABASE db owner=NULL template=NULL encoding=NULL"},
        {"CREATE DATABASE IF NOT EXISTS \"Db\"", "CREATE DATABASE Db ifnot owner=NULL template=NULL encoding=NULL"},
        {"CREATE DATABASE a WITH OWNER = Bob ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE='C' CONNECTION LIMIT -1 "
         "TABLESPACE DEFAULT",
         "CREATE DATABASE a owner=bob template=template0 encoding=UTF8"},
        {"CREATE DATABASE a COLOUR red", "! 42601 19 option \"colour\" not recognized"},
        {"CREATE DATABASE a OWNER", "! 42601 24 syntax error at end of input"},
        {"CREATE DATABASE", "! 42601 16 syntax error at end of input"},
        {"DROP DATABASE a", "DROP DATABASE a"},
        {"DROP DATABASE IF EXISTS a WITH (FORCE)", "DROP DATABASE a if force"},
        {"DROP DATABASE a (FORCE, FORCE)", "DROP DATABASE a force"},
        {"DROP DATABASE a WITH", "! 42601 21 syntax error at end of input"},
        {"DROP DATABASE a (GENTLY)", "! 42601 18 syntax error at or near \"GENTLY\""},
        {"ALTER DATABASE a RENAME TO B", "ALTER DATABASE a b"},
        {"ALTER DATABASE a OWNER TO b", "UNSUPPORTED ALTER DATABASE"},
        {"ATTACH 'x.db' AS y", "ATTACH x.db y"},
        {"ATTACH DATABASE Other AS \"Alias\"", "ATTACH Other Alias"},
        {"ATTACH DATABASE \"a b\" AS 'c'", "ATTACH a b c"},
        {"ATTACH 'a' || 'b' AS c", "! 0A000 8 ATTACH takes the name of a database of this server, not an expression"},
        {"ATTACH ?1 AS c", "! 0A000 8 ATTACH takes the name of a database of this server, not an expression"},
        {"ATTACH f(1) AS c", "! 0A000 8 ATTACH takes the name of a database of this server, not an expression"},
        {"ATTACH 'a' AS b KEY 'c'", "! 42601 17 syntax error at or near \"KEY\""},
        {"ATTACH 'a'", "! 42601 11 syntax error at end of input"},
        {"DETACH a", "DETACH a"},
        {"DETACH DATABASE A", "DETACH A"},
        {"DETACH database", "DETACH database"},
        {"TRUNCATE t", "TRUNCATE TABLE NULL.t"},
        {"TRUNCATE TABLE ONLY main.T *, [u v] RESTART IDENTITY CASCADE",
         "TRUNCATE TABLE main.T NULL.u v restart cascade"},
        {"TRUNCATE t CONTINUE IDENTITY RESTRICT", "TRUNCATE TABLE NULL.t"},
        {"TRUNCATE", "! 42601 9 syntax error at end of input"},
        {"TRUNCATE t,", "! 42601 12 syntax error at end of input"},
    };
    ASSERT_COMMANDS(cases);
}

static void cursors_and_prepared_statements_are_parsed(void **state)
{
    (void)state;
    static const struct command_case cases[] = {
        {"DECLARE c CURSOR FOR SELECT 1 ; x", "DECLARE CURSOR c query=<SELECT 1>"},
        {"DECLARE C BINARY INSENSITIVE NO SCROLL CURSOR WITH HOLD FOR SELECT ';' -- x\n",
         "DECLARE CURSOR c binary insensitive noscroll hold query=<SELECT ';'>"},
        {"DECLARE c ASENSITIVE SCROLL CURSOR WITHOUT HOLD FOR SELECT [a;b] FROM t",
         "DECLARE CURSOR c scroll query=<SELECT [a;b] FROM t>"},
        {"DECLARE c CURSOR FOR", "! 42601 21 syntax error at end of input"},
        {"DECLARE c CURSOR FOR ; SELECT 1", "! 42601 22 syntax error at or near \";\""},
        {"DECLARE c FOR SELECT 1", "! 42601 11 syntax error at or near \"FOR\""},
        {"DECLARE c CURSOR WITH FOR SELECT 1", "! 42601 23 syntax error at or near \"FOR\""},
        {"FETCH c", "FETCH c f1"},
        {"FETCH FROM c", "FETCH c f1"},
        {"FETCH IN c", "FETCH c f1"},
        {"FETCH NEXT FROM c", "FETCH c f1"},
        {"FETCH NEXT c", "FETCH c f1"},
        {"FETCH next", "FETCH next f1"},
        {"FETCH PRIOR FROM c", "FETCH c b1"},
        {"FETCH FIRST FROM c", "FETCH c a1"},
        {"FETCH LAST FROM c", "FETCH c a-1"},
        {"FETCH ABSOLUTE -5 FROM c", "FETCH c a-5"},
        {"FETCH RELATIVE 0 IN c", "FETCH c r0"},
        {"FETCH 10 c", "FETCH c f10"},
        {"FETCH -10 FROM c", "FETCH c b10"},
        {"FETCH +3 FROM c", "FETCH c f3"},
        {"FETCH 0 FROM c", "FETCH c f0"},
        {"FETCH ALL FROM c", "FETCH c fall"},
        {"FETCH FORWARD c", "FETCH c f1"},
        {"FETCH FORWARD 5 FROM c", "FETCH c f5"},
        {"FETCH FORWARD ALL IN c", "FETCH c fall"},
        {"FETCH BACKWARD FROM c", "FETCH c b1"},
        {"FETCH BACKWARD ALL FROM c", "FETCH c ball"},
        {"FETCH BACKWARD -2 FROM c", "FETCH c f2"},
        {"FETCH 2147483647 FROM c", "FETCH c f2147483647"},
        {"FETCH 2147483648 FROM c", "! 42601 7 syntax error at or near \"2147483648\""},
        {"FETCH 1.5 FROM c", "! 42601 7 syntax error at or near \"1.5\""},
        {"FETCH ABSOLUTE FROM c", "! 42601 16 syntax error at or near \"FROM\""},
        {"FETCH", "! 42601 6 syntax error at end of input"},
        {"FETCH FORWARD 5", "! 42601 16 syntax error at end of input"},
        {"MOVE FORWARD ALL FROM \"C\"", "MOVE C fall"},
        {"CLOSE c", "CLOSE CURSOR c"},
        {"CLOSE ALL", "CLOSE CURSOR ALL NULL"},
        {"PREPARE p AS SELECT $1::int, '$2';", "PREPARE p sql=<SELECT $1::int, '$2'>"},
        {"PREPARE P (int, Character  Varying(10), timestamp (3) with time zone, numeric(10,2), int[], \"My\".t) "
         "AS UPDATE t SET a=1",
         "PREPARE p types=<int>,<character varying(10)>,<timestamp(3) with time "
         "zone>,<numeric(10,2)>,<int[]>,<\"My\".t> "
         "sql=<UPDATE t SET a=1>"},
        {"PREPARE p () AS SELECT 1", "! 42601 12 syntax error at or near \")\""},
        {"PREPARE p (int AS SELECT 1", "! 42601 27 syntax error at end of input"},
        {"PREPARE p (1) AS SELECT 1", "! 42601 12 syntax error at or near \"1\""},
        {"PREPARE p AS", "! 42601 13 syntax error at end of input"},
        {"EXECUTE p", "EXECUTE p"},
        {"EXECUTE P(1, 'a,b', f(x, (y)), [c)], NULL)",
         "EXECUTE p arg=<1> arg=<'a,b'> arg=<f(x, (y))> arg=<[c)]> arg=<NULL>"},
        {"EXECUTE p()", "! 42601 11 syntax error at or near \")\""},
        {"EXECUTE p(1,)", "! 42601 13 syntax error at or near \")\""},
        {"EXECUTE p(1", "! 42601 12 syntax error at end of input"},
        {"EXECUTE p(1;)", "! 42601 12 syntax error at or near \";\""},
        {"EXECUTE p(1) x", "! 42601 14 syntax error at or near \"x\""},
    };
    ASSERT_COMMANDS(cases);
}

static void copy_is_parsed_in_all_its_syntaxes(void **state)
{
    (void)state;
    static const char file_refused[] = "! 42501 13 COPY to or from a file or program of the server is not allowed";
    const struct command_case cases[] = {
        {"COPY t FROM STDIN", "COPY from NULL.t"},
        {"COPY main.T (a, \"B b\", [c]) TO STDOUT", "COPY to main.T cols=<a>,<B b>,<c>"},
        {"COPY t FROM STDOUT", "COPY from NULL.t"},
        {"COPY (SELECT a, (b) FROM t WHERE c=';') TO STDOUT", "COPY to query=<SELECT a, (b) FROM t WHERE c=';'>"},
        {"COPY (VALUES(1)) TO STDOUT (FORMAT csv)", "COPY to query=<VALUES(1)> csv"},
        {"COPY t FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL '', QUOTE '\"', ESCAPE E'\\\\', "
         "FORCE_NOT_NULL (a, b), FORCE_NULL (c), ENCODING 'UTF8', FREEZE)",
         "COPY from NULL.t csv header delimiter=<;> null=<> quote=<\"> escape=<\\> encoding=<UTF8> fnn=<a>,<b> fn=<c> "
         "freeze"},
        {"COPY t TO STDOUT (FORMAT 'csv', FORCE_QUOTE *, HEADER match)", "COPY to NULL.t csv match fq=*"},
        {"COPY t TO STDOUT (FORCE_QUOTE (a), HEADER false, FREEZE off)", "COPY to NULL.t fq=<a>"},
        {"COPY t TO STDOUT (FORMAT text, DELIMITER E'\\t', HEADER 1)", "COPY to NULL.t header delimiter=<\t>"},
        {"COPY t FROM STDIN (FORCE_NOT_NULL *)", "COPY from NULL.t fnn=*"},
        {"COPY t FROM STDIN WITH CSV HEADER DELIMITER AS ',' NULL '\\N' QUOTE '''' ESCAPE AS '\\'",
         "COPY from NULL.t csv header delimiter=<,> null=<\\N> quote=<'> escape=<\\>"},
        {"COPY t TO STDOUT CSV FORCE QUOTE a, b FREEZE", "COPY to NULL.t csv fq=<a>,<b> freeze"},
        {"COPY t TO STDOUT CSV FORCE QUOTE * ENCODING 'x'", "COPY to NULL.t csv encoding=<x> fq=*"},
        {"COPY t FROM STDIN CSV FORCE NOT NULL a FORCE NULL b", "COPY from NULL.t csv fnn=<a> fn=<b>"},
        {"COPY t FROM STDIN USING DELIMITERS '|' WITH NULL AS 'x'", "COPY from NULL.t delimiter=<|> null=<x>"},
        {"COPY t FROM STDIN DELIMITERS '|'", "COPY from NULL.t delimiter=<|>"},
        {"COPY binary FROM STDIN", "COPY from NULL.binary"},
        {"COPY BINARY t FROM STDIN", "! 0A000 6 COPY BINARY is not supported"},
        {"COPY t FROM STDIN BINARY", "! 0A000 19 COPY BINARY is not supported"},
        {"COPY t FROM STDIN (FORMAT binary)", "! 0A000 33 COPY BINARY is not supported"},
        {"COPY t FROM STDIN (FORMAT xml)", "! 22023 30 COPY format \"xml\" not recognized"},
        {"COPY t FROM STDIN (OIDS)", "! 0A000 20 COPY option \"oids\" is not supported"},
        {"COPY t FROM STDIN (ON_ERROR ignore)", "! 0A000 20 COPY option \"on_error\" is not supported"},
        {"COPY t FROM STDIN (COLOUR red)", "! 42601 20 option \"colour\" not recognized"},
        {"COPY t FROM STDIN (NULL 'a', NULL 'b')", "! 42601 35 conflicting or redundant options"},
        {"COPY t FROM STDIN CSV CSV", "! 42601 26 conflicting or redundant options"},
        {"COPY t FROM STDIN (HEADER maybe)", "! 42601 27 header requires a Boolean value or \"match\""},
        {"COPY t FROM STDIN (FREEZE match)", "! 42601 27 freeze requires a Boolean value"},
        {"COPY t FROM STDIN ()", "! 42601 20 syntax error at or near \")\""},
        {"COPY t FROM STDIN (FORMAT csv", "! 42601 30 syntax error at end of input"},
        {"COPY t FROM STDIN (FORMAT csv) x", "! 42601 32 syntax error at or near \"x\""},
        {"COPY t FROM STDIN WHERE a > 1", "! 0A000 19 COPY FROM with WHERE is not supported"},
        {"COPY t FROM STDIN (FORMAT csv) WHERE a > 1", "! 0A000 32 COPY FROM with WHERE is not supported"},
        {"COPY t TO STDOUT WHERE a > 1", "! 42601 18 syntax error at or near \"WHERE\""},
        {"COPY t FROM '/etc/passwd'", file_refused},
        {"COPY t FROM PROGRAM 'id'", file_refused},
        {"COPY t  TO  '/tmp/x' CSV", file_refused},
        {"COPY (SELECT 1) FROM STDIN", "! 42601 17 syntax error at or near \"FROM\""},
        {"COPY () TO STDOUT", "! 42601 7 syntax error at or near \")\""},
        {"COPY (SELECT 1 TO STDOUT", "! 42601 25 syntax error at end of input"},
        {"COPY (SELECT 1;) TO STDOUT", "! 42601 15 syntax error at or near \";\""},
        {"COPY t () TO STDOUT", "! 42601 9 syntax error at or near \")\""},
        {"COPY t", "! 42601 7 syntax error at end of input"},
        {"COPY t FROM", "! 42601 12 syntax error at end of input"},
    };
    ASSERT_COMMANDS(cases);
}

static void commands_that_this_server_has_not_are_named(void **state)
{
    (void)state;
    static const struct command_case cases[] = {
        {"CREATE ROLE a", "UNSUPPORTED CREATE ROLE"},
        {"CREATE USER a PASSWORD 'x'", "UNSUPPORTED CREATE USER"},
        {"CREATE USER MAPPING FOR a", "UNSUPPORTED CREATE USER MAPPING"},
        {"DROP GROUP a", "UNSUPPORTED DROP GROUP"},
        {"ALTER ROLE a SET b = 1", "UNSUPPORTED ALTER ROLE"},
        {"GRANT SELECT ON t TO a", "UNSUPPORTED GRANT"},
        {"REVOKE ALL ON t FROM a", "UNSUPPORTED REVOKE"},
        {"LOCK TABLE t", "UNSUPPORTED LOCK TABLE"},
        {"COMMENT ON TABLE t IS 'x'", "UNSUPPORTED COMMENT"},
        {"CREATE SCHEMA a", "UNSUPPORTED CREATE SCHEMA"},
        {"CREATE EXTENSION IF NOT EXISTS a", "UNSUPPORTED CREATE EXTENSION"},
        {"CREATE SEQUENCE a", "UNSUPPORTED CREATE SEQUENCE"},
        {"CREATE TEMP SEQUENCE a", "UNSUPPORTED CREATE SEQUENCE"},
        {"CREATE TYPE a AS ENUM ('x')", "UNSUPPORTED CREATE TYPE"},
        {"CREATE OR REPLACE VIEW v AS SELECT 1", "UNSUPPORTED CREATE OR REPLACE"},
        {"CREATE MATERIALIZED VIEW v AS SELECT 1", "UNSUPPORTED CREATE MATERIALIZED VIEW"},
        {"CREATE UNLOGGED TABLE t(a)", "UNSUPPORTED CREATE UNLOGGED"},
        {"DROP SCHEMA a CASCADE", "UNSUPPORTED DROP SCHEMA"},
        {"ALTER INDEX i RENAME TO j", "UNSUPPORTED ALTER INDEX"},
        {"ALTER SYSTEM SET a = 1", "UNSUPPORTED ALTER SYSTEM"},
        {"DO $$BEGIN; x; END$$", "UNSUPPORTED DO"},
        {"CALL f()", "UNSUPPORTED CALL"},
        {"CLUSTER t", "UNSUPPORTED CLUSTER"},
        {"CHECKPOINT", "UNSUPPORTED CHECKPOINT"},
        {"SECURITY LABEL ON TABLE t IS 'x'", "UNSUPPORTED SECURITY LABEL"},
        {"REASSIGN OWNED BY a TO b", "UNSUPPORTED REASSIGN OWNED"},
        {"IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c", "UNSUPPORTED IMPORT FOREIGN SCHEMA"},
        {"LOAD 'x'", "UNSUPPORTED LOAD"},
        {"REFRESH MATERIALIZED VIEW v", "UNSUPPORTED REFRESH MATERIALIZED VIEW"},
        {"MERGE INTO t USING u ON a=b", "UNSUPPORTED MERGE"},
    };
    ASSERT_COMMANDS(cases);
}

static void a_statement_takes_its_semicolon_along(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t consumed;
    } cases[] = {
        {"SET a = 1", 9},
        {"SET a = 1;", 10},
        {" ;; SET a = 1 ; SELECT 1", 15},
        {"SELECT 1; SET a = 1", 0},
        {" ; ", 3},
        {"", 0},
        {"BEGIN; INSERT", 6},
        {"DECLARE c CURSOR FOR SELECT 1 /* ; */; x", 38},
        {"CREATE FUNCTION f() AS $$ a; b $$; x", 34},
        {"CREATE FUNCTION f() AS $x$ a; $$ b $x$; x", 39},
        {"COMMENT ON TABLE t IS E'a\\';'; x", 30},
        {"COPY t FROM STDIN;\n1\t2", 18},
        {"SET a = 1 -- ;\n;x", 16},
    };
    struct sq_buf out;
    sq_buf_init(&out, OUT_BYTES_MAX);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t consumed = SIZE_MAX;
        sq_buf_truncate(&out, 0);
        describe(cases[i].text, strlen(cases[i].text), &out, &consumed);
        assert_int_equal(consumed, cases[i].consumed);
    }
    sq_buf_done(&out);
}

static void spans_keep_their_place_in_the_text(void **state)
{
    (void)state;
    static const char text[] = "; EXECUTE p( 1 , 'x' )";
    struct sq_arena arena;
    struct command command;
    struct sq_error err;
    size_t consumed;
    sq_arena_init(&arena);
    assert_int_equal(command_parse(text, strlen(text), &arena, &command, &consumed, &err), SQ_OK);
    assert_int_equal(command.execute.argument_count, 2);
    assert_int_equal(command.execute.arguments[0].start, 13);
    assert_int_equal(command.execute.arguments[0].length, 1);
    assert_int_equal(command.execute.arguments[1].start, 17);
    assert_int_equal(command.execute.arguments[1].length, 3);
    sq_arena_done(&arena);
}

/* `head`, then `count` times `piece`, then `tail`. */
static char *repeat(const char *head, const char *piece, size_t count, const char *tail, size_t *ret_length)
{
    size_t head_length = strlen(head), piece_length = strlen(piece), tail_length = strlen(tail);
    char *text = malloc(head_length + count * piece_length + tail_length + 1);
    assert_non_null(text);
    memcpy(text, head, head_length);
    for (size_t i = 0; i < count; i++)
        memcpy(text + head_length + i * piece_length, piece, piece_length);
    memcpy(text + head_length + count * piece_length, tail, tail_length + 1);
    *ret_length = head_length + count * piece_length + tail_length;
    return text;
}

static sq_status parse_repeated(const char *head, const char *piece, size_t count, const char *tail,
                                struct sq_error *err)
{
    struct sq_arena arena;
    struct command command;
    size_t consumed, length;
    char *text = repeat(head, piece, count, tail, &length);
    sq_arena_init(&arena);
    sq_error_clear(err);
    sq_status status = command_parse(text, length, &arena, &command, &consumed, err);
    sq_arena_done(&arena);
    free(text);
    return status;
}

static void long_lists_are_refused_above_their_limit(void **state)
{
    (void)state;
    struct sq_error err;
    assert_int_equal(parse_repeated("SET a = 1", ",1", COMMAND_LIST_MAX - 1, "", &err), SQ_OK);
    assert_int_equal(parse_repeated("SET a = 1", ",1", COMMAND_LIST_MAX, "", &err), SQ_LIMIT);
    assert_string_equal(err.sqlstate, "54000");
    assert_int_equal(parse_repeated("EXECUTE a(1", ",1", COMMAND_LIST_MAX - 1, ")", &err), SQ_OK);
    assert_int_equal(parse_repeated("EXECUTE a(1", ",1", COMMAND_LIST_MAX, ")", &err), SQ_LIMIT);
    assert_int_equal(parse_repeated("PREPARE a(int", ",int", COMMAND_LIST_MAX, ") AS SELECT 1", &err), SQ_LIMIT);
    assert_int_equal(parse_repeated("TRUNCATE a", ",a", COMMAND_LIST_MAX, "", &err), SQ_LIMIT);
    assert_int_equal(parse_repeated("COPY t(a", ",a", COMMAND_LIST_MAX, ") TO STDOUT", &err), SQ_LIMIT);
}

static void channels_and_payloads_have_postgresqls_limits(void **state)
{
    (void)state;
    struct sq_error err;
    assert_int_equal(parse_repeated("LISTEN ", "a", COMMAND_CHANNEL_BYTES_MAX, "", &err), SQ_OK);
    assert_int_equal(parse_repeated("LISTEN ", "a", COMMAND_CHANNEL_BYTES_MAX + 1, "", &err), SQ_SQL);
    assert_string_equal(err.sqlstate, "22023");
    assert_int_equal(parse_repeated("NOTIFY a, '", "x", COMMAND_PAYLOAD_BYTES_MAX, "'", &err), SQ_OK);
    assert_int_equal(parse_repeated("NOTIFY a, '", "x", COMMAND_PAYLOAD_BYTES_MAX + 1, "'", &err), SQ_SQL);
    assert_string_equal(err.sqlstate, "22023");
    assert_int_equal(err.position, 11);
}

static void deep_nesting_costs_no_stack(void **state)
{
    (void)state;
    struct sq_error err;
    assert_int_equal(parse_repeated("COPY (", "(", 1000000, "", &err), SQ_SQL);
    assert_string_equal(err.sqlstate, "42601");
    assert_int_equal(parse_repeated("PREPARE p(", "((", 500000, "", &err), SQ_SQL);
    assert_int_equal(parse_repeated("EXECUTE p(", "(", 1000000, "", &err), SQ_SQL);
    assert_int_equal(parse_repeated("", ";", 1000000, "SET a = 1", &err), SQ_OK);
}

static void every_cut_and_every_changed_byte_is_survived(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SET LOCAL a.b = 'x', -1, \"y\", E'\\u00e9'; z",
        "COPY main.t(a,\"b\") FROM STDIN WITH (FORMAT csv, HEADER match, FORCE_NULL (a, b), NULL E'\\n');",
        "COPY (SELECT [a) FROM (t)) TO STDOUT CSV FORCE QUOTE * DELIMITER AS ','",
        "PREPARE p(numeric(1,2), int[]) AS SELECT $1 ; x",
        "DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT ';'",
        "CREATE DATABASE IF NOT EXISTS a WITH OWNER = 'b' CONNECTION LIMIT -1",
        "BEGIN IMMEDIATE TRANSACTION x ISOLATION LEVEL READ COMMITTED, READ ONLY",
    };
    static const char changes[] = {'\0', '\'', '"', '(', ')', ';', '$', '\\', ' ', (char)0xff};
    struct sq_buf out;
    sq_buf_init(&out, OUT_BYTES_MAX);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char text[256];
        size_t length = strlen(texts[i]), consumed;
        for (size_t cut = 0; cut < length; cut++) {
            sq_buf_truncate(&out, 0);
            describe(texts[i], cut, &out, &consumed);
            for (size_t j = 0; j < sizeof(changes); j++) {
                memcpy(text, texts[i], length);
                text[cut] = changes[j];
                sq_buf_truncate(&out, 0);
                describe(text, length, &out, &consumed);
                assert_false(out.is_failed);
            }
        }
    }
    sq_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_of_sqlite_are_left_alone),
        cmocka_unit_test(settings_are_parsed),
        cmocka_unit_test(transactions_are_parsed_in_both_dialects),
        cmocka_unit_test(small_commands_are_parsed),
        cmocka_unit_test(cursors_and_prepared_statements_are_parsed),
        cmocka_unit_test(copy_is_parsed_in_all_its_syntaxes),
        cmocka_unit_test(commands_that_this_server_has_not_are_named),
        cmocka_unit_test(a_statement_takes_its_semicolon_along),
        cmocka_unit_test(spans_keep_their_place_in_the_text),
        cmocka_unit_test(long_lists_are_refused_above_their_limit),
        cmocka_unit_test(channels_and_payloads_have_postgresqls_limits),
        cmocka_unit_test(deep_nesting_costs_no_stack),
        cmocka_unit_test(every_cut_and_every_changed_byte_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
