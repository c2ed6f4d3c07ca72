"""Audio that the comparison makes itself: voices, speech-like sounds and things that are no voice at all.

Everything is computed from fixed seeds with numpy alone, so every run and every machine measures the same files. None
of it was used to write the program. A voice is a row of glottal pulses, each with a period and a height of its own,
plus breath noise, through the resonances of a vocal tract.
"""

import struct
from pathlib import Path

import numpy as np

# Resonance frequencies and bandwidths in Hz of a few vowels.
VOWELS = {
    "a": ((730, 90), (1090, 110), (2440, 160), (3400, 250)),
    "i": ((270, 60), (2290, 120), (3010, 180), (3600, 250)),
    "u": ((300, 70), (870, 90), (2240, 150), (3300, 250)),
    "e": ((530, 70), (1840, 110), (2480, 160), (3500, 250)),
    "o": ((570, 80), (840, 90), (2410, 160), (3300, 250)),
}


def resonate(x, rate, vowel, scale=1.0):
    """The sound behind a vocal tract, computed in one transform of the whole stretch."""
    padded = np.zeros(len(x) + rate // 10)
    padded[: len(x)] = x
    z = np.exp(2j * np.pi * np.fft.rfftfreq(len(padded)))
    response = np.ones(len(z), dtype=complex)
    for frequency, bandwidth in VOWELS[vowel]:
        frequency *= scale
        if frequency > 0.46 * rate:
            continue
        r = np.exp(-np.pi * bandwidth / rate)
        c = 2 * r * np.cos(2 * np.pi * frequency / rate)
        response *= (1 - c + r * r) / (1 - c / z + r * r / z**2)
    return np.fft.irfft(np.fft.rfft(padded) * response, len(padded))[: len(x)]


def pulses(f0, rate, rng, jitter=0.0, shimmer=0.0, open_share=0.6):
    """Glottal flow derivative with one frequency per sample in f0; jitter and shimmer are relative sds."""
    out = np.zeros(len(f0))
    t, end = 0.3 / f0[0], len(f0) / rate
    while t < end:
        period = (1.0 + jitter * rng.standard_normal()) / f0[min(int(t * rate), len(f0) - 1)]
        height = max(0.05, 1.0 + shimmer * rng.standard_normal())
        opening, closing = 0.7 * open_share * period, 0.3 * open_share * period
        n = np.arange(max(0, int(t * rate)), min(len(out), int((t + period) * rate) + 1))
        u = n / rate - t
        rising = (u >= 0) & (u < opening)
        falling = (u >= opening) & (u < opening + closing)
        out[n[rising]] += height * np.sin(np.pi * u[rising] / opening) * 0.5
        out[n[falling]] -= height * np.sin(0.5 * np.pi * (u[falling] - opening) / closing) * opening / closing
        t += max(period, 2.0 / rate)
    return out


def vowel(seed, rate, seconds, f0=120.0, name="a", jitter=0.004, shimmer=0.02, noise=0.01, glide=0.0, vibrato=0.0, **source):
    """A held vowel; noise is relative to the voice, glide and vibrato are shares of f0."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate)
    t = np.arange(n) / rate
    contour = f0 * (1 + glide * t / seconds + vibrato * np.sin(2 * np.pi * 5.3 * t))
    voice = pulses(contour, rate, rng, jitter, shimmer, **source)
    voice += noise * np.std(voice) * rng.standard_normal(n)
    return level(resonate(voice, rate, name), 0.4)


def level(x, peak):
    return x * (peak / max(1e-12, np.max(np.abs(x))))


def speech(seed, rate, syllables=9, f0=120.0, pause_noise=3e-4, scale=1.0):
    """Syllables of hiss and vowel with a falling, wandering melody, joined by pauses of several lengths."""
    rng = np.random.default_rng(seed)
    parts = []
    names = sorted(VOWELS)
    for k in range(syllables):
        if k % 3 == 2:
            parts.append(np.zeros(int(rate * rng.uniform(0.08, 0.5))))
        hiss = rng.standard_normal(int(rate * rng.uniform(0.02, 0.12)))
        hiss = np.diff(hiss, prepend=0.0) * np.hanning(len(hiss)) * rng.uniform(0.01, 0.06)
        n = int(rate * rng.uniform(0.09, 0.28))
        start = f0 * rng.uniform(0.8, 1.35)
        contour = start * np.linspace(1.0, rng.uniform(0.75, 1.2), n)
        source = pulses(contour, rate, rng, 0.01, 0.05)
        source += rng.uniform(0.005, 0.08) * np.std(source) * rng.standard_normal(n)
        loud = level(resonate(source, rate, names[rng.integers(len(names))], scale), rng.uniform(0.15, 0.6))
        edge = np.minimum(1.0, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.02 * rate))
        parts += [hiss, loud * edge]
    x = np.concatenate(parts)
    return x + pause_noise * rng.standard_normal(len(x))


def creak(seed, rate, seconds):
    """A voice that sinks from 95 Hz into slow, irregular pulses."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate)
    contour = np.where(np.arange(n) < 0.4 * n, 95.0, np.linspace(75.0, 38.0, n))
    return level(resonate(pulses(contour, rate, rng, 0.12, 0.3, open_share=0.35), rate, "a"), 0.5)


def halved(seed, rate, seconds, f0=210.0):
    """Every second pulse is weaker: the ear and the measures hesitate between f0 and its half."""
    rng = np.random.default_rng(seed)
    one = pulses(np.full(int(seconds * rate), f0 / 2), rate, rng, 0.003, 0.02, open_share=0.3)
    shift = int(rate / f0)
    return level(resonate(one + 0.6 * np.roll(one, shift), rate, "e"), 0.4)


def breaks(seed, rate, seconds):
    """A vowel that stops twice for a tenth of a second."""
    x = vowel(seed, rate, seconds, f0=140.0, jitter=0.01)
    for at in (0.35, 0.7):
        a = int(at * len(x))
        x[a : a + int(0.1 * rate)] *= 1e-3
    return x


def gaps(x, rate, every=0.7, length=0.13):
    """Digital silence cut into a sound."""
    x = x.copy()
    for at in np.arange(0.3, len(x) / rate, every):
        x[int(at * rate) : int((at + length) * rate)] = 0.0
    return x


def ulaw_codes(x):
    """G.711 mu-law codes of samples on the scale -1..1."""
    pcm = np.clip(np.round(x * 32768), -32635, 32635).astype(int)
    sign = np.where(pcm < 0, 0x80, 0)
    magnitude = np.abs(pcm) + 132
    exponent = np.floor(np.log2(magnitude)).astype(int) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)


