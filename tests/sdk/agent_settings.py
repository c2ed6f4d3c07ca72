"""What `heartvoice agent push` sends is what the official ElevenLabs client would send, and what it knows.

Our requests pass through a recorder on their way to the simulated account. Each is then made again by the official
client, which must send the same method, address, headers and body. The settings themselves are read with the client's
own models: no unknown field, no unknown value. And the client reads everything back from the simulated account.
"""

import json
import threading
import types
import typing
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pydantic
from elevenlabs import (
    AgentPlatformSettingsRequestModel,
    ClientToolConfigInput,
    ConversationalConfig,
    WebhookHmacSettings,
)
from elevenlabs.client import ElevenLabs

from harness import Checks, Process, run, run_json

KEY = "sk_check"
check = Checks()


class Recorder(BaseHTTPRequestHandler):
    """Notes each request and passes it on."""

    protocol_version = "HTTP/1.1"
    requests = []
    target = ""

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        address = urllib.parse.urlsplit(self.path)
        Recorder.requests.append({
            "method": self.command,
            "path": address.path,
            "query": sorted(urllib.parse.parse_qsl(address.query)),
            "key": self.headers.get("xi-api-key"),
            "type": (self.headers.get("content-type") or "").split(";")[0],
            "body": json.loads(body) if body else None,
        })
        kept = {name: value for name, value in self.headers.items() if name.lower() in ("xi-api-key", "content-type")}
        onward = urllib.request.Request(Recorder.target + self.path, body or None, kept, method=self.command)
        try:
            with urllib.request.urlopen(onward, timeout=20) as answer:
                status, words = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, words = error.code, error.read()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_):
        pass


def literals(annotation):
    """The values a type lists; None when anything goes."""
    if typing.get_origin(annotation) is typing.Literal:
        return set(typing.get_args(annotation))
    listed = [literals(part) for part in typing.get_args(annotation) if part not in (typing.Any, type(None))]
    listed = [values for values in listed if values is not None]
    return set().union(*listed) if listed else None


