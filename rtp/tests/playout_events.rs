//! Keys pressed in a call (RFC 4733): their packets share the sequence numbers of the voice.

mod support;

use support::{Datagram, Listener, Source, tone};
use unisono_rtp::codec::Codec;
use unisono_rtp::playout::Pulled;

const L16: Codec = Codec::L16 { rate: 8000 };

fn signal() -> impl Fn(usize) -> i16 + Copy {
    tone(500.0, 8000, 9000.0)
}

/// A key instead of voice: packets every 20 ms, and the last one three times.
fn press(source: &mut Source, ms: usize) -> Vec<Datagram> {
    let begin = source.timestamp;
    let mut sent = Vec::new();
    for _ in 0..ms / 20 {
        sent.push(source.send_event(begin));
        source.pause(20);
    }
    sent.extend([source.send_event(begin), source.send_event(begin)]);
    sent
}

#[test]
fn a_key_pressed_between_words_is_neither_loss_nor_concealed() {
    for ms in [100, 1000, 3000] {
        let mut source = Source::new(L16);
        let mut sent = source.run(1000, 20, signal());
        sent.extend(press(&mut source, ms));
        sent.extend(source.run(1000, 20, signal()));
        let mut listener = Listener::new(L16);
        // No longer than there is voice, so that the end of the stream is not judged.
        listener.listen(&sent, 0);
        let stats = listener.stats();
        assert_eq!(
            (stats.lost, stats.concealed_samples, stats.resyncs),
            (0, 0, 0),
            "{ms} ms"
        );
        assert_eq!(stats.inserted as usize, sent.len());
        assert!(stats.voice_samples >= 15_500, "{}", stats.voice_samples);
        let silent = listener.count(Pulled::Silence) * 20;
        assert!((ms - 40..=ms + 60).contains(&silent), "{silent} of {ms} ms");
    }
}

#[test]
fn voice_that_goes_on_beside_a_key_is_whole() {
    let mut source = Source::new(L16);
    let mut sent = source.run(500, 20, signal());
    let begin = source.timestamp;
    for _ in 0..25 {
        sent.push(source.send_event(begin));
        sent.push(source.send(20, signal()));
    }
    sent.extend(source.run(500, 20, signal()));
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 0);
    let stats = listener.stats();
    assert_eq!((stats.lost, stats.concealed_samples), (0, 0));
    // The first frame comes before the first word is due.
    let talk = &listener.frames[1..];
    assert!(talk.len() >= 70, "{} frames of 75", talk.len());
    assert!(talk.iter().all(|frame| *frame == Pulled::Voice), "{talk:?}");
}

#[test]
fn a_lost_word_before_a_key_is_still_a_loss() {
    let mut source = Source::new(L16);
    let mut sent = source.run(500, 20, signal());
    sent.pop();
    sent.extend(press(&mut source, 200));
    sent.extend(source.run(500, 20, signal()));
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 0);
    assert_eq!(listener.stats().lost, 1);
}

#[test]
fn keys_without_a_voice_before_them_are_nothing() {
    let mut source = Source::new(L16);
    let mut sent = press(&mut source, 2000);
    sent.extend(source.run(1000, 20, signal()));
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 0);
    let stats = listener.stats();
    assert_eq!((stats.lost, stats.concealed_samples), (0, 0));
    assert_eq!(listener.count(Pulled::Idle), 100);
}
