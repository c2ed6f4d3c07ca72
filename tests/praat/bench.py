"""What an analysis costs, against Praat and openSMILE, on the same audio in the same run.

    bench.py [--repeats 5] [--seconds 60]

Audio: telephone speech of about a minute (the repository's own recordings, and voices of voices.py, joined) and a held
vowel of three seconds, both 8 kHz mu-law. Tools, each on one thread:

    heartvoice   `analyze --whole`, every measure it has
    praat        praat-parselmouth, the same measures (measures.py)
    opensmile    eGeMAPSv02 functionals: other measures, for orientation

"process" is a whole process from start to exit, "warm" one analysis inside a process that has run before. Figures are
processor time (user and system) in milliseconds per second of audio, the median of several rounds in which the tools
take turns, with the lowest and highest. At the end the wait for a result at the end of a segment of a call
(crates/voice/examples/latency.rs). Nothing here passes or fails.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import parselmouth

import voices

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("HEARTVOICE", ROOT / "target/release/heartvoice"))
HERE = Path(__file__).resolve().parent
ONE_THREAD = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")


def speech_of(seconds):
    """Real and made telephone speech in turns until there is enough."""
    recordings = [parselmouth.Sound(str(p)).values[0] for p in sorted((ROOT / "crates/voice/tests/data").glob("*.wav"))]
    parts, length, seed = [], 0, 500
    while length < seconds * 8000:
        for part in (*recordings, voices.speech(seed, 8000, 12, 100 + 40 * (seed % 4)), voices.vowel(seed, 8000, 2.0)):
            parts += [part, np.zeros(2400)]
            length += len(part) + 2400
        seed += 1
    return np.concatenate(parts)[: int(seconds * 8000)]


def run(command):
    """Processor seconds of a process and what it printed."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, env=ONE_THREAD)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
        output.seek(0)
        return used.ru_utime + used.ru_stime, output.read().decode()


def example(name):
    """A built example of the voice crate."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "voice", "--example", name]
    subprocess.run(command, cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples" / name


def has_opensmile():
    try:
        import opensmile  # noqa: F401
    except ImportError:
        return False
    return True


def show(title, seconds, samples):
    """A table of milliseconds per second of audio, with ratios to our own figures."""
    print(f"\n{title}")
    print(f"{'':<24} {'ms/s median':>12} {'lowest':>9} {'highest':>9} {'times ours':>11}")
    ours = {kind: statistics.median(values) for (tool, kind), values in samples.items() if tool == "heartvoice"}
    for (tool, kind), values in samples.items():
        middle = statistics.median(values)
        per_second = [f"{v / seconds:.3f}" for v in (middle, min(values), max(values))]
        print(f"{tool + ', ' + kind:<24} {per_second[0]:>12} {per_second[1]:>9} {per_second[2]:>9} {middle / ours[kind]:>10.1f}x")


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    load = os.getloadavg()[0]
    return f"{cpu}, {os.cpu_count()} cores, load {load:.1f}, {platform.system()} {platform.release()}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=60.0)
    options = arguments.parse_args()
    latency = example("latency")
    others = [sys.executable, HERE / "others.py"]
    tools = ["praat", *(["opensmile"] if has_opensmile() else [])]
    print(machine())
    print(f"Praat {parselmouth.PRAAT_VERSION}, Python {platform.python_version()}")
    if len(tools) == 1:
        print("openSMILE is not installed (requirements-bench.txt): left out")
    with tempfile.TemporaryDirectory(prefix="heartvoice-bench-") as folder:
        for title, sound in (("speech", speech_of(options.seconds)), ("vowel", voices.vowel(99, 8000, 3.0))):
            path = Path(folder) / f"{title}.wav"
            voices.write(path, sound, 8000, "ulaw")
            samples = {(tool, kind): [] for kind in ("process", "warm") for tool in ("heartvoice", *tools)}
            for _ in range(options.repeats):
                cpu, _ = run([PROGRAM, "analyze", "--whole", "--format", "json", path])
                samples["heartvoice", "process"].append(1000 * cpu)
                samples["heartvoice", "warm"] += json.loads(run([latency, path, "3"])[1])
                for tool in tools:
                    samples[tool, "process"].append(1000 * run([*others, tool, path])[0])
                    samples[tool, "warm"] += json.loads(run([*others, tool, path, "1"])[1])
            seconds = len(sound) / 8000
            show(f"{title}, {seconds:.1f} s at 8 kHz mu-law, {options.repeats} rounds", seconds, samples)
        print("\nby measure, warm, on the speech (wall clock)")
        split = run([example("bench"), Path(folder) / "speech.wav"])[1]
        print("\n".join(line for line in split.splitlines() if "live:" not in line))
    print("\nfrom the last frame of a segment to its result, frames of 20 ms (wall clock, 7 runs)")
    print(run([latency])[1])


if __name__ == "__main__":
    main()
