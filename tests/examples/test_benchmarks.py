"""Each benchmark runs, delivers what it measures, and says so; how fast it is fails nothing."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

ROWS = {
    "queue": {
        "tuples",
        "tuples_many",
        "tuples_lists",
        "bytes_1mib",
        "arrays_1mib",
        "views_1mib",
        "idle",
        "empty_bytes",
        "empty_threads",
        "empty_descriptors",
        "emptied_bytes",
        "emptied_threads",
        "emptied_descriptors",
    },
    "pipe": {"round_trip"},
    "value_array": {
        "add",
        "add_contended",
        "locked_add",
        "locked_add_contended",
        "value_read",
        "value_write",
        "list_from_array",
        "array_from_list",
        "numpy_read",
        "numpy_write",
        "view_read",
        "view_write",
    },
    "manager": {
        "get_16",
        "set_16",
        "add",
        "iterate",
        "get_1k",
        "set_1k",
        "get_100k",
        "set_100k",
        "get_one_dict",
        "set_one_dict",
        "add_one_dict",
        "get_four_dicts",
        "set_four_dicts",
        "append",
        "index",
        "iterate_list",
        "append_contended",
        "namespace_get",
        "namespace_set",
        "method",
        "get_million",
        "million_to_thousand",
        "thousand_of_million",
        "memory",
        "memory_left",
    },
    "csp": {
        "commstime_processes",
        "commstime_pycsp",
        "commstime_threads",
        "commstime_tasks",
        "ring_2",
        "ring_8",
        "ring_64",
        "communication",
        "select_1",
        "select_8",
        "select_64",
        "select_64_to_1",
        "start_1",
        "start_100",
        "start_1000",
        "stream",
        "ring_tasks",
        "ring_tasks_memory",
    },
}
BASELINES = {  # of the rows where it is not multiprocessing
    "commstime_pycsp": "pycsp",
    "commstime_threads": "queue.Queue",
    "commstime_tasks": "asyncio",
    "ring_tasks": "asyncio",
    "ring_tasks_memory": "asyncio",
}
MAY_BE_ZERO = {
    "empty_threads",
    "empty_descriptors",
    "emptied_threads",
    "emptied_descriptors",
    "idle",
    "memory_left",
    "ring_tasks_memory",
}


def start(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=110
    )


def measured(folder: Path, *command: str) -> dict[str, Any]:
    out = folder / "out.json"
    done = start(*command, "--quick", "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(out.read_text())
    return result


@pytest.mark.timeout(120)
@pytest.mark.parametrize("suite", ROWS)
def test_each_row_has_verified_figures(suite: str, tmp_path: Path) -> None:
    result = measured(tmp_path, "-m", f"benchmarks.{suite}")
    rows = {row["key"]: row for row in result["rows"]}
    assert set(rows) == ROWS[suite]
    assert "interproc" not in result["absent"], result["absent"]
    for key, row in rows.items():
        must = {"interproc", BASELINES.get(key, "multiprocessing")} - {"pycsp"}  # which may be absent
        assert must <= set(row["results"])
        for name, one in row["results"].items():
            where = f"{suite}: {key}: {name}: {one}"
            assert one["status"] in ("measured", "absent", "not offered"), where
            if one["status"] != "measured":
                assert name not in must, where
                assert one["reason"], where
                continue
            assert len(one["samples"]) == result["rounds"] == 1, where
            assert one["verified"] > 0, where
            for figure in one["samples"]:
                assert math.isfinite(figure), where
                assert figure > 0 or (figure == 0 and key in MAY_BE_ZERO), where


@pytest.mark.timeout(60)
@pytest.mark.parametrize("suite", ROWS)
def test_a_script_runs_as_a_file_from_its_own_folder(suite: str, tmp_path: Path) -> None:
    """Though that folder, with a queue.py in it, is then the first of sys.path."""
    row = {
        "queue": "tuples",
        "pipe": "round_trip",
        "value_array": "value_read",
        "manager": "get_16",
        "csp": "ring_2",
    }[suite]
    for method in ("fork", "spawn"):
        out = tmp_path / f"{method}.json"
        done = start(
            f"{suite}.py",
            "--quick",
            "--rows",
            row,
            "--adapters",
            "multiprocessing",
            "--method",
            method,
            "--json",
            str(out),
            cwd=ROOT / "benchmarks",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(out.read_text())["rows"][0]["results"]["multiprocessing"]["samples"][0] > 0


def test_the_folder_does_not_hide_the_librarys_queue() -> None:
    code = "import queue, multiprocessing.queues; assert queue.Queue().empty(); print(queue.__file__)"
    done = start("-c", code, cwd=ROOT / "benchmarks")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent != ROOT / "benchmarks"


def test_a_wrong_delivery_is_a_failure_and_not_a_figure() -> None:
    """A queue that loses an item, swaps two, or changes one: no figure for any of them, and exit status 1."""
    code = """
import sys
from benchmarks import harness
from benchmarks.adapters.base import Receiver
from benchmarks.adapters.multiprocessing_adapter import Multiprocessing
from benchmarks.rows import Row, Suite
from benchmarks.suites import queues

class Bad(Multiprocessing):
    def receiver(self, queue, payload):
        seen = []
        def get():
            seen.append(queue.get())
            if len(seen) == 7:
                if self.name == "loses":
                    return queue.get()
                if self.name == "swaps":
                    seen.append(queue.get())
                    return seen[-1]
                return (6, "hallo", None)
            if self.name == "swaps" and len(seen) == 9:
                return seen[6]
            return seen[-1]
        return Receiver(get, lambda n: [get()], queue.close)

bad = []
for name in ("loses", "swaps", "changes"):
    bad.append(Bad())
    bad[-1].name = name
