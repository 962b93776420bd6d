//! `process_*`: what the kernel says about this process, with the names and units that every dashboard knows.

use std::fmt::Write as _;
use std::fs;

/// Clock ticks per second in `/proc`: part of the kernel's interface, 100 on every architecture Muster is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The figures in the Prometheus text format. What the kernel does not tell (no `/proc`) is left out.
pub(super) fn render() -> String {
    let mut text = String::new();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
    let mut put = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    };
    put("process_cpu_seconds_total", "counter", "User and system CPU time spent.", cpu_seconds(&stat));
    put("process_resident_memory_bytes", "gauge", "Memory in RAM.", kibibytes(&status, "VmRSS:"));
    put("process_virtual_memory_bytes", "gauge", "Memory mapped.", kibibytes(&status, "VmSize:"));
    put("process_start_time_seconds", "gauge", "Start, seconds since the Unix epoch.", start_seconds(&stat, &machine));
    put("process_open_fds", "gauge", "Open file descriptors.", open_descriptors());
    put("process_max_fds", "gauge", "The limit on open file descriptors.", descriptors_max(&limits));
    put("process_threads", "gauge", "Operating-system threads.", field(&status, "Threads:"));
    text
}

/// The fields after the command's name, which may itself hold blanks and brackets; the first is number 3 of proc(5).
fn after_name(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default()
}

fn ticks(stat: &str, number: usize) -> Option<f64> {
    after_name(stat).get(number - 3)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((ticks(stat, 14)? + ticks(stat, 15)?) / TICKS_PER_SECOND)
}

fn start_seconds(stat: &str, machine: &str) -> Option<f64> {
    Some(field(machine, "btime")? + ticks(stat, 22)? / TICKS_PER_SECOND)
}

fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn kibibytes(status: &str, name: &str) -> Option<f64> {
    field(status, name).map(|kibibytes| kibibytes * 1024.0)
}

fn descriptors_max(limits: &str) -> Option<f64> {
    field(limits, "Max open files")
}

fn open_descriptors() -> Option<f64> {
    // One of them is the directory that is being read.
    let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    Some(f64::from(u32::try_from(open).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_blanks_and_brackets_in_its_name_is_read_right() {
        let fields: Vec<String> = (4..=52).map(|number| number.to_string()).collect();
        let stat = format!("77 (mu) ster (x) S {}", fields.join(" "));
        assert_eq!(cpu_seconds(&stat), Some((14.0 + 15.0) / 100.0));
        assert_eq!(start_seconds(&stat, "cpu 1 2\nbtime 1000\n"), Some(1000.22));
    }

    #[test]
    fn figures_that_are_not_there_are_left_out() {
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(kibibytes("VmSize: 12 kB", "VmRSS:"), None);
        assert_eq!(descriptors_max("Max open files            unlimited            unlimited            files"), None);
    }

    #[test]
    fn this_process_has_them_all() {
        let text = render();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_start_time_seconds",
            "process_open_fds",
            "process_max_fds",
            "process_threads",
        ] {
            assert!(text.contains(&format!("\n{name} ")), "{name} in {text}");
        }
    }
}
