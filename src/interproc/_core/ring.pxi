# ring.pxi: queues and connections over the rings of the core.
#
# A call first tries with the GIL held, which takes well under a microsecond when nothing is in the way; only to wait
# does it let the GIL go, in slices, between which signals are looked at and the dead are noticed.

import operator as _operator
import queue as _queue
from types import GenericAlias as _GenericAlias

from libc.limits cimport INT_MAX

cdef enum:
    KIND_RAW = 5                # send_bytes(): bytes that are not a pickled object, or the pickle that the sender made
    SCRATCH_SIZE = 128 << 10    # bytes: what get_many takes at once, at least the largest inline message
    BATCH = 128                 # messages taken or put at once
    HANDLES_LIMIT = 900
    WITHOUT_GIL = 256 << 10     # bytes from which on a copy lets other threads run
    BUSY_PATIENCE = 100000000   # ns: how long a lock that is held for nanoseconds is tried for at least, whatever the timeout
    LOOK_AFTER = 40000000       # ns: how often a sender looks whether the other side lives


cdef class _Scratch:
    """Private memory that messages are copied into when they are taken."""
    cdef unsigned char *data
    cdef ip_incoming *messages
    cdef ip_handle_ref *handles

    def __cinit__(self):
        self.data = <unsigned char *>malloc(SCRATCH_SIZE)
        self.messages = <ip_incoming *>malloc(BATCH * sizeof(ip_incoming))
        self.handles = <ip_handle_ref *>malloc(HANDLES_LIMIT * sizeof(ip_handle_ref))
        if self.data == NULL or self.messages == NULL or self.handles == NULL:
            raise MemoryError("no memory for a message")

    def __dealloc__(self):
        free(self.data)
        free(self.messages)
        free(self.handles)


cdef object _END = object()
cdef object _index = _operator.index


cdef extern from *:
    """
    #include <time.h>
    static inline uint64_t ip_max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }
    /* The time in steps of a few milliseconds, for next to nothing. */
    static inline long ip_coarse_ms(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
        return (long)(t.tv_sec * 1000 + t.tv_nsec / 1000000);
    }
    """
    uint64_t max_u64 "ip_max_u64"(uint64_t a, uint64_t b) noexcept nogil
    long coarse_ms "ip_coarse_ms"() noexcept nogil


cdef list _scratches = []       # idle; a thread takes one for the time of a call
cdef list _encoders = []


cdef inline _Scratch _borrow_scratch():
    if _scratches:
        return <_Scratch>_scratches.pop()
    return _Scratch.__new__(_Scratch)


cdef inline int _return_scratch(_Scratch scratch) except -1:
    if len(_scratches) < 8:
        _scratches.append(scratch)
    return 0


cdef inline Encoder _borrow_encoder():
    if _encoders:
        return <Encoder>_encoders.pop()
    return Encoder.__new__(Encoder)


cdef inline int _return_encoder(Encoder encoder) except -1:
    encoder.clear()
    if len(_encoders) < 8:
        _encoders.append(encoder)
    return 0


@cython.no_gc_clear
cdef class _Block:
    """The contents of a large message, which this process owns; freed when the last view of it is gone."""
    cdef Arena arena
    cdef uint64_t at, size
    cdef int pid

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, <void *>ip_at(&self.arena.c, self.at), <Py_ssize_t>self.size, 0, flags)

    def __dealloc__(self):
        if self.at and self.arena.c.base != NULL and self.arena.c.generation:
            ip_block_drop(&self.arena.c, self.at)   # frees it only if this process is its owner: a forked child is not


cdef extern from "Python.h":
    int PyBuffer_FillInfo(Py_buffer *view, object exporter, void *buf, Py_ssize_t len, int readonly, int flags) except -1


