/* engine/sql_lexer.c: the tokens. What is asked about whole statements is in sql_shape.c.
 *
 * The rules are those of SQLite's tokenizer, by observation and by sqlite.org/lang.html and lang_expr.html; the unit
 * test holds them against the library by comparing where it says `unrecognized token` and `near "…"`. Some are worth
 * knowing:
 *
 *   - bytes from 0x80 on are letters; `$` is one inside a word but not at its start;
 *   - an unclosed block comment reaches to the end and is no error, but a bare slash-star as the very last two bytes is
 *     two operators;
 *   - an unclosed quote, a malformed blob, digits with letters at their end are illegal tokens;
 *   - a byte order mark between tokens is a space.
 *
 * One difference: SQLite reads up to the first NUL. Here a NUL byte is an illegal token, so that nothing hides behind
 * it.
 *
 * Every scanner below returns the offset behind its token and looks only at bytes through peek(), which gives 0 past
 * the end. A scanner that searches for a closing mark takes everything when it finds none, so it stays linear. */
#include "engine/sql_lexer.h"

#include <string.h>

#include "base/arena.h"

static unsigned char peek(const struct sql_lexer *lexer, size_t at)
{
    return at < lexer->length ? (unsigned char)lexer->text[at] : 0;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(unsigned char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_word_start(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_word(unsigned char c)
{
    return is_word_start(c) || is_digit(c) || c == '$';
}

/* A vertical tab is a space after another space only: SQLite's tokenizer uses two tables. */
static bool is_space_start(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_postgres(const struct sql_lexer *lexer)
{
    return (lexer->flags & SQL_LEXER_POSTGRES) != 0;
}

static size_t scan_block_comment(const struct sql_lexer *lexer, size_t at)
{
    for (at += 2; at < lexer->length; at++) {
        if (lexer->text[at] == '*' && peek(lexer, at + 1) == '/')
            return at + 2;
    }
    return lexer->length;
}

static size_t skip_space(const struct sql_lexer *lexer, size_t at)
{
    for (;;) {
        unsigned char c = peek(lexer, at);
        if (is_space_start(c)) {
            while (is_space(peek(lexer, at)))
                at++;
        } else if (c == '-' && peek(lexer, at + 1) == '-') {
            const char *newline = memchr(lexer->text + at, '\n', lexer->length - at);
            at = newline != NULL ? (size_t)(newline - lexer->text) : lexer->length;
        } else if (c == '/' && peek(lexer, at + 1) == '*' && at + 2 < lexer->length) {
            at = scan_block_comment(lexer, at);
        } else if (c == 0xef && peek(lexer, at + 1) == 0xbb && peek(lexer, at + 2) == 0xbf) {
            at += 3;
        } else {
            return at;
        }
    }
}

/* '…', "…", `…`: the mark doubled stands for itself. */
static size_t scan_quoted(const struct sql_lexer *lexer, size_t at, enum sql_token_kind kind,
                          enum sql_token_kind *ret_kind)
{
    unsigned char mark = peek(lexer, at);
    *ret_kind = SQL_TOKEN_ILLEGAL;
    for (at++; at < lexer->length && lexer->text[at] != '\0'; at++) {
        if ((unsigned char)lexer->text[at] != mark)
            continue;
        if (peek(lexer, at + 1) != mark) {
            *ret_kind = kind;
            return at + 1;
        }
        at++;
    }
    return at;
}

/* PostgreSQL's E'…' from its E on: a backslash takes the byte behind it along. */
static size_t scan_escape_string(const struct sql_lexer *lexer, size_t at, enum sql_token_kind *ret_kind)
{
    *ret_kind = SQL_TOKEN_ILLEGAL;
    for (at += 2; at < lexer->length && lexer->text[at] != '\0'; at++) {
        if (lexer->text[at] == '\\') {
            if (peek(lexer, at + 1) == '\0')
                return at + 1;
            at++;
        } else if (lexer->text[at] == '\'') {
            if (peek(lexer, at + 1) != '\'') {
                *ret_kind = SQL_TOKEN_STRING;
                return at + 1;
            }
            at++;
        }
    }
    return at;
}

static size_t scan_bracketed(const struct sql_lexer *lexer, size_t at, enum sql_token_kind *ret_kind)
{
    while (at < lexer->length && lexer->text[at] != ']' && lexer->text[at] != '\0')
        at++;
    bool is_closed = peek(lexer, at) == ']';
    *ret_kind = is_closed ? SQL_TOKEN_QUOTED : SQL_TOKEN_ILLEGAL;
    return is_closed ? at + 1 : at;
}

static size_t scan_blob(const struct sql_lexer *lexer, size_t at, enum sql_token_kind *ret_kind)
{
    size_t start = at + 2;
    for (at = start; is_hex(peek(lexer, at)); at++) {
    }
    *ret_kind = SQL_TOKEN_BLOB;
    if (peek(lexer, at) == '\'' && (at - start) % 2 == 0)
        return at + 1;
    *ret_kind = SQL_TOKEN_ILLEGAL;
    while (at < lexer->length && lexer->text[at] != '\'' && lexer->text[at] != '\0')
        at++;
    return peek(lexer, at) == '\'' ? at + 1 : at;
}

/* Digits; since SQLite 3.46 with `_` between two of them. Older ones refuse such a number with the same extent. */
static size_t scan_digits(const struct sql_lexer *lexer, size_t at, bool (*is_one)(unsigned char))
{
    while (is_one(peek(lexer, at)) ||
           (peek(lexer, at) == '_' && at > 0 && is_one(peek(lexer, at - 1)) && is_one(peek(lexer, at + 1))))
        at++;
    return at;
}

static size_t scan_number(const struct sql_lexer *lexer, size_t at, enum sql_token_kind *ret_kind)
{
    *ret_kind = SQL_TOKEN_NUMBER;
    if (peek(lexer, at) == '0' && (peek(lexer, at + 1) | 0x20) == 'x' && is_hex(peek(lexer, at + 2)))
        return scan_digits(lexer, at + 2, is_hex);
    at = scan_digits(lexer, at, is_digit);
    if (peek(lexer, at) == '.')
        at = scan_digits(lexer, at + 1, is_digit);
    if ((peek(lexer, at) | 0x20) == 'e') {
        bool has_sign = peek(lexer, at + 1) == '+' || peek(lexer, at + 1) == '-';
        if (is_digit(peek(lexer, at + (has_sign ? 2 : 1))))
            at = scan_digits(lexer, at + (has_sign ? 2 : 1), is_digit);
    }
    for (; is_word(peek(lexer, at)); at++)
        *ret_kind = SQL_TOKEN_ILLEGAL;
    return at;
}

/* :a, @a, #a, $a with SQLite's tail for Tcl, `$a::b(c)` (sqlite.org/lang_expr.html, "Parameters"). */
static size_t scan_variable(const struct sql_lexer *lexer, size_t at, enum sql_token_kind *ret_kind)
{
    size_t letter_count = 0;
    *ret_kind = SQL_TOKEN_VARIABLE;
    for (at++; at < lexer->length; at++) {
        unsigned char c = peek(lexer, at);
        if (is_word(c)) {
            letter_count++;
        } else if (c == '(' && letter_count > 0 && !is_postgres(lexer)) {
            do {
                at++;
                c = peek(lexer, at);
            } while (c != 0 && !is_space(c) && c != ')');
            if (c == ')')
                at++;
            else
                *ret_kind = SQL_TOKEN_ILLEGAL;
            break;
        } else if (c == ':' && peek(lexer, at + 1) == ':' && !is_postgres(lexer)) {
            at++;
        } else {
            break;
        }
    }
    if (letter_count == 0)
        *ret_kind = SQL_TOKEN_ILLEGAL;
    return at;
}

/* PostgreSQL's $…: `$1`, or $tag$…$tag$ (manual, "Dollar-Quoted String Constants"), or else as SQLite has it. */
static size_t scan_dollar(const struct sql_lexer *lexer, size_t at, enum sql_token_kind *ret_kind)
{
    size_t start = at++;
    if (is_digit(peek(lexer, at))) {
        *ret_kind = SQL_TOKEN_VARIABLE;
        while (is_digit(peek(lexer, at)))
            at++;
        return at;
    }
    while (is_word(peek(lexer, at)) && peek(lexer, at) != '$')
        at++;
    if (peek(lexer, at) != '$')
        return scan_variable(lexer, start, ret_kind);
    at++;
    const char *tag = lexer->text + start;
    const char *close = memmem(lexer->text + at, lexer->length - at, tag, at - start);
    *ret_kind = close != NULL ? SQL_TOKEN_STRING : SQL_TOKEN_ILLEGAL;
    return close != NULL ? (size_t)(close - lexer->text) + (at - start) : lexer->length;
}

/* Operators of more than one byte, longest first where one begins another. */
static size_t scan_operator(const struct sql_lexer *lexer, size_t at, enum sql_token_kind *ret_kind)
{
    static const char *const sqlite_operators[] = {"->>", "->", "==", "<=", "<>", "<<", ">=", ">>", "!=", "||"};
    static const char sqlite_singles[] = "+-*/%=<>|&~";
    static const char postgres_singles[] = "!^@#?[]:";

    *ret_kind = SQL_TOKEN_OPERATOR;
    for (size_t i = 0; i < sizeof(sqlite_operators) / sizeof(sqlite_operators[0]); i++) {
        size_t length = strlen(sqlite_operators[i]);
        if (lexer->length - at >= length && memcmp(lexer->text + at, sqlite_operators[i], length) == 0)
            return at + length;
    }
    unsigned char c = peek(lexer, at);
    bool is_one = c != 0 && (strchr(sqlite_singles, c) != NULL || (is_postgres(lexer) && strchr(postgres_singles, c)));
    if (!is_one)
        *ret_kind = SQL_TOKEN_ILLEGAL;
    return at + 1;
}

static size_t scan_word(const struct sql_lexer *lexer, size_t at, enum sql_token_kind *ret_kind)
{
    unsigned char c = peek(lexer, at) | 0x20;
    if (c == 'x' && peek(lexer, at + 1) == '\'')
        return scan_blob(lexer, at, ret_kind);
    if (c == 'e' && peek(lexer, at + 1) == '\'' && is_postgres(lexer))
        return scan_escape_string(lexer, at, ret_kind);
    *ret_kind = SQL_TOKEN_WORD;
    while (is_word(peek(lexer, at)))
        at++;
    return at;
}

/* What begins with ?, :, @, #, $. */
static size_t scan_parameter(const struct sql_lexer *lexer, size_t at, enum sql_token_kind *ret_kind)
{
    unsigned char c = peek(lexer, at);
    if (c == '?') {
        *ret_kind = SQL_TOKEN_VARIABLE;
        for (at++; is_digit(peek(lexer, at)); at++) {
        }
        return at;
    }
    if (is_postgres(lexer)) {
        if (c == '$')
            return scan_dollar(lexer, at, ret_kind);
        if (c == ':' && peek(lexer, at + 1) == ':') {
            *ret_kind = SQL_TOKEN_OPERATOR;
            return at + 2;
        }
        if (!is_word(peek(lexer, at + 1)))
            return scan_operator(lexer, at, ret_kind);
    }
    return scan_variable(lexer, at, ret_kind);
}

static size_t scan_token(const struct sql_lexer *lexer, size_t at, enum sql_token_kind *ret_kind)
{
    unsigned char c = peek(lexer, at);
    if (is_word_start(c))
        return scan_word(lexer, at, ret_kind);
    if (is_digit(c) || (c == '.' && is_digit(peek(lexer, at + 1))))
        return scan_number(lexer, at, ret_kind);
    switch (c) {
    case ';':
        *ret_kind = SQL_TOKEN_SEMICOLON;
        return at + 1;
    case '(':
        *ret_kind = SQL_TOKEN_LEFT;
        return at + 1;
    case ')':
        *ret_kind = SQL_TOKEN_RIGHT;
        return at + 1;
    case ',':
        *ret_kind = SQL_TOKEN_COMMA;
        return at + 1;
    case '.':
        *ret_kind = SQL_TOKEN_DOT;
        return at + 1;
    case '\'':
        return scan_quoted(lexer, at, SQL_TOKEN_STRING, ret_kind);
    case '"':
    case '`':
        return scan_quoted(lexer, at, SQL_TOKEN_QUOTED, ret_kind);
    case '[':
        return is_postgres(lexer) ? scan_operator(lexer, at, ret_kind) : scan_bracketed(lexer, at, ret_kind);
    case '?':
    case ':':
    case '@':
    case '#':
    case '$':
        return scan_parameter(lexer, at, ret_kind);
    default:
        return scan_operator(lexer, at, ret_kind);
    }
}

void sql_lexer_init(struct sql_lexer *lexer, const char *text, size_t length, unsigned flags)
{
    sq_assert(text != NULL || length == 0);
    *lexer = (struct sql_lexer){.text = text != NULL ? text : "", .length = length, .flags = flags};
}

void sql_lexer_next(struct sql_lexer *lexer, struct sql_token *ret_token)
{
    size_t start = skip_space(lexer, lexer->at);
    size_t end = start;
    enum sql_token_kind kind = SQL_TOKEN_END;
    if (start < lexer->length)
        end = scan_token(lexer, start, &kind);
    sq_assert(end <= lexer->length && (end > start || kind == SQL_TOKEN_END));

    lexer->at = end;
    *ret_token = (struct sql_token){.kind = kind, .start = start, .length = end - start, .text = lexer->text + start};
}

bool sql_token_dollar_number(const struct sql_token *token, uint32_t *ret_number)
{
    if (token->kind != SQL_TOKEN_VARIABLE || token->length < 2 || token->text[0] != '$')
        return false;
    uint64_t number = 0;
    size_t at = 1;
    for (; at < token->length && is_digit((unsigned char)token->text[at]); at++) {
        if (number <= UINT32_MAX)
            number = number * 10 + (uint64_t)(token->text[at] - '0');
    }
    bool is_tail = at + 2 <= token->length && memcmp(token->text + at, "::", 2) == 0;
    if (at == 1 || (at < token->length && !is_tail))
        return false;
    *ret_number = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    return true;
}

/* Code point to UTF-8, as far as it is one; surrogates and too large ones become U+FFFD. */
static size_t put_utf8(char *out, uint32_t point)
{
    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        point = 0xfffd;
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t tail_count = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const unsigned char heads[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(heads[tail_count] | (point >> (6 * tail_count)));
    for (size_t i = 1; i <= tail_count; i++)
        out[i] = (char)(0x80 | ((point >> (6 * (tail_count - i))) & 0x3f));
    return tail_count + 1;
}

static unsigned digit_value(char c)
{
    return is_digit((unsigned char)c) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

/* Reads up to `max` digits of `base` at text[*at]; false if there is none. */
static bool read_digits(const char *text, size_t length, size_t *at, size_t max, unsigned base, uint32_t *ret_value)
{
    uint32_t value = 0;
    size_t count = 0;
    for (; count < max && *at < length && is_hex((unsigned char)text[*at]) && digit_value(text[*at]) < base; count++)
        value = value * base + digit_value(text[(*at)++]);
    *ret_value = value;
    return count > 0;
}

/* One backslash escape at text[*at] (behind the backslash), written to `out`; never longer than its source
 * (manual, "String Constants with C-Style Escapes"). */
static size_t decode_escape(const char *text, size_t length, size_t *at, char *out)
{
    static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
    char c = text[*at];
    uint32_t value;
    if (c >= '0' && c <= '7' && read_digits(text, length, at, 3, 8, &value)) {
        out[0] = (char)(value & 0xff);
        return 1;
    }
    (*at)++;
    const char *found = c != '\0' ? strchr(names, c) : NULL;
    if (found != NULL)
        c = values[found - names];
    if (c == 'x' && read_digits(text, length, at, 2, 16, &value)) {
        out[0] = (char)value;
        return 1;
    }
    if ((c == 'u' && read_digits(text, length, at, 4, 16, &value)) ||
        (c == 'U' && read_digits(text, length, at, 8, 16, &value))) {
        return put_utf8(out, value);
    }
    out[0] = c;
    return 1;
}

static char *unquote_escape_string(const struct sql_token *token, struct sq_arena *arena, size_t *ret_length)
{
    const char *text = token->text + 2;
    size_t length = token->length - 3, used = 0;
    /* The shortest escape of a long character, \u80 or \uffff, makes as many bytes as it has at most. */
    char *out = sq_arena_alloc(arena, length + 4);
    if (out == NULL)
        return NULL;
    for (size_t at = 0; at < length;) {
        if (text[at] == '\\' && at + 1 < length) {
            at++;
            used += decode_escape(text, length, &at, out + used);
        } else {
            if (text[at] == '\'')
                at++;
            out[used++] = text[at++];
        }
        sq_assert(used <= at && at <= length);
    }
    out[used] = '\0';
    if (ret_length != NULL)
        *ret_length = used;
    return out;
}

static char *copy_text(struct sq_arena *arena, const char *text, size_t length, size_t *ret_length)
{
    char *copy = sq_arena_copy(arena, text, length);
    if (copy != NULL && ret_length != NULL)
        *ret_length = length;
    return copy;
}

char *sql_token_unquote(const struct sql_token *token, struct sq_arena *arena, size_t *ret_length)
{
    if (token->kind != SQL_TOKEN_STRING && token->kind != SQL_TOKEN_QUOTED)
        return copy_text(arena, token->text, token->length, ret_length);
    sq_assert(token->length >= 2);
    char mark = token->text[0];
    if (mark == '[')
        return copy_text(arena, token->text + 1, token->length - 2, ret_length);
    if (mark == 'e' || mark == 'E')
        return unquote_escape_string(token, arena, ret_length);
    if (mark == '$') {
        size_t tag_length = (size_t)((const char *)memchr(token->text + 1, '$', token->length - 1) - token->text) + 1;
        return copy_text(arena, token->text + tag_length, token->length - 2 * tag_length, ret_length);
    }
    char *out = sq_arena_alloc(arena, token->length);
    if (out == NULL)
        return NULL;
    size_t used = 0;
    for (size_t at = 1; at + 1 < token->length; at++) {
        out[used++] = token->text[at];
        if (token->text[at] == mark)
            at++;
    }
    out[used] = '\0';
    if (ret_length != NULL)
        *ret_length = used;
    return out;
}
