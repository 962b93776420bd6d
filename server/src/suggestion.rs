//! "Did you mean …": the known word nearest to a misspelt one, for settings files and cluster files alike.

/// Of `known`, the word that `word` was most likely meant to be; `None` if nothing is close. Case, `-` and `_` are ignored.
pub(crate) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let word = fold(word);
    known
        .into_iter()
        .map(|candidate| (distance(&word, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace) between two short words.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replace = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["data_dir", "listen", "advertise"];

    #[test]
    fn a_slip_of_the_finger_finds_the_word_meant() {
        for (word, meant) in [("datadir", "data_dir"), ("data-dir", "data_dir"), ("Lisen", "listen")] {
            assert_eq!(suggestion(word, KNOWN), Some(meant), "{word}");
        }
    }

    #[test]
    fn a_word_that_is_near_nothing_gets_no_suggestion() {
        assert_eq!(suggestion("replicas", KNOWN), None);
        assert_eq!(suggestion("", KNOWN), None);
    }
}
