/* Fuzzes what lies in a WAL. The input is a WAL beside a small database; its first byte says whether checksums are put right first, so that
 * it gets past SQLite's recovery. What SQLite makes of it and what wal_file.h makes of it must be the same, also after something was
 * appended; nothing is read or written beyond its bounds. */
#include <sqlite3.h>
#include <stdlib.h>

#include "../lib/scratch.h"
#include "wal/checksum.h"
#include "wal/wal_file.h"
#include "wal/wal_internal.h"

int LLVMFuzzerInitialize(int *argument_count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE_BYTES = 512, WAL_BYTES_MAX = 64 * 1024, PAGES_MAX = 10000, IMAGE_BYTES_MAX = 1 << 20 };

static char dir[PATH_MAX];
static char path[PATH_MAX + 16];
static char wal_path[PATH_MAX + 16];
static uint8_t database[16 * PAGE_BYTES];
static size_t database_bytes;

static sqlite3 *connect(void)
{
    sqlite3 *db = NULL;
    int result = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    sq_assert(result == SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return db;
}

static void remove_scratch(void)
{
    scratch_remove_directory(dir);
}

int LLVMFuzzerInitialize(int *argument_count, char ***arguments)
{
    (void)argument_count;
    (void)arguments;
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    scratch_make_directory(dir);
    atexit(remove_scratch);
    snprintf(path, sizeof(path), "%s/db", dir);
    snprintf(wal_path, sizeof(wal_path), "%s/db-wal", dir);
    sqlite3 *db = connect();
    int result = sqlite3_exec(db,
                              "PRAGMA page_size=512; PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b);"
                              "INSERT INTO t VALUES (1, zeroblob(700)); PRAGMA wal_checkpoint(TRUNCATE)",
                              NULL, NULL, NULL);
    sq_assert(result == SQLITE_OK);
    sqlite3_close(db);
    int fd = open(path, O_RDONLY);
    ssize_t got = read(fd, database, sizeof(database));
    sq_assert(got > 0 && got < (ssize_t)sizeof(database) && got % PAGE_BYTES == 0);
    database_bytes = (size_t)got;
    close(fd);
    return 0;
}

static void write_file(const char *to, const uint8_t *bytes, size_t length)
{
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    sq_assert(fd >= 0);
    ssize_t written = write(fd, bytes, length);
    sq_assert(written == (ssize_t)length);
    close(fd);
}

/* Of the header and all frames that are whole. */
static void put_checksums(uint8_t *wal, size_t length)
{
    if (length < WAL_HEADER_BYTES)
        return;
    bool is_big_endian = (wal[3] & 1) != 0;
    uint32_t sum[2] = {0, 0};
    uint32_t page_bytes = wal_get_u32(&wal[8]);
    wal_sum_add(is_big_endian, wal, 24, sum);
    wal_put_u32(&wal[24], sum[0]);
    wal_put_u32(&wal[28], sum[1]);
    if (page_bytes < 8 || page_bytes % 8 != 0 || page_bytes > length)
        return;
    size_t frame_bytes = WAL_FRAME_HEADER_BYTES + page_bytes;
    for (size_t at = WAL_HEADER_BYTES; at + frame_bytes <= length; at += frame_bytes) {
        memcpy(&wal[at + 8], &wal[16], 8);
        wal_sum_add(is_big_endian, &wal[at], 8, sum);
        wal_sum_add(is_big_endian, &wal[at + WAL_FRAME_HEADER_BYTES], page_bytes, sum);
        wal_put_u32(&wal[at + 16], sum[0]);
        wal_put_u32(&wal[at + 20], sum[1]);
    }
}

/* SQLite's reading of the database, if it can, against a snapshot's. */
static void compare(sqlite3 *db, struct wal_file *file, uint32_t page_bytes)
{
    struct wal_snapshot *snapshot = NULL;
    sqlite3_int64 bytes = 0;
    uint8_t page[65536];
    struct sq_error err;
    sq_status status = wal_snapshot_begin(file, &err, &snapshot);
    sq_assert(status == SQ_OK);
    uint32_t page_count = wal_snapshot_page_count(snapshot);
    bool is_small = page_count <= PAGES_MAX && (int64_t)page_count * page_bytes <= IMAGE_BYTES_MAX;
    unsigned char *image = is_small ? sqlite3_serialize(db, "main", &bytes, 0) : NULL;
    for (uint32_t number = 1; number <= page_count && number <= PAGES_MAX; number++) {
        if (number == wal_lock_page(page_bytes))
            continue;
        status = wal_snapshot_page(snapshot, number, page, &err);
        sq_assert(status == SQ_OK);
        if (image != NULL && bytes == (sqlite3_int64)page_count * page_bytes)
            sq_assert(memcmp(page, image + (size_t)(number - 1) * page_bytes, page_bytes) == 0);
    }
    sqlite3_free(image);
    wal_snapshot_end(snapshot);
}

static void read_frames(struct wal_file *file, const struct wal_place *end, uint32_t page_count)
{
    uint8_t page[65536];
    uint32_t number = 0;
    uint32_t commit = 0;
    for (uint32_t i = 0; i < end->frame_count; i++) {
        sq_status status = wal_file_frame(file, end, i, NULL, &number, &commit, page);
        sq_assert(status == SQ_OK && number > 0);
    }
    sq_assert(end->frame_count == 0 || commit == page_count);
    sq_assert(wal_file_frame(file, end, end->frame_count, NULL, &number, &commit, page) == SQ_NOT_FOUND);
}

static void append_some(struct wal_file *file, uint32_t page_bytes, uint32_t page_count)
{
    struct wal_append *append = NULL;
    struct wal_place end;
    uint8_t page[65536] = {0};
    struct sq_error err;
    memset(page, 0x5a, page_bytes);
    sq_status status = wal_append_begin(file, &err, &append);
    sq_assert(status == SQ_OK);
    for (uint32_t number = 2; number < 5; number++) {
        status = wal_append_page(append, number, page, &err);
        sq_assert(status == SQ_OK);
    }
    status = wal_append_commit(append, page_count > 5 ? page_count : 5, &err, &end);
    sq_assert(status == SQ_OK);
    read_frames(file, &end, page_count > 5 ? page_count : 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t wal[WAL_BYTES_MAX];
    if (size < 2 || size > WAL_BYTES_MAX)
        return 0;
    memcpy(wal, data + 1, size - 1);
    if ((data[0] & 1) != 0)
        put_checksums(wal, size - 1);
    scratch_empty_directory(dir, NULL);
    write_file(path, database, database_bytes);
    write_file(wal_path, wal, size - 1);

    sqlite3 *db = connect();
    sqlite3 *connection = connect();
    struct wal_file *file = NULL;
    struct wal_place end;
    uint32_t page_bytes = 0;
    uint32_t page_count = 0;
    struct sq_error err;
    if (wal_file_new(connection, &err, &file) == SQ_OK &&
        wal_file_end(file, &err, &end, &page_bytes, &page_count) == SQ_OK) {
        read_frames(file, &end, page_count);
        compare(db, file, page_bytes);
        append_some(file, page_bytes, page_count);
        compare(db, file, page_bytes);
    }
    wal_file_free(file);
    sqlite3_close(connection);
    sqlite3_close(db);
    return 0;
}
