/* pgwire/replication.c: the messages within CopyData. Each is: type byte, then what its row says, in this order, big-endian. The meaning of
 * each field is in docs/replication-protocol.md.
 *
 *   from the primary
 *   W Welcome      u16 version │ u64 system │ u64 timeline │ u8 flags (1: primary) │ i64 clock
 *   D Database     u32 number │ text name
 *   L ListEnd
 *   X Dropped      u32 number
 *   P Position     u32 number │ u32 attempt │ u32 page_bytes │ position end │ i64 clock │ i64 echo │ i64 age
 *   T Timeline     u32 number │ u32 attempt │ u64 timeline │ u64 after_txid
 *   F File         u32 number │ u32 attempt │ u8 flags │ u64 offset │
 *                  if FIRST: u64 min_txid │ u64 max_txid │ u64 timeline │ u64 checksum │ u64 incarnation │ u64 total_bytes │ bytes
 *   H Heal         u32 number │ u32 attempt │ u32 page_bytes │ u32 page_count │ position
 *   U Unavailable  u32 number │ u32 attempt │ text reason
 *   K Keepalive    i64 clock │ i64 echo │ i64 age │ u8 flags (1: answer)
 *   from the replica
 *   S StartAt      u32 number │ u32 attempt │ u8 flags (1: known) │ position │ u64 incarnation
 *   C Sums         u32 number │ u32 attempt │ u32 first_page │ u64 …
 *   E SumsEnd      u32 number │ u32 attempt │ u32 page_count
 *   N NotWanted    u32 number │ text reason
 *   R Status       u32 number │ u32 attempt │ u8 state │ position written │ position applied │ position durable │ i64 clock
 *   A Alive        u64 timeline │ i64 clock │ u8 flags (1: answer)
 *
 *   position: u64 timeline │ u64 txid │ u64 checksum          text: bytes, NUL
 *
 * One table says which parts a type has in front; a function for each type does the rest, for reading and for writing. */
#include "pgwire/replication.h"

enum {
    SIDE_PRIMARY = 1,
    SIDE_REPLICA = 2,
    HAS_NUMBER = 4,
    HAS_ATTEMPT = 8,
};

struct kind {
    const char *name;
    unsigned flags;
};
static const struct kind kinds[] = {
    [REPLICATION_WELCOME] = {"Welcome", SIDE_PRIMARY},
    [REPLICATION_DATABASE] = {"Database", SIDE_PRIMARY | HAS_NUMBER},
    [REPLICATION_LIST_END] = {"ListEnd", SIDE_PRIMARY},
    [REPLICATION_DROPPED] = {"Dropped", SIDE_PRIMARY | HAS_NUMBER},
    [REPLICATION_POSITION] = {"Position", SIDE_PRIMARY | HAS_NUMBER | HAS_ATTEMPT},
    [REPLICATION_TIMELINE] = {"Timeline", SIDE_PRIMARY | HAS_NUMBER | HAS_ATTEMPT},
    [REPLICATION_FILE] = {"File", SIDE_PRIMARY | HAS_NUMBER | HAS_ATTEMPT},
    [REPLICATION_HEAL] = {"Heal", SIDE_PRIMARY | HAS_NUMBER | HAS_ATTEMPT},
    [REPLICATION_UNAVAILABLE] = {"Unavailable", SIDE_PRIMARY | HAS_NUMBER | HAS_ATTEMPT},
    [REPLICATION_KEEPALIVE] = {"Keepalive", SIDE_PRIMARY},
    [REPLICATION_START_AT] = {"StartAt", SIDE_REPLICA | HAS_NUMBER | HAS_ATTEMPT},
    [REPLICATION_SUMS] = {"Sums", SIDE_REPLICA | HAS_NUMBER | HAS_ATTEMPT},
    [REPLICATION_SUMS_END] = {"SumsEnd", SIDE_REPLICA | HAS_NUMBER | HAS_ATTEMPT},
    [REPLICATION_NOT_WANTED] = {"NotWanted", SIDE_REPLICA | HAS_NUMBER},
    [REPLICATION_STATUS] = {"Status", SIDE_REPLICA | HAS_NUMBER | HAS_ATTEMPT},
    [REPLICATION_ALIVE] = {"Alive", SIDE_REPLICA},
};
enum { KIND_COUNT = sizeof(kinds) / sizeof(kinds[0]) };

