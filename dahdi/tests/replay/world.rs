//! A machine in virtual time, and programs that make system calls on it.

use unisono_dahdi::exchange::{ChannelNumber, Exchange, Limits, Readiness};
use unisono_dahdi::request::{BufInfo, ConfInfo, Device, Errno, Reply, Request, code};

/// An exchange and the time.
pub(crate) struct World {
    pub(crate) exchange: Exchange,
    pub(crate) now: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            exchange: Exchange::new(Limits::default()),
            now: 1_000_003,
        }
    }

    pub(crate) fn open(&mut self) -> ChannelNumber {
        self.exchange.open(self.now).unwrap()
    }

    pub(crate) fn close(&mut self, channel: ChannelNumber) {
        self.exchange.close(channel, self.now);
    }

    /// An `ioctl` as a program makes it: bytes in, bytes out.
    pub(crate) fn ioctl(
        &mut self,
        channel: ChannelNumber,
        code: u32,
        argument: &mut [u8],
    ) -> Result<Reply, Errno> {
        let request = Request::decode(Device::Pseudo, code, argument)?;
        let reply = self.exchange.request(channel, request, self.now)?;
        reply.write_to(argument)?;
        Ok(reply)
    }

    /// A request whose argument is an int.
    pub(crate) fn int(
        &mut self,
        channel: ChannelNumber,
        code: u32,
        value: i32,
    ) -> Result<i32, Errno> {
        let mut argument = value.to_ne_bytes();
        assert_ne!(self.ioctl(channel, code, &mut argument)?, Reply::Wait);
        Ok(i32::from_ne_bytes(argument))
    }

    /// Whether a request would block.
    pub(crate) fn blocks(&mut self, channel: ChannelNumber, code: u32, value: i32) -> bool {
        self.ioctl(channel, code, &mut value.to_ne_bytes()) == Ok(Reply::Wait)
    }

    pub(crate) fn set_conf(
        &mut self,
        channel: ChannelNumber,
        conference: i32,
        mode: i32,
    ) -> Result<ConfInfo, Errno> {
        let info = ConfInfo {
            channel: 0,
            conference,
            mode,
        };
        let mut argument = info.to_bytes();
        self.ioctl(channel, code::SETCONF, &mut argument)?;
        ConfInfo::from_bytes(&argument)
    }

    pub(crate) fn set_bufinfo(
        &mut self,
        channel: ChannelNumber,
        buffers: i32,
        block: i32,
    ) -> Result<Reply, Errno> {
        let info = BufInfo {
            tx_policy: 0,
            rx_policy: 0,
            buffers,
            block,
            read_buffers: 0,
            write_buffers: 0,
        };
        self.ioctl(channel, code::SET_BUFINFO, &mut info.to_bytes())
    }

    /// A linear channel with blocks of 20 ms and 32 buffers, in a conference.
    pub(crate) fn member(&mut self, conference: i32, mode: i32) -> ChannelNumber {
        let channel = self.open();
        self.set_bufinfo(channel, 32, 160).unwrap();
        self.int(channel, code::SETLINEAR, 1).unwrap();
        self.set_conf(channel, conference, mode).unwrap();
        channel
    }

    pub(crate) fn readiness(&self, channel: ChannelNumber) -> Readiness {
        self.exchange.readiness(channel).unwrap()
    }

    /// Writes 16-bit samples; returns how many were taken.
    pub(crate) fn say(&mut self, channel: ChannelNumber, samples: &[i16]) -> Result<usize, Errno> {
        let octets: Vec<u8> = samples.iter().flat_map(|s| s.to_ne_bytes()).collect();
        Ok(self.exchange.write(channel, &octets, self.now)? / 2)
    }

    /// Reads one block of 16-bit samples.
    pub(crate) fn hear(&mut self, channel: ChannelNumber) -> Result<Vec<i16>, Errno> {
        let mut octets = [0; 16_384];
        let count = self.exchange.read(channel, &mut octets, self.now)?;
        let samples = octets[..count].chunks_exact(2);
        Ok(samples.map(|s| i16::from_ne_bytes([s[0], s[1]])).collect())
    }

    /// Reads all whole blocks.
    pub(crate) fn hear_all(&mut self, channel: ChannelNumber) -> Vec<i16> {
        let mut all = Vec::new();
        while let Ok(block) = self.hear(channel) {
            all.extend(block);
        }
        all
    }

    /// Time passes; the exchange is advanced whenever it says so, and at the end.
    pub(crate) fn sleep(&mut self, samples: u64) {
        let until = self.now + samples;
        while let Some(deadline) = self.exchange.next_deadline().filter(|&at| at < until) {
            assert!(deadline > self.now, "a deadline that has passed");
            self.now = deadline;
            self.exchange.advance(self.now);
        }
        self.now = until;
        self.exchange.advance(self.now);
    }

    /// Sleeps until shortly after the next step of the grid.
    pub(crate) fn sleep_past_step(&mut self) {
        self.sleep(161 - self.now % 160);
    }

    /// The whole machine stands still.
    pub(crate) fn freeze(&mut self, samples: u64) {
        self.now += samples;
        self.exchange.advance(self.now);
    }

    /// A blocking read. Returns the octets read.
    pub(crate) fn read_blocking(&mut self, channel: ChannelNumber, octets: &mut [u8]) -> usize {
        for _ in 0..10_000 {
            match self.exchange.read(channel, octets, self.now) {
                Ok(count) => return count,
                Err(Errno::Eagain) => self.wake(),
                Err(other) => panic!("{other}"),
            }
        }
        panic!("nothing came");
    }

    /// Sleeps until the next deadline.
    pub(crate) fn wake(&mut self) {
        let deadline = self.exchange.next_deadline().expect("nothing would wake");
        assert!(deadline > self.now);
        self.sleep(deadline - self.now);
    }
}
