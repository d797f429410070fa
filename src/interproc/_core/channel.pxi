# channel.pxi: channels, as those have them who keep one without taking a side.


cdef dict _look_at(Handle handle, ip_channel *channel):
    """What there is to see of a channel."""
    cdef ip_channel_info info
    cdef int status = ip_channel_look(&handle.arena.c, handle.object, channel, &info)
    if status:
        raise _error(status, handle.arena, f"looking at {handle!r}")
    return {
        "label": info.label.decode("utf-8", "replace"), "poisoned": info.poisoned,
        "retired": (info.retired[0], info.retired[1]),
        "capacity": -1 if info.capacity == IP_UNBOUNDED else info.capacity, "policy": info.policy,
        "passed": info.passed, "lost": info.lost, "buffered": info.buffered,
        "waiting": (info.waiting[0], info.waiting[1])}


cdef class Channel(Handle):
    """A conduit, kept without taking a side of it: between those who have its writing and its reading ends; see interproc.csp.

    capacity: messages in its buffer; 0: none, writer and reader meet; -1: as many as memory holds. policy: what a writer does when
    the buffer is full: 0 wait, 1 drop the oldest message, 2 drop its own, 3 replace the newest.
    """
    cdef ip_channel *channel
    cdef readonly str label
    cdef readonly int64_t capacity
    cdef readonly int policy

    @classmethod
    def __class_getitem__(cls, item):
        return _GenericAlias(cls, item)

    def __init__(self, label=None, capacity=0, policy=0, *, arena=None):
        cdef ip_channel_settings settings
        cdef bytes raw = _cut_text(label, IP_LABEL_MAX) if label is not None else b""
        if not -1 <= capacity <= _BOUND_MAX:
            raise ValueError(f"the capacity of a channel is from 0, or -1 for as many as memory holds, not {capacity}")
        if not IP_BLOCKING <= policy <= IP_OVERWRITING:
            raise ValueError(f"the policy of a full buffer is from 0 to 3, not {policy}")
        if policy != IP_BLOCKING and capacity < 1:
            raise ValueError("a policy for a full buffer needs a buffer of 1 message or more")
        settings.label = PyBytes_AS_STRING(raw)
        settings.label_size = len(raw)
        settings.capacity = IP_UNBOUNDED if capacity < 0 else <uint64_t>capacity
        settings.policy = policy
        self.c_end = IP_KEEPS
        self._create(arena, None, IP_CHANNEL, 3, 1 << IP_KEEPS, ip_channel_body_size(settings.capacity), ip_channel_make,
                     &settings)
        self._revived()

    cdef int _revived(self) except -1:
        cdef int status = IP_FREED
        if self.kind == IP_CHANNEL and self.c_end == IP_KEEPS:
            status = ip_channel_of(&self.arena.c, self.object, &self.channel)
        if status:
            raise _error(status, self.arena, f"opening a {type(self).__name__}")
        seen = _look_at(self, self.channel)
        self.label = seen["label"]
        self.capacity = seen["capacity"]
        self.policy = seen["policy"]
        return 0

    def end(self, unsigned side, cls=None):
        """A new end, of a class derived from End: side 0 reads, 1 writes. ChannelPoison, ChannelRetire: that side has ended."""
        cdef End end
        self._check()
        if side > IP_WRITES:
            raise ValueError(f"a side of a channel is 0 or 1, not {side}")
        kind = End if cls is None else cls
        end = kind.__new__(kind)
        end._attach(self.arena, self.c_id.index, self.c_id.generation, side)
        end._make_ready()
        if ip_channel_open_for(self.object, self.channel, side) == IP_POISONED:
            raise end._told(IP_POISONED)
        return end

    def look(self):
        """A dict: label, poisoned, retired (r, w), capacity, policy, passed (messages), lost, buffered, waiting (r, w)."""
        self._check()
        return _look_at(self, self.channel)

    def poison(self):
        """From now on every use of an end raises ChannelPoison. Idempotent."""
        self._check()
        _poison(self)


cdef int _poison(Handle handle) except -1:
    cdef int status
    with nogil:
        status = ip_channel_poison(&handle.arena.c, handle.object)
    if status and status != IP_LEFT:
        raise _error(status, handle.arena, f"poisoning {handle!r}")
    return 0
