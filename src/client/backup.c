/* client/backup.c: sqlite3_backup_init(). */
#include "client/api.h"
#include "client/handle.h"

/* Two connections. A failed sqlite3_backup_init() leaves its error in the destination. */
sqlite3_backup *sqlite3_backup_init(sqlite3 *destination, const char *destination_name, sqlite3 *source,
                                    const char *source_name)
{
    if (client_handle_is_ours(destination))
        return NULL;
    if (client_handle_is_ours(source))
        source = destination; /* which the real library refuses, with a message in the destination */
    return client_real.sqlite3_backup_init(destination, destination_name, source, source_name);
}
