/* client/rebind.c: binds a library's references to its own symbols to itself. See rebind.h.
 *
 * System V ABI, "Dynamic Linking": the dynamic section names the relocations (DT_RELA, DT_JMPREL), the symbols and the
 * strings. A relocation with a symbol asks for that symbol's address (plus an addend) in one 8-byte slot. The dynamic
 * linker has written all of them (RTLD_NOW) and has then made the slots of the segment PT_GNU_RELRO read-only; that is
 * undone for as long as we write. */
#include "client/rebind.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

_Static_assert(sizeof(void *) == 8, "ELF64 only");

/* What a relocation puts into its slot: an address of a symbol plus an addend, for these three. */
#if defined(__x86_64__)
enum { ABSOLUTE = R_X86_64_64, GLOBAL_DATA = R_X86_64_GLOB_DAT, JUMP_SLOT = R_X86_64_JUMP_SLOT };
#elif defined(__aarch64__)
enum { ABSOLUTE = R_AARCH64_ABS64, GLOBAL_DATA = R_AARCH64_GLOB_DAT, JUMP_SLOT = R_AARCH64_JUMP_SLOT };
#else
#error "name this machine's relocations that hold the address of a symbol"
#endif

struct image {
    uintptr_t base;
    const char *name;
    const Elf64_Sym *symbols;
    const char *strings;
    const Elf64_Rela *tables[2]; /* DT_RELA, DT_JMPREL; NULL: none */
    size_t counts[2];
    uintptr_t relro_first, relro_end; /* whole pages; empty if equal */
};

/* Some machines' dynamic linkers leave the addresses in the dynamic section relative to the base. */
static const void *address_of(const struct image *image, const Elf64_Dyn *entry)
{
    uintptr_t address = entry->d_un.d_ptr;
    if (address < image->base)
        address += image->base;
    return (const void *)address; // NOLINT(performance-no-int-to-ptr): the dynamic section holds integers
}

static sq_status image_read(const struct link_map *map, struct sq_error *err, struct image *image)
{
    *image = (struct image){.base = map->l_addr, .name = map->l_name};
    Elf64_Xword table_bytes = 0, jump_bytes = 0;
    for (const Elf64_Dyn *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB)
            image->symbols = address_of(image, entry);
        else if (entry->d_tag == DT_STRTAB)
            image->strings = address_of(image, entry);
        else if (entry->d_tag == DT_RELA)
            image->tables[0] = address_of(image, entry);
        else if (entry->d_tag == DT_JMPREL)
            image->tables[1] = address_of(image, entry);
        else if (entry->d_tag == DT_RELASZ)
            table_bytes = entry->d_un.d_val;
        else if (entry->d_tag == DT_PLTRELSZ)
            jump_bytes = entry->d_un.d_val;
        else if (entry->d_tag == DT_REL || (entry->d_tag == DT_PLTREL && entry->d_un.d_val != DT_RELA))
            return sq_fail(err, SQ_INVALID, "'%s' has relocations without addends", image->name);
    }
    if (image->symbols == NULL || image->strings == NULL)
        return sq_fail(err, SQ_INVALID, "'%s' has no dynamic symbols", image->name);
    image->counts[0] = image->tables[0] != NULL ? table_bytes / sizeof(Elf64_Rela) : 0;
    image->counts[1] = image->tables[1] != NULL ? jump_bytes / sizeof(Elf64_Rela) : 0;
    return SQ_OK;
}

/* Finds the pages that the dynamic linker has made read-only: it rounds both ends down, as here. */
static int find_relro(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    struct image *image = argument;
    if (info->dlpi_addr != image->base || strcmp(info->dlpi_name, image->name) != 0)
        return 0;
    uintptr_t page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const Elf64_Phdr *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_GNU_RELRO) {
            image->relro_first = (image->base + header->p_vaddr) & page_mask;
            image->relro_end = (image->base + header->p_vaddr + header->p_memsz) & page_mask;
        }
    }
    return 1;
}

