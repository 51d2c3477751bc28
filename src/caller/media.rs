//! The thread that keeps the time of many lines and moves their datagrams.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use unisono_rtp::net::{ClockOffset, MAX_DATAGRAM, MediaSocket, Poller, RecvBuf, SendCounters};
use unisono_rtp::rtcp::NtpTime;
use unisono_timer::{
    MonoTime, Period, PeriodError, RealtimeRequest, Schedule, Ticker, TickerError, Watchdog,
};

use super::line::{FRAME_NS, Line};

/// Lines are spread over so many moments of the 20 ms, as independent phones would be.
const LANES: usize = 8;

/// The order in which lanes are filled, so that few lines are far apart.
const FILL: [usize; LANES] = [0, 4, 2, 6, 1, 5, 3, 7];

const SLOT: Duration = Duration::from_nanos(FRAME_NS / LANES as u64);

/// Frames this late are still sent; older ones are lost for good, as in a phone whose sound card ran over.
const CATCH_UP: Duration = Duration::from_millis(200);

/// A thread that works for so long without sleeping is no real-time thread any more.
const RUNAWAY: Duration = Duration::from_secs(2);

/// Sockets whose datagrams are taken in one go.
const READY: usize = 64;

/// Where a line's packets go out, and where to.
#[derive(Debug)]
pub struct LineAddress {
    /// RTP and RTCP on one socket (RFC 5761).
    pub socket: MediaSocket,
    /// Where the peer receives both.
    pub remote: SocketAddr,
}

/// A line after its call.
#[derive(Debug)]
pub struct FinishedLine {
    /// The line.
    pub line: Line,
    /// Packets the kernel did not take.
    pub unsent: u64,
}

/// Why there can be no media thread.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// No timer, or it cannot be waited for.
    #[error(transparent)]
    Timer(#[from] TickerError),
    /// The frame length is no period.
    #[error(transparent)]
    Period(#[from] PeriodError),
    /// No thread or no descriptor: raise the limits (`ulimit -u`, `ulimit -n`).
    #[error(
        "cannot start the callers' media thread: {0}; raise the limits of threads and open files"
    )]
    Start(#[from] io::Error),
    /// It ended before its time; what it had is lost.
    #[error("the callers' media thread has ended early")]
    Ended,
}

/// One thread, many lines. Dropping it ends them.
#[derive(Debug)]
pub struct MediaThread {
    commands: Sender<Command>,
    thread: JoinHandle<Result<Vec<FinishedLine>, MediaError>>,
}

#[derive(Debug)]
enum Command {
    Add(Box<Line>, LineAddress),
    SpeakFrom(usize, u64),
    Finish,
}

impl MediaThread {
    /// Starts the thread. `priority` is the SCHED_FIFO priority asked for; a refusal is no error.
    ///
    /// # Errors
    /// [`MediaError`].
    pub fn start(priority: Option<u8>) -> Result<Self, MediaError> {
        let schedule = Schedule::new(MonoTime::now(), Period::from_duration(SLOT)?);
        let ticker = Ticker::new(schedule)?;
        let poller = Poller::new(READY)?;
        let (commands, inbox) = mpsc::channel();
        let run = move || {
            let mut request = RealtimeRequest::new();
            if let Some(priority) = priority {
                request = request.fifo(priority);
            }
            // Both are better to have, and the callers work without.
            let _grant = request.apply();
            let _watchdog = Watchdog::watch(RUNAWAY).ok();
            Lines::new(poller).run(ticker, &inbox)
        };
        let thread = std::thread::Builder::new()
            .name("unisono-caller".into())
            .spawn(run)?;
        Ok(Self { commands, thread })
    }

    /// The line begins to send and to listen. Lines are counted from 0 in the order in which they are added.
    ///
    /// # Errors
    /// [`MediaError::Ended`].
    pub fn add(&self, line: Line, address: LineAddress) -> Result<(), MediaError> {
        self.tell(Command::Add(Box::new(line), address))
    }

    /// Line `number` begins to speak at `from_ns` of CLOCK_MONOTONIC, or with the next frame after that.
    ///
    /// # Errors
    /// [`MediaError::Ended`].
    pub fn speak_from(&self, number: usize, from_ns: u64) -> Result<(), MediaError> {
        self.tell(Command::SpeakFrom(number, from_ns))
    }

