//! Who hears what: identities, roles, gate, changes between mixes, mixed rates.

use proptest::prelude::*;
use unisono_mixer::SampleRate::{self, Hz8000, Hz16000, Hz48000};
use unisono_mixer::{Desk, Hearing, Mix, Role, Room, Strip, StripSettings, TalkChange};

const OPEN: StripSettings = StripSettings {
    gate_dbov: None,
    talk_dbov: -50.0,
    hang_over_ms: 400,
    talk_start_ms: 60,
    input_gain_db: 0.0,
    output_gain_db: 0.0,
    muted: false,
    deaf: false,
    role: Role::Both,
    counts_as_talker: true,
};

#[test]
fn memory_is_what_the_documentation_says() {
    assert!(size_of::<Strip>() <= 3_500, "{}", size_of::<Strip>());
    assert!(size_of::<Room>() <= 1_100, "{}", size_of::<Room>());
}

#[test]
fn a_room_of_nobody_is_silent() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz16000));
    let mut mix = desk.begin(&mut room).finish();
    assert_eq!(mix.common(Hz16000), None);
    assert_eq!(mix.common(Hz8000), None);
    let mut late = Strip::new(Hz8000, OPEN);
    assert_eq!(mix.hear(&mut late, None), Hearing::Nothing);
    assert_eq!(room.contributors(), 0);
    assert_eq!(room.level_dbov(), -127.0);
}

#[test]
fn roles_mute_and_deaf_decide_who_hears_whom() {
    let frame = noise(Hz8000, 1, 8_000);
    for (role, muted, deaf) in [
        (Role::Both, false, false),
        (Role::Both, true, false),
        (Role::Both, false, true),
        (Role::Both, true, true),
        (Role::ListenOnly, false, false),
        (Role::ListenOnly, false, true),
        (Role::TalkOnly, false, false),
        (Role::TalkOnly, true, false),
    ] {
        let settings = StripSettings {
            role,
            muted,
            deaf,
            ..OPEN
        };
        let mut strips = [Strip::new(Hz8000, settings), Strip::new(Hz8000, OPEN)];
        let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
        for _ in 0..3 {
            let heard = tick(
                &mut desk,
                &mut room,
                &mut strips,
                &[Some(&frame), Some(&frame)],
            );
            let speaks = role != Role::ListenOnly && !muted;
            let hears = role != Role::TalkOnly && !deaf;
            assert_eq!(heard[1].is_some(), speaks, "{role:?} {muted} {deaf}");
            assert_eq!(heard[0].is_some(), hears, "{role:?} {muted} {deaf}");
            assert_eq!(
                (strips[0].may_speak(), strips[0].may_hear()),
                (speaks, hears)
            );
        }
        assert!(
            strips[0].level_dbov() > -20.0,
            "the level is measured, muted or not"
        );
    }
}

#[test]
fn mute_and_deaf_fade_within_a_frame_and_back() {
    let frame = [8_000_i16; 160];
    let mut strips = [Strip::new(Hz8000, OPEN), Strip::new(Hz8000, OPEN)];
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
    let frames = [Some(&frame[..]), None];
    let mut listen =
        |strips: &mut [Strip; 2]| tick(&mut desk, &mut room, strips, &frames)[1].clone();
    listen(&mut strips);
    assert_eq!(listen(&mut strips).unwrap(), frame);
    for mute in [true, false] {
        let switch = |strips: &mut [Strip; 2], off| {
            if mute {
                strips[0].set_muted(off)
            } else {
                strips[1].set_deaf(off)
            }
        };
        switch(&mut strips, true);
        let fading = listen(&mut strips).unwrap();
        assert!(fading.windows(2).all(|w| (0..=51).contains(&(w[0] - w[1]))));
        assert_eq!(fading[159], 0);
        assert_eq!(listen(&mut strips), None);
        switch(&mut strips, false);
        let back = listen(&mut strips).unwrap();
        assert!(back[0] < 500 && back[20..].iter().all(|&s| s == 8_000));
        assert_eq!(listen(&mut strips).unwrap(), frame);
    }
}

