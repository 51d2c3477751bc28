"""The tables of capacity.py: in a terminal, and in docs/capacity.md between markers."""

import re
import statistics

import documents
import scenarios
from documents import spread
from scenarios import ASTERISK, CONTESTANTS, SHARED, UNISONO

CAPACITY, OVERLOAD = "docs/capacity.md", "docs/overload.md"


def write(data):
    """Replaces what is between the markers, and returns the files that were written; a marker without a table is a mistake."""
    documents.replace(CAPACITY, tables(data))
    if not data.get("overload"):
        return [CAPACITY]
    documents.replace(OVERLOAD, {"overload": overload(data)})
    return [CAPACITY, OVERLOAD]


def terminal(data):
    every = tables(data) | {"overload": overload(data)}
    return "\n\n".join(re.sub(r"\*\*|&nbsp;", "", table) for table in every.values())


def tables(data):
    return {
        "run": run(data),
        "aims": aims(data),
        "participants": participants(data),
        "kernel": kernel(data),
        "mixing": mixer(data),
        "idle": idle(data),
        "windows": windows(data),
    }


def run(data):
    machine, versions = data["machine"], data["versions"]
    taken = data["windows"] + data["ramps"]
    left_out = sum(entry["left_out"] for entry in taken)
    facts = [
        f"{data['date']}; {documents.machine_words(machine)}.",
        ", ".join(f"{name} {version}" for name, version in versions.items() if version) + ".",
        f"{data['rounds']} rounds{data.get('added', '')}, windows of {data['window_seconds']:g} s; {len(taken)} windows and ramps in {data['seconds'] / 60:.0f} min,"
        f" of which {left_out} left out for steal of more than {data['limits']['steal_percent']:g} %.",
    ]
    if data["mode"] != "full":
        facts.append(f"A run of the mode `--{data['mode']}`: {SHORT_MODES[data['mode']]}.")
    for failure in data["failures"]:
        where = ", ".join(str(failure[key]) for key in ("contestant", "scenario") if key in failure)
        facts.append(f"Not measured in round {failure['round']}: {where} ({failure['why']}).")
    return "\n".join(f"* {fact}" for fact in facts)


SHORT_MODES = {
    "tables": "every scenario, with coarser ramps and fewer windows than a full run",
    "aims": "not of all scenarios",
    "quick": "short, to see that it runs; the figures are of little worth",
}


def aims(data):
    rows = [row for row in (aim(data) for aim in AIMS) if row]
    lines = ["| | aim | measured | met |", "|---|---|---|---|"]
    for what, aim_words, values, met, digits in rows:
        verdict = "" if met is None else "**yes**" if met else "no" if values else "not measured"
        lines.append(f"| {what} | {aim_words} | {spread(values, digits)} | {verdict} |")
    return "\n".join(lines)


def against_the_kernel(data):
    values = ratios(by_round(data, "one", UNISONO, 1000, "cpu_us"), cheapest_loop(data, "own sockets: bare"))
    what = (
        "CPU per participant-frame, G.711, 3 talkers, 1,000 participants, a port each, against the cheapest bare loop over as many ports"
    )
    return what, "at most 1.25 times", values, most(values, 1.25), 2


def against_the_literal_loop(data):
    values = ratios(by_round(data, "one", UNISONO, 1000, "cpu_us"), loop(data, "own sockets: bare recvmmsg + sendmmsg"))
    return "the same, against bare recvmmsg and sendmmsg on each of these ports", "at most 1.25 times", values, most(values, 1.25), 2


def against_the_kernel_shared(data):
    values = ratios(by_round(data, "one", SHARED, 1000, "cpu_us"), cheapest_loop(data, "shared socket: bare"))
    what = "the same with one shared port, against bare recvmmsg and sendmmsg over one port"
    return what, "at most 1.25 times", values, most(values, 1.25), 2


def against_asterisk(data):
    ours = by_round(data, "one", UNISONO, 1000, "cpu_us")
    theirs = by_round(data, "one", ASTERISK, 200, "cpu_us")
    values = ratios(theirs, ours)
    return "the same of Asterisk ConfBridge (200 participants) against ours", "at least 15 times", values, least(values, 15), 1


def per_core(data):
    values = [most_held(data, entry) for entry in ramps(data, "one", UNISONO)]
    return "participants per core, G.711, 3 talkers", "at least 4,000", values, least(values, 4000), 0


