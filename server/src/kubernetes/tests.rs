//! Links against an API server double that speaks real TLS, and against real Kubernetes where there is one.

mod comparing;
mod double;
mod etcd;
mod faults;
mod imported;
mod journeys;
mod lines;
mod outside;
mod real;
mod real_import;
mod secrets;
mod signing;
mod thousand;
mod windows;
mod world;
