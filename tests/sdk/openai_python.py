"""The official OpenAI Python client holds a session with our simulated Realtime service, and every message of both sides is
checked against the client's own models.

usage: openai_python.py [FILE]
FILE holds messages of our client, one a line, as `print_realtime_frames` prints them.
"""

import asyncio
import base64
import json
import math
import pathlib
import sys
import tempfile
import typing

import openai
from harness import Checks, Process
from openai import AsyncOpenAI
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from openai.types.realtime.realtime_session_create_response import RealtimeSessionCreateResponse
from websockets.exceptions import InvalidStatus

MODEL = "gpt-realtime"
KEY = "sk-check"
FRAME_S = 0.02
SILENCE = b"\xff" * 160
PATIENCE_S = 20
# What a session has beside the fields of a request; the client's own model of an answer has them.
SESSION_FIELDS = {"id", "object", "expires_at"}
# Fields of events that the models of this version do not list, and the service is known to send.
KNOWN_EXTRAS = {"response.usage.input_token_details.cached_tokens_details.image_tokens"}

TOOLS = [
    {
        "type": "function",
        "name": name,
        "description": "A tool of the check.",
        "parameters": {"type": "object", "properties": {"question": {"type": "string"}, "value": {"type": "string"}}},
    }
    for name in ("record_answer", "start_task", "end_task", "end_call")
]


def models_of(union):
    """The models of a union of events by their type."""
    models = {}
    for model in typing.get_args(typing.get_args(union)[0]):
        for kind in typing.get_args(model.model_fields["type"].annotation):
            models[kind] = model
    return models


SERVER, CLIENT = models_of(RealtimeServerEvent), models_of(RealtimeClientEvent)


def extras(value, place=""):
    """Fields that a validated message has and its model does not."""
    if isinstance(value, list):
        return {found for part in value for found in extras(part, place)}
    if not hasattr(value, "model_fields_set"):
        return set()
    found = {f"{place}{name}" for name in value.model_extra or {}}
    for name in type(value).model_fields:
        found |= extras(getattr(value, name), f"{place}{name}.")
    return found


def faults_of(text, models):
    """What a message lacks or has too much of, by the models."""
    message = json.loads(text)
    model = models.get(message.get("type"))
    if model is None:
        return [f"no such event: {message.get('type')}"]
    try:
        event = model.model_validate_json(text, strict=True)
    except Exception as error:
        return [f"{message['type']}: {error}"]
    found = extras(event) - KNOWN_EXTRAS
    if message["type"] in ("session.created", "session.updated"):
        found -= {f"session.{name}" for name in SESSION_FIELDS}
        try:
            RealtimeSessionCreateResponse.model_validate_json(json.dumps(message["session"]), strict=True)
        except Exception as error:
            return [f"{message['type']}: {error}"]
    return [f"{message['type']}: unknown {name}" for name in sorted(found)]


def ulaw(sample):
    """G.711 of a sample of 16 bits."""
    sign, magnitude = (0x80, -sample) if sample < 0 else (0, sample)
    magnitude = min(magnitude, 32635) + 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> (exponent + 3)) & 15) & 0xFF


VOICE = bytes(ulaw(int(9000 * math.sin(2 * math.pi * 440 * n / 8000))) for n in range(8000))


