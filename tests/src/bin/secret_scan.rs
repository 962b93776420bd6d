//! Looks for every secret of a stopped server in files where none may be.
//!
//! Exit codes: 0 nothing was found, 1 a secret was found, 2 there is no secret to look for (or wrong usage), 3 it could
//! not look.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use muster_tests::secrets::Inventory;

/// Looks for every secret of a stopped server in files where none may be.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server's data directory; it is only read
    data_dir: PathBuf,
    /// Its seal key file
    seal_key: PathBuf,
    /// Files and directories to search
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The server's id
    #[arg(long, default_value_t = 1)]
    server_id: u64,
    /// File with more secrets: a PEM private key, or one secret per line
    #[arg(long)]
    also: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(look(Arguments::parse())).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("secret_scan: {error:#}");
            ExitCode::from(3)
        }
    }
}

async fn look(arguments: Arguments) -> Result<ExitCode> {
    let mut inventory = Inventory::of_server(&arguments.data_dir, &arguments.seal_key, arguments.server_id).await?;
    for file in &arguments.also {
        also(&mut inventory, file)?;
    }
    if inventory.is_empty() {
        eprintln!("secret_scan: there is no secret to look for, so nothing was looked at");
        return Ok(ExitCode::from(2));
    }
    let paths: Vec<&Path> = arguments.paths.iter().map(PathBuf::as_path).collect();
    let hits = inventory.scan(&paths)?;
    for hit in &hits {
        println!("{}: {} ({})", hit.file.display(), hit.name, hit.form);
    }
    println!("{} secrets, {} hits", inventory.len(), hits.len());
    Ok(if hits.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn also(inventory: &mut Inventory, file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let name = file.display().to_string();
    if text.contains("PRIVATE KEY-----") {
        return inventory.add_private_key(&name, text.as_bytes());
    }
    for line in text.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("mst-") {
            inventory.add_token(line);
        } else {
            inventory.add_text(&name, line);
        }
    }
    Ok(())
}
