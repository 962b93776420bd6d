//! Which fleet a command talks to: `~/.config/muster/config.toml`, kubectl's idea of contexts in TOML.

mod first;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::args::Globals;
use crate::cli::environment::Environment;
use crate::cli::exit::{Exit, Failure};

pub use first::{FirstContext, FirstContextError, write_first_context};

/// Where contexts are, below the home directory.
const DEFAULT_PATH: &str = ".config/muster/config.toml";

/// The configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Config {
    current_context: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

/// One fleet, and who the operator is there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// URLs of operator listeners, e.g. `https://192.0.2.1:9445`; tried in this order.
    pub servers: Vec<String>,
    /// Pin of the fleet root: `sha256:…`.
    pub ca_hash: String,
    /// PEM file with the operator's certificate; relative to the configuration file.
    pub certificate: PathBuf,
    /// PEM file with its key; relative to the configuration file.
    pub key: PathBuf,
}

/// Where the configuration file is: `explicit`, else `MUSTER_CONFIG`, else below `HOME`; `None` if none is known.
///
/// For the server, which writes the file on its first start.
pub fn default_path(explicit: Option<&Path>) -> Option<PathBuf> {
    path_of(explicit, &Environment::of_process())
}

fn path_of(explicit: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    explicit
        .map(Path::to_owned)
        .or_else(|| environment.config.clone())
        .or_else(|| environment.home.as_ref().map(|home| home.join(DEFAULT_PATH)))
}

/// The context to use, its servers overridden by `--server` and its paths made absolute.
///
/// # Errors
/// If there is no such context, or the file cannot be read.
pub(super) fn choose(globals: &Globals, environment: &Environment) -> Result<Context, Failure> {
    let path = path_of(globals.config.as_deref(), environment)
        .ok_or_else(|| invalid("HOME is not set, so there is no configuration file; give one with --config"))?;
    let config = read(&path)?;
    let name = match globals.context.as_ref().or(config.current_context.as_ref()) {
        Some(name) => name.clone(),
        None => only_name(&config, &path)?,
    };
    let Some(mut context) = config.contexts.get(&name).cloned() else {
        let known: Vec<&str> = config.contexts.keys().map(String::as_str).collect();
        return Err(Failure::new(
            Exit::Conflict,
            format!("no context {name:?} in {}; there is: {}", path.display(), known.join(", ")),
        ));
    };
    if !globals.server.is_empty() {
        context.servers.clone_from(&globals.server);
    }
    if context.servers.is_empty() {
        return Err(invalid(&format!("context {name:?} in {} names no server", path.display())));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    context.certificate = folder.join(&context.certificate);
    context.key = folder.join(&context.key);
    Ok(context)
}

/// The current context of the file `path`, its paths made absolute.
///
/// # Errors
/// If the file is not there, cannot be read, or names no context to use.
pub(crate) fn current(path: &Path) -> Result<Context, Failure> {
    choose(&Globals { config: Some(path.to_owned()), ..Globals::default() }, &Environment::default())
}

fn read(path: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let failure = invalid(&format!("cannot read the contexts: {}: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::NotFound => failure.with_next(
                "run this on the host of the first server (`muster serve` writes that file there), or copy it and the \
                 operator's certificate and key from it",
            ),
            _ => failure,
        }
    })?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<Config, Failure> {
    toml::from_str(text).map_err(|error| invalid(&format!("{}: {}", path.display(), error.to_string().trim_end())))
}

fn only_name(config: &Config, path: &Path) -> Result<String, Failure> {
    let mut names = config.contexts.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(invalid(&format!("{} has no context", path.display()))),
        (Some(_), Some(_)) => Err(invalid(&format!("{} has several contexts and no current_context", path.display()))
            .with_next("say which with --context, or set current_context")),
    }
}

fn invalid(message: &str) -> Failure {
    Failure::new(Exit::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
        current_context = "lab"
        [contexts.lab]
        servers = ["https://192.0.2.1:9445", "https://192.0.2.2:9445"]
        ca_hash = "sha256:00"
        certificate = "lab.crt"
        key = "/etc/lab.key"
        [contexts.prod]
        servers = ["https://198.51.100.1:9445"]
        ca_hash = "sha256:11"
        certificate = "prod.crt"
        key = "prod.key"
    "#;

    fn choose_from(text: &str, change: impl FnOnce(&mut Globals)) -> Result<Context, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        let mut globals = Globals { config: Some(path), ..Globals::default() };
        change(&mut globals);
        choose(&globals, &Environment::default())
    }

    #[test]
    fn the_current_context_is_used_and_its_relative_paths_are_beside_the_file() {
        let context = choose_from(TWO, |_| ()).unwrap();
        assert_eq!(context.servers.len(), 2);
        assert!(context.certificate.is_absolute() && context.certificate.ends_with("lab.crt"));
        assert_eq!(context.key, Path::new("/etc/lab.key"));
    }

    #[test]
    fn options_override_context_and_servers() {
        let context = choose_from(TWO, |globals| globals.context = Some("prod".into())).unwrap();
        assert_eq!(context.ca_hash, "sha256:11");
        let context = choose_from(TWO, |globals| globals.server = vec!["https://[::1]:9445".into()]).unwrap();
        assert_eq!((context.servers, context.ca_hash), (vec!["https://[::1]:9445".to_owned()], "sha256:00".to_owned()));
    }

    #[test]
    fn an_unknown_context_is_named_with_those_there_are() {
        let failure = choose_from(TWO, |globals| globals.context = Some("dev".into())).unwrap_err();
        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.message.contains("lab, prod"), "{failure}");
    }

    #[test]
    fn without_a_current_context_the_only_one_is_meant_and_several_are_an_error() {
        let one = TWO.split("[contexts.prod]").next().unwrap().replace("current_context = \"lab\"", "");
        assert_eq!(choose_from(&one, |_| ()).unwrap().ca_hash, "sha256:00");
        let several = TWO.replace("current_context = \"lab\"", "");
        assert_eq!(choose_from(&several, |_| ()).unwrap_err().exit, Exit::Invalid);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_line() {
        let failure = choose_from(&TWO.replace("ca_hash = \"sha256:00\"", "ca_hsah = \"x\""), |_| ()).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert!(failure.message.contains("ca_hsah") && failure.message.contains("line 5"), "{failure}");
    }

    #[test]
    fn a_missing_file_says_who_writes_it() {
        let globals = Globals { config: Some("/nonexistent/config.toml".into()), ..Globals::default() };
        let failure = choose(&globals, &Environment::default()).unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert!(failure.next.unwrap().contains("muster serve"));
    }

    #[test]
    fn the_option_comes_before_the_environment_and_that_before_home() {
        let mut environment = Environment { home: Some("/home/o".into()), ..Environment::default() };
        assert_eq!(path_of(None, &environment).unwrap(), Path::new("/home/o/.config/muster/config.toml"));
        environment.config = Some("/e".into());
        assert_eq!(path_of(None, &environment).unwrap(), Path::new("/e"));
        assert_eq!(path_of(Some(Path::new("/x")), &environment).unwrap(), Path::new("/x"));
        assert_eq!(path_of(None, &Environment::default()), None);
    }
}
