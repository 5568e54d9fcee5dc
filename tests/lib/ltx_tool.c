/* tests/lib/ltx_tool.c: sqld's LTX files at a shell, for tests that hand them to other programs and take theirs.
 *
 *     ltx_tool encode OUT TXID DATABASE             a snapshot of a database file, as of transaction 1 … TXID
 *     ltx_tool diff OUT MIN MAX BEFORE AFTER        the pages in which two database files differ
 *     ltx_tool apply DATABASE FILE...               verifies each and writes its pages into the database file
 *     ltx_tool compact OUT FILE...                  consecutive files into one
 *     ltx_tool list FILE...                         verifies each; a line with its header and trailer
 *
 * Database files are read as they are: without their WAL. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "wal/checksum.h"
#include "wal/ltx.h"

static struct sq_error err;

static void check(sq_status status)
{
    if (status == SQ_OK)
        return;
    (void)fprintf(stderr, "ltx_tool: %s\n", err.text);
    exit(1);
}

static void must(bool is_right, const char *what)
{
    if (is_right)
        return;
    perror(what);
    exit(1);
}

struct file_output {
    struct ltx_output output;
    FILE *file;
};

static sq_status write_file(struct ltx_output *output, const void *bytes, size_t length, struct sq_error *ret_err)
{
    FILE *file = SQ_CONTAINER_OF(output, struct file_output, output)->file;
    return fwrite(bytes, 1, length, file) == length ? SQ_OK : sq_fail(ret_err, SQ_IO, "cannot write");
}

static void open_output(struct file_output *output, const char *path)
{
    output->output.write_cb = write_file;
    output->file = fopen(path, "wb");
    must(output->file != NULL, path);
}

/* --- databases ---------------------------------------------------------------------------------------------------- */

struct database {
    uint8_t *bytes;
    uint32_t page_bytes;
    uint32_t page_count;
    uint64_t checksum;
};

static const uint8_t *page_of(const struct database *database, uint32_t number)
{
    return database->bytes + (size_t)(number - 1) * database->page_bytes;
}

static void read_database(struct database *database, const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat facts;
    must(fd >= 0 && fstat(fd, &facts) == 0, path);
    database->bytes = malloc((size_t)facts.st_size + 1);
    must(database->bytes != NULL && read(fd, database->bytes, (size_t)facts.st_size) == facts.st_size, path);
    close(fd);
    uint32_t size = (uint32_t)database->bytes[16] << 8 | database->bytes[17];
    database->page_bytes = size == 1 ? 65536 : size;
    database->page_count = (uint32_t)(facts.st_size / database->page_bytes);
    database->checksum = WAL_CHECKSUM_FLAG;
    for (uint32_t number = 1; number <= database->page_count; number++)
        if (number != wal_lock_page(database->page_bytes))
            database->checksum = wal_checksum_exchange(
                database->checksum, 0, wal_page_checksum(number, page_of(database, number), database->page_bytes));
}

