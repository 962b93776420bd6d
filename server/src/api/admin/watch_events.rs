//! Events as they happen: each once, in order, none left out.

use muster_proto::admin::v1::{Event, ListEventsRequest};
use muster_state::Change;
use tonic::{Request, Status};

use super::{
    Answer,
    call::reading,
    events::{Filter, Page},
    stream::{self, Gone, Reader, Streamed},
};
use crate::operations::Unsealed;

pub(super) fn start(server: &Unsealed, request: Request<ListEventsRequest>) -> Answer<Streamed<Event>> {
    let (filter, after) = Filter::parse(server, reading(request)?)?;
    let feeding = server.clone();
    Ok(stream::start(&server.stopping, move |reader| feed(feeding, filter, after, reader)))
}

async fn feed(server: Unsealed, filter: Filter, mut after: u64, reader: Reader<Event>) -> Result<(), Gone> {
    // Before the first look, so that nothing falls between the look and the watch.
    let mut watch = server.ledger.watch();
    // What is no longer kept when the watch begins was never promised.
    let mut promised = false;
    loop {
        let page = server.ledger.read(|state| Page::of(state, &filter, after));
        if page.is_gap && promised {
            let lost = format!("events after {after} are no longer kept: this reader was too slow; watch again");
            return Err(reader.fail(Status::data_loss(lost)).await);
        }
        for event in page.events {
            reader.send(event).await?;
        }
        (after, promised) = (page.reached, true);
        if page.is_last && watch.until(|change| matches!(change, Change::Event(_))).await.is_err() {
            return Ok(());
        }
    }
}
