# party.pxi: who takes part in communications: a party for each thread, or for each task (core/party.h).

import sys as _sys

from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from *:
    """
    /* The party of this thread; owned by _parties. */
    static _Thread_local PyObject *ip_my_party;
    #if PY_VERSION_HEX < 0x030D0000
    #define Py_IsFinalizing _Py_IsFinalizing
    #endif
    """
    bint Py_IsFinalizing() noexcept
    int Py_AddPendingCall(int (*function)(void *) except -1 with gil, void *argument) noexcept
    unsigned long PyThread_get_thread_ident() noexcept
    PyObject *ip_my_party

cdef enum:
    CHECK_AFTER = 100000000     # ns: how often a process looks for deadlocks, at most

cdef dict _parties = {}                     # (thread, uid of the arena) -> Party
cdef object _here = _threading.local()      # its `leaver` goes with its thread
cdef object _quiet = _weakref.WeakValueDictionary()     # by number, threads that do nothing by themselves
cdef object _tasks = _weakref.WeakValueDictionary()     # by name, the parties of tasks
cdef object _joiners = _weakref.WeakValueDictionary()   # and those that wait for others' end
cdef object _waker = None
cdef object _introducer = None
cdef object _staller = None
cdef object _check_deadlock = None          # interproc.csp.network.deadlock.check, once it is needed; False: there is none
cdef object _may_act = None                 # interproc.csp.network.crowd.may_act, likewise
cdef bint _was_crowd = False
cdef long _counted_at = -1
cdef Py_ssize_t _counted = 0
cdef str _counted_in = None


@cython.no_gc_clear
cdef class _Leaver:
    """When its thread ends, so do the parties of that: an idle one would be somebody who might yet act."""
    cdef unsigned long thread
    cdef uint64_t forks

    def __dealloc__(self):
        global ip_my_party, _counted_at
        if self.forks != _forks or Py_IsFinalizing():
            return
        _counted_at = -1
        if self.thread == PyThread_get_thread_ident():
            ip_my_party = NULL
        for key in list(_parties):
            if key[0] == self.thread:
                _drop_party(key)


