//! How many callers, step by step.

use std::fmt;
use std::str::FromStr;

/// Most steps of a ramp.
const MOST_STEPS: usize = 1000;

/// Callers from one number to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    from: usize,
    to: usize,
    growth: Growth,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Growth {
    By(usize),
    Times(f64),
}

impl Ramp {
    /// The numbers of callers, ascending; the last is the ramp's end.
    pub fn steps(&self) -> Vec<usize> {
        let mut steps = vec![self.from];
        let mut callers = self.from;
        while callers < self.to {
            let next = match self.growth {
                Growth::By(step) => callers.saturating_add(step),
                Growth::Times(factor) => (callers as f64 * factor).round() as usize,
            };
            // However small the factor, it goes on.
            callers = next.max(callers + 1).min(self.to);
            steps.push(callers);
        }
        steps
    }

    /// Callers in the end.
    pub fn end(&self) -> usize {
        self.to
    }
}

impl FromStr for Ramp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected FROM:TO, FROM:TO:STEP or FROM:TO:xFACTOR, for example 100:4000:x1.5"
                .to_owned()
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (from, to, growth) = match parts[..] {
            [from, to] => (from, to, "x1.5"),
            [from, to, growth] => (from, to, growth),
            _ => return Err(expected()),
        };
        let number = |text: &str| text.parse::<usize>().map_err(|_| expected());
        let (from, to) = (number(from)?, number(to)?);
        let growth = match growth.strip_prefix('x') {
            None => Growth::By(number(growth)?),
            Some(factor) => Growth::Times(factor.parse().map_err(|_| expected())?),
        };
        if from == 0 || from > to {
            return Err(
                "a ramp begins with at least 1 caller and does not end with fewer".to_owned(),
            );
        }
        match growth {
            Growth::By(0) => return Err("a ramp of steps of 0 does not rise".to_owned()),
            Growth::Times(factor) if !(1.01..=100.0).contains(&factor) => {
                return Err("the factor of a ramp is 1.01 to 100".to_owned());
            }
            _ => {}
        }
        let ramp = Self { from, to, growth };
        match ramp.steps().len() {
            0..=MOST_STEPS => Ok(ramp),
            more => Err(format!(
                "that ramp has {more} steps; {MOST_STEPS} are the most"
            )),
        }
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, growth } = self;
        match growth {
            Growth::By(step) => write!(f, "{from}:{to}:{step}"),
            Growth::Times(factor) => write!(f, "{from}:{to}:x{factor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(text: &str) -> Vec<usize> {
        text.parse::<Ramp>().unwrap().steps()
    }

    #[test]
    fn ramps_grow_by_steps_or_factors_and_end_where_they_should() {
        assert_eq!(steps("100:400:100"), [100, 200, 300, 400]);
        assert_eq!(steps("100:350:100"), [100, 200, 300, 350]);
        assert_eq!(steps("100:500:x2"), [100, 200, 400, 500]);
        assert_eq!(steps("10:30"), [10, 15, 23, 30]);
        assert_eq!(steps("5:5"), [5]);
        assert_eq!(steps("1:4:x1.1"), [1, 2, 3, 4]);
        assert_eq!("10:30".parse::<Ramp>().unwrap().to_string(), "10:30:x1.5");
    }

    #[test]
    fn what_is_no_ramp_is_refused_with_what_is_one() {
        for wrong in [
            "",
            "5",
            "a:b",
            "5:1",
            "0:5",
            "1:5:0",
            "1:5:x1",
            "1:5:xx",
            "1:2:3:4",
            "1:9999999:1",
        ] {
            let complaint = wrong.parse::<Ramp>().unwrap_err();
            assert!(!complaint.is_empty(), "{wrong}");
        }
        assert!("7".parse::<Ramp>().unwrap_err().contains("FROM:TO"));
    }

    proptest! {
        #[test]
        fn steps_rise(from in 1_usize..500, more in 0_usize..2000, factor in 1.2_f64..9.0) {
            let steps = steps(&format!("{from}:{}:x{factor}", from + more));
            prop_assert!(steps.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!((steps[0], *steps.last().unwrap()), (from, from + more));
        }
    }
}
