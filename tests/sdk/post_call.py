"""Post-call webhooks: whom the official ElevenLabs client believes, and whom our server believes.

Bodies are signed here the way the service signs them. The client's own verifier and the running server judge the same
headers; where they differ, the difference must be one of ours on purpose.
"""

import base64
import hashlib
import hmac
import http.client
import json
import time

from elevenlabs import ElevenLabs

from harness import Checks, Installation

SECRET = "wsec_" + "ab" * 20
check = Checks()
client = ElevenLabs(api_key="x", base_url="http://127.0.0.1:1")

# What we decide differently, and why.
ON_PURPOSE = {
    "a day ahead": "signed in the future: our clock or somebody's forgery, refused beyond five minutes",
    "two v0, the first good": "while a secret is exchanged there are two, in any order",
}


def sign(secret, body, at):
    mac = hmac.new(secret.encode(), str(at).encode() + b"." + body, hashlib.sha256)
    return f"t={at},v0={mac.hexdigest()}"


def official(body, header, secret):
    try:
        client.webhooks.construct_event(body.decode(), header, secret)
        return True
    except Exception:
        return False


def post(port, body, header, chunked=False):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json"}
    if header:
        headers["ElevenLabs-Signature"] = header
    pieces = (body[at:at + 65_536] for at in range(0, len(body), 65_536)) if chunked else body
    connection.request("POST", "/elevenlabs/post-call", pieces, headers, encode_chunked=chunked)
    status = connection.getresponse().status
    connection.close()
    return status


def rows(now):
    body = json.dumps({"type": "post_call_transcription", "event_timestamp": now,
                       "data": {"conversation_id": "conv_1", "note": "poids 82,5 kg – stable"}}, ensure_ascii=False).encode()
    good = sign(SECRET, body, now)
    v0 = good.split(",")[1]
    bad = "v0=" + "0" * 64
    return body, [
        ("good", body, good),
        ("29 minutes old", body, sign(SECRET, body, now - 29 * 60)),
        ("31 minutes old", body, sign(SECRET, body, now - 31 * 60)),
        ("a minute ahead", body, sign(SECRET, body, now + 60)),
        ("a day ahead", body, sign(SECRET, body, now + 86_400)),
        ("changed body", body.replace(b"82,5", b"92,5"), good),
        ("re-serialised body", json.dumps(json.loads(body), separators=(",", ":")).encode(), good),
        ("another secret", body, sign(SECRET + "x", body, now)),
        ("v0 before t", body, f"{v0},t={now}"),
        ("blank after the comma", body, good.replace(",", ", ")),
        ("two v0, the last good", body, f"t={now},{bad},{v0}"),
        ("two v0, the first good", body, f"t={now},{v0},{bad}"),
        ("upper-case digits", body, f"t={now},v0={v0[3:].upper()}"),
        ("no v0", body, f"t={now}"),
        ("no t", body, v0),
        ("a word for a time", body, f"t=abc,{v0}"),
        ("no header", body, ""),
    ]


with Installation() as house:
    with house.serve(ELEVENLABS_WEBHOOK_SECRET=SECRET):
        differences = set()
        body, matrix = rows(int(time.time()))
        for name, sent, header in matrix:
            theirs, status = official(sent, header, SECRET), post(house.port, sent, header)
            check.want(f"{name}: {'believed' if status == 200 else f'refused with {status}'}", status in (200, 400, 403), status)
            if theirs != (status == 200):
                differences.add(name)
                print(f"     official client: {'accepts' if theirs else 'refuses'}; {ON_PURPOSE.get(name, 'NOT INTENDED')}")
        check.want("we differ from the official client only on purpose", differences == set(ON_PURPOSE), differences)
        now = int(time.time())
        check.want("a time that is none is malformed", post(house.port, body, f"t=abc,v0={'0' * 64}") == 400)
        check.want("a body that is no message is malformed", post(house.port, b"[]", sign(SECRET, b"[]", now)) == 400)
        audio = json.dumps({"type": "post_call_audio", "event_timestamp": now, "data": {
            "agent_id": "agent_1", "conversation_id": "conv_1",
            "full_audio": base64.b64encode(bytes(range(256)) * 30_000).decode()}}).encode()
        check.want("a recording of 10 MB in chunks is taken", post(house.port, audio, sign(SECRET, audio, now), chunked=True) == 200)
    with house.serve():
        body = b"{}"
        check.want("without a secret nobody is believed", post(house.port, body, sign("", body, int(time.time()))) == 403)
check.finish()
