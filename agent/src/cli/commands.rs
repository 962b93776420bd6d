//! The commands.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::environment::Environment;
use super::sources::settings;
use super::{OutputFormat, Place, RunArgs, Surroundings, end, end_with};
use crate::error::{Error, Outcome};
use crate::executor::{Executor, Feed, Job};
use crate::facts::{Facts, Sources};
use crate::host::Machine;
use crate::identity::Keyring;
use crate::instruction::{Instruction, Key, Payload, RequestsTask, Verb};
use crate::journal::JournalFile;
use crate::kubeadm::mask;
use crate::phase::Mode;
use crate::preflight::Preflight;
use crate::rehearsal::{Options, Rehearsal};
use crate::report::Ended;
use crate::session::{self, first_instruction};
use crate::settings::Settings;
use crate::wire;

/// A line on standard output.
macro_rules! say {
    ($($part:tt)*) => { super::print(&format!("{}\n", format_args!($($part)*))) };
}

pub(super) async fn run(args: RunArgs) -> ExitCode {
    let settings = match read(&args) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let executor = match executor(&args) {
        Ok(executor) => executor,
        Err(error) => return end_with(&error),
    };
    let (shutdown, at_once) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(cancel_on_signals(shutdown.clone(), at_once.clone()));
    // The settings make sense and the keys are there; a fleet that does not answer yet is no failure to start. Without
    // systemd nobody listens.
    drop(sd_notify::notify(&[NotifyState::Ready]));
    let end_of_run = tokio::select! {
        end_of_run = session::run(settings, executor, shutdown) => end_of_run,
        () = at_once.cancelled() => return end(1, "ended at once; the next start finds out what became of a running call"),
    };
    match end_of_run {
        Ok(Outcome::Ready { node_name }) => {
            end(0, &format!("node {node_name} is Ready, and the server has recorded it"))
        }
        Ok(Outcome::Stopped) => end(0, "stopped; start it again and it goes on where it was"),
        Err(error) => end_with(&error),
    }
}

fn read(args: &RunArgs) -> Result<Settings, ExitCode> {
    let read = Surroundings::of_process().and_then(|around| settings(args, &around));
    read.map_err(|error| end(error.exit_code(), &error.to_string()))
}

fn executor(args: &RunArgs) -> Result<Executor, Error> {
    if args.rehearse {
        let seed = args.rehearse_as.clone().unwrap_or_default();
        return Ok(Executor::Rehearsal(Rehearsal::new(Options { seed, ..Options::default() })));
    }
    Ok(Executor::kubeadm(Arc::new(machine(&args.place)?)))
}

/// The machine. What this agent starts on it is marked with its key, which no other agent has.
fn machine(place: &Place) -> Result<Machine, Error> {
    let keyring = Keyring::open(&place.state_dir)?;
    let number = keyring.identity()?.map_or(1, |identity| identity.key);
    let tag = keyring.key(number)?.fingerprint().to_string();
    Ok(mk_machine(place, tag))
}

fn mk_machine(place: &Place, tag: String) -> Machine {
    Machine::new(place.root.clone(), &Environment::of_process().path, tag)
}

/// The first signal asks for an orderly stop, the second ends the process.
async fn cancel_on_signals(first: CancellationToken, second: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    for token in [first, second] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
        drop(sd_notify::notify(&[NotifyState::Stopping]));
    }
}

pub(super) fn identify(place: &Place, output: OutputFormat) -> ExitCode {
    let mut facts = Facts::read(&Sources { dmi: place.dmi_dir.clone(), ..Sources::default() });
    facts.ephemeral_state = crate::identity::is_ephemeral(&place.state_dir);
    if output == OutputFormat::Json {
        return print_json(&facts);
    }
    let rows = [
        ("uuid", facts.uuid.clone()),
        ("serial", facts.serial.clone()),
        ("asset", facts.asset.clone()),
        ("manufacturer", facts.manufacturer.clone()),
        ("product", facts.product.clone()),
        ("board-serial", facts.board_serial.clone()),
        ("mac", facts.macs.join(", ")),
        ("boot-mac", facts.boot_mac.clone()),
        ("hostname", facts.hostname.clone()),
        ("address", facts.addresses.join(", ")),
        ("architecture", facts.architecture.clone()),
    ];
    for (name, value) in rows {
        say!("{name:<13} {}", if value.is_empty() { "-" } else { &value });
    }
    for dropped in &facts.dropped {
        say!("dropped       {} = \"{}\" (a placeholder of the firmware's maker)", dropped.field, dropped.value);
    }
    ExitCode::SUCCESS
}

pub(super) async fn preflight(place: &Place, output: OutputFormat) -> ExitCode {
    let standing = JournalFile::in_dir(&place.state_dir).load().unwrap_or_default().standing();
    let executor = Executor::kubeadm(Arc::new(mk_machine(place, String::new())));
    let report = executor.preflight(standing, None).await;
    if output == OutputFormat::Json {
        print_json(&report);
    } else {
        show_preflight(&report);
    }
    if report.passes() {
        return ExitCode::SUCCESS;
    }
    end(3, "this machine cannot join yet; mend the findings marked \"stops the join\" and look again")
}

