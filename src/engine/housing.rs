//! Which legs live on their worker's shared port, and which have ports of their own.

use std::collections::HashMap;
use std::net::SocketAddr;

use unisono_rtp::net::MediaPorts;

use super::command::{Command, Remote};
use super::media::MediaSpec;
use super::registry::{Engine, EngineConfig, EngineError, Transport};
use super::sockets::{Channel, LegSockets, token};
use super::{ConferenceId, LegId};

/// The shared ports, and who has which address on them.
#[derive(Debug, Default)]
pub(super) struct Housing {
    /// RTP and RTCP port of each worker; none where no port is shared.
    ports: Vec<(u16, Option<u16>)>,
    /// Whose peer announced an address.
    tenants: HashMap<(u16, SocketAddr), LegId>,
    /// The legs on shared ports, with what their peers announced.
    announced: HashMap<LegId, Option<SocketAddr>>,
}

impl Engine {
    /// Starts the workers, each with a shared port of its own: as many as [`EngineConfig::workers`].
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_sharing(
        config: EngineConfig,
        shared: Vec<MediaPorts>,
    ) -> Result<Self, EngineError> {
        let ports = shared
            .iter()
            .map(|ports| {
                let rtcp = ports.rtcp.as_ref().map(|rtcp| rtcp.local_addr().port());
                (ports.rtp.local_addr().port(), rtcp)
            })
            .collect();
        let mut engine = Self::start_with(config, shared)?;
        engine.housing.ports = ports;
        Ok(engine)
    }

    /// The shared RTP and RTCP port for the next leg of this conference, if there is one and the peer's address is nobody
    /// else's there.
    pub fn shared_port(&self, near: ConferenceId, remote: &Remote) -> Option<(u16, Option<u16>)> {
        let worker = self.next_worker(near)?;
        let ports = self.housing.ports.get(usize::from(worker))?;
        let rtp = remote.rtp?;
        let is_free = !self.housing.tenants.contains_key(&(worker, rtp));
        is_free.then_some(*ports)
    }

    /// Opens a leg on the shared port that [`shared_port`](Self::shared_port) named: as [`open_leg`](Self::open_leg), without
    /// a descriptor.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::WorkerEnded`].
    pub fn open_shared_leg(
        &mut self,
        media: MediaSpec,
        near: ConferenceId,
    ) -> Result<LegId, EngineError> {
        let (id, phase) = self.reserve_leg(near)?;
        let leg = self.rtp_leg(id, phase, media);
        self.housing.announce(id, media.remote.rtp);
        self.begin_leg(
            leg,
            Some(LegSockets::Shared(media.remote)),
            Transport::Rtp(media),
            near,
        );
        Ok(id)
    }

    /// Whether a leg is on the shared port.
    pub fn is_shared(&self, leg: LegId) -> bool {
        self.housing.announced.contains_key(&leg)
    }

    /// How many legs are on shared ports.
    pub fn shared_leg_count(&self) -> usize {
        self.housing.announced.len()
    }

    /// Whether a leg on the shared port can stay there when its peer's address is `remote`: nobody else's is the same.
    pub fn can_stay(&self, leg: LegId, remote: &Remote) -> bool {
        remote.rtp.is_none_or(|rtp| {
            let tenant = self.housing.tenants.get(&(leg.worker, rtp));
            tenant.is_none_or(|tenant| *tenant == leg)
        })
    }

    /// Gives a leg that is on the shared port ports of its own; from then on it sends and receives there.
    ///
    /// # Errors
    /// [`EngineError::System`]; then it stays where it is.
    pub fn move_out(&mut self, leg: LegId, ports: MediaPorts) -> Result<(), EngineError> {
        if !self.is_shared(leg) {
            return Ok(());
        }
        let sockets = self.watch(leg, ports)?;
        self.housing.vacate(leg);
        self.hand(leg.worker)
            .command(Command::MoveOut { leg, sockets });
        Ok(())
    }

    /// Lets the leg's worker be told of what comes to its ports.
    pub(super) fn watch(
        &mut self,
        leg: LegId,
        ports: MediaPorts,
    ) -> Result<LegSockets, EngineError> {
        let poller = &self.hand(leg.worker).poller;
        poller.register_once(&ports.rtp, token(leg.index, Channel::Rtp))?;
        if let Some(rtcp) = &ports.rtcp {
            poller.register(rtcp, token(leg.index, Channel::Rtcp))?;
        }
        Ok(LegSockets::Own(ports))
    }
}

impl Housing {
    /// A leg is on the shared port, with a peer that announced this address.
    pub(super) fn announce(&mut self, leg: LegId, rtp: Option<SocketAddr>) {
        self.vacate(leg);
        self.announced.insert(leg, rtp);
        if let Some(rtp) = rtp {
            // The first keeps it, as on the worker.
            self.tenants.entry((leg.worker, rtp)).or_insert(leg);
        }
    }

    /// The same where the leg is on the shared port already; otherwise nothing.
    pub(super) fn readdress(&mut self, leg: LegId, rtp: Option<SocketAddr>) {
        if self.announced.contains_key(&leg) {
            self.announce(leg, rtp);
        }
    }

    /// A leg is no longer on the shared port.
    pub(super) fn vacate(&mut self, leg: LegId) {
        if let Some(rtp) = self.announced.remove(&leg).flatten() {
            let key = (leg.worker, rtp);
            if self.tenants.get(&key) == Some(&leg) {
                self.tenants.remove(&key);
            }
        }
    }
}
