//! `muster demo`: what a newcomer types first.

use anyhow::Result;
use muster_tests::{Output, demo};

fn assert_ready(output: &Output, all: usize) {
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.contains(&format!("{all} of {all} Ready")), "{output:?}");
    assert_eq!(output.stdout.matches("Ready (rehearsed)").count(), all, "{output:?}");
}

#[test]
fn the_demo_brings_eleven_machines_to_ready_although_the_leader_is_killed_and_ends_by_itself() -> Result<()> {
    let output = demo(&[])?;
    assert_ready(&output, 11);
    assert!(output.stderr.contains("kubeadm is rehearsed; everything else is real"), "{output:?}");
    assert!(output.stderr.contains("Killed server "), "{output:?}");
    assert!(output.stdout.contains("Nothing was lost"), "{output:?}");
    Ok(())
}

#[test]
fn a_demo_of_one_machine_and_one_with_a_single_worker_end_well_too() -> Result<()> {
    assert_ready(&demo(&["--servers", "1", "--control-planes", "1", "--workers", "0"])?, 1);
    assert_ready(&demo(&["--servers", "1", "--control-planes", "1", "--workers", "1"])?, 2);
    Ok(())
}

#[test]
fn sizes_that_make_no_sense_are_refused_as_wrong_usage() -> Result<()> {
    assert_eq!(demo(&["--control-planes", "0"])?.code, 2);
    assert_eq!(demo(&["--workers", "-1"])?.code, 2);
    Ok(())
}
