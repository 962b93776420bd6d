use clap::Parser;

use super::super::{Cli, Command};
use super::*;

const PIN_A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PIN_B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn mk_args(line: &str) -> RunArgs {
    let words = ["muster-agent", "run"].into_iter().chain(line.split_whitespace());
    let Command::Run(args) = Cli::try_parse_from(words).unwrap().command else { panic!("not run") };
    *args
}

fn mk_surroundings(environment: &[(&str, &str)], kernel: &str, file: &str) -> Surroundings {
    Surroundings {
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        kernel: KernelArguments::parse(kernel),
        credentials: None,
        file: toml::from_str(file).unwrap(),
    }
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_kernel_and_that_over_the_file() {
    let kernel = format!("muster.server=kernel muster.ca={PIN_B}");
    let file = format!("server = [\"file\"]\nca_hash = \"{PIN_B}\"\n");
    let full = mk_surroundings(&[("server", "env"), ("ca_hash", PIN_A)], &kernel, &file);
    let host =
        |line: &str, around: &Surroundings| settings(&mk_args(line), around).unwrap().servers[0].host().to_owned();
    assert_eq!(host("--server flag", &full), "flag");
    assert_eq!(host("", &full), "env");
    assert_eq!(host("", &mk_surroundings(&[], &kernel, &file)), "kernel");
    assert_eq!(host("", &mk_surroundings(&[], "", &file)), "file");
    assert_eq!(settings(&mk_args(""), &full).unwrap().pin.to_string(), PIN_A);
}

#[test]
fn a_systemd_credential_comes_after_the_kernel_command_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("muster.token"), "from-credential\n").unwrap();
    std::fs::write(dir.path().join("muster.ca"), format!("{PIN_B}\n")).unwrap();
    let mut around = mk_surroundings(&[], "muster.server=a", "");
    around.credentials = Some(dir.path().to_owned());
    let from_credential = settings(&mk_args(""), &around).unwrap();
    assert_eq!(from_credential.token, Token::new("from-credential"));
    assert_eq!(from_credential.pin.to_string(), PIN_B);
    around.kernel = KernelArguments::parse("muster.server=a muster.token=from-kernel");
    assert_eq!(settings(&mk_args(""), &around).unwrap().token, Token::new("from-kernel"));
}

#[test]
fn several_servers_come_from_one_text() {
    let around = mk_surroundings(&[("ca_hash", PIN_A)], "muster.server=10.0.0.5:9443,10.0.0.6:9443", "");
    assert_eq!(settings(&mk_args(""), &around).unwrap().servers.len(), 2);
}

#[test]
fn a_token_as_an_argument_is_refused_with_the_reason() {
    let around = mk_surroundings(&[("ca_hash", PIN_A), ("server", "a")], "", "");
    let error = settings(&mk_args("--token secret-token"), &around).unwrap_err();
    assert!(matches!(error, SettingsError::TokenArgument));
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("--token-file -") && !error.to_string().contains("secret-token"));
}

#[test]
fn a_token_is_read_from_its_file_and_does_not_print() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, " the-token\n").unwrap();
    let around = mk_surroundings(&[("ca_hash", PIN_A), ("server", "a"), ("token", "other")], "", "");
    let line = format!("--token-file {}", path.display());
    let read = settings(&mk_args(&line), &around).unwrap();
    assert_eq!(read.token, Token::new("the-token"));
    assert!(!format!("{read:?}").contains("the-token"));
    std::fs::write(&path, "\n").unwrap();
    assert!(matches!(settings(&mk_args(&line), &around), Err(SettingsError::Token { .. })));
}

#[test]
fn a_token_file_that_is_gone_does_not_stop_a_machine_that_has_enrolled() {
    let dir = tempfile::tempdir().unwrap();
    let around = mk_surroundings(&[("ca_hash", PIN_A), ("server", "a")], "", "");
    let line = format!("--state-dir {} --token-file /does/not/exist", dir.path().display());
    assert!(settings(&mk_args(&line), &around).is_err());
    std::fs::write(dir.path().join("identity.json"), "{}").unwrap();
    assert_eq!(settings(&mk_args(&line), &around).unwrap().token, None);
}

#[test]
fn what_is_missing_or_makes_no_sense_is_told_with_its_exit_code() {
    let good = [("ca_hash", PIN_A), ("server", "a")];
    for (environment, line, code) in [
        (&good[..1], "", 2),
        (&good[1..], "", 2),
        (&good[..], "--role king", 3),
        (&good[..], "--labels rack", 3),
        (&good[..], "--ca-hash sha256:short", 3),
        (&good[..], "--server http://a", 3),
        (&good[..], "--token-file /does/not/exist", 3),
    ] {
        let error = settings(&mk_args(line), &mk_surroundings(environment, "", "")).unwrap_err();
        assert_eq!(error.exit_code(), code, "{line}: {error}");
    }
    assert!(toml::from_str::<FileSettings>("sever = []").is_err());
}

#[test]
fn once_gives_up_after_ten_minutes_and_a_service_never() {
    let around = mk_surroundings(&[("ca_hash", PIN_A), ("server", "a")], "", "");
    let limit = |line: &str| settings(&mk_args(line), &around).unwrap().give_up_after;
    assert_eq!(limit(""), None);
    assert_eq!(limit("--once"), Some(Duration::from_secs(600)));
    assert_eq!(limit("--once --give-up-after 5"), Some(Duration::from_secs(5)));
}
