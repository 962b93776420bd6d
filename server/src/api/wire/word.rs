//! Words of a closed list, read strictly.

use crate::operations::OperationError;

/// Looks a word up; a default is listed under the empty word. The error names the field and the words there are.
pub fn parse<T: Copy>(field: &str, text: &str, words: &[(&str, T)]) -> Result<T, OperationError> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).filter(|word| !word.is_empty()).collect();
        OperationError::invalid(field, format!("{text:?} is not possible here; it is one of {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_refused_with_the_known_ones() {
        let words = [("one", 1), ("two", 2)];
        assert!(matches!(parse("n", "two", &words), Ok(2)));
        for bad in ["", "One", "two ", "three"] {
            let said = parse("n", bad, &words).unwrap_err().to_string();
            assert_eq!(said, format!("n: {bad:?} is not possible here; it is one of one, two"));
        }
    }
}
