//! Collects what everybody on the machine can read of processes while a scenario runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use anyhow::{Result, anyhow};

/// Between two looks: even the shortest command lives for tens of milliseconds, and a look costs a millisecond or two.
const EVERY: Duration = Duration::from_millis(10);

/// Samples every process's argument list until it is stopped.
#[derive(Debug)]
pub struct Sampler {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<Vec<u8>>>,
}

impl Sampler {
    /// Begins.
    pub fn start() -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let thread = spawn(move || {
            let mut seen = BTreeSet::new();
            loop {
                // Asked before looking: after the end was told there is one more whole look.
                let last = told.load(Ordering::Acquire);
                sample(&mut seen);
                if last {
                    return seen;
                }
                sleep(EVERY);
            }
        });
        Self { ending, thread }
    }

    /// Ends, and writes every argument list that was seen to `file`, one per line. Gives their number.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write_to(self, file: &Path) -> Result<usize> {
        self.ending.store(true, Ordering::Release);
        let seen = self.thread.join().map_err(|_| anyhow!("the sampler panicked"))?;
        let lines: Vec<Vec<u8>> =
            seen.iter().map(|args| args.split(|byte| *byte == 0).collect::<Vec<_>>().join(&b' ')).collect();
        fs::write(file, lines.join(&b'\n'))?;
        Ok(seen.len())
    }
}

fn sample(seen: &mut BTreeSet<Vec<u8>>) {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes =
        entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    for process in processes {
        // It may have ended meanwhile.
        if let Ok(arguments) = fs::read(process.path().join("cmdline")) {
            seen.insert(arguments);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MOMENT, eventually};

    #[test]
    fn the_arguments_of_a_process_are_seen() {
        let home = tempfile::tempdir().unwrap();
        let sampler = Sampler::start();
        let mut child = std::process::Command::new("sleep").arg("4242.5").spawn().unwrap();
        let comm = || fs::read_to_string(format!("/proc/{}/comm", child.id())).map_err(|error| error.to_string());
        eventually("sleep", MOMENT, || comm().and_then(|name| if name == "sleep\n" { Ok(()) } else { Err(name) }))
            .unwrap();
        let file = home.path().join("seen");
        assert!(sampler.write_to(&file).unwrap() > 1);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(fs::read_to_string(&file).unwrap().lines().any(|line| line.trim_end() == "sleep 4242.5"));
    }
}
