/* client/evaluate.c: see evaluate.h. */
#include "client/evaluate.h"

#include <string.h>

#include "client/convert.h"

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool client_is_word(char c)
{
    return c == '_' || c == '$' || (c & 0x80) != 0 || (c >= '0' && c <= '9') ||
           ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

struct client_piece client_token(const char **at)
{
    const char *start = *at;
    for (;;) {
        while (is_blank(*start))
            start++;
        if (strncmp(start, "--", 2) == 0)
            start += strcspn(start, "\n");
        else if (strncmp(start, "/*", 2) == 0)
            start = strstr(start + 2, "*/") != NULL ? strstr(start + 2, "*/") + 2 : start + strlen(start);
        else
            break;
    }
    const char *end = start;
    if (*start != '\0' && strchr("'\"`[", *start) != NULL) {
        char close = *start == '[' ? ']' : *start;
        for (end = start + 1; *end != '\0' && (*end != close || (end[1] == close && close != ']' && end++));)
            end++;
        end += *end != '\0';
    } else if (client_is_word(*start)) {
        while (client_is_word(*end))
            end++;
    } else if (*start != '\0') {
        end++;
    }
    *at = end;
    return (struct client_piece){start, (size_t)(end - start)};
}

bool client_piece_is(struct client_piece piece, const char *word)
{
    return piece.length == strlen(word) && client_real.sqlite3_strnicmp(piece.start, word, (int)piece.length) == 0;
}

static void parameters_bind(const struct client_statement *statement, sqlite3_stmt *query)
{
    for (size_t i = 0; i < statement->parameter_count; i++) {
        const struct native_value *value = &statement->bindings[i].value;
        if (value->kind != NATIVE_VALUE_PLAIN)
            continue;
        sqlite3_value *real = client_value_new(statement->remote, &value->value);
        if (real != NULL)
            (void)client_real.sqlite3_bind_value(query, (int)i + 1, real);
        client_real.sqlite3_value_free(real);
    }
}

int client_evaluate(struct client_statement *statement, const char *expressions, sqlite3_stmt **ret_row)
{
    struct client_remote *remote = statement->remote;
    char *sql = client_real.sqlite3_mprintf("SELECT %s\n", expressions);
    if (sql == NULL)
        return client_error_set(remote, SQLITE_NOMEM, NULL);
    sqlite3_stmt *row = NULL;
    int code = client_real.sqlite3_prepare_v2(remote->shadow, sql, -1, &row, NULL);
    client_real.sqlite3_free(sql);
    if (code == SQLITE_OK) {
        parameters_bind(statement, row);
        code = client_real.sqlite3_step(row);
    }
    if (code == SQLITE_ROW) {
        *ret_row = row;
        return SQLITE_OK;
    }
    code = client_error_set(remote, code == SQLITE_DONE ? SQLITE_ERROR : code, "%s",
                            client_real.sqlite3_errmsg(remote->shadow));
    (void)client_real.sqlite3_finalize(row);
    return code;
}
