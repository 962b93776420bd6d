//! What kind of start this is, from what lies in and beside the data directory. Decides and refuses; changes nothing.

use std::num::NonZeroU64;

use anyhow::bail;

use crate::{
    config::Config,
    identity::{
        Identity, Standing,
        marker::{self, Marker},
    },
    storage::directory::DataDirectory,
};

/// The number of a fleet's first server.
const FOUNDER: u64 = 1;

/// How this server starts.
#[derive(Debug)]
pub(super) enum Start {
    /// Nothing is there: it founds a fleet.
    Found,
    /// As the server that it was.
    Resume(Box<Identity>),
}

impl Start {
    /// The server's number.
    pub(super) fn server(&self) -> u64 {
        match self {
            Self::Found => FOUNDER,
            Self::Resume(identity) => identity.membership().map_or(FOUNDER, |membership| membership.server),
        }
    }

    /// Nothing was sealed yet, so a seal key may be made.
    pub(super) const fn is_first(&self) -> bool {
        matches!(self, Self::Found)
    }
}

/// Looks at data directory, marker and settings.
///
/// # Errors
/// If this host must not start as it is; the sentence says what to do.
pub(super) fn look(config: &Config) -> anyhow::Result<Start> {
    let data_dir = &config.server.data_dir;
    let marker = Marker::read(&marker::path(config));
    let start = decide(Identity::read(data_dir)?, DataDirectory::was_used(data_dir), marker, &data_dir.display())?;
    check_id(config.server.id, &start)?;
    Ok(start)
}

fn decide(
    identity: Option<Identity>,
    was_used: bool,
    marker: Option<Marker>,
    data_dir: &dyn std::fmt::Display,
) -> anyhow::Result<Start> {
    match (identity, was_used, marker) {
        (Some(identity), _, _) if *identity.standing() == Standing::Applicant => bail!(
            "{data_dir} holds a request to join a fleet that was not granted yet: run the same `muster server join …` again, and \
             `muster serve` when it has ended well"
        ),
        (Some(identity), true, _) => Ok(Start::Resume(Box::new(identity))),
        (Some(identity), false, marker) => match (identity.standing(), marker) {
            // It has just joined, or founds: its log is still to be made.
            (Standing::Founder, _) | (_, None) => Ok(Start::Resume(Box::new(identity))),
            (_, Some(marker)) => bail!("{data_dir} has an identity but no log any more. {}", gone(&marker)),
        },
        (None, _, Some(marker)) => bail!("{data_dir} has no identity. {}", gone(&marker)),
        (None, true, None) => bail!(
            "{data_dir} has a log but no identity.json: a server that lost its identity must not guess it. Bring the file back, or \
             empty the directory and run `muster server join …` (a fleet of one server: restore a backup)"
        ),
        (None, false, None) => Ok(Start::Found),
    }
}

/// A server that forgot what it acknowledged must not come back under its number.
fn gone(marker: &Marker) -> String {
    let server = marker.server;
    format!(
        "This host was {marker}, and its data is gone. On another server run `muster server remove {server}`; then empty the data \
         directory and run `muster server join …` here, which gives it a new number. If it was the only server, restore a backup"
    )
}

fn check_id(written: Option<NonZeroU64>, start: &Start) -> anyhow::Result<()> {
    let Some(written) = written.map(NonZeroU64::get) else { return Ok(()) };
    match start {
        Start::Found if written != FOUNDER => bail!(
            "server.id is {written}, but the data directory is empty, and the server that founds a fleet is number {FOUNDER}: to add \
             a server to a fleet run `muster server join …` first"
        ),
        start if start.server() != written => bail!(
            "server.id is {written}, but the data directory is that of server {}: was a disk moved? Leave server.id out, or \
             give this host its own data",
            start.server()
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{identity::Membership, seal::SealKey};

    fn mk_identity(standing: Standing) -> Identity {
        let home = tempfile::tempdir().unwrap();
        Identity::create(home.path(), SealKey::from_bytes(&[1; 32]).unwrap(), standing).unwrap().0
    }

    fn mk_member(server: u64) -> Identity {
        let (fleet, intermediates, servers) = ("f".into(), BTreeMap::new(), BTreeMap::new());
        let (root, chain) = (Default::default(), Vec::new());
        mk_identity(Standing::Member(Membership { server, fleet, root, intermediates, chain, servers }))
    }

    fn mk_marker() -> Option<Marker> {
        Some(Marker { server: 3, fleet: "f".into() })
    }

    fn refusal(identity: Option<Identity>, was_used: bool, marker: Option<Marker>) -> String {
        decide(identity, was_used, marker, &"/data").unwrap_err().to_string()
    }

    #[test]
    fn an_empty_directory_founds_and_a_used_one_goes_on() {
        assert!(matches!(decide(None, false, None, &"/data"), Ok(Start::Found)));
        let resumed = decide(Some(mk_member(3)), true, mk_marker(), &"/data").unwrap();
        assert_eq!((resumed.server(), resumed.is_first()), (3, false));
    }

    #[test]
    fn a_start_that_was_cut_off_goes_on() {
        for standing in [true, false] {
            let founder = decide(Some(mk_identity(Standing::Founder)), standing, None, &"/data").unwrap();
            assert_eq!(founder.server(), 1);
        }
        assert!(matches!(decide(Some(mk_member(3)), false, None, &"/data"), Ok(Start::Resume(_))));
    }

    #[test]
    fn a_host_whose_data_is_gone_is_told_how_to_come_back_under_a_new_number() {
        for told in [
            refusal(None, false, mk_marker()),
            refusal(None, true, mk_marker()),
            refusal(Some(mk_member(3)), false, mk_marker()),
        ] {
            assert!(told.contains("server 3 of fleet f") && told.contains("muster server remove 3"), "{told}");
            assert!(told.contains("muster server join"), "{told}");
        }
    }

    #[test]
    fn a_log_without_an_identity_is_nobodys() {
        assert!(refusal(None, true, None).contains("identity.json"));
    }

    #[test]
    fn a_request_to_join_is_no_server_yet() {
        let told = refusal(Some(mk_identity(Standing::Applicant)), false, None);
        assert!(told.contains("muster server join"), "{told}");
    }

    #[test]
    fn a_number_in_the_settings_must_be_the_one_on_disk() {
        let check = |written, start: &Start| check_id(NonZeroU64::new(written), start).map_err(|err| err.to_string());
        assert_eq!(check(0, &Start::Found), Ok(()));
        assert_eq!(check(1, &Start::Found), Ok(()));
        assert!(check(2, &Start::Found).unwrap_err().contains("muster server join"));
        let resumed = Start::Resume(Box::new(mk_member(3)));
        assert_eq!(check(3, &resumed), Ok(()));
        assert!(check(2, &resumed).unwrap_err().contains("that of server 3"));
    }
}
