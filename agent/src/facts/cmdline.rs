//! The kernel's command line: `muster.*` parameters and `BOOTIF=`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Parameters of the kernel command line. Later ones win, as in the kernel.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KernelArguments {
    values: BTreeMap<String, String>,
}

// By hand: muster.token may be among them.
impl std::fmt::Debug for KernelArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl KernelArguments {
    /// Reads `cmdline` under `proc`; without it there are none.
    pub fn read(proc: &Path) -> Self {
        Self::parse(&fs::read_to_string(proc.join("cmdline")).unwrap_or_default())
    }

    /// Takes a command line apart; double quotes may hold blanks.
    pub fn parse(line: &str) -> Self {
        let mut values = BTreeMap::new();
        for word in words(line) {
            if let Some((name, value)) = word.split_once('=') {
                values.insert(name.to_owned(), value.to_owned());
            }
        }
        Self { values }
    }

    /// The value of `muster.<name>`, unless empty.
    pub fn muster(&self, name: &str) -> Option<&str> {
        self.values.get(&format!("muster.{name}")).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The MAC that the machine booted from. PXELINUX and iPXE write `01-aa-bb-cc-dd-ee-ff`, with the hardware type first.
    pub fn boot_mac(&self) -> Option<String> {
        let text = self.values.get("BOOTIF")?;
        let parts: Vec<&str> = text.split(['-', ':']).collect();
        let six = match parts.len() {
            7 => &parts[1..],
            6 => &parts[..],
            _ => return None,
        };
        let good = six.iter().all(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()));
        good.then(|| six.join(":").to_lowercase())
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_muster_are_found_among_the_others() {
        let kernel = KernelArguments::parse(
            "BOOT_IMAGE=/vmlinuz quiet muster.server=10.0.0.5:9443,10.0.0.6:9443 muster.ca=sha256:3f1c \
             muster.labels=\"rack=r1,note=a b\" muster.role= BOOTIF=01-AA-bb-cc-dd-ee-0f muster.node=a muster.node=b\n",
        );
        assert_eq!(kernel.muster("server"), Some("10.0.0.5:9443,10.0.0.6:9443"));
        assert_eq!(kernel.muster("ca"), Some("sha256:3f1c"));
        assert_eq!(kernel.muster("labels"), Some("rack=r1,note=a b"));
        assert_eq!(kernel.muster("role"), None);
        assert_eq!(kernel.muster("node"), Some("b"));
        assert_eq!(kernel.boot_mac().as_deref(), Some("aa:bb:cc:dd:ee:0f"));
    }

    #[test]
    fn a_boot_mac_that_is_none_is_left_out() {
        for text in [
            "",
            "BOOTIF=",
            "BOOTIF=eth0",
            "BOOTIF=01-aa-bb-cc-dd-ee",
            "BOOTIF=aa:bb:cc:dd:ee:gg",
            "BOOTIF=1-2-3-4-5-6-7-8",
        ] {
            let mac = KernelArguments::parse(text).boot_mac();
            assert!(mac.is_none() || text.contains("01-aa-bb-cc-dd-ee"), "{text}: {mac:?}");
        }
        assert_eq!(KernelArguments::parse("BOOTIF=aa:bb:cc:dd:ee:ff").boot_mac().as_deref(), Some("aa:bb:cc:dd:ee:ff"));
    }

    #[test]
    fn values_do_not_print() {
        assert!(!format!("{:?}", KernelArguments::parse("muster.token=hunter2")).contains("hunter2"));
    }
}