cdef class Party(Handle):
    """A thread or a task that takes part in communications.

    Party.current() is this thread's; Party.create() makes one for a task, or for an event loop, which is the bell of its tasks.
    """
    cdef ip_party *party
    cdef Party bell             # of the event loop whose task it is
    cdef Party inner            # of the same thread, while this one waits: a signal handler may communicate
    cdef bint is_inner
    cdef uint64_t forks         # of the process that made it
    cdef _Attempt attempt       # what it is at
    cdef _Attempt single        # for communications at one end
    cdef uint64_t wish          # mode bits that set_mode() has asked for
    cdef unsigned long thread   # where it was used last, by its number
    cdef object owner           # and as a Thread: numbers are used again
    cdef bint noted
    cdef bytes card             # as described
    cdef public object scope    # whose it is, for the introducer

    def __init__(self):
        raise TypeError("a Party is had from Party.current() or Party.create()")

    @staticmethod
    def current(Arena arena=None):
        """That of this thread (in the default arena): made on demand, and anew in a forked child."""
        return _party_of(Arena.default() if arena is None else arena)

    @staticmethod
    def create(Party bell=None, *, Arena arena=None):
        """A new one: of a task of the event loop that has this bell, or an event loop's (None)."""
        if arena is None:
            arena = Arena.default() if bell is None else bell.arena
        return _new_party(Party, arena, bell)

    @property
    def index(self):
        """Its index in the directory of the arena, which the waker is called with."""
        return self.c_id.index

    @property
    def thread(self):
        """The threading.Thread that it was used in last."""
        return self.owner

    @property
    def name(self):
        """A number that no other party of the arena has."""
        return ip_party_name(self.c_id)

    def __reduce__(self):
        raise TypeError("a Party is its process's own and cannot be sent")

    def use(self):
        """From now on this is the party of this thread."""
        global ip_my_party
        self._check_mine()
        self._is_here()
        ip_my_party = <PyObject *>self
        _parties[self.thread, self.arena.uid] = self
        _leave_with_thread()

    cdef int _check_mine(self) except -1:
        self._check()
        if self.forks != _forks:
            raise _errors.HandleError(f"{self!r} is that of the process that has forked; this one has its own: Party.current()")
        return 0

    def close(self):
        """It takes part no more. HandleError while it waits."""
        if self.attempt is not None and self.forks == _forks:
            raise _errors.HandleError(f"{self!r} waits, and cannot be closed")
        Handle.close(self)

    cdef int _is_here(self) except -1:
        cdef unsigned long thread = PyThread_get_thread_ident()
        if self.owner is None or self.thread != thread:
            self.thread = thread
            self.owner = _threading.current_thread()
        return 0

    def describe(self, bytes card, parent=0):
        """Tells others about it: the card, at most 4096 bytes, and the `name` of the party that started it (0: nobody)."""
        cdef int status
        self._check_mine()
        if card != self.card:
            status = ip_party_set_card(&self.arena.c, self.party, PyBytes_AS_STRING(card), len(card))
            if status:
                raise _error(status, self.arena, f"describing {self!r} in {len(card)} bytes (at most {IP_CARD_MAX})")
            self.card = card
        ip_set(&self.party.parent, parent)

    def set_note(self, str text):
        """Tells others what it does just now: as much of the text as fits 232 bytes. Forgotten at its next wait."""
        self._check_mine()
        self._note(text)

    cdef int _note(self, str text) except -1:
        cdef bytes raw = _cut_text(text, IP_NOTE_MAX)
        cdef int status = ip_party_set_note(self.party, PyBytes_AS_STRING(raw), len(raw))
        if status:
            raise _error(status, self.arena, f"noting what {self!r} does")
        self.noted = len(raw) > 0
        return 0

    cdef inline int _set_mode(self, uint64_t mode) except -1:
        ip_set(&self.party.mode, mode)
        return 0

    cdef inline int _prepare(self, uint64_t mode) except -1:
        """Before offers: whether there is a crowd is found out when it matters, if the wait takes long."""
        self._set_mode(mode | IP_CROWD)
        if self.noted:
            self._note("")
        return 0

    def set_mode(self, bint timed, bint outside):
        """Of a task: whether its wait has a time limit, and whether it waits for other things, too. Also while it waits or joins."""
        self._check_mine()
        self.wish = (IP_TIMED if timed else 0) | (IP_OUTSIDE if outside else 0)
        self._set_mode(self._joins() | self.wish | (IP_CROWD if _crowd(self.arena) else 0))

    cdef uint64_t _joins(self):
        return IP_JOINING if self.attempt is not None and self.attempt.n == 0 else 0

    @property
    def waiting(self):
        """Whether its offers are out, and nothing has come of them."""
        cdef int phase
        cdef unsigned guard
        return self.party != NULL and not self.closed and ip_party_state(self.party, &phase, &guard) == IP_OK and phase == IP_PARTY_WAITING

    def poke(self):
        """Ends its wait, if it waits: it looks again."""
        cdef int status
        self._check_mine()
        status = ip_party_poke(&self.arena.c, self.c_id)
        if status:
            raise _error(status, self.arena, f"poking {self!r}")

    def joining(self, uint64_t children):
        """From now on it waits for the end of as many that it has started, until joined().

        Returns whether there are threads that are no parties, which may act: then it is no part of a deadlock, until tend(), or
        another's wait in this process, finds that there are none any more.
        """
        cdef _Attempt attempt = _Attempt.__new__(_Attempt)
        cdef int status
        self._check_mine()
        if self.attempt is not None:
            raise _errors.HandleError(f"{self!r} waits already")
        crowd = _crowd(self.arena)
        self._set_mode(IP_CROWD)    # which joining leaves; the rest of its mode is set then
        status = ip_party_join(&self.arena.c, self.party, children)
        if status:
            raise _error(status, self.arena, f"{self!r} is joining")
        attempt._begin(self)
        attempt.out = True
        self._set_mode(IP_JOINING | self.wish | (IP_CROWD if crowd else 0))
        _joiners[self.name] = self
        return crowd

    def joined(self):
        """It waits no more. The text of a deadlock that this wait was found to be part of, or None."""
        cdef _Attempt attempt = self.attempt
        if attempt is None or not attempt.out or attempt.n:
            return None
        self._check_mine()
        _joiners.pop(self.name, None)
        try:
            if attempt._withdraw() == IP_STUCK:
                return attempt.value
        finally:
            attempt._end()
        return None

    def wait_bell(self, seen, timeout=None):
        """Of an event loop's, in a thread of its own: waits until a task's wait has ended or `timeout` seconds are over.

        Returns the number of rings so far; it differs from `seen` if there were any since that was returned (0 first).
        """
        cdef uint64_t deadline = _deadline(timeout), last = seen, rung = 0
        cdef cbool slept = False, done = False
        quiet_thread()
        while True:
            self._check_mine()
            with nogil:
                done = ip_party_wait_bell(self.party, last, deadline, &slept)
            PyErr_CheckSignals()
            self._check_mine()
            if done or (deadline != UINT64_MAX and ip_now_ns() >= deadline):
                if not ip_get(&self.party.rung, &rung):
                    raise _error(IP_CORRUPT, self.arena, "waiting for a bell")
                return rung

    # ---- of a task: a choice in steps

    def offer(self, guards, values=None, unsigned first=0, bint wait=True):
        """Tries the guards, beginning with `first`: (index, value) of one that came true. Else None: with `wait` the offers are out,
        and settle() is due once the loop's bell has rung, or the waker was called. Raises as choose()."""
        cdef _Attempt attempt
        cdef int status
        self._check_mine()
        if self.attempt is not None:
            raise _errors.HandleError(f"{self!r} has offers out already: settle() or withdraw() them")
        attempt = _attempt(guards, values, first)
        if attempt.arena is not self.arena:
            raise ValueError(f"{attempt.guards[0]!r} is in another arena than {self!r}")
        self._is_here()
        attempt._begin(self)
        try:
            status = attempt._offer(wait)
        except BaseException:
            attempt._end()
            raise
        if status == IP_AGAIN and attempt.out:
            return None
        attempt._end()
        return None if status == IP_AGAIN else attempt._result(status, None)

    def settle(self):
        """What has become of its offers: (index, value); None: they are in again, offer once more; False: they are still out.

        Raises as choose().
        """
        cdef _Attempt attempt = self.attempt
        cdef int status = IP_AGAIN
        if attempt is None:
            return None
        self._check_mine()
        try:
            status = attempt._settle()
        finally:
            if status != IP_BUSY:
                attempt._end()
        if status == IP_BUSY:
            return False
        return None if status == IP_AGAIN else attempt._result(status, None)

    def withdraw(self):
        """Takes its offers back. (index, value): it was too late. Raises as choose()."""
        cdef _Attempt attempt = self.attempt
        cdef int status = IP_AGAIN
        if attempt is None:
            return None
        self._check_mine()
        try:
            status = attempt._withdraw()
        finally:
            attempt._end()
        return None if status == IP_AGAIN else attempt._result(status, None)

    def abandon(self):
        """Takes its offers back, if they are out, as nobody waits any more; should a value have come, the next receive gives it."""
        cdef _Attempt attempt = self.attempt
        if attempt is None or not attempt.out or attempt.n == 0:
            return
        try:
            attempt._interrupted()
        finally:
            attempt._end()

    def tend(self):
        """What somebody has to do for the offers of a task every 40 ms: notices the dead, buffers, and deadlocks. Also of who joins.

        Returns whether there are threads that may act, which is why it is no part of a deadlock.
        """
        cdef _Attempt attempt = self.attempt
        cdef bint crowd
        if attempt is None or not attempt.out or self.closed or self.forks != _forks:
            return False
        if self.bell is not None:
            _step_aside()
        if attempt.n:
            attempt._bury_dead()
            if attempt._any_ended() or attempt._any_ready():
                self.poke()
                return False
        crowd = _crowd(self.arena)
        self._set_mode(self._joins() | self.wish | (IP_CROWD if crowd else 0))
        _look_for_deadlock(self.arena)
        return crowd


