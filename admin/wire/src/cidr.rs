//! Address ranges: where a PAT may be used from, and which peers of a proxy are trusted.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address without a slash.
///
/// An IPv4 address that arrives in IPv6 clothes (`::ffff:10.1.2.3`) is compared as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix_bits: u8,
}

/// The text is not a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// No address before the slash.
    #[error("not an IP address or a range such as 10.0.0.0/8")]
    Syntax,
    /// More bits than the address has.
    #[error("more prefix bits than the address has")]
    TooLong,
    /// `10.1.0.0/8`: it is unclear what was meant.
    #[error("bits are set behind the prefix")]
    HostBits,
}

impl Cidr {
    /// A range by its parts.
    ///
    /// # Errors
    /// [`CidrError::TooLong`], [`CidrError::HostBits`].
    pub fn new(network: IpAddr, prefix_bits: u8) -> Result<Self, CidrError> {
        let (bits_max, bits) = match network {
            IpAddr::V4(address) => (32, u128::from(address.to_bits()) << 96),
            IpAddr::V6(address) => (128, address.to_bits()),
        };
        if prefix_bits > bits_max {
            return Err(CidrError::TooLong);
        }
        if bits.checked_shl(u32::from(prefix_bits)).unwrap_or(0) != 0 {
            return Err(CidrError::HostBits);
        }
        Ok(Self { network, prefix_bits })
    }

    /// Its first address.
    #[must_use]
    pub const fn network(&self) -> IpAddr {
        self.network
    }

    /// How many leading bits all of its addresses share.
    #[must_use]
    pub const fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }

    /// Whether `address` is in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let host_bits = u32::from(32 - self.prefix_bits);
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(host_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let host_bits = u32::from(128 - self.prefix_bits);
                let differing = network.to_bits() ^ address.to_bits();
                differing.checked_shr(host_bits).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let network: IpAddr = address.parse().map_err(|_| CidrError::Syntax)?;
        let prefix_bits: u8 = match prefix {
            None if network.is_ipv4() => 32,
            None => 128,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| CidrError::Syntax)?
            }
            Some(_) => return Err(CidrError::Syntax),
        };
        Self::new(network, prefix_bits)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cidr, CidrError};

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a range")
    }

    #[test]
    fn a_range_holds_its_first_and_last_address_and_no_neighbour() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
            ("fd00::/8", ["fd00::", "fdff:ffff::1"], ["fc00::", "fe00::"]),
            ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::1", "fd00::1"]),
        ] {
            for address in inside {
                assert!(cidr(range).contains(address.parse().expect("an address")), "{address} in {range}");
            }
            for address in outside {
                assert!(!cidr(range).contains(address.parse().expect("an address")), "{address} in {range}");
            }
        }
        assert!(cidr("::/0").contains("::1".parse().expect("an address")));
    }

    #[test]
    fn what_is_not_a_range_is_refused() {
        for (text, error) in [
            ("", CidrError::Syntax),
            ("localhost", CidrError::Syntax),
            ("10.0.0.0/", CidrError::Syntax),
            ("10.0.0.0/+8", CidrError::Syntax),
            ("10.0.0.0/33", CidrError::TooLong),
            ("::/129", CidrError::TooLong),
            ("10.1.0.0/8", CidrError::HostBits),
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_range_prints_as_it_is_written() {
        assert_eq!(cidr("10.0.0.0/8").to_string(), "10.0.0.0/8");
        assert_eq!(cidr("::1").to_string(), "::1/128");
    }
}
