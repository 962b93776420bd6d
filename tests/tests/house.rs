//! The rules of the house that neither the compiler nor clippy holds: who may depend on whom, how long things may be, and
//! what must not stand in a tracked file. A rule that has to give way gets a row with a reason, never a silent exception.

use std::collections::{BTreeMap, BTreeSet};

use muster_tests::house::graph;
use muster_tests::house::rust::{code, functions, names, rooms_entered, test_modules, without_tests};
use muster_tests::house::tracked::{Tracked, all, rust};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// Rooms of the server (top modules of `muster-server`) and which others each may enter. Nothing else is allowed, and a new
/// room needs a row. Journeys go downwards: main, app, api, operations, then consensus, pki and seal; storage is the ground.
const ROOMS: &[(&str, &str)] = &[
    // The top: programs and the composition root.
    ("main", "app cli demo foreground joining offline"),
    ("foreground", "app cli config logging operations"),
    ("demo", "app cli config logging operations"),
    // A host that asks to become a server, in the command line's manners.
    ("joining", "cli clock config identity logging pki seal storage"),
    // Works on the disk of a server that does not run, so that neither app nor consensus is there.
    ("offline", "backup cli clock config consensus identity logging operations storage"),
    // `cli`: the first operator's context is written in the command line's own form.
    (
        "app",
        "agreement api cli clock conductor config consensus discovery identity joining kubernetes ledger membership operations \
         peers pki seal sessions storage web",
    ),
    // The client side: a stranger to everything that a server does. `pki`: an import is checked before anything is sent.
    ("cli", "backup kubeadm pki suggestion"),
    // What a server does.
    // `kubernetes`: a cluster is looked at before it is brought in.
    ("api", "backup clock kubeadm kubernetes ledger operations peers pki sessions web"),
    // Beside the api: HTTP for stock kubeadm.
    ("discovery", "kubeadm operations pki web"),
    ("membership", "ledger operations"),
    ("agreement", "ledger process"),
    ("conductor", "clock kubeadm ledger operations sessions"),
    // The links to clusters' APIs: beside the conductor, and the only room that names `kube`.
    ("kubernetes", "clock kubeadm ledger operations pki"),
    ("operations", "backup clock kubeadm ledger pki seal sessions"),
    // What it does it with.
    ("ledger", "consensus process web"),
    ("peers", "consensus sessions web"),
    ("consensus", "process storage"),
    ("identity", "config pki seal storage"),
    ("pki", "seal"),
    ("backup", "seal"),
    ("storage", "process"),
    // The process itself, and the one seam for the simulation.
    ("process", ""),
    ("seal", ""),
    ("kubeadm", "seal"),
    ("sessions", ""),
    // What surrounds it. `web` is entered for `web::metrics`, as `tracing` is for logs.
    ("web", ""),
    ("logging", "config"),
    // `storage`: for the names of the engines.
    ("config", "storage suggestion"),
    ("clock", ""),
    ("suggestion", ""),
];

fn rooms_below(room: &str) -> Option<BTreeSet<&'static str>> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, below)| below.split_whitespace().collect())
}

/// Where protobuf's generated types may be named. Conversions live in the `wire` folders; the rest of the api and of the
/// agent's session names requests and replies because tonic's traits and clients do.
const WIRE_TYPES: &[(&str, &str)] = &[
    ("proto/", "the contracts themselves"),
    ("server/src/api/", "tonic's services; conversions in api/wire"),
    ("server/src/app/listeners.rs", "puts tonic's services on listeners"),
    ("server/src/cli/", "a client of admin/v1 that shows its messages"),
    ("server/src/joining", "a client of enrolment/v1"),
    ("server/src/demo", "a client of admin/v1, like the command line"),
    ("server/src/peers", "tonic's service and client; conversions in peers/wire"),
    ("server/src/web/grpc.rs", "reads the names of RPCs from the descriptors"),
    ("agent/src/wire", "conversions"),
    ("agent/src/session", "tonic's client"),
    ("agent/src/etcd.rs", "the one call of etcd's own API"),
    ("server/src/kubernetes/etcd/client.rs", "etcd's own API, of which the leader uses three calls"),
    ("tests/", "scenarios speak the wire"),
];

/// Files longer than allowed, each with the reason why cutting it would make it worse.
const LONG_FILES: &[(&str, &str)] = &[];
/// Functions longer than allowed (`file::function`), each with the reason.
const LONG_FUNCTIONS: &[(&str, &str)] = &[(
    "tests/src/simulation/history/tests.rs::what_no_single_copy_answers_is_rejected_on_every_kind_of_object",
    "one table of bad histories, to be read from top to bottom",
)];

fn assert_none(what: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}

