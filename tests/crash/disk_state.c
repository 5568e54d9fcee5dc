/* tests/crash/disk_state.c: the contents of a directory as a list of changes, and what a cut leaves of it. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk_internal.h"

/* --- Dice --------------------------------------------------------------------------------------------------------- */

/* A Weyl sequence, mixed (the finalizer is Stafford's variant 13). */
uint64_t dice_next(struct dice *dice)
{
    uint64_t value = dice->state += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

uint64_t dice_below(struct dice *dice, uint64_t limit)
{
    sq_assert(limit > 0);
    return dice_next(dice) % limit;
}

bool dice_chance(struct dice *dice, unsigned percent)
{
    return dice_below(dice, 100) < percent;
}

/* --- Bytes -------------------------------------------------------------------------------------------------------- */

static void *must_have(void *memory)
{
    sq_assert(memory != NULL);
    return memory;
}

/* New bytes are zero. */
static void bytes_resize(struct bytes *bytes, size_t length)
{
    if (length > bytes->cap) {
        bytes->cap = length < 2 * bytes->cap ? 2 * bytes->cap : length;
        bytes->data = must_have(realloc(bytes->data, bytes->cap));
    }
    if (length > bytes->length)
        memset(bytes->data + bytes->length, 0, length - bytes->length);
    bytes->length = length;
}

static void bytes_copy(const struct bytes *from, struct bytes *to)
{
    *to = (struct bytes){0};
    bytes_resize(to, from->length);
    if (from->length > 0)
        memcpy(to->data, from->data, from->length);
}

static void bytes_done(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

static void bytes_apply(struct bytes *bytes, const struct change *change)
{
    if (change->is_truncate) {
        bytes_resize(bytes, change->offset);
        return;
    }
    if (change->offset + change->length > bytes->length)
        bytes_resize(bytes, change->offset + change->length);
    memcpy(bytes->data + change->offset, change->data, change->length);
}

/* --- Files -------------------------------------------------------------------------------------------------------- */

static struct file *file_new(void)
{
    struct file *file = must_have(calloc(1, sizeof(*file)));
    file->changes_end = &file->changes;
    return file;
}

static void file_append(struct file *file, struct change *change)
{
    change->next = NULL;
    *file->changes_end = change;
    file->changes_end = &change->next;
}

static struct change *change_new(size_t length, const void *data)
{
    struct change *change = must_have(calloc(1, sizeof(*change) + length));
    change->length = length;
    if (length > 0)
        memcpy(change->data, data, length);
    return change;
}

static void file_free(struct file *file)
{
    if (file == NULL)
        return;
    while (file->changes != NULL) {
        struct change *next = file->changes->next;
        free(file->changes);
        file->changes = next;
    }
    bytes_done(&file->durable);
    free(file);
}

static struct file *file_copy(const struct file *from)
{
    struct file *file = file_new();
    bytes_copy(&from->durable, &file->durable);
    file->has_forgotten = from->has_forgotten;
    for (const struct change *change = from->changes; change != NULL; change = change->next) {
        struct change *copy = change_new(change->length, change->data);
        copy->number = change->number;
        copy->is_truncate = change->is_truncate;
        copy->is_settled = change->is_settled;
        copy->offset = change->offset;
        file_append(file, copy);
    }
    return file;
}

static void file_seen(const struct file *file, struct bytes *seen)
{
    bytes_copy(&file->durable, seen);
    for (const struct change *change = file->changes; change != NULL; change = change->next)
        bytes_apply(seen, change);
}

/* --- What reaches the disk ---------------------------------------------------------------------------------------- */

enum fate { FATE_LOST, FATE_WHOLE, FATE_TORN };

struct image {
    struct bytes seen;  /* as programs saw it at the change last looked at */
    struct bytes store; /* what sectors hold; as long as has been needed */
    size_t size;        /* what the file's size says */
};

static void image_init(struct image *image, const struct bytes *durable)
{
    bytes_copy(durable, &image->seen);
    bytes_copy(durable, &image->store);
    image->size = durable->length;
}

static void image_set_size(struct image *image, size_t size)
{
    /* What is cut off is gone, also if the file grows again. */
    if (size < image->store.length && size < image->size)
        memset(image->store.data + size, 0, image->store.length - size);
    image->size = size;
}

static void image_put_sector(struct image *image, size_t start)
{
    size_t end = start + DISK_SECTOR_BYTES;
    size_t seen_end = end < image->seen.length ? end : image->seen.length;
    if (end > image->store.length)
        bytes_resize(&image->store, end);
    memset(image->store.data + start, 0, DISK_SECTOR_BYTES);
    if (seen_end > start)
        memcpy(image->store.data + start, image->seen.data + start, seen_end - start);
}

/* The program makes the change; the disk gets of it what `fate` says. */
static void image_step(struct image *image, const struct change *change, enum fate fate, struct dice *dice)
{
    size_t before = image->seen.length;
    bytes_apply(&image->seen, change);
    size_t after = image->seen.length;
    if (fate == FATE_LOST)
        return;
    /* The size is written some day after it has changed; an earlier change of it may have been lost. */
    if (after != image->size && ((fate == FATE_WHOLE && after != before) || dice_chance(dice, 50)))
        image_set_size(image, after);
    size_t start = change->offset;
    size_t end = change->offset + change->length;
    if (change->is_truncate) {
        start = before < after ? before : after;
        end = before < after ? after : before;
    }
    for (size_t sector = start / DISK_SECTOR_BYTES * DISK_SECTOR_BYTES; sector < end; sector += DISK_SECTOR_BYTES) {
        if (fate == FATE_WHOLE || dice_chance(dice, 50))
            image_put_sector(image, sector);
    }
}

/* Ends the image; `result` takes what is on disk. */
static void image_done(struct image *image, struct bytes *result)
{
    bytes_done(&image->seen);
    bytes_resize(&image->store, image->size);
    *result = image->store;
}

/* The changes up to `number` go into `durable` and out of the list. */
static bool settle_in_order(struct file *file, uint64_t number)
{
    bool has_written = false;
    while (file->changes != NULL && file->changes->number <= number) {
        struct change *change = file->changes;
        bytes_apply(&file->durable, change);
        file->changes = change->next;
        free(change);
        has_written = true;
    }
    if (file->changes == NULL)
        file->changes_end = &file->changes;
    return has_written;
}

bool disk_state_sync(struct disk_state *state, size_t file_index, uint64_t number)
{
    struct dice unused = {.state = 1};
    struct dice *dice = &unused; /* what is due is written whole */
    struct file *file = state->files[file_index];
    struct image image;
    bool has_written = false;
    if (!file->has_forgotten)
        return settle_in_order(file, number);
    image_init(&image, &file->durable);
    for (struct change *change = file->changes; change != NULL; change = change->next) {
        bool is_due = change->number <= number && !change->is_settled;
        image_step(&image, change, is_due ? FATE_WHOLE : FATE_LOST, dice);
        if (is_due)
            image_set_size(&image, image.seen.length);
        change->is_settled = change->is_settled || is_due;
        has_written = has_written || is_due;
    }
    bytes_done(&file->durable);
    image_done(&image, &file->durable);
    return has_written;
}

void disk_state_forget(struct disk_state *state, size_t file_index, struct dice *dice)
{
    struct file *file = state->files[file_index];
    struct image image;
    if (file->changes == NULL)
        return;
    image_init(&image, &file->durable);
    for (struct change *change = file->changes; change != NULL; change = change->next) {
        image_step(&image, change, change->is_settled ? FATE_LOST : FATE_TORN, dice);
        change->is_settled = true;
    }
    bytes_done(&file->durable);
    image_done(&image, &file->durable);
    file->has_forgotten = true;
}

/* --- Names -------------------------------------------------------------------------------------------------------- */

static struct name *names_find(const struct names *names, const char *text)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].text, text) == 0)
            return &names->items[i];
    }
    return NULL;
}