cdef class _RingHandle(Handle):
    """What queues and connections have in common: putting to a ring and taking from one."""
    cdef ip_ring *in_ring       # taken from, or NULL
    cdef ip_ring *out_ring      # put to, or NULL
    cdef int other_end          # the end whose vacancy ends this one's waits, or -1

    cdef ip_watch *_make_watch(self) except NULL:
        cdef ip_watch *watch
        ring = self.in_ring if self.in_ring != NULL else self.out_ring
        watch = ip_watch_start(&self.arena.c, self.object, ring, self.other_end)
        if watch == NULL:
            PyErr_SetFromErrno(OSError)
        return watch

    # ---- taking

    cdef int _take(self, _Scratch scratch, unsigned max, uint64_t deadline, unsigned *taken) except -1:
        """IP_OK with 1 to max messages, IP_AGAIN when the time is over, IP_EOF, IP_SHUT_DOWN; else raises.

        What the messages own is this process's: _decode() each of them. Between _enter() and _exit().
        """
        cdef unsigned i
        cdef int status
        self._check()
        status = ip_ring_take(&self.arena.c, self.object, self.in_ring, self.other_end, scratch.data, SCRATCH_SIZE,
                              IP_NOW, scratch.messages, max, taken)
        if status == IP_BUSY or (status == IP_AGAIN and deadline != 1):
            status = self._take_waiting(scratch, max, deadline, taken, status)
        if status == IP_OK:
            for i in range(taken[0]):
                if scratch.messages[i].n_handles:
                    _hold_arrived(self.arena, &scratch.messages[i])
        if self.watch != NULL:
            ip_watch_sync(self.watch)
        if status == IP_OK or status == IP_AGAIN or status == IP_EOF or status == IP_SHUT_DOWN:
            return status
        raise _error(status, self.arena, f"taking from {self!r}")

    cdef int _take_waiting(self, _Scratch scratch, unsigned max, uint64_t deadline, unsigned *taken, int status) except -1:
        cdef cbool slept = False, ready, held, lock_slept = False
        cdef ip_patience patience
        # A lock that another has for a moment is no reason to say that there is nothing.
        cdef uint64_t now, busy_until = ip_now_ns() + BUSY_PATIENCE
        while True:
            patience = IP_NOW
            if status == IP_AGAIN:
                with nogil:
                    ready = ip_ring_wait_items(self.object, self.in_ring, self.other_end, deadline, &slept)
                    if not ready and self.other_end >= 0:
                        ip_object_check_holders(&self.arena.c, self.object, <unsigned>self.other_end, &held)
            else:
                with nogil:
                    ready = ip_lock_wait(&self.in_ring.get_lock, max_u64(deadline, busy_until), &lock_slept)
                if not ready:
                    patience = IP_INHERIT
            PyErr_CheckSignals()
            self._check()
            status = ip_ring_take(&self.arena.c, self.object, self.in_ring, self.other_end, scratch.data, SCRATCH_SIZE,
                                  patience, scratch.messages, max, taken)
            if status != IP_AGAIN and status != IP_BUSY:
                if status == IP_OK and slept and ip_ring_readable(self.object, self.in_ring, -1):
                    ip_event_notify(&self.in_ring.items, 1)     # a wake-up may have been meant for two
                return status
            if deadline != UINT64_MAX:
                now = ip_now_ns()
                if now >= deadline and (status == IP_AGAIN or now >= busy_until):
                    return IP_AGAIN

    cdef object _decode(self, ip_incoming *message, bint copy):
        """The object of a message that was taken; what the message owned is owned by the object, or freed."""
        cdef _Block block
        cdef int status = IP_OK
        if message.block == 0 and message.n_handles == 0:
            return self._loads(message.kind, message.data, message.size, None)
        try:
            if message.block == 0:
                return self._loads(message.kind, message.data, message.size, None)
            block = _Block.__new__(_Block)
            block.arena = self.arena
            block.at = message.block
            block.size = message.size
            if message.size >= WITHOUT_GIL:
                with nogil:
                    status = ip_block_verify(&self.arena.c, message)
            else:
                status = ip_block_verify(&self.arena.c, message)
            if status:
                raise _error(status, self.arena, f"reading a message of {message.size} bytes from {self!r}")
            return self._loads(message.kind, <unsigned char *>ip_at(&self.arena.c, message.block), message.size,
                               None if copy else block)
        finally:
            if message.n_handles:
                _release_arrived(self.arena, message)

    cdef object _loads(self, int kind, const unsigned char *data, uint64_t size, object owner):
        if kind == KIND_RAW:
            return decode(KIND_PICKLE, data, size, owner)
        return decode(kind, data, size, owner)

    cdef object _take_one(self, uint64_t deadline, bint copy, int *status):
        """One object; status tells IP_AGAIN, IP_EOF or IP_SHUT_DOWN instead."""
        cdef unsigned taken = 0
        cdef _Scratch scratch
        self._enter()
        scratch = _borrow_scratch()
        try:
            status[0] = self._take(scratch, 1, deadline, &taken)
            if status[0] != IP_OK:
                return None
            return self._decode(&scratch.messages[0], copy)
        finally:
            _return_scratch(scratch)
            self._exit()

    # ---- putting

    cdef int _fill(self, Encoder encoder, _Scratch scratch, uint64_t deadline, ip_outgoing *message) except -1:
        """Describes the encoded message; a large one is copied into a block, which the caller drops if it is not put.
        IP_AGAIN when the time is over."""
        cdef int status
        cdef unsigned i
        cdef uint64_t at = 0
        cdef Handle handle
        memset(message, 0, sizeof(ip_outgoing))
        message.kind = <uint8_t>encoder.kind
        message.size = encoder.size
        if encoder.handles is not None:
            for handle in encoder.handles:
                if handle.arena is not self.arena:
                    continue    # another arena's objects are not counted by messages of this one
                if message.n_handles >= HANDLES_LIMIT:
                    raise _error(IP_TOO_LONG, self.arena, "sending a message")
                scratch.handles[message.n_handles].id = handle.c_id
                scratch.handles[message.n_handles].end = handle.end
                message.n_handles += 1
            message.handles = scratch.handles
        if encoder.size + 8 + 16 * message.n_handles <= IP_INLINE_MAX:
            if encoder.n_pieces == 1:
                message.data = encoder.pieces[0].data
                return 0
            for i in range(<unsigned>encoder.n_pieces):
                memcpy(scratch.data + at, encoder.pieces[i].data, encoder.pieces[i].size)
                at += encoder.pieces[i].size
            message.data = scratch.data
            return 0
        return self._fill_block(encoder.pieces, encoder.n_pieces, deadline, message)

    cdef int _fill_block(self, ip_piece *pieces, unsigned n, uint64_t deadline, ip_outgoing *message) except -1:
        cdef int status
        cdef unsigned i
        cdef bint reaped = False
        cdef uint64_t busy_until = 0
        joined = None
        if n > IP_PIECES_MAX or 16 * message.n_handles + 8 * n > IP_INLINE_MAX - 64:
            # The frame has the size of each piece, as each is summed by itself: join them.
            parts = []
            for i in range(n):
                parts.append(PyBytes_FromStringAndSize(<const char *>pieces[i].data, <Py_ssize_t>pieces[i].size))
            joined = b"".join(parts)
            pieces[0].data = <const char *>PyBytes_AS_STRING(joined)
            pieces[0].size = len(joined)
            n = 1
        message.n_pieces = n
        message.pieces = pieces
        while True:
            if message.size >= WITHOUT_GIL:
                with nogil:
                    status = ip_block_fill(&self.arena.c, pieces, n, &message.block, &message.block_sum)
            else:
                status = ip_block_fill(&self.arena.c, pieces, n, &message.block, &message.block_sum)
            if status == IP_OK:
                return status
            message.block = 0
            if status == IP_NO_MEMORY and not reaped:   # the dead may have left something
                reaped = True
                self.arena.reap()
                continue
            if status != IP_BUSY:
                raise _error(status, self.arena, f"putting {message.size:,} bytes to {self!r}")
            with nogil:
                pass
            PyErr_CheckSignals()
            if not busy_until:
                busy_until = ip_now_ns() + BUSY_PATIENCE
            if ip_now_ns() >= max_u64(deadline, busy_until):
                return IP_AGAIN

    cdef int _send(self, ip_outgoing *messages, unsigned n, uint64_t deadline, unsigned *put) except -1:
        """Puts 1 to n messages: IP_OK, IP_AGAIN when the time is over, IP_SHUT_DOWN, IP_BROKEN; else raises.

        Between _enter() and _exit().
        """
        cdef int status
        self._check()
        status = ip_ring_put(&self.arena.c, self.object, self.out_ring, self.other_end, messages, n, IP_NOW, put)
        if status == IP_BUSY or (status == IP_AGAIN and deadline != 1):
            status = self._send_waiting(messages, n, deadline, put, status)
        if status == IP_NO_MEMORY and self.arena.reap():
            self._check()
            status = ip_ring_put(&self.arena.c, self.object, self.out_ring, self.other_end, messages, n, IP_NOW, put)
        if status == IP_OK and ip_ring_is_watched(self.out_ring):
            with nogil:
                ip_ring_await_watchers(&self.arena.c, self.out_ring)
        if status == IP_OK or status == IP_AGAIN or status == IP_SHUT_DOWN or status == IP_BROKEN:
            return status
        raise _error(status, self.arena, f"putting to {self!r}")

    cdef int _send_waiting(self, ip_outgoing *messages, unsigned n, uint64_t deadline, unsigned *put, int status) except -1:
        cdef cbool slept = False, ready, held
        cdef ip_patience patience
        cdef uint64_t size = messages[0].size, now, busy_until = ip_now_ns() + BUSY_PATIENCE
        while True:
            patience = IP_NOW
            with nogil:
                if status == IP_AGAIN:
                    ready = ip_ring_wait_space(self.object, self.out_ring, self.other_end, size, deadline, &slept)
                    if not ready and self.other_end >= 0:
                        ip_object_check_holders(&self.arena.c, self.object, <unsigned>self.other_end, &held)
                else:
                    ready = ip_lock_wait(&self.out_ring.put_lock, max_u64(deadline, busy_until), &slept)
                    if not ready:
                        patience = IP_INHERIT
            PyErr_CheckSignals()
            self._check()
            status = ip_ring_put(&self.arena.c, self.object, self.out_ring, self.other_end, messages, n, patience, put)
            if status != IP_AGAIN and status != IP_BUSY:
                return status
            if deadline != UINT64_MAX:
                now = ip_now_ns()
                if now >= deadline and (status == IP_AGAIN or now >= busy_until):
                    return IP_AGAIN

    cdef int _put_one(self, object obj, uint64_t deadline) except -1:
        cdef Encoder encoder
        cdef _Scratch scratch = None
        cdef ip_outgoing message
        cdef unsigned put = 0
        self._enter()
        encoder = _borrow_encoder()
        try:
            encoder.encode(obj)
            if encoder.n_pieces == 1 and encoder.size <= IP_INLINE_MAX and encoder.handles is None:
                memset(&message, 0, sizeof(message))
                message.kind = <uint8_t>encoder.kind
                message.data = encoder.pieces[0].data
                message.size = encoder.size
                return self._send(&message, 1, deadline, &put)
            scratch = _borrow_scratch()
            return self._put_encoded(encoder, scratch, deadline)
        finally:
            _return_encoder(encoder)
            if scratch is not None:
                _return_scratch(scratch)
            self._exit()

    cdef int _put_encoded(self, Encoder encoder, _Scratch scratch, uint64_t deadline) except -1:
        cdef ip_outgoing message
        cdef int status = self._fill(encoder, scratch, deadline, &message)
        if status:
            return status
        return self._send_filled(&message, deadline)

    cdef int _send_filled(self, ip_outgoing *message, uint64_t deadline) except -1:
        cdef unsigned put = 0
        try:
            return self._send(message, 1, deadline, &put)
        finally:
            if message.block and not put:
                ip_block_drop(&self.arena.c, message.block)

    cdef bint _poll(self, uint64_t deadline) except -1:
        cdef cbool ready, slept = False, held
        self._enter()
        try:
            ready = ip_ring_readable(self.object, self.in_ring, self.other_end)
            while not ready:
                with nogil:
                    ready = ip_ring_wait_items(self.object, self.in_ring, self.other_end, deadline, &slept)
                    if not ready and self.other_end >= 0:
                        ip_object_check_holders(&self.arena.c, self.object, <unsigned>self.other_end, &held)
                        ready = ip_ring_readable(self.object, self.in_ring, self.other_end)
                PyErr_CheckSignals()
                self._check()
                if deadline != UINT64_MAX and ip_now_ns() >= deadline:
                    break
            if ready and slept:
                ip_event_notify(&self.in_ring.items, 1)     # looking takes nothing: others may be waiting for it
            if self.watch != NULL:
                ip_watch_sync(self.watch)
            return ready
        finally:
            self._exit()

    def fileno(self):
        """A descriptor that select(), epoll and multiprocessing.connection.wait() see readable when there is
        something to take (or the end). It is made, with a small thread, at the first call."""
        return self._fileno()


