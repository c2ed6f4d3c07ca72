"""What `heartvoice demo --once --format json` prints keeps to its documented form, and every call was handled rightly."""

import json
import sys

from harness import Checks, run

# Scenario: outcome, direction, band of the risk, whether all voice tasks were done.
EXPECTED = {
    "stable": ("completed", "inbound", "routine", True),
    "worsening": ("completed", "inbound", "urgent", True),
    "spanish": ("completed", "inbound", "routine", True),
    "red-flag": ("handed_over", "inbound", "emergency", False),
    "voicemail": ("voicemail", "outbound", "not-interpretable", False),
    "unusable-line": ("completed", "inbound", "routine", True),
}
SCENARIOS = int(sys.argv[1]) if len(sys.argv) > 1 else len(EXPECTED)
check = Checks()
done = run("demo", "--once", "--calls", str(SCENARIOS), "--format", "json", seconds=400)
check.want("the exit code is 0", done.returncode == 0, done.stderr)
report = json.loads(done.stdout)
check.want("it is ok", report["ok"] is True, done.stderr)
check.want("every call is there", len(report["calls"]) == SCENARIOS, len(report["calls"]))
check.want("nothing is said on standard error", done.stderr == "", done.stderr)
for call in report["calls"]:
    name = call["scenario"]
    outcome, direction, band, tasks_done = EXPECTED[name]
    missing = {"call_id", "patient_id", "scenario", "direction", "outcome", "agents", "duration_s", "turns", "interruptions",
               "transcript_turns", "segments", "assessment", "stored"} - set(call)
    check.want(f"{name}: nothing is missing", not missing, missing)
    check.want(f"{name}: ended as it should, carried by the agent and stored",
               (call["outcome"], call["agents"], call["direction"], call["stored"]) == (outcome, ["elevenlabs"], direction, True), call)
    assessment = call["assessment"]
    check.want(f"{name}: the risk is {band}", assessment["risk_band"] == band, assessment)
    named = {"call_id", "patient_id", "assessed_at", "model", "overall_risk", "risk_interval", "risk_band", "fluid_retention_risk",
             "breathlessness_score", "speech_effort_score", "red_flags", "contributions", "answers", "baseline", "missing",
             "confidence", "recommendations"} - set(assessment)
    check.want(f"{name}: the assessment has every field", not named, named)
    total = sum(part["points"] for part in assessment["contributions"])
    if assessment["overall_risk"] is not None:
        check.want(f"{name}: contributions add up to the risk", total >= 100 or abs(total - assessment["overall_risk"]) < 0.6,
                   (total, assessment["overall_risk"]))
    if not tasks_done:
        continue
    check.want(f"{name}: a conversation took place", call["turns"] >= 8 and call["transcript_turns"] >= 14 and call["duration_s"] > 40, call["turns"])
    tasks = {segment["task"] for segment in call["segments"]}
    check.want(f"{name}: every task was analysed", {"speech", "counting", "sustained-vowel"} <= tasks, tasks)
    answered = {answer["question"] for answer in assessment["answers"] if answer["answered"]}
    check.want(f"{name}: every question was answered", {"feeling", "dyspnea", "swelling", "weight", "medications"} <= answered, answered)
    vowel = next((s for s in call["segments"] if s["task"] == "sustained-vowel"), {"measures": {}})
    measured = [vowel["measures"].get(m) for m in ("jitter_local_percent", "shimmer_local_percent", "hnr_mean_db")]
    if name == "unusable-line":
        check.want(f"{name}: nothing was measured of what could not be", measured == [None] * 3, vowel)
    else:
        check.want(f"{name}: the vowel was measured", all(isinstance(value, float) for value in measured), vowel)
worsening = next((course for course in report["history"] if course["scenario"] == "worsening"), {"calls": []})
risks = {call["days_ago"]: call["assessment"]["overall_risk"] for call in worsening["calls"]}
first = max((day for day, risk in risks.items() if risk is not None and risk >= 45), default=0)
check.want(f"the worsening patient comes up for review before the admission ({first} days)", 2 <= first < 14, risks)
check.finish()
