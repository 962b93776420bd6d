//! Judges reports that have not been judged yet.

use muster_state::command::JudgePreflight;

use super::{Planned, View};
use crate::operations::judge_preflight::problem;

pub(super) fn plan(view: View<'_>) -> impl Iterator<Item = Planned> {
    view.state.nodes.values().filter_map(move |node| {
        let report = node.preflight.as_ref().filter(|_| node.preflight_judged != node.preflight_revision)?;
        let cluster = view.state.clusters.get(&node.placement()?.cluster)?;
        let waits = node.locked.is_none() && node.steps.is_empty() && node.failure.is_none();
        waits.then(|| {
            let problem = problem(&cluster.spec, report);
            Planned::Judge(JudgePreflight { node: node.id.clone(), revision: node.preflight_revision, problem })
        })
    })
}
