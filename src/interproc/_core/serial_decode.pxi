# serial_decode.pxi: turns a message back into the object; trusts no size or tag in it; included by serial.pxi.

cdef PyObject *damaged(const char *what) except NULL:
    raise _ArenaCorrupted(f"a message in shared memory is damaged: {what.decode('ascii')}")


cdef PyObject *short_load(const unsigned char **at, const unsigned char *end, bint nested) except NULL:
    """One value of the short form, as a new reference; `at` moves behind it."""
    cdef const unsigned char *p = at[0]
    cdef uint64_t left, n, width = 1
    cdef long long v
    cdef double x
    cdef int tag
    cdef Py_ssize_t i
    cdef PyObject *made
    if p >= end:
        return damaged(b"it ends where a value is due")
    tag = p[0]
    p += 1
    left = end - p
    if tag == T_NONE or tag == T_TRUE or tag == T_FALSE:
        made = ip_NONE if tag == T_NONE else ip_TRUE if tag == T_TRUE else ip_FALSE
        ip_incref(made)
        at[0] = p
        return made
    if tag == T_INT8 or tag == T_FLOAT:
        if left < 8:
            return damaged(b"it ends within a number")
        at[0] = p + 8
        if tag == T_INT8:
            memcpy(&v, p, 8)
            return ip_new_int(v)
        memcpy(&x, p, 8)
        return ip_new_float(x)
    if left < 1:
        return damaged(b"it ends behind a tag")
    if tag == T_INT1:
        at[0] = p + 1
        return ip_new_int(<signed char>p[0])
    if tag == T_STR or tag == T_BYTES or tag == T_BIG or tag == T_TUPLE:
        n = p[0]
        p += 1
        left -= 1
    elif T_STR1 <= tag <= T_LTUPLE:
        if left < 8:
            return damaged(b"it ends within a length")
        memcpy(&n, p, 8)
        p += 8
        left -= 8
        width = 2 if tag == T_STR2 else 4 if tag == T_STR4 else 1
    else:
        return damaged(b"it has an unknown tag")
    if n > left // width:
        return damaged(b"a length in it goes beyond its end")
    if tag == T_TUPLE or tag == T_LTUPLE:
        if nested:
            return damaged(b"it has a tuple in a tuple")
        made = ip_new_tuple(<Py_ssize_t>n)
        try:
            for i in range(<Py_ssize_t>n):
                ip_tuple_set(made, i, short_load(&p, end, True))
        except BaseException:
            ip_decref(made)
            raise
        at[0] = p
        return made
    at[0] = p + n * width
    if tag == T_STR or tag == T_STR1:
        return ip_str_latin(p, <Py_ssize_t>n)
    if tag == T_BYTES or tag == T_LBYTES:
        return ip_new_bytes(<const char *>p, <Py_ssize_t>n)
    if tag == T_BIG:
        return ip_int_load(p, n)
    return wide_load(p, n, <int>width)


cdef PyObject *wide_load(const unsigned char *p, uint64_t n, int width) except? NULL:
    cdef PyObject *made = ip_str_wide(p, <Py_ssize_t>n, width)
    if made == NULL:
        return damaged(b"a character in it is above U+10FFFF")
    return made


cdef object buffers_load(const unsigned char *data, uint64_t size, object owner):
    """Any form of KIND_BUFFERS; raises ArenaCorrupted, and whatever the unpickler raises."""
    cdef uint32_t count, form
    cdef uint64_t pickle_size, n, at, i, start, entry = 0
    if size < 16:
        damaged(b"it ends within its table")
    memcpy(&count, data, 4)
    memcpy(&form, data + 4, 4)
    memcpy(&pickle_size, data + 8, 8)
    start = 16 + 8 * <uint64_t>count
    if start > size or pickle_size > size - start:
        damaged(b"a size in its table goes beyond its end")
    if form > FORM_VIEW or (form != FORM_PICKLE and (count != 1 or pickle_size)):
        damaged(b"it has an unknown form")
    at = start + pickle_size
    whole = None if owner is None else memoryview(owner).cast("B")
    buffers = []
    for i in range(count):
        memcpy(&entry, data + 16 + 8 * i, 8)
        n = entry & ~READ_ONLY
        at = (at + ALIGNMENT - 1) & ~<uint64_t>(ALIGNMENT - 1)
        if at > size or n > size - at:
            damaged(b"a size in its table goes beyond its end")
        if form == FORM_BYTEARRAY or (owner is None and not entry & READ_ONLY):
            buffers.append(PyByteArray_FromStringAndSize(<char *>data + at, <Py_ssize_t>n))
        elif owner is None:
            buffers.append(PyBytes_FromStringAndSize(<char *>data + at, <Py_ssize_t>n))
        else:
            buffers.append(whole[at:at + n])
        at += n
    if at != size:
        damaged(b"it is longer than its table says")
    if form == FORM_BYTEARRAY:
        return buffers[0]
    if form == FORM_VIEW:
        view = memoryview(buffers[0])
        return view.toreadonly() if entry & READ_ONLY else view
    pickled = PyMemoryView_FromMemory(<char *>data + start, <Py_ssize_t>pickle_size, PyBUF_READ)
    return _unpickle(pickled, buffers=buffers)


cdef object _unpickle = _pickle.loads


cdef object decode(int kind, const unsigned char *data, uint64_t size, object owner):
    """The object that a message stands for.

    owner None: `data` is valid during the call only, and everything is copied out of it, once. Otherwise `owner` has a
    buffer of exactly data[0:size] and keeps it: out-of-band buffers and KIND_BYTES become memoryviews of it.
    Raises ArenaCorrupted, UnpicklingError, MemoryError, RecursionError and whatever is no Exception.
    """
    cdef const unsigned char *at = data
    cdef PyObject *made
    if kind == KIND_SHORT:
        made = short_load(&at, data + size, False)
        result = <object>made
        ip_decref(made)
        if at != data + size:
            damaged(b"it goes on behind its value")
        return result
    if kind == KIND_BYTES:
        if owner is None:
            return PyBytes_FromStringAndSize(<const char *>data, <Py_ssize_t>size)
        return memoryview(owner).cast("B").toreadonly()
    if kind != KIND_PICKLE and kind != KIND_BUFFERS:
        damaged(b"it is of an unknown kind")
    try:
        if kind == KIND_PICKLE:
            return _unpickle(PyMemoryView_FromMemory(<char *>data, <Py_ssize_t>size, PyBUF_READ))
        return buffers_load(data, size, owner)
    except (MemoryError, RecursionError, _ArenaClosed, _ArenaCorrupted):
        raise
    except Exception as error:
        from interproc.culprit import describe
        raw = PyBytes_FromStringAndSize(<const char *>data, <Py_ssize_t>size)
        # With buffers the payload is no pickle: wrap it in one, so that pickle.loads(error.data) tries again.
        again = raw if kind == KIND_PICKLE else _pickle.dumps(_Again(kind, raw), 5)
        raise _UnpicklingError(
            f"cannot unpickle a message of {size} bytes: {describe(error)}; its bytes are in "
            "this exception's .data (pickle.loads(error.data) tries again)", again) from error


class _Again:
    """Pickles as a call of loads()."""

    def __init__(self, kind, raw):
        self.call = (kind, raw)

    def __reduce__(self):
        return loads, self.call