cdef class Queue(_RingHandle):
    """A first-in first-out queue in shared memory; see interproc.queues.Queue."""
    cdef readonly uint64_t maxsize, max_bytes

    @classmethod
    def __class_getitem__(cls, item):
        return _GenericAlias(cls, item)

    def __init__(self, maxsize=0, max_bytes=0, *, name=None, arena=None):
        cdef ip_ring_settings settings
        settings.max_count = min(max(0, maxsize), _BOUND_MAX)
        settings.max_bytes = min(max(0, max_bytes), _BOUND_MAX)
        self._create(arena, name, IP_QUEUE, 1, 1, ip_ring_body_size(IP_QUEUE), ip_ring_make, &settings)
        self._revived()

    cdef int _revived(self) except -1:
        cdef uint64_t word
        if self.kind != IP_QUEUE:
            raise _error(IP_FREED, self.arena, f"opening a {type(self).__name__}")
        self.in_ring = self.out_ring = ip_ring_of(self.object, IP_QUEUE, 0)
        self.other_end = -1
        if not ip_get(<ip_word *>self.in_ring + _MAX_COUNT, &self.maxsize) or not ip_get(
                <ip_word *>self.in_ring + _MAX_BYTES, &self.max_bytes):
            raise _error(IP_CORRUPT, self.arena, "opening a queue")
        return 0

    cdef object _closed_error(self):
        return _errors.HandleError(f"Queue {self!r} is closed")

    def put(self, obj, block=True, timeout=None):
        """Puts an object; returns once it is in shared memory, where every later get() sees it.

        Waits up to `timeout` seconds (None: as long as it takes) for room in a bounded queue.
        Raises queue.Full, PicklingError (nothing was put), ArenaFull (a MemoryError), ShutDown, ValueError when closed.
        """
        cdef int status = self._put_one(obj, _deadline(timeout) if block else 1)
        if status:
            self._raise_put(status)

    def put_nowait(self, obj):
        """put(obj, block=False)."""
        cdef int status = self._put_one(obj, 1)
        if status:
            self._raise_put(status)

    cdef int _raise_put(self, int status) except -1:
        if status == IP_SHUT_DOWN:
            raise _errors.ShutDown(f"{self!r} was shut down: nothing more can be put")
        raise _queue.Full

    def put_many(self, objs, timeout=None):
        """Puts the objects in order, many at a time; returns how many.

        Those that an iterable has given are put when it is exhausted, fails, or makes one wait for the next. When the time
        is over or the queue is shut down, raises as put() does; the exception's `put` tells how many were put.
        """
        cdef ip_outgoing *messages
        cdef Encoder encoder
        cdef _Scratch scratch
        cdef unsigned n = 0
        cdef uint64_t total = 0, used = 0, deadline = _deadline(timeout)
        cdef long began = 0
        cdef int status = IP_OK
        self._enter()
        encoder = _borrow_encoder()
        scratch = _borrow_scratch()
        messages = <ip_outgoing *>malloc(BATCH * sizeof(ip_outgoing))
        try:
            if messages == NULL:
                raise MemoryError
            iterator = iter(objs)
            while status == IP_OK:
                try:
                    obj = next(iterator, _END)
                    if obj is _END:
                        break
                    encoder.encode(obj)
                except BaseException:
                    self._flush(messages, n, deadline, &total)      # those before it go out
                    raise
                simple = encoder.n_pieces == 1 and encoder.size <= IP_INLINE_MAX and encoder.handles is None
                if n == BATCH or not simple or used + encoder.size > SCRATCH_SIZE or (n and coarse_ms() != began):
                    status = self._flush(messages, n, deadline, &total)
                    n = 0
                    used = 0
                    if status == IP_OK and not simple:
                        status = self._put_encoded(encoder, scratch, deadline)
                        total += status == IP_OK
                    if status or not simple:
                        continue
                if n == 0:
                    began = coarse_ms()
                memcpy(scratch.data + used, encoder.pieces[0].data, encoder.size)
                memset(&messages[n], 0, sizeof(ip_outgoing))
                messages[n].kind = <uint8_t>encoder.kind
                messages[n].data = scratch.data + used
                messages[n].size = encoder.size
                used += encoder.size
                n += 1
            if status == IP_OK:
                status = self._flush(messages, n, deadline, &total)
            if status:
                self._raise_put(status)
            return total
        except BaseException as failure:
            try:
                failure.put = total
            except Exception:
                pass
            raise
        finally:
            free(messages)
            _return_encoder(encoder)
            _return_scratch(scratch)
            self._exit()

    cdef int _flush(self, ip_outgoing *messages, unsigned n, uint64_t deadline, uint64_t *total) except -1:
        cdef unsigned at = 0, put = 0
        cdef int status = IP_OK
        PyErr_CheckSignals()
        with nogil:     # an iterator in C would let no other thread run
            pass
        while at < n:
            put = 0
            status = self._send(messages + at, n - at, deadline, &put)
            at += put
            total[0] += put
            if status != IP_OK:
                return status
        return status

    def get(self, block=True, timeout=None, *, copy=True):
        """Takes the oldest item; waits up to `timeout` seconds (None: as long as it takes) for one.

        copy=False: large buffers (bytes, bytearray, NumPy arrays, anything that pickle puts out of band) are views of
        shared memory, which they keep alive; a bytes object is then a read-only memoryview. They are this process's
        alone: a child forked while they exist must not use them.
        Raises queue.Empty, ShutDown once a queue that was shut down is empty, UnpicklingError (its `data` has the
        message), ArenaCorrupted, ValueError when closed.
        """
        cdef int status = IP_OK
        item = self._take_one(_deadline(timeout) if block else 1, copy, &status)
        if status:
            self._raise_get(status)
        return item

    def get_nowait(self):
        """get(block=False)."""
        cdef int status = IP_OK
        item = self._take_one(1, True, &status)
        if status:
            self._raise_get(status)
        return item

    cdef int _raise_get(self, int status) except -1:
        if status == IP_SHUT_DOWN:
            raise _errors.ShutDown(f"{self!r} was shut down and is empty")
        raise _queue.Empty

    def get_many(self, n, block=True, timeout=None, *, copy=True):
        """Takes at least one and at most n items, those that are there; waits only for the first. Raises as get().

        When one of several cannot be unpickled, the exception's `items` has the others.
        """
        cdef unsigned taken, i
        cdef Py_ssize_t wanted = _index(n)
        cdef uint64_t deadline
        cdef int status
        cdef _Scratch scratch
        if wanted < 1:
            raise ValueError(f"get_many takes a number of items from 1, not {n}")
        deadline = _deadline(timeout) if block else 1
        items = []
        error = None
        self._enter()
        scratch = _borrow_scratch()
        try:
            while len(items) < wanted and error is None:
                taken = 0
                status = self._take(scratch, min(wanted - len(items), <Py_ssize_t>BATCH), deadline, &taken)
                if status:
                    if not items:
                        self._raise_get(status)
                    break
                deadline = 1
                for i in range(taken):
                    try:
                        items.append(self._decode(&scratch.messages[i], copy))
                    except BaseException as failure:
                        if error is None:
                            error = failure
            if error is not None:
                raise error
            return items
        except BaseException as failure:
            if items:
                try:
                    failure.items = items
                except Exception:
                    pass
            raise
        finally:
            _return_scratch(scratch)
            self._exit()

    def __iter__(self):
        return self

    def __next__(self):
        cdef int status = IP_OK
        item = self._take_one(UINT64_MAX, True, &status)
        if status == IP_SHUT_DOWN:
            raise StopIteration
        return item

    cdef int _counts(self, uint64_t *put, uint64_t *taken, uint64_t *done, uint64_t *size, cbool *shut) except -1:
        cdef int status
        self._check()
        status = ip_ring_counts(self.in_ring, put, taken, done, size, shut)
        if status:
            raise _error(status, self.arena, f"counting {self!r}")
        return 0

    def qsize(self):
        """How many items are in the queue, exactly, at this moment."""
        cdef uint64_t put, taken, done, size
        cdef cbool shut
        self._counts(&put, &taken, &done, &size, &shut)
        return put - taken

    def empty(self):
        """Whether nothing is in the queue at this moment."""
        return self.qsize() == 0

    def full(self):
        """Whether a bounded queue has no room for an item at this moment."""
        cdef uint64_t put, taken, done, size
        cdef cbool shut
        self._counts(&put, &taken, &done, &size, &shut)
        return bool((self.maxsize and put - taken >= self.maxsize) or (self.max_bytes and size >= self.max_bytes))

    def counters(self):
        """A dict of exact counts: put, taken, done (items, ever), bytes (of the messages in the queue now)."""
        cdef uint64_t put, taken, done, size
        cdef cbool shut
        self._counts(&put, &taken, &done, &size, &shut)
        return {"put": put, "taken": taken, "done": done, "bytes": size}

    @property
    def is_shutdown(self):
        """Whether shutdown() was called, by any process."""
        cdef uint64_t put, taken, done, size
        cdef cbool shut
        self._counts(&put, &taken, &done, &size, &shut)
        return shut

    def poll(self, timeout=0.0):
        """Waits up to `timeout` seconds (None: as long as it takes) until there is an item, or the queue is shut down."""
        return self._poll(_deadline(timeout))

    def task_done(self):
        """Tells that an item that was taken has been worked on. ValueError when called more often than items were put."""
        cdef int status
        self._check()
        status = ip_ring_task_done(self.in_ring)
        if status == IP_OVERFLOW:
            raise ValueError("task_done() called too many times")
        if status:
            raise _error(status, self.arena, f"task_done() of {self!r}")

    def join(self, timeout=None):
        """Waits until task_done() was called for every item put; False when `timeout` seconds were not enough."""
        cdef uint64_t deadline = _deadline(timeout)
        cdef cbool ready, slept = False
        self._enter()
        try:
            while True:
                with nogil:
                    ready = ip_ring_wait_done(self.in_ring, deadline, &slept)
                PyErr_CheckSignals()
                self._check()
                if ready:
                    self.qsize()    # raises if what ended the wait is damage
                    return True
                if deadline != UINT64_MAX and ip_now_ns() >= deadline:
                    return False
        finally:
            self._exit()

    def shutdown(self, immediate=False):
        """From now on put() raises ShutDown, and get() does once the queue is empty; `immediate` empties it."""
        cdef int status
        cdef cbool now = immediate
        self._enter()
        try:
            with nogil:
                status = ip_ring_shut_down(&self.arena.c, self.object, self.in_ring, now)
        finally:
            self._exit()
        if status:
            raise _error(status, self.arena, f"shutting {self!r} down")


