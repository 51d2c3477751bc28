//! A pseudo channel by itself: cases P1 to P6.

use unisono_dahdi::exchange::Exchange;
use unisono_dahdi::exchange::Limits;
use unisono_dahdi::request::{BufInfo, Errno, Gains, Params, Reply, code, event, flush, iomux};

use super::world::World;

fn bufinfo(world: &mut World, channel: unisono_dahdi::exchange::ChannelNumber) -> BufInfo {
    let mut argument = [0; 24];
    world
        .ioctl(channel, code::GET_BUFINFO, &mut argument)
        .unwrap();
    BufInfo::from_bytes(&argument).unwrap()
}

#[test]
fn p1_a_new_channel_is_as_dahdi_makes_it() {
    let mut world = World::new();
    let (first, second) = (world.open(), world.open());
    let defaults = BufInfo {
        tx_policy: 0,
        rx_policy: 0,
        buffers: 2,
        block: 1024,
        read_buffers: -1,
        write_buffers: -1,
    };
    assert_eq!(bufinfo(&mut world, first), defaults);
    assert_eq!(world.int(first, code::CHANNO, 0), Ok(0x8000));
    assert_eq!(world.int(second, code::CHANNO, 0), Ok(0x8001));
    assert_eq!(world.int(first, code::GET_BLOCKSIZE, 0), Ok(1024));
    let mut params = [0; 136];
    world.ioctl(second, code::GET_PARAMS, &mut params).unwrap();
    let params = Params::from_bytes(&params).unwrap();
    assert_eq!(
        (params.channel, params.signalling, params.law, params.span),
        (0x8001, 0x80, 1, 0)
    );
    assert!(params.name.starts_with(b"Pseudo/2\0"));

    world.close(first);
    let again = world.open();
    assert_eq!(world.int(again, code::CHANNO, 0), Ok(0x8000));
    assert_eq!(world.int(again, code::GETEVENT, 7), Ok(event::NONE));
}

#[test]
fn p1_the_513th_open_finds_no_channel() {
    let mut exchange = Exchange::new(Limits::default());
    let channels: Vec<_> = (0..512).map(|_| exchange.open(0).unwrap()).collect();
    assert_eq!(exchange.open(0), Err(Errno::Enomem));
    exchange.close(channels[77], 0);
    assert_eq!(
        exchange.read(channels[77], &mut [0; 8], 0),
        Err(Errno::Enodev)
    );
    assert_eq!(exchange.open(0), Ok(channels[77]));
    assert_eq!(exchange.channels().count(), 512);
    assert_eq!(exchange.find(0x8000 + 77), Some(channels[77]));
    assert_eq!(
        (exchange.find(0x8000 + 512), exchange.find(-1)),
        (None, None)
    );
}

#[test]
fn p2_buffers_have_limits() {
    let mut world = World::new();
    let channel = world.open();
    for (buffers, block) in [(2, 15), (2, 8193), (2, -1), (32, 1025), (i32::MAX, 8192)] {
        assert_eq!(
            world.set_bufinfo(channel, buffers, block),
            Err(Errno::Einval)
        );
    }
    for (buffers, block, got) in [(1, 160, 2), (-5, 160, 2), (99, 160, 32), (4, 8192, 4)] {
        assert_eq!(world.set_bufinfo(channel, buffers, block), Ok(Reply::Done));
        let info = bufinfo(&mut world, channel);
        assert_eq!((info.buffers, info.block), (got, block));
    }
    assert_eq!(
        world.int(channel, code::SET_BLOCKSIZE, 15),
        Err(Errno::Einval)
    );
    assert_eq!(
        world.int(channel, code::SET_BLOCKSIZE, 8193),
        Err(Errno::Einval)
    );
    world.set_bufinfo(channel, 32, 160).unwrap();
    assert_eq!(
        world.int(channel, code::SET_BLOCKSIZE, 8192),
        Err(Errno::Enomem)
    );
}

