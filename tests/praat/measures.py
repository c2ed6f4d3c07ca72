"""Praat's own values of the measures, by the names `heartvoice analyze --whole --format json` gives them.

Every value is one of Praat's commands with the settings that docs/measures names; where Praat has no command (the two
harmonics, the mean of formants over voiced moments, the range in two passes) it is made from Praat's objects in the
way the documentation defines.
"""

import math
import re

import numpy as np
import parselmouth
from parselmouth.praat import call

JITTER = (0, 0, 0.0001, 0.02, 1.3)
SHIMMER = (*JITTER, 1.6)
CPPS = ("no", 0.01, 0.001, 60, 330, 0.05, "Parabolic", 0.001, 0, "Straight", "Robust")


def pitch(sound, method, floor, ceiling, step=0.0):
    return call(sound, f"To Pitch ({method})", step, floor, 15, "no", 0.03, 0.45, 0.01, 0.35, 0.14, ceiling)


def defined(value):
    """None for what Praat prints as undefined."""
    value = float(value)
    return value if math.isfinite(value) else None


def attempt(work):
    """None where Praat refuses, for instance because a window does not fit into a short sound."""
    try:
        return work()
    except parselmouth.PraatError:
        return None


def percent(value):
    return None if value is None else 100 * value


def melody(sound):
    """The f0_* names and the voiced fraction, and the contour they come from."""
    contour = attempt(lambda: pitch(sound, "ac", 75, 500))
    if contour is None:
        return {}, None
    f0 = contour.selected_array["frequency"]
    values = {"voiced_fraction": float(np.count_nonzero(f0) / len(f0))}
    if np.any(f0):
        get = lambda *query: defined(call(contour, *query))
        values["f0_mean_hz"] = get("Get mean", 0, 0, "Hertz")
        values["f0_median_hz"] = get("Get quantile", 0, 0, 0.5, "Hertz")
        values["f0_sd_hz"] = get("Get standard deviation", 0, 0, "Hertz")
        values["f0_min_hz"] = get("Get minimum", 0, 0, "Hertz", "Parabolic")
        values["f0_max_hz"] = get("Get maximum", 0, 0, "Hertz", "Parabolic")
    return values, contour


def semitones(sound):
    """Standard deviation in semitones within 0.75 of the first to 1.5 of the third quartile of a first pass."""
    first = pitch(sound, "ac", 60, 500)
    if not np.any(first.selected_array["frequency"]):
        return None
    low = call(first, "Get quantile", 0, 0, 0.25, "Hertz")
    high = call(first, "Get quantile", 0, 0, 0.75, "Hertz")
    f0 = pitch(sound, "ac", max(50.0, 0.75 * low), 1.5 * high, 0.01).selected_array["frequency"]
    f0 = f0[f0 > 0]
    return float(np.std(12 * np.log2(f0 / 100), ddof=1)) if len(f0) > 1 else None


def perturbation(sound):
    points = call(sound, "To PointProcess (periodic, cc)", 75, 500)
    jitter = lambda kind: attempt(lambda: defined(call(points, f"Get jitter ({kind})", *JITTER)))
    shimmer = lambda kind: attempt(lambda: defined(call([sound, points], f"Get shimmer ({kind})", *SHIMMER)))
    values = {"jitter_local_absolute_s": jitter("local, absolute"), "shimmer_local_db": shimmer("local_dB")}
    for kind in ("local", "rap", "ppq5", "ddp"):
        values[f"jitter_{kind}_percent"] = percent(jitter(kind))
    for kind in ("local", "apq3", "apq5", "apq11", "dda"):
        values[f"shimmer_{kind}_percent"] = percent(shimmer(kind))
    return values


def harmonicity(sound):
    hnr = call(sound, "To Harmonicity (cc)", 0.01, 75, 0.1, 1.0)
    mean = defined(call(hnr, "Get mean", 0, 0))
    sd = None if mean is None else defined(call(hnr, "Get standard deviation", 0, 0))
    return {"hnr_mean_db": mean, "hnr_sd_db": sd}


