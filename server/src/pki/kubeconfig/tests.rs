use serde_json::{Value, json};

use super::*;
use crate::pki::{ClusterPki, KeyAlgorithm, LinkTerms, PkiFile, certificates_to_pem, file, issue_for_link};

const NOW_MS: u64 = 1_800_000_000_000;

fn mk_pki() -> ClusterPki {
    ClusterPki::generate(KeyAlgorithm::EcdsaP256, NOW_MS).unwrap()
}

fn text(pki: &ClusterPki, name: &str) -> String {
    pki.files.get(name).map(PkiFile::expose).unwrap().to_owned()
}

/// A user with a certificate of that cluster.
fn certified(pki: &ClusterPki) -> Value {
    let terms = LinkTerms { user: "ann", group: "admins" };
    let identity = issue_for_link(&text(pki, file::CA_CRT), text(pki, file::CA_KEY).as_bytes(), terms, NOW_MS).unwrap();
    let key = pem::encode("PRIVATE KEY", identity.key.secret_der());
    json!({
        "client-certificate-data": STANDARD.encode(certificates_to_pem(&identity.chain)),
        "client-key-data": STANDARD.encode(key.as_bytes()),
    })
}

fn mk(pki: &ClusterPki, user: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [
            { "name": "other", "cluster": { "server": "http://192.0.2.9" } },
            { "name": "kubernetes", "cluster": {
                "server": "https://192.0.2.11:6443",
                "certificate-authority-data": STANDARD.encode(text(pki, file::CA_CRT)),
            } },
        ],
        "users": [
            { "name": "other", "user": { "exec": { "command": "aws" } } },
            { "name": "admin", "user": user },
        ],
        "contexts": [{ "name": "admin@kubernetes", "context": { "cluster": "kubernetes", "user": "admin" } }],
        "current-context": "admin@kubernetes",
    })
}

fn parse(tree: &Value) -> Result<Kubeconfig, KubeconfigError> {
    Kubeconfig::parse(&tree.to_string())
}

fn refusal(tree: &Value) -> String {
    parse(tree).unwrap_err().to_string()
}

#[test]
fn a_certificate_or_a_token_of_the_current_context_is_taken_and_nothing_else() {
    let pki = mk_pki();
    let config = parse(&mk(&pki, certified(&pki))).unwrap();
    assert_eq!(config.server, "192.0.2.11:6443");
    assert_eq!(config.user(), "ann");
    assert!(config.is_of(&text(&pki, file::CA_CRT)) && !config.is_of(&text(&pki, file::ETCD_CA_CRT)));
    let again = Kubeconfig::parse(config.render().expose()).unwrap();
    assert_eq!(again, config);
    assert!(!config.render().expose().contains("aws"));
    let by_token = parse(&mk(&pki, json!({ "token": "abc.def" }))).unwrap();
    assert_eq!((by_token.user(), by_token.not_after_ms()), (String::new(), None));
    assert_eq!(Kubeconfig::parse(by_token.render().expose()).unwrap(), by_token);
}

#[test]
fn a_kubeconfig_of_kubeadm_is_taken_as_it_is() {
    let pki = mk_pki();
    let yaml = serde_saphyr::to_string(&mk(&pki, certified(&pki))).unwrap();
    assert!(Kubeconfig::parse(&yaml).is_ok());
}

#[test]
fn what_a_server_must_not_do_is_refused_by_its_name() {
    let pki = mk_pki();
    let of_user: &[(&str, Value)] = &[
        ("exec", json!({ "command": "aws" })),
        ("auth-provider", json!({ "name": "oidc" })),
        ("tokenFile", "/var/run/token".into()),
        ("client-certificate", "/etc/kubernetes/admin.crt".into()),
        ("client-key", "/etc/kubernetes/admin.key".into()),
        ("username", "root".into()),
        ("password", "canary".into()),
        ("as", "system:admin".into()),
        ("as-uid", "1".into()),
        ("as-groups", json!(["system:masters"])),
        ("as-user-extra", json!({ "a": ["b"] })),
    ];
    for (field, value) in of_user {
        let mut user = certified(&pki);
        user[*field] = value.clone();
        let said = refusal(&mk(&pki, user));
        assert!(said.starts_with(&format!("{field} is refused: ")) && !said.contains("canary"), "{said}");
    }
    let of_cluster: &[(&str, Value)] = &[
        ("certificate-authority", "/etc/kubernetes/pki/ca.crt".into()),
        ("insecure-skip-tls-verify", true.into()),
        ("proxy-url", "http://192.0.2.1:3128".into()),
        ("tls-server-name", "kubernetes".into()),
    ];
    for (field, value) in of_cluster {
        let mut tree = mk(&pki, certified(&pki));
        tree["clusters"][1]["cluster"][*field] = value.clone();
        let said = refusal(&tree);
        assert!(said.starts_with(&format!("{field} is refused: ")), "{said}");
    }
    let mut tree = mk(&pki, certified(&pki));
    tree["clusters"][1]["cluster"]["insecure-skip-tls-verify"] = false.into();
    assert!(parse(&tree).is_ok(), "what is said to be off is off");
}

