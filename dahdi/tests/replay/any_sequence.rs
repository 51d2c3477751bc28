//! Whatever programs do, in whatever order: nothing panics, and what must hold holds.

use proptest::prelude::*;
use unisono_dahdi::exchange::{ChannelNumber, Exchange, Limits};
use unisono_dahdi::request::{Device, Errno, Reply, Request, code};

#[derive(Debug, Clone)]
enum Act {
    Open,
    Close(usize),
    Request(usize, u32, Vec<u8>),
    SetConf(usize, i32, i32),
    SetBufInfo(usize, i32, i32, i32),
    Read(usize, usize),
    Write(usize, usize),
    WaitForRoom(usize),
    Event(usize, i32),
    Pass(u64),
}

const CODES: [u32; 26] = [
    code::GET_BLOCKSIZE,
    code::SET_BLOCKSIZE,
    code::FLUSH,
    code::SYNC,
    code::GET_PARAMS,
    code::SET_PARAMS,
    code::GETEVENT,
    code::IOMUX,
    code::GETCONF,
    code::SETCONF,
    code::SETCONF_V1,
    code::CONFDIAG,
    code::GETGAINS,
    code::SETGAINS,
    code::CONFMUTE,
    code::GETCONFMUTE,
    code::SENDTONE,
    code::SETTONEZONE,
    code::GET_BUFINFO,
    code::SET_BUFINFO,
    code::DIAL,
    code::CHANNO,
    code::SETLAW,
    code::SETLINEAR,
    code::SETCADENCE,
    code::TONEDETECT,
];

/// A known code with an argument of its size, or anything with anything.
fn any_request() -> impl Strategy<Value = (u32, Vec<u8>)> {
    let small = prop_oneof![Just(0_i32), 1..40, -3..2, 0x8000..0x8006, any::<i32>()];
    let fitting = (
        prop::sample::select(&CODES[..]),
        prop::collection::vec(small, 131),
    )
        .prop_map(|(code, ints)| {
            let size = code::shape(code).map_or(0, |shape| shape.size);
            let octets: Vec<u8> = ints
                .iter()
                .flat_map(|int| int.to_ne_bytes())
                .take(size)
                .collect();
            (code, octets)
        });
    let wild = (any::<u32>(), prop::collection::vec(any::<u8>(), 0..40));
    prop_oneof![9 => fitting, 1 => wild]
}

fn any_act() -> impl Strategy<Value = Act> {
    let who = 0_usize..8;
    let mode = prop_oneof![
        Just(0),
        Just(0x304),
        Just(0x106),
        Just(4),
        Just(7),
        0..14,
        0x100..0x1000,
        any::<i32>()
    ];
    let conference = prop_oneof![
        Just(0),
        Just(-1),
        1..4,
        1020..1026,
        0x8000..0x8007,
        any::<i32>()
    ];
    let pause = prop_oneof![4 => 0_u64..2_000, 1 => 0_u64..100_000, 1 => any::<u64>()];
    prop_oneof![
        2 => Just(Act::Open),
        1 => who.clone().prop_map(Act::Close),
        4 => (who.clone(), any_request()).prop_map(|(who, (code, octets))| Act::Request(who, code, octets)),
        4 => (who.clone(), conference, mode).prop_map(|(who, conference, mode)| Act::SetConf(who, conference, mode)),
        1 => (who.clone(), 0..4, 2..33, 16..1025).prop_map(|(who, policy, count, size)| Act::SetBufInfo(who, policy, count, size)),
        4 => (who.clone(), 0_usize..3_000).prop_map(|(who, count)| Act::Read(who, count)),
        8 => (who.clone(), 0_usize..3_000).prop_map(|(who, count)| Act::Write(who, count)),
        1 => who.clone().prop_map(Act::WaitForRoom),
        1 => (who, any::<i32>()).prop_map(|(who, event)| Act::Event(who, event)),
        8 => pause.prop_map(Act::Pass),
    ]
}

