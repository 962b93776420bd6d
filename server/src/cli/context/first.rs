//! The context that a server writes for its own host when it starts for the first time.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use toml_edit::{DocumentMut, Item, TableLike};

use super::{Config, Context};

/// What became of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstContext {
    /// The context is there now.
    Written,
    /// It was there already.
    AlreadyThere,
    /// It was there, and servers that it did not name were added to it.
    ServersAdded,
    /// A context of another fleet, or with other credentials, has that name; nothing was changed.
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
/// it is not there. It becomes the current context if there is none. One that is there, for the same fleet and credentials,
/// gets the servers that it does not name yet. What else the file holds, comments included, stays as it is, and the result
/// is read back before it replaces the file.
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
    let config: Config = toml::from_str(&before).map_err(|error| unusable(error.to_string()))?;
    let mut after = config.clone();
    let outcome = match after.contexts.get_mut(name) {
        None => {
            after.current_context.get_or_insert_with(|| name.to_owned());
            after.contexts.insert(name.to_owned(), context.clone());
            FirstContext::Written
        }
        Some(there) if !is_same_operator(there, context) => return Ok(FirstContext::NameTaken),
        Some(there) => {
            let known = there.servers.len();
            there
                .servers
                .extend(context.servers.iter().filter(|url| !config.contexts[name].servers.contains(url)).cloned());
            if there.servers.len() == known {
                return Ok(FirstContext::AlreadyThere);
            }
            FirstContext::ServersAdded
        }
    };
    let text = edited(&before, name, &after).ok_or_else(|| unusable("its layout is unusual".to_owned()))?;
    match toml::from_str::<Config>(&text) {
        Ok(read_back) if read_back == after => {}
        Ok(_) => return Err(unusable("its layout is unusual".to_owned())),
        Err(error) => return Err(unusable(error.to_string())),
    }
    replace(path, &text).map_err(io)?;
    Ok(outcome)
}

fn is_same_operator(one: &Context, other: &Context) -> bool {
    (&one.ca_hash, &one.certificate, &one.key) == (&other.ca_hash, &other.certificate, &other.key)
}

/// The text with what `after` has of the context `name`, and the current context.
fn edited(before: &str, name: &str, after: &Config) -> Option<String> {
    let mut document: DocumentMut = before.parse().ok()?;
    let whole: DocumentMut = toml::to_string(after).ok()?.parse().ok()?;
    if let (None, Some(current)) = (document.get("current_context"), whole.get("current_context")) {
        document.insert("current_context", current.clone());
    }
    let mut wanted = whole.get("contexts")?.get(name)?.clone();
    // What stands at the end of the file stays where it is, before what is added.
    let end = document.trailing().as_str().unwrap_or_default().to_owned();
    let contexts = document.entry("contexts").or_insert_with(unseen_table).as_table_like_mut()?;
    match contexts.get_mut(name).and_then(Item::as_table_like_mut) {
        Some(there) => add_servers(there, wanted.get("servers")?)?,
        None => {
            let line_ends = if end.is_empty() || end.ends_with('\n') { "" } else { "\n" };
            if let Some(table) = wanted.as_table_mut() {
                table.decor_mut().set_prefix(format!("{end}{line_ends}\n"));
            }
            contexts.insert(name, wanted);
            document.set_trailing("");
        }
    }
    Some(document.to_string())
}

/// A table that only its sub-tables show.
fn unseen_table() -> Item {
    let mut table = toml_edit::Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

fn add_servers(context: &mut dyn TableLike, wanted: &Item) -> Option<()> {
    let servers = context.get_mut("servers")?.as_array_mut()?;
    let known = servers.len();
    for url in wanted.as_array()?.iter().skip(known) {
        servers.push(url.as_str()?);
    }
    Some(())
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
    fn a_context_of_another_fleet_or_operator_is_never_overwritten() {
        let (_folder, path) = mk_path();
        write_first_context(&path, "lab", &mk_context("a")).unwrap();
        let before = fs::read(&path).unwrap();
        let other_fleet = Context { ca_hash: "sha256:11".into(), ..mk_context("a") };
        let other_operator = Context { certificate: "other.crt".into(), ..mk_context("a") };
        for other in [other_fleet, other_operator] {
            assert_eq!(write_first_context(&path, "lab", &other).unwrap(), FirstContext::NameTaken);
            assert_eq!(fs::read(&path).unwrap(), before);
        }
    }

    #[test]
    fn a_context_learns_of_servers_that_joined_and_forgets_none() {
        let (_folder, path) = mk_path();
        write_first_context(&path, "lab", &mk_context("a")).unwrap();
        let commented = fs::read_to_string(&path).unwrap() + "# mine\n";
        fs::write(&path, commented).unwrap();
        let grown = Context { servers: vec!["b".into(), "a".into(), "c".into()], ..mk_context("a") };
        assert_eq!(write_first_context(&path, "lab", &grown).unwrap(), FirstContext::ServersAdded);
        assert_eq!(read(&path).contexts["lab"].servers, ["a", "b", "c"]);
        assert!(fs::read_to_string(&path).unwrap().contains("# mine\n"));
        assert_eq!(write_first_context(&path, "lab", &mk_context("a")).unwrap(), FirstContext::AlreadyThere);
        assert_eq!(read(&path).contexts["lab"].servers, ["a", "b", "c"]);
    }

    #[test]
    fn contexts_written_in_one_line_are_extended_too() {
        let (_folder, path) = mk_path();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "contexts = {}\n").unwrap();
        assert_eq!(write_first_context(&path, "lab", &mk_context("a")).unwrap(), FirstContext::Written);
        assert_eq!(read(&path).contexts["lab"], mk_context("a"));
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
        for text in ["not toml at all", "contexts = 3\n"] {
            fs::write(&path, text).unwrap();
            let error = write_first_context(&path, "lab", &mk_context("a")).unwrap_err();
            assert!(matches!(error, FirstContextError::Unusable { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
