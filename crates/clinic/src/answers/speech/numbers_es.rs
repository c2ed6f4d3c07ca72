//! Spanish numbers: "ochenta y dos coma cinco", "dos kilos y medio", "medio kilo", "un par de libras".

use super::Words;
use super::numbers::{Number, Quantity, Unit, digits, spoken_decimals, written_fraction};
use crate::answers::KG_PER_LB;

/// The value of a number word by itself.
pub(super) fn value(word: &str) -> Option<f64> {
    let value = match word {
        "cero" => 0,
        "uno" | "un" | "una" => 1,
        "dos" => 2,
        "tres" => 3,
        "cuatro" => 4,
        "cinco" => 5,
        "seis" => 6,
        "siete" => 7,
        "ocho" => 8,
        "nueve" => 9,
        "diez" => 10,
        "once" => 11,
        "doce" => 12,
        "trece" => 13,
        "catorce" => 14,
        "quince" => 15,
        "dieciseis" => 16,
        "diecisiete" => 17,
        "dieciocho" => 18,
        "diecinueve" => 19,
        "veinte" => 20,
        "veintiuno" | "veintiun" | "veintiuna" => 21,
        "veintidos" => 22,
        "veintitres" => 23,
        "veinticuatro" => 24,
        "veinticinco" => 25,
        "veintiseis" => 26,
        "veintisiete" => 27,
        "veintiocho" => 28,
        "veintinueve" => 29,
        "treinta" => 30,
        "cuarenta" => 40,
        "cincuenta" => 50,
        "sesenta" => 60,
        "setenta" => 70,
        "ochenta" => 80,
        "noventa" => 90,
        "cien" | "ciento" => 100,
        "doscientos" | "doscientas" => 200,
        "trescientos" | "trescientas" => 300,
        "cuatrocientos" | "cuatrocientas" => 400,
        "quinientos" | "quinientas" => 500,
        "seiscientos" | "seiscientas" => 600,
        "setecientos" | "setecientas" => 700,
        "ochocientos" | "ochocientas" => 800,
        "novecientos" | "novecientas" => 900,
        _ => return None,
    };
    Some(f64::from(value))
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "lb" | "lbs" | "libra" | "libras" => Unit::Mass(KG_PER_LB),
        "kg" | "kgs" | "kilo" | "kilos" | "kilogramo" | "kilogramos" | "quilo" | "quilos" => Unit::Mass(1.0),
        "onza" | "onzas" => Unit::Mass(KG_PER_LB / 16.0),
        "gramo" | "gramos" => Unit::Mass(0.001),
        "dia" | "dias" | "noche" | "noches" => Unit::Days(1.0),
        "semana" | "semanas" => Unit::Days(7.0),
        "mes" | "meses" => Unit::Days(30.0),
        "hora" | "horas" => Unit::Days(1.0 / 24.0),
        "ano" | "anos" | "almohada" | "almohadas" | "pastilla" | "pastillas" | "vez" | "veces" | "dosis" | "grados"
        | "miligramos" | "escalones" | "cuadras" | "cuadra" | "minutos" | "vasos" | "pies" | "pie" | "hijos"
        | "nietos" | "perros" | "gatos" | "pisos" | "piso" | "tazas" | "pildoras" | "pildora" | "de" | "por" => {
            Unit::Other
        }
        _ => return None,
    })
}

fn whole(words: &Words<'_>, at: usize) -> Option<(f64, usize)> {
    if let Some(value) = digits(words.word(at)) {
        return Some((value, at + 1));
    }
    let first = value(words.word(at))?;
    if first >= 100.0 {
        return match below_hundred(words, at + 1) {
            Some((rest, end)) => Some((first + rest, end)),
            None => Some((first, at + 1)),
        };
    }
    below_hundred(words, at)
}

fn below_hundred(words: &Words<'_>, at: usize) -> Option<(f64, usize)> {
    let first = value(words.word(at)).filter(|v| *v < 100.0)?;
    let ones = |at| value(words.word(at)).filter(|v| (1.0..10.0).contains(v));
    if first >= 20.0 && first % 10.0 == 0.0 {
        if words.word(at + 1) == "y"
            && let Some(ones) = ones(at + 2)
        {
            return Some((first + ones, at + 3));
        }
        // A transcript may lose the "y", or write "veinti dos".
        if let Some(ones) = ones(at + 1).filter(|_| !matches!(words.word(at + 1), "un" | "una")) {
            return Some((first + ones, at + 2));
        }
    }
    Some((first, at + 1))
}

