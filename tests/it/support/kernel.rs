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
    diagnosis(local, remote).map(|socket| socket.received)
}

/// Bytes that the owner of the socket at `local` has written to `remote`, and whose coming has not been acknowledged: on
/// their way, or kept back because the receiver's window is full. An acknowledgement may be 40 ms late.
pub(crate) fn unacknowledged_at(local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    diagnosis(local, remote).map(|socket| socket.written)
}

/// Whether the socket at `local` is connected to `remote`, and neither bytes nor an end have come that its owner has not read.
pub(crate) fn is_quiet_at(local: SocketAddr, remote: SocketAddr) -> bool {
    diagnosis(local, remote).is_some_and(|socket| socket.state == TCP_ESTABLISHED && socket.received == 0)
}

/// What the kernel says of a socket: its state, and bytes in its receive and send queues.
struct Diagnosis {
    state: u8,
    received: u32,
    written: u32,
}

/// Asks for one socket.
///
/// Source: Linux `include/uapi/linux/{netlink,inet_diag}.h` (`nlmsghdr`, `inet_diag_req_v2`, `inet_diag_msg`).
fn diagnosis(local: SocketAddr, remote: SocketAddr) -> Option<Diagnosis> {
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
    // Header, then `inet_diag_msg`: family, state and two bytes, 48 of addresses, a timer, then both queues.
    let number = |at: usize| u32::from_ne_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]]);
    (kind == SOCK_DIAG_BY_FAMILY).then(|| Diagnosis {
        state: answer[17],
        received: number(72),
        written: number(76),
    })
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

/// More than the receiver's window holds has not come, and an empty receive queue says nothing of it.
#[test]
fn the_kernel_says_how_much_has_not_come() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut here = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut there, _) = listener.accept().unwrap();
    let (to, from) = (there.local_addr().unwrap(), here.local_addr().unwrap());
    here.set_nonblocking(true).unwrap();
    let mut written = 0;
    while let Ok(len) = here.write(&[b'x'; 64 * 1024]) {
        written += len;
    }
    let come = unread_at(to, from).unwrap() as usize;
    assert!(come < written, "{come} of {written} bytes fit the window");
    assert!(unacknowledged_at(from, to).unwrap() as usize >= written - come);
    there.read_exact(&mut vec![0; written]).unwrap();
    let patience = std::time::Instant::now() + super::PATIENCE;
    while unacknowledged_at(from, to) != Some(0) {
        assert!(std::time::Instant::now() < patience);
    }
    assert_eq!(unread_at(to, from), Some(0));
}
