/* tests/fuzz/fuzz_ltx.c: any bytes as LTX files, as several of them to be compacted, and as what a crash has left of a log.
 * The first byte says which:
 *
 *   0  a file, as it is: however it is cut into pieces the decoder says the same; what it accepts, encoded again, is
 *      accepted and has the same pages
 *   1  the same with the checksums and the index put right, so that the bytes behind them are reached
 *   2  files one behind the other, lengths first (two bytes each), put right, to the compactor
 *   3  changes to the directory of a log that was whole: each a file, an offset, a byte, or the file's new length. It opens; its end is a
 *      state that there was, its files decode, and it can be appended to and opened again.
 *   4  the same, with the checksums of pages beside it: they are opened or refused
 *
 * Seeds: tests/fuzz/corpus/ltx/. */
#include <stdio.h>

#include "../lib/log_fixture.h"
#include "../lib/ltx_memory.h"
#include "../lib/scratch.h"
#include "base/log.h"
#include "wal/page_sums.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { COMPACT_MAX = 6, LOG_STATES = 9, PAGES_BYTES_MAX = 1 << 24 };

/* --- decoding ------------------------------------------------------------------------------------------------------- */

static sq_status decode(const uint8_t *bytes, size_t length, size_t piece, struct sq_buf *pages,
                        struct ltx_header *ret_header, struct ltx_trailer *ret_trailer)
{
    struct sq_error err;
    struct ltx_decoder *decoder = NULL;
    sq_error_clear(&err);
    sq_assert(ltx_decoder_new(&err, &decoder) == SQ_OK);
    enum ltx_event event = LTX_MORE;
    sq_status status = SQ_OK;
    size_t used = 0;
    while (status == SQ_OK && event != LTX_DONE && used < length) {
        size_t part = length - used < piece ? length - used : piece, left = part;
        const uint8_t *at = bytes + used;
        uint32_t number = 0;
        const void *page = NULL;
        status = ltx_decoder_feed(decoder, &at, &left, &err, &event, &number, &page);
        sq_assert(at == bytes + used + (part - left));
        used += part - left;
        if (status == SQ_OK && event == LTX_HEADER)
            *ret_header = *ltx_decoder_header(decoder);
        if (status == SQ_OK && event == LTX_PAGE) {
            sq_assert(number > 0 && number <= ret_header->page_count);
            sq_assert(number != wal_lock_page(ret_header->page_bytes));
            sq_buf_put(pages, &number, sizeof(number));
            sq_buf_put(pages, page, ret_header->page_bytes);
        }
    }
    sq_assert(status == SQ_OK || (status == SQ_CORRUPT && err.text[0] != '\0'));
    if (status == SQ_OK && event == LTX_DONE)
        *ret_trailer = *ltx_decoder_trailer(decoder);
    else if (status == SQ_OK)
        status = SQ_CLOSED;
    ltx_decoder_free(decoder);
    return status;
}

static void encode(const struct sq_buf *pages, const struct ltx_header *header, uint64_t post_checksum,
                   struct memory_output *output)
{
    struct sq_error err;
    struct ltx_encoder *encoder = NULL;
    struct ltx_trailer trailer;
    uint64_t bytes;
    memory_output_init(output);
    sq_assert(ltx_encoder_new(&output->output, header, &err, &encoder) == SQ_OK);
    const uint8_t *at = sq_buf_bytes(pages);
    for (size_t used = 0; used < sq_buf_length(pages); used += sizeof(uint32_t) + header->page_bytes) {
        uint32_t number;
        memcpy(&number, at + used, sizeof(number));
        sq_assert(ltx_encoder_page(encoder, number, at + used + sizeof(number), &err) == SQ_OK);
    }
    sq_assert(ltx_encoder_finish(encoder, post_checksum, &err, &trailer, &bytes) == SQ_OK);
    ltx_encoder_free(encoder);
}

