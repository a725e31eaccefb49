//! Which addresses may be called.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::{Error, Result};

/// IPv4 ranges that are not the public internet (IANA special-purpose registry).
const SPECIAL_V4: [([u8; 4], u8); 17] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // carrier-grade NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local, cloud metadata
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 31, 196, 0], 24), // AS112
    ([192, 52, 193, 0], 24), // AMT
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarking
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, broadcast
];

/// IPv6 ranges that are not the public internet, beside those that hold an IPv4 address.
const SPECIAL_V6: [([u16; 8], u8); 9] = [
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),  // local NAT64
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64),      // discard
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),     // protocol assignments, Teredo
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),     // documentation
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),      // unique local
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),     // link-local
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),     // site-local
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),      // multicast
];

/// What `egress.allow` opens.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    hosts: HashSet<(String, u16)>,
    nets: Vec<IpNet>,
}

impl Policy {
    /// Reads the entries: `host:port`, `[::1]:port` or a CIDR.
    ///
    /// # Errors
    /// Invalid, code `invalid_egress`.
    pub fn parse(entries: &[String]) -> Result<Self> {
        let mut policy = Self::default();
        for entry in entries {
            if let Ok(net) = entry.parse() {
                policy.nets.push(net);
                continue;
            }
            let host_port = entry.rsplit_once(':').and_then(|(host, port)| {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                Some((normal(host), port.parse().ok()?))
            });
            match host_port.filter(|(host, _)| !host.is_empty()) {
                Some(host_port) => drop(policy.hosts.insert(host_port)),
                None => {
                    let detail = format!("egress.allow: {entry:?} is neither host:port nor a CIDR");
                    return Err(Error::invalid("invalid_egress", detail));
                }
            }
        }
        Ok(policy)
    }

    /// Whether this very host and port is allowed, whatever its address.
    pub fn trusts(&self, host: &str, port: u16) -> bool {
        self.hosts.contains(&(normal(host), port))
    }

    /// Whether `ip` may be called: it is public, or in an allowed range.
    pub fn permits(&self, ip: IpAddr) -> bool {
        let plain = ip.to_canonical();
        !is_special(ip) || self.nets.iter().any(|net| net.contains(&plain) || net.contains(&ip))
    }
}

/// Names compare without case and final dot.
fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether `ip` lies outside of the public internet, or carries an IPv4 address that does.
pub fn is_special(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => SPECIAL_V4.iter().any(|&(net, bits)| in_v4(ip, net, bits)),
        IpAddr::V6(ip) => match embedded_v4(ip) {
            Some(inner) => is_special(IpAddr::V4(inner)),
            None => SPECIAL_V6.iter().any(|&(net, bits)| in_v6(ip, net, bits)),
        },
    }
}

fn in_v4(ip: Ipv4Addr, net: [u8; 4], bits: u8) -> bool {
    Ipv4Net::new(Ipv4Addr::from(net), bits).is_ok_and(|net| net.contains(&ip))
}

fn in_v6(ip: Ipv6Addr, net: [u16; 8], bits: u8) -> bool {
    Ipv6Net::new(Ipv6Addr::from(net), bits).is_ok_and(|net| net.contains(&ip))
}

/// The IPv4 address that a packet to `ip` would end at: mapped, compatible (`::1` and `::` among
/// them, which are special as 0.0.0.0/8), NAT64 and 6to4 addresses hold one.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let joined = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => {
            Some(joined(g, h))
        }
        [0x2002, high, low, ..] => Some(joined(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn special_addresses() {
        let special = [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for text in special {
            assert!(is_special(ip(text)), "{text}");
        }
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::",
        ];
        for text in public {
            assert!(!is_special(ip(text)), "{text}");
        }
    }

    #[test]
    fn entries_open_a_host_and_port_or_a_range() {
        let entries = ["127.0.0.1:8099", "Hooks.Local.:80", "[::1]:9", "10.1.0.0/16", "fd00::/8"];
        let policy = Policy::parse(&entries.map(str::to_owned)).expect("readable");
        assert!(policy.trusts("127.0.0.1", 8099) && !policy.trusts("127.0.0.1", 8098));
        assert!(policy.trusts("hooks.local", 80) && policy.trusts("HOOKS.local.", 80));
        assert!(policy.trusts("::1", 9));
        assert!(policy.permits(ip("10.1.2.3")) && !policy.permits(ip("10.2.2.3")));
        assert!(policy.permits(ip("::ffff:10.1.2.3")) && policy.permits(ip("fd00::1")));
        assert!(!policy.permits(ip("127.0.0.1")));
    }

    #[test]
    fn nonsense_entries_are_refused() {
        for entry in ["localhost", "host:port", ":80", "10.0.0.0/33", ""] {
            let error = Policy::parse(&[entry.to_owned()]).expect_err(entry);
            assert_eq!(error.code, "invalid_egress");
        }
    }
}