cdef Party _new_party(object cls, Arena arena, Party bell):
    cdef Party party = cls.__new__(cls)
    cdef int status
    if bell is not None and bell.arena is not arena:
        raise ValueError(f"{bell!r} is in another arena")
    party._create(arena, None, IP_PARTY, 1, 1, ip_party_body_size(), ip_party_make, NULL)
    status = ip_party_of(&arena.c, party.object, &party.party)
    if status:
        raise _error(status, arena, "making a party")
    party.forks = _forks
    party._is_here()
    if bell is not None:
        party.bell = bell
        ip_set(&party.party.bell, ip_party_name(bell.c_id))
        _tasks[party.name] = party
    return party


cdef inline Party _party_of(Arena arena):
    """The party of this thread in the arena, or while that is at something the next one."""
    cdef Party party
    if ip_my_party != NULL:
        party = <Party>ip_my_party
        if party.arena is arena and party.attempt is None and not party.closed:
            return party
    return _find_party(arena)


cdef Party _find_party(Arena arena):
    global ip_my_party
    cdef unsigned long thread = PyThread_get_thread_ident()
    cdef Party party = _parties.get((thread, arena.uid))
    cdef Party mine = None
    if ip_my_party != NULL:
        mine = <Party>ip_my_party
    if party is None or party.closed or mine is None:   # with none at hand this is a new thread, whatever another of its number had
        _forget_threads(thread if mine is None else 0)
        party = _parties[thread, arena.uid] = _new_party(Party, arena, None)
        _leave_with_thread()
    ip_my_party = <PyObject *>party
    while party.attempt is not None:
        if party.inner is None:
            party.inner = _new_party(Party, arena, None)
            party.inner.is_inner = True
            party.inner._set_mode(IP_LOOP)      # but for its own waits it is nobody who runs
        party = party.inner
    return party


