/* pgwire/replication.h: the messages of replication: what is said between a primary and its replica on a connection that was begun with
 * `replication=true`. docs/replication-protocol.md has every byte and who says what when.
 *
 * Two commands come as simple queries: IDENTIFY_SYSTEM, as in PostgreSQL, and START_REPLICATION LTX, after whose CopyBothResponse
 * each CopyData of either side is one message of the tables below. All databases of a server share the connection: most messages begin
 * with the database's number.
 *
 * Rules: as everywhere in this room. Decoders check all of a message: a number, an offset or a count that is
 * accepted lies within the limits below; texts and bytes point into the message. Writers append a whole CopyData. What a message means at
 * this moment is for repl/sender.h and repl/receiver.h to judge. Threads: none. */
#ifndef SQ_PGWIRE_REPLICATION_H
#define SQ_PGWIRE_REPLICATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "pgwire/cursor.h"
#include "pgwire/encode.h"
#include "pgwire/frame.h"

enum {
    REPLICATION_VERSION = 1,
    REPLICATION_NAME_MAX = 63,           /* bytes of a database's or a replica's name */
    REPLICATION_LIST_MAX = 4095,         /* bytes of the list of wanted databases */
    REPLICATION_REASON_MAX = 1023,       /* bytes of a text for people */
    REPLICATION_CHUNK_BYTES_MAX = 65536, /* of a file, in one message */
    REPLICATION_SUMS_COUNT_MAX = 4096,   /* page checksums in one message */
    REPLICATION_MESSAGE_BYTES_MAX = 5 + 96 + REPLICATION_CHUNK_BYTES_MAX, /* a whole CopyData */
};
#define REPLICATION_TIMELINE_MAX ((uint64_t)INT64_MAX)
#define REPLICATION_TXID_MAX ((uint64_t)INT64_MAX)
#define REPLICATION_PAGE_COUNT_MAX UINT32_C(0xfffffffe) /* sqlite.org/limits.html */

/* --- Commands ---------------------------------------------------------------------------------------------------- */

enum replication_command_kind {
    REPLICATION_OTHER, /* neither of the two: an ordinary statement */
    REPLICATION_IDENTIFY_SYSTEM,
    REPLICATION_START,
};

/* Options that were not given: version 1, zeros, "". */
struct replication_command {
    enum replication_command_kind kind;
    uint32_t version;
    uint64_t system_id; /* of the replica's group; 0: it belongs to none yet */
    uint64_t timeline;  /* the newest that the replica has seen */
    char name[REPLICATION_NAME_MAX + 1];
    char databases[REPLICATION_LIST_MAX + 1]; /* patterns (repl/wanted.h); "": all */
};

/* Reads a query's text. SQ_INVALID, 42601 (with err->position): begins like one of the two, but is not one. */
SQ_MUST_USE sq_status replication_command_parse(const char *text, size_t length, struct sq_error *err,
                                                struct replication_command *ret_command);
/* The same as text, for a Query. The buffer's bytes are not NUL-terminated. */
void replication_put_command(struct sq_buf *buf, const struct replication_command *command);

/* The answer to IDENTIFY_SYSTEM: RowDescription, DataRow, CommandComplete. */
void replication_put_identity(struct sq_buf *buf, uint64_t system_id, uint64_t timeline, const char *position,
                              const char *database);
/* Of the DataRow: the first two columns. PostgreSQL's own answer can be read, too. */
SQ_MUST_USE sq_status replication_identity_decode(const struct pgwire_frame *frame, struct sq_error *err,
                                                  uint64_t *ret_system_id, uint64_t *ret_timeline);

/* --- Messages ---------------------------------------------------------------------------------------------------- */

/* Where a database is. Zeros: not known. */
struct replication_position {
    uint64_t timeline; /* up to REPLICATION_TIMELINE_MAX */
    uint64_t txid;     /* up to REPLICATION_TXID_MAX */
    uint64_t checksum;
};

/* The first byte of a message. */
enum replication_type {
    /* from the primary */
    REPLICATION_WELCOME = 'W',
    REPLICATION_DATABASE = 'D',
    REPLICATION_LIST_END = 'L',
    REPLICATION_DROPPED = 'X',
    REPLICATION_POSITION = 'P',
    REPLICATION_TIMELINE = 'T',
    REPLICATION_FILE = 'F',
    REPLICATION_HEAL = 'H',
    REPLICATION_UNAVAILABLE = 'U',
    REPLICATION_KEEPALIVE = 'K',
    /* from the replica */
    REPLICATION_START_AT = 'S',
    REPLICATION_SUMS = 'C',
    REPLICATION_SUMS_END = 'E',
    REPLICATION_NOT_WANTED = 'N',
    REPLICATION_STATUS = 'R',
    REPLICATION_ALIVE = 'A',
};

