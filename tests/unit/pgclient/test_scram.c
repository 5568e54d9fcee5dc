/* SCRAM-SHA-256 against the example of RFC 7677, section 3, and against servers that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "pgclient/scram.h"

static const char rfc_nonce[] = "rOprNGfwEbeRWgbNEkqO";
static const char rfc_server_first[] =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
static const char rfc_client_final[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                       "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char rfc_server_final[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

static struct sq_error err;

static struct pgclient_scram begin(const char *password)
{
    struct pgclient_scram scram;
    sq_error_clear(&err);
    assert_int_equal(pgclient_scram_begin(&scram, "user", password, rfc_nonce, PGCLIENT_SCRAM_UNABLE, NULL, &err),
                     SQ_OK);
    return scram;
}

static sq_status go_on(struct pgclient_scram *scram, const char *text)
{
    return pgclient_scram_continue(scram, (const uint8_t *)text, strlen(text), &err);
}

static sq_status finish(struct pgclient_scram *scram, const char *text)
{
    return pgclient_scram_finish(scram, (const uint8_t *)text, strlen(text), &err);
}

static void assert_message(const struct pgclient_scram *scram, const char *expected)
{
    assert_int_equal(sq_buf_length(&scram->message), strlen(expected));
    assert_memory_equal(sq_buf_bytes(&scram->message), expected, strlen(expected));
}

static void the_rfcs_example(void **state)
{
    (void)state;
    struct pgclient_scram scram = begin("pencil");
    assert_message(&scram, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert_int_equal(go_on(&scram, rfc_server_first), SQ_OK);
    assert_message(&scram, rfc_client_final);
    assert_int_equal(finish(&scram, rfc_server_final), SQ_OK);
    pgclient_scram_done(&scram);
    pgclient_scram_done(&scram);
}

static void another_password_is_noticed_by_us(void **state)
{
    (void)state;
    struct pgclient_scram scram = begin("pencils");
    assert_int_equal(go_on(&scram, rfc_server_first), SQ_OK);
    assert_int_equal(finish(&scram, rfc_server_final), SQ_INVALID);
    assert_non_null(strstr(err.text, "does not know the password"));
    pgclient_scram_done(&scram);
}

static void every_changed_byte_of_the_servers_proof_is_noticed(void **state)
{
    (void)state;
    struct pgclient_scram scram = begin("pencil");
    assert_int_equal(go_on(&scram, rfc_server_first), SQ_OK);
    char text[sizeof(rfc_server_final)];
    for (size_t i = 0; i < strlen(rfc_server_final); i++) {
        memcpy(text, rfc_server_final, sizeof(text));
        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(finish(&scram, text), SQ_OK);
        memcpy(text, rfc_server_final, sizeof(text));
        text[i] = '\0';
        assert_int_not_equal(finish(&scram, text), SQ_OK);
    }
    assert_int_equal(finish(&scram, rfc_server_final), SQ_OK);
    pgclient_scram_done(&scram);
}

static void first_messages_that_make_no_sense(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "r",
        "r=",
        "r=rOprNGfwEbeRWgbNEkqOx",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QUJD",
        "r=rOprNGfwEbeRWgbNEkqO,s=QUJD,i=1",
        "r=ROprNGfwEbeRWgbNEkqOx,s=QUJD,i=1",
        "r=rOprNGfwEbeRWgbNEkqOx,i=1,s=QUJD",
        "m=x,r=rOprNGfwEbeRWgbNEkqOx,s=QUJD,i=1",
        "r=rOprNGfwEbeRWgbNEkqOx,s=,i=1",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QUJ,i=1",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QU-D,i=1",
        "r=rOprNGfwEbeRWgbNEkqOx,s=Q===,i=1",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QU=D,i=1",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QQ==QUJD,i=1",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QUJD,i=",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QUJD,i=0",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QUJD,i=-1",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QUJD,i=1x",
        "r=rOprNGfwEbeRWgbNEkqOx,s=QUJD,i=99999999999999999999",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct pgclient_scram scram = begin("pencil");
        if (go_on(&scram, texts[i]) != SQ_PROTOCOL)
            fail_msg("'%s' was taken", texts[i]);
        assert_int_equal(finish(&scram, rfc_server_final), SQ_PROTOCOL);
        pgclient_scram_done(&scram);
    }
}

static void limits(void **state)
{
    (void)state;
    char text[PGCLIENT_SCRAM_MESSAGE_MAX + 2];
    struct pgclient_scram scram = begin("pencil");
    (void)snprintf(text, sizeof(text), "r=%sx,s=QUJD,i=%d", rfc_nonce, PGCLIENT_SCRAM_ITERATIONS_MAX + 1);
    assert_int_equal(go_on(&scram, text), SQ_LIMIT);
    /* A nonce that fills the message, and one byte more. */
    memset(text, 'x', sizeof(text));
    memcpy(text, "r=", 2);
    memcpy(text + 2, rfc_nonce, strlen(rfc_nonce));
    static const char end[] = ",s=QUJD,i=1";
    memcpy(text + PGCLIENT_SCRAM_MESSAGE_MAX - strlen(end), end, sizeof(end));
    assert_int_equal(strlen(text), PGCLIENT_SCRAM_MESSAGE_MAX);
    assert_int_equal(go_on(&scram, text), SQ_OK);
    pgclient_scram_done(&scram);
    scram = begin("pencil");
    memset(text + 2 + strlen(rfc_nonce), 'x', sizeof(text) - 2 - strlen(rfc_nonce));
    memcpy(text + PGCLIENT_SCRAM_MESSAGE_MAX + 1 - strlen(end), end, sizeof(end));
    assert_int_equal(go_on(&scram, text), SQ_PROTOCOL);
    pgclient_scram_done(&scram);
}

static void nonces_differ_and_bindings_are_said(void **state)
{
    (void)state;
    struct pgclient_scram one, other;
    struct net_tls_end_point end_point = {.hash = {1, 2, 3}, .length = 3};
    assert_int_equal(pgclient_scram_begin(&one, "", "p", NULL, PGCLIENT_SCRAM_ABLE, NULL, &err), SQ_OK);
    assert_int_equal(pgclient_scram_begin(&other, "", "p", NULL, PGCLIENT_SCRAM_BOUND, &end_point, &err), SQ_OK);
    static const char able[] = "y,,n=,r=";
    static const char bound[] = "p=tls-server-end-point,,n=,r=";
    enum { NONCE_LENGTH = PGCLIENT_SCRAM_NONCE_BYTES / 3 * 4 };
    assert_int_equal(sq_buf_length(&one.message), strlen(able) + NONCE_LENGTH);
    assert_int_equal(sq_buf_length(&other.message), strlen(bound) + NONCE_LENGTH);
    assert_memory_equal(sq_buf_bytes(&one.message), able, strlen(able));
    assert_memory_equal(sq_buf_bytes(&other.message), bound, strlen(bound));
    assert_memory_not_equal(sq_buf_bytes(&one.message) + strlen(able), sq_buf_bytes(&other.message) + strlen(bound),
                            NONCE_LENGTH);
    pgclient_scram_done(&one);
    pgclient_scram_done(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfcs_example),
        cmocka_unit_test(another_password_is_noticed_by_us),
        cmocka_unit_test(every_changed_byte_of_the_servers_proof_is_noticed),
        cmocka_unit_test(first_messages_that_make_no_sense),
        cmocka_unit_test(limits),
        cmocka_unit_test(nonces_differ_and_bindings_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
