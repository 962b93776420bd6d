use std::collections::BTreeSet;

use super::*;

const FILE: &str = "server.toml";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new(FILE), text).map_err(|error| error.to_string())
}

fn mk_full() -> Config {
    let mut config = Config::default();
    config.server.id = NonZeroU64::new(3);
    config.server.advertise = Some("boot.prod".to_owned());
    config.server.enrolment_urls = vec!["a.prod:9443".to_owned(), "[2001:db8::1]:9443".to_owned()];
    config.server.node_urls = vec!["10.0.0.5:9444".to_owned()];
    config.server.operator_urls = vec!["a.prod:9445".to_owned()];
    config.discovery = Discovery {
        port: Some(9447),
        url: Some("join.prod:443".to_owned()),
        certificate: Some(PathBuf::from("/etc/muster/web.crt")),
        key: Some(PathBuf::from("/etc/muster/web.key")),
    };
    config.seal = Seal {
        kind: SealKind::Passphrase,
        path: Some(PathBuf::from("/run/a \"quoted\" path")),
        previous: Some(PathBuf::from("/run/b")),
    };
    config.log.format = LogFormat::Json;
    config
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(parse(""), Ok(Config::default()));
}

#[test]
fn what_is_printed_is_read_back_as_the_same() {
    for config in [Config::default(), mk_full()] {
        let printed = config.print();
        assert_eq!(parse(&printed), Ok(config), "{printed}");
    }
}

#[test]
fn the_printed_settings_name_every_key_there_is() {
    let printed = Config::default().print();
    for (section, keys) in keys::KNOWN {
        assert!(printed.contains(&format!("[{section}]")), "{section}");
        for key in keys.iter().filter(|key| **key != "ports") {
            assert!(printed.contains(&format!("{key} = ")), "{section}.{key}");
        }
    }
}

