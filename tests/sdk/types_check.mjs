// Compiles recorded frames against the official TypeScript types of the agents protocol.
//
// usage: node types_check.mjs server|client FILE...
// `server` are frames the service sends, `client` frames its client sends; a FILE has one JSON object per line. Every
// frame becomes a constant of its type, so misspelt and misplaced fields are errors too.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const [side, ...files] = process.argv.slice(2);
const types = {
  server: {
    conversation_initiation_metadata: "ConversationMetadata", audio: "Audio", user_transcript: "UserTranscript",
    tentative_user_transcript: "TentativeUserTranscript", agent_response: "AgentResponse",
    agent_response_correction: "AgentResponseCorrection", agent_chat_response_part: "AgentChatResponsePart",
    agent_reasoning_response_part: "AgentReasoningResponsePart", interruption: "Interruption", ping: "Ping",
    client_tool_call: "ClientToolCallMessage", agent_tool_request: "AgentToolRequestMessage",
    agent_tool_response: "AgentToolResponseMessage",
    agent_tool_response_full_payload: "AgentToolResponseFullPayloadMessage", mcp_tool_call: "McpToolCall",
    mcp_connection_status: "McpConnectionStatusMessage", vad_score: "VadScore", context_usage: "ContextUsage",
    asr_initiation_metadata: "AsrInitiationMetadata", guardrail_triggered: "GuardrailTriggered",
    internal_turn_probability: "InternalTurnProbability",
    internal_tentative_agent_response: "InternalTentativeAgentResponse", error: "ErrorMessage",
  },
  client: {
    "": "UserAudio", pong: "Pong", user_message: "UserMessage", user_activity: "UserActivity", feedback: "UserFeedback",
    client_tool_result: "ClientToolResult", mcp_tool_approval_result: "McpToolApprovalResult",
    contextual_update: "ContextualUpdate", conversation_initiation_client_data: "ConversationInitiation",
  },
}[side];
// Real services send these though the contract lacks them, and so does the simulator, on purpose.
const outside = new Set(["some_future_event", "queue_status", "agent_response_complete", "agent_response_metadata"]);

const frames = files.flatMap((file) => readFileSync(file, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line)));
const known = [];
const strangers = new Set();
for (const frame of frames) {
  const kind = frame.type ?? ("user_audio_chunk" in frame ? "" : "?");
  if (types[kind]) known.push([types[kind], frame]);
  else if (!outside.has(kind)) strangers.add(kind);
}
// The package exports one summary file; the exact types stand beside it.
const definitions = new URL("node_modules/@elevenlabs/types/dist/generated/types/asyncapi-types.js", import.meta.url).pathname;
const names = [...new Set(known.map(([name]) => name))].sort();
const source = [`import type { ${names.join(", ")} } from ${JSON.stringify(definitions)};`,
  ...known.map(([name, frame], number) => `export const f${number}: ${name} = ${JSON.stringify(frame)};`)].join("\n");
const folder = mkdtempSync(join(tmpdir(), "heartvoice-types-"));
writeFileSync(join(folder, "frames.ts"), source);
let output = "";
try {
  execFileSync(process.execPath, [require.resolve("typescript/bin/tsc"), "--noEmit", "--strict", "--target", "es2022",
    "--module", "esnext", "--moduleResolution", "bundler", "--skipLibCheck", join(folder, "frames.ts")], { encoding: "utf8" });
} catch (error) {
  output = `${error.stdout ?? ""}${error.stderr ?? ""}`;
}
rmSync(folder, { recursive: true });
const errors = output.split("\n").filter((line) => /frames\.ts\(/.test(line));
for (const line of errors) {
  const frame = known[Number(/frames\.ts\((\d+)/.exec(line)[1]) - 2]?.[1];
  console.log(`FAIL ${line.replace(/^.*?error /, "")}\n     ${JSON.stringify(frame).slice(0, 200)}`);
}
if (output && !errors.length) console.log(`FAIL ${output}`);
for (const kind of strangers) console.log(`FAIL a frame of type ${JSON.stringify(kind)} is not in the contract`);
console.log(`${known.length} ${side} frames of ${names.length} types checked`);
process.exit(output || strangers.size || !known.length ? 1 : 0);
