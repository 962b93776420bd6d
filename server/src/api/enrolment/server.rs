//! A server asks to join the fleet's servers, and waits on the same stream until an operator decides.

use muster_proto::enrolment::v1::{
    EnrolRequest, JoinServerResponse, Proof, ServerAdmitted, ServerPending, join_server_response::Message as Answer,
};
use muster_state::{Change, Refusal, record::ServerStanding};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tonic::{Status, Streaming};

use super::{End, PENDING_TIMEOUT, count, prove, refused};
use crate::{
    api::wire::server_statement,
    ledger::ProposeError,
    operations::{
        Unsealed,
        admit_server::{self, AdmitError},
        issue_certificate::IssueError,
    },
};

type Answers = mpsc::Sender<Result<JoinServerResponse, Status>>;

/// Holds the whole conversation.
pub(super) async fn converse(server: Unsealed, from: String, asked: Streaming<EnrolRequest>, answers: Answers) {
    let last = match conversation(&server, &from, asked, &answers).await {
        Ok(admitted) => Ok(answer(Answer::Admitted(admitted))),
        Err(End::Refused(refused)) => {
            tracing::info!(reason = refused.reason, from, "a server's request to join was refused");
            count(&refused.reason);
            Ok(answer(Answer::Refused(refused)))
        }
        Err(End::Broken(status)) => Err(status),
        Err(End::Gone) => return,
    };
    let _ = answers.send(last).await;
}

async fn conversation(
    server: &Unsealed,
    from: &str,
    mut asked: Streaming<EnrolRequest>,
    answers: &Answers,
) -> Result<ServerAdmitted, End> {
    let challenged = |challenge| answer(Answer::Challenge(challenge));
    let (nonce, Proof { statement, signature, token }) = prove(server, &mut asked, answers, challenged).await?;
    let bad = |why| End::Refused(refused("BadStatement", why, false));
    let claims = server_statement::parse(&statement).map_err(bad)?;
    let proof = admit_server::Proof { statement: &statement, claims, signature: &signature, token: &token, from };
    let mut watch = server.ledger.watch();
    let requested = admit_server::request(server, &nonce, proof).await.map_err(|err| match err {
        AdmitError::Bad(word, message) => End::Refused(refused(word, message, false)),
        AdmitError::Propose(error) => error.into(),
    })?;
    let (id, closing) = (requested.server, Instant::now() + PENDING_TIMEOUT);
    while let Some(key_fingerprint) = waits(server, id)? {
        let pending = ServerPending { server_id: id, key_fingerprint };
        answers.send(Ok(answer(Answer::Pending(pending)))).await.map_err(|_| End::Gone)?;
        let concerns = |change: &Change| *change == Change::Server(id);
        tokio::select! {
            () = answers.closed() => return Err(End::Gone),
            () = server.stopping.cancelled() => return Err(End::Broken(Status::unavailable("the server is stopping"))),
            changed = timeout_at(closing, watch.until(concerns)) => match changed {
                Err(_) => return Err(End::Refused(refused("Unavailable", "still pending; come again".into(), true))),
                Ok(Ok(())) => {}
                Ok(Err(_stopped)) => return Err(End::Gone),
            },
        }
    }
    let certificate = admit_server::certificate(server, id).await.map_err(|err| match err {
        IssueError::Propose(error) => error.into(),
        IssueError::Request(message) => End::Refused(refused("BadCertificateRequest", message, false)),
        IssueError::Unavailable(why) => End::Refused(refused("Unavailable", why, true)),
    })?;
    server.ledger.read(|state| {
        let fleet = state.fleet.as_ref().ok_or_else(|| End::Broken(Status::internal("no fleet")))?;
        Ok(server_statement::admitted(state, fleet, id, certificate))
    })
}

/// The fingerprint that an operator is to compare, as long as none has; a removal ends the conversation.
fn waits(server: &Unsealed, id: u64) -> Result<Option<String>, End> {
    let of_state = |refusal: Refusal| End::from(ProposeError::Refused(refusal));
    let record = server.ledger.read(|state| state.server(id).cloned()).map_err(of_state)?;
    match record.standing {
        ServerStanding::Pending => Ok(Some(record.key.to_string())),
        ServerStanding::Learner | ServerStanding::Voter => Ok(None),
        ServerStanding::Removed { .. } => Err(of_state(Refusal::ServerRemoved(id))),
    }
}

fn answer(message: Answer) -> JoinServerResponse {
    JoinServerResponse { message: Some(message) }
}
