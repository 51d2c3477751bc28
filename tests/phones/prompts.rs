//! Debian's sound packages drop in with one setting.

use unisono_rtp::codec::Codec;

use crate::peer::{Capture, Sipp, asterisk_root};
use crate::sound::{PROMPTS_OF_ASTERISK, Recording, Voice, prompt, prompt_of_asterisk};
use crate::stage::Stage;

#[test]
fn the_only_person_is_told_so_in_the_voice_of_the_installed_package() {
    let folder = asterisk_root().join(PROMPTS_OF_ASTERISK);
    let theirs = prompt_of_asterisk("conf-onlyperson");
    let configuration = format!("[sounds]\ndirectory = \"{}\"\n", folder.display());
    hear_alone("package-prompts", &configuration, |heard| {
        assert_eq!(heard.rate, theirs.rate);
        assert!(
            heard.says(&theirs.samples),
            "conf-onlyperson of the package"
        );
        assert!(
            !heard.says(&prompt("conf-onlyperson", heard.rate)),
            "the embedded voice as well"
        );
        assert_eq!(heard.voices(), [], "nobody hears themselves");
    });
}

#[test]
fn without_a_package_the_embedded_voice_says_it() {
    hear_alone("embedded-prompts", "", |heard| {
        assert!(heard.says(&prompt("conf-onlyperson", heard.rate)));
    });
}

#[test]
fn nothing_is_said_where_that_is_switched_off() {
    let configuration = "[conferences]\nannounce_only_person = false\n";
    hear_alone("no-prompts", configuration, |heard| {
        assert!(!heard.says(&prompt("conf-onlyperson", heard.rate)));
    });
}

/// Judges what somebody who is alone in a conference hears.
fn hear_alone(name: &str, configuration: &str, judge: impl Fn(Recording)) {
    Stage::play(name, |stage| {
        let server = stage.server_that_talks(configuration);
        let capture = Capture::start(stage);
        let anna = Sipp::new(stage, "anna", "speak", server.sip)
            .calling("100", 8.0)
            .speaking(Voice::Anna, Codec::Pcmu)
            .start();
        let port = anna.audio_port();
        anna.succeed();
        judge(capture.stop().audio_to(port));
    });
}
