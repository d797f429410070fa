# handle.pxi: a handle on an object of the arena: identity, lifetime, and travelling between processes.
#
# A process holds an end of an object from its first handle on it to its last. A handle that travels inside a message is
# kept alive by the message (core/directory.h); one that travels to a spawned child, by the child's reserved place.


cdef str _kind_name(int kind):
    return {IP_QUEUE: "queue", IP_PIPE: "pipe", IP_MEMORY: "memory", IP_TABLE: "table", IP_LIST: "list",
            IP_CHANNEL: "channel", IP_BARRIER: "barrier", IP_PARTY: "party"}.get(kind, "object")


@cython.no_gc_clear
cdef class Handle:
    """One end of an object in an arena. It can be pickled at any time, and works in each process of the tree.

    The object is freed when no process has a handle on it and no message in its arena carries one. (A message carries
    handles of its own arena only; one of another arena must be held by somebody until it has arrived. A queue that
    lies in itself keeps itself.)
    """
    cdef readonly Arena arena
    cdef ip_id c_id
    cdef unsigned c_end
    cdef int kind
    cdef ip_object *object
    cdef str c_name
    cdef bint open              # this handle holds the end
    cdef readonly bint closed
    cdef int users              # calls under way on this handle
    cdef uint64_t users_of      # and the fork they belong to
    cdef ip_watch *watch
    cdef object __weakref__

    def __dealloc__(self):
        if self.watch != NULL:
            ip_watch_stop(self.watch)
            self.watch = NULL
        if self.open:
            self.open = False
            self._let_go()

    cdef int _create(self, object arena, object name, int kind, unsigned ends, unsigned hold_mask, uint64_t body_size,
                     ip_maker make, void *context) except -1:
        """Makes the object, or opens the one of that name; 1 if it was made. `name` may be "arena/object"."""
        cdef cbool created = False
        cdef int status
        cdef bytes raw = b""
        cdef Arena a
        if self.object != NULL:
            raise ValueError(f"{self!r} cannot be set up twice")
        if name is not None:
            if not isinstance(name, str):
                raise TypeError(f"the name of an object is a str, not {type(name).__name__}")
            place, _, own = name.rpartition("/")
            if not own:
                raise ValueError(f"{name!r} names no object: use 'name' or 'arena/name'")
            raw = own.encode("utf-8")
            if arena is None:
                arena = Arena.open(place or "default")
        a = Arena.default() if arena is None else arena
        self.arena = a
        self.c_name = name
        self.kind = kind
        status = ip_member_reap_sometimes(&a.c)
        if status == IP_OK and raw:     # with the GIL: another thread may be about to let go of the same object
            status = ip_object_open(&a.c, kind, ends, hold_mask, body_size, <const char *>raw, len(raw), make, context,
                                    &self.c_id, &self.object, &created)
        elif status == IP_OK:
            with nogil:
                status = ip_object_open(&a.c, kind, ends, hold_mask, body_size, NULL, 0, make, context, &self.c_id,
                                        &self.object, &created)
        if status == IP_NO_MEMORY:      # the dead may have left something
            a.reap()
            status = ip_object_open(&a.c, kind, ends, hold_mask, body_size, <const char *>raw, len(raw), make, context,
                                    &self.c_id, &self.object, &created)
        if status:
            self.object = NULL
            raise _error(status, a, f"creating a {type(self).__name__}" + (f" named {name!r}" if name else ""))
        for end in range(ends):
            if hold_mask >> end & 1:
                key = _hold_key(self.c_id, end)
                a.held[key] = a.held.get(key, 0) + 1
        self.open = True
        return created

    cdef int _attach(self, Arena arena, uint32_t index, uint32_t generation, unsigned end) except -1:
        """Becomes a handle on an existing object."""
        cdef int status
        self.arena = arena
        self.c_id.index = index
        self.c_id.generation = generation
        self.c_end = end
        status = ip_object_find(&arena.c, self.c_id, &self.kind, &self.object)
        if status == IP_OK:
            status = _take_hold(arena, self.c_id, end)
        if status:
            self.object = NULL
            raise _error(status, arena, f"opening {_kind_name(self.kind)}#{index}.{generation}")
        self.open = True
        return 0

    cdef int _let_go(self) except -1:
        return _release_hold(self.arena, self.c_id, self.c_end)

    cdef inline int _enter(self) except -1:
        """Begins a use of the object: it stays held until _exit() though another thread closes the handle meanwhile.

        Whoever then lets the GIL go, or runs other Python code, calls _check() before it touches the object again.
        """
        if self.closed or self.object == NULL:
            raise self._closed_error()
        if self.users_of != _forks:     # those threads were the parent's
            self.users = 0
            self.users_of = _forks
        self.users += 1
        return 0

    cdef inline int _exit(self) except -1:
        if self.users > 0:      # not those that a fork() has left behind
            self.users -= 1
        if self.users == 0 and self.closed and self.open:
            self.open = False
            self._let_go()
        return 0

    cdef object _closed_error(self):
        return _errors.HandleError(f"{Handle.__repr__(self)} is closed")

    cdef inline int _check(self) except -1:
        if self.closed or self.object == NULL:
            raise self._closed_error()
        return 0

    cdef int _unwatch(self) except -1:
        cdef ip_watch *watch = self.watch
        self.watch = NULL
        if watch != NULL:
            ip_watch_stop(watch)
        return 0

    def close(self):
        """Lets go of the object: this handle cannot be used any more. Others are not affected. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._unwatch()
        if self.open and (self.users == 0 or self.users_of != _forks):
            self.open = False
            self._let_go()

    @property
    def end(self):
        """Which end of the object."""
        return self.c_end

    @property
    def name(self):
        """The name it was opened by, or None."""
        return self.c_name

    @property
    def id(self):
        """Names the object in this arena: kind, index and generation."""
        return self._id()

    cdef str _id(self):
        return f"{_kind_name(self.kind)}#{self.c_id.index}.{self.c_id.generation}"

    def __repr__(self):
        what = self._id() if self.object != NULL else "not set up"
        if self.c_name:
            what += f" {self.c_name!r}"
        return f"<{type(self).__module__}.{type(self).__qualname__} {what}{' closed' if self.closed else ''}>"

    def _identity(self):
        """Equal for handles on the same end of the same object."""
        return self.arena.uid, self.c_id.index, self.c_id.generation, self.c_end

    def __reduce__(self):
        cdef int status
        self._check()
        popen = _get_spawning_popen()
        if popen is not None:
            _, slot = self.arena._place_for(popen)
            status = ip_object_hold(&self.arena.c, self.c_id, self.c_end, slot)
            if status:
                raise _error(status, self.arena, f"sending {self._id()} to a child")
        else:
            note_handle(self)
        return _rebuild_handle, (type(self), self.arena, self.c_id.index, self.c_id.generation, self.c_end, self.c_name)

    cdef int _revived(self) except -1:
        """Called when a handle has come out of a pickle: find what the kind needs."""
        return 0

    cdef ip_watch *_make_watch(self) except NULL:
        raise OSError("this object has no descriptor")

    cdef int _fileno(self) except -1:
        cdef int fd
        self._check()
        if self.watch == NULL:
            self.watch = self._make_watch()
            self.arena.watched.add(self)
        fd = ip_watch_descriptor(self.watch)
        if fd < 0:
            PyErr_SetFromErrno(OSError)
        return fd


def _rebuild_handle(cls, Arena arena, uint32_t index, uint32_t generation, unsigned end, name):
    cdef Handle handle = cls.__new__(cls)
    handle.c_name = name
    handle._attach(arena, index, generation, end)
    handle._revived()
    return handle


cdef inline object _hold_key(ip_id id, unsigned end):
    """What stands for an end in `held` and `kept` of its arena: one number, as there may be many."""
    cdef uint64_t which = <uint64_t>id.index | <uint64_t>id.generation << 20
    if end < 1 << 12:
        return which | <uint64_t>end << 52
    return which | <object>end << 52      # an enrolment takes more than 64 bits


cdef int _take_hold(Arena arena, ip_id id, unsigned end) except -1:
    """This process has one handle more on the end. IP_FREED: it cannot be had any more."""
    cdef int status
    key = _hold_key(id, end)
    n = arena.held.get(key, 0)
    if n == 0:
        status = ip_object_hold(&arena.c, id, end, arena.c.self)
        if status:
            return status
    arena.held[key] = n + 1
    return IP_OK


cdef int _release_hold(Arena arena, ip_id id, unsigned end) except -1:
    """This process has one handle less on the end; with the last it lets go."""
    cdef int status
    key = _hold_key(id, end)
    n = arena.held.get(key, 0)
    if n > 1:
        arena.held[key] = n - 1
        return 0
    arena.held.pop(key, None)
    if arena.c.generation and n:
        status = ip_object_release(&arena.c, id, end)
        if status and status != IP_FREED and status != IP_LEFT:
            raise _error(status, arena, f"letting go of object {id.index}.{id.generation}")
    return 0


cdef int _hold_arrived(Arena arena, ip_incoming *message) except -1:
    """Counts the handles that a message has just brought, with the GIL held since it was taken, until
    _release_arrived(): the handles that unpickling makes of them come in between, or do not."""
    cdef unsigned i
    for i in range(message.n_handles):
        key = _hold_key(message.handles[i].id, message.handles[i].end)
        arena.held[key] = arena.held.get(key, 0) + 1
    return 0


cdef int _release_arrived(Arena arena, ip_incoming *message) except -1:
    cdef unsigned i
    for i in range(message.n_handles):
        _release_hold(arena, message.handles[i].id, message.handles[i].end)
    return 0