static sq_status relro_protect(const struct image *image, int protection, struct sq_error *err)
{
    if (image->relro_first == image->relro_end)
        return SQ_OK;
    void *first = (void *)image->relro_first; // NOLINT(performance-no-int-to-ptr): computed from segment addresses
    if (mprotect(first, image->relro_end - image->relro_first, protection) != 0)
        return sq_fail_errno(err, errno, "'%s': mprotect()", image->name);
    return SQ_OK;
}

/* The address that a reference to `symbol` of the library shall have; *ret_shared_index: of which variable, or none. */
static uintptr_t target_of(const struct image *image, const Elf64_Sym *symbol,
                           const struct client_rebind_shared *shared, size_t shared_count, size_t *ret_shared_index)
{
    const char *name = image->strings + symbol->st_name;
    for (size_t i = 0; i < shared_count; i++) {
        if (strcmp(name, shared[i].name) == 0) {
            *ret_shared_index = i;
            return (uintptr_t)shared[i].address;
        }
    }
    *ret_shared_index = shared_count;
    return image->base + symbol->st_value;
}

static sq_status table_bind(const struct image *image, size_t table, const struct client_rebind_shared *shared,
                            size_t shared_count, uint64_t *bound, struct sq_error *err)
{
    for (size_t i = 0; i < image->counts[table]; i++) {
        const Elf64_Rela *relocation = &image->tables[table][i];
        const Elf64_Sym *symbol = &image->symbols[ELF64_R_SYM(relocation->r_info)];
        unsigned char kind = ELF64_ST_TYPE(symbol->st_info);
        if (ELF64_R_SYM(relocation->r_info) == 0 || symbol->st_shndx == SHN_UNDEF ||
            (kind != STT_FUNC && kind != STT_OBJECT))
            continue;
        unsigned long type = ELF64_R_TYPE(relocation->r_info);
        if (type != ABSOLUTE && type != GLOBAL_DATA && type != JUMP_SLOT)
            return sq_fail(err, SQ_INVALID, "'%s': relocation %lu of %s", image->name, type,
                           image->strings + symbol->st_name);
        size_t index;
        uintptr_t target = target_of(image, symbol, shared, shared_count, &index) + (uintptr_t)relocation->r_addend;
        if (index < shared_count)
            *bound |= UINT64_C(1) << index;
        uintptr_t *slot = (uintptr_t *)(image->base + relocation->r_offset); // NOLINT(performance-no-int-to-ptr)
        if (*slot != target)
            *slot = target;
    }
    return SQ_OK;
}

sq_status client_rebind(void *library, const struct client_rebind_shared *shared, size_t shared_count,
                        struct sq_error *err)
{
    sq_assert(shared_count <= 64); /* bits of `bound` */
    struct link_map *map;
    if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0)
        return sq_fail(err, SQ_INVALID, "%s", dlerror());
    struct image image;
    SQ_TRY(image_read(map, err, &image));
    if (dl_iterate_phdr(find_relro, &image) == 0)
        return sq_fail(err, SQ_INVALID, "'%s' is not among the loaded libraries", image.name);

    SQ_TRY(relro_protect(&image, PROT_READ | PROT_WRITE, err));
    uint64_t bound = 0;
    sq_status status = table_bind(&image, 0, shared, shared_count, &bound, err);
    if (status == SQ_OK)
        status = table_bind(&image, 1, shared, shared_count, &bound, err);
    SQ_TRY(relro_protect(&image, PROT_READ, status == SQ_OK ? err : NULL));
    SQ_TRY(status);
    for (size_t i = 0; i < shared_count; i++) {
        if ((bound & UINT64_C(1) << i) == 0)
            return sq_fail(err, SQ_INVALID, "'%s' keeps %s to itself (linked with -Bsymbolic?)", image.name,
                           shared[i].name);
    }
    return SQ_OK;
}
