# lifecycle.pxi: what this process's fork() and its end do to its arenas.

cdef dict _forking = {}     # thread -> the arenas in which it has places for a child


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
    if error is not None:
        raise error


def _after_fork_in_parent():
    ip_fork_parent()
    _forking.pop(_threading.get_ident(), None)


def _after_fork_in_child():
    """The core has made this process a member already; here it lets go of what other threads and hooks have closed
    between its place's making and the fork, and takes hold of what they have opened."""
    global _forks, _open_lock
    cdef Arena arena
    cdef ip_object_info info
    cdef ip_id id
    cdef uint32_t index
    cdef unsigned end
    _forks += 1
    _forking.clear()
    _open_lock = _threading.RLock()
    for arena in list(_arenas.values()):
        if arena.c.generation == 0:
            continue
        missing = set(arena.held)
        index = 0
        while ip_object_next(&arena.c, &index, &info) == IP_OK:
            for end in range(info.ends):
                key = (info.id.index, info.id.generation, end)
                if info.mine[end] and key not in arena.held:
                    ip_object_release(&arena.c, info.id, end)
                elif info.mine[end]:
                    missing.discard(key)
        for key in missing:
            id.index = key[0]
            id.generation = key[1]
            ip_object_hold(&arena.c, id, key[2], arena.c.self)  # freed by now: its use will tell


_os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