#[test]
fn the_known_keys_are_those_of_the_types() {
    let toml::Value::Table(sections) = toml::Value::try_from(mk_full()).unwrap() else { panic!("a table") };
    let mut of_types = BTreeSet::new();
    for (section, value) in sections {
        for (key, value) in value.as_table().unwrap() {
            of_types.insert(format!("{section}.{key}"));
            for inner in value.as_table().into_iter().flat_map(|table| table.keys()) {
                of_types.insert(format!("{section}.{key}.{inner}"));
            }
        }
    }
    let known: BTreeSet<String> =
        keys::KNOWN.iter().flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}"))).collect();
    assert_eq!(known, of_types);
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_the_key_that_was_meant() {
    assert_eq!(
        parse("[server]\nid = 2\ndatadir = \"/x\"\n").unwrap_err(),
        "server.toml:3: unknown key server.datadir; did you mean server.data_dir?"
    );
    assert_eq!(parse("\n[sevrer]\nid = 2\n").unwrap_err(), "server.toml:2: unknown key sevrer; did you mean server?");
    assert_eq!(
        parse("[server]\nbackend = \"sled\"\n").unwrap_err(),
        "server.toml:2: unknown key server.backend; did you mean storage.backend?"
    );
    assert_eq!(
        parse("[server.ports]\nnode = 1\n").unwrap_err(),
        "server.toml:2: unknown key server.ports.node; did you mean server.ports.nodes?"
    );
    assert_eq!(
        parse("[otel]\nendpoint = \"\"\n").unwrap_err(),
        "server.toml:1: unknown key otel; `muster serve --print-config` shows all that exist"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused_on_its_line() {
    let error = parse("[server]\nid = 1\n\nlisten = \"everywhere\"\n").unwrap_err();
    assert!(error.starts_with("server.toml:4: "), "{error}");
    let error = parse("[server]\nid = 0\n").unwrap_err();
    assert!(error.starts_with("server.toml:2: "), "{error}");
    let error = parse("[server\n").unwrap_err();
    assert!(error.starts_with("server.toml:1: "), "{error}");
}

#[test]
fn the_log_is_kept_by_sled_or_by_redb_and_nothing_else() {
    assert_eq!(parse("").unwrap().storage.backend, Engine::Sled);
    for engine in Engine::ALL {
        assert_eq!(parse(&format!("[storage]\nbackend = \"{engine}\"\n")).unwrap().storage.backend, engine);
    }
    let error = parse("[storage]\nbackend = \"leveldb\"\n").unwrap_err();
    assert!(error.starts_with("server.toml:2: ") && error.contains("redb"), "{error}");
}

#[test]
fn hosts_and_lists_are_checked_before_anything_is_made_from_them() {
    let error = parse("[server]\nadvertise = \"https://boot.prod\"\n").unwrap_err();
    assert!(error.starts_with("server.toml:2: server.advertise: must be"), "{error}");
    for url in ["boot.prod", "https://boot.prod:9443", "boot.prod:0", "boot.prod:x", "::1:9443", "-a:1", ""] {
        let error = parse(&format!("[server]\nnode_urls = [\"{url}\"]\n")).unwrap_err();
        assert!(error.starts_with("server.toml:2: server.node_urls: "), "{url}: {error}");
    }
}

#[test]
fn discovery_over_https_is_off_unless_it_has_a_port_and_a_certificate_needs_its_key() {
    let server = Server { advertise: Some("boot.prod".to_owned()), ..Server::default() };
    let authority = |text: &str| parse(text).unwrap().discovery.authority(&server);
    assert_eq!(authority(""), None);
    assert_eq!(authority("[discovery]\nport = 9447\n").as_deref(), Some("boot.prod:9447"));
    let balanced = authority("[discovery]\nport = 9447\nurl = \"join.prod:443\"\n");
    assert_eq!(balanced.as_deref(), Some("join.prod:443"));
    for (text, says) in [
        ("port = 9447\nkey = \"/k\"", "server.toml:3: discovery.key: needs its certificate"),
        ("port = 9447\ncertificate = \"/c\"", "server.toml:3: discovery.certificate: needs its private key"),
        ("url = \"join.prod:443\"", "server.toml:2: discovery.url: is of no use without `port`"),
        ("port = 9447\nurl = \"https://join.prod\"", "server.toml:3: discovery.url: \"https://join.prod\" must be"),
    ] {
        let error = parse(&format!("[discovery]\n{text}\n")).unwrap_err();
        assert!(error.starts_with(says), "{error}");
    }
}

#[test]
fn a_missing_file_that_was_named_is_an_error() {
    let error = Config::read(Path::new("/nonexistent/server.toml")).unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent/server.toml: cannot be read");
}

#[test]
fn variables_override_the_file_and_empty_ones_do_not() {
    let given = |name: &str| match name {
        "MUSTER_DATA_DIR" => Some("/data".to_owned()),
        "MUSTER_LISTEN" => Some("127.0.0.1".to_owned()),
        "MUSTER_ADVERTISE" => Some(String::new()),
        "MUSTER_LOG" => Some("debug".to_owned()),
        _ => None,
    };
    let config = mk_full().overridden_by(given).unwrap();
    assert_eq!(config.server.data_dir, Path::new("/data"));
    assert_eq!(config.server.listen, IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!(config.server.advertise.as_deref(), Some("boot.prod"));
    assert_eq!(config.log.level, "debug");
}

#[test]
fn a_variable_that_does_not_fit_is_refused_by_name() {
    let error =
        Config::default().overridden_by(|name| (name == "MUSTER_LISTEN").then(|| "localhost".to_owned())).unwrap_err();
    assert_eq!(error.to_string(), "MUSTER_LISTEN: \"localhost\" is no IP address");
}

#[test]
fn the_seal_key_lies_beside_the_data_directory_and_never_in_it() {
    let mut config = Config::default();
    assert_eq!(config.seal_path(), Path::new("/var/lib/muster-seal/key"));
    assert!(!config.seal_path().starts_with(&config.server.data_dir));
    for directory in ["/srv/muster/", "data", "data/.", ".", ".."] {
        config.server.data_dir = PathBuf::from(directory);
        let path = config.seal_path();
        let inside = path.starts_with(directory) && !path.starts_with(Path::new(directory).join(".."));
        assert!(!inside, "{directory}: {}", path.display());
    }
    config.seal.path = Some(PathBuf::from("/etc/muster/seal.key"));
    assert_eq!(config.seal_path(), Path::new("/etc/muster/seal.key"));
}

#[test]
fn a_seal_key_in_the_data_directory_is_refused() {
    let error = parse("[server]\ndata_dir = \"/d\"\n[seal]\npath = \"/d/key\"\n").unwrap_err();
    assert!(error.starts_with("server.toml:4: seal.path: the seal key must not be in the data directory"), "{error}");
    let config = parse("[seal]\npath = \"/d/key\"\n").unwrap();
    let error = config.overridden_by(|name| (name == "MUSTER_DATA_DIR").then(|| "/d".to_owned())).unwrap_err();
    assert!(error.to_string().starts_with("MUSTER_DATA_DIR: "), "{error}");
}

#[test]
fn a_server_without_lists_tells_its_own_address() {
    let mut server = Server { listen: "10.0.0.5".parse().unwrap(), ..Server::default() };
    assert_eq!(server.enrolment_urls(), ["https://10.0.0.5:9443"]);
    server.advertise = Some("boot.prod".to_owned());
    assert_eq!(server.node_urls(), ["https://boot.prod:9444"]);
    server.advertise = Some("2001:db8::7".to_owned());
    assert_eq!(server.operator_urls(), ["https://[2001:db8::7]:9445"]);
    server.node_urls = vec!["a:9444".to_owned(), "b:9444".to_owned()];
    assert_eq!(server.node_urls(), ["https://a:9444", "https://b:9444"]);
}

#[test]
fn a_server_that_listens_everywhere_still_names_one_address() {
    let host = Server::default().advertised_host();
    assert!(!host.parse::<IpAddr>().unwrap().is_unspecified(), "{host}");
}
