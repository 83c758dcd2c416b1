#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""plot.py [RESULTS.JSON]: draw the plots of a run as SVG, beside the results. Nothing but the standard library."""

import json
import os
import sys
from xml.sax.saxutils import escape

import rows

COLOURS = {"vmqd": "#1f77b4", "testpmd": "#7f7f7f", "ovs": "#d95f02", "bridge": "#b5651d", "other": "#9ecae1"}
NAMES = {"vmqd": "vmqd", "testpmd": "testpmd io (no look-up)", "ovs": "OVS-DPDK", "vmqd-64": "vmqd, only those 64",
         "vmqd-1vm": "vmqd, all to 1 VM", "vmqd-off": "vmqd, no split", "copy": "a 64-byte copy",
         "bridge": "Linux bridge", "vmqd-cut": "vmqd, offload off"}
BAR, GAP, GROUP_GAP, LEFT, PLOT, RIGHT, TOP = 16, 3, 30, 20, 560, 110, 56

PLOTS = [
    ("throughput.svg", "Frames in the guests, one data-path core", "Mpps", "mpps",
     ["filters64", "filters4096", "filters65536", "large", "vms8", "vms24", "vm2vm64", "vm2vm1518", "lookahead"]),
    ("tcp.svg", "TCP of user-mode Linux guests", "Gbit/s", "gbps",
     ["tcp-vm-vm", "tcp-vm-vm-8", "tcp-vm-vm-9000", "tcp-vm-host", "tcp-vm-host-8", "tcp-host-vm", "tcp-host-vm-8",
      "tcp-host-vm-9000", "tcp-vm-wire", "tcp-vm-wire-8", "tcp-wire-vm", "tcp-wire-vm-8"]),
    ("core-time.svg", "Time of the data-path core for each frame that it takes in", "ns", "frame_ns",
     ["filters64", "filters4096", "filters65536", "large", "vms8", "vms24", "lookahead"]),
    ("latency.svg", "Latency, median", "µs", "median_us", ["first", "halfload"]),
    ("latency-p99.svg", "Latency, 99 %", "µs", "p99_us", ["first", "halfload"]),
]


def text(x, y, content, size=12, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}">'
            f'{escape(content)}</text>')


def bar(y, system, values, scale, unit):
    """The median as a bar, least and most of the rounds as a line over it."""
    middle, least, most = rows.median(values), min(values), max(values)
    colour = COLOURS.get(system, COLOURS["other"])
    centre = y + BAR / 2
    yield f'<rect x="{LEFT}" y="{y}" width="{max(1, middle * scale):.1f}" height="{BAR}" fill="{colour}"/>'
    yield (f'<path d="M{LEFT + least * scale:.1f} {centre}H{LEFT + most * scale:.1f}" stroke="#222" '
           'stroke-width="1.5"/>')
    label = f"{rows.number_text(middle)} {unit} · {NAMES.get(system, system)}"
    yield text(LEFT + most * scale + 6, centre + 4, label, 11)


def groups(results, number, names):
    """(title, {system: values}) of the scenarios that have this number."""
    for name in names:
        scenario = results["scenarios"].get(name)
        if not scenario:
            continue
        rounds = rows.alike(scenario["rounds"])
        systems = list(dict.fromkeys(system for one in rounds for system in one))
        found = {system: rows.numbers(rounds, system, number) for system in sorted(systems, key=order)}
        found = {system: values for system, values in found.items() if values}
        if found:
            yield scenario["title"], found


def order(system):
    return list(NAMES).index(system) if system in NAMES else len(NAMES)


def draw(title, unit, shown):
    most = max(max(values) for _, found in shown for values in found.values())
    scale = PLOT / most / 1.35
    parts, y = [text(LEFT, 26, title, 16, weight="bold"),
                text(LEFT, 44, "bar: median of the rounds; line: least to most", 11)], TOP
    for head, found in shown:
        parts.append(text(LEFT, y + 12, head, 12, weight="bold"))
        y += 19
        for system, values in found.items():
            parts.extend(bar(y, system, values, scale, unit))
            y += BAR + GAP
        y += GROUP_GAP - 19
    width = LEFT + PLOT + RIGHT
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}" '
                      'font-family="sans-serif" fill="#222">', '<rect width="100%" height="100%" fill="#fff"/>',
                      *parts, "</svg>", ""])


def draw_all(results, out):
    for name, title, unit, number, scenarios in PLOTS:
        shown = list(groups(results, number, scenarios))
        if shown:
            with open(os.path.join(out, name), "w") as file:
                file.write(draw(title, unit, shown))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "results.json")
    with open(path) as file:
        draw_all(json.load(file), os.path.dirname(os.path.abspath(path)))


if __name__ == "__main__":
    main()