cdef int _leave_with_thread() except -1:
    cdef _Leaver leaver = getattr(_here, "leaver", None)
    if leaver is None or leaver.forks != _forks:
        leaver = _Leaver.__new__(_Leaver)
        leaver.thread = PyThread_get_thread_ident()
        leaver.forks = _forks
        _here.leaver = leaver
    return 0


cdef int _step_aside() except -1:
    """This thread runs an event loop, so but for the tasks' parties it has none: an idle one would be somebody who might yet act."""
    global ip_my_party, _counted_at
    cdef unsigned long thread = PyThread_get_thread_ident()
    if ip_my_party == NULL or (<Party>ip_my_party).attempt is not None:
        return 0
    ip_my_party = NULL
    _counted_at = -1
    for key in list(_parties):
        if key[0] == thread and (<Party>_parties[key]).attempt is None:
            _drop_party(key)
    return 0


cdef int _drop_party(object key) except -1:
    """A thread has no party any more: also when a traceback, say, still refers to it."""
    cdef Party party = _parties.pop(key, None)
    if party is not None and party.attempt is None and party.forks == _forks:
        Handle.close(party)
    return 0


cdef int _forget_threads(unsigned long reused) except -1:
    """The parties of threads that have ended go, and those of a number that another thread has now."""
    # Not by sys._current_frames(): should the garbage collector run in it, CPython 3.11 can come to a standstill.
    alive = {thread.ident for thread in _threading.enumerate()}
    for key in list(_parties):
        if key[0] not in alive or key[0] == reused:
            _drop_party(key)
    return 0


cdef int _forget_parties() except -1:
    """In a forked child: they were the parent's."""
    global ip_my_party, _counted_at, _quiet, _tasks, _joiners
    ip_my_party = NULL
    _counted_at = -1
    _quiet = _weakref.WeakValueDictionary()
    _tasks = _weakref.WeakValueDictionary()
    _joiners = _weakref.WeakValueDictionary()
    _parties.clear()
    return 0


def quiet_thread():
    """This thread does nothing by itself that could end a wait at a channel, so it does not keep a deadlock from being one."""
    _quiet[_threading.get_ident()] = _threading.current_thread()


cdef list _alive(object parties):
    """A list of them made at once, as other threads add some meanwhile."""
    return [party for party in [reference() for reference in parties.valuerefs()] if party is not None]


