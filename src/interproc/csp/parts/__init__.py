"""A library of parts: small processes to plug together, each named by what it does.

    from interproc.csp import Channel, Parallel, parts

    words, shouted = Channel[str](), Channel[str]()
    *_, result = Parallel(
        parts.source(["to", "be"], words.writer()),
        parts.map(str.upper, words.reader(), shouted.writer()),
        parts.collect(shouted.reader()),
    )                                                   # ["TO", "BE"]

What a part needs to know comes first, then where it reads, then where it writes. Called, it is a description
that Parallel, Sequence and Spawn run: an OS process, or `parts.map(...).with_kind("thread")`, or "task". A
part ends when what it reads from has retired and all of it is passed on, or when nobody is left to read what
it writes; then it retires its own ends, so that a network of parts ends by itself. Poison passes through all
of them.

| one in, one out | several | the ends of a network |
| --- | --- | --- |
| identity, successor, map, filter, prefix, tail, buffer, rate_limit | delta, broadcast, fan_out, fan_in, zip,
merge | source, timer, collect, sink |

Some are called as built-ins are: use them as `parts.map`, `parts.zip`, not by `import *`. The names are those
of the CSP literature (Welch's "plug and play" processes, and PyCSP's plugNplay).
"""

from __future__ import annotations

from .junctions import broadcast, delta, fan_in, fan_out, merge, zip
from .sources import collect, sink, source, timer
from .streams import buffer, filter, identity, map, prefix, rate_limit, successor, tail

__all__ = [
    "broadcast",
    "buffer",
    "collect",
    "delta",
    "fan_in",
    "fan_out",
    "filter",
    "identity",
    "map",
    "merge",
    "prefix",
    "rate_limit",
    "sink",
    "source",
    "successor",
    "tail",
    "timer",
    "zip",
]
