"""Random networks: who has which ends, what each does with them, and whether what it tells afterwards can be.

A network is made from a seed. Each of its players sends numbered values to, and receives from, what channels
it has, in random order and in random ways: alone, in selects with guards of both sides, with time limits that
withdraw. It never waits without a limit but in a select with all that it has, so no network is a deadlock.
"""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import interproc
from interproc.csp import (
    Channel,
    ChannelPoison,
    ChannelRetire,
    Received,
    Sent,
    after,
    aselect,
    process,
    select,
    skip,
)

from .victims import LIMIT

KINDS = ("process", "thread", "task")
Value = tuple[int, int, bytes]  # who has sent it, its number among those of that one on that channel, padding
SIZES = (0, 0, 0, 0, 200, 5000)  # of the padding: inline, in a parcel's scratch, in a block


@dataclass
class Told:
    """What a player tells: the numbers that it has sent, and the values that it has received, by channel."""

    who: int
    sent: dict[int, list[int]] = field(default_factory=dict)
    got: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    poisoned: bool = False


class Player:
    """What one does, as steps that a thread or a task makes for it.

    Attributes:
        outs, inps: its ends, by the number of their channel, as long as they are of use.
        noted: a shared number for each channel and side, of a player that may be killed: what it has done.
    """

    def __init__(
        self,
        who: int,
        outs: dict[int, Any],
        inps: dict[int, Any],
        quota: int,
        seed: int,
        noted: Any = None,
        poisons: bool = False,
    ) -> None:
        self.told = Told(who, {n: [] for n in outs}, {n: [] for n in inps})
        self.outs, self.inps = dict(outs), dict(inps)
        self.quota = quota
        self.dice = random.Random(seed)
        self.noted = noted
        self.poisons = poisons

    def steps(self) -> Iterator[tuple[list[Any], float | None, bool]]:
        """Guards to choose among, a time limit, and whether to do so by a select."""
        dice = self.dice
        while self.outs or self.inps:
            for n in [n for n in self.outs if len(self.told.sent[n]) >= self.quota]:
                self.outs.pop(n).retire()
            patient = dice.random() < 0.3
            ends = [(n, end) for n, end in self.outs.items() if patient or dice.random() < 0.7]
            guards: list[Any] = [(end, self.value(n)) for n, end in ends]
            guards += [end for end in self.inps.values() if patient or dice.random() < 0.7]
            dice.shuffle(guards)
            limit = None if patient else dice.choice((0, 0, 0.0005, 0.003))
            if not guards:
                continue
            if dice.random() < 0.3 and limit is not None:
                yield guards[:1], limit, False
            else:
                yield guards, limit, True

    def value(self, n: int) -> Value:
        return self.told.who, len(self.told.sent[n]), bytes(self.dice.choice(SIZES))

    def sent(self, end: Any) -> None:
        n = self.number(self.outs, end)
        self.told.sent[n].append(len(self.told.sent[n]))
        if self.noted is not None:
            self.noted[2 * n] += 1

    def received(self, end: Any, value: Value) -> None:
        n = self.number(self.inps, end)
        self.told.got[n].append(value[:2])
        if self.noted is not None:
            self.noted[2 * n + 1] += 1
        if self.poisons and len(self.told.got[n]) == self.quota // 3:
            self.inps.pop(n).poison()
            self.told.poisoned = True

    def ended(self, error: ChannelPoison | ChannelRetire) -> None:
        """An end is of no more use."""
        self.told.poisoned = self.told.poisoned or isinstance(error, ChannelPoison)
        for ends in (self.outs, self.inps):
            with contextlib.suppress(KeyError):
                ends.pop(self.number(ends, error.end))

    def number(self, ends: dict[int, Any], end: Any) -> int:
        for n, other in ends.items():
            if other is end:
                return n
        raise KeyError(end)


@process
def plays(*args: Any) -> Told:
    signal.alarm(LIMIT) if args[-1] else None
    player = Player(*args[:-1])
    for guards, limit, choosing in player.steps():
        try:
            if choosing:
                chosen = select(*guards, *limits(player, limit))
                if isinstance(chosen, Received):
                    player.received(chosen.guard, chosen.value)
                elif isinstance(chosen, Sent):
                    player.sent(chosen.guard)
            elif isinstance(guards[0], tuple):
                guards[0][0].send(guards[0][1], limit)
                player.sent(guards[0][0])
            else:
                player.received(guards[0], guards[0].recv(limit))
        except TimeoutError:
            pass
        except (ChannelPoison, ChannelRetire) as error:
            player.ended(error)
    return player.told


