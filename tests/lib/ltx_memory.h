/* tests/lib/ltx_memory.h: LTX files in memory, for tests. */
#ifndef SQ_TESTS_LTX_MEMORY_H
#define SQ_TESTS_LTX_MEMORY_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "wal/ltx.h"

struct memory_output {
    struct ltx_output output;
    struct sq_buf bytes;
    size_t fail_after; /* bytes; SIZE_MAX: never */
};

static inline sq_status memory_output_write(struct ltx_output *output, const void *bytes, size_t length,
                                            struct sq_error *err)
{
    struct memory_output *self = SQ_CONTAINER_OF(output, struct memory_output, output);
    if (sq_buf_length(&self->bytes) + length > self->fail_after)
        return sq_fail(err, SQ_IO, "the output is full");
    sq_buf_put(&self->bytes, bytes, length);
    return sq_buf_check(&self->bytes, err);
}

static inline void memory_output_init(struct memory_output *self)
{
    self->output.write_cb = memory_output_write;
    self->fail_after = SIZE_MAX;
    sq_buf_init(&self->bytes, SIZE_MAX / 2);
}

struct memory_input {
    struct ltx_input input;
    const uint8_t *bytes;
    size_t length;
    size_t piece_max; /* bytes in one read; 0: as many as are asked for */
};

static inline sq_status memory_input_read(struct ltx_input *input, void *bytes, size_t length, struct sq_error *err,
                                          size_t *ret_length)
{
    struct memory_input *self = SQ_CONTAINER_OF(input, struct memory_input, input);
    (void)err;
    if (length > self->length)
        length = self->length;
    if (self->piece_max > 0 && length > self->piece_max)
        length = self->piece_max;
    if (length > 0)
        memcpy(bytes, self->bytes, length);
    self->bytes += length;
    self->length -= length;
    *ret_length = length;
    return SQ_OK;
}

static inline void memory_input_init(struct memory_input *self, const void *bytes, size_t length)
{
    *self = (struct memory_input){.input.read_cb = memory_input_read, .bytes = bytes, .length = length};
}

#endif