#[test]
fn p2_new_buffers_are_empty() {
    let mut world = World::new();
    let channel = world.open();
    world.sleep(2_000);
    world
        .exchange
        .write(channel, &[0; 1024], world.now)
        .unwrap();
    assert!(world.readiness(channel).readable && !world.readiness(channel).drained);
    world.set_bufinfo(channel, 4, 160).unwrap();
    assert!(!world.readiness(channel).readable && world.readiness(channel).drained);
    world.sleep(159);
    assert!(!world.readiness(channel).readable);
    world.sleep(1);
    assert!(world.readiness(channel).readable);
    world.int(channel, code::SET_BLOCKSIZE, 200).unwrap();
    assert!(!world.readiness(channel).readable);
    assert_eq!(bufinfo(&mut world, channel).buffers, 4);
}

#[test]
fn p3_a_read_is_one_block_and_the_rest_is_lost() {
    let mut world = World::new();
    let channel = world.open();
    world.int(channel, code::SET_BLOCKSIZE, 160).unwrap();
    let mut octets = [1; 0x1_0000];
    let now = world.now;
    assert_eq!(
        world.exchange.read(channel, &mut octets[..320], now),
        Err(Errno::Eagain)
    );
    world.sleep(320);
    let now = world.now;
    let mut read = |count| world.exchange.read(channel, &mut octets[..count], now);
    assert_eq!(read(0), Err(Errno::Einval));
    assert_eq!(
        read(0x1_0000),
        Err(Errno::Einval),
        "16 bits of the length count"
    );
    assert_eq!(read(100), Ok(100));
    assert_eq!(read(320), Ok(160));
    assert_eq!(read(320), Err(Errno::Eagain));

    world.int(channel, code::SETLINEAR, 1).unwrap();
    assert_eq!(world.read_blocking(channel, &mut octets[..320]), 320);
    assert_eq!(octets[..320], [0; 320]);
    assert_eq!(world.read_blocking(channel, &mut octets[..101]), 101);
}

#[test]
fn p4_32_blocks_are_queued_and_leave_one_by_one() {
    // In no conference at exact times; in one with the steps.
    for mode in [0, 0x304] {
        let mut world = World::new();
        let channel = world.member(i32::from(mode != 0) * 5, mode);
        for _ in 0..32 {
            assert_eq!(world.say(channel, &[1; 200]), Ok(160), "at most a block");
        }
        assert_eq!(world.say(channel, &[1; 160]), Err(Errno::Eagain));
        assert!(!world.readiness(channel).writable);
        for left in (0..32).rev() {
            world.sleep(160);
            let stats = world.exchange.stats(channel).unwrap();
            assert_eq!(stats.backlog / 160, left, "mode {mode:#x}");
            assert!(world.readiness(channel).writable);
        }
        assert_eq!(world.exchange.stats(channel).unwrap().refused_writes, 1);
    }
}

#[test]
fn p5_flush_empties_what_it_is_told() {
    let mut world = World::new();
    let channel = world.open();
    let full = |world: &mut World| {
        world.sleep(1_024);
        world
            .exchange
            .write(channel, &[0; 1024], world.now)
            .unwrap();
        world.exchange.post_event(channel, event::REMOVED).unwrap();
    };
    full(&mut world);
    assert_eq!(
        world.exchange.read(channel, &mut [0; 4], world.now),
        Err(Errno::Elast)
    );
    assert_eq!(
        world.exchange.write(channel, &[0; 4], world.now),
        Err(Errno::Elast)
    );
    world.int(channel, code::FLUSH, flush::EVENT).unwrap();
    assert!(!world.readiness(channel).urgent && world.readiness(channel).readable);
    world.int(channel, code::FLUSH, flush::READ).unwrap();
    assert!(!world.readiness(channel).readable && !world.readiness(channel).drained);
    world.int(channel, code::FLUSH, flush::WRITE).unwrap();
    assert!(world.readiness(channel).drained);
    full(&mut world);
    assert_eq!(world.int(channel, code::GETEVENT, 0), Ok(event::REMOVED));
    assert_eq!(world.int(channel, code::GETEVENT, 0), Ok(event::NONE));
    full(&mut world);
    world.int(channel, code::FLUSH, 7).unwrap();
    let readiness = world.readiness(channel);
    assert!(!readiness.readable && readiness.drained && !readiness.urgent);
}