static void names_put(struct names *names, const char *text, size_t file_index)
{
    struct name *name = names_find(names, text);
    if (name == NULL) {
        names->items = must_have(realloc(names->items, (names->count + 1) * sizeof(*names->items)));
        name = &names->items[names->count++];
        int length = snprintf(name->text, sizeof(name->text), "%s", text);
        sq_assert(length > 0 && (size_t)length < sizeof(name->text));
    }
    name->file_index = file_index;
}

static void names_remove(struct names *names, const char *text)
{
    struct name *name = names_find(names, text);
    if (name != NULL)
        *name = names->items[--names->count];
}

static void names_copy(const struct names *from, struct names *to)
{
    *to = (struct names){0};
    for (size_t i = 0; i < from->count; i++)
        names_put(to, from->items[i].text, from->items[i].file_index);
}

static void names_apply(struct names *names, const struct name_change *change)
{
    if (change->kind == NAME_MOVED)
        names_remove(names, change->from);
    if (change->kind == NAME_REMOVED)
        names_remove(names, change->name.text);
    else
        names_put(names, change->name.text, change->name.file_index);
}

static void append_name_change(struct disk_state *state, const struct name_change *change)
{
    struct name_change *copy = must_have(malloc(sizeof(*copy)));
    *copy = *change;
    copy->next = NULL;
    *state->name_changes_end = copy;
    state->name_changes_end = &copy->next;
}

