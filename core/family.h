/* family.h: what becomes of those whose starter is killed.
 *
 * A member notes who has started it, if that one started it as a process of its network (member.h). Whoever buries one that was killed,
 * that is, did not announce its end, poisons each channel of which a member that it has started holds a side, or one that such a
 * member has started, and so on: as if they had died. They are told so, and end, or go on by themselves. Each channel is a change of
 * its own, and all of it can be repeated; it comes before what the dead one has is cleared away, so its slot is LEAVING until it is done.
 */
#ifndef IP_FAMILY_H
#define IP_FAMILY_H

#include "arena.h"

/* Takes the arena lock. */
ip_status ip_family_bereave(ip_arena *arena, uint32_t member, uint32_t generation);

#endif