static void fuzz_decode(const uint8_t *data, size_t size)
{
    struct sq_buf whole, pieces;
    struct ltx_header header = {0}, header_again = {0};
    struct ltx_trailer trailer = {0}, trailer_again = {0};
    sq_buf_init(&whole, PAGES_BYTES_MAX);
    sq_buf_init(&pieces, PAGES_BYTES_MAX);
    sq_status status = decode(data, size, SIZE_MAX, &whole, &header, &trailer);
    sq_assert(decode(data, size, 1 + size % 5, &pieces, &header_again, &trailer_again) == status);
    sq_assert(whole.is_failed == pieces.is_failed);
    sq_assert(sq_buf_length(&whole) == sq_buf_length(&pieces));
    if (sq_buf_length(&whole) > 0)
        sq_assert(memcmp(sq_buf_bytes(&whole), sq_buf_bytes(&pieces), sq_buf_length(&whole)) == 0);
    if (status == SQ_OK && !whole.is_failed) {
        struct memory_output output;
        encode(&whole, &header, trailer.post_checksum, &output);
        sq_buf_truncate(&pieces, 0);
        sq_assert(decode(sq_buf_bytes(&output.bytes), sq_buf_length(&output.bytes), SIZE_MAX, &pieces, &header_again,
                         &trailer_again) == SQ_OK);
        sq_assert(trailer.post_checksum == trailer_again.post_checksum);
        sq_assert(sq_buf_length(&whole) == sq_buf_length(&pieces));
        sq_assert(sq_buf_length(&whole) == 0 ||
                  memcmp(sq_buf_bytes(&whole), sq_buf_bytes(&pieces), sq_buf_length(&whole)) == 0);
        sq_buf_done(&output.bytes);
    }
    sq_buf_done(&whole);
    sq_buf_done(&pieces);
}

/* --- files that are put right ------------------------------------------------------------------------------------------ */

/* Takes header and pages from the bytes, in a form of its own that a mutation seldom makes senseless, and writes a file of them:
 * six bytes of header (kind of page size, pages, transaction, how many), then three a page (distance, filling, how many bytes).
 * NULL: there are none. */
static bool make_file(const uint8_t **data, size_t *size, ltx_txid min_txid, uint64_t pre_checksum, uint32_t page_bytes,
                      struct memory_output *output, struct ltx_header *ret_header, uint64_t *ret_post)
{
    if (*size < 4)
        return false;
    struct ltx_header header = {.page_bytes = page_bytes,
                                .page_count = 1 + (*data)[0] % 40,
                                .min_txid = min_txid,
                                .max_txid = min_txid + (*data)[1],
                                .pre_checksum = pre_checksum,
                                .wal_offset = (*data)[2],
                                .wal_bytes = (*data)[2] != 0 ? (*data)[3] : 0};
    *data += 4;
    *size -= 4;
    struct sq_error err;
    struct ltx_encoder *encoder = NULL;
    struct ltx_trailer trailer;
    uint64_t bytes, post = WAL_CHECKSUM_FLAG | min_txid;
    memory_output_init(output);
    sq_assert(ltx_encoder_new(&output->output, &header, &err, &encoder) == SQ_OK);
    uint8_t *page = malloc(page_bytes);
    sq_assert(page != NULL);
    for (uint32_t number = 0; *size >= 3 && (*data)[0] != 0; *data += 3, *size -= 3) {
        number += (*data)[0];
        memset(page, 0, page_bytes);
        memset(page, (*data)[1], (*data)[2]);
        if (ltx_encoder_page(encoder, number, page, &err) != SQ_OK)
            break;
    }
    free(page);
    if (*size > 0) {
        ++*data;
        --*size;
    }
    sq_assert(ltx_encoder_finish(encoder, post, &err, &trailer, &bytes) == SQ_OK);
    ltx_encoder_free(encoder);
    *ret_header = header;
    *ret_post = post;
    return true;
}

