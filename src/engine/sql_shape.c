/* engine/sql_shape.c: what a statement's tokens tell: its end, its verb, its parameters, its command tag. One pass, one
 * token of lookbehind; see sql_lexer.h for what the answers are for.
 *
 *   the end       struct boundary, after the description at sqlite.org/c3ref/complete.html:
 *
 *                   START ──CREATE [TEMP]──► CREATE ──TRIGGER──► TRIGGER ──;──► SEMICOLON ──END──► END ──;──► (end)
 *                     │                        │                   ▲                │               │
 *                     └──other──► PLAIN ◄─other┘                   └──── other ─────┴───── other ───┘
 *                                   └──;──► (end)
 *
 *   the verb      struct inspector: EXPLAIN and WITH are looked through; a WITH's own verb follows a `)` outside all
 *                 parentheses (sqlite.org/lang_with.html), because between the closed bodies stand only commas. */
#include <stdio.h>
#include <string.h>

#include "engine/sql_lexer.h"

/* --- the end --- */

enum boundary {
    BOUNDARY_START = 0, /* nothing yet but semicolons */
    BOUNDARY_PLAIN,
    BOUNDARY_EXPLAIN,
    BOUNDARY_CREATE,
    BOUNDARY_TRIGGER,
    BOUNDARY_SEMICOLON,
    BOUNDARY_END,
};

static bool is_temp_word(const struct sql_token *token)
{
    return sql_token_is(token, "TEMP") || sql_token_is(token, "TEMPORARY");
}

/* True if the token is the semicolon that ends the statement. */
static bool boundary_feed(enum boundary *state, const struct sql_token *token)
{
    bool is_semicolon = token->kind == SQL_TOKEN_SEMICOLON;
    switch (*state) {
    case BOUNDARY_START:
        if (is_semicolon)
            return false;
        *state = sql_token_is(token, "EXPLAIN")  ? BOUNDARY_EXPLAIN
                 : sql_token_is(token, "CREATE") ? BOUNDARY_CREATE
                                                 : BOUNDARY_PLAIN;
        return false;
    case BOUNDARY_EXPLAIN:
        if (sql_token_is(token, "CREATE"))
            *state = BOUNDARY_CREATE;
        else if (sql_token_is(token, "EXPLAIN") || sql_token_is(token, "TRIGGER") || sql_token_is(token, "END") ||
                 is_temp_word(token))
            *state = BOUNDARY_PLAIN;
        return is_semicolon;
    case BOUNDARY_CREATE:
        if (sql_token_is(token, "TRIGGER"))
            *state = BOUNDARY_TRIGGER;
        else if (!is_temp_word(token))
            *state = BOUNDARY_PLAIN;
        return is_semicolon;
    case BOUNDARY_TRIGGER:
        if (is_semicolon)
            *state = BOUNDARY_SEMICOLON;
        return false;
    case BOUNDARY_SEMICOLON:
        if (!is_semicolon)
            *state = sql_token_is(token, "END") ? BOUNDARY_END : BOUNDARY_TRIGGER;
        return false;
    case BOUNDARY_END:
        *state = BOUNDARY_TRIGGER;
        return is_semicolon;
    case BOUNDARY_PLAIN:
        break;
    }
    return is_semicolon;
}

size_t sql_statement_end(const char *text, size_t length, bool *ret_is_complete)
{
    struct sql_lexer lexer;
    struct sql_token token;
    enum boundary state = BOUNDARY_START;
    bool is_complete = false;

    sql_lexer_init(&lexer, text, length, SQL_LEXER_SQLITE);
    for (sql_lexer_next(&lexer, &token); token.kind != SQL_TOKEN_END; sql_lexer_next(&lexer, &token)) {
        bool is_end = boundary_feed(&state, &token);
        is_complete = is_end || state == BOUNDARY_START;
        if (is_end)
            break;
    }
    if (ret_is_complete != NULL)
        *ret_is_complete = is_complete;
    return token.kind == SQL_TOKEN_END ? length : token.start + token.length;
}

/* --- session names --- */

/* Words that stand for a function without parentheses: PostgreSQL manual, "System Information Functions" and
 * "Date/Time Functions". current_date, current_time and current_timestamp are SQLite's own. */
static bool is_session_word(const struct sql_token *token)
{
    static const char *const words[] = {"current_user",   "session_user", "current_role",  "current_catalog",
                                        "current_schema", "localtime",    "localtimestamp"};
    /* Almost no word is one of these: two cheap looks spare the comparisons. */
    if (token->kind != SQL_TOKEN_WORD || token->length < 9)
        return false;
    char first = (char)(token->text[0] | 0x20);
    if (first != 'c' && first != 's' && first != 'l')
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (sql_token_is(token, words[i]))
            return true;
    }
    return false;
}

