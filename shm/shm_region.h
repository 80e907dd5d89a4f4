/* The shared region: created once, attached by everybody, mapped read-only
 * except for the areas whose lease the process holds, and the bells.
 *
 * The object is /dev/shm/<name>; lane n's owner is woken from poll by the FIFO
 * /dev/shm/<name>.bell<n>; /dev/shm/<name>.new is a region that is being
 * built. All are of mode 0600: every process of a gateway runs as one user.
 * Only shm_region.c maps shared memory; shm_ledger_file.c maps files that nobody writes.
 */
#ifndef PAYRING_SHM_REGION_H
#define PAYRING_SHM_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "shm/shm_layout.h"
#include "shm/shm_places.h"

#define SHM_REGION_NAME_MAX  64
#define SHM_REGION_PATH_SIZE 128 /* of the object, its FIFOs and its half, with NUL */

/* A process's local handle. Plain values, validated at attach, trusted after. */
struct shm_region {
    char name[SHM_REGION_NAME_MAX + 1];
    int fd;        /* own open file description: leases hang on it; close-on-exec */
    uint8_t *base; /* NULL: not attached */
    struct shm_geometry geometry;
    struct shm_places places;
    int64_t base_time_ms;             /* what packed ledger rows count from */
    int64_t created_at_ms;            /* wall clock */
    uint64_t created_at_monotonic_ms; /* for the region's age */
    uint64_t region_id_hi, region_id_lo;
    uint64_t ledger_id_hi, ledger_id_lo;
    struct shm_archive *archive; /* the ledger's files (shm_archive_open); NULL: none known here */
    enum shm_durability durability;
    enum shm_origin origin;
};

/* Build, fill and only then name a new region: nobody ever sees one that is not ready.
 * A geometry that says 0 for ledger_segment_rows gets what shm_places_segment_rows says.
 *
 * STATUS_EXISTS   a region of that name is there; it is left untouched
 * STATUS_BUSY     another process has been building it for 5 s
 * STATUS_INVALID  the geometry or the name; names the setting
 * STATUS_FULL     /dev/shm has no room for it; says how much is wanted
 * STATUS_SYSTEM   permissions, descriptors, memory
 *
 * Order:   the whole size is allocated first (a full tmpfs is this error here,
 *          never a SIGBUS later), then the contents, the FIFOs, the name.
 * Crash:   leaves at most <name>.new and FIFOs without a region. The creation
 *          lock on <name>.new ends with its holder; the next creator removes
 *          what is left and starts over.
 */
enum status shm_region_create(const char *name, const struct shm_geometry *, struct explain *why);

/* The same with contents: what survived on disk of what an older region held.
 *
 * `seed` is called once, when the region is as empty as any new one, in whole
 * writable and has no name yet: it may use everything that a lane's owner may
 * (shm_archive_adopt, shm_ledger_writer_open, shm_payments_fill ...), and sets no
 * `unsettled` too low. What it returns but OK is returned, and there is no region
 * then. Crash: as for shm_region_create; nobody has seen anything of it.
 */
struct shm_region_seed {
    enum status (*seed)(struct shm_region *, void *context, struct explain *why);
    void *context;
};

/* STATUS_EXISTS: there is one of that name. Creation looks by itself; for those who have to do
 * something else before. */
enum status shm_region_refuse_existing(const char *name, struct explain *why);

enum status shm_region_create_seeded(const char *name, const struct shm_geometry *,
                                     const struct shm_region_seed *, struct explain *why);

/* Map a region read-only, but for the bells.
 *
 * Waits up to wait_ms (0: not at all) for a region of that name to appear, and
 * says what it waited for. Everything in the header is verified before it is
 * believed: size, magic, version, fingerprint, geometry, places.
 *
 * STATUS_NOT_FOUND    none there, or one that was removed (wait_ms 0)
 * STATUS_TIMED_OUT    the same after wait_ms
 * STATUS_UNSUPPORTED  another layout; at once
 * STATUS_DAMAGED      not a region, or of a size that its geometry does not have; at once
 * STATUS_SYSTEM       permissions, descriptors, memory; at once
 */
