# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the flow tests. They need root (namespaces, raw sockets), no hugepage and no network card."""

import os
import signal
import sys

import pytest

FLOW = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [FLOW, os.path.join(os.path.dirname(FLOW), "guest")]

import vmq


def pytest_collection_modifyitems(items):
    if os.geteuid():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_configure():
    """Told to end, the tests still clean up."""
    signal.signal(signal.SIGTERM, lambda number, where: pytest.exit("told to end", 128 + number))


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())


@pytest.fixture
def lab(request):
    """A module may say in LAB_FOLDER where its files go."""
    with vmq.Lab(getattr(request.module, "LAB_FOLDER", None)) as lab:
        yield lab
        if getattr(getattr(request.node, "report_call", None), "failed", False):
            print(*lab.logs(), sep="\n")
