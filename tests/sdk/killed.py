"""A server that is killed in mid-call loses at most a second of what the caller said."""

import json
import os
import signal
import time
import wave

from harness import Checks, Installation, Process, wait_until

PHONE = "+12025550143"
SECONDS_BEFORE_THE_END = 9


def length(path):
    with wave.open(path) as audio:
        return audio.getnframes() / audio.getframerate(), audio.readframes(audio.getnframes())


check = Checks()
with Installation() as place:
    place.add_patient(phone=PHONE)
    server = place.serve()
    caller = Process("simulate", "call", "--to", f"{place.base}/twilio/voice", "--from", PHONE, "--scenario", "stable",
                     "--format", "json")
    wait_until(lambda: place.query("call", "list"), 20, "the call to begin")
    time.sleep(SECONDS_BEFORE_THE_END)
    server.stop(signal.SIGKILL)
    caller.child.wait(60)
    caller.stop()
    sent = json.loads(caller.out)["spoken_bytes"] / 8_000
    check.want("the caller had spoken for a while", sent > SECONDS_BEFORE_THE_END - 3, sent)
    before = place.query("call", "list")[0]
    check.want("the call looks as if it ran before the restart", before["outcome"] == "in_progress", before)

    with place.serve() as server:
        call = place.query("call", "list")[0]
        check.want("the call is marked as interrupted", call["outcome"] == "interrupted", call)
        folder = os.path.join(place.directory, "export")
        place.query("call", "export", call["id"], "--output", folder)
        kept, samples = length(os.path.join(folder, "patient.wav"))
        check.want("the audio of the patient is there up to the last second", sent - 1 <= kept <= sent + 0.1, f"{kept:.2f} of {sent:.2f} s")
        check.want("and it is not silence", len(set(samples)) > 20)
        agent, _ = length(os.path.join(folder, "agent.wav"))
        check.want("so is the agent's", agent > 3, agent)
        mode = os.stat(os.path.join(folder, "patient.wav")).st_mode & 0o777
        check.want("only its owner can read the export", mode == 0o600, oct(mode))
        events = place.query("call", "show", call["id"])["events"]
        check.want("so is the timeline", any(event["event"] == "agent_connected" for event in events), events)
        print(f"     {kept:.2f} of {sent:.2f} s of the caller were kept")
        check.want("the server stops cleanly", server.stop() == 0, server.err)
check.finish()