/* Whether an expression can begin behind this token. Behind a closed one, a word is an alias. */
static bool may_precede_session_word(const struct sql_token *previous)
{
    switch (previous->kind) {
    case SQL_TOKEN_DOT:
    case SQL_TOKEN_RIGHT:
    case SQL_TOKEN_NUMBER:
    case SQL_TOKEN_STRING:
    case SQL_TOKEN_BLOB:
    case SQL_TOKEN_QUOTED:
    case SQL_TOKEN_VARIABLE:
        return false;
    default:
        return !sql_token_is(previous, "AS");
    }
}

static bool may_follow_session_word(const struct sql_token *next)
{
    return next->kind != SQL_TOKEN_LEFT && next->kind != SQL_TOKEN_DOT;
}

bool sql_session_name_next(struct sql_lexer *lexer, struct sql_token *ret_token)
{
    /* The token before is lost between two calls: it was a session name, behind which no expression begins. */
    struct sql_token previous = {.kind = lexer->at == 0 ? SQL_TOKEN_END : SQL_TOKEN_QUOTED, .text = ""};
    for (;;) {
        struct sql_token token, next;
        sql_lexer_next(lexer, &token);
        if (token.kind == SQL_TOKEN_END)
            return false;
        if (is_session_word(&token) && may_precede_session_word(&previous)) {
            struct sql_lexer ahead = *lexer;
            sql_lexer_next(&ahead, &next);
            if (may_follow_session_word(&next)) {
                *ret_token = token;
                return true;
            }
        }
        previous = token;
    }
}

/* --- the verb --- */

struct word_of_verb {
    const char *word;
    enum sql_verb verb;
};

static const struct word_of_verb verb_words[] = {
    {"SELECT", SQL_VERB_SELECT},   {"INSERT", SQL_VERB_INSERT},       {"UPDATE", SQL_VERB_UPDATE},
    {"DELETE", SQL_VERB_DELETE},   {"VALUES", SQL_VERB_VALUES},       {"REPLACE", SQL_VERB_REPLACE},
    {"BEGIN", SQL_VERB_BEGIN},     {"COMMIT", SQL_VERB_COMMIT},       {"END", SQL_VERB_COMMIT},
    {"CREATE", SQL_VERB_CREATE},   {"DROP", SQL_VERB_DROP},           {"ALTER", SQL_VERB_ALTER},
    {"PRAGMA", SQL_VERB_PRAGMA},   {"EXPLAIN", SQL_VERB_EXPLAIN},     {"ROLLBACK", SQL_VERB_ROLLBACK},
    {"RELEASE", SQL_VERB_RELEASE}, {"SAVEPOINT", SQL_VERB_SAVEPOINT}, {"VACUUM", SQL_VERB_VACUUM},
    {"ANALYZE", SQL_VERB_ANALYZE}, {"REINDEX", SQL_VERB_REINDEX},     {"ATTACH", SQL_VERB_ATTACH},
    {"DETACH", SQL_VERB_DETACH},
};
enum { DML_VERB_WORD_COUNT = 6 }; /* the first ones, which may follow WITH */

static enum sql_verb verb_of(const struct sql_token *token, size_t word_count)
{
    for (size_t i = 0; i < word_count; i++) {
        if (sql_token_is(token, verb_words[i].word))
            return verb_words[i].verb;
    }
    return SQL_VERB_OTHER;
}

enum inspector_phase {
    PHASE_VERB = 0,
    PHASE_EXPLAIN, /* behind EXPLAIN */
    PHASE_QUERY,   /* behind EXPLAIN QUERY */
    PHASE_WITH,
    PHASE_NOUN,
    PHASE_ROLLBACK,
    PHASE_REST,
};

struct inspector {
    struct sql_statement_shape *shape;
    enum inspector_phase phase;
    size_t depth; /* open parentheses, in PHASE_WITH */
    struct sql_token previous;
    bool is_name_pending; /* the previous token is a session word, if what follows allows */
};

static void inspect_verb(struct inspector *in, const struct sql_token *token)
{
    struct sql_statement_shape *shape = in->shape;
    shape->verb_start = token->start;
    in->phase = PHASE_REST;
    if (sql_token_is(token, "WITH")) {
        shape->verb = SQL_VERB_OTHER;
        in->phase = PHASE_WITH;
        return;
    }
    shape->verb = verb_of(token, sizeof(verb_words) / sizeof(verb_words[0]));
    switch (shape->verb) {
    case SQL_VERB_EXPLAIN:
        /* There is one EXPLAIN in a statement. */
        in->phase = shape->is_explain ? PHASE_REST : PHASE_EXPLAIN;
        shape->is_explain = true;
        break;
    case SQL_VERB_CREATE:
    case SQL_VERB_DROP:
    case SQL_VERB_ALTER:
        in->phase = PHASE_NOUN;
        break;
    case SQL_VERB_ROLLBACK:
        in->phase = PHASE_ROLLBACK;
        break;
    default:
        break;
    }
}

