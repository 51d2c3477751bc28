//! C5: what `app_meetme` and `chan_dahdi` call, in their order.

use dahdi::request::{Gains, code, iomux};
use nix::errno::Errno;

use crate::ear::tones;
use crate::phone::{Phone, converse, meet};
use crate::pseudo::{LISTENS, Pseudo, TALKS_AND_LISTENS};
use crate::stage::with_library;

/// A conference as MeetMe keeps it: its own channel, which plays the tones.
struct MeetMe {
    control: Pseudo,
    conference: i32,
}

impl MeetMe {
    fn create() -> Self {
        let control = Pseudo::open();
        let conference = control.set_conference(-1, 7).unwrap().conference;
        Self {
            control,
            conference,
        }
    }

    fn join(&self, hz: u32, amplitude: f64) -> Phone {
        let channel = Pseudo::of_meetme();
        // Until the marked user is there.
        channel.set_conference(self.conference, 4).unwrap();
        channel
            .set_conference(self.conference, TALKS_AND_LISTENS)
            .unwrap();
        channel.int(code::FLUSH, 7).unwrap();
        Phone::speaking(channel, hz, amplitude)
    }
}

/// Each is to hear all but itself.
fn expect_all(phones: &mut [Phone], hz: &[u32], amplitude: f64) {
    for (n, phone) in phones.iter_mut().enumerate() {
        let own = hz.get(n).copied();
        let others = hz.iter().copied().filter(|&other| Some(other) != own);
        phone.expect(tones(others, amplitude));
    }
}

fn users_hear_each_other(count: usize, speakers: usize) {
    let meetme = MeetMe::create();
    let amplitude = (28_000.0 / speakers as f64).min(4_000.0);
    let hz: Vec<u32> = (0..speakers).map(|n| 300 + 60 * n as u32).collect();
    let mut phones = Vec::new();
    for n in 0..count {
        phones.push(match hz.get(n) {
            Some(&hz) => meetme.join(hz, amplitude),
            None => meetme.join(0, 0.0),
        });
        if n % 50 == 49 {
            converse(&mut phones);
        }
    }
    expect_all(&mut phones, &hz, amplitude);
    meet(&mut phones);
    drop(phones);
    let members = Pseudo::open();
    assert_eq!(
        members.set_conference(-1, 7).unwrap().conference,
        meetme.conference - 1,
        "the conference is its channel's until it ends"
    );
}

#[test]
fn c5_a_few_users_hear_each_other() {
    with_library("meetme::c5_a_few_users_hear_each_other", || {
        for count in [2, 3, 10] {
            users_hear_each_other(count, count);
        }
    });
}

#[test]
fn c5_each_of_50_users_hears_exactly_the_others() {
    with_library(
        "meetme::c5_each_of_50_users_hears_exactly_the_others",
        || users_hear_each_other(50, 50),
    );
}

#[test]
fn c5_500_users_hear_those_who_talk() {
    with_library("meetme::c5_500_users_hear_those_who_talk", || {
        users_hear_each_other(500, 5);
    });
}

#[test]
fn c5_a_user_goes_to_the_menu_and_comes_back_and_is_muted_and_unmuted() {
    with_library(
        "meetme::c5_a_user_goes_to_the_menu_and_comes_back_and_is_muted_and_unmuted",
        || {
            const LOUD: f64 = 4_000.0;
            let meetme = MeetMe::create();
            let hz = [500, 900, 1_300];
            let mut phones: Vec<Phone> = hz.iter().map(|&hz| meetme.join(hz, LOUD)).collect();
            expect_all(&mut phones, &hz, LOUD);
            meet(&mut phones);

            // The menu: out of the conference; what the phone says goes nowhere.
            phones[0].channel.set_conference(0, 0).unwrap();
            phones[0].expect(tones([], 0.0));
            phones[1].expect(tones([1_300], LOUD));
            phones[2].expect(tones([900], LOUD));
            meet(&mut phones);
            let back = &phones[0].channel;
            back.set_conference(meetme.conference, TALKS_AND_LISTENS)
                .unwrap();
            back.int(code::FLUSH, 7).unwrap();
            expect_all(&mut phones, &hz, LOUD);
            meet(&mut phones);

            for _ in 0..2 {
                phones[1]
                    .channel
                    .set_conference(meetme.conference, LISTENS)
                    .unwrap();
                phones[0].expect(tones([1_300], LOUD));
                phones[1].expect(tones([500, 1_300], LOUD));
                phones[2].expect(tones([500], LOUD));
                meet(&mut phones);
                phones[1]
                    .channel
                    .set_conference(meetme.conference, TALKS_AND_LISTENS)
                    .unwrap();
                expect_all(&mut phones, &hz, LOUD);
                meet(&mut phones);
            }
        },
    );
}

