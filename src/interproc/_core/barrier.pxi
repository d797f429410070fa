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
        cdef int status
        self._check()
        kind = Enrolment if cls is None else cls
        enrolment = kind.__new__(kind)
        enrolment._attach(self.arena, self.c_id.index, self.c_id.generation, 0)
        enrolment._find()
        with nogil:
            status = ip_barrier_enrol(&self.arena.c, self.object, &enrolment.serial)
        if status == IP_CROWDED:
            raise _errors.ArenaFull(f"enrolling at {self!r}: {IP_ENROLLED_MAX} are enrolled there, and more cannot meet at one barrier")
        if status:
            raise _error(status, self.arena, f"enrolling at {self!r}")
        enrolment.enrolled = True
        enrolment.enrolled_of = _forks
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
    """One who takes part in a barrier; made by Barrier.enrol(). Sent to another process it moves there.

    It ends when it resigns, when its last handle goes, or when the process that has it dies.
    """
    cdef ip_barrier *barrier
    cdef readonly str label
    cdef uint64_t serial
    cdef bint enrolled          # this handle has it, in the process of
    cdef uint64_t enrolled_of   # this fork
    cdef readonly bint moved    # it was sent to another
    cdef bint waits             # at the barrier, somewhere in this process

    def __init__(self):
        raise TypeError("an enrolment is made by Barrier.enrol()")

    def __dealloc__(self):
        if self.enrolled and self.enrolled_of == _forks and self.arena.c.generation and self.open:
            self.enrolled = False
            ip_barrier_resign(&self.arena.c, self.object, self.serial)

    cdef int _find(self) except -1:
        cdef int status = IP_FREED
        if self.kind == IP_BARRIER:
            status = ip_barrier_of(&self.arena.c, self.object, &self.barrier)
        if status:
            raise _error(status, self.arena, f"opening a {type(self).__name__}")
        self.label = _read_label(self, &self.barrier.label)
        return 0

    cdef int _revived(self) except -1:
        return 0    # the serial comes next: _rebuild_enrolment

    def _arrived(self):
        """Called when the enrolment has come out of a pickle; for classes derived from this."""

    def __reduce__(self):
        cdef uint32_t slot
        cdef int status
        self._check()
        self._check_mine()
        handle = Handle.__reduce__(self)
        popen = _get_spawning_popen()
        if popen is not None:
            slot = self.arena._place_for(popen)[1]
            status = ip_barrier_bequeath(&self.arena.c, self.object, self.serial, slot,
                                         ip_member_incarnation(&self.arena.c, slot))
        else:
            status = ip_barrier_depart(&self.arena.c, self.object, self.serial)
        if status:
            raise self._failed(status, "sending")
        self.enrolled = False
        self.moved = True
        return _rebuild_enrolment, (handle, self.serial)

    cdef object _failed(self, int status, str what):
        if status == IP_FREED:
            return _errors.HandleError(f"{what} {self!r}: it has ended, or is another process's")
        return _error(status, self.arena, f"{what} {self!r}")

    cdef int _check_mine(self) except -1:
        """Is it this process's to use?"""
        self._check()
        if self.enrolled and self.enrolled_of == _forks:
            return 0
        if self.moved:
            raise _errors.HandleError(f"{self!r} was sent to another process, where it is now; enrol anew")
        if self.enrolled:
            raise _errors.HandleError(f"{self!r} is that of the process that has forked; pass it as an argument, or enrol anew")
        raise _errors.HandleError(f"{self!r} has resigned; enrol anew")

    def check(self):
        """Raises what its use would raise if that is known already: HandleError, of one that has resigned or was sent away."""
        self._check_mine()

    @property
    def channel_id(self):
        """Names the barrier in its arena: "barrier#12.3"."""
        return self._id()

    def sync(self, timeout=None):
        """Waits until all who are enrolled wait, at most `timeout` seconds (None: no limit). TimeoutError, Deadlock."""
        cdef _Attempt attempt = _attempt([self], None, 0)
        cdef int status = attempt._run(UINT64_MAX if timeout is None else _deadline(timeout))
        if status:
            raise attempt._failure(status, timeout)

    def resign(self):
        """The others do not wait for it any more. Idempotent; of one that was sent away: nothing."""
        cdef int status
        if self.object == NULL or not self.enrolled or self.enrolled_of != _forks:
            return
        self.enrolled = False
        with nogil:
            status = ip_barrier_resign(&self.arena.c, self.object, self.serial)
        if status and status != IP_LEFT:
            raise self._failed(status, "resigning")

    def close(self):
        """resign(), and lets go of the barrier."""
        self.resign()
        Handle.close(self)

    def look(self):
        """As Barrier.look()."""
        self._check()
        return _look_at_barrier(self)

    def __repr__(self):
        what = "not set up" if self.object == NULL else self._id()
        if self.label:
            what = f"{self.label!r} {what}"
        return f"<{type(self).__module__}.{type(self).__qualname__} {what} no. {self.serial}>"


def _rebuild_enrolment(tuple handle, uint64_t serial):
    cdef Enrolment enrolment = handle[0](*handle[1])
    cdef int status
    enrolment._find()
    enrolment.serial = serial
    status = ip_barrier_adopt(&enrolment.arena.c, enrolment.object, serial)
    if status:
        raise enrolment._failed(status, "receiving")
    enrolment.enrolled = True
    enrolment.enrolled_of = _forks
    enrolment._arrived()
    return enrolment