static void note_name_change(struct disk_state *state, enum name_change_kind kind, const char *name, const char *from,
                             size_t file_index)
{
    struct name_change change = {.number = ++state->number, .kind = kind};
    change.name.file_index = file_index;
    snprintf(change.name.text, sizeof(change.name.text), "%s", name);
    if (from != NULL)
        snprintf(change.from, sizeof(change.from), "%s", from);
    append_name_change(state, &change);
    names_apply(&state->seen, &change);
}

const struct name *disk_state_find(const struct disk_state *state, const char *name)
{
    return names_find(&state->seen, name);
}

static size_t add_file(struct disk_state *state, struct file *file)
{
    state->files = must_have(realloc(state->files, (state->file_count + 1) * sizeof(struct file *)));
    state->files[state->file_count] = file;
    return state->file_count++;
}

size_t disk_state_create(struct disk_state *state, const char *name)
{
    size_t file_index = add_file(state, file_new());
    note_name_change(state, NAME_CREATED, name, NULL, file_index);
    return file_index;
}

void disk_state_remove(struct disk_state *state, const char *name)
{
    note_name_change(state, NAME_REMOVED, name, NULL, 0);
}

void disk_state_move(struct disk_state *state, const char *from, const char *to)
{
    const struct name *name = names_find(&state->seen, from);
    sq_assert(name != NULL);
    note_name_change(state, NAME_MOVED, to, from, name->file_index);
}

void disk_state_change(struct disk_state *state, size_t file_index, bool is_truncate, size_t offset, const void *data,
                       size_t length)
{
    struct change *change = change_new(length, data);
    change->number = ++state->number;
    change->is_truncate = is_truncate;
    change->offset = offset;
    file_append(state->files[file_index], change);
}

void disk_state_sync_names(struct disk_state *state, uint64_t number)
{
    while (state->name_changes != NULL && state->name_changes->number <= number) {
        struct name_change *change = state->name_changes;
        names_apply(&state->durable, change);
        state->name_changes = change->next;
        free(change);
    }
    if (state->name_changes == NULL)
        state->name_changes_end = &state->name_changes;
}

/* --- States ------------------------------------------------------------------------------------------------------- */

void disk_state_init(struct disk_state *state)
{
    memset(state, 0, sizeof(*state));
    state->name_changes_end = &state->name_changes;
}

void disk_state_done(struct disk_state *state)
{
    for (size_t i = 0; i < state->file_count; i++)
        file_free(state->files[i]);
    free(state->files);
    free(state->durable.items);
    free(state->seen.items);
    while (state->name_changes != NULL) {
        struct name_change *next = state->name_changes->next;
        free(state->name_changes);
        state->name_changes = next;
    }
}

static void keep_file(const struct disk_state *from, struct disk_state *to, size_t file_index)
{
    if (to->files[file_index] == NULL)
        to->files[file_index] = file_copy(from->files[file_index]);
}

/* Files that no name leads to any more are left out. */
void disk_state_copy(const struct disk_state *from, struct disk_state *to)
{
    disk_state_init(to);
    to->number = from->number;
    to->file_count = from->file_count;
    to->files = must_have(calloc(from->file_count + 1, sizeof(struct file *)));
    names_copy(&from->durable, &to->durable);
    names_copy(&from->seen, &to->seen);
    for (size_t i = 0; i < from->durable.count; i++)
        keep_file(from, to, from->durable.items[i].file_index);
    for (size_t i = 0; i < from->seen.count; i++)
        keep_file(from, to, from->seen.items[i].file_index);
    for (const struct name_change *change = from->name_changes; change != NULL; change = change->next) {
        append_name_change(to, change);
        if (change->kind != NAME_REMOVED)
            keep_file(from, to, change->name.file_index);
    }
}

static bool is_kept(const char *name)
{
    size_t length = strlen(name);
    bool is_index = length > 4 && strcmp(name + length - 4, "-shm") == 0;
    return name[0] != '.' && !is_index && strcmp(name, "sqld.lock") != 0;
}

void disk_state_load(struct disk_state *state, const char *dir)
{
    DIR *directory = opendir(dir);
    sq_assert(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (!is_kept(entry->d_name))
            continue;
        struct file *file = file_new();
        int fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
        sq_assert(fd >= 0);
        off_t length = lseek(fd, 0, SEEK_END);
        bytes_resize(&file->durable, (size_t)length);
        ssize_t got = pread(fd, file->durable.data, (size_t)length, 0);
        sq_assert(got == (ssize_t)length);
        close(fd);
        size_t file_index = add_file(state, file);
        names_put(&state->durable, entry->d_name, file_index);
        names_put(&state->seen, entry->d_name, file_index);
    }
    closedir(directory);
}

