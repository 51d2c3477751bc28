//! Who is called: a number at a server, or a list of endpoints; and whether anybody answers there.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Where SIP is, if it is not said.
const SIP_PORT: u16 = 5060;

/// How often, and how long each time, an answer to OPTIONS is waited for.
const ATTEMPTS: usize = 3;
const PATIENCE: Duration = Duration::from_millis(500);

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A SIP server.
    Sip {
        /// What is dialled; `{}` stands for the conference.
        number: String,
        /// Host name or address, and port.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A file with endpoints.
    Rtp(PathBuf),
}

/// A server that can be called.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    /// Where it is.
    pub(super) address: SocketAddr,
    /// Our own address on the way there.
    pub(super) local: IpAddr,
    /// What it calls itself.
    pub(super) name: Option<String>,
}

/// Why nobody can be called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The name has no address.
    #[error("cannot find {host}: {source}; correct the name, or give an address")]
    Name {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nothing listens.
    #[error(
        "nothing listens for SIP on UDP {address}: start the server, or correct address and port"
    )]
    NobodyThere {
        /// Where.
        address: SocketAddr,
    },
    /// There is no way.
    #[error("cannot send to {address}: {source}")]
    Unreachable {
        /// Where to.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl Target {
    /// What is dialled for a conference, counted from 0.
    pub fn number(&self, conference: usize) -> String {
        match self {
            Self::Sip { number, .. } => number.replace("{}", &conference.to_string()),
            Self::Rtp(_) => String::new(),
        }
    }

    /// Whether conferences have numbers of their own.
    pub fn tells_conferences(&self) -> bool {
        match self {
            Self::Sip { number, .. } => number.contains("{}"),
            Self::Rtp(_) => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip { number, host, port } if host.contains(':') => {
                write!(f, "sip:{number}@[{host}]:{port}")
            }
            Self::Sip { number, host, port } => write!(f, "sip:{number}@{host}:{port}"),
            Self::Rtp(path) => write!(f, "rtp:{}", path.display()),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected sip:NUMBER@HOST[:PORT], where {} in NUMBER stands for the conference (sip:room{}@127.0.0.1:5060), or rtp:FILE".to_owned()
        };
        if let Some(file) = text.strip_prefix("rtp:") {
            return match file {
                "" => Err(expected()),
                file => Ok(Self::Rtp(file.into())),
            };
        }
        let rest = text.strip_prefix("sip:").ok_or_else(expected)?;
        if rest.contains(';') || rest.contains('?') {
            return Err(
                "parameters in the address are not known here: calls are made by SIP over UDP"
                    .to_owned(),
            );
        }
        let (number, place) = rest.split_once('@').ok_or_else(expected)?;
        let (host, port) = match place.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']').ok_or_else(expected)?;
                (host, port.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = match port {
            None => SIP_PORT,
            Some(port) => port.parse().map_err(|_| expected())?,
        };
        if number.is_empty() || host.is_empty() || port == 0 {
            return Err(expected());
        }
        Ok(Self::Sip {
            number: number.to_owned(),
            host: host.to_owned(),
            port,
        })
    }
}

/// Asks a SIP server who it is (OPTIONS). That one does not answer this is no error, as long as something is there.
///
/// # Errors
/// [`TargetError`].
pub(super) async fn reach(host: &str, port: u16) -> Result<Reached, TargetError> {
    let name_error = |source| TargetError::Name {
        host: host.to_owned(),
        source,
    };
    let mut addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(name_error)?;
    let address = addresses
        .next()
        .ok_or_else(|| name_error(io::ErrorKind::NotFound.into()))?;
    let unreachable = |source| TargetError::Unreachable { address, source };
    let socket = connected(address).await.map_err(unreachable)?;
    let local = socket.local_addr().map_err(unreachable)?;
    let name = ask(&socket, address, local).await.map_err(|error| {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            TargetError::NobodyThere { address }
        } else {
            unreachable(error)
        }
    })?;
    Ok(Reached {
        address,
        local: local.ip(),
        name,
    })
}

