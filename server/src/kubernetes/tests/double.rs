//! What Muster uses of an API server, as the real one does it: TLS with client certificates, groups, resource versions, lists,
//! watches with bookmarks and an end to what is remembered, conflicts, approval, and admission of Secrets.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Extension, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use rcgen::{DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::outside;
use super::secrets::{self, CLUSTER_INFO, Signer};
use crate::{
    kubeadm::{discovery::CLUSTER_INFO_BINDING, link_rbac::GROUP},
    pki::{ClusterPki, PkiFile, file},
};

const BOOKMARK_EVERY: Duration = Duration::from_millis(100);

/// What the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// Every call is answered with this.
    Status(u16),
    /// No call is answered.
    Silent,
    /// Every watch ends at once, in good order.
    WatchesEnd,
    /// Every watch is told that it is too old.
    WatchesExpire,
    /// The next approval finds the object changed.
    ConflictOnce,
}

#[derive(Default)]
struct Objects {
    version: u64,
    /// By path of the collection, then by name.
    all: BTreeMap<String, BTreeMap<String, Value>>,
    /// Version, collection, type of event, object.
    log: Vec<(u64, String, &'static str, Value)>,
    /// Versions up to this one are forgotten.
    forgotten: u64,
    calls: Vec<String>,
    signer: Signer,
    /// How often everybody's right has been asked for since it was taken away.
    asked_after: u32,
}

/// A server on a port of this host.
#[derive(Clone)]
pub(super) struct Double {
    objects: Arc<Mutex<Objects>>,
    fault: watch::Sender<Fault>,
    changed: watch::Sender<u64>,
    pub(super) port: u16,
}

pub(super) const NODES: &str = "/api/v1/nodes";
pub(super) const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
pub(super) const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
pub(super) const PUBLIC_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-public/rolebindings";

impl Double {
    /// Serves with a certificate of `pki` and lets in who shows one of it.
    pub(super) async fn start(pki: &ClusterPki) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let double = Self {
            objects: Arc::default(),
            fault: watch::Sender::new(Fault::None),
            changed: watch::Sender::new(0),
            port,
        };
        double.put(PUBLIC_BINDINGS, json!({ "metadata": { "name": CLUSTER_INFO_BINDING } }));
        let acceptor = TlsAcceptor::from(Arc::new(tls(pki)));
        let served = double.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, double) = (acceptor.clone(), served.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let groups = Groups(groups(stream.get_ref().1.peer_certificates()));
                    let router = Router::new().fallback(answer).layer(Extension(groups)).with_state(double);
                    let service = TowerToHyperService::new(router);
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        double
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on. Watches that are under way end.
    pub(super) fn fault(&self, fault: Fault) {
        self.fault.send_replace(fault);
        self.changed.send_modify(|_| {});
    }

    /// From now on.
    pub(super) fn signer(&self, signer: Signer) {
        self.objects().signer = signer;
    }

    /// Calls so far, as `METHOD path`; those that try only are `DRY METHOD path`, those without a certificate
    /// `METHOD path by anybody`.
    pub(super) fn calls(&self) -> Vec<String> {
        self.objects().calls.clone()
    }

    /// Puts an object there, new or changed, as somebody else would.
    pub(super) fn put(&self, collection: &str, mut object: Value) {
        let mut objects = self.objects();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        objects.version += 1;
        let version = objects.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{name}-{version}").into();
        }
        let before = objects.all.entry(collection.into()).or_default().insert(name, object.clone());
        let event = if before.is_some() { "MODIFIED" } else { "ADDED" };
        objects.log.push((version, collection.into(), event, object));
        drop(objects);
        self.changed.send_replace(version);
    }

    /// Takes it away.
    pub(super) fn remove(&self, collection: &str, name: &str) -> Option<Value> {
        let mut objects = self.objects();
        let mut object = objects.all.get_mut(collection)?.remove(name)?;
        objects.version += 1;
        let version = objects.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        objects.log.push((version, collection.into(), "DELETED", object.clone()));
        drop(objects);
        self.changed.send_replace(version);
        Some(object)
    }

    /// Takes it away, and no watch tells of it.
    pub(super) fn lose(&self, collection: &str, name: &str) {
        self.objects().all.get_mut(collection).unwrap().remove(name).unwrap();
    }

