/* session/command_internal.h: the parser that the files command*.c share. Recursive descent with one token in hand:
 * parser_accept…() takes the token if it is the one asked for, parser_expect…() fails if it is not,
 * parser_fail_syntax() is the failure. Everything a command keeps is copied into the arena. */
#ifndef SQ_SESSION_COMMAND_INTERNAL_H
#define SQ_SESSION_COMMAND_INTERNAL_H

#include "engine/sql_lexer.h"
#include "session/command.h"

struct command_parser {
    struct sql_lexer lexer;
    struct sql_token token; /* the one in hand, not yet taken */
    struct sq_arena *arena;
    struct sq_error *err;
    struct command *command; /* the caller's, filled on success only */
};

/* A list that grows in the arena. */
struct command_list {
    void *items;
    size_t count;
    size_t capacity;
};

enum command_fold { COMMAND_FOLD_NONE, COMMAND_FOLD_LOWER };

void parser_advance(struct command_parser *parser);
/* The token behind the one in hand. */
struct sql_token parser_peek(const struct command_parser *parser);
/* Cuts the text by other rules (enum sql_lexer_flag) from the token in hand on. */
void parser_set_flags(struct command_parser *parser, unsigned flags);

bool parser_is(const struct command_parser *parser, const char *word);
bool parser_accept(struct command_parser *parser, const char *word);
bool parser_accept_kind(struct command_parser *parser, enum sql_token_kind kind);
SQ_MUST_USE sq_status parser_expect(struct command_parser *parser, const char *word);
SQ_MUST_USE sq_status parser_expect_kind(struct command_parser *parser, enum sql_token_kind kind);
bool parser_is_end(const struct command_parser *parser);
bool token_is_end(const struct sql_token *token);

/* 42601 at the token in hand. */
SQ_MUST_USE sq_status parser_fail_syntax(struct command_parser *parser);
/* Puts the place of `token` into the error that was just made, and passes `status` on. */
sq_status parser_place(const struct command_parser *parser, const struct sql_token *token, sq_status status);

/* A bare or quoted name. */
SQ_MUST_USE sq_status parser_name(struct command_parser *parser, enum command_fold fold, const char **ret_name);
SQ_MUST_USE sq_status parser_string(struct command_parser *parser, const char **ret_text);
SQ_MUST_USE sq_status parser_name_or_string(struct command_parser *parser, enum command_fold fold,
                                            const char **ret_name);
/* [schema.]table, spelling kept. */
SQ_MUST_USE sq_status parser_table(struct command_parser *parser, struct command_table *ret_table);
/* `name [, …]`, and the same in parentheses. */
SQ_MUST_USE sq_status parser_names(struct command_parser *parser, enum command_fold fold,
                                   struct command_names *ret_names);
SQ_MUST_USE sq_status parser_names_in_parentheses(struct command_parser *parser, enum command_fold fold,
                                                  struct command_names *ret_names);
/* [+|-] digits, within 32 bits. */
SQ_MUST_USE sq_status parser_integer(struct command_parser *parser, int64_t *ret_number);
/* A string, a word, a number with its sign: what SET and options take, as text. */
SQ_MUST_USE sq_status parser_value(struct command_parser *parser, const char **ret_value);

/* SQLite's text from the token in hand to the end of the statement; fails if there is none. */
SQ_MUST_USE sq_status parser_span_rest(struct command_parser *parser, struct command_span *ret_span);
/* SQLite's text up to the `)` that closes what is open before it, or, if asked, to a `,` outside parentheses. The
 * closing token is then in hand. Fails if there is no text. */
SQ_MUST_USE sq_status parser_span_in_parentheses(struct command_parser *parser, bool ends_at_comma,
                                                 struct command_span *ret_span);

SQ_MUST_USE sq_status parser_nomem(struct command_parser *parser);
/* Room for one more item of `item_bytes`, zeroed. */
SQ_MUST_USE sq_status parser_list_add(struct command_parser *parser, struct command_list *list, size_t item_bytes,
                                      void **ret_item);
SQ_MUST_USE sq_status parser_list_add_name(struct command_parser *parser, struct command_list *list, const char *name);
struct command_names command_list_names(const struct command_list *list);

/* One a statement; the first word is taken, and the rest of the statement up to its end is theirs. */
SQ_MUST_USE sq_status command_parse_set(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_show(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_reset(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_begin(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_start(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_commit(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_rollback(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_abort(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_savepoint(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_release(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_declare(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_fetch(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_move(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_close(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_prepare(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_execute(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_deallocate(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_copy(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_create(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_drop(struct command_parser *parser);
SQ_MUST_USE sq_status command_parse_alter(struct command_parser *parser);
/* Parts that several use. */
SQ_MUST_USE sq_status command_parse_modes(struct command_parser *parser, struct command_transaction_modes *ret_modes);
/* Names the command in words and passes over the rest of the statement. */
SQ_MUST_USE sq_status command_set_unsupported(struct command_parser *parser, const char *verb, const char *noun);

#endif