#[test]
fn listeners_share_one_mix_and_talkers_have_their_own() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
    let mut strips: Vec<Strip> = (0..5).map(|_| Strip::new(Hz8000, OPEN)).collect();
    let frames = [noise(Hz8000, 1, 5_000), noise(Hz8000, 2, 5_000)];
    for _ in 0..3 {
        let mut intake = desk.begin(&mut room);
        intake.add(&mut strips[0], &frames[0]);
        intake.add(&mut strips[1], &frames[1]);
        for strip in &mut strips[2..] {
            intake.add_silence(strip);
        }
        let mut mix = intake.finish();
        assert!(matches!(mix.hear(&mut strips[0], None), Hearing::Own(_)));
        assert!(matches!(mix.hear(&mut strips[1], None), Hearing::Own(_)));
        let common = mix.common(Hz8000).unwrap().to_vec();
        for strip in &mut strips[2..] {
            assert_eq!(mix.hear(strip, None), Hearing::Common(&common));
        }
        assert!(mix.has(&strips[0]) && !mix.has(&strips[2]));
        assert_eq!(mix.room().contributors(), 2);
    }
}

#[test]
fn private_audio_is_heard_by_one_even_if_deaf() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
    let (speech, prompt) = ([1_000_i16; 160], [70_i16; 160]);
    let mut strips = [
        Strip::new(Hz8000, OPEN),
        Strip::new(Hz8000, OPEN),
        Strip::new(Hz8000, StripSettings { deaf: true, ..OPEN }),
    ];
    for n in 0..2 {
        let mut intake = desk.begin(&mut room);
        intake.add(&mut strips[0], &speech);
        intake.add_silence(&mut strips[1]);
        intake.add_silence(&mut strips[2]);
        let mut mix = intake.finish();
        assert_eq!(
            mix.hear(&mut strips[0], Some(&prompt)),
            Hearing::Own(&prompt)
        );
        if n == 1 {
            assert_eq!(
                mix.hear(&mut strips[1], Some(&prompt)),
                Hearing::Own(&[1_070; 160])
            );
        }
        assert_eq!(
            mix.hear(&mut strips[2], Some(&prompt)),
            Hearing::Own(&prompt)
        );
    }
    assert_eq!(
        tick(&mut desk, &mut room, &mut strips, &[None, None, None]),
        [None, None, None]
    );
}

#[test]
fn output_gain_moves_within_a_frame_and_gives_an_own_mix() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
    let speech = [1_000_i16; 160];
    let mut strips = [Strip::new(Hz8000, OPEN), Strip::new(Hz8000, OPEN)];
    let frames = [Some(&speech[..]), None];
    tick(&mut desk, &mut room, &mut strips, &frames);
    strips[1].set_output_gain_db(20.0);
    let rising = tick(&mut desk, &mut room, &mut strips, &frames)[1]
        .clone()
        .unwrap();
    assert!(rising.windows(2).all(|w| (0..=58).contains(&(w[1] - w[0]))));
    assert_eq!(rising[159], 10_000);
    assert_eq!(
        tick(&mut desk, &mut room, &mut strips, &frames)[1],
        Some(vec![10_000; 160])
    );
    strips[1].set_output_gain_db(f32::NAN);
    tick(&mut desk, &mut room, &mut strips, &frames);
    assert_eq!(
        tick(&mut desk, &mut room, &mut strips, &frames)[1],
        Some(speech.to_vec())
    );
}