fn show_preflight(report: &Preflight) {
    let word = |text: &str| {
        if text.is_empty() { "not found".to_owned() } else { text.to_owned() }
    };
    say!("kubeadm   {}", word(&report.kubeadm_version));
    say!("kubelet   {}", word(&report.kubelet_version));
    say!("kubectl   {}", word(&report.kubectl_version));
    say!("runtime   {} {}", word(&report.container_runtime), report.cri_socket);
    say!("kernel    {}", word(&report.kernel));
    say!("member    {}", if report.joined { "yes" } else { "no" });
    for finding in &report.findings {
        let weight = if finding.fatal { "stops the join" } else { "warning" };
        say!("{:<24} {weight}: {}", finding.check, finding.message);
    }
}

pub(super) async fn plan(args: RunArgs) -> ExitCode {
    let settings = match read(&args) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    match planned(&args, &settings).await {
        Ok(Some(text)) => {
            super::print(&text);
            ExitCode::SUCCESS
        }
        Ok(None) => end(4, "this machine is not enrolled yet; run `muster-agent run` first"),
        Err(error) => end_with(&error),
    }
}

async fn planned(args: &RunArgs, settings: &Settings) -> Result<Option<String>, Error> {
    let keyring = Keyring::open(&settings.state_dir)?;
    let Some(identity) = keyring.identity()? else {
        return Ok(None);
    };
    let standing = JournalFile::in_dir(&settings.state_dir).load()?.standing();
    let preflight = executor(args)?.preflight(standing, None).await;
    let message = first_instruction(settings, &keyring, &identity, &preflight).await?;
    let instruction = wire::instruction(message).map_err(|error| Error::Failed { message: error.to_string() })?;
    let sealing = keyring.sealing()?;
    let mut text = show_instruction(&instruction);
    for step in &instruction.steps {
        let Some(sealed) = &step.payload else {
            continue;
        };
        match wire::payload(sealed, &sealing, &identity.fleet, &identity.node_id, &instruction.key(step)) {
            Ok(payload) => text.push_str(&show_payload(&step.id, &payload)),
            Err(error) => text.push_str(&format!("# {}: {error}\n", step.id)),
        }
    }
    Ok(Some(text))
}

fn show_instruction(instruction: &Instruction) -> String {
    let mut text = format!(
        "# node {} of cluster {}, {}, attempt {}, revision {}\n# {}: {}\nsteps:\n",
        instruction.node_name,
        instruction.cluster,
        instruction.kubernetes_version,
        instruction.attempt,
        instruction.revision,
        instruction.phase,
        instruction.message
    );
    for step in &instruction.steps {
        let state = match (step.done, step.open) {
            (true, _) => "done",
            (false, true) => "open",
            (false, false) => "waits",
        };
        text.push_str(&format!("- {{ id: {}, verb: {:?}, state: {state} }}\n", step.id, step.verb));
    }
    text
}

fn show_payload(step: &str, payload: &Payload) -> String {
    let mut text = String::new();
    for file in &payload.files {
        text.push_str(&format!("# {step} writes {} (mode {:o}, {} bytes)\n", file.path, file.mode, file.content.len()));
        if payload.config_path.as_ref() == Some(&file.path) {
            text.push_str(&format!("---\n{}", mask(&String::from_utf8_lossy(&file.content))));
        }
    }
    text
}

pub(super) async fn reset(place: &Place, yes: bool) -> ExitCode {
    if !yes && !confirmed() {
        return end(2, "nothing was done; say yes, or give --yes");
    }
    let executor = Executor::kubeadm(Arc::new(mk_machine(place, String::new())));
    let key = Key { attempt: 0, step: "reset".to_owned() };
    let (news, _ignored) = tokio::sync::mpsc::channel(1);
    let job = Job {
        key: key.clone(),
        verb: Verb::Reset,
        mode: Mode::Fresh,
        node_name: String::new(),
        payload: Payload::default(),
        requests: RequestsTask::default(),
        config_path: None,
        limit: None,
        state_dir: place.state_dir.clone(),
        stop: CancellationToken::new(),
    };
    let litter = JournalFile::in_dir(&place.state_dir).load().map(|journal| journal.litter).unwrap_or_default();
    executor.sweep(&litter);
    match executor.execute(job, &Feed::new(key, news)).await {
        Ended::Failed(failure) if !failure.clean => end(1, &format!("{}; keys and journal were kept", failure.message)),
        _ => forget(place),
    }
}

fn forget(place: &Place) -> ExitCode {
    match std::fs::remove_dir_all(&place.state_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            end(1, &format!("the machine was reset, but {} could not be removed: {error}", place.state_dir.display()))
        }
        _ => end(
            0,
            "the machine was reset and its identity forgotten; its Node and its record in the fleet remain until removed there",
        ),
    }
}

fn confirmed() -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    print!("Reset this machine and forget its identity? Type yes: ");
    // Without the question there is nothing to say yes to.
    if std::io::stdout().flush().is_err() {
        return false;
    }
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}

fn print_json(value: &impl serde::Serialize) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => {
            say!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => end(1, &format!("cannot print: {error}")),
    }
}
