# serial_capi.pxi: CPython's C interface as the serialiser uses it, with borrowed references; included by serial.pxi.

from cpython.object cimport PyObject
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.bytearray cimport PyByteArray_FromStringAndSize
from cpython.buffer cimport Py_buffer, PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory, PyMemoryView_GET_BUFFER
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <string.h>
    /* The encoder that pickles in this thread; owns a reference. */
    static _Thread_local PyObject *ip_encoding;
    static const unsigned char ip_zeroes[64];

    static inline int ip_str_ready(PyObject *o) {
    #if PY_VERSION_HEX < 0x030C0000
        return PyUnicode_READY(o);
    #else
        (void)o; return 0;
    #endif
    }
    /* An exact int of one digit, without a call; false: ask PyLong_AsLongLongAndOverflow. */
    static inline int ip_int_small(PyObject *o, long long *v) {
    #if PY_VERSION_HEX >= 0x030C0000
        if (!PyUnstable_Long_IsCompact((PyLongObject *)o)) return 0;
        *v = PyUnstable_Long_CompactValue((PyLongObject *)o);
        return 1;
    #else
        Py_ssize_t n = Py_SIZE(o);
        if (n < -1 || n > 1) return 0;
        *v = (long long)n * (long long)((PyLongObject *)o)->ob_digit[0];
        return 1;
    #endif
    }
    /* Bytes that the two's complement of an int takes. */
    static inline size_t ip_int_size(PyObject *o) { return (size_t)_PyLong_NumBits(o) / 8 + 1; }
    static inline int ip_int_store(PyObject *o, unsigned char *to, size_t n) {
    #if PY_VERSION_HEX >= 0x030D0000
        return PyLong_AsNativeBytes(o, to, (Py_ssize_t)n, Py_ASNATIVEBYTES_LITTLE_ENDIAN) < 0 ? -1 : 0;
    #else
        return _PyLong_AsByteArray((PyLongObject *)o, to, n, 1, 1);
    #endif
    }
    static inline PyObject *ip_int_load(const unsigned char *from, size_t n) {
        return _PyLong_FromByteArray(from, n, 1, 1);
    }
    /* A str of Latin-1 characters; ASCII, the common case, in one pass. */
    static inline PyObject *ip_str_latin(const unsigned char *from, Py_ssize_t n) {
        if (n < 2) return PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, from, n);
        PyObject *s = PyUnicode_New(n, 127);
        if (s == NULL) return NULL;
        uint64_t high = 0, word;
        Py_ssize_t i = 0;
        memcpy(PyUnicode_1BYTE_DATA(s), from, (size_t)n);
        for (; i + 8 <= n; i += 8) { memcpy(&word, from + i, 8); high |= word; }
        for (; i < n; i++) high |= from[i];
        if (!(high & UINT64_C(0x8080808080808080))) return s;
        Py_DECREF(s);
        return PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, from, n);
    }
    /* A str of wider characters; NULL without an error when one is above U+10FFFF. `from` may be unaligned. */
    static inline PyObject *ip_str_wide(const unsigned char *from, Py_ssize_t n, int width) {
        PyObject *s;
        void *copy = NULL;
        if ((uintptr_t)from % (uintptr_t)width) {
            copy = PyMem_Malloc((size_t)n * (size_t)width);
            if (copy == NULL) return PyErr_NoMemory();
            memcpy(copy, from, (size_t)n * (size_t)width);
            from = (const unsigned char *)copy;
        }
        if (width == 4) {
            const Py_UCS4 *c = (const Py_UCS4 *)from;
            for (Py_ssize_t i = 0; i < n; i++) {
                if (c[i] > 0x10FFFF) { PyMem_Free(copy); return NULL; }
            }
        }
        s = PyUnicode_FromKindAndData(width == 4 ? PyUnicode_4BYTE_KIND : PyUnicode_2BYTE_KIND, from, n);
        PyMem_Free(copy);
        return s;
    }
    """
    PyObject *ip_encoding
    const unsigned char *ip_zeroes
    int ip_str_ready(PyObject *o) except -1
    bint ip_int_small(PyObject *o, long long *v) noexcept
    size_t ip_int_size(PyObject *o) noexcept
    int ip_int_store(PyObject *o, unsigned char *to, size_t n) except -1
    PyObject *ip_int_load(const unsigned char *p, size_t n) except NULL
    PyObject *ip_str_latin(const unsigned char *p, Py_ssize_t n) except NULL
    PyObject *ip_str_wide(const unsigned char *p, Py_ssize_t n, int width) noexcept

cdef extern from "Python.h":
    PyObject *ip_type_of "(PyObject *)Py_TYPE"(PyObject *o) noexcept
    void ip_incref "Py_INCREF"(PyObject *o) noexcept
    void ip_decref "Py_DECREF"(PyObject *o) noexcept
    void ip_xdecref "Py_XDECREF"(PyObject *o) noexcept
    PyObject *ip_NONE "Py_None"
    PyObject *ip_TRUE "Py_True"
    PyObject *ip_FALSE "Py_False"
    PyObject *ip_INT "(PyObject *)&PyLong_Type"
    PyObject *ip_FLOAT "(PyObject *)&PyFloat_Type"
    PyObject *ip_STR "(PyObject *)&PyUnicode_Type"
    PyObject *ip_BYTES "(PyObject *)&PyBytes_Type"
    PyObject *ip_TUPLE "(PyObject *)&PyTuple_Type"
    PyObject *ip_BYTEARRAY "(PyObject *)&PyByteArray_Type"
    PyObject *ip_MEMORYVIEW "(PyObject *)&PyMemoryView_Type"
    long long ip_int_value "PyLong_AsLongLongAndOverflow"(PyObject *o, int *overflow) noexcept
    double ip_float_value "PyFloat_AS_DOUBLE"(PyObject *o) noexcept
    int ip_str_width "(int)PyUnicode_KIND"(PyObject *o) noexcept
    const unsigned char *ip_str_data "(const unsigned char *)PyUnicode_DATA"(PyObject *o) noexcept
    Py_ssize_t ip_str_length "PyUnicode_GET_LENGTH"(PyObject *o) noexcept
    const unsigned char *ip_bytes_data "(const unsigned char *)PyBytes_AS_STRING"(PyObject *o) noexcept
    Py_ssize_t ip_bytes_length "PyBytes_GET_SIZE"(PyObject *o) noexcept
    Py_ssize_t ip_tuple_length "PyTuple_GET_SIZE"(PyObject *o) noexcept
    PyObject *ip_tuple_item "PyTuple_GET_ITEM"(PyObject *o, Py_ssize_t i) noexcept
    PyObject *ip_new_int "PyLong_FromLongLong"(long long v) except NULL
    PyObject *ip_new_float "PyFloat_FromDouble"(double v) except NULL
    PyObject *ip_new_bytes "PyBytes_FromStringAndSize"(const char *p, Py_ssize_t n) except NULL
    PyObject *ip_new_tuple "PyTuple_New"(Py_ssize_t n) except NULL
    void ip_tuple_set "PyTuple_SET_ITEM"(PyObject *t, Py_ssize_t i, PyObject *o) noexcept
    bint ip_dict_next "PyDict_Next"(object d, Py_ssize_t *i, PyObject **k, PyObject **v) noexcept
    const Py_buffer *ip_pickle_buffer "PyPickleBuffer_GetBuffer"(object o) except NULL
