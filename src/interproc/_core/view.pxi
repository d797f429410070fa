# A typed window on another object's bytes: what makes `memoryview(array)` have the array's format and shape.
#
# Python 3.11 knows no __buffer__ method, so that a Python class which is to export a buffer needs a base in C.
# A View owns no memory: it holds a buffer of its target (which stays alive and in place as long as the View does)
# and describes it anew.

cimport cython
from cpython.buffer cimport (
    PyBUF_CONTIG, PyBUF_F_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_AsDouble, PyLong_AsUnsignedLongLongMask, PyLong_Check

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX


cdef enum:
    _VIEW_DIMENSIONS = 32


@cython.auto_pickle(False)
cdef class View:
    """The bytes of `target`, as a writable C-contiguous buffer of items of `format` (`itemsize` bytes) in `shape`.

    Raises:
        BufferError: the target's bytes are read-only or not contiguous, or are fewer than the shape needs.
        ValueError: a negative size, or too many dimensions.
    """

    cdef Py_buffer _bytes
    cdef bint _held
    cdef bytes _format_text
    cdef char _code          # the struct code of a plain number, or 0
    cdef Py_ssize_t _itemsize
    cdef Py_ssize_t _count
    cdef int _dimensions
    cdef Py_ssize_t[_VIEW_DIMENSIONS] _shape
    cdef Py_ssize_t[_VIEW_DIMENSIONS] _strides

    def __init__(self, target, str format, Py_ssize_t itemsize, tuple shape):
        cdef Py_ssize_t count = 1
        cdef int i
        if self._held:
            raise ValueError("a View cannot be set up twice")
        if len(shape) > _VIEW_DIMENSIONS or itemsize <= 0:
            raise ValueError(f"a View of {len(shape)} dimensions and items of {itemsize} bytes cannot be made")
        for i in range(len(shape)):
            self._shape[i] = shape[i]
            if self._shape[i] < 0:
                raise ValueError(f"negative length {self._shape[i]} in the shape {shape}")
            if self._shape[i] and count > PY_SSIZE_T_MAX // itemsize // self._shape[i]:
                raise ValueError(f"the shape {shape} is larger than memory can be")
            count *= self._shape[i]
        self._dimensions = <int>len(shape)
        self._format_text = format.encode("ascii")
        self._code = self._format_text[0] if len(format) == 1 and format in "bBhHiIlLqQfd?" else 0
        self._itemsize = itemsize
        self._count = count
        count = itemsize
        for i in reversed(range(self._dimensions)):
            self._strides[i] = count
            count *= self._shape[i]
        PyObject_GetBuffer(target, &self._bytes, PyBUF_CONTIG)
        if self._bytes.len < self._count * itemsize:
            count = self._bytes.len
            PyBuffer_Release(&self._bytes)
            raise BufferError(
                f"the shape {shape} of {itemsize}-byte items needs {self._count * itemsize} bytes; "
                f"{type(target).__name__} has {count}"
            )
        self._held = True

    def __dealloc__(self):
        if self._held:
            PyBuffer_Release(&self._bytes)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if not self._held:
            raise BufferError(f"{type(self).__name__} has no memory yet: its __init__ has not run")
        if self._dimensions > 1 and (flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS:
            raise BufferError("the bytes are in C order, not in Fortran's")
        buffer.obj = self
        buffer.buf = self._bytes.buf
        buffer.len = self._count * self._itemsize
        buffer.readonly = 0
        buffer.itemsize = self._itemsize
        buffer.ndim = self._dimensions
        buffer.format = <char *>self._format_text if flags & PyBUF_FORMAT else NULL
        buffer.shape = self._shape if flags & PyBUF_ND else NULL
        buffer.strides = self._strides if (flags & PyBUF_STRIDES) == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL
        if not flags & PyBUF_ND:
            buffer.ndim = 1

    def __releasebuffer__(self, Py_buffer *buffer):
        pass

    def _store(self, Py_ssize_t start, items):
        """Write a list or tuple of plain numbers from item `start` on, with ctypes' silent truncation; True if it could.

        False means that something is not plain (another type, or a range that does not fit), and that ctypes should do
        it, and raise its error: items before the one that is not plain may have been written by then, as ctypes does.
        """
        cdef Py_ssize_t i, length
        cdef char *at
        cdef object item
        cdef double real
        cdef unsigned long long whole
        cdef bint is_list = type(items) is list
        if not self._held or not self._code or self._dimensions != 1 or not (is_list or type(items) is tuple):
            return False
        length = len(items)
        if start < 0 or length > self._count - start:
            return False
        at = <char *>self._bytes.buf + start * self._itemsize
        if self._code == c'?':
            return False
        if self._code == c'd' or self._code == c'f':
            for i in range(length):
                item = (<list>items)[i] if is_list else (<tuple>items)[i]
                if PyFloat_Check(item):
                    real = PyFloat_AS_DOUBLE(item)
                elif PyLong_Check(item):
                    try:
                        real = PyLong_AsDouble(item)
                    except OverflowError:
                        return False
                else:
                    return False
                if self._code == c'd':
                    (<double *>at)[i] = real
                else:
                    (<float *>at)[i] = <float>real
            return True
        for i in range(length):
            item = (<list>items)[i] if is_list else (<tuple>items)[i]
            if not PyLong_Check(item):
                return False
            whole = PyLong_AsUnsignedLongLongMask(item)
            if self._itemsize == 4:
                (<unsigned int *>at)[i] = <unsigned int>whole
            elif self._itemsize == 8:
                (<unsigned long long *>at)[i] = whole
            elif self._itemsize == 2:
                (<unsigned short *>at)[i] = <unsigned short>whole
            else:
                (<unsigned char *>at)[i] = <unsigned char>whole
        return True
