/* session/settings_table.c: the settings. The first rows are those that the server reads, by their id; then come those
 * that clients set or ask for when they start, and that have no effect: a server that refused them would turn tools
 * away for nothing (names and defaults: PostgreSQL manual, "Server Configuration"; the view pg_settings has the
 * descriptions' like). A setting whose other values would change what a client sees is not among these: it takes the
 * one value that is true here and refuses the others (bytea_output, DateStyle, standard_conforming_strings). */
#include "session/settings_internal.h"

/* Words. The number of one that is shown comes first in its list. */
static const struct setting_word isolation_words[] = {
    {"serializable", SETTING_ISOLATION_SERIALIZABLE, false, false},
    {"repeatable read", SETTING_ISOLATION_REPEATABLE_READ, false, false},
    {"read committed", SETTING_ISOLATION_READ_COMMITTED, false, false},
    {"read uncommitted", SETTING_ISOLATION_READ_UNCOMMITTED, false, false},
    {NULL, 0, false, false},
};

static const struct setting_word message_words[] = {
    {"debug5", SETTING_MESSAGES_DEBUG5, false, false}, {"debug4", SETTING_MESSAGES_DEBUG4, false, false},
    {"debug3", SETTING_MESSAGES_DEBUG3, false, false}, {"debug2", SETTING_MESSAGES_DEBUG2, false, false},
    {"debug1", SETTING_MESSAGES_DEBUG1, false, false}, {"log", SETTING_MESSAGES_LOG, false, false},
    {"notice", SETTING_MESSAGES_NOTICE, false, false}, {"warning", SETTING_MESSAGES_WARNING, false, false},
    {"error", SETTING_MESSAGES_ERROR, false, false},   {"debug", SETTING_MESSAGES_DEBUG2, true, false},
    {"info", SETTING_MESSAGES_NOTICE, true, false},    {"fatal", SETTING_MESSAGES_ERROR, true, false},
    {"panic", SETTING_MESSAGES_ERROR, true, false},    {NULL, 0, false, false},
};

static const struct setting_word bytea_words[] = {
    {"hex", 0, false, false},
    {"escape", 1, false, true},
    {NULL, 0, false, false},
};

/* There is no replica to wait for: all that wait are "on". */
static const struct setting_word synchronous_words[] = {
    {"on", SETTING_SYNCHRONOUS_ON, false, false},
    {"off", SETTING_SYNCHRONOUS_OFF, false, false},
    {"local", SETTING_SYNCHRONOUS_LOCAL, false, false},
    {"remote_write", SETTING_SYNCHRONOUS_REMOTE_WRITE, false, false},
    {"remote_apply", SETTING_SYNCHRONOUS_REMOTE_APPLY, false, false},
    {"true", SETTING_SYNCHRONOUS_ON, true, false},
    {"yes", SETTING_SYNCHRONOUS_ON, true, false},
    {"1", SETTING_SYNCHRONOUS_ON, true, false},
    {"false", SETTING_SYNCHRONOUS_OFF, true, false},
    {"no", SETTING_SYNCHRONOUS_OFF, true, false},
    {"0", SETTING_SYNCHRONOUS_OFF, true, false},
    {NULL, 0, false, false},
};

static const struct setting_word interval_words[] = {
    {"postgres", 0, false, false},     {"postgres_verbose", 1, false, false},
    {"sql_standard", 2, false, false}, {"iso_8601", 3, false, false},
    {NULL, 0, false, false},
};

static const struct setting_word transactions_words[] = {
    {"delegate", SETTING_TRANSACTIONS_DELEGATE, false, false},
    {"move", SETTING_TRANSACTIONS_MOVE, false, false},
    {NULL, 0, false, false},
};

static const struct setting_word wait_action_words[] = {
    {"error", SETTING_WAIT_ERROR, false, false},
    {"delegate", SETTING_WAIT_DELEGATE, false, false},
    {NULL, 0, false, false},
};

static const struct setting_word only_on[] = {
    {"on", 1, false, false},
    {"off", 0, false, true},
    {NULL, 0, false, false},
};

static const struct setting_word only_off[] = {
    {"off", 0, false, false},
    {"on", 1, false, true},
    {NULL, 0, false, false},
};

/* So that BOOL(…, on, …) gives both the text and the number. */
enum { BOOL_off = 0, BOOL_on = 1 };

/* clang-format off */
#define TEXT(name_, default_, flags_, canon_, description_)                                                            \
    {.name = name_, .kind = SETTING_KIND_TEXT, .default_text = default_, .flags = flags_, .canon = canon_,             \
     .description = description_}
