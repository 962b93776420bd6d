//! TLS to a cluster's API server: its own authority is the only anchor, and the first address that answers is taken.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderValue, Uri,
    header::{AUTHORIZATION, InvalidHeaderValue},
};
use hyper_util::{
    client::legacy::{
        Client as Hyper,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use kube::{
    Client,
    client::{Body, middleware::BaseUriLayer},
};
use muster_state::record::LinkCondition;
use muster_trust::TlsIdentity;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs::sign::any_supported_type,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::{Layer as _, Service, util::MapRequestLayer};
use zeroize::{Zeroize as _, Zeroizing};

use super::trouble::{ConnectError, Trouble};
use crate::{kubeadm::endpoint::Endpoint, operations::link_identity::Shown};

/// One address may take this long, TLS included, before the next is tried.
const CONNECT_WITHIN: Duration = Duration::from_secs(4);
/// A connection that nothing is asked on is closed after this.
const IDLE: Duration = Duration::from_secs(30);

/// Where an API server, or a member of etcd, may listen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// DNS name or address, without brackets; what its certificate must name.
    pub(super) host: String,
    /// Port.
    pub(super) port: u16,
}

impl Target {
    /// Where that endpoint is.
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        Self { host: endpoint.host(), port: endpoint.port() }
    }
}

/// A client for the API server at the first of these targets that answers as one of the cluster. Without an identity it asks as
/// anybody may.
///
/// # Errors
/// If what is known of the cluster can't be used; nothing is connected yet.
pub(super) fn client(targets: Vec<Target>, authority: &str, shown: Option<Shown>) -> Result<Client, Trouble> {
    let unusable = |what: &str| Trouble::down(LinkCondition::Failing, format!("{what} can't be used"));
    let first = targets.first().ok_or_else(|| unusable("the endpoint"))?;
    let host = if first.host.contains(':') { format!("[{}]", first.host) } else { first.host.clone() };
    let base: Uri = format!("https://{host}:{}", first.port).parse().map_err(|_| unusable("the endpoint"))?;
    let bearer = bearer(shown.as_ref()).map_err(|_| unusable("the token"))?;
    let identity = shown.and_then(|shown| match shown {
        Shown::Certificate(identity) => Some(identity),
        Shown::Token(_) => None,
    });
    let tls = tls(authority, identity, b"http/1.1").ok_or_else(|| unusable("the authority or the certificate"))?;
    let connector = Connector { tls: TlsConnector::from(Arc::new(tls)), targets: targets.into(), good: Arc::default() };
    let service: Hyper<Connector, Body> = Hyper::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(hyper_util::rt::TokioTimer::new())
        .build(connector);
    let service = MapRequestLayer::new(move |mut request: http::Request<Body>| {
        if let Some(bearer) = &bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        }
        request
    })
    .layer(service);
    Ok(Client::new(BaseUriLayer::new(base).layer(service), "kube-system"))
}

/// The header of a token; it is shown to nobody but who has proved to be the cluster.
fn bearer(shown: Option<&Shown>) -> Result<Option<HeaderValue>, InvalidHeaderValue> {
    let Some(Shown::Token(token)) = shown else { return Ok(None) };
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&text)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// TLS with a cluster's own authority as the only anchor, mutual if there is an identity; `None` if either can't be read. The key is
/// wiped.
pub(super) fn tls(authority: &str, identity: Option<TlsIdentity>, protocol: &[u8]) -> Option<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.ok()?).ok()?;
    }
    let config = ClientConfig::builder_with_provider(muster_trust::provider())
        .with_protocol_versions(&[&TLS13])
        .ok()?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(mut identity) => {
            let key = any_supported_type(&identity.key);
            identity.key.zeroize();
            let shown = SingleCertAndKey::from(CertifiedKey::new(identity.chain, key.ok()?));
            config.with_client_cert_resolver(Arc::new(shown))
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    Some(config)
}

#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
    targets: Arc<[Target]>,
    /// Which target answered last.
    good: Arc<AtomicUsize>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Socket>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await })
    }
}

impl Connector {
    /// The target that answered last, then the others in their order.
    async fn connect(&self) -> Result<TokioIo<Socket>, ConnectError> {
        let good = self.good.load(Ordering::Relaxed);
        let others = (0..self.targets.len()).filter(|at| *at != good);
        let mut failures = Vec::new();
        for at in [good].into_iter().filter(|at| *at < self.targets.len()).chain(others) {
            let target = &self.targets[at];
            let attempt = tokio::time::timeout(CONNECT_WITHIN, reach(&self.tls, target)).await;
            match attempt.unwrap_or_else(|_| Err(ConnectError { untrusted: false, message: "no answer".into() })) {
                Ok(stream) => {
                    self.good.store(at, Ordering::Relaxed);
                    return Ok(TokioIo::new(Socket(stream)));
                }
                Err(err) => failures.push((target, err)),
            }
        }
        // A wrong authority is worth more words than an address that is silent.
        let untrusted = failures.iter().any(|(_, err)| err.untrusted);
        let texts = failures.iter().filter(|(_, err)| err.untrusted == untrusted);
        let texts: Vec<String> =
            texts.map(|(at, err)| format!("{} port {}: {}", at.host, at.port, err.message)).collect();
        Err(ConnectError { untrusted, message: texts.join("; ") })
    }
}

/// Connects to one target.
///
/// # Errors
/// In a sentence, and whether what answered is not the cluster.
pub(super) async fn reach(tls: &TlsConnector, target: &Target) -> Result<TlsStream<TcpStream>, ConnectError> {
    let plain = |message: String| ConnectError { untrusted: false, message };
    let name = ServerName::try_from(target.host.clone()).map_err(|err| plain(err.to_string()))?;
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(|err| plain(err.to_string()))?;
    let _ = stream.set_nodelay(true);
    tls.connect(name, stream).await.map_err(|err| {
        let inner = err.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let untrusted = matches!(inner, Some(rustls::Error::InvalidCertificate(_)));
        ConnectError { untrusted, message: err.to_string() }
    })
}

/// A TLS connection in the form that hyper asks for.
struct Socket(TlsStream<TcpStream>);

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
