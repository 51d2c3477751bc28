"""What capacity.py measures: scenarios, and how many callers of each contestant."""

import dataclasses

UNISONO, ASTERISK, JANUS = "unisono", "Asterisk ConfBridge", "Janus AudioBridge"
# The same with all audio received on one port.
SHARED = "unisono, shared port"
CONTESTANTS = (UNISONO, SHARED, ASTERISK, JANUS)


@dataclasses.dataclass(frozen=True)
class Turn:
    """What one contestant does in a scenario: windows with so many callers, and a ramp (from, to, factor)."""

    callers: tuple = ()
    ramp: tuple | None = None


@dataclasses.dataclass(frozen=True)
class Scenario:
    title: str
    codec: str
    talk: str
    # Callers in a conference; 0 is one conference of all.
    size: int
    turns: dict
    # Those who do not talk send the noise of an open microphone, and not digital silence.
    noise: bool = False

    def codecs(self):
        """The codec of each of a hundred callers, spread evenly, for those who must be told beforehand."""
        if not self.codec.startswith("mix:"):
            return [self.codec]
        shares = [part.split("=") for part in self.codec.removeprefix("mix:").split(",")]
        total = sum(float(share) for _, share in shares)
        counts = dict.fromkeys((name for name, _ in shares), 0)
        order = []
        for place in range(1, 101):
            # Whoever is furthest behind its share.
            name = max(shares, key=lambda part: float(part[1]) / total * place - counts[part[0]])[0]
            counts[name] += 1
            order.append(name)
        return order


# A window of so many callers is to show what degrades, and not that calls are refused.
REFUSES_BELOW = 5_000

MIXTURE = "mix:pcmu=70,opus=30"

FULL = {
    "one": Scenario(
        "One conference, 3 talkers, G.711", "pcmu", "3", 0,
        {
            UNISONO: Turn((200, 1000, 2000), (2000, 8000, 1.12)),
            SHARED: Turn((200, 1000, 2000), (2000, 8000, 1.12)),
            ASTERISK: Turn((100, 200), (150, 800, 1.2)),
            JANUS: Turn((100, 200), (150, 800, 1.2)),
        },
    ),
    "three": Scenario(
        "Conferences of 3, all talk, G.711", "pcmu", "3", 3,
        {
            UNISONO: Turn((198, 999, 1998), (1500, 6000, 1.15)),
            ASTERISK: Turn((198,), (150, 600, 1.2)),
            JANUS: Turn((198,), (150, 600, 1.2)),
        },
    ),
    "ten": Scenario(
        "Conferences of 10, 3 talkers in each, G.711", "pcmu", "3", 10,
        {
            UNISONO: Turn((200, 1000, 2000), (1500, 6000, 1.15)),
            ASTERISK: Turn((200,), (150, 800, 1.2)),
            JANUS: Turn((200,), (150, 800, 1.2)),
        },
    ),
    "listeners": Scenario(
        "One conference, 1 talker and listeners, G.711", "pcmu", "1", 0,
        {
            UNISONO: Turn((1000,), (2000, 10_000, 1.15)),
            SHARED: Turn((1000, 10_000), (2000, 10_000, 1.15)),
            ASTERISK: Turn((200,), (150, 800, 1.2)),
            JANUS: Turn((200,), (150, 800, 1.2)),
        },
    ),
    "all": Scenario(
        "One conference, all talk, G.711", "pcmu", "all", 0,
        {UNISONO: Turn((100, 1000)), ASTERISK: Turn((100,)), JANUS: Turn((100,))},
    ),
    "opus": Scenario(
        "One conference, 3 talkers, Opus 48 kHz", "opus", "3", 0,
        {
            UNISONO: Turn((50, 1000), (1000, 6000, 1.2)),
            ASTERISK: Turn((20,), (20, 300, 1.4)),
            JANUS: Turn((20,), (20, 300, 1.4)),
        },
    ),
    "mixture": Scenario(
        "One conference, 3 talkers, G.711 (70 %) and Opus (30 %)", MIXTURE, "3", 0,
        {
            UNISONO: Turn((100, 1000), (1000, 6000, 1.2)),
            ASTERISK: Turn((50,), (40, 400, 1.4)),
            JANUS: Turn((50,), (40, 400, 1.4)),
        },
    ),
    "noise": Scenario(
        "One conference, 3 talkers, open microphones (noise), G.711", "pcmu", "3", 0,
        {
            UNISONO: Turn((200, 1000), (2000, 8000, 1.12)),
            SHARED: Turn((200, 1000)),
            ASTERISK: Turn((200,), (150, 800, 1.2)),
            JANUS: Turn((200,), (150, 800, 1.2)),
        },
        noise=True,
    ),
    "quiet": Scenario("Conferences of one who is silent, G.711", "pcmu", "0", 1, {UNISONO: Turn((1000,))}),
}


