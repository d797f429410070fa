/* parcel.h: messages as they lie in a party, from its offer or until it looks: its inbox and its outbox.
 *
 *     box       block | few            the words that parcels lie in: those few, or a block that the box has had since it needed one
 *
 * Nearly all messages are small, and there may be many parties: so a box begins with a few words, and stays as large as it once was.
 *
 *     shape     kind 8 | handles 16 | pieces 16 | in a block 1 | there is one 1
 *     size      bytes of the message
 *     sum       of shape, size and all that follows
 *     block     offset of its block, or 0;  block_sum
 *     handles   two words each (ip_handle_write)
 *     pieces    the size of each, of a message in a block
 *     contents  of a message that is not
 */
#ifndef IP_PARCEL_H
#define IP_PARCEL_H

#include "heap.h"
#include "ring.h"

#define IP_PARCEL_WORDS 128u      /* of the largest parcel */
#define IP_BOX_FEW 16u
#define IP_PARCEL_PIECES_MAX 16u  /* pieces of one message in a block */
#define IP_PARCEL_HANDLES_MAX 50u /* handles that one message can carry */
/* Private memory that a parcel is read into: its words, then its handles. */
#define IP_PARCEL_SCRATCH (8 * IP_PARCEL_WORDS + IP_PARCEL_HANDLES_MAX * sizeof(ip_handle_ref))

typedef struct {
    ip_word block; /* offset, or 0: few */
    ip_word few[IP_BOX_FEW];
} ip_box;

void ip_box_init(ip_box *box);
/* Where its words are, and how many. */
ip_status ip_box_words(ip_arena *arena, ip_box *box, ip_word **words, uint64_t *room);
/* Under the arena lock: sees to it that it has room for so many; what lay in it is gone if it had not. Commits. */
ip_status ip_box_make_room(ip_arena *arena, ip_box *box, uint64_t words);
/* Under the arena lock, within a change. */
ip_status ip_box_free(ip_arena *arena, ip_box *box);

/* Bytes that the message takes. */
uint64_t ip_parcel_size(const ip_outgoing *message);
/* Writes at most `room` words: IP_TOO_LONG if they are too few, or there are too many handles or pieces. *used: words. */
ip_status ip_parcel_write(ip_word *parcel, uint64_t room, const ip_outgoing *message, uint64_t *used);
void ip_parcel_remove(ip_word *parcel);
ip_status ip_parcel_is_there(const ip_word *parcel, bool *there);
/* Copies one out that begins here and has at most `room` words, and checks it; what it owns is not touched. */
ip_status ip_parcel_read(const ip_word *parcel, uint64_t room, unsigned char *scratch, ip_incoming *message);

#endif
