/* wal/ltx_compact.c: several consecutive files into one.
 *
 * All inputs are read side by side; each shows its next page, and the lowest number of all goes out, from the newest input that
 * has it, in the compressed form in which it came. A page of an input that a later one has cut off is not the database's
 * any more, even if the database has grown beyond it again: applying the files one after the other would not keep it
 * either. */
#include "wal/ltx_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum { READ_BYTES = 16 * 1024 };

struct merge_input {
    struct ltx_input *input;
    struct ltx_decoder *decoder;
    uint8_t *buffer;
    const uint8_t *at;
    size_t length;
    uint32_t page_number; /* the page that it shows; 0: it has ended */
    const void *page;
    uint32_t page_count_min; /* the smallest database that it or a later one leaves */
};

struct merge {
    size_t count;
    struct merge_input *inputs;
};

static void merge_done(struct merge *merge)
{
    for (size_t i = 0; i < merge->count; i++) {
        ltx_decoder_free(merge->inputs[i].decoder);
        free(merge->inputs[i].buffer);
    }
    free(merge->inputs);
}

static void ltx_encoder_freep(struct ltx_encoder **encoder)
{
    ltx_encoder_free(*encoder);
}

/* Up to the header, the next page, or the end. */
static sq_status advance(struct merge_input *input, struct sq_error *err, enum ltx_event *ret_event)
{
    enum ltx_event event = LTX_MORE;
    do {
        if (input->length == 0) {
            SQ_TRY(input->input->read_cb(input->input, input->buffer, READ_BYTES, err, &input->length));
            input->at = input->buffer;
            if (input->length == 0)
                return sq_fail(err, SQ_CORRUPT, "LTX: a file to be compacted ends too early");
        }
        SQ_TRY(ltx_decoder_feed(input->decoder, &input->at, &input->length, err, &event, &input->page_number,
                                &input->page));
    } while (event == LTX_MORE);
    if (event != LTX_PAGE)
        input->page_number = 0;
    *ret_event = event;
    return SQ_OK;
}

static sq_status next_page(struct merge_input *input, struct sq_error *err)
{
    enum ltx_event event;
    SQ_TRY(advance(input, err, &event));
    if (event == LTX_PAGE)
        return SQ_OK;
    size_t length = input->length;
    if (length == 0)
        SQ_TRY(input->input->read_cb(input->input, input->buffer, 1, err, &length));
    if (length > 0)
        return sq_fail(err, SQ_CORRUPT, "LTX: a file to be compacted has more behind its end");
    return SQ_OK;
}

static sq_status open_inputs(struct merge *merge, struct ltx_input *const *inputs, size_t count, struct sq_error *err)
{
    merge->inputs = calloc(count, sizeof(*merge->inputs));
    if (merge->inputs == NULL)
        return sq_fail(err, SQ_NOMEM, "LTX compactor");
    merge->count = count;
    for (size_t i = 0; i < count; i++) {
        struct merge_input *input = &merge->inputs[i];
        input->input = inputs[i];
        input->buffer = malloc(READ_BYTES);
        if (input->buffer == NULL)
            return sq_fail(err, SQ_NOMEM, "LTX compactor");
        SQ_TRY(ltx_decoder_new(err, &input->decoder));
        enum ltx_event event;
        SQ_TRY(advance(input, err, &event));
    }
    return SQ_OK;
}

static const struct ltx_header *header_of(const struct merge *merge, size_t index)
{
    return ltx_decoder_header(merge->inputs[index].decoder);
}

/* The part of the WAL that the files come from without a gap, up to the last one's end. */
static void join_wal(const struct merge *merge, struct ltx_header *header)
{
    for (size_t i = merge->count - 1; i-- > 0;) {
        const struct ltx_header *before = header_of(merge, i);
        if (header->wal_offset == 0 || before->wal_salt1 != header->wal_salt1 ||
            before->wal_salt2 != header->wal_salt2 || before->wal_offset + before->wal_bytes != header->wal_offset ||
            before->wal_offset == 0)
            break;
        header->wal_offset = before->wal_offset;
        header->wal_bytes += before->wal_bytes;
    }
}

