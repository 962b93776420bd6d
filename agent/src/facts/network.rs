//! Interfaces and addresses, without a netlink crate.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;

/// Interfaces that container networks and hypervisors make.
const VIRTUAL: &[&str] = &[
    "docker",
    "cni",
    "br-",
    "virbr",
    "flannel",
    "cali",
    "cilium",
    "lxc",
    "veth",
    "kube-",
    "nodelocaldns",
    "tunl",
    "vxlan",
    "weave",
    "dummy",
    "ovs-",
    "podman",
    "tap",
    "tun",
    "wg",
];

/// More are not sent: a machine has a handful.
const LIST_MAX: usize = 64;

/// MACs of interfaces that look physical, sorted. One called `eth0` counts even when it is half of a veth pair: that is what
/// machines of a laboratory have.
pub(super) fn macs(net: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(net) else {
        return Vec::new();
    };
    let macs: BTreeSet<String> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| !is_virtual(name)))
        .filter_map(|entry| fs::read_to_string(entry.path().join("address")).ok())
        .map(|mac| mac.trim().to_lowercase())
        .filter(|mac| mac.len() == 17 && mac != "00:00:00:00:00:00")
        .collect();
    macs.into_iter().take(LIST_MAX).collect()
}

fn is_virtual(name: &str) -> bool {
    name == "lo" || VIRTUAL.iter().any(|prefix| name.starts_with(prefix))
}

/// Global addresses of the machine, those of the default routes first.
pub(super) fn addresses(proc: &Path) -> Vec<String> {
    let mut found: Vec<IpAddr> = [source_v4(), source_v6()].into_iter().flatten().collect();
    let trie = fs::read_to_string(proc.join("net/fib_trie")).unwrap_or_default();
    let table = fs::read_to_string(proc.join("net/if_inet6")).unwrap_or_default();
    let mut others: BTreeSet<IpAddr> = local_v4(&trie).map(IpAddr::from).collect();
    others.extend(local_v6(&table).map(IpAddr::from));
    found.extend(others);
    let mut seen = BTreeSet::new();
    found.retain(|address| is_global(address) && seen.insert(*address));
    found.into_iter().take(LIST_MAX).map(|address| address.to_string()).collect()
}

/// The address that the kernel would send from. Connecting a UDP socket sends nothing; the address called is of the range
/// for documentation.
fn source_v4() -> Option<IpAddr> {
    source((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(203, 0, 113, 1), 9).into())
}

fn source_v6() -> Option<IpAddr> {
    source((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into())
}

fn source(from: std::net::SocketAddr, to: std::net::SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Local addresses of the kernel's routing trie: a line with an address, followed by `/32 host LOCAL`.
fn local_v4(trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    let lines: Vec<&str> = trie.lines().map(str::trim).collect();
    let local: BTreeSet<Ipv4Addr> = lines
        .windows(2)
        .filter(|pair| pair[1] == "/32 host LOCAL")
        .filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse().ok())
        .collect();
    local.into_iter()
}

/// Lines of `if_inet6`: 32 digits, index, prefix length, scope (00 is global), flags, interface.
fn local_v6(table: &str) -> impl Iterator<Item = Ipv6Addr> + '_ {
    table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let global = fields.get(3) == Some(&"00") && fields.get(5).is_some_and(|name| !is_virtual(name));
        let digits = u128::from_str_radix(fields.first()?, 16).ok()?;
        global.then(|| Ipv6Addr::from(digits))
    })
}

fn is_global(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    };
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_of_physical_looking_interfaces_are_sorted_and_others_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mac) in [
            ("eth0", "BA:00:00:00:00:02\n"),
            ("ens1", "aa:00:00:00:00:01\n"),
            ("lo", "00:00:00:00:00:00\n"),
            ("docker0", "02:42:00:00:00:01\n"),
            ("veth12ab34c", "02:42:00:00:00:02\n"),
            ("cni0", "02:42:00:00:00:03\n"),
            ("ib0", "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:31:78:f2\n"),
        ] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("address"), mac).unwrap();
        }
        assert_eq!(macs(dir.path()), ["aa:00:00:00:00:01", "ba:00:00:00:00:02"]);
    }

    #[test]
    fn local_addresses_are_read_from_the_kernels_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.11\n        /32 host LOCAL\n     |-- 192.0.2.0\n        /24 link UNICAST\n     \
                    |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(local_v4(trie).collect::<Vec<_>>(), [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 11)]);
        let table = "20010db8000000000000000000000011 02 40 00 80     eth0\nfe80000000000000c06de7fffe160a49 02 40 20 80     eth0\n\
                     20010db8000000000000000000000012 03 40 00 80  docker0\n";
        assert_eq!(local_v6(table).collect::<Vec<_>>(), ["2001:db8::11".parse::<Ipv6Addr>().unwrap()]);
    }

    #[test]
    fn only_global_addresses_are_told() {
        for (text, global) in [
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("10.0.0.1", true),
            ("fe80::1", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_global(&text.parse().unwrap()), global, "{text}");
        }
    }
}
