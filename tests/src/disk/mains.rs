//! The power supply of the disks of one or several processes.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::rebuild::rebuild;
use super::{Chance, Cut};

/// A variable of a process' environment.
pub type Variable = (&'static str, OsString);

/// Where disks are plugged in. Cutting it cuts all of them at the same instant: from then on nothing becomes durable and no
/// synchronisation returns, in any process, so that it does not matter when each of them is killed.
///
/// ```text
/// let variables = mains.plug_in(&data_dir)?;      // once per process, set for each start of it
/// ...
/// mains.cut()?;                                   // then kill all processes, then
/// mains.restore(Cut::Torn, &mut chance)?;         // and start them again
/// ```
pub struct Mains {
    shim: PathBuf,
    off: PathBuf,
    disks: Vec<Disk>,
    home: TempDir,
}

struct Disk {
    data_dir: PathBuf,
    shadow: PathBuf,
}

impl Mains {
    /// A power supply that is on and has no disk yet.
    ///
    /// # Errors
    /// Without a C compiler.
    pub fn new() -> Result<Self> {
        let home = tempfile::Builder::new().prefix("muster-mains-").tempdir()?;
        let shim = build_shim(home.path())?;
        Ok(Self { shim, off: home.path().join("off"), disks: Vec::new(), home })
    }

    /// Plugs in the disk that a data directory lies on; what is in it now counts as durable. Gives the variables that the
    /// process on it needs, at each start.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn plug_in(&mut self, data_dir: &Path) -> Result<Vec<Variable>> {
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
        let data_dir = data_dir.canonicalize()?;
        let shadow = self.home.path().join(format!("shadow-{}", self.disks.len()));
        fs::create_dir(&shadow)?;
        let variables = vec![
            ("LD_PRELOAD", self.shim.clone().into()),
            ("SHIM_ROOT", data_dir.clone().into()),
            ("SHIM_SHADOW", shadow.clone().into()),
            ("SHIM_OFF", self.off.clone().into()),
        ];
        self.disks.push(Disk { data_dir, shadow });
        Ok(variables)
    }

    /// Gives the variables of a process on a disk that keeps its power and synchronises as it always did: for faults that only
    /// take time. Nothing is remembered of it, so it costs nothing between them.
    #[must_use]
    pub fn bypass(&self, data_dir: &Path) -> Vec<Variable> {
        vec![("LD_PRELOAD", self.shim.clone().into()), ("SHIM_ROOT", data_dir.into())]
    }

    /// Unplugs all disks.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn unplug_all(&mut self) -> Result<()> {
        for disk in self.disks.drain(..) {
            fs::remove_dir_all(disk.shadow)?;
        }
        Ok(())
    }

    /// Cuts the power of all disks. Kill the processes afterwards, before anything else.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn cut(&self) -> Result<()> {
        Ok(fs::write(&self.off, [])?)
    }

    /// Makes of each data directory what is left after the cut, and turns the power on. All processes must be dead.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn restore(&self, cut: Cut, chance: &mut Chance) -> Result<()> {
        for disk in &self.disks {
            rebuild(&disk.data_dir, &disk.shadow, cut, chance)
                .with_context(|| format!("{} after the cut", disk.data_dir.display()))?;
        }
        match fs::remove_file(&self.off) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn build_shim(home: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/powerloss.c");
    let shim = home.join("powerloss.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).arg(&shim).arg(source);
    ensure!(
        compiler.arg("-lpthread").status().context("a C compiler is needed, as `cc`")?.success(),
        "the shim does not compile"
    );
    Ok(shim)
}
