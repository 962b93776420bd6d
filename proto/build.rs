//! Compiles the .proto files with protox: pure Rust, no protoc on the machine.

use std::{env, error::Error, path::PathBuf};

const FILES: [&str; 5] = [
    "muster/enrolment/v1/enrolment.proto",
    "muster/join/v1/join.proto",
    "muster/admin/v1/admin.proto",
    "muster/internal/raft/v1/raft.proto",
    "etcd/members.proto",
];

/// Messages that carry a secret, or what may be one: their `Debug` is written by hand in `src/redacted.rs`.
const SECRET: [&str; 12] = [
    ".muster.enrolment.v1.Proof",
    ".muster.join.v1.StepPayload",
    ".muster.join.v1.File",
    ".muster.admin.v1.PkiFile",
    ".muster.admin.v1.ImportClusterRequest",
    ".muster.admin.v1.JoinCommand",
    ".muster.admin.v1.CreateTokenRequest",
    ".muster.admin.v1.CreateServerTokenRequest",
    ".muster.internal.raft.v1.Entry",
    ".muster.internal.raft.v1.InstallSnapshotRequest",
    ".muster.internal.raft.v1.ForwardRequest",
    ".muster.internal.raft.v1.RenderPayloadResponse",
];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write by the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let files = protox::compile(FILES, ["."])?;
    let descriptors = prost::Message::encode_to_vec(&files);
    std::fs::write(out.join("muster.bin"), &descriptors)?;
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(SECRET)
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_fds(files)?;
    pbjson_build::Builder::new().register_descriptors(&descriptors)?.btree_map([".muster"]).build(&[
        ".muster.enrolment.v1",
        ".muster.join.v1",
        ".muster.admin.v1",
    ])?;
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    Ok(())
}