static const struct kind *kind_of(unsigned type)
{
    return type < KIND_COUNT && kinds[type].name != NULL ? &kinds[type] : NULL;
}

const char *replication_name(enum replication_type type)
{
    const struct kind *kind = kind_of((unsigned)type);
    return kind != NULL ? kind->name : "unknown";
}

/* --- Parts --- */

static uint64_t get_up_to(struct pgwire_cursor *cursor, uint64_t max)
{
    uint64_t value = pgwire_get_u64(cursor);
    if (value <= max)
        return value;
    pgwire_cursor_fail(cursor);
    return 0;
}

static uint64_t get_from_1_to(struct pgwire_cursor *cursor, uint64_t max)
{
    uint64_t value = get_up_to(cursor, max);
    if (value == 0)
        pgwire_cursor_fail(cursor);
    return value;
}

static uint32_t get_nonzero_u32(struct pgwire_cursor *cursor)
{
    uint32_t value = pgwire_get_u32(cursor);
    if (value == 0)
        pgwire_cursor_fail(cursor);
    return value;
}

static int64_t get_time(struct pgwire_cursor *cursor)
{
    return (int64_t)get_up_to(cursor, (uint64_t)INT64_MAX);
}

/* One of the bits in `known`, or none. */
static uint8_t get_flags(struct pgwire_cursor *cursor, uint8_t known)
{
    uint8_t flags = pgwire_get_u8(cursor);
    if ((flags & ~known) != 0)
        pgwire_cursor_fail(cursor);
    return flags;
}

static struct pgwire_text get_text(struct pgwire_cursor *cursor, size_t length_max)
{
    struct pgwire_text text = pgwire_get_cstr(cursor);
    if (text.length > length_max)
        pgwire_cursor_fail(cursor);
    return text;
}

/* sqlite.org/fileformat2.html, "Page Size". */
static uint32_t get_page_bytes(struct pgwire_cursor *cursor)
{
    uint32_t bytes = pgwire_get_u32(cursor);
    if (bytes != 0 && (bytes < 512 || bytes > 65536 || (bytes & (bytes - 1)) != 0))
        pgwire_cursor_fail(cursor);
    return bytes;
}

static uint32_t get_page_count(struct pgwire_cursor *cursor)
{
    uint32_t count = pgwire_get_u32(cursor);
    if (count > REPLICATION_PAGE_COUNT_MAX)
        pgwire_cursor_fail(cursor);
    return count;
}

static struct replication_position get_position(struct pgwire_cursor *cursor)
{
    struct replication_position position;
    position.timeline = get_up_to(cursor, REPLICATION_TIMELINE_MAX);
    position.txid = get_up_to(cursor, REPLICATION_TXID_MAX);
    position.checksum = pgwire_get_u64(cursor);
    return position;
}

static void put_position(struct sq_buf *buf, const struct replication_position *position)
{
    sq_assert(position->timeline <= REPLICATION_TIMELINE_MAX && position->txid <= REPLICATION_TXID_MAX);
    sq_buf_put_u64(buf, position->timeline);
    sq_buf_put_u64(buf, position->txid);
    sq_buf_put_u64(buf, position->checksum);
}

static void put_time(struct sq_buf *buf, int64_t time_us)
{
    sq_assert(time_us >= 0);
    sq_buf_put_u64(buf, (uint64_t)time_us);
}

static void put_text(struct sq_buf *buf, const struct pgwire_text *text, size_t length_max)
{
    pgwire_put_text(buf, text->data, text->length < length_max ? text->length : length_max);
}

/* --- Reading --- */

static void get_welcome(struct pgwire_cursor *cursor, struct replication_welcome *welcome)
{
    welcome->version = pgwire_get_u16(cursor);
    welcome->system_id = get_from_1_to(cursor, UINT64_MAX);
    welcome->timeline = get_from_1_to(cursor, REPLICATION_TIMELINE_MAX);
    welcome->is_primary = get_flags(cursor, 1) != 0;
    welcome->clock_us = get_time(cursor);
    if (welcome->version == 0)
        pgwire_cursor_fail(cursor);
}

