//! The report as one page of HTML: drawings inline, nothing loaded from elsewhere, readable without a script and on paper.
//!
//! | file | what |
//! |---|---|
//! | `plots.rs` | what is measured against the number of callers |
//! | `sections.rs` | the words and tables |
//! | `style.css` | what this page has beside the style of `unisono jitter`'s |

mod plots;
mod sections;

use super::LoadReport;
use crate::jitter::STYLE;
use crate::jitter::svg::escaped;

const OWN_STYLE: &str = include_str!("style.css");

/// The whole page.
pub fn page(report: &LoadReport) -> String {
    let body = [
        sections::head(report),
        sections::steps(report),
        plots::section(report),
        sections::troubles(report),
        sections::generator(report),
        sections::machine(report),
        sections::READING.to_owned(),
    ]
    .concat();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escaped(&sections::title(report)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::sample;

    /// The page's tags in order, after a look at whether each that is opened is closed.
    fn tags(page: &str) -> Vec<String> {
        const VOID: [&str; 4] = ["meta", "br", "!doctype", "hr"];
        let mut open: Vec<&str> = Vec::new();
        let mut all = Vec::new();
        for piece in page.split('<').skip(1) {
            let (inside, _) = piece.split_once('>').expect("a tag ends");
            let name = inside.split([' ', '\n']).next().unwrap();
            let name = name.trim_end_matches('/');
            if let Some(name) = name.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "in <{inside}>");
            } else {
                all.push(name.to_owned());
                if !inside.ends_with('/') && !VOID.contains(&name) {
                    open.push(name);
                }
            }
        }
        assert!(open.is_empty(), "{open:?} are not closed");
        all
    }

    /// What is said when the pointer rests on the marks.
    fn marks(page: &str) -> Vec<&str> {
        page.split("<circle")
            .skip(1)
            .filter_map(|piece| piece.split_once("<title>")?.1.split_once("</title>"))
            .map(|(words, _)| words)
            .collect()
    }

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        for (report, drawings) in [(sample::plain(), 0), (sample::ramp(), 4)] {
            let page = page(&report);
            let tags = tags(&page);
            assert_eq!(tags.iter().filter(|tag| *tag == "svg").count(), drawings);
            for word in [
                "http:", "https:", "url(", "@import", "<script", "<link", "<img", "src=",
            ] {
                assert!(!page.contains(word), "{word}");
            }
            assert!(!page.contains("NaN") && !page.contains("inf\"") && !page.contains("inf "));
        }
    }

    #[test]
    fn each_step_is_in_the_drawings_and_in_the_table() {
        let report = sample::ramp();
        let page = page(&report);
        let marks = marks(&page);
        for step in &report.steps {
            let p99 = super::super::words::figure(step.streams.deviation_us.p99 / 1000.0);
            let callers = super::super::words::grouped(step.callers.asked as u64);
            let words = format!("{callers} callers: p99 {p99} ms");
            assert!(marks.contains(&words.as_str()), "{words} in {marks:?}");
            assert!(page.contains(&format!("<th scope=\"row\">{callers}</th>")));
        }
        assert!(page.contains("limit 10 ms"), "the limit is drawn");
        assert!(page.contains("BROKE") && page.contains("800 callers held"));
    }

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let mut report = sample::ramp();
        report.server.name = Some("<script>alert(1)</script>".to_owned());
        report.steps[4].callers.failed[0].reason = "500 <b>".to_owned();
        let page = page(&report);
        tags(&page);
        assert!(page.contains("&lt;script&gt;") && page.contains("500 &lt;b&gt;"));
        assert!(page.contains("2 × Xeon &lt;test&gt;"));
        assert!(page.contains("talker 2 &lt;at all&gt;"));
    }

    #[test]
    fn a_report_of_nothing_is_a_page() {
        let mut report = sample::plain();
        report.steps[0].process = None;
        report.steps[0].mouth_to_ear = None;
        tags(&page(&report));
        report.steps.clear();
        let page = page(&report);
        tags(&page);
        assert!(!page.contains("NaN"));
    }
}
