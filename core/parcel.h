/* parcel.h: messages as they lie in a party, from its offer or until it looks: its inbox and its outbox.
 *
 *     shape     kind 8 | handles 16 | pieces 16 | in a block 1
 *     size      bytes of the message
 *     sum       of shape, size and all that follows
 *     block     offset of its block, or 0;  block_sum
 *     handles   two words each: index | end << 32, generation
 *     pieces    the size of each, of a message in a block
 *     contents  of a message that is not
 */
#ifndef IP_PARCEL_H
#define IP_PARCEL_H

#include "heap.h"
#include "ring.h"

#define IP_PARCEL_WORDS 128u
#define IP_PARCEL_PIECES_MAX 16u  /* pieces of one message in a block */
#define IP_PARCEL_HANDLES_MAX 50u /* handles that one message can carry */
/* Private memory that a parcel is read into: its words, then its handles. */
#define IP_PARCEL_SCRATCH (8 * IP_PARCEL_WORDS + IP_PARCEL_HANDLES_MAX * sizeof(ip_handle_ref))

/* Bytes that the message takes. */
uint64_t ip_parcel_size(const ip_outgoing *message);
/* Writes at most `room` words: IP_TOO_LONG if they are too few, or there are too many handles or pieces. *used: words. */
ip_status ip_parcel_write(ip_word *parcel, uint64_t room, const ip_outgoing *message, uint64_t *used);
/* Copies it out and checks it; what it owns is not touched. */
ip_status ip_parcel_read(const ip_word *parcel, uint64_t room, unsigned char *scratch, ip_incoming *message);

#endif