static void fuzz_right(const uint8_t *data, size_t size)
{
    struct memory_output output;
    struct ltx_header header;
    uint64_t post;
    if (size < 3)
        return;
    uint32_t page_bytes = 512u << data[0] % 8;
    size_t at = (size_t)data[1] << 8 | data[2];
    data += 3;
    size -= 3;
    if (!make_file(&data, &size, 2, WAL_CHECKSUM_FLAG, page_bytes, &output, &header, &post))
        return;
    /* One byte of it is another. */
    if (size > 0)
        sq_buf_bytes(&output.bytes)[at % sq_buf_length(&output.bytes)] ^= data[0];
    fuzz_decode(sq_buf_bytes(&output.bytes), sq_buf_length(&output.bytes));
    sq_buf_done(&output.bytes);
}

/* --- compacting ----------------------------------------------------------------------------------------------------- */

/* What the files do one after the other: of each page that is left, who wrote it last, as its pages say. */
struct model {
    uint32_t page_count;
    bool has[256];
    uint8_t *pages[256];
};

static void model_apply(struct model *model, const struct sq_buf *bytes)
{
    struct sq_buf pages;
    struct ltx_header header = {0};
    struct ltx_trailer trailer;
    sq_buf_init(&pages, PAGES_BYTES_MAX);
    sq_assert(decode(sq_buf_bytes(bytes), sq_buf_length(bytes), SIZE_MAX, &pages, &header, &trailer) == SQ_OK);
    for (size_t used = 0; used < sq_buf_length(&pages); used += sizeof(uint32_t) + header.page_bytes) {
        uint32_t number;
        memcpy(&number, sq_buf_bytes(&pages) + used, sizeof(number));
        sq_assert(number < 256);
        if (model->pages[number] == NULL)
            model->pages[number] = malloc(header.page_bytes);
        sq_assert(model->pages[number] != NULL);
        memcpy(model->pages[number], sq_buf_bytes(&pages) + used + sizeof(number), header.page_bytes);
        model->has[number] = true;
    }
    model->page_count = header.page_count;
    for (uint32_t number = header.page_count + 1; number < 256; number++)
        model->has[number] = false;
    sq_buf_done(&pages);
}

static void model_done(struct model *model)
{
    for (size_t i = 0; i < 256; i++)
        free(model->pages[i]);
}

static void fuzz_compact(const uint8_t *data, size_t size)
{
    struct memory_output files[COMPACT_MAX];
    struct memory_input inputs[COMPACT_MAX];
    struct ltx_input *pointers[COMPACT_MAX];
    struct ltx_header header = {0};
    struct model expected = {0}, got = {0};
    size_t count = 0;
    ltx_txid txid = 2;
    uint64_t pre = WAL_CHECKSUM_FLAG | 1;
    if (size < 1)
        return;
    uint32_t page_bytes = 512u << data[0] % 3;
    for (++data, --size;
         count < COMPACT_MAX && make_file(&data, &size, txid, pre, page_bytes, &files[count], &header, &pre); count++) {
        txid = header.max_txid + 1;
        model_apply(&expected, &files[count].bytes);
        memory_input_init(&inputs[count], sq_buf_bytes(&files[count].bytes), sq_buf_length(&files[count].bytes));
        pointers[count] = &inputs[count].input;
    }
    if (count > 0) {
        struct memory_output output;
        struct ltx_trailer trailer;
        struct sq_error err;
        memory_output_init(&output);
        sq_assert(ltx_compact(pointers, count, &output.output, &err, &header, &trailer) == SQ_OK);
        model_apply(&got, &output.bytes);
        sq_assert(got.page_count == expected.page_count && trailer.post_checksum == pre);
        for (size_t i = 0; i < 256; i++)
            sq_assert(got.has[i] == expected.has[i] &&
                      (!got.has[i] || memcmp(got.pages[i], expected.pages[i], page_bytes) == 0));
        sq_buf_done(&output.bytes);
    }
    for (size_t i = 0; i < count; i++)
        sq_buf_done(&files[i].bytes);
    model_done(&expected);
    model_done(&got);
}

