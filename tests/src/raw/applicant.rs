//! A machine that wants in, step by step.

use anyhow::{Context as _, Result, bail};
use muster_proto::enrolment::v1::enrol_request::Message as Said;
use muster_proto::enrolment::v1::enrol_response::Message as Heard;
use muster_proto::enrolment::v1::enrolment_service_client::EnrolmentServiceClient;
use muster_proto::enrolment::v1::{Challenge, EnrolRequest, EnrolResponse, Facts, Hello, Proof, Statement};
use muster_proto::enrolment::v1::{Issued, Pending, Refused};
use muster_trust::sealing::SealingPrivateKey;
use muster_trust::{Pin, statement};
use prost::Message as _;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Certified, Listener, connect, soon};
use crate::Server;

/// The keys and the hardware of a machine that is no program of ours.
pub struct Applicant {
    /// Its identity key.
    pub key: KeyPair,
    /// Its sealing key.
    pub sealing: SealingPrivateKey,
    /// What it claims.
    pub facts: Facts,
}

/// What a fleet answers to a proof.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// An operator decides.
    Pending(Pending),
    /// It is in.
    Issued(Issued),
    /// It is not.
    Refused(Refused),
}

impl Answer {
    /// The word of a refusal; the answer in words otherwise.
    pub fn word(&self) -> &str {
        match self {
            Answer::Pending(_) => "(pending)",
            Answer::Issued(_) => "(issued)",
            Answer::Refused(refused) => &refused.reason,
        }
    }
}

impl Applicant {
    /// New keys, and hardware invented from `name`.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn new(name: &str) -> Result<Self> {
        let invented = muster_agent::Facts::invented(name);
        let facts = Facts {
            uuid: invented.uuid,
            serial: invented.serial,
            product: invented.product,
            macs: invented.macs,
            hostname: invented.hostname,
            addresses: invented.addresses,
            ..Facts::default()
        };
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { key, sealing: SealingPrivateKey::generate()?, facts })
    }

    /// SHA-256 of its identity key's SPKI.
    pub fn fingerprint(&self) -> String {
        Pin::of_spki(&self.key.subject_public_key_info()).to_string()
    }

    /// A request that names nobody, as agents make it.
    ///
    /// # Errors
    /// If signing fails.
    pub fn request(&self) -> Result<Vec<u8>> {
        self.request_with(|_| ())
    }

    /// A request that asks for more.
    ///
    /// # Errors
    /// If signing fails.
    pub fn request_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Result<Vec<u8>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        change(&mut params);
        Ok(params.serialize_request(&self.key)?.der().to_vec())
    }

    /// An honest answer to a challenge.
    ///
    /// # Errors
    /// If signing fails.
    pub fn proof(&self, challenge: &Challenge, token: &str) -> Result<Proof> {
        self.proof_for(challenge, self.request()?, token)
    }

    /// An honest answer with another request in it.
    ///
    /// # Errors
    /// If signing fails.
    pub fn proof_for(&self, challenge: &Challenge, csr_der: Vec<u8>, token: &str) -> Result<Proof> {
        let statement = Statement {
            nonce: challenge.nonce.clone(),
            fleet: challenge.fleet.clone(),
            csr_der,
            sealing_public_key: self.sealing.public().as_bytes().to_vec(),
            facts: Some(self.facts.clone()),
        }
        .encode_to_vec();
        let signature = statement::sign(self.key.serialized_der(), &statement)?;
        Ok(Proof { statement, signature, token: token.to_owned() })
    }

    /// Enrols honestly and gives the first answer.
    ///
    /// # Errors
    /// If the conversation breaks.
    pub async fn enrol(&self, server: &Server, token: &str) -> Result<Answer> {
        let mut conversation = Conversation::open(server).await?;
        let proof = self.proof(&conversation.challenge, token)?;
        conversation.prove(proof).await
    }

    /// Enrols with a token that admits it.
    ///
    /// # Errors
    /// If it is not admitted.
    pub async fn admitted(&self, server: &Server, token: &str) -> Result<Certified> {
        match self.enrol(server, token).await? {
            Answer::Issued(issued) => Ok(Certified::new(&self.key, &issued)),
            other => bail!("not admitted: {other:?}"),
        }
    }
}

/// A conversation in which the challenge was heard.
pub struct Conversation {
    /// What must be signed.
    pub challenge: Challenge,
    say: mpsc::Sender<EnrolRequest>,
    heard: Streaming<EnrolResponse>,
}

impl Conversation {
    /// Says hello and hears the challenge.
    ///
    /// # Errors
    /// If the server is not reached or says something else.
    pub async fn open(server: &Server) -> Result<Self> {
        let channel = connect(server, Listener::Enrolment, None).await?;
        let (say, said) = mpsc::channel(2);
        let hello = Hello { agent_version: "0.0.0".to_owned(), protocol: 1 };
        say.send(EnrolRequest { message: Some(Said::Hello(hello)) }).await?;
        let mut client = EnrolmentServiceClient::new(channel);
        let mut heard = soon("an enrolment", client.enrol(ReceiverStream::new(said))).await??.into_inner();
        match soon("a challenge", heard.message()).await??.and_then(|answer| answer.message) {
            Some(Heard::Challenge(challenge)) => Ok(Self { challenge, say, heard }),
            other => bail!("no challenge: {other:?}"),
        }
    }

    /// Sends a proof and hears the first answer.
    ///
    /// # Errors
    /// If the stream breaks.
    pub async fn prove(&mut self, proof: Proof) -> Result<Answer> {
        self.say.send(EnrolRequest { message: Some(Said::Proof(proof)) }).await?;
        self.next().await
    }

    /// The next answer.
    ///
    /// # Errors
    /// If the stream ends or breaks.
    pub async fn next(&mut self) -> Result<Answer> {
        let answer = soon("an answer to a proof", self.heard.message()).await??;
        match answer.and_then(|answer| answer.message).context("the stream ended")? {
            Heard::Pending(pending) => Ok(Answer::Pending(pending)),
            Heard::Issued(issued) => Ok(Answer::Issued(issued)),
            Heard::Refused(refused) => Ok(Answer::Refused(refused)),
            Heard::Challenge(_) => bail!("a second challenge"),
        }
    }
}
