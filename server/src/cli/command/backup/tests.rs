use std::path::PathBuf;

use muster_proto::admin::v1::BackupPart;
use muster_trust::sealing::SealingPublicKey;

use super::*;
use crate::backup::archive::tests::mk_archive;
use crate::cli::args::{BackupCommand, Cli, Command, Format};
use crate::cli::client::testing::{Fake, World, mk_session};
use crate::cli::console::testing::{Written, mk_console, mk_terminal};

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn backup(&self) -> PathBuf {
        self.path("fleet.muster")
    }

    /// Everything in the folder.
    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn args(&self, line: &str) -> BackupArgs {
        let line = line.replace("FILE", &self.backup().display().to_string());
        let line = line.replace("KEY", &self.path("key").display().to_string());
        let line = line.replace("WORDS", &self.path("words").display().to_string());
        let cli = <Cli as clap::Parser>::try_parse_from(std::iter::once("muster").chain(line.split(' '))).unwrap();
        let Command::Backup(args) = cli.command else { panic!("{line}") };
        args
    }

    fn write_passphrase(&self, text: &str) {
        std::fs::write(self.path("words"), text).unwrap();
        std::fs::set_permissions(self.path("words"), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    async fn run(&self, line: &str, world: World) -> (Result<Exit, Failure>, Written, Fake) {
        let (session, fake) = mk_session(world).await;
        let (mut console, written) = mk_console(Format::Table);
        (run(&self.args(line), &session, &mut console).await, written, fake)
    }

    fn verify(&self, line: &str) -> (Result<Exit, Failure>, Written) {
        let (mut console, written) = mk_console(Format::Table);
        let Some(BackupCommand::Verify(args)) = self.args(line).command else { panic!("{line}") };
        (verify(&args, &mut console), written)
    }
}

fn parts(public: &[u8]) -> Vec<BackupPart> {
    let archive = mk_archive(&SealingPublicKey::from_bytes(public).unwrap(), 3);
    let header = Part::Header(archive.header().to_vec());
    let chunks = archive.map(|chunk| Part::Chunk(chunk.unwrap()));
    std::iter::once(header).chain(chunks).map(|part| BackupPart { part: Some(part) }).collect()
}

fn parts_cut_short(public: &[u8]) -> Vec<BackupPart> {
    let mut all = parts(public);
    all.pop();
    all
}

fn parts_for_somebody_else(_: &[u8]) -> Vec<BackupPart> {
    parts(SealingPrivateKey::generate().unwrap().public().as_bytes())
}

fn mk_world(backup: fn(&[u8]) -> Vec<BackupPart>) -> World {
    World { backup: Some(backup), ..World::default() }
}

#[tokio::test]
async fn a_backup_is_written_whole_and_private_and_verified_with_its_key() {
    let desk = Desk::new();
    let (outcome, written, fake) = desk.run("backup FILE --key-file KEY", mk_world(parts)).await;
    assert_eq!(outcome, Ok(Exit::Done));
    assert_eq!(fake.world().changes, ["take-backup"]);
    assert_eq!(desk.names(), ["fleet.muster", "key"]);
    assert_eq!(std::fs::metadata(desk.backup()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(written.out().contains("written; fleet fleet at 2026-11-22T00:00:00Z (log entry 42"), "{}", written.out());
    assert!(written.err().contains("without it the backup can't be opened"), "{}", written.err());
    let (outcome, written) = desk.verify("backup verify FILE");
    assert_eq!(outcome, Ok(Exit::Done));
    assert!(written.out().contains("whole, not opened"), "{}", written.out());
    let (outcome, written) = desk.verify("backup verify FILE --key-file KEY");
    assert_eq!(outcome, Ok(Exit::Done));
    assert!(written.out().contains("it opens: 1 clusters, 0 nodes, 5 secrets"), "{}", written.out());
}

#[tokio::test]
async fn a_passphrase_comes_from_a_file_from_standard_input_or_from_whoever_sits_there() {
    let desk = Desk::new();
    desk.write_passphrase("correct horse battery\nsecond line");
    desk.run("backup FILE --passphrase-file WORDS", mk_world(parts)).await.0.unwrap();
    assert_eq!(desk.verify("backup verify FILE --passphrase-file WORDS").0, Ok(Exit::Done));
    desk.write_passphrase("incorrect horse battery");
    let failure = desk.verify("backup verify FILE --passphrase-file WORDS").0.unwrap_err();
    assert_eq!(failure.exit, Exit::Invalid);
    assert!(failure.message.contains("another key file or passphrase"), "{failure}");
    let (mut console, _) = mk_terminal("correct horse battery\n");
    let typed = key::for_one_that_is_there(&BackupKeyArgs::default(), &mut console).unwrap();
    read(&desk.backup()).unwrap().open(&typed).unwrap();
    let (mut console, _) = mk_terminal("correct horse battery");
    let piped = BackupKeyArgs { passphrase_file: Some("-".into()), ..BackupKeyArgs::default() };
    let piped = key::for_one_that_is_there(&piped, &mut console).unwrap();
    read(&desk.backup()).unwrap().open(&piped).unwrap();
}

#[tokio::test]
async fn a_new_passphrase_is_typed_twice_and_long_enough() {
    let refused = |typed: &str| key::for_new(&BackupKeyArgs::default(), &mut mk_terminal(typed).0).unwrap_err();
    assert!(refused("correct horse battery\ncorrect horse batteri\n").message.contains("differ"));
    assert!(refused("short\nshort\n").message.contains("at least 16 characters"));
    assert!(
        key::for_new(&BackupKeyArgs::default(), &mut mk_terminal("correct horse battery\ncorrect horse battery\n").0)
            .is_ok()
    );
    let (mut console, _) = mk_console(Format::Table);
    let failure = key::for_new(&BackupKeyArgs::default(), &mut console).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.next.unwrap().contains("--key-file"));
}

#[tokio::test]
async fn what_is_there_is_never_overwritten() {
    let desk = Desk::new();
    std::fs::write(desk.backup(), "precious").unwrap();
    let (outcome, _, fake) = desk.run("backup FILE --key-file KEY", mk_world(parts)).await;
    assert_eq!(outcome.unwrap_err().exit, Exit::Conflict);
    assert_eq!(fake.world().calls, 0);
    assert_eq!(std::fs::read(desk.backup()).unwrap(), b"precious");
    assert_eq!(desk.names(), ["fleet.muster"], "no key was made for nothing");
}

#[tokio::test]
async fn a_backup_that_did_not_come_whole_leaves_nothing_behind() {
    for broken in [parts_cut_short, parts_for_somebody_else, |_: &[u8]| Vec::new()] {
        let desk = Desk::new();
        let (outcome, _, _) = desk.run("backup FILE --key-file KEY", mk_world(broken)).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.message.starts_with("no backup was made"), "{failure}");
        assert_eq!(desk.names(), ["key"]);
    }
}

#[tokio::test]
async fn damage_truncation_and_what_is_no_backup_are_told_apart() {
    let desk = Desk::new();
    desk.run("backup FILE --key-file KEY", mk_world(parts)).await.0.unwrap();
    let whole = std::fs::read(desk.backup()).unwrap();
    let says = |bytes: &[u8], says: &str| {
        std::fs::write(desk.backup(), bytes).unwrap();
        let failure = desk.verify("backup verify FILE").0.unwrap_err();
        assert_eq!(failure.exit, Exit::Invalid);
        assert!(failure.message.contains(says), "{failure}");
    };
    says(&whole[..whole.len() - 1], "cut off");
    let mut damaged = whole.clone();
    damaged[1000] ^= 1;
    says(&damaged, "damaged");
    says(b"PK\x03\x04 something else", "not a backup");
    std::fs::remove_file(desk.backup()).unwrap();
    assert_eq!(desk.verify("backup verify FILE").0.unwrap_err().exit, Exit::Conflict);
}
