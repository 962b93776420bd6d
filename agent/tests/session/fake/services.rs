//! What a scripted server answers.

use std::pin::Pin;
use std::sync::Arc;

use muster_proto::enrolment::v1 as enrolment;
use muster_proto::enrolment::v1::enrol_request::Message as Said;
use muster_proto::enrolment::v1::enrol_response::Message as Answer;
use muster_proto::enrolment::v1::enrolment_service_server::EnrolmentService;
use muster_proto::join::v1 as join;
use muster_proto::join::v1::agent_message::Message as Told;
use muster_proto::join::v1::join_service_server::JoinService;
use muster_proto::join::v1::server_message::Message as Tell;
use muster_trust::sealing::{SealingPublicKey, seal_to};
use muster_trust::statement;
use prost::Message;
use rcgen::{CertificateSigningRequestParams, PublicKeyData};
use rustls_pki_types::CertificateSigningRequestDer;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::pki::FLEET;
use super::tls::Caller;
use super::{Known, SECRET, Shared, World};

const NONCE: [u8; 32] = [7; 32];

#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
}

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl EnrolmentService for Service {
    type EnrolStream = Replies<enrolment::EnrolResponse>;

    async fn enrol(
        &self,
        request: Request<Streaming<enrolment::EnrolRequest>>,
    ) -> Result<Response<Self::EnrolStream>, Status> {
        let (say, said) = mpsc::channel(8);
        let (service, mut heard) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let conversation = service.converse(&mut heard, &say);
            tokio::select! {
                end = conversation => if let Err(status) = end { drop(say.send(Err(status)).await) },
                () = service.stop.cancelled() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }

    type JoinServerStream = Replies<enrolment::JoinServerResponse>;

    async fn join_server(
        &self,
        _: Request<Streaming<enrolment::EnrolRequest>>,
    ) -> Result<Response<Self::JoinServerStream>, Status> {
        Err(Status::unimplemented("an agent is no server"))
    }
}

type Say = mpsc::Sender<Result<enrolment::EnrolResponse, Status>>;

impl Service {
    async fn converse(&self, heard: &mut Streaming<enrolment::EnrolRequest>, say: &Say) -> Result<(), Status> {
        let answer = async |message| {
            say.send(Ok(enrolment::EnrolResponse { message: Some(message) })).await.map_err(|_| Status::cancelled(""))
        };
        let hello = heard.message().await?.and_then(|request| request.message);
        let Some(Said::Hello(_)) = hello else { return Err(Status::invalid_argument("no hello")) };
        answer(Answer::Challenge(enrolment::Challenge { nonce: NONCE.to_vec(), fleet: FLEET.to_owned() })).await?;
        let proof = heard.message().await?.and_then(|request| request.message);
        let Some(Said::Proof(proof)) = proof else { return Err(Status::invalid_argument("no proof")) };
        let (statement, spki) = check(&proof)?;
        let token = self.shared.change(|world| {
            world.tokens_seen += usize::from(!proof.token.is_empty());
            world.token.clone()
        });
        if token.is_some_and(|token| token != proof.token) {
            let refused = enrolment::Refused {
                reason: "TokenUnknown".to_owned(),
                message: "this fleet never made that token".to_owned(),
                retryable: false,
            };
            return answer(Answer::Refused(refused)).await;
        }
        let key_fingerprint = muster_trust::Pin::of_spki(&spki).to_string();
        let node_id = format!("node-{}", &key_fingerprint[7..15]);
        let mut changed = self.shared.changed.subscribe();
        while !self.shared.lock().approved {
            let pending = enrolment::Pending {
                node_id: node_id.clone(),
                key_fingerprint: key_fingerprint.clone(),
                message: "muster node approve".to_owned(),
            };
            answer(Answer::Pending(pending)).await?;
            drop(changed.changed().await);
        }
        answer(Answer::Issued(self.issue(&statement, &node_id))).await
    }

    fn issue(&self, statement: &enrolment::Statement, node_id: &str) -> enrolment::Issued {
        let (age, stranger) = {
            let world = self.shared.lock();
            (world.certificate_age, world.stranger)
        };
        let (certificate_chain, fingerprint) = self.shared.pki.issue(&statement.csr_der, node_id, age, stranger);
        let facts = statement.facts.clone().unwrap_or_default();
        self.shared.change(|world| {
            let node = world.nodes.entry(node_id.to_owned()).or_insert_with(|| Known {
                fingerprint: String::new(),
                sealing: SealingPublicKey::from_bytes(&statement.sealing_public_key).unwrap(),
                hostname: facts.hostname,
                generation: 0,
                attached: 0,
                preflights: Vec::new(),
            });
            node.generation += 1;
            node.fingerprint = fingerprint;
            enrolment::Issued {
                node_id: node_id.to_owned(),
                fleet: FLEET.to_owned(),
                certificate_chain,
                fleet_root: self.shared.pki.root(),
                node_urls: world.urls.clone(),
                generation: node.generation,
            }
        })
    }
}

/// As a real server would: the statement answers the challenge and is signed with the key of the request.
fn check(proof: &enrolment::Proof) -> Result<(enrolment::Statement, Vec<u8>), Status> {
    let read =
        enrolment::Statement::decode(proof.statement.as_slice()).map_err(|_| Status::invalid_argument("statement"))?;
    let csr = CertificateSigningRequestDer::from(read.csr_der.clone());
    let csr = CertificateSigningRequestParams::from_der(&csr).map_err(|_| Status::invalid_argument("csr"))?;
    let spki = csr.public_key.subject_public_key_info();
    statement::verify(&spki, &proof.statement, &proof.signature).map_err(|_| Status::invalid_argument("signature"))?;
    if read.nonce != NONCE || read.fleet != FLEET {
        return Err(Status::invalid_argument("nonce"));
    }
    Ok((read, spki))
}

#[tonic::async_trait]
impl JoinService for Service {
    type AttachStream = Replies<join::ServerMessage>;

    async fn attach(
        &self,
        request: Request<Streaming<join::AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let node = self.caller(&request)?;
        let (say, said) = mpsc::channel(64);
        let (service, mut heard) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            tokio::select! {
                // What ends here is seen by the agent as a closed stream.
                end = service.attached(&node, &mut heard, &say) => drop(end),
                () = service.stop.cancelled() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }

    async fn renew(&self, request: Request<join::RenewRequest>) -> Result<Response<join::RenewResponse>, Status> {
        let id = self.caller(&request)?;
        let age = (std::time::Duration::ZERO, std::time::Duration::from_secs(3600));
        let (certificate_chain, fingerprint) = self.shared.pki.issue(&request.get_ref().csr_der, &id, age, false);
        let generation = self.shared.change(|world| {
            let node = world.nodes.get_mut(&id).ok_or_else(|| Status::not_found("node"))?;
            if node.generation != request.get_ref().generation {
                return Err(Status::failed_precondition("generation"));
            }
            node.generation += 1;
            node.fingerprint = fingerprint;
            Ok(node.generation)
        })?;
        Ok(Response::new(join::RenewResponse { certificate_chain, generation }))
    }
}

type Speak = mpsc::Sender<Result<join::ServerMessage, Status>>;

async fn speak(say: &Speak, message: Tell) -> Result<(), Status> {
    say.send(Ok(join::ServerMessage { message: Some(message) })).await.map_err(|_| Status::cancelled(""))
}

impl Service {
    fn caller<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let caller = request.extensions().get::<Caller>().and_then(|caller| caller.0.clone());
        let peer = caller.ok_or_else(|| Status::unauthenticated("no certificate"))?;
        Ok(peer.spiffe.id().to_owned())
    }

    async fn attached(&self, id: &str, heard: &mut Streaming<join::AgentMessage>, say: &Speak) -> Result<(), Status> {
        let hello = heard.message().await?.and_then(|message| message.message);
        let Some(Told::Hello(hello)) = hello else { return Err(Status::invalid_argument("no hello")) };
        let node_urls = self.shared.change(|world| {
            let node = world.nodes.get_mut(id).expect("it has a certificate");
            node.attached += 1;
            node.preflights.extend(hello.preflight);
            world.urls.clone()
        });
        speak(say, Tell::Welcome(join::Welcome { server_unix_ms: 0, node_urls })).await?;
        let mut changed = self.shared.changed.subscribe();
        changed.mark_changed();
        loop {
            tokio::select! {
                message = heard.message() => {
                    let Some(message) = message? else { return Ok(()) };
                    self.take(id, message, say).await?;
                }
                revision = changed.changed() => {
                    revision.map_err(|_| Status::cancelled(""))?;
                    let revision = *changed.borrow_and_update();
                    let instruction = instruction(&self.shared.lock(), id, revision);
                    speak(say, Tell::Instruction(instruction)).await?;
                }
            }
        }
    }

    async fn take(&self, id: &str, message: join::AgentMessage, say: &Speak) -> Result<(), Status> {
        match message.message {
            Some(Told::Report(report)) => {
                let sequence = report.sequence;
                let forget = self.shared.change(|world| record(world, id, report));
                if forget {
                    return Err(Status::unavailable("lost"));
                }
                speak(say, Tell::Ack(join::ReportAck { sequence })).await
            }
            Some(Told::Log(log)) => {
                self.shared.change(|world| world.lines.extend(log.lines));
                Ok(())
            }
            Some(Told::Preflight(report)) => {
                self.shared.change(|world| world.nodes.get_mut(id).expect("attached").preflights.push(report));
                Ok(())
            }
            Some(Told::Hello(_)) | None => Err(Status::invalid_argument("a second hello")),
        }
    }
}

/// Records a report; `true`: and forgets to say so.
fn record(world: &mut World, id: &str, report: join::Report) -> bool {
    let end = matches!(report.outcome(), join::Outcome::Succeeded | join::Outcome::Failed);
    if report.outcome() == join::Outcome::Succeeded {
        world.recorded.insert((id.to_owned(), report.attempt, report.step.clone()));
    }
    world.reports.push((id.to_owned(), report));
    let forget = end && world.forgotten_acks > 0;
    world.forgotten_acks -= u32::from(forget);
    forget
}

fn instruction(world: &World, id: &str, revision: u64) -> join::Instruction {
    let done = |step: &str| world.recorded.contains(&(id.to_owned(), world.attempt, step.to_owned()));
    let step = |(name, verb, open): &(&'static str, join::Verb, bool)| join::Step {
        id: (*name).to_owned(),
        verb: *verb as i32,
        open: *open,
        done: done(name),
        payload: (*open && *verb != join::Verb::WaitReady).then(|| seal(world, id, name)),
        errand: name.starts_with("errand"),
        ..join::Step::default()
    };
    let steps: Vec<join::Step> = world.steps.iter().map(step).collect();
    join::Instruction {
        revision,
        attempt: world.attempt,
        node_name: world.nodes[id].hostname.clone(),
        cluster: "prod".to_owned(),
        phase: "Joining".to_owned(),
        message: "scripted".to_owned(),
        hold: world.hold,
        complete: !steps.is_empty() && steps.iter().all(|step| step.done),
        steps,
        kubernetes_version: "v1.35.1".to_owned(),
    }
}

fn seal(world: &World, id: &str, step: &str) -> join::Sealed {
    let file = join::File {
        path: "/etc/muster/kubeadm.yaml".to_owned(),
        mode: 0o600,
        content: SECRET.as_bytes().to_vec(),
        transient: true,
    };
    let payload = join::StepPayload {
        files: vec![file],
        config_path: "/etc/muster/kubeadm.yaml".to_owned(),
        scrub: vec![SECRET.to_owned()],
        ..join::StepPayload::default()
    };
    let context = join::SealContext {
        fleet: FLEET.to_owned(),
        node_id: id.to_owned(),
        attempt: world.attempt,
        step: step.to_owned(),
    };
    let sealed = seal_to(&world.nodes[id].sealing, &context.encode_to_vec(), &payload.encode_to_vec()).unwrap();
    join::Sealed { enc: sealed.enc, ciphertext: sealed.ciphertext }
}
