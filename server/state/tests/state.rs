//! The rules of the replicated state, from outside: what is refused, what always holds, what is stored.

mod comparing;
mod custody;
mod differing;
mod enrolment;
mod etcd;
mod golden;
mod importing;
mod join_windows;
mod joining;
mod kubelets;
mod lines;
mod linking;
mod properties;
mod renewing;
mod requests;
mod restoring;
mod rotating;
mod servers;
mod standing;
mod strict;
mod world;
