"""The test kit: a bench for flows, and conformance suites for connectors.

    from headwater.testing import Bench

    with Bench(flow) as bench:
        bench.feed(readings, Reading(at=noon, celsius=4.0))
        bench.advance("1m")
        assert bench.read(means) == []

A plugin for pytest comes with it: the fixture `headwater_bench`, and failures that can be read.
"""

from __future__ import annotations

from headwater.connectors.conformance import check_sink, check_source, sample_rows
from headwater.edge.testing.bench import Bench, Deleted
from headwater.edge.testing.fed import Abort, End, Pause

__all__ = [
    "Abort",
    "Bench",
    "Deleted",
    "End",
    "Pause",
    "check_sink",
    "check_source",
    "sample_rows",
]
