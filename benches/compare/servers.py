"""The contestants of capacity.py: how each is started on one CPU, told of conferences, measured and ended."""

import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ASTERISK = "target/peers/asterisk"
JANUS = "target/peers/janus"
# Where Asterisk's files are, as it sees them.
INSIDE = "/tmp/unisono/capacity"
# Audio ports of the servers. The generator's are the kernel's own, which are above; Janus has to be told its callers' before they call.
SHARED_PORT, FIRST_PORT, LAST_PORT = 9_000, 10_000, 31_999
JANUS_LAST_PORT, CALLERS_FROM = 19_999, 20_000
START_SECONDS = 60
# More would be slow to reach by HTTP, and Janus has failed long before.
MOST_OF_JANUS = 2_000
ROOM_RATE = {"pcmu": 8000, "opus": 48000}
PAYLOAD_TYPES = {"pcmu": 0, "pcma": 8, "g722": 9, "opus": 111}


class Server:
    """A process of its own session on one CPU. `name` and `version` say what it is, `target` how it is called."""

    def __init__(self, command, folder, environment=None):
        self.folder = folder
        self.log_path = os.path.join(folder, "said")
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                # If we are killed, so is it.
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | (environment or {}),
                # Weighed by the scheduler as a group of its own.
                start_new_session=True,
            )
        self.pid = self.process.pid

    def wait_until(self, ready):
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(self.log_path) as log:
                    said = log.read()[-2000:]
                self.stop()
                raise RuntimeError(f"{self.name} does not start:\n{said}")
            time.sleep(0.1)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def alive(self):
        return self.process.poll() is None