def models(annotation):
    """The models that a type may be."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [model for part in typing.get_args(annotation) for model in models(part)]
    return []


def without_null(annotation):
    parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    optional = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return parts[0] if optional and len(parts) == 1 else annotation


def strangers(annotation, value, path):
    """Fields and values that the client's models do not know."""
    annotation = without_null(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = without_null(typing.get_args(annotation)[0])
    if value is None or annotation is typing.Any:
        return []
    if isinstance(value, list):
        inner = (typing.get_args(annotation) or (typing.Any,))[0]
        return [found for n, item in enumerate(value) for found in strangers(inner, item, f"{path}[{n}]")]
    if isinstance(value, dict):
        if typing.get_origin(annotation) is dict:
            inner = typing.get_args(annotation)[1]
            return [found for key, item in value.items() for found in strangers(inner, item, f"{path}.{key}")]
        candidates = [unknown_fields(model, value, path) for model in models(annotation)]
        return min(candidates, key=len) if candidates else [f"{path}: not an object"]
    known = literals(annotation)
    if known is not None and value not in known:
        return [f"{path}: {value!r} is none of {sorted(map(str, known))[:8]}"]
    return []


def unknown_fields(model, value, path):
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    found = []
    for key, item in value.items():
        if key not in fields:
            found.append(f"{path}.{key}: unknown to {model.__name__}")
        else:
            found += strangers(fields[key].annotation, item, f"{path}.{key}")
    missing = [name for name, field in fields.items() if field.is_required() and name not in value]
    return found + [f"{path}.{name}: missing for {model.__name__}" for name in missing]


def again(client, request):
    """Makes the same request with the official client."""
    ai, body, query = client.conversational_ai, request["body"], dict(request["query"])
    if "page_size" in query:
        query["page_size"] = int(query["page_size"])
    parts = request["path"].removeprefix("/v1/").split("/")
    match [request["method"], *parts]:
        case ["POST", "convai", "agents", "create"]:
            ai.agents.create(**body)
        case ["PATCH", "convai", "agents", agent]:
            ai.agents.update(agent, **body)
        case ["GET", "convai", "agents", agent]:
            ai.agents.get(agent)
        case ["POST", "convai", "tools"]:
            ai.tools.create(request=body)
        case ["PATCH", "convai", "tools", tool]:
            ai.tools.update(tool, request=body)
        case ["GET", "convai", "tools"]:
            ai.tools.list(**query)
        case ["POST", "convai", "knowledge-base", "text"]:
            ai.knowledge_base.documents.create_from_text(**body)
        case ["POST", "convai", "knowledge-base", document, "rag-index"]:
            ai.knowledge_base.document.compute_rag_index(document, **body)
        case ["GET", "convai", "knowledge-base"]:
            ai.knowledge_base.list(**query)
        case ["DELETE", "convai", "knowledge-base", document]:
            ai.knowledge_base.documents.delete(document)
        case ["GET", "convai", "llm", "list"]:
            ai.llm.list()
        case ["GET", "workspace", "webhooks"]:
            client.webhooks.list(include_usages=query["include_usages"] == "true")
        case ["POST", "workspace", "webhooks"]:
            settings = dict(body["settings"])
            settings.pop("auth_type")
            client.webhooks.create(settings=WebhookHmacSettings(**settings))
        case _:
            raise SystemExit(f"FAIL the official client has no {request['method']} {request['path']}")


def push(base, agent=None):
    settings = {"ELEVENLABS_BASE_URL": base, "ELEVENLABS_API_KEY": KEY, "PUBLIC_BASE_URL": "https://hv.example.org"}
    if agent:
        settings["ELEVENLABS_AGENT_ID"] = agent
    return run_json("agent", "push", **settings)


recorder = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
threading.Thread(target=recorder.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{recorder.server_port}"

with Process("simulate", "elevenlabs", "--listen", "127.0.0.1:0", "--api-key", KEY) as service:
    Recorder.target = service.wait_for_line("listening on ")
    client = ElevenLabs(api_key=KEY, base_url=base)
    agent = push(base)["agent_id"]
    # Something to put right, so that changing is recorded as well.
    client.conversational_ai.agents.update(agent, conversation_config={"tts": {"speed": 1.1}})
    tool = client.conversational_ai.tools.list(page_size=100).tools[0]
    changed = json.loads(tool.tool_config.model_dump_json(exclude_none=True))
    changed["response_timeout_secs"] = 77
    client.conversational_ai.tools.update(tool.id, request={"tool_config": changed})
    # The first version of a document, which has to go.
    old = client.conversational_ai.knowledge_base.documents.create_from_text(text="Old. " * 200, name="heartvoice old 000000000000")
    live = client.conversational_ai.agents.get(agent)
    attached = [{"type": d.type, "name": d.name, "id": d.id} for d in live.conversation_config.agent.prompt.knowledge_base]
    attached.append({"type": "text", "name": old.name, "id": old.id})
    client.conversational_ai.agents.update(agent, conversation_config={"agent": {"prompt": {"knowledge_base": attached}}})
    ours_first = [r for r in Recorder.requests if r["key"] == KEY][: next(
        n for n, r in enumerate(Recorder.requests) if r["method"] == "PATCH")]
    Recorder.requests.clear()
    report = push(base, agent)
    ours = ours_first + list(Recorder.requests)
    check.want("what was changed by hand is put right", len(report["done"]) == 3, report["done"])
    check.want("the third push does nothing", push(base, agent)["up_to_date"])

    ai = client.conversational_ai
    live = ai.agents.get(agent)
    config, platform = live.conversation_config, live.platform_settings
    check.want("the client reads the agent back", live.agent_id == agent and live.name.startswith("HeartVoice"), live.name)
    check.want("both ways in the telephone's format",
               config.tts.agent_output_audio_format == config.asr.user_input_audio_format == "ulaw_8000")
    check.want("zero retention", platform.privacy.zero_retention_mode is True and platform.privacy.record_voice is False)
    check.want("the webhook is the agent's", platform.workspace_overrides.webhooks.post_call_webhook_id.startswith("wh_"))
    tools = {tool.id: tool for tool in ai.tools.list(page_size=100).tools}
    check.want("every tool of the agent is there and waits for an answer",
               config.agent.prompt.tool_ids and all(tools[id].tool_config.expects_response for id in config.agent.prompt.tool_ids))
    documents = {document.id for document in ai.knowledge_base.list(page_size=100).documents}
    check.want("every document of the agent is there, the old one is not",
               {d.id for d in config.agent.prompt.knowledge_base} == documents, documents)
    check.want("the list of agents", [a.agent_id for a in ai.agents.list().agents] == [agent])
    check.want("the settings of the account", ai.settings.get().webhooks is not None)
    hooks = client.webhooks.list(include_usages=True).webhooks
    check.want("one webhook, to our address", [h.webhook_url for h in hooks] == ["https://hv.example.org/elevenlabs/post-call"])

    seen = set()
    for request in ours:
        Recorder.requests.clear()
        try:
            again(client, request)
        except Exception:  # the account has nothing left to delete; what was sent counts
            if not Recorder.requests:
                raise
        theirs = Recorder.requests[0]
        kind = f"{request['method']} " + "/".join("*" if "_" in part else part for part in request["path"].split("/"))
        difference = {key: (request[key], theirs[key]) for key in request if request[key] != theirs[key]}
        if kind not in seen or difference:
            check.want(f"the official client sends the same: {kind}", not difference, str(difference)[:600])
        seen.add(kind)
    print(f"     {len(ours)} requests of {len(seen)} kinds compared")
    check.want("every kind of request was compared", len(seen) == 13, sorted(seen))

    create = next(r["body"] for r in ours if r["path"].endswith("/agents/create"))
    for name, model in [("conversation_config", ConversationalConfig), ("platform_settings", AgentPlatformSettingsRequestModel)]:
        unknown = strangers(model, create[name], name)
        check.want(f"the client's models know all of {name}", not unknown, unknown)
        model.model_validate(create[name])
    check.want("and would notice what they do not know",
               len(strangers(ConversationalConfig, {"tts": {"agent_output_audio_format": "mp3", "pitch": 1}}, "x")) == 2)
    for request in ours:
        if request["method"] == "POST" and request["path"].endswith("/tools"):
            config = dict(request["body"]["tool_config"])
            kind, name = config.pop("type"), config["name"]
            unknown = strangers(ClientToolConfigInput, config, name)
            check.want(f"the client's models know tool {name}", kind == "client" and not unknown, unknown)

    refused = run("agent", "push", "--format", "json", ELEVENLABS_BASE_URL=base, ELEVENLABS_API_KEY="sk_other")
    check.want("a wrong key is refused on one line, unnamed",
               refused.returncode == 1 and refused.stderr.count("\n") == 1 and "sk_other" not in refused.stderr, refused.stderr)
recorder.shutdown()
check.finish()