/// "y medio", "coma cinco", "punto cinco" from `at`.
fn fraction(words: &Words<'_>, at: usize) -> Option<(f64, usize)> {
    match (words.word(at), words.word(at + 1)) {
        ("y", "medio" | "media") => Some((0.5, at + 2)),
        ("y", "cuarto") => Some((0.25, at + 2)),
        ("y", "un") if words.word(at + 2) == "cuarto" => Some((0.25, at + 3)),
        ("y", "pico") => Some((0.0, at + 2)),
        ("coma" | "punto" | "con", _) => spoken_decimals(words, at + 1, |word| value(word).filter(|v| *v < 100.0)),
        _ => written_fraction(words, at),
    }
}

fn number_at(words: &Words<'_>, at: usize) -> Option<Number> {
    let exact = |value, end| Some(Number { end, value, vague: false });
    match (words.word(at), words.word(at + 1), words.word(at + 2)) {
        ("medio" | "media", _, _) => return exact(0.5, at + 1),
        ("un", "par", "de") => return Some(Number { end: at + 3, value: 2.0, vague: true }),
        ("un", "par", _) | ("par", "de", _) => return Some(Number { end: at + 2, value: 2.0, vague: true }),
        ("unos" | "unas", "cuantos" | "cuantas", _) => return Some(Number { end: at + 2, value: 3.0, vague: true }),
        ("varios" | "varias", _, _) => return Some(Number { end: at + 1, value: 3.0, vague: true }),
        ("cuarto", "de", _) => return exact(0.25, at + 2),
        _ => {}
    }
    if let Some((value, end)) = written_fraction(words, at) {
        return exact(value, end);
    }
    let article = matches!(words.word(at), "un" | "una");
    if article && !(words.word(at + 1) == "kilo" || unit(words.word(at + 1)).is_some() || words.len() == 1) {
        return None;
    }
    let (value, end) = whole(words, at)?;
    match fraction(words, end) {
        Some((part, end)) => exact(value + part, end),
        None => Some(Number { end, value, vague: article }),
    }
}

/// The number at `at` with its unit.
pub(super) fn quantity_at(words: &Words<'_>, at: usize) -> Option<Quantity> {
    // "subí kilo y medio".
    if let Some(kind @ Unit::Mass(_)) = unit(words.word(at))
        && words.word(at + 1) == "y"
        && let Some((part, end)) = fraction(words, at + 1)
    {
        return Some(Quantity { start: at, end, value: 1.0 + part, unit: kind, vague: false });
    }
    let Number { mut end, mut value, vague } = number_at(words, at)?;
    let mut kind = Unit::Bare;
    let skip = usize::from(
        matches!(words.word(end), "mas" | "o" | "buenos" | "buenas") && unit(words.word(end + 1)).is_some(),
    );
    if let Some(found) = unit(words.word(end + skip)) {
        kind = found;
        end += skip + 1;
        if let (Unit::Mass(_), Some((part, after))) = (kind, fraction(words, end)) {
            (value, end) = (value + part, after);
        } else if let (Unit::Mass(factor), Some(grams)) =
            (kind, digits(words.word(end)).or_else(|| value_of_grams(words, end)))
            && factor == 1.0
            && (100.0..1000.0).contains(&grams)
        {
            // "dos kilos quinientos".
            (value, end) = (value + grams / 1000.0, end + 1);
        }
    }
    Some(Quantity { start: at, end, value, unit: kind, vague })
}

fn value_of_grams(words: &Words<'_>, at: usize) -> Option<f64> {
    value(words.word(at)).filter(|v| *v >= 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::{Language, quantities};
    use super::*;

    #[test]
    fn numbers_as_people_say_them() {
        for (text, expected) in [
            ("ochenta y dos coma cinco kilos", 82.5),
            ("ochenta y dos y medio", 82.5),
            ("subí dos kilos y medio", 2.5),
            ("un kilo", 1.0),
            ("kilo y medio", 1.5),
            ("medio kilo", 0.5),
            ("ciento ochenta y tres libras", 183.0),
            ("doscientas cinco", 205.0),
            ("cien", 100.0),
            ("un par de libras", 2.0),
            ("82,4 kg", 82.4),
            ("dos kilos quinientos", 2.5),
        ] {
            let words = Words::read(text, Some(Language::Spanish));
            let found = quantities(Language::Spanish, &words);
            assert_eq!(found.iter().map(|q| q.value).collect::<Vec<_>>(), [expected], "{text}");
        }
    }
}