    /// Puts it there, and no watch tells of it.
    pub(super) fn slip(&self, collection: &str, object: Value) {
        self.put(collection, object);
        self.objects().log.pop();
    }

    pub(super) fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.objects().all.get(collection)?.get(name).cloned()
    }

    pub(super) fn names(&self, collection: &str) -> Vec<String> {
        self.objects().all.get(collection).map(|all| all.keys().cloned().collect()).unwrap_or_default()
    }

    /// Forgets all history: a watch from before is too old.
    pub(super) fn forget(&self) {
        let mut objects = self.objects();
        objects.forgotten = objects.version;
        objects.log.clear();
    }
}

#[derive(Clone)]
struct Groups(Option<Vec<String>>);

fn groups(certificates: Option<&[CertificateDer<'static>]>) -> Option<Vec<String>> {
    let (_, leaf) = X509Certificate::from_der(certificates?.first()?).ok()?;
    Some(leaf.subject().iter_organization().filter_map(|name| name.as_str().ok()).map(str::to_owned).collect())
}

fn tls(pki: &ClusterPki) -> ServerConfig {
    let text = |name| pki.files.get(name).map(PkiFile::expose).unwrap();
    let ca = CertificateDer::from_pem_slice(text(file::CA_CRT).as_bytes()).unwrap();
    let issuer = Issuer::from_ca_cert_der(&ca, KeyPair::from_pem(text(file::CA_KEY)).unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    let provider = muster_trust::provider();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).allow_unauthenticated();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![leaf.into()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialized_der().to_vec())),
        )
        .unwrap()
}

pub(super) fn shown(object: &Value) -> Response {
    ([("content-type", "application/json")], object.to_string()).into_response()
}

pub(super) fn status(code: u16, message: &str) -> Response {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code });
    (StatusCode::from_u16(code).unwrap(), body.to_string()).into_response()
}

async fn answer(
    State(double): State<Double>,
    Extension(Groups(groups)): Extension<Groups>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let dry = if uri.query().is_some_and(|query| query.contains("dryRun=All")) { "DRY " } else { "" };
    let by = if groups.is_none() { " by anybody" } else { "" };
    double.objects().calls.push(format!("{dry}{method} {path}{by}"));
    let fault = *double.fault.borrow();
    match fault {
        Fault::Silent => std::future::pending().await,
        Fault::Status(code) => return status(code, "a fault was asked for"),
        Fault::None | Fault::WatchesEnd | Fault::WatchesExpire | Fault::ConflictOnce => {}
    }
    if groups.is_none() && (&method, path.as_str()) == (&Method::GET, CLUSTER_INFO) {
        // An API server hears of a binding's end by a watch.
        let is_bound = double.get(PUBLIC_BINDINGS, CLUSTER_INFO_BINDING).is_some();
        let is_public = is_bound || {
            let mut objects = double.objects();
            objects.asked_after += 1;
            objects.asked_after <= 2
        };
        return if is_public { shown(&json!({ "kind": "ConfigMap" })) } else { status(403, "forbidden") };
    }
    let Some(groups) = groups.or_else(|| outside::groups_of_token(&headers)) else {
        return status(401, "Unauthorized");
    };
    if path == "/version" {
        return shown(&version());
    }
    if let Some(answer) = outside::answer(&double, &groups, &method, &path, &body) {
        return answer;
    }
    if !groups.iter().any(|group| [GROUP, outside::ADMINS, outside::OPERATORS].contains(&group.as_str())) {
        return status(403, "forbidden");
    }
    let (query, signer) = (uri.query().unwrap_or_default(), double.objects().signer);
    match (&method, path.as_str()) {
        (&Method::GET, NODES | REQUESTS) if query.contains("watch=true") => watch_from(&double, path, query, fault),
        (&Method::GET, NODES | REQUESTS) => list(&double, &path),
        (&Method::PUT, path) if path.starts_with(REQUESTS) && path.ends_with("/approval") => {
            approve(&double, &body, fault)
        }
        (&Method::GET, CLUSTER_INFO) => secrets::cluster_info(&double, signer),
        (&Method::GET, path) if path.starts_with(NODES) => {
            let found = double.get(NODES, path.rsplit('/').next().unwrap_or_default());
            found.map_or_else(|| status(404, "not found"), |node| shown(&node))
        }
        (&Method::PATCH, path) if path.starts_with(NODES) => label(&double, path, &body),
        (&Method::DELETE, path) if path.starts_with(PUBLIC_BINDINGS) => {
            match double.remove(PUBLIC_BINDINGS, path.rsplit('/').next().unwrap_or_default()) {
                Some(_) => shown(&json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" })),
                None => status(404, "not found"),
            }
        }
        (_, path) if path.starts_with(SECRETS) => secrets::answer(&double, &method, path, query, &body),
        _ => status(403, "forbidden"),
    }
}

fn version() -> Value {
    let mut version = json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.2" });
    for field in ["gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"] {
        version[field] = "".into();
    }
    version
}

fn list(double: &Double, collection: &str) -> Response {
    let objects = double.objects();
    let items: Vec<&Value> = objects.all.get(collection).into_iter().flat_map(BTreeMap::values).collect();
    let metadata = json!({ "resourceVersion": objects.version.to_string() });
    shown(&json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items }))
}