#[test]
fn c5_enter_tones_are_heard_whole_by_all() {
    with_library("meetme::c5_enter_tones_are_heard_whole_by_all", || {
        // 343 ms of µ-law at full scale, as long as MeetMe's own. Its buffers hold 256 ms.
        const SOUND: [u8; 2_747] = [0x80; 2_747];
        let meetme = MeetMe::create();
        let mut phones: Vec<Phone> = (0..5).map(|_| meetme.join(0, 0.0)).collect();
        // A second without a stall is enough; MeetMe holds up whoever joins meanwhile, so this is another thread.
        for _ in 0..20 {
            let heard = std::thread::scope(|scope| {
                let player = scope.spawn(|| play(&meetme.control, &SOUND));
                let mut heard = vec![0; phones.len()];
                for _ in 0..50 {
                    for (phone, loud) in phones.iter_mut().zip(&mut heard) {
                        *loud += loud_samples(&phone.channel);
                    }
                }
                player.join().unwrap();
                heard
            });
            // Less what is faded in.
            if heard
                .iter()
                .all(|loud| (SOUND.len() - 20..=SOUND.len()).contains(loud))
            {
                return;
            }
            println!("heard {heard:?} of {}", SOUND.len());
        }
        panic!("not heard whole once in twenty times");
    });
}

/// As MeetMe's `conf_play`: waits for room or an event, and writes.
fn play(control: &Pseudo, sound: &[u8]) {
    let mut rest = sound;
    while !rest.is_empty() {
        let wanted = (iomux::WRITE | iomux::EVENT) as i32;
        let met = control.int(code::IOMUX, wanted).unwrap();
        assert_eq!(met, iomux::WRITE as i32);
        rest = &rest[control.write(rest).unwrap()..];
    }
}

/// Loud samples of the next 20 ms.
fn loud_samples(channel: &Pseudo) -> usize {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let mut wait = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut wait, PollTimeout::from(10_000_u16)), Ok(1));
    let block = channel.hear().unwrap();
    block.iter().filter(|&&sample| sample > 30_000).count()
}

/// `DAHDI/pseudo` as `chan_dahdi` opens, reads and hangs up.
struct ChanDahdi(Pseudo);

impl ChanDahdi {
    fn request() -> Self {
        let channel = Pseudo::open_nonblocking();
        channel.int(code::SET_BLOCKSIZE, 160).unwrap();
        channel.ioctl(code::GET_BUFINFO, &mut [0; 24]).unwrap();
        channel.set_bufinfo(4, 160).unwrap();
        channel.int(code::SETLINEAR, 0).unwrap();
        // That there is no detector in hardware makes it use its own.
        assert_eq!(channel.int(code::TONEDETECT, 0), Err(Errno::ENOTTY));
        channel.int(code::SETLINEAR, 1).unwrap();
        Self(channel)
    }

    fn hang_up(self) {
        let Self(channel) = self;
        channel.int(code::CONFMUTE, 0).unwrap();
        let mut gains = Gains::identity(0).to_bytes();
        channel.ioctl(code::GETGAINS, &mut gains).unwrap();
        channel.ioctl(code::SETGAINS, &mut gains).unwrap();
        channel.int(code::SETLINEAR, 0).unwrap();
        channel.int(code::SETLAW, 0).unwrap();
        channel.int(code::SENDTONE, -1).unwrap();
        channel.set_conference(0, 0).unwrap();
    }
}

#[test]
fn c5_the_recorder_has_everybody_and_hangs_up() {
    with_library("meetme::c5_the_recorder_has_everybody_and_hangs_up", || {
        const LOUD: f64 = 4_000.0;
        let meetme = MeetMe::create();
        let recorder = ChanDahdi::request();
        recorder.0.set_conference(meetme.conference, 7).unwrap();
        let hz = [500, 900, 1_300];
        let mut phones: Vec<Phone> = hz.iter().map(|&hz| meetme.join(hz, LOUD)).collect();
        phones.push(Phone::listening(recorder.0));
        expect_all(&mut phones, &hz, LOUD);
        meet(&mut phones);
        let recorder = phones.pop().unwrap();
        ChanDahdi(recorder.channel).hang_up();
        expect_all(&mut phones, &hz, LOUD);
        meet(&mut phones);
    });
}
