//! Numbers and digits as prompts, in the order of English (which Asterisk's packages for other languages share up to their recordings).

/// The prompts that say a number, e.g. 342 as "three hundred forty two". From a million on: its digits.
pub fn number(n: u32) -> Vec<String> {
    if n >= 1_000_000 {
        return digits(&n.to_string());
    }
    let mut names = Vec::new();
    if n >= 1000 {
        below_thousand(n / 1000, &mut names);
        names.push("digits/thousand".to_owned());
    }
    if !n.is_multiple_of(1000) || n == 0 {
        below_thousand(n % 1000, &mut names);
    }
    names
}

/// The prompts that read a dialled string aloud; characters that no prompt exists for are left out.
pub fn digits(dialled: &str) -> Vec<String> {
    dialled
        .chars()
        .filter_map(|key| match key {
            '0'..='9' => Some(format!("digits/{key}")),
            '*' => Some("digits/star".to_owned()),
            '#' => Some("digits/pound".to_owned()),
            _ => None,
        })
        .collect()
}

fn below_thousand(n: u32, names: &mut Vec<String>) {
    if n >= 100 {
        names.push(format!("digits/{}", n / 100));
        names.push("digits/hundred".to_owned());
    }
    match n % 100 {
        0 if n > 0 => {}
        small @ 0..=20 => names.push(format!("digits/{small}")),
        large => {
            names.push(format!("digits/{}", large / 10 * 10));
            if large % 10 > 0 {
                names.push(format!("digits/{}", large % 10));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::embedded::PROMPTS;

    #[test]
    fn numbers_are_said_as_in_english() {
        for (n, said) in [
            (0, "0"),
            (7, "7"),
            (20, "20"),
            (21, "20 1"),
            (90, "90"),
            (100, "1 hundred"),
            (342, "3 hundred 40 2"),
            (1000, "1 thousand"),
            (12_345, "12 thousand 3 hundred 40 5"),
            (10_001, "10 thousand 1"),
            (1_000_000, "1 0 0 0 0 0 0"),
        ] {
            let expected: Vec<String> = said
                .split(' ')
                .map(|word| format!("digits/{word}"))
                .collect();
            assert_eq!(number(n), expected);
        }
    }

    #[test]
    fn every_number_and_key_has_a_prompt() {
        for n in (0..1100).chain([9999, 65_535, 999_999, u32::MAX]) {
            for name in number(n) {
                assert!(
                    PROMPTS.iter().any(|(known, _)| *known == name),
                    "{n} needs {name}"
                );
            }
        }
        for name in digits("0123456789*#") {
            assert!(PROMPTS.iter().any(|(known, _)| *known == name), "no {name}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_left_out() {
        assert_eq!(digits("4 sales*"), ["digits/4", "digits/star"]);
    }
}
