/* tests/unit/pgwire/codec_test.h: what the codec's tests share: a table of golden messages (bytes written down by hand
 * from the manual's layouts, and a writer call that must give them) and the checks that each message goes through. */
#ifndef SQ_TESTS_PGWIRE_CODEC_TEST_H
#define SQ_TESTS_PGWIRE_CODEC_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/pgwire_recode.h"

enum { TEST_MESSAGE_BYTES_MAX = 1 << 20, TEST_BUF_BYTES_MAX = 1 << 24 };

struct golden {
    const char *name;
    const char *bytes;
    size_t length;
    void (*put)(struct sq_buf *buf);
    enum recode_password kind; /* how to read a 'p' */
    bool is_open;              /* from a body of `open_from` bytes on, every length makes a good message */
    size_t open_from;
};

/* The bytes of a string literal without its own NUL. */
#define BYTES(literal) .bytes = (literal), .length = sizeof(literal) - 1

/* A copy that ends where readable memory ends: one byte read too far ends the test program, with or without
 * sanitizers. */
struct guarded {
    uint8_t *pages;
    size_t pages_bytes;
    uint8_t *bytes;
};

static inline struct guarded guarded_copy(const void *bytes, size_t length)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t usable = (length / page + 1) * page;
    struct guarded copy = {.pages_bytes = usable + page};
    copy.pages = mmap(NULL, copy.pages_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(copy.pages != MAP_FAILED);
    assert_int_equal(mprotect(copy.pages + usable, page, PROT_NONE), 0);
    copy.bytes = copy.pages + usable - length;
    if (length > 0)
        memcpy(copy.bytes, bytes, length);
    return copy;
}

static inline void guarded_free(struct guarded *copy)
{
    assert_int_equal(munmap(copy->pages, copy->pages_bytes), 0);
}

/* One side of the protocol, as the checks need it. */
struct side {
    enum pgwire_frame_result (*next)(const uint8_t *bytes, size_t length, size_t message_bytes_max,
                                     struct sq_error *err, struct pgwire_frame *ret_frame, size_t *ret_bytes_needed);
    sq_status (*recode)(const struct pgwire_frame *frame, enum recode_password kind, struct sq_error *err,
                        struct sq_buf *out);
};

static inline sq_status side_recode_backend(const struct pgwire_frame *frame, enum recode_password kind,
                                            struct sq_error *err, struct sq_buf *out)
{
    (void)kind;
    return recode_backend(frame, err, out);
}

/* The frame of a good message. */
static inline struct pgwire_frame side_frame(const struct side *side, const void *bytes, size_t length)
{
    struct pgwire_frame frame;
    struct sq_error err;
    size_t needed = 0;
    assert_int_equal(side->next(bytes, length, TEST_MESSAGE_BYTES_MAX, &err, &frame, &needed), PGWIRE_FRAME_READY);
    assert_int_equal(frame.total_bytes, length);
    return frame;
}

static inline void golden_check_writer(const struct golden *golden)
{
    struct sq_buf buf;
    struct sq_error err;
    sq_buf_init(&buf, TEST_BUF_BYTES_MAX);
    sq_buf_put_text(&buf, "before"); /* offsets must not depend on where a message begins */
    sq_buf_consume(&buf, 3);
    golden->put(&buf);
    assert_int_equal(sq_buf_check(&buf, &err), SQ_OK);
    assert_int_equal(sq_buf_length(&buf), golden->length + 3);
    assert_memory_equal(sq_buf_bytes(&buf) + 3, golden->bytes, golden->length);
    sq_buf_done(&buf);
}

static inline void golden_check_reader(const struct side *side, const struct golden *golden)
{
    struct sq_buf out;
    struct sq_error err;
    sq_buf_init(&out, TEST_BUF_BYTES_MAX);
    struct guarded copy = guarded_copy(golden->bytes, golden->length);
    struct pgwire_frame frame = side_frame(side, copy.bytes, golden->length);
    assert_int_equal(side->recode(&frame, golden->kind, &err, &out), SQ_OK);
    assert_int_equal(sq_buf_length(&out), golden->length);
    assert_memory_equal(sq_buf_bytes(&out), golden->bytes, golden->length);
    guarded_free(&copy);
    sq_buf_done(&out);
}

