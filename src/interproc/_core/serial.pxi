# serial.pxi: turns an object into a message and back; included in _core.pyx, which declares ip_piece.
#
# A message has a kind, which travels in the frame's header, and a payload:
#
#   KIND_SHORT    one value or one flat tuple in the short form below; no pickle, no Python code runs
#   KIND_PICKLE   a pickle of protocol 5
#   KIND_BUFFERS  u32 buffers, u32 form, u64 pickle size, u64 per buffer (its size; bit 63: read-only), the pickle,
#                 then each buffer at the next multiple of 64 bytes from the payload's start, with zeroes between.
#                 form 0: pickle with out-of-band buffers; 1: one bytearray, 2: one memoryview (both without a pickle)
#   KIND_BYTES    a bytes object as it is
#
# The short form: a tag, then   NONE TRUE FALSE  -            INT1  s8              INT8  s64    FLOAT  double
#   BIG   u8 n, n bytes of two's complement      STR   u8 n, n bytes of Latin-1     BYTES  u8 n, n bytes
#   STR1 STR2 STR4  u64 n, n characters of 1, 2, 4 bytes each (lone surrogates too)  LBYTES u64 n, n bytes
#   TUPLE u8 n, n values      LTUPLE u64 n, n values
# All in the machine's byte order: a message never leaves the machine.
#
# The encoder hands out a gather list, so that big data is copied once, into the arena: its pieces point to the
# scratch buffer and into the objects themselves, and hold until clear(). Decoding checks each step against the end.

include "serial_capi.pxi"

import copyreg as _copyreg
import pickle as _pickle
from multiprocessing.reduction import ForkingPickler as _ForkingPickler

from interproc.errors import ArenaClosed as _ArenaClosed
from interproc.errors import ArenaCorrupted as _ArenaCorrupted
from interproc.errors import PicklingError as _PicklingError
from interproc.errors import UnpicklingError as _UnpicklingError

cdef enum:
    KIND_SHORT = 1
    KIND_PICKLE = 2
    KIND_BUFFERS = 3
    KIND_BYTES = 4

    T_NONE = 0x11
    T_TRUE
    T_FALSE
    T_INT1
    T_INT8
    T_BIG
    T_FLOAT
    T_STR
    T_STR1
    T_STR2
    T_STR4
    T_BYTES
    T_LBYTES
    T_TUPLE
    T_LTUPLE

    FORM_PICKLE = 0
    FORM_BYTEARRAY = 1
    FORM_VIEW = 2

    SCRATCH = 512               # bytes of scratch that a new encoder has
    SCRATCH_KEPT = 1 << 20      # bytes of scratch that clear() leaves
    BY_REFERENCE = 1 << 13      # str and bytes in the short form from this size on are pieces of their own
    OUT_OF_BAND = 1 << 14       # buffers from this size on leave the pickle
    PICKLER_KEPT = 1 << 15      # after a larger pickle the pickler, with its memo, is made anew
    ALIGNMENT = 64

cdef uint64_t READ_ONLY = (<uint64_t>1) << 63

# ---------------------------------------------------------------- reducers

cdef dict _copyreg_reducers = _copyreg.dispatch_table
cdef dict _forking_reducers = _ForkingPickler._extra_reducers
cdef list _reducers_seen = None     # type, reducer, type, reducer ... as they were when _reducers was made
cdef dict _reducers = None


def _restore_view(data, str format, tuple shape):
    """The memoryview that _reduce_view took apart."""
    view = memoryview(data)
    if format == "B" and len(shape) == 1:
        return view
    return view.cast("B").cast(format, shape) if 0 not in shape else view.cast("B").cast(format)


def _reduce_view(view):
    """A memoryview arrives as a memoryview of the same format and shape; pickle alone refuses it."""
    if len(view.format) != 1 or view.format not in "cbB?hHiIlLqQnNfd" or view.ndim == 0 or 0 in view.shape[1:]:
        raise TypeError(f"cannot pickle a memoryview of format {view.format!r} and shape {view.shape}")
    data = _pickle.PickleBuffer(view) if view.c_contiguous else view.tobytes()
    return _restore_view, (data, view.format, view.shape)


cdef dict current_reducers():
    """The reducers registered with copyreg and ForkingPickler; the same dict until one of these changes."""
    global _reducers, _reducers_seen
    cdef Py_ssize_t i = 0, at, n
    cdef PyObject *key
    cdef PyObject *value
    cdef list seen = _reducers_seen
    if seen is not None:
        n = len(seen)
        for table in (_copyreg_reducers, _forking_reducers):
            at = 0
            while ip_dict_next(table, &at, &key, &value):
                if i >= n or <PyObject *>seen[i] != key or <PyObject *>seen[i + 1] != value:
                    i = -1
                    break
                i += 2
            if i < 0:
                break
        if i == n:
            return _reducers
    items = list(_copyreg_reducers.items()) + list(_forking_reducers.items())
    made = {memoryview: _reduce_view}
    made.update(items)
    _reducers_seen = [part for item in items for part in item]
    _reducers = made
    return made


