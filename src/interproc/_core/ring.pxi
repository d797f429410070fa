# ring.pxi: what queues and connections have in common: putting to rings of the core and taking from them.
#
# A call first tries with the GIL held, which takes well under a microsecond when nothing is in the way; only to wait
# does it let the GIL go, in slices, between which signals are looked at and the dead are noticed.

from libc.limits cimport INT_MAX

cdef enum:
    KIND_RAW = 5                # send_bytes(): bytes that are not a pickled object, or the pickle that the sender made
    SCRATCH_SIZE = 128 << 10    # bytes: what get_many takes at once, at least the largest inline message
    BATCH = 128                 # messages taken or put at once
    HANDLES_LIMIT = 900
    WITHOUT_GIL = 256 << 10     # bytes from which on a copy lets other threads run
    BUSY_PATIENCE = 100000000   # ns: how long one owner of a lock that is held for nanoseconds is waited for at least
    LOOK_AFTER = 40000000       # ns: how often a sender looks whether the other side lives


cdef class _Scratch:
    """Private memory that messages are copied into when they are taken: from rings, or from parties (core/parcel.h)."""
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


# What a call needs for its time: the one at hand, nearly always; others are idle in a list.
cdef _Scratch _scratch_at_hand = None
cdef list _scratches = []
cdef Encoder _encoder_at_hand = None
cdef list _encoders = []


cdef inline _Scratch _borrow_scratch():
    global _scratch_at_hand
    scratch = _scratch_at_hand
    if scratch is not None:
        _scratch_at_hand = None
        return scratch
    return <_Scratch>_scratches.pop() if _scratches else _Scratch.__new__(_Scratch)


cdef inline int _return_scratch(_Scratch scratch) except -1:
    global _scratch_at_hand
    if _scratch_at_hand is None:
        _scratch_at_hand = scratch
    elif len(_scratches) < 8:
        _scratches.append(scratch)
    return 0


cdef inline Encoder _borrow_encoder():
    global _encoder_at_hand
    encoder = _encoder_at_hand
    if encoder is not None:
        _encoder_at_hand = None
        return encoder
    return <Encoder>_encoders.pop() if _encoders else Encoder.__new__(Encoder)


cdef inline int _return_encoder(Encoder encoder) except -1:
    global _encoder_at_hand
    encoder.clear()
    if _encoder_at_hand is None:
        _encoder_at_hand = encoder
    elif len(_encoders) < 8:
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


cdef struct _Busy:
    uint64_t owners     # who held the locks at the last look
    uint64_t until      # when patience with them ends


cdef class _RingHandle(Handle):
    """What queues and connections have in common: putting to a ring and taking from one."""
    cdef ip_ring *in_ring       # taken from, or NULL
    cdef ip_ring *out_ring      # put to, or NULL
    cdef int other_end          # the end whose vacancy ends this one's waits, or -1

    cdef void _note_busy(self, _Busy *busy, ip_lock *lock) noexcept:
        """That others hold a lock, one after the other, is no reason to give up, whatever the timeout; that one holds it
        for long (it was stopped) is. Also if it is the arena's lock."""
        cdef uint64_t owners = self.arena.c.header.lock.owner
        if lock != NULL:
            owners ^= lock.owner
        if busy.until == 0 or owners != busy.owners:
            busy.until = ip_now_ns() + BUSY_PATIENCE
        busy.owners = owners

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
        cdef uint64_t now
        cdef _Busy busy
        busy.until = 0
        while True:
            patience = IP_NOW
            if status == IP_BUSY:
                self._note_busy(&busy, &self.in_ring.get_lock)
            if status == IP_AGAIN:
                with nogil:
                    ready = ip_ring_wait_items(self.object, self.in_ring, self.other_end, deadline, &slept)
                    if not ready and self.other_end >= 0:
                        ip_object_check_holders(&self.arena.c, self.object, <unsigned>self.other_end, &held)
            else:
                with nogil:
                    ready = ip_lock_wait(&self.in_ring.get_lock, max_u64(deadline, busy.until), &lock_slept)
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
                if now >= deadline and (status == IP_AGAIN or now >= busy.until):
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
                scratch.handles[message.n_handles].end = handle.c_end
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
        cdef _Busy busy
        busy.until = 0
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
            self._note_busy(&busy, NULL)
            if ip_now_ns() >= max_u64(deadline, busy.until):
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
            if status == IP_BUSY or (status == IP_AGAIN and deadline != 1):
                status = self._send_waiting(messages, n, deadline, put, status)
        if status == IP_OK and ip_ring_is_watched(self.out_ring):
            with nogil:
                ip_ring_await_watchers(&self.arena.c, self.out_ring)
        if status == IP_OK or status == IP_AGAIN or status == IP_SHUT_DOWN or status == IP_BROKEN:
            return status
        raise _error(status, self.arena, f"putting to {self!r}")

    cdef int _send_waiting(self, ip_outgoing *messages, unsigned n, uint64_t deadline, unsigned *put, int status) except -1:
        cdef cbool slept = False, ready, held
        cdef ip_patience patience
        cdef uint64_t size = messages[0].size, now
        cdef _Busy busy
        busy.until = 0
        while True:
            patience = IP_NOW
            if status == IP_BUSY:
                self._note_busy(&busy, &self.out_ring.put_lock)
            with nogil:
                if status == IP_AGAIN:
                    ready = ip_ring_wait_space(self.object, self.out_ring, self.other_end, size, deadline, &slept)
                    if not ready and self.other_end >= 0:
                        ip_object_check_holders(&self.arena.c, self.object, <unsigned>self.other_end, &held)
                else:
                    ready = ip_lock_wait(&self.out_ring.put_lock, max_u64(deadline, busy.until), &slept)
                    if not ready:
                        patience = IP_INHERIT
            PyErr_CheckSignals()
            self._check()
            status = ip_ring_put(&self.arena.c, self.object, self.out_ring, self.other_end, messages, n, patience, put)
            if status != IP_AGAIN and status != IP_BUSY:
                return status
            if deadline != UINT64_MAX:
                now = ip_now_ns()
                if now >= deadline and (status == IP_AGAIN or now >= busy.until):
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
        cdef list movers = None if encoder.handles is None else _movers(encoder.handles, self.arena)
        cdef int status = IP_AGAIN
        try:
            status = self._fill(encoder, scratch, deadline, &message)
            if status == IP_OK:
                status = self._send_filled(&message, deadline)
            return status
        except BaseException:
            status = IP_AGAIN
            raise
        finally:
            if movers is not None:
                _settle_movers(movers, status == IP_OK)

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


cdef extern from *:
    """
    #include <stddef.h>
    #define IP_MAX_COUNT_AT (offsetof(ip_ring, max_count) / sizeof(ip_word))
    #define IP_MAX_BYTES_AT (offsetof(ip_ring, max_bytes) / sizeof(ip_word))
    """
    size_t _MAX_COUNT "IP_MAX_COUNT_AT"
    size_t _MAX_BYTES "IP_MAX_BYTES_AT"


_BOUND_MAX = 1 << 55    # of what a word of the arena holds
