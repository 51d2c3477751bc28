//! The ordinary thread of the links: who is in the DAHDI conferences, who shares them, and answers to those who ask.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use tracing::{info, warn};
use unisono_dahdi_trunk::report::{ConferenceReport, LatenessReport, ProcessReport, StepsReport};
use unisono_dahdi_trunk::{Answering, Directory, Trunk, TrunkError};

use super::mover::Mover;
use super::setup::Setup;
use super::{BridgeError, News};
use crate::engine::RingEnd;

/// How others see this process.
const PROGRAM: &str = "unisono serve";

/// How often it is looked who is where, ms.
const ROUND_MS: u16 = 100;

/// Rounds after which it is looked who shares conferences although no link is connected.
const IDLE_ROUNDS: u32 = 20;

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Request {
    Connect(usize, RingEnd),
    Disconnect(usize),
    Stop,
}

/// What the thread has.
#[derive(Debug)]
pub(super) struct Watch {
    directory: Directory,
    trunk: Trunk,
    /// Absent where the directory takes no sockets: then `unisono dahdi status` does not list this process.
    answering: Option<Answering>,
    mover: Mover,
    links: Vec<Link>,
    news: Arc<News>,
    wake: Arc<EventFd>,
    began: Instant,
    said: Said,
}

/// What was complained of last, so that it is not said again at each round.
#[derive(Debug, Default)]
pub(super) struct Said(String);

#[derive(Debug)]
struct Link {
    conference: i32,
    connected: bool,
}

impl Watch {
    pub(super) fn new(directory: Directory, setup: &Setup) -> Result<Self, BridgeError> {
        let trunk = Trunk::open(&directory, PROGRAM)?;
        let lines = trunk.lines().ok_or_else(no_lines)?;
        let mover = Mover::start(setup.conferences.len(), lines, setup.request.clone())?;
        info!(directory = %directory.path().display(), "DAHDI links: {}", mover.grant);
        if !directory.is_in_memory() {
            warn!(
                directory = %directory.path().display(),
                "on a disk: the kernel may hold up frames while it writes; set [dahdi] directory to one on a tmpfs"
            );
        }
        let answering = Answering::bind(&directory)
            .inspect_err(|error| warn!("unisono dahdi status will not list this server: {error}"))
            .ok();
        let links = setup.conferences.iter().map(|conference| Link {
            conference: (*conference).into(),
            connected: false,
        });
        Ok(Self {
            directory,
            trunk,
            answering,
            mover,
            links: links.collect(),
            news: Arc::clone(&setup.news),
            wake: Arc::clone(&setup.wake),
            began: Instant::now(),
            said: Said::default(),
        })
    }

    /// Where it meets other processes.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Works until asked to stop, or until nobody can ask any more.
    pub(super) fn run(mut self, inbox: &Receiver<Request>) {
        let mut round = 0_u32;
        loop {
            self.look();
            self.news.broken.store(self.mover.has_ended(), Relaxed);
            if round.is_multiple_of(IDLE_ROUNDS) || self.links.iter().any(|link| link.connected) {
                self.refresh();
            }
            round = round.wrapping_add(1);
            self.mover.tidy();
            self.sleep();
            let _ = self.wake.read();
            if let Some(answering) = &self.answering {
                answering.answer(|| self.report());
            }
            loop {
                match inbox.try_recv() {
                    Ok(Request::Connect(link, end)) => self.connect(link, end),
                    Ok(Request::Disconnect(link)) => self.disconnect(link),
                    Ok(Request::Stop) | Err(TryRecvError::Disconnected) => return,
                    Err(TryRecvError::Empty) => break,
                }
            }
        }
    }

    /// Until something is asked, and a round at most.
    fn sleep(&self) {
        let mut wanted = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        if let Some(answering) = &self.answering {
            wanted.push(PollFd::new(answering.as_fd(), PollFlags::POLLIN));
        }
        // A signal ends the round early, which does no harm.
        let _ = poll(&mut wanted, PollTimeout::from(ROUND_MS));
    }

    /// Looks whether anybody is in the conferences.
    fn look(&self) {
        let mut changed = false;
        for (link, known) in self.links.iter().zip(&self.news.occupied) {
            let occupied = self.trunk.numbers().is_held_elsewhere(link.conference);
            changed |= known.swap(occupied, AcqRel) != occupied;
        }
        if changed {
            self.news.changed.notify_one();
        }
    }

