//! An entry of the audit trail as a FHIR R4 AuditEvent.
//!
//! Codes are those of the sheet for security events (DICOM PS3.16, CID 400 and 401) where something other than a record
//! was touched, and of the RESTful interaction otherwise. Everybody and everything is named by identifier only: an
//! exported trail may be read by people who must not know who the patients are.

use serde_json::{Value, json};
use std::net::IpAddr;

const AUDIT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const PURPOSE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const REQUEST_ID: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
/// Identifiers of this installation's own kinds.
const OWN: &str = "urn:heartvoice:id:";
const OWN_ROLE: &str = "urn:heartvoice:role";

/// What came of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was done.
    Success,
    /// It was not permitted.
    Denied,
    /// It was permitted and did not work.
    Failed,
}

/// An entry of the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditFacts<'a> {
    /// Number in the trail.
    pub sequence: u64,
    /// When, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// `user`, `token`, `patient`, or what of the program itself acted, such as `system` or `command`.
    pub actor_kind: &'a str,
    /// Who; an opaque identifier.
    pub actor_id: &'a str,
    /// The role they acted in.
    pub role: Option<&'a str>,
    /// What was done, as `kind.verb`: `call.read`, `session.sign_in`.
    pub action: &'a str,
    /// Kind of what it was done to.
    pub object_kind: Option<&'a str>,
    /// Which; an opaque identifier.
    pub object_id: Option<&'a str>,
    /// Whose record.
    pub patient_id: Option<&'a str>,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// Stable code of the reason, where there is one.
    pub reason: Option<&'a str>,
    /// From where: an address of the network or a name of a machine.
    pub address: Option<&'a str>,
    /// The request it belongs to.
    pub request_id: Option<&'a str>,
}

/// Who keeps the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSource<'a> {
    /// Name of the installation.
    pub site: &'a str,
    /// Identifier of the program as a FHIR Device.
    pub device_id: &'a str,
}

/// The verb of an action, by what it does to data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Read,
    Search,
    Update,
    Delete,
    Execute,
}

impl Verb {
    fn of(action: &str) -> Self {
        match action.rsplit('.').next().unwrap_or_default() {
            "create" | "add" | "import" | "raise" | "place" | "begin" | "announce" => Self::Create,
            "read" | "show" | "view" | "listen" | "follow" | "download" | "get" | "export" | "replay" | "research" => {
                Self::Read
            }
            "list" | "search" | "find" | "identify" => Self::Search,
            "update" | "change" | "set" | "clear" | "acknowledge" | "resolve" | "assign" | "unassign" | "pause"
            | "resume" | "rotate" | "rewrap" | "activate" | "reset" | "disable" | "enable" | "revoke" | "hold"
            | "release" | "finish" | "interrupt" | "cancel" | "save" | "confirm" | "review" => Self::Update,
            "delete" | "erase" | "remove" | "purge" | "destroy" => Self::Delete,
            _ => Self::Execute,
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Read => "R",
            Self::Update => "U",
            Self::Delete => "D",
            // The standard counts a query as an execution.
            Self::Search | Self::Execute => "E",
        }
    }

    fn interaction(self) -> (&'static str, &'static str) {
        match self {
            Self::Create => ("create", "create"),
            Self::Read => ("read", "read"),
            Self::Search => ("search-type", "search-type"),
            Self::Update => ("update", "update"),
            Self::Delete => ("delete", "delete"),
            Self::Execute => ("operation", "operation"),
        }
    }
}

/// Type and subtype of what is no access to a record: DICOM codes.
fn security_event(action: &str) -> Option<[(&'static str, &'static str); 2]> {
    const AUTHENTICATION: (&str, &str) = ("110114", "User Authentication");
    const ALERT: (&str, &str) = ("110113", "Security Alert");
    let (kind, verb) = action.split_once('.').unwrap_or((action, ""));
    Some(match (kind, verb) {
        (_, "sign_in" | "login" | "second_factor") => [AUTHENTICATION, ("110122", "Login")],
        (_, "sign_out" | "logout") => [AUTHENTICATION, ("110123", "Logout")],
        ("session", "create" | "begin" | "password" | "refuse") => [AUTHENTICATION, ("110122", "Login")],
        ("session", "revoke" | "expire" | "delete" | "end") => [AUTHENTICATION, ("110123", "Logout")],
        (_, "break_glass" | "emergency_access") | ("break_glass", "begin") => {
            [ALERT, ("110127", "Emergency Override Started")]
        }
        ("user" | "role", "role" | "set_role" | "role_change") => [ALERT, ("110136", "Security Roles Changed")],
        ("user" | "token" | "password" | "totp" | "care_team", verb) if !is_reading(verb) => {
            [ALERT, ("110137", "User security Attributes Changed")]
        }
        ("keys" | "key" | "config" | "settings", verb) if !is_reading(verb) => {
            [ALERT, ("110129", "Security Configuration")]
        }
        ("server" | "system", "start") => [("110100", "Application Activity"), ("110120", "Application Start")],
        ("server" | "system", "stop") => [("110100", "Application Activity"), ("110121", "Application Stop")],
        ("audit", "suspect" | "contradict") => [ALERT, ("110135", "Object Security Attributes Changed")],
        ("audit", _) => [("110101", "Audit Log Used"), ("110101", "Audit Log Used")],
        _ => return None,
    })
}

