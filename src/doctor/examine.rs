//! Looking at this machine as `unisono serve` would find it.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use unisono_timer::HostFacts;
use unisono_timer::jitter::{Live, Method, Plan, Policy, measure};

use super::Examination;
use crate::config::Config;
use crate::control::{Capacity, Resources, engine_config};
use crate::engine::{SLOT, realtime_request};

/// Where `unisono serve` would listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What for: `SIP port` or `HTTP port`.
    pub topic: &'static str,
    /// `UDP` or `TCP`.
    pub protocol: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What is there now.
    pub doorway: Doorway,
    /// What chooses another one.
    pub setting: &'static str,
}

/// Whether an address is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doorway {
    /// It is.
    Free,
    /// Taken while this process, an `unisono serve`, runs.
    Ours(u32),
    /// Taken by somebody else.
    Taken,
    /// It cannot be bound at all.
    Refused(String),
}

/// Looks, asks and measures for `duration`, as a worker of a busy server would tick: every 2.5 ms.
///
/// # Errors
///
/// No thread can be started. All else that goes wrong is part of what was found.
pub fn examine(config: &Config, duration: Duration) -> io::Result<Examination> {
    let facts = HostFacts::read();
    let listeners = listeners(config);
    let capacity = Capacity::new(config, Resources::of_this_machine(config));
    let engine = engine_config(config, &capacity);
    let request = realtime_request(0, &engine);
    // On a thread of its own: whoever looks on needs no priority.
    let grant = std::thread::Builder::new()
        .name("unisono-doctor".to_owned())
        .spawn(move || request.apply())?
        .join()
        .map_err(|_| io::Error::other("the thread that asks for priority broke down"))?;
    let plan = Plan {
        policy: engine.priority.map_or(Policy::Other, Policy::Fifo),
        cpu: engine.cpus.first().copied(),
        lock_memory: engine.priority.is_some(),
        ..Plan::new(Method::Ticker, SLOT, duration)
    };
    Ok(Examination {
        facts,
        grant,
        run: measure(&plan, &Live::new()).map_err(|error| error.to_string()),
        capacity,
        workers: engine.workers,
        listeners,
    })
}

fn listeners(config: &Config) -> Vec<Listener> {
    let server = running_server(Path::new("/proc"));
    let sip = config.sip.listen;
    let http = config.http.listen;
    let udp = config
        .sip
        .udp
        .then(|| ("SIP port", "UDP", sip, UdpSocket::bind(sip).map(drop)));
    let tcp = config
        .sip
        .tcp
        .then(|| ("SIP port", "TCP", sip, TcpListener::bind(sip).map(drop)));
    let web = Some(("HTTP port", "TCP", http, TcpListener::bind(http).map(drop)));
    let tried = [
        (udp, "--sip or [sip] listen"),
        (tcp, "--sip or [sip] listen"),
        (web, "--http or [http] listen"),
    ];
    tried
        .into_iter()
        .filter_map(|(tried, setting)| {
            let (topic, protocol, address, bound) = tried?;
            Some(Listener {
                topic,
                protocol,
                address,
                doorway: doorway(bound, server),
                setting,
            })
        })
        .collect()
}

fn doorway(bound: io::Result<()>, server: Option<u32>) -> Doorway {
    match (bound, server) {
        (Ok(()), _) => Doorway::Free,
        (Err(error), Some(process)) if error.kind() == ErrorKind::AddrInUse => {
            Doorway::Ours(process)
        }
        (Err(error), None) if error.kind() == ErrorKind::AddrInUse => Doorway::Taken,
        (Err(error), _) => Doorway::Refused(error.to_string()),
    }
}

/// The first process that is an `unisono serve`. Who holds a port only root may see; who runs, everybody.
fn running_server(processes: &Path) -> Option<u32> {
    let mut numbers: Vec<u32> = fs::read_dir(processes)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().find(|number| {
        let command = processes.join(number.to_string()).join("cmdline");
        fs::read(command).is_ok_and(|command| is_server(&command))
    })
}

fn is_server(command: &[u8]) -> bool {
    let mut words = command.split(|&byte| byte == 0);
    let program = words.next().unwrap_or_default();
    let name = program.rsplit(|&byte| byte == b'/').next();
    name == Some(b"unisono") && words.next() == Some(b"serve")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_command_line() {
        assert!(is_server(
            b"/usr/local/bin/unisono\0serve\0--config\0/etc/unisono/unisono.toml\0"
        ));
        assert!(is_server(b"unisono\0serve\0"));
        assert!(!is_server(b"unisono\0doctor\0"));
        assert!(!is_server(b"/usr/sbin/asterisk\0-f\0"));
        assert!(!is_server(b"vi\0unisono\0serve\0"));
        assert!(!is_server(b""));
    }

    #[test]
    fn a_port_in_use_is_ours_only_while_a_server_runs() {
        let taken = || Err(io::Error::from(ErrorKind::AddrInUse));
        assert_eq!(doorway(Ok(()), Some(7)), Doorway::Free);
        assert_eq!(doorway(taken(), Some(7)), Doorway::Ours(7));
        assert_eq!(doorway(taken(), None), Doorway::Taken);
        let foreign = Err(io::Error::from(ErrorKind::AddrNotAvailable));
        assert!(matches!(doorway(foreign, Some(7)), Doorway::Refused(_)));
    }
}
