use super::*;
use proptest::prelude::*;

fn v(text: &str) -> KubernetesVersion {
    KubernetesVersion::parse(text).unwrap()
}

#[test]
fn versions_parse_with_and_without_v_and_drop_build_metadata() {
    for (text, printed) in [
        ("v1.36.2", "v1.36.2"),
        ("1.36.0", "v1.36.0"),
        ("v1.37.0-rc.1", "v1.37.0-rc.1"),
        ("v1.30.4+k3s1", "v1.30.4"),
        ("v1.30.4-rc.0+build.5", "v1.30.4-rc.0"),
    ] {
        assert_eq!(v(text).to_string(), printed);
    }
}

#[test]
fn other_texts_are_no_versions() {
    for text in [
        "",
        "v",
        "1.36",
        "v1.36.2.1",
        "v2.0.0",
        "v1.036.2",
        "v1.36.02",
        "v1.-1.0",
        "v1.36.x",
        "v1.36.2-",
        "v1.36.2+",
        "v1.36.2-a..b",
        "v1.36.+2",
        "latest",
        "v1.36.2 ",
        "vv1.36.2",
        "v1.99999999999.0",
    ] {
        assert_eq!(KubernetesVersion::parse(text), Err(VersionError::Form(text.into())), "{text:?}");
    }
}

#[test]
fn support_begins_with_1_20_and_warns_after_1_36() {
    assert_eq!(KubernetesVersion::parse_supported("v1.19.16"), Err(VersionError::TooOld(v("v1.19.16"))));
    assert_eq!(KubernetesVersion::parse_supported("v1.20.0").unwrap().1, None);
    assert_eq!(KubernetesVersion::parse_supported("v1.36.9").unwrap().1, None);
    let (version, warning) = KubernetesVersion::parse_supported("v1.37.0").unwrap();
    assert_eq!(warning, Some(VersionWarning::Untried(version)));
}

#[test]
fn the_configuration_api_follows_the_minor_version() {
    for (minors, api) in [(20..=21, ConfigApi::V1Beta2), (22..=30, ConfigApi::V1Beta3), (31..=40, ConfigApi::V1Beta4)] {
        assert_eq!(*minors.start(), api.first_minor());
        for minor in minors {
            assert_eq!(v(&format!("v1.{minor}.0")).config_api(), api);
        }
    }
}

#[test]
fn pre_releases_come_before_their_release_in_their_own_order() {
    let order = ["1.35.9", "1.36.0-alpha.1", "1.36.0-alpha.beta", "1.36.0-rc.2", "1.36.0-rc.10", "1.36.0", "1.36.1"];
    for pair in order.windows(2) {
        assert!(v(pair[0]) < v(pair[1]), "{pair:?}");
    }
}

#[test]
fn a_kubelet_newer_than_the_control_plane_is_refused() {
    let (control_plane, kubelet) = (v("v1.35.9"), v("v1.36.0"));
    assert_eq!(
        check_skew(&control_plane, &v("v1.35.0"), &kubelet),
        Err(SkewError::KubeletNewer { kubelet, control_plane })
    );
    // A newer patch is within the policy.
    assert_eq!(check_skew(&v("v1.36.0"), &v("v1.36.2"), &v("v1.36.2")), Ok(None));
}

#[test]
fn a_kubelet_may_be_three_minors_older_than_kubeadm() {
    assert_eq!(check_skew(&v("v1.36.0"), &v("v1.36.0"), &v("v1.33.0")), Ok(None));
    let (kubeadm, kubelet) = (v("v1.36.0"), v("v1.32.9"));
    assert_eq!(check_skew(&v("v1.36.0"), &kubeadm, &kubelet), Err(SkewError::KubeletTooOld { kubelet, kubeadm }));
}

#[test]
fn kubeadm_reaches_back_one_minor_and_is_only_warned_of_newer_clusters() {
    assert_eq!(check_skew(&v("v1.35.0"), &v("v1.36.0"), &v("v1.35.0")), Ok(None));
    let (control_plane, kubeadm) = (v("v1.34.0"), v("v1.36.0"));
    assert_eq!(
        check_skew(&control_plane, &kubeadm, &v("v1.34.0")),
        Err(SkewError::ClusterTooOld { kubeadm: kubeadm.clone(), control_plane: control_plane.clone() })
    );
    assert!(matches!(
        check_skew(&v("v1.36.0"), &v("v1.35.0"), &v("v1.35.0")),
        Ok(Some(VersionWarning::KubeadmOlder { .. }))
    ));
}

proptest! {
    #[test]
    fn printing_and_parsing_agree(minor in 0u32..100, patch in 0u32..100, pre in proptest::option::of("(alpha|beta|rc)\\.[0-9]")) {
        let pre = pre.map(|pre| format!("-{pre}")).unwrap_or_default();
        let text = format!("v1.{minor}.{patch}{pre}");
        prop_assert_eq!(v(&text).to_string(), text);
    }

    #[test]
    fn the_order_agrees_with_equality(one in "1\\.[0-9]\\.[0-9](-[a-z0-9]{1,3}(\\.[a-z0-9]{1,2})?)?", two in "1\\.[0-9]\\.[0-9](-[a-z0-9]{1,3})?") {
        let (one, two) = (v(&one), v(&two));
        prop_assert_eq!(one.cmp(&two) == Ordering::Equal, one == two);
        prop_assert_eq!(one.cmp(&two), two.cmp(&one).reverse());
    }
}
