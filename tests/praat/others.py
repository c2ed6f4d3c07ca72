"""One analysis by Praat or by openSMILE, as a researcher would script it; bench.py runs this.

    others.py praat FILE.wav          once, as a process of its own
    others.py opensmile FILE.wav
    others.py praat FILE.wav 5        five times within the process, first one uncounted: prints the milliseconds of
                                      processor time of each as JSON
"""

import json
import os
import resource
import sys

# One thread for everybody.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"


def praat():
    import measures

    return lambda path: measures.of(path, telephone=True)


def opensmile():
    import opensmile as package

    features = package.FeatureSet.eGeMAPSv02
    smile = package.Smile(feature_set=features, feature_level=package.FeatureLevel.Functionals, num_workers=1)
    return smile.process_file


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main():
    tool, path = sys.argv[1:3]
    analyse = {"praat": praat, "opensmile": opensmile}[tool]()
    analyse(path)
    if len(sys.argv) > 3:
        milliseconds = []
        for _ in range(int(sys.argv[3])):
            began = cpu_s()
            analyse(path)
            milliseconds.append(1000 * (cpu_s() - began))
        print(json.dumps(milliseconds))


if __name__ == "__main__":
    main()