struct replication_welcome {
    uint32_t version;
    uint64_t system_id; /* not 0 */
    uint64_t timeline;  /* not 0 */
    bool is_primary;
    int64_t clock_us; /* Unix time */
};

struct replication_position_told {
    uint32_t page_bytes; /* 0: no pages yet */
    struct replication_position end;
    int64_t clock_us;
    int64_t echo_us;
    int64_t age_us;
};

struct replication_timeline {
    uint64_t timeline; /* not 0 */
    uint64_t after_txid;
};

enum {
    REPLICATION_FILE_FIRST = 1,
    REPLICATION_FILE_LAST = 2,
    REPLICATION_FILE_HEAL = 4,
};

struct replication_file {
    uint8_t flags;
    uint64_t offset; /* 0 if and only if FIRST */
    /* With FIRST. */
    uint64_t min_txid; /* 1 to max_txid */
    uint64_t max_txid;
    uint64_t timeline;
    uint64_t checksum;    /* of the database after it */
    uint64_t incarnation; /* of the database; not 0 */
    uint64_t total_bytes; /* 0: not known yet */
    /* Up to REPLICATION_CHUNK_BYTES_MAX; empty only with LAST. */
    struct pgwire_bytes data;
};

struct replication_heal {
    uint32_t page_bytes; /* 0: no pages; else a power of two */
    uint32_t page_count;
    struct replication_position position;
};

struct replication_start {
    bool is_known; /* else everything is healed */
    struct replication_position position;
    uint64_t incarnation; /* which database of that name it is a position of; 0: none yet */
};

struct replication_sums {
    uint32_t first_page; /* from 1; the last one is at most REPLICATION_PAGE_COUNT_MAX */
    size_t count;        /* 1 to REPLICATION_SUMS_COUNT_MAX */
    struct pgwire_bytes sums;
};
static inline uint64_t replication_sums_get(const struct replication_sums *sums, size_t index)
{
    sq_assert(index < sums->count);
    struct pgwire_cursor cursor = pgwire_cursor_make(sums->sums.data + index * sizeof(uint64_t), sizeof(uint64_t));
    return pgwire_get_u64(&cursor);
}

/* What a replica does with a database, for people. */
enum replication_state {
    REPLICATION_STATE_FOLLOWING,
    REPLICATION_STATE_HEALING,
    REPLICATION_STATE_COUNT,
};

struct replication_status {
    uint8_t state; /* enum replication_state */
    struct replication_position written;
    struct replication_position applied;
    struct replication_position durable;
    int64_t clock_us; /* of the replica's own, echoed by the primary */
};

/* KEEPALIVE and ALIVE. */
struct replication_pulse {
    uint64_t timeline; /* ALIVE: the newest that the replica has seen; KEEPALIVE: 0 */
    int64_t clock_us;
    int64_t echo_us; /* KEEPALIVE: the clock_us of the replica's that was read last, 0: none; ALIVE: 0 */
    int64_t age_us;  /* KEEPALIVE: how old what the sender has may be, 0 from a primary; ALIVE: 0 */
    bool is_answer_wanted;
};

struct replication_message {
    enum replication_type type;
    uint32_t number;  /* not 0 where there is one */
    uint32_t attempt; /* not 0 where there is one: which START_AT of this database it belongs to */
    union {
        struct replication_welcome welcome;
        struct pgwire_text name;   /* DATABASE: 1 to REPLICATION_NAME_MAX bytes */
        struct pgwire_text reason; /* UNAVAILABLE, NOT_WANTED */
        struct replication_position_told told;
        struct replication_timeline timeline;
        struct replication_file file;
        struct replication_heal heal;
        struct replication_start start;
        struct replication_sums sums;
        uint32_t page_count; /* SUMS_END */
        struct replication_status status;
        struct replication_pulse pulse;
    };
};

/* The content of one CopyData, `length` bytes. SQ_PROTOCOL, 08P01: it is not a message of that side. */
SQ_MUST_USE sq_status replication_primary_decode(const uint8_t *bytes, size_t length, struct sq_error *err,
                                                 struct replication_message *ret_message);
SQ_MUST_USE sq_status replication_replica_decode(const uint8_t *bytes, size_t length, struct sq_error *err,
                                                 struct replication_message *ret_message);
/* A whole CopyData of any type. What would not be accepted is a bug of the caller's, but for texts, which are cut to their limit. */
void replication_put(struct sq_buf *buf, const struct replication_message *message);

/* FILE and SUMS whose last part is rendered straight into the buffer: begin (data, sums and their count are not looked at), bytes, then pgwire_end().
 * The flags may be known only then. */
size_t replication_put_begin(struct sq_buf *buf, const struct replication_message *message);
void replication_set_file_flags(struct sq_buf *buf, size_t offset, uint8_t flags);

/* "Welcome", for logs. */
const char *replication_name(enum replication_type type);

#endif