#[test]
fn a_server_is_an_https_address_with_nothing_behind_it() {
    let pki = mk_pki();
    let with = |server: &str| {
        let mut tree = mk(&pki, certified(&pki));
        tree["clusters"][1]["cluster"]["server"] = server.into();
        parse(&tree).map(|config| config.server).map_err(|error| error.to_string())
    };
    assert_eq!(with("https://k8s.example.org").unwrap(), "k8s.example.org:443");
    assert_eq!(with("https://[2001:db8::1]:6443/").unwrap(), "[2001:db8::1]:6443");
    for bad in
        ["http://a:6443", "https://a:6443/k8s/clusters/c-1", "https://u:p@a:6443", "a:6443", "", "https://a:70000"]
    {
        let said = with(bad).unwrap_err();
        assert!(said.starts_with("server ") && !said.contains("u:p"), "{bad}: {said}");
    }
}

#[test]
fn what_is_missing_or_ambiguous_is_said() {
    let pki = mk_pki();
    let user = certified(&pki);
    let without = |field: &str| {
        let mut user = user.clone();
        user.as_object_mut().unwrap().remove(field);
        refusal(&mk(&pki, user))
    };
    assert!(without("client-key-data").contains("client-key-data is needed"));
    assert!(without("client-certificate-data").contains("client-certificate-data is needed"));
    assert!(refusal(&mk(&pki, json!({}))).contains("no credentials"));
    let mut both = user.clone();
    both["token"] = "canary".into();
    assert!(refusal(&mk(&pki, both)).contains("one of them"));
    let mut tree = mk(&pki, user.clone());
    tree["clusters"][1]["cluster"].as_object_mut().unwrap().remove("certificate-authority-data");
    assert!(refusal(&tree).contains("certificate-authority-data is needed"));
    for (field, value) in [("current-context", Value::Null), ("current-context", "x".into()), ("users", json!([]))] {
        let mut tree = mk(&pki, user.clone());
        tree[field] = value;
        assert!(refusal(&tree).starts_with("it has no "), "{field}");
    }
    let mut twice = mk(&pki, user);
    let copy = twice["users"][1].clone();
    twice["users"].as_array_mut().unwrap().push(copy);
    assert!(refusal(&twice).contains("or several"));
}

#[test]
fn a_key_of_another_certificate_and_what_is_none_are_refused_without_being_repeated() {
    let pki = mk_pki();
    let mut user = certified(&pki);
    user["client-key-data"] = certified(&pki)["client-key-data"].clone();
    assert!(refusal(&mk(&pki, user)).contains("not the key of the certificate"));
    for field in ["client-certificate-data", "client-key-data"] {
        for bad in ["canary", "Y2FuYXJ5"] {
            let mut user = certified(&pki);
            user[field] = bad.into();
            let said = refusal(&mk(&pki, user));
            assert!(said.starts_with(field) && !said.contains(bad), "{said}");
        }
    }
    assert!(refusal(&mk(&pki, json!({ "token": "canary\ncanary" }))).starts_with("token has"));
    for broken in ["token: [canary", "users: canary", "users: [{name: a, user: canary}]", "canary"] {
        let said = Kubeconfig::parse(broken).unwrap_err().to_string();
        assert!(said.starts_with("it ") && !said.contains("canary"), "{said}");
    }
    assert!(Kubeconfig::parse(&" ".repeat(BYTES_MAX + 1)).unwrap_err().to_string().contains("longer than"));
}

#[test]
fn a_certificate_that_has_run_out_is_refused_when_it_is_brought_in() {
    let pki = mk_pki();
    let config = parse(&mk(&pki, certified(&pki))).unwrap();
    config.check_dates(NOW_MS).unwrap();
    let end_ms = config.not_after_ms().unwrap();
    let said = config.check_dates(end_ms + 3 * 86_400_000).unwrap_err().to_string();
    assert!(said.contains("expired 3 days ago"), "{said}");
    parse(&mk(&pki, json!({ "token": "abc" }))).unwrap().check_dates(u64::MAX).unwrap();
}

#[test]
fn nothing_of_it_can_be_printed() {
    let pki = mk_pki();
    let config = parse(&mk(&pki, json!({ "token": "canary" }))).unwrap();
    assert!(!format!("{config:?}").contains("canary"));
    assert_eq!(format!("{:?}", config.render()), "[redacted]");
}
