/* session/position.h: positions as sessions speak of them: `SHOW sqld.position`, `SET sqld.min_position`, sqld.consistency.
 *
 *     1/000000000000002a/c3a91f0e77d20b54
 *     │ │                └ checksum of the database at that point, 16 hexadecimal digits
 *     │ └ TXID: how many transactions the database has had, 16 hexadecimal digits
 *     └ timeline, decimal
 *
 * Pure functions, any thread. */
#ifndef SQ_SESSION_POSITION_H
#define SQ_SESSION_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "repl/node.h"

enum { POSITION_TEXT_BYTES = 64 /* with its NUL */ };

void position_format(const struct wal_position *position, char out[POSITION_TEXT_BYTES]);
/* False: the text is none; *ret_position is untouched. Fewer digits than 16 are allowed. */
bool position_parse(const char *text, struct wal_position *ret_position);
bool position_equals(const struct wal_position *a, const struct wal_position *b);

/* What a read is sure to see:
 *   local     what is there
 *   session   whatever this session has written or seen before, and sqld.min_position
 *   bounded   the same, and everything that is older than age_us_max
 *   strong    the same, and everything that was committed at the primary before the read */
enum position_mode { POSITION_LOCAL, POSITION_SESSION, POSITION_BOUNDED, POSITION_STRONG };
struct position_rule {
    enum position_mode mode;
    int64_t age_us_max; /* of BOUNDED */
};
/* Of `local`, `session`, `bounded(milliseconds)`, `strong`. False: it is none of them. */
bool position_rule_parse(const char *text, struct position_rule *ret_rule);

#endif