    /// Looks who shares conferences.
    fn refresh(&mut self) {
        let (refused, trouble) = match self.trunk.refresh() {
            Ok(found) => {
                if found.newcomers + found.gone > 0 {
                    self.mover.wake();
                }
                let trouble = if found.is_published {
                    None
                } else {
                    self.open_anew().err()
                };
                (found.refused, trouble)
            }
            Err(_) if !self.directory.path().is_dir() => (Vec::new(), self.open_anew().err()),
            Err(error) => (Vec::new(), Some(error)),
        };
        let trouble = trouble.map(|error| BridgeError::from(error).to_string());
        self.news.set_problem(trouble.clone());
        let refused = refused.iter();
        let mut troubles: Vec<String> = refused
            .map(|refused| format!("a process is not heard: {refused}"))
            .collect();
        troubles.extend(trouble);
        // Most of it would come again in a tenth of a second.
        if !troubles.is_empty() && self.said.is_news(&troubles.join("; ")) {
            warn!("DAHDI links: {}", troubles.join("; "));
        }
    }

    /// Somebody removed the directory, or our segment in it: nobody can find this process there any more.
    fn open_anew(&mut self) -> Result<(), TrunkError> {
        let directory = Directory::at(self.directory.path())?;
        let trunk = Trunk::open(&directory, PROGRAM)?;
        let Some(lines) = trunk.lines() else {
            return Ok(());
        };
        info!(directory = %directory.path().display(), "DAHDI trunk opened anew");
        for link in self.links.iter().filter(|link| link.connected) {
            open_line(&trunk, link.conference);
        }
        self.mover.change_lines(lines);
        self.answering = None;
        self.answering = Answering::bind(&directory).ok();
        self.trunk = trunk;
        self.directory = directory;
        self.said = Said::default();
        Ok(())
    }

    fn connect(&mut self, link: usize, end: RingEnd) {
        if let Some(known) = self.links.get_mut(link) {
            known.connected = true;
            open_line(&self.trunk, known.conference);
            self.mover.connect(link, known.conference, end);
        }
    }

    fn disconnect(&mut self, link: usize) {
        if let Some(known) = self.links.get_mut(link) {
            known.connected = false;
            self.mover.disconnect(link);
            self.trunk.close_line(known.conference);
        }
    }

    /// What this process says of itself.
    fn report(&self) -> ProcessReport {
        let connected = self.links.iter().filter(|link| link.connected);
        let lateness = self.mover.ticks.lateness().snapshot();
        let us = |ns: u64| ns as f64 / 1000.0;
        let steps = &self.mover.steps;
        ProcessReport {
            pid: std::process::id(),
            program: PROGRAM.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: self.began.elapsed().as_secs_f64(),
            grant: self.mover.grant.to_string(),
            directory: Some(self.directory.path().display().to_string()),
            conferences: connected
                .map(|link| ConferenceReport {
                    number: link.conference,
                    members: 1,
                    shared_with: self.trunk.sharers(link.conference),
                    alone: None,
                })
                .collect(),
            steps: StepsReport {
                mixed: steps.moved.load(Relaxed),
                caught_up: steps.caught_up.load(Relaxed),
                skipped: steps.skipped.load(Relaxed),
            },
            lateness: LatenessReport {
                p50_us: us(lateness.quantile(0.5)),
                p99_us: us(lateness.quantile(0.99)),
                max_us: us(self.mover.ticks.lateness().max()),
                missed: self.mover.ticks.missed(),
            },
            trunk: Some(self.trunk.stats().into()),
            ..ProcessReport::default()
        }
    }
}

impl Said {
    /// Whether this is something else than what was said last.
    pub(super) fn is_news(&mut self, what: &str) -> bool {
        let is_news = self.0 != what;
        if is_news {
            what.clone_into(&mut self.0);
        }
        is_news
    }
}

fn open_line(trunk: &Trunk, conference: i32) {
    if let Err(error) = trunk.open_line(conference) {
        warn!(conference, "not joined in DAHDI: {error}");
    }
}

fn no_lines() -> BridgeError {
    BridgeError::System(std::io::Error::other("the trunk's lines are taken"))
}