fn is_reading(verb: &str) -> bool {
    matches!(Verb::of(verb), Verb::Read | Verb::Search)
}

/// What the access was for, by the role and the action.
fn purpose(facts: &AuditFacts<'_>) -> (&'static str, &'static str) {
    let action = facts.action;
    if action.ends_with(".break_glass") || action.ends_with(".emergency_access") || action == "break_glass.begin" {
        return ("BTG", "break the glass");
    }
    if action == "patient.export" {
        return ("PATRQT", "patient requested");
    }
    match facts.role {
        Some("clinician" | "service") => ("TREAT", "treatment"),
        Some("researcher") => ("HRESCH", "healthcare research"),
        Some("admin") => ("PATADMIN", "patient administration"),
        _ => ("HSYSADMIN", "health system administration"),
    }
}

/// The entry as an AuditEvent. `recorded` is `at_us` as RFC 3339 with a zone, as the trail shows it.
#[must_use]
pub fn audit_event(facts: &AuditFacts<'_>, recorded: &str, source: &AuditSource<'_>) -> Value {
    let verb = Verb::of(facts.action);
    let coding =
        |system: &str, (code, display): (&str, &str)| json!({"system": system, "code": code, "display": display});
    let security = security_event(facts.action);
    let (kind, subtype) = match security {
        Some([kind, subtype]) => (coding(DICOM, kind), coding(DICOM, subtype)),
        None => (coding(AUDIT_TYPE, ("rest", "RESTful Operation")), coding(INTERACTION, verb.interaction())),
    };
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": format!("audit-{}", facts.sequence),
        "type": kind,
        "subtype": [subtype],
        "action": if security.is_some() && verb == Verb::Create { "E" } else { verb.action() },
        "recorded": recorded,
        "outcome": match facts.outcome {
            AuditOutcome::Success => "0",
            AuditOutcome::Denied => "4",
            AuditOutcome::Failed => "8",
        },
        "purposeOfEvent": [{"coding": [coding(PURPOSE, purpose(facts))]}],
        "agent": [agent(facts, verb)],
        "source": {
            "site": source.site,
            "observer": reference("Device", source.device_id),
            "type": [coding(SOURCE_TYPE, ("4", "Application Server"))],
        },
    });
    let entities = entities(facts);
    if let Some(map) = event.as_object_mut() {
        if let Some(reason) = facts.reason {
            map.insert("outcomeDesc".to_owned(), json!(reason));
        }
        // An empty list is not valid.
        if !entities.is_empty() {
            map.insert("entity".to_owned(), json!(entities));
        }
    }
    event
}

fn agent(facts: &AuditFacts<'_>, verb: Verb) -> Value {
    let receives = matches!(verb, Verb::Read | Verb::Search);
    let (code, display) = if receives { ("IRCP", "information recipient") } else { ("AUT", "author (originator)") };
    let kind = match facts.actor_kind {
        "user" => "Practitioner",
        "patient" => "Patient",
        _ => "Device",
    };
    let mut agent = json!({
        "type": {"coding": [{"system": PARTICIPATION, "code": code, "display": display}]},
        "who": match facts.actor_kind {
            // Neither is an account of ours, whatever the name of the system's is.
            "operator" | "anonymous" => identified(facts.actor_kind, facts.actor_id),
            _ => reference(kind, facts.actor_id),
        },
        "requestor": true,
    });
    if let Some(map) = agent.as_object_mut() {
        if let Some(role) = facts.role {
            map.insert("role".to_owned(), json!([{"coding": [{"system": OWN_ROLE, "code": role}]}]));
        }
        if let Some(address) = facts.address {
            let kind = if address.parse::<IpAddr>().is_ok() { "2" } else { "1" };
            map.insert("network".to_owned(), json!({"address": address, "type": kind}));
        }
    }
    agent
}

