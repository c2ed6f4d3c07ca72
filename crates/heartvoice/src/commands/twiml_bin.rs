//! `heartvoice twiml-bin`: what callers hear when Twilio reaches no server of ours at all.
//!
//! The number's "voice fallback URL" is asked for when the server does not answer. It must not be on the same host, and
//! Twilio hosts such a text itself, as a TwiML Bin. The text names nobody, knows nothing, and says where help is.

use crate::failure::bad_input;
use crate::output;
use call::twilio::twiml::{Dial, Response};
use call::twilio::voices;
use clinic::PhoneNumber;

/// What a TwiML Bin holds, in bytes.
const BIN_MAX_BYTES: usize = 4_000;
/// How long the nurse line rings, in seconds.
const RINGS_S: u32 = 20;
/// Languages and what is said in them: the apology, and that a nurse is called now.
const TEXTS: [(&str, &str, &str); 2] = [
    (
        "en",
        "We are sorry, the automated check-in is not available right now. If this is an emergency, hang up and call your \
         local emergency number.",
        "Please hold the line. We are connecting you with a nurse.",
    ),
    (
        "es",
        "Lo sentimos, el servicio automático no está disponible en este momento. Si es una emergencia, cuelgue y llame a \
         su número de emergencias.",
        "Por favor, no cuelgue. Le comunicamos con una enfermera.",
    ),
];
/// What is said where no nurse can be called, by language.
const GOODBYES: [(&str, &str); 2] = [
    ("en", "Please call your clinic directly, or call again later. Goodbye."),
    ("es", "Llame directamente a su clínica, o vuelva a llamar más tarde. Adiós."),
];

/// Prints the instructions for the number's voice fallback URL.
///
/// Paste them into a TwiML Bin of the Twilio console and set its address as "Primary handler fails" of the number. Callers
/// then hear an apology, and are connected with the nurse where a number is given, also while no server answers.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  heartvoice twiml-bin --language en,es --nurse-line +15005550012")]
pub(crate) struct Args {
    /// Languages, in the order in which they are spoken: en, es
    #[arg(long, value_name = "CODES", value_delimiter = ',', default_value = "en")]
    language: Vec<String>,
    /// The number to connect callers with
    #[arg(long, value_name = "NUMBER")]
    nurse_line: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    output::line(&twiml(&args.language, args.nurse_line.as_deref())?)
}

fn twiml(languages: &[String], nurse_line: Option<&str>) -> anyhow::Result<String> {
    let expected = "--nurse-line: expected a telephone number in E.164 form such as +15005550012";
    let nurse = nurse_line.map(PhoneNumber::parse).transpose().map_err(|_| bad_input(expected))?;
    let mut response = Response::new();
    for language in languages {
        let language = language.trim();
        let known = TEXTS.iter().find(|(code, ..)| *code == language);
        let (code, apology, connecting) = known.ok_or_else(|| bad_input("--language: expected en or es, or both"))?;
        let goodbye = GOODBYES.iter().find(|(known, _)| known == code).map_or("", |(_, text)| *text);
        let then = if nurse.is_some() { connecting } else { goodbye };
        response = response.say(voices::say(code, format!("{apology} {then}")));
    }
    let response = match &nurse {
        Some(nurse) => {
            let mut dial = Dial::new(nurse.expose());
            dial.timeout_s = Some(RINGS_S);
            // Reached when nobody answers there.
            languages.iter().fold(response.dial(dial), |response, language| {
                let goodbye = GOODBYES.iter().find(|(code, _)| *code == language.trim());
                goodbye.map_or(response.clone(), |(code, text)| response.say(voices::say(code, *text)))
            })
        }
        None => response,
    };
    let xml = response.hangup().render()?;
    anyhow::ensure!(xml.len() < BIN_MAX_BYTES, "the instructions have {} bytes: a TwiML Bin holds 4,000", xml.len());
    Ok(xml)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn made(languages: &[&str], nurse: Option<&str>) -> String {
        let languages: Vec<String> = languages.iter().map(|code| (*code).to_owned()).collect();
        twiml(&languages, nurse).unwrap()
    }

    #[test]
    fn callers_hear_an_apology_and_where_help_is_in_each_language() {
        let xml = made(&["en", "es"], None);
        assert!(xml.contains("emergency number") && xml.contains("número de emergencias"), "{xml}");
        assert!(xml.contains("call your clinic") && !xml.contains("<Dial"), "{xml}");
        assert!(xml.find("Say language=\"en-US\"").unwrap() < xml.find("Say language=\"es-US\"").unwrap());
    }

    #[test]
    fn the_nurse_is_called_where_there_is_one() {
        let xml = made(&["en"], Some("+15005550012"));
        assert!(xml.contains("<Dial") && xml.contains("+15005550012") && xml.ends_with("</Response>"), "{xml}");
        assert!(xml.find("<Dial").unwrap() < xml.find("call your clinic").unwrap(), "{xml}");
    }

    #[test]
    fn what_cannot_be_said_or_called_is_refused() {
        assert!(twiml(&["tlh".to_owned()], None).unwrap_err().to_string().contains("--language"));
        assert!(twiml(&["en".to_owned()], Some("911")).unwrap_err().to_string().contains("--nurse-line"));
    }
}
