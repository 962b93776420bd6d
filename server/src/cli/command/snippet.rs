//! `muster snippet`: what is pasted into whatever boots the machines.

use zeroize::Zeroizing;

use super::enrolment::Door;
use super::pin::read_file;
use crate::cli::args::{SnippetArgs, SnippetKind};
use crate::cli::client::Session;
use crate::cli::console::Console;
use crate::cli::exit::{Exit, Failure};
use crate::cli::muster_token::MusterToken;

/// Largest token file that is read, in bytes.
const TOKEN_FILE_MAX: u64 = 4096;
/// Where cloud-init puts the token: a file system in memory, gone after a reboot.
const TOKEN_PATH: &str = "/run/muster/token";

pub(super) fn refuse_early(args: &SnippetArgs) -> Result<(), Failure> {
    match args.token {
        Some(_) => Err(Failure::new(
            Exit::Usage,
            "a token as an argument can be read by everyone on this machine, and stays in the shell's history",
        )
        .with_next("give it with --token-file FILE, or --token-file - for standard input")),
        None => Ok(()),
    }
}

pub(super) async fn run(args: &SnippetArgs, session: &Session, console: &mut Console) -> Result<Exit, Failure> {
    let token = match &args.token_file {
        Some(path) => {
            let content = Zeroizing::new(read_file(path, TOKEN_FILE_MAX, console)?);
            Some(MusterToken::parse(&String::from_utf8_lossy(&content))?)
        }
        None => None,
    };
    let door = Door::of(session).await?;
    let role = args.role.as_deref();
    match args.kind {
        SnippetKind::KernelArgs => {
            console.data(&kernel_args(&door, token.as_ref(), role))?;
            if token.is_some() {
                console.warn("warning: every process of the machine can read muster.token in /proc/cmdline");
            }
        }
        SnippetKind::CloudInit => {
            console.data(&cloud_init(&door, token.as_ref(), role))?;
            console.say("This presumes systemd and an image that contains muster-agent.");
        }
    }
    console.next(match token {
        Some(_) => "boot the machines, then: muster get nodes -w",
        None => "boot the machines, then: muster get nodes -w, and muster node approve ID for each",
    });
    Ok(Exit::Done)
}

fn kernel_args(door: &Door, token: Option<&MusterToken>, role: Option<&str>) -> String {
    let mut line = format!("muster.server={} muster.ca={}", door.authorities().join(","), door.pin());
    if let Some(role) = role {
        line += &format!(" muster.role={role}");
    }
    if let Some(token) = token {
        line += &format!(" muster.token={}", token.expose());
    }
    line
}

fn cloud_init(door: &Door, token: Option<&MusterToken>, role: Option<&str>) -> String {
    let mut text = String::from("#cloud-config\n");
    let mut command = vec!["muster-agent".to_owned(), "run".to_owned()];
    command.extend(door.arguments());
    if let Some(role) = role {
        command.extend(["--role".to_owned(), role.to_owned()]);
    }
    if let Some(token) = token {
        command.extend(["--token-file".to_owned(), TOKEN_PATH.to_owned()]);
        text += &format!(
            "write_files:\n  - {{path: {TOKEN_PATH}, permissions: \"0600\", content: \"{}\"}}\n",
            token.expose()
        );
    }
    // As a unit of its own: cloud-init would otherwise wait for the whole join, and end it with itself.
    let unit = ["systemd-run", "--unit=muster-agent", "--property=Restart=on-failure", "--"].map(str::to_owned);
    let words: Vec<String> = unit.iter().chain(&command).map(|word| format!("\"{word}\"")).collect();
    text += &format!("runcmd:\n  - [{}]\n", words.join(", "));
    text
}

#[cfg(test)]
mod tests;
