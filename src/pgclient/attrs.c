/* pgclient/attrs.c: target_session_attrs (PostgreSQL manual, "Parameter Key Words"): is this server the kind that is
 * wanted? Servers say by themselves whether they are a standby and whether sessions are read-only (`in_hot_standby`,
 * `default_transaction_read_only`, PostgreSQL 14 and later); one that does not is asked. */
#include <string.h>

#include "pgclient/client_internal.h"
#include "pgwire/backend.h"
#include "pgwire/frontend.h"

struct session_facts {
    bool is_standby;
    bool is_read_only;
};

/* The first column of the first row of SHOW transaction_read_only; the rest of the answer is read, too. */
static sq_status ask_read_only(struct pgclient *client, int64_t deadline_us, struct sq_error *err, bool *ret_is_on)
{
    static const char query[] = "SHOW transaction_read_only";
    pgwire_put_query(&client->out, query, strlen(query));
    SQ_TRY(sq_buf_check(&client->out, err));
    SQ_TRY(pgclient_stream_flush(client, deadline_us, err));
    bool is_known = false;
    for (;;) {
        struct pgwire_frame frame;
        SQ_TRY(pgclient_next_frame(client, deadline_us, err, &frame));
        if (frame.type == PGWIRE_ERROR_RESPONSE)
            return pgclient_fail_report(&frame, err);
        if (frame.type == PGWIRE_READY_FOR_QUERY)
            break;
        if (frame.type != PGWIRE_DATA_ROW || is_known)
            continue;
        struct pgwire_data_row row;
        SQ_TRY(pgwire_data_row_decode(&frame, err, &row));
        struct pgwire_value value;
        is_known = pgwire_values_next(&row.columns, &value) && !value.is_null;
        if (is_known)
            *ret_is_on = value.length == 2 && memcmp(value.data, "on", 2) == 0;
    }
    return is_known ? SQ_OK : sq_fail(err, SQ_PROTOCOL, "the server does not say whether it is read-only");
}

static sq_status find_facts(struct pgclient *client, int64_t deadline_us, struct sq_error *err,
                            struct session_facts *ret_facts)
{
    const char *standby = pgclient_status(client, "in_hot_standby");
    const char *read_only = pgclient_status(client, "default_transaction_read_only");
    if (standby != NULL && read_only != NULL) {
        ret_facts->is_standby = strcmp(standby, "on") == 0;
        ret_facts->is_read_only = ret_facts->is_standby || strcmp(read_only, "on") == 0;
        return SQ_OK;
    }
    bool is_on = false;
    SQ_TRY(ask_read_only(client, deadline_us, err, &is_on));
    /* Who cannot write is a standby, as far as one can tell without a word from it. */
    ret_facts->is_standby = standby != NULL ? strcmp(standby, "on") == 0 : is_on;
    ret_facts->is_read_only = is_on;
    return SQ_OK;
}

sq_status pgclient_check_attrs(struct pgclient *client, const struct pgclient_attempt *attempt, struct sq_error *err)
{
    struct session_facts facts = {.is_standby = false};
    SQ_TRY(find_facts(client, attempt->deadline_us, err, &facts));
    switch (attempt->target->session_attrs) {
    case PGCLIENT_ANY:
        return SQ_OK;
    case PGCLIENT_READ_WRITE:
        return facts.is_read_only ? sq_fail(err, SQ_CLOSED, "the session is read-only") : SQ_OK;
    case PGCLIENT_READ_ONLY:
        return facts.is_read_only ? SQ_OK : sq_fail(err, SQ_CLOSED, "the session is not read-only");
    case PGCLIENT_PRIMARY:
        return facts.is_standby ? sq_fail(err, SQ_CLOSED, "the server is a standby") : SQ_OK;
    case PGCLIENT_STANDBY:
    case PGCLIENT_PREFER_STANDBY:
        return facts.is_standby ? SQ_OK : sq_fail(err, SQ_CLOSED, "the server is not a standby");
    }
    sq_assert(false);
}
