/* engine/sql_lexer.h: SQL text cut into tokens the way SQLite cuts it, and what can be told about a statement from its
 * tokens alone: where it ends, what it does, which parameters it has, which command tag answers it.
 *
 * Nothing here parses SQL: SQLite does. The server needs these few facts before SQLite has seen the text (is this
 * `SET`?), or facts that SQLite does not tell (which `CREATE` was it?).
 *
 * All functions are pure, take linear time, read no byte outside (text, length), and allocate nothing but what
 * sql_token_unquote() takes from its arena. Any thread. */
#ifndef SQ_ENGINE_SQL_LEXER_H
#define SQ_ENGINE_SQL_LEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <strings.h>

#include "base/status.h"

struct sq_arena;

enum sql_token_kind {
    SQL_TOKEN_END = 0, /* behind the last token; length 0 */
    SQL_TOKEN_WORD,    /* a keyword or a bare identifier: SQLite decides by place which */
    SQL_TOKEN_QUOTED, /* "…", `…` or […]: an identifier (and "…" a string, where SQLite finds no such column) */
    SQL_TOKEN_STRING, /* '…'; in PostgreSQL mode also E'…' and $tag$…$tag$ */
    SQL_TOKEN_BLOB,   /* x'…' */
    SQL_TOKEN_NUMBER, /* 1, 1.5, 1e9, 0x1F */
    SQL_TOKEN_VARIABLE,  /* ?, ?1, :a, @a, #a, $a, $a::b(c) */
    SQL_TOKEN_SEMICOLON, /* ; */
    SQL_TOKEN_LEFT,      /* ( */
    SQL_TOKEN_RIGHT,     /* ) */
    SQL_TOKEN_COMMA,     /* , */
    SQL_TOKEN_DOT,       /* . */
    SQL_TOKEN_OPERATOR, /* everything else that is well-formed: + - * / % = == <> … -> ->>; `::` in PostgreSQL mode */
    SQL_TOKEN_ILLEGAL,  /* SQLite will refuse it: an unclosed quote, a lone `!`, a NUL byte, 12abc */
};

struct sql_token {
    enum sql_token_kind kind;
    size_t start;     /* byte offset in the lexer's text */
    size_t length;    /* bytes */
    const char *text; /* the token's first byte: text + start */
};

enum sql_lexer_flag {
    SQL_LEXER_SQLITE = 0,
    /* Tokens of PostgreSQL that SQLite cuts differently: `::` is an operator (and ends $1 before it), E'…' with
     * backslashes and $tag$…$tag$ are strings, `$1` is digits only. (PostgreSQL manual, "Lexical Structure".) */
    SQL_LEXER_POSTGRES = 1,
};

struct sql_lexer {
    const char *text;
    size_t length;
    size_t at; /* the next unread byte */
    unsigned flags;
};

void sql_lexer_init(struct sql_lexer *lexer, const char *text, size_t length, unsigned flags);

/* Fills *ret_token with the next token; spaces and comments are passed over. At the end, and ever after, END. */
void sql_lexer_next(struct sql_lexer *lexer, struct sql_token *ret_token);

/* Whether the token is this bare word (any case) or operator. A quoted "select" is no SELECT. */
static inline bool sql_token_is(const struct sql_token *token, const char *word)
{
    return (token->kind == SQL_TOKEN_WORD || token->kind == SQL_TOKEN_OPERATOR) &&
           strncasecmp(token->text, word, token->length) == 0 && word[token->length] == '\0';
}

/* The token's meaning as text, NUL-terminated, from the arena: quotes taken off a WORD's, QUOTED's or STRING's text and
 * doubled quotes made one (E'…' escapes decoded); other tokens as they stand. NULL if there is no memory.
 * *ret_length may be NULL. */
SQ_MUST_USE char *sql_token_unquote(const struct sql_token *token, struct sq_arena *arena, size_t *ret_length);

/* The N of a variable `$N` (also `$N::type`, which SQLite takes for one variable): false if the token is none.
 * Numbers above UINT32_MAX come as UINT32_MAX. */
bool sql_token_dollar_number(const struct sql_token *token, uint32_t *ret_number);

