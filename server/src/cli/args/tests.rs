//! Every command as it is typed.

use std::time::Duration;

use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("muster").chain(line.split_whitespace()))
}

fn command(line: &str) -> Command {
    match parse(line) {
        Ok(cli) => cli.command,
        Err(error) => panic!("{line}: {error}"),
    }
}

fn check_refused(line: &str, says: &str) {
    let error = parse(line).err().unwrap_or_else(|| panic!("{line} was accepted"));
    assert_eq!(error.exit_code(), 2, "{line}");
    assert!(error.to_string().contains(says), "{line}: {error}");
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn serve_takes_its_own_configuration_file() {
    let Command::Serve(args) = command("serve --config /etc/x.toml --print-config") else { panic!() };
    assert_eq!((args.config.unwrap().to_str(), args.print_config), (Some("/etc/x.toml"), true));
    let Command::Serve(args) = command("serve") else { panic!() };
    assert_eq!((args.config, args.print_config), (None, false));
    let Command::Storage(StorageCommand::Convert(args)) = command("storage convert --config /etc/x.toml") else {
        panic!()
    };
    assert_eq!(args.config.unwrap().to_str(), Some("/etc/x.toml"));
}

#[test]
fn a_demo_has_three_control_planes_and_eight_workers_unless_told() {
    let Command::Demo(args) = command("demo") else { panic!() };
    assert_eq!((args.control_planes, args.workers, args.keep), (3, 8, false));
    let Command::Demo(args) = command("demo --control-planes 1 --workers 0 --keep") else { panic!() };
    assert_eq!((args.control_planes, args.workers, args.keep), (1, 0, true));
    check_refused("demo --control-planes 0", "0 is not in 1..=9");
}

#[test]
fn clusters_are_created_imported_applied_listed_and_described() {
    let line = "cluster create prod --endpoint k8s.prod:6443 --kubernetes v1.36.2 --key-algorithm ECDSA-P256 --pod-subnet 10.244.0.0/16";
    let Command::Cluster(ClusterCommand::Create(args)) = command(line) else { panic!() };
    assert_eq!(
        (args.name.as_str(), args.endpoint.as_str(), args.kubernetes.as_str()),
        ("prod", "k8s.prod:6443", "v1.36.2")
    );
    assert_eq!(
        (args.key_algorithm.as_deref(), args.pod_subnet.as_deref()),
        (Some("ECDSA-P256"), Some("10.244.0.0/16"))
    );

    let line = "cluster import old --pki /etc/kubernetes/pki --endpoint a:1 --kubernetes v1.31.0";
    let Command::Cluster(ClusterCommand::Import(args)) = command(line) else { panic!() };
    assert_eq!((args.pki.unwrap().to_str(), args.kubeconfig), (Some("/etc/kubernetes/pki"), None));
    let line = "cluster import old --kubeconfig admin.conf";
    let Command::Cluster(ClusterCommand::Import(args)) = command(line) else { panic!() };
    assert_eq!((args.kubeconfig.unwrap().to_str(), args.endpoint, args.kubernetes), (Some("admin.conf"), None, None));
    check_refused("cluster import old --pki p --csr-approval auto", "--kubeconfig");
    check_refused("cluster credentials old", "--kubeconfig");

    let Command::Cluster(ClusterCommand::Apply(args)) = command("cluster apply -f c.yaml --dry-run") else { panic!() };
    assert_eq!((args.file.to_str(), args.dry_run, args.new_tokens), (Some("c.yaml"), true, false));
    assert_eq!(args.ttl, Duration::from_secs(24 * 3600));
    check_refused("cluster apply", "--file");
    check_refused("cluster apply -f a --dry-run --new-tokens", "cannot be used with");

    assert!(matches!(command("cluster list"), Command::Cluster(ClusterCommand::List)));
    assert!(
        matches!(command("cluster describe prod"), Command::Cluster(ClusterCommand::Describe { name }) if name == "prod")
    );
    check_refused("cluster create prod --kubernetes v1.36.2", "--endpoint");
}

#[test]
fn a_join_command_is_for_a_worker_and_two_hours_unless_told() {
    let Command::JoinCommand(args) = command("join-command") else { panic!() };
    assert_eq!((args.role.as_str(), args.ttl), ("worker", Duration::from_secs(7200)));
    let Command::JoinCommand(args) = command("join-command --role control-plane --ttl 30m --cluster prod") else {
        panic!()
    };
    assert_eq!((args.role.as_str(), args.ttl), ("control-plane", Duration::from_secs(1800)));
    check_refused("join-command --role master", "control-plane");
    let Command::JoinCommand(args) = command("join-command --discovery https") else { panic!() };
    assert_eq!(args.discovery, "https");
    check_refused("join-command --discovery http", "https-embedded");
}

#[test]
fn tokens_are_created_listed_revoked_and_renewed() {
    let line =
        "token create --pool worker --ttl 1h30m --uses 5 --selector mac=52-54-00-12-34-AB --selector label.rack=r1";
    let Command::Token(TokenCommand::Create(args)) = command(line) else { panic!() };
    assert_eq!((args.pool.as_deref(), args.ttl, args.uses), (Some("worker"), Duration::from_secs(5400), Some(5)));
    let selector = SelectorTerm::message(&args.selector).unwrap();
    assert_eq!((selector.macs, selector.labels["rack"].as_str()), (vec!["52:54:00:12:34:ab".to_owned()], "r1"));
    check_refused("token create --node n1 --uses 2", "cannot be used with");
    check_refused("token create --uses 0", "1..");
    check_refused("token create --selector colour=red", "board-serial");

    assert!(matches!(command("token list"), Command::Token(TokenCommand::List)));
    assert!(
        matches!(command("token revoke ab -y"), Command::Token(TokenCommand::Revoke(args)) if args.yes && args.id == "ab")
    );
    let Command::Token(TokenCommand::Renew(args)) = command("token renew ab --ttl 2d") else { panic!() };
    assert_eq!(args.ttl, Duration::from_secs(2 * 24 * 3600));
}

#[test]
fn every_kind_can_be_listed_in_singular_and_plural() {
    let kinds = [
        ("nodes", "node", Kind::Nodes),
        ("clusters", "cluster", Kind::Clusters),
        ("pools", "pool", Kind::Pools),
        ("tokens", "token", Kind::Tokens),
        ("permits", "permit", Kind::Permits),
        ("events", "event", Kind::Events),
    ];
    for (plural, singular, kind) in kinds {
        for word in [plural, singular] {
            assert!(matches!(command(&format!("get {word}")), Command::Get(args) if args.kind == kind), "{word}");
        }
    }
    let Command::Get(args) = command("get nodes 7f3c -l rack=r1,zone!=b,disk -w -o json") else { panic!() };
    assert!(args.watch && args.id.as_deref() == Some("7f3c"));
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let query = args.selector.unwrap();
    assert!(query.matches(&labels(&[("rack", "r1"), ("disk", "")])));
    assert!(!query.matches(&labels(&[("rack", "r1"), ("disk", ""), ("zone", "b")])));
    assert!(!query.matches(&labels(&[("rack", "r2"), ("disk", "")])));
    assert!(!query.matches(&labels(&[("rack", "r1")])));
    check_refused("get machines", "possible values");
    check_refused("get nodes -l =x", "labels are like");
}

#[test]
fn waiting_names_a_subject_and_a_condition() {
    let Command::Wait(args) = command("wait node/7f3c --for phase=Ready --timeout 30m") else { panic!() };
    assert_eq!((args.subject, args.condition), (Subject::Node("7f3c".into()), Condition::Phase("Ready".into())));
    let cli = parse("wait cluster/prod --for control-planes=3,workers=40 --timeout 45m").unwrap();
    assert_eq!(cli.globals.timeout, Some(Duration::from_secs(45 * 60)));
    let Command::Wait(args) = cli.command else { panic!() };
    assert_eq!(args.condition, Condition::Ready { control_planes: Some(3), workers: Some(40) });
    for condition in ["", "phase", "phase=", "phase=Ready,workers=1", "workers=x", "workers=1,workers=2", "pods=3"] {
        check_refused(&format!("wait cluster/prod --for={condition}"), "a condition is");
    }
    check_refused("wait prod --for workers=1", "node/ID or cluster/NAME");
    check_refused("wait pool/prod --for workers=1", "neither node nor cluster");
    check_refused("wait node/ --for phase=Ready", "needs an id");
}

#[test]
fn events_and_logs_take_their_options() {
    let Command::Events(args) = command("events -w --since 1h --node 7f") else { panic!() };
    assert_eq!((args.watch, args.since, args.node.as_deref()), (true, Some(Duration::from_secs(3600)), Some("7f")));
    let Command::Logs(args) = command("logs node/7f3c -f") else { panic!() };
    assert_eq!((args.node.as_str(), args.follow), ("node/7f3c", true));
}

#[test]
fn nodes_are_approved_and_decided_on() {
    let Command::Node(NodeCommand::Approve(args)) =
        command("node approve 7f --fingerprint sha256:00 --role worker --name n1 --replace")
    else {
        panic!()
    };
    assert_eq!((args.node.as_str(), args.fingerprint.as_deref()), ("7f", Some("sha256:00")));
    assert_eq!(
        (args.role.as_deref(), args.name.as_deref(), args.replace, args.yes),
        (Some("worker"), Some("n1"), true, false)
    );
    check_refused("node approve 7f --role worker --pool w", "cannot be used with");
    for verb in ["deny", "retry", "remove", "lock", "unlock"] {
        let line = format!("node {verb} 7f --reason broken --yes");
        let (Command::Node(NodeCommand::Deny(args))
        | Command::Node(NodeCommand::Retry(args))
        | Command::Node(NodeCommand::Remove(args))
        | Command::Node(NodeCommand::Lock(args))
        | Command::Node(NodeCommand::Unlock(args))) = command(&line)
        else {
            panic!("{line}")
        };
        assert_eq!((args.node.as_str(), args.reason.as_deref(), args.yes), ("7f", Some("broken"), true));
    }
}

#[test]
fn servers_are_named_by_number_beside_the_global_option_of_that_name() {
    let Command::Server(ServerCommand::Remove(args)) =
        command("server remove server/3 --force --reason burned --yes --server https://a:9445")
    else {
        panic!()
    };
    assert_eq!((args.id, args.reason.as_deref(), args.force, args.yes), (3, Some("burned"), true, true));
    let Command::Server(ServerCommand::Approve(args)) = command("server approve 2 --fingerprint sha256:00") else {
        panic!()
    };
    assert_eq!((args.id, args.fingerprint.as_deref(), args.yes), (2, Some("sha256:00"), false));
    assert!(matches!(command("server promote 2"), Command::Server(ServerCommand::Promote(args)) if args.id == 2));
    assert!(
        matches!(command("server transfer-leader"), Command::Server(ServerCommand::TransferLeader(args)) if args.id.is_none())
    );
    assert!(matches!(command("server snapshot"), Command::Server(ServerCommand::Snapshot)));
    let Command::Server(ServerCommand::List(args)) = command("server list --stale --all") else { panic!() };
    assert!(args.stale && args.all);
    let Command::Server(ServerCommand::Token(ServerTokenCommand::Create(args))) = command("server token create") else {
        panic!()
    };
    assert_eq!(args.ttl, Duration::from_secs(3600));
    for bad in ["server promote", "server promote 0", "server promote two", "server promote node/2"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_local_commands_parse() {
    assert!(matches!(command("pin ca.crt"), Command::Pin(args) if args.file.to_str() == Some("ca.crt")));
    assert!(matches!(command("status"), Command::Status));
    assert!(matches!(command("describe node 7f"), Command::Describe(args) if args.id.as_deref() == Some("7f")));
    assert!(matches!(command("version --client"), Command::Version(args) if args.client));
    assert!(matches!(command("help exit-codes"), Command::Help(args) if args.topic == ["exit-codes"]));
    for shell in ["bash", "zsh", "fish"] {
        assert!(matches!(command(&format!("completion {shell}")), Command::Completion(_)));
    }
    check_refused("completion tcsh", "one of bash, zsh, fish");
    let Command::Snippet(args) = command("snippet cloud-init --token-file t --role worker") else { panic!() };
    assert_eq!((args.kind, args.role.as_deref()), (SnippetKind::CloudInit, Some("worker")));
    check_refused("snippet ipxe", "possible values");
}

#[test]
fn global_options_may_stand_before_and_after_the_command() {
    let options =
        "--context lab --cluster prod --server https://a,https://b --config c.toml -o yaml --no-color -q --timeout 5s";
    for line in [format!("{options} get nodes"), format!("get nodes {options}"), format!("get {options} nodes")] {
        let globals = parse(&line).unwrap().globals;
        assert_eq!((globals.context.as_deref(), globals.cluster.as_deref()), (Some("lab"), Some("prod")), "{line}");
        assert_eq!(globals.server, ["https://a", "https://b"], "{line}");
        assert_eq!(globals.config.unwrap().to_str(), Some("c.toml"), "{line}");
        assert_eq!((globals.output, globals.no_color, globals.quiet), (Format::Yaml, true, true), "{line}");
        assert_eq!(globals.timeout, Some(Duration::from_secs(5)), "{line}");
    }
    check_refused("get nodes -o xml", "possible values");
    check_refused("get nodes -q -v", "cannot be used with");
}

#[test]
fn durations_are_those_of_kubectl() {
    for (text, ms) in [("500ms", 500), ("30s", 30_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("1m1s", 61_000)] {
        assert_eq!(values::duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for text in ["", "30", "s", "-5s", "1.5h", "5 m", "0s", "1h30", "10y", "99999999999s", "40000d", "5min"] {
        assert!(values::duration(text).is_err(), "{text:?}");
    }
}