@process
async def aplays(*args: Any) -> Told:
    player = Player(*args[:-1])
    for guards, limit, choosing in player.steps():
        try:
            if choosing:
                chosen = await aselect(*guards, *limits(player, limit))
                if isinstance(chosen, Received):
                    player.received(chosen.guard, chosen.value)
                elif isinstance(chosen, Sent):
                    player.sent(chosen.guard)
            elif isinstance(guards[0], tuple):
                await guards[0][0].asend(guards[0][1], limit)
                player.sent(guards[0][0])
            else:
                player.received(guards[0], await guards[0].arecv(limit))
        except TimeoutError:
            pass
        except (ChannelPoison, ChannelRetire) as error:
            player.ended(error)
    return player.told


def limits(player: Player, limit: float | None) -> list[Any]:
    if limit is None:
        return []
    return [skip() if limit == 0 and player.dice.random() < 0.5 else after(limit)]


PLAYS = {"process": plays, "thread": plays.with_kind("thread"), "task": aplays}


class Network:
    """The channels of a network, and the descriptions of its players.

    Attributes:
        buffers: of each channel.
        victim: the number of the player that is to be killed, or -1.
        noted: what that one has done: for each channel how many it has sent, and received.
    """

    def __init__(self, seed: int, *, victim: bool = False, poison: bool = False, quota: int = 40) -> None:
        dice = random.Random(seed)
        n_channels, n_players = dice.randint(2, 6), dice.randint(3, 7)
        self.buffers = [dice.choice((0, 0, 0, 1, 4)) for _ in range(n_channels)]
        self.channels = [Channel[Value](f"c{n}", buffer) for n, buffer in enumerate(self.buffers)]
        self.victim = dice.randrange(n_players) if victim else -1
        self.noted = interproc.RawArray("q", 2 * n_channels)
        poisoner = dice.randrange(n_players) if poison else -1
        outs: list[dict[int, Any]] = [{} for _ in range(n_players)]
        inps: list[dict[int, Any]] = [{} for _ in range(n_players)]
        for n, channel in enumerate(self.channels):
            at = dice.sample(range(n_players), n_players)  # nobody has both sides of a channel
            n_writers = dice.randint(1, min(3, n_players - 1))
            for who in at[:n_writers]:
                outs[who][n] = channel.writer()
            for who in at[n_writers : n_writers + dice.randint(1, 3)]:
                inps[who][n] = channel.reader()
        self.readers = [{who for who in range(n_players) if n in inps[who]} for n in range(n_channels)]
        self.writers = [{who for who in range(n_players) if n in outs[who]} for n in range(n_channels)]
        self.players = []
        for who in range(n_players):
            kind = "process" if who == self.victim else dice.choice(KINDS)
            noted = self.noted if who == self.victim else None
            args = who, outs[who], inps[who], quota, dice.random(), noted, who == poisoner, kind == "process"
            self.players.append(PLAYS[kind](*args).with_name(f"{who}"))

    def check(self, told: Iterable[Told]) -> None:
        """Each value has come once, and each that was sent; but for those that poison has kept in a buffer.

        Of the victim there are its numbers, when it was killed.
        """
        told = list(told)
        dead = self.victim if all(one.who != self.victim for one in told) else -1
        for n, buffer in enumerate(self.buffers):
            sent = {(one.who, number) for one in told for number in one.sent.get(n, ())}
            got = [value for one in told for value in one.got.get(n, ())]
            assert len(set(got)) == len(got), f"channel {n}: a value came twice"
            strange = {value for value in got if value not in sent and value[0] != dead}
            assert not strange, f"channel {n}: nobody is said to have sent {strange}"
            for one in told:
                for writer in self.writers[n]:
                    numbers = [number for who, number in one.got.get(n, ()) if who == writer]
                    assert numbers == sorted(numbers), f"channel {n}: out of order"
            info = self.channels[n].info()
            lost = sent - set(got)
            if not (buffer and info.poisoned):
                reads = dead in self.readers[n]
                taken = self.noted[2 * n + 1] if reads else 0
                assert taken <= len(lost) <= taken + reads, f"channel {n}: {lost}; the dead took {taken}"
                assert info.passed == len(got) + len(lost)
            if dead in self.writers[n]:
                numbers = sorted(number for who, number in got if who == dead)
                first = self.noted[2 * n]
                assert not numbers or numbers[-1] <= first, f"channel {n}: it had sent only {first}"
                if not buffer:
                    assert len(numbers) in (first, first + 1), f"channel {n}: {numbers} of {first}"
