//! The context that a server writes for its own host when it starts for the first time.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use serde::Serialize;

use super::{Config, Context};

/// What became of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstContext {
    /// The context is there now.
    Written,
    /// It was there already, word for word.
    AlreadyThere,
    /// Another context has that name; nothing was changed.
    NameTaken,
}

/// Why the file could not be written; it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum FirstContextError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The configuration file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is there is no configuration file, or a context cannot be added to it without rewriting it.
    #[error("{path} cannot be extended: {reason}; add the context by hand")]
    Unusable {
        /// The configuration file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// Adds `context` as `name` to the configuration file at `path`, which is made with mode 0600 (and its folders with 0700) if
/// it is not there. It becomes the current context if there is none. What the file holds already, comments included,
/// stays as it is: text is only added, and the result is read back before it replaces the file.
///
/// # Errors
/// If the file cannot be read, understood or written.
pub fn write_first_context(path: &Path, name: &str, context: &Context) -> Result<FirstContext, FirstContextError> {
    let io = |source| FirstContextError::Io { path: path.display().to_string(), source };
    let unusable = |reason| FirstContextError::Unusable { path: path.display().to_string(), reason };
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(io(error)),
    };
    let mut config: Config = toml::from_str(&before).map_err(|error| unusable(error.to_string()))?;
    match config.contexts.get(name) {
        Some(there) if there == context => return Ok(FirstContext::AlreadyThere),
        Some(_) => return Ok(FirstContext::NameTaken),
        None => {}
    }
    let after = extended(&before, &config, name, context).map_err(|error| unusable(error.to_string()))?;
    config.current_context.get_or_insert_with(|| name.to_owned());
    config.contexts.insert(name.to_owned(), context.clone());
    match toml::from_str::<Config>(&after) {
        Ok(read_back) if read_back == config => {}
        Ok(_) => return Err(unusable("its layout is unusual".to_owned())),
        Err(error) => return Err(unusable(error.to_string())),
    }
    replace(path, &after).map_err(io)?;
    Ok(FirstContext::Written)
}

fn extended(before: &str, config: &Config, name: &str, context: &Context) -> Result<String, toml::ser::Error> {
    #[derive(Serialize)]
    struct Current<'a> {
        current_context: &'a str,
    }
    #[derive(Serialize)]
    struct Added<'a> {
        contexts: std::collections::BTreeMap<&'a str, &'a Context>,
    }
    let mut text = String::new();
    if config.current_context.is_none() {
        // First in the file: after a table header it would belong to that table.
        text += &toml::to_string(&Current { current_context: name })?;
    }
    text += before;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push('\n');
    text += &toml::to_string(&Added { contexts: [(name, context)].into() })?;
    Ok(text)
}

/// Replaces the file as a whole, so that a crash leaves the old one or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o600))
        .prefix(".config")
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn mk_context(server: &str) -> Context {
        Context {
            servers: vec![server.to_owned()],
            ca_hash: "sha256:00".into(),
            certificate: "operator.crt".into(),
            key: "operator.key".into(),
        }
    }

    fn mk_path() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/config.toml");
        (folder, path)
    }

    fn read(path: &Path) -> Config {
        toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn a_new_file_is_private_and_its_context_is_current() {
        let (_folder, path) = mk_path();
        assert_eq!(write_first_context(&path, "lab", &mk_context("a")).unwrap(), FirstContext::Written);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(read(&path).current_context.as_deref(), Some("lab"));
        assert_eq!(read(&path).contexts["lab"], mk_context("a"));
    }

    #[test]
    fn the_same_context_again_changes_nothing() {
        let (_folder, path) = mk_path();
        write_first_context(&path, "lab", &mk_context("a")).unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(write_first_context(&path, "lab", &mk_context("a")).unwrap(), FirstContext::AlreadyThere);
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_different_context_of_that_name_is_never_overwritten() {
        let (_folder, path) = mk_path();
        write_first_context(&path, "lab", &mk_context("a")).unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(write_first_context(&path, "lab", &mk_context("b")).unwrap(), FirstContext::NameTaken);
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn other_contexts_and_comments_stay_and_so_does_the_current_one() {
        let (_folder, path) = mk_path();
        write_first_context(&path, "lab", &mk_context("a")).unwrap();
        let commented = fs::read_to_string(&path).unwrap() + "# mine";
        fs::write(&path, commented).unwrap();
        assert_eq!(write_first_context(&path, "a.b c", &mk_context("b")).unwrap(), FirstContext::Written);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("# mine\n"), "{text}");
        assert_eq!(read(&path).current_context.as_deref(), Some("lab"));
        assert_eq!(read(&path).contexts.len(), 2);
    }

    #[test]
    fn a_file_that_is_something_else_is_left_alone() {
        let (_folder, path) = mk_path();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for text in ["not toml at all", "contexts = {}\n"] {
            fs::write(&path, text).unwrap();
            let error = write_first_context(&path, "lab", &mk_context("a")).unwrap_err();
            assert!(matches!(error, FirstContextError::Unusable { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
