/* repl/replica_apply.c: files of the log become one transaction of the WAL.
 *
 *     slot ─► SQLite's lock ─► as we left it? ─► pages ─► checksum right? ─► `applied` says where the WAL will end ─► commit
 *
 * If there are several files, they are read from the newest to the oldest: of a page that is in many of them only the newest version is written.
 * A file that is large is alone: pages go from it to the WAL one by one.
 *
 * What a crash leaves. The record of `applied` that a commit needs is in the file before the commit is in the WAL; whether both have come to the disk is another
 * matter, and if only the commit has, the position is found by reading the database. A WAL that is begun anew has no frame at first: a record
 * says so, before the WAL has its new header. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/inject.h"
#include "base/log.h"
#include "repl/ltx_pages.h"
#include "repl/replica_internal.h"
#include "wal/bytes.h"
#include "wal/checksum.h"

enum { AT_SCHEMA_COOKIE = 40, PAGE_SET_MIN = 1024 };

/* --- Pages that are written already ------------------------------------------------------------------------------- */

/* Page numbers, hashed: never more than half full. 0: free. */
struct page_set {
    uint32_t *slots;
    size_t slot_count;
    size_t count;
};

static size_t find_slot(const struct page_set *set, uint32_t page_number)
{
    size_t at = (page_number * UINT64_C(0x9e3779b97f4a7c15) >> 32) % set->slot_count;
    while (set->slots[at] != 0 && set->slots[at] != page_number)
        at = (at + 1) % set->slot_count;
    return at;
}

