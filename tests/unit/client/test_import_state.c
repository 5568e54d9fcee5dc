/* How far an import has come: lines that are added, read again, cut off, or about another file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/import_state.h"
#include "client/naming.h"

static char directory[] = "/tmp/sqld-import-XXXXXX";
static char database[64], state_file[80];
static const char digits[] = "00112233445566778899aabbccddeeff";
static const char other_digits[] = "ffeeddccbbaa99887766554433221100";

static void write_file(const char *path, const char *text, size_t bytes)
{
    char zeros[CLIENT_DATABASE_FILE_BYTES_MIN] = "";
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_true(bytes <= strlen(text) || fwrite(zeros, 1, bytes - strlen(text), file) == bytes - strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void append(const char *text)
{
    FILE *file = fopen(state_file, "a");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(directory, sizeof(directory), "/tmp/sqld-import-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    (void)snprintf(database, sizeof(database), "%s/a.db", directory);
    (void)snprintf(state_file, sizeof(state_file), "%s.sqld-import", database);
    write_file(database, "", CLIENT_DATABASE_FILE_BYTES_MIN);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(database);
    (void)unlink(state_file);
    return rmdir(directory);
}

static struct client_import_state open_needed(void)
{
    struct client_import_state state;
    struct sq_error err;
    bool is_needed = false;
    assert_int_equal(client_import_state_open(&state, database, &err, &is_needed), SQ_OK);
    assert_true(is_needed);
    return state;
}

static void what_was_noted_is_read_again_and_the_last_content_counts(void **unused)
{
    (void)unused;
    struct sq_error err;
    struct client_import_state state = open_needed();
    assert_null(state.database);
    assert_string_equal(state.content, "");
    assert_int_equal(client_import_state_set_database(&state, "shop", &err), SQ_OK);
    assert_int_equal(client_import_state_set_content(&state, digits, &err), SQ_OK);
    assert_int_equal(client_import_state_set_content(&state, other_digits, &err), SQ_OK);
    client_import_state_done(&state);

    state = open_needed();
    assert_string_equal(state.database, "shop");
    assert_string_equal(state.content, other_digits);
    client_import_state_end(&state);
    client_import_state_done(&state);
    assert_int_equal(access(state_file, F_OK), -1);
}

static void a_state_that_says_nothing_leaves_no_file(void **unused)
{
    (void)unused;
    struct client_import_state state = open_needed();
    assert_int_equal(access(state_file, F_OK), 0);
    client_import_state_done(&state);
    assert_int_equal(access(state_file, F_OK), -1);
}

static void a_line_that_was_cut_off_does_not_count(void **unused)
{
    (void)unused;
    struct sq_error err;
    struct client_import_state state = open_needed();
    assert_int_equal(client_import_state_set_database(&state, "shop", &err), SQ_OK);
    client_import_state_done(&state);
    append("content 0011");
    state = open_needed();
    assert_string_equal(state.database, "shop");
    assert_string_equal(state.content, "");
    assert_int_equal(client_import_state_set_content(&state, digits, &err), SQ_OK);
    client_import_state_done(&state);
    state = open_needed();
    assert_string_equal(state.content, digits);
    client_import_state_done(&state);
}

static void a_state_of_another_file_or_without_sense_is_begun_anew(void **unused)
{
    (void)unused;
    struct sq_error err;
    struct client_import_state state = open_needed();
    assert_int_equal(client_import_state_set_database(&state, "shop", &err), SQ_OK);
    client_import_state_done(&state);
    char kept[70];
    (void)snprintf(kept, sizeof(kept), "%s/kept", directory);
    assert_int_equal(rename(database, kept), 0); /* so that its number is not used again */
    write_file(database, "", CLIENT_DATABASE_FILE_BYTES_MIN);
    state = open_needed();
    assert_null(state.database);
    client_import_state_done(&state);
    assert_int_equal(unlink(kept), 0);

    static const char *const texts[] = {
        "",       "sqld-import 2\n", "sqld-import 1\n", "sqld-import 1\ndatabase shop\n", "sqld-import 1\nfile 1 2 3\n",
        "\xff\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        write_file(state_file, texts[i], 0);
        state = open_needed();
        assert_null(state.database);
        assert_int_equal(client_import_state_set_database(&state, "again", &err), SQ_OK);
        client_import_state_done(&state);
        append("nonsense\n");
        state = open_needed();
        assert_null(state.database);
        client_import_state_done(&state);
    }
}

static void nothing_is_needed_without_a_file_that_may_be_a_database(void **unused)
{
    (void)unused;
    struct client_import_state state;
    struct sq_error err;
    for (int i = 0; i < 2; i++) {
        bool is_needed = true;
        if (i == 0)
            write_file(database, "sqld-stub 1\n", 0);
        else
            assert_int_equal(unlink(database), 0);
        assert_int_equal(client_import_state_open(&state, database, &err, &is_needed), SQ_OK);
        assert_false(is_needed);
        client_import_state_done(&state);
    }
    (void)snprintf(database, sizeof(database), "%s/none/a.db", directory);
    bool is_needed = true;
    assert_int_equal(client_import_state_open(&state, database, &err, &is_needed), SQ_IO);
    client_import_state_done(&state);
}

static void contents_are_known_by_all_of_their_bytes_in_whatever_pieces(void **unused)
{
    (void)unused;
    char empty[CLIENT_IMPORT_CONTENT_BYTES], whole[CLIENT_IMPORT_CONTENT_BYTES], pieces[CLIENT_IMPORT_CONTENT_BYTES];
    struct client_import_hash hash = client_import_hash_begin();
    client_import_hash_end(&hash, empty);
    assert_string_equal(empty, "6c62272e07bb014262b821756295c58d"); /* FNV-1a of nothing */
    client_import_hash_add(&hash, (const uint8_t *)"a", 1);
    client_import_hash_end(&hash, whole);
    assert_string_equal(whole, "d228cb696f1a8caf78912b704e4a8964"); /* … and of "a" */
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    hash = client_import_hash_begin();
    client_import_hash_add(&hash, bytes, sizeof(bytes));
    client_import_hash_end(&hash, whole);
    for (size_t cut = 0; cut <= sizeof(bytes); cut += 50) {
        hash = client_import_hash_begin();
        client_import_hash_add(&hash, bytes, cut);
        client_import_hash_add(&hash, bytes + cut, sizeof(bytes) - cut);
        client_import_hash_end(&hash, pieces);
        assert_string_equal(whole, pieces);
    }
    bytes[299] ^= 1;
    hash = client_import_hash_begin();
    client_import_hash_add(&hash, bytes, sizeof(bytes));
    client_import_hash_end(&hash, pieces);
    assert_string_not_equal(whole, pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_noted_is_read_again_and_the_last_content_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_state_that_says_nothing_leaves_no_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_line_that_was_cut_off_does_not_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_state_of_another_file_or_without_sense_is_begun_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_needed_without_a_file_that_may_be_a_database, set_up, tear_down),
        cmocka_unit_test(contents_are_known_by_all_of_their_bytes_in_whatever_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
