//! A custodian's calls about certificate requests: which are pending, and what a server has decided about them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::Kubectl;
use crate::instruction::{ObjectName, RequestsTask, Verdict};
use crate::report::{CertificateRequest, Ended, RequestsSeen, Seen};

/// Told of in one report; the server takes no more.
const REQUESTS_MAX: usize = 32;
/// Of one requester in one report: an honest one has one, and nobody may crowd out the others.
const OF_ONE_MAX: usize = 4;
/// Bytes of requests in one report: it must fit the server's limit for a message of an agent, 256 KiB.
const BYTES_MAX: usize = 160 * 1024;

/// Pending requests, a line of JSON each, so that kubectl leaves out the thousands that are settled. Go's `%q` is JSON's
/// for all that an honest request holds; a line that is none is left out. One whose PKCS#10 is longer than any
/// honest one, 5,000 characters of base64, shows none.
const PENDING: &str = concat!(
    r#"go-template={{range .items}}{{if not .status.conditions}}"#,
    r#"{"uid":{{printf "%q" .metadata.uid}},"name":{{printf "%q" .metadata.name}},"#,
    r#""version":{{printf "%q" .metadata.resourceVersion}},"signer":{{printf "%q" .spec.signerName}},"#,
    r#""user":{{printf "%q" .spec.username}},"#,
    r#""groups":[{{range $at, $group := .spec.groups}}{{if $at}},{{end}}{{printf "%q" $group}}{{end}}],"#,
    r#""usages":[{{range $at, $usage := .spec.usages}}{{if $at}},{{end}}{{printf "%q" $usage}}{{end}}],"#,
    r#""request":{{if le (len .spec.request) 5000}}{{printf "%q" .spec.request}}{{else}}""{{end}}}"#,
    "{{\"\\n\"}}{{end}}{{end}}"
);

/// A Node's condition, in a word.
const READY: &str = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;

/// What the user name of a kubelet begins with.
const KUBELET: &str = "system:node:";

/// Who may have made a request that concerns a server: a bootstrap token or a kubelet.
const REQUESTERS: [&str; 2] = ["system:bootstrap:", KUBELET];

/// What kubectl says where the API server does not take an answer to a request, however often it is given.
const REFUSALS: [&str; 5] = [
    "Error from server (Conflict)",
    "Error from server (NotFound)",
    "Error from server (Forbidden)",
    "Error from server (Invalid)",
    "Error from server (BadRequest)",
];

#[derive(Deserialize)]
struct Pending {
    uid: String,
    name: String,
    version: String,
    signer: String,
    user: String,
    groups: Vec<String>,
    usages: Vec<String>,
    request: String,
}

impl Kubectl<'_> {
    /// Lists pending requests of kubelets, and looks at the Nodes that matter for them.
    pub async fn observe_requests(&self, task: &RequestsTask) -> Ended {
        // Line by line: what is kept of an output is bounded, and whoever makes thousands of requests must not hide one.
        let mut sieve = Sieve::new(task);
        let listed = ["get", "certificatesigningrequests", "-o", PENDING];
        match self.run(&listed, None, &mut |line| sieve.line(line)).await {
            Ok(output) if output.succeeded() => {}
            Ok(output) => return Ended::Failed(self.failure(&output)),
            Err(ended) => return ended,
        }
        let mut seen = sieve.seen();
        if !seen.requests.is_empty() {
            for name in &task.node_names {
                match self.is_ready(name).await {
                    Ok(ready) => seen.nodes.push((name.name.clone(), ready)),
                    Err(ended) => return ended,
                }
            }
        }
        Ended::Succeeded(Seen { requests: Some(Box::new(seen)), ..Seen::default() })
    }

    async fn is_ready(&self, node: &ObjectName) -> Result<bool, Ended> {
        let look = ["get", "node", &node.name, "--ignore-not-found", "-o", READY];
        let output = self.run(&look, None, &mut |_| {}).await?;
        if output.succeeded() {
            Ok(output.stdout.concat().trim() == "True")
        } else {
            Err(Ended::Failed(self.failure(&output)))
        }
    }

    /// Says to the cluster what was decided. A request that is another by now, or gone, is left alone, and so is one of which the API
    /// server does not take it: they are looked at anew, and must not hold up the others.
    pub async fn conclude_requests(&self, verdicts: &[Verdict]) -> Ended {
        for verdict in verdicts {
            let name = &verdict.name.name;
            let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}/approval");
            let body = Zeroizing::new(approval(verdict).to_string().into_bytes());
            let output = match self.run(&["replace", "--raw", &path, "-f", "-"], Some(body), &mut |_| {}).await {
                Ok(output) => output,
                Err(ended) => return ended,
            };
            let refused = output.lines.iter().find(|line| REFUSALS.iter().any(|word| line.starts_with(word)));
            match refused {
                _ if output.succeeded() => {
                    let word = if verdict.approve { "approved" } else { "denied" };
                    self.feed.line(format!("certificate request {name} is {word}"));
                }
                Some(why) => self.feed.line(format!("certificate request {name} is left alone: {why}")),
                None => return Ended::Failed(self.failure(&output)),
            }
        }
        Ended::Succeeded(Seen::default())
    }
}

