"""Nothing of a patient gets into logs, metrics or files in clear, not even with the most talkative log filter."""

import pathlib
import urllib.request

from harness import KEY, TOKEN, Checks, Installation, Process, wait_until

NAME, PHONE, RECORD = "Zebulon Quixworthy", "+12025550143", "MRN-778899"

check = Checks()
with Installation() as place:
    place.add_patient(NAME, PHONE, RECORD)
    with place.serve(HEARTVOICE_LOG="trace", HEARTVOICE_LOG_FORMAT="json") as server:
        caller = Process("simulate", "call", "--to", f"{place.base}/twilio/voice", "--from", PHONE, "--scenario", "stable",
                         "--status-callback", f"{place.base}/twilio/status")
        stranger = Process("simulate", "call", "--to", f"{place.base}/twilio/voice", "--from", "+12025550177", "--scenario", "silent")
        check.want("the call goes well", caller.child.wait(180) == 0, caller.err)
        check.want("a stranger gets no media stream", stranger.child.wait(60) == 1, stranger.err)
        calls = wait_until(lambda: [c for c in place.query("call", "list") if c["outcome"] == "completed"], 30, "the call to be stored")
        metrics = urllib.request.urlopen(f"{place.base}/metrics", timeout=5).read().decode()
        server.stop()
        log = server.out + server.err
    whole = place.query("call", "show", calls[0]["id"])
    texts = [turn["text"] for turn in whole["transcript"]]
    check.want("the conversation was written down", len(texts) >= 8, texts)

    # Whole turns, and every run of four words of them: a log may cut lines.
    secrets = {NAME, NAME.split()[0], NAME.split()[1], PHONE, PHONE[2:], "2025550177", RECORD, KEY, TOKEN, "sk_check"}
    for text in texts:
        words = text.split()
        secrets |= {text} | {" ".join(words[at:at + 4]) for at in range(max(1, len(words) - 3)) if len(words) >= 4}
    check.want("the log tells of the call", calls[0]["id"] in log, log)
    for place_name, content in [("log", log), ("metrics", metrics)]:
        found = sorted(secret for secret in secrets if secret.lower() in content.lower())
        check.want(f"the {place_name} says nothing about anybody", not found, found)
    files = [file for file in pathlib.Path(place.directory).rglob("*") if file.is_file()]
    found = sorted((file.name, secret) for file in files for secret in secrets if secret.encode() in file.read_bytes())
    check.want(f"{len(files)} files on disk say nothing about anybody", not found, found)
    open_to_others = [file.name for file in files if file.stat().st_mode & 0o077]
    check.want("no file on disk is open to others", not open_to_others, open_to_others)
check.finish()