static void get_told(struct pgwire_cursor *cursor, struct replication_position_told *told)
{
    told->page_bytes = get_page_bytes(cursor);
    told->end = get_position(cursor);
    told->clock_us = get_time(cursor);
    told->echo_us = get_time(cursor);
    told->age_us = get_time(cursor);
}

static void get_file(struct pgwire_cursor *cursor, struct replication_file *file)
{
    file->flags = get_flags(cursor, REPLICATION_FILE_FIRST | REPLICATION_FILE_LAST | REPLICATION_FILE_HEAL);
    file->offset = get_up_to(cursor, INT64_MAX);
    bool is_first = (file->flags & REPLICATION_FILE_FIRST) != 0;
    if (is_first) {
        file->min_txid = get_from_1_to(cursor, REPLICATION_TXID_MAX);
        file->max_txid = get_from_1_to(cursor, REPLICATION_TXID_MAX);
        file->timeline = get_from_1_to(cursor, REPLICATION_TIMELINE_MAX);
        file->checksum = pgwire_get_u64(cursor);
        file->incarnation = get_from_1_to(cursor, UINT64_MAX);
        file->total_bytes = get_up_to(cursor, INT64_MAX);
        if (file->min_txid > file->max_txid)
            pgwire_cursor_fail(cursor);
    }
    file->data = pgwire_get_rest(cursor);
    bool is_last = (file->flags & REPLICATION_FILE_LAST) != 0;
    if (is_first != (file->offset == 0) || file->data.length > REPLICATION_CHUNK_BYTES_MAX ||
        (file->data.length == 0 && !is_last))
        pgwire_cursor_fail(cursor);
}

static void get_sums(struct pgwire_cursor *cursor, struct replication_sums *sums)
{
    sums->first_page = get_nonzero_u32(cursor);
    sums->sums = pgwire_get_rest(cursor);
    sums->count = sums->sums.length / sizeof(uint64_t);
    if (sums->sums.length % sizeof(uint64_t) != 0 || sums->count == 0 || sums->count > REPLICATION_SUMS_COUNT_MAX ||
        sums->first_page > REPLICATION_PAGE_COUNT_MAX - (sums->count - 1))
        pgwire_cursor_fail(cursor);
}

static void get_status(struct pgwire_cursor *cursor, struct replication_status *status)
{
    status->state = pgwire_get_u8(cursor);
    status->written = get_position(cursor);
    status->applied = get_position(cursor);
    status->durable = get_position(cursor);
    status->clock_us = get_time(cursor);
    if (status->state >= REPLICATION_STATE_COUNT)
        pgwire_cursor_fail(cursor);
}

static void get_body(struct pgwire_cursor *cursor, struct replication_message *message)
{
    switch (message->type) {
    case REPLICATION_WELCOME:
        get_welcome(cursor, &message->welcome);
        break;
    case REPLICATION_DATABASE:
        message->name = get_text(cursor, REPLICATION_NAME_MAX);
        if (message->name.length == 0)
            pgwire_cursor_fail(cursor);
        break;
    case REPLICATION_LIST_END:
    case REPLICATION_DROPPED:
        break;
    case REPLICATION_POSITION:
        get_told(cursor, &message->told);
        break;
    case REPLICATION_TIMELINE:
        message->timeline.timeline = get_from_1_to(cursor, REPLICATION_TIMELINE_MAX);
        message->timeline.after_txid = get_up_to(cursor, REPLICATION_TXID_MAX);
        break;
    case REPLICATION_FILE:
        get_file(cursor, &message->file);
        break;
    case REPLICATION_HEAL:
        message->heal.page_bytes = get_page_bytes(cursor);
        message->heal.page_count = get_page_count(cursor);
        message->heal.position = get_position(cursor);
        break;
    case REPLICATION_UNAVAILABLE:
    case REPLICATION_NOT_WANTED:
        message->reason = get_text(cursor, REPLICATION_REASON_MAX);
        break;
    case REPLICATION_KEEPALIVE:
        message->pulse.clock_us = get_time(cursor);
        message->pulse.echo_us = get_time(cursor);
        message->pulse.age_us = get_time(cursor);
        message->pulse.is_answer_wanted = get_flags(cursor, 1) != 0;
        break;
    case REPLICATION_START_AT:
        message->start.is_known = get_flags(cursor, 1) != 0;
        message->start.position = get_position(cursor);
        message->start.incarnation = pgwire_get_u64(cursor);
        break;
    case REPLICATION_SUMS:
        get_sums(cursor, &message->sums);
        break;
    case REPLICATION_SUMS_END:
        message->page_count = get_page_count(cursor);
        break;
    case REPLICATION_STATUS:
        get_status(cursor, &message->status);
        break;
    case REPLICATION_ALIVE:
        message->pulse.timeline = get_up_to(cursor, REPLICATION_TIMELINE_MAX);
        message->pulse.clock_us = get_time(cursor);
        message->pulse.is_answer_wanted = get_flags(cursor, 1) != 0;
        break;
    }
}

