# arena.pxi: this process's arenas: making, opening and joining them; handing them to spawned children.

import fcntl as _fcntl
import os as _os
import threading as _threading
import weakref as _weakref
from multiprocessing import reduction as _reduction
from multiprocessing.context import get_spawning_popen as _get_spawning_popen

cdef object _arenas = _weakref.WeakValueDictionary()    # uid -> Arena: all that this process has
cdef Arena _default = None
cdef uint64_t _forks = 0                                # how many fork()s this process is away from the first
cdef bint _exiting = False                              # leave() was called
cdef object _open_lock = _threading.RLock()             # opening a named arena: one thread at a time


cdef object _error(int status, Arena arena, object what):
    """The exception for a status; `what` names the object and the operation."""
    if status == IP_CORRUPT:
        return _errors.ArenaCorrupted(
            f"{what}: shared memory is damaged (a check failed): something outside of interproc has written to it; "
            "restart the processes that share it")
    if status == IP_NO_MEMORY:
        limit = 0 if arena is None else arena.c.limit
        used = 0 if arena is None or arena.c.header == NULL else arena.used
        return _errors.ArenaFull(
            f"{what}: no memory: {used:,} of the arena's limit of {limit:,} bytes are in use, or the machine has no "
            "more; take messages out or free objects, or raise the limit before the first use "
            "(environment variable INTERPROC_LIMIT=8G, or interproc.Arena.create(limit=...))")
    if status == IP_FREED:
        return _errors.ObjectFreed(
            f"{what}: the object was freed, since its last holder has closed it or died; keep a handle on it as long "
            "as others may come")
    if status == IP_LEFT:
        if _exiting and _threading.current_thread().daemon:
            return SystemExit()     # ends the thread, and gives back what it has locked, without a word
        return _errors.ArenaClosed(f"{what}: this process has left the arena (it is exiting, or its place was lost)")
    if status == IP_EXISTS:
        return _errors.HandleError(f"{what}: the name is taken by an object of another kind; choose another name")
    if status == IP_CROWDED:
        return _errors.ArenaFull(
            f"{what}: a table of the arena is full (at most {IP_MEMBERS_MAX} processes and 1,048,576 objects)")
    if status == IP_TOO_LONG:
        return _errors.HandleError(f"{what}: too long (names: 200 bytes; handles in one message: 900)")
    if status == IP_OS_ERROR:
        return OSError(errno, f"{what}: {_os.strerror(errno)}")
    return _errors.InterprocError(f"{what}: unexpected status {status}")


cdef uint64_t _deadline(object timeout) except? 0:
    """CLOCK_MONOTONIC nanoseconds at which a wait of `timeout` seconds (None: no limit) ends."""
    cdef double seconds
    if timeout is None:
        return UINT64_MAX
    seconds = timeout
    if seconds != seconds:
        raise ValueError("a timeout cannot be nan")
    if seconds <= 0:
        return 1    # in the past, and not the error value
    if seconds > 1e9:
        return UINT64_MAX
    return ip_now_ns() + <uint64_t>(seconds * 1e9)