/* `before` may be NULL: all pages. */
static void encode(const char *path, const struct database *before, const struct database *after, ltx_txid min_txid,
                   ltx_txid max_txid)
{
    struct ltx_header header = {
        .page_bytes = after->page_bytes,
        .page_count = after->page_count,
        .min_txid = min_txid,
        .max_txid = max_txid,
        .timestamp_ms = 1700000000123,
        .pre_checksum = before != NULL ? before->checksum : 0,
        .wal_offset = 32,
        .wal_bytes = 4120,
        .wal_salt1 = 0x01020304,
        .wal_salt2 = 0x05060708,
        .node_id = 3,
    };
    struct file_output output;
    struct ltx_encoder *encoder;
    struct ltx_trailer trailer;
    uint64_t bytes;
    open_output(&output, path);
    check(ltx_encoder_new(&output.output, &header, &err, &encoder));
    for (uint32_t number = 1; number <= after->page_count; number++) {
        const uint8_t *page = page_of(after, number);
        bool is_same = before != NULL && number <= before->page_count &&
                       memcmp(page, page_of(before, number), after->page_bytes) == 0;
        if (!is_same && number != wal_lock_page(after->page_bytes))
            check(ltx_encoder_page(encoder, number, page, &err));
    }
    check(ltx_encoder_finish(encoder, after->checksum, &err, &trailer, &bytes));
    ltx_encoder_free(encoder);
    must(fclose(output.file) == 0, path);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* `database_fd` -1: verifies only. */
static void decode(const char *path, int database_fd)
{
    FILE *file = fopen(path, "rb");
    must(file != NULL, path);
    struct ltx_decoder *decoder;
    check(ltx_decoder_new(&err, &decoder));
    uint8_t buffer[10007];
    const uint8_t *at = buffer;
    size_t length = 0;
    enum ltx_event event = LTX_MORE;
    unsigned pages = 0;
    while (event != LTX_DONE) {
        if (length == 0) {
            length = fread(buffer, 1, sizeof(buffer), file);
            at = buffer;
            if (length == 0) {
                (void)fprintf(stderr, "ltx_tool: %s ends too early\n", path);
                exit(1);
            }
        }
        uint32_t number = 0;
        const void *page = NULL;
        check(ltx_decoder_feed(decoder, &at, &length, &err, &event, &number, &page));
        if (event != LTX_PAGE)
            continue;
        pages++;
        size_t page_bytes = ltx_decoder_header(decoder)->page_bytes;
        must(database_fd < 0 ||
                 pwrite(database_fd, page, page_bytes, (off_t)((number - 1) * page_bytes)) == (ssize_t)page_bytes,
             "database");
    }
    const struct ltx_header *header = ltx_decoder_header(decoder);
    must(database_fd < 0 || ftruncate(database_fd, (off_t)header->page_count * header->page_bytes) == 0, "database");
    if (database_fd < 0)
        printf("%016" PRIx64 " %016" PRIx64 " %" PRIu32 " %" PRIu32 " %u %016" PRIx64 " %016" PRIx64 " %016" PRIx64
               "\n",
               header->min_txid, header->max_txid, header->page_bytes, header->page_count, pages, header->pre_checksum,
               ltx_decoder_trailer(decoder)->post_checksum, ltx_decoder_trailer(decoder)->file_checksum);
    ltx_decoder_free(decoder);
    (void)fclose(file);
}

struct file_input {
    struct ltx_input input;
    FILE *file;
};

static sq_status read_file(struct ltx_input *input, void *bytes, size_t length, struct sq_error *ret_err,
                           size_t *ret_length)
{
    FILE *file = SQ_CONTAINER_OF(input, struct file_input, input)->file;
    *ret_length = fread(bytes, 1, length, file);
    return ferror(file) ? sq_fail(ret_err, SQ_IO, "cannot read") : SQ_OK;
}

static void compact(const char *path, char **inputs, size_t count)
{
    struct file_input *files = calloc(count, sizeof(*files));
    struct ltx_input **pointers = calloc(count, sizeof(struct ltx_input *));
    must(files != NULL && pointers != NULL, "memory");
    for (size_t i = 0; i < count; i++) {
        files[i].input.read_cb = read_file;
        files[i].file = fopen(inputs[i], "rb");
        must(files[i].file != NULL, inputs[i]);
        pointers[i] = &files[i].input;
    }
    struct file_output output;
    struct ltx_header header;
    struct ltx_trailer trailer;
    open_output(&output, path);
    check(ltx_compact(pointers, count, &output.output, &err, &header, &trailer));
    must(fclose(output.file) == 0, path);
    for (size_t i = 0; i < count; i++)
        (void)fclose(files[i].file);
    free(files);
    free(pointers);
}

int main(int argc, char **argv)
{
    struct database before, after;
    sq_error_clear(&err);
    if (argc == 5 && strcmp(argv[1], "encode") == 0) {
        read_database(&after, argv[4]);
        encode(argv[2], NULL, &after, 1, strtoull(argv[3], NULL, 10));
        free(after.bytes);
    } else if (argc == 7 && strcmp(argv[1], "diff") == 0) {
        read_database(&before, argv[5]);
        read_database(&after, argv[6]);
        encode(argv[2], &before, &after, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
        free(before.bytes);
        free(after.bytes);
    } else if (argc >= 4 && strcmp(argv[1], "apply") == 0) {
        int fd = open(argv[2], O_RDWR | O_CREAT, 0600);
        must(fd >= 0, argv[2]);
        for (int i = 3; i < argc; i++)
            decode(argv[i], fd);
        close(fd);
    } else if (argc >= 4 && strcmp(argv[1], "compact") == 0) {
        compact(argv[2], argv + 3, (size_t)argc - 3);
    } else if (argc >= 3 && strcmp(argv[1], "list") == 0) {
        for (int i = 2; i < argc; i++)
            decode(argv[i], -1);
    } else {
        (void)fprintf(stderr, "ltx_tool: see the head of tests/lib/ltx_tool.c\n");
        return 2;
    }
    return 0;
}
