//! What certificates, statements and connections prove, asked by clients that do not keep to the rules.

use anyhow::{Context as _, Result, bail};
use muster_proto::join::v1::{Outcome as StepOutcome, Report};
use muster_tests::raw::{
    Answer, Applicant, Attached, Certified, Conversation, Listener, Outcome, call, connect, operator, rpcs, words_of,
};
use muster_tests::{ClusterFile, SOON, Server, eventually_async};
use rcgen::{CustomExtension, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use tonic::Code;

/// A server with cluster `prod`: workers by token, one control plane bound by name.
fn prod() -> Result<Server> {
    let server = Server::founded()?;
    ClusterFile::new("prod")
        .pool("cp", "control-plane", "bound", &["cp-1"])
        .pool("worker", "worker", "token", &[])
        .apply(&server)?;
    Ok(server)
}

fn token(server: &Server, args: &[&str]) -> Result<String> {
    let made = server.json(&[&["token", "create", "--cluster", "prod"], args].concat())?;
    made["token"].as_str().map(str::to_owned).context("no token was printed")
}

async fn worker(server: &Server, name: &str) -> Result<(Applicant, Certified)> {
    let machine = Applicant::new(name)?;
    let certified = machine.admitted(server, &token(server, &["--pool", "worker"])?).await?;
    Ok((machine, certified))
}

/// The status of a refusal.
fn status_of<T>(attempt: Result<T>) -> Result<tonic::Status> {
    match attempt {
        Ok(_) => bail!("it was let in"),
        Err(error) => match error.downcast::<tonic::Status>() {
            Ok(status) => Ok(status),
            Err(error) => bail!("no status: {error:#}"),
        },
    }
}

#[tokio::test]
async fn a_request_that_asks_for_more_than_the_nodes_identity_is_refused_and_costs_no_token() -> Result<()> {
    let server = prod()?;
    let token = token(&server, &["--pool", "worker"])?;
    let machine = Applicant::new("greedy")?;
    let ca = || {
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x03, 0x01, 0x01, 0xff]);
        extension.set_criticality(true);
        extension
    };
    let uri = |text: &str| Ok::<_, rcgen::Error>(SanType::URI(text.try_into()?));
    let server_uri = uri("spiffe://fleet/server/1")?;
    let requests = [
        (
            "a DNS name",
            machine.request_with(|params| {
                params.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())]
            })?,
        ),
        (
            "an address",
            machine
                .request_with(|params| params.subject_alt_names = vec![SanType::IpAddress([192, 0, 2, 1].into())])?,
        ),
        ("a server's identity", machine.request_with(|params| params.subject_alt_names = vec![server_uri])?),
        ("another name", machine.request_with(|params| params.distinguished_name.push(DnType::CommonName, "cp-1"))?),
        (
            "a group",
            machine
                .request_with(|params| params.distinguished_name.push(DnType::OrganizationName, "system:masters"))?,
        ),
        (
            "server authentication",
            machine.request_with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])?,
        ),
        ("a certificate authority", machine.request_with(|params| params.custom_extensions = vec![ca()])?),
        ("no request at all", b"nonsense".to_vec()),
    ];
    for (what, request) in requests {
        let mut conversation = Conversation::open(&server).await?;
        let proof = machine.proof_for(&conversation.challenge, request, &token)?;
        let answer = conversation.prove(proof).await?;
        assert_eq!(answer.word(), "BadCertificateRequest", "{what}: {answer:?}");
    }
    // An RSA key or a key of another curve is none of ours.
    let other_curve =
        Applicant { key: KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)?, ..Applicant::new("p384")? };
    let mut conversation = Conversation::open(&server).await?;
    let mut proof = machine.proof_for(&conversation.challenge, other_curve.request()?, &token)?;
    proof.signature = vec![0; 96];
    assert_eq!(conversation.prove(proof).await?.word(), "BadCertificateRequest");

    assert!(server.nodes()?.is_empty(), "a refused request left a node behind");
    let certified = machine.admitted(&server, &token).await?;
    assert_eq!(certified.generation, 1);
    Ok(())
}