enum status shm_region_attach(struct shm_region *, const char *name, int64_t wait_ms,
                              struct explain *why);

/* The same for an inspector: the file itself is opened read-only, so that no
 * lease can be taken and nothing be made writable. Never waits. */
enum status shm_region_attach_read_only(struct shm_region *, const char *name, struct explain *why);

/* Unmap and close, which gives back every lease. Nothing for a handle of zeros. */
void shm_region_detach(struct shm_region *);

/* Is the object that we have mapped still the one of that name, and not removed?
 * Ask after taking a lease: two regions of a name must never live at once. */
bool shm_region_is_current(const struct shm_region *);

/* Remove a region and its FIFOs.
 *
 * Takes every lease first, so nothing moves while it looks: STATUS_BUSY names
 * the one that is in use, and force does not change that. STATUS_EXISTS tells
 * of payments in rings or tables that have not ended, or STATUS_UNSUPPORTED or
 * STATUS_DAMAGED why that cannot be told; `force` loses them.
 *
 * Order:   marked REMOVED, then FIFOs, then the name, and that only if it is
 *          still this object's.
 * Crash:   a region that is marked but still named is refused by everybody and
 *          can be removed again.
 */
enum status shm_region_remove(const char *name, bool force, struct explain *why);

/* Make the area of a lease writable, or read-only again. Only with the lease
 * held; close before it is given back. STATUS_SYSTEM: the kernel refused. */
enum status shm_region_open_api(struct shm_region *, unsigned api_slot, struct explain *why);
enum status shm_region_open_lane(struct shm_region *, unsigned lane, struct explain *why);
enum status shm_region_open_health(struct shm_region *, struct explain *why);
enum status shm_region_open_purge(struct shm_region *, struct explain *why);
enum status shm_region_open_operator(struct shm_region *, struct explain *why);
void shm_region_close_api(struct shm_region *, unsigned api_slot);
void shm_region_close_lane(struct shm_region *, unsigned lane);
void shm_region_close_health(struct shm_region *);
void shm_region_close_purge(struct shm_region *);
void shm_region_close_operator(struct shm_region *);

/* Where things are in this process. CHECKs the slot, lane and generation. What
 * is not open is read-only (the bells are open): the pointer's type does not say so, the page does.
 */
struct shm_header *shm_region_header(const struct shm_region *);
struct shm_purge *shm_region_purge(const struct shm_region *);
struct shm_health *shm_region_health(const struct shm_region *);
struct shm_operator *shm_region_operator(const struct shm_region *);
struct shm_bell *shm_region_bell(const struct shm_region *, unsigned lane);
struct shm_api *shm_region_api(const struct shm_region *, unsigned api_slot);
struct shm_ring_slot *shm_region_ring_slots(const struct shm_region *, unsigned api_slot,
                                            unsigned lane);
struct shm_lane *shm_region_lane(const struct shm_region *, unsigned lane);
/* the lane's larger arrays */
struct shm_payment *shm_region_payments(const struct shm_region *, unsigned lane);
_Atomic uint32_t *shm_region_index_heads(const struct shm_region *, unsigned lane);
_Atomic uint32_t *shm_region_index_next(const struct shm_region *, unsigned lane);
uint64_t *shm_region_filter(const struct shm_region *, unsigned lane, unsigned generation);
struct shm_block *shm_region_slices(const struct shm_region *, unsigned lane);
struct shm_block *shm_region_blocks(const struct shm_region *, unsigned lane);
struct shm_block *shm_region_groups(const struct shm_region *, unsigned lane);
struct shm_block *shm_region_segments(const struct shm_region *, unsigned lane);
uint64_t *shm_region_rows(const struct shm_region *, unsigned lane);

/* Path of a lane's doorbell FIFO. `size` of SHM_REGION_PATH_SIZE is enough for every name. */
void shm_region_fifo_path(const char *name, unsigned lane, char *path, size_t size);

#endif
