//! A fingerprint that was typed against the one that a server shows: the operator's word for exactly these keys.

use muster_trust::Pin;

use crate::cli::exit::{Exit, Failure};

/// Refuses unless both are whole and the same. `whose` names the other side in a sentence, `next` what to do if they differ.
///
/// # Errors
/// [`Exit::Invalid`] for what is no fingerprint, [`Exit::Conflict`] for another one.
pub(super) fn fingerprints(typed: &str, there: &str, whose: &str, next: impl Into<String>) -> Result<(), Failure> {
    let invalid = |which: &str, error| Failure::new(Exit::Invalid, format!("{which} fingerprint: {error}"));
    let typed: Pin = typed.trim().parse().map_err(|error| invalid("the given", error))?;
    let there: Pin = there.parse().map_err(|error| invalid(&format!("the {whose}'s"), error))?;
    if typed == there {
        return Ok(());
    }
    let message =
        format!("the fingerprints differ: given {typed}, this {whose}'s key is {there}; nothing was approved");
    Err(Failure::new(Exit::Conflict, message).with_next(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_fingerprint_must_be_whole_and_equal() {
        let there = format!("sha256:{}", "ab".repeat(32));
        let compare = |typed: &str| fingerprints(typed, &there, "node", "deny it");
        assert_eq!(compare(&format!(" sha256:{}\n", "AB".repeat(32))), Ok(()));
        let differs = compare(&format!("sha256:{}", "ac".repeat(32))).unwrap_err();
        assert_eq!((differs.exit, differs.next.as_deref()), (Exit::Conflict, Some("deny it")));
        assert_eq!(compare("sha256:abab").unwrap_err().exit, Exit::Invalid);
    }
}