static sq_status make_header(struct merge *merge, struct sq_error *err, struct ltx_header *ret_header)
{
    struct ltx_header header = *header_of(merge, merge->count - 1);
    uint32_t page_count_min = UINT32_MAX;
    for (size_t i = merge->count; i-- > 0;) {
        const struct ltx_header *at = header_of(merge, i);
        if (at->page_count < page_count_min)
            page_count_min = at->page_count;
        merge->inputs[i].page_count_min = page_count_min;
        if (at->page_bytes != header.page_bytes)
            return sq_fail(err, SQ_INVALID, "LTX: files of %" PRIu32 " and %" PRIu32 " bytes a page", at->page_bytes,
                           header.page_bytes);
        if (i > 0 && at->min_txid != header_of(merge, i - 1)->max_txid + 1)
            return sq_fail(err, SQ_INVALID,
                           "LTX: a file that begins with %" PRIu64 " after one that ends with %" PRIu64, at->min_txid,
                           header_of(merge, i - 1)->max_txid);
    }
    header.min_txid = header_of(merge, 0)->min_txid;
    header.pre_checksum = header_of(merge, 0)->pre_checksum;
    join_wal(merge, &header);
    *ret_header = header;
    return SQ_OK;
}

/* Which input's page goes out next; its number in *ret_page_number, 0: all have ended. */
static const struct merge_input *choose(const struct merge *merge, uint32_t *ret_page_number)
{
    const struct merge_input *chosen = NULL;
    for (size_t i = merge->count; i-- > 0;) {
        const struct merge_input *input = &merge->inputs[i];
        if (input->page_number != 0 && (chosen == NULL || input->page_number < chosen->page_number))
            chosen = input;
    }
    *ret_page_number = chosen == NULL ? 0 : chosen->page_number;
    return chosen;
}

static sq_status merge_pages(struct merge *merge, struct ltx_encoder *encoder, struct sq_error *err)
{
    for (size_t i = 0; i < merge->count; i++)
        SQ_TRY(next_page(&merge->inputs[i], err));
    uint32_t page_number;
    const struct merge_input *chosen;
    while ((chosen = choose(merge, &page_number)) != NULL) {
        if (page_number <= chosen->page_count_min) {
            uint32_t payload_bytes;
            const void *payload = ltx_decoder_payload(chosen->decoder, &payload_bytes);
            SQ_TRY(ltx_encoder_frame(encoder, page_number, chosen->page, payload, payload_bytes, err));
        }
        for (size_t i = 0; i < merge->count; i++)
            if (merge->inputs[i].page_number == page_number)
                SQ_TRY(next_page(&merge->inputs[i], err));
    }
    return SQ_OK;
}

/* All have been read to their ends. */
static sq_status check_chain(const struct merge *merge, struct sq_error *err)
{
    for (size_t i = 1; i < merge->count; i++) {
        uint64_t before = ltx_decoder_trailer(merge->inputs[i - 1].decoder)->post_checksum;
        if (header_of(merge, i)->pre_checksum != before)
            return sq_fail(err, SQ_INVALID,
                           "LTX: a file goes on from %016" PRIx64 ", the one before ends with %016" PRIx64,
                           header_of(merge, i)->pre_checksum, before);
    }
    return SQ_OK;
}

sq_status ltx_compact(struct ltx_input *const *inputs, size_t input_count, struct ltx_output *output,
                      struct sq_error *err, struct ltx_header *ret_header, struct ltx_trailer *ret_trailer)
{
    sq_assert(input_count > 0);
    SQ_CLEANUP(merge_done) struct merge merge = {0};
    SQ_TRY(open_inputs(&merge, inputs, input_count, err));
    struct ltx_header header;
    SQ_TRY(make_header(&merge, err, &header));
    SQ_CLEANUP(ltx_encoder_freep) struct ltx_encoder *encoder = NULL;
    SQ_TRY(ltx_encoder_new(output, &header, err, &encoder));
    SQ_TRY(merge_pages(&merge, encoder, err));
    SQ_TRY(check_chain(&merge, err));
    uint64_t post_checksum = ltx_decoder_trailer(merge.inputs[input_count - 1].decoder)->post_checksum, bytes = 0;
    SQ_TRY(ltx_encoder_finish(encoder, post_checksum, err, ret_trailer, &bytes));
    *ret_header = header;
    return SQ_OK;
}