def per_core_shared(data):
    values = [most_held(data, entry) for entry in ramps(data, "one", SHARED)]
    return "the same with one shared port", "at least 4,000", values, least(values, 4000), 0


def per_core_against_asterisk(data):
    ours = {entry["round"]: most_held(data, entry) for entry in ramps(data, "one", UNISONO)}
    theirs = {entry["round"]: most_held(data, entry) for entry in ramps(data, "one", ASTERISK)}
    values = ratios(ours, theirs)
    return "participants per core against Asterisk ConfBridge", "at least 10 times", values, least(values, 10), 1


def all_talk(data):
    values = ratios(by_round(data, "all", UNISONO, 1000, "cpu_us"), by_round(data, "one", UNISONO, 1000, "cpu_us"))
    return "CPU, 1,000 participants, all talk, against 3 talkers", "at most 1.5 times", values, most(values, 1.5), 2


def opus(data):
    values = ratios(by_round(data, "opus", UNISONO, 1000, "cpu_us"), by_round(data, "one", UNISONO, 1000, "cpu_us"))
    return "CPU, Opus 48 kHz, 3 talkers, 1,000 participants, against G.711", "at most 1.3 times", values, most(values, 1.3), 2


def mixing(data):
    values = mixed(data, "unheard")
    return "mixing alone, 1,000 legs, 3 talkers, others below the gate, µs a tick", "at most 25", values, most(values, 25), 1


def mixing_measured(data):
    """What no aim is about: the server does not do it."""
    return "the same, if every frame of the others were decoded and measured", "–", mixed(data, "hiss"), None, 1


def mixed(data, others):
    return [entry["us"] for entry in data["mixing"] if entry["others"] == others]


def memory(data):
    values = list(by_round(data, "one", UNISONO, 1000, "memory_kib").values())
    return "memory per participant, KiB", "at most 16", values, most(values, 16), 1


def ear(data):
    values = list(by_round(data, "one", UNISONO, 1000, "ear_p99_ms").values())
    # The least playout delay that there is.
    return "mouth to ear at 1,000 participants, p99, ms", "at most 25 + 20 of playout", values, most(values, 45), 1


AIMS = (
    against_the_kernel,
    against_the_literal_loop,
    against_the_kernel_shared,
    against_asterisk,
    per_core,
    per_core_shared,
    per_core_against_asterisk,
    all_talk,
    opus,
    mixing,
    mixing_measured,
    memory,
    ear,
)


