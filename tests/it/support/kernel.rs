//! What the kernel knows of a socket that is not ours, asked over netlink: a few microseconds, where reading
//! `/proc/net/tcp` walks every bucket of a large hash table.

use std::net::SocketAddr;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const IPPROTO_TCP: u8 = 6;
const TCP_ESTABLISHED: u8 = 1;

/// Bytes that have come for the socket at `local` connected to `remote`, and that its owner has not read yet. `None` when
/// there is no such socket on this machine, or none any more.
pub(crate) fn unread_at(local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    diagnosis(local, remote).map(|(_, unread)| unread)
}

/// Whether the socket at `local` is connected to `remote`, and neither bytes nor an end have come that its owner has not read.
pub(crate) fn is_quiet_at(local: SocketAddr, remote: SocketAddr) -> bool {
    diagnosis(local, remote) == Some((TCP_ESTABLISHED, 0))
}

/// State and receive queue of a socket.
///
/// Source: Linux `include/uapi/linux/{netlink,inet_diag}.h` (`nlmsghdr`, `inet_diag_req_v2`, `inet_diag_msg`).
fn diagnosis(local: SocketAddr, remote: SocketAddr) -> Option<(u8, u32)> {
    let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (local, remote) else { return None };
    let mut request = Vec::with_capacity(72);
    request.extend(72_u32.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend([0; 8]); // sequence, sender
    request.extend([AF_INET, IPPROTO_TCP, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes()); // in any state
    request.extend(local.port().to_be_bytes());
    request.extend(remote.port().to_be_bytes());
    for address in [local.ip(), remote.ip()] {
        request.extend(address.octets());
        request.extend([0; 12]);
    }
    request.extend([0; 4]); // on any interface
    request.extend([0xff; 8]); // whatever its cookie

    let diagnosis = socket(AddressFamily::NETLINK, SocketType::DGRAM, Some(SOCK_DIAG)).ok()?;
    sendto(&diagnosis, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).ok()?;
    let mut answer = [0; 512];
    recv(&diagnosis, &mut answer[..], RecvFlags::empty()).ok()?;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    // Header, then `inet_diag_msg`: family, state and two bytes, 48 of addresses, a timer, then the receive queue.
    let queue = [answer[72], answer[73], answer[74], answer[75]];
    (kind == SOCK_DIAG_BY_FAMILY).then(|| (answer[17], u32::from_ne_bytes(queue)))
}

/// Waiting for reads is worth nothing if the kernel does not say.
#[test]
fn the_kernel_says_how_much_has_not_been_read() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut here = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut there, _) = listener.accept().unwrap();
    let (to, from) = (there.local_addr().unwrap(), here.local_addr().unwrap());
    here.write_all(b"abc").unwrap();
    assert_eq!(unread_at(to, from), Some(3));
    assert!(is_quiet_at(from, to) && !is_quiet_at(to, from));
    there.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(unread_at(to, from), Some(1));
    there.read_exact(&mut [0]).unwrap();
    assert_eq!(unread_at(to, from), Some(0));
    assert!(is_quiet_at(to, from));
    drop(here);
    let patience = std::time::Instant::now() + super::PATIENCE;
    while is_quiet_at(to, from) {
        assert!(std::time::Instant::now() < patience);
    }
    let nobody = "127.0.0.1:1".parse().unwrap();
    assert_eq!(unread_at(nobody, from), None);
}