/// Only the conditions count at `/approval`; uid and version make sure that it is what was seen.
fn approval(verdict: &Verdict) -> serde_json::Value {
    let word = if verdict.approve { "Approved" } else { "Denied" };
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "name": verdict.name.name, "uid": verdict.uid, "resourceVersion": verdict.version },
        "status": { "conditions": [{
            "type": word, "status": "True", "reason": format!("Muster{word}"), "message": verdict.why,
        }]},
    })
}

/// What of the pending requests is to be told: those of one requester together, so that two with one token are seen as two, and those of
/// tokens first, since a machine waits for each.
struct Sieve<'a> {
    task: &'a RequestsTask,
    seen: RequestsSeen,
    /// Requesters, and which of the groups is whose.
    places: BTreeMap<String, usize>,
    /// Pending requests and the length of their lines, by requester, in the order in which they came.
    groups: Vec<Vec<(Pending, usize)>>,
}

impl<'a> Sieve<'a> {
    fn new(task: &'a RequestsTask) -> Self {
        Self { task, seen: RequestsSeen::default(), places: BTreeMap::new(), groups: Vec::new() }
    }

    fn line(&mut self, line: &str) {
        let Ok(pending) = serde_json::from_str::<Pending>(line) else { return };
        if !REQUESTERS.iter().any(|requester| pending.user.starts_with(requester)) {
            return;
        }
        if self.task.passed_over.contains(&pending.uid) {
            return self.seen.passed_over.push(pending.uid);
        }
        let at = *self.places.entry(pending.user.clone()).or_insert(self.groups.len());
        match self.groups.get_mut(at) {
            None => self.groups.push(vec![(pending, line.len())]),
            Some(group) if group.len() < OF_ONE_MAX => group.push((pending, line.len())),
            Some(_) => self.seen.more = true,
        }
    }

    fn seen(mut self) -> RequestsSeen {
        let is_kubelets = |group: &[(Pending, usize)]| group.iter().any(|(it, _)| it.user.starts_with(KUBELET));
        self.groups.sort_by_key(|group| is_kubelets(group));
        let mut bytes = 0;
        for group in self.groups {
            let size: usize = group.iter().map(|(_, size)| size).sum();
            if self.seen.requests.len() + group.len() > REQUESTS_MAX || bytes + size > BYTES_MAX {
                self.seen.more = true;
                continue;
            }
            bytes += size;
            self.seen.requests.extend(group.into_iter().map(|(pending, _)| pending.told()));
        }
        self.seen
    }
}

