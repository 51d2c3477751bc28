"""Calls MeetMe on our library and ConfBridge with timerfd in turns, and measures both by their callers. Called by meetme.sh."""

import argparse
import collections
import glob
import json
import os
import random
import select
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import tomllib

import documents
import servers
from documents import spread
from script import fail, run_script

ROOT = "target/peers/asterisk"
INSIDE = "/tmp/unisono/compare"
# Name, timing module, what callers get, whether it runs on our library.
CONTESTANTS = {
    "MeetMe, unisono": ("res_timing_dahdi.so", "MeetMe(1,dq)", True),
    "ConfBridge, timerfd": ("res_timing_timerfd.so", "ConfBridge(1,plain,quiet)", False),
}
FRAME = 160
FRAME_NS = 20_000_000
TALKERS = 3
# Frames from one burst of a talker, of one packet, to its next. The talkers share them, so that there is one in 600 ms.
BURST_EVERY = 90
# Later than this after it was said, ns, a burst is not looked for: the next talker's comes.
LATEST_NS = 580_000_000
SILENCE = b"\xff" * FRAME
# 1 kHz, square, about 8000 of 32768.
BURST = (b"\x9f" * 4 + b"\x1f" * 4) * (FRAME // 8)
# Octets of mu-law that are louder than about 2000.
LOUD = bytes(1 if (octet & 0x7F) < 0x40 else 0 for octet in range(256))
# How often more than wanted a window is measured, where the host stole of it.
MORE_WINDOWS = 1
# Beyond this share, a window's steal makes it worthless.
MOST_STEAL = 0.015
SO_TIMESTAMPNS = 35
POLICIES = {os.SCHED_OTHER: "normal", os.SCHED_FIFO: "SCHED_FIFO", os.SCHED_RR: "SCHED_RR", os.SCHED_BATCH: "SCHED_BATCH", os.SCHED_IDLE: "SCHED_IDLE"}
DOCUMENT = "docs/dahdi.md"


def main():
    options = arguments()
    if not options.measure:
        return write_docs(options.json)
    if os.geteuid() != 0:
        fail("run it as root: Asterisk runs in a folder of its own")
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        fail("two processors are needed: one for Asterisk, one for its callers")
    peer_cpu, our_cpu = processors[-1], processors[0]
    data = {
        "schema": "unisono-meetme/1",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": " ".join(["benches/compare/meetme.sh", *sys.argv[3:]]),
        "machine": documents.machine(),
        "versions": versions(),
        "most_steal": MOST_STEAL,
        "scheduling": {},
        "results": [],
    }
    os.sched_setaffinity(0, {our_cpu})
    print(
        f"{options.rounds} rounds, {options.windows} windows of {options.seconds} s each; Asterisk on CPU {peer_cpu},"
        f" callers on CPU {our_cpu}; {TALKERS} talkers, G.711",
        flush=True,
    )
    begun = time.monotonic()
    results = collections.defaultdict(list)
    for number in range(options.rounds):
        for callers in options.callers:
            # Nobody is always first.
            turn = list(CONTESTANTS)[:: -1 if number % 2 else 1]
            for name in turn:
                windows, data["scheduling"][name] = measure(options, name, callers, peer_cpu)
                results[name, callers] += [window | {"round": number + 1} for window in windows]
                good = without_steal(windows)
                seen = (
                    f"{statistics.median(w['cpu_us'] for w in good):.1f} us a frame,"
                    f" {statistics.median(w['delay_p50_ms'] for w in good):.1f} ms"
                    if good
                    else "nothing without steal"
                )
                print(f"round {number + 1}, {callers} callers, {name}: {seen}", flush=True)
    data["seconds"] = round(time.monotonic() - begun)
    data["results"] = [{"contestant": name, "callers": callers, "windows": w} for (name, callers), w in results.items()]
    os.makedirs(os.path.dirname(options.json) or ".", exist_ok=True)
    with open(options.json, "w") as out:
        json.dump(data, out, indent=1)
    print(f"\n{words(data)}\n\nfigures in {options.json}")
    if options.write_docs:
        write_docs(options.json)
    return 1 if own_voice(data) else 0


def arguments():
    parser = argparse.ArgumentParser(prog="meetme.sh", description=__doc__)
    parser.add_argument("--callers", type=int, nargs="+", default=[10, 50, 100], help="default 10 50 100")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--windows", type=int, default=3, help="of each call, default 3; one more where the host stole of one")
    parser.add_argument("--seconds", type=int, default=5, help="of each window, default 5")
    parser.add_argument("--settle", type=int, default=8, help="s from the first word to the first window, until queues are what they remain; default 8")
    parser.add_argument("--json", metavar="FILE", default="target/compare/meetme.json", help="where every window's figures are kept")
    parser.add_argument("--write-docs", action="store_true", help=f"then write the table of {DOCUMENT}")
    parser.add_argument("--no-measure", dest="measure", action="store_false", help="with --write-docs: from the figures kept")
    parser.add_argument("--library", default="target/release/libunisono_dahdi.so", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if min(options.callers) <= TALKERS or max(options.callers) > 400:
        parser.error("4 to 400 callers")
    # Fewer seconds have no burst of each talker.
    if min(options.rounds, options.windows, options.settle) < 1 or options.seconds < 2:
        parser.error("at least 1 round of 1 window of 2 s, after 1 s")
    if not options.measure and not options.write_docs:
        parser.error("--no-measure without --write-docs does nothing")
    return options


def measure(options, name, callers, cpu):
    """Starts Asterisk, calls it, and returns the figures of each window, and how its threads were scheduled."""
    timing, application, on_library = CONTESTANTS[name]
    port = free_port()
    home = configure(timing, application, port, options.library if on_library else None)
    asterisk = Asterisk(home, cpu, on_library)
    try:
        crowd = Crowd(("127.0.0.1", port), callers)
        try:
            crowd.call()
            time.sleep(options.settle)
            windows = []
            while len(without_steal(windows)) < options.windows and len(windows) < options.windows + MORE_WINDOWS:
                windows.append(window(options, asterisk, crowd))
            if all(not window["said"] for window in windows):
                fail("nobody said anything: the machine stood still all the time")
            if all(window["delay_p50_ms"] is None for window in windows):
                fail("nobody heard anybody")
            return windows, asterisk.scheduling()
        finally:
            crowd.hang_up()
    finally:
        asterisk.stop()


def window(options, asterisk, crowd):
    stolen, total = documents.processor_ticks()
    crowd.forget()
    # What was said before is heard by then, and not taken for what is said in the window.
    time.sleep(LATEST_NS / 1e9)
    used = asterisk.processor_ns()
    begin = time.monotonic()
    time.sleep(options.seconds)
    used = asterisk.processor_ns() - used
    seconds = time.monotonic() - begin
    # What was said last is still to be heard.
    time.sleep(LATEST_NS / 1e9)
    stolen_now, total_now = documents.processor_ticks()
    steal = (stolen_now - stolen) / max(total_now - total, 1)
    delays, deviations, wrong, said = crowd.heard(begin, begin + seconds)
    if not delays:
        # Counted as stolen: a machine that stood still for all of it did not say so.
        return dict.fromkeys(("cpu_us", "delay_p50_ms", "delay_p99_ms", "delay_max_ms", "deviation_p99_ms"), None) | {
            "said": said, "missed": 1.0, "own_voice": 0, "steal": 1.0,
        }
    return {
        "said": said,
        "cpu_us": used / 1000 / (len(crowd.callers) * seconds * 50),
        "delay_p50_ms": quantile(delays, 0.5) / 1e6,
        "delay_p99_ms": quantile(delays, 0.99) / 1e6,
        "delay_max_ms": max(delays) / 1e6,
        "deviation_p99_ms": quantile(deviations, 0.99) / 1e6,
        "missed": 1 - len(delays) / said,
        "own_voice": wrong,
        "steal": steal,
    }


class Asterisk:
    def __init__(self, home, cpu, on_library):
        environment = f"LD_PRELOAD={INSIDE}/libunisono_dahdi.so UNISONO_DAHDI_DIR={INSIDE}/dahdi" if on_library else ""
        start = (
            f"mount -t proc proc {ROOT}/proc && mount --rbind /dev {ROOT}/dev && ulimit -S -n $(ulimit -H -n) &&"
            f" exec taskset -c {cpu} chroot {ROOT} env {environment} asterisk -f -C {INSIDE}/etc/asterisk.conf"
        )
        self.log = open(f"{home}/said", "w+")
        self.process = subprocess.Popen(
            # A session of its own, so that the scheduler's groups do not weigh it against us.
            ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "sh", "-c", start],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while "fully booted" not in self.command("core waitfullybooted"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                fail(f"Asterisk does not start:\n{self.log.read()}")
            time.sleep(0.2)

    def command(self, command):
        console = ["chroot", ROOT, "asterisk", "-C", f"{INSIDE}/etc/asterisk.conf", "-rx", command]
        return subprocess.run(console, capture_output=True, text=True, timeout=30).stdout

    def processor_ns(self):
        """Processor time of all its threads, by the clock that clock_getcpuclockid(3) names."""
        return time.clock_gettime_ns((~self.process.pid << 3) | 2)

    def scheduling(self):
        """How many of its threads run under which policy."""
        found = collections.Counter()
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                policy = POLICIES.get(os.sched_getscheduler(int(thread)) & ~os.SCHED_RESET_ON_FORK, "another policy")
                priority = os.sched_getparam(int(thread)).sched_priority
            except ProcessLookupError:
                continue
            found[f"{policy} {priority}" if priority else policy] += 1
        return dict(found)

    def stop(self):
        self.command("core stop now")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
        self.log.close()


class Caller:
    def __init__(self, number, receiver):
        self.number = number
        self.socket = receiver
        self.port = receiver.getsockname()[1]
        self.peer = None
        self.dialog = None
        self.sequence = random.randrange(1 << 15)
        self.timestamp = random.randrange(1 << 31)
        self.ssrc = random.randrange(1 << 32)
        # (arrival ns, place of the first loud sample or -1)
        self.packets = []


class Crowd:
    """Callers of one process: one socket for all calls, one for each one's audio, and a thread that sends and receives."""

    def __init__(self, server, callers):
        self.server = server
        self.sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sip.bind(("127.0.0.1", 0))
        self.sip.settimeout(0.1)
        self.callers = [Caller(number, self.receiver()) for number in range(callers)]
        # (talker, ns) of each burst.
        self.bursts = []
        self.lock = threading.Lock()
        self.wanted = True
        self.thread = threading.Thread(target=self.talk, daemon=True)

    @staticmethod
    def receiver():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        return receiver

    def call(self):
        for caller in self.callers:
            self.invite(caller)
            deadline = time.monotonic() + 10
            while caller.peer is None:
                self.answer(deadline)
            time.sleep(0.02)
        self.thread.start()

    def hang_up(self):
        self.wanted = False
        if self.thread.is_alive():
            self.thread.join(10)
        for caller in self.callers:
            if caller.dialog:
                self.send(caller, "BYE", 2)
            caller.socket.close()
        time.sleep(0.2)
        self.sip.close()

    def invite(self, caller):
        caller.dialog = ""
        body = (
            f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {caller.port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
        )
        self.send(caller, "INVITE", 1, body)

    def send(self, caller, method, sequence, body=""):
        local = self.sip.getsockname()[1]
        content = "Content-Type: application/sdp\r\n" if body else ""
        request = (
            f"{method} sip:100@127.0.0.1:{self.server[1]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{local};branch=z9hG4bK{caller.ssrc}{method}\r\n"
            f"From: <sip:{caller.number}@127.0.0.1:{local}>;tag={caller.ssrc}\r\n"
            f"To: <sip:100@127.0.0.1:{self.server[1]}>{caller.dialog}\r\n"
            f"Call-ID: {caller.number}-{caller.ssrc}\r\nCSeq: {sequence} {method}\r\n"
            f"Contact: <sip:{caller.number}@127.0.0.1:{local}>\r\nMax-Forwards: 70\r\n"
            f"{content}Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.sip.sendto(request.encode(), self.server)

    def answer(self, deadline):
        """Takes one message; an answer to an INVITE tells where the audio goes."""
        if time.monotonic() > deadline:
            fail("a call is not answered")
        try:
            message = self.sip.recv(65536).decode()
        except socket.timeout:
            return
        if not message.startswith("SIP/2.0 ") or "INVITE" not in message:
            return
        if message.startswith("SIP/2.0 1"):
            return
        lines = message.split("\r\n")
        if not message.startswith("SIP/2.0 200"):
            fail(f"a call is refused: {lines[0]}")
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        caller = self.callers[int(headers["Call-ID"].split("-")[0])]
        caller.dialog = ";tag=" + headers["To"].split(";tag=")[1]
        audio = next(line for line in lines if line.startswith("m=audio "))
        caller.peer = ("127.0.0.1", int(audio.split(" ")[1]))
        self.send(caller, "ACK", 1)

    def talk(self):
        """Sends every caller's packet each 20 ms, each at its place in them, and takes what comes meanwhile."""
        poller = select.epoll()
        by_file = {caller.socket.fileno(): caller for caller in self.callers}
        for file in by_file:
            poller.register(file, select.EPOLLIN)
        count = len(self.callers)
        begin = time.monotonic_ns() + FRAME_NS
        slot = 0
        while self.wanted:
            due = begin + slot * FRAME_NS // count
            wait = (due - time.monotonic_ns()) / 1e9
            for file, _ in poller.poll(max(wait, 0)):
                self.receive(by_file[file])
            if time.monotonic_ns() >= due:
                self.say(self.callers[slot % count], slot // count)
                slot += 1
        poller.close()

    def say(self, caller, frame):
        talks = caller.number < TALKERS and frame % BURST_EVERY == caller.number * BURST_EVERY // TALKERS
        header = struct.pack(">BBHII", 0x80, 0, caller.sequence & 0xFFFF, caller.timestamp & 0xFFFFFFFF, caller.ssrc)
        caller.sequence += 1
        caller.timestamp += FRAME
        now = time.time_ns()
        caller.socket.sendto(header + (BURST if talks else SILENCE), caller.peer)
        if talks:
            with self.lock:
                self.bursts.append((caller.number, now, time.monotonic()))

    def receive(self, caller):
        try:
            while True:
                packet, ancillary, _, _ = caller.socket.recvmsg(2048, 64)
                seconds, nanos = struct.unpack("qq", ancillary[0][2])
                caller.packets.append((seconds * 1_000_000_000 + nanos, packet[12:].translate(LOUD).find(1)))
        except BlockingIOError:
            pass

    def forget(self):
        with self.lock:
            self.bursts.clear()
        for caller in self.callers:
            caller.packets.clear()

    def heard(self, begin, end):
        """Delays of what was said between two moments, deviations from 20 ms, how often talkers heard themselves, how much was to be heard."""
        with self.lock:
            # Until the next one, which may come early after one that was late, and is not to be taken for this one.
            ends = [sent for _, sent, _ in self.bursts[1:]] + [None]
            bursts = [
                (number, sent, LATEST_NS if next_sent is None else min(LATEST_NS, next_sent - sent))
                for (number, sent, moment), next_sent in zip(self.bursts, ends)
                if begin <= moment < end
            ]
        delays, deviations, own = [], [], 0
        for caller in self.callers:
            packets = caller.packets[:]
            arrivals = [arrival for arrival, _ in packets]
            deviations += [abs(b - a - FRAME_NS) for a, b in zip(arrivals, arrivals[1:])]
            loud = [arrival + place * 125_000 for arrival, place in packets if place >= 0]
            for number, sent, latest in bursts:
                delay = next((heard - sent for heard in loud if 0 <= heard - sent < latest), None)
                if delay is None:
                    continue
                if number == caller.number:
                    own += 1
                else:
                    delays.append(delay)
        return delays, deviations, own, max(len(bursts) * (len(self.callers) - 1), 1)


def configure(timing, application, port, library):
    home = ROOT + INSIDE
    shutil.rmtree(home, ignore_errors=True)
    for folder in ("etc", "db", "cache", "spool", "run", "log", "music"):
        os.makedirs(f"{home}/{folder}")
    module = glob.glob(f"{ROOT}/usr/lib/**/asterisk/modules/res_timing_dahdi.so", recursive=True)[0]
    values = {
        "HOME": INSIDE,
        "MODULES": os.path.dirname(module).removeprefix(ROOT),
        "TIMING": timing,
        "ASTERISK_PORT": str(port),
        "RTP_START": "25000",
        "RTP_END": "29999",
        "EXTENSIONS": f"exten => 100,1,Answer()\n same => n,{application}\n",
    }
    for template in glob.glob("tests/peer/asterisk/*.conf") + glob.glob("tests/dahdi/asterisk/*.conf"):
        with open(template) as source:
            text = source.read()
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        if library is None:
            text = "".join(line for line in text.splitlines(True) if "chan_dahdi" not in line and "app_meetme" not in line)
        with open(f"{home}/etc/{os.path.basename(template)}", "w") as out:
            out.write(text)
    if library:
        shutil.copy(library, f"{home}/libunisono_dahdi.so")
    return home


def versions():
    with open("Cargo.toml", "rb") as source:
        ours = tomllib.load(source)["workspace"]["package"]["version"]
    return {"unisono": ours, "Asterisk": servers.Asterisk.version()}


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def without_steal(windows):
    return [window for window in windows if window["steal"] <= MOST_STEAL]


def own_voice(data):
    """How often talkers heard themselves, in windows without steal."""
    return sum(window["own_voice"] for entry in data["results"] for window in without_steal(entry["windows"]))


def words(data):
    taken = [window for entry in data["results"] for window in entry["windows"]]
    good = without_steal(taken)
    most = f"{100 * max(window['steal'] for window in good):.1f} %" if good else "–"
    facts = [
        f"{data['date']}; {documents.machine_words(data['machine'])}.",
        ", ".join(f"{name} {version}" for name, version in data["versions"].items())
        + f"; `{data['command']}`, {data['seconds'] / 60:.0f} min.",
        f"{len(good)} windows, and {len(taken) - len(good)} left out for steal of more than {100 * MOST_STEAL:g} % of all processor"
        f" time; greatest steal of one that counts: {most}.",
        "Scheduling: "
        + "; ".join(
            f"{name}: " + ", ".join(f"{count} threads {how}" for how, count in sorted(found.items()))
            for name, found in data["scheduling"].items()
        )
        + ".",
        f"Own voice: heard {own_voice(data)} times." if own_voice(data) else "Own voice: never heard.",
    ]
    return "\n".join(f"* {fact}" for fact in facts) + f"\n\n{table(data)}\n\n{ratios(data)}"


COLUMNS = {
    "CPU µs a frame": ("cpu_us", 1),
    "delay p50 ms": ("delay_p50_ms", 1),
    "delay p99 ms": ("delay_p99_ms", 1),
    "deviation p99 ms": ("deviation_p99_ms", 1),
}


def table(data):
    titles = ["callers", "", *COLUMNS, "delay max ms", "missed %", "own voice", "greatest steal %", "windows"]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for entry in sorted(data["results"], key=lambda entry: (entry["callers"], entry["contestant"])):
        windows = entry["windows"]
        good = without_steal(windows)
        cells = [spread([window[key] for window in good], digits) for key, digits in COLUMNS.values()]
        for key, scale, digits in (("delay_max_ms", 1, 0), ("missed", 100, 1), ("own_voice", 1, 0), ("steal", 100, 1)):
            cells.append(f"{scale * max(window[key] for window in good):.{digits}f}" if good else "–")
        counted = f"{len(good)}" + (f" (+{len(windows) - len(good)})" if len(good) < len(windows) else "")
        lines.append("| " + " | ".join([str(entry["callers"]), entry["contestant"], *cells, counted]) + " |")
    return "\n".join(lines)


def ratios(data):
    """Contestants of one round had the same weather, or nearly."""
    ours, theirs = CONTESTANTS
    found = {(entry["contestant"], entry["callers"]): entry["windows"] for entry in data["results"]}
    lines = [f"| {ours} / {theirs} | CPU | delay |", "|---|---|---|"]
    for callers in sorted({callers for _, callers in found}):
        cells = []
        for key in ("cpu_us", "delay_p50_ms"):
            above, below = (by_round(found.get((name, callers), []), key) for name in CONTESTANTS)
            cells.append(spread([above[number] / below[number] for number in above if below.get(number)], 2))
        lines.append(f"| {callers} callers | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_round(windows, key):
    rounds = collections.defaultdict(list)
    for window in without_steal(windows):
        rounds[window["round"]].append(window[key])
    return {number: statistics.median(values) for number, values in rounds.items()}


def write_docs(figures):
    with open(figures) as source:
        documents.replace(DOCUMENT, {"meetme": words(json.load(source))})
    print(f"{DOCUMENT}: table written")
    return 0


if __name__ == "__main__":
    run_script(main)