#define BOOL(name_, default_, flags_, description_)                                                                    \
    {.name = name_, .kind = SETTING_KIND_BOOL, .default_text = #default_, .default_number = BOOL_##default_,           \
     .flags = flags_, .description = description_}
#define BOOL_FIXED(name_, default_, flags_, words_, description_)                                                      \
    {.name = name_, .kind = SETTING_KIND_BOOL, .default_text = #default_, .default_number = BOOL_##default_,           \
     .flags = flags_, .words = words_, .description = description_}
#define INT(name_, default_, min_, max_, flags_, description_)                                                         \
    {.name = name_, .kind = SETTING_KIND_INT, .default_text = #default_, .default_number = default_, .min = min_,      \
     .max = max_, .flags = flags_, .description = description_}
#define DURATION(name_, default_, default_ms_, flags_, description_)                                                   \
    {.name = name_, .kind = SETTING_KIND_DURATION, .default_text = default_, .default_number = default_ms_,            \
     .max = INT32_MAX, .flags = flags_, .description = description_}
#define ENUM(name_, default_, default_number_, flags_, words_, description_)                                           \
    {.name = name_, .kind = SETTING_KIND_ENUM, .default_text = default_, .default_number = default_number_,            \
     .flags = flags_, .words = words_, .description = description_}
/* clang-format on */

