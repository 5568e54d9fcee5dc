/* Listening sockets: ports in use, stale and served Unix sockets, accepting, and what counts as loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../../lib/scratch.h"
#include "net/listener.h"

static char dir[PATH_MAX];

static int set_up(void **state)
{
    (void)state;
    scratch_make_directory(dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove_directory(dir);
    return 0;
}

static int listen_tcp(uint16_t port)
{
    struct sq_error err;
    int fd = -1;
    if (net_listen_tcp("127.0.0.1", port, &err, &fd) != SQ_OK)
        fail_msg("%s", err.text);
    assert_true(fd >= 0);
    return fd;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

static int connect_tcp(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void path_in_dir(char path[108], const char *name)
{
    assert_true((size_t)snprintf(path, 108, "%s/%s", dir, name) < 108);
}

static int accept_one(int listen_fd)
{
    struct sq_error err;
    struct pollfd ready = {.fd = listen_fd, .events = POLLIN};
    int fd = -1;
    assert_int_equal(poll(&ready, 1, 10000), 1);
    assert_int_equal(net_accept(listen_fd, &err, &fd), SQ_OK);
    assert_true(fd >= 0);
    return fd;
}

/* --- TCP ------------------------------------------------------------------------------------------------------------ */

static void a_port_that_is_taken_is_refused_with_a_hint(void **state)
{
    (void)state;
    struct sq_error err;
    int first = listen_tcp(0);
    int second = -1;
    assert_int_equal(net_listen_tcp("127.0.0.1", port_of(first), &err, &second), SQ_IO);
    assert_int_equal(second, -1);
    assert_non_null(strstr(err.text, "127.0.0.1"));
    assert_non_null(strstr(err.hint, "--listen"));
    uint16_t port = port_of(first);
    close(first);
    close(listen_tcp(port));
}

static void a_port_can_be_used_again_at_once(void **state)
{
    (void)state;
    int listening = listen_tcp(0);
    uint16_t port = port_of(listening);
    int client = connect_tcp(port);
    int served = accept_one(listening);
    /* The server closes first: its side stays in TIME_WAIT. */
    close(served);
    close(client);
    close(listening);
    close(listen_tcp(port));
}

static void a_host_that_does_not_exist_is_refused(void **state)
{
    (void)state;
    struct sq_error err;
    char name[100]; /* longer than a label may be (RFC 1035): nobody is asked for it */
    int fd = -1;
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(net_listen_tcp(name, 0, &err, &fd), SQ_IO);
    assert_int_equal(fd, -1);
    assert_true(err.hint[0] != '\0');
    /* 192.0.2.0/24 is for documentation: it is no address of this machine (RFC 5737). */
    assert_int_equal(net_listen_tcp("192.0.2.1", 0, &err, &fd), SQ_IO);
    assert_int_equal(fd, -1);
}

static void accepted_sockets_do_not_block_and_nothing_to_accept_is_no_error(void **state)
{
    (void)state;
    struct sq_error err;
    int listening = listen_tcp(0);
    int fd = 0;
    assert_int_equal(net_accept(listening, &err, &fd), SQ_OK);
    assert_int_equal(fd, -1);
    int client = connect_tcp(port_of(listening));
    fd = accept_one(listening);
    char byte;
    assert_int_equal(read(fd, &byte, 1), -1);
    assert_true(errno == EAGAIN || errno == EWOULDBLOCK);
    int value = 0;
    socklen_t length = sizeof(value);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
    assert_true(value != 0);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &length), 0);
    assert_true(value != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    close(fd);
    close(client);
    close(listening);
}

static void addresses_are_told_as_people_write_them(void **state)
{
    (void)state;
    char text[NET_ADDRESS_TEXT_MAX];
    char expected[NET_ADDRESS_TEXT_MAX];
    int listening = listen_tcp(0);
    net_address_text(listening, false, text);
    snprintf(expected, sizeof(expected), "127.0.0.1:%u", (unsigned)port_of(listening));
    assert_string_equal(text, expected);
    int client = connect_tcp(port_of(listening));
    net_address_text(client, true, text);
    assert_string_equal(text, expected);
    net_address_text(-1, true, text);
    assert_string_equal(text, "unknown");
    close(client);
    close(listening);
}

