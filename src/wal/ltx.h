/* wal/ltx.h: LTX files, version 3 (docs/ltx.md): one or more transactions as the pages they have changed.
 *
 * Encoder, decoder and compactor work on streams: an encoder puts bytes where it is told, a decoder is fed bytes as they come.
 * Memory: a page or two, and for the encoder a few bytes for each page of the file (the index is at its end).
 *
 *     header (100) │ page frames, ascending, LZ4 │ 6 zero bytes │ page index │ trailer (16)
 *
 * Invariants: (1) nothing that was read is believed before it is checked against a limit; (2) a decoder that has said DONE has
 * verified the file's checksum; what it handed out before is not to be trusted until then; (3) the lock page is never in a file.
 *
 * Threads: an object is used by one at a time. */
#ifndef SQ_WAL_LTX_H
#define SQ_WAL_LTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    LTX_HEADER_BYTES = 100,
    LTX_TRAILER_BYTES = 16,
    LTX_PAGE_BYTES_MIN = 512,
    LTX_PAGE_BYTES_MAX = 65536,
};

/* A transaction number: counts the commits of a database from 1. */
typedef uint64_t ltx_txid;
/* The largest that a file may have: the one after it is a number too. */
#define LTX_TXID_MAX (UINT64_MAX - 1)

struct ltx_header {
    uint32_t flags; /* 0 */
    uint32_t page_bytes;
    uint32_t page_count; /* of the database afterwards ("commit") */
    ltx_txid min_txid;   /* 1: a snapshot, every page is in the file */
    ltx_txid max_txid;
    int64_t timestamp_ms;  /* Unix time of the last transaction */
    uint64_t pre_checksum; /* of the database before; 0 for a snapshot */
    uint64_t wal_offset;   /* where in the WAL its frames begin, and how many bytes; 0: not made from a WAL */
    uint64_t wal_bytes;
    uint32_t wal_salt1;
    uint32_t wal_salt2;
    uint64_t node_id; /* of sqld: the timeline it was made on */
};

struct ltx_trailer {
    uint64_t post_checksum; /* of the database afterwards; WAL_CHECKSUM_FLAG for an empty one */
    uint64_t file_checksum;
};

/* Where encoded bytes go. May fail (disk full, connection gone): the encoder passes the status on. */
struct ltx_output {
    sq_status (*write_cb)(struct ltx_output *output, const void *bytes, size_t length, struct sq_error *err);
};

struct ltx_encoder;
/* `output` outlives the encoder. Writes the header. SQ_INVALID: a header that makes no sense. */
SQ_MUST_USE sq_status ltx_encoder_new(struct ltx_output *output, const struct ltx_header *header, struct sq_error *err,
                                      struct ltx_encoder **ret_encoder);
/* Pages in ascending order; a snapshot has all but the lock page. `page` has page_bytes bytes. */
SQ_MUST_USE sq_status ltx_encoder_page(struct ltx_encoder *encoder, uint32_t page_number, const void *page,
                                       struct sq_error *err);
/* Index and trailer. *ret_bytes: the length of the whole file. The encoder is then good for nothing but _free(). */
SQ_MUST_USE sq_status ltx_encoder_finish(struct ltx_encoder *encoder, uint64_t post_checksum, struct sq_error *err,
                                         struct ltx_trailer *ret_trailer, uint64_t *ret_bytes);
void ltx_encoder_free(struct ltx_encoder *encoder); /* NULL is allowed */

enum ltx_event {
    LTX_MORE,   /* all bytes are used: feed more */
    LTX_HEADER, /* ltx_decoder_header() is there now */
    LTX_PAGE,   /* *ret_page_number, *ret_page: valid until the next call */
    LTX_DONE,   /* the file is complete and its checksum right; bytes after it are not taken */
};
struct ltx_decoder;
SQ_MUST_USE sq_status ltx_decoder_new(struct sq_error *err, struct ltx_decoder **ret_decoder);
/* Takes bytes from *bytes, advancing both, up to the next event. SQ_CORRUPT: says what is wrong and at which offset; the decoder
 * is of no more use. */
SQ_MUST_USE sq_status ltx_decoder_feed(struct ltx_decoder *decoder, const uint8_t **bytes, size_t *length,
                                       struct sq_error *err, enum ltx_event *ret_event, uint32_t *ret_page_number,
                                       const void **ret_page);
const struct ltx_header *ltx_decoder_header(const struct ltx_decoder *decoder);
const struct ltx_trailer *ltx_decoder_trailer(const struct ltx_decoder *decoder); /* after DONE */
void ltx_decoder_free(struct ltx_decoder *decoder);                               /* NULL is allowed */

/* Reads a header, or the trailer from a file's last bytes, and checks what can be checked alone. */
SQ_MUST_USE sq_status ltx_header_decode(const uint8_t bytes[LTX_HEADER_BYTES], struct sq_error *err,
                                        struct ltx_header *ret_header);
SQ_MUST_USE sq_status ltx_trailer_decode(const uint8_t bytes[LTX_TRAILER_BYTES], struct sq_error *err,
                                         struct ltx_trailer *ret_trailer);

/* One of the files that are compacted into one. Reads at most `length` bytes; 0: the end. */
struct ltx_input {
    sq_status (*read_cb)(struct ltx_input *input, void *bytes, size_t length, struct sq_error *err, size_t *ret_length);
};
/* Merges consecutive files, oldest first (each one's min_txid is the max_txid of the one before it and 1, its pre_checksum the
 * other's post_checksum): of a page that is in several the newest wins, pages beyond the last page_count are left out. The inputs are
 * verified as they are read. Constant memory for each input. */
SQ_MUST_USE sq_status ltx_compact(struct ltx_input *const *inputs, size_t input_count, struct ltx_output *output,
                                  struct sq_error *err, struct ltx_header *ret_header, struct ltx_trailer *ret_trailer);

#endif