/* The stream ends within the message: asks for more, and for how much. */
static inline void golden_check_stream_cuts(const struct side *side, const struct golden *golden)
{
    for (size_t length = 0; length < golden->length; length++) {
        struct guarded copy = guarded_copy(golden->bytes, length);
        struct pgwire_frame frame;
        struct sq_error err;
        size_t needed = 0;
        assert_int_equal(side->next(copy.bytes, length, TEST_MESSAGE_BYTES_MAX, &err, &frame, &needed),
                         PGWIRE_FRAME_NEED_MORE);
        assert_int_equal(needed, length < PGWIRE_HEADER_BYTES ? PGWIRE_HEADER_BYTES : golden->length);
        guarded_free(&copy);
    }
}

/* The message's own length says that it ends earlier, or later, than its contents do. */
static inline void golden_check_body_cuts(const struct side *side, const struct golden *golden)
{
    struct sq_buf out;
    sq_buf_init(&out, TEST_BUF_BYTES_MAX);
    size_t good_length = golden->length - PGWIRE_HEADER_BYTES;
    for (size_t body_length = 0; body_length <= good_length + 4; body_length++) {
        if (body_length == good_length)
            continue;
        uint8_t *bytes = calloc(1, golden->length + 4);
        assert_non_null(bytes);
        memcpy(bytes, golden->bytes, golden->length);
        bytes[1] = bytes[2] = 0;
        bytes[3] = (uint8_t)((body_length + 4) >> 8);
        bytes[4] = (uint8_t)(body_length + 4);
        struct guarded copy = guarded_copy(bytes, body_length + PGWIRE_HEADER_BYTES);
        struct pgwire_frame frame = side_frame(side, copy.bytes, body_length + PGWIRE_HEADER_BYTES);
        struct sq_error err;
        sq_buf_truncate(&out, 0);
        sq_status status = side->recode(&frame, golden->kind, &err, &out);
        if (golden->is_open && body_length >= golden->open_from) {
            assert_int_equal(status, SQ_OK);
        } else {
            assert_int_equal(status, SQ_PROTOCOL);
            assert_string_equal(err.sqlstate, "08P01");
            assert_int_equal(sq_buf_length(&out), 0);
        }
        guarded_free(&copy);
        free(bytes);
    }
    sq_buf_done(&out);
}

/* Every byte of the body in turn becomes one that a liar would choose. The message is then either refused or still one
 * whose parts lie within it (which recoding checks). */
static inline void golden_check_lies(const struct side *side, const struct golden *golden)
{
    static const uint8_t lies[] = {0x00, 0x01, 0x02, 0x7f, 0x80, 0xfe, 0xff};
    struct sq_buf out;
    sq_buf_init(&out, TEST_BUF_BYTES_MAX);
    struct guarded copy = guarded_copy(golden->bytes, golden->length);
    struct pgwire_frame frame = side_frame(side, copy.bytes, golden->length);
    for (size_t at = PGWIRE_HEADER_BYTES; at < golden->length; at++) {
        for (size_t i = 0; i < sizeof(lies); i++) {
            struct sq_error err;
            uint8_t truth = copy.bytes[at];
            copy.bytes[at] = lies[i];
            sq_buf_truncate(&out, 0);
            sq_status status = side->recode(&frame, golden->kind, &err, &out);
            if (status != SQ_OK)
                assert_true(status == SQ_PROTOCOL || status == SQ_INVALID);
            copy.bytes[at] = truth;
        }
    }
    guarded_free(&copy);
    sq_buf_done(&out);
}

/* A decoder that fails for `body`, and how. */
static inline void side_check_refused(const struct side *side, uint8_t type, enum recode_password kind,
                                      const void *body, size_t body_length, sq_status status, const char *sqlstate)
{
    struct sq_buf out;
    struct sq_error err;
    sq_buf_init(&out, TEST_BUF_BYTES_MAX);
    struct guarded copy = guarded_copy(body, body_length);
    struct pgwire_frame frame = {
        .type = type, .body = copy.bytes, .body_length = body_length, .total_bytes = body_length + 5};
    assert_int_equal(side->recode(&frame, kind, &err, &out), status);
    assert_string_equal(err.sqlstate, sqlstate);
    assert_int_equal(sq_buf_length(&out), 0);
    guarded_free(&copy);
    sq_buf_done(&out);
}

#endif