/* --- Unix sockets ---------------------------------------------------------------------------------------------------- */

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void a_unix_socket_is_served(void **state)
{
    (void)state;
    struct sq_error err;
    char path[108];
    char text[NET_ADDRESS_TEXT_MAX];
    int listening = -1;
    path_in_dir(path, "s");
    assert_int_equal(net_listen_unix(path, &err, &listening), SQ_OK);
    int client = connect_unix(path);
    assert_true(client >= 0);
    int served = accept_one(listening);
    net_address_text(served, true, text);
    assert_string_equal(text, "unix");
    close(served);
    close(client);
    close(listening);
}

static void a_stale_unix_socket_is_replaced(void **state)
{
    (void)state;
    struct sq_error err;
    char path[108];
    int first = -1, second = -1;
    path_in_dir(path, "s");
    assert_int_equal(net_listen_unix(path, &err, &first), SQ_OK);
    close(first);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(net_listen_unix(path, &err, &second), SQ_OK);
    int client = connect_unix(path);
    assert_true(client >= 0);
    close(client);
    close(second);
}

static void a_unix_socket_that_is_served_is_left_alone(void **state)
{
    (void)state;
    struct sq_error err;
    char path[108];
    int first = -1, second = -1;
    path_in_dir(path, "s");
    assert_int_equal(net_listen_unix(path, &err, &first), SQ_OK);
    assert_int_equal(net_listen_unix(path, &err, &second), SQ_BUSY);
    assert_int_equal(second, -1);
    assert_non_null(strstr(err.text, path));
    int client = connect_unix(path);
    assert_true(client >= 0);
    close(client);
    close(first);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
    (void)state;
    struct sq_error err;
    char path[108];
    struct stat info;
    int fd = -1;
    path_in_dir(path, "precious");
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(file, "data", 4), 4);
    close(file);
    assert_int_equal(net_listen_unix(path, &err, &fd), SQ_EXISTS);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 4);
}

static void a_unix_path_that_is_too_long_or_nowhere_is_refused(void **state)
{
    (void)state;
    struct sq_error err;
    char path[200];
    int fd = -1;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[108] = '\0';
    assert_int_equal(net_listen_unix(path, &err, &fd), SQ_INVALID);
    snprintf(path, sizeof(path), "/nowhere/s");
    assert_int_equal(net_listen_unix(path, &err, &fd), SQ_IO);
    assert_int_equal(fd, -1);
}

/* --- Loopback ---------------------------------------------------------------------------------------------------------- */

static void loopback_is_127_and_1_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool is_loopback;
    } cases[] = {
        {"127.0.0.1", true},  {"127.255.255.254", true}, {"::1", true},        {"126.255.255.255", false},
        {"128.0.0.1", false}, {"0.0.0.0", false},        {"::", false},        {"*", false},
        {"10.0.0.1", false},  {"fe80::1", false},        {"192.0.2.1", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sq_error err;
        bool is_loopback = !cases[i].is_loopback;
        if (net_host_is_loopback(cases[i].host, &err, &is_loopback) != SQ_OK)
            fail_msg("%s: %s", cases[i].host, err.text);
        if (is_loopback != cases[i].is_loopback)
            fail_msg("%s", cases[i].host);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_that_is_taken_is_refused_with_a_hint),
        cmocka_unit_test(a_port_can_be_used_again_at_once),
        cmocka_unit_test(a_host_that_does_not_exist_is_refused),
        cmocka_unit_test(accepted_sockets_do_not_block_and_nothing_to_accept_is_no_error),
        cmocka_unit_test(addresses_are_told_as_people_write_them),
        cmocka_unit_test_setup_teardown(a_unix_socket_is_served, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stale_unix_socket_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_unix_socket_that_is_served_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_socket_is_left_alone, set_up, tear_down),
        cmocka_unit_test(a_unix_path_that_is_too_long_or_nowhere_is_refused),
        cmocka_unit_test(loopback_is_127_and_1_and_nothing_else),
    };
    return cmocka_run_group_tests_name("net/listener", tests, NULL, NULL);
}
