"""A server that is asked to stop lets a running call end and takes no new one; exit codes tell what happened."""

import signal

from harness import Checks, Installation, Process, run, status_of, wait_until

PHONE = "+12025550143"

check = Checks()


def in_call(place):
    calls = place.query("call", "list")
    return calls and calls[0]["outcome"] == "in_progress"


with Installation() as place:
    place.add_patient(phone=PHONE)
    to = f"{place.base}/twilio/voice"
    with place.serve() as server:
        caller = Process("simulate", "call", "--to", to, "--from", PHONE, "--scenario", "hangs-up-early")
        wait_until(lambda: in_call(place), 20, "the call to begin")
        server.child.send_signal(signal.SIGTERM)
        wait_until(lambda: status_of(f"{place.base}/ready") == 503, 5, "the server to say that it is not ready")
        check.want("a new call hears an apology instead of the agent", run("simulate", "call", "--to", to, "--from", PHONE, "--scenario", "silent").returncode == 1)
        check.want("the running call goes well", caller.child.wait(60) == 0, caller.err)
        check.want("the exit code is 0", server.child.wait(60) == 0, server.err)
        # The caller who was turned away is on record, too.
        outcomes = sorted(call["outcome"] for call in place.query("call", "list"))
        check.want("the call is complete", outcomes.count("completed") == 1 and "in_progress" not in outcomes, outcomes)

    with place.serve() as server:
        caller = Process("simulate", "call", "--to", to, "--from", PHONE, "--scenario", "stable")
        wait_until(lambda: in_call(place), 20, "the call to begin")
        server.child.send_signal(signal.SIGTERM)
        server.child.send_signal(signal.SIGTERM)
        server.child.send_signal(signal.SIGINT)
        check.want("a second signal cuts the call: exit code 1", server.child.wait(20) == 1, server.err)
        caller.child.wait(60)

    with place.serve() as server:
        outcome = place.query("call", "list")[0]["outcome"]
        check.want("no call is left running", outcome in ("interrupted", "completed"), outcome)
        check.want("an idle server stops at once", server.stop(signal.SIGINT) == 0, server.err)
check.finish()
