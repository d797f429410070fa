# key.pxi: the keys of tables: Python values as bytes that are equal if Python says that the values are.
#
# A key has a canonical form, by which it is found, and a spelling, which is how it is listed:
#
#   NONE  -            INT  n bytes of two's complement, as few as do; every integral number: 1, 1.0 and True are one key
#   FLOAT double       STR1 STR2 STR4  the characters, as narrow as they fit        BYTES  the bytes
#   TUPLE each item    SET  each item, sorted by their bytes                        PICKLE of anything else, without memo
#
# An item has its size before it (a byte, or 255 and u64). The spelling travels with the value: in the upper half
# of its kind, and, if that says SPELT, as a message at its start: u32 size, u8 kind, payload.

import pickle as _key_pickle
import pickletools as _pickletools
from io import BytesIO as _BytesIO

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static inline uint64_t ip_fold_product(uint64_t a, uint64_t b) {
        unsigned __int128 p = (unsigned __int128)a * b;
        return (uint64_t)p ^ (uint64_t)(p >> 64);
    }
    static inline uint64_t ip_load_u64(const unsigned char *p, uint64_t n) {
        uint64_t w = 0;
        memcpy(&w, p, n < 8 ? n : 8);
        return w;
    }
    /* 56 bits. Seeded by the arena, so that nobody outside can choose keys that collide. After wyhash (Wang Yi, 2019). */
    static inline uint64_t ip_key_hash(const unsigned char *p, uint64_t n, uint64_t seed) {
        uint64_t h = seed ^ (n * UINT64_C(0xA0761D6478BD642F)), left = n;
        for (; left > 16; p += 16, left -= 16)
            h = ip_fold_product(ip_load_u64(p, 8) ^ UINT64_C(0xE7037ED1A0B428DB), ip_load_u64(p + 8, 8) ^ h);
        uint64_t a = ip_load_u64(p, left), b = left > 8 ? ip_load_u64(p + 8, left - 8) : 0;
        h = ip_fold_product(a ^ UINT64_C(0x8EBC6AF09C88C6E3), b ^ h);
        return ip_fold_product(h, UINT64_C(0x589965CC75374CC3)) >> 8;
    }
    """
    uint64_t key_hash "ip_key_hash"(const unsigned char *p, uint64_t n, uint64_t seed) noexcept nogil

cdef extern from "Python.h":
    int Py_EnterRecursiveCall(const char *where) except *     # 1 or -1, by version
    void Py_LeaveRecursiveCall()

cdef extern from "math.h":
    double floor(double x) nogil

cdef enum:
    K_NONE = 1
    K_INT
    K_FLOAT
    K_STR1
    K_STR2
    K_STR4
    K_BYTES
    K_TUPLE
    K_SET
    K_PICKLE

    AS_IT_IS = 0        # spellings
    AS_BOOL = 1
    AS_FLOAT = 2
    SPELT = 3

    KEY_ROOM = 256      # bytes that a new coder has
    KEY_KEPT = 1 << 16

cdef object _int_eq = int.__eq__, _int_hash = int.__hash__, _str_eq = str.__eq__, _str_hash = str.__hash__
cdef object _float_eq = float.__eq__, _bytes_eq = bytes.__eq__, _bytes_hash = bytes.__hash__, _float_hash = float.__hash__


cdef class _KeyCoder:
    """Makes the canonical form of one key at a time. Not for two threads at once."""
    cdef unsigned char *data
    cdef uint64_t size, room
    cdef int spelling
    cdef object original        # of a key that is to be SPELT
    cdef ip_table_key c

    def __cinit__(self):
        self.data = <unsigned char *>malloc(KEY_ROOM)
        if self.data == NULL:
            raise MemoryError
        self.room = KEY_ROOM

    def __dealloc__(self):
        free(self.data)

    cdef int more(self, uint64_t n) except -1:
        cdef uint64_t room = self.room
        cdef void *moved
        while room - self.size < n:
            room *= 2
        moved = realloc(self.data, room)
        if moved == NULL:
            raise MemoryError(f"no memory for a key of {self.size + n} bytes")
        self.data = <unsigned char *>moved
        self.room = room
        return 0

    cdef inline int add(self, int tag, const void *data, uint64_t n) except -1:
        if self.room - self.size < n + 1:
            self.more(n + 1)
        self.data[self.size] = <unsigned char>tag
        if n:
            memcpy(self.data + self.size + 1, data, n)
        self.size += n + 1
        return 0

    cdef int add_int(self, long long v) except -1:
        cdef unsigned n = 8
        while n > 1 and (v >> (8 * n - 9)) in (0, -1):
            n -= 1
        return self.add(K_INT, &v, n)       # little-endian machines only, as all of core/

    cdef int add_big(self, object key) except -1:
        cdef uint64_t n = ip_int_size(<PyObject *>key)
        if self.room - self.size < n + 1:
            self.more(n + 1)
        self.data[self.size] = K_INT
        ip_int_store(<PyObject *>key, self.data + self.size + 1, n)
        # as few bytes as do
        while n > 1 and ((self.data[self.size + n] == 0 and self.data[self.size + n - 1] < 128) or (
                self.data[self.size + n] == 255 and self.data[self.size + n - 1] >= 128)):
            n -= 1
        self.size += n + 1
        return 0

    cdef int encode(self, object key, uint64_t seed) except -1:
        """Fills in `c`; raises TypeError for what cannot be hashed, and what pickling raises."""
        self.size = 0
        self.original = None
        self.spelling = self.item(key)
        if self.spelling == SPELT:
            self.original = key
        self.c.data = self.data
        self.c.size = self.size
        self.c.hash = key_hash(self.data, self.size, seed)
        return 0

    cdef int item(self, object key) except -1:
        """Appends the form of a value; answers its spelling."""
        cdef PyObject *o = <PyObject *>key
        cdef PyObject *kind = ip_type_of(o)
        cdef long long v
        cdef int overflow = 0, width
        cdef double x
        if kind == ip_STR:
            ip_str_ready(o)
            width = ip_str_width(o)
            self.add(K_STR1 if width == 1 else K_STR2 if width == 2 else K_STR4, ip_str_data(o),
                     <uint64_t>ip_str_length(o) * width)
            return AS_IT_IS
        if kind == ip_INT:
            v = ip_int_value(o, &overflow)
            if overflow:
                self.add_big(key)
            else:
                self.add_int(v)
            return AS_IT_IS
        if kind == ip_BYTES:
            self.add(K_BYTES, ip_bytes_data(o), ip_bytes_length(o))
            return AS_IT_IS
        if kind == ip_TUPLE:
            return self.items(K_TUPLE, key)
        if kind == ip_FLOAT:
            x = ip_float_value(o)
            if -9e18 < x < 9e18 and floor(x) == x:
                self.add_int(<long long>x)
                return AS_FLOAT
            if x - x == 0 and floor(x) == x:    # finite
                self.add_big(int(key))
                return AS_FLOAT
            if x != x:      # one nan, whatever its bits
                x = float("nan")
            self.add(K_FLOAT, &x, 8)
            return AS_IT_IS
        if key is None:
            self.add(K_NONE, NULL, 0)
            return AS_IT_IS
        if key is True or key is False:
            self.add_int(1 if key is True else 0)
            return AS_BOOL
        return self.other(key)

    cdef int other(self, object key) except -1:
        cls = type(key)
        if cls is frozenset:
            return self.items(K_SET, key)
        # Subclasses that compare as their base does are one key with it, as in a dict.
        for base, tag in ((tuple, K_TUPLE), (frozenset, K_SET)):
            if isinstance(key, base) and cls.__eq__ is base.__eq__ and cls.__hash__ is base.__hash__:
                self.items(tag, key)
                return SPELT
        for base, eq, hash_ in ((int, _int_eq, _int_hash), (str, _str_eq, _str_hash), (float, _float_eq, _float_hash),
                                (bytes, _bytes_eq, _bytes_hash)):
            if isinstance(key, base):
                if cls.__eq__ is eq and cls.__hash__ is hash_:
                    self.item(base.__str__(key) if base is str else base.__new__(base, key) if base is not int else
                              int.__index__(key))
                    return SPELT
                break
        hash(key)       # TypeError: unhashable type
        if isinstance(key, Handle):
            raise TypeError(f"{key!r} cannot be a key: a handle is not a value that others could look up")
        out = _BytesIO()
        pickler = _key_pickle.Pickler(out, 5)
        pickler.fast = True     # else equal keys could have unequal pickles, by which parts of them are the same object
        try:
            pickler.dump(key)
        except Exception as error:
            raise _PicklingError(f"a key of type {cls.__name__} cannot be pickled: {error}") from error
        pickled = out.getvalue()
        if b"\x8f" in pickled or b"\x91" in pickled:    # the opcodes of sets
            for opcode, _, _ in _pickletools.genops(pickled):
                if opcode.name == "EMPTY_SET" or opcode.name == "FROZENSET":
                    raise TypeError(f"{key!r} cannot be a key: there is a set in it, whose order, and so the pickle by which it "
                                    "would be found, differs from process to process; use a tuple or a frozenset itself")
        self.add(K_PICKLE, ip_bytes_data(<PyObject *>pickled), len(pickled))
        return AS_IT_IS

    cdef int items(self, int tag, object key) except -1:
        Py_EnterRecursiveCall(" in a key")
        try:
            return self.each_item(tag, key)
        finally:
            Py_LeaveRecursiveCall()

    cdef int each_item(self, int tag, object key) except -1:
        """A tuple or a frozenset."""
        cdef uint64_t start, n
        cdef int spelling = AS_IT_IS
        self.add(tag, NULL, 0)
        if tag == K_SET:
            parts = []
            for each in key:
                start = self.size
                if self.item(each) != AS_IT_IS:
                    spelling = SPELT
                parts.append(PyBytes_FromStringAndSize(<char *>self.data + start, <Py_ssize_t>(self.size - start)))
                self.size = start
            parts.sort()
            for part in parts:
                self.add_size(len(part))
                self.add(ip_bytes_data(<PyObject *>part)[0], ip_bytes_data(<PyObject *>part) + 1, len(part) - 1)
            return spelling
        for each in key:
            # The size goes before: reserve a byte, and eight more if that does not do.
            start = self.size
            if self.room - self.size < 1:
                self.more(1)
            self.size += 1
            if self.item(each) != AS_IT_IS:
                spelling = SPELT
            n = self.size - start - 1
            if n < 255:
                self.data[start] = <unsigned char>n
                continue
            if self.room - self.size < 8:
                self.more(8)
            memmove(self.data + start + 9, self.data + start + 1, n)
            self.data[start] = 255
            memcpy(self.data + start + 1, &n, 8)
            self.size += 8
        return spelling

    cdef int add_size(self, uint64_t n) except -1:
        if self.room - self.size < 9:
            self.more(9)
        if n < 255:
            self.data[self.size] = <unsigned char>n
            self.size += 1
            return 0
        self.data[self.size] = 255
        memcpy(self.data + self.size + 1, &n, 8)
        self.size += 9
        return 0

    cdef bytes spelt(self):
        """The start of the value of a key that is SPELT; of others None."""
        cdef uint32_t n
        if self.spelling != SPELT:
            return None
        kind, payload = dumps(self.original)
        n = len(payload)
        return PyBytes_FromStringAndSize(<char *>&n, 4) + bytes((kind,)) + payload


cdef _KeyCoder _coder_at_hand = None
cdef list _coders = []


cdef inline _KeyCoder _borrow_coder():
    global _coder_at_hand
    coder = _coder_at_hand
    if coder is not None:
        _coder_at_hand = None
        return coder
    return <_KeyCoder>_coders.pop() if _coders else _KeyCoder.__new__(_KeyCoder)


cdef inline int _return_coder(_KeyCoder coder) except -1:
    global _coder_at_hand
    coder.original = None
    if coder.room > KEY_KEPT:
        return 0
    if _coder_at_hand is None:
        _coder_at_hand = coder
    elif len(_coders) < 8:
        _coders.append(coder)
    return 0


cdef object _key_load(const unsigned char *p, uint64_t n):
    """The value that a canonical form stands for; raises ArenaCorrupted, and what the unpickler raises."""
    cdef int tag
    cdef double x
    cdef uint64_t size
    cdef const unsigned char *end = p + n
    cdef PyObject *made
    if n < 1:
        damaged(b"a key is empty")
    tag = p[0]
    p += 1
    n -= 1
    if tag == K_STR1:
        made = ip_str_latin(p, <Py_ssize_t>n)
    elif tag == K_INT:
        made = ip_int_load(p, n)
    elif tag == K_BYTES:
        made = ip_new_bytes(<const char *>p, <Py_ssize_t>n)
    elif tag == K_STR2:
        made = wide_load(p, n // 2, 2)
    elif tag == K_STR4:
        made = wide_load(p, n // 4, 4)
    elif tag == K_NONE:
        return None
    elif tag == K_FLOAT and n == 8:
        memcpy(&x, p, 8)
        return x
    elif tag == K_PICKLE:
        return _key_pickle.loads(PyMemoryView_FromMemory(<char *>p, <Py_ssize_t>n, PyBUF_READ))
    elif tag == K_TUPLE or tag == K_SET:
        items = []
        while p < end:
            size = p[0]
            p += 1
            if size == 255:
                if end - p < 8:
                    damaged(b"a key ends within a size")
                memcpy(&size, p, 8)
                p += 8
            if size > <uint64_t>(end - p):
                damaged(b"a size in a key goes beyond its end")
            Py_EnterRecursiveCall(" in a key")
            try:
                items.append(_key_load(p, size))
            finally:
                Py_LeaveRecursiveCall()
            p += size
        return tuple(items) if tag == K_TUPLE else frozenset(items)
    else:
        damaged(b"a key has an unknown tag")
    result = <object>made
    ip_decref(made)
    return result


cdef uint64_t _spelt_size(int spelling, const unsigned char *value, uint64_t n) except? 0:
    """Bytes of the spelling at the start of a value."""
    cdef uint32_t size
    if spelling != SPELT:
        return 0
    if n < 5:
        damaged(b"a value ends within the spelling of its key")
    memcpy(&size, value, 4)
    if size > n - 5:
        damaged(b"the spelling of a key goes beyond its value")
    return 5 + <uint64_t>size


cdef object _key_spelt(int spelling, const unsigned char *key, uint64_t key_size, const unsigned char *value,
                       uint64_t value_size):
    """The key as it was spelt when it was last set."""
    cdef uint64_t n
    if spelling == SPELT:
        n = _spelt_size(spelling, value, value_size)
        return decode(value[4], value + 5, n - 5, None)
    found = _key_load(key, key_size)
    return found if spelling == AS_IT_IS else found != 0 if spelling == AS_BOOL else float(found)