# What an overload is shown with: so costly to the server that it is full long before the generator, with much to give up.
SPEECH = Scenario("Conferences of 5, talk spurts as in speech, Opus 48 kHz", "opus", "speech", 5, {})

# What is measured beside the scenarios, of unisono alone and in the first round.
IDLE, REFUSAL, OVERLOAD = "idle", "refusal", "overload"
EXTRAS = {
    IDLE: "1,000 conferences of nobody",
    REFUSAL: "from how many on calls are refused without a configuration",
    OVERLOAD: "120 and 150 % of what was held, and what is given up",
}
# Conferences of nobody.
IDLE_CONFERENCES = 1000


@dataclasses.dataclass(frozen=True)
class Mode:
    """What a run measures: scenarios and extras, how many rounds, and how long a window is (s)."""

    plan: dict
    extras: tuple
    rounds: int
    seconds: float
    # Ramps of the extras (from, to, factor): until calls are refused, and until conferences in Opus are too many.
    refusal: tuple = (1000, 8000, 1.1)
    overload: tuple = (40, 800, 1.15)


def only(scenario, turns):
    """The same scenario with other numbers of callers."""
    return dataclasses.replace(scenario, turns=turns)


# What the table of aims needs, and no more.
AIMS = {
    "one": only(
        FULL["one"],
        {
            UNISONO: Turn((1000,), (1500, 6048, 1.2)),
            SHARED: Turn((1000,), (1500, 6048, 1.2)),
            ASTERISK: Turn((200,), (252, 504, 1.26)),
            JANUS: Turn((200,), (252, 504, 1.26)),
        },
    ),
    "all": only(FULL["all"], {UNISONO: Turn((1000,))}),
    "opus": only(FULL["opus"], {UNISONO: Turn((1000,))}),
}

# Every table of docs/capacity.md and docs/overload.md, in half an hour: coarser ramps, fewer windows.
TABLES = {
    "one": only(
        FULL["one"],
        {
            UNISONO: Turn((200, 1000, 2000), (2500, 6221, 1.2)),
            SHARED: Turn((1000, 2000), (2500, 6221, 1.2)),
            ASTERISK: Turn((100, 200), (200, 504, 1.26)),
            JANUS: Turn((100, 200), (200, 504, 1.26)),
        },
    ),
    "three": only(
        FULL["three"],
        {
            UNISONO: Turn((999, 1998), (2000, 5256, 1.38)),
            ASTERISK: Turn((198,), (198, 396, 1.42)),
            JANUS: Turn((198,), (198, 396, 1.42)),
        },
    ),
    "ten": only(
        FULL["ten"],
        {
            UNISONO: Turn((1000, 2000), (2000, 5256, 1.38)),
            ASTERISK: Turn((200,), (200, 564, 1.42)),
            JANUS: Turn((200,), (200, 564, 1.42)),
        },
    ),
    "listeners": only(
        FULL["listeners"],
        {
            UNISONO: Turn((1000,), (2500, 6570, 1.38)),
            SHARED: Turn((1000, 10_000), (3000, 7884, 1.38)),
            ASTERISK: Turn((200,), (200, 564, 1.42)),
            JANUS: Turn((200,), (200, 564, 1.42)),
        },
    ),
    "all": only(FULL["all"], {UNISONO: Turn((1000,)), ASTERISK: Turn((100,)), JANUS: Turn((100,))}),
    "opus": only(
        FULL["opus"],
        {
            UNISONO: Turn((1000,), (2000, 5256, 1.38)),
            ASTERISK: Turn((20,), (40, 160, 1.6)),
            JANUS: Turn((20,), (40, 160, 1.6)),
        },
    ),
    "mixture": only(
        FULL["mixture"],
        {
            UNISONO: Turn((1000,), (2000, 5256, 1.38)),
            ASTERISK: Turn((50,), (75, 300, 1.6)),
            JANUS: Turn((50,), (75, 300, 1.6)),
        },
    ),
    "noise": only(FULL["noise"], {UNISONO: Turn((1000,)), SHARED: Turn((1000,)), ASTERISK: Turn((200,)), JANUS: Turn((200,))}),
    "quiet": FULL["quiet"],
}

