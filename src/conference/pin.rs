//! Entering a PIN on a telephone's keys.

use super::Settings;

/// One caller's attempts.
#[derive(Debug)]
pub(super) struct PinEntry {
    digits: String,
    tries_left: u32,
    /// The last attempt ended by its length, so that a `#` that follows belongs to it.
    ended_by_length: bool,
}

/// What a key, or the lack of one, leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The key means nothing here.
    Ignored,
    /// More digits are needed.
    More,
    /// Right.
    Admitted {
        /// The administrators' PIN.
        admin: bool,
    },
    /// Wrong, try again.
    Wrong,
    /// Nothing entered, try again.
    Nothing,
    /// Wrong for the last time.
    GaveUp,
}

impl PinEntry {
    pub(super) fn new(tries: u32) -> Self {
        Self {
            digits: String::new(),
            tries_left: tries,
            ended_by_length: false,
        }
    }

    /// A key: a digit adds, `*` starts over, `#` ends. Others (`A` to `D`) do nothing.
    pub(super) fn key(&mut self, key: char, settings: &Settings) -> Outcome {
        let after_length = std::mem::take(&mut self.ended_by_length);
        match key {
            '0'..='9' => {
                self.digits.push(key);
                self.at_its_length(settings)
            }
            '*' => {
                self.digits.clear();
                Outcome::More
            }
            '#' if after_length => Outcome::Ignored,
            '#' => self.end(settings),
            _ => Outcome::Ignored,
        }
    }

    /// No key for too long: what is there counts.
    pub(super) fn timeout(&mut self, settings: &Settings) -> Outcome {
        self.ended_by_length = false;
        if self.digits.is_empty() {
            let outcome = self.wrong();
            return if outcome == Outcome::Wrong {
                Outcome::Nothing
            } else {
                outcome
            };
        }
        self.end(settings)
    }

    /// Ends the attempt when no further digit could make it right, or it is right and could be no other PIN.
    fn at_its_length(&mut self, settings: &Settings) -> Outcome {
        let pins = || settings.pin.iter().chain(&settings.admin_pin);
        let could_go_on = |pin: &String| pin.len() > self.digits.len();
        let right = pins().any(|pin| *pin == self.digits);
        let may_become_another =
            pins().any(|pin| could_go_on(pin) && pin.starts_with(&self.digits));
        if right && !may_become_another {
            return self.end(settings);
        }
        if pins().any(could_go_on) {
            return Outcome::More;
        }
        self.ended_by_length = true;
        self.end(settings)
    }

    fn end(&mut self, settings: &Settings) -> Outcome {
        let entered = std::mem::take(&mut self.digits);
        if settings.admin_pin.as_ref() == Some(&entered) {
            Outcome::Admitted { admin: true }
        } else if settings.pin.as_ref() == Some(&entered) {
            Outcome::Admitted { admin: false }
        } else {
            self.wrong()
        }
    }

    fn wrong(&mut self) -> Outcome {
        self.tries_left = self.tries_left.saturating_sub(1);
        if self.tries_left == 0 {
            Outcome::GaveUp
        } else {
            Outcome::Wrong
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pin: &str, admin: Option<&str>) -> Settings {
        Settings {
            pin: Some(pin.into()),
            admin_pin: admin.map(Into::into),
            ..Settings::default()
        }
    }

    fn outcomes(keys: &str, settings: &Settings) -> Vec<Outcome> {
        let mut entry = PinEntry::new(3);
        keys.chars()
            .map(|key| entry.key(key, settings))
            .filter(|outcome| !matches!(outcome, Outcome::More | Outcome::Ignored))
            .collect()
    }

    const IN: Outcome = Outcome::Admitted { admin: false };
    const ADMIN: Outcome = Outcome::Admitted { admin: true };

    #[test]
    fn the_right_digits_need_no_hash() {
        let pin = settings("4711", None);
        assert_eq!(outcomes("4711", &pin), [IN]);
        assert_eq!(outcomes("471", &pin), []);
    }

    #[test]
    fn wrong_digits_end_at_their_length_and_their_hash_is_no_second_try() {
        let pin = settings("4711", None);
        assert_eq!(outcomes("0000#4711", &pin), [Outcome::Wrong, IN]);
        assert_eq!(
            outcomes("0000#0000#0000#", &pin)[..3],
            [Outcome::Wrong, Outcome::Wrong, Outcome::GaveUp]
        );
        assert_eq!(outcomes("0000##", &pin), [Outcome::Wrong, Outcome::Wrong]);
    }

    #[test]
    fn a_star_starts_over_and_letters_do_nothing() {
        let pin = settings("4711", None);
        assert_eq!(outcomes("47*4A711", &pin), [IN]);
        assert_eq!(outcomes("99#4711", &pin), [Outcome::Wrong, IN]);
    }

    #[test]
    fn two_pins_are_told_apart_even_if_one_begins_the_other() {
        let pins = settings("12", Some("1234"));
        assert_eq!(outcomes("12", &pins), []);
        assert_eq!(outcomes("12#", &pins), [IN]);
        assert_eq!(outcomes("1234", &pins), [ADMIN]);
        assert_eq!(outcomes("1299", &pins), [Outcome::Wrong]);
        let apart = settings("99", Some("1234"));
        assert_eq!(outcomes("99", &apart), [IN]);
        assert_eq!(outcomes("98", &apart), []);
    }

    #[test]
    fn silence_ends_an_attempt() {
        let pins = settings("12", Some("1234"));
        let mut entry = PinEntry::new(3);
        assert_eq!(entry.timeout(&pins), Outcome::Nothing);
        entry.key('1', &pins);
        assert_eq!(entry.timeout(&pins), Outcome::Wrong);
        entry.key('1', &pins);
        entry.key('2', &pins);
        assert_eq!(entry.timeout(&pins), IN);
        let mut silent = PinEntry::new(1);
        assert_eq!(silent.timeout(&pins), Outcome::GaveUp);
    }
}