fn entities(facts: &AuditFacts<'_>) -> Vec<Value> {
    let entity = |what: Value, kind: (&str, &str), role: (&str, &str)| {
        json!({
            "what": what,
            "type": {"system": ENTITY_TYPE, "code": kind.0, "display": kind.1},
            "role": {"system": OBJECT_ROLE, "code": role.0, "display": role.1},
        })
    };
    const PERSON: (&str, &str) = ("1", "Person");
    const OBJECT: (&str, &str) = ("2", "System Object");
    let mut entities = Vec::new();
    if let Some(patient) = facts.patient_id {
        entities.push(entity(reference("Patient", patient), PERSON, ("1", "Patient")));
    }
    let object = facts.object_id.filter(|id| facts.object_kind != Some("patient") || facts.patient_id != Some(*id));
    if let (Some(kind), Some(id)) = (facts.object_kind, object) {
        entities.push(match kind {
            "patient" => entity(reference("Patient", id), PERSON, ("1", "Patient")),
            "user" => entity(reference("Practitioner", id), PERSON, ("11", "Security User Entity")),
            "call" | "transcript" | "assessment" | "biomarkers" => {
                entity(reference("Encounter", id), OBJECT, ("4", "Domain Resource"))
            }
            "audio" | "recording" => entity(reference("Media", id), OBJECT, ("4", "Domain Resource")),
            "alert" => entity(reference("Flag", id), OBJECT, ("4", "Domain Resource")),
            "token" | "session" | "key" => entity(identified(kind, id), OBJECT, ("13", "Security Resource")),
            other => entity(identified(other, id), OBJECT, ("4", "Domain Resource")),
        });
    }
    if let Some(request) = facts.request_id {
        entities.push(json!({
            "what": {"identifier": {"value": request}},
            "type": {"system": REQUEST_ID, "code": "XrequestId"},
        }));
    }
    entities
}

/// A reference to a resource, or its identifier where that cannot be an id of FHIR.
fn reference(kind: &str, id: &str) -> Value {
    let fits = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if fits {
        return json!({"reference": format!("{kind}/{id}")});
    }
    let mut named = identified(&kind.to_ascii_lowercase(), id);
    if let Some(map) = named.as_object_mut() {
        map.insert("type".to_owned(), json!(kind));
    }
    named
}

fn identified(kind: &str, id: &str) -> Value {
    json!({"identifier": {"system": format!("{OWN}{kind}"), "value": id}})
}

