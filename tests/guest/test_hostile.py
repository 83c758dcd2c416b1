# SPDX-License-Identifier: BSD-3-Clause
"""
A guest that attacks harms itself and nobody else: vmqd lives and answers, the VM beside it loses nothing, another VM
can come and go meanwhile, and once the attacker has left, a guest that behaves can have its place.
"""

import time

import pytest
from arena import MACS, Arena, attacks

import vmq

FRAMES = 60
ROUNDS = 2
VISIT_FRAMES = 20
LOG_LINES_PER_SECOND = 1


class Arenas:
    """One arena for all attacks. After an attack that succeeds there is a new one, so that one costs one test."""

    def __init__(self, lookahead):
        self.lookahead = lookahead
        self.lab = self.arena = None

    def open(self):
        if not self.arena:
            self.lab = vmq.Lab()
            try:
                self.arena = Arena(self.lab, lookahead=self.lookahead)
            except BaseException:
                self.lab.close()
                raise
        return self.arena

    def give_up(self):
        lab, self.lab, self.arena = self.lab, None, None
        if lab:
            print(*lab.logs(), sep="\n")
            for part in lab.parts:
                if isinstance(part, vmq.Process):
                    part.kill()
            lab.parts = [part for part in lab.parts if not isinstance(part, vmq.Process)]
            lab.close()

    def close(self):
        """vmqd ends as told, without a report."""
        if self.arena:
            arena, lab = self.arena, self.lab
            self.arena = self.lab = None
            try:
                arena.vmqd.stop()
                assert not arena.sanitizer_reports()
            finally:
                lab.close()


@pytest.fixture(scope="module", params=[0, 64], ids=["whole", "split"])
def arenas(request):
    arenas = Arenas(request.param)
    yield arenas
    arenas.close()


@pytest.fixture
def arena(arenas, request):
    yield arenas.open()
    if getattr(request.node, "attack_failed", True):
        arenas.give_up()


def log_lines(arena):
    return len(arena.vmqd.log().splitlines())


def attack_with(arena, name, outcome):
    faults, lines, began = arena.faults(), log_lines(arena), time.monotonic()
    files = arena.descriptors()
    attacker = arena.start(name).wait_ready()
    for _ in range(ROUNDS):
        arena.play(arena.frames_to(("web", "dev"), FRAMES))
    arena.visit("db", VISIT_FRAMES)
    if outcome == "fault":
        vmq.wait_until(lambda: arena.vmqd.check() and (arena.play(arena.frames_to(("dev",), 1)) or
                                                       arena.faults() > faults), "guest_fault to be counted")
        assert not arena.connected("dev")
    if outcome == "detached":
        assert not arena.connected("dev")
    last_word = attacker.stop()
    if outcome == "closed":
        assert last_word == "closed"
    arena.wait_connected("dev", False)
    arena.visit("dev", VISIT_FRAMES)
    arena.check_the_good_one()
    vmq.wait_until(lambda: arena.descriptors() <= files,
                   lambda: f"{arena.descriptors()} open files to be {files} again")
    assert not arena.sanitizer_reports()
    lines, seconds = log_lines(arena) - lines, time.monotonic() - began
    assert lines <= LOG_LINES_PER_SECOND * seconds + 1, arena.vmqd.log_tail()


@pytest.mark.parametrize("name, outcome", [pytest.param(*attack, id=attack[0]) for attack in attacks()])
def test_an_attack_harms_nobody_else(arena, request, name, outcome):
    attack_with(arena, name, outcome)
    request.node.attack_failed = False


@pytest.mark.parametrize("name", ["stops-before-a-payload", "asks-and-never-listens", "connects-by-the-thousand",
                                  "makes-calls-wait", "memory-changes-without-end", "rings-are-cut-off"])
def test_its_vm_can_be_deleted_meanwhile(arena, request, name):
    attacker = arena.start(name).wait_ready()
    arena.vmqd.ctl("vm", "del", "dev")
    attacker.kill()
    arena.paths["dev"] = arena.add_vm("dev", guest=False)
    arena.queues["dev"] = arena.vmqd.vm_queue("dev")
    arena.visit("dev", VISIT_FRAMES)
    arena.check_the_good_one()
    request.node.attack_failed = False


@pytest.mark.parametrize("name", ["stops-before-a-payload", "asks-and-never-listens", "connects-by-the-thousand",
                                  "makes-calls-wait", "memory-changes-without-end", "rings-are-cut-off"])
def test_vmqd_ends_meanwhile(name):
    with vmq.Lab() as lab:
        arena = Arena(lab, witness=False)
        arena.start(name).wait_ready()
        arena.vmqd.stop()
        assert not arena.sanitizer_reports()


def test_nothing_leaves_under_a_foreign_address():
    """A guest writes other source addresses into what it sends while vmqd checks it."""
    with vmq.Lab() as lab:
        arena = Arena(lab, witness=False)
        attacker = arena.start("sources-change-while-checked").wait_ready()
        vmq.wait_until(lambda: arena.vmqd.check() and len(arena.wire.received()) >= 2000, "frames of the attacker")
        attacker.stop()
        assert {content[6:12] for content in arena.wire.received()} == {vmq.mac_bytes(MACS["dev"])}