static void write_file(const char *dir, const char *name, const struct bytes *bytes)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", dir, name);
    sq_assert(length > 0 && (size_t)length < sizeof(path));
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    sq_assert(fd >= 0);
    ssize_t written = bytes->length > 0 ? pwrite(fd, bytes->data, bytes->length, 0) : 0;
    sq_assert(written == (ssize_t)bytes->length);
    close(fd);
}

void disk_state_write_seen(const struct disk_state *state, const char *dir)
{
    for (size_t i = 0; i < state->seen.count; i++) {
        struct bytes seen;
        file_seen(state->files[state->seen.items[i].file_index], &seen);
        write_file(dir, state->seen.items[i].text, &seen);
        bytes_done(&seen);
    }
}

/* --- Losses ------------------------------------------------------------------------------------------------------- */

const char *const disk_loss_names[DISK_LOSSES] = {"all",     "none", "later", "changes",
                                                  "sectors", "few",  "most",  "some files"};

/* When time stopped, for DISK_LOSE_LATER: at one of the pending changes. */
static uint64_t choose_moment(const struct disk_state *state, struct dice *dice)
{
    uint64_t first = state->number;
    for (size_t i = 0; i < state->file_count; i++) {
        const struct file *file = state->files[i];
        if (file != NULL && file->changes != NULL && file->changes->number < first)
            first = file->changes->number;
    }
    if (state->name_changes != NULL && state->name_changes->number < first)
        first = state->name_changes->number;
    return first + dice_below(dice, state->number - first + 2);
}

static enum fate choose_fate(enum disk_loss loss, uint64_t number, uint64_t moment, bool is_lucky, struct dice *dice)
{
    unsigned roll = (unsigned)dice_below(dice, 100);
    switch (loss) {
    case DISK_LOSE_ALL:
        return FATE_LOST;
    case DISK_LOSE_NONE:
        return FATE_WHOLE;
    case DISK_LOSE_LATER:
        if (number == moment)
            return FATE_TORN;
        return number < moment ? FATE_WHOLE : FATE_LOST;
    case DISK_LOSE_CHANGES:
        return roll < 33 ? FATE_LOST : roll < 66 ? FATE_WHOLE : FATE_TORN;
    case DISK_LOSE_SECTORS:
        return FATE_TORN;
    case DISK_LOSE_FEW:
        return roll < 5 ? FATE_LOST : roll < 10 ? FATE_TORN : FATE_WHOLE;
    case DISK_LOSE_MOST:
        return roll < 5 ? FATE_WHOLE : roll < 10 ? FATE_TORN : FATE_LOST;
    case DISK_LOSE_SOME_FILES:
        return is_lucky ? FATE_WHOLE : FATE_LOST;
    case DISK_LOSSES:
        break;
    }
    return FATE_LOST;
}

static void choose_names(const struct disk_state *state, enum disk_loss loss, uint64_t moment, struct dice *dice,
                         struct names *names)
{
    struct names stopped = {0}; /* what happened to a name later than something that was lost is lost too */
    bool is_lucky = dice_chance(dice, 50);
    names_copy(&state->durable, names);
    for (const struct name_change *change = state->name_changes; change != NULL; change = change->next) {
        enum fate fate = choose_fate(loss, change->number, moment, is_lucky, dice);
        if (fate == FATE_TORN)
            fate = dice_chance(dice, 50) ? FATE_WHOLE : FATE_LOST;
        bool is_stopped = names_find(&stopped, change->name.text) != NULL ||
                          (change->kind == NAME_MOVED && names_find(&stopped, change->from) != NULL);
        if (fate == FATE_WHOLE && !is_stopped) {
            names_apply(names, change);
            continue;
        }
        names_put(&stopped, change->name.text, 0);
        if (change->kind == NAME_MOVED)
            names_put(&stopped, change->from, 0);
    }
    free(stopped.items);
}

void disk_state_write(const struct disk_state *state, enum disk_loss loss, struct dice *dice, const char *dir)
{
    struct names names;
    if (loss == DISK_LOSE_NONE) {
        disk_state_write_seen(state, dir);
        return;
    }
    uint64_t moment = choose_moment(state, dice);
    choose_names(state, loss, moment, dice, &names);
    for (size_t i = 0; i < names.count; i++) {
        const struct file *file = state->files[names.items[i].file_index];
        bool is_lucky = dice_chance(dice, 50);
        struct image image;
        struct bytes left;
        image_init(&image, &file->durable);
        for (const struct change *change = file->changes; change != NULL; change = change->next) {
            enum fate fate = choose_fate(loss, change->number, moment, is_lucky, dice);
            image_step(&image, change, change->is_settled ? FATE_LOST : fate, dice);
        }
        image_done(&image, &left);
        write_file(dir, names.items[i].text, &left);
        bytes_done(&left);
    }
    free(names.items);
}
