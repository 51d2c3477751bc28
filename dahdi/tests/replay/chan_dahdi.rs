//! Asterisk's channel driver, for its channels "DAHDI/pseudo": the calls of `chan_dahdi`, in its order.

use unisono_dahdi::exchange::ChannelNumber;
use unisono_dahdi::request::{BufInfo, ConfInfo, Errno, Gains, code, event};

use super::world::World;

/// A channel of the driver.
pub(crate) struct Pseudo {
    pub(crate) channel: ChannelNumber,
    linear: bool,
}

impl Pseudo {
    /// `dahdi_request` and `dahdi_new`.
    pub(crate) fn request(world: &mut World) -> Self {
        let channel = world.open();
        world.int(channel, code::SET_BLOCKSIZE, 160).unwrap();
        let mut argument = [0; 24];
        world
            .ioctl(channel, code::GET_BUFINFO, &mut argument)
            .unwrap();
        let mut info = BufInfo::from_bytes(&argument).unwrap();
        assert_eq!((info.block, info.buffers), (160, 2));
        info.tx_policy = 0;
        info.buffers = 4;
        world
            .ioctl(channel, code::SET_BUFINFO, &mut info.to_bytes())
            .unwrap();
        world.int(channel, code::SETLINEAR, 0).unwrap();
        assert_eq!(
            world.int(channel, code::TONEDETECT, 1),
            Err(Errno::Enotty),
            "it must use its own"
        );
        Self {
            channel,
            linear: false,
        }
    }

    /// Reads a frame of linear samples, if there is one.
    pub(crate) fn read_linear(&mut self, world: &mut World) -> Option<Vec<i16>> {
        self.set_linear(world, true);
        match world.hear(self.channel) {
            Ok(frame) => {
                assert_eq!(frame.len(), 160, "a short read is taken for an event");
                Some(frame)
            }
            Err(Errno::Eagain) => None,
            Err(other) => panic!("{other}"),
        }
    }

    /// `dahdi_hangup`.
    pub(crate) fn hang_up(mut self, world: &mut World) {
        world.int(self.channel, code::CONFMUTE, 0).unwrap();
        for _ in 0..2 {
            let mut gains = Gains::identity(0).to_bytes();
            world
                .ioctl(self.channel, code::GETGAINS, &mut gains)
                .unwrap();
            assert_eq!(Gains::from_bytes(&gains).unwrap().rx[7], 7);
            world
                .ioctl(self.channel, code::SETGAINS, &mut gains)
                .unwrap();
        }
        self.set_linear(world, false);
        world.int(self.channel, code::SETLAW, 0).unwrap();
        world.int(self.channel, code::SENDTONE, -1).unwrap();
        world.set_conf(self.channel, 0, 0).unwrap();
        let mut conf = ConfInfo::default().to_bytes();
        world.ioctl(self.channel, code::GETCONF, &mut conf).unwrap();
        assert_eq!(ConfInfo::from_bytes(&conf).unwrap().conference, 0);
        world.close(self.channel);
    }

    fn set_linear(&mut self, world: &mut World, linear: bool) {
        if self.linear != linear {
            self.linear = linear;
            world
                .int(self.channel, code::SETLINEAR, linear.into())
                .unwrap();
        }
    }
}

#[test]
fn it_reads_frames_of_20_milliseconds_and_hangs_up() {
    let mut world = World::new();
    let mut pseudo = Pseudo::request(&mut world);
    let begun = world.now;
    for n in 1..=100 {
        while pseudo.read_linear(&mut world).is_none() {
            world.wake();
        }
        assert_eq!(world.now - begun, n * 160);
    }
    pseudo.hang_up(&mut world);
}

#[test]
fn it_writes_linear_and_companded_pieces() {
    let mut world = World::new();
    let mut pseudo = Pseudo::request(&mut world);
    world.set_conf(pseudo.channel, 5, 7).unwrap();
    world.sleep_past_step();
    while pseudo.read_linear(&mut world).is_some() {}
    pseudo.set_linear(&mut world, false);
    assert_eq!(
        world
            .exchange
            .write(pseudo.channel, &[0x80; 160], world.now),
        Ok(160)
    );
    pseudo.set_linear(&mut world, true);
    assert_eq!(world.say(pseudo.channel, &[1_234; 160]), Ok(160));
    world.sleep(160);
    assert_eq!(pseudo.read_linear(&mut world).unwrap()[159], 32_124);
    world.sleep(160);
    assert_eq!(pseudo.read_linear(&mut world).unwrap(), [1_234; 160]);
}

#[test]
fn an_event_interrupts_it_until_it_is_taken() {
    let mut world = World::new();
    let mut pseudo = Pseudo::request(&mut world);
    world
        .exchange
        .post_event(pseudo.channel, event::REMOVED)
        .unwrap();
    world.sleep(160);
    assert_eq!(world.hear(pseudo.channel), Err(Errno::Elast));
    assert_eq!(
        world.int(pseudo.channel, code::GETEVENT, 0),
        Ok(event::REMOVED)
    );
    assert!(pseudo.read_linear(&mut world).is_some());
}