class Unisono(Server):
    """`refusing`: new calls are refused above a load of 80 %, as they are without a configuration. `control_cpu`: all but the media worker
    may run there as well. `conferences`: so many that are configured, and of nobody. `environment`: what is set for it."""

    name = "unisono"

    def __init__(self, binary, cpu, shared=False, refusing=True, control_cpu=None, conferences=0, environment=None):
        sip, http = free_port(), free_port()
        folder = tempfile.mkdtemp(prefix="unisono-capacity-")
        one_port = f"shared_port = {SHARED_PORT}\n" if shared else ""
        overload = "" if refusing else "[overload]\nrefuse_above = 100\n"
        listed = "".join(f'[[conference]]\nname = "idle{number}"\n' for number in range(conferences))
        cpus = str(cpu) if control_cpu is None else f"{cpu},{control_cpu}"
        pinned = "" if control_cpu is None else f"cpus = [{cpu}]\n"
        config = os.path.join(folder, "unisono.toml")
        with open(config, "w") as out:
            out.write(
                f'[sip]\nlisten = "127.0.0.1:{sip}"\n[http]\nlisten = "127.0.0.1:{http}"\n'
                f"[media]\nfirst_port = {FIRST_PORT}\nlast_port = {LAST_PORT}\nmax_legs = 11000\nworkers = 1\n{pinned}{one_port}"
                f"[conferences]\nannounce_join_leave = false\nannounce_only_person = false\n{overload}{listed}"
            )
        command = ["taskset", "-c", cpus, "sh", "-c", 'ulimit -S -n "$(ulimit -H -n)"; exec "$0" "$@"']
        super().__init__([*command, binary, "serve", "--config", config], folder, {"UNISONO_LOG": "warn"} | (environment or {}))
        self.target = f"sip:room{{}}@127.0.0.1:{sip}"
        self.shared = shared
        self.http = f"http://127.0.0.1:{http}"
        self.wait_until(lambda: answers(f"{self.http}/healthz"))

    def metrics(self, *names):
        """The sums of metrics' values at one time, or None if the server has no time to answer."""
        try:
            with urllib.request.urlopen(f"{self.http}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return None
        return [sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[ {{]", line)) for name in names]

    def overload(self, thresholds=None):
        """What /v1/overload says, after `thresholds` are set if some are given; None if the server has no time to answer."""
        data = json.dumps(thresholds).encode() if thresholds else None
        method = "PATCH" if thresholds else "GET"
        request = urllib.request.Request(f"{self.http}/v1/overload", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    @staticmethod
    def version(binary):
        return subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]


class Asterisk(Server):
    name = "Asterisk ConfBridge"

    def __init__(self, cpu, codec):
        self.port = free_port()
        home = ASTERISK + INSIDE
        configure_asterisk(home, self.port, codec)
        start = (
            f"mount -t proc proc {ASTERISK}/proc && mount --rbind /dev {ASTERISK}/dev && ulimit -S -n $(ulimit -H -n) &&"
            f" exec taskset -c {cpu} chroot {ASTERISK} asterisk -f -C {INSIDE}/etc/asterisk.conf"
        )
        super().__init__(["unshare", "--mount", "sh", "-c", start], home)
        self.target = f"sip:{{}}@127.0.0.1:{self.port}"
        self.wait_until(lambda: "fully booted" in self.command("core waitfullybooted"))

    def command(self, command):
        console = ["chroot", ASTERISK, "asterisk", "-C", f"{INSIDE}/etc/asterisk.conf", "-rx", command]
        return subprocess.run(console, capture_output=True, text=True, timeout=START_SECONDS).stdout

    def stop(self):
        if self.alive():
            try:
                self.command("core stop now")
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        super().stop()

    @staticmethod
    def version():
        query = ["chroot", ASTERISK, "dpkg-query", "-W", "-f", "${Version}", "asterisk"]
        version = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        return version.removeprefix("1:").split("+")[0]


def configure_asterisk(home, port, codec):
    """Few modules, no announcements, 20 ms mixing, timerfd; the rate of the mix is the callers'."""
    shutil.rmtree(home, ignore_errors=True)
    for folder in ("etc", "db", "cache", "spool", "run", "log"):
        os.makedirs(f"{home}/{folder}")
    module = glob.glob(f"{ASTERISK}/usr/lib/**/asterisk/modules/res_timing_timerfd.so", recursive=True)[0]
    values = {
        "HOME": INSIDE,
        "MODULES": os.path.dirname(module).removeprefix(ASTERISK),
        "SIP_PORT": str(port),
        "RTP_START": str(FIRST_PORT),
        "RTP_END": str(LAST_PORT),
        "RATE": str(ROOM_RATE[codec]) if codec in ROOM_RATE else "auto",
    }
    for template in glob.glob("tests/peer/asterisk/*.conf") + glob.glob("benches/compare/asterisk/*.conf"):
        with open(template) as source:
            text = source.read()
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        with open(f"{home}/etc/{os.path.basename(template)}", "w") as out:
            out.write(text)


class Janus(Server):
    """Callers are joined by HTTP, one handle each; those that are there are `callers`, the list that the generator wants."""

    name = "Janus AudioBridge"

    def __init__(self, cpu, codec):
        self.port = free_port()
        folder = tempfile.mkdtemp(prefix="unisono-capacity-")
        configure_janus(folder, self.port)
        command = ["taskset", "-c", str(cpu), "sh", "-c", 'ulimit -S -n "$(ulimit -H -n)"; exec "$0" "$@"']
        super().__init__([*command, os.path.abspath(f"{JANUS}/usr/bin/janus"), "-F", folder], folder)
        self.address = f"http://127.0.0.1:{self.port}/janus"
        self.wait_until(lambda: answers(f"{self.address}/info"))
        self.codec = codec
        self.target = f"rtp:{folder}/callers.json"
        self.session = self.ask({"janus": "create"})["data"]["id"]
        self.rooms = set()
        self.callers = []

    def ask(self, question, path=""):
        question["transaction"] = "capacity"
        request = urllib.request.Request(self.address + path, json.dumps(question).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = json.load(answer)
        if found["janus"] == "error":
            raise RuntimeError(f"Janus: {found['error']['reason']}")
        return found

    def handle(self):
        attach = {"janus": "attach", "plugin": "janus.plugin.audiobridge"}
        return self.ask(attach, f"/{self.session}")["data"]["id"]

    def gather(self, callers, size, codecs):
        """Lets more callers in until there are so many: `size` in each conference, 0 for one of all; codecs in turn."""
        for number in range(len(self.callers), callers):
            room = number // size + 1 if size else 1
            if room not in self.rooms:
                self.open_room(room)
            self.join(number, room, codecs[number % len(codecs)])
        with open(self.target.removeprefix("rtp:"), "w") as out:
            json.dump(self.callers, out)

    def open_room(self, room):
        if not self.rooms:
            self.desk = self.handle()
        rate = ROOM_RATE.get(self.codec, 48000)
        body = {"request": "create", "room": room, "sampling_rate": rate, "audiolevel_ext": False, "audiolevel_event": False}
        body |= {"record": False, "allow_rtp_participants": True, "permanent": False}
        made = self.ask({"janus": "message", "body": body}, f"/{self.session}/{self.desk}")["plugindata"]["data"]
        if made.get("audiobridge") != "created":
            raise RuntimeError(f"Janus: no room: {made}")
        self.rooms.add(room)

    def join(self, number, room, codec):
        local, payload_type = CALLERS_FROM + 2 * number, PAYLOAD_TYPES[codec]
        handle = self.handle()
        rtp = {"ip": "127.0.0.1", "port": local, "payload_type": payload_type}
        body = {"request": "join", "room": room, "display": str(number), "codec": codec, "muted": False, "rtp": rtp}
        self.ask({"janus": "message", "body": body}, f"/{self.session}/{handle}")
        joined = self.joined(handle)
        self.callers.append(
            {
                "local_port": local,
                "remote": f"127.0.0.1:{joined['port']}",
                "conference": room,
                "codec": codec,
                "payload_type": joined.get("payload_type", payload_type),
                "payload_type_dtmf": None,
            }
        )

    def joined(self, handle):
        """Waits for the answer to a join among the events, of which others tell who else is there."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"{self.address}/{self.session}?maxev=100", timeout=40) as answer:
                events = json.load(answer)
            for event in events if isinstance(events, list) else [events]:
                data = event.get("plugindata", {}).get("data", {})
                if event.get("sender") == handle and "error" in data:
                    raise RuntimeError(f"Janus: {data['error']}")
                if event.get("sender") == handle and data.get("audiobridge") == "joined" and "rtp" in data:
                    return data["rtp"]
        raise RuntimeError("Janus does not answer a join")

    @staticmethod
    def version():
        with open(f"{JANUS}/version") as source:
            return source.read().strip().split("-")[0]


def configure_janus(folder, port):
    """AudioBridge and HTTP only, on loopback, nothing said but errors."""
    libraries = os.path.abspath(f"{JANUS}/usr/lib/x86_64-linux-gnu/janus")
    for kind, library in (("plugins", "libjanus_audiobridge.so"), ("transports", "libjanus_http.so")):
        os.makedirs(f"{folder}/{kind}")
        os.symlink(f"{libraries}/{kind}/{library}", f"{folder}/{kind}/{library}")
    for kind in ("events", "loggers"):
        os.makedirs(f"{folder}/{kind}")
    files = {
        "janus.jcfg": f"""general: {{
    configs_folder = "{folder}"
    plugins_folder = "{folder}/plugins"
    transports_folder = "{folder}/transports"
    events_folder = "{folder}/events"
    loggers_folder = "{folder}/loggers"
    interface = "127.0.0.1"
    debug_level = 2
    session_timeout = 0
    reclaim_session_timeout = 0
}}
media: {{ ipv6 = false }}
""",
        "janus.transport.http.jcfg": f"""general: {{
    json = "compact"
    base_path = "/janus"
    http = true
    port = {port}
    ip = "127.0.0.1"
    https = false
}}
admin: {{ admin_http = false }}
""",
        "janus.plugin.audiobridge.jcfg": f"""general: {{
    local_ip = "127.0.0.1"
    rtp_port_range = "{FIRST_PORT}-{JANUS_LAST_PORT}"
    events = false
}}
""",
    }
    for name, text in files.items():
        with open(f"{folder}/{name}", "w") as out:
            out.write(text)


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except urllib.error.HTTPError:
        # It runs, whatever it has to say of its health.
        return True
    except OSError:
        return False


def free_port():
    """A port that neither UDP nor TCP uses on loopback."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            port = udp.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
                try:
                    tcp.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
