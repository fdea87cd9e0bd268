//! Text → [`Query`].

use super::values::{condition_of, near_miss};
use super::{
    MOST_BYTES, MOST_DEPTH, MOST_MIXED, MOST_OPERATORS, MOST_PHRASES, MOST_QUOTED, MOST_UNWANTED, MOST_WORDS,
    Query, WrongQuery,
};
use jiff::Zoned;
use schemas::Operator;
use std::ops::Range;
use winnow::Parser;
use winnow::combinator::{alt, opt, peek, preceded, repeat, terminated};
use winnow::error::{ErrMode, ParserError};
use winnow::stream::{LocatingSlice, Location, Stateful};
use winnow::token::{any, none_of, one_of, take_while};

type Input<'a> = Stateful<LocatingSlice<&'a str>, State<'a>>;
type Outcome<T> = Result<T, ErrMode<Wrong>>;

/// What has been read so far.
#[derive(Debug, Clone, Copy)]
struct State<'a> {
    now: &'a Zoned,
    depth: usize,
    /// Within so many of NOT.
    within_not: usize,
    words: usize,
    unwanted: usize,
    phrases: usize,
    quoted: usize,
    operators: usize,
}

/// A mistake and its place. Without words it only says that another rule has to be tried.
#[derive(Debug)]
struct Wrong {
    span: Range<usize>,
    what: String,
}

impl<'a> ParserError<Input<'a>> for Wrong {
    type Inner = Self;

    fn from_input(input: &Input<'a>) -> Self {
        let at = input.current_token_start();
        Self {
            span: at..at,
            what: String::new(),
        }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

fn wrong(span: Range<usize>, what: impl Into<String>) -> ErrMode<Wrong> {
    ErrMode::Cut(Wrong {
        span,
        what: what.into(),
    })
}

/// Whether a character separates words: blanks, and what no word can have.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// Whether a character cannot stand in a word.
pub(super) fn ends_word(c: char) -> bool {
    is_blank(c) || is_quote(c) || matches!(c, '(' | ')')
}

/// Straight quotes and those that word processors make of them.
fn is_quote(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„')
}

/// Reads a whole query.
pub(super) fn parse(text: &str, now: &Zoned) -> Result<Query, WrongQuery> {
    let told = |wrong: Wrong| {
        let before = text.get(..wrong.span.start).unwrap_or(text);
        WrongQuery {
            column: before.chars().count() + 1,
            span: wrong.span,
            what: wrong.what,
        }
    };
    if text.len() > MOST_BYTES {
        return Err(told(Wrong {
            span: 0..0,
            what: format!(
                "it has {} bytes, and at most {MOST_BYTES} are allowed; write it shorter",
                text.len()
            ),
        }));
    }
    let mut input = Stateful {
        input: LocatingSlice::new(text),
        state: State {
            now,
            depth: 0,
            within_not: 0,
            words: 0,
            unwanted: 0,
            phrases: 0,
            quoted: 0,
            operators: 0,
        },
    };
    let inner = |error: ErrMode<Wrong>| match error.into_inner() {
        Ok(wrong) | Err(ErrMode::Cut(wrong) | ErrMode::Backtrack(wrong)) => wrong,
        Err(ErrMode::Incomplete(_)) => Wrong {
            span: 0..0,
            what: String::new(),
        },
    };
    let read = sequence(&mut input).map_err(|error| told(inner(error)))?;
    let at = input.current_token_start();
    let mixed: usize = read.iter().flat_map(Query::conditions).map(words_in).sum();
    match read {
        _ if at < text.len() => Err(told(Wrong {
            span: at..at + 1,
            what: "no bracket is open that this one could close; to search for it, put it in quotes"
                .to_owned(),
        })),
        Some(_) if mixed > MOST_MIXED => Err(told(Wrong {
            span: 0..text.len(),
            what: format!(
                "{mixed} words stand beside operators within OR or NOT, and at most {MOST_MIXED} can; write it more simply"
            ),
        })),
        Some(query) => Ok(query),
        None => Err(told(Wrong {
            span: 0..text.len(),
            what: "there is nothing to search for; write a word".to_owned(),
        })),
    }
}

/// Terms one after the other, all of which must hold.
fn sequence(input: &mut Input<'_>) -> Outcome<Option<Query>> {
    blanks.parse_next(input)?;
    let and = opt((keyword("AND"), blanks));
    let terms: Vec<Query> = read(repeat(0.., terminated(alternatives, (blanks, and))), input)?;
    Ok(Query::all(terms))
}

/// Terms with OR between them.
fn alternatives(input: &mut Input<'_>) -> Outcome<Query> {
    let first = term.parse_next(input)?;
    let more = preceded((blanks, keyword("OR"), blanks), term);
    let more: Vec<Query> = read(repeat(0.., more), input)?;
    Query::any(std::iter::once(first).chain(more).collect()).ok_or_else(|| backtrack(input))
}

fn term(input: &mut Input<'_>) -> Outcome<Query> {
    let dash = ('-', peek(none_of(|c| c == '-' || is_blank(c)))).void();
    let not = preceded((keyword("NOT"), blanks), deeper(term));
    alt((unwanted(preceded(dash, positive)), unwanted(not), positive)).parse_next(input)
}

/// A rule for what must not be there.
fn unwanted<'a>(
    mut rule: impl Parser<Input<'a>, Query, ErrMode<Wrong>>,
) -> impl Parser<Input<'a>, Query, ErrMode<Wrong>> {
    move |input: &mut Input<'a>| {
        input.state.within_not += 1;
        let read = rule.parse_next(input);
        input.state.within_not -= 1;
        read.map(Query::without)
    }
}

