# table.pxi: Table: a hash table in shared memory, what shared dicts, sets and namespaces are.

cdef enum:
    AT_ONCE = 64            # entries that a snapshot reads at once
    PATIENT_TRIES = 16      # an optimistic change that lost as often takes the lock
    PATIENT_READS = 2       # so does a snapshot that others' changes broke as often


cdef class Table(Container):
    """A hash table in order of insertion; values are serialised objects. Generic in keys and values."""
    cdef ip_table *table

    @classmethod
    def __class_getitem__(cls, item):
        return _GenericAlias(cls, item)

    def __init__(self, flavour=0, *, name=None, arena=None):
        cdef uint64_t word = flavour
        self._create(arena, name, IP_TABLE, 1, 1, ip_table_body_size(), ip_table_make, &word)
        self._revived()

    cdef int _revived(self) except -1:
        cdef int status
        self._find_container(IP_TABLE)
        status = ip_table_of(&self.arena.c, self.object, &self.table)
        if status:
            raise _error(status, self.arena, f"opening a {type(self).__name__}")
        return 0

    # ---- one entry

    cdef int _get_raw(self, ip_table_key *key, _Entry entry) except -1:
        """IP_OK, or IP_AGAIN: no such key. The value's handles are counted until _left()."""
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        while True:
            status = ip_table_get(&self.arena.c, self.table, patience.level, key, &entry.value)
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

    cdef object _get(self, object key):
        """The value, or _MISSING."""
        cdef _KeyCoder coder
        cdef _Scratch scratch
        cdef _Entry entry
        cdef ip_value_out out
        cdef int status
        self._enter()
        coder = _borrow_coder()
        scratch = _borrow_scratch()
        try:
            coder.encode(key, self.arena.c.identity[0])
            memset(&out, 0, sizeof(out))
            out.data = scratch.data
            out.room = SCRATCH_SIZE
            out.handles = scratch.handles
            out.handles_room = HANDLES_LIMIT
            self._check()
            status = ip_table_get(&self.arena.c, self.table, IP_NOW, &coder.c, &out)
            if status == IP_OK:
                if out.n_handles:
                    self._arrived(&out)
                return self._load(&out)
            if status == IP_AGAIN:
                return _MISSING
            entry = _Entry()
            if self._get_raw(&coder.c, entry) == IP_AGAIN:
                return _MISSING
            return self._load(&entry.value)
        finally:
            _return_coder(coder)
            _return_scratch(scratch)
            self._exit()

    cdef int _set_raw(self, _KeyCoder coder, ip_value *value, ip_table_when when, const ip_value *expected) except -1:
        """The outcome."""
        cdef _Patience patience
        cdef ip_table_outcome outcome = IP_TABLE_REFUSED
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._check()
        while True:
            status = ip_table_set(&self.arena.c, self.table, patience.level, &coder.c, value, when, expected, &outcome)
            if status == IP_OK:
                return outcome
            if outcome != IP_TABLE_REFUSED or not self._again(status, &patience):
                raise self._failed(status, f"storing {value.size:,} bytes in {Handle.__repr__(self)}")

    cdef int _set(self, object key, object obj, ip_table_when when) except -1:
        """The outcome."""
        cdef _KeyCoder coder
        cdef Encoder encoder
        cdef _Scratch scratch
        cdef _Value value
        self._enter()
        coder = _borrow_coder()
        encoder = _borrow_encoder()
        scratch = _borrow_scratch()
        value.owned = NULL
        try:
            coder.encode(key, self.arena.c.identity[0])
            self._encode(encoder, scratch, obj, coder.spelt(), coder.spelling, &value)
            return self._set_raw(coder, &value.c, when, NULL)
        finally:
            free(value.owned)
            _return_coder(coder)
            _return_encoder(encoder)
            _return_scratch(scratch)
            self._exit()

    cdef object _pop(self, object key):
        """The value, taken out, or _MISSING."""
        cdef _KeyCoder coder
        cdef _Entry entry
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._enter()
        coder = _borrow_coder()
        try:
            coder.encode(key, self.arena.c.identity[0])
            entry = _Entry()
            self._check()
            while True:
                status = ip_table_pop(&self.arena.c, self.table, patience.level, &coder.c, &entry.value)
                if status == IP_OK:
                    if entry.value.n_handles:
                        self._arrived(&entry.value)
                    return self._load(&entry.value)
                if status == IP_AGAIN:
                    return _MISSING
                if status == IP_TOO_LONG:
                    entry.grow()
                elif not self._again(status, &patience):
                    raise self._failed(status, f"taking from {Handle.__repr__(self)}")
        finally:
            _return_coder(coder)
            self._exit()

    def __getitem__(self, key):
        value = self._get(key)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key, value):
        self._set(key, value, IP_TABLE_ALWAYS)

    def __delitem__(self, key):
        if not Table.discard(self, key):
            raise KeyError(key)

    def __contains__(self, key):
        cdef _KeyCoder coder
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._enter()
        coder = _borrow_coder()
        try:
            coder.encode(key, self.arena.c.identity[0])
            self._check()
            while True:
                status = ip_table_get(&self.arena.c, self.table, patience.level, &coder.c, NULL)
                if status == IP_OK:
                    return True
                if status == IP_AGAIN:
                    return False
                if not self._again(status, &patience):
                    raise self._failed(status, f"looking into {Handle.__repr__(self)}")
        finally:
            _return_coder(coder)
            self._exit()

    def get(self, key, default=None):
        """The value of a key, or `default`."""
        value = self._get(key)
        return default if value is _MISSING else value

    def pop(self, key, default=_MISSING):
        """Takes out a key and returns its value. Raises KeyError if there is no such key and no default."""
        value = self._pop(key)
        if value is not _MISSING:
            return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self):
        """Takes out the last entry: (key, value). Raises KeyError when it is empty."""
        cdef _Entry entry
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._enter()
        try:
            entry = _Entry()
            while True:
                status = ip_table_pop_last(&self.arena.c, self.table, patience.level, &entry.key, &entry.value)
                if status == IP_OK:
                    if entry.value.n_handles:
                        self._arrived(&entry.value)
                    try:
                        key = self._key_of(entry)
                    except BaseException:
                        if entry.value.n_handles:
                            self._left(&entry.value)
                        raise
                    return key, self._load(&entry.value)
                if status == IP_AGAIN:
                    raise KeyError("popitem(): the dictionary is empty")
                if status == IP_TOO_LONG:
                    entry.grow()
                elif not self._again(status, &patience):
                    raise self._failed(status, f"taking from {Handle.__repr__(self)}")
        finally:
            self._exit()

    def setdefault(self, key, default=None):
        """The value of the key; if there is none, `default`, which is stored."""
        while True:
            value = self._get(key)
            if value is not _MISSING:
                return value
            if self._set(key, default, IP_TABLE_IF_ABSENT) == IP_TABLE_INSERTED:
                # as stored: of a deep container, or of a copy, it is another object than the default
                value = self._get(key)
                if value is not _MISSING:
                    return value

    def insert(self, key):
        """Adds a key without a value, if it is not there; whether it was not."""
        return self._set(key, None, IP_TABLE_IF_ABSENT) == IP_TABLE_INSERTED

    def discard(self, key):
        """Removes a key; whether it was there."""
        cdef _KeyCoder coder
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._enter()
        coder = _borrow_coder()
        try:
            coder.encode(key, self.arena.c.identity[0])
            self._check()
            while True:
                status = ip_table_pop(&self.arena.c, self.table, patience.level, &coder.c, NULL)
                if status == IP_OK:
                    return True
                if status == IP_AGAIN:
                    return False
                if not self._again(status, &patience):
                    raise self._failed(status, f"removing from {Handle.__repr__(self)}")
        finally:
            _return_coder(coder)
            self._exit()

    def clear(self):
        """Removes all."""
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._enter()
        try:
            while True:
                status = ip_table_clear(&self.arena.c, self.table, patience.level)
                if status == IP_OK:
                    return
                if not self._again(status, &patience):
                    raise self._failed(status, f"clearing {Handle.__repr__(self)}")
        finally:
            self._exit()

    # ---- atomic changes

    cdef int _encode_instead(self, Encoder encoder, _Scratch scratch, object obj, _Entry entry, _Value *value) except -1:
        """Describes a value in the place of one that was read: its key stays spelt as it is."""
        cdef uint64_t skip = _spelt_size(entry.value.kind >> 4, <const unsigned char *>entry.value.data, entry.value.size)
        prefix = PyBytes_FromStringAndSize(<const char *>entry.value.data, <Py_ssize_t>skip) if skip else None
        return self._encode(encoder, scratch, obj, prefix, entry.value.kind >> 4, value)

    def compare_exchange(self, key, expected, new):
        """Replaces the value by `new` if it equals `expected`, in one step; whether it did.

        Values are compared by their serialised form, which is strict: 1 is not 1.0. Raises KeyError if there is no such key.
        """
        cdef _KeyCoder coder
        cdef Encoder encoder
        cdef _Scratch scratch
        cdef _Value value, old
        cdef ip_value was
        cdef uint64_t skip
        cdef _Entry entry
        self._enter()
        coder = _borrow_coder()
        encoder = _borrow_encoder()
        scratch = _borrow_scratch()
        value.owned = old.owned = NULL
        try:
            coder.encode(key, self.arena.c.identity[0])
            self._encode(encoder, scratch, expected, None, AS_IT_IS, &old)
            kind = old.c.kind
            expected_bytes = PyBytes_FromStringAndSize(<const char *>old.c.data, <Py_ssize_t>old.c.size)
            encoder.clear()
            while True:
                entry = _Entry()
                self._check()
                if self._get_raw(&coder.c, entry) == IP_AGAIN:
                    raise KeyError(key)
                if entry.value.n_handles:
                    self._left(&entry.value)
                skip = _spelt_size(entry.value.kind >> 4, <const unsigned char *>entry.value.data, entry.value.size)
                if (entry.value.kind & 15) != kind or entry.value.size - skip != <uint64_t>len(expected_bytes) or memcmp(
                        <const unsigned char *>entry.value.data + skip, <const char *>expected_bytes, len(expected_bytes)):
                    return False
                self._encode_instead(encoder, scratch, new, entry, &value)
                _was(&entry.value, &was)
                if self._set_raw(coder, &value.c, IP_TABLE_IF_EQUAL, &was) == IP_TABLE_REPLACED:
                    return True
                free(value.owned)
                value.owned = NULL
                encoder.clear()
        finally:
            free(value.owned)
            free(old.owned)
            _return_coder(coder)
            _return_encoder(encoder)
            _return_scratch(scratch)
            self._exit()

    def update_with(self, key, function, *args, default=_MISSING):
        """d[key] = function(d[key], *args) in one step; returns the new value.

        `default` stands in for a missing key (else KeyError). The function runs without the table's lock, so it may run
        again, with the newer value, if another process was faster: it should do nothing but compute.
        """
        cdef _KeyCoder coder
        cdef Encoder encoder
        cdef _Scratch scratch
        cdef _Value value
        cdef ip_value was
        cdef _Entry entry
        cdef int tries = 0, outcome
        cdef bint locked = False
        self._enter()
        coder = _borrow_coder()
        encoder = _borrow_encoder()
        scratch = _borrow_scratch()
        value.owned = NULL
        try:
            coder.encode(key, self.arena.c.identity[0])
            while True:
                entry = _Entry()
                self._check()
                if self._get_raw(&coder.c, entry) == IP_AGAIN:
                    if default is _MISSING:
                        raise KeyError(key)
                    new = function(default, *args)
                    self._encode(encoder, scratch, new, coder.spelt(),
                                 coder.spelling, &value)
                    outcome = self._set_raw(coder, &value.c, IP_TABLE_IF_ABSENT, NULL)
                else:
                    new = function(self._load(&entry.value), *args)
                    self._encode_instead(encoder, scratch, new, entry, &value)
                    _was(&entry.value, &was)
                    outcome = self._set_raw(coder, &value.c, IP_TABLE_IF_EQUAL, &was)
                if outcome != IP_TABLE_REFUSED:
                    return new
                if locked:      # nobody else can have been faster
                    raise RuntimeError(f"the function given to update_with() has changed the same key of {Handle.__repr__(self)}")
                free(value.owned)
                value.owned = NULL
                encoder.clear()
                tries += 1
                if tries == PATIENT_TRIES:
                    self._acquire_gate(UINT64_MAX)
                    locked = True
        finally:
            free(value.owned)
            _return_coder(coder)
            _return_encoder(encoder)
            _return_scratch(scratch)
            try:
                if locked:      # not in a child that was forked meanwhile
                    ip_gate_release(&self.arena.c, self.container)
            finally:
                self._exit()

    def update_many(self, pairs):
        """Stores all (key, value) pairs, or none if one of them fails or this process is killed."""
        cdef _KeyCoder coder
        pairs = list(pairs)
        if len(pairs) <= 1:
            for key, value in pairs:
                self._set(key, value, IP_TABLE_ALWAYS)
            return
        keys = [key for key, _ in pairs]
        if ip_transaction_mine(&self.arena.c, self.container):
            coder = _KeyCoder()
            for key in keys:    # as for the values (_all_stored): what cannot be a key raises before the first is stored
                coder.encode(key, 0)
        self._all_or_nothing(self._set_all, (keys,), [value for _, value in pairs])

    def _set_all(self, keys, values):
        for key, value in zip(keys, values):
            self._set(key, value, IP_TABLE_ALWAYS)

    # ---- snapshots

    cdef object _key_of(self, _Entry entry):
        return _key_spelt(entry.value.kind >> 4, <const unsigned char *>entry.key.data, entry.key.size,
                          <const unsigned char *>entry.value.data, entry.value.size)

    cdef list _list(self, bint keys, bint values):
        """What the table has at one moment."""
        cdef ip_container_state before, after
        cdef bint locked = False
        cdef int reads = 0
        self._enter()
        try:
            while True:
                self._look(&before)
                found = self._walk(&before, keys, values)
                if found is not None:
                    self._look(&after)
                    if before.changes == after.changes:
                        return found
                if locked:      # nobody else can have
                    raise RuntimeError(f"{Handle.__repr__(self)} was changed by its own values as they were loaded")
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

    cdef list _walk(self, ip_container_state *state, bint keys, bint values):
        """None: it changed meanwhile."""
        cdef uint64_t position = 0
        cdef _Patience patience
        cdef _Entry entry = _Entry()
        cdef ip_value_out[AT_ONCE] some_keys
        cdef ip_value_out[AT_ONCE] some
        cdef unsigned n = 0, i
        cdef int status
        cdef list found = []
        memset(&patience, 0, sizeof(patience))
        while values:
            some[0].data = entry.value.data
            some[0].room = entry.value.room
            status = ip_table_next_some(&self.arena.c, self.table, patience.level, state.shape, &position, some_keys, some,
                                        AT_ONCE, &n)
            if status == IP_OK:
                for i in range(n):
                    key = _key_spelt(some[i].kind >> 4, <const unsigned char *>some_keys[i].data, some_keys[i].size,
                                     <const unsigned char *>some[i].data, some[i].size) if keys else None
                    obj = self._load(&some[i])
                    found.append((key, obj) if keys else obj)
                self._check()
                continue
            if status == IP_TOO_LONG:
                if not self._walk_one(state, &position, keys, entry, found, &patience):
                    return None
                continue
            if status == IP_EOF:
                return found
            if status == IP_AGAIN:
                return None
            if not self._again(status, &patience):
                raise self._failed(status, f"reading from {Handle.__repr__(self)}")
        entry.value.data = NULL     # the values' kind alone, which tells how the key is spelt
        while True:
            status = ip_table_next(&self.arena.c, self.table, patience.level, state.shape, &position, &entry.key,
                                   &entry.value)
            if status == IP_OK:
                if entry.value.kind >> 4 == SPELT:  # the spelling lies with the value
                    pairs = self._walk(state, True, True)
                    return None if pairs is None else [key for key, _ in pairs]
                found.append(_key_spelt(entry.value.kind >> 4, <const unsigned char *>entry.key.data, entry.key.size, NULL, 0))
            elif status == IP_EOF:
                return found
            elif status == IP_AGAIN:
                return None
            elif status == IP_TOO_LONG:
                entry.grow()
            elif not self._again(status, &patience):
                raise self._failed(status, f"reading from {Handle.__repr__(self)}")

    cdef bint _walk_one(self, ip_container_state *state, uint64_t *position, bint keys, _Entry entry, list found,
                        _Patience *patience) except -1:
        """An entry that is large or has handles; False: the table changed meanwhile."""
        cdef int status
        while True:
            status = ip_table_next(&self.arena.c, self.table, patience.level, state.shape, position, &entry.key, &entry.value)
            if status == IP_OK:
                break
            if status == IP_AGAIN or status == IP_EOF:
                return False
            if status == IP_TOO_LONG:
                entry.grow()
            elif not self._again(status, patience):
                raise self._failed(status, f"reading from {Handle.__repr__(self)}")
        if entry.value.n_handles:
            self._arrived(&entry.value)
        try:
            key = self._key_of(entry) if keys else None
        except BaseException:
            if entry.value.n_handles:
                self._left(&entry.value)
            raise
        obj = self._load(&entry.value)
        found.append((key, obj) if keys else obj)
        self._check()
        return True

    def keys_list(self):
        """The keys at one moment, in order of insertion."""
        return self._list(True, False)

    def values_list(self):
        """The values at one moment."""
        return self._list(False, True)

    def items_list(self):
        """The (key, value) pairs at one moment."""
        return self._list(True, True)
