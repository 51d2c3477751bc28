"""What the comparisons write in the documentation: tables between markers, and on which machine they were taken."""

import os
import platform
import re
import statistics

MARKERS = "<!-- figures: {} -->\n", "<!-- end of figures -->"


def replace(path, tables):
    """Puts each table between the markers of its name; a name without a place is a mistake."""
    with open(path) as source:
        text = source.read()
    for name, table in tables.items():
        begin, end = MARKERS[0].format(name), MARKERS[1]
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        text, count = pattern.subn(lambda _: f"{begin}\n{table}\n{end}", text)
        if count != 1:
            raise ValueError(f"{path} has {count} places for the table {name!r}, and needs 1: {begin.strip()}")
    with open(path, "w") as out:
        out.write(text)


def machine():
    with open("/proc/cpuinfo") as source:
        model = next((line.split(":", 1)[1].strip() for line in source if line.startswith("model name")), platform.machine())
    with open("/proc/cpuinfo") as source:
        guest = any("hypervisor" in line for line in source if line.startswith("flags"))
    with open("/proc/meminfo") as source:
        memory = int(source.readline().split()[1]) / 1024 / 1024
    return {
        "processor": " ".join(model.split()),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        "guest": guest,
    }


def machine_words(machine):
    return (
        f"{machine['processor']}, {machine['processors']} processors"
        f"{' of a virtual machine' if machine['guest'] else ''}, {machine['memory_gib']} GiB, Linux {machine['kernel']}"
    )


def spread(values, digits):
    """The median, and from least to most."""
    if not values:
        return "–"
    text = lambda value: f"{value:,.{digits}f}"
    low, middle, high = text(min(values)), text(statistics.median(values)), text(max(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def processor_ticks():
    """Of all processors since the machine started: those that the host stole, and all, 10 ms each."""
    with open("/proc/stat") as source:
        ticks = [int(value) for value in source.readline().split()[1:9]]
    return ticks[7], sum(ticks)