def participants(data):
    lines = ["| scenario | " + " | ".join(CONTESTANTS) + " |", "|---|" + "---|" * len(CONTESTANTS)]
    for key, title in data["scenarios"].items():
        cells = [ramp_cell(data, [entry for entry in data["ramps"] if (entry["scenario"], entry["contestant"]) == (key, name)]) for name in CONTESTANTS]
        if any(cell != "–" for cell in cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    table = "\n".join(lines) if len(lines) > 2 else "No ramp in this run."
    return table + "".join(f"\n\n{refusal_words(entry)}" for entry in data.get("refusal", []))


def refusal_words(entry):
    """What the server does that ramps keep it from."""
    how = f"their deviation p99 {entry['deviation_p99_ms']:.1f} ms, loss {entry['loss_percent']:.2f} %"
    if not entry["refused"]:
        return f"As configured by default (`refuse_above = 80`), of up to {entry['asked']:,} callers none was refused; {how}."
    return (
        f"As configured by default (`refuse_above = 80`), the same server let {entry['connected']:,} callers in (one conference, 3 talkers, G.711),"
        f" and refused those who came then; {how}."
    )


def ramp_cell(data, entries):
    good = [entry for entry in entries if not entry["left_out"]]
    if not good:
        return "–" if not entries else "left out"
    held = [most_held(data, entry) for entry in good]
    open_end = "≥ " if all(entry["broke"] is None or entry["by_generator"] for entry in good) else ""
    reasons = sorted({gave_way(entry["by_generator"], entry["why"]) for entry in good if entry["broke"]})
    # Where the first step was too many, how many are not is not known.
    many = f"fewer than {min(entry['broke'] for entry in good):,}" if not any(held) else f"{open_end}{spread(held, 0)}"
    return many + (f": {'; '.join(reasons)}" if reasons else "")


def gave_way(by_generator, why):
    if by_generator:
        return "the generator was at its end"
    return re.sub(r" [0-9.]+ (ms|%)$", "", re.sub(r"^\d+ calls failed.*", "calls failed", why))


def kernel(data):
    found = {}
    for entry in loops(data):
        found.setdefault(entry["name"], []).append(entry["ns_per_frame"] / 1000)
    if not found:
        return "Not measured in this run."
    whole = {"own": by_round(data, "one", UNISONO, 1000, "cpu_us"), "shared": by_round(data, "one", SHARED, 1000, "cpu_us")}
    lines = ["| 1,000 legs | µs per participant-frame | server, whole, against it |", "|---|---|---|"]
    for name, values in found.items():
        # What is the server's own code is no measure of it.
        against = [] if "unisono" in name else ratios(whole[name.split()[0]], loop(data, name))
        lines.append(f"| {name} | {spread(values, 2)} | {spread(against, 2)} |")
    lines.append(f"| the whole server, a port each | {spread(list(whole['own'].values()), 2)} | |")
    lines.append(f"| the whole server, shared port | {spread(list(whole['shared'].values()), 2)} | |")
    return "\n".join(lines)


def mixer(data):
    if not data["mixing"]:
        return "Not measured in this run."
    lines = ["| the 997 who do not talk | µs a tick of 1,000 legs, 3 talkers |", "|---|---|"]
    for others, words in OTHERS.items():
        lines.append(f"| {words} | {spread(mixed(data, others), 1)} |")
    return "\n".join(lines)


# What those do in the mixer's benchmark who do not talk.
OTHERS = {
    "silence": "send nothing",
    "unheard": "send noise below the gate, decoded one frame in 128: what the server does",
    "hiss": "send noise below the gate, every frame of it decoded and measured",
}


def idle(data):
    entries = data.get("idle", [])
    quiet = [entry for entry in data["windows"] if entry["scenario"] == "quiet" and not entry["left_out"]]
    lines = ["| | CPU, % of a core | resident memory, KiB |", "|---|---|---|"]
    if entries:
        cpu, memory = ([entry[key] for entry in entries] for key in ("cpu_percent", "resident_kib"))
        lines.append(f"| {entries[0]['conferences']:,} conferences of nobody | {spread(cpu, 2)} | {spread(memory, 0)} |")
    for callers in sorted({entry["callers"] for entry in quiet}):
        same = [entry for entry in quiet if entry["callers"] == callers]
        cpu, memory = ([entry[key] for entry in same if entry[key] is not None] for key in ("cpu_percent", "resident_kib"))
        lines.append(f"| {callers:,} conferences of one who is silent | {spread(cpu, 1)} | {spread(memory, 0)} |")
    return "\n".join(lines) if len(lines) > 2 else "Not measured in this run."


def overload(data):
    entries = data.get("overload", [])
    if not entries:
        return "Not measured in this run."
    machine = data["machine"]
    head = "callers | of those held | given up | load after 1, 3 and 9 s | level after 1, 3 and 9 s | dozing | deviation p99 ms | loss % | mouth to ear p99 ms | heard"
    lines = [
        f"{data['date']}; one worker on one CPU of {machine['processor']}. {scenarios.SPEECH.title}; {entries[0]['held']:,} callers were held"
        f" with nothing given up. Measured from {scenarios.OVERLOAD_SETTLE} s on, for {scenarios.OVERLOAD_WINDOW} s.",
        "",
        f"| {head} |",
        "|" + "---|" * (head.count("|") + 1),
    ]
    for entry in sorted(entries, key=lambda entry: (entry["callers"], entry["measures"])):
        seen = [at(entry["course"], seconds) for seconds in (1, 3, 9)]
        loads = ", ".join(f"{100 * found['load']:.0f} %" if found else "–" for found in seen)
        levels = ", ".join(found["level"] if found else "–" for found in seen)
        cells = [
            f"{entry['connected']:,}" + (f" of {entry['callers']:,}" if entry["connected"] < entry["callers"] else ""),
            f"{100 * entry['share']:.0f} %",
            "as by default, but no call" if entry["measures"] else "nothing",
            loads,
            levels,
            f"{seen[-1]['dozing']:,}" if seen[-1] else "–",
            f"{entry['deviation_p99_ms']:.1f}",
            f"{entry['loss_percent']:.2f}",
            "–" if entry["ear_p99_ms"] is None else f"{entry['ear_p99_ms']:.1f}",
            hearing([entry]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def at(course, seconds):
    """What was seen first from then on."""
    return next((seen for seen in course if seen["seconds"] >= seconds), None)


def windows(data):
    parts = []
    columns = (
        ("CPU µs", "cpu_us", 2),
        ("deviation p50 ms", "deviation_p50_ms", 2),
        ("deviation p99 ms", "deviation_p99_ms", 2),
        ("mouth to ear p50 ms", "ear_p50_ms", 1),
        ("mouth to ear p99 ms", "ear_p99_ms", 1),
        ("memory KiB", "memory_kib", 1),
        ("loss %", "loss_percent", 2),
    )
    for key, title in data["scenarios"].items():
        rows = []
        for name in CONTESTANTS:
            mine = [entry for entry in data["windows"] if (entry["scenario"], entry["contestant"]) == (key, name)]
            for callers in sorted({entry["callers"] for entry in mine}):
                all_of_it = [entry for entry in mine if entry["callers"] == callers]
                good = [entry for entry in all_of_it if not entry["left_out"]]
                cells = [spread([entry[key_] for entry in good if entry[key_] is not None], digits) for _, key_, digits in columns]
                counted = f"{len(good)}" + (f" (+{len(all_of_it) - len(good)})" if len(good) < len(all_of_it) else "")
                connected = min((entry["connected"] for entry in good), default=callers)
                were_there = f"{callers:,}" + (f", {connected:,} connected" if connected < callers else "")
                rows.append(f"| {name} | {were_there} | " + " | ".join([*cells, hearing(good), held(good), counted]) + " |")
        if rows:
            head = "| | callers | " + " | ".join(column for column, _, _ in columns) + " | heard | held | windows |"
            parts.append(f"**{title}**\n\n{head}\n|---|" + "---|" * (len(columns) + 4) + "\n" + "\n".join(rows))
    return "\n\n".join(parts)


def hearing(entries):
    """How many of the windows were right by ear, and how much was missed where they were not."""
    checked = [entry for entry in entries if entry["heard_right"] is not None]
    right = sum(entry["heard_right"] for entry in checked)
    if not checked:
        return "–"
    if right == len(checked):
        return "right"
    return f"wrong in {len(checked) - right} of {len(checked)}"


def held(entries):
    """Whether so many were not too many, and what gave way where they were."""
    reasons = sorted({gave_way(entry["criterion"] == "generator", entry["why"]) for entry in entries if entry.get("why")})
    return "–" if not entries else "no: " + "; ".join(reasons) if reasons else "yes"


def by_round(data, scenario, contestant, callers, key):
    """A figure of each round in which it was measured without steal."""
    found = {}
    for entry in data["windows"]:
        known = (entry["scenario"], entry["contestant"], entry["callers"])
        if known == (scenario, contestant, callers) and not entry["left_out"] and entry[key] is not None:
            found[entry["round"]] = entry[key]
    return found


def ramps(data, scenario, contestant):
    known = (entry for entry in data["ramps"] if (entry["scenario"], entry["contestant"]) == (scenario, contestant))
    return [entry for entry in known if not entry["left_out"]]


def most_held(data, ramp):
    """The most callers that a ramp held; where its first step was too many, those of the round's largest window that were not."""
    same = ("round", "scenario", "contestant")
    windows = (entry for entry in data["windows"] if all(entry[key] == ramp[key] for key in same))
    fits = (entry["callers"] for entry in windows if not entry["left_out"] and not entry.get("why"))
    return ramp["held"] or max(fits, default=0)


def loops(data):
    """Bare loops and the like; one all of whose rounds were disturbed, or that is not permitted, has no figure."""
    return [entry for entry in data["kernel"] if entry["ns_per_frame"] is not None]


def loop(data, name):
    return {entry["round"]: entry["ns_per_frame"] / 1000 for entry in loops(data) if entry["name"] == name}


def cheapest_loop(data, kind):
    """Of the bare loops over such sockets, each round's cheapest; io_uring and connected sockets are not among them."""
    found = {}
    for entry in loops(data):
        if entry["name"].startswith(kind):
            found[entry["round"]] = min(entry["ns_per_frame"] / 1000, found.get(entry["round"], float("inf")))
    return found


def ratios(above, below):
    """Contestants of one round had the same weather, or nearly."""
    return [above[number] / below[number] for number in sorted(above) if below.get(number)]


def most(values, limit):
    return bool(values) and statistics.median(values) <= limit


def least(values, limit):
    return bool(values) and statistics.median(values) >= limit
