#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""
run.py --build DIR: measure everything that the README publishes, each peer in the same rounds, and say what is
reached. Root. Writes results.json and the plots beside this file.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import plot
import rows
import scenarios
import systems
from systems import vmq

BENCH = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(BENCH, "results.json")
HUGE_PAGES = "/proc/sys/vm/nr_hugepages"
HUGE_MB = 3584
WIDTH = 50
TRIES = 3  # as many rounds at most for each that is wanted: the processors move
PROGRAM_LIMIT_S = 600


def arguments():
    parser = argparse.ArgumentParser(description="Measure vmqd and its peers side by side.")
    parser.add_argument("--build", required=True, metavar="DIR", help="build directory with vmqd and bench_*")
    parser.add_argument("--rounds", type=int, default=5, metavar="N",
                        help="of each scenario, with the processors in one place (5)")
    parser.add_argument("--only", metavar="NAME,…", help="only these scenarios: " +
                        ", ".join(scenario.name for scenario in scenarios.scenarios()))
    parser.add_argument("--short", action="store_true", help="see that everything still runs; judge and write nothing")
    parser.add_argument("--out", default=BENCH, metavar="DIR", help="where results.json and the plots go")
    return parser.parse_args()


# Huge pages, for the time of the run


def read_number(path):
    with open(path) as file:
        return int(file.read())


def write_number(path, number):
    with open(path, "w") as file:
        file.write(str(number))


def free_huge_mb():
    with open("/proc/meminfo") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["HugePages_Free"]) * int(fields["Hugepagesize"].split()[0]) // 1024, fields


@contextlib.contextmanager
def huge_pages(wanted_mb):
    """Reserve what is missing, and put it back. Yields whether there is enough."""
    before = read_number(HUGE_PAGES)
    free_mb, fields = free_huge_mb()
    page_kib = int(fields["Hugepagesize"].split()[0])
    missing_mb = max(0, wanted_mb - free_mb)
    try:
        if missing_mb and missing_mb * 2048 < int(fields["MemAvailable"].split()[0]):
            write_number(HUGE_PAGES, before + -(-missing_mb * 1024 // page_kib))
        yield free_huge_mb()[0] >= wanted_mb
    finally:
        write_number(HUGE_PAGES, before)


# Rounds


def line_ns():
    """How far apart the two processors are now."""
    return float(scenarios.bench_program("bench_lines", str(systems.GUEST_CPU), str(systems.DATA_CPU)))


def has_enough(rounds, wanted):
    return len(rows.in_one_place(rounds)) >= wanted


def measure(scenario, name, pace):
    """One measurement: its numbers, or why there are none."""
    if name == "ovs" and systems.Ovs.missing():
        return {"skipped": systems.Ovs.missing()}
    try:
        with vmq.Lab() as lab:
            return scenario.systems[name](lab, pace)
    except scenarios.Skip as why:
        return {"skipped": str(why)}
    except Exception as error:  # whatever it was: the others are still worth measuring
        return {"failed": f"{type(error).__name__}: {error}"[:2000]}


def show(scenario, name, found, seconds):
    shown = ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                      for key, value in found.items())
    print(f"  {scenario.name:13} {name:9} {seconds:4.1f} s  {shown}", flush=True)


def run_round(number, chosen, pace, results):
    """Every system of every scenario once; who goes first changes from round to round."""
    for scenario in chosen:
        names = list(scenario.systems)
        names = names[number % len(names):] + names[:number % len(names)]
        found = {}
        before = line_ns()
        for name in names:
            start = time.monotonic()
            found[name] = measure(scenario, name, pace)
            after = line_ns()
            found[name]["line_ns"] = [before, after]
            show(scenario, name, found[name], time.monotonic() - start)
            before = after
        results.setdefault(scenario.name, []).append(found)


def failures(results):
    return [f"{scenario} {system}: {numbers['failed'].splitlines()[0]}" for scenario, rounds in results.items()
            for one in rounds for system, numbers in one.items() if "failed" in numbers]


# Programs that print tables of their own: what they need beyond the rounds is in their heads


def programs(build, short):
    eal = [*scenarios.EAL_ALONE, "-m", "512", "-l", f"{systems.GUEST_CPU},{systems.DATA_CPU}"]
    yield "bench_deliver", [os.path.join(build, "bench", "bench_deliver"), *eal, f"--main-lcore={systems.GUEST_CPU}"]
    if not short:
        yield "bench_control", [sys.executable, "-B", os.path.join(BENCH, "bench_control.py")]


def run_program(name, words):
    """Show what it prints; why it failed, or nothing."""
    print(f"\n{name}", flush=True)
    child = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        child.wait(PROGRAM_LIMIT_S)
    except subprocess.TimeoutExpired:
        return [f"{name}: not done in {PROGRAM_LIMIT_S} s"]
    finally:
        if child.poll() is None:  # it undoes what it made on Ctrl-C, not on anything rougher
            child.send_signal(signal.SIGINT)
            child.wait()
    return [f"{name}: exit {child.returncode}"] if child.returncode else []


# What is said in the end


def why_not(results, row):
    """Why a row has no numbers."""
    for one in results.get(row.scenario, []):
        for system in (row.measured, row.against):
            numbers = one.get(system, {})
            for word in ("skipped", "failed"):
                if word in numbers:
                    return f"{word}: {numbers[word].splitlines()[0]}"
    return "not measured"


def verdict_text(row, found):
    if found["reached"] is None:
        return "reported"
    text = "reached" if found["reached"] else "NOT REACHED"
    return f"{text} by processor time: the guest limits" if found["judged_by"] == "frame_ns" else text


def row_text(row, found):
    sign = "≥" if row.better == "more" else "≤"
    target = f"{sign} {row.target}" if row.target is not None else ""
    time = found.get("frame_ns") or {}
    keys = ("ours", "theirs", "value", "least", "most")
    ours, theirs, value, least, most = (rows.number_text(found[key]) for key in keys)
    frame = [rows.number_text(time.get(key)) for key in ("ours", "theirs", "value")]
    return (f"{row.what:{WIDTH}} {found['rounds']:6} {found['line_ns']:5.0f} {ours:>8} {theirs:>8} {value:>7} "
            f"{least:>6} … {most:<6} {target:>7}  "
            f"{frame[0]:>6} {frame[1]:>6} {frame[2]:>6}  {verdict_text(row, found)}")


def print_table(results):
    print(f"\n{'':{WIDTH}} {'rounds':>6} {'line':>5} {'ours':>8} {'theirs':>8} {'ratio':>7} {'spread':^15} {'target':>7}  "
          f"{'ns a frame, ours, theirs, ratio':>20}")
    for row in rows.ROWS:
        if row.scenario in results:
            found = rows.judge(results[row.scenario], row)
            print(row_text(row, found) if found else f"{row.what:{WIDTH}} {why_not(results, row)}")


def processor():
    with open("/proc/cpuinfo") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")


def machine():
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"when": now.strftime("%Y-%m-%d %H:%M UTC"), "processor": processor(), "processors": os.cpu_count(),
            "kernel": platform.release(), "huge_pages": systems.Memory.huge}