def cpps(sound, highest):
    cepstrogram = call(sound, "To PowerCepstrogram", 60, 0.002, highest, 50)
    return defined(call(cepstrogram, "Get CPPS", *CPPS))


def intensity(sound):
    mean = call(sound.to_intensity(100, None, True), "Get mean", 0, 0, "energy")
    # Praat calls the level of digital silence -300 dB; for us it has none.
    return None if mean < -290 else defined(mean)


def formants(sound, contour, telephone):
    count, ceiling = (4, 3996) if telephone else (5, 5500)
    if contour is None:
        return {}
    tracks = sound.to_formant_burg(None, count, ceiling, 0.025, 50.0)
    times = [t for t in np.arange(contour.xmin, contour.xmax, 0.005) if not math.isnan(contour.get_value_at_time(t))]
    values = {}
    for k in (1, 2):
        found = [tracks.get_value_at_time(k, t) for t in times]
        found = [f for f in found if not math.isnan(f)]
        values[f"f{k}_mean_hz"] = float(np.mean(found)) if found else None
    return values


def tilt(sound):
    """Slope of the trend line of the long-term spectrum: level above 1 kHz less that below."""
    top = 10_000 if sound.sampling_frequency >= 20_000 else 3_999
    for bandwidth in (1, 2, 5, 10):
        # Praat refuses bins narrower than the resolution of the sound's spectrum.
        ltas = attempt(lambda: call(sound, "To Ltas", bandwidth))
        if ltas is not None:
            line = call(ltas, "Compute trend line", 1, top)
            return defined(call(line, "Get slope", 0, 1000, 1000, top, "energy"))
    return None


def harmonics(sound, contour):
    """First less second harmonic in spectra of 50 ms every 50 ms of voice, in bins of 1 Hz."""
    if contour is None:
        return None
    differences, t = [], contour.x1
    while t < sound.xmax - 0.03:
        f0 = contour.get_value_at_time(t)
        if t > 0.03 and not math.isnan(f0) and f0 > 0:
            part = sound.extract_part(t - 0.025, t + 0.025, parselmouth.WindowShape.GAUSSIAN2, 1.0, False)
            second = np.zeros(int(sound.sampling_frequency))
            second[: part.n_samples] = part.values[0]
            db = 20 * np.log10(np.abs(np.fft.rfft(second)) + 1e-12)
            first, double = (db[round(f0 * k * 0.9) : round(f0 * k * 1.1) + 1].max() for k in (1, 2))
            differences.append(first - double)
        t += 0.05
    return float(np.mean(differences)) if differences else None


def breaks(sound):
    """From the voice report, which prints the share with three decimals."""
    contour = pitch(sound, "cc", 75, 500)
    points = call([sound, contour], "To PointProcess (cc)")
    text = call([sound, contour, points], "Voice report", 0, 0, 75, 500, 1.3, 1.6, 0.03, 0.45)

    def after(label):
        found = re.search(re.escape(label) + r": ([0-9][0-9.eE+-]*)", text)
        return float(found.group(1)) if found else None

    return {
        "voice_breaks": after("Number of voice breaks"),
        "degree_of_voice_breaks_percent": after("Degree of voice breaks"),
    }


def of(path, telephone):
    """Every measure of one file; what is undefined in Praat is missing or None."""
    sound = parselmouth.Sound(str(path)).extract_channel(1)
    values, contour = melody(sound)
    values["f0_sd_semitones"] = attempt(lambda: semitones(sound))
    values |= attempt(lambda: perturbation(sound)) or {}
    values |= attempt(lambda: harmonicity(sound)) or {}
    values["cpps_db"] = attempt(lambda: cpps(sound, 5000))
    values["cpps_4khz_db"] = attempt(lambda: cpps(sound, 4000))
    values["intensity_mean_db"] = attempt(lambda: intensity(sound))
    values |= attempt(lambda: formants(sound, contour, telephone)) or {}
    values["spectral_tilt_db"] = tilt(sound)
    values["h1_h2_db"] = attempt(lambda: harmonics(sound, contour))
    values |= attempt(lambda: breaks(sound)) or {}
    return values
