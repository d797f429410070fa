/* family.c: poisoning the channels of those whose starter was killed. */
#include "family.h"

#include "channel.h"
#include "directory.h"
#include "fault.h"
#include "member.h"

typedef uint64_t members[IP_HOLDER_WORDS]; /* a bit each, as in an end */

static ip_status find_family(ip_arena *arena, uint32_t member, uint32_t generation, members family, bool *any) {
    uint64_t used;
    IP_READ(&arena->header->members_used, used);
    if (used > IP_MEMBERS_MAX) return IP_CORRUPT;
    *any = false;
    for (uint32_t i = 0; i < used; i++) {
        if (!ip_member_descends(arena, i, member, generation)) continue;
        family[i / IP_HOLDER_BITS] |= UINT64_C(1) << i % IP_HOLDER_BITS;
        *any = true;
    }
    return IP_OK;
}

static ip_status holds_a_side(ip_object *object, const members family, bool *holds) {
    uint64_t word;
    *holds = false;
    for (unsigned side = 0; side < IP_KEEPS; side++) {
        for (unsigned i = 0; i < IP_HOLDER_WORDS; i++) {
            IP_READ(&object->ends[side].holders[i], word);
            if (word & family[i]) *holds = true;
        }
    }
    return IP_OK;
}

/* The object of one entry; under the arena lock. IP_AGAIN: there are no more. */
static ip_status bereave(ip_arena *arena, uint32_t index, const members family) {
    ip_id id;
    int kind;
    ip_object *object;
    bool holds;
    ip_status status = ip_object_at(arena, index, &id, &kind, &object);
    if (status == IP_FREED || (status == IP_OK && kind != IP_CHANNEL)) return IP_OK;
    if (status != IP_OK) return status;
    IP_TRY(holds_a_side(object, family, &holds));
    if (!holds) return IP_OK;
    IP_TRY(ip_channel_bereave(arena, object));
    ip_channel_poke_all(arena, object); /* first: see ip_channel_poison */
    FAULT("family.poked");
    ip_journal_commit(arena);
    FAULT("family.bereaved");
    return IP_OK;
}

ip_status ip_family_bereave(ip_arena *arena, uint32_t member, uint32_t generation) {
    members family = {0};
    bool any;
    IP_TRY(find_family(arena, member, generation, family, &any));
    ip_status status = any ? IP_OK : IP_AGAIN;
    for (uint32_t index = 0; status == IP_OK;) {
        IP_TRY(ip_lock_take(arena, &arena->header->lock, IP_PATIENT));
        if (!ip_member_may_clear(arena, member, generation)) status = IP_AGAIN; /* another undertaker was faster */
        for (unsigned n = 0; n < 64 && status == IP_OK; n++) status = bereave(arena, index++, family);
        status = ip_journal_conclude(arena, status);
    }
    return status == IP_AGAIN ? IP_OK : status;
}
