//! Faults of a telephone line by name, for the command line.

use crate::output;
use sim::twilio::{HandshakeSignature, HangUpStyle, Impairments, Malformed};
use std::time::Duration;

/// Names of line faults, with what they do.
pub(super) const LINE_FAULTS: &[(&str, &str)] = &[
    ("frame-bytes=N", "bytes per media message instead of 160"),
    ("gap=AT:FOR", "no media for FOR ms from AT ms on; what was said meanwhile is lost"),
    ("burst=AT:FOR", "media held back for FOR ms from AT ms on, then all at once"),
    ("no-sequence-number", "messages without sequenceNumber"),
    ("malformed=FRAME", "a message that is not JSON before this frame"),
    ("slow-reader=MS", "wait before each message of the server is read"),
    ("close-without-stop", "hang up without `stop`"),
    ("stop-without-close", "hang up with `stop`, and leave the socket open"),
    ("reset", "hang up by resetting the connection"),
    ("unsigned", "media socket without a signature"),
    ("wrong-token", "media socket signed with a wrong token"),
    ("slash-toggled", "media socket signed over the address with its final slash toggled"),
    ("port-added", "media socket signed over the address with its port written out"),
    ("bad-webhook-signature", "webhooks signed with a wrong token"),
    ("duplicate-callbacks", "every callback twice"),
    ("out-of-order-callbacks", "callbacks in the wrong order"),
    ("connect-delay=MS", "wait between call instructions and media socket"),
];

/// Prints the names and what they do.
pub(super) fn list(faults: &[(&str, &str)]) -> anyhow::Result<()> {
    output::table(
        ["fault", "what happens"],
        faults.iter().map(|(name, what)| [(*name).to_owned(), (*what).to_owned()]).collect(),
    )
}

/// The faults with these names.
pub(super) fn line(names: &[String]) -> Result<Impairments, String> {
    let mut line = Impairments::default();
    for text in names {
        let (name, value) = text.split_once('=').map_or((text.as_str(), None), |(name, value)| (name, Some(value)));
        let number = || {
            let parsed = value.and_then(|value| value.parse::<u64>().ok());
            parsed.ok_or_else(|| format!("{name}: expected a number, such as {name}=250"))
        };
        let pair = || {
            let parsed = value.and_then(|value| value.split_once(':'));
            let parsed = parsed.and_then(|(at, length)| Some((at.parse::<u64>().ok()?, length.parse::<u64>().ok()?)));
            parsed.ok_or_else(|| format!("{name}: expected two times in milliseconds, such as {name}=5000:300"))
        };
        let takes_value =
            LINE_FAULTS.iter().any(|(known, _)| known.split_once('=').is_some_and(|(known, _)| known == name));
        if value.is_some() && !takes_value && LINE_FAULTS.iter().any(|(known, _)| *known == name) {
            return Err(format!("{name}: expected no value"));
        }
        match name {
            "frame-bytes" => match number()? {
                bytes @ 1..=8_000 => line.frame_bytes = bytes as usize,
                _ => return Err(format!("{name}: expected 1 to 8000")),
            },
            "gap" => line.gaps.push(pair()?),
            "burst" => line.bursts.push(pair()?),
            "no-sequence-number" => line.no_sequence_number = true,
            "malformed" => line.malformed.push(Malformed { before_frame: number()?, text: "{\"event\":".to_owned() }),
            "slow-reader" => line.slow_reader = Some(Duration::from_millis(number()?)),
            "close-without-stop" => line.hang_up = HangUpStyle::CloseWithoutStop,
            "stop-without-close" => line.hang_up = HangUpStyle::StopWithoutClose,
            "reset" => line.hang_up = HangUpStyle::Reset,
            "unsigned" => line.signature = HandshakeSignature::Absent,
            "wrong-token" => line.signature = HandshakeSignature::WrongToken,
            "slash-toggled" => line.signature = HandshakeSignature::SlashToggled,
            "port-added" => line.signature = HandshakeSignature::PortAdded,
            "bad-webhook-signature" => line.bad_webhook_signature = true,
            "duplicate-callbacks" => line.duplicate_callbacks = true,
            "out-of-order-callbacks" => line.out_of_order_callbacks = true,
            "connect-delay" => line.connect_delay = Duration::from_millis(number()?),
            _ => {
                let names: Vec<&str> = LINE_FAULTS.iter().map(|(name, _)| *name).collect();
                return Err(format!("unknown fault '{name}': expected one of {}", names.join(", ")));
            }
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_listed_fault_is_understood() {
        for (name, _) in LINE_FAULTS {
            let text =
                name.replace("=N", "=80").replace("=AT:FOR", "=1000:250").replace("=FRAME", "=9").replace("=MS", "=5");
            assert_ne!(line(&[text]).unwrap(), Impairments::default(), "{name}");
        }
    }

    #[test]
    fn mistakes_say_what_is_expected() {
        for (text, said) in [
            ("gap=5", "gap=5000:300"),
            ("slow-reader", "slow-reader=250"),
            ("reset=1", "no value"),
            ("explode", "connect-delay"),
            ("frame-bytes=0", "1 to 8000"),
        ] {
            let problem = line(&[text.to_owned()]).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }
}