#[test]
fn input_gain_beyond_full_scale_is_limited_per_leg_and_does_not_wrap() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
    let frame = noise(Hz8000, 3, 20_000);
    let loud = StripSettings {
        input_gain_db: 100.0,
        ..OPEN
    };
    let mut strips = [Strip::new(Hz8000, loud), Strip::new(Hz8000, OPEN)];
    for _ in 0..5 {
        let heard = tick(&mut desk, &mut room, &mut strips, &[Some(&frame), None])[1]
            .clone()
            .unwrap();
        assert!(
            heard
                .iter()
                .zip(&frame)
                .all(|(&a, &b)| i32::from(a) * i32::from(b) >= 0)
        );
    }
}

#[test]
fn gate_opens_with_the_frame_that_crosses_it_and_closes_after_the_hang_over() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
    let settings = StripSettings {
        hang_over_ms: 100,
        ..StripSettings::default()
    };
    let mut strips = [Strip::new(Hz8000, settings), Strip::new(Hz8000, settings)];
    let (hiss, word) = ([60_i16; 160], [3_000_i16; 160]);
    let mut listen = |strips: &mut [Strip; 2], frame: &[i16]| {
        tick(&mut desk, &mut room, strips, &[Some(frame), None])[1].clone()
    };
    for _ in 0..10 {
        assert_eq!(listen(&mut strips, &hiss), None);
    }
    let onset = listen(&mut strips, &word).unwrap();
    assert_eq!(onset[20..], word[20..], "after 2.5 ms it is whole");
    for _ in 0..5 {
        assert_eq!(listen(&mut strips, &hiss).unwrap(), hiss, "hang-over");
    }
    let end = listen(&mut strips, &hiss).unwrap();
    assert!(
        end[0] > 58 && end[159] == 0 && end.is_sorted_by(|a, b| a >= b),
        "fades out"
    );
    assert_eq!(listen(&mut strips, &hiss), None);
}

#[test]
fn talking_starts_after_the_start_time_and_stops_after_the_hang_over() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
    let mut strip = Strip::new(Hz8000, StripSettings::default());
    let word = [3_000_i16; 160];
    let mut events = Vec::new();
    for n in 0..60 {
        let mut intake = desk.begin(&mut room);
        let change = match n {
            3 => intake.add(&mut strip, &word), // A click is mixed, but makes no talker.
            10..20 => intake.add(&mut strip, &word),
            _ => intake.add_silence(&mut strip),
        };
        intake.finish();
        assert_eq!(room.talkers(), u32::from(strip.is_talking()));
        events.extend(change.map(|change| (n, change)));
    }
    assert_eq!(
        events,
        [(12, TalkChange::Started), (39, TalkChange::Stopped)]
    );
    assert!(strip.smoothed_level_dbov() < -55.0);
}

#[test]
fn muting_a_talker_stops_it_at_once_and_announcers_never_talk() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
    let mut strips = [
        Strip::new(Hz8000, StripSettings::default()),
        Strip::new(
            Hz8000,
            StripSettings {
                counts_as_talker: false,
                ..OPEN
            },
        ),
    ];
    let word = [3_000_i16; 160];
    for _ in 0..5 {
        tick(
            &mut desk,
            &mut room,
            &mut strips,
            &[Some(&word), Some(&word)],
        );
    }
    assert_eq!((room.talkers(), room.contributors()), (1, 2));
    strips[0].set_muted(true);
    let mut intake = desk.begin(&mut room);
    assert_eq!(intake.add(&mut strips[0], &word), Some(TalkChange::Stopped));
    assert_eq!(intake.add(&mut strips[1], &word), None);
}

