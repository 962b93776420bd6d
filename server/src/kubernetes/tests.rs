//! Links against an API server double that speaks real TLS, and against real Kubernetes where there is one.

mod comparing;
mod discovering;
mod double;
mod etcd;
mod faults;
mod imported;
mod journeys;
mod lines;
mod outside;
mod policies;
mod real;
mod real_import;
mod real_strict;
mod secrets;
mod signing;
mod strict;
mod thousand;
mod windows;
mod world;

use double::Double;
use muster_state::record::LinkCondition;
use world::{World, mk_pki};

/// A linked cluster at a double, with the link up.
async fn start() -> (Double, World) {
    let pki = mk_pki();
    let double = Double::start(&pki).await;
    let world = World::start(&pki, &format!("127.0.0.1:{}", double.port)).await;
    world.until_condition(LinkCondition::Connected).await;
    (double, world)
}