@cython.no_gc_clear
cdef class Arena:
    """This process's attachment to a piece of shared memory: it is a member of it.

    Not made directly: `Arena.default()` is the tree's, `Arena.create()` makes another, `Arena.open(name)` meets
    unrelated processes of the same user. An arena exists as long as a member lives.
    """
    cdef ip_arena c
    cdef readonly str uid           # the same in all members
    cdef readonly object name       # of a named arena, or None
    cdef object path                # its file
    cdef dict held                  # (index, generation, end) -> how many handles of this process
    cdef set kept                   # keys of what keep() was called for
    cdef uint64_t looked_at         # when this process last looked for deadlocks in it
    cdef object watched             # weak set of the handles that have a descriptor
    cdef object __weakref__

    def __init__(self):
        raise TypeError("an Arena is had from Arena.default(), Arena.create() or Arena.open(name)")

    def __cinit__(self):
        self.c.fd = self.c.life_fd = -1

    def __dealloc__(self):
        if self.c.base != NULL:
            self._depart()
            ip_arena_detach(&self.c)

    cdef int _depart(self) except -1:
        """Nothing of this process refers to the arena any more: gives the place back."""
        if self.c.generation == 0:
            return 0
        if self.path is None:
            ip_member_leave(&self.c)
            return 0
        lock = self._lock_file()
        try:
            ip_member_leave(&self.c)
            self._remove_file_if_last()
        finally:
            _fcntl.flock(lock, _fcntl.LOCK_UN)     # now, whoever has inherited the descriptor
            _os.close(lock)
        return 0

    cdef int _withdraw(self, bint alone) except -1:
        """This process ends. If no other thread can be using them, queues and pipes are let go of, so that others see
        it at once; the rest they find when the process is gone."""
        cdef Handle handle
        if self.c.generation == 0:
            return 0
        if alone:
            for handle in list(self.watched):
                handle._unwatch()
            ip_member_withdraw(&self.c)
        if self.path is None:
            ip_member_announce_exit(&self.c)
        else:
            lock = self._lock_file()
            try:
                ip_member_announce_exit(&self.c)
                self._remove_file_if_last()
            finally:
                _fcntl.flock(lock, _fcntl.LOCK_UN)     # now, whoever has inherited the descriptor
            _os.close(lock)
        self.c.generation = 0
        return 0

    cdef int _lock_file(self) except -1:
        """Keeps those who open the arena by name out, and others who leave it, until the descriptor is closed."""
        fd = _os.open(f"/proc/self/fd/{self.c.fd}", _os.O_RDWR | _os.O_CLOEXEC)     # a lock of our own, not our parent's
        _fcntl.flock(fd, _fcntl.LOCK_EX)
        return fd

    cdef int _remove_file_if_last(self) except -1:
        """Under the file's lock."""
        if not ip_member_others(&self.c) and _is_at(self.c.fd, self.path):
            _os.unlink(self.path)
        return 0

    @staticmethod
    def default():
        """The arena that this tree of processes shares; made on first use.

        Its limit is `interproc.settings.memory_limit()` bytes.
        """
        global _default
        if _default is None:
            made = Arena.create()
            if _default is None:    # else another thread was faster
                _default = made
        return _default

    @staticmethod
    def set_default(Arena arena):
        """What a spawned child does with its parent's arena."""
        global _default
        _default = arena

    @staticmethod
    def create(limit=None):
        """A new anonymous arena of at most `limit` bytes, for this process and those that it hands handles to.

        Raises ArenaFull (a MemoryError) when the machine refuses even the little that an empty one takes.
        """
        cdef Arena arena = Arena.__new__(Arena)
        cdef uint64_t size = _limit(limit)
        cdef int status
        with nogil:
            status = ip_arena_create(&arena.c, -1, size)
        if status:
            raise _error(status, None, f"creating an arena of {size:,} bytes")
        arena._register()
        return arena

    @staticmethod
    def open(str name, limit=None):
        """Opens the named arena, or creates it with that limit in bytes; unrelated processes of this user meet there.

        It is a file of mode 0600 in the user's runtime directory; the last member out removes it. One that all members
        were killed in is removed by whoever opens the same or another name next.
        """
        cdef Arena arena, known
        from interproc import settings
        path = settings.arena_path(name)
        with _open_lock:
            while True:
                for known in list(_arenas.values()):
                    if known.path == path and known.c.generation:
                        return known
                fd = _os.open(path, _os.O_RDWR | _os.O_CREAT | _os.O_CLOEXEC | _os.O_NOFOLLOW, 0o600)
                try:
                    arena = _open_named(fd, path, name, limit)
                except BaseException:
                    _os.close(fd)
                    raise
                if arena is not None:
                    arena._register()
                    _sweep(path)
                    return arena
                _os.close(fd)

    def _register(self):
        self.uid = "%012x%012x%012x" % (self.c.identity[0], self.c.identity[1], self.c.identity[2])
        self.held = {}
        self.kept = set()
        self.watched = _weakref.WeakSet()
        _arenas[self.uid] = self

    # ---- what there is

    @property
    def limit(self):
        """Bytes that it can hold."""
        return self.c.limit

    @property
    def used(self):
        """Bytes in use."""
        cdef uint64_t n
        if not ip_get(&self.c.header.heap_used, &n):
            raise _error(IP_CORRUPT, self, "Arena.used")
        return n

    @property
    def committed(self):
        """Bytes of memory taken from the machine for contents, in use or kept warm."""
        cdef uint64_t n
        if not ip_get(&self.c.header.heap_committed, &n):
            raise _error(IP_CORRUPT, self, "Arena.committed")
        return n

    @property
    def fd(self):
        """The file descriptor of the memory."""
        return self.c.fd

    @property
    def index(self):
        """This process's place among the members."""
        return self.c.self

    @property
    def left(self):
        """Whether this process has left it."""
        return self.c.generation == 0

    def incarnation(self, uint32_t index):
        """0 if no live member has this index, else a number that no other process that had the index ever had."""
        return ip_member_incarnation(&self.c, index)

    def members(self):
        """The members: a list of dicts with index, pid (0: reserved for a child) and phase."""
        cdef ip_member_info *infos = <ip_member_info *>malloc(IP_MEMBERS_MAX * sizeof(ip_member_info))
        if infos == NULL:
            raise MemoryError
        try:
            n = ip_member_list(&self.c, infos, IP_MEMBERS_MAX)
            if n < 0:
                raise _error(IP_CORRUPT, self, "Arena.members()")
            return [{"index": infos[i].index, "pid": infos[i].pid,
                     "phase": ("free", "reserved", "member", "leaving")[infos[i].phase & 3]} for i in range(n)]
        finally:
            free(infos)

    def objects(self):
        """The objects: a list of dicts with id, kind, name, holders (a count for each end) and handles in transit."""
        cdef uint32_t index = 0
        cdef ip_object_info info
        cdef int status
        found = []
        while True:
            status = ip_object_next(&self.c, &index, &info)
            if status == IP_AGAIN:
                return found
            if status:
                raise _error(status, self, "Arena.objects()")
            kind = _kind_name(info.kind)
            found.append({
                "id": f"{kind}#{info.id.index}.{info.id.generation}", "kind": kind,
                "name": info.name.decode("utf-8", "replace") or None,
                "holders": [info.holders[i] for i in range(info.ends)],
                "transit": [info.transit[i] for i in range(info.ends)]})

    def check(self):
        """Raises ArenaCorrupted if an invariant of the heap does not hold. Takes time and the arena lock: for tests."""
        cdef int status
        with nogil:
            status = ip_heap_check(&self.c)
        if status:
            raise _error(status, self, "Arena.check()")

    def keep(self, Handle handle):
        """Has this process hold the object as long as it is in the arena, whatever becomes of the handle. Idempotent."""
        handle._check()
        if handle.arena is not self:
            raise ValueError(f"{handle._id()} is in another arena")
        key = _hold_key(handle.c_id, handle.c_end)
        if key not in self.kept:
            self.kept.add(key)
            self.held[key] = self.held.get(key, 0) + 1

    def reap(self):
        """Frees what dead members have left; returns how many were found dead. It happens by itself now and then."""
        cdef uint32_t buried = 0
        cdef int status
        with nogil:
            status = ip_member_reap(&self.c, &buried)
        if status:
            raise _error(status, self, "Arena.reap()")
        return buried

    def __repr__(self):
        what = repr(self.name) if self.name is not None else self.uid[:8]
        return f"<Arena {what}, {self.used:,} of {self.limit:,} bytes used>"

    # ---- handing it on

    def reserve(self):
        """A place for a child: (descriptor, slot). The child calls adopt(); close the descriptor once it has its own.

        The descriptor carries a lock that tells that the child may still come.
        """
        cdef int fd, status
        cdef uint32_t index
        status = ip_member_reserve(&self.c, &fd, &index)
        if status == IP_CROWDED:
            self.reap()
            status = ip_member_reserve(&self.c, &fd, &index)
        if status:
            raise _error(status, self, "a place for a child process")
        return fd, index

    @staticmethod
    def adopt(fd, slot):
        """In the child: attaches to the arena of a descriptor from reserve() and takes the place. Takes over fd."""
        cdef Arena arena = Arena.__new__(Arena)
        cdef int status, own
        try:
            _os.set_inheritable(fd, False)
            # fd stays as it is: it carries the lock that tells that this process lives
            own = _os.open(f"/proc/self/fd/{fd}", _os.O_RDWR | _os.O_CLOEXEC)
            status = ip_arena_attach(&arena.c, own)
            if status:
                _os.close(own)
                raise _error(status, None, "attaching to the parent's arena")
            status = ip_member_claim(&arena.c, slot, fd)
            if status:
                raise _error(status, arena, "taking the place that the parent had reserved")
        except BaseException:
            _os.close(fd)
            raise
        arena._register()
        return arena

    cdef tuple _place_for(self, object popen):
        """The place of the child that is being spawned, as (descriptor to be pickled, slot): the same for all handles
        that travel to it, with whichever pickler."""
        places = popen.__dict__.setdefault("_interproc_slots", {})
        place = places.get(self.uid)
        if place is None:
            fd, slot = self.reserve()
            if _threading.get_ident() in _bequests:
                ip_member_note_starter(&self.c, slot)
            popen.__dict__.setdefault("_interproc_places", []).append(fd)
            place = places[self.uid] = (_reduction.DupFd(fd), slot)
            _weakref.finalize(popen, _close_quietly, popen.__dict__["_interproc_places"]).atexit = False
        return place

    def __reduce__(self):
        popen = _get_spawning_popen()
        if popen is None:
            return _find_arena, (self.uid, self.name)
        duplicate, slot = self._place_for(popen)
        return _arrive, (self.uid, self.name, duplicate, slot)


