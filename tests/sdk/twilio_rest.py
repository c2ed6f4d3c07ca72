"""The official Twilio client creates a call and a message at our simulated REST interface, and is told off properly."""

from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from harness import ACCOUNT, TOKEN, Checks, Process, wait_until

check = Checks()
with Process("simulate", "twilio", "--listen", "127.0.0.1:0", "--callee", "no-answer") as service:
    base = service.wait_for_line("listening on ")
    client = Client(ACCOUNT, TOKEN)
    client.api.base_url = base

    call = client.calls.create(
        to="+12025550143", from_="+12025550100",
        twiml="<Response><Say>Good morning.</Say></Response>", machine_detection="Enable", timeout=5,
    )
    check.want("a call is created", call.sid.startswith("CA") and len(call.sid) == 34, call.sid)
    check.want("it is queued first", call.status in ("queued", "ringing"), call.status)
    status = wait_until(lambda: (s := client.calls(call.sid).fetch().status) in ("no-answer", "completed") and s, 20, "the call to end")
    check.want("nobody answers", status == "no-answer", status)

    message = client.messages.create(to="+12025550143", from_="+12025550100", body="Please call the clinic.")
    check.want("a message is created", message.sid.startswith("SM") and message.status == "queued", message.status)
    status = wait_until(lambda: (s := client.messages(message.sid).fetch().status) == "delivered" and s, 10, "the message to arrive")
    check.want("it is delivered", status == "delivered")

    for what, attempt, expected in [
        ("a call to nobody is refused", lambda: client.calls.create(to="12", from_="+12025550100", url="http://127.0.0.1/x"), 400),
        ("an unknown call is not found", lambda: client.calls("CA" + "0" * 32).fetch(), 404),
    ]:
        try:
            attempt()
            check.want(what, False, "it was accepted")
        except TwilioRestException as error:
            check.want(what, error.status == expected, str(error))
    stranger = Client(ACCOUNT, "wrong")
    stranger.api.base_url = base
    try:
        stranger.calls.create(to="+12025550143", from_="+12025550100", url="http://127.0.0.1/x")
        check.want("a wrong token is refused", False)
    except TwilioRestException as error:
        check.want("a wrong token is refused", error.status == 401, str(error))

with Process("simulate", "twilio", "--listen", "127.0.0.1:0", "--callee", "silent") as service:
    client = Client(ACCOUNT, TOKEN)
    client.api.base_url = service.wait_for_line("listening on ")
    call = client.calls.create(
        to="+12025550143", from_="+12025550100", twiml="<Response><Pause length=\"60\"/></Response>",
    )
    wait_until(lambda: client.calls(call.sid).fetch().status == "in-progress", 20, "the call to be answered")
    client.calls(call.sid).update(status="completed")
    status = wait_until(lambda: (s := client.calls(call.sid).fetch().status) == "completed" and s, 10, "the call to end")
    check.want("a running call is ended by REST", status == "completed")
check.finish()
