//! Drawing: elements as text, coordinates to a tenth of a unit.

use std::fmt::Write;

/// A drawing being made.
pub(crate) struct Svg {
    text: String,
}

impl Svg {
    /// An empty drawing with a size and, for those who do not see it, words.
    pub(crate) fn new(width: f64, height: f64, words: &str) -> Self {
        let words = escaped(words);
        let text =
            format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{words}\">\n");
        Self { text }
    }

    /// A straight line.
    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let _ = writeln!(
            self.text,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    /// A rectangle, with a word of its own when the pointer rests on it.
    pub(crate) fn area(
        &mut self,
        class: &str,
        corner: (f64, f64),
        size: (f64, f64),
        opacity: f64,
        words: &str,
    ) {
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" opacity=\"{opacity:.2}\">\
             <title>{}</title></rect>",
            corner.0,
            corner.1,
            size.0.max(0.5),
            size.1,
            escaped(words)
        );
    }

    /// A line through points.
    pub(crate) fn curve(&mut self, class: &str, points: &[(f64, f64)]) {
        let Some((first, rest)) = points.split_first() else {
            return;
        };
        let mut path = format!("M{:.1} {:.1}", first.0, first.1);
        for (x, y) in rest {
            let _ = write!(path, "L{x:.1} {y:.1}");
        }
        let _ = writeln!(self.text, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    /// Many dots at once.
    pub(crate) fn dots(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "M{x:.1} {y:.1}h0");
        }
        if !path.is_empty() {
            let _ = writeln!(self.text, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }

    /// A dot with words when the pointer rests on it.
    pub(crate) fn mark(&mut self, class: &str, at: (f64, f64), radius: f64, words: &str) {
        let _ = writeln!(
            self.text,
            "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"><title>{}</title></circle>",
            at.0,
            at.1,
            escaped(words)
        );
    }

    /// Words.
    pub(crate) fn words(&mut self, class: &str, at: (f64, f64), words: &str) {
        let _ = writeln!(
            self.text,
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            at.0,
            at.1,
            escaped(words)
        );
    }

    /// The drawing as an element.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// The text for use in elements and attributes.
pub(crate) fn escaped(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut safe, c| {
            match c {
                '&' => safe.push_str("&amp;"),
                '<' => safe.push_str("&lt;"),
                '>' => safe.push_str("&gt;"),
                '"' => safe.push_str("&quot;"),
                c => safe.push(c),
            }
            safe
        })
}
