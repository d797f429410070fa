# sync.pxi: memory with a robust mutex, atomic numbers, locks, semaphores, signals.

from cpython.number cimport PyIndex_Check, PyNumber_Index


cdef enum:  # what the bytes of a memory object are
    FLAVOUR_BYTES = 1
    FLAVOUR_MUTEX = 2
    FLAVOUR_LOCK = 3
    FLAVOUR_SEMAPHORE = 4
    FLAVOUR_SIGNAL = 5
    FLAVOUR_NUMBER = 256    # + the code of its type


cdef class _MemoryHandle(Handle):
    """What all kinds of memory objects have in common: bytes, and a mutex in front of them."""
    cdef ip_memory *memory
    cdef unsigned char *data
    cdef uint64_t c_size

    cdef int _open(self, object arena, object name, uint64_t size, uint64_t flavour, const void *initial,
                   uint64_t initial_size) except -1:
        """Makes it, of zeroes or of the bytes given, or opens the one of that name."""
        cdef ip_memory_settings settings
        cdef int created
        settings.size = size
        settings.flavour = flavour
        settings.initial = initial
        settings.initial_size = initial_size
        created = self._create(arena, name, IP_MEMORY, 1, 1, ip_memory_body_size(size), ip_memory_make, &settings)
        self._find(flavour)
        return created

    cdef int _find(self, uint64_t flavour) except -1:
        cdef int status = IP_FREED
        if self.kind == IP_MEMORY:
            status = ip_memory_of(&self.arena.c, self.object, flavour, &self.memory, &self.c_size)
        if status:
            raise _error(status, self.arena, f"opening a {type(self).__name__}")
        self.data = ip_memory_bytes(self.memory, self.c_size)
        return 0

    cdef bint _acquire(self, bint recursive, uint64_t deadline) except -1:
        cdef cbool inherited = False
        cdef int status = ip_mutex_try(&self.arena.c, self.memory, recursive, False, &inherited)
        if status == IP_OK:
            return True
        return self._acquire_waiting(recursive, deadline, status)

    cdef bint _acquire_waiting(self, bint recursive, uint64_t deadline, int status) except -1:
        cdef cbool inherited = False, slept = False, free_now = False
        if status == IP_BUSY and deadline == 1:     # one look whether a dead process has it
            status = ip_mutex_try(&self.arena.c, self.memory, recursive, True, &inherited)
            if status == IP_BUSY:
                return False
        self._enter()
        try:
            while status == IP_BUSY:
                with nogil:
                    free_now = ip_lock_wait(&self.memory.lock, deadline, &slept)
                    status = ip_mutex_try(&self.arena.c, self.memory, recursive, not free_now, &inherited)
                if status == IP_OK:
                    if self.closed:     # meanwhile, by another thread: what _exit() lets go of must not be locked
                        ip_mutex_release(&self.arena.c, self.memory, recursive)
                        self._check()
                    break
                PyErr_CheckSignals()
                self._check()
                if deadline != UINT64_MAX and ip_now_ns() >= deadline:
                    return False
        finally:
            self._exit()
        if status:
            raise _error(status, self.arena, f"acquiring {self!r}")
        return True

    cdef int _release(self, bint recursive) except -1:
        cdef int status = ip_mutex_release(&self.arena.c, self.memory, recursive)
        if status == IP_NOT_OWNER:
            raise _errors.NotOwner("attempt to release recursive lock not owned by thread")
        if status == IP_OVERFLOW:
            raise _errors.NotLocked("semaphore or lock released too many times")
        if status:
            raise _error(status, self.arena, f"releasing {self!r}")
        return 0

    cdef int _state(self, cbool *mine, uint64_t *depth) except -1:
        cdef int status
        self._check()
        status = ip_mutex_state(&self.arena.c, self.memory, mine, depth)
        if status:
            raise _error(status, self.arena, f"looking at {self!r}")
        return 0

    def owner(self):
        """(pid, thread id) of who holds the lock, or None."""
        cdef uint64_t word
        self._check()
        if not ip_get(&self.memory.lock.owner, &word):
            raise _error(IP_CORRUPT, self.arena, f"looking at {self!r}")
        if word == 0:
            return None
        pid = ip_member_pid(&self.arena.c, <uint32_t>(word & 0xFFF) - 1, <uint32_t>(word >> 12 & 0xFFFF))
        return (pid, word >> 28) if pid else None