def _close_quietly(list descriptors):
    while descriptors:
        try:
            _os.close(descriptors.pop())
        except OSError:
            pass


cdef uint64_t _limit(object limit) except 0:
    if limit is None:
        from interproc import settings
        limit = settings.memory_limit()
    if limit < 1 << 20:
        raise ValueError(f"an arena's limit is at least 1 MiB, not {limit} bytes")
    return limit


cdef Arena _open_named(int fd, str path, str name, object limit):
    """Takes over fd if it answers an arena. None: the file was of no use, or is no more; try again."""
    cdef Arena arena = Arena.__new__(Arena)
    cdef int status
    cdef uint64_t size = _limit(limit)
    _fcntl.flock(fd, _fcntl.LOCK_EX)
    try:
        if not _is_at(fd, path):
            return None
        info = _os.fstat(fd)
        if info.st_uid != _os.geteuid():
            raise PermissionError(f"the arena {name!r} ({path}) belongs to another user")
        if info.st_size == 0:
            status = ip_arena_create(&arena.c, fd, size)
            if status:
                _os.unlink(path)
                raise _error(status, None, f"creating the arena {name!r} of {size:,} bytes")
        elif not any(_os.pread(fd, 8, 0)):      # who was to make it died half-way
            _os.unlink(path)
            return None
        else:
            status = ip_arena_attach(&arena.c, fd)
            if status == IP_CORRUPT:
                raise _errors.ArenaCorrupted(
                    f"the file of the named arena {name!r} is not an arena, or damaged; remove {path} if nobody uses it")
            if status:
                raise _error(status, None, f"opening the arena {name!r}")
            if not ip_member_others(&arena.c):      # all who used it were killed
                _os.unlink(path)
                arena.c.fd = -1                 # the caller closes it
                ip_arena_detach(&arena.c)
                return None
            status = ip_member_join(&arena.c)
            if status:
                arena.c.fd = -1
                ip_arena_detach(&arena.c)
                raise _error(status, None, f"joining the arena {name!r}")
        arena.path = path
        arena.name = name
        return arena
    finally:
        _fcntl.flock(fd, _fcntl.LOCK_UN)


