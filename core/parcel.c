/* parcel.c: messages into and out of parties. */
#include "parcel.h"

#include <string.h>

#include "fault.h"

#define SET(word, value) IP_TRY(ip_journal_set(arena, (word), (value)))

void ip_box_init(ip_box *box) {
    ip_set(&box->block, 0);
    for (unsigned i = 0; i < IP_BOX_FEW; i++) ip_set(&box->few[i], 0);
}

ip_status ip_box_words(ip_arena *arena, ip_box *box, ip_word **words, uint64_t *room) {
    uint64_t at, size = sizeof box->few;
    ip_block *block;
    IP_READ(&box->block, at);
    if (at) IP_TRY(ip_heap_block(arena, at, &block, &size));
    *words = at ? ip_at(arena, at) : box->few;
    *room = size / sizeof(ip_word);
    return IP_OK;
}

static ip_status replace_block(ip_arena *arena, ip_box *box, uint64_t size) {
    uint64_t old, at;
    ip_range freed;
    IP_READ(&box->block, old);
    IP_TRY(ip_heap_alloc(arena, size, 0, &at));
    SET(&box->block, at);
    return old ? ip_heap_free(arena, old, &freed) : IP_OK;
}

ip_status ip_box_make_room(ip_arena *arena, ip_box *box, uint64_t words) {
    uint64_t room;
    ip_word *at;
    IP_TRY(ip_box_words(arena, box, &at, &room));
    if (words <= room) return IP_OK;
    while (room < words) room *= 2;
    ip_status status = replace_block(arena, box, room * sizeof(ip_word));
    FAULT("parcel.box");
    if (status == IP_OK)
        ip_journal_commit(arena);
    else
        ip_journal_rollback(arena);
    return status;
}

ip_status ip_box_free(ip_arena *arena, ip_box *box) {
    uint64_t at;
    ip_range freed;
    IP_READ(&box->block, at);
    return at ? ip_heap_free(arena, at, &freed) : IP_OK;
}

/* ---- parcels ---- */

enum { SHAPE, SIZE, SUM, BLOCK, BLOCK_SUM, FIXED };
#define IN_BLOCK (UINT64_C(1) << 40)
#define THERE (UINT64_C(1) << 41)

static uint64_t fixed_words(const ip_outgoing *m) { return FIXED + 2 * (uint64_t)m->n_handles + (m->block ? m->n_pieces : 0); }

uint64_t ip_parcel_size(const ip_outgoing *m) { return 8 * fixed_words(m) + (m->block ? 0 : (m->size + 7) & ~UINT64_C(7)); }

ip_status ip_parcel_write(ip_word *parcel, uint64_t room, const ip_outgoing *m, uint64_t *used) {
    uint64_t n = FIXED, shape, sum;
    if (m->n_handles > IP_PARCEL_HANDLES_MAX || (m->block && m->n_pieces > IP_PARCEL_PIECES_MAX)) return IP_TOO_LONG;
    if ((!m->block && m->size > 8 * room) || ip_parcel_size(m) > 8 * room) return IP_TOO_LONG;
    shape = THERE | m->kind | (uint64_t)m->n_handles << 8 | (m->block ? (uint64_t)m->n_pieces << 24 | IN_BLOCK : 0);
    ip_set(&parcel[SHAPE], shape);
    ip_set(&parcel[SIZE], m->size);
    ip_set(&parcel[BLOCK], m->block);
    ip_set(&parcel[BLOCK_SUM], m->block ? m->block_sum : 0);
    for (unsigned i = 0; i < m->n_handles; i++, n += 2) ip_handle_write(&parcel[n], &m->handles[i]);
    if (m->block)
        for (unsigned i = 0; i < m->n_pieces; i++) ip_set(&parcel[n++], m->pieces[i].size);
    sum = ip_sum((void *)&parcel[BLOCK], 8 * (n - BLOCK), shape ^ m->size << 41);
    if (!m->block) sum = ip_copy_sum((void *)&parcel[n], m->data, m->size, sum);
    ip_set(&parcel[SUM], sum & IP_PAYLOAD_MAX);
    *used = ip_parcel_size(m) / 8;
    FAULT("parcel.written");
    return IP_OK;
}

void ip_parcel_remove(ip_word *parcel) { ip_set(&parcel[SHAPE], 0); }

ip_status ip_parcel_is_there(const ip_word *parcel, bool *there) {
    uint64_t shape;
    IP_READ(&parcel[SHAPE], shape);
    *there = shape & THERE;
    return IP_OK;
}

ip_status ip_parcel_read(const ip_word *parcel, uint64_t room, unsigned char *scratch, ip_incoming *message) {
    uint64_t shape, size, sum, n = FIXED, now;
    ip_handle_ref *handles = (ip_handle_ref *)(void *)(scratch + 8 * IP_PARCEL_WORDS);
    memset(message, 0, sizeof *message);
    if (room > IP_PARCEL_WORDS) room = IP_PARCEL_WORDS;
    if (room < FIXED) return IP_CORRUPT;
    IP_READ(&parcel[SHAPE], shape);
    if (!(shape & THERE)) return IP_CORRUPT;
    IP_READ(&parcel[SIZE], size);
    IP_READ(&parcel[SUM], sum);
    IP_READ(&parcel[BLOCK], message->block);
    IP_READ(&parcel[BLOCK_SUM], message->block_sum);
    message->kind = (uint8_t)shape;
    message->size = size;
    message->n_handles = (unsigned)(shape >> 8 & 0xFFFF);
    message->n_pieces = (unsigned)(shape >> 24 & 0xFFFF);
    if (message->n_handles > IP_PARCEL_HANDLES_MAX || message->n_pieces > IP_PARCEL_PIECES_MAX ||
        !(shape & IN_BLOCK) != !message->block)
        return IP_CORRUPT;
    n += 2 * (uint64_t)message->n_handles + message->n_pieces;
    if (n > room || (!message->block && size > 8 * (room - n))) return IP_CORRUPT;
    now = ip_copy_sum(scratch + 8 * BLOCK, (const void *)&parcel[BLOCK], 8 * (n - BLOCK), shape ^ size << 41);
    if (!message->block) now = ip_copy_sum(scratch + 8 * n, (const void *)&parcel[n], size, now);
    if ((now & IP_PAYLOAD_MAX) != sum) return IP_CORRUPT;
    const ip_word *copied = (const ip_word *)(void *)scratch;
    for (unsigned i = 0; i < message->n_handles; i++) IP_TRY(ip_handle_read(&copied[FIXED + 2 * i], &handles[i]));
    message->handles = handles;
    message->piece_sizes = copied + n - message->n_pieces;
    message->data = message->block ? NULL : scratch + 8 * n;
    return IP_OK;
}
