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
            UNISONO: Turn((198, 999), (1500, 6000, 1.15)),
            ASTERISK: Turn((198,), (150, 600, 1.2)),
            JANUS: Turn((198,), (150, 600, 1.2)),
        },
    ),
    "ten": Scenario(
        "Conferences of 10, 3 talkers in each, G.711", "pcmu", "3", 10,
        {
            UNISONO: Turn((200, 1000), (1500, 6000, 1.15)),
            ASTERISK: Turn((200,), (150, 800, 1.2)),
            JANUS: Turn((200,), (150, 800, 1.2)),
        },
    ),
    "listeners": Scenario(
        "One conference, 1 talker and listeners, G.711", "pcmu", "1", 0,
        {
            UNISONO: Turn((1000,), (2000, 10_000, 1.15)),
            SHARED: Turn((1000,), (2000, 10_000, 1.15)),
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
}


def only(scenario, turns):
    return dataclasses.replace(scenario, turns=turns)


# What the table of aims needs, and no more.
AIMS = {
    "one": only(
        FULL["one"],
        {
            UNISONO: Turn((1000,), (3500, 6048, 1.2)),
            SHARED: Turn((1000,)),
            ASTERISK: Turn((200,), (252, 504, 1.26)),
            JANUS: Turn((200,), (252, 504, 1.26)),
        },
    ),
    "all": only(FULL["all"], {UNISONO: Turn((1000,))}),
    "opus": only(FULL["opus"], {UNISONO: Turn((1000,))}),
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
}
