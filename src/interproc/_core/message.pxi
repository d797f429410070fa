# message.pxi: an encoded object on its way into a channel: it is encoded once, however often it is offered.


@cython.no_gc_clear
cdef class _Message:
    """What an end sends: contents in private memory, or a block, which is freed with it unless somebody has taken it."""
    cdef Arena arena
    cdef ip_outgoing c
    cdef void *memory           # what c points to
    cdef ip_piece single        # the only piece of contents that were moved into a block
    cdef object handles         # those in it: they hold what it names, until it has gone
    cdef list movers            # the enrolments among them
    cdef bint counted           # or it has come out of a buffer, and is itself counted as a holder

    def __dealloc__(self):
        self._drop()

    cdef int _drop(self) except -1:
        cdef unsigned i
        self._settle(False)
        if self.c.block and self.arena.c.base != NULL and self.arena.c.generation:
            ip_block_drop(&self.arena.c, self.c.block)  # in a forked child, which is not its owner: nothing
        self.c.block = 0
        if self.counted:
            self.counted = False
            for i in range(self.c.n_handles):
                _release_hold(self.arena, self.c.handles[i].id, self.c.handles[i].end)
        free(self.memory)
        self.memory = NULL
        return 0

    cdef int _settle(self, bint sent) except -1:
        """It was sent, or will not be, and what it was to move stays. The first call decides."""
        cdef list movers = self.movers
        self.movers = None
        return _settle_movers(movers, sent) if movers is not None else 0

    cdef int _to_block(self, End end) except -1:
        """Moves contents into a block."""
        self.single.data = self.c.data
        self.single.size = self.c.size
        end._fill_block(&self.single, 1, UINT64_MAX, &self.c)
        self.c.data = NULL
        return 0


cdef _Message _message(End end, Encoder encoder, bint parcel):
    """The message of what was just encoded. parcel: for a rendezvous, where less goes along (core/parcel.h)."""
    cdef _Message message = _Message.__new__(_Message)
    cdef ip_handle_ref *refs
    cdef unsigned char *to
    cdef Handle handle
    cdef unsigned n = 0, limit = IP_PARCEL_HANDLES_MAX if parcel else HANDLES_LIMIT
    cdef int i
    cdef bint inline
    message.arena = end.arena
    message.c.kind = <uint8_t>encoder.kind
    message.c.size = encoder.size
    if encoder.handles is not None:
        message.movers = _movers(encoder.handles, end.arena)
        message.handles = [one for one in encoder.handles if (<Handle>one).arena is end.arena]
        n = <unsigned>len(message.handles)
        if n > limit:
            raise _errors.HandleError(
                f"sending to {end!r}: {n} handles in one message; at most {limit} (an end of a channel, or an enrolment, counts as two)")
        message.c.n_handles = n
    if parcel:
        inline = ip_parcel_size(&message.c) <= 8 * IP_PARCEL_WORDS
    else:
        inline = encoder.size + 8 + 16 * n <= IP_INLINE_MAX
    if not inline:
        if parcel and encoder.n_pieces > <int>IP_PARCEL_PIECES_MAX:
            _join_pieces(encoder)
        end._fill_block(encoder.pieces, encoder.n_pieces, UINT64_MAX, &message.c)
    message.memory = malloc(message.c.n_pieces * sizeof(ip_piece) + n * sizeof(ip_handle_ref) +
                            (encoder.size if inline else 0) + 1)
    if message.memory == NULL:
        raise MemoryError("no memory for a message")
    refs = <ip_handle_ref *>(<unsigned char *>message.memory + message.c.n_pieces * sizeof(ip_piece))
    for i in range(<int>n):
        handle = message.handles[i]
        refs[i].id = handle.c_id
        refs[i].end = handle.c_end
    message.c.handles = refs
    if inline:
        to = <unsigned char *>(refs + n)
        message.c.data = to
        for i in range(encoder.n_pieces):
            memcpy(to, encoder.pieces[i].data, encoder.pieces[i].size)
            to += encoder.pieces[i].size
    else:
        memcpy(message.memory, message.c.pieces, message.c.n_pieces * sizeof(ip_piece))
        message.c.pieces = <ip_piece *>message.memory
    return message


cdef int _join_pieces(Encoder encoder) except -1:
    cdef int i
    joined = b"".join([PyBytes_FromStringAndSize(<const char *>encoder.pieces[i].data, <Py_ssize_t>encoder.pieces[i].size)
                       for i in range(encoder.n_pieces)])
    encoder.keep = (encoder.keep, joined)
    encoder.pieces[0].data = PyBytes_AS_STRING(joined)
    encoder.pieces[0].size = len(joined)
    encoder.n_pieces = 1
    return 0


cdef _Message _message_again(Arena arena, ip_incoming *taken):
    """The message that was taken, to be put again. It has taken over what that owned, also if this raises."""
    cdef _Message message = _Message.__new__(_Message)
    cdef uint64_t size = 0
    cdef ip_piece *pieces
    cdef ip_handle_ref *refs
    cdef unsigned i
    message.arena = arena
    message.c.kind = taken.kind
    message.c.size = taken.size
    message.c.block = taken.block
    message.c.block_sum = taken.block_sum
    message.c.n_pieces = taken.n_pieces if taken.block else 0
    message.memory = malloc(message.c.n_pieces * sizeof(ip_piece) + taken.n_handles * sizeof(ip_handle_ref) +
                            (0 if taken.block else taken.size) + 1)
    if message.memory == NULL:
        _release_arrived(arena, taken)
        raise MemoryError("no memory for a message")
    pieces = <ip_piece *>message.memory
    for i in range(message.c.n_pieces):
        if not ip_get(&taken.piece_sizes[i], &size):
            _release_arrived(arena, taken)
            raise _error(IP_CORRUPT, arena, "reading a message")
        pieces[i].data = NULL
        pieces[i].size = size
    refs = <ip_handle_ref *>(pieces + message.c.n_pieces)
    memcpy(refs, taken.handles, taken.n_handles * sizeof(ip_handle_ref))
    message.c.pieces = pieces
    message.c.handles = refs
    message.c.n_handles = taken.n_handles
    message.counted = True
    if not taken.block:
        memcpy(refs + taken.n_handles, taken.data, taken.size)
        message.c.data = refs + taken.n_handles
    return message