#[test]
fn changing_from_common_to_own_and_back_cannot_be_heard() {
    for rate in [Hz8000, Hz16000] {
        let (mut desk, mut room) = (Desk::new(), Room::new(Hz16000));
        let loud = StripSettings {
            hang_over_ms: 40,
            ..StripSettings::default()
        };
        let mut strips: Vec<Strip> = (0..3).map(|_| Strip::new(Hz16000, loud)).collect();
        strips.push(Strip::new(rate, loud));
        let mut heard = Vec::new();
        for n in 0..80 {
            // Three legs of one constant at 0.9 of full scale: the limiter is at work all the time.
            let constant = [29_500_i16; 320];
            let word = vec![2_000_i16; rate.frame_len()];
            let me = (20..30).contains(&n).then_some(&word[..]);
            let all = [Some(&constant[..]), Some(&constant), Some(&constant), me];
            heard.extend(
                tick(&mut desk, &mut room, &mut strips, &all)[3]
                    .clone()
                    .unwrap(),
            );
        }
        let settled = &heard[rate.frame_len() * 3..];
        let steepest = settled
            .windows(2)
            .map(|w| w[0].abs_diff(w[1]))
            .max()
            .unwrap();
        assert!(steepest < 50, "{rate:?}: {steepest}");
    }
}

#[test]
fn a_talker_of_another_rate_hears_nothing_of_itself() {
    for rate in [Hz8000, Hz48000] {
        let speech = noise(rate, 9, 6_000);
        let other = noise(Hz16000, 4, 6_000);
        let mut heard = Vec::new();
        for me_talking in [false, true] {
            let (mut desk, mut room) = (Desk::new(), Room::new(Hz16000));
            let mut strips = [Strip::new(rate, OPEN), Strip::new(Hz16000, OPEN)];
            let mut all = Vec::new();
            for n in 0..24 {
                // Talks, stops or is muted, talks: the filters' memory must not tell either.
                strips[0].set_muted(n > 12 && n % 5 >= 2);
                let me = (me_talking && (n > 12 || n % 5 < 3)).then_some(&speech[..]);
                let from_other = (n % 4 < 2).then_some(&other[..]);
                all.push(tick(&mut desk, &mut room, &mut strips, &[me, from_other])[0].clone());
            }
            heard.push(all);
        }
        assert_eq!(heard[0], heard[1], "{rate:?}");
    }
}

#[test]
fn what_a_filter_holds_is_heard_after_the_last_frame() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz48000));
    let mut strips = [Strip::new(Hz8000, OPEN), Strip::new(Hz48000, OPEN)];
    let word = [8_000_i16; 160];
    for _ in 0..3 {
        tick(&mut desk, &mut room, &mut strips, &[Some(&word), None]);
    }
    let rest = tick(&mut desk, &mut room, &mut strips, &[None, None])[1]
        .clone()
        .unwrap();
    // 2 ms are 96 samples: the step from the last sample of the word to the first of silence is centred at 93.
    assert!((7_600..8_400).contains(&rest[20]), "{}", rest[20]);
    assert!((3_600..4_400).contains(&rest[93]), "{}", rest[93]);
    assert!(rest[200..].iter().all(|&s| s == 0));
    assert_eq!(
        tick(&mut desk, &mut room, &mut strips, &[None, None])[1],
        None
    );
}

#[test]
fn a_telephone_is_heard_in_a_wide_room_and_hears_it() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz48000));
    let mut strips = [
        Strip::new(Hz8000, OPEN),
        Strip::new(Hz16000, OPEN),
        Strip::new(Hz48000, OPEN),
    ];
    let tone = |rate: SampleRate, n: usize| -> Vec<i16> {
        (n * rate.frame_len()..(n + 1) * rate.frame_len())
            .map(|n| ((n as f64 * 3_000.0 / f64::from(rate.hz())).sin() * 9_000.0) as i16)
            .collect()
    };
    for speaker in 0..3 {
        let mut heard = [Vec::new(), Vec::new(), Vec::new()];
        for n in 0..20 {
            let frame = tone(strips[speaker].rate(), n);
            let mut frames = [None; 3];
            frames[speaker] = Some(&frame[..]);
            for (heard, now) in
                heard
                    .iter_mut()
                    .zip(tick(&mut desk, &mut room, &mut strips, &frames))
            {
                heard.extend(now.unwrap_or_default());
            }
        }
        for (listener, heard) in heard.iter().enumerate().filter(|(n, _)| *n != speaker) {
            let level = unisono_mixer::level::of_frame(&heard[heard.len() / 2..]);
            assert!(
                (level - -14.24).abs() < 0.1,
                "{speaker} to {listener}: {level}"
            );
        }
        for _ in 0..3 {
            tick(&mut desk, &mut room, &mut strips, &[None, None, None]);
        }
        assert_eq!(
            tick(&mut desk, &mut room, &mut strips, &[None; 3]),
            [None, None, None]
        );
    }
}