def telephone(x, rate):
    """Through mu-law and back; the rate stays."""
    codes = ~ulaw_codes(x) & 0xFF
    magnitude = (((codes & 0x0F).astype(int) << 3) + 132 << ((codes >> 4) & 7)) - 132
    return np.where(codes & 0x80, -magnitude, magnitude) / 32768


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def write(path, x, rate, form="pcm16", channels=1):
    """A WAV file; form is pcm8, pcm16, pcm24, float32 or ulaw. A second channel is other noise."""
    if form == "ulaw":
        tag, bits, body = 7, 8, ulaw_codes(x).tobytes()
    elif form == "float32":
        tag, bits, body = 3, 32, x.astype("<f4").tobytes()
    else:
        bits = int(form[3:])
        full = 2 ** (bits - 1)
        pcm = np.clip(np.round(x * full), -full, full - 1).astype("<i4")
        if channels == 2:
            other = np.random.default_rng(9).integers(-full // 4, full // 4, len(pcm))
            pcm = np.stack([pcm, other], axis=1).ravel().astype("<i4")
        tag = 1
        if bits == 8:
            body = (pcm + 128).astype("u1").tobytes()
        else:
            body = pcm.view("u1").reshape(-1, 4)[:, : bits // 8].tobytes()
    block = channels * bits // 8
    header = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
    riff = b"WAVE" + chunk(b"fmt ", header) + chunk(b"data", body)
    Path(path).write_bytes(b"RIFF" + struct.pack("<I", len(riff)) + riff)


def all_voices():
    """Name, rate, samples and how to store them, of every file."""
    rng = np.random.default_rng(77)
    yield "vowel_a_8000", 8000, vowel(1, 8000, 1.30007), "pcm16"
    yield "vowel_a_8000_odd", 8000, vowel(2, 8000, 1.2, f0=131.7)[:-1], "pcm16"
    yield "vowel_i_high_8000", 8000, vowel(3, 8000, 1.1, f0=243.0, name="i", jitter=0.006), "ulaw"
    yield "vowel_u_8000_telephone", 8000, telephone(vowel(4, 8000, 1.51, f0=188.0, name="u"), 8000), "pcm16"
    yield "vowel_o_breathy_8000", 8000, vowel(5, 8000, 1.37, f0=205.0, name="o", noise=0.5), "ulaw"
    yield "vowel_rough_8000", 8000, vowel(6, 8000, 1.63, f0=98.0, jitter=0.04, shimmer=0.2, noise=0.1), "ulaw"
    yield "vowel_a_11025", 11025, vowel(7, 11025, 1.2, f0=117.0), "pcm16"
    yield "vowel_e_16000", 16000, vowel(8, 16000, 1.27, f0=161.0, name="e", vibrato=0.03), "pcm16"
    yield "vowel_a_16000_odd", 16000, vowel(9, 16000, 1.0, f0=222.0)[: 15_551], "pcm16"
    yield "vowel_i_22050", 22050, vowel(10, 22050, 1.1, f0=104.0, name="i", shimmer=0.08), "pcm16"
    yield "vowel_a_44100", 44100, vowel(11, 44100, 1.05, f0=127.0, noise=0.05), "pcm16"
    yield "vowel_u_48000", 48000, vowel(12, 48000, 1.013, f0=196.0, name="u"), "pcm16"
    yield "vowel_e_50000", 50000, vowel(13, 50000, 0.91, f0=149.0, name="e"), "pcm16"
    yield "vowel_glide_8000", 8000, vowel(14, 8000, 1.6, f0=110.0, glide=1.5), "pcm16"
    yield "vowel_child_16000", 16000, vowel(15, 16000, 1.1, f0=415.0, jitter=0.01), "pcm16"
    yield "vowel_limit_8000", 8000, vowel(16, 8000, 1.0, f0=492.0), "pcm16"
    yield "vowel_floor_8000", 8000, vowel(17, 8000, 1.5, f0=76.0), "pcm16"
    yield "vowel_below_floor_8000", 8000, vowel(18, 8000, 1.5, f0=61.0), "pcm16"
    yield "speech_8000", 8000, speech(20, 8000), "pcm16"
    yield "speech_8000_ulaw_odd", 8000, speech(21, 8000, 12, 190.0)[:-3], "ulaw"
    yield "speech_noisy_8000", 8000, speech(22, 8000, 10, 145.0, pause_noise=0.02), "ulaw"
    yield "speech_11025", 11025, speech(23, 11025, 8, 100.0), "pcm16"
    yield "speech_16000", 16000, speech(24, 16000, 9, 210.0), "pcm16"
    yield "speech_22050", 22050, speech(25, 22050, 7, 130.0), "pcm16"
    yield "speech_44100", 44100, speech(26, 44100, 7, 115.0), "pcm16"
    yield "speech_48000_odd", 48000, speech(27, 48000, 6, 230.0, scale=1.15)[:-7], "pcm16"
    yield "speech_long_8000", 8000, speech(28, 8000, 40, 125.0), "ulaw"
    yield "creak_8000", 8000, creak(30, 8000, 1.9), "pcm16"
    yield "creak_44100", 44100, creak(31, 44100, 1.1), "pcm16"
    yield "halved_8000", 8000, halved(32, 8000, 1.4), "ulaw"
    yield "halved_16000", 16000, halved(33, 16000, 1.2, 180.0), "pcm16"
    yield "breaks_8000", 8000, breaks(34, 8000, 2.1), "pcm16"
    yield "breaks_16000", 16000, breaks(35, 16000, 1.7), "pcm16"
    yield "gaps_8000", 8000, gaps(speech(36, 8000), 8000), "pcm16"
    yield "gaps_vowel_16000", 16000, gaps(vowel(37, 16000, 2.0, f0=133.0), 16000), "pcm16"
    yield "clipped_8000", 8000, np.clip(6 * vowel(38, 8000, 1.3), -1, 0.99997), "pcm16"
    yield "clipped_speech_16000", 16000, np.clip(8 * speech(39, 16000, 6), -1, 0.99997), "pcm16"
    yield "quiet_8000", 8000, vowel(40, 8000, 1.2) * 4e-4, "pcm16"
    yield "offset_8000", 8000, 0.3 + 0.5 * vowel(41, 8000, 1.2), "pcm16"
    yield "short_8000", 8000, vowel(42, 8000, 0.16), "pcm16"
    yield "short_16000", 16000, vowel(43, 16000, 0.1107, f0=170.0), "pcm16"
    yield "noise_8000", 8000, 0.1 * rng.standard_normal(9_001), "pcm16"
    yield "noise_44100", 44100, 0.1 * rng.standard_normal(30_001), "pcm16"
    yield "hum_8000", 8000, 0.2 * np.sin(2 * np.pi * 100.0 * np.arange(10_000) / 8000), "pcm16"
    yield "chord_16000", 16000, sum(0.1 * np.sin(2 * np.pi * f * np.arange(17_003) / 16000) for f in (196.0, 246.9, 293.7)), "pcm16"
    yield "silence_8000", 8000, np.zeros(8_000), "pcm16"
    yield "one_click_8000", 8000, np.where(np.arange(8_000) == 4_000, 0.5, 0.0), "pcm16"
    yield "vowel_pcm24", 22050, vowel(44, 22050, 1.03, f0=139.0), "pcm24"
    yield "vowel_pcm8", 11025, vowel(45, 11025, 1.1, f0=151.0), "pcm8"
    yield "vowel_float", 16000, 3.0 * vowel(46, 16000, 1.1, f0=143.0), "float32"
    yield "vowel_stereo", 16000, vowel(47, 16000, 1.04, f0=173.0), "stereo"


def by_dice(files, seed):
    """As all_voices, with everything thrown by dice."""
    for k in range(files):
        rng = np.random.default_rng([seed, k])
        rate = int(rng.choice([8000, 8000, 8000, 11025, 16000, 22050, 44100, 48000]))
        seconds, f0 = rng.uniform(0.2, 1.6), float(np.exp(rng.uniform(np.log(60), np.log(450))))
        kind = rng.choice(["vowel", "vowel", "speech", "noise", "creak", "halved", "tones"])
        if kind == "vowel":
            x = vowel(rng, rate, seconds, f0, str(rng.choice(sorted(VOWELS))), rng.choice([0, 0.003, 0.02, 0.06]), rng.choice([0, 0.03, 0.2]), rng.choice([0, 0.01, 0.1, 0.7]), rng.choice([0, 0, 0.5]))
        elif kind == "speech":
            x = speech(rng, rate, int(rng.integers(2, 9)), f0, rng.choice([0, 1e-4, 1e-2]))
        elif kind == "noise":
            x = level(np.cumsum(rng.standard_normal(int(rate * seconds))) if rng.random() < 0.2 else rng.standard_normal(int(rate * seconds)), 0.4)
        elif kind == "creak":
            x = creak(rng, rate, seconds)
        elif kind == "halved":
            x = halved(rng, rate, seconds, f0)
        else:
            t = np.arange(int(rate * seconds)) / rate
            x = level(sum(np.sin(2 * np.pi * f * t + f) for f in rng.uniform(70, 900, 4)), 0.3)
        damage = rng.choice(["none", "none", "clip", "gaps", "offset", "quiet", "cut"])
        if damage == "clip":
            x = np.clip(5 * x, -1, 0.99997)
        elif damage == "gaps":
            x = gaps(x, rate, 0.31, 0.07)
        elif damage == "offset":
            x = 0.6 * x + 0.2
        elif damage == "quiet":
            x = 2e-3 * x
        elif damage == "cut":
            x = x[: -int(rng.integers(1, 40))]
        form = str(rng.choice(["ulaw", "pcm16", "pcm16", "pcm24", "float32"]))
        yield f"dice_{seed}_{k}_{kind}_{damage}_{form}_{rate}", rate, x, form


def make(folder, voices=None):
    """Writes every file and returns the paths."""
    paths = []
    for name, rate, x, form in voices or all_voices():
        path = Path(folder) / f"{name}.wav"
        if form == "stereo":
            write(path, x, rate, "pcm16", channels=2)
        else:
            write(path, x, rate, form)
        paths.append(path)
    return paths
