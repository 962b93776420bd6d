//! What is printed.

use std::time::Duration;

use crate::rows::{Agents, Attach, Commands};

/// Rows, printed as they come: a run takes minutes.
pub(crate) struct Table;

impl Table {
    pub(crate) fn head(&self) {
        println!("{}", line(&["", "etcd", "Muster", "ratio", "goal"].map(str::to_owned)));
    }

    pub(crate) fn commands(&self, clients: usize, theirs: Option<Commands>, ours: Option<Commands>) {
        let goal = if clients == 1 { "≥ 1.0" } else { "≥ 2.0" };
        let rate = |commands: Commands| commands.per_second;
        self.row(&format!("durable commands/s, clients: {clients}"), theirs.map(rate), ours.map(rate), 0, goal);
        self.waits(theirs, ours, "");
    }

    pub(crate) fn agents(&self, count: usize, theirs: Option<Agents>, ours: Agents) {
        let rate = |attach: Attach| attach.per_second;
        let used = |attach: Attach| micros(attach.cpu);
        let (first, ours_first) = (theirs.map(|all| all.attach), Some(ours.attach));
        self.row(&format!("watchers attached/s, {count}"), first.map(rate), ours_first.map(rate), 0, "≥ 2.0");
        self.row("  CPU of the servers for each, µs", first.map(used), ours_first.map(used), 0, "");
        let again = theirs.and_then(|all| all.again);
        self.row("the same once more, as after a fail-over", again.map(rate), ours.again.map(rate), 0, "");
        self.row("  CPU of the servers for each, µs", again.map(used), ours.again.map(used), 0, "");
        let memory = |all: Agents| all.memory / 1024.0;
        self.row("memory of the servers for each, KiB", theirs.map(memory), Some(memory(ours)), 1, "≤ 40 KB");
        let (delivered, ours_delivered) = (theirs.map(|all| all.delivery), Some(ours.delivery));
        let rate = |commands: Commands| commands.per_second;
        self.row("changes delivered/s, one per watcher", delivered.map(rate), ours_delivered.map(rate), 0, "≥ 3.0");
        self.waits(delivered, ours_delivered, "< 1.0");
    }

    fn waits(&self, theirs: Option<Commands>, ours: Option<Commands>, goal: &str) {
        let ms = |wait: fn(&Commands) -> Duration| move |all: Commands| wait(&all).as_secs_f64() * 1000.0;
        let (p50, p99) = (ms(|all| all.p50), ms(|all| all.p99));
        self.row("  p50, ms", theirs.map(p50), ours.map(p50), 2, "");
        self.row("  p99, ms", theirs.map(p99), ours.map(p99), 2, goal);
        let used = |all: Commands| micros(all.cpu);
        self.row("  CPU of the servers for each, µs", theirs.map(used), ours.map(used), 0, "");
    }

    fn row(&self, what: &str, theirs: Option<f64>, ours: Option<f64>, digits: usize, goal: &str) {
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
        let ratio = theirs.zip(ours).filter(|(theirs, _)| *theirs > 0.0);
        let ratio = ratio.map_or_else(String::new, |(theirs, ours)| format!("{:.2}", ours / theirs));
        let row = [what.to_owned(), figure(theirs), figure(ours), ratio, goal.to_owned()];
        println!("{}", line(&row));
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn line([what, theirs, ours, ratio, goal]: &[String; 5]) -> String {
    format!("{what:<44} {theirs:>9} {ours:>9} {ratio:>7}  {goal}")
}
