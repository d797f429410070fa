# container.pxi: what tables and lists have in common: waiting for them, their values, their lock, transactions.
#
# Nothing here goes through a container's Python attributes or its repr: the attributes of a namespace are its user's, and a repr
# reads the container. A call tries with the GIL held; only to wait, since another process is in the container (IP_BUSY) or has locked it for
# several calls (IP_HELD), does it let the GIL go.

cdef enum:
    FLAVOUR_DEEP = 256
    VALUE_HANDLES = 255     # at most in one value

cdef object _MISSING = object()
cdef object _sharing = None     # (plain container, arena) -> live one


def set_sharing(function):
    """What a deep container calls with a plain dict, list or set that is stored in it, and the arena."""
    global _sharing
    _sharing = function


cdef struct _Patience:
    ip_patience level
    bint reaped


cdef struct _Value:
    ip_value c
    void *owned     # memory to be freed


cdef class Container(Handle):
    """An object of the arena that has values; see Table and List."""
    cdef ip_container *container
    cdef readonly unsigned flavour
    cdef readonly bint deep
    cdef int locked             # how many times acquire() of this handle took the lock, less release()
    _flavour = 0

    cdef int _find_container(self, int kind) except -1:
        cdef uint64_t flavour
        cdef int status = IP_FREED
        cdef unsigned expected = type(self)._flavour
        if self.kind == kind:
            status = ip_container_of(&self.arena.c, self.object, &self.container)
        if status == IP_OK:
            status = ip_container_flavour(self.container, &flavour)
        if status:
            raise _error(status, self.arena, f"opening a {type(self).__name__}")
        self.flavour = <unsigned>flavour
        self.deep = flavour & FLAVOUR_DEEP
        if expected and (self.flavour & 255) != expected:
            what = self._id() + (f" {self.c_name!r}" if self.c_name else "")
            Handle.close(self)
            raise _errors.HandleError(f"{what} is another kind of container than a {type(self).__name__}")
        return 0

    cdef int _wait_turn(self, int status, _Patience *patience) except -1:
        """After IP_BUSY or IP_HELD: waits a moment, then the call is to be made again; no limit but signals."""
        cdef cbool ready = False, slept = False
        cdef int got
        patience.level = IP_NOW
        if status == IP_HELD:
            with nogil:
                ready = ip_gate_wait(&self.arena.c, self.container, UINT64_MAX, &slept)
            PyErr_CheckSignals()
            self._check()
            if not ready:   # does its owner live?
                got = ip_gate_acquire(&self.arena.c, self.container, IP_INHERIT)
                if got == IP_OK:
                    self._release_gate()
                elif got != IP_BUSY and got != IP_HELD:
                    raise _error(got, self.arena, f"using {Handle.__repr__(self)}")
            return 0
        with nogil:
            ready = ip_lock_wait(ip_container_lock(self.container), UINT64_MAX, &slept)
        if not ready:
            patience.level = IP_INHERIT
        PyErr_CheckSignals()
        self._check()
        return 0

    cdef int _again(self, int status, _Patience *patience) except -1:
        """Whether a call that ended so is to be made again; raises what is an error whatever the call."""
        if status == IP_BUSY or status == IP_HELD:
            self._wait_turn(status, patience)
            return True
        if status == IP_NO_MEMORY and not patience.reaped:      # the dead may have left something
            patience.reaped = True
            self.arena.reap()
            self._check()
            return True
        return False

    cdef object _failed(self, int status, object what):
        if status == IP_TOO_LONG:
            return _errors.HandleError(f"{what}: too many handles in one value (at most {VALUE_HANDLES}), or the key is too long")
        return _error(status, self.arena, what)

    # ---- values

    cdef int _encode(self, Encoder encoder, _Scratch scratch, object obj, bytes prefix, int spelling, _Value *value) except -1:
        """Describes a value; `value.owned` has to be freed, also after an error."""
        cdef Handle handle
        cdef unsigned n = 0
        cdef uint64_t at = 0, size
        cdef unsigned char *to
        cdef int i
        if self.deep:
            obj = self._as_stored(obj)
        encoder.encode(obj)
        memset(&value.c, 0, sizeof(ip_value))
        value.c.kind = <uint8_t>(encoder.kind | spelling << 4)
        size = encoder.size
        if encoder.handles is not None:
            for handle in encoder.handles:
                if isinstance(handle, Enrolment):
                    raise _errors.HandleError(f"{handle!r} cannot be stored in {Handle.__repr__(self)}: an enrolment is one process's, and "
                                              "what is stored is for all; send it by a channel, a queue or a pipe")
                if handle.arena is not self.arena:
                    raise _errors.HandleError(
                        f"{Handle.__repr__(handle)} cannot be stored in {Handle.__repr__(self)}: it is in another arena "
                        f"({handle.arena!r}), which this one ({self.arena!r}) cannot keep it in; make it in the same one, by a method of "
                        "the same manager (store.Lock(), not interproc.Lock()) or with arena=")
                if n >= VALUE_HANDLES:
                    raise self._failed(IP_TOO_LONG, f"storing in {Handle.__repr__(self)}")
                scratch.handles[n].id = handle.c_id
                scratch.handles[n].end = handle.c_end
                n += 1
            value.c.handles = scratch.handles
            value.c.n_handles = n
        if encoder.n_pieces == 1 and prefix is None:
            value.c.data = encoder.pieces[0].data
            value.c.size = size
            return 0
        if prefix is not None:
            at = len(prefix)
            size += at
        if size <= SCRATCH_SIZE:
            to = scratch.data
        else:
            value.owned = malloc(size)
            if value.owned == NULL:
                raise MemoryError(f"no memory for a value of {size:,} bytes")
            to = <unsigned char *>value.owned
        if at:
            memcpy(to, <const char *>prefix, at)
        for i in range(encoder.n_pieces):
            memcpy(to + at, encoder.pieces[i].data, encoder.pieces[i].size)
            at += encoder.pieces[i].size
        value.c.data = to
        value.c.size = size
        return 0

    cdef int _arrived(self, ip_value_out *out) except -1:
        """Counts the handles of a value just read, until _left(); with the GIL held since it was read."""
        cdef ip_incoming message
        message.n_handles = out.n_handles
        message.handles = out.handles
        return _hold_arrived(self.arena, &message)

    cdef int _left(self, ip_value_out *out) except -1:
        cdef ip_incoming message
        message.n_handles = out.n_handles
        message.handles = out.handles
        return _release_arrived(self.arena, &message)

    cdef object _load(self, ip_value_out *out):
        """The object of a value that was read, without the spelling of its key; lets go of its handles."""
        cdef uint64_t skip
        if out.n_handles == 0 and out.kind < 16:
            return decode(out.kind, <const unsigned char *>out.data, out.size, None)
        try:
            skip = _spelt_size(out.kind >> 4, <const unsigned char *>out.data, out.size)
            return decode(out.kind & 15, <const unsigned char *>out.data + skip, out.size - skip, None)
        finally:
            if out.n_handles:
                self._left(out)

    cdef object _as_stored(self, object obj):
        """What is stored for an object: in a deep container, live containers for plain ones."""
        kind = type(obj)
        if self.deep and _sharing is not None and (kind is dict or kind is list or kind is set):
            return _sharing(obj, self.arena)
        return obj

    cdef list _all_stored(self, values):
        """The same for several, each tried: so that what cannot be pickled raises before the first is stored."""
        cdef Encoder encoder = _borrow_encoder()
        stored = []
        try:
            for obj in values:
                obj = self._as_stored(obj)
                encoder.encode(obj)
                encoder.clear()
                stored.append(obj)
            return stored
        finally:
            _return_encoder(encoder)

    # ---- the lock

    def acquire(self, timeout=None):
        """Locks the object: until release(), the calls of others on it wait, whatever they do. Recursive within a thread.

        False when it could not be had within `timeout` seconds (None: as long as it takes). If the process that has
        it dies, the next one gets it.
        """
        cdef uint64_t deadline = _deadline(timeout)
        cdef bint got
        self._enter()
        try:
            got = self._acquire_gate(deadline)
            self.locked += got
            return got
        finally:
            self._exit()

    cdef bint _acquire_gate(self, uint64_t deadline) except -1:
        cdef cbool ready = False, slept = False
        cdef uint64_t now, busy_until = 0
        cdef int status = ip_gate_acquire(&self.arena.c, self.container, IP_NOW)
        cdef bint looked = False
        while status == IP_BUSY or status == IP_HELD:
            if looked and deadline != UINT64_MAX:
                now = ip_now_ns()
                if busy_until == 0:
                    busy_until = now + BUSY_PATIENCE
                if now >= deadline and (status == IP_HELD or now >= busy_until):
                    return False
            with nogil:     # the try as well: or a thread that takes it again and again, with the GIL, always wins
                if status == IP_HELD:
                    ready = ip_gate_wait(&self.arena.c, self.container, deadline, &slept)
                else:
                    ready = ip_lock_wait(ip_container_lock(self.container), UINT64_MAX, &slept)
                status = ip_gate_acquire(&self.arena.c, self.container, IP_NOW if ready else IP_INHERIT)
            looked = True
            if status == IP_OK and self.closed:     # meanwhile, by another thread
                ip_gate_release(&self.arena.c, self.container)
                self._check()
            if status != IP_OK:
                PyErr_CheckSignals()
                self._check()
        if status:
            raise _error(status, self.arena, f"locking {Handle.__repr__(self)}")
        return True

    def release(self):
        """Lets go of the lock once. Raises RuntimeError if this thread does not have it."""
        self._enter()
        try:
            self._release_gate()
            self.locked -= 1
        finally:
            self._exit()

    def close(self):
        """Lets go of the object, and of the lock if this thread had it by this handle. Idempotent."""
        if not self.closed and self.object != NULL:
            while self.locked > 0 and ip_gate_release(&self.arena.c, self.container) == IP_OK:
                self.locked -= 1
        Handle.close(self)

    cdef int _release_gate(self) except -1:
        cdef int status = ip_gate_release(&self.arena.c, self.container)
        if status == IP_NOT_OWNER:
            raise RuntimeError(f"release of {Handle.__repr__(self)}, which this thread has not locked")
        if status:
            raise _error(status, self.arena, f"unlocking {Handle.__repr__(self)}")
        return 0

    def is_mine(self):
        """Whether this thread has locked the object."""
        self._check()
        return ip_gate_mine(&self.arena.c, self.container)

    # ---- changes

    cdef int _look(self, ip_container_state *state) except -1:
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        while True:
            status = ip_container_look(&self.arena.c, self.container, patience.level, state)
            if status == IP_OK:
                return 0
            if not self._again(status, &patience):
                raise _error(status, self.arena, f"looking at {Handle.__repr__(self)}")

    def __len__(self):
        cdef ip_container_state state
        self._enter()
        try:
            self._look(&state)
            return state.count
        finally:
            self._exit()

    @property
    def version(self):
        """How many changes were ever made to it: for wait()."""
        cdef ip_container_state state
        self._enter()
        try:
            self._look(&state)
            return state.changes
        finally:
            self._exit()

    def wait(self, uint64_t seen, timeout=None):
        """Waits until `version` is not `seen` any more; False when that took more than `timeout` seconds."""
        cdef uint64_t deadline = _deadline(timeout)
        cdef cbool slept = False, ready = False
        self._enter()
        try:
            while True:
                with nogil:
                    ready = ip_container_wait(self.container, seen, deadline, &slept)
                if ready:
                    return True
                PyErr_CheckSignals()
                self._check()
                if deadline != UINT64_MAX and ip_now_ns() >= deadline:
                    return False
        finally:
            self._exit()

    cdef object _in_transaction(self):
        """A transaction of its own for what takes several changes, begun; None if this thread has one under way, to whose
        end it is then left whether they stay. (Only lack of memory can stop them half-way there: see _all_stored.)"""
        if ip_transaction_mine(&self.arena.c, self.container):
            return None
        cdef Transaction made = Transaction((self,))
        made.begin()
        return made

    cdef int _all_or_nothing(self, object function, tuple args, list values) except -1:
        cdef Transaction transaction = self._in_transaction()
        if transaction is None:
            values = self._all_stored(values)
        try:
            function(*args, values)
        except BaseException:
            if transaction is not None:
                transaction.rollback()
            raise
        if transaction is not None:
            transaction.commit()
        return 0