/* --- a log that is damaged ------------------------------------------------------------------------------------------- */

struct kept_file {
    char name[NAME_MAX + 1];
    uint8_t *bytes;
    size_t length;
};

static struct {
    char dir[PATH_MAX];
    struct fixture_database states[LOG_STATES];
    size_t state_count;
    struct kept_file files[32];
    size_t file_count;
} sound;

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const struct kept_file *)left)->name, ((const struct kept_file *)right)->name);
}

static void keep_files(void)
{
    DIR *dir = opendir(sound.dir);
    sq_assert(dir != NULL);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        struct kept_file *kept = &sound.files[sound.file_count++];
        (void)snprintf(kept->name, sizeof(kept->name), "%s", entry->d_name);
        int fd = openat(dirfd(dir), entry->d_name, O_RDONLY);
        kept->length = (size_t)lseek(fd, 0, SEEK_END);
        kept->bytes = malloc(kept->length + 1);
        sq_assert(kept->bytes != NULL && pread(fd, kept->bytes, kept->length, 0) == (ssize_t)kept->length);
        close(fd);
    }
    closedir(dir);
    qsort(sound.files, sound.file_count, sizeof(sound.files[0]), compare_names);
}

static void remove_directory(void)
{
    scratch_remove_directory(sound.dir);
}

/* Compacted files, their narrow ones beside them, a tail, two timelines, checksums of pages. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct sq_error err;
    struct wal_log *log;
    struct page_sums *sums;
    struct fixture_database database = {.timeline = 1};
    uint64_t seed = 5;
    char path[PATH_MAX + 8];
    sq_log_set_level(SQ_LOG_ERROR);
    /* What is synced here needs no real disk. */
    if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    scratch_make_directory(sound.dir);
    sq_assert(atexit(remove_directory) == 0);
    sq_assert(wal_log_open(sound.dir, &err, &log) == SQ_OK);
    sq_assert(wal_log_begin_timeline(log, 1, &err) == SQ_OK);
    sound.states[sound.state_count++] = database;
    for (int i = 1; i < LOG_STATES; i++) {
        sq_assert(fixture_append(log, &database, &seed, 1 + (unsigned)i % 2, &err) == SQ_OK);
        sound.states[sound.state_count++] = database;
        if (i == 3 || i == 4)
            sq_assert(wal_log_sync(log, &err) == SQ_OK);
    }
    sq_assert(page_sums_new(FIXTURE_PAGE_BYTES, &err, &sums) == SQ_OK);
    for (uint32_t page = 1; page <= database.page_count; page++)
        sq_assert(page_sums_set(sums, page, wal_page_checksum(page, database.pages[page - 1], FIXTURE_PAGE_BYTES),
                                &err) == SQ_OK);
    (void)snprintf(path, sizeof(path), "%s/sums", sound.dir);
    sq_assert(page_sums_save(sums, path, database.txid, 1, &err) == SQ_OK);
    page_sums_free(sums);
    wal_log_close(log);
    keep_files();
    return 0;
}

/* Four bytes a change: which file, where (two), and what is done: a bit is flipped, or (if the highest bit is set) it is
 * cut there. */
