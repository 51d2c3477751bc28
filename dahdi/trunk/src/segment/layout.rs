//! What is where in a segment, and how a frame is written and read without ever being half of one and half of another.
//!
//! All of it is atomic words, so whatever another process writes there, and whenever, is defined here: at worst nonsense, which is
//! checked.

use std::mem::size_of;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, fence};

use unisono_dahdi::exchange::{MAX_CONFERENCE, STEP};

use super::Frame;
use crate::error::SegmentError;

/// Conferences that a process can share at a time; as many as DAHDI has pseudo channels.
pub(crate) const LINES: usize = 512;

/// Frames of a line that can be read: 160 ms.
const FRAMES: usize = 8;

/// The first eight bytes, as this machine orders them.
pub(crate) const MAGIC: u64 = u64::from_ne_bytes(*b"unisono\n");

/// Of everything in this file.
const LAYOUT: u32 = 1;

const WORDS: usize = STEP / 4;
const NAME_WORDS: usize = 8;

/// A whole segment.
#[repr(C, align(64))]
pub(crate) struct Segment {
    magic: AtomicU64,
    layout: AtomicU32,
    process: AtomicU32,
    program: [AtomicU64; NAME_WORDS],
    /// For each conference, its line's number plus one; 0 while it has none.
    line_of: [AtomicU16; MAX_CONFERENCE as usize + 1],
    lines: [Line; LINES],
}

/// What a process says in one conference.
#[repr(C, align(64))]
struct Line {
    /// Of the last frame.
    newest: AtomicU64,
    frames: [Shared; FRAMES],
}

#[repr(C)]
struct Shared {
    tag: AtomicU64,
    samples: [AtomicU64; WORDS],
}

/// Whose frame it is, and of which step: the number of the step times 2^16 plus the conference. Never 0, which means "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(u64);

impl Tag {
    /// Of a step, counted in 20 ms, and a conference from 1 on.
    pub(crate) const fn new(step: u64, conference: u16) -> Self {
        Self(step << 16 | conference as u64)
    }

    const fn step(self) -> u64 {
        self.0 >> 16
    }
}

impl Segment {
    /// Bytes of a segment.
    pub(crate) const SIZE: u64 = size_of::<Self>() as u64;

    /// Writes what identifies a new segment, last of all what makes it valid.
    pub(crate) fn sign(&self, process: u32, program: &str) {
        let mut name = [0; NAME_WORDS * 8];
        let len = program.floor_char_boundary(name.len());
        name[..len].copy_from_slice(&program.as_bytes()[..len]);
        for (word, &eight) in self.program.iter().zip(name.as_chunks().0) {
            word.store(u64::from_ne_bytes(eight), Relaxed);
        }
        self.process.store(process, Relaxed);
        self.layout.store(LAYOUT, Relaxed);
        self.magic.store(MAGIC, Release);
    }

    /// Whether it is one that this program understands.
    pub(crate) fn check(&self) -> Result<(), SegmentError> {
        if self.magic.load(Acquire) != MAGIC {
            return Err(SegmentError::Foreign);
        }
        match self.layout.load(Relaxed) {
            LAYOUT => Ok(()),
            found => Err(SegmentError::Version {
                found,
                expected: LAYOUT,
            }),
        }
    }

    /// The process's number, as it sees itself.
    pub(crate) fn process(&self) -> u32 {
        self.process.load(Relaxed)
    }

    /// The program's name; what is no text is shown as a question mark.
    pub(crate) fn program(&self) -> String {
        let words = self.program.iter();
        let name: Vec<u8> = words
            .flat_map(|word| word.load(Relaxed).to_ne_bytes())
            .take_while(|&byte| byte != 0)
            .collect();
        let name = String::from_utf8_lossy(&name);
        name.replace(
            |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER,
            "?",
        )
    }

    /// Opens line number `line` to a conference, or closes the conference's.
    pub(crate) fn set_line(&self, conference: u16, line: Option<u16>) {
        if let Some(entry) = self.line_of.get(usize::from(conference)) {
            entry.store(line.map_or(0, |line| line + 1), Release);
        }
    }

    /// The line of a conference.
    pub(crate) fn line(&self, conference: u16) -> Option<u16> {
        let line = self.line_of.get(usize::from(conference))?.load(Acquire);
        (1..=LINES as u16).contains(&line).then(|| line - 1)
    }

    /// Writes a frame. Only one thread of the segment's process may.
    pub(crate) fn write(&self, line: u16, tag: Tag, frame: &Frame) {
        let Some(line) = self.lines.get(usize::from(line)) else {
            return;
        };
        let shared = &line.frames[tag.step() as usize % FRAMES];
        shared.tag.store(0, Relaxed);
        fence(Release);
        for (word, four) in shared.samples.iter().zip(frame.as_chunks::<4>().0) {
            word.store(pack(four), Relaxed);
        }
        shared.tag.store(tag.0, Release);
        line.newest.store(tag.0, Release);
    }

