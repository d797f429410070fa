# visit.pxi: looking at an arena and its objects from outside, for pictures: a visitor takes no part.


def visit(int fd):
    """Joins the arena behind a descriptor, as a process that is no child of a member's; takes over fd.

    A visitor takes a place among the members, and gives it back when its Arena goes.
    Raises ArenaCorrupted when it is no arena, ObjectFreed when it has no members any more.
    """
    cdef Arena arena = Arena.__new__(Arena)
    cdef int status = ip_arena_attach(&arena.c, fd)
    if status:
        _os.close(fd)
        raise _error(status, None, "attaching to an arena")
    if not ip_member_others(&arena.c):
        ip_arena_detach(&arena.c)
        raise _error(IP_FREED, None, "joining an arena that no process uses any more")
    status = ip_member_join(&arena.c)
    if status:
        ip_arena_detach(&arena.c)
        raise _error(status, None, "joining an arena")
    arena._register()
    return arena


def look_at(Arena arena, uint32_t index, uint32_t generation):
    """What look() of this channel or barrier says, with its "kind" and "label"; None: it is neither, or is no more."""
    cdef Handle handle
    cdef ip_id id
    cdef ip_object *object
    cdef int kind
    cdef bint is_channel
    id.index = index
    id.generation = generation
    if ip_object_find(&arena.c, id, &kind, &object) != IP_OK or kind not in (IP_CHANNEL, IP_BARRIER):
        return None
    is_channel = kind == IP_CHANNEL
    try:    # as one who keeps it, and takes no side
        handle = _rebuild_handle(Channel if is_channel else Barrier, arena, index, generation, IP_KEEPS if is_channel else 0, None)
    except _errors.ObjectFreed:
        return None
    try:
        return {"kind": _kind_name(kind), "label": handle.label, **handle.look()}
    finally:
        handle.close()
