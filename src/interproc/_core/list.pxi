# list.pxi: List: a growable array of values in shared memory, what shared lists are.


cdef inline bint _fits(object index) noexcept:
    """Whether an int is one of 64 bits; others are out of any range."""
    cdef int overflow = 0
    ip_int_value(<PyObject *>index, &overflow)
    return not overflow


cdef class List(Container):
    """A sequence of serialised objects. Generic in them. Negative indexes count from the end, as of the call's moment."""
    cdef ip_list *items

    @classmethod
    def __class_getitem__(cls, item):
        return _GenericAlias(cls, item)

    def __init__(self, flavour=0, *, name=None, arena=None):
        cdef uint64_t word = flavour
        self._create(arena, name, IP_LIST, 1, 1, ip_list_body_size(), ip_list_make, &word)
        self._revived()

    cdef int _revived(self) except -1:
        cdef int status
        self._find_container(IP_LIST)
        status = ip_list_of(&self.arena.c, self.object, &self.items)
        if status:
            raise _error(status, self.arena, f"opening a {type(self).__name__}")
        return 0

    # ---- one item

    def __getitem__(self, index):
        if type(index) is int and _fits(index):
            return List.get(self, index)
        return self._getitem(index)

    def __setitem__(self, index, obj):
        if type(index) is int and _fits(index):
            List.set(self, index, obj)
        else:
            self._setitem(index, obj)

    def __delitem__(self, index):
        if type(index) is int and _fits(index):
            List.remove_at(self, index)
        else:
            self._delitem(index)

    cdef int _get_raw(self, int64_t index, _Entry entry) except -1:
        """IP_OK, or IP_AGAIN: there is no such index. The value's handles are counted until _left()."""
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        while True:
            status = ip_list_get(&self.arena.c, self.items, patience.level, index, &entry.value)
            if status == IP_OK:
                if entry.value.n_handles:
                    self._arrived(&entry.value)
                return status
            if status == IP_AGAIN:
                return status
            if status == IP_TOO_LONG:
                entry.grow()
            elif not self._again(status, &patience):
                raise self._failed(status, f"reading from {Handle.__repr__(self)}")

    def get(self, int64_t index):
        """The item. Raises IndexError."""
        cdef _Scratch scratch
        cdef _Entry entry
        cdef ip_value_out out
        cdef int status
        self._enter()
        scratch = _borrow_scratch()
        try:
            memset(&out, 0, sizeof(out))
            out.data = scratch.data
            out.room = SCRATCH_SIZE
            out.handles = scratch.handles
            out.handles_room = HANDLES_LIMIT
            status = ip_list_get(&self.arena.c, self.items, IP_NOW, index, &out)
            if status == IP_OK:
                if out.n_handles:
                    self._arrived(&out)
                return self._load(&out)
            if status != IP_AGAIN:
                entry = _Entry()
                if self._get_raw(index, entry) == IP_OK:
                    return self._load(&entry.value)
            raise IndexError("list index out of range")
        finally:
            _return_scratch(scratch)
            self._exit()

    def set(self, int64_t index, obj):
        """Replaces the item. Raises IndexError."""
        cdef Encoder encoder
        cdef _Scratch scratch
        cdef _Value value
        self._enter()
        encoder = _borrow_encoder()
        scratch = _borrow_scratch()
        value.owned = NULL
        try:
            self._encode(encoder, scratch, obj, None, AS_IT_IS, &value)
            self._set_raw(index, &value.c, NULL)
        finally:
            free(value.owned)
            _return_encoder(encoder)
            _return_scratch(scratch)
            self._exit()

    cdef bint _set_raw(self, int64_t index, ip_value *value, ip_value *expected) except -1:
        """Whether it was what was expected."""
        cdef _Patience patience
        cdef cbool done = False
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._check()
        while True:
            status = ip_list_set(&self.arena.c, self.items, patience.level, index, value, expected, &done)
            if status == IP_OK:
                return done
            if status == IP_AGAIN:
                raise IndexError("list assignment index out of range")
            if done or not self._again(status, &patience):
                raise self._failed(status, f"storing {value.size:,} bytes in {Handle.__repr__(self)}")

    def insert(self, int64_t index, obj):
        """Inserts an item before the one with that index; beyond an end, at that end."""
        self._insert(index, obj)

    def append(self, obj):
        """Adds an item at the end."""
        self._insert(INT64_MAX, obj)

    cdef int _insert(self, int64_t index, object obj) except -1:
        cdef Encoder encoder
        cdef _Scratch scratch
        cdef _Patience patience
        cdef _Value value
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._enter()
        encoder = _borrow_encoder()
        scratch = _borrow_scratch()
        value.owned = NULL
        try:
            self._encode(encoder, scratch, obj, None, AS_IT_IS, &value)
            self._check()
            while True:
                status = ip_list_insert(&self.arena.c, self.items, patience.level, index, &value.c)
                if status == IP_OK:
                    return 0
                if not self._again(status, &patience):
                    raise self._failed(status, f"storing {value.c.size:,} bytes in {Handle.__repr__(self)}")
        finally:
            free(value.owned)
            _return_encoder(encoder)
            _return_scratch(scratch)
            self._exit()

    def pop(self, int64_t index=-1):
        """Takes an item out. Raises IndexError."""
        cdef _Patience patience
        cdef _Entry entry
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._enter()
        try:
            entry = _Entry()
            while True:
                status = ip_list_pop(&self.arena.c, self.items, patience.level, index, &entry.value)
                if status == IP_OK:
                    if entry.value.n_handles:
                        self._arrived(&entry.value)
                    return self._load(&entry.value)
                if status == IP_AGAIN:
                    raise IndexError("pop index out of range")
                if status == IP_TOO_LONG:
                    entry.grow()
                elif not self._again(status, &patience):
                    raise self._failed(status, f"taking from {Handle.__repr__(self)}")
        finally:
            self._exit()

    def remove_at(self, int64_t index):
        """Removes an item without reading it. Raises IndexError."""
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._enter()
        try:
            while True:
                status = ip_list_pop(&self.arena.c, self.items, patience.level, index, NULL)
                if status == IP_OK:
                    return
                if status == IP_AGAIN:
                    raise IndexError("list assignment index out of range")
                if not self._again(status, &patience):
                    raise self._failed(status, f"removing from {Handle.__repr__(self)}")
        finally:
            self._exit()

    # ---- atomic changes

    def compare_exchange(self, int64_t index, expected, new):
        """Replaces the item by `new` if it equals `expected`, in one step; whether it did.

        Items are compared by their serialised form, which is strict: 1 is not 1.0. Raises IndexError.
        """
        cdef Encoder encoder, other
        cdef _Scratch scratch, more
        cdef _Value value, old
        self._enter()
        encoder = _borrow_encoder()
        other = _borrow_encoder()
        scratch = _borrow_scratch()
        more = _borrow_scratch()
        value.owned = old.owned = NULL
        try:
            self._encode(encoder, scratch, expected, None, AS_IT_IS, &old)
            self._encode(other, more, new, None, AS_IT_IS, &value)
            return self._set_raw(index, &value.c, &old.c)
        finally:
            free(value.owned)
            free(old.owned)
            _return_encoder(encoder)
            _return_encoder(other)
            _return_scratch(scratch)
            _return_scratch(more)
            self._exit()

    def update_with(self, int64_t index, function, *args):
        """l[index] = function(l[index], *args) in one step; returns the new value.

        The function runs without the list's lock, so it may run again, with the newer item, if another process was
        faster: it should do nothing but compute. Raises IndexError.
        """
        cdef Encoder encoder
        cdef _Scratch scratch
        cdef _Value value
        cdef ip_value was
        cdef _Entry entry
        cdef int tries = 0
        cdef bint locked = False
        self._enter()
        encoder = _borrow_encoder()
        scratch = _borrow_scratch()
        value.owned = NULL
        try:
            while True:
                entry = _Entry()
                self._check()
                if self._get_raw(index, entry) == IP_AGAIN:
                    raise IndexError("list index out of range")
                new = function(self._load(&entry.value), *args)
                self._encode(encoder, scratch, new, None, AS_IT_IS, &value)
                _was(&entry.value, &was)
                if self._set_raw(index, &value.c, &was):
                    return new
                if locked:      # nobody else can have been faster
                    raise RuntimeError(f"the function given to update_with() has changed the same item of {Handle.__repr__(self)}")
                free(value.owned)
                value.owned = NULL
                encoder.clear()
                tries += 1
                if tries == PATIENT_TRIES:
                    self._acquire_gate(UINT64_MAX)
                    locked = True
        finally:
            free(value.owned)
            _return_encoder(encoder)
            _return_scratch(scratch)
            try:
                if locked:      # not in a child that was forked meanwhile
                    ip_gate_release(&self.arena.c, self.container)
            finally:
                self._exit()

    # ---- many items; each all or nothing, whoever is killed

    def clear(self):
        """Removes all."""
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._enter()
        try:
            while True:
                status = ip_list_clear(&self.arena.c, self.items, patience.level)
                if status == IP_OK:
                    return
                if not self._again(status, &patience):
                    raise self._failed(status, f"clearing {Handle.__repr__(self)}")
        finally:
            self._exit()

    def extend(self, values):
        """Adds the items at the end."""
        values = list(values)
        if len(values) == 1:
            self._insert(INT64_MAX, values[0])
        elif values:
            self._all_or_nothing(self._append_all, (), values)

    def _append_all(self, values):
        for obj in values:
            self._insert(INT64_MAX, obj)

    def rearrange(self, order):
        """Becomes [old[i] for i in order], in one step: each index at most once; the other items are removed.

        The caller has the lock, so that the indexes still mean what they did when it looked. Raises IndexError for an
        index that is out of range, ValueError for one that is there twice.
        """
        cdef Py_ssize_t n, i
        cdef uint64_t *indexes
        cdef ip_container_state state
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        order = list(order)
        n = len(order)
        self._enter()
        indexes = <uint64_t *>malloc(max(n, 1) * sizeof(uint64_t))
        try:
            if indexes == NULL:
                raise MemoryError
            self._look(&state)
            if len(set(order)) != n:
                raise ValueError("an index is there twice")
            for i in range(n):
                index = order[i]
                if not 0 <= index < state.count:
                    raise IndexError(f"index {index} is out of range")
                indexes[i] = index
            while True:
                status = ip_list_rearrange(&self.arena.c, self.items, patience.level, state.shape, indexes, n)
                if status == IP_OK:
                    return
                if status == IP_AGAIN:
                    raise RuntimeError(f"{Handle.__repr__(self)} changed while it was rearranged: lock it for the time")
                if not self._again(status, &patience):
                    raise self._failed(status, f"rearranging {Handle.__repr__(self)}")
        finally:
            free(indexes)
            self._exit()

    def replace(self, start, stop, values):
        """list[start:stop] = values, for indexes in range; the caller has the lock."""
        values = list(values)
        n = len(self)
        if not 0 <= start <= stop <= n:
            raise IndexError(f"{start}:{stop} is not within the {n} items")
        self._all_or_nothing(self._replace, (start, stop), values)

    def _replace(self, start, stop, values):
        n = len(self)
        same = min(stop - start, len(values))
        for i in range(same):
            List.set(self, start + i, values[i])
        rest = values[same:]
        if not rest and start + same == stop:
            return
        if len(rest) <= 2 and start + same == stop:
            for i, obj in enumerate(rest):
                self._insert(stop + i, obj)
            return
        self._append_all(rest)
        if rest or stop < n or start + same < n:
            List.rearrange(self, [*range(start + same), *range(n, n + len(rest)), *range(stop, n)])

    # ---- snapshots

    def items_list(self):
        """The items at one moment."""
        return self._list(0, INT64_MAX)

    def slice(self, int64_t start, int64_t stop):
        """The items start to stop, which are not negative, at one moment; fewer if there are fewer."""
        return self._list(max(start, 0), max(stop, 0))

    cdef list _list(self, int64_t start, int64_t stop):
        cdef ip_container_state state
        cdef bint locked = False
        cdef int reads = 0
        self._enter()
        try:
            while True:
                self._look(&state)
                found = self._walk(state.changes, start, stop)
                if found is not None:
                    return found
                if locked:      # nobody else can have
                    raise RuntimeError(f"{Handle.__repr__(self)} was changed by its own items as they were loaded")
                reads += 1
                if reads == PATIENT_READS:
                    self._acquire_gate(UINT64_MAX)
                    locked = True
        finally:
            try:
                if locked:      # not in a child that was forked meanwhile
                    ip_gate_release(&self.arena.c, self.container)
            finally:
                self._exit()

    cdef list _walk(self, uint64_t changes, uint64_t index, uint64_t stop):
        """None: it changed meanwhile."""
        cdef _Patience patience
        cdef _Entry entry = _Entry()
        cdef ip_value_out[AT_ONCE] some
        cdef unsigned n = 0, i
        cdef int status
        cdef list found = []
        memset(&patience, 0, sizeof(patience))
        while index < stop:
            some[0].data = entry.value.data
            some[0].room = entry.value.room
            status = ip_list_next_some(&self.arena.c, self.items, patience.level, changes, &index, some,
                                       <unsigned>min(stop - index, <uint64_t>AT_ONCE), &n)
            if status == IP_OK:
                for i in range(n):
                    found.append(self._load(&some[i]))
                self._check()
                continue
            if status != IP_TOO_LONG:
                if status == IP_EOF:
                    break
                if status == IP_AGAIN:
                    return None
                if not self._again(status, &patience):
                    raise self._failed(status, f"reading from {Handle.__repr__(self)}")
                continue
            status = ip_list_next(&self.arena.c, self.items, patience.level, changes, &index, &entry.value)
            if status == IP_EOF:
                break
            if status == IP_AGAIN:
                return None
            if status == IP_TOO_LONG:
                entry.grow()
                continue
            if status:
                if not self._again(status, &patience):
                    raise self._failed(status, f"reading from {Handle.__repr__(self)}")
                continue
            if entry.value.n_handles:
                self._arrived(&entry.value)
            found.append(self._load(&entry.value))
            self._check()
        return found
