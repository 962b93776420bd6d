//! `muster server approve`: a server is let in by the fingerprint that was compared, not by what it says of itself.

use muster_proto::admin::v1::{ApproveServerRequest, Server};

use super::changed;
use crate::cli::args::ApproveServerArgs;
use crate::cli::client::{Session, request_id};
use crate::cli::command::compare;
use crate::cli::console::Console;
use crate::cli::exit::Failure;
use crate::cli::show;

pub(super) async fn run(args: &ApproveServerArgs, session: &Session, console: &mut Console) -> Result<(), Failure> {
    let server = session.a_server(args.id).await?;
    compare(args, &server, console)?;
    let request = ApproveServerRequest {
        request_id: request_id(),
        server: server.id,
        key_fingerprint: server.key_fingerprint.clone(),
    };
    let after = session.call(async |mut client| client.approve_server(request.clone()).await).await?;
    changed(&after, "approved", console)?;
    console.next(&format!("muster serve on its machine; then, if it is to vote: muster server promote {}", server.id));
    Ok(())
}

/// Lets the operator compare the fingerprint, or compares it with the one that was typed.
fn compare(args: &ApproveServerArgs, server: &Server, console: &mut Console) -> Result<(), Failure> {
    if let Some(typed) = &args.fingerprint {
        let next =
            format!("find out which machine this is; if it is none of yours: muster server remove {}", server.id);
        return compare::fingerprints(typed, &server.key_fingerprint, "server", next);
    }
    if !args.yes {
        let mut fields = show::Fields::default();
        fields
            .add("Server", server.id.to_string())
            .add("Key fingerprint", server.key_fingerprint.clone())
            .add("Address", server.address.clone())
            .add("Asked from", server.requested_from.clone())
            .add("Version", server.version.clone());
        console.warn(fields.render().trim_end());
    }
    console.confirm("Does the server's own console show exactly this key fingerprint?", args.yes)
}
