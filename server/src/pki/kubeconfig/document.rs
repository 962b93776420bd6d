//! The fields of a kubeconfig that are looked at; whatever else stands in it is passed over.

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use zeroize::Zeroizing;

use super::KubeconfigError;

/// A kubeconfig.
#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(rename = "current-context", default)]
    current_context: Option<String>,
    #[serde(default)]
    contexts: Option<Vec<NamedContext>>,
    #[serde(default)]
    clusters: Option<Vec<NamedCluster>>,
    #[serde(default)]
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

/// A server and how to know it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Cluster {
    pub(super) server: Option<String>,
    pub(super) certificate_authority_data: Option<String>,
    pub(super) certificate_authority: Option<IgnoredAny>,
    pub(super) insecure_skip_tls_verify: Option<bool>,
    pub(super) proxy_url: Option<IgnoredAny>,
    pub(super) tls_server_name: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

/// Who calls; what is secret is wiped.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct User {
    #[serde(default, deserialize_with = "secret")]
    pub(super) client_certificate_data: Option<Zeroizing<String>>,
    #[serde(default, deserialize_with = "secret")]
    pub(super) client_key_data: Option<Zeroizing<String>>,
    #[serde(default, deserialize_with = "secret")]
    pub(super) token: Option<Zeroizing<String>>,
    #[serde(rename = "tokenFile")]
    pub(super) token_file: Option<IgnoredAny>,
    pub(super) client_certificate: Option<IgnoredAny>,
    pub(super) client_key: Option<IgnoredAny>,
    pub(super) exec: Option<IgnoredAny>,
    pub(super) auth_provider: Option<IgnoredAny>,
    pub(super) username: Option<IgnoredAny>,
    pub(super) password: Option<IgnoredAny>,
    #[serde(rename = "as")]
    pub(super) as_user: Option<IgnoredAny>,
    pub(super) as_uid: Option<IgnoredAny>,
    pub(super) as_groups: Option<IgnoredAny>,
    pub(super) as_user_extra: Option<IgnoredAny>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Zeroizing::new))
}

impl Document {
    /// Reads one. What is wrong with it is told by its place only: a reader of YAML quotes what it could not read.
    pub(super) fn read(text: &str) -> Result<Self, KubeconfigError> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let at = error.location().map(|at| format!(" (line {}, column {})", at.line(), at.column()));
            KubeconfigError::Unreadable(format!("its YAML can't be read{}", at.unwrap_or_default()))
        })
    }

    /// The cluster and the user of the current context.
    pub(super) fn current(&self) -> Result<(&Cluster, &User), KubeconfigError> {
        let missing = |what: String| KubeconfigError::Missing(what);
        let wanted = self.current_context.as_deref().filter(|name| !name.is_empty());
        let wanted = wanted.ok_or_else(|| missing("it has no current-context".into()))?;
        let contexts = self.contexts.iter().flatten().filter(|context| context.name == wanted);
        let context = only(contexts).ok_or_else(|| missing(format!("it has no context {wanted:?}, or several")))?;
        let Context { cluster, user } = &context.context;
        let clusters = self.clusters.iter().flatten().filter(|one| one.name == *cluster);
        let found = only(clusters).ok_or_else(|| missing(format!("it has no cluster {cluster:?}, or several")))?;
        let users = self.users.iter().flatten().filter(|one| one.name == *user);
        let login = only(users).ok_or_else(|| missing(format!("it has no user {user:?}, or several")))?;
        Ok((&found.cluster, &login.user))
    }
}

fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let one = all.next()?;
    all.next().is_none().then_some(one)
}
