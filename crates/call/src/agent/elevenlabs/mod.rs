//! Messages of a conversation with an ElevenLabs agent (ElevenLabs Agents over WebSocket).
//!
//! Reading is tolerant: unknown events and fields, numbers as strings and missing optional values are no error. Writing
//! is exact: one unknown field may end the conversation.

mod events;
mod read;
pub mod webhook;
mod write;

pub use events::{QueueStatus, SecondaryEvent, ServerEvent};
pub use read::{MAX_MESSAGE_BYTES, parse};
pub use write::{
    DynamicValue, Init, conversation_url, signed_url_request, write_audio, write_contextual_update, write_init,
    write_mcp_approval, write_pong, write_tool_result, write_user_activity, write_user_message,
};
