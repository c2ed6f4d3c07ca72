//! The REST interface: signed URLs, issued here and checked at the WebSocket handshake, and the account's settings.

pub(super) mod account;
pub(super) mod admin;
mod checks;
mod merge;

use crate::rng::Rng;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// How long a signed URL may be used to begin a conversation.
const SIGNATURE_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Signatures kept; the oldest are forgotten.
const MAX_SIGNATURES: usize = 10_000;

/// A signature that was issued.
#[derive(Debug, Clone)]
struct Issued {
    agent_id: String,
    at_ms: u64,
    /// Set when the URL names its conversation; such a URL works once.
    conversation_id: Option<String>,
    used: bool,
}

/// All signatures of one service. Times are milliseconds since it began.
#[derive(Debug)]
pub(super) struct Signatures {
    issued: HashMap<String, Issued>,
    rng: Rng,
    /// Whether signatures issued elsewhere are refused.
    strict: bool,
}

impl Signatures {
    pub(super) fn new(seed: u64, strict: bool) -> Self {
        Self { issued: HashMap::new(), rng: Rng::named(seed, "signatures"), strict }
    }

    pub(super) fn issue(&mut self, agent_id: &str, conversation_id: Option<String>, now_ms: u64) -> String {
        if self.issued.len() >= MAX_SIGNATURES {
            let oldest = self.issued.iter().min_by_key(|(_, issued)| issued.at_ms).map(|(key, _)| key.clone());
            oldest.map(|key| self.issued.remove(&key));
        }
        let signature = format!("cvtkn_{}", self.rng.hex(40));
        let issued = Issued { agent_id: agent_id.to_owned(), at_ms: now_ms, conversation_id, used: false };
        self.issued.insert(signature.clone(), issued);
        signature
    }

    /// Accepts a signature, giving the conversation id it was made for, or says what is wrong with it.
    pub(super) fn redeem(
        &mut self,
        signature: &str,
        agent_id: &str,
        now_ms: u64,
    ) -> Result<Option<String>, &'static str> {
        let Some(issued) = self.issued.get_mut(signature) else {
            return if self.strict { Err("unknown signature") } else { Ok(None) };
        };
        if issued.agent_id != agent_id {
            return Err("signature of another agent");
        }
        if Duration::from_millis(now_ms.saturating_sub(issued.at_ms)) > SIGNATURE_LIFETIME {
            return Err("signature expired");
        }
        if issued.used && issued.conversation_id.is_some() {
            return Err("signature already used");
        }
        issued.used = true;
        Ok(issued.conversation_id.clone())
    }
}

/// Body of a 401.
pub(super) fn unauthorized() -> Value {
    json!({"detail": {"status": "invalid_api_key", "message": "Invalid API key"}})
}

/// Body of a 404 for an agent.
pub(super) fn agent_not_found(agent_id: &str) -> Value {
    json!({"detail": {"status": "agent_not_found", "message": format!("Agent {agent_id} not found")}})
}

/// Body of a 422 for a query parameter that is missing.
pub(super) fn missing_parameter(name: &str) -> Value {
    json!({"detail": [{"loc": ["query", name], "msg": "Field required", "type": "missing"}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_for_one_agent_and_fifteen_minutes() {
        let mut signatures = Signatures::new(1, true);
        let signature = signatures.issue("agent_1", None, 0);
        assert_eq!(signatures.redeem(&signature, "agent_1", 1), Ok(None));
        assert_eq!(signatures.redeem(&signature, "agent_1", 2), Ok(None));
        assert!(signatures.redeem(&signature, "agent_2", 2).is_err());
        assert!(signatures.redeem(&signature, "agent_1", 16 * 60_000).is_err());
        assert!(signatures.redeem("cvtkn_other", "agent_1", 1).is_err());
        assert_eq!(Signatures::new(1, false).redeem("cvtkn_other", "agent_1", 1), Ok(None));
    }

    #[test]
    fn with_a_conversation_id_once_only() {
        let mut signatures = Signatures::new(1, false);
        let signature = signatures.issue("agent_1", Some("conv_1".to_owned()), 0);
        assert_eq!(signatures.redeem(&signature, "agent_1", 1), Ok(Some("conv_1".to_owned())));
        assert_eq!(signatures.redeem(&signature, "agent_1", 2), Err("signature already used"));
    }
}