static void write_damaged(const uint8_t *data, size_t size)
{
    scratch_empty_directory(sound.dir, NULL);
    for (size_t i = 0; i < sound.file_count; i++) {
        const struct kept_file *kept = &sound.files[i];
        char path[PATH_MAX + NAME_MAX + 2];
        (void)snprintf(path, sizeof(path), "%s/%s", sound.dir, kept->name);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
        sq_assert(fd >= 0 && pwrite(fd, kept->bytes, kept->length, 0) == (ssize_t)kept->length);
        for (size_t used = 0; used + 4 <= size; used += 4) {
            off_t at = (off_t)(((size_t)data[used + 1] << 8 | data[used + 2]) % (kept->length + 1));
            uint8_t byte = 0;
            if (data[used] % sound.file_count != i)
                continue;
            if (data[used + 3] >= 0x80) {
                sq_assert(ftruncate(fd, at) == 0);
            } else if (pread(fd, &byte, 1, at) == 1) {
                byte ^= (uint8_t)(1u << data[used + 3] % 8);
                sq_assert(pwrite(fd, &byte, 1, at) == 1);
            }
        }
        close(fd);
    }
}

static const struct fixture_database *find_state(const struct wal_position *position)
{
    for (size_t i = 0; i < sound.state_count; i++)
        if (sound.states[i].txid == position->txid &&
            (position->txid == 0 || fixture_checksum(&sound.states[i]) == position->checksum))
            return &sound.states[i];
    return NULL;
}

static void fuzz_log(const uint8_t *data, size_t size)
{
    struct sq_error err;
    struct wal_log *log = NULL;
    static struct fixture_database database;
    uint64_t seed = 6;
    sq_error_clear(&err);
    write_damaged(data, size);
    sq_assert(wal_log_open(sound.dir, &err, &log) == SQ_OK);
    struct wal_position end = wal_log_end(log), begin = wal_log_begin(log);
    const struct fixture_database *state = find_state(&end), *from = find_state(&begin);
    sq_assert(state != NULL && from != NULL && begin.txid <= end.txid);
    database = *from;
    sq_status status;
    while ((status = fixture_follow(log, &database, &err)) == SQ_OK)
        ;
    /* A file that had been synced was taken for whole: who reads it sees that it is not. */
    sq_assert(status == SQ_CORRUPT || status == SQ_NOT_FOUND);
    if (status == SQ_NOT_FOUND)
        sq_assert(database.txid == end.txid && memcmp(database.pages, state->pages, sizeof(state->pages)) == 0);
    if (end.timeline != 0) {
        database = *state;
        database.timeline = end.timeline;
        sq_assert(fixture_append(log, &database, &seed, 1, &err) == SQ_OK);
        status = wal_log_sync(log, &err);
        sq_assert(status == SQ_OK || status == SQ_CORRUPT);
        wal_log_close(log);
        sq_assert(wal_log_open(sound.dir, &err, &log) == SQ_OK);
        sq_assert(wal_log_end(log).txid == database.txid);
    }
    status = wal_log_tidy(log, 0, 0, 0, &err);
    sq_assert(status == SQ_OK || status == SQ_CORRUPT);
    wal_log_close(log);
}

static void fuzz_sums(const uint8_t *data, size_t size)
{
    struct sq_error err;
    struct page_sums *sums = NULL;
    ltx_txid txid;
    uint64_t timeline;
    char path[PATH_MAX + 8];
    write_damaged(data, size);
    (void)snprintf(path, sizeof(path), "%s/sums", sound.dir);
    sq_status status = page_sums_open(path, &err, &sums, &txid, &timeline);
    sq_assert(status == SQ_OK || status == SQ_CORRUPT);
    if (status == SQ_OK) {
        uint64_t database = page_sums_database(sums);
        sq_assert(page_sums_save(sums, path, txid + 1, timeline, &err) == SQ_OK);
        page_sums_free(sums);
        sq_assert(page_sums_open(path, &err, &sums, &txid, &timeline) == SQ_OK);
        sq_assert(page_sums_database(sums) == database);
    }
    page_sums_free(sums);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[])(const uint8_t *, size_t) = {fuzz_decode, fuzz_right, fuzz_compact, fuzz_log,
                                                             fuzz_sums};
    if (size > 0)
        kinds[data[0] % (sizeof(kinds) / sizeof(kinds[0]))](data + 1, size - 1);
    return 0;
}