static sq_status grow(struct page_set *set, struct sq_error *err)
{
    struct page_set larger = {.slot_count = set->slot_count == 0 ? PAGE_SET_MIN : 2 * set->slot_count,
                              .count = set->count};
    larger.slots = calloc(larger.slot_count, sizeof(larger.slots[0]));
    if (larger.slots == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory to apply transactions");
    for (size_t i = 0; i < set->slot_count; i++) {
        if (set->slots[i] != 0)
            larger.slots[find_slot(&larger, set->slots[i])] = set->slots[i];
    }
    free(set->slots);
    *set = larger;
    return SQ_OK;
}

/* *ret_is_new: it was not in the set. */
static sq_status add_page(struct page_set *set, uint32_t page_number, struct sq_error *err, bool *ret_is_new)
{
    if (2 * (set->count + 1) > set->slot_count)
        SQ_TRY(grow(set, err));
    size_t at = find_slot(set, page_number);
    *ret_is_new = set->slots[at] == 0;
    set->count += *ret_is_new ? 1 : 0;
    set->slots[at] = page_number;
    return SQ_OK;
}

/* --- A transaction ------------------------------------------------------------------------------------------------ */

/* The ring must not overwrite what a crash could still ask for. */
static sq_status make_room_for_records(struct repl_replica *replica, struct sq_error *err)
{
    replica_lock(replica);
    bool is_full = replica->unsynced_records + 4 > APPLIED_RECORDS;
    replica_unlock(replica);
    return is_full ? replica_sync_all(replica, err) : SQ_OK;
}

static void count_record(struct repl_replica *replica)
{
    replica_lock(replica);
    replica->unsynced_records++;
    replica_unlock(replica);
}

/* Nobody has written since; where it begins is written down, if that is somewhere else than where the last one ended. */
static sq_status check_beginning(struct repl_replica *replica, struct replica_batch *batch, struct sq_error *err)
{
    if (!replica_is_unchanged(replica, wal_append_found(batch->append)))
        return sq_fail(err, SQ_NOT_FOUND, "another process has written to it");
    struct wal_place start = wal_append_end(batch->append);
    const struct wal_place *last = &replica->last.place;
    if (replica->is_known && (start.salt1 != last->salt1 || start.salt2 != last->salt2)) {
        SQ_TRY(applied_put(replica->records, &start, 0, &replica->known, err));
        count_record(replica);
    }
    return SQ_OK;
}

sq_status replica_batch_begin(struct repl_replica *replica, struct replica_batch *batch, struct sq_error *err)
{
    SQ_TRY(engine_durability_check(replica->durability, err));
    SQ_TRY(make_room_for_records(replica, err));
    SQ_TRY(page_sums_copy(replica->sums, err, &batch->before));
    replica_lock(replica);
    replica->stable_sums = batch->before;
    replica_unlock(replica);
    batch->has_slot = sched_writer_take(replica->writer);
    sq_status status = batch->has_slot ? SQ_OK : sq_fail(err, SQ_BUSY, "the write slot is taken");
    if (status == SQ_OK)
        status = wal_append_begin(replica->file, err, &batch->append);
    if (status == SQ_OK)
        status = check_beginning(replica, batch, err);
    if (status != SQ_OK)
        replica_batch_abort(replica, batch);
    return status;
}

/* Who waits for the slot goes on waiting. */
void replica_batch_abort(struct repl_replica *replica, struct replica_batch *batch)
{
    wal_append_abort(SQ_STEAL(batch->append));
    if (batch->before != NULL) {
        replica_lock(replica);
        struct page_sums *spoilt = replica->sums;
        replica->sums = SQ_STEAL(batch->before);
        replica->stable_sums = NULL;
        replica_unlock(replica);
        page_sums_free(spoilt);
    }
    if (batch->has_slot)
        sched_writer_release(replica->writer);
    batch->has_slot = false;
}

sq_status replica_batch_page(struct repl_replica *replica, struct replica_batch *batch, uint32_t page_number,
                             const void *page, struct sq_error *err)
{
    uint32_t page_bytes = replica->last.page_bytes;
    if (page_number == 1) {
        batch->schema_cookie = wal_get_u32((const uint8_t *)page + AT_SCHEMA_COOKIE);
        batch->has_cookie = true;
    }
    SQ_TRY(page_sums_set(replica->sums, page_number, wal_page_checksum(page_number, page, page_bytes), err));
    SQ_TRY(wal_append_page(batch->append, page_number, page, err));
    batch->appended_count++;
    return SQ_OK;
}

static sq_status check_end(struct repl_replica *replica, struct replica_batch *batch, struct sq_error *err)
{
    SQ_TRY(page_sums_resize(replica->sums, batch->page_count, err));
    uint64_t checksum = page_sums_database(replica->sums);
    if (checksum != batch->position.checksum)
        return sq_fail(err, SQ_CORRUPT,
                       "with transaction %" PRIu64 " it would have checksum %016" PRIx64 ", not %016" PRIx64,
                       batch->position.txid, checksum, batch->position.checksum);
    /* A database's size is in its first page: a transaction of nothing is no transaction of SQLite's. */
    if (batch->appended_count == 0 && batch->page_count != replica->last.page_count)
        return sq_fail(err, SQ_CORRUPT, "transaction %" PRIu64 " has no pages", batch->position.txid);
    return SQ_OK;
}

/* It is told as soon as it can be seen. `last`: where the WAL ends then. */
static sq_status commit(struct repl_replica *replica, struct replica_batch *batch, const struct wal_state *last,
                        struct sq_error *err)
{
    struct wal_place end = last->place;
    pthread_mutex_lock(&replica->commit_mutex);
    sq_status status = SQ_OK;
    if (batch->appended_count > 0)
        status = wal_append_commit(SQ_STEAL(batch->append), batch->page_count, err, &end);
    if (status == SQ_OK) {
        sq_assert(memcmp(&end, &last->place, sizeof(end)) == 0);
        replica->last = *last;
        replica->known = batch->position;
        replica->is_known = replica->is_received = true;
        replica_lock(replica);
        replica->stable_sums = NULL;
        replica->facts.batch_count += batch->file_count > 0 ? 1 : 0;
        replica->facts.file_count += batch->file_count;
        replica_set_applied(replica, &batch->position);
        replica->applied_at = engine_durability_published(replica->durability);
        replica_notify(replica);
        replica_unlock(replica);
    }
    pthread_mutex_unlock(&replica->commit_mutex);
    return status;
}

static sq_status seal_and_commit(struct repl_replica *replica, struct replica_batch *batch, struct sq_error *err)
{
    SQ_TRY(check_end(replica, batch, err));
    struct wal_state last = *wal_append_found(batch->append);
    if (batch->appended_count > 0) {
        last.sum = wal_append_seal(batch->append, batch->page_count);
        last.place = wal_append_end(batch->append);
        last.page_count = batch->page_count;
        last.change_count++;
    }
    SQ_TRY(sq_inject_status("repl.apply.before_record", err));
    SQ_TRY(applied_put(replica->records, &last.place, last.sum, &batch->position, err));
    count_record(replica);
    SQ_TRY(sq_inject_status("repl.apply.before_commit", err));
    return commit(replica, batch, &last, err);
}

sq_status replica_batch_commit(struct repl_replica *replica, struct replica_batch *batch, struct sq_error *err)
{
    sq_status status = seal_and_commit(replica, batch, err);
    if (status != SQ_OK) {
        replica_batch_abort(replica, batch);
        return status;
    }
    page_sums_free(SQ_STEAL(batch->before));
    wal_append_abort(SQ_STEAL(batch->append)); /* of a transaction without pages */
    sched_writer_release(replica->writer);
    batch->has_slot = false;
    sq_inject("repl.apply.after_commit");
    if (batch->has_cookie && batch->schema_cookie != replica->schema_cookie) {
        replica->schema_cookie = batch->schema_cookie;
        engine_database_note_schema(replica->database);
    }
    sched_writer_note(replica->writer);
    repl_job_post(&replica->sync);
    return SQ_OK;
}

/* --- Files of the log --------------------------------------------------------------------------------------------- */

struct files {
    struct ltx_pages *pages[REPLICA_BATCH_FILES]; /* oldest first */
    size_t count;
    uint64_t bytes;
};

static void close_files(struct files *files)
{
    while (files->count > 0)
        ltx_pages_close(files->pages[--files->count]);
}

/* The log's next files, one at least. */
static sq_status open_files(struct repl_replica *replica, struct files *files, struct sq_error *err)
{
    ltx_txid txid = replica->known.txid;
    ltx_txid end = wal_log_end(replica->host.log).txid;
    while (txid < end && files->count < REPLICA_BATCH_FILES) {
        struct wal_log_reader *reader = NULL;
        SQ_TRY(wal_log_reader_open(replica->host.log, txid, err, &reader));
        uint64_t bytes = wal_log_reader_bytes(reader);
        if (files->count > 0 && files->bytes + bytes > REPLICA_BATCH_BYTES) {
            wal_log_reader_close(reader);
            break;
        }
        SQ_TRY(ltx_pages_of_log(reader, err, &files->pages[files->count]));
        const struct ltx_header *header = ltx_pages_header(files->pages[files->count]);
        files->count++;
        files->bytes += bytes;
        txid = header->max_txid;
        if (header->page_bytes != replica->last.page_bytes)
            return sq_fail(err, SQ_CORRUPT, "a file of the log has pages of %u bytes", header->page_bytes);
    }
    sq_assert(files->count > 0);
    return SQ_OK;
}

static sq_status take_file(struct repl_replica *replica, struct replica_batch *batch, struct ltx_pages *pages,
                           struct page_set *set, struct sq_error *err)
{
    for (;;) {
        uint32_t page_number = 0;
        const void *page = NULL;
        bool is_new = true;
        SQ_TRY(ltx_pages_next(pages, err, &page_number, &page));
        if (page_number == 0)
            return SQ_OK;
        if (page_number > batch->page_count)
            continue; /* cut off by a later transaction */
        if (set != NULL)
            SQ_TRY(add_page(set, page_number, err, &is_new));
        if (is_new)
            SQ_TRY(replica_batch_page(replica, batch, page_number, page, err));
    }
}

static sq_status take_files(struct repl_replica *replica, struct replica_batch *batch, struct files *files,
                            struct sq_error *err)
{
    struct page_set set = {0};
    sq_status status = SQ_OK;
    for (size_t i = files->count; i > 0 && status == SQ_OK; i--) {
        status = take_file(replica, batch, files->pages[i - 1], files->count > 1 ? &set : NULL, err);
        if (status == SQ_OK && i == files->count)
            batch->position.checksum = ltx_pages_trailer(files->pages[i - 1])->post_checksum;
    }
    free(set.slots);
    return status;
}

static sq_status apply_files(struct repl_replica *replica, struct files *files, struct sq_error *err)
{
    const struct ltx_header *newest = ltx_pages_header(files->pages[files->count - 1]);
    struct replica_batch batch = {.page_count = newest->page_count,
                                  .file_count = files->count,
                                  .position = {.timeline = newest->node_id, .txid = newest->max_txid}};
    SQ_TRY(replica_batch_begin(replica, &batch, err));
    sq_status status = take_files(replica, &batch, files, err);
    if (status != SQ_OK) {
        replica_batch_abort(replica, &batch);
        return status;
    }
    return replica_batch_commit(replica, &batch, err);
}

static sq_status save_now_and_then(struct repl_replica *replica, uint64_t bytes, struct sq_error *err)
{
    replica->unsaved_bytes += bytes;
    if (replica->unsaved_bytes < REPLICA_SAVE_BYTES)
        return SQ_OK;
    SQ_TRY(replica_sync_all(replica, err));
    return replica_save_sums(replica, err);
}

sq_status replica_apply(struct repl_replica *replica, struct sq_error *err)
{
    struct files files = {.count = 0};
    SQ_TRY(sq_inject_status("repl.apply.begin", err));
    sq_status status = open_files(replica, &files, err);
    if (status == SQ_OK)
        status = apply_files(replica, &files, err);
    uint64_t bytes = files.bytes;
    close_files(&files);
    if (status == SQ_NOT_FOUND && replica->host.log != NULL) {
        replica_mistrust(replica, err->text);
        return SQ_OK;
    }
    SQ_TRY(status);
    return save_now_and_then(replica, bytes, err);
}