/* Byte offset behind the `;` that ends the first statement; `length` if none does (*ret_is_complete, which may be NULL,
 * is then false). Semicolons before the statement belong to it, as for SQLite. A CREATE TRIGGER ends at `;END;`:
 * sqlite.org/c3ref/complete.html. */
size_t sql_statement_end(const char *text, size_t length, bool *ret_is_complete);

enum sql_verb {
    SQL_VERB_NONE = 0, /* no statement: nothing but spaces, comments and `;` */
    SQL_VERB_OTHER,    /* none of SQLite's */
    SQL_VERB_SELECT,
    SQL_VERB_VALUES,
    SQL_VERB_INSERT,
    SQL_VERB_REPLACE,
    SQL_VERB_UPDATE,
    SQL_VERB_DELETE,
    SQL_VERB_CREATE,
    SQL_VERB_DROP,
    SQL_VERB_ALTER,
    SQL_VERB_BEGIN,
    SQL_VERB_COMMIT, /* also END */
    SQL_VERB_ROLLBACK,
    SQL_VERB_SAVEPOINT,
    SQL_VERB_RELEASE,
    SQL_VERB_EXPLAIN, /* an EXPLAIN of nothing; else the verb is that of the statement explained */
    SQL_VERB_PRAGMA,
    SQL_VERB_VACUUM,
    SQL_VERB_ANALYZE,
    SQL_VERB_REINDEX,
    SQL_VERB_ATTACH,
    SQL_VERB_DETACH,
    SQL_VERB_COUNT,
};

enum sql_noun { SQL_NOUN_NONE = 0, SQL_NOUN_TABLE, SQL_NOUN_INDEX, SQL_NOUN_VIEW, SQL_NOUN_TRIGGER, SQL_NOUN_COUNT };

enum {
    SQL_PARAMETER_NUMBER_MAX = 65535, /* Bind counts parameters in 16 bits (manual, "Message Formats") */
    SQL_COMMAND_TAG_MAX = 64,         /* bytes of a tag with its NUL */
};

/* What the first statement's tokens say. */
struct sql_statement_shape {
    enum sql_verb verb; /* looked up behind EXPLAIN [QUERY PLAN] and WITH … */
    enum sql_noun noun; /* of CREATE, DROP, ALTER */
    bool is_empty;      /* verb is NONE */
    bool is_explain;
    bool is_query_plan;             /* EXPLAIN QUERY PLAN */
    bool is_complete;               /* a `;` ends it */
    bool is_rollback_to;            /* ROLLBACK TO: ends no transaction */
    bool is_temp;                   /* CREATE TEMP … */
    bool is_virtual;                /* CREATE VIRTUAL TABLE */
    bool has_session_names;         /* sql_session_name_next() finds one; only of SELECT … DELETE */
    bool has_catalog_names;         /* pg_catalog, information_schema, or any name pg_… */
    bool has_double_colon;          /* x::type somewhere, outside quotes */
    bool has_dollar_numbers;        /* $N */
    bool has_other_parameters;      /* ?, ?N, :a, @a, $a */
    bool is_parameter_out_of_range; /* $0, or above SQL_PARAMETER_NUMBER_MAX */
    uint32_t dollar_number_max;     /* highest N of $N; 0: none */
    size_t verb_start;              /* byte offset of the verb's token */
    size_t end;                     /* byte offset behind the statement and its `;` */
};

struct sql_statement_shape sql_statement_inspect(const char *text, size_t length);

/* Moves on to the next word that PostgreSQL knows without parentheses and SQLite takes for a column: current_user,
 * session_user, current_role, current_catalog, current_schema, localtime, localtimestamp; bare, neither followed by `(`
 * or `.` nor preceded by `.` or AS. `user` is not among them: it is too good a name for a table. False at the end of
 * the text (not only of the statement). The lexer must be fresh or have been moved by this function only. */
bool sql_session_name_next(struct sql_lexer *lexer, struct sql_token *ret_token);

/* PostgreSQL's command tag ("INSERT 0 3", "CREATE TABLE") for a statement of this shape that gave or changed `rows`
 * (manual, "Message Formats", CommandComplete). Returns its length; 0 and "" if the statement has none. */
size_t sql_command_tag(const struct sql_statement_shape *shape, uint64_t rows, char out[SQL_COMMAND_TAG_MAX]);

#endif
