//! What is printed, to the letter.

use super::*;
use crate::cli::command::enrolment::testing::mk_door;

fn mk_token() -> MusterToken {
    MusterToken::parse(&format!("mst-abcd1234-{}", "x".repeat(32))).unwrap()
}

#[test]
fn kernel_arguments_name_servers_and_pin() {
    let door = mk_door(&["https://192.0.2.1:9443", "https://192.0.2.2:9443"]);
    assert_eq!(
        kernel_args(&door, None, None),
        "muster.server=192.0.2.1:9443,192.0.2.2:9443 \
         muster.ca=sha256:e1aa6649e300beb13400cdf1e600a2496462a09b52b6fe03417cdcf838b32d68"
    );
    let all = kernel_args(&door, Some(&mk_token()), Some("worker"));
    assert!(all.ends_with(&format!(" muster.role=worker muster.token=mst-abcd1234-{}", "x".repeat(32))), "{all}");
}

#[test]
fn a_cloud_config_writes_the_token_and_starts_the_agent() {
    let door = mk_door(&["https://192.0.2.1:9443"]);
    let text = cloud_init(&door, Some(&mk_token()), Some("worker"));
    let expected = format!(
        r#"#cloud-config
write_files:
  - {{path: /run/muster/token, permissions: "0600", content: "mst-abcd1234-{}"}}
runcmd:
  - ["systemd-run", "--unit=muster-agent", "--property=Restart=on-failure", "--", "muster-agent", "run", "--server", "https://192.0.2.1:9443", "--ca-hash", "sha256:e1aa6649e300beb13400cdf1e600a2496462a09b52b6fe03417cdcf838b32d68", "--role", "worker", "--token-file", "/run/muster/token"]
"#,
        "x".repeat(32)
    );
    assert_eq!(text, expected);
}

#[test]
fn a_cloud_config_is_yaml_and_without_a_token_has_none() {
    let text = cloud_init(&mk_door(&["https://[2001:db8::1]:9443"]), None, None);
    let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    assert!(value.get("write_files").is_none());
    let words = value["runcmd"][0].as_array().unwrap();
    assert_eq!(words[7], "https://[2001:db8::1]:9443");
    assert!(!text.contains("token"), "{text}");
}

#[test]
fn the_agent_understands_the_command_of_the_cloud_config() {
    use clap::Parser as _;
    let text = cloud_init(&mk_door(&["https://192.0.2.1:9443"]), Some(&mk_token()), Some("worker"));
    let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let words = value["runcmd"][0].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    muster_agent::cli::Cli::try_parse_from(words.skip_while(|word| *word != "muster-agent")).unwrap();
}

#[test]
fn a_token_in_the_arguments_is_refused() {
    let args = SnippetArgs { kind: SnippetKind::CloudInit, token_file: None, token: Some("mst-x".into()), role: None };
    let failure = refuse_early(&args).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.next.unwrap().contains("--token-file"));
}