cdef class Transaction:
    """Changes of several containers of one arena that happen all or not at all, whoever is killed.

    From begin() to commit() or rollback() this thread has the containers' locks. What a process that dies has
    changed without having committed is undone by whoever uses a container next.
    """
    cdef readonly tuple containers
    cdef uint64_t record
    cdef Arena arena
    cdef uint64_t forks
    cdef object thread
    cdef readonly bint active

    def __init__(self, containers):
        cdef Container c, first = None
        found = {}
        for c in containers:
            if first is None:
                first = c
            elif c.arena is not first.arena:
                raise ValueError(f"{Handle.__repr__(c)} is in another arena than {Handle.__repr__(first)}: "
                                 "no transaction can have both")
            found[c.c_id.index] = c
        if not found:
            raise ValueError("a transaction needs at least one container")
        self.arena = first.arena
        self.containers = tuple(found[index] for index in sorted(found))   # one order for all: no deadlock

    def begin(self, timeout=None):
        """Locks the containers; False when that took more than `timeout` seconds, and nothing is locked then.

        Raises RuntimeError if one of them is in a transaction of this thread already.
        """
        cdef uint64_t deadline = _deadline(timeout)
        cdef Container c
        if self.active:
            raise RuntimeError("this transaction has begun already")
        entered, locked, joined = [], [], []
        begun = False
        self.record = 0
        try:
            for c in self.containers:
                c._enter()
                entered.append(c)
                if ip_transaction_mine(&self.arena.c, c.container):
                    raise RuntimeError(f"{Handle.__repr__(c)} is in a transaction of this thread already")
                if not c._acquire_gate(deadline):
                    return False
                locked.append(c)
            self._make_record()
            for c in self.containers:
                self._join(c)
                joined.append(c)
            self.forks = _forks
            self.thread = _threading.get_ident()
            self.active = begun = True
            return True
        finally:
            if not begun:
                try:
                    if joined:
                        self._settle(joined)
                    elif self.record:
                        ip_transaction_end(&self.arena.c, self.record)
                finally:
                    for c in reversed(locked):
                        ip_gate_release(&self.arena.c, c.container)
                    for c in entered:
                        c._exit()

    cdef int _make_record(self) except -1:
        cdef Container c = self.containers[0]
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        while True:
            status = ip_transaction_begin(&self.arena.c, &self.record)
            if status == IP_OK:
                return 0
            self.record = 0
            if not c._again(status, &patience):
                raise _error(status, self.arena, "beginning a transaction")

    cdef int _join(self, Container c) except -1:
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        while True:
            status = ip_transaction_join(&self.arena.c, self.record, c.container)
            if status == IP_OK:
                return 0
            if not c._again(status, &patience):
                raise _error(status, self.arena, f"beginning a transaction of {Handle.__repr__(c)}")

    cdef int _settle(self, containers) except -1:
        """Undoes or concludes what was changed in them; not interruptible. The last one ends the record."""
        cdef Container c
        cdef cbool slept = False
        cdef int status
        first = None
        for c in containers:
            while True:
                with nogil:
                    status = ip_transaction_settle(&self.arena.c, self.record, c.container)
                if status != IP_BUSY:
                    break
                with nogil:
                    ip_lock_wait(ip_container_lock(c.container), ip_now_ns() + 1000000, &slept)
            if status and first is None:
                first = _error(status, self.arena, f"ending a transaction of {Handle.__repr__(c)}")
        if first is not None:
            raise first
        return 0

    cdef int _check_mine(self) except -1:
        if not self.active:
            raise RuntimeError("this transaction has not begun, or has ended")
        if self.forks != _forks or self.thread != _threading.get_ident():
            raise RuntimeError("a transaction is ended by the thread that began it")
        return 0

    def commit(self):
        """Makes all that was done permanent, at once, and lets go of the locks."""
        cdef Container c = self.containers[0]
        cdef cbool slept = False
        cdef int status
        self._check_mine()
        while True:
            status = ip_transaction_commit(&self.arena.c, self.record, c.container)
            if status != IP_BUSY:
                break
            with nogil:
                ip_lock_wait(ip_container_lock(c.container), ip_now_ns() + 1000000, &slept)
        self._end()
        if status:
            raise _error(IP_LEFT if status == IP_NOT_OWNER else status, self.arena, "committing a transaction")

    def rollback(self):
        """Undoes all that was done, and lets go of the locks."""
        self._check_mine()
        self._end()

    cdef int _end(self) except -1:
        cdef Container c
        self.active = False
        try:
            self._settle(self.containers)
        finally:
            for c in reversed(self.containers):     # one that is damaged stays locked, and says so to whoever comes
                ip_gate_release(&self.arena.c, c.container)
                c._exit()
        return 0
