# entry.pxi: room for what is read of a table or a list, and what was read as what is expected to be there.

cdef enum:
    KEY_PART = 16 << 10     # of the scratch: the key's; the rest is the value's


cdef class _Entry:
    """Room for a key and a value that are read; grows."""
    cdef _Scratch scratch
    cdef ip_value_out key
    cdef ip_value_out value
    cdef void *more_key
    cdef void *more_value

    def __cinit__(self):
        self.scratch = _borrow_scratch()
        memset(&self.key, 0, sizeof(self.key))
        memset(&self.value, 0, sizeof(self.value))
        self.key.data = self.scratch.data
        self.key.room = KEY_PART
        self.value.data = self.scratch.data + KEY_PART
        self.value.room = SCRATCH_SIZE - KEY_PART
        self.value.handles = self.scratch.handles
        self.value.handles_room = HANDLES_LIMIT

    def __dealloc__(self):
        free(self.more_key)
        free(self.more_value)
        if self.scratch is not None:
            _return_scratch(self.scratch)

    cdef int grow(self) except -1:
        """After IP_TOO_LONG."""
        cdef void *made
        if self.key.size > self.key.room:
            made = realloc(self.more_key, self.key.size)
            if made == NULL:
                raise MemoryError(f"no memory for a key of {self.key.size:,} bytes")
            self.more_key = self.key.data = made
            self.key.room = self.key.size
        if self.value.size > self.value.room:
            made = realloc(self.more_value, self.value.size)
            if made == NULL:
                raise MemoryError(f"no memory for a value of {self.value.size:,} bytes")
            self.more_value = self.value.data = made
            self.value.room = self.value.size
        return 0


cdef inline void _was(ip_value_out *out, ip_value *was) noexcept:
    """The value that was read, as what is expected to be there."""
    memset(was, 0, sizeof(ip_value))
    was.kind = out.kind
    was.data = out.data
    was.size = out.size
