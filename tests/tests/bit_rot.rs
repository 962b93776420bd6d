//! Rot at rest: a damaged disk is refused, or nothing on it was needed; a wrong answer is never given.
//!
//! A disk with acknowledged writes is copied, damaged in one place, and opened. Either the server refuses it, or every
//! acknowledged write is there. `BIT_ROT=1000 cargo test -p muster-tests --test bit_rot` damages more.
//!
//! See it fail: `BIT_ROT=150 cargo test -p muster-tests --test bit_rot --features planted-bug-no-witness`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use muster_server::storage::Engine;
use muster_tests::disk::{Chance, Load, Setup, copy_tree};

#[test]
fn one_flipped_bit_anywhere_is_refused_or_harmless_on_sled() {
    damage_again_and_again(Engine::Sled, flip_a_bit).unwrap();
}

#[test]
fn one_flipped_bit_anywhere_is_refused_or_harmless_on_redb() {
    damage_again_and_again(Engine::Redb, flip_a_bit).unwrap();
}

#[test]
fn one_zeroed_sector_anywhere_is_refused_or_harmless_on_sled() {
    damage_again_and_again(Engine::Sled, zero_a_sector).unwrap();
}

#[test]
fn one_zeroed_sector_anywhere_is_refused_or_harmless_on_redb() {
    damage_again_and_again(Engine::Redb, zero_a_sector).unwrap();
}

#[test]
fn a_file_cut_short_anywhere_is_refused_or_harmless_on_sled() {
    damage_again_and_again(Engine::Sled, cut_short).unwrap();
}

#[test]
fn a_file_cut_short_anywhere_is_refused_or_harmless_on_redb() {
    damage_again_and_again(Engine::Redb, cut_short).unwrap();
}

#[test]
fn a_file_put_back_as_it_was_earlier_is_refused_or_harmless() {
    for engine in Engine::ALL {
        put_back(engine).unwrap();
    }
}

/// What happens to the bytes of one file.
type Damage = fn(Vec<u8>, &mut Chance) -> Vec<u8>;

fn flip_a_bit(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    let at = place(&bytes, chance);
    bytes[at] ^= 1 << chance.below(8);
    bytes
}

fn zero_a_sector(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    let at = place(&bytes, chance) / 512 * 512;
    let end = bytes.len().min(at + 512);
    bytes[at..end].fill(0);
    bytes
}

fn cut_short(mut bytes: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    bytes.truncate(place(&bytes, chance));
    bytes
}

fn place(bytes: &[u8], chance: &mut Chance) -> usize {
    usize::try_from(chance.below(bytes.len() as u64)).unwrap_or(0)
}

fn damage_again_and_again(engine: Engine, damage: Damage) -> Result<()> {
    let rounds = std::env::var("BIT_ROT").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(40);
    let mut chance = Chance::new();
    let home = tempfile::tempdir()?;
    let (whole, damaged) = (home.path().join("whole"), home.path().join("damaged"));
    fs::create_dir(&whole)?;
    let mut load = start(&whole, engine)?;
    load.read_until_ready()?;
    let mut acknowledged = load.read_acks(600)?;
    acknowledged.extend(load.kill()?);
    let (mut refused, mut silent) = (0, Vec::new());
    for _ in 0..rounds {
        copy_tree(&whole, &damaged)?;
        let files = files_in(&damaged)?;
        let path = &files[place(&vec![0; files.len()], &mut chance)];
        let bytes = fs::read(path)?;
        if !bytes.is_empty() {
            fs::write(path, damage(bytes, &mut chance))?;
            match start(&damaged, engine)?.read_until_ready() {
                Ok(there) => silent.extend(judge(&acknowledged, &there, path)),
                Err(_) => refused += 1,
            }
        }
        fs::remove_dir_all(&damaged)?;
    }
    println!("{engine}: {rounds} damaged, {refused} refused, {} silently wrong", silent.len());
    ensure!(silent.is_empty(), "{engine}: {} of {rounds}: {}", silent.len(), silent.join("; "));
    Ok(())
}

/// As somebody does who restores single files.
fn put_back(engine: Engine) -> Result<()> {
    let home = tempfile::tempdir()?;
    let [whole, earlier, damaged] = ["whole", "earlier", "damaged"].map(|name| home.path().join(name));
    fs::create_dir(&whole)?;
    let mut acknowledged = BTreeSet::new();
    for _ in 0..2 {
        fs::remove_dir_all(&earlier).or_else(|error| if earlier.exists() { Err(error) } else { Ok(()) })?;
        copy_tree(&whole, &earlier)?;
        let mut load = start(&whole, engine)?;
        load.read_until_ready()?;
        acknowledged.extend(load.read_acks(300)?);
        acknowledged.extend(load.kill()?);
    }
    let (mut tried, mut refused, mut silent) = (0, 0, Vec::new());
    for old in files_in(&earlier)? {
        copy_tree(&whole, &damaged)?;
        let path = damaged.join(old.strip_prefix(&earlier)?);
        if path.exists() && fs::read(&old)? != fs::read(&path)? {
            tried += 1;
            fs::copy(&old, &path)?;
            match start(&damaged, engine)?.read_until_ready() {
                Ok(there) => silent.extend(judge(&acknowledged, &there, &path)),
                Err(_) => refused += 1,
            }
        }
        fs::remove_dir_all(&damaged)?;
    }
    println!("{engine}: {tried} files put back, {refused} refused, {} silently wrong", silent.len());
    ensure!(refused > 0, "{engine}: an older log was taken for the present one");
    ensure!(silent.is_empty(), "{engine}: {}", silent.join("; "));
    Ok(())
}

fn judge(acknowledged: &BTreeSet<u64>, there: &BTreeSet<u64>, path: &Path) -> Option<String> {
    let lost = acknowledged.difference(there).count();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    (lost > 0).then(|| format!("{lost} writes lost after damage to {name}"))
}

fn files_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_in(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

fn start(disk: &Path, engine: Engine) -> Result<Load> {
    let program = Path::new(env!("CARGO_BIN_EXE_storage_load"));
    Load::start(Setup { program, disk, engine, variables: Vec::new() })
}
