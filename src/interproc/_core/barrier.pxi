# barrier.pxi: barriers at which all who are enrolled meet; waiting there can be one guard of a choice (core/barrier.h).


cdef str _read_label(Handle handle, const ip_label *label):
    cdef char[IP_LABEL_MAX + 1] text
    cdef int status = ip_label_get(label, text)
    if status:
        raise _error(status, handle.arena, f"opening a {type(handle).__name__}")
    return (<bytes>text).decode("utf-8", "replace")


cdef class Barrier(Handle):
    """A barrier: whoever enrols and then waits at it goes on when all who are enrolled wait there."""
    cdef ip_barrier *barrier
    cdef readonly str label

    def __init__(self, label=None, *, arena=None):
        cdef ip_channel_settings settings
        cdef bytes raw = _cut_text(label, IP_LABEL_MAX) if label is not None else b""
        memset(&settings, 0, sizeof(settings))
        settings.label = PyBytes_AS_STRING(raw)
        settings.label_size = len(raw)
        self._create(arena, None, IP_BARRIER, 1, 1, ip_barrier_body_size(), ip_barrier_make, &settings)
        self._revived()

    cdef int _revived(self) except -1:
        cdef int status = IP_FREED
        if self.kind == IP_BARRIER:
            status = ip_barrier_of(&self.arena.c, self.object, &self.barrier)
        if status:
            raise _error(status, self.arena, f"opening a {type(self).__name__}")
        self.label = _read_label(self, &self.barrier.label)
        return 0

    def enrol(self, cls=None):
        """A new enrolment, of a class derived from Enrolment: from now on all wait for it, too."""
        cdef Enrolment enrolment
        cdef uint64_t serial = 0
        cdef int status
        self._check()
        kind = Enrolment if cls is None else cls
        enrolment = kind.__new__(kind)
        with nogil:
            status = ip_barrier_enrol(&self.arena.c, self.object, &serial)
        if status == IP_CROWDED:
            raise _errors.ArenaFull(f"enrolling at {self!r}: {IP_ENROLLED_MAX} are enrolled there, and more cannot meet at one barrier")
        if status:
            raise _error(status, self.arena, f"enrolling at {self!r}")
        enrolment._attach(self.arena, self.c_id.index, self.c_id.generation, ip_enrolment_end(serial))
        return enrolment

    def look(self):
        """A dict of counts: enrolled, waiting (of those), met (how often)."""
        self._check()
        return _look_at_barrier(self)


cdef dict _look_at_barrier(Handle handle):
    cdef uint64_t enrolled, waiting, met
    cdef int status = ip_barrier_look(&handle.arena.c, handle.object, &enrolled, &waiting, &met)
    if status:
        raise _error(status, handle.arena, f"looking at {handle!r}")
    return {"enrolled": enrolled, "waiting": waiting, "met": met}


