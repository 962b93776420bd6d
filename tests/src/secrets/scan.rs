//! Searching files for all forms of all secrets at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use anyhow::{Context as _, Result};

use super::{Secret, forms};

/// A secret where none may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// The file.
    pub file: PathBuf,
    /// Name of the secret.
    pub name: String,
    /// In which form.
    pub form: &'static str,
}

pub(super) fn scan(secrets: &[Secret], paths: &[&Path]) -> Result<Vec<Hit>> {
    let needles: Vec<(&str, &'static str, Vec<u8>)> = secrets
        .iter()
        .flat_map(|secret| {
            forms::of(&secret.material).into_iter().map(|(form, bytes)| (secret.name.as_str(), form, bytes))
        })
        .collect();
    let search = AhoCorasick::new(needles.iter().map(|(_, _, bytes)| bytes))?;
    let mut files = BTreeSet::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    let mut hits = BTreeSet::new();
    for file in files {
        let content = fs::read(&file).with_context(|| file.display().to_string())?;
        for text in [&content, &joined(&content)] {
            for found in search.find_overlapping_iter(text.as_slice()) {
                let (secret, form, _) = &needles[found.pattern().as_usize()];
                hits.insert(Hit { file: file.clone(), name: (*secret).to_owned(), form });
            }
        }
    }
    Ok(hits.into_iter().collect())
}

fn collect(path: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let metadata = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if metadata.is_file() {
        files.insert(path.to_owned());
    }
    Ok(())
}

/// Without blanks and line breaks, the escaped ones of JSON and Debug too: so a PEM body or a list of numbers is one line.
fn joined(content: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after.first()) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => after,
            (b'\\', Some(b'n' | b'r' | b't')) => &after[1..],
            _ => {
                text.push(byte);
                after
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;

    use super::*;
    use crate::secrets::Inventory;

    fn mk_inventory() -> (Inventory, KeyPair) {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut inventory = Inventory::default();
        inventory.add_private_key("a key", key.serialized_der()).unwrap();
        inventory.add_token("mst-abcdefgh-0123456789abcdefghijklmnopqrstuv");
        (inventory, key)
    }

    #[test]
    fn planted_secrets_are_found_in_whatever_they_are_wrapped() {
        let (inventory, key) = mk_inventory();
        let directory = tempfile::tempdir().unwrap();
        let pem = key.serialize_pem();
        let json = serde_json::json!({ "files": [{ "content": pem }] }).to_string();
        let debug = format!("{:?}", key.serialized_der());
        let indented = pem.replace('\n', "\r\n    ");
        let token = "Authorization: mst-abcdefgh-0123456789abcdefghijklmnopqrstuv".to_owned();
        for (name, text) in [("pem", pem), ("json", json), ("debug", debug), ("yaml", indented), ("token", token)] {
            let file = directory.path().join("deep/er").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            let hits = inventory.scan(&[directory.path()]).unwrap();
            assert_eq!(hits.iter().map(|hit| &hit.file).collect::<BTreeSet<_>>(), BTreeSet::from([&file]), "{name}");
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn what_is_public_is_no_hit_and_what_is_missing_is_an_error() {
        let (inventory, key) = mk_inventory();
        let directory = tempfile::tempdir().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        fs::write(directory.path().join("tls.crt"), certificate.pem()).unwrap();
        fs::write(directory.path().join("log"), "token mst-abcdefgh was used").unwrap();
        assert_eq!(inventory.scan(&[directory.path()]).unwrap(), []);
        assert!(inventory.scan(&[&directory.path().join("absent")]).is_err());
    }
}
