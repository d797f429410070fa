# attributes.pxi: Attributes: a table whose values are attributes, what a shared Namespace is.

cdef extern from "Python.h":
    object PyObject_GenericGetAttr(object o, object name)
    int PyObject_GenericSetAttr(object o, object name, PyObject *value) except -1
    Py_UCS4 PyUnicode_READ_CHAR(object s, Py_ssize_t i) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(object s) noexcept


cdef inline bint _is_local(object name) noexcept:
    return PyUnicode_GET_LENGTH(name) == 0 or PyUnicode_READ_CHAR(name, 0) == 95    # an underscore


cdef class Attributes(Table):
    """A table whose values are attributes; those that begin with an underscore are this handle's own.

    A subclass has _no_attribute(name), which answers or raises what is to be said of one that is not there, and _methods: names
    for which it answers; so they can be had while another has the lock.
    """
    _methods = frozenset()

    def __getattribute__(self, name):
        if _is_local(name):
            return PyObject_GenericGetAttr(self, name)
        if name in type(self)._methods and (self.closed or not self._peek(name)):
            return self._no_attribute(name)
        value = self._get(name)
        return self._no_attribute(name) if value is _MISSING else value

    def __setattr__(self, name, value):
        if _is_local(name):
            PyObject_GenericSetAttr(self, name, <PyObject *>value)
        else:
            self._set(name, value, IP_TABLE_ALWAYS)

    def __delattr__(self, name):
        if _is_local(name):
            PyObject_GenericSetAttr(self, name, NULL)
        elif not Table.discard(self, name):
            self._no_attribute(name)
            raise AttributeError(f"'Namespace' object has no attribute {name!r}: it is a method", name=name)

    cdef bint _peek(self, object name) except -1:
        """Whether there is such a key, whoever has the lock."""
        cdef _KeyCoder coder
        cdef _Patience patience
        cdef int status
        memset(&patience, 0, sizeof(patience))
        self._enter()
        coder = _borrow_coder()
        try:
            coder.encode(name, self.arena.c.identity[0])
            while True:
                status = ip_table_peek(&self.arena.c, self.table, patience.level, &coder.c)
                if status == IP_OK or status == IP_AGAIN:
                    return status == IP_OK
                if not self._again(status, &patience):
                    raise self._failed(status, f"looking into {Handle.__repr__(self)}")
        finally:
            _return_coder(coder)
            self._exit()
