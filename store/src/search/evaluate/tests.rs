//! Figures against those of another program; forms of files.

use super::*;

/// Judgements made by chance: four grades; of q6 nothing is relevant, of q7 one is below nothing.
const JUDGEMENTS: &str = "\
q1 0 d14 2
q1 0 d17 3
q1 0 d19 3
q2 0 d0 1
q2 0 d1 1
q2 0 d2 1
q2 0 d3 1
q2 0 d4 1
q2 0 d5 1
q2 0 d6 1
q2 0 d7 1
q2 0 d8 1
q2 0 d9 1
q2 0 d10 1
q2 0 d11 1
q2 0 d12 1
q2 0 d13 1
q3 0 d10 3
q3 0 d14 0
q3 0 d6 1
q3 0 d16 1
q3 0 d7 1
q3 0 d19 3
q3 0 d4 1
q3 0 d15 0
q3 0 d0 0
q3 0 d18 3
q3 0 d1 0
q3 0 d12 2
q3 0 d13 0
q3 0 d3 1
q4 0 d0 0
q4 0 d13 0
q4 0 d3 0
q4 0 d4 2
q4 0 d7 2
q5 0 d6 3
q5 0 d5 1
q5 0 d12 0
q5 0 d3 3
q5 0 d1 1
q5 0 d2 1
q5 0 d16 3
q5 0 d7 2
q5 0 d4 1
q5 0 d0 3
q5 0 d9 2
q5 0 d18 3
q5 0 d11 1
q5 0 d13 2
q5 0 d10 1
q5 0 d8 1
q5 0 d17 1
q5 0 d19 1
q6 0 d0 0
q6 0 d1 0
q6 0 d2 0
q6 0 d3 0
q7 0 d0 -1
q7 0 d1 2
q7 0 d2 1
q8 0 d7 0
q8 0 d1 1
q8 0 d18 1
q8 0 d5 2
q8 0 d9 1
q8 0 d16 3
q8 0 d8 3
q8 0 d15 1
q8 0 d2 3
";

/// For each topic what was found, and what trec_eval says of it (`pytrec_eval-terrier` 0.5.11 on PyPI): ndcg_cut_10,
/// recall_10, recip_rank.
const ANSWERS: &[(&str, &str, [f64; 3])] = &[
    ("q1", "d6 d5 d16 d15 d18", [0.0, 0.0, 0.0]),
    (
        "q2",
        "d16 d2 d1 d17 d6 d14 d3 d9 d0 d7",
        [0.6067216003536936, 0.5, 0.5],
    ),
    (
        "q3",
        "d12 d2 d0 d17 d6 d3 d16 d7 d15 d11 d10 d1 d14 d9 d5 d18 d4 d13 d8 d19",
        [0.37910434923359304, 0.5555555555555556, 1.0],
    ),
    (
        "q4",
        "d5 d17 d6 d14 d18 d11 d12 d2 d15 d10 d16 d1 d9 d3 d8 d0 d13 d7 d19 d4",
        [0.0, 0.0, 0.05555555555555555],
    ),
    (
        "q5",
        "d19 d7 d6 d5 d17 d10 d15 d18 d9 d1 d13 d0 d14 d8 d11",
        [0.5917719264006449, 0.5294117647058824, 1.0],
    ),
    ("q6", "d9 d16 d5 d2 d4 d3 d7 d8 d10", [0.0, 0.0, 0.0]),
    ("q7", "d0 d9 d2 d1", [0.5174418337467067, 1.0, 0.3333333333333333]),
    (
        "q8",
        "d1 d0 d15 d11 d9 d18 d14 d17 d10 d19 d7 d16",
        [0.25943324583947575, 0.5, 1.0],
    ),
];

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

#[test]
fn figures_are_those_of_trec_eval() {
    let judgements = Judgements::read(JUDGEMENTS).unwrap();
    let mut all = Vec::new();
    for (topic, found, [ndcg, recall, rank]) in ANSWERS {
        let figures = judgements.figures(topic, found.split(' '));
        assert!(is_near(figures.ndcg_at_10, *ndcg), "{topic}: {figures:?}");
        assert!(is_near(figures.recall_at_10, *recall), "{topic}: {figures:?}");
        assert!(is_near(figures.reciprocal_rank, *rank), "{topic}: {figures:?}");
        all.push(figures);
    }
    let mean = Figures::mean(&all);
    assert!(is_near(mean.ndcg_at_10, 0.29430911944676424), "{mean:?}");
    assert!(is_near(mean.recall_at_10, 0.38562091503267976), "{mean:?}");
    assert!(is_near(mean.reciprocal_rank, 0.4861111111111111), "{mean:?}");
    assert_eq!(judgements.topics().count(), ANSWERS.len());
}

#[test]
fn what_was_found_twice_or_not_judged_gains_nothing() {
    let judgements = Judgements::read("1 0 a 2\n1 0 b 1\n").unwrap();
    let best = judgements.figures("1", ["a", "b"]);
    assert!(is_near(best.ndcg_at_10, 1.0) && is_near(best.recall_at_10, 1.0));
    let again = judgements.figures("1", ["a", "a", "x", "b"]);
    assert_eq!(again, judgements.figures("1", ["a", "x", "b"]));
    assert!(again.ndcg_at_10 < 1.0);
    assert_eq!(judgements.figures("1", []), Figures::default());
    assert_eq!(judgements.figures("unknown", ["a"]), Figures::default());
    assert_eq!(Figures::mean(&[]), Figures::default());
}

#[test]
fn topics_are_lines_or_of_trec() {
    let topic = |id: &str, query: &str| Topic {
        id: id.to_owned(),
        query: query.to_owned(),
    };
    let trec = "<top>\n\n<num> Number: 301 \n<title> International \n Organized Crime \n\n<desc> Description:\nx\n\n</top>\n\
                <top>\n<num>302</num>\n<title>Polio</title>\n</top>\n";
    let expected = [
        topic("301", "International Organized Crime"),
        topic("302", "Polio"),
    ];
    assert_eq!(Topic::read(trec).unwrap(), expected);
    let lines = "301\tInternational Organized Crime\r\n\n302\tPolio\n";
    assert_eq!(Topic::read(lines).unwrap(), expected);
    assert_eq!(Topic::read("301\tx\nno tab"), Err(JudgedError::Topic { line: 2 }));
    let untitled = Topic::read("<top><num> 1 <title> x </top><top><num> 2 </top>");
    assert_eq!(
        untitled,
        Err(JudgedError::Part {
            topic: 2,
            part: "title"
        })
    );
}

#[test]
fn a_line_that_is_no_judgement_is_named() {
    for text in ["1 0 a 1\n\n1 0 b", "1 0 a 1\n\n1 0 b one", "1 0 a 1\n\n1 0 b 1 x"] {
        assert_eq!(
            Judgements::read(text),
            Err(JudgedError::Judgement { line: 3 }),
            "{text}"
        );
    }
}

#[test]
fn a_message_id_may_stand_in_angle_brackets() {
    let judgements = Judgements::read("1 0 <a@example.org> 1\n1 0 b@example.org 1\n").unwrap();
    let judged: Vec<&str> = judgements.documents("1").collect();
    assert_eq!(judged, ["a@example.org", "b@example.org"]);
}
