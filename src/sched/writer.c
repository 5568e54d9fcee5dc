/* sched/writer.c: the scheduler's part of a database, for one who is no service. */
#include "sched/writer.h"

#include <stdlib.h>

#include "sched/scheduler_internal.h"

struct sched_writer {
    struct sched *sched;
    struct sched_database *database;
    struct slot_ticket ticket;
};

sq_status sched_writer_new(struct sched *sched, struct engine_database *database, struct sq_waker *waker,
                           struct sq_error *err, struct sched_writer **ret_writer)
{
    struct sched_writer *writer = calloc(1, sizeof(*writer));
    struct sched_database *found = writer != NULL ? sched_find_database(sched, database) : NULL;
    if (found == NULL) {
        free(writer);
        return sq_fail(err, SQ_NOMEM, "out of memory for a writer");
    }
    writer->sched = sched;
    writer->database = found;
    slot_ticket_init(&writer->ticket, waker);
    *ret_writer = writer;
    return SQ_OK;
}

void sched_writer_free(struct sched_writer *writer)
{
    if (writer == NULL)
        return;
    sched_slot_release(&writer->database->slot, &writer->ticket);
    sched_database_unref(writer->sched, writer->database);
    free(writer);
}

bool sched_writer_take(struct sched_writer *writer)
{
    return sched_slot_take(&writer->database->slot, &writer->ticket);
}

void sched_writer_release(struct sched_writer *writer)
{
    sched_slot_release(&writer->database->slot, &writer->ticket);
}

void sched_writer_note(struct sched_writer *writer)
{
    sched_checkpointer_note(writer->sched->checkpointer, writer->database);
}