suite = Suite("bad", "bad", (Row("tuples", "tuples", "msg/s", True, queues.tuples, adapters=tuple(bad)),))
chosen = harness.options("bad", ["--quick"])
result = harness.run(suite, chosen, print)
failed = harness.failures(result)
assert [line.split(":")[1].strip() for line in failed] == ["loses", "swaps", "changes"], failed
assert all("Misdelivered: item 6" in line for line in failed), failed
assert not any("samples" in one for one in result["rows"][0]["results"].values())
assert harness.main(suite, ["--quick"]) == 1
"""
    done = start("-c", code)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(60)
def test_a_dict_that_reads_or_counts_wrong_is_a_failure_and_not_a_figure() -> None:
    code = """
from benchmarks import harness
from benchmarks.adapters.manager_base import DictClient
from benchmarks.adapters.manager_proxies import MultiprocessingManager
from benchmarks.rows import Row, Suite
from benchmarks.suites import managers

class Client(DictClient):
    def get(self, keys):
        value = super().get(keys)
        return value[:-1] + b"?" if self.wrong == "reads" and keys[-1] == "key7" else value

    def add_safely(self, keys):
        super().add_safely(keys[1:] if self.wrong == "counts" else keys)

class Bad(MultiprocessingManager):
    def dict_client(self, made):
        client = Client(made[0], made[1])
        client.wrong = self.name
        return client

bad = []
for name in ("reads", "counts", "right"):
    bad.append(Bad())
    bad[-1].name = name
row = Row("add", "add", "ns", False, managers._contended_pass(1).row("add"), adapters=tuple(bad))
result = harness.run(Suite("bad", "bad", (row,)), harness.options("bad", ["--quick"]), print)
failed = harness.failures(result)
assert [line.split(":")[1].strip() for line in failed] == ["reads", "counts"], failed
assert "WrongResult: key7" in failed[0] and "WrongResult: the counters" in failed[1], failed
assert "samples" not in result["rows"][0]["results"]["reads"]
assert result["rows"][0]["results"]["right"]["samples"][0] > 0
"""
    done = start("-c", code)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(60)
def test_an_absent_peer_is_named(tmp_path: Path) -> None:
    """With faster-fifo made impossible to import, its column stays and says why."""
    out = tmp_path / "out.json"
    code = (
        "import sys; sys.modules['faster_fifo'] = None; sys.argv[0] = 'x';"
        "from benchmarks.harness import main; from benchmarks.suites.queues import SUITE;"
        f"sys.exit(main(SUITE, ['--quick', '--rows', 'tuples', '--json', {str(out)!r}]))"
    )
    done = start("-c", code)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert "faster_fifo cannot be imported" in result["absent"]["faster-fifo"]
    assert result["rows"][0]["results"]["faster-fifo"]["status"] == "absent"
    assert "faster-fifo was not measured" in done.stdout


@pytest.mark.timeout(60)
def test_ratios_and_verdicts_of_known_figures() -> None:
    """Paired by round; above 1 is better for both kinds of unit; a shortfall is named in per cent."""
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks import harness
        from benchmarks.adapters import Adapter
        from benchmarks.rows import Plan, Row, Sample, Target
    finally:
        sys.path.remove(str(ROOT))

    figures = {"multiprocessing": [10.0, 20.0, 10.0], "interproc": [2.0, 5.0, 1.0], "pyzmq": [1.0, 4.0, 4.0]}

    def unmeasured(adapter: Adapter, plan: Plan) -> Sample:
        raise AssertionError("nothing is measured here")

    def verdict(higher: bool, target: Target) -> tuple[Any, dict[str, Any]]:
        row = Row("key", "work", "u", higher, unmeasured, target)
        results: dict[str, dict[str, Any]] = {
            name: {"status": "measured", "samples": samples} for name, samples in figures.items()
        }
        harness._summarise(row, results)
        return harness._verdict(row, results), results

    decided, results = verdict(False, Target("", ratio=5))
    assert results["interproc"]["ratio"] == {"median": 5, "min": 4, "max": 10, "q1": 4.5, "q3": 7.5}
    assert results["interproc"]["median"] == 2
    assert decided == {"reached": True, "text": "reached"}
    decided, _ = verdict(False, Target("", ratio=10))
    assert decided["reached"] is False and "5.00x of 10x, 50 % short" in decided["text"]
    decided, results = verdict(True, Target("", ratio=0.1))
    assert results["interproc"]["ratio"]["median"] == 0.2 and decided["reached"] is True
    decided, _ = verdict(False, Target("", ahead_of=("pyzmq",)))
    assert decided["reached"] is False and "behind pyzmq: 0.80x" in decided["text"]
    decided, _ = verdict(False, Target("", value=1.5))
    assert decided["reached"] is False and "2 u, 0.5 more than the limit" in decided["text"]
    decided, _ = verdict(False, Target("", ratio=5, ahead_of=("faster-fifo",)))
    assert decided["reached"] is None and "faster-fifo was not measured" in decided["text"]


@pytest.mark.timeout(120)
def test_the_report_has_every_row_and_a_chart_each(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the charts need it; it comes with the extra 'bench'")
    done = start("-m", "benchmarks.report", "--quick", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "RESULTS.md").read_text()
    results = json.loads((tmp_path / "results.json").read_text())
    for result in results:
        for row in result["rows"]:
            assert f"| {row['work']} |" in text
        chart = xml.etree.ElementTree.parse(tmp_path / f"{result['suite']}.svg")
        assert chart.getroot().tag.endswith("svg")
        assert f"({result['suite']}.svg)" in text
    assert "--quick" in text
    assert str(tmp_path) not in text
