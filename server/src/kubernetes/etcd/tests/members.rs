//! A real etcd with the certificates of a cluster: members on loopback addresses of their own, at kubeadm's ports.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use http::uri::PathAndQuery;
use prost::Message;
use rcgen::{ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tonic_prost::ProstCodec;

use crate::{
    clock::now_ms,
    kubernetes::{
        etcd::client::{self, Client},
        transport::{self, Target},
    },
    pki::{ClusterPki, LinkTerms, PkiFile, file, issue_for_link},
};

/// A loaded machine takes its time.
const UP_WITHIN: Duration = Duration::from_secs(40);

/// The program: of the lab, or the one that is installed, if it lists members by a majority's word, which it does from 3.5 on. Elsewhere
/// it is said that a test was skipped.
#[expect(clippy::disallowed_methods, reason = "where the programs are, is said by the environment")]
fn program() -> Option<PathBuf> {
    let lab = std::env::var_os("K8S_LAB").map(|lab| PathBuf::from(lab).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = lab.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join("etcd"));
    let found = all.filter(|at| at.is_file()).find(|at| minor(at).is_some_and(|minor| minor >= 5));
    if found.is_none() {
        // Past the capture of `cargo test`, so that a skip is seen although the test passes.
        let _ = writeln!(std::io::stderr(), "skipped: no etcd 3.5 or later here: install it, or set K8S_LAB");
    }
    found
}

/// Of `etcd Version: 3.5.30`.
fn minor(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next()?.rsplit(' ').next()?.strip_prefix("3.")?.split('.').next()?.parse().ok()
}

/// Addresses that no other test of this host uses: by process, and by etcd within it.
fn network() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let (pid, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    assert!(next < 16, "too many etcds in one process");
    format!("127.{}.{}.{next}", 64 + (pid >> 8) % 128, pid % 256)
}

/// Runs until it is dropped.
pub(in crate::kubernetes) struct Etcd {
    pub(in crate::kubernetes) pki: ClusterPki,
    network: String,
    program: PathBuf,
    home: TempDir,
    members: Vec<(u8, Child)>,
}

impl Etcd {
    /// So many members, all voters; `None` where there is no etcd.
    pub(in crate::kubernetes) async fn start(pki: ClusterPki, members: u8) -> Option<Self> {
        let program = program()?;
        let mut etcd =
            Self { pki, network: network(), program, home: tempfile::tempdir().unwrap(), members: Vec::new() };
        let cluster: Vec<String> = (1..=members).map(|n| format!("cp{n}={}", etcd.peer_url(n))).collect();
        for number in 1..=members {
            etcd.run(number, "new", &cluster.join(","));
        }
        let began = Instant::now();
        loop {
            let seen = etcd.client(&[1]).look().await;
            match &seen {
                Ok(all) if all.len() == usize::from(members) && all.iter().all(|one| one.healthy) => return Some(etcd),
                _ if began.elapsed() > UP_WITHIN => panic!("etcd does not come up: {seen:?}"),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// How many members it lists itself.
    pub(in crate::kubernetes) async fn count(&self) -> usize {
        self.client(&[1]).look().await.unwrap().len()
    }

    /// Where a member is, or would be.
    pub(in crate::kubernetes) fn address(&self, number: u8) -> String {
        let (net, last) = self.network.rsplit_once('.').unwrap();
        format!("{net}.{}", last.parse::<u8>().unwrap() * 16 + number)
    }

    pub(in crate::kubernetes) fn peer_url(&self, number: u8) -> String {
        format!("https://{}:2380", self.address(number))
    }

    pub(in crate::kubernetes) fn target(&self, number: u8) -> Target {
        Target { host: self.address(number), port: 2379 }
    }

    /// Starts the program of a member that belongs to that cluster.
    pub(in crate::kubernetes) fn run(&mut self, number: u8, state: &str, cluster: &str) {
        let (crt, key) = self.certify(number);
        let client_url = format!("https://{}:2379", self.address(number));
        let ca = self.file("ca.crt", self.text(file::ETCD_CA_CRT));
        let data = self.home.path().join(format!("data-{number}"));
        let mut command = Command::new(&self.program);
        command.arg(format!("--name=cp{number}")).arg(format!("--data-dir={}", data.display()));
        for flag in ["listen-client-urls", "advertise-client-urls"] {
            command.arg(format!("--{flag}={client_url}"));
        }
        for flag in ["listen-peer-urls", "initial-advertise-peer-urls"] {
            command.arg(format!("--{flag}={}", self.peer_url(number)));
        }
        for (flag, path) in [("trusted-ca-file", &ca), ("cert-file", &crt), ("key-file", &key)] {
            command.arg(format!("--{flag}={}", path.display())).arg(format!("--peer-{flag}={}", path.display()));
        }
        command.args(["--client-cert-auth", "--peer-client-cert-auth", "--log-level=error"]);
        command.arg(format!("--initial-cluster={cluster}")).arg(format!("--initial-cluster-state={state}"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.members.push((number, child));
    }

    /// Ends a member's program, as if its machine had lost power.
    pub(in crate::kubernetes) fn kill(&mut self, number: u8) {
        for (_, child) in self.members.extract_if(.., |(at, _)| *at == number).collect::<Vec<_>>().iter_mut() {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }

    /// Stops a member's program without ending it, or lets it go on.
    pub(in crate::kubernetes) fn freeze(&self, number: u8, frozen: bool) {
        let (_, child) = self.members.iter().find(|(at, _)| *at == number).unwrap();
        let signal = if frozen { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    }

    /// A client that may try these members, in this order.
    pub(super) fn client(&self, members: &[u8]) -> Client {
        self.client_of(members.iter().map(|number| self.target(*number)).collect())
    }

    pub(super) fn client_of(&self, targets: Vec<Target>) -> Client {
        let identity = self.identity();
        Client::new(targets, self.text(file::ETCD_CA_CRT), identity).unwrap()
    }

    fn identity(&self) -> muster_trust::TlsIdentity {
        let terms = LinkTerms { user: "muster:server:1", group: "muster:link" };
        let key = self.text(file::ETCD_CA_KEY).as_bytes();
        issue_for_link(self.text(file::ETCD_CA_CRT), key, terms, now_ms()).unwrap()
    }

    /// Adds a member as kubeadm does, which does not start it; gives its id.
    pub(in crate::kubernetes) async fn add(&self, number: u8, learner: bool) -> String {
        let tls = transport::tls(self.text(file::ETCD_CA_CRT), Some(self.identity()), muster_trust::ALPN_H2).unwrap();
        let channel = client::connect(&TlsConnector::from(Arc::new(tls)), &self.target(1)).await.unwrap();
        let began = Instant::now();
        loop {
            let request = MemberAddRequest { peer_urls: vec![self.peer_url(number)], learner };
            let mut client = tonic::client::Grpc::new(channel.clone());
            client.ready().await.unwrap();
            let path = PathAndQuery::from_static("/etcdserverpb.Cluster/MemberAdd");
            let codec = ProstCodec::<MemberAddRequest, MemberAddResponse>::default();
            match client.unary(tonic::Request::new(request), path, codec).await {
                Ok(answer) => return format!("{:x}", answer.into_inner().member.unwrap().id),
                // It wants to have seen all members for some seconds.
                Err(status) if began.elapsed() > UP_WITHIN => panic!("not added: {status:?}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    fn text(&self, name: &str) -> &str {
        self.pki.files.get(name).map(PkiFile::expose).unwrap()
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A certificate for server, client and peer, as kubeadm makes two of.
    fn certify(&self, number: u8) -> (PathBuf, PathBuf) {
        let ca = CertificateDer::from_pem_slice(self.text(file::ETCD_CA_CRT).as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.text(file::ETCD_CA_KEY).as_bytes()).unwrap();
        let issuer = Issuer::from_ca_cert_der(&ca, KeyPair::try_from(&key).unwrap()).unwrap();
        let mut params = rcgen::CertificateParams::default();
        // Members call each other from 127.0.0.1, and etcd compares that with the caller's certificate.
        params.subject_alt_names =
            [self.address(number).as_str(), "127.0.0.1"].map(|at| SanType::IpAddress(at.parse().unwrap())).into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let own = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&own, &issuer).unwrap().pem();
        let (crt, key) = (format!("{number}.crt"), format!("{number}.key"));
        (self.file(&crt, &certificate), self.file(&key, &own.serialize_pem()))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for (_, child) in &mut self.members {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct MemberAddRequest {
    #[prost(string, repeated, tag = "1")]
    peer_urls: Vec<String>,
    #[prost(bool, tag = "2")]
    learner: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Added {
    #[prost(uint64, tag = "1")]
    id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct MemberAddResponse {
    #[prost(message, optional, tag = "2")]
    member: Option<Added>,
}
