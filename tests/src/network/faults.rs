//! What may go wrong between hosts.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Faults between hosts, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// From whom nothing arrives at whom.
    severed: BTreeSet<(usize, usize)>,
    /// Of a hundred packets between hosts, so many are lost.
    loss_percent: u8,
}

impl Faults {
    /// Nothing that `from` sends arrives at `to`.
    #[must_use]
    pub fn one_way(mut self, from: usize, to: usize) -> Self {
        self.severed.insert((from, to));
        self
    }

    /// Nothing passes between `host` and any of `others`, in either direction.
    #[must_use]
    pub fn cut_off(self, host: usize, others: &[usize]) -> Self {
        others.iter().fold(self, |faults, other| faults.one_way(host, *other).one_way(*other, host))
    }

    /// Of a hundred packets between hosts, so many are lost by chance.
    #[must_use]
    pub fn loss(self, loss_percent: u8) -> Self {
        Self { loss_percent, ..self }
    }

    /// The packet filter of a host: it takes the place of the one before as a whole.
    pub(super) fn filter(&self, host: usize, addresses: &[Ipv4Addr]) -> String {
        let mut rules = String::new();
        for (from, address) in addresses.iter().enumerate().filter(|(from, _)| *from != host) {
            if self.severed.contains(&(from, host)) {
                let _ = writeln!(rules, "    ip saddr {address} drop");
            } else if self.loss_percent > 0 {
                let _ = writeln!(rules, "    ip saddr {address} numgen random mod 100 < {} drop", self.loss_percent);
            }
        }
        format!(
            "table ip faults\ndelete table ip faults\ntable ip faults {{\n  chain arriving {{\n    \
             type filter hook input priority 0; policy accept;\n{rules}  }}\n}}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_drops_what_must_not_arrive_and_nothing_of_whom_it_does_not_concern() {
        let addresses = [1, 2, 3].map(|last| Ipv4Addr::new(198, 18, 0, last));
        let faults = Faults::default().one_way(0, 1);
        assert!(faults.filter(1, &addresses).contains("ip saddr 198.18.0.1 drop"));
        for unconcerned in [0, 2] {
            assert!(!faults.filter(unconcerned, &addresses).contains("drop"));
        }
        let faults = Faults::default().cut_off(2, &[0, 1]).loss(10);
        assert_eq!(faults.filter(2, &addresses).matches("198.18.0").count(), 2);
        let first = faults.filter(0, &addresses);
        assert!(first.contains("ip saddr 198.18.0.3 drop"), "{first}");
        assert!(first.contains("ip saddr 198.18.0.2 numgen random mod 100 < 10 drop"), "{first}");
    }
}
