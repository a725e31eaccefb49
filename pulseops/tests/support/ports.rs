//! Addresses for those who must be told where to listen.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports that the kernel gives to nobody who asks for any, so that one stays free until its process has it, and
/// again after that was killed.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A free port that no other test gets.
pub fn free() -> SocketAddr {
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    // Other runs of this binary begin elsewhere.
    let first = std::process::id().wrapping_mul(97);
    let count = PORTS.end - PORTS.start;
    let drawn = std::iter::repeat_with(|| first.wrapping_add(DRAWN.fetch_add(1, Ordering::Relaxed)));
    drawn
        .take(usize::from(count))
        .map(|number| PORTS.start + u16::try_from(number % u32::from(count)).expect("less than count"))
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port")
}
