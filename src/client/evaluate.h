/* client/evaluate.h: statements that name a file, and are done here instead of on the server: ATTACH, VACUUM INTO. Their
 * texts are taken apart into tokens, and their expressions evaluated by the shadow connection (remote.h, invariant 2) with
 * the statement's parameters. Threads: under the connection's mutex. */
#ifndef SQ_CLIENT_EVALUATE_H
#define SQ_CLIENT_EVALUATE_H

#include "client/statement.h"

/* A piece of a statement's text. */
struct client_piece {
    const char *start;
    size_t length;
};

/* The next token at *at, which goes behind it; an empty one at the end. */
struct client_piece client_token(const char **at);
/* Whether it is that word or character, in whatever case. */
bool client_piece_is(struct client_piece piece, const char *word);
/* Whether the character may be part of a name. */
bool client_is_word(char c);

/* Evaluates expressions, with commas between them. SQLITE_OK: *ret_row is a statement of the real library that has given a
 * row; the caller finalizes it. Else the error is recorded. */
int client_evaluate(struct client_statement *statement, const char *expressions, sqlite3_stmt **ret_row);

#endif
