/* client/convert.c: see convert.h. */
#include "client/convert.h"

#include <stdlib.h>
#include <string.h>

/* Ends what the converter was used for. */
static void converter_clear(struct client_remote *remote)
{
    (void)client_real.sqlite3_reset(remote->converter);
    (void)client_real.sqlite3_clear_bindings(remote->converter);
}

static int bind(sqlite3_stmt *statement, const struct sq_value *value)
{
    const char *data = value->kind >= SQ_VALUE_TEXT && value->bytes.length > 0 ? value->bytes.data : "";
    switch (value->kind) {
    case SQ_VALUE_NULL:
        return client_real.sqlite3_bind_null(statement, 1);
    case SQ_VALUE_INTEGER:
        return client_real.sqlite3_bind_int64(statement, 1, value->integer);
    case SQ_VALUE_REAL:
        return client_real.sqlite3_bind_double(statement, 1, value->real);
    case SQ_VALUE_TEXT:
        return client_real.sqlite3_bind_text64(statement, 1, data, value->bytes.length, SQLITE_STATIC, SQLITE_UTF8);
    case SQ_VALUE_BLOB:
        return client_real.sqlite3_bind_blob64(statement, 1, data, value->bytes.length, SQLITE_STATIC);
    }
    sq_assert(false);
    return SQLITE_INTERNAL;
}

sqlite3_value *client_value_new(struct client_remote *remote, const struct sq_value *value)
{
    sqlite3_value *made = NULL;
    if (bind(remote->converter, value) == SQLITE_OK && client_real.sqlite3_step(remote->converter) == SQLITE_ROW)
        made = client_real.sqlite3_value_dup(client_real.sqlite3_column_value(remote->converter, 0));
    converter_clear(remote);
    return made;
}

static char *copy(const unsigned char *text, size_t length)
{
    char *made = text != NULL ? malloc(length + 1) : NULL;
    if (made != NULL) {
        memcpy(made, text, length);
        made[length] = '\0';
    }
    return made;
}

int client_text_to_utf8(struct client_remote *remote, const void *text, size_t length, unsigned char encoding,
                        char **ret_text, size_t *ret_length)
{
    int code = client_real.sqlite3_bind_text64(remote->converter, 1, text, length, SQLITE_STATIC, encoding);
    if (code == SQLITE_OK) {
        code = SQLITE_NOMEM;
        if (client_real.sqlite3_step(remote->converter) == SQLITE_ROW) {
            const unsigned char *utf8 = client_real.sqlite3_column_text(remote->converter, 0);
            size_t count = (size_t)client_real.sqlite3_column_bytes(remote->converter, 0);
            char *made = copy(utf8, count);
            if (made != NULL) {
                *ret_text = made;
                *ret_length = count;
                code = SQLITE_OK;
            }
        }
    }
    converter_clear(remote);
    return code;
}

size_t client_length_max(const struct client_remote *remote)
{
    return (size_t)client_real.sqlite3_limit(remote->shadow, SQLITE_LIMIT_LENGTH, -1);
}
