//! One tick of a phase: everybody is heard, mixed, and sent what it hears.

use rtsan_standalone::nonblocking;
use unisono_mixer::{Hearing, MAX_FRAME, TalkChange};
use unisono_rtp::packet::MAX_CSRCS;

use super::Outlet;
use super::event::Event;
use super::leg::{Leg, Taken, Transport};
use super::meter::{WorkerMeter, bump};
use super::phase::Due;
use super::plane::{MediaPlane, PhaseWork, Sorted, TickTime};
use super::room::{ANNOUNCEMENT_RATE, Room};

/// Figures of a leg are published every so many ticks: about three times a second.
const PUBLISH_EVERY: u64 = 16;

/// Who is not decoded has its turn to be, for its level, once in so many ticks: every 2.6 seconds, just before that is published.
const TURN_EVERY: u64 = 8 * PUBLISH_EVERY;

/// Longest from one measurement of a level to the next: see `leg/rtp/measuring.rs`.
#[cfg(test)]
pub(super) const MEASURED_WITHIN: u64 = 4 * TURN_EVERY;

/// The interval, ns.
const INTERVAL_NS: u64 = 20_000_000;

const SILENCE: [i16; MAX_FRAME] = [0; MAX_FRAME];

impl MediaPlane {
    /// Does what is due in `phase`.
    #[nonblocking]
    pub(crate) fn tick(
        &mut self,
        phase: usize,
        due: Due,
        time: TickTime,
        meter: &WorkerMeter,
        outlet: &mut impl Outlet,
    ) {
        if due.skip > 0 {
            self.skip(phase, due.skip);
            bump(&meter.skipped, due.skip);
        }
        bump(&meter.caught_up, u64::from(due.run - 1));
        for left in (0..u64::from(due.run)).rev() {
            self.phases[phase].interval += 1;
            self.phases[phase].dozing = 0;
            bump(&meter.intervals, 1);
            // Whoever owes a report in this interval owes it in the next one as well.
            self.sorted.owing.clear();
            for seat in 0..self.phases[phase].rooms.len() {
                let room = self.phases[phase].rooms[seat];
                self.mix(room, phase, due.last - left, time, meter, outlet);
            }
            self.serve_alone(phase, time, outlet);
        }
        self.finish(phase, time, outlet);
    }

