//! Voices of `<Say>`: which one speaks a language of ours (Twilio's codes differ from the agent's).

use super::twiml::Say;

/// Language code of ours, language code of `<Say>`, voice.
const VOICES: [(&str, &str, &str); 15] = [
    ("en", "en-US", "Polly.Joanna-Neural"),
    ("es", "es-US", "Polly.Lupe-Neural"),
    ("fr", "fr-FR", "Polly.Lea-Neural"),
    ("de", "de-DE", "Polly.Vicki-Neural"),
    ("pt", "pt-BR", "Polly.Camila-Neural"),
    ("it", "it-IT", "Polly.Bianca-Neural"),
    ("pl", "pl-PL", "Polly.Ola-Neural"),
    ("zh", "cmn-CN", "Polly.Zhiyu-Neural"),
    ("ko", "ko-KR", "Polly.Seoyeon-Neural"),
    ("hi", "hi-IN", "Polly.Kajal-Neural"),
    ("ar", "ar-AE", "Polly.Hala-Neural"),
    ("vi", "vi-VN", "Google.vi-VN-Wavenet-A"),
    ("ru", "ru-RU", "Google.ru-RU-Wavenet-A"),
    ("tl", "fil-PH", "Google.fil-PH-Wavenet-A"),
    ("pt-br", "pt-BR", "Polly.Camila-Neural"),
];

/// A text in the voice of its language; in the phone company's own voice when the language is not known.
#[must_use]
pub fn say(language: &str, text: impl Into<String>) -> Say {
    match VOICES.iter().find(|(ours, ..)| *ours == language) {
        Some((_, code, voice)) => Say::new(text).language(*code).voice(*voice),
        None => Say::new(text),
    }
}

/// The recogniser's code of a language of ours (`<Gather language>`); `None` when it is not known, and English is heard.
/// Twilio's lists differ: what is `cmn-CN` to say is `cmn-Hans-CN` to hear.
#[must_use]
pub fn recogniser(language: &str) -> Option<&'static str> {
    match language {
        "zh" => Some("cmn-Hans-CN"),
        _ => VOICES.iter().find(|(ours, ..)| *ours == language).map(|(_, code, _)| *code),
    }
}
