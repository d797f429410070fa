# attempt.pxi: a communication, or a choice among several, until it is decided: looking, offering, waiting (core/choice.h).
#
# What is offered stays as it was encoded until the attempt ends. While offers are out the party is the attempt's, and nothing here is
# left before they have been settled or taken back.

cdef enum:
    SETTLED, TRY_AGAIN, OVER    # what ends a wait: it is decided; withdraw, then look again; withdraw, and that is all


cdef class _Attempt:
    """One choice, from its first look until it is decided."""
    cdef Arena arena
    cdef Party party
    cdef object guards          # a list or a tuple, of End or Enrolment
    cdef list messages          # _Message, None where nothing is written; or None
    cdef ip_guard *c            # the guards, as the core sees them
    cdef ip_guard only          # room for one
    cdef unsigned n, first
    cdef unsigned buffered      # how many of them are of buffered channels
    cdef ip_choice choice
    cdef uint64_t deadline
    cdef uint64_t forks
    cdef object stall           # the event loop that it holds up, if its thread runs one; asked for once: asked
    cdef bint asked
    cdef object probe           # what else it waits for: a callable, true if there is something
    cdef bint probed
    cdef bint out               # offers are out
    cdef bint offered           # or were
    cdef bint lingers           # it has waited for a whole slice
    cdef bint syncs             # there are enrolments among the guards: marked as waiting
    cdef unsigned chosen
    cdef object value

    def __dealloc__(self):
        if self.c != &self.only:
            free(self.c)

    cdef int _set(self, unsigned i, object guard, _Message message) except -1:
        cdef End end
        cdef Enrolment enrolment
        cdef ip_guard *c = &self.c[i]
        cdef Handle handle = guard
        memset(c, 0, sizeof(ip_guard))
        if self.arena is None:
            self.arena = handle.arena
        elif self.arena is not handle.arena:
            raise ValueError(f"{handle!r} is in another arena than {self.guards[0]!r}: one choice is among the channels of one arena")
        c.object = handle.object
        c.id = handle.c_id
        if isinstance(guard, End):
            end = guard
            c.side = end.c_end
            self.buffered += end.capacity != 0
            if message is not None and not end.capacity:
                c.message = &message.c
        else:
            enrolment = guard
            c.side = IP_SYNCS
            c.enrolment = enrolment.c_end & ~IP_ENROLMENT
            self.syncs = True
        return 0

    cdef int _mark(self) except -1:
        """An enrolment is for one wait at a time, as it counts for one who waits."""
        cdef Enrolment enrolment
        cdef unsigned i
        for i in range(self.n):
            if self.c[i].side != IP_SYNCS:
                continue
            enrolment = self.guards[i]
            if enrolment.waits:
                self._unmark(i)
                raise _errors.HandleError(f"{enrolment!r} waits there already, in another thread or guard; enrol once for each")
            enrolment.waits = True
        return 0

    cdef int _unmark(self, unsigned n) except -1:
        cdef unsigned i
        for i in range(n):
            if self.c[i].side == IP_SYNCS:
                (<Enrolment>self.guards[i]).waits = False
        return 0

    # ---- looking

    cdef int _try(self, unsigned start, unsigned n, unsigned first, bint offer) except -1:
        """One look at guards that the core decides on."""
        cdef _Scratch scratch = _borrow_scratch()
        try:
            return self._try_with(scratch, start, n, first, offer)
        finally:
            _return_scratch(scratch)

    cdef int _try_with(self, _Scratch scratch, unsigned start, unsigned n, unsigned first, bint offer) except -1:
        cdef ip_patience patience = IP_NOW
        cdef uint64_t until = 0, owner, seen = 0
        cdef cbool ready, slept = False
        cdef int status
        while True:
            status = ip_choice_try(&self.arena.c, self.party.party, self.party.c_id, self.c + start, n, first, offer, patience,
                                   scratch.data, &self.choice)
            if status == IP_DIED:
                with nogil:
                    status = ip_member_bury_if_dead(&self.arena.c, self.choice.dead)
                if status == IP_OK:
                    continue
            if status != IP_BUSY:
                break
            # That others have the lock, one after the other, is no reason to give up; that one has it for long (it was stopped) is.
            owner = self.arena.c.header.lock.owner
            if until == 0 or owner != seen:
                until = ip_now_ns() + BUSY_PATIENCE
            seen = owner
            with nogil:
                ready = ip_lock_wait(&self.arena.c.header.lock, max_u64(self.deadline, until), &slept)
            patience = IP_NOW if ready else IP_INHERIT
            PyErr_CheckSignals()
            if self.deadline != UINT64_MAX and not ready and ip_now_ns() >= max_u64(self.deadline, until):
                return IP_AGAIN
        if status == IP_AGAIN and offer:
            self.out = self.offered = True
        return self._take_in(status, start)

    cdef int _try_ring(self, unsigned i) except -1:
        cdef End end = self.guards[i]
        cdef _Message message
        cdef int status = IP_AGAIN
        if end.c_end == IP_READS:
            self.value = end._get(&status)
        else:
            message = self.messages[i]
            status = end._put(&message.c)
            if status == IP_OK:
                message._settle(True)
        self.chosen = i
        return status

    cdef int _look(self, bint offer) except -1:
        """Tries all: IP_OK, IP_POISONED, IP_RETIRED of `chosen`; IP_AGAIN: with `offer`, offers are out (or time was over)."""
        cdef unsigned at = self.first, left = self.n, run
        cdef int status
        if self._take_kept():
            return IP_OK
        if self.buffered == 0:
            return self._try(0, self.n, self.first, offer)
        while left:
            run = 0
            while run < left and at + run < self.n and not self._is_buffered(at + run):
                run += 1
            status = self._try(at, run, 0, False) if run else self._try_ring(at)
            if status != IP_AGAIN:
                return status
            run = run if run else 1
            left -= run
            at += run
            if at == self.n:
                at = 0
        return self._try(0, self.n, self.first, True) if offer else IP_AGAIN

    cdef bint _take_kept(self) except -1:
        """A value that has come to one of them already, for one who was interrupted."""
        cdef unsigned i, at
        for i in range(self.n):
            at = (self.first + i) % self.n
            if self.c[at].side == IP_READS and (<End>self.guards[at]).kept:
                self.chosen = at
                self.value = (<End>self.guards[at]).kept.pop(0)
                return True
        return False

    cdef inline bint _is_buffered(self, unsigned i):
        return self.c[i].side != IP_SYNCS and (<End>self.guards[i]).capacity != 0

    cdef bint _any_ready(self) except -1:
        """Could one of the buffered guards go on, has a channel ended, or was a value put back?"""
        cdef End end
        cdef unsigned i
        for i in range(self.n):
            if self.c[i].side != IP_SYNCS:
                end = self.guards[i]
                if end.kept or ip_channel_ready(end.object, end.channel, self.c[i].side):
                    return True
        return False

    cdef bint _any_ended(self) except -1:
        """Has this process ended one of its ends meanwhile?"""
        cdef unsigned i
        for i in range(self.n):
            if self.c[i].side != IP_SYNCS and (<End>self.guards[i]).ended is not None:
                return True
        return False

    cdef int _check_ended(self) except -1:
        cdef End end
        cdef unsigned i
        for i in range(self.n):
            if self.c[i].side != IP_SYNCS:
                end = self.guards[i]
                if end.ended is not None:
                    raise end._over()
        return 0

    # ---- what a call of the core has brought

    cdef int _take_in(self, int status, unsigned start) except -1:
        cdef unsigned i = start + self.choice.guard
        if status == IP_AGAIN:
            return status
        if status == IP_OK or status == IP_POISONED or status == IP_RETIRED:
            self.chosen = i
            if status == IP_OK and self.c[i].side == IP_READS:
                self.value = (<End>self.guards[i])._receive(&self.choice)
                return status
            if status == IP_OK and self.choice.delivered and self.messages is not None and self.messages[i] is not None:
                (<_Message>self.messages[i]).c.block = 0
                (<_Message>self.messages[i])._settle(True)
            _wake(self.choice.woken)
            return status
        if status == IP_STUCK:
            self.value = self._text()
            return status
        if status == IP_FREED and i < self.n and self.c[i].side == IP_SYNCS:
            raise (<Enrolment>self.guards[i])._failed(status, "waiting as")
        if status == IP_FREED:
            self._check_ended()     # another thread has retired the last end of its side
        raise _error(status, self.arena, f"communicating at {self._whom()}")

    cdef str _text(self):
        """Of the description of a deadlock."""
        cdef ip_incoming *message = &self.choice.incoming
        cdef unsigned char *data = message.data
        cdef int status
        if not message.block:
            return PyBytes_FromStringAndSize(<char *>data, <Py_ssize_t>message.size).decode("utf-8", "replace")
        status = ip_block_verify(&self.arena.c, message)
        if status:
            raise _error(status, self.arena, "reading the description of a deadlock")
        raw = PyBytes_FromStringAndSize(<char *>ip_at(&self.arena.c, message.block), <Py_ssize_t>message.size)
        ip_block_drop(&self.arena.c, message.block)
        return raw.decode("utf-8", "replace")

    cdef int _settle(self) except -1:
        """IP_BUSY: the offers are still out."""
        cdef _Scratch scratch = _borrow_scratch()
        try:
            return self._settle_with(scratch)
        finally:
            _return_scratch(scratch)

    cdef int _settle_with(self, _Scratch scratch) except -1:
        cdef cbool ready, slept = False
        cdef ip_patience patience = IP_NOW
        cdef unsigned guard
        cdef int status, phase
        while True:
            self.choice.woken = 0
            status = ip_choice_settle(&self.arena.c, self.party.party, self.c, self.n, patience, scratch.data,
                                      &self.choice)
            if status != IP_BUSY:
                self.out = False
                return self._take_in(status, 0)
            if ip_party_state(self.party.party, &phase, &guard) == IP_OK and phase == IP_PARTY_WAITING:
                return IP_BUSY
            with nogil:
                ready = ip_lock_wait(&self.arena.c.header.lock, UINT64_MAX, &slept)
            patience = IP_NOW if ready else IP_INHERIT

    cdef int _withdraw(self) except -1:
        """IP_AGAIN: the offers are in again. Else it was too late: as _settle()."""
        cdef _Scratch scratch = _borrow_scratch()
        try:
            return self._withdraw_with(scratch)
        finally:
            _return_scratch(scratch)

    cdef int _withdraw_with(self, _Scratch scratch) except -1:
        cdef cbool ready, slept = False
        cdef ip_patience patience = IP_NOW
        cdef int status
        while True:
            self.choice.woken = 0
            status = ip_choice_withdraw(&self.arena.c, self.party.party, self.c, self.n, patience, scratch.data,
                                        &self.choice)
            if status != IP_BUSY:
                self.out = False
                return self._take_in(status, 0)
            with nogil:     # not to be interrupted: offers that stay out could be accepted
                ready = ip_lock_wait(&self.arena.c.header.lock, UINT64_MAX, &slept)
            patience = IP_NOW if ready else IP_INHERIT

    # ---- the whole of it

    cdef int _begin(self, Party party) except -1:
        if self.syncs:
            self._mark()
        self.party = party
        self.arena = party.arena
        self.deadline = UINT64_MAX if self.deadline == 0 else self.deadline
        self.forks = _forks
        party.attempt = self
        return 0

    cdef int _end(self) except -1:
        """It is decided: the party is free again, and whoever may wait for what this one has not taken looks."""
        cdef End end
        cdef _Message message
        cdef unsigned i
        for message in self.messages or ():
            if message is not None:
                message._settle(False)
        self.party.attempt = None
        self.asked = False
        if self.stall is not None:
            self.stall = None
            self.party.scope = None     # the next wait may be another task's
            ip_set(&self.party.party.stalls, 0)
        if self.party.is_inner:
            self.party._set_mode(IP_LOOP)
        self.party = None
        if self.syncs:
            self._unmark(self.n)
        if not self.offered or not self.buffered or self.forks != _forks:
            return 0
        for i in range(self.n):
            if self._is_buffered(i):
                end = self.guards[i]
                if ip_channel_awaited(end.channel, self.c[i].side) and ip_channel_ready(end.object, end.channel, self.c[i].side):
                    end._poke(self.c[i].side)
        return 0

    cdef int _offer(self, bint wait) except -1:
        """For a task: looks, and leaves offers. IP_AGAIN: they are out."""
        cdef int status
        if wait:
            self.party._prepare(self.party.wish)
        while True:
            self._check_ended()
            status = self._look(wait)
            if status != IP_AGAIN or not self.out or not self.buffered or not self._any_ready():
                return status
            status = self._withdraw()
            if status != IP_AGAIN:
                return status

    cdef int _run(self, uint64_t deadline) except -1:
        """For a thread: waits until it is decided; IP_AGAIN: time is over, or the probe was true."""
        cdef Party party = _party_of(self.arena)
        if deadline != 1:
            party._prepare((0 if deadline == UINT64_MAX else IP_TIMED) | (0 if self.probe is None else IP_OUTSIDE))
        return self._run_as(party, deadline)

    cdef int _run_as(self, Party party, uint64_t deadline) except -1:
        """The same; the party is prepared, and its offers may be out."""
        cdef int status = IP_AGAIN, what
        self.deadline = deadline
        self._begin(party)
        try:
            while True:
                if not self.out:
                    self._check_ended()
                    status = self._look(deadline != 1)
                while self.out:
                    try:
                        what = self._wait()
                    except BaseException:
                        self._interrupted()
                        raise
                    status = self._settle() if what == SETTLED else self._withdraw()
                    if status == IP_AGAIN and what == OVER:
                        return status
                    if status == IP_AGAIN:
                        break       # poked
                else:
                    return status
                if status != IP_AGAIN:
                    return status
        finally:
            self._end()

    cdef int _wait(self) except -1:
        """Offers are out."""
        cdef cbool done, slept = False
        if self.buffered and self._any_ready():
            return TRY_AGAIN
        if self.probe is not None:
            self._find_stall()
            if self.probe():
                self.probed = True
                return OVER
        while True:
            with nogil:
                done = ip_party_wait(self.party.party, self.deadline, &slept)
            if done:
                return SETTLED
            self._find_stall()
            self._bury_dead()
            PyErr_CheckSignals()
            if self.stall is not None and self.stall.interrupted():
                raise KeyboardInterrupt
            if self.forks != _forks:
                raise _errors.HandleError(f"this process was forked within a wait at {self._whom()}, which its parent goes on with")
            if self.deadline != UINT64_MAX and ip_now_ns() >= self.deadline:
                return OVER
            if self._any_ended() or self._any_ready():
                return TRY_AGAIN
            self._linger()

    cdef int _find_stall(self) except -1:
        """Before signals are handled, and not for waits that end at once."""
        if not self.asked and _staller is not None:
            self.asked = True
            self.stall = _staller(self.arena)
        return 0

    cdef int _bury_dead(self) except -1:
        """Has the process died that could end this wait? Then it is buried, which poisons its channels. So is any other, now and then."""
        cdef uint64_t now
        cdef uint32_t dead
        cdef unsigned i
        with nogil:
            now = ip_now_ns()
            for i in range(self.n):
                ip_object_watch_holders(&self.arena.c, self.c[i].object, 0 if self.c[i].side == IP_SYNCS else 1 - self.c[i].side, now)
            if ip_member_look(&self.arena.c, ip_ticks(), &dead) == IP_DIED:
                ip_member_bury_if_dead(&self.arena.c, dead)
        return 0

    cdef int _linger(self) except -1:
        """The wait takes long: what others want to know of it then, and whether it can end at all."""
        if not self.lingers:
            self.lingers = True
            self.party._note(_where_from())
            if self.stall is not None:
                self._hold_up()
            if _introducer is not None:
                _introducer(self.party)
        self.party._set_mode((0 if self.deadline == UINT64_MAX else IP_TIMED) | (0 if self.probe is None else IP_OUTSIDE) |
                             (0 if self.stall is None else IP_STALLS) | (IP_CROWD if _crowd(self.arena) else 0))
        return _look_for_deadlock(self.arena)

    cdef int _hold_up(self) except -1:
        """It is a task's wait, though its thread's: none of the tasks acts until it ends."""
        cdef Party bell = self.stall.hold_up()
        self.party.scope = None
        if bell is not None and not bell.closed and bell.arena is self.arena:
            ip_set(&self.party.party.stalls, ip_party_name(bell.c_id))
        return 0

    cdef int _interrupted(self) except -1:
        """An exception ends the wait. Should a value have come already, the next receive gives it."""
        cdef int status = IP_AGAIN
        if self.forks != _forks:
            self.out = False
            return 0
        try:
            status = self._withdraw()
        except _errors.UnpicklingError:
            pass
        if status == IP_OK and self.c[self.chosen].side == IP_READS:
            (<End>self.guards[self.chosen])._put_back(self.value)
        return 0

    # ---- its end

    cdef object _result(self, int status, object timeout):
        if status == IP_OK:
            return self.chosen, self.value
        raise self._failure(status, timeout)

    cdef str _whom(self):
        return _whom(self.guards)

    cdef object _failure(self, int status, object timeout):
        if status == IP_POISONED or status == IP_RETIRED:
            return (<End>self.guards[self.chosen])._told(status)
        if status == IP_STUCK:
            return _errors.Deadlock(self.value, self.guards[0] if self.n == 1 else None)
        return too_late(self.guards, timeout)


# ---- in words


cdef str _whom(object guards):
    shown = [(<End>guard)._who() if isinstance(guard, End) else (guard.label or guard.id) for guard in guards[:3]]
    return ", ".join(shown) + (", ..." if len(guards) > 3 else "")


def too_late(guards, timeout):
    """The exception for a wait at these that took longer than `timeout` seconds."""
    cdef object end = guards[0] if len(guards) == 1 else None
    whom = _whom(guards)
    if end is None:
        text = f"none of {len(guards)} communications ({whom}) took place within {timeout} s"
    elif isinstance(end, Enrolment):
        text = f"not all who are enrolled at {whom} came within {timeout} s"
    elif (<End>end).c_end == IP_READS:
        text = f"nobody sent to {whom} within {timeout} s"
    elif (<End>end).capacity:
        text = f"the buffer of {whom} was full for {timeout} s"
    else:
        text = f"nobody received from {whom} within {timeout} s"
    return _errors.ChannelTimeout(text, end)