#[test]
fn a_strip_may_change_rooms_between_ticks() {
    let mut desk = Desk::new();
    let mut rooms = [Room::new(Hz8000), Room::new(Hz16000)];
    let mut strips = [Strip::new(Hz8000, OPEN), Strip::new(Hz8000, OPEN)];
    let word = [3_000_i16; 160];
    for n in 0..10 {
        let heard = tick(
            &mut desk,
            &mut rooms[n % 2],
            &mut strips,
            &[Some(&word), None],
        );
        assert_eq!(heard[0], None);
        assert!(heard[1].is_some());
        let left = desk
            .begin(&mut rooms[1 - n % 2])
            .finish()
            .common(Hz48000)
            .map(<[i16]>::to_vec);
        assert_eq!(
            left.is_some(),
            n > 0,
            "the rest of the filter stays in the room"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What each hears and what it contributed is the sum, sample for sample.
    #[test]
    fn mix_identity(
        legs in prop::collection::vec((any::<u64>(), prop::bool::weighted(0.6), -20_f32..0.0), 0..12),
        rate in prop::sample::select(&SampleRate::ALL[..]),
    ) {
        let (mut desk, mut room) = (Desk::new(), Room::new(rate));
        let mut strips: Vec<Strip> = legs.iter().map(|_| Strip::new(rate, OPEN)).collect();
        for round in 0..3 {
            // From the second tick on all gains rest at 1 and a frame is what is contributed.
            let frames: Vec<Option<Vec<i16>>> = legs.iter()
                .map(|&(seed, talks, _)| talks.then(|| noise(rate, seed ^ round, 2_700)))
                .collect();
            let mut mix = take(&mut desk, &mut room, &mut strips, &frames);
            let common = widened(mix.common(rate), rate);
            for (strip, frame) in strips.iter_mut().zip(&frames) {
                let heard = match mix.hear(strip, None) {
                    Hearing::Nothing => widened(None, rate),
                    Hearing::Common(heard) | Hearing::Own(heard) => widened(Some(heard), rate),
                };
                if round > 0 {
                    let said = widened(frame.as_deref(), rate);
                    let sum: Vec<i32> = heard.iter().zip(&said).map(|(a, b)| a + b).collect();
                    prop_assert_eq!(&sum, &common);
                }
            }
        }
    }

    /// The differences between the sum and what each hears add up to the sum, whatever gains and gates do.
    #[test]
    fn contributions_add_up_under_gains_and_gates(
        legs in prop::collection::vec((any::<u64>(), 1_i16..2_700, -20_f32..0.0), 1..12),
    ) {
        let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
        let mut strips: Vec<Strip> = legs.iter()
            .map(|_| Strip::new(Hz8000, StripSettings::default())).collect();
        for round in 0..4 {
            for (strip, &(_, _, db)) in strips.iter_mut().zip(&legs) {
                strip.set_input_gain_db(db * f32::from(round as u8));
            }
            let frames: Vec<Option<Vec<i16>>> = legs.iter()
                .map(|&(seed, loudness, _)| Some(noise(Hz8000, seed ^ round, loudness)))
                .collect();
            let mut mix = take(&mut desk, &mut room, &mut strips, &frames);
            let common = widened(mix.common(Hz8000), Hz8000);
            let mut total = vec![0; 160];
            for strip in &mut strips {
                let heard = match mix.hear(strip, None) {
                    Hearing::Nothing => widened(None, Hz8000),
                    Hearing::Common(heard) | Hearing::Own(heard) => widened(Some(heard), Hz8000),
                };
                for ((total, all), heard) in total.iter_mut().zip(&common).zip(&heard) {
                    *total += all - heard;
                }
            }
            prop_assert_eq!(&total, &common);
        }
    }

    /// Loud, mixed rates, limited: the order in which legs are given changes nothing.
    #[test]
    fn order_does_not_matter(
        legs in prop::collection::vec(
            (any::<u64>(), prop::sample::select(&SampleRate::ALL[..]), -10_f32..10.0), 1..8),
        rate in prop::sample::select(&SampleRate::ALL[..]),
        turn in any::<prop::sample::Index>(),
    ) {
        let turn = turn.index(legs.len());
        let run = |turn: usize| {
            let mut legs = legs.clone();
            legs.rotate_left(turn);
            if turn > 0 {
                legs.reverse();
            }
            let (mut desk, mut room) = (Desk::new(), Room::new(rate));
            let mut strips: Vec<Strip> = legs.iter()
                .map(|&(_, rate, db)| Strip::new(rate, StripSettings { input_gain_db: db, ..OPEN }))
                .collect();
            let mut heard = Vec::new();
            for round in 0..4 {
                let frames: Vec<Vec<i16>> = legs.iter()
                    .map(|&(seed, rate, _)| noise(rate, seed ^ round, 30_000)).collect();
                let frames: Vec<Option<&[i16]>> = frames.iter()
                    .map(|frame| (round != 2).then_some(&frame[..])).collect();
                heard = tick(&mut desk, &mut room, &mut strips, &frames);
            }
            if turn > 0 {
                heard.reverse();
            }
            heard.rotate_right(turn);
            heard
        };
        prop_assert_eq!(run(0), run(turn));
    }

    /// Rates, gains and rights change at any time; nothing panics, and who is alone hears nothing.
    #[test]
    fn anything_may_change_between_ticks(
        steps in prop::collection::vec((0_u8..9, 0_usize..4, any::<u64>()), 1..40),
    ) {
        let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
        let mut strips: Vec<Strip> = SampleRate::ALL.iter()
            .map(|&rate| Strip::new(rate, StripSettings::default())).collect();
        for (what, who, seed) in steps {
            let strip = &mut strips[who];
            match what {
                0 => room.set_rate(SampleRate::ALL[(seed % 4) as usize]),
                1 => strip.set_rate(SampleRate::ALL[(seed % 4) as usize]),
                2 => strip.set_muted(seed % 2 == 0),
                3 => strip.set_deaf(seed % 2 == 0),
                4 => strip.set_role([Role::Both, Role::ListenOnly, Role::TalkOnly][(seed % 3) as usize]),
                5 => strip.set_input_gain_db((seed % 90) as f32 - 60.0),
                6 => strip.set_output_gain_db((seed % 90) as f32 - 60.0),
                7 => strip.set_counts_as_talker(seed % 2 == 0),
                _ => {}
            }
            let frames: Vec<Vec<i16>> = strips.iter()
                .map(|strip| noise(strip.rate(), seed, i16::MAX)).collect();
            let frames: Vec<Option<&[i16]>> = frames.iter().enumerate()
                .map(|(n, frame)| (seed >> n & 1 == 1).then_some(&frame[..])).collect();
            let heard = tick(&mut desk, &mut room, &mut strips, &frames);
            for (strip, heard) in strips.iter().zip(&heard) {
                prop_assert!(heard.as_ref().is_none_or(|heard| heard.len() == strip.rate().frame_len()));
            }
        }
    }
}

/// One tick: what everybody says, `None` for silence; what everybody hears.
fn tick(
    desk: &mut Desk,
    room: &mut Room,
    strips: &mut [Strip],
    frames: &[Option<&[i16]>],
) -> Vec<Option<Vec<i16>>> {
    let mut mix = take(desk, room, strips, frames);
    strips
        .iter_mut()
        .map(|strip| match mix.hear(strip, None) {
            Hearing::Nothing => None,
            Hearing::Common(heard) | Hearing::Own(heard) => Some(heard.to_vec()),
        })
        .collect()
}

fn take<'a, F: AsRef<[i16]>>(
    desk: &'a mut Desk,
    room: &'a mut Room,
    strips: &mut [Strip],
    frames: &[Option<F>],
) -> Mix<'a> {
    let mut intake = desk.begin(room);
    for (strip, frame) in strips.iter_mut().zip(frames) {
        match frame {
            Some(frame) => intake.add(strip, frame.as_ref()),
            None => intake.add_silence(strip),
        };
    }
    intake.finish()
}

