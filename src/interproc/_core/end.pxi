# end.pxi: the ends of channels. A communication that need not wait is made here; what waits, in attempt.pxi.


@cython.no_gc_clear
cdef class End(_RingHandle):
    """An end of a channel: its process holds that side until it retires the end, poisons it or lets it go.

    Made by Channel.end(). In a forked child an end that it has come by is held from its first use there on.
    """
    cdef ip_channel *channel
    cdef readonly str label
    cdef readonly object ended      # None, or what this handle was: "poisoned", "retired"
    cdef uint64_t capacity          # of the buffer, or 0
    cdef uint64_t policy
    cdef bint keeps                 # this handle keeps the channel
    cdef uint64_t owned_of          # the fork that `open` belongs to: a child does not inherit sides
    cdef list kept                  # values that came when nobody could take them any more: see _put_back()

    def __init__(self):
        raise TypeError("the ends of a channel are made by its methods: channel.reader(), channel.writer()")

    def __dealloc__(self):
        if self.open:
            self.open = False
            if self.owned_of == _forks:
                _release_hold(self.arena, self.c_id, self.c_end)
        if self.keeps:
            self.keeps = False
            _release_hold(self.arena, self.c_id, IP_KEEPS)

    cdef int _attach(self, Arena arena, uint32_t index, uint32_t generation, unsigned end) except -1:
        cdef ip_channel_info info
        cdef int status
        self.arena = arena
        self.c_id.index = index
        self.c_id.generation = generation
        self.c_end = end
        status = ip_object_find(&arena.c, self.c_id, &self.kind, &self.object)
        if status == IP_OK and (self.kind != IP_CHANNEL or end > IP_WRITES):
            status = IP_FREED
        if status == IP_OK:
            self.keeps = _take_hold(arena, self.c_id, IP_KEEPS) == IP_OK
            status = _take_hold(arena, self.c_id, end)
            if status == IP_OK:
                self.open = True
                self.owned_of = _forks
            elif status == IP_FREED and self.keeps:
                status = IP_OK      # the side has ended: its use will tell
        if status == IP_OK:
            status = ip_channel_of(&arena.c, self.object, &self.channel)
        if status == IP_OK:
            status = ip_channel_look(&arena.c, self.object, self.channel, &info)
        if status:
            self.object = NULL
            self.channel = NULL
            raise _error(status, arena, f"opening an end of channel#{index}.{generation}")
        self.label = info.label.decode("utf-8", "replace")
        self.capacity = info.capacity
        self.policy = info.policy
        self.other_end = 1 - <int>end
        if self.capacity:
            self.in_ring = self.out_ring = ip_channel_ring(self.channel)
        return 0

    cdef int _revived(self) except -1:
        self._arrived()
        return 0

    def _arrived(self):
        """Called when the end has come out of a pickle; for classes derived from this."""

    def __reduce__(self):
        """It travels with what it holds: the side, and the channel. The one here stays."""
        cdef int status
        cdef Handle keeper
        self._ready()
        popen = _get_spawning_popen()
        if popen is not None:
            _, slot = self.arena._place_for(popen)
            status = ip_object_hold(&self.arena.c, self.c_id, IP_KEEPS, slot)
            if status == IP_OK or status == IP_FREED:
                status = ip_object_hold(&self.arena.c, self.c_id, self.c_end, slot)
            if status:
                raise _error(status, self.arena, f"sending {self!r} to a child")
        elif note_handle(self) and self.keeps:
            keeper = Handle.__new__(Handle)
            keeper._attach(self.arena, self.c_id.index, self.c_id.generation, IP_KEEPS)
            note_handle(keeper)
        return _rebuild_handle, (type(self), self.arena, self.c_id.index, self.c_id.generation, self.c_end, None)

    # ---- holding the side

    cdef inline int _ready(self) except -1:
        """Sees to it that this handle can be used: else raises what its use is to raise."""
        if self.ended is None and self.open and self.owned_of == _forks:
            return 0
        return self._make_ready()

    cdef int _make_ready(self) except -1:
        cdef int status
        if self.channel == NULL:
            raise self._closed_error()
        if self.ended is not None:
            raise self._over()
        if self.owned_of != _forks:
            self.open = False
        if self.open:
            return 0
        status = _take_hold(self.arena, self.c_id, self.c_end)
        if status == IP_FREED:
            raise self._gone()
        if status:
            raise _error(status, self.arena, f"using {self!r}")
        self.open = True
        self.owned_of = _forks
        return 0

    cdef int _let_side_go(self) except -1:
        cdef bint held = self.open and self.owned_of == _forks
        self.open = False
        if held:
            _release_hold(self.arena, self.c_id, self.c_end)
        return 0

    def check(self):
        """Raises what its use would raise if that is known already: ChannelRetire, ChannelPoison."""
        self._ready()

    @property
    def side(self):
        """0: it reads; 1: it writes."""
        return self.c_end

    @property
    def owned(self):
        """Whether this process holds the side for this handle."""
        return self.ended is None and self.open and self.owned_of == _forks

    @property
    def away(self):
        """Whether it has ended, or this process has let go of it by disown() and has not used it since."""
        return self.ended is not None or (not self.open and self.owned_of == _forks)

    @property
    def channel_id(self):
        """Names the channel in its arena: "channel#12.3"."""
        return self._id()

    def disown(self):
        """This process holds the side no longer for this handle, which is not retired by that: its next use takes hold again."""
        self._let_side_go()

    def retire(self):
        """This handle is not used any more. With the last end of a side that retires, the other side is told so. Idempotent."""
        if self.channel != NULL and self.ended is None:
            self.ended = "retired"
            self._let_side_go()

    def poison(self):
        """From now on every use of an end of the channel raises ChannelPoison, in each process. Idempotent."""
        if self.channel == NULL or self.ended is not None:
            return
        self.ended = "poisoned"
        if self.keeps or (self.open and self.owned_of == _forks):
            _poison(self)
        self._let_side_go()

    def close(self):
        """retire()."""
        self._unwatch()
        self.retire()

    def copy(self):
        """Another end of the same side."""
        cdef End end
        self._ready()
        end = type(self).__new__(type(self))
        end._attach(self.arena, self.c_id.index, self.c_id.generation, self.c_end)
        return end

    def look(self):
        """As Channel.look()."""
        if self.channel == NULL:
            raise self._closed_error()
        return _look_at(self, self.channel)

    def __repr__(self):
        what = "not set up" if self.channel == NULL else self._id()
        if self.label:
            what = f"{self.label!r} {what}"
        if self.ended is not None:
            what += f" {self.ended}"
        return f"<{type(self).__module__}.{type(self).__qualname__} {what}>"

    # ---- errors

    cdef str _who(self):
        return f"channel {self.label!r}" if self.label else self._id()

    cdef object _over(self):
        """What the use of a handle raises that is not to be used any more."""
        if self.ended == "poisoned":
            return _errors.ChannelPoison(f"{self._who()} was poisoned, by this very end", self)
        return _errors.ChannelRetire(f"this end of {self._who()} was retired here, and is used again; take another one", self)

    cdef object _gone(self):
        """The same when the side has ended."""
        if self.keeps and ip_channel_open_for(self.object, self.channel, self.c_end) == IP_POISONED:
            return self._told(IP_POISONED)
        side = "writing" if self.c_end == IP_WRITES else "reading"
        return _errors.ChannelRetire(f"the {side} side of {self._who()} has retired: all who had an end of it are done (or did not keep "
                                     "it: an end that nobody refers to retires); to go on, make a new channel", self)

    cdef object _told(self, int status):
        """The exception for IP_POISONED or IP_RETIRED."""
        if status == IP_POISONED:
            self._clear()
            return _errors.ChannelPoison(
                f"{self._who()} was poisoned: by poison(), or since a process that had an end of it has failed or died; "
                "look for that one's error", self)
        if self.c_end == IP_WRITES:
            return _errors.ChannelRetire(f"all readers of {self._who()} have retired: nobody will receive this", self)
        return _errors.ChannelRetire(f"all writers of {self._who()} have retired, and all that was sent has been received", self)

    cdef object _closed_error(self):
        return _errors.HandleError(f"{self!r} was not made by a channel")

    cdef int _check_side(self, unsigned side) except -1:
        if self.c_end != side:
            raise TypeError(f"{self!r} cannot {'send' if side == IP_WRITES else 'receive'}: it is the "
                            f"{'reading' if side == IP_WRITES else 'writing'} end of its channel")
        return 0

    # ---- communicating

    def send(self, obj, timeout=None):
        """Sends an object: returns once a reader has it, or the buffer; waits up to `timeout` seconds (None: no limit) for that.

        Raises TimeoutError, ChannelPoison, ChannelRetire (no reader is left), Deadlock, PicklingError, ArenaFull. After any of
        these nobody has received it.
        """
        cdef uint64_t deadline = UINT64_MAX if timeout is None else _deadline(timeout)
        cdef Encoder encoder
        cdef Party party = None
        cdef _Message kept
        cdef ip_outgoing message
        cdef ip_guard guard
        cdef ip_choice choice
        cdef int status = IP_AGAIN
        if self.c_end != IP_WRITES:
            self._check_side(IP_WRITES)
        self._ready()
        encoder = _borrow_encoder()
        try:
            encoder.encode(obj)
            self._ready()       # pickling runs code
            if encoder.n_pieces == 1 and encoder.handles is None and encoder.size <= IP_INLINE_MAX - 16:
                memset(&message, 0, sizeof(message))
                message.kind = <uint8_t>encoder.kind
                message.data = encoder.pieces[0].data
                message.size = encoder.size
                if self.capacity:
                    status = self._put(&message)
                elif ip_parcel_size(&message) <= 8 * IP_PARCEL_WORDS:
                    party = _party_of(self.arena)
                    guard.object = self.object
                    guard.id = self.c_id
                    guard.side = IP_WRITES
                    guard.message = &message
                    status = ip_choice_try(&self.arena.c, party.party, party.c_id, &guard, 1, 0, False, IP_NOW, NULL, &choice)
                    if status == IP_OK:
                        _wake(choice.woken)
                if status == IP_OK:
                    return
            kept = _message(self, encoder, self.capacity == 0)
        finally:
            _return_encoder(encoder)
        party = _party_of(self.arena)
        if deadline != 1:
            party._prepare(0 if deadline == UINT64_MAX else IP_TIMED)
        _wait_alone(_single(party, self), party, self, kept, deadline, timeout)

    def recv(self, timeout=None):
        """Receives an object: waits up to `timeout` seconds (None: no limit) for one.

        Raises TimeoutError, ChannelPoison, ChannelRetire (no writer is left, and all was received), Deadlock, UnpicklingError.
        """
        cdef uint64_t deadline = UINT64_MAX if timeout is None else _deadline(timeout)
        cdef Party party
        cdef _Attempt attempt
        cdef _Scratch scratch
        cdef int status
        if self.c_end != IP_READS:
            self._check_side(IP_READS)
        self._ready()
        if self.kept:
            return self.kept.pop(0)
        if self.capacity:
            value = self._get(&status)
            if status == IP_OK:
                return value
        party = _party_of(self.arena)
        attempt = _single(party, self)
        if deadline != 1:
            party._prepare(0 if deadline == UINT64_MAX else IP_TIMED)
        if not self.capacity:
            scratch = _borrow_scratch()
            party.single = None     # unpickling runs code, and that may receive, too
            try:
                status = ip_choice_try(&self.arena.c, party.party, party.c_id, &attempt.only, 1, 0, deadline != 1, IP_NOW,
                                       scratch.data, &attempt.choice)
                if status == IP_OK:
                    return self._receive(&attempt.choice)
            finally:
                party.single = attempt
                _return_scratch(scratch)
            attempt.out = attempt.offered = status == IP_AGAIN and deadline != 1
        return _wait_alone(attempt, party, self, None, deadline, timeout)

    cdef object _receive(self, ip_choice *choice):
        """The object that a rendezvous has brought."""
        if choice.incoming.n_handles:
            _hold_arrived(self.arena, &choice.incoming)
        _wake(choice.woken)
        return self._decode(&choice.incoming, True)

    def _put_back(self, value):
        """The next receive by this handle gives this value: it came when nobody could take it any more."""
        if self.kept is None:
            self.kept = []
        self.kept.append(value)

    # ---- the buffer: one try each, IP_OK, IP_AGAIN, IP_POISONED or IP_RETIRED

    cdef object _get(self, int *status):
        cdef _Scratch scratch
        cdef unsigned taken = 0
        status[0] = ip_channel_open_for(self.object, self.channel, IP_READS)
        if status[0] == IP_OK:
            scratch = _borrow_scratch()
            try:
                status[0] = self._take(scratch, 1, 1, &taken)
                if status[0] == IP_OK:
                    if self.capacity != IP_UNBOUNDED and ip_channel_awaited(self.channel, IP_WRITES):
                        self._poke(IP_WRITES)
                    return self._decode(&scratch.messages[0], True)
            finally:
                _return_scratch(scratch)
            if status[0] == IP_EOF:
                status[0] = self._why_over()
        if status[0] != IP_AGAIN and status[0] != IP_POISONED and status[0] != IP_RETIRED:
            raise _error(status[0], self.arena, f"receiving from {self!r}")
        return None

    cdef int _put(self, ip_outgoing *message) except -1:
        """When the message is in the buffer, its block is not this process's any more, and 0."""
        cdef unsigned put = 0
        cdef int status = ip_channel_open_for(self.object, self.channel, IP_WRITES)
        if status == IP_OK:
            status = self._send(message, 1, 1, &put)
            if status == IP_AGAIN and self.policy != IP_BLOCKING:
                status = self._put_anyway(message, &put)
            if put:
                message.block = 0
                if ip_channel_awaited(self.channel, IP_READS):
                    self._poke(IP_READS)
                if ip_channel_open_for(self.object, self.channel, IP_WRITES) == IP_POISONED:
                    self._clear()
            if status == IP_BROKEN:
                status = self._why_over()
        if status != IP_OK and status != IP_AGAIN and status != IP_POISONED and status != IP_RETIRED:
            raise _error(status, self.arena, f"sending to {self!r}")
        return status

    cdef int _clear(self) except -1:
        """What lies in the buffer of a poisoned channel is nobody's: the ends in it retire. Damage is told by who uses it."""
        with nogil:
            ip_channel_clear(&self.arena.c, self.channel)
        return 0

    cdef int _why_over(self):
        """The other side has ended."""
        return IP_POISONED if ip_channel_open_for(self.object, self.channel, self.c_end) == IP_POISONED else IP_RETIRED

    cdef int _poke(self, unsigned side) except -1:
        """Has the first who waits at a side look. IP_BUSY: a lock is held by one who was stopped; then they look when their slice ends."""
        cdef int status = ip_channel_poke_one(&self.arena.c, self.c_id, side)
        if status and status != IP_BUSY:
            raise _error(status, self.arena, f"using {self!r}")
        return 0

    cdef int _put_anyway(self, ip_outgoing *message, unsigned *put) except -1:
        """The buffer is full, and its policy is not to wait."""
        cdef int status = IP_AGAIN, tries = 0
        while self.policy != IP_DROPPING and status == IP_AGAIN and tries < 100:     # others may fill it up again
            tries += 1
            if self.policy == IP_SLIDING:
                self._drop_oldest()
                status = self._send(message, 1, 1, put)
            else:
                status = self._overwrite(message, put)
        if status == IP_AGAIN:
            ip_channel_note_lost(self.channel)
            return IP_OK
        return status

    cdef int _drop_oldest(self) except -1:
        cdef _Scratch scratch = _borrow_scratch()
        cdef unsigned taken = 0
        try:
            if self._take(scratch, 1, 1, &taken) == IP_OK:
                ip_channel_note_lost(self.channel)
                if scratch.messages[0].block:
                    ip_block_drop(&self.arena.c, scratch.messages[0].block)
                _release_arrived(self.arena, &scratch.messages[0])
        finally:
            _return_scratch(scratch)
        return 0

    cdef int _overwrite(self, ip_outgoing *message, unsigned *put) except -1:
        """Replaces the newest: takes all, and puts all but the last of them back, then the new one."""
        cdef _Scratch scratch = _borrow_scratch()
        cdef _Message one
        cdef unsigned taken = 0, back
        cdef list them = []
        try:
            while <uint64_t>len(them) < self.capacity and self._take(scratch, 1, 1, &taken) == IP_OK:
                them.append(_message_again(self.arena, &scratch.messages[0]))
        finally:
            _return_scratch(scratch)
        if <uint64_t>len(them) == self.capacity:    # else somebody reads: there is room
            them.pop()
            ip_channel_note_lost(self.channel)
        for one in them:
            back = 0
            self._send(&one.c, 1, 1, &back)
            if back:
                one.c.block = 0
            else:
                ip_channel_note_lost(self.channel)
        return self._send(message, 1, 1, put)

    cdef ip_watch *_make_watch(self) except NULL:
        if self.capacity == 0 or self.c_end != IP_READS:
            raise OSError("only the reading end of a buffered channel has a descriptor")
        return _RingHandle._make_watch(self)
