"""Tests that tests use no waiting times, clocks or unseeded random numbers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from common import ROOT

CLOCKS = {"time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter"}
CLOCKS |= {"time.perf_counter_ns", "datetime.datetime.now", "datetime.date.today"}
SLEEPS = {"time.sleep", "asyncio.sleep", "threading.Timer"}
FRESH = {"os.urandom", "uuid.uuid1", "uuid.uuid4", "random.SystemRandom"}
SEEDED = {"random.Random", "numpy.random.default_rng", "numpy.random.SeedSequence", "numpy.random.RandomState"}
PLAIN = {"numpy.random.Generator", "numpy.random.PCG64", "numpy.random.Philox"}  # of a generator that is given

# What may do so nevertheless, by file and function, and why.
EXCEPTIONS = {
    ("common.py", "wait_until"): "the one loop that waits for a condition, and the bound that ends a hung test",
    ("fuzz/structured.py", "main"): "--fresh, by hand",
    ("faults/faults.py", "seconds_of"): "spreads kills over a run, each moment of which is right",
    ("supply/light_check.py", "main"): "reports the seconds of a run",
    ("supply/wheel_check.py", "main"): "reports the seconds of a run",
}


def findings(text: str) -> Iterator[tuple[str, str, int]]:
    """The function, the name and the line of each use of what is refused."""
    tree = ast.parse(text)
    modules: dict[str, str] = {}  # what names stand for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                root = name.name.partition(".")[0]
                modules[name.asname or root] = name.name if name.asname else root
        elif isinstance(node, ast.ImportFrom):
            modules |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}

    def full_name(node: ast.AST) -> str:
        if isinstance(node, ast.Attribute):
            return f"{full_name(node.value)}.{node.attr}"
        return modules.get(node.id, "") if isinstance(node, ast.Name) else ""

    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, function = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            function = node.name
        if isinstance(node, ast.Call):
            name = full_name(node.func)
            if is_refused(name, bool(node.args or node.keywords)):
                yield function, name, node.lineno
            elif isinstance(node.func, ast.Attribute) and node.func.attr == "wait_for_timeout":
                yield function, "wait_for_timeout", node.lineno
        waiting.extend((child, function) for child in ast.iter_child_nodes(node))


def is_refused(name: str, has_arguments: bool) -> bool:
    """Whether a call of a function is refused."""
    if name in SEEDED:
        return not has_arguments
    module = name.rpartition(".")[0]
    return name in CLOCKS | SLEEPS | FRESH or (module in ("random", "numpy.random", "secrets") and name not in PLAIN)


def test_no_test_depends_on_the_time_or_on_chance():
    uses_of: dict[tuple[str, str], list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        file = path.relative_to(ROOT / "tests").as_posix()
        for function, name, line in findings(path.read_text(encoding="utf-8")):
            uses_of.setdefault((file, function), []).append(f"tests/{file}:{line}: {name}")
    refused = [use for place, uses in uses_of.items() if place not in EXCEPTIONS for use in uses]
    assert refused == [], "wait with common.wait_until, bound work by counts, give a seed"
    assert EXCEPTIONS.keys() - uses_of.keys() == set(), "exceptions that nothing needs any more"


PLANTED = [
    "import time\ndef test(): time.sleep(1)",
    "from time import sleep as rest\nrest(1)",
    "import time as clock\nassert clock.monotonic() < 3",
    "import datetime\ndatetime.datetime.now()",
    "def test(page): page.wait_for_timeout(5)",
    "import random\nrandom.random()",
    "import random\nrandom.Random()",
    "from random import shuffle\nshuffle([1, 2])",
    "import numpy as np\nnp.random.default_rng()",
    "import numpy as np\nnp.random.seed(1)\nnp.random.rand(3)",
    "import secrets\nsecrets.randbelow(5)",
    "import os\nos.urandom(5)",
    "import uuid\nuuid.uuid4()",
]


def test_planted_uses_are_listed_and_seeded_ones_are_not():
    assert [text for text in PLANTED if not list(findings(text))] == []
    text = "import random, numpy as np\nrandom.Random(3).random()\nrng = np.random.default_rng([1, 2])\nrng.random()"
    assert list(findings(text)) == []