/// A rule that calls itself, which it may do a few times only.
fn deeper<'a, T>(
    mut rule: impl Parser<Input<'a>, T, ErrMode<Wrong>>,
) -> impl Parser<Input<'a>, T, ErrMode<Wrong>> {
    move |input: &mut Input<'a>| {
        let start = input.current_token_start();
        if input.state.depth >= MOST_DEPTH {
            let what =
                format!("terms stand within each other {MOST_DEPTH} times at most; write it more simply");
            return Err(wrong(start..start, what));
        }
        input.state.depth += 1;
        let read = rule.parse_next(input);
        input.state.depth -= 1;
        read
    }
}

fn positive(input: &mut Input<'_>) -> Outcome<Query> {
    alt((group, phrase.map(Query::Phrase), condition, word.map(Query::Word))).parse_next(input)
}

fn group(input: &mut Input<'_>) -> Outcome<Query> {
    let start = input.current_token_start();
    let inner = read(preceded('(', deeper(sequence)), input)?;
    if read(opt(')'), input)?.is_none() {
        return Err(wrong(
            start..start + 1,
            "this bracket is not closed; write ) where it ends",
        ));
    }
    inner.ok_or_else(|| {
        let end = input.previous_token_end();
        wrong(
            start..end,
            "nothing stands between these brackets; to search for them, put them in quotes",
        )
    })
}

/// Words that follow each other, in quotes.
fn phrase(input: &mut Input<'_>) -> Outcome<String> {
    let start = input.current_token_start();
    let text = quoted.parse_next(input)?;
    let end = input.previous_token_end();
    input.state.phrases += 1;
    input.state.quoted += words_of(&text);
    at_most(MOST_PHRASES, input.state.phrases, "phrases", start..end)?;
    at_most(MOST_QUOTED, input.state.quoted, "words in quotes", start..end)?;
    count_words(input, &text, start..end)?;
    Ok(text)
}

/// Text in quotes; a backslash makes a quote, or a backslash, a part of it.
fn quoted(input: &mut Input<'_>) -> Outcome<String> {
    let start = input.current_token_start();
    let open = read(one_of(is_quote), input)?;
    let closes = move |c: char| if open == '"' { c == '"' } else { is_quote(c) };
    let escaped = preceded('\\', one_of(['"', '\\']));
    let inside = alt((escaped, none_of(closes))).map(|c: char| if c.is_control() { ' ' } else { c });
    let text: String = read(repeat(0.., inside), input)?;
    if read(opt(one_of(closes)), input)?.is_none() {
        let what = "this quote is not closed; write another where it ends";
        return Err(wrong(start..start + open.len_utf8(), what));
    }
    if text.trim().is_empty() {
        let end = input.previous_token_end();
        return Err(wrong(
            start..end,
            "nothing stands between these quotes; leave them out",
        ));
    }
    Ok(text)
}