static sq_status decode(unsigned side, const uint8_t *bytes, size_t length, struct sq_error *err,
                        struct replication_message *ret_message)
{
    struct pgwire_cursor cursor = pgwire_cursor_make(bytes, length);
    unsigned type = pgwire_get_u8(&cursor);
    const struct kind *kind = kind_of(type);
    if (kind == NULL || (kind->flags & side) == 0)
        return sq_fail(err, SQ_PROTOCOL, "replication message of unknown type 0x%02x", type);
    struct replication_message message = {.type = (enum replication_type)type};
    if ((kind->flags & HAS_NUMBER) != 0)
        message.number = get_nonzero_u32(&cursor);
    if ((kind->flags & HAS_ATTEMPT) != 0)
        message.attempt = get_nonzero_u32(&cursor);
    get_body(&cursor, &message);
    if (!pgwire_cursor_is_done(&cursor))
        return sq_fail(err, SQ_PROTOCOL, "invalid %s message of replication", kind->name);
    *ret_message = message;
    return SQ_OK;
}

sq_status replication_primary_decode(const uint8_t *bytes, size_t length, struct sq_error *err,
                                     struct replication_message *ret_message)
{
    return decode(SIDE_PRIMARY, bytes, length, err, ret_message);
}

sq_status replication_replica_decode(const uint8_t *bytes, size_t length, struct sq_error *err,
                                     struct replication_message *ret_message)
{
    return decode(SIDE_REPLICA, bytes, length, err, ret_message);
}

/* --- Writing --- */

static void put_file_head(struct sq_buf *buf, const struct replication_file *file)
{
    sq_assert(((file->flags & REPLICATION_FILE_FIRST) != 0) == (file->offset == 0));
    sq_buf_put_u8(buf, file->flags);
    sq_buf_put_u64(buf, file->offset);
    if ((file->flags & REPLICATION_FILE_FIRST) == 0)
        return;
    sq_assert(file->min_txid > 0 && file->min_txid <= file->max_txid && file->incarnation > 0);
    sq_buf_put_u64(buf, file->min_txid);
    sq_buf_put_u64(buf, file->max_txid);
    sq_buf_put_u64(buf, file->timeline);
    sq_buf_put_u64(buf, file->checksum);
    sq_buf_put_u64(buf, file->incarnation);
    sq_buf_put_u64(buf, file->total_bytes);
}

static void put_status(struct sq_buf *buf, const struct replication_status *status)
{
    sq_buf_put_u8(buf, status->state);
    put_position(buf, &status->written);
    put_position(buf, &status->applied);
    put_position(buf, &status->durable);
    put_time(buf, status->clock_us);
}

static void put_welcome(struct sq_buf *buf, const struct replication_welcome *welcome)
{
    sq_buf_put_u16(buf, (uint16_t)welcome->version);
    sq_buf_put_u64(buf, welcome->system_id);
    sq_buf_put_u64(buf, welcome->timeline);
    sq_buf_put_u8(buf, welcome->is_primary);
    put_time(buf, welcome->clock_us);
}

static void put_told(struct sq_buf *buf, const struct replication_position_told *told)
{
    sq_buf_put_u32(buf, told->page_bytes);
    put_position(buf, &told->end);
    put_time(buf, told->clock_us);
    put_time(buf, told->echo_us);
    put_time(buf, told->age_us);
}