cdef bint note_handle(object handle) except -1:
    """Called by a handle that is being pickled: tells the encoder at work in this thread, false if there is none."""
    if ip_encoding == NULL:
        return False
    cdef Encoder encoder = <Encoder>ip_encoding
    if encoder.handles is None:
        encoder.handles = []
    encoder.handles.append(handle)
    return True

# ---------------------------------------------------------------- encoding

cdef bint plain_view(object view) except -1:
    """A memoryview that is just bytes in a row; a released one is for the pickler to refuse."""
    try:
        return view.format == "B" and view.ndim == 1 and view.c_contiguous
    except ValueError:
        return False


cdef class _Sink:
    """What the pickler writes to: keeps the chunks and the out-of-band buffers, copies nothing."""
    cdef list chunks
    cdef list buffers

    def __cinit__(self):
        self.chunks = []
        self.buffers = []

    def write(self, data):
        # A chunk is a bytes that nobody else has, or a large bytes or bytearray of the item itself.
        self.chunks.append(data if type(data) is bytes else memoryview(data))

    def take(self, buffer):
        """True: leave it in the pickle."""
        if ip_pickle_buffer(buffer).len < OUT_OF_BAND:
            return True
        self.buffers.append(buffer)
        return False


cdef class Encoder:
    """Makes one message at a time: encode(), copy the pieces, clear(). Not for two threads at once."""
    cdef readonly int kind
    cdef ip_piece *pieces
    cdef readonly int n_pieces
    cdef readonly uint64_t size
    cdef readonly list handles
    cdef unsigned char *scratch
    cdef uint64_t room, used, run   # bytes: of the scratch, used of it, where its current run began
    cdef int piece_room
    cdef object keep                # what the pieces point into
    cdef _Sink sink
    cdef object dump, forget        # the bound methods of the pickler
    cdef dict reducers              # those that the pickler has

    def __cinit__(self):
        self.scratch = <unsigned char *>malloc(SCRATCH)
        self.pieces = <ip_piece *>malloc(8 * sizeof(ip_piece))
        if self.scratch == NULL or self.pieces == NULL:
            raise MemoryError("no memory for an encoder")
        self.room = SCRATCH
        self.piece_room = 8

    def __dealloc__(self):
        free(self.scratch)
        free(self.pieces)

    cdef int grow(self, uint64_t more) except -1:
        cdef uint64_t room = self.room
        while room - self.used < more:
            room *= 2
        cdef void *moved = realloc(self.scratch, room)
        if moved == NULL:
            raise MemoryError(f"no memory for a scratch buffer of {room} bytes")
        self.scratch = <unsigned char *>moved
        self.room = room
        return 0

    cdef int add_piece(self, const void *data, uint64_t size) except -1:
        cdef void *moved
        if self.n_pieces == self.piece_room:
            moved = realloc(self.pieces, 2 * self.piece_room * sizeof(ip_piece))
            if moved == NULL:
                raise MemoryError("no memory for the list of a message's pieces")
            self.pieces = <ip_piece *>moved
            self.piece_room *= 2
        self.pieces[self.n_pieces].data = data
        self.pieces[self.n_pieces].size = size
        self.n_pieces += 1
        self.size += size
        return 0

    cdef int end_run(self) except -1:
        """Make a piece of the scratch used since the last one; NULL until settle(), as the scratch may still move."""
        if self.used > self.run:
            self.add_piece(NULL, self.used - self.run)
            self.run = self.used
        return 0

    cdef void settle(self) noexcept:
        cdef uint64_t at = 0
        cdef int i
        for i in range(self.n_pieces):
            if self.pieces[i].data == NULL:
                self.pieces[i].data = self.scratch + at
                at += self.pieces[i].size

    cdef void clear(self) noexcept:
        """Let go of everything that the last message referred to."""
        cdef void *smaller
        self.n_pieces = 0
        self.size = self.used = self.run = 0
        if self.keep is not None:
            self.keep = None
        if self.handles is not None:
            self.handles = None
        if self.sink is not None and len(self.sink.chunks) + len(self.sink.buffers):
            self.sink.chunks = []
            self.sink.buffers = []
        if self.room > SCRATCH_KEPT:
            smaller = realloc(self.scratch, SCRATCH)
            if smaller != NULL:
                self.scratch = <unsigned char *>smaller
                self.room = SCRATCH

    cdef int encode(self, object obj) except -1:
        """Make the message. Raises PicklingError, MemoryError, RecursionError and whatever is no Exception."""
        cdef PyObject *o = <PyObject *>obj
        cdef PyObject *kind = ip_type_of(o)
        cdef int done
        self.clear()
        if kind == ip_TUPLE:
            done = self.short_tuple(o)
        elif kind == ip_BYTES:
            self.kind = KIND_BYTES
            self.keep = obj
            return self.add_piece(ip_bytes_data(o), ip_bytes_length(o))
        else:
            done = self.short_value(o)
        if done:
            self.kind = KIND_SHORT
            if self.n_pieces == 0:
                self.pieces[0].data = self.scratch
                self.pieces[0].size = self.size = self.used
                self.n_pieces = 1
            else:
                self.keep = obj
                self.end_run()
                self.settle()
            return 0
        self.clear()
        if kind == ip_BYTEARRAY:
            return self.single_buffer(memoryview(obj), FORM_BYTEARRAY)
        if kind == ip_MEMORYVIEW and plain_view(obj):
            return self.single_buffer(memoryview(obj), FORM_VIEW)
        return self.pickled(obj)

    cdef int short_tuple(self, PyObject *o) except -1:
        cdef Py_ssize_t i
        cdef uint64_t n = ip_tuple_length(o)
        if n < 256:
            self.scratch[0] = T_TUPLE
            self.scratch[1] = <unsigned char>n
            self.used = 2
        else:
            self.scratch[0] = T_LTUPLE
            memcpy(self.scratch + 1, &n, 8)
            self.used = 9
        for i in range(<Py_ssize_t>n):
            if not self.short_value(ip_tuple_item(o, i)):
                return 0
        return 1

    cdef int short_value(self, PyObject *o) except -1:
        """Append one value; 0: not of the types that have a short form."""
        cdef PyObject *kind = ip_type_of(o)
        cdef unsigned char *p
        cdef long long v
        cdef int overflow, width
        cdef uint64_t n, size
        cdef double x
        if self.room - self.used < 16:
            self.grow(16)
        p = self.scratch + self.used
        if kind == ip_STR:
            ip_str_ready(o)
            n = ip_str_length(o)
            width = ip_str_width(o)
            if width == 1 and n < 256:
                p[0] = T_STR
                p[1] = <unsigned char>n
                self.used += 2
                return self.append(ip_str_data(o), n)
            p[0] = T_STR1 if width == 1 else T_STR2 if width == 2 else T_STR4
            memcpy(p + 1, &n, 8)
            self.used += 9
            return self.append(ip_str_data(o), n * width)
        if kind == ip_INT:
            if not ip_int_small(o, &v):
                v = ip_int_value(o, &overflow)
                if overflow:
                    size = ip_int_size(o)
                    if size > 255:
                        return 0
                    if self.room - self.used < 2 + size:
                        self.grow(2 + size)
                        p = self.scratch + self.used
                    p[0] = T_BIG
                    p[1] = <unsigned char>size
                    ip_int_store(o, p + 2, size)
                    self.used += 2 + size
                    return 1
            if -128 <= v < 128:
                p[0] = T_INT1
                p[1] = <unsigned char>v
                self.used += 2
            else:
                p[0] = T_INT8
                memcpy(p + 1, &v, 8)
                self.used += 9
            return 1
        if o == ip_NONE:
            p[0] = T_NONE
            self.used += 1
            return 1
        if kind == ip_FLOAT:
            x = ip_float_value(o)
            p[0] = T_FLOAT
            memcpy(p + 1, &x, 8)
            self.used += 9
            return 1
        if kind == ip_BYTES:
            n = ip_bytes_length(o)
            if n < 256:
                p[0] = T_BYTES
                p[1] = <unsigned char>n
                self.used += 2
            else:
                p[0] = T_LBYTES
                memcpy(p + 1, &n, 8)
                self.used += 9
            return self.append(ip_bytes_data(o), n)
        if o == ip_TRUE or o == ip_FALSE:
            p[0] = T_TRUE if o == ip_TRUE else T_FALSE
            self.used += 1
            return 1
        return 0

    cdef inline int append(self, const unsigned char *data, uint64_t size) except -1:
        if size >= BY_REFERENCE:
            self.end_run()
            self.add_piece(data, size)
            return 1
        if self.room - self.used < size:
            self.grow(size)
        memcpy(self.scratch + self.used, data, size)
        self.used += size
        return 1

    cdef int header(self, uint32_t buffers, uint32_t form, uint64_t pickle_size) except -1:
        cdef unsigned char *p
        if self.room < 16 + 8 * <uint64_t>buffers:
            self.grow(16 + 8 * <uint64_t>buffers)
        p = self.scratch
        memcpy(p, &buffers, 4)
        memcpy(p + 4, &form, 4)
        memcpy(p + 8, &pickle_size, 8)
        self.used = 16 + 8 * <uint64_t>buffers
        return self.add_piece(p, self.used)

    cdef int add_buffer(self, uint64_t index, const Py_buffer *view) except -1:
        cdef uint64_t size = view.len
        cdef uint64_t entry = size | (READ_ONLY if view.readonly else 0)
        memcpy(self.scratch + 16 + 8 * index, &entry, 8)
        if self.size % ALIGNMENT:
            self.add_piece(ip_zeroes, ALIGNMENT - self.size % ALIGNMENT)
        return self.add_piece(view.buf, size)

    cdef int single_buffer(self, object view, uint32_t form) except -1:
        self.kind = KIND_BUFFERS
        self.keep = view
        self.header(1, form, 0)
        return self.add_buffer(0, PyMemoryView_GET_BUFFER(view))

    cdef int pickled(self, object obj) except -1:
        try:
            self.run_pickler(obj)
        except (MemoryError, RecursionError, _ArenaClosed, _ArenaCorrupted, _PicklingError):
            self.clear()
            raise
        except Exception as error:
            self.clear()
            from interproc.culprit import explain
            raise _PicklingError(explain(obj, error, _probe, current_reducers())) from error
        except BaseException:
            self.clear()
            raise
        return 0

    cdef int run_pickler(self, object obj) except -1:
        global ip_encoding
        cdef dict reducers = current_reducers()
        cdef PyObject *outer
        cdef PyObject *mine
        cdef uint64_t total = 0
        cdef Py_ssize_t i
        if self.dump is None or self.reducers is not reducers:
            self.sink = _Sink()
            pickler = _pickle.Pickler(self.sink, 5, buffer_callback=self.sink.take)
            pickler.dispatch_table = reducers
            self.dump = pickler.dump
            self.forget = pickler.clear_memo
            self.reducers = reducers
        outer = ip_encoding
        ip_incref(<PyObject *>self)
        ip_encoding = <PyObject *>self
        try:
            self.dump(obj)
        except BaseException:
            self.dump = self.forget = self.reducers = None
            raise
        finally:
            mine = ip_encoding
            ip_encoding = outer
            ip_xdecref(mine)
        chunks = self.sink.chunks
        buffers = self.sink.buffers
        for chunk in chunks:
            total += len(chunk)
        if total > PICKLER_KEPT:
            self.dump = self.forget = self.reducers = None
        else:
            self.forget()
        if buffers:
            self.kind = KIND_BUFFERS
            self.header(len(buffers), FORM_PICKLE, total)
        else:
            self.kind = KIND_PICKLE
        for chunk in chunks:
            if type(chunk) is bytes:
                self.add_piece(ip_bytes_data(<PyObject *>chunk), len(chunk))
            else:
                self.add_piece(PyMemoryView_GET_BUFFER(chunk).buf, PyMemoryView_GET_BUFFER(chunk).len)
        for i in range(len(buffers)):
            self.add_buffer(i, ip_pickle_buffer(buffers[i]))
        return 0


def _probe(obj):
    """Pickle as a message would be, for nothing but the exception."""
    cdef Encoder encoder = Encoder()
    encoder.run_pickler(obj)

include "serial_decode.pxi"

# ---------------------------------------------------------------- for Python: tools and tests

def dumps(obj) -> tuple:
    """The message for an object: its kind and its payload, in one piece.

    Raises PicklingError with the path to what cannot be pickled.
    """
    cdef Encoder encoder = Encoder()
    cdef int i
    encoder.encode(obj)
    parts = [PyBytes_FromStringAndSize(<const char *>encoder.pieces[i].data, <Py_ssize_t>encoder.pieces[i].size)
             for i in range(encoder.n_pieces)]
    kind = encoder.kind
    encoder.clear()
    return kind, b"".join(parts)


def loads(int kind, data, *, bint copy=True):
    """The object that dumps() took apart; copy=False: large buffers in it are views of `data`.

    Raises ArenaCorrupted when the payload is damaged, UnpicklingError when it cannot be unpickled.
    """
    view = memoryview(data).cast("B")
    cdef Py_buffer *buffer = PyMemoryView_GET_BUFFER(view)
    return decode(kind, <const unsigned char *>buffer.buf, buffer.len, None if copy else view)
