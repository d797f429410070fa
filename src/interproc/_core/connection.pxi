# connection.pxi: Connection: one end of a pipe, which is two rings.

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
        self.other_end = 1 - <int>self.c_end
        # max_count of the ring from end 0 to end 1 tells a one-way pipe: see pipe()
        if not ip_get(<ip_word *>ip_ring_of(self.object, IP_PIPE, 1) + _MAX_COUNT, &flag):
            raise _error(IP_CORRUPT, self.arena, "opening a connection")
        self.readable = not flag or self.c_end == 0
        self.writable = not flag or self.c_end == 1
        self.in_ring = ip_ring_of(self.object, IP_PIPE, self.c_end)
        self.out_ring = ip_ring_of(self.object, IP_PIPE, 1 - self.c_end)
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
    a.c_end = 0
    b.arena = a.arena
    b.c_id = a.c_id
    b.c_end = 1
    b.kind = a.kind
    b.object = a.object
    b.open = True
    a._revived()
    b._revived()
    return a, b