/// Entries with their times as a file of bulk data: one object a line.
pub fn audit_events_ndjson<'a>(
    entries: impl IntoIterator<Item = (AuditFacts<'a>, String)>,
    source: &AuditSource<'_>,
) -> String {
    entries.into_iter().map(|(facts, recorded)| format!("{}\n", audit_event(&facts, &recorded, source))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const SOURCE: AuditSource<'static> = AuditSource { site: "HeartVoice Monitor", device_id: "heartvoice" };
    const AT: &str = "2026-03-02T09:05:30.123456Z";

    fn facts(action: &'static str) -> AuditFacts<'static> {
        AuditFacts {
            sequence: 7,
            at_us: 1_772_442_330_123_456,
            actor_kind: "user",
            actor_id: "nurse1",
            role: Some("clinician"),
            action,
            object_kind: Some("call"),
            object_id: Some("call1"),
            patient_id: Some("p1"),
            outcome: AuditOutcome::Success,
            reason: None,
            address: Some("192.0.2.10"),
            request_id: Some("req-1"),
        }
    }

    #[test]
    fn a_read_is_the_event_of_the_standard() {
        let event = audit_event(&facts("call.read"), AT, &SOURCE);
        assert_eq!(event["type"]["code"], "rest");
        assert_eq!(
            (&event["subtype"][0]["code"], &event["action"], &event["outcome"]),
            (&json!("read"), &json!("R"), &json!("0"))
        );
        assert_eq!(event["recorded"], AT);
        assert_eq!(event["purposeOfEvent"][0]["coding"][0]["code"], "TREAT");
        assert_eq!(event["agent"][0]["who"]["reference"], "Practitioner/nurse1");
        assert_eq!(event["agent"][0]["network"], json!({"address": "192.0.2.10", "type": "2"}));
        assert_eq!(event["entity"][0]["what"]["reference"], "Patient/p1");
        assert_eq!(event["entity"][1]["what"]["reference"], "Encounter/call1");
        assert_eq!(event["entity"][2]["what"]["identifier"]["value"], "req-1");
    }

    #[test]
    fn every_kind_of_action_has_its_codes() {
        for (action, kind, subtype, letter) in [
            ("patient.create", "rest", "create", "C"),
            ("patient.list", "rest", "search-type", "E"),
            ("alert.acknowledge", "rest", "update", "U"),
            ("patient.erase", "rest", "delete", "D"),
            ("agent.push", "rest", "operation", "E"),
            ("user.read", "rest", "read", "R"),
            ("session.sign_in", "110114", "110122", "E"),
            ("session.sign_out", "110114", "110123", "E"),
            ("patient.break_glass", "110113", "110127", "E"),
            ("user.create", "110113", "110137", "E"),
            ("user.set_role", "110113", "110136", "E"),
            ("keys.rotate", "110113", "110129", "U"),
            ("audit.export", "110101", "110101", "R"),
            ("call.begin", "rest", "create", "C"),
            ("call.finish", "rest", "update", "U"),
            ("patient.identify", "rest", "search-type", "E"),
            ("call.replay", "rest", "read", "R"),
            ("session.begin", "110114", "110122", "E"),
            ("session.end", "110114", "110123", "E"),
            ("session.refuse", "110114", "110122", "E"),
            ("session.list", "rest", "search-type", "E"),
            ("research.export", "rest", "read", "R"),
            ("care_team.remove", "110113", "110137", "D"),
            ("break_glass.list", "rest", "search-type", "E"),
            ("break_glass.review", "rest", "update", "U"),
            ("key.rewrap", "110113", "110129", "U"),
            ("server.start", "110100", "110120", "E"),
            ("server.stop", "110100", "110121", "E"),
            ("config.change", "110113", "110129", "U"),
        ] {
            let event = audit_event(&facts(action), AT, &SOURCE);
            let got = (event["type"]["code"].as_str(), event["subtype"][0]["code"].as_str(), event["action"].as_str());
            assert_eq!(got, (Some(kind), Some(subtype), Some(letter)), "{action}");
        }
        let purpose = |action| {
            let event = audit_event(&facts(action), AT, &SOURCE);
            event["purposeOfEvent"][0]["coding"][0]["code"].as_str().map(str::to_owned)
        };
        assert_eq!(purpose("patient.break_glass").as_deref(), Some("BTG"));
        assert_eq!(purpose("break_glass.review").as_deref(), Some("TREAT"));
    }

    #[test]
    fn an_operator_of_the_machine_is_no_account_of_ours() {
        let event =
            audit_event(&AuditFacts { actor_kind: "operator", actor_id: "root", ..facts("call.read") }, AT, &SOURCE);
        let who = &event["agent"][0]["who"];
        assert_eq!(who["identifier"], json!({"system": "urn:heartvoice:id:operator", "value": "root"}));
        assert!(who.get("reference").is_none());
    }

    #[test]
    fn a_refusal_is_a_minor_failure_with_its_reason_and_a_failure_a_serious_one() {
        let denied =
            AuditFacts { outcome: AuditOutcome::Denied, reason: Some("not_in_care_team"), ..facts("call.read") };
        let event = audit_event(&denied, AT, &SOURCE);
        assert_eq!((&event["outcome"], &event["outcomeDesc"]), (&json!("4"), &json!("not_in_care_team")));
        let failed = AuditFacts { outcome: AuditOutcome::Failed, ..facts("call.read") };
        assert_eq!(audit_event(&failed, AT, &SOURCE)["outcome"], "8");
    }

    #[test]
    fn what_is_not_known_is_absent_and_nothing_is_empty() {
        let bare = AuditFacts {
            actor_kind: "system",
            actor_id: "retention_job",
            role: None,
            object_kind: None,
            object_id: None,
            patient_id: None,
            address: None,
            request_id: None,
            ..facts("retention.run")
        };
        let event = audit_event(&bare, AT, &SOURCE);
        assert!(event.get("entity").is_none() && event["agent"][0].get("network").is_none());
        // An underline cannot stand in an id of FHIR.
        assert_eq!(event["agent"][0]["who"]["type"], "Device");
        assert_eq!(event["agent"][0]["who"]["identifier"]["value"], "retention_job");
        assert!(!holds_nothing(&event), "{event}");
    }

    fn holds_nothing(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty() || items.iter().any(holds_nothing),
            Value::Object(map) => map.is_empty() || map.values().any(holds_nothing),
            _ => false,
        }
    }

    #[test]
    fn a_file_holds_one_object_a_line() {
        let hostile = AuditFacts { reason: Some("a\nb\u{2028}\""), address: Some("host.test"), ..facts("call.read") };
        let entries = [(facts("call.read"), AT.to_owned()), (hostile, AT.to_owned())];
        let text = audit_events_ndjson(entries, &SOURCE);
        assert!(text.ends_with('\n'));
        let lines: Vec<Value> = text.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["agent"][0]["network"]["type"], "1");
    }
}