    /// One interval of one room; `number` is the same on all workers.
    fn mix(
        &mut self,
        room: u32,
        phase: usize,
        number: u64,
        time: TickTime,
        meter: &WorkerMeter,
        outlet: &mut impl Outlet,
    ) {
        let interval = self.phases[phase].interval;
        let (trims, sheds) = (self.level.trims(), self.level.sheds());
        let Self {
            legs,
            rooms,
            phases,
            desk,
            frame,
            prompt,
            sorted,
            buffers,
            ..
        } = self;
        let Some(room) = rooms[room as usize].as_deref_mut() else {
            return;
        };

        let Sorted {
            audible,
            apart,
            together,
            owing,
        } = sorted;
        audible.clear();
        apart.clear();
        together.clear();
        let mut intake = desk.begin(&mut room.bus);
        for (seat, &member) in room.members.iter().enumerate() {
            let ahead = |steps| leg_of(legs, room.members.get(seat + steps));
            if let Some(leg) = ahead(6) {
                leg.fetch_front();
            }
            if let Some(leg) = ahead(4) {
                leg.fetch_stream();
            }
            if let Some(leg) = ahead(2) {
                leg.fetch_for_interval();
            }
            let Some(leg) = legs[member as usize].as_deref_mut() else {
                continue;
            };
            let length = leg.rate().frame_len();
            if sheds || leg.dozes() {
                phases[phase].dozing += u64::from(leg.rest(sheds, time.now_ns, meter));
            }
            let turn = (interval + u64::from(member)).is_multiple_of(TURN_EVERY);
            let change = match leg.take_frame(time.now_ns, turn, &mut frame[..length], outlet) {
                Taken::Audio => {
                    audible.push(member);
                    intake.add(&mut leg.strip, &frame[..length])
                }
                Taken::Silence => intake.add_silence(&mut leg.strip),
                Taken::Unheard => intake.add_unheard(&mut leg.strip),
            };
            match change {
                Some(TalkChange::Started) => outlet.event(Event::TalkStarted(leg.id)),
                Some(TalkChange::Stopped) => {
                    leg.fell_silent(time.now_ns);
                    outlet.event(Event::TalkStopped(leg.id));
                }
                None => {}
            }
            if leg.owes_report(time.now_ns) {
                owing.push(member);
            }
            if intake.hears_what_all_hear(&leg.strip) && leg.is_told_nothing() && leg.can_share() {
                together.push(member);
            } else {
                apart.push(member);
            }
        }
        room.talkers.clear();
        for &member in audible.iter() {
            if let Some(leg) = legs[member as usize].as_deref()
                && let Some(ssrc) = leg.remote_ssrc()
                && intake.has(&leg.strip)
            {
                room.talkers.add(ssrc);
            }
        }
        // What goes to the conference's other rooms is what this one's members say, and nothing else.
        if let Some(ties) = &room.ties {
            ties.publish(number, &intake, &room.talkers);
        }
        let length = ANNOUNCEMENT_RATE.frame_len();
        if room
            .announcements
            .next_frame(&mut frame[..length], &mut |garbage| outlet.discard(garbage))
        {
            intake.add(&mut room.announcer, &frame[..length]);
        } else {
            intake.add_silence(&mut room.announcer);
        }
        if let Some(ties) = &mut room.ties {
            ties.add_others(number, &mut intake, &mut room.talkers, meter);
        }
        let mut mix = intake.finish();

        let anyone = mix.room().contributors() > 0;

        // Those who hear something of their own come first: their encoders continue from the state that the shared
        // ones had before this interval.
        let mut list = [0; MAX_CSRCS];
        for &member in apart.iter() {
            let Some(leg) = legs[member as usize].as_deref_mut() else {
                continue;
            };
            let length = leg.rate().frame_len();
            let told = leg.take_prompt(&mut prompt[..length], outlet);
            let private = told.then_some(&prompt[..length]);
            let stream = match &mut leg.transport {
                Transport::Rtp(stream) => stream,
                Transport::Rings(end) => {
                    end.send(match mix.hear(&mut leg.strip, private) {
                        Hearing::Common(heard) | Hearing::Own(heard) => heard,
                        Hearing::Nothing => &SILENCE[..length],
                    });
                    continue;
                }
            };
            if !stream.sends() {
                stream.send_nothing(buffers, outlet);
                continue;
            }
            let hearing = mix.hear(&mut leg.strip, private);
            let (heard, csrcs): (&[i16], &[u32]) = match hearing {
                Hearing::Common(_) if stream.can_share() => {
                    together.push(member);
                    continue;
                }
                Hearing::Nothing if !anyone && stream.can_share() && leg.strip.may_hear() => {
                    together.push(member);
                    continue;
                }
                Hearing::Common(heard) => (heard, room.talkers.all()),
                Hearing::Own(heard) if leg.strip.may_hear() => {
                    (heard, room.talkers.others(stream.remote_ssrc(), &mut list))
                }
                Hearing::Own(heard) => (heard, &[]),
                Hearing::Nothing => {
                    stream.part_from(&mut room.encoders);
                    stream.encoder.save_effort(trims);
                    let silence = &SILENCE[..length];
                    let may_hear = leg.strip.may_hear();
                    let encoded = stream.send_silence(silence, may_hear, buffers, outlet);
                    bump(&meter.encodes, u64::from(encoded));
                    continue;
                }
            };
            stream.part_from(&mut room.encoders);
            stream.encoder.save_effort(trims);
            stream.send_own(heard, csrcs, buffers, outlet);
            bump(&meter.encodes, 1);
        }
        for (seat, &member) in together.iter().enumerate() {
            let ahead = |steps| leg_of(legs, together.get(seat + steps));
            if let Some(leg) = ahead(4) {
                leg.fetch_front();
            }
            if let Some(leg) = ahead(2) {
                leg.fetch_for_sending();
            }
            let Some(Transport::Rtp(stream)) = legs[member as usize]
                .as_deref_mut()
                .map(|leg| &mut leg.transport)
            else {
                continue;
            };
            if !stream.sends() {
                stream.send_nothing(buffers, outlet);
                continue;
            }
            let rate = stream.rate();
            let heard = mix.common(rate).unwrap_or(&SILENCE[..rate.frame_len()]);
            let Some(shared) = room.encoders.get(stream.codec()) else {
                // It changed its codec, and brings the encoder with the next command.
                stream.send_own(heard, room.talkers.all(), buffers, outlet);
                continue;
            };
            shared.encoder.save_effort(trims);
            let (payload, fresh) = shared.payload(interval, heard, &stream.encoder);
            let anew = stream.send_shared(payload, heard, room.talkers.all(), buffers, outlet);
            bump(&meter.encodes, u64::from(fresh) + u64::from(anew));
        }
        if mix.room().limiter_gain() < 1.0 {
            bump(&meter.limited, 1);
        }
    }

