// The official ElevenLabs JavaScript client holds a conversation with our simulated agents service.
//
// usage: node elevenlabs_js.mjs text|signed|voice|bearer
// `voice` runs the client's own VoiceConversation with a timer in place of a microphone and a counter in place of a
// loudspeaker; the others use its text mode. The service runs the script `sdk-check`.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { WebSocket as NodeWebSocket } from "ws";

globalThis.WebSocket ??= NodeWebSocket;
const { Conversation } = await import("@elevenlabs/client");
const internal = await import("@elevenlabs/client/internal");

const mode = process.argv[2] ?? "text";
const program = process.env.HEARTVOICE ?? new URL("../../target/release/heartvoice", import.meta.url).pathname;
const authorised = mode === "signed";
const service = spawn(program, ["simulate", "elevenlabs", "--listen", "127.0.0.1:0", "--script", "sdk-check",
  ...(authorised ? ["--api-key", "sk_check"] : [])], { stdio: ["ignore", "pipe", "inherit"] });
process.on("exit", () => service.kill());
const base = await new Promise((resolve, reject) => {
  createInterface({ input: service.stdout }).once("line", (line) => resolve(line.replace("listening on ", "")));
  service.once("exit", (code) => reject(new Error(`the service ended with ${code}`)));
});

const seen = { incoming: {}, outgoing: {}, messages: [], errors: [], interruptions: 0, corrections: 0, vad: 0, tools: [],
  played: 0, sent: 0, end: undefined };
const count = (table, name) => { table[name] = (table[name] ?? 0) + 1; };

if (mode === "voice") {
  internal.setSetupStrategy(async (options) => {
    const connection = await internal.createConnection(options);
    const { format, sampleRate } = connection.inputFormat;
    const bytes = (format === "ulaw" ? 1 : 2) * sampleRate * 0.02;
    const chunk = Buffer.alloc(bytes, format === "ulaw" ? 0xff : 0).toString("base64");
    const microphone = setInterval(() => { connection.sendMessage({ user_audio_chunk: chunk }); seen.sent++; }, 20);
    const loudspeaker = (event) => { seen.played += Buffer.from(event.audio_base_64, "base64").length; };
    connection.addListener(loudspeaker);
    const device = {
      close: async () => clearInterval(microphone), setDevice: async () => {}, setMuted: async () => {}, isMuted: () => false,
      getAnalyser: () => undefined, getVolume: () => 0, getByteFrequencyData: () => {}, setVolume: () => {}, interrupt: () => {},
    };
    const detach = async () => { clearInterval(microphone); connection.removeListener(loudspeaker); };
    return { connection, input: device, output: device, playbackEventTarget: null, detach };
  });
}

async function signedUrl() {
  const url = `${base}/v1/convai/conversation/get-signed-url?agent_id=agent_check`;
  const answer = await fetch(url, { headers: { "xi-api-key": "sk_check" } });
  return (await answer.json()).signed_url;
}

const origin = base.replace(/^http/, "ws");
const target = authorised ? { signedUrl: await signedUrl() } : { agentId: "agent_check", origin };
if (mode === "bearer") target.authorization = "token123";

const started = Conversation.startSession({
  ...target,
  connectionType: "websocket",
  textOnly: mode !== "voice",
  userId: "patient-7",
  dynamicVariables: { patient_name: "Ada", weight_lb: 182.5, on_diuretic: true },
  customLlmExtraBody: { call_ref: "abc" },
  overrides: {
    agent: { prompt: { prompt: "You are a nurse." }, firstMessage: "Hello Ada", language: "en" },
    tts: { voiceId: "v1", speed: 0.95 },
  },
  clientTools: { record_weight: (parameters) => { seen.tools.push(parameters); return { ok: true }; } },
  onDisconnect: (details) => { seen.end = details; },
  onError: (message) => seen.errors.push(String(message)),
  onMessage: (message) => seen.messages.push(message),
  onInterruption: () => { seen.interruptions++; },
  onAgentResponseCorrection: () => { seen.corrections++; },
  onVadScore: () => { seen.vad++; },
  onIncomingEvent: (event) => count(seen.incoming, event.type),
  onOutgoingEvent: (event) => count(seen.outgoing, event.type ?? Object.keys(event)[0]),
});
const late = setTimeout(() => { console.log("FAIL the session did not start within 10 s"); process.exit(1); }, 10_000);
const conversation = await started;
clearTimeout(late);

setTimeout(() => {
  conversation.sendContextualUpdate("Weight up 3 lb since Monday", { contextId: "weight" });
  conversation.sendUserMessage("typed text");
  conversation.sendUserActivity();
}, 700);
const until = Date.now() + 25_000;
while (!seen.end && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 50));

let failed = 0;
const want = (name, held, detail) => {
  console.log(`${held ? "ok   " : "FAIL "}${name}${held ? "" : `: ${JSON.stringify(detail)}`}`);
  if (!held) failed++;
};
const texts = (role) => seen.messages.filter((message) => (message.source ?? message.role) === role).length;
want("the conversation has its id", conversation.getId().startsWith("conv_"), conversation.getId());
want("messages of the agent arrive", texts("ai") + texts("agent") >= 2, seen.messages);
want("messages of the caller arrive", texts("user") >= 1, seen.messages);
want("a correction arrives", seen.corrections >= 1);
want("voice activity arrives", seen.vad >= 1);
want("the tool is called with its parameters", seen.tools.some((p) => p.weight_lb === 182.5), seen.tools);
want("tool results, pongs and updates are sent", ["client_tool_result", "pong", "contextual_update"].every((n) => seen.outgoing[n]), seen.outgoing);
want("the agent ends the conversation", seen.end?.reason === "agent", seen.end);
if (mode === "voice") {
  want("audio arrives", seen.played > 4_000, seen.played);
  want("audio is sent", seen.sent > 50, seen.sent);
  want("an interruption arrives", seen.interruptions >= 1);
}
process.exit(failed ? 1 : 0);