/* All but the data of a FILE and of SUMS. */
static void put_body(struct sq_buf *buf, const struct replication_message *message)
{
    switch (message->type) {
    case REPLICATION_WELCOME:
        put_welcome(buf, &message->welcome);
        break;
    case REPLICATION_DATABASE:
        put_text(buf, &message->name, REPLICATION_NAME_MAX);
        break;
    case REPLICATION_LIST_END:
    case REPLICATION_DROPPED:
        break;
    case REPLICATION_POSITION:
        put_told(buf, &message->told);
        break;
    case REPLICATION_TIMELINE:
        sq_buf_put_u64(buf, message->timeline.timeline);
        sq_buf_put_u64(buf, message->timeline.after_txid);
        break;
    case REPLICATION_FILE:
        put_file_head(buf, &message->file);
        break;
    case REPLICATION_HEAL:
        sq_buf_put_u32(buf, message->heal.page_bytes);
        sq_buf_put_u32(buf, message->heal.page_count);
        put_position(buf, &message->heal.position);
        break;
    case REPLICATION_UNAVAILABLE:
    case REPLICATION_NOT_WANTED:
        put_text(buf, &message->reason, REPLICATION_REASON_MAX);
        break;
    case REPLICATION_KEEPALIVE:
        put_time(buf, message->pulse.clock_us);
        put_time(buf, message->pulse.echo_us);
        put_time(buf, message->pulse.age_us);
        sq_buf_put_u8(buf, message->pulse.is_answer_wanted);
        break;
    case REPLICATION_START_AT:
        sq_buf_put_u8(buf, message->start.is_known);
        put_position(buf, &message->start.position);
        sq_buf_put_u64(buf, message->start.incarnation);
        break;
    case REPLICATION_SUMS:
        sq_buf_put_u32(buf, message->sums.first_page);
        break;
    case REPLICATION_SUMS_END:
        sq_buf_put_u32(buf, message->page_count);
        break;
    case REPLICATION_STATUS:
        put_status(buf, &message->status);
        break;
    case REPLICATION_ALIVE:
        sq_buf_put_u64(buf, message->pulse.timeline);
        put_time(buf, message->pulse.clock_us);
        sq_buf_put_u8(buf, message->pulse.is_answer_wanted);
        break;
    }
}

/* Where a FILE's flags are, from the beginning of its CopyData. */
enum { FILE_FLAGS_OFFSET = PGWIRE_HEADER_BYTES + 1 + 4 + 4 };

size_t replication_put_begin(struct sq_buf *buf, const struct replication_message *message)
{
    const struct kind *kind = kind_of((unsigned)message->type);
    sq_assert(kind != NULL);
    size_t offset = pgwire_begin(buf, PGWIRE_COPY_DATA);
    sq_buf_put_u8(buf, (uint8_t)message->type);
    if ((kind->flags & HAS_NUMBER) != 0) {
        sq_assert(message->number != 0);
        sq_buf_put_u32(buf, message->number);
    }
    if ((kind->flags & HAS_ATTEMPT) != 0) {
        sq_assert(message->attempt != 0);
        sq_buf_put_u32(buf, message->attempt);
    }
    put_body(buf, message);
    return offset;
}

void replication_put(struct sq_buf *buf, const struct replication_message *message)
{
    size_t offset = replication_put_begin(buf, message);
    if (message->type == REPLICATION_FILE) {
        sq_assert(message->file.data.length <= REPLICATION_CHUNK_BYTES_MAX);
        sq_buf_put(buf, message->file.data.data, message->file.data.length);
    } else if (message->type == REPLICATION_SUMS) {
        sq_assert(message->sums.count > 0 && message->sums.count <= REPLICATION_SUMS_COUNT_MAX);
        sq_buf_put(buf, message->sums.sums.data, message->sums.count * sizeof(uint64_t));
    }
    pgwire_end(buf, offset);
}

void replication_set_file_flags(struct sq_buf *buf, size_t offset, uint8_t flags)
{
    if (buf->is_failed)
        return;
    sq_assert(sq_buf_length(buf) > offset + FILE_FLAGS_OFFSET);
    sq_buf_bytes(buf)[offset + FILE_FLAGS_OFFSET] = flags;
}