static void inspect_with(struct inspector *in, const struct sql_token *token)
{
    if (token->kind == SQL_TOKEN_LEFT) {
        in->depth++;
    } else if (token->kind == SQL_TOKEN_RIGHT) {
        in->depth -= in->depth > 0 ? 1 : 0;
    } else if (in->depth == 0 && in->previous.kind == SQL_TOKEN_RIGHT) {
        enum sql_verb verb = verb_of(token, DML_VERB_WORD_COUNT);
        if (verb != SQL_VERB_OTHER) {
            in->shape->verb = verb;
            in->shape->verb_start = token->start;
            in->phase = PHASE_REST;
        }
    }
}

static void inspect_noun(struct inspector *in, const struct sql_token *token)
{
    struct sql_statement_shape *shape = in->shape;
    if (is_temp_word(token)) {
        shape->is_temp = true;
    } else if (sql_token_is(token, "VIRTUAL")) {
        shape->is_virtual = true;
    } else if (!sql_token_is(token, "UNIQUE")) {
        shape->noun = sql_token_is(token, "TABLE")     ? SQL_NOUN_TABLE
                      : sql_token_is(token, "INDEX")   ? SQL_NOUN_INDEX
                      : sql_token_is(token, "VIEW")    ? SQL_NOUN_VIEW
                      : sql_token_is(token, "TRIGGER") ? SQL_NOUN_TRIGGER
                                                       : SQL_NOUN_NONE;
        in->phase = PHASE_REST;
    }
}

static void inspect_phase(struct inspector *in, const struct sql_token *token)
{
    switch (in->phase) {
    case PHASE_EXPLAIN:
        if (sql_token_is(token, "QUERY"))
            in->phase = PHASE_QUERY;
        else
            inspect_verb(in, token);
        break;
    case PHASE_QUERY:
        in->phase = sql_token_is(token, "PLAN") ? PHASE_VERB : PHASE_REST;
        in->shape->is_query_plan = in->phase == PHASE_VERB;
        break;
    case PHASE_VERB:
        inspect_verb(in, token);
        break;
    case PHASE_WITH:
        inspect_with(in, token);
        break;
    case PHASE_NOUN:
        inspect_noun(in, token);
        break;
    case PHASE_ROLLBACK:
        in->shape->is_rollback_to |= sql_token_is(token, "TO");
        break;
    case PHASE_REST:
        break;
    }
}

/* --- what is mentioned anywhere --- */

static bool is_catalog_name(const struct sql_token *token)
{
    const char *text = token->text;
    size_t length = token->length;
    if (token->kind == SQL_TOKEN_QUOTED) {
        text++;
        length -= 2;
    } else if (token->kind != SQL_TOKEN_WORD) {
        return false;
    }
    static const char schema[] = "information_schema";
    return (length > 3 && strncasecmp(text, "pg_", 3) == 0) ||
           (length == sizeof(schema) - 1 && strncasecmp(text, schema, length) == 0);
}

/* SQLite cuts `a::b` into an illegal colon and what looks like the parameter `:b`. */
static bool is_cast_colon(const struct sql_token *token)
{
    return token->kind == SQL_TOKEN_ILLEGAL && token->text[0] == ':';
}

static void inspect_variable(struct inspector *in, const struct sql_token *token)
{
    struct sql_statement_shape *shape = in->shape;
    uint32_t number;
    if (memmem(token->text, token->length, "::", 2) != NULL)
        shape->has_double_colon = true;
    if (token->text[0] == ':' && is_cast_colon(&in->previous))
        return;
    if (!sql_token_dollar_number(token, &number)) {
        shape->has_other_parameters = true;
        return;
    }
    shape->has_dollar_numbers = true;
    if (number == 0 || number > SQL_PARAMETER_NUMBER_MAX)
        shape->is_parameter_out_of_range = true;
    if (number > shape->dollar_number_max)
        shape->dollar_number_max = number;
}

static void inspect_mentions(struct inspector *in, const struct sql_token *token)
{
    struct sql_statement_shape *shape = in->shape;
    if (in->is_name_pending && may_follow_session_word(token))
        shape->has_session_names = true;
    in->is_name_pending = is_session_word(token) && may_precede_session_word(&in->previous);
    if (is_catalog_name(token))
        shape->has_catalog_names = true;
    if (token->kind == SQL_TOKEN_VARIABLE)
        inspect_variable(in, token);
    else if (is_cast_colon(token))
        shape->has_double_colon = true;
}

static bool is_dml(enum sql_verb verb)
{
    return verb >= SQL_VERB_SELECT && verb <= SQL_VERB_DELETE;
}

