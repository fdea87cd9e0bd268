//! A name that is of nothing: what is told of it.
//!
//! - In: what was named, the names that there are. Out: a sentence with the nearest of them first.
//! - Not here: which names somebody may know. Whoever asks gives no others.

/// Names that are told, at most: so many are the families of tools.
const NAMES: usize = 16;

/// That there is no such thing, with the names that there are, the nearest first; a sentence without an end.
pub fn no_such<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let distance = |known: &str| strsim::damerau_levenshtein(name, known);
    let mut names: Vec<(usize, &str)> = names.map(|known| (distance(known), known)).collect();
    names.sort_unstable();
    names.dedup();
    let near = names.first();
    let near = near.filter(|(distance, known)| *distance <= known.len().max(3) / 2);
    let told: Vec<String> = names.iter().take(NAMES).map(|(_, known)| short(known)).collect();
    let told = told.join(", ");
    let more = if names.len() > NAMES { ", …" } else { "" };
    let hint = match (near, names.len()) {
        (_, 0) => String::new(),
        (Some((_, known)), 1) => format!("; did you mean `{known}`?"),
        (Some((_, known)), _) => format!("; did you mean `{known}`? There are: {told}{more}"),
        (None, _) => format!("; there are: {told}{more}"),
    };
    format!("there is no {what} `{}`{hint}", short(name))
}

/// What somebody sent, short enough to be said back.
fn short(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, names: &[&str]) -> String {
        no_such("box", name, names.iter().copied())
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is_the_nearest_first() {
        assert_eq!(told("inbox", &[]), "there is no box `inbox`");
        let only = "there is no box `inbo`; did you mean `inbox`?";
        assert_eq!(told("inbo", &["inbox"]), only);
        let near = "there is no box `inbo`; did you mean `inbox`? There are: inbox, sent, archive";
        assert_eq!(told("inbo", &["archive", "inbox", "sent", "inbox"]), near);
        let far = "there is no box `elsewhere`; there are: sent";
        assert_eq!(told("elsewhere", &["sent"]), far);
    }

    #[test]
    fn of_many_names_some_are_told_and_of_long_ones_the_begin() {
        let many: Vec<String> = (10..40).map(|n| format!("box {n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let said = told("something else", &many);
        assert_eq!(said.matches("box 1").count(), 10, "{said}");
        assert_eq!(said.matches(", ").count(), NAMES, "{said}");
        assert!(said.ends_with(", …"), "{said}");
        let long = "y".repeat(1_000);
        assert!(told("x", &[long.as_str()]).len() < 200);
    }
}
