"""What `heartvoice demo --once --format json` prints keeps to its documented form."""

import json
import sys

from harness import Checks, run

SCENARIOS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
check = Checks()
done = run("demo", "--once", "--calls", str(SCENARIOS), "--format", "json", seconds=300)
check.want("the exit code is 0", done.returncode == 0, done.stderr)
report = json.loads(done.stdout)
check.want("it is ok", report["ok"] is True, report)
check.want("every call is there", len(report["calls"]) == SCENARIOS, len(report["calls"]))
check.want("nothing is said on standard error", done.stderr == "", done.stderr)
for call in report["calls"]:
    name = call["scenario"]
    missing = {"call_id", "patient_id", "scenario", "direction", "outcome", "agents", "duration_s", "turns", "interruptions",
               "transcript_turns", "segments", "assessment", "stored"} - set(call)
    check.want(f"{name}: nothing is missing", not missing, missing)
    check.want(f"{name}: completed by the agent and stored",
               (call["outcome"], call["agents"], call["direction"], call["stored"]) == ("completed", ["elevenlabs"], "inbound", True), call)
    check.want(f"{name}: a conversation took place", call["turns"] >= 5 and call["transcript_turns"] >= 8 and call["duration_s"] > 20, call["turns"])
    check.want(f"{name}: interruptions are as played", (call["interruptions"] > 0) == (name == "interrupting"), call["interruptions"])
    tasks = {segment["task"] for segment in call["segments"]}
    check.want(f"{name}: every task was analysed", {"speech", "counting", "sustained-vowel"} <= tasks, tasks)
    vowel = next((s for s in call["segments"] if s["task"] == "sustained-vowel"), {"measures": {}})
    measured = [vowel["measures"].get(m) for m in ("jitter_local_percent", "shimmer_local_percent", "hnr_mean_db")]
    check.want(f"{name}: the vowel was measured", all(isinstance(value, float) for value in measured), vowel)
check.finish()