cdef extern from *:
    """
    #include <stddef.h>
    #define IP_MAX_COUNT_AT (offsetof(ip_ring, max_count) / sizeof(ip_word))
    #define IP_MAX_BYTES_AT (offsetof(ip_ring, max_bytes) / sizeof(ip_word))
    """
    size_t _MAX_COUNT "IP_MAX_COUNT_AT"
    size_t _MAX_BYTES "IP_MAX_BYTES_AT"


_BOUND_MAX = 1 << 55    # of what a word of the arena holds
PIPE_BYTES = 1 << 20    # what send() lets lie unread before it waits


cdef class Connection(_RingHandle):
    """One end of a pipe; see interproc.connection.Connection."""
    cdef readonly bint readable, writable
    cdef uint64_t looked    # when, in ns, it was last seen that a receiver lives

    def __init__(self):
        raise TypeError("connections are made by Pipe()")

    cdef int _revived(self) except -1:
        cdef uint64_t flag
        if self.kind != IP_PIPE:
            raise _error(IP_FREED, self.arena, f"opening a {type(self).__name__}")
        self.other_end = 1 - <int>self.end
        # max_count of the ring from end 0 to end 1 tells a one-way pipe: see pipe()
        if not ip_get(<ip_word *>ip_ring_of(self.object, IP_PIPE, 1) + _MAX_COUNT, &flag):
            raise _error(IP_CORRUPT, self.arena, "opening a connection")
        self.readable = not flag or self.end == 0
        self.writable = not flag or self.end == 1
        self.in_ring = ip_ring_of(self.object, IP_PIPE, self.end)
        self.out_ring = ip_ring_of(self.object, IP_PIPE, 1 - self.end)
        return 0

    cdef object _closed_error(self):
        return OSError("handle is closed")

    cdef int _check_readable(self) except -1:
        if self.closed or self.object == NULL:
            raise self._closed_error()
        if not self.readable:
            raise OSError("connection is write-only")
        return 0

    cdef int _check_writable(self) except -1:
        if self.closed or self.object == NULL:
            raise self._closed_error()
        if not self.writable:
            raise OSError("connection is read-only")
        return 0

    def send(self, obj):
        """Sends an object; waits while the other side has 1 MiB unread.

        Raises BrokenPipeError once every holder of the other end has closed it or died, PicklingError, ArenaFull.
        """
        self._check_writable()
        self._look()
        if self._put_one(obj, UINT64_MAX):
            raise self._broken()

    cdef int _look(self) except -1:
        """Now and then, before sending: is somebody left who could receive?"""
        cdef cbool held
        cdef uint64_t now = ip_now_ns()
        if now - self.looked < LOOK_AFTER:
            return 0
        self.looked = now
        self._enter()
        try:
            with nogil:
                ip_object_check_holders(&self.arena.c, self.object, <unsigned>self.other_end, &held)
        finally:
            self._exit()
        return 0

    def send_bytes(self, buf, offset=0, size=None):
        """Sends bytes-like data, or `size` bytes of it from `offset`, as one message. Raises as send(), ValueError."""
        cdef ip_piece piece
        cdef ip_outgoing message
        self._check_writable()
        view = memoryview(buf)
        if view.itemsize > 1:
            view = view.cast("B")
        n = view.nbytes
        if offset < 0:
            raise ValueError("offset is negative")
        if n < offset:
            raise ValueError("buffer length < offset")
        if size is None:
            size = n - offset
        elif size < 0:
            raise ValueError("size is negative")
        elif offset + size > n:
            raise ValueError("buffer length < offset + size")
        if not view.contiguous:
            view = memoryview(bytes(view))
        memset(&message, 0, sizeof(message))
        message.kind = KIND_RAW
        message.size = size
        piece.data = <const char *>PyMemoryView_GET_BUFFER(view).buf + <uint64_t>offset
        piece.size = size
        self._look()
        self._enter()
        try:
            if message.size <= IP_INLINE_MAX:
                message.data = piece.data
            else:
                self._fill_block(&piece, 1, UINT64_MAX, &message)
            if self._send_filled(&message, UINT64_MAX):
                raise self._broken()
        finally:
            self._exit()

    cdef object _broken(self):
        return BrokenPipeError(32, "the other end of the pipe was closed by its last holder, or that died")

    cdef int _raise_eof(self) except -1:
        raise EOFError("the other end of the pipe was closed by its last holder, or that died, and all is read")

    def recv(self, *, copy=True):
        """Receives an object; waits for one. copy=False as for Queue.get().

        Raises EOFError once every holder of the other end has closed it or died and all that was sent is read.
        """
        cdef int status = IP_OK
        self._check_readable()
        obj = self._take_one(UINT64_MAX, copy, &status)
        if status:
            self._raise_eof()
        return obj

    cdef object _take_bytes(self):
        """A message as bytes: those of send_bytes(), or the pickle of what was sent."""
        cdef unsigned taken = 0
        cdef ip_incoming *message
        cdef _Scratch scratch
        self._enter()
        scratch = _borrow_scratch()
        try:
            if self._take(scratch, 1, UINT64_MAX, &taken):
                self._raise_eof()
            message = &scratch.messages[0]
            if message.kind == KIND_RAW:
                message.kind = KIND_BYTES
                return self._decode(message, True)
            obj = self._decode(message, True)
        finally:
            _return_scratch(scratch)
            self._exit()
        return bytes(_ForkingPickler.dumps(obj))

    def recv_bytes(self, maxlength=None):
        """Receives a message as bytes. Raises EOFError; OSError for one longer than `maxlength`, which ends reading."""
        self._check_readable()
        if maxlength is not None and maxlength < 0:
            raise ValueError("negative maxlength")
        data = self._take_bytes()
        if maxlength is not None and len(data) > maxlength:
            if self.writable:
                self.readable = False
            else:
                self.close()
            raise OSError("bad message length")
        return data

    def recv_bytes_into(self, buf, offset=0):
        """Receives a message into a writable buffer, from byte `offset` on; returns its length in bytes.

        Raises EOFError; multiprocessing.BufferTooShort, whose args[0] is the message, when it does not fit.
        """
        self._check_readable()
        with memoryview(buf) as given:
            if given.readonly:
                raise TypeError("recv_bytes_into() needs a writable buffer")
            view = given.cast("B") if given.contiguous else given
            room = view.nbytes
            if offset < 0:
                raise ValueError("negative offset")
            if offset > room:
                raise ValueError("offset too large")
            data = self._take_bytes()
            if room < offset + len(data):
                from multiprocessing import BufferTooShort
                raise BufferTooShort(data)
            view[offset:offset + len(data)] = data
            return len(data)

    def poll(self, timeout=0.0):
        """Waits up to `timeout` seconds (None: as long as it takes) for something to receive, or for the end."""
        self._check_readable()
        return bool(self._poll(_deadline(timeout)))

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


def pipe(cls, duplex=True, max_bytes=PIPE_BYTES, *, arena=None):
    """Two connected ends, of a class derived from Connection. One-way: the first reads, the second writes."""
    cdef Connection a = cls.__new__(cls), b = cls.__new__(cls)
    cdef ip_ring_settings settings
    settings.max_count = 0 if duplex else (1 << 55)     # no bound in effect, but it tells one from the other
    settings.max_bytes = min(max(1, max_bytes), _BOUND_MAX)
    a._create(arena, None, IP_PIPE, 2, 3, ip_ring_body_size(IP_PIPE), ip_ring_make, &settings)
    a.end = 0
    b.arena = a.arena
    b.c_id = a.c_id
    b.end = 1
    b.kind = a.kind
    b.object = a.object
    b.open = True
    a._revived()
    b._revived()
    return a, b