# Whether everything runs; the figures are of little use.
QUICK = {
    "one": only(
        FULL["one"],
        {
            UNISONO: Turn((200,), (1000, 2000, 2.0)),
            SHARED: Turn((200,)),
            ASTERISK: Turn((50,), (100, 200, 2.0)),
            JANUS: Turn((50,), (100, 200, 2.0)),
        },
    ),
    "three": only(FULL["three"], {name: Turn((30,)) for name in CONTESTANTS if name != SHARED}),
    "ten": only(FULL["ten"], {name: Turn((50,)) for name in CONTESTANTS if name != SHARED}),
    "listeners": only(FULL["listeners"], {UNISONO: Turn((500,)), ASTERISK: Turn((50,)), JANUS: Turn((50,))}),
    "all": only(FULL["all"], {UNISONO: Turn((200,)), ASTERISK: Turn((30,)), JANUS: Turn((30,))}),
    "opus": only(FULL["opus"], {UNISONO: Turn((100,)), ASTERISK: Turn((10,)), JANUS: Turn((10,))}),
    "mixture": only(FULL["mixture"], {UNISONO: Turn((100,)), ASTERISK: Turn((10,)), JANUS: Turn((10,))}),
    "noise": only(FULL["noise"], {UNISONO: Turn((100,)), SHARED: Turn((100,)), ASTERISK: Turn((20,)), JANUS: Turn((20,))}),
    "quiet": only(FULL["quiet"], {UNISONO: Turn((100,))}),
}

MODES = {
    "full": Mode(FULL, (IDLE, REFUSAL, OVERLOAD), 3, 5.0),
    "tables": Mode(TABLES, (IDLE, REFUSAL, OVERLOAD), 1, 3.0, refusal=(2000, 8000, 1.15), overload=(60, 600, 1.3)),
    "aims": Mode(AIMS, (), 3, 4.0),
    "quick": Mode(QUICK, (IDLE, REFUSAL, OVERLOAD), 1, 2.0, refusal=(500, 1000, 2.0), overload=(20, 40, 2.0)),
}


def steps(first, last, factor):
    """The numbers of callers of a ramp."""
    callers = first
    while callers < last:
        yield callers
        callers = min(max(round(callers * factor), callers + 1), last)
    yield last


# What a call costs besides the window, s: a server's start and end, and each caller's entering and leaving. By trial on 2 processors.
START_SECONDS = {UNISONO: 1.0, SHARED: 1.0, ASTERISK: 2.0, JANUS: 1.0}
CALLER_SECONDS = {UNISONO: 1 / 500, SHARED: 1 / 500, ASTERISK: 1 / 120, JANUS: 1 / 120}
# Settling, listening, and the generator's own beginning and end.
WINDOW_SECONDS = 3.5


def seconds_of(mode, options):
    """How long a run takes at most, but for windows that have to be repeated: every ramp to its end, and one step of it tried again."""
    total = 0.0
    call = lambda name, callers, seconds: WINDOW_SECONDS + callers * CALLER_SECONDS[name] + seconds
    for key in options.scenario:
        for name in options.contestant:
            turn = mode.plan[key].turns.get(name, Turn()) if key in mode.plan else Turn()
            total += sum(START_SECONDS[name] + call(name, callers, options.seconds) for callers in turn.callers)
            if turn.ramp:
                tried = list(steps(*turn.ramp))
                total += START_SECONDS[name] * (len(tried) + 1 if name == JANUS else 1)
                total += sum(call(name, callers, max(options.seconds - 1, 2)) for callers in [*tried, tried[-1]])
    # The bare loops, 4 rounds of 6 ways; the mixer alone.
    total += (20 + 15) if UNISONO in options.contestant else 0
    total *= options.rounds
    if UNISONO in options.contestant:
        for key in options.extras:
            total += extra_seconds(mode, key)
    return total


def extra_seconds(mode, key):
    if key == IDLE:
        return START_SECONDS[UNISONO] + IDLE_SECONDS + 1
    first, last, factor = mode.refusal if key == REFUSAL else mode.overload
    ramp = len(list(steps(first, last, factor))) * (RAMP_SETTLE + RAMP_WINDOW + 1) + last * CALLER_SECONDS[UNISONO]
    if key == REFUSAL:
        return ramp
    return ramp + 2 * len(OVERLOAD_SHARES) * (START_SECONDS[UNISONO] + OVERLOAD_SETTLE + OVERLOAD_WINDOW + 2 * WINDOW_SECONDS)


# How long idle conferences are watched; each step of an extra's ramp settles and is measured; an overload settles and is measured, s.
IDLE_SECONDS = 5
RAMP_SETTLE, RAMP_WINDOW = 2, 2
OVERLOAD_SETTLE, OVERLOAD_WINDOW = 10, 6
# Callers against those that were held.
OVERLOAD_SHARES = (1.2, 1.5)