fn widened(frame: Option<&[i16]>, rate: SampleRate) -> Vec<i32> {
    frame.map_or(vec![0; rate.frame_len()], |frame| {
        frame.iter().map(|&s| i32::from(s)).collect()
    })
}

/// A frame of noise from -`peak` to `peak`.
fn noise(rate: SampleRate, seed: u64, peak: i16) -> Vec<i16> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..rate.frame_len())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as i32 % (2 * i32::from(peak) + 1) - i32::from(peak)) as i16
        })
        .collect()
}

#[test]
fn who_is_not_listened_to_keeps_its_level_and_is_not_heard() {
    let settings = StripSettings::default();
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
    let (mut quiet, mut listener) = (Strip::new(Hz8000, settings), Strip::new(Hz8000, settings));
    for tick in 0..50 {
        let mut intake = desk.begin(&mut room);
        if tick == 0 {
            intake.add(&mut quiet, &[30; 160]);
        } else {
            assert!(quiet.is_resting());
            assert_eq!(intake.add_unheard(&mut quiet), None);
        }
        intake.add_silence(&mut listener);
        let mut mix = intake.finish();
        assert_eq!(mix.hear(&mut quiet, None), Hearing::Nothing);
        assert_eq!(mix.hear(&mut listener, None), Hearing::Nothing);
        assert!((-61.0..-60.0).contains(&quiet.level_dbov()));
    }
}

