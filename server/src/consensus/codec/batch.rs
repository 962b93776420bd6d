//! The bytes of the commands of one entry.

use std::sync::Arc;

use muster_state::Stamp;
use serde::{Deserialize, Serialize};

use super::{Error, from_json, place, to_json};
use crate::consensus::machine::Machine;
use crate::consensus::parcel::{Heading, Origin, Parcel};
use crate::consensus::types::{Batch, Part};

/// A command whose JSON was rendered when it was proposed, so that its size is known and nothing is rendered twice.
pub struct Rendered<M: Machine> {
    command: M::Command,
    json: String,
}

impl<M: Machine> Rendered<M> {
    /// Renders the command.
    ///
    /// # Errors
    /// [`Error::Form`] for a command that has no JSON, such as a map with keys that are no strings.
    pub fn new(command: M::Command) -> Result<Self, Error> {
        let json = serde_json::to_string(&command).map_err(|error| Error::form("a command", place(&error)))?;
        Ok(Self { command, json })
    }

    /// Bytes it will add to a batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.json.len() + 1
    }
}

/// Puts commands into one parcel.
#[must_use]
pub fn pack<M: Machine>(origin: Origin, rendered: Vec<Rendered<M>>) -> Parcel<M> {
    let mut json = String::with_capacity(rendered.iter().map(Rendered::bytes).sum());
    for (at, one) in rendered.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        json.push_str(&one.json);
    }
    Parcel { origin, commands: rendered.into_iter().map(|one| one.command).collect(), json: json.into() }
}

/// Puts parcels into one batch.
#[must_use]
pub fn batch<M: Machine>(stamp: Stamp, parcels: &[(Option<u64>, Parcel<M>)]) -> Batch<M> {
    let bytes: usize = parcels.iter().map(|(_, parcel)| parcel.bytes() + 1).sum();
    let mut json = String::with_capacity(bytes + parcels.len() * 128 + 64);
    json.push_str(&format!("{{\"now_ms\":{},\"commands\":[", stamp.now_ms));
    for (at, (_, parcel)) in parcels.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        json.push_str(&parcel.json);
    }
    json.push(']');
    if !parcels.is_empty() {
        let headings = parcels.iter().map(|(fence, parcel)| HeadingForm::new(*fence, parcel)).collect::<Vec<_>>();
        json.push_str(",\"parcels\":");
        json.push_str(&to_json(&headings));
    }
    json.push('}');
    let part = |(fence, parcel): &(Option<u64>, Parcel<M>)| Part {
        heading: Some(Heading { origin: parcel.origin, fence: *fence }),
        commands: parcel.commands.clone(),
    };
    Batch::from_parts(stamp, parcels.iter().map(part).collect(), json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchForm<C> {
    now_ms: u64,
    commands: Vec<C>,
    parcels: Option<Vec<HeadingForm>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadingForm {
    server: u64,
    generation: u64,
    sequence: u64,
    floor: u64,
    commands: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fence: Option<u64>,
}

impl HeadingForm {
    fn new<M: Machine>(fence: Option<u64>, parcel: &Parcel<M>) -> Self {
        let Origin { server, generation, sequence, floor } = parcel.origin;
        Self { server, generation, sequence, floor, commands: parcel.commands.len(), fence }
    }

    fn heading(&self) -> Heading {
        let Self { server, generation, sequence, floor, fence, .. } = *self;
        Heading { origin: Origin { server, generation, sequence, floor }, fence }
    }
}

/// Reads a batch.
///
/// # Errors
/// [`Error::Form`], also for a command this program does not know.
pub fn parse_batch<M: Machine>(json: &str) -> Result<Batch<M>, Error> {
    let what = "a batch of commands";
    let form: BatchForm<M::Command> = from_json(what, json.as_bytes())?;
    let stamp = Stamp { now_ms: form.now_ms };
    let Some(headings) = form.parcels else {
        let all = Part { heading: None, commands: form.commands.into() };
        return Ok(Batch::from_parts(stamp, [all].into(), json.to_owned()));
    };
    let counted = headings.iter().try_fold(0_usize, |sum, heading| sum.checked_add(heading.commands));
    if counted != Some(form.commands.len()) {
        return Err(Error::form(what, "its parcels do not hold its commands"));
    }
    let mut commands = form.commands.into_iter();
    let part = |form: &HeadingForm| Part {
        heading: Some(form.heading()),
        commands: commands.by_ref().take(form.commands).collect(),
    };
    let parts: Arc<[Part<M>]> = headings.iter().map(part).collect();
    Ok(Batch::from_parts(stamp, parts, json.to_owned()))
}