/// Sources that end up in a program: no tests, no benches, no modules that are declared for tests only.
fn shipped() -> Vec<Tracked> {
    let all = rust();
    let mut for_tests: Vec<String> = Vec::new();
    for file in &all {
        let folder = match file.path.strip_suffix("/lib.rs").or_else(|| file.path.strip_suffix("/main.rs")) {
            Some(folder) => folder,
            None => file.path.trim_end_matches(".rs"),
        };
        for_tests.extend(test_modules(&code(&file.text)).into_iter().map(|module| format!("{folder}/{module}")));
    }
    let is_for_tests = |path: &str| {
        let inside =
            |module: &String| path.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with(['.', '/']));
        path.starts_with("tests/")
            || path.contains("/tests/")
            || path.contains("/benches/")
            || for_tests.iter().any(inside)
    };
    all.into_iter().filter(|file| !is_for_tests(&file.path)).collect()
}

/// The room that a file of the server is in: `server/src/api/join.rs` and `server/src/api.rs` are both in `api`.
fn room_of(path: &str) -> &str {
    let inside = path.trim_start_matches("server/src/");
    inside.split(['/', '.']).next().unwrap_or(inside)
}

fn foreign(packages: &BTreeSet<String>, banned: &[&str]) -> Vec<String> {
    banned.iter().filter(|banned| packages.contains(**banned)).map(|banned| (*banned).to_owned()).collect()
}

#[test]
fn the_replicated_state_cannot_do_io() {
    let packages = graph::below("muster-state", "normal,build");
    assert!(packages.contains("serde"), "{packages:?}");
    let banned = [
        "tokio",
        "tonic",
        "prost",
        "sled",
        "redb",
        "kube",
        "rcgen",
        "rand",
        "getrandom",
        "openraft",
        "aws-lc-rs",
        "libc",
        "rustix",
    ];
    assert_none("muster-state depends on", foreign(&packages, &banned));
    let ours: Vec<String> =
        packages.into_iter().filter(|name| name.starts_with("muster-") && name != "muster-state").collect();
    assert_none("muster-state depends on a package of ours", ours);
}

#[test]
fn the_agent_stays_small_and_knows_nothing_of_the_server() {
    let packages = graph::below("muster-agent", "normal,build");
    assert!(packages.contains("tonic"), "{packages:?}");
    let banned = ["kube", "k8s-openapi", "openraft", "sled", "redb", "axum-server", "muster-server", "muster-state"];
    assert_none("muster-agent depends on", foreign(&packages, &banned));
}

#[test]
fn contracts_and_trust_know_neither_server_nor_agent() {
    for package in ["muster-proto", "muster-trust"] {
        let packages = graph::below(package, "normal,build");
        let banned = ["muster-server", "muster-state", "muster-agent", "openraft", "sled", "kube"];
        assert_none(&format!("{package} depends on"), foreign(&packages, &banned));
    }
}

#[test]
fn there_is_one_crypto_provider() {
    let packages = graph::below_all("normal,build,dev");
    assert!(packages.contains("aws-lc-rs"), "{packages:?}");
    let banned = ["ring", "openssl", "openssl-sys", "native-tls", "rustls-native-certs", "webpki-roots"];
    assert_none("on Linux the workspace depends on", foreign(&packages, &banned));
}

/// `::sled::Db`, which needs no `use`.
fn names_the_crate(text: &str, name: &str) -> bool {
    let text = code(text);
    let inside_a_path = |before: &str| before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    text.match_indices(&format!("::{name}::")).any(|(at, _)| !inside_a_path(&text[..at]))
}

#[test]
fn each_engine_is_named_by_one_file() {
    // The room itself and the choice between engines name the modules that are called like the crates.
    let modules = ["server/src/storage.rs", "server/src/storage/engine.rs"];
    for engine in ["sled", "redb"] {
        let its_own = format!("server/src/storage/{engine}");
        let (own, others): (Vec<_>, Vec<_>) = rust()
            .into_iter()
            .filter(|file| names(&code(&file.text), &format!("{engine}::")) || names_the_crate(&file.text, engine))
            .map(|file| file.path)
            .partition(|path| path.starts_with(&its_own));
        assert!(!own.is_empty(), "nothing names {engine}: the rule is blind");
        let others = others.into_iter().filter(|path| !modules.contains(&path.as_str())).collect();
        assert_none(&format!("names {engine} outside {its_own}.rs"), others);
    }
}

#[test]
fn the_kubernetes_client_is_named_in_one_room() {
    for client in ["kube", "k8s_openapi"] {
        let names_it =
            |file: &Tracked| names(&code(&file.text), &format!("{client}::")) || names_the_crate(&file.text, client);
        let (own, others): (Vec<_>, Vec<_>) = rust()
            .into_iter()
            .filter(names_it)
            .map(|file| file.path)
            .partition(|path| path.starts_with("server/src/kubernetes"));
        assert!(!own.is_empty(), "nothing names {client}: the rule is blind");
        assert_none(&format!("names {client} outside server/src/kubernetes"), others);
    }
}

#[test]
fn every_room_of_the_server_enters_only_those_below_it() {
    let mut offenders = Vec::new();
    let inside = |file: &&Tracked| file.path.starts_with("server/src/") && file.path != "server/src/lib.rs";
    for file in shipped().iter().filter(inside) {
        let room = room_of(&file.path);
        let Some(below) = rooms_below(room) else {
            offenders.push(format!("{}: the room {room} has no row", file.path));
            continue;
        };
        let entered = rooms_entered(&without_tests(&code(&file.text)));
        let wrong = entered.iter().filter(|other| *other != room && !below.contains(other.as_str()));
        offenders.extend(wrong.map(|other| format!("{}: {room} must not enter {other}", file.path)));
    }
    assert_none("module direction", offenders);
}

