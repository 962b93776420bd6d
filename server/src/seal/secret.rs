//! Secrets in memory: wiped when dropped, unprintable, and exposed only by a word that can be searched for.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret bytes. No `Display`, no `Serialize`; `Debug` shows `[redacted]`; equality takes constant time.
#[derive(Clone, Default)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// The secret itself. Do not copy it to where it is not wiped.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<Zeroizing<Vec<u8>>> for SecretBytes {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for SecretBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A secret text. No `Display`, no `Serialize`; `Debug` shows `[redacted]`; equality takes constant time.
#[derive(Clone, Default)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The secret itself. Do not copy it to where it is not wiped.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<Zeroizing<String>> for SecretText {
    fn from(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretText {}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_in_any_form_of_debug() {
        let bytes = SecretBytes::from(b"canary".to_vec());
        let text = SecretText::from("canary".to_owned());
        for shown in [format!("{bytes:?} {text:?}"), format!("{bytes:#?} {text:#?}"), format!("{:?}", Some(&text))] {
            assert!(!shown.contains("canary") && !shown.contains("99"), "{shown}");
            assert!(shown.contains("[redacted]"));
        }
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert_eq!(SecretBytes::from(vec![1, 2]), SecretBytes::from([1, 2].as_slice()));
        assert_ne!(SecretBytes::from(vec![1, 2]), SecretBytes::from(vec![1, 2, 3]));
        assert_ne!(SecretText::from("a".to_owned()), SecretText::from("b".to_owned()));
        assert_eq!(SecretText::from("a".to_owned()).expose(), "a");
    }
}