#[tokio::test]
async fn a_statement_counts_on_its_own_stream_and_under_its_own_key_alone() -> Result<()> {
    let server = prod()?;
    let token = token(&server, &["--pool", "worker", "--uses", "9"])?;
    let (machine, thief) = (Applicant::new("honest")?, Applicant::new("thief")?);

    // Signed for one stream, sent on another.
    let recorded = Conversation::open(&server).await?;
    let proof = machine.proof(&recorded.challenge, &token)?;
    let mut other = Conversation::open(&server).await?;
    assert_ne!(recorded.challenge.nonce, other.challenge.nonce);
    assert_eq!(other.prove(proof.clone()).await?.word(), "BadStatement");

    // The thief's signature under the machine's request, and the machine's under the thief's.
    let mut conversation = Conversation::open(&server).await?;
    let mixed = thief.proof_for(&conversation.challenge, machine.request()?, &token)?;
    assert_eq!(conversation.prove(mixed).await?.word(), "BadStatement");

    // For another fleet.
    let mut conversation = Conversation::open(&server).await?;
    let mut challenge = conversation.challenge.clone();
    challenge.fleet = "another".to_owned();
    let elsewhere = machine.proof(&challenge, &token)?;
    assert_eq!(conversation.prove(elsewhere).await?.word(), "BadStatement");

    // A byte changed after signing.
    let mut conversation = Conversation::open(&server).await?;
    let mut bent = machine.proof(&conversation.challenge, &token)?;
    let last = bent.statement.len() - 1;
    bent.statement[last] ^= 1;
    assert_eq!(conversation.prove(bent).await?.word(), "BadStatement");

    assert!(server.nodes()?.is_empty(), "one of them left a node behind");
    // The recorded one is good on the stream it was made for, once.
    let mut recorded = recorded;
    assert!(matches!(recorded.prove(proof.clone()).await?, Answer::Issued(_)));
    let mut replay = Conversation::open(&server).await?;
    assert_eq!(replay.prove(proof).await?.word(), "BadStatement");
    assert_eq!(server.nodes()?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn the_same_key_gets_the_same_certificate_until_it_is_used_and_nothing_after() -> Result<()> {
    let server = prod()?;
    let token = token(&server, &["--pool", "worker"])?;
    let machine = Applicant::new("repeats")?;
    let first = machine.admitted(&server, &token).await?;
    let again = machine.admitted(&server, &token).await?;
    assert_eq!((first.chain.clone(), first.node_id.clone()), (again.chain, again.node_id));
    // The key is what counts, not the token: it was used up by this very node.
    assert_eq!(machine.admitted(&server, "").await?.chain, first.chain);
    let mut attached = Attached::open(&server, &first, &machine).await?;
    attached.instruction().await?;
    for token in [token.as_str(), ""] {
        assert_eq!(machine.enrol(&server, token).await?.word(), "AlreadyEnrolled");
    }
    Ok(())
}

#[tokio::test]
async fn every_rpc_is_served_to_its_role_on_its_listener_and_to_nobody_else() -> Result<()> {
    let (server, foreign) = (prod()?, prod()?);
    let (_, node) = worker(&server, "a-node").await?;
    let (_, foreign_node) = worker(&foreign, "a-node").await?;
    let operators = || operator(&server);
    let callers = [
        ("nobody", None),
        ("a node", Some(node.tls())),
        ("an operator", Some(operators()?)),
        ("a node of another fleet", Some(foreign_node.tls())),
        ("an operator of another fleet", Some(operator(&foreign)?)),
    ];
    let rpcs = rpcs()?;
    assert!(rpcs.len() > 20, "{rpcs:?}");
    let mut served = 0;
    for (who, identity) in &callers {
        for listener in Listener::ALL {
            for path in &rpcs {
                let identity = identity
                    .as_ref()
                    .map(|tls| muster_trust::TlsIdentity { chain: tls.chain.clone(), key: tls.key.clone_key() });
                let outcome = match connect(&server, listener, identity).await {
                    Ok(channel) => call(channel, path).await?,
                    Err(error) => Outcome::NotLetIn(words_of(&error)),
                };
                let let_in = match listener {
                    Listener::Enrolment => true,
                    Listener::Nodes => *who == "a node",
                    Listener::Operators => *who == "an operator",
                };
                let home = match path.split('/').nth(1) {
                    Some("muster.enrolment.v1.EnrolmentService") => Some(Listener::Enrolment),
                    Some("muster.join.v1.JoinService") => Some(Listener::Nodes),
                    Some("muster.admin.v1.AdminService") => Some(Listener::Operators),
                    // For servers alone, and none calls here.
                    Some("muster.internal.raft.v1.PeerService") => None,
                    other => bail!("who may call {other:?}?"),
                };
                let fits = match outcome {
                    Outcome::NotLetIn(_) => !let_in,
                    Outcome::NotServedHere => let_in && Some(listener) != home,
                    Outcome::Served(_) => let_in && Some(listener) == home,
                };
                assert!(fits, "{who} at {listener:?} calls {path}: {outcome:?}");
                served += usize::from(matches!(outcome, Outcome::Served(_)));
            }
        }
    }
    // The enrolment listener asks nobody for a certificate: there all five are nobody.
    let enrolments = rpcs.iter().filter(|path| path.contains("Enrolment")).count();
    let peers = rpcs.iter().filter(|path| path.contains("PeerService")).count();
    assert_eq!(served, rpcs.len() - peers - enrolments + callers.len() * enrolments);
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_a_locked_or_removed_node_opens_nothing_and_its_open_stream_ends() -> Result<()> {
    let server = prod()?;
    let (machine, node) = worker(&server, "suspect").await?;
    let mut attached = Attached::open(&server, &node, &machine).await?;
    attached.instruction().await?;

    server.done(&["node", "lock", &node.node_id, "--reason", "under suspicion"])?;
    let held = eventually_async("a held instruction", SOON, async || {
        let instruction = attached.instruction().await.map_err(|error| format!("{error:#}"))?;
        if instruction.hold { Ok(instruction) } else { Err(instruction.phase) }
    });
    let held = held.await?;
    assert!(held.steps.iter().all(|step| step.payload.is_none()), "{held:?}");
    let status = status_of(Attached::open(&server, &node, &machine).await)?;
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert!(status.message().contains("under suspicion"), "{status:?}");
    let renewal = node.renew(&server, &Applicant::new("next")?).await?;
    assert_eq!(renewal.err().map(|status| status.code()), Some(Code::PermissionDenied));

    server.done(&["node", "unlock", &node.node_id])?;
    let mut attached = Attached::open(&server, &node, &machine).await?;
    attached.instruction().await?;
    server.done(&["node", "remove", &node.node_id, "--yes"])?;
    let status = attached.end().await?;
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    let status = status_of(Attached::open(&server, &node, &machine).await)?;
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    let renewal = node.renew(&server, &Applicant::new("next")?).await?;
    assert_eq!(renewal.err().map(|status| status.code()), Some(Code::PermissionDenied));
    Ok(())
}

#[tokio::test]
async fn one_node_cannot_report_for_another() -> Result<()> {
    let server = Server::founded()?;
    let lines = ClusterFile::new("prod")
        .pool("cp", "control-plane", "bound", &["cp-1"])
        .pool("worker", "worker", "token", &[])
        .apply(&server)?;
    let bound = lines[0].line.split_whitespace().nth(1).context("no token in the line")?;
    let (control_plane, worker_machine) = (Applicant::new("cp-1")?, Applicant::new("meddler")?);
    let cp = control_plane.admitted(&server, bound).await?;
    let meddler = worker_machine.admitted(&server, &token(&server, &["--pool", "worker"])?).await?;
    let mut cp_stream = Attached::open(&server, &cp, &control_plane).await?;
    let opened = eventually_async("an open init step", SOON, async || {
        let instruction = cp_stream.instruction().await.map_err(|error| format!("{error:#}"))?;
        let open = instruction.steps.iter().find(|step| step.id == "init" && step.open);
        open.map(|_| instruction.attempt).ok_or_else(|| format!("{:?}", instruction.phase))
    });
    let attempt = opened.await?;
    let report = |sequence| Report {
        sequence,
        attempt,
        step: "init".to_owned(),
        outcome: StepOutcome::Succeeded.into(),
        ..Report::default()
    };
    let mut stream = Attached::open(&server, &meddler, &worker_machine).await?;
    // It is acknowledged, because sending it again would not change the answer; and it changes nothing.
    stream.report(report(1)).await?;
    let initialised = || -> Result<bool> {
        let list = server.json(&["cluster", "list"])?;
        Ok(list["items"][0]["initialised"].as_bool().unwrap_or_default())
    };
    assert!(!initialised()?, "a worker's word has initialised the cluster");
    // The same report by the node itself does.
    cp_stream.report(report(1)).await?;
    assert!(initialised()?);
    Ok(())
}
