/* wal/ltx.c: header and trailer of an LTX file, to bytes and back. */
#include "wal/ltx_internal.h"

#include <inttypes.h>
#include <lz4.h>

static const char ltx_magic[4] = {'L', 'T', 'X', '1'};

/* Where the fields of a header begin. */
enum {
    AT_FLAGS = 4,
    AT_PAGE_BYTES = 8,
    AT_PAGE_COUNT = 12,
    AT_MIN_TXID = 16,
    AT_MAX_TXID = 24,
    AT_TIMESTAMP = 32,
    AT_PRE_CHECKSUM = 40,
    AT_WAL_OFFSET = 48,
    AT_WAL_BYTES = 56,
    AT_WAL_SALT1 = 64,
    AT_WAL_SALT2 = 68,
    AT_NODE_ID = 72,
    AT_RESERVED = 80,
};

uint32_t ltx_payload_bytes_max(uint32_t page_bytes)
{
    return (uint32_t)LZ4_COMPRESSBOUND(page_bytes);
}

static sq_status check_wal(const struct ltx_header *header, struct sq_error *err)
{
    if (header->wal_offset > INT64_MAX || header->wal_bytes > INT64_MAX - header->wal_offset)
        return sq_fail(err, SQ_INVALID, "LTX header: place in the WAL %" PRIu64 " and %" PRIu64 " bytes",
                       header->wal_offset, header->wal_bytes);
    if (header->wal_offset == 0 && (header->wal_bytes != 0 || header->wal_salt1 != 0 || header->wal_salt2 != 0))
        return sq_fail(err, SQ_INVALID, "LTX header: salts or length of a WAL without a place in it");
    return SQ_OK;
}

sq_status ltx_header_check(const struct ltx_header *header, struct sq_error *err)
{
    if ((header->flags & 2) != 0)
        return sq_fail(err, SQ_INVALID, "LTX header: the file has no checksums of the database");
    if (header->flags != 0)
        return sq_fail(err, SQ_INVALID, "LTX header: unknown flags %08" PRIx32, header->flags);
    if (header->page_bytes < LTX_PAGE_BYTES_MIN || header->page_bytes > LTX_PAGE_BYTES_MAX ||
        (header->page_bytes & (header->page_bytes - 1)) != 0)
        return sq_fail(err, SQ_INVALID, "LTX header: page size %" PRIu32, header->page_bytes);
    if (header->min_txid == 0 || header->min_txid > header->max_txid || header->max_txid > LTX_TXID_MAX)
        return sq_fail(err, SQ_INVALID, "LTX header: transactions %" PRIu64 " to %" PRIu64, header->min_txid,
                       header->max_txid);
    if (header->min_txid == 1 && header->pre_checksum != 0)
        return sq_fail(err, SQ_INVALID, "LTX header: a snapshot with a checksum of the database before it");
    if (header->min_txid != 1 && (header->pre_checksum & WAL_CHECKSUM_FLAG) == 0)
        return sq_fail(err, SQ_INVALID, "LTX header: %016" PRIx64 " as the database's checksum before",
                       header->pre_checksum);
    return check_wal(header, err);
}

void ltx_header_encode(const struct ltx_header *header, uint8_t bytes[LTX_HEADER_BYTES])
{
    memcpy(bytes, ltx_magic, sizeof(ltx_magic));
    wal_put_u32(bytes + AT_FLAGS, header->flags);
    wal_put_u32(bytes + AT_PAGE_BYTES, header->page_bytes);
    wal_put_u32(bytes + AT_PAGE_COUNT, header->page_count);
    wal_put_u64(bytes + AT_MIN_TXID, header->min_txid);
    wal_put_u64(bytes + AT_MAX_TXID, header->max_txid);
    wal_put_u64(bytes + AT_TIMESTAMP, (uint64_t)header->timestamp_ms);
    wal_put_u64(bytes + AT_PRE_CHECKSUM, header->pre_checksum);
    wal_put_u64(bytes + AT_WAL_OFFSET, header->wal_offset);
    wal_put_u64(bytes + AT_WAL_BYTES, header->wal_bytes);
    wal_put_u32(bytes + AT_WAL_SALT1, header->wal_salt1);
    wal_put_u32(bytes + AT_WAL_SALT2, header->wal_salt2);
    wal_put_u64(bytes + AT_NODE_ID, header->node_id);
    memset(bytes + AT_RESERVED, 0, LTX_HEADER_BYTES - AT_RESERVED);
}

sq_status ltx_header_decode(const uint8_t bytes[LTX_HEADER_BYTES], struct sq_error *err, struct ltx_header *ret_header)
{
    if (memcmp(bytes, ltx_magic, sizeof(ltx_magic)) != 0)
        return sq_fail(err, SQ_CORRUPT, "not an LTX file: it begins with %08" PRIx32, wal_get_u32(bytes));
    struct ltx_header header = {
        .flags = wal_get_u32(bytes + AT_FLAGS),
        .page_bytes = wal_get_u32(bytes + AT_PAGE_BYTES),
        .page_count = wal_get_u32(bytes + AT_PAGE_COUNT),
        .min_txid = wal_get_u64(bytes + AT_MIN_TXID),
        .max_txid = wal_get_u64(bytes + AT_MAX_TXID),
        .timestamp_ms = (int64_t)wal_get_u64(bytes + AT_TIMESTAMP),
        .pre_checksum = wal_get_u64(bytes + AT_PRE_CHECKSUM),
        .wal_offset = wal_get_u64(bytes + AT_WAL_OFFSET),
        .wal_bytes = wal_get_u64(bytes + AT_WAL_BYTES),
        .wal_salt1 = wal_get_u32(bytes + AT_WAL_SALT1),
        .wal_salt2 = wal_get_u32(bytes + AT_WAL_SALT2),
        .node_id = wal_get_u64(bytes + AT_NODE_ID),
    };
    struct sq_error why;
    sq_error_clear(&why);
    if (ltx_header_check(&header, &why) != SQ_OK)
        return sq_fail(err, SQ_CORRUPT, "%s", why.text);
    *ret_header = header;
    return SQ_OK;
}

void ltx_trailer_encode(const struct ltx_trailer *trailer, uint8_t bytes[LTX_TRAILER_BYTES])
{
    wal_put_u64(bytes, trailer->post_checksum);
    wal_put_u64(bytes + 8, trailer->file_checksum);
}

sq_status ltx_trailer_decode(const uint8_t bytes[LTX_TRAILER_BYTES], struct sq_error *err,
                             struct ltx_trailer *ret_trailer)
{
    struct ltx_trailer trailer = {.post_checksum = wal_get_u64(bytes), .file_checksum = wal_get_u64(bytes + 8)};
    if ((trailer.post_checksum & WAL_CHECKSUM_FLAG) == 0 || (trailer.file_checksum & WAL_CHECKSUM_FLAG) == 0)
        return sq_fail(err, SQ_CORRUPT, "LTX trailer: checksums %016" PRIx64 " and %016" PRIx64, trailer.post_checksum,
                       trailer.file_checksum);
    *ret_trailer = trailer;
    return SQ_OK;
}
