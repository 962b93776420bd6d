//! The machine's own kubectl: a custodian's calls with `admin.conf`, and looks at the own Node with `kubelet.conf`.

mod requests;

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::executor::{Feed, Job};
use crate::host::{Call, Exit, Host, OnLine, Output};
use crate::instruction::{ObjectName, Payload};
use crate::kubeadm::{Cause, Scrubber, diagnose};
use crate::phase::Answer;
use crate::report::{Ended, Failure, NodeObservation, Progress, Seen};

const ADMIN: &str = "/etc/kubernetes/admin.conf";
const KUBELET: &str = "/etc/kubernetes/kubelet.conf";

/// Server-side: a client-side apply would copy each Secret, token included, into an annotation. Conflicts are forced: the
/// objects are Muster's own.
const APPLY: [&str; 5] = ["apply", "--server-side", "--force-conflicts", "-f", "-"];

/// A look takes milliseconds, or the API server is not there.
const LOOK_LIMIT: Duration = Duration::from_secs(15);

/// First and longest pause between two looks at a Node that is not Ready.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// One custodian's call.
pub struct Kubectl<'a> {
    /// Where.
    pub host: &'a dyn Host,
    /// Knows the call's secrets.
    pub scrubber: Scrubber,
    /// For each run of kubectl.
    pub limit: Duration,
    /// Ends it early.
    pub stop: CancellationToken,
    /// Takes its lines.
    pub feed: &'a Feed,
}

impl Kubectl<'_> {
    /// Applies the payload's objects, from standard input, then deletes what is to be gone.
    pub async fn apply(&self, payload: &Payload) -> Ended {
        if !payload.manifest.is_empty() {
            let stdin = Zeroizing::new(payload.manifest.to_vec());
            let ended = self.call(&APPLY, Some(stdin)).await;
            if !matches!(ended, Ended::Succeeded(_)) {
                return ended;
            }
        }
        self.delete(&payload.delete).await
    }

    /// Deletes objects; absent ones are fine.
    pub async fn delete(&self, objects: &[ObjectName]) -> Ended {
        for object in objects {
            let mut arguments = vec!["delete", &object.kind, &object.name, "--ignore-not-found", "--wait=false"];
            if !object.namespace.is_empty() {
                arguments.extend(["-n", &object.namespace]);
            }
            let ended = self.call(&arguments, None).await;
            if !matches!(ended, Ended::Succeeded(_)) {
                return ended;
            }
        }
        Ended::Succeeded(Seen::default())
    }

    async fn call(&self, arguments: &[&str], stdin: Option<Zeroizing<Vec<u8>>>) -> Ended {
        match self.run(arguments, stdin, &mut |line| self.feed.line(self.scrubber.line(line))).await {
            Ok(output) if output.succeeded() => Ended::Succeeded(Seen::default()),
            Ok(output) => Ended::Failed(self.failure(&output)),
            Err(ended) => ended,
        }
    }

    /// Runs kubectl to its own end, good or bad.
    async fn run(
        &self,
        arguments: &[&str],
        stdin: Option<Zeroizing<Vec<u8>>>,
        on_line: OnLine<'_>,
    ) -> Result<Output, Ended> {
        let call = mk_call(ADMIN, arguments, stdin, self.limit, &self.stop);
        let output = self.host.run(call, on_line).await.map_err(|error| {
            let message = format!("kubectl could not be run: {error}");
            Ended::Failed(Failure::untouched(Cause::KubectlMissing, message))
        })?;
        match output.exit {
            Exit::Code(_) => Ok(output),
            Exit::Stopped => Err(Ended::Stopped),
            Exit::TimedOut => {
                let message = format!("kubectl was ended after {} s", self.limit.as_secs());
                Err(Ended::Failed(Failure::untouched(Cause::TimedOut, message)))
            }
        }
    }

    fn failure(&self, output: &Output) -> Failure {
        let lines: Vec<String> = output.lines.iter().map(|line| self.scrubber.line(line)).collect();
        match diagnose(lines.iter().map(String::as_str)) {
            Some(found) => Failure::untouched(found.cause, found.message),
            None => Failure::untouched(Cause::Unknown, lines.last().cloned().unwrap_or_default()),
        }
    }
}

fn mk_call(
    kubeconfig: &str,
    arguments: &[&str],
    stdin: Option<Zeroizing<Vec<u8>>>,
    limit: Duration,
    stop: &CancellationToken,
) -> Call {
    let mut all = vec!["--kubeconfig".to_owned(), kubeconfig.to_owned(), "--request-timeout=30s".to_owned()];
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    Call { program: "kubectl", arguments: all, stdin, limit, stop: stop.clone() }
}

/// Runs kubectl for a look; `None` if it could not be run at all or was cut short.
async fn look(host: &dyn Host, kubeconfig: &str, arguments: &[&str]) -> Option<Output> {
    let call = mk_call(kubeconfig, arguments, None, LOOK_LIMIT, &CancellationToken::new());
    host.run(call, &mut |_| {}).await.ok().filter(|output| matches!(output.exit, Exit::Code(_)))
}