    /// One interval of the legs of a phase that are in no conference.
    fn serve_alone(&mut self, phase: usize, time: TickTime, outlet: &mut impl Outlet) {
        let Self {
            legs,
            phases,
            frame,
            prompt,
            sorted,
            buffers,
            ..
        } = self;
        for &index in &phases[phase].alone {
            let Some(leg) = legs[index as usize].as_deref_mut() else {
                continue;
            };
            if leg.owes_report(time.now_ns) {
                sorted.owing.push(index);
            }
            let length = leg.rate().frame_len();
            let _ = leg.take_frame(time.now_ns, false, &mut frame[..length], outlet);
            if !leg.take_prompt(&mut prompt[..length], outlet) {
                prompt[..length].fill(0);
            }
            let Transport::Rtp(stream) = &mut leg.transport else {
                continue;
            };
            if stream.sends() {
                stream.send_own(&prompt[..length], &[], buffers, outlet);
            } else {
                stream.send_nothing(buffers, outlet);
            }
        }
    }

    fn skip(&mut self, phase: usize, intervals: u64) {
        let Self {
            legs,
            rooms,
            phases,
            ..
        } = self;
        let work = &phases[phase];
        for index in served(work, rooms) {
            if let Some(leg) = legs[*index as usize].as_deref_mut() {
                leg.skip(intervals);
            }
        }
    }

    /// What follows the audio of a tick: reports that are due, figures once in a while.
    fn finish(&mut self, phase: usize, time: TickTime, outlet: &mut impl Outlet) {
        let Self {
            legs,
            rooms,
            phases,
            sorted,
            buffers,
            ..
        } = self;
        for index in sorted.owing.drain(..) {
            if let Some(leg) = legs[index as usize].as_deref_mut() {
                leg.report(time, time.now_ns + INTERVAL_NS, buffers, outlet);
            }
        }
        let work = &phases[phase];
        for &index in served(work, rooms) {
            if (work.interval + u64::from(index)).is_multiple_of(PUBLISH_EVERY)
                && let Some(leg) = legs[index as usize].as_deref()
            {
                leg.publish();
            }
        }
    }
}

/// The leg of a place in a list, if the list goes as far.
fn leg_of<'a>(legs: &'a [Option<Box<Leg>>], member: Option<&u32>) -> Option<&'a Leg> {
    legs.get(*member? as usize)?.as_deref()
}

/// Everybody who is served in a phase.
pub(super) fn served<'a>(
    work: &'a PhaseWork,
    rooms: &'a [Option<Box<Room>>],
) -> impl Iterator<Item = &'a u32> {
    work.rooms
        .iter()
        .filter_map(|room| rooms[*room as usize].as_deref())
        .flat_map(|room| &room.members)
        .chain(&work.alone)
}
