"""streamdouble, an independent simulator of Twilio's media streams, completes a call with our server.

The webhook is announced and signed with Twilio's own library; streamdouble then opens the media stream with the ticket
that the call instructions hold, speaks, listens to the agent, and checks every message we send.

usage: media_stream.py [FOLDER]   (FOLDER gets the frames between our server and the simulated agents service)
"""

import asyncio
import sys
import tempfile
import urllib.parse
import urllib.request
import uuid
import wave
import xml.etree.ElementTree as xml

import streamdouble.session
import websockets
from streamdouble.api import CallReport, compute
from streamdouble.audio import wav_to_ulaw_frames
from streamdouble.protocol import StreamIdentity
from streamdouble.session import Session, SessionConfig
from twilio.request_validator import RequestValidator

from harness import ACCOUNT, TOKEN, Checks, Installation, wait_until

PHONE = "+12025550143"
signer = RequestValidator(TOKEN)


def announce(base, call_sid):
    """What Twilio does when the telephone rings; returns the stream's address and its parameters."""
    url = f"{base}/twilio/voice"
    form = {"AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", "CallSid": call_sid, "CallStatus": "ringing",
            "Called": "+12025550100", "Caller": PHONE, "Direction": "inbound", "From": PHONE, "To": "+12025550100"}
    request = urllib.request.Request(url, urllib.parse.urlencode(form).encode(), {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        "X-Twilio-Signature": signer.compute_signature(url, form),
    })
    with urllib.request.urlopen(request, timeout=10) as answer:
        document = xml.fromstring(answer.read())
    stream = document.find("./Connect/Stream")
    return stream.get("url"), {p.get("name"): p.get("value") for p in stream.findall("Parameter")}


def frames():
    """Three seconds of a low tone with a pause in it, as frames of a telephone."""
    samples = bytearray()
    for number in range(24_000):
        loud = 0 if 8_000 < number < 14_000 else 6_000
        samples += int(loud if number // 40 % 2 else -loud).to_bytes(2, "little", signed=True)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        with wave.open(file.name, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(8_000)
            out.writeframes(bytes(samples))
        return wav_to_ulaw_frames(file.name)


def sign_handshakes():
    """streamdouble has no account, so it does not sign; Twilio does, and our server insists on it."""
    connect = websockets.connect

    def signed(url, **options):
        headers = {"X-Twilio-Signature": signer.compute_signature(url, {})}
        return connect(url, additional_headers=headers, user_agent_header="Twilio.TmeWs/1.0", compression=None, **options)

    streamdouble.session.websockets.connect = signed
    return connect


async def telephone(url, parameters, call_sid):
    identity = StreamIdentity(account_sid=ACCOUNT, call_sid=call_sid)
    config = SessionConfig(custom_parameters=parameters, response_timeout_s=15, quiet_period_s=6, max_drain_s=20)
    result = await Session(url, frames(), config=config, identity=identity).run()
    return CallReport(result=result, metrics=compute(result))


async def refused(connect, url):
    """A stranger's media socket must not be opened."""
    try:
        async with connect(url, compression=None):
            return False
    except websockets.exceptions.InvalidStatus as error:
        return error.response.status_code == 403


check = Checks()
with Installation(["--log-frames", sys.argv[1]] if len(sys.argv) > 1 else []) as place:
    place.add_patient(phone=PHONE)
    with place.serve() as server:
        call_sid = "CA" + uuid.uuid4().hex
        url, parameters = announce(place.base, call_sid)
        check.want("the call instructions name a stream of this server", url.startswith(place.base.replace("http", "ws")), url)
        connect = sign_handshakes()
        check.want("an unsigned media socket is refused with 403", asyncio.run(refused(connect, url)))
        report = asyncio.run(telephone(url, parameters, call_sid))
        check.want("streamdouble finds no violation", report.violations == [], report.violations)
        check.want("streamdouble hears the agent", len(report.audio_received) > 8_000, len(report.audio_received))
        check.want("its verdict is good", report.exit_code == 0, report.to_dict())
        calls = wait_until(lambda: [c for c in place.query("call", "list") if c["outcome"] != "in_progress"], 30, "the call to be stored")
        check.want("the call is stored as completed", calls[0]["outcome"] == "completed", calls)
        check.want("an agent carried it", calls[0]["agents"] == ["elevenlabs"], calls)
        check.want("the server stops cleanly", server.stop() == 0, server.err)
check.finish()