#[test]
fn the_table_of_rooms_has_no_circle() {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    // Each round takes those rooms that enter only finished ones.
    for _ in ROOMS {
        let next: Vec<&str> = ROOMS
            .iter()
            .filter(|(_, below)| below.split_whitespace().all(|room| done.contains(room)))
            .map(|(room, _)| *room)
            .collect();
        done.extend(next);
    }
    let open: Vec<String> =
        ROOMS.iter().filter(|(room, _)| !done.contains(room)).map(|(room, _)| (*room).to_owned()).collect();
    assert_none("in a circle, or entering a room without a row", open);
}

#[test]
fn wire_types_stop_at_the_edge() {
    let offenders = shipped()
        .into_iter()
        .filter(|file| !WIRE_TYPES.iter().any(|(place, _)| file.path.starts_with(place)))
        .filter(|file| names(&without_tests(&code(&file.text)), "muster_proto"))
        .map(|file| file.path)
        .collect();
    assert_none("names a wire type away from the edge", offenders);
}

#[test]
fn conversions_from_wire_types_live_in_the_wire_folders() {
    let edges = ["server/src/api/", "server/src/peers/", "agent/src/session"];
    let offenders = rust()
        .into_iter()
        .filter(|file| edges.iter().any(|edge| file.path.starts_with(edge)))
        .filter(|file| !file.path.starts_with("server/src/api/wire") && !file.path.starts_with("server/src/peers/wire"))
        .filter(|file| {
            let code = code(&file.text);
            let headers = code.lines().filter(|line| line.contains("impl From<") || line.contains("impl TryFrom<"));
            // An error that becomes another is no conversion of a message.
            headers.into_iter().any(|line| !line.contains("Error> for"))
        })
        .map(|file| file.path)
        .collect();
    assert_none("converts outside a wire folder", offenders);
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    // Generated code fills muster-proto, and lints of ours would be about tonic's style; `unsafe` does not occur in it either.
    let exempt = ["proto/Cargo.toml"];
    let manifests: Vec<Tracked> = all().into_iter().filter(|file| file.path.ends_with("/Cargo.toml")).collect();
    assert!(manifests.len() >= 6, "{}", manifests.len());
    let offenders = manifests
        .into_iter()
        .filter(|file| !exempt.contains(&file.path.as_str()))
        .filter(|file| {
            let manifest: toml::Table = file.text.parse().unwrap();
            manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool) != Some(true)
        })
        .map(|file| file.path)
        .collect();
    assert_none("without [lints] workspace = true", offenders);
}

#[test]
fn no_default_feature_plants_a_bug() {
    for file in all().into_iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        let manifest: toml::Table = file.text.parse().unwrap();
        let default = manifest.get("features").and_then(|features| features.get("default"));
        assert_eq!(default, None, "{}", file.path);
    }
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut offenders = Vec::new();
    for file in shipped() {
        let code = without_tests(&code(&file.text));
        let lines = code.lines().enumerate().filter(|(_, line)| line.contains(".unwrap()"));
        offenders.extend(lines.map(|(number, _)| format!("{}:{}", file.path, number + 1)));
    }
    assert_none("unwraps; an expect with a proof in its message may stand", offenders);
}

#[test]
fn files_stay_short() {
    let allowed: BTreeMap<&str, &str> = LONG_FILES.iter().copied().collect();
    let long: Vec<(String, usize)> = rust()
        .into_iter()
        .map(|file| (file.path, file.text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .collect();
    let paths: BTreeSet<&str> = long.iter().map(|(path, _)| path.as_str()).collect();
    let stale =
        allowed.keys().filter(|path| !paths.contains(**path)).map(|path| format!("{path}: no longer long")).collect();
    assert_none("an exception that is not needed any more", stale);
    let offenders = long
        .iter()
        .filter(|(path, _)| !allowed.contains_key(path.as_str()))
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert_none(&format!("longer than {FILE_LINES_MAX} lines"), offenders);
}

#[test]
fn functions_stay_short() {
    let allowed: BTreeMap<&str, &str> = LONG_FUNCTIONS.iter().copied().collect();
    let mut offenders = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust() {
        for function in functions(&code(&file.text)).into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX)
        {
            let name = format!("{}::{}", file.path, function.name);
            if !allowed.contains_key(name.as_str()) {
                offenders.push(format!("{}:{} {}: {} lines", file.path, function.line, function.name, function.lines));
            }
            seen.insert(name);
        }
    }
    let stale =
        allowed.keys().filter(|name| !seen.contains(**name)).map(|name| format!("{name}: no longer long")).collect();
    assert_none("an exception that is not needed any more", stale);
    assert_none(&format!("longer than {FUNCTION_LINES_MAX} lines"), offenders);
}