@cython.no_gc_clear
cdef class Enrolment(Handle):
    """One who takes part in a barrier; made by Barrier.enrol(). In a message, or as an argument of a process, it moves to another.

    It ends when it resigns, when its last handle goes, when the message that carries it is dropped, or when the process that has it
    dies. It is this process's until its message has been sent: a send that raises has not moved it.
    """
    cdef ip_barrier *barrier
    cdef readonly str label
    cdef bint keeps             # this handle holds the barrier, too
    cdef uint64_t owned_of      # the fork that `open` belongs to
    cdef readonly bint moved    # it was sent to another
    cdef int leaving            # messages that carry it, and are being sent
    cdef bint waits             # at the barrier, somewhere in this process

    def __init__(self):
        raise TypeError("an enrolment is made by Barrier.enrol()")

    def __dealloc__(self):
        self._let_it_go()
        if self.keeps:
            self.keeps = False
            _release_hold(self.arena, self.c_id, 0)

    cdef int _attach(self, Arena arena, uint32_t index, uint32_t generation, unsigned end) except -1:
        cdef int status
        self.arena = arena
        self.c_id.index = index
        self.c_id.generation = generation
        self.c_end = end
        status = ip_object_find(&arena.c, self.c_id, &self.kind, &self.object)
        if status == IP_OK and (self.kind != IP_BARRIER or not end & IP_ENROLMENT):
            status = IP_FREED
        if status == IP_OK:
            status = _take_hold(arena, self.c_id, 0)
            self.keeps = status == IP_OK
        if status == IP_OK:
            status = ip_barrier_of(&arena.c, self.object, &self.barrier)
        if status == IP_OK:
            status = _take_hold(arena, self.c_id, end)
        if status:
            self.object = NULL
            raise self._failed(status, "opening")
        self.open = True
        self.owned_of = _forks
        self.label = _read_label(self, &self.barrier.label)
        return 0

    cdef int _revived(self) except -1:
        self._arrived()
        return 0

    def _arrived(self):
        """Called when the enrolment has come out of a pickle; for classes derived from this."""

    def __reduce__(self):
        """It travels with what it holds: itself, and the barrier."""
        cdef Handle keeper
        cdef int status
        self._check_free()
        popen = _get_spawning_popen()
        if popen is not None:
            _, slot = self.arena._place_for(popen)
            status = ip_object_hold(&self.arena.c, self.c_id, 0, slot)
            if status == IP_OK:
                status = ip_object_hold(&self.arena.c, self.c_id, self.c_end, slot)
            if status:
                raise self._failed(status, "sending")
            self._move()
        elif note_handle(self):
            keeper = Handle.__new__(Handle)
            keeper._attach(self.arena, self.c_id.index, self.c_id.generation, 0)
            note_handle(keeper)
        else:
            raise _errors.HandleError(f"{self!r} can only be pickled into a message of its arena, which moves it: by a channel, a queue "
                                      "or a pipe of interproc, or as an argument of a process")
        return _rebuild_handle, (type(self), self.arena, self.c_id.index, self.c_id.generation, self.c_end, None)

    cdef object _failed(self, int status, str what):
        if status == IP_FREED:
            return _errors.HandleError(f"{what} {self!r}: it has ended, or is another process's")
        return _error(status, self.arena, f"{what} {self!r}")

    cdef int _check_mine(self) except -1:
        """Is it this process's to use?"""
        self._check()
        if self.leaving:
            raise _errors.HandleError(f"{self!r} is just being sent to another process, in another thread; enrol anew")
        if self.open and self.owned_of == _forks:
            return 0
        if self.moved:
            raise _errors.HandleError(f"{self!r} was sent to another process, where it is now; enrol anew")
        if self.open:
            raise _errors.HandleError(f"{self!r} is that of the process that has forked; pass it as an argument, or enrol anew")
        raise _errors.HandleError(f"{self!r} has resigned; enrol anew")

    cdef int _check_free(self) except -1:
        """And to send away?"""
        self._check_mine()
        if self.waits:
            raise _errors.HandleError(f"{self!r} waits at its barrier, in another thread, and cannot be sent away meanwhile")
        return 0

    cdef int _let_it_go(self) except -1:
        """It ends, if it is this process's."""
        cdef bint held = self.open and self.owned_of == _forks
        self.open = False
        if held:
            _release_hold(self.arena, self.c_id, self.c_end)
        return 0

    cdef int _move(self) except -1:
        """It is another's by now; or the message was thrown away, and so it ends."""
        self.moved = True
        return self._let_it_go()

    @property
    def channel_id(self):
        """Names the barrier in its arena: "barrier#12.3"."""
        return self._id()

    def check(self):
        """Raises what its use would raise if that is known already: HandleError, of one that has resigned or was sent away."""
        self._check_mine()

    def sync(self, timeout=None):
        """Waits until all who are enrolled wait, at most `timeout` seconds (None: no limit). TimeoutError, Deadlock."""
        cdef _Attempt attempt = _attempt([self], None, 0)
        cdef int status = attempt._run(UINT64_MAX if timeout is None else _deadline(timeout))
        if status:
            raise attempt._failure(status, timeout)

    def resign(self):
        """The others do not wait for it any more. Idempotent; of one that was sent away: nothing."""
        if self.object != NULL:
            self._let_it_go()

    def close(self):
        """resign(), and lets go of the barrier."""
        self.resign()
        Handle.close(self)
        if self.keeps:
            self.keeps = False
            _release_hold(self.arena, self.c_id, 0)

    def look(self):
        """As Barrier.look()."""
        self._check()
        return _look_at_barrier(self)

    def __repr__(self):
        what = "not set up" if self.object == NULL else self._id()
        if self.label:
            what = f"{self.label!r} {what}"
        return f"<{type(self).__module__}.{type(self).__qualname__} {what} no. {self.c_end & ~IP_ENROLMENT}>"


# ---- in messages: this process may not use it while one is being sent, and has it again if that is not sent

cdef list _movers(list handles, Arena arena):
    """The enrolments among the handles that a message in this arena is to carry, until _settle_movers(); or None."""
    cdef Enrolment enrolment
    cdef list movers = None
    for handle in handles:
        if not isinstance(handle, Enrolment):
            continue
        enrolment = handle
        if enrolment.arena is not arena:
            raise _errors.HandleError(f"{enrolment!r} cannot be sent in {arena!r}: it is moved by messages of its own arena "
                                      f"({enrolment.arena!r}) only")
        enrolment._check_free()
        movers = [enrolment] if movers is None else [*movers, enrolment]
    for enrolment in movers or ():
        enrolment.leaving += 1
    return movers


cdef int _settle_movers(list movers, bint sent) except -1:
    cdef Enrolment enrolment
    for enrolment in movers:
        enrolment.leaving -= 1
        if sent:
            enrolment._move()
    return 0
