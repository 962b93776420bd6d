//! Which files belong to the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Its content; empty for one that is not text.
    pub text: String,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    // The package lies one level below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the package that is being tested exists")
}

/// Every file that git tracks, in order of path. Files that were deleted but not yet committed are left out.
pub fn all() -> Vec<Tracked> {
    let root = root();
    let output = Command::new("git")
        // A checkout that belongs to somebody else, as in a container, is read all the same.
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let mut paths: Vec<&str> = list.split_terminator('\0').filter(|path| root.join(path).is_file()).collect();
    paths.sort_unstable();
    assert!(paths.len() > 50, "git lists only {} files", paths.len());
    let read = |path: &str| Tracked {
        path: path.to_owned(),
        text: std::fs::read(root.join(path)).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default(),
    };
    paths.into_iter().map(read).collect()
}

/// Every Rust source file.
pub fn rust() -> Vec<Tracked> {
    all().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}
