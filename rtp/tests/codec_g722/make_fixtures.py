#!/usr/bin/env python3
"""Makes the known-answer files of codec_g722.rs from two independent G.722 codecs.

    apt-get install ffmpeg libspandsp2
    python3 make_fixtures.py            # rewrites the files beside this script
    python3 make_fixtures.py --compare  # long random signals: says where the two differ

Both run at 64 kbit/s (mode 1), ffmpeg without its trellis search (off by default), and encode alike. Decoding, they
differ in one thing: the recommendation limits the output to 16 bits and so does ffmpeg, but libspandsp wraps around.
So ffmpeg makes the files, and libspandsp must agree wherever ffmpeg's output is not at its limit.

    signal.pcm     16 kHz input, 16 bit little-endian
    signal.g722    its encoding
    decoded.pcm    the decoding of that
    noise.g722     random octets, also those that no encoder sends
    noise.pcm      the decoding of that
"""

import array
import ctypes
import math
import pathlib
import random
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def signal():
    """Half a second: silence, a sweep, full-scale square and noise, impulses, a vowel-like buzz that fades."""
    rng = random.Random(722)
    out = [0] * 400
    out += [round(20000 * math.sin(2 * math.pi * (50 * t + 3900 * t * t / 0.2))) for t in (n / 16000 for n in range(1600))]
    out += [32767 if n // 20 % 2 else -32768 for n in range(800)]
    out += [rng.randint(-32768, 32767) for _ in range(1200)]
    out += [32767 if n % 97 == 0 else -32768 if n % 89 == 0 else 0 for n in range(800)]
    out += [rng.randint(-3, 3) for _ in range(800)]
    for n in range(2400):
        t = n / 16000
        buzz = sum(math.sin(2 * math.pi * 140 * k * t) / (1 + ((140 * k - 700) / 300) ** 2) for k in range(1, 50))
        out.append(round(9000 * math.exp(-12 * t) * buzz))
    return struct.pack(f"<{len(out)}h", *(max(-32768, min(32767, x)) for x in out))


def ffmpeg(data, source, target):
    command = ["ffmpeg", "-v", "error", *source, "-i", "pipe:0", *target, "pipe:1"]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def ffmpeg_encode(pcm):
    return ffmpeg(pcm, ["-f", "s16le", "-ar", "16000", "-ac", "1"], ["-c:a", "g722", "-f", "g722"])


def ffmpeg_decode(g722):
    return ffmpeg(g722, ["-f", "g722"], ["-f", "s16le"])


def spandsp(kind, data, out_octets, length):
    lib = ctypes.CDLL("libspandsp.so.2")
    init, run = getattr(lib, f"g722_{kind}_init"), getattr(lib, f"g722_{kind}")
    init.restype = ctypes.c_void_p
    state = ctypes.c_void_p(init(None, 64000, 0))
    out = ctypes.create_string_buffer(out_octets)
    count = run(state, out, ctypes.create_string_buffer(data, len(data)), length)
    return out.raw[: count * (2 if kind == "decode" else 1)]


def spandsp_encode(pcm):
    return spandsp("encode", pcm, len(pcm), len(pcm) // 2)


def spandsp_decode(g722):
    return spandsp("decode", g722, len(g722) * 4, len(g722))


def disagree_encoding(what, pcm):
    ours, theirs = ffmpeg_encode(pcm), spandsp_encode(pcm)
    return verdict(f"{what}, encoded", len(ours), [n for n, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]])


def disagree_decoding(what, g722):
    ours, theirs = ffmpeg_decode(g722), spandsp_decode(g722)
    pairs = enumerate(zip(array.array("h", ours), array.array("h", theirs), strict=True))
    return verdict(f"{what}, decoded", len(ours) // 2, [n for n, (a, b) in pairs if a != b and a not in (-32768, 32767)])


def verdict(what, total, at):
    print(f"{what}: {len(at)} of {total} differ", f"from {at[0]} on" if at else "")
    return bool(at)


def main():
    bad = False
    if "--compare" in sys.argv:
        rng = random.Random(1)
        for scale in (32767, 8000, 300):
            pcm = struct.pack("<160000h", *(rng.randint(-scale, scale) for _ in range(160000)))
            bad |= disagree_encoding(f"noise to {scale}", pcm)
            bad |= disagree_decoding(f"noise to {scale}", ffmpeg_encode(pcm))
        bad |= disagree_decoding("random octets", rng.randbytes(80000))
        return int(bad)

    pcm = signal()
    coded = ffmpeg_encode(pcm)
    noise = random.Random(723).randbytes(2000)
    files = {
        "signal.pcm": pcm,
        "signal.g722": coded,
        "decoded.pcm": ffmpeg_decode(coded),
        "noise.g722": noise,
        "noise.pcm": ffmpeg_decode(noise),
    }
    for name, data in files.items():
        (HERE / name).write_bytes(data)
    bad |= disagree_encoding("signal", pcm)
    bad |= disagree_decoding("signal", coded)
    bad |= disagree_decoding("noise", noise)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
