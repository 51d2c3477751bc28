//! The report as one page of HTML: drawings inline, nothing loaded from elsewhere, readable without a script and on paper.
//!
//! | file | what |
//! |---|---|
//! | `sections.rs` | the words and tables |
//! | `percentiles.rs` | how late, and how often: all runs in one drawing |
//! | `timeline.rs` | a run over time, with steal, throttling and outliers |
//! | `periods.rs` | every time between two ticks |
//! | `axis.rs`, `svg.rs` | what drawings are made of |

mod axis;
mod percentiles;
mod periods;
mod sections;
pub(crate) mod svg;
mod timeline;

use self::svg::escaped;
use super::report::Report;

/// The style sheet, which other pages share.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut body = sections::head(report);
    if report.runs.iter().any(|judged| judged.figures.ticks() > 0) {
        body += &percentiles::section(&report.runs);
    }
    for (place, judged) in report.runs.iter().enumerate() {
        body += &sections::run(place, judged);
    }
    body += &sections::machine(report);
    body += sections::READING;
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escaped(&sections::title(report)),
    )
}

#[cfg(test)]
mod tests {
    use unisono_timer::jitter::Method;

    use super::*;
    use crate::jitter::report::Judged;
    use crate::jitter::synthetic::{Shape, report, run_of};

    /// The page's tags in order, after a look at whether each that is opened is closed.
    fn tags(page: &str) -> Vec<String> {
        const VOID: [&str; 4] = ["meta", "br", "!doctype", "hr"];
        let mut open: Vec<&str> = Vec::new();
        let mut all = Vec::new();
        for piece in page.split('<').skip(1) {
            let (inside, _) = piece.split_once('>').expect("a tag ends");
            let name = inside
                .split([' ', '\n'])
                .next()
                .unwrap()
                .trim_end_matches('/');
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

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        let precise = Shape {
            method: Method::Precise,
            ..Shape::stalling(2)
        };
        let page = page(&report(&[Shape::quiet(1), precise]));
        let tags = tags(&page);
        // One curve for all; a time line and a scatter for each.
        assert_eq!(tags.iter().filter(|tag| *tag == "svg").count(), 5);
        for word in [
            "http:", "https:", "url(", "@import", "<script", "<link", "<img", "src=",
        ] {
            assert!(!page.contains(word), "{word}");
        }
        for word in [
            "FAIL",
            "precise",
            "steal",
            "not granted",
            "99.9 %",
            "dahdi_test",
            "does not hold",
        ] {
            assert!(page.contains(word), "{word}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf\"") && !page.contains("inf "));
    }

    #[test]
    fn what_comes_from_the_machine_is_escaped() {
        let mut report = report(&[Shape::quiet(1)]);
        report
            .command
            .push("<script>alert(\"1\")</script>".to_owned());
        report.runs[0].run.grant[0].detail = "a<b & \"c\"".to_owned();
        let page = page(&report);
        tags(&page);
        assert!(page.contains("&lt;script&gt;"));
        assert!(page.contains("a&lt;b &amp; &quot;c&quot;"));
        assert!(page.contains("Linux &lt;6.1&gt; &amp; more"));
    }

    #[test]
    fn runs_of_nothing_and_of_one_tick_make_a_page() {
        for samples in [&[][..], &[(0, 0, 0)], &[(0, -5, 0), (9, 1, 8)]] {
            let report = Report {
                runs: vec![Judged::new(run_of(20, samples), &[], None, false)],
                ..report(&[])
            };
            let page = page(&report);
            tags(&page);
            assert!(
                !page.contains("NaN") && !page.contains("inf\""),
                "{samples:?}"
            );
        }
        tags(&page(&report(&[])));
    }

    #[test]
    fn an_hour_of_ticks_is_a_page_of_bounded_size() {
        let hour = Shape {
            seconds: 3600,
            ..Shape::stalling(3)
        };
        let page = page(&report(&[hour]));
        tags(&page);
        assert!(page.len() < 1_000_000, "{} bytes", page.len());
    }
}