fn watch_from(double: &Double, collection: String, query: &str, fault: Fault) -> Response {
    let since = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
    let since: u64 = since.and_then(|text| text.parse().ok()).unwrap_or_default();
    let too_old = since < double.objects().forgotten || fault == Fault::WatchesExpire;
    let (lines, body) = mpsc::channel::<Result<String, Infallible>>(64);
    let double = double.clone();
    tokio::spawn(async move {
        if too_old {
            let gone =
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "too old", "code": 410 });
            let _ = lines.send(Ok(format!("{}\n", json!({ "type": "ERROR", "object": gone })))).await;
            return;
        }
        if fault != Fault::WatchesEnd {
            tell(&double, &collection, since, fault, &lines).await;
        }
    });
    Body::from_stream(ReceiverStream::new(body)).into_response()
}

async fn tell(
    double: &Double,
    collection: &str,
    mut since: u64,
    fault: Fault,
    lines: &mpsc::Sender<Result<String, Infallible>>,
) {
    let mut changed = double.changed.subscribe();
    // An approval that is to fail changes nothing for a watch.
    while *double.fault.borrow() == fault || fault == Fault::ConflictOnce {
        let (news, now) = {
            let objects = double.objects();
            // What is forgotten before it was told ends the watch; the next one hears that it is too old.
            if since < objects.forgotten {
                return;
            }
            let news = objects.log.iter().filter(|(version, of, ..)| *version > since && of == collection);
            let news: Vec<String> =
                news.map(|(_, _, kind, object)| json!({ "type": kind, "object": object }).to_string()).collect();
            (news, objects.version)
        };
        since = now;
        let mark = json!({ "kind": "Any", "apiVersion": "v1", "metadata": { "resourceVersion": now.to_string() } });
        let mark = json!({ "type": "BOOKMARK", "object": mark }).to_string();
        for line in news.into_iter().chain([mark]) {
            if lines.send(Ok(format!("{line}\n"))).await.is_err() {
                return;
            }
        }
        let _ = tokio::time::timeout(BOOKMARK_EVERY, changed.changed()).await;
    }
}

fn approve(double: &Double, body: &[u8], fault: Fault) -> Response {
    let sent: Value = serde_json::from_slice(body).unwrap();
    let name = sent["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let Some(mut object) = double.get(REQUESTS, &name) else { return status(404, "not found") };
    if fault == Fault::ConflictOnce {
        double.fault.send_replace(Fault::None);
        double.put(REQUESTS, object.clone());
    }
    if double.get(REQUESTS, &name).unwrap()["metadata"]["resourceVersion"] != sent["metadata"]["resourceVersion"] {
        return status(409, "the object has been modified");
    }
    // Of the rest of what was sent the real one takes nothing either.
    object["status"]["conditions"] = sent["status"]["conditions"].clone();
    double.put(REQUESTS, object);
    shown(&double.get(REQUESTS, &name).unwrap())
}

/// A merge patch of labels.
fn label(double: &Double, path: &str, body: &[u8]) -> Response {
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(mut node) = double.get(NODES, path.rsplit('/').next().unwrap_or_default()) else {
        return status(404, "not found");
    };
    for (key, value) in sent["metadata"]["labels"].as_object().into_iter().flatten() {
        node["metadata"]["labels"][key] = value.clone();
    }
    double.put(NODES, node.clone());
    shown(&node)
}
