use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::operations::restore_fleet::tests::mk_contents;

struct Host {
    home: tempfile::TempDir,
    config: Config,
}

impl Host {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.data_dir = home.path().join("data");
        config.server.listen = std::net::Ipv4Addr::LOCALHOST.into();
        Self { home, config }
    }

    fn data_dir(&self) -> &PathBuf {
        &self.config.server.data_dir
    }
}

#[tokio::test]
async fn a_server_opens_what_was_restored_as_the_first_of_the_new_fleet() {
    let host = Host::new();
    let restored = fill(&host.config, mk_contents()).await.unwrap();
    let consensus = Consensus::<State>::open(Options::new(host.data_dir(), FOUNDER)).await.unwrap();
    consensus.wait_ready(Duration::from_secs(20)).await.unwrap();
    let state = consensus.read(State::clone);
    assert_eq!(state.fleet.as_ref().map(|fleet| &fleet.id), Some(&restored.fleet));
    assert_eq!(state, restored.state);
    consensus.shutdown().await;
    let identity = Identity::read(host.data_dir()).unwrap().expect("an identity");
    assert_eq!(*identity.standing(), Standing::Founder);
    identity.open(seal_key::find(&host.config, false, |_| ()).unwrap()).unwrap();
}

#[tokio::test]
async fn a_directory_that_holds_something_is_left_as_it_is() {
    let host = Host::new();
    std::fs::create_dir(host.data_dir()).unwrap();
    std::fs::write(host.data_dir().join("notes"), "mine").unwrap();
    let error = fill(&host.config, mk_contents()).await.unwrap_err();
    assert!(error.to_string().contains("is not empty") && error.to_string().contains("notes"), "{error}");
    let left: Vec<_> = std::fs::read_dir(host.data_dir()).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert!(!host.home.path().join("data-seal").exists(), "a key was made for nothing");
    std::fs::remove_file(host.data_dir().join("notes")).unwrap();
    std::fs::create_dir(host.data_dir().join(LOST_AND_FOUND)).unwrap();
    fill(&host.config, mk_contents()).await.unwrap();
    assert!(fill(&host.config, mk_contents()).await.is_err(), "twice");
}

#[tokio::test]
async fn a_seal_key_that_is_there_is_used_and_one_for_another_number_is_not() {
    let mut host = Host::new();
    let made = seal_key::find(&host.config, true, |_| ()).map(drop);
    made.unwrap();
    let before = std::fs::read(host.config.seal_path()).unwrap();
    host.config.server.id = NonZeroU64::new(2);
    let error = fill(&host.config, mk_contents()).await.unwrap_err();
    assert!(error.to_string().contains("server.id must be 1"), "{error}");
    host.config.server.id = NonZeroU64::new(1);
    fill(&host.config, mk_contents()).await.unwrap();
    assert_eq!(std::fs::read(host.config.seal_path()).unwrap(), before);
}
