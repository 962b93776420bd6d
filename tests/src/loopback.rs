//! An address of its own for each server, so that all of them can use the usual ports and come back on the same ones.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// A port that no server uses: whoever has bound it owns the address.
const RESERVATION_PORT: u16 = 9440;
/// Addresses that are tried; each is taken by another test at most.
const TRIES_MAX: u16 = 4096;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// An address in 127.0.0.0/8 that is this process's alone as long as the value lives.
#[derive(Debug)]
pub(crate) struct Loopback {
    pub(crate) address: Ipv4Addr,
    _reserved: TcpListener,
}

impl Loopback {
    pub(crate) fn reserve() -> Result<Self> {
        let [.., third, fourth] = std::process::id().to_be_bytes();
        let first_try = u16::from_be_bytes([third, fourth]);
        for _ in 0..TRIES_MAX {
            // An odd stride visits all; the second byte keeps away from 127.0.0.1, where clients' own sockets are.
            let number = first_try.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(257));
            let [third, fourth] = number.to_be_bytes();
            let address = Ipv4Addr::new(127, 77, third, fourth);
            if let Ok(reserved) = TcpListener::bind((address, RESERVATION_PORT)) {
                return Ok(Self { address, _reserved: reserved });
            }
        }
        bail!("no free loopback address; does this system have all of 127.0.0.0/8?")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reservations_differ_and_the_second_cannot_take_the_firsts() {
        let (one, other) = (Loopback::reserve().unwrap(), Loopback::reserve().unwrap());
        assert_ne!(one.address, other.address);
        assert!(TcpListener::bind((one.address, RESERVATION_PORT)).is_err());
    }
}
