# stuck.pxi: the parties of an arena, and those among them that wait for ever (core/stuck.c); who draws it is interproc.csp.

cdef extern from *:
    """
    static inline ip_id ip_shown_object(const ip_stuck_party *p, unsigned i) { return p->guards[i].object; }
    static inline unsigned ip_shown_side(const ip_stuck_party *p, unsigned i) { return p->guards[i].side; }
    """
    ip_id shown_object "ip_shown_object"(const ip_stuck_party *party, unsigned i) noexcept
    unsigned shown_side "ip_shown_side"(const ip_stuck_party *party, unsigned i) noexcept


cdef dict _PHASES = {IP_PARTY_IDLE: "idle", IP_PARTY_WAITING: "waiting", IP_PARTY_DONE: "done", IP_PARTY_POKED: "poked",
                     IP_PARTY_MET: "met", IP_PARTY_STUCK: "stuck"}
cdef tuple _MODES = ((IP_TIMED, "timed"), (IP_OUTSIDE, "outside"), (IP_CROWD, "crowd"), (IP_JOINING, "joining"), (IP_LOOP, "loop"),
                     (IP_STALLS, "stalls"))


cdef dict _describe(ip_stuck_party *party):
    cdef unsigned i
    cdef ip_id id
    guards = []
    for i in range(party.guards_shown):
        id = shown_object(party, i)
        kind = "barrier" if shown_side(party, i) == IP_SYNCS else "channel"
        guards.append((f"{kind}#{id.index}.{id.generation}", shown_side(party, i)))
    return {
        "id": f"party#{party.id.index}.{party.id.generation}", "index": party.id.index, "generation": party.id.generation,
        "name": ip_party_name(party.id), "ticket": party.ticket, "parent": party.parent, "pid": party.pid,
        "mode": {name for bit, name in _MODES if party.mode & bit},
        "note": PyBytes_FromStringAndSize(party.note, <Py_ssize_t>party.note_size).decode("utf-8", "replace"),
        "card": PyBytes_FromStringAndSize(party.card, <Py_ssize_t>party.card_size).decode("utf-8", "replace"),
        "guards": guards, "n_guards": party.n_guards}


def stuck(Arena arena=None):
    """Descriptions of the parties whose wait can never end, as of this moment: a list of dicts."""
    cdef Arena a = Arena.default() if arena is None else arena
    cdef ip_stuck_party *found = NULL
    cdef unsigned room = 8, n = 0, i
    cdef int status = IP_OK
    try:
        while True:
            free(found)
            found = <ip_stuck_party *>malloc(room * sizeof(ip_stuck_party))
            if found == NULL:
                raise MemoryError("no memory for the description of a deadlock")
            with nogil:
                status = ip_stuck_find(&a.c, found, room, &n)
            if status:
                raise _error(status, a, "looking for deadlocks")
            if n <= room:
                return [_describe(&found[i]) for i in range(n)]
            room = n + 8
    finally:
        free(found)


def declare_stuck(found, str text, Arena arena=None):
    """Ends the waits of those that stuck() has found, each with Deadlock(text). False: it is not so any more; nothing was done."""
    cdef Arena a = Arena.default() if arena is None else arena
    cdef list them = list(found)
    cdef ip_stuck_party *parties
    cdef bytes raw = text.encode("utf-8", "backslashreplace")
    cdef unsigned n = len(them), i
    cdef int status
    if n == 0:
        return False
    parties = <ip_stuck_party *>malloc((n + 1) * sizeof(ip_stuck_party))
    if parties == NULL:
        raise MemoryError("no memory for the description of a deadlock")
    try:
        memset(parties, 0, n * sizeof(ip_stuck_party))
        for i in range(n):
            one = them[i]
            parties[i].id.index = one["index"]
            parties[i].id.generation = one["generation"]
            parties[i].ticket = one["ticket"]
        status = ip_stuck_declare(&a.c, parties, n, PyBytes_AS_STRING(raw), len(raw))
    finally:
        free(parties)
    if status and status != IP_AGAIN:
        raise _error(status, a, "declaring a deadlock")
    return status == IP_OK


def parties(Arena arena=None):
    """Descriptions of all parties, waiting or not: as stuck(), with their "phase"."""
    cdef Arena a = Arena.default() if arena is None else arena
    cdef ip_stuck_party *party = <ip_stuck_party *>malloc(sizeof(ip_stuck_party))
    cdef uint32_t index = 0
    cdef int phase = 0, status
    found = []
    if party == NULL:
        raise MemoryError("no memory for the description of a party")
    try:
        while True:
            status = ip_party_next(&a.c, &index, &phase, party)
            if status == IP_AGAIN:
                return found
            if status:
                raise _error(status, a, "looking at parties")
            one = _describe(party)
            one["phase"] = _PHASES.get(phase, "?")
            found.append(one)
    finally:
        free(party)
