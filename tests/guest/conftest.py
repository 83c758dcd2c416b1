# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the guest tests. They need root and QEMU, no KVM; the guest image is made on first use."""

import os
import signal

import pytest


def pytest_configure():
    """Told to end, the tests still clean up."""
    signal.signal(signal.SIGTERM, lambda number, where: pytest.exit("told to end", 128 + number))


def pytest_collection_modifyitems(items):
    if os.geteuid():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root"))
