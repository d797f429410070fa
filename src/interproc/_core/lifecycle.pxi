# lifecycle.pxi: what this process's fork() and its end do to its arenas.

cdef dict _forking = {}     # thread -> the arenas in which it has places for a child
cdef dict _bequests = {}    # thread that starts a process of its network -> the ends and enrolments that its forked child is to have


def leave():
    """What a process does last: lets go of its queues and pipes; its handles raise ArenaClosed from then on."""
    global _exiting
    cdef Arena arena
    _exiting = True
    alone = _threading.active_count() == 1
    for arena in list(_arenas.values()):
        arena._withdraw(alone)


# ---- fork(): the child's place is taken, and holds what the parent holds, before the child exists (core/fork.h)

def _before_fork():
    cdef Arena arena
    cdef uint32_t slot, generation
    cdef int status
    Arena.default()
    kept = _forking[_threading.get_ident()] = list(_arenas.values())    # none goes while its place is kept
    error = None
    for arena in kept:
        if arena.c.generation == 0:
            continue
        with nogil:
            status = ip_fork_prepare(&arena.c)
        if status == IP_CROWDED and arena.reap():
            status = ip_fork_prepare(&arena.c)
        if status and error is None:    # the child will be in the others
            error = _error(status, arena, "a place for the child of fork()")
        if status == IP_OK and _threading.get_ident() in _bequests and ip_fork_slot(&arena.c, &slot, &generation) == IP_OK:
            ip_member_note_starter(&arena.c, slot)
    for handle in _bequests.get(_threading.get_ident(), ()):
        status = _bequeath(handle)
        if status and status != IP_FREED and error is None:     # freed: it has ended, as its use will tell
            error = _error(status, (<Handle>handle).arena, f"giving {handle!r} to the child of fork()")
    if error is not None:
        raise error


def bequeath(handles):
    """What this thread starts now, until bequeath(None), is a process of its network: should this process be killed, the channels
    that the other has ends of are poisoned, too. If it is forked, it has these: ends of channels, which stay this process's, too,
    and enrolments, which move."""
    cdef list them = list(() if handles is None else handles)
    for handle in them:
        if isinstance(handle, End):
            (<End>handle)._ready()
        elif isinstance(handle, Enrolment):
            (<Enrolment>handle)._check_free()
        else:
            raise TypeError(f"only ends of channels and enrolments can be bequeathed, not {type(handle).__name__}")
    _bequests.pop(_threading.get_ident(), None)
    if handles is not None:
        _bequests[_threading.get_ident()] = them


cdef int _bequeath(Handle handle) except -1:
    """Has the place of the child hold it."""
    cdef uint32_t slot, generation
    cdef int status = ip_fork_slot(&handle.arena.c, &slot, &generation)
    if status:
        return status
    status = ip_object_hold(&handle.arena.c, handle.c_id, handle.c_end, slot)
    if status == IP_OK and isinstance(handle, Enrolment):
        (<Enrolment>handle)._move()
    return status


def _after_fork_in_parent():
    ip_fork_parent()
    _forking.pop(_threading.get_ident(), None)
    _bequests.pop(_threading.get_ident(), None)


cdef int _inherit(list handles) except -1:
    """In the child: these are its own from the start."""
    cdef Handle handle
    cdef Enrolment enrolment
    for handle in handles:
        if handle.arena.c.generation == 0:
            continue
        if isinstance(handle, End):
            (<End>handle).owned_of = _forks
        else:
            enrolment = handle
            if not enrolment.moved:     # it had ended, as its use tells
                continue
            enrolment.moved = False
            enrolment.owned_of = _forks
        key = _hold_key(handle.c_id, handle.c_end)
        handle.arena.held[key] = handle.arena.held.get(key, 0) + 1
        handle.open = True
    return 0


cdef bint _of_one_process(int kind, unsigned end):
    """Does a child not inherit such a hold?"""
    return kind == IP_PARTY or (kind == IP_CHANNEL and end < IP_KEEPS)


def _after_fork_in_child():
    """The core has made this process a member already; here it lets go of what other threads and hooks have closed
    between its place's making and the fork, and takes hold of what they have opened. Sides of channels it has only if they
    were bequeathed."""
    global _forks, _open_lock
    cdef list bequest = _bequests.pop(_threading.get_ident(), [])
    cdef Handle handle
    cdef Arena arena
    cdef ip_object_info info
    cdef ip_id id
    cdef uint32_t index
    cdef unsigned end
    _forks += 1
    _forking.clear()
    _bequests.clear()
    given = {(handle.arena.uid, _hold_key(handle.c_id, handle.c_end)) for handle in bequest}
    _open_lock = _threading.RLock()
    for arena in list(_arenas.values()):
        if arena.c.generation == 0:
            continue
        missing = set(arena.held)
        index = 0
        while ip_object_next(&arena.c, &index, &info) == IP_OK:
            for end in range(info.ends):
                key = _hold_key(info.id, end)
                if _of_one_process(info.kind, end):
                    arena.held.pop(key, None)
                    missing.discard(key)
                    if info.mine[end] and (arena.uid, key) not in given:
                        ip_object_release(&arena.c, info.id, end)
                elif info.mine[end] and key not in arena.held:
                    ip_object_release(&arena.c, info.id, end)
                elif info.mine[end]:
                    missing.discard(key)
        for key in missing:
            id.index = key & 0xFFFFF
            id.generation = key >> 20 & 0xFFFFFFFF
            end = key >> 52
            if end & IP_ENROLMENT:      # the parent's
                del arena.held[key]
            else:
                ip_object_hold(&arena.c, id, end, arena.c.self)     # freed by now: its use will tell
    _inherit(bequest)
    _forget_parties()


_os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