const struct setting_info setting_infos[] = {
    [SETTING_APPLICATION_NAME] = TEXT("application_name", "", SETTING_REPORTED, setting_canon_application_name,
                                      "The application's name, for people who look at connections."),
    [SETTING_BYTEA_OUTPUT] = ENUM("bytea_output", "hex", 0, 0, bytea_words, "Text form of blobs."),
    [SETTING_CLIENT_ENCODING] = TEXT("client_encoding", "UTF8", SETTING_REPORTED, setting_canon_client_encoding,
                                     "The client's character encoding."),
    [SETTING_CLIENT_MIN_MESSAGES] = ENUM("client_min_messages", "notice", SETTING_MESSAGES_NOTICE, 0, message_words,
                                         "Level from which messages are sent to the client."),
    [SETTING_DATE_STYLE] =
        TEXT("DateStyle", "ISO, MDY", SETTING_REPORTED, setting_canon_date_style, "Form of dates; always ISO."),
    [SETTING_DEFAULT_TRANSACTION_DEFERRABLE] =
        BOOL("default_transaction_deferrable", off, 0, "Whether new transactions are deferrable."),
    [SETTING_DEFAULT_TRANSACTION_ISOLATION] =
        ENUM("default_transaction_isolation", "serializable", SETTING_ISOLATION_SERIALIZABLE, 0, isolation_words,
             "Isolation of new transactions; it is always serializable in effect."),
    [SETTING_DEFAULT_TRANSACTION_READ_ONLY] =
        BOOL("default_transaction_read_only", off, SETTING_REPORTED, "Whether new transactions may only read."),
    [SETTING_EXTRA_FLOAT_DIGITS] =
        INT("extra_float_digits", 1, -15, 3, 0, "Digits of floating-point numbers; they always round-trip."),
    [SETTING_IDLE_IN_TRANSACTION_SESSION_TIMEOUT] =
        DURATION("idle_in_transaction_session_timeout", "0", 0, 0,
                 "Time after which a session that idles in a transaction is ended, if another one waits to write."),
    [SETTING_IDLE_SESSION_TIMEOUT] =
        DURATION("idle_session_timeout", "0", 0, 0, "Time after which an idle session is ended."),
    [SETTING_IN_HOT_STANDBY] =
        BOOL("in_hot_standby", off, SETTING_REPORTED | SETTING_READ_ONLY, "Whether this server is a replica."),
    [SETTING_INTEGER_DATETIMES] =
        BOOL("integer_datetimes", on, SETTING_REPORTED | SETTING_READ_ONLY, "Whether binary dates are integers."),
    [SETTING_INTERVAL_STYLE] =
        ENUM("IntervalStyle", "postgres", 0, SETTING_REPORTED, interval_words, "Form of intervals."),
    [SETTING_IS_SUPERUSER] =
        BOOL("is_superuser", off, SETTING_REPORTED | SETTING_READ_ONLY, "Whether the user may do anything."),
    [SETTING_LOCK_TIMEOUT] = DURATION("lock_timeout", "0", 0, 0, "Longest time to wait for the database's lock."),
    [SETTING_ROLE] = TEXT("role", "none", SETTING_READ_ONLY, NULL, "The current role."),
    [SETTING_SEARCH_PATH] = TEXT("search_path", "\"$user\", public", 0, NULL, "Schemas that names are looked up in."),
    [SETTING_SERVER_ENCODING] = TEXT("server_encoding", "UTF8", SETTING_REPORTED | SETTING_READ_ONLY, NULL,
                                     "The database's character encoding."),
    [SETTING_SERVER_VERSION] =
        TEXT("server_version", "15.0 (sqld " SQLD_VERSION ")", SETTING_REPORTED | SETTING_READ_ONLY, NULL,
             "PostgreSQL's version whose protocol is spoken, and the server's own."),
    [SETTING_SESSION_AUTHORIZATION] =
        TEXT("session_authorization", "", SETTING_REPORTED | SETTING_READ_ONLY, NULL, "The user of this session."),
    [SETTING_SQLD_CONSISTENCY] =
        TEXT("sqld.consistency", "session", 0, setting_canon_consistency,
             "What reads on a replica are sure to see: local, session, bounded(milliseconds) or strong."),
    [SETTING_SQLD_MIN_POSITION] =
        TEXT("sqld.min_position", "", 0, setting_canon_position, "A position that reads wait for; see sqld.position."),
    [SETTING_SQLD_REPLICA_TRANSACTIONS] = ENUM(
        "sqld.replica_transactions", "delegate", SETTING_TRANSACTIONS_DELEGATE, 0, transactions_words,
        "Whether transactions on a replica are at the primary from BEGIN on, or move there with their first write."),
    [SETTING_SQLD_REPLICA_WAIT_ACTION] =
        ENUM("sqld.replica_wait_action", "error", SETTING_WAIT_ERROR, 0, wait_action_words,
             "What becomes of a read that a replica is too old for: an error, or it is done at the primary."),
    [SETTING_SQLD_REPLICA_WAIT_TIMEOUT] = DURATION("sqld.replica_wait_timeout", "0", 0, 0,
                                                   "How long a read waits for a replica that is behind; 0: for ever."),
    [SETTING_STANDARD_CONFORMING_STRINGS] = BOOL_FIXED("standard_conforming_strings", on, SETTING_REPORTED, only_on,
                                                       "Backslashes in strings are ordinary characters."),
    [SETTING_STATEMENT_TIMEOUT] = DURATION("statement_timeout", "0", 0, 0, "Longest time a statement may run."),
    [SETTING_SYNCHRONOUS_COMMIT] = ENUM("synchronous_commit", "on", SETTING_SYNCHRONOUS_ON, 0, synchronous_words,
                                        "Whether answers wait until what they rest on is on disk."),
    [SETTING_TIME_ZONE] =
        TEXT("TimeZone", "UTC", SETTING_REPORTED, setting_canon_time_zone, "The client's time zone; of no effect."),
    [SETTING_TRANSACTION_DEFERRABLE] = {.name = "transaction_deferrable",
                                        .kind = SETTING_KIND_BOOL,
                                        .default_text = "off",
                                        .flags = SETTING_TRANSACTION,
                                        .fallback = SETTING_DEFAULT_TRANSACTION_DEFERRABLE,
                                        .description = "Whether this transaction is deferrable."},
    [SETTING_TRANSACTION_ISOLATION] = {.name = "transaction_isolation",
                                       .kind = SETTING_KIND_ENUM,
                                       .default_text = "serializable",
                                       .default_number = SETTING_ISOLATION_SERIALIZABLE,
                                       .words = isolation_words,
                                       .flags = SETTING_TRANSACTION,
                                       .fallback = SETTING_DEFAULT_TRANSACTION_ISOLATION,
                                       .description = "Isolation of this transaction."},
    [SETTING_TRANSACTION_READ_ONLY] = {.name = "transaction_read_only",
                                       .kind = SETTING_KIND_BOOL,
                                       .default_text = "off",
                                       .flags = SETTING_TRANSACTION,
                                       .fallback = SETTING_DEFAULT_TRANSACTION_READ_ONLY,
                                       .description = "Whether this transaction may only read."},
    [SETTING_TRANSACTION_TIMEOUT] = DURATION("transaction_timeout", "0", 0, 0, "Longest time a transaction may last."),

    /* Of no effect. */
    BOOL("allow_system_table_mods", off, 0, "Allows changes of the system tables."),
    BOOL("array_nulls", on, 0, "Reads NULL in array texts."),
    TEXT("backend_flush_after", "0", 0, NULL, "Pages written before the system is asked to flush."),
    TEXT("backslash_quote", "safe_encoding", 0, NULL, "Allows \\' in strings."),
    TEXT("block_size", "4096", SETTING_READ_ONLY, NULL, "Size of a disk page."),
    BOOL("check_function_bodies", on, 0, "Checks functions when they are made."),
    DURATION("client_connection_check_interval", "0", 0, 0,
             "Time between checks that the client is there while a query runs."),
    TEXT("constraint_exclusion", "partition", 0, NULL, "Lets the planner use constraints."),
    TEXT("cpu_index_tuple_cost", "0.005", 0, NULL, "Planner's cost of an index entry."),
    TEXT("cpu_operator_cost", "0.0025", 0, NULL, "Planner's cost of an operator."),
    TEXT("cpu_tuple_cost", "0.01", 0, NULL, "Planner's cost of a row."),
    TEXT("cursor_tuple_fraction", "0.1", 0, NULL, "Part of a cursor's rows that the planner expects to be read."),
    DURATION("deadlock_timeout", "1s", 1000, 0, "Time to wait on a lock before looking for a deadlock."),
    BOOL("debug_print_parse", off, 0, "Logs parse trees."),
    BOOL("debug_print_plan", off, 0, "Logs plans."),
    INT("default_statistics_target", 100, 0, INT32_MAX, 0, "Detail of statistics."),
    TEXT("default_table_access_method", "heap", 0, NULL, "Access method of new tables."),
    TEXT("default_tablespace", "", 0, NULL, "Tablespace of new tables."),
    TEXT("default_text_search_config", "pg_catalog.simple", 0, NULL, "Text search configuration."),
    TEXT("default_toast_compression", "pglz", 0, NULL, "Compression of large values."),
    BOOL_FIXED("default_with_oids", off, 0, only_off, "Gives tables OIDs."),
    TEXT("effective_cache_size", "4GB", 0, NULL, "Planner's idea of the disk cache."),
    INT("effective_io_concurrency", 1, 0, INT32_MAX, 0, "Simultaneous requests that the disk serves well."),
    BOOL("enable_bitmapscan", on, 0, "Planner may use bitmap scans."),
    BOOL("enable_hashagg", on, 0, "Planner may use hashed aggregation."),
    BOOL("enable_hashjoin", on, 0, "Planner may use hash joins."),
    BOOL("enable_indexonlyscan", on, 0, "Planner may use index-only scans."),
    BOOL("enable_indexscan", on, 0, "Planner may use index scans."),
    BOOL("enable_material", on, 0, "Planner may materialize."),
    BOOL("enable_mergejoin", on, 0, "Planner may use merge joins."),
    BOOL("enable_nestloop", on, 0, "Planner may use nested loops."),
    BOOL("enable_partitionwise_join", off, 0, "Planner may join partitions."),
    BOOL("enable_seqscan", on, 0, "Planner may use sequential scans."),
    BOOL("enable_sort", on, 0, "Planner may use sorts."),
    BOOL("enable_tidscan", on, 0, "Planner may use row-id scans."),
    BOOL("escape_string_warning", on, 0, "Warns of backslashes in ordinary strings."),
    BOOL("exit_on_error", off, 0, "Ends the session on any error."),
    INT("from_collapse_limit", 8, 0, INT32_MAX, 0, "Size from which subqueries are not merged."),
    BOOL("geqo", on, 0, "Genetic query planning."),
    INT("gin_fuzzy_search_limit", 0, 0, INT32_MAX, 0, "Most results of an exact GIN search."),
    TEXT("gin_pending_list_limit", "4MB", 0, NULL, "Size of a GIN index's pending list."),
    TEXT("hash_mem_multiplier", "2", 0, NULL, "Hash tables' share of work_mem."),
    BOOL("jit", off, 0, "Just-in-time compilation."),
    INT("join_collapse_limit", 8, 0, INT32_MAX, 0, "Size from which joins are not reordered."),
    TEXT("lc_collate", "C", SETTING_READ_ONLY, NULL, "Order of texts: bytes."),
    TEXT("lc_ctype", "C", SETTING_READ_ONLY, NULL, "Classes of characters."),
    TEXT("lc_messages", "C", 0, NULL, "Language of messages."),
    TEXT("lc_monetary", "C", 0, NULL, "Format of money."),
    TEXT("lc_numeric", "C", 0, NULL, "Format of numbers."),
    TEXT("lc_time", "C", 0, NULL, "Format of dates."),
    BOOL("lo_compat_privileges", off, 0, "Large objects without privileges."),
    BOOL("log_duration", off, 0, "Logs each statement's duration."),
    TEXT("log_min_duration_statement", "-1", 0, NULL, "Duration from which statements are logged."),
    TEXT("log_min_error_statement", "error", 0, NULL, "Level from which failing statements are logged."),
    TEXT("log_min_messages", "warning", 0, NULL, "Level from which messages are logged."),
    TEXT("log_statement", "none", 0, NULL, "Statements that are logged."),
    TEXT("logical_decoding_work_mem", "64MB", 0, NULL, "Memory of logical decoding."),
    TEXT("maintenance_work_mem", "64MB", 0, NULL, "Memory of maintenance."),
    TEXT("max_identifier_length", "63", SETTING_READ_ONLY, NULL, "Longest name of a channel, cursor or statement."),
    TEXT("max_index_keys", "2000", SETTING_READ_ONLY, NULL, "Most columns of an index."),
    INT("max_parallel_maintenance_workers", 2, 0, INT32_MAX, 0, "Parallel workers of maintenance."),
    INT("max_parallel_workers", 8, 0, INT32_MAX, 0, "Parallel workers of all queries."),
    INT("max_parallel_workers_per_gather", 2, 0, INT32_MAX, 0, "Parallel workers of a query."),
    TEXT("min_parallel_table_scan_size", "8MB", 0, NULL, "Size from which scans are parallel."),
    BOOL("operator_precedence_warning", off, 0, "Warns of changed precedence."),
    TEXT("parallel_setup_cost", "1000", 0, NULL, "Planner's cost of parallel workers."),
    TEXT("parallel_tuple_cost", "0.1", 0, NULL, "Planner's cost of a row from a worker."),
    TEXT("password_encryption", "scram-sha-256", 0, NULL, "How passwords are stored."),
    TEXT("plan_cache_mode", "auto", 0, NULL, "Kind of plan of prepared statements."),
    BOOL("quote_all_identifiers", off, 0, "Quotes all names in generated SQL."),
    TEXT("random_page_cost", "4", 0, NULL, "Planner's cost of a page out of order."),
    BOOL("row_security", on, 0, "Row security policies."),
    TEXT("seq_page_cost", "1", 0, NULL, "Planner's cost of a page in order."),
    TEXT("server_version_num", "150000", SETTING_READ_ONLY, NULL, "Version as a number."),
    TEXT("session_replication_role", "origin", 0, NULL, "Which triggers run."),
    TEXT("shared_buffers", "128MB", SETTING_READ_ONLY, NULL, "Memory shared by sessions."),
    INT("ssl_renegotiation_limit", 0, 0, INT32_MAX, 0, "Kept for old clients."),
    BOOL("synchronize_seqscans", on, 0, "Lets sequential scans share their reads."),
    INT("tcp_keepalives_count", 0, 0, INT32_MAX, 0, "Lost keepalives before a connection is given up."),
    INT("tcp_keepalives_idle", 0, 0, INT32_MAX, 0, "Seconds of silence before a keepalive."),
    INT("tcp_keepalives_interval", 0, 0, INT32_MAX, 0, "Seconds between keepalives."),
    DURATION("tcp_user_timeout", "0", 0, 0, "Time before unacknowledged data gives a connection up."),
    TEXT("temp_buffers", "8MB", 0, NULL, "Memory of temporary tables."),
    TEXT("temp_tablespaces", "", 0, NULL, "Tablespaces of temporary tables."),
    BOOL("track_activities", on, 0, "Shows running statements."),
    BOOL("transform_null_equals", off, 0, "Reads x = NULL as x IS NULL."),
    TEXT("wal_level", "replica", SETTING_READ_ONLY, NULL, "Detail of the write-ahead log."),
    TEXT("work_mem", "4MB", 0, NULL, "Memory of a sort or hash."),
    TEXT("xmlbinary", "base64", 0, NULL, "How bytes stand in XML."),
    TEXT("xmloption", "content", 0, NULL, "Whether XML is a document or content."),
};

const size_t setting_count = sizeof(setting_infos) / sizeof(setting_infos[0]);
_Static_assert(sizeof(setting_infos) / sizeof(setting_infos[0]) <= SETTING_ROWS_MAX, "one bit per setting");
