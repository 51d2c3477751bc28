//! The English set and the speakers that are compiled in; `assets/make-sounds` makes their files.

/// Names and raw G.722 of one folder under `assets/`.
macro_rules! g722_files {
    ($folder:literal: $($name:literal,)*) => {
        &[$((
            $name,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $folder, "/", $name, ".g722")),
        ),)*]
    };
}

/// Every prompt that the server plays, and what else Asterisk's sound packages have for conferences, by its name there, as G.722.
pub(super) const PROMPTS: &[(&str, &[u8])] = g722_files! {
    "prompts/en":
    "beep",
    "beeperr",
    "conf-adminmenu-18",
    "conf-adminmenu-menu8",
    "conf-enteringno",
    "conf-errormenu",
    "conf-extended",
    "conf-full",
    "conf-getconfno",
    "conf-getpin",
    "conf-has-not-started",
    "conf-hasjoin",
    "conf-hasleft",
    "conf-invalid",
    "conf-invalidpin",
    "conf-kicked",
    "conf-leaderhasleft",
    "conf-locked",
    "conf-lockednow",
    "conf-muted",
    "conf-noempty",
    "conf-nonextended",
    "conf-now-muted",
    "conf-now-recording",
    "conf-now-unmuted",
    "conf-onlyone",
    "conf-onlyperson",
    "conf-otherinparty",
    "conf-placeintoconf",
    "conf-roll-callcomplete",
    "conf-thereare",
    "conf-unlockednow",
    "conf-unmuted",
    "conf-usermenu",
    "conf-waitforleader",
    "confbridge-conf-begin",
    "confbridge-join",
    "confbridge-leave",
    "digits/0",
    "digits/1",
    "digits/10",
    "digits/11",
    "digits/12",
    "digits/13",
    "digits/14",
    "digits/15",
    "digits/16",
    "digits/17",
    "digits/18",
    "digits/19",
    "digits/2",
    "digits/20",
    "digits/3",
    "digits/30",
    "digits/4",
    "digits/40",
    "digits/5",
    "digits/50",
    "digits/6",
    "digits/60",
    "digits/7",
    "digits/70",
    "digits/8",
    "digits/80",
    "digits/9",
    "digits/90",
    "digits/hundred",
    "digits/pound",
    "digits/star",
    "digits/thousand",
    "goodbye",
    "please-try-again",
    "vm-rec-name",
};

/// The speakers' clips, as G.722.
pub(super) const SPEECH: &[(&str, &[u8])] = g722_files! {
    "speech":
    "anna",
    "ben",
    "calum",
    "david",
    "edith",
    "finn",
    "george",
    "helen",
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn names(table: &[(&str, &[u8])]) -> BTreeSet<String> {
        table.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn named_in(wording: &str) -> BTreeSet<String> {
        wording
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split('\t').next())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_wording_has_its_sound_and_every_sound_its_wording() {
        assert_eq!(
            names(PROMPTS),
            named_in(include_str!("../../assets/prompts/en/wording.tsv"))
        );
        assert_eq!(
            names(SPEECH),
            named_in(include_str!("../../assets/speech/wording.tsv"))
        );
    }

    #[test]
    fn no_sound_file_is_left_out_of_the_tables() {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        for (folder, count) in [("prompts/en", PROMPTS.len()), ("speech", SPEECH.len())] {
            let mut found = 0;
            let mut folders = vec![assets.join(folder)];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        folders.push(path);
                    } else if path
                        .extension()
                        .is_some_and(|extension| extension == "g722")
                    {
                        found += 1;
                    }
                }
            }
            assert_eq!(found, count, "{folder}");
        }
    }

    #[test]
    fn the_embedded_sounds_stay_small() {
        let bytes: usize = PROMPTS
            .iter()
            .chain(SPEECH)
            .map(|(_, g722)| g722.len())
            .sum();
        assert!(bytes < 1_500_000, "{bytes} bytes");
    }
}
