/* session/rewrite.c: finds the places to edit, in order, and copies the text around them. See rewrite.h. */
#include "session/rewrite.h"

#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/sql_lexer.h"

static const char parentheses[] = "()";

/* At byte `start` of the original, `removed` bytes go and `added` comes. */
struct edit {
    size_t start;
    size_t removed;
    const char *added;
};

/* Walks over the edits: two lexers over the same text, one for each kind, merged by place. */
struct edit_walk {
    struct sql_lexer names;
    struct sql_token name;
    bool has_name;
    struct sql_lexer schemas;
    struct edit schema;
    bool has_schema;
};

/* The next `pg_catalog . name (`. */
static bool next_schema(struct sql_lexer *lexer, struct edit *ret_edit)
{
    struct sql_token token;
    sql_lexer_next(lexer, &token);
    for (; token.kind != SQL_TOKEN_END; sql_lexer_next(lexer, &token)) {
        if (!sql_token_is(&token, "pg_catalog"))
            continue;
        struct sql_lexer ahead = *lexer;
        struct sql_token dot;
        struct sql_token name;
        struct sql_token left;
        sql_lexer_next(&ahead, &dot);
        sql_lexer_next(&ahead, &name);
        sql_lexer_next(&ahead, &left);
        if (dot.kind == SQL_TOKEN_DOT && name.kind == SQL_TOKEN_WORD && left.kind == SQL_TOKEN_LEFT) {
            *ret_edit = (struct edit){.start = token.start, .removed = name.start - token.start, .added = ""};
            return true;
        }
    }
    return false;
}

static void walk_begin(struct edit_walk *walk, const char *text, size_t length)
{
    sql_lexer_init(&walk->names, text, length, SQL_LEXER_SQLITE);
    walk->has_name = sql_session_name_next(&walk->names, &walk->name);
    sql_lexer_init(&walk->schemas, text, length, SQL_LEXER_SQLITE);
    walk->has_schema = next_schema(&walk->schemas, &walk->schema);
}

static bool walk_next(struct edit_walk *walk, struct edit *ret_edit)
{
    if (!walk->has_name && !walk->has_schema)
        return false;
    if (!walk->has_name || (walk->has_schema && walk->schema.start < walk->name.start)) {
        *ret_edit = walk->schema;
        walk->has_schema = next_schema(&walk->schemas, &walk->schema);
    } else {
        *ret_edit = (struct edit){.start = walk->name.start + walk->name.length, .added = parentheses};
        walk->has_name = sql_session_name_next(&walk->names, &walk->name);
    }
    return true;
}

sq_status rewrite_sql(const char *text, size_t length, struct sq_arena *arena, struct sq_error *err,
                      const char **ret_sql, size_t *ret_length)
{
    size_t most = length + 1;
    struct edit_walk walk;
    struct edit edit;
    walk_begin(&walk, text, length);
    while (walk_next(&walk, &edit))
        most += strlen(edit.added);

    char *sql = sq_arena_alloc(arena, most);
    if (sql == NULL)
        return sq_fail(err, SQ_NOMEM, "out of memory for a statement");
    size_t used = 0;
    size_t copied = 0;
    walk_begin(&walk, text, length);
    while (walk_next(&walk, &edit)) {
        memcpy(sql + used, text + copied, edit.start - copied);
        used += edit.start - copied;
        memcpy(sql + used, edit.added, strlen(edit.added));
        used += strlen(edit.added);
        copied = edit.start + edit.removed;
    }
    memcpy(sql + used, text + copied, length - copied);
    used += length - copied;
    sq_assert(used < most);
    sql[used] = '\0';
    *ret_sql = sql;
    *ret_length = used;
    return SQ_OK;
}

int rewrite_original_position(const char *text, size_t length, int position)
{
    int shift = 0; /* original minus rewritten, so far */
    struct edit_walk walk;
    struct edit edit;
    walk_begin(&walk, text, length);
    while (walk_next(&walk, &edit)) {
        int start = (int)sq_utf8_count(text, edit.start) + 1;
        int added = (int)strlen(edit.added);
        if (position + shift < start || (position + shift == start && added > 0))
            break;
        shift += (int)sq_utf8_count(text + edit.start, edit.removed) - added;
    }
    return position + shift;
}
