//! The forms in which bytes end up in files by accident.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Numbers of a list that are enough to know it by.
const LISTED: usize = 16;

/// Every form of `material`, each with its name. Line breaks within a form are the scan's business.
pub(super) fn of(material: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![
        ("raw", material.to_vec()),
        ("hexadecimal", hex::encode(material).into_bytes()),
        ("hexadecimal", hex::encode_upper(material).into_bytes()),
        // serde_json's and Debug's idea of bytes.
        ("list", list(material, ",")),
        ("UTF-16", material.iter().flat_map(|byte| [*byte, 0]).collect()),
    ];
    for before in 0..3 {
        forms.push(("base64", base64(&STANDARD_NO_PAD, material, before)));
        forms.push(("base64url", base64(&URL_SAFE_NO_PAD, material, before)));
    }
    forms
}

/// The characters that `material` alone decides when it follows `before` other bytes (modulo 3).
fn base64(engine: &impl Engine, material: &[u8], before: usize) -> Vec<u8> {
    let text = engine.encode([&[0; 3][..before], material].concat()).into_bytes();
    let (first, end) = ((before * 8).div_ceil(6), (before + material.len()) * 8 / 6);
    text[first..end].to_vec()
}

fn list(material: &[u8], comma: &str) -> Vec<u8> {
    // Without the first number, whose digits could be the end of a longer one.
    let numbers: Vec<String> = material.iter().skip(1).take(LISTED).map(u8::to_string).collect();
    format!("{comma}{}{comma}", numbers.join(comma)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(material: &[u8], text: &[u8]) -> bool {
        of(material).iter().any(|(_, form)| text.windows(form.len()).any(|window| window == form))
    }

    #[test]
    fn every_form_is_found_wherever_it_begins() {
        let material: Vec<u8> = (0..40).map(|n| 251_u8.wrapping_mul(n).wrapping_add(7)).collect();
        for before in 0..9 {
            let around = [&b"some text"[..before], &material, b"and more"].concat();
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                assert!(finds(&material, engine.encode(&around).as_bytes()), "{before}");
            }
            assert!(finds(&material, &around) && finds(&material, hex::encode_upper(&around).as_bytes()));
            assert!(finds(&material, serde_json::to_string(&around).unwrap().as_bytes()), "{before}");
        }
    }

    #[test]
    fn other_bytes_are_not_found() {
        let (material, other) = ([7_u8; 32], [8_u8; 64]);
        assert!(!finds(&material, &other) && !finds(&material, STANDARD_NO_PAD.encode(other).as_bytes()));
        assert!(!finds(&material, hex::encode(other).as_bytes()));
    }
}