cdef bint _crowd(Arena arena) except -1:
    """Are there threads that are no parties of this arena, and may yet act?

    For many tasks at one time it is looked at once.
    """
    global _was_crowd, _counted_at, _counted, _counted_in, _may_act
    cdef Party party
    cdef long now = coarse_ms()
    cdef Py_ssize_t n = _threading.active_count()
    if now == _counted_at and n == _counted and arena.uid == _counted_in:
        return _was_crowd
    known = {thread() for thread in _quiet.valuerefs()}
    for party in list(_parties.values()):
        if party.arena is arena:
            known.add(party.owner)
    for party in _alive(_tasks):
        if party.arena is arena and not party.closed:
            known.add(party.owner)
    try:
        if _may_act is None:
            from interproc.csp.network.crowd import may_act as _asked
            _may_act = _asked
        _was_crowd = _may_act(known)
    except ImportError:     # this process ends
        _was_crowd = True
    _counted_at = now
    _counted = n
    _counted_in = arena.uid
    return _was_crowd


# ---- the waker: a task of this process was given what it waits for, by this process

def set_waker(function):
    """What is called, with its index, for each task's party whose communication this process completes; by whichever thread."""
    global _waker
    _waker = function


def set_introducer(function):
    """What is called with a thread's party, to describe() it anew: when its wait takes long, in that thread; with one that has a
    `scope` and waits for others' end, in any thread. It raises nothing."""
    global _introducer
    _introducer = function


def set_staller(function):
    """What is called, with the arena, when a thread's wait does not end at once: the event loop that it runs (csp/tasks.py: Stall), or None."""
    global _staller
    _staller = function


cdef inline void _wake(uint32_t woken) noexcept:
    if woken:
        _call_waker(woken - 1)


cdef void _call_waker(uint32_t index) noexcept:
    """What a signal handler raises in it must not undo the communication, and is raised a little later."""
    try:
        if _waker is not None:
            _waker(index)
    except BaseException as error:
        if _threading.current_thread() is not _threading.main_thread():
            raise
        Py_INCREF(error)
        if Py_AddPendingCall(_raise_late, <void *>error):
            Py_DECREF(error)
            raise


cdef int _raise_late(void *raised) except -1 with gil:
    error = <object>raised
    Py_DECREF(error)
    raise error


# ---- what a wait that takes long tells, and looks for

cdef bytes _cut_text(str text, Py_ssize_t limit):
    """As much of it as fits, in whole characters."""
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) > limit:
        raw = raw[:limit].decode("utf-8", "ignore").encode("utf-8")
    return raw


cdef str _where_from():
    """Path, line and function of the innermost Python code that is not interproc's own, but for its library of parts."""
    frame = _sys._getframe()
    while frame is not None:
        name = frame.f_globals.get("__name__") or ""
        if not (name == "interproc" or name.startswith("interproc.")) or name.startswith("interproc.csp.parts"):
            path = frame.f_code.co_filename
            path = path[max(0, len(path) - 150):]
            return f"{path}:{frame.f_lineno} in {getattr(frame.f_code, 'co_qualname', frame.f_code.co_name)}"
        frame = frame.f_back
    return ""


cdef int _look_for_deadlock(Arena arena) except -1:
    global _check_deadlock
    cdef Party party
    cdef uint64_t now = ip_now_ns()
    if now - arena.looked_at < CHECK_AFTER or _check_deadlock is False:
        return 0
    arena.looked_at = now
    _forget_threads(0)
    for party in _alive(_joiners):  # threads may have ended, or become parties, since
        party._set_mode(IP_JOINING | party.wish | (IP_CROWD if _crowd(party.arena) else 0))
        if party.scope is not None and _introducer is not None:
            _introducer(party)
    if not ip_stuck_due(&arena.c):  # another process looks, for all
        return 0
    if _check_deadlock is None:
        try:
            from interproc.csp.network.deadlock import check as _found
        except ImportError:
            _check_deadlock = False
            return 0
        _check_deadlock = _found
    _check_deadlock(arena)
    return 0