/// A word that is none of the language's own.
fn word(input: &mut Input<'_>) -> Outcome<String> {
    let start = input.current_token_start();
    let word = bare.parse_next(input)?;
    if matches!(word, "OR" | "AND" | "NOT") {
        let place = if word == "NOT" { "before" } else { "between" };
        let what = format!(
            "`{word}` stands {place} what it is about; to search for the word itself, put it in quotes"
        );
        return Err(wrong(start..start + word.len(), what));
    }
    count_words(input, word, start..start + word.len())?;
    Ok(word.to_owned())
}

/// `name:value`, if the name is that of an operator.
fn condition(input: &mut Input<'_>) -> Outcome<Query> {
    let start = input.current_token_start();
    let name = read(
        terminated(take_while(1.., |c: char| c.is_ascii_alphabetic()), ':'),
        input,
    )?;
    let known = Operator::ALL
        .iter()
        .find(|known| known.name().eq_ignore_ascii_case(name));
    let Some(&operator) = known else {
        let value = read(opt(peek(alt((quoted, bare.map(str::to_owned))))), input)?;
        return Err(
            match near_miss(name, &value.unwrap_or_default(), input.state.now) {
                Some(meant) => wrong(
                    start..start + name.len() + 1,
                    format!(
                        "there is no operator `{name}:`; if you meant `{meant}:`, write that, to search for the words put \
                     them in quotes",
                        meant = meant.name()
                    ),
                ),
                None => backtrack(input),
            },
        );
    };
    blanks.parse_next(input)?;
    let at = input.current_token_start();
    let Some(value) = read(opt(alt((quoted, bare.map(str::to_owned)))), input)? else {
        let what = format!(
            "`{}:` has no value; write `{}`, or put it in quotes to search for the word",
            operator.name(),
            operator.example()
        );
        return Err(wrong(start..at, what));
    };
    input.state.operators += 1;
    at_most(MOST_OPERATORS, input.state.operators, "operators", start..at)?;
    let end = input.previous_token_end();
    let read = condition_of(operator, &value, input.state.now);
    read.map(Query::Where).map_err(|what| wrong(at..end, what))
}

/// Reads by a rule, whose mistakes are ours.
fn read<'a, T>(mut rule: impl Parser<Input<'a>, T, ErrMode<Wrong>>, input: &mut Input<'a>) -> Outcome<T> {
    rule.parse_next(input)
}

fn bare<'a>(input: &mut Input<'a>) -> Outcome<&'a str> {
    take_while(1.., |c| !ends_word(c)).parse_next(input)
}

fn blanks(input: &mut Input<'_>) -> Outcome<()> {
    take_while(0.., is_blank).void().parse_next(input)
}

/// A word of the language itself, which must be one to its end.
fn keyword<'a>(word: &'static str) -> impl Parser<Input<'a>, (), ErrMode<Wrong>> {
    terminated(word, peek(ends)).void()
}

fn ends(input: &mut Input<'_>) -> Outcome<()> {
    match read(opt(peek(any)), input)? {
        Some(c) if !ends_word(c) => Err(backtrack(input)),
        _ => Ok(()),
    }
}

fn backtrack(input: &Input<'_>) -> ErrMode<Wrong> {
    ErrMode::Backtrack(Wrong::from_input(input))
}

/// How many words an index of words has of a text; one of a text without letters, which is looked for, too.
fn words_of(text: &str) -> usize {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| !word.is_empty()).count().max(1)
}

fn words_in(query: &Query) -> usize {
    match query {
        Query::All(queries) | Query::Any(queries) => queries.iter().map(words_in).sum(),
        Query::Not(query) => words_in(query),
        Query::Word(text) | Query::Phrase(text) => words_of(text),
        Query::Where(_) => 0,
    }
}

fn count_words(input: &mut Input<'_>, text: &str, span: Range<usize>) -> Outcome<()> {
    let words = words_of(text);
    input.state.words += words;
    if input.state.within_not > 0 {
        input.state.unwanted += words;
    }
    at_most(MOST_WORDS, input.state.words, "words", span.clone())?;
    let unwanted = input.state.unwanted;
    at_most(MOST_UNWANTED, unwanted, "words that must not be there", span)
}

/// Refuses the term with which there are too many of something.
fn at_most(most: usize, there: usize, what: &str, span: Range<usize>) -> Outcome<()> {
    match there > most {
        true => Err(wrong(
            span,
            format!("a query has at most {most} {what}; write it more simply"),
        )),
        false => Ok(()),
    }
}