cdef int _sweep(str mine) except -1:
    """Removes the files of other named arenas whose members were all killed: nobody may come for their names again."""
    cdef Arena arena
    folder = _os.path.dirname(mine)
    for name in _os.listdir(folder):
        path = _os.path.join(folder, name)
        if path == mine or not name.endswith(".arena"):
            continue
        arena = Arena.__new__(Arena)
        try:
            fd = _os.open(path, _os.O_RDWR | _os.O_CLOEXEC | _os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            _fcntl.flock(fd, _fcntl.LOCK_EX | _fcntl.LOCK_NB)   # else somebody is just opening or leaving it
            if _is_at(fd, path) and not any(_os.pread(fd, 8, 0)):      # who was to make it died half-way
                _os.unlink(path)
            elif _is_at(fd, path) and ip_arena_attach(&arena.c, fd) == IP_OK:
                if not ip_member_others(&arena.c):
                    _os.unlink(path)
                arena.c.fd = -1     # closed below
                ip_arena_detach(&arena.c)
        except OSError:
            pass
        finally:
            _os.close(fd)
    return 0


cdef bint _is_at(int fd, str path):
    """Is this the file that the path leads to?"""
    mine = _os.fstat(fd)
    try:
        there = _os.stat(path)
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)


def _find_arena(str uid, name):
    """Unpickles an arena in a process that is a member already, or can become one by name."""
    arena = _arenas.get(uid)
    if arena is not None:
        return arena
    if name is not None:
        arena = Arena.open(name)
        if arena.uid == uid:
            return arena
        raise _errors.ObjectFreed(f"the arena {name!r} that this handle belongs to is no more; another has its name")
    raise _errors.HandleError(
        f"this handle belongs to the arena {uid[:8]} of another tree of processes; pass it to a child as an argument, "
        "start the processes with interproc's Process (an executor: mp_context=interproc.get_context('spawn')), or use a name "
        "(Queue(name=...), Manager(name=...)) for unrelated processes")


def _arrive(str uid, name, duplicate, slot):
    """Unpickles an arena in a spawned child."""
    cdef Arena arena = _arenas.get(uid)
    if arena is not None:
        return arena
    arena = Arena.adopt(duplicate.detach(), slot)
    if name is not None:
        from interproc import settings
        arena.name = name
        arena.path = settings.arena_path(name)
    elif _default is None:
        Arena.set_default(arena)
    return arena
