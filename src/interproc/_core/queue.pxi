# queue.pxi: Queue: the ring that any holder puts to and takes from.

import operator as _operator
import queue as _queue
from types import GenericAlias as _GenericAlias

cdef object _END = object()
cdef object _index = _operator.index


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

        Those that an iterable has given are put when there are many, when it is exhausted or fails, or when the next one
        comes some milliseconds later (so an iterable must not wait for the answer to what it has just given). When the time is over or the queue is shut down, raises as put() does; the exception's `put` tells how many were put.
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

        When some of several cannot be unpickled, the first's exception is raised; its `items` has those that could be,
        its `errors` the exceptions of all.
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
        errors = []
        self._enter()
        scratch = _borrow_scratch()
        try:
            while len(items) < wanted and not errors:
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
                        errors.append(failure)
            if errors:
                raise errors[0]
            return items
        except BaseException as failure:
            if items or errors:
                try:
                    failure.items = items
                    failure.errors = errors
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
