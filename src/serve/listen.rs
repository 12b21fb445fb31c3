//! Where a server listens: TCP addresses and Unix sockets.

use std::fmt;
use std::fs::Permissions;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::failure::ServeFailure;

/// A place to listen on, as it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine reaches it; of a Unix socket, only this user.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("the path of the socket is missing".into()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        // No other names: which of its addresses would be meant is not known.
        let port = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        match port {
            Some(port) => Ok(Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                "write it as 127.0.0.1:9440, [::1]:9440, 0.0.0.0:9440 or unix:/path".into()
            }),
        }
    }
}

impl fmt::Display for Address {
    /// As clients are given it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Somebody who connected.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A place that is being listened on.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    /// With the port that port 0 became.
    pub(super) address: Address,
    /// Whether it has only the pages of the server itself.
    pub(super) is_admin: bool,
    _file: Option<SocketFile>,
}

impl Listener {
    /// Begins to listen.
    pub(super) async fn bind(address: &Address, is_admin: bool) -> Result<Self, ServeFailure> {
        let bound = match address {
            Address::Tcp(wanted) => bind_tcp(*wanted).await,
            Address::Unix(path) => bind_unix(path),
        };
        let failed = |error| ServeFailure::Listen { address: address.to_string(), error };
        let (socket, address, file) = bound.map_err(failed)?;
        Ok(Self { socket, address, is_admin, _file: file })
    }

    fn poll_accept(&self, context: &mut std::task::Context<'_>) -> Poll<io::Result<Stream>> {
        match &self.socket {
            Socket::Tcp(listener) => {
                listener.poll_accept(context).map_ok(|(stream, _)| Stream::Tcp(stream))
            }
            Socket::Unix(listener) => {
                listener.poll_accept(context).map_ok(|(stream, _)| Stream::Unix(stream))
            }
        }
    }
}

/// A socket, its address, and the file that it has in the file system.
type Bound = (Socket, Address, Option<SocketFile>);

async fn bind_tcp(wanted: SocketAddr) -> io::Result<Bound> {
    let listener = TcpListener::bind(wanted).await?;
    let bound = listener.local_addr()?;
    Ok((Socket::Tcp(listener), Address::Tcp(bound), None))
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    remove_stale(path)?;
    // It gets its name when only this user may use it: made in a directory that nobody
    // else can enter. A link, unlike a renaming, does not take another server's place.
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let private = tempfile::Builder::new().prefix(".larder").rand_bytes(4).tempdir_in(parent)?;
    let made = private.path().join("s");
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    std::fs::hard_link(&made, path)?;
    let file = SocketFile::of(path)?;
    Ok((Socket::Unix(listener), Address::Unix(path.to_owned()), Some(file)))
}

/// Removes a socket that nobody listens on any more: one of a server that was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is no socket is there",
        ));
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

/// The file of a socket, removed at the end if it is still the same one.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: id(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|now| now == self.id) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Waits until somebody connects, and tells at which of the listeners. They take turns:
/// each time another one is asked first.
pub(super) async fn accept(
    listeners: &[Listener],
    turn: &mut usize,
) -> (usize, io::Result<Stream>) {
    poll_fn(|context| {
        *turn = turn.wrapping_add(1);
        for offset in 0..listeners.len() {
            let index = turn.wrapping_add(offset) % listeners.len();
            if let Poll::Ready(accepted) = listeners[index].poll_accept(context) {
                return Poll::Ready((index, accepted));
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let shown = |text: &str| text.parse().map(|address: Address| address.to_string());
        assert_eq!(shown("127.0.0.1:9440").unwrap(), "http://127.0.0.1:9440");
        assert_eq!(shown("localhost:0").unwrap(), "http://127.0.0.1:0");
        assert_eq!(shown("[::1]:80").unwrap(), "http://[::1]:80");
        assert_eq!(shown("unix:/run/s").unwrap(), "unix:/run/s");
        for bad in ["", "9440", "127.0.0.1", "example.com:80", "unix:", "localhost:x"] {
            assert!(shown(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_loopback_and_sockets_are_local() {
        let is_local = |text: &str| text.parse::<Address>().unwrap().is_local();
        for text in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix:/s"] {
            assert!(is_local(text), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert!(!is_local(text), "{text}");
        }
    }

    #[test]
    fn sockets_are_private_replaced_only_if_stale_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _guard = runtime.enter();
        // Left by one that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let bound = bind_unix(&path).unwrap();
        let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
