# choose.pxi: choices of threads: one end alone, or any guards.


cdef _Attempt _single(Party party, End end):
    """Of one end alone, which is ready: the same for all of a party, one after the other."""
    cdef _Attempt attempt = party.single
    if attempt is None:
        attempt = party.single = _Attempt.__new__(_Attempt)
        attempt.arena = party.arena
        attempt.c = &attempt.only
        attempt.n = 1
        attempt.guards = [None]
        memset(&attempt.only, 0, sizeof(ip_guard))
    attempt.only.object = end.object
    attempt.only.id = end.c_id
    attempt.only.side = end.c_end
    attempt.only.message = NULL
    return attempt


cdef object _wait_alone(_Attempt attempt, Party party, End end, _Message message, uint64_t deadline, object timeout):
    """Goes on with it, until it is decided; the value received."""
    cdef int status
    attempt.guards[0] = end
    attempt.buffered = end.capacity != 0
    if message is not None:
        attempt.messages = [message]
        attempt.only.message = &message.c if end.capacity == 0 else NULL
    try:
        status = attempt._run_as(party, deadline)
        if status:
            raise attempt._failure(status, timeout)
        return attempt.value
    finally:
        attempt.guards[0] = None
        attempt.messages = None
        attempt.value = None
        attempt.offered = attempt.lingers = False


cdef _Attempt _attempt(object guards, object values, unsigned first):
    """Of the guards, each an End (which reads, or writes values[i]) or an Enrolment."""
    cdef _Attempt attempt = _Attempt.__new__(_Attempt)
    cdef unsigned i
    cdef End end
    cdef list messages = None
    attempt.c = &attempt.only
    attempt.guards = tuple(guards)     # the very same, mostly
    if len(attempt.guards) > IP_GUARDS_MAX:
        raise ValueError(f"a choice has at most {IP_GUARDS_MAX} guards, not {len(attempt.guards)}")
    attempt.n = len(attempt.guards)
    if attempt.n == 0:
        raise ValueError("a choice needs a guard")
    if attempt.n > 1:
        attempt.c = <ip_guard *>malloc(attempt.n * sizeof(ip_guard))
        if attempt.c == NULL:
            attempt.c = &attempt.only
            raise MemoryError("no memory for the guards of a choice")
    attempt.first = first % attempt.n
    for i in range(attempt.n):
        guard = attempt.guards[i]
        if isinstance(guard, End):
            end = guard
            end._ready()
            if end.c_end == IP_WRITES:
                if messages is None:
                    messages = [None] * attempt.n
                messages[i] = _encoded(end, values[i])
        elif isinstance(guard, Enrolment):
            (<Enrolment>guard)._check_mine()
        else:
            raise TypeError(f"a guard is an end of a channel or an enrolment, not {type(guard).__name__}")
    attempt.messages = messages
    for i in range(attempt.n):
        attempt._set(i, attempt.guards[i], None if messages is None else messages[i])
    return attempt


cdef _Message _encoded(End end, object obj):
    cdef Encoder encoder = _borrow_encoder()
    try:
        encoder.encode(obj)
        return _message(end, encoder, end.capacity == 0)
    finally:
        _return_encoder(encoder)


def choose(guards, values=None, unsigned first=0, timeout=None, outside=None):
    """Waits until one of the communications can take place, makes it, and returns its index and the value received (or None).

    guards: End, which receives or sends values[i], and Enrolment. The search begins with `first`. outside: called once the offers are
    out, and after each poke of this thread's party; if it is true, they are taken back and None is returned.
    Raises TimeoutError, Deadlock, and ChannelPoison or ChannelRetire with the guard as `end`.
    """
    cdef uint64_t deadline = UINT64_MAX if timeout is None else _deadline(timeout)
    cdef _Attempt attempt = _attempt(guards, values, first)
    cdef int status
    attempt.probe = outside
    status = attempt._run(deadline)
    if status == IP_AGAIN and attempt.probed:
        return None
    return attempt._result(status, timeout)
