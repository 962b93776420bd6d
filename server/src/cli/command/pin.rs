//! `muster pin`: what replaces the `openssl x509 | pkey | dgst` pipeline.

use std::path::Path;

use serde::Serialize;

use crate::cli::args::PinArgs;
use crate::cli::console::{Console, Document};
use crate::cli::exit::{Exit, Failure};
use crate::kubeadm::pin::pins_of_pem;

/// Largest file that is read, in bytes; the bundles of public CAs are a quarter of it.
const BYTES_MAX: u64 = 1 << 20;

#[derive(Serialize)]
struct PinList {
    items: Vec<PinItem>,
}

#[derive(Serialize)]
struct PinItem {
    pin: String,
}

pub(super) fn run(args: &PinArgs, console: &mut Console) -> Result<Exit, Failure> {
    let content = read_file(&args.file, BYTES_MAX, console)?;
    let pins = pins_of_pem(&content)
        .map_err(|error| Failure::new(Exit::Invalid, format!("{}: {error}", args.file.display())))?;
    let pins: Vec<String> = pins.iter().map(ToString::to_string).collect();
    if matches!(console.format, crate::cli::args::Format::Json | crate::cli::args::Format::Yaml) {
        let list = PinList { items: pins.into_iter().map(|pin| PinItem { pin }).collect() };
        console.document(&Document::new("PinList", &list))?;
    } else {
        console.data(&pins.join("\n"))?;
    }
    Ok(Exit::Done)
}

/// A file of bounded length, or standard input for `-`.
///
/// # Errors
/// If it cannot be read or is longer than `bytes_max`.
pub(super) fn read_file(path: &Path, bytes_max: u64, console: &mut Console) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    if path == Path::new("-") {
        return console.read_input(bytes_max);
    }
    let mut content = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut content));
    read.map_err(|error| Failure::new(Exit::Invalid, format!("cannot read {}: {error}", path.display())))?;
    if content.len() as u64 > bytes_max {
        return Err(Failure::new(Exit::Invalid, format!("{} is longer than {bytes_max} bytes", path.display())));
    }
    Ok(content)
}
