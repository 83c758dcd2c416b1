# SPDX-License-Identifier: BSD-3-Clause
"""Small things of every day: a file from another editor, a terminal that closes, one client too many."""

import json
import os
import signal

import vmq
from vmq_control import IN_MEMORY, QUIET_PORT

LAB_FOLDER = IN_MEMORY
ADAPTER = f"adapter add eth0 port {QUIET_PORT.format(0)}\n"
BYTE_ORDER_MARK = "\ufeff"
CLIENTS_MAX = 256


def test_a_file_may_begin_with_a_byte_order_mark(lab):
    vmqd = lab.vmqd(lab.netns("vmqd"), BYTE_ORDER_MARK + ADAPTER)
    assert [adapter["name"] for adapter in vmqd.ctl("adapter", "show")] == ["eth0"]


def test_it_may_only_begin_with_one(lab):
    vmqd = lab.vmqd(lab.netns("vmqd"), ADAPTER + BYTE_ORDER_MARK + "queue allocate eth0\n", wait=False)
    assert vmqd.wait() == 1 and "vmq.conf:2: unknown word" in vmqd.log()


def test_a_terminal_that_closes_does_not_end_it(lab):
    vmqd = lab.vmqd(lab.netns("vmqd"), ADAPTER)
    os.kill(vmqd.pid, signal.SIGHUP)
    assert vmqd.rpc.call("adapter.show")[0]["name"] == "eth0"
    assert vmqd.check()


def test_one_client_too_many_is_told(lab):
    vmqd = lab.vmqd(lab.netns("vmqd"), ADAPTER)
    others = [lab.rpc(vmqd) for _ in range(CLIENTS_MAX - 1)]
    vmq.wait_until(lambda: all(other.call("adapter.show") for other in others[-1:]), "the last client to be served")
    error = json.loads(lab.rpc(vmqd).line())["error"]
    assert str(CLIENTS_MAX) in error["message"]
    done = vmqd.vmqctl("adapter", "show")
    assert done.returncode == 1 and error["message"] in done.stderr
    others.pop().socket.close()
    vmq.wait_until(lambda: vmqd.vmqctl("adapter", "show").returncode == 0, "a place to be free")