#[test]
fn p5_iomux_tells_what_is_ready_or_waits() {
    let mut world = World::new();
    let channel = world.open();
    let all = (iomux::READ | iomux::WRITE | iomux::WRITE_EMPTY | iomux::EVENT) as i32;
    let (write, no_wait) = (iomux::WRITE as i32, iomux::NO_WAIT as i32);
    assert_eq!(world.int(channel, code::IOMUX, 0), Err(Errno::Einval));
    assert_eq!(world.int(channel, code::IOMUX, 0x4000), Err(Errno::Einval));
    assert_eq!(world.int(channel, code::IOMUX, all), Ok(6));
    assert_eq!(world.int(channel, code::IOMUX, 9 | no_wait), Ok(0));
    assert!(world.blocks(channel, code::IOMUX, 9));
    for _ in 0..2 {
        world
            .exchange
            .write(channel, &[0; 1024], world.now)
            .unwrap();
    }
    let written = world.now;
    assert!(world.blocks(channel, code::IOMUX, write));
    assert!(world.blocks(channel, code::SYNC, 0));
    world.wake();
    assert_eq!(
        (world.now - written, world.int(channel, code::IOMUX, write)),
        (1_024, Ok(write))
    );
    assert!(world.blocks(channel, code::IOMUX, iomux::WRITE_EMPTY as i32));
    world.wake();
    assert_eq!(world.now - written, 2_048);
    assert_eq!(
        world.int(channel, code::IOMUX, iomux::WRITE_EMPTY as i32),
        Ok(4)
    );
    assert!(!world.blocks(channel, code::SYNC, 0));
    world.exchange.post_event(channel, event::REMOVED).unwrap();
    assert_eq!(world.int(channel, code::IOMUX, 8), Ok(8));
}

#[test]
fn p5_waiting_for_an_empty_buffer_starts_one_that_waits_to_be_full() {
    let mut world = World::new();
    let channel = world.open();
    let info = BufInfo {
        tx_policy: 1,
        rx_policy: 0,
        buffers: 4,
        block: 160,
        read_buffers: 0,
        write_buffers: 0,
    };
    world
        .ioctl(channel, code::SET_BUFINFO, &mut info.to_bytes())
        .unwrap();
    assert_eq!(bufinfo(&mut world, channel).tx_policy, 1);
    world.exchange.write(channel, &[0; 160], world.now).unwrap();
    world.sleep(8_000);
    assert!(!world.readiness(channel).drained, "it waits for more");
    assert!(world.blocks(channel, code::IOMUX, iomux::WRITE_EMPTY as i32));
    world.sleep(160);
    assert!(world.readiness(channel).drained);
}

#[test]
fn p6_gains_are_stored_and_what_is_not_there_is_refused() {
    let mut world = World::new();
    let channel = world.open();
    let mut argument = Gains::identity(0).to_bytes();
    world.ioctl(channel, code::GETGAINS, &mut argument).unwrap();
    assert_eq!(
        Gains::from_bytes(&argument).unwrap(),
        Gains::identity(0x8000)
    );
    let mut gains = Gains::identity(0);
    gains.rx[3] = 200;
    gains.tx[255] = 1;
    world
        .ioctl(channel, code::SETGAINS, &mut gains.to_bytes())
        .unwrap();
    world
        .ioctl(channel, code::GETGAINS_V1, &mut argument)
        .unwrap();
    gains.channel = 0x8000;
    assert_eq!(Gains::from_bytes(&argument).unwrap(), gains);
    gains.channel = 0x8001;
    assert_eq!(
        world.ioctl(channel, code::GETGAINS, &mut gains.to_bytes()),
        Err(Errno::Einval)
    );

    assert_eq!(world.int(channel, code::TONEDETECT, 1), Err(Errno::Enotty));
    assert_eq!(world.int(channel, code::SENDTONE, -1), Ok(-1));
    assert_eq!(world.int(channel, code::SENDTONE, 1), Err(Errno::Enodata));
    assert_eq!(world.int(channel, code::SENDTONE, -2), Err(Errno::Einval));
    assert_eq!(world.int(channel, code::SETLAW, 3), Err(Errno::Einval));
    world.int(channel, code::CONFMUTE, 1).unwrap();
    assert_eq!(world.int(channel, code::GETCONFMUTE, 0), Ok(1));
}