impl Pending {
    fn told(self) -> CertificateRequest {
        let Self { uid, name, version, signer, user, groups, usages, request } = self;
        CertificateRequest { uid, name, version, signer, user, groups, usages, request }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(uid: &str, user: &str) -> String {
        json!({ "uid": uid, "name": uid, "version": "7", "signer": "s", "user": user, "groups": ["g"],
                "usages": ["client auth"], "request": "UEVN" })
        .to_string()
    }

    fn sift(lines: &[String], task: &RequestsTask) -> RequestsSeen {
        let mut sieve = Sieve::new(task);
        lines.iter().for_each(|line| sieve.line(line));
        sieve.seen()
    }

    fn uids(seen: &RequestsSeen) -> Vec<&str> {
        seen.requests.iter().map(|request| request.uid.as_str()).collect()
    }

    #[test]
    fn requests_of_tokens_and_kubelets_are_told_and_those_to_be_passed_over_only_by_uid() {
        let lines = [
            line("a", "system:bootstrap:abcdef"),
            line("b", "system:node:n1"),
            line("c", "alice"),
            line("d", "system:bootstrap:fedcba"),
        ];
        let task = RequestsTask { passed_over: ["d".to_owned(), "gone".to_owned()].into(), ..RequestsTask::default() };
        let seen = sift(&lines, &task);
        assert_eq!(uids(&seen), ["a", "b"]);
        assert_eq!((seen.passed_over, seen.more), (vec!["d".to_owned()], false));
        assert_eq!(seen.requests[0].groups, ["g"]);
    }

    #[test]
    fn nobody_crowds_out_the_others_by_many_requests() {
        let flood = (0..100).map(|at| line(&format!("f{at}"), "system:bootstrap:thief0"));
        let lines: Vec<String> = flood.chain([line("honest", "system:bootstrap:abcdef")]).collect();
        let seen = sift(&lines, &RequestsTask::default());
        assert_eq!(uids(&seen), ["f0", "f1", "f2", "f3", "honest"]);
        assert!(seen.more);
    }

    #[test]
    fn where_there_are_too_many_a_requesters_own_are_told_together_or_not_at_all() {
        let many = (0..40).map(|at| line(&format!("a{at}"), &format!("system:bootstrap:{at:06}")));
        let seconds = (0..40).map(|at| line(&format!("b{at}"), &format!("system:bootstrap:{at:06}")));
        let seen = sift(&many.chain(seconds).collect::<Vec<_>>(), &RequestsTask::default());
        assert_eq!((seen.requests.len(), seen.more), (REQUESTS_MAX, true));
        assert!(seen.requests.chunks(2).all(|pair| pair[0].user == pair[1].user && pair[0].uid != pair[1].uid));
    }

    #[test]
    fn machines_that_wait_are_told_of_before_kubelets_that_run() {
        let kubelets = (0..100).map(|at| line(&format!("k{at}"), &format!("system:node:n{at}")));
        let lines: Vec<String> = kubelets.chain([line("joins", "system:bootstrap:abcdef")]).collect();
        let seen = sift(&lines, &RequestsTask::default());
        assert_eq!((uids(&seen)[0], seen.requests.len(), seen.more), ("joins", REQUESTS_MAX, true));
    }

    #[test]
    fn a_line_that_is_no_json_is_no_request() {
        let forged = "{\"uid\":\"a\",\"user\":\"x\\x00\"";
        assert_eq!(sift(&[forged.to_owned(), String::new()], &RequestsTask::default()), RequestsSeen::default());
    }

    #[test]
    fn an_answer_names_the_very_object_that_was_seen() {
        let name =
            ObjectName { kind: "certificatesigningrequest".into(), namespace: String::new(), name: "csr-1".into() };
        let verdict = Verdict { uid: "u".into(), name, version: "9".into(), approve: false, why: "no".into() };
        let body = approval(&verdict);
        assert_eq!(body["metadata"], json!({ "name": "csr-1", "uid": "u", "resourceVersion": "9" }));
        assert_eq!(body["status"]["conditions"][0]["type"], "Denied");
        assert_eq!(body["status"]["conditions"][0]["message"], "no");
    }
}
