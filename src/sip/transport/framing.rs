//! Cutting a byte stream into messages (RFC 3261 section 18.3), without I/O.

use super::super::wire::MAX_MESSAGE;

/// What a stream turned out to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// One whole message.
    Message(Vec<u8>),
    /// A keep-alive that wants a pong (RFC 5626 section 4.4.1).
    Ping,
    /// The stream cannot be followed any further: answer what is readable, and close.
    Broken(Vec<u8>),
}

/// Collects the bytes of a stream. Holds at most one message of [`MAX_MESSAGE`] bytes.
#[derive(Debug, Default)]
pub(super) struct Framer {
    buffer: Vec<u8>,
    /// Up to here no end of a header section was found.
    searched: usize,
    broken: bool,
}

impl Framer {
    /// Whether a message has begun and is not complete. A line break, or half of one, begins none: it is a keep-alive, or
    /// the first part of one.
    pub(super) fn is_within_message(&self) -> bool {
        !b"\r\n\r".starts_with(&self.buffer)
    }

    /// Adds bytes and takes out what they complete. After [`Frame::Broken`] it yields nothing.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        if self.broken {
            return frames;
        }
        self.buffer.extend_from_slice(bytes);
        while let Some(frame) = self.next() {
            self.broken = matches!(frame, Frame::Broken(_));
            frames.push(frame);
            if self.broken {
                break;
            }
        }
        frames
    }

    fn next(&mut self) -> Option<Frame> {
        if self.buffer.starts_with(b"\r\n\r\n") {
            self.buffer.drain(..4);
            return Some(Frame::Ping);
        }
        // A single line break before a message is a pong, or noise.
        if self.buffer.starts_with(b"\r\n") && self.buffer.len() > 2 && self.buffer[2] != b'\r' {
            self.buffer.drain(..2);
        }
        if self.buffer == b"\r\n" || self.buffer == b"\r\n\r" || self.buffer == b"\r" {
            return None;
        }
        let end = self
            .buffer
            .windows(4)
            .skip(self.searched)
            .position(|window| window == b"\r\n\r\n")
            .map(|position| position + self.searched);
        let Some(end) = end else {
            self.searched = self.buffer.len().saturating_sub(3);
            return (self.buffer.len() > MAX_MESSAGE).then(|| self.give_up());
        };
        let Some(length) = content_length(&self.buffer[..end]) else {
            return Some(self.give_up());
        };
        let total = end + 4 + length;
        if total > MAX_MESSAGE {
            return Some(self.give_up());
        }
        if self.buffer.len() < total {
            return None;
        }
        let rest = self.buffer.split_off(total);
        self.searched = 0;
        Some(Frame::Message(std::mem::replace(&mut self.buffer, rest)))
    }

    fn give_up(&mut self) -> Frame {
        Frame::Broken(std::mem::take(&mut self.buffer))
    }
}

/// The one `Content-Length` of a header section; `None` if there is none, more than one, or it is
/// no number up to [`MAX_MESSAGE`].
fn content_length(head: &[u8]) -> Option<usize> {
    let mut found = None;
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next()?.trim_ascii_end();
        if !name.eq_ignore_ascii_case(b"Content-Length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let value = std::str::from_utf8(parts.next()?.trim_ascii()).ok()?;
        if found.is_some() || value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        found = Some(value.parse().ok().filter(|length| *length <= MAX_MESSAGE)?);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MESSAGE: &str = "BYE sip:a SIP/2.0\r\nContent-Length : 3\r\n\r\nabc";
    const EMPTY: &str = "BYE sip:a SIP/2.0\r\nl:0\r\n\r\n";

    fn message(text: &str) -> Frame {
        Frame::Message(text.as_bytes().to_vec())
    }

    #[test]
    fn pings_are_told_from_pongs_and_messages() {
        let mut framer = Framer::default();
        assert_eq!(framer.push(b"\r\n\r\n"), [Frame::Ping]);
        assert_eq!(framer.push(b"\r"), []);
        assert_eq!(framer.push(b"\n"), []);
        assert!(!framer.is_within_message(), "a pong begins no message");
        assert_eq!(framer.push(b"B"), []);
        assert!(framer.is_within_message());
        let mut framer = Framer::default();
        assert_eq!(framer.push(b"\r\n"), []);
        assert_eq!(framer.push(EMPTY.as_bytes()), [message(EMPTY)]);
        assert!(!framer.is_within_message());
    }

    #[test]
    fn what_cannot_be_framed_breaks_the_stream() {
        for head in [
            "BYE sip:a SIP/2.0\r\nVia: x\r\n\r\n",
            "BYE sip:a SIP/2.0\r\nl: -1\r\n\r\n",
            "BYE sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 1\r\n\r\n",
            "BYE sip:a SIP/2.0\r\nl: 99999999\r\n\r\n",
        ] {
            let mut framer = Framer::default();
            let frames = framer.push(head.as_bytes());
            assert_eq!(frames, [Frame::Broken(head.as_bytes().to_vec())]);
            assert_eq!(framer.push(EMPTY.as_bytes()), []);
        }
    }

    #[test]
    fn an_endless_header_section_breaks_the_stream_at_the_limit() {
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        for _ in 0..(MAX_MESSAGE / 1000 + 2) {
            frames.extend(framer.push(&[b'x'; 1000]));
        }
        assert!(matches!(frames.as_slice(), [Frame::Broken(_)]));
    }

    proptest! {
        #[test]
        fn messages_come_out_the_same_however_the_stream_is_cut(
            cuts in prop::collection::vec(1usize..20, 1..60),
        ) {
            let stream = format!("{MESSAGE}\r\n\r\n{EMPTY}{MESSAGE}");
            let mut rest = stream.as_bytes();
            let mut framer = Framer::default();
            let mut frames = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                frames.extend(framer.push(now));
                rest = later;
            }
            let expected = [message(MESSAGE), Frame::Ping, message(EMPTY), message(MESSAGE)];
            prop_assert_eq!(frames, expected);
        }
    }
}