    /// Ends all lines and hands them back in the order in which they were added. Waits for the thread, some milliseconds.
    ///
    /// # Errors
    /// What ended the thread before, if something did.
    pub fn finish(self) -> Result<Vec<FinishedLine>, MediaError> {
        // If the thread has ended, joining it tells why.
        let _ = self.commands.send(Command::Finish);
        match self.thread.join() {
            Ok(finished) => finished,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn tell(&self, command: Command) -> Result<(), MediaError> {
        self.commands.send(command).map_err(|_| MediaError::Ended)
    }
}

/// The thread's own state.
#[derive(Debug)]
struct Lines {
    lines: Vec<Connected>,
    poller: Poller,
    received: RecvBuf,
    report: [u8; MAX_DATAGRAM],
}

#[derive(Debug)]
struct Connected {
    line: Line,
    address: LineAddress,
    sent: SendCounters,
}

impl Lines {
    fn new(poller: Poller) -> Self {
        Self {
            lines: Vec::new(),
            poller,
            received: RecvBuf::new(),
            report: [0; MAX_DATAGRAM],
        }
    }

    fn run(
        mut self,
        mut ticker: Ticker,
        inbox: &Receiver<Command>,
    ) -> Result<Vec<FinishedLine>, MediaError> {
        let schedule = *ticker.schedule();
        loop {
            let tick = ticker.wait()?;
            loop {
                match inbox.try_recv() {
                    Ok(Command::Add(line, address)) => self.add(*line, address)?,
                    Ok(Command::SpeakFrom(number, from_ns)) => {
                        if let Some(connected) = self.lines.get_mut(number) {
                            connected.line.speak_from(from_ns);
                        }
                    }
                    Ok(Command::Finish) | Err(TryRecvError::Disconnected) => {
                        self.receive()?;
                        return Ok(self.finish());
                    }
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.receive()?;
            for slot in tick.number - tick.missed..=tick.number {
                let deadline = schedule.deadline(slot);
                let in_time = tick.woke.since(deadline) <= CATCH_UP;
                self.serve(slot as usize % LANES, deadline.as_nanos(), in_time);
            }
            self.report_one(tick.number as usize, tick.woke.as_nanos());
        }
    }

    fn add(&mut self, line: Line, address: LineAddress) -> Result<(), MediaError> {
        let number = self.lines.len() as u64;
        self.poller.register(&address.socket, number)?;
        self.lines.push(Connected {
            line,
            address,
            sent: SendCounters::default(),
        });
        Ok(())
    }

    /// Takes all datagrams that are there. They carry the kernel's arrival times, so it does not matter when this is done.
    fn receive(&mut self) -> Result<(), MediaError> {
        let offset = ClockOffset::measure();
        let mut tokens = [0; READY];
        loop {
            let count = self.poller.ready(&mut tokens)?;
            for &token in &tokens[..count] {
                let Some(connected) = self.lines.get_mut(token as usize) else {
                    continue;
                };
                loop {
                    match connected.address.socket.recv(&mut self.received, offset) {
                        Ok(Some(datagram)) => connected
                            .line
                            .receive(self.received.datagram(&datagram), datagram.arrival_ns),
                        Ok(None) => break,
                        Err(_) => {
                            // Of no more use; what does not arrive any more will show as silence.
                            self.poller.deregister(&connected.address.socket)?;
                            break;
                        }
                    }
                }
            }
            if count < READY {
                return Ok(());
            }
        }
    }

    /// The lines of one lane send a frame, or pass over it when it is too late.
    fn serve(&mut self, lane: usize, deadline_ns: u64, in_time: bool) {
        let first = FILL.iter().position(|&filled| filled == lane);
        let lane = self.lines.iter_mut().skip(first.unwrap_or(0));
        for connected in lane.step_by(LANES) {
            if in_time {
                let (address, sent) = (&connected.address, &mut connected.sent);
                connected.line.tick(deadline_ns, |packet| {
                    address.socket.send_to(packet, address.remote, sent);
                });
            } else {
                connected.line.skip(1);
            }
        }
    }

    /// Sends the RTCP report of one line after the other, if it is due: each is asked several times a second.
    fn report_one(&mut self, turn: usize, now_ns: u64) {
        let Some(index) = turn.checked_rem(self.lines.len()) else {
            return;
        };
        let connected = &mut self.lines[index];
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ntp = NtpTime::from_unix(wall);
        // The time of a report has to differ between lines, not to be secret.
        let random = now_ns.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(connected.line.ssrc());
        if let Some(length) = connected.line.report(now_ns, ntp, random, &mut self.report) {
            let address = &connected.address;
            let report = &self.report[..length];
            address
                .socket
                .send_to(report, address.remote, &mut connected.sent);
        }
    }

    fn finish(self) -> Vec<FinishedLine> {
        let finished = |connected: Connected| FinishedLine {
            unsent: connected.sent.failed(),
            line: connected.line,
        };
        self.lines.into_iter().map(finished).collect()
    }
}
