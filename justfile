# Shortcuts. `verify` never writes to the work tree; `fix` does. CI needs none of this: it calls .ci/run.

# Lists what there is.
default:
    @just --list

# Everything that CI checks.
verify:
    ./.ci/run

# Makes the work tree as `verify` wants it, where a machine can.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all

# Advisories, bans, licences and sources (needs cargo-deny).
deny:
    cargo deny check

# A whole fleet on loopback: the real agent, TLS, gRPC, Raft and disk; only the kubeadm call is rehearsed.
demo *arguments:
    cargo run --release --bin muster -- demo {{arguments}}

# The tests that ask a real kubeadm. K8S_LAB is a directory with bin/kubeadm in it.
lab:
    @test -x "${K8S_LAB:?is the directory whose bin/ holds kubeadm}/bin/kubeadm"
    cargo test --workspace -- lab

# Durable commands per second on the disk of DIRECTORY (default: the temporary one). Figures go to docs/performance.md.
bench directory="":
    cargo bench -p muster-tests --bench commands -- {{directory}}

# The agent as it is shipped: one static file, size first.
agent:
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --profile agent --bin muster-agent --target x86_64-unknown-linux-gnu