/// Our own address on the way to another.
///
/// # Errors
/// [`TargetError::Unreachable`].
pub(super) async fn local_towards(address: SocketAddr) -> Result<IpAddr, TargetError> {
    let socket = connected(address).await;
    let local = socket.and_then(|socket| socket.local_addr());
    match local {
        Ok(local) => Ok(local.ip()),
        Err(source) => Err(TargetError::Unreachable { address, source }),
    }
}

async fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// The server's name, or `None` if it does not answer or has none.
async fn ask(
    socket: &UdpSocket,
    server: SocketAddr,
    local: SocketAddr,
) -> io::Result<Option<String>> {
    let mut answer = [0; 4096];
    for attempt in 0..ATTEMPTS {
        let id: u64 = rand::random();
        let request = format!(
            "OPTIONS sip:{server} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{id:x};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:load@{local}>;tag={id:x}\r\nTo: <sip:{server}>\r\nCall-ID: {id:x}@{}\r\nCSeq: {} OPTIONS\r\n\
             Contact: <sip:load@{local}>\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n",
            local.ip(),
            attempt + 1
        );
        socket.send(request.as_bytes()).await?;
        if let Ok(received) = timeout(PATIENCE, socket.recv(&mut answer)).await {
            return Ok(server_name(&String::from_utf8_lossy(&answer[..received?])));
        }
    }
    Ok(None)
}

/// `Server` or else `User-Agent` of a SIP message.
fn server_name(message: &str) -> Option<String> {
    let header = |wanted: &str| {
        let mut lines = message.lines().take_while(|line| !line.is_empty());
        lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            (name.trim().eq_ignore_ascii_case(wanted) && !value.is_empty())
                .then(|| value.to_owned())
        })
    };
    // What comes from outside is shown on terminals.
    let printable = |name: String| name.chars().filter(|c| !c.is_control()).take(80).collect();
    header("Server")
        .or_else(|| header("User-Agent"))
        .map(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_numbers_at_hosts_or_files() {
        let target: Target = "sip:room{}@127.0.0.1:5070".parse().unwrap();
        assert_eq!(target.number(7), "room7");
        assert!(target.tells_conferences());
        assert_eq!(target.to_string(), "sip:room{}@127.0.0.1:5070");
        let target: Target = "sip:100@pbx.example".parse().unwrap();
        assert_eq!(target.to_string(), "sip:100@pbx.example:5060");
        assert!(!target.tells_conferences());
        let target: Target = "sip:{}@[::1]:5080".parse().unwrap();
        assert_eq!(
            (target.number(5), target.to_string()),
            ("5".to_owned(), "sip:{}@[::1]:5080".to_owned())
        );
        assert_eq!("rtp:legs.json".parse(), Ok(Target::Rtp("legs.json".into())));
        for wrong in [
            "",
            "room@host",
            "sip:host",
            "sip:@host",
            "sip:1@",
            "sip:1@h:x",
            "sip:1@h:0",
            "rtp:",
            "sip:1@h;transport=tcp",
        ] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_server_says_who_it_is() {
        let answer = "SIP/2.0 200 OK\r\nUser-Agent: agent 1\r\nserver: Asterisk PBX 22\x1b[0m\r\n\r\nServer: body";
        assert_eq!(server_name(answer).as_deref(), Some("Asterisk PBX 22[0m"));
        assert_eq!(server_name("SIP/2.0 200 OK\r\n\r\nServer: body"), None);
    }

    #[tokio::test]
    async fn where_nobody_listens_that_is_said() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let error = reach("127.0.0.1", port).await.unwrap_err();
        assert!(matches!(error, TargetError::NobodyThere { .. }), "{error}");
        assert!(error.to_string().contains(&port.to_string()));
    }
}
