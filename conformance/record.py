"""A plugin of pytest that records what became of every case: name, outcome, seconds, reason, between tabs."""

import os
import re

import _pytest.assertion.util
import pytest

# Cases that expect to be alone on the server.
ALONE = re.compile(r"list_buckets")
# Cases that are skipped without storage classes to move objects to. Others take each class for a parameter and get other names by them.
CLASSES = re.compile(r"^test_lifecycle_(?!cloud)\w*transition\w*$")

compare_plainly = _pytest.assertion.util.assertrepr_compare


def compare(*args, **named):
    """The comparison of two megabytes takes pytest minutes."""
    large = [value for value in [*args, *named.values()] if isinstance(value, (str, bytes, list)) and len(value) > 4096]
    return [f"large values differ: {[len(value) for value in large]}"] if large else compare_plainly(*args, **named)


_pytest.assertion.util.assertrepr_compare = compare


def pytest_collection_modifyitems(items):
    if os.environ.get("SUITE_ONLY"):
        with open(os.environ["SUITE_ONLY"]) as file:
            wanted = set(file.read().split("\n"))
        items[:] = [item for item in items if item.name in wanted]
    items[:] = [item for item in items if part(item.name) == os.environ["SUITE_PART"]]


def part(name):
    """The run that a case belongs to."""
    if CLASSES.search(name):
        return "classes"
    return "alone" if ALONE.search(name) else "together"


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(), "recorder")


class Recorder:
    def __init__(self):
        self.file = open(os.environ["SUITE_RECORD"], "a", buffering=1)
        self.wanted, self.written, self.open = set(), set(), {}

    def pytest_collection_finish(self, session):
        self.wanted |= {item.nodeid for item in session.items}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids):
        self.wanted |= set(ids)

    def pytest_runtest_logreport(self, report):
        case = self.open.setdefault(report.nodeid, {"outcome": "error", "reason": "", "seconds": 0.0})
        case["seconds"] += report.duration
        if report.when == "call":
            case["outcome"] = report.outcome
        if report.when == "setup" and report.skipped:
            case["outcome"] = "skipped"
        if not report.passed:
            case["reason"] = case["reason"] or f"{report.when}: {reason(report)}"
        # A bucket that cannot be cleaned up counts: the suite's own clean-up is part of the case.
        if report.when == "teardown":
            if report.failed and case["outcome"] == "passed":
                case["outcome"] = "error"
            self.write(report.nodeid, self.open.pop(report.nodeid))

    def pytest_sessionfinish(self):
        for nodeid, case in list(self.open.items()):
            self.write(nodeid, {**case, "outcome": "error", "reason": f"crashed {case['reason']}"})
        for nodeid in sorted(self.wanted - self.written):
            self.write(nodeid, {"outcome": "error", "reason": "not run", "seconds": 0.0})

    def write(self, nodeid, case):
        self.written.add(nodeid)
        print(nodeid.split("::")[-1], case["outcome"], f"{case['seconds']:.2f}", case["reason"], sep="\t", file=self.file)


def reason(report):
    try:
        text = report.longrepr.reprcrash.message
    except AttributeError:
        text = str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
    return " ".join(text.split())[:300]