#[test]
fn a_talker_who_is_not_listened_to_stops_as_in_silence() {
    let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
    let mut strips = [(); 2].map(|()| Strip::new(Hz8000, StripSettings::default()));
    for tick in 0..100 {
        let mut intake = desk.begin(&mut room);
        let [a, b] = &mut strips;
        let changes = if tick < 20 {
            [intake.add(a, &[9_000; 160]), intake.add(b, &[9_000; 160])]
        } else {
            [intake.add_silence(a), intake.add_unheard(b)]
        };
        assert_eq!(changes[0], changes[1], "tick {tick}");
        intake.finish();
    }
    assert!(
        strips
            .iter()
            .all(|strip| !strip.is_talking() && strip.is_resting())
    );
}

proptest! {
    #[test]
    fn nothing_within_the_unheard_peak_is_mixed_or_talking(
        gate in -90.0_f32..-3.0,
        talk in -90.0_f32..-3.0,
        gain in -20.0_f32..20.0,
    ) {
        let settings = StripSettings {
            gate_dbov: Some(gate),
            talk_dbov: talk,
            input_gain_db: gain,
            ..OPEN
        };
        let (mut desk, mut room) = (Desk::new(), Room::new(Hz8000));
        let mut strip = Strip::new(Hz8000, settings);
        let peak = strip.unheard_peak().min(32_767) as i16;
        for _ in 0..5 {
            let mut intake = desk.begin(&mut room);
            intake.add(&mut strip, &[peak; 160]);
            let mix = intake.finish();
            prop_assert!(!mix.has(&strip));
            prop_assert!(strip.is_resting());
        }
    }
}
