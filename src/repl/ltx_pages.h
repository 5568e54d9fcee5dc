/* repl/ltx_pages.h: the pages of a whole LTX file, one after the other: of a log's file, or of one of our own. Constant memory.
 *
 * Threads: one at a time. */
#ifndef SQ_REPL_LTX_PAGES_H
#define SQ_REPL_LTX_PAGES_H

#include <stdint.h>

#include "base/status.h"
#include "wal/log.h"
#include "wal/ltx.h"

struct ltx_pages;

/* The reader becomes the pages', also on failure. Reads the header. */
SQ_MUST_USE sq_status ltx_pages_of_log(struct wal_log_reader *reader, struct sq_error *err,
                                       struct ltx_pages **ret_pages);
/* `fd` is the caller's; read from its beginning. */
SQ_MUST_USE sq_status ltx_pages_of_file(int fd, struct sq_error *err, struct ltx_pages **ret_pages);
void ltx_pages_close(struct ltx_pages *pages); /* NULL is allowed */

const struct ltx_header *ltx_pages_header(const struct ltx_pages *pages);
/* *ret_page_number 0: there are no more, and the file's checksum is right; else *ret_page is valid until the next call. */
SQ_MUST_USE sq_status ltx_pages_next(struct ltx_pages *pages, struct sq_error *err, uint32_t *ret_page_number,
                                     const void **ret_page);
const struct ltx_trailer *ltx_pages_trailer(const struct ltx_pages *pages); /* after the last page */
/* From the first page again. */
SQ_MUST_USE sq_status ltx_pages_rewind(struct ltx_pages *pages, struct sq_error *err);

#endif
