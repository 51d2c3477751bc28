//! How text is laid out for people.

/// Columns of a terminal that can be relied on.
pub(super) const COLUMNS: usize = 79;

/// A space at which no line is broken, as between a number and its unit.
pub(super) const GLUE: char = '\u{1f}';

/// How what matters most stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Ansi,
}

/// Lines of at most `width` characters, unless a word is longer; what is [glued](GLUE) is one word.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        let line = match lines.last_mut() {
            Some(line) if used == 0 || used + 1 + length <= width => line,
            _ => {
                used = 0;
                lines.push(String::new());
                // Just pushed.
                let last = lines.len() - 1;
                &mut lines[last]
            }
        };
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(&word.replace(GLUE, " "));
        used += length;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrapped(&format!("one 2{GLUE}ms three"), 8),
            ["one 2 ms", "three"]
        );
        assert_eq!(
            wrapped(&format!("one 2{GLUE}ms three"), 7),
            ["one", "2 ms", "three"]
        );
        assert_eq!(wrapped("incomprehensible", 7), ["incomprehensible"]);
        assert_eq!(
            wrapped("a incomprehensible b", 7),
            ["a", "incomprehensible", "b"]
        );
    }
}
