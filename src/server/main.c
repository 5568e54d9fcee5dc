/* server/main.c: the command line. Exit codes: 0 fine, 1 something failed, 2 the configuration makes no sense. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/inject.h"
#include "base/log.h"
#include "config/config.h"
#include "server/server.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, PRINT_BYTES_MAX = 1 << 20 };

static int report(const struct sq_error *err)
{
    fprintf(stderr, "sqld: %s\n", err->text);
    if (err->detail[0] != '\0')
        fprintf(stderr, "sqld: detail: %s\n", err->detail);
    if (err->hint[0] != '\0')
        fprintf(stderr, "sqld: hint: %s\n", err->hint);
    return err->status == SQ_INVALID ? EXIT_USAGE : EXIT_FAILED;
}

/* --help, --version and their kin. */
static int print(enum config_action action)
{
    struct sq_buf text;
    sq_buf_init(&text, PRINT_BYTES_MAX);
    config_print(action, &text);
    struct sq_error err;
    if (sq_buf_check(&text, &err) != SQ_OK) {
        sq_buf_done(&text);
        return report(&err);
    }
    bool is_written =
        fwrite(sq_buf_bytes(&text), 1, sq_buf_length(&text), stdout) == sq_buf_length(&text) && fflush(stdout) == 0;
    sq_buf_done(&text);
    return is_written ? EXIT_FINE : EXIT_FAILED;
}

static sq_status serve(struct config *config, struct sq_error *err)
{
    sq_log_set_level(config->log_level);
    SQ_TRY(sq_log_open(config->log_file, err));
    SQ_TRY(sq_inject_start(getenv("SQLD_INJECT"), err));
    struct server *server = NULL;
    SQ_TRY(server_new(config, err, &server));
    sq_status status = server_run(server, err);
    server_free(server);
    return status;
}

int main(int argc, char *argv[])
{
    struct sq_error err;
    sq_error_clear(&err);
    SQ_CLEANUP(config_freep) struct config *config = NULL;
    if (config_load(argc, argv, environ, &err, &config) != SQ_OK)
        return report(&err);
    if (config->action != CONFIG_RUN)
        return print(config->action);
    return serve(config, &err) == SQ_OK ? EXIT_FINE : report(&err);
}
