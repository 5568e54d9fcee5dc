/* tests/fuzz/fuzz_codec.c: any bytes as a stream of the PostgreSQL protocol. The first byte says whose: a client's
 * first packet, a client's messages (three ways to read 'p'), a server's messages. For every message:
 *   1. no byte outside the stream is touched (the sanitizers see to that), no assertion fails;
 *   2. however many bytes of the stream have come, the borders found are the same;
 *   3. what a decoder accepts can be written, the result can be decoded, and writing that gives the same bytes again;
 *   4. the first writing already gives the original bytes, except where the manual lets those vary.
 * Seeds: tests/fuzz/corpus/codec/, one message each. */
#include "../lib/pgwire_recode.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_MESSAGE_BYTES_MAX = 1 << 20, FUZZ_OUT_BYTES_MAX = 1 << 22 };

enum fuzz_side {
    FUZZ_STARTUP,
    FUZZ_PASSWORD,
    FUZZ_SASL_INITIAL,
    FUZZ_SASL_RESPONSE,
    FUZZ_BACKEND,
    FUZZ_SIDES,
};

/* Finds, decodes and writes the first message of `bytes`. True: it was accepted, and is behind *ret_used bytes. */
static bool fuzz_recode(enum fuzz_side side, const uint8_t *bytes, size_t length, struct sq_buf *out, size_t *ret_used)
{
    struct sq_error err;
    struct pgwire_startup_frame startup;
    struct pgwire_frame frame;
    size_t needed = 0;
    enum pgwire_frame_result result;
    sq_error_clear(&err);
    if (side == FUZZ_STARTUP)
        result = pgwire_startup_next(bytes, length, &err, &startup, &needed);
    else if (side == FUZZ_BACKEND)
        result = pgwire_backend_frame_next(bytes, length, FUZZ_MESSAGE_BYTES_MAX, &err, &frame, &needed);
    else
        result = pgwire_frame_next(bytes, length, FUZZ_MESSAGE_BYTES_MAX, &err, &frame, &needed);
    if (result == PGWIRE_FRAME_NEED_MORE)
        sq_assert(needed > length && needed <= FUZZ_MESSAGE_BYTES_MAX);
    if (result == PGWIRE_FRAME_BAD)
        sq_assert(err.status != SQ_OK && err.text[0] != '\0');
    if (result != PGWIRE_FRAME_READY)
        return false;

    sq_status status;
    if (side == FUZZ_STARTUP) {
        *ret_used = startup.total_bytes;
        status = recode_startup(&startup, &err, out);
    } else if (side == FUZZ_BACKEND) {
        *ret_used = frame.total_bytes;
        status = recode_backend(&frame, &err, out);
    } else {
        *ret_used = frame.total_bytes;
        status = recode_frontend(&frame, (enum recode_password)(side - FUZZ_PASSWORD), &err, out);
    }
    sq_assert(*ret_used <= length);
    sq_assert(status == SQ_OK || (status == err.status && err.text[0] != '\0'));
    return status == SQ_OK;
}

/* Whether writing must give back the very bytes: reports have an order and unknown fields, Execute a negative limit. */
static bool fuzz_is_exact(enum fuzz_side side, const uint8_t *bytes, size_t used)
{
    if (side == FUZZ_STARTUP)
        return true;
    if (side == FUZZ_BACKEND)
        return bytes[0] != PGWIRE_ERROR_RESPONSE && bytes[0] != PGWIRE_NOTICE_RESPONSE;
    return bytes[0] != PGWIRE_EXECUTE || (bytes[used - 4] & 0x80) == 0;
}

/* Every shorter piece of a good message asks for more, and for no more than there was. */
static void fuzz_check_pieces(enum fuzz_side side, const uint8_t *bytes, size_t used)
{
    size_t step = used < 64 ? 1 : used / 16;
    for (size_t length = 0; length < used; length += step) {
        struct pgwire_startup_frame startup;
        struct pgwire_frame frame;
        size_t needed = 0;
        enum pgwire_frame_result result;
        if (side == FUZZ_STARTUP)
            result = pgwire_startup_next(bytes, length, NULL, &startup, &needed);
        else if (side == FUZZ_BACKEND)
            result = pgwire_backend_frame_next(bytes, length, FUZZ_MESSAGE_BYTES_MAX, NULL, &frame, &needed);
        else
            result = pgwire_frame_next(bytes, length, FUZZ_MESSAGE_BYTES_MAX, NULL, &frame, &needed);
        sq_assert(result == PGWIRE_FRAME_NEED_MORE && needed > length && needed <= used);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > FUZZ_MESSAGE_BYTES_MAX)
        return 0;
    enum fuzz_side side = (enum fuzz_side)(data[0] % FUZZ_SIDES);
    struct sq_buf first;
    struct sq_buf second;
    sq_buf_init(&first, FUZZ_OUT_BYTES_MAX);
    sq_buf_init(&second, FUZZ_OUT_BYTES_MAX);
    for (size_t at = 1, used = 0; at < size; at += used) {
        sq_buf_truncate(&first, 0);
        sq_buf_truncate(&second, 0);
        used = 0;
        bool is_accepted = fuzz_recode(side, data + at, size - at, &first, &used);
        if (used == 0)
            break;
        fuzz_check_pieces(side, data + at, used);
        if (!is_accepted)
            continue;
        sq_assert(!first.is_failed);
        size_t again = 0;
        sq_assert(fuzz_recode(side, sq_buf_bytes(&first), sq_buf_length(&first), &second, &again));
        sq_assert(!second.is_failed && again == sq_buf_length(&first) && again == sq_buf_length(&second));
        sq_assert(memcmp(sq_buf_bytes(&first), sq_buf_bytes(&second), again) == 0);
        if (fuzz_is_exact(side, data + at, used))
            sq_assert(again == used && memcmp(data + at, sq_buf_bytes(&first), used) == 0);
    }
    sq_buf_done(&first);
    sq_buf_done(&second);
    return 0;
}