/// What holds after every act.
fn check(exchange: &Exchange, channels: &[ChannelNumber], now: u64) -> Result<(), TestCaseError> {
    prop_assert_eq!(exchange.channels().count(), channels.len());
    if now < u64::MAX {
        prop_assert!(
            exchange
                .next_deadline()
                .is_none_or(|deadline| deadline > now)
        );
    }
    prop_assert!(!channels.is_empty() || exchange.next_deadline().is_none());
    for &channel in channels {
        let (readiness, stats) = (
            exchange.readiness(channel).unwrap(),
            exchange.stats(channel).unwrap(),
        );
        prop_assert_eq!(readiness.drained, stats.backlog == 0);
        prop_assert!(readiness.writable || !readiness.drained);
        prop_assert!(stats.backlog <= 32_768);
        let conf = exchange.conference(channel).unwrap();
        prop_assert_eq!(conf.conference == 0, conf.mode == 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_programs_do(acts in prop::collection::vec(any_act(), 1..120)) {
        let mut exchange = Exchange::new(Limits { channels: 6 });
        let mut channels: Vec<ChannelNumber> = Vec::new();
        let mut now = 0_u64;
        let mut buffer = vec![0_u8; 3_000];
        for act in acts {
            let who = |n: usize| channels.get(n % channels.len().max(1)).copied();
            match act {
                Act::Open => match exchange.open(now) {
                    Ok(channel) => channels.push(channel),
                    Err(error) => prop_assert_eq!((error, channels.len()), (Errno::Enomem, 6)),
                },
                Act::Close(n) => if let Some(channel) = who(n) {
                    exchange.close(channel, now);
                    channels.retain(|&other| other != channel);
                    prop_assert_eq!(exchange.readiness(channel), Err(Errno::Enodev));
                },
                Act::Request(n, code, mut octets) => if let (Some(channel), Ok(request)) = (who(n), Request::decode(Device::Pseudo, code, &octets)) {
                    let waits = matches!(request, Request::Sync | Request::Iomux(_));
                    if let Ok(reply) = exchange.request(channel, request, now) {
                        prop_assert!(waits || reply != Reply::Wait);
                        let fits = reply.write_to(&mut octets);
                        prop_assert!(fits.is_ok(), "{code:#x} {fits:?}");
                    }
                },
                Act::SetConf(n, conference, mode) => if let Some(channel) = who(n) {
                    let info = unisono_dahdi::request::ConfInfo { channel: 0, conference, mode };
                    if let Ok(Reply::Conf(answer)) = exchange.request(channel, Request::SetConf(info), now) {
                        prop_assert_eq!(answer, exchange.conference(channel).unwrap());
                        prop_assert_eq!(answer.mode, mode);
                    }
                },
                Act::SetBufInfo(n, tx_policy, buffers, block) => if let Some(channel) = who(n) {
                    let info = unisono_dahdi::request::BufInfo { tx_policy, rx_policy: 0, buffers, block, read_buffers: 0, write_buffers: 0 };
                    let allowed = block * buffers <= 32_768;
                    prop_assert_eq!(exchange.request(channel, Request::SetBufInfo(info), now).is_ok(), allowed);
                },
                Act::Read(n, count) => if let Some(channel) = who(n) {
                    let before = exchange.readiness(channel).unwrap();
                    let result = exchange.read(channel, &mut buffer[..count], now);
                    prop_assert!(result.is_ok() || !before.readable || before.urgent || count == 0);
                },
                Act::Write(n, count) => if let Some(channel) = who(n) {
                    let before = exchange.readiness(channel).unwrap();
                    let result = exchange.write(channel, &buffer[..count], now);
                    prop_assert!(result.is_ok() || !before.writable || before.urgent || count == 0);
                },
                Act::WaitForRoom(n) => if let Some(channel) = who(n) {
                    exchange.wait_for_room(channel).unwrap();
                },
                Act::Event(n, event) => if let Some(channel) = who(n) {
                    exchange.post_event(channel, event).unwrap();
                },
                Act::Pass(pause) => {
                    now = now.saturating_add(pause);
                    let before: Vec<_> = channels.iter().map(|&c| exchange.readiness(c)).collect();
                    let changed = exchange.advance(now).to_vec();
                    for (&channel, before) in channels.iter().zip(before) {
                        // A change without notice would be a hang.
                        prop_assert_eq!(exchange.readiness(channel) != before, changed.contains(&channel));
                    }
                    check(&exchange, &channels, now)?;
                }
            }
        }
        for channel in channels {
            exchange.close(channel, now);
        }
        prop_assert_eq!(exchange.next_deadline(), None);
    }
}
