# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=False, binding=False
"""The objects of the arena as Python types; what they do is done in core/, what can be Python is Python.

Each file included below has one part, and uses those before it. It is one extension module since the state of
the process (its arenas, what it holds in them) must exist once.
"""

cimport cython
from libc.stdint cimport INT64_MAX, UINT64_MAX, int64_t, uint32_t, uint64_t, uint8_t
from libc.errno cimport errno
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from core cimport *

from interproc import errors as _errors

MAX_MEMBERS = IP_MEMBERS_MAX

cdef class Arena
cdef class Handle
cdef class Encoder
cdef class _Attempt

include "arena.pxi"         # arenas, membership
include "handle.pxi"        # handles on objects; how they travel
include "lifecycle.pxi"     # fork() and exit
include "serial.pxi"        # objects to messages and back
include "ring.pxi"          # putting and taking
include "queue.pxi"         # Queue
include "connection.pxi"    # Connection, pipe
include "sync.pxi"          # Memory, Number, Mutex, Semaphore, Signal
include "key.pxi"           # the keys of tables
include "container.pxi"     # what tables and lists share; transactions
include "entry.pxi"         # what is read of them
include "table.pxi"         # Table
include "attributes.pxi"    # Attributes
include "list.pxi"          # List
include "view.pxi"          # typed windows on memory
include "message.pxi"       # encoded objects on their way into a channel
include "party.pxi"         # Party: who takes part in communications
include "channel.pxi"       # Channel
include "end.pxi"           # End
include "barrier.pxi"       # Barrier, Enrolment
include "attempt.pxi"       # looking, offering, waiting
include "choose.pxi"        # choices
include "stuck.pxi"         # deadlocks
include "visit.pxi"         # looking at an arena from outside