def write_results(out, chosen, results):
    """Scenarios that were not measured now stay as they were."""
    path = os.path.join(out, "results.json")
    stored = {"scenarios": {}}
    if os.path.exists(path):
        with open(path) as file:
            stored = json.load(file)
    for scenario in (one for one in chosen if one.name in results):
        stored["scenarios"][scenario.name] = {"title": scenario.title, "machine": machine(),
                                              "rounds": results[scenario.name]}
    judged = [(row, stored["scenarios"].get(row.scenario)) for row in rows.ROWS]
    stored["rows"] = [{**row._asdict(), "result": rows.judge(one["rounds"], row)} for row, one in judged if one]
    with open(path, "w") as file:
        json.dump(stored, file, indent=1, ensure_ascii=False)
        file.write("\n")
    plot.draw_all(stored, out)


def choose(names, short):
    """In short, it is enough to see that each runs: vmqd once, and no variants."""
    known = scenarios.scenarios()
    if short:
        known = [scenario._replace(systems={name: function for name, function in scenario.systems.items()
                                            if not name.startswith("vmqd-")}) for scenario in known
                 if not scenario.variant]
    unknown = set(names or ()) - {scenario.name for scenario in known}
    if unknown:
        sys.exit(f"run.py: there is no scenario {', '.join(sorted(unknown))}")
    return [scenario for scenario in known if not names or scenario.name in names]


def run(options, chosen, results):
    pace = scenarios.Pace(options.short)
    rounds = 1 if options.short else options.rounds
    with huge_pages(0 if options.short else HUGE_MB) as enough:
        systems.Memory.huge = enough and not options.short
        print(f"{rounds} rounds, {'with' if systems.Memory.huge else 'without'} huge pages, guests on processor "
              f"{systems.GUEST_CPU}, data path on processor {systems.DATA_CPU}")
        for number in range(rounds * (1 if options.short else TRIES)):
            missing = [scenario for scenario in chosen if not has_enough(results.get(scenario.name, []), rounds)]
            if not missing:
                break
            print(f"round {number + 1}", flush=True)
            run_round(number, missing, pace, results)


def end(signum, frame):
    raise SystemExit(128 + signum)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, end)
    if os.geteuid():
        sys.exit("run.py: must be run as root")
    if not {systems.GUEST_CPU, systems.DATA_CPU} <= os.sched_getaffinity(0):
        sys.exit(f"run.py: needs processors {systems.GUEST_CPU} and {systems.DATA_CPU}")
    os.environ["VMQD_BUILD"] = os.path.abspath(options.build)
    chosen = choose(options.only and options.only.split(","), options.short)
    results = {}
    try:
        run(options, chosen, results)
    finally:  # what was measured until somebody ended it was measured
        if not options.short:
            print_table(results)
            write_results(options.out, chosen, results)
    broken = failures(results)
    if not options.only:
        for name, words in programs(os.environ["VMQD_BUILD"], options.short):
            broken += run_program(name, words)
    print("", *(f"failed: {one}" for one in broken), f"{len(chosen)} scenarios, {len(broken)} failures", sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
