mod served;

use super::*;

#[test]
fn a_url_may_leave_scheme_and_port_out() {
    for (text, wanted) in [
        ("https://192.0.2.1:9443", "https://192.0.2.1:9443/"),
        ("boot.prod", "https://boot.prod:9443/"),
        ("[2001:db8::1]", "https://[2001:db8::1]:9443/"),
    ] {
        assert_eq!(parse_url(text).unwrap().to_string(), wanted);
    }
    for text in ["", "http://a", "https://a/b", "u@a", "a b"] {
        assert_eq!(parse_url(text).unwrap_err().exit, Exit::Usage, "{text}");
    }
}

#[test]
fn whoever_approves_is_told_the_number_and_the_key_and_a_wrong_key_is_an_alarm() {
    let seen = Pending { server: 4, fingerprint: "sha256:aa".into() };
    assert!(words(&seen, "sha256:aa").contains("muster server approve 4 --fingerprint sha256:aa"));
    assert!(words(&seen, "sha256:bb").contains("do not approve it"));
}

#[test]
fn a_server_whose_ports_change_with_each_start_can_not_join() {
    let mut config = Config::default();
    assert_eq!(places(&config).unwrap().address.rsplit_once(':').unwrap().1, "9446");
    config.server.ports.peers = 0;
    assert!(places(&config).is_err());
}

#[test]
fn a_used_directory_is_not_asked_to_join() {
    let home = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.server.data_dir = home.path().join("data");
    let _owned = DataDirectory::open(&config.server.data_dir).unwrap();
    let (first, private) = prepare(&config).unwrap();
    let (again, same) = prepare(&config).unwrap();
    assert_eq!((first.fingerprint(), private.own.sealing.public()), (again.fingerprint(), same.own.sealing.public()));
    std::fs::write(config.server.data_dir.join("CURRENT"), "x").unwrap();
    let failure = prepare(&config).unwrap_err().downcast::<Failure>().unwrap();
    assert_eq!(failure.exit, Exit::Conflict);
}