cdef class Memory(_MemoryHandle):
    """`size` zeroed bytes in shared memory, at a multiple of 64 (up to 16 bytes: of 8), with a recursive robust lock.

    Exports a writable buffer of bytes, which keeps the memory alive. If a process that holds the lock dies, the next
    to acquire it inherits it.
    """
    cdef Py_ssize_t views

    def __init__(self, Py_ssize_t size, *, lock=True, name=None, arena=None):
        if size < 0:
            raise ValueError(f"the size of a memory cannot be {size} bytes")
        self._open(arena, name, size, FLAVOUR_BYTES, NULL, 0)

    cdef int _revived(self) except -1:
        return self._find(FLAVOUR_BYTES)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        self._check()
        PyBuffer_FillInfo(buffer, self, self.data, <Py_ssize_t>self.c_size, 0, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.views -= 1

    def close(self):
        """Lets go of the memory. Raises BufferError while views of it exist, since they would show what is put there next."""
        if self.views and not self.closed:
            raise BufferError(f"{self!r} cannot be closed while {self.views} views of it exist (arrays, memoryviews, ctypes objects)")
        Handle.close(self)

    @property
    def size(self):
        """Bytes."""
        return self.c_size

    @property
    def address(self):
        """Where the bytes are in this process."""
        self._check()
        return <uint64_t>self.data

    def acquire(self, block=True, timeout=None):
        """Takes the lock, once more if this thread has it; False when that did not succeed in `timeout` seconds."""
        self._check()
        return self._acquire(True, _deadline(timeout) if block else 1)

    def release(self):
        """Gives the lock back. Raises AssertionError when this thread does not have it."""
        self._check()
        self._release(True)

    def __enter__(self):
        self._check()
        return self._acquire(True, UINT64_MAX)

    def __exit__(self, *exc_info):
        self._check()
        self._release(True)

    def is_mine(self):
        """Whether this thread holds the lock."""
        cdef cbool mine
        cdef uint64_t depth
        self._state(&mine, &depth)
        return mine

    def lock_count(self):
        """How often its owner has acquired the lock."""
        cdef cbool mine
        cdef uint64_t depth
        self._state(&mine, &depth)
        return depth


cdef class Number(Memory):
    """One number of a C type (a code of the struct module: b B h H i I l L q Q f d ?), with atomic operations.

    With lock=True each of them waits while another thread or process holds the lock. Integers are cut to their type, as in C.
    """
    cdef char type
    cdef bint locked

    def __init__(self, str typecode, value=0, *, lock=True, name=None, arena=None):
        cdef char type = 0
        if len(typecode) == 1:
            type = <char>ord(typecode[0]) if ord(typecode[0]) < 128 else 0
        if not ip_number_size(type):
            raise TypeError(f"{typecode!r} is not the code of a number; use one of b B h H i I l L q Q f d ?")
        self.type = type
        self.locked = lock
        cdef ip_number number = self._number(value)
        cdef uint64_t initial = 0
        ip_number_store(&initial, type, number)
        self._open(arena, name, 8, FLAVOUR_NUMBER + type, &initial, 8)
        self.c_size = ip_number_size(type)

    def __reduce__(self):
        return _rebuild_number, (Handle.__reduce__(self), chr(self.type), self.locked)

    cdef int _revived(self) except -1:
        return 0    # the type comes next: _rebuild_number

    cdef ip_number _number(self, object value) except *:
        cdef ip_number n
        n.i = 0
        if ip_number_is_float(self.type):
            n.d = value
        elif self.type == c"?":
            n.i = bool(value)
        elif PyIndex_Check(value):
            if not isinstance(value, int):
                value = PyNumber_Index(value)
            n.i = <int64_t>PyLong_AsUnsignedLongLongMask(value)
            n = _cut(n, self.type)
        else:
            raise TypeError(f"an integer is required, not {type(value).__name__} (this Number is of type {chr(self.type)!r})")
        return n

    @property
    def typecode(self):
        """The code of its type."""
        return chr(self.type)

    cdef object _object(self, ip_number n):
        if ip_number_is_float(self.type):
            return n.d
        if self.type == c"?":
            return n.i != 0
        if n.i < 0 and (self.type == c"Q" or self.type == c"L"):
            return <uint64_t>n.i
        return n.i

    cdef inline int _begin(self) except -1:
        if self.closed or self.object == NULL:
            raise self._closed_error()
        if self.locked and ip_mutex_try_briefly(&self.arena.c, self.memory, True) != IP_OK:
            self._acquire(True, UINT64_MAX)
        return 0

    cdef inline int _finish(self) except -1:
        if self.locked and ip_mutex_release(&self.arena.c, self.memory, True) != IP_OK:
            self._release(True)
        return 0

    @property
    def value(self):
        """The number."""
        cdef ip_number n
        self._begin()
        n = ip_number_load(self.data, self.type)
        self._finish()
        return self._object(n)

    @value.setter
    def value(self, value):
        cdef ip_number n = self._number(value)
        self._begin()
        ip_number_store(self.data, self.type, n)
        self._finish()

    def add(self, amount):
        """Adds atomically; returns the value before."""
        cdef ip_number n = self._number(amount)
        self._begin()
        n = ip_number_add(self.data, self.type, n)
        self._finish()
        return self._object(n)

    def exchange(self, value):
        """Sets atomically; returns the value before."""
        cdef ip_number n = self._number(value)
        self._begin()
        n = ip_number_exchange(self.data, self.type, n)
        self._finish()
        return self._object(n)

    def compare_exchange(self, expected, value):
        """Sets it to `value` if it is `expected`, atomically; returns whether it was. Floats are compared as numbers."""
        cdef ip_number e = self._number(expected), n = self._number(value)
        self._begin()
        done = ip_number_compare_exchange(self.data, self.type, e, n)
        self._finish()
        return bool(done)


cdef ip_number _cut(ip_number n, char type) noexcept:
    """The number as its type has it."""
    cdef uint64_t room = 0
    ip_number_store(&room, type, n)
    return ip_number_load(&room, type)


def _rebuild_number(tuple handle, str typecode, bint locked):
    cdef Number number = handle[0](*handle[1])
    number.type = <char>ord(typecode)
    number.locked = locked
    number._find(FLAVOUR_NUMBER + number.type)
    number.c_size = ip_number_size(number.type)
    return number


cdef class Mutex(_MemoryHandle):
    """A robust lock: if a process that holds it dies, the next to acquire it inherits it.

    recursive: the thread that has it can take it again, and only that thread can release it; otherwise any can.
    """
    cdef readonly bint recursive

    def __init__(self, recursive=False, *, name=None, arena=None):
        self.recursive = recursive
        self._open(arena, name, 0, FLAVOUR_MUTEX if recursive else FLAVOUR_LOCK, NULL, 0)

    cdef int _revived(self) except -1:
        try:
            self._find(FLAVOUR_LOCK)
        except _errors.HandleError:
            self._find(FLAVOUR_MUTEX)
            self.recursive = True
        return 0

    def acquire(self, block=True, timeout=None, *, blocking=None):
        """Takes the lock; False when that did not succeed in `timeout` seconds (or at once, with block=False).

        `blocking` is threading's name for `block`.
        """
        if blocking is not None:
            block = blocking
        self._check()
        return self._acquire(self.recursive, _deadline(timeout) if block else 1)

    def release(self):
        """Gives it back. ValueError: nobody has it. AssertionError: a recursive one that this thread does not have."""
        self._check()
        self._release(self.recursive)

    def __enter__(self):
        self._check()
        return self._acquire(self.recursive, UINT64_MAX)

    def __exit__(self, *exc_info):
        self._check()
        self._release(self.recursive)

    def is_mine(self):
        """Whether this thread holds it."""
        cdef cbool mine
        cdef uint64_t depth
        self._state(&mine, &depth)
        return mine

    def count(self):
        """How often its owner has acquired it."""
        cdef cbool mine
        cdef uint64_t depth
        self._state(&mine, &depth)
        return depth


cdef class Semaphore(_MemoryHandle):
    """A counting semaphore of permits; `maximum`: more cannot be released (None: no bound).

    A permit that a killed process had acquired is not given back.
    """

    def __init__(self, value=1, maximum=None, *, name=None, arena=None):
        if not 0 <= value <= INT_MAX:
            raise ValueError(f"a semaphore's value is from 0 to {INT_MAX}, not {value}")
        cdef ip_semaphore initial
        ip_semaphore_init(&initial, value, INT_MAX if maximum is None else maximum)
        self._open(arena, name, sizeof(initial), FLAVOUR_SEMAPHORE, &initial, sizeof(initial))

    cdef int _revived(self) except -1:
        return self._find(FLAVOUR_SEMAPHORE)

    cdef bint _take_permit(self, uint64_t deadline) except -1:
        cdef ip_semaphore *semaphore = <ip_semaphore *>self.data
        cdef cbool slept = False
        cdef int status
        self._check()
        status = ip_semaphore_try(semaphore)
        if status == IP_OK:
            return True
        self._enter()
        try:
            while status == IP_AGAIN and (deadline == UINT64_MAX or ip_now_ns() < deadline):
                with nogil:
                    ip_semaphore_wait(semaphore, deadline, &slept)
                    status = ip_semaphore_try(semaphore)
                if status == IP_OK:
                    if self.closed:
                        ip_semaphore_release(semaphore, 1)
                        self._check()
                    break
                PyErr_CheckSignals()
                self._check()
        finally:
            self._exit()
        if status == IP_AGAIN:
            return False
        if status:
            raise _error(status, self.arena, f"acquiring {self!r}")
        return True

    def acquire(self, block=True, timeout=None, *, blocking=None):
        """Takes a permit; False when that did not succeed in `timeout` seconds (or at once, with block=False).

        `blocking` is threading's name for `block`.
        """
        if blocking is not None:
            block = blocking
        return self._take_permit(_deadline(timeout) if block else 1)

    def release(self, n=1):
        """Gives n permits. Raises ValueError when that makes more than the maximum."""
        cdef int status
        self._check()
        status = ip_semaphore_release(<ip_semaphore *>self.data, n)
        if status == IP_OVERFLOW:
            raise ValueError("semaphore or lock released too many times")
        if status:
            raise _error(status, self.arena, f"releasing {self!r}")

    def __enter__(self):
        return self._take_permit(UINT64_MAX)

    def __exit__(self, *exc_info):
        self.release()

    @property
    def maximum(self):
        """More permits than this cannot be released."""
        cdef uint64_t value
        self._check()
        if not ip_get(&(<ip_semaphore *>self.data).maximum, &value):
            raise _error(IP_CORRUPT, self.arena, f"looking at {self!r}")
        return value

    def get_value(self):
        """How many permits there are at this moment."""
        cdef uint64_t value
        self._check()
        if not ip_get(&(<ip_semaphore *>self.data).value, &value):
            raise _error(IP_CORRUPT, self.arena, f"looking at {self!r}")
        return value


cdef class Signal(_MemoryHandle):
    """A counter that processes wait on: notify() raises it and wakes those that wait for it to differ from what they saw."""

    def __init__(self, *, name=None, arena=None):
        cdef ip_signal initial
        ip_signal_init(&initial)
        self._open(arena, name, sizeof(initial), FLAVOUR_SIGNAL, &initial, sizeof(initial))

    cdef int _revived(self) except -1:
        return self._find(FLAVOUR_SIGNAL)

    def counter(self):
        """How often notify() was called."""
        cdef uint64_t count
        self._check()
        if not ip_get(&(<ip_signal *>self.data).count, &count):
            raise _error(IP_CORRUPT, self.arena, f"looking at {self!r}")
        return count

    def notify(self, n=-1):
        """Raises the counter and wakes n of those that sleep (-1: all)."""
        cdef int status
        self._check()
        status = ip_signal_notify(<ip_signal *>self.data, INT_MAX if n < 0 else n)
        if status:
            raise _error(status, self.arena, f"notifying {self!r}")

    def wait(self, seen, timeout=None):
        """Waits until the counter is not `seen`; False when `timeout` seconds were not enough."""
        cdef uint64_t deadline = _deadline(timeout), count = seen
        cdef cbool ready, slept = False
        self._enter()
        try:
            while True:
                with nogil:
                    ready = ip_signal_wait(<ip_signal *>self.data, count, deadline, &slept)
                PyErr_CheckSignals()
                self._check()
                if ready:
                    self.counter()      # raises if what ended the wait is damage
                    return True
                if deadline != UINT64_MAX and ip_now_ns() >= deadline:
                    return False
        finally:
            self._exit()