    /// Reads a frame, if it is there, and whole.
    pub(crate) fn read(&self, line: u16, tag: Tag, into: &mut Frame) -> bool {
        let Some(line) = self.lines.get(usize::from(line)) else {
            return false;
        };
        let shared = &line.frames[tag.step() as usize % FRAMES];
        if shared.tag.load(Acquire) != tag.0 {
            return false;
        }
        for (word, four) in shared.samples.iter().zip(into.as_chunks_mut::<4>().0) {
            *four = unpack(word.load(Relaxed));
        }
        fence(Acquire);
        shared.tag.load(Relaxed) == tag.0
    }

    /// The step of the newest frame of a line, if that is of this conference.
    pub(crate) fn newest(&self, line: u16, conference: u16) -> Option<u64> {
        let tag = self.lines.get(usize::from(line))?.newest.load(Acquire);
        (tag != 0 && tag & 0xffff == u64::from(conference)).then_some(tag >> 16)
    }
}

fn pack(four: &[i16; 4]) -> u64 {
    let [a, b, c, d] = four.map(|sample| u64::from(sample as u16));
    a | b << 16 | c << 32 | d << 48
}

fn unpack(word: u64) -> [i16; 4] {
    [0, 16, 32, 48].map(|shift| (word >> shift) as u16 as i16)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// A segment on the heap: zeros, as a new file has them.
    #[allow(unsafe_code, reason = "1.4 MB are not made on the stack")]
    fn new() -> Box<Segment> {
        let segment = Box::<Segment>::new_zeroed();
        // SAFETY: it consists of atomic integers, for which zeros are valid.
        unsafe { segment.assume_init() }
    }

    #[test]
    fn a_segment_takes_what_the_documentation_says() {
        assert!(
            (1_350_000..1_450_000).contains(&Segment::SIZE),
            "{}",
            Segment::SIZE
        );
    }

    #[test]
    fn what_is_written_is_read_until_eight_steps_later() {
        let segment = new();
        let frame: Frame = std::array::from_fn(|n| (n as i16 - 80) * 409);
        segment.write(3, Tag::new(1_000, 7), &frame);
        assert_eq!(segment.newest(3, 7), Some(1_000));
        let mut read = [0; STEP];
        assert!(segment.read(3, Tag::new(1_000, 7), &mut read));
        assert_eq!(read, frame);
        assert!(!segment.read(3, Tag::new(1_001, 7), &mut read));
        segment.write(3, Tag::new(1_007, 7), &frame);
        assert!(segment.read(3, Tag::new(1_000, 7), &mut read));
        segment.write(3, Tag::new(1_008, 7), &frame);
        assert!(!segment.read(3, Tag::new(1_000, 7), &mut read));
    }

    #[test]
    fn a_frame_of_another_conference_is_none() {
        let segment = new();
        segment.write(3, Tag::new(1_000, 7), &[9; STEP]);
        let mut read = [0; STEP];
        assert!(!segment.read(3, Tag::new(1_000, 8), &mut read));
        assert_eq!((segment.newest(3, 8), read), (None, [0; STEP]));
    }

    #[test]
    fn lines_and_names_from_elsewhere_are_checked() {
        let segment = new();
        assert_eq!(segment.check(), Err(SegmentError::Foreign));
        segment.sign(
            7,
            "Ästerisk, with a name that is longer than there is room, by far: ääää",
        );
        assert_eq!(segment.check(), Ok(()));
        assert_eq!(
            segment.program(),
            "Ästerisk, with a name that is longer than there is room, by far"
        );
        segment.program[0].store(u64::from_ne_bytes(*b"a\x1b\xff\nbcde"), Relaxed);
        assert!(segment.program().starts_with("a???bcde"));
        segment.layout.store(0, Relaxed);
        assert!(matches!(
            segment.check(),
            Err(SegmentError::Version { found: 0, .. })
        ));

        for line in [LINES as u16 + 1, u16::MAX] {
            segment.line_of[5].store(line, Relaxed);
            assert_eq!(segment.line(5), None);
        }
        assert_eq!(segment.line(u16::MAX), None);
        assert!(!segment.read(u16::MAX, Tag::new(1, 5), &mut [0; STEP]));
        assert_eq!(segment.newest(u16::MAX, 5), None);
        segment.write(u16::MAX, Tag::new(1, 5), &[0; STEP]);
        segment.set_line(u16::MAX, Some(0));
    }

    #[test]
    fn no_reader_ever_sees_parts_of_two_frames() {
        let segment = new();
        let done = AtomicBool::new(false);
        let (read, torn) = std::thread::scope(|scope| {
            scope.spawn(|| {
                for step in 1..200_000 {
                    segment.write(0, Tag::new(step, 1), &[step as i16; STEP]);
                }
                done.store(true, Relaxed);
            });
            let (mut read, mut torn) = (0, 0);
            let mut frame = [0; STEP];
            while !done.load(Relaxed) || read == 0 {
                let newest = segment.newest(0, 1).unwrap_or(0);
                for step in newest.saturating_sub(7).max(1)..=newest {
                    if segment.read(0, Tag::new(step, 1), &mut frame) {
                        read += 1;
                        torn += u32::from(frame != [step as i16; STEP]);
                    }
                }
            }
            (read, torn)
        });
        assert!(read > 0);
        assert_eq!(torn, 0, "of {read}");
    }
}
