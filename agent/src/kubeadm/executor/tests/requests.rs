//! A custodian's calls about certificate requests.

use super::*;
use crate::instruction::Verdict;

fn mk_verdict(name: &str, approve: bool) -> Verdict {
    let object = ObjectName { kind: "certificatesigningrequest".into(), namespace: String::new(), name: name.into() };
    Verdict { uid: "u".into(), name: object, version: "7".into(), approve, why: "because".into() }
}

const APPROVAL: &str = "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=30s replace --raw \
    /apis/certificates.k8s.io/v1/certificatesigningrequests";

async fn conclude(host: &Arc<FakeHost>, verdicts: Vec<Verdict>) -> Ended {
    let requests = RequestsTask { verdicts, ..RequestsTask::default() };
    execute(host, Job { requests, ..mk_job(Verb::ConcludeRequests, Mode::Fresh, Payload::default()) }).await.0
}

#[tokio::test]
async fn a_custodian_answers_requests_one_by_one_and_leaves_alone_what_has_changed() {
    let conflict = "Error from server (Conflict): the object has been modified".to_owned();
    let start = "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=30s replace --raw \
        /apis/certificates.k8s.io/v1/certificatesigningrequests/csr-a";
    let host = Arc::new(FakeHost { answers: vec![(start, 1, vec![conflict])], ..FakeHost::default() });
    let ended = conclude(&host, vec![mk_verdict("csr-a", true), mk_verdict("csr-b", false)]).await;
    assert_eq!(ended, Ended::Succeeded(Seen::default()));
    assert_eq!(host.calls(), ["csr-a", "csr-b"].map(|name| format!("{APPROVAL}/{name}/approval -f -")));
}

#[tokio::test]
async fn an_answer_that_the_api_server_does_not_take_holds_up_no_other_and_one_that_does_not_reach_it_fails_the_errand()
{
    for (words, calls) in [
        ("Error from server (Forbidden): admission webhook \"x\" denied the request", 2),
        ("The connection to the server 192.0.2.11:6443 was refused", 1),
    ] {
        let host = Arc::new(FakeHost { answers: vec![("kubectl", 1, vec![words.to_owned()])], ..FakeHost::default() });
        let ended = conclude(&host, vec![mk_verdict("csr-a", true), mk_verdict("csr-b", false)]).await;
        assert_eq!(matches!(ended, Ended::Failed(Failure { clean: true, .. })), calls == 1, "{ended:?}");
        assert_eq!(host.calls().len(), calls);
    }
}

#[tokio::test]
async fn nodes_of_join_lines_are_looked_at_only_where_there_is_a_request() {
    let pending = r#"{"uid":"u","name":"csr-a","version":"7","signer":"s","user":"system:bootstrap:abcdef","groups":[],"usages":[],"request":""}"#;
    let list = "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=30s get certificatesigningrequests";
    let node = "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=30s get node w9";
    let name = ObjectName { kind: "node".into(), namespace: String::new(), name: "w9".into() };
    for (lines, nodes) in [(vec![pending.to_owned()], vec![("w9".to_owned(), true)]), (Vec::new(), Vec::new())] {
        let answers = vec![(list, 0, lines), (node, 0, vec!["True".to_owned()])];
        let host = Arc::new(FakeHost { answers, ..FakeHost::default() });
        let requests = RequestsTask { node_names: vec![name.clone()], ..RequestsTask::default() };
        let job = Job { requests, ..mk_job(Verb::ObserveRequests, Mode::Fresh, Payload::default()) };
        let (ended, told, _) = execute(&host, job).await;
        let Ended::Succeeded(Seen { requests: Some(seen), .. }) = ended else { panic!("{ended:?}") };
        assert_eq!(seen.nodes, nodes);
        assert!(told.is_empty(), "a look every other second fills no log");
    }
}