/// Yes if it succeeded, no if the API server said no, else unknown.
fn answer(output: Option<&Output>) -> Answer {
    match output {
        Some(output) if output.succeeded() => Answer::Yes,
        Some(output) if output.lines.iter().any(|line| line.starts_with("Error from server (NotFound)")) => Answer::No,
        _ => Answer::Unknown,
    }
}

/// Whether the API server says that it is ready, asked as administrator.
pub async fn api_ready(host: &dyn Host) -> Answer {
    answer(look(host, ADMIN, &["get", "--raw", "/readyz"]).await.as_ref())
}

/// Whether init came as far as uploading its configuration.
pub async fn kubeadm_config_exists(host: &dyn Host) -> Answer {
    answer(look(host, ADMIN, &["get", "configmap", "kubeadm-config", "-n", "kube-system", "-o", "name"]).await.as_ref())
}

/// Whether the own Node exists, asked as the kubelet.
pub async fn node_exists(host: &dyn Host, name: &str) -> Answer {
    answer(look(host, KUBELET, &["get", "node", name, "-o", "name"]).await.as_ref())
}

/// The own Node as the kubelet may see it; `None` if the API server could not be asked.
pub async fn observe_node(host: &dyn Host, name: &str) -> Option<NodeObservation> {
    let output = look(host, KUBELET, &["get", "node", name, "-o", "json"]).await?;
    match answer(Some(&output)) {
        Answer::Yes => parse_node(&output.stdout.concat()),
        Answer::No => {
            Some(NodeObservation { message: format!("there is no Node {name} yet"), ..NodeObservation::default() })
        }
        Answer::Unknown => None,
    }
}

#[derive(Deserialize)]
struct Node {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default, rename = "nodeInfo")]
    node_info: NodeInfo,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize, Default)]
struct NodeInfo {
    #[serde(default, rename = "kubeletVersion")]
    kubelet_version: String,
}

fn parse_node(json: &str) -> Option<NodeObservation> {
    let node: Node = serde_json::from_str(json).ok()?;
    let ready = node.status.conditions.into_iter().find(|condition| condition.kind == "Ready");
    let mut observation = NodeObservation {
        found: true,
        kubelet_version: node.status.node_info.kubelet_version,
        uid: node.metadata.uid,
        ..NodeObservation::default()
    };
    if let Some(condition) = ready {
        observation.ready = condition.status == "True";
        observation.reason = condition.reason;
        observation.message = condition.message;
    }
    Some(observation)
}

/// Watches the own Node until it is Ready. A missing network plugin is told as it is, and is no failure.
pub async fn wait_ready(host: &dyn Host, job: &Job, feed: &Feed) -> Ended {
    let deadline = job.limit.map(|limit| Instant::now() + limit);
    let mut pause = PAUSES.0;
    let mut last = None;
    loop {
        let seen = tokio::select! {
            seen = observe_node(host, &job.node_name) => seen,
            () = job.stop.cancelled() => return Ended::Stopped,
        };
        if let Some(node) = seen {
            if node.ready {
                return Ended::Succeeded(Seen { node: Some(node), ..Seen::default() });
            }
            if last.as_ref() != Some(&node) {
                feed.progress(Progress::Node(node.clone()));
                last = Some(node);
                pause = PAUSES.0;
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let why = last.map_or_else(
                || "the API server could not be asked".to_owned(),
                |node| format!("{}: {}", node.reason, node.message),
            );
            return Ended::Failed(Failure::untouched(
                Cause::NotReady,
                format!("the Node did not become Ready in time; {why}"),
            ));
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(PAUSES.1),
            () = job.stop.cancelled() => return Ended::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_network_plugin_is_found_and_not_ready_with_its_reason() {
        let json = r#"{"metadata":{"uid":"u-1"},"status":{"nodeInfo":{"kubeletVersion":"v1.36.2"},"conditions":[
            {"type":"MemoryPressure","status":"False"},
            {"type":"Ready","status":"False","reason":"KubeletNotReady","message":"cni plugin not initialized"}]}}"#;
        let node = parse_node(json).unwrap();
        assert!(node.found && !node.ready);
        assert_eq!((node.reason.as_str(), node.message.as_str()), ("KubeletNotReady", "cni plugin not initialized"));
        assert_eq!((node.kubelet_version.as_str(), node.uid.as_str()), ("v1.36.2", "u-1"));
    }

    #[test]
    fn a_node_that_has_no_status_yet_is_found() {
        assert!(parse_node(r#"{"metadata":{}}"#).unwrap().found);
        assert_eq!(parse_node("not json"), None);
    }

    #[test]
    fn only_the_servers_own_not_found_is_a_no() {
        let output =
            |line: &str| Output { exit: Exit::Code(Some(1)), stdout: Vec::new(), lines: vec![line.to_owned()] };
        assert_eq!(answer(Some(&output("Error from server (NotFound): nodes \"a\" not found"))), Answer::No);
        assert_eq!(answer(Some(&output("The connection to the server was refused"))), Answer::Unknown);
        assert_eq!(answer(None), Answer::Unknown);
    }
}