struct sql_statement_shape sql_statement_inspect(const char *text, size_t length)
{
    struct sql_statement_shape shape = {0};
    struct inspector in = {.shape = &shape, .previous = {.text = ""}};
    struct sql_lexer lexer;
    struct sql_token token;
    enum boundary state = BOUNDARY_START;

    sql_lexer_init(&lexer, text, length, SQL_LEXER_SQLITE);
    for (sql_lexer_next(&lexer, &token); token.kind != SQL_TOKEN_END; sql_lexer_next(&lexer, &token)) {
        if (boundary_feed(&state, &token)) {
            shape.is_complete = true;
            break;
        }
        if (state == BOUNDARY_START)
            continue;
        inspect_phase(&in, &token);
        inspect_mentions(&in, &token);
        in.previous = token;
    }
    shape.end = shape.is_complete ? token.start + token.length : length;
    shape.is_empty = shape.verb == SQL_VERB_NONE;
    /* In DDL such a word names a column; SQLite would keep what it is turned into. */
    shape.has_session_names = is_dml(shape.verb) && (shape.has_session_names || in.is_name_pending);
    sq_assert(shape.end <= length);
    return shape;
}

/* --- the tag --- */

struct tag_rule {
    const char *text; /* NULL: no tag */
    bool has_noun;
    bool has_rows;
};

static const struct tag_rule tag_rules[SQL_VERB_COUNT] = {
    [SQL_VERB_SELECT] = {"SELECT", false, true},    [SQL_VERB_VALUES] = {"SELECT", false, true},
    [SQL_VERB_INSERT] = {"INSERT 0", false, true},  [SQL_VERB_REPLACE] = {"INSERT 0", false, true},
    [SQL_VERB_UPDATE] = {"UPDATE", false, true},    [SQL_VERB_DELETE] = {"DELETE", false, true},
    [SQL_VERB_CREATE] = {"CREATE", true, false},    [SQL_VERB_DROP] = {"DROP", true, false},
    [SQL_VERB_ALTER] = {"ALTER", true, false},      [SQL_VERB_BEGIN] = {"BEGIN", false, false},
    [SQL_VERB_COMMIT] = {"COMMIT", false, false},   [SQL_VERB_ROLLBACK] = {"ROLLBACK", false, false},
    [SQL_VERB_RELEASE] = {"RELEASE", false, false}, [SQL_VERB_SAVEPOINT] = {"SAVEPOINT", false, false},
    [SQL_VERB_EXPLAIN] = {"EXPLAIN", false, false}, [SQL_VERB_PRAGMA] = {"PRAGMA", false, false},
    [SQL_VERB_VACUUM] = {"VACUUM", false, false},   [SQL_VERB_ANALYZE] = {"ANALYZE", false, false},
    [SQL_VERB_REINDEX] = {"REINDEX", false, false}, [SQL_VERB_ATTACH] = {"ATTACH", false, false},
    [SQL_VERB_DETACH] = {"DETACH", false, false},
};

static const char *const noun_words[SQL_NOUN_COUNT] = {
    [SQL_NOUN_NONE] = "",      [SQL_NOUN_TABLE] = " TABLE",     [SQL_NOUN_INDEX] = " INDEX",
    [SQL_NOUN_VIEW] = " VIEW", [SQL_NOUN_TRIGGER] = " TRIGGER",
};

enum { TAG_DIGITS_MAX = 20 /* of a uint64_t */ };

size_t sql_command_tag(const struct sql_statement_shape *shape, uint64_t rows, char out[SQL_COMMAND_TAG_MAX])
{
    sq_assert(shape->verb < SQL_VERB_COUNT && shape->noun < SQL_NOUN_COUNT);
    const struct tag_rule *rule = &tag_rules[shape->is_explain ? SQL_VERB_EXPLAIN : shape->verb];
    out[0] = '\0';
    if (rule->text == NULL)
        return 0;
    /* Every statement needs one: by hand, because snprintf() takes several times as long. */
    const char *noun = rule->has_noun ? noun_words[shape->noun] : "";
    size_t text_length = strlen(rule->text);
    size_t noun_length = strlen(noun);
    sq_assert(text_length + noun_length + 1 + TAG_DIGITS_MAX < SQL_COMMAND_TAG_MAX);
    memcpy(out, rule->text, text_length);
    size_t length = text_length;
    if (rule->has_rows) {
        char digits[TAG_DIGITS_MAX];
        size_t digit_count = 0;
        do {
            digits[digit_count++] = (char)('0' + rows % 10);
            rows /= 10;
        } while (rows > 0);
        out[length++] = ' ';
        while (digit_count > 0)
            out[length++] = digits[--digit_count];
    } else {
        memcpy(out + length, noun, noun_length);
        length += noun_length;
    }
    out[length] = '\0';
    return length;
}
