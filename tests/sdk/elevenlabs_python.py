"""The official ElevenLabs Python client holds a conversation with our simulated agents service.

usage: elevenlabs_python.py [sync|async] [--auth] [--text] [--frames FOLDER]
FOLDER gets every frame of the conversation. The service runs the script `sdk-check`, which sends every event the client knows.
"""

import asyncio
import json
import sys
import threading
import time

from elevenlabs.client import ElevenLabs
from elevenlabs.conversational_ai.conversation import (
    AsyncAudioInterface,
    AsyncConversation,
    AudioInterface,
    ClientTools,
    Conversation,
    ConversationInitiationData,
)
from harness import Checks, Process

SILENCE = b"\xff" * 160
FRAME_S = 0.02
PATIENCE_S = 25

mode, auth, text_only = "async" if "async" in sys.argv else "sync", "--auth" in sys.argv, "--text" in sys.argv
frames = sys.argv[sys.argv.index("--frames") + 1] if "--frames" in sys.argv else None
seen = {"audio": 0, "interrupted": 0, "agent": [], "corrections": [], "parts": [], "user": [],
        "alignment": [], "tools": [], "end": None}


class Line(AudioInterface):
    """Stands in for microphone and loudspeaker."""

    def start(self, input_callback):
        self.over = threading.Event()

        def speak():
            due = time.monotonic()
            while not self.over.is_set():
                input_callback(SILENCE)
                due += FRAME_S
                time.sleep(max(0, due - time.monotonic()))

        threading.Thread(target=speak, daemon=True).start()

    def stop(self):
        self.over.set()

    def output(self, audio):
        seen["audio"] += len(audio)

    def interrupt(self):
        seen["interrupted"] += 1


class AsyncLine(AsyncAudioInterface):
    """The same for the asynchronous client."""

    async def start(self, input_callback):
        async def speak():
            while True:
                await input_callback(SILENCE)
                await asyncio.sleep(FRAME_S)

        self.task = asyncio.create_task(speak())

    async def stop(self):
        self.task.cancel()

    async def output(self, audio):
        seen["audio"] += len(audio)

    async def interrupt(self):
        seen["interrupted"] += 1


def record_weight(parameters):
    seen["tools"].append(parameters)
    return "recorded"


def noted():
    """The callbacks, by their names."""
    return {
        "callback_agent_response": lambda text: seen["agent"].append(text),
        "callback_agent_response_correction": lambda before, after: seen["corrections"].append([before, after]),
        "callback_agent_chat_response_part": lambda text, kind: seen["parts"].append([text, str(kind.value)]),
        "callback_user_transcript": lambda text: seen["user"].append(text),
        "callback_latency_measurement": lambda ms: None,
        "callback_audio_alignment": lambda alignment: seen["alignment"].append(alignment.chars),
        "callback_disconnect": lambda details: seen.__setitem__("end", [details.close_code, details.close_reason]),
    }


def asynchronous(callback):
    async def call(*args):
        callback(*args)

    return call


def options():
    return ConversationInitiationData(
        extra_body={"call_ref": "abc"},
        conversation_config_override={
            "agent": {"first_message": "Hello Ada", "language": "en", "prompt": {"prompt": "You are a nurse."}},
            "tts": {"voice_id": "v1", "speed": 0.95},
        },
        dynamic_variables={"patient_name": "Ada", "weight_lb": 182.5, "on_diuretic": True},
    )


def run_sync(client):
    tools = ClientTools()
    tools.register("record_weight", record_weight)
    conversation = Conversation(
        client, "agent_check", user_id="patient-7", requires_auth=auth, audio_interface=None if text_only else Line(),
        config=options(), client_tools=tools, **noted(),
    )
    conversation.start_session()
    time.sleep(1)
    conversation.send_contextual_update("Weight up 3 lb since Monday")
    conversation.send_user_message("typed text")
    conversation.register_user_activity()
    until = time.monotonic() + PATIENCE_S
    while seen["end"] is None and time.monotonic() < until:
        time.sleep(0.05)
    conversation.end_session()
    return conversation.wait_for_session_end()


async def run_async(client):
    tools = ClientTools(loop=asyncio.get_running_loop())
    tools.register("record_weight", record_weight)
    conversation = AsyncConversation(
        client, "agent_check", user_id="patient-7", requires_auth=auth,
        audio_interface=None if text_only else AsyncLine(), config=options(), client_tools=tools,
        **{name: asynchronous(callback) for name, callback in noted().items()},
    )
    await conversation.start_session()
    await asyncio.sleep(1)
    await conversation.send_contextual_update("Weight up 3 lb since Monday")
    await conversation.send_user_message("typed text")
    await conversation.register_user_activity()
    until = time.monotonic() + PATIENCE_S
    while seen["end"] is None and time.monotonic() < until:
        await asyncio.sleep(0.05)
    await conversation.end_session()
    return await conversation.wait_for_session_end()


with Process("simulate", "elevenlabs", "--listen", "127.0.0.1:0", "--script", "sdk-check", "--format", "json",
             *(["--api-key", "sk_check"] if auth else []),
             *(["--log-frames", frames] if frames else [])) as service:
    client = ElevenLabs(api_key="sk_check", base_url=service.wait_for_line("listening on "))
    conversation_id = asyncio.run(run_async(client)) if mode == "async" else run_sync(client)
    service.stop()
    heard = json.loads(service.out)["conversations"][0]

check = Checks()
check.want("the conversation has its id", str(conversation_id).startswith("conv_"), conversation_id)
check.want("the agent's replies arrive", len(seen["agent"]) >= 2, seen["agent"])
check.want("the caller's words arrive", any("I feel fine" in text for text in seen["user"]), seen["user"])
check.want("a correction arrives", len(seen["corrections"]) >= 1)
check.want("pieces of a written reply arrive", {"start", "delta", "stop"} <= {kind for _, kind in seen["parts"]}, seen["parts"])
check.want("the tool is called with its parameters", any(p.get("weight_lb") == 182.5 for p in seen["tools"]), seen["tools"])
check.want("the service understands all that the client sends", heard["protocol_errors"] == [], heard["protocol_errors"])
check.want("pings are answered", heard["received"].get("pong", 0) >= 1, heard["received"])
check.want("the client proves who it is", heard["authorization"] == ("signed-url" if auth else "none"), heard["authorization"])
check.want("the service ends the conversation with 1000", seen["end"] is not None and seen["end"][0] == 1000, seen["end"])
if not text_only:
    check.want("audio arrives", seen["audio"] > 4_000, seen["audio"])
    check.want("an interruption arrives", seen["interrupted"] >= 1)
    check.want("the alignment of text and audio arrives", len(seen["alignment"]) >= 1)
check.finish()