class Talk:
    """A session in which audio flows all the time, as on a telephone."""

    def __init__(self, connection, seen):
        self.connection, self.seen, self.voice, self.waiting = connection, seen, bytearray(), []
        self.tasks = [asyncio.create_task(self.speak()), asyncio.create_task(self.listen())]

    async def speak(self):
        while True:
            frame, self.voice = bytes(self.voice[:160]).ljust(160, b"\xff"), self.voice[160:]
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())
            await asyncio.sleep(FRAME_S)

    async def listen(self):
        while True:
            raw = await self.connection.recv_bytes()
            event = self.connection.parse_event(raw)
            self.seen.append((raw, event))
            self.waiting.append(event)

    async def until(self, kind):
        """The next event of a kind; those before it are passed over."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            while self.waiting:
                event = self.waiting.pop(0)
                if event.type == kind:
                    return event
            if self.tasks[1].done() or asyncio.get_running_loop().time() > deadline:
                raise SystemExit(f"FAIL no {kind}; seen {[event.type for _, event in self.seen][-12:]}")
            await asyncio.sleep(0.01)

    async def error(self):
        return (await self.until("error")).error.code

    def close(self):
        for task in self.tasks:
            task.cancel()


async def converse(client, check, seen):
    async with client.realtime.connect(model=MODEL) as connection:
        talk = Talk(connection, seen)
        created = await talk.until("session.created")
        check.want("a session begins with its settings", created.session.model == MODEL, created.session)
        phone = {"type": "audio/pcmu"}
        await connection.session.update(
            session={
                "type": "realtime",
                "output_modalities": ["audio"],
                "instructions": "You are the assistant of a clinic.",
                "audio": {
                    "input": {
                        "format": phone,
                        "transcription": {"model": "gpt-4o-mini-transcribe", "language": "en"},
                        "turn_detection": {"type": "server_vad", "create_response": True, "interrupt_response": True},
                    },
                    "output": {"format": phone, "voice": "marin"},
                },
                "tools": TOOLS,
                "tool_choice": "auto",
            }
        )
        updated = await talk.until("session.updated")
        formats = (updated.session.audio.input.format.type, updated.session.audio.output.format.type)
        check.want("the telephone's format in both directions", formats == ("audio/pcmu", "audio/pcmu"), formats)

        await connection.session.update(session={"type": "realtime", "audio": {"output": {"voice": "rachel"}}})
        check.want("a voice that does not exist is refused", await talk.error() == "invalid_value")
        await connection.response.cancel()
        check.want("nothing to cancel is an error", await talk.error() == "response_cancel_not_active")

        await connection.response.create()
        await talk.until("response.created")
        await connection.response.create()
        check.want(
            "a second response at the same time is refused",
            await talk.error() == "conversation_already_has_active_response",
        )
        said = await talk.until("response.output_audio_transcript.done")
        check.want("the model says something", len(said.transcript) > 10, said.transcript)
        done = await talk.until("response.done")
        check.want("a response is completed", done.response.status == "completed", done.response.status)
        check.want("with what was said", done.response.output[0].content[0].transcript == said.transcript)
        sound = sum(len(base64.b64decode(e.delta)) for _, e in seen if e.type == "response.output_audio.delta")
        check.want("it is heard", sound > 8000, sound)
        await asyncio.sleep(sound / 8000)

        talk.voice += VOICE
        started = await talk.until("input_audio_buffer.speech_started")
        stopped = await talk.until("input_audio_buffer.speech_stopped")
        check.want("the caller's turn is noticed", stopped.audio_end_ms > started.audio_start_ms)
        committed = await talk.until("input_audio_buffer.committed")
        check.want("and becomes an item", committed.item_id == started.item_id)
        heard = await talk.until("conversation.item.input_audio_transcription.completed")
        check.want("and is written down", len(heard.transcript) > 3, heard.transcript)
        call = await talk.until("response.function_call_arguments.done")
        check.want("the model calls a function", (call.name, "question" in call.arguments) == ("record_answer", True), call)
        await talk.until("response.done")

        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": '{"stored":true}'}
        )
        await connection.conversation.item.create(
            item={"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]}
        )
        await connection.response.create()
        delta = await talk.until("response.output_audio.delta")
        talk.voice += VOICE
        await talk.until("input_audio_buffer.speech_started")
        await connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=300)
        truncated = await talk.until("conversation.item.truncated")
        check.want("what was not heard is forgotten", truncated.audio_end_ms == 300, truncated)
        await connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=999_999)
        check.want("more than there was cannot be heard", await talk.error() == "invalid_value")
        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": "call_of_nobody", "output": "{}"}
        )
        check.want("a result nobody asked for is refused", await talk.error() == "invalid_tool_call_id")
        await talk.until("response.done")
        talk.close()


async def refusals(base, check):
    async def status(key, model):
        client = AsyncOpenAI(api_key=key, base_url=base, max_retries=0)
        try:
            async with client.realtime.connect(model=model):
                return 101
        except InvalidStatus as error:
            return error.response.status_code

    check.want("a wrong key is refused at the door", await status("sk-other", MODEL) == 401)
    check.want("an unknown model is refused at the door", await status(KEY, "gpt-nothing") == 404)
    client = AsyncOpenAI(api_key=KEY, base_url=base, max_retries=0)
    check.want("a model is described", (await client.models.retrieve(MODEL)).id == MODEL)
    for broken, model, expected in [
        (client, "gpt-nothing", openai.NotFoundError),
        (client.with_options(api_key="sk-other"), MODEL, openai.AuthenticationError),
    ]:
        try:
            await broken.models.retrieve(model)
            raised = None
        except openai.APIStatusError as error:
            raised = type(error)
        check.want(f"the client understands {expected.__name__}", raised is expected, raised)


def lines_of(path):
    """Messages may hold characters that `splitlines` takes for ends of lines."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def check_frames(check, name, lines, models):
    faults = sorted({fault for line in lines for fault in faults_of(line, models)})
    kinds = {json.loads(line)["type"] for line in lines}
    check.want(f"{name}: {len(lines)} messages of {len(kinds)} kinds are as the official models say", not faults, faults)
    return kinds


async def main():
    check, seen = Checks(), []
    with tempfile.TemporaryDirectory(prefix="heartvoice-check-") as folder:
        with Process("simulate", "openai", "--listen", "127.0.0.1:0", "--script", "check-in", "--api-key", KEY,
                     "--log-frames", folder, "--format", "json") as service:
            base = service.wait_for_line("listening on ")
            client = AsyncOpenAI(api_key=KEY, base_url=base)
            await converse(client, check, seen)
            await refusals(base, check)
            service.stop()
            report = json.loads(service.out)
        sent = lines_of(pathlib.Path(folder) / "sent.jsonl")
    wrong = report["conversations"][0]["protocol_errors"]
    expected = ["session.update: invalid_value session.audio.output.voice", "truncated beyond the end",
                "result for a call nobody made"]
    check.want("the service understands all but what was meant to be wrong", wrong == expected, wrong)
    kinds = check_frames(check, "the service's", sent, SERVER)
    check.want("most of what matters was sent", len(kinds) >= 20, sorted(kinds))
    if len(sys.argv) > 1:
        ours = lines_of(pathlib.Path(sys.argv[1]))
        kinds = check_frames(check, "our client's", ours, CLIENT)
        check.want("our client says everything it can", len(kinds) >= 6, sorted(kinds))
    check.finish()


asyncio.run(main())
